"""Signed requests between sites: RFC 9421 signatures over RFC 9530 digests, with Ed25519.

A signature covers the method, the whole target URI (so the host, too), the digest and the length
of the body, the sending site and the content type; it carries its time, a nonce and the key's id
on the chain.  All of that is verified before one byte of the body is read; the body is then held
against the digest while it streams.

The target URI is what the receiver knows itself to be (`Settings.endpoint`), not what the Host
header says: a request signed for one site is worth nothing at another.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
from cryptography.exceptions import InvalidSignature as BadSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from http_message_signatures import (
    HTTPMessageSignaturesException,
    HTTPMessageSigner,
    HTTPMessageVerifier,
    HTTPSignatureKeyResolver,
)
from http_message_signatures.algorithms import ED25519

from node.directory import Directory
from node.errors import Invalid, NodeError, Unauthenticated
from node.identity import Identity

TAG = "fatechain-site"
LABEL = "fatechain"
SITE_HEADER = "fatechain-site"
CLOCK_SECONDS = 60  # how far the clocks of two sites may be apart
MAX_LENGTH_DIGITS = 15

COMPONENTS = (
    "@method",
    "@target-uri",
    "content-digest",
    "content-length",
    "content-type",
    SITE_HEADER,
)
OCTETS = "application/octet-stream"
EMPTY_DIGEST = "0xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

_DIGEST = re.compile(r"sha-256=:([A-Za-z0-9+/]{43}=):")
_ID = re.compile(r"0x[0-9a-f]{64}")
_NONCE = re.compile(r"[A-Za-z0-9_-]{22,64}")
_LENGTH = re.compile(rf"0|[1-9][0-9]{{0,{MAX_LENGTH_DIGITS - 1}}}")


@dataclass(frozen=True)
class VerifiedSender:
    """Who signed a request, and what it promised of the body.

    ``digest`` is the 0x-hex SHA-256 and ``length`` the bytes of the body that must follow;
    ``signature_text`` is the evidence kept: the signature base that was signed, and the signature.
    """

    site: str
    key_id: str
    digest: str
    length: int
    nonce: str
    signature_text: str


def content_digest(digest: str) -> str:
    """The 0x-hex SHA-256 as the value of a Content-Digest header."""
    return f"sha-256=:{base64.b64encode(bytes.fromhex(digest.removeprefix('0x'))).decode()}:"


def sign(
    request: httpx.Request,
    identity: Identity,
    site_id: str,
    key_id: str,
    digest: str = EMPTY_DIGEST,
    length: int = 0,
    *,
    nonce: str | None = None,
    created: datetime | None = None,
) -> None:
    """Sign ``request`` in place for a body of this digest and length.

    ``key_id`` is the id on the chain of the identity's request key.
    """
    request.headers["Content-Digest"] = content_digest(digest)
    request.headers["Content-Length"] = str(length)
    request.headers.setdefault("Content-Type", OCTETS)
    request.headers[SITE_HEADER] = site_id
    signer = HTTPMessageSigner(signature_algorithm=ED25519, key_resolver=_OurKey(identity))
    signer.sign(
        request,
        key_id=key_id,
        created=created or datetime.now(UTC),
        nonce=nonce or secrets.token_urlsafe(24),
        label=LABEL,
        tag=TAG,
        covered_component_ids=COMPONENTS,
        use_existing_digest=True,
    )


def verify(
    method: str,
    url: str,
    headers: Mapping[str, str],
    directory: Directory,
    now: datetime | None = None,
) -> VerifiedSender:
    """Verify the signature of a request to ``url`` from its headers alone.

    Raises `Unauthenticated` (``Unauthenticated``, ``SignatureInvalid``), what the directory says of
    the key (``KeyRevoked``, ``UnknownSite``, …), and `Invalid` for a missing length.  Whether the
    nonce was seen before is the caller's to check.
    """
    lines = _Lines(headers)
    if lines.one("signature") is None or lines.one("signature-input") is None:
        raise Unauthenticated(
            "Unauthenticated",
            "the request is not signed",
            hint="sign it as RFC 9421 says, with the site's request key",
        )
    length = lines.one("content-length")
    if length is None or not _LENGTH.fullmatch(length):
        raise Invalid(
            "InvalidRequest", "Content-Length is missing or no number", hint="send a length"
        )
    resolver = _TheirKey(directory)
    result = _verified(method, url, lines, resolver)
    nonce = result.nonce
    if nonce is None or not _NONCE.fullmatch(nonce):
        raise _invalid("the nonce is missing or malformed", "22 to 64 characters of base64url")
    _check_time(int(result.parameters["created"]), now or datetime.now(UTC))
    site = lines.one(SITE_HEADER)
    if resolver.site != site:
        raise _invalid(f"key {resolver.key_id} is not one of site {site}", resolver.site)
    return VerifiedSender(
        site=resolver.site,
        key_id=resolver.key_id,
        digest=_digest_of(lines.one("content-digest")),
        length=int(length),
        nonce=nonce,
        signature_text=_evidence(result.covered_components, lines.one("signature") or ""),
    )


def verify_bytes(public_key: bytes, signature: str, content: bytes) -> bool:
    """Whether ``signature`` (base64) is the Ed25519 signature of ``content`` by ``public_key``."""
    try:
        raw = base64.b64decode(signature, validate=True)
        if base64.b64encode(raw).decode("ascii") != signature:
            return False  # the last character has spare bits: one spelling, as verifiers take it
        Ed25519PublicKey.from_public_bytes(public_key).verify(raw, content)
    except (BadSignature, ValueError, binascii.Error):
        return False
    return True


def _verified(method: str, url: str, lines: _Lines, resolver: _TheirKey) -> Any:
    verifier = HTTPMessageVerifier(signature_algorithm=ED25519, key_resolver=resolver)
    # The library's clock check is replaced by ours, which takes the time it is handed.
    verifier.validate_created_and_expires = _timeless  # type: ignore[method-assign]
    message = _Received(method, url, lines)
    try:
        results = verifier.verify(
            message, max_age=None, expect_tag=TAG, require_components=COMPONENTS
        )
    except HTTPMessageSignaturesException as error:
        # A refusal by the directory arrives wrapped: it says more than "invalid".
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, NodeError):
                raise cause from None
            cause = cause.__cause__
        raise _invalid(str(error) or "the signature does not match the request") from error
    if len(results) != 1:
        raise _invalid(f"{len(results)} signatures are tagged {TAG}", 1)
    return results[0]


def _timeless(sig_input: Any, max_age: Any = None) -> None:
    created = sig_input.params.get("created")
    if type(created) is not int:
        raise HTTPMessageSignaturesException("the signature carries no time")


def _check_time(created: int, now: datetime) -> None:
    away = created - now.timestamp()
    if abs(away) > CLOCK_SECONDS:
        raise _invalid(
            f"the request was signed {abs(away):.0f} s {'ahead' if away > 0 else 'ago'}",
            f"±{CLOCK_SECONDS} s",
            hint="set the clocks of both machines by NTP",
        )


def _digest_of(header: str | None) -> str:
    found = _DIGEST.fullmatch(header or "")
    if found is None:
        raise _invalid("Content-Digest is not one SHA-256", "sha-256=:…:")
    return "0x" + base64.b64decode(found[1]).hex()


def _evidence(covered: Mapping[str, str], signature: str) -> str:
    """The signature base (RFC 9421 § 2.5) and the signature: all that a third party needs."""
    base = "\n".join(f"{name}: {value}" for name, value in covered.items())
    return f"{base}\n\n{signature}"


def _invalid(detail: str, allowed: Any = None, hint: str | None = None) -> Unauthenticated:
    return Unauthenticated("SignatureInvalid", detail, allowed=allowed, hint=hint)


class _OurKey(HTTPSignatureKeyResolver):
    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    def resolve_private_key(self, key_id: str) -> Any:
        return self._identity.request_key


class _TheirKey(HTTPSignatureKeyResolver):
    """Looks the signing key up in the directory, and remembers whose it was."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self.key_id = self.site = ""

    def resolve_public_key(self, key_id: str) -> Any:
        if not _ID.fullmatch(key_id):
            raise _invalid("keyid is not the id of a key on the chain", "0x and 64 hex digits")
        found = self._directory.sender_key(key_id)
        self.key_id, self.site = found.key_id, found.site
        return Ed25519PublicKey.from_public_bytes(found.public_key)


class _Lines(Mapping[str, str]):
    """Headers by lower-case name; `one` refuses a header that was sent twice."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._lines = [(name.lower(), value) for name, value in headers.items()]

    def one(self, name: str) -> str | None:
        found = [value for line, value in self._lines if line == name]
        if len(found) > 1:
            raise _invalid(f"header {name} was sent {len(found)} times", 1)
        return found[0] if found else None

    def items(self) -> Any:
        return self._lines

    def __getitem__(self, name: str) -> str:
        value = self.one(name)
        if value is None:
            raise KeyError(name)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter({name for name, _ in self._lines})

    def __len__(self) -> int:
        return len({name for name, _ in self._lines})


@dataclass(frozen=True)
class _Received:
    """A request as the library wants to see it."""

    method: str
    url: str
    headers: _Lines
