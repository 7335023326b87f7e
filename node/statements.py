"""What somebody says in words: its digest goes on the chain, the words stay in this site's log.

The log is read by the other members, and no entry of it is ever taken back: nothing about a person
belongs in a statement.  A document that shall stay elsewhere is told by its digest alone.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from chain.ids import ZERO_ID
from node.errors import Invalid

MAX_TEXT = 10_000  # characters; an entry of the log has to hold them, however they are escaped


@dataclass(frozen=True)
class Statement:
    """`digest` is the SHA-256 of the document; of `text` in UTF-8 where the words are here."""

    digest: str
    text: str | None = None

    @classmethod
    def of(cls, what: str, text: str | None, digest: str | None = None) -> Statement:
        """From the words or from their digest.  Raises `Invalid` unless it is one of the two."""
        if text is None:
            if digest in (None, ZERO_ID):
                raise Invalid(
                    "InvalidRequest",
                    f"the {what} is missing",
                    found=digest,
                    allowed="a text, or the SHA-256 of a document that is not all zero",
                )
            return cls(str(digest))
        if digest is not None or not 0 < len(text) <= MAX_TEXT:
            raise Invalid(
                "InvalidRequest",
                f"the {what} is a text of 1 to {MAX_TEXT} characters, or a digest, not both",
                found=f"{len(text)} characters",
            )
        return cls("0x" + hashlib.sha256(text.encode()).hexdigest(), text)

    def facts(self, name: str) -> dict[str, Any]:
        """For an entry of the audit log."""
        told = {name: self.digest}
        return told if self.text is None else {**told, f"{name}Text": self.text}
