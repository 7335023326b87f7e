"""The rows of one party: schema, table, CSV reader, hold-out split and row commitments.

A table never leaves its party.  What others see of it is its `Schema` digest and a
`RowCommitment`: a salted Merkle root that proves later which rows were used and, until a row is
opened on purpose, tells nothing but their number.
"""

from __future__ import annotations

import gzip
import hmac
import lzma
import re
import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import numpy as np
import rfc8785
from numpy.typing import NDArray

from ml import merkle
from ml.errors import (
    AllMissingColumn,
    CategoryColumn,
    ColumnNotFound,
    ConstantColumn,
    DuplicateIds,
    IdTypeMismatch,
    LabelsMissing,
    LabelsNegative,
    LabelsNotBinary,
    LabelsNotClasses,
    MissingIds,
    SingleClass,
    UnreadableTable,
)

IdType = Literal["string", "integer"]
ColumnType = Literal["number", "integer", "boolean", "category"]

MISSING_VALUES = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "?")
NAMED_POSITIONS = 5  # how many rows an error about ids points at

_INTEGER_ID = re.compile(r"0|-?[1-9][0-9]*")


@dataclass(frozen=True)
class Schema:
    """What the columns of a table are called and hold; equal for all versions of a dataset."""

    features: tuple[str, ...]
    types: tuple[ColumnType, ...]  # of the features, in the same order
    id: str = "id"
    id_type: IdType = "string"
    label: str | None = None

    def __post_init__(self) -> None:
        names = [self.id, *self.features, *([] if self.label is None else [self.label])]
        if len(self.types) != len(self.features) or len(set(names)) != len(names):
            raise ValueError("a schema needs one type per feature and distinct column names")

    def to_json(self) -> dict[str, Any]:
        """As plain JSON; `from_json` reads it."""
        return {
            "id": {"name": self.id, "type": self.id_type},
            "label": self.label,
            "features": [
                {"name": name, "type": kind}
                for name, kind in zip(self.features, self.types, strict=True)
            ],
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Schema:
        """Raises `KeyError` or `ValueError` for what `to_json` did not write."""
        return cls(
            features=tuple(f["name"] for f in value["features"]),
            types=tuple(f["type"] for f in value["features"]),
            id=value["id"]["name"],
            id_type=value["id"]["type"],
            label=value["label"],
        )

    @cached_property
    def categories(self) -> frozenset[str]:
        """The features whose values have no order: in X, `category_code` stands for a text."""
        return frozenset(
            name for name, kind in zip(self.features, self.types, strict=True) if kind == "category"
        )

    @cached_property
    def digest(self) -> str:
        """0x-hex SHA-256 of the canonical JSON (RFC 8785) of the schema."""
        return "0x" + sha256(rfc8785.dumps(self.to_json())).hexdigest()


@dataclass(frozen=True, eq=False)
class Table:
    """Rows in memory.  Ids are exact strings; a missing value is NaN; arrays are read-only."""

    schema: Schema
    ids: tuple[str, ...]  # n, unique
    X: NDArray[np.float64]  # (n, p)
    y: NDArray[np.float64] | None = None  # (n,)

    def __post_init__(self) -> None:
        n, p = len(self.ids), len(self.schema.features)
        if self.X.shape != (n, p) or self.X.dtype != np.float64:
            raise ValueError(f"X is {self.X.dtype} {self.X.shape}; needed is float64 {(n, p)}")
        if (self.y is None) != (self.schema.label is None):
            raise ValueError("a table has labels exactly if its schema names a label column")
        if self.y is not None and self.y.shape != (n,):
            raise ValueError(f"y has shape {self.y.shape}; needed is {(n,)}")
        check_ids(self.ids)
        # A read-only view: the caller may go on with the array it gave.
        for name in ("X", "y"):
            if (array := getattr(self, name)) is not None:
                view = array.view()
                view.setflags(write=False)
                object.__setattr__(self, name, view)

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: NDArray[np.integer[Any]] | Sequence[int]) -> Table:
        """The rows at these positions, in this order."""
        at = np.asarray(rows, dtype=np.int64)
        return replace(
            self,
            ids=tuple(self.ids[i] for i in at),
            X=self.X[at],
            y=None if self.y is None else self.y[at],
        )


def check_ids(ids: Sequence[str]) -> None:
    """Raises `MissingIds` or `DuplicateIds`, which name positions, never an id."""
    if missing := [i for i, name in enumerate(ids) if not name]:
        raise MissingIds(len(missing), missing[:NAMED_POSITIONS])
    if len(set(ids)) == len(ids):
        return
    seen: set[str] = set()
    again = [i for i, name in enumerate(ids) if name in seen or seen.add(name)]  # type: ignore[func-returns-value]
    raise DuplicateIds(len(again), again[:NAMED_POSITIONS])


