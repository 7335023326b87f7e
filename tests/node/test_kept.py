"""What a step kept for an interruption is gone with the step, whatever its end."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import update

from node import supervisor
from node.kept import forget_ended, sweep
from node.restarts import FolderKeeper
from node.site import Site
from node.steps import folder_of
from node.store import LocalJob, Task
from node.sync import Sync
from tests.node.two_sites import FAST_SCRYPT, new_id


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site.create(tmp_path / "site", name="bank", scrypt_cost=FAST_SCRYPT) as site:
        yield site


def a_job(site: Site, state: str, task: str, ended_at: float | None = None) -> Path:
    """A job whose training kept a tree; the folder where."""
    id = new_id("ee")
    with site.store.begin() as session:
        session.add(
            LocalJob(
                id=id, state=state, specification_digest="0x", proposer="0x", ended_at=ended_at
            )
        )
        session.flush()
        session.add(Task(id=id[-36:], job_id=id, step="train", position=0, state=task))
    kept = folder_of(site.settings.jobs, id, 1, "train") / "kept"
    FolderKeeper(kept).keep(0, b"a leaf for every row")
    return kept


def test_a_training_that_fails_leaves_nothing_for_which_it_could_go_on(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = a_job(site, "RUNNING", "READY")
    run = supervisor.Supervisor.run

    def dies(self: supervisor.Supervisor, command: list[str]) -> str:
        assert kept.exists()  # while it may be gone on with
        return run(self, [sys.executable, "-c", "raise SystemExit(3)"])

    monkeypatch.setattr(supervisor.Supervisor, "run", dies)
    task = kept.parents[2].name[-36:]
    assert supervisor.supervise(site.settings.home, task) == "FAILED"
    assert not kept.exists()


def test_what_a_crash_after_the_commit_left_is_gone_when_sync_starts(site: Site) -> None:
    done, at_work = a_job(site, "RUNNING", "SUCCEEDED"), a_job(site, "RUNNING", "RUNNING")
    Sync(site)._tasks()
    assert not done.exists()
    assert at_work.exists()


def test_the_end_of_a_job_takes_what_its_steps_kept(site: Site) -> None:
    sync = Sync(site)
    sync._tasks()
    kept, other = a_job(site, "RUNNING", "RUNNING"), a_job(site, "RUNNING", "RUNNING")
    sync._tasks()
    assert kept.exists()
    with site.store.begin() as session:
        mine = LocalJob.id == kept.parents[2].name
        session.execute(
            update(LocalJob).where(mine).values(state="CANCELLED", ended_at=time.time())
        )
    sync._tasks()
    assert not kept.exists()
    assert other.exists()


def test_only_what_ended_since_is_looked_for(site: Site) -> None:
    old, new = a_job(site, "FAILED", "FAILED", 100.0), a_job(site, "FAILED", "FAILED", 200.0)
    assert forget_ended(site.store, site.settings.jobs, 150.0) == 1
    assert (old.exists(), new.exists()) == (True, False)
    assert sweep(site.store, site.settings.jobs) == 1
