"""What data owners allowed: signed off the chain (EIP-712), relayed by anyone, revoked at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from chain.calls import Block, Call
from chain.canonical import word
from chain.contract import Contract
from chain.ids import ZERO_ID, derive_id

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount


class GrantState(StrEnum):
    """In the contract's order."""

    NONE = "NONE"
    ACTIVE = "ACTIVE"
    EXPIRED = "EXPIRED"
    USED_UP = "USED_UP"
    REVOKED = "REVOKED"
    AMENDED = "AMENDED"


_STATES = tuple(GrantState)

ALL_MEMBERS = word("all-members")
"""The grantee of a grant to every member that is active when it uses it."""

MAX_CHOICES = 8
"""Purposes, and algorithms, of one grant."""


@dataclass(frozen=True)
class GrantTerms:
    """The contract's `Grant`, field by field. `until` is block time in Unix seconds, exclusive.

    A use has one of the `purposes` and one of the `algorithms` (code digests). The contract
    enforces dataset, versions, grantee, purposes, algorithms, until, uses and min_parties; the
    owner's node enforces min_rows, product_budget (vectors answered), epsilon_micro and the
    document whose digest is `column_rules` (zero: every column may enter the protocol).
    """

    dataset_id: str
    from_version: int
    to_version: int
    grantee: str
    purposes: tuple[str, ...]
    algorithms: tuple[str, ...]
    until: int
    uses: int
    nonce: int
    min_parties: int = 2
    min_rows: int = 0
    product_budget: int = 0
    epsilon_micro: int = 0
    column_rules: str = ZERO_ID
    amends: str = ZERO_ID

    def to_struct(self) -> dict[str, Any]:
        """Keyed by the contract's field names, for ABI, EIP-712 and JSON."""
        struct = {name: getattr(self, attribute) for name, attribute in _FIELDS.items()}
        return {name: list(v) if name in _LISTS else v for name, v in struct.items()}

    @classmethod
    def from_struct(cls, struct: Mapping[str, Any]) -> "GrantTerms":
        found: dict[str, Any] = {_FIELDS[name]: struct[name] for name in _FIELDS}
        lists = {_FIELDS[name]: tuple(struct[name]) for name in _LISTS}
        return cls(**(found | lists))

    def to_json(self) -> dict[str, Any]:
        """As `to_struct`, with the 64 and 256 bit integers as decimal text: JSON's numbers end at
        2**53.
        """
        struct = self.to_struct()
        return {name: str(v) if name in _WIDE else v for name, v in struct.items()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "GrantTerms":
        """Raises KeyError, ValueError on anything that `to_json` did not write."""
        return cls.from_struct({n: int(v) if n in _WIDE else v for n, v in value.items()})


# The contract's names in the contract's order: EIP-712 hashes fields in this order.
_TYPES: Mapping[str, str] = {
    "datasetId": "bytes32",
    "fromVersion": "uint32",
    "toVersion": "uint32",
    "grantee": "bytes32",
    "purposes": "bytes32[]",
    "algorithms": "bytes32[]",
    "until": "uint64",
    "uses": "uint32",
    "minParties": "uint8",
    "minRows": "uint64",
    "productBudget": "uint64",
    "epsilonMicro": "uint64",
    "columnRules": "bytes32",
    "amends": "bytes32",
    "nonce": "uint256",
}
_FIELDS: Mapping[str, str] = {
    "datasetId": "dataset_id",
    "fromVersion": "from_version",
    "toVersion": "to_version",
    "grantee": "grantee",
    "purposes": "purposes",
    "algorithms": "algorithms",
    "until": "until",
    "uses": "uses",
    "minParties": "min_parties",
    "minRows": "min_rows",
    "productBudget": "product_budget",
    "epsilonMicro": "epsilon_micro",
    "columnRules": "column_rules",
    "amends": "amends",
    "nonce": "nonce",
}
_WIDE = frozenset(name for name, kind in _TYPES.items() if kind in ("uint64", "uint256"))
_LISTS = frozenset(name for name, kind in _TYPES.items() if kind.endswith("[]"))
_DOMAIN_TYPE = [
    {"name": "name", "type": "string"},
    {"name": "version", "type": "string"},
    {"name": "chainId", "type": "uint256"},
    {"name": "verifyingContract", "type": "address"},
]


@dataclass(frozen=True)
class GrantRecord:
    """What the registry keeps of a grant; blocks are 0 where it did not happen."""

    id: str
    terms: GrantTerms
    owner: str
    used: int
    from_block: int
    revoked_at: int
    amended_at: int


def grant_id(chain_id: int, consents: str, account: str, nonce: int) -> str:
    """The id of the grant that the owner's `account` signs with `nonce`."""
    return derive_id(chain_id, consents, account, nonce)


class Consents(Contract):
    artifact = "ConsentRegistry"

    def record(self, grant: str, *, block: Block | None = None) -> GrantRecord:
        """Refused with ConsentUnknown."""
        found = self._read("record", grant, block=block)
        return GrantRecord(
            id=grant,
            terms=GrantTerms.from_struct(found["grant"]),
            owner=found["owner"],
            used=found["used"],
            from_block=found["fromBlock"],
            revoked_at=found["revokedAt"],
            amended_at=found["amendedAt"],
        )

    def state(self, grant: str, *, block: Block | None = None) -> GrantState:
        return _STATES[int(self._read("state", grant, block=block))]

    def require_usable(
        self,
        grant: str,
        grantee: str,
        dataset: str,
        version: int,
        purpose: str,
        algorithm: str,
        parties: int,
        *,
        block: Block | None = None,
    ) -> None:
        """Refused with the first reason why the grant does not allow this use now."""
        args = (grant, grantee, dataset, version, purpose, algorithm, parties)
        self._read("requireUsable", *args, block=block)

    def require_standing(
        self,
        grant: str,
        grantee: str,
        dataset: str,
        version: int,
        purpose: str,
        algorithm: str,
        parties: int,
        *,
        block: Block | None = None,
    ) -> None:
        """As `require_usable` for a use already consumed: the count of uses is not looked at."""
        args = (grant, grantee, dataset, version, purpose, algorithm, parties)
        self._read("requireStanding", *args, block=block)

    def grants(self, *, block: Block | None = None) -> tuple[str, ...]:
        return self._read_all("grantCount", "grants", block)

    def digest(self, terms: GrantTerms, *, block: Block | None = None) -> str:
        """The EIP-712 digest of a grant, by the contract."""
        found: str = self._read("digest", terms.to_struct(), block=block)
        return found

    def typed_data(self, terms: GrantTerms) -> dict[str, Any]:
        """The EIP-712 document that the owner of the dataset signs, as wallets take it."""
        message = {**terms.to_struct(), "purposes": [word(text) for text in terms.purposes]}
        return self._document("Grant", _TYPES, message)

    def typed_revocation(self, grant: str) -> dict[str, Any]:
        """The EIP-712 document that revokes a grant."""
        return self._document("Revocation", {"grantId": "bytes32"}, {"grantId": grant})

    def sign(self, terms: GrantTerms, account: "LocalAccount") -> str:
        """The owner's signature of a grant, 0x-hex of 65 bytes."""
        return _sign(self.typed_data(terms), account)

    def sign_revocation(self, grant: str, account: "LocalAccount") -> str:
        return _sign(self.typed_revocation(grant), account)

    def grant(self, terms: GrantTerms, signature: str) -> Call:
        """Records a signed grant. By anyone."""
        return self._write("grant", terms.to_struct(), signature)

    def revoke(self, grant: str) -> Call:
        """By the owner's account."""
        return self._write("revoke", grant)

    def revoke_by_signature(self, grant: str, signature: str) -> Call:
        """By anyone who holds the owner's signature."""
        return self._write("revokeBySignature", grant, signature)

    def _document(
        self, name: str, types: Mapping[str, str], message: dict[str, Any]
    ) -> dict[str, Any]:
        return {
            "types": {
                "EIP712Domain": _DOMAIN_TYPE,
                name: [{"name": field, "type": kind} for field, kind in types.items()],
            },
            "primaryType": name,
            "domain": {
                "name": "FATE-Chain Consent",
                "version": "1",
                "chainId": self.client.chain_id,
                "verifyingContract": self.address,
            },
            "message": message,
        }


def _sign(document: dict[str, Any], account: "LocalAccount") -> str:
    signature: str = account.sign_typed_data(full_message=document).signature.to_0x_hex()
    return signature
