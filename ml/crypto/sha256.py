"""SHA-256 (FIPS 180-4) of many short messages at once, sixteen side by side.

`hashlib` takes a quarter of a microsecond to be called; these kernels hash a short message in a
fifth of that, because sixteen messages fill the vector registers of a processor.
"""

# mypy: allow-untyped-defs
# (Arguments of compiled functions have the types of their calls.)

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from ml.crypto.compiled import compiled, inlined

BLOCK_BYTES = 64
SHORT_BYTES = 55  # the longest message that fits one block with its padding
LANES = 16

State = NDArray[np.uint32]  # (8,)


def _root_bits(power: int, count: int) -> NDArray[np.uint32]:
    """First 32 bits of the fractional parts of roots of the first primes (FIPS 180-4, § 4.2.2)."""
    primes: list[int] = []
    candidate = 2
    while len(primes) < count:
        if all(candidate % p for p in primes):
            primes.append(candidate)
        candidate += 1
    return np.array([_root(p << (32 * power), power) & 0xFFFFFFFF for p in primes], np.uint32)


def _root(n: int, power: int) -> int:
    """The largest integer whose square or cube is at most ``n``."""
    if power == 2:
        return isqrt(n)
    low, high = 0, 1 << (n.bit_length() // 3 + 1)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**3 <= n else (low, middle - 1)
    return low


START: State = _root_bits(2, 8)
_ROUNDS = _root_bits(3, 64)


@cache
def state_after(prefix: bytes) -> State:
    """The state after ``prefix``, which is one block: the place from which messages go on."""
    if len(prefix) != BLOCK_BYTES:
        raise ValueError(f"a prefix of {len(prefix)} bytes; needed are {BLOCK_BYTES}")
    block = np.frombuffer(prefix, ">u4").astype(np.uint32).reshape(1, 16)
    state: State = compress(START, block)[0]
    state.setflags(write=False)
    return state


def compress(state: State, blocks: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """The compression function from ``state`` on each block (n, 16) of big-endian words: (n, 8)."""
    out = np.empty((len(blocks), 8), np.uint32)
    _compress(state, np.ascontiguousarray(blocks, np.uint32), out)
    return out


def hash_texts(texts: Sequence[str], prefix: bytes) -> NDArray[np.uint32]:
    """SHA-256(prefix || text in UTF-8) of each text, as big-endian words (n, 8).

    ``prefix`` is one block of 64 bytes.
    """
    joined = "".join(texts)
    data = joined.encode()
    if len(data) == len(joined):
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    else:
        lengths = np.fromiter((len(text.encode()) for text in texts), np.int64, len(texts))
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    out = np.empty((len(texts), 8), np.uint32)
    _hash_short(state_after(prefix), np.frombuffer(data, np.uint8), starts, out)
    for row in np.flatnonzero(lengths > SHORT_BYTES):
        digest = sha256(prefix + data[starts[row] : starts[row + 1]]).digest()
        out[row] = np.frombuffer(digest, ">u4")
    return out


# --- kernels --------------------------------------------------------------------------------


@inlined
def _right(x, n):
    return (x >> np.uint32(n)) | (x << np.uint32(32 - n))


@compiled
def lanes():
    """Room for `mix`: eight arrays of their own, since only then the compiler sees no overlap."""
    return (
        np.empty(LANES, np.uint32),
        np.empty(LANES, np.uint32),
        np.empty(LANES, np.uint32),
        np.empty(LANES, np.uint32),
        np.empty(LANES, np.uint32),
        np.empty(LANES, np.uint32),
        np.empty(LANES, np.uint32),
        np.empty(LANES, np.uint32),
    )


@compiled
def mix(state, w, room):
    """Compress what the first 16 rows of ``w`` (64, lanes) hold; the new states are in ``room``."""
    a, b, c, d, e, f, g, h = room
    for k in range(LANES):
        a[k], b[k], c[k], d[k] = state[0], state[1], state[2], state[3]
        e[k], f[k], g[k], h[k] = state[4], state[5], state[6], state[7]
    for t in range(16, 64):
        for k in range(LANES):
            x, y = w[t - 15, k], w[t - 2, k]
            s0 = _right(x, 7) ^ _right(x, 18) ^ (x >> np.uint32(3))
            s1 = _right(y, 17) ^ _right(y, 19) ^ (y >> np.uint32(10))
            w[t, k] = np.uint32(w[t - 16, k] + s0 + w[t - 7, k] + s1)
    for t in range(64):
        round_word = _ROUNDS[t]
        for k in range(LANES):
            x, y = e[k], a[k]
            s1 = _right(x, 6) ^ _right(x, 11) ^ _right(x, 25)
            choice = (x & f[k]) ^ (~x & g[k])
            t1 = np.uint32(h[k] + s1 + choice + round_word + w[t, k])
            s0 = _right(y, 2) ^ _right(y, 13) ^ _right(y, 22)
            majority = (y & b[k]) ^ (y & c[k]) ^ (b[k] & c[k])
            t2 = np.uint32(s0 + majority)
            h[k] = g[k]
            g[k] = f[k]
            f[k] = x
            e[k] = np.uint32(d[k] + t1)
            d[k] = c[k]
            c[k] = b[k]
            b[k] = y
            a[k] = np.uint32(t1 + t2)
    for k in range(LANES):
        a[k] += state[0]
        b[k] += state[1]
        c[k] += state[2]
        d[k] += state[3]
        e[k] += state[4]
        f[k] += state[5]
        g[k] += state[6]
        h[k] += state[7]


@compiled
def _write(room, out, first):
    a, b, c, d, e, f, g, h = room
    for k in range(min(LANES, out.shape[0] - first)):
        row = first + k
        out[row, 0], out[row, 1], out[row, 2], out[row, 3] = a[k], b[k], c[k], d[k]
        out[row, 4], out[row, 5], out[row, 6], out[row, 7] = e[k], f[k], g[k], h[k]


@compiled
def _compress(state, blocks, out):
    w, room = np.empty((64, LANES), np.uint32), lanes()
    n = blocks.shape[0]
    for first in range(0, n, LANES):
        for k in range(LANES):
            row = min(first + k, n - 1)
            for i in range(16):
                w[i, k] = blocks[row, i]
        mix(state, w, room)
        _write(room, out, first)


@compiled
def _hash_short(state, data, starts, out):
    """Messages of up to 55 bytes after one block; longer ones are left for the caller."""
    w, room = np.empty((64, LANES), np.uint32), lanes()
    n = out.shape[0]
    for first in range(0, n, LANES):
        for k in range(LANES):
            row = min(first + k, n - 1)
            start, length = starts[row], starts[row + 1] - starts[row]
            if length > SHORT_BYTES:
                length = 0
            for i in range(16):
                w[i, k] = np.uint32(0)
            for i in range(length):
                w[i >> 2, k] |= np.uint32(data[start + i]) << np.uint32(24 - 8 * (i & 3))
            w[length >> 2, k] |= np.uint32(0x80) << np.uint32(24 - 8 * (length & 3))
            w[15, k] = np.uint32(8 * (BLOCK_BYTES + length))
        mix(state, w, room)
        _write(room, out, first)
