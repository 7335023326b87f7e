"""What this site's log shows to witnesses, and what this site as a witness saw of others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from sqlalchemy import select

from node.api.pages import Page, from_cursor, to_cursor
from node.api.views import anchoring
from node.api.views.anchoring import AnchoringShown
from node.api.views.model import Shown
from node.api.views.names import Names
from node.store import Cosignature, LogConflict, PublishedHead, WitnessedHead

if TYPE_CHECKING:
    from node.site import Site


class CosignerShown(Shown):
    """`time` is what the witness says, Unix seconds."""

    site: str
    name: str | None
    time: int
    for_contracts: bool  # it came with the line of an anchor key


class PublishedShown(Shown):
    """The head that is shown now, and who cosigned it."""

    size: int
    root: str
    published_at: float
    for_contracts: bool  # this site's anchor key signed it
    cosigned_by: list[CosignerShown]


class WitnessedShown(Shown):
    """The last head of a log that this site cosigned; `problem` is why not at its last look."""

    site: str
    name: str | None
    size: int
    root: str
    cosigned_at: float | None
    looked_at: float | None
    problem: str


class ConflictShown(Shown):
    """`fork`: two roots of one size, or two histories; `unproven`: the log had no proof.

    Both notes bear the log's own signature.  `posted`: to the chain; NEEDLESS where the site is
    marked already or anchored what it showed, UNSIGNED where its anchor key signed nothing.
    """

    site: str
    name: str | None
    kind: str
    known: str
    shown: str
    found_at: float
    posted: Literal["", "POSTED", "NEEDLESS", "UNSIGNED", "REFUSED"]


class WitnessShown(Shown):
    published: PublishedShown | None
    anchoring: AnchoringShown
    heads: list[WitnessedShown]
    conflicts: list[ConflictShown]


def page(
    site: Site, names: Names, *, limit: int, cursor: str | None = None, seen: bool | None = None
) -> Page[WitnessedShown]:
    """Heads of other sites' logs, by the site's id; `seen`: whether the last look found no fault.

    Raises `Invalid` for a foreign cursor.
    """
    query = select(WitnessedHead).order_by(WitnessedHead.log_id).limit(limit + 1)
    if seen is not None:
        is_well = WitnessedHead.problem == ""
        query = query.where(is_well if seen else ~is_well)
    if (position := from_cursor(cursor, str)) is not None:
        query = query.where(WitnessedHead.log_id > position[0])
    with site.store.read() as session:
        rows = list(session.scalars(query))
    return Page(
        items=[_witnessed(row, names) for row in rows[:limit]],
        next=to_cursor(rows[limit - 1].log_id) if len(rows) > limit else None,
    )


def _witnessed(row: WitnessedHead, names: Names) -> WitnessedShown:
    return WitnessedShown(
        site=row.log_id,
        name=names.site(row.log_id).name,
        size=row.size,
        root=row.root,
        cosigned_at=row.cosigned_at,
        looked_at=row.looked_at,
        problem=row.problem,
    )


def show(site: Site, names: Names) -> WitnessShown:
    with site.store.read() as session:
        newest = session.scalar(select(PublishedHead).order_by(PublishedHead.size.desc()).limit(1))
        size = 0 if newest is None else newest.size
        of_head = select(Cosignature).where(Cosignature.size == size).order_by(Cosignature.time)
        cosigned = list(session.scalars(of_head))
        heads = list(session.scalars(select(WitnessedHead).order_by(WitnessedHead.log_id)))
        conflicts = list(session.scalars(select(LogConflict).order_by(LogConflict.id.desc())))
    published = None
    if newest is not None:
        published = PublishedShown(
            size=size,
            root="0x" + site.log.root(size).hex(),
            published_at=newest.published_at,
            for_contracts=bool(newest.line),
            cosigned_by=[
                CosignerShown(
                    site=row.witness,
                    name=names.site(row.witness).name,
                    time=row.time,
                    for_contracts=bool(row.account_line),
                )
                for row in cosigned
            ],
        )
    return WitnessShown(
        published=published,
        anchoring=anchoring.show(site, names),
        heads=[_witnessed(row, names) for row in heads],
        conflicts=[
            ConflictShown.model_validate(
                {
                    "site": row.log_id,
                    "name": names.site(row.log_id).name,
                    "kind": row.kind,
                    "known": row.known,
                    "shown": row.shown,
                    "found_at": row.found_at,
                    "posted": row.posted,
                }
            )
            for row in conflicts
        ],
    )
