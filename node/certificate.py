"""Evidence of a finished job: what this site shows to partners, and the certificate of the whole.

Each site shows the entries of its log that tell of the job, with inclusion proofs under a head
that it anchored on the chain after the job's end, signed by its request key.  The guest collects
this from every party, holds both ends of all messages against each other, builds the certificate
(`chain.certificate` has the format), verifies it as a stranger would, and only then issues it.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from chain import canonical
from chain.entries import open_entry
from node.audit.entries import now, record, type_of
from node.errors import Conflict, Failed, NodeError, NotFound, Unavailable
from node.files import make_private, write_private
from node.refusals import chain_errors
from node.signatures import verify_bytes
from node.store import Anchor, JobParty, LocalJob, PeerEvidence, Task

if TYPE_CHECKING:
    from chain.network import Network
    from node.audit.log import LogEntry
    from node.site import Site

EVIDENCE = "evidence"
ENDED = type_of("job.ended")
MAX_ENTRIES = 100_000  # of one party's log about one job


# ── What this site shows ─────────────────────────────────────────────────────────────────────


def own_evidence(site: Site, job_id: str) -> dict[str, Any]:
    """The entries about a job under the newest anchored head, with proofs, signed.

    Each with all its fields, or with none where they were erased.
    ``anchored`` is null and there are no entries as long as nothing was anchored.  Raises
    `NotFound` for a job that this site has no entries of.
    """
    entries = site.log.of_subject(job_id)
    if not entries:
        raise NotFound("NotFound", f"the log of this site has no entries about job {job_id}")
    with site.store.read() as session:
        newest = session.scalar(select(Anchor).order_by(Anchor.size.desc()).limit(1))
    identity = site.identity
    evidence: dict[str, Any] = {
        "type": EVIDENCE,
        "job": job_id,
        "site": site.id,
        "anchored": None,
        "entries": [],
        "issuedAt": now(),
        "keyId": site.key_id(identity=identity),
    }
    if newest is not None:
        evidence["anchored"] = {
            "size": newest.size,
            "root": newest.root,
            "block": newest.block,
            "txHash": newest.tx_hash,
            "cosigners": sorted(newest.witnesses),
            "of": newest.needed,
        }
        shown = [entry for entry in entries if entry.index < newest.size]
        evidence["entries"] = [_shown(site, entry, newest.size) for entry in shown]
    signature = identity.sign(canonical.dumps(evidence))
    return evidence | {"signature": base64.b64encode(signature).decode()}


def _shown(site: Site, entry: LogEntry, size: int) -> dict[str, Any]:
    proof = site.log.inclusion_proof(entry.index, size)
    return entry.shown() | {"proof": ["0x" + node.hex() for node in proof]}


def covers_end(evidence: Mapping[str, Any]) -> bool:
    """Whether the head under which the entries stand was anchored after the job ended."""
    return any(part["entry"].get("type") == ENDED for part in evidence["entries"])


def check_evidence(site: Site, job_id: str, partner: str, evidence: Any) -> dict[str, Any]:
    """Evidence of a partner, if it is one and signed by it; raises `Failed`.

    What it proves is for `chain.evidence` to say; here it must have the shape and the signature.
    """
    from pydantic import ValidationError

    from chain.certificate import RECEIVED, SENT, LogPart, is_message
    from chain.errors import VerificationFailed

    if not isinstance(evidence, dict) or not isinstance(evidence.get("signature"), str):
        raise _bad_evidence(partner, "it is no signed object")
    unsigned = {name: value for name, value in evidence.items() if name != "signature"}
    for name, value in (("type", EVIDENCE), ("job", job_id), ("site", partner)):
        if unsigned.get(name) != value:
            raise _bad_evidence(partner, f"its {name} is another")
    key = site.directory.sender_key(str(unsigned.get("keyId")))
    if key.site != partner:
        raise _bad_evidence(partner, f"it is signed by a key of {key.site}")
    try:
        content = canonical.dumps(unsigned)
    except canonical.NotCanonical as error:
        raise _bad_evidence(partner, "it has no canonical form") from error
    if not verify_bytes(key.public_key, evidence["signature"], content):
        raise _bad_evidence(partner, "its signature does not match")
    entries = unsigned.get("entries")
    if not isinstance(entries, list) or len(entries) > MAX_ENTRIES:
        raise _bad_evidence(partner, "its entries are no list, or too many")
    if unsigned.get("anchored") is not None:
        try:
            LogPart.model_validate(_log(unsigned))
        except ValidationError as error:
            raise _bad_evidence(partner, f"{error.error_count()} fields do not fit") from error
        for number, shown in enumerate(entries):
            try:
                told = open_entry(shown, f"$.entries[{number}]")
            except VerificationFailed as failure:
                raise _bad_evidence(partner, str(failure)) from failure
            if not isinstance(shown["entry"].get("type"), str):
                raise _bad_evidence(partner, "one of its entries is none of a log")
            # An entry that was erased discloses nothing.
            if shown["entry"]["type"] in (SENT, RECEIVED) and told and not is_message(told):
                raise _bad_evidence(partner, f"$.entries[{number}] is no message's entry")
    elif entries:
        raise _bad_evidence(partner, "it shows entries without an anchored head")
    return evidence


def _bad_evidence(partner: str, detail: str) -> Failed:
    return Failed("EvidenceInvalid", f"the evidence of site {partner}: {detail}", found=partner)


# ── The certificate ──────────────────────────────────────────────────────────────────────────


async def issue(site: Site, job_id: str) -> bool:
    """Collect all parties' evidence of a job that this site proposed, and `certify` it.

    False as long as a party has not anchored its log after the end of the job.  Raises `Failed`
    (``EvidenceInvalid`` and what `certify` raises) and partners' refusals.
    """
    evidence = [own_evidence(site, job_id)]
    if not covers_end(evidence[0]):
        return False
    for partner in _partners(site, job_id):
        found = check_evidence(site, job_id, partner, await site.peers.evidence(partner, job_id))
        if not covers_end(found):
            return False
        _keep_evidence(site, job_id, partner, found)
        evidence.append(found)
    certify(site, job_id, evidence)
    return True


def certify(site: Site, job_id: str, evidence: Sequence[Mapping[str, Any]]) -> bytes:
    """Reconcile, build, verify and keep the certificate; ``evidence`` is one of each party.

    Raises `Failed`: ``ReconciliationFailed``, ``CertificateInvalid``.
    """
    messages = _reconciled(site, job_id, evidence)
    with chain_errors():
        content = build(site, site.network(), job_id, evidence, messages)
        _verify(site.network(), content)
    path = certificate_path(site, job_id)
    make_private(path.parent)
    write_private(path, content)
    with site.store.begin() as session:
        job = session.get_one(LocalJob, job_id)
        job.certificate = str(path.relative_to(site.settings.home))
        record(session, "reconciliation.made", job_id, {"agrees": True, **messages}, "sync")
        data = {"digest": canonical.digest(content), "messages": messages["count"]}
        record(session, "job.certified", job_id, data, "sync")
    return content


def certificate_path(site: Site, job_id: str) -> Any:
    """Where the certificate of a job lies at its issuer."""
    return site.settings.jobs / job_id / "certificate.json"


def build(
    site: Site,
    network: Network,
    job_id: str,
    evidence: Sequence[Mapping[str, Any]],
    messages: Mapping[str, Any],
) -> bytes:
    """The sealed certificate; the chain's facts are read from the chain, not from rows."""
    from chain.certificate import (
        VERSION,
        Signer,
        job_section,
        model_section,
        network_section,
        parties_section,
        seal,
    )

    with site.store.read() as session:
        job = session.get_one(LocalJob, job_id)
        tasks = list(
            session.scalars(select(Task).where(Task.job_id == job_id).order_by(Task.position))
        )
    if job.result is None or job.specification is None:
        raise NotFound("NotFound", f"job {job_id} has no result here")
    identity = site.identity
    key_id = site.key_id(identity=identity)
    body = {
        "version": VERSION,
        "network": network_section(network),
        "job": job_section(network, job_id),
        "specification": job.specification,
        "parties": parties_section(network, job_id),
        "result": {name: job.result[name] for name in ("digest", "attempt", "parts", "metrics")},
        "model": None if job.model_id is None else model_section(network, job.model_id),
        "steps": [_step(task, evidence) for task in tasks if task.state == "SUCCEEDED"],
        "logs": [_log(part) for part in evidence],
        "messages": dict(messages),
        "issued": {"by": site.id, "at": now(), "keyId": key_id},
    }
    return seal(body, [Signer(site.id, key_id, identity.sign)])


