"""Code that members put up for review, the people who speak for a member, and what they found.

An algorithm may be proposed once two people of two members other than its author's approve it.  A
review is signed by its person (EIP-712), offline if need be; any node relays it, and pays for it.
The same people open the glass of their member's data in an emergency.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from chain.ids import ZERO_ID
from node.errors import Invalid, Refused
from node.refusals import chain_errors
from node.registration import code_digest_of
from node.store import ChainTx
from node.submission import Submitted, is_open, rehearse, submit

if TYPE_CHECKING:
    from chain.calls import Call
    from node.site import Site

MAX_NAME = 100


@dataclass(frozen=True)
class Review:
    """What a person found of code; ``report`` is the SHA-256 of the report.

    ``signature`` is 0x-hex: 65 bytes of a key, or what a contract account takes.
    """

    code_digest: str
    person: str
    approves: bool
    report: str
    signature: str


def put_up(site: Site, algorithm: str, name: str | None = None) -> Submitted:
    """Put code up for review, as its author: by its name here, or by its digest with a name.

    The first who does is the author.  Raises `Invalid`, and `Conflict` where somebody did before.
    """
    digest = code_digest_of(algorithm)
    shown = name or (None if algorithm.startswith("0x") else algorithm)
    if shown is None or not 0 < len(shown) <= MAX_NAME:
        raise Invalid(
            "InvalidRequest",
            "code that is named by its digest needs a name",
            found=shown,
            allowed=f"1 to {MAX_NAME} characters",
        )
    submitted = Submitted(digest, f"review.submit:{digest}")
    if is_open(site, submitted.intent):
        return submitted
    with chain_errors():
        call = site.network().reviews.submit(digest, shown)
        rehearse(site, call)
    return submit(site, submitted, call, "review.submitted", {"name": shown})


def appoint(site: Site, person: str) -> Submitted:
    """Let a person speak for this site's member.

    Raises `Conflict` for one who speaks for a member already.
    """
    with chain_errors():
        call = site.network().reviews.appoint(person)
    return _of_person(site, person, "appoint", call, "person.appointed")


def dismiss(site: Site, person: str) -> Submitted:
    """Let a person speak for this site's member no more; what he or she approved counts no more.

    Raises `Refused` (``NotOwner``) for one of another member.
    """
    with chain_errors():
        call = site.network().reviews.dismiss(person)
    return _of_person(site, person, "dismiss", call, "person.dismissed")


def typed_review(
    site: Site, code_digest: str, person: str, approves: bool, report: str
) -> dict[str, Any]:
    """What the person signs now (EIP-712); another review by the same person makes it void.

    Raises `NotFound` (``ReviewMissing``) for code that nobody put up, `Refused`
    (``PersonNotAppointed``) for a person who speaks for nobody.
    """
    with chain_errors():
        reviews = site.network().reviews
        reviews.submission(code_digest)
        if reviews.member_of_person(person) == ZERO_ID:
            raise Refused(
                "PersonNotAppointed",
                "this person speaks for no member",
                found=person,
                hint="a member appoints people with `fatechain review appoint`",
            )
        return reviews.typed_review(code_digest, person, approves, report)


def relay(site: Site, review: Review) -> Submitted:
    """Hand a signed review to the chain.

    Raises `Unauthenticated` (``SignatureInvalid``), `Refused` (``PersonNotAppointed``).
    """
    mark = hashlib.sha256(review.signature.lower().encode()).hexdigest()[:16]
    submitted = Submitted(review.code_digest, f"review.relay:{review.code_digest}:{mark}")
    if is_open(site, submitted.intent):
        return submitted
    with chain_errors():
        call = site.network().reviews.review(
            review.code_digest, review.person, review.approves, review.report, review.signature
        )
        rehearse(site, call)
    facts = {"person": review.person, "approves": review.approves, "report": review.report}
    return submit(site, submitted, call, "review.relayed", facts)


def _of_person(site: Site, person: str, what: str, call: Call, kind: str) -> Submitted:
    """People come and go: what was confirmed may be asked for anew, what is on its way not."""
    done = select(func.count()).where(
        ChainTx.intent.like(f"person.%:{person.lower()}:%"), ChainTx.state == "CONFIRMED"
    )
    with site.store.read() as session:
        count = session.scalar(done) or 0
    with chain_errors():
        network = site.network()
        member = network.membership.member_of(site.identity.address)
    submitted = Submitted(member, f"person.{what}:{person.lower()}:{count}")
    if is_open(site, submitted.intent):
        return submitted
    with chain_errors():
        rehearse(site, call)
    return submit(site, submitted, call, kind, {"person": person})
