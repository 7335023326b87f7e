"""What entries commit to: sealed beside the log, with a key for each scope.

A scope is what is erased together: a job, a dataset, or whatever else an entry is about.  Salt and
data of an entry lie in `audit_payload` under AES-256-GCM with the scope's key and a random nonce,
bound to the id of the entry.  Where the key is gone, its entries say nothing any more, and their
leaves prove as before.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import select
from sqlalchemy.orm import Session

from chain import canonical, entries
from node.audit.verification import MAX_FAULTS, Fault
from node.errors import Failed
from node.store import (
    AuditEntry,
    AuditPayload,
    ErasedEntry,
    PayloadKey,
    Store,
    insert_later,
)

KEY_BYTES = 32
NONCE_BYTES = 12
MAX_SCOPE = 80  # characters
_OPEN_KEYS = "payload keys"
_UNREADABLE = (InvalidTag, ValueError, TypeError, KeyError, RecursionError, canonical.NotCanonical)


@dataclass(frozen=True)
class Payload:
    """The salt (32 bytes) and the fields of an entry."""

    salt: bytes
    data: dict[str, Any]


@dataclass(frozen=True)
class Sealed:
    """A payload as the database has it; None where it is gone.

    What was erased is not opened, even if somebody put it back.
    """

    content: bytes | None
    key: bytes | None
    is_erased: bool = False

    def open(self, id: str, committed: Mapping[str, str]) -> Payload | None:
        """None where it is gone; raises `Failed` (``PayloadDiffers``) where it is not what the
        entry of this id committed to."""
        if self.is_erased or self.content is None or self.key is None:
            return None
        nonce, content = self.content[:NONCE_BYTES], self.content[NONCE_BYTES:]
        try:
            opened = json.loads(AESGCM(self.key).decrypt(nonce, content, id.encode()))
            found = Payload(bytes.fromhex(opened["salt"]), dict(opened["data"]))
            contents = {name: canonical.dumps(value) for name, value in found.data.items()}
        except _UNREADABLE as error:
            raise _differs(id, "it does not open") from error
        # HMAC pads its key with zeros, so that salts of other lengths may give the same.
        right_length = len(found.salt) == entries.SALT_BYTES
        if not right_length or entries.commit(found.salt, contents) != committed:
            raise _differs(id, "it is not what the entry committed to")
        return found


def keep(session: Session, id: str, scope: str, salt: bytes, content: bytes) -> None:
    """Seal the payload of an entry in the caller's transaction; ``content`` is its data as JSON."""
    key_id, key = _key_of(session, scope)
    nonce = secrets.token_bytes(NONCE_BYTES)
    plain = b'{"data":%s,"salt":"%s"}' % (content, salt.hex().encode())
    sealed = nonce + key.encrypt(nonce, plain, id.encode())
    insert_later(session, AuditPayload, {"id": id, "key_id": key_id, "sealed": sealed})


def faults(store: Store) -> list[Fault]:
    """Entries whose payload is not what it was (100 at most): changed, taken away without an
    erasure, or put back after one."""
    query = (
        select(
            AuditEntry.index,
            AuditEntry.id,
            AuditEntry.entry,
            AuditPayload.sealed,
            PayloadKey.key,
            ErasedEntry.index,
        )
        .outerjoin(AuditPayload, AuditPayload.id == AuditEntry.id)
        .outerjoin(PayloadKey, PayloadKey.id == AuditPayload.key_id)
        .outerjoin(ErasedEntry, ErasedEntry.index == AuditEntry.index)
        .order_by(AuditEntry.index)
        .execution_options(yield_per=1000)
    )
    found: list[Fault] = []
    with store.read() as session:
        for index, id, entry, content, key, erased in session.execute(query):
            if what := _what_differs(id, entry, Sealed(content, key), erased is not None):
                found.append(Fault(index, what))
                if len(found) == MAX_FAULTS:
                    break
    return found


def _what_differs(id: str, entry: bytes, sealed: Sealed, is_erased: bool) -> str | None:
    if is_erased:
        return None if sealed.content is None else "erased, and its payload was put back"
    try:
        if sealed.open(id, json.loads(entry)["data"]) is None:
            return "its payload is gone, and no erasure tells of it"
    except (Failed, ValueError, TypeError, KeyError):
        return "its payload is not what it committed to"
    return None


def _key_of(session: Session, scope: str) -> tuple[int, AESGCM]:
    """The scope's key, made where there is none; kept in mind for the transaction."""
    known: dict[str, tuple[int, AESGCM]] = session.info.setdefault(_OPEN_KEYS, {})
    if scope in known:
        return known[scope]
    # Locked against erasure until the transaction ends, where the database has row locks.
    query = (
        select(PayloadKey.id, PayloadKey.key)
        .where(PayloadKey.scope == scope)
        .with_for_update(read=True, key_share=True)
    )
    found = session.execute(query).one_or_none()
    if found is None:
        _make_key(session, scope)
        found = session.execute(query).one()
    known[scope] = (found.id, AESGCM(found.key))
    return known[scope]


def _make_key(session: Session, scope: str) -> None:
    """Somebody else may make it at the same time: one of the two stands."""
    from sqlalchemy.dialects import postgresql, sqlite

    dialect = sqlite if session.connection().dialect.name == "sqlite" else postgresql
    row = {"scope": scope, "key": secrets.token_bytes(KEY_BYTES)}
    session.execute(dialect.insert(PayloadKey).values(row).on_conflict_do_nothing())


def _differs(id: str, detail: str) -> Failed:
    return Failed(
        "PayloadDiffers",
        f"the payload of entry {id} was changed: {detail}",
        found=id,
        hint="keep the database as it is and find out who changed the table audit_payload",
    )
