"""The register of types that may cross a channel, and one codec for each kind of annotation.

`ml.wire` is what protocols use.  A codec writes a value only as it was declared, and reads only
what was declared: `Reader` looks at the lead byte of the next thing before msgpack builds it.
"""

from __future__ import annotations

import types
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from enum import StrEnum
from functools import cache
from math import prod
from typing import (
    Annotated,
    Any,
    Literal,
    Protocol,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import msgpack
import numpy as np
from numpy.typing import NDArray

from ml.errors import WireError

MAX_DEPTH = 32  # of records and lists in one another
MAX_ITEMS = 2**20  # of one list or dict; more belongs in an array
MAX_INT_BYTES = 4096  # of one integer; twice the square of an 8192-bit modulus
MAX_NDIM = 4

_INTEGERS = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
DTYPES = {
    name: np.dtype(name).newbyteorder("<") for name in ["bool", *_INTEGERS, "float32", "float64"]
}
_BIG_INT = 1  # the one msgpack extension: a signed big-endian integer beyond 64 bits

T = TypeVar("T")


@dataclass(frozen=True)
class Shape:
    """The shape an array must have: a number is fixed, a name is free but the same per record."""

    dims: tuple[int | str, ...]

    def __init__(self, *dims: int | str) -> None:
        object.__setattr__(self, "dims", dims)


# --- the register ---------------------------------------------------------------------------

_registered: dict[str, type] = {}


def kind_of(cls: type) -> str:
    """The name of ``cls`` on the wire: its module and name without the leading ``ml.``."""
    return f"{cls.__module__}.{cls.__qualname__}".removeprefix("ml.")


def register(cls: type[T]) -> type[T]:
    """Allow the dataclass ``cls`` to cross a channel; usable as a decorator."""
    if not is_dataclass(cls):
        raise TypeError(f"{cls.__qualname__} is no dataclass; only dataclasses cross a channel")
    kind = kind_of(cls)
    if kind in _registered:
        raise TypeError(f"{kind} is registered already; two types may not share a name")
    _registered[kind] = cls
    return cls


def is_registered(cls: type) -> bool:
    """Whether ``cls`` may cross a channel."""
    return _registered.get(kind_of(cls)) is cls


# --- where we are in a body, and what comes next --------------------------------------------


@dataclass(frozen=True)
class At:
    """Where in a body we are, for errors; and the named dimensions of the record around us."""

    where: str
    depth: int = 0
    dims: dict[str, int] = field(default_factory=dict)

    def field(self, name: str) -> At:
        return replace(self, where=f"{self.where}.{name}")

    def deeper(self, *, dims: dict[str, int] | None = None) -> At:
        if self.depth >= MAX_DEPTH:
            raise WireError(f"{self.where}: deeper than {MAX_DEPTH} levels")
        return replace(self, depth=self.depth + 1, dims=self.dims if dims is None else dims)

    def wrong(self, found: object, allowed: object) -> WireError:
        return WireError(f"{self.where}: found {found}; allowed is {allowed}")


class Reader:
    """Takes one declared thing after the other from a body."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._unpacker = msgpack.Unpacker(
            max_buffer_size=max(len(body), 1),
            max_array_len=MAX_ITEMS,
            max_map_len=MAX_ITEMS,
            strict_map_key=False,
        )
        self._unpacker.feed(memoryview(body)[1:])

    @property
    def position(self) -> int:
        return 1 + int(self._unpacker.tell())

    def family(self) -> str:
        """What the next thing is, from its lead byte alone."""
        if self.position >= len(self._body):
            raise msgpack.OutOfData
        return _FAMILIES[self._body[self.position]]

    def take(self, families: Sequence[str], at: At) -> Any:
        """The next scalar, if it is of one of these families."""
        if (found := self.family()) not in families:
            raise at.wrong(found, " or ".join(families))
        return self._unpacker.unpack()

    def length(self, family: Literal["list", "map"], at: At) -> int:
        """Enter the next list or map; its length."""
        if (found := self.family()) != family:
            raise at.wrong(found, family)
        read = (
            self._unpacker.read_array_header
            if family == "list"
            else (self._unpacker.read_map_header)
        )
        return int(read())


def _family(lead: int) -> str:
    """The msgpack family of a lead byte (msgpack specification, "Overview" table)."""
    match lead:
        case 0xC0:
            return "nothing"
        case 0xC2 | 0xC3:
            return "bool"
        case 0xCB:
            return "float"
        case 0xC4 | 0xC5 | 0xC6:
            return "bytes"
        case 0xD9 | 0xDA | 0xDB:
            return "str"
        case 0xDC | 0xDD:
            return "list"
        case 0xDE | 0xDF:
            return "map"
        case _ if lead <= 0x7F or lead >= 0xE0 or 0xCC <= lead <= 0xD3:
            return "int"
        case _ if lead <= 0x8F:
            return "map"
        case _ if lead <= 0x9F:
            return "list"
        case _ if lead <= 0xBF:
            return "str"
        case _ if lead in (0xC7, 0xC8, 0xC9) or 0xD4 <= lead <= 0xD8:
            return "extension"
        case _:
            return "unused"  # 0xC1, and 0xCA: floats of 32 bits, which we never write


_FAMILIES = tuple(_family(lead) for lead in range(256))


# --- one codec per kind of annotation -------------------------------------------------------


class Codec(Protocol):
    """Writes and reads values of one annotation."""

    @property
    def families(self) -> tuple[str, ...]: ...
    def encode(self, packer: msgpack.Packer, value: object, at: At) -> None: ...
    def decode(self, reader: Reader, at: At) -> Any: ...


@dataclass(frozen=True)
class Scalar:
    """bool, float, str, bytes or None."""

    type: type

    @property
    def families(self) -> tuple[str, ...]:
        return ("nothing" if self.type is types.NoneType else self.type.__name__,)

    def encode(self, packer: msgpack.Packer, value: object, at: At) -> None:
        if self.type is float and type(value) is int:
            value = float(value)
        if not isinstance(value, self.type):
            raise at.wrong(type(value).__name__, self.families[0])
        # A subclass such as numpy.float64 is packed as what it stands for.
        packer.pack(self.type(value) if value is not None else None)

    def decode(self, reader: Reader, at: At) -> Any:
        return reader.take(self.families, at)


@dataclass(frozen=True)
class Integer:
    """An integer of any size up to `MAX_INT_BYTES`."""

    families: tuple[str, ...] = ("int", "extension")

    def encode(self, packer: msgpack.Packer, value: object, at: At) -> None:
        if type(value) is not int:
            raise at.wrong(type(value).__name__, "int")
        if -(2**63) <= value < 2**64:
            packer.pack(value)
            return
        data = value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)
        if len(data) > MAX_INT_BYTES:
            raise at.wrong(f"an integer of {len(data)} bytes", f"{MAX_INT_BYTES} bytes")
        packer.pack_ext_type(_BIG_INT, data)

    def decode(self, reader: Reader, at: At) -> int:
        value = reader.take(self.families, at)
        if isinstance(value, int):
            return value
        if not isinstance(value, msgpack.ExtType) or value.code != _BIG_INT:
            raise at.wrong("an unknown extension", "int")
        if len(value.data) > MAX_INT_BYTES:
            raise at.wrong(f"an integer of {len(value.data)} bytes", f"{MAX_INT_BYTES} bytes")
        return int.from_bytes(value.data, "big", signed=True)


@dataclass(frozen=True)
class Choice:
    """One of a fixed set of strings: a ``Literal`` or a ``StrEnum``."""

    values: dict[str, Any]
    families: tuple[str, ...] = ("str",)

    def encode(self, packer: msgpack.Packer, value: object, at: At) -> None:
        if not isinstance(value, str) or value not in self.values:
            raise at.wrong(repr(value), ", ".join(self.values))
        packer.pack(str(value))

    def decode(self, reader: Reader, at: At) -> Any:
        text = reader.take(self.families, at)
        if text not in self.values:
            raise at.wrong(f"{text[:40]!r}", ", ".join(self.values))
        return self.values[text]


@dataclass(frozen=True)
class Array:
    """A numpy array of one declared dtype."""

    dtype: str
    shape: Shape | None = None
    families: tuple[str, ...] = ("list",)

    def encode(self, packer: msgpack.Packer, value: object, at: At) -> None:
        if not isinstance(value, np.ndarray):
            raise at.wrong(type(value).__name__, f"array of {self.dtype}")
        self._check(value.dtype.name, value.shape, at)
        packer.pack_array_header(3)
        packer.pack(self.dtype)
        packer.pack(value.shape)
        packer.pack(value.astype(DTYPES[self.dtype], copy=False).tobytes())

    def decode(self, reader: Reader, at: At) -> NDArray[Any]:
        if (n := reader.length("list", at)) != 3:
            raise at.wrong(f"a list of {n}", f"array of {self.dtype}")
        dtype = reader.take(("str",), at)
        ndim = reader.length("list", at)
        if ndim > MAX_NDIM:
            raise at.wrong(f"{ndim} dimensions", f"{MAX_NDIM} at most")
        shape = tuple(reader.take(("int",), at) for _ in range(ndim))
        self._check(dtype, shape, at)
        data = reader.take(("bytes",), at)
        # A side of an empty array takes no bytes, so it has a limit of its own.
        if any(side < 0 or side > max(len(data), MAX_ITEMS) for side in shape):
            raise at.wrong(f"shape {shape}", f"sides from 0 to {max(len(data), MAX_ITEMS)}")
        if len(data) != prod(shape) * DTYPES[dtype].itemsize:
            raise at.wrong(f"{len(data)} bytes", f"those of {dtype} {shape}")
        # numpy takes other bytes as true too, but computes wrongly with them.
        if dtype == "bool" and len(data) and max(data) > 1:
            raise at.wrong("a bool other than 0 and 1", "0 or 1")
        return np.frombuffer(data, DTYPES[dtype]).reshape(shape)

    def _check(self, dtype: str, shape: tuple[int, ...], at: At) -> None:
        if dtype != self.dtype:
            raise at.wrong(f"array of {dtype[:20]!r}", f"array of {self.dtype!r}")
        if self.shape is None:
            return
        if len(shape) != len(self.shape.dims):
            raise at.wrong(f"shape {shape}", f"shape {self.shape.dims}")
        for found, allowed in zip(shape, self.shape.dims, strict=True):
            expected = at.dims.setdefault(allowed, found) if isinstance(allowed, str) else allowed
            if found != expected:
                raise at.wrong(f"shape {shape}", f"shape {self.shape.dims}, {allowed}={expected}")


@dataclass(frozen=True)
class Items:
    """A list or tuple of any length, all items alike."""

    build: type[list[Any]] | type[tuple[Any, ...]]
    item: Codec
    families: tuple[str, ...] = ("list",)

    def encode(self, packer: msgpack.Packer, value: object, at: At) -> None:
        if not isinstance(value, self.build):
            raise at.wrong(type(value).__name__, self.build.__name__)
        if len(value) > MAX_ITEMS:
            raise at.wrong(f"{len(value)} items", f"{MAX_ITEMS}; use an array")
        packer.pack_array_header(len(value))
        inner = at.field("[]").deeper()
        for item in value:
            self.item.encode(packer, item, inner)

    def decode(self, reader: Reader, at: At) -> Any:
        inner = at.field("[]").deeper()
        length = reader.length("list", at)
        return self.build(self.item.decode(reader, inner) for _ in range(length))


@dataclass(frozen=True)
class FixedTuple:
    """A tuple whose places have types of their own."""

    items: tuple[Codec, ...]
    families: tuple[str, ...] = ("list",)

    def encode(self, packer: msgpack.Packer, value: object, at: At) -> None:
        if not isinstance(value, tuple) or len(value) != len(self.items):
            raise at.wrong(type(value).__name__, f"a tuple of {len(self.items)}")
        packer.pack_array_header(len(value))
        for i, (codec, item) in enumerate(zip(self.items, value, strict=True)):
            codec.encode(packer, item, at.field(f"[{i}]").deeper())

    def decode(self, reader: Reader, at: At) -> tuple[Any, ...]:
        if (n := reader.length("list", at)) != len(self.items):
            raise at.wrong(f"a list of {n}", f"a tuple of {len(self.items)}")
        return tuple(
            codec.decode(reader, at.field(f"[{i}]").deeper()) for i, codec in enumerate(self.items)
        )


@dataclass(frozen=True)
class Dictionary:
    """A dict with strings or integers as keys."""

    key: Codec
    value: Codec
    families: tuple[str, ...] = ("map",)

    def encode(self, packer: msgpack.Packer, value: object, at: At) -> None:
        if not isinstance(value, dict):
            raise at.wrong(type(value).__name__, "dict")
        if len(value) > MAX_ITEMS:
            raise at.wrong(f"{len(value)} items", f"{MAX_ITEMS}; use an array")
        packer.pack_map_header(len(value))
        inner = at.field("{}").deeper()
        for key, item in value.items():
            self.key.encode(packer, key, inner)
            self.value.encode(packer, item, inner)

    def decode(self, reader: Reader, at: At) -> dict[Any, Any]:
        inner = at.field("{}").deeper()
        found: dict[Any, Any] = {}
        for _ in range(reader.length("map", at)):
            key = self.key.decode(reader, inner)
            if key in found:
                raise at.wrong("a key twice", "each key once")
            found[key] = self.value.decode(reader, inner)
        return found


@dataclass(frozen=True)
class OneOf:
    """A union whose members begin differently on the wire, such as ``X | None``."""

    options: tuple[Codec, ...]

    @property
    def families(self) -> tuple[str, ...]:
        return tuple(f for option in self.options for f in option.families)

    def encode(self, packer: msgpack.Packer, value: object, at: At) -> None:
        for option in self.options:
            if _suits(option, value):
                option.encode(packer, value, at)
                return
        raise at.wrong(type(value).__name__, " or ".join(self.families))

    def decode(self, reader: Reader, at: At) -> Any:
        found = reader.family()
        for option in self.options:
            if found in option.families:
                return option.decode(reader, at)
        raise at.wrong(found, " or ".join(self.families))


def _suits(codec: Codec, value: object) -> bool:
    """Whether ``codec`` is the member of a union that ``value`` means."""
    match codec:
        case Scalar(type=wanted):
            return isinstance(value, wanted)
        case Integer():
            return type(value) is int
        case Choice():
            return isinstance(value, str)
        case Array():
            return isinstance(value, np.ndarray)
        case Dictionary():
            return isinstance(value, dict)
        case Record(cls=cls):
            return type(value) is cls
        case _:
            return isinstance(value, list | tuple)


@dataclass(frozen=True)
class Record:
    """A registered dataclass."""

    cls: type[Any]
    families: tuple[str, ...] = ("list",)

    def encode(self, packer: msgpack.Packer, value: object, at: At) -> None:
        if type(value) is not self.cls:
            raise at.wrong(type(value).__name__, kind_of(self.cls))
        inner = at.deeper(dims={})
        codecs = _field_codecs(kind_of(self.cls))
        packer.pack_array_header(2)
        packer.pack(kind_of(self.cls))
        packer.pack_map_header(len(codecs))
        for name, codec in codecs.items():
            packer.pack(name)
            codec.encode(packer, getattr(value, name), inner.field(name))

    def decode(self, reader: Reader, at: At) -> Any:
        inner = at.deeper(dims={})
        if (n := reader.length("list", at)) != 2:
            raise at.wrong(f"a list of {n}", kind_of(self.cls))
        if (kind := reader.take(("str",), at)) != kind_of(self.cls):
            raise at.wrong(f"a {kind[:80]!r}", kind_of(self.cls))
        codecs = _field_codecs(kind_of(self.cls))
        values: dict[str, Any] = {}
        for _ in range(reader.length("map", at)):
            name = reader.take(("str",), at)
            if name not in codecs or name in values:
                raise at.wrong(f"field {name[:80]!r}", f"each of {', '.join(codecs)} once")
            values[name] = codecs[name].decode(reader, inner.field(name))
        if missing := [name for name in codecs if name not in values]:
            raise WireError(f"{at.where}: field {', '.join(missing)} is missing")
        try:
            return self.cls(**values)
        except ValueError as error:  # what __post_init__ refuses
            raise WireError(f"{at.where}: {error}") from error


@cache
def _field_codecs(kind: str) -> dict[str, Codec]:
    """The codec of every field of a registered type, in order of declaration."""
    cls = _registered[kind]
    hints = get_type_hints(cls, include_extras=True)
    return {f.name: codec_of(hints[f.name], f"{kind}.{f.name}") for f in fields(cls)}


def codec_of(annotation: Any, where: str) -> Codec:
    """The codec of an annotation; raises `TypeError` for one that cannot be checked on decoding."""
    origin, args = get_origin(annotation), get_args(annotation)
    shape = None
    if origin is Annotated:
        annotation, shape = args[0], next((a for a in args[1:] if isinstance(a, Shape)), None)
        origin, args = get_origin(annotation), get_args(annotation)
    if annotation is None or annotation is types.NoneType:
        return Scalar(types.NoneType)
    if annotation in (bool, float, str, bytes):
        return Scalar(annotation)
    if annotation is int:
        return Integer()
    if origin is Literal and all(isinstance(a, str) for a in args):
        return Choice({a: a for a in args})
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return Choice({member.value: member for member in annotation})
    if origin is np.ndarray and (dtype := _dtype_of(args[1])) in DTYPES:
        return Array(dtype, shape)
    if origin is tuple and len(args) == 2 and args[1] is Ellipsis:
        return Items(tuple, codec_of(args[0], where))
    if origin is tuple:
        return FixedTuple(tuple(codec_of(a, where) for a in args))
    if origin is list:
        return Items(list, codec_of(args[0], where))
    if origin is dict and args[0] in (str, int):
        return Dictionary(codec_of(args[0], where), codec_of(args[1], where))
    if origin in (Union, types.UnionType):
        union = OneOf(tuple(codec_of(a, where) for a in args))
        if len(set(union.families)) == len(union.families):
            return union
    if isinstance(annotation, type) and is_registered(annotation):
        return Record(annotation)
    raise TypeError(f"{where}: {annotation} cannot be checked on decoding; see ml.wire")


def _dtype_of(annotation: Any) -> str:
    """The name in ``numpy.dtype[numpy.float64]``, or "" where it names no one dtype."""
    [scalar] = get_args(annotation) or (None,)
    return np.dtype(scalar).name if isinstance(scalar, type) else ""
