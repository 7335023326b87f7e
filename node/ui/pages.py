"""What each page shows, as values: the template and the JSON twin get the same.

A reading takes the request and gives a mapping; it raises `NodeError` for what does not exist.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from fastapi import Request
from sqlalchemy import select

from node import governance, people
from node.api.pages import MAX_LIMIT, Page
from node.api.views import (
    activity,
    datasets,
    dossiers,
    entries,
    grants,
    health,
    history,
    jobs,
    life,
    lineage,
    messages,
    models,
    network,
    reviews,
    saved,
    search,
    sites,
    waiting,
    witness,
)
from node.api.views import proposals as proposals_view
from node.api.views import statements as kept_statements
from node.api.views import transactions as transactions_view
from node.api.views.badge import Badge
from node.api.views.jobs import Curve
from node.api.views.known import Known
from node.api.views.life import Moment
from node.api.views.messages import MessageShown
from node.api.views.model import ID_PATTERN
from node.api.views.people import key_shown, person_shown
from node.api.views.proposals import EffectShown
from node.api.views.transactions import Transaction
from node.errors import NodeError, NotFound
from node.lifecycle import JOB_MOVES
from node.store import ChainEvent
from node.ui import affairs, hits, phrases
from node.ui import session as access
from node.ui.asked import (
    choice_of,
    cursor_of,
    id_of,
    known_of,
    language_of,
    names_of,
    site_of,
)
from node.ui.charts import Line
from node.ui.lists import (
    AGREEMENTS,
    ALERT_STATES,
    ANCHOR_STATES,
    FOUND,
    GRANT_STATES,
    JOB_KINDS,
    LISTS,
    PROPOSAL_STATES,
    STANDINGS,
    WHOSE,
    event_told,
    hidden,
    is_number,
    log_filters,
    transaction_told,
)
from node.ui.proofs import steps
from node.ui.timeline import Row

Read = Callable[[Request], dict[str, Any]]

PAGE = 50
ON_OVERVIEW = 8
MESSAGES_ON_JOB = 20
MOMENTS = 80  # of a job's life, on a page
MONTHS = 13  # this one, which is provisional, and a year
PARAM = "p."  # before the names of a proposal's parameters in an address


def overview(request: Request) -> dict[str, Any]:
    site, names = site_of(request), names_of(request)
    with site.store.read() as session:
        latest = entries.page(session, limit=ON_OVERVIEW)
        happened = activity.show(session, datetime.now(UTC).timestamp())
    return {
        **badge_of(request),
        "activity": happened,
        "health": health.show(site),
        "jobs": jobs.page(site, names, limit=ON_OVERVIEW),
        "entries": latest,
    }


def jobs_page(request: Request) -> dict[str, Any]:
    state = choice_of(request, "state", tuple(JOB_MOVES))
    kind = choice_of(request, "kind", JOB_KINDS)
    return {
        "page": _read(request, "jobs"),
        "states": list(JOB_MOVES),
        "state": state,
        "kinds": list(JOB_KINDS),
        "kind": kind,
        "party": request.query_params.get("party") or None,
    }


def job_page(request: Request) -> dict[str, Any]:
    """With ``check=1`` the certificate is held against the chain; with ``messages=all`` all are
    shown, in pages; ``life`` is where the timeline goes on."""
    site, names, id = site_of(request), names_of(request), id_of(request)
    job = jobs.show(site, names, id)
    all_messages = request.query_params.get("messages") == "all"
    with site.store.read() as session:
        said = messages.every(session, names, id)
    limit = MAX_LIMIT if all_messages else MESSAGES_ON_JOB
    shown = messages.cut(said, limit, cursor_of(request))
    check = None
    if job.has_certificate and request.query_params.get("check") == "1":
        check = jobs.check_certificate(site, id)
    with site.store.read() as session:
        told = entries.page(session, limit=ON_OVERVIEW, subject=id)
    return {
        "job": job,
        "messages": shown,
        "all_messages": all_messages,
        "certificate": check,
        "entries": told,
        "curves": lines(job.curves),
        "life": life_of(request, id, said),
    }


def life_of(request: Request, id: str, said: Sequence[MessageShown]) -> dict[str, Any]:
    """What happened in the job, at all its parties and on the chain, in words."""
    site, language = site_of(request), language_of(request)
    found = life.show(
        site, names_of(request), id, said, limit=MOMENTS, cursor=request.query_params.get("life")
    )
    known = _learn_names(request)
    own = next((lane.site.id for lane in found.lanes if lane.mine), None)
    return {
        "lanes": found.lanes,
        "rows": [
            Row(moment, phrases.moment(language, moment, known), _link_of(moment, own))
            for moment in found.moments.items
        ],
        "next": found.moments.next,
        "count": found.count,
        "unread": found.behind,
    }


def _learn_names(request: Request) -> Known:
    """For the words of events, which the template asks for."""
    with site_of(request).store.read() as session:
        return known_of(request).learn(session)


def _link_of(moment: Moment, own: str | None) -> str | None:
    """The page of what tells of it; of an entry in another site's log there is none here."""
    if (event := moment.event) is not None:
        return f"/events?block={event.block}#e{event.block}-{event.log_index}"
    if moment.site is not None and moment.site.id == own and moment.entry is not None:
        return f"/log/{moment.entry}"
    return None


