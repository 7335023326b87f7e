"""What a reorganisation took back has not happened: no vote, no approval, and no start on either.

In this process, and on Anvil, whose `evm_revert` takes blocks back that were served before.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from chain.calls import EventRecord
from chain.client import ChainClient
from chain.errors import ContractRefused
from chain.governor import ProposalState
from chain.indexer import Indexer
from chain.jobs import JobState
from tests.chain.parliament import FOUNDERS, SETTINGS, STRANGER, Parliament, a_draft
from tests.chain.test_indexer import Memory
from tests.contracts.engines import IN_PROCESS, Chain, running

CONFIRMATIONS = 2


@dataclass
class Watched:
    """A parliament, and a node that follows its confirmed events."""

    chain: Chain
    parliament: Parliament
    store: Memory

    def fork(self) -> Any:
        """Remember this block: what comes after it may be taken back."""
        return self.chain.snapshot()

    def reorganise(self, fork: Any, blocks: int) -> None:
        """The blocks since `fork` are gone, and others stand in their place."""
        self.chain.revert(fork)
        self.parliament = self.parliament.afresh()
        self.chain.mine(blocks)

    def follow(self) -> list[EventRecord]:
        network = self.parliament.network
        return Indexer(network.client, network, self.store, CONFIRMATIONS).step()

    def told(self, name: str) -> list[EventRecord]:
        """Of all that the node has read."""
        self.follow()
        return [event for event in self.store.events if event.name == name]

    def peeked(self, name: str) -> list[EventRecord]:
        network = self.parliament.network
        seen = Indexer(network.client, network, self.store, CONFIRMATIONS).peek()
        return [event for event in seen if event.name == name]


@pytest.fixture(
    scope="module", params=[IN_PROCESS, pytest.param("anvil", marks=pytest.mark.system)]
)
def governed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Chain, Parliament]]:
    with running(request.param, tmp_path_factory.mktemp("chain")) as chain:

        def connect(account: Any) -> ChainClient:
            return ChainClient("http://reorgs", account=account, web3=chain.web3)

        yield chain, Parliament(connect, chain.mine, chain.travel).found()


@pytest.fixture
def watched(governed: tuple[Chain, Parliament]) -> Iterator[Watched]:
    chain, parliament = governed
    before = chain.snapshot()
    yield Watched(chain, parliament.afresh(), Memory())
    chain.revert(before)


def test_vote_that_a_reorganisation_took_back_does_not_count(watched: Watched) -> None:
    proposal = watched.parliament.propose(a_draft("set-minimum", name="key-bits", value=4096))
    watched.parliament.await_vote(proposal)
    voting = watched.parliament.network.governor.vote
    watched.parliament.send(FOUNDERS["bank"], voting(proposal.id, "for", "stays"))
    watched.chain.mine(CONFIRMATIONS)
    watched.follow()
    fork = watched.fork()
    watched.parliament.send(FOUNDERS["shop"], voting(proposal.id, "for", "goes"))
    assert [event.args["reason"] for event in watched.peeked("VoteCast")] == ["goes"]
    governor = watched.parliament.network.governor
    assert governor.proposal(proposal.id).for_ == 2

    watched.reorganise(fork, SETTINGS.voting_period + CONFIRMATIONS)
    governor = watched.parliament.network.governor
    assert governor.proposal(proposal.id).for_ == 1
    assert not governor.has_voted(proposal.id, FOUNDERS["shop"].address)
    assert [event.args["reason"] for event in watched.told("VoteCast")] == ["stays"]
    assert governor.state(proposal.id) is ProposalState.DEFEATED  # below the quorum
    with pytest.raises(ContractRefused, match="GovernorUnexpectedProposalState"):
        watched.parliament.send(STRANGER, governor.queue(proposal))


def test_vote_that_was_taken_back_is_cast_again_and_counts_once(watched: Watched) -> None:
    proposal = watched.parliament.propose(a_draft("set-minimum", name="key-bits", value=4096))
    watched.parliament.await_vote(proposal)
    watched.chain.mine(CONFIRMATIONS)
    watched.follow()
    fork = watched.fork()
    for _ in range(2):
        vote = watched.parliament.network.governor.vote(proposal.id, "for", "yes")
        watched.parliament.send(FOUNDERS["shop"], vote)
        if fork is not None:
            watched.reorganise(fork, 1)
            fork = None
    watched.chain.mine(CONFIRMATIONS)
    assert watched.parliament.network.governor.proposal(proposal.id).for_ == 1
    assert len(watched.told("VoteCast")) == 1


def test_job_does_not_start_on_an_approval_that_a_reorganisation_took_back(
    watched: Watched,
) -> None:
    world = watched.parliament.world
    job = world.propose()
    watched.chain.mine(CONFIRMATIONS)
    watched.follow()
    fork = watched.fork()
    read = world.network.jobs.job(job).specification
    world.send(world.shop.operator, world.network.jobs.approve(job, world.shop.site, read))
    assert world.network.jobs.state(job) is JobState.APPROVED
    confirmed = world.network.client.head().number - CONFIRMATIONS
    assert world.network.at(confirmed).jobs.state(job) is JobState.PROPOSED
    assert len(watched.peeked("JobApproved")) == 1

    watched.reorganise(fork, 1 + CONFIRMATIONS)
    world = watched.parliament.world
    assert watched.told("JobApproved") == []
    assert world.network.jobs.state(job) is JobState.PROPOSED
    with pytest.raises(ContractRefused, match="JobWrongState"):
        world.send(world.bank.operator, world.network.jobs.start(job))
    assert watched.told("JobStarted") == []
    # The approval counts when it is given to the chain that stands.
    world.send(world.shop.operator, world.network.jobs.approve(job, world.shop.site, read))
    world.send(world.bank.operator, world.network.jobs.start(job))
    watched.chain.mine(CONFIRMATIONS)
    assert len(watched.told("JobApproved")) == len(watched.told("JobStarted")) == 1


def test_start_falls_with_the_approval_beneath_it(watched: Watched) -> None:
    """One use of the grant is given back with it."""
    world = watched.parliament.world
    job = world.propose()
    fork = watched.fork()
    read = world.network.jobs.job(job).specification
    world.send(world.shop.operator, world.network.jobs.approve(job, world.shop.site, read))
    world.send(world.bank.operator, world.network.jobs.start(job))
    grant = world.shop.grant
    assert grant is not None
    assert world.network.consents.record(grant).used == 1
    watched.reorganise(fork, 3)
    network = watched.parliament.network
    assert network.jobs.state(job) is JobState.PROPOSED
    assert network.consents.record(grant).used == 0
    assert watched.told("ConsentUsed") == []
