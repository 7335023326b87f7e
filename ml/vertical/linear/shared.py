"""Descent on shared numbers: `ml.local.linear.descend`, step by step, where nobody sees a step.

Columns and residuals are in fixed point with 20 binary places, parameters and gradients with 28.
Every number that is cut stays below 2^62 while columns are below 2^10, parameters and gradients
below 2^8, velocities below 2^11, predictors and labels below 2^12, and the product of residual and
column below 2^6 on the average row; a `Plan` refuses steps too large for that.

All computing parties run `descend`, and so does the arbiter, on `Blind`: it makes the same calls
in the same order with zeros in place of shares, and so deals what they need.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from math import ceil, log2
from typing import Protocol, TypeVar

import numpy as np

from ml.crypto.beaver import DealtMatrix
from ml.crypto.fixed_point import FixedPoint, Words
from ml.crypto.series import Series
from ml.errors import RefusedRate
from ml.local.linear import Descent, Family, Floats
from ml.protocols.shares import ChannelDealer

COLUMN, RESIDUAL = FixedPoint(20), FixedPoint(20)
PARAMETER, GRADIENT = FixedPoint(28), FixedPoint(28)
PENALTY, FACTOR = FixedPoint(26), FixedPoint(22)  # FACTOR: of step and momentum
PREDICTOR = FixedPoint(COLUMN.bits + PARAMETER.bits)
TOLD = FixedPoint(14)  # of predictions: steps of 0.00006
MOVEMENT = FixedPoint(20)  # of parameters in an epoch, before it is squared
_PENALTY_SHIFT = PENALTY.bits + PARAMETER.bits - GRADIENT.bits

COLUMN_BOUND = 2.0**10
PARAMETER_BOUND = 2.0**8
GRADIENT_BOUND = 2.0**8
VELOCITY_BOUND = 2.0**11
# The largest that a gradient may be multiplied by, so that with the velocity it can be cut.
MAX_RATE = (2.0 ** (62 - PARAMETER.bits - FACTOR.bits) - VELOCITY_BOUND) / GRADIENT_BOUND
PREDICTOR_BOUND = 2.0**12  # and of labels, in units of their scale
MAX_BATCH_ROWS = 2**20
BLOCK_ROWS = 2**16  # rows, times outputs, dealt for and added up at once

REACH = {"logistic": 16, "poisson": 8}
# Beyond which a training is refused; the logistic series is within 0.001 up to there.
TRUSTED = {"logistic": 24.0, "poisson": 8.0}


@cache
def mean_series(family: Family) -> Series:
    """The mean by the linear predictor, from 48 to 20 binary places; ``error`` says how exact.

    The logistic one holds for |predictor| <= 16 and bends back beyond, which leaves it within
    0.001 up to 25.  Poisson's holds for means from e^-8 to e^8 times the labels' scale.
    """
    if family == "logistic":
        return Series.sigmoid(PREDICTOR.bits, RESIDUAL.bits, REACH[family])
    return Series.fit(np.exp, REACH[family], PREDICTOR.bits, RESIDUAL.bits, 24)


@cache
def told_series(family: Family) -> Series:
    """The mean as it is told in prediction."""
    if family == "logistic":
        return Series.sigmoid(PREDICTOR.bits, TOLD.bits, REACH[family])
    return Series.fit(np.exp, REACH[family], PREDICTOR.bits, TOLD.bits, 24)


def label_words(family: Family) -> FixedPoint:
    """How labels are written: as what they are taken from."""
    return PREDICTOR if family == "linear" else RESIDUAL


@dataclass(frozen=True)
class Plan:
    """What all parties know of a training."""

    family: Family
    descent: Descent
    rows: int
    columns: tuple[int, ...]  # of every computing party's design
    outputs: int
    penalised: bool
    sparse: bool  # whether parameters are shrunk to 0

    def __post_init__(self) -> None:
        """Raises `RefusedRate` for steps with which a move could leave what can be cut."""
        smallest = min(part.stop - part.start for part in self.batches)
        largest = max(self._rates(0, smallest))
        if largest > MAX_RATE:
            raise RefusedRate(largest, MAX_RATE)

    @property
    def batches(self) -> tuple[slice, ...]:
        """The rows of every step of an epoch."""
        return tuple(self.descent.batches(self.rows))

    @property
    def batch_bits(self) -> int:
        """The bits by which a sum over a batch is larger than its mean."""
        return max(1, ceil(log2(max(part.stop - part.start for part in self.batches))))

    @property
    def penalty_factor(self) -> float:
        """Brings a penalty to the size of a gradient that was cut by whole bits, so that one step
        fits both."""
        return float(self.rows / len(self.batches) / 2.0**self.batch_bits)

    def rates(self, epoch: int, rows: int) -> tuple[np.uint64, np.uint64]:
        """What the cut gradient of a batch is multiplied by for the velocity and for the move."""
        words = FACTOR.encode(np.array(self._rates(epoch, rows)), bound=MAX_RATE)
        return words[0], words[1]

    def _rates(self, epoch: int, rows: int) -> tuple[float, float]:
        step = self.descent.step(epoch, len(self.columns)) * 2.0**self.batch_bits / rows
        return step, (1 + self.descent.momentum) * step

    @property
    def decays(self) -> tuple[np.uint64, np.uint64]:
        """What the velocity is multiplied by for the velocity and for the move."""
        beta = self.descent.momentum
        words = FACTOR.encode(np.array([beta, beta**2]), bound=1.0)
        return words[0], words[1]


Mat = TypeVar("Mat")
Contra = TypeVar("Contra", contravariant=True)


class Arithmetic(Protocol[Contra]):
    """What a descent needs: a `Computer`, or the dealer's `Blind`."""

    async def product(
        self, matrix: Contra, w: Words, rows: slice | None = None, *, transposed: bool = False
    ) -> Words: ...
    async def truncate(self, x: Words, bits: int) -> Words: ...
    async def series(self, x: Words, series: Series) -> Words: ...
    async def multiply(self, x: Words, y: Words) -> Words: ...
    async def negative(self, x: Words) -> Words: ...
    async def positive_part(self, x: Words) -> Words: ...
    async def reveal(self, x: Words) -> Words | None: ...
    def constant(self, words: Words) -> Words: ...


