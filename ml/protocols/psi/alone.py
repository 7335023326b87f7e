"""Matching as all that a job does: who is told the common rows, the job says.

The programs and messages are those of `ml.protocols.psi`, whose preface says who learns what.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from ml.algorithm import Algorithm
from ml.protocols import psi


class NoParams(BaseModel):
    """A job's terms of matching say everything."""

    model_config = ConfigDict(frozen=True, extra="forbid")


ALGORITHM = Algorithm(
    name="psi",
    version=psi.VERSION,
    params=NoParams,
    fit=psi.PROGRAMS,
    predict={},
    parts={},
    messages=psi.MESSAGES,
    notice=(
        "The guest learns which of its rows each host has. Hosts learn which of their rows all "
        "parties have, unless the job gives the result to the guest alone. All learn how many "
        "distinct ids the others bring. Who brings invented ids learns whether others have them."
    ),
)
