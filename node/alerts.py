"""Alerts: what somebody has to look at, each told once and kept until it is.

An alert is known by its kind, its subject and what it is about; seen again it counts on.  A lasting
one is over when what it tells is over; the others stay open until somebody acknowledges them.  It
is entered in the audit log when it is raised, and goes to the webhook (`node.webhook`).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from chain import canonical
from node import webhook
from node.audit.entries import acting, new_id, record
from node.errors import Conflict, NotFound
from node.store import Alert

if TYPE_CHECKING:
    from node.site import Site

Severity = Literal["critical", "warning", "notice"]

MAX_ALIKE = 20  # open ones of one kind and subject: a liar fills no table
QUIET_SECONDS = 60.0  # what is seen again and again is written down so often
MAX_TEXT = 500


@dataclass(frozen=True)
class Kind:
    """``lasting``: it is over by itself when what it tells is over."""

    severity: Severity
    lasting: bool = False


KINDS: Mapping[str, Kind] = {
    # Another site's log
    "log.forked": Kind("critical"),
    "log.unproven": Kind("warning"),
    "log.went_back": Kind("warning", lasting=True),
    "log.root_differs": Kind("critical"),
    "log.tile_differs": Kind("critical"),
    "log.tile_changed": Kind("critical"),
    "log.tile_missing": Kind("warning"),
    "log.entry_differs": Kind("critical"),
    "log.time_order": Kind("warning"),
    "log.silent": Kind("warning", lasting=True),
    # What the chain says of a log
    "anchor.differs": Kind("critical"),
    "anchor.missing": Kind("critical", lasting=True),
    "anchor.behind": Kind("warning", lasting=True),
    "anchor.unwitnessed": Kind("warning", lasting=True),
    "site.challenged": Kind("critical", lasting=True),
    "site.marked": Kind("critical"),
    "audit.requested": Kind("warning"),
    "audit.silent": Kind("critical", lasting=True),
    "audit.answered": Kind("notice"),
    "audit.withheld": Kind("warning", lasting=True),
    "audit.answer_fails": Kind("critical"),
    # Keys and grants on the chain
    "key.unexpected": Kind("critical"),
    "key.changed": Kind("notice"),
    "operator.changed": Kind("warning"),
    "site.unexpected": Kind("critical"),
    "grant.given": Kind("notice"),
    "grant.unexpected": Kind("warning"),
    "grant.revoked_in_use": Kind("warning", lasting=True),
    "statement.made": Kind("notice"),
    # The logs of a job's parties, held against each other
    "job.unreconciled": Kind("critical", lasting=True),
    "job.retold": Kind("critical"),
    # This node
    "chain.behind": Kind("warning", lasting=True),
    "view.new": Kind("notice"),
    "own.damaged": Kind("critical"),
    "mirror.damaged": Kind("critical"),
    "mirror.full": Kind("warning", lasting=True),
}
"""Every kind of alert there is; their words are ``alert.<kind>`` in `node.ui.messages`."""


def see(
    session: Session,
    kind: str,
    subject: str,
    evidence: Mapping[str, Any],
    *,
    about: str = "",
    now: float | None = None,
) -> str:
    """Raise an alert, or count it on where it is known; its id.

    ``about`` tells alerts of one kind and subject apart (a size, a tile): what is about the same is
    told once, unless it lasted, was over and is back.  ``evidence`` holds ids, digests, counts and
    short texts.  Raises ValueError for an unknown kind.
    """
    told = KINDS.get(kind)
    if told is None:
        raise ValueError(f"{kind!r} is no kind of alert; allowed are {', '.join(sorted(KINDS))}")
    moment = time.time() if now is None else now
    digest = hashlib.sha256(f"{kind}\n{subject}\n{about}".encode()).hexdigest()
    alike = select(Alert).where(
        Alert.kind == kind, Alert.subject == subject, Alert.over_at.is_(None)
    )
    known = session.scalar(alike.where(Alert.about == digest))
    if known is None and _open(session, kind, subject) >= MAX_ALIKE:
        known = session.scalar(alike.order_by(Alert.first_seen.desc(), Alert.id.desc()).limit(1))
    if known is not None:
        if moment - known.last_seen >= QUIET_SECONDS:
            known.last_seen, known.count = moment, known.count + 1
        return known.id
    kept = {name: _short(value) for name, value in evidence.items()}
    alert = Alert(
        id=new_id(),
        kind=kind,
        severity=told.severity,
        subject=subject,
        about=digest,
        evidence=kept,
        first_seen=moment,
        last_seen=moment,
        count=1,
    )
    session.add(alert)
    session.flush()
    data = {
        "alert": alert.id,
        "alertKind": kind,
        "severity": told.severity,
        "evidence": canonical.digest_of(kept),
    }
    record(session, "alert.raised", subject, data, "monitor")
    webhook.enqueue(session, "alert.raised", alert, moment)
    return alert.id


def end(session: Session, kind: str, subject: str, *, now: float | None = None) -> None:
    """What lasting alerts of this kind and subject told is over."""
    moment = time.time() if now is None else now
    query = select(Alert).where(
        Alert.kind == kind, Alert.subject == subject, Alert.over_at.is_(None)
    )
    for alert in session.scalars(query):
        alert.over_at = moment
        webhook.enqueue(session, "alert.over", alert, moment)


def subjects(session: Session, kind: str) -> list[str]:
    """Of what alerts of a kind tell that is not over."""
    query = select(Alert.subject).where(Alert.kind == kind, Alert.over_at.is_(None))
    return list(session.scalars(query.distinct()))


def acknowledge(site: Site, id: str, now: float | None = None) -> None:
    """Somebody has seen it.  Raises `NotFound`, and `Conflict` (``AlertAcknowledged``)."""
    moment = time.time() if now is None else now
    with site.store.begin() as session:
        alert = session.get(Alert, id)
        if alert is None:
            raise NotFound("NotFound", "this site raised no such alert", found=id)
        if alert.acknowledged_at is not None:
            raise Conflict("AlertAcknowledged", "somebody has acknowledged it", found=id)
        alert.acknowledged_at, alert.acknowledged_by = moment, acting()
        data = {"alert": alert.id, "alertKind": alert.kind}
        record(session, "alert.acknowledged", alert.subject, data, acting())


def is_open(alert: Alert) -> bool:
    """Nobody acknowledged it, and it is not over by itself."""
    return alert.acknowledged_at is None and alert.over_at is None


def _open(session: Session, kind: str, subject: str) -> int:
    of_kind = (
        Alert.kind == kind,
        Alert.subject == subject,
        Alert.over_at.is_(None),
        Alert.acknowledged_at.is_(None),
    )
    return session.scalar(select(func.count()).select_from(Alert).where(*of_kind)) or 0


def _short(value: Any) -> Any:
    """Numbers that have a canonical form as they are, all else as text that any database takes."""
    if value is None:
        return value
    if isinstance(value, int | float) and abs(value) <= canonical.MAX_INTEGER:
        return value
    return str(value)[:MAX_TEXT].encode("utf-8", "replace").decode().replace("\0", " ")
