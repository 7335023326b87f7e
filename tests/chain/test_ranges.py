"""Leaves of a range prove that none between them is left out."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain import merkle
from chain.errors import VerificationFailed
from chain.ranges import MAX_PROOF, range_proof, require_range, root_from_range

LEAVES = [sha256(bytes([n])).digest() for n in range(70)]


def hash_at(level: int, index: int) -> bytes:
    """The root of a whole subtree of the leaves."""
    return merkle.Tree(LEAVES[index << level : index + 1 << level]).root()


@st.composite
def ranges(draw: st.DrawFn) -> tuple[int, int, int]:
    size = draw(st.integers(1, len(LEAVES)))
    first = draw(st.integers(0, size))
    return first, draw(st.integers(first, size)), size


def test_every_range_of_every_small_log_leads_to_its_root() -> None:
    for size in range(1, 20):
        root = merkle.Tree(LEAVES[:size]).root()
        for first in range(size + 1):
            for end in range(first, size + 1):
                proof = range_proof(first, end, size, hash_at)
                assert root_from_range(first, LEAVES[first:end], size, proof) == root
                assert len(proof) <= 2 * size.bit_length()


def test_a_range_of_one_is_an_inclusion_proof_from_left_to_right() -> None:
    proof = range_proof(5, 6, 13, hash_at)
    assert sorted(proof) == sorted(merkle.Tree(LEAVES[:13]).inclusion_proof(5))


@given(ranges(), st.data())
def test_a_leaf_left_out_moved_or_altered_is_found(
    where: tuple[int, int, int], data: st.DataObject
) -> None:
    first, end, size = where
    root = merkle.Tree(LEAVES[:size]).root()
    proof, leaves = range_proof(first, end, size, hash_at), LEAVES[first:end]
    require_range(root, size, first, leaves, proof, "$")
    if not leaves:
        return
    at = data.draw(st.integers(0, len(leaves) - 1))
    lies = [
        (first, leaves[:at] + leaves[at + 1 :], proof),
        (first, [*leaves[:at], sha256(b"x").digest(), *leaves[at + 1 :]], proof),
        (first, leaves, [*proof, root]),
        (first, leaves, [*proof[:-1]]) if proof else (first, leaves, [root]),
        (first + 1, leaves, proof),
        (first, [*leaves, leaves[at]], proof),
    ]
    for start, told, beside in lies:
        with pytest.raises(VerificationFailed):
            require_range(root, size, start, told, beside, "$.log.proof")


@given(
    st.integers(-2, 2**70),
    st.lists(st.binary(min_size=32, max_size=32), max_size=4),
    st.integers(-2, 2**70),
    st.lists(st.binary(min_size=32, max_size=32), max_size=MAX_PROOF + 2),
)
def test_whatever_is_shown_is_refused_by_name(
    first: int, leaves: list[bytes], size: int, proof: list[bytes]
) -> None:
    with pytest.raises(VerificationFailed):
        require_range(b"\0" * 32, size, first, leaves, proof, "$")


def test_what_is_no_range_is_refused() -> None:
    for first, end, size in ((2, 1, 3), (0, 4, 3), (-1, 1, 3)):
        with pytest.raises(ValueError, match="no range"):
            range_proof(first, end, size, hash_at)
