"""People, sessions and API keys as they are shown: never a secret, never a digest of one."""

from __future__ import annotations

import time

from pydantic import ConfigDict, Field

from node import people, siwe
from node.api.views.model import Shown
from node.people import ROLES, Actor, NewKey
from node.store import ApiKey, Person

EXAMPLE_ADDRESS = "0x90F79bf6EB2c4f870365E785982E1f101E93b906"


class PersonShown(Shown):
    """`state` is ACTIVE, EXPIRED or DISABLED; times are UTC seconds."""

    address: str
    name: str
    roles: list[str]
    state: str
    until: float | None
    disabled_at: float | None
    created_at: float


class KeyShown(Shown):
    """`state` is ACTIVE, EXPIRED, REVOKED or, with its person, DISABLED."""

    id: str
    person: str
    name: str
    roles: list[str]
    state: str
    created_at: float
    expires_at: float
    last_used_at: float | None


class KeyMade(Shown):
    """The only time that the key is shown."""

    id: str
    key: str = Field(description="Send it as Authorization: Bearer.")
    person: str
    name: str
    roles: list[str]
    expires_at: float


class Me(Shown):
    """Who asks: `how` is token, session or api-key; the token's holder has no address."""

    name: str
    address: str | None
    roles: list[str]
    how: str


class SignInTerms(Shown):
    """What a message of Sign-In with Ethereum (ERC-4361) to this node must say."""

    address: str | None = None
    nonce: str
    expires_at: float
    scheme: str
    domain: str
    uri: str
    version: str = "1"
    chain_id: int
    statement: str = siwe.STATEMENT


class SignedInShown(Shown):
    """The session's cookie is in the header."""

    name: str
    address: str
    roles: list[str]
    expires_at: float

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "name": "Ada",
                    "address": EXAMPLE_ADDRESS.lower(),
                    "roles": ["delegate"],
                    "expires_at": 1795409000.0,
                }
            ]
        },
    )


def person_shown(person: Person) -> PersonShown:
    return PersonShown(
        address=person.address,
        name=person.name,
        roles=list(person.roles),
        state=_state(person, time.time()),
        until=person.until,
        disabled_at=person.disabled_at,
        created_at=person.created_at,
    )


def key_shown(key: ApiKey, owner: Person) -> KeyShown:
    """With the roles that it has in effect: those that its person still has."""
    now = time.time()
    if key.revoked_at is not None:
        state = "REVOKED"
    elif key.expires_at <= now:
        state = "EXPIRED"
    else:
        state = "ACTIVE" if people.is_standing(owner, now) else "DISABLED"
    return KeyShown(
        id=key.id,
        person=key.person,
        name=key.name,
        roles=[role for role in key.roles if role in owner.roles],
        state=state,
        created_at=key.created_at,
        expires_at=key.expires_at,
        last_used_at=key.last_used_at,
    )


def key_made(made: NewKey, person: str) -> KeyMade:
    return KeyMade(
        id=made.id,
        key=made.secret,
        person=person,
        name=made.name,
        roles=list(made.roles),
        expires_at=made.expires_at,
    )


def me(actor: Actor) -> Me:
    return Me(name=actor.name, address=actor.address, roles=in_order(actor), how=actor.how)


def in_order(actor: Actor) -> list[str]:
    return [role for role in ROLES if role in actor.roles]


def _state(person: Person, now: float) -> str:
    if person.disabled_at is not None:
        return "DISABLED"
    return "ACTIVE" if people.is_standing(person, now) else "EXPIRED"
