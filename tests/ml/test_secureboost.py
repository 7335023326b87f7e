"""SecureBoost: the trees of all columns in one place, and nobody sees more than declared."""

import struct
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml import wire
from ml.crypto.errors import InvalidCiphertext, ProductBudgetExceeded, WeakKey
from ml.crypto.paillier import PrivateKey
from ml.crypto.paillier_products import PaillierOwner
from ml.crypto.products import CountedBudget, Opening, Vectors
from ml.crypto.workers import Workers
from ml.errors import (
    AllMissingColumn,
    ColumnNotFound,
    ConstantColumn,
    LabelsNotBinary,
    ProtocolViolation,
    RefusedScheme,
)
from ml.federation import GUEST, HOST, Channel, Message, Party, run_in_process
from ml.local import trees
from ml.table import ColumnType, Schema, Table
from ml.testing import Case, check_algorithm, heard, view
from ml.vertical import bits, hidden, scoring, secureboost
from ml.vertical.checkpoints import Complete, GoOn, agree_guest
from ml.vertical.columns import Drawn
from ml.vertical.secureboost import ALGORITHM, Params

BANK, SHOP, CLINIC = Party(GUEST, "bank"), Party(HOST, "shop"), Party(HOST, "clinic")
PAGE = Path(__file__).parents[2] / "docs" / "protocols" / "secureboost.md"
NUMBER: ColumnType = "number"
SMALL = Params(
    n_estimators=2,
    max_depth=3,
    learning_rate=0.5,
    max_bins=6,
    min_samples_leaf=5,
    min_bin_rows=5,
    min_child_weight=0.1,
)
COLUMNS = {BANK: ("income", "age"), SHOP: ("basket", "visits"), CLINIC: ("pulse",)}


def make_tables(*parties: Party, n: int = 120, seed: int = 0) -> dict[Party, Table]:
    """Aligned tables, of which the hosts' columns tell most; some values are missing."""
    rng = np.random.default_rng(seed)
    X = {party: rng.normal(size=(n, len(COLUMNS[party]))) for party in parties}
    z = X[BANK][:, 0] + 2 * X[BANK][:, 1] * X[SHOP][:, 0] + X[SHOP][:, 1] - 0.5
    y = (z + rng.normal(0, 0.3, n) > 0).astype(float)
    for columns in X.values():
        columns[rng.random(columns.shape) < 0.1] = np.nan
    ids = tuple(f"person {i}" for i in range(n))
    return {
        party: Table(
            Schema(
                COLUMNS[party],
                (NUMBER,) * len(COLUMNS[party]),
                label="y" if party == BANK else None,
            ),
            ids,
            X[party],
            y if party == BANK else None,
        )
        for party in parties
    }


def joined(tables: dict[Party, Table]) -> Table:
    """All columns in one place, the guest's first."""
    names = tuple(name for table in tables.values() for name in table.schema.features)
    return Table(
        Schema(names, (NUMBER,) * len(names), label="y"),
        tables[BANK].ids,
        np.hstack([table.X for table in tables.values()]),
        tables[BANK].y,
    )


def centralised(params: Any, tables: Any) -> np.ndarray:
    together = joined(tables)
    return secureboost.predict_alone(secureboost.alone(params, together), together)


@pytest.fixture(scope="module")
def fit(paillier_key: PrivateKey) -> dict[Any, Any]:
    """The programs, with one key for all tests and no processes."""
    return {
        GUEST: partial(secureboost.guest, key=paillier_key, workers=0),
        HOST: partial(secureboost.host, workers=0),
    }


async def train(fit: Any, tables: dict[Party, Table], params: Params = SMALL) -> Any:
    return await run_in_process(fit, {party: (params, t) for party, t in tables.items()})


async def predict(parts: Any, tables: dict[Party, Table], params: Params = SMALL) -> Any:
    inputs = {party: (params, parts[party], table) for party, table in tables.items()}
    return await run_in_process(ALGORITHM.predict, inputs)


