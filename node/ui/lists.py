"""The explorer's lists: one reading of the address for the page, its JSON twin and its export."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from fastapi import Request
from sqlalchemy import select

from node.api.pages import Page, from_cursor, to_cursor
from node.api.views import (
    alerts,
    anchoring,
    audits,
    datasets,
    disputes,
    emergencies,
    entries,
    grants,
    history,
    jobs,
    messages,
    models,
    proposals,
    sites,
    transactions,
    witness,
)
from node.api.views.events import EventShown, event_shown, kinds_of, newest_of
from node.api.views.known import Known
from node.api.views.model import ID_PATTERN, Shown
from node.lifecycle import JOB_MOVES
from node.store import ChainEvent
from node.ui import phrases
from node.ui import session as access
from node.ui.asked import choice_of, known_of, language_of, names_of, site_of
from node.ui.messages import Language

ALERT_STATES = ("open", "closed")
JOB_KINDS = ("train", "predict", "match", "count")
ANCHOR_STATES = ("PENDING", "WITNESSED", "UNWITNESSED")
STANDINGS = ("ACTIVE", "SUSPENDED", "EXPELLED")
FOUND = ("well", "fault")
AGREEMENTS = ("yes", "no", "unknown")
WHOSE: tuple[grants.Whose, ...] = get_args(grants.Whose)
GRANT_STATES = ("PENDING", "ACTIVE", "EXPIRED", "USED_UP", "REVOKED", "AMENDED")
PROPOSAL_STATES: tuple[proposals.State, ...] = get_args(proposals.State)
AUDIT_STATES: tuple[audits.State, ...] = get_args(audits.State)
DISPUTE_STATES: tuple[disputes.State, ...] = get_args(disputes.State)
EMERGENCY_STATES: tuple[emergencies.State, ...] = get_args(emergencies.State)


class EventTold(EventShown):
    """`says`: what it tells, in the language asked for; the rest is as the chain has it."""

    says: str


class EntryTold(entries.EntryShown):
    """`says`: what entries of its type tell, in the language asked for."""

    says: str


class HistoryTold(EventTold):
    """`area`: what it is about; `time`: of its block, null where the chain did not tell it."""

    area: history.Area
    time: int | None


class TransactionTold(transactions.Transaction):
    """`says`: what it asks of the contract, in the language asked for."""

    says: str


Read = Callable[[Request, int, str | None], Page[Any]]


@dataclass(frozen=True)
class Listing:
    """``read`` takes the request with its filters, how many, and a cursor; ``filters`` names what
    of the address it looks at; ``key`` tells an item from all others of the list."""

    item: type[Shown]
    read: Read
    filters: tuple[str, ...] = ()
    is_evidence: bool = False
    key: Callable[[Any], str] = lambda item: str(item.id)


def _jobs(request: Request, limit: int, cursor: str | None) -> Page[jobs.JobSummary]:
    return jobs.page(
        site_of(request),
        names_of(request),
        limit=limit,
        cursor=cursor,
        state=choice_of(request, "state", tuple(JOB_MOVES)),
        kind=choice_of(request, "kind", JOB_KINDS),
        party=request.query_params.get("party") or None,
    )


def _log(request: Request, limit: int, cursor: str | None) -> Page[EntryTold]:
    with site_of(request).store.read() as session:
        found = entries.page(session, limit=limit, cursor=cursor, **log_filters(request))
    language = language_of(request)
    items = [
        EntryTold(**one.model_dump(), says=phrases.entry(language, one.type)) for one in found.items
    ]
    return Page(items=items, next=found.next)


def log_filters(request: Request) -> dict[str, str | None]:
    return {name: request.query_params.get(name) or None for name in LISTS["log"].filters}


def _datasets(request: Request, limit: int, cursor: str | None) -> Page[datasets.DatasetShown]:
    page = datasets.page(site_of(request), names_of(request), limit=limit, cursor=cursor)
    return Page(items=[hidden(request, dataset) for dataset in page.items], next=page.next)


def hidden(request: Request, dataset: datasets.DatasetShown) -> datasets.DatasetShown:
    """Names of columns are the operator's to show: an open explorer keeps them back."""
    if access.is_operator(request):
        return dataset
    return dataset.model_copy(update={"local": None})


def _grants(request: Request, limit: int, cursor: str | None) -> Page[grants.GrantShown]:
    return grants.page(
        site_of(request),
        names_of(request),
        limit=limit,
        cursor=cursor,
        state=choice_of(request, "state", GRANT_STATES),
        whose=next((w for w in WHOSE if w == request.query_params.get("whose")), None),
    )


