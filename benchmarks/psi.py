"""Private set intersection of a guest and one or more hosts, all in this process.

The processor's seconds are those of all parties together, from the ids in memory to the common
rows in order; the kernels are compiled before.  ``ids_per_cpu_second`` is ids of one party by the
seconds of all.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import secrets
import sys
from time import perf_counter, process_time

import numpy as np

from ml.federation import (
    GUEST,
    HOST,
    Address,
    Channel,
    InMemoryTransport,
    Party,
    Program,
    Role,
)
from ml.protocols import psi
from ml.table import Schema, Table


class Counting(InMemoryTransport):
    """Counts what crosses instead of keeping it: a transcript of ten million ids is a gigabyte."""

    messages = 0
    sent = 0

    async def put(self, address: Address, body: bytes) -> None:
        self.messages += 1
        self.sent += len(body)
        await super().put(address, body)
        self.transcript.clear()


def main(argv: list[str]) -> int:
    """Run it, print lines to read and then the JSON object."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks psi", description=__doc__)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--rows", type=int, default=20_000, help="ids of each party")
    size.add_argument("--log2", type=int, help="the same, as a power of two")
    parser.add_argument("--common", type=float, default=0.5, help="share that all parties have")
    parser.add_argument("--hosts", type=int, default=1)
    parser.add_argument("--protocol", choices=("auto", "ecdh", "kkrt", "oprf"), default="auto")
    options = parser.parse_args(argv)
    rows = options.rows if options.log2 is None else 2**options.log2
    params = psi.Params(protocol=options.protocol)
    method = params.method(rows, options.hosts)
    _run(params.model_copy(update={"protocol": method}), _tables(64, 32, 1))  # compiles
    tables = _tables(rows, int(rows * options.common), options.hosts)
    print(f"{rows} ids at each of {len(tables)} parties, {options.common:.0%} in common, {method}")
    ids_mb = _peak_mb()

    start = perf_counter()
    common = set.intersection(*(set(table.ids) for table in tables.values()))
    plain_seconds = perf_counter() - start
    print(f"in the clear: {len(common)} common ids in {plain_seconds:.4f} s")

    start, cpu = perf_counter(), process_time()
    outputs, transport = _run(params, tables)
    seconds, cpu_seconds = perf_counter() - start, process_time() - cpu
    for party, found in outputs.items():
        if {tables[party].ids[row] for row in found} != common:
            print(f"{party} found other ids than the join in the clear", file=sys.stderr)
            return 1
    print(f"private: the same ids in {seconds:.2f} s, {transport.sent / 2**20:.1f} MiB sent")
    result = {
        "benchmark": "psi",
        "protocol": method,
        "rows": rows,
        "hosts": options.hosts,
        "common": len(common),
        "ids_per_cpu_second": round(rows / cpu_seconds),
        "cpu_seconds": round(cpu_seconds, 3),
        "seconds": round(seconds, 3),
        "plain_seconds": round(plain_seconds, 6),
        "ratio": round(seconds / plain_seconds, 1),
        "rows_per_second": round(rows / seconds),
        "messages": transport.messages,
        "bytes": transport.sent,
        "bytes_per_row": round(transport.sent / rows, 1),
        "peak_rss_mb": _peak_mb(),  # of all parties, with their tables
        "tables_rss_mb": ids_mb,
        "cores": os.cpu_count(),
    }
    print(json.dumps(result), flush=True)
    return 0


def _run(params: psi.Params, tables: dict[Party, Table]) -> tuple[dict[Party, psi.Rows], Counting]:
    """Each party's rows, and what crossed."""
    transport, context = Counting(running=set(tables)), secrets.token_bytes(16)
    programs: dict[Role, Program] = psi.PROGRAMS
    outputs: dict[Party, psi.Rows] = {}

    async def play(me: Party) -> None:
        channel = Channel(me, tuple(tables), transport, context=context, on_progress=_progress)
        try:
            outputs[me] = await programs[me.role](channel, params, tables[me])
        finally:
            transport.ended(me)

    async def all_parties() -> None:
        await asyncio.gather(*map(play, tables))

    asyncio.run(all_parties())
    return outputs, transport


def _tables(rows: int, common: int, hosts: int) -> dict[Party, Table]:
    """Tables without columns; the first ``common`` ids are the same, each party's order its own."""
    rng = np.random.default_rng(0)
    parties = [Party(GUEST, "guest"), *(Party(HOST, f"host {k}") for k in range(hosts))]
    tables = {}
    for party in parties:
        order = rng.permutation(rows)
        ids = tuple(f"common:{i}" if i < common else f"{party.site}:{i}" for i in order)
        tables[party] = Table(Schema((), ()), ids, np.empty((rows, 0)))
    return tables


def _peak_mb() -> int:
    """The most memory that this process has had so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def _progress(done: int, total: int, text: str) -> None:
    if total > 64:
        print(f"\r{text}: {done}/{total}", end="\n" if done == total else "", file=sys.stderr)
