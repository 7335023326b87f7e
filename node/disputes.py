"""What one member holds against another: opened, answered once, withdrawn; ruled by a vote.

Only digests go on the chain: of the evidence, the answer and the ruling's reasons.  Words that are
given here stay in this site's audit log (`node.statements`); a document told by its digest stays
where it is.  The ruling is a proposal of the kind ``rule-dispute``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chain.ids import new_nonce
from node.errors import Invalid
from node.refusals import chain_errors
from node.registration import member_id_of, nonce_of
from node.submission import Submitted, is_open, rehearse, submit

if TYPE_CHECKING:
    from node.site import Site
    from node.statements import Statement


@dataclass(frozen=True)
class Claim:
    """Against a member, by id or unique name, about a thing: its kind ("dataset", "job", …) and its
    id or digest.
    """

    respondent: str
    about: str
    subject: str
    evidence: Statement


def open_(site: Site, claim: Claim, *, key: str | None = None) -> Submitted:
    """Raises `Refused` (``MemberNotActive``), `Invalid` for a claim against oneself or nobody."""
    from chain.consents import ALL_MEMBERS
    from chain.disputes import dispute_id

    with chain_errors():
        network = site.network()
        respondent = member_id_of(network, claim.respondent)
        if respondent == ALL_MEMBERS:
            raise Invalid("InvalidRequest", "a dispute is with one member", found=claim.respondent)
        nonce = new_nonce() if key is None else nonce_of(key)
        chain_id, disputes = network.client.chain_id, network.disputes
        id = dispute_id(chain_id, disputes.address, site.identity.address, nonce)
        submitted = Submitted(id, f"dispute.open:{id}")
        if is_open(site, submitted.intent):
            return submitted
        call = disputes.open(respondent, claim.about, claim.subject, claim.evidence.digest, nonce)
        rehearse(site, call)
    facts = {
        "respondent": respondent,
        "about": claim.about,
        "subject": claim.subject,
        **claim.evidence.facts("evidence"),
    }
    return submit(site, submitted, call, "dispute.opened", facts)


def answer(site: Site, id: str, said: Statement) -> Submitted:
    """Once, as the respondent; also while suspended.

    Raises `NotFound`, `Refused` (``NotOwner``) and `Conflict` where it is answered or over.
    """
    submitted = Submitted(id, f"dispute.answer:{id}:{said.digest}")
    if is_open(site, submitted.intent):
        return submitted
    with chain_errors():
        call = site.network().disputes.answer(id, said.digest)
        rehearse(site, call)
    return submit(site, submitted, call, "dispute.answered", said.facts("answer"))


def withdraw(site: Site, id: str) -> Submitted:
    """As the claimant, while nothing is ruled.

    Raises `NotFound`, `Refused` (``NotOwner``) and `Conflict` where it is over.
    """
    submitted = Submitted(id, f"dispute.withdraw:{id}")
    if is_open(site, submitted.intent):
        return submitted
    with chain_errors():
        call = site.network().disputes.withdraw(id)
        rehearse(site, call)
    return submit(site, submitted, call, "dispute.withdrawn", {})
