"""A training that is interrupted anywhere ends with the same model, byte for byte."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from ml.crypto.paillier import PrivateKey
from ml.errors import PartnerSilent, ProtocolViolation
from ml.federation import GUEST, HOST, Address, Channel, Party, Transcript, run_in_process
from ml.table import Table
from ml.testing import heard
from ml.vertical import checkpoints, hidden, secureboost
from ml.vertical.checkpoints import MemoryKeeper
from ml.vertical.secureboost import ALGORITHM, Params
from tests.ml.test_secureboost import BANK, CLINIC, SHOP, make_tables

ROWS = 40
PAILLIER = Params(
    n_estimators=2,
    max_depth=2,
    max_bins=4,
    min_samples_leaf=3,
    min_bin_rows=3,
    min_child_weight=0.1,
)
LATTICE = PAILLIER.model_copy(update={"scheme": "lattice"})
DRAWN = Params(
    n_estimators=5,
    max_depth=2,
    max_bins=4,
    min_samples_leaf=2,
    min_bin_rows=3,
    min_child_weight=0.1,
    scheme="lattice",
    subsample=0.8,
    colsample_bytree=0.6,
    validation_fraction=0.3,
    early_stopping_rounds=1,
)


class Killed(Exception):
    """What happens to a party whose process is killed: nothing more is said or kept."""


@dataclass
class Life:
    """Counts what parties send and receive; one of them dies at event ``until``."""

    until: int = 0
    events: int = 0

    def event(self) -> None:
        self.events += 1
        if self.events == self.until:
            raise Killed


@dataclass
class Mortal:
    """A party's transport."""

    inner: Any
    life: Life

    async def put(self, address: Address, body: bytes) -> None:
        self.life.event()
        await self.inner.put(address, body)

    async def take(self, address: Address, within: float) -> bytes:
        body: bytes = await self.inner.take(address, within)
        self.life.event()
        return body


@dataclass
class Training:
    """Parties, what they keep, and the models of those that are done."""

    fit: dict[Any, Any]
    tables: dict[Party, Table]
    params: Params
    kept: dict[Party, MemoryKeeper] = field(default_factory=dict)
    models: dict[Party, bytes] = field(default_factory=dict)
    spent: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.kept = {party: MemoryKeeper() for party in self.tables}

    async def run(self, life: Life) -> Transcript:
        """Those who are not done talk once more; raises `Killed` if one of them dies."""

        def living(role: Any) -> Callable[..., Any]:
            async def program(ch: Channel, *inputs: Any) -> Any:
                mine = replace(ch, transport=Mortal(ch.transport, life))
                options = {"budget": self.spent.append} if role == HOST else {}
                part = await self.fit[role](mine, *inputs, keeper=self.kept[ch.me], **options)
                self.models[ch.me] = ALGORITHM.dump_model(part)

            return program

        left = [party for party in self.tables if party not in self.models]
        inputs = {party: (self.params, self.tables[party]) for party in left}
        programs = {role: living(role) for role in (GUEST, HOST)}
        outcome = await run_in_process(programs, inputs, absent=tuple(self.models))
        return outcome.transcript


@pytest.fixture(scope="module")
def fit(paillier_key: PrivateKey) -> dict[Any, Any]:
    return {
        GUEST: partial(secureboost.guest, key=paillier_key, workers=0),
        HOST: partial(secureboost.host, workers=0),
    }


async def killed_at(training: Training, event: int) -> None:
    with pytest.raises(Killed):
        await training.run(Life(until=event))


@pytest.mark.parametrize(
    ("params", "parties", "step"),
    [
        (PAILLIER, (BANK, SHOP), 5),
        (LATTICE, (BANK, SHOP), 1),
        (LATTICE, (BANK, SHOP, CLINIC), 7),
        (DRAWN, (BANK, SHOP), 7),
    ],
    ids=["paillier", "lattice", "two hosts", "drawn rows and columns, stopped early"],
)
async def test_a_party_that_dies_at_any_message_changes_no_byte_of_the_model(
    fit: Any, params: Params, parties: Any, step: int
):
    tables = make_tables(*parties, n=ROWS)
    whole, life = Training(fit, tables, params), Life()
    await whole.run(life)
    assert life.events > 40
    resumed = set()
    for event in range(1, life.events + 1, step):
        training = Training(fit, tables, params)
        await killed_at(training, event)
        resumed.add(min(len(keeper.bodies) for keeper in training.kept.values()))
        if len(training.models) < len(parties):
            await training.run(Life())
        assert training.models == whole.models, f"killed at event {event}"
    assert resumed >= {0, 1}


