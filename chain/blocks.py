"""The blocks by whose headers a file is proved, and the block that a reader names.

A file that is proved by a header is worth what its reader knows of the block: `compare` holds what
he was told elsewhere (by his own node, an explorer, another member) against the file. What the file
says of the chain stands in the one block of its state. Blocks beside a period show their time, and
the block of a certificate in a pack what that certificate says: whoever knows these alone knows
nothing of the rest.
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

PROVES = ("$.state.block", "$.chain.block")
"""Where the block stands under which all of a file is proved."""

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
    """Hash → where it stands and its block's number, of a certificate or a pack that holds.

    Where one block is several, it is the one that proves most.
    """
    states = [("$.state", value.get("state")), ("$.chain", value.get("chain"))]
    for number, part in enumerate(value.get("certificates") or []):
        certificate = part["certificate"] or {}
        states.append((f"$.certificates[{number}].certificate.state", certificate.get("state")))
    known = [(where, state) for where, state in states if state is not None]
    parts = [(f"{where}.block", state["block"]) for where, state in known]
    for where, state in known:
        bounds = enumerate(state.get("bounds", []))
        parts += [(f"{where}.bounds[{place}]", part) for place, part in bounds]
    found: dict[str, tuple[str, int]] = {}
    for where, part in parts:
        found.setdefault(part["hash"], (where, part["number"]))
    return found


def compare(value: Mapping[str, Any], told: str) -> Check:
    """Whether the block that somebody names is the one by which the file, which holds, is proved;
    and every block that he has yet to compare."""
    blocks, named = blocks_of(value), told_block(told)
    if named is None:
        return Check("block", "$", False, "what was named is no hash and no header of a block")
    if not blocks:
        return Check("block", "$", False, "the file has no header of a block: ask the chain")
    if named not in blocks:
        return Check("block", "$", False, f"{named} is no block of the file")
    where, number = blocks[named]
    others = [f"block {n}, {hash}" for hash, (_, n) in blocks.items() if hash != named]
    left = f"; still to compare: {'; '.join(others)}" if others else ""
    if where in PROVES:
        return Check("block", where, True, f"block {number} is the one that was named{left}")
    shown = "the time of" if ".bounds[" in where else "a certificate in the file by"
    return Check("block", where, False, f"only {shown} block {number} is shown{left}")
