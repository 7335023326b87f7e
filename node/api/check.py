"""/v1/check: whether this site has what it needs, and what to do."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request

from node import check
from node.api.operator import OperatorRoute
from node.api.views.model import Shown

router = APIRouter(tags=["site"], route_class=OperatorRoute)


class ItemShown(Shown):
    """`todo` says what to do where `status` is not ok."""

    name: str
    status: Literal["ok", "warn", "fail"]
    found: str
    todo: str | None


class CheckShown(Shown):
    """`ok`: nothing fails; what warns does not keep the site from working."""

    ok: bool
    items: list[ItemShown]


@router.get("/check", summary="Self-check: what is missing, and what to do")
def show_check(request: Request) -> CheckShown:
    """Asks the chain and a partner's node: it takes a second or two."""
    return CheckShown.model_validate(check.check(request.app.state.site).to_json())
