"""Lists of the explorer: their filters, their export, and the views that people keep of them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pyarrow.parquet
import pytest
from fastapi import FastAPI
from sqlalchemy import func, select

from node.api.app import create_app
from node.audit.entries import type_of
from node.saved_views import SavedView
from node.site import Site
from node.store import AuditPending
from node.ui import export
from node.ui.lists import LISTS
from tests.node.crowd import add, key_for, program
from tests.node.face import PARTNER, add_entries, add_job, is_problem, make_site, operator, visitor

OF_THIS_SITE = ("jobs", "log", "events", "transactions", "models")
"""Lists that need no chain to be read."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with make_site(tmp_path / "bank") as site:
        yield site


@pytest.fixture
def app(site: Site) -> FastAPI:
    return create_app(site.settings.home, site)


@pytest.fixture
async def client(site: Site, app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with operator(site, app) as client:
        yield client


def rows(answer: httpx.Response) -> list[dict[str, str]]:
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.text)))


# ── Export ───────────────────────────────────────────────────────────────────────────────────


async def test_a_file_has_all_that_the_filter_shows_and_nothing_else(
    site: Site, client: httpx.AsyncClient
) -> None:
    add_entries(site, 230)
    add_entries(site, 5, "task.finished")
    answer = await client.get("/export/log.csv", params={"type": type_of("task.started")})
    assert [row["index"] for row in rows(answer)] == [str(n) for n in range(229, -1, -1)]
    assert {row["type"] for row in rows(answer)} == {type_of("task.started")}
    page = await client.get("/log", params={"type": type_of("task.started")})
    assert f'href="/export/log.csv?type={type_of("task.started")}"' in page.text


async def test_every_format_tells_the_same(site: Site, client: httpx.AsyncClient) -> None:
    ids = [add_job(site) for _ in range(3)]
    add_job(site, "FAILED")
    shown = (await client.get("/jobs.json?state=RUNNING")).json()["page"]["items"]
    asked = "state=RUNNING&party=" + PARTNER
    as_json = json.loads((await client.get(f"/export/jobs.json?{asked}")).content)
    assert as_json == shown
    as_csv = rows(await client.get(f"/export/jobs.csv?{asked}"))
    assert {row["id"] for row in as_csv} == set(ids)
    answer = await client.get(f"/export/jobs.parquet?{asked}")
    table = pyarrow.parquet.read_table(io.BytesIO(answer.content))
    assert table.column_names == list(as_csv[0])
    assert table["id"].to_pylist() == [row["id"] for row in as_csv] == [job["id"] for job in shown]
    assert str(table.schema.field("attempt").type) == "int64"
    assert str(table.schema.field("created_at").type) == "double"
    assert json.loads(table["parties"][0].as_py()) == shown[0]["parties"]


@pytest.mark.parametrize("name", OF_THIS_SITE)
async def test_a_list_of_nothing_is_a_whole_file(client: httpx.AsyncClient, name: str) -> None:
    columns = list(export.columns_of(LISTS[name].item))
    assert (await client.get(f"/export/{name}.csv")).text.splitlines() == [",".join(columns)]
    assert (await client.get(f"/export/{name}.json")).json() == []
    table = pyarrow.parquet.read_table(
        io.BytesIO((await client.get(f"/export/{name}.parquet")).content)
    )
    assert (table.num_rows, table.column_names) == (0, columns)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "  =1", "＝1"])
async def test_no_cell_is_a_formula(site: Site, client: httpx.AsyncClient, text: str) -> None:
    add_job(site, algorithm=text)
    (row,) = rows(await client.get("/export/jobs.csv"))
    assert row["algorithm"] == f"'{text}"


async def test_what_does_not_fit_goes_on_in_the_next_file(
    site: Site, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "MOST_ROWS", 200)
    add_entries(site, 250)
    first = await client.get("/export/log.csv")
    assert len(rows(first)) == 200
    rest = await client.get(first.links["next"]["url"])
    assert [row["index"] for row in rows(rest)] == [str(n) for n in range(49, -1, -1)]
    assert "next" not in rest.links


