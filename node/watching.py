"""Saved views that tell: when the list of one has something new, an alert says so.

What a list showed is kept as short digests of its first `MOST_SEEN` items.  An item that was not
among them is new; where the list was longer than that, only above the lowest one that is still
known, since others come up from below when something leaves.  The first look only remembers.

What telling itself makes (the alert, its entry in the log) is nothing new to any view.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import anyio.to_thread
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from node import alerts, people
from node.audit.entries import OPERATOR
from node.errors import NodeError
from node.saved_views import SavedView, WatchedView
from node.store import Alert, AuditEntry, ChainEvent, ChainTx

if TYPE_CHECKING:
    from node.site import Site

log = logging.getLogger(__name__)

LOOK_SECONDS = 20.0
LONGEST_SECONDS = 600.0  # a list may change although nothing that is counted here did
MOST_SEEN = 1000
DIGEST_CHARACTERS = 16
KIND = "view.new"
SUBJECT = "view:"


class Watching:
    """Looks at the views that are watched.  ``clock`` is in Unix seconds."""

    def __init__(self, site: Site, clock: Callable[[], float] = time.time) -> None:
        self.site, self.clock = site, clock
        self._marks: tuple[Any, ...] | None = None
        self._looked = 0.0

    async def run(self, ending: threading.Event) -> None:
        """Until the process ends."""
        waited = LOOK_SECONDS
        while not ending.is_set():
            if waited >= LOOK_SECONDS:
                waited = 0.0
                try:
                    await anyio.to_thread.run_sync(self.step)
                except NodeError as problem:
                    log.warning("views: %s", problem)
                except Exception:
                    log.exception("views")  # a mistake of ours must not end all telling
            await asyncio.sleep(1.0)
            waited += 1.0

    def step(self) -> int:
        """Look at every watched view if anything happened since; how many have something new."""
        now = self.clock()
        with self.site.store.read() as session:
            marks = _marks(session)
            watched = list(session.scalars(select(WatchedView.view)))
        if marks == self._marks and now - self._looked < LONGEST_SECONDS:
            return 0
        told = sum(self._look(id, now) for id in watched)
        self._marks, self._looked = marks, now
        return told

    def _look(self, id: str, now: float) -> bool:
        """Whether the list of a view has something new; it is told and remembered."""
        with self.site.store.read() as session:
            view = session.get(SavedView, id)
            if view is None or not _may_still_read(session, view.owner, now):
                return False
            name, query = view.list, view.query
        problem, seen = "", None
        try:
            seen = self._seen(name, query)
        except NodeError as error:
            problem = f"{error.code}: {error.detail}"[:200]
        with self.site.store.begin() as session:
            view, watched = session.get(SavedView, id), session.get(WatchedView, id)
            if view is None or watched is None:
                return False  # removed, or not watched any more, meanwhile
            watched.looked_at, watched.problem = now, problem
            if seen is None:
                return False
            new = [] if watched.seen is None else new_among(seen, watched.seen)
            watched.seen = [*seen]
            if new:
                watched.found_at, watched.found = now, len(new)
                # Everybody at the site reads alerts: a name and a filter are their owner's alone.
                told = {"list": view.list, "new": len(new)}
                alerts.see(session, KIND, SUBJECT + id, told, about=new[0] + str(now), now=now)
        return bool(new)

    def _seen(self, name: str, query: str) -> Sequence[str]:
        """Digests of the first items that the list shows, in its order.  Raises `NodeError`."""
        from chain.errors import ChainError
        from node.api.pages import MAX_LIMIT
        from node.errors import Unavailable
        from node.ui.asked import asking
        from node.ui.lists import LISTS

        listing, cursor = LISTS[name], None
        found: list[str] = []
        request = asking(self.site, f"/{name}", query)
        try:
            while len(found) < MOST_SEEN:
                page = listing.read(request, MAX_LIMIT, cursor)
                found += [listing.key(item) for item in page.items if not _is_ours(name, item)]
                cursor = page.next
                if cursor is None:
                    break
        except ChainError as error:
            raise Unavailable("ChainUnavailable", str(error)) from error
        return [
            hashlib.sha256(key.encode()).hexdigest()[:DIGEST_CHARACTERS]
            for key in found[:MOST_SEEN]
        ]


def new_among(seen: Sequence[str], known: Sequence[str]) -> list[str]:
    """What of a list was not in it before."""
    held = set(known)
    if len(known) < MOST_SEEN:
        return [key for key in seen if key not in held]
    lowest = max((place for place, key in enumerate(seen) if key in held), default=len(seen))
    return [key for key in seen[:lowest] if key not in held]


def _marks(session: Session) -> tuple[Any, ...]:
    """What changes whenever something happens here or on the chain."""
    newest = (ChainEvent.id, AuditEntry.index, ChainTx.changed_at)
    alert = select(func.count(), func.max(Alert.first_seen)).where(Alert.kind != KIND)
    return (
        *(session.scalar(select(func.max(column))) for column in newest),
        *session.execute(alert).one(),
        session.scalar(select(func.max(WatchedView.created_at))),
    )


def _may_still_read(session: Session, owner: str, now: float) -> bool:
    return owner == OPERATOR or people.standing(session, owner, now) is not None


def _is_ours(name: str, item: Any) -> bool:
    if name == "alerts":
        return bool(item.kind == KIND)
    return name == "log" and str(item.subject).startswith(SUBJECT)
