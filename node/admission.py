"""May this work be done here, now?  Pure: facts in, a decision with all its reasons out.

Permissions count after confirmations, withdrawals from the head: every rule must hold in each of
the views of the chain that `node.facts` gathered (the confirmed block and the head).  What cannot
be known is refused.  The same function decides when a job is approved, when it starts, when each
task starts, and when the chain says that something changed while a task runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from chain.consents import ALL_MEMBERS
from chain.ids import ZERO_ID
from node.columns import Limits, feature_use
from node.errors import Conflict, NodeError, NotFound, Refused, Unavailable
from node.specification import MATCHING_ONLY, PartyPlan, Specification

Moment = Literal["approve", "start", "task"]

JOB_STATE_AT: dict[Moment, str] = {"approve": "PROPOSED", "start": "APPROVED", "task": "RUNNING"}

ARBITER = "arbiter"  # as the chain and the specification name the role

GRANT_REFUSALS = {
    "NONE": "GrantMissing",
    "EXPIRED": "GrantExpired",
    "USED_UP": "GrantUsedUp",
    "REVOKED": "GrantRevoked",
    "AMENDED": "GrantAmended",
}


@dataclass(frozen=True)
class PartyView:
    """A party's standing in one block."""

    site: str
    member: str
    member_standing: str  # ACTIVE | SUSPENDED | EXPELLED | NONE
    exists: bool = True
    stands: bool = True  # not retired
    has_request_key: bool = True
    missing_attestation: str | None = None  # the kind that the consortium asks for


@dataclass(frozen=True)
class GrantView:
    """A grant in one block; ``state`` is NONE where the chain has no such grant."""

    id: str
    state: str
    dataset: str = ""
    from_version: int = 0
    to_version: int = 0
    grantee: str = ""  # ALL_MEMBERS: any active member
    purposes: tuple[str, ...] = ()
    algorithms: tuple[str, ...] = ()
    until: int = 0
    min_parties: int = 0
    min_rows: int = 0
    product_budget: int = 0
    column_rules: str = ZERO_ID  # digest of the document; zero: no limits


@dataclass(frozen=True)
class UseView:
    """A dataset version that the job uses, in one block."""

    party: int
    dataset: str
    version: int
    standing: str  # STANDS | WITHDRAWN | UNKNOWN
    holder: str = ""
    owner: str = ""
    rows: int = 0
    schema_digest: str = ""
    rows_root: str = ""
    grant: GrantView | None = None  # None: the proposer's own data


@dataclass(frozen=True)
class JobView:
    """A job in one block, as the chain has it."""

    state: str
    specification: str
    algorithm: str
    purpose: str
    deadline: int
    member: str  # of the proposer: the grantee
    parties: tuple[tuple[str, str], ...]  # (site, role)
    uses: tuple[tuple[int, str, int, str | None], ...]  # (party, dataset, version, grant)


@dataclass(frozen=True)
class ModelView:
    """The model that a prediction names, in one block."""

    exists: bool
    stands: bool


@dataclass(frozen=True)
class ChainView:
    """All that a decision needs of one block."""

    block: int
    time: int  # block time in Unix seconds
    job: JobView | None
    algorithm_allowed: bool = False
    purpose_allowed: bool = False
    scheme_admitted: bool = False
    minimum_key_bits: int = 0
    minimum_rows: int = 0
    minimum_bin_rows: int = 0
    minimum_leaf_rows: int = 0
    paused_until: int = 0  # block time; 0: the brake is not pulled
    parties: tuple[PartyView, ...] = ()
    uses: tuple[UseView, ...] = ()
    model: ModelView | None = None
    refusal: NodeError | None = None  # the contract's own word on a job that should run


@dataclass(frozen=True)
class LocalData:
    """A dataset version that lies at this site."""

    dataset: str
    version: int
    schema_digest: str
    rows_root: str
    rows: int = 0
    id_column: str = ""
    label_column: str | None = None
    features: tuple[str, ...] = ()


