"""The documents say what the code does: links, paths, commands, targets, names, settings.

Documents are the Markdown files at the top of the repository and below ``docs/``.  Every check
looks at all of them and names the file and the line of what it found.
"""

from __future__ import annotations

import ast
import functools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer
from starlette.routing import Route
from typer.testing import CliRunner

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
TOP_FOLDERS = {
    ".ci",
    ".requirements",
    "benchmarks",
    "chain",
    "contracts",
    "docs",
    "ganache",
    "ml",
    "node",
    "tests",
}
SHELLS = {"sh", "console"}

each_document = pytest.mark.parametrize(
    "document", DOCUMENTS, ids=[str(d.relative_to(ROOT)) for d in DOCUMENTS]
)


class Piece(NamedTuple):
    """Something found in a document, and its line counted from 1."""

    line: int
    text: str


# ── Reading Markdown ─────────────────────────────────────────────────────────────────────────

FENCE = re.compile(r"^\s*(```|~~~)\s*(\w*)")


class Block(NamedTuple):
    """A fenced block."""

    line: int
    language: str
    lines: list[str]


def fenced(document: Path) -> list[Block]:
    blocks: list[Block] = []
    inside: Block | None = None
    for number, line in enumerate(document.read_text(encoding="utf-8").splitlines(), 1):
        fence = FENCE.match(line)
        if fence and inside is None:
            inside = Block(number, fence[2], [])
        elif fence and inside is not None:
            blocks.append(inside)
            inside = None
        elif inside is not None:
            inside.lines.append(line)
    assert inside is None, f"{document}: the block of line {inside.line} has no end"
    return blocks


def prose(document: Path) -> list[Piece]:
    """The lines outside fenced blocks."""
    pieces, inside = [], False
    for number, line in enumerate(document.read_text(encoding="utf-8").splitlines(), 1):
        if FENCE.match(line):
            inside = not inside
        elif not inside:
            pieces.append(Piece(number, line))
    return pieces


def code_spans(document: Path) -> list[Piece]:
    """What stands between backticks outside fenced blocks, also where it is wrapped over lines."""
    lines = prose(document)
    text = "\n".join(piece.text for piece in lines)
    return [
        Piece(lines[text.count("\n", 0, span.start())].line, " ".join(span[1].split()))
        for span in re.finditer(r"`([^`]+)`", text)
    ]


def shell_lines(document: Path) -> list[Piece]:
    """Lines of shell blocks, continued lines joined, comments and prompts removed."""
    pieces = []
    for block in fenced(document):
        if block.language not in SHELLS:
            continue
        joined, start = "", block.line + 1
        for offset, line in enumerate(block.lines, 1):
            if not joined:
                start = block.line + offset
            joined += line.removeprefix("$ ")
            if joined.endswith("\\"):
                joined = joined[:-1] + " "
                continue
            pieces.append(Piece(start, joined))
            joined = ""
        assert not joined, f"{document}:{start}: the last line of the block is continued"
    return pieces


def without_code(document: Path) -> list[Piece]:
    return [Piece(p.line, re.sub(r"`[^`]*`", "", p.text)) for p in prose(document)]


def report(document: Path, faults: Iterator[str] | list[str]) -> None:
    found = list(faults)
    assert not found, "\n".join(f"{document.relative_to(ROOT)}:{fault}" for fault in found)


# ── Links and paths ──────────────────────────────────────────────────────────────────────────


def anchors(document: Path) -> set[str]:
    """The fragments that the headings of a document can be reached by, as GitHub makes them."""
    slugs = set()
    for piece in prose(document):
        if heading := re.match(r"#{1,6}\s+(.+)", piece.text):
            kept = re.sub(r"[^\w\- ]", "", heading[1].strip().lower())
            slugs.add(kept.replace(" ", "-"))
    return slugs


def link_faults(document: Path) -> Iterator[str]:
    for line, text in prose(document):
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"(https?|mailto):", target):
                continue
            path, _, fragment = target.partition("#")
            there = (document.parent / path).resolve() if path else document
            if not there.exists() or not there.is_relative_to(ROOT):
                yield f"{line}: the link {target} leads nowhere"
            elif fragment and there.suffix == ".md" and fragment not in anchors(there):
                yield f"{line}: {there.name} has no heading #{fragment}"


@each_document
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    report(document, link_faults(document))


