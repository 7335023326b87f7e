"""What other sites may ask of this one, besides putting messages: the counterpart of `node.peers`.

The caller's signature is verified before any of this runs; here it is checked that the caller is
a party of the job, and everything else that the chain can say.  ``sender`` is a site id.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from node.audit.entries import record
from node.errors import Conflict, Invalid, NodeError, NotFound, Refused
from node.lifecycle import TASK_ENDS
from node.refusals import chain_errors
from node.specification import digest_of, parse
from node.store import JobParty, LocalJob, Reservation, Task

if TYPE_CHECKING:
    from node.site import Site

LAST_TIME = 2**53  # what a float still counts in seconds
RESERVATION_SECONDS = 120.0  # the longest promise given; a start takes a few blocks


def receive_specification(site: Site, sender: str, job: str, body: bytes) -> dict[str, Any]:
    """Keep the specification of a job whose digest is on the chain.

    Raises `Refused` (``NotAParty``, ``SpecificationMismatch``), `NotFound`, `Invalid`, `TooLarge`;
    a refusal of a party is entered in the audit log with the digest that was offered.
    """
    found = digest_of(body)
    try:
        on_chain = _checked(site, sender, job)
        if found != on_chain.specification:
            raise Refused(
                "SpecificationMismatch",
                f"job {job} was proposed with another specification than the one delivered",
                found=found,
                allowed=on_chain.specification,
                hint="deliver the specification whose digest the proposal names",
            )
        specification = parse(body)
    except NodeError as reason:
        # Only what a party offers is entered: others could make our log grow by asking in vain.
        if reason.code not in ("NotAParty", "NotFound"):
            data = {"offered": found, "code": reason.code, "detail": reason.detail}
            with site.store.begin() as session:
                record(session, "specification.refused", job, data, sender)
        raise
    with site.store.begin() as session:
        row = session.get(LocalJob, job)
        if row is None:
            row = LocalJob(
                id=job,
                state="PROPOSED",
                specification_digest=found,
                proposer=on_chain.proposer,
                mine=False,
            )
            session.add(row)
            _add_parties(session, job, on_chain.parties)
        if row.specification is None:
            row.specification = specification.to_document()
            row.kind, row.algorithm = specification.kind, specification.algorithm
            kept = {"digest": found, "size": len(body)}
            record(session, "specification.received", job, kept, sender)
    return {"job": job, "digest": found}


def reserve(site: Site, sender: str, job: str, until: float) -> dict[str, Any]:
    """Promise a slot to a job until a time (Unix seconds); asking again prolongs the promise.

    Raises `Conflict` (``SlotsTaken``), `NotFound` (``SpecificationMissing``), `Refused`.
    """
    on_chain = _checked(site, sender, job)
    if sender != on_chain.proposer:
        raise Refused("WrongRole", "only the proposer of a job reserves slots for it", found=sender)
    if on_chain.state not in ("APPROVED", "RUNNING"):
        raise Conflict(
            "Conflict",
            f"job {job} is {on_chain.state}; slots are reserved for APPROVED jobs",
            found=on_chain.state,
            allowed="APPROVED",
        )
    until = min(until, time.time() + RESERVATION_SECONDS)
    with site.store.begin() as session:
        row = session.get(LocalJob, job)
        if row is None or row.specification is None:
            raise NotFound("SpecificationMissing", f"this site has no specification of {job}")
        hold(session, job, until, site.settings.slots)
    return {"job": job, "until": until}


def release(site: Site, sender: str, job: str) -> None:
    """Give a promised slot back; nothing happens where none was promised."""
    on_chain = _checked(site, sender, job)
    if sender != on_chain.proposer:
        raise Refused("WrongRole", "only the proposer of a job releases its slots", found=sender)
    with site.store.begin() as session:
        session.execute(delete(Reservation).where(Reservation.job_id == job))


def evidence(site: Site, sender: str, job: str) -> dict[str, Any]:
    """This site's own signed evidence for a job; for its parties and for auditors among members."""
    from node.evidence import own_evidence

    network = _network(site)
    parties = _parties_of(network, job)
    if sender not in parties:
        from chain.sites import SiteRole

        with chain_errors():
            network.sites.require_active(sender)
            auditor = SiteRole.AUDITOR in network.sites.site(sender).roles
        if not auditor:
            raise Refused(
                "NotAParty",
                f"evidence of job {job} is for its parties and for auditors",
                found=sender,
                allowed="a party, or a site registered as auditor",
            )
    return own_evidence(site, job)


def hold(session: Session, job: str, until: float, slots: int) -> None:
    """Write a promise down if a slot is free; raises `Conflict` (``SlotsTaken``)."""
    now = time.time()
    session.execute(delete(Reservation).where(Reservation.until <= now))
    own = session.get(Reservation, job)
    if own is not None:
        own.until = max(own.until, until)
        return
    taken = taken_slots(session, job)
    if taken >= slots:
        raise Conflict(
            "SlotsTaken",
            f"all {slots} slots of this site are taken",
            found=taken,
            allowed=slots,
            hint="the job starts as soon as another one ends",
        )
    session.add(Reservation(job_id=job, until=until))


def taken_slots(session: Session, besides: str) -> int:
    """Jobs that run here or hold a promise, but for ``besides``."""
    promised = select(Reservation.job_id).where(
        Reservation.job_id != besides, Reservation.until > time.time()
    )
    running = (
        select(Task.job_id)
        .join(LocalJob, LocalJob.id == Task.job_id)
        .where(Task.state.not_in(TASK_ENDS), LocalJob.state == "RUNNING", LocalJob.id != besides)
    )
    return int(
        session.scalar(select(func.count()).select_from(promised.union(running).subquery())) or 0
    )


# ── The chain's word on job and caller ───────────────────────────────────────────────────────


@dataclass(frozen=True)
class _OnChain:
    """A job as the chain has it at the head; ``parties`` are (site, role) in their order."""

    proposer: str
    specification: str
    state: str
    parties: list[tuple[str, str]]


def _checked(site: Site, sender: str, job: str) -> _OnChain:
    """The job, after both this site and the sender proved to be its parties."""
    network = _network(site)
    with chain_errors():
        found = network.jobs.job(job)
        parties = [(party.site, party.role) for party in network.jobs.parties(job)]
        state = str(network.jobs.state(job))
    sites = [party for party, _ in parties]
    for who, name in ((sender, "the sender"), (site.id, "this site")):
        if who not in sites:
            raise Refused("NotAParty", f"{name} is no party of job {job}", found=who)
    return _OnChain(found.proposer, found.specification, state, parties)


def _parties_of(network: Any, job: str) -> list[str]:
    with chain_errors():
        return [party.site for party in network.jobs.parties(job)]


def _network(site: Site) -> Any:
    with chain_errors():
        return site.network()


def _add_parties(session: Session, job: str, parties: list[tuple[str, str]]) -> None:
    known = set(session.scalars(select(JobParty.site).where(JobParty.job_id == job)))
    for position, (party, role) in enumerate(parties):
        if party not in known:
            session.add(JobParty(job_id=job, site=party, role=role, position=position))


def check_until(until: Any) -> float:
    """A time in Unix seconds from a request; raises `Invalid`."""
    number = isinstance(until, (int, float)) and not isinstance(until, bool)
    if not number or not time.time() < until <= LAST_TIME:  # NaN is in no order
        raise Invalid("InvalidRequest", "expires is a time in the future, in Unix seconds")
    return float(until)
