"""One place where errors become answers: RFC 9457 problem documents.

Every error of a request ends here: ours (`node.errors`), the framework's (unknown path, wrong
method, a body that does not fit) and those of `chain` and `ml`, which `node.refusals` translates.
What nobody foresaw becomes ``InternalError`` and says nothing of its cause to the caller.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from chain.errors import ChainError
from ml.errors import MlError
from node.errors import Conflict, Invalid, NodeError, NotFound, TooLarge, Unauthenticated

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"


class MethodNotAllowed(NodeError):
    """405, for a path that exists."""

    status = 405


class InternalError(NodeError):
    """500: a mistake of ours; its cause is in the log, not in the answer."""


def as_node_error(error: Exception) -> NodeError:
    """The `NodeError` that says what `error` means to a caller."""
    if isinstance(error, NodeError):
        return error
    if isinstance(error, RequestValidationError):
        return Invalid(
            "InvalidRequest",
            "the request does not have the form that is documented",
            found=_faults(error.errors()),
            hint="see /v1/openapi.json for what this request takes",
        )
    if isinstance(error, HTTPException):
        return _of_framework(error)
    if isinstance(error, ChainError | MlError):
        # Imported here: translating needs the catalogue, answering "not found" does not.
        from node.refusals import from_error

        return from_error(error)
    return InternalError(
        "InternalError",
        "the node failed to answer; the cause is in its log",
        hint="look into logs/api.jsonl of the site's home",
    )


def problem_response(error: NodeError, instance: str) -> JSONResponse:
    """`error` as ``application/problem+json``."""
    headers = {"Cache-Control": "no-store"}
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="fatechain"'
    return JSONResponse(
        error.to_problem(instance), error.status, media_type=MEDIA_TYPE, headers=headers
    )


def install(app: FastAPI) -> None:
    """Make the one handler answer for every error of `app`."""
    for kind in (
        NodeError,
        RequestValidationError,
        HTTPException,
        ChainError,
        MlError,
        Exception,
    ):
        app.add_exception_handler(kind, _handle)


async def _handle(request: Request, error: Exception) -> Response:
    known = as_node_error(error)
    if isinstance(known, InternalError):
        log.error("request failed", exc_info=error, extra={"path": request.url.path})
    page = getattr(request.app.state, "problem_page", None)
    if page is not None and _wants_page(request):
        answer: Response = page(request, known)
        return answer
    return problem_response(known, request.url.path)


def _wants_page(request: Request) -> bool:
    """A person with a browser outside the two programming interfaces."""
    path = request.url.path
    if path.startswith(("/v1/", "/sites/")) or path.endswith(".json"):
        return False
    return "text/html" in request.headers.get("accept", "")


def _faults(errors: Sequence[Any]) -> list[dict[str, str]]:
    """Where and what, never the value: it may be a secret sent to the wrong field."""
    return [
        {"where": ".".join(str(part) for part in fault["loc"]), "what": fault["msg"]}
        for fault in errors
    ]


def _of_framework(error: HTTPException) -> NodeError:
    detail = str(error.detail)
    match error.status_code:
        case HTTPStatus.NOT_FOUND:
            return NotFound(
                "NotFound", "there is nothing at this address", hint="see /v1/openapi.json"
            )
        case HTTPStatus.METHOD_NOT_ALLOWED:
            allowed = (error.headers or {}).get("Allow")
            return MethodNotAllowed(
                "MethodNotAllowed", "this address does not take the method", allowed=allowed
            )
        case HTTPStatus.UNAUTHORIZED:
            return Unauthenticated("Unauthenticated", detail)
        case HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return TooLarge("MessageTooLarge", detail)
        case HTTPStatus.CONFLICT:
            return Conflict("Conflict", detail)
        case _:
            return Invalid("InvalidRequest", detail)
