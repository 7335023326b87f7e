"""Copies of other sites' logs as they are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from node.api.views.model import Shown
from node.api.views.names import Names
from node.store import MirroredLog

if TYPE_CHECKING:
    from node.site import Site


class MirrorShown(Shown):
    """The copy makes the head of `size` and `root`; of the entries it has the first `entries`.

    `withheld` says why it has no more of them, `problem` what hindered the last look. `reread_at`:
    when all of it had last been held against the server again. Times are UTC seconds.
    """

    site: str
    name: str | None
    size: int
    root: str
    entries: int
    bytes: int
    copied_at: float | None
    looked_at: float | None
    reread_at: float | None
    problem: str
    withheld: str
    path: str


def every(site: Site, names: Names) -> list[MirrorShown]:
    """By site."""
    with site.store.read() as session:
        rows = list(session.scalars(select(MirroredLog).order_by(MirroredLog.log_id)))
    return [
        MirrorShown(
            site=row.log_id,
            name=names.site(row.log_id).name,
            size=row.size,
            root=row.root,
            entries=row.entries,
            bytes=row.bytes,
            copied_at=row.copied_at,
            looked_at=row.looked_at,
            reread_at=row.reread_at,
            problem=row.problem,
            withheld=row.withheld,
            path=f"/mirror/{row.log_id}",
        )
        for row in rows
    ]