# --- it is the same computation ---


async def test_secureboost_keeps_the_promises_of_every_algorithm(fit: Any):
    elsewhere = (*hidden.MESSAGES, scoring.MaskSeed, Drawn, secureboost.Proceed)
    said = tuple(m for m in ALGORITHM.messages if m not in elsewhere)
    quick = replace(ALGORITHM, fit=fit, messages=said)
    case = Case(SMALL, make_tables(BANK, SHOP), centralised, tolerance=1e-7)
    await check_algorithm(quick, case, PAGE.read_text())


@pytest.mark.parametrize("hosts", [(SHOP,), (SHOP, CLINIC)])
async def test_every_split_and_leaf_is_that_of_all_columns_in_one_place(fit: Any, hosts: Any):
    tables = make_tables(BANK, *hosts)
    parts = (await train(fit, tables)).outputs
    reference = secureboost.alone(SMALL, joined(tables))
    names = joined(tables).schema.features
    owners: set[int] = set()
    for tree, expected in zip(parts[BANK].trees, reference.trees, strict=True):
        for node, owner in enumerate(tree.owner.tolist()):
            owners.add(owner)
            if owner < trees.OWN:
                assert owner == expected.owner[node]
                continue
            assert expected.owner[node] == trees.OWN
            number = tree.split[node]
            if owner == trees.OWN:
                found = COLUMNS[BANK][number], tree.threshold[node], tree.missing_left[node]
            else:
                host, part = hosts[owner - 1], parts[hosts[owner - 1]]
                column = COLUMNS[host][part.column[number]]
                found = column, part.threshold[number], part.missing_left[number]
            asked = expected.threshold[node], expected.missing_left[node]
            assert found == (names[expected.split[node]], *asked)
        assert tree.weight == pytest.approx(expected.weight, abs=1e-9)
    assert owners >= {trees.LEAF, trees.OWN, *range(1, len(hosts) + 1)}


@pytest.mark.parametrize("hosts", [(SHOP,), (SHOP, CLINIC)])
async def test_predictions_on_other_rows_are_the_centralised_ones(fit: Any, hosts: Any):
    tables, others = make_tables(BANK, *hosts), make_tables(BANK, *hosts, n=75, seed=5)
    parts = (await train(fit, tables)).outputs
    scores = (await predict(parts, others)).outputs[BANK]
    reference = secureboost.alone(SMALL, joined(tables))
    expected = secureboost.predict_alone(reference, joined(others))
    assert scores == pytest.approx(expected, abs=1e-8)


async def test_processes_train_the_same_model(paillier_key: PrivateKey, fit: Any):
    tables = make_tables(BANK, SHOP)
    pooled = {
        GUEST: partial(secureboost.guest, key=paillier_key, workers=2),
        HOST: partial(secureboost.host, workers=2),
    }
    one, two = (await train(fit, tables)).outputs, (await train(pooled, tables)).outputs
    for party in tables:
        assert ALGORITHM.dump_model(one[party]) == ALGORITHM.dump_model(two[party])


async def test_two_columns_alike_are_left_to_the_order_of_their_owner(fit: Any):
    """Both are best at every node; what the guest sees of them is shuffled anew in every run."""
    tables = make_tables(BANK, SHOP)
    shop = tables[SHOP]
    twins = np.column_stack([shop.X[:, 0], shop.X[:, 0]])
    tables[SHOP] = replace(shop, X=twins)
    for _ in range(3):
        part = (await train(fit, tables)).outputs[SHOP]
        assert len(part.column)
        assert set(part.column.tolist()) == {0}


async def test_a_host_that_has_nothing_to_split_is_no_harm(fit: Any):
    tables = make_tables(BANK, SHOP)
    rare = np.zeros_like(tables[SHOP].X)
    rare[0] = 1.0
    tables[SHOP] = replace(tables[SHOP], X=rare)
    parts = (await train(fit, tables)).outputs
    alone = secureboost.alone(SMALL, tables[BANK])
    assert parts[BANK].loss == pytest.approx(alone.loss, abs=1e-12)
    assert len(parts[SHOP].column) == 0


