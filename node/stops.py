"""When running work is stopped: each party acknowledges, signs what it did, and tells the others.

    notice    in the transaction that stops the tasks: why, by which block, when it was seen
    settle    the last process of the job is gone: the receipt is signed and entered in the log
    receive   what a partner signed, kept beside our own

`node.courier` brings ours to the other parties.  From the notice on, messages of that job are
refused with ``JobStopped`` and the reason.  All of it may be repeated: there is one receipt of a
site for an attempt of a job, and the first one stands.

A receipt is taken by its own signature, not by that of the request that brings it: a member that
was suspended, or a key that was revoked, must not send messages any more, and still has to say
that it stopped.  A key that had ended before the job began says nothing.
"""

from __future__ import annotations

import base64
import json
import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from chain import canonical
from node.audit.entries import record
from node.errors import (
    Conflict,
    Invalid,
    NodeError,
    NotFound,
    Refused,
    Unauthenticated,
)
from node.signatures import verify_bytes
from node.store import JobParty, LocalJob, StopReceipt, Task

if TYPE_CHECKING:
    from node.site import Site

TYPE = "stop"
FIELDS = frozenset(
    {
        "type",
        "job",
        "attempt",
        "site",
        "reason",
        "detail",
        "block",
        "blockTime",
        "noticedAt",
        "endedAt",
        "keyId",
        "signature",
    }
)
MAX_BYTES = 16 * 1024  # of a receipt
MAX_DETAIL = 300
_KEY_ID = re.compile(r"0x[0-9a-f]{64}")
TASKS_UNDER_WAY = ("RUNNING", "STOPPING")

OURS = frozenset({"PolicyRefused", "PolicyUnavailable", "ColumnNotAllowed", "ColumnRulesMissing"})
"""Reasons whose details are this site's affair (a column's name, what its policy said)."""


# ── Noticing ─────────────────────────────────────────────────────────────────────────────────


def notice(session: Session, job: LocalJob, me: str, reason: str, detail: str, block: int) -> bool:
    """Note that this site's part of the job is over before its time; whether that is new.

    Nothing is noted of a job that never ran here: there was nothing to stop.
    """
    key = (job.id, me, job.attempt)
    ran = session.scalar(select(func.count()).where(Task.job_id == job.id))
    if not ran or session.get(StopReceipt, key) is not None:
        return False
    session.add(
        StopReceipt(
            job_id=job.id,
            site=me,
            attempt=job.attempt,
            reason=reason[:60],
            detail="" if reason in OURS else detail[:MAX_DETAIL],
            block=block,
            noticed_at=time.time(),
            told=[],
        )
    )
    session.flush()
    return True


def refuse_if_stopped(session: Session, job_id: str, me: str) -> None:
    """Raises `Conflict` (``JobStopped``) for what arrives after this site has stopped the job."""
    query = select(StopReceipt.reason, StopReceipt.detail).where(
        StopReceipt.job_id == job_id, StopReceipt.site == me
    )
    if (stopped := session.execute(query).first()) is not None:
        raise Conflict(
            "JobStopped",
            f"this site stopped job {job_id}: {stopped.reason}"
            + (f" ({stopped.detail})" if stopped.detail else ""),
            found=stopped.reason,
            hint="nothing more of this job is taken here; see its stops",
        )


# ── Signing ──────────────────────────────────────────────────────────────────────────────────


def settle(site: Site) -> int:
    """Sign the receipts of stops that are complete: no process of the job is left.  How many."""
    query = select(StopReceipt).where(StopReceipt.site == site.id, StopReceipt.receipt.is_(None))
    with site.store.read() as session:
        open_ = list(session.scalars(query))
    return sum(_settle_one(site, row) for row in open_)


def _settle_one(site: Site, row: StopReceipt) -> bool:
    with site.store.read() as session:
        tasks = session.execute(
            select(Task.state, Task.ended_at).where(Task.job_id == row.job_id)
        ).all()
    if any(task.state in TASKS_UNDER_WAY for task in tasks):
        return False
    ended_at = max([row.noticed_at, *(task.ended_at for task in tasks if task.ended_at)])
    block_time = _block_time(site, row.block)
    receipt = _signed(site, row, ended_at, block_time)
    with site.store.begin() as session:
        kept = session.get_one(StopReceipt, (row.job_id, row.site, row.attempt))
        if kept.receipt is not None:
            return False
        kept.ended_at, kept.block_time, kept.receipt = ended_at, block_time, receipt
        data = {name: receipt[name] for name in FIELDS - {"type", "job", "site"}}
        record(session, "job.stopped", row.job_id, data, "sync")
    return True


def _signed(
    site: Site, row: StopReceipt, ended_at: float, block_time: int | None
) -> dict[str, Any]:
    identity = site.identity
    receipt = {
        "type": TYPE,
        "job": row.job_id,
        "attempt": row.attempt,
        "site": row.site,
        "reason": row.reason,
        "detail": row.detail,
        "block": row.block,
        "blockTime": block_time,
        "noticedAt": _text(row.noticed_at),
        "endedAt": _text(ended_at),
        "keyId": site.key_id(identity=identity),
    }
    signature = identity.sign(canonical.dumps(receipt))
    return receipt | {"signature": base64.b64encode(signature).decode()}


