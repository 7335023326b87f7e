"""Every party holds the logs of all parties of a job against each other, by itself, at its end.

It collects what all of them show of their logs (`node.evidence`), each under a head that it
anchored after the job ended, looks whether that stands under these heads and these on the chain,
and keeps the verdict of `chain.reconciliation` with the job, in its log, and as an alert where a
line is missing or different.  A log can be completed, not changed: the parties are asked again.
An auditor's site, to which the parties show their evidence, does the same when it is asked to.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from node import alerts
from node.audit.entries import record
from node.errors import Conflict, Failed, NodeError, NotFound, Unavailable
from node.evidence import check_evidence, covers_end, log_part, own_evidence
from node.lifecycle import JOB_ENDS
from node.refusals import chain_errors
from node.store import JobParty, LocalJob, PeerEvidence

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from chain.network import Network
    from chain.reconciliation import Declaration, Difference, Reconciliation
    from node.site import Site

ALERT = "job.unreconciled"
RETOLD = "job.retold"  # a partner signed two tales of the same entries
AGAIN_SECONDS = 3600.0  # a log is asked again whether it has what it lacked
SILENT_SECONDS = 24 * 3600.0  # from the end of a job, after which silence is told
OWED_SECONDS = 7 * 24 * 3600.0  # a party that is silent for longer is asked no more
MAX_DIFFERENCES = 100  # that are kept of a job; the number of all of them is told


async def reconcile_job(site: Site, job_id: str) -> dict[str, Any]:
    """Collect, hold against each other, keep; the verdict.

    Raises `NotFound`, `Conflict` for a job that has not run and ended, `Unavailable`
    (``EvidencePending``) as long as a party has not anchored its log after the end, `Failed`
    (``EvidenceInvalid``) and partners' refusals.
    """
    _require_ended(site, job_id)
    return settle(site, job_id, await collect(site, job_id))


async def collect(site: Site, job_id: str) -> list[dict[str, Any]]:
    """What all parties show of their logs: our own first, then in the order of the parties.

    Raises `Unavailable` (``EvidencePending``) as long as one of them has not anchored its log
    after the end of the job, `Failed` (``EvidenceInvalid``) and partners' refusals.
    """
    evidence = []
    for party in sorted(_parties(site, job_id), key=lambda party: party != site.id):
        if party == site.id:
            shown = own_evidence(site, job_id)
        else:
            found = await site.peers.evidence(party, job_id)
            shown = check_evidence(site, job_id, party, found)
        _require_end(shown)
        if party != site.id:
            with site.store.begin() as session:
                _keep_evidence(session, job_id, shown)
        evidence.append(shown)
    return evidence


def _keep_evidence(session: Session, job_id: str, shown: dict[str, Any]) -> None:
    """The partner signed it: should it ever say something else of the same entries, what it said
    first convicts it, and stays, and an alert names both.  A log that only grew since takes its
    place.
    """
    from chain import canonical

    first = session.get(PeerEvidence, (job_id, shown["site"]))
    if first is not None:
        size = first.evidence["anchored"]["size"]
        if _up_to(shown, size) != _up_to(first.evidence, size):
            both = {
                "site": shown["site"],
                "first": canonical.digest_of(first.evidence),
                "second": canonical.digest_of(shown),
            }
            # Told once of what differs: each answer is signed anew, with other bytes.
            told = canonical.digest_of([list(entry) for entry in _up_to(shown, size)])
            alerts.see(session, RETOLD, job_id, both, about=f"{shown['site']} {told}")
            return
    session.merge(PeerEvidence(job_id=job_id, site=shown["site"], evidence=shown))


def _up_to(evidence: Mapping[str, Any], size: int) -> list[tuple[Any, ...]]:
    """What is shown of the first ``size`` entries of the log, without the proofs, which grow."""
    return [
        (part["index"], part["leafHash"], part["disclosed"])
        for part in evidence["entries"]
        if part["index"] < size
    ]


def _require_end(evidence: Mapping[str, Any]) -> None:
    if not covers_end(evidence):
        raise Unavailable(
            "EvidencePending",
            f"site {evidence['site']} has not anchored its log after the end of the job",
            found=evidence["site"],
            hint="ask again in a minute",
        )


def tell_silence(site: Site, job: LocalJob, problem: NodeError, now: float) -> None:
    """Raise an alert where a party has shown nothing that can be used for a day."""
    if job.reconciliation is None and now - (job.ended_at or now) >= SILENT_SECONDS:
        evidence = {"what": "silent", "code": problem.code, "detail": problem.detail}
        with site.store.begin() as session:
            alerts.see(session, ALERT, job.id, evidence, about="silent", now=now)


def settle(site: Site, job_id: str, evidence: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Hold the logs against each other and keep the verdict, which is entered where it is new."""
    with chain_errors():
        network = site.network()
        found, unproven = _verdict(network, job_id, [log_part(part) for part in evidence])
    differences = [*unproven, *found.differences]
    verdict = {
        **found.to_json(),
        "agrees": not differences,
        "at": time.time(),
        "open": found.open,
        "count": len(differences),
        "differences": [told.to_json() for told in differences[:MAX_DIFFERENCES]],
        "heads": [
            {
                "site": part["site"],
                "size": part["anchored"]["size"],
                "root": part["anchored"]["root"],
            }
            for part in evidence
        ],
    }
    _keep(site, job_id, verdict)
    return verdict


