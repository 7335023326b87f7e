"""Whether the times of entries can be true: in the order of the log, and about the anchors' blocks.

A time is the word of the site that wrote it.  What others know is that an anchored entry was there
when the block of its anchor was made; and that an entry after an anchored head, which was taken
when the block of the anchor before it was known, was placed after that block.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any

ORDER_SLACK = timedelta(minutes=5)  # a clock may be set back by so much
BLOCK_SLACK = timedelta(minutes=15)  # clocks differ from the chain's, and entries wait for a place


@dataclass(frozen=True)
class Anchored:
    """A head that the chain holds; ``time`` is its block's in Unix seconds, None if not asked."""

    size: int
    root: bytes
    time: int | None = None


class Dates:
    """The times of entries in their order.  ``newest`` is that of the entry before them."""

    def __init__(self, heads: Sequence[Anchored], newest: Any) -> None:
        self.newest = newest if _parsed(newest) else None
        timed = [head for head in heads if head.time is not None]
        self._sizes = [head.size for head in timed]
        times = [datetime.fromtimestamp(head.time or 0, UTC) for head in timed]
        self._blocks = list(accumulate(times, max))  # a chain's blocks are in the order of time

    def faults(self, rows: Sequence[tuple[Any, ...]]) -> Iterator[tuple[int, str]]:
        """(index, what) of entries whose time cannot be true; rows are (index, …, time, …)."""
        times = [row[5] for row in rows]
        if not times or self._are_plain(times, rows[0][0], rows[-1][0]):
            self.newest = times[-1] if times else self.newest
            return
        for row in rows:
            if what := self._what_is_wrong(row[0], row[5]):
                yield row[0], what
                self.newest = row[5] if _parsed(row[5]) else self.newest
            elif self.newest is None or row[5] > self.newest:
                self.newest = row[5]

    def _are_plain(self, times: list[Any], first: int, last: int) -> bool:
        """Whether the times rise and are within the narrowest bounds; then nothing is parsed."""
        floor, ceiling = self._bounds(last)[0], self._bounds(first)[1]
        try:
            return (
                (self.newest is None or self.newest <= times[0])
                and times == sorted(times)
                and times[0] >= _written(floor)
                and times[-1] <= _written(ceiling)
            )
        except TypeError:
            return False  # somebody wrote something else than text

    def _bounds(self, index: int) -> tuple[datetime, datetime]:
        """The earliest and the latest time that entry ``index`` can have."""
        now = datetime.now(UTC)
        after = bisect_left(self._sizes, index + 1)  # the first head that holds the entry
        earliest = self._blocks[after - 2] if after >= 2 else datetime.min.replace(tzinfo=UTC)
        latest = self._blocks[after] if after < len(self._blocks) else now
        floor = earliest - BLOCK_SLACK if after >= 2 else earliest
        return floor, latest + BLOCK_SLACK

    def _what_is_wrong(self, index: int, time: Any) -> str | None:
        moment = _parsed(time)
        if moment is None:
            return "edited: its time is none"
        floor, ceiling = self._bounds(index)
        if moment > ceiling:
            return f"dated {time}, after the block that anchors it, or after today"
        if moment < floor:
            return f"back-dated to {time}, before the block of an earlier anchor"
        before = _parsed(self.newest)
        if before is not None and moment < before - ORDER_SLACK:
            return f"back-dated to {time}, before the entry before it, of {self.newest}"
        return None


def _parsed(time: Any) -> datetime | None:
    try:
        found = datetime.fromisoformat(time)
    except (TypeError, ValueError):
        return None
    return found if found.tzinfo else None


def _written(moment: datetime) -> str:
    """As entries have it, whose order as text is that of time."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
