"""One site, or one member, on one page: what the chain and this node know of it.

Facts of data, grants, jobs and models come from the confirmed events (`chain.ledger`), the same at
every member's node; keys, standing and the witnesses of heads are asked of the contracts.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from node.api.views import anchoring, datasets, lineage, mirrors, sites, witness
from node.api.views.anchoring import ChallengeShown, MarkShown
from node.api.views.events import EventShown, naming
from node.api.views.mirrors import MirrorShown
from node.api.views.model import Shown
from node.api.views.names import Named, Names
from node.api.views.sites import Member, SiteShown
from node.api.views.witness import ConflictShown, WitnessedShown
from node.errors import NotFound
from node.index.documents import link_of
from node.index.finding import find
from node.index.indexing import behind
from node.ledger import read_ledger
from node.refusals import chain_errors
from node.store import ChainEvent, LocalJob, Proposal, Vote

if TYPE_CHECKING:
    from chain.ledger import DatasetTold, GrantTold, JobTold, Ledger, ModelTold
    from chain.network import Network
    from node.site import Site

NEWEST = 20  # of each list; `count` tells how many there are
HEADS = 10
T = TypeVar("T")


class HeadTold(Shown):
    """A head of a log on the chain, as the contract has it now.

    `state` is PENDING, WITNESSED or UNWITNESSED; `witnesses` are the members that it counted.
    """

    size: int
    root: str
    block: int
    tx_hash: str
    state: str
    witnesses: list[Named]


class JobLine(Shown):
    """`role` is that of the site, or of the member's first site in it; `started` and `ended` are
    blocks.  `here`: this node has the job, since its site takes part in it."""

    id: str
    state: str
    role: str
    site: Named
    purpose: str
    proposer: Named
    block: int
    started: int | None
    ended: int | None
    here: bool


class DatasetLine(Shown):
    """`versions` that were added, `standing` of them not withdrawn."""

    id: str
    name: str
    state: str
    site: Named
    versions: int
    standing: int
    block: int


class GrantLine(Shown):
    """`state` is GIVEN, REVOKED or AMENDED: whether it has expired stands with the grant."""

    id: str
    state: str
    dataset: Named
    owner: Named
    grantee: Named
    used: int
    block: int


class ModelLine(Shown):
    id: str
    state: str
    job: str
    registrar: Named
    block: int


class Affair(Shown):
    """A proposal, a dispute or an emergency access that names the member."""

    kind: str
    id: str
    label: str
    link: str


class Ballot(Shown):
    """A proposal that the member's account made (`support` null) or voted on."""

    id: str
    title: str
    state: str
    support: str | None
    reason: str | None
    block: int | None


class JobLines(Shown):
    count: int
    items: list[JobLine]


class DatasetLines(Shown):
    count: int
    items: list[DatasetLine]


class GrantLines(Shown):
    count: int
    items: list[GrantLine]


class ModelLines(Shown):
    count: int
    items: list[ModelLine]


class SiteDossier(Shown):
    """Lists have the newest first, `count` says how many there are.

    `witnessed`, `mirror` and `conflicts` are what this node saw of the site's log itself; null
    where it looked at none (its own among them). `behind`: so many events and entries are not in
    the search index yet, and may lack in `heads` and `history`.
    """

    site: SiteShown
    heads: list[HeadTold]
    needed: int
    marks: list[MarkShown]
    challenges: list[ChallengeShown]
    witnessed: WitnessedShown | None
    mirror: MirrorShown | None
    conflicts: list[ConflictShown]
    jobs: JobLines
    datasets: DatasetLines
    grants: GrantLines
    models: ModelLines
    history: list[EventShown]
    behind: int


class MemberDossier(Shown):
    """Lists have the newest first, `count` says how many there are; `marks` are of its sites."""

    member: Member
    sites: list[SiteShown]
    marks: list[MarkShown]
    jobs: JobLines
    datasets: DatasetLines
    given: GrantLines
    received: GrantLines
    models: ModelLines
    proposed: list[Ballot]
    voted: list[Ballot]
    affairs: list[Affair]
    history: list[EventShown]
    behind: int


