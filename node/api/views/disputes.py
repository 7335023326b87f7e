"""Disputes between members, as the chain has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from node.api.pages import Page
from node.api.views.model import Shown
from node.api.views.names import Named, Names
from node.api.views.sites import chosen_of, is_own
from node.refusals import chain_errors

if TYPE_CHECKING:
    from chain.network import Network
    from node.site import Site

State = Literal["OPEN", "ANSWERED", "WITHDRAWN", "UPHELD", "DISMISSED"]


class DisputeShown(Shown):
    """`evidence`, `answer` and `reasons` are digests (SHA-256), `…_at` blocks: null and 0 where
    there is none.  `can` names what this site may do now: `answer`, `withdraw`."""

    id: str
    state: str
    claimant: Named
    respondent: Named
    about: str
    subject: str
    evidence: str
    answer: str | None
    ruling: str | None
    reasons: str | None
    opened_at: int
    answered_at: int
    withdrawn_at: int
    ruled_at: int
    can: list[Literal["answer", "withdraw"]]


def page(
    site: Site, names: Names, *, limit: int, cursor: str | None = None, state: State | None = None
) -> Page[DisputeShown]:
    """In the order of their opening."""
    with chain_errors():
        network = site.network()
        found, more = chosen_of(
            network.disputes.disputes(),
            limit,
            cursor,
            lambda id: _shown(site, network, names, id),
            lambda one: state in (None, one.state),
        )
    return Page(items=found, next=more)


def show(site: Site, names: Names, id: str) -> DisputeShown:
    """Raises `NotFound`."""
    with chain_errors():
        return _shown(site, site.network(), names, id)


def _shown(site: Site, network: Network, names: Names, id: str) -> DisputeShown:
    head = network.client.head().number
    found = network.disputes.dispute(id, block=head)
    state = str(network.disputes.state(id, block=head))
    can: list[Literal["answer", "withdraw"]] = []
    if state == "OPEN" and is_own(site, network, found.respondent):
        can.append("answer")
    if state in ("OPEN", "ANSWERED") and is_own(site, network, found.claimant):
        can.append("withdraw")
    return DisputeShown(
        id=id,
        state=state,
        claimant=names.member(found.claimant),
        respondent=names.member(found.respondent),
        about=found.about,
        subject=found.subject,
        evidence=found.evidence,
        answer=found.answer,
        ruling=found.ruling,
        reasons=found.reasons,
        opened_at=found.opened_at,
        answered_at=found.answered_at,
        withdrawn_at=found.withdrawn_at,
        ruled_at=found.ruled_at,
        can=can,
    )
