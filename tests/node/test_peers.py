"""What one site asks another, and what it makes of the answers."""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from chain import canonical, merkle
from chain.entries import open_entry
from node import partners, peers, requests
from node.audit.entries import record
from node.errors import Conflict, Failed, NodeError, Refused, Unavailable
from node.peers import site_client
from node.reach import see
from node.signatures import sign
from node.site import Site
from tests.node.told import available, sample
from tests.node.two_sites import Pair, new_id


@contextmanager
def answering(status: int, body: bytes, headers: dict[str, str] | None = None) -> Iterator[str]:
    """A site that answers everything alike; its endpoint."""

    async def answer(request: Request) -> Response:
        await request.body()
        return Response(body, status, headers)

    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    methods = ["GET", "PUT", "POST", "DELETE"]
    app = Starlette(routes=[Route("/{path:path}", answer, methods=methods)])
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off", ws="none"))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What reaches the functions that act on other sites' requests."""
    seen: list[tuple[Any, ...]] = []

    def enter(name: str) -> Any:
        def act(_site: Site, *arguments: Any) -> dict[str, Any]:
            seen.append((name, *arguments))
            return {"kept": True}

        return act

    for name in ("receive_specification", "reserve", "release", "evidence"):
        monkeypatch.setattr(partners, name, enter(name))
    return seen


async def test_a_specification_arrives_with_its_sender(
    pair: Pair, calls: list[tuple[Any, ...]]
) -> None:
    job = new_id()
    await pair.guest.peers.put_specification(pair.host.id, job, b'{"a":1}')
    assert calls == [("receive_specification", pair.guest.id, job, b'{"a":1}')]


async def test_a_slot_is_asked_for_and_given_back(pair: Pair, calls: list[tuple[Any, ...]]) -> None:
    job = new_id()
    await pair.guest.peers.reserve(pair.host.id, job, 1, 4_000_000_000.0)
    await pair.guest.peers.release(pair.host.id, job)
    assert calls == [
        ("reserve", pair.guest.id, job, 4_000_000_000.0),
        ("release", pair.guest.id, job),
    ]


async def test_evidence_comes_back(pair: Pair, calls: list[tuple[Any, ...]]) -> None:
    assert await pair.guest.peers.evidence(pair.host.id, new_id()) == {"kept": True}
    assert calls[0][:2] == ("evidence", pair.guest.id)


