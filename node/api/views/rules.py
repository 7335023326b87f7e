"""Standing rules as they are shown."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from node.api.views.model import Shown
from node.errors import NotFound
from node.rules import Conditions, used_on
from node.store import Approval, ApprovalRule

if TYPE_CHECKING:
    from node.site import Site


class RuleShown(Shown):
    """`active`: it approves now. Times are UTC seconds; `approved` counts all its jobs."""

    id: str
    name: str
    conditions: Conditions
    until: float
    active: bool
    used_today: int
    approved: int
    created_by: str
    created_at: float
    removed_at: float | None
    removed_by: str | None


def every(site: Site) -> list[RuleShown]:
    """Oldest first: in the order in which they are tried; those that ended or were removed, too."""
    query = select(ApprovalRule).order_by(ApprovalRule.created_at, ApprovalRule.id)
    with site.store.read() as session:
        return [_shown(session, row) for row in session.scalars(query)]


def show(site: Site, id: str) -> RuleShown:
    """Raises `NotFound`."""
    with site.store.read() as session:
        row = session.get(ApprovalRule, id)
        if row is None:
            raise NotFound("NotFound", "this site has no such rule", found=id)
        return _shown(session, row)


def _shown(session: Session, row: ApprovalRule) -> RuleShown:
    now = time.time()
    approved = select(func.count()).select_from(Approval).where(Approval.rule_id == row.id)
    return RuleShown(
        id=row.id,
        name=row.name,
        conditions=Conditions.model_validate(row.conditions),
        until=row.until,
        active=row.removed_at is None and now < row.until,
        used_today=used_on(session, row.id, now),
        approved=session.scalar(approved) or 0,
        created_by=row.created_by,
        created_at=row.created_at,
        removed_at=row.removed_at,
        removed_by=row.removed_by,
    )
