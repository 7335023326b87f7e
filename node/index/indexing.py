"""Bringing the index up to date: batch by batch, each in one transaction, in any process.

`Indexing.step` takes the next entries and events that the index lacks; the sync process calls it at
every pass.  Documents of events follow the table of confirmed events as it stands: what was taken
out of it, because a chain was rewritten and is read anew, leaves the index first of all.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import ColumnElement, delete, func, insert, select, tuple_
from sqlalchemy.orm import Session

from chain.canonical import MAX_INTEGER
from node.errors import Failed
from node.index import documents
from node.index.documents import KINDS, Document, Place
from node.index.tables import SearchDocument, SearchPosting, SearchProgress, SearchToken
from node.store import AuditEntry, Base, ChainEvent, Store

if TYPE_CHECKING:
    from node.audit.log import AuditLog, LogEntry

BATCH = 1000  # entries, and as many events, of one transaction
REBUILT = 5000  # the same where nobody waits for the database
CHUNK = 500  # values in one question to the database
MOST_COUNTED = 10_000

_TOKENS, _POSTINGS, _DOCUMENTS = (
    Base.metadata.tables[name] for name in ("search_token", "search_posting", "search_document")
)
_ORDER = (ChainEvent.block, ChainEvent.log_index)
_key = SearchDocument.key

Value = TypeVar("Value")


class Indexing:
    """The index of a site's log and of the chain's events that its store has."""

    def __init__(self, store: Store, log: AuditLog) -> None:
        self._store = store
        self._log = log

    def step(self, limit: int = BATCH) -> int:
        """Take in what comes next, at most ``limit`` entries and as many events; how many."""
        if not self._is_behind():
            return 0
        with self._store.begin() as session:
            progress = lock(session)
            gone = _withdraw(session, progress)  # things that are to be told of anew
            # Read only now that the row is locked: what is erased waits for this transaction, and
            # what was erased before is seen to be.
            first = progress.entries
            entries = self._log.entries(first, first + limit, opened=True)
            later = select(ChainEvent).where(_after(progress)).order_by(*_ORDER).limit(limit)
            events = list(session.scalars(later))
            made = [documents.of_entry(entry, _data(entry)) for entry in entries]
            made += [documents.of_event(event) for event in events]
            writer = Writer(session, progress)
            writer.add(made)
            born = [thing for event in events if (thing := documents.born_of(event)) is not None]
            named = gone | {entry.subject for entry in entries}
            named.update(*(documents.named_in(event) for event in events))
            for some in _chunks(sorted(named)):
                born += documents.local(session, some)
            sizes = [event.args["size"] for event in events if event.name == "Anchored"]
            # Of a larger one, which older contracts take, there is no row to ask for.
            heads = [size for size in sizes if size <= MAX_INTEGER]
            for few in _chunks(heads):
                born += documents.anchors(session, few)
            writer.tell(born)
            if entries:
                progress.entries = entries[-1].index + 1
            if events:
                _reach(progress, Place.of(events[-1]))
        return len(entries) + len(events)

    def rebuild(self, told: Callable[[int], object] = lambda done: None) -> int:
        """Throw the index away and make it anew; ``told`` hears how much was read."""
        with self._store.begin() as session:
            clear(session)
        done = 0
        while taken := self.step(REBUILT):
            done += taken
            told(done)
        return done

    def _is_behind(self) -> bool:
        with self._store.read() as session:
            progress = progress_of(session)
            return behind(session) > 0 or not _stands(session, progress)


def progress_of(session: Session) -> SearchProgress:
    """How far the index goes."""
    return session.get(SearchProgress, 1) or _none()


def behind(session: Session) -> int:
    """How many entries and events the index lacks; of events at most `MOST_COUNTED` are counted."""
    progress = progress_of(session)
    size = session.scalar(select(func.max(AuditEntry.index)))
    later = select(ChainEvent.id).where(_after(progress)).limit(MOST_COUNTED).subquery()
    events = session.scalar(select(func.count()).select_from(later)) or 0
    return max(0, (-1 if size is None else size) + 1 - progress.entries) + events


def forget(session: Session, indexes: Collection[int]) -> None:
    """Take the words of erased payloads out, in the transaction that erases them.

    The entries stay to be found by what their leaves say; no word, and no beginning of a word,
    that only these payloads had is left in the database.
    """
    lock(session)
    of_entries = select(SearchDocument).where(SearchDocument.kind == KINDS["entry"])
    for some in _chunks(sorted(indexes)):
        keys = [str(index) for index in some]
        held = {row.key: row for row in session.scalars(of_entries.where(_key.in_(keys)))}
        leaves = session.scalars(select(AuditEntry).where(AuditEntry.index.in_(map(int, held))))
        for leaf in leaves:
            bare = documents.of_entry(leaf, None)
            _narrow(session, held[bare.key], bare)


def clear(session: Session) -> None:
    """An index of nothing."""
    progress = lock(session)
    for table in (SearchPosting, SearchDocument, SearchToken):
        session.execute(delete(table))
    _reach(progress, None)
    progress.entries = progress.next_document = progress.next_token = 0


def lock(session: Session) -> SearchProgress:
    """How far the index goes; whoever has it alone may write the index until its transaction ends.

    SQLite has one writer at a time; elsewhere the row is locked.
    """
    progress = session.get(SearchProgress, 1, with_for_update=True)
    if progress is None:
        progress = _none()
        session.add(progress)
        session.flush()
    return progress


class Writer:
    """Adds documents in a transaction that has locked the progress."""

    def __init__(self, session: Session, progress: SearchProgress) -> None:
        self.session = session
        self.progress = progress
        self.connection = session.connection()

    def add(self, made: Sequence[Document]) -> None:
        """New documents; whoever calls knows that there are none of their keys."""
        if not made:
            return
        ids = self._tokens({word for document in made for word in document.words})
        rows: list[dict[str, Any]] = []
        postings: list[dict[str, int]] = []
        for document in made:
            self.progress.next_document += 1
            number, kind = self.progress.next_document, KINDS[document.kind]
            tokens = sorted(ids[word] for word in document.words)
            rows.append(
                {
                    "id": number,
                    "kind": kind,
                    "key": document.key,
                    "label": document.label,
                    "tokens": packed(tokens),
                    **_placed(document.place),
                }
            )
            postings += [{"token": token, "kind": kind, "document": number} for token in tokens]
        self.connection.execute(insert(_DOCUMENTS), rows)
        # In the order of the index: neighbours are written together.
        postings.sort(key=lambda row: (row["token"], row["kind"], row["document"]))
        self.connection.execute(insert(_POSTINGS), postings)

    def tell(self, things: Sequence[Document]) -> None:
        """New documents, or more words of those there are, and their newest labels."""
        told: dict[tuple[str, str], Document] = {}
        for thing in things:
            known = told.get((thing.kind, thing.key))
            told[thing.kind, thing.key] = thing if known is None else _joined(known, thing)
        for some in _chunks(list(told.values())):
            query = select(SearchDocument).where(
                SearchDocument.kind.in_({KINDS[thing.kind] for thing in some}),
                SearchDocument.key.in_({thing.key for thing in some}),
            )
            held = {(row.kind, row.key): row for row in self.session.scalars(query)}
            self.add([thing for thing in some if (KINDS[thing.kind], thing.key) not in held])
            for thing in some:
                if (row := held.get((KINDS[thing.kind], thing.key))) is not None:
                    self._tell_more(row, thing)

    def _tell_more(self, held: SearchDocument, thing: Document) -> None:
        had = set(unpacked(held.tokens))
        more = sorted(set(self._tokens(thing.words).values()) - had)
        if more:
            held.tokens = packed(sorted(had.union(more)))
            rows = [{"token": token, "kind": held.kind, "document": held.id} for token in more]
            self.connection.execute(insert(_POSTINGS), rows)
        if thing.label != thing.key:
            held.label = thing.label
        if thing.place is not None and held.block is None:
            for name, value in _placed(thing.place).items():
                setattr(held, name, value)

    def _tokens(self, words: set[str] | frozenset[str]) -> dict[str, int]:
        """The numbers of words, new ones where they are new."""
        found: dict[str, int] = {}
        for some in _chunks(sorted(words)):
            query = select(_TOKENS.c.word, _TOKENS.c.id).where(_TOKENS.c.word.in_(some))
            found.update((word, id) for word, id in self.connection.execute(query))
        new = []
        for word in sorted(words - found.keys()):
            self.progress.next_token += 1
            found[word] = self.progress.next_token
            new.append({"id": found[word], "word": word})
        if new:
            self.connection.execute(insert(_TOKENS), new)
        return found


# ── What the chain took back ─────────────────────────────────────────────────────────────────


def _withdraw(session: Session, progress: SearchProgress) -> set[str]:
    """Take out the events that are gone and what was born of them; the keys of the latter."""
    gone: set[str] = set()
    if _stands(session, progress):
        return gone
    last = _last_standing(session)
    _reach(progress, last)
    lost = select(SearchDocument).where(_beyond(last)).limit(CHUNK)
    while documents := list(session.scalars(lost)):
        gone |= {each.key for each in documents if each.kind != KINDS["event"]}
        _drop(session, documents)
    return gone


def _stands(session: Session, progress: SearchProgress) -> bool:
    """Whether the last event that was taken in is still where it was."""
    place = Place(progress.event_block, progress.event_log_index, progress.event_hash)
    return place.block < 0 or _is_there(session, place)


def _last_standing(session: Session) -> Place | None:
    """The newest event in the index that the chain still has in the same block."""
    columns = (SearchDocument.block, SearchDocument.log_index, SearchDocument.block_hash)
    query = (
        select(SearchDocument.id, *columns)
        .where(SearchDocument.kind == KINDS["event"])
        .order_by(SearchDocument.id.desc())
        .limit(CHUNK)
    )
    rows = session.execute(query).all()
    while rows:
        for _, block, log_index, block_hash in rows:
            place = Place(block or 0, log_index or 0, block_hash or "")
            if _is_there(session, place):
                return place
        rows = session.execute(query.where(SearchDocument.id < rows[-1][0])).all()
    return None


def _is_there(session: Session, place: Place) -> bool:
    found = session.scalar(
        select(ChainEvent.block_hash).where(
            ChainEvent.block == place.block, ChainEvent.log_index == place.log_index
        )
    )
    return found == place.block_hash


def _beyond(last: Place | None) -> ColumnElement[bool]:
    if last is None:
        return SearchDocument.block.is_not(None)
    return tuple_(SearchDocument.block, SearchDocument.log_index) > tuple_(
        last.block, last.log_index
    )


def _after(progress: SearchProgress) -> ColumnElement[bool]:
    return tuple_(ChainEvent.block, ChainEvent.log_index) > tuple_(
        progress.event_block, progress.event_log_index
    )


def _reach(progress: SearchProgress, place: Place | None) -> None:
    reached = place or Place(-1, -1, "")
    progress.event_block = reached.block
    progress.event_log_index = reached.log_index
    progress.event_hash = reached.block_hash


# ── Rows ─────────────────────────────────────────────────────────────────────────────────────


def _drop(session: Session, gone: Sequence[SearchDocument]) -> None:
    """Documents with their postings, and the words that no other document has."""
    for some in _chunks(gone):
        loose: set[int] = set()
        for document in some:
            tokens = unpacked(document.tokens)
            loose.update(tokens)
            session.execute(
                delete(SearchPosting).where(
                    SearchPosting.token.in_(tokens),
                    SearchPosting.kind == document.kind,
                    SearchPosting.document == document.id,
                )
            )
            session.delete(document)
        session.flush()
        _sweep(session, loose)


def _narrow(session: Session, held: SearchDocument, bare: Document) -> None:
    """Leave a document these words alone; it keeps its place in the order."""
    query = select(SearchToken.id).where(SearchToken.word.in_(bare.words))
    had, kept = set(unpacked(held.tokens)), set(session.scalars(query))
    session.execute(
        delete(SearchPosting).where(
            SearchPosting.token.in_(had - kept),
            SearchPosting.kind == held.kind,
            SearchPosting.document == held.id,
        )
    )
    held.tokens = packed(sorted(had & kept))
    session.flush()
    _sweep(session, had - kept)


def _sweep(session: Session, loose: set[int]) -> None:
    """Take out words that no document has any more."""
    for some in _chunks(sorted(loose)):
        used = select(SearchPosting.token).where(SearchPosting.token == SearchToken.id)
        session.execute(delete(SearchToken).where(SearchToken.id.in_(some), ~used.exists()))


def _joined(known: Document, more: Document) -> Document:
    """One document of what two say of the same thing."""
    return replace(
        known,
        label=known.label if more.label == more.key else more.label,
        words=known.words | more.words,
        place=known.place or more.place,
    )


def packed(tokens: Sequence[int]) -> bytes:
    """Numbers of words as one value of eight bytes each."""
    return struct.pack(f">{len(tokens)}q", *tokens)


def unpacked(value: bytes) -> tuple[int, ...]:
    return struct.unpack(f">{len(value) // 8}q", value)


def _placed(place: Place | None) -> Mapping[str, Any]:
    names = ("block", "log_index", "block_hash")
    return {name: None if place is None else getattr(place, name) for name in names}


def _none() -> SearchProgress:
    return SearchProgress(
        id=1,
        entries=0,
        event_block=-1,
        event_log_index=-1,
        event_hash="",
        next_document=0,
        next_token=0,
    )


def _data(entry: LogEntry) -> Mapping[str, Any] | None:
    try:
        return entry.data
    except Failed:
        return None  # changed by hand: the log's own verification tells it, and nobody finds it


def _chunks(values: Sequence[Value]) -> Iterator[Sequence[Value]]:
    for at in range(0, len(values), CHUNK):
        yield values[at : at + CHUNK]
