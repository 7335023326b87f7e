"""Scores by a model at several parties: the right sums, and nothing but the sums."""

from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from ml.errors import ProtocolViolation
from ml.federation import GUEST, HOST, Channel, Message, Outcome, Party, run_in_process
from ml.local import trees
from ml.local.binning import Threshold
from ml.local.trees import Tree
from ml.testing import heard, view
from ml.vertical import forest, scoring
from ml.vertical.forest import GuestModel, HostModel

BANK, SHOP, CLINIC = Party(GUEST, "bank"), Party(HOST, "shop"), Party(HOST, "clinic")
DEPTH = 3


@dataclass(frozen=True)
class World:
    """A model that nobody trained, and rows."""

    parts: dict[Party, Any]
    X: dict[Party, np.ndarray]

    @property
    def hosts(self) -> tuple[Party, ...]:
        return tuple(party for party in self.X if party != BANK)


def guest_part(hosts: tuple[Party, ...], grown: tuple[Tree, ...]) -> GuestModel:
    """A model of which only trees, columns and hosts matter."""
    known: dict[str, Any] = {
        "columns": ("x",),
        "hosts": tuple(host.site for host in hosts),
        "depth": DEPTH,
        "start": 0.25,
        "trees": grown,
    }
    return GuestModel(**({f.name: np.empty(0) for f in fields(GuestModel)} | known))


def make_world(hosts: tuple[Party, ...], n: int = 90, count: int = 6, outputs: int = 1) -> World:
    rng = np.random.default_rng(len(hosts) + outputs)
    grown, splits = [], {host: list[tuple[int, float, bool]]() for host in hosts}
    for _ in range(count):
        tree = Tree.empty(DEPTH)
        for node in range(2**DEPTH - 1):
            owner = int(rng.integers(0, len(hosts) + 1))
            threshold = Threshold(0, float(rng.normal()), bool(rng.random() < 0.5))
            if owner == trees.OWN:
                tree.split_own(node, threshold)
            else:
                known = splits[hosts[owner - 1]]
                tree.split_by(node, owner, len(known))
                known.append((0, threshold.value, threshold.missing_left))
        weights = rng.normal(size=(len(tree.owner), outputs))
        for node in range(2**DEPTH - 1, len(tree.owner)):
            tree.owner[node] = trees.LEAF
        grown.append(replace(tree, weight=weights))
    parts: dict[Party, Any] = {BANK: guest_part(hosts, tuple(grown))}
    for host, known in splits.items():
        column, value, missing = zip(*known, strict=True)
        parts[host] = HostModel(
            *(("x",), DEPTH, np.array(column), np.array(value), np.array(missing, np.bool_)),
            np.zeros(len(column), np.bool_),
        )
    X = {party: rng.normal(size=(n, 1)) for party in (BANK, *hosts)}
    for columns in X.values():
        columns[rng.random(columns.shape) < 0.1] = np.nan
    return World(parts, X)


async def score_guest(ch: Channel, model: GuestModel, X: np.ndarray) -> np.ndarray:
    paths, outputs = forest.joint_paths(model), forest.outputs_of(model)
    digits = scoring.fraction_bits(forest.largest_scores(model, paths), len(model.trees))
    own = np.empty((len(X), outputs))

    def gains(part: slice) -> np.ndarray:
        own[part], joint = forest.scores_by_path(model, paths, X[part])
        return np.rint(np.ldexp(joint, digits)).astype(np.int64)

    hosts = tuple(Party(HOST, site) for site in model.hosts)
    sums = await scoring.guest(ch, paths, hosts, len(X), outputs, gains)
    return own + np.ldexp(sums.astype(np.float64), -digits)


async def run(world: World, programs: Any = None) -> Outcome:
    outputs = forest.outputs_of(world.parts[BANK])
    host = partial(scoring.host, outputs=outputs)
    inputs = {party: (world.parts[party], X) for party, X in world.X.items()}
    return await run_in_process({GUEST: score_guest, HOST: host} | (programs or {}), inputs)


