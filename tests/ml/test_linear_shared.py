"""Linear models on shares: as exact as without, and nobody hears what is computed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import Lasso, LogisticRegression, PoissonRegressor, Ridge

from ml.crypto.errors import ProductBudgetExceeded
from ml.errors import Diverged, ProtocolViolation, TooFewColumns
from ml.federation import ARBITER, GUEST, HOST, Party, run_in_process
from ml.local.linear import descend, label_scale, mean, targets
from ml.protocols import shares
from ml.table import Table
from ml.testing import Case, check_algorithm, heard, view
from ml.vertical.linear import models, shared
from ml.vertical.linear.models import ALGORITHM, Extent, Onward, Params
from tests.ml.linear_data import FAMILIES, NOTHING, problem, table

BANK, SHOP, CLINIC = Party(GUEST, "bank"), Party(HOST, "shop"), Party(HOST, "clinic")
KEEPER = Party(ARBITER, "keeper")
PAGE = Path(__file__).parents[2] / "docs" / "protocols" / "linear_models.md"
# Of coefficients of standardised columns, and of predictions; the docs say so.
TOLERANCE = 1e-5
STEP = 2.0**-14  # of predictions
TOLD = {"logistic": STEP + 1e-5, "linear": STEP + 1e-5, "poisson": STEP + 2e-3}
OF_FAMILY = {"logistic": TOLERANCE, "linear": TOLERANCE, "poisson": 3e-5}


def split(X, y) -> dict[Party, Table]:
    return {
        BANK: table(X[:, :2], y),
        SHOP: table(X[:, 2:5], first=2),
        CLINIC: table(X[:, 5:], first=5),
        KEEPER: NOTHING,
    }


def on_plain_numbers(params, tables):
    """The parties' designs, and their parameters after the same steps on plain numbers."""
    Y = targets(tables[BANK], params.family, params.classes)
    order = params.order(len(Y))
    designs = [params.design(tables[p], 1.0, intercept=p == BANK) for p in (BANK, SHOP, CLINIC)]
    shuffled = [replace(design, X=design.X[order]) for design in designs]
    return designs, descend(shuffled, Y[order], params.family, params.descent)[0]


def epochs_on_plain_numbers(params, tables):
    Y = targets(tables[BANK], params.family)
    scale = label_scale(Y, params.family)
    designs = [params.design(tables[p], scale, intercept=p == BANK) for p in (BANK, SHOP, CLINIC)]
    return descend(designs, (Y - Y.mean()) / scale, params.family, params.descent)[1]


def centralised(params, tables):
    found = zip(*on_plain_numbers(params, tables), strict=True)
    return mean(params.family, sum(design.X @ v for design, v in found))[:, 0]


def plain(params, tables):
    found = zip(*on_plain_numbers(params, tables), strict=True)
    return np.concatenate([design.coefficients(v) for design, v in found])


async def fit(params, tables):
    return await run_in_process(ALGORITHM.fit, {p: (params, t) for p, t in tables.items()})


async def predict(params, parts, tables):
    inputs = {p: (params, parts[p], t) for p, t in tables.items()}
    return await run_in_process(ALGORITHM.predict, inputs)


def coefficients(parts):
    return np.concatenate([parts[p].coefficients for p in (BANK, SHOP, CLINIC)])


async def test_linear_models_keep_their_promises():
    params = Params(max_iter=4, alpha=0.01, tol=0.01)
    case = Case(params, split(*problem("logistic", 40)), centralised, tolerance=TOLD["logistic"])
    await check_algorithm(ALGORITHM, case, PAGE.read_text())


@pytest.mark.parametrize("family", FAMILIES)
async def test_the_model_is_that_of_scikit_learn(family):
    X, y = problem(family, rows=300)
    rate, epochs = {"logistic": (1, 120), "linear": (1, 70), "poisson": (2, 160)}[family]
    params = Params(family=family, alpha=0.02, max_iter=epochs, learning_rate=rate)
    tables = split(X, y)
    parts, _ = await fit(params, tables)
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    reference = {
        "logistic": LogisticRegression(C=1 / (0.02 * len(y)), tol=1e-10, max_iter=1000),
        "linear": Ridge(0.02 * len(y)),
        "poisson": PoissonRegressor(alpha=0.02, tol=1e-10, max_iter=1000),
    }[family].fit(Z, y)
    unit = 512.0 if family == "linear" else 1.0  # the scale of its labels
    found = coefficients(parts)[:, 0]
    assert np.max(np.abs(found - reference.coef_.ravel() / unit)) <= OF_FAMILY[family]
    scores = (await predict(params, parts, tables)).outputs[BANK]
    expected = reference.predict_proba(Z)[:, 1] if family == "logistic" else reference.predict(Z)
    # Means are told in units of the labels' scale.
    assert np.max(np.abs(scores - expected)) <= parts[BANK].label_scale * TOLD[family]


