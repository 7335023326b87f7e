"""Append-only Merkle trees as in RFC 6962, with SHA-256. Pure arithmetic: no files, no chain.

Leaves are leaf hashes (`leaf_hash(data)`), hashes are 32 bytes, indices count from 0. A tree of n
leaves is made of complete subtrees; the one at `(level, index)` covers the leaves [index · 2^level,
(index + 1) · 2^level). Its hash never changes once it is complete, so a log stores each once
(`Frontier.append` names them as they become complete) and answers for every size it ever had from
a function `hash_at(level, index)`: see `root_at`, `inclusion_proof_at`, `consistency_proof_at`.
`Tree` keeps them all in memory.

Proofs are checked as in RFC 9162 §§ 2.1.3.2 and 2.1.4.2. contracts/libraries/MerkleLog.sol does the
same on chain, and tests/vectors/merkle.json holds both, and any further verifier, to the same
vectors.
"""

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256

from chain.errors import VerificationFailed

HASH_BYTES = 32

EMPTY_ROOT = sha256(b"").digest()
"""Root of the tree without leaves."""

HashAt = Callable[[int, int], bytes]
"""(level, index) → hash of that complete subtree; called for complete ones only."""


def leaf_hash(data: bytes) -> bytes:
    """SHA-256(0x00 || data)."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right)."""
    return sha256(b"\x01" + left + right).digest()


# ------------------------------------------------------------------------------ growing


class Frontier:
    """The right edge of a tree: enough to append and to know the root, in O(log n) memory."""

    def __init__(self) -> None:
        self._size = 0
        self._peaks: list[bytes] = []  # of the complete subtrees, largest first

    @classmethod
    def load(cls, size: int, hash_at: HashAt) -> "Frontier":
        """The frontier of a stored tree."""
        frontier = cls()
        frontier._size = size
        frontier._peaks = [hash_at(level, index) for level, index in _peaks(size)]
        return frontier

    @property
    def size(self) -> int:
        return self._size

    def append(self, leaf: bytes) -> list[tuple[int, int, bytes]]:
        """The subtrees that this leaf completes, itself first: (level, index, hash)."""
        return self.append_subtree(0, leaf)

    def append_subtree(self, level: int, value: bytes) -> list[tuple[int, int, bytes]]:
        """Append the 2^level leaves of a complete subtree by its hash; returns as `append`.

        Raises ValueError where such a subtree cannot stand: the size must be a multiple of it.
        """
        _require_hash(value)
        index, inside = self._size >> level, self._size & ((1 << level) - 1)
        if inside:
            raise ValueError(f"found size {self._size}; a multiple of {1 << level} is needed")
        self._size += 1 << level
        completed = [(level, index, value)]
        while index & 1:
            value = node_hash(self._peaks.pop(), value)
            index >>= 1
            level += 1
            completed.append((level, index, value))
        self._peaks.append(value)
        return completed

    def branch(self) -> "Frontier":
        """Another frontier of the same leaves, which grows by itself."""
        other = Frontier()
        other._size, other._peaks = self._size, list(self._peaks)
        return other

    def root(self) -> bytes:
        if not self._peaks:
            return EMPTY_ROOT
        found = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            found = node_hash(peak, found)
        return found


class Tree:
    """A whole tree in memory, 64 bytes a leaf; answers for every size up to its own."""

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        self._frontier = Frontier()
        self._levels: list[bytearray] = []
        for leaf in leaves:
            self.append(leaf)

    @property
    def size(self) -> int:
        return self._frontier.size

    def append(self, leaf: bytes) -> None:
        for level, _, value in self._frontier.append(leaf):
            if level == len(self._levels):
                self._levels.append(bytearray())
            self._levels[level] += value

    def hash_at(self, level: int, index: int) -> bytes:
        """Raises IndexError for a subtree that is not complete."""
        start = index * HASH_BYTES
        if not (0 <= level < len(self._levels) and 0 <= start < len(self._levels[level])):
            raise IndexError(f"subtree ({level}, {index}) is not complete at size {self.size}")
        return bytes(self._levels[level][start : start + HASH_BYTES])

    def root(self, size: int | None = None) -> bytes:
        return root_at(self._within(size), self.hash_at)

    def inclusion_proof(self, index: int, size: int | None = None) -> list[bytes]:
        return inclusion_proof_at(index, self._within(size), self.hash_at)

    def consistency_proof(self, old_size: int, new_size: int | None = None) -> list[bytes]:
        return consistency_proof_at(old_size, self._within(new_size), self.hash_at)

    def _within(self, size: int | None) -> int:
        if size is None:
            return self.size
        if not 0 <= size <= self.size:
            raise ValueError(f"found size {size}; the tree has {self.size} leaves")
        return size