def is_our_path(word: str) -> bool:
    """``chain/merkle.py``, ``docs/adr/``, ``README.md``, ``Makefile``: below or at our top."""
    if not re.fullmatch(r"\.?[\w.*-]+(/[\w.*-]+)*/?", word):
        return False
    if "/" in word:
        return word.split("/")[0] in TOP_FOLDERS
    return word.endswith(".md") or word in {"Makefile", "pyproject.toml"}


def path_faults(document: Path) -> Iterator[str]:
    typed = [Piece(n, word) for n, text in shell_lines(document) for word in text.split()]
    before = ""
    for line, word in [*code_spans(document), *typed]:
        path, _, test = word.partition("::")
        # `tests/a.py::test_one`, `::test_two`: the second is in the same file.
        path = path or before
        before = path
        if not is_our_path(path):
            continue
        if not any(ROOT.glob(path.rstrip("/"))):
            yield f"{line}: there is no {path}"
        elif test and not re.search(rf"def {re.escape(test)}\b", (ROOT / path).read_text()):
            yield f"{line}: {path} has no test {test}"


@each_document
def test_every_path_named_exists(document: Path) -> None:
    report(document, path_faults(document))


@each_document
def test_no_document_names_a_place_of_one_machine(document: Path) -> None:
    places = re.compile(
        r"(?<![\w.~-])/(?:work|home|root|tmp|usr|opt|mnt|Users|srv)/|pypi\.org|npmjs\.|[A-Z]:\\"
    )
    lines = document.read_text(encoding="utf-8").splitlines()
    report(
        document, [f"{n}: {line.strip()}" for n, line in enumerate(lines, 1) if places.search(line)]
    )


# ── Commands ─────────────────────────────────────────────────────────────────────────────────


@functools.cache
def fatechain() -> Any:
    """The command line as its library sees it: groups hold ``commands``, all hold ``params``."""
    from node.cli.app import app

    return typer.main.get_command(app)


def commands(document: Path, name: str) -> list[Piece]:
    """Commands that begin with ``name``, in shell blocks and in code spans."""
    found = []
    for line, text in [*shell_lines(document), *code_spans(document)]:
        # A shell line may set variables first, and may hold several commands.
        for part in re.split(r"\s*(?:&&|\|\|?|;)\s*", text):
            plain = re.sub(r"^(?:[A-Z_]+=\S*\s+)*(?:\.venv/bin/)?", "", part.strip())
            if plain == name or plain.startswith(f"{name} "):
                found.append(Piece(line, plain))
    return found


def words(command: str) -> list[str]:
    """Words of a shell command up to what the shell takes for itself; ``…`` stands for the rest."""
    kept = []
    for word in shlex.split(command, comments=True):
        if word in {"&", ">", ">>", "<", "2>"}:
            break
        if word != "…":
            kept.append(word)
    return kept


def parsed(command: Any, given: list[str], *, whole: bool) -> None:
    """Raises ValueError for what a call with these words would be refused for.

    ``whole``: also for what is missing.  Values are not converted: ``ID`` may stand for an id.
    """
    options = {name: param for param in command.params for name in param.opts}
    arguments = [param for param in command.params if param.name in param.opts]
    rest, seen, places = list(given), set(), 0
    while rest:
        word = rest.pop(0)
        if word == "--help":
            continue
        if word.startswith("-"):
            name, equals, _ = word.partition("=")
            if name not in options:
                raise ValueError(f"there is no option {name}")
            seen.add(options[name].name)
            if not options[name].is_flag and not equals:
                if whole and not rest:
                    raise ValueError(f"{name} takes a value")
                rest = rest[1:]
        elif hasattr(command, "commands"):
            if word not in command.commands:
                raise ValueError(f"there is no command {word!r}")
            parsed(command.commands[word], rest, whole=whole)
            return
        elif places == len(arguments):
            raise ValueError(f"{word!r} is one argument too many")
        else:
            seen.add(arguments[places].name)
            places += 1
    if whole and hasattr(command, "commands"):
        raise ValueError("a command is missing")
    missing = [p.opts[-1] for p in command.params if p.required and p.name not in seen]
    if whole and missing:
        raise ValueError(f"{', '.join(missing)} is missing")


def command_faults(document: Path) -> Iterator[str]:
    in_blocks = {piece.line for piece in shell_lines(document)}
    for line, command in commands(document, "fatechain"):
        # In a sentence `fatechain job approve` names the command; in a block it is to be typed.
        whole = line in in_blocks and "--help" not in command
        try:
            parsed(fatechain(), words(command)[1:], whole=whole)
        except ValueError as error:
            yield f"{line}: {command}: {error}"


