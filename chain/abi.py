"""JSON values ↔ ABI bytes.

Values are JSON on this side: bytes as 0x-hex, addresses checksummed, structs as objects keyed by
field name (lists in field order are accepted when encoding), values of the contracts' type `Word`
as the ASCII text they spell (as hex where they spell none). The artifacts of `chain.compile` are
the only source of names, types and selectors; all of them share one table of errors, because a
registry passes on the refusal of another one.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from eth_abi.abi import encode
from eth_abi.codec import ABIDecoder
from eth_abi.decoding import ContextFramesBytesIO, StringDecoder
from eth_abi.exceptions import DecodingError, InsufficientDataBytes
from eth_abi.registry import BaseEquals
from eth_abi.registry import registry as standard_types
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from chain.canonical import unword, word
from chain.compile import CONTRACTS, load
from chain.errors import ContractRefused

Entry = Mapping[str, Any]
"""One entry of an ABI: a function, an error, an event; or one of its parameters."""


class _Text(StringDecoder):
    """A stranger may have put any bytes on the chain as text: they are shown, not refused.

    A name that nobody can read would otherwise make every fact beside it unreadable.
    """

    def __init__(self) -> None:
        super().__init__(handle_string_errors="replace")  # type: ignore[no-untyped-call]


class _Once(ContextFramesBytesIO):
    """Bytes that are read about once, as an honest encoding is.

    Its pointers may all lead to one long element, and a stranger's kilobytes would become
    gigabytes here.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data)  # type: ignore[no-untyped-call]
        self._left = 4 * len(data) + 1024  # pointers are read twice

    def read(self, size: int | None = -1, /) -> bytes:
        found = super().read(size)
        self._left -= len(found)
        if self._left < 0:
            raise InsufficientDataBytes("the bytes lead to the same place again and again")
        return found


class _Decoder(ABIDecoder):
    stream_class = _Once


def _decoder() -> ABIDecoder:
    types = standard_types.copy()  # type: ignore[no-untyped-call]
    types.unregister_decoder("string")
    text = BaseEquals("string")  # type: ignore[no-untyped-call]
    types.register_decoder(text, _Text, label="string")
    return _Decoder(types)


_DECODER = _decoder()


def entry(contract: str, kind: str, name: str) -> Entry:
    """The entry of that kind and name; raises KeyError where there is none, or an overload."""
    found = [e for e in load(contract).abi if e["type"] == kind and e.get("name") == name]
    if len(found) != 1:
        raise KeyError(f"{contract} has {len(found)} {kind}s {name!r}; exactly one is needed")
    return found[0]


def encode_call(contract: str, function: str, args: Sequence[Any]) -> bytes:
    """Selector and arguments. Raises ValueError when a value does not fit its type."""
    found = entry(contract, "function", function)
    return selector(found) + _encode(found["inputs"], args, f"{contract}.{function}")


def decode_call(contract: str, data: bytes) -> tuple[str, dict[str, Any]]:
    """Function and arguments by name. Raises ValueError for what the artifact does not declare.

    Only the one encoding is accepted: what is shown of a call is all that is in it.
    """
    found = _functions(contract).get(data[:4])
    if found is None:
        raise ValueError(f"{contract} has no function with the selector {to_hex(data[:4])}")
    values = _decode(found["inputs"], data[4:])
    what = f"{contract}.{found['name']}"
    if _encode(found["inputs"], values, what) != data[4:]:
        raise ValueError(f"{what}: the bytes hold more than its arguments")
    return found["name"], {p["name"]: v for p, v in zip(found["inputs"], values, strict=True)}


def encode_creation(contract: str, args: Sequence[Any]) -> bytes:
    """Creation code and constructor arguments."""
    found = load(contract)
    constructors = [e for e in found.abi if e["type"] == "constructor"]
    inputs = constructors[0]["inputs"] if constructors else []
    return bytes.fromhex(found.bytecode.removeprefix("0x")) + _encode(
        inputs, args, f"{contract}.constructor"
    )


def decode_output(contract: str, function: str, data: bytes) -> Any:
    """The returned value; a tuple where the function returns several.

    Raises ValueError on bytes that do not fit.
    """
    outputs = entry(contract, "function", function)["outputs"]
    values = _decode(outputs, data)
    return values[0] if len(values) == 1 else tuple(values)


