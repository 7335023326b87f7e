"""Signed notes: a text, and lines by keys that signed it.

    text, of lines
                                          an empty line; the last one of the note
    — name <base64 of key id and signature>

Whoever reads a note names the keys that it trusts.  Lines of other keys are passed over, one of
a trusted key that does not hold condemns the note, and without any the text says nothing.
Source: https://c2sp.org/signed-note
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol, Self

from node.errors import Invalid, NodeError, Refused

MAX_BYTES = 128 * 1024  # sixteen signatures of five thousand bytes, and the text
MAX_SIGNATURES = 100
ID_BYTES = 4
_DASH = "\u2014 "
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")


class NoteKey(Protocol):
    """A key that may have signed a note."""

    @property
    def name(self) -> str: ...

    @property
    def material(self) -> bytes:
        """The type of the signature and the public key, as its id is made of them."""

    def verifies(self, text: str, blob: bytes) -> bool:
        """Whether ``blob`` is this key's signature of the text; False for what is none at all."""


@dataclass(frozen=True)
class Signature:
    """A line of a note: the key's name and id (4 bytes), and what the key made of the text."""

    name: str
    key_id: bytes
    blob: bytes

    def __str__(self) -> str:
        return f"{_DASH}{self.name} {base64.b64encode(self.key_id + self.blob).decode()}\n"

    @classmethod
    def parse(cls, line: str) -> Self:
        """A line without its end; raises `Invalid` (``NoteMalformed``)."""
        name, space, encoded = line.removeprefix(_DASH).partition(" ")
        if not line.startswith(_DASH) or not space or not is_name(name):
            raise malformed("a line below the empty one is no signature")
        try:
            raw = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError) as error:
            raise malformed("a signature is not base64") from error
        if len(raw) <= ID_BYTES:
            raise malformed("a signature has no more than its key's id")
        return cls(name, raw[:ID_BYTES], raw[ID_BYTES:])


@dataclass(frozen=True)
class Note:
    """A text, which ends its last line, and the signatures in their order."""

    text: str
    signatures: tuple[Signature, ...]

    def __str__(self) -> str:
        return f"{self.text}\n{''.join(map(str, self.signatures))}"

    @classmethod
    def parse(cls, raw: str | bytes) -> Self:
        """Take a note apart, believing nothing of it; raises `Invalid` (``NoteMalformed``)."""
        try:
            content = raw.encode() if isinstance(raw, str) else raw
            if len(content) > MAX_BYTES:
                raise malformed(f"it has more than {MAX_BYTES} bytes", allowed=MAX_BYTES)
            whole = content.decode()
        except UnicodeError as error:
            raise malformed("it is not UTF-8") from error
        if _CONTROL.search(whole):
            raise malformed("it has a control character")
        above, blank, below = whole.rpartition("\n\n")
        if not blank or not below.endswith("\n"):
            raise malformed("it has no signatures below an empty line")
        lines = below[:-1].split("\n")
        if len(lines) > MAX_SIGNATURES:
            raise malformed(f"it has {len(lines)} signatures", allowed=MAX_SIGNATURES)
        return cls(f"{above}\n", tuple(map(Signature.parse, lines)))

    def opened(self, keys: Iterable[NoteKey]) -> tuple[Signature, ...]:
        """The signatures by these keys, all of them verified, each once.

        Raises `Refused`: ``NoteForged`` where one of a key named here does not hold,
        ``NoteNotSigned`` where none of them signed, ``KeysAmbiguous``.
        """
        known: dict[tuple[str, bytes], NoteKey] = {}
        for key in keys:
            place = (key.name, key_id(key.name, key.material))
            if place in known and known[place].material != key.material:
                raise Refused(
                    "KeysAmbiguous",
                    "two keys of one name have the same id, which should not happen by chance",
                    found=f"{key.name}+{place[1].hex()}",
                )
            known[place] = key
        found: dict[tuple[str, bytes], Signature] = {}
        for signature in self.signatures:
            place = (signature.name, signature.key_id)
            if place not in known or place in found:
                continue
            if not known[place].verifies(self.text, signature.blob):
                raise Refused(
                    "NoteForged",
                    f"the note's signature by {signature.name} does not hold",
                    found=signature.key_id.hex(),
                )
            found[place] = signature
        if not found:
            raise Refused(
                "NoteNotSigned",
                "no key that is trusted here signed the note",
                found=[f"{each.name}+{each.key_id.hex()}" for each in self.signatures[:10]],
                allowed=[f"{name}+{id.hex()}" for name, id in known],
            )
        return tuple(found.values())

    @property
    def fits(self) -> bool:
        """Whether it is no longer than what `parse` takes."""
        return len(self.signatures) <= MAX_SIGNATURES and len(str(self).encode()) <= MAX_BYTES

    def signed(self, *more: Signature) -> Note:
        """The note with further signatures; one that a key made before gives way to its new one."""
        places = {(each.name, each.key_id) for each in more}
        kept = (each for each in self.signatures if (each.name, each.key_id) not in places)
        return replace(self, signatures=(*kept, *more))


def is_name(name: str) -> bool:
    """Whether a key may be called so: something, without spaces and plus signs."""
    return bool(name) and "+" not in name and not any(character.isspace() for character in name)


def key_id(name: str, material: bytes) -> bytes:
    """The four bytes that tell keys of one name apart."""
    return hashlib.sha256(f"{name}\n".encode() + material).digest()[:ID_BYTES]


def malformed(detail: str, *, allowed: object = None) -> NodeError:
    return Invalid("NoteMalformed", f"this is no signed note: {detail}", allowed=allowed)
