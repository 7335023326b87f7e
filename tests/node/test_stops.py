"""A stop is acknowledged by each party, once, with a receipt that reaches the others."""

from __future__ import annotations

import asyncio
import base64
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select, update

from chain import canonical
from chain.calls import Call
from ml.algorithm import code_digest
from node import stops
from node.api import between, problems
from node.api.views import jobs as views
from node.api.views.names import Names
from node.courier import Courier
from node.directory import ChainDirectory, SenderKey
from node.errors import NodeError, Refused, Unauthenticated
from node.lifecycle import move_task
from node.projection import stop_tasks
from node.site import Site
from node.stops import notice, receive, settle
from node.store import JobParty, LocalJob, StopReceipt, Task
from tests.node import consortium
from tests.node.consortium import ALGORITHM, Consortium, sync_of
from tests.node.test_sync import a_running_task
from tests.node.told import told
from tests.node.two_sites import Pair, new_id

REASON, DETAIL = "GrantRevoked", "grant 0x31 is REVOKED at block 7"


# ── Two sites that speak to each other ───────────────────────────────────────────────────────


@pytest.fixture
def job(pair: Pair) -> str:
    job = pair.start_job()
    for site in (pair.guest, pair.host):
        with site.store.begin() as session:
            session.get_one(LocalJob, job).started_at = time.time()
    return job


def stop(site: Site, job: str, reason: str = REASON, *, ended: bool = True) -> bool:
    """Stop the site's part as the sync process does; ``ended``: its processes are gone, too."""
    with site.store.begin() as session:
        stop_tasks(session, job, {"code": reason, "detail": DETAIL})
        row = session.get_one(LocalJob, job)
        noted = notice(session, row, site.id, reason, DETAIL, 7)
        if ended:
            for task in session.scalars(select(Task).where(Task.job_id == job)):
                move_task(session, task.id, "STOPPING", "STOPPED", ended_at=time.time())
    return noted


def own_stop(site: Site, job: str) -> StopReceipt:
    with site.store.read() as session:
        return session.get_one(StopReceipt, (job, site.id, 1))


def stops_of(site: Site, job: str) -> dict[str, StopReceipt]:
    with site.store.read() as session:
        query = select(StopReceipt).where(StopReceipt.job_id == job)
        return {row.site: row for row in session.scalars(query)}


def entries(site: Site, kind: str, job: str) -> list[dict[str, Any]]:
    return [entry["data"] for entry in told(site, kind, job)]


def a_receipt(signer: Site, job: str, **changes: Any) -> bytes:
    """A receipt as this site would sign it."""
    unsigned = {
        "type": "stop",
        "job": job,
        "attempt": 1,
        "site": signer.id,
        "reason": REASON,
        "detail": DETAIL,
        "block": 7,
        "blockTime": 1_700_000_000,
        "noticedAt": "2026-01-01T00:00:00.000000Z",
        "endedAt": "2026-01-01T00:00:01.000000Z",
        "keyId": signer.key_id(),
    } | changes
    signature = base64.b64encode(signer.identity.sign(canonical.dumps(unsigned))).decode()
    return canonical.dumps(unsigned | {"signature": signature})


def test_a_stop_is_signed_when_the_last_process_is_gone_and_not_before(
    pair: Pair, job: str
) -> None:
    stop(pair.host, job, ended=False)
    assert settle(pair.host) == 0
    assert own_stop(pair.host, job).receipt is None
    stop(pair.host, job)
    assert settle(pair.host) == 1
    row = own_stop(pair.host, job)
    assert row.receipt is not None
    assert row.ended_at is not None
    assert row.ended_at >= row.noticed_at
    assert stops._parsed(job, canonical.dumps(row.receipt)) == row.receipt


def test_stopping_three_times_is_stopping_once(pair: Pair, job: str) -> None:
    assert [stop(pair.host, job), stop(pair.host, job), stop(pair.host, job)] == [
        True,
        False,
        False,
    ]
    assert [settle(pair.host), settle(pair.host)] == [1, 0]
    assert len(entries(pair.host, "job.stopped", job)) == 1


