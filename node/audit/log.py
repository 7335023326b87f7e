"""The audit log of a site: entries in their places, and the Merkle tree over them (RFC 6962).

The database is the truth.  `AuditLog.sequence` moves pending entries to their places in one
transaction: an entry is pending or it is in the log, never both, never neither, whenever the
process dies.  Tiles hold the hashes of the tree so that proofs need not read the log; they are
derived, written after the transaction, and made again where they are missing.  A tile that says
something else than the database is not repaired but reported: one of the two was tampered with.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sqlalchemy import bindparam, delete, func, insert, select
from sqlalchemy.orm import Session

from chain import merkle
from node.audit.checkpoint import sign_checkpoint
from node.audit.tiles import HASH_BYTES, WIDTH, Tiles, bundle
from node.errors import Failed, Invalid, NotFound
from node.identity import Identity
from node.store import Anchor, AuditEntry, AuditPending, Base, Store

BATCH = 5000  # entries in one transaction
RUN = 20 * 256  # leaves read at once; whole tiles
HEIGHT = 8  # levels of the tree in one tile: 2 ** HEIGHT == WIDTH
MAX_FAULTS = 100

_ENTRIES, _PENDING = Base.metadata.tables["audit_entry"], Base.metadata.tables["audit_pending"]


@dataclass(frozen=True)
class LogEntry:
    """An entry with its place; ``content`` is the canonical JSON, and the leaf data."""

    index: int
    id: str
    type: str
    subject: str
    actor: str
    time: str
    leaf_hash: bytes
    content: bytes

    @cached_property
    def value(self) -> dict[str, Any]:
        """The entry as JSON."""
        found: dict[str, Any] = json.loads(self.content)
        return found


@dataclass(frozen=True)
class Fault:
    """A place where the log is not what it was."""

    index: int
    what: str


class AuditLog:
    """The log in ``store`` with its tiles below ``folder``.

    Any process may read and prove; only the sync process may `sequence`.
    """

    def __init__(self, store: Store, folder: Path) -> None:
        self._store = store
        self._tiles = Tiles(folder)
        self._tiled: int | None = None  # leaves that the tiles hold; None: not looked at yet

    # ── Writing ──────────────────────────────────────────────────────────────────────────────

    def sequence(self, limit: int = BATCH) -> int:
        """Give up to ``limit`` pending entries their places, in the order of recording.

        Returns how many; 0 when nothing was pending.  Raises `Failed` (``AuditLogDiffers``).
        """
        if self._tiled is None:
            self.repair()
        with self._store.begin() as session:
            size = _size(session)
            pending = session.execute(
                select(AuditPending.id, AuditPending.entry).order_by(AuditPending.id).limit(limit)
            ).all()
            if not pending:
                return 0
            rows = [_placed(size + i, content) for i, (_, content) in enumerate(pending)]
            connection = session.connection()  # plain tables: thousands of rows at once
            connection.execute(insert(_ENTRIES), rows)
            connection.execute(
                delete(_PENDING).where(_PENDING.c.id == bindparam("pending")),
                [{"pending": id} for id, _ in pending],
            )
        if self._tiled != size:
            self.repair()  # somebody else sequenced meanwhile
        else:
            self._grow([(row["leaf_hash"], row["entry"]) for row in rows])
        return len(rows)

    def repair(self) -> int:
        """Make missing tiles again; returns how many leaves they lacked.

        Raises `Failed` (``AuditLogDiffers``) with the first index where tiles or anchors and the
        database say different things: then nothing is overwritten.
        """
        with self._store.read() as session:
            size = _size(session)
        self._check_anchor(size)
        agreed = self._first_lacking(size)
        self._tiled = agreed
        while self._tiled < size:
            # Up to the end of a tile, so that no tile is written twice.
            stop = min(size, self._tiled - self._tiled % WIDTH + RUN)
            entries = self.entries(self._tiled, stop)
            self._grow([(entry.leaf_hash, entry.content) for entry in entries])
        self._complete_upper(size)
        return size - agreed

    def _grow(self, leaves: Sequence[tuple[bytes, bytes]]) -> None:
        """Append (leaf hash, entry) to the tiles, level by level."""
        assert self._tiled is not None
        self._grow_bundles(self._tiled, [entry for _, entry in leaves])
        level, start = 0, self._tiled
        added = b"".join(leaf for leaf, _ in leaves)
        while added:
            number, kept = divmod(start, WIDTH)
            hashes = (self._tile(level, number, kept) if kept else b"") + added
            above: list[bytes] = []
            for at in range(0, len(hashes), WIDTH * HASH_BYTES):
                tile = hashes[at : at + WIDTH * HASH_BYTES]
                self._tiles.write(level, number + len(above), tile)
                if len(tile) == WIDTH * HASH_BYTES:
                    above.append(_subtree(tile))
            level, start, added = level + 1, number, b"".join(above)
        self._tiled += len(leaves)

    def _grow_bundles(self, start: int, entries: Sequence[bytes]) -> None:
        number, kept = divmod(start, WIDTH)
        if kept:
            earlier = self.entries(number * WIDTH, start)
            entries = [*(entry.content for entry in earlier), *entries]
        for at in range(0, len(entries), WIDTH):
            self._tiles.write_entries(number + at // WIDTH, entries[at : at + WIDTH])

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
        return merkle.root_at(self._within(size), self._hash_at)

    def inclusion_proof(self, index: int, size: int | None = None) -> list[bytes]:
        """That entry ``index`` stands in the log of ``size``; raises `Invalid`."""
        within = self._within(size)
        if not 0 <= index < within:
            raise Invalid(
                "InvalidRequest", f"there is no entry {index} in a log of {within}", found=index
            )
        return merkle.inclusion_proof_at(index, within, self._hash_at)

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
        return merkle.consistency_proof_at(old, within, self._hash_at)

    def checkpoint(self, identity: Identity, site_id: str, size: int | None = None) -> str:
        """A head of the log, signed with the audit key."""
        within = self._within(size)
        return sign_checkpoint(identity, site_id, within, self.root(within))

    def tile(self, level: int, number: int, width: int = WIDTH) -> bytes | None:
        """The first ``width`` hashes of a tile; None where they do not all stand."""
        if number * WIDTH + width > self.size >> HEIGHT * level:
            return None
        return self._tile(level, number, width)

    def bundle(self, number: int, width: int = WIDTH) -> bytes | None:
        """The first ``width`` entries of a bundle, each after its length in two bytes."""
        start = number * WIDTH
        found = [entry.content for entry in self.entries(start, start + width)]
        return bundle(found) if len(found) == width else None

    def entry(self, index: int) -> LogEntry:
        """Raises `NotFound`."""
        for found in self.entries(index, index + 1):
            return found
        raise NotFound("NotFound", f"the log has no entry {index}", found=index)

    def entries(self, first: int, end: int) -> list[LogEntry]:
        """Entries [first, end) as far as there are any, in their order."""
        with self._store.read() as session:
            rows = session.execute(
                select(*_COLUMNS)
                .where(AuditEntry.index >= first, AuditEntry.index < end)
                .order_by(AuditEntry.index)
            )
            return [LogEntry(*row) for row in rows]

    def of_subject(self, subject: str) -> list[LogEntry]:
        """All entries about a job (or other id), in their order."""
        with self._store.read() as session:
            rows = session.execute(
                select(*_COLUMNS).where(AuditEntry.subject == subject).order_by(AuditEntry.index)
            )
            return [LogEntry(*row) for row in rows]

    # ── Verifying ────────────────────────────────────────────────────────────────────────────

    def verify(self) -> list[Fault]:
        """Read the whole log and name every place that is not as it was written (100 at most).

        An entry is held against its own hash and columns, against the tiles, and the heads against
        the anchors: whoever edits one line must edit all of them, and cannot edit the chain's.
        """
        faults: list[Fault] = []
        frontier = merkle.Frontier()
        with self._store.read() as session:
            anchors = [
                (size, bytes.fromhex(root.removeprefix("0x")))
                for size, root in session.execute(
                    select(Anchor.size, Anchor.root).order_by(Anchor.size)
                )
            ]
            expected, sound, tile = 0, 0, b""
            rows = session.execute(
                select(*_COLUMNS).order_by(AuditEntry.index).execution_options(yield_per=RUN)
            )
            for row in rows:
                entry = LogEntry(*row)
                if entry.index != expected:
                    faults.append(Fault(expected, f"missing up to {entry.index}"))
                    break
                if expected % WIDTH == 0:
                    tile = self._tiles.widest(0, expected // WIDTH)
                # SQLite keeps text where a BLOB should be, if somebody edits it in.
                content = entry.content
                leaf = merkle.leaf_hash(content if isinstance(content, bytes) else b"")
                if what := _what_differs(entry, leaf, _slot(tile, expected)):
                    faults.append(Fault(expected, what))
                frontier.append(leaf)
                expected += 1
                while anchors and anchors[0][0] == expected:
                    if frontier.root() != anchors.pop(0)[1]:
                        faults.append(
                            Fault(sound, f"not as anchored: differs in [{sound}, {expected})")
                        )
                    else:
                        sound = expected
                if len(faults) >= MAX_FAULTS:
                    return faults
        if not faults and (longer := self._longer_than(expected, [size for size, _ in anchors])):
            faults.append(Fault(expected, longer))
        return faults

    def _longer_than(self, size: int, anchored: Sequence[int]) -> str | None:
        if anchored:
            return f"missing up to {max(anchored)}, which is anchored"
        number, width = divmod(size, WIDTH)
        if self._tiles.read(0, number, width + 1) is not None:
            return "missing: the tiles hold more entries than the database"
        return None

    # ── Hashes ───────────────────────────────────────────────────────────────────────────────

    def _hash_at(self, level: int, index: int) -> bytes:
        """`chain.merkle.HashAt` over the tiles: a subtree inside a tile is computed from it."""
        stored, inside = divmod(level, HEIGHT)
        first = index << inside
        number, offset = divmod(first, WIDTH)
        width = offset + (1 << inside)
        tile = self._tile(stored, number, width)
        return _subtree(tile[offset * HASH_BYTES : width * HASH_BYTES])

    def _tile(self, level: int, number: int, width: int) -> bytes:
        """The first hashes of a tile, from disk, or from what lies below it."""
        found = self._tiles.read(level, number, width)
        if found is not None:
            return found
        start = number * WIDTH
        if level > 0:
            below = range(start, start + width)
            return b"".join(_subtree(self._tile(level - 1, n, WIDTH)) for n in below)
        with self._store.read() as session:
            leaves = session.scalars(
                select(AuditEntry.leaf_hash)
                .where(AuditEntry.index >= start, AuditEntry.index < start + width)
                .order_by(AuditEntry.index)
            ).all()
        if len(leaves) != width:
            raise _differs(start + len(leaves), "the database lacks the entry")
        return b"".join(leaves)

    # ── Repairing ────────────────────────────────────────────────────────────────────────────

    def _check_anchor(self, size: int) -> None:
        """The newest anchored head is one of this log."""
        with self._store.read() as session:
            newest = session.execute(
                select(Anchor.size, Anchor.root).order_by(Anchor.size.desc()).limit(1)
            ).one_or_none()
        if newest is None:
            return
        if newest.size > size:
            raise _differs(size, f"the log has {size} entries and {newest.size} are anchored")
        if "0x" + self.root(newest.size).hex() != newest.root:
            faults = self.verify()
            first = faults[0] if faults else Fault(0, "its root is not the anchored one")
            raise _differs(first.index, first.what)

    def _first_lacking(self, size: int) -> int:
        """How many leaves the tiles hold, all of them checked to be the database's."""
        with self._store.read() as session:
            rows = session.execute(
                select(AuditEntry.index, AuditEntry.leaf_hash)
                .order_by(AuditEntry.index)
                .execution_options(yield_per=RUN)
            )
            stored = b""
            for expected, (index, leaf) in enumerate(rows):
                if index != expected:
                    raise _differs(expected, f"the database lacks the entries up to {index}")
                if index % WIDTH == 0:
                    stored = self._tiles.widest(0, index // WIDTH)
                slot = _slot(stored, index)
                if slot is None:
                    return expected
                if slot != leaf:
                    raise _differs(index, "its tile has another hash")
        if longer := self._longer_than(size, ()):
            raise _differs(size, longer)
        return size

    def _complete_upper(self, size: int) -> None:
        """Write the tiles above the leaves that a crash left out."""
        level, hashes = 1, size // WIDTH
        while hashes:
            for number in range(-(-hashes // WIDTH)):
                width = min(WIDTH, hashes - number * WIDTH)
                if self._tiles.read(level, number, width) is None:
                    self._tiles.write(level, number, self._tile(level, number, width))
            level, hashes = level + 1, hashes // WIDTH

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


_COLUMNS = (
    AuditEntry.index,
    AuditEntry.id,
    AuditEntry.type,
    AuditEntry.subject,
    AuditEntry.actor,
    AuditEntry.time,
    AuditEntry.leaf_hash,
    AuditEntry.entry,
)


def _size(session: Session) -> int:
    last = session.scalar(select(func.max(AuditEntry.index)))
    return 0 if last is None else last + 1


def _placed(index: int, content: bytes) -> dict[str, Any]:
    """The row of a pending entry at its place."""
    value = json.loads(content)
    return {
        "index": index,
        **{name: value[name] for name in ("id", "type", "subject", "actor", "time")},
        "leaf_hash": merkle.leaf_hash(content),
        "entry": content,
    }


def _what_differs(entry: LogEntry, leaf: bytes, slot: bytes | None) -> str | None:
    """How an entry contradicts itself or its tile; None if it does not."""
    if entry.leaf_hash != leaf:
        return "edited: its hash is another"
    if slot is not None and slot != leaf:
        return "replaced: its tile has another hash"
    try:
        row = _placed(entry.index, entry.content)
    except (ValueError, KeyError):
        return "not an entry"
    told = (entry.id, entry.type, entry.subject, entry.actor, entry.time)
    if told != tuple(row[name] for name in ("id", "type", "subject", "actor", "time")):
        return "edited: its columns are not the entry's"
    return None


def _slot(tile: bytes, index: int) -> bytes | None:
    """The hash of leaf ``index`` in its tile, if the tile reaches so far."""
    start = index % WIDTH * HASH_BYTES
    found = tile[start : start + HASH_BYTES]
    return found if len(found) == HASH_BYTES else None


def _subtree(hashes: bytes) -> bytes:
    """The root of a complete subtree over a power of two of hashes."""
    level = [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)]
    while len(level) > 1:
        level = [merkle.node_hash(level[i], level[i + 1]) for i in range(0, len(level), 2)]
    return level[0]


def _differs(index: int, detail: str) -> Failed:
    return Failed(
        "AuditLogDiffers",
        f"the audit log was changed at entry {index}: {detail}",
        found=index,
        hint="keep database and log/ as they are and find out who changed which; only if the "
        "database is right, remove log/tile and it is made again",
    )
