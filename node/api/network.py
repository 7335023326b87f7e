"""/v1/network and /v1/members: what the consortium agreed on, and who it is."""

from __future__ import annotations

from fastapi import APIRouter, Request

from node.api.operator import OperatorRoute
from node.api.pages import Page
from node.api.views import network, sites
from node.api.views.network import NetworkShown
from node.api.views.sites import Member

router = APIRouter(tags=["site"], route_class=OperatorRoute)


@router.get("/network", summary="Contracts, members, algorithms, schemes and minimums")
def show_network(request: Request) -> NetworkShown:
    return network.show(request.app.state.site, request.app.state.names)


@router.get("/members", summary="Members of the consortium")
def list_members(request: Request) -> Page[Member]:
    state = request.app.state
    return Page(items=sites.members(state.site.network(), state.names), next=None)
