"""A founded consortium on Anvil, the shop's node behind real HTTP, and wallets that really sign.

The bank and the shop are members with nodes; the clinic is one whose delegate votes with a wallet.
People look at the shop's pages.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from eth_account.messages import encode_defunct, encode_typed_data
from sqlalchemy import func, select

from chain.client import ChainClient
from chain.deploy import DEFAULT_MINIMUMS, deploy, found
from chain.governor import GovernanceSettings
from chain.testnet import Testnet, dev_account
from ml.algorithm import code_digest
from node import people
from node.store import ChainTx, LocalModel
from node.waiting import WaitingList
from tests.chain.world import admission
from tests.node.consortium import ALGORITHM, FEW_ROWS, ChainSite, Consortium, assemble, sync_of
from tests.node.face import serving

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount
    from web3.types import RPCEndpoint

    from chain.testing import InProcessChain

DEPLOYER, FUNDS, CLINIC, OWNER, SCIENTIST, NOBODY, SECOND, ISSUER = 0, 19, 3, 4, 5, 6, 7, 8
OPEN = ("WAITING", "SIGNED", "SENT", "MINED")
PATIENCE_SECONDS = 30
DAY_SECONDS = 24 * 3600
VOTING = GovernanceSettings(
    voting_delay=1, voting_period=40, late_quorum=2, quorum_minimum=2, timelock_delay=60
)


@dataclass(frozen=True)
class Anvil:
    """What the worlds of other tests ask of a chain, over a testnet."""

    url: str

    def client(self, account: LocalAccount | int | None = None) -> ChainClient:
        signer = dev_account(account) if isinstance(account, int) else account
        return ChainClient(self.url, account=signer)

    def travel(self, seconds: int) -> None:
        """The next block is so much later."""
        self._tell("evm_increaseTime", seconds)
        self.mine(1)

    def mine(self, blocks: int) -> None:
        self._tell("anvil_mine", hex(blocks))

    def _tell(self, method: str, value: object) -> None:
        from web3 import HTTPProvider

        HTTPProvider(self.url).make_request(cast("RPCEndpoint", method), [value])


@dataclass
class Wallet:
    """An EIP-1193 provider with a key of its own; what it was asked for, and what it answers."""

    account: LocalAccount
    chain_id: int = 31337
    knows_other_chains: bool = True
    refuses: bool = False
    asked: list[str] = field(default_factory=list)

    def request(self, method: str, params: list[Any]) -> dict[str, Any]:
        """{"result"} or {"error"}: an exception would not cross to the page with its code."""
        self.asked.append(method)
        if self.refuses and method not in ("eth_chainId", "eth_requestAccounts"):
            return {"error": {"code": 4001, "message": "User rejected the request."}}
        match method:
            case "eth_requestAccounts":
                return {"result": [self.account.address.lower()]}
            case "eth_chainId":
                return {"result": hex(self.chain_id)}
            case "wallet_switchEthereumChain" if self.knows_other_chains:
                self.chain_id = int(params[0]["chainId"], 16)
                return {"result": None}
            case "personal_sign":
                message = encode_defunct(hexstr=params[0])
            case "eth_signTypedData_v4":
                message = encode_typed_data(full_message=json.loads(params[1]))
            case _:
                return {"error": {"code": 4200, "message": f"no method {method}"}}
        signature = self.account.sign_message(message).signature
        return {"result": "0x" + bytes(signature).hex()}


@dataclass(frozen=True)
class Stage:
    """Everything that a test looks at; `url` is where the shop's node shows itself."""

    world: Consortium
    url: str

    @property
    def shop(self) -> ChainSite:
        return self.world.shop

    def wallet(self, number: int) -> Wallet:
        return Wallet(dev_account(number))

    def carry(self, done: Callable[[], bool], what: str) -> None:
        """Let the shop's node send what is asked of it and see it confirmed until `done`.

        Blocks are made only for what is on its way: a vote that is open stays so.
        """
        end = time.monotonic() + PATIENCE_SECONDS
        while not done():
            assert time.monotonic() < end, f"{what} did not come"
            self.step()
            with self.shop.store.read() as session:
                open_ = session.scalar(
                    select(func.count()).select_from(ChainTx).where(ChainTx.state.in_(OPEN))
                )
            if open_:
                self.world.chain.mine(self.shop.settings.confirmations + 1)

    def step(self) -> None:
        loop = sync_of(self.shop)
        loop.step()
        loop.enactment.wait()

    def propose(self, title: str, value: int) -> str:
        """A proposal of the bank on which the vote is open; its id."""
        from node.governance import ProposalRequest, propose

        params = {"name": "min-rows", "value": value}
        request = ProposalRequest("set-minimum", params, title, "50 rows are too few.")
        id = propose(self.world.bank, request).id
        self.world.settle()
        self.world.chain.mine(VOTING.voting_delay + 1)
        self.step()
        return id

    def dispute(self, respondent: str, nonce: int) -> str:
        """Of the bank against another; confirmed, and its id."""
        chain, world = self.world.network, self.world
        member = chain.membership.member_of(world.sites[respondent].identity.address)
        subject, evidence = world.datasets["shop"], "0x" + "0e" * 32
        world.act("bank", chain.disputes.open(member, "dataset", subject, evidence, nonce))
        world.settle()
        return chain.disputes.disputes()[-1]

    def ask_for_audit(self) -> str:
        """The bank's request of the shop for evidence, confirmed; its id."""
        from node.audit_requests import Asked, ask

        id = ask(self.world.bank, Asked(self.shop.id, "Supervision of training.")).id
        self.world.settle(2)
        return id

    def hold_model(self, job: str) -> None:
        """As if the shop had trained its part of a model in that job."""
        facts = {"algorithm": ALGORITHM, "role": "host", "part_digest": "0x" + "0d" * 32}
        with self.shop.store.begin() as session:
            session.add(LocalModel(job_id=job, path="part", **facts))

    def sent(self) -> str:
        """The intent of a transaction of the shop."""
        with self.shop.store.read() as session:
            return session.scalars(select(ChainTx.intent).limit(1)).one()

    def ask_for_data(self) -> str:
        """A job of the bank that waits for a person at the shop; its id."""
        job = self.world.propose()
        WaitingList(self.shop).step()
        return job


