"""Sites and their keys."""

import hashlib

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak
from web3.contract.contract import ContractFunction

from tests.contracts.world import ZERO, Id, Refusal, World, h, w

REQUEST = w("request")
PROOF = b"p" * 64


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
    assert world.refusal(functions.addKey(world.bank_site, REQUEST, b"k", PROOF), "bank") == retired


def test_keys_overlap_in_a_rotation_and_revocation_is_immediate(world: World) -> None:
    functions = world.sites.functions
    old = key_id(world, world.bank_site, h("bank_node request"))
    world.send(functions.addKey(world.bank_site, REQUEST, h("new key"), PROOF), "bank_node")
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
    again = functions.addKey(world.bank_site, REQUEST, h("bank_node request"), PROOF)
    assert world.refusal(again, "bank") == Refusal("SiteKeyTaken", (old,))


def test_two_sites_may_hold_the_same_public_key(world: World) -> None:
    """Else anyone could take a key from its owner by registering it first."""
    again = world.sites.functions.addKey(world.shop_site, REQUEST, h("bank_node request"), PROOF)
    world.send(again, "shop")


def test_a_key_of_another_site_is_unknown(world: World) -> None:
    key = key_id(world, world.shop_site, h("shop_node request"))
    refused = world.refusal(world.sites.functions.revokeKey(world.bank_site, key), "bank")
    assert refused == Refusal("SiteKeyUnknown", (world.bank_site, key))
    refused = world.refusal(world.sites.functions.key(h("no key")))
    assert refused == Refusal("SiteKeyUnknown", (ZERO, h("no key")))


def test_a_key_has_a_length(world: World) -> None:
    refused = world.refusal(
        world.sites.functions.addKey(world.bank_site, REQUEST, bytes(2049), PROOF), "bank"
    )
    assert refused == Refusal("SiteKeyTooLong", (2049, 2048))


def test_a_site_holds_sixteen_standing_keys(world: World) -> None:
    keys = [(w("audit"), bytes([n]), PROOF) for n in range(16)]
    register = world.sites.functions.register
    world.send(register(world.address("bank"), "x", "https://x", 1, keys, 5), "bank")
    site = bytes(world.sites.functions.siteIdFor(world.address("bank"), 5).call())
    one_more = world.sites.functions.addKey(site, REQUEST, b"one more", PROOF)
    assert world.refusal(one_more, "bank") == Refusal("SiteTooManyKeys", (17, 16))

    world.send(world.sites.functions.revokeKey(site, key_id(world, site, b"\x00")), "bank")
    world.send(one_more, "bank")


def test_a_site_has_so_many_keys_as_can_be_read_at_once(world: World) -> None:
    functions, purpose = world.sites.functions, w("audit")
    for n in range(2, 128):  # it has two
        public = bytes([n])
        head = (world.web3.eth.chain_id, world.sites.address, world.bank_site, purpose, public)
        key = keccak(encode(["uint256", "address", "bytes32", "bytes32", "bytes"], head))
        world.send(functions.addKey(world.bank_site, purpose, public, PROOF), "bank")
        world.send(functions.revokeKey(world.bank_site, key), "bank")
    one_more = functions.addKey(world.bank_site, REQUEST, b"one more", PROOF)
    assert world.refusal(one_more, "bank") == Refusal("SiteTooManyKeys", (129, 128))


# ------------------------------------------------------------------------------ proofs of keys


def test_what_a_key_signs_names_chain_registry_site_purpose_and_key(world: World) -> None:
    types = ["string", "uint256", "address", "bytes32", "bytes32", "bytes"]
    site, public = world.bank_site, h("bank_node request")
    head = ("FATE-Chain key proof v1", world.web3.eth.chain_id, world.sites.address)
    digest = world.sites.functions.keyProofDigest(site, REQUEST, public).call()
    assert digest == keccak(encode(types, (*head, site, REQUEST, public)))
    assert digest != world.sites.functions.keyProofDigest(world.shop_site, REQUEST, public).call()


def test_the_proof_of_a_key_is_kept(world: World) -> None:
    functions = world.sites.functions
    keys = functions.keys(world.bank_site).call()
    assert [key[5] for key in keys] == [h("proof of bank_node") * 2] * 2
    world.send(functions.addKey(world.bank_site, REQUEST, b"another", PROOF), "bank_node")
    added = key_id(world, world.bank_site, b"another")
    assert functions.key(added).call()[1][5] == PROOF


