"""A whole job between real nodes, and what must be refused on the way."""

from __future__ import annotations

import json
from typing import Any

import pytest
import rfc8785

from node.client import Client
from node.demo.browser import Seen
from node.demo.story import Story
from node.errors import NodeError

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def finished(story: Story) -> Story:
    story.run_job()
    story.certify()
    return story


def verify(story: Story, certificate: bytes) -> dict[str, Any]:
    """What `fatechain verify` says of these bytes."""
    path = story.stage.root / "changed.json"
    path.write_bytes(certificate)
    return story.stage.verify(path)


def test_a_job_ends_with_a_model_a_result_that_both_attest_and_a_certificate(
    finished: Story,
) -> None:
    job = finished.outcome.job
    assert job["chain"]["state"] == "SUCCEEDED"
    assert {party["attested"] for party in job["parties"]} == {job["result"]["digest"]}
    assert job["model_id"] is not None
    assert [task["state"] for task in job["tasks"]] == ["SUCCEEDED"] * 4
    assert finished.outcome.verification["ok"]


def test_both_sides_entered_the_same_messages(finished: Story) -> None:
    bank, retailer = finished.institution("bank"), finished.institution("retailer")
    job_id = finished.outcome.job["id"]

    def entered(kind: str, site: Any) -> set[tuple[Any, ...]]:
        entries = site.api.items(
            "/v1/audit/entries", type=f"fatechain.message.{kind}.v1", subject=job_id
        )
        keys = ("step", "attempt", "sender", "receiver", "messageKind", "n", "digest")
        return {tuple(entry["data"][key] for key in keys) for entry in entries}

    assert entered("sent", bank) == entered("received", retailer) != set()
    assert entered("sent", retailer) == entered("received", bank) != set()
    told = finished.outcome.reconciliation
    assert told["agrees"] is True
    assert [told[name] for name in ("approvals", "grantUses", "results")] == [2, 1, 2]


def test_every_party_reconciled_all_logs_by_itself(finished: Story) -> None:
    path = f"/v1/jobs/{finished.outcome.job['id']}"
    for name in ("bank", "retailer"):
        node = finished.institution(name).api

        def reconciled(node: Client = node) -> Any:
            return node.get(path)["reconciliation"]

        found = finished.stage.until("reconciliation", reconciled)
        assert found["agrees"], found["differences"]
        assert found["digest"] == finished.outcome.reconciliation["digest"]


def test_the_auditor_sees_the_job_and_verifies_its_certificate_in_a_browser(
    finished: Story,
) -> None:
    finished.look()
    seen = finished.outcome.seen
    assert isinstance(seen, Seen)
    assert "secureboost" in seen.headline
    assert seen.roles == ("auditor",)
    bank = finished.institution("bank")
    about = {"subject": finished.outcome.job["id"], "type": "fatechain.evidence.read.v1"}
    assert [entry["data"]["route"] for entry in bank.api.items("/v1/audit/entries", **about)]
    assert seen.checks > 0
    assert seen.failed == 0
    assert all(picture.stat().st_size for picture in seen.pictures)


def test_a_line_removed_from_a_log_by_hand_is_found_and_the_log_holds_again(
    finished: Story,
) -> None:
    finished.remove_a_line()
    removal = finished.outcome.removal
    assert removal is not None
    assert removal.found[0]["index"] == removal.index
    assert removal.alert["subject"] == finished.institution("retailer").site
    assert f"/{removal.index // 256:03}" in removal.alert["evidence"]["place"]
    assert finished.stage.verify_log("retailer")["faults"] == []


def test_the_auditor_finds_a_change_anywhere_in_the_certificate(finished: Story) -> None:
    assert finished.outcome.certificate is not None
    body = finished.outcome.certificate.read_bytes()
    assert verify(finished, body)["ok"]
    step = max(len(body) // 12, 1)
    for position in range(7, len(body) - 1, step):
        changed = bytearray(body)
        changed[position] ^= 1
        report = verify(finished, bytes(changed))
        assert not report["ok"], f"byte {position} was changed and nobody noticed"


def test_a_certificate_with_another_auc_is_refused_and_the_place_named(finished: Story) -> None:
    assert finished.outcome.certificate is not None
    document = json.loads(finished.outcome.certificate.read_bytes())
    document["result"]["metrics"]["joint"]["auc"] = 0.99
    report = verify(finished, rfc8785.dumps(document) + b"\n")
    assert not report["ok"]
    failed = [check["where"] for check in report["checks"] if not check["ok"]]
    assert any("result" in where for where in failed), failed


def test_a_model_scores_new_rows_under_a_grant_for_prediction(finished: Story) -> None:
    bank, retailer = finished.institution("bank"), finished.institution("retailer")
    grant = retailer.api.post(
        "/v1/grants",
        {
            "dataset": finished.datasets["retailer"],
            "grantee": bank.member,
            "purposes": ["prediction"],
            "algorithms": ["secureboost"],
            "uses": 1,
        },
        wait=60,
    )["id"]
    request = finished.request()
    request["parties"][1]["inputs"][0]["grant"] = grant
    wanted = {"model": finished.outcome.job["model_id"], "parties": request["parties"]}
    job_id = bank.api.post("/v1/predictions", wanted, wait=60)["id"]
    finished.await_specification(retailer, job_id)
    retailer.api.post(f"/v1/jobs/{job_id}/approve", wait=60)
    job = finished.await_end(job_id)
    assert job["state"] == "SUCCEEDED", job["reason"]
    shown = bank.api.get(f"/v1/predictions/{job_id}", limit=5)
    assert len(shown["scores"]) == 5
    assert all(0 <= float(row["score"]) <= 1 for row in shown["scores"])
    assert retailer.api.get(f"/v1/predictions/{job_id}")["scores"] == [], "the guest alone has them"


def test_refusals_name_their_reason(finished: Story) -> None:
    finished.outcome.refusals.clear()
    finished.refuse_without_grant()
    finished.refuse_changed_specification()
    codes = [refusal.code for refusal in finished.outcome.refusals]
    assert codes == ["GrantMissing", "SpecificationMismatch"]


def test_a_grant_for_training_is_none_for_prediction(finished: Story) -> None:
    bank = finished.institution("bank")
    for purpose, code in (("credit-risk", "GrantWrongPurpose"), ("marketing", "PurposeNotAllowed")):
        with pytest.raises(NodeError) as refusal:
            bank.api.post("/v1/jobs", finished.request() | {"purpose": purpose}, wait=60)
        assert refusal.value.code == code


def test_a_rejected_job_never_runs(finished: Story) -> None:
    bank, retailer = finished.institution("bank"), finished.institution("retailer")
    job_id = bank.api.post("/v1/jobs", finished.request(), wait=60)["id"]
    finished.await_specification(retailer, job_id)
    retailer.api.post(f"/v1/jobs/{job_id}/reject", {"reason": "NotThisTime"}, wait=60)
    job = finished.await_end(job_id)
    assert job["state"] == "REJECTED"
    assert "NotThisTime" in job["reason"]
    assert job["tasks"] == []