async def test_the_hosts_columns_help(fit: Any):
    tables = make_tables(BANK, SHOP, n=300)
    together = (await train(fit, tables)).outputs[BANK]
    alone = secureboost.alone(SMALL, tables[BANK])
    assert together.auc[-1] > alone.auc[-1] + 0.05
    assert together.loss.tolist() == sorted(together.loss, reverse=True)


async def test_progress_tells_loss_and_auc_of_every_tree(fit: Any):
    told: list[str] = []
    tables = make_tables(BANK, SHOP)
    await run_in_process(
        fit,
        {party: (SMALL, table) for party, table in tables.items()},
        on_progress=lambda done, total, text: told.append(text),
    )
    assert sum(text.startswith("loss ") for text in told) == SMALL.n_estimators


# --- nobody sees more than declared ---


async def test_the_host_sees_no_label_gradient_or_score(fit: Any):
    """Of one bit a label, the host must not find a trace: all that depends on rows is encrypted,
    but for the nodes that rows are in, which are declared."""
    transcript = (await train(fit, make_tables(BANK, SHOP))).transcript
    seen = {said.address.kind for said in view(transcript, SHOP)}
    declared = (secureboost.Begin, secureboost.Gradients, secureboost.Chosen, secureboost.Children)
    assert seen == {message.kind for message in (GoOn, *declared, Complete)}
    for gradients in heard(transcript, SHOP, secureboost.Gradients):
        rows = gradients.vectors.data
        # The first tree has two values of g in all rows; no two ciphertexts are alike.
        assert len({row.tobytes() for row in rows}) == len(rows)
        assert {len(row.tobytes()) for row in rows} == {512}


async def test_the_host_learns_no_node_of_the_last_level(fit: Any):
    transcript = (await train(fit, make_tables(BANK, SHOP))).transcript
    told = heard(transcript, SHOP, secureboost.Children)
    deepest = max(int(2 * node + 2) for children in told for node in children.nodes)
    assert deepest < 2**SMALL.max_depth - 1


async def test_two_runs_with_other_labels_look_alike_to_the_host(fit: Any):
    """What a host sees before it has answered anything does not depend on the labels but in
    bytes that no key of its opens: kinds and lengths are the same."""
    tables = make_tables(BANK, SHOP)
    flipped = dict(tables)
    assert tables[BANK].y is not None
    flipped[BANK] = replace(tables[BANK], y=1.0 - tables[BANK].y)
    first = []
    for case in (tables, flipped):
        received = view((await train(fit, case)).transcript, SHOP)
        first.append([(said.address.kind, len(said.body)) for said in received[:3]])
    assert first[0] == first[1]


async def test_the_guest_sees_no_name_threshold_or_value_of_the_host(fit: Any):
    tables = make_tables(BANK, SHOP)
    trained = await train(fit, tables)
    predicted = await predict(trained.outputs, tables)
    part = trained.outputs[SHOP]
    secrets = [name.encode() for name in COLUMNS[SHOP]]
    numbers = [*part.threshold.tolist(), *tables[SHOP].X[~np.isnan(tables[SHOP].X)].tolist()]
    secrets += [struct.pack(order + "d", number) for number in numbers for order in "<>"]
    bodies = [said.body for said in view(trained.transcript + predicted.transcript, BANK)]
    bodies.append(ALGORITHM.dump_model(trained.outputs[BANK]))
    assert len(part.column)
    for body in bodies:
        assert not any(secret in body for secret in secrets)


async def test_the_order_of_splits_differs_from_tree_to_tree():
    columns = SMALL.columns(make_tables(BANK, SHOP)[SHOP])
    orders = [secureboost.HostTree(columns, 1).order.tolist() for _ in range(5)]
    assert all(sorted(order) == list(range(len(columns.matrix))) for order in orders)
    assert len({tuple(order) for order in orders}) == 5


