"""What a site's log tells: entries with their data opened, for tests to look at."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import select

from node.audit.payloads import Sealed
from node.audit.schemas import EVENTS
from node.site import Site
from node.store import AuditPayload, AuditPending, PayloadKey, Store


def task(n: int = 0) -> dict[str, Any]:
    """Data of `task.started`."""
    return {"task": f"task {n}", "step": "train", "attempt": n}


def sample(kind: str, n: int = 0) -> dict[str, Any]:
    """Data that an entry of this kind may have."""
    values: dict[str, Any] = {"text": f"{n}", "integer": n, "boolean": True}
    values |= {"object": {}, "list": [], "integer or null": n}
    fields = EVENTS[kind].fields.items()
    return {name: values[field.type.name] for name, field in fields if not field.optional}


def available(block: int = 0, was: str = "") -> dict[str, Any]:
    """Data of `chain.available`."""
    return {"block": block, "was": was}


def pending(store: Store) -> list[dict[str, Any]]:
    """Entries that wait for their places, in the order of recording."""
    payloads = select(AuditPayload.sealed, PayloadKey.key).join(
        PayloadKey, PayloadKey.id == AuditPayload.key_id
    )
    found = []
    with store.read() as session:
        for content in session.scalars(select(AuditPending.entry).order_by(AuditPending.id)):
            entry = json.loads(content)
            row = session.execute(payloads.where(AuditPayload.id == entry["id"])).one()
            opened = Sealed(row.sealed, row.key).open(entry["id"], entry["data"])
            assert opened is not None
            found.append(entry | {"data": opened.data})
    return found


def told(site: Site, kind: str, subject: str | None = None) -> list[dict[str, Any]]:
    """Entries of a kind, about a subject or about any, in the log's order."""
    while site.log.sequence():
        pass
    return [
        entry.value | {"data": entry.data}
        for entry in site.log.entries(0, site.log.size, opened=True)
        if entry.type == f"fatechain.{kind}.v1" and subject in (None, entry.subject)
    ]
