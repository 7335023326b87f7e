"""/v1/jobs: propose, decide, watch, and read what came of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import ConfigDict, Field

from chain import canonical
from node import jobs as cases
from node.api.accepted import Accepted, Wait, accepted
from node.api.auth import require
from node.api.evidence import EVIDENCE
from node.api.operator import OperatorRoute
from node.api.pages import DEFAULT_LIMIT, Cursor, Limit, Page
from node.api.views import common, entries, jobs, messages, reconciliation
from node.api.views.common import CommonShown
from node.api.views.entries import EntryShown
from node.api.views.jobs import CertificateReport, JobShown, JobSummary
from node.api.views.messages import MessageShown
from node.api.views.model import EXAMPLE_DIGEST, EXAMPLE_ID, Asked, IdInPath, Shown
from node.api.views.reconciliation import ReconciliationShown
from node.jobs import JobRequest
from node.reconciliation import reconcile_job
from node.specification import Kind
from node.submission import Submitted

router = APIRouter(prefix="/jobs", tags=["work"], route_class=OperatorRoute)

State = Literal[
    "SUBMITTED",
    "REFUSED",
    "PROPOSED",
    "APPROVED",
    "RUNNING",
    "SUCCEEDED",
    "FAILED",
    "CANCELLED",
    "REJECTED",
    "EXPIRED",
]


class Proposal(JobRequest):
    """The first party is this site, as guest; see `GET /v1/network` for algorithms and schemes."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "kind": "train",
                    "algorithm": "secureboost",
                    "params": {"max_iter": 7, "max_depth": 4, "learning_rate": 0.5},
                    "parties": [
                        {
                            "site": EXAMPLE_ID,
                            "role": "guest",
                            "inputs": [{"dataset": EXAMPLE_ID, "version": 1}],
                        },
                        {
                            "site": EXAMPLE_DIGEST,
                            "role": "host",
                            "inputs": [
                                {"dataset": EXAMPLE_DIGEST, "version": 1, "grant": EXAMPLE_ID}
                            ],
                        },
                    ],
                    "label": "y",
                    "holdout": "0.2",
                }
            ]
        },
    )


class Reason(Asked):
    """A word that the chain keeps."""

    reason: str | None = Field(None, min_length=1, max_length=31, pattern=r"^[ -~]+$")


class Delivery(Asked):
    """The specification to send, as text or as JSON; null: the one this site proposed.

    Receivers hold its digest against the one on the chain.
    """

    specification: str | dict[str, Any] | None = None


class Delivered(Shown):
    """Site → "delivered", or the code of its refusal."""

    id: str
    outcome: dict[str, str]


@router.get("", dependencies=[EVIDENCE], summary="Jobs of this site, newest first")
def list_jobs(
    request: Request,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
    state: State | None = None,
    kind: Kind | None = None,
) -> Page[JobSummary]:
    app = request.app.state
    return jobs.page(app.site, app.names, limit=limit, cursor=cursor, state=state, kind=kind)


@router.post(
    "",
    status_code=202,
    summary="Propose a job",
    dependencies=[Depends(require("data-scientist"))],
)
async def propose(request: Request, response: Response, body: Proposal, wait: Wait = 0) -> Accepted:
    return await submit(request, response, body, wait)


async def submit(request: Request, response: Response, body: JobRequest, wait: float) -> Accepted:
    """Propose a training or ask for a prediction."""
    case = cases.predict if body.kind == "predict" else cases.propose
    id = await run_sync(case, request.app.state.site, body)
    return await _accepted(request, response, id, "propose", wait)


@router.get(
    "/{id}",
    dependencies=[EVIDENCE],
    summary="One job: parties, data, tasks, curves, result, evidence",
)
def show_job(request: Request, id: IdInPath) -> JobShown:
    return jobs.show(request.app.state.site, request.app.state.names, id)


@router.post(
    "/{id}/approve",
    status_code=202,
    summary="Give this site's consent to a job",
    dependencies=[Depends(require("data-owner"))],
)
async def approve(request: Request, response: Response, id: IdInPath, wait: Wait = 0) -> Accepted:
    await run_sync(cases.approve, request.app.state.site, id)
    return await _accepted(request, response, id, "approve", wait)


