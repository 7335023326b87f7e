"""Witnessing between nodes: what is cosigned, what never is, and what a liar leaves behind.

The sites are real and speak HTTP; a site that lies is one whose database is changed by hand, or
whose audit key is used past its node.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select

from chain import canonical, merkle
from node import heads
from node.api.app import create_app
from node.api.attempts import Attempts
from node.api.views import health
from node.audit.account_key import AccountKey, sign_as_account
from node.audit.checkpoint import Checkpoint, origin_of, sign_checkpoint
from node.audit.entries import record
from node.audit.log import AuditLog
from node.audit.note_keys import CosignerKey, Ed25519Key, cosign
from node.audit.notes import Note, Signature
from node.directory import ChainDirectory
from node.errors import Conflict, Failed, Invalid, NodeError, NotFound, Refused, Unavailable
from node.identity import ANCHOR
from node.rounds import Rounds
from node.site import Site
from node.store import Anchor, AuditEntry, Cosignature, LogConflict, PublishedHead, WitnessedHead
from node.witness import MAX_CONFLICTS, UNPROVEN, HeadMoved, Witness, parse_submission
from tests.node import consortium
from tests.node.consortium import Consortium, sync_of
from tests.node.face import token_of, visitor
from tests.node.told import available, told
from tests.node.two_sites import Pair, new_id, running_pair

NOW = 1_700_000_000.0  # past for the servers, whose clocks are real


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """Sites without a broker: nothing rings here."""
    with running_pair(tmp_path, f"unix://{tmp_path}/none.sock") as made:
        yield made


def fill(site: Site, count: int, word: str = "said") -> None:
    with site.store.begin() as session:
        for n in range(count):
            record(session, "chain.available", "urn:chain", available(n, word), "sync")
    while site.log.sequence():
        pass


def show(site: Site) -> None:
    """Publish the present head, whatever was published when."""
    heads.publish(site, lambda: NOW + site.log.size * 1000)


def rewrite(site: Site, count: int) -> None:
    """The site's operator empties the log by hand and writes another history."""
    (site.settings.run / "signed-head.json").unlink(missing_ok=True)
    with site.store.begin() as session:
        for table in (AuditEntry, PublishedHead, Cosignature):
            session.execute(delete(table))
    for file in sorted((site.settings.log / "tile").rglob("*"), reverse=True):
        file.unlink() if file.is_file() else file.rmdir()
    site.__dict__["log"] = AuditLog(site.store, site.settings.log)
    fill(site, count, "never said")


def signed_head(site: Site, size: int, root: bytes) -> str:
    """What the site's keys sign, past its node."""
    note = Note.parse(sign_checkpoint(site.identity, site.id, size, root))
    return str(note.signed(by_account(site, note.text))) if size else str(note)


def by_account(site: Site, text: str, time: float = NOW) -> Signature:
    """What the site's anchor key says of a head."""
    key = site.directory.account_key(site.id, site.identity.public_key(ANCHOR))
    return sign_as_account(site.identity.anchor_account, key, text, int(time))


def conflicts(site: Site) -> list[LogConflict]:
    with site.store.read() as session:
        return list(session.scalars(select(LogConflict).order_by(LogConflict.id)))


def entered(site: Site) -> list[dict[str, str]]:
    """The data of the conflicts in the site's log."""
    return [entry["data"] for entry in told(site, "log.conflict")]


def kept(site: Site, log_id: str) -> tuple[int, str]:
    with site.store.read() as session:
        row = session.get_one(WitnessedHead, log_id)
    return row.size, row.root


async def go_round(witness: Site) -> None:
    rounds = Rounds(witness, lambda: NOW)
    await rounds.step()
    await rounds.drain()


# ── An honest log ────────────────────────────────────────────────────────────────────────────


async def test_a_head_is_cosigned_and_shown_with_the_cosignature(pair: Pair) -> None:
    fill(pair.host, 5)
    show(pair.host)
    await go_round(pair.guest)
    note = Note.parse(heads.newest(pair.host))
    name = origin_of(pair.guest.id)
    log = Ed25519Key(origin_of(pair.host.id), pair.host.identity.audit_public)
    witness = CosignerKey(name, pair.guest.identity.audit_public)
    assert len(note.opened([log, witness])) == 2
    accounts = [*pair.book.anchor_keys(pair.host.id), *pair.book.anchor_keys(pair.guest.id)]
    assert [line.name for line in note.opened(accounts)] == [origin_of(pair.host.id), name]
    assert Checkpoint.parse(note.text).size == 5
    assert kept(pair.guest, pair.host.id) == (5, "0x" + pair.host.log.root(5).hex())


