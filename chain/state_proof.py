"""What stood in the storage of contracts, proved by `eth_getProof` against the header of one block.

    block    number, hash and header: the RLP of the block's header, whose keccak-256 is the hash
    nodes    of the Merkle-Patricia tries that lead from the header's state root to each contract
             and from there to each slot that is read, each once, as 0x-hex of their RLP

Nothing says which node belongs to which slot: whoever reads a slot walks from the root by hashes
(`ProvedSlots`), so a file can say neither another slot nor another contract. A slot that holds
nothing is proved by the node at which its path ends; where a node is missing nothing is proved.
Whoever knows the block's hash (from a node of his own, an explorer, another member) needs to trust
nobody for the rest. Not every endpoint gives proofs, and some chains hash headers in a way of their
own: then there is none (`None`), and the chain itself must be asked.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import rlp  # type: ignore[import-untyped]
from eth_utils.crypto import keccak
from pydantic import BaseModel, ConfigDict, Field

from chain.canonical import MAX_INTEGER
from chain.errors import ChainRefused, VerificationFailed

if TYPE_CHECKING:
    from chain.client import ChainClient

MAX_NODES = 20_000
MAX_NODE = 1024
"""Bytes; the longest node of a state is a branch of 532."""
MAX_HEADER = 4096
EMPTY = keccak(b"\x80")
"""The root of a trie that holds nothing."""

_PARENT, _STATE_ROOT, _NUMBER, _TIMESTAMP = 0, 3, 8, 11
_FIELDS = (
    "parentHash",
    "sha3Uncles",
    "miner",
    "stateRoot",
    "transactionsRoot",
    "receiptsRoot",
    "logsBloom",
    "difficulty",
    "number",
    "gasLimit",
    "gasUsed",
    "timestamp",
    "extraData",
    "mixHash",
    "nonce",
)
_LATER = (
    "baseFeePerGas",
    "withdrawalsRoot",
    "blobGasUsed",
    "excessBlobGas",
    "parentBeaconBlockRoot",
    "requestsHash",
)
_NUMBERS = frozenset(
    {
        "difficulty",
        "number",
        "gasLimit",
        "gasUsed",
        "timestamp",
        "baseFeePerGas",
        "blobGasUsed",
        "excessBlobGas",
    }
)


# ── The form


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class BlockPart(_Part):
    number: Annotated[int, Field(ge=0, le=MAX_INTEGER)]
    hash: Annotated[str, Field(pattern=r"^0x[0-9a-f]{64}$")]
    header: Annotated[str, Field(max_length=2 + 2 * MAX_HEADER, pattern=r"^0x([0-9a-f]{2})+$")]


Node = Annotated[str, Field(max_length=2 + 2 * MAX_NODE, pattern=r"^0x([0-9a-f]{2})+$")]


class StatePart(_Part):
    block: BlockPart
    nodes: Annotated[list[Node], Field(max_length=MAX_NODES)]


# ── Headers


@dataclass(frozen=True)
class Header:
    """What is looked at of a block's header; `timestamp` in Unix seconds, hashes as 0x-hex."""

    hash: str
    parent: str
    state_root: bytes
    number: int
    timestamp: int


def header_of(block: Mapping[str, Any], where: str) -> Header:
    """The header in a `BlockPart`, which has the hash and the number that stand beside it.

    Raises VerificationFailed.
    """
    raw = _raw(block["header"])
    found = "0x" + keccak(raw).hex()
    if found != block["hash"]:
        raise VerificationFailed(f"{where}.hash", block["hash"], f"the hash of the header, {found}")
    header = _header(raw, found, f"{where}.header")
    if header.number != block["number"]:
        raise VerificationFailed(f"{where}.number", block["number"], header.number)
    return header


def _header(raw: bytes, hash: str, where: str) -> Header:
    fields = _decoded(raw)
    if not isinstance(fields, list) or not all(isinstance(field, bytes) for field in fields):
        raise VerificationFailed(where, "another form", "a header")
    if len(fields) < len(_FIELDS) or len(fields[_PARENT]) != 32 or len(fields[_STATE_ROOT]) != 32:
        raise VerificationFailed(where, "other fields", "those of a header")
    number, timestamp = (_whole(fields[at]) for at in (_NUMBER, _TIMESTAMP))
    if number is None or timestamp is None:
        raise VerificationFailed(where, "no number or no time", "those of a block")
    parent = "0x" + fields[_PARENT].hex()
    return Header(hash, parent, fields[_STATE_ROOT], number, timestamp)