# ------------------------------------------------------------------------------ proving


def subtree_root(hashes: bytes) -> bytes:
    """Root of the complete subtree over 2^k hashes, one after the other in one string."""
    while len(hashes) > HASH_BYTES:
        pairs = range(0, len(hashes), 2 * HASH_BYTES)
        hashes = b"".join(
            [sha256(b"\x01" + hashes[at : at + 2 * HASH_BYTES]).digest() for at in pairs]
        )
    return hashes


def root(leaves: Iterable[bytes]) -> bytes:
    """Root of a list of leaf hashes."""
    frontier = Frontier()
    for leaf in leaves:
        frontier.append(leaf)
    return frontier.root()


def inclusion_proof(leaves: Iterable[bytes], index: int) -> list[bytes]:
    return Tree(leaves).inclusion_proof(index)


def consistency_proof(leaves: Iterable[bytes], old_size: int) -> list[bytes]:
    """That the whole list begins with its first `old_size` leaves."""
    return Tree(leaves).consistency_proof(old_size)


def root_at(size: int, hash_at: HashAt) -> bytes:
    """Root of the first `size` leaves of a stored tree."""
    return Frontier.load(size, hash_at).root()


def inclusion_proof_at(index: int, size: int, hash_at: HashAt) -> list[bytes]:
    """PATH(index, D[size]) of RFC 6962 § 2.1.1, the leaf's sibling first.

    Raises ValueError unless 0 ≤ index < size.
    """
    if not 0 <= index < size:
        raise ValueError(f"found index {index}; a tree of {size} leaves has [0, {size})")
    proof = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            proof.append(_range_hash(middle, end, hash_at))
            end = middle
        else:
            proof.append(_range_hash(start, middle, hash_at))
            start = middle
    return proof[::-1]


def consistency_proof_at(old_size: int, new_size: int, hash_at: HashAt) -> list[bytes]:
    """PROOF(old_size, D[new_size]) of RFC 6962 § 2.1.2; empty for equal sizes.

    Raises ValueError unless 0 < old_size ≤ new_size: to the empty tree there is nothing to prove.
    """
    if not 0 < old_size <= new_size:
        raise ValueError(f"found sizes {old_size} and {new_size}; 0 < old ≤ new is needed")
    proof = []
    start, end = 0, new_size
    while old_size != end:
        middle = start + _split(end - start)
        if old_size <= middle:
            proof.append(_range_hash(middle, end, hash_at))
            end = middle
        else:
            proof.append(_range_hash(start, middle, hash_at))
            start = middle
    if start > 0:  # an old tree that is one complete subtree is known by its root
        proof.append(_range_hash(start, end, hash_at))
    return proof[::-1]


# ------------------------------------------------------------------------------ verifying


def root_from_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes | None:
    """The root that the proof leads to; None when it cannot be a proof for this place."""
    if not (0 <= index < size and _are_hashes((leaf, *proof))):
        return None
    node, last, found = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return None
        if node & 1 or node == last:
            found = node_hash(sibling, found)
            node, last = _skip(node, last)
        else:
            found = node_hash(found, sibling)
        node, last = node >> 1, last >> 1
    return found if last == 0 else None


def verify_inclusion(
    root: bytes, size: int, index: int, leaf: bytes, proof: Sequence[bytes]
) -> bool:
    """Whether `leaf` is number `index` of the tree of `size` leaves with this root."""
    return root_from_inclusion(leaf, index, size, proof) == root


