"""What waits for somebody at this site."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from pydantic import Field
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from node.api.views import audits
from node.api.views.audits import AuditWaiting
from node.api.views.model import Shown
from node.api.views.names import Named, Names
from node.store import (
    ApiKey,
    ChainEvent,
    ChainState,
    KeyRotation,
    LocalJob,
    Proposal,
    Vote,
    Waiting,
)

if TYPE_CHECKING:
    from node.site import Site

SOON_SECONDS = 14 * 24 * 3600.0  # keys that end within this time are named


class WhyNot(Shown):
    """`rule` is null where admission itself refuses the job now, for a problem's `code`; else
    `code` names the condition of the rule that does not hold, by `values`."""

    rule: str | None
    name: str | None
    why: str
    code: str | None = None
    values: dict[str, str | int] = Field(default_factory=dict)


class JobWaiting(Shown):
    """A proposal to approve or reject; without an answer it is rejected at `timeout_at`."""

    id: str
    proposer: Named
    kind: str
    algorithm: str
    purpose: str | None
    since: float
    reminded_at: float | None
    timeout_at: float
    why: list[WhyNot]


class ProposalWaiting(Shown):
    """A proposal to the members on which this site's account has not voted."""

    id: str
    kind: str | None
    title: str
    deadline: int | None
    blocks_left: int | None


class ReviewWaiting(Shown):
    """An emergency grant that the members have to review until `review_by` (block time)."""

    id: str
    owner: Named
    review_by: int


class KeyWaiting(Shown):
    """A credential that ends soon, or a key of this site that is being replaced."""

    what: str
    id: str
    name: str
    ends_at: float | None


class WaitingShown(Shown):
    """`count` is how many things wait for somebody."""

    count: int
    jobs: list[JobWaiting]
    proposals: list[ProposalWaiting]
    break_glass: list[ReviewWaiting]
    audits: list[AuditWaiting]
    keys: list[KeyWaiting]


def show(site: Site, names: Names) -> WaitingShown:
    """All of it, oldest first, from this site's rows: it is there while the chain is not."""
    with site.store.read() as session:
        rows = list(session.scalars(select(Waiting).order_by(Waiting.since)))
        jobs = [(row, session.get_one(LocalJob, row.job_id)) for row in rows]
        proposals = _proposals(session, site.identity.address)
        reviews = _reviews(session)
        keys = _keys(session)
    asked = audits.waiting(site, names)
    shown = [_job(row, job, names) for row, job in jobs]
    opened = [
        ReviewWaiting(id=id, owner=names.member(owner), review_by=by) for id, owner, by in reviews
    ]
    return WaitingShown(
        count=len(shown) + len(proposals) + len(opened) + len(asked) + len(keys),
        jobs=shown,
        proposals=proposals,
        break_glass=opened,
        audits=asked,
        keys=keys,
    )


def count(site: Site) -> int:
    """As `WaitingShown.count`, for the head of every page."""
    with site.store.read() as session:
        jobs = session.scalar(select(func.count()).select_from(Waiting)) or 0
        proposals = _proposals(session, site.identity.address)
        asked = audits.unanswered(session, site.settings.site_id)
        return jobs + len(proposals) + len(_reviews(session)) + len(asked) + len(_keys(session))


def _job(row: Waiting, job: LocalJob, names: Names) -> JobWaiting:
    specification: dict[str, Any] = job.specification or {}
    return JobWaiting(
        id=job.id,
        proposer=names.site(job.proposer),
        kind=job.kind,
        algorithm=job.algorithm,
        purpose=specification.get("purpose"),
        since=row.since,
        reminded_at=row.reminded_at,
        timeout_at=row.timeout_at,
        why=[WhyNot(**why) for why in row.why],
    )


def _proposals(session: Session, account: str) -> list[ProposalWaiting]:
    state = session.get(ChainState, 1)
    head = 0 if state is None else state.head_block
    query = select(Proposal).where(Proposal.state == "ACTIVE").order_by(Proposal.deadline)
    return [
        ProposalWaiting(
            id=row.id,
            kind=row.kind,
            title=row.title,
            deadline=row.deadline,
            blocks_left=None if row.deadline is None else max(0, row.deadline - head),
        )
        for row in session.scalars(query)
        if session.get(Vote, (row.id, account)) is None
    ]


def _reviews(session: Session) -> list[tuple[str, str, int]]:
    """(id, owner, until when) of emergency grants that are neither reviewed nor lapsed."""
    query = (
        select(ChainEvent)
        .where(ChainEvent.contract == "BreakGlass")
        .order_by(ChainEvent.block, ChainEvent.log_index)
    )
    found: dict[str, tuple[str, str, int]] = {}
    for event in session.scalars(query):
        id = event.args.get("id")
        if event.name == "BreakGlassOpened" and isinstance(id, str):
            found[id] = (id, str(event.args["owner"]), int(event.args["reviewBy"]))
        elif event.name in ("BreakGlassReviewed", "BreakGlassLapsed") and isinstance(id, str):
            found.pop(id, None)
    return list(found.values())


def _keys(session: Session) -> list[KeyWaiting]:
    now = time.time()
    ending = select(ApiKey).where(
        ApiKey.revoked_at.is_(None),
        ApiKey.expires_at > now,
        ApiKey.expires_at < now + SOON_SECONDS,
    )
    replaced = select(KeyRotation).where(KeyRotation.state.in_(("ADDING", "OVERLAP", "ENDING")))
    return [
        *(
            KeyWaiting(what="api-key", id=row.id, name=row.name, ends_at=row.expires_at)
            for row in session.scalars(ending.order_by(ApiKey.expires_at))
        ),
        *(
            KeyWaiting(what=f"key {row.state}", id=row.old_key_id, name=row.purpose, ends_at=None)
            for row in session.scalars(replaced.order_by(KeyRotation.id))
        ),
    ]
