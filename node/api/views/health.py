"""Whether the parts of a site live, and since when the chain is silent."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from node.api.views import anchoring
from node.api.views.model import Shown
from node.errors import NodeError
from node.staleness import silent_seconds, warning
from node.store import (
    AuditEntry,
    AuditPending,
    ChainState,
    ChainTx,
    Lease,
    LogConflict,
    Task,
    WitnessedHead,
)
from node.up import living_pid
from node.witness import FORK

if TYPE_CHECKING:
    from node.site import Site

LIVE, READY, DEGRADED = "live", "ready", "degraded"


class Part(Shown):
    """`detail` is a sentence for a person."""

    ok: bool
    detail: str


class Figures(Shown):
    """Blocks, seconds and counts; `log_pending` entries wait for their place in the log."""

    site_id: str | None
    account: str
    chain_id: int
    head_block: int
    read_to_block: int
    silent_seconds: float | None
    log_size: int
    log_pending: int
    tasks_running: int
    transactions_open: int


class Health(Shown):
    """Without the token only `status` is told. `stale`: the node's view of the chain is too old,
    and `warning` says so in a line."""

    status: str
    ready: bool | None = None
    stale: bool | None = None
    warning: str | None = None
    name: str | None = None
    parts: dict[str, Part] | None = None
    figures: Figures | None = None


def show(site: Site) -> Health:
    """`ready`: all parts live and the chain is not stale."""
    parts = {"database": Part(ok=True, detail="answers")}
    try:
        figures = _figures(site)
    except NodeError as error:
        parts["database"] = Part(ok=False, detail=error.detail)
        return Health(status=DEGRADED, ready=False, name=site.settings.name, parts=parts)
    parts["chain"] = _chain(site)
    parts["broker"] = _broker(site)
    parts["sync"] = _sync(site)
    parts["worker"] = _worker(site)
    ready = all(part.ok for part in parts.values())
    parts["witness"] = _witness(site)  # another site's lie makes this one no less ready
    is_anchored, told = anchoring.standing(site)  # work goes on while the chain is away
    parts["anchors"] = Part(ok=is_anchored, detail=told)
    silent = silent_seconds(site)
    return Health(
        status=READY if ready else DEGRADED,
        ready=ready,
        stale=silent is not None,
        warning=None if silent is None else warning(silent, site.settings.staleness_seconds),
        name=site.settings.name,
        parts=parts,
        figures=figures,
    )


def _figures(site: Site) -> Figures:
    with site.store.read() as session:
        state = session.get(ChainState, 1) or ChainState(
            chain_id=0, head_block=0, cursor_block=-1, seen_at=0.0
        )
        size = session.scalar(select(func.max(AuditEntry.index)))
        pending = session.scalar(select(func.count()).select_from(AuditPending))
        running = session.scalar(
            select(func.count()).select_from(Task).where(Task.state == "RUNNING")
        )
        waiting = session.scalar(
            select(func.count())
            .select_from(ChainTx)
            .where(ChainTx.state.in_(("WAITING", "SIGNED", "SENT", "MINED")))
        )
    return Figures(
        site_id=site.settings.site_id,
        account=site.identity.address,
        chain_id=state.chain_id,
        head_block=state.head_block,
        read_to_block=state.cursor_block,
        silent_seconds=round(time.time() - state.seen_at, 1) if state.seen_at else None,
        log_size=0 if size is None else size + 1,
        log_pending=pending or 0,
        tasks_running=running or 0,
        transactions_open=waiting or 0,
    )


def _chain(site: Site) -> Part:
    with site.store.read() as session:
        state = session.get(ChainState, 1)
    if state is None or not state.seen_at:
        return Part(ok=False, detail="not read yet")
    if state.problem:
        return Part(ok=False, detail=state.problem)
    silent = time.time() - state.seen_at
    allowed = site.settings.staleness_seconds
    if silent > allowed:
        return Part(ok=False, detail=f"silent for {silent:.0f} s; allowed are {allowed:.0f} s")
    return Part(ok=True, detail=f"block {state.head_block}, read to {state.cursor_block}")


def _broker(site: Site) -> Part:
    try:
        site.doorbell.check()
    except NodeError as error:
        return Part(ok=False, detail=error.detail)
    return Part(ok=True, detail="answers")


def _sync(site: Site) -> Part:
    with site.store.read() as session:
        lease = session.get(Lease, "sync")
    if lease is None:
        return Part(ok=False, detail="never started")
    left = lease.until - time.time()
    if left <= 0:
        return Part(ok=False, detail=f"its lease ended {-left:.0f} s ago")
    return Part(ok=True, detail=f"holds its lease for {left:.0f} s more")


def _witness(site: Site) -> Part:
    with site.store.read() as session:
        liars = set(session.scalars(select(LogConflict.log_id).where(LogConflict.kind == FORK)))
        unproven = set(session.scalars(select(LogConflict.log_id))) - liars
        heads = list(session.scalars(select(WitnessedHead)))
    if liars:
        told = ", ".join(sorted(liars)[:3])
        return Part(
            ok=False, detail=f"{len(liars)} logs showed two histories: {told}; see /v1/witness"
        )
    if unproven:
        told = ", ".join(sorted(unproven)[:3])
        detail = f"{len(unproven)} logs did not prove a head that they showed: {told}"
        return Part(ok=False, detail=f"{detail}; see /v1/witness")
    if back := sum(1 for head in heads if head.problem.startswith("HeadWentBack")):
        return Part(ok=False, detail=f"{back} logs show an older head than before")
    if hindered := sum(1 for head in heads if head.problem):
        detail = f"{hindered} of {len(heads)} logs could not be cosigned at the last look"
        return Part(ok=True, detail=detail)
    return Part(ok=True, detail=f"{len(heads)} logs of others go on as they began")


def _worker(site: Site) -> Part:
    pid = living_pid(site.settings.run / "worker.pid")
    if pid is None:
        return Part(ok=False, detail="no worker runs under this home's supervisor")
    return Part(ok=True, detail=f"process {pid}, {site.settings.slots} slots")
