"""Views that people keep: a list of the explorer with its filter, under a name.

They are a person's own; the holder of the operator's token has some, too, as "operator".
"""

from __future__ import annotations

import time
from urllib.parse import parse_qsl, urlencode

from sqlalchemy import String, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from node.errors import Conflict, Invalid, NotFound
from node.store import Base, Store, new_uuid

MOST = 100  # of one person
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
        view = session.get(SavedView, id)
        if view is None or view.owner != owner:
            raise NotFound("NotFound", "you have no such view", found=id)
        session.delete(view)
