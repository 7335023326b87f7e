"""What linear models have room for: refused before it is allocated, or right to the last bit."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ml.errors import Diverged, RefusedRate, TooManyCells
from ml.federation import ARBITER, GUEST, HOST, Party, run_in_process
from ml.local.linear import Descent
from ml.protocols import shares
from ml.vertical.linear import models, shared
from ml.vertical.linear.models import ALGORITHM, Extent, Params
from ml.vertical.linear.shared import Blind, Plan
from tests.ml.linear_data import NOTHING, problem, table

BANK, SHOP, KEEPER = Party(GUEST, "bank"), Party(HOST, "shop"), Party(ARBITER, "keeper")


@pytest.mark.parametrize(
    ("rows", "columns", "params"),
    [
        (300, 25_000, Params()),  # 4.7 GiB of penalties at the arbiter
        (300, 25_000, Params(alpha=0)),
        (2**23, 129, Params(classes=64)),
    ],
)
async def test_more_cells_than_allowed_are_refused_before_anything_is_dealt(
    rows, columns, params, monkeypatch: pytest.MonkeyPatch
):
    async def says(ch, columns):
        await ch.send(Extent(rows, columns))
        await ch.receive(shares.Seed)

    async def never(ch):
        raise AssertionError("the arbiter deals")

    monkeypatch.setattr(shares, "deal", never)
    programs = {GUEST: says, HOST: says, ARBITER: models.arbiter}
    inputs = {BANK: (3,), SHOP: (columns,), KEEPER: (params, NOTHING)}
    with pytest.raises(TooManyCells, match=r"need \d+ cells.* allowed are 268435456: bring fewer"):
        await run_in_process(programs, inputs)


def test_outputs_count_as_cells():
    models._check_size(2**23, (8, 8), 1)
    with pytest.raises(TooManyCells):
        models._check_size(2**23, (8, 8), 17)


class Heights:
    """Arithmetic that notes how many words a product has."""

    def __init__(self):
        self.most = 0

    async def product(self, matrix, w, rows=None, *, transposed=False):
        height, width = matrix if rows is None else (rows.stop - rows.start, matrix[1])
        out = np.zeros((width if transposed else height, w.shape[1]), np.uint64)
        self.most = max(self.most, out.size)
        return out

    async def truncate(self, x, bits):
        return x

    async def series(self, x, series):
        return x


async def test_blocks_are_smaller_the_more_outputs_there_are():
    rows, noted = 3000, Heights()
    plan = Plan("logistic", Params(max_iter=1).descent, rows, (2, 2), 64, False, False)

    async def goes_on(epoch, moves):
        return False

    labels = np.zeros((rows, 64), np.uint64)
    await shared.descend(noted, plan, [(rows, 2)] * 2, [], labels, np.zeros(4), goes_on)
    assert noted.most == shared.BLOCK_ROWS < rows * 64


@given(
    learning_rate=st.floats(3.0, 4.0),
    momentum=st.floats(0.9, 0.999999),
    rows=st.integers(1, 40),
    batch=st.integers(0, 9),
    seed=st.integers(0, 2**32 - 1),
)
@example(learning_rate=4.0, momentum=1 - 1e-12, rows=33, batch=0, seed=0)
@settings(max_examples=6, deadline=None)
async def test_moves_are_cut_rightly_at_the_largest_rates_that_are_allowed(
    learning_rate, momentum, rows, batch, seed
):
    params = Params(learning_rate=learning_rate, momentum=momentum, batch_size=batch)
    plan = models._plan(params, rows, (1, 1))  # two parties have the largest rates
    rng, shape = np.random.default_rng(seed), (100, 1)
    largest = np.sign(rng.normal(size=shape))
    gradient = largest * rng.uniform(0.75, 1 - 1e-9, shape) * shared.GRADIENT_BOUND
    velocity = -largest * rng.uniform(0.5, 1 - 1e-9, shape) * shared.VELOCITY_BOUND
    v = shared.PARAMETER.encode(velocity, bound=shared.VELOCITY_BOUND)
    g = shared.GRADIENT.encode(gradient, bound=shared.GRADIENT_BOUND)
    height = min(part.stop - part.start for part in plan.batches)
    rates = plan.rates(0, height)

    async def compute(ch):
        c = await shares.join(ch)
        step = await shared.step_of(c, rates, plan, c.own(v, 0), c.own(g, 1))
        return [await c.reveal(x) for x in step]

    async def deal(ch):
        blind = Blind(await shares.deal(ch))
        for x in await shared.step_of(blind, rates, plan, np.zeros_like(v), np.zeros_like(g)):
            await blind.reveal(x)

    programs = {GUEST: compute, HOST: compute, ARBITER: deal}
    outputs, _ = await run_in_process(programs, dict.fromkeys((BANK, SHOP, KEEPER), ()))
    step = learning_rate / 2 * 2.0**plan.batch_bits / height
    expected = [
        momentum * velocity - step * gradient,
        momentum**2 * velocity - (1 + momentum) * step * gradient,
    ]
    # Rates are exact to 2^-23, the cut to 2^-28.
    off = 2.0**-23 * (shared.VELOCITY_BOUND + shared.GRADIENT_BOUND) + 2.0**-27
    found = shared.PARAMETER.decode(np.stack(outputs[SHOP]))
    assert np.max(np.abs(found - expected)) <= off


def test_steps_that_leave_no_room_are_refused():
    plan = Plan("linear", Params(learning_rate=4).descent, 33, (2, 2), 1, True, False)
    with pytest.raises(RefusedRate, match=r"by 1[0-9].*; allowed are 8: lower learning_rate"):
        replace(plan, descent=Descent(10, 0, 6.0, 0.9, 0.0))


@pytest.mark.parametrize("family", ["poisson", "linear"])
async def test_a_descent_that_diverges_ends_as_diverged(family):
    X, y = problem(family, 60)
    X = np.column_stack([X, X[:, :3] + 0.01 * np.random.default_rng(2).normal(size=(60, 3))])
    params = Params(family=family, alpha=0.02, max_iter=40, learning_rate=3)
    tables = {BANK: table(X[:, :3], y), SHOP: table(X[:, 3:], first=3), KEEPER: NOTHING}
    with pytest.raises(Diverged, match="learning_rate 3; halve it"):
        await run_in_process(ALGORITHM.fit, {p: (params, t) for p, t in tables.items()})
