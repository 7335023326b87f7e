"""Institutions: one vote each while they are active, admitted and expelled by governance.

Nobody becomes a member unasked: the institution's account signs its admission off the chain, and
the consortium hands the signature in when it admits.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from chain import typed_data
from chain.calls import Block, Call
from chain.contract import Contract
from chain.ids import derive_id

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

_DOMAIN = "FATE-Chain Member"
_ADMISSION = {"account": "address", "name": "string", "nonce": "uint256"}
_RECOVERY = {"member": "bytes32", "account": "address"}


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


def sign_admission(
    account: "LocalAccount", name: str, nonce: int, chain_id: int, membership: str
) -> str:
    """The account's acceptance of its admission, 0x-hex of 65 bytes."""
    message = {"account": str(account.address), "name": name, "nonce": nonce}
    return typed_data.sign(_admission(chain_id, membership, message), account)


def sign_recovery(account: "LocalAccount", member: str, chain_id: int, membership: str) -> str:
    """The new account's acceptance of becoming the member's, 0x-hex of 65 bytes."""
    message = {"member": member, "account": str(account.address)}
    return typed_data.sign(_recovery(chain_id, membership, message), account)


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
        """The member whose account this is, or was before it was recovered.

        Refused with MembershipNotAMember.
        """
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

    def is_active_account(self, account: str, *, block: Block | None = None) -> bool:
        """Whether it is the account of an active member, and not one that was replaced."""
        return bool(self._read("isActiveAccount", account, block=block))

    def active_count(self, *, block: Block | None = None) -> int:
        """Active members, which is the supply of votes."""
        return int(self._read("activeCount", block=block))

    def members(self, *, block: Block | None = None) -> tuple[str, ...]:
        return self._read_all("memberCount", "members", block)

    def typed_admission(self, account: str, name: str, nonce: int) -> dict[str, Any]:
        """The EIP-712 document by which `account` accepts its admission, as wallets take it."""
        message = {"account": account, "name": name, "nonce": nonce}
        return _admission(self.client.chain_id, self.address, message)

    def typed_recovery(self, member: str, account: str) -> dict[str, Any]:
        """The EIP-712 document by which `account` accepts to become the member's account."""
        message = {"member": member, "account": account}
        return _recovery(self.client.chain_id, self.address, message)

    def admit(self, account: str, name: str, nonce: int, acceptance: str) -> Call:
        """`acceptance` is what `sign_admission` gives. By the authority."""
        return self._write("admit", account, name, nonce, acceptance)

    def suspend(self, member: str) -> Call:
        return self._write("suspend", member)

    def reinstate(self, member: str) -> Call:
        return self._write("reinstate", member)

    def expel(self, member: str) -> Call:
        return self._write("expel", member)

    def recover(self, member: str, account: str, acceptance: str) -> Call:
        """`acceptance` is what `sign_recovery` gives. By the authority."""
        return self._write("recover", member, account, acceptance)

    def leaves_from(self, member: str, *, block: Block | None = None) -> int:
        """Block time (Unix seconds) from which it may leave; 0: it did not announce it."""
        return int(self._read("leavesFrom", member, block=block))

    def leave(self) -> Call:
        """By the member's own account, twice: to announce it, and a week later to do it."""
        return self._write("leave")


def _admission(chain_id: int, membership: str, message: dict[str, Any]) -> dict[str, Any]:
    return typed_data.document(_DOMAIN, chain_id, membership, "Admission", _ADMISSION, message)


def _recovery(chain_id: int, membership: str, message: dict[str, Any]) -> dict[str, Any]:
    return typed_data.document(_DOMAIN, chain_id, membership, "Recovery", _RECOVERY, message)
