"""/v1/search: one question over everything that this site knows."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request

from node.api.auth import actor_of
from node.api.evidence import EVIDENCE
from node.api.operator import OperatorRoute
from node.api.pages import Cursor
from node.api.views import search as view
from node.api.views.search import MAX_QUERY, Results
from node.ui import hits
from node.ui.messages import Language

router = APIRouter(tags=["evidence"], route_class=OperatorRoute, dependencies=[EVIDENCE])


@router.get("/search", summary="What a text leads to, kind by kind")
def search(
    request: Request,
    q: Annotated[
        str,
        Query(
            max_length=MAX_QUERY,
            description="An id or its beginning, a number, a name, words; all must occur.",
        ),
    ],
    kind: Annotated[
        str | None, Query(max_length=20, description="This kind alone, in pages.")
    ] = None,
    cursor: Cursor = None,
    language: Annotated[Language, Query(description="Of what hits say.")] = "en",
) -> Results:
    """`says` tells in words what entries, events and transactions are."""
    actor = actor_of(request)
    with_people = actor is not None and actor.may("operator", "auditor")
    site = request.app.state.site
    found = view.search(site, q, kind=kind, cursor=cursor, with_people=with_people)
    return hits.told(site, found, language, request.app.state.known)
