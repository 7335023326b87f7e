"""The monitor looks at every log and at the chain, and raises alerts (`node.alerts`).

What the witness found it takes over; beyond that it holds every anchored head against the copy of
its log, counts how long a log is silent or without an anchor, reads what the chain tells of keys
and grants, and this site's own log as a whole.  Events of before its first pass are no news.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio.to_thread
from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from chain.canonical import MAX_INTEGER
from node import alerts
from node.errors import NodeError
from node.lifecycle import TASK_ENDS
from node.mirror import CopyDiffers, Mirror
from node.refusals import chain_errors
from node.store import (
    Anchor,
    ChainEvent,
    ChainState,
    ChainTx,
    Challenge,
    LocalDataset,
    LocalJob,
    LogConflict,
    MonitorState,
    Task,
    WitnessedHead,
)
from node.witness import FORK

if TYPE_CHECKING:
    from node.site import Site

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
ANCHOR_SLACK = 8  # entries: those that tell of anchors alone call for none
MOST_BEHIND = 100  # blocks between the newest and the last one read
ASK_SECONDS = 60.0  # the chain about the witnesses of a head that stays the newest
BATCH = 1000  # events in one pass

HEARD = ("HeadWentBack", "LogForked", "ProofInvalid")  # problems of a log that did answer
CHANGES = frozenset(
    {"SiteEndpointChanged", "SiteRolesChanged", "SiteRetirement", "SiteOperatorChanged"}
)


@dataclass(frozen=True)
class OnChain:
    """What the contract of anchors says of a log's newest head there."""

    state: str  # of `chain.anchors.HeadState`
    cosigners: int


View = Callable[["Site", str, int], OnChain | None]
"""(site, log, size of its newest anchored head) → what the contract says; None: nothing now."""


def of_contract(site: Site, log_id: str, size: int) -> OnChain | None:
    """Asks the chain; that it is silent is an alert of its own."""
    try:
        with chain_errors():
            anchors = site.network().anchors
            state = anchors.state_of(log_id, size)
            return OnChain(str(state), anchors.witness_of(log_id, size).count)
    except NodeError as problem:
        log.info("witnesses of %s: %s", log_id, problem)
        return None


