"""The library on chain and chain/merkle.py say the same."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from web3.contract import Contract

from chain import merkle
from chain.compile import Artifact
from tests.contracts.world import World

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "merkle.json").read_text())
SIZES = range(1, 40)
AT_ONCE = 120


@pytest.fixture
def harness(world: World, compiled: Mapping[str, Artifact]) -> Contract:
    made = compiled["MerkleLogHarness"]
    return world.create(made.abi, made.bytecode)


def raw(value: str) -> bytes:
    return bytes.fromhex(value[2:])


def growths(trees: list[merkle.Tree]) -> Iterator[tuple[bytes, int, bytes, int, list[bytes]]]:
    """From each size of the first tree to each size of it, and to some of the rewritten ones."""
    for tree in trees:
        for n in SIZES if tree is trees[0] else SIZES[::4]:
            for m in range(1, n + 1):
                yield trees[0].root(m), m, tree.root(n), n, tree.consistency_proof(m, n)


def test_leaf_and_node_hashes_are_the_same(harness: Contract) -> None:
    for data in (b"", b"\x00", b"x" * 100):
        assert harness.functions.leafHash(data).call() == merkle.leaf_hash(data)
    left, right = merkle.leaf_hash(b"l"), merkle.leaf_hash(b"r")
    assert harness.functions.nodeHash(left, right).call() == merkle.node_hash(left, right)


def test_the_shared_vectors_hold_on_chain(harness: Contract) -> None:
    for case in VECTORS["inclusion"]:
        proof = [raw(value) for value in case["proof"]]
        place = (raw(case["root"]), case["size"], case["index"], raw(case["leaf"]), proof)
        assert harness.functions.verifyInclusion(*place).call() is case["valid"], case["why"]
    for case in VECTORS["consistency"]:
        proof = [raw(value) for value in case["proof"]]
        old, new = (raw(case["oldRoot"]), case["oldSize"]), (raw(case["newRoot"]), case["newSize"])
        growth = (*old, *new, proof)
        assert harness.functions.verifyConsistency(*growth).call() is case["valid"], case["why"]


def test_every_growth_of_small_trees_is_judged_alike(harness: Contract) -> None:
    honest = [merkle.leaf_hash(bytes([i])) for i in range(SIZES.stop)]
    rewritten = [merkle.leaf_hash(b"forged") if i == 9 else leaf for i, leaf in enumerate(honest)]
    cases = list(growths([merkle.Tree(honest), merkle.Tree(rewritten)]))
    expected = [merkle.verify_consistency(*case) for case in cases]
    assert any(expected)
    assert not all(expected)
    found = []
    for start in range(0, len(cases), AT_ONCE):
        found += harness.functions.verifyConsistencies(cases[start : start + AT_ONCE]).call()
    assert found == expected


def test_every_place_of_small_trees_is_judged_alike(harness: Contract) -> None:
    leaves = [merkle.leaf_hash(bytes([i])) for i in range(SIZES.stop)]
    tree = merkle.Tree(leaves)
    places = [
        (tree.root(n), n, index, leaves[i], tree.inclusion_proof(i, n))
        for n in SIZES
        for i in range(n)
        for index in ({i, (i + 1) % n, n} if n % 8 == 5 else {i})
    ]
    expected = [merkle.verify_inclusion(*place) for place in places]
    found = []
    for start in range(0, len(places), AT_ONCE):
        found += harness.functions.verifyInclusions(places[start : start + AT_ONCE]).call()
    assert found == expected