def test_the_first_reason_stands(pair: Pair, job: str) -> None:
    stop(pair.host, job)
    stop(pair.host, job, "MemberNotActive")
    assert own_stop(pair.host, job).reason == REASON


def test_a_job_that_never_ran_here_has_nothing_to_acknowledge(pair: Pair) -> None:
    job = pair.start_job(steps=())
    assert not stop(pair.host, job)
    assert stops_of(pair.host, job) == {}


async def test_each_party_has_the_receipts_of_both(pair: Pair, job: str) -> None:
    for site in (pair.guest, pair.host):
        stop(site, job)
        courier = Courier(site)
        await courier.step()
        await courier.drain()
    for site in (pair.guest, pair.host):
        found = stops_of(site, job)
        assert set(found) == {pair.guest.id, pair.host.id}
        assert {row.reason for row in found.values()} == {REASON}
    assert own_stop(pair.host, job).told == [pair.guest.id]
    [received] = entries(pair.guest, "stop.received", job)
    assert received["receipt"]["site"] == pair.host.id
    assert received["receipt"] == own_stop(pair.host, job).receipt


@pytest.fixture
def dead(pair: Pair) -> Iterator[None]:
    """The stranger accepts connections and never answers."""
    kept = pair.book.endpoints[pair.stranger.id]
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        pair.book.endpoints[pair.stranger.id] = f"http://127.0.0.1:{listener.getsockname()[1]}"
        yield
    pair.book.endpoints[pair.stranger.id] = kept


async def test_a_dead_party_keeps_nobody_waiting(pair: Pair, job: str, dead: None) -> None:
    with pair.host.store.begin() as session:
        session.add(JobParty(job_id=job, site=pair.stranger.id, role="host", position=2))
    stop(pair.host, job)
    courier = Courier(pair.host)
    await courier.step()
    under_way = dict(courier._under_way)
    [to_guest] = [task for key, task in under_way.items() if key[2] == pair.guest.id]
    [to_dead] = [task for key, task in under_way.items() if key[2] == pair.stranger.id]
    await asyncio.wait_for(to_guest, 30)
    assert pair.host.id in stops_of(pair.guest, job)
    assert not to_dead.done()
    await courier.step()  # neither asked a second time nor waited for
    assert [key[2] for key in courier._under_way] == [pair.stranger.id]
    to_dead.cancel()
    await asyncio.gather(to_dead, return_exceptions=True)


async def test_a_party_that_was_away_gets_the_receipt_later(pair: Pair, job: str) -> None:
    stop(pair.host, job)
    now = [0.0]
    courier = Courier(pair.host, lambda: now[0])
    away, kept = "http://127.0.0.1:9", pair.book.endpoints[pair.guest.id]
    pair.book.endpoints[pair.guest.id] = away
    await courier.step()
    await courier.drain()
    assert own_stop(pair.host, job).told == []
    pair.book.endpoints[pair.guest.id] = kept
    now[0] += 60
    await courier.step()
    await courier.drain()
    assert own_stop(pair.host, job).told == [pair.guest.id]
    assert pair.host.id in stops_of(pair.guest, job)


async def test_who_was_suspended_or_lost_its_key_still_says_that_it_stopped(
    pair: Pair, job: str
) -> None:
    stop(pair.host, job, "MemberNotActive")
    refusal = Refused("MemberNotActive", "the host's member is SUSPENDED")
    with pair.book.refusing(pair.host.key_id(), refusal):
        courier = Courier(pair.host)
        await courier.step()
        await courier.drain()
    assert stops_of(pair.guest, job)[pair.host.id].reason == "MemberNotActive"


# ── Later messages ───────────────────────────────────────────────────────────────────────────


async def test_messages_after_a_stop_are_refused_with_its_reason(pair: Pair, job: str) -> None:
    stop(pair.host, job, ended=False)
    transport = pair.transport(pair.guest, job)
    from ml.federation import Address

    said = Address(pair.guest_party, pair.host_party, "tests.Said", 0)
    with pytest.raises(NodeError) as refusal:
        await transport.put(said, b"gradients")
    await transport.aclose()
    assert refusal.value.code == "JobStopped"
    assert refusal.value.found == REASON
    assert DETAIL in refusal.value.detail
    assert entries(pair.host, "message.received", job) == []


