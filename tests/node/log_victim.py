"""A process that records and sequences entries until it kills itself in the middle of a step.

    python -m tests.node.log_victim FOLDER STEP

It prints the id of every entry whose transaction was committed: that is the receipt.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import event

from node.audit import tiles
from node.audit.entries import record
from node.audit.log import AuditLog
from node.store import Store

ROUNDS, ENTRIES, LIMIT = 6, 90, 70


def main(folder: Path, fatal_step: int) -> None:
    step = 0

    def tick(*_: Any, **__: Any) -> None:
        nonlocal step
        step += 1
        if step == fatal_step:
            os.kill(os.getpid(), signal.SIGKILL)

    store = Store(f"sqlite:///{folder}/node.db")
    store.name_source("urn:victim")
    event.listen(store.engine, "before_cursor_execute", tick)
    event.listen(store.engine, "commit", tick)
    tiles.write_private = _between_ticks(tiles.write_private, tick)  # type: ignore[attr-defined]
    log = AuditLog(store, folder / "log")
    for _ in range(ROUNDS):
        with store.begin() as session:
            ids = [
                record(session, "task.started", "urn:job", {"n": n}, "sync") for n in range(ENTRIES)
            ]
        print(*ids, sep="\n", flush=True)
        log.sequence(LIMIT)
    print("ended", flush=True)


def _between_ticks(write: Callable[..., None], tick: Callable[[], None]) -> Callable[..., None]:
    def written(path: Path, content: bytes) -> None:
        tick()
        write(path, content)
        tick()

    return written


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
