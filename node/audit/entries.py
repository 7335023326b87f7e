"""An entry of the audit log, recorded in the transaction of what it tells.

An entry is a CloudEvents 1.0 event in RFC 8785 canonical JSON; these bytes are the leaf data of
the Merkle tree.  Its `data` are salted commitments (`chain.entries`); the fields themselves, which
are identifiers, digests and counts, never a row, a key or a token, are sealed beside it
(`node.audit.payloads`), where they can be erased.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from chain import canonical
from chain.entries import SALT_BYTES, commit
from node.audit import payloads
from node.audit.schemas import EVENTS
from node.store import AuditPending, insert_later

OPERATOR = "operator"  # the actor where nobody signed in: whoever holds the site's token
MAX_ENTRY_BYTES = 65_535  # what a bundle of entries can hold

KINDS = frozenset(EVENTS)


def record(
    session: Session,
    type: str,
    subject: str,
    data: dict[str, Any],
    actor: str,
    *,
    scope: str | None = None,
    source: str | None = None,
) -> str:
    """Insert an entry in the caller's transaction; return its id.

    ``type`` is one of `KINDS`, ``subject`` a job id or other id, ``actor`` is who did it: `acting`
    for what a person asked for, "worker", "sync" or a site id.  ``scope`` is what it is erased
    with: its subject unless given.  ``source`` is this site unless given: `node.site.Site` writes
    its id into the sessions of its store.  Raises ValueError for an unknown kind, for fields that
    its schema does not have, for a value that is not JSON, and for an entry or a payload of more
    than `MAX_ENTRY_BYTES`.
    """
    if type not in KINDS:
        raise ValueError(f"{type!r} is no kind of entry; allowed are {', '.join(sorted(KINDS))}")
    EVENTS[type].check(type, data)
    id, salt = new_id(), secrets.token_bytes(SALT_BYTES)
    fields = {name: _json(data[name]) for name in sorted(data)}
    # Names of a schema need no escape: leaf and payload are put together as text.
    committed = [f'"{name}":"{found}"' for name, found in commit(salt, fields).items()]
    who = _text(actor), _text(session.info["source"] if source is None else source), _text(subject)
    leaf = (
        f'{{"actor":{who[0]},"data":{{{",".join(committed)}}},'
        f'"dataschema":"urn:fatechain:event:{type}:1","id":"{id}","source":{who[1]},'
        f'"specversion":"1.0","subject":{who[2]},"time":"{now()}","type":"{type_of(type)}"}}'
    ).encode()
    payload = b"{%s}" % b",".join(b'"%s":%s' % (name.encode(), fields[name]) for name in fields)
    for found in (leaf, payload):
        if len(found) > MAX_ENTRY_BYTES:
            raise ValueError(f"entry of {len(found)} bytes; at most {MAX_ENTRY_BYTES} are allowed")
    payloads.keep(session, id, subject if scope is None else scope, salt, payload)
    insert_later(session, AuditPending, {"entry": leaf, "created_at": time.time()})
    return id


def _json(value: Any) -> bytes:
    try:
        return canonical.dumps(value)
    except canonical.NotCanonical as error:
        raise ValueError(str(error)) from error


def _text(value: str) -> str:
    return _json(value).decode()


_actor: ContextVar[str] = ContextVar("actor", default=OPERATOR)


def acting() -> str:
    """Who asked for what is done now: a person's address, or "operator" for the token's holder."""
    return _actor.get()


@contextmanager
def acting_as(actor: str) -> Iterator[None]:
    """What is recorded inside names this actor, also from threads that are started inside."""
    token = _actor.set(actor)
    try:
        yield
    finally:
        _actor.reset(token)


def new_id() -> str:
    """A UUID of version 7 (RFC 9562 § 5.7): in the order of time, which keeps the index of ids
    small to write; 74 bits of it are random."""
    when, chance = f"{time.time_ns() // 1_000_000:012x}", secrets.token_hex(10)
    variant = "89ab"[int(chance[0], 16) % 4]
    return f"{when[:8]}-{when[8:]}-7{chance[1:4]}-{variant}{chance[4:7]}-{chance[7:19]}"


def type_of(kind: str) -> str:
    """``message.sent`` → ``fatechain.message.sent.v1``."""
    return f"fatechain.{kind}.v1"


def now() -> str:
    """RFC 3339 in UTC, to the microsecond."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
