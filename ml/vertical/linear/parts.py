"""What the parties keep of a linear model: each the coefficients of its own columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from ml import wire
from ml.errors import ColumnNotFound, ProtocolViolation
from ml.local.linear import Design, Family, Floats, standardised
from ml.table import Table
from ml.wire import Shape

Vector = Annotated[NDArray[np.float64], Shape("columns")]
Matrix = Annotated[NDArray[np.float64], Shape("columns", "outputs")]


@wire.register
@dataclass(frozen=True, eq=False)
class HostPart:
    """A host's coefficients, of its columns less ``mean`` in units of ``scale``."""

    columns: tuple[str, ...]
    mean: Vector
    scale: Vector
    coefficients: Matrix

    def predictor(self, table: Table) -> Floats:
        """What these columns add to the linear predictor, shape (n, outputs).

        Raises `ColumnNotFound`.
        """
        return _predictor(self, table)

    @property
    def per_unit(self) -> Floats:
        """The coefficients of the columns as they are in the file, shape (columns, outputs)."""
        return np.asarray(self.coefficients / self.scale[:, None])


@wire.register
@dataclass(frozen=True, eq=False)
class GuestPart:
    """The guest's coefficients, and what it takes to make a prediction of all parts together."""

    columns: tuple[str, ...]
    mean: Vector
    scale: Vector
    coefficients: Matrix
    intercept: Annotated[NDArray[np.float64], Shape("outputs")]  # at the mean of all columns
    family: Family
    label_scale: float  # what means are multiplied by; of linear regression: coefficients, too
    label_centre: float  # of linear regression: what is predicted at predictor 0
    hosts: tuple[str, ...]  # sites
    epochs: int  # that were needed

    def predictor(self, table: Table) -> Floats:
        """What these columns and the intercept add to the linear predictor, (n, outputs).

        Raises `ColumnNotFound`.
        """
        return _predictor(self, table) + self.intercept

    @property
    def per_unit(self) -> Floats:
        """The coefficients of the columns as they are in the file, shape (columns, outputs)."""
        return np.asarray(self.coefficients / self.scale[:, None])

    def predictions(self, means: Floats) -> Floats:
        """What the means (n, outputs) in units of the labels' scale say: (n,), or (n, classes).

        Of several classes each has a model of its own, and their probabilities are made to add
        up to 1; where all are 0, each is as likely.
        """
        expected = means * self.label_scale + self.label_centre
        if expected.shape[1] == 1:
            return np.asarray(expected[:, 0])
        total = expected.sum(axis=1, keepdims=True)
        even = 1.0 / expected.shape[1]
        return np.where(total > 0, expected / np.where(total > 0, total, 1.0), even)


@wire.register
@dataclass(frozen=True)
class ArbiterPart:
    """The arbiter keeps no part of the model: only how many rows it dealt for."""

    rows: int


def guest_part(
    table: Table,
    design: Design,
    v: Floats,
    family: Family,
    scale: float,
    middle: float,
    hosts: tuple[str, ...],
    epochs: int,
) -> GuestPart:
    """From the parameters of the guest's design, the intercept last.

    ``scale`` and ``middle`` are what was taken from the labels.
    """
    start = v[-1] * design.X[0, -1] if len(design.X) else v[-1]
    return GuestPart(
        table.schema.features,
        design.mean,
        design.scale,
        design.coefficients(v),
        np.asarray(start, np.float64),
        family,
        scale,
        middle,
        hosts,
        epochs,
    )


def host_part(table: Table, design: Design, v: Floats) -> HostPart:
    """From the parameters of a host's design."""
    return HostPart(table.schema.features, design.mean, design.scale, design.coefficients(v))


def same_hosts(part: GuestPart, sites: tuple[str, ...]) -> None:
    """Raises `ProtocolViolation` if the hosts are not those of the training."""
    if set(sites) != set(part.hosts):
        raise ProtocolViolation(
            f"the model was trained with {len(part.hosts)} hosts; "
            f"{len(set(sites) & set(part.hosts))} of them and "
            f"{len(set(sites) - set(part.hosts))} others are here"
        )


def _predictor(part: GuestPart | HostPart, table: Table) -> Floats:
    names = table.schema.features
    for name in part.columns:
        if name not in names:
            raise ColumnNotFound(name, names)
    X = table.X[:, [names.index(name) for name in part.columns]]
    return standardised(X, part.mean, part.scale) @ part.coefficients
