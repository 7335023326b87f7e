"""Cosigned heads, marks and audit requests, through the typed clients."""

import re
from enum import StrEnum
from pathlib import Path

import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount

from chain import merkle, typed_data
from chain.anchors import Cosignature, HeadState, Verdict, Witness, checkpoint_document, compact
from chain.audit_requests import RequestState, audit_request_id
from chain.equivocations import ChallengeState, MarkKind, SignedCheckpoint, challenge_id
from chain.errors import ContractRefused
from chain.ids import ZERO_ID
from chain.sites import ANCHOR, anchor_key_input, key_id
from chain.testing import InProcessChain
from tests.chain.world import DAY, Party, World

INTERFACES = Path(__file__).parents[2] / "contracts" / "interfaces"
DIGEST, PACK = "0x" + "ab" * 32, "0x" + "cd" * 32
TREE = merkle.Tree(merkle.leaf_hash(bytes([n])) for n in range(20))


def hexed(value: bytes) -> str:
    return "0x" + value.hex()


def anchor_key(world: World, party: Party) -> LocalAccount:
    """A key of this party's site, registered; the same in each run."""
    account: LocalAccount = Account.from_key(party.name.encode().ljust(32, b"#"))
    net = world.network
    given = anchor_key_input(account, net.client.chain_id, net.sites.address, party.site)
    world.send(party.operator, net.sites.add_key(party.site, given))
    return account


def sign(world: World, key: LocalAccount, site: str, size: int, root: str, time: int) -> str:
    net = world.network
    document = checkpoint_document(net.client.chain_id, net.anchors.address, site, size, root, time)
    return typed_data.sign(document, key)


def cosigned(world: World, key: LocalAccount, site: str, size: int) -> Cosignature:
    root, now = hexed(TREE.root(size)), world.now()
    return Cosignature(now, sign(world, key, site, size, root, now))


def checkpoint(world: World, key: LocalAccount, size: int, root: bytes) -> SignedCheckpoint:
    """The bank's own."""
    now = world.now()
    signature = sign(world, key, world.bank.site, size, hexed(root), now)
    return SignedCheckpoint(size, hexed(root), now, signature)


def test_an_anchor_key_is_known_by_its_address(world: World) -> None:
    key, net, shop = anchor_key(world, world.shop), world.network, world.shop
    public = key.address.lower()
    id = key_id(net.client.chain_id, net.sites.address, shop.site, ANCHOR, public)
    assert net.sites.anchor_key(key.address) == (shop.site, id)
    assert net.sites.cosigner_of(key.address) == shop.member
    assert net.sites.proves(shop.site, net.sites.key(id)[1])
    assert net.sites.anchor_key(shop.account.address) == (ZERO_ID, ZERO_ID)


def test_a_cosigned_head_is_witnessed_by_its_members(world: World) -> None:
    key, net, bank = anchor_key(world, world.shop), world.network, world.bank
    given = cosigned(world, key, bank.site, 7)
    call = net.anchors.anchor(bank.site, 7, hexed(TREE.root(7)), [], [given])
    receipt = world.send(bank.operator, call)
    assert receipt.event("Anchored").args["cosigners"] == 1
    head = net.anchors.head(bank.site)
    assert (head.cosigners, head.at_block) == (1, receipt.block_number)
    assert head.at_time == net.client.block(receipt.block_number).timestamp
    assert net.anchors.state_of(bank.site, 7) is HeadState.WITNESSED
    assert net.anchors.witness_of(bank.site, 7) == Witness(1, (world.shop.member,))
    assert net.anchors.judge(bank.site, 7, given) == (Verdict.COUNTED_ALREADY, key.address)


def test_a_late_cosignature_is_added(world: World) -> None:
    key, net, bank = anchor_key(world, world.shop), world.network, world.bank
    world.send(bank.operator, net.anchors.anchor(bank.site, 7, hexed(TREE.root(7)), []))
    assert net.anchors.state_of(bank.site, 7) is HeadState.PENDING
    assert net.anchors.witness_of(bank.site, 7) == Witness(0, ())
    given = cosigned(world, key, bank.site, 7)
    assert net.anchors.judge(bank.site, 7, given) == (Verdict.COUNTS, key.address)
    receipt = world.send(world.shop.operator, net.anchors.cosign(bank.site, 7, [given]))
    assert receipt.event("Cosigned").args["cosigners"] == 1
    with pytest.raises(ContractRefused, match="AnchorNothingCounted"):
        world.send(world.shop.operator, net.anchors.cosign(bank.site, 7, [given]))
    assert net.anchors.cosigners_needed() == 1


def test_the_authority_makes_the_anchors_ask_again(world: World) -> None:
    net = world.network
    world.send(world.authority, net.anchors.forget_cosigners(world.shop.member))
    with pytest.raises(ContractRefused, match="AnchorNotARegistry"):
        world.send(world.shop.operator, net.anchors.forget_cosigners(world.shop.member))


@pytest.mark.parametrize(
    "signature",
    ["0x", "0x" + "11" * 64, "0x" + "11" * 64 + "1a", "0x" + "11" * 32 + "80" * 32 + "1b"],
)
def test_what_is_no_signature_is_not_made_compact(signature: str) -> None:
    with pytest.raises(ValueError, match="a signature is r, s, v"):
        compact(signature)


def test_compact_signatures_hold_v_in_their_highest_bit() -> None:
    for v, first in (("1b", "11"), ("1c", "91")):
        r, vs = compact("0x" + "22" * 32 + "11" * 32 + v)
        assert (r, vs) == ("0x" + "22" * 32, "0x" + first + "11" * 31)


