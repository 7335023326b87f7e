"""Erasing what entries tell, and keeping that they stand.

A scope's key and its sealed payloads go in one transaction with the entry `payload.erased` and a
receipt that the audit key signs (`chain.erasures` has its form).  Leaves, proofs, heads and
certificates are what they were.  SQLite overwrites what is deleted and its write-ahead log is cut;
copies of the database made before know everything still, and so does whoever was shown it.
"""

from __future__ import annotations

import base64
import logging
import time
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select, text
from sqlalchemy.orm import Session

from chain import canonical
from chain.erasures import ranges
from node.audit.entries import acting, now, record
from node.errors import Conflict, Invalid, NotFound, Unavailable
from node.identity import AUDIT
from node.index.indexing import forget
from node.lifecycle import JOB_MOVES
from node.refusals import chain_errors
from node.store import (
    AuditEntry,
    AuditPayload,
    ErasedEntry,
    Erasure,
    LocalJob,
    PayloadKey,
    Store,
)

if TYPE_CHECKING:
    from node.site import Site

log = logging.getLogger(__name__)

OWN_SCOPE = "urn:fatechain:erasures"  # of what is entered of erasures: not erased with them
MAX_REASON = 500
EVIDENCE_SECONDS = 24 * 3600  # in which the guest of a job gets this site's evidence
UNDER_WAY = tuple(state for state, moves in JOB_MOVES.items() if moves)
OPEN_DISPUTES = ("OPEN", "ANSWERED")


@dataclass(frozen=True)
class Erased:
    """The signed receipt, and whether the database's journal has forgotten, too.

    Where it has not, the next erasure or a restart of the node makes it forget.
    """

    receipt: dict[str, Any]
    journal_cut: bool


def erase(site: Site, scope: str, reason: str) -> Erased:
    """Erase the payloads of a scope.

    Raises `NotFound` (``ScopeUnknown``) where nothing is left to erase, `Conflict`
    (``JobNotOver``, ``EvidenceNeeded``, ``DisputeOpen``) where somebody needs it, `Unavailable`
    (``EntriesPending``) before all of it has its place in the log, and what the chain raises.
    """
    if not 1 <= len(reason) <= MAX_REASON:
        raise Invalid(
            "InvalidRequest", "an erasure has a reason", found=len(reason), allowed=MAX_REASON
        )
    if scope == OWN_SCOPE:
        raise Conflict("ScopeKept", "what the log tells of erasures is not erased", found=scope)
    disputed = _disputed(site)
    with site.store.begin() as session:
        _overwrite_deleted(session)
        key_id = session.scalar(
            select(PayloadKey.id).where(PayloadKey.scope == scope).with_for_update()
        )
        rows = [] if key_id is None else _entries(session, key_id)
        if key_id is None or not rows:
            raise NotFound("ScopeUnknown", "nothing of this scope is left to erase", found=scope)
        _require_over(session, scope, {row.subject for row in rows}, disputed)
        leaves = b"".join(row.leaf_hash for row in rows)
        indexes = [row.index for row in rows]
        receipt = _entered(site, session, scope, reason, indexes, leaves)
        session.execute(delete(AuditPayload).where(AuditPayload.key_id == key_id))
        session.execute(delete(PayloadKey).where(PayloadKey.id == key_id))
        kept = Erasure(scope=scope, receipt=receipt)
        session.add(kept)
        session.flush()
        session.execute(
            insert(ErasedEntry), [{"index": index, "erasure_id": kept.id} for index in indexes]
        )
        forget(session, indexes)
    cut = _cut_journal(site.store)
    if not cut:
        log.warning("the write-ahead log still has what was erased: something reads it")
    return Erased(receipt, cut)


def receipts(session: Session, scope: str | None = None) -> list[dict[str, Any]]:
    """Of all erasures, oldest first, or of those of a scope."""
    query = select(Erasure.receipt).order_by(Erasure.id)
    return list(session.scalars(query if scope is None else query.where(Erasure.scope == scope)))


# ── What stands against it ───────────────────────────────────────────────────────────────────


