"""The evidence pack that this site shows a regulator: `chain.pack` has the format.

Everything in it was public to the members or is this site's own log; which fields of the log's
entries stay hidden is for the site to say (`Wanted.redacted`), and the pack says it.
"""

from __future__ import annotations

import base64
import json
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from chain import canonical
from chain.ledger import Ledger
from chain.pack import (
    KEPT,
    MAX_BYTES,
    MAX_LEAVES,
    OF_WORK,
    TYPE,
    VERSION,
    Chosen,
    governance_event,
    stated,
)
from chain.statement import first_block_from, signed_bytes
from node.audit.entries import KINDS, now, type_of
from node.audit.erasure import receipts
from node.errors import Invalid, NotFound, TooLarge, Unavailable
from node.identity import AUDIT
from node.ledger import read_ledger
from node.refusals import chain_errors
from node.store import Anchor, AuditEntry, ChainEvent, LocalJob

if TYPE_CHECKING:
    from chain.network import Network
    from node.audit.log import LogEntry
    from node.site import Site

PIECE = 2000  # entries that are opened at once
MAX_PERIODS = 20  # into which a period that does not fit is divided for who asks


@dataclass(frozen=True)
class Wanted:
    """What a pack shall show; None: all.  ``since`` and ``until`` (exclusive) are UTC.

    ``redacted`` are names of fields, and kinds of entries (they have a dot), that stay hidden.
    """

    since: datetime | None = None
    until: datetime | None = None
    site: str | None = None
    dataset: str | None = None
    job: str | None = None
    redacted: tuple[str, ...] = ()

    @property
    def fields(self) -> list[str]:
        return sorted({name for name in self.redacted if "." not in name})

    @property
    def kinds(self) -> list[str]:
        """Types, as entries have them.  Raises `Invalid` for what is no kind."""
        found = {name for name in self.redacted if "." in name}
        if unknown := sorted(found - KINDS):
            raise Invalid("InvalidRequest", "there is no such kind of entry", found=unknown)
        return sorted(type_of(name) for name in found)


def pack(site: Site, wanted: Wanted) -> bytes:
    """The file.

    Raises `Invalid` for a scope that is none, `NotFound` for a thing that the chain does not know,
    `Unavailable` (``NotAnchored``, ``ChainUnavailable``) and `TooLarge`.
    """
    if named := sorted(KEPT.intersection(wanted.fields)):
        raise Invalid(
            "InvalidRequest",
            "an entry without these fields is evidence of nothing",
            found=named,
            allowed="other fields, or whole kinds of entries",
        )
    with site.store.read() as session:
        anchor = session.scalar(select(Anchor).order_by(Anchor.size.desc()).limit(1))
        ledger = read_ledger(session)
    if anchor is None or ledger.block < 0:
        raise Unavailable("NotAnchored", "no head of this site's log is anchored on the chain yet")
    with chain_errors():
        return _made(site, wanted, anchor, ledger)


def _made(site: Site, wanted: Wanted, anchor: Anchor, ledger: Ledger) -> bytes:
    from chain import pack_state

    network = site.network()
    require_known(wanted, ledger)
    scope = _scope(network, wanted, ledger)
    chosen = Chosen(site.agreed, ledger.until(scope["lastBlock"], ledger.time), scope)
    with site.store.read() as session:
        events = _decisions(session, scope["firstBlock"], scope["lastBlock"])
        certificates = _certificates(site, session, chosen, hidden=bool(wanted.fields))
    identity = site.identity
    value: dict[str, Any] = {
        "type": TYPE,
        "version": VERSION,
        "scope": scope,
        **stated(network, site.agreed, ledger, events, scope, site.id),
        "log": _log(site, anchor, chosen, scope),
        "certificates": certificates,
        "issued": {
            "by": site.id,
            "at": now(),
            "keyId": site.key_id(AUDIT, identity),
            "publicKey": "0x" + identity.audit_public.hex(),
        },
    }
    # The chain may have moved on since the block at which the pack is proved.
    value["keys"] = pack_state.keys_at(value["keys"], ledger.block)
    value["chain"] = pack_state.prove(network, value, ledger.block)
    value["report"] = _report(value)
    signature = identity.sign_audit(signed_bytes(value))
    value["signature"] = base64.b64encode(signature).decode()
    content = canonical.dumps(value) + b"\n"
    if len(content) > MAX_BYTES:
        raise _too_large(f"{len(content)} bytes", f"{MAX_BYTES} bytes")
    return content


