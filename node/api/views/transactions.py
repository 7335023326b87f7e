"""Transactions that this site wanted: waiting, sent, confirmed or refused."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from node.api.pages import Page, from_cursor, to_cursor
from node.api.views.model import Shown
from node.errors import Conflict, NodeError, NotFound
from node.refusals import REASONS, STANDARD
from node.store import ChainTx

SETTLED = ("CONFIRMED", "REFUSED")
STATES = ("WAITING", "SIGNED", "SENT", "MINED", *SETTLED)


class TransactionError(Shown):
    code: str
    detail: str


class Transaction(Shown):
    """`intent` says what for; times are UTC seconds."""

    id: int
    intent: str
    state: str
    contract: str
    function: str
    nonce: int | None
    tx_hash: str | None
    block: int | None
    gas_used: int | None
    error: TransactionError | None
    created_at: float
    changed_at: float


def transaction_link(intent: str) -> str:
    return f"/v1/transactions/{intent}"


def show(row: ChainTx) -> Transaction:
    error = row.error
    return Transaction(
        id=row.id,
        intent=row.intent,
        state=row.state,
        contract=row.call["contract"],
        function=row.call["function"],
        nonce=row.nonce,
        tx_hash=row.tx_hash,
        block=row.block,
        gas_used=row.gas_used,
        error=None
        if error is None
        else TransactionError(code=str(error["code"]), detail=str(error["detail"])),
        created_at=row.created_at,
        changed_at=row.changed_at,
    )


def find(session: Session, key: str) -> Transaction:
    """By intent, or by the number that this site gave it.  Raises `NotFound`."""
    row = session.scalar(select(ChainTx).where(ChainTx.intent == key))
    if row is None and key.isascii() and key.isdigit() and len(key) < 19:
        row = session.get(ChainTx, int(key))
    if row is None:
        raise NotFound("NotFound", "this site wanted no such transaction", found=key[:200])
    return show(row)


def page(
    session: Session,
    *,
    limit: int,
    cursor: str | None = None,
    state: str | None = None,
    subject: str | None = None,
) -> Page[Transaction]:
    """Newest first; `subject` is an id that the intent names."""
    query = select(ChainTx).order_by(ChainTx.id.desc()).limit(limit + 1)
    if state is not None:
        query = query.where(ChainTx.state == state)
    if subject is not None:
        query = query.where(ChainTx.intent.contains(subject, autoescape=True))
    if (position := from_cursor(cursor, int)) is not None:
        query = query.where(ChainTx.id < position[0])
    rows = list(session.scalars(query))
    more = to_cursor(rows[limit - 1].id) if len(rows) > limit else None
    return Page(items=[show(row) for row in rows[:limit]], next=more)


def refusal(transaction: Transaction) -> NodeError:
    """Why the chain refused it, as the problem it is."""
    error = transaction.error or TransactionError(
        code="TransactionFailed", detail="the chain refused the transaction"
    )
    kinds = {code: kind for kind, code in (REASONS | STANDARD).values()}
    return kinds.get(error.code, Conflict)(error.code, error.detail)
