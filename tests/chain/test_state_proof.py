"""What stood in contracts' storage is proved against a block's header, or refused at its place.

`tests/vectors/state-proof.json` has published vectors and what Anvil and Ganache answered
(`tests.chain.state_vectors`); the verifier page is held to the same in tests/browser.
"""

import contextlib
import copy
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rlp  # type: ignore[import-untyped]
from eth_utils.crypto import keccak
from hypothesis import given, settings
from hypothesis import strategies as st
from trie.hexary import HexaryTrie

from chain.client import ChainClient
from chain.errors import VerificationFailed
from chain.state_proof import ProvedSlots, Slots, StatePart, block_part, prove, proved
from chain.testing import InProcessChain
from chain.testnet import CHAIN_ID, Engine, Testnet
from tests.chain.state_vectors import FILE, proved_head
from tests.chain.world import World

VECTORS = json.loads(FILE.read_text())
ENGINES: dict[str, Any] = VECTORS["engines"]
OTHER = "0x" + "ab" * 32
AT = "$.state"

Change = Callable[[dict[str, Any]], Any]


def read_all(engine: str, state: dict[str, Any]) -> list[str]:
    """What the vector's slots hold by the proof; every node is needed."""
    _, slots = proved(state, AT)
    found = [
        f"0x{slots.word(r['address'], int(r['slot'], 16)):x}" for r in ENGINES[engine]["reads"]
    ]
    slots.require_all_used()
    return found


def slots_of(trie: dict[str, Any]) -> ProvedSlots:
    return ProvedSlots(_raw(trie["root"]), [_raw(node) for node in trie["nodes"]], AT)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_vectors_prove_what_stood_there_and_what_did_not(engine: str) -> None:
    told = ENGINES[engine]
    assert read_all(engine, told["state"]) == [read["value"] for read in told["reads"]]
    assert {"0x0"} < {read["value"] for read in told["reads"]}
    StatePart.model_validate(told["state"])


@pytest.mark.parametrize("trie", VECTORS["tries"], ids=lambda trie: str(trie["root"][:10]))
def test_published_tries_hold_what_they_hold_and_prove_that_the_rest_is_absent(
    trie: dict[str, Any],
) -> None:
    slots, root = slots_of(trie), _raw(trie["root"])
    for key, value in trie["held"].items():
        assert slots.value(root, _raw(key)) == _raw(value)
    for key in trie["absent"]:
        assert slots.value(root, _raw(key)) is None


@pytest.mark.parametrize("number", range(len(ENGINES["anvil"]["state"]["nodes"])))
@pytest.mark.parametrize("how", ["left out", "altered"])
def test_no_node_can_be_left_out_or_altered(number: int, how: str) -> None:
    state = copy.deepcopy(ENGINES["anvil"]["state"])
    if how == "left out":
        state["nodes"].pop(number)
    else:
        node = bytearray(_raw(state["nodes"][number]))
        node[-1] ^= 1
        state["nodes"][number] = "0x" + node.hex()
    with pytest.raises(VerificationFailed) as failure:
        read_all("anvil", state)
    assert failure.value.where == f"{AT}.nodes"


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda s: s["block"].update(hash=OTHER), "$.state.block.hash"),
        (
            lambda s: s["block"].update(header=s["block"]["header"][:-2] + "00"),
            "$.state.block.hash",
        ),
        (lambda s: s["block"].update(number=s["block"]["number"] + 1), "$.state.block.number"),
        (lambda s: s.update(nodes=[]), "$.state.nodes"),
        (lambda s: s["nodes"].append("0xc0"), "$.state.nodes"),
        (lambda s: s["block"].update(with_header(b"")), "$.state.block.header"),
        (lambda s: s["block"].update(with_header(b"\xc0")), "$.state.block.header"),
        (lambda s: s["block"].update(with_header(rlp.encode([b""] * 15))), "$.state.block.header"),
        (lambda s: s["block"].update(with_header(rlp.encode([[]] * 15))), "$.state.block.header"),
        (
            lambda s: s["block"].update(with_header(headed(number=b"\1" * 9))),
            "$.state.block.header",
        ),
        (lambda s: s["block"].update(with_header(headed(number=b"\0\1"))), "$.state.block.header"),
        (lambda s: s["block"].update(with_header(headed(root=OTHER))), "$.state.nodes"),
    ],
)
def test_an_altered_state_is_refused_at_its_place(change: Change, where: str) -> None:
    altered = copy.deepcopy(ENGINES["anvil"]["state"])
    change(altered)
    with pytest.raises(VerificationFailed) as failure:
        read_all("anvil", altered)
    assert failure.value.where == where


def headed(number: bytes | None = None, root: str | None = None) -> bytes:
    """The vector's header with another number, or another state root."""
    fields = rlp.decode(_raw(ENGINES["anvil"]["state"]["block"]["header"]))
    fields[8] = fields[8] if number is None else number
    fields[3] = fields[3] if root is None else _raw(root)
    return bytes(rlp.encode(fields))


def with_header(raw: bytes) -> dict[str, str]:
    """A made-up header and its true hash."""
    return {"header": "0x" + raw.hex(), "hash": "0x" + keccak(raw).hex()}


