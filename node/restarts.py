"""A step that begins again where its conversation was killed, and its partners with it.

The supervisor starts a killed conversation again (`node.supervisor`).  It takes the next *run*, a
number that is on disk before anything is said in it, and tells its partners; each leaves its own
conversation at its next message and follows into that run.  Messages of another run are never met:
numbers of messages begin anew.  What a program kept (`ml.vertical.checkpoints`) says where the
parties go on.  A partner whose part is done has left for good, and is silent from then on.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from sqlalchemy import func, select

from ml import wire
from ml.errors import PartnerSilent
from ml.federation import Address, Message, Party, Role
from node.addresses import WireAddress
from node.errors import Conflict, Failed
from node.files import make_private, write_private
from node.mailbox import MailboxTransport, _View
from node.store import InMessage

NUMBERS = 2**24  # of messages of one kind in one run
MAX_RUN = 2**31 // NUMBERS - 1

log = logging.getLogger(__name__)
T = TypeVar("T")


class Restart(Message, sender=tuple(Role), to=tuple(Role)):
    """The receiver learns that the sender's part of the step was interrupted and begins again."""


class Restarted(Exception):
    """A partner began run ``run``: what we said and heard in ours counts no more."""

    def __init__(self, run: int) -> None:
        super().__init__(run)
        self.run = run


class RunTransport(MailboxTransport):
    """The messages of one run of a step.  Raises `Restarted` at the next one after a notice."""

    run = 0
    _left: frozenset[Party] = frozenset()  # whose part was done when we began again

    async def begin(self, file: Path, least: int | None = None) -> int:
        """Take the next run, or run ``least``: on disk in ``file``, and told to all partners.

        The first run is 0 and needs no telling.
        """
        self.run = max(_last_run(file) + 1, self._newest(), least or 0)
        if self.run > MAX_RUN:
            raise Failed("WorkerLost", f"the step began more than {MAX_RUN} times")
        make_private(file.parent)
        write_private(file, str(self.run).encode())
        if self.run and least is None:
            body = wire.dumps(Restart())
            for party in self._parties:
                if party != self._me:
                    await self._tell(party, body)
        return self.run

    async def _tell(self, party: Party, body: bytes) -> None:
        try:
            await super().put(Address(self._me, party, Restart.kind, self.run), body)
        except Conflict as refusal:
            if refusal.code != "MailboxClosed":
                raise
            self._left |= {party}

    async def put(self, address: Address, body: bytes) -> None:
        """See `MailboxTransport.put`; raises `PartnerSilent` for who has left."""
        try:
            await super().put(address, body)
        except Conflict as refusal:
            if self.run and refusal.code == "MailboxClosed":
                raise PartnerSilent(str(address.receiver), address.kind, 0.0) from refusal
            raise

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
        """The latest run of which a partner told, 0 if none did."""
        query = select(func.max(InMessage.n)).where(
            InMessage.job_id == self._job,
            InMessage.step == self._step,
            InMessage.attempt == self._attempt,
            InMessage.receiver == self._me.site,
            InMessage.kind == Restart.kind,
        )
        with self._site.store.read() as session:
            return session.scalar(query) or 0


async def run_to_end(
    make: Callable[[], RunTransport],
    file: Path,
    program: Callable[[RunTransport, int], Awaitable[T]],
) -> T:
    """Run ``program`` until no partner begins again under it; ``file`` keeps the number of runs."""
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
