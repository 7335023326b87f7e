"""The fields of every kind of entry as JSON Schema (draft 2020-12), by the URN that entries name.

An entry's ``dataschema`` is ``urn:fatechain:event:``, its kind and its version; the schema of that
URN is of the fields as they are disclosed, before they are committed to.  ``python -m
node.audit.schemas`` writes each into docs/audit-schemas/; nodes serve them without the files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from node.audit.schemas import EVENTS, Event
from node.errors import NotFound

DIALECT = "https://json-schema.org/draft/2020-12/schema"
VERSION = 1
FOLDER = Path(__file__).parents[2] / "docs" / "audit-schemas"
TYPES: Mapping[str, str | list[str]] = {
    "text": "string",
    "integer": "integer",
    "boolean": "boolean",
    "object": "object",
    "list": "array",
    "integer or null": ["integer", "null"],
}
"""What a field's type is called there."""


def urn(kind: str) -> str:
    """What entries of the kind have as their ``dataschema``."""
    return f"urn:fatechain:event:{kind}:{VERSION}"


def schema(kind: str) -> dict[str, Any]:
    """Of what entries of a kind disclose; raises `NotFound` for a kind that there is not."""
    if kind not in EVENTS:
        raise NotFound("NotFound", "there is no such kind of entry", found=kind[:80])
    event = EVENTS[kind]
    return {
        "$schema": DIALECT,
        "$id": urn(kind),
        "title": f"fatechain.{kind}.v{VERSION}",
        "description": f"About: {event.subject}. Tells that {event.meaning}.",
        "type": "object",
        "properties": {
            name: {"type": TYPES[field.type.name], "description": field.meaning}
            for name, field in event.fields.items()
        },
        "required": _required(event),
        "additionalProperties": False,
    }


def _required(event: Event) -> list[str]:
    return [name for name, field in event.fields.items() if not field.optional]


def files() -> Iterator[tuple[str, str]]:
    """Name and content of every file of docs/audit-schemas/."""
    for kind in EVENTS:
        content = json.dumps(schema(kind), ensure_ascii=False, indent=2)
        yield f"{kind}.v{VERSION}.json", content + "\n"


def write() -> None:
    """Make the folder hold these files and no others."""
    FOLDER.mkdir(exist_ok=True)
    made = dict(files())
    for path in FOLDER.glob("*.json"):
        if path.name not in made:
            path.unlink()
    for name, content in made.items():
        (FOLDER / name).write_text(content, encoding="utf-8")