def _whole(field: bytes) -> int | None:
    """A number of a header, as far as JSON has them."""
    found = int.from_bytes(field)
    return None if found > MAX_INTEGER or field[:1] == b"\0" else found


def block_part(client: "ChainClient", number: int) -> dict[str, Any] | None:
    """A block's header as JSON; None where the endpoint tells none that hashes to its hash."""
    try:
        told = client.ask_raw("eth_getBlockByNumber", [hex(number), False])
        names = [*_FIELDS, *(name for name in _LATER if told.get(name) is not None)]
        raw = bytes(rlp.encode([_field(name, told[name]) for name in names]))
        part = {"number": number, "hash": told["hash"], "header": "0x" + raw.hex()}
        header_of(part, "$")
    except (ChainRefused, VerificationFailed, KeyError, TypeError, ValueError, AttributeError):
        return None  # the endpoint does not know the question, or answers in a form of its own
    return part


def _field(name: str, value: Any) -> bytes:
    if name not in _NUMBERS:
        return bytes.fromhex(value.removeprefix("0x"))
    number = int(value, 16)
    return number.to_bytes((number.bit_length() + 7) // 8)


# ── Slots


class Slots(Protocol):
    """Where words of contracts' storage are read."""

    def word(self, address: str, slot: int) -> int:
        """What stands there; 0 where nothing does."""


class ProvedSlots:
    """By nodes under a state root. Raises VerificationFailed at `where` for what they do not prove.

    No path is longer than its key, so a slot costs at most 64 nodes. Nodes may be shared: a few can
    give every slot a value, so whoever reads a list bounds how much of it.
    """

    def __init__(self, state_root: bytes, nodes: Iterable[bytes], where: str) -> None:
        self._root, self._where = state_root, where
        self._nodes = {keccak(node): node for node in nodes}
        self._used: dict[bytes, bytes] = {}
        self._accounts: dict[str, bytes] = {}

    def word(self, address: str, slot: int) -> int:
        root = self._storage_root(address.lower())
        stored = self.value(root, keccak(slot.to_bytes(32)))
        if stored is None:
            return 0
        word = _decoded(stored)
        # Anvil keeps a slot that was set to nothing, as a word of no bytes.
        if not isinstance(word, bytes) or len(word) > 32 or word[:1] == b"\0":
            raise self._failed("another form", "a word")
        return int.from_bytes(word)

    def value(self, root: bytes, key: bytes) -> bytes | None:
        """What the trie of this root holds under the key; None where it proves to hold nothing."""
        node, path = self._node(root), key.hex()
        while node is not None:
            if len(node) == 17 and path:
                node, path = self._child(node[int(path[0], 16)]), path[1:]
                continue
            if len(node) == 17:
                return self._content(node[16]) or None
            part, is_leaf = self._path(node[0])
            if is_leaf:
                return self._content(node[1]) if part == path else None
            if not path.startswith(part):
                return None
            if node[1] == b"":
                raise self._failed("a path to nothing", "a node of a trie")
            node, path = self._child(node[1]), path[len(part) :]
        return None

    @property
    def used(self) -> list[str]:
        """The nodes that were needed so far, in the order in which they were."""
        return ["0x" + node.hex() for node in self._used.values()]

    def require_all_used(self) -> None:
        """Nothing stands in the file that proves nothing."""
        if len(self._used) != len(self._nodes):
            found = f"{len(self._nodes) - len(self._used)} nodes that prove nothing"
            raise self._failed(found, "those that are needed")

    def _storage_root(self, address: str) -> bytes:
        if address not in self._accounts:
            account = self.value(self._root, keccak(_raw(address)))
            if account is None:
                raise self._failed(f"no account at {address}", "a contract")
            fields = _decoded(account)
            if not isinstance(fields, list) or len(fields) != 4 or len(fields[2]) != 32:
                raise self._failed("another form", "an account")
            self._accounts[address] = self._content(fields[2])
        return self._accounts[address]

    def _node(self, hash: bytes) -> list[Any] | None:
        if hash == EMPTY:
            return None
        if hash not in self._nodes:
            raise self._failed(f"no node 0x{hash.hex()}", "the nodes of each path")
        self._used[hash] = self._nodes[hash]
        return self._formed(_decoded(self._nodes[hash]))

    def _child(self, told: Any) -> list[Any] | None:
        if told == b"":
            return None
        # A node of fewer than 32 bytes stands in the one above it.
        return self._formed(told) if isinstance(told, list) else self._node(told)

    def _formed(self, node: Any) -> list[Any]:
        if not isinstance(node, list) or len(node) not in (2, 17):
            raise self._failed("another form", "a node of a trie")
        return node

    def _path(self, told: Any) -> tuple[str, bool]:
        """Half-bytes as text, and whether a leaf ends them (hex-prefix, Yellow Paper C)."""
        text = self._content(told).hex()
        is_odd = text[:1] in ("1", "3")
        if text[:1] not in ("0", "1", "2", "3") or not (is_odd or text[1] == "0"):
            raise self._failed("another form", "a path of half-bytes")
        part, is_leaf = text[1 if is_odd else 2 :], text[0] in ("2", "3")
        if not part and not is_leaf:
            raise self._failed("an empty path", "a path of half-bytes")
        return part, is_leaf

    def _content(self, told: Any) -> bytes:
        if not isinstance(told, bytes):
            raise self._failed("another form", "bytes")
        return told

    def _failed(self, found: str, expected: str) -> VerificationFailed:
        return VerificationFailed(self._where, found, expected)


class AskedSlots:
    """As a node tells them at a block; what was read is remembered."""

    def __init__(self, client: "ChainClient", block: int) -> None:
        self._client, self._block = client, block
        self.read: dict[str, dict[int, int]] = {}

    def word(self, address: str, slot: int) -> int:
        known = self.read.setdefault(address, {})
        if slot not in known:
            known[slot] = self._client.slot(address, slot, self._block)
        return known[slot]


def prove(
    client: "ChainClient", block: int, look: Callable[[Slots], object]
) -> dict[str, Any] | None:
    """A `StatePart` for every slot that `look` reads at the block.

    None where the endpoint gives no proofs, or none that hold. Raises what `look` raises, and
    ChainUnavailable.
    """
    part = block_part(client, block)
    if part is None:
        return None
    asked = AskedSlots(client, block)
    look(asked)
    try:
        nodes = [
            node for at, slots in asked.read.items() for node in _told(client, at, slots, block)
        ]
        proved = ProvedSlots(header_of(part, "$").state_root, nodes, "$.nodes")
        look(proved)
    except (ChainRefused, VerificationFailed, KeyError, TypeError, ValueError, AttributeError):
        return None  # the endpoint does not know the question, or answers in a form of its own
    return {"block": part, "nodes": proved.used}


def _told(client: "ChainClient", address: str, slots: Iterable[int], block: int) -> Sequence[bytes]:
    # Keys of 32 bytes: some engines refuse shorter ones.
    keys = [f"0x{slot:064x}" for slot in slots]
    found = client.ask_raw("eth_getProof", [address, keys, hex(block)])
    paths = [found["accountProof"], *(each["proof"] for each in found["storageProof"])]
    return [_raw(node) for path in paths for node in path]


def proved(state: Mapping[str, Any], where: str) -> tuple[Header, ProvedSlots]:
    """The header of a `StatePart`, and the slots under it. Raises VerificationFailed."""
    header = header_of(state["block"], f"{where}.block")
    nodes = (_raw(node) for node in state["nodes"])
    return header, ProvedSlots(header.state_root, nodes, f"{where}.nodes")


def _decoded(data: bytes) -> Any:
    """Bytes, or a list of such; None for what is no RLP, or not in its one form."""
    try:
        return rlp.decode(data)
    except (rlp.exceptions.RLPException, RecursionError):
        return None


def _raw(value: str) -> bytes:
    return bytes.fromhex(value[2:])