def of_site(site: Site, names: Names, id: str) -> SiteDossier:
    """Raises `NotFound` (``UnknownSite``), `Unavailable` (``ChainUnavailable``)."""
    with chain_errors():
        network = site.network()
        shown = sites.show(network, id, names, site.settings.site_id)
        needed = network.anchors.cosigners_needed()
        with site.store.read() as session:
            ledger = read_ledger(session)
            history = naming(session, id, limit=NEWEST)
            anchored = naming(session, f"anchored {id}", limit=HEADS)
            here = set(session.scalars(select(LocalJob.id)))
            lacking = behind(session)
        heads = _heads(network, names, id, anchored)
    seen, chain = witness.show(site, names), anchoring.show(site, names)
    data = [one for one in ledger.datasets.values() if one.site == id]
    ids = {one.id for one in data}
    return SiteDossier(
        site=shown,
        heads=heads,
        needed=needed,
        marks=[mark for mark in chain.marks if mark.site == id],
        challenges=[one for one in chain.challenges if one.site == id],
        witnessed=next((head for head in seen.heads if head.site == id), None),
        mirror=next((copy for copy in mirrors.every(site, names) if copy.site == id), None),
        conflicts=[one for one in seen.conflicts if one.site == id],
        jobs=_jobs(ledger, names, {id}, here),
        datasets=_datasets(names, data),
        grants=_grants(names, [g for g in ledger.grants.values() if g.dataset in ids]),
        models=_models(names, [m for m in ledger.models.values() if m.registrar == id]),
        history=history,
        behind=lacking,
    )


def of_member(site: Site, names: Names, id: str) -> MemberDossier:
    """Raises `NotFound`, `Unavailable` (``ChainUnavailable``)."""
    with chain_errors():
        network = site.network()
        if id not in network.membership.members():
            raise NotFound("NotFound", "the consortium admitted no member with this id", found=id)
        member = sites.member(network, id, names)
        with site.store.read() as session:
            ledger = read_ledger(session)
            history = naming(session, id, limit=NEWEST)
            affairs = [
                Affair(kind=hit.kind, id=hit.key, label=hit.label, link=link_of(hit.kind, hit.key))
                for answer in find(session, id, limit=NEWEST, kinds=("dispute", "emergency"))
                for hit in answer.found
            ]
            accounts = _accounts(session, member)
            made = select(Proposal).where(Proposal.proposer.in_(accounts))
            proposed = [
                _ballot(row, None)
                for row in session.scalars(made.order_by(Proposal.created_at.desc()).limit(NEWEST))
            ]
            cast = select(Vote, Proposal).join(Proposal, Proposal.id == Vote.proposal_id)
            of_member = cast.where(Vote.voter.in_(accounts))
            voted = [
                _ballot(row, vote)
                for vote, row in session.execute(
                    of_member.order_by(Vote.block.desc()).limit(NEWEST)
                )
            ]
            here = set(session.scalars(select(LocalJob.id)))
            lacking = behind(session)
        own = [site_id for site_id, owner in ledger.members.items() if owner == id]
        shown = [sites.show(network, one, names, site.settings.site_id) for one in own]
    marks = anchoring.show(site, names).marks
    data = [one for one in ledger.datasets.values() if one.owner == id]
    grants = list(ledger.grants.values())
    return MemberDossier(
        member=member,
        sites=shown,
        marks=[mark for mark in marks if mark.site in own],
        jobs=_jobs(ledger, names, set(own), here),
        datasets=_datasets(names, data),
        given=_grants(names, [grant for grant in grants if grant.owner == id]),
        received=_grants(names, [grant for grant in grants if grant.grantee == id]),
        models=_models(names, [m for m in ledger.models.values() if m.registrar in own]),
        proposed=proposed,
        voted=voted,
        affairs=affairs,
        history=history,
        behind=lacking,
    )


