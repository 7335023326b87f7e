"""What the pages of the right to audit show.

Like those of `node.ui.pages`: a reading takes the request and gives what template and JSON twin
show.
"""

from __future__ import annotations

from typing import Any

from fastapi import Request

from node.api.pages import MAX_LIMIT
from node.api.views import audits, datasets, sites
from node.refusals import chain_errors
from node.ui import session as access
from node.ui.asked import cursor_of, id_of, names_of, site_of
from node.ui.lists import AUDIT_STATES, LISTS

PAGE = 50


def audits_page(request: Request) -> dict[str, Any]:
    state = next((s for s in AUDIT_STATES if s == request.query_params.get("state")), None)
    page = LISTS["audits"].read(request, PAGE, cursor_of(request))
    return {"page": page, "states": list(AUDIT_STATES), "state": state}


def audit_page(request: Request) -> dict[str, Any]:
    """The question is shown to operators and auditors, whoever may read the pages."""
    shown = audits.show(site_of(request), names_of(request), id_of(request))
    actor = access.reader(request)
    if actor is None or not actor.may("operator", "auditor"):
        shown = audits.for_everybody(shown)
    return {"audit": shown}


def new_audit_page(request: Request) -> dict[str, Any]:
    """Sites of other members, and what can be asked about."""
    site, names = site_of(request), names_of(request)
    with chain_errors():
        network = site.network()
        every = sites.page(network, names, site.settings.site_id, limit=MAX_LIMIT).items
        others = [one for one in every if not sites.is_own(site, network, one.member.id)]
    found = datasets.page(site, names, limit=MAX_LIMIT)
    return {"asked": others, "sites": every, "datasets": found.items}
