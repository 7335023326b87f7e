"""One site with its interface, as operators and readers meet it; no chain behind it."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI

from chain import canonical
from chain.entries import commit, disclose
from chain.merkle import leaf_hash
from node.api.app import create_app
from node.audit.entries import record
from node.site import Site
from node.store import (
    InMessage,
    JobParty,
    LocalJob,
    Metric,
    OutMessage,
    PeerEvidence,
    Task,
)
from tests.node.told import sample

FAST_SCRYPT = 2**10
OWN = "0x" + "0a" * 32
PARTNER = "0x" + "0b" * 32
JOB = "0x" + "0c" * 32  # that a partner's entry names; which it is belongs to its site

_numbers = itertools.count(1)


def new_id(prefix: str = "ab") -> str:
    """An id that no other test uses."""
    return f"0x{prefix}{next(_numbers):062x}"


def make_site(home: Path, **settings: Any) -> Site:
    """Registered under `OWN`, with no chain, broker or process."""
    values = {"name": "bank", "site_id": OWN, "redis_url": f"unix://{home}/none.sock"}
    return Site.create(home, scrypt_cost=FAST_SCRYPT, **(values | settings))


def token_of(site: Site) -> str:
    return (site.settings.secrets / "operator-token").read_text("ascii")


def operator(site: Site, app: FastAPI | None = None) -> httpx.AsyncClient:
    """Speaks to the site's application as its operator."""
    return visitor(site, app, Authorization=f"Bearer {token_of(site)}")


def visitor(site: Site, app: FastAPI | None = None, **headers: str) -> httpx.AsyncClient:
    """Speaks to it as anybody."""
    application = app or create_app(site.settings.home, site)
    transport = httpx.ASGITransport(application, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://node", headers=headers)


@contextmanager
def serving(site: Site) -> Iterator[str]:
    """The application behind real HTTP on loopback; its address."""
    config = uvicorn.Config(
        create_app(site.settings.home, site), port=0, log_level="warning", lifespan="off", ws="none"
    )
    server = uvicorn.Server(config)
    listener = config.bind_socket()
    # It listens already: a client that comes early waits in the socket's queue.
    listener.listen()
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def add_job(site: Site, state: str = "RUNNING", **values: Any) -> str:
    """A job of this site and `PARTNER`."""
    id = values.pop("id", None) or new_id("bb")
    with site.store.begin() as session:
        session.add(
            LocalJob(
                **{
                    "id": id,
                    "state": state,
                    "specification_digest": new_id("cc"),
                    "proposer": OWN,
                    "mine": True,
                    "algorithm": "secureboost",
                }
                | values
            )
        )
        session.flush()
        for position, (party, role) in enumerate(((OWN, "guest"), (PARTNER, "host"))):
            session.add(JobParty(job_id=id, site=party, role=role, position=position))
    return id


def add_work(site: Site, job: str) -> None:
    """Two steps, one of them running, and a curve."""
    with site.store.begin() as session:
        session.add(Task(job_id=job, step="psi", position=0, state="SUCCEEDED", started_at=1.0))
        session.add(
            Task(
                job_id=job, step="train", position=1, state="RUNNING", done=2, total=7, text="tree"
            )
        )
        for tree, loss in enumerate((0.69, 0.5, 0.4)):
            session.add(Metric(job_id=job, step="train", name="loss", x=tree, y=loss))


def add_sent(site: Site, job: str, n: int, digest: str) -> None:
    _message(site, OutMessage, job, n, digest, (OWN, PARTNER), receipt={"keyId": "0x"})


def add_received(site: Site, job: str, n: int, digest: str) -> None:
    facts = {"path": "spool/x", "signature": "s", "receipt": {}}
    _message(site, InMessage, job, n, digest, (PARTNER, OWN), **facts)


def _message(
    site: Site, table: Any, job: str, n: int, digest: str, ends: tuple[str, str], **facts: Any
) -> None:
    sender, receiver = ends
    with site.store.begin() as session:
        session.add(
            table(
                job_id=job,
                step="train",
                attempt=1,
                sender=sender,
                receiver=receiver,
                kind="Said",
                n=n,
                digest=digest,
                size=10,
                **facts,
            )
        )


def add_evidence(site: Site, job: str, *entries: dict[str, Any], ended: bool = True) -> None:
    """What `PARTNER` showed of its log."""
    told = list(entries)
    if ended:
        told.append(told_entry("fatechain.job.ended.v1", {}))
    with site.store.begin() as session:
        session.add(PeerEvidence(job_id=job, site=PARTNER, evidence={"entries": told}))


def told_message(way: str, n: int, digest: str) -> dict[str, Any]:
    """An entry of the partner's log about a message that it sent or received."""
    sender, receiver = (PARTNER, OWN) if way == "sent" else (OWN, PARTNER)
    data = {
        "job": JOB,
        "step": "train",
        "attempt": 1,
        "sender": sender,
        "receiver": receiver,
        "messageKind": "Said",
        "n": n,
        "digest": digest,
        "size": 10,
    }
    return told_entry(f"fatechain.message.{way}.v1", data)


def told_entry(type: str, data: dict[str, Any]) -> dict[str, Any]:
    """An entry as a partner shows it, with all its fields disclosed."""
    salt = bytes(range(32))
    committed = commit(salt, {name: canonical.dumps(value) for name, value in data.items()})
    leaf = {"type": type, "data": committed}
    return {
        "entry": leaf,
        "leafHash": "0x" + leaf_hash(canonical.dumps(leaf)).hex(),
        "disclosed": disclose(salt, data),
    }


def add_entries(site: Site, count: int, kind: str = "task.started", subject: str = OWN) -> None:
    """Entries with their place in the log."""
    with site.store.begin() as session:
        for number in range(count):
            record(session, kind, subject, sample(kind, number), "worker")
    site.log.sequence()


def is_problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The answer is this problem; its members."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = json.loads(answer.text)
    assert problem["code"] == code
    assert problem["status"] == status
    return problem