@dataclass(frozen=True)
class PolicyAnswer:
    """What the operator's policy said; ``problem`` is why it said nothing."""

    allow: bool
    reason: str = ""
    problem: str | None = None


@dataclass(frozen=True)
class Privacy:
    """What this site keeps to itself in every job."""

    min_rows: int = 0
    withheld: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Facts:
    """What is known at the moment of use.  ``views`` are the confirmed block and the head."""

    moment: Moment
    me: str
    job_id: str
    views: tuple[ChainView, ...]
    chain_problem: str | None = None  # why nobody answered for the chain
    chain_refusal: NodeError | None = None  # what the chain answered instead of what was asked
    silent_seconds: float = 0.0  # since the chain last answered with a new block
    staleness_seconds: float = 60.0
    specification: Specification | None = None
    code_digest: str | None = None  # of the algorithm as installed here; None: not installed
    roles: tuple[str, ...] = ()  # that the algorithm has, as installed here
    key_bits: int | None = None  # that the parameters ask for
    bin_rows: int | None = None  # least rows of a bin, as the parameters say
    leaf_rows: int | None = None  # least rows of a leaf
    products: int = 0  # vectors that a host will be asked for at most
    data: tuple[LocalData, ...] = ()
    has_model: bool = True  # this site holds its part of the model that is named
    spent: dict[str, int] | None = None  # grant → products answered so far
    approved: str | None = None  # digest of the specification that this site approved
    policy: PolicyAnswer | None = None  # None: this site has no policy
    privacy: Privacy = Privacy()
    # grant → its document about columns, where the one whose digest the grant carries is here
    column_rules: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def specification_digest(self) -> str | None:
        return None if self.specification is None else self.specification.digest


@dataclass(frozen=True)
class Decision:
    """``allowed`` exactly if there is no reason against it."""

    reasons: tuple[NodeError, ...] = ()

    @property
    def allowed(self) -> bool:
        return not self.reasons

    @property
    def codes(self) -> tuple[str, ...]:
        return tuple(reason.code for reason in self.reasons)

    def require(self) -> None:
        """Raises the first reason."""
        if self.reasons:
            raise self.reasons[0]

    def to_json(self) -> dict[str, Any]:
        """For the audit log."""
        return {
            "allowed": self.allowed,
            "reasons": [{"code": r.code, "detail": r.detail} for r in self.reasons],
        }


def decide(facts: Facts) -> Decision:
    """All the reasons why the work may not be done now, each once, the weightiest first."""
    if unreadable := tuple(_freshness(facts)):
        return Decision(unreadable)  # nothing that was read may be relied on
    reasons: dict[tuple[str, Any], NodeError] = {}
    for rule in (
        _job,
        _pause,
        _agreement,
        _approval,
        _code,
        _parties,
        _roles,
        _arbiters,
        _uses,
        _own_data,
        _columns,
        _model,
        _policy,
        _contract,
    ):
        for reason in rule(facts):
            reasons.setdefault((reason.code, str(reason.found)), reason)
    found = tuple(reasons.values())
    # The contract's word repeats what the rules above said; it counts where they said nothing.
    own = [reason for reason in found if reason not in tuple(_contract(facts))]
    return Decision(tuple(own) or found)


def _freshness(facts: Facts) -> Iterator[NodeError]:
    if facts.chain_refusal is not None:
        yield facts.chain_refusal
    elif facts.chain_problem is not None:
        yield Unavailable("ChainUnavailable", facts.chain_problem, hint="start the chain's RPC")
    elif facts.silent_seconds > facts.staleness_seconds:
        yield Unavailable(
            "ChainStale",
            f"the chain showed no new block for {facts.silent_seconds:.0f} s; "
            f"allowed are {facts.staleness_seconds:g} s",
            found=round(facts.silent_seconds),
            allowed=facts.staleness_seconds,
        )
    elif not facts.views:
        yield Unavailable("ChainUnavailable", "nothing of the chain was read")


