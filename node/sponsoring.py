"""Requests for admission that were handed to this node, for a delegate to look at and to sponsor.

Anybody may hand one in, so what is kept is bounded: a request is small, signed by the account that
it names, one per account, so many waiting, and for so long.  Looking at it and proposing the
admission is a delegate's; the vote is the members'.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, or_, select
from sqlalchemy.orm import Session

from node.audit.entries import acting, record
from node.errors import Conflict, NotFound, TooMany
from node.governance import ProposalRequest, propose
from node.joining import AdmissionRequest, check_request
from node.refusals import chain_errors
from node.store import Proposal, ReceivedRequest
from node.votes import LOST

if TYPE_CHECKING:
    from node.site import Site
    from node.submission import Submitted

MAX_WAITING = 500
KEPT_SECONDS = 30 * 24 * 3600

# Those that a delegate sponsored or dismissed take nobody's room: they are as many as a delegate
# had time for.  They are kept so that the same request does not come before a delegate again;
# but one whose vote was lost may be put to the members another time.
_WAITS = (
    ReceivedRequest.dismissed_at.is_(None),
    or_(
        ReceivedRequest.proposal.is_(None),
        ReceivedRequest.proposal.in_(select(Proposal.id).where(Proposal.state.in_(LOST))),
    ),
)


def receive(
    site: Site, content: bytes, *, now: Callable[[], float] = time.time
) -> AdmissionRequest:
    """Keep a request that its account signed; the same one again is no other.

    Raises what `node.joining.check_request` raises, and `TooMany` (``TooManyRequests``).
    """
    with chain_errors():
        request = check_request(site.network(), content)
    account = request.account.lower()
    with site.store.begin() as session:
        _forget_old(session, now())
        before = session.scalar(select(ReceivedRequest).where(ReceivedRequest.account == account))
        if before is not None and before.id == request.id:
            return request
        if before is not None:
            session.delete(before)  # the newcomer changed its mind: its last word counts
            session.flush()
        if (session.scalar(select(func.count()).where(*_WAITS)) or 0) >= MAX_WAITING:
            raise TooMany(
                "TooManyRequests",
                "this node keeps no further requests for admission",
                allowed=MAX_WAITING,
                hint="hand the file to a delegate: `fatechain sponsor FILE` takes it, too",
            )
        session.add(
            ReceivedRequest(
                id=request.id,
                account=account,
                name=request.name,
                document=request.to_json(),
                received_at=now(),
            )
        )
        data = {"account": request.account, "name": request.name}
        record(session, "admission.requested", request.id, data, request.account)
    return request


def waiting(site: Site) -> list[ReceivedRequest]:
    """Requests neither dismissed nor before the members now, oldest first."""
    query = (
        select(ReceivedRequest)
        .where(*_WAITS)
        .order_by(ReceivedRequest.received_at, ReceivedRequest.id)
    )
    with site.store.read() as session:
        return list(session.scalars(query))


def find(site: Site, id: str) -> ReceivedRequest:
    """Raises `NotFound`."""
    with site.store.read() as session:
        row = session.get(ReceivedRequest, id)
    if row is None:
        raise NotFound(
            "NotFound",
            "this node has no such request for admission",
            found=id,
            hint="`fatechain sponsor` without an argument lists those that wait",
        )
    return row


def dismiss(site: Site, id: str) -> ReceivedRequest:
    """Sponsor it not; the newcomer may ask another member.  Raises `NotFound`, `Conflict`."""
    require_unsponsored(site, find(site, id))
    with site.store.begin() as session:
        row = session.get_one(ReceivedRequest, id)
        if row.dismissed_at is None:
            row.dismissed_at = time.time()
            record(session, "admission.dismissed", id, {"account": row.account}, acting())
    return row


def sponsor(
    site: Site, request: AdmissionRequest, *, title: str | None = None, body: str = ""
) -> Submitted:
    """Propose the admission; the account signed the request, which is checked once more.

    After a vote that was lost it is another proposal under another title.  Raises what
    `check_request` and `node.governance.propose` raise.
    """
    content = json.dumps(request.to_json()).encode()
    with chain_errors():
        checked = check_request(site.network(), content)
        params = {
            "account": checked.account,
            "name": checked.name,
            "nonce": checked.nonce,
            "acceptance": checked.acceptance,
        }
        asked = ProposalRequest("admit", params, title or _title(site, checked), body)
        submitted = propose(site, asked)
    with site.store.begin() as session:
        row = session.get(ReceivedRequest, checked.id)
        if row is not None:
            row.proposal, row.dismissed_at = submitted.id, None
    return submitted


def require_unsponsored(site: Site, row: ReceivedRequest) -> None:
    """Raises `Conflict` where the members have the request before them, or passed it."""
    if row.proposal is None:
        return
    with site.store.read() as session:
        proposal = session.get(Proposal, row.proposal)
    if proposal is not None and proposal.state in LOST:
        return
    raise Conflict(
        "Conflict",
        "this request is sponsored already",
        found=row.proposal,
        hint=f"see `fatechain proposal show {row.proposal}`",
    )


def _title(site: Site, request: AdmissionRequest) -> str:
    """Another one for each vote: the same calls with the same words are one proposal."""
    query = select(Proposal.params).where(Proposal.kind == "admit", Proposal.state.in_(LOST))
    with site.store.read() as session:
        before = [params for params in session.scalars(query) if params is not None]
    lost = sum(params.get("acceptance") == request.acceptance for params in before)
    return f"Admit {request.name}" + (f", vote {lost + 1}" if lost else "")


def _forget_old(session: Session, now: float) -> None:
    session.execute(delete(ReceivedRequest).where(ReceivedRequest.received_at < now - KEPT_SECONDS))
