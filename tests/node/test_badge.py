"""The badge of the log: what the node finds of log, witnesses and chain, and cannot know."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete

from chain.errors import ChainUnavailable
from chain.network import Network
from node import heads
from node.api.app import create_app
from node.api.views.badge import Badge
from node.api.views.names import Names
from node.audit.account_key import AccountKey
from node.audit.checkpoint import origin_of
from node.audit.note_keys import CosignerKey
from node.audit.notes import Note
from node.errors import Conflict
from node.site import Site
from node.store import Anchor, AuditEntry, Base, Cosignature, PublishedHead, SiteMark
from tests.node import consortium
from tests.node.consortium import ChainSite, Consortium
from tests.node.face import visitor
from tests.node.test_anchoring import cosign
from tests.node.test_anchoring import fill as fill_for_anchor
from tests.node.test_witness import fill, go_round, rewrite, show
from tests.node.two_sites import Pair, running_pair


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with running_pair(tmp_path, f"unix://{tmp_path}/none.sock") as made:
        yield made


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    """Two sites over real contracts, in the order of the file: no head is on the chain at first."""
    chain, deployment = consortium.found()
    made = consortium.assemble(chain, deployment, tmp_path_factory.mktemp("sites"))
    yield made
    made.close()


def badge(pair: Pair) -> Badge:
    """Of the host, which no chain stands behind."""
    return badge_of(pair.host)


def badge_of(site: Site) -> Badge:
    """It looks anew each time."""
    times = iter(range(0, 10**6, 100))
    return Badge(site, Names(site.network), lambda: float(next(times)))


def anchor(world: Consortium) -> int:
    """The shop's log with a head on the chain that the bank stands behind; its size."""
    fill_for_anchor(world.shop)
    heads.publish(world.shop, at_once=True)
    cosign(world)
    world.settle(4)
    return world.network.anchors.head(world.shop.id).size


def forget(site: ChainSite, table: type[Base]) -> None:
    with site.store.begin() as session:
        session.execute(delete(table))


def mark(site: ChainSite) -> None:
    """What the node keeps of a fork that was proven before the contract."""
    with site.store.begin() as session:
        values = {"key": "0x" + "0a" * 20, "kind": "TWO_CHECKPOINTS", "size": 77, "block": 1}
        session.add(SiteMark(site=site.id, **values))


async def test_a_head_that_others_cosigned_agrees_with_them(pair: Pair) -> None:
    fill(pair.host, 5)
    show(pair.host)
    assert badge(pair).look().witnesses.why == "witnesses.none"
    await go_round(pair.guest)
    found = badge(pair).look()
    assert (found.log.state, found.size) == ("agree", 5)
    assert (found.witnesses.state, found.witnesses.count) == ("agree", 1)
    assert [site.id for site in found.cosigned_by] == [pair.guest.id]


async def test_a_log_that_was_rewritten_differs_from_what_others_cosigned(pair: Pair) -> None:
    fill(pair.host, 5)
    show(pair.host)
    await go_round(pair.guest)
    with pair.host.store.read() as session:
        line = session.get_one(Cosignature, (5, pair.guest.id))
    rewrite(pair.host, 5)
    with pair.host.store.begin() as session:
        session.add(PublishedHead(size=5, published_at=0.0, line=""))
        kept = {"witness": line.witness, "line": line.line, "time": line.time}
        session.add(Cosignature(size=5, account_line="", **kept))
    found = badge(pair).look()
    assert (found.state, found.witnesses.why) == ("differ", "witnesses.differ")


async def test_a_log_that_has_another_root_than_was_anchored_differs(pair: Pair) -> None:
    fill(pair.host, 5)
    with pair.host.store.begin() as session:
        session.add(Anchor(size=3, root="0x" + "00" * 32, block=1, tx_hash="0x"))
    found = badge(pair).look()
    assert (found.state, found.log.why, found.log.count) == ("differ", "log.anchor", 3)


async def test_a_log_that_is_shorter_than_was_anchored_differs(pair: Pair) -> None:
    fill(pair.host, 5)
    root = "0x" + pair.host.log.root().hex()
    with pair.host.store.begin() as session:
        session.add(Anchor(size=5, root=root, block=1, tx_hash="0x"))
        session.execute(delete(AuditEntry).where(AuditEntry.index >= 4))
    assert badge(pair).look().log.why in ("log.shorter", "log.broken")


async def test_a_chain_that_cannot_be_asked_is_unknown_and_never_well(pair: Pair) -> None:
    fill(pair.host, 5)
    show(pair.host)
    await go_round(pair.guest)
    with pytest.raises(Conflict):
        pair.host.network()
    found = badge(pair).look()
    assert (found.chain.why, found.state) == ("chain.silent", "unknown")


