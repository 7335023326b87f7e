"""Which role may call what: every route of the application is tried with every role.

`MAY` is the policy.  A route that changes something and does not stand in it fails the first test,
so nobody adds one without a decision; the second test tries what was decided.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts

from chain.testing import InProcessChain
from node.api.app import create_app
from node.api.auth import READING, require
from node.api.operator import OperatorRoute
from node.people import ROLES
from node.site import Site
from tests.node.crowd import WalletSite, add, key_for, make_wallet_site, program
from tests.node.face import is_problem, make_site, token_of, visitor

OWNER, SCIENTIST, DELEGATE = ("data-owner",), ("data-scientist",), ("delegate",)
OPERATOR, EVERYBODY = ("operator",), ROLES

MAY: dict[str, tuple[str, ...]] = {
    "POST /v1/sites": OPERATOR,
    "POST /v1/sites/endpoint": OPERATOR,
    "POST /v1/sites/operator": OPERATOR,
    "POST /v1/sites/{id}/retire": OPERATOR,
    "POST /v1/keys/rotations": OPERATOR,
    "POST /v1/keys/{id}/revoke": OPERATOR,
    "POST /v1/datasets": OWNER,
    "POST /v1/datasets/{id}/versions": OWNER,
    "POST /v1/datasets/{id}/versions/{version}/withdraw": OWNER,
    "POST /v1/grants": OWNER,
    "POST /v1/grants/typed-data": OWNER,
    "POST /v1/grants/signed": OWNER,
    "POST /v1/grants/{id}/revoke": OWNER,
    "POST /v1/approval-rules": OWNER,
    "POST /v1/approval-rules/{id}/remove": OWNER,
    "POST /v1/jobs": SCIENTIST,
    "POST /v1/jobs/{id}/approve": OWNER,
    "POST /v1/jobs/{id}/reject": OWNER,
    "POST /v1/jobs/{id}/cancel": SCIENTIST + OWNER,
    "POST /v1/jobs/{id}/deliver": SCIENTIST,
    "POST /v1/jobs/{id}/reconciliation": (*SCIENTIST, *OWNER, "auditor"),
    "POST /v1/predictions": SCIENTIST,
    "POST /v1/proposals": DELEGATE,
    "POST /v1/proposals/preview": DELEGATE,
    "POST /v1/proposals/{id}/votes": DELEGATE,
    "POST /v1/proposals/{id}/ballots": DELEGATE,
    "POST /v1/proposals/{id}/withdraw": DELEGATE,
    "POST /v1/proposals/{id}/queue": DELEGATE,
    "POST /v1/proposals/{id}/execute": DELEGATE,
    "POST /v1/reviews": DELEGATE,
    "POST /v1/reviews/{id}/opinions": DELEGATE,
    "POST /v1/appointments": DELEGATE,
    "POST /v1/appointments/{person}/dismiss": DELEGATE,
    "POST /v1/brake/pull": DELEGATE,
    "POST /v1/disputes": DELEGATE,
    "POST /v1/disputes/{id}/answer": DELEGATE,
    "POST /v1/disputes/{id}/withdraw": DELEGATE,
    "POST /v1/break-glass": OWNER + DELEGATE,
    "POST /v1/break-glass/draft": OWNER + DELEGATE,
    "POST /v1/break-glass/check": OWNER + DELEGATE,
    "POST /v1/break-glass/{id}/lapse": OWNER + DELEGATE,
    "GET /v1/admission-requests": DELEGATE,
    "GET /v1/admission-requests/{id}": DELEGATE,
    "POST /v1/admission-requests/{id}/dismiss": DELEGATE,
    "POST /v1/sponsorships": DELEGATE,
    "GET /v1/people": (*OPERATOR, "auditor"),
    "POST /v1/people": OPERATOR,
    "POST /v1/people/{address}/roles": OPERATOR,
    "POST /v1/people/{address}/disable": OPERATOR,
    # Of one's own: what is another's is refused inside.
    "POST /v1/api-keys": EVERYBODY,
    "POST /v1/api-keys/{id}/revoke": EVERYBODY,
    "POST /v1/audit/erasures": OPERATOR,
    "GET /v1/packs": (*OPERATOR, "auditor"),
    "POST /v1/audits": ("auditor", *DELEGATE),
    "POST /v1/audits/{id}/answer": (*OPERATOR, *DELEGATE),
    "GET /v1/audits/{id}/pack": (*OPERATOR, "auditor"),
    "GET /v1/audits/{id}/question": (*OPERATOR, "auditor"),
    "GET /v1/statements": (*OPERATOR, *OWNER, "auditor"),
    "GET /v1/statements/{month}": (*OPERATOR, *OWNER, "auditor"),
    "POST /v1/views": EVERYBODY,
    "POST /v1/views/{id}/remove": EVERYBODY,
    "POST /v1/views/{id}/watch": EVERYBODY,
    "POST /v1/views/{id}/unwatch": EVERYBODY,
    "GET /v1/alerts/webhook": OPERATOR,
    "POST /v1/alerts/webhook/test": OPERATOR,
    "POST /v1/alerts/{id}/acknowledge": OPERATOR + OWNER,
    "POST /v1/sign-out": EVERYBODY,
}
"""Who may; reading that is not named here is for everybody who may act at the site."""

PUBLIC = {
    "GET /v1/health": "alive, and no more",
    "GET /v1/network.json": "where the consortium's contracts are, for who wants to join",
    "POST /v1/admission-requests": "a newcomer asks; the request is signed and bounded",
    "GET /v1/sign-in/nonce": "before anybody is known",
    "POST /v1/sign-in": "before anybody is known",
}
"""What is answered to anybody, and why."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WalletSite]:
    home = tmp_path_factory.mktemp("roles") / "bank"
    with make_wallet_site(home, InProcessChain()) as site:
        yield site