def _job(facts: Facts) -> Iterator[NodeError]:
    wanted = JOB_STATE_AT[facts.moment]
    for view in facts.views:
        if view.job is None:
            yield NotFound("NotFound", f"the chain has no job {facts.job_id} at block {view.block}")
            continue
        if view.job.state != wanted:
            yield Conflict(
                "JobNotRunning" if facts.moment == "task" else "Conflict",
                f"job {facts.job_id} is {view.job.state}; this needs it {wanted}",
                found=view.job.state,
                allowed=wanted,
            )
        if view.time >= view.job.deadline:
            yield Conflict(
                "DeadlinePassed",
                f"the job's deadline was {view.job.deadline}, the chain's time is {view.time}",
                found=view.time,
                allowed=view.job.deadline,
            )
        role = dict(view.job.parties).get(facts.me)
        if role is None:
            yield Refused("NotAParty", f"this site is no party of job {facts.job_id}")
        elif facts.specification is not None:
            plan = facts.specification.party(facts.me)
            if plan is not None and plan.role != role:
                yield Refused(
                    "WrongRole",
                    f"the chain has this site as {role}, the specification as {plan.role}",
                    found=plan.role,
                    allowed=role,
                )


def _pause(facts: Facts) -> Iterator[NodeError]:
    for view in facts.views:
        if view.time < view.paused_until:
            yield Refused(
                "ConsortiumPaused",
                f"the members stopped all work until block time {view.paused_until}",
                found=view.time,
                allowed=view.paused_until,
                hint="wait until the pause has ended, or propose to release the brake",
            )


def _agreement(facts: Facts) -> Iterator[NodeError]:
    """The specification here is the one whose digest was approved, and says what the chain says."""
    specification = facts.specification
    if specification is None:
        yield NotFound(
            "SpecificationMissing",
            f"this site has no specification of job {facts.job_id}",
            hint="the proposer delivers it: fatechain job deliver",
        )
        return
    for job in (view.job for view in facts.views if view.job is not None):
        if specification.digest != job.specification:
            yield Refused(
                "SpecificationMismatch",
                "the specification here is not the one that the chain names",
                found=specification.digest,
                allowed=job.specification,
            )
            continue
        for name, found, allowed in _differences(specification, job):
            yield Refused(
                "SpecificationMismatch",
                f"the specification's {name} differ from what the chain has",
                found=found,
                allowed=allowed,
            )


def _differences(spec: Specification, job: JobView) -> Iterator[tuple[str, Any, Any]]:
    uses = tuple(
        (position, entry.dataset, entry.version, entry.grant)
        for position, party in enumerate(spec.parties)
        for entry in party.inputs
    )
    said = {
        "parties": (tuple((p.site, p.role) for p in spec.parties), job.parties),
        "uses of data": (tuple(sorted(uses, key=str)), tuple(sorted(job.uses, key=str))),
        "algorithms": (spec.code_digest, job.algorithm),
        "purposes": (spec.purpose, job.purpose),
        "deadlines": (spec.deadline, job.deadline),
    }
    for name, (found, allowed) in said.items():
        if found != allowed:
            yield name, found, allowed


def _approval(facts: Facts) -> Iterator[NodeError]:
    """What the chain has as this site's approval may come from a stolen key: the site's own record
    of a person's or a rule's word is asked for as well."""
    wanted = facts.specification_digest
    if facts.moment == "approve" or wanted is None or facts.approved == wanted:
        return
    yield Refused(
        "NotApprovedHere",
        f"nobody at this site approved job {facts.job_id}, and no rule of this site did",
        found=facts.approved,
        allowed=wanted,
        hint="somebody else approved in this site's name: see its transactions, and its keys",
    )


