"""Logistic, linear and Poisson regression with an arbiter that deals randomness.

Scenario
    The guest has labels and columns, each host has other columns of the SAME rows in the same order
    (run PSI first).  They fit the model that anybody would fit on all columns in one place.  An
    arbiter, which has no data, deals the random numbers that let them compute with shares.
Who learns what
    Parameters, linear predictors, residuals and gradients exist as shares only.  When training
    ends, each party learns the parameters of its own columns.  All learn the number of rows, how
    many columns each party has, and, as a power of two, the scale of the labels in linear and
    Poisson regression.  The arbiter learns the numbers of rows and columns, and no share of
    anything.  Computing parties learn whether the model leaves the range of the approximation for
    any row.  In prediction the guest learns the mean (probability, number or count) of every row
    and class, in steps of 2^-14 of the labels' scale, and no linear predictor.
What is not protected
    *The arbiter must not work with a party.*  A guest or host that has the arbiter's numbers and
    the messages it got itself can compute the columns of all others, and the labels.
    Parties follow the protocol (semi-honest): one that sends other numbers changes the model
    unnoticed.
    *Results tell.*  A mean is a function of one sum, so with one host, or hosts that work with it,
    the guest computes from each mean what that host's columns add for this row, to the step above:
    for every row as many numbers, linear in the columns, as there are outputs.  As many outputs as
    columns would tell the columns, whatever the labels.  So a host takes part only with 2 * outputs
    + 1 or more independent columns (`TooFewColumns`), and charges its grant so that all models
    fitted under it have no more outputs than half of its columns.  What remains: these sums; a
    column that hardly depends on others where the sum is mostly this column (labels can be made
    so); columns of few values, more of which fit in one sum; what other grants tell; rows predicted
    again, which are told in finer steps.
    From the predictions for as many rows as a host has columns, who knows these columns has its
    coefficients.  Coefficients say what they say of the rows they were fitted on.
    A predictor that leaves the range of the approximation on the way gives a wrong step, never a
    leak; a model that does is refused (`Diverged`).
Rounds
    About eight openings per step and block of 65,536 rows, or as many rows times outputs.
Source
    Mohassel, Zhang: SecureML, S&P 2017, for regression on shares with a dealer; Escudero et al.,
    CRYPTO 2020, for cutting; the mean as a sum of dealt waves (`ml.crypto.series`).  Descent as in
    `ml.local.linear`.

The conversation::

    guest, host -> all    Extent      rows and number of columns                  (once)
    guest -> host         Scale       of the labels                               (once)
    arbiter -> all        Seed        random bytes                                (once)
    all but arbiter       Masked      numbers under masks                         (per product)
    arbiter -> last host  Correction  what makes the dealt numbers fit            (per product)
    all but arbiter       Revealed    coefficients, each to whose columns they are of; whether the
                                      model is in range and, with ``tol``, whether an epoch still
                                      moved it, to all; means to the guest
    guest -> arbiter      Onward      the same                                    (with ``tol``)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import log2
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator

from ml.algorithm import Algorithm
from ml.crypto.fixed_point import Words
from ml.errors import Diverged, ProtocolViolation, TooFewColumns, TooManyCells
from ml.federation import ARBITER, GUEST, HOST, Channel, Message
from ml.local import metrics
from ml.local.linear import (
    Descent,
    Design,
    Family,
    Floats,
    centre,
    descend,
    independent_columns,
    label_scale,
    mean,
    targets,
)
from ml.protocols import shares
from ml.table import Table, binary_labels, check_features, class_labels, number_labels
from ml.vertical.linear import shared
from ml.vertical.linear.parts import (
    ArbiterPart,
    GuestPart,
    HostPart,
    guest_part,
    host_part,
    same_hosts,
)
from ml.vertical.linear.shared import Plan

VERSION = 2

MIN_TOL = 1e-5  # a square of 34 binary places, of the 40 that there are

COLUMNS_PER_OUTPUT = 2  # what is told of a host is at most half of what it has

MAX_CELLS = 2**28  # of columns, outputs and penalties: each party holds 8 bytes of each


class Params(BaseModel):
    """What the parties agree on; names as in scikit-learn."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    family: Family = Field("logistic", description="of the labels: classes, numbers or counts")
    classes: int = Field(2, ge=2, le=64, description="logistic: beyond 2, one model for each class")
    alpha: float = Field(
        1e-3, ge=0, le=10, description="penalty of squared coefficients; C = 1 / (alpha * rows)"
    )
    l1: float = Field(0.0, ge=0, le=1e6, description="penalty of absolute coefficients")
    max_iter: int = Field(100, ge=1, le=10_000, description="epochs")
    batch_size: int = Field(0, ge=0, le=shared.MAX_BATCH_ROWS, description="rows a step; 0 for all")
    learning_rate: float = Field(1.0, gt=0, le=4, description="1 is the largest that is safe")
    momentum: float = Field(0.9, ge=0, lt=1)
    decay: float = Field(0.0, ge=0, le=10, description="epoch t has rate / (1 + decay * t)")
    tol: float = Field(
        0.0, ge=0, le=1, description="stop when an epoch moves the parameters by less; 0: never"
    )
    random_state: int = Field(0, ge=0, lt=2**32, description="order of the rows in batches")

    @field_validator("tol")
    @classmethod
    def _only_lengths_that_can_be_seen(cls, tol: float) -> float:
        if 0 < tol < MIN_TOL:
            raise ValueError(f"tol is {tol:g}; allowed are 0 and {MIN_TOL:g} or more")
        return tol

    @property
    def descent(self) -> Descent:
        """How to descend."""
        return Descent(
            self.max_iter,
            self.batch_size,
            self.learning_rate,
            self.momentum,
            self.decay,
            self.tol,
        )

    @property
    def outputs(self) -> int:
        """Models side by side."""
        return self.classes if self.family == "logistic" and self.classes > 2 else 1

    @property
    def needed_columns(self) -> int:
        """Independent columns that a host must have: more than twice what the model tells."""
        return COLUMNS_PER_OUTPUT * self.outputs + 1

    @property
    def vectors(self) -> int:
        """The least that this takes of a host's product budget: a vector for each output.

        How much it is depends on the host's columns: see `host`.
        """
        return self.outputs

    def order(self, rows: int) -> NDArray[np.int64]:
        """The order of the rows, which batches follow; the same at all parties."""
        if not self.batch_size:
            return np.arange(rows)
        return np.random.default_rng(self.random_state).permutation(rows)

    def design(self, table: Table, scale: float, *, intercept: bool) -> Design:
        """A party's columns, for labels that are divided by ``scale``.

        Dividing labels shrinks Poisson's loss, and so its penalty; that of l1, linear
        regression's, too.  Raises `ConstantColumn` or `AllMissingColumn`.
        """
        alpha = self.alpha / scale if self.family == "poisson" else self.alpha
        return Design.of(table, self.family, alpha, intercept=intercept, l1=self.l1 / scale)


