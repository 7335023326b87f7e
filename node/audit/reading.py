"""A log read from tiles that anybody may serve: nothing of them is believed.

A head says size and root.  The tiles at the right edge make the root, or they are refused; every
other tile is held against its hash in the tile above; every entry against its leaf.  So what is
handed out is what the head was signed over, whoever served it.

    checkpoint                        the head
    tile/<level>/<N>[.p/<W>]          hashes
    tile/entries/<N>[.p/<W>]          entries, each after its length in two bytes

Source: https://c2sp.org/tlog-tiles
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import datetime

from chain import merkle
from node.audit.tiles import HASH_BYTES, WIDTH
from node.errors import Invalid, NodeError, NotFound

ENTRIES = "entries"
HEIGHT = 8  # levels of the tree in one tile
TILE_BYTES = WIDTH * HASH_BYTES
MAX_BUNDLE_BYTES = WIDTH * (2 + 65_535)

_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")

Fetch = Callable[[int | None, int, int], bytes]
"""(level, number, width) → content; level None: entries.  Raises `NotFound` for what is not there.
A wider tile than was asked for is no fault: what is beyond the width is not looked at."""

Kept = Callable[[int, int], bytes]
"""(level, number) → a full tile that is at hand already, believed no more than a fetched one."""


def tile_path(level: int | None, number: int, width: int = WIDTH) -> str:
    """Where a tile lies below its log; ``level`` is None for entries."""
    digits = str(number).zfill(3 * -(-len(str(number)) // 3))
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    place = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
    partial = "" if width == WIDTH else f".p/{width}"
    return f"tile/{ENTRIES if level is None else level}/{place}{partial}"


class TilesDiffer(Invalid):
    """What was served is not what the head was signed over; ``place`` is the tile's path, and
    ``served`` its content where one tile alone is wrong."""

    def __init__(self, code: str, place: str, detail: str, served: bytes = b"") -> None:
        super().__init__(code, f"{place}: {detail}", found=place)
        self.place = place
        self.served = served


class TileReader:
    """The tree of ``size`` leaves with this root, from tiles that ``fetch`` brings.

    A full tile that is ``kept`` is fetched only if it is not the one that belongs there.

    Raises `TilesDiffer` (``TileMalformed``, ``RootDiffers``, ``TileDiffers``, ``BundleMalformed``,
    ``EntryDiffers``), and what ``fetch`` raises.  It keeps a tile of each level, no more.
    """

    def __init__(self, fetch: Fetch, size: int, root: bytes, kept: Kept = lambda *_: b"") -> None:
        self.fetch = fetch
        self.kept = kept
        self.size = size
        self.root = root
        self._edge = self._read_edge()
        self._last: dict[int, tuple[int, bytes]] = {}

    def edge(self) -> Iterator[tuple[int, int, bytes]]:
        """The tiles that are not full: (level, number, hashes)."""
        for level, hashes in self._edge.items():
            yield level, (self.size >> HEIGHT * level) // WIDTH, hashes

    def full(self, level: int) -> int:
        """How many tiles of a level are full."""
        return self.size >> HEIGHT * (level + 1)

    @property
    def levels(self) -> range:
        """Those that have tiles."""
        return range(-(-max(self.size.bit_length(), 1) // HEIGHT))

    def tile(self, level: int, number: int) -> bytes:
        """The hashes of a tile of this tree, as many as stand."""
        if number >= self.full(level):
            return self._edge[level]
        last, hashes = self._last.get(level, (-1, b""))
        if last == number:
            return hashes
        expected = self.expected(level, number)
        found = self.kept(level, number)
        if len(found) != TILE_BYTES or merkle.subtree_root(found) != expected:
            found = self._fetch_full(level, number, expected)
        self._last[level] = number, found
        return found

    def hash_at(self, level: int, index: int) -> bytes:
        """`chain.merkle.HashAt`: roots and proofs of every size up to this one follow from it."""
        stored, inside = divmod(level, HEIGHT)
        number, offset = divmod(index << inside, WIDTH)
        width = offset + (1 << inside)
        return merkle.subtree_root(
            self.tile(stored, number)[offset * HASH_BYTES : width * HASH_BYTES]
        )

    def root_at(self, size: int) -> bytes:
        """The root that this tree had with ``size`` leaves; raises ValueError beyond its own."""
        if not 0 <= size <= self.size:
            raise ValueError(f"found size {size}; the tree has {self.size} leaves")
        return merkle.root_at(size, self.hash_at)

    def bundle(self, number: int) -> list[bytes]:
        """The entries of a bundle, each held against its leaf."""
        hashes = self.tile(0, number)
        width = len(hashes) // HASH_BYTES
        path = tile_path(None, number, width)
        served = self._fetch(None, number, width)
        entries = split_bundle(served, path)
        # Whoever no longer has the narrow bundle sends the whole one: what is beyond is not ours.
        if len(entries) < width:
            raise TilesDiffer(
                "BundleMalformed", path, f"it has {len(entries)} entries, not {width}", served
            )
        for slot, entry in enumerate(entries[:width]):
            if merkle.leaf_hash(entry) != hashes[slot * HASH_BYTES : (slot + 1) * HASH_BYTES]:
                index = number * WIDTH + slot
                raise TilesDiffer(
                    "EntryDiffers", path, f"entry {index} is not the one in the tree", served
                )
        return entries[:width]

    def expected(self, level: int, number: int) -> bytes:
        """What a full tile has to hash to: its hash in the tile above."""
        above, slot = divmod(number, WIDTH)
        return self.tile(level + 1, above)[slot * HASH_BYTES : (slot + 1) * HASH_BYTES]

    def _read_edge(self) -> dict[int, bytes]:
        """The tiles that are not full, which together make the root."""
        found: dict[int, bytes] = {}
        for level in self.levels:
            number, width = divmod(self.size >> HEIGHT * level, WIDTH)
            if not width:
                continue
            hashes = self._fetch(level, number, width)
            if len(hashes) not in (width * HASH_BYTES, TILE_BYTES):
                raise _malformed(tile_path(level, number, width), hashes, width * HASH_BYTES)
            found[level] = hashes[: width * HASH_BYTES]
        self._edge = found
        self._last = {}
        made = merkle.root_at(self.size, self.hash_at)
        if made != self.root:
            raise TilesDiffer(
                "RootDiffers",
                f"tiles of {self.size} entries",
                f"they make the root 0x{made.hex()}, and the head says 0x{self.root.hex()}",
                b"".join(found.values()),
            )
        return found

    def _fetch_full(self, level: int, number: int, expected: bytes) -> bytes:
        path = tile_path(level, number)
        found = self.fetch(level, number, WIDTH)
        if len(found) != TILE_BYTES:
            raise _malformed(path, found, TILE_BYTES)
        if merkle.subtree_root(found) != expected:
            raise TilesDiffer(
                "TileDiffers", path, "it does not hash to what the tile above it says", found
            )
        return found

    def _fetch(self, level: int | None, number: int, width: int) -> bytes:
        """A tile that is not full; a log may keep the full one alone when there is one."""
        try:
            return self.fetch(level, number, width)
        except NotFound:
            if width == WIDTH:
                raise
            return self.fetch(level, number, WIDTH)


def split_bundle(content: bytes, path: str) -> list[bytes]:
    """The entries of a bundle; raises `TilesDiffer` (``BundleMalformed``)."""
    entries: list[bytes] = []
    at = 0
    while at < len(content):
        length = int.from_bytes(content[at : at + 2], "big")
        entry = content[at + 2 : at + 2 + length]
        if at + 2 > len(content) or len(entry) != length or len(entries) == WIDTH:
            raise TilesDiffer("BundleMalformed", path, "it is cut off or too long", content)
        entries.append(entry)
        at += 2 + length
    return entries


def time_of(entry: bytes) -> float | None:
    """The Unix seconds that an entry tells; None where it tells none, or in another form than all
    entries: a period compares them as texts, and another form would hide an entry from it."""
    try:
        time = json.loads(entry)["time"]
        return datetime.fromisoformat(time).timestamp() if _MOMENT.fullmatch(time) else None
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
        return None


def _malformed(path: str, found: bytes, allowed: int) -> NodeError:
    detail = f"it has {len(found)} bytes, not {allowed}"
    return TilesDiffer("TileMalformed", path, detail, found)