def expected(world: World) -> np.ndarray:
    """Row by row, from the root of every tree to its leaf."""
    model = world.parts[BANK]
    scores = np.full((len(world.X[BANK]), forest.outputs_of(model)), model.start)
    for row in range(len(scores)):
        for tree in model.trees:
            node = 0
            while tree.owner[node] != trees.LEAF:
                owner, number = int(tree.owner[node]), int(tree.split[node])
                if owner == trees.OWN:
                    left = tree.own_goes_left(node, world.X[BANK][[row]])[0]
                else:
                    host = world.hosts[owner - 1]
                    left = world.parts[host].left(number, world.X[host][[row]])[0]
                node = 2 * node + (1 if left else 2)
            scores[row] += tree.weight[node]
    return scores


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("hosts", [(SHOP,), (SHOP, CLINIC), (SHOP, CLINIC, Party(HOST, "farm"))])
async def test_the_sums_are_those_of_every_row_walked_through_every_tree(
    hosts: Any, outputs: int, monkeypatch: pytest.MonkeyPatch
):
    """In parts of a few rows each, the last one shorter."""
    monkeypatch.setattr(scoring, "PRODUCTS_PER_PART", 1000)
    world = make_world(hosts, outputs=outputs)
    scores = (await run(world)).outputs[BANK]
    assert scores == pytest.approx(expected(world), abs=1e-7)


async def test_a_host_whose_splits_were_never_chosen_is_no_harm():
    world = make_world((SHOP,))
    none = np.empty(0, np.int64)
    world.parts[CLINIC] = HostModel(
        *(("x",), DEPTH, none, np.empty(0)), np.empty(0, np.bool_), np.empty(0, np.bool_)
    )
    world.X[CLINIC] = world.X[SHOP]
    world.parts[BANK] = replace(world.parts[BANK], hosts=("shop", "clinic"))
    assert (await run(world)).outputs[BANK] == pytest.approx(expected(world), abs=1e-7)


# --- nobody sees more than declared ---


async def test_the_guest_receives_no_bit_of_a_branch():
    """Of rows that go all left, all right, or as they like it has the same kinds and lengths, and
    half of all bits are set: nothing tells the branches but the sums."""
    world = make_world((SHOP,), n=2000)
    seen = []
    for X in (world.X[SHOP], np.full((2000, 1), -9.0), np.full((2000, 1), 9.0)):
        transcript = (await run(World(world.parts, world.X | {SHOP: X}))).transcript
        received = view(transcript, BANK)
        kinds = {said.address.kind for said in received}
        assert kinds == {m.kind for m in (scoring.KeyOffer, scoring.Columns, scoring.Totals)}
        for columns in heard(transcript, BANK, scoring.Columns):
            drawn = np.unpackbits(columns.words.view(np.uint8))
            assert abs(drawn.mean() - 0.5) < 6 * 0.5 / np.sqrt(drawn.size)
        seen.append([(said.address.kind, len(said.body)) for said in received])
    assert seen[0] == seen[1] == seen[2]


async def test_what_a_host_sends_has_nothing_to_do_with_its_bits():
    """No column of what is sent is correlated with the branches of the rows, nor are two runs."""
    world = make_world((SHOP,), n=4096)
    paths = forest.joint_paths(world.parts[BANK])
    conditions = [[(number, left) for _, number, left in path.conditions] for path in paths]
    bits = scoring._bits(world.parts[SHOP], conditions, world.X[SHOP]).reshape(-1)
    runs = []
    for _ in range(2):
        [said] = heard((await run(world)).transcript, BANK, scoring.Columns)
        sent = np.unpackbits(said.words.view(np.uint8), axis=1, bitorder="little")
        runs.append(sent[:, : len(bits)].astype(np.bool_))
    limit = 6 * 0.5 / np.sqrt(len(bits))
    for sent in runs:
        assert abs((sent == bits).mean(axis=1) - 0.5).max() < limit
    assert abs((runs[0] == runs[1]).mean(axis=1) - 0.5).max() < limit


