"""A witness of the other sites' logs: it cosigns a head that continues the one it cosigned before.

What it saw last of a log lies in its database and is moved on by compare-and-set, committed before
the signature is made: whoever asks, in whatever order, gets no two roots of one size, no size
below one that was cosigned, and no head that was not proved to continue it.  A log that shows two
histories is entered in this site's own log with both signed heads.
Source: https://c2sp.org/tlog-witness
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sqlalchemy import func, select, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.exc import IntegrityError

from chain.merkle import EMPTY_ROOT, verify_consistency
from node.audit.account_key import sign_as_account
from node.audit.checkpoint import Checkpoint, origin_of, site_of
from node.audit.entries import record
from node.audit.note_keys import CosignerKey, Ed25519Key, cosign
from node.audit.notes import Note, NoteKey, Signature
from node.errors import Conflict, Invalid, NodeError, NotFound
from node.identity import ANCHOR
from node.store import LogConflict, WitnessedHead

if TYPE_CHECKING:
    from node.site import Site

FORK, UNPROVEN = "fork", "unproven"
MAX_CONFLICTS = 10  # of one log and kind: what is known of a liar need not grow with every lie
MAX_PROOF = 63


@dataclass(frozen=True)
class Shown:
    """A head that its log signed; ``note`` has the signatures of the log alone."""

    log_id: str
    head: Checkpoint
    note: Note


class HeadMoved(Conflict):
    """The head that this witness knows is another than the asker believes; ``found`` is its
    size."""

    def __init__(self, size: int, asked: int) -> None:
        super().__init__(
            "HeadMoved",
            f"this witness cosigned {size} entries of the log last, not {asked}",
            found=size,
            allowed=asked,
            hint="prove consistency from the size found",
        )
        self.size = size


class Witness:
    """Cosigns for a site.  ``clock`` is in Unix seconds."""

    def __init__(self, site: Site, clock: Callable[[], float] = time.time) -> None:
        self.site = site
        self.clock = clock

    def read(self, raw: str | bytes) -> Shown:
        """A head that the audit key of its site, as it stands on the chain, signed.

        The anchor key, too, where the site has one: who shows two histories shall have signed what
        a contract reads.

        Raises `Invalid` (``NoteMalformed``, ``CheckpointInvalid``), `NotFound` (``UnknownSite``)
        also for this site's own log, `Refused` (``NoteNotSigned``, ``NoteForged``, …).
        """
        note = Note.parse(raw)
        head = Checkpoint.parse(note.text)
        log_id = site_of(head.origin)
        if log_id == self.site.id:
            raise NotFound("UnknownSite", "nobody witnesses a log of his own", found=log_id)
        keys = self.site.directory.audit_keys(log_id)
        by_log = note.opened(Ed25519Key(head.origin, key) for key in keys)
        accounts = self.site.directory.anchor_keys(log_id)
        if accounts and head.size:
            by_log += note.opened(accounts)
        return Shown(log_id, head, replace(note, signatures=by_log))

    def known(self, log_id: str) -> Checkpoint:
        """The head cosigned last; the empty one where there was none."""
        with self.site.store.read() as session:
            row = session.get(WitnessedHead, log_id)
            if row is None:
                return Checkpoint(origin_of(log_id), 0, EMPTY_ROOT)
            return _head(row)

    def cosign(self, old: int, proof: Sequence[bytes], shown: Shown) -> tuple[Signature, Signature]:
        """Keep the head and cosign it, if it continues the one of ``old`` entries kept now.

        The lines are by the audit key, for readers of notes, and by the anchor key, for contracts.

        Raises `HeadMoved` where another is kept, and `Invalid`: ``LogForked`` for another root of
        the size kept, ``ProofInvalid``, ``InvalidRequest`` for an old size beyond the head's.
        """
        log_id, head = shown.log_id, shown.head
        if old > head.size:
            raise Invalid("InvalidRequest", "old is beyond the head", found=old, allowed=head.size)
        known = self.known(log_id)
        if known.size == head.size and known.root != head.root:
            self.convict(FORK, shown)
            raise Invalid(
                "LogForked",
                f"the log showed another root for its {head.size} entries",
                found="0x" + head.root.hex(),
                allowed="0x" + known.root.hex(),
            )
        if known.size != old:
            raise HeadMoved(known.size, old)
        if not _continues(known, head, proof):
            raise Invalid(
                "ProofInvalid",
                f"the proof does not lead from {old} to {head.size} entries",
                hint="send the consistency proof of RFC 6962 from the old size",
            )
        if head != known:
            self._keep(known, shown)
        # What was kept is committed: only now may a signature leave.
        return self._signed(shown.note.text, int(self.clock()))

    def keys(self) -> list[NoteKey]:
        """Whose lines it makes; without the second while the chain does not name it."""
        identity, own = self.site.identity, self.site.id
        account = self.site.directory.account_key(own, identity.public_key(ANCHOR))
        keys: list[NoteKey] = [CosignerKey(origin_of(own), identity.audit_public)]
        return [*keys, account] if account in self.site.directory.anchor_keys(own) else keys

    def _signed(self, text: str, now: int) -> tuple[Signature, Signature]:
        identity, own = self.site.identity, self.site.id
        key = self.site.directory.account_key(own, identity.public_key(ANCHOR))
        return (
            cosign(identity, origin_of(own), text, now),
            sign_as_account(identity.anchor_account, key, text, now),
        )

    def _keep(self, known: Checkpoint, shown: Shown) -> None:
        head = shown.head
        values = {
            "size": head.size,
            "root": "0x" + head.root.hex(),
            "note": str(shown.note),
            "cosigned_at": self.clock(),
            "problem": "",
        }
        as_known = (
            WitnessedHead.log_id == shown.log_id,
            WitnessedHead.size == known.size,
            WitnessedHead.root == "0x" + known.root.hex(),
        )
        try:
            with self.site.store.begin() as session:
                if session.get(WitnessedHead, shown.log_id) is None:
                    session.add(_empty(shown.log_id))
                    session.flush()
                moved = session.execute(update(WitnessedHead).where(*as_known).values(**values))
                assert isinstance(moved, CursorResult)
                if moved.rowcount != 1:
                    raise HeadMoved(self.known(shown.log_id).size, known.size)
        except IntegrityError as error:  # another process kept the first head meanwhile
            raise HeadMoved(self.known(shown.log_id).size, known.size) from error

    def look(self, log_id: str, problem: str = "") -> None:
        """Note that the log was looked at, and what hindered it from being cosigned."""
        with self.site.store.begin() as session:
            row = session.get(WitnessedHead, log_id)
            if row is None:
                row = _empty(log_id)
                session.add(row)
            row.looked_at, row.problem = self.clock(), problem[:500]

    def convict(self, kind: str, shown: Shown) -> None:
        """Enter once that the log signed what does not go together with the head kept.

        Two roots of one size convict by themselves (`FORK`); that no proof was given is this
        witness's word (`UNPROVEN`), and makes way for what convicts.
        """
        digest = "0x" + hashlib.sha256(shown.note.text.encode()).hexdigest()
        with self.site.store.begin() as session:
            row = session.get(WitnessedHead, shown.log_id)
            if row is None or _head(row).size != shown.head.size:
                kind = UNPROVEN  # the head that was kept has moved on meanwhile
            of_log = select(LogConflict).where(LogConflict.log_id == shown.log_id)
            seen = session.scalar(of_log.where(LogConflict.shown_digest == digest))
            if seen is not None and (seen.kind == FORK or kind == UNPROVEN):
                return
            alike = of_log.where(LogConflict.kind == kind).subquery()
            if (session.scalar(select(func.count()).select_from(alike)) or 0) >= MAX_CONFLICTS:
                return
            if seen is not None:
                session.delete(seen)
                session.flush()
            told = {
                "kind": kind,
                "known": "" if row is None else row.note,
                "shown": str(shown.note),
            }
            found_at = self.clock()
            session.add(
                LogConflict(log_id=shown.log_id, shown_digest=digest, found_at=found_at, **told)
            )
            record(session, "log.conflict", shown.log_id, told, "witness")


def parse_submission(body: bytes) -> tuple[int, list[bytes], bytes]:
    """Old size, proof and note of an ``add-checkpoint`` request; raises `Invalid`.

    ``old <size>``, a line of base64 for each hash of the proof, an empty line, the note.
    """
    from base64 import b64decode

    head, blank, note = body.partition(b"\n\n")
    first, *lines = head.split(b"\n")
    digits = first.removeprefix(b"old ")
    plain = digits.isdigit() and len(digits) <= 19 and digits == str(int(digits)).encode()
    if not blank or not first.startswith(b"old ") or not plain:
        raise _malformed("it does not begin with an old size and end with a checkpoint")
    if len(lines) > MAX_PROOF:
        raise _malformed(f"a proof has {MAX_PROOF} lines at most")
    try:
        proof = [b64decode(line, validate=True) for line in lines]
    except ValueError as error:
        raise _malformed("a line of the proof is not base64") from error
    if any(len(each) != 32 for each in proof):
        raise _malformed("a line of the proof is no SHA-256")
    return int(digits), proof, note


def _continues(known: Checkpoint, head: Checkpoint, proof: Sequence[bytes]) -> bool:
    if known.size in (0, head.size):
        return not proof and (known.size == 0 or known.root == head.root)
    return verify_consistency(known.root, known.size, head.root, head.size, proof)


def _head(row: WitnessedHead) -> Checkpoint:
    root = bytes.fromhex(row.root.removeprefix("0x"))
    return Checkpoint(origin_of(row.log_id), row.size, root)


def _empty(log_id: str) -> WitnessedHead:
    return WitnessedHead(log_id=log_id, size=0, root="0x" + EMPTY_ROOT.hex(), note="", problem="")


def _malformed(detail: str) -> NodeError:
    return Invalid("SubmissionMalformed", f"this is no submission to a witness: {detail}")
