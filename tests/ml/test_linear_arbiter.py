"""Why the arbiter must not work with a party: both together read what neither can alone."""

import numpy as np
import pytest

from ml.crypto.beaver import Computer
from ml.crypto.correlations import Hand
from ml.federation import ARBITER, GUEST, HOST, Party, run_in_process
from ml.protocols import shares
from ml.testing import heard
from ml.vertical.linear import shared
from ml.vertical.linear.models import ALGORITHM, Params
from tests.ml.linear_data import NOTHING, problem, table

BANK, SHOP, KEEPER = Party(GUEST, "bank"), Party(HOST, "shop"), Party(ARBITER, "keeper")


async def test_the_arbiter_and_the_guest_together_read_a_hosts_columns(
    monkeypatch: pytest.MonkeyPatch,
):
    X, y = problem("logistic", 40)
    tables = {BANK: table(X[:, :2], y), SHOP: table(X[:, 2:], first=2), KEEPER: NOTHING}
    params, matrix, at_bank = Params(max_iter=1, alpha=0.0), Computer.matrix, []

    async def spied(self, words, shape, owner):
        found = await matrix(self, words, shape, owner)
        if (self.index, owner) == (0, 1):
            at_bank.append(found.words)
        return found

    monkeypatch.setattr(Computer, "matrix", spied)
    inputs = {party: (params, rows) for party, rows in tables.items()}
    _, transcript = await run_in_process(ALGORITHM.fit, inputs)
    columns = params.design(tables[SHOP], 1.0, intercept=False).X
    [masked] = at_bank
    # What the guest has by itself is as good as random, and so is what the arbiter sent.
    alone = shared.COLUMN.decode(masked)
    assert abs(np.corrcoef(alone.ravel(), columns.ravel())[0, 1]) < 0.3
    # The mask follows from the seed that the arbiter gave the shop.
    [said] = heard(transcript, SHOP, shares.Seed)
    mask = Hand(1, 2, said.seed)._stream.words(*columns.shape)
    read = shared.COLUMN.decode(masked + mask)
    assert np.max(np.abs(read - columns)) <= 2.0**-20
