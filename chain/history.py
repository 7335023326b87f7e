"""Events over many blocks, in pieces as large as the endpoint gives them.

Hosted endpoints bound a question by its blocks, by its answer or by the time it takes, each in its
own words. So no words are read: what is refused is asked again in half as many blocks, and what is
answered lets the next piece grow by a quarter.
"""

from collections.abc import Iterable

from chain.calls import EventRecord
from chain.client import ChainClient
from chain.errors import ChainUnavailable, LogsRefused

CHUNK = 2000
"""Blocks asked for at once, at most."""


class History:
    """What contracts at these addresses told. `size`: the blocks of the next piece."""

    def __init__(self, client: ChainClient, addresses: Iterable[str]) -> None:
        self._client = client
        self._addresses = tuple(addresses)
        self.size = CHUNK

    def end(self, first: int, last: int) -> int:
        """The last block of the piece that begins with `first`, within `last`."""
        return min(first + self.size - 1, last)

    def ask(self, first: int, end: int) -> list[EventRecord] | None:
        """The events of a piece in the chain's order; None where a smaller one must be asked for.

        Raises LogsRefused when a single block is refused, ChainUnavailable.
        """
        blocks = end - first + 1
        try:
            found = self._client.logs(first, end, self._addresses)
        except LogsRefused:
            if blocks == 1:
                raise
            self.size = blocks // 2
            return None
        except ChainUnavailable:
            # An answer that takes too long looks like this: whoever tries again asks for less.
            self.size = max(1, blocks // 2)
            raise
        self.size = min(self.size + self.size // 4 + 1, CHUNK)
        return found

    def read(self, first: int, last: int) -> list[EventRecord]:
        """All events of blocks [first, last], in the chain's order. Raises as `ask` does."""
        found: list[EventRecord] = []
        while first <= last:
            end = self.end(first, last)
            events = self.ask(first, end)
            if events is not None:
                found.extend(events)
                first = end + 1
        return found
