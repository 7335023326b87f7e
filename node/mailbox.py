"""A party's end of the messages of one step: the transport that `ml` talks through.

``put`` hashes, signs and sends until the receiver has given its receipt, then stores message,
receipt and audit entry in one transaction.  ``take`` looks into the database and waits at the
doorbell.  Both stand still while the chain has not been seen for longer than allowed, and stop
when the task was told to stop.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from sqlalchemy import select, update

from ml.errors import PartnerSilent
from ml.federation import Address, Party
from node.addresses import WireAddress
from node.audit.transport import record_sent
from node.double_entry import declared_by
from node.errors import Conflict, Failed, NodeError, TooLarge, Unavailable
from node.files import make_private, open_private
from node.peers import site_client
from node.store import ChainState, InMessage, OutMessage, Task

if TYPE_CHECKING:
    from node.site import Site

CHECK_SECONDS = 1.0  # how soon a waiting task notices that it shall stop
FILE_FROM_BYTES = 1024 * 1024  # larger bodies are sent from a file
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 5.0


class MailboxTransport:
    """The `ml.federation.Transport` of ``me`` in one attempt of one step.

    Raises `ml.errors.PartnerSilent`, and `NodeError`: ``PartnerUnreachable``, ``TaskStopped``,
    ``ChainStale``, ``ReceiptInvalid``, and what a receiver refuses a message for.  ``put`` waits
    while the receiver's mailbox is full of what this site sent.  ``step_seconds`` bounds the whole
    step from now on; pauses for the chain, and for room there, count in it, and only in it.
    """

    def __init__(
        self,
        site: Site,
        job_id: str,
        step: str,
        attempt: int,
        me: Party,
        parties: Sequence[Party],
        *,
        message_seconds: float | None = None,
        step_seconds: float | None = None,
    ) -> None:
        settings = site.settings
        self._site = site
        self._job, self._step, self._attempt = job_id, step, attempt
        self._me, self._parties = me, tuple(parties)
        self._message_seconds = message_seconds or settings.message_timeout_seconds
        self._deadline = time.monotonic() + (step_seconds or settings.step_timeout_seconds)
        self._client: httpx.AsyncClient | None = None

    # ── Sending ──────────────────────────────────────────────────────────────────────────────

    async def put(self, address: Address, body: bytes) -> None:
        """Send ``body``; return when the receiver holds it and both sides can prove it."""
        await self.put_at(self._wire(address), body)

    async def put_at(self, wire: WireAddress, body: bytes) -> None:
        """See `put`."""
        if len(body) > self._site.settings.max_message_bytes:
            raise TooLarge(
                "MessageTooLarge",
                f"message {wire} has {len(body)} bytes",
                found=len(body),
                allowed=self._site.settings.max_message_bytes,
            )
        declared = declared_by(wire, body)
        digest = await asyncio.to_thread(_digest, body)
        if await asyncio.to_thread(self._was_sent, wire, digest):
            return
        spooled: Path | None = None
        try:
            if len(body) >= FILE_FROM_BYTES:
                spooled = await asyncio.to_thread(self._spool, body)
            receipt = await self._send(wire, spooled or body, digest, len(body))
        finally:
            if spooled is not None:
                spooled.unlink(missing_ok=True)
        await asyncio.to_thread(self._enter_sent, wire, digest, len(body), receipt, declared)

    async def _send(
        self, wire: WireAddress, body: bytes | Path, digest: str, size: int
    ) -> dict[str, Any]:
        left = self._message_seconds
        pause = FIRST_PAUSE_SECONDS
        while True:
            await self._until_allowed()
            began = time.monotonic()
            try:
                return await self._site.peers.put_message(self._http(), wire, body, digest, size)
            except Unavailable as error:
                problem = error
            # A receiver whose chain is away waits as we would, and one whose mailbox is full of
            # what we sent is there and at work; anybody else has its time.
            if problem.code not in ("ChainUnavailable", "ChainStale", "QuotaExceeded"):
                left -= time.monotonic() - began + pause
            if problem.code == "QuotaExceeded" and self._step_left() <= 0:
                raise problem
            if left <= 0 or self._step_left() <= 0:
                raise Unavailable(
                    "PartnerUnreachable",
                    f"message {wire} was not taken within {self._message_seconds:g} s: "
                    f"{problem.detail}",
                    found=wire.receiver,
                    hint="ask that site whether its node runs, then try the job again",
                ) from problem
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 - no secret
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _was_sent(self, wire: WireAddress, digest: str) -> bool:
        with self._site.store.read() as session:
            found = session.scalar(select(OutMessage.digest).where(*_at(OutMessage, wire)))
        if found is not None and found != digest:
            raise Conflict(
                "MessageConflict", f"another body was sent as {wire}", found=digest, allowed=found
            )
        return found is not None

    def _enter_sent(
        self,
        wire: WireAddress,
        digest: str,
        size: int,
        receipt: dict[str, Any],
        declared: dict[str, Any] | None,
    ) -> None:
        with self._site.store.begin() as session:
            session.add(OutMessage(**_columns(wire), digest=digest, size=size, receipt=receipt))
            record_sent(session, wire, digest, size, receipt, declared)

    def _spool(self, body: bytes) -> Path:
        path = make_private(self._site.settings.spool / "out") / uuid.uuid4().hex
        with open(open_private(path), "wb") as file:
            file.write(body)
        return path

    # ── Receiving ────────────────────────────────────────────────────────────────────────────

    async def take(self, address: Address, within: float) -> bytes:
        """The body at ``address``; raises `PartnerSilent` after ``within`` seconds."""
        wire = self._wire(address)
        view = await asyncio.to_thread(self._look, wire)
        if view.is_ready:
            return await asyncio.to_thread(self._open, wire, view)
        left = within
        # Listening before looking: what arrives in between rings a bell that is heard.
        async with self._site.doorbell.listen(wire.channel) as bell:
            while True:
                view = await asyncio.to_thread(self._look, wire)
                if view.is_ready:
                    return await asyncio.to_thread(self._open, wire, view)
                is_stale = view.stale_for is not None
                if is_stale and self._step_left() <= 0:
                    raise self._stale(view)
                if not is_stale and min(left, self._step_left()) <= 0:
                    raise PartnerSilent(str(address.sender), address.kind, within)
                # Time without the chain is nobody's silence: it counts for the step alone.
                patience = self._step_left() if is_stale else min(left, self._step_left())
                began = time.monotonic()
                await bell.wait(min(patience, CHECK_SECONDS))
                if not is_stale:
                    left -= time.monotonic() - began

    def _open(self, wire: WireAddress, view: _View) -> bytes:
        assert view.path is not None
        path = self._site.settings.home / view.path
        try:
            body = path.read_bytes()
        except FileNotFoundError as error:
            raise Failed("MessageLost", f"the body of {wire} was already taken") from error
        if _digest(body) != view.digest:
            raise Failed("MessageLost", f"the body of {wire} on disk is not what was received")
        with self._site.store.begin() as session:
            session.execute(
                update(InMessage).where(*_at(InMessage, wire)).values(taken_at=time.time())
            )
        path.unlink(missing_ok=True)
        return body

    # ── May we? ──────────────────────────────────────────────────────────────────────────────

    async def _until_allowed(self) -> None:
        """Wait while the chain is stale; raises ``TaskStopped``, ``ChainStale``."""
        while True:
            view = await asyncio.to_thread(self._look, None)
            if view.stale_for is None:
                return
            if self._step_left() <= 0:
                raise self._stale(view)
            await asyncio.sleep(min(CHECK_SECONDS, max(self._step_left(), 0.0)))

    def _look(self, wire: WireAddress | None) -> _View:
        """One look at everything that decides how to go on."""
        with self._site.store.read() as session:
            state = session.scalar(
                select(Task.state).where(
                    Task.job_id == self._job,
                    Task.step == self._step,
                    Task.attempt == self._attempt,
                )
            )
            seen_at = session.scalar(select(ChainState.seen_at)) or 0.0
            message = None
            if wire is not None:
                columns = (InMessage.path, InMessage.digest)
                message = session.execute(select(*columns).where(*_at(InMessage, wire))).first()
        if state != "RUNNING":
            raise Failed(
                "TaskStopped",
                f"step {self._step} of job {self._job} is {state or 'gone'}",
                found=state,
                allowed="RUNNING",
            )
        age = time.time() - seen_at
        stale_for = age if age > self._site.settings.staleness_seconds else None
        path, digest = (message.path, message.digest) if message else (None, None)
        return _View(path, digest, stale_for)

    def _stale(self, view: _View) -> NodeError:
        return Unavailable(
            "ChainStale",
            f"the chain was last seen {view.stale_for:.0f} s ago, and the step has no time left",
            found=round(view.stale_for or 0),
            allowed=self._site.settings.staleness_seconds,
            hint="check rpc_url and that the sync process runs",
        )

    # ── Details ──────────────────────────────────────────────────────────────────────────────

    def _step_left(self) -> float:
        return self._deadline - time.monotonic()

    def _wire(self, address: Address) -> WireAddress:
        return WireAddress(
            job=self._job,
            step=self._step,
            attempt=self._attempt,
            sender=address.sender.site,
            receiver=address.receiver.site,
            kind=address.kind,
            n=address.n,
        )

    def _http(self) -> httpx.AsyncClient:
        if self._client is None:
            self._client = site_client()
        return self._client

    async def aclose(self) -> None:
        """Close the connections to the partners."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()


@dataclass(frozen=True)
class _View:
    """A message if it is there, and for how many seconds the chain is out of sight, if too long."""

    path: str | None
    digest: str | None
    stale_for: float | None

    @property
    def is_ready(self) -> bool:
        return self.path is not None and self.stale_for is None


def _columns(wire: WireAddress) -> dict[str, Any]:
    columns = wire.to_json()
    columns["job_id"] = columns.pop("job")
    return columns


def _at(table: type[InMessage] | type[OutMessage], wire: WireAddress) -> list[Any]:
    return [getattr(table, name) == value for name, value in _columns(wire).items()]


def _digest(body: bytes) -> str:
    return "0x" + hashlib.sha256(body).hexdigest()
