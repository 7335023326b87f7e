"""`chain.ledger` from the confirmed events in this site's database.

Every member's node keeps all events of the consortium's contracts, so each of them can answer who
used what.
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from chain.ledger import CONTRACTS, Fact, Ledger
from node.store import ChainEvent, ChainState


def read_ledger(session: Session) -> Ledger:
    """All that is confirmed; what has expired had by the newest block that this site saw."""
    state = session.get(ChainState, 1)
    ledger = Ledger(-1, 0) if state is None else Ledger(state.cursor_block, state.head_time)
    columns = (
        ChainEvent.contract,
        ChainEvent.name,
        ChainEvent.args,
        ChainEvent.block,
        ChainEvent.tx_hash,
    )
    rows = session.execute(
        select(*columns)
        .where(ChainEvent.contract.in_(sorted(CONTRACTS)))
        .order_by(ChainEvent.block, ChainEvent.log_index)
        .execution_options(yield_per=5000)
    )
    for contract, name, args, block, tx_hash in rows:
        ledger.learn(contract, name, args, Fact(block, tx_hash))
    return ledger
