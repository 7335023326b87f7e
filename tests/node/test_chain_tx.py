"""Transactions are sent once, in order, and the same ones again after any crash."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from eth_account import Account
from sqlalchemy import select
from sqlalchemy.orm import Session

from chain.calls import Call, Payment
from chain.client import ChainClient
from chain.deploy import Deployment
from chain.errors import ChainUnavailable
from chain.network import Network
from chain.testing import InProcessChain
from chain.testnet import dev_account
from node.chain_tx import RESEND_SECONDS, Sender, state_of, want, want_again
from node.errors import NodeError
from node.store import ChainTx, Store
from tests.chain.world import admission
from tests.node import consortium
from tests.node.test_jobs import an_empty_store

CONFIRMATIONS = 2


class Clock:
    """Wall clock by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Crash(BaseException):
    """The process dies here."""


@pytest.fixture(scope="module")
def founded() -> tuple[InProcessChain, Deployment]:
    return consortium.found()


class World:
    """A chain, a database, and the authority's key."""

    def __init__(self, chain: InProcessChain, deployment: Deployment, store: Store) -> None:
        self.chain, self.store, self.clock = chain, store, Clock()
        self.client = chain.client(0)
        self.network = Network.open(self.client, deployment.consortium)
        self.refused: list[tuple[str, str]] = []

    def sender(self, client: ChainClient | None = None) -> Sender:
        return Sender(
            self.store,
            client or self.client,
            confirmations=CONFIRMATIONS,
            on_refused=self.note,
            clock=self.clock,
        )

    def note(self, session: Session, row: ChainTx, reason: NodeError) -> None:
        self.refused.append((row.intent, reason.code))

    def step(self) -> None:
        self.sender().step(self.client.head().number)

    def want(self, intent: str, call: Call) -> None:
        with self.store.begin() as session:
            want(session, intent, call)

    def admit(self, n: int) -> Call:
        """A call that takes effect once: a member is admitted."""
        return admission(self.network, dev_account(n), f"member {n}", n)

    def row(self, intent: str) -> ChainTx:
        with self.store.read() as session:
            found = session.scalar(select(ChainTx).where(ChainTx.intent == intent))
        assert found is not None
        return found

    def members(self) -> int:
        return len(self.network.membership.members())


@pytest.fixture
def world(founded: tuple[InProcessChain, Deployment], tmp_path: Path) -> Iterator[World]:
    chain, deployment = founded
    snapshot = chain.snapshot()
    store = an_empty_store(tmp_path)
    yield World(chain, deployment, store)
    store.dispose()
    chain.hold(False)
    chain.revert(snapshot)


def test_a_wanted_transaction_is_signed_sent_mined_and_confirmed(world: World) -> None:
    world.want("admit", world.admit(1))
    world.step()
    assert world.row("admit").state == "SENT"
    world.step()
    row = world.row("admit")
    assert row.state == "MINED"
    assert row.gas_used
    world.chain.mine(CONFIRMATIONS)
    world.step()
    assert world.row("admit").state == "CONFIRMED"
    assert world.members() == 1


def test_asking_twice_is_asking_once(world: World) -> None:
    world.want("admit", world.admit(1))
    world.want("admit", world.admit(2))
    world.step()
    world.step()
    assert world.members() == 1
    with world.store.read() as session:
        assert state_of(session, "admit") == "MINED"
        assert state_of(session, "never asked") is None


def test_intents_are_sent_in_the_order_in_which_they_were_asked(world: World) -> None:
    for n in range(1, 5):
        world.want(f"admit {n}", world.admit(n))
    world.step()
    nonces = [world.row(f"admit {n}").nonce for n in range(1, 5)]
    assert nonces == sorted(n for n in nonces if n is not None)
    assert len(set(nonces)) == 4


def test_a_refused_intent_says_why_and_is_not_sent(world: World) -> None:
    world.want("first", world.admit(1))
    world.step()
    world.step()
    before = world.client.nonce("latest")
    world.want("again", world.admit(1))
    world.step()
    row = world.row("again")
    assert row.state == "REFUSED"
    assert row.error is not None
    assert row.error["code"] == "Conflict"
    assert "MembershipIdTaken" in row.error["detail"]
    assert world.refused == [("again", "Conflict")]
    assert world.client.nonce("latest") == before


def test_what_was_refused_is_sent_when_it_is_asked_anew(world: World) -> None:
    world.want("first", world.admit(1))
    world.step()
    world.step()
    world.want("again", world.admit(1))
    world.step()
    assert world.row("again").state == "REFUSED"
    before = world.members()
    with world.store.begin() as session:
        want_again(session, "again", world.admit(2))
    assert world.row("again").error is None
    world.step()
    world.step()
    assert world.row("again").state == "MINED"
    assert world.members() == before + 1


