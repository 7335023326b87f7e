"""/v1/health: alive, for anybody; how each part is, for whoever may act here."""

from __future__ import annotations

from fastapi import APIRouter, Request

from node.api.auth import actor_of
from node.api.views import health
from node.api.views.health import LIVE, Health

public = APIRouter(tags=["site"])


@public.get(
    "/health",
    response_model_exclude_none=True,
    summary="Liveness; for an actor how each part is",
)
def show_health(request: Request) -> Health:
    if actor_of(request) is None:
        return Health(status=LIVE)
    return health.show(request.app.state.site)
