"""Entries of the site's audit log, with the proof that they are in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from node.api.pages import Page, from_cursor, to_cursor
from node.api.views.jobs import AnchorShown, anchor_shown
from node.api.views.model import Shown
from node.audit.log import ENTRY_COLUMNS, LogEntry, read_opened
from node.errors import Failed, Invalid
from node.store import Anchor, AuditEntry, AuditPending

if TYPE_CHECKING:
    from node.site import Site


class EntryShown(Shown):
    """`entry` is a CloudEvents 1.0 event; its canonical JSON (RFC 8785) is the leaf's data, and its
    `data` are commitments. What they are of is `data`: `payload` says whether it is there
    ("open"), was "erased", is "missing" though nobody erased it, or is not what the entry
    committed to ("altered"); then it is null.
    """

    index: int
    leaf_hash: str
    type: str
    subject: str
    actor: str
    time: str
    entry: dict[str, Any]
    data: dict[str, Any] | None
    payload: Literal["open", "erased", "missing", "altered"]


class ProofShown(Shown):
    """RFC 6962: `path` leads from `leaf_hash` at `index` to `root` of the log of `size` entries.

    `anchor` is the head on the chain that this root is, null where it is not anchored yet.
    """

    size: int
    root: str
    path: list[str]
    verified: bool
    anchor: AnchorShown | None


class EntryWithProof(EntryShown):
    """`disclosed` opens the commitments: name → [salt of the field, value]."""

    disclosed: dict[str, list[Any]]
    proof: ProofShown


class CheckpointShown(Shown):
    """`note` is a signed note (C2SP) with the audit key; null before the site is registered."""

    size: int
    root: str
    pending: int
    note: str | None
    anchor: AnchorShown | None


def page(
    session: Session,
    *,
    limit: int,
    cursor: str | None = None,
    type: str | None = None,
    subject: str | None = None,
    since: str | None = None,
    until: str | None = None,
) -> Page[EntryShown]:
    """Newest first; `type` may be a prefix that ends in a dot, times are RFC 3339 in UTC."""
    query = select(*ENTRY_COLUMNS).order_by(AuditEntry.index.desc()).limit(limit + 1)
    if type is not None:
        matches = AuditEntry.type.startswith(type, autoescape=True)
        query = query.where(matches if type.endswith(".") else AuditEntry.type == type)
    if subject is not None:
        query = query.where(AuditEntry.subject == subject)
    if since is not None:
        query = query.where(AuditEntry.time >= since)
    if until is not None:
        query = query.where(AuditEntry.time < until)
    if (position := from_cursor(cursor, int)) is not None:
        query = query.where(AuditEntry.index < position[0])
    found = read_opened(session, query)
    more = to_cursor(found[limit - 1].index) if len(found) > limit else None
    return Page(items=[EntryShown(**_shown(entry)) for entry in found[:limit]], next=more)


def show(site: Site, index: int, size: int | None = None) -> EntryWithProof:
    """One entry, proved under `size`: by default the first anchored head that covers it, if any.

    Raises `NotFound`, and `Invalid` for a size that does not hold the entry.
    """
    entry = site.log.entry(index)
    with site.store.read() as session:
        anchor = session.scalar(
            select(Anchor).where(Anchor.size > index).order_by(Anchor.size).limit(1)
            if size is None
            else select(Anchor).where(Anchor.size == size)
        )
    whole = site.log.size
    under = size or (anchor.size if anchor is not None else whole)
    if not index < under <= whole:
        raise Invalid(
            "InvalidRequest",
            "a proof is given under a size that holds the entry",
            found=under,
            allowed=f"{index + 1} to {whole}",
        )
    return EntryWithProof(
        **_shown(entry),
        disclosed=_disclosed(entry),
        proof=_proof(site, entry, under, anchor),
    )


def checkpoint(site: Site) -> CheckpointShown:
    """The newest head."""
    size = site.log.size
    with site.store.read() as session:
        anchor = session.scalar(select(Anchor).order_by(Anchor.size.desc()).limit(1))
        pending = session.scalar(select(func.count()).select_from(AuditPending)) or 0
    return CheckpointShown(
        size=size,
        root=_hex(site.log.root(size)),
        pending=pending,
        note=_note(site),
        anchor=None if anchor is None else anchor_shown(anchor),
    )


def types(session: Session) -> list[str]:
    """The types that occur in the log."""
    return sorted(session.scalars(select(AuditEntry.type).distinct()))


def _proof(site: Site, entry: LogEntry, size: int, anchor: Anchor | None) -> ProofShown:
    from chain import merkle

    path = site.log.inclusion_proof(entry.index, size)
    root = site.log.root(size)
    found = merkle.root_from_inclusion(entry.leaf_hash, entry.index, size, path)
    return ProofShown(
        size=size,
        root=_hex(root),
        path=[_hex(node) for node in path],
        verified=found == root and (anchor is None or anchor.root == _hex(root)),
        anchor=None if anchor is None else anchor_shown(anchor),
    )


def _note(site: Site) -> str | None:
    if not site.is_registered:
        return None
    return site.log.checkpoint(site.identity, site.id)


def _shown(entry: LogEntry) -> dict[str, Any]:
    try:
        data = entry.data
        gone = "erased" if entry.is_erased else "missing"
        payload = gone if data is None else "open"
    except Failed:
        data, payload = None, "altered"
    return {
        "index": entry.index,
        "leaf_hash": _hex(entry.leaf_hash),
        "type": entry.type,
        "subject": entry.subject,
        "actor": entry.actor,
        "time": entry.time,
        "entry": entry.value,
        "data": data,
        "payload": payload,
    }


def _disclosed(entry: LogEntry) -> dict[str, list[Any]]:
    try:
        return entry.disclosed()
    except Failed:
        return {}  # it is shown as altered


def _hex(value: bytes | str) -> str:
    return value if isinstance(value, str) else "0x" + value.hex()
