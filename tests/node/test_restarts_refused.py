"""What a partner that asks a step to begin again gets, and what it does not."""

from __future__ import annotations

import inspect
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import select

from chain.reconciliation import DECLARATIONS
from ml import wire
from ml.federation import Address
from node import conversation, steps
from node.errors import Conflict, NodeError, Refused
from node.lifecycle import MAX_RESTARTS, RESTARTED
from node.mailbox import MailboxTransport
from node.restarts import NUMBERS, Restart, RunTransport, run_to_end
from node.site import Site
from node.store import AuditPending, InMessage, OutMessage, Task
from tests.node.test_restarts import Killed
from tests.node.two_sites import Pair, address

PARTIES = 2


def transport(pair: Pair, site: Site, job: str, step: str = "train") -> RunTransport:
    parties = (pair.guest_party, pair.host_party)
    me = parties[0] if site is pair.guest else parties[1]
    return RunTransport(site, job, step, 1, me, parties, message_seconds=20.0)


async def ask(pair: Pair, job: str, run: int, step: str = "train") -> None:
    """The guest asks the host to begin the step again as ``run``."""
    guest = transport(pair, pair.guest, job, step)
    said = Address(pair.guest_party, pair.host_party, Restart.kind, run)
    try:
        await MailboxTransport.put(guest, said, wire.dumps(Restart()))
    finally:
        await guest.aclose()


def plant(pair: Pair, job: str, step: str, run: int) -> None:
    """A notice in the host's mailbox, as if it had been taken."""
    with pair.host.store.begin() as session:
        told = address(pair, job, run, step=step, kind=Restart.kind).to_json()
        told["job_id"] = told.pop("job")
        session.add(InMessage(**told, digest="0x", size=0, path="gone", signature="", receipt={}))


@pytest.mark.parametrize("step", ["psi", "count", "predict", "evaluate", "result"])
async def test_a_partner_cannot_make_a_step_answer_again(
    pair: Pair, tmp_path: Path, step: str
) -> None:
    job = pair.start_job((step,))
    with pytest.raises(Conflict, match="MessageUnexpected"):
        await ask(pair, job, 1, step)
    plant(pair, job, step, 1)  # a notice that came in by another way is followed no more
    host = transport(pair, pair.host, job, step)
    assert await host.begin(tmp_path / "run") == 0
    host._look(None)  # raises Restarted where a notice counts


async def test_a_training_begins_again_so_often_and_no_number_is_left_out(pair: Pair) -> None:
    job = pair.start_job()
    for jump in (0, 2, 127):
        with pytest.raises(Conflict, match="MessageUnexpected"):
            await ask(pair, job, jump)
    for run in range(1, MAX_RESTARTS * PARTIES + 1):
        await ask(pair, job, run)
    with pytest.raises(Conflict, match="MessageUnexpected"):
        await ask(pair, job, MAX_RESTARTS * PARTIES + 1)


async def test_who_begins_again_tells_of_every_run_that_a_partner_may_not_know(
    pair: Pair, tmp_path: Path
) -> None:
    job = pair.start_job()
    (tmp_path / "run").write_text("2")  # of which the host was never told
    guest = transport(pair, pair.guest, job)
    assert await guest.begin(tmp_path / "run") == 3
    await guest.aclose()
    assert transport(pair, pair.host, job)._newest() == 3


async def test_a_partner_is_followed_only_where_the_step_may_still_run(
    pair: Pair, tmp_path: Path
) -> None:
    job, runs = pair.start_job(), []

    async def program(host: RunTransport, run: int) -> None:
        runs.append(run)
        await ask(pair, job, run + 1)
        host._look(None)

    async def admit() -> None:
        if runs == [0, 1]:
            raise Refused("GrantRevoked", "the owner withdrew its consent")

    with pytest.raises(NodeError, match="GrantRevoked"):
        await run_to_end(lambda: transport(pair, pair.host, job), tmp_path / "r", program, admit)
    assert runs == [0, 1]


async def test_every_run_is_entered_with_the_site_that_was_interrupted(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = pair.start_job()
    await ask(pair, job, 1)

    async def train(step: steps.Step) -> steps.Output:
        return steps.Output({})

    monkeypatch.setattr(steps, "PROGRAMS", {"train": train})
    parties = [
        SimpleNamespace(role=party.role, site=party.site)
        for party in (pair.guest_party, pair.host_party)
    ]
    timeouts = SimpleNamespace(step=60, message=20)
    agreed: Any = SimpleNamespace(parties=parties, timeouts=timeouts)
    with pair.host.store.begin() as session:
        [task] = session.scalars(select(Task).where(Task.job_id == job))
        task.lease_owner = "me"
    assert await conversation._converse(pair.host, task, agreed, "me")
    with pair.host.store.read() as session:
        entries = list(session.scalars(select(AuditPending.entry)))
    [entry] = [e for e in entries if b"fatechain.task.restarted.v1" in e and job.encode() in e]
    assert entry


async def test_what_was_on_its_way_at_a_death_is_in_both_logs_after_it(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = pair.start_job()
    said = Address(pair.guest_party, pair.host_party, "tests.Said", 0)

    def dies(*_: object) -> None:
        raise Killed

    first = transport(pair, pair.guest, job)
    await first.begin(tmp_path / "run")
    with monkeypatch.context() as patched:
        patched.setattr(first, "_enter_sent", dies)  # the host has it, and signed for it
        with pytest.raises(Killed):
            await first.put(said, b"hello")
    await first.aclose()
    second = transport(pair, pair.guest, job)
    assert await second.begin(tmp_path / "run") == 1
    await second.put(said, b"again")
    await second.aclose()
    with pair.guest.store.read() as session:
        sent = session.scalars(
            select(OutMessage.n).where(OutMessage.job_id == job, OutMessage.kind == said.kind)
        ).all()
    assert sorted(sent) == [0, NUMBERS]
    assert not list((tmp_path / "kept" / "unsent").iterdir())


async def test_declarations_have_the_numbers_that_the_chain_gives_them(
    pair: Pair, tmp_path: Path
) -> None:
    """Reconciliation looks for them there: a partner's notice does not make us guilty."""
    job = pair.start_job(("psi",))
    plant(pair, job, "psi", 1)
    host = transport(pair, pair.host, job, "psi")
    await host.begin(tmp_path / "run")
    for kind in DECLARATIONS:
        assert host._wire(Address(pair.host_party, pair.guest_party, kind, 0)).n == 0


def test_no_step_that_begins_again_declares_anything() -> None:
    declaring = {
        name for name, program in steps.PROGRAMS.items() if "declare(" in inspect.getsource(program)
    }
    assert declaring == {"psi", "count", "result"}
    assert not declaring & RESTARTED