# --- what is said ---------------------------------------------------------------------------


class Extent(Message, sender=(GUEST, HOST), to=(GUEST, HOST, ARBITER)):
    """The receiver learns the number of rows, and how many columns the sender has."""

    rows: int
    columns: int


class Scale(Message, sender=GUEST, to=HOST):
    """The host learns the size of the labels as a power of two; 1 for classes."""

    exponent: int


class Onward(Message, sender=GUEST, to=ARBITER):
    """The arbiter learns whether to deal for one more epoch."""

    more: bool


# --- training -------------------------------------------------------------------------------


async def guest(ch: Channel, params: Params, table: Table) -> GuestPart:
    """Fit with all hosts of the channel.

    Raises `LabelsMissing` and what else `targets` does, `ConstantColumn`, `AllMissingColumn`,
    `OutOfRange`, `TooFewColumns`, `Diverged`; `ConversationError` or `WrongShare` for what others
    do.
    """
    Y, scale, middle = _labels(params, table)
    words = shared.label_words(params.family).encode(Y, bound=shared.PREDICTOR_BOUND)
    design = params.design(table, scale, intercept=True)
    _, columns = await _extents(ch, params, len(table), design.X.shape[1])
    _check_columns(params, columns)
    await ch.send(Scale(round(log2(scale))))
    v, epochs = await _fit(ch, params, columns, design, words[params.order(len(table))])
    hosts = tuple(party.site for party in ch.peers(HOST))
    return guest_part(table, design, v, params.family, scale, middle, hosts, epochs)


