"""Confirmed events of the chain → this site's rows, in the transaction that stores the events.

Applied in order and once.  The chain is the truth: rows follow it, tasks are made when a job
starts and stopped when it ends, and what a party must be able to show later goes into its audit
log in the same transaction.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from chain.canonical import MAX_INTEGER
from node import stops
from node.audit.entries import record
from node.lifecycle import JOB_ENDS, JOB_MOVES, SUBMITTED, move_job, move_task
from node.store import (
    Anchor,
    AuditRequest,
    Challenge,
    JobParty,
    LocalJob,
    LocalModel,
    Reservation,
    SiteMark,
    Task,
    Waiting,
)
from node.votes import HANDLERS as OF_VOTES

if TYPE_CHECKING:
    from chain.calls import EventRecord

log = logging.getLogger(__name__)

STEPS: Mapping[str, tuple[str, ...]] = {
    "train": ("psi", "train", "evaluate", "result"),
    "predict": ("psi", "predict", "result"),
    "match": ("psi", "result"),
    "count": ("count", "result"),
}

ENDS = {
    "JobRejected": "REJECTED",
    "JobSucceeded": "SUCCEEDED",
    "JobFailed": "FAILED",
    "JobCancelled": "CANCELLED",
    "JobExpired": "EXPIRED",
}


def apply(session: Session, event: EventRecord, me: str | None) -> None:
    """Bring the rows up to date with one confirmed event; ``me`` is this site's id, if any.

    Contracts of before the bound take a head of any size that has 64 bits, which neither a log
    entry nor every database holds: no log is so long, and such an event changes no row.
    """
    handler = HANDLERS.get((event.contract, event.name))
    size = event.args.get("size")
    if isinstance(size, int) and size > MAX_INTEGER:
        log.warning("%s of a log of %d entries in %s: ignored", event.name, size, event.tx_hash)
    elif handler is not None:
        handler(session, event, me)


# ── Jobs ─────────────────────────────────────────────────────────────────────────────────────


def _proposed(session: Session, event: EventRecord, me: str | None) -> None:
    args = event.args
    if session.get(LocalJob, args["id"]) is None:
        session.add(
            LocalJob(
                id=args["id"],
                state="PROPOSED",
                specification_digest=args["specification"],
                proposer=args["proposer"],
                mine=args["proposer"] == me,
            )
        )
        session.flush()
    else:
        move_job(session, args["id"], SUBMITTED, "PROPOSED")


def _party_added(session: Session, event: EventRecord, me: str | None) -> None:
    job_id, site = event.args["id"], event.args["site"]
    if session.get(JobParty, (job_id, site)) is None:
        position = _count(session, JobParty.job_id == job_id)
        session.add(JobParty(job_id=job_id, site=site, role=event.args["role"], position=position))
        session.flush()


def _approval(session: Session, event: EventRecord, me: str | None) -> None:
    party = _party(session, event)
    if party is not None:
        party.approved_block = event.block_number


def _approved(session: Session, event: EventRecord, me: str | None) -> None:
    _move(session, event.args["id"], "APPROVED")


def _started(session: Session, event: EventRecord, me: str | None) -> None:
    """The job runs: make this party's tasks, and give up the promise that is now kept."""
    job_id = event.args["id"]
    if not _move(session, job_id, "RUNNING", started_at=time.time()):
        return
    session.execute(delete(Reservation).where(Reservation.job_id == job_id))
    if not _is_party(session, job_id, me):
        return
    job = session.get_one(LocalJob, job_id)
    for position, step in enumerate(STEPS[job.kind]):
        session.add(Task(job_id=job_id, step=step, attempt=job.attempt, position=position))
    data = {"block": event.block_number, "attempt": job.attempt}
    record(session, "job.started", job_id, data, "sync")


def _attested(session: Session, event: EventRecord, me: str | None) -> None:
    party = _party(session, event)
    if party is not None:
        party.attested, party.attested_block = event.args["result"], event.block_number


