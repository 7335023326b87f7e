"""The life of a job as all its parties' logs and the chain tell it, in one order of time.

A moment is an entry of one party's log, a message with what both of its ends entered, or an event
of the contracts that names the job.  This site's entries come from its own log; those of a partner
from the signed evidence that it showed, and until it did (`JobLife.silent`) its lane has only
messages and what the chain tells.  Times are each teller's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import select

from chain.entries import open_entry
from node.api.pages import Page, from_cursor, to_cursor
from node.api.views import jobs
from node.api.views.events import EventShown, naming
from node.api.views.messages import MessageShown
from node.api.views.model import Shown
from node.api.views.names import Named, Names
from node.audit.entries import type_of
from node.audit.log import LogEntry
from node.errors import Failed, NodeError
from node.index.indexing import behind
from node.store import JobParty, PeerEvidence

if TYPE_CHECKING:
    from node.site import Site

KINDS = (
    "job.proposed",
    "specification.received",
    "specification.refused",
    "job.waiting",
    "job.reminded",
    "job.approved",
    "job.rejected",
    "admission.decided",
    "request.refused",
    "job.started",
    "task.started",
    "task.restarted",
    "task.finished",
    "task.failed",
    "task.stopped",
    "message.refused",
    "job.stopped",
    "stop.received",
    "result.attested",
    "model.registered",
    "prediction.made",
    "job.ended",
    "reconciliation.made",
    "job.certified",
)
"""Entries that tell of the job's life; messages come by themselves, and who read what is no part
of it."""

MOST_EVENTS = 500
LONGEST = 80  # characters of a detail
DETAILS = ("step", "state", "moment", "asked", "code", "reason", "messageKind")
"""Fields that say more of an entry, as far as it has them and shows them."""

_KIND_OF: Mapping[str, str] = {type_of(kind): kind for kind in KINDS}


class Moment(Shown):
    """One of: an entry (`kind` is its kind, `site` whose log it is in, `entry` its place there), a
    `message`, an `event`.  `at` is in Unix seconds, null where a block's time is not known now.

    `details` are words and codes that say more; `good` is false where the entry tells of a refusal,
    a failure or a difference.
    """

    what: Literal["entry", "message", "event"]
    at: float | None
    kind: str
    site: Named | None
    entry: int | None
    details: list[str]
    good: bool | None
    message: MessageShown | None
    event: EventShown | None


class Lane(Shown):
    """A party; `silent`: it has not shown what its log tells of the job."""

    site: Named
    role: str
    mine: bool
    silent: bool


class JobLife(Shown):
    """`behind`: so many events and entries are not read into the index of this node yet."""

    lanes: list[Lane]
    moments: Page[Moment]
    count: int
    behind: int


def show(
    site: Site,
    names: Names,
    id: str,
    said: Sequence[MessageShown],
    *,
    limit: int,
    cursor: str | None = None,
) -> JobLife:
    """From the first moment on; ``said`` are all messages of the job.  Raises `NotFound`."""
    position = from_cursor(cursor, int)
    start = max(0, int(position[0])) if position else 0
    with site.store.read() as session:
        jobs.find(session, id)
        rows = select(JobParty).where(JobParty.job_id == id).order_by(JobParty.position)
        parties = [(row.site, row.role) for row in session.scalars(rows)]
        shown = {
            row.site: row.evidence
            for row in session.scalars(select(PeerEvidence).where(PeerEvidence.job_id == id))
        }
        events = naming(session, id, limit=MOST_EVENTS)
        lacking = behind(session)
        own = names.site(site.settings.site_id or "")
    found = [_of_message(one) for one in said]
    found += _own(site, own, id)
    for partner, evidence in shown.items():
        if partner != own.id:
            found += _partner(names.site(partner), evidence)
    found += _events(site, events)
    found.sort(key=lambda moment: float("inf") if moment.at is None else moment.at)
    end = start + limit
    return JobLife(
        lanes=[
            Lane(
                site=names.site(party),
                role=role,
                mine=party == own.id,
                silent=party != own.id and party not in shown,
            )
            for party, role in parties
        ],
        moments=Page(items=found[start:end], next=to_cursor(end) if end < len(found) else None),
        count=len(found),
        behind=lacking,
    )


def _own(site: Site, own: Named, id: str) -> Iterator[Moment]:
    for entry in site.log.of_subject(id, _KIND_OF):
        yield _entry(own, entry.type, entry.time, entry.index, _opened(entry))


def _partner(partner: Named, evidence: Mapping[str, Any]) -> Iterator[Moment]:
    """Its entries; they verified against their commitments when they came."""
    for part in evidence["entries"]:
        leaf = part["entry"]
        if leaf.get("type") in _KIND_OF:
            place = part.get("index")
            index = place if isinstance(place, int) else None
            yield _entry(partner, leaf["type"], str(leaf.get("time")), index, open_entry(part))


def _opened(entry: LogEntry) -> Mapping[str, Any]:
    try:
        return entry.data or {}
    except Failed:
        return {"code": "PayloadDiffers"}  # the log's page shows it as altered


def _entry(site: Named, type: str, time: str, index: int | None, data: Mapping[str, Any]) -> Moment:
    kind = _KIND_OF[type]
    told = [str(data[name])[:LONGEST] for name in DETAILS if data.get(name)]
    return Moment(
        what="entry",
        at=_seconds(time),
        kind=kind,
        site=site,
        entry=index,
        details=told,
        good=_is_good(kind, data),
        message=None,
        event=None,
    )


def _is_good(kind: str, data: Mapping[str, Any]) -> bool | None:
    """Whether it went as it should; null for what is neither."""
    if kind.endswith((".refused", ".failed", ".rejected", ".stopped")):
        return False
    for name in ("allowed", "agrees"):
        if name in data:
            return bool(data[name])
    if kind == "job.ended" and "state" in data:
        return bool(data["state"] == "SUCCEEDED")
    settled = ("job.approved", "task.finished", "result.attested", "job.certified")
    return True if kind in settled else None


def _of_message(message: MessageShown) -> Moment:
    return Moment(
        what="message",
        at=message.at,
        kind=message.kind,
        site=message.sender,
        entry=None,
        details=[message.step],
        good=message.agree,
        message=message,
        event=None,
    )


def _events(site: Site, events: list[EventShown]) -> Iterator[Moment]:
    """In the chain's order, each with the time of its block."""
    from chain.errors import ChainError

    times: dict[int, float | None] = {}
    head = None
    for event in reversed(events):
        if event.block not in times:
            try:
                head = head or site.network().client.head()
                times[event.block] = float(site.block_times.at(event.block, head))
            except (ChainError, NodeError):
                times[event.block] = None
        yield Moment(
            what="event",
            at=times[event.block],
            kind=event.name,
            site=None,
            entry=None,
            details=[],
            good=None,
            message=None,
            event=event,
        )


def _seconds(time: str) -> float | None:
    try:
        return datetime.fromisoformat(time).timestamp()
    except (ValueError, OverflowError):
        return None  # a partner's entry may say anything
