"""What an operator does with jobs: propose, deliver, approve, reject, cancel, predict.

Each use case reads the chain, checks, and in one transaction records what was decided together
with the transaction that it wants on the chain.  Nothing is sent to the chain here; the sync
process does that.  Errors of the chain come out as `node.errors.NodeError`.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy.orm import Session

from node import refusals
from node.admission import Decision, decide, product_limit
from node.audit.entries import record
from node.chain_tx import want
from node.errors import Conflict, Invalid, NodeError, NotFound, Refused
from node.facts import gather, products, use_view
from node.lifecycle import JOB_ENDS, SUBMITTED
from node.specification import (
    Holdout,
    Id,
    Input,
    Kind,
    PartyPlan,
    Psi,
    RoleName,
    Specification,
    Timeouts,
    Word,
    parse,
)
from node.store import JobParty, LocalDataset, LocalJob, LocalModel

if TYPE_CHECKING:
    from chain.network import Network
    from ml.algorithm import Algorithm
    from node.site import Site

SCHEMES = ("paillier",)  # as installed here, fastest first
LEAST_COMMON_ROWS = 50  # fewer say too much about single persons


class _Request(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class InputRequest(_Request):
    """A dataset version; ``grant`` is needed where the data is another member's."""

    dataset: Id
    version: int = Field(default=1, ge=1)
    grant: Id | None = None


class PartyRequest(_Request):
    """A site, its role, and what it brings."""

    site: Id
    role: RoleName
    inputs: tuple[InputRequest, ...] = ()


class JobRequest(_Request):
    """What an operator asks for; the rest of the specification is filled in by the node.

    The first party is this site as guest.  ``label`` defaults to the label column of its dataset,
    ``holdout`` is the fraction of rows kept out of training.
    """

    kind: Kind = "train"
    algorithm: str = "secureboost"
    params: dict[str, Any] = Field(default_factory=dict)
    purpose: Word | None = None
    scheme: Word = "auto"
    parties: tuple[PartyRequest, ...] = Field(min_length=2, max_length=16)
    label: str | None = None
    holdout: str | None = Field(default="0.2", pattern=r"^0(\.[0-9]{1,6})?$")
    minimum_rows: int | None = Field(default=None, ge=1)
    deadline_seconds: int = Field(default=3600, ge=60, le=2_592_000)
    model: Id | None = None


# ── Proposing ────────────────────────────────────────────────────────────────────────────────


def propose(site: Site, request: JobRequest) -> str:
    """Ask for a job; its id.  The proposal is played on the chain first, and refused by name.

    Raises `Refused` (``GrantMissing``, ``AlgorithmNotAllowed``, ``MemberNotActive`` …), `Invalid`,
    `Unavailable`.  A refusal by the chain is kept in the audit log.
    """
    from chain import jobs as chain_jobs
    from chain.errors import ContractRefused

    with chain_errors():
        network = site.network()
        specification = specify(site, network, request)
        proposal = _proposal(specification)
        call = network.jobs.propose(proposal)
        job_id = chain_jobs.job_id(
            network.client.chain_id, network.jobs.address, site.identity.address, proposal.nonce
        )
        try:
            network.client.simulate(call, site.identity.address)
        except ContractRefused as refusal:
            reason = refusals.from_contract(refusal)
            _keep_refusal(site, job_id, "propose", reason)
            raise reason from refusal
        _check_budgets(network, specification)
    with site.store.begin() as session:
        _insert(session, site, job_id, specification)
        want(session, f"job:{job_id}:propose", call)
        record(session, "job.proposed", job_id, _terms(specification), "operator")
    return job_id


def predict(site: Site, request: JobRequest) -> str:
    """Ask for scores of rows by a model: `propose` of the kind "predict"."""
    return propose(site, request.model_copy(update={"kind": "predict", "holdout": None}))


