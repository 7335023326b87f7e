"""Logs that lie, before the chain: two nodes that speak HTTP, with real contracts between them.

The bank's node goes round and finds what the shop did; its sync process tells the chain.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import delete, select

from chain.equivocations import ChallengeState, MarkKind
from node import heads
from node.api.views import anchoring as view
from node.audit.checkpoint import Checkpoint, origin_of, sign_checkpoint
from node.audit.notes import Note
from node.chain_tx import want
from node.directory import ChainDirectory
from node.equivocations import NEEDLESS, POSTED, UNSIGNED
from node.rounds import Rounds
from node.store import Anchor, Challenge, LogConflict, PublishedHead, SiteMark, WitnessedHead
from node.witness import FORK, UNPROVEN, Witness
from tests.node import consortium
from tests.node.consortium import ChainSite, Consortium, sync_of
from tests.node.test_anchoring import fill
from tests.node.test_witness import by_account, rewrite
from tests.node.told import told
from tests.node.two_sites import _listen, _Server

DAY = 86_400
OTHER_ROOT = b"o" * 32


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    chain, deployment = consortium.found()
    world = consortium.assemble(chain, deployment, tmp_path_factory.mktemp("sites"))
    servers = []
    for name, site in world.sites.items():
        listener = _listen()
        endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}"
        world.act(name, world.network.sites.set_endpoint(site.id, endpoint))
        site.change(endpoint=endpoint)
        servers.append(_Server(site, listener))
    world.settle(4)
    yield world
    for server in servers:
        server.stop()
    world.close()


@pytest.fixture
def world(founded: Consortium) -> Consortium:
    """In the order of the file: what a site once did, it has done."""
    founded.settle(4)
    return founded


async def go_round(witness: ChainSite) -> None:
    assert isinstance(witness.directory, ChainDirectory)
    witness.directory.forget()
    rounds = Rounds(witness)
    await rounds.step()
    await rounds.drain()


def conflicts(site: ChainSite) -> list[LogConflict]:
    with site.store.read() as session:
        return list(session.scalars(select(LogConflict).order_by(LogConflict.id)))


def challenges(site: ChainSite) -> list[Challenge]:
    with site.store.read() as session:
        return list(session.scalars(select(Challenge).order_by(Challenge.size)))


def looked(witness: ChainSite, log: ChainSite) -> tuple[int, str]:
    """The head cosigned last, and what hindered it at the last look."""
    with witness.store.read() as session:
        row = session.get_one(WitnessedHead, log.id)
        return row.size, row.problem


def marks(site: ChainSite, of: ChainSite) -> list[SiteMark]:
    with site.store.read() as session:
        return list(session.scalars(select(SiteMark).where(SiteMark.site == of.id)))


def signed(site: ChainSite, size: int, root: bytes) -> str:
    """A head that the keys of a site signed, past its node."""
    text = Checkpoint(origin_of(site.id), size, root).text
    plain = Note.parse(sign_checkpoint(site.identity, site.id, size, root))
    return str(plain.signed(by_account(site, text)))


def found_unproven(witness: ChainSite, head: str) -> None:
    judge = Witness(witness)
    judge.convict(UNPROVEN, judge.read(head))


# ── What an honest site answers by itself ────────────────────────────────────────────────────


async def test_an_honest_site_answers_a_challenge_in_time_and_nothing_sticks(
    world: Consortium,
) -> None:
    """Its proof was lost on the way: that convicts nobody."""
    fill(world.shop)
    heads.publish(world.shop, at_once=True)
    await go_round(world.bank)
    fill(world.shop)
    head = signed(world.shop, world.shop.log.size - 1, world.shop.log.root(world.shop.log.size - 1))
    found_unproven(world.bank, head)
    world.settle(8)
    assert [each.posted for each in conflicts(world.bank)] == [POSTED]
    asked = challenges(world.bank)
    assert [each.state for each in asked] == ["ANSWERED"] * len(asked)
    assert asked
    for each in asked:
        state = world.network.equivocations.state_of(each.id)
        assert state is ChallengeState.ANSWERED
    assert not world.network.equivocations.is_marked(world.shop.id)
    entered = [entry["data"]["size"] for entry in told(world.shop, "log.challenged")]
    assert sorted(entered) == [each.size for each in asked]
    assert view.standing(world.shop)[0]


async def test_an_answer_that_was_refused_once_is_sent_again(world: Consortium) -> None:
    fill(world.shop)
    heads.publish(world.shop, at_once=True)
    await go_round(world.bank)
    fill(world.shop)
    size = world.shop.log.size - 1
    found_unproven(world.bank, signed(world.shop, size, world.shop.log.root(size)))
    known = {each.id for each in challenges(world.bank)}
    for _ in range(3):
        sync_of(world.bank).step()
        world.chain.mine(world.bank.settings.confirmations + 1)
    sync_of(world.bank).step()
    [asked, *_] = [each for each in challenges(world.bank) if each.id not in known]
    with world.shop.store.begin() as session:
        row = want(session, f"answer:{asked.id}", world.network.equivocations.settle(asked.id))
        row.state, row.error = "REFUSED", {"code": "Invalid", "detail": "the endpoint was behind"}
    world.settle(8)
    assert world.network.equivocations.state_of(asked.id) is ChallengeState.ANSWERED


async def test_what_is_anchored_as_it_was_shown_is_not_asked_again(world: Consortium) -> None:
    fill(world.shop)
    heads.publish(world.shop, at_once=True)
    size = heads.shown(world.shop)
    world.settle(4)
    await go_round(world.bank)
    before = len(challenges(world.bank))
    found_unproven(world.bank, signed(world.shop, size, world.shop.log.root(size)))
    world.settle(4)
    assert conflicts(world.bank)[-1].posted == NEEDLESS
    assert len(challenges(world.bank)) == before


async def test_what_no_contract_could_read_is_not_posted(world: Consortium) -> None:
    with world.bank.store.begin() as session:
        plain = sign_checkpoint(world.shop.identity, world.shop.id, 5, OTHER_ROOT)
        values = {"kind": FORK, "known": plain, "shown": plain, "shown_digest": "0x01"}
        session.add(LogConflict(log_id=world.shop.id, found_at=1.0, **values))
    world.settle(1)
    assert conflicts(world.bank)[-1].posted == UNSIGNED


# ── What a liar cannot answer ────────────────────────────────────────────────────────────────


async def test_a_site_that_cannot_prove_its_head_is_told_and_marked_after_a_day(
    world: Consortium,
) -> None:
    """The bank signed a head past its node; the shop asks, and settles."""
    size = world.bank.log.size + 50
    found_unproven(world.shop, signed(world.bank, size, OTHER_ROOT))
    world.settle(6)
    [asked] = [each for each in challenges(world.bank) if each.site == world.bank.id]
    assert (asked.state, asked.size) == ("OPEN", size)
    ok, detail = view.standing(world.bank)
    assert (ok, "challenged and cannot answer" in detail) == (False, True)
    world.chain.travel(DAY + 60)
    world.settle(6)
    [mark] = marks(world.shop, world.bank)
    assert (mark.kind, mark.size) == (MarkKind.UNANSWERED, size)
    ok, detail = view.standing(world.bank)
    assert (ok, "marked: it did not prove its head" in detail) == (False, True)
    assert [e["data"]["kind"] for e in told(world.shop, "site.marked")] == ["UNANSWERED"]


async def test_two_histories_of_one_size_are_proved_on_the_chain(world: Consortium) -> None:
    fill(world.shop)
    heads.publish(world.shop, at_once=True)
    await go_round(world.bank)
    size = heads.shown(world.shop)
    assert looked(world.bank, world.shop) == (size, "")
    with world.shop.store.begin() as session:
        session.execute(delete(Anchor))  # its own node would not go on otherwise
    rewrite(world.shop, size)
    text = Checkpoint(origin_of(world.shop.id), size, world.shop.log.root(size)).text
    with world.shop.store.begin() as session:  # its own node would not sign it
        line = str(by_account(world.shop, text)).removesuffix("\n")
        session.add(PublishedHead(size=size, published_at=1.0, line=line))
    assert heads.shown(world.shop) == size
    await go_round(world.bank)
    assert conflicts(world.bank)[-1].kind == FORK
    for _ in range(6):
        consortium.sync_of(world.bank).step()  # the shop's own process stops at what it did
        world.chain.mine(3)
    assert conflicts(world.bank)[-1].posted == POSTED
    assert world.network.equivocations.is_marked(world.shop.id)
    [mark] = marks(world.bank, world.shop)
    assert (mark.kind, mark.size) == (MarkKind.TWO_CHECKPOINTS, size)
    assert told(world.bank, "site.marked")[-1]["data"]["size"] == size

    found_unproven(world.bank, signed(world.shop, size + 9, OTHER_ROOT))
    consortium.sync_of(world.bank).step()
    world.chain.mine(1)
    consortium.sync_of(world.bank).step()
    assert conflicts(world.bank)[-1].posted == NEEDLESS  # what it is, all can see