# --- the budget ---


async def test_no_more_vectors_are_charged_than_the_parameters_announce(
    fit: Any, paillier_key: PrivateKey
):
    budget = CountedBudget(SMALL.vectors)
    programs = fit | {HOST: partial(secureboost.host, budget=budget, workers=0)}
    await train(programs, make_tables(BANK, SHOP))
    assert 0 < budget.spent <= SMALL.vectors


async def test_a_host_stops_at_its_budget(fit: Any):
    budget = CountedBudget(7)
    programs = fit | {HOST: partial(secureboost.host, budget=budget, workers=0)}
    with pytest.raises(ProductBudgetExceeded):
        await train(programs, make_tables(BANK, SHOP))
    assert budget.spent <= 7


class Greedy(Channel):
    """A guest's end of the conversation that splits nodes as it likes."""

    async def send(self, message: Message, to: Party | None = None) -> None:
        if isinstance(message, secureboost.Children):
            one = np.zeros(120, np.bool_)
            one[0] = True
            asked = np.array([2], np.int64)
            message = secureboost.Children(np.array([0], np.int64), bits.pack([one]), asked)
        await super().send(message, to)


async def test_a_guest_cannot_ask_about_single_rows_or_all_but_one(fit: Any):
    async def greedy(ch: Channel, *inputs: Any) -> Any:
        return await fit[GUEST](Greedy(ch.me, ch.parties, ch.transport), *inputs)

    with pytest.raises(ProtocolViolation, match="a node of 1 rows; the smallest allowed has 5"):
        await train(fit | {GUEST: greedy}, make_tables(BANK, SHOP))


# --- what is refused ---


class Lying(Channel):
    """A host's end of the conversation that sends other rows left than it added up."""

    async def send(self, message: Message, to: Party | None = None) -> None:
        if isinstance(message, secureboost.Routes):
            message = secureboost.Routes(~message.left)
        await super().send(message, to)


async def test_a_host_whose_rows_contradict_its_sums_is_found(fit: Any):
    async def lying(ch: Channel, *inputs: Any) -> Any:
        return await fit[HOST](Lying(ch.me, ch.parties, ch.transport), *inputs)

    with pytest.raises(ProtocolViolation, match="are not those of the sums"):
        await train(fit | {HOST: lying}, make_tables(BANK, SHOP))


async def test_a_host_refuses_a_ciphertext_that_is_none(fit: Any, paillier_key: PrivateKey):
    async def zeros(ch: Channel, params: Params, table: Table) -> None:
        widths = secureboost.value_bits(params.growth(len(table)))
        owner = PaillierOwner(paillier_key, len(table), widths, Workers(0))
        await agree_guest(ch, 0, is_complete=False)
        await ch.send(secureboost.Begin(owner.opening))
        await ch.receive(secureboost.Offer)
        await ch.send(secureboost.Gradients(Vectors(0, np.zeros((len(table), 512), np.uint8))))
        await ch.receive(secureboost.Histograms)

    with pytest.raises(InvalidCiphertext):
        await train(fit | {GUEST: zeros}, make_tables(BANK, SHOP))


async def test_a_host_refuses_a_key_shorter_than_agreed(fit: Any, paillier_key: PrivateKey):
    params = SMALL.model_copy(update={"key_bits": 3072})
    with pytest.raises(WeakKey, match="2048 bits; allowed are 3072"):
        await train(fit, make_tables(BANK, SHOP), params)


async def test_a_host_refuses_other_fields_than_agreed(fit: Any, paillier_key: PrivateKey):
    async def other(ch: Channel, params: Params, table: Table) -> None:
        key = wire.dumps(paillier_key.public)
        await agree_guest(ch, 0, is_complete=False)
        await ch.send(secureboost.Begin(Opening("paillier", len(table), (1,), key)))
        await ch.receive(secureboost.Offer)

    with pytest.raises(ProtocolViolation, match="agreed are"):
        await train(fit | {GUEST: other}, make_tables(BANK, SHOP))


