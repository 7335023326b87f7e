"""EIP-712: what wallets show and sign for the contracts.

A document binds what is said to one contract on one chain: the signature says nothing elsewhere.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

_DOMAIN_TYPE = [
    {"name": "name", "type": "string"},
    {"name": "version", "type": "string"},
    {"name": "chainId", "type": "uint256"},
    {"name": "verifyingContract", "type": "address"},
]


def document(
    domain: str,
    chain_id: int,
    contract: str,
    kind: str,
    fields: Mapping[str, str],
    message: Mapping[str, Any],
) -> dict[str, Any]:
    """A `kind` for the contract whose EIP-712 name is `domain`, version "1".

    `fields` maps names to Solidity types in the contract's order, which is the order they are
    hashed in.
    """
    return {
        "types": {
            "EIP712Domain": _DOMAIN_TYPE,
            kind: [{"name": field, "type": type_} for field, type_ in fields.items()],
        },
        "primaryType": kind,
        "domain": {
            "name": domain,
            "version": "1",
            "chainId": chain_id,
            "verifyingContract": contract,
        },
        "message": dict(message),
    }


def sign(document: Mapping[str, Any], account: "LocalAccount") -> str:
    """0x-hex of 65 bytes."""
    signature: str = account.sign_typed_data(full_message=dict(document)).signature.to_0x_hex()
    return signature


def digest(document: Mapping[str, Any]) -> str:
    """What is signed of it: keccak256(0x19 01 ‖ domain ‖ message), 0x-hex of 32 bytes.

    Raises ValueError, KeyError, TypeError for what is no such document.
    """
    from eth_account.messages import encode_typed_data
    from eth_utils.crypto import keccak

    made = encode_typed_data(full_message=dict(document))
    return "0x" + keccak(b"\x19" + made.version + made.header + made.body).hex()
