"""Grants: what data owners allowed, and how much of it is left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import select

from chain.ids import ZERO_ID
from node import registration
from node.api.pages import Page
from node.api.views.model import Shown
from node.api.views.names import Named, Names
from node.api.views.sites import chosen_of
from node.errors import NotFound
from node.store import Budget, ChainEvent, ChainTx, LocalJob

if TYPE_CHECKING:
    from chain.consents import GrantTerms
    from chain.network import Network
    from node.site import Site

PENDING = "PENDING"


class Limits(Shown):
    """Who enforces what: the chain the first three, the owner's node the others."""

    until: int
    uses: int
    min_parties: int
    min_rows: int
    product_budget: int
    epsilon_micro: int


class Algorithm(Shown):
    """`name` is the one under which the consortium allowed the code."""

    digest: str
    name: str | None


class GrantShown(Shown):
    """`used` counts starts of jobs. `spent` (product vectors answered) and `column_rules` are known
    at the owner's site; all others see the digest of the rules.
    """

    id: str
    state: str
    dataset: Named
    from_version: int
    to_version: int
    owner: Named | None
    grantee: Named
    purposes: list[str]
    algorithms: list[Algorithm]
    limits: Limits
    column_rules_digest: str | None
    column_rules: dict[str, str] | None
    used: int
    spent: int | None
    amends: str | None
    from_block: int
    revoked_at: int
    amended_at: int
    mine: bool


class GrantUse(Shown):
    """A start of a job, the `number`-th use.  `kind`, `algorithm`, `proposer` and `state` are null
    where this site takes no part in the job."""

    job: str
    number: int
    block: int
    tx_hash: str
    kind: str | None
    algorithm: str | None
    proposer: Named | None
    state: str | None


Whose = Literal["given", "received", "mine"]
"""By this site's member, to it (or to all), or either."""


@dataclass(frozen=True)
class _Reader:
    """What reading many grants has in common."""

    site: Site
    network: Network
    names: Names
    algorithms: dict[str, str]
    member: str | None

    @classmethod
    def open(cls, site: Site, names: Names) -> _Reader:
        network = site.network()
        return cls(site, network, names, algorithm_names(site), _own_member(site, network))

    def grantee(self, id: str) -> Named:
        """All members are nobody's id, and have a name of their own."""
        from chain.consents import ALL_MEMBERS

        return Named(id=id, name="all members") if id == ALL_MEMBERS else self.names.member(id)


def page(
    site: Site,
    names: Names,
    *,
    limit: int,
    cursor: str | None = None,
    dataset: str | None = None,
    state: str | None = None,
    whose: Whose | None = None,
) -> Page[GrantShown]:
    """In the order of their recording; this site's unconfirmed ones lead the first page."""
    reader = _Reader.open(site, names)
    on_chain = reader.network.consents.grants()
    shown = []
    if cursor is None:
        waiting = {id: terms for id, terms in _waiting(site).items() if id not in set(on_chain)}
        shown = [_pending(reader, id, terms) for id, terms in waiting.items()]

    def is_wanted(grant: GrantShown) -> bool:
        return (
            (dataset is None or grant.dataset.id == dataset)
            and (state is None or grant.state == state)
            and (whose is None or _is(grant, whose, reader.member))
        )

    found, more = chosen_of(on_chain, limit, cursor, lambda id: _on_chain(reader, id), is_wanted)
    return Page(items=[grant for grant in shown if is_wanted(grant)] + found, next=more)


def show(site: Site, names: Names, id: str) -> GrantShown:
    """Raises `NotFound` (``GrantMissing``)."""
    from chain.errors import ContractRefused

    reader = _Reader.open(site, names)
    try:
        return _on_chain(reader, id)
    except ContractRefused as refusal:
        terms = _waiting(site).get(id)
        if terms is None:
            raise NotFound("GrantMissing", "no grant has this id", found=id) from refusal
        return _pending(reader, id, terms)