def _labels(params: Params, table: Table) -> tuple[Floats, float, float]:
    """The labels (n, outputs) without their centre and in units of their scale; these two."""
    Y = targets(table, params.family, params.classes)
    scale, middle = label_scale(Y, params.family), centre(Y, params.family)
    return (Y - middle) / scale, scale, middle


Share = Callable[[int, int], None]


async def host(
    ch: Channel, params: Params, table: Table, *, share: Share | None = None
) -> HostPart:
    """Fit with the guest and the other hosts.

    ``share`` is called with a fraction of the grant's whole product budget, numerator and
    denominator, before anything of the model is told: outputs for half of the independent columns
    use it up.  Raises what it does; `TooFewColumns`, `ConstantColumn`, `AllMissingColumn`,
    `OutOfRange`, `Diverged`; `ConversationError` or `WrongShare` for what others do.
    """
    check_features(table)
    independent = independent_columns(table)
    _check_columns(params, (0, independent))  # of copies of a column one is told with the other
    _, columns = await _extents(ch, params, len(table), len(table.schema.features))
    _check_columns(params, columns)
    exponent = (await ch.receive(Scale)).exponent
    if abs(exponent) > 64 or (params.family == "logistic" and exponent):
        raise ProtocolViolation(f"labels of the size 2^{exponent}; allowed are 2^-64 to 2^64")
    design = params.design(table, 2.0**exponent, intercept=False)
    labels = np.zeros((len(table), params.outputs), np.uint64)

    def charge() -> None:
        if share is not None:
            share(COLUMNS_PER_OUTPUT * params.outputs, independent)

    v, _ = await _fit(ch, params, columns, design, labels, charge)
    return host_part(table, design, v)


def _check_columns(params: Params, columns: tuple[int, ...]) -> None:
    """Raises `TooFewColumns` if a host (all but the first) has columns that a fit would tell.

    Each host by itself, because it cannot know which of the others work with the guest.
    """
    fewest = min(columns[1:], default=0)
    if fewest < params.needed_columns:
        raise TooFewColumns(fewest, params.needed_columns, params.outputs)


async def _fit(
    ch: Channel,
    params: Params,
    columns: tuple[int, ...],
    design: Design,
    labels: Words,
    charge: Callable[[], None] = lambda: None,
) -> tuple[Floats, int]:
    """The parameters of this party's design (d, outputs), and the epochs; raises `Diverged`."""
    computer = await shares.join(ch)
    rows, me = len(labels), computer.index
    plan = _plan(params, rows, columns)
    X = shared.COLUMN.encode(design.X[params.order(rows)], bound=shared.COLUMN_BOUND)
    pull = shared.PENALTY.encode(plan.penalty_factor * design.penalty, bound=2.0)
    ch.progress(0, params.max_iter, "sharing columns")
    masked = [
        await computer.matrix(X if owner == me else None, (rows, d), owner)
        for owner, d in enumerate(columns)
    ]
    pulls = [
        await computer.matrix(pull if owner == me else None, (d, d), owner)
        for owner, d in enumerate(columns)
        if plan.penalised
    ]

    thresholds = np.concatenate(
        [design.threshold if owner == me else np.zeros(d) for owner, d in enumerate(columns)]
    )

    async def goes_on(epoch: int, moves: bool | None) -> bool:
        ch.progress(epoch, params.max_iter, f"epoch {epoch}")
        if moves is not None and ch.me.role == GUEST:
            await ch.send(Onward(moves))
        return moves is not False

    w, epochs = await shared.descend(computer, plan, masked, pulls, labels, thresholds, goes_on)
    is_lost = await shared.leaves_reach(computer, plan, masked, w)
    # Here and not at the start: until now nothing is told, and an interruption costs nothing.
    charge()
    for owner, part in enumerate(w):
        told = await computer.reveal(part, to=owner)
        if owner == me:
            assert told is not None
            mine = shared.PARAMETER.decode(told)
    if is_lost or np.max(np.abs(mine)) > shared.PARAMETER_BOUND:
        raise Diverged(params.learning_rate)
    return mine, epochs


