"""/v1/views: lists of the explorer with their filters that a person keeps under a name."""

from __future__ import annotations

from typing import Annotated

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Path, Request
from pydantic import AfterValidator, Field

from node import saved_views
from node.api.auth import Actor, require
from node.api.operator import OperatorRoute
from node.api.pages import Page
from node.api.views import saved as view
from node.api.views.model import Asked
from node.api.views.saved import SavedShown
from node.saved_views import MAX_NAME, MAX_QUERY
from node.ui.lists import LISTS

router = APIRouter(prefix="/views", tags=["site"], route_class=OperatorRoute)

Anybody = Annotated[Actor, Depends(require())]
ViewId = Annotated[str, Path(pattern=r"^[0-9a-f-]{36}$")]


def _is_list(name: str) -> str:
    if name not in LISTS:
        raise ValueError(f"there is no such list; there are {', '.join(LISTS)}")
    return name


class NewView(Asked):
    """`query` is what stands behind the ? in the list's address; what is no filter is dropped."""

    name: str = Field(min_length=1, max_length=MAX_NAME)
    list: Annotated[str, AfterValidator(_is_list)] = Field(json_schema_extra={"enum": [*LISTS]})
    query: str = Field("", max_length=MAX_QUERY)


@router.get("", summary="One's own saved views")
def list_views(request: Request, actor: Anybody) -> Page[SavedShown]:
    with request.app.state.site.store.read() as session:
        return Page(items=view.of(session, actor.id), next=None)


@router.post("", status_code=201, summary="Save a list with its filter")
async def save_view(request: Request, actor: Anybody, body: NewView) -> SavedShown:
    def save() -> SavedShown:
        store, filters = request.app.state.site.store, LISTS[body.list].filters
        kept = saved_views.keep(store, actor.id, body.name, body.list, body.query, filters)
        return view.show(kept)

    return await run_sync(save)


@router.post("/{id}/watch", summary="Raise an alert when the list of a view has something new")
async def watch_view(request: Request, actor: Anybody, id: ViewId) -> Page[SavedShown]:
    """One's own views as they are then."""
    store = request.app.state.site.store
    await run_sync(saved_views.watch, store, actor.id, id)
    return await run_sync(list_views, request, actor)


@router.post("/{id}/unwatch", summary="Raise none any more")
async def unwatch_view(request: Request, actor: Anybody, id: ViewId) -> Page[SavedShown]:
    """One's own views as they are then."""
    store = request.app.state.site.store
    await run_sync(saved_views.unwatch, store, actor.id, id)
    return await run_sync(list_views, request, actor)


@router.post("/{id}/remove", summary="Remove one of one's own views")
async def remove_view(request: Request, actor: Anybody, id: ViewId) -> Page[SavedShown]:
    """What is left."""
    store = request.app.state.site.store
    await run_sync(saved_views.remove, store, actor.id, id)
    return await run_sync(list_views, request, actor)