def _block_time(site: Site, block: int) -> int | None:
    """None where the chain does not tell now: the receipt does not wait for it."""
    from chain.errors import ChainError

    try:
        return int(site.network().client.block(block).timestamp)
    except (ChainError, NodeError):
        return None


# ── Receiving ────────────────────────────────────────────────────────────────────────────────


def receive(site: Site, job_id: str, body: bytes) -> dict[str, Any]:
    """Keep a partner's receipt; the first one of a site for an attempt stands.

    Raises `Invalid`, `NotFound`, `Refused` (``NotAParty``), `Unauthenticated`
    (``SignatureInvalid``), `Conflict` for another receipt than the one that is here.
    """
    receipt = _parsed(job_id, body)
    sender, attempt = receipt["site"], receipt["attempt"]
    with site.store.read() as session:
        job = session.get(LocalJob, job_id)
        parties = set(session.scalars(select(JobParty.site).where(JobParty.job_id == job_id)))
        kept = session.get(StopReceipt, (job_id, sender, attempt))
    if job is None or job.started_at is None or attempt > job.attempt:
        raise NotFound("NotFound", f"job {job_id} does not run here in attempt {attempt}")
    if sender not in parties or sender == site.settings.site_id:
        raise Refused("NotAParty", f"site {sender} is no other party of job {job_id}")
    if kept is not None:
        if kept.receipt != receipt:
            raise Conflict("Conflict", f"another receipt of site {sender} is here", found=sender)
        return {"job": job_id, "site": sender}
    _verify(site, job_id, receipt)
    row = StopReceipt(
        job_id=job_id,
        site=sender,
        attempt=attempt,
        reason=receipt["reason"],
        detail=receipt["detail"],
        block=receipt["block"],
        block_time=receipt["blockTime"],
        noticed_at=_seconds(receipt["noticedAt"]),
        ended_at=_seconds(receipt["endedAt"]),
        receipt=receipt,
        told=[],
    )
    with site.store.begin() as session:
        if session.get(StopReceipt, (job_id, sender, attempt)) is None:
            session.add(row)
            data = {"receipt": receipt, "digest": canonical.digest_of(receipt)}
            record(session, "stop.received", job_id, data, sender)
    return {"job": job_id, "site": sender}


def _parsed(job_id: str, body: bytes) -> dict[str, Any]:
    try:
        receipt = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _invalid("it is not JSON") from error
    if not isinstance(receipt, dict) or receipt.keys() != FIELDS:
        raise _invalid("its fields are not those of a receipt")
    texts = ("type", "job", "site", "reason", "detail", "noticedAt", "endedAt", "keyId")
    if not all(isinstance(receipt[name], str) for name in (*texts, "signature")):
        raise _invalid("a text is none")
    numbers = [receipt["attempt"], receipt["block"]]
    if receipt["blockTime"] is not None:
        numbers.append(receipt["blockTime"])
    if not all(type(number) is int and 0 <= number < 2**53 for number in numbers):
        raise _invalid("a number is none")
    if not _KEY_ID.fullmatch(receipt["keyId"]):
        raise _invalid("its key is none")
    if receipt["type"] != TYPE or receipt["job"] != job_id:
        raise _invalid("it is for another job")
    if not receipt["reason"].isalnum() or not 1 <= len(receipt["reason"]) <= 60:
        raise _invalid("its reason is no code")
    if len(receipt["detail"]) > MAX_DETAIL or not receipt["detail"].isprintable():
        raise _invalid("its detail is too long, or no text")
    _seconds(receipt["noticedAt"]), _seconds(receipt["endedAt"])
    return receipt


def _verify(site: Site, job_id: str, receipt: dict[str, Any]) -> None:
    key = site.directory.past_key(receipt["keyId"], job_id)
    if key.site != receipt["site"]:
        raise Unauthenticated(
            "SignatureInvalid", f"the receipt is signed by a key of site {key.site}"
        )
    unsigned = {name: value for name, value in receipt.items() if name != "signature"}
    if not verify_bytes(key.public_key, receipt["signature"], canonical.dumps(unsigned)):
        raise Unauthenticated("SignatureInvalid", "the receipt's signature does not match")


def _invalid(detail: str) -> Invalid:
    return Invalid("InvalidRequest", f"this is no receipt of a stop: {detail}")


# ── Times ────────────────────────────────────────────────────────────────────────────────────


def _text(at: float) -> str:
    """RFC 3339 in UTC, to the microsecond."""
    found = datetime.fromtimestamp(at, UTC)
    return found.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _seconds(text: str) -> float:
    """The time that `_text` wrote; raises `Invalid`."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise _invalid("a time is none") from error
    if at.tzinfo is None:
        raise _invalid("a time has no zone")
    return at.timestamp()
