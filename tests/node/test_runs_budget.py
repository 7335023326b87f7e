"""All runs of one training are held to what was approved of it, not each for itself."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ml.crypto.errors import ProductBudgetExceeded
from ml.vertical.secureboost import Params
from node.budget import RunsBudget
from node.steps import _over_runs


def test_all_runs_together_answer_what_was_approved_and_what_interruptions_cost(
    tmp_path: Path,
) -> None:
    charged: list[int] = []

    def run(number: int) -> RunsBudget:
        return RunsBudget(tmp_path / "step" / "products", 30, 10, number, charged.append)

    run(0).charge(30)
    with pytest.raises(ProductBudgetExceeded):
        run(0).charge(1)
    run(1).charge(6)  # two trees of three vectors
    with pytest.raises(ProductBudgetExceeded) as refused:
        run(1).charge(1)
    assert (refused.value.left, refused.value.limit) == (0, 36)
    assert charged == [30, 6]


def test_a_training_counts_what_its_earlier_runs_answered(tmp_path: Path) -> None:
    params = Params(n_estimators=4)
    agreed = SimpleNamespace(kind="train", algorithm="secureboost", params={"n_estimators": 4})
    step: Any = SimpleNamespace(specification=agreed, params=params, folder=lambda: tmp_path)

    def charge(run: int, vectors: int) -> None:
        (tmp_path / "run").write_text(str(run))
        counted = _over_runs(step, None)
        assert counted is not None
        counted(vectors)

    charge(0, params.vectors)
    with pytest.raises(ProductBudgetExceeded):
        charge(1, params.vectors)  # a guest that goes on after no tree at all
    charge(1, params.vectors // 2)