async def test_coefficients_that_l1_drops_are_exactly_0_as_those_of_lasso():
    X, y = problem("linear", 120)
    params = Params(family="linear", alpha=0.0, l1=100.0, max_iter=100)
    parts, _ = await fit(params, split(X, y))
    found = coefficients(parts)[:, 0]
    expected = Lasso(100.0, tol=1e-10).fit((X - X.mean(axis=0)) / X.std(axis=0), y).coef_ / 512
    assert np.max(np.abs(found - expected)) <= TOLERANCE
    assert 0 < np.sum(found == 0) == np.sum(expected == 0)


async def test_batches_descend_as_on_plain_numbers():
    params = Params(
        max_iter=3, batch_size=32, alpha=0.05, decay=0.1, learning_rate=0.3, random_state=3
    )
    tables = split(*problem("logistic", 90))
    parts, _ = await fit(params, tables)
    assert np.max(np.abs(coefficients(parts) - plain(params, tables))) <= TOLERANCE


async def test_descent_stops_when_nothing_moves_and_only_that_is_told():
    params = Params(family="linear", max_iter=200, alpha=0.01, tol=0.02)
    X, y = problem("linear", 60)
    parts, transcript = await fit(params, split(X, y))
    assert parts[BANK].epochs == epochs_on_plain_numbers(params, split(X, y)) < 200
    # One number to each for an epoch, and the coefficients.
    for party in (BANK, SHOP, CLINIC):
        told = [len(m.words) for m in heard(transcript, party, shares.Revealed)]
        columns = 3  # the guest has an intercept
        assert told == [1, 1] * parts[BANK].epochs + [columns, columns]
    more = [m.more for m in heard(transcript, KEEPER, Onward)]
    assert more == [True] * (parts[BANK].epochs - 1) + [False]


async def test_each_class_has_a_model_of_its_own():
    X, _ = problem("logistic", 90)
    X = np.column_stack([X, np.random.default_rng(6).normal(size=(90, 8))])
    score = X[:, 0] + X[:, 3] + np.random.default_rng(5).normal(size=90)
    y = np.digitize(score, np.quantile(score, [0.3, 0.6])).astype(float)
    params = Params(max_iter=10, classes=3, alpha=0.05)
    tables = split(X, y) | {SHOP: table(X[:, 2:9], first=2), CLINIC: table(X[:, 9:], first=9)}
    parts, _ = await fit(params, tables)
    assert np.max(np.abs(coefficients(parts) - plain(params, tables))) <= TOLERANCE
    scores = (await predict(params, parts, tables)).outputs[BANK]
    assert scores.shape == (90, 3)
    np.testing.assert_allclose(scores.sum(axis=1), 1)
    assert np.mean(scores.argmax(axis=1) == y) > 0.6


async def test_parties_hear_numbers_under_masks_and_their_own_coefficients():
    tables = split(*problem("logistic", 64))
    params = Params(max_iter=2)
    _, transcript = await fit(params, tables)
    # The arbiter hears how many rows and columns there are, and how far the job is.
    kinds = {said.address.kind for said in view(transcript, KEEPER)}
    assert kinds == {Extent.kind, shares.Taken.kind}
    # Results are told to each for its own columns alone: the two other parties' shares of them.
    # Before that all are told one bit: whether the model is in range.
    for party in (BANK, SHOP, CLINIC):
        told = [len(m.words) for m in heard(transcript, party, shares.Revealed)]
        assert told == [1, 1, 3, 3]
    # What else crosses has as many ones as zeros.
    for party in (BANK, SHOP, CLINIC):
        words = [m.words for m in heard(transcript, party, shares.Masked)]
        bits = np.unpackbits(np.concatenate(words).view(np.uint8))
        assert abs(bits.mean() - 0.5) < 5 * 0.5 / np.sqrt(len(bits))


async def test_a_prediction_does_not_show_one_hosts_part():
    X, y = problem("logistic", 30)
    tables = split(X, y)
    params = Params(max_iter=3)
    parts, _ = await fit(params, tables)
    _, transcript = await predict(params, parts, tables)
    shop = parts[SHOP].predictor(tables[SHOP])
    told = heard(transcript, BANK, shares.Revealed)
    assert len(told) == 2
    for message in told:
        found = shared.TOLD.decode(message.words.reshape(shop.shape))
        assert np.min(np.abs(found - shop)) > 1
    assert not heard(transcript, SHOP, shares.Revealed)


@pytest.mark.parametrize("family", FAMILIES)
async def test_a_prediction_is_told_as_a_mean_in_steps_and_the_predictor_stays_shared(family):
    X, y = problem(family, 40)
    tables, params = split(X, y), Params(family=family, max_iter=5)
    parts, _ = await fit(params, tables)
    # Far beyond the reach of the approximation it is the mean at its end.
    for sign in (-1.0, 1.0):
        far = replace(parts[SHOP], coefficients=parts[SHOP].coefficients + sign * 60)
        scores, transcript = await predict(params, parts | {SHOP: far}, tables)
        means = (scores[BANK] - parts[BANK].label_centre) / parts[BANK].label_scale
        eta = sum(
            p.predictor(tables[party])
            for party, p in (parts | {SHOP: far}).items()
            if party != KEEPER
        )[:, 0]
        reach = shared.REACH.get(family, np.inf)
        expected = mean(family, np.clip(eta, -reach, reach))
        assert np.max(np.abs(means - expected)) <= TOLD[family]
        assert np.max(np.abs(eta)) > 32
    # The guest is told two shares of one number for each row, a multiple of the step.
    assert [len(m.words) for m in heard(transcript, BANK, shares.Revealed)] == [40, 40]
    np.testing.assert_allclose(means / STEP, np.round(means / STEP), rtol=1e-12)