def lines(curves: list[Curve]) -> list[Line]:
    return [Line(f"{curve.step} {curve.name}", curve.points) for curve in curves]


def certificate(request: Request, id: str) -> bytes:
    return jobs.certificate_bytes(site_of(request), id)


def log_page(request: Request) -> dict[str, Any]:
    site = site_of(request)
    with site.store.read() as session:
        types = entries.types(session)
    return {
        **badge_of(request),
        "page": _read(request, "log"),
        "filters": log_filters(request),
        "types": types,
        "checkpoint": entries.checkpoint(site),
    }


def entry_page(request: Request) -> dict[str, Any]:
    index = request.path_params["index"]
    size = request.query_params.get("size")
    if not is_number(index) or not (size is None or is_number(size)):
        raise NotFound("NotFound", "the log has no such entry", found=index)
    entry = entries.show(site_of(request), int(index), None if size is None else int(size))
    proof = entry.proof
    return {
        **badge_of(request),
        "entry": entry,
        "says": phrases.entry(language_of(request), entry.type),
        "steps": steps(entry.index, proof.size, entry.leaf_hash, proof.path),
    }


def models_page(request: Request) -> dict[str, Any]:
    return {"page": _read(request, "models")}


def model_page(request: Request) -> dict[str, Any]:
    """A model of which this site has a part, or one that only the chain tells it of."""
    site, names, id = site_of(request), names_of(request), id_of(request)
    try:
        model = models.show(site, names, id)
    except NotFound:
        made = models.on_chain(site, names, id)
        return {"id": id, "model": None, "job": made.job_id, "chain": made}
    return {"id": id, "model": model, "job": model.job_id, "chain": model.chain}


def views_page(request: Request) -> dict[str, Any]:
    """One's own; with ``list`` and ``query`` the form to save what these name."""
    actor = access.reader(request)
    asked = request.query_params
    listing = LISTS.get(asked.get("list", ""))
    given = dict(parse_qsl(asked.get("query", "")))
    filters = {} if listing is None else {n: given[n] for n in listing.filters if given.get(n)}
    with site_of(request).store.read() as session:
        kept = [] if actor is None else saved.of(session, actor.id)
    return {
        "views": kept,
        "list": None if listing is None else asked["list"],
        "filters": filters,
    }


def badge_of(request: Request) -> dict[str, Any]:
    """How log, witnesses and chain stand; ``seen`` is the size of a head that a browser knows."""
    badge: Badge = request.app.state.badge
    seen = request.query_params.get("seen", "")
    return {
        "badge": badge.look(int(seen) if is_number(seen) else None),
        "log_id": site_of(request).settings.site_id or "",
    }


def anchors_page(request: Request) -> dict[str, Any]:
    """This site's heads on the chain, and what it knows of the other sites' as a witness."""
    site, names = site_of(request), names_of(request)
    return {
        **badge_of(request),
        "seen": witness.show(site, names),
        "page": _read(request, "anchors"),
        "states": list(ANCHOR_STATES),
        "state": choice_of(request, "state", ANCHOR_STATES),
    }


def heads_page(request: Request) -> dict[str, Any]:
    """What this site, as a witness, saw of the other sites' logs."""
    return {
        "page": _read(request, "heads"),
        "every_found": list(FOUND),
        "found": choice_of(request, "found", FOUND),
    }


def alerts_page(request: Request) -> dict[str, Any]:
    state = choice_of(request, "state", ALERT_STATES)
    return {"page": _read(request, "alerts"), "state": state, "states": list(ALERT_STATES)}


