"""From a dataset, a grant, a job or a model to everything that used it, and what withdrawals reach.

    dataset → grant → job → model → model that grew from it
    dataset → job (its owner's own)     model → job that scored rows with it

What the chain tells is the same at every member's node.  Which model a prediction used stands in
its specification, which only its parties hold, and that scores were made in the log of the guest's
site: where this site is none of them, `Lineage.hidden` names those that know.

A withdrawal (a version that was ended, a grant that was revoked or replaced, a model that was
withdrawn) is marked on all that used what was withdrawn, directly or through a model.  Nothing here
takes data out of a model that was trained: what a mark asks for is to withdraw the model and to
train anew.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from sqlalchemy import select

from chain.ledger import Fact, GrantTold, JobTold, Ledger
from node.audit.entries import type_of
from node.errors import NotFound
from node.ledger import read_ledger
from node.refusals import chain_errors
from node.store import AuditEntry, LocalJob

if TYPE_CHECKING:
    from chain.jobs import JobUse
    from node.site import Site

Kind = Literal["dataset", "grant", "job", "model"]
MAX_THINGS = 2000  # of one lineage; more are not followed, and `complete` is false
OPEN = ("PROPOSED", "APPROVED")


@dataclass(frozen=True)
class Edge:
    """``what``: granted, amended, used, asked (not started yet), made, grew or scored.

    ``dataset`` and ``version`` are those of the data where data is used.
    """

    source: str
    target: str
    what: str
    fact: Fact
    dataset: str | None = None
    version: int | None = None


@dataclass(frozen=True)
class Withdrawal:
    """``what``: version-ended, grant-revoked, grant-amended or model-withdrawn, of thing ``by``."""

    by: str
    what: str
    fact: Fact
    version: int | None = None


@dataclass(frozen=True)
class Scores:
    """The entry of this site's log that tells that a prediction was made, and its time."""

    index: int
    time: str


@dataclass
class Thing:
    """A node of the graph.  ``state`` and ``does`` (train, predict; None: not known here) are of a
    job; ``ended`` and ``reason``, too."""

    id: str
    kind: Kind
    fact: Fact
    name: str | None = None
    state: str | None = None
    site: str | None = None
    member: str | None = None
    sites: tuple[str, ...] = ()
    purpose: str | None = None
    does: str | None = None
    started: Fact | None = None
    ended: Fact | None = None
    reason: str | None = None
    scores: Scores | None = None
    affected: list[Withdrawal] = field(default_factory=list)

    def when(self, withdrawal: Withdrawal) -> str | None:
        """Whether a job ran before (then the withdrawal came "after" it), during or not yet."""
        if self.kind != "job":
            return None
        if self.started is None or withdrawal.fact.block < self.started.block:
            return "before"
        over = self.ended is not None and self.ended.block < withdrawal.fact.block
        return "after" if over else "during"


@dataclass(frozen=True)
class Hidden:
    """A job that may have scored with the model; ``known_to`` are the sites that can say."""

    job: str
    model: str
    known_to: tuple[str, ...]


@dataclass(frozen=True)
class Lineage:
    """``things`` begin with the one asked for, in the order in which they were reached."""

    root: str
    block: int
    things: tuple[Thing, ...]
    edges: tuple[Edge, ...]
    hidden: tuple[Hidden, ...]
    complete: bool


def lineage(site: Site, id: str) -> Lineage:
    """Everything that used ``id``.  Raises `NotFound`, `Unavailable` (``ChainUnavailable``)."""
    with site.store.read() as session:
        ledger = read_ledger(session)
        here = session.execute(select(LocalJob.id, LocalJob.kind, LocalJob.specification)).all()
        made = select(AuditEntry.subject, AuditEntry.index, AuditEntry.time).where(
            AuditEntry.type == type_of("prediction.made")
        )
        scores = {subject: Scores(index, time) for subject, index, time in session.execute(made)}
    kinds, scored_with = {}, {}
    for job, kind, specification in here:
        if specification is not None:
            kinds[job] = kind
            scored_with[job] = specification.get("model")
    with chain_errors():
        return _Search(site, ledger, kinds, scored_with, scores).from_(id)


