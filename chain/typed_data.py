"""EIP-712: what wallets show and sign for the contracts.

A document binds what is said to one contract on one chain: the signature says nothing elsewhere.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

_HEX = {
    "address": r"0x[0-9a-fA-F]{40}",
    "bytes32": r"0x[0-9a-fA-F]{64}",
    "bytes": r"0x([0-9a-fA-F]{2})*",
}
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


def require(given: Mapping[str, Any], domain: str, kind: str, fields: Mapping[str, str]) -> None:
    """Raises ValueError unless it is a `kind` as `document` makes it, for some contract.

    For whoever shows the message of a document from elsewhere and then signs it: what is hashed
    follows the types, and libraries read loosely (to some of them the text "no" is true), so a
    document could have another thing signed than its message says.
    """
    try:
        where, message = given["domain"], given["message"]
        chain_id, contract = where["chainId"], where["verifyingContract"]
        same = given == document(domain, chain_id, contract, kind, fields, message)
        plain = [_is_plain(chain_id, "uint256"), _is_plain(contract, "address")]
        plain += [_is_plain(message[name], type_) for name, type_ in fields.items()]
        same = same and message.keys() == fields.keys()
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"this is no {kind}") from error
    if not same or not all(plain):
        raise ValueError(f"this is no {kind}, or has values that can be read as others")


def _is_plain(value: Any, type_: str) -> bool:
    """Whether the value has the one form that nobody reads as something else."""
    if type_ == "bool":
        return isinstance(value, bool)
    if type_.startswith("uint"):
        if isinstance(value, str):  # as numbers beyond JSON's own are written
            return bool(re.fullmatch(r"0|[1-9][0-9]{0,77}", value))
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if not isinstance(value, str):
        return False
    form = _HEX.get(type_)
    return type_ == "string" or (form is not None and bool(re.fullmatch(form, value)))


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
