"""The memory that a log takes depends on what is looked at together, not on how long it is."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from node.audit.entries import record
from node.audit.log import AuditLog
from node.migrations import migrate
from node.store import Store
from tests.node.told import task

SHORT, LONG = 2000, 8000
TOGETHER = 250  # entries that are placed in one transaction
GROWTH = 1.5  # of the peak, while the log grows fourfold


@contextmanager
def recorded(folder: Path, count: int) -> Iterator[AuditLog]:
    """A log whose entries wait for their places."""
    store = Store(f"sqlite:///{folder}/node.db")
    try:
        migrate(store)
        store.name_source("urn:bank")
        with store.begin() as session:
            for number in range(count):
                record(session, "task.started", "urn:job", task(number), "worker")
        yield AuditLog(store, folder / "log")
    finally:
        store.dispose()


def place_all(log: AuditLog) -> None:
    while log.sequence(limit=TOGETHER):
        pass


def peak(act: Callable[[], object]) -> int:
    """The most bytes that Python held at once for this."""
    gc.collect()
    tracemalloc.start()
    try:
        act()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def peaks(folder: Path, count: int) -> tuple[int, int]:
    """Of placing and of verifying so many entries."""
    folder.mkdir()
    with recorded(folder, count) as log:
        placing = peak(lambda: place_all(log))
        assert log.size == count
        return placing, peak(lambda: log.verify([]))


def test_a_log_four_times_as_long_takes_hardly_more_memory(tmp_path: Path) -> None:
    peaks(tmp_path / "first", TOGETHER)  # what is compiled and cached once is no log's
    short, long = peaks(tmp_path / "short", SHORT), peaks(tmp_path / "long", LONG)
    assert long[0] < GROWTH * short[0], f"placing: {short[0]} bytes, then {long[0]}"
    assert long[1] < GROWTH * short[1], f"verifying: {short[1]} bytes, then {long[1]}"