async def test_a_model_whose_outputs_would_tell_a_hosts_columns_is_refused():
    rng, rows = np.random.default_rng(1), 60
    mine, theirs = rng.normal(size=(rows, 1)), rng.normal(size=(rows, 4))
    labels = np.arange(rows) % 8.0  # arbitrary: the guest's own
    tables = {BANK: table(mine, labels), SHOP: table(theirs, first=1), KEEPER: NOTHING}
    with pytest.raises(TooFewColumns, match=r"4 independent .* 8 outputs.*allowed are 17 or more"):
        await fit(Params(classes=8, max_iter=2), tables)
    with pytest.raises(TooFewColumns, match="4 independent"):
        await fit(Params(classes=3, max_iter=2), tables | {BANK: table(mine, labels % 3)})
    few = {BANK: table(mine, labels % 2)}
    with pytest.raises(TooFewColumns, match="2 independent"):
        await fit(Params(max_iter=2), tables | few | {SHOP: table(theirs[:, :2], first=1)})
    # Another host is no help, which may be with the guest; nor are copies of one's own columns.
    with pytest.raises(TooFewColumns, match="1 independent"):
        await fit(Params(max_iter=2), tables | few | {CLINIC: table(theirs[:, :1], first=9)})
    copies = np.column_stack([theirs[:, :2], theirs[:, 0] - 2 * theirs[:, 1], theirs[:, 0]])
    with pytest.raises(TooFewColumns, match="2 independent"):
        await fit(Params(max_iter=2), tables | few | {SHOP: table(copies, first=1)})


async def test_the_others_refuse_what_a_host_lets_pass(monkeypatch: pytest.MonkeyPatch):
    X, y = problem("logistic", 30)
    tables = {BANK: table(X[:, :1], y), SHOP: table(X[:, 1:3], first=1), KEEPER: NOTHING}
    monkeypatch.setattr(models, "independent_columns", lambda _: 9)
    with pytest.raises(TooFewColumns, match="2 independent"):
        await fit(Params(max_iter=1), tables)


async def test_a_host_charges_its_outputs_by_its_columns_before_the_model_is_told():
    tables = split(*problem("logistic", 40))
    params, charged = Params(max_iter=2), []
    host = ALGORITHM.fit[HOST]

    async def counting(ch, params, table):
        def share(part, whole):
            charged.append((ch.me, part, whole))
            if ch.me == CLINIC:
                raise ProductBudgetExceeded(2, 1, 3)

        return await host(ch, params, table, share=share)

    programs = {**ALGORITHM.fit, HOST: counting}
    with pytest.raises(ProductBudgetExceeded):
        await run_in_process(programs, {p: (params, t) for p, t in tables.items()})
    assert set(charged) >= {(CLINIC, 2, 3)}
    assert params.vectors == 1
    assert Params(classes=5).vectors == 5


async def test_a_model_that_leaves_the_range_of_its_approximation_is_refused():
    X, _ = problem("logistic", 20)
    params = Params(alpha=0.0, max_iter=40, momentum=0.95, learning_rate=4.0)
    parted = (X[:, 0] > 5).astype(float)  # no finite coefficients part them best
    tables = split(X, parted)
    designs, v = on_plain_numbers(params, tables)
    eta = sum(d.X @ part for d, part in zip(designs, v, strict=True))
    assert np.max(np.abs(eta)) > shared.TRUSTED["logistic"]
    with pytest.raises(Diverged):
        await fit(params, tables)


async def test_an_arbiter_is_needed_and_rows_must_be_aligned():
    tables = split(*problem("logistic", 30))
    params = Params(max_iter=1)
    with pytest.raises(ProtocolViolation, match="arbiter"):
        await fit(params, {p: t for p, t in tables.items() if p != KEEPER})
    with pytest.raises(ProtocolViolation, match="aligned"):
        await fit(params, tables | {SHOP: tables[SHOP].take(np.arange(29))})


async def test_a_host_takes_no_scale_that_is_none(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(models, "log2", lambda _: 65)
    with pytest.raises(ProtocolViolation, match="size"):
        await fit(Params(max_iter=1), split(*problem("logistic", 30)))


@pytest.mark.parametrize("family", ["logistic", "poisson"])
def test_the_mean_is_as_exact_as_stated(family):
    series = shared.mean_series(family)
    assert series.error <= {"logistic": 1e-5, "poisson": 2e-3}[family]
