"""People of a site: who they are, what they may do, and what their browsers and programs hold.

A person is an Ethereum account with roles.  Sessions (browsers) and API keys (programs) are
credentials of a person: whatever ends the person ends them in the same instant, because every use
looks the person up.  Secrets leave this module once, when they are made; the database holds only
digests of them.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from node.audit.entries import OPERATOR, acting, record
from node.errors import Conflict, Invalid, NotFound, Refused
from node.store import ApiKey, Person, PersonSession, Store

ROLES = ("operator", "data-owner", "data-scientist", "delegate", "auditor")
"""operator: the node and its people; data-owner: datasets, grants, consent to jobs;
data-scientist: jobs and predictions; delegate: the institution's voice in the consortium;
auditor: reads everything, changes nothing."""

DAY = 24 * 3600
YEAR = 365 * DAY
SESSION_SECONDS = 12 * 3600
USE_KEPT_SECONDS = 60  # how exactly the last use of a key is known
MAX_KEYS = 100  # of one person that have not ended
MAX_NAME = 120

ADDRESS = r"^0x[0-9a-fA-F]{40}$"
KEY_FORM = re.compile(r"fck_([0-9a-f]{16})_([0-9a-f]{64})")

How = Literal["token", "session", "api-key"]


@dataclass(frozen=True)
class Actor:
    """Who asks, and what he, she or it may do here.  ``address`` is None for the operator's token.

    ``credential`` is the id of the session or API key that was shown.
    """

    name: str
    address: str | None
    roles: frozenset[str]
    how: How
    credential: str | None = None

    @property
    def id(self) -> str:
        """What the audit log calls the actor."""
        return OPERATOR if self.address is None else self.address

    def may(self, *roles: str) -> bool:
        """Whether the actor has any of these roles; of none named, every actor has one."""
        return not roles or not self.roles.isdisjoint(roles)


@dataclass(frozen=True)
class NewKey:
    """An API key on its one way out."""

    id: str
    secret: str
    name: str
    roles: tuple[str, ...]
    expires_at: float


def token_actor() -> Actor:
    """Whoever holds the site's token has every role: it is how the first people are added."""
    return Actor(OPERATOR, None, frozenset(ROLES), "token")


# ── Who they are ─────────────────────────────────────────────────────────────────────────────


def add(
    store: Store, address: str, name: str, roles: Iterable[str], until: float | None = None
) -> Person:
    """Let a person act at this site; one that was disabled or has ended returns as a new one.

    Raises `Conflict` (``PersonExists``) and `Invalid`.
    """
    found_roles, now = check_roles(roles), time.time()
    _check_until(until, now)
    with store.begin() as session:
        person = session.get(Person, normal(address))
        if person is None:
            person = Person(address=normal(address), created_at=now)
            session.add(person)
        elif is_standing(person, now):
            raise Conflict(
                "PersonExists",
                f"{person.address} may act here already",
                found=person.roles,
                hint="change the roles, or disable the person first",
            )
        else:
            _end_credentials(session, person, now)  # one whose time was over may have some left
        person.name, person.roles = name, list(found_roles)
        person.until, person.disabled_at = until, None
        data = {"roles": list(found_roles), "until": _whole(until)}
        record(session, "person.added", person.address, data, acting())
    return person


def change(store: Store, address: str, roles: Iterable[str], until: float | None = None) -> Person:
    """Give a person other roles from now on; sessions and keys follow at once."""
    found_roles, now = check_roles(roles), time.time()
    _check_until(until, now)
    with store.begin() as session:
        person = find(session, address)
        if person.disabled_at is not None:
            raise Conflict(
                "PersonDisabled", f"{person.address} is disabled", hint="add the person again"
            )
        data = {"from": list(person.roles), "roles": list(found_roles), "until": _whole(until)}
        person.roles, person.until = list(found_roles), until
        record(session, "person.changed", person.address, data, acting())
    return person


def disable(store: Store, address: str) -> Person:
    """End what a person may do here, at once and with every session and key."""
    now = time.time()
    with store.begin() as session:
        person = find(session, address)
        if person.disabled_at is None:
            person.disabled_at = now
            # They would be refused anyway; revoked, they stay so when the person is added again.
            _end_credentials(session, person, now)
            record(session, "person.disabled", person.address, {}, acting())
    return person


