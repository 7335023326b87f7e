"""Processes that record and sequence entries until they are killed in the middle of a step.

    python -m tests.node.log_victim FOLDER

For each line on stdin, the number of a step, one process is forked that works in FOLDER and sends
itself SIGKILL before that step: an SQL statement, a commit, a file opened, renamed or removed.
Step 0 comes never.  It prints its process id; the id of every entry whose transaction was
committed, which is the receipt; and ``ended`` where it was not killed.  ``dead`` follows each.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from sqlalchemy import event

from node.audit.entries import record
from node.audit.log import AuditLog
from node.store import Store
from tests.node.told import task

ROUNDS, ENTRIES, LIMIT = 6, 40, 30
FILE_EVENTS = ("open", "os.mkdir", "os.remove", "os.rename", "shutil.rmtree")


def main(folder: Path) -> None:
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            live(folder, int(line))
            os._exit(0)
        os.waitpid(child, 0)
        print("dead", flush=True)


def live(folder: Path, fatal_step: int) -> None:
    step = 0

    def tick(*_: Any, **__: Any) -> None:
        nonlocal step
        step += 1
        if step == fatal_step:
            os.kill(os.getpid(), signal.SIGKILL)

    print(os.getpid(), flush=True)
    store = Store(f"sqlite:///{folder}/node.db")
    store.name_source("urn:victim")
    event.listen(store.engine, "before_cursor_execute", tick)
    event.listen(store.engine, "commit", tick)
    sys.addaudithook(lambda name, _: tick() if name in FILE_EVENTS else None)
    log = AuditLog(store, folder / "log")
    for _ in range(ROUNDS):
        with store.begin() as session:
            ids = [
                record(session, "task.started", "urn:job", task(n), "sync") for n in range(ENTRIES)
            ]
        print(*ids, sep="\n", flush=True)
        log.sequence(LIMIT)
    print("ended", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