def test_an_intent_behind_a_refused_one_is_sent(world: World) -> None:
    world.want("first", world.admit(1))
    world.step()
    world.step()
    world.want("again", world.admit(1))
    world.want("other", world.admit(2))
    world.step()
    world.step()
    assert world.row("again").state == "REFUSED"
    assert world.row("other").state == "MINED"


class DyingClient(ChainClient):
    """Dies at a chosen step of sending."""

    at: str = ""

    def broadcast(self, raw: str) -> str:
        if self.at == "before broadcast":
            raise Crash
        sent = super().broadcast(raw)
        if self.at == "after broadcast":
            raise Crash
        if self.at == "connection":
            raise ChainUnavailable("http://in-process", "gone")
        return sent


def dying(world: World, at: str) -> DyingClient:
    client = DyingClient("http://in-process", account=dev_account(0), web3=world.chain.web3)
    client.at = at
    return client


@pytest.mark.parametrize("at", ["before broadcast", "after broadcast"])
def test_a_crash_while_sending_sends_the_same_transaction_again(world: World, at: str) -> None:
    world.want("admit", world.admit(1))
    with pytest.raises(Crash):
        world.sender(dying(world, at)).step(world.client.head().number)
    signed = world.row("admit")
    assert signed.state == "SIGNED"
    assert signed.raw is not None
    world.step()
    world.step()
    assert world.row("admit").tx_hash == signed.tx_hash
    assert world.row("admit").state == "MINED"
    assert world.members() == 1


def test_a_connection_that_breaks_while_sending_is_no_refusal(world: World) -> None:
    world.want("admit", world.admit(1))
    with pytest.raises(ChainUnavailable):
        world.sender(dying(world, "connection")).step(world.client.head().number)
    assert world.row("admit").state == "SIGNED"
    world.step()
    world.step()
    assert world.row("admit").state == "MINED"
    assert world.refused == []


def test_a_nonce_that_somebody_else_took_is_chosen_anew(world: World) -> None:
    world.want("admit", world.admit(1))
    with pytest.raises(Crash):
        world.sender(dying(world, "before broadcast")).step(world.client.head().number)
    world.client.transact(world.admit(2))  # the same key, by another hand
    for _ in range(4):
        world.step()
    assert world.row("admit").state == "MINED"
    assert world.members() == 2


def test_a_transaction_that_waits_long_is_handed_over_again(world: World) -> None:
    world.chain.hold()
    world.want("admit", world.admit(1))
    world.step()
    first = world.row("admit")
    world.clock.now += RESEND_SECONDS + 1
    world.step()
    assert world.row("admit").tx_hash == first.tx_hash
    world.chain.hold(False)
    world.chain.mine()
    world.step()
    assert world.row("admit").state == "MINED"


def test_a_block_that_vanishes_before_it_is_confirmed_is_mined_again(world: World) -> None:
    snapshot = world.chain.snapshot()
    world.want("admit", world.admit(1))
    world.step()
    world.step()
    assert world.row("admit").state == "MINED"
    world.chain.revert(snapshot)
    world.chain.mine(CONFIRMATIONS + 2)
    world.step()
    assert world.row("admit").state == "SENT"
    world.clock.now += RESEND_SECONDS + 1
    world.step()
    world.step()
    assert world.row("admit").state == "MINED"
    assert world.members() == 1


def test_nothing_moves_twice(world: World) -> None:
    world.want("admit", world.admit(1))
    for _ in range(3):
        world.step()
    world.chain.mine(CONFIRMATIONS)
    world.step()
    assert not world.sender().step(world.client.head().number)
    assert world.members() == 1


def test_an_account_without_funds_waits_and_says_so(world: World) -> None:
    poor = Account.create()
    world.client = world.chain.client(poor)
    book = world.network.consortium
    world.chain.client(0).transact(book.move_authority(poor.address))
    world.want("admit", world.admit(1))
    world.step()
    row = world.row("admit")
    assert row.state in ("WAITING", "SIGNED")
    assert row.error is not None
    assert row.error["code"] == "ChainRefused"
    assert world.refused == []
    world.chain.client(19).transact(Payment(poor.address, 10**18))
    world.step()
    world.step()
    assert world.row("admit").state == "MINED"
    assert world.row("admit").error is None


def test_a_transaction_that_ran_out_of_gas_beside_another_one_is_sent_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = world.members()
    # As if another transaction of the block had made this one dearer than its estimate.
    monkeypatch.setattr(world.client, "gas", lambda _: 60_000)
    world.want("a", world.admit(5))
    world.clock.now = world.row("a").created_at
    world.step()
    assert world.members() == before, "it was mined and reverted"
    monkeypatch.undo()
    for _ in range(3):
        world.chain.mine()
        world.step()
    assert world.members() == before + 1
    assert world.refused == []
