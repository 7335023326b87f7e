"""Sites over a chain in the test's own process: real contracts, real databases, no network.

`Consortium` has a bank (guest, with labels) and a shop (host), each a member with a site, keys and
a registered dataset, and a grant of the shop to the bank.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import select

from chain.calls import Call, Payment
from chain.client import ChainClient
from chain.consents import GrantTerms, grant_id
from chain.datasets import dataset_id
from chain.deploy import DEFAULT_MINIMUMS, Deployment, deploy
from chain.ids import ZERO_ID
from chain.network import Network
from chain.sites import SiteRole, site_id
from chain.testing import InProcessChain
from ml.algorithm import code_digest
from ml.table import KEY_BYTES, commit_rows, read_csv
from node.identity import PURPOSES
from node.jobs import InputRequest, JobRequest, PartyRequest, propose
from node.registration import proven_key
from node.site import Site
from node.specification import digest_of
from node.store import Approval, ChainTx, LocalDataset, LocalJob
from node.sync import Sync
from tests.chain.world import admission

SCRYPT = 2**10
ROWS = 120
FEW_ROWS = {"min-bin-rows": 2, "min-samples-leaf": 2}  # of so few, bins may be small
ALGORITHM = "secureboost"
DAY = 86_400

_nonces = itertools.count(1)


class ChainSite(Site):
    """A site whose chain lies in this process."""

    chain: InProcessChain

    def client(self, account: Any = None) -> ChainClient:
        return self.chain.client(account)


@dataclass
class Consortium:
    """The chain, what is deployed on it, and the two sites."""

    chain: InProcessChain
    deployment: Deployment
    network: Network
    sites: dict[str, ChainSite] = field(default_factory=dict)
    datasets: dict[str, str] = field(default_factory=dict)
    grant: str = ZERO_ID

    @property
    def bank(self) -> ChainSite:
        return self.sites["bank"]

    @property
    def shop(self) -> ChainSite:
        return self.sites["shop"]

    # ── What the two do on the chain ─────────────────────────────────────────────────────────

    def act(self, name: str, call: Call) -> None:
        """Send a call with the key of a site, at once."""
        self.chain.client(self.sites[name].identity.account).transact(call)

    def govern(self, call: Call) -> None:
        """Send a call with the authority's key."""
        self.chain.client(0).transact(call)

    def give_grant(self, **terms: Any) -> str:
        """A grant of the shop to the bank, recorded; its id."""
        consents, nonce = self.network.consents, next(_nonces)
        usual: dict[str, Any] = {
            "dataset_id": self.datasets["shop"],
            "from_version": 1,
            "to_version": 1,
            "grantee": self.network.sites.member_of(self.bank.id),
            "purposes": ("training",),
            "algorithms": (code_digest(ALGORITHM),),
            "until": self.network.client.head().timestamp + DAY,
            "uses": 100,
            "product_budget": 100_000,
            "nonce": nonce,
        }
        granted = GrantTerms(**(usual | terms))
        account = self.shop.identity.account
        self.act("shop", consents.grant(granted, consents.sign(granted, account)))
        return grant_id(self.network.client.chain_id, consents.address, account.address, nonce)

    def request(self, **changes: Any) -> JobRequest:
        """The bank asks to train with the shop's data."""
        grant = changes.pop("grant", self.grant)
        return JobRequest(
            **{
                "algorithm": ALGORITHM,
                "parties": (
                    self.party("bank", "guest"),
                    self.party("shop", "host", grant),
                ),
            }
            | changes
        )

    def party(self, name: str, role: Any, grant: str | None = None) -> PartyRequest:
        entry = InputRequest(dataset=self.datasets[name], grant=grant)
        return PartyRequest(site=self.sites[name].id, role=role, inputs=(entry,))

    def propose(self, **changes: Any) -> str:
        """A job that stands on the chain as PROPOSED and is known to both nodes."""
        job = propose(self.bank, self.request(**changes))
        self.settle()
        self.copy_specification(job)
        return job

    def start(self, **changes: Any) -> str:
        """A job that runs, on the chain and at both nodes."""
        job = self.propose(**changes)
        self.approve(job)
        self.act("bank", self.network.jobs.start(job))
        self.settle()
        return job

    def approve(self, job: str) -> None:
        """The shop's word on what was proposed, at once, at its node and on the chain."""
        read = self.network.jobs.job(job).specification
        with self.shop.store.begin() as session:
            session.merge(Approval(job_id=job, specification=read, how="person", by="operator"))
        self.act("shop", self.network.jobs.approve(job, self.shop.id, read))

    def copy_specification(self, job: str) -> None:
        """As if the bank's node had delivered it."""
        with self.bank.store.read() as session:
            row = session.get_one(LocalJob, job)
        with self.shop.store.begin() as session:
            other = session.get_one(LocalJob, job)
            other.specification = row.specification
            other.kind, other.algorithm = row.kind, row.algorithm

    def settle(self, rounds: int = 1) -> None:
        """Let both nodes send what they want and read what is confirmed; what they then want is
        sent in the next round."""
        for _ in range(rounds):
            for site in self.sites.values():
                sync_of(site).step()
            self.chain.mine(site.settings.confirmations + 1)
        for site in self.sites.values():
            sync_of(site).step()

    def job(self, name: str, job: str) -> LocalJob:
        with self.sites[name].store.read() as session:
            return session.get_one(LocalJob, job)

    def intent(self, name: str, intent: str) -> ChainTx | None:
        with self.sites[name].store.read() as session:
            return session.scalar(select(ChainTx).where(ChainTx.intent == intent))

    def close(self) -> None:
        for site in self.sites.values():
            site.close()


