"""Ids in bins: the guest's in a cuckoo table, the host's by the part of the table that they meet.

Each id may lie in three bins.  In the guest's table each bin holds one id at most; a host, who does
not see the table, evaluates each of its ids in all three.

Source
    Pinkas, Schneider, Zohner, "Scalable Private Set Intersection Based on OT Extension", TOPS 2018,
    § 5: three hash functions and 1.27 bins per id need no stash from 2**20 ids on; where a table
    cannot be built, all ids are hashed anew with another salt.
"""

# mypy: allow-untyped-defs
# (Arguments of compiled functions have the types of their calls.)

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from ml.crypto.compiled import compiled, inlined
from ml.crypto.ot_extension import padded
from ml.crypto.prg import KEY_BYTES, Stream
from ml.crypto.sha256 import BLOCK_BYTES, hash_texts

CHOICES = 3
_AT_ONCE = 2**17  # ids hashed in one piece, so that their joined text stays small
_MOVES = 500  # of ids that make room for one; a table that needs more is given up

Hashes = NDArray[np.uint32]  # (n, 8): four words are the id, three its bins
Words = NDArray[np.uint64]


def bin_count(ids: int) -> int:
    """Bins of a table for this many ids; both parties know it."""
    return padded(ids * 127 // 100 + 64)


def hash_ids(ids: Sequence[str], session: bytes) -> Hashes:
    """SHA-256 of each id, bound to the session."""
    prefix = (b"fatechain psi v2 id to bins".ljust(32, b"\0") + session).ljust(BLOCK_BYTES, b"\0")
    out = np.empty((len(ids), 8), np.uint32)
    for start in range(0, len(ids), _AT_ONCE):
        out[start : start + _AT_ONCE] = hash_texts(ids[start : start + _AT_ONCE], prefix)
    return out


@dataclass(frozen=True, eq=False)
class Table:
    """The guest's ids, each in one of its bins."""

    hashes: Hashes
    slots: NDArray[np.int32]  # (bins,): 4 row + which of its bins this is, or -1

    @classmethod
    def build(cls, hashes: Hashes) -> Table | None:
        """None if the ids do not fit: then they must be hashed with another salt."""
        slots = np.full(bin_count(len(hashes)), -1, np.int32)
        return cls(hashes, slots) if _insert(hashes, slots, _MOVES) else None

    def part(self, first: int, stop: int, noise: Stream) -> tuple[Words, Words]:
        """What is evaluated in these bins, (n, 2), with tweaks (n,); nonsense in empty ones."""
        inputs, tweaks = noise.words(stop - first, 2), np.empty(stop - first, np.uint64)
        _gather(self.hashes, self.slots, first, inputs, tweaks)
        return inputs, tweaks


@dataclass(frozen=True, eq=False)
class Visits:
    """The host's ids in the order in which they meet the parts of the guest's table."""

    hashes: Hashes
    bins: int
    part: int  # bins of one part
    entries: NDArray[np.uint32]  # (3 n,): 4 row + which of its bins
    starts: NDArray[np.int64]  # of each part among the entries

    @classmethod
    def of(cls, hashes: Hashes, bins: int, part: int) -> Visits:
        """Of all ids with a table of ``bins`` bins, seen ``part`` at a time."""
        starts = np.zeros(-(-bins // part) + 1, np.int64)
        entries = np.empty(CHOICES * len(hashes), np.uint32)
        _sort(hashes, bins, part, starts, entries)
        return cls(hashes, bins, part, entries, starts)

    def visit(self, number: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32], Words, Words]:
        """The entries of one part, the bins in it that they meet, their inputs and tweaks."""
        entries = self.entries[self.starts[number] : self.starts[number + 1]]
        at = np.empty(len(entries), np.uint32)
        inputs, tweaks = np.empty((len(entries), 2), np.uint64), np.empty(len(entries), np.uint64)
        _visit(self.hashes, self.bins, number * self.part, entries, at, inputs, tweaks)
        return entries, at, inputs, tweaks


def new_noise() -> Stream:
    """What fills empty bins."""
    return Stream(secrets.token_bytes(KEY_BYTES))


def code_session(session: bytes) -> bytes:
    """What the function that ids are evaluated under is bound to."""
    return sha256(b"fatechain psi v2 function" + session).digest()


# --- kernels --------------------------------------------------------------------------------


@inlined
def _bin(hashes, row, which, bins):
    return np.int64((np.uint64(hashes[row, 4 + which]) * np.uint64(bins)) >> np.uint64(32))


@compiled
def _insert(hashes, slots, moves):
    """Random-walk cuckoo insertion; whether all rows found a bin."""
    bins = slots.shape[0]
    state = np.uint64(0x9E3779B97F4A7C15)
    for first in range(hashes.shape[0]):
        row, avoided = np.int64(first), np.int64(-1)
        for _ in range(moves):
            placed = False
            for which in range(CHOICES):
                at = _bin(hashes, row, which, bins)
                if slots[at] < 0:
                    slots[at] = np.int32(4 * row + which)
                    placed = True
                    break
            if placed:
                row = np.int64(-1)
                break
            # Never back to where this id was driven from.
            state ^= state << np.uint64(13)
            state ^= state >> np.uint64(7)
            state ^= state << np.uint64(17)
            driven = np.int64(state % np.uint64(3))
            at = _bin(hashes, row, driven, bins)
            if at == avoided:
                driven = (driven + 1) % 3
                at = _bin(hashes, row, driven, bins)
            other = slots[at]
            slots[at] = np.int32(4 * row + driven)
            row, avoided = np.int64(other >> 2), at
        if row >= 0:
            return False
    return True


@inlined
def _input(hashes, row, out, k):
    for i in range(2):
        out[k, i] = np.uint64(hashes[row, 2 * i]) | (
            np.uint64(hashes[row, 2 * i + 1]) << np.uint64(32)
        )


@compiled
def _gather(hashes, slots, first, inputs, tweaks):
    for k in range(tweaks.shape[0]):
        slot = slots[first + k]
        which = np.uint64(3)
        if slot >= 0:
            _input(hashes, slot >> 2, inputs, k)
            which = np.uint64(slot & 3)
        tweaks[k] = (np.uint64(first + k) << np.uint64(2)) | which


@compiled
def _sort(hashes, bins, part, starts, entries):
    """A counting sort of all (row, which) by the part of the table that they meet."""
    for row in range(hashes.shape[0]):
        for which in range(3):
            starts[_bin(hashes, row, which, bins) // part + 1] += 1
    for k in range(1, starts.shape[0]):
        starts[k] += starts[k - 1]
    free = starts.copy()
    for row in range(hashes.shape[0]):
        for which in range(3):
            number = _bin(hashes, row, which, bins) // part
            entries[free[number]] = np.uint32(4 * row + which)
            free[number] += 1


@compiled
def _visit(hashes, bins, first, entries, at, inputs, tweaks):
    for k in range(entries.shape[0]):
        row, which = np.int64(entries[k] >> np.uint32(2)), np.int64(entries[k] & np.uint32(3))
        found = _bin(hashes, row, which, bins)
        at[k] = np.uint32(found - first)
        _input(hashes, row, inputs, k)
        tweaks[k] = (np.uint64(found) << np.uint64(2)) | np.uint64(which)
