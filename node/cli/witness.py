"""`witness`: who cosigned this site's log, what this site cosigned, and who was caught."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import typer
from rich.console import Group

from node.cli.frame import Place, command
from node.cli.tables import Column, at, facts, rows, short


def register(app: typer.Typer) -> None:
    command(app, "witness")(witness)


def witness(place: Place) -> None:
    """Heads of this site's log and who cosigned them, heads of others, conflicts and challenges."""
    with place.client() as node:
        found = node.get("/v1/witness")
    place.show(found, lambda: _render(found, time.time()))


def _render(found: dict[str, Any], now: float) -> Group:
    anchoring = found["anchoring"]
    tables = (
        ("Heads on the chain", _anchored(now), anchoring["heads"]),
        ("Heads of others, as cosigned here", _heads(now), found["heads"]),
        ("Challenges", _challenges(), anchoring["challenges"]),
        ("Marked on the chain", _marks(), anchoring["marks"]),
        ("Logs that showed two histories", _conflicts(), found["conflicts"]),
    )
    shown = [rows(items, columns, title=title) for title, columns, items in tables if items]
    return Group(facts(_summary(found, now), title="This site's log"), *shown)


def _summary(found: dict[str, Any], now: float) -> dict[str, Any]:
    published, gap = found["published"], found["anchoring"]["gap"]
    cosigners = [] if published is None else published["cosigned_by"]
    return {
        "entries": found["anchoring"]["log_size"],
        "shown": published
        and f"{published['size']} entries, for {_span(now - published['published_at'])} now",
        "cosigned by": _listed(cosigners, "site"),
        "not on the chain": f"{gap['entries']} entries" + _since(gap["since"]),
        "chain silent since": at(gap["chain_silent_since"]),
    }


def _listed(named: list[dict[str, Any]], id: str) -> str | None:
    return ", ".join(each["name"] or str(short(each[id])) for each in named) or None


def _since(seconds: float | None) -> str:
    return "" if seconds is None else f", since {at(seconds)}"


def _anchored(now: float) -> Sequence[Column]:
    return (
        ("entries", lambda h: h["size"]),
        ("block", lambda h: h["block"]),
        ("anchored", lambda h: f"{_span(now - h['anchored_at'])} ago"),
        ("state", lambda h: h["state"]),
        ("cosigned", lambda h: f"{len(h['witnesses'])} of {h['needed']}"),
        ("by", lambda h: _listed(h["witnesses"], "id")),
        ("held here", lambda h: h["held"]),
    )


def _heads(now: float) -> Sequence[Column]:
    return (
        ("site", lambda h: h["name"] or short(h["site"])),
        ("entries", lambda h: h["size"]),
        ("cosigned", lambda h: h["cosigned_at"] and f"{_span(now - h['cosigned_at'])} ago"),
        ("looked at", lambda h: h["looked_at"] and f"{_span(now - h['looked_at'])} ago"),
        ("problem", lambda h: h["problem"] or None),
    )


def _challenges() -> Sequence[Column]:
    return (
        ("site", lambda c: c["name"] or short(c["site"])),
        ("entries", lambda c: c["size"]),
        ("until", lambda c: at(c["until"])),
        ("state", lambda c: c["state"]),
        ("problem", lambda c: c["problem"] or None),
    )


def _marks() -> Sequence[Column]:
    return (
        ("site", lambda m: m["name"] or short(m["site"])),
        ("why", lambda m: m["kind"]),
        ("entries", lambda m: m["size"]),
        ("block", lambda m: m["block"]),
    )


def _conflicts() -> Sequence[Column]:
    return (
        ("site", lambda c: c["name"] or short(c["site"])),
        ("kind", lambda c: c["kind"]),
        ("found", lambda c: at(c["found_at"])),
        ("on the chain", lambda c: c["posted"] or None),
    )


def _span(seconds: float) -> str:
    """How long, in the greatest unit that fits."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
