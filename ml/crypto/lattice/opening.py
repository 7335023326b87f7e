"""Showing that a key is well formed by opening others like it: cut and choose.

A malformed public key reads a holder's secrets, and nothing in it shows that it is malformed.  So
the owner commits to many keys, all parties of the other side draw together which one is kept, and
the owner shows the seeds of all others: a key from a seed is well formed by construction.  One bad
key among m passes with probability 1/m, and the owner is caught otherwise (covert security).

Holders seal their part of the draw before they see the keys, and show it after: an owner in league
with one of them cannot choose.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from ml.crypto.errors import InvalidKey
from ml.crypto.lattice import randomness, sums
from ml.crypto.lattice.agreement import Agreement, SecretKey
from ml.crypto.lattice.ring import Residues


def committed(public: Residues) -> bytes:
    """The commitment to a key: a digest of its public half, which the key itself hides."""
    return committed_packed(sums.pack(public))


def committed_packed(public: NDArray[np.uint64]) -> bytes:
    """`committed` of a public half as it is on the wire."""
    return sha256(b"lattice key" + public.tobytes()).digest()


def seal(choice: bytes) -> bytes:
    """The commitment to a part of the draw (32 random bytes)."""
    return sha256(b"lattice choice" + choice).digest()


def commit(agreement: Agreement, batch: int, seeds: Sequence[bytes]) -> tuple[bytes, ...]:
    """The commitments to the keys of these seeds, the candidates of a batch."""
    return tuple(
        committed(SecretKey.of(seed, agreement.public_polynomial(batch, number)).public)
        for number, seed in enumerate(seeds)
    )


def drawn(choices: Sequence[bytes], count: int) -> int:
    """Which of ``count`` candidates is kept; nobody knows before all choices are shown."""
    return int.from_bytes(sha256(b"lattice draw" + b"".join(choices)).digest()) % count


def check_draw(choices: Sequence[bytes], sealed: Sequence[bytes]) -> None:
    """Raises `InvalidKey` if a choice is not what was sealed."""
    lengths = {len(choice) for choice in choices}
    if lengths != {randomness.SEED_BYTES} or [seal(c) for c in choices] != list(sealed):
        raise InvalidKey("a choice was shown that is not the one that was sealed")


def check_opened(
    agreement: Agreement,
    batch: int,
    commitments: Sequence[bytes],
    kept: int,
    seeds: Sequence[bytes],
) -> None:
    """Raises `InvalidKey` unless these are the seeds of all candidates but ``kept``, in order."""

    def known(seed: bytes, number: int) -> bytes:
        key = SecretKey.of(seed, agreement.public_polynomial(batch, number))
        return committed(key.public)

    check_seeds(commitments, kept, seeds, known)


def check_seeds(
    commitments: Sequence[bytes],
    kept: int,
    seeds: Sequence[bytes],
    commitment_of: Callable[[bytes, int], bytes],
) -> None:
    """`check_opened` for keys of any kind: of a seed and the number of a candidate."""
    others = [number for number in range(len(commitments)) if number != kept]
    if len(seeds) != len(others):
        raise InvalidKey(f"{len(seeds)} keys were opened; needed are {len(others)}")
    for number, seed in zip(others, seeds, strict=True):
        if commitment_of(seed, number) != commitments[number]:
            raise InvalidKey("a key is not the one of the seed that was shown for it")
