"""A typed client of a node's ``/v1`` interface, for the command line and for programs.

    with Client("http://127.0.0.1:8400", token) as node:
        job = node.post("/v1/jobs", request, wait=30)
        for entry in node.items("/v1/audit/entries", type="fatechain.job.proposed.v1"): ...

A refusal comes back as the `NodeError` it was (same status, code, detail, found, allowed, hint); a
node that does not answer is ``NodeUnreachable``.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx

from node.answers import AS_IT_IS, is_packed
from node.errors import NodeError, Unavailable

PROBLEM = "application/problem+json"
MAX_ANSWER_BYTES = 256 * 2**20  # a certificate with a million entries is smaller
STALE = "X-FateChain-Stale"  # a line for a person: the node does not know what the chain says


class Problem(NodeError):
    """What a node refused, as it said it; the status is the one it answered with."""

    def __init__(self, status: int, members: dict[str, Any]) -> None:
        super().__init__(
            str(members.get("code", "Problem")),
            str(members.get("detail", members.get("title", "the node refused"))),
            found=members.get("found"),
            allowed=members.get("allowed"),
            hint=members.get("hint"),
        )
        self.status = status  # type: ignore[misc]  # of this answer, not of the class


@dataclass(frozen=True)
class Answer:
    """What a node answered, whole."""

    status: int
    headers: httpx.Headers
    content: bytes

    def json(self) -> Any:
        """Raises `ValueError`."""
        try:
            return json.loads(self.content)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error


class Client:
    """Talks to the node at `url` as its operator.  Close it, or use it in a ``with``."""

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        timeout_seconds: float = 30.0,
        transport: httpx.BaseTransport | None = None,
        on_stale: Callable[[str], None] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        headers = {"Accept": f"application/json, {PROBLEM}", **AS_IT_IS, **(headers or {})}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        self._timeout_seconds = timeout_seconds
        self._on_stale = on_stale  # called with the node's own line, once
        self._http = httpx.Client(
            base_url=self.url,
            headers=headers,
            timeout=timeout_seconds,
            transport=transport,
            follow_redirects=False,  # a token goes to the address it was meant for
            trust_env=False,
        )

    def get(self, path: str, **query: Any) -> Any:
        """The JSON answer.  Raises `Problem`, `Unavailable`."""
        return self._json(self._send("GET", path, query=query))

    def post(
        self,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        wait: float | None = None,
        idempotency_key: str | None = None,
    ) -> Any:
        """The JSON answer to a request that may be repeated: a lost answer is asked for once more.

        `wait` seconds for the chain to confirm or refuse, where the request becomes a transaction.
        """
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        query = {} if wait is None else {"wait": wait}
        patience = self._timeout_seconds + (wait or 0)
        try:
            answer = self._send(
                "POST", path, query=query, body=body or {}, headers=headers, patience=patience
            )
        except NodeUnreachable as error:
            if not error.may_have_arrived:
                raise
            answer = self._send(
                "POST", path, query=query, body=body or {}, headers=headers, patience=patience
            )
        return self._json(answer)

    def download(self, path: str, **query: Any) -> bytes:
        """The bytes of an answer (a certificate, say)."""
        return self._send("GET", path, query=query).content

    def items(self, path: str, *, at_most: int | None = None, **query: Any) -> Iterator[Any]:
        """All items of a list, page by page."""
        given = 0
        cursor: str | None = None
        while True:
            page = self.get(path, cursor=cursor, **query)
            for item in page["items"]:
                if at_most is not None and given >= at_most:
                    return
                given += 1
                yield item
            cursor = page["next"]
            if cursor is None:
                return

    def cookie(self, name: str) -> str | None:
        """What the node gave to be kept under this name."""
        return self._http.cookies.get(name)

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _send(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, Any],
        body: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        patience: float | None = None,
    ) -> Answer:
        params = {name: value for name, value in query.items() if value is not None}
        try:
            with self._http.stream(
                method,
                path,
                params=params,
                json=body,
                headers=headers,
                timeout=patience or self._timeout_seconds,
            ) as response:
                answer = Answer(response.status_code, response.headers, self._read(response))
        except httpx.TransportError as error:
            raise NodeUnreachable(self.url, error) from error
        if self._on_stale is not None and (line := answer.headers.get(STALE)) is not None:
            self._on_stale(line)
            self._on_stale = None
        if httpx.codes.is_success(answer.status):
            return answer
        raise _problem(answer, self.url)

    def _read(self, response: httpx.Response) -> bytes:
        if is_packed(response):
            raise Unavailable(
                "NodeUnreachable",
                f"{self.url} answered packed, which nobody asked for",
                found=response.headers["content-encoding"],
                hint="is this the address of a FATE-Chain node, and does nothing on the way pack?",
            )
        content = bytearray()
        for piece in response.iter_bytes():
            content += piece
            if len(content) > MAX_ANSWER_BYTES:
                raise Unavailable(
                    "NodeUnreachable",
                    f"{self.url} answered with more than can be taken",
                    allowed=f"{MAX_ANSWER_BYTES} bytes",
                    hint="ask for less at a time; is this the address of a FATE-Chain node?",
                )
        return bytes(content)

    def _json(self, answer: Answer) -> Any:
        try:
            return answer.json()
        except ValueError as error:
            raise Unavailable(
                "NodeUnreachable",
                f"{self.url} answered with something that is not JSON",
                found=answer.headers.get("content-type"),
                hint="is this the address of a FATE-Chain node?",
            ) from error


class NodeUnreachable(Unavailable):
    """Nobody answers at the node's address."""

    def __init__(self, url: str, cause: httpx.TransportError) -> None:
        super().__init__(
            "NodeUnreachable",
            f"no node answers at {url} ({type(cause).__name__})",
            hint="is it running? start it with `fatechain up`",
        )
        self.may_have_arrived = not isinstance(cause, httpx.ConnectError | httpx.ConnectTimeout)


def _problem(answer: Answer, url: str) -> NodeError:
    if answer.headers.get("content-type", "").startswith(PROBLEM):
        with suppress(ValueError):  # then it is as good as none
            members = answer.json()
            if isinstance(members, dict):
                return Problem(answer.status, members)
    return Unavailable(
        "NodeUnreachable",
        f"{url} answered {answer.status} without saying why",
        found=answer.headers.get("content-type"),
        hint="is this the address of a FATE-Chain node?",
    )
