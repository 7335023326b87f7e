"""Who asks: the holder of the site's token, a person who signed in, or a program with a key.

The token lies in ``HOME/secrets/operator-token``.  It is compared in constant time, and only as
a SHA-256 digest, so that neither its length nor its beginning can be found by timing.  It has all
roles, always: whoever can read the home cannot be locked out.  People and their credentials are
`node.people`.

    @router.post("/grants", dependencies=[Depends(require("data-owner"))])
    def sign_grant(actor: Annotated[Actor, Depends(require("data-owner"))]): ...

`require` admits actors with any of the roles; ``require()`` admits every actor.  A browser's
session counts for a request that changes something only with the marks of `forgery_guard`.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts
from fastapi.security import HTTPBearer
from starlette.concurrency import run_in_threadpool

from node import people
from node.api.attempts import Attempts
from node.audit.entries import record
from node.errors import NodeError, Refused, Unauthenticated
from node.origins import origin_of
from node.people import ROLES, Actor, Cookies
from node.sign_in import Nonces
from node.site import Site

__all__ = [
    "COOKIE",
    "ROLES",
    "Actor",
    "Gate",
    "RoleMissing",
    "actor_of",
    "needs",
    "require",
    "require_actor",
    "scheme",
]

COOKIE = "fatechain_session"
UNKNOWN = "unknown"  # the actor of an entry where nobody could be told
OWN_PAGE = "x-fatechain-request"  # a header that no form and no page from elsewhere can send
READING = frozenset({"GET", "HEAD", "OPTIONS"})

scheme = HTTPBearer(
    auto_error=False,
    description="An API key, or the operator's token: the content of secrets/operator-token in "
    "the site's home. A browser that signed in brings its cookie instead.",
)
"""For the OpenAPI document; what decides is `require_actor`."""


class RoleMissing(Refused):
    """The actor is known and may do other things than this."""

    def __init__(self, actor: Actor, roles: tuple[str, ...]) -> None:
        super().__init__(
            "RoleMissing",
            f"this needs the role {' or '.join(roles)}",
            found=[role for role in ROLES if role in actor.roles],
            allowed=list(roles),
            hint="an operator of the site gives roles: `fatechain person roles`",
        )


class Gate:
    """What one application knows of credentials: the token, cookies, and who tried how often.

    Raises FileNotFoundError where the home has no token.
    """

    def __init__(self, token: str) -> None:
        self._digest = hashlib.sha256(token.encode()).digest()
        self.cookies = Cookies(token)
        self.nonces = Nonces(token)
        self.bad_credentials = Attempts(limit=20, seconds=60)
        self.nonces_asked = Attempts(limit=30, seconds=60)
        self.sign_ins = Attempts(limit=10, seconds=60)
        self.refusals_entered = Attempts(limit=60, seconds=3600)

    @classmethod
    def of_home(cls, home: Path) -> Gate:
        return cls((home / "secrets" / "operator-token").read_text(encoding="ascii").strip())

    def holds(self, token: str) -> bool:
        """Whether this is the site's token."""
        found = hashlib.sha256(token.encode(errors="surrogateescape")).digest()
        return hmac.compare_digest(found, self._digest)


# ── What routes use ──────────────────────────────────────────────────────────────────────────

_NEEDS: dict[Callable[..., object], tuple[str, ...]] = {}


@cache
def require(*roles: str) -> Callable[[Request], Awaitable[Actor]]:
    """A dependency that gives the actor, if he has any of the roles.

    Raises `Unauthenticated`, `RoleMissing`.
    """
    if not set(roles) <= set(ROLES):
        raise ValueError(f"{roles} names a role that is none of {', '.join(ROLES)}")

    async def admitted(request: Request) -> Actor:
        return await run_in_threadpool(require_actor, request, *roles)

    _NEEDS[admitted] = roles
    return admitted


def needs(dependant: Dependant) -> list[tuple[str, ...]]:
    """What a route asks of its actor: the roles of each `require` it depends on."""
    own = [_NEEDS[dependant.call]] if dependant.call in _NEEDS else []
    return own + [roles for inner in dependant.dependencies for roles in needs(inner)]


def require_actor(request: Request, *roles: str) -> Actor:
    """Raises `Unauthenticated` for nobody and for bad credentials, `RoleMissing`."""
    actor = actor_of(request)
    if actor is None:
        raise Unauthenticated(
            "Unauthenticated",
            "nobody is signed in",
            hint="send Authorization: Bearer with an API key or the content of "
            "secrets/operator-token, or sign in",
        )
    if not actor.may(*roles):
        raise refused(request, actor.id, RoleMissing(actor, roles))
    return actor


