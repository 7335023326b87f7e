"""/v1/grants: allow another member a use of one's data, and withdraw it."""

from __future__ import annotations

from typing import Annotated, Literal

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import ConfigDict, Field, StringConstraints

from chain.consents import MAX_CHOICES
from node import registration
from node.api.accepted import Accepted, Wait, accepted
from node.api.auth import require
from node.api.operator import OperatorRoute, scoped_key
from node.api.pages import DEFAULT_LIMIT, Cursor, Limit, Page
from node.api.views import grants
from node.api.views.grants import GrantShown
from node.api.views.model import EXAMPLE_ID, ID_PATTERN, Asked, Id, IdInPath

router = APIRouter(prefix="/grants", tags=["data"], route_class=OperatorRoute)

MAX_COLUMNS = 10_000  # of the column rules
AlgorithmAsked = Annotated[str, StringConstraints(min_length=1, max_length=120)]
Purpose = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9._-]{0,30}$")]
Column = Annotated[str, StringConstraints(min_length=1, max_length=120)]
ColumnRule = Literal["join", "protocol", "none"]
State = Literal["PENDING", "ACTIVE", "EXPIRED", "USED_UP", "REVOKED", "AMENDED"]


class NewGrant(Asked):
    """Terms that this site's account signs (EIP-712) as the owner of the dataset.

    A job has one of the purposes and one of the algorithms. The chain enforces dataset, versions,
    grantee, purposes, algorithms, time, uses and parties; the owner's node enforces `min_rows`,
    `product_budget` and `column_rules`, which stay at this site: the chain has their digest.
    """

    dataset: Id
    grantee: str = Field(
        min_length=1,
        max_length=120,
        description="A member or a site, by id or by name; `all`: every member.",
    )
    algorithms: tuple[AlgorithmAsked, ...] = Field(
        min_length=1,
        max_length=MAX_CHOICES,
        description="Names that this node knows, or code digests.",
    )
    purposes: tuple[Purpose, ...] = Field(
        ("training",),
        min_length=1,
        max_length=MAX_CHOICES,
        description="Purposes that the consortium allows.",
    )
    from_version: int = Field(1, ge=1, lt=2**32)
    to_version: int | None = Field(None, ge=1, lt=2**32)
    until: int | None = Field(None, ge=0, lt=2**53, description="Block time in Unix seconds.")
    expires_in: int | None = Field(None, ge=1, lt=2**32, description="Seconds from now.")
    uses: int = Field(1, ge=1, lt=2**32, description="Starts of jobs.")
    min_parties: int = Field(2, ge=1, le=16)
    min_rows: int = Field(0, ge=0, lt=2**53)
    product_budget: int | None = Field(
        None,
        ge=0,
        lt=2**53,
        description="Vectors answered over all jobs; one per ten rows if null.",
    )
    column_rules: dict[Column, ColumnRule] | None = Field(
        None,
        max_length=MAX_COLUMNS,
        description="Column to what it may be used for: to join rows, inside the protocol, for "
        "nothing; `*`: all columns not named.",
    )
    amends: Id | None = None
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "dataset": EXAMPLE_ID,
                    "grantee": "bank",
                    "algorithms": ["secureboost"],
                    "purposes": ["training", "prediction"],
                    "expires_in": 604800,
                    "uses": 3,
                    "min_rows": 1000,
                    "column_rules": {"income": "protocol", "*": "join"},
                }
            ]
        },
    )


@router.get("", summary="Grants of the consortium")
def list_grants(
    request: Request,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
    dataset: Annotated[str | None, Query(pattern=ID_PATTERN)] = None,
    state: State | None = None,
) -> Page[GrantShown]:
    app = request.app.state
    return grants.page(
        app.site, app.names, limit=limit, cursor=cursor, dataset=dataset, state=state
    )


@router.post(
    "",
    status_code=202,
    summary="Sign a grant and record it on the chain",
    dependencies=[Depends(require("data-owner"))],
)
async def sign_grant(
    request: Request, response: Response, body: NewGrant, wait: Wait = 0
) -> Accepted:
    terms = registration.GrantRequest(**body.model_dump())
    key = scoped_key(request)

    def sign() -> registration.Submitted:
        return registration.sign_grant(request.app.state.site, terms, key=key)

    return await accepted(request, response, await run_sync(sign), wait)


@router.get("/{id}", summary="One grant")
def show_grant(request: Request, id: IdInPath) -> GrantShown:
    return grants.show(request.app.state.site, request.app.state.names, id)


@router.post(
    "/{id}/revoke",
    status_code=202,
    summary="Revoke a grant at once",
    dependencies=[Depends(require("data-owner"))],
)
async def revoke_grant(
    request: Request, response: Response, id: IdInPath, wait: Wait = 0
) -> Accepted:
    submitted = await run_sync(registration.revoke_grant, request.app.state.site, id)
    return await accepted(request, response, submitted, wait)