async def test_a_refusal_comes_back_with_its_code_and_values(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise Conflict("SlotsTaken", "all slots are taken", found=2, allowed=2, hint="wait")

    monkeypatch.setattr(partners, "reserve", refuse)
    with pytest.raises(Conflict) as refused:
        await pair.guest.peers.reserve(pair.host.id, new_id(), 1, 4_000_000_000.0)
    error = refused.value
    assert (error.code, error.found, error.allowed, error.hint) == ("SlotsTaken", 2, 2, "wait")
    assert pair.host.id in error.detail


@pytest.mark.parametrize("expires", [1, -5, "soon", None])
async def test_a_reservation_without_a_time_to_come_is_refused(pair: Pair, expires: Any) -> None:
    with pytest.raises(NodeError, match="InvalidRequest"):
        await pair.guest.peers._ask(
            "POST",
            pair.host.id,
            f"/sites/v1/jobs/{new_id()}/reservation",
            canonical.dumps({"attempt": 1, "expires": expires}),
        )


async def test_a_body_beyond_four_mebibytes_is_refused(
    pair: Pair, calls: list[tuple[Any, ...]]
) -> None:
    with pytest.raises(NodeError, match="MessageTooLarge"):
        await pair.guest.peers.put_specification(
            pair.host.id, new_id(), b" " * (requests.MAX_JSON_BYTES + 1)
        )
    assert calls == []


async def test_an_altered_specification_is_refused(
    pair: Pair, calls: list[tuple[Any, ...]]
) -> None:
    url = f"{pair.host.settings.endpoint}/sites/v1/jobs/{new_id()}/specification"
    request = httpx.Request("PUT", url, content=b'{"a":2}')
    guest = pair.guest
    sign(request, guest.identity, guest.id, guest.key_id(), canonical.digest(b'{"a":1}'), 7)
    async with site_client() as client:
        answer = await client.send(request)
    assert (answer.status_code, answer.json()["code"]) == (401, "SignatureInvalid")
    assert calls == []


async def test_the_log_of_a_partner_can_be_read_and_proved(pair: Pair) -> None:
    with pair.host.store.begin() as session:
        for n in range(5):
            record(session, "chain.available", "urn:chain", available(n), "sync")
    while pair.host.log.sequence():
        pass
    head = await pair.guest.peers.checkpoint(pair.host.id)
    ask = pair.guest.peers._ask
    told = await ask("GET", pair.host.id, "/sites/v1/log/checkpoint")
    assert (head.size, "0x" + head.root.hex()) == (told["size"], told["root"])

    log = await ask("GET", pair.host.id, "/sites/v1/log/entries?from=1&to=3")
    assert [entry["index"] for entry in log["entries"]] == [1, 2]
    for shown in log["entries"]:
        leaf = merkle.leaf_hash(canonical.dumps(shown["entry"]))
        path = f"/sites/v1/log/proof?size={head.size}&index={shown['index']}"
        proof = [
            bytes.fromhex(node[2:]) for node in (await ask("GET", pair.host.id, path))["proof"]
        ]
        assert merkle.verify_inclusion(head.root, head.size, shown["index"], leaf, proof)


async def test_members_are_shown_the_words_that_are_for_them_and_no_other_field(
    pair: Pair,
) -> None:
    words = sample("brake.pulled") | {"reasonText": "the grid is on fire"}
    with pair.host.store.begin() as session:
        record(session, "brake.pulled", "0x01", words, "0xada")
        record(session, "chain.available", "urn:chain", available(), "sync")
    while pair.host.log.sequence():
        pass
    first = pair.host.log.size - 2
    path = f"/sites/v1/log/entries?from={first}&to={first + 2}"
    told = (await pair.guest.peers._ask("GET", pair.host.id, path))["entries"]
    assert [open_entry(shown) for shown in told] == [words, {}]


async def test_a_head_is_not_taken_on_another_key_than_the_chain_has(pair: Pair) -> None:
    """The partner, or who answers in its place, signs well; but with no key of its on the chain."""
    others = pair.stranger.identity.audit_public
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(pair.book.audit, pair.host.id, others)
        with pytest.raises(NodeError, match="CheckpointInvalid"):
            await pair.guest.peers.checkpoint(pair.host.id)


async def test_the_log_is_shown_to_signed_requests_only(pair: Pair) -> None:
    async with site_client() as client:
        answer = await client.get(f"{pair.host.settings.endpoint}/sites/v1/log/entries")
    assert answer.status_code == 401


async def test_a_site_that_does_not_answer_is_unreachable_and_named(pair: Pair) -> None:
    with pytest.raises(Unavailable) as unreachable:
        await pair.guest.peers.release(pair.stranger.id, new_id())
    assert unreachable.value.code == "PartnerUnreachable"
    assert unreachable.value.found == pair.stranger.id


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (200, b"<html>", "PartnerFailed"),
        (500, b"[]", "PartnerFailed"),
        (403, b'{"code": "<script>", "detail": "x"}', "PartnerFailed"),
        (403, b'{"code": "NotAParty", "detail": "x"}', "NotAParty"),
        (302, b"", "PartnerFailed"),
        (200, b"[" * 70_000, "PartnerFailed"),
        (200, b"[" * 20_000, "PartnerFailed"),
    ],
)
async def test_an_odd_answer_is_a_typed_error(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, status: int, body: bytes, code: str
) -> None:
    with answering(status, body) as endpoint:
        monkeypatch.setitem(pair.book.endpoints, pair.host.id, endpoint)
        with pytest.raises(NodeError) as odd:
            await pair.guest.peers.release(pair.host.id, new_id())
    assert odd.value.code == code


@pytest.mark.parametrize("encoding", ["gzip", "gzip, gzip", "GZIP", "br", "?"])
async def test_a_packed_answer_is_not_unpacked(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    packed = gzip.compress(gzip.compress(b" " * 10_000_000))
    with answering(200, packed, {"Content-Encoding": encoding}) as endpoint:
        monkeypatch.setitem(pair.book.endpoints, pair.host.id, endpoint)
        with pytest.raises(Failed, match="packed"):
            await pair.guest.peers.release(pair.host.id, new_id())
        assert await see(endpoint) == "what answers is no node"


async def test_a_refusal_in_half_characters_is_told_in_whole_ones(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = (
        rb'{"code": "NotAParty", "detail": "\ud800\u0000", "hint": "\udfff", "found": ["\ud800"]}'
    )
    with answering(403, body) as endpoint:
        monkeypatch.setitem(pair.book.endpoints, pair.host.id, endpoint)
        with pytest.raises(Refused) as refused:
            await pair.guest.peers.release(pair.host.id, new_id())
    told = refused.value
    for text in (told.detail, str(told.hint), str(told.found)):
        text.encode()
        assert "\0" not in text


async def test_a_question_takes_no_longer_than_it_may(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "ASK_SECONDS", 0.0)
    with pytest.raises(Unavailable, match="did not answer within"):
        await pair.guest.peers.release(pair.host.id, new_id())


async def test_a_long_story_in_a_refusal_is_cut_short(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = b'{"code": "NotAParty", "detail": "' + b"x" * 5000 + b'", "found": [' + b"1," * 2000
    with answering(403, body + b"1]}") as endpoint:
        monkeypatch.setitem(pair.book.endpoints, pair.host.id, endpoint)
        with pytest.raises(Refused) as refused:
            await pair.guest.peers.release(pair.host.id, new_id())
    assert len(refused.value.detail) < 700
    assert len(str(refused.value.found)) <= peers.MAX_TOLD


async def test_evidence_that_is_no_object_is_refused(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering(200, b"[]") as endpoint:
        monkeypatch.setitem(pair.book.endpoints, pair.host.id, endpoint)
        with pytest.raises(Failed, match="PartnerFailed"):
            await pair.guest.peers.evidence(pair.host.id, new_id())