def lineage_page(request: Request) -> dict[str, Any]:
    return {"lineage": lineage.show(site_of(request), names_of(request), id_of(request))}


def statements_page(request: Request) -> dict[str, Any]:
    """Months of which there is a statement of what this member's data was used for."""
    now = datetime.now(UTC)
    first = now.year * 12 + now.month - 1
    months = [divmod(first - back, 12) for back in range(MONTHS)]
    kept = {made.month: made for made in kept_statements.every(site_of(request))}
    shown = {f"{year:04}-{month + 1:02}" for year, month in months} | kept.keys()
    return {"months": sorted(shown, reverse=True), "kept": kept}


def datasets_page(request: Request) -> dict[str, Any]:
    return {"page": _read(request, "datasets")}


def dataset_page(request: Request) -> dict[str, Any]:
    site, names, id = site_of(request), names_of(request), id_of(request)
    return {
        "dataset": hidden(request, datasets.show(site, names, id)),
        "grants": grants.page(site, names, limit=MAX_LIMIT, dataset=id).items,
    }


def grants_page(request: Request) -> dict[str, Any]:
    state = choice_of(request, "state", GRANT_STATES)
    whose = next((w for w in WHOSE if w == request.query_params.get("whose")), None)
    return {
        "page": _read(request, "grants"),
        "states": list(GRANT_STATES),
        "state": state,
        "every_whose": list(WHOSE),
        "whose": whose,
    }


def grant_page(request: Request) -> dict[str, Any]:
    site, names, id = site_of(request), names_of(request), id_of(request)
    return {"grant": grants.show(site, names, id), "uses": grants.uses(site, names, id)}


def new_grant_page(request: Request) -> dict[str, Any]:
    """What a grant may name: datasets, this site's own first, members, purposes, algorithms."""
    site, names = site_of(request), names_of(request)
    found = datasets.page(site, names, limit=MAX_LIMIT).items
    agreed = network.show(site, names)
    return {
        "datasets": sorted(
            (dataset for dataset in found if dataset.state == datasets.STANDING),
            key=lambda dataset: not dataset.mine,
        ),
        "members": [member for member in agreed.members if member.standing == "ACTIVE"],
        "purposes": agreed.purposes,
        "algorithms": [a for a in agreed.algorithms if not a.until_block],
        "dataset": request.query_params.get("dataset"),
    }


def proposals_page(request: Request) -> dict[str, Any]:
    state = next((s for s in PROPOSAL_STATES if s == request.query_params.get("state")), None)
    return {
        "page": _read(request, "proposals"),
        "states": list(PROPOSAL_STATES),
        "state": state,
    }


def proposal_page(request: Request) -> dict[str, Any]:
    return {"proposal": proposals_view.show(site_of(request), names_of(request), id_of(request))}


def new_proposal_page(request: Request) -> dict[str, Any]:
    """A form for one kind; with ``preview=1`` what the proposal in the address would do."""
    site, asked = site_of(request), request.query_params
    kinds = proposals_view.kinds()
    chosen = next((kind for kind in kinds if kind.kind == asked.get("kind")), None)
    preview, refusal = None, None
    if chosen is not None and asked.get("preview") == "1":
        params = {
            name.removeprefix(PARAM): value
            for name, value in asked.items()
            if name.startswith(PARAM) and value
        }
        try:
            made = governance.preview(
                site,
                governance.ProposalRequest(chosen.kind, params, asked.get("title", "").strip(), ""),
            )
            preview = proposals_view.preview(site.network(), made)
        except NodeError as error:
            refusal = error
    return {
        "kinds": kinds,
        "chosen": chosen,
        "members": sites.members(site.network(), names_of(request)) if chosen else [],
        "preview": preview,
        "refusal": None if refusal is None else refusal.to_problem(),
    }


def waiting_page(request: Request) -> dict[str, Any]:
    return {"waiting": waiting.show(site_of(request), names_of(request))}


def people_page(request: Request) -> dict[str, Any]:
    with site_of(request).store.read() as session:
        return {
            "people": [person_shown(person) for person in people.everybody(session)],
            "keys": [
                key_shown(key, people.find(session, key.person))
                for key in people.keys(session, None)
            ],
            "every_role": list(people.ROLES),
        }


