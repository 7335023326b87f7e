"""Makes `tests/vectors/state-proof.json` anew: ``python -m tests.chain.state_vectors``.

keccak, rlp and tries are published (Keccak team; ethereum/tests: RLPTests, TrieTests); py-trie made
the nodes of the tries, whose roots are the published ones. `engines` were answered by Anvil and by
Ganache: the slots of an anchored head, and some that hold nothing.
"""

import json
import socket
import tempfile
from pathlib import Path
from typing import Any

from eth_utils.crypto import keccak
from trie.hexary import HexaryTrie

from chain.client import ChainClient
from chain.state_proof import Slots, prove
from chain.storage import Storage, require_anchored
from chain.testnet import CHAIN_ID, Engine, Testnet
from tests.chain.world import World

FILE = Path(__file__).parents[1] / "vectors" / "state-proof.json"
KECCAK = {
    "": "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470",
    "abc": "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45",
    "The quick brown fox jumps over the lazy dog": (
        "4d741b6f1eb29cb2a9b9911c82f56fa8d73b04959d3d9d222895df6c0b28aa15"
    ),
}
RLP = {
    "80": "",
    "00": "00",
    "7f": "7f",
    "83646f67": "646f67",
    "8180": "80",
    "8f102030405060708090a0b0c0d0e0f2": "102030405060708090a0b0c0d0e0f2",
    "c0": [],
    "cc83646f6783676f6483636174": ["646f67", "676f64", "636174"],
    "c6827a77c10401": ["7a77", ["04"], "01"],
    "c7c0c1c0c3c0c1c0": [[], [[]], [[], [[]]]],
    "b838" + "4c" * 56: "4c" * 56,
    "f83a" + "b838" + "4c" * 56: ["4c" * 56],
}
NO_RLP = (
    "bf0f000000000000021111",
    "ff0f000000000000021111",
    "f80180",
    "f80100",
    "b9002100dc2b275d0f74e8a53e6f4ec61b27f24278820be3f82ea2110e582081b0565df0",
    "8100",
    "8101",
    "817f",
    "b800",
    "f800",
    "b81000112233445566778899aabbccddeeff",
    "b801ff",
    "f803112233",
    "",
    "8080",
    "83646f",
)
TRIES: list[tuple[str, dict[str, str]]] = [
    (
        "5991bb8c6514148a29db676a14ac506cd2cd5775ace63c30a4fe457715e9ac84",
        {"do": "verb", "horse": "stallion", "doge": "coin", "dog": "puppy"},
    ),
    (
        "cb65032e2f76c48b82b5c24b3db8f670ce73982869d38cd39a624f23d62a9e89",
        {
            "key1aa": "0123456789012345678901234567890123456789xxx",
            "key1": "0123456789012345678901234567890123456789Very_Long",
            "key2bb": "aval3",
            "key2": "short",
            "key3cc": "aval3",
            "key3": "1234567890123456789012345678901",
        },
    ),
    ("56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421", {}),
]
ABSENT = ("", "d", "dogs", "house", "key", "key1ab", "key4", "zebra")


def make() -> dict[str, Any]:
    engines: tuple[Engine, ...] = ("anvil", "ganache")
    return {
        "keccak": [{"data": _hex(d.encode()), "hash": f"0x{h}"} for d, h in KECCAK.items()],
        "rlp": [{"data": f"0x{data}", "value": value} for data, value in RLP.items()],
        "noRlp": [f"0x{data}" for data in NO_RLP],
        "tries": [_trie(root, held) for root, held in TRIES],
        "engines": {engine: _answered(engine) for engine in engines},
    }


def _trie(root: str, held: dict[str, str]) -> dict[str, Any]:
    database: dict[bytes, bytes] = {}
    trie: Any = HexaryTrie(database)
    for key, value in held.items():
        trie[key.encode()] = value.encode()
    assert trie.root_hash.hex() == root
    return {
        "root": f"0x{root}",
        "nodes": sorted(_hex(node) for hash, node in database.items() if _is_below(hash, trie)),
        "held": {_hex(key.encode()): _hex(value.encode()) for key, value in held.items()},
        "absent": [_hex(key.encode()) for key in ABSENT],
    }


def _is_below(hash: bytes, trie: Any) -> bool:
    """Whether the node is of the trie as it is now; those of earlier states lie beside them."""
    found = {keccak(b"\x80"): False}
    for key in [*ABSENT, *(k for _, held in TRIES for k in held)]:
        for node in trie.get_proof(key.encode()):
            import rlp  # type: ignore[import-untyped]

            found[keccak(rlp.encode(node))] = True
    return found.get(hash, False)


def _answered(engine: Engine) -> dict[str, Any]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    with (
        tempfile.TemporaryDirectory() as folder,
        Testnet(engine, port, Path(folder), block_time=0) as testnet,
    ):
        world = World(
            lambda account: ChainClient(testnet.url, account=account, expected_chain_id=CHAIN_ID)
        ).found()
        return proved_head(world)


def proved_head(world: World) -> dict[str, Any]:
    """What the engine of this world proves of the bank's anchored head: `state`, and `reads` of
    {address, slot, value}."""
    bank, network = world.bank, world.network
    bank.tell("task.started", "0x" + "ab" * 32, task="t", step="psi", attempt=1)
    world.anchor(bank)
    assert bank.anchored is not None
    size, receipt = bank.anchored
    head = network.anchors.head_at(bank.site, size)
    stated = {"size": size, "root": head.root, "block": receipt.block_number}
    reads: list[dict[str, Any]] = []

    class Noted:
        def __init__(self, slots: Slots) -> None:
            self._slots = slots

        def word(self, address: str, slot: int) -> int:
            value = self._slots.word(address, slot)
            read = {"address": address, "slot": f"0x{slot:064x}", "value": f"0x{value:x}"}
            if read not in reads:
                reads.append(read)
            return value

    def look(slots: Slots) -> None:
        storage = Storage(Noted(slots), network.consortium.address)
        require_anchored(storage["anchors"], bank.site, stated, "$")
        assert storage["anchors"]["heads"][bank.site][size + 1]["root"].value == 0
        assert storage["models"]["models"][bank.site]["job"].value == 0

    state = prove(network.client, receipt.block_number, look)
    assert state is not None
    return {"state": state, "reads": reads}


def _hex(value: bytes) -> str:
    return "0x" + value.hex()


if __name__ == "__main__":
    FILE.write_text(json.dumps(make(), indent=1, sort_keys=True) + "\n")
