"""Arithmetic on arrays that numpy has no word for, compiled by numba and kept on disk.

`compiled` functions hold no lock while they run, so threads compute side by side; the first run
after an installation compiles (about a second each), later ones load what is in the cache.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
from numba.core import types
from numba.extending import intrinsic

Compiled = Callable[..., Any]


def compiled(function: Compiled) -> Compiled:
    """``function`` as machine code; arguments are arrays and numpy scalars."""
    fast: Compiled = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    return fast


def inlined(function: Compiled) -> Compiled:
    """A piece of other `compiled` functions."""
    fast: Compiled = numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")(
        function
    )
    return fast


def _high_product(context: Any, a: Any, b: Any) -> Any:
    """The upper 64 bits of the product of two unsigned 64-bit numbers: one instruction."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        from llvmlite import ir

        wide, word = ir.IntType(128), ir.IntType(64)
        product = builder.mul(*(builder.zext(argument, wide) for argument in arguments))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), word)

    return types.uint64(types.uint64, types.uint64), generate


high_product: Compiled = intrinsic(_high_product)
