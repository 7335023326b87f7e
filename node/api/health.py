"""/v1/health: alive, for anybody; how each part is, for the operator."""

from __future__ import annotations

from fastapi import APIRouter, Request

from node.api.auth import require_operator
from node.api.views import health
from node.api.views.health import LIVE, Health

public = APIRouter(tags=["site"])


@public.get(
    "/health",
    response_model_exclude_none=True,
    summary="Liveness; with the operator's token how each part is",
)
def show_health(request: Request) -> Health:
    if "authorization" not in request.headers:
        return Health(status=LIVE)
    require_operator(request)
    return health.show(request.app.state.site)
