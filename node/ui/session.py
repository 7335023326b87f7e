"""Who may read the pages: the operator, or anybody where the settings open them.

The operator shows the token once, in a form; what the browser keeps is a sealed expiry
(`node.api.auth.Operator.new_session`).  Pages change nothing, so the form is the only one there is.
"""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from node.api.auth import COOKIE, SESSION_SECONDS, Operator, has_token
from node.errors import Unauthenticated

MAX_FORM_BYTES = 4096


def is_operator(request: Request) -> bool:
    operator: Operator = request.app.state.operator
    return operator.knows_session(request.cookies.get(COOKIE, "")) or has_token(request)


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
    operator: Operator = request.app.state.operator
    if not operator.holds(form.get("token", [""])[0].strip()):
        return None
    answer = RedirectResponse(own_path(form.get("next", ["/"])[0]), 303)
    answer.set_cookie(
        COOKIE,
        operator.new_session(),
        max_age=SESSION_SECONDS,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return answer


def sign_out() -> Response:
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return answer


def own_path(target: str) -> str:
    """`target` if it is a path of this site, else the first page: a form sends nobody elsewhere."""
    parts = urlsplit(target)
    plain = target.isprintable() and "\\" not in target
    local = not parts.scheme and not parts.netloc and target.startswith("/") and plain
    return target if local and not target.startswith("//") else "/"
