"""What a site keeps to itself in every job, whatever a job or a grant says.

``privacy_min_rows``          no step goes on with fewer rows: of the dataset, or in common
``privacy_withheld_columns``  never read into a conversation (`node.columns`)
``privacy_metric_noise``      Laplace noise on the numbers that this site tells others of a job

The noise is drawn once for a job and a number and kept: who asks again gets the same number, and
no mean over many answers takes it away.  It blurs single numbers and gives no formal guarantee:
other jobs on the same rows tell other numbers.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from node.errors import Refused
from node.store import ReleasedNoise

if TYPE_CHECKING:
    from node.store import Store

SCORED = ("joint", "alone")  # parts of the metrics that are about rows of this site
SHARES = ("auc", "ks", "accuracy", "r2")  # shown between 0 and 1
FREE = ("log_loss",)  # from 0 on
UNITS = ("rmse", "mae")  # from 0 on, in the unit of the labels: noise is a share of the number
DECIMALS = 6

_random = secrets.SystemRandom()


def require_rows(found: int, least: int, what: str) -> None:
    """Raises `Refused` (``TooFewRows``)."""
    if found < least:
        raise Refused(
            "TooFewRows",
            f"{what}: {found} rows; this site goes on with {least} or more",
            found=found,
            allowed=least,
        )


def released(store: Store, job_id: str, metrics: Mapping[str, Any], scale: float) -> dict[str, Any]:
    """The metrics as others may see them; ``scale`` 0 leaves them as they are.

    Shares and losses get noise of that scale, a count the same on its share of the rows.
    """
    if scale == 0:
        return dict(metrics)
    told = dict(metrics)
    for part in SCORED:
        if isinstance(numbers := told.get(part), dict):
            told[part] = _blurred(store, job_id, part, numbers, scale)
    return told | {"noise": {"scale": repr(scale), "kind": "laplace", "guarantee": "none"}}


def _blurred(
    store: Store, job_id: str, part: str, numbers: Mapping[str, Any], scale: float
) -> dict[str, Any]:
    shown = dict(numbers)
    for name in (*SHARES, *FREE):
        if isinstance(value := numbers.get(name), int | float):
            moved = value + _noise(store, job_id, f"{part}.{name}", scale)
            most = 1.0 if name in SHARES else math.inf
            shown[name] = round(min(max(moved, 0.0), most), DECIMALS)
    for name in UNITS:
        if isinstance(value := numbers.get(name), int | float):
            moved = value * (1.0 + _noise(store, job_id, f"{part}.{name}", scale))
            shown[name] = round(max(moved, 0.0), DECIMALS)
    rows, positives = numbers.get("rows"), numbers.get("positives")
    if isinstance(rows, int) and isinstance(positives, int):
        moved = positives + rows * _noise(store, job_id, f"{part}.positives", scale)
        shown["positives"] = min(max(round(moved), 0), rows)
    return shown


def _noise(store: Store, job_id: str, name: str, scale: float) -> float:
    """The noise of this number: what was drawn first, for ever.  Durable before it is used."""
    with store.begin() as session:
        row = session.get(ReleasedNoise, (job_id, name))
        if row is None:
            row = ReleasedNoise(job_id=job_id, name=name, noise=_laplace(scale))
            session.add(row)
        return row.noise


def _laplace(scale: float) -> float:
    """Laplace noise: the difference of two exponential variables of mean ``scale``."""
    return _random.expovariate(1 / scale) - _random.expovariate(1 / scale)
