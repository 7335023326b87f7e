"""Sites that told two tales of one log, shown by what they signed; marks move no rights."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from eth_abi.abi import encode
from eth_utils.crypto import keccak

from chain.anchors import compact
from chain.calls import Block, Call
from chain.contract import Contract
from chain.ids import ZERO_ID


class MarkKind(StrEnum):
    """In the contract's order."""

    NONE = "NONE"
    TWO_CHECKPOINTS = "TWO_CHECKPOINTS"
    ANOTHER_ANCHOR = "ANOTHER_ANCHOR"
    UNANSWERED = "UNANSWERED"


class ChallengeState(StrEnum):
    """In the contract's order; OVERDUE waits for anybody to settle it."""

    NONE = "NONE"
    OPEN = "OPEN"
    OVERDUE = "OVERDUE"
    ANSWERED = "ANSWERED"
    SETTLED = "SETTLED"
    ANSWERED_LATE = "ANSWERED_LATE"


_KINDS = tuple(MarkKind)
_STATES = tuple(ChallengeState)


@dataclass(frozen=True)
class SignedCheckpoint:
    """A head of a site, signed by an "anchor" key of its own.

    `signature` is 0x-hex of the 65 bytes r, s, v of a `chain.anchors.checkpoint_document`.
    """

    size: int
    root: str
    time: int
    signature: str

    def to_abi(self) -> dict[str, Any]:
        """As the contract takes it. Raises ValueError for what is no such signature."""
        r, vs = compact(self.signature)
        return {"size": self.size, "root": self.root, "time": self.time, "r": r, "vs": vs}


@dataclass(frozen=True)
class Mark:
    """What a key was shown to have signed, in block `at_block`.

    `key_until`: the block in which the key had ended by then, 0 where it stood. A key that ended
    may have been in others' hands. `evidence` is keccak256 of both tales' digests.
    """

    key: str
    kind: MarkKind
    size: int
    at_block: int
    key_until: int
    evidence: str


@dataclass(frozen=True)
class Challenge:
    """A checkpoint that must be proved consistent with an anchored head before `until` (Unix).

    `challenger` is None where whoever asked speaks for no member in standing. Blocks are 0 where
    it did not happen.
    """

    id: str
    site: str
    key: str
    size: int
    root: str
    time: int
    challenger: str | None
    opened_at: int
    until: int
    answered_at: int
    settled_at: int


def challenge_id(chain_id: int, equivocations: str, site: str, size: int, root: str) -> str:
    """The id that `challenge` of this checkpoint gives: a checkpoint is challenged once."""
    packed = encode(
        ["uint256", "address", "bytes32", "uint64", "bytes32"],
        [chain_id, equivocations, bytes.fromhex(site[2:]), size, bytes.fromhex(root[2:])],
    )
    return "0x" + bytes(keccak(packed)).hex()


class Equivocations(Contract):
    artifact = "Equivocations"

    def is_marked(self, site: str, *, block: Block | None = None) -> bool:
        return bool(self._read("isMarked", site, block=block))

    def marks(self, site: str, *, block: Block | None = None) -> tuple[Mark, ...]:
        """In the order in which they were made, one for each key."""
        return tuple(
            Mark(
                key=found["key"],
                kind=_KINDS[found["kind"]],
                size=found["size"],
                at_block=found["atBlock"],
                key_until=found["keyUntil"],
                evidence=found["evidence"],
            )
            for found in self._read("marks", site, block=block)
        )

    def marked_sites(self, *, block: Block | None = None) -> tuple[str, ...]:
        return self._read_all("markedSiteCount", "markedSites", block)

    def challenge_of(self, challenge: str, *, block: Block | None = None) -> Challenge:
        """Refused with ChallengeUnknown."""
        found = self._read("challengeOf", challenge, block=block)
        challenger = found["challenger"]
        return Challenge(
            id=challenge,
            site=found["site"],
            key=found["key"],
            size=found["size"],
            root=found["root"],
            time=found["time"],
            challenger=None if challenger == ZERO_ID else challenger,
            opened_at=found["openedAt"],
            until=found["until"],
            answered_at=found["answeredAt"],
            settled_at=found["settledAt"],
        )

    def state_of(self, challenge: str, *, block: Block | None = None) -> ChallengeState:
        return _STATES[int(self._read("stateOf", challenge, block=block))]

    def challenges(self, *, block: Block | None = None) -> tuple[str, ...]:
        return self._read_all("challengeCount", "challenges", block)

    def prove_fork(self, site: str, first: SignedCheckpoint, second: SignedCheckpoint) -> Call:
        """By anyone: two roots of one size, both signed by the site."""
        return self._write("proveFork", site, first.to_abi(), second.to_abi())

    def prove_anchored_fork(self, site: str, signed: SignedCheckpoint) -> Call:
        """By anyone: a signed root of a size that the site anchored with another one."""
        return self._write("proveAnchoredFork", site, signed.to_abi())

    def challenge(self, site: str, signed: SignedCheckpoint) -> Call:
        """By anyone: a signed checkpoint of a size that is not anchored."""
        return self._write("challenge", site, signed.to_abi())

    def answer_challenge(self, challenge: str, anchored_size: int, proof: Sequence[str]) -> Call:
        """By anyone: the consistency proof from the checkpoint to the head of `anchored_size`."""
        return self._write("answerChallenge", challenge, anchored_size, list(proof))

    def settle(self, challenge: str) -> Call:
        """By anyone, once it is OVERDUE."""
        return self._write("settle", challenge)