def _end_credentials(session: Session, person: Person, now: float) -> None:
    for credential in (PersonSession, ApiKey):
        session.execute(
            update(credential)
            .where(credential.person == person.address, credential.revoked_at.is_(None))
            .values(revoked_at=now)
        )


def everybody(session: Session) -> list[Person]:
    return list(session.scalars(select(Person).order_by(Person.created_at, Person.address)))


def find(session: Session, address: str) -> Person:
    """Raises `NotFound`."""
    person = session.get(Person, normal(address))
    if person is None:
        raise NotFound("NotFound", "nobody here signs with this account", found=normal(address))
    return person


def standing(session: Session, address: str, now: float) -> Person | None:
    """The person, if he or she may act now."""
    person = session.get(Person, normal(address))
    return person if person is not None and is_standing(person, now) else None


def is_standing(person: Person, now: float) -> bool:
    return person.disabled_at is None and (person.until is None or now < person.until)


def normal(address: str) -> str:
    """An address as the database has it.  Raises `Invalid`."""
    if not re.fullmatch(ADDRESS, address):
        raise Invalid("InvalidRequest", "an account is 0x-hex of 20 bytes", found=address[:80])
    return address.lower()


def check_roles(roles: Iterable[str]) -> tuple[str, ...]:
    """The roles in the order of `ROLES`.  Raises `Invalid`."""
    found = set(roles)
    if not found or not found <= set(ROLES):
        raise Invalid(
            "InvalidRequest",
            "a person has at least one of the roles that there are",
            found=sorted(str(role)[:40] for role in found - set(ROLES)),
            allowed=list(ROLES),
        )
    return tuple(role for role in ROLES if role in found)


def _check_until(until: float | None, now: float) -> None:
    if until is not None and until <= now:
        raise Invalid("InvalidRequest", "the end lies in the past", found=until, allowed=int(now))


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds)


# ── Browsers ─────────────────────────────────────────────────────────────────────────────────


class Cookies:
    """Digests cookies under a key made of the site's token: a new token ends every session.

    What lies in the database signs nobody in, not even together with a cookie of another site.
    """

    def __init__(self, token: str) -> None:
        self._key = hmac.digest(token.encode(), b"fatechain session v2", "sha256")

    def digest(self, cookie: str) -> str:
        return hmac.digest(self._key, cookie.encode(errors="replace"), "sha256").hex()


def start_session(
    session: Session, cookies: Cookies, person: str | None, now: float, end: float | None = None
) -> tuple[str, float]:
    """A new cookie for a person, or for the operator, and when it ends; `end` at the latest."""
    session.execute(delete(PersonSession).where(PersonSession.expires_at < now - DAY))
    cookie = secrets.token_urlsafe(32)
    expires_at = min(now + SESSION_SECONDS, end if end is not None else now + SESSION_SECONDS)
    session.add(
        PersonSession(
            id=cookies.digest(cookie), person=person, expires_at=expires_at, created_at=now
        )
    )
    return cookie, expires_at


def session_actor(store: Store, digest: str, now: float) -> Actor | None:
    """Whose browser this is, if it is anybody's now."""
    with store.read() as session:
        row = session.get(PersonSession, digest)
        if row is None or row.revoked_at is not None or row.expires_at <= now:
            return None
        if row.person is None:
            return Actor(OPERATOR, None, frozenset(ROLES), "session", row.id)
        person = standing(session, row.person, now)
        if person is None:
            return None
        return Actor(person.name, person.address, frozenset(person.roles), "session", row.id)


def end_session(store: Store, digest: str) -> None:
    """Sign out: the cookie opens nothing any more, wherever a copy of it lies."""
    with store.begin() as session:
        row = session.get(PersonSession, digest)
        if row is not None and row.revoked_at is None:
            row.revoked_at = time.time()
            who = OPERATOR if row.person is None else row.person
            record(session, "person.signed_out", who, {}, who)


# ── Programs ─────────────────────────────────────────────────────────────────────────────────


