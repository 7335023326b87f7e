"""Jobs as this site knows them, and what the chain says of each now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from node.api.pages import Page, from_cursor, to_cursor
from node.api.views import grants, transactions
from node.api.views.grants import GrantShown
from node.api.views.model import Shown
from node.api.views.names import Named, Names
from node.api.views.reconciliation import ReconciliationShown, shown
from node.api.views.transactions import Transaction
from node.errors import NodeError, NotFound
from node.reconciliation import refusal_of
from node.store import (
    Anchor,
    Approval,
    AuditEntry,
    InMessage,
    JobParty,
    LocalJob,
    Metric,
    OutMessage,
    StopReceipt,
    Task,
)

if TYPE_CHECKING:
    from node.site import Site


class PartyShown(Shown):
    """`approved_block` and `attested` are null as long as the party has not spoken."""

    site: Named
    role: str
    position: int
    approved_block: int | None
    attested: str | None
    attested_block: int | None
    mine: bool


class JobSummary(Shown):
    """`reason` says why it ended badly; times are UTC seconds of this site."""

    id: str
    state: str
    kind: str
    algorithm: str
    proposer: Named
    mine: bool
    attempt: int
    reason: str | None
    model_id: str | None
    has_certificate: bool
    created_at: float
    started_at: float | None
    ended_at: float | None
    parties: list[PartyShown]


class ChainJob(Shown):
    """What the chain says; blocks are 0 where it did not happen."""

    state: str
    specification: str
    algorithm: str
    purpose: str
    deadline: int
    proposed_at: int
    approved_at: int
    started_at: int
    ended_at: int
    reason: str | None
    ended_by: Named | None


class UseShown(Shown):
    """Data that a party brings; `grant` is null where it is the proposer's own."""

    site: Named
    dataset: Named
    version: int
    grant_id: str | None
    grant: GrantShown | None


class TaskShown(Shown):
    """This site's part of a step; `done` of `total` is its progress."""

    id: str
    step: str
    attempt: int
    state: str
    done: int
    total: int
    text: str
    output_digest: str | None
    error: dict[str, Any] | None
    created_at: float
    started_at: float | None
    ended_at: float | None


class Curve(Shown):
    """A metric over the course of a step, as (x, y)."""

    step: str
    name: str
    points: list[tuple[int, float]]


class ApprovalShown(Shown):
    """This site's own word: `how` is proposal, person or rule."""

    how: str
    by: str
    rule_id: str | None
    at: float


class StopShown(Shown):
    """A party's word that it stopped; null times: it has noticed and is ending its processes.

    `seconds` are from the time of the block that said so to the end of the last process; block time
    has whole seconds. `told` are the parties that have our own receipt.
    """

    site: Named
    mine: bool
    attempt: int
    reason: str
    detail: str
    block: int
    block_time: int | None
    noticed_at: float
    ended_at: float | None
    seconds: float | None
    receipt: dict[str, Any] | None
    told: list[Named]


class AnchorShown(Shown):
    """A head of this site's log on the chain; `cosigned` members of `needed` stand behind it.

    `state` is PENDING, WITNESSED or UNWITNESSED (`GET /v1/witness` names the members).
    """

    size: int
    root: str
    block: int
    tx_hash: str
    anchored_at: float
    state: str
    cosigned: int
    needed: int


def anchor_shown(row: Anchor) -> AnchorShown:
    return AnchorShown(
        size=row.size,
        root=row.root,
        block=row.block,
        tx_hash=row.tx_hash,
        anchored_at=row.anchored_at,
        state=row.state,
        cosigned=len(row.witnesses),
        needed=row.needed,
    )


class JobShown(JobSummary):
    """All of a job; `chain` is null, and `chain_problem` says why, where the chain did not tell."""

    specification: dict[str, Any] | None
    specification_digest: str
    chain: ChainJob | None
    chain_problem: str | None
    uses: list[UseShown]
    approval: ApprovalShown | None
    stops: list[StopShown]
    tasks: list[TaskShown]
    curves: list[Curve]
    result: dict[str, Any] | None
    messages_sent: int
    messages_received: int
    bytes_sent: int
    bytes_received: int
    reconciliation: ReconciliationShown | None
    anchors: list[AnchorShown]
    transactions: list[Transaction]


