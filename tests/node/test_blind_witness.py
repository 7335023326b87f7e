"""A witness that signs whatever it is shown: what its word is worth to others, and to the chain."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chain.anchors import Cosignature, Verdict
from chain.errors import ContractRefused
from node import heads
from node.anchoring import _for_contract
from node.audit.checkpoint import Checkpoint, origin_of
from node.audit.note_keys import CosignerKey, Ed25519Key
from node.audit.notes import Note
from node.cli.whole_log import Folder, Trusted, verify
from node.errors import Conflict
from node.identity import ANCHOR
from node.mirror import Mirror
from node.monitor import Monitor
from node.witness import Shown, Witness
from tests.node import consortium
from tests.node.consortium import Consortium
from tests.node.lying_log import LyingLog, entries
from tests.node.test_anchoring import fill as fill_anchored
from tests.node.test_mirror import alerts_of
from tests.node.test_whole_log import written
from tests.node.test_witness import (
    NOW,
    conflicts,
    fill,
    go_round,
    kept,
    rewrite,
    show,
    signed_head,
)
from tests.node.two_sites import Pair, running_pair


class Blind(Witness):
    """Asks for no proof, and remembers nothing."""

    def cosigned(self, head: str) -> str:
        """Whatever it is shown, with the lines of both of its keys."""
        note = Note.parse(head)
        told = Checkpoint.parse(note.text)
        shown = Shown(told.origin.removeprefix("fatechain/"), told, note)
        return str(note.signed(*self._signed(shown.note.text, int(self.clock()))))


# ── To other witnesses, copies and readers ───────────────────────────────────────────────────


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """The guest is honest, the host lies, the stranger signs blindly."""
    with running_pair(tmp_path, f"unix://{tmp_path}/none.sock") as made:
        yield made


async def test_its_word_for_a_second_history_moves_no_honest_witness(pair: Pair) -> None:
    fill(pair.host, 5)
    show(pair.host)
    await go_round(pair.guest)
    before = kept(pair.guest, pair.host.id)
    rewrite(pair.host, 9)
    show(pair.host)
    heads.receive(pair.host, pair.stranger.id, blindly(pair, heads.newest(pair.host)), lambda: NOW)
    assert origin_of(pair.stranger.id) in heads.newest(pair.host)
    await go_round(pair.guest)
    assert kept(pair.guest, pair.host.id) == before
    assert [found.log_id for found in conflicts(pair.guest)] == [pair.host.id]
    assert origin_of(pair.guest.id) not in heads.newest(pair.host)
    Monitor(pair.guest, lambda: NOW).step()
    assert alerts_of(pair.guest) == ["log.unproven"]


def blindly(pair: Pair, head: str) -> str:
    return Blind(pair.stranger, lambda: NOW).cosigned(head)


def test_its_word_is_not_taken_for_a_head_that_the_log_did_not_publish(pair: Pair) -> None:
    fill(pair.host, 5)
    show(pair.host)
    forged = signed_head(pair.host, 5, bytes(32))
    with pytest.raises(Conflict, match="HeadUnknown"):
        heads.receive(pair.host, pair.stranger.id, blindly(pair, forged), lambda: NOW)


async def test_its_word_brings_no_other_history_into_a_copy(pair: Pair) -> None:
    fill(pair.host, 5)
    show(pair.host)
    await go_round(pair.guest)
    mirror = Mirror(pair.guest, pair.host.id, lambda: NOW)

    def fetch(level: int | None, number: int, width: int) -> bytes:
        found = pair.host.log.bundle(number, width)
        if level is not None:
            found = pair.host.log.tile(level, number, width)
        assert found is not None
        return found

    mirror.copy(fetch)
    head, root = mirror.note(), pair.host.log.root()
    rewrite(pair.host, 5)
    mirror.add_cosignatures(blindly(pair, signed_head(pair.host, 5, pair.host.log.root())))
    assert mirror.note() == head
    assert mirror.tree().root == root != pair.host.log.root()


def test_its_word_makes_no_log_true_that_the_chain_has_otherwise(
    pair: Pair, tmp_path: Path
) -> None:
    told, anchored = LyingLog(entries(300, "told")), LyingLog(entries(300))
    host, blind = pair.host, pair.stranger
    folder = written(tmp_path / "told", told, blindly(pair, told.note(host.identity, host.id)))
    trusted = Trusted(
        [Ed25519Key(origin_of(host.id), host.identity.audit_public)],
        [(blind.id, CosignerKey(origin_of(blind.id), blind.identity.audit_public))],
        [(200, "0x" + anchored.root(200).hex())],
        by_chain=True,
    )
    found = verify(Folder(folder), str(folder), host.id, trusted)
    assert [check["name"] for check in found["checks"] if not check["ok"]] == ["anchors"]


# ── To the chain ─────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    chain, deployment = consortium.found()
    made = consortium.assemble(chain, deployment, tmp_path_factory.mktemp("sites"))
    yield made
    made.close()


def by_bank(world: Consortium, head: str) -> Cosignature:
    """What the bank's anchor key says of a head, as the contract takes it."""
    bank = world.bank
    key = bank.directory.account_key(bank.id, bank.identity.public_key(ANCHOR))
    (line,) = Note.parse(Blind(bank).cosigned(head)).opened([key])
    return _for_contract(str(line).removesuffix("\n"))


def test_the_contract_counts_its_word_for_no_other_head_and_wants_the_proof_all_the_same(
    world: Consortium,
) -> None:
    world.settle(4)
    fill_anchored(world.shop)
    heads.publish(world.shop, at_once=True)
    world.settle(4)
    anchors, shop = world.network.anchors, world.shop
    anchored = anchors.head(shop.id)
    other = LyingLog(entries(anchored.size + 5, "never said"))

    word = by_bank(world, signed_head(shop, anchored.size, other.root(anchored.size)))
    assert anchors.judge(shop.id, anchored.size, word)[0] == Verdict.NOT_A_COSIGNER
    with pytest.raises(ContractRefused, match="AnchorNothingCounted"):
        world.act("bank", anchors.cosign(shop.id, anchored.size, [word]))

    word = by_bank(world, signed_head(shop, other.size, other.root()))
    proof = ["0x" + node.hex() for node in other.tree().consistency_proof(anchored.size)]
    for said in ([], proof):
        call = anchors.anchor(shop.id, other.size, "0x" + other.root().hex(), said, [word])
        with pytest.raises(ContractRefused, match="AnchorInconsistent"):
            world.act("shop", call)
    assert anchors.head(shop.id) == anchored
