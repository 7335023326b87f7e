"""What other sites put here: checked before it is read, durable before it is acknowledged.

Order of the checks: the signature (`node.signatures`, before this module), sender and receiver,
a body already there, the job on the chain and here, step and attempt, length, quota.  Then the
body streams to a file while it is hashed; file, row and audit entry are on disk before the receipt
is signed over to the sender.
"""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio.to_thread
from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from chain.reconciliation import DECLARATIONS
from node.addresses import WireAddress
from node.audit.transport import record_received, record_refused
from node.double_entry import MAX_BYTES, declared_by
from node.errors import (
    Conflict,
    Invalid,
    NodeError,
    Refused,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from node.files import make_private, open_private, sync_folder
from node.receipts import make_receipt
from node.restarts import Restart, most_runs
from node.signatures import VerifiedSender
from node.stops import refuse_if_stopped
from node.store import InMessage, JobParty, LocalJob, Task

if TYPE_CHECKING:
    from node.site import Site

OPEN_TASKS = frozenset({"WAITING", "READY", "RUNNING"})  # a task in these takes messages
NOT_YET = frozenset({"PROPOSED", "APPROVED"})  # a job in these may still run
WRITE_BYTES = 1024 * 1024
OWN_BYTES = 16 * 1024  # what a message takes besides its body: file, row, entry, receipt
REFUSALS_KEPT = 100  # entries about refused messages of one sender in `REFUSALS_SECONDS`
REFUSALS_SECONDS = 3600.0


class Inbox:
    """The mailbox of one site, as its API process serves it.  Methods may run concurrently."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._arriving: Counter[str] = Counter()  # bytes under way by sender
        self._refused: Counter[str] = Counter()  # entered since `_refused_since`, by sender
        self._refused_since = time.monotonic()

    async def receive(
        self, sender: VerifiedSender, address: WireAddress, stream: AsyncIterator[bytes]
    ) -> dict[str, Any]:
        """Take a message; return the receipt, the first one if the message is here already.

        Raises ``NotAParty``, ``MessageConflict``, ``JobStopped``, ``MailboxClosed``,
        ``WrongAttempt``, ``MessageUnexpected``, ``MessageTooLarge``, ``QuotaExceeded``,
        ``SignatureInvalid`` (the body is not what was signed), ``ChainUnavailable``.
        """
        in_thread = anyio.to_thread.run_sync
        try:
            first = await in_thread(self._admit, sender, address)
            if first is not None:
                return first
            self._arriving[sender.site] += sender.length
            try:
                path = await self._stream(sender, address, stream)
                declared = await in_thread(_declared, sender, address, path)
                return await in_thread(self._keep, sender, address, path, declared)
            finally:
                self._arriving[sender.site] -= sender.length
        except NodeError as refusal:
            if not isinstance(refusal, Unavailable):
                await in_thread(self._enter_refusal, sender, address, refusal)
            raise

    def sweep(self) -> int:
        """Let go of bodies that nobody will take: their job or attempt ended.  How many it were."""
        with self._site.store.begin() as session:
            rows = session.execute(
                select(InMessage.id, InMessage.path)
                .join(LocalJob, LocalJob.id == InMessage.job_id)
                .where(
                    InMessage.taken_at.is_(None),
                    LocalJob.ended_at.is_not(None) | (LocalJob.attempt > InMessage.attempt),
                )
            ).all()
            for id, _ in rows:
                session.execute(
                    update(InMessage).where(InMessage.id == id).values(taken_at=time.time())
                )
        for _, path in rows:
            (self._site.settings.home / path).unlink(missing_ok=True)
        return len(rows)

    # ── Before the body ──────────────────────────────────────────────────────────────────────

    def _admit(self, sender: VerifiedSender, address: WireAddress) -> dict[str, Any] | None:
        """The first receipt if the message is here; None if its body may be read."""
        self._check_parties(sender, address)
        with self._site.store.read() as session:
            first = _kept(session, address, sender.digest)
        if first is not None:
            return first
        with self._site.store.read() as session:
            refuse_if_stopped(session, address.job, self._site.id)
        self._check_job(address)
        with self._site.store.read() as session:
            _check_step(session, address)
            if address.kind == Restart.kind:
                _check_restart(session, address, len(self._site.directory.job(address.job).parties))
        self._check_room(sender)
        return None

    def _check_parties(self, sender: VerifiedSender, address: WireAddress) -> None:
        if address.sender != sender.site:
            raise Refused(
                "NotAParty",
                "a site may put only its own messages",
                found=address.sender,
                allowed=sender.site,
            )
        if address.receiver != self._site.id or address.receiver == address.sender:
            raise Refused(
                "NotAParty",
                "the message is for another site",
                found=address.receiver,
                allowed=self._site.id,
            )

    def _check_job(self, address: WireAddress) -> None:
        """Both sites are parties of a job that runs, on the chain and in our own records."""
        job = self._site.directory.job(address.job)
        with self._site.store.read() as session:
            ours = session.scalars(select(JobParty.site).where(JobParty.job_id == job.id)).all()
        both = {address.sender, address.receiver}
        if not both <= job.parties or (ours and not both <= set(ours)):
            raise Refused("NotAParty", f"not both sites are parties of job {job.id}")
        if job.state in NOT_YET:
            # The sender's node may have seen the start a moment before ours.
            raise Unavailable(
                "MailboxClosed", f"job {job.id} is {job.state} here", allowed="RUNNING"
            )
        if job.state != "RUNNING":
            raise Conflict("MailboxClosed", f"job {job.id} is {job.state}", allowed="RUNNING")

    def _check_room(self, sender: VerifiedSender) -> None:
        settings = self._site.settings
        if sender.length > settings.max_message_bytes:
            raise TooLarge(
                "MessageTooLarge",
                f"the message has {sender.length} bytes",
                found=sender.length,
                allowed=settings.max_message_bytes,
            )
        allowed = settings.mailbox_quota_bytes
        total = self._waiting(sender)
        if total > allowed and self.sweep():
            total = self._waiting(sender)
        if total > allowed:
            # What waits will be taken: the sender comes again.  What alone is too much never fits.
            alone = sender.length + OWN_BYTES > allowed
            raise (TooLarge if alone else Unavailable)(
                "QuotaExceeded",
                f"{total} bytes of site {sender.site} would wait here",
                found=total,
                allowed=allowed,
                hint="wait until this site has taken what is there",
            )

    def _waiting(self, sender: VerifiedSender) -> int:
        """Bytes of the sender that nobody took yet, with those under way and the ones offered.

        An empty message takes room, too: else a partner could fill the disk with millions of them.
        """
        with self._site.store.read() as session:
            kept = session.scalar(
                select(func.coalesce(func.sum(InMessage.size + OWN_BYTES), 0)).where(
                    InMessage.sender == sender.site, InMessage.taken_at.is_(None)
                )
            )
        return int(kept or 0) + self._arriving[sender.site] + sender.length

    # ── The body ─────────────────────────────────────────────────────────────────────────────

    async def _stream(
        self, sender: VerifiedSender, address: WireAddress, stream: AsyncIterator[bytes]
    ) -> Path:
        """Write the body to a new file, hashing; it is durable and what was signed, or gone."""
        in_thread = anyio.to_thread.run_sync
        folder = make_private(self._site.settings.spool / "in" / address.job)
        name = uuid.uuid4().hex
        temporary, path = folder / f"{name}.part", folder / name
        hasher, size, waiting = hashlib.sha256(), 0, bytearray()
        file = await in_thread(lambda: open(open_private(temporary), "wb"))  # noqa: SIM115
        try:
            try:
                async for chunk in stream:
                    size += len(chunk)
                    if size > sender.length:
                        break
                    waiting += chunk
                    if len(waiting) >= WRITE_BYTES:
                        await in_thread(_write, file, hasher, bytes(waiting))
                        waiting.clear()
                await in_thread(_write, file, hasher, bytes(waiting))
                _check_body(sender, size, hasher.hexdigest())
                await in_thread(_finish, file, temporary, path)
            finally:
                file.close()
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return path

    def _keep(
        self,
        sender: VerifiedSender,
        address: WireAddress,
        path: Path,
        declared: dict[str, Any] | None,
    ) -> dict[str, Any]:
        """Row and entry in one transaction, then the bell; the receipt is what the row holds."""
        site = self._site
        identity = site.identity
        key_id = site.key_id(identity=identity)
        receipt = make_receipt(identity, key_id, address, sender.digest, sender.length)
        columns = address.to_json()
        row = InMessage(
            job_id=columns.pop("job"),
            **columns,
            digest=sender.digest,
            size=sender.length,
            path=str(path.relative_to(site.settings.home)),
            signature=sender.signature_text,
            receipt=receipt,
        )
        try:
            with site.store.begin() as session:
                # The job may have been stopped while the body was arriving.
                refuse_if_stopped(session, address.job, site.id)
                _check_step(session, address)
                session.add(row)
                session.flush()
                told = (sender.digest, sender.length, sender.signature_text, declared)
                record_received(session, address, *told)
        except IntegrityError:
            # The same message was put twice at once, and the other one was first.
            path.unlink(missing_ok=True)
            with site.store.read() as session:
                first = _kept(session, address, sender.digest)
            if first is None:
                raise
            return first
        except NodeError:
            path.unlink(missing_ok=True)
            raise
        site.doorbell.ring(address.channel)
        return receipt

    def _enter_refusal(
        self, sender: VerifiedSender, address: WireAddress, refusal: NodeError
    ) -> None:
        # Entered under the site that signed, whatever sender the address names; not without end,
        # else a member could make our log grow, and us pay for anchoring it, by asking in vain.
        if time.monotonic() - self._refused_since > REFUSALS_SECONDS:
            self._refused.clear()
            self._refused_since = time.monotonic()
        self._refused[sender.site] += 1
        if self._refused[sender.site] > REFUSALS_KEPT:
            return
        with self._site.store.begin() as session:
            record_refused(session, address, sender.site, sender.digest, refusal.code)


def _declared(sender: VerifiedSender, address: WireAddress, path: Path) -> dict[str, Any] | None:
    """What the body declares; a file that is refused is gone."""
    if address.kind not in DECLARATIONS:
        return None
    try:
        # One byte more than is allowed tells that it is too long.
        with path.open("rb") as file:
            return declared_by(address, file.read(MAX_BYTES + 1))
    except NodeError:
        path.unlink(missing_ok=True)
        raise


def _check_step(session: Session, address: WireAddress) -> None:
    """The message belongs to a task that takes messages, or to a job whose tasks are not made yet.

    Raises ``WrongAttempt``, ``MessageUnexpected``, ``MailboxClosed``.
    """
    job = session.get(LocalJob, address.job)
    if job is not None and job.ended_at is not None:
        raise Conflict("MailboxClosed", f"job {job.id} ended here: {job.state}")
    tasks = session.execute(
        select(Task.step, Task.attempt, Task.state).where(Task.job_id == address.job)
    ).all()
    expected = 1 if job is None else job.attempt
    if address.attempt != expected:
        raise Conflict(
            "WrongAttempt",
            f"attempt {address.attempt} of job {address.job} is not the present one",
            found=address.attempt,
            allowed=expected,
        )
    present = {step: state for step, attempt, state in tasks if attempt == address.attempt}
    if not present:
        return  # our node has not made the tasks of this attempt yet
    if address.step not in present:
        raise Conflict(
            "MessageUnexpected",
            f"job {address.job} has no step {address.step}",
            found=address.step,
            allowed=sorted(present),
        )
    if present[address.step] not in OPEN_TASKS:
        raise Conflict(
            "MailboxClosed",
            f"step {address.step} of job {address.job} is {present[address.step]} here",
            found=present[address.step],
            allowed=sorted(OPEN_TASKS),
        )


def _check_restart(session: Session, address: WireAddress, parties: int) -> None:
    """A partner may begin this step again, and no number of a run is left out.

    Raises ``MessageUnexpected``.  Whose step begins again answers again, under the same approval.
    """
    most = most_runs(address.step, parties)
    query = select(func.max(InMessage.n)).filter_by(
        job_id=address.job,
        step=address.step,
        attempt=address.attempt,
        sender=address.sender,
        kind=address.kind,
    )
    allowed = min((session.scalar(query) or 0) + 1, most)
    if not 1 <= address.n <= allowed:
        raise Conflict(
            "MessageUnexpected",
            f"step {address.step} of job {address.job} does not begin again as run {address.n}",
            found=address.n,
            allowed=allowed,
            hint="a training begins again as often as its parties may be interrupted, "
            "and one run after the other; no other step does",
        )


def _kept(session: Session, address: WireAddress, digest: str) -> dict[str, Any] | None:
    """The receipt of the message at ``address``; raises ``MessageConflict`` for another body."""
    columns = address.to_json()
    columns["job_id"] = columns.pop("job")
    found = session.execute(
        select(InMessage.digest, InMessage.receipt).filter_by(**columns)
    ).one_or_none()
    if found is None:
        return None
    if found.digest != digest:
        raise Conflict(
            "MessageConflict",
            f"another body was received as {address}",
            found=digest,
            allowed=found.digest,
        )
    receipt: dict[str, Any] = found.receipt
    return receipt


def _check_body(sender: VerifiedSender, size: int, digest: str) -> None:
    if size != sender.length:
        raise Invalid(
            "InvalidRequest",
            "the body has another length than was signed",
            found=size,
            allowed=sender.length,
        )
    if f"0x{digest}" != sender.digest:
        raise Unauthenticated(
            "SignatureInvalid",
            "the body is not what was signed",
            found=f"0x{digest}",
            allowed=sender.digest,
        )


def _write(file: Any, hasher: Any, chunk: bytes) -> None:
    hasher.update(chunk)
    file.write(chunk)


def _finish(file: Any, temporary: Path, path: Path) -> None:
    file.flush()
    os.fsync(file.fileno())
    temporary.rename(path)
    sync_folder(path.parent)
