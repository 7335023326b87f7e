"""The Merkle tree of RFC 6962 § 2.1 over SHA-256: root and inclusion path of hashed leaves.

`ml` commits to rows and `chain` to log entries; neither may import the other, and these few lines
are all they have in common.  Both are tested with the vectors of the RFC's authors.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256


def leaf_hash(data: bytes) -> bytes:
    """The hash of one leaf's data."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of two subtrees."""
    return sha256(b"\x01" + left + right).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """The root over leaf hashes; of no leaves, the hash of nothing."""
    return _levels(leaves)[-1][0] if leaves else sha256().digest()


def path(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The sibling hashes from leaf ``index`` up to the root (RFC 6962 § 2.1.1)."""
    if not 0 <= index < len(leaves):
        raise IndexError(f"leaf {index} of {len(leaves)}")
    siblings = []
    for level in _levels(leaves)[:-1]:
        if (index ^ 1) < len(level):
            siblings.append(level[index ^ 1])
        index //= 2
    return siblings


def root_of_path(leaf: bytes, index: int, size: int, siblings: Sequence[bytes]) -> bytes | None:
    """The root that a path leads to, or None if it does not fit (RFC 9162 § 2.1.3.2)."""
    if not 0 <= index < size:
        return None
    here, last, found = index, size - 1, leaf
    for sibling in siblings:
        if last == 0:
            return None
        if here & 1 or here == last:
            found = node_hash(sibling, found)
            # A last node without a sibling rose unchanged: climb to where it met one.
            while not here & 1 and here:
                here, last = here >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        here, last = here >> 1, last >> 1
    return found if last == 0 else None


def _levels(leaves: Sequence[bytes]) -> list[list[bytes]]:
    """All levels from the leaves to the root.  A last node without a sibling rises unchanged,

    which gives the RFC's tree (left subtrees are full) without recursion.
    """
    levels = [list(leaves)]
    while len(level := levels[-1]) > 1:
        paired = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        levels.append(paired + ([level[-1]] if len(level) % 2 else []))
    return levels
