"""The head of a log: a C2SP checkpoint, which is the text of a signed note.

    fatechain/0x…site          origin, and the name of the key
    1234                       size
    <base64 of the root>

Source: https://c2sp.org/tlog-checkpoint
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Self

from chain.canonical import MAX_INTEGER
from chain.merkle import EMPTY_ROOT, HASH_BYTES
from node.audit.note_keys import Ed25519Key, sign
from node.audit.notes import Note
from node.errors import Invalid, NodeError
from node.identity import Identity

PREFIX = "fatechain/"
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_MAX_SIZE = MAX_INTEGER  # what an alert or an entry tells of a head is canonical JSON
_SITE = re.compile(r"0x[0-9a-f]{64}")


@dataclass(frozen=True)
class Checkpoint:
    """Whose log, how many entries, and the root over them (32 bytes)."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The head that a note's text tells; raises `Invalid` (``CheckpointInvalid``).

        There is one form of every head.  Lines below the third, which a log may add and nobody can
        audit, are refused: our logs have none, and an EIP-712 signature would not cover them.
        """
        lines = text.split("\n")
        if len(lines) != 4 or lines[3] or not lines[0]:
            raise _invalid("it has not the three lines of one")
        origin, size, encoded = lines[:3]
        if not _SIZE.fullmatch(size) or int(size) > _MAX_SIZE:
            raise _invalid("the size is no number, or not in its one form")
        try:
            root = base64.b64decode(encoded, validate=True)
        except (ValueError, binascii.Error) as error:
            raise _invalid("the root is not base64") from error
        found = cls(origin, int(size), root)
        if len(root) != HASH_BYTES or found.text != text:
            raise _invalid("the root is no SHA-256, or not in its one form")
        if found.size == 0 and root != EMPTY_ROOT:
            raise _invalid("a log without entries has another root")
        return found


def origin_of(site_id: str) -> str:
    """The name of a site's log and of its audit key in notes."""
    return PREFIX + site_id


def site_of(origin: str) -> str:
    """The site whose log this is; raises `Invalid` (``CheckpointInvalid``) for another's log."""
    site = origin.removeprefix(PREFIX)
    if not origin.startswith(PREFIX) or not _SITE.fullmatch(site):
        raise _invalid("the origin names no site of a consortium")
    return site


def sign_checkpoint(identity: Identity, site_id: str, size: int, root: bytes) -> str:
    """The note for a head of the site's log."""
    head = Checkpoint(origin_of(site_id), size, root)
    return str(Note(head.text, (sign(identity, head.origin, head.text),)))


def open_checkpoint(note: str | bytes, site_id: str, public_key: bytes) -> Checkpoint:
    """The head that the site's audit key signed.

    Raises `Invalid` (``NoteMalformed``, ``CheckpointInvalid``) and `Refused` (``NoteForged``,
    ``NoteNotSigned``).
    """
    origin = origin_of(site_id)
    found = Note.parse(note)
    found.opened([Ed25519Key(origin, public_key)])
    head = Checkpoint.parse(found.text)
    if head.origin != origin:
        raise _invalid("it is the head of another log")
    return head


def _invalid(detail: str) -> NodeError:
    return Invalid("CheckpointInvalid", f"this is no checkpoint: {detail}")
