"""New code keeps what the old code has stored, or it is said what it would lose."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from chain.compile import CONTRACTS, Artifact, load
from chain.layouts import artifacts, compare, known_as

HERE = "0x" + "5a" * 20


def standing(artifact: Artifact, address: str) -> bytes:
    """The code as the chain has it: its own address stands in it."""
    own = "7f" + "00" * 12 + address[2:]
    return bytes.fromhex(artifact.deployed_bytecode[2:].replace("7f" + "00" * 32, own))


@pytest.mark.parametrize("name", [name for name in CONTRACTS if name != "ConsortiumGovernor"])
def test_code_is_known_at_the_address_where_it_was_made(name: str) -> None:
    code = standing(load(name), HERE)
    found = known_as(code, HERE, artifacts())
    assert found is not None
    assert found.name == name


def test_code_that_differs_in_a_byte_is_unknown() -> None:
    code = standing(load("Brake"), HERE)
    assert known_as(code[:-1] + bytes([code[-1] ^ 1]), HERE, artifacts()) is None
    assert known_as(code, "0x" + "5b" * 20, artifacts()) is None
    assert known_as(b"", HERE, artifacts()) is None


def changed(members: list[Mapping[str, Any]] | None = None, **parts: Any) -> Artifact:
    """The brake with another layout of its own namespace."""
    brake = load("Brake")
    spaces = [
        {**space, **parts, **({"members": members} if members is not None else {})}
        if space["namespace"] == "fatechain.storage.Brake"
        else space
        for space in brake.storage
    ]
    return replace(brake, storage=tuple(spaces))


def own() -> dict[str, Any]:
    storage = load("Brake").storage
    return dict(next(s for s in storage if s["namespace"] == "fatechain.storage.Brake"))


def swapped(
    first: Mapping[str, Any], second: Mapping[str, Any], *others: Mapping[str, Any]
) -> list[Mapping[str, Any]]:
    return [second, first, *others]


MORE = {"label": "more", "slot": 3, "offset": 0, "type": "uint256"}


def test_added_members_and_namespaces_keep_what_is_stored() -> None:
    brake = load("Brake")
    assert compare(brake, brake)[0]
    assert compare(brake, changed([*own()["members"], MORE]))[0]
    more = {"namespace": "z", "slot": "0x00", "members": [MORE], "structs": {}}
    assert compare(brake, replace(brake, storage=(*brake.storage, more)))[0]


def test_other_names_keep_what_is_stored() -> None:
    first, second, *others = own()["members"]
    renamed = {**first, "type": first["type"].replace("Brake.", "BrakeV2.")}
    assert renamed != first
    assert compare(load("Brake"), changed([renamed, {**second, "label": "until"}, *others]))[0]


@pytest.mark.parametrize(
    ("after", "why"),
    [
        (changed(swapped(*own()["members"])), "uint64 pausedUntil stands where struct"),
        (changed(own()["members"][:1]), "the member pausedUntil is gone"),
        (changed([own()["members"][0], MORE]), "uint256 more stands where uint64 pausedUntil"),
        (changed(slot="0x" + "11" * 32), "it begins at"),
        (changed(namespace="other"), "the namespace fatechain.storage.Brake is gone"),
        (changed(structs={"struct Brake.Voice": [MORE]}), "the members of struct Brake.Voice"),
    ],
)
def test_what_would_be_lost_is_said(after: Artifact, why: str) -> None:
    is_ok, told = compare(load("Brake"), after)
    assert is_ok is False
    assert why in told


def test_nothing_is_said_of_code_that_nobody_knows() -> None:
    brake = load("Brake")
    assert compare(None, brake)[0] is None
    assert compare(brake, None)[0] is None
