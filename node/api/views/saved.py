"""Saved views as they are shown to whose they are."""

from __future__ import annotations

from sqlalchemy.orm import Session

from node import saved_views
from node.api.views.model import Shown
from node.saved_views import SavedView, WatchedView


class SavedShown(Shown):
    """`link` is the list with its filter; times are UTC seconds.

    `watched`: an alert tells when the list has something new; `found` were at `found_at`, null
    where nothing was new since.  `problem`: why the last look at the list failed.
    """

    id: str
    name: str
    list: str
    link: str
    created_at: float
    watched: bool
    found: int
    found_at: float | None
    problem: str


def show(view: SavedView, watched: WatchedView | None = None) -> SavedShown:
    query = f"?{view.query}" if view.query else ""
    return SavedShown(
        id=view.id,
        name=view.name,
        list=view.list,
        link=f"/{view.list}{query}",
        created_at=view.created_at,
        watched=watched is not None,
        found=0 if watched is None else watched.found,
        found_at=None if watched is None else watched.found_at,
        problem="" if watched is None else watched.problem,
    )


def of(session: Session, owner: str) -> list[SavedShown]:
    """All of one person's, by name."""
    views = saved_views.of(session, owner)
    told = saved_views.watched(session, [view.id for view in views])
    return [show(view, told.get(view.id)) for view in views]
