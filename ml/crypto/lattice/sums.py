"""Adding up residues by bins, masking numbers, and reading sums: the loops over all rows.

A holder's bins lie column by column (p, rows); slots number the bins of all columns through, and a
*split* is a sum of slots (`ml.local.binning.SplitMatrix`).  Sums are taken unreduced and reduced
every 240 rows, which 64 bits hold.
"""

# mypy: allow-untyped-defs
# (Arguments of compiled functions have the types of their calls; the typed faces stand below.)

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.crypto.compiled import compiled
from ml.crypto.lattice.randomness import TILE, binomial, flood
from ml.crypto.lattice.ring import DEGREE, Q, Residues, minus, plus, reduced, residue

BLOCK = 128  # coefficients of polynomials that are added up at a time: slots of a column fit L1
LANES = 16  # words of a row that lie side by side in the store of masks
_ROWS_IN_CACHE = 32_768 // TILE  # words of rows that stay in the second cache, in tiles
WIDTHS = (16, 8, 4, 2, 1)  # of words that are added up side by side

Bins = NDArray[np.uint8]  # (p, rows)
Slots = NDArray[np.int64]


# --- the holder: polynomials of rows, once per matrix -----------------------------------------


@compiled
def _add_polynomials(tile, bins, offsets, sums, first, last):
    part = np.empty((tile.shape[0], BLOCK), np.uint64)
    for c in range(sums.shape[0]):
        for i in range(tile.shape[0]):
            for j in range(BLOCK):
                part[i, j] = tile[i, c * BLOCK + j]
        for f in range(first, last):
            of = sums[c, offsets[f] : offsets[f + 1]]
            for i in range(tile.shape[0]):
                slot = of[bins[f, i]]
                row = part[i]
                for j in range(BLOCK):
                    slot[j] += row[j]
            for b in range(of.shape[0]):
                for j in range(BLOCK):
                    of[b, j] = reduced(of[b, j])


