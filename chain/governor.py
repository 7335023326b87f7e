"""How the members decide: a proposal, the vote, the wait in the timelock, and the act.

Ids of proposals are 0x-hex of 32 bytes here; the contract and its events have them as integers
(`proposal_id_text`). Times are blocks, but for the timelock's delay and `eta`, which are seconds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from eth_abi.abi import encode
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from chain import typed_data
from chain.abi import to_bytes, to_hex
from chain.calls import Block, Call
from chain.contract import Contract
from chain.proposals import Action
from chain.timelock import Timelock, columns, operation_id

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

SUPPORT: Mapping[str, int] = {"against": 0, "for": 1, "abstain": 2}
"""The contract's numbers."""
SUPPORT_NAMES = tuple(SUPPORT)

_DOMAIN = "FATE-Chain Governor"
_BALLOT = {
    "proposalId": "uint256",
    "support": "uint8",
    "voter": "address",
    "nonce": "uint256",
    "reason": "string",
    "params": "bytes",
}


class ProposalState(StrEnum):
    """In the contract's order."""

    PENDING = "PENDING"
    ACTIVE = "ACTIVE"
    CANCELED = "CANCELED"
    DEFEATED = "DEFEATED"
    SUCCEEDED = "SUCCEEDED"
    QUEUED = "QUEUED"
    EXPIRED = "EXPIRED"
    EXECUTED = "EXECUTED"

    @property
    def is_final(self) -> bool:
        return self in _FINAL


_STATES = tuple(ProposalState)
_FINAL = frozenset(
    {
        ProposalState.CANCELED,
        ProposalState.DEFEATED,
        ProposalState.EXPIRED,
        ProposalState.EXECUTED,
    }
)


@dataclass(frozen=True)
class Proposal:
    """What the governor and the timelock know a proposal by."""

    actions: tuple[Action, ...]
    description: str

    @classmethod
    def from_event(cls, args: Mapping[str, Any]) -> "Proposal":
        """Of the arguments of `ProposalCreated`, which alone hold it whole."""
        calls = zip(args["targets"], args["calldatas"], args["values"], strict=True)
        actions = tuple(Action(target, data, int(value)) for target, data, value in calls)
        return cls(actions, args["description"])

    @property
    def description_hash(self) -> str:
        return to_hex(keccak(text=self.description))

    @property
    def id(self) -> str:
        """As `getProposalId` of the governor."""
        packed = encode(
            ["address[]", "uint256[]", "bytes[]", "bytes32"],
            [*columns(self.actions), to_bytes(self.description_hash)],
        )
        return to_hex(keccak(packed))

    def operation(self, governor: str) -> str:
        """The id under which the timelock holds it once it is queued by that governor."""
        salt = to_bytes(governor).ljust(32, b"\0")
        mixed = bytes(a ^ b for a, b in zip(salt, to_bytes(self.description_hash), strict=True))
        return operation_id(self.actions, mixed)

    def arguments(self) -> tuple[list[str], list[int], list[str]]:
        """Targets, values and calldatas, as the contracts take them."""
        return (
            [action.target for action in self.actions],
            [action.value for action in self.actions],
            [action.calldata for action in self.actions],
        )


@dataclass(frozen=True)
class ProposalView:
    """A proposal as the governor sees it now.

    `snapshot` is the block whose members vote, `deadline` the last block of the vote, `eta` (Unix
    seconds) when a queued one may be executed, 0 before. `quorum` is None until the snapshot has
    passed: it is counted in the members of that block.
    """

    id: str
    proposer: str
    state: ProposalState
    snapshot: int
    deadline: int
    eta: int
    for_: int
    against: int
    abstain: int
    quorum: int | None


@dataclass(frozen=True)
class GovernanceSettings:
    """Blocks, but for the timelock's delay in seconds and the quorum's minimum in votes."""

    voting_delay: int = 5
    voting_period: int = 200
    late_quorum: int = 40
    quorum_minimum: int = 1
    timelock_delay: int = 60