async def arbiter(ch: Channel, params: Params, table: Table) -> ArbiterPart:
    """Deal what the others compute with.  ``table`` is empty, and not looked at."""
    rows, columns = await _extents(ch, params)
    _check_columns(params, columns)
    dealer = await shares.deal(ch)
    plan = _plan(params, rows, columns)
    matrices = [await dealer.matrix((rows, d), owner) for owner, d in enumerate(columns)]
    penalties = []
    if plan.penalised:
        penalties = [await dealer.matrix((d, d), owner) for owner, d in enumerate(columns)]
    labels = np.zeros((rows, params.outputs), np.uint64)

    async def goes_on(epoch: int, moves: bool | None) -> bool:
        ch.progress(epoch, params.max_iter, f"epoch {epoch}")
        return (await ch.receive(Onward)).more if params.tol else True

    blind = shared.Blind(dealer)
    nothing = np.zeros(sum(columns))
    w, _ = await shared.descend(blind, plan, matrices, penalties, labels, nothing, goes_on)
    await shared.leaves_reach(blind, plan, matrices, w)
    for part in w:
        await dealer.reveal(part.shape)
    return ArbiterPart(rows)


def _plan(params: Params, rows: int, columns: tuple[int, ...]) -> Plan:
    descent = params.descent
    return Plan(
        params.family, descent, rows, columns, params.outputs, params.alpha > 0, params.l1 > 0
    )


def _check_size(rows: int, widths: tuple[int, ...], outputs: int) -> None:
    """Raises `TooManyCells`, before anything of that size is allocated.

    A party's columns are turned, and penalised, by a square of as many: what is said in one small
    message would else make the others allocate it.
    """
    cells = rows * (sum(widths) + outputs) + sum(width**2 for width in widths)
    if cells > MAX_CELLS:
        raise TooManyCells(rows, sum(widths), outputs, cells, MAX_CELLS)


async def _extents(
    ch: Channel, params: Params, rows: int | None = None, columns: int = 0
) -> tuple[int, tuple[int, ...]]:
    """The number of rows, and of columns of every computing party; ``rows`` are one's own.

    Raises `ProtocolViolation` for what does not fit together, and `TooManyCells`.
    """
    mine = {}
    if rows is not None:
        ch.peer(ARBITER)  # there must be one
        mine[ch.me] = Extent(rows, columns)
        await ch.send(mine[ch.me])
    said = mine | await ch.receive_all(Extent)
    parties = shares.computing(ch)
    counts = {extent.rows for extent in said.values()}
    widths = tuple(said[party].columns for party in parties)
    if len(counts) != 1:
        raise ProtocolViolation("the parties have different numbers of rows; they must be aligned")
    [count] = counts
    if count < 1 or min(widths) < 1:
        raise ProtocolViolation(
            f"{count} rows of {widths} columns; allowed are rows, and columns at every party"
        )
    _check_size(count, widths, params.outputs)
    return count, widths


# --- prediction -----------------------------------------------------------------------------


async def predict_guest(ch: Channel, params: Params, part: GuestPart, table: Table) -> Floats:
    """Probabilities, means or counts, shape (n,), or (n, classes).

    Raises `ColumnNotFound`, `OutOfRange` and `ProtocolViolation`.
    """
    same_hosts(part, tuple(party.site for party in ch.peers(HOST)))
    told = await _means(ch, params, part.predictor(table))
    assert told is not None
    return part.predictions(told)


