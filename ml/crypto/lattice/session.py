"""What an owner and a holder of whole numbers share for some products: a name and a public key.

The key is the owner's, fresh for every session and in memory only.  It comes from a seed, so that
it can be one of many candidates of which all others are opened (`ml.crypto.lattice.opening`): a
malformed key would read a holder's secrets, and nothing in it shows that it is malformed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from ml import wire
from ml.crypto.lattice import opening, randomness, wide, wide_noise, wide_values
from ml.crypto.lattice.wide import DEGREE, LIMBS, Wide
from ml.errors import ProtocolViolation
from ml.wire import Shape

_ONE = (1, LIMBS, DEGREE)


def session_of(purpose: str, *nonces: bytes) -> bytes:
    """The name of a session, from a nonce of each; raises `ProtocolViolation`."""
    if len(set(nonces)) < 2 or any(len(nonce) != randomness.SEED_BYTES for nonce in nonces):
        raise ProtocolViolation("nonces of other lengths than 32 bytes, or two alike")
    return randomness.derive(b"".join(nonces), "integer session " + purpose)


def check_session(session: bytes) -> bytes:
    """``session``; raises `ProtocolViolation` for what is no name of one."""
    if len(session) != randomness.SEED_BYTES:
        raise ProtocolViolation(f"a session of {len(session)} bytes; it has 32")
    return session


@wire.register
@dataclass(frozen=True, eq=False)
class IntegerKey:
    """The public half of the key of a session; the other one is expanded."""

    candidate: int  # which of those that were committed to; 0 if it is the only one
    public: Annotated[NDArray[np.uint64], Shape("words")]


@dataclass(frozen=True, eq=False)
class SessionKey:
    """k and the public half that goes with it; never stored, never sent."""

    k: Wide  # (1, 3, n), transformed, Montgomery form
    public: Wide  # -a k + e, (3, n), transformed

    def __repr__(self) -> str:
        return "SessionKey(...)"

    @classmethod
    def of(cls, session: bytes, seed: bytes, candidate: int = 0) -> SessionKey:
        """The key that a seed stands for: ternary k and binomial e by construction."""
        k = wide_noise.ternary_polynomial(randomness.derive(seed, "integer k")).reshape(_ONE)
        wide.transform(k, montgomery=True)
        e = wide_noise.noise_polynomial(randomness.derive(seed, "integer e"))
        wide.transform(e.reshape(_ONE))
        return cls(k, _under(k, e, public_polynomial(session, candidate)))

    def under(self, message: Wide, a: Wide) -> Wide:
        """message - a k, all transformed (3, n)."""
        return _under(self.k, message, a)


def _under(k: Wide, message: Wide, a: Wide) -> Wide:
    product = wide.add_products(k, a.reshape(_ONE), np.zeros_like(message))
    return wide.add(message, wide.negate(product))


def public_polynomial(session: bytes, candidate: int) -> Wide:
    """The uniform half of a key of a session; both sides expand it."""
    return wide_noise.uniform(randomness.derive(session, "integer public key", candidate))


def commitment(key: IntegerKey) -> bytes:
    """To a key, before it is sent."""
    return opening.committed_packed(key.public)


def commit(session: bytes, seeds: Sequence[bytes]) -> tuple[bytes, ...]:
    """The commitments to the keys of these seeds, the candidates of a session."""
    return tuple(_committed(session, seed, number) for number, seed in enumerate(seeds))


def check_opened(
    session: bytes, commitments: Sequence[bytes], kept: int, seeds: Sequence[bytes]
) -> None:
    """Raises `InvalidKey` unless these are the seeds of all candidates but ``kept``, in order."""
    opening.check_seeds(
        commitments, kept, seeds, lambda seed, number: _committed(session, seed, number)
    )


def _committed(session: bytes, seed: bytes, number: int) -> bytes:
    return opening.committed_packed(wide_values.pack(SessionKey.of(session, seed, number).public))