def _verdict(
    network: Network, job_id: str, logs: Sequence[Mapping[str, Any]]
) -> tuple[Reconciliation, list[Difference]]:
    """What the logs tell, and which of them do not stand where they are said to stand."""
    from chain.errors import ContractRefused, VerificationFailed
    from chain.evidence import require_shown
    from chain.jobs import JobState
    from chain.reconciliation import Difference, declared_at_start, keys_on_chain, reconcile

    is_whole = network.jobs.state(job_id) is JobState.SUCCEEDED
    declared = [*declared_at_start(network, job_id), *_results(network, job_id, logs)]
    keys = keys_on_chain(network, job_id, logs)
    found = reconcile(job_id, logs, declared, keys, is_whole=is_whole)
    unproven = []
    for number, log in enumerate(logs):
        where = f"$.logs[{number}]"
        try:
            require_shown(network, job_id, log, where)
        except VerificationFailed as failure:
            said, expected = str(failure.found), str(failure.expected)
            place = failure.where
        except ContractRefused as refusal:
            said, expected, place = str(refusal), "a head that it anchored", f"{where}.anchored"
        else:
            continue
        unproven.append(Difference(log["site"], "unproven", "message", None, place, said, expected))
    return found, unproven


def _results(network: Network, job_id: str, logs: Sequence[Mapping[str, Any]]) -> list[Declaration]:
    """What each party attested on the chain."""
    from chain.reconciliation import result

    attested = [(log["site"], network.jobs.attestation(job_id, log["site"])) for log in logs]
    return [result(job_id, site, 1, said.result) for site, said in attested if said is not None]


def refusal_of(verdict: Mapping[str, Any]) -> Failed:
    """Why there is no certificate: the first difference, and how many there are."""
    first = verdict["differences"][0]
    more = verdict["count"] - 1
    return Failed(
        "ReconciliationFailed",
        f"{first['line']} {first['what']}: {first['detail']}"
        + (f"; and {more} more" if more else ""),
        found=", ".join(_sites(first)),
        hint="ask whom it names; its log and the receipts of the others say what happened",
    )


def _sites(difference: Mapping[str, Any]) -> list[str]:
    """Whose log is wrong; two where one of them is, and nothing shows which."""
    also = difference.get("also")  # verdicts of earlier releases have none
    return [difference["site"], *([] if also is None else [also])]


def _keep(site: Site, job_id: str, verdict: dict[str, Any]) -> None:
    from chain import canonical

    told = {name: value for name, value in verdict.items() if name not in ("at", "heads")}
    with site.store.begin() as session:
        job = session.get_one(LocalJob, job_id)
        before = job.reconciliation or {}
        is_new = told != {name: before.get(name) for name in told}
        job.reconciliation = verdict
        if is_new:
            names = ("agrees", "messages", "approvals", "grantUses", "results", "bytes", "digest")
            data = {name: verdict[name] for name in names}
            if not verdict["agrees"]:
                data["differences"] = verdict["count"]
                data["sites"] = sorted(
                    {id for told in verdict["differences"] for id in _sites(told)}
                )
                data["where"] = str(refusal_of(verdict).detail)[:400]
            record(session, "reconciliation.made", job_id, data, "sync")
        if verdict["agrees"]:
            alerts.end(session, ALERT, job_id)
        for difference in verdict["differences"]:
            about = canonical.digest_of(
                {name: difference[name] for name in ("site", "what", "line", "address")}
            )
            evidence = {name: difference[name] for name in ("site", "what", "line", "detail")}
            if (also := difference.get("also")) is not None:
                evidence["also"] = also
            alerts.see(session, ALERT, job_id, evidence, about=about)


def due(site: Site, now: float) -> list[LocalJob]:
    """Jobs that ran here and ended, to be held against the other parties' logs, oldest first.

    Those that were not yet, and once an hour those whose logs did not agree.  Their guest does it
    for what succeeded when it makes the certificate.
    """
    of_party = select(JobParty.job_id).where(JobParty.site == site.id)
    query = select(LocalJob).where(
        LocalJob.state.in_(JOB_ENDS),
        LocalJob.started_at.is_not(None),
        LocalJob.ended_at > now - OWED_SECONDS,
        LocalJob.id.in_(of_party),
    )
    with site.store.read() as session:
        differ = LocalJob.id.in_(alerts.subjects(session, ALERT))
        chosen = query.where(LocalJob.reconciliation.is_(None) | differ)
        jobs = list(session.scalars(chosen.order_by(LocalJob.ended_at, LocalJob.id)))
    return [job for job in jobs if _is_due(job, now)]


def _is_due(job: LocalJob, now: float) -> bool:
    if job.reconciliation is None:
        return not (job.mine and job.state == "SUCCEEDED")
    at: float = job.reconciliation["at"]
    return now - at >= AGAIN_SECONDS


def _require_ended(site: Site, job_id: str) -> None:
    with site.store.read() as session:
        job = session.get(LocalJob, job_id)
    if job is None:
        raise NotFound("NotFound", f"this site knows no job {job_id}", found=job_id)
    if job.state not in JOB_ENDS or job.started_at is None:
        raise Conflict(
            "Conflict",
            f"job {job_id} is {job.state}; logs are held against each other when it ran and ended",
            found=job.state,
            allowed=sorted(JOB_ENDS),
        )


def _parties(site: Site, job_id: str) -> list[str]:
    query = select(JobParty.site).where(JobParty.job_id == job_id)
    with site.store.read() as session:
        return list(session.scalars(query.order_by(JobParty.position)))