def _ended(session: Session, event: EventRecord, me: str | None) -> None:
    """The job is over: stop what still runs, and acknowledge the end in the log."""
    from chain.jobs import reason_text

    job_id, state = event.args["id"], ENDS[event.name]
    word = reason_text(event.args["reason"]) if "reason" in event.args else None
    job = session.get(LocalJob, job_id)
    if job is None:
        return
    reason = job.reason
    if state == "SUCCEEDED":
        reason = None
    elif word is not None and not (reason or "").startswith(f"{word}:"):
        reason = word  # what we knew before was another reason than the one that counts
    if not _move(session, job_id, state, ended_at=time.time(), reason=reason):
        return
    session.execute(delete(Waiting).where(Waiting.job_id == job_id))
    session.execute(delete(Reservation).where(Reservation.job_id == job_id))
    by = event.args.get("site")
    detail = f"job {state}" if word is None else f"job {state}: {word}"
    why = word or state.capitalize()
    stop_tasks(session, job_id, {"code": why, "detail": detail})
    if me is not None and state != "SUCCEEDED":
        stops.notice(session, job, me, why, detail, event.block_number)
    if _is_party(session, job_id, me):
        data = {"state": state, "block": event.block_number}
        extra = {"reason": word, "by": by, "result": event.args.get("result")}
        data |= {name: value for name, value in extra.items() if value is not None}
        record(session, "job.ended", job_id, data, "sync")


def stop_tasks(session: Session, job_id: str, error: dict[str, Any]) -> int:
    """Stop whatever of a job is not over; how many tasks run and will be ended."""
    running = 0
    query = select(Task.id, Task.state).where(Task.job_id == job_id)
    for task_id, state in session.execute(query).all():
        if state in ("WAITING", "READY"):
            move_task(session, task_id, state, "STOPPED", ended_at=time.time(), error=error)
        elif state == "RUNNING":
            running += move_task(session, task_id, "RUNNING", "STOPPING", error=error)
    return running


# ── Models and anchors ───────────────────────────────────────────────────────────────────────


def _model_registered(session: Session, event: EventRecord, me: str | None) -> None:
    from chain.certificate import model_digest

    job_id, model_id = event.args["job"], event.args["id"]
    job = session.get(LocalJob, job_id)
    # The first registration of what the parties attested is the job's model.
    if job is None or job.model_id is not None or job.result is None:
        return
    if event.args["modelDigest"] != model_digest(job_id, job.result["parts"]):
        log.warning("model %s is not of the parts of job %s: ignored", model_id, job_id)
        return
    job.model_id = model_id
    session.execute(update(LocalModel).where(LocalModel.job_id == job_id).values(model_id=model_id))
    if _is_party(session, job_id, me):
        data = {"model": model_id, "digest": event.args["modelDigest"]}
        record(session, "model.registered", job_id, data, "sync")


def _anchored(session: Session, event: EventRecord, me: str | None) -> None:
    size = event.args["size"]
    if event.args["site"] != me or session.get(Anchor, size) is not None:
        return
    session.add(
        Anchor(
            size=size,
            root=event.args["root"],
            block=event.block_number,
            tx_hash=event.tx_hash,
        )
    )
    data = {"size": size, "root": event.args["root"], "block": event.block_number}
    record(session, "anchor.made", event.args["site"], data, "sync")


def _cosigned(session: Session, event: EventRecord, me: str | None) -> None:
    anchor = session.get(Anchor, event.args["size"])
    if event.args["site"] == me and anchor is not None:
        anchor.state = "PENDING"  # until the chain has been asked how many it has now


# ── Logs that lie ────────────────────────────────────────────────────────────────────────────


def _challenged(session: Session, event: EventRecord, me: str | None) -> None:
    args = event.args
    if session.get(Challenge, args["id"]) is not None:
        return
    head = {"size": args["size"], "root": args["root"]}
    told = {**head, "until": args["until"], "block": event.block_number}
    session.add(Challenge(id=args["id"], site=args["site"], **told))
    if args["site"] == me:
        record(session, "log.challenged", args["site"], {"challenge": args["id"], **told}, "sync")


