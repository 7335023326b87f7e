"""Where a job's logs differ is shown with the site: by the API and on the job's page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from node.api.app import create_app
from node.site import Site
from tests.node.face import (
    OWN,
    PARTNER,
    add_job,
    is_problem,
    make_site,
    new_id,
    operator,
    token_of,
    visitor,
)

HTML = {"Accept": "text/html"}
ADDRESS = ["psi", 1, OWN, PARTNER, "job.Approval", 0]


def verdict(*differences: dict[str, Any]) -> dict[str, Any]:
    return {
        "agrees": not differences,
        "at": 1_800_000_000.0,
        "messages": 41,
        "approvals": 2,
        "grantUses": 1,
        "results": 2,
        "bytes": 5000,
        "digest": new_id(),
        "open": 0,
        "count": len(differences),
        "differences": list(differences),
        "heads": [{"site": OWN, "size": 90, "root": new_id()}],
    }


def missing() -> dict[str, Any]:
    return {
        "site": PARTNER,
        "what": "missing",
        "line": "approval",
        "address": ADDRESS,
        "where": "$.logs[0].entries[6]",
        "detail": f"the log of site {PARTNER}: no entry that it was received",
    }


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with make_site(tmp_path_factory.mktemp("reconciled") / "bank") as site:
        yield site


@pytest.fixture(scope="module")
def app(site: Site) -> FastAPI:
    return create_app(site.settings.home, site)


@pytest.fixture
async def api(site: Site, app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with operator(site, app) as client:
        yield client


async def test_a_job_tells_what_its_parties_logs_tell_alike(
    api: httpx.AsyncClient, site: Site
) -> None:
    told = verdict()
    id = add_job(site, "SUCCEEDED", reconciliation=told)
    found = (await api.get(f"/v1/jobs/{id}/reconciliation")).json()
    assert found["agrees"] is True
    counts = [found[name] for name in ("messages", "approvals", "grant_uses", "results")]
    assert counts == [41, 2, 1, 2]
    assert found["heads"][0]["site"]["id"] == OWN
    assert (await api.get(f"/v1/jobs/{id}")).json()["reconciliation"] == found


async def test_a_difference_names_line_and_site_and_is_why_there_is_no_certificate(
    api: httpx.AsyncClient, site: Site
) -> None:
    id = add_job(site, "SUCCEEDED", reconciliation=verdict(missing()))
    [told] = (await api.get(f"/v1/jobs/{id}/reconciliation")).json()["differences"]
    assert told["site"]["id"] == told["receiver"]["id"] == PARTNER
    assert (told["what"], told["line"], told["kind"]) == ("missing", "approval", "job.Approval")
    refusal = await api.get(f"/v1/jobs/{id}/certificate")
    problem = is_problem(refusal, 500, "ReconciliationFailed")
    assert problem["found"] == PARTNER
    assert "approval missing" in problem["detail"]


async def test_before_it_was_done_there_is_none(api: httpx.AsyncClient, site: Site) -> None:
    id = add_job(site, "RUNNING")
    is_problem(await api.get(f"/v1/jobs/{id}/reconciliation"), 404, "NotFound")
    assert (await api.get(f"/v1/jobs/{id}")).json()["reconciliation"] is None
    refusal = await api.post(f"/v1/jobs/{id}/reconciliation")
    assert is_problem(refusal, 409, "Conflict")["found"] == "RUNNING"


@pytest.mark.parametrize(
    ("language", "words"),
    [("en", ("missing", "Approval", "no certificate")), ("zh", ("缺失", "批准", "不签发证书"))],
)
async def test_the_page_of_a_job_says_what_is_missing_and_where(
    app: FastAPI, site: Site, language: str, words: tuple[str, ...]
) -> None:
    id = add_job(site, "SUCCEEDED", reconciliation=verdict(missing()))
    good = add_job(site, "SUCCEEDED", reconciliation=verdict())
    async with visitor(site, app, **HTML) as client:
        await client.post("/login", data={"token": token_of(site), "next": "/jobs"})
        text = (await client.get(f"/jobs/{id}", params={"lang": language})).text
        assert (await client.get(f"/jobs/{good}")).text.count("callout good") == 1
    section = text[text.index('id="reconciliation"') : text.index('id="anchors"')]
    assert "callout bad" in section
    for word in words:
        assert word in section
    assert "$.logs[0].entries[6]" in section
