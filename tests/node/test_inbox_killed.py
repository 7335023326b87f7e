"""A receiver that is killed at any moment of taking a message: what it receipted is there.

``FATECHAIN_KILLS`` is how often, 100 unless it is set.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from chain import merkle
from node.addresses import WireAddress
from node.audit.entries import type_of
from node.errors import Unavailable
from node.site import Site
from node.store import AuditEntry, AuditPending, InMessage
from tests.node.test_log_killed import KILLS, ROOT
from tests.node.two_sites import Pair, address, running_pair

STEPS = 400  # of as many messages as one life takes; a few more or less
MESSAGES = 4
RECEIVED = type_of("message.received")


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with running_pair(tmp_path, f"unix://{tmp_path}/none.sock") as made:
        yield made


class Victims:
    """Interfaces of the host's site, one after the other, on one socket."""

    def __init__(self, pair: Pair, job: str) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            pair.host.change(endpoint=self.url)
            pair.book.endpoints[pair.host.id] = self.url
            homes = [str(site.settings.home) for site in (pair.host, pair.guest)]
            fd, self.pid = listener.fileno(), 0
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.node.inbox_victim", *homes, job, str(fd)],
                cwd=ROOT,
                pass_fds=[fd],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )

    def live(self, until_step: int) -> None:
        """The next one serves from now on."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{until_step}\n")
        self.process.stdin.flush()
        self.pid = int(self.process.stdout.readline())

    def die(self) -> None:
        """Killed now, if it did not do it itself."""
        assert self.process.stdout is not None
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.pid = 0
        assert self.process.stdout.readline().strip() == "dead"

    def end(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        if self.pid:
            self.die()
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


class Sender:
    """The guest's side: a message is sent until its receipt is there, and some again after."""

    def __init__(self, pair: Pair, job: str, rng: random.Random) -> None:
        self.pair, self.job, self.rng = pair, job, rng
        self.receipts: list[dict[str, Any]] = []

    def body(self, n: int) -> bytes:
        return random.Random(n).randbytes(self.pair_size(n))

    @staticmethod
    def pair_size(n: int) -> int:
        return (0, 7, 4096, 300_000)[n % 4]

    def address(self, n: int) -> WireAddress:
        return address(self.pair, self.job, n)

    async def put(self, client: httpx.AsyncClient, n: int) -> dict[str, Any]:
        body = self.body(n)
        digest = hashlib.sha256(body).hexdigest()
        return await self.pair.guest.peers.put_message(
            client, self.address(n), body, "0x" + digest, len(body)
        )

    async def send(self, until_receipt: int) -> None:
        """Raises `Unavailable` when the receiver dies meanwhile."""
        async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
            if self.receipts and self.rng.random() < 0.3:
                again = self.rng.randrange(len(self.receipts))
                assert await self.put(client, again) == self.receipts[again]
            for _ in range(until_receipt):
                self.receipts.append(await self.put(client, len(self.receipts)))


def entries_of(site: Site) -> int:
    """How many messages the log tells of, placed or not."""
    with site.store.read() as session:
        placed = select(func.count()).select_from(AuditEntry).where(AuditEntry.type == RECEIVED)
        pending = list(session.scalars(select(AuditPending.entry)))
        found: int = session.scalar(placed) or 0
    return found + sum(RECEIVED.encode() in each for each in pending)


def rows_of(site: Site) -> dict[int, InMessage]:
    with site.store.read() as session:
        return {row.n: row for row in session.scalars(select(InMessage))}


async def test_a_receiver_killed_at_any_moment_loses_no_message_that_it_receipted_and_never_forks(
    pair: Pair,
) -> None:
    rng, job = random.Random(19), pair.start_job()
    site, victims = pair.host, Victims(pair, job)
    sender = Sender(pair, job, rng)
    heads: list[tuple[int, bytes]] = []
    cut_off = 0
    try:
        for _ in range(KILLS):
            victims.live(rng.randint(1, STEPS))
            try:
                await sender.send(rng.randint(1, MESSAGES))
            except Unavailable:
                cut_off += 1
            victims.die()
            rows = rows_of(site)
            assert len(rows) >= len(sender.receipts), "a receipted message is lost"
            assert entries_of(site) == len(rows), "a message without an entry, or the reverse"
            if rng.random() < 0.3:
                while site.log.sequence():
                    pass
                size, root = site.log.size, site.log.root()
                for old, old_root in heads[-3:]:
                    proof = site.log.consistency_proof(old, size)
                    assert merkle.verify_consistency(old_root, old, root, size, proof)
                heads += [(size, root)] if size else []
    finally:
        victims.end()
    assert cut_off > KILLS // 4
    while site.log.sequence():
        pass
    assert site.log.verify() == []
    rows = rows_of(site)
    told = [entry.data for entry in site.log.of_subject(job, [RECEIVED])]
    assert sorted(each["n"] for each in told if each) == sorted(rows)
    for n, receipt in enumerate(sender.receipts):
        content = (site.settings.home / rows[n].path).read_bytes()
        assert content == sender.body(n)
        assert rows[n].receipt == receipt
        (entry,) = [each for each in told if each and each["n"] == n]
        assert entry["digest"] == rows[n].digest == "0x" + hashlib.sha256(content).hexdigest()
