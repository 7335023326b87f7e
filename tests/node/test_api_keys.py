"""API keys: shown once, kept as a digest, never more than their person, and no way to more."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from chain.testing import InProcessChain
from node import people
from node.api.app import create_app
from node.people import KEY_FORM, MAX_KEYS, YEAR
from node.site import Site
from node.store import ApiKey
from tests.node.crowd import (
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
from tests.node.face import is_problem, token_of

ADA, BOB, CY = range(3, 6)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WalletSite]:
    home = tmp_path_factory.mktemp("keys") / "bank"
    with make_wallet_site(home, InProcessChain()) as site:
        add(site, ADA, "data-scientist", "auditor")
        add(site, BOB, "operator")
        add(site, CY, "data-owner")
        yield site


@pytest.fixture
def app(site: Site) -> FastAPI:
    return create_app(site.settings.home, site)


@pytest.fixture
async def page(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Ada's browser, signed in."""
    async with browser(app) as page:
        assert (await sign_in(page, ADA)).status_code == 200
        yield page


@pytest.fixture
async def token(site: Site, app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with program(app, token_of(site)) as token:
        yield token


NEW = {"name": "nightly", "roles": ["data-scientist"], "expires_in": 3600}


async def test_a_person_makes_a_key_that_a_program_uses(
    page: httpx.AsyncClient, app: FastAPI
) -> None:
    made = (await page.post("/v1/api-keys", json=NEW, headers=OWN_PAGE)).json()
    assert re.fullmatch(r"fck_[0-9a-f]{16}_[0-9a-f]{64}", made["key"])
    async with program(app, made["key"]) as script:
        me = (await script.get("/v1/me")).json()
    assert (me["how"], me["roles"]) == ("api-key", ["data-scientist"])
    assert me["address"] == wallet(ADA).address.lower()


async def test_only_the_digest_of_a_key_is_kept(page: httpx.AsyncClient, site: Site) -> None:
    headers = OWN_PAGE | {"Idempotency-Key": "keep-nothing"}
    made = (await page.post("/v1/api-keys", json=NEW, headers=headers)).json()
    form = KEY_FORM.fullmatch(made["key"])
    assert form is not None
    secret = form[2]
    with site.store.read() as session:
        row = session.get_one(ApiKey, made["id"])
        assert row.digest == hashlib.sha256(bytes.fromhex(secret)).digest()
        tables = session.execute(text("SELECT name FROM sqlite_master WHERE type = 'table'"))
        for (table,) in tables.all():
            rows = session.execute(text(f'SELECT * FROM "{table}"')).all()
            assert secret not in str(rows), table
    assert secret not in str((await page.get("/v1/api-keys")).json())
    assert secret not in str(entries(site, "api_key.created"))


async def test_an_answer_with_a_key_is_not_given_again(page: httpx.AsyncClient) -> None:
    headers = OWN_PAGE | {"Idempotency-Key": "twice"}
    one = await page.post("/v1/api-keys", json=NEW, headers=headers)
    two = await page.post("/v1/api-keys", json=NEW, headers=headers)
    assert one.json()["key"] != two.json()["key"]
    assert "idempotency-replayed" not in two.headers


@pytest.mark.parametrize("seconds", [0, 59, YEAR + 1])
async def test_a_key_lives_for_a_minute_to_a_year(page: httpx.AsyncClient, seconds: int) -> None:
    body = NEW | {"expires_in": seconds}
    answer = await page.post("/v1/api-keys", json=body, headers=OWN_PAGE)
    is_problem(answer, 422, "InvalidRequest")


async def test_a_key_ends_with_its_time(app: FastAPI, site: Site) -> None:
    key = key_for(site, ADA, "auditor", seconds=600)
    assert people.key_actor(site.store, key.secret, time.time()) is not None
    assert people.key_actor(site.store, key.secret, key.expires_at) is None
    with site.store.begin() as session:
        session.get_one(ApiKey, key.id).expires_at = time.time()
    async with program(app, key.secret) as script:
        is_problem(await script.get("/v1/me"), 401, "Unauthenticated")


@pytest.mark.parametrize(
    "change",
    [
        lambda key: key[:-1] + ("0" if key[-1] != "0" else "1"),
        lambda key: key.replace("fck_", "fck_0", 1)[:-1],
        lambda key: key + "0",
        lambda key: key.upper(),
        lambda key: key.rsplit("_", 1)[1],
        lambda key: "fck_" + "0" * 16 + "_" + "0" * 64,
    ],
)
def test_no_other_text_is_the_key(site: Site, change: object) -> None:
    key = key_for(site, ADA, "auditor").secret
    assert callable(change)
    assert people.key_actor(site.store, change(key), time.time()) is None


# ── No way to more ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("role", ["operator", "data-owner", "delegate"])
async def test_a_key_has_no_role_that_its_person_lacks(page: httpx.AsyncClient, role: str) -> None:
    body = NEW | {"roles": ["auditor", role]}
    answer = await page.post("/v1/api-keys", json=body, headers=OWN_PAGE)
    problem = is_problem(answer, 403, "RoleMissing")
    assert problem["found"] == [role]


async def test_a_key_makes_no_key(app: FastAPI, site: Site) -> None:
    for number, roles in ((ADA, ("auditor",)), (BOB, ("operator",))):
        async with program(app, key_for(site, number, *roles).secret) as script:
            answer = await script.post("/v1/api-keys", json=NEW | {"roles": list(roles)})
            is_problem(answer, 403, "KeyMayNotGiveRights")


async def test_an_operators_key_adds_and_changes_nobody(app: FastAPI, site: Site) -> None:
    body = {"address": "0x" + "22" * 20, "name": "Eve", "roles": ["operator"]}
    ada = wallet(ADA).address
    async with program(app, key_for(site, BOB, "operator").secret) as script:
        for path, content in (
            ("/v1/people", body),
            (f"/v1/people/{ada}/roles", {"roles": ["operator"]}),
            (f"/v1/people/{ada}/disable", {}),
        ):
            is_problem(await script.post(path, json=content), 403, "KeyMayNotGiveRights")
        assert (await script.get("/v1/people")).status_code == 200


async def test_nobody_but_the_tokens_holder_makes_a_key_in_anothers_name(
    app: FastAPI, token: httpx.AsyncClient
) -> None:
    body = NEW | {"person": wallet(ADA).address}
    async with browser(app) as page:
        await sign_in(page, BOB)
        answer = await page.post("/v1/api-keys", json=body, headers=OWN_PAGE)
        is_problem(answer, 403, "KeyOfAnother")
    made = await token.post("/v1/api-keys", json=body)
    assert (made.status_code, made.json()["person"]) == (201, wallet(ADA).address.lower())


async def test_the_token_makes_no_key_of_its_own(token: httpx.AsyncClient) -> None:
    is_problem(await token.post("/v1/api-keys", json=NEW), 422, "InvalidRequest")


async def test_a_key_loses_the_role_that_its_person_loses(app: FastAPI, site: Site) -> None:
    address = add(site, 9, "data-owner", "auditor")
    key = key_for(site, 9, "data-owner")
    people.change(site.store, address, ["auditor"])
    async with program(app, key.secret) as script:
        me = (await script.get("/v1/me")).json()
        assert me["roles"] == []
        answer = await script.post("/v1/grants/0x" + "01" * 32 + "/revoke")
        is_problem(answer, 403, "RoleMissing")


def test_a_key_never_gains_the_role_that_its_person_gains(site: Site) -> None:
    address = add(site, 10, "auditor")
    key = key_for(site, 10, "auditor")
    people.change(site.store, address, ["auditor", "operator"])
    actor = people.key_actor(site.store, key.secret, time.time())
    assert actor is not None
    assert actor.roles == {"auditor"}


async def test_a_person_has_a_bounded_number_of_keys(token: httpx.AsyncClient, site: Site) -> None:
    add(site, 11, "auditor")
    for _ in range(MAX_KEYS):
        key_for(site, 11, "auditor")
    body = NEW | {"roles": ["auditor"], "person": wallet(11).address}
    is_problem(await token.post("/v1/api-keys", json=body), 409, "TooManyKeys")


# ── Looking after them ───────────────────────────────────────────────────────────────────────


async def test_a_revoked_key_opens_nothing(page: httpx.AsyncClient, app: FastAPI) -> None:
    made = (await page.post("/v1/api-keys", json=NEW, headers=OWN_PAGE)).json()
    answer = await page.post(f"/v1/api-keys/{made['id']}/revoke", headers=OWN_PAGE)
    assert answer.json()["state"] == "REVOKED"
    async with program(app, made["key"]) as script:
        is_problem(await script.get("/v1/me"), 401, "Unauthenticated")


async def test_a_key_of_another_is_not_there(page: httpx.AsyncClient, site: Site) -> None:
    other = key_for(site, CY, "data-owner")
    answer = await page.post(f"/v1/api-keys/{other.id}/revoke", headers=OWN_PAGE)
    is_problem(answer, 404, "NotFound")
    shown = (await page.get("/v1/api-keys", params={"all": True})).json()["items"]
    assert other.id not in {key["id"] for key in shown}


async def test_an_operator_sees_and_ends_every_key(token: httpx.AsyncClient, site: Site) -> None:
    other = key_for(site, CY, "data-owner")
    shown = (await token.get("/v1/api-keys", params={"all": True})).json()["items"]
    assert other.id in {key["id"] for key in shown}
    assert (await token.post(f"/v1/api-keys/{other.id}/revoke")).status_code == 200
    told = entries(site, "api_key.revoked")[-1]
    assert (told["actor"], told["data"]) == ("operator", {"key": other.id})


async def test_the_last_use_of_a_key_is_known(app: FastAPI, site: Site) -> None:
    key = key_for(site, ADA, "auditor")
    before = time.time()
    async with program(app, key.secret) as script:
        await script.get("/v1/me")
        shown = (await script.get("/v1/api-keys")).json()["items"]
    used = next(item["last_used_at"] for item in shown if item["id"] == key.id)
    assert before <= used <= time.time()
