"""Oblivious transfer of random keys: one party gets two keys, the other one of them, as it chose.

The offerer has two random keys for each transfer and does not learn which of them the chooser has;
the chooser has the key of its choice and learns nothing of the other.  Keys are
`prg.KEY_BYTES` long.

Assumption
    Computational Diffie-Hellman in ristretto255, with SHA-256 as a random oracle.  Parties follow
    the protocol (semi-honest); points are checked to be canonical and not the identity.  Offerer
    and chooser use an offer once.
Source
    Chou, Orlandi, "The Simplest Protocol for Oblivious Transfer", LATINCRYPT 2015, fig. 1, as
    random OT (the keys are used, nothing is encrypted under them).  The offer, the chosen point,
    the number of the transfer and a session are hashed into each key (Doerner, Kondo, Lee,
    shelat 2018, for why).

With G the base point::

    offerer -> chooser   A = aG
    chooser -> offerer   B_i = b_i G + c_i A      c_i the choice
    offerer              keys H(a B_i), H(a (B_i - A))
    chooser              key  H(b_i A)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from ml.crypto import ristretto255
from ml.crypto.errors import InvalidPoint
from ml.crypto.prg import KEY_BYTES

_DOMAIN = b"fatechain random ot v1"


@dataclass(frozen=True, repr=False)
class Offer:
    """The offerer's secret scalar, and the point that it sends."""

    scalar: bytes
    point: bytes

    @classmethod
    def new(cls) -> Offer:
        """For one batch of transfers with one chooser."""
        scalar = ristretto255.new_scalar()
        return cls(scalar, ristretto255.multiply_base(scalar))

    def keys(self, chosen: Sequence[bytes], session: bytes) -> list[tuple[bytes, bytes]]:
        """Both keys of each transfer.  Raises `InvalidPoint` for bytes that are no point."""
        shift = ristretto255.multiply(self.scalar, self.point)
        pairs = []
        for number, point in enumerate(chosen):
            _check(point)
            zero = ristretto255.multiply(self.scalar, point)
            one = ristretto255.subtract(zero, shift)
            common = (session, number, self.point, point)
            pairs.append((_key(*common, zero), _key(*common, one)))
        return pairs


@dataclass(frozen=True, repr=False)
class Choice:
    """The points that the chooser sends, and the keys that it has."""

    points: tuple[bytes, ...]
    keys: tuple[bytes, ...]

    @classmethod
    def of(cls, offer: bytes, bits: Sequence[bool], session: bytes) -> Choice:
        """Choose by ``bits`` from the offerer's point; raises `InvalidPoint`."""
        _check(offer)
        points, keys = [], []
        for number, bit in enumerate(bits):
            scalar = ristretto255.new_scalar()
            blind = ristretto255.multiply_base(scalar)
            # Both sums are computed, so that time tells nothing of the choice.
            point = (blind, ristretto255.add(blind, offer))[bit]
            points.append(point)
            shared = ristretto255.multiply(scalar, offer)
            keys.append(_key(session, number, offer, point, shared))
        return cls(tuple(points), tuple(keys))


def _check(point: bytes) -> None:
    if not ristretto255.is_valid(point):
        raise InvalidPoint


def _key(session: bytes, number: int, offer: bytes, point: bytes, shared: bytes) -> bytes:
    head = _DOMAIN + len(session).to_bytes(4, "big") + session + number.to_bytes(4, "big")
    return sha256(head + offer + point + shared).digest()[:KEY_BYTES]