async def test_of_two_hosts_the_guest_learns_the_sum_and_not_the_parts():
    """The same rows twice: the totals of one host are other numbers, the scores are not."""
    world = make_world((SHOP, CLINIC))
    first, second = await run(world), await run(world)
    assert (first.outputs[BANK] == second.outputs[BANK]).all()
    for kind in (scoring.Totals, scoring.Columns):
        once, again = (heard(outcome.transcript, BANK, kind) for outcome in (first, second))
        field = "numbers" if kind is scoring.Totals else "words"
        for a, b in zip(once, again, strict=True):
            assert (getattr(a, field) != getattr(b, field)).mean() > 0.99


async def test_hosts_see_paths_and_masked_numbers_and_no_row_or_leaf():
    world = make_world((SHOP, CLINIC), n=1500)
    transcript = (await run(world)).transcript
    seen = {said.address.kind for said in view(transcript, CLINIC)}
    declared = (scoring.Paths, scoring.MaskSeed, scoring.KeyChoices, scoring.Differences)
    assert seen == {m.kind for m in declared}
    for said in heard(transcript, CLINIC, scoring.Differences):
        # Gains are mostly zeros; what arrives is uniform.
        drawn = np.unpackbits(np.ascontiguousarray(said.numbers).view(np.uint8))
        assert abs(drawn.mean() - 0.5) < 6 * 0.5 / np.sqrt(drawn.size)


# --- what is refused ---


def paths(**changes: Any) -> scoring.Paths:
    fields: dict[str, Any] = {
        "splits": np.array([0, 1]),
        "left": np.array([True, False]),
        "lengths": np.array([1, 1]),
        "hosts": np.array([1, 1]),
        "rows": 50,
    }
    return scoring.Paths(**(fields | changes))


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"splits": np.array([0, 10_000])}, "a split that is not there"),
        ({"splits": np.array([0, -1])}, "a split that is not there"),
        ({"lengths": np.array([1, 2])}, "other lengths"),
        ({"lengths": np.array([2, 0])}, "at most"),
        ({"hosts": np.array([1, 2])}, "for other hosts"),
        ({"rows": 10**9}, "parts of 1000000000 rows"),
        ({"rows": 0}, "parts of 0 rows"),
    ],
)
async def test_a_host_refuses_paths_that_no_model_has(changed: Any, text: str):
    async def curious(ch: Channel, *inputs: Any) -> None:
        await ch.send(paths(**changed))
        await ch.receive(scoring.Totals)

    with pytest.raises(ProtocolViolation, match=text):
        await run(make_world((SHOP,)), {GUEST: curious})


@pytest.mark.parametrize(
    ("role", "kind", "change", "text"),
    [
        (HOST, scoring.Columns, lambda m: scoring.Columns(m.words[:, :4]), "of shape"),
        (HOST, scoring.Totals, lambda m: scoring.Totals(m.numbers[:-1]), "of shape"),
        (GUEST, scoring.Differences, lambda m: scoring.Differences(m.numbers[:-1]), "of shape"),
        (GUEST, scoring.KeyChoices, lambda m: scoring.KeyChoices(m.points[:5]), "chose 5 keys"),
        (HOST, scoring.KeyOffer, lambda m: scoring.KeyOffer(0 * m.points), "no point"),
        (GUEST, scoring.KeyChoices, lambda m: scoring.KeyChoices(0 * m.points), "no point"),
    ],
)
async def test_messages_of_another_size_are_refused(role: Any, kind: Any, change: Any, text: str):
    class Changing(Channel):
        async def send(self, message: Message, to: Party | None = None) -> None:
            await super().send(change(message) if type(message) is kind else message, to)

    async def program(ch: Channel, *inputs: Any) -> Any:
        own = {GUEST: score_guest, HOST: partial(scoring.host, outputs=1)}[role]
        return await own(Changing(ch.me, ch.parties, ch.transport), *inputs)

    with pytest.raises(ProtocolViolation, match=text):
        await run(make_world((SHOP,)), {role: program})


def test_no_sum_leaves_the_ring():
    for largest, count in ((0.001, 1), (5.0, 20), (3e6, 1000)):
        digits = scoring.fraction_bits(largest, count)
        assert 2**30 - 2 * count < np.ldexp(largest, digits) + count / 2 < 2**31