def _code(facts: Facts) -> Iterator[NodeError]:
    spec = facts.specification
    if spec is None:
        return
    if facts.code_digest != spec.code_digest:
        yield Refused(
            "AlgorithmNotAllowed",
            f"the job runs {spec.algorithm} with code {spec.code_digest}; this site has other code",
            found=facts.code_digest,
            allowed=spec.code_digest,
            hint="install the version that the job names, or propose with the version installed",
        )
    for view in facts.views:
        if not view.algorithm_allowed:
            yield Refused(
                "AlgorithmNotAllowed",
                f"the consortium does not allow the code of {spec.algorithm} at block {view.block}",
                found=spec.code_digest,
                hint="the consortium must allow this code digest first",
            )
        if not view.purpose_allowed:
            yield Refused(
                "PurposeNotAllowed",
                f"the consortium does not allow the purpose {spec.purpose} at block {view.block}",
                found=spec.purpose,
                hint="take a purpose that the consortium allows",
            )
        if not view.scheme_admitted:
            yield Refused(
                "SchemeNotAdmitted",
                f"the consortium does not admit the scheme {spec.scheme}",
                found=spec.scheme,
                hint="take a scheme that the consortium admits",
            )
        if facts.key_bits is not None and facts.key_bits < view.minimum_key_bits:
            yield Refused(
                "KeyTooSmall",
                f"keys of {facts.key_bits} bits; the consortium asks for {view.minimum_key_bits}",
                found=facts.key_bits,
                allowed=view.minimum_key_bits,
            )
        for name, found, least in (
            ("min_bin_rows", facts.bin_rows, view.minimum_bin_rows),
            ("min_samples_leaf", facts.leaf_rows, view.minimum_leaf_rows),
        ):
            if found is not None and found < least:
                yield Refused(
                    "LimitTooLow",
                    f"{name} of the job is {found}; the consortium asks for {least} or more",
                    found=found,
                    allowed=least,
                    hint=f"propose the job with {name}={least}",
                )
        if spec.psi.minimum_intersection < view.minimum_rows:
            yield Refused(
                "TooFewRows",
                f"the job goes on with {spec.psi.minimum_intersection} common rows; the consortium "
                f"asks for {view.minimum_rows}",
                found=spec.psi.minimum_intersection,
                allowed=view.minimum_rows,
            )


def _parties(facts: Facts) -> Iterator[NodeError]:
    for view in facts.views:
        for party in view.parties:
            if not party.exists:
                yield NotFound("UnknownSite", f"no site {party.site}", found=party.site)
            elif party.member_standing != "ACTIVE":
                yield Refused(
                    "MemberNotActive",
                    f"member {party.member} of site {party.site} is {party.member_standing}",
                    found=f"{party.member} {party.member_standing}",
                    allowed="ACTIVE",
                )
            elif not party.stands:
                yield Refused("SiteNotActive", f"site {party.site} is retired", found=party.site)
            elif not party.has_request_key:
                yield Refused(
                    "KeyRevoked",
                    f"site {party.site} has no valid request key",
                    found=party.site,
                    hint="the site must register a valid request key",
                )
            elif party.missing_attestation is not None:
                yield Refused(
                    "AttestationMissing",
                    f"nobody named by the consortium attests {party.missing_attestation} of member "
                    f"{party.member}",
                    found=f"{party.member} {party.missing_attestation}",
                    hint="an issuer must attest it (again), or the members ask for it no more",
                )


def _roles(facts: Facts) -> Iterator[NodeError]:
    """Every party plays a role of the algorithm, and an arbiter brings no data."""
    spec = facts.specification
    if spec is None or facts.code_digest is None:
        return  # refused as such
    for plan in spec.parties:
        if plan.role not in facts.roles:
            yield Refused(
                "WrongRole",
                f"{spec.algorithm} has no role {plan.role}, which site {plan.site} would play",
                found=f"{plan.role} {plan.site}",
                allowed=list(facts.roles),
            )
        elif plan.role == ARBITER and plan.inputs:
            yield Refused(
                "WrongRole",
                f"site {plan.site} is arbiter and brings data; an arbiter brings none",
                found=f"{plan.role} {plan.site}",
            )


