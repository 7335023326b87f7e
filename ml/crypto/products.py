"""The private product: one party holds a fixed 0/1 matrix X, the other asks for X·v.

Scenario
    The *holder* knows X (a `SplitMatrix`: what its columns say about the rows).  The *owner* has
    fresh private vectors v, batch after batch: a few fields of whole numbers for every row.  A
    *query* names part of the rows; its answer is X·v with v zero elsewhere, and the owner alone
    can read it.
Who learns what
    The owner learns X·v of every query, exactly.  What the holder learns depends on the scheme:
    with `paillier` it is told which rows a query names, and learns nothing about the values;
    with `lattice` it learns only how many queries there are.
What is not protected
    Whoever may ask for any X·v can read X out with unit vectors; so the holder counts vectors and
    stops at its budget.  Exact sums of few rows tell which rows are in them, however they were
    encrypted.  Parties follow the protocol: a dishonest holder can return wrong sums.

`paillier` is an `Owner` and a `Holder` that exchange the three records below; vectors are encrypted
once for any number of holders.  `lattice` (`ml.crypto.lattice`) hides the rows of a query by
masking all rows for each, which takes other records and a set-up: its owner and holder stand by
themselves, and share the budget, the answers and the names below.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ml import wire
from ml.crypto.errors import ProductBudgetExceeded
from ml.errors import RefusedScheme
from ml.wire import Shape

SchemeName = Literal["paillier", "lattice"]
SCHEMES: tuple[SchemeName, ...] = ("paillier", "lattice")

_BROKEN = "affine encryption is broken: a few known plaintexts decrypt all others"
_OPEN = "values would be sent in the clear"
_REFUSED = {
    "iterativeaffine": _BROKEN,
    "randomiterativeaffine": _BROKEN,
    "affine": _BROKEN,
    "none": _OPEN,
    "plain": _OPEN,
}

Rows = NDArray[np.int64]


def check_scheme(name: str) -> None:
    """Raises `RefusedScheme` for a scheme that is broken or that we do not have."""
    if name not in SCHEMES:
        plain = "".join(c for c in name.lower() if c.isalnum())
        raise RefusedScheme(name[:40], _REFUSED.get(plain, "there is no such scheme"), SCHEMES[0])


@wire.register
@dataclass(frozen=True, eq=False)
class Opening:
    """What both sides must know before the first vector."""

    scheme: SchemeName
    rows: int  # of every vector
    value_bits: tuple[int, ...]  # of one value of each field; values are not negative
    parameters: bytes  # public parameters of the scheme, such as its public key


@wire.register
@dataclass(frozen=True, eq=False)
class Vectors:
    """The encrypted values of consecutive rows; each takes the same number of bytes."""

    start: int
    data: Annotated[NDArray[np.uint8], Shape("rows", "width")]


@wire.register
@dataclass(frozen=True, eq=False)
class Answer:
    """Encrypted products, query after query."""

    data: Annotated[NDArray[np.uint8], Shape("ciphertexts", "width")]


class Owner(Protocol):
    """Has the vectors and whatever opens an answer."""

    @property
    def opening(self) -> Opening:
        """What holders must know."""
        ...

    def encrypt(self, values: NDArray[np.int64]) -> AsyncIterator[Vectors]:
        """Fresh vectors (rows, fields) in parts; they take the place of the ones before."""
        ...

    async def read(self, answer: Answer, queries: int, outputs: int) -> list[NDArray[np.int64]]:
        """The product of every query, shape (outputs, fields).

        Raises `InvalidCiphertext` or `InvalidAnswer` for what no honest holder sends.
        """
        ...


class Holder(Protocol):
    """Has the matrix."""

    def begin(self) -> None:
        """Forget the vectors; fresh ones follow."""
        ...

    @property
    def complete(self) -> bool:
        """Whether every row has its values."""
        ...

    async def take(self, vectors: Vectors) -> None:
        """The next part of the vectors; raises `InvalidCiphertext` for anything else."""
        ...

    async def answer(self, queries: Sequence[Rows], order: NDArray[np.int64]) -> Answer:
        """The products for these parts of the rows; output k is row ``order[k]`` of the matrix.

        Charges the budget before anything else and raises `ProductBudgetExceeded`.
        """
        ...


class Budget(Protocol):
    """Counts answered vectors; a node hands in one that outlives the job."""

    def __call__(self, vectors: int) -> None:
        """Charge ``vectors`` more; raises `ProductBudgetExceeded` and charges none of them."""
        ...


@dataclass
class CountedBudget:
    """A budget in memory."""

    limit: int
    spent: int = 0

    def __call__(self, vectors: int) -> None:
        """See `Budget`."""
        if vectors < 0 or self.spent + vectors > self.limit:
            raise ProductBudgetExceeded(vectors, self.limit - self.spent, self.limit)
        self.spent += vectors
