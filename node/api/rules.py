"""/v1/approval-rules: which jobs need no person to approve them."""

from __future__ import annotations

import time
from typing import Annotated

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Path, Request
from pydantic import ConfigDict, Field

from node import registration, rules
from node.api.auth import require
from node.api.operator import OperatorRoute
from node.api.pages import Page
from node.api.views import rules as views
from node.api.views.model import EXAMPLE_ID, Asked, Id
from node.api.views.rules import RuleShown
from node.errors import Invalid
from node.refusals import chain_errors
from node.rules import Conditions
from node.site import Site
from node.specification import ColumnName, Duplicates, Kind, Learner

router = APIRouter(prefix="/approval-rules", tags=["data"], route_class=OperatorRoute)

RuleId = Annotated[str, Path(pattern=r"^[0-9a-f-]{36}$")]
Names = Annotated[list[Annotated[str, Field(min_length=1, max_length=120)]], Field(max_length=64)]
Word = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9._-]{0,30}$")]
owner = [Depends(require("data-owner"))]


class NewRule(Asked):
    """What a job must be to be approved without asking; null: any.

    Proposers are members (by id or name, or a site of theirs), algorithms names or code digests,
    datasets those of this site. A rule ends at `until` (UTC seconds) or after `expires_in` seconds;
    neither means 30 days. Jobs that only match or count (`kinds`), tell the guest alone
    (`results`), group repeated ids (`duplicates`) or match by other columns than the id column
    (`match_by`: all of this site's, the id column too) are approved only where a rule names them.
    """

    name: str = Field(min_length=1, max_length=120)
    proposers: Names | None = None
    algorithms: Names | None = None
    purposes: list[Word] | None = Field(None, max_length=64)
    datasets: list[Id] | None = Field(None, max_length=64)
    max_products: int | None = Field(None, ge=0, lt=2**53, description="Vectors of one job.")
    min_parties: int = Field(2, ge=1, le=16, description="Different members.")
    kinds: list[Kind] = Field(["train", "predict"], min_length=1, max_length=4)
    results: list[Learner] = Field(["all"], min_length=1, max_length=2)
    duplicates: list[Duplicates] = Field(["refuse"], min_length=1, max_length=2)
    match_by: list[ColumnName] | None = Field(None, min_length=1, max_length=64)
    max_per_day: int = Field(10, ge=1, le=10_000, description="Approvals a day (UTC).")
    until: int | None = Field(None, ge=0, lt=2**40)
    expires_in: int | None = Field(None, ge=1, lt=2**32)
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        str_strip_whitespace=True,
        json_schema_extra={
            "examples": [
                {
                    "name": "the bank's trainings",
                    "proposers": ["First Bank"],
                    "algorithms": ["secureboost"],
                    "purposes": ["training"],
                    "datasets": [EXAMPLE_ID],
                    "max_products": 5000,
                    "max_per_day": 3,
                    "expires_in": 604800,
                }
            ]
        },
    )


@router.get("", summary="Rules of this site, in the order in which they are tried")
def list_rules(request: Request) -> Page[RuleShown]:
    return Page(items=views.every(request.app.state.site), next=None)


@router.post("", status_code=201, summary="Approve such jobs without asking", dependencies=owner)
async def add_rule(request: Request, body: NewRule) -> RuleShown:
    return await run_sync(_add, request.app.state.site, body)


@router.get("/{id}", summary="One rule")
def show_rule(request: Request, id: RuleId) -> RuleShown:
    return views.show(request.app.state.site, id)


@router.post("/{id}/remove", summary="End a rule; what it approved stands", dependencies=owner)
async def remove_rule(request: Request, id: RuleId) -> RuleShown:
    site = request.app.state.site
    await run_sync(rules.remove, site, id)
    return await run_sync(views.show, site, id)


def _add(site: Site, body: NewRule) -> RuleShown:
    if body.until is not None and body.expires_in is not None:
        raise Invalid("InvalidRequest", "give until or expires_in, not both")
    lasts = registration.DEFAULT_EXPIRY_SECONDS if body.expires_in is None else body.expires_in
    until = time.time() + lasts if body.until is None else float(body.until)
    proposers = None
    if body.proposers is not None:
        with chain_errors():
            network = site.network()
            proposers = tuple(registration.member_id_of(network, name) for name in body.proposers)
    algorithms = None
    if body.algorithms is not None:
        algorithms = tuple(registration.code_digest_of(name) for name in body.algorithms)
    conditions = Conditions(
        proposers=proposers,
        algorithms=algorithms,
        purposes=None if body.purposes is None else tuple(body.purposes),
        datasets=None if body.datasets is None else tuple(body.datasets),
        max_products=body.max_products,
        min_parties=body.min_parties,
        kinds=tuple(body.kinds),
        results=tuple(body.results),
        duplicates=tuple(body.duplicates),
        match_by=None if body.match_by is None else tuple(body.match_by),
        max_per_day=body.max_per_day,
    )
    return views.show(site, rules.add(site, body.name, conditions, until).id)
