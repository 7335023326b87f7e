"""A task is run by one supervisor, and ends whatever becomes of its child or of itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from node.doorbell import Broker
from node.errors import Unavailable
from node.leases import sweep_tasks
from node.lifecycle import MAX_RESTARTS, move_task
from node.settings import Settings
from node.store import AuditPending, LocalJob, Store, Task
from node.supervisor import Claim, Supervisor, claim, end_group
from node.worker import CONVERSATIONS, make_app, ring
from tests.node.test_jobs import an_empty_store

JOB, TASK = "0x" + "0a" * 32, "task-1"
SLEEP = "import sys, threading; print('up', flush=True); threading.Event().wait()"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = an_empty_store(tmp_path)
    store.name_source("0x" + "01" * 32)
    with store.begin() as session:
        session.add(LocalJob(id=JOB, state="RUNNING", specification_digest="0x02", proposer="0x03"))
        session.flush()
        session.add(Task(id=TASK, job_id=JOB, step="psi", position=0, state="READY"))
    yield store
    store.dispose()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.load(tmp_path, lease_seconds=15.0)


def task(store: Store) -> Task:
    with store.read() as session:
        return session.get_one(Task, TASK)


def kinds(store: Store) -> list[str]:
    with store.read() as session:
        entries = list(session.scalars(select(AuditPending.entry).order_by(AuditPending.id)))
    return [entry.split(b'"type":"fatechain.')[1].split(b".v1")[0].decode() for entry in entries]


def supervisor(store: Store, settings: Settings, **options: object) -> Supervisor:
    claimed = claim(store, TASK, settings)
    assert claimed is not None
    return Supervisor(store, claimed, settings.lease_seconds, **options)  # type: ignore[arg-type]


def child(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_of_eight_workers_one_claims_a_task(store: Store, settings: Settings) -> None:
    start, claims = threading.Barrier(8), []

    def work() -> None:
        start.wait()
        if (found := claim(store, TASK, settings)) is not None:
            claims.append(found)

    workers = [threading.Thread(target=work) for _ in range(8)]
    for one in workers:
        one.start()
    for one in workers:
        one.join()
    assert len(claims) == 1
    assert task(store).lease_owner == claims[0].owner
    assert kinds(store) == ["task.started"]


def test_a_task_that_is_not_ready_is_not_to_be_had(store: Store, settings: Settings) -> None:
    assert claim(store, TASK, settings) is not None
    assert claim(store, TASK, settings) is None


def test_a_child_that_settles_its_row_is_left_alone(store: Store, settings: Settings) -> None:
    run = supervisor(store, settings)
    code = (
        "import os, sqlite3, sys\n"
        f"db = sqlite3.connect({str(store.url.removeprefix('sqlite:///'))!r})\n"
        "db.execute(\"UPDATE task SET state='SUCCEEDED' WHERE lease_owner=?\", "
        "(os.environ['FATECHAIN_LEASE_OWNER'],))\n"
        "db.commit(); db.close()\n"
    )
    assert run.run(child(code)) == "SUCCEEDED"
    assert kinds(store) == ["task.started"]


@pytest.mark.parametrize(
    ("code", "how"),
    [
        ("raise SystemExit(3)", "status 3"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "signal 9"),
    ],
)
def test_a_child_that_dies_without_a_word_is_a_lost_worker(
    store: Store, settings: Settings, code: str, how: str
) -> None:
    assert supervisor(store, settings).run(child(code)) == "FAILED"
    error = task(store).error
    assert error is not None
    assert error["code"] == "WorkerLost"
    assert how in error["detail"]
    assert kinds(store) == ["task.started", "task.failed"]


class StoppingClock:
    """A monotonic clock at which something happens at the first look."""

    def __init__(self, then: object) -> None:
        self.then, self.looks = then, 0

    def __call__(self) -> float:
        self.looks += 1
        if self.looks == 2 and callable(self.then):
            self.then()
        return float(self.looks)


def test_a_task_that_is_told_to_stop_is_ended_with_all_it_started(
    store: Store, settings: Settings, tmp_path: Path
) -> None:
    def stop() -> None:
        with store.begin() as session:
            error = {"code": "GrantRevoked", "detail": "the owner withdrew its consent"}
            assert move_task(session, TASK, "RUNNING", "STOPPING", error=error)

    grandchild = tmp_path / "grandchild"
    code = (
        "import subprocess, sys, threading, signal\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"p = subprocess.Popen([sys.executable, '-c', {SLEEP!r}])\n"
        f"open({str(grandchild)!r}, 'w').write(str(p.pid))\n"
        "threading.Event().wait()\n"
    )
    run = supervisor(store, settings, clock=StoppingClock(lambda: (_until(grandchild), stop())))
    assert run.run(child(code)) == "STOPPED"
    assert kinds(store) == ["task.started", "task.stopped"]
    assert is_gone(int(grandchild.read_text()))
    assert task(store).error == {
        "code": "GrantRevoked",
        "detail": "the owner withdrew its consent",
    }


def _until(path: Path) -> None:
    waiting = threading.Event()
    while not (path.exists() and path.read_text()):
        waiting.wait(0.01)


def is_gone(pid: int) -> bool:
    """Whether a process ended; one that nobody waited for yet has ended, too."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True
    return status.rpartition(")")[2].split()[0] == "Z"