def require_known(wanted: Wanted, ledger: Ledger) -> None:
    """Raises `NotFound` for a site, dataset or job that the chain does not know, `Invalid` for a
    period that is none."""
    things = (
        (wanted.site, ledger.members),
        (wanted.dataset, ledger.datasets),
        (wanted.job, ledger.jobs),
    )
    for id, known in things:
        if id is not None and id not in known:
            raise NotFound("NotFound", "the chain knows no such site, dataset or job", found=id)
    if wanted.since is not None and wanted.until is not None and wanted.since >= wanted.until:
        raise Invalid("InvalidRequest", "the period ends before it begins")


def _scope(network: Network, wanted: Wanted, ledger: Ledger) -> dict[str, Any]:
    def block_from(at: datetime) -> int:
        return first_block_from(network.client, -int(-at.timestamp() // 1), ledger.block)

    return {
        "from": moment_text(wanted.since),
        "until": moment_text(wanted.until),
        "site": wanted.site,
        "dataset": wanted.dataset,
        "job": wanted.job,
        "firstBlock": 0 if wanted.since is None else block_from(wanted.since),
        "lastBlock": ledger.block if wanted.until is None else block_from(wanted.until) - 1,
        "redacted": {"fields": wanted.fields, "kinds": wanted.kinds},
    }


def moment_text(at: datetime | None) -> str | None:
    """As entries of the log have their times, so that texts compare as times do."""
    if at is None:
        return None
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _decisions(session: Session, first: int, last: int) -> list[dict[str, Any]]:
    rows = session.scalars(
        select(ChainEvent)
        .where(
            ChainEvent.contract.not_in(sorted(OF_WORK)),
            ChainEvent.block >= first,
            ChainEvent.block <= last,
        )
        .order_by(ChainEvent.block, ChainEvent.log_index)
    )
    return [governance_event(e.contract, e.name, e.args, e.block, e.tx_hash) for e in rows]


def _certificates(
    site: Site, session: Session, chosen: Chosen, *, hidden: bool
) -> list[dict[str, Any]]:
    """Those that this site issued; where fields are ``hidden`` their digests alone."""
    found = []
    for job in chosen.jobs():
        row = session.get(LocalJob, job.id)
        if row is not None and row.certificate is not None:
            content = (site.settings.home / row.certificate).read_bytes()
            certificate = None if hidden else json.loads(content)
            digest = canonical.digest(content)
            found.append({"job": job.id, "digest": digest, "certificate": certificate})
    return found


# ── The log ──────────────────────────────────────────────────────────────────────────────────


def _log(site: Site, anchor: Anchor, chosen: Chosen, scope: Mapping[str, Any]) -> dict[str, Any]:
    with site.store.read() as session:
        first, end = _range(session, anchor.size, scope)
        if end - first > MAX_LEAVES:
            raise _too_large(f"{end - first} entries", f"{MAX_LEAVES} entries")
        leaves = ["0x" + leaf.hex() for leaf in _leaves(session, first, end)]
    subjects = None if chosen.is_whole else chosen.subjects()
    entries: list[Any] = list(leaves)
    for start in range(first, end, PIECE):
        for entry in site.log.entries(start, min(end, start + PIECE), opened=True):
            if _is_shown(entry, subjects, scope):
                entries[entry.index - first] = _shown(entry, scope["redacted"]["fields"])
    proof = site.log.range_proof(first, end, anchor.size)
    return {
        "site": site.id,
        "anchored": {
            "size": anchor.size,
            "root": anchor.root,
            "block": anchor.block,
            "txHash": anchor.tx_hash,
        },
        "first": first,
        "end": end,
        "entries": entries,
        "erasures": _receipts(site, entries),
        "proof": ["0x" + node.hex() for node in proof],
    }


def _receipts(site: Site, entries: list[Any]) -> list[dict[str, Any]]:
    """Of what is shown as erased; read after the entries, so that none of theirs is missing."""
    erased = [part["index"] for part in entries if not isinstance(part, str) and part["erased"]]
    if not erased:
        return []
    with site.store.read() as session:
        found = receipts(session)
    return [receipt for receipt in found if _covers(receipt, erased)]


def _covers(receipt: Mapping[str, Any], indexes: list[int]) -> bool:
    """``indexes`` are in their order."""
    for first, last in receipt["entries"]:
        at = bisect_left(indexes, first)
        if at < len(indexes) and indexes[at] <= last:
            return True
    return False


def _range(session: Session, size: int, scope: Mapping[str, Any]) -> tuple[int, int]:
    """From the first to the last anchored entry of the period: those recorded beside one another
    may have changed places, so some between them may be outside. Without a beginning it begins with
    the log, without an end it ends with the anchored head."""
    query = select(func.min(AuditEntry.index), func.max(AuditEntry.index)).where(
        AuditEntry.index < size
    )
    if scope["from"] is not None:
        query = query.where(AuditEntry.time >= scope["from"])
    if scope["until"] is not None:
        query = query.where(AuditEntry.time < scope["until"])
    first, last = session.execute(query).one()
    start = size if scope["until"] is None else 0
    if first is not None:
        start = first
    return (
        0 if scope["from"] is None else start,
        size if scope["until"] is None else start if last is None else last + 1,
    )


def require_fits(site: Site, scope: Mapping[str, Any]) -> None:
    """Raises `TooLarge` (``PackTooLarge``) for a period of more entries than a pack shows; its hint
    names the periods to ask for instead."""
    with site.store.read() as session:
        first, end = _range(session, site.log.size, scope)
        if end - first <= MAX_LEAVES:
            return
        # Entries recorded beside one another may have changed places: each piece has room to spare.
        borders = range(first, end, max(1, MAX_LEAVES * 9 // 10))[1 : MAX_PERIODS + 1]
        times = select(AuditEntry.time).where(AuditEntry.index.in_(borders))
        found = list(session.scalars(times.order_by(AuditEntry.index)))
    ends = ", ".join(found)
    raise TooLarge(
        "PackTooLarge",
        "what was asked for does not fit into one file",
        found=f"{end - first} entries",
        allowed=f"{MAX_LEAVES} entries",
        hint=f"ask for one period after another, the next from where one ends: until {ends}",
    )


def _leaves(session: Session, first: int, end: int) -> list[bytes]:
    query = (
        select(AuditEntry.leaf_hash)
        .where(AuditEntry.index >= first, AuditEntry.index < end)
        .order_by(AuditEntry.index)
    )
    return list(session.scalars(query))


def _is_shown(entry: LogEntry, subjects: set[str] | None, scope: Mapping[str, Any]) -> bool:
    start, until = scope["from"], scope["until"]
    return (
        (subjects is None or entry.subject in subjects)
        and (start is None or entry.time >= start)
        and (until is None or entry.time < until)
        and entry.type not in scope["redacted"]["kinds"]
    )


def _shown(entry: LogEntry, redacted: list[str]) -> dict[str, Any]:
    data = entry.data
    names = None if data is None else [name for name in data if name not in redacted]
    return {**entry.shown(names), "erased": data is None}


def _report(value: Mapping[str, Any]) -> dict[str, str]:
    from node.ui.pack import LANGUAGES, render
    from node.ui.verifier import page

    pages = {language: render(value, language) for language in LANGUAGES}
    return {**pages, "verifier": page().decode()}


def _too_large(found: str, allowed: str) -> TooLarge:
    return TooLarge(
        "PackTooLarge",
        "what was asked for does not fit into one file",
        found=found,
        allowed=allowed,
        hint="ask for a shorter period: the next pack begins where one ends",
    )
