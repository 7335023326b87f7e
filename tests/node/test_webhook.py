"""The webhook: signed, tried again, never in anybody's way, and told nothing of persons."""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from sqlalchemy import delete, select

from node import alerts, webhook
from node.errors import Conflict, Invalid, Unavailable
from node.settings import Settings
from node.site import Site
from node.store import Alert, WebhookDelivery
from node.webhook import FIRST_PAUSE_SECONDS, MAX_ATTEMPTS, Webhook, read_secret, signed_headers
from tests.node.crowd import add, key_for
from tests.node.face import OWN, PARTNER, is_problem, make_site, operator, visitor

NOW = 1_700_000_000.0
SECRET = bytes(range(32))


class Receiver:
    """The operator's own service; `answers` are given in turn, the last one again and again."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, str], bytes]] = [(204, {}, b"")]
        self.got: list[tuple[dict[str, str], bytes]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.got.append(({k.lower(): v for k, v in self.headers.items()}, body))
                status, headers, content = outer.answers[0]
                if len(outer.answers) > 1:
                    outer.answers.pop(0)
                self.send_response(status)
                for name, value in ({"Content-Length": str(len(content))} | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                """Nothing is printed."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/alerts"

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with make_site(tmp_path_factory.mktemp("home")) as made:
        secret = webhook.PREFIX + base64.b64encode(SECRET).decode()
        (made.settings.secrets / "webhook").write_text(secret + "\n")
        yield made


@pytest.fixture
def site(home: Site, receiver: Receiver) -> Site:
    with home.store.begin() as session:
        session.execute(delete(Alert))
        session.execute(delete(WebhookDelivery))
    home.change(webhook_url=receiver.url)
    return home


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def raise_one(site: Site, **evidence: Any) -> str:
    with site.store.begin() as session:
        return alerts.see(session, "log.forked", PARTNER, evidence, now=NOW)


def rows(site: Site) -> list[WebhookDelivery]:
    with site.store.read() as session:
        return list(session.scalars(select(WebhookDelivery).order_by(WebhookDelivery.id)))