def _arbiters(facts: Facts) -> Iterator[NodeError]:
    """With the arbiter's random numbers a party computes all columns and labels: it must belong to
    nobody else in the job."""
    for view in facts.views:
        yield from dependent_arbiters(view.parties, _sites_of(view, ARBITER))


def dependent_arbiters(
    parties: tuple[PartyView, ...], arbiters: frozenset[str]
) -> Iterator[NodeError]:
    """Those of the arbiters (sites) that belong to the member of another party."""
    for arbiter in (party for party in parties if party.site in arbiters):
        for other in parties:
            if other.site != arbiter.site and other.member == arbiter.member:
                yield Refused(
                    "ArbiterNotIndependent",
                    f"site {arbiter.site} is arbiter and belongs to member {arbiter.member}, "
                    f"as party {other.site} does",
                    found=f"{arbiter.site} {arbiter.member}",
                    allowed="a site of a member that takes no other part in the job",
                    hint="name as arbiter a site of a member that takes no other part in the job",
                )


def _sites_of(view: ChainView, role: str) -> frozenset[str]:
    parties = () if view.job is None else view.job.parties
    return frozenset(site for site, played in parties if played == role)


def members_with_data(view: ChainView) -> int:
    """Members that take part otherwise than as arbiter; two sites of one member are one party."""
    arbiters = _sites_of(view, ARBITER)
    return len({party.member for party in view.parties if party.site not in arbiters})


def _uses(facts: Facts) -> Iterator[NodeError]:
    for view in facts.views:
        for use in view.uses:
            name = f"{use.dataset} version {use.version}"
            if use.standing == "UNKNOWN":
                yield NotFound("DatasetUnknown", f"the chain has no dataset {name}", found=name)
                continue
            if use.standing != "STANDS":
                yield Refused("DatasetWithdrawn", f"dataset {name} was withdrawn", found=name)
            if view.job is not None:
                yield from _grant(facts, view, view.job, use)


def _grant(facts: Facts, view: ChainView, job: JobView, use: UseView) -> Iterator[NodeError]:
    grant = use.grant
    if grant is None:
        if use.owner != job.member:
            yield Refused(
                "GrantMissing",
                f"dataset {use.dataset} belongs to {use.owner}, and the job names no grant for it",
                found=use.dataset,
                hint="ask the data's owner for a grant and name it in the job",
            )
        return
    state = grant.state
    if state == "ACTIVE" and view.time >= grant.until:
        state = "EXPIRED"
    if state == "USED_UP" and facts.moment == "task":
        state = "ACTIVE"  # this job's own use was consumed when it started
    if state != "ACTIVE":
        yield Refused(
            GRANT_REFUSALS.get(state, "GrantMissing"),
            f"grant {grant.id} is {state} at block {view.block}",
            found=f"{grant.id} {state}",
            allowed="ACTIVE",
            hint="ask the data's owner for a new grant",
        )
        if state == "NONE":
            return
    for code, what, found, allowed, fits in _terms(facts, view, job, use, grant):
        if not fits:
            yield Refused(
                code,
                f"grant {grant.id} allows {what} {allowed}; the job has {found}",
                found=found,
                allowed=allowed,
            )


