"""What is erased is gone from the database, and everything that was proved still is."""

from __future__ import annotations

import base64
import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from chain import canonical, merkle
from chain.disputes import dispute_id
from chain.entries import open_entry
from chain.erasures import to_file, verify_erasure, verify_receipt
from chain.errors import VerificationFailed
from chain.evidence import verify_certificate
from chain.standalone import verify_alone
from node.audit.entries import acting_as, record
from node.audit.erasure import EVIDENCE_SECONDS, MAX_REASON, Erased, erase, receipts
from node.certificate import certify
from node.cli.verification import verify_file_alone
from node.errors import NodeError
from node.evidence import check_evidence, own_evidence
from node.store import AuditEntry, AuditPayload, LocalJob, PayloadKey
from tests.node import consortium
from tests.node.consortium import ChainSite, Consortium
from tests.node.face import is_problem, operator
from tests.node.test_certificate import evidence_of_all, succeeded
from tests.node.test_specification import an_id
from tests.node.told import task, told

REASON = "the contract with the customer ended"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    chain, deployment = consortium.found()
    world = consortium.assemble(chain, deployment, tmp_path_factory.mktemp("sites"))
    yield world
    world.close()


@pytest.fixture(scope="module")
def job(world: Consortium) -> str:
    """A job that succeeded and has no certificate yet."""
    return succeeded(world)


def enter(site: ChainSite, scope: str, count: int = 3) -> None:
    """Entries about something that nobody needs."""
    with site.store.begin() as session:
        for n in range(count):
            record(session, "task.started", scope, task(n), "worker")
    while site.log.sequence():
        pass


def refused(site: ChainSite, scope: str, code: str) -> None:
    with pytest.raises(NodeError) as refusal:
        erase(site, scope, REASON)
    assert refusal.value.code == code
    with site.store.read() as session:
        assert receipts(session, scope) == []


def on_disk(site: ChainSite, *pieces: bytes) -> bool:
    """Whether the database's files hold any of this."""
    database = Path(str(site.store.engine.url.database))
    files = [path.read_bytes() for path in database.parent.glob(database.name + "*")]
    return any(piece in content for piece in pieces for content in files)


def secrets_of(site: ChainSite, scope: str) -> list[bytes]:
    """The scope's key and the first of its sealed payloads."""
    with site.store.read() as session:
        key = session.scalars(select(PayloadKey).where(PayloadKey.scope == scope)).one()
        sealed = session.scalars(
            select(AuditPayload.sealed).where(AuditPayload.key_id == key.id)
        ).all()
        return [key.key, *(content[-40:] for content in sealed)]


def holds(site: ChainSite, receipt: dict[str, Any]) -> None:
    """Its key signed it, and the log has the leaves."""
    verify_receipt(receipt, site.identity.audit_public, lambda i: site.log.entry(i).leaf_hash)


# ── A job that is over ───────────────────────────────────────────────────────────────────────


def test_a_job_that_was_certified_is_erased_and_everything_still_proves(
    world: Consortium, job: str
) -> None:
    bank = world.bank
    refused(bank, job, "EvidenceNeeded")
    certificate = certify(bank, job, evidence_of_all(world, job))
    world.settle()
    entries = bank.log.of_subject(job)
    size, root = bank.log.size, bank.log.root()
    proofs = {entry.index: bank.log.inclusion_proof(entry.index, size) for entry in entries}
    secret = secrets_of(bank, job)
    assert on_disk(bank, secret[0])

    with acting_as("0xada"):
        done = erase(bank, job, REASON)

    assert isinstance(done, Erased)
    assert done.journal_cut
    assert not on_disk(bank, *secret)
    assert bank.log.root(size) == root
    for entry in bank.log.of_subject(job)[: len(entries)]:
        proof = proofs[entry.index]
        assert merkle.verify_inclusion(root, size, entry.index, entry.leaf_hash, proof)
        assert (entry.data, entry.is_erased) == (None, True)
    while bank.log.sequence():
        pass
    assert bank.log.verify() == []
    assert bank.log.payload_faults() == []
    assert verify_certificate(certificate, world.network).ok
    assert verify_alone(certificate).ok
    holds(bank, done.receipt)
    assert done.receipt["count"] == len(entries)
    assert (done.receipt["actor"], done.receipt["reason"]) == ("0xada", REASON)
    (entered,) = told(bank, "payload.erased", job)
    assert entered["id"] == done.receipt["entry"]
    assert entered["actor"] == "0xada"
    assert entered["data"] == {name: done.receipt[name] for name in ("count", "digest", "reason")}
    refused_again(bank, job)


