"""What issuers named by the consortium vouch for: an audit passed, a certificate held."""

from dataclasses import dataclass

from chain.calls import Block, Call
from chain.contract import Contract


@dataclass(frozen=True)
class IssuerWord:
    """One issuer's word on one subject and kind, still named or not.

    `digest` is that of the statement, `until` block time in Unix seconds, exclusive; `revoked_at` a
    block, 0: not revoked.
    """

    subject: str
    kind: str
    issuer: str
    digest: str
    from_block: int
    until: int
    revoked_at: int


class Attestations(Contract):
    artifact = "Attestations"

    def is_attested(self, subject: str, kind: str, *, block: Block | None = None) -> bool:
        """Whether an issuer that is still named said so, unexpired and unrevoked."""
        return bool(self._read("isAttested", subject, kind, block=block))

    def require_all(self, member: str, *, block: Block | None = None) -> None:
        """Refused with AttestationMissing, naming the first required kind that is missing."""
        self._read("requireAll", member, block=block)

    def attestation(
        self, subject: str, kind: str, issuer: str, *, block: Block | None = None
    ) -> IssuerWord | None:
        found = self._read("attestation", subject, kind, issuer, block=block)
        if not found["fromBlock"]:
            return None
        return IssuerWord(
            subject=subject,
            kind=kind,
            issuer=issuer,
            digest=found["digest"],
            from_block=found["fromBlock"],
            until=found["until"],
            revoked_at=found["revokedAt"],
        )

    def issuers(self, kind: str, *, block: Block | None = None) -> tuple[str, ...]:
        return tuple(self._read("issuers", kind, block=block))

    def required_kinds(self, *, block: Block | None = None) -> tuple[str, ...]:
        """What every party to a job needs."""
        return tuple(self._read("requiredKinds", block=block))

    def attest(self, subject: str, kind: str, digest: str, until: int) -> Call:
        """By an issuer named for the kind; of itself nobody."""
        return self._write("attest", subject, kind, digest, until)

    def revoke(self, subject: str, kind: str) -> Call:
        """By the issuer."""
        return self._write("revoke", subject, kind)

    def name_issuer(self, kind: str, issuer: str) -> Call:
        """By the authority, as the two below."""
        return self._write("nameIssuer", kind, issuer)

    def remove_issuer(self, kind: str, issuer: str) -> Call:
        return self._write("removeIssuer", kind, issuer)

    def set_required(self, kind: str, required: bool) -> Call:
        return self._write("setRequired", kind, required)
