"""Every option of SecureBoost: the same trees with hosts, under both schemes, as in one place."""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from ml.crypto.paillier import PrivateKey
from ml.errors import ColumnNotFound, WeightsUnusable
from ml.federation import GUEST, HOST, Party
from ml.local import trees
from ml.table import Table
from ml.testing import heard
from ml.vertical import columns, secureboost
from ml.vertical.secureboost import ALGORITHM, Params
from tests.ml.test_secureboost import (
    BANK,
    CLINIC,
    COLUMNS,
    SHOP,
    joined,
    make_tables,
    predict,
    train,
)

QUICK: dict[str, Any] = {
    "n_estimators": 2,
    "max_depth": 2,
    "max_bins": 4,
    "min_samples_leaf": 1,
    "min_bin_rows": 5,
    "min_child_weight": 0.1,
    "scheme": "lattice",
}
OPTIONS: dict[str, dict[str, Any]] = {
    "softmax": {"objective": "softmax", "num_class": 3, "min_samples_leaf": 4},
    "squared": {"objective": "squared"},
    "absolute": {"objective": "absolute"},
    "huber": {"objective": "huber", "huber_slope": 0.7},
    "fair": {"objective": "fair", "min_samples_leaf": 6},
    "log_cosh": {"objective": "log_cosh"},
    "poisson": {"objective": "poisson"},
    "tweedie": {"objective": "tweedie", "tweedie_variance_power": 1.2},
    "alpha and gamma": {"reg_alpha": 0.5, "gamma": 0.2},
    "weights": {"weight_column": "age", "min_samples_leaf": 6},
    "subsample": {"subsample": 0.6, "random_state": 5},
    "GOSS": {"top_rate": 0.2, "other_rate": 0.3, "min_samples_leaf": 4},
    "held out": {"validation_fraction": 0.3, "objective": "squared"},
}
UNDER_PAILLIER = ("softmax", "tweedie", "weights", "GOSS")
LATTICE = {
    GUEST: partial(secureboost.guest, workers=1),
    HOST: partial(secureboost.host, workers=1),
}


def tables_for(params: Params, *hosts: Party, n: int = 90, seed: int = 0) -> dict[Party, Table]:
    """Labels that suit the objective, in a unit of their own; the column of age may be a weight."""
    tables = make_tables(BANK, *hosts, n=n, seed=seed)
    bank, rng = tables[BANK], np.random.default_rng(seed)
    X = bank.X.copy()
    z = np.nan_to_num(X[:, 0]) + 2 * np.nan_to_num(tables[SHOP].X[:, 1]) + rng.normal(0, 0.3, n)
    match params.objective:
        case "logistic":
            y = np.asarray(bank.y)
        case "softmax":
            y = np.digitize(z, [-1, 1]).astype(float)
        case "poisson" | "tweedie":
            y = np.floor(np.exp(z / 2))
        case "squared" | "absolute":
            y = 1000 * z
        case _:
            y = z
    X[:, 1] = np.abs(np.nan_to_num(X[:, 1]))
    return tables | {BANK: replace(bank, X=X, y=y)}


def same_model(parts: Any, hosts: tuple[Party, ...], params: Params, tables: Any) -> None:
    """Every split, leaf and loss is that of all columns in one place, bit for bit."""
    reference = secureboost.alone(params, joined(tables))
    names = reference.columns
    assert len(parts[BANK].trees) == len(reference.trees)
    owners = set()
    for tree, expected in zip(parts[BANK].trees, reference.trees, strict=True):
        assert (np.minimum(tree.owner, trees.OWN) == np.minimum(expected.owner, trees.OWN)).all()
        for node in np.flatnonzero(tree.owner >= trees.OWN).tolist():
            number, owner = tree.split[node], int(tree.owner[node])
            owners.add(owner)
            if owner == trees.OWN:
                column = parts[BANK].columns[number]
                found = column, tree.threshold[node], tree.missing_left[node]
            else:
                host = hosts[owner - 1]
                part = parts[host]
                column = COLUMNS[host][part.column[number]]
                found = column, part.threshold[number], part.missing_left[number]
            asked = expected.threshold[node], expected.missing_left[node]
            assert found == (names[expected.split[node]], *asked)
        assert (tree.weight == expected.weight).all()
    assert owners > {trees.OWN}
    for name in ("start", "loss", "auc", "held_out_loss"):
        assert (getattr(parts[BANK], name) == getattr(reference, name)).all()


