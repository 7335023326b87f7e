"""/v1/grants: allow another member a use of one's data, and withdraw it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import ConfigDict, Field, StringConstraints, ValidationInfo, field_validator
from pydantic.alias_generators import to_camel

from chain.consents import MAX_CHOICES, GrantTerms
from node import registration, wallet_grants
from node.api.accepted import Accepted, Wait, accepted
from node.api.auth import require
from node.api.operator import OperatorRoute, scoped_key
from node.api.pages import DEFAULT_LIMIT, Cursor, Limit, Page
from node.api.views import grants
from node.api.views.grants import GrantShown
from node.api.views.model import EXAMPLE_ID, ID_PATTERN, Asked, Id, IdInPath, Shown
from node.submission import Submitted

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


class DraftAsked(Asked):
    """`terms` as `POST /v1/grants` takes them."""

    terms: NewGrant


class GrantDraft(Shown):
    """`typed_data` is for the wallet of `signer`; `terms`, `column_rules` and the signature go to
    `POST /v1/grants/signed`. Nothing is recorded of a draft."""

    id: str
    signer: str
    terms: dict[str, Any]
    typed_data: dict[str, Any]
    column_rules: dict[str, str] | None


Number = Annotated[str, StringConstraints(pattern=r"^(0|[1-9][0-9]{0,77})$")]


class SignedTerms(Asked):
    """The contract's `Grant`, field by field, as a draft has it."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel)

    dataset_id: Id
    from_version: int = Field(ge=1, lt=2**32)
    to_version: int = Field(ge=1, lt=2**32)
    grantee: Id
    purposes: tuple[Purpose, ...] = Field(min_length=1, max_length=MAX_CHOICES)
    algorithms: tuple[Id, ...] = Field(min_length=1, max_length=MAX_CHOICES)
    until: Number
    uses: int = Field(ge=1, lt=2**32)
    min_parties: int = Field(ge=1, le=16)
    min_rows: Number
    product_budget: Number
    epsilon_micro: Number
    column_rules: Id
    amends: Id
    nonce: Number

    @field_validator("until", "min_rows", "product_budget", "epsilon_micro", "nonce")
    @classmethod
    def _fits(cls, number: str, info: ValidationInfo) -> str:
        bits = 256 if info.field_name == "nonce" else 64
        if int(number) >= 2**bits:
            raise ValueError(f"more than {bits} bits")
        return number

    def to_terms(self) -> GrantTerms:
        return GrantTerms.from_json(self.model_dump(by_alias=True))


class SignedGrant(Asked):
    """Any member's node relays it; the chain takes it from the owner's signature alone."""

    terms: SignedTerms
    signature: str = Field(pattern=r"^0x[0-9a-f]{2,8192}$", description="65 bytes, or ERC-1271.")
    column_rules: dict[Column, ColumnRule] | None = Field(None, max_length=MAX_COLUMNS)


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

    def sign() -> Submitted:
        return registration.sign_grant(request.app.state.site, terms, key=key)

    return await accepted(request, response, await run_sync(sign), wait)


@router.post(
    "/typed-data",
    dependencies=[Depends(require("data-owner"))],
    summary="What a wallet is to sign for a grant (EIP-712)",
)
async def draft_grant(request: Request, body: DraftAsked) -> GrantDraft:
    terms = registration.GrantRequest(**body.terms.model_dump())
    made = await run_sync(wallet_grants.draft, request.app.state.site, terms)
    return GrantDraft(**asdict(made))


@router.post(
    "/signed",
    status_code=202,
    summary="Record a grant that its owner signed elsewhere",
    dependencies=[Depends(require("data-owner"))],
)
async def relay_grant(
    request: Request, response: Response, body: SignedGrant, wait: Wait = 0
) -> Accepted:
    site = request.app.state.site
    terms = body.terms.to_terms()

    def relay() -> Submitted:
        return wallet_grants.relay(site, terms, body.signature, body.column_rules)

    return await accepted(request, response, await run_sync(relay), wait)


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