# --- reading --------------------------------------------------------------------------------


def read_csv(
    source: str | Path | BinaryIO,
    *,
    id: str = "id",
    label: str | None = None,
    id_type: IdType | None = None,
    missing: Iterable[str] = MISSING_VALUES,
) -> Table:
    """A table from a CSV file with a header; a path may end in ``.gz`` or ``.xz``.

    Ids are taken as the exact text of the file.  ``id_type`` is what the parties compare before
    they match rows; without it, ids that are all canonical integers make it "integer".  Raises
    `UnreadableTable`, `ColumnNotFound`, `MissingIds`, `DuplicateIds` or `IdTypeMismatch`.
    """
    absent = tuple(missing)
    columns = _read_columns(source, id, absent)
    for wanted in (id, label):
        if wanted is not None and wanted not in columns:
            raise ColumnNotFound(wanted, list(columns))
    ids = tuple(cast("list[str]", columns.pop(id).to_pylist()))
    y = None if label is None else _numbers(label, columns.pop(label))[0]
    features = {name: _feature(name, column, absent) for name, column in columns.items()}
    check_ids(ids)
    schema = Schema(
        features=tuple(features),
        types=tuple(kind for _, kind in features.values()),
        id=id,
        id_type=_id_type(ids, id_type),
        label=label,
    )
    X = np.empty((len(ids), len(features)))
    for j, (values, _) in enumerate(features.values()):
        X[:, j] = values
    return Table(schema, ids, X, y)


def read_texts(source: str | Path | BinaryIO, columns: Sequence[str]) -> list[list[str]]:
    """These columns as the exact text of the file, in this order; no other is converted.

    Raises `UnreadableTable` or `ColumnNotFound`.
    """
    import pyarrow as pa
    from pyarrow import csv

    named = list(dict.fromkeys(columns))
    options = csv.ConvertOptions(
        include_columns=named,
        include_missing_columns=True,
        column_types=dict.fromkeys(named, pa.string()),
    )
    found = _parsed(source, options)
    for name, column in found.items():
        if column.null_count:  # no text of a file is null, so the file has no such column
            raise ColumnNotFound(name, [n for n in named if not found[n].null_count])
    texts = {name: cast("list[str]", column.to_pylist()) for name, column in found.items()}
    return [texts[name] for name in columns]


def _read_columns(
    source: str | Path | BinaryIO, id: str, missing: tuple[str, ...]
) -> dict[str, Any]:
    """The columns as pyarrow arrays by name, the ids as text."""
    import pyarrow as pa
    from pyarrow import csv

    return _parsed(
        source, csv.ConvertOptions(column_types={id: pa.string()}, null_values=list(missing))
    )


def _parsed(source: str | Path | BinaryIO, options: Any) -> dict[str, Any]:
    """The columns of a file as pyarrow arrays by name."""
    import pyarrow as pa
    from pyarrow import csv

    try:
        if isinstance(source, str | Path):
            with _open(Path(source)) as file:
                table = csv.read_csv(file, convert_options=options)
        else:
            table = csv.read_csv(source, convert_options=options)
    except (pa.ArrowException, gzip.BadGzipFile, lzma.LZMAError, zlib.error, EOFError) as error:
        # The parser's text may quote a row, so only its kind is told.
        raise UnreadableTable(
            f"the file could not be read as CSV ({type(error).__name__}); "
            "it needs a header line, the same number of cells in each row, and UTF-8"
        ) from error
    except OSError as error:
        raise UnreadableTable(f"the file could not be opened: {error.strerror}") from error
    if len(set(table.column_names)) != len(table.column_names):
        raise UnreadableTable("two columns have the same name; rename one of them")
    return {name: table.column(name) for name in table.column_names}


def _open(path: Path) -> BinaryIO:
    match path.suffix:
        case ".gz":
            return cast(BinaryIO, gzip.open(path, "rb"))
        case ".xz":
            return cast(BinaryIO, lzma.open(path, "rb"))
        case _:
            return path.open("rb")


def category_code(text: str) -> float:
    """The number that stands for a text in a column of categories: the first 6 bytes of its
    SHA-256, so that all tables have the same one without a list of texts."""
    return float(int.from_bytes(sha256(text.encode()).digest()[:6], "big"))


