"""``python -m ml.protocols.shares``: compiles what sharing needs, and checks a small computation.

An installation may run it once, so that the first job does not wait for the compiler.
"""

from __future__ import annotations

import asyncio
import sys

import numpy as np

from ml.crypto import wide
from ml.crypto.fixed_point import FixedPoint, Words
from ml.crypto.series import Series
from ml.federation import ARBITER, GUEST, HOST, Channel, Party, run_in_process
from ml.protocols import shares

_PLACES = FixedPoint(16)
_ONE = np.array([1, 0], np.uint64)
_SERIES = Series.sigmoid(16, 16)
_X = np.linspace(-1, 1, 12).reshape(6, 2)
_W = np.array([[0.5, 1.0, -1.0], [2.0, -0.25, 1.5]])


async def _compute(ch: Channel) -> Words | None:
    computer = await shares.join(ch)
    x = _PLACES.encode(_X, bound=4)
    w = computer.own(_PLACES.encode(_W, bound=4), 1)
    matrix = await computer.matrix(x if computer.index == 0 else None, x.shape, 0)
    wide = await computer.product(matrix, w)
    tall = await computer.product(matrix, wide, transposed=True)
    one = await computer.product(matrix, w[:, 0].copy())
    back = await computer.product(matrix, one, transposed=True)
    scores = await computer.series(await computer.truncate(one, 16), _SERIES)
    return await computer.reveal(np.concatenate([tall.ravel(), back, scores]), to=0)


async def _deal(ch: Channel) -> None:
    dealer = await shares.deal(ch)
    matrix = await dealer.matrix((6, 2), 0)
    await dealer.product(matrix, 3)
    await dealer.product(matrix, 3, transposed=True)
    await dealer.product(matrix)
    await dealer.product(matrix, transposed=True)
    await dealer.truncate((6,), 16)
    await dealer.series((6,), _SERIES)
    await dealer.reveal((6 + 2 + 6,))


async def is_right() -> bool:
    """Whether products and a sigmoid are what they are without shares."""
    guest = Party(GUEST, "guest")
    inputs = {guest: (), Party(HOST, "host"): (), Party(ARBITER, "arbiter"): ()}
    outputs, _ = await run_in_process({GUEST: _compute, HOST: _compute, ARBITER: _deal}, inputs)
    found = outputs[guest]
    products = FixedPoint(48).decode(found[:8])
    tall, score = _X.T @ _X @ _W, _X @ _W[:, 0]
    twice = wide.add(found.reshape(-1, 2), found.reshape(-1, 2))
    return bool(
        (wide.subtract(twice, wide.multiply(twice, _ONE)) == 0).all()
        and np.allclose(products, np.concatenate([tall.ravel(), tall[:, 0]]), atol=1e-3)
        and np.allclose(_PLACES.decode(found[8:]), 1 / (1 + np.exp(-score)), atol=1e-3)
    )


def main() -> int:
    """0 if they are."""
    if asyncio.run(is_right()):
        print("computing with shares is compiled, and right")
        return 0
    print("computing with shares came out wrong on this machine", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
