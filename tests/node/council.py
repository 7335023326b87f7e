"""Three members that govern themselves: real contracts in this process, a node each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.crypto import keccak
from sqlalchemy import select

from chain.calls import Call, Payment
from chain.deploy import deploy, found
from chain.governor import GovernanceSettings
from chain.network import Network
from chain.testing import InProcessChain
from node.governance import ProposalRequest, propose, vote
from node.store import ChainTx, Proposal, Vote
from node.submission import Submitted
from tests.chain.world import admission
from tests.node.consortium import ChainSite, sync_of

SCRYPT = 2**10
AWAKE = ("bank", "shop")
"""The others' nodes sleep until a test looks at them: what all of them do costs time."""
MEMBERS = ("bank", "shop", "clinic")
SETTINGS = GovernanceSettings(
    voting_delay=4, voting_period=16, late_quorum=2, quorum_minimum=2, timelock_delay=60
)


@dataclass(frozen=True)
class Council:
    """`bank`, `shop` and `clinic` have a vote each; `stranger` runs a node and has none."""

    chain: InProcessChain
    network: Network
    sites: dict[str, ChainSite]
    members: dict[str, str]

    @property
    def bank(self) -> ChainSite:
        return self.sites["bank"]

    @property
    def shop(self) -> ChainSite:
        return self.sites["shop"]

    @property
    def clinic(self) -> ChainSite:
        return self.sites["clinic"]

    @property
    def stranger(self) -> ChainSite:
        return self.sites["stranger"]

    # ── Time ─────────────────────────────────────────────────────────────────────────────────

    def sync(self, *names: str) -> None:
        """One pass of the sync loop of these sites; else of the bank and the shop."""
        for name in names or AWAKE:
            loop = sync_of(self.sites[name])
            loop.step()
            loop.enactment.wait()

    def settle(self, *names: str) -> None:
        """What these nodes want is sent and confirmed, and read by them."""
        self.sync(*names)
        self.chain.mine(self.bank.settings.confirmations + 1)
        self.sync(*names)

    def reach(self, block: int) -> None:
        """Make blocks until the newest has this number."""
        missing = block - self.network.client.head().number
        if missing > 0:
            self.chain.mine(missing)

    def open_vote(self, id: str) -> None:
        """Until the vote has begun, everywhere."""
        self.reach(self.network.governor.proposal(id).snapshot + 1)
        self.sync()

    def close_vote(self, id: str) -> None:
        """Until no vote counts any more."""
        self.reach(self.network.governor.proposal(id).deadline + 1)

    # ── What members do ──────────────────────────────────────────────────────────────────────

    def propose(self, name: str, kind: str, title: str = "", /, **params: Any) -> str:
        """A proposal that stands on the chain and is known everywhere; its id."""
        request = ProposalRequest(kind, params, title or f"About {kind}")
        submitted = propose(self.sites[name], request)
        self.settle(*{*AWAKE, name})
        return submitted.id

    def vote(self, id: str, **said: str) -> None:
        """Votes by the sites' own nodes: ``bank="for"``; confirmed."""
        for name, support in said.items():
            vote(self.sites[name], id, support, f"{name} says {support}")
        self.settle(*{*AWAKE, *said})

    def pass_(self, id: str) -> None:
        """Two of three vote for it, and the vote ends."""
        self.open_vote(id)
        self.vote(id, bank="for", shop="for")
        self.close_vote(id)

    def enact(self, id: str) -> None:
        """Let the nodes queue and execute what has passed, by themselves."""
        for _ in range(2):
            self.settle()
        self.chain.travel(SETTINGS.timelock_delay + 1)
        for _ in range(2):
            self.settle()

    def act(self, name: str, call: Call) -> None:
        """Send a call with the key of a site, past its node."""
        self.chain.client(self.sites[name].identity.account).transact(call)

    # ── What nodes know ──────────────────────────────────────────────────────────────────────

    def row(self, name: str, id: str) -> Proposal:
        self.sync(name)
        with self.sites[name].store.read() as session:
            return session.get_one(Proposal, id)

    def votes(self, name: str, id: str) -> dict[str, str]:
        """Account → vote, as a node has read them."""
        with self.sites[name].store.read() as session:
            found = session.scalars(select(Vote).where(Vote.proposal_id == id))
            return {vote.voter: vote.support for vote in found}

    def transaction(self, name: str, submitted: Submitted) -> ChainTx:
        with self.sites[name].store.read() as session:
            query = select(ChainTx).where(ChainTx.intent == submitted.intent)
            return session.scalars(query).one()

    def intents(self, name: str) -> dict[str, str]:
        """What a node wanted of the chain about proposals → how far that is."""
        with self.sites[name].store.read() as session:
            found = session.scalars(select(ChainTx).where(ChainTx.intent.startswith("proposal.")))
            return {row.intent: row.state for row in found}

    def close(self) -> None:
        for site in self.sites.values():
            site.close()


def newcomer(number: int) -> LocalAccount:
    """An account that is nobody's yet."""
    account: LocalAccount = Account.from_key(keccak(text=f"council newcomer {number}"))
    return account


def convene(folder: Path, **settings: Any) -> Council:
    """A founded consortium of three; their homes and a stranger's are below ``folder``."""
    chain = InProcessChain()
    client = chain.client(0)
    deployment = deploy(client, None, algorithms={}, governance=SETTINGS)
    network = Network.open(client, deployment.consortium)
    sites = {}
    for number, name in enumerate((*MEMBERS, "stranger")):
        site = ChainSite.create(
            folder / name,
            name=name,
            scrypt_cost=SCRYPT,
            consortium=deployment.consortium,
            chain_id=deployment.chain_id,
            from_block=deployment.from_block,
            port=9200 + number,
            redis_url=f"unix://{folder}/none.sock",
            **settings,
        )
        site.chain = chain
        sites[name] = site
        chain.client(19).transact(Payment(site.identity.address, 10**19))
    members = {}
    for name in MEMBERS:
        account = sites[name].identity.account
        client.transact(admission(network, account, f"The {name}", 0))
        members[name] = network.membership.member_of(account.address)
    found(client, network)
    council = Council(chain, network, sites, members)
    chain.mine(3)
    council.sync(*sites)
    return council
