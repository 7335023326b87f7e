"""Every entry of the log held against its hash, its columns, its tile, the times of its neighbours
and the anchored heads.

The log is read in stretches of whole tiles, by several processes where it is long; each holds one
tile of entries in memory, and what comes back of a stretch are the roots of its tiles.  The
entries of a tile are checked together; only where something is wrong is each one looked at.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from json.encoder import encode_basestring
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from sqlalchemy import CursorResult, Result, text
from sqlalchemy.orm import Session

from chain import merkle
from node.audit.dates import Anchored, Dates
from node.audit.tiles import HASH_BYTES, TILE_BYTES, WIDTH, Tiles
from node.audit.tree import HEIGHT
from node.store import Store

STRETCH = 64 * WIDTH  # entries that a process reads before it answers
MANY = 12 * STRETCH  # from so many on, other processes are worth being started
MAX_FAULTS = 100

Progress = Callable[[int, int], None]
"""Called with how many entries were read, and of how many."""


@dataclass(frozen=True)
class Fault:
    """A place where the log is not what it was."""

    index: int
    what: str


def verify(
    store: Store,
    folder: Path,
    anchors: Sequence[Anchored],
    *,
    processes: int = 1,
    progress: Progress | None = None,
) -> list[Fault]:
    """Read the whole log and name every place that is not as it was written (100 at most).

    Whoever edits one line must edit all of them, and the tiles, and cannot edit the chain's.
    """
    with store.read() as session:
        least, most = session.execute(_RANGE).one()
    size = 0 if most is None else int(most) + 1
    heads = sorted(anchors, key=lambda head: head.size)
    tree = _Tree(Tiles(folder), heads)
    if least is not None and least < 0:
        tree.faults.append(Fault(int(least), "before the first entry"))
    for stretch in _stretches(store, folder, heads, size, processes):
        tree.add(stretch)
        if progress is not None:
            progress(stretch.end, size)
        if len(tree.faults) >= MAX_FAULTS:
            break
    else:
        tree.end(size)
    return sorted(tree.faults, key=lambda fault: fault.index)[:MAX_FAULTS]


# ── Stretches ────────────────────────────────────────────────────────────────────────────────


@dataclass
class Stretch:
    """What is left of entries [first, end) when they were read."""

    first: int
    end: int
    is_whole: bool = True  # none is missing
    tiles: list[bytes] = field(default_factory=list)  # roots of its full tiles
    heads: dict[int, bytes] = field(default_factory=dict)  # size → leaf hashes of its last tile
    faults: list[Fault] = field(default_factory=list)


def _stretches(
    store: Store, folder: Path, heads: Sequence[Anchored], size: int, processes: int
) -> Iterator[Stretch]:
    """The log in its order, a few stretches read ahead; those without any entry are left out."""
    if processes == 1 or size < MANY:
        reader = _Reader(store, Tiles(folder), heads)
        for first, end in _bounds(store, size):
            yield reader.read(first, end)
        return
    opening = (store.url, folder, heads)
    with ProcessPoolExecutor(processes, get_context("spawn"), _open, opening) as pool:
        ahead: list[Future[Stretch]] = []
        try:
            for first, end in _bounds(store, size):
                ahead.append(pool.submit(_read, first, end))
                if len(ahead) > 2 * processes:
                    yield ahead.pop(0).result()
            while ahead:
                yield ahead.pop(0).result()
        finally:
            for future in ahead:
                future.cancel()


def _bounds(store: Store, size: int) -> Iterator[tuple[int, int]]:
    first = 0
    while first < size:
        with store.read() as session:
            present = _present(session, first)
        if present >= first + STRETCH:  # whoever wrote a far index keeps us busy for no longer
            yield first, first + STRETCH
            first = present // STRETCH * STRETCH
        yield first, min(size, first + STRETCH)
        first += STRETCH


def _present(session: Session, first: int) -> int:
    """The index of the next entry that is there."""
    found = session.execute(_NEXT, {"first": first}).scalar()
    return first if found is None else int(found)


_reader: _Reader  # of a process of the pool


def _open(url: str, folder: Path, heads: Sequence[Anchored]) -> None:
    global _reader
    _reader = _Reader(Store(url), Tiles(folder), heads)


def _read(first: int, end: int) -> Stretch:
    return _reader.read(first, end)


# ── Entries ──────────────────────────────────────────────────────────────────────────────────

# Text that somebody wrote for an index is more than every number in SQLite.
_NUMBER = f'"index" <= {2**63 - 1}'
_RANGE = text(f'SELECT min("index"), max("index") FROM audit_entry WHERE {_NUMBER}')  # noqa: S608
_NEXT = text(
    f'SELECT min("index") FROM audit_entry WHERE "index" >= :first AND {_NUMBER}'  # noqa: S608
)
_TIME = text('SELECT time FROM audit_entry WHERE "index" = :index')
_ROWS = text(
    'SELECT "index", id, type, subject, actor, time, leaf_hash, entry FROM audit_entry '
    'WHERE "index" >= :first AND "index" < :end ORDER BY "index"'
)

Row = tuple[Any, ...]
"""As in `_ROWS`, whatever somebody wrote there."""


class _Reader:
    """Reads stretches and names what is wrong with their entries."""

    def __init__(self, store: Store, tiles: Tiles, heads: Sequence[Anchored]) -> None:
        self._store = store
        self._tiles = tiles
        self._heads = heads
        self._sizes = [head.size for head in heads]
        self._source = '""'  # of the entry parsed last; nearly always that of all entries

    def read(self, first: int, end: int) -> Stretch:
        """Entries [first, end); ``first`` begins a tile."""
        stretch = Stretch(first, end)
        with self._store.read() as session:
            dates = Dates(self._heads, session.execute(_TIME, {"index": first - 1}).scalar())
            is_gap = first > 0 and session.execute(_TIME, {"index": first - 1}).first() is None
            for start in range(first, end, WIDTH):
                stop = min(end, start + WIDTH)
                found = session.execute(_ROWS, {"first": start, "end": stop})
                # As the driver gives them: most of the time went into making rows of rows.
                rows = [row for row in _driver_rows(found) if isinstance(row[0], int)]
                if len(rows) < stop - start:
                    stretch.is_whole = False
                    stretch.faults += _gaps(session, rows, start, stop, is_gap)
                is_gap = not rows or rows[-1][0] != stop - 1
                leaves = self._check(stretch, rows, start, stop)
                stretch.faults += [Fault(*found) for found in dates.faults(rows)]
                if len(leaves) == TILE_BYTES:
                    stretch.tiles.append(merkle.subtree_root(leaves))
                held = slice(bisect_right(self._sizes, start), bisect_right(self._sizes, stop))
                for size in self._sizes[held]:
                    stretch.heads[size] = leaves[: (size - start) * HASH_BYTES]
                if len(stretch.faults) >= MAX_FAULTS:
                    stretch.end = stop
                    break
        return stretch

    def _check(self, stretch: Stretch, rows: Sequence[Row], start: int, stop: int) -> bytes:
        """The hashes of the entries of a tile, each held against columns and tile."""
        leaves = [sha256(b"\0" + _bytes(row[7])).digest() for row in rows]
        joined = b"".join(leaves)
        stored = self._tiles.stored(0, start // WIDTH)
        if not (
            joined == b"".join([_bytes(row[6]) for row in rows])
            and joined.startswith(stored)
            and all(map(self._is_told, rows))
        ):
            for row, leaf in zip(rows, leaves, strict=True):
                at = (row[0] - start) * HASH_BYTES
                if what := self._what_differs(row, leaf, stored[at : at + HASH_BYTES]):
                    stretch.faults.append(Fault(row[0], what))
            if len(stored) > (stop - start) * HASH_BYTES:
                what = "missing: the tiles hold more entries than the database"
                stretch.faults.append(Fault(stop, what))
        return joined

    def _what_differs(self, row: Row, leaf: bytes, slot: bytes) -> str | None:
        """How an entry contradicts itself or its tile; None if it does not."""
        if row[6] != leaf:
            return "edited: its hash is another"
        if slot not in (leaf, b""):
            return "replaced: its tile has another hash"
        try:
            value = json.loads(row[7])
            told = tuple(value[name] for name in ("id", "type", "subject", "actor", "time"))
            self._source = encode_basestring(value["source"])
        except (ValueError, KeyError, TypeError):
            return "not an entry"
        return None if told == row[1:6] else "edited: its columns are not the entry's"

    def _is_told(self, row: Row) -> bool:
        """Whether an entry begins and ends with what its columns say, in canonical JSON.

        All keys but ``data`` and ``dataschema`` stand there, and quotes inside of a string are
        escaped, so the text can be read in no other way.  False where it must be parsed to know.
        """
        try:
            id, type, subject, actor, time = map(encode_basestring, row[1:6])
            begins = f'{{"actor":{actor},'
            ends = (
                f',"id":{id},"source":{self._source},"specversion":"1.0",'
                f'"subject":{subject},"time":{time},"type":{type}}}'
            )
            content: bytes = row[7]
            return content.startswith(begins.encode()) and content.endswith(ends.encode())
        except (TypeError, AttributeError, UnicodeEncodeError):
            return False  # it is no text


def _driver_rows(found: Result[Any]) -> Sequence[Row]:
    assert isinstance(found, CursorResult)
    rows: Sequence[Row] = found.cursor.fetchall()
    found.close()
    return rows


def _gaps(
    session: Session, rows: Sequence[Row], start: int, stop: int, is_gap: bool
) -> Iterator[Fault]:
    """Entries missing in [start, stop); a gap that began before is told already."""
    expected = start
    for index in [row[0] for row in rows] + [None]:
        if index is None and expected < stop:
            index = _present(session, stop)
        if index is not None and index != expected and not (is_gap and expected == start):
            yield Fault(expected, f"missing up to {index}")
        expected = stop if index is None else index + 1


def _bytes(value: Any) -> bytes:
    """SQLite keeps text where a BLOB should be, if somebody edits it in."""
    return value if isinstance(value, bytes) else b""


# ── The tree ─────────────────────────────────────────────────────────────────────────────────


class _Tree:
    """The tree over the stretches, held against the upper tiles and the anchors."""

    def __init__(self, tiles: Tiles, heads: Sequence[Anchored]) -> None:
        self.faults: list[Fault] = []
        self._tiles = tiles
        self._heads = list(heads)
        self._frontier = merkle.Frontier()
        self._upper: dict[int, bytes] = {}  # level → hashes of its tile that is not full yet
        self._sound = 0  # the newest anchored size that held
        self._is_whole = True

    def add(self, stretch: Stretch) -> None:
        self.faults += stretch.faults
        self._is_whole = self._is_whole and stretch.is_whole
        if not self._is_whole:
            return  # with an entry missing no root after it can be known
        for root in stretch.tiles:
            self._hold(stretch)
            for level, index, value in self._frontier.append_subtree(HEIGHT, root):
                if level % HEIGHT == 0:
                    self._grow(level // HEIGHT, index, value)
        self._hold(stretch)

    def end(self, size: int) -> None:
        """What tiles and anchors tell of entries that are not there."""
        if self._is_whole:
            for level, hashes in self._upper.items():
                self._compare(level, (size >> HEIGHT * level) // WIDTH, hashes)
        if size % WIDTH == 0 and self._tiles.stored(0, size // WIDTH):
            what = "missing: the tiles hold more entries than the database"
            self.faults.append(Fault(size, what))
        newest = self._heads[-1].size if self._heads else 0
        if newest > size and size not in [fault.index for fault in self.faults]:
            self.faults.append(Fault(size, f"missing up to {newest}, which is anchored"))

    def _hold(self, stretch: Stretch) -> None:
        """The anchored heads that end before the next tile does."""
        size = self._frontier.size
        while self._heads and self._heads[0].size <= min(size + WIDTH - 1, stretch.end):
            head = self._heads.pop(0)
            frontier = self._frontier.branch()
            if head.size > size:
                leaves = stretch.heads[head.size]
                for at in range(0, len(leaves), HASH_BYTES):
                    frontier.append(leaves[at : at + HASH_BYTES])
            if frontier.root() == head.root:
                self._sound = head.size
            else:
                what = f"not as anchored: differs in [{self._sound}, {head.size})"
                self.faults.append(Fault(self._sound, what))

    def _grow(self, level: int, index: int, value: bytes) -> None:
        hashes = self._upper.get(level, b"") + value
        if len(hashes) == TILE_BYTES:
            self._compare(level, index // WIDTH, hashes)
            hashes = b""
        self._upper[level] = hashes

    def _compare(self, level: int, number: int, hashes: bytes) -> None:
        """An upper tile; hashes over an entry with a fault differ of course."""
        stored = self._tiles.stored(level, number)
        if hashes.startswith(stored):
            return
        known = {fault.index >> HEIGHT * level for fault in self.faults}
        for at in range(0, len(stored), HASH_BYTES):
            index = number * WIDTH + at // HASH_BYTES
            if stored[at : at + HASH_BYTES] != hashes[at : at + HASH_BYTES] and index not in known:
                what = f"the tile of level {level} above it has another hash"
                self.faults.append(Fault(index << HEIGHT * level, what))
                return