def actor_of(request: Request) -> Actor | None:
    """Who asks; None where no credentials came, or only a cookie that has ended.

    Raises `Unauthenticated` for credentials that are nobody's, `TooManyAttempts` when there were
    too many of them, and `Refused` (``ForeignRequest``) for a cookie that a page from elsewhere may
    have sent.
    """
    if not hasattr(request.state, "actor"):
        try:
            request.state.actor = _identify(request)
        except NodeError as error:
            request.state.actor = error  # counted and entered once, however often it is asked
    found: Actor | NodeError | None = request.state.actor
    if isinstance(found, NodeError):
        raise found
    return found


# ── How they are told apart ──────────────────────────────────────────────────────────────────


def _identify(request: Request) -> Actor | None:
    gate: Gate = request.app.state.gate
    site: Site = request.app.state.site
    if "authorization" in request.headers:
        return _of_header(request, gate, site)
    cookie = request.cookies.get(COOKIE)
    if not cookie:
        return None
    actor = people.session_actor(site.store, gate.cookies.digest(cookie), time.time())
    if actor is not None and request.method not in READING:
        forgery_guard(request, actor.id)
    return actor


def _of_header(request: Request, gate: Gate, site: Site) -> Actor:
    kind, _, given = request.headers["authorization"].partition(" ")
    token = given.strip() if kind.lower() == "bearer" else ""
    if token and gate.holds(token):
        return people.token_actor()
    actor = people.key_actor(site.store, token, time.time())
    if actor is not None:
        return actor
    # Only what is wrong is counted: nobody can lock the right ones out.
    gate.bad_credentials.count(address_of(request))
    raise refused(
        request,
        UNKNOWN,
        Unauthenticated(
            "Unauthenticated",
            "the token or API key is not one of this site's, or has ended",
            hint="send Authorization: Bearer with an API key, or with the content of "
            "secrets/operator-token",
        ),
    )


def forgery_guard(request: Request, actor: str = UNKNOWN) -> None:
    """A browser sends cookies with whatever any page asks of it: only our own pages count.

    ``Origin`` must be that of the endpoint in the settings, and the header X-FateChain-Request
    must be there, which no form can set and no other origin may.  Raises `Refused`.
    """
    site: Site = request.app.state.site
    own = origin_of(site.settings.endpoint)
    found = request.headers.get("origin")
    if found == own and request.headers.get(OWN_PAGE) == "1":
        return
    raise refused(
        request,
        actor,
        Refused(
            "ForeignRequest",
            "a browser's session changes things only from this site's own pages",
            found=None if found is None else found[:200],
            allowed=own,
            hint="open the node under its endpoint; programs send an API key instead of a cookie",
        ),
    )


def set_cookie(answer: Response, cookie: str, site: Site) -> None:
    """Kept from scripts and from other sites; over TLS only where the endpoint has it."""
    answer.set_cookie(
        COOKIE,
        cookie,
        max_age=people.SESSION_SECONDS,
        httponly=True,
        samesite="strict",
        secure=site.settings.endpoint.startswith("https:"),
    )


def take_cookie(answer: Response) -> None:
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict")


def refused(request: Request, actor: str, error: NodeError) -> NodeError:
    """The error, after it was entered in the audit log: so many an hour from one address.

    The log is shown to partners and never forgets, so it does not say from where somebody came.
    """
    gate: Gate = request.app.state.gate
    if gate.refusals_entered.take(address_of(request)) == 0:
        site: Site = request.app.state.site
        data = {"code": error.code, "method": request.method, "route": template_of(request)}
        with site.store.begin() as session:
            record(session, "person.refused", subject_of(request), data, actor)
    return error


def templates_of(app: FastAPI) -> dict[int, str]:
    """The whole path of each route by its identity: a route knows only its own part of it."""
    return {
        id(context.original_route): str(context.path)
        for context in iter_route_contexts(app.routes)
        if context.path is not None
    }


def template_of(request: Request) -> str:
    """The route's path with its parameters unfilled; an address that leads nowhere is not kept."""
    route = request.scope.get("route")
    known: dict[int, str] = request.app.state.templates
    return known.get(id(route)) or str(getattr(route, "path", "?"))


def subject_of(request: Request) -> str:
    """The id that the path names, or this site."""
    id = next(iter(request.path_params.values()), None)
    if id is not None and str(id).isascii() and len(str(id)) <= 80:
        return str(id)
    settings = request.app.state.site.settings
    return str(settings.site_id or settings.name)


def address_of(request: Request) -> str:
    """Where the request came from; behind a proxy what the proxy on this machine says."""
    return request.client.host if request.client is not None else "unknown"
