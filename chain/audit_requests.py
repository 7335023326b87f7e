"""The right to audit: what was asked of a site, what it answered, and that it was silent."""

from dataclasses import dataclass
from enum import StrEnum

from chain.calls import Block, Call
from chain.contract import Contract
from chain.ids import ZERO_ID, derive_id


class RequestState(StrEnum):
    """In the contract's order; SILENT: not answered by the deadline."""

    NONE = "NONE"
    OPEN = "OPEN"
    SILENT = "SILENT"
    ANSWERED = "ANSWERED"
    ANSWERED_LATE = "ANSWERED_LATE"


_STATES = tuple(RequestState)


@dataclass(frozen=True)
class AuditRequest:
    """`digest` is of the request, `pack` of what answers it (None: not yet), both SHA-256.

    `auditor` is the site that asked, None where the account of the member `by` did. `until` and
    `answered_time` are block times, the other two blocks; 0: not answered.
    """

    id: str
    site: str
    by: str
    auditor: str | None
    kind: str
    digest: str
    pack: str | None
    filed_at: int
    until: int
    answered_at: int
    answered_time: int


def audit_request_id(chain_id: int, requests: str, account: str, nonce: int) -> str:
    """The id that `file(…, nonce)` by this account will give."""
    return derive_id(chain_id, requests, account, nonce)


class AuditRequests(Contract):
    artifact = "AuditRequests"

    def request(self, request: str, *, block: Block | None = None) -> AuditRequest:
        """Refused with AuditRequestUnknown."""
        found = self._read("request", request, block=block)
        return AuditRequest(
            id=request,
            site=found["site"],
            by=found["by"],
            auditor=_set(found["auditor"]),
            kind=found["kind"],
            digest=found["digest"],
            pack=_set(found["pack"]),
            filed_at=found["filedAt"],
            until=found["until"],
            answered_at=found["answeredAt"],
            answered_time=found["answeredTime"],
        )

    def state(self, request: str, *, block: Block | None = None) -> RequestState:
        return _STATES[int(self._read("state", request, block=block))]

    def answer_seconds(self, *, block: Block | None = None) -> int:
        return int(self._read("answerSeconds", block=block))

    def requests(self, *, block: Block | None = None) -> tuple[str, ...]:
        return self._read_all("requestCount", "requests", block)

    def file(self, site: str, kind: str, digest: str, nonce: int) -> Call:
        """By a member's account, or the operator of a site with the auditor's role.

        `kind` is a word, `digest` that of a text which the two sides have.
        """
        return self._write("file", site, kind, digest, nonce)

    def answer(self, request: str, pack: str) -> Call:
        """Once, by the site's operator; a late answer counts as late."""
        return self._write("answer", request, pack)


def _set(value: str) -> str | None:
    return None if value == ZERO_ID else value
