"""Code under review and attestations of members, as the chain has them at its newest block."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from chain.canonical import unword
from node.api.pages import Page
from node.api.views.model import Shown
from node.api.views.names import Named, Names
from node.api.views.sites import slice_of
from node.refusals import chain_errors, from_contract
from node.store import ChainEvent

if TYPE_CHECKING:
    from chain.errors import ContractRefused
    from chain.network import Network
    from chain.reviews import Opinion
    from node.site import Site

# ── Reviews ──────────────────────────────────────────────────────────────────────────────────


class OpinionShown(Shown):
    """A person's last word.  `report` is the SHA-256 of the report.

    `counts`: the person still speaks for this active member, which is not the author.
    """

    person: str
    member: Named
    approves: bool
    report: str
    at_block: int
    counts: bool


class ReviewShown(Shown):
    """`reviewed`: the consortium may vote on it; else `missing` says what it lacks.

    `allowed`: jobs may run it.  `here`: this node has code with exactly this digest.
    """

    code_digest: str
    name: str
    author: Named
    from_block: int
    reviewed: bool
    missing: str | None
    allowed: bool
    here: bool
    opinions: list[OpinionShown]


class PeopleShown(Shown):
    """Who speaks for a member: reviews code, and opens the glass in an emergency."""

    member: Named
    people: list[str]


def page(site: Site, names: Names, *, limit: int, cursor: str | None) -> Page[ReviewShown]:
    """In the order in which the code was put up."""
    with chain_errors():
        network = site.network()
        ids, more = slice_of(network.reviews.submissions(), limit, cursor)
        return Page(items=[_shown(network, names, id) for id in ids], next=more)


def show(site: Site, names: Names, code_digest: str) -> ReviewShown:
    """Raises `NotFound` (``ReviewMissing``)."""
    with chain_errors():
        return _shown(site.network(), names, code_digest)


def people(site: Site, names: Names) -> list[PeopleShown]:
    """Of every member, in the order of admission."""
    with chain_errors():
        network = site.network()
        return [
            PeopleShown(member=names.member(id), people=list(network.reviews.people(id)))
            for id in network.membership.members()
        ]


def _shown(network: Network, names: Names, code_digest: str) -> ReviewShown:
    from chain.errors import ContractRefused

    reviews = network.reviews
    found = reviews.submission(code_digest)
    missing = None
    try:
        reviews.require_reviewed(code_digest)
    except ContractRefused as refusal:
        missing = _missing(refusal)
    return ReviewShown(
        code_digest=code_digest,
        name=found.name,
        author=names.member(found.author),
        from_block=found.from_block,
        reviewed=missing is None,
        missing=missing,
        allowed=network.consortium.is_algorithm_allowed(code_digest),
        here=_is_here(code_digest),
        opinions=[
            OpinionShown(
                person=opinion.person,
                member=names.member(opinion.member),
                approves=opinion.approves,
                report=opinion.report,
                at_block=opinion.at_block,
                counts=_counts(network, opinion, found.author),
            )
            for opinion in reviews.reviews_of(code_digest)
        ],
    )


def _missing(refusal: ContractRefused) -> str:
    values = refusal.values
    if refusal.error == "ReviewsTooFew":
        return (
            f"people of {values['found']} members approve it; {values['required']} members other "
            "than the author's are needed"
        )
    return from_contract(refusal).detail


def _counts(network: Network, opinion: Opinion, author: str) -> bool:
    return (
        opinion.member != author
        and network.reviews.member_of_person(opinion.person) == opinion.member
        and network.membership.standing(opinion.member) == "ACTIVE"
    )


def _is_here(digest: str) -> bool:
    from ml.algorithm import catalogue, code_digest

    return any(code_digest(name) == digest for name in catalogue())


# ── Attestations ─────────────────────────────────────────────────────────────────────────────


class KindShown(Shown):
    """`required`: every party of a job needs it, of an issuer that is named now."""

    kind: str
    required: bool
    issuers: list[str]


class AttestationShown(Shown):
    """An issuer's last word; `digest` is that of the statement, `until` block time in Unix seconds.

    `holds`: the issuer is still named, and it neither ran out nor was revoked.
    """

    subject: Named
    kind: str
    issuer: str
    digest: str
    from_block: int
    until: int
    revoked_at: int
    named: bool
    holds: bool


class StandingShown(Shown):
    """What is attested of a member, and which required kinds it lacks."""

    member: Named
    missing: list[str]
    attestations: list[AttestationShown]


def kinds(site: Site) -> list[KindShown]:
    """All that the consortium ever named an issuer for, or required."""
    with chain_errors():
        attestations = site.network().attestations
        required = attestations.required_kinds()
        return [
            KindShown(
                kind=kind, required=kind in required, issuers=list(attestations.issuers(kind))
            )
            for kind in _known_kinds(site, required)
        ]


def standing(site: Site, names: Names, member: str) -> StandingShown:
    """Of a member by its id.  Raises `Unavailable` where the chain does not answer."""
    with chain_errors():
        network = site.network()
        now = network.client.head().timestamp
        shown = []
        for kind, issuer in _given(site, member):
            word = network.attestations.attestation(member, kind, issuer)
            if word is None:
                continue
            named = issuer in network.attestations.issuers(kind)
            shown.append(
                AttestationShown(
                    subject=names.member(member),
                    kind=kind,
                    issuer=issuer,
                    digest=word.digest,
                    from_block=word.from_block,
                    until=word.until,
                    revoked_at=word.revoked_at,
                    named=named,
                    holds=named and not word.revoked_at and now < word.until,
                )
            )
        required = network.attestations.required_kinds()
        missing = [kind for kind in required if not network.attestations.is_attested(member, kind)]
    return StandingShown(member=names.member(member), missing=missing, attestations=shown)


def _known_kinds(site: Site, required: tuple[str, ...]) -> list[str]:
    query = (
        select(ChainEvent)
        .where(
            ChainEvent.contract == "Attestations",
            ChainEvent.name.in_(("AttestationIssuerNamed", "AttestationRequirementSet")),
        )
        .order_by(ChainEvent.id)
    )
    with site.store.read() as session:
        told = {_word(event.args["kind"]): None for event in session.scalars(query)}
    return list(told | dict.fromkeys(required))


def _given(site: Site, member: str) -> list[tuple[str, str]]:
    """Kinds and issuers that the confirmed events tell of a subject, in their order."""
    query = (
        select(ChainEvent)
        .where(ChainEvent.contract == "Attestations", ChainEvent.name == "AttestationGiven")
        .order_by(ChainEvent.id)
    )
    with site.store.read() as session:
        told = {
            (_word(event.args["kind"]), str(event.args["issuer"])): None
            for event in session.scalars(query)
            if event.args["subject"] == member
        }
    return list(told)


def _word(value: str) -> str:
    return unword(value) if value.startswith("0x") else value
