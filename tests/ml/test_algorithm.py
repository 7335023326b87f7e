"""The catalogue, the code digest, and the checks that algorithms must pass."""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from ml import algorithm as catalogue_module
from ml.algorithm import Algorithm, catalogue, code_digest, code_files, get, model_digest
from ml.digest import closure_digest, import_closure
from ml.errors import UnknownAlgorithm, WireError
from ml.federation import GUEST, HOST, Channel, Message, Party
from ml.table import Schema, Table
from ml.testing import Case, check_algorithm, messages_table
from ml.wire import register

# --- a small algorithm, so that the checks can be seen to pass and to fail: not private at all ---


class Weights(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    factor: float = 1.0


@register
@dataclass(frozen=True)
class Part:
    factor: float


@register
@dataclass(frozen=True)
class HostPart:
    factor: float


class Hello(Message, sender=GUEST, to=HOST):
    """The host learns that training begins."""


class Ready(Message, sender=HOST, to=GUEST):
    """The guest learns that the host is ready."""


class Sums(Message, sender=HOST, to=GUEST):
    """The guest learns the weighted sum of the host's columns, per row."""

    sums: NDArray[np.float64]


async def fit_guest(ch: Channel, params: Weights, table: Table) -> Part:
    await ch.send(Hello())
    await ch.receive_all(Ready)
    return Part(params.factor)


async def fit_host(ch: Channel, params: Weights, table: Table) -> HostPart:
    await ch.receive(Hello)
    await ch.send(Ready())
    return HostPart(params.factor)


async def predict_guest(ch: Channel, params: Weights, part: Part, table: Table):
    others = await ch.receive_all(Sums)
    return part.factor * table.X.sum(axis=1) + sum(m.sums for m in others.values())


async def predict_host(ch: Channel, params: Weights, part: HostPart, table: Table) -> None:
    await ch.send(Sums(part.factor * table.X.sum(axis=1)))


SMALL = Algorithm(
    name="small",
    version=1,
    params=Weights,
    fit={GUEST: fit_guest, HOST: fit_host},
    predict={GUEST: predict_guest, HOST: predict_host},
    parts={GUEST: Part, HOST: HostPart},
    messages=(Hello, Ready, Sums),
    notice="The guest learns sums of the hosts' columns.",
)


def tables(hosts: int = 2) -> dict[Party, Table]:
    rng = np.random.default_rng(7)
    parties = [Party(GUEST, "bank"), *(Party(HOST, f"shop {k}") for k in range(hosts))]
    schema = Schema(("a", "b"), ("number", "number"))
    ids = tuple(f"id {i}" for i in range(5))
    return {party: Table(schema, ids, rng.normal(size=(5, 2))) for party in parties}


def centralised(params: Weights, given: Mapping[Party, Table]) -> NDArray[np.float64]:
    return params.factor * np.hstack([t.X for t in given.values()]).sum(axis=1)


CASE = Case(Weights(factor=0.5), tables(), centralised)
PAGE = f"""
```mermaid
sequenceDiagram
    participant guest
    participant host
    guest->>host: Hello
    host->>guest: Ready
    host->>guest: Sums
```

{messages_table(SMALL.messages)}
"""


async def test_an_algorithm_that_keeps_its_promises_passes():
    await check_algorithm(SMALL, CASE, PAGE)
    await check_algorithm(SMALL, replace(CASE, tables=tables(1)), PAGE)


# --- the same with one promise broken ---


class Mute(Message, sender=HOST, to=GUEST):
    sums: NDArray[np.float64]


class Undeclared(Message, sender=HOST, to=GUEST):
    """The guest learns a thing that no page tells."""


class Thawed(BaseModel):
    model_config = ConfigDict(extra="forbid")
    factor: float = 1.0


@register
@dataclass(frozen=True)
class Drifting:
    factor: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "factor", self.factor / 2)


async def drifting(ch: Channel, params: Weights, table: Table) -> Drifting:
    await fit_host(ch, params, table)
    return Drifting(params.factor)


async def deaf(ch: Channel, params: Weights, table: Table) -> Part:
    await ch.send(Hello())
    return Part(params.factor)


async def talkative(ch: Channel, params: Weights, table: Table) -> HostPart:
    await ch.send(Undeclared())
    return await fit_host(ch, params, table)


async def other_host(ch: Channel, params: Weights, part: HostPart, table: Table) -> None:
    await ch.send(Sums(table.X.sum(axis=1)))


BROKEN = {
    "without a docstring: Mute": (replace(SMALL, messages=(*SMALL.messages, Mute)), CASE),
    "Thawed is not frozen": (SMALL, replace(CASE, params=Thawed())),
    "nobody was named": (replace(SMALL, fit={GUEST: deaf, HOST: fit_host}), CASE),
    "differ by": (replace(SMALL, predict={GUEST: predict_guest, HOST: other_host}), CASE),
    "changes when stored": (
        replace(
            SMALL,
            fit={GUEST: fit_guest, HOST: drifting},
            parts={GUEST: Part, HOST: Drifting},
            predict={GUEST: predict_guest, HOST: predict_host},
        ),
        replace(CASE, tolerance=np.inf),
    ),
    "declared but never said": (replace(SMALL, messages=(*SMALL.messages, Undeclared)), CASE),
    "said but not declared": (replace(SMALL, fit={GUEST: fit_guest, HOST: talkative}), CASE),
    "speaks in the order": (replace(SMALL, messages=(Hello, Sums, Ready)), CASE),
}


