"""The order in which an operator's request is looked at: token, size, repetition, handler.

``Idempotency-Key`` on a POST makes a repetition safe: the same key with the same request gives
the first answer again, with another request it is refused.  A request that failed leaves its key
free.  A key is remembered for a day.
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

from node.api.auth import require_operator
from node.errors import Conflict, Invalid
from node.store import IdempotencyKey, Store

KEPT_SECONDS = 24 * 3600
UNANSWERED_SECONDS = 120  # after this a request without an answer is taken for interrupted
MAX_KEY = 120

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class OperatorRoute(APIRoute):
    """A route that only the operator may use."""

    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()

        async def handle_for_operator(request: Request) -> Response:
            require_operator(request)
            key = request.headers.get("idempotency-key")
            body = await request.body()
            if key is None or request.method != "POST":
                return await handle(request)
            return await _once(request, key, body, handle)

        return handle_for_operator


async def _once(request: Request, key: str, body: bytes, handle: Handler) -> Response:
    if not key.isascii() or not 0 < len(key) <= MAX_KEY:
        raise Invalid(
            "InvalidRequest",
            f"an Idempotency-Key has 1 to {MAX_KEY} ASCII characters",
            found=f"{len(key)} characters",
        )
    store: Store = request.app.state.site.store
    digest = _digest(request, body)
    first = await asyncio.to_thread(_claim, store, key, digest)
    if first is not None:
        return JSONResponse(first[1], first[0], headers={"Idempotency-Replayed": "true"})
    try:
        answer = await handle(request)
    except BaseException:
        await asyncio.to_thread(_release, store, key)
        raise
    await asyncio.to_thread(_keep, store, key, answer)
    return answer


def _digest(request: Request, body: bytes) -> str:
    """Over what the request asks for: method, path, query (``wait`` aside) and body."""
    query = sorted(item for item in request.query_params.multi_items() if item[0] != "wait")
    head = json.dumps([request.method, request.url.path, query]).encode()
    return "0x" + hashlib.sha256(head + b"\0" + body).hexdigest()


def _claim(store: Store, key: str, digest: str) -> tuple[int, dict[str, Any]] | None:
    """The first answer, or None when this request is the first.  Raises `Conflict`."""
    now = time.time()
    with store.begin() as session:
        session.execute(
            delete(IdempotencyKey).where(IdempotencyKey.created_at < now - KEPT_SECONDS)
        )
        row = session.get(IdempotencyKey, key)
        if row is None:
            session.add(IdempotencyKey(key=key, request_digest=digest, created_at=now))
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


def _release(store: Store, key: str) -> None:
    with store.begin() as session:
        row = session.get(IdempotencyKey, key)
        if row is not None and row.status is None:
            session.delete(row)


def _keep(store: Store, key: str, answer: Response) -> None:
    with store.begin() as session:
        row = session.get(IdempotencyKey, key)
        if row is not None:
            row.status = answer.status_code
            row.body = json.loads(bytes(answer.body))
