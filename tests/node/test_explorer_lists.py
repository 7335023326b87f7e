"""Every list of the explorer: its page, its JSON twin and its files tell the same."""

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
from sqlalchemy import text

from chain.compile import load
from node.api.app import create_app
from node.api.views import history
from node.site import Site
from node.store import Anchor, WitnessedHead
from node.ui.lists import LISTS
from node.ui.messages import MESSAGES
from tests.node.crowd import add, key_for, program
from tests.node.face import (
    OWN,
    PARTNER,
    add_evidence,
    add_job,
    add_received,
    add_sent,
    make_site,
    new_id,
    operator,
    told_message,
)
from tests.node.newcomers import Newcomers, gather
from tests.node.test_explorer_words import put

HTML = {"Accept": "text/html"}
MEMBER = "0x" + "2a" * 32


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
        client.headers.update(HTML)
        yield client


async def test_every_list_may_be_kept_under_a_name(client: httpx.AsyncClient) -> None:
    for name in LISTS:
        made = await client.post("/v1/views", json={"name": "mine", "list": name})
        assert made.status_code == 201, made.text
        assert made.json()["link"] == f"/{name}"


async def files_of(client: httpx.AsyncClient, name: str, query: str = "") -> list[dict[str, str]]:
    """The rows of the CSV file, once JSON and Parquet are found to have as many in that order."""
    as_csv = await client.get(f"/export/{name}.csv?{query}")
    assert as_csv.status_code == 200, as_csv.text
    rows = list(csv.DictReader(io.StringIO(as_csv.text)))
    as_json = json.loads((await client.get(f"/export/{name}.json?{query}")).content)
    parquet = (await client.get(f"/export/{name}.parquet?{query}")).content
    table = pyarrow.parquet.read_table(io.BytesIO(parquet))
    assert len(as_json) == table.num_rows == len(rows)
    first = next(iter(rows[0])) if rows else None
    if first is not None:
        assert [str(cell) for cell in table[first].to_pylist()] == [row[first] for row in rows]
    return rows


def test_every_list_and_every_filter_has_words() -> None:
    for name, listing in LISTS.items():
        assert f"nav.{name}" in MESSAGES
        assert {f"filter.{one}" for one in listing.filters} <= set(MESSAGES)


# ── Members and sites ────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Newcomers]:
    world = gather(tmp_path_factory.mktemp("lists"))
    world.register()
    yield world
    world.close()


@pytest.mark.parametrize("name", ["sites", "members"])
async def test_sites_and_members_are_files_as_their_pages_show_them(
    world: Newcomers, name: str
) -> None:
    async with operator(world.shop) as client:
        shown = (await client.get(f"/{name}.json")).json()["page"]["items"]
        rows = await files_of(client, name)
        assert [row["id"] for row in rows] == [one["id"] for one in shown]
        assert rows
        page = await client.get(f"/{name}", headers=HTML)
        assert f'href="/export/{name}.csv"' in page.text


async def test_members_are_filtered_by_their_standing(world: Newcomers) -> None:
    async with operator(world.shop) as client:
        every = await files_of(client, "members")
        active = await files_of(client, "members", "state=ACTIVE")
        assert active == [row for row in every if row["standing"] == "ACTIVE"]
        assert await files_of(client, "members", "state=EXPELLED") == []


# ── Anchors ──────────────────────────────────────────────────────────────────────────────────