def sync_of(site: Site) -> Sync:
    """The sync loop of a site, connected once."""
    found = site.__dict__.get("test_sync")
    if not isinstance(found, Sync):
        found = site.__dict__["test_sync"] = Sync(site)
    return found


# ── Making one ───────────────────────────────────────────────────────────────────────────────


def found() -> tuple[InProcessChain, Deployment]:
    """A chain with a consortium that allows the catalogue's algorithm."""
    chain = InProcessChain()
    deployment = deploy(
        chain.client(0),
        None,
        algorithms={code_digest(ALGORITHM): ALGORITHM},
        minimums={**DEFAULT_MINIMUMS, **FEW_ROWS},
    )
    return chain, deployment


def assemble(chain: InProcessChain, deployment: Deployment, folder: Path) -> Consortium:
    """Two sites with their homes below ``folder``, registered and read up to the head."""
    network = Network.open(chain.client(0), deployment.consortium)
    world = Consortium(chain, deployment, network)
    for number, name in enumerate(("bank", "shop")):
        join(world, folder, name, number)
        _register_rows(world, name)
    world.grant = world.give_grant()
    chain.mine(3)
    world.settle()
    return world


def join(world: Consortium, folder: Path, name: str, number: int) -> None:
    """Admit a member and register its site, the ``number``-th, with its home below ``folder``."""
    site = ChainSite.create(
        folder / name,
        name=name,
        scrypt_cost=SCRYPT,
        consortium=world.deployment.consortium,
        from_block=world.deployment.from_block,
        port=9000 + number,
        redis_url=f"unix://{folder}/none.sock",
        workers=1,
        publish_every_seconds=0.001,  # nobody goes round by itself here
    )
    site.chain = world.chain
    world.sites[name] = site
    address = site.identity.address
    world.chain.client(19).transact(Payment(address, 10**19))
    world.govern(admission(world.network, site.identity.account, name, number))
    registry = world.network.sites.address
    id = site_id(world.network.client.chain_id, registry, address, 0)
    keys = [proven_key(world.network, site.identity, id, what) for what in PURPOSES]
    roles = SiteRole.DATA_OWNER | SiteRole.MODEL_USER
    endpoint = site.settings.endpoint
    world.act(name, world.network.sites.register(address, name, endpoint, roles, keys, 0))
    site.change(site_id=id)


def _register_rows(world: Consortium, name: str) -> None:
    site, key, label = world.sites[name], b"k" * KEY_BYTES, "y" if name == "bank" else None
    path = site.settings.data / "rows.csv"
    path.write_text(rows_of(name))
    table = read_csv(path, label=label)
    commitment = commit_rows(table, key)
    registry, nonce = world.network.datasets, next(_nonces)
    world.act(
        name,
        registry.register(
            site.id,
            f"{name} rows",
            commitment.schema_digest,
            commitment.root,
            len(table),
            len(table.schema.features),
            nonce,
        ),
    )
    id = dataset_id(world.network.client.chain_id, registry.address, site.identity.address, nonce)
    world.datasets[name] = id
    with site.store.begin() as session:
        session.add(
            LocalDataset(
                id=id,
                version=1,
                name=f"{name} rows",
                path=str(path),
                id_column="id",
                label_column=label,
                schema=table.schema.to_json(),
                schema_digest=commitment.schema_digest,
                rows_root=commitment.root,
                rows=len(table),
                columns=len(table.schema.features),
                commitment_key=key,
                file_digest=digest_of(path.read_bytes()),
            )
        )


def rows_of(name: str) -> str:
    """Rows whose label depends on both parties' columns; the shop lacks every tenth."""
    lines = ["id,y,age,income" if name == "bank" else "id,visits,spent"]
    for n in range(ROWS):
        # Columns that tell nothing of one another, as their periods share no divisor.
        a, b, c, d = n % 11, n % 13, n % 7, n % 5
        if name == "bank":
            lines.append(f"u{n},{int(a + 4 * c > 17)},{a},{b}")
        elif n % 10:
            lines.append(f"u{n},{c},{d}")
    return "\n".join(lines) + "\n"
