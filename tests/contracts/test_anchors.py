"""Heads of audit logs: they grow, and nothing in them is rewritten."""

import pytest

from chain.merkle import Tree, leaf_hash
from tests.contracts.world import ZERO, Refusal, World, h

BEYOND = 2**53


def log(size: int, changed: int | None = None) -> Tree:
    return Tree(leaf_hash(b"forged" if i == changed else bytes([i])) for i in range(size))


def anchor(world: World, tree: Tree, size: int, *proof: bytes) -> Refusal | None:
    anchor = world.anchors.functions.anchor
    function = anchor(world.bank_site, size, tree.root(size), list(proof), [])
    refused = world.refusal(function, "bank_node")
    if refused is None:
        world.send(function, "bank_node")
    return refused


def test_a_head_grows_with_its_proof(world: World) -> None:
    tree = log(20)
    assert anchor(world, tree, 7) is None
    first = (7, world.block, tree.root(7), world.now, 0)
    assert anchor(world, tree, 20, *tree.consistency_proof(7)) is None
    second = (20, world.block, tree.root(), world.now, 0)

    read = world.anchors.functions
    assert read.head(world.bank_site).call() == second
    assert read.headAt(world.bank_site, 7).call() == first
    assert read.headAt(world.bank_site, 20).call() == second


def test_an_anchored_head_is_announced(world: World) -> None:
    tree = log(3)
    function = world.anchors.functions.anchor(world.bank_site, 3, tree.root(), [], [])
    receipt = world.send(function, "bank_node")
    anchored = {"site": world.bank_site, "size": 3, "root": tree.root(), "cosigners": 0}
    assert world.events(receipt, world.anchors) == [("Anchored", anchored)]


@pytest.mark.parametrize("changed", [0, 3, 6])
def test_a_rewritten_history_is_refused(world: World, changed: int) -> None:
    forged = log(20, changed)
    assert anchor(world, log(20), 7) is None
    refused = anchor(world, forged, 20, *forged.consistency_proof(7))
    assert refused == Refusal("AnchorInconsistent", (world.bank_site, 7, 20))


def test_a_change_after_the_anchored_head_is_not_the_chains_to_see(world: World) -> None:
    forged = log(20, 7)
    assert anchor(world, log(20), 7) is None
    assert anchor(world, forged, 20, *forged.consistency_proof(7)) is None


def test_a_head_without_proof_is_refused(world: World) -> None:
    tree = log(20)
    assert anchor(world, tree, 8) is None
    assert anchor(world, tree, 20) == Refusal("AnchorInconsistent", (world.bank_site, 8, 20))


@pytest.mark.parametrize("size", [0, 6, 7])
def test_a_head_only_grows(world: World, size: int) -> None:
    tree = log(20)
    assert anchor(world, tree, 7) is None
    assert anchor(world, tree, size) == Refusal("AnchorNotGrowing", (world.bank_site, size, 7))


def test_an_empty_log_is_not_anchored(world: World) -> None:
    assert anchor(world, log(0), 0) == Refusal("AnchorNotGrowing", (world.bank_site, 0, 0))


def test_a_proof_has_a_length(world: World) -> None:
    tree = log(20)
    assert anchor(world, tree, 7, h("x")) == Refusal("AnchorProofTooLong", (1, 0))
    assert anchor(world, tree, 7) is None
    refused = anchor(world, tree, 20, *[h("x")] * 66)
    assert refused == Refusal("AnchorProofTooLong", (66, 65))
    read = world.anchors.functions.verifyInclusion(world.bank_site, 7, 0, ZERO, [h("x")] * 66)
    assert world.refusal(read) == Refusal("AnchorProofTooLong", (66, 65))


@pytest.mark.parametrize("actor", ["bank", "shop_node", "authority", "stranger"])
def test_only_the_operator_anchors(world: World, actor: str) -> None:
    function = world.anchors.functions.anchor(world.bank_site, 3, log(3).root(), [], [])
    operator = world.address("bank_node").lower()
    caller = world.address(actor).lower()
    refused = world.refusal(function, actor)
    assert refused == Refusal("SiteNotOperator", (world.bank_site, caller, operator))


@pytest.mark.parametrize("site", [h("nowhere"), ZERO])
def test_an_unknown_site_anchors_nothing(world: World, site: bytes) -> None:
    function = world.anchors.functions.anchor(site, 3, log(3).root(), [], [])
    assert world.refusal(function) == Refusal("SiteUnknown", (site,))


def test_a_suspended_or_retired_site_still_leaves_evidence(world: World) -> None:
    tree = log(20)
    world.send(world.membership.functions.suspend(world.bank), "authority")
    assert anchor(world, tree, 7) is None
    world.send(world.sites.functions.retire(world.bank_site), "bank")
    assert anchor(world, tree, 20, *tree.consistency_proof(7)) is None


def test_sites_have_logs_of_their_own(world: World) -> None:
    assert anchor(world, log(7), 7) is None
    function = world.anchors.functions.anchor(world.shop_site, 3, log(3, 1).root(), [], [])
    world.send(function, "shop_node")
    assert world.anchors.functions.head(world.bank_site).call()[0] == 7
    assert world.anchors.functions.head(world.shop_site).call()[0] == 3
    assert world.anchors.functions.head(world.clinic_site).call() == (0, 0, ZERO, 0, 0)


def test_inclusion_is_checked_under_an_anchored_head_only(world: World) -> None:
    tree = log(20)
    assert anchor(world, tree, 20) is None
    verify = world.anchors.functions.verifyInclusion
    proof = tree.inclusion_proof(5)
    leaf = leaf_hash(bytes([5]))
    assert verify(world.bank_site, 20, 5, leaf, proof).call()
    assert not verify(world.bank_site, 20, 6, leaf, proof).call()
    assert not verify(world.bank_site, 20, 5, h("another"), proof).call()
    refused = world.refusal(verify(world.bank_site, 19, 5, leaf, tree.inclusion_proof(5, 19)))
    assert refused == Refusal("AnchorUnknown", (world.bank_site, 19))
    refused = world.refusal(world.anchors.functions.headAt(world.bank_site, 19))
    assert refused == Refusal("AnchorUnknown", (world.bank_site, 19))


def test_a_size_that_no_reader_counts_exactly_is_not_anchored(world: World) -> None:
    """A first head needs no proof: else one member stopped whoever reads the chain with it."""
    refusal = Refusal("AnchorNotGrowing", (world.bank_site, BEYOND, 0))
    function = world.anchors.functions.anchor(world.bank_site, BEYOND, h("root"), [], [])
    assert world.refusal(function, "bank_node") == refusal
    largest = world.anchors.functions.anchor(world.bank_site, BEYOND - 1, h("root"), [], [])
    world.send(largest, "bank_node")
    assert world.anchors.functions.head(world.bank_site).call()[0] == BEYOND - 1
