"""/v1/reviews, /v1/appointments, /v1/attestations: who vouches for code, and for members."""

from __future__ import annotations

from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import ConfigDict, Field

from node import reviews
from node.api.accepted import Accepted, Wait, accepted
from node.api.auth import require
from node.api.operator import OperatorRoute
from node.api.pages import DEFAULT_LIMIT, Cursor, Limit, Page
from node.api.views import reviews as views
from node.api.views.model import EXAMPLE_DIGEST, Asked, Id, IdInPath
from node.api.views.reviews import KindShown, PeopleShown, ReviewShown, StandingShown
from node.registration import member_id_of

router = APIRouter(tags=["governance"], route_class=OperatorRoute)

ADDRESS = r"^0x[0-9a-fA-F]{40}$"
delegate = [Depends(require("delegate"))]
Person = Annotated[str, Field(pattern=ADDRESS, description="The person's account.")]
PersonInPath = Annotated[str, Path(pattern=ADDRESS)]


class NewReview(Asked):
    """Code that this institution wrote: an algorithm's name here, or a code digest and a name."""

    algorithm: str = Field(min_length=1, max_length=120)
    name: str | None = Field(None, min_length=1, max_length=reviews.MAX_NAME)
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        str_strip_whitespace=True,
        json_schema_extra={"examples": [{"algorithm": "secureboost"}]},
    )


class NewOpinion(Asked):
    """A review that its person signed: the typed data of `GET /v1/reviews/{id}/typed-data`."""

    person: Person
    approves: bool
    report: Id
    signature: str = Field(
        pattern=r"^0x([0-9a-fA-F]{2}){1,8192}$",
        description="65 bytes of a key, or what a contract account (ERC-1271) takes.",
    )
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "person": "0x" + "5a" * 20,
                    "approves": True,
                    "report": EXAMPLE_DIGEST,
                    "signature": "0x" + "1b" * 65,
                }
            ]
        },
    )


class NewAppointment(Asked):
    person: Person


# ── Code ─────────────────────────────────────────────────────────────────────────────────────


@router.get("/reviews", summary="Code that was put up for review, oldest first")
def list_reviews(
    request: Request, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[ReviewShown]:
    app = request.app.state
    return views.page(app.site, app.names, limit=limit, cursor=cursor)


@router.post(
    "/reviews", status_code=202, summary="Put code up, as its author", dependencies=delegate
)
async def put_up(request: Request, response: Response, body: NewReview, wait: Wait = 0) -> Accepted:
    """`id` of the answer is the code digest."""
    site = request.app.state.site
    submitted = await run_sync(reviews.put_up, site, body.algorithm, body.name)
    return await accepted(request, response, submitted, wait)


@router.get("/reviews/{id}", summary="One piece of code with its reviews, by its digest")
def show_review(request: Request, id: IdInPath) -> ReviewShown:
    return views.show(request.app.state.site, request.app.state.names, id)


@router.get("/reviews/{id}/typed-data", summary="What a person signs to review it (EIP-712)")
def typed_review(
    request: Request,
    id: IdInPath,
    person: Annotated[str, Query(pattern=ADDRESS)],
    approves: bool,
    report: Annotated[str, Query(pattern=r"^0x[0-9a-f]{64}$", description="SHA-256 of the report")],
) -> dict[str, Any]:
    return reviews.typed_review(request.app.state.site, id, person, approves, report)


@router.post(
    "/reviews/{id}/opinions",
    status_code=202,
    summary="Relay a signed review",
    dependencies=delegate,
)
async def relay(
    request: Request, response: Response, id: IdInPath, body: NewOpinion, wait: Wait = 0
) -> Accepted:
    review = reviews.Review(id, body.person, body.approves, body.report, body.signature)
    submitted = await run_sync(reviews.relay, request.app.state.site, review)
    return await accepted(request, response, submitted, wait)


# ── People ───────────────────────────────────────────────────────────────────────────────────


@router.get("/appointments", summary="Who speaks for which member")
def list_people(request: Request) -> list[PeopleShown]:
    return views.people(request.app.state.site, request.app.state.names)


@router.post(
    "/appointments",
    status_code=202,
    summary="Let a person speak for this member",
    dependencies=delegate,
)
async def appoint(
    request: Request, response: Response, body: NewAppointment, wait: Wait = 0
) -> Accepted:
    """`id` of the answer is the member's."""
    submitted = await run_sync(reviews.appoint, request.app.state.site, body.person)
    return await accepted(request, response, submitted, wait)


@router.post(
    "/appointments/{person}/dismiss",
    status_code=202,
    summary="Let a person speak for this member no more",
    dependencies=delegate,
)
async def dismiss(
    request: Request, response: Response, person: PersonInPath, wait: Wait = 0
) -> Accepted:
    submitted = await run_sync(reviews.dismiss, request.app.state.site, person)
    return await accepted(request, response, submitted, wait)


# ── Attestations ─────────────────────────────────────────────────────────────────────────────


@router.get("/attestations", summary="What is attested of a member, and what it lacks")
def show_attestations(
    request: Request,
    member: Annotated[
        str | None,
        Query(max_length=120, description="By id or name, or a site of it; null: this site's."),
    ] = None,
) -> StandingShown:
    app = request.app.state
    network = app.site.network()
    if member is None:
        id = network.membership.member_of(app.site.identity.address)
    else:
        id = member_id_of(network, member)
    return views.standing(app.site, app.names, id)


@router.get("/attestations/kinds", summary="What can be attested, by whom, and what is required")
def list_kinds(request: Request) -> list[KindShown]:
    return views.kinds(request.app.state.site)
