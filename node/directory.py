"""Who the other sites are, as the chain says: their keys, endpoints and jobs.

Answers are kept `ttl` seconds, so that a revoked key or a suspended member is noticed within that
time without a question to the chain for every request.  A permission counts once it has its
confirmations; a withdrawal counts from the newest block.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import urlsplit

from node.errors import Conflict, NodeError, NotFound, Refused, Unauthenticated, Unavailable
from node.identity import ANCHOR, AUDIT

if TYPE_CHECKING:
    from chain.network import Network
    from chain.sites import Key
    from chain.sites import Site as ChainSite
    from node.audit.account_key import AccountKey

TTL_SECONDS = 5.0
ED25519_BYTES = 32
MAX_CACHED = 10_000  # answers; a stranger may ask for any key id

_HOST = r"(?:[a-z0-9](?:[a-z0-9.-]{0,252})?|\[[0-9a-f:.]{2,45}\])"
_ENDPOINT = re.compile(
    rf"https?://{_HOST}(?::[0-9]{{1,5}})?(?:/[!$&-.0-;=@-Z_a-z~]*)*", re.I | re.A
)

T = TypeVar("T")


@dataclass(frozen=True)
class SenderKey:
    """A key that may sign requests now: its id, its site, and the Ed25519 public key (32 bytes)."""

    key_id: str
    site: str
    public_key: bytes


@dataclass(frozen=True)
class JobOnChain:
    """A job's state (upper case) and the sites that are its parties."""

    id: str
    state: str
    parties: frozenset[str]


class Directory(Protocol):
    """What requests between sites are checked against.

    Raises `Unavailable` (``ChainUnavailable``) when the chain does not answer: fail closed.
    """

    def sender_key(self, key_id: str) -> SenderKey:
        """Raises ``UnknownSite``, ``KeyRevoked``, ``KeyNotProven``, ``SiteNotActive``,
        ``MemberNotActive``.
        """

    def past_key(self, key_id: str, job_id: str) -> SenderKey:
        """A request key that had not ended when the job began, whatever became of it, its site and
        its member since: good for a word on what was done.  Raises ``UnknownSite``, ``KeyRevoked``,
        ``KeyNotProven``.
        """

    def audit_keys(self, site_id: str) -> tuple[bytes, ...]:
        """The Ed25519 keys (32 bytes each) with which the site signs the heads of its log now; two
        while one follows another.  Empty for a site that has none.
        """

    def anchor_keys(self, site_id: str) -> tuple[AccountKey, ...]:
        """The accounts with which the site signs heads for contracts now; it may have none."""

    def account_key(self, site_id: str, address: bytes) -> AccountKey:
        """An account (20 bytes) as one of the site that signs for the contract of anchors."""

    def member_of(self, site_id: str) -> str:
        """The id of a site's member; raises ``UnknownSite``."""

    def anchored(self, site_id: str) -> tuple[int, bytes]:
        """Size and root of the newest head that the chain has of a site's log; size 0: none."""

    def key_id(self, site_id: str, purpose: str, public_key: bytes) -> str:
        """The id under which the site registry holds this key of this site."""

    def endpoint(self, site_id: str) -> str:
        """The URL of a site, without a slash at its end.

        Raises ``UnknownSite``, and ``EndpointInvalid`` for what is registered but no such URL.
        """

    def sites(self) -> tuple[str, ...]:
        """The ids of all sites that were ever registered."""

    def job(self, job_id: str) -> JobOnChain:
        """Raises `NotFound` for a job that the chain does not know."""


