"""What the tests of a node share: a broker, and two sites that speak over HTTP."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

import pytest

from node.doorbell import Broker
from tests.node.two_sites import Pair, running_pair


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    """A broker of our own; its socket's path is short wherever pytest keeps its files."""
    with tempfile.TemporaryDirectory(prefix="fc") as folder:
        broker = Broker(f"unix://{folder}/valkey.sock")
        broker.start()
        yield broker
        broker.stop()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, broker: Broker) -> Iterator[Pair]:
    with running_pair(tmp_path_factory.mktemp("sites") / "s", broker.redis_url) as pair:
        yield pair
