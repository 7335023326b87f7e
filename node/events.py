"""Confirmed events of the chain in this site's database, together with what follows from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from node import projection
from node.store import ChainEvent, ChainState

if TYPE_CHECKING:
    from chain.calls import EventRecord
    from chain.indexer import Cursor
    from node.site import Site


class Events:
    """`chain.indexer.EventStore` over this site's database: events and their effect are one."""

    def __init__(self, site: Site) -> None:
        self.site = site

    def load(self) -> Cursor | None:
        """How far the events were read."""
        from chain.indexer import Cursor

        with self.site.store.read() as session:
            state = session.get(ChainState, 1)
        if state is None or state.cursor_block < 0:
            return None
        return Cursor(state.cursor_block, state.cursor_hash)

    def commit(self, events: Sequence[EventRecord], cursor: Cursor) -> None:
        """Keep events, what follows from them, and the cursor."""
        me = self.site.settings.site_id
        with self.site.store.begin() as session:
            for event in events:
                session.add(
                    ChainEvent(
                        block=event.block_number,
                        block_hash=event.block_hash,
                        tx_hash=event.tx_hash,
                        log_index=event.log_index,
                        contract=event.contract,
                        name=event.name,
                        args=dict(event.args),
                    )
                )
                projection.apply(session, event, me)
            state = chain_state(session)
            state.cursor_block, state.cursor_hash = cursor.number, cursor.hash


def chain_state(session: Session) -> ChainState:
    """The one row that says how far the chain was read; made where it is missing."""
    state = session.get(ChainState, 1)
    if state is None:
        state = ChainState(id=1)
        session.add(state)
        session.flush()
    return state
