"""The ids that a party matches by: of a table, of several columns, with or without duplicates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ml.errors import MissingIds
from ml.table import NAMED_POSITIONS, IdType, Table, check_ids

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Keys:
    """One id for each row; unlike the ids of a table they may repeat."""

    ids: Sequence[str]
    id_type: IdType = "string"

    @classmethod
    def of_columns(cls, columns: Sequence[Sequence[str]]) -> Keys:
        """Rows are the same person if they are equal in all of these columns, in this order.

        Each text is written with its length, so ("ab", "c") and ("a", "bc") differ.  Raises
        `MissingIds` where one is empty: what is missing is equal to nothing.
        """
        empty = {at for texts in columns for at, text in enumerate(texts) if not text}
        if empty:
            raise MissingIds(len(empty), sorted(empty)[:NAMED_POSITIONS])
        return cls(
            ["".join(f"{len(text)}:{text}" for text in row) for row in zip(*columns, strict=True)]
        )

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, eq=False)
class Distinct:
    """The ids that are matched, each once, and the rows in which each stands first."""

    ids: Sequence[str]
    rows: Rows | None  # None: id k is that of row k
    id_type: IdType

    @classmethod
    def of(cls, keys: Table | Keys, duplicates: Literal["refuse", "group"]) -> Distinct:
        """Raises `MissingIds`, and `DuplicateIds` where they are refused."""
        if isinstance(keys, Table):  # whose ids are distinct, or it would not be there
            return cls(keys.ids, None, keys.schema.id_type)
        first = dict[str, int]()
        if duplicates == "group":
            for row, id in enumerate(keys.ids):
                first.setdefault(id, row)
        if duplicates == "refuse" or len(first) == len(keys):
            check_ids(keys.ids)
            return cls(keys.ids, None, keys.id_type)
        ids = list(first)
        check_ids(ids)
        return cls(ids, np.fromiter(first.values(), np.int64, len(first)), keys.id_type)

    def __len__(self) -> int:
        return len(self.ids)

    def rows_of(self, at: Rows) -> Rows:
        """The first rows with these ids."""
        return at if self.rows is None else self.rows[at]


def groups(keys: Keys, rows: Rows) -> tuple[Rows, Rows]:
    """All rows with the ids of ``rows``, group after group in that order; and where groups begin.

    Group k is ``all_rows[starts[k] : starts[k + 1]]``, its rows ascending.
    """
    members: dict[str, list[int]] = {keys.ids[row]: [] for row in rows}
    for row, id in enumerate(keys.ids):
        if id in members:
            members[id].append(row)
    sizes = np.fromiter(map(len, members.values()), np.int64, len(members))
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
    return np.array([row for group in members.values() for row in group], np.int64), starts
