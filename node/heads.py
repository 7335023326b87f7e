"""The heads of this site's log that are for witnesses: published now and then, and cosigned.

A log that grows with every message has a new head every moment, which nobody could cosign in time.
So one head is shown for a while, and gathers what other members' nodes say of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select

from node.audit.checkpoint import Checkpoint, origin_of, sign_checkpoint
from node.audit.note_keys import CosignerKey, time_of
from node.audit.notes import Note, Signature
from node.errors import Conflict, Invalid
from node.signatures import CLOCK_SECONDS
from node.store import Cosignature, PublishedHead

if TYPE_CHECKING:
    from node.site import Site

MAX_BYTES = 16 * 1024  # of a cosignature as it is brought
MAX_COSIGNED = 90  # by so many sites a head is cosigned at most; notes have a hundred lines
MAX_KEPT = 1000  # heads with their cosignatures


def publish(site: Site, clock: Callable[[], float] = time.time) -> bool:
    """Show the present head from now on, when the last one was shown long enough."""
    size, now = site.log.size, clock()
    with site.store.begin() as session:
        newest = session.scalar(select(PublishedHead).order_by(PublishedHead.size.desc()).limit(1))
        shown_for = site.settings.publish_every_seconds
        if newest is not None and (newest.size >= size or now - newest.published_at < shown_for):
            return False
        if not size:
            return False
        session.add(PublishedHead(size=size, published_at=now))
        session.flush()
        oldest = session.scalar(
            select(PublishedHead.size).order_by(PublishedHead.size.desc()).offset(MAX_KEPT).limit(1)
        )
        if oldest is not None:
            session.execute(delete(PublishedHead).where(PublishedHead.size <= oldest))
            session.execute(delete(Cosignature).where(Cosignature.size <= oldest))
    return True


def newest(site: Site) -> str:
    """The head that is shown, signed with the present audit key, and who cosigned it."""
    with site.store.read() as session:
        size = session.scalar(
            select(PublishedHead.size).order_by(PublishedHead.size.desc()).limit(1)
        )
        rows = select(Cosignature.line).where(Cosignature.size == size).order_by(Cosignature.time)
        lines = [] if size is None else list(session.scalars(rows))
    shown = site.log.size if size is None else size
    note = Note.parse(sign_checkpoint(site.identity, site.id, shown, site.log.root(shown)))
    return str(note.signed(*(Signature.parse(line) for line in lines)))


def receive(site: Site, sender: str, raw: str, clock: Callable[[], float] = time.time) -> int:
    """Keep a member's cosignature of a head that this site published; the head's size.

    Raises `Invalid` (``NoteMalformed``, ``CheckpointInvalid``, ``CosignatureInvalid``), `Conflict`
    (``HeadUnknown``) for what is no head of this log, (``HeadFull``) beyond `MAX_COSIGNED`, and
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
    said = time_of(line.blob)
    if said is None or said > clock() + CLOCK_SECONDS:
        raise Invalid("CosignatureInvalid", "the cosignature is of a time to come", found=said)
    with site.store.begin() as session:
        row = session.get(Cosignature, (head.size, sender))
        if row is None:
            others = select(func.count()).where(Cosignature.size == head.size)
            if (session.scalar(others) or 0) >= MAX_COSIGNED:
                raise Conflict(
                    "HeadFull", "as many sites cosigned the head as fit", allowed=MAX_COSIGNED
                )
            text = str(line).removesuffix("\n")
            session.add(Cosignature(size=head.size, witness=sender, line=text, time=said))
        elif said > row.time:
            row.line, row.time = str(line).removesuffix("\n"), said
    return head.size
