"""The storage of a consortium's contracts by names, as their artifacts lay it out (ERC-7201).

`Storage(slots, consortium)["jobs"]["jobs"][id]["job"]["state"].value`: slots are read where a value
is asked for, so whoever proves something reads exactly what whoever checks it will read.

`node/ui/verifier/source/storage.js` has the same places for a browser.
"""

import re
from collections.abc import Mapping
from typing import Any

from eth_utils.crypto import keccak

from chain.compile import load
from chain.errors import VerificationFailed
from chain.state_proof import Slots

WORDS = 2**256
A_BLOCK = 2**40  # the first of the facts of an anchored head
COSIGNERS = 80  # bits below their number there

_MAPPING = re.compile(r"mapping\((.+?) => (.+)\)")
_BYTES = {
    "bool": 1,
    "uint8": 1,
    "uint32": 4,
    "uint64": 8,
    "uint96": 12,
    "uint160": 20,
    "address": 20,
}


class Place:
    """Where something of a type stands in a contract's storage, as its artifact lays it out."""

    def __init__(
        self, slots: Slots, address: str, structs: Mapping[str, Any], type: str, slot: int
    ) -> None:
        self._slots, self._address, self._structs = slots, address, structs
        self.type, self.slot, self.offset = type, slot % WORDS, 0

    def __getitem__(self, key: str | int) -> "Place":
        """A member of a struct, an item of a list, or what a mapping holds under a key: an id or a
        number as they are, a word as its text."""
        if self.type in self._structs:
            member = next(m for m in self._structs[self.type] if m["label"] == key)
            found = self._at(member["type"], self.slot + member["slot"])
            found.offset = member["offset"]
            return found
        if self.type.endswith("[]"):
            item = self.type.removesuffix("[]")
            first = int.from_bytes(keccak(self.slot.to_bytes(32)))
            return self._at(item, first + int(key) * self._size(item))
        mapped = _MAPPING.fullmatch(self.type)
        assert mapped is not None, self.type
        raw = _word(key, mapped[1]).to_bytes(32) + self.slot.to_bytes(32)
        return self._at(mapped[2], int.from_bytes(keccak(raw)))

    @property
    def value(self) -> int:
        """The number that stands here; a list's is its length."""
        size = 1 if self.type.startswith("enum ") else _BYTES.get(self.type, 32)
        return self._stored(self.slot) >> (8 * self.offset) & ((1 << 8 * size) - 1)

    def holds(self, content: bytes) -> bool:
        """Whether these bytes, or this text, stand here: short ones with their length in one word,
        others behind the hash of their place."""
        if len(content) < 32:
            short = int.from_bytes(content.ljust(32, b"\0")) + 2 * len(content)
            return self._stored(self.slot) == short
        if self._stored(self.slot) != 2 * len(content) + 1:
            return False
        first = int.from_bytes(keccak(self.slot.to_bytes(32)))
        return all(
            self._stored(first + at // 32) == int.from_bytes(content[at : at + 32].ljust(32, b"\0"))
            for at in range(0, len(content), 32)
        )

    def _stored(self, slot: int) -> int:
        return self._slots.word(self._address, slot % WORDS)

    def _at(self, type: str, slot: int) -> "Place":
        return Place(self._slots, self._address, self._structs, type, slot)

    def _size(self, type: str) -> int:
        """Slots that an item of a list takes."""
        members = self._structs.get(type)
        return 1 if members is None else int(members[-1]["slot"]) + 1


class Storage:
    """The contracts of a consortium, found by its own address book."""

    def __init__(self, slots: Slots, consortium: str) -> None:
        self._slots = slots
        self.consortium = self._contract("Consortium", consortium)

    def __getitem__(self, name: str) -> Mapping[str, Place]:
        """The state of the contract of this name in the book, by its members."""
        return self._contract(CONTRACTS[name], self.address(name))

    def address(self, name: str) -> str:
        return f"0x{self.consortium['contracts'][name].value:040x}"

    def _contract(self, artifact: str, address: str) -> Mapping[str, Place]:
        own = f"fatechain.storage.{artifact}"
        (space,) = [s for s in load(artifact).storage if s["namespace"] == own]
        base = int(space["slot"], 16)
        return {
            member["label"]: Place(
                self._slots, address, space["structs"], member["type"], base + member["slot"]
            )
            for member in space["members"]
        }


CONTRACTS: Mapping[str, str] = {
    "jobs": "JobRegistry",
    "sites": "SiteRegistry",
    "membership": "Membership",
    "datasets": "DatasetRegistry",
    "consents": "ConsentRegistry",
    "models": "ModelRegistry",
    "anchors": "AuditAnchor",
}
"""Name in the address book → artifact."""


def _word(value: str | int, type: str) -> int:
    """An id, a number, a number as decimal text, or a name, as a word of storage of this type."""
    if isinstance(value, int):
        return value
    if type == "Word":
        raw = value.encode()
        return int.from_bytes(raw.ljust(32, b"\0")) if len(raw) <= 32 else -1
    return int(value, 16 if value.startswith("0x") else 10)


def require_stands(where: str, stated: str | int, place: Place) -> None:
    """Raises VerificationFailed where something else stands there."""
    if _word(stated, place.type) != place.value:
        raise VerificationFailed(where, stated, f"0x{place.value:x}")


def require_content(where: str, stated: str, raw: bytes, place: Place) -> None:
    """The same for bytes and texts of any length."""
    if not place.holds(raw):
        raise VerificationFailed(where, stated, "what stands in storage")


def require_anchored(
    anchors: Mapping[str, Place], site: str, anchored: Mapping[str, Any], where: str
) -> int:
    """That the site anchored the head {size, root, block}; the facts that stand beside its root.

    Raises VerificationFailed.
    """
    head = anchors["heads"][site][anchored["size"]]
    require_stands(f"{where}.root", anchored["root"], head["root"])
    facts = head["facts"].value
    if facts % A_BLOCK != anchored["block"]:
        raise VerificationFailed(f"{where}.block", anchored["block"], facts % A_BLOCK)
    return facts
