"""Sites and their keys."""

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak

from tests.contracts.world import ZERO, Id, Refusal, World, h, w

REQUEST = w("request")


def key_id(world: World, site: Id, public: bytes) -> Id:
    return next(bytes(k[0]) for k in world.sites.functions.keys(site).call() if k[2] == public)


def test_a_registered_site_is_active_and_its_keys_stand(world: World) -> None:
    read = world.sites.functions
    member, operator, name, endpoint, roles, since, until = read.site(world.bank_site).call()
    assert (member, operator) == (world.bank, world.address("bank_node"))
    assert (name, endpoint, roles, until) == ("bank_node", "https://bank.example", 3, 0)
    assert read.isActive(world.bank_site).call()
    assert read.siteOf(operator).call() == world.bank_site
    assert read.memberOf(world.bank_site).call() == world.bank
    keys = read.keys(world.bank_site).call()
    assert [(k[1], k[3], k[4]) for k in keys] == [(REQUEST, since, 0), (w("audit"), since, 0)]
    assert read.key(keys[0][0]).call() == [world.bank_site, keys[0]]


def test_no_member_no_site(world: World) -> None:
    refused = world.refusal(
        world.sites.functions.register(world.address("relayer"), "x", "https://x", 1, [], 1)
    )
    assert refused == Refusal("MembershipNotAMember", (world.address("stranger").lower(),))


def test_a_suspended_member_registers_no_site(world: World) -> None:
    world.send(world.membership.functions.suspend(world.bank), "authority")
    refused = world.refusal(
        world.sites.functions.register(world.address("relayer"), "x", "https://x", 1, [], 1), "bank"
    )
    assert refused == Refusal("MembershipNotActive", (world.bank, 2))


def test_a_site_is_registered_once(world: World) -> None:
    register = world.sites.functions.register
    world.send(register(world.address("bank"), "x", "https://x", 1, [], 5), "bank")
    refused = world.refusal(register(world.address("relayer"), "x", "https://x", 1, [], 5), "bank")
    site = bytes(world.sites.functions.siteIdFor(world.address("bank"), 5).call())
    assert refused == Refusal("SiteTaken", (site,))


def test_an_account_operates_one_site(world: World) -> None:
    operator = world.address("shop_node")
    refused = world.refusal(
        world.sites.functions.register(operator, "x", "https://x", 1, [], 5), "bank"
    )
    assert refused == Refusal("SiteOperatorTaken", (operator.lower(), world.shop_site))


def test_an_account_is_not_made_the_operator_of_anothers_site(world: World) -> None:
    """It could never operate one of its own: an account speaks for one site for ever."""
    operator, functions = world.address("newcomer"), world.sites.functions
    register = functions.register(operator, "x", "https://x", 1, [], 5)
    site, other = (bytes(functions.siteIdFor(world.address("bank"), n).call()) for n in (5, 6))
    wrong = Refusal("SiteOperatorNotAgreed", (site, operator.lower()))
    assert world.refusal(register, "bank") == wrong
    world.send(functions.agree(other), "newcomer")
    assert world.refusal(register, "bank") == wrong
    receipt = world.send(functions.agree(site), "newcomer")
    assert world.events(receipt, world.sites) == [
        ("SiteOperatorAgreed", {"id": site, "operator": operator})
    ]
    world.send(register, "bank")
    assert functions.siteOf(operator).call() == site


@pytest.mark.parametrize("roles", [0, 16, 255])
def test_roles_are_of_the_four(world: World, roles: int) -> None:
    wrong = Refusal("SiteBadRoles", (roles,))
    register = world.sites.functions.register(world.address("bank"), "x", "https://x", roles, [], 5)
    assert world.refusal(register, "bank") == wrong
    assert world.refusal(world.sites.functions.setRoles(world.bank_site, roles), "bank") == wrong


def test_a_name_has_a_length(world: World) -> None:
    register = world.sites.functions.register(
        world.address("bank"), "n" * 513, "https://x", 1, [], 5
    )
    assert world.refusal(register, "bank") == Refusal("SiteNameTooLong", (513, 512))
    named = world.datasets.functions.register(world.shop_site, "n" * 513, h("s"), h("r"), 1, 1, 1)
    assert world.refusal(named, "shop_node") == Refusal("DatasetNameTooLong", (513, 512))


