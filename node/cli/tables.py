"""How answers look to a person: facts of one thing, rows of many."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.markup import escape
from rich.table import Table

GOOD = frozenset(
    {"ACTIVE", "STANDING", "SUCCEEDED", "CONFIRMED", "APPROVED", "live", "ready", "ok", "True"}
)
BAD = frozenset(
    {
        "REFUSED",
        "FAILED",
        "REVOKED",
        "EXPIRED",
        "REJECTED",
        "SUSPENDED",
        "EXPELLED",
        "WITHDRAWN",
        "fail",
    }
)

Column = tuple[str, Callable[[Any], Any]]


def facts(value: Mapping[str, Any], *, title: str | None = None) -> Table:
    """One thing: a line for each of its facts."""
    table = Table(title=title, title_justify="left", show_header=False, box=None)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, fact in value.items():
        if fact is not None:
            table.add_row(name.replace("_", " "), cell(fact))
    return table


def rows(items: Iterable[Any], columns: Sequence[Column], *, title: str | None = None) -> Table:
    """Many things: a row for each, a column for each reading of it."""
    table = Table(title=title, title_justify="left")
    for heading, _ in columns:
        # An identifier is for copying: two lines at most.
        table.add_column(heading, overflow="fold", min_width=34 if heading == "id" else None)
    for item in items:
        table.add_row(*(cell(read(item)) for _, read in columns))
    return table


def cell(value: Any) -> str:
    """A value as text in a table; states are coloured."""
    if value is None:
        return "[dim]–[/]"
    if isinstance(value, dict | list):
        return escape(json.dumps(value, ensure_ascii=False))
    text = escape(str(value))
    if text in GOOD:
        return f"[green]{text}[/]"
    return f"[red]{text}[/]" if text in BAD else text


def short(id: str | None) -> str | None:
    """An id as it is recognised at a glance."""
    return None if id is None else f"{id[:10]}…{id[-4:]}" if len(id) > 20 else id


def at(seconds: float | None) -> str | None:
    """A time as UTC."""
    if not seconds:
        return None
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
