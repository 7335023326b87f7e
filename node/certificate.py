"""The certificate of a finished job, issued by the guest.

The guest holds the parties' logs against each other (`node.reconciliation`), builds the certificate
(`chain.certificate` has the format), verifies it as a stranger would, and only then issues it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from chain import canonical
from chain.entries import open_entry
from node.audit.entries import now, record, type_of
from node.errors import Conflict, Failed, NotFound, Unavailable
from node.evidence import log_part
from node.files import make_private, write_private
from node.reconciliation import collect, refusal_of, settle
from node.refusals import chain_errors
from node.store import LocalJob, Task

if TYPE_CHECKING:
    from chain.network import Network
    from node.site import Site


async def issue(site: Site, job_id: str) -> None:
    """Collect all parties' evidence of a job that this site proposed, and `certify` it.

    Raises what `node.reconciliation.collect` and `certify` raise.
    """
    certify(site, job_id, await collect(site, job_id))


def certify(site: Site, job_id: str, evidence: Sequence[Mapping[str, Any]]) -> bytes:
    """Reconcile, build, verify and keep the certificate; ``evidence`` is one of each party.

    Raises `Failed`: ``ReconciliationFailed``, ``CertificateInvalid``.
    """
    verdict = settle(site, job_id, evidence)
    if not verdict["agrees"]:
        raise refusal_of(verdict)
    with chain_errors():
        content = build(site, site.network(), job_id, evidence)
        _verify(site.network(), content)
    path = certificate_path(site, job_id)
    make_private(path.parent)
    write_private(path, content)
    with site.store.begin() as session:
        job = session.get_one(LocalJob, job_id)
        job.certificate = str(path.relative_to(site.settings.home))
        data = {"digest": canonical.digest(content), "messages": verdict["messages"]}
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
    from chain.reconciliation import declared_in, keys_on_chain, section

    with site.store.read() as session:
        job = session.get_one(LocalJob, job_id)
        tasks = list(
            session.scalars(select(Task).where(Task.job_id == job_id).order_by(Task.position))
        )
    if job.result is None or job.specification is None:
        raise NotFound("NotFound", f"job {job_id} has no result here")
    identity = site.identity
    key_id = site.key_id(identity=identity)
    body: dict[str, Any] = {
        "version": VERSION,
        "network": network_section(network),
        "job": job_section(network, job_id),
        "specification": job.specification,
        "parties": parties_section(network, job_id),
        "result": {name: job.result[name] for name in ("digest", "attempt", "parts", "metrics")},
        "model": None if job.model_id is None else model_section(network, job.model_id),
        "steps": [_step(task, evidence) for task in tasks if task.state == "SUCCEEDED"],
        "logs": [log_part(part) for part in evidence],
        "issued": {"by": site.id, "at": now(), "keyId": key_id},
    }
    keys = keys_on_chain(network, job_id, body["logs"])
    attempt = body["result"]["attempt"]
    body["reconciliation"] = section(job_id, body["logs"], declared_in(body), keys, attempt)
    body["state"] = _state(site, network, body)
    return seal(body, [Signer(site.id, key_id, identity.sign)])


def _state(site: Site, network: Network, body: Mapping[str, Any]) -> dict[str, Any] | None:
    """The proof of what the body says of the chain, at a confirmed block; null where the endpoint
    gives none."""
    from chain.state import prove

    head = network.client.head().number
    # What a partner has confirmed may be newer than what is confirmed here.
    for block in (max(0, head - site.settings.confirmations), head):
        found = prove(network, body, block)
        if found is not None:
            return found
    return None


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


def read_certificate(site: Site, job_id: str) -> bytes:
    """The certificate's file.

    Raises `NotFound`, `Unavailable` while it is being made, `Failed` (``ReconciliationFailed``)
    where the parties' logs do not agree.
    """
    with site.store.read() as session:
        job = session.get(LocalJob, job_id)
    if job is None or job.state != "SUCCEEDED":
        raise NotFound("NotFound", f"there is no certificate of job {job_id}")
    if job.certificate is None:
        if not job.mine:
            raise NotFound("NotFound", "the guest's node issues the certificate", found=job_id)
        if job.reconciliation is not None and not job.reconciliation["agrees"]:
            raise refusal_of(job.reconciliation)
        raise Unavailable("CertificatePending", "the parties' logs are not all anchored yet")
    return (site.settings.home / job.certificate).read_bytes()
