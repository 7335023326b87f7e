"""/v1/waiting: what needs somebody's word here."""

from __future__ import annotations

from fastapi import APIRouter, Request

from node.api.operator import OperatorRoute
from node.api.views import waiting
from node.api.views.waiting import WaitingShown

router = APIRouter(prefix="/waiting", tags=["work"], route_class=OperatorRoute)


@router.get(
    "", summary="Jobs to approve, votes, emergencies to review, audits to answer, keys ending"
)
def show_waiting(request: Request) -> WaitingShown:
    return waiting.show(request.app.state.site, request.app.state.names)
