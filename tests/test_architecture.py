"""The arrows of the architecture: node joins chain and ml; neither knows node or the other."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FORBIDDEN = {"chain": {"ml", "node", "benchmarks"}, "ml": {"chain", "node", "benchmarks"}}


def imported(source: str) -> Iterator[tuple[int, str]]:
    """(line, first part of the name) of every absolute import, also inside functions.

    ``import_module("…")`` and ``__import__("…")`` with a text count as well.
    """
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, alias.name.split(".")[0]) for alias in names)
            case ast.ImportFrom(module=str(module), level=0):
                yield node.lineno, module.split(".")[0]
            case ast.Call(
                func=ast.Name(id="import_module" | "__import__")
                | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield node.lineno, name.split(".")[0]


def wrong_arrows(package: str, root: Path = ROOT) -> list[str]:
    """``file:line imports name`` for every import that runs against the architecture."""
    return [
        f"{file.relative_to(root)}:{line} imports {name}"
        for file in sorted((root / package).rglob("*.py"))
        for line, name in imported(file.read_text())
        if name in FORBIDDEN[package]
    ]


@pytest.mark.parametrize("package", FORBIDDEN)
def test_imports_follow_the_architecture(package: str):
    assert list((ROOT / package).rglob("*.py")), f"{package} has no modules to read"
    wrong = wrong_arrows(package)
    assert not wrong, "imports against the architecture:\n" + "\n".join(wrong)


@pytest.mark.parametrize(
    "source",
    [
        "import chain",
        "import chain.client as c",
        "from chain import client",
        "from chain.client import ChainClient",
        "def f():\n    from node import store",
        "import importlib\nimportlib.import_module('node.store')",
    ],
)
def test_an_import_against_the_architecture_is_found(source: str, tmp_path: Path):
    (tmp_path / "ml").mkdir()
    (tmp_path / "ml" / "bad.py").write_text(source)
    [found] = wrong_arrows("ml", tmp_path)
    assert found.startswith("ml/bad.py:")


def test_relative_and_foreign_imports_are_no_matter(tmp_path: Path):
    (tmp_path / "ml").mkdir()
    (tmp_path / "ml" / "good.py").write_text("import numpy\nfrom . import chain\nimport ml.wire\n")
    assert wrong_arrows("ml", tmp_path) == []