@each_document
def test_every_fatechain_command_named_would_be_taken(document: Path) -> None:
    report(document, command_faults(document))


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of all commands that do something."""
    if not hasattr(command, "commands"):
        yield path
        return
    for name, below in command.commands.items():
        yield from leaves(below, (*path, name))


LEAVES = sorted(leaves(fatechain()))


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_every_command_helps(path: tuple[str, ...]) -> None:
    from node.cli.app import app

    answer = CliRunner().invoke(app, [*path, "--help"])
    assert answer.exit_code == 0, answer.output


def test_every_command_is_documented() -> None:
    said = {
        tuple(words(command)[1 : 1 + depth])
        for document in DOCUMENTS
        for _, command in commands(document, "fatechain")
        for depth in (1, 2)
    }
    undocumented = [" ".join(path) for path in LEAVES if path not in said]
    assert not undocumented, f"no document names {', '.join(undocumented)}"


MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^\.PHONY: (\S+)", MAKEFILE, re.MULTILINE))


def make_faults(document: Path) -> Iterator[str]:
    for line, command in commands(document, "make"):
        for word in words(command)[1:]:
            name, is_variable, _ = word.partition("=")
            if is_variable and f"$({name})" not in MAKEFILE and f"{name} ?=" not in MAKEFILE:
                if not re.search(rf"\b{name}\b", MAKEFILE):
                    yield f"{line}: the Makefile does not read {name}"
            elif not is_variable and word not in TARGETS:
                yield f"{line}: there is no target {word}"


@each_document
def test_every_make_target_named_exists(document: Path) -> None:
    report(document, make_faults(document))


def test_every_make_target_is_documented() -> None:
    said = {
        word
        for document in DOCUMENTS
        for _, command in commands(document, "make")
        for word in words(command)[1:]
    }
    assert said >= TARGETS, f"no document names {', '.join(sorted(TARGETS - said))}"


# ── Names ────────────────────────────────────────────────────────────────────────────────────


@functools.cache
def source() -> str:
    """All of our Python and Solidity as one text."""
    files = [
        path
        for folder in ("chain", "ml", "node", "tests", "benchmarks", "contracts")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".py", ".sol"} and "node_modules" not in path.parts
        if path != Path(__file__).resolve()
    ]
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


@functools.cache
def identifiers() -> frozenset[str]:
    return frozenset(re.findall(r"\w+", source()))


@functools.cache
def problem_codes() -> frozenset[str]:
    """What a problem's code can be: a text in the node, or the name of an error of the others."""
    found: set[str] = set()
    for path in (ROOT / "node").rglob("*.py"):
        for part in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                found.update(re.findall(r"\A[A-Z][A-Za-z]+\Z", part.value))
    for path in (ROOT / "ml" / "errors.py", ROOT / "chain" / "errors.py"):
        classes = ast.parse(path.read_text(encoding="utf-8")).body
        found.update(part.name for part in classes if isinstance(part, ast.ClassDef))
    return frozenset(found)


CAMEL = re.compile(r"(?:[A-Z][a-z0-9]+){2,}")


def name_faults(document: Path) -> Iterator[str]:
    for line, span in code_spans(document):
        for word in re.findall(r"[A-Za-z_]\w*", span):
            if CAMEL.fullmatch(word) and word not in identifiers():
                yield f"{line}: nothing in the code is called {word}"


@each_document
def test_every_camel_case_name_is_one_of_the_code(document: Path) -> None:
    report(document, name_faults(document))


def rows_of_table(document: Path, heading: str) -> list[Piece]:
    """The rows of the tables below a heading, as text, without the head."""
    rows, here = [], False
    for piece in prose(document):
        if piece.text.startswith("#"):
            here = piece.text.lstrip("# ").strip() == heading
        elif here and piece.text.startswith("|") and not re.match(r"\|[\s:|-]+\|?$", piece.text):
            rows.append(piece)
    assert rows, f"{document.name} has no table below {heading!r}"
    return rows[1:]


OPERATIONS = ROOT / "docs" / "operations.md"


def test_every_problem_code_explained_exists_in_the_node() -> None:
    explained = {
        code
        for piece in rows_of_table(OPERATIONS, "Problems")
        for code in re.findall(r"`(\w+)`", piece.text.split("|")[1])
    }
    assert explained <= problem_codes(), f"no code gives {sorted(explained - problem_codes())}"


def settings_table() -> dict[str, str]:
    """Setting → what the table says of its default; several settings may share a row."""
    told: dict[str, str] = {}
    for piece in rows_of_table(OPERATIONS, "Settings"):
        names, defaults, _ = (cell.strip() for cell in piece.text.strip().strip("|").split("|"))
        found = re.findall(r"`(\w+)`", names)
        values = defaults.split(", ") if len(found) > 1 else [defaults]
        told |= dict(zip(found, values, strict=len(values) > 1))
    return told


