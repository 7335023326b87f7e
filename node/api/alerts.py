"""/v1/alerts: what somebody has to look at, and who did."""

from __future__ import annotations

from typing import Annotated

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Path, Query, Request

from node import alerts
from node.api.auth import require
from node.api.evidence import EVIDENCE
from node.api.operator import OperatorRoute
from node.api.pages import DEFAULT_LIMIT, Cursor, Limit, Page
from node.api.views import alerts as views
from node.api.views.alerts import AlertCounts, AlertShown, DeliveryShown
from node.api.views.model import Shown
from node.ui.messages import Language
from node.webhook import Webhook

router = APIRouter(prefix="/alerts", tags=["evidence"], route_class=OperatorRoute)

AlertId = Annotated[str, Path(pattern=r"^[0-9a-f-]{36}$")]
In = Annotated[Language, Query(alias="language", description="Of `title` and `todo`.")]
people = [Depends(require("operator", "data-owner"))]
operators = [Depends(require("operator"))]


class AlertPage(Page[AlertShown]):
    """`counts` are those of all open alerts, whatever is asked for."""

    counts: AlertCounts


class WebhookTold(Shown):
    """A message of type `webhook.test` was taken."""

    id: str


@router.get("", dependencies=[EVIDENCE], summary="Alerts, newest first, and how many are open")
def list_alerts(
    request: Request,
    is_open: Annotated[bool | None, Query(alias="open", description="Or the others.")] = None,
    kind: Annotated[str | None, Query(max_length=40)] = None,
    subject: Annotated[str | None, Query(max_length=80)] = None,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
    language: In = "en",
) -> AlertPage:
    site, names = request.app.state.site, request.app.state.names
    found = views.page(
        site,
        names,
        is_open=is_open,
        kind=kind,
        subject=subject,
        cursor=cursor,
        limit=limit,
        language=language,
    )
    return AlertPage(items=found.items, next=found.next, counts=views.counts(site))


@router.get("/webhook", summary="The newest messages to the webhook", dependencies=operators)
def list_deliveries(request: Request) -> list[DeliveryShown]:
    return views.deliveries(request.app.state.site)


@router.post("/webhook/test", summary="Tell the webhook that nothing happened")
async def test_webhook(request: Request) -> WebhookTold:
    return WebhookTold(id=await Webhook(request.app.state.site).test())


@router.get("/{id}", dependencies=[EVIDENCE], summary="One alert")
def show_alert(request: Request, id: AlertId, language: In = "en") -> AlertShown:
    return views.show(request.app.state.site, request.app.state.names, id, language)


@router.post("/{id}/acknowledge", summary="Say that somebody looked at it", dependencies=people)
async def acknowledge(request: Request, id: AlertId, language: In = "en") -> AlertShown:
    site, names = request.app.state.site, request.app.state.names
    await run_sync(alerts.acknowledge, site, id)
    return await run_sync(views.show, site, names, id, language)
