"""What stood in a contract's storage, proved by `eth_getProof` against the header of a block.

    header     the RLP of the block's header, whose keccak-256 is the block's hash
    account    the path of a Merkle-Patricia trie from the header's state root to the contract
    storage    the path from the contract's storage root to one slot

Whoever knows the block's hash (from a node of his own, from another member) needs to trust nobody
for the rest. Not every endpoint gives such proofs, and some chains hash headers in a way of their
own: then there is none (`None`), and the chain itself must be asked.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from chain.errors import ChainRefused, VerificationFailed

if TYPE_CHECKING:
    from chain.client import ChainClient

MAX_NODES = 64
"""Of one path: a key has 64 half-bytes."""
MAX_HEADER = 4096
NUMBER, STATE_ROOT = 8, 3
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


def anchored_slot(site: str, size: int) -> int:
    """Where AuditAnchor keeps the root of the head of this size, from the artifact's layout."""
    from eth_utils.crypto import keccak

    from chain.compile import load

    (space,) = [s for s in load("AuditAnchor").storage if "AuditAnchor" in s["namespace"]]
    heads = next(member for member in space["members"] if member["label"] == "heads")
    kept = heads["type"].removesuffix("))").rpartition("=> ")[2]
    root = next(member for member in space["structs"][kept] if member["label"] == "root")
    base = int(space["slot"], 16) + int(heads["slot"])
    inner = keccak(bytes.fromhex(site[2:]) + base.to_bytes(32))
    return int.from_bytes(keccak(size.to_bytes(32) + inner)) + int(root["slot"])


def prove(client: "ChainClient", address: str, slot: int, block: int) -> dict[str, Any] | None:
    """The proof as JSON; None where the endpoint gives none, or one that does not hold."""
    try:
        found = client.ask_raw("eth_getProof", [address, [f"0x{slot:064x}"], hex(block)])
        if found is None:
            return None
        header = client.ask_raw("eth_getBlockByNumber", [hex(block), False])
        proof = {
            "block": {"number": block, "hash": header["hash"], "header": _header_rlp(header)},
            "address": address,
            "slot": f"0x{slot:064x}",
            "account": list(found["accountProof"]),
            "storage": list(found["storageProof"][0]["proof"]),
        }
    except (ChainRefused, KeyError, IndexError, TypeError, ValueError, AttributeError):
        return None  # the endpoint does not know the question, or answers in a form of its own
    try:
        verify(proof, "$")
    except VerificationFailed:
        return None
    return proof


def verify(proof: Mapping[str, Any], where: str) -> bytes:
    """What stands in the slot by the header in the proof; 32 bytes.

    Raises VerificationFailed at the part that does not hold. The shape is looked at here, too.
    """
    import rlp  # type: ignore[import-untyped]
    from eth_utils.crypto import keccak

    block = proof["block"]
    header = _bytes(block["header"], f"{where}.block.header", MAX_HEADER)
    if "0x" + keccak(header).hex() != block["hash"]:
        raise VerificationFailed(f"{where}.block.hash", block["hash"], "the hash of the header")
    try:
        fields = rlp.decode(header)
        number, state_root = int.from_bytes(fields[NUMBER]), bytes(fields[STATE_ROOT])
    except (rlp.exceptions.RLPException, IndexError, TypeError) as error:
        raise VerificationFailed(f"{where}.block.header", "another form", "a header") from error
    if type(block["number"]) is not int or number != block["number"]:
        raise VerificationFailed(f"{where}.block.number", block["number"], number)
    address = _bytes(proof["address"], f"{where}.address", 20)
    account = _value(state_root, keccak(address), proof["account"], f"{where}.account")
    try:
        storage_root = bytes(rlp.decode(account)[2])
    except (rlp.exceptions.RLPException, IndexError, TypeError) as error:
        raise VerificationFailed(f"{where}.account", "another form", "an account") from error
    slot = _bytes(proof["slot"], f"{where}.slot", 32)
    stored = _value(storage_root, keccak(slot), proof["storage"], f"{where}.storage")
    try:
        return bytes(rlp.decode(stored)).rjust(32, b"\0")
    except (rlp.exceptions.RLPException, TypeError) as error:
        raise VerificationFailed(f"{where}.storage", "another form", "a word") from error


def _value(root: bytes, key: bytes, nodes: Any, where: str) -> bytes:
    """What a trie of this root holds under the key."""
    import rlp
    from trie.exceptions import BadTrieProof
    from trie.hexary import HexaryTrie

    if not isinstance(nodes, list) or not 0 < len(nodes) <= MAX_NODES:
        raise VerificationFailed(where, "no path", f"1 to {MAX_NODES} nodes")
    try:
        path = [rlp.decode(_bytes(node, where, MAX_HEADER)) for node in nodes]
        found: bytes = HexaryTrie.get_from_proof(root, key, path)  # type: ignore[no-untyped-call]
    except VerificationFailed:
        raise
    except BadTrieProof as error:
        raise VerificationFailed(where, "a node is missing or another", "the path") from error
    except Exception as error:
        # The library was written for well-formed nodes: whatever it meets, this proves nothing.
        raise VerificationFailed(where, type(error).__name__, "nodes of a trie") from error
    if not found:
        raise VerificationFailed(where, "nothing stands there", "a value")
    return found


def _header_rlp(header: Mapping[str, Any]) -> str:
    """The fields that the block has, in their order."""
    import rlp

    names = [*_FIELDS, *(name for name in _LATER if header.get(name) is not None)]
    return "0x" + bytes(rlp.encode([_field(name, header[name]) for name in names])).hex()


def _field(name: str, value: Any) -> bytes:
    if name not in _NUMBERS:
        return bytes.fromhex(value.removeprefix("0x"))
    number = int(value, 16)
    return number.to_bytes((number.bit_length() + 7) // 8)


def _bytes(value: Any, where: str, most: int) -> bytes:
    if not isinstance(value, str) or not value.startswith("0x") or len(value) > 2 + 2 * most:
        raise VerificationFailed(where, "no bytes, or too many", f"0x-hex of up to {most} bytes")
    try:
        return bytes.fromhex(value[2:])
    except ValueError as error:
        raise VerificationFailed(where, "no hex", "0x-hex") from error
