"""Encryption of points by several parties, in any order: multiplying with a secret scalar.

Pohlig and Hellman's exponentiation cipher on ristretto255 (RFC 9496), whose order is prime, so
that every key has an inverse and there are no small subgroups.  It is deterministic: it hides
points that nobody can guess or has hashed already, not *whether* two of them are equal.  That is
what private set intersection wants of it.  Assumption: decisional Diffie-Hellman.
"""

from __future__ import annotations

from dataclasses import dataclass

from ml.crypto import ristretto255
from ml.crypto.errors import InvalidPoint


@dataclass(frozen=True, repr=False)
class Key:
    """A secret non-zero scalar, of one conversation."""

    scalar: bytes

    @classmethod
    def new(cls) -> Key:
        """A fresh one."""
        return cls(ristretto255.new_scalar())

    def encrypt(self, point: bytes) -> bytes:
        """The point, encrypted once more.  Raises `InvalidPoint`."""
        return _times(self.scalar, point)

    def decrypt(self, point: bytes) -> bytes:
        """Takes this key's encryption away, whoever else encrypted.  Raises `InvalidPoint`."""
        return _times(ristretto255.invert(self.scalar), point)


def _times(scalar: bytes, point: bytes) -> bytes:
    try:
        return ristretto255.multiply(scalar, point)
    except (RuntimeError, ValueError) as error:  # libsodium decodes the point, and checks it
        raise InvalidPoint from error
