"""Messages in the audit log: entered by their sender and by their receiver, with one digest.

`node.mailbox` records what it sent and `node.inbox` what it received through these two functions,
each in the transaction that stores the message, so there is no message without its entry.
"""

from __future__ import annotations

import hashlib
from typing import Any

from sqlalchemy.orm import Session

from node.addresses import WireAddress
from node.audit.entries import record


def record_sent(
    session: Session,
    address: WireAddress,
    digest: str,
    size: int,
    receipt: dict[str, Any],
    declared: dict[str, Any] | None = None,
) -> None:
    """The receiver acknowledged a message of ours; ``declared`` is what it says, if that is told.

    What the entry tells besides is the rest of the receipt, so it is kept whole.
    """
    signed = {name: receipt[name] for name in ("receivedAt", "keyId", "signature")}
    data = _data(address, digest, size, declared) | {"receipt": signed}
    record(session, "message.sent", address.job, data, "worker")


def record_received(
    session: Session,
    address: WireAddress,
    digest: str,
    size: int,
    signature_text: str,
    declared: dict[str, Any] | None = None,
) -> None:
    """A message for us is on disk; its sender signed for it."""
    evidence = "0x" + hashlib.sha256(signature_text.encode()).hexdigest()
    data = _data(address, digest, size, declared) | {"signatureDigest": evidence}
    record(session, "message.received", address.job, data, address.sender)


def record_refused(
    session: Session, address: WireAddress, site: str, digest: str, code: str
) -> None:
    """A message signed by ``site`` was turned away for the reason ``code``."""
    data = {"address": address.to_json(), "digest": digest, "code": code}
    record(session, "message.refused", address.job, data, site)


def _data(
    address: WireAddress, digest: str, size: int, declared: dict[str, Any] | None
) -> dict[str, Any]:
    """The members by which two logs are held against each other, and what is declared."""
    told = {
        "job": address.job,
        "step": address.step,
        "attempt": address.attempt,
        "sender": address.sender,
        "receiver": address.receiver,
        "messageKind": address.kind,
        "n": address.n,
        "digest": digest,
        "size": size,
    }
    return told if declared is None else told | {"declared": declared}