def test_a_signature_is_that_of_the_specifications_example() -> None:
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    id, body = "msg_p5jXN8AQM9LWM0D4loKWxJek", '{"test": 2432232314}'
    headers = signed_headers(secret, id, 1614265330, body)
    assert headers == {
        "webhook-id": id,
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


async def test_an_alert_is_brought_signed_and_once(site: Site, receiver: Receiver) -> None:
    id = raise_one(site)
    for _ in range(3):
        await Webhook(site, lambda: NOW).step()
    ((headers, body),) = receiver.got
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    mac = base64.b64encode(hmac.digest(SECRET, signed, hashlib.sha256)).decode()
    assert headers["webhook-signature"] == f"v1,{mac}"
    assert headers["webhook-timestamp"] == str(int(NOW))
    told = json.loads(body)
    assert (told["type"], told["data"]["id"], told["data"]["site"]) == ("alert.raised", id, OWN)
    (row,) = rows(site)
    assert (row.delivered_at, row.due_at, row.attempts) == (NOW, None, 1)


async def test_a_body_names_no_person_and_repeats_nobodys_words(
    site: Site, receiver: Receiver
) -> None:
    with site.store.begin() as session:
        said = {"problem": "what a partner says of 0xPERSON"}
        id = alerts.see(session, "log.silent", PARTNER, said, now=NOW)
    alerts.acknowledge(site, id, NOW)
    with site.store.begin() as session:
        alerts.end(session, "log.silent", PARTNER, now=NOW)
    await Webhook(site, lambda: NOW).step()
    assert [json.loads(body)["type"] for _, body in receiver.got] == ["alert.raised", "alert.over"]
    for _, body in receiver.got:
        told = json.loads(body)
        assert set(told) == {"type", "timestamp", "data"}
        known = {"id", "kind", "severity", "subject", "site", "firstSeen", "count"}
        assert set(told["data"]) == known
        assert b"0xPERSON" not in body
        assert b"operator" not in body


async def test_what_is_not_taken_is_tried_later_and_later_and_then_given_up(
    site: Site, receiver: Receiver
) -> None:
    receiver.answers = [(500, {}, b"no")]
    raise_one(site)
    clock = Clock()
    hook = Webhook(site, clock)
    pauses = []
    for attempt in range(1, MAX_ATTEMPTS + 1):
        await hook.step()
        await hook.step()  # it is not due yet
        (row,) = rows(site)
        assert row.attempts == attempt
        assert "500" in row.problem
        if row.due_at is not None:
            pauses.append(row.due_at - clock.now)
            clock.now = row.due_at
    assert row.due_at is None
    assert row.delivered_at is None
    assert pauses[:3] == [FIRST_PAUSE_SECONDS, 2 * FIRST_PAUSE_SECONDS, 4 * FIRST_PAUSE_SECONDS]
    assert pauses == sorted(pauses)
    assert 86_400 < sum(pauses) < 3 * 86_400
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1


async def test_one_that_fails_does_not_hold_up_the_next(site: Site, receiver: Receiver) -> None:
    receiver.answers = [(503, {}, b""), (200, {}, b"ok")]
    with site.store.begin() as session:
        for about in ("1", "2"):
            alerts.see(session, "log.forked", PARTNER, {}, about=about, now=NOW)
    await Webhook(site, lambda: NOW).step()
    assert [row.delivered_at for row in rows(site)] == [None, NOW]


@pytest.mark.parametrize(
    "answer",
    [
        (302, {"Location": "http://169.254.169.254/"}, b""),
        (404, {}, b""),
        (500, {}, b"x" * 100_000),
    ],
)
async def test_only_a_yes_is_a_yes_and_no_redirect_is_followed(
    site: Site, receiver: Receiver, answer: tuple[int, dict[str, str], bytes]
) -> None:
    receiver.answers = [answer]
    with pytest.raises(Unavailable, match="WebhookUnreachable"):
        await Webhook(site, lambda: NOW).test()
    (row,) = rows(site)
    assert (row.due_at, row.delivered_at) == (None, None)


async def test_a_packed_answer_is_not_unpacked(site: Site, receiver: Receiver) -> None:
    bomb = gzip.compress(bytes(50_000_000), 1)
    receiver.answers = [(200, {"Content-Encoding": "gzip"}, bomb)]
    await Webhook(site, lambda: NOW).test()
    assert rows(site)[0].delivered_at == NOW


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "[fe80::1]", "0.0.0.0", "[::ffff:169.254.169.254]", "0xa9fea9fe"]
)
async def test_nothing_is_told_on_the_link(
    site: Site, receiver: Receiver, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.change(webhook_url=f"https://{host}/latest")
    with pytest.raises(Invalid, match="WebhookInvalid"):
        await Webhook(site, lambda: NOW).test()
    assert receiver.got == []


async def test_a_name_that_leads_to_the_link_is_refused_too(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def resolve(*_: object, **__: object) -> list[Any]:
        return [(2, 1, 6, "", ("169.254.169.254", 443))]

    monkeypatch.setattr("anyio.getaddrinfo", resolve)
    site.change(webhook_url="https://metadata.example/")
    with pytest.raises(Invalid, match="WebhookInvalid"):
        await Webhook(site, lambda: NOW).test()


async def test_nobody_answers_there(site: Site, receiver: Receiver) -> None:
    raise_one(site)
    site.change(webhook_url="http://127.0.0.1:1/")
    await Webhook(site, lambda: NOW).step()
    assert "WebhookUnreachable" in rows(site)[0].problem


async def test_without_a_webhook_nothing_is_kept(site: Site) -> None:
    raise_one(site)
    site.settings = Settings.load(site.settings.home, webhook_url=None)
    await Webhook(site, lambda: NOW).step()
    assert rows(site) == []
    with pytest.raises(Conflict, match="WebhookMissing"):
        await Webhook(site, lambda: NOW).test()


@pytest.mark.parametrize("content", [None, b"", b"whsec_AAAA", b"not base64!", b"\xff" * 40])
async def test_a_secret_that_is_none_is_told_and_never_shown(
    site: Site, content: bytes | None
) -> None:
    path = site.settings.home / "elsewhere"
    path.unlink(missing_ok=True)
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Invalid, match="WebhookSecretInvalid") as refusal:
        read_secret(path)
    assert "AAAA" not in str(refusal.value.to_problem()).replace("whsec_ and", "")


@pytest.mark.parametrize(
    "url", ["ftp://x/", "http://elsewhere.example/", "https://user:pw@x/", "nothing", "https://"]
)
def test_an_address_that_is_no_webhooks_is_refused_in_the_settings(site: Site, url: str) -> None:
    with pytest.raises(Invalid, match="InvalidSettings"):
        Settings.load(site.settings.home, webhook_url=url)


async def test_the_test_is_for_operators(site: Site, receiver: Receiver) -> None:
    async with operator(site) as client:
        answer = await client.post("/v1/alerts/webhook/test")
        shown = await client.get("/v1/alerts/webhook")
    assert answer.status_code == 200
    ((headers, body),) = receiver.got
    assert headers["webhook-id"] == answer.json()["id"] == shown.json()[0]["id"]
    assert json.loads(body)["type"] == "webhook.test"
    add(site, 5, "data-owner")
    bearer = {"Authorization": f"Bearer {key_for(site, 5, 'data-owner').secret}"}
    async with visitor(site, None, **bearer) as client:
        is_problem(await client.post("/v1/alerts/webhook/test"), 403, "RoleMissing")
        is_problem(await client.get("/v1/alerts/webhook"), 403, "RoleMissing")
