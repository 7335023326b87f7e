"""Hashes of a Merkle log in files, laid out as C2SP tlog-tiles (tile height 8).

``tile/<L>/<N>`` holds the hashes of the complete subtrees of height 8·L with the numbers
[256·N, 256·N + 256); ``tile/entries/<N>`` the 256 entries themselves, each after its length in two
bytes.  A tile that is not full yet is ``<N>.p/<W>`` with W hashes.  Files are written whole and
renamed, so that a reader sees one or the other.
Source: https://c2sp.org/tlog-tiles
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from node.files import make_private, write_private

WIDTH = 256
HASH_BYTES = 32
ENTRIES = "entries"


def bundle(entries: Sequence[bytes]) -> bytes:
    """Entries as a file holds them, each after its length."""
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


class Tiles:
    """The tiles below ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._root = folder / "tile"

    def read(self, level: int, number: int, width: int) -> bytes | None:
        """The first ``width`` hashes of a tile; None if they are not on disk."""
        full = self._path(str(level), number)
        for path in (full, *self._partials(full, width)):
            try:
                found = path.read_bytes()
            except FileNotFoundError:
                continue
            if len(found) >= width * HASH_BYTES:
                return found[: width * HASH_BYTES]
        return None

    def widest(self, level: int, number: int) -> bytes:
        """All hashes on disk of a tile; empty if there are none."""
        full = self._path(str(level), number)
        for path in (full, *self._partials(full, 1)):
            try:
                found = path.read_bytes()
            except FileNotFoundError:
                continue
            return found[: len(found) // HASH_BYTES * HASH_BYTES]
        return b""

    def write(self, level: int, number: int, hashes: bytes) -> None:
        """Store a tile, full or not, durably; narrower ones of the same number go away."""
        self._write(str(level), number, len(hashes) // HASH_BYTES, hashes)

    def write_entries(self, number: int, entries: Sequence[bytes]) -> None:
        """Store a bundle of up to 256 entries."""
        self._write(ENTRIES, number, len(entries), bundle(entries))

    def _write(self, level: str, number: int, width: int, content: bytes) -> None:
        full = self._path(level, number)
        partial = full.with_name(full.name + ".p")
        path = full if width == WIDTH else partial / str(width)
        make_private(path.parent)
        write_private(path, content)
        if width == WIDTH:
            shutil.rmtree(partial, ignore_errors=True)
            return
        for older in self._partials(full, 1):
            if int(older.name) < width:
                older.unlink(missing_ok=True)

    def _path(self, level: str, number: int) -> Path:
        digits = f"{number:03}"
        digits = digits.zfill(-(-len(digits) // 3) * 3)
        groups = [digits[i : i + 3] for i in range(0, len(digits), 3)]
        return self._root.joinpath(level, *(f"x{group}" for group in groups[:-1]), groups[-1])

    @staticmethod
    def _partials(full: Path, width: int) -> list[Path]:
        """Stored partial tiles of at least ``width``, widest first."""
        folder = full.with_name(full.name + ".p")
        if not folder.is_dir():
            return []
        widths = sorted((int(p.name) for p in folder.iterdir() if p.name.isdigit()), reverse=True)
        return [folder / str(found) for found in widths if found >= width]