def page(
    site: Site,
    names: Names,
    *,
    limit: int,
    cursor: str | None = None,
    state: str | None = None,
    kind: str | None = None,
    party: str | None = None,
) -> Page[JobSummary]:
    """Newest first; ``party`` is the id of a site that takes part."""
    query = select(LocalJob).order_by(LocalJob.created_at.desc(), LocalJob.id).limit(limit + 1)
    if state is not None:
        query = query.where(LocalJob.state == state)
    if kind is not None:
        query = query.where(LocalJob.kind == kind)
    if party is not None:
        of_party = select(JobParty.job_id).where(JobParty.site == party)
        query = query.where(LocalJob.id.in_(of_party))
    if (position := from_cursor(cursor, float, str)) is not None:
        at, after = position
        same = (LocalJob.created_at == at) & (LocalJob.id > after)
        query = query.where((LocalJob.created_at < at) | same)
    with site.store.read() as session:
        rows = list(session.scalars(query))
        parties = _parties(session, [row.id for row in rows])
    more = None
    if len(rows) > limit:
        last = rows[limit - 1]
        more = to_cursor(float(last.created_at), last.id)
    items = [
        JobSummary(**_summary(row, parties.get(row.id, []), site, names)) for row in rows[:limit]
    ]
    return Page(items=items, next=more)


def show(site: Site, names: Names, id: str) -> JobShown:
    """Raises `NotFound`."""
    with site.store.read() as session:
        row = find(session, id)
        parties = _parties(session, [id]).get(id, [])
        facts: dict[str, Any] = {
            "approval": _approval(session, id),
            "stops": _stops(session, site, names, id),
            "tasks": _tasks(session, id),
            "curves": _curves(session, id),
            "reconciliation": shown(row, names),
            "anchors": _anchors(session, row),
            "transactions": transactions.page(session, limit=50, subject=id).items,
            **_traffic(session, id),
        }
    chain, problem = _on_chain(site, names, id)
    return JobShown(
        **_summary(row, parties, site, names),
        **facts,
        specification=row.specification,
        specification_digest=row.specification_digest,
        chain=chain,
        chain_problem=problem,
        uses=_uses(site, names, row.specification),
        result=row.result,
    )


def find(session: Session, id: str) -> LocalJob:
    """Raises `NotFound`."""
    row = session.get(LocalJob, id)
    if row is None:
        raise NotFound(
            "NotFound",
            "this site knows no such job",
            found=id,
            hint="its proposal may not be confirmed on the chain yet",
        )
    return row


def certificate_bytes(site: Site, id: str) -> bytes:
    """The file as it was issued.

    Raises `NotFound` where there is none (yet), `Failed` (``ReconciliationFailed``) where the
    parties' logs do not agree.
    """
    with site.store.read() as session:
        row = find(session, id)
    path = row.certificate
    if path is None:
        if row.reconciliation is not None and not row.reconciliation["agrees"]:
            raise refusal_of(row.reconciliation)
        raise NotFound(
            "NotFound",
            "this job has no certificate at this site",
            found=id,
            hint="the guest's site issues it when the job has succeeded",
        )
    return (site.settings.home / path).read_bytes()


class Check(Shown):
    name: str
    where: str
    ok: bool
    detail: str


class CertificateReport(Shown):
    ok: bool
    checks: list[Check]


def check_certificate(site: Site, id: str) -> CertificateReport:
    """The certificate held against the chain, as `fatechain verify` does it."""
    from chain.evidence import verify_certificate

    report = verify_certificate(certificate_bytes(site, id), site.network())
    return CertificateReport(
        ok=report.ok,
        checks=[
            Check(name=check.name, where=check.where, ok=check.ok, detail=check.detail)
            for check in report.checks
        ],
    )


def _summary(row: LocalJob, parties: list[JobParty], site: Site, names: Names) -> dict[str, Any]:
    own = site.settings.site_id
    return {
        "id": row.id,
        "state": row.state,
        "kind": row.kind,
        "algorithm": row.algorithm,
        "proposer": names.site(row.proposer),
        "mine": row.mine,
        "attempt": row.attempt,
        "reason": row.reason,
        "model_id": row.model_id,
        "has_certificate": row.certificate is not None,
        "created_at": row.created_at,
        "started_at": row.started_at,
        "ended_at": row.ended_at,
        "parties": [
            PartyShown(
                site=names.site(party.site),
                role=party.role,
                position=party.position,
                approved_block=party.approved_block,
                attested=party.attested,
                attested_block=party.attested_block,
                mine=party.site == own,
            )
            for party in parties
        ],
    }


def _parties(session: Session, ids: list[str]) -> dict[str, list[JobParty]]:
    found: dict[str, list[JobParty]] = {}
    query = select(JobParty).where(JobParty.job_id.in_(ids)).order_by(JobParty.position)
    for party in session.scalars(query):
        found.setdefault(party.job_id, []).append(party)
    return found