def test_a_proof_has_a_length(world: World) -> None:
    long = world.sites.functions.addKey(world.bank_site, REQUEST, b"k", bytes(129))
    assert world.refusal(long, "bank") == Refusal("SiteProofTooLong", (129, 128))


# ------------------------------------------------------------------------------ another operator


def change(world: World, operator: str) -> ContractFunction:
    return world.sites.functions.changeOperator(world.bank_site, world.address(operator))


def changed(world: World) -> World:
    """The bank's site is operated by the newcomer, who agreed."""
    world.send(world.sites.functions.agree(world.bank_site), "newcomer")
    world.send(change(world, "newcomer"), "bank")
    return world


def test_a_new_operator_speaks_and_the_old_one_is_silent(world: World) -> None:
    job = world.propose()
    changed(world)
    functions, old = world.sites.functions, world.address("bank_node")
    assert functions.site(world.bank_site).call()[1] == world.address("newcomer")
    assert functions.siteOf(world.address("newcomer")).call() == world.bank_site
    assert functions.siteOf(old).call() == ZERO
    assert functions.operatedSite(old).call() == world.bank_site
    assert world.refusal(functions.requireOperator(world.bank_site, old)) == Refusal(
        "SiteNotOperator", (world.bank_site, old.lower(), world.address("newcomer").lower())
    )
    key = key_id(world, world.bank_site, h("bank_node request"))
    moves = {
        functions.setEndpoint(world.bank_site, "https://x"): "SiteNotOwner",
        functions.addKey(world.bank_site, REQUEST, b"k", PROOF): "SiteNotOwner",
        functions.revokeKey(world.bank_site, key): "SiteNotOwner",
        world.datasets.functions.addVersion(world.bank_data, h("s"), h("r"), 1, 1): (
            "DatasetNotOwner"
        ),
        world.datasets.functions.withdrawVersion(world.bank_data, 1): "DatasetNotOwner",
        world.jobs.functions.propose(world.proposal()): "SiteNotOperator",
        world.jobs.functions.cancel(job, world.bank_site, h("why")): "JobNotParty",
        world.anchors.functions.anchor(world.bank_site, 9, h("root"), [], []): "SiteNotOperator",
    }
    for move, error in moves.items():
        refused = world.refusal(move, "bank_node")
        assert refused is not None
        assert refused.error == error
    world.send(world.jobs.functions.cancel(job, world.bank_site, h("why")), "newcomer")


def node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def test_an_operator_that_was_changed_does_not_go_on_with_the_log(world: World) -> None:
    anchor = world.anchors.functions.anchor
    world.send(anchor(world.bank_site, 1, h("root"), [], []), "bank_node")
    changed(world)
    second = anchor(world.bank_site, 2, node(h("root"), h("next")), [h("next")], [])
    refused = world.refusal(second, "bank_node")
    assert refused is not None
    assert refused.error == "SiteNotOperator"
    world.send(second, "newcomer")


def test_an_account_that_its_member_lost_does_not_go_on_with_the_log(world: World) -> None:
    """Before anybody put another operator in its place, too."""
    functions, anchor = world.sites.functions, world.anchors.functions.anchor
    own = functions.register(world.address("bank"), "own", "https://own", 1, [], 9)
    world.send(own, "bank")
    site = bytes(functions.siteIdFor(world.address("bank"), 9).call())
    world.send(anchor(site, 1, h("root"), [], []), "bank")
    second = anchor(site, 2, node(h("root"), h("next")), [h("next")], [])
    assert world.refusal(second, "bank") is None
    world.send(world.recovery(world.bank, "newcomer"), "authority")
    lost = world.address("bank").lower()
    assert world.refusal(second, "bank") == Refusal("SiteNotOperator", (site, lost, lost))
    world.send(functions.changeOperator(site, world.address("newcomer")), "newcomer")
    world.send(second, "newcomer")


@pytest.mark.parametrize("actor", ["bank", "bank_node", "authority", "stranger"])
def test_only_the_members_registry_tells_of_a_replaced_account(world: World, actor: str) -> None:
    forget = world.sites.functions.forgetReplaced(world.address("bank_node"))
    refused = world.refusal(forget, actor)
    assert refused == Refusal("SiteNotMembership", (world.address(actor).lower(),))