def test_a_step_that_takes_too_long_fails_by_name(store: Store, settings: Settings) -> None:
    late = iter([0.0, 1e9])
    run = supervisor(store, settings, clock=lambda: next(late))
    assert run.run(child(SLEEP)) == "FAILED"
    error = task(store).error
    assert error is not None
    assert error["code"] == "StepTimeout"


def test_a_lease_is_renewed_while_the_child_works(store: Store, settings: Settings) -> None:
    before = task(store).lease_until

    def stop() -> None:
        with store.begin() as session:
            move_task(session, TASK, "RUNNING", "STOPPING")

    times = iter([0.0, 6.0, 7.0, 8.0, 9.0])
    looks = 0

    def clock() -> float:
        nonlocal looks
        looks += 1
        if looks == 3:
            stop()
        return next(times)

    run = supervisor(store, settings, clock=clock, wall=lambda: 5000.0)
    run.run(child(SLEEP))
    assert before is None
    assert task(store).lease_until == 5000.0 + settings.lease_seconds


def test_a_supervisor_that_lost_its_lease_ends_its_child(store: Store, settings: Settings) -> None:
    def steal() -> None:
        with store.begin() as session:
            session.get_one(Task, TASK).lease_owner = "somebody else"

    run = supervisor(store, settings, clock=StoppingClock(steal))
    assert run.run(child(SLEEP)) == "LOST"
    assert task(store).state == "RUNNING"
    assert kinds(store) == ["task.started"]


