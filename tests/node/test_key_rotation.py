"""A key takes the place of another without a gap, whatever happens on the way."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from chain.evidence import verify_certificate
from chain.sites import Key
from node import rotation
from node.audit.checkpoint import open_checkpoint
from node.certificate import certify
from node.check import FAIL, check
from node.errors import Conflict, Invalid, NodeError, NotFound, Refused
from node.identity import ANCHOR, AUDIT, PURPOSES, REQUEST, key_file, next_key_file, take_next_key
from node.rotation import revoke, rotate, rotations
from node.signatures import sign, verify
from node.store import ChainTx, KeyRotation, LocalJob
from node.sync import Sync
from tests.node import consortium
from tests.node.consortium import ChainSite, Consortium, sync_of
from tests.node.test_certificate import evidence_of_all, succeeded


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    chain, deployment = consortium.found()
    world = consortium.assemble(chain, deployment, tmp_path_factory.mktemp("sites"))
    yield world
    world.close()


@pytest.fixture
def world(founded: Consortium) -> Iterator[Consortium]:
    """No rotation is under way when a test begins, and old keys stand for an hour."""
    founded.bank.change(key_overlap_seconds=3600)
    yield founded
    founded.bank.change(key_overlap_seconds=0)
    _pass(founded, 5)
    for row in rotations(founded.bank):
        assert row.state in ("ENDED", "ABANDONED")


def _pass(world: Consortium, times: int = 1) -> None:
    """Passes of the bank's sync with blocks enough that what was sent is settled."""
    for _ in range(times):
        sync_of(world.bank).step()
        world.chain.mine(2 * world.bank.settings.confirmations + 2)
    sync_of(world.bank).step()


def _keys(world: Consortium) -> dict[str, Key]:
    return {key.id: key for key in world.network.sites.keys(world.bank.id)}


def _row(site: ChainSite, key_id: str) -> KeyRotation:
    with site.store.read() as session:
        [row] = session.scalars(select(KeyRotation).where(KeyRotation.key_id == key_id))
        return row


def _request(site: ChainSite) -> httpx.Request:
    request = httpx.Request("GET", "http://shop.example/sites/v1/log/checkpoint")
    identity = site.identity
    sign(request, identity, site.id, site.key_id(identity=identity))
    return request


def _is_taken(world: Consortium, request: httpx.Request) -> bool:
    world.shop.directory.forget()  # type: ignore[attr-defined]
    try:
        verify(request.method, str(request.url), request.headers, world.shop.directory)
    except NodeError:
        return False
    return True


# ── The way of a rotation ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("purpose", PURPOSES)
def test_the_new_key_signs_when_it_is_confirmed_and_the_old_one_stands_beside_it(
    world: Consortium, purpose: str
) -> None:
    old = world.bank.key_id(purpose)
    new = rotate(world.bank, purpose).id
    assert world.bank.key_id(purpose) == old
    _pass(world)
    assert world.bank.key_id(purpose) == new
    assert _row(world.bank, new).state == "OVERLAP"
    assert all(_keys(world)[id].until_block == 0 for id in (old, new))
    assert world.network.sites.proves(world.bank.id, _keys(world)[new])


def test_the_old_key_ends_after_the_overlap(world: Consortium) -> None:
    old = world.bank.key_id()
    new = rotate(world.bank, REQUEST).id
    _pass(world)
    world.bank.change(key_overlap_seconds=0)
    _pass(world, 4)
    assert _row(world.bank, new).state == "ENDED"
    assert _keys(world)[old].until_block > 0
    assert _keys(world)[new].until_block == 0


def test_partners_take_requests_without_a_gap(world: Consortium) -> None:
    """At every block of a rotation a request signed now is taken by a partner."""
    world.bank.change(key_overlap_seconds=0)
    rotate(world.bank, REQUEST)
    signers = set()
    for _ in range(25):
        sync_of(world.bank).step()
        world.chain.mine()
        signers.add(world.bank.key_id())
        assert _is_taken(world, _request(world.bank))
    assert len(signers) == 2


def test_a_request_signed_before_the_switch_is_taken_during_the_overlap_and_not_after(
    world: Consortium,
) -> None:
    before = _request(world.bank)
    rotate(world.bank, REQUEST)
    _pass(world)
    assert _is_taken(world, before)
    world.bank.change(key_overlap_seconds=0)
    _pass(world, 4)
    assert not _is_taken(world, before)


def test_a_checkpoint_verifies_with_the_new_audit_key(world: Consortium) -> None:
    old = world.bank.identity.audit_public
    new = rotate(world.bank, AUDIT).id
    _pass(world)
    note = world.bank.log.checkpoint(world.bank.identity, world.bank.id)
    on_chain = bytes.fromhex(_keys(world)[new].public_key.removeprefix("0x"))
    assert open_checkpoint(note, world.bank.id, on_chain).size == world.bank.log.size
    with pytest.raises(NodeError):
        open_checkpoint(note, world.bank.id, old)


