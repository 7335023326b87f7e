"""The data-use statement of each month that ended: made by itself, kept, entered and told.

    HOME/statements/<month>.json      as it was made when the month was over by the chain's time

A data owner need not ask for it: every month since this site was registered has one, those that
ended while the node was down as well.  What is kept is what everybody is shown from then on.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio.to_thread
from sqlalchemy import select
from sqlalchemy.orm import Session

from chain import canonical
from chain.statement import bounds
from node import alerts
from node.audit.entries import record
from node.errors import NodeError
from node.files import make_private, write_private
from node.refusals import chain_errors
from node.store import Alert, ChainEvent, ChainState
from node.use_statement import content_of, statement

if TYPE_CHECKING:
    from node.site import Site

log = logging.getLogger(__name__)

LOOK_SECONDS = 60.0
KIND = "statement.made"
MOST = 120  # months that are listed


class Monthly:
    """Makes what is lacking; one pass after the other."""

    def __init__(self, site: Site) -> None:
        self.site = site

    async def run(self, ending: threading.Event) -> None:
        """Until the process ends."""
        seconds = 0.0
        while not ending.is_set():
            if seconds <= 0:
                seconds = LOOK_SECONDS
                try:
                    await anyio.to_thread.run_sync(self.step)
                except NodeError as problem:
                    log.warning("monthly statement: %s", problem)
                except Exception:
                    log.exception("monthly statement")  # a mistake of ours must not end it
            seconds -= 1
            await asyncio.sleep(1)

    def step(self) -> list[str]:
        """Make the statement of every month that ended and has none; which ones it were.

        Raises `Unavailable` while the chain is silent, and as `statement` does.
        """
        if not self.site.is_registered:
            return []
        made = [month for month in self._ended() if not _path(self.site, month).is_file()]
        for month in made:
            self._make(month)
        return made

    def _ended(self) -> Iterator[str]:
        """The months since the one of the registration that are over by the blocks that count."""
        with self.site.store.read() as session:
            state = session.get(ChainState, 1)
            registered = _registered_in(session, self.site.id)
        if state is None or registered is None or state.cursor_block < registered:
            return
        with chain_errors():
            client = self.site.network().client
            reached = client.block(state.cursor_block).timestamp
            month = _month_of(client.block(registered).timestamp)
        while (end := bounds(month)[1]) <= reached:
            yield month
            month = _month_of(end)

    def _make(self, month: str) -> None:
        """Written first, then entered and told in one transaction, then kept under its name: who is
        interrupted goes on, and tells of no month twice."""
        final = _path(self.site, month)
        made = final.with_suffix(".made")
        make_private(final.parent)
        if not made.is_file():
            write_private(made, content_of(statement(self.site, month)))
        content = made.read_bytes()
        told = {"month": month, "digest": canonical.digest(content)}
        with self.site.store.begin() as session:
            if not _is_told(session, told):
                totals = json.loads(content)["totals"]
                record(session, KIND, self.site.id, {**told, "uses": totals["uses"]}, "monitor")
                alerts.see(session, KIND, self.site.id, {**told, **totals}, about=month)
        made.rename(final)


# ── What is kept ─────────────────────────────────────────────────────────────────────────────


def kept_files(site: Site) -> list[Path]:
    """The statements that were made by themselves, named by their months, the newest first."""
    folder = site.settings.statements
    return sorted(folder.glob("????-??.json"), reverse=True)[:MOST]


def kept_statement(site: Site, month: str) -> dict[str, Any] | None:
    """The statement of a month as it was made when the month was over; None where there is none."""
    try:
        found: dict[str, Any] = json.loads(_path(site, month).read_bytes())
    except FileNotFoundError:
        return None
    return found


def _path(site: Site, month: str) -> Path:
    return site.settings.statements / f"{month}.json"


def _is_told(session: Session, told: dict[str, str]) -> bool:
    rows = session.scalars(select(Alert.evidence).where(Alert.kind == KIND))
    return any(told.items() <= evidence.items() for evidence in rows)


def _registered_in(session: Session, site_id: str) -> int | None:
    """The block in which the site was registered, as far as it was read."""
    query = select(ChainEvent.block, ChainEvent.args).where(
        ChainEvent.contract == "SiteRegistry", ChainEvent.name == "SiteRegistered"
    )
    blocks = [block for block, args in session.execute(query) if args["id"] == site_id]
    return min(blocks, default=None)


def _month_of(time: int) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m")
