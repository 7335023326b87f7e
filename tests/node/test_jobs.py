"""Jobs: the contract's moves, one winner of every move, and what operators may ask for."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from chain.jobs import MOVES as CHAIN_MOVES
from chain.jobs import JobState
from node import jobs
from node.errors import NodeError
from node.lifecycle import (
    JOB_ENDS,
    JOB_MOVES,
    REFUSED,
    SUBMITTED,
    TASK_ENDS,
    TASK_MOVES,
    IllegalMove,
    move_job,
    move_task,
)
from node.specification import Specification
from node.store import AuditPending, Base, ChainTx, LocalJob, Store, Task
from tests.node import consortium
from tests.node.consortium import Consortium

INTERFACE = Path(__file__).resolve().parents[2] / "contracts" / "interfaces" / "IJobRegistry.sol"


# ── States and moves ─────────────────────────────────────────────────────────────────────────


def moves_of_the_interface() -> dict[str, frozenset[str]]:
    """`Proposed -> Approved | Rejected; …` as the interface's documentation says it."""
    text = re.sub(r"\s*///\s*", " ", INTERFACE.read_text())
    said = re.search(r"Allowed moves: (.*?)\. All others are refused", text)
    assert said is not None
    rules = [rule.split("->") for rule in said[1].split(";")]
    return {
        frm.strip().upper(): frozenset(to.strip().upper() for to in targets.split("|"))
        for frm, targets in rules
    }


def test_a_job_moves_as_the_interface_of_the_contract_says() -> None:
    ours = {state: moves for state, moves in JOB_MOVES.items() if moves}
    assert {**moves_of_the_interface(), SUBMITTED: frozenset({"PROPOSED", REFUSED})} == ours


def test_a_job_has_the_states_of_the_chain_and_two_before_them() -> None:
    theirs = {str(state): {str(to) for to in moves} for state, moves in CHAIN_MOVES.items()}
    theirs.pop(str(JobState.NONE))
    ours = {state: set(moves) for state, moves in JOB_MOVES.items()}
    assert ours.pop(SUBMITTED) == {"PROPOSED", REFUSED}
    assert ours.pop(REFUSED) == set()
    assert ours == theirs


def test_every_task_comes_to_an_end() -> None:
    assert {"SUCCEEDED", "FAILED", "STOPPED"} == TASK_ENDS
    reached, at = set(), {"WAITING"}
    while at:
        reached |= at
        at = {to for state in at for to in TASK_MOVES[state]} - reached
    assert reached == set(TASK_MOVES)


def an_empty_store(folder: Path) -> Store:
    store = Store(f"sqlite:///{folder}/node.db")
    Base.metadata.create_all(store.engine)
    return store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = an_empty_store(tmp_path)
    yield store
    store.dispose()


def a_task(store: Store, state: str = "READY") -> str:
    with store.begin() as session:
        session.add(
            LocalJob(id="0x01", state="RUNNING", specification_digest="0x02", proposer="0x03")
        )
        session.flush()
        session.add(Task(id="task", job_id="0x01", step="psi", position=0, state=state))
    return "task"


@given(st.sampled_from(sorted(TASK_MOVES)), st.sampled_from(sorted(TASK_MOVES)))
def test_a_move_that_the_table_lacks_is_a_mistake(frm: str, to: str) -> None:
    if to in TASK_MOVES[frm]:
        return
    store = Store("sqlite://")
    with store.begin() as session, pytest.raises(IllegalMove):
        move_task(session, "task", frm, to)
    store.dispose()


def test_a_finished_job_does_not_move(store: Store) -> None:
    for state in JOB_ENDS:
        with store.begin() as session, pytest.raises(IllegalMove):
            move_job(session, "0x01", state, "RUNNING")


