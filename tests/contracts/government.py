"""The governor and its timelock over the world's members, and how a proposal goes its way."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eth_account.messages import encode_typed_data
from eth_utils.crypto import keccak
from web3.contract.contract import ContractFunction
from web3.types import TxReceipt

from chain.compile import load
from tests.contracts.world import World, w

DELAY = 2  # blocks until the vote begins
PERIOD = 20  # blocks in which the members vote
EXTENSION = 4  # blocks that are left once the quorum is reached
WAIT = 3600  # seconds in the timelock
MINIMUM = 2  # votes, however few members there are
AGAINST, FOR, ABSTAIN = range(3)
PENDING, ACTIVE, CANCELED, DEFEATED, SUCCEEDED, QUEUED, EXPIRED, EXECUTED = range(8)
NOBODY = "0x" + "00" * 20
BALLOT = {
    "ExtendedBallot": [
        {"name": "proposalId", "type": "uint256"},
        {"name": "support", "type": "uint8"},
        {"name": "voter", "type": "address"},
        {"name": "nonce", "type": "uint256"},
        {"name": "reason", "type": "string"},
        {"name": "params", "type": "bytes"},
    ]
}


@dataclass(frozen=True)
class Proposal:
    id: int
    actions: tuple[list[str], list[int], list[bytes]]
    description: str

    @property
    def content(self) -> tuple[list[str], list[int], list[bytes], bytes]:
        """What `queue`, `execute` and `cancel` take."""
        return (*self.actions, bytes(keccak(text=self.description)))


class Government:
    """Deployed and in the address book; the authority is not handed over before `found`."""

    def __init__(self, world: World, minimum: int = MINIMUM) -> None:
        self.world = world
        owner = world.address("authority")
        self.timelock = world.create(*_code("TimelockController"), WAIT, [], [], owner)
        self.governor = world.create(
            *_code("ConsortiumGovernor"),
            world.membership.address,
            self.timelock.address,
            DELAY,
            PERIOD,
            minimum,
            EXTENSION,
        )
        roles = self.timelock.functions
        for role, to in (
            (roles.PROPOSER_ROLE().call(), self.governor.address),
            (roles.CANCELLER_ROLE().call(), self.governor.address),
            (roles.EXECUTOR_ROLE().call(), NOBODY),
        ):
            world.send(roles.grantRole(role, to), "authority")
        world.send(roles.renounceRole(bytes(32), owner), "authority")
        book = world.consortium.functions
        world.send(book.setContract(w("governor"), self.governor.address), "authority")
        world.send(book.setContract(w("timelock"), self.timelock.address), "authority")

    def found(self) -> "Government":
        """From here on the members govern."""
        move = self.world.consortium.functions.moveAuthority(self.timelock.address)
        self.world.send(move, "authority")
        return self

    # -------------------------------------------------------------------------- a proposal's way

    def drafted(self, *calls: ContractFunction, description: str = "why") -> Proposal:
        actions = ([str(c.address) for c in calls], [0] * len(calls), [_data(c) for c in calls])
        content = (*actions, bytes(keccak(text=description)))
        number = self.governor.functions.hashProposal(*content).call()
        return Proposal(number, actions, description)

    def proposing(self, proposal: Proposal) -> ContractFunction:
        return self.governor.functions.propose(*proposal.actions, proposal.description)

    def propose(
        self, *calls: ContractFunction, by: str = "bank", description: str = "why"
    ) -> Proposal:
        proposal = self.drafted(*calls, description=description)
        self.world.send(self.proposing(proposal), by)
        return proposal

    def opened(
        self, *calls: ContractFunction, by: str = "bank", description: str = "why"
    ) -> Proposal:
        """Proposed, and the vote has begun."""
        proposal = self.propose(*calls, by=by, description=description)
        self.world.mine(DELAY + 1)
        assert self.state(proposal) == ACTIVE
        return proposal

    def vote(self, proposal: Proposal, by: str, support: int = FOR) -> TxReceipt:
        return self.world.send(self.governor.functions.castVote(proposal.id, support), by)

    def close(self, proposal: Proposal) -> None:
        """Blocks until the vote is over."""
        deadline = self.governor.functions.proposalDeadline(proposal.id).call()
        self.world.mine(deadline - self.world.block + 1)

    def passed(
        self, *calls: ContractFunction, voters: Sequence[str] = ("bank", "shop")
    ) -> Proposal:
        """Voted for, and the vote is over."""
        proposal = self.opened(*calls, description=f"passed in block {self.world.block}")
        for voter in voters:
            self.vote(proposal, voter)
        self.close(proposal)
        return proposal

    def queued(
        self, *calls: ContractFunction, voters: Sequence[str] = ("bank", "shop")
    ) -> Proposal:
        """In the timelock, its time over."""
        proposal = self.passed(*calls, voters=voters)
        self.world.send(self.governor.functions.queue(*proposal.content), "stranger")
        self.world.go_to(self.world.now + WAIT)
        return proposal

    def enact(
        self, *calls: ContractFunction, voters: Sequence[str] = ("bank", "shop")
    ) -> TxReceipt:
        """All the way; queued and executed by a stranger."""
        proposal = self.queued(*calls, voters=voters)
        return self.world.send(self.executing(proposal), "stranger")

    def while_running(self, running: ContractFunction, *decided: ContractFunction) -> Proposal:
        """A vote on `running` goes on, and after its snapshot the others decided something else."""
        other = self.opened(*decided, description="meanwhile")
        for voter in ("bank", "shop"):
            self.vote(other, voter)
        self.world.mine(PERIOD // 2)
        proposal = self.opened(running)
        self.close(other)
        self.world.send(self.governor.functions.queue(*other.content), "stranger")
        self.world.go_to(self.world.now + WAIT)
        self.world.send(self.executing(other), "stranger")
        assert self.state(proposal) == ACTIVE
        return proposal

    def executing(self, proposal: Proposal) -> ContractFunction:
        return self.governor.functions.execute(*proposal.content)

    def state(self, proposal: Proposal) -> int:
        return int(self.governor.functions.state(proposal.id).call())

    # -------------------------------------------------------------------------- signed votes

    def domain(self, **changed: Any) -> dict[str, Any]:
        return {
            "name": "FATE-Chain Governor",
            "version": "1",
            "chainId": self.world.web3.eth.chain_id,
            "verifyingContract": self.governor.address,
            **changed,
        }

    def ballot(self, proposal: Proposal, voter: str, **changed: Any) -> dict[str, Any]:
        """The voter's next ballot: for, because it is good."""
        account = self.world.address(voter) if voter in self.world.accounts else voter
        return {
            "proposalId": proposal.id,
            "support": FOR,
            "voter": account,
            "nonce": self.governor.functions.nonces(account).call(),
            "reason": "good",
            "params": b"",
            **changed,
        }

    def sign(self, ballot: dict[str, Any], signer: str, **domain: Any) -> bytes:
        """`domain` alters the domain."""
        account = self.world.accounts[signer]
        return bytes(account.sign_typed_data(self.domain(**domain), BALLOT, ballot).signature)

    def digest(self, ballot: dict[str, Any]) -> bytes:
        """What a contract account approves."""
        message = encode_typed_data(self.domain(), BALLOT, ballot)
        return bytes(keccak(b"\x19" + message.version + message.header + message.body))

    def casting(self, ballot: dict[str, Any], signature: bytes) -> ContractFunction:
        """The call that relays a ballot."""
        fields = [ballot[name] for name in ("proposalId", "support", "voter", "reason", "params")]
        return self.governor.functions.castVoteWithReasonAndParamsBySig(*fields, signature)


def _code(artifact: str) -> tuple[Any, str]:
    return load(artifact).abi, load(artifact).bytecode


def _data(call: ContractFunction) -> bytes:
    return bytes.fromhex(call._encode_transaction_data().removeprefix("0x"))