async def test_a_log_that_grew_is_cosigned_after_its_proof(pair: Pair) -> None:
    for count in (3, 300):
        fill(pair.host, count)
        show(pair.host)
        await go_round(pair.guest)
    assert kept(pair.guest, pair.host.id)[0] == 303
    assert f"\u2014 {origin_of(pair.guest.id)} " in heads.newest(pair.host)
    assert conflicts(pair.guest) == []


async def test_witnesses_that_cosign_each_other_come_to_rest(pair: Pair) -> None:
    """No cosignature makes an entry: else each would call for the next."""
    for site in (pair.guest, pair.host):
        fill(site, 2)
        show(site)
    for _ in range(3):
        await go_round(pair.guest)
        await go_round(pair.host)
    assert (pair.guest.log.size, pair.guest.log.pending) == (2, 0)
    assert (pair.host.log.size, pair.host.log.pending) == (2, 0)


def test_a_head_is_shown_long_enough_to_be_cosigned(pair: Pair) -> None:
    site = pair.host
    assert not heads.publish(site, lambda: NOW)
    fill(site, 1)
    assert heads.publish(site, lambda: NOW)
    fill(site, 1)
    assert not heads.publish(site, lambda: NOW + site.settings.publish_every_seconds - 1)
    assert Checkpoint.parse(Note.parse(heads.newest(site)).text).size == 1
    assert heads.publish(site, lambda: NOW + site.settings.publish_every_seconds + 1)
    assert Checkpoint.parse(Note.parse(heads.newest(site)).text).size == 2


async def test_a_round_begins_when_it_is_time(pair: Pair) -> None:
    now = [NOW]
    rounds = Rounds(pair.guest, lambda: now[0])
    every = pair.guest.settings.witness_every_seconds
    for size, later in ((1, 0.0), (1, every - 1), (3, every + 1)):
        fill(pair.host, 1)
        show(pair.host)
        now[0] = NOW + later
        await rounds.step()
        await rounds.drain()
        assert kept(pair.guest, pair.host.id)[0] == size


async def test_a_site_that_is_dead_keeps_the_others_from_nothing(pair: Pair) -> None:
    fill(pair.host, 1)
    show(pair.host)
    await go_round(pair.guest)  # the stranger answers nobody
    with pair.guest.store.read() as session:
        dead = session.get_one(WitnessedHead, pair.stranger.id)
    assert (dead.size, dead.problem[:18]) == (0, "PartnerUnreachable")
    assert kept(pair.guest, pair.host.id)[0] == 1
    assert conflicts(pair.guest) == []


# ── A log that lies ──────────────────────────────────────────────────────────────────────────


async def test_another_history_of_the_same_size_is_entered_with_both_notes(pair: Pair) -> None:
    fill(pair.host, 5)
    show(pair.host)
    await go_round(pair.guest)
    before = kept(pair.guest, pair.host.id)
    honest = pair.host.log.root()
    rewrite(pair.host, 5)
    show(pair.host)
    for _ in range(3):
        await go_round(pair.guest)
    (found,) = conflicts(pair.guest)
    assert (found.log_id, found.kind) == (pair.host.id, "fork")
    key = Ed25519Key(origin_of(pair.host.id), pair.host.identity.audit_public)
    roots = []
    for shown in (found.known, found.shown):
        note = Note.parse(shown)
        note.opened([key])
        roots.append(Checkpoint.parse(note.text).root)
    assert roots == [honest, pair.host.log.root()]
    assert entered(pair.guest) == [{"kind": "fork", "known": found.known, "shown": found.shown}]
    assert kept(pair.guest, pair.host.id) == before
    assert origin_of(pair.guest.id) not in heads.newest(pair.host)


