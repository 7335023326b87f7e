"""Every answer of a node whose view of the chain is too old bears a header that says so."""

from __future__ import annotations

import time

import anyio.to_thread
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from node.client import STALE
from node.errors import NodeError
from node.site import Site
from node.staleness import silent_seconds, warning

KEPT_SECONDS = 1.0  # the database is asked at most so often


class StaleHeader:
    """ASGI middleware for ``/v1``; `node.client` shows the line to whoever uses the command line.

    Answers between sites say by their codes what they need the chain for.
    """

    def __init__(self, app: ASGIApp, site: Site) -> None:
        self.app = app
        self.site = site
        self._asked_at = float("-inf")
        self._line: str | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            await self.app(scope, receive, send)
            return

        async def with_header(message: Message) -> None:
            if message["type"] == "http.response.start":
                line = await self._current()
                if line is not None:
                    MutableHeaders(scope=message)[STALE] = line
            await send(message)

        await self.app(scope, receive, with_header)

    async def _current(self) -> str | None:
        if time.monotonic() - self._asked_at > KEPT_SECONDS:
            self._line = await anyio.to_thread.run_sync(self._read)
            self._asked_at = time.monotonic()
        return self._line

    def _read(self) -> str | None:
        try:
            silent = silent_seconds(self.site)
        except NodeError:
            return None  # the answer itself tells that the database is away
        if silent is None:
            return None
        return warning(silent, self.site.settings.staleness_seconds)
