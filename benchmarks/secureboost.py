"""SecureBoost of a guest and one or more hosts, all on this machine, against the plain trees.

The plain computation is `ml.local.trees.fit_trees` on all columns at once, in numpy, on the same
rows in the same run; both must come to the same scores.  Every party has processes of its own, so
on separate machines each has all cores to itself.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from functools import partial
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from ml.federation import GUEST, HOST, Party, Program, Role, run_in_process
from ml.table import ColumnType, Schema, Table
from ml.vertical import secureboost
from ml.vertical.secureboost import Params

ALLOWED_DIFFERENCE = 1e-9  # of a probability
NUMBER: ColumnType = "number"


def main(argv: list[str]) -> int:
    """Run it, print lines to read and then the JSON object."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks secureboost", description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--guest-columns", type=int, default=13)
    parser.add_argument("--host-columns", type=int, default=10, help="of each host")
    parser.add_argument("--hosts", type=int, default=1)
    parser.add_argument("--trees", type=int, default=3)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--bins", type=int, default=32)
    parser.add_argument("--key-bits", type=int, default=2048)
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="of each party")
    options = parser.parse_args(argv)
    params = Params.model_validate(
        {
            "n_estimators": options.trees,
            "max_depth": options.depth,
            "max_bins": options.bins,
            "key_bits": options.key_bits,
        }
    )
    tables = _tables(options.rows, options.guest_columns, options.host_columns, options.hosts)
    print(
        f"{options.rows} rows, {options.guest_columns} + {options.hosts} x {options.host_columns}"
    )

    joined = _joined(tables)
    start = perf_counter()
    model = secureboost.alone(params, joined)
    plain_seconds = perf_counter() - start
    plain = secureboost.predict_alone(model, joined)
    print(f"in the clear: {options.trees} trees in {plain_seconds:.3f} s")

    programs: dict[Role, Program] = {
        GUEST: partial(secureboost.guest, workers=options.workers),
        HOST: partial(secureboost.host, workers=options.workers),
    }
    start = perf_counter()
    outputs, transcript = asyncio.run(
        run_in_process(
            programs,
            {party: (params, table) for party, table in tables.items()},
            on_progress=_print_progress,
        )
    )
    seconds = perf_counter() - start
    sent = sum(len(said.body) for said in transcript)
    print(f"federated: the same trees in {seconds:.1f} s, {sent / 2**20:.1f} MiB", flush=True)

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
        "key_bits": params.key_bits,
        "seconds": round(seconds, 2),
        "seconds_per_tree": round(seconds / options.trees, 2),
        "plain_seconds": round(plain_seconds, 4),
        "ratio": round(seconds / plain_seconds, 1),
        "predict_seconds": round(predict_seconds, 3),
        "auc": round(float(model.auc[-1]), 4),
        "messages": len(transcript),
        "bytes": sent,
        "workers": options.workers,
        "cores": os.cpu_count(),
    }
    print(json.dumps(result))
    return 0


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


def _print_progress(done: int, total: int, text: str) -> None:
    print(f"\r{done}/{total} {text:<40}", end="\n" if done == total else "", file=sys.stderr)
