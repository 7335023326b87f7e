"""A state that no chain ever had, with every proof in order: what a liar can put under a header.

Only the hash of its block, which anybody can compare, is not that of a chain. Nodes are shared, so
few of them give a value to every slot of a contract.
"""

from collections.abc import Callable, Mapping
from typing import Any

import rlp  # type: ignore[import-untyped]
from eth_utils.crypto import keccak

from chain import state, state_proof
from chain.storage import Storage

HALF_BYTES = 64
_STATE_ROOT = 3


def with_standings(count: int, stood: Mapping[int, int], others: int) -> Callable[..., None]:
    """The first party's member has so many checkpoints (`checkpoint`): some by their number, and
    every other slot of the registry of members holds `others`."""

    def change(body: dict[str, Any]) -> None:
        header, slots = state_proof.proved(body["state"], "$")
        noted = _Noted(slots)
        list(state.as_stored(noted, body))
        storage = Storage(noted, body["network"]["consortium"])
        points = storage["membership"]["standings"][body["parties"][0]["member"]]["_checkpoints"]
        changed = storage.address("membership")
        words = noted.read[changed]
        words[points.slot] = count
        words.update({points[number].slot: word for number, word in stood.items()})
        stored = {keccak(slot.to_bytes(32)): _word(word) for slot, word in words.items()}
        nodes = [bytes.fromhex(node[2:]) for node in body["state"]["nodes"]]
        accounts = {}
        for address in noted.read:
            key = keccak(bytes.fromhex(address[2:]))
            account = slots.value(header.state_root, key)
            assert account is not None
            if address == changed:
                fields = rlp.decode(account)
                account = rlp.encode([*fields[:2], _trie(stored, nodes, _word(others)), fields[3]])
            accounts[key] = account
        fields = list(rlp.decode(bytes.fromhex(body["state"]["block"]["header"][2:])))
        fields[_STATE_ROOT] = _trie(accounts, nodes)
        raw = rlp.encode(fields)
        block = {"hash": "0x" + keccak(raw).hex(), "header": "0x" + raw.hex()}
        body["state"]["block"].update(block)
        body["state"]["nodes"] = list(dict.fromkeys("0x" + node.hex() for node in nodes))

    return change


def checkpoint(block: int, standing: int) -> int:
    """As a word of storage."""
    return standing << 96 | block


class _Noted:
    """Slots, and what was read of them."""

    def __init__(self, slots: state_proof.Slots) -> None:
        self._slots = slots
        self.read: dict[str, dict[int, int]] = {}

    def word(self, address: str, slot: int) -> int:
        found = self._slots.word(address, slot)
        self.read.setdefault(address.lower(), {})[slot] = found
        return found


def _word(value: int) -> bytes:
    encoded: bytes = rlp.encode(value.to_bytes((value.bit_length() + 7) // 8))
    return encoded


def _trie(held: Mapping[bytes, bytes], nodes: list[bytes], others: bytes | None = None) -> bytes:
    """The root of a trie of branches alone, whose nodes are added; every other key has `others`."""

    def added(children: list[bytes], value: bytes = b"") -> bytes:
        nodes.append(rlp.encode([*children, value]))
        return keccak(nodes[-1])

    nothing = [b""] * 16
    shared = [b""] * (HALF_BYTES + 1)
    if others is not None:
        shared[HALF_BYTES] = added(nothing, others)
        for depth in reversed(range(HALF_BYTES)):
            shared[depth] = added([shared[depth + 1]] * 16)

    def below(path: str, keys: list[str]) -> bytes:
        if not keys:
            return shared[len(path)]
        if len(path) == HALF_BYTES:
            return added(nothing, held[bytes.fromhex(path)])
        children = [
            below(path + digit, [key for key in keys if key[len(path)] == digit])
            for digit in "0123456789abcdef"
        ]
        return added(children)

    return below("", [key.hex() for key in held])