def roots_from_consistency(
    old_root: bytes, old_size: int, new_size: int, proof: Sequence[bytes]
) -> tuple[bytes, bytes] | None:
    """The old and new roots that the proof leads to; None when it cannot be one for these sizes.

    `old_root` itself is the first node where the old tree is complete.
    """
    if not (0 < old_size < new_size and _are_hashes((old_root, *proof))):
        return None
    complete = old_size & (old_size - 1) == 0
    if not complete and not proof:
        return None
    old = new = old_root if complete else proof[0]
    node, last = old_size - 1, new_size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    for sibling in proof if complete else proof[1:]:
        if last == 0:
            return None
        if node & 1 or node == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            node, last = _skip(node, last)
        else:
            new = node_hash(new, sibling)
        node, last = node >> 1, last >> 1
    return (old, new) if last == 0 else None


def verify_consistency(
    old_root: bytes, old_size: int, new_root: bytes, new_size: int, proof: Sequence[bytes]
) -> bool:
    """Whether the tree of `new_size` leaves begins with the `old_size` > 0 leaves of the old."""
    if old_size == new_size:
        return old_size > 0 and not proof and old_root == new_root
    return roots_from_consistency(old_root, old_size, new_size, proof) == (old_root, new_root)


def require_inclusion(
    root: bytes, size: int, index: int, leaf: bytes, proof: Sequence[bytes], where: str = "$"
) -> None:
    """`verify_inclusion`, or `VerificationFailed` at `where` with the root that the proof gives."""
    if not verify_inclusion(root, size, index, leaf, proof):
        found = root_from_inclusion(leaf, index, size, proof)
        raise VerificationFailed(
            where,
            f"no proof for leaf {index} of {size}" if found is None else f"root 0x{found.hex()}",
            f"root 0x{root.hex()}",
        )


def require_consistency(
    old_root: bytes,
    old_size: int,
    new_root: bytes,
    new_size: int,
    proof: Sequence[bytes],
    where: str = "$",
) -> None:
    """`verify_consistency`, or `VerificationFailed` at `where` with the roots the proof gives."""
    if not verify_consistency(old_root, old_size, new_root, new_size, proof):
        found = roots_from_consistency(old_root, old_size, new_size, proof)
        raise VerificationFailed(
            where,
            f"no proof from {old_size} to {new_size} leaves"
            if found is None
            else f"roots 0x{found[0].hex()} and 0x{found[1].hex()}",
            f"roots 0x{old_root.hex()} and 0x{new_root.hex()}",
        )


# ------------------------------------------------------------------------------ inside


def _peaks(size: int) -> list[tuple[int, int]]:
    """(level, index) of the complete subtrees of a tree of `size` leaves, largest first."""
    return [
        (level, (size >> level) - 1)
        for level in reversed(range(size.bit_length()))
        if size >> level & 1
    ]


def _split(n: int) -> int:
    """The largest power of two below n > 1."""
    return 1 << ((n - 1).bit_length() - 1)


def _range_hash(start: int, end: int, hash_at: HashAt) -> bytes:
    """MTH(D[start:end]) for a range that RFC 6962 splits off.

    Its start is a multiple of a power of two that is at least its length.
    """
    hashes = []
    while start < end:
        level = (end - start).bit_length() - 1
        hashes.append(hash_at(level, start >> level))
        start += 1 << level
    found = hashes.pop()
    while hashes:
        found = node_hash(hashes.pop(), found)
    return found


def _skip(node: int, last: int) -> tuple[int, int]:
    """A node that ends an incomplete level has no sibling there: up to where it has one."""
    while node and not node & 1:
        node, last = node >> 1, last >> 1
    return node, last


def _are_hashes(values: Sequence[bytes]) -> bool:
    return all(len(value) == HASH_BYTES for value in values)


def _require_hash(value: bytes) -> None:
    if len(value) != HASH_BYTES:
        raise ValueError(f"found {len(value)} bytes; a leaf hash has {HASH_BYTES}")
