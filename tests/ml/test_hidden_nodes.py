"""SecureBoost over lattice products: the plain trees, and hosts that do not learn the nodes."""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from ml.crypto.errors import InvalidKey, LatticeNoise, MaskReuse, ProductBudgetExceeded
from ml.crypto.lattice import opening, ring, sums
from ml.crypto.products import CountedBudget
from ml.errors import ProtocolViolation
from ml.federation import GUEST, HOST, Channel, Message, Party, run_in_process
from ml.local import trees
from ml.table import Table
from ml.testing import Case, check_algorithm, heard, view
from ml.vertical import hidden, scoring, secureboost
from ml.vertical.checkpoints import Complete, GoOn, Kept
from ml.vertical.secureboost import ALGORITHM, Params
from tests.ml.test_secureboost import (
    BANK,
    CLINIC,
    COLUMNS,
    PAGE,
    SHOP,
    centralised,
    joined,
    make_tables,
    predict,
)

SMALL = Params(
    n_estimators=2,
    max_depth=3,
    learning_rate=0.5,
    max_bins=6,
    min_samples_leaf=1,
    min_bin_rows=5,
    min_child_weight=1.0,
    scheme="lattice",
)
COUNTED = SMALL.model_copy(update={"min_samples_leaf": 5, "min_child_weight": 0.1})
MESSAGES = (Kept, GoOn, *hidden.MESSAGES, Complete, *scoring.MESSAGES)
FIT: dict[Any, Any] = {
    GUEST: partial(secureboost.guest, workers=1),
    HOST: partial(secureboost.host, workers=1),
}


async def train(tables: dict[Party, Table], params: Params = SMALL, fit: Any = FIT) -> Any:
    return await run_in_process(fit, {party: (params, t) for party, t in tables.items()})


# --- it is the same computation ---


async def test_the_conversation_keeps_the_promises_of_every_algorithm():
    quick = replace(ALGORITHM, fit=FIT, messages=MESSAGES)
    checked = SMALL.model_copy(update={"key_checks": 32})
    case = Case(checked, make_tables(BANK, SHOP, CLINIC), centralised, tolerance=1e-7)
    await check_algorithm(quick, case, PAGE.read_text())


@pytest.mark.parametrize("params", [SMALL, COUNTED], ids=["h alone", "least rows"])
@pytest.mark.parametrize("hosts", [(SHOP,), (SHOP, CLINIC)])
async def test_every_split_and_leaf_is_that_of_all_columns_in_one_place(hosts: Any, params: Params):
    tables = make_tables(BANK, *hosts)
    parts = (await train(tables, params)).outputs
    reference = secureboost.alone(params, joined(tables))
    names = joined(tables).schema.features
    for tree, expected in zip(parts[BANK].trees, reference.trees, strict=True):
        for node, owner in enumerate(tree.owner.tolist()):
            if owner < trees.OWN:
                assert owner == expected.owner[node]
                continue
            number = tree.split[node]
            if owner == trees.OWN:
                found = COLUMNS[BANK][number], tree.threshold[node], tree.missing_left[node]
            else:
                host, part = hosts[owner - 1], parts[hosts[owner - 1]]
                column = COLUMNS[host][part.column[number]]
                found = column, part.threshold[number], part.missing_left[number]
            asked = expected.threshold[node], expected.missing_left[node]
            assert found == (names[expected.split[node]], *asked)
        assert tree.weight == pytest.approx(expected.weight, abs=1e-12)


async def test_a_batch_that_ends_is_followed_by_another(monkeypatch: pytest.MonkeyPatch):
    """Four trees, one to a batch: memory for no more masks."""
    monkeypatch.setattr(
        hidden, "LatticeOwner", partial(hidden.LatticeOwner, mask_bytes=8 * 120 * 8)
    )
    params = SMALL.model_copy(update={"n_estimators": 4})
    tables = make_tables(BANK, SHOP)
    trained = await train(tables, params)
    keys = heard(trained.transcript, SHOP, hidden.NewKey)
    assert [said.key.batch for said in keys] == [0, 1, 2, 3]
    scores = (await predict(trained.outputs, tables, params)).outputs[BANK]
    assert scores == pytest.approx(centralised(params, tables), abs=1e-8)


async def test_a_host_that_has_nothing_to_split_is_no_harm():
    tables = make_tables(BANK, SHOP)
    rare = np.zeros_like(tables[SHOP].X)
    rare[0] = 1.0
    tables[SHOP] = replace(tables[SHOP], X=rare)
    parts = (await train(tables)).outputs
    alone = secureboost.alone(SMALL, tables[BANK])
    assert parts[BANK].loss == pytest.approx(alone.loss, abs=1e-12)
    assert len(parts[SHOP].column) == 0


