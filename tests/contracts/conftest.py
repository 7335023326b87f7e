"""One consortium for all contract tests; each test gives back the chain as it found it."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from chain.compile import CONTRACTS, Artifact, compile_contracts
from tests.contracts.world import World

FOR_TESTS = ("ConsentRegistryV2", "ConsortiumV2", "MerkleLogHarness", "Wallet")


@pytest.fixture(scope="session")
def deployed() -> World:
    return World()


@pytest.fixture
def world(deployed: World) -> Iterator[World]:
    with deployed.anchored():
        yield deployed


@pytest.fixture(scope="session")
def compiled() -> Mapping[str, Artifact]:
    """All contracts, compiled now, with those that only the tests need."""
    folder = Path(__file__).parent / "solidity"
    more = {f"tests/{file.name}": file.read_text() for file in sorted(folder.glob("*.sol"))}
    return compile_contracts((*CONTRACTS, *FOR_TESTS), more)
