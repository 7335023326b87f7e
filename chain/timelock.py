"""Where what was decided waits, and from where it acts: OpenZeppelin's TimelockController."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from eth_abi.abi import encode
from eth_utils.crypto import keccak

from chain.abi import to_bytes, to_hex
from chain.calls import Block, Call, EventRecord
from chain.contract import Contract
from chain.errors import HistoryIncomplete
from chain.ids import ZERO_ID
from chain.proposals import Action

# By which `hasRole` and `grantRole` go.
PROPOSER_ROLE = to_hex(keccak(text="PROPOSER_ROLE"))
CANCELLER_ROLE = to_hex(keccak(text="CANCELLER_ROLE"))
EXECUTOR_ROLE = to_hex(keccak(text="EXECUTOR_ROLE"))
ADMIN_ROLE = ZERO_ID
ANYONE = "0x" + "00" * 20
"""Holds the executor's role: what was decided and has waited may be carried out by anyone."""

ROLE_NAMES = {
    PROPOSER_ROLE: "PROPOSER",
    CANCELLER_ROLE: "CANCELLER",
    EXECUTOR_ROLE: "EXECUTOR",
    ADMIN_ROLE: "DEFAULT_ADMIN",
}


@dataclass(frozen=True, order=True)
class Holder:
    """An account that has a role. `role` is its name, its digest where we know no name."""

    role: str
    account: str


class Timelock(Contract):
    artifact = "TimelockController"

    def delay(self, *, block: Block | None = None) -> int:
        """Seconds."""
        return int(self._read("getMinDelay", block=block))

    def has_role(self, role: str, account: str, *, block: Block | None = None) -> bool:
        return bool(self._read("hasRole", role, account, block=block))

    def holders(self, told: Iterable[EventRecord], *, block: Block) -> frozenset[Holder]:
        """Who holds a role at `block`, where `told` is all that it told until then.

        The contract keeps no list: its events, replayed, name everybody who was ever given a role,
        and it says itself of each who has it now. Raises HistoryIncomplete where these differ, or
        the events do not begin with the contract's making.
        """
        events = [event for event in told if event.contract == self.artifact]
        self._require_beginning(events)
        given: set[tuple[str, str]] = set()
        replayed: set[tuple[str, str]] = set()
        for event in events:
            if event.name == "RoleGranted":
                given.add((event.args["role"], event.args["account"]))
                replayed.add((event.args["role"], event.args["account"]))
            elif event.name == "RoleRevoked":
                replayed.discard((event.args["role"], event.args["account"]))
        held = {pair for pair in given if self.has_role(*pair, block=block)}
        if held != replayed:
            raise HistoryIncomplete("the timelock", "it has roles that its events do not explain")
        return frozenset(Holder(ROLE_NAMES.get(role, role), account) for role, account in held)

    def _require_beginning(self, events: Sequence[EventRecord]) -> None:
        """Its constructor makes it its own administrator before it does anything else."""
        first = events[0] if events else None
        own = {"role": ADMIN_ROLE, "account": self.address}
        if first is None or first.name != "RoleGranted" or not own.items() <= first.args.items():
            raise HistoryIncomplete("the timelock", "its first events are not there")

    def waiting(self, told: Iterable[EventRecord], *, block: Block) -> tuple[str, ...]:
        """Operations that were put into it by `block` and are neither carried out nor taken out."""
        put = {event.args["id"]: None for event in told if event.name == "CallScheduled"}
        return tuple(id for id in put if self.ready_at(id, block=block) > 1)

    def ready_at(self, operation: str, *, block: Block | None = None) -> int:
        """Unix seconds; 0: not queued, 1: done."""
        return int(self._read("getTimestamp", operation, block=block))

    def grant_role(self, role: str, account: str) -> Call:
        return self._write("grantRole", role, account)

    def renounce_role(self, role: str, account: str) -> Call:
        """By that account."""
        return self._write("renounceRole", role, account)


def operation_id(actions: Sequence[Action], salt: bytes) -> str:
    """As `hashOperationBatch` of the timelock, with no predecessor."""
    packed = encode(
        ["address[]", "uint256[]", "bytes[]", "bytes32", "bytes32"],
        [*columns(actions), bytes(32), salt],
    )
    return to_hex(keccak(packed))


def columns(actions: Sequence[Action]) -> tuple[list[str], list[int], list[bytes]]:
    """Targets, values and calldatas, as they are encoded."""
    return (
        [action.target for action in actions],
        [action.value for action in actions],
        [to_bytes(action.calldata) for action in actions],
    )
