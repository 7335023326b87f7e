"""Joining and keys over HTTP and from the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from node.api.app import create_app
from node.cli import main
from node.joining import FILE_NAME, MAX_REQUEST_BYTES, AdmissionRequest, make_request
from node.registration import register_site
from node.sponsoring import receive, sponsor, waiting
from tests.node.consortium import ChainSite, sync_of
from tests.node.council import Council, convene
from tests.node.face import is_problem, operator, serving, token_of, visitor


@pytest.fixture(scope="module")
def council(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Council]:
    council = convene(tmp_path_factory.mktemp("council"))
    for name in ("bank", "shop"):
        register_site(council.sites[name], ("data-owner", "model-user"))
    council.settle()
    yield council
    council.close()


def _document(site: ChainSite, name: str = "The Stranger") -> dict[str, Any]:
    return make_request(site, name).to_json()


def _run(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return end.value.code if isinstance(end.value.code, int) else 0


# ── The door ─────────────────────────────────────────────────────────────────────────────────


async def test_anybody_gets_the_network_file_and_it_opens_a_home(council: Council) -> None:
    async with visitor(council.bank) as anybody:
        answer = await anybody.get("/v1/network.json")
    assert answer.status_code == 200
    assert answer.json() == {
        "chainId": council.network.client.chain_id,
        "consortium": council.network.consortium.address,
        "fromBlock": council.bank.settings.from_block,
    }


async def test_a_stranger_hands_in_a_request_and_only_delegates_see_it(council: Council) -> None:
    app = create_app(council.bank.settings.home, council.bank)
    async with visitor(council.bank, app) as anybody:
        answer = await anybody.post("/v1/admission-requests", json=_document(council.stranger))
        assert answer.status_code == 202, answer.text
        id = answer.json()["id"]
        is_problem(await anybody.get("/v1/admission-requests"), 401, "Unauthenticated")
        is_problem(await anybody.post("/v1/sponsorships", json={"id": id}), 401, "Unauthenticated")
    async with operator(council.bank, app) as delegate:
        [shown] = (await delegate.get("/v1/admission-requests")).json()
    assert (shown["id"], shown["name"]) == (id, "The Stranger")
    assert shown["account"] == council.stranger.identity.address


async def test_what_nobody_signed_is_not_kept(council: Council) -> None:
    document = _document(council.stranger) | {"name": "Somebody Else"}
    async with visitor(council.shop) as anybody:
        answer = await anybody.post("/v1/admission-requests", json=document)
        is_problem(answer, 401, "SignatureInvalid")
        huge = b"{" + b" " * MAX_REQUEST_BYTES
        is_problem(
            await anybody.post("/v1/admission-requests", content=huge), 413, "MessageTooLarge"
        )
        is_problem(
            await anybody.post("/v1/admission-requests", content=b"[]"), 422, "InvalidRequest"
        )
    async with operator(council.shop) as delegate:
        assert (await delegate.get("/v1/admission-requests")).json() == []


async def test_who_knocks_too_often_is_told_to_wait(council: Council) -> None:
    app = create_app(council.shop.settings.home, council.shop)
    async with visitor(council.shop, app) as anybody:
        for _ in range(app.state.door.per_address.limit):
            await anybody.post("/v1/admission-requests", content=b"[]")
        answer = await anybody.post("/v1/admission-requests", content=b"[]")
    is_problem(answer, 429, "TooManyAttempts")


async def test_a_delegate_puts_a_request_aside(council: Council) -> None:
    app = create_app(council.bank.settings.home, council.bank)
    async with operator(council.bank, app) as delegate:
        document = _document(council.stranger, "Put Aside")
        id = (await delegate.post("/v1/admission-requests", json=document)).json()["id"]
        answer = await delegate.post(f"/v1/admission-requests/{id}/dismiss")
        assert answer.json()["dismissed_at"] is not None
        assert (await delegate.get("/v1/admission-requests")).json() == []
        unknown = "0x" + "77" * 32
        is_problem(await delegate.get(f"/v1/admission-requests/{unknown}"), 404, "NotFound")


# ── From the request to a working node ───────────────────────────────────────────────────────


def test_an_institution_comes_in_by_a_vote_and_its_node_works(
    council: Council, capsys: pytest.CaptureFixture[str]
) -> None:
    """Asked for by the newcomer, sponsored over HTTP, voted by two, and registered by itself."""
    newcomer = council.stranger
    newcomer.change(roles=("data-owner",))
    newcomer.__dict__.pop("test_sync")  # started again, as `fatechain up` does
    _document(newcomer, "The Newcomer")
    with serving(council.bank) as url:
        bank = ("--url", url, "--token", token_of(council.bank), "--json")
        path = newcomer.settings.home / FILE_NAME
        assert _run("sponsor", path, "--body", "We know them.", "--wait", "0", *bank) == 0
        proposal = json.loads(capsys.readouterr().out)["id"]
    council.settle()
    council.pass_(proposal)
    council.enact(proposal)
    assert council.row("bank", proposal).state == "EXECUTED"
    council.chain.mine(3)
    for _ in range(3):
        sync_of(newcomer).step()
        council.chain.mine(3)
    assert council.network.sites.is_active(newcomer.id)
    member = council.network.membership.member_of(newcomer.identity.address)
    assert council.network.membership.member(member).name == "The Newcomer"


def test_a_request_in_the_table_is_sponsored_once(council: Council, tmp_path: Path) -> None:
    with ChainSite.create(
        tmp_path / "late",
        name="late",
        scrypt_cost=2**10,
        consortium=council.bank.settings.consortium,
    ) as late:
        late.chain = council.chain
        document = _document(late, "The Late One")
    with serving(council.bank) as url:
        headers = {"Authorization": f"Bearer {token_of(council.bank)}"}
        with httpx.Client(base_url=url, headers=headers, timeout=30) as api:
            id = api.post("/v1/admission-requests", json=document).json()["id"]
            assert AdmissionRequest.model_validate(document).id == id
            first = api.post("/v1/sponsorships", json={"id": id})
            again = api.post("/v1/sponsorships", json={"id": id})
            both = api.post("/v1/sponsorships", json={"id": id, "request": document})
            assert api.get("/v1/admission-requests").json() == []
    assert first.status_code == 202, first.text
    assert is_problem(again, 409, "Conflict")["found"] == first.json()["id"]
    is_problem(both, 422, "InvalidRequest")


def test_a_request_whose_vote_was_lost_is_sponsored_again(council: Council, tmp_path: Path) -> None:
    with ChainSite.create(
        tmp_path / "unlucky",
        name="unlucky",
        scrypt_cost=2**10,
        consortium=council.bank.settings.consortium,
    ) as unlucky:
        unlucky.chain = council.chain
        request = receive(council.bank, json.dumps(_document(unlucky, "The Unlucky")).encode())
    first = sponsor(council.bank, request)
    council.settle()
    assert request.id not in [row.id for row in waiting(council.bank)]
    council.open_vote(first.id)
    council.close_vote(first.id)
    council.settle()
    assert request.id in [row.id for row in waiting(council.bank)]
    again = sponsor(council.bank, request)
    council.settle()
    assert council.row("bank", first.id).state == "DEFEATED"
    assert council.row("bank", again.id).state in ("PENDING", "ACTIVE")
    assert council.row("bank", again.id).title == "Admit The Unlucky, vote 2"


# ── Keys ─────────────────────────────────────────────────────────────────────────────────────


def _keys(api: httpx.Client, purpose: str) -> list[dict[str, Any]]:
    return [key for key in api.get("/v1/keys").json() if key["purpose"] == purpose]


def test_keys_are_listed_rotated_and_revoked_over_http(council: Council) -> None:
    with serving(council.shop) as url:
        headers = {"Authorization": f"Bearer {token_of(council.shop)}"}
        with httpx.Client(base_url=url, headers=headers, timeout=30) as api:
            [old] = _keys(api, "audit")
            assert (old["signs"], old["proven"], old["rotation"]) == (True, True, None)
            refused = api.post(f"/v1/keys/{old['id']}/revoke", json={})
            is_problem(refused, 409, "KeyInUse")
            made = api.post("/v1/keys/rotations", json={"purpose": "audit"})
            assert made.status_code == 202, made.text
            for _ in range(3):
                council.settle()
            council.chain.mine(4)
            council.sync("shop")
            before, after = _keys(api, "audit")
            assert (before["signs"], after["signs"]) == (False, True)
            assert (after["id"], after["rotation"]["state"]) == (made.json()["id"], "OVERLAP")
            [row] = api.get("/v1/keys/rotations").json()
            assert (row["key"], row["old_key"]) == (after["id"], before["id"])
            assert api.post(f"/v1/keys/{old['id']}/revoke", json={}).status_code == 202
            for _ in range(2):
                council.settle()
            assert _keys(api, "audit")[0]["until_block"] > 0


def test_the_command_line_lists_keys_and_refuses_what_is_none(
    council: Council, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(council.bank) as url:
        at = ("--url", url, "--token", token_of(council.bank), "--json")
        assert _run("key", "list", *at) == 0
        listed = json.loads(capsys.readouterr().out)
        assert {key["purpose"] for key in listed} == {"request", "audit", "anchor"}
        assert _run("key", "rotate", "chain", *at) == 1
        assert json.loads(capsys.readouterr().err)["code"] == "InvalidRequest"
        assert _run("key", "revoke", "0x" + "99" * 32, *at) == 1
        assert json.loads(capsys.readouterr().err)["code"] == "NotFound"


def test_the_check_of_a_running_node_ends_with_one_when_something_is_missing(
    council: Council, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(council.bank) as url:
        at = ("--url", url, "--token", token_of(council.bank), "--json")
        assert _run("check", *at) == 1
    shown = json.loads(capsys.readouterr().out)
    assert shown["ok"] is False
    missing = {item["name"]: item["todo"] for item in shown["items"] if item["status"] == "fail"}
    assert missing["sync"] == "start the node: fatechain up"
