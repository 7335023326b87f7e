"""Threads for compiled arithmetic, so that the conversation stays awake.

`ml.crypto.workers` has processes for what holds Python's lock; compiled code does not, and threads
share its arrays.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from types import TracebackType
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


class Threads:
    """``count`` threads (default: one per processor; 0 counts as 1).  A context manager."""

    def __init__(self, count: int | None = None) -> None:
        self.count = max(1, (os.cpu_count() or 1) if count is None else count)
        self._pool = ThreadPoolExecutor(self.count, thread_name_prefix="lattice")

    def __enter__(self) -> Threads:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pool.shutdown(wait=error is None, cancel_futures=True)

    async def map(self, function: Callable[[Task], Result], tasks: Sequence[Task]) -> list[Result]:
        """``function`` of every task, in their order."""
        loop = asyncio.get_running_loop()
        return list(
            await asyncio.gather(
                *(loop.run_in_executor(self._pool, function, task) for task in tasks)
            )
        )

    def blocks(self, n: int, smallest: int = 1) -> list[slice]:
        """0..n in as many even blocks as there are threads, none of fewer than ``smallest``."""
        count = max(1, min(self.count, n // max(smallest, 1)))
        edges = [n * i // count for i in range(count + 1)]
        return [slice(a, b) for a, b in pairwise(edges) if b > a]