def test_a_mark_is_red_also_while_something_is_behind_or_silent(
    world: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = badge_of(world.shop)
    assert looked.look().chain.why == "chain.none"
    mark(world.shop)
    assert looked.look().chain.why == "chain.marked"
    world.chain.mine(20)
    assert looked.look().chain.why == "chain.marked"
    monkeypatch.setattr(world.shop, "network", _silent)
    assert looked.look().chain.why == "chain.marked"
    forget(world.shop, SiteMark)
    assert looked.look().chain.why == "chain.silent"
    monkeypatch.undo()
    assert looked.look().chain.why == "chain.behind"


def _silent() -> Network:
    raise ChainUnavailable("http://127.0.0.1:9", "refused")


def test_a_chain_that_holds_the_log_s_own_head_agrees(world: Consortium) -> None:
    size = anchor(world)
    found = badge_of(world.shop).look()
    assert (found.chain.state, found.chain.why) == ("agree", "chain.agree")
    assert (found.chain.count, found.anchored) == (size, size)
    assert found.state == "agree"


def test_a_site_that_is_marked_is_red_though_log_and_chain_agree(world: Consortium) -> None:
    anchor(world)
    mark(world.bank)
    assert badge_of(world.shop).look().state == "agree"  # another's mark is not this site's
    mark(world.shop)
    found = badge_of(world.shop).look()
    assert (found.log.state, found.witnesses.state, found.state) == ("agree", "agree", "differ")
    assert (found.chain.why, found.chain.count) == ("chain.marked", 77)
    forget(world.shop, SiteMark)


def test_what_it_takes_to_check_the_witnesses_goes_along(world: Consortium) -> None:
    anchor(world)
    found = badge_of(world.shop).look()
    told = found.witnessed
    assert told is not None
    by_site = {signer.site: signer for signer in told.signers}
    assert set(by_site) == {world.shop.id, world.bank.id}
    bank = by_site[world.bank.id]
    assert bank.audit == ["0x" + world.bank.identity.audit_public.hex()]
    note = Note.parse(told.note)
    assert note.opened([CosignerKey(origin_of(bank.site), bytes.fromhex(bank.audit[0][2:]))])
    accounts = [AccountKey(origin_of(bank.site), bank.accounts[0], told.chain, told.contract)]
    assert note.opened(accounts)
    assert told.needed == world.network.anchors.cosigners_needed()


def test_a_line_by_a_key_that_ended_neither_counts_nor_contradicts(
    world: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    anchor(world)
    directory = world.shop.directory
    bank, known = world.bank.id, directory.audit_keys
    follower = (b"\x07" * 32,)
    monkeypatch.setattr(
        directory, "audit_keys", lambda site: follower if site == bank else known(site)
    )
    monkeypatch.setattr(directory, "anchor_keys", lambda site: ())
    found = badge_of(world.shop).look()
    assert (found.witnesses.state, found.witnesses.why) == ("behind", "witnesses.none")
    assert found.witnessed is not None
    assert [signer.site for signer in found.witnessed.signers] == [world.shop.id]
    assert len(Note.parse(found.witnessed.note).signatures) == 1


def test_a_chain_that_lost_a_head_differs_from_what_its_events_told(world: Consortium) -> None:
    anchor(world)
    fill_for_anchor(world.shop)
    size, root = world.shop.log.size, "0x" + world.shop.log.root().hex()
    with world.shop.store.begin() as session:
        session.add(Anchor(size=size, root=root, block=1, tx_hash="0x"))
    found = badge_of(world.shop).look()
    assert (found.log.state, found.state) == ("agree", "differ")
    assert (found.chain.why, found.chain.count) == ("chain.lost", size)


def test_a_log_that_was_rewritten_differs_from_what_the_chain_holds(world: Consortium) -> None:
    size = anchor(world)
    count = world.shop.log.size
    forget(world.shop, Anchor)  # its own node would not go on otherwise
    rewrite(world.shop, count)
    found = badge_of(world.shop).look()
    assert (found.log.state, found.state) == ("agree", "differ")
    assert (found.chain.why, found.chain.count) == ("chain.differ", size)
    rewrite(world.shop, size - 1)
    found = badge_of(world.shop).look()
    assert (found.chain.why, found.chain.count) == ("chain.longer", size)


async def test_a_head_that_a_browser_remembers_is_led_on_from(pair: Pair) -> None:
    from chain.merkle import verify_consistency

    fill(pair.host, 3)
    first = pair.host.log.root()
    fill(pair.host, 4)
    show(pair.host)
    found = badge(pair).look(3)
    assert found.since is not None
    assert found.since.root == "0x" + first.hex()
    path = [bytes.fromhex(node[2:]) for node in found.since.proof]
    assert verify_consistency(first, 3, pair.host.log.root(), 7, path)
    assert badge(pair).look(8).since is None
    assert badge(pair).look(0).since is None


async def test_the_page_is_red_in_words_and_its_twin_says_why(pair: Pair) -> None:
    fill(pair.host, 5)
    with pair.host.store.begin() as session:
        session.add(Anchor(size=3, root="0x" + "00" * 32, block=1, tx_hash="0x"))
    pair.host.change(explorer_open=True)
    app = create_app(pair.host.settings.home, pair.host)
    async with visitor(pair.host, app, Accept="text/html") as reader:
        for path in ("/log", "/log/1", "/badge"):
            page = (await reader.get(path)).text
            assert 'class="badge differ"' in page
            assert "has another root for the first 3 entries than was anchored" in page
        assert "互相矛盾" in (await reader.get("/badge?lang=zh")).text
        twin = (await reader.get("/badge.json?seen=2")).json()["badge"]
    assert (twin["state"], twin["log"]["why"], twin["since"]["size"]) == ("differ", "log.anchor", 2)
