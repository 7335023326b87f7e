"""Sites, datasets and grants over HTTP, with real contracts behind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from chain.canonical import digest_of
from chain.consents import ALL_MEMBERS
from node.api.app import create_app
from tests.node.consortium import ChainSite
from tests.node.face import is_problem, operator
from tests.node.newcomers import ALGORITHM, Newcomers, gather


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Newcomers]:
    world = gather(tmp_path_factory.mktemp("data"))
    world.register()
    world.place(world.bank, "credit.csv")
    world.place(world.shop, "visits.csv")
    yield world
    world.close()


def _client(site: ChainSite) -> httpx.AsyncClient:
    return operator(site, create_app(site.settings.home, site))


@pytest.fixture
async def bank(world: Newcomers) -> AsyncIterator[httpx.AsyncClient]:
    async with _client(world.bank) as client:
        yield client


@pytest.fixture
async def shop(world: Newcomers) -> AsyncIterator[httpx.AsyncClient]:
    async with _client(world.shop) as client:
        yield client


async def _register(shop: httpx.AsyncClient, name: str = "visits") -> str:
    answer = await shop.post("/v1/datasets", json={"path": "visits.csv", "name": name})
    assert answer.status_code == 202, answer.text
    id: str = answer.json()["id"]
    return id


def _terms(dataset: str, **changes: Any) -> dict[str, Any]:
    return {"dataset": dataset, "grantee": "The bank", "algorithms": [ALGORITHM]} | changes


async def test_sites_of_the_consortium_are_listed_with_their_members(
    bank: httpx.AsyncClient, world: Newcomers
) -> None:
    sites = (await bank.get("/v1/sites")).json()["items"]
    assert [(site["name"], site["member"]["name"], site["mine"]) for site in sites] == [
        ("bank", "The bank", True),
        ("shop", "The shop", False),
    ]
    one = (await bank.get(f"/v1/sites/{world.shop.id}")).json()
    assert one == sites[1]
    assert one["roles"] == ["data-owner", "model-user"]


async def test_sites_come_in_pages(bank: httpx.AsyncClient) -> None:
    first = (await bank.get("/v1/sites", params={"limit": 1})).json()
    second = (await bank.get("/v1/sites", params={"limit": 1, "cursor": first["next"]})).json()
    assert [page["items"][0]["name"] for page in (first, second)] == ["bank", "shop"]
    assert second["next"] is None


async def test_an_unknown_site_is_a_problem_of_the_chain(bank: httpx.AsyncClient) -> None:
    is_problem(await bank.get("/v1/sites/0x" + "12" * 32), 404, "UnknownSite")


async def test_a_site_of_no_member_learns_why_it_is_refused(world: Newcomers) -> None:
    async with _client(world.stranger) as stranger:
        answer = await stranger.post("/v1/sites", json={"roles": ["auditor"]})
    is_problem(answer, 403, "MemberNotActive")


async def test_a_role_that_does_not_exist_is_refused(bank: httpx.AsyncClient) -> None:
    is_problem(await bank.post("/v1/sites", json={"roles": ["king"]}), 422, "InvalidRequest")


async def test_the_network_is_what_was_deployed(bank: httpx.AsyncClient, world: Newcomers) -> None:
    network = (await bank.get("/v1/network")).json()
    assert network["consortium"] == world.network.consortium.address
    assert network["schemes"] == ["paillier"]
    assert network["minimums"]["key-bits"] == 2048
    assert [(a["name"], a["code_digest"], a["here"]) for a in network["algorithms"]] == [
        ("sums", ALGORITHM, False)
    ]
    assert {member["name"] for member in network["members"]} == {"The bank", "The shop"}


async def test_a_dataset_is_pending_until_the_chain_has_it(
    shop: httpx.AsyncClient, bank: httpx.AsyncClient, world: Newcomers
) -> None:
    id = await _register(shop, "soon")
    pending = (await shop.get(f"/v1/datasets/{id}")).json()
    assert pending["state"] == "PENDING"
    assert id in {item["id"] for item in (await shop.get("/v1/datasets")).json()["items"]}
    world.settle()
    standing = (await shop.get(f"/v1/datasets/{id}")).json()
    assert standing["state"] == "STANDING"
    assert standing["versions"][0]["rows_root"] == pending["versions"][0]["rows_root"]
    seen_elsewhere = (await bank.get(f"/v1/datasets/{id}")).json()
    assert seen_elsewhere["local"] is None
    assert seen_elsewhere["owner"]["name"] == "The shop"


async def test_neither_key_nor_path_of_a_dataset_is_shown(
    shop: httpx.AsyncClient, world: Newcomers
) -> None:
    id = await _register(shop, "hidden")
    text = (await shop.get(f"/v1/datasets/{id}")).text
    assert str(world.shop.settings.home) not in text
    assert "commitment" not in text


async def test_a_path_outside_the_data_folder_is_refused(shop: httpx.AsyncClient) -> None:
    answer = await shop.post("/v1/datasets", json={"path": "/etc/hostname", "name": "host"})
    is_problem(answer, 403, "PathNotAllowed")


async def test_a_broken_file_is_refused_by_what_is_wrong(
    shop: httpx.AsyncClient, world: Newcomers
) -> None:
    world.place(world.shop, "broken.csv", "id,a\n1,2\n1,3\n")
    answer = await shop.post("/v1/datasets", json={"path": "broken.csv", "name": "broken"})
    is_problem(answer, 422, "DuplicateIds")


async def test_the_same_key_registers_one_dataset(
    shop: httpx.AsyncClient, world: Newcomers
) -> None:
    body, headers = {"path": "visits.csv", "name": "once"}, {"Idempotency-Key": "once"}
    answers = [await shop.post("/v1/datasets", json=body, headers=headers) for _ in range(2)]
    assert answers[0].json()["id"] == answers[1].json()["id"]
    world.settle()
    items = (await shop.get("/v1/datasets")).json()["items"]
    assert sum(item["name"] == "once" for item in items) == 1


async def test_versions_are_added_and_withdrawn(shop: httpx.AsyncClient, world: Newcomers) -> None:
    id = await _register(shop, "versions")
    world.settle()
    added = await shop.post(f"/v1/datasets/{id}/versions", json={"path": "visits.csv"})
    assert added.status_code == 202
    world.settle()
    await shop.post(f"/v1/datasets/{id}/versions/1/withdraw")
    world.settle()
    versions = (await shop.get(f"/v1/datasets/{id}")).json()["versions"]
    assert [version["state"] for version in versions] == ["WITHDRAWN", "STANDING"]


async def test_an_accepted_request_leads_to_its_transaction(
    shop: httpx.AsyncClient, world: Newcomers
) -> None:
    answer = (await shop.post("/v1/datasets", json={"path": "visits.csv", "name": "way"})).json()
    assert answer["state"] == "WAITING"
    world.settle()
    transaction = (await shop.get(answer["transaction"])).json()
    assert transaction["state"] == "CONFIRMED"
    assert transaction["gas_used"] > 0


async def test_a_grant_is_pending_then_active_then_revoked(
    shop: httpx.AsyncClient, bank: httpx.AsyncClient, world: Newcomers
) -> None:
    dataset = await _register(shop, "granted")
    world.settle()
    answer = await shop.post("/v1/grants", json=_terms(dataset, uses=2, min_rows=5))
    id = answer.json()["id"]
    pending = (await shop.get(f"/v1/grants/{id}")).json()
    assert pending["state"] == "PENDING"
    world.settle()
    active = (await bank.get(f"/v1/grants/{id}")).json()
    assert active["state"] == "ACTIVE"
    assert active["limits"] == pending["limits"]
    assert (active["owner"]["name"], active["grantee"]["name"]) == ("The shop", "The bank")
    assert active["algorithms"] == [{"digest": ALGORITHM, "name": "sums"}]
    assert active["purposes"] == ["training"]
    assert (await shop.post(f"/v1/grants/{id}/revoke")).status_code == 202
    world.settle()
    revoked = (await bank.get(f"/v1/grants/{id}")).json()
    assert revoked["state"] == "REVOKED"
    assert revoked["revoked_at"] > 0


async def test_column_rules_are_shown_to_their_owner_alone(
    shop: httpx.AsyncClient, bank: httpx.AsyncClient, world: Newcomers
) -> None:
    dataset = await _register(shop, "columns")
    world.settle()
    rules = {"visits": "protocol", "*": "none"}
    terms = _terms(dataset, grantee="all", purposes=["training", "quality"], column_rules=rules)
    answer = await shop.post("/v1/grants", json=terms)
    assert answer.status_code == 202
    id = answer.json()["id"]
    world.settle()
    own, other = [(await site.get(f"/v1/grants/{id}")).json() for site in (shop, bank)]
    assert own["column_rules"] == rules
    assert other["column_rules"] is None
    assert own["column_rules_digest"] == other["column_rules_digest"] == digest_of(rules)
    assert other["purposes"] == ["training", "quality"]
    assert other["grantee"] == {"id": ALL_MEMBERS, "name": "all members"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"purposes": []},
        {"purposes": ["training"] * 9},
        {"purposes": ["two words"]},
        {"algorithms": []},
        {"algorithms": [ALGORITHM] * 9},
        {"column_rules": {"visits": "read"}},
        {"column_rules": {"": "join"}},
        {"purpose": "training"},
    ],
)
async def test_terms_of_another_shape_are_refused(
    shop: httpx.AsyncClient, wrong: dict[str, Any]
) -> None:
    is_problem(
        await shop.post("/v1/grants", json=_terms("0x" + "77" * 32, **wrong)), 422, "InvalidRequest"
    )


async def test_grants_are_filtered_by_dataset_and_state(
    shop: httpx.AsyncClient, world: Newcomers
) -> None:
    dataset = await _register(shop, "filtered")
    world.settle()
    ids = [(await shop.post("/v1/grants", json=_terms(dataset))).json()["id"] for _ in range(2)]
    world.settle()
    await shop.post(f"/v1/grants/{ids[0]}/revoke")
    world.settle()
    query = {"dataset": dataset, "state": "ACTIVE"}
    found = (await shop.get("/v1/grants", params=query)).json()["items"]
    assert [grant["id"] for grant in found] == [ids[1]]


async def test_a_grant_by_somebody_else_is_refused_by_the_chain(
    shop: httpx.AsyncClient, bank: httpx.AsyncClient, world: Newcomers
) -> None:
    dataset = await _register(shop, "others")
    world.settle()
    is_problem(await bank.post("/v1/grants", json=_terms(dataset)), 401, "SignatureInvalid")


async def test_terms_that_no_grant_can_have_are_refused(shop: httpx.AsyncClient) -> None:
    answer = await shop.post("/v1/grants", json=_terms("0x" + "aa" * 32, uses=0))
    is_problem(answer, 422, "InvalidRequest")


async def test_unknown_data_and_grants_are_not_found(bank: httpx.AsyncClient) -> None:
    unknown = "0x" + "ee" * 32
    is_problem(await bank.get(f"/v1/datasets/{unknown}"), 404, "DatasetUnknown")
    is_problem(await bank.get(f"/v1/grants/{unknown}"), 404, "GrantMissing")
    is_problem(await bank.get(f"/v1/models/{unknown}"), 404, "ModelUnknown")
