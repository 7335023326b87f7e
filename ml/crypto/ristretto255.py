"""The prime-order group ristretto255 (RFC 9496), through libsodium.

Scalars and points are `bytes` of 32; a point from outside is used only after `is_valid`.
"""

from __future__ import annotations

import secrets
from hashlib import sha512

import rbcl

POINT_BYTES = 32
SCALAR_BYTES = 32

_IDENTITY = bytes(POINT_BYTES)


def new_scalar() -> bytes:
    """A uniform non-zero scalar: 64 random bytes, reduced."""
    while True:
        scalar = bytes(rbcl.crypto_core_ristretto255_scalar_reduce(secrets.token_bytes(64)))
        if any(scalar):
            return scalar


def hash_to_point(data: bytes) -> bytes:
    """SHA-512 of ``data`` mapped to the group (the element derivation of RFC 9496 § 4.3.4).

    Nobody knows its discrete logarithm to any base.
    """
    return bytes(rbcl.crypto_core_ristretto255_from_hash(sha512(data).digest()))


def multiply(scalar: bytes, point: bytes) -> bytes:
    """``scalar`` times a valid ``point``; constant time, without the interpreter lock."""
    return bytes(rbcl.crypto_scalarmult_ristretto255(scalar, point))


def is_valid(point: bytes) -> bool:
    """Whether these bytes are the canonical encoding of a point other than the identity."""
    return point != _IDENTITY and bool(rbcl.crypto_core_ristretto255_is_valid_point(point))


def multiply_base(scalar: bytes) -> bytes:
    """``scalar`` times the base point."""
    return bytes(rbcl.crypto_scalarmult_ristretto255_base(scalar))


def add(a: bytes, b: bytes) -> bytes:
    """The sum of two valid points."""
    return bytes(rbcl.crypto_core_ristretto255_add(a, b))


def subtract(a: bytes, b: bytes) -> bytes:
    """The difference of two valid points."""
    return bytes(rbcl.crypto_core_ristretto255_sub(a, b))


def invert(scalar: bytes) -> bytes:
    """The scalar that undoes multiplication by a non-zero ``scalar``."""
    return bytes(rbcl.crypto_core_ristretto255_scalar_invert(scalar))
