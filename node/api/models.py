"""/v1/models: what this site holds a part of."""

from __future__ import annotations

from fastapi import APIRouter, Request

from node.api.evidence import EVIDENCE
from node.api.operator import OperatorRoute
from node.api.pages import DEFAULT_LIMIT, Cursor, Limit, Page
from node.api.views import models
from node.api.views.model import IdInPath
from node.api.views.models import ModelShown

router = APIRouter(
    prefix="/models", tags=["work"], route_class=OperatorRoute, dependencies=[EVIDENCE]
)


@router.get("", summary="Models of this site, newest first")
def list_models(
    request: Request, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[ModelShown]:
    app = request.app.state
    return models.page(app.site, app.names, limit=limit, cursor=cursor)


@router.get("/{id}", summary="One model, by its id or by the job that made it")
def show_model(request: Request, id: IdInPath) -> ModelShown:
    return models.show(request.app.state.site, request.app.state.names, id)