def _verify(network: Network, content: bytes) -> None:
    """Nothing is issued that a stranger would refuse."""
    from chain.evidence import verify_certificate

    report = verify_certificate(content, network)
    if not report.ok:
        first = report.failures[0]
        raise Failed(
            "CertificateInvalid",
            f"{first.where}: {first.detail}",
            found=[check.where for check in report.failures][:10],
            hint="one party's evidence contradicts the chain or another party",
        )


def _reconciled(
    site: Site, job_id: str, evidence: Sequence[Mapping[str, Any]]
) -> Mapping[str, Any]:
    """What all logs tell alike of the messages; a contradiction is entered in the log, once."""
    from chain.certificate import messages_section
    from chain.errors import VerificationFailed

    try:
        found: Mapping[str, Any] = messages_section(job_id, [_log(part) for part in evidence])
    except VerificationFailed as failure:
        problem = Failed("ReconciliationFailed", str(failure), found=failure.where)
        _keep_contradiction(site, job_id, problem)
        raise problem from failure
    return found


def _keep_contradiction(site: Site, job_id: str, problem: NodeError) -> None:
    told = f"{problem.code}: {problem.detail}"[:500]
    with site.store.begin() as session:
        job = session.get_one(LocalJob, job_id)
        if job.reason != told:
            job.reason = told
            data = {"agrees": False, "where": problem.detail[:400]}
            record(session, "reconciliation.made", job_id, data, "sync")


