"""Copies of slow sites: they hold up no other, lose nothing, and are read again in time."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import delete

from node.audit.checkpoint import sign_checkpoint
from node.audit.reading import Fetch, tile_path
from node.audit.tiles import TILE_BYTES
from node.errors import Unavailable
from node.mirror import CopyDiffers, Mirror
from node.mirroring import BUNDLE_SECONDS, COPY_SECONDS, REREAD_SECONDS, Mirroring
from node.site import Site
from node.store import MirroredLog, WitnessedHead
from tests.node.face import make_site
from tests.node.lying_log import START, LyingLog, entries
from tests.node.two_sites import Book

NOW = START + 100_000.0
LOG = LyingLog(entries(2000))  # seven full tiles, eight bundles
SLOW = [f"0x{number:064x}" for number in range(1, 5)]
QUICK = f"0x{9:064x}"
HASHES = [tile_path(0, number) for number in range(7)]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with make_site(tmp_path_factory.mktemp("home") / "site") as made:
        book = Book(audit={each: bytes(32) for each in (*SLOW, QUICK)})
        made.directory = book
        book.enter(made)
        yield made


@pytest.fixture
def site(home: Site) -> Site:
    """The witness has just cosigned the same head of five logs; nothing is copied yet."""
    shutil.rmtree(home.settings.mirror_folder, ignore_errors=True)
    with home.store.begin() as session:
        for table in (MirroredLog, WitnessedHead):
            session.execute(delete(table))
        root = LOG.root()
        for log_id in (*SLOW, QUICK):
            note = sign_checkpoint(home.identity, log_id, LOG.size, root)
            told = {"size": LOG.size, "root": "0x" + root.hex(), "note": note, "problem": ""}
            session.add(WitnessedHead(log_id=log_id, **told))
    return home


class Peers:
    """Serves `LOG` as everybody's; a tile of a slow site takes ``seconds`` of `time`."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.time = seconds, 0.0
        self.asked: list[tuple[str, str]] = []
        self.tiles = {
            tile_path(level, number, width): LOG.honest(level, number, width)
            for level, number, width in places()
        }

    async def tile(self, log_id: str, path: str, limit: int) -> bytes:
        self.asked.append((log_id, path))
        self.time += self.seconds if log_id in SLOW else 0.0
        return self.tiles[path]

    async def head(self, log_id: str) -> str:
        raise Unavailable("PartnerUnreachable", "shows no cosignatures")


def places() -> Iterator[tuple[int | None, int, int]]:
    for number in range(7):
        yield 0, number, 256
        yield None, number, 256
    yield from ((0, 7, 208), (None, 7, 208), (1, 0, 7))


@pytest.fixture
def peers(site: Site, monkeypatch: pytest.MonkeyPatch) -> Peers:
    made = Peers(BUNDLE_SECONDS / 2)
    monkeypatch.setattr(type(site), "peers", made)
    monkeypatch.setattr("node.mirroring.AT_ONCE", 1)  # so that one waits at a time
    return made


async def visit(mirroring: Mirroring) -> None:
    await mirroring.step()
    await mirroring.drain()


async def test_sites_that_send_slowly_keep_no_other_from_being_copied(
    site: Site, peers: Peers
) -> None:
    await visit(Mirroring(site, lambda: NOW, lambda: peers.time))
    assert Mirror(site, QUICK).state().entries == LOG.size
    for log_id in SLOW:
        row = Mirror(site, log_id).state()
        assert row.size == 0
        assert row.problem.startswith("PartnerUnreachable")
    longest = COPY_SECONDS + REREAD_SECONDS + 2 * peers.seconds
    assert peers.time <= len(SLOW) * longest


async def test_the_copy_of_a_slow_site_goes_on_at_every_visit_where_it_stood(
    site: Site, peers: Peers
) -> None:
    now = [NOW]
    mirroring = Mirroring(site, lambda: now[0], lambda: peers.time)
    for _ in range(12):
        await visit(mirroring)
        now[0] += 60
    for log_id in SLOW:
        row = Mirror(site, log_id).state()
        assert (row.size, row.entries) == (LOG.size, LOG.size)
        assert Mirror(site, log_id).tree().bundle(6) == LOG.leaves[6 * 256 : 7 * 256]


