"""Copies served to others, alerts over the interface, and the commands that show them."""

from __future__ import annotations

import asyncio
import functools
import json
import shutil
from collections.abc import Iterator

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import delete
from typer.testing import CliRunner

from node import alerts
from node.api.app import create_app
from node.api.views import alerts as views
from node.audit.reading import tile_path
from node.cli.app import app as commands
from node.mirror import Mirror
from node.people import ROLES
from node.site import Site
from node.store import Alert, MirroredLog
from tests.node.crowd import add, entries, key_for
from tests.node.face import (
    OWN,
    PARTNER,
    is_problem,
    make_site,
    operator,
    serving,
    token_of,
    visitor,
)
from tests.node.lying_log import LyingLog
from tests.node.lying_log import entries as leaves
from tests.node.test_mirror import cosigned
from tests.node.tile_client import TileClient, read_head
from tests.node.two_sites import Book

NOW = 1_700_100_000.0
SIZE = 600
LOG = LyingLog(leaves(SIZE))


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Site]]:
    folder, book = tmp_path_factory.mktemp("homes"), Book()
    with make_site(folder / "site") as one, make_site(folder / "other", site_id=PARTNER) as other:
        for each in (one, other):
            each.directory = book
            book.enter(each)
        cosigned(one, other, LOG)
        Mirror(one, PARTNER, lambda: NOW).copy(LOG.fetch)
        yield one, other


@pytest.fixture(scope="module")
def app(homes: tuple[Site, Site]) -> FastAPI:
    return create_app(homes[0].settings.home, homes[0])


@pytest.fixture
def site(homes: tuple[Site, Site]) -> Site:
    with homes[0].store.begin() as session:
        session.execute(delete(Alert))
    return homes[0]


def get(site: Site, app: FastAPI, path: str, **headers: str) -> httpx.Response:
    async def ask() -> httpx.Response:
        async with visitor(site, app, **headers) as client:
            return await client.get(path)

    return asyncio.run(ask())


@functools.cache
def bearer(site: Site, role: str) -> dict[str, str]:
    """Somebody of his own for every role."""
    number = 3 + ROLES.index(role)
    add(site, number, role)
    return {"Authorization": f"Bearer {key_for(site, number, role).secret}"}


# ── The copy, read by others ─────────────────────────────────────────────────────────────────


def test_a_reader_of_the_specification_reads_the_copy(site: Site, app: FastAPI) -> None:
    headers = bearer(site, "auditor")

    def fetch(path: str) -> bytes:
        answer = get(site, app, f"/mirror/{PARTNER}/{path}", **headers)
        assert answer.status_code == 200, (path, answer.text)
        return answer.content

    origin, size, root = read_head(fetch("checkpoint"))
    assert (origin, size) == (f"fatechain/{PARTNER}", SIZE)
    client = TileClient(fetch, size)
    assert client.root() == root == LOG.root()
    assert client.entries() == LOG.leaves


@pytest.mark.parametrize(
    "path",
    [
        f"/mirror/{OWN}/checkpoint",
        f"/mirror/{OWN}/tile/0/000",
        f"/mirror/{PARTNER}/tile/0/002",
        f"/mirror/{PARTNER}/tile/0/002.p/89",
        f"/mirror/{PARTNER}/tile/0/003",
        f"/mirror/{PARTNER}/tile/2/000.p/1",
        f"/mirror/{PARTNER}/tile/0/x000/001",
        f"/mirror/{PARTNER}/tile/%30/000",
        f"/mirror/{PARTNER}/conflict/served",
        f"/mirror/{PARTNER}/tile/0/../../../../node.db",
    ],
)
def test_what_is_not_of_the_copy_is_not_found(site: Site, app: FastAPI, path: str) -> None:
    assert get(site, app, path).status_code == 404


@pytest.mark.parametrize("id", ["..", "0x12", "%2e%2e", PARTNER.upper()])
def test_only_an_id_names_a_copy(site: Site, app: FastAPI, id: str) -> None:
    assert get(site, app, f"/mirror/{id}/checkpoint").status_code in (404, 422)


def test_what_was_copied_beyond_the_head_is_not_shown(site: Site, app: FastAPI) -> None:
    beyond = site.settings.mirror_folder / PARTNER / tile_path(0, 2)
    beyond.write_bytes(bytes(8192))
    try:
        assert get(site, app, f"/mirror/{PARTNER}/tile/0/002").status_code == 404
    finally:
        beyond.unlink()


def test_entries_of_a_copy_are_for_whom_entries_of_the_log_are(site: Site, app: FastAPI) -> None:
    path = f"/mirror/{PARTNER}/tile/entries/000"
    assert get(site, app, f"/mirror/{PARTNER}/tile/0/000").status_code == 200
    assert get(site, app, path).status_code == 401
    assert get(site, app, path, **bearer(site, "data-scientist")).status_code == 403
    before = len(entries(site, "evidence.read"))
    assert get(site, app, path, **bearer(site, "auditor")).status_code == 200
    assert len(entries(site, "evidence.read")) == before + 1


