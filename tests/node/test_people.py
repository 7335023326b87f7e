"""People of a site: what ends with them, what is entered of them, and what a page cannot forge."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from fastapi import FastAPI, Request

from chain.testing import InProcessChain
from node import people
from node.api.app import create_app
from node.api.attempts import MAX_ADDRESSES, Attempts
from node.api.auth import COOKIE
from node.api.operator import OperatorRoute
from node.audit.entries import acting, record
from node.errors import Conflict, Invalid, TooMany
from node.origins import origin_of
from node.people import Cookies, token_actor
from node.site import Site
from node.store import Person, PersonSession
from tests.node.crowd import (
    ENDPOINT,
    OWN_PAGE,
    WalletSite,
    add,
    browser,
    entries,
    key_for,
    make_wallet_site,
    program,
    sign_in,
    wallet,
)
from tests.node.face import OWN, add_entries, add_job, is_problem, token_of

ADA, BOB, CY, DI, EVE = range(3, 8)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WalletSite]:
    home = tmp_path_factory.mktemp("people") / "bank"
    with make_wallet_site(home, InProcessChain()) as site:
        add_entries(site, 3)
        yield site


@pytest.fixture
def app(site: Site) -> FastAPI:
    """With a route of its own for data owners that counts, and tells who acts."""
    app = create_app(site.settings.home, site)
    app.state.calls = 0

    async def act(request: Request) -> dict[str, str | int]:
        request.app.state.calls += 1
        with request.app.state.site.store.begin() as session:
            record(session, "person.disabled", "0x01", {}, acting())
        return {"calls": request.app.state.calls, "actor": acting()}

    app.router.routes.append(OperatorRoute("/v1/act", act, methods=["POST"]))
    return app


@pytest.fixture
async def page(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with browser(app) as page:
        yield page


@pytest.fixture
async def token(site: Site, app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with program(app, token_of(site)) as token:
        yield token


# ── Who they are ─────────────────────────────────────────────────────────────────────────────


async def test_an_operator_adds_a_person_who_then_signs_in(
    token: httpx.AsyncClient, page: httpx.AsyncClient, site: Site
) -> None:
    body = {"address": wallet(ADA).address, "name": "Ada", "roles": ["auditor", "delegate"]}
    answer = await token.post("/v1/people", json=body)
    assert answer.status_code == 201
    assert answer.json()["roles"] == ["delegate", "auditor"]
    assert answer.json()["state"] == "ACTIVE"
    assert (await sign_in(page, ADA)).status_code == 200
    told = entries(site, "person.added")[-1]
    assert told["subject"] == wallet(ADA).address.lower()
    assert "Ada" not in json.dumps(told)  # names stay in the database: the log never forgets


async def test_a_person_is_added_once(token: httpx.AsyncClient, site: Site) -> None:
    add(site, BOB, "auditor")
    body = {"address": wallet(BOB).address.lower(), "name": "Bob", "roles": ["operator"]}
    is_problem(await token.post("/v1/people", json=body), 409, "PersonExists")


@pytest.mark.parametrize(
    "change", [{"roles": []}, {"roles": ["king"]}, {"address": "0x12"}, {"until": 1}, {"name": ""}]
)
async def test_a_person_that_cannot_be_is_refused(
    token: httpx.AsyncClient, change: dict[str, object]
) -> None:
    body = {"address": "0x" + "11" * 20, "name": "x", "roles": ["auditor"]} | change
    is_problem(await token.post("/v1/people", json=body), 422, "InvalidRequest")


async def test_other_roles_hold_for_sessions_that_are_open(
    token: httpx.AsyncClient, page: httpx.AsyncClient, site: Site
) -> None:
    address = add(site, CY, "operator")
    await sign_in(page, CY)
    assert (await page.get("/v1/people")).status_code == 200
    await token.post(f"/v1/people/{address}/roles", json={"roles": ["delegate"]})
    is_problem(await page.get("/v1/people"), 403, "RoleMissing")


async def test_a_disabled_person_loses_sessions_and_keys_at_once(
    token: httpx.AsyncClient, page: httpx.AsyncClient, app: FastAPI, site: Site
) -> None:
    address = add(site, DI, "data-owner")
    await sign_in(page, DI)
    key = key_for(site, DI, "data-owner")
    async with program(app, key.secret) as script:
        assert (await script.get("/v1/me")).status_code == 200
        await token.post(f"/v1/people/{address}/disable")
        is_problem(await script.get("/v1/me"), 401, "Unauthenticated")
        is_problem(await page.get("/v1/me"), 401, "Unauthenticated")
        is_problem(await sign_in(page, DI), 403, "PersonUnknown")
        # Added again, the person is let in; what was held before is not.
        body = {"address": address, "name": "Di", "roles": ["data-owner"]}
        assert (await token.post("/v1/people", json=body)).status_code == 201
        is_problem(await script.get("/v1/me"), 401, "Unauthenticated")
        is_problem(await page.get("/v1/me"), 401, "Unauthenticated")


async def test_a_person_whose_time_is_over_loses_them_too(
    page: httpx.AsyncClient, app: FastAPI, site: Site
) -> None:
    address = add(site, EVE, "auditor", until=time.time() + 3600)
    await sign_in(page, EVE)
    key = key_for(site, EVE, "auditor")
    with site.store.begin() as session:
        session.get_one(Person, address).until = time.time()
    is_problem(await page.get("/v1/me"), 401, "Unauthenticated")
    async with program(app, key.secret) as script:
        is_problem(await script.get("/v1/me"), 401, "Unauthenticated")
        add(site, EVE, "auditor")  # again: what was held before opens nothing
        is_problem(await script.get("/v1/me"), 401, "Unauthenticated")
        is_problem(await page.get("/v1/me"), 401, "Unauthenticated")


async def test_a_session_is_no_longer_than_its_person(page: httpx.AsyncClient, site: Site) -> None:
    until = float(int(time.time()) + 900)
    add(site, 8, "auditor", until=until)
    assert (await sign_in(page, 8)).json()["expires_at"] == until


async def test_the_token_cannot_be_locked_out(
    token: httpx.AsyncClient, app: FastAPI, site: Site
) -> None:
    address = add(site, 9, "operator")
    await token.post(f"/v1/people/{address}/disable")
    async with browser(app) as stranger:
        for _ in range(25):
            answer = await stranger.get("/v1/me", headers={"Authorization": "Bearer wrong"})
        is_problem(answer, 429, "TooManyAttempts")
    assert (await token.get("/v1/me")).json()["how"] == "token"


def test_a_disabled_person_is_given_no_roles(site: Site) -> None:
    address = add(site, 10, "auditor")
    people.disable(site.store, address)
    with pytest.raises(Conflict):
        people.change(site.store, address, ["operator"])


def test_roles_are_those_that_there_are(site: Site) -> None:
    with pytest.raises(Invalid):
        people.check_roles(["operator", "root"])


async def test_tokens_in_the_form_are_counted_and_the_right_one_is_taken(
    page: httpx.AsyncClient, site: Site
) -> None:
    codes = [
        (await page.post("/login", data={"token": "wrong", "next": "/"})).status_code
        for _ in range(22)
    ]
    assert codes == [401] * 20 + [429] * 2
    answer = await page.post("/login", data={"token": token_of(site), "next": "/log"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/log")
    told = entries(site, "person.signed_in")[-1]
    assert (told["actor"], told["data"]["how"]) == ("operator", "token")


# ── Browsers ─────────────────────────────────────────────────────────────────────────────────


async def test_a_page_of_our_own_changes_things_with_the_cookie(
    page: httpx.AsyncClient, site: Site
) -> None:
    add(site, 11, "operator")
    await sign_in(page, 11)
    assert (await page.post("/v1/act", json={}, headers=OWN_PAGE)).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": ENDPOINT},
        {"X-FateChain-Request": "1"},
        {"X-FateChain-Request": "1", "Origin": "https://evil.example"},
        {"X-FateChain-Request": "1", "Origin": "null"},
        {"X-FateChain-Request": "1", "Origin": "http://bank.example:8443"},
        {"X-FateChain-Request": "1", "Origin": "https://bank.example"},
        {"X-FateChain-Request": "1", "Referer": ENDPOINT + "/"},
        {"X-FateChain-Request": "1", "Origin": "https://evil.example", "Host": "evil.example"},
        {"X-FateChain-Request": "yes", "Origin": ENDPOINT},
    ],
    ids=str,
)
async def test_no_other_page_does(
    page: httpx.AsyncClient, site: Site, app: FastAPI, headers: dict[str, str]
) -> None:
    with site.store.begin() as session:
        cookie, _ = people.start_session(session, app.state.gate.cookies, None, time.time())
    page.cookies.set(COOKIE, cookie)
    is_problem(await page.post("/v1/act", json={}, headers=headers), 403, "ForeignRequest")
    assert app.state.calls == 0


async def test_signing_in_again_ends_the_session_before(
    page: httpx.AsyncClient, app: FastAPI, site: Site
) -> None:
    add(site, 17, "auditor")
    await sign_in(page, 17)
    first = page.cookies[COOKIE]
    await sign_in(page, 17)
    async with browser(app) as other:
        other.cookies.set(COOKIE, first)
        is_problem(await other.get("/v1/me"), 401, "Unauthenticated")
    assert (await page.get("/v1/me")).status_code == 200


async def test_a_session_ends_with_its_time(app: FastAPI, site: Site) -> None:
    cookies = Cookies(token_of(site))
    with site.store.begin() as session:
        cookie, _ = people.start_session(session, cookies, None, time.time())
    digest = cookies.digest(cookie)
    end = time.time() + people.SESSION_SECONDS
    assert people.session_actor(site.store, digest, end - 5) is not None
    assert people.session_actor(site.store, digest, end + 5) is None


def test_a_new_token_ends_every_session(site: Site) -> None:
    with site.store.begin() as session:
        cookie, _ = people.start_session(session, Cookies("old"), None, time.time())
    assert people.session_actor(site.store, Cookies("old").digest(cookie), time.time())
    assert people.session_actor(site.store, Cookies("new").digest(cookie), time.time()) is None


def test_the_database_opens_no_session(site: Site) -> None:
    cookies = Cookies(token_of(site))
    with site.store.begin() as session:
        cookie, _ = people.start_session(session, cookies, None, time.time())
    with site.store.read() as session:
        ids = {row.id for row in session.query(PersonSession)}
    assert cookie not in ids
    assert all(
        people.session_actor(site.store, cookies.digest(id), time.time()) is None for id in ids
    )


@pytest.mark.parametrize("cookie", ["", "x", "ü", "a" * 5000])
async def test_a_cookie_of_another_kind_is_nobody(page: httpx.AsyncClient, cookie: str) -> None:
    headers = {b"Cookie": f"{COOKIE}={cookie}".encode("latin-1")}
    is_problem(await page.get("/v1/me", headers=headers), 401, "Unauthenticated")


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Bank.Example/a", "https://bank.example"),
        ("https://bank.example:443", "https://bank.example"),
        ("http://bank.example:80/", "http://bank.example"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("https://[2001:DB8::1]:8443/x", "https://[2001:db8::1]:8443"),
    ],
)
def test_an_origin_is_written_as_browsers_write_it(url: str, origin: str) -> None:
    assert origin_of(url) == origin


# ── What is entered ──────────────────────────────────────────────────────────────────────────


async def test_every_request_that_may_change_something_is_entered_once(
    app: FastAPI, site: Site
) -> None:
    add(site, 12, "operator")
    key = key_for(site, 12, "operator")
    before = len(entries(site, "person.acted"))
    async with program(app, key.secret) as script:
        headers = {"Idempotency-Key": "acted"}
        one = await script.post("/v1/act", json={}, headers=headers)
        again = await script.post("/v1/act", json={}, headers=headers)
    assert one.json() == again.json()
    told = entries(site, "person.acted")[before:]
    assert len(told) == 1
    assert told[0]["actor"] == wallet(12).address.lower()
    assert told[0]["data"] == {
        "how": "api-key",
        "key": key.id,
        "method": "POST",
        "route": "/v1/act",
        "status": 200,
    }


async def test_what_failed_is_entered_with_its_status_and_subject(
    token: httpx.AsyncClient, site: Site
) -> None:
    job = add_job(site, "RUNNING")
    answer = await token.post(f"/v1/jobs/{job}/reject", json={"reason": "no"})
    told = entries(site, "person.acted")[-1]
    assert told["subject"] == job
    assert told["actor"] == "operator"
    assert told["data"]["status"] == answer.status_code >= 400
    assert told["data"]["route"] == "/v1/jobs/{id}/reject"


async def test_what_is_recorded_on_the_way_names_the_actor(app: FastAPI, site: Site) -> None:
    add(site, 13, "operator")
    async with program(app, key_for(site, 13, "operator").secret) as script:
        answer = await script.post("/v1/act", json={})
    assert answer.json()["actor"] == wallet(13).address.lower()
    assert entries(site, "person.disabled")[-1]["actor"] == wallet(13).address.lower()
    assert acting() == "operator"


async def test_reading_is_not_entered_but_an_auditors_look_at_the_evidence(
    app: FastAPI, token: httpx.AsyncClient, site: Site
) -> None:
    add(site, 14, "auditor")
    before = len(entries(site, "evidence.read"))
    await token.get("/v1/audit/entries")
    async with program(app, key_for(site, 14, "auditor").secret) as auditor:
        await auditor.get("/v1/datasets")
        await auditor.get("/v1/audit/entries/1")
        await auditor.get("/log", headers={"Accept": "text/html"})
    told = entries(site, "evidence.read")[before:]
    assert [entry["data"]["route"] for entry in told] == ["/v1/audit/entries/{index}", "/log"]
    assert {entry["actor"] for entry in told} == {wallet(14).address.lower()}
    assert told[0]["subject"] == "1"


async def test_a_refusal_for_want_of_a_role_is_entered(app: FastAPI, site: Site) -> None:
    add(site, 15, "auditor")
    async with program(app, key_for(site, 15, "auditor").secret) as auditor:
        problem = is_problem(await auditor.post("/v1/act", json={}), 403, "RoleMissing")
    assert (problem["found"], problem["allowed"]) == (["auditor"], ["operator"])
    told = entries(site, "person.refused")[-1]
    assert told["actor"] == wallet(15).address.lower()
    assert (told["data"]["code"], told["subject"]) == ("RoleMissing", OWN)


async def test_refusals_of_one_address_do_not_fill_the_log(
    page: httpx.AsyncClient, site: Site
) -> None:
    before = len(entries(site, "person.refused"))
    for _ in range(80):
        await page.post("/v1/sign-in", json={"message": "", "signature": ""})
        await page.get("/v1/me", headers={"Authorization": "Bearer wrong"})
    assert len(entries(site, "person.refused")) - before <= 60


# ── Repeating, each for himself ──────────────────────────────────────────────────────────────


async def test_a_first_answer_is_for_its_actor_alone(
    app: FastAPI, token: httpx.AsyncClient, site: Site
) -> None:
    add(site, 16, "operator")
    headers = {"Idempotency-Key": "shared"}
    mine = await token.post("/v1/act", json={}, headers=headers)
    async with program(app, key_for(site, 16, "operator").secret) as other:
        theirs = await other.post("/v1/act", json={}, headers=headers)
    assert "idempotency-replayed" not in theirs.headers
    assert theirs.json() != mine.json()


# ── Counting attempts ────────────────────────────────────────────────────────────────────────


def test_a_window_ends_and_begins_anew() -> None:
    now = [0.0]
    attempts = Attempts(2, 60, clock=lambda: now[0])
    attempts.count("192.0.2.1")
    attempts.count("192.0.2.1")
    with pytest.raises(TooMany):
        attempts.count("192.0.2.1")
    attempts.count("192.0.2.2")
    now[0] = 60.0
    attempts.count("192.0.2.1")


def test_one_household_is_one_address() -> None:
    attempts = Attempts(1, 60, clock=lambda: 0.0)
    attempts.count("2001:db8::1")
    with pytest.raises(TooMany):
        attempts.count("2001:db8::ffff:1")
    attempts.count("2001:db8:0:1::1")


def test_an_address_in_two_notations_is_one() -> None:
    attempts = Attempts(1, 60, clock=lambda: 0.0)
    attempts.count("192.0.2.1")
    with pytest.raises(TooMany):
        attempts.count("::ffff:192.0.2.1")


def test_the_memory_of_attempts_is_bounded() -> None:
    attempts = Attempts(1, 60, clock=lambda: 0.0)
    for number in range(MAX_ADDRESSES + 50):
        attempts.take(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(attempts) == MAX_ADDRESSES


def test_the_tokens_holder_has_every_role() -> None:
    assert token_actor().roles == set(people.ROLES)
