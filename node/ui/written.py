"""How identifiers, times and spans of time are written on pages."""

from __future__ import annotations

from datetime import UTC, datetime

END_OF_TIME = 253_402_300_800  # the first second of the year 10000, which no calendar here has


def short(id: str | None) -> str:
    """An identifier as it is recognised at a glance."""
    if id is None:
        return "–"
    return f"{id[:8]}…{id[-4:]}" if id.startswith("0x") and len(id) > 20 else id


def when(seconds: float | None) -> str:
    """A time as UTC, to the second."""
    if not seconds:
        return "–"
    if not 0 < seconds < END_OF_TIME:
        return f"{seconds:.0f}"  # a stranger may have put any number on the chain
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def duration(seconds: int) -> str:
    """H:MM:SS, as static/countdown.js goes on with it."""
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
