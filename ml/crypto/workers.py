"""Processes for long arithmetic, so that the conversation stays awake.

Big-integer arithmetic holds Python's lock, so threads do not help; work is cut into tasks of a
fraction of a second and handed to child processes.  Functions must be at module level, and what
they take and give is pickled between a parent and its own children, never across a channel.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from types import TracebackType
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


class Workers:
    """``count`` processes (default: one per processor); 0 or 1 compute in a thread of our own.

    Use as a context manager: leaving it ends the processes.
    """

    def __init__(self, count: int | None = None) -> None:
        self.count = (os.cpu_count() or 1) if count is None else count
        if self.count < 0:
            raise ValueError(f"{self.count} workers; allowed is 0 or more")
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=error is None, cancel_futures=True)
            self._pool = None

    async def map(self, function: Callable[[Task], Result], tasks: Sequence[Task]) -> list[Result]:
        """``function`` of every task, in their order."""
        if self.count <= 1:
            return [await asyncio.to_thread(function, task) for task in tasks]
        if self._pool is None:
            self._pool = _start(self.count)
        loop = asyncio.get_running_loop()
        return list(
            await asyncio.gather(
                *(loop.run_in_executor(self._pool, function, task) for task in tasks)
            )
        )

    def blocks(self, n: int, largest: int) -> list[slice]:
        """0..n in even blocks of at most ``largest``, and enough of them for all processes."""
        count = max(-(-n // largest), min(self.count, n), 1)
        edges = [n * i // count for i in range(count + 1)]
        return [slice(a, b) for a, b in pairwise(edges) if b > a]


def _start(count: int) -> ProcessPoolExecutor:
    # Never fork: the parent has threads and an event loop.
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    return ProcessPoolExecutor(
        count, mp_context=multiprocessing.get_context(method), initializer=_end_with_parent
    )


def _end_with_parent() -> None:
    """A child whose parent was killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
