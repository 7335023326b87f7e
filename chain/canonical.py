"""Canonical JSON (RFC 8785), its SHA-256 digest, and words in 32 bytes.

`dumps` gives the one byte string of a value; `loads` accepts that byte string alone, so that a
digest over received bytes is a digest over their meaning.
"""

import hashlib
import json
import re
from typing import Any, NoReturn

import rfc8785

from chain.errors import ChainError

MAX_INTEGER = 2**53 - 1
"""Integers beyond ± this are not exact in every JSON reader; write them as strings."""

MAX_DEPTH = 100
"""Objects and lists inside each other that `loads` accepts."""

# The closing quote may be missing: a text without end is passed over once, not once per quote.
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)


class NotCanonical(ChainError):
    """Bytes that are not canonical JSON, or a value that has no canonical JSON.

    `position` counts bytes from the start; None where there is no such place.
    """

    def __init__(self, reason: str, position: int | None = None) -> None:
        self.reason = reason
        self.position = position
        place = "" if position is None else f" at byte {position}"
        super().__init__(f"not canonical JSON (RFC 8785){place}: {reason}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.reason, self.position)


# Where all names are ASCII and no number has a fraction, Python's own writer, in C, makes the
# canonical form: names in the same order, the same escapes, integers as they are.
_PLAIN = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, sort_keys=True, separators=(",", ":")
)


def dumps(value: Any) -> bytes:
    """The canonical bytes.

    Raises `NotCanonical` for NaN, infinities, integers beyond `MAX_INTEGER`, keys that are not
    text, lone surrogates, and types that JSON lacks. A float of 2^53 or more without a fraction is
    written as the integer that `loads` refuses: keep measures small, or write them as text.
    """
    try:
        kind = type(value)
        if kind is str:  # most of what is written, and much faster alone
            return json.encoder.encode_basestring(value).encode("utf-8")
        if kind is int and -MAX_INTEGER <= value <= MAX_INTEGER:
            return b"%d" % value
        if _is_plain(value):
            return _PLAIN.encode(value).encode("utf-8")
        return rfc8785.dumps(value)
    except UnicodeEncodeError as error:
        raise NotCanonical("a text with non-UTF-8 code points") from error
    except rfc8785.CanonicalizationError as error:
        raise NotCanonical(str(error)) from error
    except RecursionError as error:
        raise NotCanonical("nested too deep") from error


def loads(data: bytes) -> Any:
    """The value of canonical bytes. Raises `NotCanonical` for all others, with the first byte that
    differs from the canonical form where the bytes are JSON at all.

    Whoever receives the bytes limits their size first.
    """
    refuse_depth(data)
    try:
        text = data.decode("utf-8")
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_constant=_no_number,
        )
    except UnicodeDecodeError as error:
        raise NotCanonical("not UTF-8", error.start) from error
    except json.JSONDecodeError as error:
        raise NotCanonical(error.msg, len(text[: error.pos].encode())) from error
    expected = dumps(value)
    if data != expected:
        raise NotCanonical("not the canonical form", _first_difference(data, expected))
    return value


def digest(data: bytes) -> str:
    """SHA-256, 0x-hex."""
    return "0x" + hashlib.sha256(data).hexdigest()


def digest_of(value: Any) -> str:
    """SHA-256 of the canonical bytes, 0x-hex."""
    return digest(dumps(value))


def word(text: str) -> str:
    """A short ASCII text as the contracts' `Word`: 32 bytes, left-aligned, 0x-hex.

    Raises ValueError unless it has at most 31 printable ASCII characters; the empty word is zero.
    """
    if len(text) > 31 or not text.isascii() or not (text.isprintable()):
        raise ValueError(f"{text[:40]!r} is no word: at most 31 printable ASCII characters")
    return "0x" + text.encode("ascii").ljust(32, b"\0").hex()


def unword(value: str) -> str:
    """The text of a `Word` (0x-hex of 32 bytes). Raises ValueError when it holds none."""
    raw = bytes.fromhex(value.removeprefix("0x"))
    text = raw.rstrip(b"\0")
    if len(raw) != 32 or len(text) > 31 or any(not 0x20 <= byte < 0x7F for byte in text):
        raise ValueError(
            f"{value[:70]!r} is no word: 32 bytes of printable ASCII, zeros at the end"
        )
    return text.decode("ascii")


def _is_plain(value: Any) -> bool:
    """Whether `_PLAIN` writes the canonical form of this."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return True
    if kind is int:
        return bool(-MAX_INTEGER <= value <= MAX_INTEGER)
    if kind is list or kind is tuple:
        return all(map(_is_plain, value))
    if kind is dict:
        names = all(type(name) is str and name.isascii() for name in value)
        return names and all(map(_is_plain, value.values()))
    return False


def refuse_depth(data: bytes) -> None:
    """Raises `NotCanonical` for what is nested deeper than `MAX_DEPTH`.

    Counts before a parser recurses: any library may have raised Python's own limit.
    """
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return
    depth = 0
    for token in _TOKEN.finditer(data):
        if token[0] in (b"[", b"{"):
            depth += 1
        elif token[0] in (b"]", b"}"):
            depth -= 1
        if depth > MAX_DEPTH:
            raise NotCanonical(f"nested deeper than {MAX_DEPTH}", token.start())


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise NotCanonical(f"the key {key[:40]!r} stands twice")
        found[key] = value
    return found


def _integer(text: str) -> int:
    # Never hand long digits to int(): its cost grows with their square.
    if len(text) > len(str(-MAX_INTEGER)) or abs(int(text)) > MAX_INTEGER:
        raise NotCanonical(f"the integer {text[:40]} is beyond ±(2^53 - 1)")
    return int(text)


def _no_number(text: str) -> NoReturn:
    raise NotCanonical(f"{text} is no JSON number")


def _first_difference(found: bytes, expected: bytes) -> int:
    for position, (a, b) in enumerate(zip(found, expected, strict=False)):
        if a != b:
            return position
    return min(len(found), len(expected))
