"""A reader of a tiled log, written from RFC 6962 and c2sp.org/tlog-tiles alone.

It takes one function that fetches a path and knows nothing of the code of the node.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from hashlib import sha256

Fetch = Callable[[str], bytes]


class TileClient:
    """The tree of ``size`` leaves as its tiles tell it."""

    def __init__(self, fetch: Fetch, size: int) -> None:
        self.fetch, self.size = fetch, size
        self.paths: list[str] = []
        self._tiles: dict[str, bytes] = {}

    def root(self, size: int | None = None) -> bytes:
        """MTH(D[0:size])"""
        whole = self.size if size is None else size
        return sha256().digest() if whole == 0 else self._mth(0, whole)

    def inclusion(self, index: int) -> list[bytes]:
        """PATH(index, D[size])"""

        def path(m: int, start: int, end: int) -> list[bytes]:
            if end - start == 1:
                return []
            k = _split(end - start)
            if m < k:
                return [*path(m, start, start + k), self._mth(start + k, end)]
            return [*path(m - k, start + k, end), self._mth(start, start + k)]

        return path(index, 0, self.size)

    def consistency(self, old: int) -> list[bytes]:
        """PROOF(old, D[size])"""

        def subproof(m: int, start: int, end: int, *, known: bool) -> list[bytes]:
            if m == end - start:
                return [] if known else [self._mth(start, end)]
            k = _split(end - start)
            if m <= k:
                left = subproof(m, start, start + k, known=known)
                return [*left, self._mth(start + k, end)]
            right = subproof(m - k, start + k, end, known=False)
            return [*right, self._mth(start, start + k)]

        return subproof(old, 0, self.size, known=True)

    def entries(self) -> list[bytes]:
        """All of them, each held against its leaf hash."""
        found: list[bytes] = []
        for number in range(-(-self.size // 256)):
            bundle, at = self._get("entries", number, self.size), 0
            while at < len(bundle):
                length = int.from_bytes(bundle[at : at + 2], "big")
                found.append(bundle[at + 2 : at + 2 + length])
                at += 2 + length
        for index, entry in enumerate(found):
            assert sha256(b"\x00" + entry).digest() == self._mth(index, index + 1)
        return found

    def _mth(self, start: int, end: int) -> bytes:
        width = end - start
        if width & (width - 1):
            k = _split(width)
            return _node(self._mth(start, start + k), self._mth(start + k, end))
        level, below = 0, width
        while below >= 256:
            level, below = level + 1, below // 256
        first = start // 256**level
        tile = self._get(str(level), first // 256, self.size // 256**level)
        hashes = [tile[32 * (first % 256 + i) :][:32] for i in range(below)]
        while len(hashes) > 1:
            hashes = [_node(*hashes[i : i + 2]) for i in range(0, len(hashes), 2)]
        return hashes[0]

    def _get(self, level: str, number: int, present: int) -> bytes:
        """The tile as wide as it is in a tree with so many hashes at its level."""
        digits = str(number).zfill(3 * -(-len(str(number)) // 3))
        groups = [digits[i : i + 3] for i in range(0, len(digits), 3)]
        path = f"tile/{level}/" + "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
        width = min(256, present - 256 * number)
        if width < 256:
            path += f".p/{width}"
        if path not in self._tiles:
            self.paths.append(path)
            self._tiles[path] = self.fetch(path)
        if level != "entries":
            assert len(self._tiles[path]) == 32 * width
        return self._tiles[path]


def read_head(note: bytes) -> tuple[str, int, bytes]:
    """Origin, size and root of a checkpoint; signatures are another's to verify."""
    origin, size, root = note.decode().split("\n")[:3]
    return origin, int(size), base64.b64decode(root)


def _split(n: int) -> int:
    """The largest power of two below n."""
    return 1 << ((n - 1).bit_length() - 1)


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()