async def test_a_longer_history_that_does_not_continue_is_not_cosigned(pair: Pair) -> None:
    fill(pair.host, 5)
    show(pair.host)
    await go_round(pair.guest)
    before = kept(pair.guest, pair.host.id)
    rewrite(pair.host, 9)
    show(pair.host)
    await go_round(pair.guest)
    assert [found.kind for found in conflicts(pair.guest)] == ["unproven"]
    assert kept(pair.guest, pair.host.id) == before
    assert origin_of(pair.guest.id) not in heads.newest(pair.host)


async def test_a_shorter_history_that_does_not_continue_is_found(pair: Pair) -> None:
    fill(pair.host, 9)
    show(pair.host)
    await go_round(pair.guest)
    rewrite(pair.host, 5)
    show(pair.host)
    await go_round(pair.guest)
    assert [found.kind for found in conflicts(pair.guest)] == ["unproven"]
    assert kept(pair.guest, pair.host.id)[0] == 9


async def fall_back(log: Site, witness: Site) -> None:
    """The log shows 9 entries, which are cosigned, and then only its first 5 again."""
    fill(log, 5)
    show(log)
    fill(log, 4)
    heads.publish(log, lambda: NOW * 2)
    await go_round(witness)
    with log.store.begin() as session:
        session.execute(delete(PublishedHead).where(PublishedHead.size == 9))


async def test_an_old_head_shown_again_is_not_cosigned_and_is_no_conflict(pair: Pair) -> None:
    await fall_back(pair.host, pair.guest)
    await go_round(pair.guest)
    with pair.guest.store.read() as session:
        assert session.get_one(WitnessedHead, pair.host.id).problem.startswith("HeadWentBack")
    assert kept(pair.guest, pair.host.id)[0] == 9
    assert conflicts(pair.guest) == []


async def test_the_conflict_is_told_in_health_and_over_the_interface(pair: Pair) -> None:
    site = pair.guest
    assert health.show(site).parts is not None
    fill(pair.host, 2)
    show(pair.host)
    await go_round(site)
    rewrite(pair.host, 2)
    show(pair.host)
    await go_round(site)
    parts = health.show(site).parts
    assert parts is not None
    assert (parts["witness"].ok, pair.host.id in parts["witness"].detail) == (False, True)
    headers = {"Authorization": f"Bearer {token_of(site)}"}
    async with visitor(site, None, **headers) as client:
        told = (await client.get("/v1/witness")).json()
    assert [each["kind"] for each in told["conflicts"]] == ["fork"]
    assert {each["site"] for each in told["heads"]} == {pair.host.id, pair.stranger.id}


def test_a_liar_fills_no_log_but_his_own(pair: Pair) -> None:
    witness = Witness(pair.guest, lambda: NOW)
    witness.cosign(0, [], witness.read(signed_head(pair.host, 5, bytes(32))))
    for n in range(MAX_CONFLICTS + 5):
        shown = witness.read(signed_head(pair.host, 5, bytes([n + 1] * 32)))
        with pytest.raises(Invalid, match="LogForked"):
            witness.cosign(5, [], shown)
    assert len(conflicts(pair.guest)) == len(entered(pair.guest)) == MAX_CONFLICTS


def test_what_proves_nothing_takes_no_room_from_what_does(pair: Pair) -> None:
    witness = Witness(pair.guest, lambda: NOW)
    witness.cosign(0, [], witness.read(signed_head(pair.host, 5, bytes(32))))
    for n in range(MAX_CONFLICTS + 5):
        witness.convict(UNPROVEN, witness.read(signed_head(pair.host, 6 + n, bytes(32))))
    with pytest.raises(Invalid, match="LogForked"):
        witness.cosign(5, [], witness.read(signed_head(pair.host, 5, b"1" * 32)))
    kinds = [found.kind for found in conflicts(pair.guest)]
    assert sorted(kinds) == ["fork"] + ["unproven"] * MAX_CONFLICTS


