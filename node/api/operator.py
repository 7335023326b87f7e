"""The order in which an actor's request is looked at: who, role, size, repetition, handler, entry.

``Idempotency-Key`` on a POST makes a repetition safe: the same key with the same request of the
same actor gives the first answer again, with another request it is refused; other actors have keys
of their own.  A request that failed leaves its key free.  A key is remembered for a day.

Every request that may change something is entered in the audit log once, with the actor, the
credential, the route and the answer's status; what is recorded on the way names the same actor.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from sqlalchemy import delete

from node.api.auth import (
    READING,
    Actor,
    actor_of,
    needs,
    require_actor,
    subject_of,
    template_of,
)
from node.api.problems import as_node_error
from node.audit.entries import acting_as, record
from node.errors import Conflict, Invalid
from node.site import Site
from node.store import IdempotencyKey, Store

KEPT_SECONDS = 24 * 3600
UNANSWERED_SECONDS = 120  # after this a request without an answer is taken for interrupted
MAX_KEY = 120

Place = tuple[str, str]  # actor and key
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class OperatorRoute(APIRoute):
    """A route for actors: those with a role that `require` names among its dependencies.

    Reading is for every actor unless a role is named; what changes something and names no role is
    for operators alone.
    """

    keeps_answers = True

    @property
    def roles(self) -> list[tuple[str, ...]]:
        """Of each of these an actor needs one; ``()`` is every actor."""
        named = needs(self.dependant)
        if named or (self.methods or set()) <= READING:
            return named
        return [("operator",)]

    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()
        needed = self.roles

        def admit(request: Request) -> Actor:
            actor = require_actor(request)
            for roles in needed:
                require_actor(request, *roles)
            return actor

        async def handle_for_actor(request: Request) -> Response:
            actor = await asyncio.to_thread(admit, request)
            body = await request.body()
            if request.method in READING:
                return await handle(request)
            with acting_as(actor.id):
                key = request.headers.get("idempotency-key")
                if key is None or request.method != "POST" or not self.keeps_answers:
                    return await _acted(request, actor, handle)
                return await _once(request, actor, key, body, handle)

        return handle_for_actor


class SecretRoute(OperatorRoute):
    """A route that answers with a secret: the answer is given once and kept nowhere."""

    keeps_answers = False


def scoped_key(request: Request) -> str | None:
    """The request's Idempotency-Key as one that no other actor can use.

    What takes its id from the key (datasets, grants) takes it from this.
    """
    key = request.headers.get("idempotency-key")
    actor = actor_of(request)
    if key is None or actor is None or actor.address is None:
        return key
    return f"{actor.id}:{key}"


async def _acted(request: Request, actor: Actor, handle: Handler) -> Response:
    """Handle the request, and enter that the actor made it and how it ended."""
    try:
        answer = await handle(request)
    except Exception as error:
        await asyncio.to_thread(_enter, request, actor, as_node_error(error).status, b"")
        raise
    await asyncio.to_thread(_enter, request, actor, answer.status_code, bytes(answer.body))
    return answer


def _enter(request: Request, actor: Actor, status: int, body: bytes) -> None:
    data = {
        "how": actor.how,
        "method": request.method,
        "route": template_of(request),
        "status": status,
    }
    if actor.how == "api-key":
        data["key"] = str(actor.credential)
    site: Site = request.app.state.site
    with site.store.begin() as session:
        subject = _made(request, body) or subject_of(request)
        record(session, "person.acted", subject, data, actor.id)


def _made(request: Request, body: bytes) -> str | None:
    """The id of what a request without an id in its path has made."""
    if request.path_params or not body.startswith(b"{"):
        return None
    id = json.loads(body).get("id")
    return id if isinstance(id, str) and len(id) <= 80 else None


async def _once(request: Request, actor: Actor, key: str, body: bytes, handle: Handler) -> Response:
    if not key.isascii() or not 0 < len(key) <= MAX_KEY:
        raise Invalid(
            "InvalidRequest",
            f"an Idempotency-Key has 1 to {MAX_KEY} ASCII characters",
            found=f"{len(key)} characters",
        )
    store: Store = request.app.state.site.store
    digest = _digest(request, body)
    place = (actor.id, key)
    first = await asyncio.to_thread(_claim, store, place, digest)
    if first is not None:
        return JSONResponse(first[1], first[0], headers={"Idempotency-Replayed": "true"})
    try:
        answer = await _acted(request, actor, handle)
    except BaseException:
        await asyncio.to_thread(_release, store, place)
        raise
    await asyncio.to_thread(_keep, store, place, answer)
    return answer


def _digest(request: Request, body: bytes) -> str:
    """Over what the request asks for: method, path, query (``wait`` aside) and body."""
    query = sorted(item for item in request.query_params.multi_items() if item[0] != "wait")
    head = json.dumps([request.method, request.url.path, query]).encode()
    return "0x" + hashlib.sha256(head + b"\0" + body).hexdigest()


def _claim(store: Store, place: Place, digest: str) -> tuple[int, dict[str, Any]] | None:
    """The first answer, or None when this request is the first.  Raises `Conflict`."""
    now = time.time()
    with store.begin() as session:
        session.execute(
            delete(IdempotencyKey).where(IdempotencyKey.created_at < now - KEPT_SECONDS)
        )
        row = session.get(IdempotencyKey, place)
        if row is None:
            actor, key = place
            session.add(IdempotencyKey(actor=actor, key=key, request_digest=digest, created_at=now))
            return None
        if row.request_digest != digest:
            raise Conflict(
                "IdempotencyConflict",
                "this Idempotency-Key was used for another request",
                hint="use a new key for a new request",
            )
        if row.status is not None and row.body is not None:
            return row.status, row.body
        if row.created_at > now - UNANSWERED_SECONDS:
            raise Conflict(
                "IdempotencyConflict",
                "the first request with this Idempotency-Key is still being answered",
                hint="wait for it, or ask again in a moment",
            )
        row.created_at = now  # the first one was interrupted: this one takes its place
        return None


def _release(store: Store, place: Place) -> None:
    with store.begin() as session:
        row = session.get(IdempotencyKey, place)
        if row is not None and row.status is None:
            session.delete(row)


def _keep(store: Store, place: Place, answer: Response) -> None:
    with store.begin() as session:
        row = session.get(IdempotencyKey, place)
        if row is not None:
            row.status = answer.status_code
            row.body = json.loads(bytes(answer.body))
