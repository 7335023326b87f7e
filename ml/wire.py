"""Registered types as bytes and back: nothing is executed, nothing undeclared gets in.

A body is one version byte and one record.  A record is ``[kind, {field: value}]`` in msgpack;
arrays are ``[dtype, shape, raw little-endian bytes]``, so a vector of a million numbers is one
copy.  The *annotations* of the registered class drive the decoder: it asks msgpack for exactly
the type that is declared next and looks at the lead byte before it lets anything be built, so a
hostile body costs its length and no more.  All that differs from the declaration is a `WireError`
that says where, what was found and what was allowed.

    @register
    @dataclass(frozen=True, eq=False)
    class Histogram:
        counts: Annotated[NDArray[np.int64], Shape("bins", 2)]

Allowed annotations: ``bool int float str bytes None``, a ``StrEnum``, ``Literal`` strings,
``NDArray[...]`` with an optional `Shape`, ``tuple[X, ...]``, ``tuple[X, Y]``, ``list[X]``,
``dict[str | int, X]``, ``X | None`` and other registered classes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, TypeVar

import msgpack
import numpy as np
from numpy.typing import NDArray

from ml.codec import At, Reader, Record, Shape, is_registered, kind_of, register
from ml.errors import WireError

__all__ = [
    "MAX_BYTES",
    "VERSION",
    "BigIntVector",
    "Shape",
    "dumps",
    "is_registered",
    "kind_of",
    "loads",
    "register",
]

VERSION = 1
MAX_BYTES = 256 * 2**20  # of one body, unless the caller says otherwise

T = TypeVar("T")


def dumps(value: object, *, max_bytes: int = MAX_BYTES) -> bytes:
    """The bytes of a registered ``value``; raises `WireError` where it breaks its declaration."""
    cls = type(value)
    if not is_registered(cls):
        raise WireError(f"{kind_of(cls)} is not registered; only registered types cross a channel")
    packer = msgpack.Packer(autoreset=False)
    try:
        Record(cls).encode(packer, value, At(kind_of(cls)))
    except UnicodeEncodeError as error:
        raise WireError(f"{kind_of(cls)}: a string is not valid Unicode") from error
    body: bytes = bytes((VERSION,)) + packer.bytes()
    _check_length(len(body), max_bytes, kind_of(cls))
    return body


def loads(body: bytes, kind: type[T], *, max_bytes: int = MAX_BYTES) -> T:
    """The ``kind`` that ``body`` holds; raises `WireError` if it holds anything else.

    Arrays in the result are read-only.
    """
    if not is_registered(kind):
        raise WireError(f"{kind_of(kind)} is not registered; only registered types cross a channel")
    _check_length(len(body), max_bytes, kind_of(kind))
    if not body or body[0] != VERSION:
        found = f"version {body[0]}" if body else "no bytes"
        raise WireError(f"{kind_of(kind)}: found {found}; allowed is version {VERSION}")
    reader = Reader(body)
    try:
        value = Record(kind).decode(reader, At(kind_of(kind)))
    except msgpack.OutOfData as error:
        raise WireError(f"{kind_of(kind)}: the body ends too early") from error
    except (msgpack.UnpackException, ValueError) as error:
        raise WireError(f"{kind_of(kind)}: not a well-formed body ({error})") from error
    if reader.position != len(body):
        raise WireError(f"{kind_of(kind)}: {len(body) - reader.position} bytes after its end")
    assert isinstance(value, kind)
    return value


def _check_length(length: int, max_bytes: int, where: str) -> None:
    if length > max_bytes:
        raise WireError(f"{where}: {length} bytes; allowed are {max_bytes}")


@register
@dataclass(frozen=True, eq=False)
class BigIntVector:
    """Non-negative integers below 256**width, each in the same number of big-endian bytes.

    The size on the wire tells the count and the width, never how large a value is.
    """

    data: Annotated[NDArray[np.uint8], Shape("n", "width")]

    @classmethod
    def pack(cls, values: Iterable[int], width: int) -> BigIntVector:
        """From integers; raises `OverflowError` for a negative one or one of more bytes."""
        data = b"".join(int(value).to_bytes(width, "big") for value in values)
        return cls(np.frombuffer(data, np.uint8).reshape(-1, width))

    def unpack(self) -> list[int]:
        """As integers; raises `WireError` for numbers of no bytes."""
        raw, width = self.data.tobytes(), self.width
        if not width:
            raise WireError("numbers of 0 bytes each")
        return [
            int.from_bytes(raw[i : i + width], "big") for i in range(0, len(self) * width, width)
        ]

    @property
    def width(self) -> int:
        """Bytes of one integer."""
        return int(self.data.shape[1])

    def __len__(self) -> int:
        return int(self.data.shape[0])
