"""The copies of all other sites' logs, kept up to date one beside the other.

A log is visited every ``mirror_every_seconds``: what is new is copied, some of what is kept is read
again, all of it within a day.  A site is waited for so long at one visit; its copy goes on at the
next one where it stood.  Sites that are slow or lie hold up nothing but their own copy.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import anyio
import anyio.from_thread
import anyio.to_thread

from node import alerts
from node.audit.reading import MAX_BUNDLE_BYTES, TILE_BYTES, Fetch, TilesDiffer, tile_path
from node.errors import NodeError, Unavailable
from node.mirror import CopyDiffers, Mirror, TileMissing

if TYPE_CHECKING:
    from node.site import Site

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
AT_ONCE = 4
TILE_SECONDS = 10.0  # for one tile of hashes: a server that answers byte by byte is left
BUNDLE_SECONDS = 30.0  # for one of entries, which may have 16 MiB
COPY_SECONDS = 60.0  # are waited for what is new: for the edge, and for some more
REREAD_SECONDS = 40.0  # and for what is kept
HEAD_SECONDS = 20.0
REREAD = 8  # full tiles at every visit, or more:
REREAD_WITHIN = 24 * 3600.0  # everything that is kept


class VisitOver(Unavailable):
    """The site was waited for long enough; the next visit goes on."""

    def __init__(self, log_id: str, allowed: float) -> None:
        super().__init__(
            "PartnerUnreachable",
            f"site {log_id} was waited for {allowed:g} s; the next visit goes on",
            found=log_id,
            allowed=allowed,
        )


class Mirroring:
    """Visits all other logs.  ``clock`` is in Unix seconds; ``timer`` says how long is waited."""

    def __init__(
        self,
        site: Site,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self.site, self.clock, self.timer = site, clock, timer
        self._went_at = float("-inf")
        self._mirrors: dict[str, Mirror] = {}
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._places = asyncio.Semaphore(AT_ONCE)
        self._ending = threading.Event()
        self._asking: set[anyio.CancelScope] = set()

    async def run(self, ending: threading.Event) -> None:
        """Until the process ends."""
        self._ending = ending
        try:
            while not ending.is_set():
                try:
                    await self.step()
                except NodeError as problem:
                    log.warning("mirror: %s", problem)
                except Exception:
                    log.exception("mirror")  # a mistake of ours must not end all copying
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            for question in self._asking:
                question.cancel()  # a copy is read in a thread, which ends with its next question
            await self.drain()

    async def step(self) -> None:
        """Visit every log once more when it is time.  Waits for none of them."""
        settings = self.site.settings
        due = self.clock() - self._went_at >= settings.mirror_every_seconds
        if not (settings.mirror and self.site.is_registered and due):
            return
        self._went_at = self.clock()
        for log_id in await asyncio.to_thread(self.site.directory.sites):
            if log_id == self.site.id or log_id in self._under_way:
                continue
            task = asyncio.create_task(self._visit(log_id))
            self._under_way[log_id] = task
            task.add_done_callback(lambda _, log_id=log_id: self._under_way.pop(log_id))  # type: ignore[misc]

    async def drain(self) -> None:
        """Wait for what is under way."""
        await asyncio.gather(*list(self._under_way.values()), return_exceptions=True)

    async def _visit(self, log_id: str) -> None:
        mirror = self._mirrors.setdefault(log_id, Mirror(self.site, log_id, self.clock))
        async with self._places:
            problem = ""
            try:
                await anyio.to_thread.run_sync(self._copy, mirror)
                await self._cosignatures(mirror)
            except NodeError as error:
                problem = str(error)
                log.info("copy of %s: %s", log_id, error)
            except Exception as error:
                problem = type(error).__name__  # told as well: nobody reads a task's failure
                log.exception("copy of %s", log_id)
            await anyio.to_thread.run_sync(self._settle, mirror, problem)

    def _copy(self, mirror: Mirror) -> None:
        """Raises what hindered it; what does not go together is kept, and alerted, before."""
        due = max(REREAD, mirror.due_again(REREAD_WITHIN))
        hindered: Unavailable | TileMissing | None = None
        try:
            try:
                mirror.copy(self._fetcher(mirror.log_id, COPY_SECONDS))
            except (Unavailable, TileMissing) as problem:
                hindered = problem
            # Who sends what is new slowly, or not at all, is asked for what is kept all the same.
            mirror.reread(self._fetcher(mirror.log_id, REREAD_SECONDS), due)
            if hindered is not None:
                raise hindered
        except (TilesDiffer, CopyDiffers) as found:
            mirror.keep_conflict(found)
            raise
        except TileMissing as found:
            mirror.alert("log.tile_missing", {"place": found.found}, about=str(found.found))
            raise

    async def _cosignatures(self, mirror: Mirror) -> None:
        if mirror.note() is not None:
            with anyio.move_on_after(HEAD_SECONDS) as question:
                shown = await self.site.peers.head(mirror.log_id)
            if question.cancelled_caught:
                raise VisitOver(mirror.log_id, HEAD_SECONDS)
            await anyio.to_thread.run_sync(mirror.add_cosignatures, shown)

    def _settle(self, mirror: Mirror, problem: str) -> None:
        now = self.clock()
        values = {"looked_at": now, "problem": problem[:500], "bytes": mirror.bytes}
        mirror.state(**values, **({} if problem else {"copied_at": now}))
        full = problem.startswith("MirrorFull")
        with self.site.store.begin() as session:
            if full:
                evidence = {"bytes": mirror.bytes, "problem": problem}
                alerts.see(session, "mirror.full", mirror.log_id, evidence, now=now)
            else:
                alerts.end(session, "mirror.full", mirror.log_id, now=now)

    def _fetcher(self, log_id: str, seconds: float) -> Fetch:
        """Brings tiles of a log, waiting for ``seconds`` in all; to be called in a thread of this
        loop.  Only waiting counts: what our own disk takes must not keep a copy from growing."""
        waited = 0.0

        async def bring(path: str, limit: int, within: float) -> bytes:
            with anyio.move_on_after(within) as question:
                self._asking.add(question)
                try:
                    return await self.site.peers.tile(log_id, path, limit)
                finally:
                    self._asking.discard(question)
            raise Unavailable(
                "PartnerUnreachable",
                f"site {log_id} did not send {path} within {within:g} s",
                found=log_id,
                allowed=within,
            )

        def fetch(level: int | None, number: int, width: int) -> bytes:
            nonlocal waited
            if self._ending.is_set():
                raise Unavailable("Unavailable", "this node ends")
            if waited >= seconds:
                raise VisitOver(log_id, seconds)
            bounds = (TILE_BYTES, TILE_SECONDS)
            if level is None:
                bounds = (MAX_BUNDLE_BYTES, BUNDLE_SECONDS)
            asked = self.timer()
            try:
                return anyio.from_thread.run(bring, tile_path(level, number, width), *bounds)
            finally:
                waited += self.timer() - asked

        return fetch
