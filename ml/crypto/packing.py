"""Several small numbers side by side in one plaintext, wide enough for their sums.

A *slot* holds one number of every field, the first field highest.  A field of ``value_bits`` bits
is given bit_length(max_rows) bits more, so that the sum of ``max_rows`` slots cannot carry from a
field into its neighbour.  A plaintext takes several slots; `Packing.slots` says how many.

    | g (41 bits) | h (40 bits) | count (16 bits) |   one slot of SecureBoost, 24,000 rows
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml.crypto.errors import InvalidAnswer, PackingOverflow

_MAX_FIELD_BITS = 62  # sums are held in int64


@dataclass(frozen=True)
class Packing:
    """Fields of ``value_bits`` bits, for sums of up to ``max_rows`` of them.

    Raises `PackingOverflow` if a field cannot be held in 62 bits.
    """

    value_bits: tuple[int, ...]
    max_rows: int

    def __post_init__(self) -> None:
        if not self.value_bits or min(self.value_bits) < 1 or self.max_rows < 1:
            raise PackingOverflow("a packing needs fields of at least 1 bit and at least 1 row")
        if max(self.field_bits) > _MAX_FIELD_BITS:
            raise PackingOverflow(
                f"sums of {self.max_rows} values of {max(self.value_bits)} bits need "
                f"{max(self.field_bits)} bits; allowed are {_MAX_FIELD_BITS}"
            )

    @property
    def field_bits(self) -> tuple[int, ...]:
        """Bits of each field; the largest sum is (2^value_bits - 1)·max_rows, which fits."""
        return tuple(bits + self.max_rows.bit_length() for bits in self.value_bits)

    @property
    def slot_bits(self) -> int:
        """Bits of one slot."""
        return sum(self.field_bits)

    def slots(self, key_bits: int) -> int:
        """How many slots are below every modulus of ``key_bits`` bits; at least 1."""
        slots = (key_bits - 1) // self.slot_bits
        if slots < 1:
            raise PackingOverflow(
                f"a slot of {self.slot_bits} bits does not fit a key of {key_bits}"
            )
        return slots

    def pack(self, values: NDArray[np.int64]) -> list[int]:
        """One plaintext of one slot per row; values (m, fields), each >= 0 and below 2^value_bits.

        Raises `PackingOverflow` for other values and for more rows than ``max_rows``.
        """
        m, k = values.shape
        if k != len(self.value_bits) or m > self.max_rows:
            raise PackingOverflow(
                f"{m} rows of {k} fields; allowed are {self.max_rows} of {len(self.value_bits)}"
            )
        limits = np.array([2**bits for bits in self.value_bits], np.int64)
        if ((values < 0) | (values >= limits)).any():
            raise PackingOverflow(
                f"a value is negative or has more than its {self.value_bits} bits; scale the values"
            )
        columns = values.T.tolist()
        packed: list[int] = columns[0]
        for bits, column in zip(self.field_bits[1:], columns[1:], strict=True):
            packed = [high << bits | low for high, low in zip(packed, column, strict=True)]
        return packed

    def unpack(self, plaintext: int, slots: int) -> NDArray[np.int64]:
        """The fields of ``slots`` slots, the first one highest; shape (slots, fields).

        Raises `InvalidAnswer` if more than these slots is filled.
        """
        if not 0 <= plaintext < 1 << (slots * self.slot_bits):
            raise InvalidAnswer(
                f"a plaintext has {plaintext.bit_length()} bits; "
                f"{slots} slots have {slots * self.slot_bits}"
            )
        fields: list[int] = []
        for bits in tuple(reversed(self.field_bits)) * slots:
            fields.append(plaintext & ((1 << bits) - 1))
            plaintext >>= bits
        return np.array(fields[::-1], np.int64).reshape(slots, len(self.value_bits))