def refused_again(site: ChainSite, scope: str) -> None:
    with pytest.raises(NodeError) as refusal:
        erase(site, scope, REASON)
    assert refusal.value.code == "ScopeUnknown"


def test_evidence_of_what_was_erased_shows_leaves_alone_and_is_accepted(
    world: Consortium, job: str
) -> None:
    evidence = own_evidence(world.bank, job)
    erased = [part for part in evidence["entries"] if not part["disclosed"]]
    assert len(erased) > 10
    assert all(open_entry(part) == {} for part in erased)
    assert check_evidence(world.shop, job, world.bank.id, evidence) == evidence


# ── What stands against it ───────────────────────────────────────────────────────────────────


def test_a_host_keeps_what_the_guest_needs_for_a_day(world: Consortium, job: str) -> None:
    refused(world.shop, job, "EvidenceNeeded")
    with world.shop.store.begin() as session:
        ended = session.get_one(LocalJob, job).ended_at
        assert ended is not None
        session.execute(
            update(LocalJob).where(LocalJob.id == job).values(ended_at=ended - EVIDENCE_SECONDS)
        )
    holds(world.shop, erase(world.shop, job, REASON).receipt)


def test_a_job_that_runs_and_its_data_and_grants_cannot_be_erased(world: Consortium) -> None:
    job = world.start()
    world.settle()
    specification = world.job("bank", job).specification
    assert specification is not None
    used = [use for party in specification["parties"] for use in party["inputs"]]
    scopes = {job, *(use["dataset"] for use in used), *(use["grant"] for use in used)}
    for scope in scopes - {None}:
        enter(world.bank, scope, 1)
        refused(world.bank, scope, "JobNotOver")
    world.act("bank", world.network.jobs.cancel(job, world.bank.id, "Done"))
    world.settle(5)
    holds(world.bank, erase(world.bank, job, REASON).receipt)


def test_what_an_open_dispute_is_about_cannot_be_erased(world: Consortium) -> None:
    bank, network = world.bank, world.network
    subject = an_id(900)
    enter(bank, subject)
    respondent = network.sites.site(world.shop.id).member
    opened = network.disputes.open(respondent, "job", subject, an_id(901), 77)
    world.act("bank", opened)
    refused(bank, subject, "DisputeOpen")
    at, account = network.disputes.address, bank.identity.address
    id = dispute_id(network.client.chain_id, at, account, 77)
    world.act("bank", network.disputes.withdraw(id))
    holds(bank, erase(bank, subject, REASON).receipt)


def test_entries_that_have_no_place_yet_are_waited_for(world: Consortium) -> None:
    scope = an_id(902)
    enter(world.bank, scope)
    with world.bank.store.begin() as session:
        record(session, "task.started", scope, task(), "worker")
    refused(world.bank, scope, "EntriesPending")
    while world.bank.log.sequence():
        pass
    assert erase(world.bank, scope, REASON).receipt["count"] == 4


def test_nothing_unknown_and_nothing_that_tells_of_erasures_is_erased(world: Consortium) -> None:
    refused(world.bank, an_id(903), "ScopeUnknown")
    refused(world.bank, "urn:fatechain:erasures", "ScopeKept")
    for reason in ("", "x" * (MAX_REASON + 1)):
        with pytest.raises(NodeError, match="InvalidRequest"):
            erase(world.bank, an_id(903), reason)


# ── Afterwards ───────────────────────────────────────────────────────────────────────────────


def test_what_is_recorded_of_a_scope_after_its_erasure_is_sealed_with_a_new_key(
    world: Consortium,
) -> None:
    scope = an_id(904)
    enter(world.bank, scope)
    first = secrets_of(world.bank, scope)[0]
    erase(world.bank, scope, REASON)
    enter(world.bank, scope, 1)
    assert secrets_of(world.bank, scope)[0] != first
    assert [entry.is_erased for entry in world.bank.log.of_subject(scope)][:3] == [True] * 3
    assert world.bank.log.of_subject(scope)[-1].data == task(0)
    erase(world.bank, scope, REASON)
    with world.bank.store.read() as session:
        assert [receipt["count"] for receipt in receipts(session, scope)] == [3, 1]


