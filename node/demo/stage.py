"""Real processes to play on: a testnet and nodes, each with its own folder, database and keys.

Everything goes through the public command line and the public API of a node, so whatever works
here works for an operator.  A stage that was interrupted is cleared by the next one in the same
folder: what it left running is ended first.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from node.client import Client
from node.errors import Failed, NodeError, Unavailable

STOP_SECONDS = 20.0
READY_SECONDS = 120.0
LOOK_EVERY_SECONDS = 0.25

Say = Callable[[str], None]
Result = TypeVar("Result")


class CommandFailed(Failed):
    """A command of the stage was refused; the code is the problem's own."""


@dataclass
class Actor:
    """A process of the stage; ``pid`` files let the next stage end what this one left behind."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def is_running(self) -> bool:
        return self.process.poll() is None

    def last_words(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return " | ".join(lines[-5:]) or "it said nothing"


@dataclass
class Institution:
    """A member with its node, as its operator sees it."""

    name: str
    title: str
    home: Path
    port: int
    account: str
    member: str = ""
    site: str = ""
    _client: Client | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def token(self) -> str:
        return (self.home / "secrets" / "operator-token").read_text(encoding="ascii").strip()

    @property
    def api(self) -> Client:
        if self._client is None:
            self._client = Client(self.url, self.token, timeout_seconds=60)
        return self._client


class Stage:
    """``with Stage(folder, say=print) as stage:``; ends what it started when it is left."""

    def __init__(
        self, root: Path, *, engine: str = "anvil", say: Say = lambda _: None, keep: bool = False
    ) -> None:
        self.root = root.resolve()
        self.engine = engine
        self.say = say
        self.keep = keep
        self.institutions: dict[str, Institution] = {}
        self.actors: dict[str, Actor] = {}
        self.rpc_url = ""
        self.deployment: dict[str, Any] = {}
        self._votes = itertools.count(1)

    # ── The chain and the consortium ─────────────────────────────────────────────────────────

    def open_chain(self) -> None:
        """A testnet of our own on a free port, and the consortium deployed on it."""
        [port] = free_ports(1)
        self.rpc_url = f"http://127.0.0.1:{port}"
        command = ["testnet", "--engine", self.engine, "--port", str(port)]
        self._start("testnet", [*command, "--state", str(self.root / "chain")])
        self.until("the testnet answers", self._chain_answers, within=30, actor="testnet")

    def deploy(self, *options: str) -> dict[str, Any]:
        """Deploy the contracts; the network file lies at ``network``."""
        self.deployment = self.run(
            "deploy", "--rpc", self.rpc_url, "--out", str(self.network), *options
        )
        return self.deployment

    @property
    def network(self) -> Path:
        return self.root / "network.json"

    def found(
        self, titles: Mapping[str, str], roles: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        """Institutions, name → title, make homes, are funded and admitted; no node runs yet.

        With these roles, else the usual ones, their nodes register themselves when they run.
        """
        ports = dict(zip(titles, free_ports(len(titles)), strict=True))

        def make(name: str) -> str:
            return self._make_home(name, titles[name], ports[name], (roles or {}).get(name, ()))

        requests = self.at_once(make, titles)

        # Of each kind one after the other: an account sends them, each from a process of its own.
        # The two accounts need not wait for each other.
        def send(what: str) -> None:
            for name, request in requests.items():
                if what == "fund":
                    self.run("fund", self.institutions[name].account, "--rpc", self.rpc_url)
                else:
                    self.run("member", "admit", "--request", request, *self._chain)

        self.at_once(send, ("fund", "admit"))

    def hand_over(self) -> None:
        """The deployer gives all power to the members' votes."""
        self.run("found", *self._chain)

    def newcomer(self, name: str, title: str, roles: Sequence[str], sponsor: str) -> str:
        """An institution makes its home, is funded, and asks a member; the request's id."""
        [port] = free_ports(1)
        self._make_home(name, title, port, roles)
        newcomer = self.institutions[name]
        self.run("fund", newcomer.account, "--rpc", self.rpc_url)
        sponsor_url = self.institutions[sponsor].url
        asked = self.run("join", "--home", str(newcomer.home), "--sponsor", sponsor_url)
        return str(asked["id"])

    def decide(self, proposal: str, votes: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
        """Members, name → (vote, reason), vote; the proposal when it was executed.

        The node that proposed it carries it through queue and timelock by itself.
        """
        first = self.institutions[next(iter(votes))]

        def has_state(*states: str) -> Callable[[], dict[str, Any] | None]:
            def look() -> dict[str, Any] | None:
                shown: dict[str, Any] = first.api.get(f"/v1/proposals/{proposal}")
                return shown if shown["state"] in states else None

            return look

        self.until("the vote begins", has_state("ACTIVE"))

        def vote(name: str) -> None:
            support, reason = votes[name]
            self._knows_proposal(name, proposal)
            path = f"/v1/proposals/{proposal}/votes"
            self.institutions[name].api.post(path, {"support": support, "reason": reason}, wait=60)

        self.at_once(vote, votes)
        ended = has_state("EXECUTED", "DEFEATED", "CANCELED", "EXPIRED")
        decided: dict[str, Any] = self.until("the members have decided", ended)
        return decided

    def suspend(self, name: str) -> dict[str, Any]:
        """The other members vote to suspend an institution; the proposal as it was executed."""
        return self._vote_on("suspend", name)

    def reinstate(self, name: str) -> dict[str, Any]:
        """And take it back."""
        return self._vote_on("reinstate", name)

    def revoke_key(self, name: str) -> None:
        """An institution ends the key that its node signs requests with, at once."""
        institution = self.institutions[name]
        shown = institution.api.get(f"/v1/sites/{institution.site}")
        [key] = [
            key for key in shown["keys"] if key["purpose"] == "request" and not key["until_block"]
        ]
        self.run("key", "revoke", key["id"], "--force", "--home", str(institution.home))

    def renew_key(self, name: str) -> None:
        """And registers another one."""
        institution = self.institutions[name]
        self.run("key", "rotate", "request", "--home", str(institution.home))

        def is_active() -> bool:
            return bool(institution.api.get(f"/v1/sites/{institution.site}")["active"])

        self.until(f"{name} has a key again", is_active)

    def _vote_on(self, kind: str, name: str) -> dict[str, Any]:
        others = [other for other in self.institutions if other != name]
        body = {
            "kind": kind,
            "params": {"member": self.institutions[name].member},
            "title": f"{kind} {self.institutions[name].title}",
            # The same calls with the same words are one proposal, which is voted on once.
            "body": f"Vote {next(self._votes)}",
        }
        made = self.institutions[others[0]].api.post("/v1/proposals", body, wait=60)
        decided = self.decide(made["id"], dict.fromkeys(others, ("for", "Agreed.")))
        if decided["state"] != "EXECUTED":
            raise Failed(
                "NotExecuted", f"the members did not {kind} {name}", found=decided["state"]
            )
        return decided

    def _knows_proposal(self, name: str, proposal: str) -> None:
        """A node knows what others proposed when it has read the block."""
        api = self.institutions[name].api

        def is_known() -> bool:
            return any(shown["id"] == proposal for shown in api.items("/v1/proposals"))

        self.until(f"{name} has read the proposal", is_known)

    @property
    def _chain(self) -> list[str]:
        return ["--network", str(self.network), "--rpc", self.rpc_url]

    def _make_home(self, name: str, title: str, port: int, roles: Sequence[str]) -> str:
        """The path of the request for admission that the home holds."""
        home = self.root / name
        options = ["--name", name, "--institution", title, "--port", str(port), *self._chain]
        made = self.run("init", str(home), *options, *(f"--role={role}" for role in roles))
        self.institutions[name] = Institution(name, title, home, port, made["account"])
        return str(made["admission_request"])

    def at_once(self, act: Callable[[str], Result], names: Iterable[str]) -> dict[str, Result]:
        """What ``act`` returns for each name; they act side by side, as institutions do."""
        with ThreadPoolExecutor() as threads:
            acting = {name: threads.submit(act, name) for name in names}
        return {name: done.result() for name, done in acting.items()}

    # ── Nodes ────────────────────────────────────────────────────────────────────────────────

    def start(self, *names: str, environment: Mapping[str, str] | None = None) -> None:
        """Start the nodes of these institutions at once and wait until all are ready."""
        for name in names:
            home = self.institutions[name].home
            self._start(name, ["up", "--home", str(home)], environment=environment)
        for name in names:
            self.until(f"the node of {name} is ready", lambda n=name: self._ready(n), actor=name)  # type: ignore[misc]

    def stop(self, name: str) -> None:
        """End a node as an operator does: SIGTERM, and wait."""
        actor = self.actors.pop(name)
        actor.process.terminate()
        try:
            actor.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            _kill_group(actor.process.pid)
            actor.process.wait()
        self._pid_file(name).unlink(missing_ok=True)

    def settle_in(self, name: str) -> str:
        """Wait until the node of a member has registered itself; its site's id."""
        institution = self.institutions[name]

        def own_site() -> dict[str, Any] | None:
            sites = institution.api.items("/v1/sites")
            return next((site for site in sites if site["mine"]), None)

        site = self.until(f"the node of {name} registers itself", own_site)
        institution.site, institution.member = site["id"], site["member"]["id"]
        return institution.site

    # ── Commands and waiting ─────────────────────────────────────────────────────────────────

    def run(self, *arguments: str) -> Any:
        """The answer of a ``fatechain`` command; raises `CommandFailed` with the problem's code."""
        done = self._command(*arguments)
        if done.returncode == 0:
            return json.loads(done.stdout)
        raise _failure(arguments, done.stdout, done.stderr)

    def verify(self, certificate: Path) -> dict[str, Any]:
        """What ``fatechain verify`` finds, whether it holds or not; it asks the chain alone."""
        chain = ("--rpc", self.rpc_url, "--network", str(self.network))
        return self._findings("verify", str(certificate), *chain)

    def verify_log(self, name: str) -> dict[str, Any]:
        """What ``fatechain log verify`` finds in the database of an institution."""
        return self._findings("log", "verify", "--home", str(self.institutions[name].home))

    def _findings(self, *arguments: str) -> dict[str, Any]:
        """The answer of a command that tells what it found, good or bad."""
        done = self._command(*arguments)
        try:
            report: dict[str, Any] = json.loads(done.stdout)
        except ValueError:
            raise _failure(arguments, done.stdout, done.stderr) from None
        return report

    def _command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*_fatechain(), *arguments, "--json"],
            capture_output=True,
            check=False,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            text=True,
        )

    def until(
        self,
        what: str,
        happened: Callable[[], Any],
        *,
        within: float = READY_SECONDS,
        actor: str | None = None,
    ) -> Any:
        """Look until ``happened()`` is true and return it; raises `Unavailable` naming ``what``."""
        end = time.monotonic() + within
        while True:
            if found := happened():
                return found
            if actor is not None and not self.actors[actor].is_running():
                raise Unavailable("ProcessEnded", f"{actor}: {self.actors[actor].last_words()}")
            if time.monotonic() > end:
                raise Unavailable("TimedOut", f"{what}: not within {within:g} s")
            time.sleep(LOOK_EVERY_SECONDS)

    # ── Processes ────────────────────────────────────────────────────────────────────────────

    def __enter__(self) -> Self:
        clear(self.root, self.say)
        self.root.mkdir(parents=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self.keep or error is not None:
            self.close()

    def close(self) -> None:
        """End all processes, nodes before the chain."""
        for institution in self.institutions.values():
            if institution._client is not None:
                institution._client.close()
        nodes = [name for name in self.actors if name != "testnet"]
        for name in nodes:
            self.actors[name].process.terminate()  # all at once: each takes its time
        for name in [*nodes, "testnet"]:
            if name in self.actors:
                self.stop(name)

    def _start(
        self, name: str, arguments: Sequence[str], *, environment: Mapping[str, str] | None = None
    ) -> None:
        log = self.root / f"{name}.log"
        with log.open("ab") as out:
            process = subprocess.Popen(
                [*_fatechain(), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches us; we end them in order
                env={**_environment(), **(environment or {})},
            )
        self._pid_file(name).write_text(f"{process.pid}\n", encoding="ascii")
        self.actors[name] = Actor(name, process, log)

    def _pid_file(self, name: str) -> Path:
        return self.root / f"{name}.pid"

    def _chain_answers(self) -> bool:
        from chain.client import ChainClient
        from chain.errors import ChainUnavailable

        try:
            return ChainClient(self.rpc_url, timeout=2).head().number >= 0
        except ChainUnavailable:
            return False

    def _ready(self, name: str) -> bool:
        try:
            return bool(self.institutions[name].api.get("/v1/health")["ready"])
        except NodeError:
            return False


def clear(root: Path, say: Say = lambda _: None) -> None:
    """End what an earlier stage in this folder left running, and remove the folder.

    Only processes that are still ours are ended: a pid may belong to somebody else by now.
    """
    if not root.exists():
        return
    left = [pid for path in sorted(root.glob("*.pid")) if (pid := _ours(path, root)) is not None]
    if left:
        say(f"Ending {len(left)} processes of an earlier run …")
    for pid in left:
        os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + STOP_SECONDS
    while any(_is_alive(pid) for pid in left) and time.monotonic() < end:
        time.sleep(LOOK_EVERY_SECONDS)
    for pid in left:
        if _is_alive(pid):
            _kill_group(pid)
    for path in root.rglob("*.pid"):
        if (pid := _ours(path, root)) is not None:
            _kill_group(pid)
    shutil.rmtree(root)


def free_ports(count: int) -> list[int]:
    """Different ports that nobody listens on now."""
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def _ours(path: Path, root: Path) -> int | None:
    """The pid in the file, if that process still is one of this folder's."""
    try:
        pid = int(path.read_text(encoding="ascii"))
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except (OSError, ValueError):
        return None
    mark = str(root.resolve()).encode()
    return pid if mark in command or mark in environment else None


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    except PermissionError:
        os.kill(pid, signal.SIGKILL)


def _fatechain() -> list[str]:
    return [sys.executable, "-P", "-m", "node.cli"]  # -P: never from the folder we stand in


def _environment() -> dict[str, str]:
    """Ours, without what would point the commands at another node."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("FATECHAIN_")}
    return kept | {"PYTHONUNBUFFERED": "1"}


def _failure(arguments: Sequence[str], out: str, err: str) -> CommandFailed:
    shown = " ".join(arguments[:3])
    try:
        problem = json.loads(err)
        return CommandFailed(
            problem["code"],
            problem["detail"],
            found=problem.get("found"),
            allowed=problem.get("allowed"),
            hint=problem.get("hint"),
        )
    except (ValueError, KeyError, TypeError):
        words = (err or out).strip().splitlines()[-3:]
        return CommandFailed("CommandFailed", f"fatechain {shown}: {' | '.join(words)}")
