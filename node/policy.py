"""The operator's own word on a job: a service or a program that answers yes or no with a reason.

``policy_url`` gets the question as a POST, ``policy_command`` on its standard input; both answer
``{"allow": true, "reason": "…"}``.  The question holds what all parties of the job know, and no
secret.  Whatever is not such an answer within ``policy_timeout_seconds`` is none: the job is
refused with ``PolicyUnavailable``.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx
from pydantic import BaseModel, ConfigDict, StrictBool, StrictStr, ValidationError

from node.admission import Facts, PolicyAnswer

if TYPE_CHECKING:
    from node.settings import Settings

VERSION = 1
MAX_ANSWER_BYTES = 64 * 1024
MAX_REASON = 300  # characters that are kept of a reason
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
    end = time.monotonic() + limit
    answer = bytearray()
    try:
        with (
            httpx.Client(timeout=limit, follow_redirects=False, trust_env=False) as client,
            client.stream(
                "POST", url, content=question, headers={"Content-Type": "application/json"}
            ) as response,
        ):
            if response.status_code != 200:
                raise _NoAnswer(f"it answered with status {response.status_code}")
            for chunk in response.iter_bytes():
                answer += chunk
                if len(answer) > MAX_ANSWER_BYTES:
                    raise _NoAnswer(f"its answer is longer than {MAX_ANSWER_BYTES} bytes")
                # The client's limit is for each read: an answer byte by byte would have no end.
                if time.monotonic() > end:
                    raise _NoAnswer(f"it did not answer within {limit:g} s")
    except httpx.TimeoutException as error:
        raise _NoAnswer(f"it did not answer within {limit:g} s") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _NoAnswer(f"it does not answer: {type(error).__name__}") from error
    return bytes(answer)


def _by_command(command: Sequence[str], question: bytes, limit: float) -> bytes:
    environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
    overdue = threading.Event()
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
            )
        except OSError as error:
            raise _NoAnswer(f"it cannot be started: {type(error).__name__}") from error

        def end() -> None:
            overdue.set()
            _kill(child)

        timer = threading.Timer(limit, end)
        timer.start()
        try:
            assert child.stdout is not None
            answer = child.stdout.read(MAX_ANSWER_BYTES + 1)
            if len(answer) <= MAX_ANSWER_BYTES:
                child.wait()
        finally:
            timer.cancel()
            _kill(child)
            child.wait()
            if child.stdout is not None:
                child.stdout.close()
    if overdue.is_set():
        raise _NoAnswer(f"it did not answer within {limit:g} s")
    if len(answer) > MAX_ANSWER_BYTES:
        raise _NoAnswer(f"its answer is longer than {MAX_ANSWER_BYTES} bytes")
    if child.returncode != 0:
        raise _NoAnswer(f"it ended with status {child.returncode}")
    return answer


def _kill(child: subprocess.Popen[bytes]) -> None:
    """The program and all that it started; its group lives as long as one of them does."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)[:MAX_REASON]