class Blind:
    """The calls of a `Computer`, made by the dealer, who has no shares: zeros stand for them."""

    def __init__(self, dealer: ChannelDealer) -> None:
        self._dealer = dealer

    async def product(
        self, matrix: DealtMatrix, w: Words, rows: slice | None = None, *, transposed: bool = False
    ) -> Words:
        await self._dealer.product(matrix, w.shape[1], rows, transposed=transposed)
        height = matrix.shape[0] if rows is None else rows.stop - rows.start
        return np.zeros((matrix.shape[1] if transposed else height, w.shape[1]), np.uint64)

    async def truncate(self, x: Words, bits: int) -> Words:
        await self._dealer.truncate(x.shape, bits)
        return x

    async def series(self, x: Words, series: Series) -> Words:
        await self._dealer.series(x.shape, series)
        return x

    async def multiply(self, x: Words, y: Words) -> Words:
        await self._dealer.multiply(x.shape)
        return x

    async def negative(self, x: Words) -> Words:
        await self._dealer.negative(x.shape)
        return x

    async def positive_part(self, x: Words) -> Words:
        await self._dealer.positive_part(x.shape)
        return x

    async def reveal(self, x: Words) -> None:
        await self._dealer.reveal(x.shape)

    def constant(self, words: Words) -> Words:
        return np.zeros_like(words)


async def descend(
    c: Arithmetic[Mat],
    plan: Plan,
    columns: Sequence[Mat],
    penalties: Sequence[Mat],
    labels: Words,
    thresholds: Floats,
    goes_on: Callable[[int, bool | None], Awaitable[bool]],
) -> tuple[list[Words], int]:
    """Shares of the parameters of every party's design, each (d, outputs), and the epochs.

    ``columns`` (rows, d) and ``penalties`` (d, d) are in the order of the parties, the latter
    empty without a penalty; ``labels`` is a share (rows, outputs); ``thresholds`` are those of the
    own columns, 0 for others', and looked at if the plan is sparse.  ``goes_on`` is asked after
    every epoch, with its number from 1 and, if that is looked at, whether parameters moved by
    ``tol`` or more, which the dealer has to be told.
    """
    edges = np.cumsum(plan.columns)[:-1]
    w = [np.zeros((count, plan.outputs), np.uint64) for count in plan.columns]
    velocity = shrunk = np.concatenate(w)
    keep, _ = plan.decays
    for epoch in range(plan.descent.epochs):
        before = np.concatenate(w)
        for batch in plan.batches:
            gradient = await _gradient(c, plan, columns, w, labels, batch)
            if plan.penalised:
                pulls = [await c.product(m, part) for m, part in zip(penalties, w, strict=True)]
                gradient = gradient + await c.truncate(np.concatenate(pulls), _PENALTY_SHIFT)
            height = batch.stop - batch.start
            if plan.sparse:
                rate, _ = plan.rates(epoch, height)
                step = plan.descent.step(epoch, len(plan.columns))
                cost = PARAMETER.encode(step * thresholds[:, None], bound=PARAMETER_BOUND)
                reached = np.concatenate(w) - await c.truncate(rate * gradient, FACTOR.bits)
                last, shrunk = shrunk, await _shrunk(c, reached, cost)
                ahead = await c.truncate(keep * (shrunk - last), FACTOR.bits)
                w = np.split(shrunk + ahead, edges)
                continue
            velocity, move = await step_of(c, plan.rates(epoch, height), plan, velocity, gradient)
            w = [a + b for a, b in zip(w, np.split(move, edges), strict=True)]
        moves = None
        if plan.descent.tol:
            moves = await _moved(c, np.concatenate(w) - before, plan.descent.tol)
        if not await goes_on(epoch + 1, moves):
            break
    return (np.split(shrunk, edges) if plan.sparse else w), epoch + 1


