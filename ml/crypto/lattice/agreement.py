"""What both sides of a lattice product agree on before the first vector, and the keys of a batch.

Every party draws a nonce; the matrix seed is a digest over all nonces, the ids of the rows in
their order and the parameters, so parties who mean other rows or other parameters find out before
anything is computed with it, and nobody chooses it.  All holders that receive the same vectors
share one seed: noise under two seeds would solve for the key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np

from ml.crypto.lattice import randomness, ring
from ml.crypto.lattice.parameters import Parameters
from ml.crypto.lattice.ring import Residues
from ml.errors import ProtocolViolation

VERSION = 1


def ids_digest(ids: Sequence[str]) -> bytes:
    """SHA-256 over the ids in their order."""
    digest = sha256()
    for one in ids:
        encoded = one.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(4, "big") + encoded)
    return digest.digest()


@dataclass(frozen=True)
class Agreement:
    """The same at all parties of one product."""

    parameters: Parameters
    fields: int  # of a row
    nonces: tuple[bytes, ...]  # the owner's first, then the holders' in the order of the job
    ids: bytes  # `ids_digest`

    def __post_init__(self) -> None:
        short = any(len(nonce) != randomness.SEED_BYTES for nonce in self.nonces)
        if short or len(set(self.nonces)) < len(self.nonces):
            raise ProtocolViolation("nonces of other lengths than 32 bytes, or two alike")

    @property
    def digest(self) -> bytes:
        """SHA-256 over everything that must be equal; what parties compare."""
        known = self.parameters
        numbers = [VERSION, known.rows, known.bound, known.delta, known.flood_width, self.fields]
        numbers += [ring.DEGREE, ring.MODULUS]
        text = b"".join(n.to_bytes(8, "big") for n in numbers)
        return sha256(b"lattice agreement" + text + self.ids + b"".join(self.nonces)).digest()

    @property
    def matrix_key(self) -> bytes:
        """Expands to the polynomial of every row."""
        return randomness.derive(self.digest, "matrix")

    def public_polynomial(self, batch: int, candidate: int = 0) -> Residues:
        """The uniform half of a public key of a batch, (n,); both sides expand it."""
        return randomness.polynomial(randomness.derive(self.digest, "public key", batch, candidate))


@dataclass(frozen=True, eq=False)
class SecretKey:
    """k and the public half that goes with it, transformed; never stored, never sent."""

    k: Residues
    public: Residues  # -a k + e

    def __repr__(self) -> str:
        return "SecretKey(...)"

    @classmethod
    def of(cls, seed: bytes, a: Residues) -> SecretKey:
        """The key that a seed stands for: ternary k and binomial e by construction."""
        k_seed, e_seed = (randomness.derive(seed, purpose) for purpose in ("k", "e"))
        k = ring.transform(randomness.ternary_residues(k_seed, ring.DEGREE).reshape(1, -1))[0]
        e = ring.transform(randomness.binomial_residues(e_seed, ring.DEGREE).reshape(1, -1))
        product = ring.Factor(k).times(a.reshape(1, -1))
        return cls(k, np.ascontiguousarray(ring.subtract(e, product)[0]))