async def test_tables_of_different_length_are_refused(fit: Any):
    tables = make_tables(BANK, SHOP)
    tables[SHOP] = tables[SHOP].take(range(100))
    with pytest.raises(ProtocolViolation, match="120 rows, we have 100; align"):
        await train(fit, tables)


@pytest.mark.parametrize("party", [BANK, SHOP])
@pytest.mark.parametrize(("value", "error"), [(3.0, ConstantColumn), (np.nan, AllMissingColumn)])
async def test_a_column_that_tells_nothing_is_named(fit: Any, party: Party, value: float, error):
    tables = make_tables(BANK, SHOP)
    X = tables[party].X.copy()
    X[:, 1] = value
    tables[party] = replace(tables[party], X=X)
    with pytest.raises(error, match=COLUMNS[party][1]):
        await train(fit, tables)


async def test_labels_that_are_not_binary_are_refused(fit: Any):
    tables = make_tables(BANK, SHOP)
    y = np.arange(120.0) % 3
    tables[BANK] = replace(tables[BANK], y=y)
    with pytest.raises(LabelsNotBinary, match="3 distinct values"):
        await train(fit, tables)


@pytest.mark.parametrize("name", ["IterativeAffine", "iterative_affine", "plain"])
def test_a_broken_scheme_is_a_refused_parameter(name: str):
    with pytest.raises(RefusedScheme):
        Params.model_validate({"scheme": name})


@pytest.mark.parametrize("bits_", [512, 1024, 2047])
def test_a_weak_key_is_a_refused_parameter(bits_: int):
    with pytest.raises(WeakKey):
        Params.model_validate({"key_bits": bits_})


@pytest.mark.parametrize(
    "wrong", [{"max_bins": 33}, {"reg_lambda": 0}, {"key_bits": 2500}, {"trees": 3}]
)
def test_other_wrong_parameters_are_refused(wrong: dict[str, Any]):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Params.model_validate(wrong)


def test_parameters_are_a_form():
    fields = Params.model_json_schema()["properties"]
    assert fields["scheme"]["enum"] == ["paillier", "lattice"]
    assert fields["key_bits"]["enum"] == [2048, 3072, 4096]


async def test_a_model_predicts_only_with_the_hosts_it_was_trained_with(fit: Any):
    tables = make_tables(BANK, SHOP)
    parts = (await train(fit, tables)).outputs
    strangers = {BANK: tables[BANK], CLINIC: tables[SHOP]}
    with pytest.raises(ProtocolViolation, match="0 of them and 1 others"):
        await predict({BANK: parts[BANK], CLINIC: parts[SHOP]}, strangers)
    with pytest.raises(ProtocolViolation, match="trained with hosts"):
        secureboost.predict_alone(parts[BANK], tables[BANK])


async def test_a_table_without_the_columns_of_the_model_is_refused(fit: Any):
    tables = make_tables(BANK, SHOP)
    parts = (await train(fit, tables)).outputs
    schema = replace(tables[SHOP].schema, features=("basket", "other"))
    tables[SHOP] = replace(tables[SHOP], schema=schema)
    with pytest.raises(ColumnNotFound, match="'visits'"):
        await predict(parts, tables)


async def test_columns_are_found_by_name_in_any_order(fit: Any):
    tables = make_tables(BANK, SHOP)
    parts = (await train(fit, tables)).outputs
    before = (await predict(parts, tables)).outputs[BANK]
    shop = tables[SHOP]
    schema = replace(shop.schema, features=shop.schema.features[::-1])
    tables[SHOP] = replace(shop, schema=schema, X=np.ascontiguousarray(shop.X[:, ::-1]))
    assert ((await predict(parts, tables)).outputs[BANK] == before).all()
