"""What a text leads to: ids, digests and transaction hashes (whole or their beginning), and types.

Every lookup is bounded; the chain is asked for whole identifiers that this site does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from node.api.views.model import Shown
from node.errors import NodeError
from node.store import (
    Anchor,
    AuditEntry,
    ChainEvent,
    ChainTx,
    InMessage,
    LocalDataset,
    LocalJob,
    LocalModel,
    OutMessage,
    Person,
    Proposal,
    Task,
)

if TYPE_CHECKING:
    from node.site import Site

MAX_QUERY = 100
LEAST_HEX = 4  # digits behind 0x: fewer would name half of everything
WHOLE = 66
LEAST_NAME = 2
MAX_OPENED = 1000  # disputes and emergencies that are looked through, newest first
HITS_PER_KIND = 10


class Hit(Shown):
    """`kind` is a key of the message catalogue; `found` says in which field."""

    kind: str
    label: str
    found: str
    link: str


class Results(Shown):
    query: str
    hits: list[Hit]


def search(site: Site, query: str, *, with_people: bool = False) -> Results:
    """All hits, most telling first; `with_people`: the reader may see who acts at this site."""
    text = query.strip()[:MAX_QUERY]
    lowered = text.lower()
    hits: list[Hit] = []
    with site.store.read() as session:
        if _is_hex(lowered):
            hits += _by_hex(session, lowered)
        elif text.isascii() and text.isdigit() and len(text) < 16:
            hits += _by_number(session, int(text))
        elif text:
            hits += _by_word(session, text)
        if with_people and len(text) >= LEAST_NAME:
            hits += _people(session, text)
    if len(lowered) == WHOLE and _is_hex(lowered) and not hits:
        hits += _on_chain(site, lowered)
    return Results(query=text, hits=list(dict.fromkeys(hits)))


def _is_hex(text: str) -> bool:
    digits = text.removeprefix("0x")
    return (
        text.startswith("0x")
        and LEAST_HEX <= len(digits) <= 64
        and all(digit in "0123456789abcdef" for digit in digits)
    )


def _starts(column: InstrumentedAttribute[Any], text: str) -> ColumnElement[bool]:
    """As a range, which an index answers; "g" follows every hex digit."""
    return column == text if len(text) == WHOLE else (column >= text) & (column < text + "g")


def _by_hex(session: Session, text: str) -> Iterator[Hit]:
    for row in _some(session, LocalJob, LocalJob.id, text):
        yield Hit(kind="job", label=row.id, found="id", link=f"/jobs/{row.id}")
    yield from _governed_by_hex(session, text)
    for row in _some(session, LocalJob, LocalJob.specification_digest, text):
        yield Hit(kind="job", label=row.id, found="specification", link=f"/jobs/{row.id}")
    for row in _some(session, LocalModel, LocalModel.model_id, text):
        yield Hit(kind="model", label=row.model_id or "", found="id", link=f"/jobs/{row.job_id}")
    for column, found in (
        (LocalDataset.id, "id"),
        (LocalDataset.rows_root, "rows_root"),
        (LocalDataset.schema_digest, "schema_digest"),
        (LocalDataset.file_digest, "file_digest"),
    ):
        for row in _some(session, LocalDataset, column, text):
            yield Hit(kind="dataset", label=row.name, found=found, link=f"/datasets/{row.id}")
    for row in _some(session, Task, Task.output_digest, text):
        yield Hit(kind="task", label=row.step, found="output", link=f"/jobs/{row.job_id}")
    for table in (InMessage, OutMessage):
        for row in _some(session, table, table.digest, text):
            label = f"{row.step} {row.kind} {row.n}"
            link = f"/jobs/{row.job_id}#messages"
            yield Hit(kind="message", label=label, found="digest", link=link)
    for row in _some(session, ChainTx, ChainTx.tx_hash, text):
        yield Hit(kind="transaction", label=row.intent, found="hash", link=_transaction(row))
    for row in _some(session, ChainEvent, ChainEvent.tx_hash, text):
        label = f"{row.contract}.{row.name}, {row.block}"
        yield Hit(kind="event", label=label, found="hash", link=f"/events?tx={row.tx_hash}")
    for row in _some(session, Anchor, Anchor.root, text):
        yield Hit(
            kind="anchor",
            label=str(row.size),
            found="root",
            link=f"/log/{row.size - 1}?size={row.size}",
        )
    if len(text) == WHOLE:
        leaf = bytes.fromhex(text[2:])
        for row in session.scalars(
            select(AuditEntry).where(AuditEntry.leaf_hash == leaf).limit(HITS_PER_KIND)
        ):
            yield Hit(kind="entry", label=row.type, found="leaf", link=f"/log/{row.index}")
    for row in _some(session, AuditEntry, AuditEntry.subject, text):
        if not row.type.startswith("fatechain.message."):
            label = f"{row.index} {row.type}"
            yield Hit(kind="entry", label=label, found="subject", link=f"/log/{row.index}")


def _governed_by_hex(session: Session, text: str) -> Iterator[Hit]:
    for row in _some(session, Proposal, Proposal.id, text):
        yield Hit(kind="proposal", label=row.title, found="id", link=f"/proposals/{row.id}")
    # What only events tell of: opened by whoever, known here by its first event.
    for kind, contract, name, path in (
        ("dispute", "Disputes", "DisputeOpened", "/disputes"),
        ("emergency", "BreakGlass", "BreakGlassOpened", "/emergencies"),
    ):
        events = select(ChainEvent).where(ChainEvent.contract == contract, ChainEvent.name == name)
        for event in session.scalars(events.order_by(ChainEvent.id.desc()).limit(MAX_OPENED)):
            id = str(event.args.get("id"))
            if id.startswith(text):
                yield Hit(kind=kind, label=id, found="id", link=f"{path}/{id}")


def _people(session: Session, text: str) -> Iterator[Hit]:
    """By name or account; the caller may see who acts here."""
    found = Person.name.contains(text, autoescape=True) | Person.address.startswith(text.lower())
    for row in session.scalars(select(Person).where(found).limit(HITS_PER_KIND)):
        yield Hit(kind="person", label=row.name, found="name", link="/people")


def _by_number(session: Session, number: int) -> Iterator[Hit]:
    if session.get(AuditEntry, number) is not None:
        yield Hit(kind="entry", label=str(number), found="index", link=f"/log/{number}")
    events = select(ChainEvent).where(ChainEvent.block == number).limit(HITS_PER_KIND)
    for row in session.scalars(events):
        label = f"{row.contract}.{row.name}"
        yield Hit(kind="event", label=label, found="block", link=f"/events?block={number}")


def _by_word(session: Session, text: str) -> Iterator[Hit]:
    types = (
        select(AuditEntry.type)
        .where(AuditEntry.type.contains(text, autoescape=True))
        .distinct()
        .limit(HITS_PER_KIND)
    )
    for type in session.scalars(types):
        yield Hit(kind="type", label=type, found="type", link=f"/log?type={type}")
    events = (
        select(ChainEvent.contract, ChainEvent.name)
        .where(ChainEvent.name.contains(text, autoescape=True))
        .distinct()
        .limit(HITS_PER_KIND)
    )
    for contract, name in session.execute(events):
        yield Hit(
            kind="event", label=f"{contract}.{name}", found="type", link=f"/events?name={name}"
        )
    titles = [Proposal.title.contains(word, autoescape=True) for word in text.split()]
    newest = select(Proposal).where(*titles).order_by(Proposal.created_at.desc())
    for proposal in session.scalars(newest.limit(HITS_PER_KIND)):
        link = f"/proposals/{proposal.id}"
        yield Hit(kind="proposal", label=proposal.title, found="title", link=link)
    datasets = (
        select(LocalDataset).where(LocalDataset.name.contains(text, autoescape=True)).limit(10)
    )
    for row in session.scalars(datasets):
        yield Hit(kind="dataset", label=row.name, found="name", link=f"/datasets/{row.id}")


def _on_chain(site: Site, id: str) -> Iterator[Hit]:
    from chain.errors import ChainError, ContractRefused

    try:
        network = site.network()
    except (ChainError, NodeError):
        return
    places: tuple[tuple[str, Callable[[], str], str], ...] = (
        ("site", lambda: network.sites.site(id).name, f"/sites#{id}"),
        ("member", lambda: network.membership.member(id).name, f"/sites#{id}"),
        ("dataset", lambda: network.datasets.dataset(id).name, f"/datasets/{id}"),
        ("grant", lambda: ", ".join(network.consents.record(id).terms.purposes), f"/grants/{id}"),
        ("model", lambda: network.models.model(id).model_digest, f"/search?q={id}"),
    )
    for kind, label, link in places:
        try:
            yield Hit(kind=kind, label=label(), found="id", link=link)
        except ContractRefused:
            continue  # not one of these
        except ChainError:
            return


def _some(
    session: Session, table: Any, column: InstrumentedAttribute[Any], text: str
) -> Iterator[Any]:
    yield from session.scalars(select(table).where(_starts(column, text)).limit(HITS_PER_KIND))


def _transaction(row: ChainTx) -> str:
    return f"/transactions/{row.id}"
