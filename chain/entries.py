"""Entries of an audit log as they are shown: what they disclose is what was committed to.

A leaf of the Merkle tree is a CloudEvent whose `data` holds a commitment for each field, never the
field itself:

    salt of a field     HMAC-SHA256(the entry's salt, name); the entry's salt is 32 random bytes
    commitment          SHA-256(salt of the field || canonical JSON of the value), 64 hex digits

Whoever shows an entry shows {index, leafHash, entry, disclosed, proof}: `entry` is the leaf,
`disclosed` maps names of fields to [salt of the field (64 hex digits), value]. A field that is
left out stays hidden, since its salt cannot be guessed, and the leaf is proved all the same: so an
entry is redacted, and so its payload can be erased without touching a proof.

`node/ui/verifier/source/entries.js` opens entries in a browser; the tests hold both against each
other.
"""

import hmac
import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any

from chain import canonical, merkle
from chain.errors import VerificationFailed

SALT_BYTES = 32
_HMAC_BLOCK = 64  # bytes, of SHA-256
_INNER, _OUTER = (bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))

_HEX = re.compile(r"[0-9a-f]{64}")


def field_salt(salt: bytes, name: str) -> bytes:
    """The salt of one field, from that of the entry: 32 bytes."""
    return hmac.digest(salt, name.encode(), "sha256")


def commitment(salt: bytes, content: bytes) -> str:
    """To a value by its canonical JSON, with the salt of the field; 64 hex digits."""
    return sha256(salt + content).hexdigest()


def commit(salt: bytes, contents: Mapping[str, bytes]) -> dict[str, str]:
    """What the leaf holds of an entry's fields, from the canonical JSON of each.

    The same as `commitment` with `field_salt`, faster: a log records by the thousand, and the
    fields of an entry have the key of their HMAC (RFC 2104) in common.
    """
    key = salt.ljust(_HMAC_BLOCK, b"\0")
    inner, outer = key.translate(_INNER), key.translate(_OUTER)
    return {
        name: sha256(
            sha256(outer + sha256(inner + name.encode()).digest()).digest() + content
        ).hexdigest()
        for name, content in contents.items()
    }


def disclose(
    salt: bytes, data: Mapping[str, Any], names: Iterable[str] | None = None
) -> dict[str, list[Any]]:
    """The disclosure of the fields of these names that the entry has; of all by default."""
    chosen = data.keys() if names is None else set(names)
    return {
        name: [field_salt(salt, name).hex(), value]
        for name, value in data.items()
        if name in chosen
    }


def open_entry(shown: Mapping[str, Any], where: str = "$") -> dict[str, Any]:
    """The fields that a shown entry discloses, each held against its commitment in the leaf.

    That the leaf stands in a log is for its inclusion proof to say. Raises VerificationFailed at
    the first place that does not fit, whatever is shown.
    """
    entry, disclosed = _object(shown, "entry", where), _object(shown, "disclosed", where)
    try:
        leaf = merkle.leaf_hash(canonical.dumps(entry))
    except canonical.NotCanonical as error:
        raise VerificationFailed(f"{where}.entry", str(error), "canonical JSON") from error
    if shown.get("leafHash") != "0x" + leaf.hex():
        raise VerificationFailed(f"{where}.leafHash", shown.get("leafHash"), "0x" + leaf.hex())
    committed = _object(entry, "data", f"{where}.entry")
    for name in _sorted(committed):
        if not _is_hex(committed[name]):
            at = f"{where}.entry.data.{name}"
            raise VerificationFailed(at, committed[name], "a commitment of 64 hex digits")
    return {
        name: _opened(disclosed[name], name, committed, f"{where}.disclosed.{name}")
        for name in _sorted(disclosed)
    }


def _opened(pair: Any, name: str, committed: Mapping[str, str], where: str) -> Any:
    if name not in committed:
        raise VerificationFailed(where, "a field that the entry does not have", "one of its fields")
    if not isinstance(pair, list) or len(pair) != 2 or not _is_hex(pair[0]):
        raise VerificationFailed(where, "no disclosure", "a salt of 64 hex digits, and a value")
    try:
        content = canonical.dumps(pair[1])
    except canonical.NotCanonical as error:
        raise VerificationFailed(where, str(error), "canonical JSON") from error
    if commitment(bytes.fromhex(pair[0]), content) != committed[name]:
        raise VerificationFailed(where, "another value", "the one that was committed to")
    return pair[1]


def _object(value: Any, name: str, where: str) -> Mapping[str, Any]:
    found = value.get(name) if isinstance(value, Mapping) else None
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise VerificationFailed(f"{where}.{name}", "no object", "an object")
    return found


def _sorted(value: Mapping[str, Any]) -> list[str]:
    """Names in the order of canonical JSON, so that every verifier stops at the same place."""
    return sorted(value, key=lambda name: name.encode("utf-16-be", "surrogatepass"))


def _is_hex(value: Any) -> bool:
    return isinstance(value, str) and _HEX.fullmatch(value) is not None