def test_whoever_opens_his_own_log_opens_no_copy(
    site: Site, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = site.settings.model_copy(update={"log_entries": "open", "explorer_open": True})
    monkeypatch.setattr(site, "settings", opened)
    assert get(site, app, f"/mirror/{PARTNER}/tile/entries/000").status_code == 401


def test_copies_are_listed_with_how_they_fared(site: Site, app: FastAPI) -> None:
    Mirror(site, PARTNER).state(problem="PartnerUnreachable: nobody", looked_at=NOW)
    (shown,) = get(site, app, "/v1/mirrors", Authorization=f"Bearer {token_of(site)}").json()
    assert (shown["site"], shown["size"], shown["entries"]) == (PARTNER, SIZE, SIZE)
    assert shown["path"] == f"/mirror/{PARTNER}"
    assert shown["problem"].startswith("PartnerUnreachable")
    is_problem(get(site, app, "/v1/mirrors"), 401, "Unauthenticated")


# ── Alerts ───────────────────────────────────────────────────────────────────────────────────


def raise_some(site: Site) -> list[str]:
    """A critical one, a notice, and one that is over; in this order."""
    with site.store.begin() as session:
        ids = [
            alerts.see(session, "log.forked", PARTNER, {"size": 5}, now=NOW),
            alerts.see(session, "grant.given", OWN, {}, now=NOW + 1),
            alerts.see(session, "log.silent", PARTNER, {}, now=NOW + 2),
        ]
        alerts.end(session, "log.silent", PARTNER, now=NOW + 3)
    return ids


async def test_alerts_come_newest_first_in_pages_and_with_counts(site: Site, app: FastAPI) -> None:
    ids = raise_some(site)
    async with operator(site, app) as client:
        first = (await client.get("/v1/alerts?limit=2")).json()
        rest = (await client.get(f"/v1/alerts?limit=2&cursor={first['next']}")).json()
        still = (await client.get("/v1/alerts?open=true")).json()
        others = (await client.get("/v1/alerts?open=false")).json()
        of_kind = (await client.get("/v1/alerts?kind=log.forked&language=zh")).json()
        of_site = (await client.get(f"/v1/alerts?subject={OWN}")).json()
        bad = await client.get("/v1/alerts?cursor=odd")
    assert [each["id"] for each in first["items"] + rest["items"]] == ids[::-1]
    assert rest["next"] is None
    assert [each["id"] for each in still["items"]] == [ids[1], ids[0]]
    assert [each["id"] for each in others["items"]] == [ids[2]]
    assert first["counts"] == {"critical": 1, "warning": 0, "notice": 1}
    assert [each["title"] for each in of_kind["items"]] == ["日志出现两个历史版本"]
    assert of_kind["items"][0]["evidence"] == {"size": 5}
    assert [each["id"] for each in of_site["items"]] == [ids[1]]
    is_problem(bad, 422, "InvalidRequest")


async def test_an_alert_is_acknowledged_once_and_by_name(site: Site, app: FastAPI) -> None:
    id = raise_some(site)[0]
    async with operator(site, app) as client:
        seen = (await client.post(f"/v1/alerts/{id}/acknowledge")).json()
        again = await client.post(f"/v1/alerts/{id}/acknowledge")
        shown = (await client.get(f"/v1/alerts/{id}")).json()
        unknown = await client.get(f"/v1/alerts/{'0' * 36}")
    assert (seen["open"], seen["acknowledged_by"]) == (False, "operator")
    assert shown == seen
    is_problem(again, 409, "AlertAcknowledged")
    is_problem(unknown, 404, "NotFound")
    assert entries(site, "alert.acknowledged")[-1]["subject"] == PARTNER


@pytest.mark.parametrize(
    ("role", "status"), [("data-owner", 200), ("auditor", 403), ("data-scientist", 403)]
)
async def test_an_auditor_reads_alerts_and_acknowledges_none(
    site: Site, app: FastAPI, role: str, status: int
) -> None:
    id = raise_some(site)[0]
    async with visitor(site, app, **bearer(site, role)) as client:
        assert (await client.get("/v1/alerts")).status_code == 200
        assert (await client.post(f"/v1/alerts/{id}/acknowledge")).status_code == status


async def test_nobody_reads_alerts_without_credentials(site: Site, app: FastAPI) -> None:
    is_problem(await visitor(site, app).get("/v1/alerts"), 401, "Unauthenticated")


def test_the_views_for_pages_say_the_same(site: Site, app: FastAPI) -> None:
    ids = raise_some(site)
    shown = views.page(site, app.state.names, is_open=True, language="zh")
    assert [each.id for each in shown.items] == [ids[1], ids[0]]
    assert views.counts(site).critical == 1
    assert set(views.kinds()) == set(alerts.KINDS)


# ── Commands ─────────────────────────────────────────────────────────────────────────────────


def run(*words: str) -> tuple[int, str]:
    answer = CliRunner().invoke(commands, list(words))
    return answer.exit_code, answer.output


def test_the_command_ends_with_1_while_something_is_open(site: Site) -> None:
    with serving(site) as url:
        place = ("--url", url, "--token", token_of(site))
        assert run("monitor", *place)[0] == 0
        id = raise_some(site)[0]
        code, told = run("monitor", *place, "--json")
        assert code == 1
        found = json.loads(told)
        assert [each["kind"] for each in found["alerts"]] == ["grant.given", "log.forked"]
        assert [each["site"] for each in found["mirrors"]] == [PARTNER]
        assert run("monitor", "--acknowledge", id, *place)[0] == 0
        code, told = run("monitor", *place)
        assert (code, "A grant of this site" in told) == (0, True)  # a notice alone
        assert len(json.loads(run("monitor", "--all", "--json", *place)[1])["alerts"]) == 3
        code, told = run("monitor", "--test-webhook", *place)
        assert (code, "WebhookMissing" in told) == (1, True)


def test_a_copy_that_is_removed_is_made_anew(
    homes: tuple[Site, Site], site: Site, tmp_path_factory: pytest.TempPathFactory
) -> None:
    mirror = Mirror(site, PARTNER, lambda: NOW)
    shutil.rmtree(mirror.folder)
    with site.store.begin() as session:
        session.execute(delete(MirroredLog))
    mirror.copy(LOG.fetch)
    assert mirror.head().size == SIZE
