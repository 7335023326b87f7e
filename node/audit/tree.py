"""The Merkle tree of the log in tiles: grown after the database, and what proofs are read from.

The database is the truth and tiles are derived from it: what is missing is made again, and read
from the leaves meanwhile.  A tile that says something else than the database is never overwritten:
one of the two was tampered with.
"""

from __future__ import annotations

from collections.abc import Callable

from chain import merkle
from node.audit.tiles import HASH_BYTES, TILE_BYTES, WIDTH, Tiles
from node.errors import Failed

HEIGHT = 8  # levels of the tree in one tile: 2 ** HEIGHT == WIDTH
RECENT = 256 * WIDTH  # leaves at the end of a log that are held against their tiles at a start
AT_ONCE = 64  # tiles in memory until they are written

Leaves = Callable[[int, int], bytes]
"""(first, end) → the hashes of these leaves in one string, from the database; raises `Failed`."""


class TiledTree:
    """The tree over ``leaves`` in ``tiles``."""

    def __init__(self, tiles: Tiles, leaves: Leaves) -> None:
        self._tiles = tiles
        self._leaves = leaves

    def append(self, size: int, leaves: bytes) -> None:
        """Write the tiles that change when a tree of ``size`` leaves gets these hashes."""
        written: list[tuple[int, int, bytes]] = []
        level, start, added = 0, size, leaves
        while added:
            number, kept = divmod(start, WIDTH)
            hashes = (self.tile(level, number, kept) if kept else b"") + added
            above: list[bytes] = []
            for at in range(0, len(hashes), TILE_BYTES):
                tile = hashes[at : at + TILE_BYTES]
                written.append((level, number + len(above), tile))
                if len(tile) == TILE_BYTES:
                    above.append(merkle.subtree_root(tile))
            level, start, added = level + 1, number, b"".join(above)
        self._tiles.write(written)

    def tile(self, level: int, number: int, width: int) -> bytes:
        """The first hashes of a tile, from disk, or from what lies below it."""
        found = self._tiles.read(level, number, width)
        return self._computed(level, number, width) if found is None else found

    def hashes_of(self, size: int) -> merkle.HashAt:
        """The subtrees of the tree of ``size``; one proof reads each tile once."""
        known: dict[tuple[int, int], bytes] = {}

        def hash_at(level: int, index: int) -> bytes:
            stored, inside = divmod(level, HEIGHT)
            number, offset = divmod(index << inside, WIDTH)
            tile = known.get((stored, number))
            if tile is None:
                width = min(WIDTH, (size >> HEIGHT * stored) - number * WIDTH)
                tile = known[stored, number] = self.tile(stored, number, width)
            return merkle.subtree_root(
                tile[offset * HASH_BYTES : (offset + (1 << inside)) * HASH_BYTES]
            )

        return hash_at

    def repair(self, size: int) -> int:
        """Make missing tiles again; returns how many leaves they lacked.

        Raises `Failed` (``AuditLogDiffers``) with the first index where a tile says something else
        than the database.  All that cover the `RECENT` leaves are held against it; of older ones
        it is seen that they are there (`node.audit.verification` reads them all).
        """
        lacking = level = 0
        while hashes := size >> HEIGHT * level:
            missing: list[tuple[int, int, bytes]] = []
            for number in range(-(-hashes // WIDTH)):
                end = (number + 1) * WIDTH
                if end << HEIGHT * level <= size - RECENT and self._tiles.is_full(level, number):
                    continue
                tile = self._computed(level, number, min(WIDTH, hashes - number * WIDTH))
                stored = self._tiles.stored(level, number)
                _require_agreement(stored, tile, level, number)
                if len(stored) < len(tile):
                    missing.append((level, number, tile))
                    lacking += 0 if level else (len(tile) - len(stored)) // HASH_BYTES
                if len(missing) == AT_ONCE:
                    self._tiles.write(missing)
                    missing.clear()
            self._tiles.write(missing)
            level += 1
        # A log that was cut at the end of a tile.
        after = -(-size // WIDTH)
        _require_agreement(self._tiles.stored(0, after), b"", 0, after)
        return lacking

    def _computed(self, level: int, number: int, width: int) -> bytes:
        start = number * WIDTH
        if level == 0:
            return self._leaves(start, start + width)
        below = range(start, start + width)
        return b"".join([merkle.subtree_root(self.tile(level - 1, n, WIDTH)) for n in below])


def _require_agreement(stored: bytes, tile: bytes, level: int, number: int) -> None:
    """Raises `Failed` (``AuditLogDiffers``) unless a stored tile is the true one or its start."""
    if tile.startswith(stored):
        return
    at = 0
    while stored[at : at + HASH_BYTES] == tile[at : at + HASH_BYTES]:
        at += HASH_BYTES
    detail = "its tile has another hash" if level == 0 else f"a tile of level {level} differs"
    if at >= len(tile):
        detail = "missing: the tiles hold more entries than the database"
    raise differs((number * WIDTH + at // HASH_BYTES) << HEIGHT * level, detail)


def differs(index: int, detail: str) -> Failed:
    """The refusal to go on with a log that somebody changed."""
    return Failed(
        "AuditLogDiffers",
        f"the audit log was changed at entry {index}: {detail}",
        found=index,
        hint="keep database and log/ as they are and find out who changed which; only if the "
        "database is right, remove log/tile and it is made again",
    )