def test_another_process_of_the_site_signs_with_the_new_key_without_being_started_again(
    world: Consortium,
) -> None:
    with ChainSite.open(world.bank.settings.home) as other:
        other.chain = world.chain
        rotate(world.bank, REQUEST)
        before = other.key_id()
        _pass(world)
        assert other.key_id() == world.bank.key_id() != before


# ── Jobs ─────────────────────────────────────────────────────────────────────────────────────


def test_the_old_key_does_not_end_while_a_job_runs_that_began_under_it(world: Consortium) -> None:
    world.bank.change(key_overlap_seconds=0)
    old = world.bank.key_id()
    job = world.start()
    new = rotate(world.bank, REQUEST).id
    _pass(world, 4)
    assert (_row(world.bank, new).state, _keys(world)[old].until_block) == ("OVERLAP", 0)
    world.act("shop", world.network.jobs.cancel(job, world.shop.id, "Test"))
    _pass(world, 4)
    assert _row(world.bank, new).state == "ENDED"


def test_a_job_that_began_under_the_new_key_does_not_hold_up_the_old_ones_end(
    world: Consortium,
) -> None:
    new = rotate(world.bank, REQUEST).id
    _pass(world)
    job = world.start()
    world.bank.change(key_overlap_seconds=0)
    _pass(world, 4)
    assert _row(world.bank, new).state == "ENDED"
    assert world.job("bank", job).state == "RUNNING"
    world.act("shop", world.network.jobs.cancel(job, world.shop.id, "Test"))
    world.settle()


def test_a_job_whose_guest_changed_its_key_after_the_end_gets_a_certificate_that_holds(
    world: Consortium,
) -> None:
    job = succeeded(world)
    world.bank.change(key_overlap_seconds=0)
    new = rotate(world.bank, REQUEST).id
    _pass(world, 4)
    assert _row(world.bank, new).state == "ENDED"
    report = verify_certificate(
        certify(world.bank, job, evidence_of_all(world, job)), world.network
    )
    assert report.ok, report.failures
    with world.bank.store.read() as session:
        assert session.get_one(LocalJob, job).certificate is not None


def test_a_certificate_holds_on_after_its_key_has_ended(world: Consortium) -> None:
    job = succeeded(world)
    content = certify(world.bank, job, evidence_of_all(world, job))
    world.bank.change(key_overlap_seconds=0)
    rotate(world.bank, REQUEST)
    _pass(world, 4)
    assert verify_certificate(content, world.network).ok


# ── Crashes ──────────────────────────────────────────────────────────────────────────────────


class Crash(BaseException):
    """The process dies here."""


