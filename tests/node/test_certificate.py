"""A certificate is issued from what all parties showed, and only if a stranger would accept it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import rfc8785
from sqlalchemy import select
from sqlalchemy.orm import Session

from chain import canonical, merkle
from chain.entries import SALT_BYTES, commit, disclose
from chain.evidence import verify_certificate
from chain.reconciliation import Declaration, declared_at_start
from chain.reconciliation import result as declared_result
from chain.standalone import verify_alone
from node.addresses import WireAddress
from node.api.views import messages
from node.audit.entries import record
from node.audit.transport import record_received, record_sent
from node.certificate import certify, read_certificate
from node.errors import NodeError
from node.evidence import check_evidence, covers_end, own_evidence
from node.receipts import make_receipt
from node.scheduler import Scheduler
from node.specification import digest_of
from node.steps import result_document
from node.store import LocalJob, PeerEvidence, Task
from tests.node import consortium
from tests.node.consortium import ChainSite, Consortium
from tests.node.test_specification import an_id


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    chain, deployment = consortium.found()
    world = consortium.assemble(chain, deployment, tmp_path_factory.mktemp("sites"))
    yield world
    world.close()


# ── A job as its parties leave it ────────────────────────────────────────────────────────────


def say(world: Consortium, job: str, n: int, *, received: str | None = None) -> None:
    """The bank says something to the shop; ``received`` is what the shop claims to have read."""
    address = WireAddress(job, "psi", 1, world.bank.id, world.shop.id, "protocols.psi.Matched", n)
    enter(world, address, digest_of(f"message {n}".encode()), 9, received=received)


def enter(
    world: Consortium,
    address: WireAddress,
    digest: str,
    size: int,
    declared: dict[str, Any] | None = None,
    *,
    received: str | None = None,
) -> None:
    """A message as both its ends enter it."""
    sites = {site.id: site for site in world.sites.values()}
    sender, receiver = sites[address.sender], sites[address.receiver]
    receipt = make_receipt(receiver.identity, receiver.key_id(), address, digest, size)
    with sender.store.begin() as session:
        record_sent(session, address, digest, size, receipt, declared)
    with receiver.store.begin() as session:
        record_received(session, address, received or digest, size, "signature", declared)


def declare(world: Consortium, job: str, step: str, declared: list[Declaration]) -> None:
    """Every party tells the other what it did."""
    ids = [site.id for site in world.sites.values()]
    for said in declared:
        for other in ids:
            if other != said.site:
                address = WireAddress(job, step, 1, said.site, other, said.kind, said.n)
                enter(world, address, said.digest, len(said.content), dict(said.body))


def conclude(world: Consortium, job: str) -> None:
    """Both parties finish their tasks, declare what they did and attest one result."""
    declare(world, job, "psi", declared_at_start(world.network, job))
    parts = {site.id: an_id(number) for number, site in enumerate(world.sites.values(), 100)}
    result = result_document(job, 1, parts, {"joint": {"auc": 0.75}})
    digest = digest_of(rfc8785.dumps(result))
    results = [declared_result(job, site.id, 1, digest) for site in world.sites.values()]
    declare(world, job, "result", results)
    for name, site in world.sites.items():
        with site.store.begin() as session:
            finish_tasks(session, job)
            session.get_one(LocalJob, job).result = {"digest": digest, **result}
            said = {"result": digest, "attempt": 1}
            record(session, "result.attested", job, said, "worker")
        world.act(name, world.network.jobs.attest(job, site.id, digest))
    world.settle()


def finish_tasks(session: Session, job: str) -> None:
    query = select(Task).where(Task.job_id == job).order_by(Task.position)
    for task in session.scalars(query):
        task.state, task.started_at, task.ended_at = "SUCCEEDED", time.time(), time.time()
        task.output_digest = an_id(task.position + 200)
        data = {"task": task.id, "step": task.step, "attempt": 1, "output": task.output_digest}
        record(session, "task.finished", job, data, "worker")


def succeeded(world: Consortium) -> str:
    """A job that ended well, with its model registered and both logs anchored after it."""
    job = world.start()
    for n in range(3):
        say(world, job, n)
    conclude(world, job)
    Scheduler(world.bank)._register_model(world.job("bank", job))
    world.settle(5)
    return job


@pytest.fixture(scope="module")
def job(world: Consortium) -> str:
    return succeeded(world)


def evidence_of_all(world: Consortium, job: str) -> list[dict[str, Any]]:
    return [own_evidence(site, job) for site in world.sites.values()]


def resigned(site: ChainSite, evidence: dict[str, Any]) -> dict[str, Any]:
    """Altered evidence, signed again by the one who altered it."""
    import base64

    unsigned = {name: value for name, value in evidence.items() if name != "signature"}
    signature = site.identity.sign(canonical.dumps(unsigned))
    return unsigned | {"signature": base64.b64encode(signature).decode()}


# ── Evidence ─────────────────────────────────────────────────────────────────────────────────


def test_evidence_shows_every_entry_about_the_job_under_the_anchored_head(
    world: Consortium, job: str
) -> None:
    for site in world.sites.values():
        found = own_evidence(site, job)
        assert covers_end(found)
        types = [part["entry"]["type"] for part in found["entries"]]
        assert types.count("fatechain.task.finished.v1") == 4
        assert "fatechain.job.started.v1" in types
        head = world.network.anchors.head_at(site.id, found["anchored"]["size"])
        assert head.root == found["anchored"]["root"]


def test_evidence_of_a_running_job_does_not_cover_its_end(world: Consortium) -> None:
    job = world.start()
    assert not covers_end(own_evidence(world.bank, job))
    world.act("bank", world.network.jobs.cancel(job, world.bank.id, "Done"))
    world.settle(5)
    assert covers_end(own_evidence(world.bank, job))


def test_there_is_no_evidence_of_a_job_that_the_log_does_not_know(world: Consortium) -> None:
    with pytest.raises(NodeError) as refusal:
        own_evidence(world.bank, an_id(99))
    assert refusal.value.code == "NotFound"


def test_a_partners_evidence_is_accepted_as_signed(world: Consortium, job: str) -> None:
    evidence = own_evidence(world.shop, job)
    assert check_evidence(world.bank, job, world.shop.id, evidence) == evidence


@pytest.mark.parametrize(
    "alter",
    [
        lambda e: e | {"issuedAt": "2020-01-01T00:00:00Z"},
        lambda e: e | {"entries": e["entries"][1:]},
        lambda e: e | {"site": an_id(7)},
        lambda e: e | {"job": an_id(7)},
        lambda e: e | {"type": "receipt"},
        lambda e: e | {"signature": "AAAA"},
        lambda e: {name: value for name, value in e.items() if name != "signature"},
        lambda e: [e],
        lambda e: None,
    ],
)
def test_altered_evidence_is_refused(world: Consortium, job: str, alter: Any) -> None:
    evidence = alter(own_evidence(world.shop, job))
    with pytest.raises(NodeError) as refusal:
        check_evidence(world.bank, job, world.shop.id, evidence)
    assert refusal.value.code == "EvidenceInvalid"


def test_evidence_signed_by_another_site_is_refused(world: Consortium, job: str) -> None:
    evidence = own_evidence(world.shop, job) | {"keyId": world.bank.key_id()}
    with pytest.raises(NodeError) as refusal:
        check_evidence(world.bank, job, world.shop.id, resigned(world.bank, evidence))
    assert refusal.value.code == "EvidenceInvalid"


def _with(shown: dict[str, Any], **changed: Any) -> dict[str, Any]:
    return shown | {"entry": shown["entry"] | changed}


def test_evidence_of_another_shape_is_refused_even_if_it_is_signed(
    world: Consortium, job: str
) -> None:
    evidence = own_evidence(world.shop, job)
    for wrong in (
        evidence | {"anchored": None},
        evidence | {"entries": "all"},
        evidence | {"entries": [{"index": -1}]},
        evidence | {"entries": [_with(evidence["entries"][0], type=["a", "list"])]},
        evidence | {"entries": [_with(evidence["entries"][0], data="text")]},
    ):
        with pytest.raises(NodeError) as refusal:
            check_evidence(world.bank, job, world.shop.id, resigned(world.shop, wrong))
        assert refusal.value.code == "EvidenceInvalid"


def _with_step(shown: dict[str, Any], step: Any) -> dict[str, Any]:
    """The entry as its site would have committed to another step."""
    data = {name: value for name, (_, value) in shown["disclosed"].items()} | {"step": step}
    salt = b"s" * SALT_BYTES
    contents = {name: canonical.dumps(value) for name, value in data.items()}
    entry = shown["entry"] | {"data": commit(salt, contents)}
    leaf = "0x" + merkle.leaf_hash(canonical.dumps(entry)).hex()
    return shown | {"entry": entry, "leafHash": leaf, "disclosed": disclose(salt, data)}


def test_a_message_of_another_shape_is_not_kept_and_breaks_no_page(
    world: Consortium, job: str
) -> None:
    evidence = own_evidence(world.shop, job)
    at, shown = next(
        (number, part)
        for number, part in enumerate(evidence["entries"])
        if part["entry"]["type"] == "fatechain.message.received.v1"
    )
    entries = list(evidence["entries"])
    entries[at] = _with_step(shown, "train")
    fitting = resigned(world.shop, evidence | {"entries": list(entries)})
    assert check_evidence(world.bank, job, world.shop.id, fitting) == fitting
    entries[at] = _with_step(shown, [])
    wrong = resigned(world.shop, evidence | {"entries": entries})
    with pytest.raises(NodeError) as refusal:
        check_evidence(world.bank, job, world.shop.id, wrong)
    assert refusal.value.code == "EvidenceInvalid"
    row = PeerEvidence(job_id=job, site=world.shop.id, evidence=wrong)
    with world.bank.store.begin() as session:
        session.merge(row)  # as a node from before may have kept it
    with world.bank.store.read() as session:
        _, told = messages._partners(session, job)
    assert told == set()
    with world.bank.store.begin() as session:
        session.delete(session.get_one(PeerEvidence, (job, world.shop.id)))


# ── The certificate ──────────────────────────────────────────────────────────────────────────


def test_a_certificate_of_a_whole_job_is_issued_and_verifies(world: Consortium, job: str) -> None:
    content = certify(world.bank, job, evidence_of_all(world, job))
    report = verify_certificate(content, world.network)
    assert report.ok, report.failures
    assert verify_alone(content).ok
    found = json.loads(content)
    assert found["reconciliation"]["messages"] == 3
    assert [step["step"] for step in found["steps"]] == ["psi", "train", "evaluate", "result"]
    assert found["model"]["id"] == world.job("bank", job).model_id
    assert read_certificate(world.bank, job) == content
    world.settle()
    kinds = [entry.type for entry in world.bank.log.of_subject(job)]
    assert kinds.count("fatechain.job.certified.v1") == 1
    assert kinds.count("fatechain.reconciliation.made.v1") == 1


def test_only_the_guest_has_the_certificate(world: Consortium, job: str) -> None:
    with pytest.raises(NodeError) as refusal:
        read_certificate(world.shop, job)
    assert refusal.value.code == "NotFound"


def test_a_certificate_that_is_not_made_yet_is_told_as_pending(world: Consortium) -> None:
    job = world.start()
    conclude(world, job)
    with pytest.raises(NodeError) as refusal:
        read_certificate(world.bank, job)
    assert refusal.value.code == "CertificatePending"


def test_logs_that_contradict_each_other_yield_no_certificate(world: Consortium) -> None:
    job = world.start()
    say(world, job, 0)
    say(world, job, 1, received=an_id(77))
    conclude(world, job)
    Scheduler(world.bank)._register_model(world.job("bank", job))
    world.settle(5)
    for _ in range(2):
        with pytest.raises(NodeError) as refusal:
            certify(world.bank, job, evidence_of_all(world, job))
        assert refusal.value.code == "ReconciliationFailed"
    assert world.job("bank", job).certificate is None
    world.settle()
    made = [
        (entry.data or {})["agrees"]
        for entry in world.bank.log.of_subject(job)
        if entry.type == "fatechain.reconciliation.made.v1"
    ]
    assert made == [False]


def test_evidence_that_the_chain_does_not_bear_out_yields_no_certificate(
    world: Consortium, job: str
) -> None:
    bank, shop = evidence_of_all(world, job)
    lied = {**shop, "anchored": {**shop["anchored"], "root": an_id(5)}}
    with pytest.raises(NodeError) as refusal:
        certify(world.bank, job, [bank, resigned(world.shop, lied)])
    assert refusal.value.code == "ReconciliationFailed"
    assert refusal.value.found == world.shop.id
    assert "$.logs[1]" in refusal.value.detail
