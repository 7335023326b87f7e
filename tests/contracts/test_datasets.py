"""Datasets and their versions."""

import pytest

from tests.contracts.world import Refusal, World, h


def test_a_dataset_begins_with_version_one(world: World) -> None:
    read = world.datasets.functions
    found = read.dataset(world.shop_data).call()
    assert found[:4] == (world.shop_site, world.shop, "purchases", 1)
    version = read.version(world.shop_data, 1).call()
    assert version == (h("purchases schema"), h("purchases rows"), 3000, 10, found[4], 0)
    assert world.refusal(read.requireStanding(world.shop_data, 1)) is None


def test_a_version_is_added_and_withdrawn(world: World) -> None:
    functions = world.datasets.functions
    added = functions.addVersion(world.shop_data, h("schema"), h("rows"), 4000, 11)
    receipt = world.send(added, "shop_node")
    assert world.events(receipt, world.datasets)[0][1]["version"] == 2
    assert functions.dataset(world.shop_data).call()[3] == 2

    world.send(functions.withdrawVersion(world.shop_data, 1), "shop_node")
    withdrawn = Refusal("DatasetVersionWithdrawn", (world.shop_data, 1, world.block))
    assert world.refusal(functions.requireStanding(world.shop_data, 1)) == withdrawn
    again = functions.withdrawVersion(world.shop_data, 1)
    assert world.refusal(again, "shop_node") == withdrawn
    assert world.refusal(functions.requireStanding(world.shop_data, 2)) is None


def test_the_member_withdraws_without_its_node(world: World) -> None:
    world.send(world.membership.functions.suspend(world.shop), "authority")
    world.send(world.datasets.functions.withdrawVersion(world.shop_data, 1), "shop")


@pytest.mark.parametrize("actor", ["bank_node", "stranger"])
def test_others_change_no_dataset(world: World, actor: str) -> None:
    refused = Refusal("DatasetNotOwner", (world.shop_data, world.address(actor).lower()))
    functions = world.datasets.functions
    added = functions.addVersion(world.shop_data, h("schema"), h("rows"), 1, 1)
    assert world.refusal(added, actor) == refused
    assert world.refusal(functions.withdrawVersion(world.shop_data, 1), actor) == refused


def test_a_dataset_is_registered_by_the_operator_of_its_site(world: World) -> None:
    register = world.datasets.functions.register(
        world.shop_site, "stolen", h("schema"), h("rows"), 1, 1, 1
    )
    bank, shop = world.address("bank_node").lower(), world.address("shop_node").lower()
    refused = world.refusal(register, "bank_node")
    assert refused == Refusal("SiteNotOperator", (world.shop_site, bank, shop))


def test_a_dataset_is_registered_once(world: World) -> None:
    register = world.datasets.functions.register
    first = register(world.shop_site, "visits", h("schema"), h("rows"), 1, 1, 77)
    world.send(first, "shop_node")
    dataset = bytes(world.datasets.functions.datasetIdFor(world.address("shop_node"), 77).call())
    assert world.refusal(first, "shop_node") == Refusal("DatasetTaken", (dataset,))


@pytest.mark.parametrize(("rows", "columns"), [(0, 3), (3, 0)])
def test_an_empty_dataset_is_refused(world: World, rows: int, columns: int) -> None:
    functions = world.datasets.functions
    register = functions.register(world.shop_site, "no", h("s"), h("r"), rows, columns, 1)
    added = functions.addVersion(world.shop_data, h("s"), h("r"), rows, columns)
    for attempt in (register, added):
        assert world.refusal(attempt, "shop_node") == Refusal("DatasetEmpty", ())


def test_a_retired_site_adds_no_version(world: World) -> None:
    world.send(world.sites.functions.retire(world.shop_site), "shop")
    added = world.datasets.functions.addVersion(world.shop_data, h("s"), h("r"), 1, 1)
    refused = world.refusal(added, "shop_node")
    assert refused == Refusal("SiteRetired", (world.shop_site, world.block))


def test_unknown_datasets_and_versions_are_refused(world: World) -> None:
    functions = world.datasets.functions
    unknown = Refusal("DatasetUnknown", (h("none"),))
    assert world.refusal(functions.dataset(h("none"))) == unknown
    assert world.refusal(functions.requireStanding(h("none"), 1)) == unknown
    for version in (0, 2):
        refused = world.refusal(functions.version(world.shop_data, version))
        assert refused == Refusal("DatasetVersionUnknown", (world.shop_data, version))


def test_datasets_are_listed(world: World) -> None:
    read = world.datasets.functions
    assert read.datasetCount().call() == 2
    assert read.datasets(0, 10).call() == [world.bank_data, world.shop_data]
