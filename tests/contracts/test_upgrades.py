"""The consortium upgrades by naming the code; nobody else does; what was written stays."""

from collections.abc import Mapping

import pytest
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from web3.contract import Contract
from web3.contract.contract import ContractFunction

from chain.compile import Artifact, load
from tests.contracts.world import NAMES, Refusal, World, h, w

ARTIFACTS = {"consortium": "Consortium", **NAMES}
DOMAIN_OF_CONSENTS = ["FATE-Chain Consent", "1"]


def create(world: World, artifact: Artifact) -> Contract:
    return world.create(artifact.abi, artifact.bytecode)


def code_hash(world: World, address: str) -> bytes:
    return bytes(keccak(world.web3.eth.get_code(to_checksum_address(address))))


def upgrading(world: World, name: str, to: str) -> ContractFunction:
    """The call that upgrades a contract to the code that stands at `to`."""
    return world.consortium.functions.upgrade(w(name), to, code_hash(world, to))


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
    receipt = world.send(upgrading(world, "consents", made.address), "authority")
    upgraded = world.at(world.consents.address, second.abi)
    world.send(upgraded.functions.initializeV2(42), "authority")

    named = {
        "name": w("consents"),
        "implementation": made.address,
        "codeHash": code_hash(world, made.address),
    }
    assert world.events(receipt, world.consortium) == [("ContractUpgraded", named)]
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
    world.send(upgrading(world, "consortium", made.address), "authority")
    upgraded = world.at(world.consortium.address, second.abi)
    assert upgraded.functions.version().call() == 2
    assert upgraded.functions.authority().call() == world.address("authority")


@pytest.mark.parametrize("name", ["consortium", *NAMES])
def test_a_moved_authority_alone_upgrades(world: World, name: str) -> None:
    made = create(world, load(ARTIFACTS[name]))
    world.send(world.consortium.functions.moveAuthority(world.address("newcomer")), "authority")
    upgrade = upgrading(world, name, made.address)
    old, new = world.address("authority").lower(), world.address("newcomer").lower()
    assert world.refusal(upgrade, "authority") == Refusal("ConsortiumNotAuthority", (old, new))
    world.send(upgrade, "newcomer")


@pytest.mark.parametrize("name", ["consortium", *NAMES])
def test_nobody_upgrades_without_naming_the_code(world: World, name: str) -> None:
    """Not even the authority."""
    made = create(world, load(ARTIFACTS[name]))
    upgrade = getattr(world, name).functions.upgradeToAndCall(made.address, b"")
    for actor in ("authority", "bank", "stranger"):
        named = (world.address(actor).lower(), world.consortium.address.lower())
        assert world.refusal(upgrade, actor) == Refusal("ConsortiumUpgradeNotNamed", named)


def test_other_code_than_the_named_is_refused(world: World) -> None:
    """An address says nothing: what stands there is what the vote was about."""
    made, other = (create(world, load(name)) for name in ("JobRegistry", "ConsentRegistry"))
    found, named = code_hash(world, made.address), code_hash(world, other.address)
    upgrade = world.consortium.functions.upgrade
    for wrong in (named, h("audited"), bytes(32)):
        refused = world.refusal(upgrade(w("jobs"), made.address, wrong), "authority")
        assert refused == Refusal("ConsortiumCodeMismatch", (found, wrong))


def test_a_name_that_is_not_in_the_book_is_not_upgraded(world: World) -> None:
    made = create(world, load("JobRegistry"))
    refused = world.refusal(upgrading(world, "treasury", made.address), "authority")
    assert refused == Refusal("ConsortiumUnknownContract", (w("treasury"),))


def test_only_an_upgradeable_contract_is_taken(world: World) -> None:
    """Else the contract would stay behind without a way to upgrade it again."""
    proxy = world.sites.address
    refused = world.refusal(upgrading(world, "jobs", proxy), "authority")
    assert refused == Refusal("ERC1967InvalidImplementation", (proxy.lower(),))
    no_code = world.address("stranger")
    assert world.refusal(upgrading(world, "jobs", no_code), "authority") == Refusal("", ())


def test_an_implementation_does_not_upgrade_itself(world: World) -> None:
    made = create(world, load("Consortium"))
    upgrade = made.functions.upgradeToAndCall(made.address, b"")
    assert world.refusal(upgrade, "authority") == Refusal("UUPSUnauthorizedCallContext", ())


@pytest.mark.parametrize("name", ARTIFACTS.values())
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


@pytest.mark.parametrize("name", ARTIFACTS.values())
def test_the_named_code_is_the_artifact_with_its_own_address_in_it(world: World, name: str) -> None:
    """So whoever votes can compute the hash from the sources: nothing else varies."""
    made = create(world, load(name))
    own = bytes(12) + bytes.fromhex(made.address[2:])
    code = bytes.fromhex(load(name).deployed_bytecode[2:])
    push32 = b"\x7f"
    assert push32 + bytes(32) in code
    filled = code.replace(push32 + bytes(32), push32 + own)
    assert bytes(keccak(filled)) == code_hash(world, made.address)
