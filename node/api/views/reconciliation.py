"""What came of holding the logs of a job's parties against each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.api.views.model import Shown
from node.api.views.names import Named, Names
from node.errors import NotFound
from node.store import LocalJob

if TYPE_CHECKING:
    from node.site import Site


class DifferenceShown(Shown):
    """A line that does not agree, and in the log of which site.

    `what` is missing, different, unacknowledged (no receipt that holds), unsent (its sender tells
    nothing of it: `site`, the receiver, made it up, or `also`, the sender, left it out),
    undeclared, unreadable or unproven; `line` is message, approval, grantUse or result; `where` is
    a place in the logs.
    """

    site: Named
    also: Named | None
    what: str
    line: str
    step: str
    sender: Named | None
    receiver: Named | None
    kind: str
    n: int | None
    where: str
    detail: str


class HeadShown(Shown):
    """Up to where a log was read."""

    site: Named
    size: int
    root: str


class ReconciliationShown(Shown):
    """`agrees`, and how many lines of each kind stand in both logs, with the receiver's receipt.

    `open` are messages of a job that was broken off, whose receipts had not arrived; `count` are
    all differences, of which the first hundred are shown.
    """

    agrees: bool
    at: float
    messages: int
    approvals: int
    grant_uses: int
    results: int
    bytes: int
    digest: str
    open: int
    count: int
    differences: list[DifferenceShown]
    heads: list[HeadShown]


def shown(row: LocalJob, names: Names) -> ReconciliationShown | None:
    """None as long as it was not done."""
    verdict = row.reconciliation
    if verdict is None:
        return None
    differences = []
    for told in verdict["differences"]:
        address, also = told["address"], told.get("also")
        differences.append(
            DifferenceShown(
                site=names.site(told["site"]),
                also=None if also is None else names.site(also),
                what=told["what"],
                line=told["line"],
                step="" if address is None else address[0],
                sender=None if address is None else names.site(address[2]),
                receiver=None if address is None else names.site(address[3]),
                kind="" if address is None else address[4],
                n=None if address is None else address[5],
                where=told["where"],
                detail=told["detail"],
            )
        )
    names_of = ("agrees", "at", "messages", "approvals", "results", "bytes", "digest", "open")
    return ReconciliationShown(
        **{name: verdict[name] for name in names_of},
        grant_uses=verdict["grantUses"],
        count=verdict["count"],
        differences=differences,
        heads=[
            HeadShown(site=names.site(head["site"]), size=head["size"], root=head["root"])
            for head in verdict["heads"]
        ],
    )


def show(site: Site, names: Names, id: str) -> ReconciliationShown:
    """Raises `NotFound` for a job that is unknown here, or was not reconciled yet."""
    with site.store.read() as session:
        row = session.get(LocalJob, id)
    found = None if row is None else shown(row, names)
    if found is None:
        raise NotFound(
            "NotFound",
            "the logs of this job were not held against each other here",
            found=id,
            hint="it is done when the job has ended and all parties have anchored their logs",
        )
    return found
