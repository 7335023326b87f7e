"""Alerts brought to the operator's own systems, as Standard Webhooks has it.

    webhook-id          of the message; the same whenever it is tried again
    webhook-timestamp   Unix seconds of this try
    webhook-signature   v1,<base64 of HMAC-SHA256 over "<id>.<timestamp>.<body>">

Messages are rows, written in the transaction of what they tell; a loop of their own brings them,
later and later where nobody takes them.  A body names kinds, ids and counts: no person, and
nothing that others wrote.  Source: Standard Webhooks, specification 1.0
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import httpx
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from node.answers import AS_IT_IS, is_packed
from node.audit.entries import new_id
from node.directory import is_no_place
from node.errors import Conflict, Invalid, NodeError, Unavailable
from node.store import Alert, WebhookDelivery

if TYPE_CHECKING:
    from node.site import Site

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
TRY_SECONDS = 10.0  # for one delivery, from the name to the answer
FIRST_PAUSE_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 6 * 3600.0
MAX_ATTEMPTS = 20  # over about two days
MAX_KEPT = 1000  # of what is delivered or given up, for people to look at
AT_ONCE = 10  # in one pass
MAX_ANSWER_BYTES = 4096
PREFIX = "whsec_"
MIN_SECRET_BYTES = 24


def enqueue(session: Session, event: str, alert: Alert, now: float) -> None:
    """Have the webhook told what happened to an alert; without a webhook it comes to nothing."""
    data = {
        "id": alert.id,
        "kind": alert.kind,
        "severity": alert.severity,
        "subject": alert.subject,
        "firstSeen": rfc3339(alert.first_seen),
        "count": alert.count,
    }
    _put(session, event, data, now)


def _put(session: Session, event: str, data: Mapping[str, Any], now: float) -> WebhookDelivery:
    site = session.info.get("source")
    told = {"type": event, "timestamp": rfc3339(now), "data": {**data, "site": site}}
    body = json.dumps(told, separators=(",", ":"), sort_keys=True)
    row = WebhookDelivery(id=new_id(), body=body, due_at=now, created_at=now)
    session.add(row)
    return row


def signed_headers(secret: bytes, id: str, timestamp: int, body: str) -> dict[str, str]:
    """The three headers of a message."""
    mac = hmac.digest(secret, f"{id}.{timestamp}.{body}".encode(), hashlib.sha256)
    return {
        "webhook-id": id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": "v1," + base64.b64encode(mac).decode(),
    }


def read_secret(path: Path) -> bytes:
    """``whsec_`` and base64 of at least 24 bytes; raises `Invalid` (``WebhookSecretInvalid``)."""
    try:
        text = path.read_text(encoding="ascii").strip()
        secret = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (OSError, UnicodeError, binascii.Error) as error:
        raise _bad_secret(path) from error
    if len(secret) < MIN_SECRET_BYTES:
        raise _bad_secret(path)
    return secret


class Webhook:
    """Brings what waits.  ``clock`` is in Unix seconds."""

    def __init__(self, site: Site, clock: Callable[[], float] = time.time) -> None:
        self.site, self.clock = site, clock

    async def run(self, ending: threading.Event) -> None:
        """Until the process ends."""
        while not ending.is_set():
            try:
                await self.step()
            except NodeError as problem:
                log.warning("webhook: %s", problem)
            except Exception:
                log.exception("webhook")  # a mistake of ours must not end all telling
            await asyncio.sleep(LOOK_SECONDS)

    async def step(self) -> None:
        """Try what is due, the oldest first."""
        for id in await anyio.to_thread.run_sync(self._due):
            await self.deliver(id)

    async def deliver(self, id: str) -> None:
        """One try; it is noted how it went, and when the next one is."""
        problem = ""
        try:
            await self._post(id)
        except NodeError as error:
            problem = f"{error.code}: {error.detail}"
        await anyio.to_thread.run_sync(self._settle, id, problem)

    async def test(self) -> str:
        """Send a message that tells of nothing, now; its id.

        Raises `Conflict` (``WebhookMissing``), and what hindered it.
        """
        if self.site.settings.webhook_url is None:
            raise Conflict(
                "WebhookMissing",
                "no webhook is set",
                hint="set webhook_url, and the secret in secrets/webhook",
            )

        def put() -> str:
            with self.site.store.begin() as session:
                row = _put(session, "webhook.test", {}, self.clock())
                row.due_at = None  # tried here and now, and never again
                return row.id

        id = await anyio.to_thread.run_sync(put)
        try:
            await self._post(id)
        except NodeError as error:
            problem = f"{error.code}: {error.detail}"
            await anyio.to_thread.run_sync(self._settle, id, problem, False)
            raise
        await anyio.to_thread.run_sync(self._settle, id, "")
        return id

    # ── How ──────────────────────────────────────────────────────────────────────────────────

    def _due(self) -> list[str]:
        with self.site.store.begin() as session:
            if self.site.settings.webhook_url is None:
                session.execute(delete(WebhookDelivery))
                return []
            done = select(WebhookDelivery.id).where(WebhookDelivery.due_at.is_(None))
            old = done.order_by(WebhookDelivery.created_at.desc()).offset(MAX_KEPT)
            session.execute(delete(WebhookDelivery).where(WebhookDelivery.id.in_(old)))
            due = select(WebhookDelivery.id).where(WebhookDelivery.due_at <= self.clock())
            order = due.order_by(WebhookDelivery.due_at, WebhookDelivery.id)
            return list(session.scalars(order.limit(AT_ONCE)))

    def _message(self, id: str) -> tuple[str, str, dict[str, str]]:
        """URL, body and headers."""
        settings = self.site.settings
        secret = read_secret(settings.webhook_secret_file or settings.secrets / "webhook")
        with self.site.store.read() as session:
            body = session.get_one(WebhookDelivery, id).body
        assert settings.webhook_url is not None
        return settings.webhook_url, body, signed_headers(secret, id, int(self.clock()), body)

    async def _post(self, id: str) -> None:
        """Raises `NodeError` unless it was taken (status 2xx)."""
        url, body, headers = await anyio.to_thread.run_sync(self._message, id)
        try:
            with anyio.fail_after(TRY_SECONDS):
                await _refuse_the_link(url)
                status = await _send(url, body.encode(), headers)
        except TimeoutError as error:
            raise _not_taken(f"it does not answer within {TRY_SECONDS:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise _not_taken(f"it does not answer: {type(error).__name__}") from error
        if not 200 <= status < 300:
            raise _not_taken(f"it answered with status {status}")

    def _settle(self, id: str, problem: str, again: bool = True) -> None:
        now = self.clock()
        with self.site.store.begin() as session:
            row = session.get_one(WebhookDelivery, id)
            row.attempts += 1
            row.problem = problem[:200]
            if not problem:
                row.due_at, row.delivered_at = None, now
            elif again and row.attempts < MAX_ATTEMPTS:
                pause = FIRST_PAUSE_SECONDS * 2 ** (row.attempts - 1)
                row.due_at = now + min(pause, LONGEST_PAUSE_SECONDS)
            else:
                row.due_at = None


def waiting(session: Session) -> int:
    """Messages that are not delivered and not given up."""
    of = select(func.count()).select_from(WebhookDelivery)
    return session.scalar(of.where(WebhookDelivery.due_at.is_not(None))) or 0


async def _refuse_the_link(url: str) -> None:
    """On its link a machine in a cloud finds its secrets: nothing is told there, by any name."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    found = [host]
    if not is_no_place(host):
        port = parts.port or (443 if parts.scheme == "https" else 80)
        names = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        found = [str(address[0]) for *_, address in names]
    if any(map(is_no_place, found)):
        raise Invalid(
            "WebhookInvalid",
            "webhook_url leads to an address where no service can be",
            found=host,
            hint="name a service of your own",
        )


async def _send(url: str, body: bytes, headers: dict[str, str]) -> int:
    """The status of the answer; what else it says is not looked at."""
    sent = {"Content-Type": "application/json", **AS_IT_IS, **headers}
    async with (
        httpx.AsyncClient(timeout=TRY_SECONDS, follow_redirects=False, trust_env=False) as client,
        client.stream("POST", url, content=body, headers=sent) as response,
    ):
        read = 0
        if not is_packed(response):
            async for chunk in response.aiter_bytes():
                if (read := read + len(chunk)) > MAX_ANSWER_BYTES:
                    break
        return response.status_code


def rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _bad_secret(path: Path) -> NodeError:
    return Invalid(
        "WebhookSecretInvalid",
        f"{path} holds no secret of a webhook",
        allowed=f"{PREFIX} and base64 of at least {MIN_SECRET_BYTES} bytes",
    )


def _not_taken(detail: str) -> NodeError:
    return Unavailable("WebhookUnreachable", f"the webhook did not take it: {detail}")