def test_the_settings_table_has_every_setting() -> None:
    from node.settings import Settings

    found = {
        name
        for piece in rows_of_table(OPERATIONS, "Settings")
        for name in re.findall(r"`(\w+)`", piece.text.split("|")[1])
    }
    assert found == set(Settings.model_fields)


def test_the_settings_table_has_every_plain_default() -> None:
    from node.settings import Settings

    units = {"MiB": 2**20, "GiB": 2**30}
    told = settings_table()
    for name, field in Settings.model_fields.items():
        match field.default:
            case bool(value):
                assert told[name] == str(value).lower(), name
            case int(value) | float(value):
                number, _, unit = told[name].partition(" ")
                assert float(number) * units.get(unit, 1) == value, name
            case str(value):
                assert told[name] == f"`{value}`", name


def shape(path: str) -> str:
    """A path with every parameter named alike, without its query."""
    return re.sub(r"\{[^}]*\}", "{}", path.partition("?")[0]).rstrip("/")


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> set[tuple[str, str]]:
    """(method, path) of all that a node answers: its OpenAPI document, and what is not in it."""
    from node.api import between, mirrors, tiles, witness
    from node.api.app import create_app
    from node.site import Site

    with Site.create(tmp_path_factory.mktemp("site"), scrypt_cost=2, name="documented") as site:
        app = create_app(site.settings.home, site)
        described = app.openapi()["paths"]
        public = (*tiles.router.routes, *witness.public.routes, *mirrors.public.routes)
        apart = (*between.router.routes, *public)
        others = [r for r in (*app.routes, *apart) if isinstance(r, Route)]
    return {(m.upper(), shape(path)) for path, methods in described.items() for m in methods} | {
        (method, shape(route.path)) for route in others for method in route.methods or ()
    }


@each_document
def test_every_address_named_is_answered(document: Path, routes: set[tuple[str, str]]) -> None:
    faults = []
    for line, span in code_spans(document):
        named = re.fullmatch(r"(GET|PUT|POST|DELETE|PATCH) (/\S*)", span)
        if named and (named[1], shape(named[2])) not in routes:
            faults.append(f"{line}: the node does not answer {span}")
    report(document, faults)


# ── The glossary ─────────────────────────────────────────────────────────────────────────────

GLOSSARY = ROOT / "docs" / "glossary.md"


def glossary() -> set[str]:
    """The words that the glossary explains: what its tables print bold."""
    rows = [piece.text for piece in prose(GLOSSARY) if piece.text.startswith("| **")]
    return {word for row in rows for word in re.findall(r"\*\*(.+?)\*\*", row)}


def test_the_glossary_explains_every_word_of_the_roles_and_states() -> None:
    from chain.consents import GrantState
    from chain.membership import Standing
    from ml.federation import Role
    from node.lifecycle import JOB_MOVES, TASK_MOVES

    explained = {word.lower() for word in glossary()} | set(
        re.findall(r"`([A-Z_]+)`", GLOSSARY.read_text(encoding="utf-8"))
    )
    needed = {
        *(str(role) for role in Role),
        *(str(state) for state in (*GrantState, *Standing) if str(state) != "NONE"),
        *JOB_MOVES,
        *TASK_MOVES,
    }
    assert needed <= explained, f"the glossary lacks {sorted(needed - explained)}"


def test_every_word_of_the_glossary_is_used_in_the_code() -> None:
    text = source().lower()
    unused = [word for word in glossary() if not re.search(rf"\b{re.escape(word.lower())}", text)]
    assert not unused, f"the code has no {unused}"


def avoided() -> dict[str, str]:
    """Word that we do not use → the one that we use, from the last table of the glossary."""
    rows = rows_of_table(GLOSSARY, "Words we do not use")
    pairs = [[cell.strip() for cell in row.text.strip().strip("|").split("|")] for row in rows]
    return {word: instead for words_, instead in pairs for word in words_.split(", ")}


@each_document
def test_no_document_uses_a_word_that_the_glossary_avoids(document: Path) -> None:
    if document == GLOSSARY:
        return  # it names them
    faults = [
        f"{line}: {word!r}; we say {instead}"
        for line, text in without_code(document)
        for word, instead in avoided().items()
        if re.search(rf"\b{word}s?\b", text, re.IGNORECASE)
    ]
    report(document, faults)