def test_of_all_who_claim_a_task_one_gets_it(store: Store) -> None:
    task = a_task(store)
    start, won = threading.Barrier(8), []

    def claim(owner: str) -> None:
        start.wait()
        with store.begin() as session:
            if move_task(session, task, "READY", "RUNNING", lease_owner=owner):
                won.append(owner)

    claimers = [threading.Thread(target=claim, args=(f"worker-{n}",)) for n in range(8)]
    for claimer in claimers:
        claimer.start()
    for claimer in claimers:
        claimer.join()
    assert len(won) == 1
    with store.read() as session:
        assert session.get_one(Task, task).lease_owner == won[0]


def test_a_worker_cannot_settle_a_task_that_another_one_holds(store: Store) -> None:
    task = a_task(store)
    with store.begin() as session:
        assert move_task(session, task, "READY", "RUNNING", lease_owner="first")
    with store.begin() as session:
        assert not move_task(session, task, "RUNNING", "SUCCEEDED", owner="second")
        assert move_task(session, task, "RUNNING", "SUCCEEDED", owner="first")


# ── Use cases ────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    chain, deployment = consortium.found()
    world = consortium.assemble(chain, deployment, tmp_path_factory.mktemp("sites"))
    yield world
    world.close()


def entries(store: Store, kind: str, subject: str) -> int:
    """How many entries of a kind wait or stand in the log about a subject."""
    from node.store import AuditEntry

    wanted = f'"type":"fatechain.{kind}.v1"'.encode()
    with store.read() as session:
        rows = [
            *session.scalars(select(AuditPending.entry)),
            *session.scalars(select(AuditEntry.entry)),
        ]
    return sum(wanted in row and subject.encode() in row for row in rows)


def refusal(function: object, *arguments: object) -> NodeError:
    assert callable(function)
    with pytest.raises(NodeError) as raised:
        function(*arguments)
    return raised.value


def test_a_proposal_is_recorded_with_its_transaction_and_its_entry(world: Consortium) -> None:
    job = jobs.propose(world.bank, world.request())
    row = world.job("bank", job)
    assert (row.state, row.mine, row.kind) == ("SUBMITTED", True, "train")
    assert Specification.model_validate(row.specification).digest == row.specification_digest
    wanted = world.intent("bank", f"job:{job}:propose")
    assert wanted is not None
    assert wanted.state == "WAITING"
    assert entries(world.bank.store, "job.proposed", job) == 1
    world.settle()
    assert world.job("bank", job).state == "PROPOSED"
    assert world.job("shop", job).state == "PROPOSED"
    found = world.network.jobs.job(job)
    assert found.specification == row.specification_digest


def test_a_proposal_without_a_grant_is_refused_and_leaves_no_job(world: Consortium) -> None:
    before = job_count(world)
    assert refusal(jobs.propose, world.bank, world.request(grant=None)).code == "GrantMissing"
    assert job_count(world) == before


def job_count(world: Consortium) -> int:
    with world.bank.store.read() as session:
        return len(list(session.scalars(select(LocalJob.id))))


def test_a_refused_proposal_is_entered_in_the_log(world: Consortium) -> None:
    before = entries(world.bank.store, "request.refused", "")
    refusal(jobs.propose, world.bank, world.request(grant=None))
    assert entries(world.bank.store, "request.refused", "") == before + 1


@pytest.mark.parametrize(
    ("terms", "code"),
    [
        ({"purposes": ("prediction",)}, "GrantWrongPurpose"),
        ({"algorithms": ("0x" + "07" * 32,)}, "GrantWrongAlgorithm"),
        ({"from_version": 2, "to_version": 3}, "GrantWrongVersion"),
        ({"min_parties": 3}, "GrantTooFewParties"),
    ],
)
def test_a_grant_for_something_else_is_refused(
    world: Consortium, terms: dict[str, object], code: str
) -> None:
    grant = world.give_grant(**terms)
    assert refusal(jobs.propose, world.bank, world.request(grant=grant)).code == code


def test_a_revoked_grant_is_refused(world: Consortium) -> None:
    grant = world.give_grant()
    world.act("shop", world.network.consents.revoke(grant))
    assert refusal(jobs.propose, world.bank, world.request(grant=grant)).code == "GrantRevoked"


