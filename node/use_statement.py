"""The monthly data-use statement of this site's member, signed with the audit key.

`chain.statement` has the format.  What a statement tells follows from the chain up to the month's
last block, so it can be made again at any time, and nobody has to be awake at midnight;
`node.monthly` makes and keeps that of each month that ended.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from chain import canonical
from chain.statement import TYPE, VERSION, bounds, signed_bytes, stated
from node.audit.entries import now
from node.errors import Invalid, Unavailable
from node.identity import AUDIT
from node.ledger import read_ledger
from node.refusals import chain_errors
from node.store import StopReceipt

if TYPE_CHECKING:
    from node.site import Site


def statement(site: Site, month: str, *, provisional: bool = False) -> dict[str, Any]:
    """The signed statement of a month like "2026-10".

    Raises `Invalid` for what is no month and (``MonthNotOver``) for one that is not over by the
    chain's time unless it may be ``provisional``, `Conflict` (``NotRegistered``), `Unavailable`.
    """
    try:
        start, _ = bounds(month)
    except ValueError as error:
        raise Invalid(
            "InvalidRequest", "this is no month", found=month, allowed="like 2026-10"
        ) from error
    with site.store.read() as session:
        ledger = read_ledger(session)
    if ledger.block < 0:
        raise Unavailable("ChainUnavailable", "the chain was not read yet")
    with chain_errors():
        network = site.network()
        reached = network.client.block(ledger.block).timestamp
        if reached < start:
            raise Invalid(
                "InvalidRequest", "this month has not begun", found=month, allowed="one that has"
            )
        owner = network.sites.member_of(site.id)
        body = stated(network, site.agreed, ledger, owner, month)
    if not body["month"]["over"] and not provisional:
        raise Invalid(
            "MonthNotOver",
            "by the chain's time this month is not over, so the statement could still change",
            found=month,
            hint="ask for an earlier month, or for a provisional statement",
        )
    identity = site.identity
    jobs = {use["job"] for data in body["datasets"] for use in data["uses"]}
    unsigned = {
        "type": TYPE,
        "version": VERSION,
        **body,
        "stops": _stops(site, jobs),
        "issued": {
            "by": site.id,
            "at": now(),
            "keyId": site.key_id(AUDIT, identity),
            "publicKey": "0x" + identity.audit_public.hex(),
        },
    }
    signature = identity.sign_audit(signed_bytes(unsigned))
    return unsigned | {"signature": base64.b64encode(signature).decode()}


def content_of(statement: dict[str, Any]) -> bytes:
    """The file."""
    return canonical.dumps(statement) + b"\n"


def _stops(site: Site, jobs: set[str]) -> list[dict[str, Any]]:
    """Receipts of the sites that ended work in these jobs before its time."""
    query = select(StopReceipt).order_by(StopReceipt.job_id, StopReceipt.site, StopReceipt.attempt)
    with site.store.read() as session:
        rows = list(session.scalars(query))
    return [dict(row.receipt) for row in rows if row.job_id in jobs and row.receipt is not None]