def specify(site: Site, network: Network, request: JobRequest) -> Specification:
    """The whole specification of a request; raises `Invalid`, `Refused` or `NotFound`."""
    from ml import algorithm as catalogue
    from ml.errors import UnknownAlgorithm
    from ml.protocols import psi

    try:
        chosen = catalogue.get(request.algorithm)
    except UnknownAlgorithm as error:
        raise Invalid("InvalidRequest", str(error), found=request.algorithm) from error
    if request.parties[0].site != site.id or request.parties[0].role != "guest":
        raise Refused(
            "WrongRole",
            "the first party of a proposal is the proposing site, as guest",
            found=f"{request.parties[0].role} {request.parties[0].site}",
            allowed=f"guest {site.id}",
        )
    _check_roles(chosen, request)
    params, label = _params(chosen.params, request), request.label
    if request.kind == "predict":
        params = _model_params(site, request)
    elif label is None:
        label = _label(site, request.parties[0])
    least = max(LEAST_COMMON_ROWS, network.consortium.minimum("min-rows"))
    try:
        return Specification(
            kind=request.kind,
            algorithm=request.algorithm,
            code_digest=catalogue.code_digest(request.algorithm),
            scheme=_scheme(network, request.scheme),
            purpose=request.purpose or {"train": "training", "predict": "prediction"}[request.kind],
            params=params,
            parties=tuple(
                PartyPlan(
                    site=party.site,
                    role=party.role,
                    inputs=tuple(Input(**entry.model_dump()) for entry in party.inputs),
                )
                for party in request.parties
            ),
            label=label,
            holdout=_holdout(request),
            psi=Psi(minimum_intersection=request.minimum_rows or least),
            deadline=network.client.head().timestamp + request.deadline_seconds,
            timeouts=Timeouts(
                step=int(site.settings.step_timeout_seconds),
                message=int(site.settings.message_timeout_seconds),
            ),
            protocols={"psi": psi.VERSION, chosen.name: chosen.version},
            model=request.model,
            nonce=str(secrets.randbits(128)),
        )
    except ValidationError as error:
        raise _invalid(error) from error


def _check_roles(chosen: Algorithm, request: JobRequest) -> None:
    """Every party plays a role of the algorithm, and brings one dataset if its role has data."""
    for party in request.parties:
        if party.role not in chosen.roles:
            raise Invalid(
                "InvalidRequest",
                f"{chosen.name} has no role {party.role}",
                found=party.role,
                allowed=[str(role) for role in chosen.roles],
            )
        expected = 0 if party.role == "arbiter" else 1
        if len(party.inputs) != expected:
            raise Invalid(
                "InvalidRequest",
                f"a {party.role} brings {expected} dataset(s)",
                found=len(party.inputs),
                allowed=expected,
            )


def _params(model: type[BaseModel], request: JobRequest) -> dict[str, Any]:
    """The parameters with their defaults, as the algorithm checks them."""
    try:
        checked = model.model_validate(request.params)
    except ValidationError as error:
        raise _invalid(error, "params.") from error
    return checked.model_dump(mode="json", by_alias=True)


def _model_params(site: Site, request: JobRequest) -> dict[str, Any]:
    """A prediction runs with the parameters that its model was trained with."""
    with site.store.read() as session:
        model = _model_row(session, request.model)
        training = session.get_one(LocalJob, model.job_id).specification
    assert training is not None
    params: dict[str, Any] = training["params"]
    return params


def _model_row(session: Session, model_id: str | None) -> LocalModel:
    from sqlalchemy import select

    row = session.scalar(select(LocalModel).where(LocalModel.model_id == model_id))
    if model_id is None or row is None:
        raise NotFound(
            "ModelUnknown",
            f"this site holds no part of model {model_id}",
            found=model_id,
            hint="name a model that this site trained",
        )
    return row


def _label(site: Site, guest: PartyRequest) -> str:
    with site.store.read() as session:
        for entry in guest.inputs:
            row = session.get(LocalDataset, (entry.dataset, entry.version))
            if row is not None and row.label_column is not None:
                return row.label_column
    raise Invalid(
        "InvalidRequest",
        "no label column: the guest's dataset names none",
        hint="register the dataset with its label column",
    )


def _scheme(network: Network, asked: str) -> str:
    """The fastest scheme that is installed and admitted, or the one asked for if it is both."""
    wanted = SCHEMES if asked == "auto" else tuple(name for name in SCHEMES if name == asked)
    for scheme in wanted:
        if network.consortium.is_scheme_admitted(scheme):
            return scheme
    raise Refused(
        "SchemeNotAdmitted",
        f"scheme {asked} is not installed here and admitted by the consortium",
        found=asked,
        allowed=list(SCHEMES),
        hint=refusals.HINTS["SchemeNotAdmitted"],
    )