@pytest.mark.parametrize("name", OPTIONS)
async def test_with_lattice_every_option_grows_the_trees_of_one_place(name: str):
    params = Params(**(QUICK | OPTIONS[name]))
    hosts = (SHOP, CLINIC) if name in ("softmax", "GOSS") else (SHOP,)
    tables = tables_for(params, *hosts)
    parts = (await train(LATTICE, tables, params)).outputs
    same_model(parts, hosts, params, tables)


@pytest.mark.parametrize("name", UNDER_PAILLIER)
async def test_under_paillier_options_grow_the_trees_of_one_place(
    name: str, paillier_key: PrivateKey
):
    params = Params(**(QUICK | OPTIONS[name] | {"scheme": "paillier", "n_estimators": 1}))
    tables = tables_for(params, SHOP)
    fit = {
        GUEST: partial(secureboost.guest, key=paillier_key, workers=0),
        HOST: partial(secureboost.host, workers=0),
    }
    same_model((await train(fit, tables, params)).outputs, (SHOP,), params, tables)


async def test_classes_of_new_rows_are_told_as_in_one_place():
    params = Params(**(QUICK | OPTIONS["softmax"]))
    tables, others = tables_for(params, SHOP), tables_for(params, SHOP, n=40, seed=3)
    parts = (await train(LATTICE, tables, params)).outputs
    scores = (await predict(parts, others, params)).outputs[BANK]
    expected = secureboost.predict_alone(secureboost.alone(params, joined(tables)), joined(others))
    assert scores.shape == (40, 3)
    assert scores == pytest.approx(expected, abs=1e-6)
    measured = ALGORITHM.measure(params, others[BANK], scores)
    assert measured["classes"] == 3
    assert measured["accuracy"] > 0.5


# --- columns that are drawn ---


@pytest.mark.parametrize("scheme", ["lattice", "paillier"])
async def test_each_party_draws_columns_of_its_own_for_every_tree(
    scheme: str, paillier_key: PrivateKey
):
    params = Params(
        **(QUICK | {"scheme": scheme, "n_estimators": 4, "colsample_bytree": 0.5, "max_depth": 3})
    )
    tables = tables_for(params, SHOP, CLINIC)
    fit = {
        GUEST: partial(secureboost.guest, key=paillier_key, workers=0),
        HOST: partial(secureboost.host, workers=0),
    }
    trained = await train(LATTICE if scheme == "lattice" else fit, tables, params)
    together = joined(tables)
    own = params.columns(together)
    first = np.cumsum([0, *(len(table.schema.features) for table in tables.values())])

    def drawn(tree: int) -> np.ndarray:
        marked = np.zeros(len(own.matrix), np.bool_)
        for table, start in zip(tables.values(), first.tolist(), strict=False):
            sample = params.column_sample(table)
            assert sample is not None
            marked |= sample.splits(own.matrix.column - start, tree)
        return marked

    labels, _ = params.labels(together)
    _, expected, _ = trees.fit_trees(own, labels, params.growth(90), drawn)
    whole = secureboost.alone(params.model_copy(update={"colsample_bytree": 1.0}), together)
    found = trained.outputs[BANK].trees
    for tree, other in zip(found, expected, strict=True):
        assert (tree.weight == other.weight).all()
    assert any((a.weight != b.weight).any() for a, b in zip(found, whole.trees, strict=True))
    assert all(len(set(tree.split[tree.owner == trees.OWN].tolist())) <= 1 for tree in found)
    assert len(heard(trained.transcript, BANK, columns.Drawn)) == 2 * 4


# --- categories ---


def with_categories(tables: dict[Party, Table]) -> dict[Party, Table]:
    """The first column of every party in five kinds, which tell more than their order does."""
    known = np.array([40.0, 10.0, 50.0, 20.0, 30.0])
    changed = {}
    for party, table in tables.items():
        X, types = table.X.copy(), ("category", *table.schema.types[1:])
        kind = np.digitize(X[:, 0], [-1, -0.3, 0.3, 1])
        X[:, 0] = np.where(np.isnan(X[:, 0]), np.nan, known[kind])
        changed[party] = replace(table, X=X, schema=replace(table.schema, types=types))
    return changed


