"""The scheduler moves jobs from rows: all slots or none, one step after the other, no lost bell."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import select

from chain.sites import SiteRole
from node import jobs, partners
from node.conversation import _failed
from node.errors import Conflict, NodeError, Unavailable
from node.lifecycle import move_task
from node.partners import hold, taken_slots
from node.scheduler import FIRST_PAUSE, LONGEST_PAUSE, Pauses, Scheduler
from node.specification import digest_of
from node.store import LocalJob, Reservation, Task
from node.sync import Process
from tests.node import consortium
from tests.node.consortium import Consortium
from tests.node.test_specification import an_id


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    chain, deployment = consortium.found()
    world = consortium.assemble(chain, deployment, tmp_path_factory.mktemp("sites"))
    yield world
    world.close()


# ── Pauses ───────────────────────────────────────────────────────────────────────────────────


def test_pauses_double_up_to_a_limit_and_begin_anew_after_success() -> None:
    now = [0.0]
    pauses = Pauses(lambda: now[0])
    assert pauses.is_due("a")
    waits = []
    for _ in range(8):
        pauses.failed("a")
        before = now[0]
        while not pauses.is_due("a"):
            now[0] += 0.5
        waits.append(now[0] - before)
    assert waits[:4] == [1.0, 2.0, 4.0, 8.0]
    assert waits[-1] == LONGEST_PAUSE
    pauses.succeeded("a")
    pauses.failed("a")
    now[0] += FIRST_PAUSE
    assert pauses.is_due("a")
    assert pauses.is_due("b")


# ── Slots ────────────────────────────────────────────────────────────────────────────────────


def test_no_more_slots_are_promised_than_there_are(world: Consortium) -> None:
    soon = time.time() + 60
    with world.shop.store.begin() as session:
        hold(session, an_id(1), soon, slots=2)
        hold(session, an_id(2), soon, slots=2)
        with pytest.raises(NodeError) as refusal:
            hold(session, an_id(3), soon, slots=2)
        assert refusal.value.code == "SlotsTaken"
        hold(session, an_id(1), soon + 10, slots=2)  # a promise is prolonged, not given twice
        assert taken_slots(session, besides=an_id(1)) == 1
        session.rollback()


def test_a_promise_that_ran_out_is_free_again(world: Consortium) -> None:
    with world.shop.store.begin() as session:
        session.add(Reservation(job_id=an_id(1), until=time.time() - 1))
        session.flush()
        hold(session, an_id(2), time.time() + 60, slots=1)
        assert session.scalars(select(Reservation.job_id)).all() == [an_id(2)]
        session.rollback()


def test_a_running_job_takes_a_slot_until_its_tasks_are_over(world: Consortium) -> None:
    job = world.start()
    with world.shop.store.begin() as session:
        before = taken_slots(session, besides=an_id(1))
        assert before >= 1
        for task in session.scalars(select(Task).where(Task.job_id == job)):
            task.state = "STOPPED"
        session.flush()
        assert taken_slots(session, besides=an_id(1)) == before - 1
        session.rollback()
    end(world, job)


def end(world: Consortium, job: str) -> None:
    world.act("bank", world.network.jobs.cancel(job, world.bank.id, "Done"))
    world.settle()


async def test_a_partner_that_does_not_answer_leaves_no_slot_taken(world: Consortium) -> None:
    job = world.propose()
    world.approve(job)
    world.settle()
    scheduler = Scheduler(world.bank)
    await scheduler.tick()
    with world.bank.store.read() as session:
        assert session.scalars(select(Reservation)).all() == []
    assert world.intent("bank", f"job:{job}:start") is None
    assert not scheduler.pauses.is_due(("start", job))
    end(world, job)


async def test_an_approved_job_that_may_not_start_is_taken_back(world: Consortium) -> None:
    grant = world.give_grant()
    job = world.propose(grant=grant)
    world.approve(job)
    world.act("shop", world.network.consents.revoke(grant))
    world.settle()
    await Scheduler(world.bank).tick()
    asked = world.intent("bank", f"job:{job}:cancel")
    assert asked is not None
    world.settle()
    for name in world.sites:
        row = world.job(name, job)
        assert row.state == "CANCELLED"
        assert (row.reason or "").startswith("GrantRevoked")


# ── Reservations asked by a partner ──────────────────────────────────────────────────────────


def test_only_the_proposer_reserves_and_only_for_an_approved_job(world: Consortium) -> None:
    job = world.propose()
    until = time.time() + 60
    for sender, code in ((world.bank.id, "Conflict"), (an_id(7), "NotAParty")):
        with pytest.raises(NodeError) as refusal:
            partners.reserve(world.shop, sender, job, until)
        assert refusal.value.code == code
    world.approve(job)
    with pytest.raises(NodeError) as refusal:
        partners.reserve(world.bank, world.shop.id, job, until)
    assert refusal.value.code == "WrongRole"
    assert partners.reserve(world.shop, world.bank.id, job, until)["job"] == job
    with world.shop.store.read() as session:
        assert session.get(Reservation, job) is not None
    partners.release(world.shop, world.bank.id, job)
    partners.release(world.shop, world.bank.id, job)
    with world.shop.store.read() as session:
        assert session.get(Reservation, job) is None
    end(world, job)


def test_a_promise_is_never_longer_than_we_say(world: Consortium) -> None:
    job = world.propose()
    world.approve(job)
    given = partners.reserve(world.shop, world.bank.id, job, time.time() + 1e6)
    assert given["until"] <= time.time() + partners.RESERVATION_SECONDS
    partners.release(world.shop, world.bank.id, job)
    end(world, job)


def test_evidence_is_for_parties_and_auditors(
    world: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = world.propose()
    assert partners.evidence(world.bank, world.shop.id, job)["job"] == job
    monkeypatch.setattr(partners, "_parties_of", lambda *_: [])
    with pytest.raises(NodeError) as refusal:
        partners.evidence(world.bank, world.shop.id, job)
    assert refusal.value.code == "NotAParty"
    world.act("shop", world.network.sites.set_roles(world.shop.id, SiteRole.AUDITOR))
    assert partners.evidence(world.bank, world.shop.id, job)["job"] == job
    everything = SiteRole.DATA_OWNER | SiteRole.MODEL_USER
    world.act("shop", world.network.sites.set_roles(world.shop.id, everything))
    end(world, job)


# ── Specifications from a partner ────────────────────────────────────────────────────────────


def test_the_specification_that_was_proposed_is_kept_and_no_other(world: Consortium) -> None:
    from node.facts import stored_specification

    job = jobs.propose(world.bank, world.request())
    world.settle()
    specification = stored_specification(world.bank, job)
    assert specification is not None
    body = specification.to_bytes()
    other = specification.model_copy(update={"label": "z"}).to_bytes()
    with pytest.raises(NodeError) as refusal:
        partners.receive_specification(world.shop, world.bank.id, job, other)
    assert refusal.value.code == "SpecificationMismatch"
    assert (refusal.value.found, refusal.value.allowed) == (digest_of(other), digest_of(body))
    assert stored_specification(world.shop, job) is None
    with pytest.raises(NodeError) as refusal:
        partners.receive_specification(world.shop, an_id(7), job, body)
    assert refusal.value.code == "NotAParty"
    for _ in range(2):
        kept = partners.receive_specification(world.shop, world.bank.id, job, body)
        assert kept["digest"] == specification.digest
    found = stored_specification(world.shop, job)
    assert found == specification
    world.settle()
    types = [entry.type for entry in world.shop.log.of_subject(job)]
    assert types.count("fatechain.specification.refused.v1") == 1  # the party's
    assert types.count("fatechain.specification.received.v1") == 1
    end(world, job)


def test_a_specification_of_a_job_that_nobody_proposed_is_refused(world: Consortium) -> None:
    with pytest.raises(NodeError) as refusal:
        partners.receive_specification(world.shop, world.bank.id, an_id(99), b"{}")
    assert refusal.value.code == "NotFound"


@pytest.mark.parametrize("until", [None, "soon", True, 0, math.nan, math.inf, 10**400])
def test_a_reservation_needs_a_time_to_come(until: object) -> None:
    with pytest.raises(NodeError) as refusal:
        partners.check_until(until)
    assert refusal.value.code == "InvalidRequest"


# ── Tasks ────────────────────────────────────────────────────────────────────────────────────


def tasks(world: Consortium, job: str) -> dict[str, Task]:
    query = select(Task).where(Task.job_id == job).order_by(Task.position)
    with world.bank.store.read() as session:
        return {task.step: task for task in session.scalars(query)}


async def test_steps_follow_one_another_and_a_lost_bell_is_rung_again(world: Consortium) -> None:
    job = world.start()
    scheduler = Scheduler(world.bank)
    await scheduler.tick()
    await scheduler.tick()
    found = tasks(world, job)
    assert [task.state for task in found.values()] == ["READY", "WAITING", "WAITING", "WAITING"]
    assert found["psi"].rung_at is None  # there is no broker: it will be rung again
    assert scheduler.broker_away
    with world.bank.store.begin() as session:
        move_task(session, found["psi"].id, "READY", "RUNNING", lease_owner="w")
    await scheduler.tick()
    assert tasks(world, job)["train"].state == "WAITING"
    with world.bank.store.begin() as session:
        move_task(session, found["psi"].id, "RUNNING", "SUCCEEDED", owner="w")
    await scheduler.tick()
    assert tasks(world, job)["train"].state == "READY"
    end(world, job)


async def test_a_failed_task_fails_the_job_for_all_parties(world: Consortium) -> None:
    job = world.start()
    scheduler = Scheduler(world.bank)
    await scheduler.tick()
    psi = tasks(world, job)["psi"].id
    error = {"code": "PartnerSilent", "detail": "host:0x02 did not send psi.HostSet within 120 s"}
    with world.bank.store.begin() as session:
        move_task(session, psi, "READY", "RUNNING", lease_owner="w")
        move_task(session, psi, "RUNNING", "FAILED", owner="w", error=error)
    await scheduler.tick()
    await scheduler.tick()
    world.settle()
    assert world.network.jobs.job(job).reason == "PartnerSilent"
    for name in world.sites:
        assert world.job(name, job).state == "FAILED"
    assert (world.job("bank", job).reason or "").endswith("within 120 s")
    states = {task.state for task in tasks(world, job).values()}
    assert states == {"FAILED", "STOPPED"}


async def test_a_partner_that_stopped_ends_the_job_for_its_own_reason(world: Consortium) -> None:
    job = world.start()
    scheduler = Scheduler(world.bank)
    await scheduler.tick()
    psi = tasks(world, job)["psi"].id
    with world.bank.store.begin() as session:
        move_task(session, psi, "READY", "RUNNING", lease_owner="w")
        task = session.get_one(Task, psi)
    detail = "site 0x02: this site stopped the job: GrantRevoked"
    assert _failed(world.bank, task, "w", Conflict("JobStopped", detail, found="GrantRevoked"))
    await scheduler.tick()
    await scheduler.tick()
    world.settle()
    assert world.network.jobs.job(job).reason == "GrantRevoked"
    assert world.job("bank", job).reason == f"GrantRevoked: {detail}"


@pytest.mark.parametrize("told", ["Grant Revoked", "撤回", "", 7, None, "<b>"])
def test_a_reason_of_a_partner_that_is_no_code_is_not_repeated(
    world: Consortium, told: object
) -> None:
    job = world.start()
    psi = tasks(world, job)["psi"].id
    with world.bank.store.begin() as session:
        move_task(session, psi, "WAITING", "READY")
        move_task(session, psi, "READY", "RUNNING", lease_owner="w")
        task = session.get_one(Task, psi)
    assert _failed(world.bank, task, "w", Conflict("JobStopped", "stopped", found=told))
    assert "why" not in (tasks(world, job)["psi"].error or {})
    end(world, job)


async def test_a_job_that_nobody_foresaw_pauses_and_holds_up_no_other(
    world: Consortium, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    odd, usual = world.propose(), world.propose()
    seen: list[str] = []

    async def deliver(_: object, job: str) -> dict[str, str]:
        seen.append(job)
        if job == odd:
            raise RuntimeError(f"u{16 + len(seen[:1])} is a row")
        return {"": "delivered"}

    monkeypatch.setattr("node.scheduler.deliver", deliver)
    now = [0.0]
    scheduler = Scheduler(world.bank, lambda: now[0])
    await scheduler.tick()
    await scheduler.tick()
    assert [seen.count(odd), seen.count(usual)] == [1, 1]
    assert usual in scheduler.delivered
    assert "InternalError" in caplog.text
    assert "u17" not in caplog.text
    now[0] += FIRST_PAUSE
    await scheduler.tick()
    assert seen.count(odd) == 2
    for job in (odd, usual):
        end(world, job)


@pytest.mark.parametrize("phase", ["_start_one", "_advance_one", "_finish_one"])
async def test_no_phase_is_ended_by_one_job(
    world: Consortium, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    scheduler, seen = Scheduler(world.bank), []
    rows = [LocalJob(id=an_id(number)) for number in (91, 92)]

    def fail(job: LocalJob) -> None:
        seen.append(job.id)
        raise KeyError(job.id)

    monkeypatch.setattr(scheduler, "_mine", lambda *_: rows)
    monkeypatch.setattr(scheduler, "_running", lambda: rows)
    monkeypatch.setattr(scheduler, phase, fail)
    moves = {"_start_one": scheduler._start, "_finish_one": scheduler._finish}
    if phase in moves:
        await moves[phase]()
    else:
        scheduler._advance()
    assert seen == [an_id(91), an_id(92)]
    assert not any(scheduler.pauses.is_due(("job", id)) for id in seen)


async def test_one_job_is_reconciled_in_a_tick_and_none_again_before_its_time(
    world: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, asked = [LocalJob(id=an_id(number)) for number in (93, 94)], []

    async def silent(_: object, job: str) -> None:
        asked.append(job)
        raise Unavailable("PartnerUnreachable", "no answer")

    monkeypatch.setattr("node.scheduler.due", lambda *_: rows)
    monkeypatch.setattr("node.scheduler.reconcile_job", silent)
    now = [0.0]
    scheduler = Scheduler(world.bank, lambda: now[0])
    for _ in range(3):
        await scheduler._reconcile()
    assert asked == [an_id(93), an_id(94)]
    now[0] += FIRST_PAUSE
    await scheduler._reconcile()
    assert asked == [an_id(93), an_id(94), an_id(93)]


def test_jobs_move_on_while_a_partner_shows_no_evidence(
    world: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = LocalJob(id=an_id(95))
    asked, moved, answered = threading.Event(), threading.Event(), threading.Event()

    async def silent(*_: object) -> None:
        asked.set()
        await asyncio.to_thread(answered.wait)

    async def move(_: Scheduler) -> None:
        if asked.is_set():
            moved.set()

    monkeypatch.setattr("node.scheduler.due", lambda *_: [job])
    monkeypatch.setattr("node.scheduler.reconcile_job", silent)
    monkeypatch.setattr(Scheduler, "_start", move)
    process = Process(world.bank)
    threads = [threading.Thread(target=run) for run in (process._schedule, process._conclude)]
    try:
        for thread in threads:
            thread.start()
        assert asked.wait(60)
        assert moved.wait(60)
    finally:
        process.end()
        answered.set()
        for thread in threads:
            thread.join()


async def test_a_tick_asks_no_partner_for_evidence(
    world: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    async def evidence(_: object, job: str) -> None:
        asked.append(job)

    job = LocalJob(id=an_id(96))
    monkeypatch.setattr("node.scheduler.due", lambda *_: [job])
    monkeypatch.setattr("node.scheduler.reconcile_job", evidence)
    scheduler = Scheduler(world.bank)
    await scheduler.tick()
    assert asked == []
    await scheduler.conclude()
    assert asked == [job.id]


async def test_a_site_that_is_not_registered_schedules_nothing(world: Consortium) -> None:
    scheduler = Scheduler(world.bank)
    kept = world.bank.settings
    world.bank.settings = kept.model_copy(update={"site_id": None})
    try:
        await scheduler.tick()
        await scheduler.conclude()
    finally:
        world.bank.settings = kept


def test_a_model_without_a_result_is_not_registered(world: Consortium) -> None:
    job = LocalJob(id=an_id(1), specification_digest="", proposer="")
    with pytest.raises(NodeError) as refusal:
        Scheduler(world.bank)._register_model(job)
    assert refusal.value.code == "NotFound"
