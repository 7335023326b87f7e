"""The wire: what is declared crosses unchanged, anything else is refused with a WireError."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal

import msgpack
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from ml import wire
from ml.errors import WireError
from ml.wire import BigIntVector, Shape, dumps, loads, register


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@register
@dataclass(frozen=True)
class Inner:
    name: str
    weight: float


@register
@dataclass(frozen=True, eq=False)
class Everything:
    flag: bool
    count: int
    ratio: float
    text: str
    raw: bytes
    colour: Colour
    mode: Literal["fast", "safe"]
    maybe: int | None
    either: float | str
    inner: Inner
    inners: tuple[Inner, ...]
    pair: tuple[int, str]
    items: list[float]
    by_name: dict[str, tuple[int, ...]]
    by_number: dict[int, Inner | None]
    vector: NDArray[np.float64]
    points: Annotated[NDArray[np.uint8], Shape("n", 4)]
    mask: Annotated[NDArray[np.bool_], Shape("n")]


@register
@dataclass(frozen=True)
class Nested:
    inside: "tuple[Nested, ...]"


@register
@dataclass(frozen=True)
class Number:
    value: int


@register
@dataclass(frozen=True)
class Text:
    value: str


@register
@dataclass(frozen=True, eq=False)
class Vector:
    values: NDArray[np.float64]


@register
@dataclass(frozen=True, eq=False)
class Mask:
    values: NDArray[np.bool_]


@register
@dataclass(frozen=True, eq=False)
class Pair:
    left: Annotated[NDArray[np.int64], Shape("n", 2)]
    right: Annotated[NDArray[np.int64], Shape("n")]


@register
@dataclass(frozen=True)
class Positive:
    value: int

    def __post_init__(self) -> None:
        if self.value <= 0:
            raise ValueError(f"value is {self.value}; allowed is above 0")


integers = st.integers(-(2**2000), 2**2000)
texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
inners = st.builds(Inner, texts, st.floats(allow_nan=False))


@st.composite
def everything(draw: st.DrawFn) -> Everything:
    n = draw(st.integers(0, 5))
    return Everything(
        flag=draw(st.booleans()),
        count=draw(integers),
        ratio=draw(st.floats(allow_nan=False)),
        text=draw(texts),
        raw=draw(st.binary(max_size=20)),
        colour=draw(st.sampled_from(Colour)),
        mode=draw(st.sampled_from(["fast", "safe"])),
        maybe=draw(st.none() | integers),
        either=draw(st.floats(allow_nan=False) | texts),
        inner=draw(inners),
        inners=tuple(draw(st.lists(inners, max_size=3))),
        pair=(draw(integers), draw(texts)),
        items=draw(st.lists(st.floats(allow_nan=False), max_size=4)),
        by_name=draw(st.dictionaries(texts, st.lists(integers, max_size=3).map(tuple), max_size=3)),
        by_number=draw(st.dictionaries(integers, st.none() | inners, max_size=3)),
        vector=draw(npst.arrays(np.float64, npst.array_shapes(min_dims=0, max_dims=3, min_side=0))),
        points=draw(npst.arrays(np.uint8, (n, 4))),
        mask=draw(npst.arrays(np.bool_, (n,))),
    )


SAMPLE = Everything(
    flag=True,
    count=2**70,
    ratio=0.5,
    text="é",
    raw=b"\x00",
    colour=Colour.BLUE,
    mode="safe",
    maybe=None,
    either="x",
    inner=Inner("a", 1.0),
    inners=(Inner("b", 2.0),),
    pair=(-1, "p"),
    items=[1.0],
    by_name={"k": (1, 2)},
    by_number={-(2**80): None},
    vector=np.arange(6.0).reshape(2, 3),
    points=np.zeros((2, 4), np.uint8),
    mask=np.array([True, False]),
)


def record(kind: type, **values: Any) -> bytes:
    """A body as a hostile peer could write it."""
    return bytes((wire.VERSION,)) + msgpack.packb([wire.kind_of(kind), values])


def array(values: NDArray[Any], **other: Any) -> list[Any]:
    parts = {"dtype": values.dtype.name, "shape": values.shape, "data": values.tobytes()} | other
    return [parts["dtype"], list(parts["shape"]), parts["data"]]


@given(everything())
def test_what_is_declared_crosses_unchanged(value: Everything):
    again = loads(dumps(value), Everything)
    for name in Everything.__dataclass_fields__:
        before, after = getattr(value, name), getattr(again, name)
        if isinstance(before, np.ndarray):
            np.testing.assert_array_equal(before, after)
            assert before.dtype == after.dtype
        else:
            assert before == after
            assert type(before) is type(after)
    assert dumps(again) == dumps(value)


@given(st.data())
def test_mutated_bytes_give_a_wire_error_or_a_declared_value(data: st.DataObject):
    body = bytearray(dumps(SAMPLE))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body) - 1))
        match data.draw(st.sampled_from(["change", "drop", "insert", "cut"])):
            case "change":
                body[at] = data.draw(st.integers(0, 255))
            case "drop" if len(body) > 1:
                del body[at]
            case "insert":
                body.insert(at, data.draw(st.integers(0, 255)))
            case _:
                del body[at + 1 :]
    try:
        value = loads(bytes(body), Everything)
    except WireError:
        return
    dumps(value)  # what was taken is what is declared


@given(st.binary(max_size=200))
@example(b"")
@example(bytes([wire.VERSION]) + b"\xc1")
@example(bytes([wire.VERSION]) + b"\xd6\xff\x00\x00\x00\x00")  # a msgpack timestamp
def test_arbitrary_bytes_give_a_wire_error(body: bytes):
    with pytest.raises(WireError):
        loads(body, Everything)
    with pytest.raises(WireError):
        loads(bytes([wire.VERSION]) + body, Everything)


@given(st.lists(st.integers(0, 2**128 - 1), max_size=20))
def test_big_integers_cross_in_fixed_width(values: list[int]):
    vector = BigIntVector.pack(values, 16)
    body = dumps(vector)
    assert loads(body, BigIntVector).unpack() == values
    assert len(body) == len(dumps(BigIntVector.pack([0] * len(values), 16)))


@pytest.mark.parametrize("value", [-1, 2**128])
def test_a_big_integer_that_does_not_fit_is_refused(value: int):
    with pytest.raises(OverflowError):
        BigIntVector.pack([value], 16)


def test_received_arrays_are_read_only():
    assert not loads(dumps(Vector(np.ones(3))), Vector).values.flags.writeable


def test_an_array_in_another_memory_order_crosses():
    values = np.arange(12.0).reshape(3, 4).T[::2]
    np.testing.assert_array_equal(loads(dumps(Vector(values)), Vector).values, values)


def test_an_array_in_another_byte_order_crosses():
    values = np.arange(3.0).astype(">f8")
    np.testing.assert_array_equal(loads(dumps(Vector(values)), Vector).values, [0.0, 1.0, 2.0])


ONE = np.ones(1)
REFUSED = {
    "a text for a number": (Number, record(Number, value="7"), "found str"),
    "a bool for a number": (Number, record(Number, value=True), "found bool"),
    "a float for a number": (Number, record(Number, value=7.0), "found float"),
    "a number for a text": (Text, record(Text, value=7), "found int"),
    "bytes for a text": (Text, record(Text, value=b"7"), "found bytes"),
    "a text for an array": (Vector, record(Vector, values="1.0"), "found str"),
    "a list for an array": (Vector, record(Vector, values=[1.0, 2.0, 3.0]), "found float"),
    "a missing field": (Number, record(Number), "value is missing"),
    "a field too many": (Number, record(Number, value=1, other=2), "field 'other'"),
    "another kind": (Number, record(Text, value="a"), "test_wire.Text"),
    "another dtype": (Vector, record(Vector, values=array(np.ones(1, np.float32))), "float32"),
    "a dtype of objects": (Vector, record(Vector, values=array(ONE, dtype="object")), "object"),
    "a shape with too few bytes": (Vector, record(Vector, values=array(ONE, shape=(2,))), "8 byt"),
    "a negative side": (Vector, record(Vector, values=array(ONE, shape=(-1, -1))), "shape"),
    "a huge empty array": (
        Vector,
        record(Vector, values=array(ONE, shape=(2**40, 0), data=b"")),
        "sides",
    ),
    "too many dimensions": (Vector, record(Vector, values=array(ONE, shape=(1,) * 5)), "5 dim"),
    "a bool that is neither": (
        Mask,
        record(Mask, values=array(ONE, dtype="bool", shape=(1,), data=b"\x02")),
        "0 and 1",
    ),
    "a wrong width": (
        Pair,
        record(Pair, left=array(np.ones((2, 3), int)), right=array(np.ones(2, int))),
        "shape",
    ),
    "lengths that differ": (
        Pair,
        record(Pair, left=array(np.ones((2, 2), int)), right=array(np.ones(3, int))),
        "n=2",
    ),
    "what __post_init__ refuses": (Positive, record(Positive, value=-1), "value is -1"),
    "an unknown extension": (Number, record(Number, value=msgpack.ExtType(9, b"x")), "extension"),
    "a huge integer": (
        Number,
        record(Number, value=msgpack.ExtType(1, b"\x01" * 5000)),
        "5000 bytes",
    ),
    "a field twice": (
        Number,
        bytes((wire.VERSION,))
        + b"\x92"
        + msgpack.packb(wire.kind_of(Number))
        + b"\x82"
        + (msgpack.packb("value") + b"\x01") * 2,
        "field 'value'",
    ),
    "a text that is not UTF-8": (
        Text,
        record(Text, value="abc").replace(b"abc", b"a\xffc"),
        "not a well-formed body",
    ),
    "another version": (Number, b"\x02" + record(Number, value=1)[1:], "version 2"),
    "more behind the end": (Number, record(Number, value=1) + b"\x00", "1 bytes after"),
    "less than all": (Number, record(Number, value=1)[:-1], "ends too early"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_hostile_body_is_refused_with_what_was_found(case: str):
    kind, body, found = REFUSED[case]
    with pytest.raises(WireError) as error:
        loads(body, kind)
    assert found in str(error.value)


def test_a_body_above_the_limit_is_refused_before_it_is_read():
    body = dumps(Text("a" * 1000))
    with pytest.raises(WireError, match="allowed are 1000"):
        loads(body, Text, max_bytes=1000)
    with pytest.raises(WireError, match="allowed are 1000"):
        dumps(Text("a" * 1000), max_bytes=1000)


def test_nesting_without_end_is_refused():
    deep: Any = []
    for _ in range(100):
        deep = [[wire.kind_of(Nested), {"inside": deep}]]
    with pytest.raises(WireError, match="deeper than"):
        loads(record(Nested, inside=deep), Nested)
    value = Nested(())
    for _ in range(100):
        value = Nested((value,))
    with pytest.raises(WireError, match="deeper than"):
        dumps(value)


def test_a_claimed_length_beyond_the_body_costs_nothing():
    name = msgpack.packb("inside")
    body = b"\x92" + msgpack.packb(wire.kind_of(Nested)) + b"\x81" + name + b"\xdd\xff\xff\xff\xff"
    with pytest.raises(WireError):
        loads(bytes((wire.VERSION,)) + body, Nested)


@pytest.mark.parametrize(
    "value",
    [
        Number("7"),
        Number(True),
        Number(2**40000),
        Text(7),
        Text("\ud800"),
        Vector(np.ones(2, np.float32)),
        Vector([1.0]),
        Vector(np.array([object()])),
        Pair(np.ones((2, 2), np.int64), np.ones(3, np.int64)),
    ],
)
def test_a_value_that_breaks_its_declaration_does_not_leave(value: object):
    with pytest.raises(WireError):
        dumps(value)


@dataclass(frozen=True)
class Unregistered:
    value: int


def test_only_registered_types_cross():
    for value in (Unregistered(1), {"a": 1}, [1], np.ones(2)):
        with pytest.raises(WireError, match="not registered"):
            dumps(value)
    with pytest.raises(WireError, match="not registered"):
        loads(record(Number, value=1), Unregistered)


def test_two_types_cannot_share_a_name():
    with pytest.raises(TypeError, match="registered already"):
        register(dataclass(type("Number", (), {"__module__": Number.__module__})))


def test_only_dataclasses_can_be_registered():
    with pytest.raises(TypeError, match="no dataclass"):
        register(int)


@register
@dataclass(frozen=True)
class Unchecked:
    value: Any


@register
@dataclass(frozen=True)
class Ambiguous:
    value: list[int] | tuple[str, ...]


@pytest.mark.parametrize("value", [Unchecked(1), Ambiguous([1])])
def test_an_annotation_that_cannot_be_checked_is_refused(value: object):
    with pytest.raises(TypeError, match="cannot be checked"):
        dumps(value)
