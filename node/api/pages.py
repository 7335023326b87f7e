"""Long lists in pages: ``{"items": […], "next": cursor or null}``.

A cursor is opaque to its holder.  It says behind which item the next page begins, so items
that arrive meanwhile shift nothing.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Annotated, Generic, TypeVar

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from node.errors import Invalid

MAX_LIMIT = 200
DEFAULT_LIMIT = 50

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="How many items a page has at most.")]
Cursor = Annotated[
    str | None, Query(max_length=400, description="The `next` of the page before this one.")
]

Item = TypeVar("Item")


class Page(BaseModel, Generic[Item]):
    """Some items of a list, and where the rest begins."""

    model_config = ConfigDict(frozen=True)

    items: list[Item]
    next: str | None = Field(description="Cursor of the next page; null on the last one.")


def to_cursor(*position: int | float | str) -> str:
    text = json.dumps(position, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def from_cursor(cursor: str | None, *kinds: type) -> tuple[int | float | str, ...] | None:
    """The position in a cursor whose parts have these types.  Raises `Invalid` for another text."""
    if cursor is None:
        return None
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        position = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, binascii.Error) as error:
        raise _not_ours(cursor) from error
    if not isinstance(position, list) or len(position) != len(kinds):
        raise _not_ours(cursor)
    if any(type(part) is not kind for part, kind in zip(position, kinds, strict=True)):
        raise _not_ours(cursor)
    return tuple(position)


def _not_ours(cursor: str) -> Invalid:
    return Invalid(
        "InvalidRequest",
        "the cursor is not one that this list gave",
        found=cursor[:40],
        hint="take `next` of the page before, or leave the cursor out",
    )
