"""What breaks in the middle: processes, partners, the chain, the broker, consent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from node.demo.stage import Institution
from node.demo.story import Story
from node.errors import NodeError

pytestmark = pytest.mark.system

# Long enough to be interrupted, which trees over lattice products are not.
LONG = {"n_estimators": 60, "max_depth": 3, "learning_rate": 0.1, "scheme": "paillier"}


def processes(home: Path, *words: str) -> list[int]:
    """Pids of the processes of a home whose command line holds all words."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            environment = (entry / "environ").read_bytes().decode(errors="replace")
        except (OSError, UnicodeDecodeError):
            continue
        ours = entry.name.isdigit() and str(home) in command + environment
        if ours and all(word in command for word in words):
            found.append(int(entry.name))
    return found


def running(story: Story, job_id: str, site: Institution, step: str = "train") -> None:
    """Wait until the step of the job runs at the site, and has got somewhere."""

    def has_begun() -> bool:
        tasks = {task["step"]: task for task in site.api.get(f"/v1/jobs/{job_id}")["tasks"]}
        return step in tasks and tasks[step]["state"] == "RUNNING" and tasks[step]["done"] > 0

    story.stage.until(f"{step} runs at {site.name}", has_begun)


@contextmanager
def paused(pids: list[int]) -> Iterator[None]:
    """Processes that live and do nothing."""
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):  # its supervisor ended it meanwhile
                os.kill(pid, signal.SIGCONT)


def ended_at(story: Story, job_id: str, site: Institution) -> dict[str, Any]:
    """The job as this site shows it when it has ended there, too."""

    def ended() -> dict[str, Any] | None:
        job: dict[str, Any] = site.api.get(f"/v1/jobs/{job_id}")
        return job if job["state"] in ("FAILED", "CANCELLED", "EXPIRED", "SUCCEEDED") else None

    found: dict[str, Any] = story.stage.until(f"the job ends at {site.name}", ended)
    return found


def stop_receipts(site: Institution, job_id: str) -> list[dict[str, Any]]:
    """The entries in which a site acknowledges that its part of the job was stopped."""
    kind = "fatechain.job.stopped.v1"
    return list(site.api.items("/v1/audit/entries", type=kind, subject=job_id))


def test_a_worker_killed_in_the_middle_fails_the_job_at_all_parties(story: Story) -> None:
    bank, retailer = story.institution("bank"), story.institution("retailer")
    job_id = story.agree(params=LONG)
    running(story, job_id, retailer)
    for pid in processes(retailer.home, "node.worker") + processes(retailer.home, "conversation"):
        os.kill(pid, signal.SIGKILL)
    for site in (bank, retailer):
        job = ended_at(story, job_id, site)
        assert job["state"] == "FAILED"
        assert "WorkerLost" in job["reason"]
    assert not processes(bank.home, "conversation"), "the bank's part was stopped, too"


def test_revocation_stops_the_running_task(story: Story) -> None:
    bank, retailer = story.institution("bank"), story.institution("retailer")
    kept = story.grant
    try:
        story.give_grant(uses=1, product_budget=1_000_000)
        revoked = story.grant
        job_id = story.agree(params=LONG)
    finally:
        story.grant = kept
    running(story, job_id, bank)
    retailer.api.post(f"/v1/grants/{revoked}/revoke", wait=60)
    for site in (bank, retailer):
        job = ended_at(story, job_id, site)
        assert job["state"] in ("FAILED", "CANCELLED")
        assert "GrantRevoked" in job["reason"]
        # The job's end is read off the chain; the receipt follows when the process has ended.
        story.stage.until(
            f"{site.name} acknowledges the stop in its log", partial(stop_receipts, site, job_id)
        )