def test_a_slot_of_another_contract_or_another_slot_is_not_proved() -> None:
    told = ENGINES["anvil"]
    first = told["reads"][0]
    for address, slot in (("0x" + "11" * 20, int(first["slot"], 16)), (first["address"], 1 << 200)):
        _, slots = proved(told["state"], AT)
        with pytest.raises(VerificationFailed):
            slots.word(address, slot)


def test_a_slot_that_was_set_to_nothing_holds_zero_as_anvil_keeps_it() -> None:
    address, storage = bytes(19) + b"\1", HexaryTrie({})
    storage[keccak(bytes(32))] = rlp.encode(b"")
    storage[keccak((1).to_bytes(32))] = rlp.encode(b"\7")
    accounts = HexaryTrie({})
    accounts[keccak(address)] = rlp.encode([b"", b"", storage.root_hash, bytes(32)])
    nodes = [bytes(node) for trie in (storage, accounts) for node in trie.db.values()]
    slots = ProvedSlots(accounts.root_hash, nodes, AT)
    assert [slots.word("0x" + address.hex(), slot) for slot in (0, 1, 2)] == [0, 7, 0]


KEYS = st.lists(st.binary(min_size=3, max_size=3), min_size=1, max_size=40, unique=True)


@given(KEYS, st.data())
@settings(deadline=None)
def test_a_trie_of_anything_proves_what_it_holds_and_nothing_else(
    keys: list[bytes], data: st.DataObject
) -> None:
    """py-trie makes the proofs; ours must tell the same of held and of absent keys."""
    trie: Any = HexaryTrie({})
    for number, key in enumerate(keys):
        trie[key] = b"v" * (number * 7 % 60 + 1)
    asked = data.draw(st.sampled_from(keys) | st.binary(min_size=3, max_size=3))
    raw = [bytes(rlp.encode(node)) for node in trie.get_proof(asked)]
    # Shorter ones stand in the node above them.
    nodes = [raw[0], *(node for node in raw[1:] if len(node) >= 32)]
    slots = ProvedSlots(trie.root_hash, nodes, AT)
    assert slots.value(trie.root_hash, asked) == (trie[asked] or None)
    if len(nodes) > 1:
        gone = data.draw(st.integers(0, len(nodes) - 1))
        without = ProvedSlots(trie.root_hash, nodes[:gone] + nodes[gone + 1 :], AT)
        with pytest.raises(VerificationFailed):
            without.value(trie.root_hash, asked)


ITEMS = st.recursive(
    st.binary(max_size=40), lambda inner: st.lists(inner, max_size=17), max_leaves=40
)


@given(st.lists(ITEMS, min_size=1, max_size=6), st.data())
@settings(deadline=None)
def test_whatever_the_nodes_are_nothing_else_is_raised(
    items: list[Any], data: st.DataObject
) -> None:
    """A liar makes up nodes that lead to one another by their true hashes."""
    nodes: list[bytes] = []
    below: Any = b"value"
    for item in items:
        node = item
        if isinstance(item, list) and item:
            node = [
                below if at == data.draw(st.integers(0, len(item) - 1)) else each
                for at, each in enumerate(item)
            ]
        nodes.append(bytes(rlp.encode(node)))
        below = keccak(nodes[-1])
    slots = ProvedSlots(keccak(nodes[-1]), nodes, AT)
    with contextlib.suppress(VerificationFailed):
        slots.word("0x" + "11" * 20, data.draw(st.integers(0, 2**256 - 1)))


# ── From a chain


def test_a_chain_that_tells_no_such_block_gives_no_proof() -> None:
    client = InProcessChain().client()
    assert block_part(client, 0) is not None
    assert prove(client, 99, lambda slots: None) is None


def test_what_is_proved_is_what_the_chain_tells() -> None:
    chain = InProcessChain()
    client = chain.client()
    address = chain.client(0).address
    chain.mine()

    def look(slots: Slots) -> None:
        assert slots.word(address, 1) == 0

    made = prove(client, client.head().number, look)
    assert made is not None
    header, slots = proved(made, AT)
    look(slots)
    assert (header.hash, header.timestamp) == (client.head().hash, client.head().timestamp)


@pytest.mark.system
@pytest.mark.parametrize("engine", ["anvil", "ganache"])
def test_an_anchored_head_is_proved_by_an_engine(engine: Engine, tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    with Testnet(engine, port, tmp_path, block_time=0) as testnet:
        world = World(
            lambda account: ChainClient(testnet.url, account=account, expected_chain_id=CHAIN_ID)
        ).found()
        told = proved_head(world)
        block = told["state"]["block"]["number"]
        for number in range(3):  # the state of a block that others followed
            world.bank.tell("task.started", OTHER, task="t", step="psi", attempt=2 + number)
            world.anchor(world.bank)
        reads = [(read["address"], int(read["slot"], 16)) for read in told["reads"]]

        def look(slots: Slots) -> list[int]:
            return [slots.word(*read) for read in reads]

        later = prove(world.network.client, block, look)
        assert later is not None
        assert look(proved(later, AT)[1]) == [int(read["value"], 16) for read in told["reads"]]


def _raw(value: str) -> bytes:
    return bytes.fromhex(value[2:])
