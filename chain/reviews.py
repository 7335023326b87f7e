"""Who read the code of an algorithm before the consortium lets it run."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chain import typed_data
from chain.calls import Block, Call
from chain.contract import Contract

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

_DOMAIN = "FATE-Chain Reviews"
_REVIEW = {
    "codeDigest": "bytes32",
    "person": "address",
    "approves": "bool",
    "report": "bytes32",
    "nonce": "uint256",
}


@dataclass(frozen=True)
class Submission:
    """Code that a member, its author, put up for review."""

    code_digest: str
    author: str
    name: str
    from_block: int


@dataclass(frozen=True)
class Opinion:
    """A person's last word on code; `member` is whom the person spoke for then.

    `report` is the SHA-256 of the report, which the members have elsewhere.
    """

    person: str
    member: str
    approves: bool
    report: str
    at_block: int


class Reviews(Contract):
    artifact = "Reviews"

    def submission(self, code_digest: str, *, block: Block | None = None) -> Submission:
        """Refused with ReviewsNotSubmitted."""
        found = self._read("submission", code_digest, block=block)
        return Submission(code_digest, found["author"], found["name"], found["fromBlock"])

    def submissions(self, *, block: Block | None = None) -> tuple[str, ...]:
        """Code digests, oldest first."""
        return self._read_all("submissionCount", "submissions", block)

    def reviews_of(self, code_digest: str, *, block: Block | None = None) -> tuple[Opinion, ...]:
        """The last word of each person, also of people who do not count any more."""
        return tuple(
            Opinion(
                person=found["person"],
                member=found["member"],
                approves=found["approves"],
                report=found["report"],
                at_block=found["atBlock"],
            )
            for found in self._read("reviewsOf", code_digest, block=block)
        )

    def digest(
        self,
        code_digest: str,
        person: str,
        approves: bool,
        report: str,
        *,
        block: Block | None = None,
    ) -> str:
        """The EIP-712 digest of what the person signs next, by the contract."""
        given = _given(code_digest, person, approves, report)
        found: str = self._read("digest", given, block=block)
        return found

    def require_reviewed(self, code_digest: str, *, block: Block | None = None) -> None:
        """Refused with ReviewsNotSubmitted, ReviewsTooFew."""
        self._read("requireReviewed", code_digest, block=block)

    def member_of_person(self, person: str, *, block: Block | None = None) -> str:
        """The zero id where the person speaks for nobody."""
        found: str = self._read("memberOfPerson", person, block=block)
        return found

    def people(self, member: str, *, block: Block | None = None) -> tuple[str, ...]:
        """Who speaks for the member."""
        return tuple(self._read("people", member, block=block))

    def typed_review(
        self,
        code_digest: str,
        person: str,
        approves: bool,
        report: str,
        *,
        block: Block | None = None,
    ) -> dict[str, Any]:
        """The EIP-712 document that the person signs, with the next nonce, as wallets take it."""
        nonce = self._read("nonces", person, block=block)
        message = {**_given(code_digest, person, approves, report), "nonce": nonce}
        chain_id, at = self.client.chain_id, self.address
        return typed_data.document(_DOMAIN, chain_id, at, "Review", _REVIEW, message)

    def sign_review(
        self, account: "LocalAccount", code_digest: str, approves: bool, report: str
    ) -> str:
        """0x-hex of 65 bytes."""
        document = self.typed_review(code_digest, str(account.address), approves, report)
        return typed_data.sign(document, account)

    def submit(self, code_digest: str, name: str) -> Call:
        """By the account of an active member, which is the code's author from then on."""
        return self._write("submit", code_digest, name)

    def appoint(self, person: str) -> Call:
        """By the account of the member that the person shall speak for."""
        return self._write("appoint", person)

    def dismiss(self, person: str) -> Call:
        """By the account of the member, or by the person."""
        return self._write("dismiss", person)

    def review(
        self, code_digest: str, person: str, approves: bool, report: str, signature: str
    ) -> Call:
        """By anyone who holds the person's signature."""
        given = _given(code_digest, person, approves, report)
        return self._write("review", given, signature)


def _given(code_digest: str, person: str, approves: bool, report: str) -> dict[str, Any]:
    return {"codeDigest": code_digest, "person": person, "approves": approves, "report": report}


def check_review(review: dict[str, Any]) -> None:
    """Raises ValueError for what is no review, or would have something else signed than it says."""
    typed_data.require(review, _DOMAIN, "Review", _REVIEW)
