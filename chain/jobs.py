"""The life of a job: proposed, approved by each party, started, attested, ended."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from chain.calls import Block, Call
from chain.canonical import unword, word
from chain.contract import Contract
from chain.ids import ZERO_ID, derive_id


class JobState(StrEnum):
    """In the contract's order."""

    NONE = "NONE"
    PROPOSED = "PROPOSED"
    APPROVED = "APPROVED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"

    @property
    def is_final(self) -> bool:
        return self is not JobState.NONE and not MOVES[self]


_STATES = tuple(JobState)

MOVES: Mapping[JobState, frozenset[JobState]] = {
    JobState.NONE: frozenset({JobState.PROPOSED}),
    JobState.PROPOSED: frozenset(
        {JobState.APPROVED, JobState.REJECTED, JobState.CANCELLED, JobState.EXPIRED}
    ),
    JobState.APPROVED: frozenset({JobState.RUNNING, JobState.CANCELLED, JobState.EXPIRED}),
    JobState.RUNNING: frozenset(
        {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED}
    ),
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
    JobState.REJECTED: frozenset(),
    JobState.EXPIRED: frozenset(),
}
"""The moves that the contract allows; all others are refused with JobWrongState."""


@dataclass(frozen=True)
class JobParty:
    """`role` is "guest", "host" or "arbiter"; the first party is the one guest, and proposes."""

    site: str
    role: str


@dataclass(frozen=True)
class JobUse:
    """`party` indexes the parties; `grant` is None where the proposer's own member owns the
    dataset.
    """

    party: int
    dataset_id: str
    version: int
    grant: str | None = None


@dataclass(frozen=True)
class JobProposal:
    """`specification` is the SHA-256 of the canonical specification, `deadline` block time in Unix
    seconds.
    """

    specification: str
    algorithm: str
    purpose: str
    deadline: int
    parties: tuple[JobParty, ...]
    uses: tuple[JobUse, ...]
    nonce: int

    def to_struct(self) -> dict[str, Any]:
        """Keyed by the contract's field names."""
        return {
            "specification": self.specification,
            "algorithm": self.algorithm,
            "purpose": self.purpose,
            "deadline": self.deadline,
            "parties": [{"site": p.site, "role": p.role} for p in self.parties],
            "uses": [
                {
                    "party": use.party,
                    "datasetId": use.dataset_id,
                    "version": use.version,
                    "grant": ZERO_ID if use.grant is None else use.grant,
                }
                for use in self.uses
            ],
            "nonce": self.nonce,
        }


@dataclass(frozen=True)
class Job:
    """Blocks are facts; 0 where it did not happen. `state` is as stored: `Jobs.state` derives
    EXPIRED.

    `reason` of a failure, rejection or cancellation is a word where it is one, a 0x-digest where it
    is not, and None where there is none.
    """

    id: str
    proposer: str
    member: str
    specification: str
    algorithm: str
    purpose: str
    deadline: int
    proposed_at: int
    approved_at: int
    started_at: int
    ended_at: int
    state: JobState
    reason: str | None
    ended_by: str | None


@dataclass(frozen=True)
class Attestation:
    """A party's word on the result, and the block in which it gave it."""

    result: str
    at_block: int


def job_id(chain_id: int, jobs: str, operator: str, nonce: int) -> str:
    """The id that `propose` by the guest's operator will give."""
    return derive_id(chain_id, jobs, operator, nonce)


class Jobs(Contract):
    artifact = "JobRegistry"

    def job(self, job: str, *, block: Block | None = None) -> Job:
        """Refused with JobUnknown."""
        found = self._read("job", job, block=block)
        return Job(
            id=job,
            proposer=found["proposer"],
            member=found["member"],
            specification=found["specification"],
            algorithm=found["algorithm"],
            purpose=found["purpose"],
            deadline=found["deadline"],
            proposed_at=found["proposedAt"],
            approved_at=found["approvedAt"],
            started_at=found["startedAt"],
            ended_at=found["endedAt"],
            state=_STATES[found["state"]],
            reason=reason_text(found["reason"]),
            ended_by=None if found["endedBy"] == ZERO_ID else found["endedBy"],
        )

    def state(self, job: str, *, block: Block | None = None) -> JobState:
        return _STATES[int(self._read("state", job, block=block))]

    def parties(self, job: str, *, block: Block | None = None) -> tuple[JobParty, ...]:
        found = self._read("parties", job, block=block)
        return tuple(JobParty(site=p["site"], role=p["role"]) for p in found)

    def uses(self, job: str, *, block: Block | None = None) -> tuple[JobUse, ...]:
        return tuple(
            JobUse(
                party=use["party"],
                dataset_id=use["datasetId"],
                version=use["version"],
                grant=None if use["grant"] == ZERO_ID else use["grant"],
            )
            for use in self._read("uses", job, block=block)
        )

    def approved_at(self, job: str, site: str, *, block: Block | None = None) -> int:
        """The block of the site's approval; 0: not given."""
        return int(self._read("approvedAt", job, site, block=block))

    def attestation(self, job: str, site: str, *, block: Block | None = None) -> Attestation | None:
        """None: the site has not spoken."""
        result, at_block = self._read("attestation", job, site, block=block)
        return Attestation(result, at_block) if at_block else None

    def require_runnable(self, job: str, *, block: Block | None = None) -> None:
        """Refused with the first reason why the job may not run now."""
        self._read("requireRunnable", job, block=block)

    def jobs(self, *, block: Block | None = None) -> tuple[str, ...]:
        return self._read_all("jobCount", "jobs", block)

    def propose(self, proposal: JobProposal) -> Call:
        """By the operator of the first party."""
        return self._write("propose", proposal.to_struct())

    def approve(self, job: str, site: str, specification: str) -> Call:
        """By the site's operator; `specification` is the digest of what the party read."""
        return self._write("approve", job, site, specification)

    def reject(self, job: str, site: str, reason: str) -> Call:
        return self._write("reject", job, site, _reason(reason))

    def start(self, job: str) -> Call:
        return self._write("start", job)

    def attest(self, job: str, site: str, result: str) -> Call:
        return self._write("attest", job, site, result)

    def fail(self, job: str, site: str, reason: str) -> Call:
        return self._write("fail", job, site, _reason(reason))

    def cancel(self, job: str, site: str, reason: str) -> Call:
        return self._write("cancel", job, site, _reason(reason))

    def expire(self, job: str) -> Call:
        return self._write("expire", job)


def reason_text(reason: str) -> str | None:
    """bytes32 (0x-hex) as the word it spells; as it is where it spells none; None for zero."""
    if reason == ZERO_ID:
        return None
    try:
        return unword(reason)
    except ValueError:
        return reason


def _reason(reason: str) -> str:
    """A word ("WorkerLost") or a digest, as bytes32."""
    return reason if reason.startswith("0x") and len(reason) == len(ZERO_ID) else word(reason)