def empty_polynomial_sums(slots: int) -> Residues:
    """Sums of no polynomials: (n / BLOCK, slots, BLOCK)."""
    return np.zeros((DEGREE // BLOCK, slots, BLOCK), np.uint64)


def add_polynomials(
    tile: Residues, bins: Bins, offsets: Slots, sums: Residues, columns: slice
) -> None:
    """Add the polynomial of each row (at most 240, n) to its slot in every one of ``columns``."""
    assert len(tile) <= TILE
    _add_polynomials(tile, bins, offsets, sums, columns.start, columns.stop)


# --- from slots to splits ---------------------------------------------------------------------


@compiled
def _split_sums(slots, offsets, column, upto, also, out):
    running = slots.copy()
    for f in range(offsets.shape[0] - 1):
        for s in range(offsets[f] + 1, offsets[f + 1]):
            for j in range(slots.shape[1]):
                running[s, j] = plus(running[s, j], running[s - 1, j])
    for k in range(upto.shape[0]):
        for j in range(slots.shape[1]):
            out[k, j] = running[upto[k], j]
        if also[k] >= 0:
            for j in range(slots.shape[1]):
                out[k, j] = plus(out[k, j], slots[also[k], j])


def split_sums(slots: Residues, matrix: Any, out: Residues) -> None:
    """The sum of the slots left of every split of a `SplitMatrix`; (slots, m) to (splits, m)."""
    _split_sums(slots, matrix.offsets, matrix.column, matrix.upto, matrix.also, out)


# --- the holder: masked words of rows, every level ----------------------------------------------


@cache
def _add_words(width: int) -> Callable[..., None]:
    """The kernel for ``width`` words side by side: a constant, so that they become vectors."""

    @compiled
    def add(words, bins, offsets, sums, word, first, last):
        rows = words.shape[0]
        near = TILE * max(1, _ROWS_IN_CACHE // width)
        total = np.empty((256, width), np.uint64)
        for start in range(0, rows, near):
            for f in range(first, last):
                size = offsets[f + 1] - offsets[f]
                total[:size] = 0
                column = bins[f]
                for begin in range(start, min(rows, start + near), TILE):
                    for i in range(begin, min(rows, begin + TILE)):
                        slot, row = total[column[i]], words[i]
                        for v in range(width):
                            slot[v] += row[v]
                    for b in range(size):
                        for v in range(width):
                            total[b, v] = reduced(total[b, v])
                for b in range(size):
                    for v in range(width):
                        known = sums[offsets[f] + b, word + v]
                        sums[offsets[f] + b, word + v] = plus(known, total[b, v])

    return add


def add_words(words: Residues, bins: Bins, offsets: Slots, sums: Residues, columns: slice) -> None:
    """Add the words (rows, w) of each row to its slots in ``sums`` (slots, w)."""
    word = 0
    while word < words.shape[1]:
        width = next(w for w in WIDTHS if w <= words.shape[1] - word)
        part = np.ascontiguousarray(words[:, word : word + width])
        _add_words(width)(part, bins, offsets, sums, word, columns.start, columns.stop)
        word += width


# --- the holder: its mask over a row ------------------------------------------------------------


@compiled
def _blind(product, stream, width, out):
    for r in range(out.shape[0]):
        for t in range(out.shape[1]):
            e2 = residue(flood(stream, r * out.shape[1] + t, width))
            out[r, t] = minus(np.uint64(0), plus(product[r, t], e2))


def blind(product: Residues, stream: NDArray[np.uint64], width: int, out: Residues) -> None:
    """-(product + e2) with fresh flood from ``stream`` (four words each); out (rows, vectors)."""
    _blind(product, stream, np.uint64(width), out)


# --- the owner: masks, numbers under them, and sums -----------------------------------------------


@compiled
def _store_masks(polynomials, stream, vectors, first, masks):
    for i in range(polynomials.shape[0]):
        for t in range(vectors):
            noise = residue(binomial(stream[i * vectors + t]))
            masks[t // LANES, first + i, t % LANES] = plus(polynomials[i, t], noise)


def store_masks(
    polynomials: Residues, stream: NDArray[np.uint64], vectors: int, first: int, masks: Residues
) -> None:
    """Keep coefficients 0..vectors of a_i k, each with fresh noise, for rows from ``first`` on."""
    _store_masks(polynomials, stream, vectors, first, masks)


def empty_masks(rows: int, vectors: int) -> Residues:
    """Room for the masks of ``vectors`` vectors: (blocks, rows, LANES)."""
    return np.empty((-(-vectors // LANES), rows, LANES), np.uint64)


@compiled
def _mask(values, query, masks, delta, start, first, out):
    fields = values.shape[1]
    for r in range(out.shape[0]):
        i = start + r
        for w in range(out.shape[1]):
            t = first + w
            out[r, w] = masks[t // LANES, i, t % LANES]
        if query[i] >= 0:
            base = query[i] * fields
            for f in range(fields):
                v = residue(values[i, f] * delta)
                out[r, base + f] = plus(out[r, base + f], v)


def mask(
    values: NDArray[np.int64],
    query: NDArray[np.int64],
    masks: Residues,
    delta: int,
    rows: slice,
    first: int,
    words: int,
) -> Residues:
    """delta v + mask of some rows: (rows, words).

    The values of row i stand in the words of query ``query[i]`` (nowhere if that is -1); all
    other words hold masks of zero.  The masks are those of the vectors from ``first`` on.
    """
    out = np.empty((rows.stop - rows.start, words), np.uint64)
    _mask(values, query, masks, np.int64(delta), rows.start, first, out)
    return out


@compiled
def _read(sums, known, first, delta, out):
    half = delta // 2
    worst = np.int64(0)
    for k in range(out.shape[0]):
        for w in range(out.shape[1]):
            d = minus(sums[k, w], known[k, first + w])
            x = np.int64(d) if d <= Q // np.uint64(2) else -np.int64(Q - d)
            s = (x + half) // delta
            worst = max(worst, abs(x - s * delta))
            out[k, w] = s
    return worst


def read(sums: Residues, known: Residues, first: int, delta: int) -> tuple[NDArray[np.int64], int]:
    """The rounded results (splits, words) and the largest noise in absolute value."""
    out = np.empty(sums.shape, np.int64)
    return out, int(_read(sums, known, first, np.int64(delta), out))


# --- residues on the wire: eight of 56 bits in seven words -----------------------------------

_B56, _B8 = np.uint64(56), np.uint64(8)
_LOW56 = np.uint64(2**56 - 1)


@compiled
def _pack(words, out):
    for g in range(words.shape[0] // 8):
        for k in range(7):
            low = words[8 * g + k] >> (_B8 * np.uint64(k))
            out[7 * g + k] = low | (words[8 * g + k + 1] << (_B56 - _B8 * np.uint64(k)))


@compiled
def _unpack(data, out):
    canonical = True
    for g in range(out.shape[0] // 8):
        out[8 * g] = data[7 * g] & _LOW56
        for k in range(1, 7):
            low = data[7 * g + k - 1] >> (_B8 * np.uint64(8 - k))
            out[8 * g + k] = (low | (data[7 * g + k] << (_B8 * np.uint64(k)))) & _LOW56
        out[8 * g + 7] = data[7 * g + 6] >> _B8
    for j in range(out.shape[0]):
        canonical &= out[j] < Q
    return canonical


def packed_words(count: int) -> int:
    """How many 64-bit words carry ``count`` residues."""
    return 7 * -(-count // 8)


def pack(residues: Residues) -> NDArray[np.uint64]:
    """Residues of any shape, seven bytes each, padded with zeros to eights."""
    flat = residues.reshape(-1)
    if len(flat) % 8:
        flat = np.concatenate([flat, np.zeros(-len(flat) % 8, np.uint64)])
    out = np.empty(packed_words(len(flat)), np.uint64)
    _pack(flat, out)
    return out


def unpack(data: NDArray[np.uint64], shape: tuple[int, ...]) -> Residues | None:
    """Residues of this shape; None for another number of words or one that is not below q."""
    count = int(np.prod(shape))
    if len(data) != packed_words(count):
        return None
    out = np.empty(len(data) // 7 * 8, np.uint64)
    canonical = _unpack(np.ascontiguousarray(data, np.uint64), out)
    return out[:count].reshape(shape) if canonical else None
