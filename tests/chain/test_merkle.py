"""RFC 6962 trees: published vectors, every small tree, and what must not pass."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain import merkle
from chain.errors import VerificationFailed

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "merkle.json").read_text())
SMALL = 40

# Published with the Certificate Transparency implementations (merkletree tests), sizes 1 to 8.
PUBLISHED_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def raw(value: str) -> bytes:
    return bytes.fromhex(value.removeprefix("0x"))


def leaves(n: int) -> list[bytes]:
    return [merkle.leaf_hash(i.to_bytes(4)) for i in range(n)]


INPUTS = [merkle.leaf_hash(raw(data)) for data in VECTORS["inputs"]]


def mth(hashes: list[bytes]) -> bytes:
    """RFC 6962 § 2.1, word by word."""
    if not hashes:
        return merkle.EMPTY_ROOT
    if len(hashes) == 1:
        return hashes[0]
    k = 1
    while 2 * k < len(hashes):
        k *= 2
    return merkle.node_hash(mth(hashes[:k]), mth(hashes[k:]))


def test_roots_are_the_published_ones() -> None:
    assert [merkle.root(INPUTS[:n]).hex() for n in range(1, 9)] == PUBLISHED_ROOTS
    assert [raw(root).hex() for root in VECTORS["roots"][1:]] == PUBLISHED_ROOTS
    assert raw(VECTORS["roots"][0]) == merkle.EMPTY_ROOT
    assert [raw(leaf) for leaf in VECTORS["leafHashes"]] == INPUTS


def test_the_root_is_what_the_rfc_defines() -> None:
    for n in range(SMALL):
        assert merkle.root(leaves(n)) == mth(leaves(n))


@pytest.mark.parametrize("case", VECTORS["inclusion"], ids=lambda c: c["why"])
def test_inclusion_vectors(case: dict[str, object]) -> None:
    arguments = _inclusion(case)
    assert merkle.verify_inclusion(*arguments) is case["valid"]


@pytest.mark.parametrize("case", VECTORS["consistency"], ids=lambda c: c["why"])
def test_consistency_vectors(case: dict[str, object]) -> None:
    arguments = _consistency(case)
    assert merkle.verify_consistency(*arguments) is case["valid"]


def test_every_leaf_of_every_small_tree_is_proved() -> None:
    tree = merkle.Tree(leaves(SMALL))
    for n in range(1, SMALL):
        root = tree.root(n)
        for i in range(n):
            proof = tree.inclusion_proof(i, n)
            assert merkle.verify_inclusion(root, n, i, leaves(n)[i], proof)
            assert len(proof) <= (n - 1).bit_length()
            assert not merkle.verify_inclusion(root, n, (i + 1) % n, leaves(n)[i], proof) or n == 1


def test_every_growth_of_every_small_tree_is_proved() -> None:
    tree = merkle.Tree(leaves(SMALL))
    for n in range(1, SMALL):
        for m in range(1, n + 1):
            proof = tree.consistency_proof(m, n)
            assert merkle.verify_consistency(tree.root(m), m, tree.root(n), n, proof)


def test_a_rewritten_leaf_breaks_every_growth_after_it() -> None:
    tree = merkle.Tree(leaves(SMALL))
    for changed in (0, 7, 20):
        forged = merkle.Tree(
            merkle.leaf_hash(b"forged") if i == changed else leaf
            for i, leaf in enumerate(leaves(SMALL))
        )
        for m in range(changed + 1, SMALL):
            proof = forged.consistency_proof(m, SMALL)
            assert not merkle.verify_consistency(tree.root(m), m, forged.root(), SMALL, proof)


@given(st.integers(1, 200), st.data())
def test_a_changed_bit_anywhere_in_a_proof_is_found(n: int, data: st.DataObject) -> None:
    tree = merkle.Tree(leaves(n))
    index = data.draw(st.integers(0, n - 1))
    proof = tree.inclusion_proof(index)
    if proof:
        place = data.draw(st.integers(0, len(proof) - 1))
        bit = data.draw(st.integers(0, 255))
        proof[place] = (int.from_bytes(proof[place]) ^ 1 << bit).to_bytes(32)
        assert not merkle.verify_inclusion(tree.root(), n, index, leaves(n)[index], proof)


@given(st.integers(1, 300), st.data())
def test_a_proof_from_stored_subtrees_equals_the_one_from_all_leaves(
    n: int, data: st.DataObject
) -> None:
    stored: dict[tuple[int, int], bytes] = {}
    frontier = merkle.Frontier()
    for leaf in leaves(n):
        for level, index, value in frontier.append(leaf):
            assert (level, index) not in stored
            stored[level, index] = value

    def hash_at(level: int, index: int) -> bytes:
        return stored[level, index]

    m = data.draw(st.integers(1, n))
    i = data.draw(st.integers(0, n - 1))
    assert merkle.root_at(m, hash_at) == mth(leaves(m))
    assert merkle.inclusion_proof_at(i, n, hash_at) == merkle.inclusion_proof(leaves(n), i)
    assert merkle.consistency_proof_at(m, n, hash_at) == merkle.consistency_proof(leaves(n), m)
    resumed = merkle.Frontier.load(m, hash_at)
    for leaf in leaves(n)[m:]:
        resumed.append(leaf)
    assert (resumed.size, resumed.root()) == (n, frontier.root())


def test_a_proof_in_a_log_of_ten_million_reads_few_subtrees() -> None:
    """Identical leaves: the hash of a subtree depends on its level alone."""
    level_hashes = [merkle.leaf_hash(b"same")]
    for _ in range(24):
        level_hashes.append(merkle.node_hash(level_hashes[-1], level_hashes[-1]))
    reads: list[tuple[int, int]] = []

    def hash_at(level: int, index: int) -> bytes:
        assert (index + 1) << level <= size
        reads.append((level, index))
        return level_hashes[level]

    size = 10_000_000
    root = merkle.root_at(size, hash_at)
    proof = merkle.inclusion_proof_at(size - 3, size, hash_at)
    growth = merkle.consistency_proof_at(size - 9_999, size, hash_at)
    assert merkle.verify_inclusion(root, size, size - 3, level_hashes[0], proof)
    old = merkle.root_at(size - 9_999, hash_at)
    assert merkle.verify_consistency(old, size - 9_999, root, size, growth)
    assert len(reads) < 200


@given(st.integers(0, 7))
def test_a_subtree_in_one_string_has_the_root_of_its_leaves(level: int) -> None:
    hashes = leaves(1 << level)
    assert merkle.subtree_root(b"".join(hashes)) == mth(hashes)


@given(st.lists(st.integers(0, 4), max_size=12))
def test_a_frontier_takes_whole_subtrees(levels: list[int]) -> None:
    levels = sorted(levels, reverse=True)  # so that each has its place
    hashes = leaves(sum(1 << level for level in levels))
    frontier, start = merkle.Frontier(), 0
    for level in levels:
        frontier.append_subtree(level, mth(hashes[start : start + (1 << level)]))
        start += 1 << level
    assert frontier.root() == mth(hashes)
    branch = frontier.branch()
    branch.append(hashes[0] if hashes else merkle.EMPTY_ROOT)
    assert (frontier.size, frontier.root()) == (len(hashes), mth(hashes))
    assert branch.size == len(hashes) + 1


def test_a_subtree_has_its_place_only_behind_its_like() -> None:
    frontier = merkle.Frontier()
    frontier.append(leaves(1)[0])
    with pytest.raises(ValueError, match="multiple of 2"):
        frontier.append_subtree(1, leaves(1)[0])


def test_a_failed_proof_says_where_and_what_was_found() -> None:
    tree = merkle.Tree(leaves(8))
    root, proof = tree.root(), tree.inclusion_proof(3)
    merkle.require_inclusion(root, 8, 3, leaves(8)[3], proof)
    with pytest.raises(VerificationFailed) as failed:
        merkle.require_inclusion(root, 8, 3, leaves(8)[4], proof, "$.entries[3]")
    assert failed.value.where == "$.entries[3]"
    assert failed.value.expected == f"root 0x{root.hex()}"
    with pytest.raises(VerificationFailed, match="no proof for leaf 3 of 8"):
        merkle.require_inclusion(root, 8, 3, leaves(8)[3], proof[:1])


def test_a_failed_growth_says_where_and_what_was_found() -> None:
    tree = merkle.Tree(leaves(8))
    old, new, proof = tree.root(6), tree.root(), tree.consistency_proof(6)
    merkle.require_consistency(old, 6, new, 8, proof)
    with pytest.raises(VerificationFailed, match=r"\$\.log: found roots 0x"):
        merkle.require_consistency(new, 6, new, 8, proof, "$.log")
    with pytest.raises(VerificationFailed, match="no proof from 6 to 8 leaves"):
        merkle.require_consistency(old, 6, new, 8, [])


def test_hashes_of_another_length_prove_nothing() -> None:
    tree = merkle.Tree(leaves(4))
    joined = b"".join(tree.inclusion_proof(0))
    assert not merkle.verify_inclusion(tree.root(), 4, 0, leaves(4)[0], [joined])
    assert not merkle.verify_inclusion(tree.root(), 4, 0, b"short", tree.inclusion_proof(0))
    assert not merkle.verify_consistency(tree.root(2), 2, tree.root(), 4, [b""])
    with pytest.raises(ValueError, match="found 5 bytes"):
        merkle.Frontier().append(b"short")


@pytest.mark.parametrize(("index", "size"), [(-1, 4), (4, 4), (0, 0)])
def test_no_proof_for_a_place_that_is_not_there(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="found index"):
        merkle.Tree(leaves(4)).inclusion_proof(index, size)


@pytest.mark.parametrize(("old", "new"), [(0, 4), (3, 2)])
def test_no_proof_of_growth_from_nothing_or_backwards(old: int, new: int) -> None:
    with pytest.raises(ValueError, match="found sizes"):
        merkle.Tree(leaves(4)).consistency_proof(old, new)


def test_a_tree_answers_within_its_size() -> None:
    tree = merkle.Tree(leaves(5))
    with pytest.raises(ValueError, match="the tree has 5 leaves"):
        tree.root(6)
    with pytest.raises(IndexError, match="not complete at size 5"):
        tree.hash_at(1, 2)


def _inclusion(case: dict[str, object]) -> tuple[bytes, int, int, bytes, list[bytes]]:
    match case:
        case {
            "root": str(root),
            "size": int(n),
            "index": int(i),
            "leaf": str(leaf),
            "proof": list(p),
        }:
            return raw(root), n, i, raw(leaf), [raw(value) for value in p]
    raise AssertionError(case)


def _consistency(case: dict[str, object]) -> tuple[bytes, int, bytes, int, list[bytes]]:
    match case:
        case {
            "oldRoot": str(old),
            "oldSize": int(m),
            "newRoot": str(new),
            "newSize": int(n),
            "proof": list(p),
        }:
            return raw(old), m, raw(new), n, [raw(value) for value in p]
    raise AssertionError(case)
