"""How much happened at this site: entries of its log by day, its jobs by state."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from node.api.views.model import Shown
from node.lifecycle import JOB_MOVES
from node.store import AuditEntry, LocalJob

DAYS = 14


class Day(Shown):
    """`day` is a date in UTC."""

    day: str
    entries: int


class StateCount(Shown):
    state: str
    jobs: int


class Activity(Shown):
    """`days` end with today; `states` are those that some job has."""

    days: list[Day]
    states: list[StateCount]


def show(session: Session, now: float) -> Activity:
    return Activity(days=_days(session, now), states=_states(session))


def _days(session: Session, now: float) -> list[Day]:
    """By where each day begins in the log: however long it is, as many rows are read as there are
    days."""
    today = datetime.fromtimestamp(now, UTC).date()
    dates = [(today - timedelta(days=back)).isoformat() for back in range(DAYS - 1, -1, -1)]
    last = session.scalar(select(func.max(AuditEntry.index)))
    size = 0 if last is None else last + 1
    first = [
        session.scalar(
            select(AuditEntry.index)
            .where(AuditEntry.time >= date)
            .order_by(AuditEntry.time, AuditEntry.index)
            .limit(1)
        )
        for date in dates
    ]
    begins = [size if index is None else index for index in first]
    ends = [*begins[1:], size]
    return [
        Day(day=date, entries=max(0, end - begin))
        for date, begin, end in zip(dates, begins, ends, strict=True)
    ]


def _states(session: Session) -> list[StateCount]:
    """In the order of a job's life."""
    query = select(LocalJob.state, func.count()).group_by(LocalJob.state)
    counts = {row.state: int(row[1]) for row in session.execute(query)}
    return [StateCount(state=state, jobs=counts[state]) for state in JOB_MOVES if state in counts]