async def test_who_withholds_what_is_new_is_asked_for_what_is_kept_all_the_same(
    site: Site, peers: Peers
) -> None:
    mirror = Mirror(site, QUICK, lambda: NOW)
    mirror.copy(LOG.fetch)
    grown = LyingLog(entries(2300))
    note = sign_checkpoint(site.identity, QUICK, grown.size, grown.root())
    told = {"size": grown.size, "root": "0x" + grown.root().hex(), "note": note, "problem": ""}
    with site.store.begin() as session:
        session.merge(WitnessedHead(log_id=QUICK, **told))

    async def tile(log_id: str, path: str, limit: int) -> bytes:
        if path == tile_path(0, 8, 252):
            raise Unavailable("PartnerUnreachable", "later")
        if path == tile_path(0, 3):
            return bytes(TILE_BYTES)
        return peers.tiles.get(path) or grown.honest(1, 0, 8)

    peers.tile = tile  # type: ignore[method-assign]
    await visit(Mirroring(site, lambda: NOW, lambda: peers.time))
    assert mirror.state().problem.startswith("TileChanged")


# ── What stands when a fetch fails ───────────────────────────────────────────────────────────


def failing_after(count: int, fetch: Fetch) -> Fetch:
    left = [count]

    def until(level: int | None, number: int, width: int) -> bytes:
        left[0] -= 1
        if left[0] < 0:
            raise Unavailable("PartnerUnreachable", "gone")
        return fetch(level, number, width)

    return until


@pytest.fixture
def mirror(site: Site) -> Mirror:
    return Mirror(site, QUICK, lambda: NOW)


def test_no_full_tile_is_asked_for_twice_however_often_a_copy_is_interrupted(
    mirror: Mirror,
) -> None:
    log = LyingLog(LOG.leaves)
    for _ in range(40):
        try:
            mirror.copy(failing_after(3, log.fetch))  # the two of the edge, and one more
        except Unavailable:
            continue
        break
    full = [path for path in log.asked if path in HASHES]
    assert sorted(full) == HASHES
    assert mirror.state().entries == LOG.size


def test_a_tile_left_by_an_interrupted_copy_counts_only_where_it_belongs(mirror: Mirror) -> None:
    log = LyingLog(LOG.leaves)
    with pytest.raises(Unavailable):
        mirror.copy(failing_after(5, log.fetch))
    left = mirror.folder / tile_path(0, 1)
    left.write_bytes(bytes(TILE_BYTES))
    with pytest.raises(CopyDiffers, match="TileChanged"):
        mirror.copy(log.fetch)
    assert log.asked.count(tile_path(0, 1)) == 2


def test_entries_that_were_copied_before_a_failure_are_noted(mirror: Mirror) -> None:
    log = LyingLog(LOG.leaves)
    with pytest.raises(Unavailable):
        mirror.copy(failing_after(2 + 7 + 3, log.fetch))
    assert mirror.state().entries == 3 * 256
    log.asked.clear()
    mirror.copy(log.fetch)
    assert tile_path(None, 2) not in log.asked
    assert mirror.state().entries == LOG.size


def test_reading_again_goes_on_at_the_tile_where_it_was_hindered(mirror: Mirror) -> None:
    mirror.copy(LOG.fetch)
    with pytest.raises(Unavailable):
        mirror.reread(failing_after(5, LOG.fetch), 7)
    assert mirror.state().reread == 2
    log = LyingLog(LOG.leaves)
    mirror.reread(log.fetch, 7)
    assert tile_path(0, 1) not in log.asked
    assert mirror.state().reread_at == NOW


@pytest.mark.parametrize(
    ("size", "since", "due"),
    [(10_000_000, 30.0, 14), (10_000_000, 3600.0, 1628), (2000, 30.0, 1), (2000, 10.0**6, 7)],
)
def test_everything_is_read_again_within_a_day_however_long_the_log_and_rare_the_visits(
    mirror: Mirror, size: int, since: float, due: int
) -> None:
    mirror.state(size=size, looked_at=NOW - since)
    assert mirror.due_again(24 * 3600.0) == due


async def test_a_visit_reads_as_much_again_as_is_due(
    site: Site, peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []
    reread: Callable[[Mirror, Fetch, int], None] = Mirror.reread

    def counted(self: Mirror, fetch: Fetch, count: int) -> None:
        counts.append(count)
        reread(self, fetch, count)

    monkeypatch.setattr(Mirror, "reread", counted)
    monkeypatch.setattr(site.directory, "audit", {QUICK: bytes(32)})
    mirror = Mirror(site, QUICK, lambda: NOW)
    mirror.copy(LOG.fetch)
    mirror.state(looked_at=NOW - 30, size=10_000_000)
    await asyncio.wait_for(visit(Mirroring(site, lambda: NOW)), 60)
    assert counts == [14]
