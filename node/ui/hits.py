"""What the entries, events and transactions among the hits of a search tell, in words."""

from __future__ import annotations

import re

from sqlalchemy import select, tuple_

from node.api.views import transactions
from node.api.views.known import Known
from node.api.views.search import Hit, Results
from node.site import Site
from node.store import AuditEntry, ChainEvent
from node.ui import phrases
from node.ui.lists import event_told, transaction_told
from node.ui.messages import Language

EVENT = re.compile(r"/events\?block=(\d+)#e\d+-(\d+)")
TRANSACTION = re.compile(r"/transactions/(\d+)")
ENTRY = re.compile(r"/log/(\d+)")


def told(site: Site, results: Results, language: Language, known: Known) -> Results:
    """The results with `says` filled in."""
    says = _said(site, results.hits, language, known)
    groups = [
        group.model_copy(
            update={
                "hits": [
                    hit.model_copy(update={"says": says.get(hit.link, "")}) for hit in group.hits
                ]
            }
        )
        for group in results.groups
    ]
    return results.model_copy(update={"groups": groups})


def _said(site: Site, hits: list[Hit], language: Language, known: Known) -> dict[str, str]:
    """By the hit's link."""
    places = {(int(at[1]), int(at[2])): link for at, link in _links(hits, "event", EVENT)}
    sent = {int(at[1]): link for at, link in _links(hits, "transaction", TRANSACTION)}
    entries = {int(at[1]): link for at, link in _links(hits, "entry", ENTRY)}
    with site.store.read() as session:
        known = known.learn(session)
        at_place = tuple_(ChainEvent.block, ChainEvent.log_index).in_(list(places))
        events = list(session.scalars(select(ChainEvent).where(at_place)))
        types = session.execute(
            select(AuditEntry.index, AuditEntry.type).where(AuditEntry.index.in_(list(entries)))
        )
        found = {entries[index]: phrases.entry(language, type) for index, type in types}
        found |= {
            places[row.block, row.log_index]: event_told(row, language, known).says
            for row in events
        }
        for id, link in sent.items():
            one = transactions.find(session, str(id))
            found[link] = transaction_told(one, language, known).says
    return found


def _links(hits: list[Hit], kind: str, form: re.Pattern[str]) -> list[tuple[re.Match[str], str]]:
    matched = ((form.fullmatch(hit.link), hit.link) for hit in hits if hit.kind == kind)
    return [(found, link) for found, link in matched if found is not None]
