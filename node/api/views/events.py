"""Confirmed events of the contracts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import select, tuple_, union_all
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


def newest_of(
    session: Session, kinds: Sequence[tuple[str, str]], *, limit: int, below: int | None = None
) -> list[ChainEvent]:
    """The newest events of some kinds, (contract, name), below a row's number.

    Each kind is read from the end of its index, so the rare ones cost no more among millions of
    others.
    """
    parts = []
    for contract, name in kinds:
        of_kind = select(ChainEvent.id).where(
            ChainEvent.contract == contract, ChainEvent.name == name
        )
        if below is not None:
            of_kind = of_kind.where(ChainEvent.id < below)
        last = of_kind.order_by(ChainEvent.id.desc()).limit(limit).subquery()
        parts.append(select(last.c.id))
    if not parts:
        return []
    found = union_all(*parts).subquery()
    ids = select(found.c.id).order_by(found.c.id.desc()).limit(limit)
    rows = select(ChainEvent).where(ChainEvent.id.in_(ids)).order_by(ChainEvent.id.desc())
    return list(session.scalars(rows))


def kinds_of(contract: str | None, name: str | None) -> list[tuple[str, str]]:
    """The kinds of events that a contract's and an event's name leave, of those that there are."""
    from chain.compile import CONTRACTS

    return [
        (each, declared)
        for each in CONTRACTS
        if contract in (None, each)
        for declared in (*_declared(each), "Unknown")
        if name in (None, declared)
    ]


@cache
def _declared(contract: str) -> tuple[str, ...]:
    from chain.compile import load

    return tuple(sorted({e["name"] for e in load(contract).abi if e["type"] == "event"}))


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
