"""The doorbell, with a real broker that also goes away."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator

import pytest

from node import doorbell
from node.doorbell import Broker, Doorbell
from node.errors import Unavailable


@pytest.fixture
def own_broker() -> Iterator[Broker]:
    """One that a test may stop."""
    with tempfile.TemporaryDirectory(prefix="fc") as folder:
        broker = Broker(f"unix://{folder}/valkey.sock")
        broker.start()
        yield broker
        broker.stop()


@pytest.fixture(autouse=True)
def quick_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doorbell, "RECHECK_SECONDS", 0.02)


async def test_a_ring_is_heard_by_whoever_listens_to_that_channel(broker: Broker) -> None:
    bell = Doorbell(broker.redis_url)
    async with bell.listen("one") as one, bell.listen("two") as two:
        assert await asyncio.to_thread(bell.ring, "one")
        assert await one.wait(10)
        assert not await two.wait(0.01)
    bell.close()


async def test_a_ring_between_listening_and_waiting_is_not_lost(broker: Broker) -> None:
    bell = Doorbell(broker.redis_url)
    async with bell.listen("here") as listening:
        bell.ring("here")
        assert await listening.wait(10)
    bell.close()


async def test_nobody_rings_and_the_wait_ends(broker: Broker) -> None:
    assert not await Doorbell(broker.redis_url).wait("silence", 0.01)


async def test_a_listener_survives_the_restart_of_the_broker(own_broker: Broker) -> None:
    bell = Doorbell(own_broker.redis_url)
    async with bell.listen("here") as listening:
        await asyncio.to_thread(own_broker.stop)
        assert not await listening.wait(10)  # look into the database: who knows what was missed
        assert not bell.ring("here")
        await asyncio.to_thread(own_broker.start)
        assert not await listening.wait(10)  # it listens again, and says to look once more
        assert bell.ring("here")
        assert await listening.wait(10)
    bell.close()


async def test_without_a_broker_a_wait_comes_back_to_look(own_broker: Broker) -> None:
    own_broker.stop()
    async with asyncio.timeout(20):
        assert not await Doorbell(own_broker.redis_url).wait("here", 3600)


def test_a_broker_that_is_away_is_a_typed_error(own_broker: Broker) -> None:
    bell = Doorbell(own_broker.redis_url)
    bell.check()
    own_broker.stop()
    with pytest.raises(Unavailable) as unavailable:
        bell.check()
    assert unavailable.value.code == "BrokerUnavailable"
    bell.close()


def test_stopping_twice_is_stopping_once(own_broker: Broker) -> None:
    own_broker.stop()
    own_broker.stop()


@pytest.mark.parametrize("url", ["redis://127.0.0.1:6379", f"unix:///{'x' * 120}/valkey.sock"])
def test_a_broker_that_cannot_be_embedded_is_refused_with_advice(url: str) -> None:
    with pytest.raises(Unavailable) as unavailable:
        Broker(url)
    assert unavailable.value.code == "BrokerUnavailable"
    assert unavailable.value.hint is not None
