"""A signed request of another site, as far as it can be checked before its body is read."""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING

from sqlalchemy import delete
from sqlalchemy.exc import IntegrityError

from node.errors import Conflict, Invalid, TooLarge, Unauthenticated
from node.signatures import CLOCK_SECONDS, VerifiedSender, verify
from node.store import SeenNonce

if TYPE_CHECKING:
    from node.site import Site

KEPT_SECONDS = 2 * CLOCK_SECONDS + 10  # a request is acceptable for 2 · CLOCK_SECONDS at most
MAX_JSON_BYTES = 4 * 1024 * 1024


def authenticate(
    site: Site, method: str, target: str, headers: Mapping[str, str]
) -> VerifiedSender:
    """Who sent the request for ``target`` (path and query) to this site.

    Raises what `node.signatures.verify` raises, and `Conflict` (``RequestReplayed``).
    """
    sender = verify(method, f"{site.settings.endpoint}{target}", headers, site.directory)
    _use_nonce(site, sender)
    return sender


def _use_nonce(site: Site, sender: VerifiedSender) -> None:
    now = time.time()
    try:
        with site.store.begin() as session:
            session.execute(delete(SeenNonce).where(SeenNonce.expires_at < now))
            session.add(
                SeenNonce(site=sender.site, nonce=sender.nonce, expires_at=now + KEPT_SECONDS)
            )
    except IntegrityError as error:
        raise Conflict(
            "RequestReplayed",
            "this very request was received before",
            hint="sign every request anew, with a nonce of its own",
        ) from error


async def read_body(
    sender: VerifiedSender, stream: AsyncIterator[bytes], limit: int = MAX_JSON_BYTES
) -> bytes:
    """The body that was signed; raises `TooLarge`, and `Invalid` if it is another one."""
    if sender.length > limit:
        raise TooLarge(
            "MessageTooLarge",
            f"the body has {sender.length} bytes",
            found=sender.length,
            allowed=limit,
        )
    body = bytearray()
    async for chunk in stream:
        body += chunk
        if len(body) > sender.length:
            break
    if len(body) != sender.length:
        raise Invalid(
            "InvalidRequest",
            "the body has another length than was signed",
            found=len(body),
            allowed=sender.length,
        )
    digest = "0x" + hashlib.sha256(body).hexdigest()
    if digest != sender.digest:
        raise Unauthenticated(
            "SignatureInvalid",
            "the body is not what was signed",
            found=digest,
            allowed=sender.digest,
        )
    return bytes(body)