@pytest.mark.parametrize("scheme", ["lattice", "paillier"])
async def test_categories_are_split_off_as_in_one_place(scheme: str, paillier_key: PrivateKey):
    params = Params(**(QUICK | {"scheme": scheme, "n_estimators": 3, "objective": "squared"}))
    tables = with_categories(tables_for(params, SHOP))
    y = np.nan_to_num(tables[BANK].X[:, 0]) + 30 * (tables[SHOP].X[:, 0] == 20.0)
    tables[BANK] = replace(tables[BANK], y=y)
    fit = {
        GUEST: partial(secureboost.guest, key=paillier_key, workers=0),
        HOST: partial(secureboost.host, workers=0),
    }
    parts = (await train(LATTICE if scheme == "lattice" else fit, tables, params)).outputs
    together = joined(tables)
    types = tuple(kind for table in tables.values() for kind in table.schema.types)
    together = replace(together, schema=replace(together.schema, types=types))
    reference = secureboost.alone(params, together)
    assert any(tree.category.any() for tree in parts[BANK].trees)
    assert parts[SHOP].category.any()
    for tree, expected in zip(parts[BANK].trees, reference.trees, strict=True):
        assert (tree.weight == expected.weight).all()
    # Other rows, among them kinds that were never seen.
    others = with_categories(tables_for(params, SHOP, n=40, seed=9))
    for party, table in others.items():
        X = table.X.copy()
        X[:5, 0] = 77.0
        others[party] = replace(table, X=X)
    scores = (await predict(parts, others, params)).outputs[BANK]
    expected_scores = secureboost.predict_alone(reference, joined(others))
    assert scores == pytest.approx(expected_scores, rel=1e-6, abs=1e-5)


# --- early stopping ---

STOPPING = Params(
    **QUICK
    | {
        "objective": "squared",
        "n_estimators": 12,
        "learning_rate": 1.0,
        "validation_fraction": 0.4,
        "early_stopping_rounds": 1,
    }
)


async def test_training_ends_when_held_out_rows_gain_no_more_and_keeps_the_best_tree():
    tables = tables_for(STOPPING, SHOP)
    trained = await train(LATTICE, tables, STOPPING)
    model = trained.outputs[BANK]
    reference = secureboost.alone(STOPPING, joined(tables))
    assert len(model.trees) == len(reference.trees) < 11
    assert len(model.held_out_loss) == len(model.trees) + 1
    assert model.held_out_loss.argmin() == len(model.trees) - 1
    said = [message.more for message in heard(trained.transcript, SHOP, secureboost.Proceed)]
    assert said == [True] * len(model.trees) + [False]
    scores = (await predict(trained.outputs, tables, STOPPING)).outputs[BANK]
    expected = secureboost.predict_alone(reference, joined(tables))
    assert scores == pytest.approx(expected, rel=1e-5, abs=1e-3)


# --- what is refused ---


def test_options_that_do_not_fit_together_are_refused():
    for wrong in (
        {"top_rate": 0.2},
        {"top_rate": 0.7, "other_rate": 0.4},
        {"top_rate": 0.2, "other_rate": 0.2, "subsample": 0.5},
        {"early_stopping_rounds": 3},
    ):
        with pytest.raises(ValueError, match=r"GOSS|not by both|validation_fraction"):
            Params(**wrong)


def test_more_classes_and_levels_than_a_lattice_key_masks_are_refused():
    many: dict[str, Any] = {"objective": "softmax", "num_class": 100, "max_depth": 6}
    with pytest.raises(ValueError, match="a tree takes 6432 vectors; a lattice key masks 4096"):
        Params(**many, scheme="lattice")
    assert Params(**many).vectors == 20 * 6432


def test_weights_that_are_none_are_refused():
    params = Params(**(QUICK | OPTIONS["weights"]))
    bank = tables_for(params, SHOP)[BANK]
    for value in (-1.0, np.nan):
        X = bank.X.copy()
        X[3, 1] = value
        with pytest.raises(WeightsUnusable, match="missing or negative"):
            params.labels(replace(bank, X=X))
    with pytest.raises(WeightsUnusable, match="no row to learn from"):
        params.labels(replace(bank, X=np.zeros_like(bank.X)))
    with pytest.raises(ColumnNotFound):
        params.model_copy(update={"weight_column": "salary"}).labels(bank)
