"""Two real sites on loopback: HTTP by uvicorn, SQLite, an embedded broker.

Only the chain is replaced: by a directory that a test writes by hand.
"""

from __future__ import annotations

import hashlib
import itertools
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from sqlalchemy import update

from ml.federation import GUEST, HOST, Party
from node.addresses import WireAddress
from node.api import between, problems
from node.audit.account_key import AccountKey
from node.audit.checkpoint import origin_of
from node.directory import JobOnChain, SenderKey
from node.errors import NodeError, NotFound, Refused, Unauthenticated
from node.identity import ANCHOR
from node.mailbox import MailboxTransport
from node.site import Site
from node.store import ChainState, JobParty, LocalJob, Task

FAST_SCRYPT = 2**14
MIB = 1024 * 1024
MAX_MESSAGE = 56 * MIB
QUOTA = 64 * MIB

_numbers = itertools.count(1)


def new_id(prefix: str = "aa") -> str:
    """An id that no other test uses."""
    return f"0x{prefix}{next(_numbers):062x}"


@dataclass
class Book:
    """A `node.directory.Directory` on paper."""

    keys: dict[str, SenderKey] = field(default_factory=dict)
    audit: dict[str, bytes] = field(default_factory=dict)
    anchor: dict[str, bytes] = field(default_factory=dict)  # a site may have none
    endpoints: dict[str, str] = field(default_factory=dict)
    jobs: dict[str, JobOnChain] = field(default_factory=dict)
    members: dict[str, str] = field(default_factory=dict)  # by site; each its own unless told
    refusals: dict[str, NodeError] = field(default_factory=dict)  # by key, site or job id
    long_ended: set[str] = field(default_factory=set)  # keys that ended before any job began

    def key_id(self, site_id: str, purpose: str, public_key: bytes) -> str:
        digest = hashlib.sha256(site_id.encode() + purpose.encode() + public_key)
        return "0x" + digest.hexdigest()

    def sender_key(self, key_id: str) -> SenderKey:
        self._check(key_id)
        if key_id not in self.keys:
            raise Unauthenticated("UnknownSite", f"no site holds key {key_id}")
        return self.keys[key_id]

    def past_key(self, key_id: str, job_id: str) -> SenderKey:
        if key_id in self.long_ended:
            raise Refused("KeyRevoked", f"key {key_id} had ended before job {job_id} began")
        if key_id not in self.keys:
            raise Unauthenticated("UnknownSite", f"no site holds key {key_id}")
        return self.keys[key_id]

    def audit_keys(self, site_id: str) -> tuple[bytes, ...]:
        self._check(site_id)
        return (self.audit[site_id],)

    def anchor_keys(self, site_id: str) -> tuple[AccountKey, ...]:
        self._check(site_id)
        own = self.anchor.get(site_id)
        return () if own is None else (self.account_key(site_id, own),)

    def account_key(self, site_id: str, address: bytes) -> AccountKey:
        return AccountKey(origin_of(site_id), "0x" + address.hex(), 31337, "0x" + "ac" * 20)

    def member_of(self, site_id: str) -> str:
        return self.members.get(site_id, site_id)

    def anchored(self, site_id: str) -> tuple[int, bytes]:
        return 0, b""  # nobody anchors here

    def endpoint(self, site_id: str) -> str:
        self._check(site_id)
        return self.endpoints[site_id]

    def sites(self) -> tuple[str, ...]:
        return tuple(self.audit)

    def job(self, job_id: str) -> JobOnChain:
        self._check(job_id)
        if job_id not in self.jobs:
            raise NotFound("NotFound", f"no job {job_id}")
        return self.jobs[job_id]

    def enter(self, site: Site) -> None:
        key_id = site.key_id()
        self.keys[key_id] = SenderKey(key_id, site.id, site.identity.request_public)
        self.audit[site.id] = site.identity.audit_public
        self.anchor[site.id] = site.identity.public_key(ANCHOR)
        self.endpoints[site.id] = site.settings.endpoint

    @contextmanager
    def refusing(self, id: str, refusal: NodeError) -> Iterator[None]:
        self.refusals[id] = refusal
        try:
            yield
        finally:
            del self.refusals[id]

    def _check(self, id: str) -> None:
        if id in self.refusals:
            raise self.refusals[id]


