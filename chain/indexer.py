"""Following the contracts' events: confirmed ones, in order, each exactly once.

A block is confirmed when `confirmations` blocks stand on it; what happens above is seen only
through `peek`. The store keeps the events and how far they reach in one transaction, so a process
may die at any point. The confirmed block that was read last is compared with the chain at each
step:

    it is there with another hash      the chain was rewritten: ChainRegressed, and nothing is read
    the chain's head is before it      the endpoint lags behind: nothing is read, `behind` says how
    far
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from chain.calls import BlockRef, EventRecord
from chain.client import ChainClient
from chain.errors import BlockUnknown, ChainRegressed
from chain.history import History
from chain.network import Network


@dataclass(frozen=True)
class Cursor:
    """All events up to and including this block are in the store."""

    number: int
    hash: str


class EventStore(Protocol):
    """Where the events go."""

    def load(self) -> Cursor | None:
        """How far the store reaches; None: it is empty."""
        ...

    def commit(self, events: Sequence[EventRecord], cursor: Cursor) -> None:
        """Keeps the events and the new cursor, both or neither."""
        ...


class Indexer:
    """Brings the confirmed events of a network into a store. One process at a time per store.

    A long history is read in pieces (`chain.history`), each kept as it comes.
    `first_block` is where the history of the consortium begins (`NetworkFile.from_block`).
    """

    def __init__(
        self,
        client: ChainClient,
        network: Network,
        store: EventStore,
        confirmations: int,
        *,
        first_block: int = 0,
    ) -> None:
        self.client = client
        self.network = network
        self.store = store
        self.confirmations = confirmations
        self.first_block = first_block
        self.behind = 0
        self.history = History(client, network.contracts)

    def step(self) -> list[EventRecord]:
        """The events confirmed since the last step, in the chain's order; they are in the store.

        Raises ChainRegressed, ChainUnavailable, LogsRefused; what was committed before stands.
        """
        head = self.client.head()
        cursor = self.store.load()
        if cursor is not None and not self._reaches(head, cursor):
            return []
        done = self.first_block - 1 if cursor is None else cursor.number
        confirmed = head.number - self.confirmations
        found: list[EventRecord] = []
        while done < confirmed:
            piece = self._read(done + 1, confirmed)
            if piece is None:
                break
            events, done = piece
            found.extend(events)
        return found

    def peek(self) -> list[EventRecord]:
        """Events above the store's last block, up to the head: any of them may still vanish."""
        cursor = self.store.load()
        first = self.first_block if cursor is None else cursor.number + 1
        head = self.client.head().number
        return self.history.read(first, head)

    def _reaches(self, head: BlockRef, cursor: Cursor) -> bool:
        """Whether the endpoint still has the block that was read last, and has it unchanged."""
        self.behind = max(cursor.number - head.number, 0)
        if self.behind:
            return False
        try:
            found = self.client.block(cursor.number)
        except BlockUnknown:
            return False  # another node of the same endpoint answered, one that lags
        if found.hash != cursor.hash:
            raise ChainRegressed(cursor.number, cursor.hash, found.hash)
        return True

    def _read(self, first: int, last: int) -> tuple[list[EventRecord], int] | None:
        """Reads and keeps a piece, and says where it ends.

        None where the endpoint did not give one whole history.
        """
        events: list[EventRecord] | None = None
        try:
            while events is None:
                end = self.history.end(first, last)
                before = self.client.block(end)
                events = self.history.ask(first, end)
            after = self.client.block(end)
        except BlockUnknown:
            return None
        if before.hash != after.hash:
            return None  # the chain moved while it was read: the next step sees where to
        self.store.commit(events, Cursor(end, after.hash))
        return events, end