def test_an_endpoint_has_a_length(world: World) -> None:
    long = "https://" + "x" * 249
    wrong = Refusal("SiteEndpointTooLong", (257, 256))
    register = world.sites.functions.register(world.address("bank"), "x", long, 1, [], 5)
    assert world.refusal(register, "bank") == wrong
    moved = world.sites.functions.setEndpoint(world.bank_site, long)
    assert world.refusal(moved, "bank_node") == wrong


@pytest.mark.parametrize("actor", ["bank", "bank_node"])
def test_member_and_operator_move_the_endpoint(world: World, actor: str) -> None:
    world.send(world.sites.functions.setEndpoint(world.bank_site, "https://new.example"), actor)
    assert world.sites.functions.site(world.bank_site).call()[3] == "https://new.example"


@pytest.mark.parametrize("function", ["setRoles", "retire"])
def test_the_operator_alone_neither_retires_nor_changes_roles(world: World, function: str) -> None:
    arguments = (world.bank_site, 1) if function == "setRoles" else (world.bank_site,)
    refused = world.refusal(world.sites.functions[function](*arguments), "bank_node")
    assert refused == Refusal("SiteNotOwner", (world.bank_site, world.address("bank_node").lower()))


def test_roles_change(world: World) -> None:
    world.send(world.sites.functions.setRoles(world.bank_site, 12), "bank")
    assert world.sites.functions.site(world.bank_site).call()[4] == 12


def test_a_retired_site_is_not_active_and_does_not_change(world: World) -> None:
    world.send(world.sites.functions.retire(world.bank_site), "bank")
    retired = Refusal("SiteRetired", (world.bank_site, world.block))
    functions = world.sites.functions
    assert not functions.isActive(world.bank_site).call()
    assert world.refusal(functions.requireActive(world.bank_site)) == retired
    assert world.refusal(functions.retire(world.bank_site), "bank") == retired
    assert world.refusal(functions.setRoles(world.bank_site, 1), "bank") == retired
    assert world.refusal(functions.setEndpoint(world.bank_site, "x"), "bank") == retired
    assert world.refusal(functions.addKey(world.bank_site, REQUEST, b"k"), "bank") == retired


def test_keys_overlap_in_a_rotation_and_revocation_is_immediate(world: World) -> None:
    functions = world.sites.functions
    old = key_id(world, world.bank_site, h("bank_node request"))
    world.send(functions.addKey(world.bank_site, REQUEST, h("new key")), "bank_node")
    added = world.block
    receipt = world.send(functions.revokeKey(world.bank_site, old), "bank_node")

    keys = {bytes(k[2]): (k[3], k[4]) for k in functions.keys(world.bank_site).call()}
    assert keys[h("new key")] == (added, 0)
    assert keys[h("bank_node request")][1] == world.block
    assert functions.isActive(world.bank_site).call()
    ended = {"id": world.bank_site, "key": old, "purpose": REQUEST}
    assert world.events(receipt, world.sites) == [("SiteKeyEnded", ended)]


def test_a_site_without_a_request_key_is_not_active(world: World) -> None:
    functions = world.sites.functions
    old = key_id(world, world.bank_site, h("bank_node request"))
    world.send(functions.revokeKey(world.bank_site, old), "bank_node")
    assert not functions.isActive(world.bank_site).call()
    refused = world.refusal(functions.requireActive(world.bank_site))
    assert refused == Refusal("SiteKeyRevoked", (world.bank_site, old, world.block))

    keyless = world.register_site("bank", "newcomer")
    refused = world.refusal(functions.requireActive(keyless))
    assert refused == Refusal("SiteKeyUnknown", (keyless, ZERO))


def test_an_audit_key_does_not_stand_in_for_a_request_key(world: World) -> None:
    site = world.register_site("bank", "newcomer", "audit")
    assert not world.sites.functions.isActive(site).call()


def test_a_key_is_revoked_once_and_does_not_come_back(world: World) -> None:
    functions = world.sites.functions
    old = key_id(world, world.bank_site, h("bank_node request"))
    world.send(functions.revokeKey(world.bank_site, old), "bank")
    revoked = Refusal("SiteKeyRevoked", (world.bank_site, old, world.block))
    assert world.refusal(functions.revokeKey(world.bank_site, old), "bank") == revoked
    again = functions.addKey(world.bank_site, REQUEST, h("bank_node request"))
    assert world.refusal(again, "bank") == Refusal("SiteKeyTaken", (old,))