def test_numbers_of_rows_need_not_be_added_up_where_a_child_needs_none():
    assert SMALL.vectors == 2 * 2 * 4
    assert COUNTED.vectors == 3 * 2 * 4
    with pytest.raises(LatticeNoise):
        SMALL.growth(10**9)


# --- nobody sees more than declared ---


async def test_the_host_sees_masks_and_what_was_picked_and_no_node():
    transcript = (await train(make_tables(BANK, SHOP))).transcript
    training = (hidden.Invite, hidden.Agreed, hidden.NewKey, hidden.Masked, hidden.Picked)
    declared = (GoOn, *training, Complete)
    assert {said.address.kind for said in view(transcript, SHOP)} == {m.kind for m in declared}


async def test_what_the_host_sees_has_one_shape_whatever_the_labels_and_the_tree():
    tables = make_tables(BANK, SHOP)
    assert tables[BANK].y is not None
    rng = np.random.default_rng(8)
    seen = []
    for y in (tables[BANK].y, 1.0 - tables[BANK].y, (rng.random(120) < 0.1).astype(float)):
        tables[BANK] = replace(tables[BANK], y=y)
        received = view((await train(tables)).transcript, SHOP)
        sizes = [len(s.body) for s in received if s.address.kind == hidden.Masked.kind]
        seen.append((sizes, [s.address.kind for s in received]))
    assert seen[0] == seen[1] == seen[2]


