"""/v1/audits: the right to audit. Ask a site for evidence, and answer what this site is asked."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import FileResponse
from pydantic import ConfigDict, Field

from chain.audit_questions import MAX_TEXT
from node import audit_requests
from node.api.accepted import Accepted, Wait, accepted
from node.api.auth import actor_of, require
from node.api.evidence import EVIDENCE
from node.api.operator import OperatorRoute, scoped_key
from node.api.pages import DEFAULT_LIMIT, Cursor, Limit, Page
from node.api.views import audits as views
from node.api.views.audits import AuditDetails, AuditShown, State
from node.api.views.model import EXAMPLE_ID, ID_PATTERN, Asked, Id, IdInPath
from node.errors import NotFound
from node.store import AuditRequest
from node.submission import Submitted

router = APIRouter(
    prefix="/audits", tags=["evidence"], route_class=OperatorRoute, dependencies=[EVIDENCE]
)

asker = [Depends(require("auditor", "delegate"))]
answerer = [Depends(require("operator", "delegate"))]
reader = [Depends(require("operator", "auditor"))]
Name = Annotated[str, Field(min_length=1, max_length=60)]


class NewAudit(Asked):
    """What is asked of `site`: its evidence of a period, about a site (`about`), a dataset or a
    job, or with none of them all of it.  Only its digest goes on the chain."""

    site: str = Field(min_length=1, max_length=120, description="By id or by name.")
    text: str = Field(min_length=1, max_length=MAX_TEXT, description="What for. Name no person.")
    since: datetime | None = Field(None, alias="from", description="In UTC.")
    until: datetime | None = Field(None, description="In UTC, exclusive; not in the future.")
    about: Id | None = None
    dataset: Id | None = None
    job: Id | None = None
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        str_strip_whitespace=True,
        json_schema_extra={
            "examples": [
                {
                    "site": "Second Bank",
                    "text": "Supervision of training in October.",
                    "from": "2026-10-01T00:00:00Z",
                    "until": "2026-11-01T00:00:00Z",
                    "dataset": EXAMPLE_ID,
                }
            ]
        },
    )

    def asked(self) -> audit_requests.Asked:
        since, until = audit_requests.utc(self.since), audit_requests.utc(self.until)
        return audit_requests.Asked(
            self.site, self.text, since, until, self.about, self.dataset, self.job
        )


class NewAuditAnswer(Asked):
    """Fields of entries, or kinds (with a dot), to hide; the pack says what it hides."""

    redact: list[Name] = Field([], max_length=100)


@router.get("", summary="Requests for audits, newest first")
def list_audits(
    request: Request,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
    state: State | None = None,
    site: Annotated[
        str | None, Query(pattern=ID_PATTERN, description="The site that was asked.")
    ] = None,
) -> Page[AuditShown]:
    app = request.app.state
    return views.page(app.site, app.names, limit=limit, cursor=cursor, state=state, asked=site)


@router.post("", status_code=202, summary="Ask a site for evidence", dependencies=asker)
async def file_audit(
    request: Request, response: Response, body: NewAudit, wait: Wait = 0
) -> Accepted:
    site, key = request.app.state.site, scoped_key(request)

    def make() -> Submitted:
        return audit_requests.ask(site, body.asked(), key=key)

    return await accepted(request, response, await run_sync(make), wait)


@router.get("/{id}", summary="One request, with its question at the two sides")
def show_audit(request: Request, id: IdInPath) -> AuditDetails:
    shown = views.show(request.app.state.site, request.app.state.names, id)
    actor = actor_of(request)
    may_read = actor is not None and actor.may("operator", "auditor")
    return shown if may_read else views.for_everybody(shown)


@router.post(
    "/{id}/answer",
    status_code=202,
    summary="Answer with a pack made for the question, once",
    dependencies=answerer,
)
async def answer_audit(
    request: Request, response: Response, id: IdInPath, body: NewAuditAnswer, wait: Wait = 0
) -> Accepted:
    def make() -> Submitted:
        return audit_requests.answer(request.app.state.site, id, tuple(body.redact))

    return await accepted(request, response, await run_sync(make), wait)


@router.get("/{id}/pack", summary="The pack that answers, at the two sides", dependencies=reader)
def show_answer(request: Request, id: IdInPath) -> FileResponse:
    site = request.app.state.site
    with site.store.read() as session:
        row = session.get(AuditRequest, id)
    if row is None:
        raise NotFound("NotFound", "no confirmed block has this request", found=id)
    path = audit_requests.answer_file(site, row)
    return FileResponse(path, media_type="application/json", filename=f"audit-{id[2:14]}.json")


@router.get("/{id}/question", summary="The question as a file", dependencies=reader)
def show_question(request: Request, id: IdInPath) -> Response:
    content = audit_requests.question_file(request.app.state.site, id)
    headers = {"Content-Disposition": f'attachment; filename="question-{id[2:14]}.json"'}
    return Response(content, media_type="application/json", headers=headers)
