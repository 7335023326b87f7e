"""SecureBoost of a guest and one or more hosts in one process, against the plain trees.

The plain computation is `ml.local.trees.fit_trees` on all columns at once, on the same rows in the
same run; both must come to the same scores.  XGBoost's histogram trees stand beside it where that
library is installed.

Seconds are CPU seconds of all parties together, so that they do not depend on what else runs.  A
tree costs its own seconds and its share of the batch of masks that it belongs to; the set-up
(binning, and adding up the polynomials of the hosts' rows once) stands apart.  Bytes are what
crosses the channels.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter, process_time
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ml.crypto.lattice.owner import MASK_BYTES, LatticeOwner
from ml.crypto.lattice.ring import DEGREE
from ml.crypto.threads import Threads
from ml.federation import (
    GUEST,
    HOST,
    Address,
    Channel,
    InMemoryTransport,
    Party,
    run_in_process,
)
from ml.local import metrics
from ml.local.sampling import Labels
from ml.local.trees import Growth, fit_trees
from ml.table import ColumnType, Schema, Table, binary_labels
from ml.vertical import hidden, secureboost
from ml.vertical.secureboost import Params

ALLOWED_DIFFERENCE = 1e-6  # of a probability: scores are 32 bits in prediction
NUMBER: ColumnType = "number"


def main(argv: list[str]) -> int:
    """Run it, print lines to read and then the JSON object."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks secureboost", description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--features", type=int, help="of all parties, half at the host")
    parser.add_argument("--guest-columns", type=int, default=13)
    parser.add_argument("--host-columns", type=int, default=10, help="of each host")
    parser.add_argument("--hosts", type=int, default=1)
    parser.add_argument("--trees", type=int, default=3)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--bins", type=int, default=32)
    parser.add_argument("--scheme", choices=["paillier", "lattice"], default="paillier")
    parser.add_argument("--key-bits", type=int, default=2048)
    parser.add_argument(
        "--min-samples-leaf", type=int, default=1, help="as XGBoost, which has none"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes or threads of each party")
    options = parser.parse_args(argv)
    if options.features is not None:
        options.host_columns = options.features // 2
        options.guest_columns = options.features - options.host_columns
    params = Params.model_validate(
        {
            "n_estimators": options.trees,
            "max_depth": options.depth,
            "max_bins": options.bins,
            "min_samples_leaf": options.min_samples_leaf,
            "scheme": options.scheme,
            "key_bits": options.key_bits,
        }
    )
    tables = _tables(options.rows, options.guest_columns, options.host_columns, options.hosts)
    print(
        f"{options.rows} rows, {options.guest_columns} + {options.hosts} x {options.host_columns}"
    )
    _warm(params)

    joined = _joined(tables)
    growth, labels = params.growth(options.rows), binary_labels(joined)
    own = params.columns(joined)
    start = process_time()
    _, _, plain_scores = fit_trees(own, Labels.of(labels), growth)
    plain_seconds = (process_time() - start) / options.trees
    plain = growth.objective.predict(plain_scores[-1])
    print(f"in the clear: {plain_seconds:.4f} s a tree")
    xgboost_seconds = _xgboost(joined, params)
    del own

    clock = _Clock()
    start = perf_counter()
    outputs = asyncio.run(_train(options.workers, params, tables, clock))
    seconds = perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"federated: the same trees in {seconds:.1f} s by the clock", flush=True)

    start = perf_counter()
    predicted, _ = asyncio.run(
        run_in_process(
            secureboost.ALGORITHM.predict,
            {party: (params, outputs[party], table) for party, table in tables.items()},
        )
    )
    predict_seconds = perf_counter() - start
    scores: NDArray[np.float64] = predicted[next(iter(tables))]
    if (worst := float(np.abs(scores - plain).max())) > ALLOWED_DIFFERENCE:
        print(f"scores differ by {worst:g} from those in the clear", file=sys.stderr)
        return 1
    steady = float(np.median(clock.trees[1:] or clock.trees))
    together = _trees_per_batch(options.rows, growth) if params.scheme == "lattice" else 1
    share = clock.spent("_draw_masks", "_blind", ".learn") / together
    result = {
        "benchmark": "secureboost",
        "rows": options.rows,
        "guest_columns": options.guest_columns,
        "host_columns": options.host_columns,
        "hosts": options.hosts,
        "trees": options.trees,
        "depth": options.depth,
        "bins": options.bins,
        "scheme": params.scheme,
        "key_bits": params.key_bits if params.scheme == "paillier" else None,
        "seconds_per_tree": round(steady + share, 4),
        "online_seconds_per_tree": round(steady, 4),
        "first_tree_seconds": round(clock.trees[0], 4),
        "batch_seconds": round(clock.spent("_draw_masks", "_blind", ".learn"), 2),
        "trees_per_batch": together,
        "setup_seconds": round(clock.spent(".set_up") + clock.binning, 2),
        "plain_seconds_per_tree": round(plain_seconds, 4),
        "xgboost_seconds_per_tree": xgboost_seconds and round(xgboost_seconds, 4),
        "ratio": round((steady + share) / plain_seconds, 1),
        "auc": round(float(metrics.auc(labels, scores)), 4),
        "plain_auc": round(float(metrics.auc(labels, plain)), 4),
        "bytes_per_tree": round(clock.bytes_per_tree(options.trees)),
        "batch_bytes": clock.bytes_of_batch,
        "peak_rss_mb": round(peak),
        "wall_seconds": round(seconds, 2),
        "predict_seconds": round(predict_seconds, 3),
        "workers": options.workers,
        "cores": os.cpu_count(),
    }
    print(json.dumps(result))
    return 0


