"""A log whose writer is killed at any moment: nothing receipted is lost, and nothing forks.

``FATECHAIN_KILLS`` is how often, 100 unless it is set.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from chain import merkle
from node.audit.log import AuditLog
from node.migrations import migrate
from node.store import AuditEntry, AuditPending, Store

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("FATECHAIN_KILLS", "100"))
STEPS = 160  # of a life that nobody ends; a few more or less
RECEIPTS = 240


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(f"sqlite:///{tmp_path}/node.db")
    migrate(store)
    return store


class Victims:
    """Lives one after the other; each returns its receipts and whether it was killed."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.node.log_victim", str(folder)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def live(self, *, until_step: int = 0, until_receipt: int = 0) -> tuple[list[str], bool]:
        """One that kills itself before a step, or is killed where it is at a receipt."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{until_step}\n")
        self.process.stdin.flush()
        pid = int(self.process.stdout.readline())
        receipts: list[str] = []
        while (line := self.process.stdout.readline().strip()) not in ("dead", "ended"):
            assert line, "the process that forks the others died itself"
            receipts.append(line)
            if len(receipts) == until_receipt:
                with contextlib.suppress(ProcessLookupError):  # it was faster and has ended
                    os.kill(pid, signal.SIGKILL)
        if line == "ended":
            assert self.process.stdout.readline().strip() == "dead"
        return receipts, line == "dead"

    def end(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def victims(store: Store, tmp_path: Path) -> Iterator[Victims]:
    found = Victims(tmp_path)
    yield found
    found.end()


def known(store: Store, ids: list[str]) -> int:
    """How many of the entries have their place."""
    with store.read() as session:
        query = select(func.count()).select_from(AuditEntry).where(AuditEntry.id.in_(ids))
        return session.scalar(query) or 0


def waiting(store: Store) -> str:
    """The entries that wait for theirs."""
    with store.read() as session:
        return "\n".join(found.decode() for found in session.scalars(select(AuditPending.entry)))


def test_a_process_killed_at_any_moment_loses_no_receipted_entry_and_never_forks(
    store: Store, victims: Victims, tmp_path: Path
) -> None:
    rng = random.Random(9)
    heads: list[tuple[int, bytes]] = []
    receipted: list[str] = []
    deaths = 0
    while deaths < KILLS:
        if rng.random() < 0.7:
            receipts, was_killed = victims.live(until_step=rng.randint(1, STEPS))
        else:
            receipts, was_killed = victims.live(until_receipt=rng.randint(1, RECEIPTS))
        deaths += was_killed
        receipted += receipts
        log = AuditLog(store, tmp_path / "log")
        size = log.size
        with store.read() as session:
            places = session.scalar(select(func.count()).select_from(AuditEntry))
        assert places == size, "an index is missing"
        pending = waiting(store)
        placed = [id for id in receipts if id not in pending]
        assert known(store, placed) == len(placed), "a receipted entry is lost"
        if rng.random() < 0.3:
            log.repair()  # else the next process does it
            assert AuditLog(store, tmp_path / "log").repair() == 0
        root = log.root()
        for old, old_root in heads[-1:] + rng.sample(heads, min(len(heads), 5)):
            proof = log.consistency_proof(old, size)
            assert merkle.verify_consistency(old_root, old, root, size, proof)
        if size:
            heads.append((size, root))
    while log.sequence():
        pass
    assert known(store, receipted) == len(set(receipted)) == len(receipted)
    assert log.verify() == []
    tree = merkle.Tree(entry.leaf_hash for entry in log.entries(0, log.size))
    assert [tree.root(size) for size, _ in heads] == [root for _, root in heads]
    assert heads[-1][0] > heads[0][0]
