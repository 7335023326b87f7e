"""How this site's log stands on the chain: what is anchored, who cosigned it, what is not there."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from sqlalchemy import func, select

from node.api.pages import Page, from_cursor, to_cursor
from node.api.views.model import Shown
from node.api.views.names import Named, Names
from node.audit.entries import type_of
from node.staleness import silent_seconds
from node.store import Anchor, AuditEntry, ChainState, Challenge, Cosignature, SiteMark

if TYPE_CHECKING:
    from node.site import Site

NEWEST = 20
MARKED = {
    "TWO_CHECKPOINTS": "its key signed two heads of {size} entries",
    "ANOTHER_ANCHOR": "its key signed another head of {size} entries than it anchored",
    "UNANSWERED": "it did not prove its head of {size} entries in time",
}
GAP_SECONDS = 600.0  # so long an entry waits for its anchor before somebody should look


class AnchoredHead(Shown):
    """A head on the chain.  `witnesses` are the members that the contract counted, of `needed`;
    `held` is how many sites' cosignatures for contracts this node has of it.

    PENDING: fewer than needed, and not yet ten minutes old.
    """

    size: int
    root: str
    block: int
    tx_hash: str
    anchored_at: float
    state: Literal["PENDING", "WITNESSED", "UNWITNESSED"]
    witnesses: list[Named]
    needed: int
    held: int


class Gap(Shown):
    """`entries` are not under an anchored head, the first `since` then; what tells of anchors alone
    is not counted.  `chain_silent_since`: the chain answered last then, and does not now.
    """

    entries: int
    since: float | None
    chain_silent_since: float | None


class ChallengeShown(Shown):
    """A signed head that its site has to prove on the chain until then (block time).

    `problem`: why this site, which is asked, cannot.
    """

    id: str
    site: str
    name: str | None
    size: int
    root: str
    until: int
    state: Literal["OPEN", "ANSWERED", "SETTLED", "LATE"]
    problem: str


class MarkShown(Shown):
    """A key of a site that was shown on the chain to have signed two tales of its log."""

    site: str
    name: str | None
    key: str
    kind: Literal["TWO_CHECKPOINTS", "ANOTHER_ANCHOR", "UNANSWERED"]
    size: int
    block: int


class AnchoringShown(Shown):
    """This site's heads; challenges and marks of all sites."""

    log_size: int
    gap: Gap
    heads: list[AnchoredHead]
    challenges: list[ChallengeShown]
    marks: list[MarkShown]


def show(site: Site, names: Names) -> AnchoringShown:
    """The newest heads first."""
    with site.store.read() as session:
        challenges = list(session.scalars(select(Challenge).order_by(Challenge.until.desc())))
        marks = list(session.scalars(select(SiteMark).order_by(SiteMark.block.desc())))
    return AnchoringShown(
        log_size=site.log.size,
        gap=gap(site),
        heads=page(site, names, limit=NEWEST).items,
        challenges=[
            ChallengeShown.model_validate(
                {
                    "id": row.id,
                    "site": row.site,
                    "name": names.site(row.site).name,
                    "size": row.size,
                    "root": row.root,
                    "until": row.until,
                    "state": row.state,
                    "problem": row.problem,
                }
            )
            for row in challenges
        ],
        marks=[
            MarkShown.model_validate(
                {
                    "site": row.site,
                    "name": names.site(row.site).name,
                    "key": row.key,
                    "kind": row.kind,
                    "size": row.size,
                    "block": row.block,
                }
            )
            for row in marks
        ],
    )


def page(
    site: Site, names: Names, *, limit: int, cursor: str | None = None, state: str | None = None
) -> Page[AnchoredHead]:
    """This site's heads on the chain, the newest first; raises `Invalid` for a foreign cursor."""
    query = select(Anchor).order_by(Anchor.size.desc()).limit(limit + 1)
    if state is not None:
        query = query.where(Anchor.state == state)
    if (position := from_cursor(cursor, int)) is not None:
        query = query.where(Anchor.size < position[0])
    with site.store.read() as session:
        rows = list(session.scalars(query))
        held = (
            select(Cosignature.size, func.count())
            .where(Cosignature.account_line != "")
            .where(Cosignature.size.in_([row.size for row in rows]))
            .group_by(Cosignature.size)
        )
        counts = dict(session.execute(held).all())
    items = [
        AnchoredHead.model_validate(
            {
                "size": row.size,
                "root": row.root,
                "block": row.block,
                "tx_hash": row.tx_hash,
                "anchored_at": row.anchored_at,
                "state": row.state,
                "witnesses": [names.member(id) for id in row.witnesses],
                "needed": row.needed,
                "held": counts.get(row.size, 0),
            }
        )
        for row in rows[:limit]
    ]
    return Page(items=items, next=to_cursor(rows[limit - 1].size) if len(rows) > limit else None)


def gap(site: Site) -> Gap:
    """What the chain does not have of this log."""
    with site.store.read() as session:
        anchored = session.scalar(select(func.max(Anchor.size))) or 0
        new = (AuditEntry.index >= anchored, AuditEntry.type != type_of("anchor.made"))
        count = session.scalar(select(func.count()).select_from(AuditEntry).where(*new)) or 0
        first = select(AuditEntry.time).where(*new).order_by(AuditEntry.index).limit(1)
        since = session.scalar(first)
        state = session.get(ChainState, 1)
    is_silent = state is not None and (bool(state.problem) or silent_seconds(site) is not None)
    return Gap(
        entries=count,
        since=None if since is None else datetime.fromisoformat(since).timestamp(),
        chain_silent_since=state.seen_at if state is not None and is_silent else None,
    )


def standing(site: Site, clock: Callable[[], float] = time.time) -> tuple[bool, str]:
    """For health: whether the chain has this log and others stand behind it; a sentence."""
    with site.store.read() as session:
        settled = select(Anchor).where(Anchor.state != "PENDING").order_by(Anchor.size.desc())
        newest = session.scalar(settled.limit(1))
        own = select(Challenge).where(Challenge.site == site.settings.site_id)
        challenges = list(session.scalars(own))
        marked = session.scalar(select(SiteMark).where(SiteMark.site == site.settings.site_id))
    if marked is not None:
        told = f"this site is marked: {MARKED[marked.kind].format(size=marked.size)}"
        return False, f"{told}; see /v1/witness"
    if stuck := [row for row in challenges if row.state == "OPEN" and row.problem]:
        return False, f"this site is challenged and cannot answer: {stuck[0].problem}"
    missing = gap(site)
    if missing.since is not None and clock() - missing.since > GAP_SECONDS:
        told = f"{missing.entries} entries, the first of {_at(missing.since)}, are not on the chain"
        if missing.chain_silent_since:
            told += f", which is silent since {_at(missing.chain_silent_since)}"
        return False, told
    if newest is None:
        return True, "no head has been on the chain for long"
    found = f"{len(newest.witnesses)} of {newest.needed} members that are needed"
    if newest.state == "UNWITNESSED":
        told = f"the head of {newest.size} entries is unwitnessed: {found} cosigned it"
        return False, f"{told}; see /v1/witness"
    return True, f"{found} cosigned the head of {newest.size} entries"


def _at(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds")
