"""A copy of a real node's log, fetched from its interface by signed requests, and read on."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select

from node import heads
from node.api.app import create_app
from node.audit.entries import record
from node.audit.notes import Note
from node.mirror import Mirror
from node.mirroring import Mirroring
from node.monitor import Monitor
from node.rounds import Rounds
from node.site import Site
from node.store import Alert
from tests.node.face import PARTNER, make_site, serving, visitor
from tests.node.tile_client import TileClient, read_head
from tests.node.two_sites import Book

PAST = 1_700_000_000.0  # for the servers, whose clocks are real


def fill(site: Site, count: int) -> None:
    with site.store.begin() as session:
        for n in range(count):
            told = {"block": n, "was": "silent"}
            record(session, "chain.available", site.id, told, "sync")
    while site.log.sequence():
        pass
    heads.publish(site, lambda: PAST + site.log.size * 1000)


async def look(site: Site) -> None:
    """Twice: what the log gathers of cosignatures comes with the next look."""
    for _ in range(2):
        for part in (Rounds(site, lambda: PAST), Mirroring(site)):
            await part.step()
            await part.drain()
    Monitor(site, lambda: PAST).step()


@pytest.mark.parametrize("who", ["open", "members"])
async def test_a_real_nodes_log_is_copied_with_its_entries(tmp_path: Path, who: str) -> None:
    book = Book()
    with (
        make_site(tmp_path / "one") as one,
        make_site(tmp_path / "two", site_id=PARTNER, log_hashes=who) as two,
        serving(two) as url,
    ):
        two.change(endpoint=url)
        for each in (one, two):
            each.directory = book
            book.enter(each)
        mirror = Mirror(one, PARTNER)
        for count in (300, 400):
            fill(two, count)
            await look(one)
            row = mirror.state()
            assert (row.size, row.entries, row.problem) == (two.log.size, two.log.size, "")
            assert mirror.head().root == two.log.root()
        copied = [each for n in range(3) for each in mirror.tree().bundle(n)]
        assert copied == [each.content for each in two.log.entries(0, 700)]
        # The witness's own line came back with the head, and stands beside it in the copy.
        names = {line.name for line in Note.parse(mirror.note() or "").signatures}
        assert names == {f"fatechain/{one.id}", f"fatechain/{PARTNER}"}
        with one.store.read() as session:
            assert list(session.scalars(select(Alert.kind))) == []
        await read_on(one, two)


async def read_on(one: Site, two: Site) -> None:
    """A stranger reads the hashes of the second site's log from the first one."""
    async with visitor(one, create_app(one.settings.home, one)) as client:
        known: dict[str, bytes] = {}
        for path in ("checkpoint", "tile/0/002.p/188", "tile/1/000.p/2"):
            answer = await client.get(f"/mirror/{PARTNER}/{path}")
            assert answer.status_code == 200, answer.text
            known[path] = answer.content
    _, size, root = read_head(known["checkpoint"])
    assert TileClient(known.__getitem__, size).root() == root == two.log.root()


async def test_a_site_that_wants_no_copies_makes_none(tmp_path: Path) -> None:
    book = Book()
    with make_site(tmp_path / "one", mirror=False) as one:
        one.directory = book
        book.enter(one)
        book.audit[PARTNER] = bytes(32)
        mirroring = Mirroring(one)
        await mirroring.step()
        await mirroring.drain()
        assert not one.settings.mirror_folder.exists()
