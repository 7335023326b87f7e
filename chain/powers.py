"""Whether the members' votes are all that moves the consortium.

What the timelock and the governor told since they were made is replayed, and the timelock asked
what stands now. The governor alone may put decisions into the timelock and take them out, anybody
may carry out what has waited, and the timelock alone gives its roles. Whoever holds more, and
whatever waits in the timelock without a proposal of the governor, is above the votes: an account
that had a role for one block may have left a decision there.
"""

from contextlib import suppress
from dataclasses import dataclass

from chain import layouts
from chain.calls import EventRecord
from chain.compile import load
from chain.errors import ChainRefused, HiddenPower, HistoryIncomplete
from chain.governor import Proposal
from chain.history import History
from chain.network import Network
from chain.timelock import ANYONE, Holder


@dataclass(frozen=True)
class Powers:
    """`holders`: all roles in the timelock; `hidden`: in words, what is above the votes."""

    holders: frozenset[Holder]
    hidden: tuple[str, ...]

    def require_none_hidden(self) -> None:
        """Raises HiddenPower."""
        if self.hidden:
            raise HiddenPower("; ".join(self.hidden))


def powers(network: Network, first_block: int) -> Powers:
    """Reads at the newest block; `first_block` is where the consortium's history begins.

    Raises HistoryIncomplete, ChainUnavailable, LogsRefused.
    """
    head = network.client.head().number
    timelock, governor = network.timelock, network.governor
    told = History(network.client, [timelock.address, governor.address]).read(first_block, head)
    holders = timelock.holders(told, block=head)
    _require_made_after(network, told)
    expected = {
        Holder("DEFAULT_ADMIN", timelock.address),
        Holder("PROPOSER", governor.address),
        Holder("CANCELLER", governor.address),
        Holder("EXECUTOR", ANYONE),
    }
    hidden = [
        f"{holder.account} holds {holder.role} in the timelock"
        for holder in sorted(holders - expected)
    ]
    # Made, or withdrawn, is not decided: only what passed was queued by the governor.
    queued = {event.args["proposalId"] for event in told if event.name == "ProposalQueued"}
    decided = {
        Proposal.from_event(event.args).operation(governor.address)
        for event in told
        if event.name == "ProposalCreated" and event.args["proposalId"] in queued
    }
    hidden += [
        f"operation {id} waits in the timelock, and the governor did not put it there"
        for id in timelock.waiting(told, block=head)
        if id not in decided
    ]
    hidden += [
        f"the {name} at {contract.address} runs code that nobody here knows"
        for name, contract in (("timelock", timelock), ("governor", governor))
        if not layouts.is_made_of(
            network.client.code(contract.address, head), load(contract.artifact)
        )
    ]
    return Powers(holders, tuple(hidden))


def _require_made_after(network: Network, told: list[EventRecord]) -> None:
    """Before its first event the timelock was not there, as far as the endpoint remembers."""
    timelock = network.timelock.address
    first = next(event.block_number for event in told if event.contract == "TimelockController")
    is_older = False
    # Few endpoints keep old states; without them the first event has to do.
    with suppress(ChainRefused):
        is_older = first > 0 and network.client.has_code(timelock, first - 1)
    if is_older:
        raise HistoryIncomplete("the timelock", f"it is older than block {first}")