def _approval(session: Session, id: str) -> ApprovalShown | None:
    row = session.get(Approval, id)
    if row is None:
        return None
    return ApprovalShown(how=row.how, by=row.by, rule_id=row.rule_id, at=row.at)


def _stops(session: Session, site: Site, names: Names, id: str) -> list[StopShown]:
    """In the order in which they were noticed, as each party says."""
    query = select(StopReceipt).where(StopReceipt.job_id == id).order_by(StopReceipt.noticed_at)
    own = site.settings.site_id
    return [
        StopShown(
            site=names.site(row.site),
            mine=row.site == own,
            attempt=row.attempt,
            reason=row.reason,
            detail=row.detail,
            block=row.block,
            block_time=row.block_time,
            noticed_at=row.noticed_at,
            ended_at=row.ended_at,
            seconds=None
            if row.ended_at is None or row.block_time is None
            else round(row.ended_at - row.block_time, 3),
            receipt=row.receipt,
            told=[names.site(other) for other in row.told],
        )
        for row in session.scalars(query)
    ]


def _tasks(session: Session, id: str) -> list[TaskShown]:
    query = select(Task).where(Task.job_id == id).order_by(Task.attempt, Task.position)
    return [
        TaskShown(
            id=task.id,
            step=task.step,
            attempt=task.attempt,
            state=task.state,
            done=task.done,
            total=task.total,
            text=task.text,
            output_digest=task.output_digest,
            error=task.error,
            created_at=task.created_at,
            started_at=task.started_at,
            ended_at=task.ended_at,
        )
        for task in session.scalars(query)
    ]


def _curves(session: Session, id: str) -> list[Curve]:
    points: dict[tuple[str, str], list[tuple[int, float]]] = {}
    query = select(Metric).where(Metric.job_id == id).order_by(Metric.x, Metric.id)
    for metric in session.scalars(query):
        points.setdefault((metric.step, metric.name), []).append((metric.x, metric.y))
    return [Curve(step=step, name=name, points=found) for (step, name), found in points.items()]


def _anchors(session: Session, job: LocalJob) -> list[AnchorShown]:
    """The heads under which entries about the job came, up to the one that covers the last."""
    first, last = session.execute(
        select(func.min(AuditEntry.index), func.max(AuditEntry.index)).where(
            AuditEntry.subject == job.id
        )
    ).one()
    if first is None:
        return []
    query = select(Anchor).where(Anchor.size > first).order_by(Anchor.size)
    shown = []
    for anchor in session.scalars(query):
        shown.append(anchor_shown(anchor))
        if anchor.size > last:
            break
    return shown


def _traffic(session: Session, id: str) -> dict[str, int]:
    counted: dict[str, int] = {}
    for table, way in ((OutMessage, "sent"), (InMessage, "received")):
        count, size = session.execute(
            select(func.count(), func.coalesce(func.sum(table.size), 0)).where(table.job_id == id)
        ).one()
        counted |= {f"messages_{way}": count, f"bytes_{way}": size}
    return counted


def _on_chain(site: Site, names: Names, id: str) -> tuple[ChainJob | None, str | None]:
    from chain.errors import ChainError, ContractRefused

    try:
        jobs = site.network().jobs
        job = jobs.job(id)
        state = str(jobs.state(id))
    except ContractRefused:
        return None, "the chain does not have this job"
    except (ChainError, NodeError) as error:
        return None, str(error)
    return (
        ChainJob(
            state=state,
            specification=job.specification,
            algorithm=job.algorithm,
            purpose=job.purpose,
            deadline=job.deadline,
            proposed_at=job.proposed_at,
            approved_at=job.approved_at,
            started_at=job.started_at,
            ended_at=job.ended_at,
            reason=job.reason,
            ended_by=None if job.ended_by is None else names.site(job.ended_by),
        ),
        None,
    )


def _uses(site: Site, names: Names, specification: dict[str, Any] | None) -> list[UseShown]:
    from chain.errors import ChainError

    shown = []
    for party in (specification or {}).get("parties", []):
        for use in party["inputs"]:
            grant: GrantShown | None = None
            if use["grant"] is not None:
                try:
                    grant = grants.show(site, names, use["grant"])
                except (ChainError, NodeError):
                    grant = None  # its id is shown; the chain's state of it is not known now
            shown.append(
                UseShown(
                    site=names.site(party["site"]),
                    dataset=names.dataset(use["dataset"]),
                    version=use["version"],
                    grant_id=use["grant"],
                    grant=grant,
                )
            )
    return shown
