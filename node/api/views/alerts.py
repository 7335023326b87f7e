"""Alerts as they are shown: the API's answer, and what the explorer's page is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, func, or_, select, tuple_

from node.alerts import KINDS, Severity, is_open
from node.api.pages import Page, from_cursor, to_cursor
from node.api.views.model import Shown
from node.api.views.names import Names
from node.errors import NotFound
from node.store import Alert, WebhookDelivery
from node.ui.messages import Language, translate

if TYPE_CHECKING:
    from node.site import Site

OPEN = (Alert.over_at.is_(None), Alert.acknowledged_at.is_(None))


class AlertShown(Shown):
    """`open`: nobody acknowledged it and it is not over. `title` says what it is about, `todo` what
    to do, in the language asked for. `evidence` differs by kind. Times are UTC seconds."""

    id: str
    kind: str
    severity: Severity
    open: bool
    subject: str
    name: str | None
    title: str
    todo: str
    evidence: dict[str, Any]
    first_seen: float
    last_seen: float
    count: int
    over_at: float | None
    acknowledged_at: float | None
    acknowledged_by: str | None


class AlertCounts(Shown):
    """Of open ones."""

    critical: int
    warning: int
    notice: int


class DeliveryShown(Shown):
    """A message to the webhook; `due_at` null: delivered, or given up."""

    id: str
    attempts: int
    created_at: float
    due_at: float | None
    delivered_at: float | None
    problem: str


def page(
    site: Site,
    names: Names,
    *,
    is_open: bool | None = None,
    kind: str | None = None,
    subject: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
    language: Language = "en",
) -> Page[AlertShown]:
    """Newest first; raises `Invalid` for a cursor that is none."""
    query: Select[Alert] = select(Alert).order_by(Alert.first_seen.desc(), Alert.id.desc())
    if is_open is True:
        query = query.where(*OPEN)
    elif is_open is False:
        query = query.where(or_(Alert.over_at.is_not(None), Alert.acknowledged_at.is_not(None)))
    if kind is not None:
        query = query.where(Alert.kind == kind)
    if subject is not None:
        query = query.where(Alert.subject == subject)
    position = from_cursor(cursor, float, str)
    if position is not None:
        query = query.where(tuple_(Alert.first_seen, Alert.id) < position)
    with site.store.read() as session:
        rows = list(session.scalars(query.limit(limit + 1)))
    following = None
    if len(rows) > limit:
        last = rows[limit - 1]
        following = to_cursor(float(last.first_seen), last.id)
    return Page(items=[_shown(row, names, language) for row in rows[:limit]], next=following)


def show(site: Site, names: Names, id: str, language: Language = "en") -> AlertShown:
    """Raises `NotFound`."""
    with site.store.read() as session:
        row = session.get(Alert, id)
    if row is None:
        raise NotFound("NotFound", "this site raised no such alert", found=id)
    return _shown(row, names, language)


def counts(site: Site) -> AlertCounts:
    """How many are open, for a badge."""
    query = select(Alert.severity, func.count().label("open")).where(*OPEN).group_by(Alert.severity)
    with site.store.read() as session:
        found = {row.severity: row.open for row in session.execute(query)}
    return AlertCounts(**{name: found.get(name, 0) for name in AlertCounts.model_fields})


def deliveries(site: Site, limit: int = 20) -> list[DeliveryShown]:
    """The newest messages to the webhook."""
    query = select(WebhookDelivery).order_by(WebhookDelivery.created_at.desc()).limit(limit)
    with site.store.read() as session:
        return [
            DeliveryShown(**{name: getattr(row, name) for name in DeliveryShown.model_fields})
            for row in session.scalars(query)
        ]


def kinds() -> tuple[str, ...]:
    """All there are, for a filter."""
    return tuple(KINDS)


def _shown(row: Alert, names: Names, language: Language) -> AlertShown:
    return AlertShown(
        id=row.id,
        kind=row.kind,
        severity=KINDS[row.kind].severity,
        open=is_open(row),
        subject=row.subject,
        name=_name(row, names),
        title=translate(language, f"alert.{row.kind}"),
        todo=translate(language, f"alert.{row.kind}.do"),
        evidence=row.evidence,
        first_seen=row.first_seen,
        last_seen=row.last_seen,
        count=row.count,
        over_at=row.over_at,
        acknowledged_at=row.acknowledged_at,
        acknowledged_by=row.acknowledged_by,
    )


def _name(row: Alert, names: Names) -> str | None:
    if row.kind == "view.new":
        return str(row.evidence.get("list", ""))
    return names.site(row.subject).name if row.kind.startswith(_OF_SITES) else None


_OF_SITES = ("log.", "anchor.", "site.", "key.", "operator.", "mirror.", "own.", "chain.")
