"""The address book and the rules of a consortium."""

from dataclasses import dataclass

from chain.calls import Block, Call
from chain.contract import Contract


@dataclass(frozen=True)
class Algorithm:
    """`from_block` 0: never allowed; `until_block` 0: it stands."""

    name: str
    from_block: int
    until_block: int


class Consortium(Contract):
    artifact = "Consortium"

    def authority(self, *, block: Block | None = None) -> str:
        """The account that may change the consortium."""
        found: str = self._read("authority", block=block)
        return found

    def is_founded(self, *, block: Block | None = None) -> bool:
        """Whether the members govern, or once did: code needs reviews from then on."""
        return bool(self._read("isFounded", block=block))

    def contract_of(self, name: str, *, block: Block | None = None) -> str:
        """Address; refused with ConsortiumUnknownContract."""
        found: str = self._read("contractOf", name, block=block)
        return found

    def find_contract(self, name: str, *, block: Block | None = None) -> str | None:
        """Address; None where the book has no such name."""
        found: str = self._read("findContract", name, block=block)
        return None if int(found, 16) == 0 else found

    def constitution(self, *, block: Block | None = None) -> str:
        found: str = self._read("constitution", block=block)
        return found

    def is_algorithm_allowed(self, code_digest: str, *, block: Block | None = None) -> bool:
        return bool(self._read("isAlgorithmAllowed", code_digest, block=block))

    def algorithm(self, code_digest: str, *, block: Block | None = None) -> Algorithm:
        return Algorithm(*self._read("algorithm", code_digest, block=block))

    def is_purpose_allowed(self, purpose: str, *, block: Block | None = None) -> bool:
        return bool(self._read("isPurposeAllowed", purpose, block=block))

    def is_scheme_admitted(self, scheme: str, *, block: Block | None = None) -> bool:
        return bool(self._read("isSchemeAdmitted", scheme, block=block))

    def minimum(self, name: str, *, block: Block | None = None) -> int:
        """0 where none was set."""
        return int(self._read("minimum", name, block=block))

    def require_authority(self, caller: str, *, block: Block | None = None) -> None:
        self._read("requireAuthority", caller, block=block)

    def move_authority(self, to: str) -> Call:
        return self._write("moveAuthority", to)

    def set_contract(self, name: str, at: str) -> Call:
        return self._write("setContract", name, at)

    def set_constitution(self, digest: str) -> Call:
        return self._write("setConstitution", digest)

    def allow_algorithm(self, code_digest: str, name: str) -> Call:
        return self._write("allowAlgorithm", code_digest, name)

    def forbid_algorithm(self, code_digest: str) -> Call:
        return self._write("forbidAlgorithm", code_digest)

    def admit_scheme(self, scheme: str) -> Call:
        return self._write("admitScheme", scheme)

    def withdraw_scheme(self, scheme: str) -> Call:
        return self._write("withdrawScheme", scheme)

    def allow_purpose(self, purpose: str) -> Call:
        return self._write("allowPurpose", purpose)

    def withdraw_purpose(self, purpose: str) -> Call:
        return self._write("withdrawPurpose", purpose)

    def upgrade(self, name: str, implementation: str, code_hash: str) -> Call:
        """`code_hash` is the keccak-256 of the code at `implementation`, immutables filled in."""
        return self._write("upgrade", name, implementation, code_hash)

    def set_minimum(self, name: str, value: int) -> Call:
        return self._write("setMinimum", name, value)
