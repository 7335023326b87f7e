"""A stranger's bytes whose pointers all lead to the same place are refused before they grow."""

import tracemalloc
from collections.abc import Callable

import pytest

from chain import abi


def word(number: int) -> bytes:
    return number.to_bytes(32)


def bomb(function: str, heads: int, length: int) -> bytes:
    """A call of the timelock with `heads` payloads, all of them the same `length` bytes."""
    payloads = word(heads) + word(32 * heads) * heads + word(length) + b"\1" * length
    head = word(160) + word(192) + word(224) + word(0) + word(0)
    selector = abi.selector(abi.entry("TimelockController", "function", function))
    return selector + head + word(0) + word(0) + payloads


def refused(decode: Callable[[], object]) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="again and again"):
            decode()
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 2_000_000


def test_a_call_whose_pointers_lead_to_one_place_takes_no_memory() -> None:
    data = bomb("executeBatch", heads=1000, length=32_000)  # 64 kB that would become 32 MB
    refused(lambda: abi.decode_call("TimelockController", data))


def test_an_event_whose_pointers_lead_to_one_place_is_unknown() -> None:
    declared = abi.entry("ConsortiumGovernor", "event", "ProposalCreated")
    signatures = word(1000) + word(32 * 1000) * 1000 + word(32_000) + b"\1" * 32_000
    start = 9 * 32
    places = {2: start, 3: start + 32, 4: start + 64, 5: start, 8: start}
    heads = b"".join(word(places.get(place, 0)) for place in range(9))
    data = abi.to_hex(heads + word(0) + word(0) + signatures)
    assert abi.decode_event("ConsortiumGovernor", [abi.topic(declared)], data)[0] == "Unknown"


def test_many_honest_elements_are_read_as_ever() -> None:
    payloads = [abi.to_hex(bytes([number % 256]) * 300) for number in range(500)]
    target = "0x" + "11" * 20
    args = ([target] * 500, [0] * 500, payloads, abi.to_hex(bytes(32)), abi.to_hex(bytes(32)))
    data = abi.encode_call("TimelockController", "executeBatch", args)
    _, found = abi.decode_call("TimelockController", data)
    assert found["payloads"] == payloads
