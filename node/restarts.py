"""A step that begins again where its conversation was killed, and its partners with it.

The supervisor starts a killed conversation of a training again (`node.supervisor`).  It takes the
next *run*, a number that is on disk before anything is said in it, and tells its partners; each
leaves its own conversation at its next message, is admitted once more, and follows into that run.
Messages of another run are never met: numbers of messages begin anew.  What a program kept
(`ml.vertical.checkpoints`) says where the parties go on.  A partner whose part is done has left for
good, and is silent from then on.

A partner could ask again in order to hear another answer, so only steps in `RESTARTED` begin again:
those in which the answers to all runs are counted (`node.budget.RunsBudget`).  They do so as often
as the supervisors of all parties would, one by one, and every time is entered in the log.  What was
being sent when a conversation was killed is put again in the next run, so that both ends tell of
it: the receiver may hold it while its sender has no receipt yet.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from sqlalchemy import ColumnElement, func, select

from ml import wire
from ml.errors import PartnerSilent
from ml.federation import Address, Message, Party, Role
from node.addresses import WireAddress
from node.errors import Conflict, Failed
from node.files import make_private, open_private, write_private
from node.kept import KEPT
from node.lifecycle import MAX_RESTARTS, RESTARTED
from node.mailbox import MailboxTransport, _View
from node.store import InMessage

NUMBERS = 2**24  # of messages of one kind in one run
MAX_RUN = 2**31 // NUMBERS - 1
UNSENT = "unsent"  # folder, beside what the program keeps, of what is being sent

log = logging.getLogger(__name__)
T = TypeVar("T")


class Restart(Message, sender=tuple(Role), to=tuple(Role)):
    """The receiver learns that the sender's part of the step was interrupted and begins again."""


class Restarted(Exception):
    """A partner began run ``run``: what we said and heard in ours counts no more."""

    def __init__(self, run: int) -> None:
        super().__init__(run)
        self.run = run


def most_runs(step: str, parties: int) -> int:
    """The largest number of a run of a step, 0 where no step begins again.

    Each party begins again `MAX_RESTARTS` times at most, and every time takes one number more than
    it knows of.
    """
    return min(MAX_RESTARTS * parties, MAX_RUN) if step in RESTARTED else 0


class RunTransport(MailboxTransport):
    """The messages of one run of a step.  Raises `Restarted` at the next one after a notice."""

    run = 0
    _left: frozenset[Party] = frozenset()  # whose part was done when we began again
    _unsent: Path | None = None

    async def begin(self, file: Path, least: int | None = None) -> int:
        """Take the next run, or run ``least``: on disk in ``file``, and told to all partners.

        The first run is 0 and needs no telling.  Raises `Failed` (``WorkerLost``) for more runs
        than there may be.
        """
        self.run = max(_last_run(file) + 1, self._newest(), least or 0)
        most = most_runs(self._step, len(self._parties))
        if self.run > most:
            raise Failed("WorkerLost", f"step {self._step} began again more than {most} times")
        make_private(file.parent)
        write_private(file, str(self.run).encode())
        if self._step in RESTARTED:
            self._unsent = make_private(make_private(file.parent / KEPT) / UNSENT)
            await self._send_again(self._unsent)
        if self.run and least is None:
            body = wire.dumps(Restart())
            for party in self._parties:
                if party != self._me:
                    await self._tell(party, body)
        return self.run

    async def _tell(self, party: Party, body: bytes) -> None:
        """Every run up to ours, since a partner takes no number before those below it."""
        try:
            for run in range(1, self.run + 1):
                await super().put(Address(self._me, party, Restart.kind, run), body)
        except Conflict as refusal:
            if refusal.code != "MailboxClosed":
                raise
            self._left |= {party}

    async def _send_again(self, folder: Path) -> None:
        for file, told, body in await asyncio.to_thread(_noted, folder):
            try:
                await self.put_at(told, body)
            except Conflict as refusal:
                log.warning("a message of an earlier run is not wanted: %s", refusal.code)
            file.unlink()

    async def put(self, address: Address, body: bytes) -> None:
        """See `MailboxTransport.put`; raises `PartnerSilent` for who has left."""
        noted = None
        if self._unsent is not None:
            noted = await asyncio.to_thread(_note, self._unsent, self._wire(address), body)
        try:
            await super().put(address, body)
        except Conflict as refusal:
            if noted is not None:
                noted.unlink()
            if self.run and refusal.code == "MailboxClosed":
                raise PartnerSilent(str(address.receiver), address.kind, 0.0) from refusal
            raise
        if noted is not None:
            noted.unlink()

    async def take(self, address: Address, within: float) -> bytes:
        """See `MailboxTransport.take`; who has left is silent at once."""
        return await super().take(address, 0.0 if address.sender in self._left else within)

    def _wire(self, address: Address) -> WireAddress:
        found = super()._wire(address)
        if address.kind == Restart.kind:
            return found
        return replace(found, n=found.n + self.run * NUMBERS)

    def _look(self, wire: WireAddress | None) -> _View:
        view = super()._look(wire)
        if (newest := self._newest()) > self.run:
            raise Restarted(newest)
        return view

    def _newest(self) -> int:
        """The latest run of which a partner told, 0 if none did or the step does not restart."""
        if self._step not in RESTARTED:
            return 0
        query = select(func.max(InMessage.n)).where(*self._notices())
        with self._site.store.read() as session:
            return session.scalar(query) or 0

    def begun_by(self) -> str:
        """The site for which the present run began: a partner that told of it, else ours."""
        query = select(func.min(InMessage.sender)).where(*self._notices(), InMessage.n == self.run)
        with self._site.store.read() as session:
            return session.scalar(query) or self._me.site

    def _notices(self) -> tuple[ColumnElement[bool], ...]:
        return (
            InMessage.job_id == self._job,
            InMessage.step == self._step,
            InMessage.attempt == self._attempt,
            InMessage.receiver == self._me.site,
            InMessage.kind == Restart.kind,
        )