@dataclass
class _Clock(InMemoryTransport):
    """What is spent on what: CPU seconds of all parties, and bytes; keeps no bodies."""

    running: set[Party] = field(default_factory=set)
    trees: list[float] = field(default_factory=list)
    binning: float = 0.0
    by_function: dict[str, float] = field(default_factory=dict)
    by_kind: dict[str, int] = field(default_factory=dict)
    _begun: float | None = None

    async def put(self, address: Address, body: bytes) -> None:
        self.by_kind[address.kind] = self.by_kind.get(address.kind, 0) + len(body)
        await super().put(address, body)
        self.transcript.clear()

    def progress(self, done: int, total: int, text: str) -> None:
        """The guest's: "tree 3: ..." is where a tree begins, its loss where it ends."""
        if text.startswith("tree") and self._begun is None:
            self._begun = process_time()
        elif text.startswith("loss") and self._begun is not None:
            self.trees.append(process_time() - self._begun)
            self._begun = None

    def spent(self, *names: str) -> float:
        """Seconds in functions whose names have one of these in them."""
        return sum(s for name, s in self.by_function.items() if any(n in name for n in names))

    @property
    def bytes_of_batch(self) -> int:
        """What keys and blinded polynomials of all batches take."""
        once = (hidden.NewKey.kind, hidden.Blinded.kind)
        return sum(size for kind, size in self.by_kind.items() if kind in once)

    def bytes_per_tree(self, trees: int) -> float:
        """All the rest."""
        return (sum(self.by_kind.values()) - self.bytes_of_batch) / trees


class _FullBatches(LatticeOwner):
    """Draws masks for as many trees as one key serves, as a long job does, however few follow."""

    def batch_size(self, unit: int, wanted: int) -> int:
        return super().batch_size(unit, DEGREE)


class _TimedThreads(Threads):
    """One task list at a time, so that the process's CPU seconds are those of the function."""

    clock: ClassVar[_Clock]
    lock: ClassVar[asyncio.Lock]

    async def map(self, function: Callable[[Any], Any], tasks: Sequence[Any]) -> list[Any]:
        async with self.lock:
            start = process_time()
            found = await super().map(function, tasks)
            known, name = self.clock.by_function, function.__qualname__
            known[name] = known.get(name, 0.0) + process_time() - start
        return found


