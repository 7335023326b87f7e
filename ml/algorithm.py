"""What a job may run: algorithms by name, with their programs, parameters and code digest.

A job that trains is PSI (`ml.protocols.psi`), then ``fit`` on the aligned training rows, then
``predict`` on the aligned held-out rows; each is a program per role, so a node can run them as
steps of their own.  An algorithm's module ends with its `Algorithm` under the name ``ALGORITHM``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from ml import wire
from ml.digest import PACKAGE, closure_digest, import_closure
from ml.errors import UnknownAlgorithm, WireError
from ml.federation import Message, Program, Role
from ml.table import Table, binary_labels

_MODULES = {
    "counting": "ml.protocols.psi.counting",
    "linear_models": "ml.vertical.linear.models",
    "psi": "ml.protocols.psi.alone",
    "secureboost": "ml.vertical.secureboost",
}
# A job aligns its rows before anything else, so this code is part of every algorithm.
_ALWAYS = ("ml.protocols.psi",)


def measure_binary(params: BaseModel, table: Table, scores: NDArray[np.float64]) -> dict[str, Any]:
    """Numbers on probabilities of label 1, (n,); raises as `binary_labels`."""
    from ml.local import metrics

    return metrics.evaluate(binary_labels(table), scores).to_json()


@dataclass(frozen=True)
class Algorithm:
    """An algorithm of vertical federated learning.

    ``fit[role](ch, params, table)`` returns that party's part of the model;
    ``predict[role](ch, params, part, table)`` returns the scores (n,) at the guest and None
    elsewhere.  All tables of one run hold the same rows in the same order.  One that only matches
    rows makes no model: it has ``fit``, and no ``predict`` and no parts.
    """

    name: str
    version: int  # of the conversation; parties with another one do not understand each other
    params: type[BaseModel]  # frozen, extra="forbid"
    fit: Mapping[Role, Program]
    predict: Mapping[Role, Program]
    parts: Mapping[Role, type[Any]]  # what fit returns; registered with the wire
    messages: tuple[type[Message], ...]  # in the order in which they are first said
    notice: str  # for data owners: who learns what, what is not protected
    # What a job reports of scores of rows with labels: numbers by name.
    measure: Callable[[Any, Table, NDArray[np.float64]], dict[str, Any]] = measure_binary

    @property
    def protocol(self) -> str:
        """Name and version as parties compare them."""
        return f"{self.name}/{self.version}"

    @property
    def roles(self) -> tuple[Role, ...]:
        """The roles that take part."""
        return tuple(self.fit)

    def dump_model(self, part: object) -> bytes:
        """A party's part of the model as bytes; raises `WireError` for any other value."""
        if type(part) not in self.parts.values():
            raise WireError(f"{type(part).__name__} is no part of a {self.name} model")
        return wire.dumps(part)

    def load_model(self, role: Role, data: bytes) -> Any:
        """The part of ``role`` that `dump_model` wrote; raises `WireError` for anything else."""
        return wire.loads(data, self.parts[role])


def model_digest(data: bytes) -> str:
    """0x-hex SHA-256 of a dumped model part."""
    return "0x" + sha256(data).hexdigest()


def catalogue() -> tuple[str, ...]:
    """The names of all algorithms."""
    return tuple(sorted(_MODULES))


def get(name: str) -> Algorithm:
    """The algorithm of this name; imports its module.  Raises `UnknownAlgorithm`."""
    algorithm = import_module(_module(name)).ALGORITHM
    assert isinstance(algorithm, Algorithm)
    return algorithm


def code_files(name: str, package: Path = PACKAGE) -> dict[str, str]:
    """The files behind `code_digest`, with the SHA-256 of each; imports nothing."""
    return import_closure((_module(name), *_ALWAYS), package)


def code_digest(name: str, package: Path = PACKAGE) -> str:
    """0x-hex digest of the algorithm's code: its module, PSI, and all they import in `ml`."""
    return closure_digest(code_files(name, package))


def _module(name: str) -> str:
    if name not in _MODULES:
        raise UnknownAlgorithm(name, catalogue())
    return _MODULES[name]