async def test_what_was_received_before_keeps_its_receipt(pair: Pair, job: str) -> None:
    from ml.federation import Address

    said = Address(pair.guest_party, pair.host_party, "tests.Said", 0)
    transport = pair.transport(pair.guest, job)
    await transport.put(said, b"gradients")
    stop(pair.host, job)
    await transport.put(said, b"gradients")
    await transport.aclose()


def test_our_own_affairs_are_told_by_their_code_alone(pair: Pair, job: str) -> None:
    stop(pair.host, job, "ColumnNotAllowed")
    assert own_stop(pair.host, job).detail == ""
    with pytest.raises(NodeError) as refusal, pair.host.store.read() as session:
        stops.refuse_if_stopped(session, job, pair.host.id)
    assert DETAIL not in refusal.value.detail


def test_a_partner_s_stop_closes_no_mailbox_here(pair: Pair, job: str) -> None:
    """Only our own word ends our part: a partner could say anything."""
    receive(pair.guest, job, a_receipt(pair.host, job))
    with pair.guest.store.read() as session:
        stops.refuse_if_stopped(session, job, pair.guest.id)


# ── Receipts that do not hold ────────────────────────────────────────────────────────────────


def test_a_receipt_that_comes_again_is_taken_once(pair: Pair, job: str) -> None:
    for _ in range(3):
        receive(pair.guest, job, a_receipt(pair.host, job))
    assert len(entries(pair.guest, "stop.received", job)) == 1


def test_a_second_story_of_the_same_stop_is_refused(pair: Pair, job: str) -> None:
    receive(pair.guest, job, a_receipt(pair.host, job))
    with pytest.raises(NodeError, match="Conflict"):
        receive(pair.guest, job, a_receipt(pair.host, job, reason="PolicyRefused"))
    assert stops_of(pair.guest, job)[pair.host.id].reason == REASON


BAD: dict[str, Callable[[Pair, str], bytes]] = {
    "SignatureInvalid": lambda p, j: a_receipt(p.host, j).replace(b'"block":7', b'"block":8'),
    "SignatureInvalid ": lambda p, j: a_receipt(p.stranger, j, site=p.host.id),
    "UnknownSite": lambda p, j: a_receipt(p.host, j, keyId="0x" + "77" * 32),
    "NotAParty": lambda p, j: a_receipt(p.stranger, j),
    "NotAParty ": lambda p, j: a_receipt(p.guest, j),
    "NotFound": lambda p, j: a_receipt(p.host, j, attempt=2),
    "InvalidRequest 1": lambda _p, _j: b"no JSON",
    "InvalidRequest 2": lambda _p, _j: b"[" * 15_000,
    "InvalidRequest 3": lambda p, j: a_receipt(p.host, j, more=1),
    "InvalidRequest 4": lambda p, j: a_receipt(p.host, j, type="receipt"),
    "InvalidRequest 5": lambda p, _: a_receipt(p.host, "0x" + "88" * 32),
    "InvalidRequest 6": lambda p, j: a_receipt(p.host, j, reason="Grant revoked"),
    "InvalidRequest 7": lambda p, j: a_receipt(p.host, j, detail="x" * 301),
    "InvalidRequest 8": lambda p, j: a_receipt(p.host, j, block=-1),
    "InvalidRequest 9": lambda p, j: a_receipt(p.host, j, attempt=True),
    "InvalidRequest 10": lambda p, j: a_receipt(p.host, j, endedAt="yesterday"),
    "InvalidRequest 11": lambda p, j: a_receipt(p.host, j, endedAt="2026-01-01T00:00:00"),
    "InvalidRequest 12": lambda p, j: a_receipt(p.host, j, keyId="no key"),
}


@pytest.mark.parametrize("code", BAD)
def test_a_receipt_that_does_not_hold_is_not_kept(pair: Pair, job: str, code: str) -> None:
    with pytest.raises(NodeError) as refusal:
        receive(pair.guest, job, BAD[code](pair, job))
    assert refusal.value.code == code.split(" ")[0]
    assert stops_of(pair.guest, job) == {}