def _models(request: Request, limit: int, cursor: str | None) -> Page[models.ModelShown]:
    return models.page(site_of(request), names_of(request), limit=limit, cursor=cursor)


def _proposals(request: Request, limit: int, cursor: str | None) -> Page[proposals.ProposalSummary]:
    state = next((s for s in PROPOSAL_STATES if s == request.query_params.get("state")), None)
    return proposals.page(
        site_of(request), names_of(request), limit=limit, cursor=cursor, state=state
    )


def _disputes(request: Request, limit: int, cursor: str | None) -> Page[disputes.DisputeShown]:
    state = next((s for s in DISPUTE_STATES if s == request.query_params.get("state")), None)
    return disputes.page(
        site_of(request), names_of(request), limit=limit, cursor=cursor, state=state
    )


def _audits(request: Request, limit: int, cursor: str | None) -> Page[audits.AuditShown]:
    state = next((s for s in AUDIT_STATES if s == request.query_params.get("state")), None)
    return audits.page(
        site_of(request),
        names_of(request),
        limit=limit,
        cursor=cursor,
        state=state,
        asked=request.query_params.get("site") or None,
    )


def _emergencies(
    request: Request, limit: int, cursor: str | None
) -> Page[emergencies.EmergencyShown]:
    state = next((s for s in EMERGENCY_STATES if s == request.query_params.get("state")), None)
    return emergencies.page(
        site_of(request), names_of(request), limit=limit, cursor=cursor, state=state
    )


def _events(request: Request, limit: int, cursor: str | None) -> Page[EventTold]:
    """Newest first."""
    asked = request.query_params
    tx, block = asked.get("tx"), asked.get("block")
    contract, name = asked.get("contract") or None, asked.get("name") or None
    query = select(ChainEvent).order_by(ChainEvent.id.desc()).limit(limit + 1)
    if tx:
        query = query.where(ChainEvent.tx_hash == tx)
    if block and is_number(block):
        query = query.where(ChainEvent.block == int(block))
    if name:
        query = query.where(ChainEvent.name == name)
    if contract:
        query = query.where(ChainEvent.contract == contract)
    position = from_cursor(cursor, int)
    below = None if position is None else int(position[0])
    if below is not None:
        query = query.where(ChainEvent.id < below)
    kinds = kinds_of(contract, name) if (contract or name) and not (tx or block) else []
    with site_of(request).store.read() as session:
        if kinds:
            rows = newest_of(session, kinds, limit=limit + 1, below=below)
        else:
            rows = list(session.scalars(query))
        known = known_of(request).learn(session)
    items = [event_told(row, language_of(request), known) for row in rows[:limit]]
    return Page(items=items, next=to_cursor(rows[limit - 1].id) if len(rows) > limit else None)


def event_told(row: ChainEvent, language: Language, known: Known) -> EventTold:
    told = phrases.event(language, row.contract, row.name, row.args, known)
    return EventTold(**event_shown(row).model_dump(), says=phrases.text_of(told))


def _history(request: Request, limit: int, cursor: str | None) -> Page[HistoryTold]:
    """Newest first."""
    site, language = site_of(request), language_of(request)
    area = next((one for one in history.AREAS if one == request.query_params.get("area")), None)
    position = from_cursor(cursor, int)
    below = None if position is None else int(position[0])
    with site.store.read() as session:
        rows = history.newest(session, area=area, limit=limit + 1, below=below)
        known = known_of(request).learn(session)
    times = history.times(site, (row.block for row in rows[:limit]))
    items = [
        HistoryTold(
            **event_told(row, language, known).model_dump(),
            area=history.area_of(row),
            time=times.get(row.block),
        )
        for row in rows[:limit]
    ]
    return Page(items=items, next=to_cursor(rows[limit - 1].id) if len(rows) > limit else None)


def _messages(request: Request, limit: int, cursor: str | None) -> Page[messages.MessageShown]:
    """Of the job that the address names; without one there is nothing to show."""
    job = request.query_params.get("job", "")
    if not re.match(ID_PATTERN, job):
        return Page(items=[], next=None)
    page = messages.page(site_of(request), names_of(request), job, limit=limit, cursor=cursor)
    agree = choice_of(request, "agree", AGREEMENTS)
    if agree is None:
        return page
    wanted = {"yes": True, "no": False, "unknown": None}[agree]
    return Page(items=[one for one in page.items if one.agree is wanted], next=page.next)


