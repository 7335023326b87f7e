"""Saved views as they are shown to whose they are."""

from __future__ import annotations

from node.api.views.model import Shown
from node.saved_views import SavedView


class SavedShown(Shown):
    """`link` is the list with its filter; `created_at` is UTC seconds."""

    id: str
    name: str
    list: str
    link: str
    created_at: float


def show(view: SavedView) -> SavedShown:
    query = f"?{view.query}" if view.query else ""
    return SavedShown(
        id=view.id,
        name=view.name,
        list=view.list,
        link=f"/{view.list}{query}",
        created_at=view.created_at,
    )
