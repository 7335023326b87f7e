"""What is asked of a contract, as a plain value.

A `Call` is data: typed clients make it, a node stores it beside what it records, and the one
process that holds the key signs and sends it later. Its arguments are JSON: ids, digests and bytes
are 0x-hex, addresses checksummed, integers plain, structs are objects keyed by the contract's field
names.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Block = int | Literal["latest", "pending"]
"""The block whose state a read sees."""


@dataclass(frozen=True)
class Call:
    """`function` of the contract type `contract` (its artifact, "JobRegistry") that stands at
    `address`.
    """

    contract: str
    function: str
    args: tuple[Any, ...]
    address: str

    def __str__(self) -> str:
        return f"{self.contract}.{self.function}"

    def to_json(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "Call":
        """Raises ValueError when `text` is not what `to_json` wrote."""
        value = json.loads(text)
        if not isinstance(value, dict) or set(value) != {"contract", "function", "args", "address"}:
            raise ValueError("a stored call has exactly contract, function, args and address")
        if not isinstance(value["args"], list):
            raise ValueError("a stored call's args are a list")
        for name in ("contract", "function", "address"):
            if not isinstance(value[name], str):
                raise ValueError(f"a stored call's {name} is text")
        return cls(value["contract"], value["function"], tuple(value["args"]), value["address"])


@dataclass(frozen=True)
class Creation:
    """A contract to be created from its artifact with constructor arguments."""

    contract: str
    args: tuple[Any, ...] = ()

    @property
    def function(self) -> str:
        return "constructor"

    def __str__(self) -> str:
        return f"{self.contract}.constructor"


@dataclass(frozen=True)
class Payment:
    """Ether, in wei, to an account."""

    to: str
    wei: int

    @property
    def contract(self) -> str:
        return "Ether"

    @property
    def function(self) -> str:
        return "transfer"

    def __str__(self) -> str:
        return f"{self.wei} wei to {self.to}"


Transaction = Call | Creation | Payment
"""Whatever can be signed and sent."""


@dataclass(frozen=True)
class BlockRef:
    """A block by number and hash (0x-hex); `timestamp` is block time in Unix seconds."""

    number: int
    hash: str
    timestamp: int


@dataclass(frozen=True)
class Fees:
    """EIP-1559 fees in wei per gas."""

    max_fee: int
    priority_fee: int

    def raised(self, percent: int = 25) -> "Fees":
        """Nodes accept a replacement from +10 %; rounding up keeps small fees growing."""
        return Fees(_raised(self.max_fee, percent), _raised(self.priority_fee, percent))


@dataclass(frozen=True)
class SignedTx:
    """`raw` is the signed transaction as 0x-hex; sending it twice is harmless."""

    raw: str
    hash: str
    nonce: int
    gas: int
    fees: Fees


@dataclass(frozen=True)
class EventRecord:
    """One event of one of our contracts. `contract` is the artifact's name ("JobRegistry").

    An event that no artifact declares (a later version of a contract) has the name "Unknown" and
    the args `topics` and `data`: nothing is dropped.
    """

    block_number: int
    block_hash: str
    tx_hash: str
    log_index: int
    contract: str
    name: str
    args: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RawLog:
    """An event as the chain keeps it: no interface is needed. All 0x-hex in lower case."""

    address: str
    topics: tuple[str, ...]
    data: str

    def to_json(self) -> dict[str, Any]:
        return {"address": self.address, "topics": list(self.topics), "data": self.data}


@dataclass(frozen=True)
class Receipt:
    """`status` is True when the transaction took effect. `events` are those of known contracts."""

    tx_hash: str
    block_number: int
    block_hash: str
    gas_used: int
    status: bool
    events: tuple[EventRecord, ...]
    contract_address: str | None = None

    def event(self, name: str) -> EventRecord:
        """The one event of that name; raises KeyError when there is none or more than one."""
        found = [event for event in self.events if event.name == name]
        if len(found) != 1:
            raise KeyError(f"{len(found)} events {name} in transaction {self.tx_hash}")
        return found[0]


def _raised(fee: int, percent: int) -> int:
    return -(-fee * (100 + percent) // 100) if fee else 1
