"""A log that can lie: entries in memory, served as tiles, unless a test has it serve others."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime

from chain import merkle
from node.audit.checkpoint import sign_checkpoint
from node.audit.reading import tile_path
from node.audit.tiles import WIDTH, bundle
from node.errors import NodeError, NotFound
from node.identity import Identity

START = 1_700_000_000


def entries(count: int, word: str = "said", start: int = START) -> list[bytes]:
    """Leaves as a log has them, as far as their readers look: a second apart."""
    return [entry(number, start + number, word) for number in range(count)]


def entry(number: int, seconds: float, word: str = "said") -> bytes:
    time = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")
    return json.dumps({"data": {word: number}, "time": time.replace("+00:00", "Z")}).encode()


class LyingLog:
    """Serves what it has, except where `lies` says otherwise.

    ``lies`` maps paths to content, or to the refusal that is raised.  `asked` are the paths asked
    for, in order.
    """

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        self.leaves = list(leaves)
        self.lies: dict[str, bytes | NodeError] = {}
        self.asked: list[str] = []

    @property
    def size(self) -> int:
        return len(self.leaves)

    def tree(self, size: int | None = None) -> merkle.Tree:
        return merkle.Tree(
            map(merkle.leaf_hash, self.leaves[: self.size if size is None else size])
        )

    def root(self, size: int | None = None) -> bytes:
        return self.tree(size).root()

    def note(self, identity: Identity, site_id: str, size: int | None = None) -> str:
        """A head of the log, signed."""
        told = self.size if size is None else size
        return sign_checkpoint(identity, site_id, told, self.root(told))

    def fetch(self, level: int | None, number: int, width: int = WIDTH) -> bytes:
        """`node.audit.reading.Fetch`"""
        path = tile_path(level, number, width)
        self.asked.append(path)
        if path in self.lies:
            told = self.lies[path]
            if isinstance(told, NodeError):
                raise told
            return told
        return self.honest(level, number, width)

    def honest(self, level: int | None, number: int, width: int = WIDTH) -> bytes:
        """The true tile; raises `NotFound` for one that does not stand."""
        first, present = number * WIDTH, self.size >> 8 * (level or 0)
        if first + width > present:
            raise NotFound("NotFound", "the log has no such tile")
        if level is None:
            return bundle(self.leaves[first : first + width])
        tree = self.tree()
        return b"".join(tree.hash_at(8 * level, n) for n in range(first, first + width))