def _terms(
    facts: Facts, view: ChainView, job: JobView, use: UseView, grant: GrantView
) -> Iterator[tuple[str, str, Any, Any, bool]]:
    """(code, what, found, allowed, whether it fits) for every term of a grant."""
    dataset, version = use.dataset, use.version
    versions = f"{grant.from_version} to {grant.to_version}"
    # Who asks for several parties means data of several: an arbiter brings none.
    parties = members_with_data(view)
    yield "GrantWrongDataset", "dataset", dataset, grant.dataset, dataset == grant.dataset
    within = grant.from_version <= version <= grant.to_version
    yield "GrantWrongVersion", "versions", version, versions, within
    # That a member of all members is active is a rule of its own (`_parties`).
    meant = grant.grantee in (job.member, ALL_MEMBERS)
    yield "GrantWrongGrantee", "member", job.member, grant.grantee, meant
    fits = job.purpose in grant.purposes
    yield "GrantWrongPurpose", "purposes", job.purpose, list(grant.purposes), fits
    fits = job.algorithm in grant.algorithms
    yield "GrantWrongAlgorithm", "algorithms", job.algorithm, list(grant.algorithms), fits
    enough = parties >= grant.min_parties
    yield "GrantTooFewParties", "parties from", parties, grant.min_parties, enough
    if facts.specification is not None:
        least = facts.specification.psi.minimum_intersection
        rows_fit = min(least, use.rows) >= grant.min_rows
        yield "TooFewRows", "common rows from", min(least, use.rows), grant.min_rows, rows_fit
    # Only the holder knows what was spent.  A task that runs is charged as it answers.
    if use.holder == facts.me and facts.spent is not None and facts.moment != "task":
        needed, limit = facts.spent.get(grant.id, 0) + facts.products, product_limit(grant, use)
        yield "ProductBudgetExceeded", "products up to", needed, limit, needed <= limit