def refusal(data: bytes, contract: str, function: str) -> ContractRefused:
    """What a contract's revert data says."""
    error, values = _refusal(data)
    return ContractRefused(error, values, contract, function)


def decode_event(contract: str, topics: Sequence[str], data: str) -> tuple[str, dict[str, Any]]:
    """Name and arguments of an event; ("Unknown", …) where the artifact does not declare it."""
    unknown = ("Unknown", {"topics": list(topics), "data": data})
    event = _events(contract).get(topics[0]) if topics else None
    if event is None:
        return unknown
    indexed = [p for p in event["inputs"] if p["indexed"]]
    plain = [p for p in event["inputs"] if not p["indexed"]]
    if len(indexed) != len(topics) - 1:
        return unknown
    try:
        values = dict(zip((p["name"] for p in plain), _decode(plain, to_bytes(data)), strict=True))
        for parameter, topic in zip(indexed, topics[1:], strict=True):
            # Only value types stand whole in a topic; of text or a struct it holds the hash.
            if _is_value(parameter):
                values[parameter["name"]] = _decode([parameter], to_bytes(topic))[0]
            else:
                values[parameter["name"]] = topic
    except ValueError:
        return unknown
    return event["name"], {p["name"]: values[p["name"]] for p in event["inputs"]}


def encode_event(contract: str, name: str, args: Mapping[str, Any]) -> tuple[list[str], str]:
    """Topics and data of an event, as the chain keeps them: what `decode_event` reads.

    Raises KeyError for an event that the artifact does not declare, ValueError for values that do
    not fit.
    """
    if name == "Unknown":
        return list(args["topics"]), str(args["data"])
    event, what = entry(contract, "event", name), f"{contract}.{name}"
    topics = [topic(event)]
    for parameter in (p for p in event["inputs"] if p["indexed"]):
        value = args[parameter["name"]]
        topics.append(
            to_hex(_encode([parameter], [value], what)) if _is_value(parameter) else str(value)
        )
    plain = [p for p in event["inputs"] if not p["indexed"]]
    return topics, to_hex(_encode(plain, [args[p["name"]] for p in plain], what))


def named(contract: str, function: str, args: Sequence[Any]) -> dict[str, Any]:
    """The arguments of a call by their names; by their places where there is no such function."""
    try:
        declared = [
            e["inputs"]
            for e in load(contract).abi
            if e["type"] == "function" and e["name"] == function and len(e["inputs"]) == len(args)
        ]
    except KeyError:
        declared = []
    if len(declared) != 1:
        return {str(place): value for place, value in enumerate(args)}
    return {p["name"]: value for p, value in zip(declared[0], args, strict=True)}


def selector(declared: Entry) -> bytes:
    """First four bytes of the hash of the signature."""
    return bytes(keccak(text=_signature(declared))[:4])


def topic(declared: Entry) -> str:
    return to_hex(keccak(text=_signature(declared)))


def to_bytes(value: str) -> bytes:
    """Raises ValueError unless `value` is 0x-hex."""
    if not value.startswith("0x"):
        raise ValueError(f"{value[:80]!r} is not 0x-hex")
    return bytes.fromhex(value[2:])


def to_hex(value: bytes) -> str:
    return "0x" + bytes(value).hex()


def _refusal(data: bytes) -> tuple[str, dict[str, Any]]:
    error = _errors().get(data[:4])
    if error is None:
        return "Unknown", {"data": to_hex(data)}
    try:
        values = _decode(error["inputs"], data[4:])
    except ValueError:
        return "Unknown", {"data": to_hex(data)}
    return error["name"], {p["name"]: v for p, v in zip(error["inputs"], values, strict=True)}


# What the language itself reverts with.
_BUILT_IN: tuple[Entry, ...] = (
    {"type": "error", "name": "Error", "inputs": [{"name": "message", "type": "string"}]},
    {"type": "error", "name": "Panic", "inputs": [{"name": "code", "type": "uint256"}]},
)


@cache
def _errors() -> Mapping[bytes, Entry]:
    declared = [e for name in CONTRACTS for e in load(name).abi if e["type"] == "error"]
    return {selector(e): e for e in (*_BUILT_IN, *declared)}