def uses(site: Site, names: Names, id: str) -> list[GrantUse]:
    """Who used it, oldest first, as the chain has counted it."""
    query = (
        select(ChainEvent)
        .where(ChainEvent.contract == "ConsentRegistry", ChainEvent.name == "ConsentUsed")
        .order_by(ChainEvent.id)
    )
    with site.store.read() as session:
        found = [
            (event, session.get(LocalJob, str(event.args["job"])))
            for event in session.scalars(query)
            if event.args["id"] == id
        ]
    return [
        GrantUse(
            job=str(event.args["job"]),
            number=int(event.args["used"]),
            block=event.block,
            tx_hash=event.tx_hash,
            kind=None if job is None else job.kind,
            algorithm=None if job is None else job.algorithm,
            proposer=None if job is None else names.site(job.proposer),
            state=None if job is None else job.state,
        )
        for event, job in found
    ]


def algorithm_names(site: Site) -> dict[str, str]:
    """Code digest → the name under which the consortium allowed it."""
    query = select(ChainEvent).where(
        ChainEvent.contract == "Consortium", ChainEvent.name == "AlgorithmAllowed"
    )
    with site.store.read() as session:
        return {
            event.args["codeDigest"]: str(event.args["name"]) for event in session.scalars(query)
        }


def _on_chain(reader: _Reader, id: str) -> GrantShown:
    consents = reader.network.consents
    record = consents.record(id)
    return _shown(
        reader,
        id,
        record.terms,
        str(consents.state(id)),
        owner=reader.names.member(record.owner),
        used=record.used,
        from_block=record.from_block,
        revoked_at=record.revoked_at,
        amended_at=record.amended_at,
        mine=record.owner == reader.member,
    )


def _pending(reader: _Reader, id: str, terms: GrantTerms) -> GrantShown:
    return _shown(
        reader,
        id,
        terms,
        PENDING,
        owner=None,
        used=0,
        from_block=0,
        revoked_at=0,
        amended_at=0,
        mine=True,
    )


def _shown(reader: _Reader, id: str, terms: GrantTerms, state: str, **record: Any) -> GrantShown:
    with reader.site.store.read() as session:
        budget = session.get(Budget, id)
    return GrantShown(
        id=id,
        state=state,
        dataset=reader.names.dataset(terms.dataset_id),
        from_version=terms.from_version,
        to_version=terms.to_version,
        grantee=reader.grantee(terms.grantee),
        purposes=list(terms.purposes),
        algorithms=[
            Algorithm(digest=digest, name=reader.algorithms.get(digest))
            for digest in terms.algorithms
        ],
        limits=Limits(
            until=terms.until,
            uses=terms.uses,
            min_parties=terms.min_parties,
            min_rows=terms.min_rows,
            product_budget=terms.product_budget,
            epsilon_micro=terms.epsilon_micro,
        ),
        column_rules_digest=None if terms.column_rules == ZERO_ID else terms.column_rules,
        column_rules=registration.column_rules(reader.site, id) if record["mine"] else None,
        spent=(0 if budget is None else budget.spent) if record["mine"] else None,
        amends=None if terms.amends == ZERO_ID else terms.amends,
        **record,
    )


def _waiting(site: Site) -> dict[str, GrantTerms]:
    """Grants that this site signed and the chain does not have yet, by id."""
    from chain.consents import GrantTerms

    query = select(ChainTx).where(
        ChainTx.intent.startswith("grant.record:"), ChainTx.state != "REFUSED"
    )
    with site.store.read() as session:
        return {
            row.intent.split(":")[1]: GrantTerms.from_struct(row.call["args"][0])
            for row in session.scalars(query)
        }


def _is(grant: GrantShown, whose: Whose, member: str | None) -> bool:
    from chain.consents import ALL_MEMBERS

    received = member is not None and not grant.mine and grant.grantee.id in (member, ALL_MEMBERS)
    return {"given": grant.mine, "received": received, "mine": grant.mine or received}[whose]


def _own_member(site: Site, network: Network) -> str | None:
    from chain.errors import ContractRefused

    try:
        return network.membership.member_of(site.identity.address)
    except ContractRefused:
        return None
