"""What a client makes of what it is answered; whoever answers may not be a node."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from node import client
from node.client import PROBLEM, Client, Problem
from node.errors import Unavailable


def asked(answer: httpx.Response) -> Client:
    """Of a stub that gives this answer."""
    return Client("http://node", transport=httpx.MockTransport(lambda _: answer))


def problem(content: bytes) -> httpx.Response:
    return httpx.Response(409, headers={"Content-Type": PROBLEM}, content=content)


def test_a_refusal_is_the_nodes_own() -> None:
    told = problem(b'{"code": "Conflict", "detail": "taken", "found": 1, "hint": "ask later"}')
    with asked(told) as node, pytest.raises(Problem) as refusal:
        node.get("/v1/jobs")
    error = refusal.value
    assert (error.status, error.code, error.found, error.hint) == (409, "Conflict", 1, "ask later")


DEEP = b"[" * 2_000
"""Deeper than Python goes; where something raised that limit, not so deep that its C stack ends."""


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", DEEP])
def test_a_refusal_that_cannot_be_read_is_told_as_such(content: bytes) -> None:
    with asked(problem(content)) as node, pytest.raises(Unavailable) as refusal:
        node.get("/v1/jobs")
    assert refusal.value.code == "NodeUnreachable"


@pytest.mark.parametrize("content", [b"", b"<html>", DEEP])
def test_what_is_no_json_is_told_as_such(content: bytes) -> None:
    with (
        asked(httpx.Response(200, content=content)) as node,
        pytest.raises(Unavailable) as refusal,
    ):
        node.get("/v1/jobs")
    assert "not JSON" in refusal.value.detail


@pytest.mark.parametrize("status", [200, 409])
def test_a_packed_answer_is_not_unpacked_and_passes_for_no_empty_file(status: int) -> None:
    headers = {"Content-Encoding": "gzip", "Content-Type": PROBLEM}
    for ask in (Client.get, Client.download):
        packed = httpx.Response(status, headers=headers, content=iter([b"\x1f\x8b"]))
        with asked(packed) as node, pytest.raises(Unavailable, match="packed") as refusal:
            ask(node, "/v1/jobs")
        assert refusal.value.found == "gzip"


def test_an_answer_without_end_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MAX_ANSWER_BYTES", 1000)
    given = 0

    def forever() -> Iterator[bytes]:
        nonlocal given
        while True:
            given += 1
            yield b"x" * 100

    with asked(httpx.Response(200, content=forever())) as node, pytest.raises(Unavailable) as why:
        node.download("/v1/jobs/0x00/certificate")
    assert why.value.allowed == "1000 bytes"
    assert given == 11