def _answered(session: Session, event: EventRecord, me: str | None) -> None:
    challenge = session.get(Challenge, event.args["id"])
    if challenge is not None:
        challenge.state = "ANSWERED" if challenge.state == "OPEN" else "LATE"


def _settled(session: Session, event: EventRecord, me: str | None) -> None:
    challenge = session.get(Challenge, event.args["id"])
    if challenge is not None:
        challenge.state = "SETTLED"


def _marked(session: Session, event: EventRecord, me: str | None) -> None:
    from chain.equivocations import MarkKind

    args = event.args
    if session.get(SiteMark, (args["site"], args["key"])) is None:
        told = {"kind": list(MarkKind)[args["kind"]].value, "size": args["size"]}
        told |= {"key": args["key"], "block": event.block_number}
        session.add(SiteMark(site=args["site"], **told))
        record(session, "site.marked", args["site"], told, "sync")


# ── The right to audit ───────────────────────────────────────────────────────────────────────


def _audit_requested(session: Session, event: EventRecord, me: str | None) -> None:
    from chain.ids import ZERO_ID

    args = event.args
    if session.get(AuditRequest, args["id"]) is not None:
        return
    auditor = None if args["auditor"] == ZERO_ID else args["auditor"]
    told = {"kind": args["kind"], "digest": args["digest"], "until": args["until"]}
    at = {"site": args["site"], "by": args["by"], "auditor": auditor, "block": event.block_number}
    session.add(AuditRequest(id=args["id"], **at, **told))
    if args["site"] == me:
        data = {
            "by": args["by"],
            "askedFor": args["kind"],
            "question": args["digest"],
            "until": args["until"],
            "block": event.block_number,
        }
        if auditor is not None:
            data["auditor"] = auditor
        record(session, "audit.requested", args["id"], data, "sync")


def _audit_answered(session: Session, event: EventRecord, me: str | None) -> None:
    request = session.get(AuditRequest, event.args["id"])
    if request is not None:
        request.pack, request.is_late = event.args["pack"], event.args["isLate"]
        request.answered_block = event.block_number


Handler = Callable[[Session, "EventRecord", "str | None"], None]

HANDLERS: Mapping[tuple[str, str], Handler] = {
    ("JobRegistry", "JobProposed"): _proposed,
    ("JobRegistry", "JobPartyAdded"): _party_added,
    ("JobRegistry", "JobApproval"): _approval,
    ("JobRegistry", "JobApproved"): _approved,
    ("JobRegistry", "JobStarted"): _started,
    ("JobRegistry", "JobAttested"): _attested,
    **{("JobRegistry", name): _ended for name in ENDS},
    ("ModelRegistry", "ModelRegistered"): _model_registered,
    ("AuditAnchor", "Anchored"): _anchored,
    ("AuditAnchor", "Cosigned"): _cosigned,
    ("AuditRequests", "AuditRequested"): _audit_requested,
    ("AuditRequests", "AuditAnswered"): _audit_answered,
    ("Equivocations", "ChallengeOpened"): _challenged,
    ("Equivocations", "ChallengeAnswered"): _answered,
    ("Equivocations", "ChallengeSettled"): _settled,
    ("Equivocations", "SiteMarked"): _marked,
    **OF_VOTES,
}


# ── Rows ─────────────────────────────────────────────────────────────────────────────────────


def _move(session: Session, job_id: str, to: str, **values: Any) -> bool:
    job = session.get(LocalJob, job_id)
    if job is None or job.state in JOB_ENDS or to not in JOB_MOVES[job.state]:
        log.warning("job %s does not move to %s here", job_id, to)
        return False
    moved = move_job(session, job_id, job.state, to, **values)
    session.refresh(job)
    return moved


def _party(session: Session, event: EventRecord) -> JobParty | None:
    return session.get(JobParty, (event.args["id"], event.args["site"]))


def _is_party(session: Session, job_id: str, me: str | None) -> bool:
    return me is not None and session.get(JobParty, (job_id, me)) is not None


def _count(session: Session, *where: Any) -> int:
    return int(session.scalar(select(func.count()).select_from(JobParty).where(*where)) or 0)