def test_rows_and_key_that_somebody_put_back_are_named_and_not_shown(world: Consortium) -> None:
    bank, scope = world.bank, an_id(905)
    enter(bank, scope)
    with bank.store.read() as session:
        key = session.scalars(select(PayloadKey).where(PayloadKey.scope == scope)).one()
        rows = session.scalars(select(AuditPayload).where(AuditPayload.key_id == key.id)).all()
        copies = [{"id": row.id, "key_id": row.key_id, "sealed": row.sealed} for row in rows]
    erase(bank, scope, REASON)
    with bank.store.begin() as session:
        session.add(PayloadKey(id=key.id, scope=scope, key=key.key))
        session.flush()
        session.add_all(AuditPayload(**row) for row in copies)
    entries = [entry for entry in bank.log.of_subject(scope) if entry.is_erased]
    assert [entry.data for entry in entries] == [None] * 3
    assert [fault.index for fault in bank.log.payload_faults()] == [e.index for e in entries]
    with bank.store.begin() as session:  # for the tests that follow
        session.query(AuditPayload).filter_by(key_id=key.id).delete()
        session.query(PayloadKey).filter_by(id=key.id).delete()


# ── Asked for over the API and seen there ────────────────────────────────────────────────────


async def test_an_operator_erases_over_the_api_and_sees_that_it_is_erased(
    world: Consortium,
) -> None:
    scope = an_id(908)
    enter(world.bank, scope, 2)
    index = world.bank.log.of_subject(scope)[0].index
    async with operator(world.bank) as node:
        assert (await node.get(f"/v1/audit/entries/{index}")).json()["payload"] == "open"
        asked = {"scope": scope, "reason": REASON}
        made = await node.post("/v1/audit/erasures", json=asked)
        assert made.status_code == 201
        again = await node.post("/v1/audit/erasures", json=asked)
        is_problem(again, 404, "ScopeUnknown")
        shown = (await node.get(f"/v1/audit/entries/{index}")).json()
        listed = (await node.get(f"/v1/audit/erasures?scope={scope}")).json()
        page = (await node.get(f"/log/{index}")).text
    assert (shown["payload"], shown["data"], shown["disclosed"]) == ("erased", None, {})
    assert shown["proof"]["verified"]
    assert listed["items"] == [made.json()["receipt"]]
    assert "has been erased" in page
    holds(world.bank, made.json()["receipt"])


def test_no_word_of_it_is_left_in_the_search_index(world: Consortium) -> None:
    scope, word = an_id(910), b"qzxvblorb"
    with world.bank.store.begin() as session:
        data = {"intent": "none", "reason": an_id(911), "reasonText": f"said {word.decode()}"}
        record(session, "brake.pulled", scope, data, "operator")
    world.settle(2)
    assert on_disk(world.bank, word)
    assert erase(world.bank, scope, REASON).journal_cut
    assert not on_disk(world.bank, word)


async def test_a_payload_that_was_taken_away_or_changed_is_shown_in_red(world: Consortium) -> None:
    scope = an_id(909)
    enter(world.bank, scope, 2)
    one, two = world.bank.log.of_subject(scope)
    with world.bank.store.begin() as session:
        session.query(AuditPayload).filter_by(id=one.id).delete()
        session.get_one(AuditPayload, two.id).sealed = b"something else"
    async with operator(world.bank) as node:
        pages = [(await node.get(f"/log/{entry.index}")).text for entry in (one, two)]
        listed = (await node.get(f"/v1/audit/entries?subject={scope}")).json()["items"]
    assert [entry["payload"] for entry in listed] == ["altered", "missing"]
    assert "no erasure tells of it" in pages[0]
    assert "somebody changed it" in pages[1]
    assert [fault.index for fault in world.bank.log.payload_faults()] == [one.index, two.index]