def effect_rows(effect: EffectShown) -> dict[str, list[tuple[str, Any, Any]]]:
    """What an effect changes, by sort, each as (what, before, after); None: there is no such."""

    def member(facts: dict[str, str] | None) -> str | None:
        return None if facts is None else f"{facts['name']}: {facts['standing']}"

    return {
        "members": [
            (change.member, member(change.before), member(change.after))
            for change in effect.members
        ],
        "parameters": [(change.what, change.before, change.after) for change in effect.parameters],
        "contracts": [(change.name, change.old, change.new) for change in effect.contracts],
        "grants": [
            (f"{change.grant} ({change.purpose})", change.before or "✓", change.after or "✓")
            for change in effect.grants
        ],
        "jobs": [(change.job, change.before or "✓", change.after or "✓") for change in effect.jobs],
    }


def members_page(request: Request) -> dict[str, Any]:
    """Institutions with their standing, and what was attested of each."""
    site, names = site_of(request), names_of(request)
    page = _read(request, "members")
    return {
        "page": page,
        "states": list(STANDINGS),
        "state": choice_of(request, "state", STANDINGS),
        "attestations": affairs.attestations(site, names, page.items),
        "kinds": reviews.kinds(site),
    }


def member_page(request: Request) -> dict[str, Any]:
    site, names = site_of(request), names_of(request)
    found = dossiers.of_member(site, names, id_of(request))
    _learn_names(request)
    return {"found": found, "attestations": affairs.attestations(site, names, [found.member])}


def site_page(request: Request) -> dict[str, Any]:
    _learn_names(request)
    return {"found": dossiers.of_site(site_of(request), names_of(request), id_of(request))}


def sites_page(request: Request) -> dict[str, Any]:
    site, names = site_of(request), names_of(request)
    return {
        "network": network.show(site, names),
        "page": _read(request, "sites"),
    }


def history_page(request: Request) -> dict[str, Any]:
    """What the members decided, and what changed by it, over all contracts of governance."""
    return {
        "page": _read(request, "history"),
        "areas": list(history.AREAS),
        "area": choice_of(request, "area", history.AREAS),
    }


def messages_page(request: Request) -> dict[str, Any]:
    """Both sides of every message of a job that the address names."""
    job = request.query_params.get("job", "")
    return {
        "page": _read(request, "messages"),
        "job": job if re.match(ID_PATTERN, job) else None,
        "agreements": list(AGREEMENTS),
        "agree": choice_of(request, "agree", AGREEMENTS),
    }


def events_page(request: Request) -> dict[str, Any]:
    asked = request.query_params
    filters = {name: asked.get(name) or None for name in LISTS["events"].filters}
    return {"page": _read(request, "events"), "filters": filters}


def transactions_page(request: Request) -> dict[str, Any]:
    state = choice_of(request, "state", transactions_view.STATES)
    return {
        "page": _read(request, "transactions"),
        "states": list(transactions_view.STATES),
        "state": state,
    }


def transaction_page(request: Request) -> dict[str, Any]:
    """One of this site's, by intent or number; by its hash also any other, as the chain has it."""
    site, key = site_of(request), request.path_params["key"]
    language = language_of(request)
    hash = key.lower() if re.match(ID_PATTERN, key.lower()) else None
    with site.store.read() as session:
        if hash is None:
            own: Transaction | None = transactions_view.find(session, key)
            hash = None if own is None else own.tx_hash
        else:
            own = transactions_view.of_hash(session, hash)
        events = select(ChainEvent).where(ChainEvent.tx_hash == hash).order_by(ChainEvent.id)
        rows = [] if hash is None else list(session.scalars(events.limit(MAX_LIMIT)))
        known = known_of(request).learn(session)
    call = None if hash is None else transactions_view.on_chain(site, hash)
    if own is None and call is None and not rows:
        raise NotFound("NotFound", "neither this site nor the chain knows it", found=key[:200])
    return {
        "transaction": None if own is None else transaction_told(own, language, known),
        "hash": hash,
        "call": call,
        "events": [event_told(row, language, known) for row in rows],
    }


def search_page(request: Request) -> dict[str, Any]:
    reader = access.reader(request)
    asked = request.query_params
    results = search.search(
        site_of(request),
        asked.get("q", ""),
        kind=asked.get("kind") or None,
        cursor=cursor_of(request),
        with_people=reader is not None and reader.may("operator", "auditor"),
    )
    known = known_of(request)
    return {"results": hits.told(site_of(request), results, language_of(request), known)}


def _read(request: Request, name: str) -> Page[Any]:
    return LISTS[name].read(request, PAGE, cursor_of(request))
