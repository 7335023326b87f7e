"""The secp256k1 key with which a site signs heads of logs for contracts, its own and others'.

It is an account that holds no ether and sends nothing: the registry of sites knows its address as
a key of the site, as it knows the others.  The file is encrypted PKCS8, as theirs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256K1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

SECRET_BYTES = 32


def new_anchor_key() -> EllipticCurvePrivateKey:
    return generate_private_key(SECP256K1())


def is_anchor_key(key: object) -> bool:
    return isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256K1)


def address_of(key: EllipticCurvePrivateKey) -> bytes:
    """The account's address; 20 bytes."""
    from eth_utils.crypto import keccak

    point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return bytes(keccak(point[1:]))[-20:]


def account_of(key: EllipticCurvePrivateKey) -> LocalAccount:
    """As the libraries that sign typed data take it."""
    from eth_account import Account

    secret = key.private_numbers().private_value.to_bytes(SECRET_BYTES, "big")
    account: LocalAccount = Account.from_key(secret)
    return account


def prove(key: EllipticCurvePrivateKey, digest: bytes) -> bytes:
    """The signature of 32 bytes as they are: r, s, v with the lower s; 65 bytes."""
    from eth_typing import Hash32

    return bytes(account_of(key).unsafe_sign_hash(Hash32(digest)).signature)
