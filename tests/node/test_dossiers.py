"""The pages of one site and one member: what the chain and this node know of each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from node.registration import GrantRequest, register_dataset, sign_grant
from node.store import SiteMark
from node.ui.messages import LANGUAGES
from tests.node.face import new_id, operator
from tests.node.newcomers import ALGORITHM, Newcomers, gather

HTML = {"Accept": "text/html"}


@dataclass(frozen=True)
class World:
    """The shop's data is registered, granted to the bank, and its log anchored."""

    all: Newcomers
    dataset: str
    grant: str

    async def json(self, path: str, status: int = 200) -> dict[str, Any]:
        """As the bank's node tells it."""
        async with operator(self.all.bank) as client:
            answer = await client.get(path)
        assert answer.status_code == status, answer.text[:500]
        found: dict[str, Any] = answer.json()
        return found


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    all = gather(tmp_path_factory.mktemp("dossiers"))
    all.register()
    all.place(all.shop, "visits.csv")
    dataset = register_dataset(all.shop, "visits.csv", "visits").id
    all.settle()
    request = GrantRequest(dataset=dataset, grantee="The bank", algorithms=(ALGORITHM,))
    grant = sign_grant(all.shop, request).id
    all.settle()
    yield World(all, dataset, grant)
    all.close()


async def test_a_site_s_page_has_its_keys_heads_data_and_history(world: World) -> None:
    found = (await world.json(f"/sites/{world.all.shop.id}.json"))["found"]
    assert (found["site"]["name"], found["site"]["mine"], found["behind"]) == ("shop", False, 0)
    assert {key["purpose"] for key in found["site"]["keys"]} == {"request", "audit", "anchor"}
    assert [one["id"] for one in found["datasets"]["items"]] == [world.dataset]
    assert [one["id"] for one in found["grants"]["items"]] == [world.grant]
    head = found["heads"][0]
    assert (head["state"], head["witnesses"]) == ("PENDING", [])
    assert head["root"] == "0x" + world.all.shop.log.root(head["size"]).hex()
    told = {event["name"] for event in found["history"]}
    assert {"SiteRegistered", "DatasetRegistered", "Anchored"} <= told


async def test_a_member_s_page_has_its_sites_and_what_it_gave_and_received(world: World) -> None:
    members = world.all.members
    shop = (await world.json(f"/members/{members['shop']}.json"))["found"]
    bank = (await world.json(f"/members/{members['bank']}.json"))["found"]
    assert [site["id"] for site in shop["sites"]] == [world.all.shop.id]
    assert [one["id"] for one in shop["given"]["items"]] == [world.grant]
    assert shop["received"] == {"count": 0, "items": []}
    assert [one["id"] for one in bank["received"]["items"]] == [world.grant]
    assert bank["datasets"]["count"] == 0
    assert "MemberAdmitted" in {event["name"] for event in shop["history"]}


async def test_a_mark_is_seen_on_the_site_s_page_and_its_member_s(world: World) -> None:
    key = "0x" + "0f" * 20
    with world.all.bank.store.begin() as session:
        mark = {"site": world.all.shop.id, "key": key, "kind": "TWO_CHECKPOINTS"}
        session.add(SiteMark(**mark, size=4711, block=3))
    async with operator(world.all.bank) as client:
        for path in (f"/sites/{world.all.shop.id}", f"/members/{world.all.members['shop']}"):
            page = (await client.get(path, params={"lang": "en"}, headers=HTML)).text
            assert "its key signed two heads of 4,711 entries" in page
            assert key in page
        clean = await client.get(f"/sites/{world.all.bank.id}", headers=HTML)
    assert key not in clean.text


async def test_the_pages_are_there_in_both_languages_and_lead_to_each_other(world: World) -> None:
    site, member = f"/sites/{world.all.shop.id}", f"/members/{world.all.members['shop']}"
    leads = {"/sites": site, "/members": member, site: member, member: site}
    async with operator(world.all.bank) as client:
        for path, lead in leads.items():
            for language in LANGUAGES:
                answer = await client.get(path, params={"lang": language}, headers=HTML)
                assert answer.status_code == 200, answer.text[:500]
                assert f'href="{lead}"' in answer.text
        told = (await client.get(site, params={"lang": "en"}, headers=HTML)).text
        assert re.search(r">shop</a> registered the dataset\s+<a [^>]*>visits</a>", told)
        found = await client.get("/search", params={"q": world.all.shop.id}, headers=HTML)
    assert found.headers["location"] == site


async def test_nobody_s_page_is_not_there(world: World) -> None:
    await world.json(f"/sites/{new_id()}.json", status=404)
    await world.json(f"/members/{new_id()}.json", status=404)
    await world.json("/members/shop.json", status=404)
