"""/v1/brake: stop all work for a while, together with other members."""

from __future__ import annotations

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field

from node import emergencies
from node.api.accepted import Accepted, Wait, accepted
from node.api.auth import require
from node.api.operator import OperatorRoute
from node.api.views import emergencies as views
from node.api.views.emergencies import BrakeShown
from node.api.views.model import Asked
from node.statements import MAX_TEXT

router = APIRouter(prefix="/brake", tags=["governance"], route_class=OperatorRoute)


class Pull(Asked):
    """The chain gets the SHA-256 of the reason (in UTF-8); its words stand in this site's audit
    log, which the other members read. Name no person."""

    reason: str = Field(min_length=1, max_length=MAX_TEXT)


@router.get("", summary="Whether work is stopped, until when, and whose voices stand")
def show_brake(request: Request) -> BrakeShown:
    return views.brake(request.app.state.site, request.app.state.names)


@router.post(
    "/pull",
    status_code=202,
    summary="Raise this member's voice for stopping all work",
    dependencies=[Depends(require("delegate"))],
)
async def pull_brake(request: Request, response: Response, body: Pull, wait: Wait = 0) -> Accepted:
    """A voice stands for an hour; the last one that is needed stops all work.

    `id` of the answer is the digest of the reason.
    """
    submitted = await run_sync(emergencies.pull, request.app.state.site, body.reason)
    return await accepted(request, response, submitted, wait)