def _log(evidence: Mapping[str, Any]) -> dict[str, Any]:
    return {name: evidence.get(name) for name in ("site", "anchored", "entries")}


def _step(task: Task, evidence: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A step with the outputs that each party's log tells of, and the times of this site."""
    outputs = {}
    for part in evidence:
        for shown in part["entries"]:
            if shown["entry"].get("type") != type_of("task.finished"):
                continue
            data = open_entry(shown)
            if (data.get("step"), data.get("attempt")) == (task.step, task.attempt):
                outputs[part["site"]] = data.get("output")
    return {
        "step": task.step,
        "attempt": task.attempt,
        "started": _time(task.started_at),
        "finished": _time(task.ended_at),
        "outputs": outputs,
    }


def _time(at: float | None) -> str:
    if at is None:
        raise Conflict("Conflict", "a step that succeeded has no time")
    told = datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds")
    return told.replace("+00:00", "Z")


def _partners(site: Site, job_id: str) -> list[str]:
    query = select(JobParty.site).where(JobParty.job_id == job_id, JobParty.site != site.id)
    with site.store.read() as session:
        return list(session.scalars(query.order_by(JobParty.position)))


def _keep_evidence(site: Site, job_id: str, partner: str, evidence: dict[str, Any]) -> None:
    """The partner signed it: should it ever say something else, this convicts it."""
    with site.store.begin() as session:
        session.merge(PeerEvidence(job_id=job_id, site=partner, evidence=evidence))


def read_certificate(site: Site, job_id: str) -> bytes:
    """The certificate's file; raises `NotFound`, or `Unavailable` while it is being made."""
    with site.store.read() as session:
        job = session.get(LocalJob, job_id)
    if job is None or job.state != "SUCCEEDED":
        raise NotFound("NotFound", f"there is no certificate of job {job_id}")
    if job.certificate is None:
        if not job.mine:
            raise NotFound("NotFound", "the guest's node issues the certificate", found=job_id)
        raise Unavailable("CertificatePending", "the parties' logs are not all anchored yet")
    return (site.settings.home / job.certificate).read_bytes()
