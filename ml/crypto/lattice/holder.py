"""The holder of the matrix: adds up the polynomials of rows once, and masked words ever after.

`set_up` is the expensive part and serves every batch.  For each batch, every split gets a fresh
secret of ours (w, e1, e2): it hides our sum of polynomials from the owner, and its flood hides the
rest of our noise in the results.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from ml.crypto.errors import InvalidCiphertext, MaskReuse
from ml.crypto.lattice import randomness, ring, sums
from ml.crypto.lattice.agreement import Agreement
from ml.crypto.lattice.owner import BatchKey, BlindRows, MaskedRows
from ml.crypto.lattice.ring import DEGREE, Residues
from ml.crypto.products import Answer, Budget
from ml.crypto.threads import Threads
from ml.errors import ProtocolViolation
from ml.local.binning import SplitMatrix

_SPLITS_PER_MESSAGE = 256  # 7 MiB
_SPLITS_PER_TASK = 32


class LatticeHolder:
    """Multiplies ``matrix`` with what an owner masks under the same ``agreement``.

    Raises `ProtocolViolation` for another number of rows.
    """

    def __init__(
        self, agreement: Agreement, matrix: SplitMatrix, *, budget: Budget, threads: Threads
    ) -> None:
        if agreement.parameters.rows != matrix.rows:
            raise ProtocolViolation(
                f"the guest has {agreement.parameters.rows} rows, we have {matrix.rows}; "
                "align the tables first"
            )
        self.agreement, self._matrix = agreement, matrix
        self._budget, self._threads = budget, threads
        self._bins = np.ascontiguousarray(matrix.bins.T)
        self._hidden = np.empty((0, DEGREE), np.uint64)
        self.order = np.arange(len(matrix))
        self._batch, self._vectors, self._next = -1, 0, 0
        self._ours = np.empty((0, 0), np.uint64)
        self._seen: dict[tuple[int, int], bytes] = {}
        self._words, self._taken = 0, matrix.rows
        self._sums = np.empty((0, 0), np.uint64)
        self._answered: Answer | None = None

    @property
    def batch(self) -> int:
        """The batch at hand; -1 before the first."""
        return self._batch

    async def set_up(self) -> None:
        """Add up the polynomials of the rows left of every split: once for all batches."""
        matrix, key = self._matrix, self.agreement.matrix_key
        slots = sums.empty_polynomial_sums(int(matrix.offsets[-1]))
        columns = self._threads.blocks(len(matrix.sizes))
        for number in range(-(-matrix.rows // randomness.TILE)):
            start = number * randomness.TILE
            rows = min(randomness.TILE, matrix.rows - start)
            [tile] = await self._threads.map(
                lambda task: randomness.tile(key, *task), [(number, rows)]
            )
            part = np.ascontiguousarray(self._bins[:, start : start + rows])

            def add(some: slice, tile: Residues = tile, part: NDArray[np.uint8] = part) -> None:
                sums.add_polynomials(tile, part, matrix.offsets, slots, some)

            await self._threads.map(add, columns)
        self._hidden = np.empty((len(matrix), DEGREE), np.uint64)

        def to_splits(block: int) -> None:
            some = self._hidden[:, block * sums.BLOCK : (block + 1) * sums.BLOCK]
            sums.split_sums(slots[block], matrix, some)

        await self._threads.map(to_splits, range(len(slots)))

    async def begin_batch(
        self, key: BatchKey, order: NDArray[np.int64]
    ) -> AsyncIterator[BlindRows]:
        """Fresh secrets for every split; what is sent stands in this order, and so do answers.

        Raises `InvalidCiphertext` for a key that is none, `MaskReuse` for a batch gone by.
        """
        if key.batch <= self._batch:
            raise MaskReuse(f"batch {key.batch} begins after batch {self._batch}")
        public = sums.unpack(key.public, (DEGREE,))
        if public is None or not 0 < key.vectors <= DEGREE or key.candidate < 0:
            raise InvalidCiphertext("not the public key of a batch")
        self._batch, self._vectors, self._next, self._seen = key.batch, key.vectors, 0, {}
        self._words, self._taken, self._answered = 0, self._matrix.rows, None
        self.order = order
        self._ours = np.empty((len(order), key.vectors), np.uint64)
        a = ring.Factor(self.agreement.public_polynomial(key.batch, key.candidate))
        b, width = ring.Factor(public), self.agreement.parameters.flood_width
        for start in range(0, len(order), _SPLITS_PER_MESSAGE):
            message = order[start : start + _SPLITS_PER_MESSAGE]
            tasks = [
                _BlindTask(
                    self._hidden[message[k : k + _SPLITS_PER_TASK]],
                    a,
                    b,
                    width,
                    self._ours[start + k : start + min(k + _SPLITS_PER_TASK, len(message))],
                )
                for k in range(0, len(message), _SPLITS_PER_TASK)
            ]
            blind = np.concatenate(await self._threads.map(_blind, tasks))
            yield BlindRows(key.batch, start, sums.pack(blind))

    @property
    def left(self) -> int:
        """How many more vectors this batch answers."""
        return self._vectors - self._next

    def begin(self, queries: int) -> None:
        """A question of so many queries follows."""
        words = queries * self.agreement.fields
        if words > self.left:
            raise MaskReuse(f"{words} more vectors; {self.left} are left")
        self._words, self._taken = words, 0
        self._sums = np.zeros((int(self._matrix.offsets[-1]), words), np.uint64)
        self._answered = None

    @property
    def complete(self) -> bool:
        """Whether every row has its words."""
        return self._taken == self._matrix.rows

    async def take(self, part: MaskedRows) -> None:
        """The next rows of the question; a part that came before is passed over.

        Raises `MaskReuse` for other bytes under masks that came before, `InvalidCiphertext` for
        what is no residue or not due.
        """
        digest = sha256(part.data.tobytes()).digest()
        if part.batch != self._batch:
            raise MaskReuse(f"vectors of batch {part.batch}; this is batch {self._batch}")
        known = self._seen.get((part.first, part.start))
        if known is not None or part.first < self._next:
            if known != digest:
                raise MaskReuse("a second vector under masks that were used before")
            return
        rows = min(len(part.data) * 8 // 7 // max(self._words, 1), self._matrix.rows - self._taken)
        words = sums.unpack(part.data, (rows, self._words))
        due = part.first == self._next and part.start == self._taken and rows > 0
        if words is None or not due:
            raise InvalidCiphertext(
                f"masked rows from {part.start} of vector {part.first}; due were rows "
                f"{self._taken} to {self._matrix.rows} of vector {self._next}"
            )
        self._seen[part.first, part.start] = digest
        bins = np.ascontiguousarray(self._bins[:, self._taken : self._taken + rows])
        self._taken += rows

        def add(columns: slice) -> None:
            sums.add_words(words, bins, self._matrix.offsets, self._sums, columns)

        await self._threads.map(add, self._threads.blocks(len(self._matrix.sizes)))

    async def answer(self) -> Answer:
        """The sums of the question, in the order of the batch; asked again, the same bytes.

        Charges the budget before anything else and raises `ProductBudgetExceeded`.
        """
        if self._answered is not None:
            return self._answered
        self._budget(self._words)
        if not self.complete or not self._words:
            raise InvalidCiphertext(f"{self._taken} of {self._matrix.rows} rows have arrived")
        found = np.empty((len(self._matrix), self._words), np.uint64)
        sums.split_sums(self._sums, self._matrix, found)
        first, self._next = self._next, self._next + self._words
        ours = np.ascontiguousarray(self._ours[:, first : self._next])
        self._words = 0
        masked = ring.add(np.ascontiguousarray(found[self.order]), ours)
        self._answered = Answer(sums.pack(masked).view(np.uint8).reshape(-1, 8))
        return self._answered


@dataclass(frozen=True, eq=False)
class _BlindTask:
    hidden: Residues  # (splits, n)
    a: ring.Factor
    b: ring.Factor
    flood_width: int
    ours: Residues  # (splits, vectors), to be filled


def _blind(task: _BlindTask) -> Residues:
    """hidden + a w + e1, transformed; fills ours with -(b w + e2).  All of w, e1, e2 are new."""
    splits, vectors = task.ours.shape
    seed = randomness.fresh_seed()
    shape, count = (splits, DEGREE), splits * DEGREE
    w = randomness.ternary_residues(randomness.derive(seed, "w"), count).reshape(shape)
    e1 = randomness.binomial_residues(randomness.derive(seed, "e1"), count).reshape(shape)
    ring.transform(w)
    blind = ring.add(ring.add(task.a.times(w), ring.transform(e1)), task.hidden)
    product = ring.inverse_transform(task.b.times(w, w))
    stream = randomness.words(randomness.derive(seed, "e2"), 4 * splits * vectors)
    sums.blind(product, stream, task.flood_width, task.ours)
    return blind