@pytest.mark.parametrize("actor", ["bank", "bank_node", "authority", "stranger"])
def test_only_the_registry_of_sites_tells_of_a_new_operator(world: World, actor: str) -> None:
    refused = world.refusal(world.anchors.functions.forgetOperator(world.bank_site), actor)
    assert refused == Refusal("AnchorNotSites", (world.address(actor).lower(),))


def test_a_change_of_operator_is_told(world: World) -> None:
    world.send(world.sites.functions.agree(world.bank_site), "newcomer")
    receipt = world.send(change(world, "newcomer"), "bank")
    told = {
        "id": world.bank_site,
        "from": world.address("bank_node"),
        "to": world.address("newcomer"),
    }
    assert world.events(receipt, world.sites) == [("SiteOperatorChanged", told)]


def test_an_operator_agrees_before_it_is_put_in_place(world: World) -> None:
    wanted = Refusal("SiteOperatorNotAgreed", (world.bank_site, world.address("newcomer").lower()))
    assert world.refusal(change(world, "newcomer"), "bank") == wanted
    world.send(world.sites.functions.agree(world.shop_site), "newcomer")
    assert world.refusal(change(world, "newcomer"), "bank") == wanted


def test_the_members_account_may_operate_its_own_site(world: World) -> None:
    world.send(change(world, "bank"), "bank")
    operator = world.address("bank")
    assert world.refusal(world.sites.functions.requireOperator(world.bank_site, operator)) is None


@pytest.mark.parametrize("actor", ["bank_node", "newcomer", "shop", "authority"])
def test_only_the_members_account_changes_the_operator(world: World, actor: str) -> None:
    world.send(world.sites.functions.agree(world.bank_site), "newcomer")
    refused = world.refusal(change(world, "newcomer"), actor)
    assert refused == Refusal("SiteNotOwner", (world.bank_site, world.address(actor).lower()))


def test_an_account_operates_one_site_in_its_life(world: World) -> None:
    changed(world)
    for site, member in ((world.bank_site, "bank"), (world.shop_site, "shop")):
        for operator in ("bank_node", "newcomer"):
            world.send(world.sites.functions.agree(site), operator)
            again = world.sites.functions.changeOperator(site, world.address(operator))
            taken = (world.address(operator).lower(), world.bank_site)
            assert world.refusal(again, member) == Refusal("SiteOperatorTaken", taken)


def test_neither_a_suspended_members_nor_a_retired_site_changes_its_operator(world: World) -> None:
    world.send(world.sites.functions.agree(world.bank_site), "newcomer")
    with world.anchored():
        world.send(world.membership.functions.suspend(world.bank), "authority")
        refused = world.refusal(change(world, "newcomer"), "bank")
        assert refused == Refusal("MembershipNotActive", (world.bank, 2))
    world.send(world.sites.functions.retire(world.bank_site), "bank")
    retired = Refusal("SiteRetired", (world.bank_site, world.block))
    assert world.refusal(change(world, "newcomer"), "bank") == retired
    assert world.refusal(world.sites.functions.agree(world.bank_site), "stranger") == retired


def test_an_account_that_a_member_lost_operates_no_site_any_more(world: World) -> None:
    functions = world.sites.functions
    world.send(functions.retire(world.bank_site), "bank")
    own = functions.register(world.address("bank"), "own", "https://own", 1, [], 9)
    world.send(own, "bank")
    site = bytes(functions.siteIdFor(world.address("bank"), 9).call())
    assert functions.siteOf(world.address("bank")).call() == site
    world.send(world.recovery(world.bank, "newcomer"), "authority")

    assert functions.siteOf(world.address("bank")).call() == ZERO
    for move in (functions.setEndpoint(site, "https://x"), functions.retire(site)):
        refused = world.refusal(move, "bank")
        assert refused == Refusal("SiteNotOwner", (site, world.address("bank").lower()))
    world.send(functions.changeOperator(site, world.address("newcomer")), "newcomer")
    world.send(functions.setEndpoint(site, "https://x"), "newcomer")


# ------------------------------------------------------------------------------ standing


def test_a_suspended_member_revokes_but_adds_nothing(world: World) -> None:
    world.send(world.membership.functions.suspend(world.bank), "authority")
    functions = world.sites.functions
    suspended = Refusal("MembershipNotActive", (world.bank, 2))
    assert not functions.isActive(world.bank_site).call()
    assert world.refusal(functions.requireActive(world.bank_site)) == suspended
    assert (
        world.refusal(functions.addKey(world.bank_site, REQUEST, b"k", PROOF), "bank") == suspended
    )
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
