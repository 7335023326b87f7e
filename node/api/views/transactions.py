"""Transactions that this site wanted: waiting, sent, confirmed or refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from node.api.pages import Page, from_cursor, to_cursor
from node.api.views.model import ID_PATTERN, Shown
from node.errors import Conflict, NodeError, NotFound
from node.refusals import REASONS, STANDARD
from node.store import ChainTx

if TYPE_CHECKING:
    from node.site import Site

MAX_CALLDATA = 100_000  # bytes of a call that are read and shown
SETTLED = ("CONFIRMED", "REFUSED")
STATES = ("WAITING", "SIGNED", "SENT", "MINED", *SETTLED)


class TransactionError(Shown):
    code: str
    detail: str


class Transaction(Shown):
    """`intent` says what for; `args` are the call's, by name; times are UTC seconds."""

    id: int
    intent: str
    state: str
    contract: str
    function: str
    args: dict[str, Any]
    nonce: int | None
    tx_hash: str | None
    block: int | None
    gas_used: int | None
    error: TransactionError | None
    created_at: float
    changed_at: float


class CallShown(Shown):
    """A transaction as the chain has it, whoever sent it.

    `contract` is null where it calls none of this consortium's, `function` where the contract
    declares none such; `value` is wei in decimals, `block` null while it is not mined.
    """

    hash: str
    sender: str
    to: str | None
    contract: str | None
    function: str | None
    args: dict[str, Any]
    calldata: str
    value: str
    block: int | None


def transaction_link(intent: str) -> str:
    return f"/v1/transactions/{intent}"


def show(row: ChainTx) -> Transaction:
    from chain.abi import named

    error = row.error
    return Transaction(
        id=row.id,
        intent=row.intent,
        state=row.state,
        contract=row.call["contract"],
        function=row.call["function"],
        args=named(row.call["contract"], row.call["function"], row.call["args"]),
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


def of_hash(session: Session, tx_hash: str) -> Transaction | None:
    """This site's own with that hash; None for another's."""
    row = session.scalar(select(ChainTx).where(ChainTx.tx_hash == tx_hash))
    return None if row is None else show(row)


def on_chain(site: Site, tx_hash: str) -> CallShown | None:
    """What the chain has under a hash; None where it has nothing, or does not answer."""
    from chain.errors import ChainError

    if not re.match(ID_PATTERN, tx_hash):
        return None
    try:
        network = site.network()
        found = network.client.ask_raw("eth_getTransactionByHash", [tx_hash])
    except (ChainError, NodeError):
        return None
    return _call(found, network.contracts) if isinstance(found, dict) else None


def _call(found: dict[str, Any], contracts: Mapping[str, str]) -> CallShown:
    """Raises nothing for what strangers sent: what cannot be read is shown as it is."""
    from chain.abi import decode_call, to_bytes

    to = found.get("to")
    by_address = {address.lower(): name for address, name in contracts.items()}
    contract = by_address.get(str(to).lower())
    data = str(found.get("input") or found.get("data") or "0x")
    function: str | None = None
    args: dict[str, Any] = {}
    if contract is not None and len(data) <= 2 * MAX_CALLDATA:
        try:
            function, args = decode_call(contract, to_bytes(data))
        except ValueError:
            function = None  # the selector, or the encoding, is none of the contract's
    block = found.get("blockNumber")
    return CallShown(
        hash=str(found.get("hash")),
        sender=str(found.get("from")),
        to=None if to is None else str(to),
        contract=contract,
        function=function,
        args=args,
        calldata=data[: 2 * MAX_CALLDATA],
        value=str(int(str(found.get("value") or "0x0"), 16)),
        block=None if block is None else int(str(block), 16),
    )


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
