"""What an operator does with jobs: propose, deliver, approve, reject, cancel, predict.

Each use case reads the chain, checks, and in one transaction records what was decided together
with the transaction that it wants on the chain.  Nothing is sent to the chain here; the sync
process does that.  Errors of the chain come out as `node.errors.NodeError`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from node import refusals
from node.admission import Decision, decide
from node.audit.entries import acting, record
from node.chain_tx import want
from node.errors import Conflict, Invalid, NodeError, NotFound
from node.facts import gather
from node.lifecycle import JOB_ENDS, SUBMITTED
from node.proposal import (
    InputRequest,
    JobRequest,
    PartyRequest,
    check_budgets,
    specify,
    to_proposal,
)
from node.refusals import chain_errors
from node.rules import Rule, take_use
from node.specification import Specification
from node.store import Approval, JobParty, LocalJob, Waiting

if TYPE_CHECKING:
    from node.site import Site

__all__ = [
    "InputRequest",
    "JobRequest",
    "PartyRequest",
    "approve",
    "cancel",
    "deliver",
    "predict",
    "propose",
    "reject",
]


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
        proposal = to_proposal(specification)
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
        check_budgets(network, specification)
    with site.store.begin() as session:
        _insert(session, site, job_id, specification)
        want(session, f"job:{job_id}:propose", call)
        record(session, "job.proposed", job_id, _terms(specification), acting())
    return job_id


def predict(site: Site, request: JobRequest) -> str:
    """Ask for scores of rows by a model: `propose` of the kind "predict"."""
    return propose(site, request.model_copy(update={"kind": "predict", "holdout": None}))


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
    session.add(
        Approval(job_id=job_id, specification=specification.digest, how="proposal", by=acting())
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


def approve(site: Site, job_id: str, *, rule: Rule | None = None) -> Decision:
    """Give this site's consent, after admission; raises the first reason why it may not.

    The approval is kept here together with the transaction that tells the chain: without it
    nothing of the job runs at this site.  ``rule`` is the standing rule that approves in place of
    a person; it may approve so many jobs a day, else `Conflict` (``RuleUsedUp``).
    """
    with chain_errors():
        jobs = site.network().jobs
    decision = decide(gather(site, job_id, "approve"))
    with site.store.begin() as session:
        job = _job(session, job_id)
        entry = {"moment": "approve", **decision.to_json()}
        record(session, "admission.decided", job_id, entry, acting())
        if decision.allowed and session.get(Approval, job_id) is None:
            if rule is not None:
                take_use(session, rule, time.time())
            _keep_approval(session, job, rule)
            call = jobs.approve(job_id, site.id, job.specification_digest)
            want(session, f"job:{job_id}:approve", call)
    decision.require()
    return decision


def _keep_approval(session: Session, job: LocalJob, rule: Rule | None) -> None:
    session.add(
        Approval(
            job_id=job.id,
            specification=job.specification_digest,
            how="person" if rule is None else "rule",
            by=acting(),
            rule_id=None if rule is None else rule.id,
        )
    )
    session.execute(delete(Waiting).where(Waiting.job_id == job.id))
    data = {"specification": job.specification_digest}
    if rule is not None:
        data |= {"rule": rule.id, "ruleName": rule.name}
    record(session, "job.approved", job.id, data, acting())


def reject(site: Site, job_id: str, reason: str = "Rejected") -> None:
    """Decline a proposal for good; ``reason`` is a word of at most 31 characters."""
    _end(site, job_id, "reject", reason, ("PROPOSED",))


def cancel(site: Site, job_id: str, reason: str = "Cancelled") -> None:
    """Withdraw from a job before its end: a proposer withdraws, a host stops."""
    # What is submitted is on its way to the chain, and the withdrawal follows behind it.
    _end(site, job_id, "cancel", reason, (SUBMITTED, "PROPOSED", "APPROVED", "RUNNING"))


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
        record(session, "job.rejected", job_id, data, acting())


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


def _keep_refusal(site: Site, job_id: str, asked: str, reason: NodeError) -> None:
    data = {"asked": asked, "code": reason.code, "detail": reason.detail}
    with site.store.begin() as session:
        record(session, "request.refused", job_id, data, acting())


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
    query = select(JobParty.site).where(JobParty.job_id == job_id).order_by(JobParty.position)
    return list(session.scalars(query))
