"""One byte string per value, and no other accepted."""

import hashlib
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.canonical import MAX_INTEGER, NotCanonical, digest, digest_of, dumps, loads, unword, word

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(VALUES)
def test_a_value_comes_back_from_its_bytes(value: Any) -> None:
    assert loads(dumps(value)) == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_keeps_its_value(value: float) -> None:
    assert float(json.loads(dumps(value))) == value


def test_a_float_that_reads_as_a_large_integer_is_not_taken_back() -> None:
    with pytest.raises(NotCanonical, match="beyond"):
        loads(dumps(1e20))


def test_the_rfcs_own_example() -> None:
    """RFC 8785 § 3.2.3: keys in the order of their UTF-16 code units."""
    value = {
        "€": "Euro Sign",
        "\r": "Carriage Return",
        "\ufb33": "Hebrew Letter Dalet With Dagesh",
        "1": "One",
        "😀": "Emoji: Grinning Face",
        "\x80": "Control",
        "ö": "Latin Small Letter O With Diaeresis",
    }
    assert list(loads(dumps(value))) == ["\r", "1", "\x80", "ö", "€", "😀", "\ufb33"]
    assert dumps({"numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 1e-27]}) == (
        b'{"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27]}'
    )


@pytest.mark.parametrize(
    ("data", "position"),
    [
        (b' {"a":1}', 0),
        (b'{"a":1}\n', 7),
        (b'{"a": 1}', 5),
        (b'{"b":1,"a":2}', 2),
        (b'{"a":1.0}', 6),
        (b'{"a":1e0}', 6),
        (b'{"a":-0}', 5),
        (b'{"a":"\\u0041"}', 6),
        (b'{"a":"\\/"}', 6),
        ('{"a":"ö","b": 1}'.encode(), 14),
    ],
)
def test_other_bytes_of_the_same_value_are_refused_with_their_place(
    data: bytes, position: int
) -> None:
    with pytest.raises(NotCanonical, match="not the canonical form") as refused:
        loads(data)
    assert refused.value.position == position


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"a":1,"a":1}', "the key 'a' stands twice"),
        (b'{"a":{"b":1,"b":2}}', "the key 'b' stands twice"),
        (b"NaN", "NaN is no JSON number"),
        (b"[-Infinity]", "-Infinity is no JSON number"),
        (b"9007199254740992", "beyond"),
        (b"-9007199254740992", "beyond"),
        (b"1" * 100_000, "beyond"),
        (b"1e400", "not representable"),
        (b"", "Expecting value"),
        (b'{"a":', "Expecting value"),
        (b"\xff", "not UTF-8"),
        (b'"\\ud800"', "non-UTF-8"),
        (b"[" * 200_000, "nested deeper than 100"),
        (b'{"a":' * 200_000, "nested deeper than 100"),
    ],
)
def test_what_is_no_canonical_json_at_all_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(NotCanonical, match=reason):
        loads(data)


def test_brackets_in_a_text_are_not_depth() -> None:
    value = ["[{" * 200, '\\"[' * 200, [{"a": []}]]
    assert loads(dumps(value)) == value
    assert loads(b"[" * 100 + b"]" * 100)


def test_lists_side_by_side_are_not_depth() -> None:
    value: list[list[int]] = [[] for _ in range(500)]
    assert loads(dumps(value)) == value


def test_the_place_of_a_syntax_error_is_in_bytes() -> None:
    with pytest.raises(NotCanonical) as refused:
        loads('{"ö":}'.encode())
    assert refused.value.position == 6


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, 2**53, -(2**53), {1: 2}, b"bytes", {1, 2}, "\ud800", object()]
)
def test_what_has_no_canonical_json_is_refused(value: Any) -> None:
    with pytest.raises(NotCanonical):
        dumps(value)


def test_a_digest_is_of_the_bytes() -> None:
    assert digest(b"{}") == "0x" + hashlib.sha256(b"{}").hexdigest()
    assert digest_of({}) == digest(b"{}")


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=31))
def test_a_word_comes_back(text: str) -> None:
    assert unword(word(text)) == text


def test_a_word_is_left_aligned() -> None:
    assert word("training") == "0x" + b"training".hex() + "00" * 24


@pytest.mark.parametrize("text", ["x" * 32, "größe", "tab\t", "zero\0"])
def test_what_is_no_word_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no word"):
        word(text)


@pytest.mark.parametrize(
    "value", ["0x" + "ab" * 32, "0x61", "0x" + "61" * 32, "0x6100" + "61" * 30]
)
def test_bytes_that_hold_no_word_are_refused(value: str) -> None:
    with pytest.raises(ValueError, match="is no word"):
        unword(value)
