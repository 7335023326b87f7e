"""Confirmed events of the contracts."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from node.api.views.model import Shown
from node.index.finding import find
from node.store import ChainEvent


class EventShown(Shown):
    block: int
    log_index: int
    tx_hash: str
    contract: str
    name: str
    args: dict[str, Any]


def event_shown(row: ChainEvent) -> EventShown:
    return EventShown(
        block=row.block,
        log_index=row.log_index,
        tx_hash=row.tx_hash,
        contract=row.contract,
        name=row.name,
        args=row.args,
    )


def naming(session: Session, question: str, *, limit: int) -> list[EventShown]:
    """The newest events that have an id, newest first; further words narrow them (an event's name).

    As far as the search index has read (`node.index.indexing.behind`).
    """
    found = find(session, question, limit=limit, kinds=("event",))
    places = [tuple(map(int, each.key.split("."))) for answer in found for each in answer.found]
    query = (
        select(ChainEvent)
        .where(tuple_(ChainEvent.block, ChainEvent.log_index).in_(places))
        .order_by(ChainEvent.block.desc(), ChainEvent.log_index.desc())
    )
    return [event_shown(row) for row in session.scalars(query)]
