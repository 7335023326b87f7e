"""What is committed is what the sources make; and every error of the interfaces is tested."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from chain.compile import CONTRACTS, Artifact, load, read_sources

HERE = Path(__file__).parent


@pytest.mark.parametrize("name", CONTRACTS)
def test_a_committed_artifact_is_what_the_sources_make(
    name: str, compiled: Mapping[str, Artifact]
) -> None:
    assert compiled[name].to_json() == load(name).to_json(), "run `python -m chain.compile`"


def test_every_error_of_the_interfaces_is_provoked_in_a_test() -> None:
    declared = {
        name
        for path, text in read_sources().items()
        if path.startswith("interfaces/I")
        for name in re.findall(r"^    error (\w+)\(", text, re.MULTILINE)
    }
    tests = "".join(file.read_text() for file in sorted(HERE.glob("test_*.py")))
    assert len(declared) > 70
    assert sorted(name for name in declared if f'"{name}"' not in tests) == []
