"""Messages of Sign-In with Ethereum (ERC-4361): read strictly, written canonically, checked.

`parse` takes exactly what the ABNF of the ERC generates, in ASCII and of bounded length; anything
else is refused, so that what a person read in the wallet is what we read.  `Expected.check` holds a
message against this node: its domain and URI, its chain, the clock.  Resources are read and
ignored: they are outside what the ERC defines.

Source: ERC-4361, § ABNF Message Format; RFC 3986 for authority and URI; RFC 3339 for times.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from datetime import UTC, datetime

from node.errors import Invalid, NodeError, Unauthenticated

MAX_MESSAGE = 4096  # characters
SKEW_SECONDS = 60
MAX_VALID_SECONDS = 24 * 3600
STATEMENT = "Sign in to this FATE-Chain node. This costs nothing and sends no transaction."

_UNRESERVED = r"A-Za-z0-9\-._~"
_SUB = r"!$&'()*+,;="
_PCT = r"%[0-9A-Fa-f]{2}"
_PCHAR = rf"(?:[{_UNRESERVED}{_SUB}:@]|{_PCT})"
_HOST = (
    rf"(?:\[[0-9A-Fa-f:.]+\]|\[[vV][0-9A-Fa-f]+\.[{_UNRESERVED}{_SUB}:]+\]"
    rf"|(?:[{_UNRESERVED}{_SUB}]|{_PCT})*)"
)
_AUTHORITY = rf"(?:(?:[{_UNRESERVED}{_SUB}:]|{_PCT})*@)?{_HOST}(?::\d*)?"
_SCHEME = r"[A-Za-z][A-Za-z0-9+.\-]*"
_PATH = (
    rf"(?://{_AUTHORITY}(?:/{_PCHAR}*)*"
    rf"|/(?:{_PCHAR}+(?:/{_PCHAR}*)*)?"
    rf"|{_PCHAR}+(?:/{_PCHAR}*)*"
    r"|)"
)
_URI = rf"{_SCHEME}:{_PATH}(?:\?(?:{_PCHAR}|[/?])*)?(?:#(?:{_PCHAR}|[/?])*)?"
_TIME = r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)"
_V6 = re.compile(r"\[([0-9A-Fa-f:.]+)\]")  # brackets stand around nothing but a host
_STATEMENT = rf"[{_UNRESERVED}{_SUB}:/?#\[\]@ ]+"

_FORM = re.compile(
    rf"(?:(?P<scheme>{_SCHEME})://)?(?P<domain>{_AUTHORITY})"
    r" wants you to sign in with your Ethereum account:\n"
    r"(?P<address>0x[0-9A-Fa-f]{40})\n"
    r"\n"
    rf"(?:(?P<statement>{_STATEMENT})\n)?"
    r"\n"
    rf"URI: (?P<uri>{_URI})\n"
    r"Version: 1\n"
    r"Chain ID: (?P<chain_id>\d{1,20})\n"
    r"Nonce: (?P<nonce>[A-Za-z0-9]{8,})\n"
    rf"Issued At: (?P<issued_at>{_TIME})"
    rf"(?:\nExpiration Time: (?P<expiration_time>{_TIME}))?"
    rf"(?:\nNot Before: (?P<not_before>{_TIME}))?"
    rf"(?:\nRequest ID: (?P<request_id>{_PCHAR}*))?"
    rf"(?:\nResources:(?P<resources>(?:\n- {_URI})*))?",
    re.ASCII,
)


@dataclass(frozen=True)
class Message:
    """A sign-in message; times keep the words they came in.  ``address`` has its EIP-55 form."""

    domain: str
    address: str
    uri: str
    chain_id: int
    nonce: str
    issued_at: str
    scheme: str | None = None
    statement: str | None = None
    expiration_time: str | None = None
    not_before: str | None = None
    request_id: str | None = None
    resources: tuple[str, ...] | None = None

    def text(self) -> str:
        """What the wallet shows and signs."""
        scheme = "" if self.scheme is None else f"{self.scheme}://"
        lines = [
            f"{scheme}{self.domain} wants you to sign in with your Ethereum account:",
            self.address,
            "",
            *([] if self.statement is None else [self.statement]),
            "",
            f"URI: {self.uri}",
            "Version: 1",
            f"Chain ID: {self.chain_id}",
            f"Nonce: {self.nonce}",
            f"Issued At: {self.issued_at}",
        ]
        for name, value in (
            ("Expiration Time", self.expiration_time),
            ("Not Before", self.not_before),
            ("Request ID", self.request_id),
        ):
            if value is not None:
                lines.append(f"{name}: {value}")
        if self.resources is not None:
            lines += ["Resources:", *(f"- {resource}" for resource in self.resources)]
        return "\n".join(lines)


@dataclass(frozen=True)
class Expected:
    """What a message to this node says.  ``uri`` is the endpoint of the settings."""

    scheme: str
    domain: str
    uri: str
    chain_id: int

    def check(self, message: Message, now: float, given_at: float) -> float:
        """When the sign-in ends at the latest.  Raises `Unauthenticated` (``SignInRefused``).

        ``given_at`` is when the nonce was handed out: a message is not older than its nonce, and
        not from the future, give or take `SKEW_SECONDS` between the two clocks.
        """
        for what, found, allowed in (
            ("domain", message.domain, self.domain),
            ("scheme", message.scheme or self.scheme, self.scheme),
            ("URI", message.uri, self.uri),
            ("chain", message.chain_id, self.chain_id),
        ):
            if found != allowed:
                raise refused(f"the message names another {what}", found=found, allowed=allowed)
        issued = seconds(message.issued_at)
        if not given_at - SKEW_SECONDS <= issued <= now + SKEW_SECONDS:
            raise refused(
                "the message was not issued now",
                found=message.issued_at,
                allowed=f"within {SKEW_SECONDS} seconds of {written(now)}, after its nonce",
                hint="check the clock of this computer",
            )
        if message.not_before is not None and seconds(message.not_before) > now + SKEW_SECONDS:
            raise refused("the message is not valid yet", found=message.not_before)
        if message.expiration_time is None:
            return now + MAX_VALID_SECONDS
        ends = seconds(message.expiration_time)
        if ends <= now:
            raise refused("the message has expired", found=message.expiration_time)
        if ends > issued + MAX_VALID_SECONDS:
            raise refused(
                "the message would be valid for too long",
                found=message.expiration_time,
                allowed=f"{MAX_VALID_SECONDS // 3600} hours after it was issued",
            )
        return ends


def parse(text: str) -> Message:
    """The message in `text`.  Raises `Invalid` (``SignInMessageMalformed``)."""
    if len(text) > MAX_MESSAGE:
        raise _malformed(f"it has {len(text)} characters; {MAX_MESSAGE} are allowed")
    form = _FORM.fullmatch(text)
    if form is None:
        raise _malformed("it does not follow the grammar")
    found = form.groupdict()
    for part in (found["domain"], found["uri"], found["resources"] or ""):
        for literal in _V6.findall(part):
            _check_v6(literal)
    if not found["domain"]:
        raise _malformed("it names no domain")
    if found["address"] != checksummed(found["address"]):
        raise _malformed("the address does not have its EIP-55 checksum")
    for name in ("issued_at", "expiration_time", "not_before"):
        if found[name] is not None:
            seconds(found[name])
    resources = found.pop("resources")
    chain_id = int(found.pop("chain_id"))
    return Message(
        **found,
        chain_id=chain_id,
        resources=None if resources is None else tuple(resources.split("\n- ")[1:]),
    )


def _check_v6(literal: str) -> None:
    try:
        ipaddress.IPv6Address(literal)
    except ValueError as error:
        raise _malformed(f"{literal} is no IPv6 address") from error


def seconds(time: str) -> float:
    """An RFC 3339 time as Unix seconds.  Raises `Invalid` for a day or hour that there is not."""
    try:
        return datetime.fromisoformat(time.upper()).timestamp()
    except (ValueError, OverflowError) as error:
        raise _malformed(f"{time} is no time") from error


def written(when: float) -> str:
    """Unix seconds as RFC 3339 in UTC, to the second."""
    return datetime.fromtimestamp(int(when), UTC).isoformat().replace("+00:00", "Z")


def checksummed(address: str) -> str:
    """The EIP-55 form."""
    from eth_utils.address import to_checksum_address

    return str(to_checksum_address(address))


def refused(
    why: str, *, found: object = None, allowed: object = None, hint: str | None = None
) -> NodeError:
    """Raised by whoever looks at a sign-in: the words are for the person who tries it."""
    return Unauthenticated("SignInRefused", why, found=found, allowed=allowed, hint=hint)


def _malformed(why: str) -> Invalid:
    return Invalid(
        "SignInMessageMalformed",
        f"this is no sign-in message: {why}",
        hint="see ERC-4361; GET /v1/sign-in/nonce tells what the message must say",
    )
