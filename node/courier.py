"""Brings this site's receipts of stops to the other parties of the job, to each in its own time.

A party that is dead, or answers slowly, keeps no other one waiting; it is asked again for a week.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlalchemy import select

from node.changes import LOOK_SECONDS, Changes
from node.errors import NodeError, Unavailable
from node.scheduler import Pauses
from node.stops import settle
from node.store import JobParty, StopReceipt

if TYPE_CHECKING:
    from node.site import Site

log = logging.getLogger(__name__)

OWED_SECONDS = 7 * 24 * 3600.0  # a party that is dead for longer is told no more


class Courier:
    """Signs our receipts and brings each to all other parties, to each in its own time."""

    def __init__(self, site: Site, clock: Callable[[], float] = time.monotonic) -> None:
        self.site = site
        self.pauses = Pauses(clock)
        self._under_way: dict[tuple[str, int, str], asyncio.Task[None]] = {}
        self._declined: set[tuple[str, int, str]] = set()  # who will never take it

    async def run(self, ending: threading.Event) -> None:
        """Until the process ends."""
        changes = Changes(self.site.store)
        try:
            while not ending.is_set():
                try:
                    if changes.is_due():
                        await self.step()
                except NodeError as problem:
                    log.warning("stops: %s", problem)
                except Exception:
                    log.exception("stops")  # a mistake of ours must not end all receipts
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            changes.close()
            for task in self._under_way.values():
                task.cancel()
            await asyncio.gather(*self._under_way.values(), return_exceptions=True)

    async def step(self) -> None:
        """Sign what is complete, and start bringing what is owed.  Waits for no partner."""
        if not self.site.is_registered:
            return
        await asyncio.to_thread(settle, self.site)
        for row, other in await asyncio.to_thread(self._owed):
            key = (row.job_id, row.attempt, other)
            if key in self._under_way or key in self._declined or not self.pauses.is_due(key):
                continue
            task = asyncio.create_task(self._bring(row, other))
            self._under_way[key] = task
            task.add_done_callback(lambda _, key=key: self._under_way.pop(key))  # type: ignore[misc]

    async def drain(self) -> None:
        """Wait for what is under way."""
        await asyncio.gather(*list(self._under_way.values()))

    async def _bring(self, row: StopReceipt, other: str) -> None:
        key = (row.job_id, row.attempt, other)
        assert row.receipt is not None
        try:
            await self.site.peers.put_stop(other, row.job_id, row.receipt)
        except Unavailable as problem:
            log.info("receipt of the stop of %s for %s: %s", row.job_id, other, problem)
            self.pauses.failed(key)
            return
        except NodeError as problem:
            log.warning(
                "site %s takes no receipt of the stop of %s: %s", other, row.job_id, problem
            )
            self._declined.add(key)
            return
        self.pauses.succeeded(key)
        await asyncio.to_thread(self._mark, row, other)

    def _owed(self) -> list[tuple[StopReceipt, str]]:
        """Our receipts, with each party that does not have it yet."""
        query = select(StopReceipt).where(
            StopReceipt.site == self.site.id,
            StopReceipt.receipt.is_not(None),
            StopReceipt.created_at > time.time() - OWED_SECONDS,
        )
        with self.site.store.read() as session:
            rows = list(session.scalars(query.order_by(StopReceipt.created_at)))
            return [
                (row, other)
                for row in rows
                for other in session.scalars(
                    select(JobParty.site).where(JobParty.job_id == row.job_id)
                )
                if other != self.site.id and other not in row.told
            ]

    def _mark(self, row: StopReceipt, other: str) -> None:
        with self.site.store.begin() as session:
            kept = session.get_one(StopReceipt, (row.job_id, row.site, row.attempt))
            if other not in kept.told:
                kept.told = [*kept.told, other]
