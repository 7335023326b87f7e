"""SecureBoost over two nodes on loopback, against the same training in one process.

The nodes are those of the tests (`tests.node.two_sites`): HTTP between them, requests signed,
bodies on disk before a receipt is given, receipts and log entries in their databases; only the
chain is a directory on paper.  Both live in this process, so that their work is not spread over
more processors than the other run has.

Seconds are by the clock: a tree over nodes costs what its parties compute, and what carrying,
signing and entering its messages takes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np

from ml.federation import GUEST, HOST, Address, Channel, InMemoryTransport, Party, Transport
from ml.table import ColumnType, Schema, Table
from ml.vertical import secureboost
from ml.vertical.secureboost import Params
from node.doorbell import Broker
from tests.node.two_sites import Pair, running_pair, see_chain

SEEN_SECONDS = 5.0  # the paper chain is looked at this often
STEP_SECONDS = 1200.0
NUMBER: ColumnType = "number"


def main(argv: list[str]) -> int:
    """Run it, print lines to read and then the JSON object."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks nodes", description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--features", type=int, default=100, help="half of them at the host")
    parser.add_argument("--trees", type=int, default=6)
    parser.add_argument("--depth", type=int, default=5)
    parser.add_argument("--bins", type=int, default=32)
    parser.add_argument("--scheme", choices=["paillier", "lattice"], default="lattice")
    options = parser.parse_args(argv)
    params = Params.model_validate(
        {
            "n_estimators": options.trees,
            "max_depth": options.depth,
            "max_bins": options.bins,
            "min_samples_leaf": 1,
            "scheme": options.scheme,
        }
    )
    tables = _tables(options.rows, options.features)
    asyncio.run(_in_process(params, _tables(300, 4)))  # compiled before anything is measured
    alone = asyncio.run(_in_process(params, tables))
    print(f"in one process: {alone.median:.3f} s a tree", flush=True)
    with tempfile.TemporaryDirectory(prefix="fc") as folder:
        broker = Broker(f"unix://{folder}/valkey.sock")
        broker.start()
        try:
            with running_pair(Path(folder) / "s", broker.redis_url) as pair:
                apart = asyncio.run(_over_nodes(params, tables, pair))
        finally:
            broker.stop()
    print(f"over two nodes: {apart.median:.3f} s a tree")
    result = {
        "benchmark": "nodes",
        "rows": options.rows,
        "features": options.features,
        "trees": options.trees,
        "depth": options.depth,
        "bins": options.bins,
        "scheme": options.scheme,
        "seconds_per_tree": round(apart.median, 4),
        "in_process_seconds_per_tree": round(alone.median, 4),
        "ratio": round(apart.median / alone.median, 2),
        "cpu_seconds_per_tree": round(apart.cpu / options.trees, 4),
        "in_process_cpu_seconds_per_tree": round(alone.cpu / options.trees, 4),
        "bytes_per_tree": round(apart.bytes / options.trees),
        "messages_per_tree": round(apart.messages / options.trees, 1),
        "first_tree_after_seconds": round(apart.before, 2),
        "in_process_first_tree_after_seconds": round(alone.before, 2),
        "load": round(os.getloadavg()[0], 1),
        "cores": os.cpu_count(),
    }
    print(json.dumps(result))
    return 0


@dataclass
class _Clock:
    """When trees begin and end, and what crosses meanwhile."""

    trees: list[float] = field(default_factory=list)
    cpu: float = 0.0
    bytes: int = 0
    messages: int = 0
    before: float = 0.0
    _start: float = field(default_factory=perf_counter)
    _begun: tuple[float, float] | None = None

    @property
    def median(self) -> float:
        """Seconds of a tree, without the first."""
        return float(np.median(self.trees[1:] or self.trees))

    def progress(self, done: int, total: int, text: str) -> None:
        """The guest's: "tree 3: ..." is where a tree begins, its loss where it ends."""
        if text.startswith("tree") and self._begun is None:
            self._begun = perf_counter(), process_time()
            self.before = self.before or self._begun[0] - self._start
        elif text.startswith("loss") and self._begun is not None:
            self.trees.append(perf_counter() - self._begun[0])
            self.cpu += process_time() - self._begun[1]
            self._begun = None

    def count(self, size: int) -> None:
        """A message of so many bytes; those between trees do not count."""
        if self._begun is not None:
            self.bytes += size
            self.messages += 1


@dataclass
class _Counted:
    """A transport whose messages are counted."""

    inner: Transport
    clock: _Clock

    async def put(self, address: Address, body: bytes) -> None:
        self.clock.count(len(body))
        await self.inner.put(address, body)

    async def take(self, address: Address, within: float) -> bytes:
        return await self.inner.take(address, within)


async def _play(
    me: Party, params: Params, tables: Mapping[Party, Table], transport: Transport, clock: _Clock
) -> Any:
    program = secureboost.guest if me.role == GUEST else secureboost.host
    told = clock.progress if me.role == GUEST else None
    channel = Channel(
        me,
        tuple(tables),
        _Counted(transport, clock),
        timeout=STEP_SECONDS,
        context=b"benchmark",
        on_progress=told,
    )
    return await program(channel, params, tables[me], workers=1)


async def _in_process(params: Params, tables: Mapping[Party, Table]) -> _Clock:
    clock, transport = _Clock(), InMemoryTransport(set(tables))
    await asyncio.gather(*(_play(me, params, tables, transport, clock) for me in tables))
    return clock


async def _over_nodes(params: Params, tables: Mapping[Party, Table], pair: Pair) -> _Clock:
    own = {pair.guest_party: pair.guest, pair.host_party: pair.host}
    renamed = dict(zip(own, tables.values(), strict=True))
    job, clock = pair.start_job(), _Clock()

    async def one(me: Party) -> None:
        transport = pair.transport(own[me], job, step_seconds=STEP_SECONDS)
        try:
            await _play(me, params, renamed, transport, clock)
        finally:
            await transport.aclose()

    async def look() -> None:
        while True:
            for site in own.values():
                await asyncio.to_thread(see_chain, site)
            await asyncio.sleep(SEEN_SECONDS)

    looking = asyncio.create_task(look())
    try:
        await asyncio.gather(*map(one, own))
    finally:
        looking.cancel()
    return clock


def _tables(rows: int, features: int) -> dict[Party, Table]:
    """Columns of noise, of which every third counts."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(rows, features))
    y = X[:, ::3].sum(axis=1) + rng.normal(0, 0.7, rows) > 0
    ids, half = tuple(map(str, range(rows))), features - features // 2
    tables = {}
    for party, start, end, label in (
        (Party(GUEST, "guest"), 0, half, "y"),
        (Party(HOST, "host"), half, features, None),
    ):
        names = tuple(f"x{j}" for j in range(start, end))
        tables[party] = Table(
            Schema(names, (NUMBER,) * (end - start), label=label),
            ids,
            np.ascontiguousarray(X[:, start:end]),
            y.astype(np.float64) if label else None,
        )
    return tables


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
