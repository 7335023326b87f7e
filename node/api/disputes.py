"""/v1/disputes: what one member holds against another.  The ruling is a proposal."""

from __future__ import annotations

from typing import Annotated

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Request, Response
from pydantic import ConfigDict, Field

from node import disputes
from node.api.accepted import Accepted, Wait, accepted
from node.api.auth import require
from node.api.operator import OperatorRoute, scoped_key
from node.api.pages import DEFAULT_LIMIT, Cursor, Limit, Page
from node.api.views import disputes as views
from node.api.views.disputes import DisputeShown, State
from node.api.views.model import EXAMPLE_DIGEST, EXAMPLE_ID, Asked, Id, IdInPath
from node.statements import MAX_TEXT, Statement
from node.submission import Submitted

router = APIRouter(prefix="/disputes", tags=["governance"], route_class=OperatorRoute)

delegate = [Depends(require("delegate"))]
Text = Annotated[
    str | None,
    Field(
        max_length=MAX_TEXT,
        description="Hashed; its words stand in this site's audit log, which the other members "
        "read. Name no person.",
    ),
]


class NewDispute(Asked):
    """Either `evidence`, the SHA-256 of a document that stays where it is, or `evidence_text`."""

    respondent: str = Field(
        min_length=1, max_length=120, description="A member or a site of it, by id or by name."
    )
    about: str = Field(
        pattern=r"^[A-Za-z][A-Za-z0-9._-]{0,30}$",
        description="What kind of thing it is about: dataset, job, model, …",
    )
    subject: Id
    evidence: Id | None = None
    evidence_text: Text = None
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        str_strip_whitespace=True,
        json_schema_extra={
            "examples": [
                {
                    "respondent": "Second Bank",
                    "about": "dataset",
                    "subject": EXAMPLE_ID,
                    "evidence": EXAMPLE_DIGEST,
                }
            ]
        },
    )

    def claim(self) -> disputes.Claim:
        said = Statement.of("evidence", self.evidence_text, self.evidence)
        return disputes.Claim(self.respondent, self.about, self.subject, said)


class NewAnswer(Asked):
    """Either `answer`, the SHA-256 of a document that stays where it is, or `answer_text`."""

    answer: Id | None = None
    answer_text: Text = None


@router.get("", summary="Disputes, oldest first")
def list_disputes(
    request: Request,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
    state: State | None = None,
) -> Page[DisputeShown]:
    app = request.app.state
    return views.page(app.site, app.names, limit=limit, cursor=cursor, state=state)


@router.post("", status_code=202, summary="Open one against a member", dependencies=delegate)
async def open_dispute(
    request: Request, response: Response, body: NewDispute, wait: Wait = 0
) -> Accepted:
    site, key = request.app.state.site, scoped_key(request)

    def make() -> Submitted:
        return disputes.open_(site, body.claim(), key=key)

    return await accepted(request, response, await run_sync(make), wait)


@router.get("/{id}", summary="One dispute")
def show_dispute(request: Request, id: IdInPath) -> DisputeShown:
    return views.show(request.app.state.site, request.app.state.names, id)


@router.post(
    "/{id}/answer", status_code=202, summary="Answer as the respondent, once", dependencies=delegate
)
async def answer_dispute(
    request: Request, response: Response, id: IdInPath, body: NewAnswer, wait: Wait = 0
) -> Accepted:
    def make() -> Submitted:
        said = Statement.of("answer", body.answer_text, body.answer)
        return disputes.answer(request.app.state.site, id, said)

    return await accepted(request, response, await run_sync(make), wait)


@router.post(
    "/{id}/withdraw", status_code=202, summary="Withdraw as the claimant", dependencies=delegate
)
async def withdraw_dispute(
    request: Request, response: Response, id: IdInPath, wait: Wait = 0
) -> Accepted:
    submitted = await run_sync(disputes.withdraw, request.app.state.site, id)
    return await accepted(request, response, submitted, wait)