class _Search:
    """One search, breadth first; ``kinds`` and ``scored_with`` are what this site holds of jobs."""

    def __init__(
        self,
        site: Site,
        ledger: Ledger,
        kinds: Mapping[str, str],
        scored_with: Mapping[str, str | None],
        scores: Mapping[str, Scores],
    ) -> None:
        self.agreed, self.ledger = site.agreed, ledger
        self.kinds, self.scored_with, self.scores = kinds, scored_with, scores
        self.things: dict[str, Thing] = {}
        self.edges: list[Edge] = []
        self.complete = True
        self._children: dict[str, list[str]] | None = None

    def from_(self, id: str) -> Lineage:
        root = self._thing(id)
        if root is None:
            raise NotFound(
                "NotFound",
                "no dataset, grant, job or model of this id is confirmed on the chain",
                found=id,
            )
        self.things[id] = root
        waiting = [id]
        for reached in waiting:  # grows while it is read
            for edge in self._from(self.things[reached]):
                if edge.target not in self.things:
                    if len(self.things) >= MAX_THINGS:
                        self.complete = False
                        continue
                    found = self._thing(edge.target)
                    if found is None:
                        continue  # withdrawn by a reorganisation between two reads
                    self.things[edge.target] = found
                    waiting.append(edge.target)
                self.edges.append(edge)
        self._mark()
        return Lineage(
            id,
            self.ledger.block,
            tuple(self.things.values()),
            tuple(self.edges),
            tuple(self._hidden()),
            self.complete,
        )

    # ── Things ───────────────────────────────────────────────────────────────────────────────

    def _thing(self, id: str) -> Thing | None:
        ledger = self.ledger
        if (data := ledger.datasets.get(id)) is not None:
            standing = len(data.versions) - len(data.ended)
            return Thing(
                id,
                "dataset",
                data.registered,
                name=data.name,
                state="STANDING" if standing else "WITHDRAWN",
                site=data.site,
                member=data.owner,
            )
        if (grant := ledger.grants.get(id)) is not None:
            state = "REVOKED" if grant.revoked else "AMENDED" if grant.amended else "GIVEN"
            return Thing(id, "grant", grant.granted, state=state, site=None, member=grant.grantee)
        if (job := ledger.jobs.get(id)) is not None:
            return self._job(job)
        if (model := ledger.models.get(id)) is not None:
            state = "WITHDRAWN" if model.withdrawn else "STANDING"
            return Thing(id, "model", model.registered, state=state, site=model.registrar)
        return None

    def _job(self, job: JobTold) -> Thing:
        return Thing(
            job.id,
            "job",
            job.proposed,
            state=job.state(self.ledger.time),
            site=job.proposer,
            sites=tuple(job.parties),
            purpose=job.purpose,
            does=self.kinds.get(job.id),
            started=job.started,
            ended=job.ended,
            reason=job.reason,
            scores=self.scores.get(job.id),
        )

    # ── Edges ────────────────────────────────────────────────────────────────────────────────

    def _from(self, thing: Thing) -> Iterator[Edge]:
        if thing.kind == "dataset":
            yield from self._from_dataset(thing)
        elif thing.kind == "grant":
            yield from self._from_grant(self.ledger.grants[thing.id])
        elif thing.kind == "job":
            for model in self.ledger.models_of(thing.id):
                yield Edge(thing.id, model.id, "made", model.registered)
        else:
            yield from self._from_model(thing.id)

    def _from_dataset(self, thing: Thing) -> Iterator[Edge]:
        for grant in self.ledger.grants.values():
            if grant.dataset == thing.id:
                yield Edge(thing.id, grant.id, "granted", grant.granted)
        # Without a grant only jobs that the owner's own sites proposed can use it.
        own = [
            job
            for job in self.ledger.jobs.values()
            if self.ledger.members.get(job.proposer) == thing.member and self._counts(job)
        ]
        for job, use in self._uses(own):
            if use.dataset_id == thing.id and use.grant is None:
                yield _use(thing.id, job, use, job.started)

    def _from_grant(self, grant: GrantTold) -> Iterator[Edge]:
        if grant.amended is not None and grant.amended_by is not None:
            yield Edge(grant.id, grant.amended_by, "amended", grant.amended)
        used = [self.ledger.jobs[job] for job in grant.used if job in self.ledger.jobs]
        waiting = [
            job for job in self.ledger.jobs.values() if job.id not in grant.used and self._asks(job)
        ]
        for job, use in self._uses([*used, *waiting]):
            if use.grant == grant.id:
                fact = grant.used[job.id][1] if job.id in grant.used else None
                yield _use(grant.id, job, use, fact)

    def _from_model(self, id: str) -> Iterator[Edge]:
        if self._children is None:
            self._children = defaultdict(list)
            for child, parents in self.agreed.parents(self.ledger.models).items():
                for parent in parents:
                    self._children[parent].append(child)
        for child in self._children.get(id, ()):
            yield Edge(id, child, "grew", self.ledger.models[child].registered)
        for job_id, model in self.scored_with.items():
            job = self.ledger.jobs.get(job_id)
            if model == id and job is not None and self._counts(job):
                what = "asked" if job.started is None else "scored"
                yield Edge(id, job_id, what, job.started or job.proposed)

    def _uses(self, jobs: Sequence[JobTold]) -> Iterator[tuple[JobTold, JobUse]]:
        found = self.agreed.uses(job.id for job in jobs)
        for job in jobs:
            for use in found[job.id]:
                yield job, use

    def _counts(self, job: JobTold) -> bool:
        """What never started used nothing, and counts only as long as it may still start."""
        return job.started is not None or self._asks(job)

    def _asks(self, job: JobTold) -> bool:
        return job.started is None and job.state(self.ledger.time) in OPEN

    # ── Withdrawals ──────────────────────────────────────────────────────────────────────────

    def _mark(self) -> None:
        following: dict[str, list[Edge]] = defaultdict(list)
        for edge in self.edges:
            following[edge.source].append(edge)
        for id in list(self.things):
            for withdrawal in self._withdrawals(id):
                self._flood(following, withdrawal)

    def _withdrawals(self, id: str) -> Iterator[Withdrawal]:
        ledger = self.ledger
        if id in ledger.datasets:
            for version, fact in sorted(ledger.datasets[id].ended.items()):
                yield Withdrawal(id, "version-ended", fact, version)
        elif id in ledger.grants:
            grant = ledger.grants[id]
            if grant.revoked is not None:
                yield Withdrawal(id, "grant-revoked", grant.revoked)
            elif grant.amended is not None:
                yield Withdrawal(id, "grant-amended", grant.amended)
        elif id in ledger.models and (fact_ := ledger.models[id].withdrawn) is not None:
            yield Withdrawal(id, "model-withdrawn", fact_)

    def _flood(self, following: Mapping[str, Sequence[Edge]], withdrawal: Withdrawal) -> None:
        """Mark all that can be reached; a specification may name its own job's model, so once."""
        seen, waiting = {withdrawal.by}, [withdrawal.by]
        self.things[withdrawal.by].affected.append(withdrawal)
        while waiting:
            for edge in following.get(waiting.pop(), ()):
                other = withdrawal.version is not None and edge.version is not None
                if other and (edge.dataset, edge.version) != (withdrawal.by, withdrawal.version):
                    continue
                # Who replaced the terms did not withdraw the new ones.
                if edge.what == "amended" or edge.target in seen:
                    continue
                seen.add(edge.target)
                waiting.append(edge.target)
                reached = self.things[edge.target]
                # A grant over several versions stands on when one of them ends.
                if not (withdrawal.version is not None and reached.kind == "grant"):
                    reached.affected.append(withdrawal)

    def _hidden(self) -> Iterator[Hidden]:
        """Jobs of the sites that hold a model's parts, of which this site has no specification."""
        for thing in self.things.values():
            if thing.kind != "model":
                continue
            made_by = self.ledger.jobs.get(self.ledger.models[thing.id].job)
            for job in self.ledger.jobs.values():
                if (
                    made_by is not None
                    and job.id not in self.kinds
                    and job.id != made_by.id
                    and set(job.parties) == set(made_by.parties)
                    and job.started is not None
                    and job.started.block >= thing.fact.block
                ):
                    yield Hidden(job.id, thing.id, tuple(job.parties))


def _use(source: str, job: JobTold, use: JobUse, fact: Fact | None) -> Edge:
    what = "asked" if fact is None else "used"
    return Edge(source, job.id, what, fact or job.proposed, use.dataset_id, use.version)
