"""The operator's interface: who may use it, how it refuses, how it repeats itself."""

from __future__ import annotations

import asyncio
import contextlib
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from hypothesis import given
from hypothesis import strategies as st

from node.api.accepted import settled
from node.api.app import create_app
from node.api.limits import MAX_BODY_BYTES
from node.api.operator import UNANSWERED_SECONDS, OperatorRoute
from node.api.pages import from_cursor, to_cursor
from node.api.views.transactions import refusal, show
from node.errors import Invalid
from node.site import Site
from node.store import ChainTx, IdempotencyKey
from tests.node.face import add_job, is_problem, make_site, new_id, operator, token_of, visitor
from tests.node.test_roles import PUBLIC


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with make_site(tmp_path_factory.mktemp("api") / "bank") as site:
        yield site


@pytest.fixture(scope="module")
def app(site: Site) -> FastAPI:
    """With a few routes of its own that count and fail on demand."""
    app = create_app(site.settings.home, site)
    app.state.calls = 0

    async def count(request: Request) -> dict[str, int]:
        request.app.state.calls += 1
        if (await request.json()).get("fail"):
            raise Invalid("InvalidRequest", "asked to fail")
        return {"calls": request.app.state.calls}

    def boom() -> None:
        raise RuntimeError("the secret is 42")

    for path, handler, methods in (("/v1/count", count, ["POST"]), ("/v1/boom", boom, ["GET"])):
        app.router.routes.append(OperatorRoute(path, handler, methods=methods))
    return app


