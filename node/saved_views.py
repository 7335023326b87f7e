"""Views that people keep: a list of the explorer with its filter, under a name.

They are a person's own; the holder of the operator's token has some, too, as "operator".
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode

from sqlalchemy import JSON, String, delete, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from node.errors import Conflict, Invalid, NotFound
from node.store import Base, Store, new_uuid

MOST = 100  # of one person
MOST_WATCHED = 20  # of these
MAX_NAME = 80
MAX_QUERY = 500


class SavedView(Base):
    __tablename__ = "saved_view"
    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_uuid)
    owner: Mapped[str] = mapped_column(String(80), index=True)  # an actor's id
    name: Mapped[str] = mapped_column(String(MAX_NAME))
    list: Mapped[str] = mapped_column(String(20))
    query: Mapped[str] = mapped_column(String(MAX_QUERY))
    created_at: Mapped[float] = mapped_column(default=time.time)


class WatchedView(Base):
    """A view that tells when its list has something new (`node.watching`)."""

    __tablename__ = "watched_view"
    view: Mapped[str] = mapped_column(String(36), primary_key=True)
    seen: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True))  # None: not looked yet
    looked_at: Mapped[float | None]
    found_at: Mapped[float | None]  # when something new was last found, and how much
    found: Mapped[int] = mapped_column(default=0)
    problem: Mapped[str] = mapped_column(String(200), default="")  # of the last look
    created_at: Mapped[float] = mapped_column(default=time.time)


def of(session: Session, owner: str) -> list[SavedView]:
    """By name."""
    query = select(SavedView).where(SavedView.owner == owner).order_by(SavedView.name, SavedView.id)
    return list(session.scalars(query))


def keep(
    store: Store, owner: str, name: str, list: str, query: str, filters: tuple[str, ...]
) -> SavedView:
    """Of the query only what ``filters`` names is kept.

    Raises `Invalid` for a query that is too long, `Conflict` (``TooManyViews``).
    """
    if len(query) > MAX_QUERY:
        raise Invalid(
            "InvalidRequest", "the filter is too long", found=len(query), allowed=MAX_QUERY
        )
    kept = urlencode([(key, value) for key, value in parse_qsl(query) if key in filters])
    with store.begin() as session:
        held = session.scalar(
            select(func.count()).select_from(SavedView).where(SavedView.owner == owner)
        )
        if (held or 0) >= MOST:
            raise Conflict("TooManyViews", "remove a view first", found=held, allowed=MOST)
        view = SavedView(owner=owner, name=name, list=list, query=kept[:MAX_QUERY])
        session.add(view)
        session.flush()
    return view


def remove(store: Store, owner: str, id: str) -> None:
    """Raises `NotFound` for what is not this person's."""
    with store.begin() as session:
        view = _own(session, owner, id)
        session.execute(delete(WatchedView).where(WatchedView.view == id))
        session.delete(view)


def watch(store: Store, owner: str, id: str) -> None:
    """Tell from now on when the list has something new.

    Raises `NotFound` for what is not this person's, `Conflict` (``TooManyViews``).
    """
    with store.begin() as session:
        _own(session, owner, id)
        if session.get(WatchedView, id) is not None:
            return
        mine = select(SavedView.id).where(SavedView.owner == owner)
        held = select(func.count()).where(WatchedView.view.in_(mine))
        if (found := session.scalar(held) or 0) >= MOST_WATCHED:
            raise Conflict(
                "TooManyViews", "let another view be silent", found=found, allowed=MOST_WATCHED
            )
        session.add(WatchedView(view=id))


def unwatch(store: Store, owner: str, id: str) -> None:
    """Tell no more.  Raises `NotFound` for what is not this person's."""
    with store.begin() as session:
        _own(session, owner, id)
        session.execute(delete(WatchedView).where(WatchedView.view == id))


def watched(session: Session, ids: Sequence[str]) -> dict[str, WatchedView]:
    """Those of these views that tell, by the view's id."""
    query = select(WatchedView).where(WatchedView.view.in_(ids))
    return {row.view: row for row in session.scalars(query)}


def _own(session: Session, owner: str, id: str) -> SavedView:
    view = session.get(SavedView, id)
    if view is None or view.owner != owner:
        raise NotFound("NotFound", "you have no such view", found=id)
    return view