def test_two_heads_of_one_size_mark_their_site(world: World) -> None:
    key, net, bank = anchor_key(world, world.bank), world.network, world.bank
    assert not net.equivocations.is_marked(bank.site)
    one = checkpoint(world, key, 7, TREE.root(7))
    other = checkpoint(world, key, 7, TREE.root(8))
    receipt = world.send(world.shop.operator, net.equivocations.prove_fork(bank.site, one, other))
    (mark,) = net.equivocations.marks(bank.site)
    assert (mark.key, mark.kind, mark.size) == (key.address, MarkKind.TWO_CHECKPOINTS, 7)
    assert (mark.at_block, mark.key_until) == (receipt.block_number, 0)
    assert net.equivocations.is_marked(bank.site)
    assert net.equivocations.marked_sites() == (bank.site,)


def test_a_head_against_the_anchor_marks_its_site(world: World) -> None:
    key, net, bank = anchor_key(world, world.bank), world.network, world.bank
    world.send(bank.operator, net.anchors.anchor(bank.site, 7, hexed(TREE.root(7)), []))
    other = checkpoint(world, key, 7, TREE.root(8))
    world.send(world.shop.operator, net.equivocations.prove_anchored_fork(bank.site, other))
    assert [mark.kind for mark in net.equivocations.marks(bank.site)] == [MarkKind.ANOTHER_ANCHOR]


def test_a_challenge_is_answered_or_settled(world: World, chain: InProcessChain) -> None:
    key, net, bank = anchor_key(world, world.bank), world.network, world.bank
    told = net.equivocations
    world.send(bank.operator, net.anchors.anchor(bank.site, 13, hexed(TREE.root(13)), []))
    ids = []
    for size, root in ((5, TREE.root(5)), (6, TREE.root(7))):
        call = told.challenge(bank.site, checkpoint(world, key, size, root))
        opened = world.send(world.shop.operator, call)
        ids.append(challenge_id(net.client.chain_id, told.address, bank.site, size, hexed(root)))
        assert opened.event("ChallengeOpened").args["id"] == ids[-1]
    assert told.challenges() == tuple(ids)
    found = told.challenge_of(ids[0])
    assert (found.site, found.key, found.size) == (bank.site, key.address, 5)
    assert (found.root, found.challenger) == (hexed(TREE.root(5)), world.shop.member)
    assert told.state_of(ids[0]) is ChallengeState.OPEN

    proof = [hexed(sibling) for sibling in TREE.consistency_proof(5, 13)]
    world.send(world.shop.operator, told.answer_challenge(ids[0], 13, proof))
    assert told.state_of(ids[0]) is ChallengeState.ANSWERED
    with pytest.raises(ContractRefused, match="ChallengeNotOverdue"):
        world.send(world.shop.operator, told.settle(ids[1]))
    chain.travel(DAY + 1)
    assert told.state_of(ids[1]) is ChallengeState.OVERDUE
    world.send(world.shop.operator, told.settle(ids[1]))
    assert told.state_of(ids[1]) is ChallengeState.SETTLED
    assert [mark.kind for mark in told.marks(bank.site)] == [MarkKind.UNANSWERED]


def test_an_audit_is_asked_for_and_answered(world: World, chain: InProcessChain) -> None:
    net, bank, shop = world.network, world.bank, world.shop
    asking = net.auditrequests
    ids = []
    for nonce in (1, 2):
        world.send(shop.account, asking.file(bank.site, "period", DIGEST, nonce))
        ids.append(
            audit_request_id(net.client.chain_id, asking.address, shop.account.address, nonce)
        )
    assert asking.requests() == tuple(ids)
    assert asking.answer_seconds() == 7 * DAY
    found = asking.request(ids[0])
    assert (found.site, found.by, found.auditor) == (bank.site, shop.member, None)
    assert (found.kind, found.digest, found.pack) == ("period", DIGEST, None)
    assert asking.state(ids[0]) is RequestState.OPEN

    world.send(bank.operator, asking.answer(ids[0], PACK))
    assert asking.state(ids[0]) is RequestState.ANSWERED
    assert asking.request(ids[0]).pack == PACK
    chain.travel(8 * DAY)
    assert asking.state(ids[1]) is RequestState.SILENT
    receipt = world.send(bank.operator, asking.answer(ids[1], PACK))
    assert receipt.event("AuditAnswered").args["isLate"] is True
    assert asking.state(ids[1]) is RequestState.ANSWERED_LATE


@pytest.mark.parametrize(
    ("interface", "enum", "names"),
    [
        ("IAuditAnchor", "State", HeadState),
        ("IAuditAnchor", "Verdict", Verdict),
        ("IEquivocations", "Kind", MarkKind),
        ("IEquivocations", "State", ChallengeState),
        ("IAuditRequests", "State", RequestState),
    ],
)
def test_names_stand_in_the_contracts_order(
    interface: str, enum: str, names: type[StrEnum]
) -> None:
    text = re.sub(r"//.*", "", (INTERFACES / f"{interface}.sol").read_text())
    body = re.search(rf"enum {enum} \{{(.*?)\}}", text, re.DOTALL)
    assert body is not None
    found = [re.sub(r"(?<!^)(?=[A-Z])", "_", name.strip()).upper() for name in body[1].split(",")]
    assert found == [str(name) for name in names]