def test_a_suspended_member_proposes_nothing(world: Consortium) -> None:
    member = world.network.sites.member_of(world.bank.id)
    world.govern(world.network.membership.suspend(member))
    try:
        assert refusal(jobs.propose, world.bank, world.request()).code == "MemberNotActive"
    finally:
        world.govern(world.network.membership.reinstate(member))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"algorithm": "astrology"}, "InvalidRequest"),
        ({"params": {"no_such": 1}}, "InvalidRequest"),
        ({"scheme": "rot13"}, "SchemeNotAdmitted"),
        ({"kind": "predict", "model": "0x" + "05" * 32}, "ModelUnknown"),
        ({"kind": "predict"}, "ModelUnknown"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(
    world: Consortium, changes: dict[str, object], code: str
) -> None:
    assert refusal(jobs.propose, world.bank, world.request(**changes)).code == code


def test_only_the_guest_proposes(world: Consortium) -> None:
    assert refusal(jobs.propose, world.shop, world.request()).code == "WrongRole"


def test_the_label_is_that_of_the_guests_dataset_unless_said(world: Consortium) -> None:
    job = jobs.propose(world.bank, world.request())
    assert (world.job("bank", job).specification or {})["label"] == "y"


def test_an_approval_needs_the_specification(world: Consortium) -> None:
    job = jobs.propose(world.bank, world.request())
    world.settle()
    assert refusal(jobs.approve, world.shop, job).code == "SpecificationMissing"
    assert world.intent("shop", f"job:{job}:approve") is None
    assert entries(world.shop.store, "admission.decided", job) == 1


def test_an_approval_with_the_specification_reaches_the_chain(world: Consortium) -> None:
    job = world.propose()
    assert jobs.approve(world.shop, job).allowed
    assert jobs.approve(world.shop, job).allowed
    world.settle()
    assert world.job("bank", job).state == "APPROVED"
    with world.shop.store.read() as session:
        asked = session.scalars(select(ChainTx).where(ChainTx.intent.contains(job))).all()
    assert len(asked) == 1


def test_another_specification_is_not_approved(world: Consortium) -> None:
    job = world.propose()
    with world.shop.store.begin() as session:
        row = session.get_one(LocalJob, job)
        assert row.specification is not None
        row.specification = {**row.specification, "label": "z"}
    assert refusal(jobs.approve, world.shop, job).code == "SpecificationMismatch"


def test_a_rejected_job_is_over_for_all(world: Consortium) -> None:
    job = world.propose()
    jobs.reject(world.shop, job, "TooBroad")
    world.settle()
    for name in world.sites:
        row = world.job(name, job)
        assert (row.state, row.reason) == ("REJECTED", "TooBroad")


def test_a_cancelled_job_cannot_be_cancelled_again(world: Consortium) -> None:
    job = world.propose()
    jobs.cancel(world.bank, job, "Withdrawn")
    world.settle()
    assert world.job("shop", job).state == "CANCELLED"
    found = refusal(jobs.cancel, world.bank, job, "Withdrawn")
    assert (found.code, found.found) == ("Conflict", "CANCELLED")


def test_a_reason_must_fit_into_what_the_chain_keeps(world: Consortium) -> None:
    job = world.propose()
    for reason in ("", "x" * 32, "naïve", "two\nlines"):
        assert refusal(jobs.cancel, world.bank, job, reason).code == "InvalidRequest"


def test_a_job_that_nobody_knows_is_not_found(world: Consortium) -> None:
    assert refusal(jobs.cancel, world.bank, "0x" + "ee" * 32, "Withdrawn").code == "NotFound"


def test_a_job_that_asks_more_than_its_grant_answers_is_refused_at_once(world: Consortium) -> None:
    grant = world.give_grant(product_budget=5)
    found = refusal(jobs.propose, world.bank, world.request(grant=grant))
    assert (found.code, found.allowed) == ("ProductBudgetExceeded", 5)
