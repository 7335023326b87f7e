"""Proof that leaves stand side by side in a log (RFC 6962), none left out between them.

The root of a tree follows from the leaves of a range and from the roots of the subtrees beside it:
at most two for each level. The proof is these roots from left to right, so a thousand entries need
no thousand proofs, and whoever leaves one out arrives at another root.
"""

from collections.abc import Iterator, Sequence

from chain.errors import VerificationFailed
from chain.merkle import HashAt, node_hash

MAX_PROOF = 128
"""Two for each level of a tree of 2**64 leaves."""


def range_proof(first: int, end: int, size: int, hash_at: HashAt) -> list[bytes]:
    """That the leaves [first, end) stand in the tree of `size`. Raises ValueError for no range."""
    _require_range(first, end, size)

    def beside(low: int, high: int) -> Iterator[bytes]:
        if high <= first or low >= end:
            yield _subtree(low, high, hash_at)
        elif high - low > 1:
            middle = low + _half(high - low)
            yield from beside(low, middle)
            yield from beside(middle, high)

    return list(beside(0, size)) if size else []


def root_from_range(
    first: int, leaves: Sequence[bytes], size: int, proof: Sequence[bytes]
) -> bytes:
    """The root of the tree of `size` in which these leaf hashes stand from `first` on.

    Raises ValueError for a proof that is too short or too long, and for no range.
    """
    end = first + len(leaves)
    _require_range(first, end, size)
    if len(proof) > MAX_PROOF or not size:
        raise ValueError(f"{len(proof)} hashes beside a range of a log of {size}")
    left = iter(proof)

    def root(low: int, high: int) -> bytes:
        if high <= first or low >= end:
            found = next(left, None)
            if found is None:
                raise ValueError("a hash beside the range is missing")
            return found
        if high - low == 1:
            return leaves[low - first]
        middle = low + _half(high - low)
        return node_hash(root(low, middle), root(middle, high))

    found = root(0, size)
    if next(left, None) is not None:
        raise ValueError("there are more hashes than stand beside the range")
    return found


def require_range(
    root: bytes, size: int, first: int, leaves: Sequence[bytes], proof: Sequence[bytes], where: str
) -> None:
    """Raises VerificationFailed."""
    try:
        found = root_from_range(first, leaves, size, proof)
    except ValueError as error:
        raise VerificationFailed(where, str(error), "the hashes beside the range") from error
    if found != root:
        raise VerificationFailed(where, "0x" + found.hex(), "the root 0x" + root.hex())


def _subtree(low: int, high: int, hash_at: HashAt) -> bytes:
    """The root over the leaves [low, high) of the tree, which begins where a subtree does."""
    width = high - low
    level = width.bit_length() - 1
    if width == 1 << level:
        return hash_at(level, low >> level)
    middle = low + _half(width)
    return node_hash(_subtree(low, middle, hash_at), _subtree(middle, high, hash_at))


def _half(width: int) -> int:
    """The largest power of two below it; RFC 6962 splits there."""
    return 1 << (width - 1).bit_length() - 1


def _require_range(first: int, end: int, size: int) -> None:
    if not 0 <= first <= end <= size:
        raise ValueError(f"[{first}, {end}) is no range of a log of {size}")
