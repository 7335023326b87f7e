"""What one member holds against another, its answer, and what the consortium ruled."""

from dataclasses import dataclass
from enum import StrEnum

from chain.calls import Block, Call
from chain.contract import Contract
from chain.ids import ZERO_ID, derive_id
from chain.proposals import RULINGS


class DisputeState(StrEnum):
    """In the contract's order."""

    NONE = "NONE"
    OPEN = "OPEN"
    ANSWERED = "ANSWERED"
    WITHDRAWN = "WITHDRAWN"
    UPHELD = "UPHELD"
    DISMISSED = "DISMISSED"


_STATES = tuple(DisputeState)
_RULINGS = {number: name for name, number in RULINGS.items()}


@dataclass(frozen=True)
class Dispute:
    """Digests are SHA-256 of documents that the members have elsewhere; None: not yet, or never.

    Blocks are 0 where it did not happen. `ruling` is "upheld" or "dismissed".
    """

    id: str
    claimant: str
    respondent: str
    about: str
    subject: str
    evidence: str
    answer: str | None
    reasons: str | None
    ruling: str | None
    opened_at: int
    answered_at: int
    withdrawn_at: int
    ruled_at: int


def dispute_id(chain_id: int, disputes: str, account: str, nonce: int) -> str:
    """The id that `open(…, nonce)` by the claimant's account will give."""
    return derive_id(chain_id, disputes, account, nonce)


class Disputes(Contract):
    artifact = "Disputes"

    def dispute(self, dispute: str, *, block: Block | None = None) -> Dispute:
        """Refused with DisputeUnknown."""
        found = self._read("dispute", dispute, block=block)
        return Dispute(
            id=dispute,
            claimant=found["claimant"],
            respondent=found["respondent"],
            about=found["about"],
            subject=found["subject"],
            evidence=found["evidence"],
            answer=_set(found["answer"]),
            reasons=_set(found["reasons"]),
            ruling=_RULINGS.get(found["ruling"]),
            opened_at=found["openedAt"],
            answered_at=found["answeredAt"],
            withdrawn_at=found["withdrawnAt"],
            ruled_at=found["ruledAt"],
        )

    def state(self, dispute: str, *, block: Block | None = None) -> DisputeState:
        return _STATES[int(self._read("state", dispute, block=block))]

    def disputes(self, *, block: Block | None = None) -> tuple[str, ...]:
        return self._read_all("disputeCount", "disputes", block)

    def open(self, respondent: str, about: str, subject: str, evidence: str, nonce: int) -> Call:
        """By the account of an active member; `about` is a word, `evidence` a digest."""
        return self._write("open", respondent, about, subject, evidence, nonce)

    def answer(self, dispute: str, answer: str) -> Call:
        """Once, by the respondent's account."""
        return self._write("answer", dispute, answer)

    def withdraw(self, dispute: str) -> Call:
        """By the claimant's account."""
        return self._write("withdraw", dispute)

    def rule(self, dispute: str, ruling: str, reasons: str) -> Call:
        """By the authority."""
        return self._write("rule", dispute, RULINGS[ruling], reasons)


def _set(digest: str) -> str | None:
    return None if digest == ZERO_ID else digest