def _feature(
    name: str, column: Any, missing: tuple[str, ...]
) -> tuple[NDArray[np.float64], ColumnType]:
    """Numbers, or codes of text; missing values as NaN; and what type it is."""
    import pyarrow as pa

    if pa.types.is_string(column.type):
        return _categories(name, column, frozenset(missing)), "category"
    return _numbers(name, column)


def _categories(name: str, column: Any, missing: frozenset[str]) -> NDArray[np.float64]:
    """A column of text as codes; raises `UnreadableTable` for numbers with some text among them."""
    encoded = column.combine_chunks().dictionary_encode()
    texts: list[str] = encoded.dictionary.to_pylist()
    said = [text for text in texts if text not in missing]
    if said and 2 * sum(map(_is_number, said)) >= len(said):
        raise UnreadableTable(
            f"column {name!r} holds numbers and other text; correct these cells, or empty them"
        )
    codes = [np.nan if text in missing else category_code(text) for text in texts]
    at = encoded.indices.fill_null(len(texts)).to_numpy(zero_copy_only=False)
    return np.asarray(np.array([*codes, np.nan])[at], np.float64)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _numbers(name: str, column: Any) -> tuple[NDArray[np.float64], ColumnType]:
    """A column as floats, missing values as NaN; and what type it has."""
    import pyarrow as pa

    kind = column.type
    found: ColumnType
    if pa.types.is_integer(kind):
        found = "integer"
    elif pa.types.is_boolean(kind):
        found = "boolean"
    elif pa.types.is_floating(kind) or pa.types.is_null(kind):
        found = "number"
    else:
        raise UnreadableTable(
            f"column {name!r} holds {kind}; features are numbers or text, labels numbers"
        )
    if pa.types.is_boolean(kind):  # pyarrow has no direct way from bool to float64
        column = column.cast(pa.uint8())
    try:
        values = column.cast(pa.float64()).to_numpy(zero_copy_only=False).astype(np.float64)
    except pa.ArrowInvalid as error:
        raise UnreadableTable(
            f"column {name!r} holds an integer beyond 2**53, which no float64 can hold"
        ) from error
    if np.isinf(values).any():
        raise UnreadableTable(f"column {name!r} holds an infinite value; numbers must be finite")
    return values, found


def id_type_of(ids: Sequence[str]) -> IdType:
    """The narrowest type that these ids allow."""
    return _id_type(ids, None)


def _id_type(ids: Sequence[str], declared: IdType | None) -> IdType:
    """The declared type if the ids allow it, else the narrowest they allow."""
    if declared == "string":
        return declared
    integers = all(map(_INTEGER_ID.fullmatch, ids))
    if declared == "integer" and not integers:
        raise IdTypeMismatch("integer", "string", "the file")
    return "integer" if integers else "string"


# --- checks that algorithms share -----------------------------------------------------------


def number_labels(table: Table, *, negative: bool = True) -> NDArray[np.float64]:
    """The labels as they are, shape (n,); raises `LabelsMissing`, or `LabelsNegative` if asked."""
    if table.y is None:
        raise LabelsMissing("the table names no label column; the guest's dataset needs one")
    if np.isnan(table.y).any():
        raise LabelsMissing(f"{int(np.isnan(table.y).sum())} rows have no label; drop these rows")
    if not negative and (below := int((table.y < 0).sum())):
        raise LabelsNegative(below)
    return table.y


def binary_labels(table: Table) -> NDArray[np.int8]:
    """The labels as 0 and 1, shape (n,).

    Raises `LabelsMissing`, `LabelsNotBinary` or `SingleClass`.
    """
    y = number_labels(table)
    distinct = np.unique(y)
    if not np.isin(distinct, (0.0, 1.0)).all():
        raise LabelsNotBinary(len(distinct))
    if len(distinct) < 2:
        raise SingleClass(len(table))
    return y.astype(np.int8)


def class_labels(table: Table, classes: int) -> NDArray[np.int64]:
    """The labels as numbers of classes, 0 to ``classes`` - 1, shape (n,).

    Raises `LabelsMissing`, `LabelsNotClasses` or `SingleClass`.
    """
    y = number_labels(table)
    distinct = np.unique(y)
    if not np.isin(distinct, np.arange(classes)).all():
        raise LabelsNotClasses(len(distinct), classes)
    if len(distinct) < 2:
        raise SingleClass(len(table))
    return y.astype(np.int64)