def create_key(
    store: Store,
    person: str,
    name: str,
    roles: Iterable[str],
    seconds: float,
    *,
    by: Actor,
) -> NewKey:
    """A key with some of a person's roles, for at most a year.

    Only a person who signed in makes keys of his or her own, and only the holder of the site's
    token makes them for others: a key cannot make a key, so a stolen one ends with its time.
    Raises `Refused` (``RoleMissing``, ``KeyMayNotGiveRights``), `Conflict`, `NotFound`.
    """
    _check_maker(by, normal(person))
    if not 0 < seconds <= YEAR:
        raise Invalid(
            "InvalidRequest", "a key lives for a year at most", found=seconds, allowed=YEAR
        )
    asked, now = check_roles(roles), time.time()
    id, secret = secrets.token_hex(8), secrets.token_bytes(32)
    with store.begin() as session:
        owner = find(session, person)
        if not is_standing(owner, now):
            raise Conflict("PersonDisabled", f"{owner.address} may not act here any more")
        missing = set(asked) - (set(owner.roles) & by.roles)
        if missing:
            raise Refused(
                "RoleMissing",
                "a key has no more roles than the person it belongs to",
                found=sorted(missing),
                allowed=[role for role in owner.roles if role in by.roles],
            )
        if len(_living_keys(session, owner.address, now)) >= MAX_KEYS:
            raise Conflict(
                "TooManyKeys",
                f"a person has at most {MAX_KEYS} keys",
                hint="revoke those that are not used",
            )
        expires_at = now + seconds if owner.until is None else min(now + seconds, owner.until)
        session.add(
            ApiKey(
                id=id,
                digest=hashlib.sha256(secret).digest(),
                person=owner.address,
                name=name,
                roles=list(asked),
                expires_at=expires_at,
                created_at=now,
            )
        )
        data = {"key": id, "roles": list(asked), "expires": int(expires_at)}
        record(session, "api_key.created", owner.address, data, by.id)
    return NewKey(id, f"fck_{id}_{secret.hex()}", name, asked, expires_at)


def revoke_key(store: Store, id: str, *, by: Actor) -> None:
    """One's own key, or anybody's for an operator.  Raises `NotFound` for any other."""
    with store.begin() as session:
        key = find_key(session, id)
        if key.person != by.address and not by.may("operator"):
            raise NotFound("NotFound", "there is no such key of yours", found=id)
        if key.revoked_at is None:
            key.revoked_at = time.time()
            record(session, "api_key.revoked", key.person, {"key": id}, by.id)


def keys(session: Session, person: str | None) -> list[ApiKey]:
    """Keys of a person, or of all, newest first."""
    query = select(ApiKey).order_by(ApiKey.created_at.desc(), ApiKey.id)
    return list(session.scalars(query if person is None else query.where(ApiKey.person == person)))


def find_key(session: Session, id: str) -> ApiKey:
    """Raises `NotFound`."""
    key = session.get(ApiKey, id)
    if key is None:
        raise NotFound("NotFound", "there is no such key", found=id[:40])
    return key


def key_actor(store: Store, text: str, now: float) -> Actor | None:
    """Whose program this is, if it is anybody's now: the roles both the key and the person have."""
    form = KEY_FORM.fullmatch(text)
    if form is None:
        return None
    id, secret = form[1], bytes.fromhex(form[2])
    found = hashlib.sha256(secret).digest()
    with store.read() as session:
        key = session.get(ApiKey, id)
        # An unknown id costs as much as a known one with a wrong secret.
        kept = bytes(32) if key is None else key.digest
        if not hmac.compare_digest(found, kept) or key is None:
            return None
        if key.revoked_at is not None or key.expires_at <= now:
            return None
        person = standing(session, key.person, now)
        if person is None:
            return None
        roles = frozenset(key.roles) & frozenset(person.roles)
        actor = Actor(person.name, person.address, roles, "api-key", id)
        stale = key.last_used_at is None or key.last_used_at < now - USE_KEPT_SECONDS
    if stale:
        with store.begin() as session:
            session.execute(update(ApiKey).where(ApiKey.id == id).values(last_used_at=now))
    return actor


def _check_maker(by: Actor, person: str) -> None:
    if by.how == "token" or (by.how == "session" and by.address == person):
        return
    if by.how == "api-key":
        raise Refused(
            "KeyMayNotGiveRights",
            "a key cannot make a key",
            hint="sign in, or use the operator's token in the site's home",
        )
    raise Refused(
        "KeyOfAnother",
        "nobody makes a key in another's name",
        hint="let the person sign in, or use the operator's token in the site's home",
    )


def _living_keys(session: Session, person: str, now: float) -> list[ApiKey]:
    return [key for key in keys(session, person) if key.revoked_at is None and key.expires_at > now]