async def test_after_an_interruption_only_the_trees_that_miss_are_grown_and_charged(fit: Any):
    tables = make_tables(BANK, SHOP, n=ROWS)
    training = Training(fit, tables, PAILLIER)
    whole, life = Training(fit, tables, PAILLIER), Life()
    await whole.run(life)
    event = 1
    while min((len(k.bodies) for k in training.kept.values()), default=0) < 1:
        training = Training(fit, tables, PAILLIER)
        event += 1
        await killed_at(training, event)
    first = sum(training.spent)
    transcript = await training.run(Life())
    told = heard(transcript, SHOP, checkpoints.GoOn)
    assert [(said.trees, said.more) for said in told] == [(1, True)]
    assert 0 < sum(training.spent) - first <= PAILLIER.vectors // 2


async def test_what_follows_an_interruption_has_fresh_keys_and_masks(fit: Any):
    """Of the same tree, grown twice, no ciphertext or mask is the same."""
    tables = make_tables(BANK, SHOP, n=ROWS)
    seen = []
    for _ in range(2):
        seen.append(await Training(fit, tables, LATTICE).run(Life()))
    for kind in (hidden.NewKey, hidden.Masked, hidden.Invite):
        bodies = [
            {said.body for said in transcript if said.address.kind == kind.kind}
            for transcript in seen
        ]
        assert bodies[0]
        assert not bodies[0] & bodies[1]
    kept = Training(fit, tables, LATTICE)
    await kept.run(Life())
    secret = [said.body for said in seen[0] if said.address.kind == hidden.NewKey.kind]
    assert len(secret) == 1
    total = sum(len(body) for keeper in kept.kept.values() for body in keeper.bodies.values())
    assert total < 10_000  # a key alone has more


async def test_what_was_kept_for_other_rows_or_parameters_counts_for_nothing(fit: Any):
    tables = make_tables(BANK, SHOP, n=ROWS)
    done = Training(fit, tables, PAILLIER)
    await done.run(Life())
    others = make_tables(BANK, SHOP, n=ROWS, seed=3)
    slower = PAILLIER.model_copy(update={"learning_rate": 0.1})
    for table, params in ((others, PAILLIER), (tables, slower)):
        again, fresh = Training(fit, table, params), Training(fit, table, params)
        again.kept = {party: MemoryKeeper(dict(k.bodies)) for party, k in done.kept.items()}
        told = heard(await again.run(Life()), BANK, checkpoints.Kept)
        assert [said.trees for said in told] == [0]
        await fresh.run(Life())
        assert again.models == fresh.models


@pytest.mark.parametrize("params", [PAILLIER, LATTICE], ids=["paillier", "lattice"])
async def test_a_training_that_ended_is_followed_by_a_longer_one(fit: Any, params: Params):
    """Warm start: the trees of the first are there, and the model is that of one training."""
    tables = make_tables(BANK, SHOP, n=ROWS)
    shorter = Training(fit, tables, params.model_copy(update={"n_estimators": 1}))
    await shorter.run(Life())
    longer, whole = Training(fit, tables, params), Training(fit, tables, params)
    longer.kept = shorter.kept
    told = heard(await longer.run(Life()), SHOP, checkpoints.GoOn)
    assert [(said.trees, said.more) for said in told] == [(1, True)]
    await whole.run(Life())
    assert longer.models == whole.models
    again = Training(fit, tables, params.model_copy(update={"n_estimators": 1}))
    again.kept = longer.kept
    await again.run(Life())
    assert again.models == shorter.models


async def test_who_has_all_trees_needs_nobody(fit: Any):
    tables = make_tables(BANK, SHOP, n=ROWS)
    done = Training(fit, tables, PAILLIER)
    await done.run(Life())
    for party in tables:
        late = Training(fit, tables, PAILLIER, models={p: b"" for p in tables if p != party})
        late.kept = done.kept
        await late.run(Life())
        assert late.models[party] == done.models[party]
    early = Training(fit, tables, PAILLIER, models={BANK: b""})
    early.kept[SHOP] = MemoryKeeper({0: done.kept[SHOP].bodies[0]})
    with pytest.raises(PartnerSilent):
        await early.run(Life())


@pytest.mark.parametrize("trees", [-1, 2, 10**9])
async def test_a_host_does_not_go_on_after_trees_it_does_not_have(fit: Any, trees: int):
    async def lying(ch: Channel, *inputs: Any, **options: Any) -> None:
        await ch.receive(checkpoints.Kept)
        await ch.send(checkpoints.GoOn(trees, True))
        await ch.receive(secureboost.Offer)

    training = Training(fit | {GUEST: lying}, make_tables(BANK, SHOP, n=ROWS), PAILLIER)
    with pytest.raises(ProtocolViolation, match="we have 0"):
        await training.run(Life())


async def test_the_leaf_of_every_row_is_kept_as_it_was_grown(fit: Any):
    tables = make_tables(BANK, SHOP, n=ROWS)
    done = Training(fit, tables, PAILLIER)
    await done.run(Life())
    book = checkpoints.Book(done.kept[BANK], PAILLIER, BANK, tables[BANK])
    for one in book.guest_trees():
        assert set(np.unique(one.leaf)) <= set(np.flatnonzero(one.tree.owner == -1))