@router.post(
    "/{id}/reject",
    status_code=202,
    summary="Decline a proposal for good",
    dependencies=[Depends(require("data-owner"))],
)
async def reject(
    request: Request, response: Response, id: IdInPath, body: Reason, wait: Wait = 0
) -> Accepted:
    await run_sync(cases.reject, request.app.state.site, id, body.reason or "Rejected")
    return await _accepted(request, response, id, "reject", wait)


@router.post(
    "/{id}/cancel",
    status_code=202,
    summary="Withdraw from a job before its end",
    dependencies=[Depends(require("data-scientist", "data-owner"))],
)
async def cancel(
    request: Request, response: Response, id: IdInPath, body: Reason, wait: Wait = 0
) -> Accepted:
    await run_sync(cases.cancel, request.app.state.site, id, body.reason or "Cancelled")
    return await _accepted(request, response, id, "cancel", wait)


@router.post(
    "/{id}/deliver",
    summary="Send the specification to the other parties",
    dependencies=[Depends(require("data-scientist"))],
)
async def deliver(request: Request, id: IdInPath, body: Delivery) -> Delivered:
    given = body.specification
    document = canonical.dumps(given) if isinstance(given, dict) else given and given.encode()
    site = request.app.state.site
    return Delivered(id=id, outcome=await cases.deliver(site, id, document or None))


@router.get(
    "/{id}/logs",
    dependencies=[EVIDENCE],
    summary="Entries of this site's audit log about the job, newest first",
)
def job_logs(
    request: Request,
    id: IdInPath,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
    type: Annotated[str | None, Query(max_length=60)] = None,
) -> Page[EntryShown]:
    with request.app.state.site.store.read() as session:
        jobs.find(session, id)
        return entries.page(session, limit=limit, cursor=cursor, subject=id, type=type)


@router.get(
    "/{id}/messages", dependencies=[EVIDENCE], summary="Messages as both ends have entered them"
)
def job_messages(
    request: Request, id: IdInPath, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[MessageShown]:
    app = request.app.state
    return messages.page(app.site, app.names, id, limit=limit, cursor=cursor)


@router.get(
    "/{id}/reconciliation",
    dependencies=[EVIDENCE],
    summary="Whether the logs of all parties agree, and what is missing or different in whose",
)
def job_reconciliation(request: Request, id: IdInPath) -> ReconciliationShown:
    app = request.app.state
    return reconciliation.show(app.site, app.names, id)


@router.post(
    "/{id}/reconciliation",
    summary="Ask all parties for their logs again, and hold them against each other",
    dependencies=[Depends(require("data-scientist", "data-owner", "auditor"))],
)
async def reconcile(request: Request, id: IdInPath) -> ReconciliationShown:
    app = request.app.state
    await reconcile_job(app.site, id)
    return await run_sync(reconciliation.show, app.site, app.names, id)


@router.get(
    "/{id}/common",
    dependencies=[EVIDENCE],
    summary="What a job that matches or counts found, as far as this site learns it",
)
def common_rows(
    request: Request, id: IdInPath, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> CommonShown:
    return common.show(request.app.state.site, id, limit=limit, cursor=cursor)


@router.get("/{id}/certificate", dependencies=[EVIDENCE], summary="The certificate, byte for byte")
def certificate(request: Request, id: IdInPath) -> Response:
    body = jobs.certificate_bytes(request.app.state.site, id)
    name = f"certificate-{id[2:14]}.json"
    return Response(
        body,
        media_type="application/json",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


@router.get(
    "/{id}/certificate/check",
    dependencies=[EVIDENCE],
    summary="The certificate held against the chain",
)
def check_certificate(request: Request, id: IdInPath) -> CertificateReport:
    return jobs.check_certificate(request.app.state.site, id)


async def _accepted(
    request: Request, response: Response, id: str, what: str, wait: float
) -> Accepted:
    return await accepted(request, response, Submitted(id, f"job:{id}:{what}"), wait)