def _holdout(request: JobRequest) -> Holdout | None:
    if request.holdout is None or request.kind == "predict":
        return None
    # The salt is part of the agreement: all parties hold out the same rows, and nobody chose which.
    return Holdout(fraction=request.holdout, salt=fresh_salt())


def fresh_salt() -> str:
    """32 random bytes, 0x-hex."""
    return "0x" + secrets.token_hex(32)


def _check_budgets(network: Network, specification: Specification) -> None:
    """No grant is asked for more products than it allows in all; what is left its holder knows."""
    from chain.jobs import JobUse

    needed = products(specification)
    for position, party in enumerate(specification.parties):
        for entry in party.inputs:
            if entry.grant is None or not needed:
                continue
            use = use_view(network, JobUse(position, entry.dataset, entry.version, entry.grant))
            limit = needed if use.grant is None else product_limit(use.grant, use)
            if needed > limit:
                raise Refused(
                    "ProductBudgetExceeded",
                    f"the job may ask for {needed} products; grant {entry.grant} allows {limit}",
                    found=needed,
                    allowed=limit,
                    hint="ask for a larger product budget, or train fewer or shallower trees",
                )


def _proposal(specification: Specification) -> Any:
    from chain.jobs import JobParty as ChainParty
    from chain.jobs import JobProposal, JobUse

    return JobProposal(
        specification=specification.digest,
        algorithm=specification.code_digest,
        purpose=specification.purpose,
        deadline=specification.deadline,
        parties=tuple(ChainParty(party.site, party.role) for party in specification.parties),
        uses=tuple(
            JobUse(position, entry.dataset, entry.version, entry.grant)
            for position, party in enumerate(specification.parties)
            for entry in party.inputs
        ),
        nonce=int(specification.nonce),
    )


def _insert(session: Session, site: Site, job_id: str, specification: Specification) -> None:
    session.add(
        LocalJob(
            id=job_id,
            state=SUBMITTED,
            specification=specification.to_document(),
            specification_digest=specification.digest,
            proposer=site.id,
            mine=True,
            kind=specification.kind,
            algorithm=specification.algorithm,
        )
    )
    for position, party in enumerate(specification.parties):
        session.add(JobParty(job_id=job_id, site=party.site, role=party.role, position=position))


def _terms(specification: Specification) -> dict[str, Any]:
    """What the audit log keeps of a proposal."""
    return {
        "specification": specification.digest,
        "kind": specification.kind,
        "algorithm": specification.algorithm,
        "codeDigest": specification.code_digest,
        "purpose": specification.purpose,
        "parties": [{"site": p.site, "role": p.role} for p in specification.parties],
    }


# ── Delivering the specification ─────────────────────────────────────────────────────────────


async def deliver(site: Site, job_id: str, specification: bytes | None = None) -> dict[str, str]:
    """Send the specification to the other parties; site → "delivered" or the code of its refusal.

    Other bytes may be handed in; a receiver holds them against the digest on the chain.  Raises
    the first refusal or failure only if no party took them.
    """
    with site.store.read() as session:
        job = _job(session, job_id)
        document = job.specification
        others = [party for party in _party_sites(session, job_id) if party != site.id]
    if specification is None:
        if document is None:
            raise NotFound("SpecificationMissing", f"this site has no specification of {job_id}")
        specification = Specification.model_validate(document).to_bytes()
    outcome: dict[str, str] = {}
    problems: list[NodeError] = []
    for other in others:
        try:
            await site.peers.put_specification(other, job_id, specification)
            outcome[other] = "delivered"
        except NodeError as problem:
            outcome[other] = problem.code
            problems.append(problem)
    if problems and len(problems) == len(others):
        raise problems[0]
    return outcome


# ── Deciding ─────────────────────────────────────────────────────────────────────────────────


def approve(site: Site, job_id: str) -> Decision:
    """Give this site's consent, after admission; raises the first reason why it may not."""
    with chain_errors():
        call = site.network().jobs.approve(job_id, site.id)
    decision = decide(gather(site, job_id, "approve"))
    with site.store.begin() as session:
        job = _job(session, job_id)
        entry = {"moment": "approve", **decision.to_json()}
        record(session, "admission.decided", job_id, entry, "operator")
        if decision.allowed:
            want(session, f"job:{job_id}:approve", call)
            data = {"specification": job.specification_digest}
            record(session, "job.approved", job_id, data, "operator")
    decision.require()
    return decision


