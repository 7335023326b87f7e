"""/v1/transactions: what this site asked of the chain."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request

from node.api.evidence import EVIDENCE
from node.api.operator import OperatorRoute
from node.api.pages import DEFAULT_LIMIT, Cursor, Limit, Page
from node.api.views import transactions
from node.api.views.transactions import Transaction

router = APIRouter(
    prefix="/transactions", tags=["evidence"], route_class=OperatorRoute, dependencies=[EVIDENCE]
)

State = Literal["WAITING", "SIGNED", "SENT", "MINED", "CONFIRMED", "REFUSED"]


@router.get("", summary="Transactions this site wanted, newest first")
def list_transactions(
    request: Request,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
    state: State | None = None,
    subject: Annotated[
        str | None, Query(max_length=80, description="An id that the transaction is about.")
    ] = None,
) -> Page[Transaction]:
    with request.app.state.site.store.read() as session:
        return transactions.page(session, limit=limit, cursor=cursor, state=state, subject=subject)


@router.get("/{intent:path}", summary="One transaction, by intent or number")
def show_transaction(request: Request, intent: str) -> Transaction:
    with request.app.state.site.store.read() as session:
        return transactions.find(session, intent)
