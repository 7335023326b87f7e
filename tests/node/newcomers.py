"""Members whose nodes are not on the chain yet: real contracts in this process, real homes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chain.calls import Payment
from chain.deploy import deploy
from chain.network import Network
from chain.testing import InProcessChain
from node.registration import register_site
from tests.chain.world import admission
from tests.node.consortium import ChainSite, rows_of, sync_of

SCRYPT = 2**10
ALGORITHM = "0x" + "a1" * 32  # allowed under the name "sums"


@dataclass(frozen=True)
class Newcomers:
    """`bank` and `shop` are members; `stranger` is none."""

    chain: InProcessChain
    network: Network
    bank: ChainSite
    shop: ChainSite
    stranger: ChainSite
    members: dict[str, str]

    def settle(self) -> None:
        """Let the nodes send what they want, and read what is confirmed."""
        for _ in range(2):
            for site in (self.bank, self.shop):
                sync_of(site).step()
            self.chain.mine(self.bank.settings.confirmations + 1)
        for site in (self.bank, self.shop):
            sync_of(site).step()

    def register(self) -> None:
        """Put both members' nodes on the chain."""
        for site in (self.bank, self.shop):
            register_site(site, ("data-owner", "model-user"))
        self.settle()

    def place(self, site: ChainSite, name: str, content: str | None = None) -> Path:
        """A file in the site's data folder."""
        path = site.settings.data / name
        kind = "bank" if site is self.bank else "shop"
        path.write_text(rows_of(kind) if content is None else content)
        return path

    def close(self) -> None:
        for site in (self.bank, self.shop, self.stranger):
            site.close()


def gather(folder: Path) -> Newcomers:
    """A new chain with a consortium and three homes below ``folder``."""
    chain = InProcessChain()
    deployment = deploy(chain.client(0), None, algorithms={ALGORITHM: "sums"})
    network = Network.open(chain.client(0), deployment.consortium)
    sites = {}
    for number, name in enumerate(("bank", "shop", "stranger")):
        site = ChainSite.create(
            folder / name,
            name=name,
            scrypt_cost=SCRYPT,
            consortium=deployment.consortium,
            chain_id=deployment.chain_id,
            from_block=deployment.from_block,
            port=9100 + number,
            redis_url=f"unix://{folder}/none.sock",
        )
        site.chain = chain
        sites[name] = site
        chain.client(19).transact(Payment(site.identity.address, 10**19))
    members = {}
    for name in ("bank", "shop"):
        account = sites[name].identity.account
        chain.client(0).transact(admission(network, account, f"The {name}", 0))
        members[name] = network.membership.member_of(account.address)
    return Newcomers(chain, network, sites["bank"], sites["shop"], sites["stranger"], members)
