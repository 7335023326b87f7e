"""Heads on the chain with their cosigners; what comes late, what never comes, a chain that is away.

The witness is called by hand: nobody goes round here.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from sqlalchemy import func, select

from chain.anchors import HeadState
from chain.calls import BlockRef
from chain.client import ChainClient
from chain.errors import ChainUnavailable
from node import heads
from node.anchoring import MAX_CALLS, SETTLED_SECONDS, Anchoring
from node.api.views import anchoring as view
from node.audit.entries import record
from node.audit.notes import Note
from node.store import Anchor, ChainTx
from node.sync import Sync
from node.witness import Witness
from tests.node import consortium
from tests.node.consortium import ChainSite, Consortium, sync_of

ELEVEN_MINUTES = 660


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    chain, deployment = consortium.found()
    world = consortium.assemble(chain, deployment, tmp_path_factory.mktemp("sites"))
    yield world
    world.close()


@pytest.fixture
def world(founded: Consortium) -> Consortium:
    """All that is under way has arrived."""
    founded.settle(4)
    return founded


def fill(site: ChainSite, count: int = 3) -> None:
    """Entries, and one that wants to be anchored soon."""
    with site.store.begin() as session:
        for n in range(count):
            record(session, "chain.available", site.id, {"block": n, "was": "x"}, "sync")
        record(session, "model.registered", site.id, {"model": "0x", "digest": "0x"}, "sync")
    while site.log.sequence():
        pass


def cosign(world: Consortium, at: float | None = None) -> None:
    """The bank cosigns the head that the shop shows, and brings it."""
    witness = Witness(world.bank, lambda: at or time.time())
    shown = witness.read(heads.newest(world.shop))
    known = witness.known(world.shop.id).size
    proof = world.shop.log.consistency_proof(known, shown.head.size) if known else []
    proof = proof if known < shown.head.size else []
    lines = witness.cosign(known, proof, shown)
    heads.receive(world.shop, world.bank.id, str(Note(shown.note.text, lines)))


def newest(world: Consortium) -> Anchor:
    with world.shop.store.read() as session:
        [row] = session.scalars(select(Anchor).order_by(Anchor.size.desc()).limit(1))
        return row


def calls(world: Consortium, size: int) -> int:
    with world.shop.store.read() as session:
        of_head = ChainTx.intent.startswith(f"cosign:{world.shop.id}:{size}:")
        return session.scalar(select(func.count()).where(of_head)) or 0


def bank_member(world: Consortium) -> str:
    return world.network.sites.member_of(world.bank.id)


def test_a_head_goes_out_as_it_is_shown_with_the_cosignatures_it_has(world: Consortium) -> None:
    fill(world.shop)
    heads.publish(world.shop, at_once=True)
    cosign(world)
    size = heads.shown(world.shop)
    world.settle(4)
    row = newest(world)
    assert (row.size, row.state, row.witnesses) == (size, "WITNESSED", [bank_member(world)])
    assert (row.needed, calls(world, size)) == (1, 0)
    assert world.network.anchors.head(world.shop.id).cosigners == 1


def test_a_cosignature_that_makes_the_number_follows_its_head(world: Consortium) -> None:
    fill(world.shop)
    world.settle(4)
    row = newest(world)
    assert (row.state, row.witnesses) == ("PENDING", [])
    cosign(world)
    world.settle(4)
    row = newest(world)
    assert (row.state, row.witnesses) == ("WITNESSED", [bank_member(world)])
    assert calls(world, row.size) == 1
    cosign(world, time.time() + 1)  # again, and later: it counts no second time
    world.settle(4)
    assert calls(world, row.size) == 1


def test_a_witness_that_is_silent_holds_up_nothing_and_comes_late(world: Consortium) -> None:
    fill(world.shop)
    world.settle(4)
    first = newest(world)
    world.chain.travel(ELEVEN_MINUTES)
    world.settle(4)
    assert newest(world).state == "UNWITNESSED"
    ok, told = view.standing(world.shop)
    assert (ok, "unwitnessed: 0 of 1" in told) == (False, True)
    cosign(world)
    world.settle(4)
    row = newest(world)
    assert (row.size, row.state) == (first.size, "WITNESSED")
    assert view.standing(world.shop)[0]


def test_a_head_that_waits_for_its_witness_is_shown_until_it_came_or_its_time_is_over(
    world: Consortium,
) -> None:
    world.shop.change(publish_every_seconds=3600.0)
    try:
        fill(world.shop)
        world.settle(4)
        heads.publish(world.shop, at_once=True)
        world.settle(4)
        first = newest(world)
        assert first.size == heads.shown(world.shop)
        fill(world.shop)
        world.settle(4)
        assert newest(world).size == heads.shown(world.shop) == first.size
        cosign(world)
        world.settle(4)
        assert newest(world).size > first.size
        with world.shop.store.read() as session:
            assert session.get_one(Anchor, first.size).state == "WITNESSED"
    finally:
        world.shop.change(publish_every_seconds=0.001)


def test_what_makes_no_number_is_sent_once_when_the_head_is_over(world: Consortium) -> None:
    """Few members are asked for, and one is there: more are told of in one transaction."""
    fill(world.shop)
    world.settle(4)
    row = newest(world)
    with world.shop.store.begin() as session:
        session.get_one(Anchor, row.size).witnesses = ["0x" + "77" * 32]  # another one counted
    cosign(world)
    now = [row.anchored_at + SETTLED_SECONDS - 1]
    anchoring = Anchoring(world.shop, lambda: now[0])
    for _ in range(2):
        anchoring._cosign(world.network)
    assert calls(world, row.size) == 0
    now[0] += 2
    for _ in range(2):
        anchoring._cosign(world.network)
    assert calls(world, row.size) == 1


def test_cosignatures_cost_no_more_than_a_few_transactions_a_head(world: Consortium) -> None:
    fill(world.shop)
    world.settle(4)
    row = newest(world)
    with world.shop.store.begin() as session:
        for n in range(MAX_CALLS):
            intent = f"cosign:{world.shop.id}:{row.size}:{n + 1}"
            session.add(ChainTx(intent=intent, call={}, state="CONFIRMED"))
    cosign(world)
    Anchoring(world.shop)._cosign(world.network)
    assert calls(world, row.size) == MAX_CALLS


def test_a_line_that_does_not_count_is_not_sent(world: Consortium) -> None:
    fill(world.shop)
    world.settle(4)
    row = newest(world)
    cosign(world)
    world.act("bank", world.network.sites.revoke_key(world.bank.id, world.bank.key_id("anchor")))
    Anchoring(world.shop)._cosign(world.network)
    assert calls(world, row.size) == 0


# ── A chain that is away ─────────────────────────────────────────────────────────────────────


class Silent(ChainClient):
    """Nobody answers."""

    def head(self) -> BlockRef:
        raise ChainUnavailable("http://in-process", "refused")


def test_while_the_chain_is_away_the_log_goes_on_and_then_its_anchors_catch_up(
    world: Consortium,
) -> None:
    anchored = newest(world).size
    sync = Sync(world.shop)
    sync.step()
    present, account = sync.client, world.shop.identity.account
    sync.client = Silent("http://in-process", account=account, web3=world.chain.web3)
    fill(world.shop, 5)
    for _ in range(3):
        sync.step()
    assert (world.shop.log.pending, newest(world).size) == (0, anchored)
    gap = view.gap(world.shop)
    assert gap.entries >= 6
    assert gap.chain_silent_since is not None
    assert gap.since is not None
    ok, told = view.standing(world.shop, lambda: (gap.since or 0) + 601)
    assert (ok, "silent since" in told) == (False, True)
    sync.client = present
    for _ in range(3):
        sync.step()
        world.chain.mine(3)
    world.settle(4)
    assert newest(world).size > anchored + 5
    assert view.gap(world.shop).chain_silent_since is None
    state = world.network.anchors.state_of(world.shop.id, newest(world).size)
    assert state is HeadState.PENDING
    assert sync_of(world.shop).sender is not None
