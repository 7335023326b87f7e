"""What cannot wait for a vote: the brake, and access to data in an emergency.

**The brake.**  A member's voice stands for an hour; enough voices stop all new work for a while,
and end what runs.  Nobody has to vote, and it ends by itself.

**Breaking the glass.**  Two people whom the owner of a dataset appointed sign that somebody gets
access for at most 72 hours; any node relays it, and a vote reviews it afterwards.  Whose emergency
nobody reviewed in time is suspended when anybody says so (`lapse`).

    draft    terms and purpose as the EIP-712 document that the two people sign
    check    on any machine: the document is about these terms and these words
    open     the two signatures go to the chain, paid by this site; the chain checks them

The chain knows digests of reason and purpose, the words stay here (`node.statements`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from chain.ids import ZERO_ID, new_nonce
from node.chain_tx import OPEN
from node.errors import Conflict, Invalid, Refused
from node.refusals import chain_errors
from node.registration import GrantRequest, grant_terms
from node.statements import Statement
from node.store import ChainTx
from node.store import GrantTerms as KeptTerms
from node.submission import Submitted, is_open, rehearse, submit
from node.wallet_grants import check_rules, identify, plain

if TYPE_CHECKING:
    from chain.breakglass import Emergency
    from chain.consents import GrantTerms
    from chain.network import Network
    from node.site import Site

EMERGENCY = "emergency"  # the purpose of such a grant, and of the jobs that use it
LONGEST_SECONDS = 72 * 3600  # what the contract allows
USUAL_SECONDS = 24 * 3600
REVIEW_SECONDS = 7 * 24 * 3600  # after the end of the access


# ── The brake ────────────────────────────────────────────────────────────────────────────────


def pull(site: Site, reason: str) -> Submitted:
    """Raise this member's voice for stopping all work; said again, it stands an hour anew.

    The same reason while the first is on its way is the same voice.  Raises `Refused`
    (``ConsortiumPaused``, ``MemberNotActive``).
    """
    said = Statement.of("reason", reason)
    with site.store.read() as session:
        query = select(ChainTx.intent).where(
            ChainTx.intent.startswith(f"brake.pull:{said.digest}:"), ChainTx.state.in_(OPEN)
        )
        under_way = session.scalars(query).first()
    if under_way is not None:
        return Submitted(said.digest, under_way)
    with chain_errors():
        call = site.network().brake.pull(said.digest)
        rehearse(site, call)
    submitted = Submitted(said.digest, f"brake.pull:{said.digest}:{new_nonce():032x}")
    return submit(site, submitted, call, "brake.pulled", said.facts("reason"))


# ── Breaking the glass ───────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Opening:
    """What two people sign.  `people` are those who may; numbers of 64 bits are decimal text.

    `grant_typed_data` is there to be hashed, not to be signed: its digest is what `typed_data` is
    about.
    """

    id: str
    owner: str
    people: tuple[str, ...]
    until: int
    review_by: int
    terms: dict[str, Any]
    column_rules: dict[str, str] | None
    purpose: str
    purpose_digest: str
    grant_typed_data: dict[str, Any]
    typed_data: dict[str, Any]


@dataclass(frozen=True)
class Signed:
    """One of the two, with the signature of `Opening.typed_data`."""

    address: str
    signature: str


def draft(site: Site, request: GrantRequest, purpose: str) -> Opening:
    """Records nothing.  Without an end the access ends after a day.

    Raises `Invalid` for terms that no emergency can have, and `Refused` (``PersonNotAppointed``)
    where the owner has appointed fewer than two people.
    """
    said = Statement.of("purpose", purpose)
    with chain_errors():
        network = site.network()
        terms, rules = grant_terms(site, network, _request(request), new_nonce())
        _check_length(network, terms)
        id, _ = identify(network, terms)
        owner = network.datasets.dataset(terms.dataset_id).owner
        people = network.reviews.people(owner)
        if len(people) < 2:
            raise Refused(
                "PersonNotAppointed",
                "it takes two people whom the dataset's owner has appointed",
                found=list(people),
                hint="the owner appoints people before there is an emergency: "
                "`fatechain review appoint`",
            )
        grant_digest = network.consents.digest(terms)
        typed = network.breakglass.typed_opening(grant_digest, said.digest)
    return Opening(
        id=id,
        owner=owner,
        people=people,
        until=terms.until,
        review_by=terms.until + REVIEW_SECONDS,
        terms=terms.to_json(),
        column_rules=rules,
        purpose=purpose,
        purpose_digest=said.digest,
        grant_typed_data=plain(network.consents.typed_data(terms)),
        typed_data=typed,
    )


def check(opening: Mapping[str, Any]) -> None:
    """That what is signed is what stands beside it in words.  Needs no chain.

    A wallet shows two digests; this recomputes them from the terms and the purpose.  Raises
    `Invalid` (``OpeningMismatch``), KeyError, TypeError and ValueError for what is no draft.
    """
    from chain.breakglass import opening_document
    from chain.canonical import digest_of, word
    from chain.consents import GrantTerms
    from chain.typed_data import digest

    terms = GrantTerms.from_json(opening["terms"])
    grant, typed, rules = (
        opening[name] for name in ("grant_typed_data", "typed_data", "column_rules")
    )
    words = [word(text) for text in terms.purposes]
    _same("grant", grant["message"], plain(terms.to_struct() | {"purposes": words}))
    _same("purpose of the grant", terms.purposes, (EMERGENCY,))
    _same("end", opening["until"], terms.until)
    _same(
        "document about columns", ZERO_ID if rules is None else digest_of(rules), terms.column_rules
    )
    said = Statement.of("purpose", opening["purpose"])
    contract = typed["domain"]["verifyingContract"]
    chain_id = grant["domain"]["chainId"]
    _same("opening", typed, opening_document(chain_id, contract, digest(grant), said.digest))


def open_(
    site: Site,
    terms: GrantTerms,
    purpose: str,
    people: tuple[Signed, Signed],
    column_rules: Mapping[str, str] | None = None,
) -> Submitted:
    """Hand what two people signed to the chain.  Any node does, and pays for it.

    Raises `Refused` (``PersonNotAppointed``), `Unauthenticated` (``SignatureInvalid``), `Invalid`
    for terms that no emergency can have, or without the document that the terms name.
    """
    said = Statement.of("purpose", purpose)
    check_rules(site, terms, column_rules)
    first, second = people
    with chain_errors():
        network = site.network()
        id, _ = identify(network, terms)
        submitted = Submitted(id, f"break-glass.open:{id}")
        if is_open(site, submitted.intent):
            return submitted
        call = network.breakglass.open(
            terms, first.address, first.signature, second.address, second.signature, said.digest
        )
        rehearse(site, call)
    kept = [] if column_rules is None else [KeptTerms(grant_id=id, column_rules=dict(column_rules))]
    facts = {
        "terms": terms.to_json(),
        "people": [first.address, second.address],
        **said.facts("purpose"),
    }
    return submit(site, submitted, call, "emergency.opened", facts, *kept, scope=terms.dataset_id)


def lapse(site: Site, id: str) -> Submitted:
    """Say that the review of an emergency is overdue: its owner is suspended.

    Raises `NotFound`, and `Conflict` for one that was reviewed, lapsed before or is not overdue.
    """
    with chain_errors():
        network = site.network()
        found = network.breakglass.emergency(id)
        submitted = Submitted(id, f"break-glass.lapse:{id}")
        if is_open(site, submitted.intent):
            return submitted
        _require_overdue(network, found)
        call = network.breakglass.lapse(id)
        rehearse(site, call)
    return submit(site, submitted, call, "emergency.lapsed", {"owner": found.owner})


def _require_overdue(network: Network, found: Emergency) -> None:
    """As the contract asks, with the time that is left."""
    now = network.client.head().timestamp
    if not (found.reviewed_at or found.lapsed_at) and now < found.review_by:
        raise Conflict(
            "Conflict",
            f"the members may review it for {found.review_by - now} seconds more",
            found=now,
            allowed=found.review_by,
            hint="propose its review: `fatechain proposal create review-break-glass`",
        )


def _request(request: GrantRequest) -> GrantRequest:
    if request.amends is not None:
        raise Invalid("InvalidRequest", "access in an emergency amends no grant")
    asked = replace(request, purposes=(EMERGENCY,))
    if request.until is None and request.expires_in is None:
        return replace(asked, expires_in=USUAL_SECONDS)
    return asked


def _check_length(network: Network, terms: GrantTerms) -> None:
    now = network.client.head().timestamp
    if not now < terms.until <= now + LONGEST_SECONDS:
        raise Invalid(
            "InvalidRequest",
            "access in an emergency ends within 72 hours",
            found=terms.until,
            allowed=[now + 1, now + LONGEST_SECONDS],
        )


def _same(what: str, found: Any, expected: Any) -> None:
    if found != expected:
        raise Invalid(
            "OpeningMismatch",
            f"the {what} to be signed is not what the words say",
            found=str(found)[:200],
            allowed=str(expected)[:200],
            hint="do not sign; draft it again at a node that you trust",
        )
