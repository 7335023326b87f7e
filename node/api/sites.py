"""/v1/sites: the nodes of the consortium, and the registration of this one."""

from __future__ import annotations

from typing import Literal

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Request, Response
from pydantic import ConfigDict, Field

from node import registration, takeover
from node.api.accepted import Accepted, Wait, accepted
from node.api.auth import require
from node.api.operator import OperatorRoute
from node.api.pages import DEFAULT_LIMIT, Cursor, Limit, Page
from node.api.views import sites
from node.api.views.model import Asked, IdInPath
from node.api.views.sites import SiteShown

router = APIRouter(prefix="/sites", tags=["site"], route_class=OperatorRoute)

Role = Literal["data-owner", "model-user", "coordinator", "auditor"]


class SiteRegistration(Asked):
    """Registers this node at the endpoint of its settings, with its request and audit keys."""

    roles: list[Role] = Field(min_length=1, max_length=4)
    name: str | None = Field(None, min_length=1, max_length=64)
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={"examples": [{"roles": ["data-owner", "model-user"]}]},
    )


class Endpoint(Asked):
    """Where other sites reach this one."""

    endpoint: str = Field(pattern=r"^https?://[^\s/?#]+(/[^\s?#]*)?$", max_length=200)


@router.get("", summary="Sites of the consortium, in the order of their registration")
def list_sites(
    request: Request, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[SiteShown]:
    state = request.app.state
    own = state.site.settings.site_id
    return sites.page(state.site.network(), state.names, own, limit=limit, cursor=cursor)


@router.post(
    "",
    status_code=202,
    summary="Register this site",
    dependencies=[Depends(require("operator"))],
)
async def register_site(
    request: Request, response: Response, body: SiteRegistration, wait: Wait = 0
) -> Accepted:
    site = request.app.state.site
    submitted = await run_sync(registration.register_site, site, tuple(body.roles), body.name)
    return await accepted(request, response, submitted, wait)


@router.post(
    "/endpoint",
    status_code=202,
    summary="Change the endpoint of this site",
    dependencies=[Depends(require("operator"))],
)
async def change_endpoint(
    request: Request, response: Response, body: Endpoint, wait: Wait = 0
) -> Accepted:
    site = request.app.state.site
    submitted = await run_sync(registration.set_endpoint, site, body.endpoint)
    return await accepted(request, response, submitted, wait)


@router.post("/operator", status_code=202, summary="Replace a lost account that operates this site")
async def replace_operator(request: Request, response: Response, wait: Wait = 0) -> Accepted:
    """A new account agrees; then the member's account, which is not here, makes it the operator."""
    site = request.app.state.site
    submitted = await run_sync(takeover.replace_operator, site)
    return await accepted(request, response, submitted, wait)


@router.get("/{id}", summary="One site with its keys")
def show_site(request: Request, id: IdInPath) -> SiteShown:
    state = request.app.state
    return sites.show(state.site.network(), id, state.names, state.site.settings.site_id)


@router.post("/{id}/retire", status_code=202, summary="End a site of this institution for ever")
async def retire_site(
    request: Request, response: Response, id: IdInPath, wait: Wait = 0
) -> Accepted:
    submitted = await run_sync(takeover.retire, request.app.state.site, id)
    return await accepted(request, response, submitted, wait)
