"""The operator's policy: asked with what all parties know, and no answer is a refusal."""

from __future__ import annotations

import gzip
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from node.admission import PolicyAnswer, decide
from node.errors import NodeError
from node.policy import MAX_ANSWER_BYTES, MAX_REASON, ask, document
from node.settings import Settings
from tests.node.test_admission import facts

YES = b'{"allow": true, "reason": "agreed with the board"}'
NO = b'{"allow": false, "reason": "not on Sundays"}'


# ── A program ────────────────────────────────────────────────────────────────────────────────


def program(folder: Path, *lines: str, **settings: Any) -> Settings:
    """Settings whose policy is a Python program of these lines."""
    path = folder / "policy.py"
    path.write_text("\n".join(["import json, os, sys, time", *lines]))
    return Settings.load(folder, policy_command=(sys.executable, str(path)), **settings)


def test_without_a_policy_nobody_is_asked(tmp_path: Path) -> None:
    assert ask(Settings.load(tmp_path), facts()) is None


def test_a_program_says_yes_or_no_with_a_reason(tmp_path: Path) -> None:
    rule = "print(json.dumps({'allow': asked['purpose'] == 'training', 'reason': asked['moment']}))"
    settings = program(tmp_path, "asked = json.load(sys.stdin)", rule)
    assert ask(settings, facts("start")) == PolicyAnswer(allow=True, reason="start")


def test_a_refusal_is_a_reason_against_the_job(tmp_path: Path) -> None:
    settings = program(tmp_path, f"print({NO.decode()!r})")
    answer = ask(settings, facts())
    assert decide(facts(policy=answer)).codes == ("PolicyRefused",)


@pytest.mark.parametrize(
    "line",
    [
        "print('yes')",
        "print('{}')",
        'print(\'{"allow": "true"}\')',
        "print('{\"allow\": 1}')",
        'print(\'{"allow": true, "more": 1}\')',
        "print('[true]')",
        'print(\'{"allow": true, "reason": 7}\')',
        "sys.exit(0)",
        "print('{\"allow\": true}'); sys.exit(3)",
        f"print('{{\"allow\": true, \"reason\": \"' + 'x' * {MAX_ANSWER_BYTES} + '\"}}')",
        "raise SystemError",
    ],
)
def test_what_is_no_answer_refuses_the_job(tmp_path: Path, line: str) -> None:
    answer = ask(program(tmp_path, line), facts())
    assert answer is not None
    assert not answer.allow
    assert decide(facts(policy=answer)).codes == ("PolicyUnavailable",)


def test_a_program_that_does_not_end_is_ended_with_all_it_started(tmp_path: Path) -> None:
    settings = program(
        tmp_path,
        "import subprocess",
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])",
        "time.sleep(600)",
        policy_timeout_seconds=0.5,
    )
    began = time.monotonic()
    answer = ask(settings, facts())
    assert answer is not None
    assert "did not answer" in str(answer.problem)
    assert time.monotonic() - began < 60  # and not after the ten minutes of either


def test_an_answer_is_not_awaited_from_what_left_the_program_s_group(tmp_path: Path) -> None:
    """It holds the pipe open, and no signal to the group reaches it."""
    settings = program(
        tmp_path,
        "import subprocess",
        "wait = 'import pathlib, time; time.sleep(30); pathlib.Path(\"ended\").touch()'",
        "away = [sys.executable, '-c', wait]",
        "away = subprocess.Popen(away, start_new_session=True, cwd=sys.path[0])",
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(away.pid))",
        f"print({YES.decode()!r})",
        policy_timeout_seconds=3,
    )
    answer = ask(settings, facts())
    assert not (tmp_path / "ended").exists()
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    assert answer is not None
    assert "did not answer" in str(answer.problem)


def test_a_program_that_never_stops_talking_is_ended(tmp_path: Path) -> None:
    settings = program(tmp_path, "while True: print('x' * 4096)", policy_timeout_seconds=60)
    answer = ask(settings, facts())
    assert answer is not None
    assert "longer than" in str(answer.problem)


def test_a_program_that_does_not_exist_refuses(tmp_path: Path) -> None:
    settings = Settings.load(tmp_path, policy_command=(str(tmp_path / "none"),))
    answer = ask(settings, facts())
    assert answer is not None
    assert answer.problem == "it cannot be started: FileNotFoundError"


def test_a_program_sees_nothing_of_the_site_s_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FATECHAIN_PASSWORD", "hunter2")
    seen = "print(json.dumps({'allow': True, 'reason': ' '.join(sorted(os.environ))}))"
    answer = ask(program(tmp_path, seen), facts())
    assert answer is not None
    assert answer.allow
    assert "FATECHAIN" not in answer.reason


