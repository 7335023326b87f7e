"""A signed head of a log: a C2SP checkpoint, which is a signed note with an Ed25519 key.

    fatechain/0x…site          origin, and the name of the key
    1234                       size
    <base64 of the root>

    — fatechain/0x…site <base64 of key hash and signature>

Sources: https://c2sp.org/tlog-checkpoint, https://c2sp.org/signed-note
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

from node.errors import Failed
from node.identity import Identity
from node.signatures import verify_bytes

ED25519 = b"\x01"  # the note's type of signature
MAX_NOTE_BYTES = 4096


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


def origin_of(site_id: str) -> str:
    """The name of a site's log and of its audit key in notes."""
    return f"fatechain/{site_id}"


def sign_checkpoint(identity: Identity, site_id: str, size: int, root: bytes) -> str:
    """The note for a head of the site's log."""
    checkpoint = Checkpoint(origin_of(site_id), size, root)
    signature = identity.sign_audit(checkpoint.text.encode())
    stamp = base64.b64encode(_key_hash(checkpoint.origin, identity.audit_public) + signature)
    return f"{checkpoint.text}\n\u2014 {checkpoint.origin} {stamp.decode()}\n"


def open_checkpoint(note: str, site_id: str, public_key: bytes) -> Checkpoint:
    """The head that the site's audit key signed; raises `Failed` (``CheckpointInvalid``)."""
    if len(note.encode()) > MAX_NOTE_BYTES:
        raise _invalid(f"it has more than {MAX_NOTE_BYTES} bytes")
    text, blank, stamps = note.partition("\n\n")
    lines = text.split("\n")
    if not blank or len(lines) != 3 or lines[0] != origin_of(site_id):
        raise _invalid("it is not a checkpoint of this site's log")
    checkpoint = _parsed(*lines)
    prefix = f"\u2014 {checkpoint.origin} "
    for line in stamps.splitlines():
        if line.startswith(prefix) and _is_signed(
            checkpoint, line.removeprefix(prefix), public_key
        ):
            return checkpoint
    raise _invalid("the site's audit key did not sign it")


def _parsed(origin: str, size: str, root: str) -> Checkpoint:
    try:
        checkpoint = Checkpoint(origin, int(size), base64.b64decode(root, validate=True))
    except (ValueError, binascii.Error) as error:
        raise _invalid("size or root cannot be read") from error
    if checkpoint.text != f"{origin}\n{size}\n{root}\n" or len(checkpoint.root) != 32:
        raise _invalid("size or root is not in its one form")
    return checkpoint


def _is_signed(checkpoint: Checkpoint, stamp: str, public_key: bytes) -> bool:
    try:
        raw = base64.b64decode(stamp, validate=True)
    except binascii.Error:
        return False
    signature = base64.b64encode(raw[4:]).decode()
    return raw[:4] == _key_hash(checkpoint.origin, public_key) and verify_bytes(
        public_key, signature, checkpoint.text.encode()
    )


def _key_hash(name: str, public_key: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + ED25519 + public_key).digest()[:4]


def _invalid(detail: str) -> Failed:
    return Failed("CheckpointInvalid", f"the checkpoint does not hold: {detail}")