class Governor(Contract):
    artifact = "ConsortiumGovernor"

    def proposal(self, proposal: str, *, block: Block | None = None) -> ProposalView:
        """Refused with GovernorNonexistentProposal."""
        number = int(proposal, 16)
        at = self._at(block)
        state = self.state(proposal, block=at)
        against, for_, abstain = self._read("proposalVotes", number, block=at)
        snapshot = int(self._read("proposalSnapshot", number, block=at))
        return ProposalView(
            id=proposal,
            proposer=self._read("proposalProposer", number, block=at),
            state=state,
            snapshot=snapshot,
            deadline=int(self._read("proposalDeadline", number, block=at)),
            eta=int(self._read("proposalEta", number, block=at)),
            for_=for_,
            against=against,
            abstain=abstain,
            quorum=self.quorum(snapshot, block=at) if snapshot < self.clock(block=at) else None,
        )

    def state(self, proposal: str, *, block: Block | None = None) -> ProposalState:
        """Refused with GovernorNonexistentProposal."""
        return _STATES[int(self._read("state", int(proposal, 16), block=block))]

    def clock(self, *, block: Block | None = None) -> int:
        """The block that is being made, as the votes count."""
        return int(self._read("clock", block=block))

    def quorum_minimum(self, *, block: Block | None = None) -> int:
        """Votes that a proposal made now will need at least; only a vote changes it."""
        return int(self._read("quorumMinimum", block=block))

    def quorum(self, snapshot: int, *, block: Block | None = None) -> int:
        """Votes (for and abstaining) that a proposal with this past snapshot needs."""
        return int(self._read("quorum", snapshot, block=block))

    def has_voted(self, proposal: str, account: str, *, block: Block | None = None) -> bool:
        return bool(self._read("hasVoted", int(proposal, 16), account, block=block))

    def votes(self, account: str, snapshot: int, *, block: Block | None = None) -> int:
        """What the account's vote weighs in a proposal with this past snapshot: 1 or 0."""
        return int(self._read("getVotes", account, snapshot, block=block))

    def settings(self, *, block: Block | None = None) -> GovernanceSettings:
        at = self._at(block)
        timelock = Timelock(self.client, self.timelock(block=at))
        return GovernanceSettings(
            voting_delay=int(self._read("votingDelay", block=at)),
            voting_period=int(self._read("votingPeriod", block=at)),
            late_quorum=int(self._read("lateQuorumVoteExtension", block=at)),
            quorum_minimum=self.quorum_minimum(block=at),
            timelock_delay=timelock.delay(block=at),
        )

    def timelock(self, *, block: Block | None = None) -> str:
        found: str = self._read("timelock", block=block)
        return found

    def token(self, *, block: Block | None = None) -> str:
        """The contract whose votes count: the membership."""
        found: str = self._read("token", block=block)
        return found

    # --- what members do

    def propose(self, actions: Sequence[Action], description: str) -> Call:
        """By the account of an active member."""
        targets, values, calldatas = Proposal(tuple(actions), description).arguments()
        return self._write("propose", targets, values, calldatas, description)

    def vote(self, proposal: str, support: str, reason: str = "") -> Call:
        """By the account of a member of the snapshot that is active still. Raises KeyError."""
        return self._write("castVoteWithReason", int(proposal, 16), SUPPORT[support], reason)

    def ballot(
        self,
        proposal: str,
        support: str,
        voter: str,
        reason: str = "",
        *,
        block: Block | None = None,
    ) -> dict[str, Any]:
        """The EIP-712 document of a vote that anyone may relay, as wallets take it.

        It holds the voter's next nonce: it is void once another ballot of the voter was relayed.
        Integers are decimal text, as JSON's numbers end at 2**53.
        """
        voter = str(to_checksum_address(voter))
        message = {
            "proposalId": str(int(proposal, 16)),
            "support": SUPPORT[support],
            "voter": voter,
            "nonce": str(self._read("nonces", voter, block=block)),
            "reason": reason,
            "params": "0x",
        }
        chain_id, at = self.client.chain_id, self.address
        return typed_data.document(_DOMAIN, chain_id, at, "ExtendedBallot", _BALLOT, message)

    def vote_by_signature(
        self, proposal: str, support: str, voter: str, reason: str, signature: str
    ) -> Call:
        """By anyone who holds the signed ballot."""
        number = int(proposal, 16)
        args = (number, SUPPORT[support], voter, reason, "0x", signature)
        return self._write("castVoteWithReasonAndParamsBySig", *args)

    def withdraw(self, proposal: str) -> Call:
        """By the proposer, before or during the vote."""
        return self._write("withdraw", int(proposal, 16))

    # --- what anyone may do with what was decided

    def queue(self, proposal: Proposal) -> Call:
        return self._write("queue", *proposal.arguments(), proposal.description_hash)

    def execute(self, proposal: Proposal) -> Call:
        return self._write("execute", *proposal.arguments(), proposal.description_hash)

    def cancel(self, proposal: Proposal) -> Call:
        """By the proposer, before the vote."""
        return self._write("cancel", *proposal.arguments(), proposal.description_hash)

    def _at(self, block: Block | None) -> Block:
        """One block for several reads."""
        at = self.block if block is None else block
        return self.client.head().number if at == "latest" else at


def proposal_id_text(value: int) -> str:
    """0x-hex of 32 bytes, as ids are everywhere but in the governor's events."""
    return "0x" + value.to_bytes(32).hex()


def check_ballot(ballot: dict[str, Any]) -> None:
    """Raises ValueError for what is no ballot, or would have something else signed than it says."""
    typed_data.require(ballot, _DOMAIN, "ExtendedBallot", _BALLOT)
    if ballot["message"]["params"] != "0x":
        raise ValueError("a ballot here has no params")


def sign_ballot(account: "LocalAccount", ballot: dict[str, Any]) -> str:
    """The voter's signature, 0x-hex of 65 bytes."""
    document = {**ballot, "message": {**ballot["message"]}}
    for name in ("proposalId", "nonce"):
        document["message"][name] = int(ballot["message"][name])
    return typed_data.sign(document, account)
