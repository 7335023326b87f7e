"""Private set intersection of a guest and one or more hosts, all in this process.

Each party hashes and multiplies its own ids and multiplies the other's once: with one host that
is 2 x 2 multiplications of ristretto255 per id in all, so on separate machines it takes half.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import sys
from time import perf_counter

import numpy as np

from ml.federation import GUEST, HOST, Party, run_in_process
from ml.protocols import psi
from ml.table import Schema, Table


def main(argv: list[str]) -> int:
    """Run it, print lines to read and then the JSON object."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks psi", description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000, help="ids of each party")
    parser.add_argument("--common", type=float, default=0.5, help="share that all parties have")
    parser.add_argument("--hosts", type=int, default=1)
    options = parser.parse_args(argv)
    tables = _tables(options.rows, int(options.rows * options.common), options.hosts)
    print(f"{options.rows} ids at each of {len(tables)} parties, {options.common:.0%} in common")

    start = perf_counter()
    common = set.intersection(*(set(table.ids) for table in tables.values()))
    plain_seconds = perf_counter() - start
    print(f"in the clear: {len(common)} common ids in {plain_seconds:.4f} s")

    start = perf_counter()
    outputs, transcript = asyncio.run(
        run_in_process(
            psi.PROGRAMS,
            {party: (psi.Params(), table) for party, table in tables.items()},
            context=secrets.token_bytes(16),
            on_progress=_print_progress,
        )
    )
    seconds = perf_counter() - start
    for party, rows in outputs.items():
        if {tables[party].ids[row] for row in rows} != common:
            print(f"{party} found other ids than the join in the clear", file=sys.stderr)
            return 1
    sent = sum(len(said.body) for said in transcript)
    print(f"private: the same ids in {seconds:.2f} s, {sent / 2**20:.1f} MiB sent", flush=True)
    result = {
        "benchmark": "psi",
        "rows": options.rows,
        "hosts": options.hosts,
        "common": len(common),
        "seconds": round(seconds, 3),
        "plain_seconds": round(plain_seconds, 6),
        "ratio": round(seconds / plain_seconds, 1),
        "rows_per_second": round(options.rows / seconds),
        "messages": len(transcript),
        "bytes": sent,
        "bytes_per_row": round(sent / options.rows, 1),
        "cores": os.cpu_count(),
    }
    print(json.dumps(result))
    return 0


def _tables(rows: int, common: int, hosts: int) -> dict[Party, Table]:
    """Tables without columns; the first ``common`` ids are the same, each party's order its own."""
    rng = np.random.default_rng(0)
    parties = [Party(GUEST, "guest"), *(Party(HOST, f"host {k}") for k in range(hosts))]
    tables = {}
    for party in parties:
        own = [f"{party.site}:{i}" for i in range(rows - common)]
        ids = rng.permutation([*(f"common:{i}" for i in range(common)), *own])
        tables[party] = Table(Schema((), ()), tuple(map(str, ids)), np.empty((rows, 0)))
    return tables


def _print_progress(done: int, total: int, text: str) -> None:
    print(f"\r{text}: {done}/{total}", end="\n" if done == total else "", file=sys.stderr)
