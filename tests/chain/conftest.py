"""One in-process consortium for all tests; each test finds the chain as the first one did."""

from collections.abc import Iterator

import pytest

from chain.testing import InProcessChain
from tests.chain.world import World


@pytest.fixture(scope="session")
def founded() -> tuple[InProcessChain, World]:
    chain = InProcessChain()
    return chain, World(chain.client).found()


@pytest.fixture
def chain(founded: tuple[InProcessChain, World]) -> Iterator[InProcessChain]:
    """The chain of `world`, rewound afterwards."""
    shared, _ = founded
    before = shared.snapshot()
    yield shared
    shared.revert(before)
    shared.hold(False)


@pytest.fixture
def world(founded: tuple[InProcessChain, World], chain: InProcessChain) -> World:
    """Two members with sites, datasets and a grant; no job yet."""
    return founded[1].afresh()
