"""Where what was decided waits, and from where it acts: OpenZeppelin's TimelockController."""

from collections.abc import Sequence

from eth_abi.abi import encode
from eth_utils.crypto import keccak

from chain.abi import to_bytes, to_hex
from chain.calls import Block, Call
from chain.contract import Contract
from chain.ids import ZERO_ID
from chain.proposals import Action

# By which `hasRole` and `grantRole` go.
PROPOSER_ROLE = to_hex(keccak(text="PROPOSER_ROLE"))
CANCELLER_ROLE = to_hex(keccak(text="CANCELLER_ROLE"))
EXECUTOR_ROLE = to_hex(keccak(text="EXECUTOR_ROLE"))
ADMIN_ROLE = ZERO_ID
ANYONE = "0x" + "00" * 20
"""Holds the executor's role: what was decided and has waited may be carried out by anyone."""


class Timelock(Contract):
    artifact = "TimelockController"

    def delay(self, *, block: Block | None = None) -> int:
        """Seconds."""
        return int(self._read("getMinDelay", block=block))

    def has_role(self, role: str, account: str, *, block: Block | None = None) -> bool:
        return bool(self._read("hasRole", role, account, block=block))

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
