"""Institutions: one vote each, admitted, suspended, reinstated and expelled by governance."""

from dataclasses import dataclass
from enum import StrEnum

from chain.calls import Block, Call
from chain.contract import Contract
from chain.ids import derive_id


class Standing(StrEnum):
    """In the contract's order."""

    NONE = "NONE"
    ACTIVE = "ACTIVE"
    SUSPENDED = "SUSPENDED"
    EXPELLED = "EXPELLED"


_STANDINGS = tuple(Standing)


@dataclass(frozen=True)
class Member:
    """Blocks are facts; 0 where it did not happen."""

    id: str
    account: str
    name: str
    admitted_at: int
    suspended_at: int
    expelled_at: int


def member_id(chain_id: int, membership: str, account: str, nonce: int) -> str:
    """The id that `admit(account, …, nonce)` will give."""
    return derive_id(chain_id, membership, account, nonce)


class Membership(Contract):
    artifact = "Membership"

    def member(self, member: str, *, block: Block | None = None) -> Member:
        """Refused with MembershipUnknown."""
        found = self._read("member", member, block=block)
        return Member(
            id=member,
            account=found["account"],
            name=found["name"],
            admitted_at=found["admittedAt"],
            suspended_at=found["suspendedAt"],
            expelled_at=found["expelledAt"],
        )

    def member_of(self, account: str, *, block: Block | None = None) -> str:
        """Refused with MembershipNotAMember."""
        found: str = self._read("memberOf", account, block=block)
        return found

    def standing(self, member: str, *, block: Block | None = None) -> Standing:
        return _STANDINGS[int(self._read("standing", member, block=block))]

    def standing_at(self, member: str, number: int, *, block: Block | None = None) -> Standing:
        """The standing at the end of the past block `number`, from the facts that are kept."""
        return _STANDINGS[int(self._read("standingAt", member, number, block=block))]

    def require_active(self, member: str, *, block: Block | None = None) -> None:
        self._read("requireActive", member, block=block)

    def require_active_account(self, account: str, *, block: Block | None = None) -> str:
        found: str = self._read("requireActiveAccount", account, block=block)
        return found

    def members(self, *, block: Block | None = None) -> tuple[str, ...]:
        return self._read_all("memberCount", "members", block)

    def admit(self, account: str, name: str, nonce: int) -> Call:
        return self._write("admit", account, name, nonce)

    def suspend(self, member: str) -> Call:
        return self._write("suspend", member)

    def reinstate(self, member: str) -> Call:
        return self._write("reinstate", member)

    def expel(self, member: str) -> Call:
        return self._write("expel", member)
