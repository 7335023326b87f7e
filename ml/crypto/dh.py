"""A key that two parties agree on in the open: X25519 (RFC 7748, § 6.1) with HKDF (RFC 5869).

Parties are not authenticated here: messages travel between sites that know each other by their
signatures, and a key is made for one conversation.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ml.crypto.errors import InvalidPoint

PUBLIC_BYTES = 32


@dataclass(frozen=True, repr=False)
class Secret:
    """A secret scalar and the public value that belongs to it."""

    key: X25519PrivateKey

    @classmethod
    def new(cls) -> Secret:
        """For one conversation."""
        return cls(X25519PrivateKey.generate())

    @property
    def public(self) -> bytes:
        """What the other party gets."""
        return self.key.public_key().public_bytes_raw()

    def agree(self, theirs: bytes, purpose: bytes, size: int = 16) -> bytes:
        """``size`` bytes that only the two parties can compute; another purpose, other bytes.

        Raises `InvalidPoint` for what is no public value, or one of small order, whose product
        everybody knows (RFC 7748, § 6.1).
        """
        try:
            shared = self.key.exchange(X25519PublicKey.from_public_bytes(theirs))
        except ValueError as error:
            raise InvalidPoint from error
        # Both public values belong to the key: without them other values could give the same.
        salt = b"".join(sorted((self.public, theirs)))
        return HKDF(SHA256(), size, salt, b"fatechain dh v1 " + purpose).derive(shared)
