"""What governing costs, compared with gas.json as `test_gas` does."""

from collections.abc import Callable

import pytest
from web3.types import TxReceipt

from chain.compile import load
from tests.contracts.government import DELAY, EXTENSION, FOR, MINIMUM, PERIOD, WAIT, Government
from tests.contracts.test_gas import compare
from tests.contracts.world import World, h, w


def _found(world: World) -> Government:
    return Government(world).found()


def _propose(world: World) -> TxReceipt:
    government = _found(world)
    proposal = government.drafted(world.admission("newcomer", "Bakery", 7))
    return world.send(government.proposing(proposal), "bank")


def _vote(world: World) -> TxReceipt:
    government = _found(world)
    proposal = government.opened(world.admission("newcomer", "Bakery", 7))
    cast = government.governor.functions.castVoteWithReason(proposal.id, FOR, "a good neighbour")
    return world.send(cast, "bank")


def _relay_vote(world: World) -> TxReceipt:
    government = _found(world)
    proposal = government.opened(world.admission("newcomer", "Bakery", 7))
    ballot = government.ballot(proposal, "bank")
    return world.send(government.casting(ballot, government.sign(ballot, "bank")), "relayer")


def _queue(world: World) -> TxReceipt:
    government = _found(world)
    proposal = government.passed(world.admission("newcomer", "Bakery", 7))
    return world.send(government.governor.functions.queue(*proposal.content), "relayer")


def _execute(world: World) -> TxReceipt:
    government = _found(world)
    proposal = government.queued(world.admission("newcomer", "Bakery", 7))
    return world.send(government.executing(proposal), "relayer")


def _suspend(world: World) -> TxReceipt:
    return world.send(world.membership.functions.suspend(world.clinic), "authority")


def _reinstate(world: World) -> TxReceipt:
    _suspend(world)
    return world.send(world.membership.functions.reinstate(world.clinic), "authority")


def _recover(world: World) -> TxReceipt:
    return world.send(world.recovery(world.clinic, "newcomer"), "authority")


def _review(world: World) -> TxReceipt:
    world.reviewed(h("code"), author="bank")
    world.appoint("shop", "reader")
    return world.send(world.review(h("code"), "reader"), "relayer")


def _allow_reviewed(world: World) -> TxReceipt:
    government = _found(world)
    world.reviewed(h("code"), author="bank", reviewers=("shop", "clinic"))
    allow = world.consortium.functions.allowAlgorithm(h("code"), "gradient trees")
    return government.enact(allow)


def _pull(world: World) -> TxReceipt:
    world.send(world.brake.functions.pull(h("fire")), "bank")
    return world.send(world.brake.functions.pull(h("fire")), "shop")


def _dispute(world: World) -> TxReceipt:
    opening = world.disputes.functions.open(world.shop, w("job"), h("job 7"), h("evidence"), 1)
    return world.send(opening, "bank")


MOVES: dict[str, Callable[[World], TxReceipt]] = {
    "ConsortiumGovernor.propose, one admission": _propose,
    "ConsortiumGovernor.castVoteWithReason": _vote,
    "ConsortiumGovernor.castVoteWithReasonAndParamsBySig, relayed": _relay_vote,
    "ConsortiumGovernor.queue": _queue,
    "ConsortiumGovernor.execute, one admission": _execute,
    "ConsortiumGovernor.execute, one reviewed algorithm": _allow_reviewed,
    "Membership.suspend": _suspend,
    "Membership.reinstate": _reinstate,
    "Membership.recover": _recover,
    "Reviews.review, relayed": _review,
    "Brake.pull, the last of two": _pull,
    "Disputes.open": _dispute,
}


@pytest.mark.parametrize("name", MOVES)
def test_a_move_of_governance_costs_what_is_committed(world: World, name: str) -> None:
    compare(name, int(MOVES[name](world)["gasUsed"]))


def test_governor_and_timelock_cost_what_is_committed_to_deploy(world: World) -> None:
    owner = world.address("authority")
    timelock, governor = (load(n) for n in ("TimelockController", "ConsortiumGovernor"))
    factory = world.web3.eth.contract(abi=timelock.abi, bytecode=timelock.bytecode)
    made = world.transact(factory.constructor(WAIT, [], [], owner), "authority")
    compare("TimelockController, deployed", int(made["gasUsed"]))

    assert made["contractAddress"] is not None
    factory = world.web3.eth.contract(abi=governor.abi, bytecode=governor.bytecode)
    settings = (DELAY, PERIOD, MINIMUM, EXTENSION)
    creation = factory.constructor(world.membership.address, made["contractAddress"], *settings)
    receipt = world.transact(creation, "authority")
    compare("ConsortiumGovernor, deployed", int(receipt["gasUsed"]))