def _attest(world: Consortium) -> None:
    """The bank is attested to be audited; the word about the shop was taken back."""
    attestations = world.network.attestations
    issuer = world.chain.client(ISSUER)
    world.govern(attestations.name_issuer("audited", issuer.address))
    until = world.network.client.head().timestamp + 30 * DAY_SECONDS
    for name in ("bank", "shop"):
        member = world.network.membership.member_of(world.sites[name].identity.address)
        issuer.transact(attestations.attest(member, "audited", "0x" + "0c" * 32, until))
    issuer.transact(attestations.revoke(member, "audited"))


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def staged(folder: Path) -> Iterator[Stage]:
    with Testnet(port=free_port(), state_dir=folder / "anvil", block_time=0) as testnet:
        anvil = Anvil(testnet.url)
        client = anvil.client(DEPLOYER)
        deployment = deploy(
            client,
            None,
            algorithms={code_digest(ALGORITHM): ALGORITHM},
            minimums={**DEFAULT_MINIMUMS, **FEW_ROWS},
            governance=VOTING,
        )
        world = assemble(cast("InProcessChain", anvil), deployment, folder)
        clinic = dev_account(CLINIC)
        world.govern(admission(world.network, clinic, "clinic", 7))
        _attest(world)
        found(client, world.network)
        for person in (OWNER, SECOND):  # who may open the shop's data in an emergency
            world.act("shop", world.network.reviews.appoint(dev_account(person).address))
        world.settle()
        shop = world.shop
        for number, name, roles in (
            (CLINIC, "Chen", ("delegate", "operator")),
            (OWNER, "Olga", ("data-owner", "delegate")),
            (SCIENTIST, "Sam", ("data-scientist",)),
            (SECOND, "Dora", ("data-owner",)),
        ):
            people.add(shop.store, dev_account(number).address, name, roles)
        with serving(shop) as url:
            shop.change(endpoint=url)
            yield Stage(world, url)
        world.close()
