"""Heads of the sites' audit logs, each proved by the contract to continue the one before."""

from collections.abc import Sequence
from dataclasses import dataclass

from chain.calls import Block, Call
from chain.contract import Contract


@dataclass(frozen=True)
class Head:
    """The log of `size` entries had this root, anchored in block `at_block`.

    Size 0: nothing anchored.
    """

    size: int
    at_block: int
    root: str


class Anchors(Contract):
    artifact = "AuditAnchor"

    def head(self, site: str, *, block: Block | None = None) -> Head:
        """The newest head."""
        found = self._read("head", site, block=block)
        return Head(size=found["size"], at_block=found["atBlock"], root=found["root"])

    def head_at(self, site: str, size: int, *, block: Block | None = None) -> Head:
        """The head anchored at exactly this size; refused with AnchorUnknown."""
        found = self._read("headAt", site, size, block=block)
        return Head(size=found["size"], at_block=found["atBlock"], root=found["root"])

    def verify_inclusion(
        self,
        site: str,
        size: int,
        index: int,
        leaf_hash: str,
        proof: Sequence[str],
        *,
        block: Block | None = None,
    ) -> bool:
        """Whether the leaf stands at `index` of the log of `size` that the site anchored."""
        args = (site, size, index, leaf_hash, list(proof))
        return bool(self._read("verifyInclusion", *args, block=block))

    def anchor(self, site: str, size: int, root: str, proof: Sequence[str]) -> Call:
        """By the site's operator; `proof` is the consistency proof from the newest head, empty at
        first.
        """
        return self._write("anchor", site, size, root, list(proof))