async def predict_host(ch: Channel, params: Params, part: HostPart, table: Table) -> None:
    """Add our part to the linear predictor; raises as `predict_guest`."""
    await _means(ch, params, part.predictor(table))


async def _means(ch: Channel, params: Params, predictor: Floats) -> Floats | None:
    """What the sum of all parts means, (n, outputs) in units of the labels' scale, at the guest."""
    await _extents(ch, params, len(predictor), 1)
    computer = await shares.join(ch)
    # All together stay within what can be cut.
    bound = shared.PREDICTOR_BOUND / computer.parties
    mine = shared.PREDICTOR.encode(predictor, bound=bound)
    told = await computer.reveal(await shared.means(computer, params.family, mine), to=0)
    if told is None:
        return None
    means = shared.TOLD.decode(told)
    if params.family == "linear":
        return means
    # A step may cross the end of the range.
    return np.clip(means, 0.0, 1.0 if params.family == "logistic" else None)


async def predict_arbiter(ch: Channel, params: Params, part: ArbiterPart, table: Table) -> None:
    """Deal what the others compute means of shared predictors with."""
    rows, _ = await _extents(ch, params)
    blind = shared.Blind(await shares.deal(ch))
    zeros = np.zeros((rows, params.outputs), np.uint64)
    await blind.reveal(await shared.means(blind, params.family, zeros))


# --- the guest alone ------------------------------------------------------------------------


def alone(params: Params, table: Table) -> GuestPart:
    """What the guest could have fitted without anybody, to compare with.

    On a table with the columns of all parties it is what the parties fit together.
    """
    Y, scale, middle = _labels(params, table)
    design = params.design(table, scale, intercept=True)
    order = params.order(len(table))
    ordered = replace(design, X=design.X[order])
    [v], epochs = descend([ordered], Y[order], params.family, params.descent)
    return guest_part(table, design, v, params.family, scale, middle, (), epochs)


def predict_alone(part: GuestPart, table: Table) -> Floats:
    """Predictions by a model of `alone`."""
    same_hosts(part, ())
    return part.predictions(mean(part.family, part.predictor(table)))


def measure(params: Params, table: Table, scores: Floats) -> dict[str, Any]:
    """How good predictions are, as the family has it."""
    if params.family != "logistic":
        labels = number_labels(table, negative=params.family == "linear")
        return metrics.evaluate_values(labels, scores)
    if params.classes > 2:
        return metrics.evaluate_classes(class_labels(table, params.classes), scores)
    return metrics.evaluate(binary_labels(table), scores).to_json()


# --- for the catalogue ----------------------------------------------------------------------

ALGORITHM = Algorithm(
    name="linear_models",
    version=VERSION,
    params=Params,
    fit={GUEST: guest, HOST: host, ARBITER: arbiter},
    predict={GUEST: predict_guest, HOST: predict_host, ARBITER: predict_arbiter},
    parts={GUEST: GuestPart, HOST: HostPart, ARBITER: ArbiterPart},
    messages=(Extent, Scale, *shares.MESSAGES, Onward),
    measure=measure,
    notice=(
        "You learn the coefficients of your own columns and nothing else of the model; the guest "
        "learns a prediction for each row and class. With one host, or hosts that work with it, it "
        "computes from each of them a weighted sum of that host's columns, with weights that its "
        "labels decide. A host therefore needs more than two columns for each output, and a grant "
        "pays for no more outputs, over all jobs, than half of the columns; a sum of few columns, "
        "or one that is mostly one column, still tells of them. Nobody sees predictions, residuals "
        "or gradients of the training, but whether the model leaves the range of the computation. "
        "All learn how many columns each party has; hosts learn the labels' size as a power of "
        "two. The arbiter has no data and learns only numbers of rows and columns, but "
        "together with any party it could compute the data of all: it must not work with one. "
        "Parties are assumed to follow the protocol."
    ),
)
