"""A head signed by an Ethereum account, for contracts: EIP-712, as a further line of its note.

The type of the signature is ff, "not registered", and a name of ours after it.
Sources: https://c2sp.org/signed-note, EIP-712
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from node.audit.checkpoint import Checkpoint, site_of
from node.audit.note_keys import TIME_BYTES, signature_of, time_bytes, time_of
from node.audit.notes import Signature
from node.errors import NodeError

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

TYPE = b"\xfffatechain/eip712-checkpoint/v1\n"
DOMAIN = "FATE-Chain Checkpoint"  # the EIP-712 name
FIELDS = {"logId": "bytes32", "size": "uint64", "root": "bytes32", "time": "uint64"}
CHAIN_BYTES, ADDRESS_BYTES = 32, 20
_HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
_ADDRESS = re.compile(r"0x[0-9a-f]{40}")


@dataclass(frozen=True)
class AccountKey:
    """An Ethereum account that signs for one contract of one chain; addresses in lower case.

    The signature is the time, and 65 bytes r, s, v with the lower s: there is one form of it.
    """

    name: str
    address: str
    chain_id: int
    contract: str

    def __post_init__(self) -> None:
        for address in (self.address, self.contract):
            if not _ADDRESS.fullmatch(address):
                raise ValueError(f"{address} is no address in lower case")

    @property
    def material(self) -> bytes:
        chain = self.chain_id.to_bytes(CHAIN_BYTES, "big")
        addresses = bytes.fromhex(self.contract[2:]) + bytes.fromhex(self.address[2:])
        return TYPE + chain + addresses

    def verifies(self, text: str, blob: bytes) -> bool:
        from eth_account import Account
        from eth_account.messages import encode_typed_data
        from eth_keys.exceptions import BadSignature

        time, raw = time_of(blob), blob[TIME_BYTES:]
        if time is None or len(raw) != 65 or raw[64] not in (27, 28):
            return False
        if not 0 < int.from_bytes(raw[32:64], "big") <= _HALF_ORDER:
            return False
        try:
            message = encode_typed_data(full_message=self.document(text, time))
            found = Account.recover_message(message, signature=raw)
        except (NodeError, BadSignature, ValueError):
            return False
        return str(found).lower() == self.address

    def document(self, text: str, time: int) -> dict[str, Any]:
        """What the account signs; raises `Invalid` (``CheckpointInvalid``) for another text."""
        from chain.typed_data import document

        head = Checkpoint.parse(text)
        message = {
            "logId": site_of(head.origin),
            "size": head.size,
            "root": "0x" + head.root.hex(),
            "time": time,
        }
        return document(DOMAIN, self.chain_id, self.contract, "Checkpoint", FIELDS, message)


def sign_as_account(account: LocalAccount, key: AccountKey, text: str, time: int) -> Signature:
    """The account's EIP-712 signature of the head; raises `Invalid` (``CheckpointInvalid``)."""
    signed = account.sign_typed_data(full_message=key.document(text, time))
    return signature_of(key, time_bytes(time) + bytes(signed.signature))
