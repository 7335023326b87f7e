"""/v1/lineage: what used a dataset, a grant, a job or a model."""

from __future__ import annotations

from fastapi import APIRouter, Request

from node.api.evidence import EVIDENCE
from node.api.operator import OperatorRoute
from node.api.views import lineage
from node.api.views.lineage import LineageShown
from node.api.views.model import IdInPath

router = APIRouter(
    prefix="/lineage", tags=["evidence"], route_class=OperatorRoute, dependencies=[EVIDENCE]
)


@router.get("/{id}", summary="Everything that used it, and which withdrawals reach what")
def show_lineage(request: Request, id: IdInPath) -> LineageShown:
    return lineage.show(request.app.state.site, request.app.state.names, id)