async def test_all_anchors_are_listed_in_pages_and_files(
    site: Site, client: httpx.AsyncClient
) -> None:
    with site.store.begin() as session:
        for size in range(1, 61):
            state = "UNWITNESSED" if size % 2 else "WITNESSED"
            session.add(
                Anchor(
                    size=size, root=new_id(), block=size, tx_hash=new_id(), state=state, needed=1
                )
            )
    rows = await files_of(client, "anchors")
    assert [row["size"] for row in rows] == [str(size) for size in range(60, 0, -1)]
    odd = await files_of(client, "anchors", "state=UNWITNESSED")
    assert [row["size"] for row in odd] == [str(size) for size in range(59, 0, -2)]
    first = (await client.get("/anchors.json")).json()["page"]
    rest = (await client.get(f"/anchors.json?cursor={first['next']}")).json()["page"]
    assert [one["size"] for one in first["items"] + rest["items"]] == list(range(60, 0, -1))
    page = (await client.get("/anchors?state=UNWITNESSED")).text
    assert 'href="/export/anchors.parquet?state=UNWITNESSED"' in page
    assert 'id="s59"' in page
    assert 'id="s58"' not in page


async def test_heads_of_other_logs_are_a_list_with_files(
    site: Site, client: httpx.AsyncClient
) -> None:
    logs = sorted(new_id() for _ in range(3))
    with site.store.begin() as session:
        for log, problem in zip(logs, ("", "LogForked: two roots", ""), strict=True):
            session.add(WitnessedHead(log_id=log, size=7, root=new_id(), note="", problem=problem))
    rows = await files_of(client, "heads")
    assert [row["site"] for row in rows] == logs
    wrong = await files_of(client, "heads", "found=fault")
    assert [row["site"] for row in wrong] == [logs[1]]
    assert [row["site"] for row in await files_of(client, "heads", "found=well")] == logs[::2]
    page = (await client.get("/heads?found=fault&lang=en")).text
    assert "LogForked" in page
    assert logs[0] not in page
    assert 'href="/export/heads.csv"' in (await client.get("/anchors")).text


# ── Messages ─────────────────────────────────────────────────────────────────────────────────


async def test_messages_of_a_job_are_listed_with_both_sides(
    site: Site, client: httpx.AsyncClient
) -> None:
    job, same, other = add_job(site), "0x" + "d1" * 32, "0x" + "d2" * 32
    add_sent(site, job, 1, same)
    add_received(site, job, 2, same)
    add_evidence(site, job, told_message("received", 1, same), told_message("sent", 2, other))
    rows = await files_of(client, "messages", f"job={job}")
    assert sorted((row["n"], row["sent"], row["received"], row["agree"]) for row in rows) == [
        ("1", same, same, "True"),
        ("2", other, same, "False"),
    ]
    wrong = await files_of(client, "messages", f"job={job}&agree=no")
    assert [row["n"] for row in wrong] == ["2"]
    assert await files_of(client, "messages") == []
    assert f'href="/export/messages.csv?job={job}"' in (await client.get(f"/jobs/{job}")).text
    page = (await client.get(f"/messages?job={job}&agree=no&lang=en")).text
    assert other[:8] in page
    assert f'href="/export/messages.json?job={job}&amp;agree=no"' in page


async def test_an_auditor_s_export_of_messages_and_anchors_is_entered(
    site: Site, app: FastAPI
) -> None:
    add(site, 3, "auditor")
    async with program(app, key_for(site, 3, "auditor").secret) as auditor:
        for name in ("messages", "anchors"):
            pending = site.log.pending
            assert (await auditor.get(f"/export/{name}.csv")).status_code == 200
            assert site.log.pending == pending + 1


# ── The history of governance ────────────────────────────────────────────────────────────────


def test_the_history_names_only_events_that_the_contracts_have() -> None:
    for contracts in history.EVENTS.values():
        for contract, names in contracts.items():
            declared = {e["name"] for e in load(contract).abi if e["type"] == "event"}
            assert set(names) <= declared
    assert {f"area.{area}" for area in history.AREAS} <= set(MESSAGES)
    assert set(history.AREAS) == set(history.EVENTS)


def test_every_contract_of_governance_is_in_the_history() -> None:
    named = {contract for contracts in history.EVENTS.values() for contract in contracts}
    assert named == {
        "Membership",
        "ConsortiumGovernor",
        "TimelockController",
        "Consortium",
        "Attestations",
        "Reviews",
        "Brake",
        "BreakGlass",
        "Disputes",
    }


