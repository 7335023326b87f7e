"""One consortium for all contract tests; each test gives back the chain as it found it.

`--engine` says on which chain: py-evm, anvil or ganache.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from chain import compile as compiler
from chain.compile import CONTRACTS, Artifact, compile_contracts, read_sources
from tests.contracts.engines import running
from tests.contracts.world import World

FOR_TESTS = ("ConsentRegistryV2", "ConsortiumV2", "MerkleLogHarness", "Wallet")


@pytest.fixture(scope="session")
def deployed(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    with running(pytestconfig.getoption("--engine"), tmp_path_factory.mktemp("chain")) as chain:
        yield World(chain)


@pytest.fixture
def world(deployed: World) -> Iterator[World]:
    with deployed.anchored():
        yield deployed


@pytest.fixture(scope="session")
def compiled(pytestconfig: pytest.Config) -> Mapping[str, Artifact]:
    """All contracts as their sources make them now, with those that only the tests need.

    Compiled once for all engines: what is kept counts only for the same sources and compiler.
    """
    folder = Path(__file__).parent / "solidity"
    more = {f"tests/{file.name}": file.read_text() for file in sorted(folder.glob("*.sol"))}
    names = (*CONTRACTS, *FOR_TESTS)
    key = f"fatechain/contracts/{_digest(names, {**read_sources(), **more})}"
    kept = pytestconfig.cache.get(key, None) if pytestconfig.cache else None
    if kept is None:
        made = compile_contracts(names, more)
        kept = {name: artifact.to_json() for name, artifact in made.items()}
        if pytestconfig.cache:
            pytestconfig.cache.set(key, kept)
    return {name: Artifact.from_json(text) for name, text in kept.items()}


def _digest(names: tuple[str, ...], sources: Mapping[str, str]) -> str:
    """Of everything that an artifact depends on."""
    assert compiler.__file__ is not None
    pinned = Path(__file__).parents[2] / "contracts" / "package-lock.json"
    made_by = [Path(compiler.__file__).read_text(), pinned.read_text()]
    text = json.dumps([names, sources, made_by], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