def reject(site: Site, job_id: str, reason: str = "Rejected") -> None:
    """Decline a proposal for good; ``reason`` is a word of at most 31 characters."""
    _end(site, job_id, "reject", reason, ("PROPOSED",))


def cancel(site: Site, job_id: str, reason: str = "Cancelled") -> None:
    """Withdraw from a job before its end: a proposer withdraws, a host stops."""
    _end(site, job_id, "cancel", reason, ("PROPOSED", "APPROVED", "RUNNING"))


def _end(site: Site, job_id: str, how: str, reason: str, allowed: tuple[str, ...]) -> None:
    word = check_word(reason)
    with chain_errors():
        jobs = site.network().jobs
        call = getattr(jobs, how)(job_id, site.id, word)
    with site.store.begin() as session:
        job = _job(session, job_id)
        if job.state not in allowed:
            raise Conflict(
                "Conflict",
                f"job {job_id} is {job.state}; only {' or '.join(allowed)} jobs can be "
                f"{'rejected' if how == 'reject' else 'cancelled'}",
                found=job.state,
                allowed=list(allowed),
            )
        want(session, f"job:{job_id}:{how}", call)
        data = {"asked": how, "reason": word}
        record(session, "job.rejected", job_id, data, "operator")


def check_word(reason: str) -> str:
    """A reason as the chain stores it; raises `Invalid`."""
    if not reason.isascii() or not reason.isprintable() or not 1 <= len(reason) <= 31:
        raise Invalid(
            "InvalidRequest",
            "a reason is 1 to 31 printable ASCII characters",
            found=len(reason),
            allowed=31,
        )
    return reason


# ── What the sync process reports back ───────────────────────────────────────────────────────


def intent_refused(session: Session, intent: str, reason: NodeError) -> None:
    """The chain refused a transaction of a job: a proposal that never stood ends as REFUSED."""
    kind, _, rest = intent.partition(":")
    if kind != "job":
        return
    job_id, _, what = rest.partition(":")
    job = session.get(LocalJob, job_id)
    if job is None or what in ("fail", "cancel", "expire"):
        return  # the job was ended by another's word first, which the chain tells
    record(
        session,
        "request.refused",
        job_id,
        {"asked": what, "code": reason.code, "detail": reason.detail},
        "sync",
    )
    if what == "propose" and job.state == SUBMITTED:
        job.state, job.reason = "REFUSED", f"{reason.code}: {reason.detail}"[:500]
    elif what == "start" and job.state not in JOB_ENDS:
        job.reason = f"{reason.code}: {reason.detail}"[:500]


@contextmanager
def chain_errors() -> Iterator[None]:
    """Errors of the chain as problems of the node."""
    from chain.errors import ChainError

    try:
        yield
    except ChainError as error:
        raise refusals.from_error(error) from error


def read_specification(body: bytes) -> Specification:
    """A specification from its canonical bytes; raises `Invalid`."""
    return parse(body)


def _keep_refusal(site: Site, job_id: str, asked: str, reason: NodeError) -> None:
    data = {"asked": asked, "code": reason.code, "detail": reason.detail}
    with site.store.begin() as session:
        record(session, "request.refused", job_id, data, "operator")


def _job(session: Session, job_id: str) -> LocalJob:
    job = session.get(LocalJob, job_id)
    if job is None:
        raise NotFound(
            "NotFound",
            f"this site knows no job {job_id}",
            hint="its proposal may not be confirmed on the chain yet",
        )
    return job


def _party_sites(session: Session, job_id: str) -> list[str]:
    from sqlalchemy import select

    query = select(JobParty.site).where(JobParty.job_id == job_id).order_by(JobParty.position)
    return list(session.scalars(query))


def _invalid(error: ValidationError, prefix: str = "") -> Invalid:
    lines = error.errors(include_url=False, include_input=False, include_context=False)
    told = [f"{prefix}{'.'.join(map(str, line['loc']))}: {line['msg']}" for line in lines]
    return Invalid("InvalidRequest", "; ".join(told[:5]))