async def _train(
    workers: int, params: Params, tables: Mapping[Party, Table], clock: _Clock
) -> dict[Party, Any]:
    """Every party's part of the model."""
    _TimedThreads.clock, _TimedThreads.lock = clock, asyncio.Lock()
    vars(secureboost)["Threads"], vars(hidden)["LatticeOwner"] = _TimedThreads, _FullBatches
    start = process_time()
    for table in tables.values():
        params.columns(table)
    clock.binning = process_time() - start
    clock.running = set(tables)

    async def play(me: Party) -> Any:
        program = secureboost.guest if me.role == GUEST else secureboost.host
        told = clock.progress if me.role == GUEST else None
        channel = Channel(me, tuple(tables), clock, on_progress=told)
        try:
            return await program(channel, params, tables[me], workers=workers)
        finally:
            clock.ended(me)

    parts = await asyncio.gather(*map(play, tables))
    return dict(zip(tables, parts, strict=True))


def _warm(params: Params) -> None:
    """Compile, or load what is compiled, before anything is measured."""
    tables = _tables(300, 2, 2, 1)
    small = params.model_copy(update={"n_estimators": 1, "scheme": "lattice"})
    asyncio.run(_train(1, small, tables, _Clock()))


def _trees_per_batch(rows: int, growth: Growth) -> int:
    """How many trees the masks of one key serve in the long run."""
    each = hidden.vectors_per_tree(growth)
    return max(min(DEGREE, MASK_BYTES // (8 * rows)) // each, 1)


def _xgboost(table: Table, params: Params) -> float | None:
    """Seconds of one further tree of XGBoost on one core; None where it is not installed."""
    try:
        import xgboost
    except ImportError:
        return None
    data = xgboost.QuantileDMatrix(table.X, table.y, max_bin=params.max_bins, nthread=1)
    options = {
        "objective": "binary:logistic",
        "tree_method": "hist",
        "max_depth": params.max_depth,
        "max_bin": params.max_bins,
        "eta": params.learning_rate,
        "lambda": params.reg_lambda,
        "min_child_weight": params.min_child_weight,
        "nthread": 1,
    }
    booster = xgboost.train(options, data, 2)
    start = process_time()
    xgboost.train(options, data, 20, xgb_model=booster)
    return (process_time() - start) / 20


def _tables(rows: int, guest: int, host: int, hosts: int) -> dict[Party, Table]:
    """Columns of noise, of which every third counts, also in pairs of the two parties."""
    rng = np.random.default_rng(0)
    widths = [guest, *[host] * hosts]
    X = rng.normal(size=(rows, sum(widths)))
    first = X[:, guest]
    z = X[:, ::3].sum(axis=1) / 2 + X[:, 0] * first - np.abs(first) + rng.normal(0, 0.7, rows)
    ids, parties = tuple(map(str, range(rows))), [Party(GUEST, "guest")]
    parties += [Party(HOST, f"host {k}") for k in range(hosts)]
    tables, start = {}, 0
    for party, width in zip(parties, widths, strict=True):
        names = tuple(f"x{j}" for j in range(start, start + width))
        label = "y" if party.role == GUEST else None
        tables[party] = Table(
            Schema(names, (NUMBER,) * width, label=label),
            ids,
            np.ascontiguousarray(X[:, start : start + width]),
            (z > 0).astype(np.float64) if label else None,
        )
        start += width
    return tables


def _joined(tables: dict[Party, Table]) -> Table:
    """All columns in one place."""
    first = next(iter(tables.values()))
    names = tuple(name for table in tables.values() for name in table.schema.features)
    schema = Schema(names, (NUMBER,) * len(names), label="y")
    return Table(schema, first.ids, np.hstack([table.X for table in tables.values()]), first.y)