class Monitor:
    """One pass after the other.  ``clock`` is in Unix seconds."""

    def __init__(
        self, site: Site, clock: Callable[[], float] = time.time, view: View = of_contract
    ) -> None:
        self.site, self.clock, self.view = site, clock, view
        self._started = clock()
        self._heard: dict[str, float] = {}
        self._since: dict[tuple[str, str], float] = {}  # what may become an alert, and since when
        self._read_to = 0  # id of the last event in the three below
        self._anchored: dict[str, dict[int, str]] = {}
        self._asked: dict[str, tuple[int, float]] = {}  # at which size, and when the chain was
        self._held: dict[str, int] = {}  # anchors of a log up to this size were held against it
        self._revoked: set[str] = set()
        self._retired: set[str] = set()  # nobody expects anything of their logs any more

    async def run(self, ending: threading.Event) -> None:
        """Until the process ends."""
        while not ending.is_set():
            for part in (self.step, self.check_own_log):
                await anyio.to_thread.run_sync(_attempt, part)
            await asyncio.sleep(LOOK_SECONDS)

    def step(self) -> None:
        """One pass over everything but the own log; what fails in it takes nothing else along.

        Each part has a transaction of its own: another site has a say in what some of them read.
        """
        if not self.site.is_registered:
            return
        _attempt(self._read_on)
        for part in (
            self._conflicts,
            self._heads,
            self._chain,
            self._events,
            self._grants_in_use,
            self._gaps,
            self._challenges,
            self._own_witnesses,
        ):
            _attempt(partial(self._alone, part))
        for log_id in sorted(self._anchored):
            if log_id != self.site.id:
                _attempt(partial(self._hold_anchors, log_id))
                _attempt(partial(self._on_chain, log_id))

    def _read_on(self) -> None:
        with self.site.store.read() as session:
            self._read_events(session)

    def _alone(self, part: Callable[[Session], None]) -> None:
        with self.site.store.begin() as session:
            part(session)

    def check_own_log(self) -> None:
        """Read this site's own log as a whole, now and then."""
        if not self.site.is_registered:
            return
        now = self.clock()
        with self.site.store.read() as session:
            state = session.get(MonitorState, 1)
        if state is None or now - (state.checked_at or 0) < self._settings.monitor_reread_seconds:
            return
        faults = self.site.log.verify()
        with self.site.store.begin() as session:
            session.get_one(MonitorState, 1).checked_at = now
            for fault in faults:
                evidence = {"index": fault.index, "what": fault.what}
                about = f"{fault.index} {fault.what}"
                self._see(session, "own.damaged", self.site.id, evidence, about)

    # ── Logs ─────────────────────────────────────────────────────────────────────────────────

    def _conflicts(self, session: Session) -> None:
        """What the witness keeps of logs that contradict themselves."""
        for row in session.scalars(select(LogConflict)):
            kind = "log.forked" if row.kind == FORK else "log.unproven"
            known = "0x" + hashlib.sha256(row.known.encode()).hexdigest()
            evidence = {"known": known, "shown": row.shown_digest, "found": row.found_at}
            self._see(session, kind, row.log_id, evidence, row.shown_digest)

    def _heads(self, session: Session) -> None:
        """Logs that show an older head, or none."""
        for row in session.scalars(select(WitnessedHead)):
            back = row.problem.startswith("HeadWentBack")
            evidence = {"size": row.size, "problem": row.problem}
            self._lasting(session, "log.went_back", row.log_id, evidence, holds=back)
            looked = row.looked_at or self._started
            if not row.problem or row.problem.startswith(HEARD):
                self._heard[row.log_id] = looked
            heard = self._heard.setdefault(row.log_id, min(looked, self._started))
            silent = self.clock() - heard
            told = {"seconds": round(silent), "size": row.size, "problem": row.problem}
            too_long = silent > self._settings.monitor_silent_seconds
            too_long = too_long and row.log_id not in self._retired
            self._lasting(session, "log.silent", row.log_id, told, holds=too_long)

    def _gaps(self, session: Session) -> None:
        """Entries without an anchor, and anchors without a head."""
        heads = {row.log_id: row.size for row in session.scalars(select(WitnessedHead))}
        heads[self.site.id] = self.site.log.size
        for log_id, size in heads.items():
            newest = max(self._anchored.get(log_id, {}), default=0)
            told = {"size": size, "anchored": newest, "missing": size - newest}
            behind = size - newest > ANCHOR_SLACK and log_id not in self._retired
            self._after_a_while(session, "anchor.behind", log_id, told, holds=behind)
            # A log that nobody could look at is silent; what it anchored is missing nowhere yet.
            ahead = newest > size and log_id in self._heard
            self._after_a_while(session, "anchor.missing", log_id, told, holds=ahead)

    def _challenges(self, session: Session) -> None:
        """Sites that have to prove a head that they signed, or are marked."""
        query = select(Challenge).where(Challenge.state == "OPEN").order_by(Challenge.until)
        found: dict[str, Challenge] = {}
        for row in session.scalars(query):
            found.setdefault(row.site, row)
            told = {"challenge": row.id, "size": row.size, "until": row.until}
            self._see(session, "site.challenged", row.site, {**told, "problem": row.problem})
        for subject in alerts.subjects(session, "site.challenged"):
            if subject not in found:
                alerts.end(session, "site.challenged", subject, now=self.clock())

    def _own_witnesses(self, session: Session) -> None:
        """The newest anchored head of this site's own log that was judged."""
        judged = select(Anchor).where(Anchor.state != "PENDING").order_by(Anchor.size.desc())
        newest = session.scalar(judged.limit(1))
        if newest is not None:
            told = {"size": newest.size, "cosigners": len(newest.witnesses)}
            few = newest.state == "UNWITNESSED"
            self._lasting(session, "anchor.unwitnessed", self.site.id, told, holds=few)

    def _hold_anchors(self, log_id: str) -> None:
        """Every anchored head is one that the log's tiles make."""
        mirror = Mirror(self.site, log_id, self.clock)
        held = self._held.get(log_id, 0)
        waiting = sorted(size for size in self._anchored[log_id] if size > held)
        if not waiting:
            return
        try:
            if waiting[0] > mirror.head().size:
                return
            tree = mirror.tree()
            roots = {size: "0x" + tree.root_at(size).hex() for size in waiting if size <= tree.size}
        except CopyDiffers as found:
            mirror.keep_conflict(found)
            return
        for size, root in roots.items():
            anchored = self._anchored[log_id][size]
            if root != anchored:
                evidence = {"size": size, "anchored": anchored, "copied": root}
                mirror.alert("anchor.differs", evidence, about=f"{size} {anchored}")
            self._held[log_id] = size

    def _on_chain(self, log_id: str) -> None:
        """Whether enough members cosigned the newest anchored head of another log."""
        size, now = max(self._anchored[log_id]), self.clock()
        asked, at = self._asked.get(log_id, (0, 0.0))
        if asked == size and now - at < ASK_SECONDS:
            return
        found = self.view(self.site, log_id, size)
        if found is None:
            return
        self._asked[log_id] = size, now
        told = {"size": size, "cosigners": found.cosigners}
        with self.site.store.begin() as session:
            few = found.state == "UNWITNESSED"
            if few or found.state == "WITNESSED":  # of a pending one nothing is known yet
                self._lasting(session, "anchor.unwitnessed", log_id, told, holds=few)

    # ── The chain ────────────────────────────────────────────────────────────────────────────

    def _chain(self, session: Session) -> None:
        """Whether this node sees the chain as it is."""
        state = session.get(ChainState, 1)
        if state is None or not state.seen_at:
            return
        silent = self.clock() - state.seen_at
        blocks = state.head_block - state.cursor_block if state.cursor_block >= 0 else 0
        behind = blocks > MOST_BEHIND + self._settings.confirmations
        stale = silent > self._settings.staleness_seconds
        told = {"seconds": round(silent), "blocks": blocks, "problem": state.problem}
        holds = stale or behind or bool(state.problem)
        self._lasting(session, "chain.behind", self.site.id, told, holds=holds)
        if session.get(MonitorState, 1) is None and state.head_block > 0:
            session.add(MonitorState(id=1, first_block=state.head_block))
            session.flush()

    def _events(self, session: Session) -> None:
        """What the chain tells of keys, sites and grants since the last pass."""
        state = session.get(MonitorState, 1)
        if state is None:
            return
        query = select(ChainEvent).where(ChainEvent.id > state.event).order_by(ChainEvent.id)
        for event in session.scalars(query.limit(BATCH)).all():
            state.event = event.id
            if event.block <= state.first_block:
                continue
            about = f"{event.tx_hash} {event.log_index}"
            for kind, subject, evidence in self._news(session, event):
                told = {"block": event.block, "tx": event.tx_hash, **evidence}
                self._see(session, kind, subject, told, about)

    def _news(
        self, session: Session, event: ChainEvent
    ) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """(kind, subject, evidence) of the alerts that an event calls for."""
        args, own = event.args, self._is_own(session, event)
        if event.contract == "SiteRegistry":
            mine = args.get("id") == self.site.id
            told = {"event": event.name}
            if event.name in ("SiteKeyAdded", "SiteKeyEnded"):
                told |= {"key": args["key"], "purpose": args["purpose"]}
                if mine and not own:
                    yield "key.unexpected", self.site.id, told
                elif not mine and args["purpose"] != "request" and not _is_new(session, event):
                    yield "key.changed", args["id"], told
            elif event.name in CHANGES and mine and not own:
                yield "site.unexpected", self.site.id, told
            elif event.name == "SiteOperatorChanged" and not mine:
                yield "operator.changed", args["id"], told
        elif event.name == "ConsentGranted" and args["datasetId"] in self._datasets(session):
            told = {"dataset": args["datasetId"], "grantee": args["grantee"]}
            yield "grant.given" if own else "grant.unexpected", args["id"], told
        elif event.name == "SiteMarked":
            yield "site.marked", args["site"], {"key": args["key"], "size": args["size"]}
        elif event.name == "AuditRequested" and args["site"] == self.site.id:
            yield "audit.requested", self.site.id, {"request": args["id"], "until": args["until"]}

    def _is_own(self, session: Session, event: ChainEvent) -> bool:
        """Whether this node sent what the event follows from, or it is its site's beginning."""
        sent = select(ChainTx.id).where(ChainTx.tx_hash == event.tx_hash)
        return session.scalar(sent.limit(1)) is not None or _is_new(session, event)

    def _datasets(self, session: Session) -> set[str]:
        """This site's: registered from here, or by its account from elsewhere."""
        of_chain = select(ChainEvent.args).where(
            ChainEvent.contract == "DatasetRegistry", ChainEvent.name == "DatasetRegistered"
        )
        found = {args["id"] for args in session.scalars(of_chain) if args["site"] == self.site.id}
        return found | set(session.scalars(select(LocalDataset.id)))

    def _read_events(self, session: Session) -> None:
        """Anchors, revocations and retirements, kept in memory: the events are the truth."""
        kinds = (
            ("AuditAnchor", "Anchored"),
            ("ConsentRegistry", "ConsentRevocation"),
            ("SiteRegistry", "SiteRetirement"),
        )
        of_kind = tuple_(ChainEvent.contract, ChainEvent.name).in_(kinds)
        query = (
            select(ChainEvent)
            .where(ChainEvent.id > self._read_to, of_kind)
            .order_by(ChainEvent.id)
            .execution_options(yield_per=BATCH)
        )
        for event in session.scalars(query):
            self._read_to = event.id
            if event.name == "Anchored":
                size = int(event.args["size"])
                if size <= MAX_INTEGER:  # older contracts take larger ones, which no log has
                    heads = self._anchored.setdefault(event.args["site"], {})
                    heads[size] = event.args["root"]
            elif event.name == "SiteRetirement":
                self._retired.add(event.args["id"])
            else:
                self._revoked.add(event.args["id"])
        own = select(Anchor.size, Anchor.root)
        for size, root in session.execute(own):
            self._anchored.setdefault(self.site.id, {})[size] = root

    def _grants_in_use(self, session: Session) -> None:
        """Jobs that run here on a grant that was revoked."""
        query = (
            select(LocalJob)
            .join(Task, Task.job_id == LocalJob.id)
            .where(Task.state.not_in(TASK_ENDS))
            .distinct()
        )
        at_work = {job.id: _grants(job) & self._revoked for job in session.scalars(query)}
        for job_id, grants in at_work.items():
            if grants:
                told = {"grant": min(grants), "grants": len(grants)}
                self._see(session, "grant.revoked_in_use", job_id, told)
        kind = "grant.revoked_in_use"
        for subject in alerts.subjects(session, kind):
            if not at_work.get(subject):
                alerts.end(session, kind, subject, now=self.clock())

    # ── How ──────────────────────────────────────────────────────────────────────────────────

    @property
    def _settings(self) -> Any:
        return self.site.settings

    def _see(
        self, session: Session, kind: str, subject: str, evidence: dict[str, Any], about: str = ""
    ) -> None:
        alerts.see(session, kind, subject, evidence, about=about, now=self.clock())

    def _lasting(
        self, session: Session, kind: str, subject: str, evidence: dict[str, Any], *, holds: bool
    ) -> None:
        if holds:
            self._see(session, kind, subject, evidence)
        else:
            alerts.end(session, kind, subject, now=self.clock())

    def _after_a_while(
        self, session: Session, kind: str, subject: str, evidence: dict[str, Any], *, holds: bool
    ) -> None:
        """As `_lasting`, once it held for ``monitor_anchor_seconds``."""
        if not holds:
            self._since.pop((kind, subject), None)
        since = self._since.setdefault((kind, subject), self.clock()) if holds else self.clock()
        waited = self.clock() - since
        told = {**evidence, "seconds": round(waited)}
        long = holds and waited > self._settings.monitor_anchor_seconds
        self._lasting(session, kind, subject, told, holds=long)


def _attempt(part: Callable[[], None]) -> None:
    """One part; that it failed is told in this process's log, and the next pass tries it again."""
    try:
        part()
    except NodeError as problem:
        log.warning("monitor: %s", problem)
    except Exception:
        log.exception("monitor")  # a mistake of ours must not end all watching


def _is_new(session: Session, event: ChainEvent) -> bool:
    """Whether the event comes with the registration of its site."""
    registered = select(ChainEvent.args).where(
        ChainEvent.tx_hash == event.tx_hash, ChainEvent.name == "SiteRegistered"
    )
    return any(args["id"] == event.args.get("id") for args in session.scalars(registered))


def _grants(job: LocalJob) -> set[str]:
    """The grants that a job's specification uses."""
    parties = (job.specification or {}).get("parties", [])
    inputs = [entry for party in parties for entry in party.get("inputs", [])]
    return {entry["grant"] for entry in inputs if entry.get("grant")}
