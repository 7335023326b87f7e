"""The authority upgrades; nobody else does; what was written stays."""

from collections.abc import Mapping

import pytest
from web3.contract import Contract

from chain.compile import CONTRACTS, Artifact, load
from tests.contracts.world import NAMES, Refusal, World

DOMAIN_OF_CONSENTS = ["FATE-Chain Consent", "1"]


def create(world: World, artifact: Artifact) -> Contract:
    return world.create(artifact.abi, artifact.bytecode)


def facts(world: World) -> list[object]:
    read = world.consents.functions
    return [
        read.record(world.shop_grant).call(),
        read.state(world.shop_grant).call(),
        read.grantCount().call(),
        read.consortium().call(),
        read.eip712Domain().call()[1:3],
    ]


def test_grants_nonces_and_signatures_survive_an_upgrade(
    world: World, compiled: Mapping[str, Artifact]
) -> None:
    unrelayed = world.terms()
    signature = world.sign(unrelayed, "shop")
    used = world.terms()
    used_signature = world.sign(used, "shop")
    world.send(world.consents.functions.grant(used, used_signature), "relayer")
    job = world.running()
    before = facts(world)

    second = compiled["ConsentRegistryV2"]
    made = create(world, second)
    data = made.encode_abi("initializeV2", args=[42])
    world.send(world.consents.functions.upgradeToAndCall(made.address, data), "authority")

    upgraded = world.web3.eth.contract(address=world.consents.address, abi=second.abi)
    assert upgraded.functions.pauses().call() == 42
    assert facts(world) == before
    assert before[-1] == DOMAIN_OF_CONSENTS
    assert world.refusal(world.jobs.functions.requireRunnable(job)) is None
    taken = world.refusal(world.consents.functions.grant(used, used_signature))
    assert taken is not None
    assert taken.error == "ConsentTaken"
    world.send(world.consents.functions.grant(unrelayed, signature), "relayer")


def test_the_consortium_is_upgraded_too(world: World, compiled: Mapping[str, Artifact]) -> None:
    second = compiled["ConsortiumV2"]
    made = create(world, second)
    world.send(world.consortium.functions.upgradeToAndCall(made.address, b""), "authority")
    upgraded = world.web3.eth.contract(address=world.consortium.address, abi=second.abi)
    assert upgraded.functions.version().call() == 2
    assert upgraded.functions.authority().call() == world.address("authority")


@pytest.mark.parametrize("name", NAMES)
def test_a_moved_authority_alone_upgrades(world: World, name: str) -> None:
    contract = getattr(world, name)
    made = create(world, load(NAMES[name]))
    world.send(world.consortium.functions.moveAuthority(world.address("newcomer")), "authority")
    upgrade = contract.functions.upgradeToAndCall(made.address, b"")
    old, new = world.address("authority").lower(), world.address("newcomer").lower()
    assert world.refusal(upgrade, "authority") == Refusal("ConsortiumNotAuthority", (old, new))
    world.send(upgrade, "newcomer")


def test_only_an_upgradeable_contract_is_taken(world: World) -> None:
    """Else the contract would stay behind without a way to upgrade it again."""
    upgrade = world.jobs.functions.upgradeToAndCall
    proxy = world.sites.address
    refused = world.refusal(upgrade(proxy, b""), "authority")
    assert refused == Refusal("ERC1967InvalidImplementation", (proxy.lower(),))
    no_code = world.address("stranger")
    assert world.refusal(upgrade(no_code, b""), "authority") == Refusal("", ())


def test_an_implementation_does_not_upgrade_itself(world: World) -> None:
    made = create(world, load("Consortium"))
    upgrade = made.functions.upgradeToAndCall(made.address, b"")
    assert world.refusal(upgrade, "authority") == Refusal("UUPSUnauthorizedCallContext", ())


@pytest.mark.parametrize("name", [name for name in CONTRACTS if name != "ERC1967Proxy"])
def test_an_implementation_is_never_initialised(world: World, name: str) -> None:
    made = create(world, load(name))
    refused = world.refusal(made.functions.initialize(world.address("stranger")))
    assert refused == Refusal("InvalidInitialization", ())


@pytest.mark.parametrize("name", NAMES.values())
def test_a_contract_needs_a_consortium(world: World, name: str) -> None:
    """The proxy's creation fails with the initialiser."""
    made = create(world, load(name))
    data = made.encode_abi("initialize", args=["0x" + "00" * 20])
    proxy = load("ERC1967Proxy")
    factory = world.web3.eth.contract(abi=proxy.abi, bytecode=proxy.bytecode)
    creation = factory.constructor(made.address, data)
    assert world.transact(creation, "authority", gas=1_000_000)["status"] == 0


def test_an_upgrade_keeps_the_layout_of_what_it_extends(
    compiled: Mapping[str, Artifact],
) -> None:
    first = {space["namespace"]: space for space in load("ConsentRegistry").storage}
    second = {space["namespace"]: space for space in compiled["ConsentRegistryV2"].storage}
    assert set(second) - set(first) == {"fatechain.storage.ConsentRegistryV2"}
    assert {name: second[name] for name in first} == first
