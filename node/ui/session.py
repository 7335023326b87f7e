"""Who may read the pages: whoever may act at the site, or anybody where the settings open them.

A person signs in with a wallet (`static/wallet.js`, `node.api.sign_in`), the operator shows the
site's token once, in a form.  What the browser keeps is a random cookie that stands for a session
in the database (`node.people`).
"""

from __future__ import annotations

import time
from urllib.parse import parse_qs, urlsplit

from fastapi import Request, Response
from fastapi.responses import RedirectResponse
from starlette.concurrency import run_in_threadpool

from node import people
from node.api.auth import (
    COOKIE,
    READING,
    UNKNOWN,
    Gate,
    actor_of,
    address_of,
    refused,
    set_cookie,
    take_cookie,
)
from node.audit.entries import OPERATOR, record
from node.errors import NodeError, Unauthenticated
from node.people import Actor
from node.site import Site

MAX_FORM_BYTES = 4096


def is_operator(request: Request) -> bool:
    """Whether somebody is signed in; a token or key that is nobody's is as none."""
    return reader(request) is not None


def reader(request: Request) -> Actor | None:
    """Who reads, if anybody is signed in; what a form brings is looked at by its own handler."""
    if request.method not in READING:
        return None
    try:
        return actor_of(request)
    except NodeError:
        return None


def may_read(request: Request) -> bool:
    return bool(request.app.state.site.settings.explorer_open) or is_operator(request)


def require_reader(request: Request) -> None:
    """Raises `Unauthenticated`."""
    if not may_read(request):
        raise Unauthenticated(
            "Unauthenticated",
            "this page is for the site's operator",
            hint="sign in at /login, or send the operator's token",
        )


def to_login(request: Request) -> Response:
    """To the form, and back to this page after it."""
    target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    login = request.url_for("login").include_query_params(next=target)
    return RedirectResponse(f"{login.path}?{login.query}", 303)


async def sign_in(request: Request) -> Response | None:
    """The answer to a form with the right token; None when it is not the right one."""
    # Read by hand: the form has two fields, and nothing of it is a file.
    body = await request.body()
    if len(body) > MAX_FORM_BYTES:
        return None
    form = parse_qs(body.decode("utf-8", "replace"), max_num_fields=4)
    return await run_in_threadpool(_begin, request, form)


def _begin(request: Request, form: dict[str, list[str]]) -> Response | None:
    gate: Gate = request.app.state.gate
    site: Site = request.app.state.site
    if not gate.holds(form.get("token", [""])[0].strip()):
        gate.bad_credentials.count(address_of(request))
        refused(request, UNKNOWN, Unauthenticated("Unauthenticated", "this is not the token"))
        return None
    with site.store.begin() as session:
        cookie, expires_at = people.start_session(session, gate.cookies, None, time.time())
        data = {"how": "token", "until": int(expires_at)}
        record(
            session, "person.signed_in", site.settings.site_id or site.settings.name, data, OPERATOR
        )
    answer = RedirectResponse(own_path(form.get("next", ["/"])[0]), 303)
    set_cookie(answer, cookie, site)
    return answer


def sign_out(request: Request) -> Response:
    """Ends the session wherever a copy of the cookie lies."""
    end(request)
    answer = RedirectResponse("/login", 303)
    take_cookie(answer)
    return answer


def end(request: Request) -> None:
    gate: Gate = request.app.state.gate
    site: Site = request.app.state.site
    if cookie := request.cookies.get(COOKIE):
        people.end_session(site.store, gate.cookies.digest(cookie))


def own_path(target: str) -> str:
    """`target` if it is a path of this site, else the first page: a form sends nobody elsewhere."""
    parts = urlsplit(target)
    plain = target.isprintable() and "\\" not in target
    local = not parts.scheme and not parts.netloc and target.startswith("/") and plain
    return target if local and not target.startswith("//") else "/"
