"""Predictions: jobs of that kind, and the scores that the guest's site keeps."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

from node.api.pages import from_cursor, to_cursor
from node.api.views import jobs
from node.api.views.jobs import JobSummary
from node.api.views.model import Shown
from node.api.views.names import Names
from node.errors import NotFound

if TYPE_CHECKING:
    from node.site import Site

FILE = Path("predict") / "predictions.csv"


class Score(Shown):
    """The id as it stands in the guest's file, and the model's score in [0, 1]."""

    id: str
    score: float


class PredictionShown(Shown):
    """`scores` is a page of them; empty while there are none, and at all but the guest's."""

    job: JobSummary
    rows: int | None
    scores: list[Score]
    next: str | None


def show(
    site: Site, names: Names, id: str, *, limit: int, cursor: str | None = None
) -> PredictionShown:
    """Raises `NotFound`, also for a job of another kind."""
    job = jobs.show(site, names, id)
    if job.kind != "predict":
        raise NotFound("NotFound", "this job makes no prediction", found=id)
    summary = JobSummary(**{name: getattr(job, name) for name in JobSummary.model_fields})
    path = site.settings.jobs / id / str(job.attempt) / FILE
    if not path.is_file():
        return PredictionShown(job=summary, rows=None, scores=[], next=None)
    position = from_cursor(cursor, int)
    start = max(0, int(position[0])) if position else 0
    scores, rows = [], 0
    with path.open(encoding="utf-8", newline="") as file:
        lines = csv.reader(file)
        next(lines, None)  # the header
        for rows, line in enumerate(lines, 1):
            if start < rows <= start + limit:
                scores.append(Score(id=line[0], score=float(line[1])))
    more = to_cursor(start + limit) if rows > start + limit else None
    return PredictionShown(job=summary, rows=rows, scores=scores, next=more)