@pytest.fixture
async def api(site: Site, app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with operator(site, app) as client:
        yield client


# ── Who may use it ───────────────────────────────────────────────────────────────────────────


PROTECTED = (
    "/v1/jobs",
    "/v1/sites",
    "/v1/datasets",
    "/v1/grants",
    "/v1/models",
    "/v1/predictions",
    "/v1/audit/entries",
    "/v1/audit/checkpoint",
    "/v1/transactions",
    "/v1/network",
    "/v1/members",
)


@pytest.mark.parametrize("path", PROTECTED)
async def test_nothing_is_told_without_credentials(site: Site, app: FastAPI, path: str) -> None:
    async with visitor(site, app) as client:
        answer = await client.get(path)
    is_problem(answer, 401, "Unauthenticated")
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("credentials", ["Bearer wrong", "Bearer ", "Basic abc", "Bearer \xff"])
async def test_another_token_is_refused(site: Site, app: FastAPI, credentials: str) -> None:
    headers = {"Authorization": credentials.encode("latin-1")}
    async with visitor(site, app) as client:
        is_problem(await client.get("/v1/jobs", headers=headers), 401, "Unauthenticated")


async def test_an_unauthorised_body_is_not_looked_at(site: Site, app: FastAPI) -> None:
    async with visitor(site, app) as client:
        is_problem(await client.post("/v1/grants", content=b"not json"), 401, "Unauthenticated")


async def test_liveness_needs_no_token_and_tells_nothing_else(site: Site, app: FastAPI) -> None:
    async with visitor(site, app) as client:
        assert (await client.get("/v1/health")).json() == {"status": "live"}


async def test_health_with_a_wrong_token_is_refused(site: Site, app: FastAPI) -> None:
    async with visitor(site, app, Authorization="Bearer wrong") as client:
        is_problem(await client.get("/v1/health"), 401, "Unauthenticated")


async def test_health_names_each_part_that_does_not_live(api: httpx.AsyncClient) -> None:
    health = (await api.get("/v1/health")).json()
    assert health["ready"] is False
    assert {name for name, part in health["parts"].items() if not part["ok"]} == {
        "chain",
        "broker",
        "sync",
        "worker",
    }


# ── How it refuses ───────────────────────────────────────────────────────────────────────────


async def test_an_unknown_address_is_a_problem(api: httpx.AsyncClient) -> None:
    problem = is_problem(await api.get("/v1/nothing"), 404, "NotFound")
    assert problem["type"] == "/problems/not-found"
    assert problem["instance"] == "/v1/nothing"


async def test_a_wrong_method_is_a_problem_that_names_the_right_one(api: httpx.AsyncClient) -> None:
    problem = is_problem(await api.delete("/v1/jobs"), 405, "MethodNotAllowed")
    assert "GET" in problem["allowed"]


async def test_a_body_that_does_not_fit_is_named_by_place_and_never_quoted(
    api: httpx.AsyncClient,
) -> None:
    answer = await api.post("/v1/grants", json={"password": "hunter2", "uses": "hunter2"})
    problem = is_problem(answer, 422, "InvalidRequest")
    assert "body.dataset" in {fault["where"] for fault in problem["found"]}
    assert "hunter2" not in answer.text


async def test_broken_json_is_a_problem(api: httpx.AsyncClient) -> None:
    is_problem(await api.post("/v1/grants", content=b"{"), 422, "InvalidRequest")


async def test_an_unforeseen_error_does_not_tell_its_cause(api: httpx.AsyncClient) -> None:
    answer = await api.get("/v1/boom")
    is_problem(answer, 500, "InternalError")
    assert "42" not in answer.text


async def test_a_declared_body_that_is_too_large_is_refused_unread(api: httpx.AsyncClient) -> None:
    answer = await api.post("/v1/grants", content=b"x" * (MAX_BODY_BYTES + 1))
    assert is_problem(answer, 413, "MessageTooLarge")["allowed"] == MAX_BODY_BYTES


async def test_a_streamed_body_is_refused_when_it_passes_the_limit(api: httpx.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(MAX_BODY_BYTES // 65536 + 2):
            yield b"x" * 65536

    is_problem(await api.post("/v1/grants", content=endless()), 413, "MessageTooLarge")


async def test_a_site_without_a_consortium_says_so(api: httpx.AsyncClient) -> None:
    is_problem(await api.get("/v1/sites"), 409, "NotConfigured")


async def test_an_id_of_another_form_is_refused(api: httpx.AsyncClient) -> None:
    is_problem(await api.get("/v1/jobs/0x12"), 422, "InvalidRequest")


@pytest.mark.parametrize("limit", ["0", "201", "x"])
async def test_a_page_has_one_to_two_hundred_items(api: httpx.AsyncClient, limit: str) -> None:
    is_problem(await api.get("/v1/jobs", params={"limit": limit}), 422, "InvalidRequest")


async def test_answers_bear_headers_that_keep_browsers_from_guessing(
    api: httpx.AsyncClient,
) -> None:
    headers = (await api.get("/v1/jobs")).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert "script-src" not in headers["content-security-policy"]
    assert headers["content-security-policy"].startswith("default-src 'none'")


# ── What it says of itself ───────────────────────────────────────────────────────────────────


def _operations(app: FastAPI) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method, operation)
        for path, methods in app.openapi()["paths"].items()
        for method, operation in methods.items()
    ]


def test_every_operation_has_a_summary_and_a_tag(app: FastAPI) -> None:
    for path, method, operation in _operations(app):
        if path not in ("/v1/count", "/v1/boom"):
            assert operation.get("summary"), f"{method} {path}"
            assert operation.get("tags"), f"{method} {path}"


def test_every_operation_but_liveness_and_sign_in_asks_for_credentials(app: FastAPI) -> None:
    for path, method, operation in _operations(app):
        if f"{method.upper()} {path}" not in PUBLIC and path not in ("/v1/count", "/v1/boom"):
            assert operation["security"] == [{"HTTPBearer": []}], f"{method} {path}"


def test_requests_of_consequence_show_an_example(app: FastAPI) -> None:
    schemas = app.openapi()["components"]["schemas"]
    for name in ("SiteRegistration", "NewDataset", "NewGrant", "Proposal", "NewPrediction"):
        assert schemas[name]["examples"], name


def test_the_document_names_every_operation_and_no_other(app: FastAPI) -> None:
    text = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(GET|POST|PUT|DELETE) (/v1/[^`?]*)`", text)) - {
        ("GET", "/v1/openapi.json")
    }
    there = {
        (method.upper(), path)
        for path, method, _ in _operations(app)
        if path not in ("/v1/count", "/v1/boom")
    }
    assert named == there


# ── Pages ────────────────────────────────────────────────────────────────────────────────────


@given(st.integers(), st.text(max_size=80), st.floats(allow_nan=False, allow_infinity=False))
def test_a_cursor_gives_back_its_position(number: int, text: str, real: float) -> None:
    cursor = to_cursor(number, text, real)
    assert from_cursor(cursor, int, str, float) == (number, text, real)


@given(st.text(max_size=60))
def test_no_other_text_passes_for_a_cursor(text: str) -> None:
    with contextlib.suppress(Invalid):
        position = from_cursor(text, int)
        assert position is not None
        assert isinstance(position[0], int)


def test_a_cursor_of_another_list_is_refused() -> None:
    with pytest.raises(Invalid):
        from_cursor(to_cursor(1.5, "x"), int)


async def test_pages_show_each_job_once_in_order(tmp_path: Path) -> None:
    with make_site(tmp_path / "paged") as site:
        jobs = [add_job(site, created_at=float(when // 2)) for when in range(7)]
        seen: list[str] = []
        cursor: str | None = None
        async with operator(site) as api:
            for _ in range(10):
                query = {"limit": 2} | ({} if cursor is None else {"cursor": cursor})
                page = (await api.get("/v1/jobs", params=query)).json()
                seen += [job["id"] for job in page["items"]]
                cursor = page["next"]
                if cursor is None:
                    break
        assert sorted(seen) == sorted(jobs)
        assert seen[0] == jobs[-1]


# ── Repeating ────────────────────────────────────────────────────────────────────────────────


async def test_a_repeated_request_gets_its_first_answer(api: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "first"}
    one = await api.post("/v1/count", json={}, headers=headers)
    two = await api.post("/v1/count", json={}, headers=headers)
    assert one.json() == two.json()
    assert two.headers["idempotency-replayed"] == "true"


async def test_without_a_key_every_request_is_a_new_one(api: httpx.AsyncClient) -> None:
    one, two = [(await api.post("/v1/count", json={})).json() for _ in range(2)]
    assert one != two


async def test_a_key_serves_one_request_only(api: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "second"}
    await api.post("/v1/count", json={}, headers=headers)
    answer = await api.post("/v1/count", json={"other": 1}, headers=headers)
    is_problem(answer, 409, "IdempotencyConflict")


async def test_waiting_longer_is_no_other_request(api: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "waiting"}
    await api.post("/v1/count", json={}, headers=headers)
    again = await api.post("/v1/count?wait=3", json={}, headers=headers)
    assert again.headers["idempotency-replayed"] == "true"


async def test_a_request_that_failed_leaves_its_key_free(api: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "third"}
    is_problem(
        await api.post("/v1/count", json={"fail": True}, headers=headers), 422, "InvalidRequest"
    )
    answer = await api.post("/v1/count", json={}, headers=headers)
    assert answer.status_code == 200


async def test_a_request_under_way_is_not_answered_twice(
    api: httpx.AsyncClient, site: Site
) -> None:
    headers = {"Idempotency-Key": "fourth"}
    await api.post("/v1/count", json={}, headers=headers)
    with site.store.begin() as session:
        session.get_one(IdempotencyKey, ("operator", "fourth")).status = None
    is_problem(await api.post("/v1/count", json={}, headers=headers), 409, "IdempotencyConflict")


async def test_an_interrupted_request_may_be_repeated_after_a_while(
    api: httpx.AsyncClient, site: Site
) -> None:
    headers = {"Idempotency-Key": "fifth"}
    await api.post("/v1/count", json={}, headers=headers)
    with site.store.begin() as session:
        row = session.get_one(IdempotencyKey, ("operator", "fifth"))
        row.status = None
        row.created_at -= UNANSWERED_SECONDS + 1
    assert (await api.post("/v1/count", json={}, headers=headers)).status_code == 200


async def test_a_key_has_a_bounded_length(api: httpx.AsyncClient) -> None:
    answer = await api.post("/v1/count", json={}, headers={"Idempotency-Key": "k" * 121})
    is_problem(answer, 422, "InvalidRequest")


async def test_two_at_once_with_one_key_act_once(api: httpx.AsyncClient, app: FastAPI) -> None:
    headers = {"Idempotency-Key": "sixth"}
    before = app.state.calls
    answers = await asyncio.gather(
        *(api.post("/v1/count", json={}, headers=headers) for _ in range(4))
    )
    assert app.state.calls == before + 1
    assert {answer.status_code for answer in answers} <= {200, 409}


# ── Transactions ─────────────────────────────────────────────────────────────────────────────


def _wanted(site: Site, state: str, **values: Any) -> str:
    intent = f"grant.record:{new_id()}"
    call = {"contract": "ConsentRegistry", "function": "grant", "args": [], "address": "0x"}
    with site.store.begin() as session:
        session.add(ChainTx(intent=intent, call=call, state=state, **values))
    return intent


async def test_a_transaction_is_found_by_intent_and_by_number(
    api: httpx.AsyncClient, site: Site
) -> None:
    intent = _wanted(site, "MINED", block=7, gas_used=21000)
    one = (await api.get(f"/v1/transactions/{intent}")).json()
    two = (await api.get(f"/v1/transactions/{one['id']}")).json()
    assert one == two
    assert (one["state"], one["block"]) == ("MINED", 7)


async def test_transactions_are_filtered_by_state_and_subject(
    api: httpx.AsyncClient, site: Site
) -> None:
    intent = _wanted(site, "SENT")
    subject = intent.split(":")[1]
    query = {"state": "SENT", "subject": subject}
    found = (await api.get("/v1/transactions", params=query)).json()["items"]
    assert [item["intent"] for item in found] == [intent]


async def test_waiting_ends_when_the_transaction_is_confirmed(site: Site) -> None:
    intent = _wanted(site, "SENT")

    async def confirm() -> None:
        with site.store.begin() as session:
            row = session.query(ChainTx).filter_by(intent=intent).one()
            row.state = "CONFIRMED"

    transaction, _ = await asyncio.gather(settled(site.store, intent, 30), confirm())
    assert transaction.state == "CONFIRMED"


async def test_waiting_no_longer_than_asked(site: Site) -> None:
    assert (await settled(site.store, _wanted(site, "SENT"), 0)).state == "SENT"


def test_a_refused_transaction_is_the_problem_that_the_contract_named(site: Site) -> None:
    intent = _wanted(site, "REFUSED", error={"code": "GrantRevoked", "detail": "revoked"})
    with site.store.read() as session:
        row = session.query(ChainTx).filter_by(intent=intent).one()
        problem = refusal(show(row))
    assert (problem.code, problem.status) == ("GrantRevoked", 403)


def test_the_token_stands_in_no_answer(site: Site, app: FastAPI) -> None:
    assert token_of(site) not in str(app.openapi())


def test_the_api_starts_without_what_computes() -> None:
    """A node runs in 1 GB: arrays and compiled kernels are for its workers."""
    program = (
        "import sys, node.api.app; "
        "print(*sorted({'numba', 'numpy', 'pyarrow', 'scipy', 'sklearn'} & sys.modules.keys()))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert found.stdout.split() == []
