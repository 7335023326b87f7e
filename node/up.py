"""``fatechain up``: a site's processes, started, watched and ended together.

    broker   an embedded Valkey, where `redis_url` names a unix socket at which nobody answers
    api      uvicorn with the operator's interface, the other sites' and the explorer
    worker   Celery, prefork; starts conversations
    sync     the one writer: transactions, events, the log's order

A child that ends is started again, after a pause that doubles from one second to thirty and begins
anew when the child has lived for a minute.  What children print becomes JSON lines in ``logs/``.
``run/NAME.pid`` names each child by process id and start time; a supervisor that finds such files
of a predecessor that was killed ends what is left of it first.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from node.doorbell import Broker, Doorbell
from node.errors import Conflict, NodeError, Unavailable
from node.files import make_private
from node.settings import FILE_NAME, Settings

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
SETTLED_SECONDS = 60.0  # a child that lived this long had no trouble starting
END_SECONDS = 12.0  # from SIGTERM to SIGKILL
LEFTOVER_SECONDS = 5.0  # the same for what a killed supervisor left: its tasks are lost anyhow
LOOK_SECONDS = 0.5
MAX_LOG_BYTES = 32 << 20
MAX_LINE_BYTES = 1 << 20

BROKER = "broker"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Child:
    """A process of the site.  `follows_settings`: it is started again when the settings change."""

    name: str
    command: tuple[str, ...]
    follows_settings: bool = False


def children(settings: Settings) -> tuple[Child, ...]:
    """What a site runs, in the order of starting."""
    home = str(settings.home)

    def module(name: str) -> tuple[str, ...]:
        return (sys.executable, "-m", name, "--home", home)

    needed = _needs_broker(settings.redis_url)
    broker = (Child(BROKER, tuple(Broker(settings.redis_url).command())),) if needed else ()
    return (
        *broker,
        Child("api", module("node.api")),
        Child("worker", module("node.worker"), follows_settings=True),
        Child("sync", module("node.sync"), follows_settings=True),
    )


def run(home: Path, *, ready_within: float | None = None, say: Say = print) -> int:
    """Run the site in `home` until SIGTERM or SIGINT; the exit code.

    1 where it was not ready in time.

    Raises `Conflict` (``AlreadyRunning``, ``NotConfigured``) and what the settings raise.
    """
    settings = Settings.load(home)
    if settings.consortium is None:
        raise Conflict(
            "NotConfigured",
            "the home names no consortium",
            hint="set consortium, chain_id and from_block in fatechain.toml, or use "
            "`fatechain init --network network.json`",
        )
    for folder in settings.folders:
        make_private(folder)
    with _only_one(settings):
        end_leftovers(settings.run)
        _migrate(settings)
        return asyncio.run(Supervisor(settings, children(settings), say, ready_within).run())


def end_leftovers(folder: Path) -> list[str]:
    """End the children of a supervisor that was killed; their names."""
    files = sorted(folder.glob("*.pid"))
    left = {file.stem: pid for file in files if (pid := living_pid(file)) is not None}
    # The broker last: the others speak to it while they end.
    _end_groups([pid for name, pid in left.items() if name != BROKER])
    _end_groups([pid for name, pid in left.items() if name == BROKER])
    for file in files:
        file.unlink(missing_ok=True)
    (folder / "valkey.sock").unlink(missing_ok=True)
    return list(left)


def living_pid(file: Path) -> int | None:
    """The process that a pid file names, if it is still the same one: ids are used again."""
    try:
        number, started = file.read_text(encoding="ascii").split()
        pid = int(number)
    except (OSError, ValueError):
        return None
    return pid if _start_time(pid) == started else None


@contextlib.contextmanager
def _only_one(settings: Settings) -> Iterator[None]:
    """Holds the lock of the home; it ends with the process however that ends."""
    with (settings.run / "up.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(
                "AlreadyRunning",
                f"the site in {settings.home} is running",
                hint="stop the other `fatechain up` first",
            ) from None
        yield


def _needs_broker(redis_url: str) -> bool:
    if not redis_url.startswith("unix://"):
        return False
    bell = Doorbell(redis_url)
    try:
        bell.check()
    except Unavailable:
        return True
    finally:
        bell.close()
    return False


def _migrate(settings: Settings) -> None:
    """Bring the database up to date once, before three processes ask for it."""
    from node.migrations import migrate
    from node.store import Store

    store = Store(settings.database_url)
    try:
        migrate(store)
    finally:
        store.dispose()


class Supervisor:
    """Keeps the children of one site; `run` returns when all have ended."""

    def __init__(
        self,
        settings: Settings,
        children: Sequence[Child],
        say: Say = print,
        ready_within: float | None = None,
    ) -> None:
        self.settings = settings
        self.children = children
        self.say = say
        self.ready_within = ready_within
        self.stopping = asyncio.Event()
        self.broker_stopping = asyncio.Event()
        self.changed: dict[str, asyncio.Event] = {}
        self.code = 0

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopping.set)
        brokers, others = [], []
        for child in self.children:
            self.changed[child.name] = asyncio.Event()
            if child.name == BROKER:
                brokers.append(asyncio.create_task(self._keep(child, self.broker_stopping)))
                await asyncio.to_thread(Broker(self.settings.redis_url).wait_ready)
            else:
                others.append(asyncio.create_task(self._keep(child, self.stopping)))
        watchers = [
            asyncio.create_task(self._watch_settings()),
            asyncio.create_task(self._watch_ready(time.monotonic())),
        ]
        await self.stopping.wait()
        self.say("stopping …")
        for watcher in watchers:
            watcher.cancel()
        await asyncio.gather(*watchers, return_exceptions=True)
        await asyncio.gather(*others)
        self.broker_stopping.set()  # the others spoke to it while they ended
        await asyncio.gather(*brokers)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        self.say("stopped")
        return self.code

    async def _keep(self, child: Child, stop: asyncio.Event) -> None:
        """Start `child` again and again until `stop`."""
        pause = FIRST_PAUSE_SECONDS
        changed = self.changed[child.name]
        with _LogFile(self.settings.logs / f"{child.name}.jsonl", child.name) as log:
            while not stop.is_set():
                born = time.monotonic()
                process = await self._start(child)
                log.note(f"started with process id {process.pid}")
                pump = asyncio.create_task(_pump(process, log))
                await _first(process.wait(), stop.wait(), changed.wait())
                code = await self._end(child, process)
                # What a child left behind may hold its output open.
                await _first(asyncio.shield(pump), asyncio.sleep(FIRST_PAUSE_SECONDS))
                pump.cancel()
                log.note(f"ended with code {code}")
                if stop.is_set():
                    return
                if changed.is_set():
                    changed.clear()
                    self.say(f"{child.name}: the settings changed, starting again")
                    continue
                if time.monotonic() - born > SETTLED_SECONDS:
                    pause = FIRST_PAUSE_SECONDS
                self.say(f"{child.name} ended with code {code}; starting again in {pause:g} s")
                await _first(stop.wait(), asyncio.sleep(pause))
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def _start(self, child: Child) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            *child.command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches us, and we end the children in order
            env=os.environ
            | {
                "FATECHAIN_HOME": str(self.settings.home),
                "PYTHONUNBUFFERED": "1",
                # A folder `chain` where the operator happens to stand is not our package.
                "PYTHONSAFEPATH": "1",
            },
        )
        (self.settings.run / f"{child.name}.pid").write_text(
            f"{process.pid} {_start_time(process.pid)}\n", encoding="ascii"
        )
        return process

    async def _end(self, child: Child, process: asyncio.subprocess.Process) -> int:
        """SIGTERM, then after a while SIGKILL for it and all it started; its exit code."""
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), END_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its session: what it left behind
        code = await process.wait()
        (self.settings.run / f"{child.name}.pid").unlink(missing_ok=True)
        return code

    async def _watch_settings(self) -> None:
        """A child that reads the settings once is started again when the file changes."""
        path = self.settings.home / FILE_NAME
        seen = path.read_bytes()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            now = path.read_bytes()
            if now == seen:
                continue
            seen = now
            for child in self.children:
                if child.follows_settings:
                    self.changed[child.name].set()

    async def _watch_ready(self, started: float) -> None:
        """Says when all parts are ready; ends everything when that takes too long."""
        from node.cli.frame import own_address
        from node.client import Client

        token = (self.settings.secrets / "operator-token").read_text("ascii").strip()
        with Client(own_address(self.settings), token, timeout_seconds=5) as node:
            while True:
                waited = time.monotonic() - started
                try:
                    health = await asyncio.to_thread(node.get, "/v1/health")
                except NodeError:
                    health = {"status": "starting"}
                if health["status"] == "ready":
                    self.say(f"ready after {waited:.1f} s at {node.url}")
                    return
                if self.ready_within is not None and waited > self.ready_within:
                    self.say(f"not ready after {waited:.0f} s: {_told(health)}")
                    self.code = 1
                    self.stopping.set()
                    return
                await asyncio.sleep(LOOK_SECONDS)


class _LogFile:
    """JSON lines, one for each line a child prints; the file before is kept as NAME.1."""

    def __init__(self, path: Path, process: str) -> None:
        self.path = path
        self.process = process
        self._file: TextIO | None = None

    def __enter__(self) -> _LogFile:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def note(self, text: str) -> None:
        self._write({"level": "info", "text": text})

    def line(self, text: str) -> None:
        """A line that is a JSON object already keeps its members."""
        members: object = None
        if text.startswith("{"):
            with contextlib.suppress(ValueError):
                members = json.loads(text)
        self._write(members if isinstance(members, dict) else {"text": text})

    def _write(self, members: dict[str, object]) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        record = {"time": now, "process": self.process} | members
        file = self._open()
        file.write(json.dumps(record, ensure_ascii=False) + "\n")
        file.flush()

    def _open(self) -> TextIO:
        if self._file is not None and self._file.tell() < MAX_LOG_BYTES:
            return self._file
        if self._file is not None:
            self._file.close()
            self.path.rename(self.path.with_name(self.path.name + ".1"))
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._file = os.fdopen(descriptor, "a", encoding="utf-8")
        return self._file


async def _pump(process: asyncio.subprocess.Process, log: _LogFile) -> None:
    """Every line that `process` prints goes to `log`, until it closes its output."""
    assert process.stdout is not None
    rest = b""
    while chunk := await process.stdout.read(1 << 16):
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > MAX_LINE_BYTES:
            lines, rest = [*lines, rest], b""
        for line in lines:
            if line.strip():
                log.line(line.decode(errors="replace").rstrip())
    if rest.strip():
        log.line(rest.decode(errors="replace").rstrip())


async def _first(*waits: Awaitable[Any]) -> None:
    """Returns when one of them does; the others are cancelled."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _told(health: dict[str, Any]) -> str:
    parts = health.get("parts") or {}
    waiting = [f"{name}: {part.get('detail')}" for name, part in parts.items() if not part["ok"]]
    return "; ".join(waiting) or str(health["status"])


def _start_time(pid: int) -> str:
    """When the process started, in the kernel's ticks; empty when there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
    # The name in parentheses may hold spaces; a zombie has ended for our purposes.
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else fields[19]


def _end_groups(pids: Sequence[int]) -> None:
    """SIGTERM to all at once, then SIGKILL for them and their sessions."""
    born = {pid: _start_time(pid) for pid in pids}
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    until = time.monotonic() + LEFTOVER_SECONDS
    while any(_start_time(pid) == born[pid] for pid in pids) and time.monotonic() < until:
        time.sleep(0.05)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
