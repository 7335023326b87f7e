"""/v1/break-glass: access to data in an emergency, by two people.  Its review is a proposal."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field, field_validator

from node import emergencies
from node.api.accepted import Accepted, Wait, accepted
from node.api.auth import require
from node.api.grants import MAX_COLUMNS, Column, ColumnRule, NewGrant, SignedTerms
from node.api.operator import OperatorRoute
from node.api.pages import DEFAULT_LIMIT, Cursor, Limit, Page
from node.api.views import emergencies as views
from node.api.views.emergencies import EmergencyShown, State
from node.api.views.model import Asked, IdInPath, Shown
from node.errors import Invalid
from node.registration import GrantRequest
from node.statements import MAX_TEXT
from node.submission import Submitted

router = APIRouter(prefix="/break-glass", tags=["governance"], route_class=OperatorRoute)

may = [Depends(require("data-owner", "delegate"))]
Purpose = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_TEXT,
        description="Why. The chain gets its SHA-256 (in UTF-8); the words stand in the audit log "
        "of the site that opens it, which the other members read. Name no person.",
    ),
]


class DraftAsked(Asked):
    """`terms` as `POST /v1/grants` takes them; their purpose is `emergency` and need not be given,
    their end within 72 hours, after a day if none is given."""

    terms: NewGrant
    purpose: Purpose

    @field_validator("terms")
    @classmethod
    def _is_for_an_emergency(cls, terms: NewGrant) -> NewGrant:
        if "purposes" in terms.model_fields_set and terms.purposes != (emergencies.EMERGENCY,):
            raise ValueError(f"the purpose of such a grant is {emergencies.EMERGENCY}")
        return terms


class OpeningShown(Shown):
    """`typed_data` (EIP-712) is signed by two of `people`. It names the `grant_typed_data` by its
    digest, so hold terms and purpose against the digests before you sign: `fatechain break-glass
    sign` does. Nothing is recorded of a draft."""

    id: str
    owner: str
    people: list[str]
    until: int
    review_by: int
    terms: dict[str, Any]
    column_rules: dict[str, str] | None
    purpose: str
    purpose_digest: str
    grant_typed_data: dict[str, Any]
    typed_data: dict[str, Any]


class Person(Asked):
    address: str = Field(pattern=r"^0x[0-9a-fA-F]{40}$")
    signature: str = Field(
        pattern=r"^0x([0-9a-fA-F]{2}){1,4096}$", description="65 bytes, or ERC-1271."
    )

    def signed(self) -> emergencies.Signed:
        from eth_utils.address import to_checksum_address

        return emergencies.Signed(to_checksum_address(self.address), self.signature.lower())


class NewOpening(Asked):
    """`terms`, `purpose` and `column_rules` as they were drafted; what two people signed."""

    terms: SignedTerms
    purpose: Purpose
    people: tuple[Person, Person]
    column_rules: dict[Column, ColumnRule] | None = Field(None, max_length=MAX_COLUMNS)


class OpeningAsked(Asked):
    """`opening` as `POST /v1/break-glass/draft` answered it to the first person."""

    opening: dict[str, Any]


class Checked(Shown):
    """Digests and words agree; else the problem is ``OpeningMismatch``."""

    holds: bool


@router.get("", summary="Accesses in emergencies, oldest first")
def list_emergencies(
    request: Request,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
    state: State | None = None,
) -> Page[EmergencyShown]:
    app = request.app.state
    return views.page(app.site, app.names, limit=limit, cursor=cursor, state=state)


@router.post("/draft", summary="What two appointed people are to sign (EIP-712)", dependencies=may)
async def draft_opening(request: Request, body: DraftAsked) -> OpeningShown:
    terms = GrantRequest(**body.terms.model_dump())
    made = await run_sync(emergencies.draft, request.app.state.site, terms, body.purpose)
    return OpeningShown(**{**asdict(made), "people": list(made.people)})


@router.post("/check", summary="Whether an opening says in words what is signed", dependencies=may)
async def check_opening(body: OpeningAsked) -> Checked:
    """For the second person, before he or she signs: a wallet shows two digests. Asks no chain."""
    try:
        await run_sync(emergencies.check, body.opening)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Invalid(
            "OpeningMismatch", "this is no opening as it is drafted", found=type(error).__name__
        ) from error
    return Checked(holds=True)


@router.post("", status_code=202, summary="Open what two appointed people signed", dependencies=may)
async def open_emergency(
    request: Request, response: Response, body: NewOpening, wait: Wait = 0
) -> Accepted:
    """Any member's node relays it. `id` of the answer is that of the emergency and of its grant."""
    site, terms = request.app.state.site, body.terms.to_terms()
    first, second = (person.signed() for person in body.people)

    def make() -> Submitted:
        return emergencies.open_(site, terms, body.purpose, (first, second), body.column_rules)

    return await accepted(request, response, await run_sync(make), wait)


@router.get("/{id}", summary="One access in an emergency")
def show_emergency(request: Request, id: IdInPath) -> EmergencyShown:
    return views.show(request.app.state.site, request.app.state.names, id)


@router.post(
    "/{id}/lapse",
    status_code=202,
    summary="Suspend the owner of an emergency that nobody reviewed in time",
    dependencies=may,
)
async def lapse_emergency(
    request: Request, response: Response, id: IdInPath, wait: Wait = 0
) -> Accepted:
    submitted = await run_sync(emergencies.lapse, request.app.state.site, id)
    return await accepted(request, response, submitted, wait)