def test_a_partner_that_never_answers_is_named(story: Story) -> None:
    bank, retailer = story.institution("bank"), story.institution("retailer")
    story.stage.stop("bank")
    story.stage.start("bank", environment={"FATECHAIN_MESSAGE_TIMEOUT_SECONDS": "25"})
    job_id = story.agree(params=LONG)
    running(story, job_id, bank)
    with paused(processes(retailer.home, "conversation")):
        job = ended_at(story, job_id, bank)
    assert job["state"] == "FAILED"
    assert "PartnerSilent" in job["reason"]
    assert retailer.site in job["reason"] or "Corner Retail" in job["reason"]
    ended_at(story, job_id, retailer)


def test_while_the_chain_is_silent_new_work_is_refused_and_afterwards_goes_on(
    story: Story,
) -> None:
    bank = story.institution("bank")
    chain = processes(story.stage.root, "anvil") or processes(story.stage.root, "ganache")
    with paused(chain), pytest.raises(NodeError) as refusal:
        bank.api.post("/v1/jobs", story.request())
    assert refusal.value.code in ("ChainUnavailable", "ChainStale")
    job = story.await_end(story.agree())
    assert job["state"] == "SUCCEEDED", job["reason"]


def test_a_broker_that_dies_loses_no_work(story: Story) -> None:
    bank = story.institution("bank")
    job_id = story.agree()
    for pid in processes(bank.home, "valkey-server"):
        os.kill(pid, signal.SIGKILL)
    job = story.await_end(job_id)
    assert job["state"] == "SUCCEEDED", job["reason"]


def test_sync_killed_in_the_middle_loses_and_doubles_nothing(story: Story) -> None:
    bank = story.institution("bank")
    job_id = story.agree()
    for pid in processes(bank.home, "node.sync"):
        os.kill(pid, signal.SIGKILL)
    job = story.await_end(job_id)
    assert job["state"] == "SUCCEEDED", job["reason"]
    intents = [tx["intent"] for tx in bank.api.items("/v1/transactions")]
    assert len(intents) == len(set(intents))


def test_two_api_processes_and_the_worker_write_at_once(story: Story) -> None:
    from node.client import Client
    from node.demo.stage import free_ports

    bank = story.institution("bank")
    [port] = free_ports(1)
    second = subprocess.Popen(
        [sys.executable, "-P", "-m", "node.api", "--home", str(bank.home)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"FATECHAIN_PORT": str(port)},
    )
    other = Client(f"http://127.0.0.1:{port}", bank.token, timeout_seconds=60)
    try:
        story.stage.until("the second API answers", lambda: _answers(other))
        job_id = story.agree()
        problems: list[Exception] = []

        def propose_and_cancel(client: Client) -> None:
            try:
                for _ in range(3):
                    made = client.post("/v1/jobs", story.request(), wait=60)["id"]
                    client.post(f"/v1/jobs/{made}/cancel", {"reason": "Enough"}, wait=60)
            except NodeError as error:
                problems.append(error)

        threads = [
            threading.Thread(target=propose_and_cancel, args=(client,))
            for client in (bank.api, other)
        ]
        _join(threads)
        assert problems == []
        job = story.await_end(job_id)
        assert job["state"] == "SUCCEEDED", job["reason"]
    finally:
        other.close()
        second.terminate()
        second.wait(20)


def test_a_node_that_was_killed_comes_back_with_what_it_had(story: Story) -> None:
    bank = story.institution("bank")
    before = bank.api.get("/v1/audit/checkpoint")
    jobs = [job["id"] for job in bank.api.items("/v1/jobs")]
    for pid in processes(bank.home):
        os.kill(pid, signal.SIGKILL)
    story.stage.actors.pop("bank").process.wait(20)
    story.stage.start("bank")
    assert [job["id"] for job in bank.api.items("/v1/jobs")] == jobs
    assert bank.api.get("/v1/audit/checkpoint")["size"] >= before["size"]
    job = story.await_end(story.agree())
    assert job["state"] == "SUCCEEDED", job["reason"]


def _answers(client: Any) -> bool:
    try:
        client.get("/v1/health")
    except NodeError:
        return False
    return True


def _join(threads: list[threading.Thread]) -> None:
    start: Callable[[threading.Thread], None] = threading.Thread.start
    for thread in threads:
        start(thread)
    for thread in threads:
        thread.join()