# ── Receipts ─────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def receipt(world: Consortium) -> dict[str, Any]:
    scope = an_id(906)
    enter(world.bank, scope, 2)
    enter(world.bank, an_id(907), 1)
    enter(world.bank, scope, 2)
    return erase(world.bank, scope, REASON).receipt


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda r: r.update(reason="another"), "$.signature"),
        (lambda r: r.update(count=3), "$.signature"),
        (lambda r: r.update(signature="AAAA"), "$.signature"),
        (lambda r: r.update(signature="ü"), "$.signature"),
        (lambda r: r.update(more=1), "$.more"),
        (lambda r: r.update(type="receipt"), "$.type"),
        (lambda r: r.update(count=True), "$.count"),
        (lambda r: r.update(entries=[[0, -1]]), "$.entries.0.1"),
        (lambda r: r.update(entries=None), "$.entries"),
        (lambda r: r.pop("digest"), "$.digest"),
        (lambda r: r.update(reason="\ud800"), "$.reason"),
    ],
)
def test_a_receipt_that_was_changed_is_refused(
    world: Consortium,
    receipt: dict[str, Any],
    change: Callable[[dict[str, Any]], Any],
    where: str,
) -> None:
    changed = copy.deepcopy(receipt)
    change(changed)
    with pytest.raises(VerificationFailed) as refusal:
        verify_receipt(changed, world.bank.identity.audit_public)
    assert refusal.value.where == where


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda r: r.update(entries=r["entries"][::-1]), "$.entries[1]"),
        (lambda r: r.update(entries=[*r["entries"], [5]]), "$.entries[2]"),
        (lambda r: r.update(count=9), "$.count"),
        (lambda r: r.update(digest=an_id(1)), "$.digest"),
        (lambda r: r.update(entries=[[0, 3]]), "$.digest"),
    ],
)
def test_a_site_that_signs_a_lie_about_its_log_is_found(
    world: Consortium,
    receipt: dict[str, Any],
    change: Callable[[dict[str, Any]], Any],
    where: str,
) -> None:
    assert len(receipt["entries"]) == 2
    lied = {name: value for name, value in copy.deepcopy(receipt).items() if name != "signature"}
    change(lied)
    signature = world.bank.identity.sign_audit(canonical.dumps(lied))
    lied["signature"] = base64.b64encode(signature).decode()
    with pytest.raises(VerificationFailed) as refusal:
        holds(world.bank, lied)
    assert refusal.value.where == where


def test_the_file_of_a_receipt_is_verified_with_the_key_on_the_chain(
    world: Consortium, receipt: dict[str, Any], tmp_path: Path
) -> None:
    content = to_file(receipt)
    report = verify_erasure(content, world.network)
    assert report.ok
    assert [check.name for check in report.checks] == ["format", "signature"]
    file = tmp_path / "receipt.json"
    file.write_bytes(content)
    told = verify_file_alone(file)
    assert (told["ok"], told["kind"]) == (True, "receipt of erasure")
    assert set(told["unchecked"]) == {"signature", "digest"}


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        (b'"count":4', b'"count":5', "$.count"),
        (b'"reason":"the', b'"reason":"The', "$.signature"),
        (b'"keyId":"0x', b'"keyId":"0y', "$.keyId"),
        (b'"type":"erasure"', b'"type":"erasures"', "$.type"),
        (b"{", b"[", "$"),
        (b"{", b"{ ", "$"),
        (b"\n", b"\n\n", "$"),
    ],
)
def test_the_file_of_a_receipt_that_was_changed_is_a_failed_check(
    world: Consortium, receipt: dict[str, Any], old: bytes, new: bytes, where: str
) -> None:
    changed = to_file(receipt).replace(old, new, 1)
    (failed,) = verify_erasure(changed, world.network).failures
    assert failed.where == where


def test_a_key_that_the_site_does_not_have_is_named(
    world: Consortium, receipt: dict[str, Any]
) -> None:
    for change in ({"keyId": an_id(3)}, {"site": world.shop.id}, {"site": an_id(3)}):
        (failed,) = verify_erasure(to_file(receipt | change), world.network).failures
        assert failed.name == "signature"


def test_a_receipt_of_another_key_is_refused(world: Consortium, receipt: dict[str, Any]) -> None:
    with pytest.raises(VerificationFailed):
        verify_receipt(receipt, world.shop.identity.audit_public)
    with pytest.raises(VerificationFailed):
        verify_receipt(receipt, b"short")


def test_leaves_of_erased_entries_are_those_of_before(
    world: Consortium, receipt: dict[str, Any]
) -> None:
    with world.bank.store.read() as session:
        for first, last in receipt["entries"]:
            rows = session.scalars(select(AuditEntry).where(AuditEntry.index.between(first, last)))
            for row in rows:
                assert row.leaf_hash == merkle.leaf_hash(row.entry)
