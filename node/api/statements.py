"""/v1/statements: what this member's data was used for in a month, signed."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from node.api.auth import require
from node.api.evidence import EVIDENCE
from node.api.operator import OperatorRoute
from node.api.views.statements import StatementShown, every
from node.monthly import kept_statement
from node.ui.statement import render
from node.use_statement import content_of, statement

router = APIRouter(
    prefix="/statements",
    tags=["evidence"],
    route_class=OperatorRoute,
    dependencies=[Depends(require("data-owner", "auditor", "operator")), EVIDENCE],
)

Month = Annotated[str, Path(pattern=r"^\d{4}-(0[1-9]|1[0-2])$", examples=["2026-10"])]


@router.get("", summary="Statements that were made by themselves when their months were over")
def list_statements(request: Request) -> list[StatementShown]:
    return every(request.app.state.site)


@router.get("/{month}", summary="The data-use statement of a month, byte for byte")
def show_statement(
    request: Request,
    month: Month,
    provisional: Annotated[
        bool, Query(description="Also of a month that is not over; it says so.")
    ] = False,
    format: Literal["json", "html"] = "json",
    language: Annotated[Literal["en", "zh"], Query(description="Of the HTML.")] = "en",
) -> Response:
    site = request.app.state.site
    found = kept_statement(site, month) or statement(site, month, provisional=provisional)
    if format == "html":
        body, kind = render(found, language).encode(), "text/html; charset=utf-8"
    else:
        body, kind = content_of(found), "application/json"
    name = f"data-use-{month}.{format}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(body, media_type=kind, headers=headers)