# ── Parts ────────────────────────────────────────────────────────────────────────────────────


def _heads(network: Network, names: Names, id: str, told: Sequence[EventShown]) -> list[HeadTold]:
    """Those of the events, each asked of the contract: members that cosign later are counted."""
    anchors = network.anchors
    return [
        HeadTold(
            size=size,
            root=event.args["root"],
            block=event.block,
            tx_hash=event.tx_hash,
            state=str(anchors.state_of(id, size)),
            witnesses=[names.member(one) for one in anchors.witness_of(id, size).members],
        )
        for event in told
        if event.name == "Anchored" and event.args["site"] == id
        for size in (int(event.args["size"]),)
    ]


def _accounts(session: Session, member: Member) -> set[str]:
    """That the member has and had, as events and rows write them."""
    query = select(ChainEvent.args).where(
        ChainEvent.contract == "Membership",
        ChainEvent.name.in_(("MemberAdmitted", "MemberRecovered")),
    )
    found = {member.account}
    for args in session.scalars(query):
        if args["id"] == member.id:
            found.add(str(args.get("account") or args.get("to")))
    return found | {account.lower() for account in found}


def _newest(found: Sequence[T]) -> Sequence[T]:
    """Of facts in the chain's order."""
    return found[: -NEWEST - 1 : -1]


def _jobs(ledger: Ledger, names: Names, ids: AbstractSet[str], here: AbstractSet[str]) -> JobLines:
    found = [job for job in ledger.jobs.values() if ids & job.parties.keys()]
    return JobLines(
        count=len(found),
        items=[_job(ledger, names, job, ids, here) for job in _newest(found)],
    )


def _job(
    ledger: Ledger, names: Names, job: JobTold, ids: AbstractSet[str], here: AbstractSet[str]
) -> JobLine:
    party = next(site for site in job.parties if site in ids)
    return JobLine(
        id=job.id,
        state=job.state(ledger.time),
        role=job.parties[party],
        site=names.site(party),
        purpose=job.purpose,
        proposer=names.site(job.proposer),
        block=job.proposed.block,
        started=None if job.started is None else job.started.block,
        ended=None if job.ended is None else job.ended.block,
        here=job.id in here,
    )


def _datasets(names: Names, found: Sequence[DatasetTold]) -> DatasetLines:
    lines = []
    for one in _newest(found):
        standing = len(one.versions) - len(one.ended)
        lines.append(
            DatasetLine(
                id=one.id,
                name=one.name,
                state=datasets.STANDING if standing else datasets.WITHDRAWN,
                site=names.site(one.site),
                versions=len(one.versions),
                standing=standing,
                block=one.registered.block,
            )
        )
    return DatasetLines(count=len(found), items=lines)


def _grants(names: Names, found: Sequence[GrantTold]) -> GrantLines:
    lines = [
        GrantLine(
            id=one.id,
            state="REVOKED" if one.revoked else "AMENDED" if one.amended else "GIVEN",
            dataset=names.dataset(one.dataset),
            owner=names.member(one.owner),
            grantee=lineage.grantee(names, one.grantee),
            used=len(one.used),
            block=one.granted.block,
        )
        for one in _newest(found)
    ]
    return GrantLines(count=len(found), items=lines)


def _models(names: Names, found: Sequence[ModelTold]) -> ModelLines:
    lines = [
        ModelLine(
            id=one.id,
            state="WITHDRAWN" if one.withdrawn else "STANDING",
            job=one.job,
            registrar=names.site(one.registrar),
            block=one.registered.block,
        )
        for one in _newest(found)
    ]
    return ModelLines(count=len(found), items=lines)


def _ballot(row: Proposal, vote: Vote | None) -> Ballot:
    return Ballot(
        id=row.id,
        title=row.title,
        state=row.state,
        support=None if vote is None else vote.support,
        reason=None if vote is None else vote.reason or None,
        block=row.created_block if vote is None else vote.block,
    )