def test_a_long_reason_is_cut_and_holds_no_control_characters(tmp_path: Path) -> None:
    said = "print(json.dumps({'allow': False, 'reason': 'a\\x1b[31m\\n' + 'x' * 1000}))"
    answer = ask(program(tmp_path, said), facts())
    assert answer is not None
    assert answer.reason.isprintable()
    assert len(answer.reason) == MAX_REASON


# ── A service ────────────────────────────────────────────────────────────────────────────────


@contextmanager
def service(
    answer: Callable[[bytes], tuple[int, bytes]], headers: Mapping[str, str] | None = None
) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status, body = answer(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            self.send_header("Location", "http://127.0.0.1:9/elsewhere")
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/decide"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def asked_of(folder: Path, status: int, body: bytes) -> PolicyAnswer | None:
    with service(lambda _: (status, body)) as url:
        return ask(Settings.load(folder, policy_url=url), facts())


def test_a_service_is_asked_with_the_job_and_its_specification(tmp_path: Path) -> None:
    heard: list[dict[str, Any]] = []

    def answer(body: bytes) -> tuple[int, bytes]:
        heard.append(json.loads(body))
        return 200, YES

    with service(answer) as url:
        found = ask(Settings.load(tmp_path, policy_url=url), facts())
    assert found == PolicyAnswer(allow=True, reason="agreed with the board")
    assert heard == [json.loads(json.dumps(document(facts())))]
    assert heard[0]["specification"]["algorithm"] == "secureboost"
    assert heard[0]["uses"][1]["grant"] is not None


@pytest.mark.parametrize("status", [201, 302, 401, 500])
def test_a_service_that_answers_with_another_status_refuses(tmp_path: Path, status: int) -> None:
    answer = asked_of(tmp_path, status, YES)
    assert answer is not None
    assert not answer.allow
    assert answer.problem == f"it answered with status {status}"


def test_a_service_whose_answer_is_too_long_refuses(tmp_path: Path) -> None:
    answer = asked_of(tmp_path, 200, YES + b" " * MAX_ANSWER_BYTES)
    assert answer is not None
    assert not answer.allow
    assert "longer than" in str(answer.problem)


def test_a_service_whose_answer_is_packed_refuses(tmp_path: Path) -> None:
    packed = gzip.compress(YES + b" " * 10_000_000)  # short enough for the limit, as it comes
    assert len(packed) < MAX_ANSWER_BYTES
    with service(lambda _: (200, packed), {"Content-Encoding": "gzip"}) as url:
        answer = ask(Settings.load(tmp_path, policy_url=url), facts())
    assert answer is not None
    assert not answer.allow
    assert "packed" in str(answer.problem)


def test_a_service_that_is_away_or_silent_refuses(tmp_path: Path) -> None:
    waiting = threading.Event()

    def answer(_: bytes) -> tuple[int, bytes]:
        waiting.wait(30)
        return 200, YES

    with service(answer) as url:
        settings = Settings.load(tmp_path, policy_url=url, policy_timeout_seconds=0.3)
        silent = ask(settings, facts())
        waiting.set()
    away = ask(settings, facts())
    assert silent is not None
    assert away is not None
    assert (silent.allow, away.allow) == (False, False)
    assert "did not answer" in str(silent.problem)
    assert "does not answer" in str(away.problem)


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nX-Long: ", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_a_service_that_answers_byte_by_byte_refuses(tmp_path: Path, head: bytes) -> None:
    """In its headers or in its body: each byte comes in time, all of them never."""
    over = threading.Event()

    def drip(listener: socket.socket) -> None:
        with listener.accept()[0] as connection, suppress(OSError):
            connection.sendall(head)
            for _ in range(600):
                if over.wait(0.05):
                    break
                connection.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/decide"
        settings = Settings.load(tmp_path, policy_url=url, policy_timeout_seconds=0.5)
        answer = ask(settings, facts())
        over.set()
        thread.join()
    assert answer is not None
    assert answer.problem == "it did not answer within 0.5 s"


# ── Settings ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "settings",
    [
        {"policy_url": "http://policy.example/decide"},
        {"policy_url": "ftp://127.0.0.1/"},
        {"policy_url": "decide"},
        {"policy_url": "https://policy.example/", "policy_command": ("decide",)},
        {"policy_command": ()},
    ],
)
def test_a_policy_that_cannot_be_trusted_is_no_setting(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    with pytest.raises(NodeError, match="InvalidSettings"):
        Settings.load(tmp_path, **settings)


def test_a_command_is_kept_in_the_file(tmp_path: Path) -> None:
    Settings.load(tmp_path, policy_command=("decide", "--strict")).save()
    assert Settings.load(tmp_path).policy_command == ("decide", "--strict")
