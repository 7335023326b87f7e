"""Identifiers, computed as the contracts compute them.

An id is keccak256(abi.encode(chain id, registry, owner, nonce)): its owner knows it before the
transaction is mined, and a repeated transaction meets "taken" instead of making a twin.
"""

import secrets

from eth_abi.abi import encode
from eth_utils.crypto import keccak

ZERO_ID = "0x" + "00" * 32
"""No member, no grant, no model."""


def derive_id(chain_id: int, registry: str, owner: str, nonce: int) -> str:
    """0x-hex of 32 bytes. `owner` is an account address; `nonce` is in [0, 2**256)."""
    packed = encode(
        ["uint256", "address", "address", "uint256"], [chain_id, registry, owner, nonce]
    )
    return "0x" + bytes(keccak(packed)).hex()


def new_nonce() -> int:
    """A nonce that its owner has not used before but with probability 2**-64 in 2**32 ids."""
    return secrets.randbits(128)
