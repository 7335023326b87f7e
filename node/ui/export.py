"""A list as a file: all that its filter shows, as CSV, JSON or Parquet.

The file is written beside the node first, page by page, so that memory is bounded and a failure is
an answer instead of a file with a hole.  What does not fit in one file goes on in the next: the
answer names it (``Link: <…>; rel="next"``).
"""

from __future__ import annotations

import csv
import io
import json
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from threading import BoundedSemaphore
from typing import IO, Any, Protocol, get_args
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import StreamingResponse

from node.api.evidence import enter_reading
from node.api.pages import MAX_LIMIT
from node.api.views.model import Shown
from node.api.views.names import Named
from node.errors import NotFound, TooMany
from node.ui.asked import cursor_of
from node.ui.lists import LISTS, Listing

MOST_ROWS = 50_000
AT_ONCE = 2
MOST_UNSENT = 8  # files that were made and not yet fetched to their end
IN_MEMORY = 1 << 20
PIECE = 1 << 16
NUMBER: Mapping[type, str] = {int: "int64", float: "float64", bool: "bool"}
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""What a spreadsheet takes for the beginning of a formula, also in full width."""

_turns = BoundedSemaphore(AT_ONCE)
_unsent = BoundedSemaphore(MOST_UNSENT)


def export(request: Request, name: str, format: str) -> StreamingResponse:
    """Raises `NotFound`, `TooMany` (``TooManyExports``), and what the list raises."""
    listing = LISTS.get(name)
    writer = FORMATS.get(format)
    if listing is None or writer is None:
        raise NotFound(
            "NotFound",
            "there is no such list or format",
            found=f"{name}.{format}",
            allowed=[f"{each}.{kind}" for each in LISTS for kind in FORMATS],
        )
    if not _turns.acquire(blocking=False):
        raise TooMany(
            "TooManyExports", "other lists are being exported", allowed=AT_ONCE, hint="try again"
        )
    try:
        if listing.is_evidence:
            enter_reading(request)
        return _answer(request, name, format, listing, writer)
    finally:
        _turns.release()


class Writer(Protocol):
    """Writes rows of cells in the order of the columns, and is then closed."""

    def __init__(self, file: IO[bytes], columns: Mapping[str, type]) -> None: ...
    def write(self, items: list[Shown]) -> None: ...
    def close(self) -> None: ...


def _answer(
    request: Request, name: str, format: str, listing: Listing, make: type[Writer]
) -> StreamingResponse:
    if not _unsent.acquire(blocking=False):
        raise TooMany(
            "TooManyExports", "other files are being fetched", allowed=MOST_UNSENT, hint="try again"
        )
    file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115  closed when it is sent
    # Sent, failed, or its reader went away: nobody holds it any more.
    weakref.finalize(file, _unsent.release)
    try:
        writer = make(file, columns_of(listing.item))
        cursor, rows = cursor_of(request), 0
        while rows < MOST_ROWS:
            page = listing.read(request, MAX_LIMIT, cursor)
            writer.write(page.items)
            rows, cursor = rows + len(page.items), page.next
            if cursor is None:
                break
        writer.close()
        size = file.tell()
        file.seek(0)
    except BaseException:
        file.close()
        raise
    headers = {
        "Content-Disposition": f'attachment; filename="{name}.{format}"',
        "Content-Length": str(size),
    }
    if cursor is not None:
        asked = dict(request.query_params) | {"cursor": cursor}
        headers["Link"] = f'<{request.url.path}?{urlencode(asked)}>; rel="next"'
    return StreamingResponse(_pieces(file), media_type=MEDIA_TYPES[format], headers=headers)


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while piece := file.read(PIECE):
            yield piece


# ── Rows ─────────────────────────────────────────────────────────────────────────────────────


def columns_of(item: type[Shown]) -> dict[str, type]:
    """Column → type of its cells.  A name has a column beside its id; what is neither text nor
    number is JSON in a cell."""
    found: dict[str, type] = {}
    for name, field in item.model_fields.items():
        kind: Any = field.annotation
        others = [each for each in get_args(kind) if each is not type(None)]
        if type(None) in get_args(kind) and len(others) == 1:
            kind = others[0]
        if kind is Named:
            found |= {f"{name}_id": str, f"{name}_name": str}
        else:
            found[name] = kind if kind in NUMBER else str
    return found


def cells_of(item: Shown) -> Iterator[Any]:
    """In the order of `columns_of`; None, text, numbers and truth alone."""
    columns = columns_of(type(item))
    for name in type(item).model_fields:
        value = getattr(item, name)
        if f"{name}_name" in columns and name not in columns:
            yield from (None, None) if value is None else (value.id, value.name)
        elif value is None or isinstance(value, str | int | float):
            yield value
        else:
            told = item.model_dump(mode="json", include={name})[name]
            yield json.dumps(told, ensure_ascii=False, separators=(",", ":"))


class Csv:
    """RFC 4180, UTF-8.  Text that a spreadsheet would compute gets an apostrophe before it."""

    def __init__(self, file: IO[bytes], columns: Mapping[str, type]) -> None:
        self._file = io.TextIOWrapper(file, "utf-8", newline="", write_through=True)
        self._csv = csv.writer(self._file)
        self._csv.writerow(columns)

    def write(self, items: list[Shown]) -> None:
        for item in items:
            self._csv.writerow([_safe(cell) for cell in cells_of(item)])

    def close(self) -> None:
        self._file.detach()


class Json:
    """An array of what the page's JSON twin has as items."""

    def __init__(self, file: IO[bytes], columns: Mapping[str, type]) -> None:
        self._file = file
        self._between = b"[\n"

    def write(self, items: list[Shown]) -> None:
        for item in items:
            self._file.write(self._between + item.model_dump_json().encode())
            self._between = b",\n"

    def close(self) -> None:
        self._file.write(b"[]\n" if self._between == b"[\n" else b"\n]\n")


class Parquet:
    """One row group for each page that was read."""

    def __init__(self, file: IO[bytes], columns: Mapping[str, type]) -> None:
        import pyarrow
        import pyarrow.parquet

        self._arrow = pyarrow
        self._schema = pyarrow.schema(
            [(name, NUMBER.get(kind, "string")) for name, kind in columns.items()]
        )
        self._parquet = pyarrow.parquet.ParquetWriter(file, self._schema)

    def write(self, items: list[Shown]) -> None:
        rows = [tuple(cells_of(item)) for item in items]
        columns = list(zip(*rows, strict=True)) or [()] * len(self._schema)
        arrays = [
            self._arrow.array(cells, type=field.type)
            for cells, field in zip(columns, self._schema, strict=True)
        ]
        self._parquet.write_table(self._arrow.Table.from_arrays(arrays, schema=self._schema))

    def close(self) -> None:
        self._parquet.close()


FORMATS: Mapping[str, type[Writer]] = {"csv": Csv, "json": Json, "parquet": Parquet}
MEDIA_TYPES: Mapping[str, str] = {
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
    "parquet": "application/vnd.apache.parquet",
}


def _safe(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and cell.lstrip(" ").startswith(FORMULA) else cell
