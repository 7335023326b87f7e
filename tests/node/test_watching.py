"""Saved views that tell: an alert when the list of one has something new, and only then."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select

from node import people, saved_views, watching
from node.alerts import MAX_ALIKE
from node.api.app import create_app
from node.lifecycle import move_job
from node.site import Site
from node.store import Alert, WebhookDelivery
from node.ui.lists import LISTS
from node.watching import LONGEST_SECONDS, Watching, new_among
from tests.node.crowd import add, key_for, program
from tests.node.face import add_entries, add_job, is_problem, make_site, operator
from tests.node.test_explorer_words import put

NOW = 1_800_000_000.0


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        self.now += 1
        return self.now


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


@pytest.fixture
def watch(site: Site) -> Watching:
    return Watching(site, Clock())


async def a_view(client: httpx.AsyncClient, name: str, query: str = "") -> str:
    """A view that tells; its id."""
    body = {"name": f"my {name}", "list": name, "query": query}
    id: str = (await client.post("/v1/views", json=body)).json()["id"]
    assert (await client.post(f"/v1/views/{id}/watch")).status_code == 200
    return id


def raised(site: Site) -> list[dict[str, Any]]:
    with site.store.read() as session:
        query = select(Alert).where(Alert.kind == watching.KIND).order_by(Alert.first_seen)
        return [alert.evidence for alert in session.scalars(query)]


# ── What is told ─────────────────────────────────────────────────────────────────────────────


async def test_what_is_new_in_a_watched_list_raises_an_alert_that_goes_to_the_webhook(
    site: Site, client: httpx.AsyncClient, watch: Watching
) -> None:
    id = await a_view(client, "jobs", "state=FAILED")
    add_job(site, "FAILED")
    assert watch.step() == 0  # what was there when the watching began is nothing new
    for state in ("FAILED", "FAILED", "RUNNING"):
        add_job(site, state)
    add_entries(site, 1)
    assert watch.step() == 1
    assert raised(site) == [{"list": "jobs", "new": 2}]  # no word of whose view it is
    with site.store.read() as session:
        (body,) = session.scalars(select(WebhookDelivery.body))
    assert json.loads(body)["data"]["kind"] == "view.new"
    assert json.loads(body)["data"]["subject"] == f"view:{id}"
    (view,) = (await client.get("/v1/views")).json()["items"]
    assert (view["watched"], view["found"], view["problem"]) == (True, 2, "")
    page = (await client.get("/alerts?lang=en", headers={"Accept": "text/html"})).text
    assert 'href="/jobs">jobs</a> 2 new' in page
    assert "state=FAILED" not in page
    assert "my jobs" not in page
    assert "2 new" in (await client.get("/views?lang=en", headers={"Accept": "text/html"})).text


async def test_what_a_filter_lets_in_later_is_new_though_it_is_old(
    site: Site, client: httpx.AsyncClient, watch: Watching
) -> None:
    await a_view(client, "jobs", "state=FAILED")
    old = add_job(site, "RUNNING")
    add_job(site, "FAILED")
    watch.step()
    with site.store.begin() as session:
        assert move_job(session, old, "RUNNING", "FAILED")
    add_entries(site, 1)
    assert watch.step() == 1
    assert [one["new"] for one in raised(site)] == [1]


async def test_nothing_new_is_told_once_and_not_again(
    site: Site, client: httpx.AsyncClient, watch: Watching
) -> None:
    await a_view(client, "events", "name=MinimumSet")
    watch.step()
    put(site, "Consortium", "MinimumSet", block=1, name="parties", value=2)
    assert watch.step() == 1
    put(site, "Consortium", "PurposeAllowed", block=2, purpose="research")
    assert watch.step() == 0
    assert len(raised(site)) == 1
    put(site, "Consortium", "MinimumSet", block=3, name="parties", value=3)
    assert watch.step() == 1
    assert len(raised(site)) == 2


@pytest.mark.parametrize("name", ["log", "alerts"])
async def test_telling_is_nothing_new_to_a_view_of_the_log_or_of_alerts(
    site: Site, client: httpx.AsyncClient, watch: Watching, name: str
) -> None:
    await a_view(client, "log")
    await a_view(client, name)
    watch.step()
    add_entries(site, 1)
    watch.step()
    for _ in range(5):
        site.log.sequence()
        watch._marks = None
        assert watch.step() == 0


async def test_a_list_that_grows_and_grows_fills_no_table(
    site: Site, client: httpx.AsyncClient, watch: Watching
) -> None:
    await a_view(client, "jobs")
    watch.step()
    for _ in range(MAX_ALIKE + 5):
        add_job(site)
        add_entries(site, 1)
        assert watch.step() == 1
    assert len(raised(site)) == MAX_ALIKE


async def test_nothing_is_read_while_nothing_happens(
    site: Site, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    watch = Watching(site, clock)
    await a_view(client, "jobs")
    watch.step()
    looks = []
    monkeypatch.setattr(Watching, "_look", lambda self, id, now: bool(looks.append(id)))
    watch.step()
    assert looks == []
    clock.now += LONGEST_SECONDS
    watch.step()
    assert len(looks) == 1


async def test_a_list_that_cannot_be_read_says_so_and_tells_nothing_new_of_it(
    site: Site, client: httpx.AsyncClient, watch: Watching
) -> None:
    await a_view(client, "sites")  # it is asked of a chain that is not there
    watch.step()
    (view,) = (await client.get("/v1/views")).json()["items"]
    assert view["problem"]
    assert raised(site) == []


def test_of_a_list_longer_than_is_remembered_what_comes_up_from_below_is_not_new(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watching, "MOST_SEEN", 4)
    assert new_among(["d", "c", "b", "a"], ["c", "b", "a", "z"]) == ["d"]
    assert new_among(["d", "b", "a", "z"], ["d", "c", "b", "a"]) == []
    assert new_among(["x", "b"], ["c", "b"]) == ["x"]
    assert new_among(["b", "x"], ["c", "b"]) == ["x"]


# ── Whose they are ───────────────────────────────────────────────────────────────────────────


async def test_only_its_owner_lets_a_view_tell(site: Site, app: FastAPI) -> None:
    for number in (3, 4):
        add(site, number, "data-scientist")
    async with program(app, key_for(site, 3, "data-scientist").secret) as first:
        id = await a_view(first, "jobs")
        async with program(app, key_for(site, 4, "data-scientist").secret) as second:
            for deed in ("watch", "unwatch"):
                is_problem(await second.post(f"/v1/views/{id}/{deed}"), 404, "NotFound")
        (view,) = (await first.post(f"/v1/views/{id}/unwatch")).json()["items"]
        assert view["watched"] is False
        assert (await first.post(f"/v1/views/{id}/remove")).json()["items"] == []


async def test_a_removed_view_and_a_silent_one_tell_nothing(
    site: Site, client: httpx.AsyncClient, watch: Watching
) -> None:
    gone, silent = await a_view(client, "jobs"), await a_view(client, "jobs")
    watch.step()
    await client.post(f"/v1/views/{gone}/remove")
    await client.post(f"/v1/views/{silent}/unwatch")
    add_job(site)
    add_entries(site, 1)
    assert watch.step() == 0
    assert raised(site) == []


async def test_a_view_of_somebody_who_was_disabled_is_silent(
    site: Site, app: FastAPI, watch: Watching
) -> None:
    add(site, 3, "data-scientist")
    async with program(app, key_for(site, 3, "data-scientist").secret) as person:
        id = await a_view(person, "jobs")
    watch.step()
    with site.store.begin() as session:
        view = session.get_one(saved_views.SavedView, id)
        people.find(session, view.owner).disabled_at = NOW
    add_job(site)
    add_entries(site, 1)
    assert watch.step() == 0


async def test_so_many_views_of_one_person_tell(client: httpx.AsyncClient) -> None:
    for _ in range(saved_views.MOST_WATCHED):
        await a_view(client, "jobs")
    body = {"name": "one more", "list": "jobs"}
    id = (await client.post("/v1/views", json=body)).json()["id"]
    is_problem(await client.post(f"/v1/views/{id}/watch"), 409, "TooManyViews")


def test_every_list_tells_its_items_apart() -> None:
    for name, listing in LISTS.items():
        names = listing.item.model_fields
        assert "id" in names or listing.key.__name__ != "<lambda>", name
