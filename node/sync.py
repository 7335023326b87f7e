"""The one writer of a site: sends its transactions, follows the chain, orders the audit log.

    python -m node.sync --home HOME

One process per site, under a lease in the database.  Everything it does is read from rows and
written as rows, so it may be killed at any moment and goes on where it stood:

    chain     send what is wanted, read the confirmed events, end what the head does not allow
    log       give pending entries their places, anchor the head now and then and when a job ends,
              send who cosigned it; post what convicts other logs, and answer for this one
    index     let new entries and events be found
    tasks     end those whose lease ran out; beside the loop, the scheduler moves jobs on
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import update
from sqlalchemy.orm import Session

from node import heads, votes
from node.anchoring import Anchoring
from node.arrival import Arrival
from node.audit.entries import record
from node.auditing import Auditing
from node.chain_tx import Sender
from node.changes import LOOK_SECONDS, Changes
from node.courier import Courier
from node.directory import ChainDirectory
from node.enactment import Enactment
from node.equivocations import Equivocations
from node.errors import Failed, NodeError, Unavailable
from node.events import Events, chain_state
from node.index.indexing import Indexing
from node.jobs import intent_refused
from node.kept import forget_ended, sweep
from node.leases import LEASE_SECONDS, Alone, sweep_tasks
from node.mirroring import Mirroring
from node.monitor import Monitor
from node.monthly import Monthly
from node.rotation import Rotation
from node.rounds import Rounds
from node.scheduler import Scheduler
from node.site import Site
from node.store import ChainTx
from node.takeover import TakeOver
from node.watching import Watching
from node.webhook import Webhook
from node.withdrawal import Watch

if TYPE_CHECKING:
    from chain.calls import BlockRef
    from chain.client import ChainClient
    from chain.indexer import Indexer
    from chain.network import Network

log = logging.getLogger(__name__)

LOOP_SECONDS = 0.3  # a third of a block
FORGET_MARGIN_SECONDS = 60.0  # jobs end a little before the pass that sees it
INDEX_SECONDS = 0.2  # of a pass, but for the batch that is begun


class Sync:
    """One pass after the other; ``step`` is one pass, for tests, too."""

    def __init__(self, site: Site, clock: Callable[[], float] = time.time) -> None:
        self.site = site
        self.clock = clock
        self.client: ChainClient | None = None
        self.network: Network | None = None
        self.sender: Sender | None = None
        self.indexer: Indexer | None = None
        self.read_up_to: BlockRef | None = None  # the head of the last whole pass
        self.watch = Watch(site, clock)
        self.anchoring = Anchoring(site, clock)
        self.equivocations = Equivocations(site)
        self.enactment = Enactment(site)
        self.arrival = Arrival(site)
        self.rotation = Rotation(site, clock)
        self.take_over = TakeOver(site)
        self.indexing = Indexing(site.store, site.log)
        self.forgotten_until: float | None = None  # None: whatever a crash left is looked for

    def step(self) -> None:
        """One pass.  A silent chain holds up the log and the tasks in nothing.

        Raises `Failed` (``ChainRegressed``, ``WrongChain``): then the node must not go on.
        """
        self._chain()
        self._log()
        self._index()
        self._tasks()

    def has_new_head(self) -> bool:
        """Whether the chain went on since the last whole pass; true where it does not say."""
        from chain.errors import ChainError

        if self.client is None or self.read_up_to is None:
            return True
        try:
            return self.client.head() != self.read_up_to
        except ChainError:
            return True

    # ── Chain ────────────────────────────────────────────────────────────────────────────────

    def _chain(self) -> None:
        from chain import errors

        try:
            self._connect()
            assert self.client is not None
            assert self.sender is not None
            assert self.indexer is not None
            assert self.network is not None
            if self.client.address != self.site.identity.address:
                self._follow_account()
                return
            head = self.client.head()
            if head == self.read_up_to:
                self.sender.send_new()  # nothing else can have changed
                return
            self._seen(head)
            if self.site.is_registered:
                self.watch.hold_to_head(head)  # first of all: who withdrew waits for this
            self.sender.step(head.number)
            if self.indexer.step() and isinstance(self.site.directory, ChainDirectory):
                self.site.directory.forget()
            self.arrival.step(self.network, head)
            if self.site.is_registered:
                self.watch.expire(head)
                self.anchoring.step(self.network)
                self.equivocations.step(self.network, head)
                self.rotation.step(self.network, head)
            self.take_over.step(self.network)
            self.enactment.step(self.network, head)
            self.read_up_to = head
        except (errors.ChainRegressed, errors.WrongChain) as error:
            self._problem(type(error).__name__, str(error))
            raise Failed(type(error).__name__, str(error)) from error
        except errors.ChainUnavailable as error:
            self._problem("ChainUnavailable", str(error))
        except errors.ChainError as error:
            # An endpoint that answers, but not as it should (it lags, or refuses a fee): as bad
            # as silence, and told in its own words.
            self._problem(type(error).__name__, str(error))

    def _connect(self) -> None:
        """The client with the key; opened once the chain answers."""
        if self.client is not None and self.network is not None:
            return
        from chain.indexer import Indexer

        settings = self.site.settings
        self.network = self.site.network()
        self.client = self.site.client(self.site.identity.account)
        self.client.learn(self.network.contracts)
        self.sender = Sender(
            self.site.store,
            self.client,
            confirmations=settings.confirmations,
            on_refused=_refused,
        )
        reader = self.network.client
        reader.learn(self.network.contracts)
        self.indexer = Indexer(
            reader,
            self.network,
            Events(self.site),
            settings.confirmations,
            first_block=settings.from_block,
        )
        with self.site.store.begin() as session:
            chain_state(session).chain_id = self.client.chain_id

    def _follow_account(self) -> None:
        """Another account took the place of ours: what it had signed, the new one signs anew."""
        with self.site.store.begin() as session:
            anew = {"state": "WAITING", "nonce": None, "raw": None, "tx_hash": None}
            unmined = ChainTx.state.in_(("SIGNED", "SENT"))
            session.execute(update(ChainTx).where(unmined).values(**anew))
        self.client = self.network = None  # opened with the new account at the next pass
        self.read_up_to = None

    def _seen(self, head: BlockRef) -> None:
        """Note a new head; the first one after an outage goes into the audit log."""
        with self.site.store.begin() as session:
            state = chain_state(session)
            if head.number > state.head_block or not state.seen_at:
                state.head_block, state.head_time = head.number, head.timestamp
                state.seen_at = self.clock()
            if state.problem:
                data = {"block": head.number, "was": state.problem[:200]}
                record(session, "chain.available", self._me(), data, "sync")
                state.problem = ""

    def _problem(self, code: str, detail: str) -> None:
        """Note an outage, once."""
        self.read_up_to = None
        told = f"{code}: {detail}"[:200]
        with self.site.store.begin() as session:
            state = chain_state(session)
            if not state.problem:
                log.warning("%s", told)
                data = {"code": code, "detail": detail[:400]}
                record(session, "chain.unavailable", self._me(), data, "sync")
                state.problem = told

    def _me(self) -> str:
        return self.site.settings.site_id or f"urn:fatechain:{self.site.settings.name}"

    # ── What tasks leave ─────────────────────────────────────────────────────────────────────

    def _tasks(self) -> None:
        """End lost tasks; take away what was kept for steps that nobody goes on with."""
        store, jobs, now = self.site.store, self.site.settings.jobs, self.clock()
        lost = sweep_tasks(store, now)
        if lost or self.forgotten_until is None:
            sweep(store, jobs)
        elif now > self.forgotten_until:
            forget_ended(store, jobs, self.forgotten_until - FORGET_MARGIN_SECONDS)
        self.forgotten_until = now

    # ── The audit log ────────────────────────────────────────────────────────────────────────

    def _log(self) -> None:
        while self.site.log.pending and self.site.log.sequence():
            pass
        if self.site.is_registered:
            heads.publish(self.site, self.clock)

    def _index(self) -> None:
        """Let what is new be found; a long backlog takes part of many passes, and none for long."""
        end = time.monotonic() + INDEX_SECONDS
        while self.indexing.step() and time.monotonic() < end:
            pass


def _refused(session: Session, row: ChainTx, reason: NodeError) -> None:
    log.warning("%s: %s", row.intent, reason)
    intent_refused(session, row.intent, reason)
    votes.intent_refused(session, row.intent, reason)


# ── The process ──────────────────────────────────────────────────────────────────────────────


class Process:
    """The loop with its scheduler beside it, until it is told to end."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.sync = Sync(site)
        self.alone = Alone(site.store)
        self.ending = threading.Event()

    def run(self) -> None:
        """Serve until `end`.  Raises `Conflict` (``AlreadyRunning``, ``LeaseLost``), `Failed`."""
        self.alone.acquire()
        beside = [
            threading.Thread(target=self._schedule, name="scheduler"),
            # Apart from the scheduler: no job waits for evidence that is slow to come.
            threading.Thread(target=self._conclude, name="evidence"),
            # Apart from the scheduler: receipts of stops wait for no partner that is slow.
            threading.Thread(target=self._acknowledge, name="stops"),
            threading.Thread(target=self._witness, name="witness"),
            threading.Thread(target=self._mirror, name="mirror"),
            threading.Thread(target=self._monitor, name="monitor"),
        ]
        for thread in beside:
            thread.start()
        try:
            self._serve()
        finally:
            self.ending.set()
            for thread in beside:
                thread.join()
            self.alone.release()

    def end(self) -> None:
        """Finish the present pass and return from `run`."""
        self.ending.set()

    def _serve(self) -> None:
        renewed = time.monotonic()
        changes = Changes(self.site.store)
        while not self.ending.is_set():
            if time.monotonic() - renewed > LEASE_SECONDS / 3:
                self.alone.renew()
                renewed = time.monotonic()
            try:
                if changes.is_due() or self.sync.has_new_head():
                    self.sync.step()
            except Unavailable as problem:
                log.warning("%s", problem)  # the database: it is asked again at the next pass
            self.ending.wait(LOOP_SECONDS)
        changes.close()

    def _schedule(self) -> None:
        self._repeat(Scheduler(self.site).tick)

    def _conclude(self) -> None:
        self._repeat(Scheduler(self.site).conclude)

    def _repeat(self, tick: Callable[[], Coroutine[Any, Any, None]]) -> None:
        changes = Changes(self.site.store)
        with asyncio.Runner() as runner:
            while not self.ending.wait(LOOK_SECONDS):
                if not changes.is_due():
                    continue
                try:
                    runner.run(tick())
                except NodeError as problem:
                    log.warning("scheduler: %s", problem)
                except Exception:
                    # A mistake of ours in one tick must not end the scheduling of all jobs.
                    log.exception("scheduler")
        changes.close()

    def _acknowledge(self) -> None:
        with asyncio.Runner() as runner:
            runner.run(Courier(self.site).run(self.ending))

    def _witness(self) -> None:
        with asyncio.Runner() as runner:
            runner.run(Rounds(self.site).run(self.ending))

    def _mirror(self) -> None:
        with asyncio.Runner() as runner:
            runner.run(Mirroring(self.site).run(self.ending))

    def _monitor(self) -> None:
        async def run() -> None:
            site = self.site
            parts = Monitor(site), Webhook(site), Auditing(site), Monthly(site)
            beside = (*parts, Watching(self.site))
            await asyncio.gather(*(part.run(self.ending) for part in beside))

        with asyncio.Runner() as runner:
            runner.run(run())


def run(site: Site) -> None:
    """Be the sync process of a site until SIGTERM or SIGINT."""
    process = Process(site)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: process.end())
    process.run()


def main(arguments: list[str] | None = None) -> int:
    """The command line; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m node.sync")
    parser.add_argument("--home", type=Path, default=os.environ.get("FATECHAIN_HOME"))
    home: Path | None = parser.parse_args(arguments).home
    if home is None:
        parser.error("--home or FATECHAIN_HOME is needed")
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    with Site.open(home) as site:
        try:
            run(site)
        except NodeError as problem:
            log.error("%s", problem)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
