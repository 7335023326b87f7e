"""What stands in a contract's storage is proved against a block's header, or refused at its place.

`tests/vectors/state-proof.json` was answered by Anvil of an anchored head.
"""

import copy
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.client import ChainClient
from chain.errors import VerificationFailed
from chain.state_proof import MAX_HEADER, anchored_slot, prove, verify
from chain.testing import InProcessChain
from chain.testnet import CHAIN_ID, Testnet
from tests.chain.world import World

VECTOR = json.loads((Path(__file__).parents[1] / "vectors" / "state-proof.json").read_text())
PROOF: dict[str, Any] = VECTOR["proof"]
OTHER = "0x" + "ab" * 32

Change = Callable[[dict[str, Any]], Any]


def test_the_vector_proves_the_root_that_was_anchored() -> None:
    assert "0x" + verify(PROOF, "$.chain").hex() == VECTOR["root"]


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda p: p["block"].update(hash=OTHER), "$.chain.block.hash"),
        (
            lambda p: p["block"].update(header=p["block"]["header"][:-2] + "00"),
            "$.chain.block.hash",
        ),
        (
            lambda p: p["block"].update(header="0x" + "00" * (MAX_HEADER + 1)),
            "$.chain.block.header",
        ),
        (lambda p: p["block"].update(number=p["block"]["number"] + 1), "$.chain.block.number"),
        (lambda p: p["block"].update(number=True), "$.chain.block.number"),
        (lambda p: p.update(address="0x" + "11" * 20), "$.chain.account"),
        (lambda p: p["account"].pop(), "$.chain.account"),
        (lambda p: p["account"].pop(0), "$.chain.account"),
        (lambda p: p["account"].clear(), "$.chain.account"),
        (lambda p: p["account"].extend(["0x80"] * 65), "$.chain.account"),
        (lambda p: p.update(account=p["storage"]), "$.chain.account"),
        (lambda p: p.update(storage=p["account"]), "$.chain.storage"),
        (lambda p: p["storage"].pop(), "$.chain.storage"),
        (lambda p: p["storage"].__setitem__(-1, "0xc0"), "$.chain.storage"),
        (lambda p: p["storage"].__setitem__(0, "0xzz"), "$.chain.storage"),
        (lambda p: p["storage"].__setitem__(0, 7), "$.chain.storage"),
        (lambda p: p.update(slot=OTHER), "$.chain.storage"),
    ],
)
def test_an_altered_proof_is_refused_at_its_place(change: Change, where: str) -> None:
    altered = copy.deepcopy(PROOF)
    change(altered)
    with pytest.raises(VerificationFailed) as failure:
        verify(altered, "$.chain")
    assert failure.value.where == where


NODE = st.binary(max_size=80).map(lambda raw: "0x" + raw.hex())


@given(st.sampled_from(["account", "storage"]), st.lists(NODE, max_size=5), st.data())
@settings(deadline=None)
def test_whatever_the_nodes_are_nothing_else_is_raised(
    part: str, nodes: list[str], data: st.DataObject
) -> None:
    kept = data.draw(st.integers(0, len(PROOF[part]) - 1))
    altered = {**PROOF, part: [*PROOF[part][:kept], *nodes]}
    with pytest.raises(VerificationFailed):
        verify(altered, "$")


def test_an_endpoint_that_gives_no_proof_gives_none() -> None:
    assert prove(InProcessChain().client(), "0x" + "11" * 20, 1, 0) is None


@pytest.mark.system
def test_an_anchored_head_is_proved_by_anvil(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    with Testnet("anvil", port, tmp_path, block_time=0) as testnet:
        world = World(
            lambda account: ChainClient(testnet.url, account=account, expected_chain_id=CHAIN_ID)
        ).found()
        world.bank.tell("task.started", OTHER, task="t", step="psi", attempt=1)
        world.anchor(world.bank)
        assert world.bank.anchored is not None
        size, receipt = world.bank.anchored
        slot, anchors = anchored_slot(world.bank.site, size), world.network.anchors
        proof = prove(world.network.client, anchors.address, slot, receipt.block_number)
        assert proof is not None
        assert "0x" + verify(proof, "$").hex() == anchors.head_at(world.bank.site, size).root
