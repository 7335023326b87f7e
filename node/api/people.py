"""/v1/people, /v1/api-keys, /v1/me: who may act at this site, and with what."""

from __future__ import annotations

from typing import Annotated, Literal

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import ConfigDict, Field

from node import people
from node.api.auth import Actor, require
from node.api.operator import OperatorRoute, SecretRoute
from node.api.pages import Page
from node.api.views.model import Asked
from node.api.views.people import (
    EXAMPLE_ADDRESS,
    KeyMade,
    KeyShown,
    Me,
    PersonShown,
    key_made,
    key_shown,
    me,
    person_shown,
)
from node.errors import Refused
from node.people import ADDRESS, MAX_NAME, YEAR
from node.store import Store

router = APIRouter(tags=["people"], route_class=OperatorRoute)
secret = APIRouter(tags=["people"], route_class=SecretRoute)

Role = Literal["operator", "data-owner", "data-scientist", "delegate", "auditor"]
Roles = Annotated[list[Role], Field(min_length=1, max_length=5)]
Address = Annotated[str, Path(pattern=ADDRESS, examples=[EXAMPLE_ADDRESS])]
KeyId = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$")]
Until = Annotated[
    int | None, Field(ge=0, lt=2**40, description="UTC seconds; null: until disabled.")
]
Anybody = Annotated[Actor, Depends(require())]
Operator = Annotated[Actor, Depends(require("operator"))]


class NewPerson(Asked):
    """Somebody who signs in with the key of this account; it may be a contract (ERC-1271)."""

    address: str = Field(pattern=ADDRESS)
    name: str = Field(min_length=1, max_length=MAX_NAME)
    roles: Roles
    until: Until = None
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={
            "examples": [{"address": EXAMPLE_ADDRESS, "name": "Ada", "roles": ["delegate"]}]
        },
    )


class NewRoles(Asked):
    """Instead of those there were."""

    roles: Roles
    until: Until = None


class NewApiKey(Asked):
    """One's own, after signing in; with the operator's token also another's (`person`)."""

    name: str = Field(min_length=1, max_length=MAX_NAME)
    roles: Roles
    expires_in: int = Field(30 * people.DAY, ge=60, le=YEAR, description="Seconds.")
    person: str | None = Field(None, pattern=ADDRESS)
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={
            "examples": [{"name": "nightly", "roles": ["data-scientist"], "expires_in": 2592000}]
        },
    )


@router.get("/me", summary="Who asks, and with which roles")
def show_me(actor: Anybody) -> Me:
    return me(actor)


@router.get("/people", summary="Who may act at this site")
def list_people(
    request: Request, actor: Annotated[Actor, Depends(require("operator", "auditor"))]
) -> Page[PersonShown]:
    with _store(request).read() as session:
        return Page(items=[person_shown(row) for row in people.everybody(session)], next=None)


@router.post("/people", status_code=201, summary="Let a person act at this site")
async def add_person(request: Request, actor: Operator, body: NewPerson) -> PersonShown:
    _no_key(actor)

    def add() -> PersonShown:
        made = people.add(_store(request), body.address, body.name, body.roles, body.until)
        return person_shown(made)

    return await run_sync(add)


@router.post("/people/{address}/roles", summary="Give a person other roles, at once")
async def change_roles(
    request: Request, actor: Operator, address: Address, body: NewRoles
) -> PersonShown:
    _no_key(actor)

    def change() -> PersonShown:
        return person_shown(people.change(_store(request), address, body.roles, body.until))

    return await run_sync(change)


@router.post("/people/{address}/disable", summary="End what a person may do, at once")
async def disable_person(request: Request, actor: Operator, address: Address) -> PersonShown:
    _no_key(actor)
    return person_shown(await run_sync(people.disable, _store(request), address))


@router.get("/api-keys", summary="One's own API keys; an operator may ask for all")
def list_keys(
    request: Request,
    actor: Anybody,
    all: Annotated[bool, Query(description="Of everybody; for operators.")] = False,
) -> Page[KeyShown]:
    everyone = all and actor.may("operator")
    if actor.address is None and not everyone:
        return Page(items=[], next=None)
    with _store(request).read() as session:
        found = people.keys(session, None if everyone else actor.address)
        items = [key_shown(key, people.find(session, key.person)) for key in found]
    return Page(items=items, next=None)


@secret.post("/api-keys", status_code=201, summary="Make an API key; it is shown this once")
async def create_key(request: Request, actor: Anybody, body: NewApiKey) -> KeyMade:
    owner = people.normal(body.person or actor.address or "")

    def create() -> KeyMade:
        made = people.create_key(
            _store(request), owner, body.name, body.roles, body.expires_in, by=actor
        )
        return key_made(made, owner)

    return await run_sync(create)


@router.post("/api-keys/{id}/revoke", summary="End an API key at once")
async def revoke_key(request: Request, actor: Anybody, id: KeyId) -> KeyShown:
    def revoke() -> KeyShown:
        people.revoke_key(_store(request), id, by=actor)
        with _store(request).read() as session:
            key = people.find_key(session, id)
            return key_shown(key, people.find(session, key.person))

    return await run_sync(revoke)


def _no_key(actor: Actor) -> None:
    """A program's key does not decide who may act: it would outlive itself in whom it adds."""
    if actor.how == "api-key":
        raise Refused(
            "KeyMayNotGiveRights",
            "people are looked after by a person who signed in, or with the operator's token",
            found=actor.how,
            allowed=["session", "token"],
        )


def _store(request: Request) -> Store:
    store: Store = request.app.state.site.store
    return store
