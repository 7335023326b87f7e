"""What audits need that nobody has to be asked for: one pass of `Auditing` after the other.

    bring     a question that this site asked goes to the asked site, once the chain has its request
    fetch     an answer that stands on the chain is fetched, held against the question, and kept
    silence   a request that was not answered by its deadline is entered and alerted, at both sites

A site that is away, or serves another file, is asked again, and keeps no other one waiting.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from chain.audit_requests import RequestState
from node import alerts
from node.audit.entries import record
from node.audit_requests import enter_missing, keep
from node.errors import NodeError
from node.left_out import with_copy
from node.refusals import chain_errors
from node.scheduler import Pauses
from node.store import AuditQuestion, AuditRequest, ChainState

if TYPE_CHECKING:
    from node.site import Site

log = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
WITHHELD_SECONDS = 600.0  # that an answer may be on the chain before its missing file is an alert
LONGEST_PAUSE_SECONDS = 3600.0  # each fetch is an entry in the other site's log
AT_ONCE = 20  # requests that are looked at in one pass


class Auditing:
    """Brings, fetches and counts the time.  ``clock`` is in Unix seconds."""

    def __init__(self, site: Site, clock: Callable[[], float] = time.time) -> None:
        self.site, self.clock = site, clock
        self.pauses = Pauses(clock, LONGEST_PAUSE_SECONDS)
        self._under_way: dict[str, asyncio.Task[None]] = {}

    async def run(self, ending: threading.Event) -> None:
        """Until the process ends."""
        try:
            while not ending.is_set():
                try:
                    await self.step()
                except NodeError as problem:
                    log.warning("audits: %s", problem)
                except Exception:
                    log.exception("audits")  # a mistake of ours must not end all watching
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            for task in self._under_way.values():
                task.cancel()
            await asyncio.gather(*self._under_way.values(), return_exceptions=True)

    async def step(self) -> None:
        """One pass.  Waits for no other site."""
        if not self.site.is_registered:
            return
        for row in await asyncio.to_thread(self._unbrought):
            self._start(row, self._bring(row))
        for row, request in await asyncio.to_thread(self._unchecked):
            self._start(row, self._fetch(row, request))
        await asyncio.to_thread(self._silence)

    async def drain(self) -> None:
        """Wait for what is under way."""
        await asyncio.gather(*list(self._under_way.values()))

    # ── At the site that asks ────────────────────────────────────────────────────────────────

    def _unbrought(self) -> list[AuditQuestion]:
        """Questions of requests that the chain has and nobody answered."""
        query = (
            select(AuditQuestion)
            .join(AuditRequest, AuditRequest.id == AuditQuestion.id)
            .where(
                AuditQuestion.asker == self.site.id,
                AuditQuestion.brought_at.is_(None),
                AuditRequest.pack.is_(None),
            )
            .order_by(AuditQuestion.created_at)
        )
        with self.site.store.read() as session:
            return [row for row in session.scalars(query) if self._is_due(row.id)][:AT_ONCE]

    def _unchecked(self) -> list[tuple[AuditQuestion, AuditRequest]]:
        """Questions that are answered on the chain, and no file here settles how."""
        query = (
            select(AuditQuestion, AuditRequest)
            .join(AuditRequest, AuditRequest.id == AuditQuestion.id)
            .where(AuditQuestion.asker == self.site.id, AuditRequest.pack.is_not(None))
            .order_by(AuditQuestion.created_at)
        )
        with self.site.store.read() as session:
            rows = [(row, request) for row, request in session.execute(query)]
        due = [
            (row, request)
            for row, request in rows
            if not (row.report or {}).get("final") and self._is_due(row.id)
        ]
        return due[:AT_ONCE]

    def _is_due(self, id: str) -> bool:
        return id not in self._under_way and self.pauses.is_due(id)

    def _start(self, row: AuditQuestion, work: Awaitable[None]) -> None:
        async def attempt() -> None:
            try:
                await work
            except NodeError as problem:
                log.info("audit %s: %s", row.id, problem)
                self.pauses.failed(row.id)
                await asyncio.to_thread(self._note, row.id, str(problem))
            except Exception:
                log.exception("audit %s", row.id)  # a mistake of ours must not end the others
                self.pauses.failed(row.id)

        task = asyncio.create_task(attempt())
        self._under_way[row.id] = task
        task.add_done_callback(lambda _: self._under_way.pop(row.id))

    async def _bring(self, row: AuditQuestion) -> None:
        asked = await asyncio.to_thread(self._asked_site, row.id)
        await self.site.peers.put_question(asked, row.id, row.content.encode())
        self.pauses.succeeded(row.id)
        await asyncio.to_thread(self._brought, row.id)

    async def _fetch(self, row: AuditQuestion, request: AuditRequest) -> None:
        await asyncio.to_thread(self._owed, row.id, request)
        content = await self.site.peers.audit_pack(request.site, row.id)
        if await asyncio.to_thread(self._check, row, content):
            self.pauses.succeeded(row.id)
        else:
            self.pauses.failed(row.id)

    def _check(self, row: AuditQuestion, content: bytes) -> bool:
        """Hold what was fetched against everything; whether that settles it."""
        from chain.audit_questions import verify_answer

        with chain_errors():
            network = self.site.network()
            on_chain = network.auditrequests.request(row.id)
            # So that a chain that falls silent now is no failure of the answer.
            network.client.head()
        report = verify_answer(content, row.content.encode(), on_chain, network)
        report = with_copy(self.site, content, report)
        return keep(self.site, row.id, report, content)

    def _asked_site(self, id: str) -> str:
        with self.site.store.read() as session:
            return session.get_one(AuditRequest, id).site

    def _brought(self, id: str) -> None:
        with self.site.store.begin() as session:
            row = session.get_one(AuditQuestion, id)
            row.brought_at, row.problem = self.clock(), ""

    def _owed(self, id: str, request: AuditRequest) -> None:
        """Count since when an answer stands on the chain without its file."""
        with self.site.store.begin() as session:
            row = session.get_one(AuditQuestion, id)
            row.owed_since = row.owed_since or self.clock()
            waited = self.clock() - row.owed_since
            if waited > WITHHELD_SECONDS:
                told = {"site": request.site, "pack": request.pack, "seconds": round(waited)}
                alerts.see(session, "audit.withheld", id, told, now=self.clock())

    def _note(self, id: str, problem: str) -> None:
        with self.site.store.begin() as session:
            session.get_one(AuditQuestion, id).problem = problem[:500]

    # ── At both ──────────────────────────────────────────────────────────────────────────────

    def _silence(self) -> None:
        """Enter and alert once what was not answered in time; an answer, however late, ends it."""
        with self.site.store.read() as session:
            state = session.get(ChainState, 1)
            rows = self._overdue(session, 0 if state is None else state.head_time)
            told = alerts.subjects(session, "audit.silent")
            over = [id for id in told if session.get_one(AuditRequest, id).pack is not None]
        for row in rows:
            # The head may be ahead of what was read: an answer may be on its way to us.
            with chain_errors():
                if self.site.network().auditrequests.state(row.id) is RequestState.SILENT:
                    self._tell_silence(row)
        if over:
            with self.site.store.begin() as session:
                for id in over:
                    alerts.end(session, "audit.silent", id, now=self.clock())

    def _overdue(self, session: Session, block_time: int) -> list[AuditRequest]:
        own = select(AuditQuestion.id).where(AuditQuestion.asker == self.site.id)
        query = select(AuditRequest).where(
            AuditRequest.pack.is_(None),
            AuditRequest.until <= block_time,
            AuditRequest.is_silence_told.is_(False),
            (AuditRequest.site == self.site.id) | AuditRequest.id.in_(own),
        )
        return list(session.scalars(query.limit(AT_ONCE)))

    def _tell_silence(self, row: AuditRequest) -> None:
        enter_missing(self.site, row)
        with self.site.store.begin() as session:
            kept = session.get_one(AuditRequest, row.id)
            if kept.is_silence_told:
                return
            kept.is_silence_told = True
            told = {"site": row.site, "until": row.until}
            record(session, "audit.silence", row.id, told, "sync")
            alerts.see(session, "audit.silent", row.id, told, now=self.clock())
