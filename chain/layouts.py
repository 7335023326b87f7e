"""Whether new code is code of ours, and whether it keeps what the old one has stored.

The layout (ERC-7201) of a contract is in its artifact. New code may add namespaces, and members
behind those that a namespace has; whatever stood must stand where it stood. The members of structs
within a namespace may not change at all: that is safe for some (values of a mapping), and a program
cannot say for which without knowing the code.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from chain.abi import to_bytes
from chain.compile import CONTRACTS, Artifact, load

# An immutable is pushed as 32 bytes that are zero in the artifact. The only one of contracts behind
# a proxy is UUPSUpgradeable's own address.
_PUSH32 = b"\x7f"
_UNSET = _PUSH32 + bytes(32)

_DECLARED = re.compile(r"\b(struct|enum|contract) \w+\.")


def artifacts() -> tuple[Artifact, ...]:
    """All that come with this version of the program."""
    return tuple(load(name) for name in CONTRACTS)


def known_as(code: bytes, address: str, among: Iterable[Artifact]) -> Artifact | None:
    """The artifact whose code, created at `address`, is this one byte for byte."""
    if not code:
        return None
    own = _PUSH32 + to_bytes(address).rjust(32, b"\0")
    for artifact in among:
        if to_bytes(artifact.deployed_bytecode).replace(_UNSET, own) == code:
            return artifact
    return None


def is_made_of(code: bytes, artifact: Artifact) -> bool:
    """Whether it is the artifact's code, whatever its immutables are."""
    parts = to_bytes(artifact.deployed_bytecode).split(_UNSET)
    pattern = (_PUSH32 + b".{32}").join(re.escape(part) for part in parts)
    return re.fullmatch(pattern, code, re.DOTALL) is not None


def compare(before: Artifact | None, after: Artifact | None) -> tuple[bool | None, str]:
    """Whether `after` keeps the layout of `before`, and why not; None where one is unknown."""
    if after is None:
        return None, "nobody here knows the new code: ask for its source and build it"
    if before is None:
        return None, "nobody here knows the code that runs now: its layout cannot be compared"
    kept = {space["namespace"]: space for space in after.storage}
    for space in before.storage:
        found = kept.get(space["namespace"])
        if found is None:
            return False, f"the namespace {space['namespace']} is gone"
        why = _why_not(space, found)
        if why is not None:
            return False, f"{space['namespace']}: {why}"
    return True, "everything that is stored stays where it is"


def _why_not(before: Mapping[str, Any], after: Mapping[str, Any]) -> str | None:
    if before["slot"] != after["slot"]:
        return f"it begins at {after['slot']}, and began at {before['slot']}"
    for index, member in enumerate(before["members"]):
        if index >= len(after["members"]):
            return f"the member {member['label']} is gone"
        found = after["members"][index]
        if _place(found) != _place(member):
            return f"{_told(found)} stands where {_told(member)} stood"
    kept = {_plain(name): members for name, members in after["structs"].items()}
    for name, members in before["structs"].items():
        found = kept.get(_plain(name))
        if found is not None and list(map(_place, found)) != list(map(_place, members)):
            return f"the members of {name} changed"
    return None


def _place(member: Mapping[str, Any]) -> tuple[Any, ...]:
    """A new name for the same thing changes nothing."""
    return member["slot"], member["offset"], _plain(member["type"])


def _plain(label: str) -> str:
    """Without the contract that declares a struct: the next version may be called otherwise."""
    return _DECLARED.sub(r"\1 ", label)


def _told(member: Mapping[str, Any]) -> str:
    return f"{member['type']} {member['label']}"
