"""Three institutions that govern themselves: short ways to propose, vote and carry out.

On any chain that clients reach: `mine` makes blocks, `travel` lets seconds pass. The bank and the
shop have sites, data and a grant; the clinic has its vote.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from eth_account.signers.local import LocalAccount

from chain.calls import Call, Receipt
from chain.client import ChainClient
from chain.deploy import found
from chain.effects import Effect, effect_of, simulate
from chain.governor import GovernanceSettings, Proposal, ProposalState
from chain.membership import member_id
from chain.network import Network
from chain.proposals import Action, Draft, actions, description, draft
from chain.testnet import dev_account
from tests.chain.world import World, admission

SETTINGS = GovernanceSettings(
    voting_delay=2, voting_period=12, late_quorum=3, quorum_minimum=2, timelock_delay=5
)
DEPLOYER = dev_account(0)
FOUNDERS = {"bank": dev_account(1), "shop": dev_account(3), "clinic": dev_account(5)}
STRANGER = dev_account(9)


@dataclass
class Parliament:
    connect: Callable[[LocalAccount], ChainClient]
    mine: Callable[[int], None]
    travel: Callable[[int], None]

    def found(self) -> "Parliament":
        self.world = World(self.connect).found(governance=SETTINGS)
        self.send(DEPLOYER, admission(self.network, FOUNDERS["clinic"], "clinic", 1))
        found(self.connect(DEPLOYER), self.network)
        return self

    def afresh(self) -> "Parliament":
        """The same with clients that remember nothing of a rewound chain."""
        other = Parliament(self.connect, self.mine, self.travel)
        other.world = self.world.afresh()
        return other

    @property
    def network(self) -> Network:
        return self.world.network

    def send(self, account: LocalAccount, call: Call) -> Receipt:
        return self.world.send(account, call)

    def member(self, name: str) -> str:
        chain, membership = self.network.client.chain_id, self.network.membership.address
        return member_id(chain, membership, FOUNDERS[name].address, 1)

    # ── a proposal's way

    def preview(self, *drafts: Draft, **options: Any) -> Effect:
        return self.try_out(self.actions(*drafts), **options)

    def try_out(self, calls: Sequence[Action], **options: Any) -> Effect:
        return simulate(self.network.client, self.network, calls, **options)

    def actions(self, *drafts: Draft) -> tuple[Action, ...]:
        return tuple(action for each in drafts for action in actions(each, self.network))

    def propose(self, *drafts: Draft, by: str = "bank") -> Proposal:
        text = description(drafts[0], None)
        proposal = Proposal(self.actions(*drafts), text)
        self.send(FOUNDERS[by], self.network.governor.propose(proposal.actions, text))
        return proposal

    def pass_(self, proposal: Proposal) -> None:
        """The vote of all who have one, the queue and the wait."""
        governor = self.network.governor
        self.await_vote(proposal)
        for name, account in FOUNDERS.items():
            if self.network.membership.is_active_account(str(account.address)):
                self.send(account, governor.vote(proposal.id, "for", f"{name} agrees"))
        while governor.state(proposal.id) is ProposalState.ACTIVE:
            self.mine(1)
        self.send(STRANGER, governor.queue(proposal))
        self.travel(SETTINGS.timelock_delay + 1)

    def await_vote(self, proposal: Proposal) -> None:
        while self.network.governor.state(proposal.id) is ProposalState.PENDING:
            self.mine(1)

    def execute(self, proposal: Proposal) -> Receipt:
        return self.send(STRANGER, self.network.governor.execute(proposal))

    def carry(self, *drafts: Draft) -> Receipt:
        """All of it at once."""
        proposal = self.propose(*drafts)
        self.pass_(proposal)
        return self.execute(proposal)

    def executed_digest(self, proposal: Proposal, receipt: Receipt) -> str | None:
        operation = proposal.operation(self.network.governor.address)
        return effect_of(self.network, receipt.tx_hash, operation)


def a_draft(proposed: str, /, title: str = "A proposal", **params: Any) -> Draft:
    return draft(proposed, params, title=title, body="For a reason.")
