"""Cosignatures of anchored heads: whose count, and that nobody waits for them."""

import secrets
from typing import Any

import pytest
from eth_account import Account

from chain import typed_data
from chain.anchors import checkpoint_document
from chain.merkle import Tree, leaf_hash
from tests.contracts.world import HALF_ORDER, ORDER, Id, Refusal, World, h, w

Cosignature = tuple[int, bytes, bytes]
TREE = Tree(leaf_hash(bytes([n])) for n in range(20))
SIZE = 7
COUNTS, FUTURE, BAD, NO_COSIGNER, OWN, ALREADY = range(6)
NONE, PENDING, WITNESSED, UNWITNESSED = range(4)


@pytest.fixture
def town(world: World) -> World:
    """The shop's, the clinic's and the bank's sites have keys that cosign."""
    for name in ("shop", "clinic", "bank"):
        site = getattr(world, f"{name}_site")
        world.add_anchor_key(site, f"{name}_node", f"{name} key")
    return world


def signed(world: World, signer: str, **changed: Any) -> Cosignature:
    """Of the bank's head of seven entries, unless told otherwise."""
    said = {"site": world.bank_site, "size": SIZE, "root": TREE.root(SIZE), **changed}
    return world.sign_head(signer, **said)


def anchored(world: World, *cosignatures: Cosignature) -> dict[str, Any]:
    """The bank's head with these cosignatures; what the event said."""
    anchor = world.anchors.functions.anchor
    call = anchor(world.bank_site, SIZE, TREE.root(SIZE), [], list(cosignatures))
    ((_, said),) = world.events(world.send(call, "bank_node"), world.anchors)
    return said


def counted(world: World, size: int = SIZE) -> list[Id]:
    count, members = world.anchors.functions.witnessOf(world.bank_site, size).call()
    assert count == len(members)
    assert world.anchors.functions.headAt(world.bank_site, size).call()[4] == count
    return [bytes(member) for member in members]


def cosign(world: World, *cosignatures: Cosignature) -> Refusal | None:
    call = world.anchors.functions.cosign(world.bank_site, SIZE, list(cosignatures))
    refused = world.refusal(call, "relayer")
    if refused is None:
        world.send(call, "relayer")
    return refused


def verdict(world: World, cosignature: Cosignature) -> int:
    return int(world.anchors.functions.judge(world.bank_site, SIZE, cosignature).call()[0])


def test_cosigners_of_other_members_are_counted_with_the_head(town: World) -> None:
    said = anchored(town, signed(town, "shop key"), signed(town, "clinic key"))
    assert said["cosigners"] == 2
    assert counted(town) == [town.shop, town.clinic]


def test_a_late_cosignature_is_added_by_anyone(town: World) -> None:
    anchored(town, signed(town, "clinic key"))
    call = town.anchors.functions.cosign(town.bank_site, SIZE, [signed(town, "shop key")])
    told = town.events(town.send(call, "stranger"), town.anchors)
    assert told == [("Cosigned", {"site": town.bank_site, "size": SIZE, "cosigners": 2})]
    assert set(counted(town)) == {town.clinic, town.shop}


def test_a_late_cosignature_is_added_to_a_head_that_was_followed_by_others(town: World) -> None:
    anchored(town)
    proof = TREE.consistency_proof(SIZE)
    later = town.anchors.functions.anchor(town.bank_site, 20, TREE.root(), proof, [])
    town.send(later, "bank_node")
    assert cosign(town, signed(town, "shop key")) is None
    assert counted(town) == [town.shop]
    assert counted(town, 20) == []


def test_what_does_not_count_hinders_no_head(town: World) -> None:
    wrong = (town.now, h("r"), h("s")[:1] + bytes(31))
    said = anchored(town, wrong, signed(town, "bank key"), signed(town, "shop key"))
    assert said["cosigners"] == 1
    assert counted(town) == [town.shop]


def test_a_member_counts_once_whatever_it_signs_with(town: World) -> None:
    branch = town.register_site("shop", "relayer", "request")
    town.add_anchor_key(branch, "relayer", "branch key")
    town.add_anchor_key(town.shop_site, "shop_node", "second key")
    names = ("shop key", "shop key", "branch key", "second key")
    anchored(town, *(signed(town, name, time=town.now + n) for n, name in enumerate(names)))
    assert counted(town) == [town.shop]
    for name in names:
        again = signed(town, name)
        assert verdict(town, again) == ALREADY
        assert cosign(town, again) == Refusal("AnchorNothingCounted", (town.bank_site, SIZE))


