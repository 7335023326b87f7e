"""Jobs, messages, predictions and the log over HTTP, from rows as a running site has them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from fastapi import FastAPI

from chain import merkle
from node.api.app import create_app
from node.site import Site
from node.store import Anchor, LocalModel, Task
from tests.node.face import (
    OWN,
    PARTNER,
    add_entries,
    add_evidence,
    add_job,
    add_received,
    add_sent,
    add_work,
    is_problem,
    make_site,
    new_id,
    operator,
    told_message,
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with make_site(tmp_path_factory.mktemp("jobs") / "bank") as site:
        yield site


@pytest.fixture(scope="module")
def app(site: Site) -> FastAPI:
    return create_app(site.settings.home, site)


@pytest.fixture
async def api(site: Site, app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with operator(site, app) as client:
        yield client


# ── Jobs ─────────────────────────────────────────────────────────────────────────────────────


async def test_jobs_are_filtered_by_state_and_kind(api: httpx.AsyncClient, site: Site) -> None:
    wanted = add_job(site, "REJECTED", kind="predict")
    add_job(site, "REJECTED")
    query = {"state": "REJECTED", "kind": "predict"}
    found = (await api.get("/v1/jobs", params=query)).json()["items"]
    assert [job["id"] for job in found] == [wanted]


async def test_a_state_that_does_not_exist_is_refused(api: httpx.AsyncClient) -> None:
    is_problem(await api.get("/v1/jobs", params={"state": "HAPPY"}), 422, "InvalidRequest")


async def test_a_job_shows_its_parties_steps_and_curves(api: httpx.AsyncClient, site: Site) -> None:
    id = add_job(site)
    add_work(site, id)
    job = (await api.get(f"/v1/jobs/{id}")).json()
    assert [(p["site"]["id"], p["role"], p["mine"]) for p in job["parties"]] == [
        (OWN, "guest", True),
        (PARTNER, "host", False),
    ]
    assert [(t["step"], t["state"], t["done"], t["total"]) for t in job["tasks"]] == [
        ("psi", "SUCCEEDED", 0, 0),
        ("train", "RUNNING", 2, 7),
    ]
    assert job["curves"] == [
        {"step": "train", "name": "loss", "points": [[0, 0.69], [1, 0.5], [2, 0.4]]}
    ]


async def test_a_job_is_shown_while_the_chain_is_away(api: httpx.AsyncClient, site: Site) -> None:
    job = (await api.get(f"/v1/jobs/{add_job(site)}")).json()
    assert job["chain"] is None
    assert "consortium" in job["chain_problem"]


async def test_an_unknown_job_is_not_found(api: httpx.AsyncClient) -> None:
    for path in ("", "/logs", "/messages", "/certificate"):
        is_problem(await api.get(f"/v1/jobs/{new_id()}{path}"), 404, "NotFound")


async def test_a_certificate_is_the_file_byte_for_byte(api: httpx.AsyncClient, site: Site) -> None:
    folder = site.settings.jobs / "certified"
    folder.mkdir()
    (folder / "certificate.json").write_bytes(b'{"b":1,"a":2}\n')
    id = add_job(site, "SUCCEEDED", certificate="jobs/certified/certificate.json")
    answer = await api.get(f"/v1/jobs/{id}/certificate")
    assert answer.content == b'{"b":1,"a":2}\n'
    assert "attachment" in answer.headers["content-disposition"]


async def test_a_job_without_certificate_says_who_issues_it(
    api: httpx.AsyncClient, site: Site
) -> None:
    problem = is_problem(await api.get(f"/v1/jobs/{add_job(site)}/certificate"), 404, "NotFound")
    assert "guest" in problem["hint"]


async def test_a_job_that_is_over_cannot_be_cancelled(api: httpx.AsyncClient, site: Site) -> None:
    id = add_job(site, "SUCCEEDED")
    answer = await api.post(f"/v1/jobs/{id}/cancel", json={})
    # Without a consortium nobody can be told; with one it is the job's state that forbids it.
    is_problem(answer, 409, "NotConfigured")


async def test_a_reason_is_a_word_that_the_chain_can_keep(
    api: httpx.AsyncClient, site: Site
) -> None:
    answer = await api.post(f"/v1/jobs/{add_job(site)}/reject", json={"reason": "é" * 10})
    is_problem(answer, 422, "InvalidRequest")


async def test_a_proposal_of_another_form_is_refused(api: httpx.AsyncClient) -> None:
    is_problem(await api.post("/v1/jobs", json={"parties": []}), 422, "InvalidRequest")


async def test_logs_of_a_job_are_the_entries_about_it(api: httpx.AsyncClient, site: Site) -> None:
    id = add_job(site)
    add_entries(site, 2, "task.started", id)
    add_entries(site, 1, "task.finished", id)
    add_entries(site, 3)
    logs = (await api.get(f"/v1/jobs/{id}/logs")).json()["items"]
    assert [entry["type"] for entry in logs] == [
        "fatechain.task.finished.v1",
        "fatechain.task.started.v1",
        "fatechain.task.started.v1",
    ]


# ── Messages of both sides ───────────────────────────────────────────────────────────────────


async def _agreement(api: httpx.AsyncClient, job: str) -> list[tuple[int, bool | None]]:
    found = (await api.get(f"/v1/jobs/{job}/messages")).json()["items"]
    return [(message["n"], message["agree"]) for message in found]


async def test_a_message_stands_alone_until_the_partner_shows_its_log(
    api: httpx.AsyncClient, site: Site
) -> None:
    job = add_job(site)
    add_sent(site, job, 0, new_id())
    add_received(site, job, 1, new_id())
    assert await _agreement(api, job) == [(0, None), (1, None)]


async def test_equal_digests_agree_and_others_do_not(api: httpx.AsyncClient, site: Site) -> None:
    job, digests = add_job(site), [new_id() for _ in range(3)]
    add_sent(site, job, 0, digests[0])
    add_received(site, job, 1, digests[1])
    add_sent(site, job, 2, digests[2])
    add_evidence(
        site,
        job,
        told_message("received", 0, digests[0]),
        told_message("sent", 1, digests[1]),
        told_message("received", 2, new_id()),
    )
    assert await _agreement(api, job) == [(0, True), (1, True), (2, False)]


async def test_what_a_whole_log_leaves_out_does_not_agree(
    api: httpx.AsyncClient, site: Site
) -> None:
    job = add_job(site)
    add_sent(site, job, 0, new_id())
    add_evidence(site, job)
    assert await _agreement(api, job) == [(0, False)]


async def test_what_a_log_leaves_out_before_the_end_is_not_held_against_it(
    api: httpx.AsyncClient, site: Site
) -> None:
    job = add_job(site)
    add_sent(site, job, 0, new_id())
    add_evidence(site, job, ended=False)
    assert await _agreement(api, job) == [(0, None)]


async def test_what_only_the_partner_tells_is_shown_last(
    api: httpx.AsyncClient, site: Site
) -> None:
    job, digest = add_job(site), new_id()
    add_received(site, job, 0, digest)
    add_evidence(site, job, told_message("sent", 9, new_id()), told_message("sent", 0, digest))
    assert await _agreement(api, job) == [(0, True), (9, None)]


async def test_messages_come_in_pages(api: httpx.AsyncClient, site: Site) -> None:
    job = add_job(site)
    for n in range(3):
        add_sent(site, job, n, new_id())
    first = (await api.get(f"/v1/jobs/{job}/messages", params={"limit": 2})).json()
    query = {"limit": 2, "cursor": first["next"]}
    second = (await api.get(f"/v1/jobs/{job}/messages", params=query)).json()
    assert [m["n"] for m in first["items"] + second["items"]] == [0, 1, 2]
    assert second["next"] is None


# ── Models and predictions ───────────────────────────────────────────────────────────────────


async def test_models_show_the_metrics_of_their_job(api: httpx.AsyncClient, site: Site) -> None:
    model = new_id("ee")
    job = add_job(site, "SUCCEEDED", model_id=model, result={"metrics": {"joint": {"auc": 0.7}}})
    with site.store.begin() as session:
        session.add(
            LocalModel(
                job_id=job,
                model_id=model,
                algorithm="secureboost",
                role="guest",
                part_digest=new_id(),
                path="x",
            )
        )
    by_id = (await api.get(f"/v1/models/{model}")).json()
    by_job = (await api.get(f"/v1/models/{job}")).json()
    assert by_id == by_job
    assert by_id["metrics"] == {"joint": {"auc": 0.7}}
    assert by_id in (await api.get("/v1/models")).json()["items"]


async def test_a_prediction_shows_its_scores_in_pages(api: httpx.AsyncClient, site: Site) -> None:
    job = add_job(site, "SUCCEEDED", kind="predict")
    folder = site.settings.jobs / job / "1" / "predict"
    folder.mkdir(parents=True)
    (folder / "predictions.csv").write_text("id,score\na,0.250000\nb,0.500000\nc,0.750000\n")
    first = (await api.get(f"/v1/predictions/{job}", params={"limit": 2})).json()
    assert first["rows"] == 3
    assert first["scores"] == [{"id": "a", "score": 0.25}, {"id": "b", "score": 0.5}]
    query = {"limit": 2, "cursor": first["next"]}
    second = (await api.get(f"/v1/predictions/{job}", params=query)).json()
    assert (second["scores"], second["next"]) == ([{"id": "c", "score": 0.75}], None)


async def test_a_prediction_without_scores_yet_has_none(api: httpx.AsyncClient, site: Site) -> None:
    job = add_job(site, "RUNNING", kind="predict")
    found = (await api.get(f"/v1/predictions/{job}")).json()
    assert (found["rows"], found["scores"]) == (None, [])


async def test_a_training_is_no_prediction(api: httpx.AsyncClient, site: Site) -> None:
    is_problem(await api.get(f"/v1/predictions/{add_job(site)}"), 404, "NotFound")


# ── The log ──────────────────────────────────────────────────────────────────────────────────


async def test_entries_are_filtered_by_type_prefix_and_subject(
    api: httpx.AsyncClient, site: Site
) -> None:
    subject = new_id()
    add_entries(site, 1, "message.sent", subject)
    add_entries(site, 1, "message.received", subject)
    add_entries(site, 1, "task.failed", subject)

    async def count(**query: str) -> int:
        answer = await api.get("/v1/audit/entries", params={"subject": subject, **query})
        return len(answer.json()["items"])

    assert await count() == 3
    assert await count(type="fatechain.message.") == 2
    assert await count(type="fatechain.message.sent.v1") == 1
    assert await count(type="fatechain.message") == 0


async def test_entries_are_filtered_by_time(api: httpx.AsyncClient, site: Site) -> None:
    subject = new_id()
    add_entries(site, 1, subject=subject)
    query = {"subject": subject, "since": "2020-01-01"}
    assert len((await api.get("/v1/audit/entries", params=query)).json()["items"]) == 1
    query |= {"until": "2020-01-02"}
    assert (await api.get("/v1/audit/entries", params=query)).json()["items"] == []
    query = {"since": "yesterday"}
    is_problem(await api.get("/v1/audit/entries", params=query), 422, "InvalidRequest")


async def test_the_proof_of_an_entry_leads_to_the_root(api: httpx.AsyncClient, site: Site) -> None:
    add_entries(site, 5)
    size = site.log.size
    for index in range(0, size, 3):
        entry = (await api.get(f"/v1/audit/entries/{index}", params={"size": size})).json()
        proof = entry["proof"]
        path = [bytes.fromhex(node[2:]) for node in proof["path"]]
        root = merkle.root_from_inclusion(
            bytes.fromhex(entry["leaf_hash"][2:]), index, proof["size"], path
        )
        assert proof["verified"] is True
        assert root == site.log.root(size)


async def test_an_entry_is_proved_under_the_head_that_is_anchored(
    api: httpx.AsyncClient, site: Site
) -> None:
    add_entries(site, 2)
    size = site.log.size
    root = "0x" + site.log.root(size).hex()
    with site.store.begin() as session:
        session.add(Anchor(size=size, root=root, block=9, tx_hash=new_id()))
    add_entries(site, 2)
    proof = (await api.get(f"/v1/audit/entries/{size - 1}")).json()["proof"]
    assert (proof["size"], proof["root"], proof["anchor"]["block"]) == (size, root, 9)
    with site.store.begin() as session:
        session.get_one(Anchor, size).root = new_id()
    proof = (await api.get(f"/v1/audit/entries/{size - 1}")).json()["proof"]
    assert proof["verified"] is False
    with site.store.begin() as session:  # or the log would not go on
        session.get_one(Anchor, size).root = root


async def test_a_proof_needs_a_head_that_holds_the_entry(
    api: httpx.AsyncClient, site: Site
) -> None:
    add_entries(site, 2)
    for size in (1, site.log.size + 1):
        answer = await api.get("/v1/audit/entries/1", params={"size": size})
        is_problem(answer, 422, "InvalidRequest")


async def test_an_entry_beyond_the_log_is_not_found(api: httpx.AsyncClient) -> None:
    is_problem(await api.get("/v1/audit/entries/999999"), 404, "NotFound")


async def test_the_checkpoint_is_the_newest_head_signed(api: httpx.AsyncClient, site: Site) -> None:
    add_entries(site, 1)
    checkpoint = (await api.get("/v1/audit/checkpoint")).json()
    assert checkpoint["size"] == site.log.size
    assert checkpoint["root"] == "0x" + site.log.root().hex()
    assert checkpoint["note"].startswith(f"fatechain/{OWN}\n{site.log.size}\n")


async def test_a_failed_task_says_why(api: httpx.AsyncClient, site: Site) -> None:
    id = add_job(site, "FAILED", reason="PartnerSilent: nobody there")
    with site.store.begin() as session:
        error = {"code": "PartnerSilent", "detail": "nobody there"}
        session.add(Task(job_id=id, step="psi", position=0, state="FAILED", error=error))
    job = (await api.get(f"/v1/jobs/{id}")).json()
    assert job["tasks"][0]["error"] == error
    assert job["reason"].startswith("PartnerSilent")