def test_two_sites_may_hold_the_same_public_key(world: World) -> None:
    """Else anyone could take a key from its owner by registering it first."""
    again = world.sites.functions.addKey(world.shop_site, REQUEST, h("bank_node request"))
    world.send(again, "shop")


def test_a_key_of_another_site_is_unknown(world: World) -> None:
    key = key_id(world, world.shop_site, h("shop_node request"))
    refused = world.refusal(world.sites.functions.revokeKey(world.bank_site, key), "bank")
    assert refused == Refusal("SiteKeyUnknown", (world.bank_site, key))
    refused = world.refusal(world.sites.functions.key(h("no key")))
    assert refused == Refusal("SiteKeyUnknown", (ZERO, h("no key")))


def test_a_key_has_a_length(world: World) -> None:
    refused = world.refusal(
        world.sites.functions.addKey(world.bank_site, REQUEST, bytes(2049)), "bank"
    )
    assert refused == Refusal("SiteKeyTooLong", (2049, 2048))


def test_a_site_holds_sixteen_standing_keys(world: World) -> None:
    keys = [(w("audit"), bytes([n])) for n in range(16)]
    register = world.sites.functions.register
    world.send(register(world.address("bank"), "x", "https://x", 1, keys, 5), "bank")
    site = bytes(world.sites.functions.siteIdFor(world.address("bank"), 5).call())
    one_more = world.sites.functions.addKey(site, REQUEST, b"one more")
    assert world.refusal(one_more, "bank") == Refusal("SiteTooManyKeys", (17, 16))

    world.send(world.sites.functions.revokeKey(site, key_id(world, site, b"\x00")), "bank")
    world.send(one_more, "bank")


def test_a_site_has_so_many_keys_as_can_be_read_at_once(world: World) -> None:
    functions, purpose = world.sites.functions, w("audit")
    for n in range(2, 128):  # it has two
        public = bytes([n])
        head = (world.web3.eth.chain_id, world.sites.address, world.bank_site, purpose, public)
        key = keccak(encode(["uint256", "address", "bytes32", "bytes32", "bytes"], head))
        world.send(functions.addKey(world.bank_site, purpose, public), "bank")
        world.send(functions.revokeKey(world.bank_site, key), "bank")
    one_more = functions.addKey(world.bank_site, REQUEST, b"one more")
    assert world.refusal(one_more, "bank") == Refusal("SiteTooManyKeys", (129, 128))


def test_a_suspended_member_revokes_but_adds_nothing(world: World) -> None:
    world.send(world.membership.functions.suspend(world.bank), "authority")
    functions = world.sites.functions
    suspended = Refusal("MembershipNotActive", (world.bank, 2))
    assert not functions.isActive(world.bank_site).call()
    assert world.refusal(functions.requireActive(world.bank_site)) == suspended
    assert world.refusal(functions.addKey(world.bank_site, REQUEST, b"k"), "bank") == suspended
    key = key_id(world, world.bank_site, h("bank_node request"))
    world.send(functions.revokeKey(world.bank_site, key), "bank_node")
    world.send(functions.retire(world.bank_site), "bank")


def test_only_the_operator_speaks_for_a_site(world: World) -> None:
    functions = world.sites.functions
    operator, member = world.address("bank_node"), world.address("bank")
    assert world.refusal(functions.requireOperator(world.bank_site, operator)) is None
    refused = world.refusal(functions.requireOperator(world.bank_site, member))
    assert refused == Refusal(
        "SiteNotOperator", (world.bank_site, member.lower(), operator.lower())
    )


@pytest.mark.parametrize("function", ["site", "keys", "memberOf", "requireActive"])
def test_an_unknown_site_is_refused(world: World, function: str) -> None:
    refused = world.refusal(world.sites.functions[function](h("nowhere")))
    assert refused == Refusal("SiteUnknown", (h("nowhere"),))


def test_sites_are_listed(world: World) -> None:
    read = world.sites.functions
    assert read.siteCount().call() == 3
    assert read.sites(1, 5).call() == [world.shop_site, world.clinic_site]
    assert read.siteOf(world.address("stranger")).call() == ZERO
    assert not read.isActive(h("nowhere")).call()
