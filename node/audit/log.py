"""The audit log of a site: entries in their places, and the Merkle tree over them (RFC 6962).

The database is the truth.  `AuditLog.sequence` moves pending entries to their places in one
transaction: an entry is pending or it is in the log, never both, never neither, whenever the
process dies.  Tiles hold the hashes of the tree so that proofs need not read the log; they are
derived, written after the transaction, and made again where they are missing.  A tile that says
something else than the database is not repaired but reported: one of the two was tampered with.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Select, delete, func, select
from sqlalchemy.orm import Session

from chain import merkle
from chain.entries import disclose
from chain.ranges import range_proof
from node.audit.checkpoint import sign_checkpoint
from node.audit.dates import Anchored
from node.audit.payloads import Payload, Sealed, faults
from node.audit.tiles import WIDTH, Tiles, bundle
from node.audit.tree import HEIGHT, TiledTree, differs
from node.audit.verification import Fault, Progress, verify
from node.errors import Invalid, NotFound
from node.identity import Identity
from node.store import (
    Anchor,
    AuditEntry,
    AuditPayload,
    AuditPending,
    Base,
    ErasedEntry,
    PayloadKey,
    Store,
    insert_plain,
)

BATCH = 5000  # entries in one transaction

_PENDING = Base.metadata.tables["audit_pending"]
_COLUMNS = ("index", "id", "type", "subject", "actor", "time", "leaf_hash", "entry")
_AFTER = b'"dataschema":'  # what follows the data of an entry


@dataclass(frozen=True)
class LogEntry:
    """An entry with its place; ``content`` is the canonical JSON, and the leaf data.

    ``sealed`` is None where the entry was read without its payload.
    """

    index: int
    id: str
    type: str
    subject: str
    actor: str
    time: str
    leaf_hash: bytes
    content: bytes
    sealed: Sealed | None = None

    @cached_property
    def value(self) -> dict[str, Any]:
        """The leaf as JSON: its data are commitments."""
        found: dict[str, Any] = json.loads(self.content)
        return found

    @cached_property
    def payload(self) -> Payload | None:
        """What the entry commits to; None where it is gone (`is_erased` says whether rightly).

        Raises `Failed` (``PayloadDiffers``) where it is something else.
        """
        if self.sealed is None:
            raise ValueError(f"entry {self.index} was read without its payload")
        return self.sealed.open(self.id, self.value["data"])

    @property
    def is_erased(self) -> bool:
        """Whether an erasure tells that the payload is gone."""
        return self.sealed is not None and self.sealed.is_erased

    @property
    def data(self) -> dict[str, Any] | None:
        """The fields of the entry; None where they were erased.  Raises as `payload`."""
        return None if self.payload is None else self.payload.data

    def disclosed(self, names: Iterable[str] | None = None) -> dict[str, list[Any]]:
        """The disclosure of some fields, or of all (`chain.entries`); of none where they were
        erased.  Raises as `payload`."""
        found = self.payload
        return {} if found is None else disclose(found.salt, found.data, names)

    def shown(self, names: Iterable[str] | None = None) -> dict[str, Any]:
        """The entry as others can check it, but for its proof.  Raises as `payload`."""
        return {
            "index": self.index,
            "leafHash": "0x" + self.leaf_hash.hex(),
            "entry": self.value,
            "disclosed": self.disclosed(names),
        }


class AuditLog:
    """The log in ``store`` with its tiles below ``folder``.

    Any process may read and prove; only the sync process may `sequence`.
    """

    def __init__(self, store: Store, folder: Path) -> None:
        self._store = store
        self._folder = folder
        self._tree = TiledTree(Tiles(folder), self._leaves)
        self._tiled: int | None = None  # leaves that the tiles hold; None: not looked at yet
        self._checked: tuple[int, str] | None = None  # the newest anchor at the last look

    # ── Writing ──────────────────────────────────────────────────────────────────────────────

    def sequence(self, limit: int = BATCH) -> int:
        """Give up to ``limit`` pending entries their places, in the order of recording.

        Returns how many; 0 when nothing was pending.  Raises `Failed` (``AuditLogDiffers``).
        """
        if self._tiled is None:
            self.repair()
        else:
            self._check_anchor()  # one may come that a restored log does not continue
        with self._store.begin() as session:
            size = _size(session)
            pending = session.execute(
                select(AuditPending.id, AuditPending.entry).order_by(AuditPending.id).limit(limit)
            ).all()
            if not pending:
                return 0
            rows = [_placed(size + i, content) for i, (_, content) in enumerate(pending)]
            connection = session.connection()
            insert_plain(connection, AuditEntry, _COLUMNS, rows)
            connection.execute(delete(_PENDING).where(_taken([id for id, _ in pending])))
        if self._tiled != size:
            self.repair()  # somebody else sequenced meanwhile
        else:
            self._tree.append(size, b"".join([row[-2] for row in rows]))
            self._tiled = size + len(rows)
        return len(rows)

    def repair(self) -> int:
        """Make missing tiles again; returns how many leaves they lacked.

        Raises `Failed` (``AuditLogDiffers``) with the first index where tiles or anchors and the
        database say different things: then nothing is overwritten.
        """
        with self._store.read() as session:
            size = _size(session)
        self._checked = None
        self._check_anchor()
        lacking = self._tree.repair(size)
        self._tiled = size
        return lacking

    # ── Reading and proving ──────────────────────────────────────────────────────────────────

    @property
    def size(self) -> int:
        """How many entries have their place."""
        with self._store.read() as session:
            return _size(session)

    @property
    def pending(self) -> int:
        """How many entries wait for theirs."""
        with self._store.read() as session:
            return session.scalar(select(func.count()).select_from(AuditPending)) or 0

    def root(self, size: int | None = None) -> bytes:
        """The root over the first ``size`` entries (all by default); 32 bytes."""
        within = self._within(size)
        return merkle.root_at(within, self._tree.hashes_of(within))

    def inclusion_proof(self, index: int, size: int | None = None) -> list[bytes]:
        """That entry ``index`` stands in the log of ``size``; raises `Invalid`."""
        within = self._within(size)
        if not 0 <= index < within:
            raise Invalid(
                "InvalidRequest", f"there is no entry {index} in a log of {within}", found=index
            )
        return merkle.inclusion_proof_at(index, within, self._tree.hashes_of(within))

    def consistency_proof(self, old: int, new: int | None = None) -> list[bytes]:
        """That the log of ``new`` begins with the log of ``old``; raises `Invalid`."""
        within = self._within(new)
        if not 0 < old <= within:
            raise Invalid(
                "InvalidRequest",
                f"there is no proof from {old} to {within} entries",
                found=old,
                allowed=f"1 to {within}",
            )
        return merkle.consistency_proof_at(old, within, self._tree.hashes_of(within))

    def range_proof(self, first: int, end: int, size: int | None = None) -> list[bytes]:
        """That the entries [first, end) stand side by side, none left out (`chain.ranges`)."""
        within = self._within(size)
        return range_proof(first, end, within, self._tree.hashes_of(within))

    def checkpoint(self, identity: Identity, site_id: str, size: int | None = None) -> str:
        """A head of the log, signed with the audit key."""
        within = self._within(size)
        return sign_checkpoint(identity, site_id, within, self.root(within))

    def tile(self, level: int, number: int, width: int = WIDTH) -> bytes | None:
        """The first ``width`` hashes of a tile; None where they do not all stand."""
        if number * WIDTH + width > self.size >> HEIGHT * level:
            return None
        return self._tree.tile(level, number, width)

    def bundle(self, number: int, width: int = WIDTH) -> bytes | None:
        """The first ``width`` entries of a bundle, each after its length in two bytes."""
        start = number * WIDTH
        found = [entry.content for entry in self.entries(start, start + width)]
        return bundle(found) if len(found) == width else None

    def entry(self, index: int) -> LogEntry:
        """An entry that can be opened; raises `NotFound`."""
        for found in self.entries(index, index + 1, opened=True):
            return found
        raise NotFound("NotFound", f"the log has no entry {index}", found=index)

    def entries(self, first: int, end: int, *, opened: bool = False) -> list[LogEntry]:
        """Entries [first, end) as far as there are any, in their order; ``opened`` with their
        payloads."""
        query = select(*ENTRY_COLUMNS).where(AuditEntry.index >= first, AuditEntry.index < end)
        with self._store.read() as session:
            if opened:
                return read_opened(session, query.order_by(AuditEntry.index))
            return [LogEntry(*row) for row in session.execute(query.order_by(AuditEntry.index))]

    def of_subject(self, subject: str, types: Iterable[str] = ()) -> list[LogEntry]:
        """All entries about a job (or other id), or those of some types, in their order; they can
        be opened."""
        query = select(*ENTRY_COLUMNS).where(AuditEntry.subject == subject)
        if chosen := list(types):
            query = query.where(AuditEntry.type.in_(chosen))
        with self._store.read() as session:
            return read_opened(session, query.order_by(AuditEntry.index))

    # ── Verifying ────────────────────────────────────────────────────────────────────────────

    def verify(
        self,
        anchors: Sequence[Anchored] | None = None,
        *,
        processes: int = 1,
        progress: Progress | None = None,
    ) -> list[Fault]:
        """Read the whole log and name every place that is not as it was written (100 at most).

        ``anchors`` are the heads that the chain holds; those that the database tells of unless
        given, which whoever edits it may edit, too.
        """
        heads = self.anchors() if anchors is None else anchors
        return verify(self._store, self._folder, heads, processes=processes, progress=progress)

    def payload_faults(self) -> list[Fault]:
        """Entries whose payload was changed, taken away without an erasure, or put back after one
        (100 at most)."""
        return faults(self._store)

    def anchors(self) -> list[Anchored]:
        """The anchored heads that the database tells of."""
        with self._store.read() as session:
            rows = session.execute(select(Anchor.size, Anchor.root).order_by(Anchor.size)).all()
        return [Anchored(size, _unhex(root)) for size, root in rows if isinstance(size, int)]

    # ── Hashes ───────────────────────────────────────────────────────────────────────────────

    def _leaves(self, first: int, end: int) -> bytes:
        """`node.audit.tree.Leaves`"""
        with self._store.read() as session:
            rows = session.execute(
                select(AuditEntry.index, AuditEntry.leaf_hash)
                .where(AuditEntry.index >= first, AuditEntry.index < end)
                .order_by(AuditEntry.index)
            ).all()
        for expected, (index, _) in enumerate(rows, first):
            if index != expected:
                raise differs(expected, f"the database lacks the entries up to {index}")
        if len(rows) != end - first:
            raise differs(first + len(rows), "the database lacks the entry")
        return b"".join([leaf for _, leaf in rows])

    # ── Repairing ────────────────────────────────────────────────────────────────────────────

    def _check_anchor(self) -> None:
        """The newest anchored head is one of this log; it is looked at once."""
        with self._store.read() as session:
            newest = session.execute(
                select(Anchor.size, Anchor.root).order_by(Anchor.size.desc()).limit(1)
            ).one_or_none()
        if newest is None or (newest.size, newest.root) == self._checked:
            return
        size = self.size
        if newest.size > size:
            raise differs(size, f"the log has {size} entries and {newest.size} are anchored")
        if "0x" + self.root(newest.size).hex() != newest.root:
            faults = self.verify()
            first = faults[0] if faults else Fault(0, "its root is not the anchored one")
            raise differs(first.index, first.what)
        self._checked = (newest.size, newest.root)

    def _within(self, size: int | None) -> int:
        present = self.size
        if size is None:
            return present
        if not 0 <= size <= present:
            raise Invalid(
                "InvalidRequest",
                f"the log has {present} entries, not {size}",
                found=size,
                allowed=present,
            )
        return size


ENTRY_COLUMNS = (
    AuditEntry.index,
    AuditEntry.id,
    AuditEntry.type,
    AuditEntry.subject,
    AuditEntry.actor,
    AuditEntry.time,
    AuditEntry.leaf_hash,
    AuditEntry.entry,
)


def read_opened(session: Session, query: Select[*tuple[Any, ...]]) -> list[LogEntry]:
    """The entries of a query over `ENTRY_COLUMNS`, each with its payload."""
    with_payloads = (
        query.add_columns(AuditPayload.sealed, PayloadKey.key, ErasedEntry.index.is_not(None))
        .outerjoin(AuditPayload, AuditPayload.id == AuditEntry.id)
        .outerjoin(PayloadKey, PayloadKey.id == AuditPayload.key_id)
        .outerjoin(ErasedEntry, ErasedEntry.index == AuditEntry.index)
    )
    return [
        replace(LogEntry(*row[:-3]), sealed=Sealed(*row[-3:]))
        for row in session.execute(with_payloads)
    ]


def _size(session: Session) -> int:
    last = session.scalar(select(func.max(AuditEntry.index)))
    return 0 if last is None else last + 1


def _unhex(root: Any) -> bytes:
    """The bytes of a root; those of none where somebody wrote something else."""
    try:
        return bytes.fromhex(root.removeprefix("0x"))
    except (AttributeError, ValueError):
        return b""


def _taken(ids: Sequence[int]) -> ColumnElement[bool]:
    """The pending entries of these ids, in their order, and no others."""
    if ids[-1] - ids[0] + 1 == len(ids):  # no id is between them: much faster than to name each
        return _PENDING.c.id.between(ids[0], ids[-1])
    return _PENDING.c.id.in_(ids)


def _placed(index: int, content: bytes) -> tuple[Any, ...]:
    """The row of a pending entry at its place, as in `_COLUMNS`."""
    # All but the commitments, which are most of it: no string holds a quote that is not escaped.
    rest = content[: content.index(b'"data":{')] + content[content.rindex(_AFTER) :]
    value = json.loads(rest.decode())
    told = value["id"], value["type"], value["subject"], value["actor"], value["time"]
    return (index, *told, merkle.leaf_hash(content), content)