def check_features(table: Table) -> None:
    """For algorithms that calculate with features: raises `CategoryColumn` for one that is text.

    Raises `AllMissingColumn` or `ConstantColumn` for a feature that can tell nothing apart.
    """
    for name in sorted(table.schema.categories):
        raise CategoryColumn(name)
    for j, name in enumerate(table.schema.features):
        values = table.X[:, j]
        present = values[~np.isnan(values)]
        if not len(present):
            raise AllMissingColumn(name)
        # A constant that is missing in some rows still tells those rows apart.
        if len(present) == len(values) and (present == present[0]).all():
            raise ConstantColumn(name)


def split_by_id(
    ids: Sequence[str], fraction: float, salt: bytes
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions of the training rows and of the held-out rows, each ascending.

    A row is held out if HMAC-SHA256(salt, id), as a number in [0, 1), is below ``fraction``: all
    parties decide alike with nothing exchanged, and a row that joins later moves no other row.
    The split of few rows is only roughly ``fraction``.
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction is {fraction}; allowed is 0 to 1")
    limit = int(fraction * 2**64)
    held_out = np.fromiter(
        (
            int.from_bytes(hmac.digest(salt, name.encode(), "sha256")[:8], "big") < limit
            for name in ids
        ),
        dtype=bool,
        count=len(ids),
    )
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


# --- commitments ----------------------------------------------------------------------------

KEY_BYTES = 32
SALT_BYTES = 16


@dataclass(frozen=True)
class RowCommitment:
    """What a party publishes about its rows."""

    root: str  # 0x-hex
    row_count: int
    schema_digest: str  # 0x-hex


@dataclass(frozen=True)
class OpenedRow:
    """One row with the proof that it is under a commitment; shows this row and no other."""

    row: bytes  # as `row_bytes` writes it
    salt: bytes
    index: int
    siblings: tuple[bytes, ...]


def commit_rows(table: Table, key: bytes) -> RowCommitment:
    """The commitment to all rows under a secret ``key`` of 32 random bytes, one per version.

    Leaf data is salt || row, with salt = the first 16 bytes of HMAC-SHA256(key, id): without the
    key, even a row that is known in full cannot be recognised.  Leaves stand in the order of these
    HMACs, so a position tells nothing about the order in the file.  The tree is RFC 6962's.
    """
    leaves = [leaf for _, _, leaf in _leaves(table, key)]
    return RowCommitment("0x" + merkle.root(leaves).hex(), len(leaves), table.schema.digest)


def open_row(table: Table, key: bytes, id: str) -> OpenedRow:
    """Open the row of ``id``; raises `KeyError` if there is none."""
    leaves = _leaves(table, key)
    for index, (mac, row, _) in enumerate(leaves):
        if table.ids[row] == id:
            siblings = merkle.path([leaf for _, _, leaf in leaves], index)
            return OpenedRow(row_bytes(table, row), mac[:SALT_BYTES], index, tuple(siblings))
    raise KeyError("the table has no row with this id")


def verify_row(commitment: RowCommitment, opened: OpenedRow) -> bool:
    """Whether the opened row is one of the committed ones."""
    leaf = merkle.leaf_hash(opened.salt + opened.row)
    root = merkle.root_of_path(leaf, opened.index, commitment.row_count, opened.siblings)
    return (
        len(opened.salt) == SALT_BYTES and root is not None and "0x" + root.hex() == commitment.root
    )


def row_bytes(table: Table, row: int) -> bytes:
    """One row in canonical form: the id with its length, then label and features as float64.

    Numbers are big-endian; every NaN has the same bits and zero has no sign.
    """
    label = [] if table.y is None else [table.y[row]]
    return _row_bytes(table.ids[row], np.array([*label, *table.X[row]]))


def _row_bytes(id: str, numbers: NDArray[np.float64]) -> bytes:
    name = id.encode()
    canonical = np.where(np.isnan(numbers), np.nan, numbers + 0.0)
    return struct.pack(">I", len(name)) + name + canonical.astype(">f8").tobytes()


def _leaves(table: Table, key: bytes) -> list[tuple[bytes, int, bytes]]:
    """(HMAC of the id, position of the row, leaf hash) of all rows, in the order of the tree."""
    if len(key) != KEY_BYTES:
        raise ValueError(f"the key has {len(key)} bytes; needed are {KEY_BYTES} random ones")
    numbers = table.X if table.y is None else np.column_stack([table.y, table.X])
    macs = sorted(
        (hmac.digest(key, name.encode(), "sha256"), i) for i, name in enumerate(table.ids)
    )
    return [
        (mac, i, merkle.leaf_hash(mac[:SALT_BYTES] + _row_bytes(table.ids[i], numbers[i])))
        for mac, i in macs
    ]