@cache
def _functions(contract: str) -> Mapping[bytes, Entry]:
    return {selector(e): e for e in load(contract).abi if e["type"] == "function"}


@cache
def _events(contract: str) -> Mapping[str, Entry]:
    return {topic(e): e for e in load(contract).abi if e["type"] == "event"}


def _signature(declared: Entry) -> str:
    return f"{declared['name']}({','.join(_type(p) for p in declared['inputs'])})"


def _type(parameter: Entry) -> str:
    kind: str = parameter["type"]
    if not kind.startswith("tuple"):
        return kind
    return f"({','.join(_type(c) for c in parameter['components'])}){kind[len('tuple') :]}"


def _is_word(parameter: Entry) -> bool:
    return bool(parameter.get("internalType", "").startswith("Word"))


def _word_text(value: str) -> str:
    """A stranger may have put any 32 bytes on the chain: those are shown, not refused."""
    try:
        return unword(value)
    except ValueError:
        return value


def _is_value(parameter: Entry) -> bool:
    kind = parameter["type"]
    return not (kind in ("string", "bytes") or kind.endswith("]") or kind.startswith("tuple"))


def _encode(parameters: Sequence[Entry], values: Sequence[Any], what: str) -> bytes:
    if len(parameters) != len(values):
        raise ValueError(f"{what} takes {len(parameters)} arguments, found {len(values)}")
    plain = [_to_abi(p, v, f"{what} {p['name']}") for p, v in zip(parameters, values, strict=True)]
    try:
        return encode([_type(p) for p in parameters], plain)
    except Exception as error:  # eth_abi raises a family of its own for values out of range
        raise ValueError(f"{what}: {error}") from error


def _decode(parameters: Sequence[Entry], data: bytes) -> list[Any]:
    try:
        values = _DECODER.decode([_type(p) for p in parameters], data)
    except (DecodingError, OverflowError) as error:
        raise ValueError(f"bytes do not fit {[_type(p) for p in parameters]}: {error}") from error
    return [_from_abi(p, v) for p, v in zip(parameters, values, strict=True)]


def _to_abi(parameter: Entry, value: Any, what: str) -> Any:
    kind: str = parameter["type"]
    if kind.endswith("]"):
        item = {**parameter, "type": kind[: kind.rindex("[")]}
        return [_to_abi(item, v, f"{what}[{i}]") for i, v in enumerate(value)]
    if kind == "tuple":
        return _struct_to_abi(parameter["components"], value, what)
    if kind.startswith("bytes"):
        if _is_word(parameter) and not value.startswith("0x"):
            value = word(value)
        raw = to_bytes(value)
        if kind != "bytes" and len(raw) != int(kind[len("bytes") :]):
            # eth_abi would pad: a short digest is a mistake, not a digest with zeros.
            raise ValueError(f"{what}: {kind} needs {kind[len('bytes') :]} bytes, found {len(raw)}")
        return raw
    return value


def _struct_to_abi(components: Sequence[Entry], value: Any, what: str) -> tuple[Any, ...]:
    names = [c["name"] for c in components]
    if isinstance(value, Mapping):
        if set(value) != set(names):
            raise ValueError(f"{what}: found fields {sorted(value)}, expected {sorted(names)}")
        value = [value[name] for name in names]
    if len(value) != len(names):
        raise ValueError(f"{what}: found {len(value)} fields, expected {len(names)}")
    return tuple(
        _to_abi(c, v, f"{what}.{c['name']}") for c, v in zip(components, value, strict=True)
    )


def _from_abi(parameter: Entry, value: Any) -> Any:
    kind: str = parameter["type"]
    if kind.endswith("]"):
        item = {**parameter, "type": kind[: kind.rindex("[")]}
        return [_from_abi(item, v) for v in value]
    if kind == "tuple":
        return {
            c["name"]: _from_abi(c, v) for c, v in zip(parameter["components"], value, strict=True)
        }
    if kind.startswith("bytes"):
        return _word_text(to_hex(value)) if _is_word(parameter) else to_hex(value)
    if kind == "address":
        return to_checksum_address(value)
    return value
