"""Whether the log, its witnesses and the chain say the same of this site's log, now.

The log is the node's database and tiles; witnesses are the cosignatures that other members' sites
made of the head that is shown, each verified again over the root that the log has today; the chain
is asked itself for the newest anchored head, beside what the confirmed events told.  What cannot be
asked is unknown, and never well.

The note and the keys of who signed it go along, so that a browser believes none of that but checks
the signatures itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sqlalchemy import select

from node.api.views import anchoring, witnessed
from node.api.views.model import Shown
from node.api.views.names import Named, Names
from node.api.views.witnessed import Witnessed
from node.audit.checkpoint import Checkpoint, origin_of
from node.audit.notes import Signature
from node.errors import Failed, NodeError
from node.store import Anchor, ChainState, Challenge, Cosignature, PublishedHead, SiteMark

if TYPE_CHECKING:
    from node.site import Site

KEPT_SECONDS = 3.0  # however many look on, witnesses' keys and the chain are asked so often
LAG_BLOCKS = 3  # so many come while one is read

Verdict = Literal["agree", "behind", "unknown", "differ"]
WORST: tuple[Verdict, ...] = ("differ", "unknown", "behind", "agree")


class Side(Shown):
    """`why` is a key of the message catalogue behind ``badge.``; `count` fills it in."""

    state: Verdict
    why: str
    count: int


class Since(Shown):
    """What leads from a head that the asker remembers to the head that is shown (RFC 6962)."""

    size: int
    root: str
    proof: list[str]


class BadgeShown(Shown):
    """`size` and `root` are of the head shown; `anchored` of the newest on the chain.

    `witnessed` is null while the chain does not tell whose keys are whose.
    """

    state: Verdict
    size: int
    root: str | None
    pending: int
    log: Side
    witnesses: Side
    chain: Side
    cosigned_by: list[Named]
    witnessed: Witnessed | None
    anchored: int
    anchored_root: str | None
    head_block: int
    looked_at: float
    since: Since | None


@dataclass(frozen=True)
class _Asked:
    """What was asked of others about a head, and when."""

    at: float
    head: tuple[int, str | None]
    witnesses: Side
    witnessed: Witnessed | None
    chain: Side
    cosigned_by: tuple[Named, ...]


class Badge:
    """One per process; safe for threads.  ``clock`` is in Unix seconds."""

    def __init__(self, site: Site, names: Names, clock: Callable[[], float] = time.time) -> None:
        self._site = site
        self._names = names
        self._clock = clock
        self._lock = threading.Lock()
        self._asked: _Asked | None = None

    def look(self, seen: int | None = None) -> BadgeShown:
        """`seen`: the size of a head that the asker remembers."""
        site = self._site
        with site.store.read() as session:
            shown = session.scalar(
                select(PublishedHead.size).order_by(PublishedHead.size.desc()).limit(1)
            )
            anchor = session.scalar(select(Anchor).order_by(Anchor.size.desc()).limit(1))
            state = session.get(ChainState, 1)
        size = site.log.size if shown is None else shown
        root, log = self._log(size, anchor)
        asked = self._ask(size, root, anchor)
        every = (log.state, asked.witnesses.state, asked.chain.state)
        return BadgeShown(
            state=next(verdict for verdict in WORST if verdict in every),
            size=size,
            root=root,
            pending=max(0, site.log.size - size) + site.log.pending,
            log=log,
            witnesses=asked.witnesses,
            chain=asked.chain,
            cosigned_by=list(asked.cosigned_by),
            witnessed=asked.witnessed,
            anchored=0 if anchor is None else anchor.size,
            anchored_root=None if anchor is None else anchor.root,
            head_block=0 if state is None else state.head_block,
            looked_at=asked.at,
            since=None if root is None else self._since(seen, size),
        )

    def _log(self, size: int, anchor: Anchor | None) -> tuple[str | None, Side]:
        """The root of the head shown, if the log still has one, and whether it goes with what the
        chain was seen to hold."""
        log = self._site.log
        try:
            root = _hex(log.root(size))
            if anchor is not None and anchor.size > log.size:
                return root, Side(state="differ", why="log.shorter", count=anchor.size)
            if anchor is not None and _hex(log.root(anchor.size)) != anchor.root:
                return root, Side(state="differ", why="log.anchor", count=anchor.size)
        except (Failed, NodeError):
            return None, Side(state="differ", why="log.broken", count=size)
        return root, Side(state="agree", why="log.size", count=size)

    def _since(self, seen: int | None, size: int) -> Since | None:
        log = self._site.log
        if seen is None or not 0 < seen <= size:
            return None
        proof = [] if seen == size else log.consistency_proof(seen, size)
        return Since(size=seen, root=_hex(log.root(seen)), proof=[_hex(node) for node in proof])

    def _ask(self, size: int, root: str | None, anchor: Anchor | None) -> _Asked:
        with self._lock:
            now = self._clock()
            known = self._asked
            if known is None or now - known.at > KEPT_SECONDS or known.head != (size, root):
                rows = self._rows(size)
                witnesses, by = self._witnesses(size, root, rows)
                shown = None if root is None else witnessed.look(self._site, size, root, rows)
                known = _Asked(now, (size, root), witnesses, shown, self._chain(anchor), by)
                self._asked = known
            return known

    # ── Witnesses ────────────────────────────────────────────────────────────────────────────

    def _rows(self, size: int) -> list[Cosignature]:
        with self._site.store.read() as session:
            return list(session.scalars(select(Cosignature).where(Cosignature.size == size)))

    def _witnesses(
        self, size: int, root: str | None, rows: Sequence[Cosignature]
    ) -> tuple[Side, tuple[Named, ...]]:
        site = self._site
        if root is None or not site.is_registered or not rows:
            return Side(state="behind", why="witnesses.none", count=0), ()
        text = Checkpoint(origin_of(site.id), size, bytes.fromhex(root[2:])).text
        try:
            verified = {
                row.witness: key.verifies(text, line.blob)
                for row in rows
                if (line := Signature.parse(row.line))
                and (key := witnessed.cosigner(site.directory, row.witness, line))
            }
        except NodeError:
            return Side(state="unknown", why="witnesses.unknown", count=len(rows)), ()
        if not verified:  # by keys that ended meanwhile
            return Side(state="behind", why="witnesses.none", count=0), ()
        if wrong := [id for id, holds in verified.items() if not holds]:
            return Side(state="differ", why="witnesses.differ", count=len(wrong)), ()
        by = tuple(self._names.site(id) for id in sorted(verified))
        return Side(state="agree", why="witnesses.agree", count=len(by)), by

    # ── The chain ────────────────────────────────────────────────────────────────────────────

    def _chain(self, anchor: Anchor | None) -> Side:
        from chain.errors import ChainError

        site = self._site
        if (marked := self._marked()) is not None:
            return marked  # whatever else is so, and also while the chain is silent
        if not site.is_registered:
            return Side(state="unknown", why="chain.unregistered", count=0)
        try:
            network = site.network()
            on_chain = network.anchors.head(site.id)
            head = network.client.head().number
        except (ChainError, NodeError):
            return Side(state="unknown", why="chain.silent", count=0)
        try:
            if on_chain.size > site.log.size:
                return Side(state="differ", why="chain.longer", count=on_chain.size)
            if on_chain.size and _hex(site.log.root(on_chain.size)) != on_chain.root:
                return Side(state="differ", why="chain.differ", count=on_chain.size)
        except (Failed, NodeError):
            return Side(state="differ", why="log.broken", count=on_chain.size)
        if anchor is not None and on_chain.size < anchor.size:
            return Side(state="differ", why="chain.lost", count=anchor.size)
        with site.store.read() as session:
            state = session.get(ChainState, 1)
        read_to = -1 if state is None else state.cursor_block
        if (lag := head - site.settings.confirmations - read_to) > LAG_BLOCKS:
            return Side(state="behind", why="chain.behind", count=lag)
        if not on_chain.size:
            return Side(state="behind", why="chain.none", count=0)
        if (unwitnessed := self._unwitnessed()) is not None:
            return unwitnessed
        missing = anchoring.gap(site)
        if missing.since is not None and self._clock() - missing.since > anchoring.GAP_SECONDS:
            return Side(state="behind", why="chain.gap", count=missing.entries)
        return Side(state="agree", why="chain.agree", count=on_chain.size)

    def _marked(self) -> Side | None:
        """What the contracts hold against this site's log."""
        own = self._site.settings.site_id
        with self._site.store.read() as session:
            size = session.scalar(select(SiteMark.size).where(SiteMark.site == own).limit(1))
            if size is None:
                lost = Challenge.state.in_(("SETTLED", "LATE"))
                query = select(Challenge.size).where(Challenge.site == own, lost)
                size = session.scalar(query.limit(1))
        return None if size is None else Side(state="differ", why="chain.marked", count=size)

    def _unwitnessed(self) -> Side | None:
        """Whether too few stand behind the newest head that is settled."""
        with self._site.store.read() as session:
            settled = select(Anchor).where(Anchor.state != "PENDING").order_by(Anchor.size.desc())
            newest = session.scalar(settled.limit(1))
        if newest is None or newest.state != "UNWITNESSED":
            return None
        return Side(state="behind", why="chain.unwitnessed", count=len(newest.witnesses))


def _hex(value: bytes) -> str:
    return "0x" + value.hex()
