"""Keys of notes as text: ``name+id+key``, what the verifiers of this ecosystem are configured with.

Source: https://c2sp.org/signed-note
"""

from __future__ import annotations

import base64
import binascii
import re

from node.audit.account_key import ADDRESS_BYTES, CHAIN_BYTES, TYPE, AccountKey
from node.audit.note_keys import (
    COSIGNATURE,
    ED25519,
    PUBLIC_BYTES,
    CosignerKey,
    Ed25519Key,
)
from node.audit.notes import NoteKey, is_name, key_id
from node.errors import Invalid, NodeError

_ID = re.compile(r"[0-9a-f]{8}")


def verifier_key(key: NoteKey) -> str:
    """``name+id+key``: what a verifier of this ecosystem is configured with."""
    encoded = base64.b64encode(key.material).decode()
    return f"{key.name}+{key_id(key.name, key.material).hex()}+{encoded}"


def parse_verifier_key(text: str) -> NoteKey:
    """The key of a verifier key's text; raises `Invalid` (``VerifierKeyInvalid``)."""
    name, material = _taken_apart(text)
    if material.startswith(TYPE):
        rest = material.removeprefix(TYPE)
        if len(rest) != CHAIN_BYTES + 2 * ADDRESS_BYTES:
            raise _invalid(f"an account takes {CHAIN_BYTES + 2 * ADDRESS_BYTES} bytes")
        chain, contract, address = rest[:32], rest[32:52], rest[52:]
        return AccountKey(
            name, "0x" + address.hex(), int.from_bytes(chain, "big"), "0x" + contract.hex()
        )
    kind, public = material[:1], material[1:]
    if kind not in (ED25519, COSIGNATURE):
        raise _invalid(f"nothing is known of the type 0x{kind.hex()}")
    if len(public) != PUBLIC_BYTES:
        raise _invalid(f"an Ed25519 key has {PUBLIC_BYTES} bytes, not {len(public)}")
    return Ed25519Key(name, public) if kind == ED25519 else CosignerKey(name, public)


def _taken_apart(text: str) -> tuple[str, bytes]:
    name, _, rest = text.partition("+")
    id, _, encoded = rest.partition("+")
    try:
        material = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _invalid("its last part is not base64") from error
    if not is_name(name) or not _ID.fullmatch(id) or len(material) < 2:
        raise _invalid("it is not name+id+key")
    if key_id(name, material).hex() != id:
        raise _invalid("its id is another key's")
    return name, material


def _invalid(detail: str) -> NodeError:
    return Invalid("VerifierKeyInvalid", f"this is no verifier key: {detail}")
