"""The answer to a request that became a transaction."""

from __future__ import annotations

import time
from typing import Annotated

import anyio
from anyio.to_thread import run_sync
from fastapi import Query, Request, Response
from pydantic import ConfigDict

from node.api.views.model import EXAMPLE_ID, Shown
from node.api.views.transactions import SETTLED, Transaction, find, refusal, transaction_link
from node.store import Store
from node.submission import Submitted

LOOK_EVERY_SECONDS = 0.2
MAX_WAIT_SECONDS = 120.0

Wait = Annotated[
    float,
    Query(
        ge=0,
        le=MAX_WAIT_SECONDS,
        description="Seconds to wait until the chain has confirmed or refused; 0: do not wait.",
    ),
]


class Accepted(Shown):
    """200 when confirmed, 202 while the transaction is on its way.

    `transaction` is null where it was not this site that sent it.
    """

    id: str
    state: str
    transaction: str | None
    tx_hash: str | None
    block: int | None

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "id": EXAMPLE_ID,
                    "state": "WAITING",
                    "transaction": f"/v1/transactions/grant.record:{EXAMPLE_ID}",
                    "tx_hash": None,
                    "block": None,
                }
            ]
        },
    )


async def accepted(
    request: Request, response: Response, submitted: Submitted, wait: float
) -> Accepted:
    """The transaction as it stands, after at most `wait` seconds.

    Raises the typed problem when the chain refused it in that time.
    """
    store: Store = request.app.state.site.store
    transaction = await settled(store, submitted.intent, wait)
    if transaction.state == "REFUSED":
        raise refusal(transaction)
    response.status_code = 200 if transaction.state == "CONFIRMED" else 202
    return Accepted(
        id=submitted.id,
        state=transaction.state,
        transaction=transaction_link(submitted.intent),
        tx_hash=transaction.tx_hash,
        block=transaction.block,
    )


async def settled(store: Store, intent: str, wait: float) -> Transaction:
    """Looks until the transaction is confirmed or refused, or the time is over."""
    until = time.monotonic() + wait
    while True:
        transaction = await run_sync(_look, store, intent)
        if transaction.state in SETTLED or time.monotonic() >= until:
            return transaction
        await anyio.sleep(LOOK_EVERY_SECONDS)


def _look(store: Store, intent: str) -> Transaction:
    with store.read() as session:
        return find(session, intent)
