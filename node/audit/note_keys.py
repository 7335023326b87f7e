"""Two kinds of Ed25519 signatures in our notes.

    01   over the text: the log itself
    04   over ``cosignature/v1``, a time and the text: a witness, which says that this is the
         largest head it saw by then, and continues all it saw before

Sources: https://c2sp.org/signed-note, https://c2sp.org/tlog-cosignature
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING

from node.audit.notes import NoteKey, Signature, key_id
from node.signatures import verify_bytes

if TYPE_CHECKING:
    from node.identity import Identity

ED25519, COSIGNATURE = b"\x01", b"\x04"
PUBLIC_BYTES = 32
TIME_BYTES = 8
MAX_TIME = 2**63 - 1


@dataclass(frozen=True)
class Ed25519Key:
    """Signs the text as it is; ``public`` is 32 bytes."""

    name: str
    public: bytes

    @property
    def material(self) -> bytes:
        return ED25519 + self.public

    def verifies(self, text: str, blob: bytes) -> bool:
        return _verified(self.public, blob, text.encode())


@dataclass(frozen=True)
class CosignerKey:
    """A witness; the signature begins with the time, Unix seconds in eight bytes."""

    name: str
    public: bytes

    @property
    def material(self) -> bytes:
        return COSIGNATURE + self.public

    def verifies(self, text: str, blob: bytes) -> bool:
        time = time_of(blob)
        if time is None:
            return False
        return _verified(self.public, blob[TIME_BYTES:], _cosigned(text, time))


def time_of(blob: bytes) -> int | None:
    """The Unix seconds that a timestamped signature begins with; None where it cannot be one."""
    time = int.from_bytes(blob[:TIME_BYTES], "big")
    return time if len(blob) > TIME_BYTES and time <= MAX_TIME else None


def sign(identity: Identity, name: str, text: str) -> Signature:
    """The audit key's signature of the text."""
    key = Ed25519Key(name, identity.audit_public)
    return signature_of(key, identity.sign_audit(text.encode()))


def cosign(identity: Identity, name: str, text: str, time: int) -> Signature:
    """The audit key's word that, at ``time``, this head is the largest seen of its log."""
    if not 0 < time <= MAX_TIME:
        raise ValueError(f"{time} is no time in Unix seconds")
    key = CosignerKey(name, identity.audit_public)
    return signature_of(key, time_bytes(time) + identity.sign_audit(_cosigned(text, time)))


def signature_of(key: NoteKey, blob: bytes) -> Signature:
    """The line of what a key made."""
    return Signature(key.name, key_id(key.name, key.material), blob)


def time_bytes(time: int) -> bytes:
    """Unix seconds as a signature begins with them."""
    return time.to_bytes(TIME_BYTES, "big")


def _cosigned(text: str, time: int) -> bytes:
    return f"cosignature/v1\ntime {time}\n{text}".encode()


def _verified(public: bytes, signature: bytes, content: bytes) -> bool:
    return verify_bytes(public, base64.b64encode(signature).decode(), content)