async def step_of(
    c: Arithmetic[Mat],
    rates: tuple[np.uint64, np.uint64],
    plan: Plan,
    velocity: Words,
    gradient: Words,
) -> tuple[Words, Words]:
    """Shares of the next velocity and of the move of the parameters, within 2^-28."""
    (rate, rate_ahead), (keep, keep_ahead) = rates, plan.decays
    after = [keep * velocity - rate * gradient, keep_ahead * velocity - rate_ahead * gradient]
    cut = await c.truncate(np.stack(after), FACTOR.bits)
    return cut[0], cut[1]


async def leaves_reach(
    c: Arithmetic[Mat], plan: Plan, columns: Sequence[Mat], w: Sequence[Words]
) -> bool | None:
    """Whether the model's predictor of any row is beyond where its mean is known.

    All computing parties learn this bit; the dealer gets None.  False for linear regression, whose
    mean is the predictor.
    """
    if plan.family == "linear":
        return False
    outside = np.zeros(1, np.uint64)
    edge = PREDICTOR.encode(np.array([TRUSTED[plan.family]]), bound=PREDICTOR_BOUND)
    for rows in _blocks(slice(0, plan.rows), BLOCK_ROWS // plan.outputs):
        x = np.zeros((rows.stop - rows.start, plan.outputs), np.uint64)
        for matrix, part in zip(columns, w, strict=True):
            x += await c.product(matrix, part, rows)
        limit = c.constant(np.broadcast_to(edge, x.shape))
        beyond = await c.negative(np.stack([limit - x, limit + x]))
        outside = outside + beyond.sum(dtype=np.uint64)
    told = await c.reveal(await c.negative(np.uint64(0) - outside))
    return None if told is None else bool(told[0])


async def _shrunk(c: Arithmetic[Mat], x: Words, cost: Words) -> Words:
    """Shares of every number brought towards 0 by its cost, and no further; exactly 0 there."""
    parts = await c.positive_part(np.stack([x - cost, np.uint64(0) - x - cost]))
    shrunk: Words = parts[0] - parts[1]
    return shrunk


async def _moved(c: Arithmetic[Mat], change: Words, tol: float) -> bool | None:
    """Whether a shared vector is of the length ``tol`` or more, and nothing else of it.

    All computing parties learn it; the dealer gets None.
    """
    short = await c.truncate(change.ravel(), PARAMETER.bits - MOVEMENT.bits)
    length = (await c.multiply(short, short)).sum(keepdims=True)
    least = FixedPoint(2 * MOVEMENT.bits).encode(np.array([tol**2]), bound=1.0)
    told = await c.reveal(await c.negative(length - c.constant(least)))
    return None if told is None else not told[0]


async def means(c: Arithmetic[Mat], family: Family, predictor: Words) -> Words:
    """Shares of what the linear predictor (n, outputs) means for the label, in `TOLD` steps.

    A predictor beyond the reach of the series counts as one at its end.
    """
    if family == "linear":
        return await c.truncate(predictor, PREDICTOR.bits - TOLD.bits)
    edge = PREDICTOR.encode(np.array([float(REACH[family])]), bound=PREDICTOR_BOUND)
    parts = []
    for rows in _blocks(slice(0, len(predictor)), max(1, BLOCK_ROWS // predictor.shape[1])):
        x = predictor[rows]
        limit = c.constant(np.broadcast_to(edge, x.shape))
        above, below = await c.positive_part(np.stack([x - limit, np.uint64(0) - limit - x]))
        parts.append(await c.series(x - above + below, told_series(family)))
    return np.concatenate(parts)


async def _gradient(
    c: Arithmetic[Mat],
    plan: Plan,
    columns: Sequence[Mat],
    w: Sequence[Words],
    labels: Words,
    batch: slice,
) -> Words:
    """A share of the batch's mean gradient times rows / 2^batch_bits, (all columns, outputs)."""
    shift = COLUMN.bits + RESIDUAL.bits - GRADIENT.bits + plan.batch_bits
    total = np.zeros((sum(plan.columns), plan.outputs), np.uint64)
    for rows in _blocks(batch, BLOCK_ROWS // plan.outputs):
        predictor = np.zeros((rows.stop - rows.start, plan.outputs), np.uint64)
        for matrix, part in zip(columns, w, strict=True):
            predictor += await c.product(matrix, part, rows)
        residual = await _residual(c, plan.family, predictor, labels[rows])
        back = [await c.product(matrix, residual, rows, transposed=True) for matrix in columns]
        total += await c.truncate(np.concatenate(back), shift)
    return total


async def _residual(c: Arithmetic[Mat], family: Family, predictor: Words, labels: Words) -> Words:
    """Shares of the mean less the label."""
    if family == "linear":
        return await c.truncate(predictor - labels, PREDICTOR.bits - RESIDUAL.bits)
    return await c.series(predictor, mean_series(family)) - labels


def _blocks(batch: slice, height: int) -> Iterator[slice]:
    for start in range(batch.start, batch.stop, height):
        yield slice(start, min(start + height, batch.stop))