def test_the_owners_member_is_no_witness_of_its_own_log(town: World) -> None:
    branch = town.register_site("bank", "relayer", "request")
    town.add_anchor_key(branch, "relayer", "branch key")
    for name in ("bank key", "branch key"):
        with town.anchored():
            anchored(town, signed(town, name))
            assert counted(town) == []
            assert verdict(town, signed(town, name)) == OWN
            assert cosign(town, signed(town, name)) is not None


@pytest.mark.parametrize(
    "changed",
    [
        {"size": 8},
        {"root": h("another root")},
        {"site": h("another log")},
        {"chainId": 1},
        {"verifyingContract": "0x" + "11" * 20},
        {"name": "Another Checkpoint"},
        {"version": "2"},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_what_was_signed_elsewhere_or_of_another_head_counts_for_nobody(
    town: World, changed: dict[str, Any]
) -> None:
    given = signed(town, "shop key", **changed)
    anchored(town, given)
    assert counted(town) == []
    assert verdict(town, given) == NO_COSIGNER
    assert cosign(town, given) == Refusal("AnchorNothingCounted", (town.bank_site, SIZE))


def test_the_time_is_signed_too(town: World) -> None:
    time, r, vs = signed(town, "shop key")
    anchored(town, (time - 1, r, vs))
    assert counted(town) == []


def test_the_other_form_of_a_signature_is_refused(town: World) -> None:
    """Of each signature there are two, s and the order less s; only the lower s is one."""
    time, r, vs = signed(town, "shop key")
    s = int.from_bytes(vs) & (1 << 255) - 1
    higher = ORDER - s
    assert s <= HALF_ORDER < higher
    for v in (0, 1):
        other = (time, r, ((higher & (1 << 255) - 1) | v << 255).to_bytes(32))
        with town.anchored():
            anchored(town, other)
            assert counted(town) == []
            assert verdict(town, other) in (BAD, NO_COSIGNER)
    exactly = (time, r, (HALF_ORDER + 1).to_bytes(32))
    anchored(town)
    assert verdict(town, exactly) == BAD


@pytest.mark.parametrize("r", [bytes(32), ORDER.to_bytes(32), b"\xff" * 32])
def test_what_recovers_to_nobody_counts_for_nobody(town: World, r: bytes) -> None:
    nobody = (town.now, r, (1).to_bytes(32))
    anchored(town, nobody)
    found = town.anchors.functions.judge(town.bank_site, SIZE, nobody).call()
    assert found == [BAD, "0x" + "00" * 20]
    assert counted(town) == []


def test_an_account_that_is_no_sites_key_counts_for_nobody(town: World) -> None:
    town.accounts["passer-by"] = Account.from_key(h("passer-by"))
    given = signed(town, "passer-by")
    anchored(town, given, signed(town, "shop"), signed(town, "shop_node"))
    assert counted(town) == []
    assert verdict(town, given) == NO_COSIGNER


def test_a_cosignature_may_be_five_minutes_ahead_and_no_more(town: World) -> None:
    anchored(town)
    town.mine()
    near, far = (signed(town, "shop key", time=town.now + s) for s in (280, 320))
    assert verdict(town, far) == FUTURE
    assert cosign(town, far) == Refusal("AnchorNothingCounted", (town.bank_site, SIZE))
    assert cosign(town, near) is None


def test_a_cosignature_may_be_old(town: World) -> None:
    """A chain that stood still for a week takes what was signed meanwhile."""
    anchored(town, signed(town, "shop key", time=town.now - 7 * 86_400))
    assert counted(town) == [town.shop]


ENDS = {
    "suspended": lambda t: t.send(t.membership.functions.suspend(t.shop), "authority"),
    "expelled": lambda t: t.send(t.membership.functions.expel(t.shop), "authority"),
    "site retired": lambda t: t.send(t.sites.functions.retire(t.shop_site), "shop"),
    "key revoked": lambda t: t.send(
        t.sites.functions.revokeKey(
            t.shop_site, t.sites.functions.anchorKey(t.address("shop key")).call()[1]
        ),
        "shop_node",
    ),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("is_remembered", [False, True])
def test_who_stands_no_more_is_not_counted(town: World, end: str, is_remembered: bool) -> None:
    """Also where the contract had looked the key up before, and counted it for an earlier head."""
    earlier = town.sign_head("shop key", town.clinic_site, 3, TREE.root(3))
    if is_remembered:
        clinic = town.anchors.functions.anchor(town.clinic_site, 3, TREE.root(3), [], [earlier])
        town.send(clinic, "clinic_node")
    ENDS[end](town)
    given = signed(town, "shop key")
    assert anchored(town, given)["cosigners"] == 0
    assert counted(town) == []
    assert verdict(town, given) == NO_COSIGNER
    assert cosign(town, given) == Refusal("AnchorNothingCounted", (town.bank_site, SIZE))
    if is_remembered:  # that it was counted when it stood is a fact
        assert town.anchors.functions.witnessOf(town.clinic_site, 3).call()[0] == 1


def test_a_reinstated_member_is_counted_again(town: World) -> None:
    anchored(town)
    town.send(town.membership.functions.suspend(town.shop), "authority")
    assert cosign(town, signed(town, "shop key")) is not None
    town.send(town.membership.functions.reinstate(town.shop), "authority")
    assert cosign(town, signed(town, "shop key")) is None
    assert counted(town) == [town.shop]


def test_more_keys_of_a_member_than_are_remembered_are_all_looked_up(town: World) -> None:
    names = [f"shop key {n}" for n in range(10)]
    for name in names:
        town.add_anchor_key(town.shop_site, "shop_node", name)
    anchored(town, *(signed(town, name) for name in names))
    ENDS["suspended"](town)
    sizes = TREE.root(3), TREE.root(3)
    given = [town.sign_head(name, town.clinic_site, 3, sizes[0]) for name in names]
    clinic = town.anchors.functions.anchor(town.clinic_site, 3, sizes[1], [], given)
    town.send(clinic, "clinic_node")
    assert town.anchors.functions.witnessOf(town.clinic_site, 3).call()[0] == 0


def test_a_suspended_site_anchors_what_others_cosigned(town: World) -> None:
    town.send(town.membership.functions.suspend(town.bank), "authority")
    assert anchored(town, signed(town, "shop key"))["cosigners"] == 1


def test_a_head_is_pending_for_ten_minutes_and_unwitnessed_after(town: World) -> None:
    state = town.anchors.functions.stateOf(town.bank_site, SIZE)
    assert state.call() == NONE
    anchored(town)
    at = town.now
    assert state.call() == PENDING
    town.go_to(at + 598)
    assert state.call() == PENDING
    town.go_to(at + 601)
    assert state.call() == UNWITNESSED
    assert cosign(town, signed(town, "shop key")) is None
    assert state.call() == WITNESSED


def test_the_members_say_how_many_cosigners_make_a_witnessed_head(town: World) -> None:
    needed = town.anchors.functions.cosignersNeeded()
    assert needed.call() == 1
    anchored(town, signed(town, "shop key"))
    state = town.anchors.functions.stateOf(town.bank_site, SIZE)
    assert state.call() == WITNESSED
    town.send(town.consortium.functions.setMinimum(w("min-cosigners"), 2), "authority")
    assert (needed.call(), state.call()) == (2, PENDING)
    assert cosign(town, signed(town, "clinic key")) is None
    assert state.call() == WITNESSED


def test_a_call_takes_sixty_four_cosignatures(town: World) -> None:
    anchored(town)
    many = [signed(town, "shop key")] * 65
    assert cosign(town, *many) == Refusal("AnchorTooManyCosignatures", (65, 64))
    anchor = town.anchors.functions.anchor(town.clinic_site, 3, TREE.root(3), [], many)
    refused = town.refusal(anchor, "clinic_node")
    assert refused == Refusal("AnchorTooManyCosignatures", (65, 64))
    assert cosign(town, *many[:64]) is None
    assert counted(town) == [town.shop]


def test_only_an_anchored_head_is_cosigned(town: World) -> None:
    given = signed(town, "shop key")
    unknown = Refusal("AnchorUnknown", (town.bank_site, SIZE))
    assert cosign(town, given) == unknown
    assert town.refusal(town.anchors.functions.judge(town.bank_site, SIZE, given)) == unknown
    assert town.anchors.functions.witnessOf(town.bank_site, SIZE).call() == [0, []]


def test_registries_and_the_authority_alone_make_it_forget(town: World) -> None:
    forget = town.anchors.functions.forgetCosigners(town.shop)
    for actor in ("bank", "bank_node", "shop", "stranger"):
        refused = town.refusal(forget, actor)
        assert refused == Refusal("AnchorNotARegistry", (town.address(actor).lower(),))
    anchored(town)
    town.send(forget, "authority")
    assert cosign(town, signed(town, "shop key")) is None


def test_the_contract_hashes_what_the_client_signs(town: World) -> None:
    root, at = TREE.root(SIZE), town.now
    document = checkpoint_document(
        town.web3.eth.chain_id,
        town.anchors.address,
        "0x" + town.bank_site.hex(),
        SIZE,
        "0x" + root.hex(),
        at,
    )
    found = town.anchors.functions.checkpointDigest(town.bank_site, SIZE, root, at).call()
    assert "0x" + found.hex() == typed_data.digest(document)


# ------------------------------------------------------------------------------ keys


def test_an_anchor_key_is_registered_with_a_signature_that_the_chain_checks(world: World) -> None:
    account = Account.from_key(h("key"))
    public = bytes.fromhex(account.address[2:])
    functions, purpose = world.sites.functions, w("anchor")
    digest = functions.keyProofDigest(world.bank_site, purpose, public).call()
    elsewhere = functions.keyProofDigest(world.shop_site, purpose, public).call()
    good = bytes(account.unsafe_sign_hash(digest).signature)
    s = ORDER - int.from_bytes(good[32:64])
    proofs = {
        "of another site": bytes(account.unsafe_sign_hash(elsewhere).signature),
        "with the higher s": good[:32] + s.to_bytes(32) + bytes([55 - good[64]]),
        "by another account": bytes(world.accounts["bank"].unsafe_sign_hash(digest).signature),
        "too short": good[:64],
        "none": b"",
        "random": secrets.token_bytes(64) + b"\x1b",
    }
    wrong = functions.addKey(world.bank_site, purpose, public, good)
    for proof in proofs.values():
        call = functions.addKey(world.bank_site, purpose, public, proof)
        refused = world.refusal(call, "bank_node")
        assert refused is not None
        assert refused.error == "SiteBadAnchorKey"
    assert world.refusal(wrong, "bank_node") is None


@pytest.mark.parametrize("public", [b"", b"1" * 19, b"1" * 21, bytes(20)])
def test_an_anchor_key_is_an_address(world: World, public: bytes) -> None:
    call = world.sites.functions.addKey(world.bank_site, w("anchor"), public, bytes(65))
    refused = world.refusal(call, "bank_node")
    assert refused is not None
    assert refused.error == "SiteBadAnchorKey"


def test_an_address_is_the_anchor_key_of_one_site_for_ever(world: World) -> None:
    key = world.add_anchor_key(world.bank_site, "bank_node", "key")
    account, functions = world.accounts["key"], world.sites.functions
    public = bytes.fromhex(account.address[2:])
    assert functions.anchorKey(account.address).call() == [world.bank_site, key]
    digest = functions.keyProofDigest(world.shop_site, w("anchor"), public).call()
    proof = bytes(account.unsafe_sign_hash(digest).signature)
    elsewhere = functions.addKey(world.shop_site, w("anchor"), public, proof)
    taken = Refusal("SiteAnchorKeyTaken", (account.address.lower(), world.bank_site))
    assert world.refusal(elsewhere, "shop_node") == taken
    world.send(functions.revokeKey(world.bank_site, key), "bank_node")
    assert world.refusal(elsewhere, "shop_node") == taken
    assert functions.anchorKey(account.address).call() == [world.bank_site, key]
    assert functions.cosignerOf(account.address).call() == bytes(32)


def test_who_cosigns_for_whom(world: World) -> None:
    world.add_anchor_key(world.shop_site, "shop_node", "key")
    cosigner_of = world.sites.functions.cosignerOf
    assert cosigner_of(world.address("key")).call() == world.shop
    assert cosigner_of(world.address("shop")).call() == bytes(32)
    world.send(world.membership.functions.suspend(world.shop), "authority")
    assert cosigner_of(world.address("key")).call() == bytes(32)
