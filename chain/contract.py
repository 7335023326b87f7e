"""What all typed clients share: a contract at an address, read at a block."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from chain.calls import Block, Call

if TYPE_CHECKING:
    from typing import Self

    from chain.client import ChainClient

PAGE = 100
"""Ids asked for at once when a whole list is read."""


class Contract:
    """A contract of the type `artifact` at `address`.

    Reads take `block=`; left out they see the block that this client was made for ("latest" unless
    it came from `Network.at`). They raise ContractRefused, ChainUnavailable. Methods that change
    something return a `Call` and send nothing.
    """

    artifact: ClassVar[str]

    def __init__(self, client: "ChainClient", address: str, block: Block = "latest") -> None:
        self.client = client
        self.address = address
        self.block = block

    def at(self, block: Block) -> "Self":
        """The same contract, read at `block`."""
        return type(self)(self.client, self.address, block)

    def _read(self, function: str, *args: Any, block: Block | None) -> Any:
        call = Call(self.artifact, function, args, self.address)
        return self.client.call(call, block=self.block if block is None else block)

    def _read_all(self, count: str, page: str, block: Block | None) -> tuple[str, ...]:
        """A whole list through the contract's pages.

        Read at one block lest it shift between two.
        """
        at = self.block if block is None else block
        if at == "latest":
            at = self.client.head().number
        total = self._read(count, block=at)
        ids: list[str] = []
        while len(ids) < total:
            found: Sequence[str] = self._read(page, len(ids), PAGE, block=at)
            if not found:
                break
            ids.extend(found)
        return tuple(ids)

    def _write(self, function: str, *args: Any) -> Call:
        return Call(self.artifact, function, args, self.address)
