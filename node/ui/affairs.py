"""What the pages of the members' affairs show: disputes, emergencies, the brake, attestations.

Like those of `node.ui.pages`: a reading takes the request and gives what template and JSON twin
show.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

from fastapi import Request
from sqlalchemy import select

from node import people
from node.api.pages import MAX_LIMIT, Page
from node.api.views import datasets, disputes, emergencies, network, reviews, sites
from node.api.views.model import Shown
from node.api.views.names import Named, Names
from node.api.views.people import in_order, key_shown
from node.api.views.reviews import AttestationShown
from node.audit.entries import type_of
from node.store import Proposal
from node.ui import session as access
from node.ui.asked import cursor_of, id_of, names_of, site_of

if TYPE_CHECKING:
    from node.site import Site

PAGE = 50
DISPUTE_STATES: tuple[disputes.State, ...] = get_args(disputes.State)
EMERGENCY_STATES: tuple[emergencies.State, ...] = get_args(emergencies.State)
KINDS_OF_THINGS = ("dataset", "grant", "job", "model")  # what a dispute is mostly about
NEWEST_PROPOSALS = 200


class Ruling(Shown):
    """A proposal to the members about a dispute or an emergency access."""

    id: str
    title: str
    state: str


class Attested(Shown):
    """An issuer's word as it stands now, or with no issuer that a required one is missing."""

    member: Named
    kind: str
    state: Literal["HOLDS", "ENDED", "REVOKED", "DISTRUSTED", "MISSING"]
    issuer: str | None
    until: int | None
    from_block: int | None


# ── API keys ─────────────────────────────────────────────────────────────────────────────────


def keys_page(request: Request) -> dict[str, Any]:
    """One's own keys; the operator's token is nobody's, and a key makes no key."""
    reader = access.reader(request)
    address = None if reader is None else reader.address
    with site_of(request).store.read() as session:
        found = [] if address is None else people.keys(session, address)
        keys = [key_shown(key, people.find(session, key.person)) for key in found]
    return {
        "keys": keys,
        "held": [] if reader is None else in_order(reader),
        "may_make": reader is not None and address is not None and reader.how == "session",
    }


# ── Attestations ─────────────────────────────────────────────────────────────────────────────


def attestations(site: Site, names: Names, members: list[sites.Member]) -> list[Attested]:
    """Of all members that were not expelled: what is missing or ended first, by member."""
    found: list[Attested] = []
    for member in members:
        if member.standing == "EXPELLED":
            continue
        standing = reviews.standing(site, names, member.id)
        rows = [
            Attested(
                member=standing.member,
                kind=kind,
                state="MISSING",
                issuer=None,
                until=None,
                from_block=None,
            )
            for kind in standing.missing
        ]
        rows += [
            Attested(
                member=standing.member,
                kind=word.kind,
                state=_state(word),
                issuer=word.issuer,
                until=word.until,
                from_block=word.from_block,
            )
            for word in standing.attestations
        ]
        found += sorted(rows, key=lambda row: row.state == "HOLDS")
    return found


def _state(word: AttestationShown) -> Literal["HOLDS", "ENDED", "REVOKED", "DISTRUSTED"]:
    if word.holds:
        return "HOLDS"
    if word.revoked_at:
        return "REVOKED"
    return "ENDED" if word.named else "DISTRUSTED"


# ── Disputes ─────────────────────────────────────────────────────────────────────────────────


def disputes_page(request: Request) -> dict[str, Any]:
    state = next((s for s in DISPUTE_STATES if s == request.query_params.get("state")), None)
    page = disputes.page(
        site_of(request), names_of(request), limit=PAGE, cursor=cursor_of(request), state=state
    )
    return {"page": page, "states": list(DISPUTE_STATES), "state": state}


def dispute_page(request: Request) -> dict[str, Any]:
    """With the words that were given here; another site's stand in its own log."""
    site, id = site_of(request), id_of(request)
    return {
        "dispute": disputes.show(site, names_of(request), id),
        "said": _said(request, id, ("evidenceText", "answerText")),
        "proposals": _proposals_about(site, "rule-dispute", "dispute", id),
    }


def new_dispute_page(request: Request) -> dict[str, Any]:
    site, names = site_of(request), names_of(request)
    chain = site.network()
    return {
        "members": [
            member
            for member in sites.members(chain, names)
            if member.standing != "EXPELLED" and not sites.is_own(site, chain, member.id)
        ],
        "kinds": list(KINDS_OF_THINGS),
    }


# ── Emergencies ──────────────────────────────────────────────────────────────────────────────


def emergencies_page(request: Request) -> dict[str, Any]:
    site, names = site_of(request), names_of(request)
    state = next((s for s in EMERGENCY_STATES if s == request.query_params.get("state")), None)
    page = emergencies.page(site, names, limit=PAGE, cursor=cursor_of(request), state=state)
    return {
        "brake": emergencies.brake(site, names),
        "page": page,
        "states": list(EMERGENCY_STATES),
        "state": state,
    }


def emergency_page(request: Request) -> dict[str, Any]:
    site, id = site_of(request), id_of(request)
    return {
        "emergency": emergencies.show(site, names_of(request), id),
        "said": _said(request, id, ("purposeText",)),
        "proposals": _proposals_about(site, "review-break-glass", "emergency", id),
    }


def new_emergency_page(request: Request) -> dict[str, Any]:
    """Data that may be opened, and who may do so: two people whom its owner appointed."""
    site, names = site_of(request), names_of(request)
    found: Page[datasets.DatasetShown] = datasets.page(site, names, limit=MAX_LIMIT)
    agreed = network.show(site, names)
    return {
        "datasets": [one for one in found.items if one.state == datasets.STANDING],
        "members": [member for member in agreed.members if member.standing == "ACTIVE"],
        "algorithms": [a for a in agreed.algorithms if not a.until_block],
        "appointed": [row for row in reviews.people(site, names) if row.people],
    }


# ── Parts ────────────────────────────────────────────────────────────────────────────────────


def _said(request: Request, subject: str, names: tuple[str, ...]) -> dict[str, str | None]:
    """Words about a subject that stand in this site's log, by name; for those who signed in."""
    found: dict[str, str | None] = dict.fromkeys(names)
    if not access.is_operator(request):
        return found
    types = ("dispute.opened", "dispute.answered", "emergency.opened")
    for entry in site_of(request).log.of_subject(subject, map(type_of, types)):
        data = entry.data or {}
        found |= {name: str(data[name]) for name in names if name in data}
    return found


def _proposals_about(site: Site, kind: str, param: str, id: str) -> list[Ruling]:
    """Newest first, among the newest of their kind."""
    query = (
        select(Proposal)
        .where(Proposal.kind == kind)
        .order_by(Proposal.created_at.desc())
        .limit(NEWEST_PROPOSALS)
    )
    with site.store.read() as session:
        return [
            Ruling(id=row.id, title=row.title, state=row.state)
            for row in session.scalars(query)
            if (row.params or {}).get(param) == id
        ]
