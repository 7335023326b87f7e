"""Access in an emergency: two people of the owner open it for hours, a vote reviews it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from chain import typed_data
from chain.calls import Block, Call
from chain.consents import GrantTerms
from chain.contract import Contract

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

_DOMAIN = "FATE-Chain BreakGlass"
_OPENING = {"grantDigest": "bytes32", "purpose": "bytes32"}


class EmergencyState(StrEnum):
    """In the contract's order."""

    NONE = "NONE"
    UNREVIEWED = "UNREVIEWED"
    OVERDUE = "OVERDUE"
    LAPSED = "LAPSED"
    REVIEWED = "REVIEWED"


_STATES = tuple(EmergencyState)


@dataclass(frozen=True)
class Emergency:
    """Its id is that of the grant that it opened.

    `purpose` is the digest of why. `until` and `review_by` are block times (Unix seconds), the rest
    blocks, 0 where it did not happen. `justified` and `reasons` say something once it is reviewed.
    """

    id: str
    owner: str
    first: str
    second: str
    purpose: str
    opened_at: int
    until: int
    review_by: int
    reviewed_at: int
    lapsed_at: int
    justified: bool
    reasons: str


def opening_document(
    chain_id: int, contract: str, grant_digest: str, purpose: str
) -> dict[str, Any]:
    """As `BreakGlass.typed_opening`, where no chain is at hand."""
    message = {"grantDigest": grant_digest, "purpose": purpose}
    return typed_data.document(_DOMAIN, chain_id, contract, "BreakGlass", _OPENING, message)


class BreakGlass(Contract):
    artifact = "BreakGlass"

    def emergency(self, emergency: str, *, block: Block | None = None) -> Emergency:
        """Refused with BreakGlassUnknown."""
        found = self._read("emergency", emergency, block=block)
        return Emergency(
            id=emergency,
            owner=found["owner"],
            first=found["first"],
            second=found["second"],
            purpose=found["purpose"],
            opened_at=found["openedAt"],
            until=found["until"],
            review_by=found["reviewBy"],
            reviewed_at=found["reviewedAt"],
            lapsed_at=found["lapsedAt"],
            justified=found["justified"],
            reasons=found["reasons"],
        )

    def state(self, emergency: str, *, block: Block | None = None) -> EmergencyState:
        return _STATES[int(self._read("state", emergency, block=block))]

    def emergencies(self, *, block: Block | None = None) -> tuple[str, ...]:
        return self._read_all("emergencyCount", "emergencies", block)

    def owing(self, owner: str, *, block: Block | None = None) -> int:
        """Emergencies of the member that lapsed and were not reviewed since."""
        return int(self._read("owing", owner, block=block))

    def digest(self, terms: GrantTerms, purpose: str, *, block: Block | None = None) -> str:
        """The EIP-712 digest of what the two people sign, by the contract."""
        found: str = self._read("digest", terms.to_struct(), purpose, block=block)
        return found

    def typed_opening(self, grant_digest: str, purpose: str) -> dict[str, Any]:
        """The EIP-712 document that each of the two people signs, as wallets take it.

        `grant_digest` is `Consents.digest(terms)`.
        """
        return opening_document(self.client.chain_id, self.address, grant_digest, purpose)

    def sign_opening(self, account: "LocalAccount", grant_digest: str, purpose: str) -> str:
        """0x-hex of 65 bytes."""
        return typed_data.sign(self.typed_opening(grant_digest, purpose), account)

    def open(
        self,
        terms: GrantTerms,
        first: str,
        first_signature: str,
        second: str,
        second_signature: str,
        purpose: str,
    ) -> Call:
        """By anyone who holds both signatures; the people speak for the dataset's owner."""
        args = (terms.to_struct(), first, first_signature, second, second_signature, purpose)
        return self._write("open", *args)

    def review(self, emergency: str, justified: bool, reasons: str) -> Call:
        """By the authority: the vote that every emergency needs."""
        return self._write("review", emergency, justified, reasons)

    def lapse(self, emergency: str) -> Call:
        """By anyone once the review is overdue: the owner is suspended, where that can be."""
        return self._write("lapse", emergency)
