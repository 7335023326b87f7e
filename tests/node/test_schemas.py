"""Every kind of entry has a schema, and nothing else is recorded."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import node
from node.audit.schemas import DOCUMENT, DUTIES, EVENTS, document
from tests.node.told import sample

SOURCES = sorted(Path(node.__file__).parent.rglob("*.py"))
KIND = EVENTS["message.sent"]


def literals() -> Iterator[tuple[Path, str]]:
    """Texts of the form a.b in the node's own code, outside of the schemas."""
    for path in SOURCES:
        if path.name == "schemas.py":
            continue
        for found in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(found, ast.Constant) and isinstance(found.value, str):
                yield path, found.value


def recorded() -> Iterator[tuple[Path, str]]:
    """Kinds that are handed to `record` as they stand."""
    for path in SOURCES:
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)):
                continue
            if call.func.id == "record" and isinstance(call.args[1], ast.Constant):
                yield path, str(call.args[1].value)


def test_the_document_is_what_the_schemas_make() -> None:
    found = DOCUMENT.read_text(encoding="utf-8")
    assert found == document(), "run `python -m node.audit.schemas`"


def test_every_kind_that_is_recorded_has_a_schema() -> None:
    found = list(recorded())
    assert len(found) > 40
    assert [(path.name, kind) for path, kind in found if kind not in EVENTS] == []


def test_every_schema_is_of_something_that_the_node_enters() -> None:
    said = {text for _, text in literals()}
    assert [kind for kind in EVENTS if kind not in said] == []


def test_duties_name_kinds_that_there_are() -> None:
    assert {kind for duty in DUTIES for kind in duty.kinds} <= EVENTS.keys()


@pytest.mark.parametrize("kind", EVENTS)
def test_names_of_fields_need_no_escape_and_every_field_has_a_meaning(kind: str) -> None:
    EVENTS[kind].check(kind, sample(kind))
    for name, field in EVENTS[kind].fields.items():
        assert name.isascii()
        assert name.isidentifier()
        assert field.meaning


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"more": 1}, "has no field 'more'"),
        ({"n": "0"}, "n of an entry message.sent is str, not integer"),
        ({"n": True}, "n of an entry message.sent is bool, not integer"),
        ({"n": 1.0}, "is float"),
        ({"digest": None}, "is NoneType, not text"),
        ({"receipt": []}, "is list, not object"),
    ],
)
def test_other_fields_and_other_types_are_refused(change: dict[str, object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        KIND.check("message.sent", sample("message.sent") | change)


def test_an_entry_without_one_of_its_fields_is_refused() -> None:
    data = sample("message.sent")
    del data["digest"], data["n"]
    with pytest.raises(ValueError, match="lacks digest, n"):
        KIND.check("message.sent", data)


def test_a_field_that_is_not_always_there_may_be_left_out() -> None:
    EVENTS["job.ended"].check("job.ended", {"state": "FAILED", "block": 1, "reason": "x"})
