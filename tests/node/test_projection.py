"""Confirmed events become rows, in order, once, and stop or start what they must."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from chain.calls import EventRecord
from chain.canonical import word
from chain.certificate import model_digest
from node import projection
from node.lifecycle import move_task
from node.store import (
    Anchor,
    AuditPending,
    JobParty,
    LocalJob,
    LocalModel,
    Reservation,
    Store,
    Task,
)
from tests.node.test_jobs import an_empty_store
from tests.node.test_specification import an_id

ME, OTHER, THIRD = an_id(1), an_id(2), an_id(3)
JOB, MODEL = an_id(10), an_id(20)
_blocks = itertools.count(100)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = an_empty_store(tmp_path)
    store.name_source(ME)
    yield store
    store.dispose()


def event(contract: str, name: str, **args: Any) -> EventRecord:
    block = next(_blocks)
    return EventRecord(block, an_id(block), an_id(block + 1), 0, contract, name, args)


def happen(store: Store, name: str, *, contract: str = "JobRegistry", **args: Any) -> EventRecord:
    args = args if contract != "JobRegistry" else {"id": JOB, **args}
    told = event(contract, name, **args)
    with store.begin() as session:
        projection.apply(session, told, ME)
    return told


def proposed(store: Store, *, party: str = ME, kind: str = "train") -> None:
    happen(
        store,
        "JobProposed",
        proposer=OTHER,
        specification=an_id(5),
        algorithm=an_id(6),
        purpose="training",
        deadline=10,
    )
    happen(store, "JobPartyAdded", site=OTHER, role="guest")
    happen(store, "JobPartyAdded", site=party, role="host")
    with store.begin() as session:
        session.get_one(LocalJob, JOB).kind = kind


def running(store: Store, **options: Any) -> None:
    proposed(store, **options)
    happen(store, "JobApproved")
    happen(store, "JobStarted")


def job(store: Store) -> LocalJob:
    with store.read() as session:
        return session.get_one(LocalJob, JOB)


def tasks(store: Store) -> list[Task]:
    with store.read() as session:
        return list(session.scalars(select(Task).order_by(Task.position)))


def kinds(store: Store) -> list[str]:
    with store.read() as session:
        entries = list(session.scalars(select(AuditPending.entry).order_by(AuditPending.id)))
    return [entry.split(b'"type":"fatechain.')[1].split(b".v1")[0].decode() for entry in entries]


def test_a_job_of_others_is_known_with_its_parties(store: Store) -> None:
    proposed(store, party=THIRD)
    assert (job(store).state, job(store).mine, job(store).proposer) == ("PROPOSED", False, OTHER)
    with store.read() as session:
        parties = session.scalars(select(JobParty).order_by(JobParty.position)).all()
    assert [(p.site, p.role) for p in parties] == [(OTHER, "guest"), (THIRD, "host")]


def test_a_job_that_was_submitted_here_is_now_proposed(store: Store) -> None:
    with store.begin() as session:
        session.add(LocalJob(id=JOB, specification_digest=an_id(5), proposer=ME, mine=True))
    happen(store, "JobProposed", proposer=ME, specification=an_id(5))
    assert job(store).state == "PROPOSED"


def test_an_approval_is_kept_with_its_block(store: Store) -> None:
    proposed(store)
    told = happen(store, "JobApproval", site=ME)
    with store.read() as session:
        assert session.get_one(JobParty, (JOB, ME)).approved_block == told.block_number


@pytest.mark.parametrize("kind", ["train", "predict"])
def test_a_started_job_has_the_tasks_of_its_kind(store: Store, kind: str) -> None:
    running(store, kind=kind)
    assert [task.step for task in tasks(store)] == list(projection.STEPS[kind])
    assert {task.state for task in tasks(store)} == {"WAITING"}
    assert job(store).started_at is not None
    assert kinds(store) == ["job.started"]


def test_a_site_that_is_no_party_makes_no_tasks_and_no_entries(store: Store) -> None:
    running(store, party=THIRD)
    happen(store, "JobSucceeded", result=an_id(9))
    assert tasks(store) == []
    assert kinds(store) == []
    assert job(store).state == "SUCCEEDED"


def test_a_promise_ends_when_the_job_starts(store: Store) -> None:
    proposed(store)
    with store.begin() as session:
        session.add(Reservation(job_id=JOB, until=1e12))
    happen(store, "JobApproved")
    happen(store, "JobStarted")
    with store.read() as session:
        assert session.scalar(select(func.count()).select_from(Reservation)) == 0


def test_an_attestation_is_kept_with_its_block(store: Store) -> None:
    running(store)
    told = happen(store, "JobAttested", site=OTHER, result=an_id(9))
    with store.read() as session:
        party = session.get_one(JobParty, (JOB, OTHER))
    assert (party.attested, party.attested_block) == (an_id(9), told.block_number)


@pytest.mark.parametrize(
    ("name", "state", "args"),
    [
        ("JobFailed", "FAILED", {"site": OTHER, "reason": word("WorkerLost")}),
        ("JobCancelled", "CANCELLED", {"site": OTHER, "reason": word("Withdrawn")}),
        ("JobExpired", "EXPIRED", {}),
    ],
)
def test_a_job_that_ends_badly_stops_what_runs_and_is_acknowledged(
    store: Store, name: str, state: str, args: dict[str, Any]
) -> None:
    running(store)
    first = tasks(store)[0]
    with store.begin() as session:
        move_task(session, first.id, "WAITING", "READY")
        move_task(session, first.id, "READY", "RUNNING", lease_owner="somebody")
    happen(store, name, **args)
    assert job(store).state == state
    assert job(store).ended_at is not None
    assert [task.state for task in tasks(store)] == ["STOPPING", "STOPPED", "STOPPED", "STOPPED"]
    assert kinds(store) == ["job.started", "job.ended"]


def test_the_reason_on_the_chain_is_told_and_our_own_words_with_it(store: Store) -> None:
    running(store)
    with store.begin() as session:
        session.get_one(LocalJob, JOB).reason = "PartnerSilent: site 2 said nothing for 120 s"
    happen(store, "JobFailed", site=ME, reason=word("PartnerSilent"))
    assert job(store).reason == "PartnerSilent: site 2 said nothing for 120 s"


def test_another_reason_on_the_chain_replaces_ours(store: Store) -> None:
    running(store)
    with store.begin() as session:
        session.get_one(LocalJob, JOB).reason = "PartnerSilent: site 2 said nothing for 120 s"
    happen(store, "JobFailed", site=OTHER, reason=word("GrantRevoked"))
    assert job(store).reason == "GrantRevoked"


def test_a_job_that_ended_does_not_end_again(store: Store) -> None:
    running(store)
    happen(store, "JobSucceeded", result=an_id(9))
    happen(store, "JobFailed", site=OTHER, reason=word("WorkerLost"))
    assert job(store).state == "SUCCEEDED"
    assert kinds(store) == ["job.started", "job.ended"]


def test_a_registered_model_is_known_to_the_job_and_to_its_part(store: Store) -> None:
    running(store)
    parts = [{"site": ME, "digest": an_id(7)}]
    with store.begin() as session:
        session.get_one(LocalJob, JOB).result = {"parts": parts}
        session.add(
            LocalModel(job_id=JOB, algorithm="a", role="host", part_digest=an_id(7), path="p")
        )
    args = {"id": MODEL, "job": JOB, "registrar": OTHER}
    args["modelDigest"] = model_digest(JOB, parts)
    happen(store, "ModelRegistered", contract="ModelRegistry", **args)
    happen(store, "ModelRegistered", contract="ModelRegistry", **args | {"id": an_id(21)})
    assert job(store).model_id == MODEL
    with store.read() as session:
        assert session.get_one(LocalModel, JOB).model_id == MODEL
    assert kinds(store) == ["job.started", "model.registered"]


@pytest.mark.parametrize("result", [None, {"parts": [{"site": ME, "digest": an_id(7)}]}])
def test_a_model_of_other_parts_than_the_attested_ones_is_not_the_jobs(
    store: Store, result: dict[str, Any] | None
) -> None:
    running(store)
    with store.begin() as session:
        session.get_one(LocalJob, JOB).result = result
    args = {"id": MODEL, "job": JOB, "modelDigest": an_id(8), "registrar": OTHER}
    happen(store, "ModelRegistered", contract="ModelRegistry", **args)
    assert job(store).model_id is None
    assert kinds(store) == ["job.started"]


def test_only_our_own_anchors_are_kept(store: Store) -> None:
    mine = {"site": ME, "size": 7, "root": an_id(30)}
    told = happen(store, "Anchored", contract="AuditAnchor", **mine)
    happen(store, "Anchored", contract="AuditAnchor", **mine | {"site": OTHER, "size": 9})
    with store.read() as session:
        anchors = session.scalars(select(Anchor)).all()
    assert [(a.size, a.root, a.block) for a in anchors] == [(7, an_id(30), told.block_number)]
    assert kinds(store) == ["anchor.made"]


@pytest.mark.parametrize("size", [2**53, 2**63, 2**64 - 1])
def test_heads_of_impossible_sizes_hold_nothing_up(store: Store, size: int) -> None:
    """As older contracts take them, from the first member that likes to stop all others."""
    head = {"site": ME, "size": size, "root": an_id(30)}
    marked = {"key": "0x" + "11" * 20, "kind": 1}
    happen(store, "Anchored", contract="AuditAnchor", **head)
    happen(store, "Cosigned", contract="AuditAnchor", **head)
    opened = {"id": an_id(40), "until": 9}
    happen(store, "ChallengeOpened", contract="Equivocations", **head, **opened)
    happen(store, "ChallengeAnswered", contract="Equivocations", id=an_id(40), site=ME)
    happen(store, "SiteMarked", contract="Equivocations", **head, **marked)
    assert kinds(store) == []
    happen(store, "Anchored", contract="AuditAnchor", **head | {"size": 2**53 - 1})
    assert kinds(store) == ["anchor.made"]


def test_events_that_concern_nobody_here_change_nothing(store: Store) -> None:
    happen(store, "JobStarted")
    happen(store, "Unknown")
    happen(store, "MemberAdmitted", contract="Membership", id=an_id(1))
    assert kinds(store) == []