@pytest.mark.parametrize("promise", BROKEN)
async def test_an_algorithm_that_breaks_a_promise_is_told_which(promise: str):
    algorithm, case = BROKEN[promise]
    with pytest.raises(AssertionError, match=promise):
        await check_algorithm(algorithm, case, PAGE)


async def test_a_page_that_shows_another_conversation_is_told():
    with pytest.raises(AssertionError, match="host->>guest: Ready"):
        await check_algorithm(SMALL, CASE, PAGE.replace("Ready", "Steady"))


# --- models ---


def test_a_part_of_a_model_is_loaded_by_its_role_only():
    data = SMALL.dump_model(Part(0.5))
    assert SMALL.load_model(GUEST, data) == Part(0.5)
    assert model_digest(data).startswith("0x")
    with pytest.raises(WireError):
        SMALL.load_model(HOST, data)
    with pytest.raises(WireError, match="no part of a small model"):
        SMALL.dump_model(Drifting(1.0))


# --- the catalogue ---


def test_an_unknown_algorithm_is_refused_with_those_that_are_known():
    for call in (get, code_digest, code_files):
        with pytest.raises(UnknownAlgorithm, match="secureboost"):
            call("tea leaves")


@pytest.mark.parametrize("name", catalogue())
def test_every_algorithm_of_the_catalogue_is_there_under_its_name(name: str):
    found = get(name)
    assert found.name == name
    assert found.protocol == f"{name}/{found.version}"
    assert set(found.fit) == set(found.roles)
    makes_models = found.parts != {}
    assert set(found.predict) == set(found.parts) == (set(found.fit) if makes_models else set())
    assert found.notice


@pytest.mark.parametrize("name", catalogue())
def test_the_digest_of_an_algorithm_covers_its_module_and_what_it_stands_on(name: str):
    files = code_files(name)
    always = {"ml/__init__.py", "ml/federation.py", "ml/wire.py", "ml/protocols/psi/__init__.py"}
    assert always <= set(files)
    assert not any(path.startswith(("tests/", "node/", "chain/")) for path in files)
    assert code_digest(name) == closure_digest(files) == code_digest(name)
    assert len(code_digest(name)) == 66


# --- the import closure ---

SOURCES = {
    "ml/__init__.py": "",
    "ml/start.py": "from ml import one\nfrom ml.sub.two import f\nimport numpy\n",
    "ml/one.py": "def late():\n    import ml.three\n",
    "ml/sub/__init__.py": "from . import four\n",
    "ml/sub/two.py": "from .five import x\nfrom ..six import y\n",
    "ml/sub/four.py": "",
    "ml/sub/five.py": "import ml.start\n",
    "ml/three.py": "",
    "ml/six.py": "",
    "ml/outside.py": "import ml.one\n",
}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    for name, source in SOURCES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    return tmp_path / "ml"


def test_the_closure_holds_what_is_imported_in_any_way_and_nothing_else(package: Path):
    assert set(import_closure(["ml.start"], package)) == set(SOURCES) - {"ml/outside.py"}


@pytest.mark.parametrize("name", SOURCES)
def test_one_byte_changes_the_digest_exactly_if_the_file_is_in_the_closure(name, package: Path):
    before = closure_digest(import_closure(["ml.start"], package))
    path = package.parent / name
    path.write_text(path.read_text() + "#")
    after = closure_digest(import_closure(["ml.start"], package))
    assert (before != after) == (name != "ml/outside.py")


def test_a_module_that_was_missing_when_its_import_was_read_is_found_when_it_comes(package: Path):
    (package / "four.py").write_text("import ml.later.still\n")
    before = import_closure(["ml.four"], package)
    (package / "later").mkdir()
    assert import_closure(["ml.four"], package) == before
    came = {"ml/later/__init__.py", "ml/later/still.py"}
    for path in came:
        (package.parent / path).write_text("")
    assert set(import_closure(["ml.four"], package)) == before.keys() | came


def test_no_file_is_read_again_while_none_has_changed(
    package: Path, monkeypatch: pytest.MonkeyPatch
):
    before = import_closure(["ml.start"], package)
    read: list[Path] = []
    plain = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read.append(path) or plain(path))
    assert import_closure(["ml.start"], package) == before
    assert read == []
    (package / "six.py").write_text("# longer")
    assert import_closure(["ml.start"], package) != before
    assert read


def test_a_file_that_moves_changes_the_digest(package: Path):
    before = closure_digest(import_closure(["ml.start"], package))
    (package / "three.py").rename(package / "thrice.py")
    (package / "one.py").write_text("def late():\n    import ml.thrice\n")
    assert closure_digest(import_closure(["ml.start"], package)) != before


def test_the_digest_does_not_depend_on_where_the_package_is(package: Path, tmp_path: Path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    before = import_closure(["ml.start"], package)
    package.rename(elsewhere / "ml")
    assert import_closure(["ml.start"], elsewhere / "ml") == before


def test_a_module_outside_of_the_package_is_refused(package: Path):
    for module in ("ml.nothing", "numpy"):
        with pytest.raises(ModuleNotFoundError):
            import_closure([module], package)


def test_reading_a_digest_imports_no_algorithm():
    code = (
        "import sys; from ml.algorithm import code_digest, catalogue; "
        "[code_digest(n) for n in catalogue()]; "
        "assert not [m for m in sys.modules if m.startswith(('ml.vertical', 'ml.crypto'))]"
    )
    root = Path(catalogue_module.__file__).parents[1]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)