def _sites(request: Request, limit: int, cursor: str | None) -> Page[sites.SiteShown]:
    site = site_of(request)
    return sites.page(
        site.network(), names_of(request), site.settings.site_id, limit=limit, cursor=cursor
    )


def _members(request: Request, limit: int, cursor: str | None) -> Page[sites.Member]:
    return sites.members_page(
        site_of(request).network(),
        names_of(request),
        limit=limit,
        cursor=cursor,
        standing=choice_of(request, "state", STANDINGS),
    )


def _anchors(request: Request, limit: int, cursor: str | None) -> Page[anchoring.AnchoredHead]:
    return anchoring.page(
        site_of(request),
        names_of(request),
        limit=limit,
        cursor=cursor,
        state=choice_of(request, "state", ANCHOR_STATES),
    )


def _heads(request: Request, limit: int, cursor: str | None) -> Page[witness.WitnessedShown]:
    found = choice_of(request, "found", FOUND)
    return witness.page(
        site_of(request),
        names_of(request),
        limit=limit,
        cursor=cursor,
        seen=None if found is None else found == "well",
    )


def _transactions(request: Request, limit: int, cursor: str | None) -> Page[TransactionTold]:
    state = choice_of(request, "state", transactions.STATES)
    with site_of(request).store.read() as session:
        page = transactions.page(session, limit=limit, cursor=cursor, state=state)
        known = known_of(request).learn(session)
    items = [transaction_told(one, language_of(request), known) for one in page.items]
    return Page(items=items, next=page.next)


def transaction_told(
    one: transactions.Transaction, language: Language, known: Known
) -> TransactionTold:
    told = phrases.transaction(language, one.contract, one.function, one.args, known)
    return TransactionTold(**one.model_dump(), says=phrases.text_of(told))


def _alerts(request: Request, limit: int, cursor: str | None) -> Page[alerts.AlertShown]:
    state = choice_of(request, "state", ALERT_STATES)
    return alerts.page(
        site_of(request),
        names_of(request),
        is_open=None if state is None else state == "open",
        kind=request.query_params.get("kind") or None,
        cursor=cursor,
        limit=limit,
        language=language_of(request),
    )


def _index(entry: entries.EntryShown) -> str:
    return str(entry.index)


def _place(event: EventShown) -> str:
    return f"{event.block}.{event.log_index}.{event.tx_hash}"


def _of_log(head: witness.WitnessedShown) -> str:
    return f"{head.site} {head.problem}"


def _size(head: anchoring.AnchoredHead) -> str:
    return str(head.size)


def _part(model: models.ModelShown) -> str:
    return f"{model.job_id} {model.role}"


def _address(one: messages.MessageShown) -> str:
    ends = f"{one.sender.id} {one.receiver.id}"
    # What of a message is new is also that the other end has shown it.
    return f"{one.step} {one.attempt} {ends} {one.kind} {one.n} {one.agree}"


def is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 16


LISTS: Mapping[str, Listing] = {
    "jobs": Listing(jobs.JobSummary, _jobs, ("state", "kind", "party"), is_evidence=True),
    "log": Listing(
        EntryTold,
        _log,
        ("type", "subject", "since", "until"),
        is_evidence=True,
        key=_index,
    ),
    "messages": Listing(messages.MessageShown, _messages, ("job", "agree"), True, _address),
    "anchors": Listing(anchoring.AnchoredHead, _anchors, ("state",), True, _size),
    "heads": Listing(witness.WitnessedShown, _heads, ("found",), True, _of_log),
    "alerts": Listing(alerts.AlertShown, _alerts, ("state", "kind"), is_evidence=True),
    "datasets": Listing(datasets.DatasetShown, _datasets),
    "grants": Listing(grants.GrantShown, _grants, ("state", "whose")),
    "models": Listing(models.ModelShown, _models, is_evidence=True, key=_part),
    "sites": Listing(sites.SiteShown, _sites),
    "members": Listing(sites.Member, _members, ("state",)),
    "history": Listing(HistoryTold, _history, ("area",), key=_place),
    "proposals": Listing(proposals.ProposalSummary, _proposals, ("state",)),
    "disputes": Listing(disputes.DisputeShown, _disputes, ("state",)),
    "audits": Listing(audits.AuditShown, _audits, ("state", "site"), is_evidence=True),
    "emergencies": Listing(emergencies.EmergencyShown, _emergencies, ("state",)),
    "events": Listing(EventTold, _events, ("contract", "name", "block", "tx"), key=_place),
    "transactions": Listing(TransactionTold, _transactions, ("state",), is_evidence=True),
}
"""By the first part of their address."""
