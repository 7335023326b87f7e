"""Heads of the sites' audit logs, each proved by the contract to continue the one before.

Other members cosign heads with "anchor" keys (EIP-712); the contract counts members, not keys.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from chain import typed_data
from chain.calls import Block, Call
from chain.contract import Contract

MAX_COSIGNATURES = 64
"""That one transaction takes."""

_DOMAIN = "FATE-Chain Checkpoint"
_FIELDS = {"logId": "bytes32", "size": "uint64", "root": "bytes32", "time": "uint64"}


class HeadState(StrEnum):
    """In the contract's order."""

    NONE = "NONE"
    PENDING = "PENDING"
    WITNESSED = "WITNESSED"
    UNWITNESSED = "UNWITNESSED"


class Verdict(StrEnum):
    """Why a cosignature counts or not; in the contract's order."""

    COUNTS = "COUNTS"
    FROM_THE_FUTURE = "FROM_THE_FUTURE"
    BAD_SIGNATURE = "BAD_SIGNATURE"
    NOT_A_COSIGNER = "NOT_A_COSIGNER"
    OWN_MEMBER = "OWN_MEMBER"
    COUNTED_ALREADY = "COUNTED_ALREADY"


_STATES = tuple(HeadState)
_VERDICTS = tuple(Verdict)


@dataclass(frozen=True)
class Head:
    """The log of `size` entries had this root, anchored in block `at_block` at `at_time` (Unix).

    `cosigners` members are counted for it. Size 0: nothing anchored.
    """

    size: int
    at_block: int
    root: str
    at_time: int = 0
    cosigners: int = 0


@dataclass(frozen=True)
class Cosignature:
    """What an "anchor" key signed of a head: `time` is the signer's word, in Unix seconds.

    `signature` is 0x-hex of the 65 bytes r, s, v of a `checkpoint_document`.
    """

    time: int
    signature: str

    def to_abi(self) -> dict[str, Any]:
        """As the contract takes it. Raises ValueError for what is no such signature."""
        r, vs = compact(self.signature)
        return {"time": self.time, "r": r, "vs": vs}


@dataclass(frozen=True)
class Witness:
    """The members counted for a head; each was in standing in the block that counted it."""

    count: int
    members: tuple[str, ...]


def checkpoint_document(
    chain_id: int, anchors: str, site: str, size: int, root: str, time: int
) -> dict[str, Any]:
    """What a site signs of its own head and a witness of another's: EIP-712, for this contract."""
    message = {"logId": site, "size": size, "root": root, "time": time}
    return typed_data.document(_DOMAIN, chain_id, anchors, "Checkpoint", _FIELDS, message)


def compact(signature: str) -> tuple[str, str]:
    """r and vs (EIP-2098) of 65 bytes r, s, v in 0x-hex; vs holds v in its highest bit.

    Raises ValueError unless it is 65 bytes, v 27 or 28 and s below 2^255: there is no other form.
    """
    raw = bytes.fromhex(signature.removeprefix("0x"))
    if len(raw) != 65 or raw[64] not in (27, 28) or raw[32] >= 0x80:
        raise ValueError(f"found {len(raw)} bytes; a signature is r, s, v with v 27 or 28, s low")
    vs = int.from_bytes(raw[32:64]) | (raw[64] - 27) << 255
    return "0x" + raw[:32].hex(), f"0x{vs:064x}"


class Anchors(Contract):
    artifact = "AuditAnchor"

    def head(self, site: str, *, block: Block | None = None) -> Head:
        """The newest head."""
        return _head(self._read("head", site, block=block))

    def head_at(self, site: str, size: int, *, block: Block | None = None) -> Head:
        """The head anchored at exactly this size; refused with AnchorUnknown."""
        return _head(self._read("headAt", site, size, block=block))

    def state_of(self, site: str, size: int, *, block: Block | None = None) -> HeadState:
        """Whether enough members cosigned; PENDING for ten minutes of block time."""
        return _STATES[int(self._read("stateOf", site, size, block=block))]

    def witness_of(self, site: str, size: int, *, block: Block | None = None) -> Witness:
        """Who is counted; nobody where nothing is anchored."""
        count, members = self._read("witnessOf", site, size, block=block)
        return Witness(int(count), tuple(members))

    def judge(
        self, site: str, size: int, cosignature: Cosignature, *, block: Block | None = None
    ) -> tuple[Verdict, str]:
        """Whether it counts now for the anchored head, and the account that signed.

        Refused with AnchorUnknown.
        """
        verdict, signer = self._read("judge", site, size, cosignature.to_abi(), block=block)
        return _VERDICTS[int(verdict)], signer

    def cosigners_needed(self, *, block: Block | None = None) -> int:
        return int(self._read("cosignersNeeded", block=block))

    def checkpoint_digest(
        self, site: str, size: int, root: str, time: int, *, block: Block | None = None
    ) -> str:
        """By the contract; `typed_data.digest` of `checkpoint_document` is the same."""
        found: str = self._read("checkpointDigest", site, size, root, time, block=block)
        return found

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

    def anchor(
        self,
        site: str,
        size: int,
        root: str,
        proof: Sequence[str],
        cosignatures: Sequence[Cosignature] = (),
    ) -> Call:
        """By the site's operator; `proof` is the consistency proof from the newest head, empty at
        first. A cosignature that does not count is passed over; at most `MAX_COSIGNATURES`.
        """
        given = [cosignature.to_abi() for cosignature in cosignatures]
        return self._write("anchor", site, size, root, list(proof), given)

    def cosign(self, site: str, size: int, cosignatures: Sequence[Cosignature]) -> Call:
        """By anyone, of an anchored head; refused with AnchorNothingCounted where none counts."""
        given = [cosignature.to_abi() for cosignature in cosignatures]
        return self._write("cosign", site, size, given)

    def forget_cosigners(self, member: str) -> Call:
        """By the authority, where another registry of sites or members is put into the book."""
        return self._write("forgetCosigners", member)


def _head(found: Any) -> Head:
    return Head(
        size=found["size"],
        at_block=found["atBlock"],
        root=found["root"],
        at_time=found["atTime"],
        cosigners=found["cosigners"],
    )
