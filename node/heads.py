"""The heads of this site's log that are for witnesses: published now and then, and cosigned.

A log that grows with every message has a new head every moment, which nobody could cosign in time.
So one head is shown for a while, and gathers what other members' nodes say of it.

Every head is signed twice: by the audit key for whoever reads notes, by the anchor key for
contracts; and so is what a witness says of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from node.audit.account_key import AccountKey, sign_as_account
from node.audit.checkpoint import Checkpoint, origin_of, sign_checkpoint
from node.audit.entries import type_of
from node.audit.note_keys import CosignerKey, time_of
from node.audit.notes import Note, Signature
from node.errors import Conflict, Invalid, Refused, Unavailable
from node.identity import ANCHOR
from node.signatures import CLOCK_SECONDS
from node.signed_head import continued, may_sign
from node.store import AuditEntry, Cosignature, PublishedHead

if TYPE_CHECKING:
    from node.site import Site

MAX_BYTES = 16 * 1024  # of a cosignature as it is brought
MAX_COSIGNED = 48  # by so many sites a head is cosigned at most; notes have a hundred lines
MAX_KEPT = 1000  # heads with their cosignatures


def publish(site: Site, clock: Callable[[], float] = time.time, *, at_once: bool = False) -> bool:
    """Show the present head from now on: when the last one was shown long enough, or at once."""
    size, now = site.log.size, clock()
    with site.store.read() as session:
        newest = session.scalar(select(PublishedHead).order_by(PublishedHead.size.desc()).limit(1))
        shown_for = 0.0 if at_once else site.settings.publish_every_seconds
        is_due = newest is None or (
            now - newest.published_at >= shown_for and _has_news(session, newest.size)
        )
    # The chain is asked outside of any transaction that writes.
    if newest is not None and not newest.line:  # the chain was silent when it was published
        late = _signed_for_contracts(site, newest.size, now)
        with site.store.begin() as session:
            session.get_one(PublishedHead, newest.size).line = late
    if not is_due or not size:
        return False
    line = _signed_for_contracts(site, size, now)
    with site.store.begin() as session:
        session.add(PublishedHead(size=size, published_at=now, line=line))
        session.flush()
        oldest = session.scalar(
            select(PublishedHead.size).order_by(PublishedHead.size.desc()).offset(MAX_KEPT).limit(1)
        )
        if oldest is not None:
            session.execute(delete(PublishedHead).where(PublishedHead.size <= oldest))
            session.execute(delete(Cosignature).where(Cosignature.size <= oldest))
    return True


def _has_news(session: Session, size: int) -> bool:
    """Whether the log tells more beyond a head than that it is anchored.

    Else a head that was anchored would give way to one that is not, before late witnesses come.
    """
    told = (AuditEntry.index >= size, AuditEntry.type != type_of("anchor.made"))
    return session.scalar(select(AuditEntry.index).where(*told).limit(1)) is not None


def _signed_for_contracts(site: Site, size: int, now: float) -> str:
    """The line of this site's anchor key; empty while the chain does not say which contract, and
    where a higher head was signed.

    Raises `Failed` (``AuditLogDiffers``) unless the log continues what the chain has of it and what
    was signed last: a restored database must not make its site sign a second history.
    """
    try:
        continued(site, *site.directory.anchored(site.id))
        key = site.directory.account_key(site.id, site.identity.public_key(ANCHOR))
    except Unavailable:
        return ""
    if not may_sign(site, size):
        return ""
    head = Checkpoint(origin_of(site.id), size, site.log.root(size))
    line = sign_as_account(site.identity.anchor_account, key, head.text, int(now))
    return str(line).removesuffix("\n")


def shown(site: Site) -> int:
    """The size of the head that is shown; 0 where none is."""
    with site.store.read() as session:
        return session.scalar(select(func.max(PublishedHead.size))) or 0


def newest(site: Site) -> str:
    """The head that is shown, signed with the present audit key and as it was published with the
    anchor key, and who cosigned it."""
    with site.store.read() as session:
        row = session.scalar(select(PublishedHead).order_by(PublishedHead.size.desc()).limit(1))
        lines = [] if row is None else [row.line, *_cosigned(session, row.size)]
    size = site.log.size if row is None else row.size
    note = Note.parse(sign_checkpoint(site.identity, site.id, size, site.log.root(size)))
    return str(note.signed(*(Signature.parse(line) for line in lines if line)))


def _cosigned(session: Session, size: int) -> list[str]:
    rows = select(Cosignature).where(Cosignature.size == size).order_by(Cosignature.time)
    return [line for row in session.scalars(rows) for line in (row.line, row.account_line)]


def receive(site: Site, sender: str, raw: str, clock: Callable[[], float] = time.time) -> int:
    """Keep a member's cosignature of a head that this site published; the head's size.

    With the line of an anchor key it counts on the chain, too; a line of a key that the chain does
    not name is passed over.

    Raises `Invalid` (``NoteMalformed``, ``CheckpointInvalid``, ``CosignatureInvalid``), `Conflict`
    (``HeadUnknown``) for what is no head of this log, (``HeadFull``) beyond `MAX_COSIGNED` where no
    member has two lines or the sender's has one, and
    `Refused` (``NoteNotSigned``, ``NoteForged``, …) unless the audit key of the sender, as it
    stands on the chain, signed it.
    """
    note = Note.parse(raw)
    head = Checkpoint.parse(note.text)
    with site.store.read() as session:
        published = session.get(PublishedHead, head.size) is not None
    if head.origin != origin_of(site.id) or not published or site.log.root(head.size) != head.root:
        raise Conflict(
            "HeadUnknown",
            "that is no head that this site published",
            found=f"{head.origin} {head.size} 0x{head.root.hex()}",
            hint="ask this site for its newest head; if it showed you that one, it has two",
        )
    name = origin_of(sender)
    keys = [CosignerKey(name, key) for key in site.directory.audit_keys(sender)]
    line = note.opened(keys)[0]
    by_account = _by_account(note, site.directory.anchor_keys(sender))
    said = time_of(line.blob)
    if said is None or said > clock() + CLOCK_SECONDS:
        raise Invalid("CosignatureInvalid", "the cosignature is of a time to come", found=said)
    if by_account is not None and time_of(by_account.blob) != said:
        raise Invalid("CosignatureInvalid", "the two lines of a cosignature are of different times")
    gives_way = _gives_way(site, head.size, sender)
    with site.store.begin() as session:
        row = session.get(Cosignature, (head.size, sender))
        if row is None:
            of_head = Cosignature.size == head.size
            session.execute(delete(Cosignature).where(of_head, Cosignature.witness == gives_way))
            others = select(func.count()).where(of_head)
            if (session.scalar(others) or 0) >= MAX_COSIGNED:
                raise Conflict(
                    "HeadFull", "as many sites cosigned the head as fit", allowed=MAX_COSIGNED
                )
            row = Cosignature(size=head.size, witness=sender, time=0)
            session.add(row)
        if said > row.time:
            row.line, row.time = str(line).removesuffix("\n"), said
            row.account_line = str(by_account or "").removesuffix("\n")
    return head.size


def _gives_way(site: Site, size: int, sender: str) -> str | None:
    """Of a full head: a site of the member with the most sites, where the sender's has none.

    Members are counted, not their sites: nobody keeps others from a head by having many.
    """
    with site.store.read() as session:
        query = select(Cosignature.witness).where(Cosignature.size == size)
        witnesses = list(session.scalars(query.order_by(Cosignature.time)))
    if len(witnesses) < MAX_COSIGNED or sender in witnesses:
        return None
    sites: dict[str, list[str]] = {}
    for witness in witnesses:
        sites.setdefault(site.directory.member_of(witness), []).append(witness)
    most = max(sites.values(), key=len)
    return None if site.directory.member_of(sender) in sites or len(most) == 1 else most[-1]


def _by_account(note: Note, keys: Sequence[AccountKey]) -> Signature | None:
    """The line by the sender's anchor key, which an older home may not have on the chain yet."""
    try:
        return note.opened(keys)[0]
    except Refused as refusal:
        if refusal.code == "NoteNotSigned":
            return None
        raise
