"""Every kind of entry has a schema, and nothing else is recorded."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator, ValidationError

import node
from node.audit import json_schema
from node.audit.entries import record
from node.audit.schemas import DOCUMENT, DUTIES, EVENTS, document
from node.errors import NotFound
from tests.node.face import is_problem, make_site, operator
from tests.node.told import pending, sample

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


# ── As JSON Schema ───────────────────────────────────────────────────────────────────────────


def test_the_files_of_schemas_are_what_the_kinds_make() -> None:
    found = {path.name: path.read_text("utf-8") for path in json_schema.FOLDER.iterdir()}
    assert found == dict(json_schema.files()), "run `python -m node.audit.schemas`"


def test_every_entry_that_is_recorded_holds_to_the_schema_that_it_names(tmp_path: Path) -> None:
    schemas = {one["$id"]: one for one in (json_schema.schema(kind) for kind in EVENTS)}
    with make_site(tmp_path / "bank") as site:
        before = len(pending(site.store))
        with site.store.begin() as session:
            for kind in EVENTS:
                record(session, kind, "0x" + "5b" * 32, sample(kind), "worker")
        entries = pending(site.store)
    assert len(entries) == before + len(EVENTS)
    for entry in entries:
        schema = schemas[entry["dataschema"]]
        Draft202012Validator.check_schema(schema)
        Draft202012Validator(schema).validate(entry["data"])
        assert schema["title"] == entry["type"]


@pytest.mark.parametrize("change", [{"more": 1}, {"n": "0"}, {"n": True}, {"digest": None}])
def test_what_is_not_recorded_does_not_hold_to_it_either(change: dict[str, object]) -> None:
    schema = Draft202012Validator(json_schema.schema("message.sent"))
    data = json.loads(json.dumps(sample("message.sent")))
    schema.validate(data)
    with pytest.raises(ValidationError):
        schema.validate(data | change)
    with pytest.raises(ValidationError):
        schema.validate({name: value for name, value in data.items() if name != "digest"})


def test_of_a_kind_that_there_is_not_there_is_no_schema() -> None:
    with pytest.raises(NotFound, match="no such kind"):
        json_schema.schema("job.imagined")


async def test_a_node_serves_the_schema_of_every_urn(tmp_path: Path) -> None:
    with make_site(tmp_path / "bank") as site:
        async with operator(site) as api:
            listed = (await api.get("/v1/audit/schemas")).json()["items"]
            answer = await api.get(f"/v1/audit/schemas/{listed[0]['kind']}")
            is_problem(await api.get("/v1/audit/schemas/job.imagined"), 404, "NotFound")
    assert [one["kind"] for one in listed] == list(EVENTS)
    assert answer.headers["content-type"] == "application/schema+json"
    assert (answer.json()["$id"], answer.json()["title"]) == (listed[0]["urn"], listed[0]["title"])
