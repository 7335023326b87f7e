"""The one writer: alone, restart-safe, quick to stop, and in no hurry to anchor for ever."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import select

from chain.calls import BlockRef
from chain.client import ChainClient
from chain.errors import ChainUnavailable, ContractRefused
from chain.jobs import Jobs
from node.audit.entries import record
from node.errors import NodeError
from node.leases import LEASE_SECONDS, Alone
from node.lifecycle import move_task
from node.store import Anchor, AuditEntry, ChainEvent, ChainState, ChainTx, Lease, LocalJob, Task
from node.sync import Sync
from tests.node import consortium
from tests.node.consortium import Consortium, sync_of
from tests.node.test_jobs import an_empty_store
from tests.node.told import available


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    chain, deployment = consortium.found()
    world = consortium.assemble(chain, deployment, tmp_path_factory.mktemp("sites"))
    yield world
    world.close()


# ── Alone ────────────────────────────────────────────────────────────────────────────────────


def test_a_second_sync_is_told_that_another_one_runs(tmp_path: Path) -> None:
    store = an_empty_store(tmp_path)
    first, second = Alone(store), Alone(store)
    first.acquire()
    with pytest.raises(NodeError) as refusal:
        second.acquire()
    assert refusal.value.code == "AlreadyRunning"
    assert first.owner in str(refusal.value)
    first.renew()
    first.release()
    second.acquire()
    store.dispose()


def test_a_lease_that_ran_out_is_free_and_its_holder_has_to_end(tmp_path: Path) -> None:
    store, now = an_empty_store(tmp_path), [0.0]
    first, second = Alone(store, lambda: now[0]), Alone(store, lambda: now[0])
    first.acquire()
    now[0] = LEASE_SECONDS + 1
    second.acquire()
    with pytest.raises(NodeError) as refusal:
        first.renew()
    assert refusal.value.code == "LeaseLost"
    store.dispose()


def test_the_lease_of_a_killed_process_is_taken_at_once(tmp_path: Path) -> None:
    store = an_empty_store(tmp_path)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    heir = Alone(store)
    host = heir.owner.split(":")[0]
    with store.begin() as session:
        session.add(Lease(name="sync", owner=f"{host}:{ended.pid}:00", until=1e12))
    heir.acquire()
    store.dispose()


def test_the_lease_of_a_living_process_is_not_taken(tmp_path: Path) -> None:
    store = an_empty_store(tmp_path)
    heir = Alone(store)
    host = heir.owner.split(":")[0]
    with store.begin() as session:
        session.add(Lease(name="sync", owner=f"{host}:{os.getppid()}:00", until=1e12))
    with pytest.raises(NodeError):
        heir.acquire()
    store.dispose()


# ── Events ───────────────────────────────────────────────────────────────────────────────────


def test_events_are_read_once_however_often_sync_is_started(world: Consortium) -> None:
    world.settle()
    with world.bank.store.read() as session:
        before = len(session.scalars(select(ChainEvent.id)).all())
    Sync(world.bank).step()
    Sync(world.bank).step()
    with world.bank.store.read() as session:
        rows = session.execute(select(ChainEvent.block, ChainEvent.log_index)).all()
        state = session.get_one(ChainState, 1)
    assert len(rows) == before == len(set(rows))
    assert state.cursor_block == state.head_block - world.bank.settings.confirmations


def test_events_and_their_effect_are_one(world: Consortium) -> None:
    """A crash while an event takes effect leaves neither; the next start reads it again."""
    job = world.propose()
    world.approve(job)
    world.chain.mine(4)
    with broken_projection(), pytest.raises(Crash):
        Sync(world.bank).step()
    assert world.job("bank", job).state == "PROPOSED"
    Sync(world.bank).step()
    assert world.job("bank", job).state == "APPROVED"


class Crash(BaseException):
    """The process dies here."""


@contextmanager
def broken_projection() -> Iterator[None]:
    from node import projection

    def die(*_: object) -> None:
        raise Crash

    handlers = projection.HANDLERS
    kept = dict(handlers)
    assert isinstance(handlers, dict)
    handlers["JobRegistry", "JobApproved"] = die
    try:
        yield
    finally:
        handlers.update(kept)


# ── The chain goes away ──────────────────────────────────────────────────────────────────────


class Silent(ChainClient):
    """Nobody answers."""

    def head(self) -> BlockRef:
        raise ChainUnavailable("http://in-process", "refused")


def test_an_outage_is_entered_once_and_its_end_once(world: Consortium) -> None:
    sync = Sync(world.bank)
    sync.step()
    present = sync.client
    assert present is not None
    count = entry_counts(world)
    account = world.bank.identity.account
    sync.client = Silent("http://in-process", account=account, web3=world.chain.web3)
    for _ in range(3):
        sync.step()
    assert entry_counts(world) == (count[0] + 1, count[1])
    with world.bank.store.read() as session:
        assert "ChainUnavailable" in session.get_one(ChainState, 1).problem
    sync.client = present
    for _ in range(3):
        sync.step()
    assert entry_counts(world) == (count[0] + 1, count[1] + 1)


def entry_counts(world: Consortium) -> tuple[int, int]:
    types = ("fatechain.chain.unavailable.v1", "fatechain.chain.available.v1")
    with world.bank.store.read() as session:
        found = list(session.scalars(select(AuditEntry.type)))
    return found.count(types[0]), found.count(types[1])


def test_the_log_is_ordered_while_the_chain_is_silent(world: Consortium) -> None:
    sync = Sync(world.bank)
    sync.step()
    account = world.bank.identity.account
    sync.client = Silent("http://in-process", account=account, web3=world.chain.web3)
    size = world.bank.log.size
    with world.bank.store.begin() as session:
        record(session, "chain.available", "0x01", available(), "operator")
    sync.step()
    assert world.bank.log.size > size
    assert world.bank.log.pending == 0


# ── Withdrawals ──────────────────────────────────────────────────────────────────────────────


def a_running_task(world: Consortium, name: str, job: str) -> str:
    """The first task of a job, as if a worker had taken it."""
    with world.sites[name].store.begin() as session:
        query = select(Task).where(Task.job_id == job).order_by(Task.position)
        task = session.scalars(query).first()
        assert task is not None
        move_task(session, task.id, "WAITING", "READY")
        move_task(session, task.id, "READY", "RUNNING", lease_owner="w", lease_until=1e12)
        return task.id


def state_of_task(world: Consortium, name: str, task: str) -> Task:
    with world.sites[name].store.read() as session:
        return session.get_one(Task, task)


def test_a_revoked_grant_stops_running_work_before_it_is_confirmed(world: Consortium) -> None:
    grant = world.give_grant()
    job = world.start(grant=grant)
    tasks = {name: a_running_task(world, name, job) for name in world.sites}
    for name in world.sites:
        sync_of(world.sites[name]).step()
        assert state_of_task(world, name, tasks[name]).state == "RUNNING"
    world.act("shop", world.network.consents.revoke(grant))  # one block, nothing on top of it
    for name in world.sites:
        sync_of(world.sites[name]).step()
        found = state_of_task(world, name, tasks[name])
        assert found.state == "STOPPING"
        assert (found.error or {})["code"] == "GrantRevoked"
    world.settle()
    assert str(world.network.jobs.state(job)) == "FAILED"
    assert world.network.jobs.job(job).reason == "GrantRevoked"
    for name in world.sites:
        row = world.job(name, job)
        assert row.state == "FAILED"
        assert (row.reason or "").startswith("GrantRevoked")


def test_permissions_that_cannot_be_read_stop_running_work(
    world: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = world.start()
    task = a_running_task(world, "shop", job)
    sync_of(world.shop).step()
    world.give_grant()  # any transaction makes the sites look again

    def unreadable(*_: object) -> None:
        raise ContractRefused("Unknown", {}, "JobRegistry", "parties")

    with monkeypatch.context() as patch:
        patch.setattr(Jobs, "parties", unreadable)
        sync_of(world.shop).step()
    found = state_of_task(world, "shop", task)
    assert found.state == "STOPPING"
    assert (found.error or {})["code"] == "ContractRefused"
    world.settle()
    assert world.network.jobs.job(job).reason == "ContractRefused"


def test_a_suspended_member_stops_running_work(world: Consortium) -> None:
    job = world.start()
    task = a_running_task(world, "shop", job)
    member = world.network.sites.member_of(world.bank.id)
    world.govern(world.network.membership.suspend(member))
    sync_of(world.shop).step()
    assert (state_of_task(world, "shop", task).error or {})["code"] == "MemberNotActive"
    world.govern(world.network.membership.reinstate(member))
    world.settle(2)
    assert world.job("bank", job).state == "FAILED"


def test_what_does_not_concern_a_job_does_not_stop_it(world: Consortium) -> None:
    job = world.start()
    task = a_running_task(world, "shop", job)
    world.give_grant()
    sync_of(world.shop).step()
    assert state_of_task(world, "shop", task).state == "RUNNING"
    world.act("bank", world.network.jobs.cancel(job, world.bank.id, "Withdrawn"))
    sync_of(world.shop).step()
    found = state_of_task(world, "shop", task)
    assert found.state == "STOPPING"
    assert (found.error or {})["code"] == "Withdrawn"
    world.settle()


def test_a_job_past_its_deadline_is_ended_by_its_proposer(world: Consortium) -> None:
    job = world.propose(deadline_seconds=600)
    world.chain.travel(700)
    world.settle(3)
    assert world.job("bank", job).state == "EXPIRED"
    assert world.job("shop", job).state == "EXPIRED"


# ── Refusals ─────────────────────────────────────────────────────────────────────────────────


def test_a_proposal_that_the_chain_refuses_ends_as_refused(world: Consortium) -> None:
    from node.jobs import propose

    grant = world.give_grant()
    job = propose(world.bank, world.request(grant=grant))
    world.act("shop", world.network.consents.revoke(grant))  # after the preflight
    world.settle()
    row = world.job("bank", job)
    assert row.state == "REFUSED"
    assert (row.reason or "").startswith("GrantRevoked:")
    wanted = world.intent("bank", f"job:{job}:propose")
    assert wanted is not None
    assert wanted.error is not None
    assert wanted.error["code"] == "GrantRevoked"


# ── Anchors ──────────────────────────────────────────────────────────────────────────────────


def test_the_end_of_a_job_is_anchored_and_anchors_do_not_call_for_anchors(
    world: Consortium,
) -> None:
    job = world.start()
    world.act("bank", world.network.jobs.fail(job, world.bank.id, "WorkerLost"))
    world.settle(6)
    heads = {name: world.network.anchors.head(world.sites[name].id) for name in world.sites}
    for name in world.sites:
        ended = [e for e in world.sites[name].log.of_subject(job) if "job.ended" in e.type]
        assert ended[0].index < heads[name].size
        with world.sites[name].store.read() as session:
            newest = session.scalar(select(Anchor).order_by(Anchor.size.desc()).limit(1))
        assert newest is not None
        assert (newest.size, newest.root) == (heads[name].size, heads[name].root)
        assert "0x" + world.sites[name].log.root(newest.size).hex() == newest.root
    world.settle(2)
    for name in world.sites:
        assert world.network.anchors.head(world.sites[name].id) == heads[name]


def test_new_entries_are_anchored_after_a_while(world: Consortium) -> None:
    world.settle(3)
    while flying(world):
        world.settle()
    with world.bank.store.begin() as session:
        last = max(session.scalars(select(Anchor.anchored_at)))
        record(session, "chain.available", "0x01", available(), "operator")
    now = [last + world.bank.settings.anchor_every_seconds - 1]
    sync = Sync(world.bank, lambda: now[0])
    sync.step()
    sync.step()
    assert not flying(world)
    now[0] += 2
    world.chain.mine()  # a pass looks around when there is a new block
    sync.step()
    assert flying(world)


def flying(world: Consortium) -> bool:
    open_states = ("WAITING", "SIGNED", "SENT", "MINED")
    query = select(ChainTx).where(ChainTx.intent.like("anchor:%"), ChainTx.state.in_(open_states))
    with world.bank.store.read() as session:
        return session.scalars(query).first() is not None


def test_jobs_are_never_lost_between_two_syncs(world: Consortium) -> None:
    with world.bank.store.read() as session:
        known = set(session.scalars(select(LocalJob.id).where(LocalJob.state != "REFUSED")))
    assert set(world.network.jobs.jobs()) >= known - {
        job for job in known if world.job("bank", job).state == "SUBMITTED"
    }


# ── When it looks ────────────────────────────────────────────────────────────────────────────


def test_a_pass_is_due_when_the_chain_goes_on_and_while_it_does_not_answer(
    world: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = Sync(world.shop)
    assert loop.has_new_head()
    for _ in range(20):  # what it sends itself makes blocks
        loop.step()
    assert not loop.has_new_head()
    world.chain.mine()
    assert loop.has_new_head()

    def silent() -> BlockRef:
        raise ChainUnavailable("http://chain", "silent")

    monkeypatch.setattr(loop.client, "head", silent)
    assert loop.has_new_head()
