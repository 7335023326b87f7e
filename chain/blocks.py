"""The blocks by whose headers a file is proved, and the block that a reader names.

A file that is proved by a header is worth what its reader knows of the block: `compare` holds what
he was told elsewhere (by his own node, an explorer, another member) against the file.
`node/ui/verifier/source/blocks.js` does the same in a browser.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from eth_utils.crypto import keccak

from chain import canonical
from chain.standalone import Check

MOST = 65536
"""Bytes in which somebody names a block."""

_HASH = re.compile(r"0x[0-9a-f]{64}")
_RLP = re.compile(r"0x([0-9a-f]{2}){33,4096}")


def told_block(text: str) -> str | None:
    """The hash that is meant by a hash, a header's RLP or its JSON as nodes tell it; else None."""
    given = text.strip()
    if len(text) > MOST:
        return None
    if _HASH.fullmatch(given.lower()):
        return given.lower()
    if _RLP.fullmatch(given.lower()):
        return _hash_of(given)
    try:
        canonical.refuse_depth(given.encode())
        told = json.loads(given)
    except (ValueError, canonical.NotCanonical):
        return None
    block = told.get("result", told) if isinstance(told, dict) else None
    if not isinstance(block, dict):
        return None
    header, found = block.get("header"), block.get("hash")
    if isinstance(header, str) and _RLP.fullmatch(header):
        return _hash_of(header)
    return found if isinstance(found, str) and _HASH.fullmatch(found) else None


def _hash_of(header: str) -> str:
    return "0x" + keccak(bytes.fromhex(header[2:])).hex()


def blocks_of(value: Mapping[str, Any]) -> dict[str, tuple[str, int]]:
    """Hash → where it stands and its block's number, of a certificate or a pack that holds."""
    states = [("$.state", value.get("state")), ("$.chain", value.get("chain"))]
    for number, part in enumerate(value.get("certificates") or []):
        certificate = part["certificate"] or {}
        states.append((f"$.certificates[{number}].certificate.state", certificate.get("state")))
    found: dict[str, tuple[str, int]] = {}
    for where, state in states:
        if state is not None:
            found.setdefault(state["block"]["hash"], (f"{where}.block", state["block"]["number"]))
            for place, part in enumerate(state.get("bounds", [])):
                found.setdefault(part["hash"], (f"{where}.bounds[{place}]", part["number"]))
    return found


def compare(value: Mapping[str, Any], told: str) -> Check:
    """Whether the block that somebody names is one by which the file, which holds, is proved."""
    blocks, named = blocks_of(value), told_block(told)
    if named is None:
        return Check("block", "$", False, "what was named is no hash and no header of a block")
    if not blocks:
        return Check("block", "$", False, "the file has no header of a block: ask the chain")
    if named not in blocks:
        return Check("block", "$", False, f"{named} is no block of the file")
    where, number = blocks[named]
    return Check("block", where, True, f"block {number} is the one that was named")