@pytest.fixture(scope="module")
def app(site: Site) -> FastAPI:
    return create_app(site.settings.home, site)


@pytest.fixture(scope="module")
def credentials(site: Site) -> dict[str, str]:
    """An API key of a person with this one role; of the token it is the token."""
    found = {"token": token_of(site)}
    for number, role in enumerate(ROLES, 3):
        add(site, number, role)
        found[role] = key_for(site, number, role).secret
    return found


def operations(app: FastAPI) -> dict[str, APIRoute]:
    """Method and path → route, of the interface for people and programs."""
    return {
        f"{method} {context.path}": context.original_route
        for context in iter_route_contexts(app.routes)
        if isinstance(context.original_route, APIRoute) and (context.path or "").startswith("/v1/")
        for method in sorted(context.methods or ())
    }


def filled(path: str) -> str:
    """The path of something that does not exist."""
    return re.sub(
        r"\{(\w+)(:path)?\}",
        lambda name: {
            "version": "1",
            "index": "0",
            "address": "0x" + "99" * 20,
            "intent": "nothing",
        }.get(name[1], "0x" + "99" * 32),
        path,
    )


def test_every_route_that_changes_something_says_for_whom(app: FastAPI) -> None:
    named = operations(app)
    for operation, route in named.items():
        if operation in PUBLIC:
            continue
        assert isinstance(route, OperatorRoute), f"{operation} is answered to anybody"
        if operation.split()[0] not in READING:
            assert operation in MAY, f"{operation}: decide in MAY who may"
    assert not MAY.keys() - named.keys(), "MAY names routes that there are not"
    assert not PUBLIC.keys() - named.keys(), "PUBLIC names routes that there are not"


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_may_what_was_decided_and_nothing_else(
    app: FastAPI, credentials: dict[str, str], role: str
) -> None:
    async with program(app, credentials[role]) as actor:
        for operation in operations(app):
            if operation not in PUBLIC:
                answer = await _try(actor, operation)
                allowed = role in MAY.get(operation, EVERYBODY)
                assert _has_role(answer) is allowed, f"{role}, {operation}: {answer.text[:200]}"


async def test_the_tokens_holder_may_everything(app: FastAPI, credentials: dict[str, str]) -> None:
    async with program(app, credentials["token"]) as actor:
        for operation in operations(app):
            assert _has_role(await _try(actor, operation)), operation


async def test_nobody_may_nothing(app: FastAPI, site: Site) -> None:
    async with visitor(site, app) as stranger:
        for operation in operations(app):
            if operation not in PUBLIC:
                is_problem(await _try(stranger, operation), 401, "Unauthenticated")


async def _try(actor: httpx.AsyncClient, operation: str) -> httpx.Response:
    method, path = operation.split()
    body: dict[str, str] | None = None if method in READING else {}
    return await actor.request(method, filled(path), json=body)


def _has_role(answer: httpx.Response) -> bool:
    """Whatever came of the request, it was not for want of a role."""
    assert answer.status_code != 401, answer.text
    return answer.status_code != 403 or answer.json()["code"] != "RoleMissing"


async def test_a_route_that_names_no_role_is_for_operators_alone(tmp_path: Path) -> None:
    async def change() -> dict[str, bool]:
        return {"done": True}

    with make_site(tmp_path / "bank") as site:
        app = create_app(site.settings.home, site)
        app.router.routes.append(OperatorRoute("/v1/new", change, methods=["POST"]))
        add(site, 3, "data-owner", "data-scientist", "delegate", "auditor")
        add(site, 4, "operator")
        async with program(app, key_for(site, 3, "data-owner").secret) as owner:
            is_problem(await owner.post("/v1/new", json={}), 403, "RoleMissing")
        async with program(app, key_for(site, 4, "operator").secret) as operator:
            assert (await operator.post("/v1/new", json={})).json() == {"done": True}


def test_a_role_that_there_is_not_cannot_be_asked_for() -> None:
    with pytest.raises(ValueError, match="king"):
        require("king")
