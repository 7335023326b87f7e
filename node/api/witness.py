"""The witness over HTTP: what it saw, for people; and C2SP's ``add-checkpoint``, for logs.

    GET  /v1/witness                   what this site shows, who cosigned it, what it saw of others
    POST /witness/add-checkpoint       cosign a head of another site's log, if it continues the last

The second asks for no credentials: what counts is the log's own signature on the head.
Source: https://c2sp.org/tlog-witness
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from starlette.concurrency import run_in_threadpool

from node.api.attempts import Attempts
from node.api.auth import address_of
from node.api.evidence import EVIDENCE
from node.api.operator import OperatorRoute
from node.api.views import witness as view
from node.api.views.witness import WitnessShown
from node.audit.notes import MAX_BYTES
from node.errors import NodeError, TooLarge
from node.site import Site
from node.witness import HeadMoved, Witness, parse_submission

router = APIRouter(
    prefix="/witness", tags=["evidence"], route_class=OperatorRoute, dependencies=[EVIDENCE]
)
public = APIRouter(include_in_schema=False)

MAX_SUBMISSION = MAX_BYTES + 64 * 46  # a note, and a proof before it
MALFORMED = frozenset({"SubmissionMalformed", "NoteMalformed", "CheckpointInvalid"})


def install(app: FastAPI) -> None:
    """Add what strangers may ask a witness to an application, with its limit."""
    app.state.submissions = Attempts(limit=60, seconds=60)
    app.include_router(public)


class BadSubmission(NodeError):
    """400, as the specification says of what cannot be read."""

    status = 400


@router.get("", summary="Heads shown and witnessed, and logs that showed two histories")
def show_witness(request: Request) -> WitnessShown:
    return view.show(request.app.state.site, request.app.state.names)


async def _read(request: Request) -> bytes:
    body = bytearray()
    stream: AsyncIterator[bytes] = request.stream()
    async for chunk in stream:
        body += chunk
        if len(body) > MAX_SUBMISSION:
            raise TooLarge(
                "MessageTooLarge",
                f"a submission has {MAX_SUBMISSION} bytes at most",
                allowed=MAX_SUBMISSION,
            )
    return bytes(body)


@public.post("/witness/add-checkpoint")
async def add_checkpoint(request: Request, body: Annotated[bytes, Depends(_read)]) -> Response:
    """The two lines of this witness, or 409 with the size that it cosigned last."""
    # Strangers may ask, and a question about a log costs one to the chain.
    submissions: Attempts = request.app.state.submissions
    submissions.count(address_of(request))
    return await run_in_threadpool(_add, request.app.state.site, body)


def _add(site: Site, body: bytes) -> Response:
    witness = Witness(site)
    try:
        old, proof, note = parse_submission(body)
        lines = witness.cosign(old, proof, witness.read(note))
    except HeadMoved as moved:
        return Response(f"{moved.size}\n", 409, {"Content-Type": "text/x.tlog.size"})
    except NodeError as error:
        if error.code in MALFORMED or error.code == "InvalidRequest":
            raise BadSubmission(error.code, error.detail, allowed=error.allowed) from error
        raise
    return Response("".join(map(str, lines)), media_type="text/plain; charset=utf-8")