def test_a_conversation_does_not_outlive_its_supervisor() -> None:
    code = (
        "import threading\n"
        "from node.conversation import _die_with_supervisor\n"
        "threading.Thread(target=_die_with_supervisor, daemon=True).start()\n"
        "print('up', flush=True)\n"
        "threading.Event().wait()\n"
    )
    process = subprocess.Popen(child(code), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == b"up\n"
    process.stdin.close()  # what the kernel does when a supervisor is killed
    assert process.wait(timeout=30) == 70
    process.stdout.close()


def test_ending_a_group_twice_is_ending_it_once() -> None:
    process = subprocess.Popen(child(SLEEP), stdin=subprocess.PIPE, start_new_session=True)
    end_group(process)
    end_group(process)
    assert process.returncode in (-signal.SIGTERM, -signal.SIGKILL)


# ── Leases that run out ──────────────────────────────────────────────────────────────────────


def test_a_task_whose_lease_ran_out_is_a_lost_worker(store: Store, settings: Settings) -> None:
    claim(store, TASK, settings)
    until = task(store).lease_until
    assert until is not None
    assert sweep_tasks(store, until - 1) == 0
    assert sweep_tasks(store, until + 1) == 1
    found = task(store)
    assert found.state == "FAILED"
    assert (found.error or {})["code"] == "WorkerLost"
    assert kinds(store) == ["task.started", "task.failed"]


def test_a_stopping_task_whose_worker_is_gone_is_stopped(store: Store, settings: Settings) -> None:
    claim(store, TASK, settings)
    until = task(store).lease_until
    assert until is not None
    with store.begin() as session:
        move_task(session, TASK, "RUNNING", "STOPPING", error={"code": "X", "detail": "y"})
    assert sweep_tasks(store, until + 1) == 1
    assert task(store).state == "STOPPED"


# ── The bell ─────────────────────────────────────────────────────────────────────────────────


def test_a_broker_that_is_away_is_told_by_name(tmp_path: Path) -> None:
    app = make_app(Settings.load(tmp_path, redis_url=f"unix://{tmp_path}/none.sock"))
    with pytest.raises(Unavailable) as away:
        ring(app, TASK)
    assert away.value.code == "BrokerUnavailable"


def test_a_bell_reaches_the_queue_of_conversations(tmp_path: Path, broker: Broker) -> None:
    from redis import Redis

    app = make_app(Settings.load(tmp_path, redis_url=broker.redis_url))
    with Redis.from_url(broker.redis_url) as redis:
        redis.delete(CONVERSATIONS)
        ring(app, TASK)
        assert redis.llen(CONVERSATIONS) == 1
        redis.delete(CONVERSATIONS)
    app.close()


def test_the_worker_process_loads_neither_numpy_nor_web3() -> None:
    code = (
        "import sys, node.worker, node.supervisor\n"
        "print([m for m in ('numpy', 'web3', 'sklearn', 'ml', 'numba') if m in sys.modules])"
    )
    found = subprocess.run(child(code), capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_a_claim_takes_the_time_limit_that_was_agreed(store: Store, settings: Settings) -> None:
    with store.begin() as session:
        session.get_one(LocalJob, JOB).specification = {"timeouts": {"step": 77}}
    found = claim(store, TASK, settings)
    assert isinstance(found, Claim)
    assert found.step_timeout == 77.0
    assert str(os.getpid()) in found.owner


def test_a_conversation_of_a_training_that_dies_is_started_again(
    store: Store, settings: Settings, tmp_path: Path
) -> None:
    """The third settles its row; a conversation that dies for ever is a lost worker."""
    with store.begin() as session:
        session.get_one(Task, TASK).step = "train"
    lives = tmp_path / "lives"
    code = (
        "import os, pathlib, sqlite3\n"
        f"lives = pathlib.Path({str(lives)!r})\n"
        "seen = len(lives.read_text()) if lives.exists() else 0\n"
        "lives.write_text('x' * (seen + 1))\n"
        "if seen < 2: os.kill(os.getpid(), 9)\n"
        f"db = sqlite3.connect({str(store.url.removeprefix('sqlite:///'))!r})\n"
        "db.execute(\"UPDATE task SET state='SUCCEEDED' WHERE lease_owner=?\", "
        "(os.environ['FATECHAIN_LEASE_OWNER'],))\n"
        "db.commit(); db.close()\n"
    )
    assert supervisor(store, settings).run(child(code)) == "SUCCEEDED"
    assert lives.read_text() == "xxx"
    assert kinds(store) == ["task.started"]


def test_a_training_that_always_dies_is_a_lost_worker(
    store: Store, settings: Settings, tmp_path: Path
) -> None:
    with store.begin() as session:
        session.get_one(Task, TASK).step = "train"
    lives = tmp_path / "lives"
    code = f"open({str(lives)!r}, 'a').write('x'); raise SystemExit(3)"
    assert supervisor(store, settings).run(child(code)) == "FAILED"
    assert lives.read_text() == "x" * (1 + MAX_RESTARTS)
    assert (task(store).error or {})["code"] == "WorkerLost"