class ChainDirectory:
    """The `Directory` of a consortium on its chain."""

    def __init__(
        self,
        network: Callable[[], Network],
        *,
        ttl: float = TTL_SECONDS,
        confirmations: int = 2,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._network = network
        self._ttl, self._confirmations, self._clock = ttl, confirmations, clock
        self._kept: dict[tuple[str, str], tuple[float, Any]] = {}
        self._anchors: tuple[int, str] | None = None  # chain and contract; they never change
        self._lock = threading.Lock()

    def sender_key(self, key_id: str) -> SenderKey:
        return self._remembered("key", key_id, self._find_key)

    def past_key(self, key_id: str, job_id: str) -> SenderKey:
        return self._remembered("past key", f"{key_id} {job_id}", self._find_past_key)

    def audit_keys(self, site_id: str) -> tuple[bytes, ...]:
        return self._remembered("audit keys", site_id, self._find_audit_keys)

    def anchor_keys(self, site_id: str) -> tuple[AccountKey, ...]:
        found = self._remembered("anchor keys", site_id, self._find_anchor_keys)
        return tuple(self.account_key(site_id, address) for address in found)

    def account_key(self, site_id: str, address: bytes) -> AccountKey:
        # Notes are signed by what is signed between sites, which asks a directory.
        from node.audit.account_key import AccountKey
        from node.audit.checkpoint import origin_of

        if self._anchors is None:
            self._anchors = self._ask(_place_of_anchors, site_id)
        return AccountKey(origin_of(site_id), "0x" + address.hex(), *self._anchors)

    def member_of(self, site_id: str) -> str:
        return self.site(site_id).member

    def anchored(self, site_id: str) -> tuple[int, bytes]:
        return self._ask(_newest_anchor, site_id)

    def key_id(self, site_id: str, purpose: str, public_key: bytes) -> str:
        from chain.sites import key_id

        network = self._network()
        at = network.sites.address
        return key_id(network.client.chain_id, at, site_id, purpose, "0x" + public_key.hex())

    def sites(self) -> tuple[str, ...]:
        return self._remembered("sites", "", lambda network, _: network.sites.sites())

    def endpoint(self, site_id: str) -> str:
        return checked_endpoint(site_id, self.site(site_id).endpoint)

    def site(self, site_id: str) -> ChainSite:
        """The registered site; raises `NotFound` (``UnknownSite``)."""
        return self._remembered("site", site_id, self._find_site)

    def job(self, job_id: str) -> JobOnChain:
        return self._remembered("job", job_id, self._find_job)

    def forget(self) -> None:
        """Ask the chain again for everything: an event said that something changed."""
        with self._lock:
            self._kept.clear()

    def _remembered(self, kind: str, id: str, find: Callable[[Network, str], T]) -> T:
        now = self._clock()
        with self._lock:
            at, answer = self._kept.get((kind, id), (float("-inf"), None))
        if now - at <= self._ttl:
            if isinstance(answer, NodeError):
                raise answer.with_traceback(None)  # kept ones must not gather frames
            found: T = answer
            return found
        outcome: T | NodeError
        try:
            outcome = self._ask(find, id)
        except Unavailable:
            raise
        except NodeError as refusal:
            outcome = refusal  # a refusal is an answer, too: a stranger cannot make us ask again
        with self._lock:
            if len(self._kept) >= MAX_CACHED:
                self._kept.clear()
            self._kept[kind, id] = (now, outcome)
        if isinstance(outcome, NodeError):
            raise outcome.with_traceback(None)
        return outcome

    def _ask(self, find: Callable[[Network, str], T], id: str) -> T:
        from chain.errors import ChainError, ContractRefused

        try:
            return find(self._network(), id)
        except ContractRefused as refused:
            raise _refusals(id).get(refused.error) or NotFound(
                "UnknownSite", str(refused), found=id
            ) from refused
        except ChainError as error:
            raise Unavailable("ChainUnavailable", str(error)) from error

    def _find_key(self, network: Network, key_id: str) -> SenderKey:
        head = network.client.head().number
        site_id, key = _request_key(network, key_id, head)
        if key.until_block and key.until_block <= head:
            raise Refused(
                "KeyRevoked",
                f"key {key_id} ended at block {key.until_block}",
                found=key_id,
                hint="sign with the site's present request key",
            )
        if key.from_block > head - self._confirmations:
            raise Refused(
                "KeyRevoked",
                f"key {key_id} begins at block {key.from_block} and is not yet confirmed",
                hint="try again in a few blocks",
            )
        site = network.sites.site(site_id, block=head)
        standing = network.membership.standing(site.member, block=head)
        if standing != "ACTIVE":
            raise Refused(
                "MemberNotActive",
                f"member {site.member} is {standing}",
                found=str(standing),
                allowed="ACTIVE",
            )
        if site.until_block and site.until_block <= head:
            raise Refused(
                "SiteNotActive",
                f"site {site_id} retired at block {site.until_block}",
                found=site_id,
            )
        return _proven(network, site_id, key_id, key)

    def _find_past_key(self, network: Network, asked: str) -> SenderKey:
        key_id, _, job_id = asked.partition(" ")
        site_id, key = _request_key(network, key_id, network.client.head().number)
        began = network.jobs.job(job_id).started_at
        if not began or 0 < key.until_block <= began:
            raise Refused(
                "KeyRevoked",
                f"key {key_id} had ended before job {job_id} began",
                found=key_id,
            )
        return _proven(network, site_id, key_id, key)

    def _find_audit_keys(self, network: Network, site_id: str) -> tuple[bytes, ...]:
        return self._standing_keys(network, site_id, AUDIT)

    def _find_anchor_keys(self, network: Network, site_id: str) -> tuple[bytes, ...]:
        return self._standing_keys(network, site_id, ANCHOR)

    def _standing_keys(self, network: Network, site_id: str, purpose: str) -> tuple[bytes, ...]:
        head = network.client.head().number
        return tuple(
            bytes.fromhex(key.public_key.removeprefix("0x"))
            for key in network.sites.keys(site_id, block=head)
            if key.purpose == purpose
            and key.is_valid_at(head)
            and key.from_block <= head - self._confirmations
            and network.sites.proves(site_id, key)
        )

    def _find_site(self, network: Network, site_id: str) -> ChainSite:
        return network.sites.site(site_id)

    def _find_job(self, network: Network, job_id: str) -> JobOnChain:
        head = network.client.head().number
        state = network.jobs.state(job_id, block=head)
        if state == "NONE":
            raise NotFound("NotFound", f"the chain knows no job {job_id}", found=job_id)
        parties = network.jobs.parties(job_id, block=head)
        return JobOnChain(job_id, str(state), frozenset(party.site for party in parties))


def _place_of_anchors(network: Network, _: str) -> tuple[int, str]:
    return network.client.chain_id, network.anchors.address.lower()


def _newest_anchor(network: Network, site_id: str) -> tuple[int, bytes]:
    head = network.anchors.head(site_id)
    return head.size, bytes.fromhex(head.root.removeprefix("0x"))


def _request_key(network: Network, key_id: str, head: int) -> tuple[str, Key]:
    """A key for requests, with its site."""
    site_id, key = network.sites.key(key_id, block=head)
    if key.purpose != "request":
        raise Unauthenticated(
            "UnknownSite",
            "the key is not one for requests",
            found=key.purpose,
            allowed="request",
        )
    return site_id, key


def _proven(network: Network, site_id: str, key_id: str, key: Key) -> SenderKey:
    """The key, if it has the form of one and its holder showed to have it."""
    public = bytes.fromhex(key.public_key.removeprefix("0x"))
    if len(public) != ED25519_BYTES:
        raise Unauthenticated(
            "SignatureInvalid",
            f"key {key_id} is no Ed25519 key",
            found=f"{len(public)} bytes",
            allowed=f"{ED25519_BYTES} bytes",
        )
    if not network.sites.proves(site_id, key):
        raise Refused(
            "KeyNotProven",
            f"key {key_id} did not sign that it is a key of site {site_id}",
            found=key_id,
            hint="the site must register a key with its proof of possession",
        )
    return SenderKey(key_id, site_id, public)


def _refusals(id: str) -> dict[str, NodeError]:
    return {
        "SiteUnknown": NotFound("UnknownSite", f"no site {id} is registered", found=id),
        "SiteKeyUnknown": Unauthenticated("UnknownSite", f"no site holds key {id}", found=id),
        "SiteRetired": Refused("SiteNotActive", f"site {id} retired", found=id),
        "JobUnknown": NotFound("NotFound", f"the chain knows no job {id}", found=id),
    }


def checked_endpoint(site_id: str, endpoint: str) -> str:
    """The URL if requests may be sent below it; raises `Unavailable` (``EndpointInvalid``).

    Any text may stand on the chain.  Nothing may swallow the path that follows (a query, a
    fragment), bring credentials, or be a mistake that the HTTP client meets only on the way.
    """
    import httpx

    try:
        good = bool(_ENDPOINT.fullmatch(endpoint)) and urlsplit(endpoint).port != 0
        good = good and bool(httpx.URL(endpoint).host)
        good = good and not is_no_place(urlsplit(endpoint).hostname or "")
    except (ValueError, httpx.InvalidURL):
        good = False
    if not good:
        raise Unavailable(
            "EndpointInvalid",
            f"site {site_id} registered an endpoint that is no URL of a node",
            found=endpoint[:100],
            allowed="http or https, a host, perhaps a port and a path",
            hint="ask that site to register another one: fatechain site endpoint",
        )
    return endpoint.rstrip("/")


def is_no_place(host: str) -> bool:
    """Whether no node can live at this address: "here", a group, or the link alone.

    On its link a machine in a cloud finds what tells it its secrets, and a partner's endpoint
    must not send us there.
    """
    try:
        address: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.ip_address(host)
    except ValueError:
        try:  # in the old ways to write one: 0xa9fea9fe, 169.16689662
            address = ipaddress.IPv4Address(socket.inet_aton(host))
        except (OSError, ValueError):
            return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_link_local or address.is_multicast or address.is_unspecified


def not_registered() -> Conflict:
    return Conflict(
        "NotRegistered",
        "this site is not registered on the chain yet",
        hint="run `fatechain site register`",
    )