def _entries(session: Session, key_id: int) -> list[Any]:
    """The scope's entries in the log's order; all of them have their places."""
    query = (
        select(AuditPayload.id, AuditEntry.index, AuditEntry.subject, AuditEntry.leaf_hash)
        .outerjoin(AuditEntry, AuditEntry.id == AuditPayload.id)
        .where(AuditPayload.key_id == key_id)
        .order_by(AuditEntry.index)
    )
    rows = list(session.execute(query))
    if waiting := sum(row.index is None for row in rows):
        raise Unavailable(
            "EntriesPending",
            "some entries of the scope have no place in the log yet",
            found=waiting,
            hint="try again in a moment; the sync process gives them theirs",
        )
    return rows


def _require_over(session: Session, scope: str, subjects: set[str], disputed: set[str]) -> None:
    about = {scope, *subjects}
    if found := sorted(about & disputed):
        raise Conflict(
            "DisputeOpen",
            "a dispute about it is open; what the log tells may be needed",
            found=found[0],
            hint="erase when the dispute is ruled or withdrawn",
        )
    for job in session.scalars(select(LocalJob).where(LocalJob.state.in_(UNDER_WAY))):
        if job.id in about or about & _data_of(job):
            raise Conflict(
                "JobNotOver",
                f"job {job.id} is {job.state}; what the log tells of it is still needed",
                found=job.state,
                hint="erase when the job is over",
            )
    for job in session.scalars(select(LocalJob).where(LocalJob.id.in_(about))):
        _require_certified(job)


def _require_certified(job: LocalJob) -> None:
    """A certificate is made of what the log tells: the guest's node makes it, of all logs."""
    if job.state != "SUCCEEDED":
        return
    since = time.time() - (job.ended_at or 0)
    if job.certificate is None if job.mine else since < EVIDENCE_SECONDS:
        raise Conflict(
            "EvidenceNeeded",
            f"the certificate of job {job.id} may not be made yet",
            found=job.id,
            hint="erase when the certificate is there; at a host, a day after the job's end",
        )


def _data_of(job: LocalJob) -> set[str]:
    """Datasets and grants that a job uses."""
    return {
        str(use[name])
        for party in (job.specification or {}).get("parties", [])
        for use in party["inputs"]
        for name in ("dataset", "grant")
    }


def _disputed(site: Site) -> set[str]:
    """What open disputes are about, as the chain has it now."""
    if not site.is_registered:
        return set()
    with chain_errors():
        disputes = site.network().disputes
        return {
            each
            for id in disputes.disputes()
            if str(disputes.state(id)) in OPEN_DISPUTES
            for each in (id, disputes.dispute(id).subject)
        }


# ── Doing it ─────────────────────────────────────────────────────────────────────────────────


def _entered(
    site: Site, session: Session, scope: str, reason: str, indexes: list[int], leaves: bytes
) -> dict[str, Any]:
    """Enter the erasure, and sign the receipt."""
    identity = site.identity
    digest = "0x" + sha256(leaves).hexdigest()
    told = {"count": len(indexes), "digest": digest, "reason": reason}
    entry = record(session, "payload.erased", scope, told, acting(), scope=OWN_SCOPE)
    receipt = {
        "type": "erasure",
        "site": site.id,
        "scope": scope,
        "actor": acting(),
        "entry": entry,
        "entries": ranges(indexes),
        "erasedAt": now(),
        "keyId": site.key_id(AUDIT, identity),
        **told,
    }
    signature = identity.sign_audit(canonical.dumps(receipt))
    return receipt | {"signature": base64.b64encode(signature).decode()}


def _overwrite_deleted(session: Session) -> None:
    if session.connection().dialect.name == "sqlite":
        session.execute(text("PRAGMA secure_delete = ON"))


def _cut_journal(store: Store) -> bool:
    """SQLite keeps the pages as they were in its write-ahead log until it is cut; readers that
    hold it for longer than the database waits keep it."""
    if store.engine.dialect.name != "sqlite":
        return True
    connection = store.engine.raw_connection()
    try:
        cursor = connection.cursor()
        busy = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        cursor.close()
    finally:
        connection.close()
    return not busy