async def test_only_so_many_lists_are_exported_at_once(client: httpx.AsyncClient) -> None:
    for _ in range(export.AT_ONCE):
        assert export._turns.acquire(blocking=False)
    try:
        is_problem(await client.get("/export/jobs.csv"), 429, "TooManyExports")
    finally:
        for _ in range(export.AT_ONCE):
            export._turns.release()
    assert (await client.get("/export/jobs.csv")).status_code == 200


async def test_files_that_nobody_fetches_to_their_end_are_bounded(
    client: httpx.AsyncClient,
) -> None:
    for _ in range(2 * export.MOST_UNSENT):  # what was fetched makes room again
        assert (await client.get("/export/jobs.csv")).status_code == 200
    for _ in range(export.MOST_UNSENT):
        assert export._unsent.acquire(blocking=False)
    try:
        is_problem(await client.get("/export/jobs.csv"), 429, "TooManyExports")
    finally:
        for _ in range(export.MOST_UNSENT):
            export._unsent.release()
    assert (await client.get("/export/jobs.csv")).status_code == 200


async def test_who_did_not_sign_in_exports_nothing_of_open_pages(
    site: Site, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site, "settings", site.settings.model_copy(update={"explorer_open": True}))
    async with visitor(site, app) as stranger:
        assert (await stranger.get("/jobs.json")).status_code == 200
        assert (await stranger.get("/export/jobs.csv")).status_code == 401


async def test_nobody_exports_what_he_may_not_read(site: Site, app: FastAPI) -> None:
    async with visitor(site, app) as stranger:
        assert (await stranger.get("/export/jobs.csv")).status_code == 401
    async with operator(site, app) as client:
        for path in ("/export/people.csv", "/export/jobs.xls", "/export/keys.json"):
            is_problem(await client.get(path), 404, "NotFound")


async def test_an_auditor_s_export_of_the_log_is_entered(site: Site, app: FastAPI) -> None:
    add(site, 3, "auditor")
    async with program(app, key_for(site, 3, "auditor").secret) as auditor:
        assert (await auditor.get("/export/log.csv")).status_code == 200
    with site.store.read() as session:
        last = session.scalars(select(AuditPending).order_by(AuditPending.id.desc())).first()
    assert last is not None
    assert b"fatechain.evidence.read.v1" in last.entry


# ── Saved views ──────────────────────────────────────────────────────────────────────────────


async def test_a_view_is_kept_opened_and_removed_by_whose_it_is(site: Site, app: FastAPI) -> None:
    for number in (3, 4):
        add(site, number, "data-scientist")
    body = {"name": "Failed", "list": "jobs", "query": "state=FAILED&lang=zh&cursor=x&kind=train"}
    async with program(app, key_for(site, 3, "data-scientist").secret) as first:
        made = (await first.post("/v1/views", json=body)).json()
        assert made["link"] == "/jobs?state=FAILED&kind=train"
        assert (await first.get(made["link"])).status_code == 200
        assert [view["name"] for view in (await first.get("/v1/views")).json()["items"]] == [
            "Failed"
        ]
        assert "Failed" in (await first.get("/views", headers={"Accept": "text/html"})).text
        async with program(app, key_for(site, 4, "data-scientist").secret) as second:
            assert (await second.get("/v1/views")).json()["items"] == []
            is_problem(await second.post(f"/v1/views/{made['id']}/remove"), 404, "NotFound")
        assert (await first.post(f"/v1/views/{made['id']}/remove")).json()["items"] == []


async def test_a_view_of_no_list_is_refused(client: httpx.AsyncClient, site: Site) -> None:
    for body in (
        {"name": "x", "list": "people"},
        {"name": "", "list": "jobs"},
        {"name": "x", "list": "jobs", "query": "x" * 501},
    ):
        assert (await client.post("/v1/views", json=body)).status_code == 422
    with site.store.read() as session:
        assert session.scalar(select(func.count()).select_from(SavedView)) == 0