async def test_masked_rows_tell_nothing_of_labels_or_nodes():
    """The bytes of rows with label 1 and of others, and of masked zeros, are spread alike."""
    tables = make_tables(BANK, SHOP, n=2000)
    transcript = (await train(tables)).transcript
    label = np.asarray(tables[BANK].y, np.bool_)
    tops = []
    for said in heard(transcript, SHOP, hidden.Masked):
        words = sums.unpack(said.part.data, (2000, len(said.part.data) * 8 // 7 // 2000))
        assert words is not None
        tops.append(words)
    for words in tops:
        for rows in (label, ~label):
            share = words[rows].astype(np.float64) / ring.MODULUS
            # Uniform: mean 1/2 with standard deviation 1/sqrt(12 n); five of them.
            assert abs(share.mean() - 0.5) < 5 / np.sqrt(12 * share.size)


async def test_splits_stand_in_another_order_in_every_batch():
    transcripts = [(await train(make_tables(BANK, SHOP))) for _ in range(2)]
    first = [heard(t.transcript, BANK, hidden.Blinded)[0].part.data for t in transcripts]
    assert (first[0] != first[1]).mean() > 0.99


async def test_the_guest_sees_no_name_threshold_or_value_of_the_host():
    tables = make_tables(BANK, SHOP)
    trained = await train(tables)
    part = trained.outputs[SHOP]
    secrets = [name.encode() for name in COLUMNS[SHOP]]
    secrets += [np.float64(number).tobytes() for number in part.threshold]
    assert len(part.column)
    for said in view(trained.transcript, BANK):
        assert not any(secret in said.body for secret in secrets)


# --- the budget ---


async def test_exactly_the_announced_vectors_are_charged():
    budget = CountedBudget(SMALL.vectors)
    fit = FIT | {HOST: partial(secureboost.host, budget=budget, workers=1)}
    await train(make_tables(BANK, SHOP), SMALL, fit)
    assert budget.spent == SMALL.vectors


async def test_a_host_stops_at_its_budget():
    budget = CountedBudget(7)
    fit = FIT | {HOST: partial(secureboost.host, budget=budget, workers=1)}
    with pytest.raises(ProductBudgetExceeded):
        await train(make_tables(BANK, SHOP), SMALL, fit)
    assert budget.spent <= 7


# --- what is refused ---


def changed(role: Any, change: Any) -> dict[Any, Any]:
    """The programs, in which all that one role sends goes through ``change``."""

    class Changing(Channel):
        async def send(self, message: Message, to: Party | None = None) -> None:
            await super().send(change(message), to)

    async def program(ch: Channel, *inputs: Any) -> Any:
        return await FIT[role](Changing(ch.me, ch.parties, ch.transport), *inputs)

    return FIT | {role: program}


async def refused(
    role: Any, change: Any, error: type[Exception], text: str, params: Params = SMALL
) -> None:
    with pytest.raises(error, match=text):
        await train(make_tables(BANK, SHOP), params, changed(role, change))


async def test_a_host_whose_rows_contradict_its_sums_is_found():
    def lie(message: Message) -> Message:
        return hidden.Sides(~message.left) if isinstance(message, hidden.Sides) else message

    await refused(HOST, lie, ProtocolViolation, "are not those of the sums")


async def test_a_host_that_sends_sides_of_other_splits_is_found():
    def fewer(message: Message) -> Message:
        return hidden.Sides(message.left[:, :-1]) if isinstance(message, hidden.Sides) else message

    await refused(HOST, fewer, ProtocolViolation, "sides of other splits")


@pytest.mark.parametrize(
    "picked",
    [
        hidden.Picked(np.array([1]), np.array([10_000])),
        hidden.Picked(np.array([1]), np.array([-1])),
        hidden.Picked(np.array([2]), np.array([0])),
        hidden.Picked(np.array([0]), np.array([], np.int64)),
        hidden.Picked(np.array([1] * 5), np.array([0] * 5)),
    ],
)
async def test_a_guest_picks_no_split_that_is_not_there_and_not_more_than_nodes(picked: Any):
    def pick(message: Message) -> Message:
        return picked if isinstance(message, hidden.Picked) else message

    await refused(GUEST, pick, ProtocolViolation, "splits were picked that are not there")


async def test_parties_with_other_rows_do_not_begin():
    tables = make_tables(BANK, SHOP)
    ids = ("someone else", *tables[SHOP].ids[1:])
    tables[SHOP] = replace(tables[SHOP], ids=ids)
    with pytest.raises(ProtocolViolation, match="other rows, parameters or parties"):
        await train(tables)


async def test_a_guest_cannot_choose_the_seed_alone():
    def alone(message: Message) -> Message:
        if isinstance(message, hidden.Agreed):
            return hidden.Agreed((message.nonces[0], b"x" * 32), message.digest)
        return message

    await refused(GUEST, alone, ProtocolViolation, "other rows, parameters or parties")


async def test_a_host_refuses_a_vector_under_old_masks():
    first: list[Message] = []

    def replay(message: Message) -> Message:
        if not isinstance(message, hidden.Masked):
            return message
        part = message.part
        first.append(message)
        if len(first) == 1:
            return message
        return hidden.Masked(replace(part, first=0))

    await refused(GUEST, replay, MaskReuse, "under masks that were used before")


async def test_a_host_refuses_a_key_for_less_than_a_tree():
    def short(message: Message) -> Message:
        if isinstance(message, hidden.NewKey):
            return hidden.NewKey(replace(message.key, vectors=3))
        return message

    await refused(GUEST, short, ProtocolViolation, "a key for 3 vectors; a tree takes 8")


# --- keys that are opened ---

CHECKED = SMALL.model_copy(update={"key_checks": 32})


async def test_two_hosts_draw_together_which_key_is_kept():
    tables = make_tables(BANK, SHOP, CLINIC)
    trained = await train(tables, CHECKED)
    [key] = heard(trained.transcript, SHOP, hidden.NewKey)
    [opened] = heard(trained.transcript, CLINIC, hidden.Opened)
    assert key.key.candidate == opening.drawn(opened.choices, 32)
    assert len(opened.seeds) == 31
    scores = (await predict(trained.outputs, tables, CHECKED)).outputs[BANK]
    assert scores == pytest.approx(centralised(CHECKED, tables), abs=1e-8)


async def test_keys_of_no_seed_are_found_when_they_are_opened():
    """All candidates are something else; the one that is kept is not looked at."""

    def malformed(message: Message) -> Message:
        if isinstance(message, hidden.Candidates):
            return replace(message, commitments=tuple(c[::-1] for c in message.commitments))
        return message

    text = "not the one of the seed"
    await refused(GUEST, malformed, InvalidKey, text, CHECKED)


async def test_the_key_that_is_used_is_the_one_that_was_committed_to():
    def another(message: Message) -> Message:
        if isinstance(message, hidden.NewKey):
            return hidden.NewKey(replace(message.key, public=message.key.public[::-1].copy()))
        return message

    await refused(GUEST, another, InvalidKey, "not the one that was committed to", CHECKED)


async def test_the_guest_cannot_keep_another_candidate_than_was_drawn():
    def other(message: Message) -> Message:
        if isinstance(message, hidden.NewKey):
            candidate = (message.key.candidate + 1) % 32
            return hidden.NewKey(replace(message.key, candidate=candidate))
        return message

    await refused(GUEST, other, ProtocolViolation, "not the one that was kept", CHECKED)


async def test_the_draw_cannot_be_changed_after_it_was_sealed():
    def later(message: Message) -> Message:
        if isinstance(message, hidden.Choice):
            return hidden.Choice(bytes(32))
        return message

    await refused(HOST, later, InvalidKey, "not the one that was sealed", CHECKED)


async def test_a_guest_does_not_check_fewer_keys_than_agreed():
    def fewer(message: Message) -> Message:
        if isinstance(message, hidden.Candidates):
            return replace(message, commitments=message.commitments[:2])
        return message

    await refused(GUEST, fewer, ProtocolViolation, "other numbers of keys", CHECKED)