def test_a_key_that_had_ended_before_the_job_says_nothing(pair: Pair, job: str) -> None:
    pair.book.long_ended.add(pair.host.key_id())
    try:
        with pytest.raises(NodeError, match="KeyRevoked"):
            receive(pair.guest, job, a_receipt(pair.host, job))
    finally:
        pair.book.long_ended.clear()


def test_a_receipt_of_a_job_that_did_not_start_is_not_kept(pair: Pair) -> None:
    job = pair.start_job()
    with pytest.raises(NodeError, match="NotFound"):
        receive(pair.guest, job, a_receipt(pair.host, job))


def test_a_body_that_is_no_receipt_by_its_length_is_not_read_to_its_end(
    pair: Pair, job: str
) -> None:
    url = f"{pair.guest.settings.endpoint}/sites/v1/jobs/{job}/stop"
    answer = httpx.post(url, content=b"x" * (stops.MAX_BYTES + 1), trust_env=False)
    assert (answer.status_code, answer.json()["code"]) == (413, "MessageTooLarge")


async def test_receipts_that_are_none_are_looked_at_so_often_a_minute(
    pair: Pair, job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody may name a key, and looking it up costs questions to the chain."""
    asked = []

    def past_key(key: str, _job: str) -> SenderKey:
        asked.append(key)
        raise Unauthenticated("UnknownSite", f"no site holds key {key}")

    monkeypatch.setattr(pair.book, "past_key", past_key)
    app = FastAPI()
    app.state.site = pair.guest
    problems.install(app)
    between.install(app)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://guest") as stranger:
        url = f"/sites/v1/jobs/{job}/stop"
        bodies = [a_receipt(pair.host, job, keyId=new_id()) for _ in range(40)]
        codes = [(await stranger.post(url, content=body)).status_code for body in bodies]
    assert codes == [401] * 30 + [429] * 10
    assert len(asked) == 30


def test_receipts_that_hold_are_not_counted(pair: Pair, job: str) -> None:
    for _ in range(40):
        url = f"{pair.guest.settings.endpoint}/sites/v1/jobs/{job}/stop"
        answer = httpx.post(url, content=a_receipt(pair.host, job), trust_env=False)
        assert answer.status_code == 200


# ── On the chain ─────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    chain, deployment = consortium.found()
    world = consortium.assemble(chain, deployment, tmp_path_factory.mktemp("sites"))
    yield world
    world.close()


def end_tasks(world: Consortium, job: str) -> None:
    """As if every supervisor had ended its child."""
    for site in world.sites.values():
        with site.store.begin() as session:
            where = (Task.job_id == job, Task.state == "STOPPING")
            session.execute(
                update(Task).where(*where).values(state="STOPPED", ended_at=time.time())
            )


def calls(world: Consortium) -> dict[str, tuple[list[Call], list[Call]]]:
    """Reason → what withdraws, and what gives back; all by the authority."""
    net, code = world.network, code_digest(ALGORITHM)
    bank = net.sites.member_of(world.bank.id)
    return {
        "MemberNotActive": ([net.membership.suspend(bank)], [net.membership.reinstate(bank)]),
        "AlgorithmNotAllowed": (
            [net.consortium.forbid_algorithm(code)],
            [net.consortium.allow_algorithm(code, ALGORITHM)],
        ),
        "PurposeNotAllowed": (
            [net.consortium.withdraw_purpose("training")],
            [net.consortium.allow_purpose("training")],
        ),
        "AttestationMissing": (
            [net.attestations.set_required("iso-27001", True)],
            [net.attestations.set_required("iso-27001", False)],
        ),
    }


@pytest.mark.parametrize(
    "reason", ["MemberNotActive", "AlgorithmNotAllowed", "PurposeNotAllowed", "AttestationMissing"]
)
def test_what_the_members_withdraw_stops_the_running_task_and_is_acknowledged(
    world: Consortium, reason: str
) -> None:
    withdraw, give_back = calls(world)[reason]
    job = world.start()
    tasks = {name: a_running_task(world, name, job) for name in world.sites}
    for call in withdraw:
        world.govern(call)  # one block, nothing on top of it
    try:
        for name, site in world.sites.items():
            sync_of(site).step()
            with site.store.read() as session:
                assert session.get_one(Task, tasks[name]).state == "STOPPING"
        end_tasks(world, job)
        for site in world.sites.values():
            assert settle(site) == 1
            row = own_stop(site, job)
            assert row.reason == reason
            assert row.block_time == world.network.client.block(row.block).timestamp
    finally:
        for call in give_back:
            world.govern(call)
        world.settle(2)
    assert str(world.network.jobs.state(job)) in ("FAILED", "RUNNING")


def test_the_brake_stops_the_running_task_and_ends_by_itself(world: Consortium) -> None:
    net = world.network
    job = world.start()
    task = a_running_task(world, "shop", job)
    for name in world.sites:
        world.act(name, net.brake.pull("0x" + "11" * 32))
    assert net.brake.is_paused()
    try:
        sync_of(world.shop).step()
        with world.shop.store.read() as session:
            found = session.get_one(Task, task)
        assert found.state == "STOPPING"
        assert (found.error or {})["code"] == "ConsortiumPaused"
        assert own_stop(world.shop, job).reason == "ConsortiumPaused"
    finally:
        world.govern(net.brake.release())
        end_tasks(world, job)
        world.settle(2)


def test_a_failure_by_another_is_acknowledged_with_its_reason(world: Consortium) -> None:
    job = world.start()
    a_running_task(world, "shop", job)
    world.act("bank", world.network.jobs.fail(job, world.bank.id, "WorkerLost"))
    world.settle()
    end_tasks(world, job)
    settle(world.shop)
    row = own_stop(world.shop, job)
    assert row.reason == "WorkerLost"
    assert row.block == world.network.jobs.job(job).ended_at


def test_a_job_that_was_cancelled_before_its_start_has_no_stops(world: Consortium) -> None:
    job = world.propose()
    world.act("bank", world.network.jobs.cancel(job, world.bank.id, "Enough"))
    world.settle()
    assert stops_of(world.shop, job) == {}


def test_the_initiator_sees_who_stopped_when_and_why(world: Consortium) -> None:
    grant = world.give_grant()
    job = world.start(grant=grant)
    for name in world.sites:
        a_running_task(world, name, job)
    world.act("shop", world.network.consents.revoke(grant))
    for site in world.sites.values():
        sync_of(site).step()
    end_tasks(world, job)
    settle(world.shop)
    settle(world.bank)
    body = canonical.dumps(own_stop(world.shop, job).receipt or {})
    receive(world.bank, job, body)
    shown = views.show(world.bank, Names(world.bank.network), job).stops
    assert {stop.site.id for stop in shown} == {world.bank.id, world.shop.id}
    [theirs] = [stop for stop in shown if not stop.mine]
    assert (theirs.site.name, theirs.reason) == ("shop", "GrantRevoked")
    assert theirs.seconds is not None
    assert theirs.receipt is not None
    world.settle(2)


def test_a_key_that_was_revoked_since_still_signs_a_stop(world: Consortium) -> None:
    """The chain tells when the key ended; a word about a job that began before counts."""
    job, proposed, key = world.start(), world.propose(), world.shop.key_id()
    before = world.chain.snapshot()
    world.act("shop", world.network.sites.revoke_key(world.shop.id, key))
    directory = world.bank.directory
    assert isinstance(directory, ChainDirectory)
    directory.forget()
    with pytest.raises(NodeError, match="KeyRevoked"):
        directory.sender_key(key)
    found = directory.past_key(key, job)
    assert (found.site, found.public_key) == (world.shop.id, world.shop.identity.request_public)
    with pytest.raises(NodeError, match="KeyRevoked"):
        directory.past_key(key, proposed)  # it did not begin
    with pytest.raises(NodeError, match="UnknownSite"):
        directory.past_key(world.shop.key_id("audit"), job)
    world.chain.revert(before)
    directory.forget()