@pytest.mark.parametrize("after", range(6))
def test_a_node_killed_after_any_step_of_a_rotation_goes_on_where_it_stood(
    world: Consortium, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """Dies before the nth write of the database in the sync process, then starts anew."""
    world.bank.change(key_overlap_seconds=0)
    old, new = world.bank.key_id(), rotate(world.bank, REQUEST).id
    writes = iter(range(after))
    begin = world.bank.store.begin

    def dying() -> object:
        if next(writes, None) is None:
            raise Crash
        return begin()

    monkeypatch.setattr(world.bank.store, "begin", dying)
    died = False
    for _ in range(4):
        try:
            Sync(world.bank).step()
        except Crash:
            died = True
            break
        world.chain.mine(6)
    assert died
    monkeypatch.undo()
    world.bank.__dict__.pop("test_sync", None)
    _pass(world, 4)
    assert _row(world.bank, new).state == "ENDED"
    assert (_keys(world)[old].until_block > 0, _keys(world)[new].until_block) == (True, 0)
    assert world.bank.key_id() == new


def test_a_node_killed_between_file_and_row_of_the_switch_goes_on(
    world: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = rotate(world.bank, REQUEST).id
    sync_of(world.bank).step()
    world.chain.mine(6)
    take = take_next_key

    def die(*arguments: object) -> None:
        take(*arguments)  # type: ignore[arg-type]
        raise Crash

    monkeypatch.setattr(rotation, "take_next_key", die)
    with pytest.raises(Crash):
        sync_of(world.bank).step()
    monkeypatch.undo()
    assert (_row(world.bank, new).state, world.bank.key_id()) == ("ADDING", new)
    world.chain.mine()
    sync_of(world.bank).step()
    assert _row(world.bank, new).state == "OVERLAP"


def test_a_rotation_that_died_before_it_was_recorded_uses_the_key_that_lies_there(
    world: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise Crash

    monkeypatch.setattr(rotation, "rehearse", die)
    with pytest.raises(Crash):
        rotate(world.bank, REQUEST)
    lying = next_key_file(world.bank.settings, REQUEST).read_bytes()
    monkeypatch.undo()
    rotate(world.bank, REQUEST)
    assert next_key_file(world.bank.settings, REQUEST).read_bytes() == lying


def test_asking_twice_or_at_once_is_one_rotation(world: Consortium) -> None:
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(rotate(world.bank, REQUEST).id))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found.append(rotate(world.bank, REQUEST).id)
    assert len(set(found)) == 1
    assert len(found) == 4


def test_a_new_key_that_the_chain_refuses_is_given_up_and_the_old_one_goes_on(
    world: Consortium,
) -> None:
    old, new = world.bank.key_id(), rotate(world.bank, REQUEST).id
    with world.bank.store.begin() as session:
        [row] = session.scalars(select(ChainTx).where(ChainTx.intent == f"key.add:{new}"))
        row.state, row.error = "REFUSED", {"code": "Conflict", "detail": "too many keys"}
    _pass(world)
    assert _row(world.bank, new).state == "ABANDONED"
    assert _row(world.bank, new).reason == "too many keys"
    assert world.bank.key_id() == old
    assert not next_key_file(world.bank.settings, REQUEST).exists()


# ── Revoking at once ─────────────────────────────────────────────────────────────────────────


def test_a_key_in_use_is_not_revoked_by_the_way(world: Consortium) -> None:
    with pytest.raises(Conflict) as refusal:
        revoke(world.bank, world.bank.key_id())
    assert refusal.value.code == "KeyInUse"


def test_a_revoked_key_stops_running_work_and_another_brings_the_site_back(
    world: Consortium,
) -> None:
    job = world.start()
    revoke(world.bank, world.bank.key_id(), force=True)
    _pass(world, 4)
    assert world.job("bank", job).state == "FAILED"
    assert (world.job("bank", job).reason or "").startswith("KeyRevoked")
    assert not _is_taken(world, _request(world.bank))
    rotate(world.bank, REQUEST)
    _pass(world, 4)
    assert _is_taken(world, _request(world.bank))
    assert world.network.sites.is_active(world.bank.id)


def test_the_old_key_can_be_ended_before_its_time(world: Consortium) -> None:
    old, new = world.bank.key_id(), rotate(world.bank, REQUEST).id
    _pass(world)
    revoke(world.bank, old)
    _pass(world, 4)
    assert _row(world.bank, new).state == "ENDED"


def test_a_new_key_revoked_on_its_way_does_not_come_to_sign(world: Consortium) -> None:
    old, new = world.bank.key_id(), rotate(world.bank, REQUEST).id
    sync_of(world.bank).step()
    revoke(world.bank, new)
    _pass(world, 4)
    assert (_row(world.bank, new).state, world.bank.key_id()) == ("ABANDONED", old)


def test_a_key_that_ended_does_not_end_again(world: Consortium) -> None:
    old = world.bank.key_id()
    rotate(world.bank, REQUEST)
    _pass(world)
    revoke(world.bank, old)
    _pass(world, 4)
    with pytest.raises(Conflict) as refusal:
        revoke(world.bank, old)
    assert refusal.value.code == "KeyEnded"


def test_a_key_of_another_site_cannot_be_revoked_here(world: Consortium) -> None:
    with pytest.raises(NotFound):
        revoke(world.bank, world.shop.key_id(), force=True)


def test_there_is_no_rotation_of_what_is_no_key_of_a_site(world: Consortium) -> None:
    with pytest.raises(Invalid):
        rotate(world.bank, "chain")


def test_a_site_keeps_no_file_of_a_key_that_ended(world: Consortium) -> None:
    rotate(world.bank, REQUEST)
    _pass(world)
    assert sorted(path.name for path in Path(world.bank.settings.keys).iterdir()) == [
        "anchor.pem",
        "audit.pem",
        "chain.json",
        "request.pem",
    ]


def test_a_home_from_before_anchor_keys_gets_one_and_registers_it_by_a_rotation(
    world: Consortium,
) -> None:
    key_file(world.bank.settings, ANCHOR).unlink()
    with ChainSite.open(world.bank.settings.home) as again:
        again.chain = world.chain
        [item] = [each for each in check(again).items if each.name == "anchor key"]
        assert (item.status, item.todo) == (FAIL, "fatechain key rotate anchor")
    new = rotate(world.bank, ANCHOR).id
    _pass(world)
    assert world.bank.key_id(ANCHOR) == new
    address = world.bank.identity.anchor_account.address.lower()
    assert _keys(world)[new].public_key == address
    world.bank.change(key_overlap_seconds=0)
    _pass(world, 2)
    assert _row(world.bank, new).state == "ENDED"


def test_a_stranger_cannot_use_a_key_that_is_not_confirmed(world: Consortium) -> None:
    """A permission counts when it is confirmed: so the switch waits."""
    new = rotate(world.bank, REQUEST).id
    sync_of(world.bank).step()
    world.chain.mine()
    with pytest.raises(Refused):
        world.shop.directory.sender_key(new)
