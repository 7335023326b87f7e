"""The supervisor of a site's processes, over small programs in their place."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from node.errors import Conflict
from node.files import make_private
from node.settings import Settings
from node.up import BROKER, Child, Supervisor, children, end_leftovers, living_pid, run

CONSORTIUM = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
SLEEPS = "import time; print('up', flush=True); time.sleep(600)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SLEEPS
PATIENCE = 20.0


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings.load(tmp_path / "home", name="bank", consortium=CONSORTIUM, port=18099)
    for folder in settings.folders:
        make_private(folder)
    (settings.secrets / "operator-token").write_text("token")
    settings.save()
    return settings


def program(name: str, code: str, *, follows_settings: bool = False) -> Child:
    return Child(name, (sys.executable, "-c", code), follows_settings)


@asynccontextmanager
async def supervised(
    settings: Settings, *programs: Child
) -> AsyncIterator[tuple[Supervisor, list[str]]]:
    said: list[str] = []
    supervisor = Supervisor(settings, programs, said.append)
    running = asyncio.create_task(supervisor.run())
    try:
        yield supervisor, said
    finally:
        supervisor.stopping.set()
        await asyncio.wait_for(running, PATIENCE)


async def until(happened: Callable[[], Any]) -> Any:
    """What `happened` gives as soon as it gives something."""
    async with asyncio.timeout(PATIENCE):
        while not (found := happened()):  # noqa: ASYNC110 - processes ring no bell
            await asyncio.sleep(0.02)
    return found


def lines(settings: Settings, name: str) -> list[dict[str, Any]]:
    path = settings.logs / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def texts(settings: Settings, name: str) -> list[str]:
    return [line.get("text", "") for line in lines(settings, name)]


def pid_of(settings: Settings, name: str) -> int | None:
    return living_pid(settings.run / f"{name}.pid")


async def test_children_are_started_and_ended_with_the_supervisor(settings: Settings) -> None:
    async with supervised(settings, program("one", SLEEPS), program("two", SLEEPS)):
        for name in ("one", "two"):
            await until(lambda name=name: "up" in texts(settings, name))
        pids = [pid_of(settings, name) for name in ("one", "two")]
    assert None not in pids
    assert not list(settings.run.glob("*.pid"))
    assert [living_state(pid) for pid in pids if pid] == [None, None]


async def test_a_child_that_ends_is_started_again_and_that_is_said(settings: Settings) -> None:
    async with supervised(settings, program("one", SLEEPS)) as (_, said):
        first = await until(lambda: pid_of(settings, "one"))
        os.kill(first, signal.SIGKILL)
        second = await until(lambda: (pid := pid_of(settings, "one")) != first and pid)
    assert second != first
    assert any("one ended with code -9" in text for text in said)


async def test_a_child_that_keeps_failing_is_given_longer_pauses(settings: Settings) -> None:
    async with supervised(settings, program("one", "raise SystemExit(3)")) as (_, said):
        told = await until(lambda: [text for text in said if "code 3" in text][1:])
    assert any("in 1 s" in text for text in said)
    assert "in 2 s" in told[0]


async def test_what_a_child_prints_becomes_json_lines(settings: Settings) -> None:
    code = (
        'print(\'plain\'); print(\'{"level":"warn","text":"made"}\'); print(\'{broken\'); ' + SLEEPS
    )
    async with supervised(settings, program("one", code)):
        await until(lambda: "up" in texts(settings, "one"))
    told = lines(settings, "one")
    assert {"plain", "made", "{broken"} <= set(texts(settings, "one"))
    assert all(line["process"] == "one" and line["time"].endswith("Z") for line in told)
    assert [line["level"] for line in told if line.get("text") == "made"] == ["warn"]


async def test_a_line_without_end_does_not_stop_the_log(settings: Settings) -> None:
    code = "import sys; sys.stdout.write('x' * 3_000_000 + '\\n'); " + SLEEPS
    async with supervised(settings, program("one", code)):
        await until(lambda: "up" in texts(settings, "one"))


async def test_new_settings_start_those_again_that_read_them(settings: Settings) -> None:
    programs = (program("one", SLEEPS, follows_settings=True), program("two", SLEEPS))
    async with supervised(settings, *programs) as (_, said):
        one = await until(lambda: pid_of(settings, "one"))
        two = await until(lambda: pid_of(settings, "two"))
        settings.change(site_id="0x" + "12" * 32)
        await until(lambda: pid_of(settings, "one") not in (one, None))
        assert pid_of(settings, "two") == two
    assert any("settings changed" in text for text in said)


async def test_a_child_that_ignores_the_request_is_killed_in_the_end(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.up.END_SECONDS", 0.3)  # time, not behaviour
    async with supervised(settings, program("one", STUBBORN)):
        await until(lambda: "up" in texts(settings, "one"))
        pid = pid_of(settings, "one")
    assert pid is not None
    assert living_state(pid) is None


async def test_what_a_child_started_ends_with_it(settings: Settings) -> None:
    code = (
        "import subprocess, sys; "
        f"p = subprocess.Popen([sys.executable, '-c', {SLEEPS!r}]); "
        "print('child', p.pid, flush=True); "
        "import time; time.sleep(600)"
    )
    async with supervised(settings, program("one", code)):
        said = await until(lambda: [t for t in texts(settings, "one") if t.startswith("child")])
        grandchild = int(said[0].split()[1])
    await until(lambda: living_state(grandchild) in (None, "Z"))


def living_state(pid: int) -> str | None:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return None


async def test_unreadiness_within_the_time_is_code_one(settings: Settings) -> None:
    said: list[str] = []
    supervisor = Supervisor(settings, (program("one", SLEEPS),), said.append, ready_within=0.1)
    assert await asyncio.wait_for(supervisor.run(), PATIENCE) == 1
    assert any("not ready" in text for text in said)


# ── After a supervisor was killed ────────────────────────────────────────────────────────────


@pytest.fixture
def orphan() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-c", SLEEPS], start_new_session=True, stdout=subprocess.DEVNULL
    )
    yield process
    process.kill()
    process.wait()


def started_at(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]


def test_what_a_killed_supervisor_left_is_ended(
    settings: Settings, orphan: subprocess.Popen[bytes]
) -> None:
    file = settings.run / "worker.pid"
    file.write_text(f"{orphan.pid} {started_at(orphan.pid)}\n")
    (settings.run / "valkey.sock").touch()
    assert end_leftovers(settings.run) == ["worker"]
    assert orphan.wait(PATIENCE) == -signal.SIGTERM
    assert not list(settings.run.iterdir())


@pytest.mark.parametrize("content", ["{pid} 1\n", "{pid}\n", "", "x y\n", "999999999 5\n"])
def test_a_process_that_only_has_the_same_number_is_left_alone(
    settings: Settings, orphan: subprocess.Popen[bytes], content: str
) -> None:
    file = settings.run / "worker.pid"
    file.write_text(content.format(pid=orphan.pid))
    assert end_leftovers(settings.run) == []
    assert orphan.poll() is None
    assert not file.exists()


def test_a_site_runs_once(settings: Settings) -> None:
    import fcntl

    with (settings.run / "up.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(Conflict) as refusal:
            run(settings.home)
    assert refusal.value.code == "AlreadyRunning"


# ── What a site runs ─────────────────────────────────────────────────────────────────────────


def test_a_site_runs_broker_api_worker_and_sync(settings: Settings) -> None:
    short = settings.model_copy(update={"redis_url": "unix:///tmp/none/x.sock"})
    assert [child.name for child in children(short)] == [BROKER, "api", "worker", "sync"]


def test_a_broker_elsewhere_is_not_started_here(settings: Settings) -> None:
    elsewhere = settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    assert [child.name for child in children(elsewhere)] == ["api", "worker", "sync"]