def test_a_head_first_without_proof_still_convicts_when_its_twin_is_cosigned(pair: Pair) -> None:
    log, witness = tree(8), Witness(pair.guest, lambda: NOW)
    other = witness.read(signed_head(pair.host, 8, b"1" * 32))
    witness.cosign(0, [], witness.read(signed_head(pair.host, 5, log.root(5))))
    witness.convict(UNPROVEN, other)
    grown = witness.read(signed_head(pair.host, 8, log.root(8)))
    witness.cosign(5, log.consistency_proof(5, 8), grown)
    with pytest.raises(Invalid, match="LogForked"):
        witness.cosign(8, [], other)
    (found,) = conflicts(pair.guest)
    assert (found.kind, found.known, found.shown) == ("fork", str(grown.note), str(other.note))


async def test_a_proof_that_was_spoilt_on_the_way_makes_no_fork(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fall_back(pair.host, pair.guest)

    async def spoilt(*_: object) -> list[bytes]:
        return [bytes(32)]

    monkeypatch.setattr(type(pair.guest.peers), "consistency", spoilt)
    await go_round(pair.guest)
    assert [found.kind for found in conflicts(pair.guest)] == ["unproven"]
    parts = health.show(pair.guest).parts
    assert parts is not None
    assert not parts["witness"].ok
    assert "did not prove a head" in parts["witness"].detail
    assert "two histories" not in parts["witness"].detail


async def test_whatever_ends_a_visit_is_told(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    async def breaks(*_: object) -> str:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(type(pair.guest.peers), "head", breaks)
    await go_round(pair.guest)
    with pair.guest.store.read() as session:
        assert session.get_one(WitnessedHead, pair.host.id).problem == "RuntimeError"


async def test_a_log_that_never_ends_its_answer_is_left(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_: object) -> str:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr("node.rounds.VISIT_SECONDS", 0)
    monkeypatch.setattr(type(pair.guest.peers), "head", never)
    await go_round(pair.guest)
    with pair.guest.store.read() as session:
        problem = session.get_one(WitnessedHead, pair.host.id).problem
    assert problem.startswith("PartnerUnreachable")


# ── A witness that is asked to sign blindly ──────────────────────────────────────────────────


def tree(count: int, seed: int = 0) -> merkle.Tree:
    return merkle.Tree(merkle.leaf_hash(bytes([seed, n])) for n in range(count))


def test_no_order_of_questions_gets_two_roots_of_a_size_or_a_smaller_size(pair: Pair) -> None:
    witness, honest, forked = Witness(pair.guest, lambda: NOW), tree(9), tree(9, seed=1)

    def ask(log: merkle.Tree, old: int, new: int) -> str:
        note = signed_head(pair.host, new, log.root(new))
        proof = log.consistency_proof(old, new) if 0 < old <= new else []
        try:
            witness.cosign(old, proof, witness.read(note))
        except NodeError as refusal:
            return refusal.code
        return "cosigned"

    assert ask(honest, 0, 4) == "cosigned"
    assert ask(honest, 0, 9) == "HeadMoved"  # whoever says nothing was cosigned is told what was
    assert ask(forked, 0, 9) == "HeadMoved"
    assert ask(forked, 4, 9) == "ProofInvalid"
    assert ask(forked, 4, 4) == "LogForked"
    assert ask(honest, 4, 9) == "cosigned"
    assert ask(honest, 4, 9) == "HeadMoved"  # replayed
    assert ask(honest, 9, 9) == "cosigned"
    assert ask(honest, 4, 4) == "HeadMoved"  # an older head again
    assert ask(honest, 9, 4) == "InvalidRequest"
    assert kept(pair.guest, pair.host.id)[0] == 9


def test_of_two_heads_asked_for_at_once_one_is_cosigned(pair: Pair) -> None:
    """The second was read before the first was kept: its compare finds another head."""
    witness, log = Witness(pair.guest, lambda: NOW), tree(9)
    witness.cosign(0, [], witness.read(signed_head(pair.host, 4, log.root(4))))
    stale = witness.known(pair.host.id)
    late = witness.read(signed_head(pair.host, 7, tree(9, seed=1).root(7)))
    witness.cosign(
        4, log.consistency_proof(4, 9), witness.read(signed_head(pair.host, 9, log.root(9)))
    )
    with pytest.raises(HeadMoved):
        witness._keep(stale, late)
    assert kept(pair.guest, pair.host.id)[0] == 9


@pytest.mark.parametrize("sign", ["cosign", "sign_as_account"])
def test_the_head_is_kept_before_a_signature_is_made(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, sign: str
) -> None:
    witness = Witness(pair.guest, lambda: NOW)
    shown = witness.read(signed_head(pair.host, 4, bytes(32)))

    def dies(*_: object) -> bytes:
        assert kept(pair.guest, pair.host.id)[0] == 4
        raise Failed("Killed", "in the middle")

    monkeypatch.setattr(f"node.witness.{sign}", dies)
    with pytest.raises(Failed, match="Killed"):
        witness.cosign(0, [], shown)
    assert kept(pair.guest, pair.host.id)[0] == 4


def test_what_was_cosigned_is_remembered_by_the_next_process(pair: Pair) -> None:
    first = Witness(pair.guest)
    first.cosign(0, [], first.read(signed_head(pair.host, 4, bytes(32))))
    with Site.open(pair.guest.settings.home, directory=pair.book) as again:
        witness = Witness(again)
        shown = witness.read(signed_head(pair.host, 4, bytes([1] * 32)))
        with pytest.raises(Invalid, match="LogForked"):
            witness.cosign(4, [], shown)


def test_the_head_of_no_site_and_of_another_key_is_not_read(pair: Pair) -> None:
    witness = Witness(pair.guest)
    with pytest.raises(Refused, match="NoteNotSigned"):
        witness.read(sign_checkpoint(pair.stranger.identity, pair.host.id, 1, bytes(32)))
    with pytest.raises(NotFound):
        witness.read(signed_head(pair.guest, 1, bytes(32)))
    with (
        pair.book.refusing(pair.host.id, NotFound("UnknownSite", "no such site")),
        pytest.raises(NotFound),
    ):
        witness.read(signed_head(pair.host, 1, bytes(32)))


def test_a_head_that_no_contract_could_read_is_not_cosigned(pair: Pair) -> None:
    """Else a liar would sign one history for contracts and another one for witnesses."""
    plain = sign_checkpoint(pair.host.identity, pair.host.id, 4, bytes(32))
    witness = Witness(pair.guest)
    with pytest.raises(Refused, match="NoteNotSigned"):
        witness.read(plain)
    other = by_account(pair.stranger, plain.partition("\n\n")[0] + "\n")
    with pytest.raises(Refused, match="NoteNotSigned"):
        witness.read(str(Note.parse(plain).signed(other)))
    own = pair.book.anchor.pop(pair.host.id)  # a home from before there were such keys
    try:
        assert witness.read(plain).head.size == 4
    finally:
        pair.book.anchor[pair.host.id] = own


def test_two_keys_made_to_collide_are_refused(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.audit.notes.key_id", lambda *_: b"same")
    keys = (pair.host.identity.audit_public, pair.host.identity.request_public)
    monkeypatch.setattr(pair.book, "audit_keys", lambda _: keys)
    with pytest.raises(Refused, match="KeysAmbiguous"):
        Witness(pair.guest).read(signed_head(pair.host, 1, bytes(32)))


# ── What a log takes of witnesses ────────────────────────────────────────────────────────────


def cosigned(by: Site, text: str, time: float = NOW, name: str | None = None) -> str:
    line = cosign(by.identity, name or origin_of(by.id), text, int(time))
    return str(Note(text, (line,)))


def test_a_cosignature_of_what_was_not_published_is_refused(pair: Pair) -> None:
    fill(pair.host, 5)
    show(pair.host)
    own = origin_of(pair.host.id)
    for head in (
        Checkpoint(own, 5, bytes(32)),
        Checkpoint(own, 4, pair.host.log.root(4)),
        Checkpoint(own, 6, bytes(32)),
        Checkpoint(origin_of(pair.stranger.id), 5, pair.host.log.root()),
    ):
        with pytest.raises(Conflict, match="HeadUnknown"):
            heads.receive(pair.host, pair.guest.id, cosigned(pair.guest, head.text))


def test_a_head_takes_no_more_cosignatures_than_a_note_has_lines(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads, "MAX_COSIGNED", 1)
    fill(pair.host, 5)
    show(pair.host)
    text = Checkpoint(origin_of(pair.host.id), 5, pair.host.log.root()).text
    heads.receive(pair.host, pair.guest.id, cosigned(pair.guest, text), lambda: NOW)
    with pytest.raises(Conflict, match="HeadFull"):
        heads.receive(pair.host, pair.stranger.id, cosigned(pair.stranger, text), lambda: NOW)
    # Who is on it may say so again, later.
    heads.receive(pair.host, pair.guest.id, cosigned(pair.guest, text, NOW + 1), lambda: NOW)


def test_a_cosignature_is_the_senders_or_none(pair: Pair) -> None:
    fill(pair.host, 5)
    show(pair.host)
    text = Checkpoint(origin_of(pair.host.id), 5, pair.host.log.root()).text
    for bad in (
        cosigned(pair.stranger, text),
        cosigned(pair.stranger, text, name=origin_of(pair.guest.id)),
        signed_head(pair.host, 5, pair.host.log.root()),
    ):
        with pytest.raises(Refused):
            heads.receive(pair.host, pair.guest.id, bad)
    late = cosigned(pair.guest, text, NOW + 3600)
    with pytest.raises(Invalid, match="CosignatureInvalid"):
        heads.receive(pair.host, pair.guest.id, late, lambda: NOW)
    assert "\u2014" in heads.newest(pair.host)
    assert origin_of(pair.guest.id) not in heads.newest(pair.host)


def test_a_member_with_many_sites_keeps_no_other_from_a_head(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads, "MAX_COSIGNED", 3)
    fill(pair.host, 5)
    show(pair.host)
    many, alone = [new_id(), new_id()], new_id()
    monkeypatch.setattr(pair.book, "members", dict.fromkeys(many, "many"))
    with pair.host.store.begin() as session:
        for witness in (*many, alone):
            session.add(Cosignature(size=5, witness=witness, line="x", time=int(NOW)))
    text = Checkpoint(origin_of(pair.host.id), 5, pair.host.log.root()).text
    heads.receive(pair.host, pair.guest.id, cosigned(pair.guest, text), lambda: NOW)
    with pair.host.store.read() as session:
        kept = set(session.scalars(select(Cosignature.witness).where(Cosignature.size == 5)))
    assert kept - set(many) == {alone, pair.guest.id}
    assert len(kept) == 3
    with pytest.raises(Conflict, match="HeadFull"):
        heads.receive(pair.host, pair.stranger.id, cosigned(pair.stranger, text), lambda: NOW)


def test_the_account_line_of_a_cosignature_is_the_senders_and_of_the_same_time(pair: Pair) -> None:
    fill(pair.host, 5)
    show(pair.host)
    text = Checkpoint(origin_of(pair.host.id), 5, pair.host.log.root()).text
    line = cosign(pair.guest.identity, origin_of(pair.guest.id), text, int(NOW))

    def give(*account_lines: Signature) -> None:
        note = Note(text, (line, *account_lines))
        heads.receive(pair.host, pair.guest.id, str(note), lambda: NOW)

    own = by_account(pair.guest, text)
    with pytest.raises(Invalid, match="CosignatureInvalid"):
        give(by_account(pair.guest, text, NOW - 5))
    with pytest.raises(Refused, match="NoteForged"):
        give(replace(own, blob=own.blob[:-1] + bytes([own.blob[-1] ^ 7])))
    assert origin_of(pair.guest.id) not in heads.newest(pair.host)
    give(by_account(pair.stranger, text))  # nobody's who is asked for: passed over
    assert heads.newest(pair.host).count(origin_of(pair.guest.id)) == 1
    assert origin_of(pair.stranger.id) not in heads.newest(pair.host)


async def test_an_anchor_key_that_comes_to_stand_later_cosigns_later(pair: Pair) -> None:
    fill(pair.host, 5)
    show(pair.host)
    own = pair.book.anchor.pop(pair.guest.id)
    for _ in range(2):
        await go_round(pair.guest)
    assert heads.newest(pair.host).count(origin_of(pair.guest.id)) == 1
    pair.book.anchor[pair.guest.id] = own
    rounds = Rounds(pair.guest, lambda: NOW + 60)
    await rounds.step()
    await rounds.drain()
    assert heads.newest(pair.host).count(origin_of(pair.guest.id)) == 2


def test_a_head_is_signed_for_contracts_when_the_chain_says_which(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(*_: object) -> AccountKey:
        raise Unavailable("ChainUnavailable", "away")

    fill(pair.host, 3)
    with monkeypatch.context() as away:
        away.setattr(pair.book, "account_key", silent)
        assert heads.publish(pair.host, lambda: NOW)
        assert len(Note.parse(heads.newest(pair.host)).signatures) == 1
    assert not heads.publish(pair.host, lambda: NOW + 1)
    assert len(Note.parse(heads.newest(pair.host)).signatures) == 2
    assert Witness(pair.guest).read(heads.newest(pair.host)).head.size == 3


def test_no_second_history_is_signed_after_the_database_was_restored(pair: Pair) -> None:
    fill(pair.host, 5)
    show(pair.host)
    path = pair.host.settings.run / "signed-head.json"
    signed = path.read_bytes()
    for count, when in ((4, NOW * 2), (5, NOW * 3), (9, NOW * 4)):
        rewrite(pair.host, count)
        path.write_bytes(signed)
        with pytest.raises(Failed, match="AuditLogDiffers"):
            heads.publish(pair.host, lambda when=when: when)  # type: ignore[misc]
        with pair.host.store.read() as session:
            assert session.scalar(select(PublishedHead)) is None
    path.write_bytes(b"{}")
    with pytest.raises(Failed, match="AuditLogDiffers"):
        heads.publish(pair.host, lambda: NOW * 5)


def test_no_head_is_signed_that_does_not_continue_what_the_chain_has(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(pair.host, 5)
    for anchored in ((6, bytes(32)), (4, bytes(32))):
        monkeypatch.setattr(pair.book, "anchored", lambda _, told=anchored: told)
        with pytest.raises(Failed, match="AuditLogDiffers"):
            show(pair.host)
    own = (4, pair.host.log.root(4))
    monkeypatch.setattr(pair.book, "anchored", lambda _: own)
    show(pair.host)
    assert len(Note.parse(heads.newest(pair.host)).signatures) == 2


def test_an_anchor_that_comes_after_the_first_pass_ends_a_log_that_does_not_continue_it(
    pair: Pair,
) -> None:
    fill(pair.host, 3)
    with pair.host.store.begin() as session:
        session.add(Anchor(size=2, root="0x" + "00" * 32, block=1, tx_hash="0x"))
    with pytest.raises(Failed, match="AuditLogDiffers"):
        fill(pair.host, 1)
    assert (pair.host.log.size, pair.host.log.pending) == (3, 1)


def test_a_later_cosignature_takes_the_place_of_an_earlier_and_never_goes_back(pair: Pair) -> None:
    fill(pair.host, 5)
    show(pair.host)
    text = Checkpoint(origin_of(pair.host.id), 5, pair.host.log.root()).text
    for time in (NOW, NOW + 5, NOW + 1):
        heads.receive(pair.host, pair.guest.id, cosigned(pair.guest, text, time), lambda: NOW)
    with pair.host.store.read() as session:
        (row,) = session.scalars(select(Cosignature))
    assert row.time == NOW + 5


async def test_cosignatures_come_by_signed_requests_only(pair: Pair) -> None:
    url = f"{pair.host.settings.endpoint}/sites/v1/log/cosignatures"
    async with httpx.AsyncClient() as client:
        answer = await client.post(url, content=canonical.dumps({"note": "x"}))
    assert answer.status_code == 401


# ── add-checkpoint ───────────────────────────────────────────────────────────────────────────


def submission(old: int | str, proof: list[bytes], note: str) -> bytes:
    lines = [f"old {old}", *(base64.b64encode(node).decode() for node in proof)]
    return ("\n".join(lines) + "\n\n" + note).encode()


async def post(site: Site, body: bytes) -> httpx.Response:
    async with visitor(site) as client:
        return await client.post("/witness/add-checkpoint", content=body)


async def test_strangers_ask_a_witness_so_often_a_minute(pair: Pair) -> None:
    app = create_app(pair.guest.settings.home, pair.guest)
    app.state.submissions = Attempts(limit=2, seconds=60)
    async with visitor(pair.guest, app) as client:
        codes = [
            (await client.post("/witness/add-checkpoint", content=b"old 4")).status_code
            for _ in range(3)
        ]
    assert codes == [400, 400, 429]


async def test_add_checkpoint_answers_as_the_specification_says(pair: Pair) -> None:
    log, site = tree(9), pair.guest

    def note(size: int, of: merkle.Tree = log) -> str:
        return signed_head(pair.host, size, of.root(size))

    first = await post(site, submission(0, [], note(4)))
    assert first.status_code == 200
    opened = Note.parse(note(4) + first.text)
    name = origin_of(site.id)
    key = CosignerKey(name, site.identity.audit_public)
    assert len(opened.opened([key, *pair.book.anchor_keys(site.id)])) == 2

    moved = await post(site, submission(0, [], note(9)))
    assert (moved.status_code, moved.text) == (409, "4\n")
    assert moved.headers["content-type"] == "text/x.tlog.size"

    good = log.consistency_proof(4, 9)
    other = tree(9, seed=1)
    for status, body in (
        (422, submission(4, good[:-1], note(9))),
        (422, submission(4, other.consistency_proof(4, 9), note(9))),
        (422, submission(4, [], note(4, other))),
        (400, submission(9, [], note(4))),
        (400, submission("04", good, note(9))),
        (400, submission("-1", good, note(9))),
        (400, submission(4, good * 40, note(9))),
        (400, submission(4, good, note(9)[:-1])),
        (400, b"old 4"),
        (400, b""),
        (403, submission(4, good, sign_checkpoint(site.identity, pair.host.id, 9, log.root(9)))),
        (404, submission(0, [], signed_head(site, 9, log.root(9)))),
        (413, b"old 4\n" + b"x" * 200_000),
        (200, submission(4, good, note(9))),
        (200, submission(9, [], note(9))),
    ):
        answer = await post(site, body)
        assert answer.status_code == status, (body[:80], answer.text)


@pytest.fixture(scope="module")
def witness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("pair")
    with running_pair(folder, f"unix://{folder}/none.sock") as made:
        yield made


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=60)
@given(st.data())
def test_a_submission_altered_anywhere_is_refused_or_the_same_head(
    witness: Pair, data: st.DataObject
) -> None:
    log = tree(7)
    head = signed_head(witness.host, 7, log.root())
    whole = submission(0, [], head)
    at = data.draw(st.integers(0, len(whole) - 1))
    altered = whole[:at] + data.draw(st.binary(max_size=3)) + whole[at + 1 :]
    asked = Witness(witness.guest)
    try:
        old, proof, note = parse_submission(altered)
        asked.cosign(old, proof, asked.read(note))
    except NodeError:
        return
    assert kept(witness.guest, witness.host.id) == (7, "0x" + log.root().hex())


@given(st.binary(max_size=300))
def test_any_bytes_are_a_submission_or_refused(body: bytes) -> None:
    try:
        old, proof, note = parse_submission(body)
    except Invalid:
        return
    assert body == submission(old, proof, "") + note


def test_the_application_has_the_witness(pair: Pair) -> None:
    paths = create_app(pair.guest.settings.home, pair.guest).openapi()["paths"]
    assert "/v1/witness" in paths


# ── On a chain ───────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    chain, deployment = consortium.found()
    world = consortium.assemble(chain, deployment, tmp_path_factory.mktemp("sites"))
    yield world
    world.close()


def test_sync_shows_a_head_and_the_chain_says_whose_keys_count(world: Consortium) -> None:
    bank, shop = world.bank, world.shop
    fill(shop, 3)
    sync_of(shop).step()
    world.chain.mine(shop.settings.confirmations + 1)
    assert set(bank.directory.sites()) >= {bank.id, shop.id}
    witness = Witness(bank)
    shown = witness.read(heads.newest(shop))
    assert shown.head.size == shop.log.size
    note = str(Note(shown.note.text, witness.cosign(0, [], shown)))
    assert heads.receive(shop, bank.id, note) == shop.log.size
    assert origin_of(bank.id) in heads.newest(shop)

    world.act("shop", world.network.sites.revoke_key(shop.id, shop.key_id("audit")))
    assert isinstance(bank.directory, ChainDirectory)
    bank.directory.forget()
    with pytest.raises(Refused, match="NoteNotSigned"):
        witness.read(heads.newest(shop))