def product_limit(grant: GrantView, use: UseView) -> int:
    """Vectors that a host answers under a grant: as it says, or a tenth of the rows.

    The default limits what a deviating guest reads, it does not prevent it: a bin's sum carries
    many bits, so a vector reads the bins of several rows.  An owner who fears it sets a smaller
    product budget.
    """
    return grant.product_budget or max(1, use.rows // 10)


def _own_data(facts: Facts) -> Iterator[NodeError]:
    plan = _my_plan(facts)
    if plan is None:
        return
    held = {(data.dataset, data.version): data for data in facts.data}
    for entry in plan.inputs:
        data = held.get((entry.dataset, entry.version))
        name = f"{entry.dataset} version {entry.version}"
        if data is None:
            yield NotFound("DatasetUnknown", f"dataset {name} does not lie here", found=name)
            continue
        for view in facts.views:
            for use in view.uses:
                if (use.dataset, use.version) != (data.dataset, data.version):
                    continue
                if use.standing == "UNKNOWN":
                    continue
                committed = (use.schema_digest, use.rows_root)
                if committed != (data.schema_digest, data.rows_root):
                    yield Refused(
                        "DatasetMismatch",
                        f"the rows of {name} here are not those committed to on the chain",
                        found=data.rows_root,
                        allowed=use.rows_root,
                    )


def _columns(facts: Facts) -> Iterator[NodeError]:
    """What the job would read of this site's columns is allowed; what is not needed is left out
    when the rows are read (`node.columns.limited`)."""
    plan, spec = _my_plan(facts), facts.specification
    if plan is None or spec is None:
        return
    held = {(data.dataset, data.version): data for data in facts.data}
    for entry in plan.inputs:
        data = held.get((entry.dataset, entry.version))
        if data is None:
            continue
        if data.rows < facts.privacy.min_rows:
            yield Refused(
                "TooFewRows",
                f"dataset {entry.dataset} has {data.rows} rows; this site brings no fewer than "
                f"{facts.privacy.min_rows} into a job",
                found=data.rows,
                allowed=facts.privacy.min_rows,
            )
        least = spec.psi.minimum_intersection
        if spec.kind in MATCHING_ONLY and least < facts.privacy.min_rows:
            # Elsewhere this site sees the number and stops; here the guest alone may see it.
            yield Refused(
                "TooFewRows",
                f"the job ends well with {least} common rows; this site asks for "
                f"{facts.privacy.min_rows} or more",
                found=least,
                allowed=facts.privacy.min_rows,
            )
        if any(_lacks_rules(facts, view, entry.grant) for view in facts.views):
            yield Refused(
                "ColumnRulesMissing",
                f"grant {entry.grant} limits columns, and the document that says how is not here",
                found=entry.grant,
                hint="grant again from this node, with the document",
            )
            continue
        limits = limits_of(facts, entry.grant)
        if entry.grant is not None:
            yield from _key_columns(limits, entry.grant, data, spec.columns_of(plan.site))
        yield from _limits(limits, data, plan, spec)


def _lacks_rules(facts: Facts, view: ChainView, grant: str | None) -> bool:
    limiting = any(
        use.grant is not None and use.grant.id == grant and use.grant.column_rules != ZERO_ID
        for use in view.uses
    )
    return limiting and grant not in facts.column_rules


def limits_of(facts: Facts, grant: str | None) -> Limits:
    """What holds for the columns of a dataset that is used under this grant."""
    rules = facts.column_rules.get(grant) if grant is not None else None
    return Limits(() if rules is None else (rules,), facts.privacy.withheld)


def _key_columns(
    limits: Limits, grant: str, data: LocalData, columns: tuple[str, ...]
) -> Iterator[NodeError]:
    """Others match by the id column, and by what the grant's document names for it: whoever
    chooses the values on the other side reads the column out, a guess for each row."""
    for column in columns:
        if column == data.id_column or column not in data.features or limits.names_join(column):
            continue
        if not limits.allows(column, "join"):
            continue  # refused with the word that forbids it (`_limits`)
        yield Refused(
            "ColumnNotAllowed",
            f"the job matches rows by column {column}; grant {grant} does not name it for that",
            found=column,
            allowed=data.id_column,
            hint=f"match by the id column, or ask for a grant with the column rule {column}=join",
        )


def _limits(
    limits: Limits, data: LocalData, plan: PartyPlan, spec: Specification
) -> Iterator[NodeError]:
    use, columns = feature_use(spec.algorithm), spec.columns_of(plan.site) or (data.id_column,)
    needed = [(column, "join", limits.allows(column, "join")) for column in columns]
    for column in columns:
        if column not in (data.id_column, *data.features):
            yield NotFound(
                "ColumnNotFound",
                f"the job matches rows by column {column}, which dataset {data.dataset} lacks",
                found=column,
            )
    if spec.label is not None and plan.role == "guest":
        needed.append((spec.label, use, limits.allows(spec.label, use)))
    reads_features = spec.kind not in MATCHING_ONLY
    if reads_features and data.features and not limits.of(data.features, use):
        needed.append((data.features[0], use, False))  # none is left to work with
    for column, wanted, allowed in needed:
        if not allowed:
            yield Refused(
                "ColumnNotAllowed",
                f"the job uses column {column} ({wanted}); allowed is: {limits.told(column)}",
                found=column,
                allowed=limits.told(column),
                hint="the owner's grant or this site's privacy settings limit this column",
            )


def _policy(facts: Facts) -> Iterator[NodeError]:
    answer = facts.policy
    if answer is None or answer.allow:
        return
    if answer.problem is not None:
        yield Unavailable(
            "PolicyUnavailable",
            f"this site's policy was asked and gave no answer: {answer.problem}",
            hint="check policy_url or policy_command",
        )
    else:
        yield Refused(
            "PolicyRefused",
            f"this site's policy refuses the job: {answer.reason or 'it gives no reason'}",
        )


def _model(facts: Facts) -> Iterator[NodeError]:
    spec = facts.specification
    if spec is None or spec.model is None:
        return
    for view in facts.views:
        if view.model is None or not view.model.exists:
            yield NotFound("ModelUnknown", f"the chain has no model {spec.model}", found=spec.model)
        elif not view.model.stands:
            yield Refused("ModelWithdrawn", f"model {spec.model} was withdrawn", found=spec.model)
    if not facts.has_model:
        yield NotFound(
            "ModelUnknown", f"this site holds no part of model {spec.model}", found=spec.model
        )


def _contract(facts: Facts) -> Iterator[NodeError]:
    for view in facts.views:
        if view.refusal is not None:
            yield view.refusal


def _my_plan(facts: Facts) -> PartyPlan | None:
    return None if facts.specification is None else facts.specification.party(facts.me)
