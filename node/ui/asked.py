"""What a request asks of a page: the site, a cursor, a filter, an identifier of its address."""

from __future__ import annotations

import re
from types import SimpleNamespace

from fastapi import Request

from node.api.views.known import Known
from node.api.views.model import ID_PATTERN
from node.api.views.names import Names
from node.errors import NotFound
from node.site import Site
from node.ui.messages import Language, choose

LANGUAGE_COOKIE = "fatechain_language"


def site_of(request: Request) -> Site:
    site: Site = request.app.state.site
    return site


def names_of(request: Request) -> Names:
    names: Names = request.app.state.names
    return names


def known_of(request: Request) -> Known:
    known: Known = request.app.state.known
    return known


def asking(site: Site, path: str, query: str) -> Request:
    """As somebody who is not signed in asks for a list: without a browser, from within the node."""
    held = SimpleNamespace(site=site, names=Names(site.network), known=Known())
    return Request(
        {
            "type": "http",
            "method": "GET",
            "path": path,
            "query_string": query.encode(),
            "headers": [],
            "app": SimpleNamespace(state=held),
        }
    )


def cursor_of(request: Request) -> str | None:
    return request.query_params.get("cursor")


def choice_of(request: Request, name: str, allowed: tuple[str, ...]) -> str | None:
    """A filter of the address; anything unknown filters nothing."""
    value = request.query_params.get(name)
    return value if value in allowed else None


def language_of(request: Request) -> Language:
    """What the address asks for, else what a cookie keeps, else what the browser prefers."""
    return choose(
        request.query_params.get("lang"),
        request.cookies.get(LANGUAGE_COOKIE),
        request.headers.get("accept-language", ""),
    )


def id_of(request: Request) -> str:
    id: str = request.path_params["id"]
    if not re.match(ID_PATTERN, id):
        raise NotFound("NotFound", "an identifier is 0x-hex of 32 bytes", found=id[:80])
    return id
