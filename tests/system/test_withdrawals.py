"""What is withdrawn while a job runs stops it at every party, which all say so with a receipt."""

from __future__ import annotations

from typing import Any

import pytest

from chain import canonical
from node.demo.stage import Institution
from node.demo.story import Story
from node.errors import NodeError
from tests.system.test_failures import ended_at, processes

pytestmark = pytest.mark.system

# Longer than a vote, which trees over lattice products are not.
LONG = {"n_estimators": 400, "max_depth": 3, "learning_rate": 0.1, "scheme": "paillier"}


def trains(story: Story, job_id: str) -> None:
    """Wait until the first tree is being grown at the bank, however busy the machine is."""
    bank = story.institution("bank")

    def has_begun() -> bool:
        tasks = {task["step"]: task for task in bank.api.get(f"/v1/jobs/{job_id}")["tasks"]}
        return "train" in tasks and tasks["train"]["done"] > 0

    story.stage.until("training has begun", has_begun, within=900)


def stops(story: Story, site: Institution, job_id: str) -> dict[str, dict[str, Any]]:
    """The receipts of both parties as this site shows them."""

    def both() -> dict[str, dict[str, Any]] | None:
        shown = site.api.get(f"/v1/jobs/{job_id}")["stops"]
        signed = {stop["site"]["id"]: stop for stop in shown if stop["receipt"] is not None}
        return signed if len(signed) == 2 else None

    found: dict[str, dict[str, Any]] = story.stage.until(f"{site.name} has both receipts", both)
    return found


def stopped_everywhere(story: Story, job_id: str, reason: str) -> None:
    """Both parties ended, acknowledged, and have each other's word for the reason."""
    bank, retailer = story.institution("bank"), story.institution("retailer")
    for site in (bank, retailer):
        assert ended_at(story, job_id, site)["state"] in ("FAILED", "CANCELLED")
        found = stops(story, site, job_id)
        assert set(found) == {bank.site, retailer.site}
        for stop in found.values():
            assert stop["reason"] == reason
            assert stop["seconds"] is not None
        assert not processes(site.home, "conversation")
    theirs = stops(story, bank, job_id)[retailer.site]["receipt"]
    [entry] = [
        entry["data"]
        for entry in bank.api.items("/v1/audit/entries", subject=job_id)
        if entry["type"] == "fatechain.stop.received.v1"
    ]
    assert entry["digest"] == canonical.digest_of(theirs)


def test_a_revoked_grant_is_acknowledged_by_both_and_the_initiator_sees_why(story: Story) -> None:
    kept = story.grant
    try:
        story.give_grant(uses=1, product_budget=1_000_000)
        revoked = story.grant
        job_id = story.agree(params=LONG)
    finally:
        story.grant = kept
    trains(story, job_id)
    story.institution("retailer").api.post(f"/v1/grants/{revoked}/revoke", wait=60)
    stopped_everywhere(story, job_id, "GrantRevoked")


def test_a_suspension_by_vote_stops_the_members_running_job(story: Story) -> None:
    job_id = story.agree(params=LONG)
    trains(story, job_id)
    story.stage.suspend("retailer")
    try:
        stopped_everywhere(story, job_id, "MemberNotActive")
        with pytest.raises(NodeError) as refusal:
            story.institution("bank").api.post("/v1/jobs", story.request(), wait=60)
        assert refusal.value.code == "MemberNotActive"
    finally:
        story.stage.reinstate("retailer")
    job = story.await_end(story.agree())
    assert job["state"] == "SUCCEEDED", job["reason"]


def test_a_revoked_request_key_stops_the_job_and_its_holder_still_says_so(story: Story) -> None:
    job_id = story.agree(params=LONG)
    trains(story, job_id)
    story.stage.revoke_key("retailer")
    try:
        stopped_everywhere(story, job_id, "KeyRevoked")
    finally:
        story.stage.renew_key("retailer")
    job = story.await_end(story.agree())
    assert job["state"] == "SUCCEEDED", job["reason"]


def test_a_standing_rule_approves_what_a_person_need_not(story: Story) -> None:
    bank, retailer = story.institution("bank"), story.institution("retailer")
    rule = retailer.api.post(
        "/v1/approval-rules",
        {
            "name": "the bank's trainings",
            "proposers": [bank.member],
            "algorithms": ["secureboost"],
            "purposes": ["training"],
            "datasets": [story.datasets["retailer"]],
            "expires_in": 3600,
        },
    )
    try:
        job_id = bank.api.post("/v1/jobs", story.request(), wait=60)["id"]
        job = story.await_end(job_id)
    finally:
        retailer.api.post(f"/v1/approval-rules/{rule['id']}/remove")
    assert job["state"] == "SUCCEEDED", job["reason"]
    approval = retailer.api.get(f"/v1/jobs/{job_id}")["approval"]
    assert (approval["how"], approval["rule_id"]) == ("rule", rule["id"])
