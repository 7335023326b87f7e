"""The operator's own word on a job: a service or a program that answers yes or no with a reason.

``policy_url`` gets the question as a POST, ``policy_command`` on its standard input; both answer
``{"allow": true, "reason": "…"}``.  The question holds what all parties of the job know, and no
secret.  Whatever is not such an answer within ``policy_timeout_seconds`` is none: the job is
refused with ``PolicyUnavailable``.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any

import anyio
import httpx
from pydantic import BaseModel, ConfigDict, StrictBool, StrictStr, ValidationError

from node.admission import Facts, PolicyAnswer
from node.answers import AS_IT_IS, is_packed

if TYPE_CHECKING:
    from node.settings import Settings

VERSION = 1
MAX_ANSWER_BYTES = 64 * 1024
MAX_REASON = 300  # characters that are kept of a reason
GRACE_SECONDS = 1.0  # for ending what is overdue
INHERITED = ("PATH", "LANG", "LC_ALL", "TZ")  # of the environment: the site's password is in it


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    allow: StrictBool
    reason: StrictStr = ""


class _NoAnswer(Exception):
    """Why there is none; tells nothing of what was answered."""


def ask(settings: Settings, facts: Facts) -> PolicyAnswer | None:
    """What the policy says of the job now; None where the operator set none.  Never raises."""
    if settings.policy_url is None and settings.policy_command is None:
        return None
    question = json.dumps(document(facts)).encode()
    limit = settings.policy_timeout_seconds
    try:
        if settings.policy_url is not None:
            said = _over_http(settings.policy_url, question, limit)
        else:
            assert settings.policy_command is not None
            said = _by_command(settings.policy_command, question, limit)
        answer = _Answer.model_validate_json(said)
    except ValidationError:
        return PolicyAnswer(allow=False, problem='its answer is not {"allow": …, "reason": …}')
    except _NoAnswer as why:
        return PolicyAnswer(allow=False, problem=str(why))
    return PolicyAnswer(allow=answer.allow, reason=_printable(answer.reason))


def document(facts: Facts) -> dict[str, Any]:
    """The question: job, specification and what the chain says of those who take part."""
    view = facts.views[-1] if facts.views else None
    job = None if view is None else view.job
    return {
        "version": VERSION,
        "moment": facts.moment,
        "job": facts.job_id,
        "site": facts.me,
        "block": None if view is None else {"number": view.block, "time": view.time},
        "proposer": None if job is None else job.member,
        "purpose": None if job is None else job.purpose,
        "algorithm": None if job is None else job.algorithm,
        "parties": []
        if view is None
        else [{"site": p.site, "member": p.member} for p in view.parties],
        "uses": []
        if view is None
        else [
            {
                "dataset": use.dataset,
                "version": use.version,
                "rows": use.rows,
                "owner": use.owner,
                "grant": None if use.grant is None else use.grant.id,
            }
            for use in view.uses
        ],
        "products": facts.products,
        "specification": None if facts.specification is None else facts.specification.to_document(),
    }


def _over_http(url: str, question: bytes, limit: float) -> bytes:
    """In a thread of its own: looking up a name cannot be cut short, and nobody waits for it."""
    told: Future[bytes] = Future()

    def talk() -> None:
        try:
            told.set_result(anyio.run(_post, url, question, limit))
        except BaseException as error:
            told.set_exception(error)

    threading.Thread(target=talk, name="policy", daemon=True).start()
    try:
        return told.result(limit + GRACE_SECONDS)
    except (TimeoutError, httpx.TimeoutException) as error:
        raise _late(limit) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _NoAnswer(f"it does not answer: {type(error).__name__}") from error


async def _post(url: str, question: bytes, limit: float) -> bytes:
    """Raises TimeoutError when it is not over after ``limit`` seconds, whatever came until then."""
    answer = bytearray()
    headers = {"Content-Type": "application/json", **AS_IT_IS}
    with anyio.fail_after(limit):
        # The client's own limits are for each read: headers byte by byte would have no end.
        async with (
            httpx.AsyncClient(timeout=limit, follow_redirects=False, trust_env=False) as client,
            client.stream("POST", url, content=question, headers=headers) as response,
        ):
            if response.status_code != 200:
                raise _NoAnswer(f"it answered with status {response.status_code}")
            if is_packed(response):
                raise _NoAnswer("it answered packed, which nobody asked for")
            async for chunk in response.aiter_bytes():
                answer += chunk
                if len(answer) > MAX_ANSWER_BYTES:
                    raise _too_long()
    return bytes(answer)


def _by_command(command: Sequence[str], question: bytes, limit: float) -> bytes:
    environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
    end = time.monotonic() + limit
    with tempfile.TemporaryFile() as asked:  # a pipe would wait for a program that does not read
        asked.write(question)
        asked.seek(0)
        try:
            child = subprocess.Popen(
                list(command),
                stdin=asked,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
                bufsize=0,
            )
        except OSError as error:
            raise _NoAnswer(f"it cannot be started: {type(error).__name__}") from error
    assert child.stdout is not None
    try:
        answer = _read(child.stdout, end)
        child.wait(max(end - time.monotonic(), 0))
    except (TimeoutError, subprocess.TimeoutExpired) as error:
        raise _late(limit) from error
    finally:
        _kill(child)
        child.stdout.close()
    if child.returncode != 0:
        raise _NoAnswer(f"it ended with status {child.returncode}")
    return answer


def _read(out: IO[bytes], end: float) -> bytes:
    """All that is said until ``end`` (monotonic seconds); raises TimeoutError after it.

    Waiting is for the pipe and not for the program: one that it started and that left its group
    may hold the pipe open for ever.
    """
    answer = bytearray()
    with selectors.DefaultSelector() as ready:
        ready.register(out, selectors.EVENT_READ)
        while ready.select(max(end - time.monotonic(), 0)):
            chunk = os.read(out.fileno(), MAX_ANSWER_BYTES)
            if not chunk:
                return bytes(answer)
            answer += chunk
            if len(answer) > MAX_ANSWER_BYTES:
                raise _too_long()
            if time.monotonic() > end:
                break
    raise TimeoutError


def _late(limit: float) -> _NoAnswer:
    return _NoAnswer(f"it did not answer within {limit:g} s")


def _too_long() -> _NoAnswer:
    return _NoAnswer(f"its answer is longer than {MAX_ANSWER_BYTES} bytes")


def _kill(child: subprocess.Popen[bytes]) -> None:
    """The program and all that it started; its group lives as long as one of them does."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):  # one that became another user's is not ours to end
        child.wait(GRACE_SECONDS)


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)[:MAX_REASON]
