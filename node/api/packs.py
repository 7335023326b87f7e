"""/v1/packs: what this site shows a regulator, in one signed file."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from node.api.auth import require
from node.api.evidence import EVIDENCE
from node.api.operator import OperatorRoute
from node.api.views.model import ID_PATTERN
from node.packs import Wanted, pack

router = APIRouter(
    prefix="/packs",
    tags=["evidence"],
    route_class=OperatorRoute,
    dependencies=[Depends(require("operator", "auditor")), EVIDENCE],
)

Id = Annotated[str | None, Query(pattern=ID_PATTERN)]
Name = Annotated[str, Query(min_length=1, max_length=60)]


@router.get("", summary="An evidence pack of a period, a site, a dataset or a job")
def show_pack(
    request: Request,
    since: Annotated[datetime | None, Query(alias="from", description="In UTC.")] = None,
    until: Annotated[datetime | None, Query(description="In UTC, exclusive.")] = None,
    site: Id = None,
    dataset: Id = None,
    job: Id = None,
    redact: Annotated[
        list[Name],
        Query(max_length=100, description="Fields of entries, or kinds (with a dot), to hide."),
    ] = [],  # noqa: B006 - FastAPI copies it
) -> Response:
    wanted = Wanted(_utc(since), _utc(until), site, dataset, job, tuple(redact))
    content = pack(request.app.state.site, wanted)
    headers = {"Content-Disposition": 'attachment; filename="evidence-pack.json"'}
    return Response(content, media_type="application/json", headers=headers)


def _utc(at: datetime | None) -> datetime | None:
    return at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at
