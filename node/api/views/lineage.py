"""What used a dataset, a grant, a job or a model, with names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chain.ledger import Fact
from node.api.views.model import Shown
from node.api.views.names import Named, Names
from node.lineage import Edge, Hidden, Thing, Withdrawal, lineage

if TYPE_CHECKING:
    from node.site import Site


class FactShown(Shown):
    """The block and the transaction in which the chain says it."""

    block: int
    tx_hash: str


class WithdrawalShown(Shown):
    """`what` is version-ended, grant-revoked, grant-amended or model-withdrawn, of the thing `by`.

    `when`, of a job: it came before the job's start, during it, or after its end; else null.
    """

    by: str
    what: str
    version: int | None
    fact: FactShown
    when: str | None


class ScoresShown(Shown):
    """The entry of this site's log that tells that scores were made."""

    entry: int
    time: str


class ThingShown(Shown):
    """`kind` is dataset, grant, job or model; what does not apply to it is null or empty.

    `member` is the owner of a dataset and the grantee of a grant, `site` where a dataset lies, who
    proposed a job and who registered a model. `does` is train or predict, null where this site has
    not the job's specification.
    """

    id: str
    kind: str
    name: str | None
    state: str | None
    site: Named | None
    member: Named | None
    sites: list[Named]
    purpose: str | None
    does: str | None
    fact: FactShown
    started: FactShown | None
    ended: FactShown | None
    reason: str | None
    scores: ScoresShown | None
    affected: list[WithdrawalShown]


class EdgeShown(Shown):
    """`what` is granted, amended, used, asked (it has not started), made, grew or scored."""

    source: str
    target: str
    what: str
    version: int | None
    fact: FactShown


class HiddenShown(Shown):
    """The job may have used the model: its specification is known to these sites alone."""

    job: str
    model: str
    known_to: list[Named]


class LineageShown(Shown):
    """`things` begin with the one that was asked for; facts up to and in block `block`.

    Not `complete`: there is more than is followed.
    """

    root: str
    block: int
    things: list[ThingShown]
    edges: list[EdgeShown]
    hidden: list[HiddenShown]
    complete: bool


def show(site: Site, names: Names, id: str) -> LineageShown:
    """Raises `NotFound`, `Unavailable`."""
    found = lineage(site, id)
    return LineageShown(
        root=found.root,
        block=found.block,
        things=[_thing(names, thing) for thing in found.things],
        edges=[_edge(edge) for edge in found.edges],
        hidden=[_hidden(names, hidden) for hidden in found.hidden],
        complete=found.complete,
    )


def _thing(names: Names, thing: Thing) -> ThingShown:
    scores = thing.scores
    member = thing.member
    return ThingShown(
        id=thing.id,
        kind=thing.kind,
        name=thing.name,
        state=thing.state,
        site=None if thing.site is None else names.site(thing.site),
        member=None if member is None else grantee(names, member),
        sites=[names.site(site) for site in thing.sites],
        purpose=thing.purpose,
        does=thing.does,
        fact=fact(thing.fact),
        started=None if thing.started is None else fact(thing.started),
        ended=None if thing.ended is None else fact(thing.ended),
        reason=thing.reason,
        scores=None if scores is None else ScoresShown(entry=scores.index, time=scores.time),
        affected=[_withdrawal(thing, withdrawal) for withdrawal in thing.affected],
    )


def _withdrawal(thing: Thing, withdrawal: Withdrawal) -> WithdrawalShown:
    return WithdrawalShown(
        by=withdrawal.by,
        what=withdrawal.what,
        version=withdrawal.version,
        fact=fact(withdrawal.fact),
        when=thing.when(withdrawal),
    )


def _edge(edge: Edge) -> EdgeShown:
    return EdgeShown(
        source=edge.source,
        target=edge.target,
        what=edge.what,
        version=edge.version,
        fact=fact(edge.fact),
    )


def _hidden(names: Names, hidden: Hidden) -> HiddenShown:
    known_to = [names.site(site) for site in hidden.known_to]
    return HiddenShown(job=hidden.job, model=hidden.model, known_to=known_to)


def grantee(names: Names, member: str) -> Named:
    """A member, or all of them."""
    from chain.consents import ALL_MEMBERS

    return Named(id=member, name="all members") if member == ALL_MEMBERS else names.member(member)


def fact(told: Fact) -> FactShown:
    return FactShown(block=told.block, tx_hash=told.tx_hash)