@dataclass(frozen=True)
class Pair:
    """Two sites that run, and a third that only holds keys; all of them in one directory."""

    guest: Site
    host: Site
    stranger: Site
    book: Book

    @property
    def guest_party(self) -> Party:
        return Party(GUEST, self.guest.id)

    @property
    def host_party(self) -> Party:
        return Party(HOST, self.host.id)

    def start_job(self, steps: tuple[str, ...] = ("train",)) -> str:
        """A job of guest and host that runs at both, with these steps."""
        job = new_id("bb")
        sites = (self.guest.id, self.host.id)
        self.book.jobs[job] = JobOnChain(job, "RUNNING", frozenset(sites))
        for site in (self.guest, self.host):
            with site.store.begin() as session:
                session.add(
                    LocalJob(
                        id=job,
                        state="RUNNING",
                        specification_digest=new_id(),
                        proposer=self.guest.id,
                    )
                )
                session.flush()
                for position, (party, role) in enumerate(zip(sites, (GUEST, HOST), strict=True)):
                    session.add(JobParty(job_id=job, site=party, role=role, position=position))
                for position, step in enumerate(steps):
                    session.add(Task(job_id=job, step=step, position=position, state="RUNNING"))
        return job

    def transport(
        self, site: Site, job: str, step: str = "train", *, step_seconds: float | None = None
    ) -> MailboxTransport:
        parties = (self.guest_party, self.host_party)
        me = self.guest_party if site is self.guest else self.host_party
        return MailboxTransport(
            site, job, step, 1, me, parties, message_seconds=5.0, step_seconds=step_seconds
        )


def address(pair: Pair, job: str, n: int = 0, **changes: object) -> WireAddress:
    """From guest to host, unless changed."""
    values: dict[str, object] = {
        "job": job,
        "step": "train",
        "attempt": 1,
        "sender": pair.guest.id,
        "receiver": pair.host.id,
        "kind": "tests.Said",
        "n": n,
    }
    return WireAddress(**{**values, **changes})  # type: ignore[arg-type]


def see_chain(site: Site, seconds_ago: float = 0.0) -> None:
    """Let the site have heard of its chain some time ago."""
    with site.store.begin() as session:
        seen_at = time.time() - seconds_ago
        if session.get(ChainState, 1) is None:
            session.add(ChainState(id=1, seen_at=seen_at))
        else:
            session.execute(update(ChainState).values(seen_at=seen_at))


@contextmanager
def running_pair(folder: Path, redis_url: str) -> Iterator[Pair]:
    book = Book()
    sockets = {name: _listen() for name in ("guest", "host", "stranger")}
    sites = {
        name: _make(folder / name, name, listener.getsockname()[1], redis_url, book)
        for name, listener in sockets.items()
    }
    servers = [_Server(sites[name], sockets[name]) for name in ("guest", "host")]
    sockets["stranger"].close()  # nobody answers there
    try:
        yield Pair(sites["guest"], sites["host"], sites["stranger"], book)
    finally:
        for server in servers:
            server.stop()
        for site in sites.values():
            site.close()


def _make(home: Path, name: str, port: int, redis_url: str, book: Book) -> Site:
    Site.create(
        home,
        name=name,
        port=port,
        redis_url=redis_url,
        site_id=new_id("cc"),
        max_message_bytes=MAX_MESSAGE,
        mailbox_quota_bytes=QUOTA,
        scrypt_cost=FAST_SCRYPT,
    ).close()
    site = Site.open(home, directory=book)
    book.enter(site)
    see_chain(site)
    return site


def _listen() -> socket.socket:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    return listener


class _Server:
    """The interface between sites over real HTTP, in a thread."""

    def __init__(self, site: Site, listener: socket.socket) -> None:
        app = FastAPI()
        app.state.site = site
        problems.install(app)
        between.install(app)
        config = uvicorn.Config(app, log_level="warning", lifespan="off", ws="none")
        self._server = uvicorn.Server(config)
        # The socket listens already: a client that comes early waits in its queue.
        self._thread = threading.Thread(target=self._server.run, args=([listener],), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()
