"""The receiver's word that it holds a message: signed over its address and digest.

The sender enters the receipt in its log, the receiver keeps the sender's signature; two logs that
differ then convict somebody.
"""

from __future__ import annotations

import base64
from typing import Any

from chain import canonical
from chain.reconciliation import receipt_body
from node.addresses import WireAddress
from node.audit.entries import now
from node.directory import Directory
from node.errors import Failed, NodeError
from node.identity import Identity
from node.signatures import verify_bytes

TYPE = "receipt"
FIELDS = {"type", "address", "digest", "size", "receiver", "receivedAt", "keyId", "signature"}
MAX_TIME = 40  # characters


def make_receipt(
    identity: Identity, key_id: str, address: WireAddress, digest: str, size: int
) -> dict[str, Any]:
    """A receipt for a body of ``size`` bytes with this 0x-hex SHA-256, signed now."""
    receipt = receipt_body(address.to_json(), digest, size, now(), key_id)
    signature = identity.sign(canonical.dumps(receipt))
    return receipt | {"signature": base64.b64encode(signature).decode()}


def verify_receipt(
    receipt: Any, address: WireAddress, digest: str, size: int, directory: Directory
) -> None:
    """Raise `Failed` (``ReceiptInvalid``) unless the receiver signed for exactly this message."""
    if not isinstance(receipt, dict) or receipt.keys() != FIELDS:
        raise _invalid(address, "its fields are not those of a receipt")
    expected = {
        "type": TYPE,
        "address": address.to_json(),
        "digest": digest,
        "size": size,
        "receiver": address.receiver,
    }
    for name, value in expected.items():
        if receipt[name] != value or type(receipt[name]) is not type(value):
            raise _invalid(address, f"its {name} is another")
    texts = [receipt[name] for name in ("receivedAt", "keyId", "signature")]
    if not all(isinstance(text, str) for text in texts):
        raise _invalid(address, "its fields are not those of a receipt")
    if not _is_time(receipt["receivedAt"]):
        raise _invalid(address, "its receivedAt is no time")
    try:
        key = directory.sender_key(receipt["keyId"])
    except NodeError as error:
        if error.status == 503:
            raise
        raise _invalid(address, f"its key does not stand: {error}") from error
    if key.site != address.receiver:
        raise _invalid(address, f"it is signed by a key of site {key.site}")
    unsigned = {name: value for name, value in receipt.items() if name != "signature"}
    try:
        content = canonical.dumps(unsigned)
    except canonical.NotCanonical as error:
        raise _invalid(address, "it has no canonical form") from error
    if not verify_bytes(key.public_key, receipt["signature"], content):
        raise _invalid(address, "its signature does not match")


def _is_time(text: str) -> bool:
    """Of the form that certificates have: what the sender enters has to be read by everybody."""
    from pydantic import TypeAdapter, ValidationError

    from chain.certificate import Time

    if len(text) > MAX_TIME:
        return False
    try:
        TypeAdapter(Time).validate_python(text)
    except ValidationError:
        return False
    return True


def _invalid(address: WireAddress, detail: str) -> Failed:
    return Failed(
        "ReceiptInvalid",
        f"site {address.receiver} gave a receipt for {address} that does not hold: {detail}",
        found=detail,
        hint="keep the log of this job and ask that site",
    )
