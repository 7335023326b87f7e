"""The owner of the vectors: draws masks batch by batch, masks numbers, reads sums.

A batch is one fresh key and the masks of up to 4096 vectors, all in memory: if the process ends,
they are gone, and the next one begins with another key.  So no mask can be used twice, whatever
crashes.  Within a batch the position moves on before anything is masked.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Hashable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from ml import wire
from ml.crypto.errors import InvalidAnswer, MaskReuse, PackingOverflow
from ml.crypto.lattice import randomness, ring, sums
from ml.crypto.lattice.agreement import Agreement, SecretKey
from ml.crypto.lattice.ring import DEGREE, Residues
from ml.crypto.products import Answer
from ml.crypto.threads import Threads
from ml.wire import Shape

MASK_BYTES = 4 * 2**30  # of the masks of one batch
_WORDS_PER_MESSAGE = 2**20  # 7 MiB


@wire.register
@dataclass(frozen=True, eq=False)
class BatchKey:
    """The public half of the key of a batch; the other one is expanded from the agreement."""

    batch: int
    candidate: int  # which of those that were committed to (`opening`); 0 if it is the only one
    vectors: int  # how many will be asked at most
    public: Annotated[NDArray[np.uint64], Shape("words")]  # transformed, packed


@wire.register
@dataclass(frozen=True, eq=False)
class BlindRows:
    """What the owner needs to take the masks off sums: one polynomial for every split."""

    batch: int
    start: int
    data: Annotated[NDArray[np.uint64], Shape("words")]  # packed


@wire.register
@dataclass(frozen=True, eq=False)
class MaskedRows:
    """Masked words of consecutive rows: all words of a row, then the next row."""

    batch: int
    first: int  # of the vectors, within the batch
    start: int  # of the rows
    data: Annotated[NDArray[np.uint64], Shape("words")]  # packed


class LatticeOwner:
    """Masks vectors under ``agreement`` for any number of holders; see the module."""

    def __init__(
        self, agreement: Agreement, threads: Threads, mask_bytes: int = MASK_BYTES
    ) -> None:
        self.agreement, self._threads = agreement, threads
        self._capacity = mask_bytes // (8 * agreement.parameters.rows)
        self.batch, self.vectors, self._next = -1, 0, 0
        self._size = 0  # of the batch whose masks are being drawn
        self._key: ring.Factor | None = None
        self._masks = np.empty((0, 0, 0), np.uint64)
        self._known: dict[Hashable, Residues] = {}
        self._sent: list[MaskedRows] = []
        self._asked = (0, 0)  # first vector and number of vectors of the last question

    @property
    def left(self) -> int:
        """How many more vectors this batch masks."""
        return self.vectors - self._next

    def batch_size(self, unit: int, wanted: int) -> int:
        """Vectors for a batch: whole units as far as the key and memory allow, at least one."""
        most = min(DEGREE, self._capacity, max(wanted, unit))
        return max(most // unit, 1) * unit

    def begin_batch(self, vectors: int, candidate: int = 0, seed: bytes | None = None) -> BatchKey:
        """A fresh key for this many vectors; drops the batch before.  `draw_masks` follows.

        ``seed`` is that of the candidate that was kept, drawn for this batch and nothing else.
        """
        if not 0 < vectors <= DEGREE:
            raise ValueError(f"{vectors} vectors; one key masks 1 to {DEGREE}")
        self.batch += 1
        self._known, self._sent, self._next, self.vectors = {}, [], 0, 0
        self._masks = np.empty((0, 0, 0), np.uint64)
        secret = SecretKey.of(
            randomness.fresh_seed() if seed is None else seed,
            self.agreement.public_polynomial(self.batch, candidate),
        )
        self._key = ring.Factor(secret.k)
        self._size = vectors
        return BatchKey(self.batch, candidate, vectors, sums.pack(secret.public))

    async def draw_masks(self) -> None:
        """The masks of the batch: the owner's work, while holders do theirs."""
        assert self._key is not None
        rows = self.agreement.parameters.rows
        self._masks = sums.empty_masks(rows, self._size)
        noise = randomness.derive(
            randomness.fresh_seed(), "row noise " + self.agreement.digest.hex(), self.batch
        )
        tasks = [
            _MaskTask(self.agreement.matrix_key, noise, self._key, tile, self._size, self._masks)
            for tile in range(-(-rows // randomness.TILE))
        ]
        await self._threads.map(_draw_masks, tasks)
        self.vectors = self._size

    async def learn(self, holder: Hashable, start: int, splits: int, part: BlindRows) -> int:
        """The next rows of what a holder of ``splits`` splits sends for this batch; how many.

        Raises `InvalidAnswer` for anything else.
        """
        rows = len(part.data) * 8 // 7 // DEGREE
        blind = sums.unpack(part.data, (rows, DEGREE))
        due = part.batch == self.batch and part.start == start and 0 < rows <= splits - start
        if blind is None or not due:
            raise InvalidAnswer("other polynomials than those that are due")
        if start == 0:
            self._known[holder] = np.empty((splits, self._size), np.uint64)
        assert self._key is not None
        key, out = self._key, self._known[holder][start : start + rows]

        def unblind(block: slice) -> None:
            out[block] = ring.inverse_transform(key.times(blind[block]))[:, : self._size]

        await self._threads.map(unblind, self._threads.blocks(rows))
        return rows

    async def mask(
        self, values: NDArray[np.int64], query: NDArray[np.int64], queries: int
    ) -> AsyncIterator[MaskedRows]:
        """``queries`` vectors for every field: row i's values (rows, fields) stand in those of
        query ``query[i]``, nowhere if that is -1.  Parts are kept: `sent` gives them again.

        Raises `MaskReuse` if the batch has no masks left, `PackingOverflow` for values that are
        too large.
        """
        known, words = self.agreement.parameters, queries * self.agreement.fields
        if values.shape != (known.rows, self.agreement.fields) or query.shape != (known.rows,):
            raise ValueError(f"values {values.shape}, queries {query.shape}; {known.rows} rows")
        if query.min() < -1 or query.max() >= queries:
            raise ValueError(f"a row asks for query {query.max()} of {queries}")
        if int(np.abs(values).max()) > known.bound:
            raise PackingOverflow(f"a value beyond the agreed bound {known.bound}")
        if words > self.left:
            raise MaskReuse(f"{words} vectors asked, {self.left} masks are left in the batch")
        # Before anything is masked: whatever fails from here on, these masks are spent.
        first, self._next = self._next, self._next + words
        self._asked, self._sent = (first, words), []
        step = 8 * max(_WORDS_PER_MESSAGE // words // 8, 1)  # whole eights, so nothing is padded
        for start in range(0, known.rows, step):
            rows = slice(start, min(start + step, known.rows))

            def one(block: slice, rows: slice = rows) -> Residues:
                some = slice(rows.start + block.start, rows.start + block.stop)
                return sums.mask(values, query, self._masks, known.delta, some, first, words)

            blocks = self._threads.blocks(rows.stop - rows.start, 4096)
            masked = np.concatenate(await self._threads.map(one, blocks))
            part = MaskedRows(self.batch, first, start, sums.pack(masked))
            self._sent.append(part)
            yield part

    @property
    def sent(self) -> tuple[MaskedRows, ...]:
        """The parts of the last question, for a retry: the same bytes."""
        return tuple(self._sent)

    def read(self, holder: Hashable, answer: Answer) -> NDArray[np.int64]:
        """A holder's sums for the last question, (splits, queries, fields).

        Raises `InvalidAnswer` for what no honest holder sends.
        """
        known, (first, words) = self.agreement.parameters, self._asked
        masks = self._known[holder]
        packed = np.frombuffer(answer.data.tobytes(), "<u8")
        found = sums.unpack(packed, (len(masks), words))
        if found is None:
            raise InvalidAnswer(f"not {len(masks)} times {words} residues")
        result, noise = sums.read(found, masks, first, known.delta)
        # Whether this fires depends on noise and errors, never on the result itself.
        largest = int(np.abs(result).max(initial=0))
        if noise > known.largest_noise or largest > known.largest_sum:
            raise InvalidAnswer("sums with more noise, or larger, than any 0/1 matrix gives")
        return result.reshape(len(masks), -1, self.agreement.fields)


@dataclass(frozen=True, eq=False)
class _MaskTask:
    matrix_key: bytes
    noise_key: bytes
    k: ring.Factor
    tile: int
    vectors: int
    masks: Residues


def _draw_masks(task: _MaskTask) -> None:
    first = task.tile * randomness.TILE
    rows = min(randomness.TILE, task.masks.shape[1] - first)
    polynomials = randomness.tile(task.matrix_key, task.tile, rows)
    ring.inverse_transform(task.k.times(polynomials, polynomials))
    # The place in the stream is the row and the vector.
    width = task.vectors + task.vectors % 2
    noise = randomness.words(task.noise_key, rows * width, first * width)
    noise = noise.reshape(rows, width)[:, : task.vectors].reshape(-1)
    sums.store_masks(polynomials, noise, task.vectors, first, task.masks)
