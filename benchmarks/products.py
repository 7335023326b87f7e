"""Private products of a matrix of whole numbers with fresh vectors, shared, against plain ones.

Both parties in one process; seconds are CPU seconds of both.  Every result is compared with the
plain product modulo 2^64.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import sys
from time import process_time

import numpy as np
from numpy.typing import NDArray

from ml.crypto.lattice import randomness
from ml.crypto.lattice.integers import IntegerHolder, IntegerOwner, session_of
from ml.crypto.products import CountedBudget
from ml.crypto.threads import Threads

Words = NDArray[np.uint64]


def main(argv: list[str]) -> int:
    """Run it, print lines to read and then the JSON object."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks products", description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--columns", type=int, default=25)
    parser.add_argument("--bits", type=int, default=20, help="of an entry, beside its sign")
    parser.add_argument("--products", type=int, default=3, help="in each direction")
    options = parser.parse_args(argv)
    rng = np.random.default_rng(0)
    largest = 2**options.bits - 1
    X = rng.integers(-largest, largest + 1, (options.rows, options.columns))
    asyncio.run(_measure(X[:4], options.bits, 1))  # compiled before anything is measured
    result: dict[str, object] = {
        "benchmark": "products",
        "rows": options.rows,
        "columns": options.columns,
        "bits": options.bits,
    }
    for name, matrix in (("rows", X), ("columns", np.ascontiguousarray(X.T))):
        found = asyncio.run(_measure(matrix, options.bits, options.products))
        if found is None:
            print(f"shares of a result for {name} do not add up to it", file=sys.stderr)
            return 1
        print(f"a result for each of the {name}: {found['seconds']:.4f} s a product", flush=True)
        result |= {f"{name}_{key}": round(value, 6) for key, value in found.items()}
    result["peak_rss_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    result["load"] = round(os.getloadavg()[0], 1)
    print(json.dumps(result))
    return 0


async def _measure(matrix: NDArray[np.int64], bits: int, products: int) -> dict[str, float] | None:
    """Seconds and bytes of a product; None if a result is wrong."""
    session = session_of("benchmark", randomness.fresh_seed(), randomness.fresh_seed())
    plain, words = matrix.astype(np.uint64), np.random.default_rng(1)
    spent = {"encode": 0.0, "plain": 0.0, "seconds": 0.0, "asked_bytes": 0.0, "answered_bytes": 0.0}
    with Threads(1) as threads:
        owner = IntegerOwner(session, threads)
        budget = CountedBudget(products)
        holder = IntegerHolder(session, owner.key, budget=budget, threads=threads)
        start = process_time()
        encoded = await holder.encode(matrix, bits)
        spent["encode"] = process_time() - start
        for _ in range(products):
            vector = words.integers(0, 2**64, matrix.shape[1], np.uint64)
            start = process_time()
            expected = plain @ vector
            between = process_time()
            asked = await owner.ask(encoded.shape, vector)
            answered, theirs = await holder.answer(encoded, asked)
            ours = await owner.read(answered)
            spent["seconds"] += (process_time() - between) / products
            spent["plain"] += (between - start) / products
            if (ours + theirs != expected).any():
                return None
    spent["asked_bytes"] = float(sum(part.masked.nbytes for part in asked))
    spent["answered_bytes"] = float(sum(p.masked.nbytes + p.blind.nbytes for p in answered))
    return spent


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
