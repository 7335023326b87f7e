"""``python -m ml.crypto.lattice``: compiles what the scheme needs, and checks one small product.

An installation runs it once, so that the first job does not wait for the compiler.
"""

from __future__ import annotations

import asyncio
import sys

import numpy as np

from ml.crypto.lattice import randomness, sums
from ml.crypto.lattice.agreement import Agreement, ids_digest
from ml.crypto.lattice.holder import LatticeHolder
from ml.crypto.lattice.integers import IntegerHolder, IntegerOwner, session_of
from ml.crypto.lattice.owner import LatticeOwner
from ml.crypto.lattice.parameters import Parameters
from ml.crypto.products import CountedBudget
from ml.crypto.threads import Threads
from ml.local.binning import Columns

_ROWS, _BOUND = 60, 2**16


async def product(queries: int) -> bool:
    """Whether one product over random columns is exact."""
    rng = np.random.default_rng(0)
    own = Columns.of(rng.normal(size=(_ROWS, 2)), ("a", "b"), max_bins=4)
    nonces = (randomness.fresh_seed(), randomness.fresh_seed())
    known = Parameters.of(_ROWS, _BOUND)
    agreement = Agreement(known, 2, nonces, ids_digest([str(i) for i in range(_ROWS)]))
    values = rng.integers(-_BOUND, _BOUND + 1, (_ROWS, 2))
    query = rng.integers(0, queries, _ROWS)
    with Threads(1) as threads:
        owner = LatticeOwner(agreement, threads)
        budget = CountedBudget(2 * queries)
        holder = LatticeHolder(agreement, own.matrix, budget=budget, threads=threads)
        await holder.set_up()
        key = owner.begin_batch(2 * queries)
        await owner.draw_masks()
        start, splits = 0, len(own.matrix)
        async for blind in holder.begin_batch(key, np.arange(splits)):
            start += await owner.learn("holder", start, splits, blind)
        holder.begin(queries)
        async for part in owner.mask(values, query, queries):
            await holder.take(part)
        found = owner.read("holder", await holder.answer())
    expected = [own.matrix.sums(values, np.flatnonzero(query == q)) for q in range(queries)]
    return bool((found == np.stack(expected, axis=1)).all())


async def integer_product() -> bool:
    """Whether shares of the product of a small matrix of whole numbers are exact."""
    rng = np.random.default_rng(0)
    matrix, vector = rng.integers(-100, 100, (3, 5)), rng.integers(0, 2**64, 5, np.uint64)
    session = session_of("installation", randomness.fresh_seed(), randomness.fresh_seed())
    with Threads(1) as threads:
        owner = IntegerOwner(session, threads)
        budget = CountedBudget(1)
        holder = IntegerHolder(session, owner.key, budget=budget, threads=threads)
        encoded = await holder.encode(matrix, 7)
        answers, theirs = await holder.answer(encoded, await owner.ask(encoded.shape, vector))
        ours = await owner.read(answers)
    return bool((ours + theirs == matrix.astype(np.uint64) @ vector).all())


def main() -> int:
    """0 if both products are right."""
    # A sum for every width of words that has a kernel of its own.
    if asyncio.run(product(sum(sums.WIDTHS) // 2 + 1)) and asyncio.run(integer_product()):
        print("lattice products are compiled, and exact")
        return 0
    print("a lattice product came out wrong on this machine", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
