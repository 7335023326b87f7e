"""What a text leads to, kind by kind: the search index, and the little that is not in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from pydantic import Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from node.api.pages import from_cursor, to_cursor
from node.api.views.model import Shown
from node.audit.entries import KINDS as ENTRY_KINDS
from node.audit.entries import type_of
from node.errors import Invalid, NodeError
from node.index.documents import KINDS, link_of
from node.index.finding import NEWEST, find
from node.index.indexing import behind
from node.index.words import LEAST_BEGINNING, LEAST_HEX, WHOLE_ID
from node.store import AuditEntry, ChainTx, Person
from node.ui.meanings import is_asked, meant_by

if TYPE_CHECKING:
    from node.site import Site

MAX_QUERY = 100
PER_KIND = 6
PER_PAGE = 50
ASIDE = 10  # of what is not in the index
NEWEST_TRANSACTIONS = 500


class Hit(Shown):
    """`kind` is a key of the message catalogue, `link` the page that shows it.

    `says`: what an entry, an event or a transaction tells, in the language asked for.
    """

    kind: str
    label: str
    link: str
    says: str = ""


class Group(Shown):
    """Hits of one kind, newest first; ask for the kind alone with `next` as cursor to go on."""

    kind: str
    hits: list[Hit]
    next: str | None


class Results(Shown):
    """`behind`: how many entries and events are not in the index yet."""

    query: str
    groups: list[Group] = Field(
        description="Kinds that have hits, things before what tells of them."
    )
    behind: int

    @property
    def hits(self) -> list[Hit]:
        return [hit for group in self.groups for hit in group.hits]


def search(
    site: Site,
    query: str,
    *,
    kind: str | None = None,
    cursor: str | None = None,
    with_people: bool = False,
) -> Results:
    """Everything, or one kind in pages; `with_people`: the reader may see who acts at this site.

    Raises `Invalid` for a kind that there is not, and for a cursor that is not of this list.
    """
    asked = query.strip()[:MAX_QUERY]
    if kind is not None and kind not in KINDS:
        raise Invalid("InvalidRequest", "there is no such kind", found=kind, allowed=list(KINDS))
    position = from_cursor(cursor, int)
    below = NEWEST if position is None else min(int(position[0]), NEWEST)
    with site.store.read() as session:
        answers = find(
            session,
            asked,
            limit=PER_KIND if kind is None else PER_PAGE,
            kinds=tuple(KINDS) if kind is None else (kind,),
            below=below,
            meaning=meant_by,
        )
        groups = [
            Group(
                kind=answer.kind,
                hits=[
                    Hit(kind=each.kind, label=each.label, link=link_of(each.kind, each.key))
                    for each in answer.found
                ],
                next=None if answer.next is None else to_cursor(answer.next),
            )
            for answer in answers
        ]
        if kind is None:
            groups = _together(_aside(session, asked, with_people), groups)
        lacking = behind(session)
    if kind is None and not groups and len(asked) == WHOLE_ID:
        groups = list(_on_chain(site, asked.lower()))
    return Results(query=asked, groups=groups, behind=lacking)


def _together(aside: list[Hit], groups: list[Group]) -> list[Group]:
    """What is not in the index first, each kind once and each place once."""
    found: dict[str, Group] = {}
    for hit in aside:
        known = found.get(hit.kind) or Group(kind=hit.kind, hits=[], next=None)
        found[hit.kind] = known.model_copy(update={"hits": [*known.hits, hit]})
    for group in groups:
        first = found.pop(group.kind, None)
        if first is not None:
            links = {hit.link for hit in first.hits}
            more = [hit for hit in group.hits if hit.link not in links]
            group = group.model_copy(update={"hits": first.hits + more})
        found[group.kind] = group
    return list(found.values())


def _aside(session: Session, text: str, with_people: bool) -> list[Hit]:
    """People, whom not everybody may see; transactions on their way; kinds of entries."""
    found: list[Hit] = []
    lowered = text.lower()
    if text.isascii() and text.isdigit() and len(text) < 16:
        found += _by_number(session, int(text))
    if lowered.startswith("0x") and LEAST_HEX <= len(text) <= WHOLE_ID:
        found += _transactions(session, lowered)
    elif len(text) >= LEAST_BEGINNING:
        found += _transactions_by_words(session, text)
    if lowered and lowered.isascii() and len(text) >= LEAST_BEGINNING:
        found += _types(session, lowered)
    if with_people and len(text) >= LEAST_BEGINNING:
        found += _people(session, text)
    return found


def _by_number(session: Session, number: int) -> Iterator[Hit]:
    if session.get(AuditEntry, number) is not None:
        yield Hit(kind="entry", label=str(number), link=f"/log/{number}")


def _transactions(session: Session, text: str) -> Iterator[Hit]:
    begun = (ChainTx.tx_hash >= text) & (ChainTx.tx_hash < text + "g")  # "g" follows all hex digits
    for row in session.scalars(
        select(ChainTx).where(begun | (ChainTx.tx_hash == text)).limit(ASIDE)
    ):
        yield Hit(kind="transaction", label=row.intent, link=f"/transactions/{row.id}")


def _transactions_by_words(session: Session, text: str) -> Iterator[Hit]:
    """Of this site's newest transactions those whose sentence or intent has all the words."""
    called = (ChainTx.call["contract"].as_string(), ChainTx.call["function"].as_string())
    newest = select(ChainTx.id, ChainTx.intent, *called).order_by(ChainTx.id.desc())
    found = 0
    for id, intent, contract, function in session.execute(newest.limit(NEWEST_TRANSACTIONS)):
        if found < ASIDE and is_asked(text, contract, function, intent):
            found += 1
            yield Hit(kind="transaction", label=intent, link=f"/transactions/{id}")


def _types(session: Session, text: str) -> Iterator[Hit]:
    """Kinds of entries of which there are some."""
    named = sorted(type for kind in ENTRY_KINDS if text in (type := type_of(kind)))
    for type in named[:ASIDE]:
        some = select(AuditEntry.index).where(AuditEntry.type == type).limit(1)
        if session.scalar(some) is not None:
            yield Hit(kind="type", label=type, link=f"/log?type={type}")


def _people(session: Session, text: str) -> Iterator[Hit]:
    found = Person.name.contains(text, autoescape=True) | Person.address.startswith(text.lower())
    for row in session.scalars(select(Person).where(found).limit(ASIDE)):
        yield Hit(kind="person", label=row.name, link="/people")


def _on_chain(site: Site, id: str) -> Iterator[Group]:
    """An identifier of which no confirmed event tells yet."""
    from chain.errors import ChainError, ContractRefused

    try:
        network = site.network()
    except (ChainError, NodeError):
        return
    places: tuple[tuple[str, Callable[[], str]], ...] = (
        ("site", lambda: network.sites.site(id).name),
        ("member", lambda: network.membership.member(id).name),
        ("dataset", lambda: network.datasets.dataset(id).name),
        ("grant", lambda: ", ".join(network.consents.record(id).terms.purposes)),
        ("model", lambda: network.models.model(id).model_digest),
    )
    for kind, label in places:
        try:
            hit = Hit(kind=kind, label=label(), link=link_of(kind, id))
        except ContractRefused:
            continue  # not one of these
        except ChainError:
            return
        yield Group(kind=kind, hits=[hit], next=None)
