"""Logistic regression on shares, of guest, host and arbiter, all in this process on one core.

An epoch is one step over all rows, and its seconds are those of all three parties together, from
shared columns to shared parameters; what comes once, masking the columns, is apart.  The result is
held to scikit-learn's on the same rows.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
from time import perf_counter, process_time
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression

from ml.federation import ARBITER, GUEST, HOST, Address, Channel, InMemoryTransport, Party
from ml.local.linear import Floats
from ml.table import ColumnType, Schema, Table
from ml.vertical.linear import models
from ml.vertical.linear.models import ALGORITHM, Params


class Counting(InMemoryTransport):
    """Counts what crosses instead of keeping it."""

    sent = 0

    async def put(self, address: Address, body: bytes) -> None:
        self.sent += len(body)
        await super().put(address, body)
        self.transcript.clear()


def main(argv: list[str]) -> int:
    """Run it, print lines to read and then the JSON object."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks logistic", description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--features", type=int, default=20, help="half of them at the host")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--batch", type=int, default=0, help="rows of a step; 0 for all")
    options = parser.parse_args(argv)
    X, y = _rows(options.rows, options.features)
    half = options.features // 2
    tables = {
        Party(GUEST, "guest"): _table(X[:, :half], y),
        Party(HOST, "host"): _table(X[:, half:], None),
        Party(ARBITER, "arbiter"): _table(np.empty((0, 0)), None),
    }
    params = Params.model_validate(
        {"max_iter": options.epochs, "batch_size": options.batch, "alpha": 1 / options.rows}
    )
    _run(params.model_copy(update={"max_iter": 1}), {p: _first(t) for p, t in tables.items()})
    marks: list[tuple[float, float]] = []
    start = perf_counter()
    outputs, sent = _run(params, tables, marks)
    print(f"on shares: {options.epochs} epochs in {perf_counter() - start:.2f} s")
    found = np.concatenate([outputs[p].coefficients[:, 0] for p in list(tables)[:2]])

    start = perf_counter()
    whole = models.alone(params, _table(X, y))
    plain_seconds = (perf_counter() - start) / options.epochs
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    start = perf_counter()
    reference = LogisticRegression(C=1.0, tol=1e-8, max_iter=1000).fit(Z, y)
    print(f"scikit-learn: {reference.n_iter_[0]} iterations in {perf_counter() - start:.2f} s")
    (begin, cpu_begin), (end, cpu_end) = marks[0], marks[-1]
    result = {
        "benchmark": "logistic",
        "rows": options.rows,
        "features": options.features,
        "epochs": options.epochs,
        "batch": options.batch,
        "seconds_per_epoch": round((end - begin) / options.epochs, 4),
        "cpu_seconds_per_epoch": round((cpu_end - cpu_begin) / options.epochs, 4),
        "plain_seconds_per_epoch": round(plain_seconds, 4),
        "largest_difference": float(f"{np.max(np.abs(found - reference.coef_[0])):.3g}"),
        "plain_difference": float(
            f"{np.max(np.abs(whole.coefficients[:, 0] - reference.coef_[0])):.3g}"
        ),
        "bytes_per_epoch": sent // options.epochs,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    print(json.dumps(result), flush=True)
    return 0


def _run(
    params: Params, tables: dict[Party, Table], marks: list[tuple[float, float]] | None = None
) -> tuple[dict[Party, Any], int]:
    """Each party's part, and the bytes that crossed; ``marks`` gets the guest's epochs."""
    transport = Counting(running=set(tables))
    outputs = {}

    def told(done: int, total: int, text: str) -> None:
        if marks is not None:
            marks.append((perf_counter(), process_time()))
            print(f"\r{text}: {done}/{total}", end="\n" if done == total else "", file=sys.stderr)

    async def play(me: Party) -> None:
        on_progress = told if me.role == GUEST else None
        channel = Channel(me, tuple(tables), transport, on_progress=on_progress)
        try:
            outputs[me] = await ALGORITHM.fit[me.role](channel, params, tables[me])
        finally:
            transport.ended(me)

    async def all_parties() -> None:
        await asyncio.gather(*map(play, tables))

    asyncio.run(all_parties())
    return outputs, transport.sent


def _rows(rows: int, features: int) -> tuple[Floats, Floats]:
    """Columns that depend on each other, across the parties too, and labels."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(rows, features))
    X[:, 1:] += 0.5 * X[:, :-1]
    eta = X @ rng.normal(0, 1 / np.sqrt(features), features) - 0.5
    return X, (rng.random(rows) < 1 / (1 + np.exp(-eta))).astype(float)


def _table(X: Floats, y: Floats | None) -> Table:
    names = tuple(f"x{j}" for j in range(X.shape[1]))
    types: tuple[ColumnType, ...] = tuple("number" for _ in names)
    schema = Schema(names, types, label=None if y is None else "y")
    return Table(schema, tuple(map(str, range(len(X)))), X, y)


def _first(table: Table) -> Table:
    return table.take(np.arange(min(64, len(table))))
