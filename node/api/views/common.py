"""What a job that only matches found, as far as this site learns it."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

from node.api.pages import from_cursor, to_cursor
from node.api.views import jobs
from node.api.views.model import Shown
from node.errors import NotFound
from node.specification import MATCHING_ONLY

if TYPE_CHECKING:
    from node.site import Site


class CommonRow(Shown):
    """The number of the common person, equal at all parties that learn it, and the row's id."""

    common: int
    id: str


class CommonShown(Shown):
    """`common` is how many ids are common; null while that is not known, and at a party that the
    agreement does not tell. `rows` is a page of this site's rows; empty where ids were counted."""

    job: str
    state: str
    common: int | None
    rows: list[CommonRow]
    next: str | None


def show(site: Site, id: str, *, limit: int, cursor: str | None = None) -> CommonShown:
    """Raises `NotFound`, also for a job of another kind."""
    # What computes takes 77 MB, which an API does without until somebody asks for this.
    from node.matching import COMMON, MATCHED
    from node.steps import MADE_BY, folder_of

    with site.store.read() as session:
        job = jobs.find(session, id)
    if job.kind not in MATCHING_ONLY:
        raise NotFound("NotFound", "this job does more than match rows", found=id)
    folder = folder_of(site.settings.jobs, id, job.attempt, MADE_BY[job.kind])
    number, path = folder / COMMON, folder / MATCHED
    common = json.loads(number.read_bytes())["common"] if number.is_file() else None
    position = from_cursor(cursor, int)
    start, at = max(0, int(position[0])) if position else 0, 0
    rows: list[CommonRow] = []
    if path.is_file():
        with path.open(encoding="utf-8", newline="") as file:
            lines = csv.reader(file)
            next(lines, None)  # the header
            for at, line in enumerate(lines, 1):
                if at > start + limit:
                    break
                if at > start:
                    rows.append(CommonRow(common=int(line[0]), id=line[1]))
    more = to_cursor(start + limit) if at > start + limit else None
    return CommonShown(job=id, state=job.state, common=common, rows=rows, next=more)