async def test_what_was_decided_is_one_list_over_all_contracts(
    site: Site, client: httpx.AsyncClient
) -> None:
    put(site, "Membership", "MemberAdmitted", block=1, id=MEMBER, name="clinic", account="0x")
    put(site, "JobRegistry", "JobStarted", block=2, id=new_id())
    put(site, "Consortium", "MinimumSet", block=3, name="parties", value=3)
    put(site, "Membership", "MemberSuspended", block=4, id=MEMBER)
    put(site, "Brake", "BrakePaused", block=5, until=1_800_000_000)
    rows = await files_of(client, "history", "lang=en")
    assert [(row["block"], row["area"]) for row in rows] == [
        ("5", "emergencies"),
        ("4", "members"),
        ("3", "rules"),
        ("1", "members"),
    ]
    assert rows[1]["says"] == "the member clinic was suspended"
    only = await files_of(client, "history", "area=members&lang=zh")
    assert next(row["says"] for row in only) == "成员 clinic 被暂停"
    assert len(only) == 2
    page = (await client.get("/history?area=members&lang=en")).text
    assert "was suspended" in page
    assert "emergency brake was pulled" not in page
    assert 'href="/export/history.csv?area=members"' in page


async def test_the_history_goes_on_behind_a_cursor_while_more_happens(
    site: Site, client: httpx.AsyncClient
) -> None:
    for block in range(1, 61):
        put(site, "Consortium", "MinimumSet", block=block, name="parties", value=block)
    first = (await client.get("/history.json")).json()["page"]
    put(site, "Consortium", "MinimumSet", block=61, name="parties", value=61)
    rest = (await client.get(f"/history.json?cursor={first['next']}")).json()["page"]
    blocks = [one["block"] for one in first["items"] + rest["items"]]
    assert blocks == list(range(60, 0, -1))
    assert rest["next"] is None


@pytest.mark.parametrize(
    ("query", "blocks"),
    [
        ("name=Upgraded", [6, 5]),
        ("contract=Consortium", [6, 3]),
        ("contract=Consortium&name=Upgraded", [6]),
        ("contract=Membership&name=MinimumSet", []),
        ("name=Unknown", [7]),
        ("name=MinimumSet&block=3", [3]),
        ("name=MinimumSet&block=4", []),
        ("", [7, 6, 5, 3]),
    ],
)
async def test_events_are_filtered_by_contract_and_name(
    site: Site, client: httpx.AsyncClient, query: str, blocks: list[int]
) -> None:
    put(site, "Consortium", "MinimumSet", block=3, name="parties", value=3)
    put(site, "Membership", "Upgraded", block=5, implementation=MEMBER)
    put(site, "Consortium", "Upgraded", block=6, implementation=MEMBER)
    put(site, "Brake", "Unknown", block=7, topics=[], data="0x")
    rows = await files_of(client, "events", query)
    assert [int(row["block"]) for row in rows] == blocks


def test_a_rare_kind_of_event_is_read_from_its_index(site: Site) -> None:
    with site.store.read() as session:
        plan = session.execute(
            text(
                "EXPLAIN QUERY PLAN SELECT id FROM chain_event WHERE contract = 'Brake'"
                " AND name = 'BrakePaused' AND id < 9 ORDER BY id DESC LIMIT 5"
            )
        ).all()
    assert "ix_event_kind" in str(plan)
    assert "TEMP B-TREE" not in str(plan)


async def test_parties_are_the_two_of_the_message(site: Site, client: httpx.AsyncClient) -> None:
    job = add_job(site)
    add_sent(site, job, 1, "0x" + "d1" * 32)
    (row,) = await files_of(client, "messages", f"job={job}")
    assert (row["sender_id"], row["receiver_id"], row["agree"]) == (OWN, PARTNER, "")
