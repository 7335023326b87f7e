"""Messages between two sites over real HTTP: what arrives, and what is turned away."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import http.client
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import select, update

from chain import canonical
from chain.reconciliation import APPROVAL, Line, is_receipt
from ml.errors import PartnerSilent
from ml.federation import GUEST, HOST, Address, Channel, Message
from node import doorbell, inbox, mailbox
from node.addresses import WireAddress
from node.directory import JobOnChain
from node.errors import Failed, NodeError, Refused, Unavailable
from node.peers import site_client
from node.receipts import make_receipt, verify_receipt
from node.signatures import sign
from node.site import Site
from node.store import InMessage, LocalJob, OutMessage, Task
from tests.node.told import pending
from tests.node.two_sites import MAX_MESSAGE, MIB, QUOTA, Pair, address, new_id, see_chain


@pytest.fixture
def job(pair: Pair) -> str:
    return pair.start_job()


@pytest.fixture(autouse=True)
def quick_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailbox, "CHECK_SECONDS", 0.02)
    monkeypatch.setattr(mailbox, "FIRST_PAUSE_SECONDS", 0.01)


def digest_of(body: bytes) -> str:
    return "0x" + hashlib.sha256(body).hexdigest()


def signed(
    pair: Pair,
    wire: WireAddress,
    body: bytes = b"hello",
    *,
    by: Site | None = None,
    length: int | None = None,
    method: str = "PUT",
    base: str | None = None,
    **how: Any,
) -> httpx.Request:
    """A request to the host as ``by`` (the guest) signs it."""
    signer = pair.guest if by is None else by
    url = (base or pair.host.settings.endpoint) + wire.path
    request = httpx.Request(method, url, content=body)
    size = len(body) if length is None else length
    sign(request, signer.identity, signer.id, signer.key_id(), digest_of(body), size, **how)
    return request


def send(request: httpx.Request) -> httpx.Response:
    with httpx.Client(trust_env=False) as client:
        return client.send(request)


def answer_to_headers(request: httpx.Request) -> tuple[int, dict[str, Any]]:
    """The answer to the headers of a request whose body is never sent."""
    connection = http.client.HTTPConnection(request.url.host, request.url.port or 80)
    connection.putrequest(request.method, request.url.path, skip_host=True)
    for name, value in request.headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    response = connection.getresponse()
    told = json.loads(response.read())
    connection.close()
    return response.status, told


def code_of(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


def kept(site: Site, job: str) -> list[InMessage]:
    with site.store.read() as session:
        return list(session.scalars(select(InMessage).where(InMessage.job_id == job)))


def recorded(site: Site, job: str, kind: str) -> list[dict[str, Any]]:
    found = [entry for entry in pending(site.store) if entry["subject"] == job]
    return [entry for entry in found if entry["type"] == f"fatechain.{kind}.v1"]


def said(pair: Pair, n: int = 0) -> Address:
    return Address(pair.guest_party, pair.host_party, "tests.Said", n)


# ── What arrives ─────────────────────────────────────────────────────────────────────────────


async def test_a_message_arrives_and_both_sides_can_prove_it(pair: Pair, job: str) -> None:
    guest, host = pair.transport(pair.guest, job), pair.transport(pair.host, job)
    await guest.put(said(pair), b"how are you")
    assert await host.take(said(pair), within=5) == b"how are you"
    await guest.aclose()

    sent = recorded(pair.guest, job, "message.sent")
    received = recorded(pair.host, job, "message.received")
    line = Line.model_validate(sent[0]["data"])
    assert line == Line.model_validate(received[0]["data"])
    assert line.size == len(b"how are you")
    held = (pair.host.id, pair.host.key_id())
    keys = {held: "0x" + pair.host.identity.request_public.hex()}
    receipt = sent[0]["data"]["receipt"]
    assert is_receipt(line, receipt, keys)
    assert not is_receipt(line, receipt, {held: "0x" + pair.guest.identity.request_public.hex()})


async def test_a_declaration_is_entered_with_what_it_says_and_refused_if_it_is_none(
    pair: Pair, job: str
) -> None:
    transport = pair.transport(pair.guest, job)
    declared = {"declares": "approval", "job": job}
    at = Address(pair.guest_party, pair.host_party, APPROVAL, 0)
    await transport.put(at, canonical.dumps(declared))
    for site, kind in ((pair.guest, "message.sent"), (pair.host, "message.received")):
        assert recorded(site, job, kind)[0]["data"]["declared"] == declared

    await transport.aclose()
    wire = replace(address(pair, job), kind=APPROVAL, n=1)
    for body in (b'{"b":1, "a":2}', b"[]", canonical.dumps({"x": "y" * 3000})):
        answer = await asyncio.to_thread(send, signed(pair, wire, body))
        assert code_of(answer) == (422, "InvalidRequest")
    assert len(recorded(pair.host, job, "message.received")) == 1


async def test_the_sender_keeps_the_receipt_and_the_receiver_the_signature(
    pair: Pair, job: str
) -> None:
    transport = pair.transport(pair.guest, job)
    await transport.put(said(pair), b"evidence")
    await transport.aclose()

    with pair.guest.store.read() as session:
        out = session.scalars(select(OutMessage).where(OutMessage.job_id == job)).one()
    wire = address(pair, job)
    verify_receipt(out.receipt, wire, digest_of(b"evidence"), 8, pair.book)
    (row,) = kept(pair.host, job)
    assert row.receipt == out.receipt
    assert f'"@target-uri": {pair.host.settings.endpoint}{wire.path}' in row.signature
    assert pair.guest.key_id() in row.signature


async def test_a_body_of_fifty_megabytes_streams_through_files(pair: Pair, job: str) -> None:
    body = bytes(range(256)) * (50 * MIB // 256)
    guest, host = pair.transport(pair.guest, job), pair.transport(pair.host, job)
    await guest.put(said(pair), body)
    assert digest_of(await host.take(said(pair), within=5)) == digest_of(body)
    await guest.aclose()
    left = [pair.guest.settings.spool / "out", pair.host.settings.spool / "in" / job]
    assert not [path for folder in left for path in folder.iterdir()]


async def test_an_empty_body_is_a_message_too(pair: Pair, job: str) -> None:
    guest, host = pair.transport(pair.guest, job), pair.transport(pair.host, job)
    await guest.put(said(pair), b"")
    assert await host.take(said(pair), within=5) == b""
    await guest.aclose()


async def test_putting_the_same_message_again_is_putting_it_once(pair: Pair, job: str) -> None:
    transport = pair.transport(pair.guest, job)
    await transport.put(said(pair), b"once")
    await transport.put(said(pair), b"once")
    await transport.aclose()
    assert len(kept(pair.host, job)) == 1
    assert len(recorded(pair.guest, job, "message.sent")) == 1


async def test_the_first_receipt_is_given_again_even_after_the_end(pair: Pair, job: str) -> None:
    wire = address(pair, job)
    first = send(signed(pair, wire)).json()
    pair.book.jobs[job] = replace(pair.book.jobs[job], state="SUCCEEDED")
    assert send(signed(pair, wire)).json() == first


async def test_identical_puts_at_once_get_one_receipt(pair: Pair, job: str) -> None:
    wire = address(pair, job)
    requests = [signed(pair, wire, b"x" * 100_000) for _ in range(8)]
    async with site_client() as client:
        answers = await asyncio.gather(*(client.send(request) for request in requests))
    receipts = [answer.json() for answer in answers]
    assert {answer.status_code for answer in answers} == {200}
    assert all(receipt == receipts[0] for receipt in receipts)
    assert len(kept(pair.host, job)) == 1
    assert len(recorded(pair.host, job, "message.received")) == 1
    assert len(list((pair.host.settings.spool / "in" / job).iterdir())) == 1


async def test_a_message_before_the_tasks_are_made_is_kept_for_them(pair: Pair) -> None:
    job = pair.start_job(steps=())
    assert send(signed(pair, address(pair, job))).status_code == 200


async def test_whoever_waits_hears_the_bell(
    pair: Pair, job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailbox, "CHECK_SECONDS", 60.0)
    guest, host = pair.transport(pair.guest, job), pair.transport(pair.host, job)
    waiting = asyncio.create_task(host.take(said(pair), within=30))
    answering = asyncio.create_task(guest.put(said(pair), b"ring"))
    assert await asyncio.wait_for(waiting, 20) == b"ring"
    await answering
    await guest.aclose()


async def test_a_message_is_found_while_the_broker_is_away(
    pair: Pair, job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doorbell, "RECHECK_SECONDS", 0.02)
    monkeypatch.setattr(pair.host, "doorbell", doorbell.Doorbell("unix:///nowhere/valkey.sock"))
    guest, host = pair.transport(pair.guest, job), pair.transport(pair.host, job)
    waiting = asyncio.create_task(host.take(said(pair), within=30))
    await guest.put(said(pair), b"no bell")
    assert await waiting == b"no bell"
    await guest.aclose()


class Question(Message, sender=GUEST, to=HOST):
    """A number."""

    value: int


class Answer(Message, sender=HOST, to=GUEST):
    """Its double."""

    value: int


async def test_a_conversation_runs_between_two_sites(pair: Pair, job: str) -> None:
    parties = (pair.guest_party, pair.host_party)
    ends = {site.id: pair.transport(site, job) for site in (pair.guest, pair.host)}
    channels = {p.role: Channel(p, parties, ends[p.site], timeout=20) for p in parties}

    async def ask() -> list[int]:
        answers = []
        for value in range(5):
            await channels[GUEST].send(Question(value))
            answers.append((await channels[GUEST].receive(Answer)).value)
        return answers

    async def reply() -> None:
        for _ in range(5):
            await channels[HOST].send(Answer(2 * (await channels[HOST].receive(Question)).value))

    answers, _ = await asyncio.gather(ask(), reply())
    assert answers == [0, 2, 4, 6, 8]
    for transport in ends.values():
        await transport.aclose()


# ── What is turned away ──────────────────────────────────────────────────────────────────────


def test_an_unsigned_request_is_refused(pair: Pair, job: str) -> None:
    request = httpx.Request(
        "PUT", pair.host.settings.endpoint + address(pair, job).path, content=b"hello"
    )
    assert code_of(send(request)) == (401, "Unauthenticated")


def test_a_forged_signature_is_refused(pair: Pair, job: str) -> None:
    class Forger:
        request_key = Ed25519PrivateKey.generate()

    request = httpx.Request(
        "PUT", pair.host.settings.endpoint + address(pair, job).path, content=b"hello"
    )
    forger: Any = Forger()
    sign(request, forger, pair.guest.id, pair.guest.key_id(), digest_of(b"hello"), 5)
    assert code_of(send(request)) == (401, "SignatureInvalid")


def test_an_altered_body_is_refused_and_not_kept(pair: Pair, job: str) -> None:
    request = signed(pair, address(pair, job), b"hello")
    altered = httpx.Request("PUT", request.url, headers=request.headers, content=b"jello")
    assert code_of(send(altered)) == (401, "SignatureInvalid")
    assert not kept(pair.host, job)
    assert not list((pair.host.settings.spool / "in" / job).iterdir())


def test_a_replayed_request_is_refused(pair: Pair, job: str) -> None:
    request = signed(pair, address(pair, job))
    assert send(request).status_code == 200
    again = httpx.Request("PUT", request.url, headers=request.headers, content=b"hello")
    assert code_of(send(again)) == (409, "RequestReplayed")


def test_a_signature_for_another_path_is_refused(pair: Pair, job: str) -> None:
    request = signed(pair, address(pair, job, n=0))
    request.url = httpx.URL(pair.host.settings.endpoint + address(pair, job, n=1).path)
    assert code_of(send(request)) == (401, "SignatureInvalid")


def test_a_signature_for_another_method_is_refused(pair: Pair, job: str) -> None:
    assert code_of(send(altered(signed(pair, address(pair, job), method="POST")))) == (
        401,
        "SignatureInvalid",
    )


def test_a_signature_for_another_site_is_refused(pair: Pair, job: str) -> None:
    request = signed(pair, address(pair, job), base=pair.guest.settings.endpoint)
    here = httpx.URL(pair.host.settings.endpoint)
    request.url = request.url.copy_with(port=here.port)  # the Host header stays as signed
    assert code_of(send(request)) == (401, "SignatureInvalid")


@pytest.mark.parametrize("seconds", [-62, 62])
def test_a_signature_of_another_time_is_refused(pair: Pair, job: str, seconds: int) -> None:
    created = datetime.now(UTC) + timedelta(seconds=seconds)
    assert code_of(send(signed(pair, address(pair, job), created=created))) == (
        401,
        "SignatureInvalid",
    )


def test_a_site_cannot_put_the_messages_of_another(pair: Pair, job: str) -> None:
    assert code_of(send(signed(pair, address(pair, job), by=pair.stranger))) == (403, "NotAParty")


def test_a_message_for_another_site_is_refused(pair: Pair, job: str) -> None:
    wire = address(pair, job, receiver=pair.stranger.id)
    assert code_of(send(signed(pair, wire))) == (403, "NotAParty")


def test_a_party_of_another_job_is_refused(pair: Pair, job: str) -> None:
    wire = address(pair, job, sender=pair.stranger.id)
    assert code_of(send(signed(pair, wire, by=pair.stranger))) == (403, "NotAParty")


def test_a_refusal_is_entered_in_the_log(pair: Pair, job: str) -> None:
    wire = address(pair, job, sender=pair.stranger.id)
    send(signed(pair, wire, by=pair.stranger))
    (entry,) = recorded(pair.host, job, "message.refused")
    assert entry["actor"] == pair.stranger.id
    assert entry["data"]["code"] == "NotAParty"


def test_a_job_that_the_chain_does_not_know_is_refused(pair: Pair) -> None:
    assert code_of(send(signed(pair, address(pair, new_id())))) == (404, "NotFound")


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"attempt": 2}, "WrongAttempt"), ({"step": "evaluate"}, "MessageUnexpected")],
)
def test_another_attempt_or_step_is_refused(
    pair: Pair, job: str, changes: dict[str, Any], code: str
) -> None:
    assert code_of(send(signed(pair, address(pair, job, **changes)))) == (409, code)


def test_an_address_that_is_none_is_refused(pair: Pair, job: str) -> None:
    wire = address(pair, job)
    request = httpx.Request(
        "PUT",
        pair.host.settings.endpoint + wire.path.replace(wire.kind, "tests%2F..%2Fx"),
        content=b"hello",
    )
    sign(request, pair.guest.identity, pair.guest.id, pair.guest.key_id(), digest_of(b"hello"), 5)
    assert send(request).status_code in (404, 422)


def test_a_too_large_message_is_refused_before_its_body_is_sent(pair: Pair, job: str) -> None:
    request = signed(pair, address(pair, job), length=MAX_MESSAGE + 1)
    status, told = answer_to_headers(request)
    assert (status, told["code"]) == (413, "MessageTooLarge")
    assert told["allowed"] == MAX_MESSAGE


def test_a_stranger_is_refused_before_its_body_is_sent(pair: Pair, job: str) -> None:
    request = signed(pair, address(pair, job), by=pair.stranger)
    assert answer_to_headers(request)[0] == 403


def test_a_body_that_ends_early_is_not_kept(pair: Pair, job: str) -> None:
    request = signed(pair, address(pair, job), b"hello", length=5)
    connection = http.client.HTTPConnection(request.url.host, request.url.port or 80)
    connection.putrequest("PUT", request.url.path, skip_host=True)
    for name, value in request.headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    connection.send(b"hel")
    connection.close()
    # The same message, whole, is welcome afterwards.
    assert send(signed(pair, address(pair, job), b"hello")).status_code == 200
    assert len(kept(pair.host, job)) == 1


def test_a_request_without_a_length_is_refused(pair: Pair, job: str) -> None:
    request = signed(pair, address(pair, job))
    del request.headers["Content-Length"]

    def chunks() -> Iterator[bytes]:
        yield b"hello"

    chunked = httpx.Request("PUT", request.url, headers=request.headers, content=chunks())
    assert code_of(send(chunked)) == (422, "InvalidRequest")


def test_another_body_at_the_same_address_is_refused(pair: Pair, job: str) -> None:
    assert send(signed(pair, address(pair, job), b"first")).status_code == 200
    response = send(signed(pair, address(pair, job), b"other"))
    assert code_of(response) == (409, "MessageConflict")
    assert response.json()["allowed"] == digest_of(b"first")


def test_a_revoked_key_is_refused(pair: Pair, job: str) -> None:
    with pair.book.refusing(pair.guest.key_id(), Refused("KeyRevoked", "ended at block 7")):
        assert code_of(send(signed(pair, address(pair, job)))) == (403, "KeyRevoked")


def test_a_key_of_one_site_does_not_speak_for_another(pair: Pair, job: str) -> None:
    request = httpx.Request(
        "PUT", pair.host.settings.endpoint + address(pair, job).path, content=b"hello"
    )
    thief = pair.stranger
    sign(request, thief.identity, pair.guest.id, thief.key_id(), digest_of(b"hello"), 5)
    assert code_of(send(request)) == (401, "SignatureInvalid")


def test_a_sender_beyond_its_quota_is_refused_until_its_messages_are_taken(
    pair: Pair, job: str
) -> None:
    with pair.host.store.begin() as session:
        session.execute(update(InMessage).values(taken_at=1.0))
    large = b"q" * (QUOTA // 2 - inbox.OWN_BYTES - 1000)
    for n in (0, 1):
        assert send(signed(pair, address(pair, job, n), large)).status_code == 200
    refused = signed(pair, address(pair, job, 2), length=3000)
    status, told = answer_to_headers(refused)
    assert (status, told["code"]) == (503, "QuotaExceeded")
    with pair.host.store.begin() as session:
        session.execute(update(InMessage).where(InMessage.job_id == job).values(taken_at=1.0))
    assert send(signed(pair, address(pair, job, 2), large)).status_code == 200


def test_empty_messages_fill_a_quota_too(
    pair: Pair, job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pair.host.store.begin() as session:
        session.execute(update(InMessage).values(taken_at=1.0))
    monkeypatch.setattr(inbox, "OWN_BYTES", QUOTA // 2 + 1)
    for n in (0, 1):
        assert send(signed(pair, address(pair, job, n), b"")).status_code == 200
    assert code_of(send(signed(pair, address(pair, job, 2), b""))) == (503, "QuotaExceeded")
    monkeypatch.setattr(inbox, "OWN_BYTES", QUOTA + 1)  # it would never fit
    assert code_of(send(signed(pair, address(pair, job, 2), b""))) == (413, "QuotaExceeded")


def test_refusals_without_end_do_not_grow_the_log_without_end(
    pair: Pair, job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "REFUSALS_KEPT", 2)
    pair.host.inbox._refused.clear()
    for n in range(4):
        refused = send(signed(pair, address(pair, job, n), b"x", by=pair.stranger))
        assert code_of(refused) == (403, "NotAParty")
    assert len(recorded(pair.host, job, "message.refused")) == 2
    pair.host.inbox._refused.clear()


def test_bodies_of_an_ended_job_are_let_go(pair: Pair, job: str) -> None:
    assert send(signed(pair, address(pair, job))).status_code == 200
    with pair.host.store.begin() as session:
        session.execute(update(LocalJob).where(LocalJob.id == job).values(ended_at=1.0))
    assert pair.host.inbox.sweep() >= 1
    (row,) = kept(pair.host, job)
    assert row.taken_at is not None
    assert not (pair.host.settings.home / row.path).exists()


def test_bodies_of_ended_jobs_make_room_when_it_is_needed(pair: Pair, job: str) -> None:
    with pair.host.store.begin() as session:
        session.execute(update(InMessage).values(taken_at=1.0))
    large = b"q" * (QUOTA // 2 - inbox.OWN_BYTES)
    for n in (0, 1):
        assert send(signed(pair, address(pair, job, n), large[:-10])).status_code == 200
    with pair.host.store.begin() as session:
        session.execute(update(LocalJob).where(LocalJob.id == job).values(ended_at=1.0))
    next_job = pair.start_job()
    assert send(signed(pair, address(pair, next_job), large)).status_code == 200


@pytest.mark.parametrize("state", ["STOPPING", "STOPPED", "FAILED", "SUCCEEDED"])
def test_a_task_that_stops_takes_no_more_messages(pair: Pair, job: str, state: str) -> None:
    set_task(pair.host, job, state)
    assert code_of(send(signed(pair, address(pair, job)))) == (409, "MailboxClosed")


@pytest.mark.parametrize(
    ("state", "status"), [("APPROVED", 503), ("CANCELLED", 409), ("EXPIRED", 409)]
)
def test_a_job_that_does_not_run_takes_no_messages(
    pair: Pair, job: str, state: str, status: int
) -> None:
    pair.book.jobs[job] = JobOnChain(job, state, pair.book.jobs[job].parties)
    assert code_of(send(signed(pair, address(pair, job)))) == (status, "MailboxClosed")


def test_without_the_chain_nothing_is_taken(pair: Pair, job: str) -> None:
    with pair.book.refusing(job, Unavailable("ChainUnavailable", "no answer")):
        assert code_of(send(signed(pair, address(pair, job)))) == (503, "ChainUnavailable")
    assert not kept(pair.host, job)


# ── The party's end ──────────────────────────────────────────────────────────────────────────


async def test_a_silent_partner_is_named(pair: Pair, job: str) -> None:
    with pytest.raises(PartnerSilent) as silent:
        await pair.transport(pair.host, job).take(said(pair), within=0.05)
    assert silent.value.party == str(pair.guest_party)
    assert silent.value.kind == "tests.Said"
    assert silent.value.seconds == 0.05


async def test_a_waiting_task_stops_when_it_is_told_to(pair: Pair, job: str) -> None:
    transport = pair.transport(pair.host, job)
    waiting = asyncio.create_task(transport.take(said(pair), within=60))
    await asyncio.to_thread(set_task, pair.host, job, "STOPPING")
    with pytest.raises(Failed) as stopped:
        await asyncio.wait_for(waiting, 20)
    assert stopped.value.code == "TaskStopped"


async def test_a_stopped_task_sends_nothing(pair: Pair, job: str) -> None:
    set_task(pair.guest, job, "STOPPING")
    with pytest.raises(Failed, match="TaskStopped"):
        await pair.transport(pair.guest, job).put(said(pair), b"late")
    assert not kept(pair.host, job)


async def test_waiting_pauses_while_the_chain_is_out_of_sight(pair: Pair, job: str) -> None:
    assert send(signed(pair, address(pair, job), b"here")).status_code == 200
    see_chain(pair.host, seconds_ago=1000)
    waiting = asyncio.create_task(pair.transport(pair.host, job).take(said(pair), within=0.0))
    done, _ = await asyncio.wait({waiting}, timeout=0.1)
    assert not done  # neither the message, nor the impatience of 0 seconds
    see_chain(pair.host)
    assert await asyncio.wait_for(waiting, 20) == b"here"


async def test_a_step_without_time_left_ends_because_the_chain_is_stale(
    pair: Pair, job: str
) -> None:
    see_chain(pair.host, seconds_ago=1000)
    transport = pair.transport(pair.host, job, step_seconds=0.05)
    try:
        with pytest.raises(Unavailable) as stale:
            await transport.take(said(pair), within=60)
        assert stale.value.code == "ChainStale"
        with pytest.raises(Unavailable) as stale:
            await transport.put(Address(pair.host_party, pair.guest_party, "t.X", 0), b"x")
        assert stale.value.code == "ChainStale"
    finally:
        see_chain(pair.host)


async def test_a_partner_that_does_not_answer_is_named(
    pair: Pair, job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(pair.book.endpoints, pair.host.id, pair.stranger.settings.endpoint)
    transport = mailbox.MailboxTransport(
        pair.guest, job, "train", 1, pair.guest_party, (), message_seconds=0.05
    )
    with pytest.raises(Unavailable) as unreachable:
        await transport.put(said(pair), b"anybody there")
    assert unreachable.value.code == "PartnerUnreachable"
    assert unreachable.value.found == pair.host.id
    assert not recorded(pair.guest, job, "message.sent")
    await transport.aclose()


async def test_sending_goes_on_when_the_partner_is_back(
    pair: Pair, job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = pair.book.endpoints[pair.host.id]
    asked = 0

    def endpoint(site_id: str) -> str:
        nonlocal asked
        asked += 1
        return right if asked > 2 else pair.stranger.settings.endpoint

    monkeypatch.setattr(pair.book, "endpoint", endpoint)
    transport = pair.transport(pair.guest, job)
    await transport.put(said(pair), b"third time")
    await transport.aclose()
    assert [row.size for row in kept(pair.host, job)] == [10]


async def test_a_refusal_of_the_receiver_comes_back_as_it_was_there(pair: Pair, job: str) -> None:
    set_task(pair.host, job, "STOPPING")
    transport = pair.transport(pair.guest, job)
    with pytest.raises(NodeError) as refused:
        await transport.put(said(pair), b"too late")
    assert (refused.value.status, refused.value.code) == (409, "MailboxClosed")
    assert pair.host.id in refused.value.detail
    await transport.aclose()


@pytest.mark.parametrize(
    "change",
    [
        {"digest": "0x" + "00" * 32},
        {"size": 6},
        {"receiver": "0x" + "00" * 32},
        {"receivedAt": "2020-01-01T00:00:00Z"},
        {"signature": "AAAA"},
        {"keyId": "0x" + "00" * 32},
        {"extra": 1},
    ],
)
def test_a_receipt_that_does_not_hold_is_an_error(
    pair: Pair, job: str, change: dict[str, Any]
) -> None:
    wire, digest = address(pair, job), digest_of(b"hello")
    receipt = make_receipt(pair.host.identity, pair.host.key_id(), wire, digest, 5)
    verify_receipt(receipt, wire, digest, 5, pair.book)
    with pytest.raises(Failed) as invalid:
        verify_receipt(receipt | change, wire, digest, 5, pair.book)
    assert invalid.value.code == "ReceiptInvalid"


def test_a_receipt_whose_signature_is_spelled_in_another_way_is_an_error(
    pair: Pair, job: str
) -> None:
    wire, digest = address(pair, job), digest_of(b"hello")
    receipt = make_receipt(pair.host.identity, pair.host.key_id(), wire, digest, 5)
    spelled = receipt["signature"]
    assert spelled.endswith("==")
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    other = spelled[:-3] + letters[letters.index(spelled[-3]) + 1] + "=="
    assert base64.b64decode(other) == base64.b64decode(spelled)
    with pytest.raises(Failed) as invalid:
        verify_receipt(receipt | {"signature": other}, wire, digest, 5, pair.book)
    assert invalid.value.code == "ReceiptInvalid"


@pytest.mark.parametrize(
    "when", ["yesterday", "", "2020-01-01T00:00:00Z" + "0" * 40, "2020-01-01 00:00:00Z"]
)
def test_a_receipt_of_no_time_is_an_error_though_it_is_signed(
    pair: Pair, job: str, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire, digest = address(pair, job), digest_of(b"hello")
    monkeypatch.setattr("node.receipts.now", lambda: when)
    receipt = make_receipt(pair.host.identity, pair.host.key_id(), wire, digest, 5)
    for found in (receipt, receipt | {"receivedAt": "\ud800"}):
        with pytest.raises(Failed) as invalid:
            verify_receipt(found, wire, digest, 5, pair.book)
        assert invalid.value.code == "ReceiptInvalid"
        assert "receivedAt" in invalid.value.detail


def test_a_receipt_signed_by_somebody_else_is_an_error(pair: Pair, job: str) -> None:
    wire, digest = address(pair, job), digest_of(b"hello")
    receipt = make_receipt(pair.stranger.identity, pair.stranger.key_id(), wire, digest, 5)
    with pytest.raises(Failed, match="ReceiptInvalid"):
        verify_receipt(receipt, wire, digest, 5, pair.book)


def set_task(site: Site, job: str, state: str) -> None:
    with site.store.begin() as session:
        session.execute(update(Task).where(Task.job_id == job).values(state=state))


def altered(request: httpx.Request) -> httpx.Request:
    """The same request with the method PUT."""
    return httpx.Request("PUT", request.url, headers=request.headers, content=b"hello")
