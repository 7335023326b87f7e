"""The badge of the log: what the node finds of log, witnesses and chain, and cannot know."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete

from node.api.app import create_app
from node.api.views.badge import Badge
from node.api.views.names import Names
from node.errors import Conflict
from node.store import Anchor, AuditEntry, Cosignature, PublishedHead
from tests.node.face import visitor
from tests.node.test_witness import fill, go_round, rewrite, show
from tests.node.two_sites import Pair, running_pair


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with running_pair(tmp_path, f"unix://{tmp_path}/none.sock") as made:
        yield made


def badge(pair: Pair) -> Badge:
    """Of the host, which no chain stands behind; it looks anew each time."""
    times = iter(range(0, 10**6, 100))
    return Badge(pair.host, Names(pair.host.network), lambda: float(next(times)))


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
