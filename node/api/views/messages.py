"""The messages of a job as both of their ends have entered them, side by side.

This site's side comes from its own rows.  The other side comes from the partner's signed evidence
where it was fetched: without it a message stands with one side only and is neither right nor wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from chain.entries import open_entry
from chain.reconciliation import RECEIVED, SENT, is_line
from node.api.pages import Page, from_cursor, to_cursor
from node.api.views import jobs
from node.api.views.model import Shown
from node.api.views.names import Named, Names
from node.evidence import covers_end
from node.store import InMessage, OutMessage, PeerEvidence

if TYPE_CHECKING:
    from node.site import Site

Address = tuple[str, int, str, str, str, int]
"""(step, attempt, sender, receiver, kind, n)"""


class MessageShown(Shown):
    """`agree`: both ends entered the same digest; null as long as one end is not known.

    `sent` and `received` are the digests that sender and receiver entered, `sent_at` and
    `received_at` when they did, by their own clocks; `at` is this site's time where it is an end.
    """

    step: str
    attempt: int
    sender: Named
    receiver: Named
    kind: str
    n: int
    size: int
    sent: str | None
    received: str | None
    has_receipt: bool
    agree: bool | None
    at: float | None
    sent_at: float | None
    received_at: float | None


def page(
    site: Site, names: Names, id: str, *, limit: int, cursor: str | None = None
) -> Page[MessageShown]:
    """In the order in which this site sent and received; what only a partner has comes last."""
    with site.store.read() as session:
        jobs.find(session, id)
        return cut(every(session, names, id), limit, cursor)


def cut(found: list[MessageShown], limit: int, cursor: str | None) -> Page[MessageShown]:
    """A page of all of them."""
    position = from_cursor(cursor, int)
    start = max(0, int(position[0])) if position else 0
    end = start + limit
    return Page(items=found[start:end], next=to_cursor(end) if end < len(found) else None)


def every(session: Session, names: Names, id: str) -> list[MessageShown]:
    """In the order in which this site sent and received; what only a partner has comes last."""
    own = _own(session, id)
    partner, told = _partners(session, id)
    addresses = [*own, *(address for address in partner if address not in own)]
    return [_shown(address, own, partner, told, names) for address in addresses]


def _own(session: Session, id: str) -> dict[Address, dict[str, Any]]:
    rows: list[tuple[float, Address, dict[str, Any]]] = []
    for sent in session.scalars(select(OutMessage).where(OutMessage.job_id == id)):
        facts = {"sent": sent.digest, "size": sent.size, "receipt": sent.receipt is not None}
        times = {"at": sent.sent_at, "sent_at": sent.sent_at}
        rows.append((sent.sent_at, _address(sent), facts | times))
    for got in session.scalars(select(InMessage).where(InMessage.job_id == id)):
        facts = {"received": got.digest, "size": got.size, "receipt": True}
        times = {"at": got.received_at, "received_at": got.received_at}
        rows.append((got.received_at, _address(got), facts | times))
    return {address: facts for _, address, facts in sorted(rows, key=lambda row: row[0])}


def _partners(session: Session, id: str) -> tuple[dict[Address, dict[str, Any]], set[str]]:
    """What partners entered, and which have shown all their messages to the job's end."""
    entered: dict[Address, dict[str, Any]] = {}
    told = set()
    for shown in session.scalars(select(PeerEvidence).where(PeerEvidence.job_id == id)):
        said = [part for part in shown.evidence["entries"] if _is_of_kind(part)]
        opened = [(part["entry"]["type"], open_entry(part)) for part in said]
        times = [_seconds(part["entry"].get("time")) for part in said]
        if covers_end(shown.evidence) and all(is_line(data) for _, data in opened):
            told.add(shown.site)
        for (kind, data), at in zip(opened, times, strict=True):
            if not is_line(data):
                continue  # hidden, erased at the partner before it showed its log, or of no shape
            address = (
                data["step"],
                data["attempt"],
                data["sender"],
                data["receiver"],
                data["messageKind"],
                data["n"],
            )
            side = "sent" if kind == SENT else "received"
            facts = entered.setdefault(address, {"size": data["size"]})
            facts |= {side: data["digest"], f"{side}_at": at}
    return entered, told


def _seconds(time: Any) -> float | None:
    """Of a time that a partner's entry tells, which may be anything."""
    try:
        return datetime.fromisoformat(time).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None


def _is_of_kind(part: Mapping[str, Any]) -> bool:
    return part["entry"].get("type") in (SENT, RECEIVED)


def _address(row: InMessage | OutMessage) -> Address:
    return (row.step, row.attempt, row.sender, row.receiver, row.kind, row.n)


def _shown(
    address: Address,
    own: dict[Address, dict[str, Any]],
    partner: dict[Address, dict[str, Any]],
    told: set[str],
    names: Names,
) -> MessageShown:
    step, attempt, sender, receiver, kind, n = address
    facts = partner.get(address, {}) | own.get(address, {})
    sent, received = facts.get("sent"), facts.get("received")
    agree = None
    if sent is not None and received is not None:
        agree = sent == received
    elif (sent is None and sender in told) or (received is None and receiver in told):
        agree = False  # the other end has shown its log, and this message is not in it
    return MessageShown(
        step=step,
        attempt=attempt,
        sender=names.site(sender),
        receiver=names.site(receiver),
        kind=kind,
        n=n,
        size=facts["size"],
        sent=sent,
        received=received,
        has_receipt=bool(facts.get("receipt")),
        agree=agree,
        at=facts.get("at") or facts.get("sent_at") or facts.get("received_at"),
        sent_at=facts.get("sent_at"),
        received_at=facts.get("received_at"),
    )
