"""Hashes of a Merkle log in files, laid out as C2SP tlog-tiles (tile height 8).

``tile/<L>/<N>`` holds the hashes of the complete subtrees of height 8·L with the numbers
[256·N, 256·N + 256).  A tile that is not full yet is ``<N>.p/<W>`` with W hashes.  Files are
written whole and renamed, so that a reader sees one or the other.
Source: https://c2sp.org/tlog-tiles
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from node.files import make_private, write_all_private

WIDTH = 256
HASH_BYTES = 32
TILE_BYTES = WIDTH * HASH_BYTES


def bundle(entries: Sequence[bytes]) -> bytes:
    """Entries as ``tile/entries/<N>`` holds them, each after its length in two bytes."""
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


class Tiles:
    """The tiles below ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._root = folder / "tile"

    def read(self, level: int, number: int, width: int) -> bytes | None:
        """The first ``width`` hashes of a tile; None if they are not on disk."""
        full = self.path(level, number)
        for path in (full, *_partials(full, width)):
            try:
                found = path.read_bytes()
            except FileNotFoundError:
                continue
            if len(found) >= width * HASH_BYTES:
                return found[: width * HASH_BYTES]
        return None

    def stored(self, level: int, number: int) -> bytes:
        """The widest file of a tile as it is; empty if there is none."""
        full = self.path(level, number)
        for path in (full, *_partials(full, 1)):
            try:
                return path.read_bytes()
            except FileNotFoundError:
                continue
        return b""

    def is_full(self, level: int, number: int) -> bool:
        """Whether the file of a full tile is there, as long as it must be."""
        try:
            return self.path(level, number).stat().st_size == TILE_BYTES
        except FileNotFoundError:
            return False

    def write(self, tiles: Sequence[tuple[int, int, bytes]]) -> None:
        """Store tiles (level, number, hashes), full or not, durably; narrower ones go away."""
        contents: dict[Path, bytes] = {}
        for level, number, hashes in tiles:
            path = self.path(level, number)
            if len(hashes) < TILE_BYTES:
                path = _partial_folder(path) / str(len(hashes) // HASH_BYTES)
            make_private(path.parent)
            contents[path] = hashes
        write_all_private(contents)
        for level, number, hashes in tiles:
            full = self.path(level, number)
            if len(hashes) == TILE_BYTES:
                shutil.rmtree(_partial_folder(full), ignore_errors=True)
                continue
            for older in _partials(full, 1):
                if int(older.name) < len(hashes) // HASH_BYTES:
                    older.unlink(missing_ok=True)

    def path(self, level: int, number: int) -> Path:
        """Of a full tile."""
        digits = f"{number:03}"
        digits = digits.zfill(-(-len(digits) // 3) * 3)
        groups = [digits[i : i + 3] for i in range(0, len(digits), 3)]
        return self._root.joinpath(str(level), *(f"x{group}" for group in groups[:-1]), groups[-1])


def _partial_folder(full: Path) -> Path:
    return full.with_name(full.name + ".p")


def _partials(full: Path, width: int) -> list[Path]:
    """Stored partial tiles of at least ``width``, widest first."""
    folder = _partial_folder(full)
    try:
        names = [path.name for path in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    widths = sorted((int(name) for name in names if name.isdigit()), reverse=True)
    return [folder / str(found) for found in widths if found >= width]