async def run_to_end(
    make: Callable[[], RunTransport],
    file: Path,
    program: Callable[[RunTransport, int], Awaitable[T]],
    admit: Callable[[], Awaitable[None]],
) -> T:
    """Run ``program`` until no partner begins again under it; ``file`` keeps the number of runs.

    ``admit`` raises where the step may not run; it is asked before a partner is followed, since
    much may have been withdrawn since the step began.
    """
    follows: int | None = None
    while True:
        transport = make()
        try:
            return await program(transport, await transport.begin(file, follows))
        except Restarted as notice:
            log.warning("a partner began again: run %d", notice.run)
            follows = notice.run
        finally:
            await transport.aclose()
        await admit()


def _note(folder: Path, wire: WireAddress, body: bytes) -> Path:
    """Keep a message while it is being sent.  Not synced: it is for the death of a process only."""
    told = json.dumps(wire.to_json()).encode()
    file = folder / sha256(told).hexdigest()
    partial = folder / f".{file.name}"
    partial.unlink(missing_ok=True)
    with open(open_private(partial), "wb") as out:
        out.write(told + b"\n")
        out.write(body)
    return partial.rename(file)


def _noted(folder: Path) -> list[tuple[Path, WireAddress, bytes]]:
    """What was being sent when a conversation died: one message to each partner at most."""
    found = []
    for file in sorted(folder.glob("[0-9a-f]*")):
        told, _, body = file.read_bytes().partition(b"\n")
        found.append((file, WireAddress.from_json(json.loads(told)), body))
    return found


def _last_run(file: Path) -> int:
    return int(file.read_text()) if file.exists() else -1


@dataclass(frozen=True)
class FolderKeeper:
    """Keeps what a program asks to in files of a folder: an `ml.vertical.checkpoints.Keeper`."""

    folder: Path

    def read(self) -> Sequence[bytes]:
        """What was kept, from the first tree on."""
        found: list[bytes] = []
        while (path := self._path(len(found))).exists():
            found.append(path.read_bytes())
        return found

    def keep(self, tree: int, body: bytes) -> None:
        """Durable when this returns: after a crash the file is the old one or the new one."""
        make_private(self.folder)
        write_private(self._path(tree), body)

    def _path(self, tree: int) -> Path:
        return self.folder / f"{tree:06d}"
