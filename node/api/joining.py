"""/v1/network.json, /v1/admission-requests, /v1/sponsorships: how others come to the consortium.

The file that newcomers need, and the place where they hand in their request, are open to anybody;
what is handed in is small, signed, and counted.  Looking at requests and sponsoring one is for
delegates.
"""

from __future__ import annotations

from typing import Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Request, Response
from pydantic import ConfigDict, Field, model_validator

from node import sponsoring
from node.api.accepted import Accepted, Wait, accepted
from node.api.attempts import Attempts
from node.api.auth import address_of, require
from node.api.operator import OperatorRoute
from node.api.views.model import EXAMPLE_ID, Asked, Id, IdInPath, Shown
from node.errors import Invalid, TooLarge
from node.joining import MAX_REQUEST_BYTES, AdmissionRequest
from node.store import ReceivedRequest

public = APIRouter(tags=["governance"])
router = APIRouter(tags=["governance"], route_class=OperatorRoute)
delegate = [Depends(require("delegate"))]


class Door:
    """How often strangers may knock at one application."""

    def __init__(self) -> None:
        self.per_address = Attempts(limit=10, seconds=3600)
        self.altogether = Attempts(limit=100, seconds=3600)

    def count(self, request: Request) -> None:
        """Raises `TooMany` (``TooManyAttempts``)."""
        self.per_address.count(address_of(request))
        self.altogether.count("all")


class NetworkFileShown(Shown):
    """What `fatechain init --network` takes; it holds no secret."""

    chainId: int  # noqa: N815 - the file's own names
    consortium: str
    fromBlock: int  # noqa: N815


class RequestReceived(Shown):
    """`id` is the SHA-256 of the canonical document."""

    id: str
    account: str
    name: str


class RequestShown(Shown):
    """`document` is what the account signed; times are Unix seconds.

    `proposal` is the last one that sponsored it; a request that waits although it has one lost that
    vote.
    """

    id: str
    account: str
    name: str
    endpoint: str
    received_at: float
    dismissed_at: float | None
    proposal: str | None
    document: dict[str, Any]


class Sponsorship(Asked):
    """A request that this node has, by its id, or the document itself."""

    id: Id | None = None
    request: dict[str, Any] | None = None
    title: str | None = Field(None, min_length=1, max_length=200)
    body: str = Field("", max_length=20_000, description="Why the members should admit it.")
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        str_strip_whitespace=True,
        json_schema_extra={"examples": [{"id": EXAMPLE_ID, "body": "We know them well."}]},
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> Sponsorship:
        if (self.id is None) == (self.request is None):
            raise ValueError("give the id of a request, or the request itself")
        return self


# ── For anybody ──────────────────────────────────────────────────────────────────────────────


@public.get("/network.json", summary="The file that a node needs to find this consortium")
def network_file(request: Request) -> NetworkFileShown:
    site = request.app.state.site
    network = site.network()
    return NetworkFileShown(
        chainId=network.client.chain_id,
        consortium=network.consortium.address,
        fromBlock=site.settings.from_block,
    )


@public.post(
    "/admission-requests", status_code=202, summary="Hand in a signed request for admission"
)
async def receive_request(request: Request) -> RequestReceived:
    """The body is the document that `fatechain join` writes; no credentials are needed."""
    door: Door = request.app.state.door
    door.count(request)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_REQUEST_BYTES:
            raise TooLarge(
                "MessageTooLarge",
                f"an admission request has at most {MAX_REQUEST_BYTES} bytes",
                allowed=MAX_REQUEST_BYTES,
            )
    found = await run_sync(sponsoring.receive, request.app.state.site, bytes(body))
    return RequestReceived(id=found.id, account=found.account, name=found.name)


# ── For delegates ────────────────────────────────────────────────────────────────────────────


@router.get(
    "/admission-requests", summary="Requests that wait for a sponsor", dependencies=delegate
)
def list_requests(request: Request) -> list[RequestShown]:
    return [_shown(row) for row in sponsoring.waiting(request.app.state.site)]


@router.get("/admission-requests/{id}", summary="One request", dependencies=delegate)
def show_request(request: Request, id: IdInPath) -> RequestShown:
    return _shown(sponsoring.find(request.app.state.site, id))


@router.post("/admission-requests/{id}/dismiss", summary="Sponsor it not", dependencies=delegate)
def dismiss_request(request: Request, id: IdInPath) -> RequestShown:
    return _shown(sponsoring.dismiss(request.app.state.site, id))


@router.post(
    "/sponsorships",
    status_code=202,
    summary="Propose to the members that they admit a newcomer",
    dependencies=delegate,
)
async def sponsor(
    request: Request, response: Response, body: Sponsorship, wait: Wait = 0
) -> Accepted:
    """`id` of the answer is the proposal's."""
    site = request.app.state.site

    def propose() -> Any:
        if body.id is not None:
            row = sponsoring.find(site, body.id)
            sponsoring.require_unsponsored(site, row)
            document = row.document
        else:
            document = body.request or {}
        try:
            asked = AdmissionRequest.model_validate(document)
        except ValueError as error:
            raise Invalid("InvalidRequest", "this is no admission request") from error
        return sponsoring.sponsor(site, asked, title=body.title, body=body.body)

    return await accepted(request, response, await run_sync(propose), wait)


def _shown(row: ReceivedRequest) -> RequestShown:
    return RequestShown(
        id=row.id,
        account=row.document["account"],
        name=row.name,
        endpoint=row.document["endpoint"],
        received_at=row.received_at,
        dismissed_at=row.dismissed_at,
        proposal=row.proposal,
        document=row.document,
    )
