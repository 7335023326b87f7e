"""RSA blind signatures: the signer signs what it cannot read, and cannot recognise afterwards.

The variant RSABSSA-SHA384-PSSZERO-Deterministic of RFC 9474: a message has exactly one signature,
so its hash is a pseudo-random function of which one party has the key and the other the input.

Assumption
    One-more RSA, with SHA-384 as a random oracle.  The signer makes its key as it should
    (semi-honest): for one whose exponent divides the order of the group, blinding would not hide
    all of a message.  Whoever finalizes checks the signature, so a signer cannot answer with
    anything else unnoticed.

With s the private exponent, for a message m encoded as M::

    asker  -> signer   b = M r^e mod n      r uniform, fresh for each message
    signer -> asker    z = b^s mod n
    asker              M^s = z / r, and (M^s)^e = M
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha384
from math import gcd

import gmpy2
from cryptography.hazmat.primitives.asymmetric import rsa
from gmpy2 import mpz

from ml.crypto.errors import InvalidKey, InvalidSignature

MIN_BITS = 2048  # 112 bits of security (NIST SP 800-57, table 2)
MAX_BITS = 8192
EXPONENT = 65537
_HASH_BYTES = 48
_SMALL_PRIMES = gmpy2.primorial(2**16)  # their product


@dataclass(frozen=True)
class Blinded:
    """What goes to the signer, and what only the asker has."""

    value: bytes
    encoded: mpz
    inverse: mpz

    def __repr__(self) -> str:
        return "Blinded(...)"


@dataclass(frozen=True)
class PublicKey:
    """A modulus; the exponent is always 65537."""

    n: int

    def __post_init__(self) -> None:
        bits = self.n.bit_length()
        if not MIN_BITS <= bits <= MAX_BITS or self.n % 2 == 0:
            raise InvalidKey(f"an RSA modulus of {bits} bits; allowed are {MIN_BITS} to {MAX_BITS}")
        if gmpy2.gcd(self.n, _SMALL_PRIMES) != 1:
            raise InvalidKey("an RSA modulus with a factor below 2^16")

    @property
    def width(self) -> int:
        """Bytes of a signature."""
        return (self.n.bit_length() + 7) // 8

    def encode(self, message: bytes) -> mpz:
        """EMSA-PSS of RFC 8017, § 9.1.1, without salt: a hash as long as the modulus."""
        bits = self.n.bit_length() - 1
        length = (bits + 7) // 8
        digest = sha384(bytes(8) + sha384(message).digest()).digest()
        room = length - _HASH_BYTES - 1
        block = (b"\x01".rjust(room, b"\0")) if room > 0 else b""
        masked = bytearray(a ^ b for a, b in zip(block, _stretched(digest, room), strict=True))
        masked[0] &= 0xFF >> (8 * length - bits)
        return mpz(int.from_bytes(bytes(masked) + digest + b"\xbc", "big"))

    def blind(self, message: bytes) -> Blinded:
        """A message for the signer (RFC 9474, § 4.2)."""
        while True:
            inverse = secrets.randbelow(self.n)
            if gcd(inverse, self.n) == 1:
                return self._blind(message, mpz(inverse))

    def _blind(self, message: bytes, inverse: mpz) -> Blinded:
        encoded = self.encode(message)
        if gmpy2.gcd(encoded, self.n) != 1:
            raise InvalidKey("a message that has a factor of the modulus in common")
        factor = gmpy2.powmod(gmpy2.invert(inverse, self.n), EXPONENT, self.n)
        return Blinded(self._bytes(encoded * factor % self.n), encoded, inverse)

    def finalize(self, blinded: Blinded, answer: bytes) -> bytes:
        """The signature, out of what the signer answered (RFC 9474, § 4.4).

        Raises `InvalidSignature` for anything but the right answer.
        """
        signature = self._number(answer) * blinded.inverse % self.n
        if gmpy2.powmod(signature, EXPONENT, self.n) != blinded.encoded:
            raise InvalidSignature
        return self._bytes(signature)

    def _bytes(self, value: mpz) -> bytes:
        return int(value).to_bytes(self.width, "big")

    def _number(self, data: bytes) -> mpz:
        value = mpz(int.from_bytes(data, "big"))
        if len(data) != self.width or value >= self.n:
            raise InvalidSignature
        return value


@dataclass(frozen=True, repr=False)
class PrivateKey:
    """Two primes."""

    p: int
    q: int

    @classmethod
    def new(cls, bits: int = MIN_BITS) -> PrivateKey:
        """A fresh key; raises `InvalidKey` for a length that is not allowed."""
        if not MIN_BITS <= bits <= MAX_BITS:
            raise InvalidKey(f"an RSA modulus of {bits} bits; allowed are {MIN_BITS} to {MAX_BITS}")
        numbers = rsa.generate_private_key(EXPONENT, bits).private_numbers()
        return cls(numbers.p, numbers.q)

    @cached_property
    def public(self) -> PublicKey:
        """What everybody may know."""
        return PublicKey(self.p * self.q)

    @cached_property
    def _exponents(self) -> tuple[mpz, mpz, mpz]:
        return (
            gmpy2.invert(EXPONENT, self.p - 1),
            gmpy2.invert(EXPONENT, self.q - 1),
            gmpy2.invert(self.q, self.p),
        )

    def answer(self, blinded: bytes) -> bytes:
        """The signature of a blinded message (RFC 9474, § 4.3).

        Raises `InvalidSignature` for bytes that are no residue.
        """
        value = self.public._number(blinded)
        return self.public._bytes(self._power(value))

    def sign(self, message: bytes) -> bytes:
        """The signature of a message of our own: the same that an asker would get."""
        return self.public._bytes(self._power(self.public.encode(message)))

    def _power(self, value: mpz) -> mpz:
        at_p, at_q, q_inverse = self._exponents
        a = gmpy2.powmod_sec(value % self.p, at_p, self.p)
        b = gmpy2.powmod_sec(value % self.q, at_q, self.q)
        result = b + self.q * ((a - b) * q_inverse % self.p)
        # A fault in one half would give a factor of the modulus away (RFC 9474, § 4.3).
        if gmpy2.powmod(result, EXPONENT, self.public.n) != value:
            raise InvalidSignature
        return result


def _stretched(seed: bytes, length: int) -> bytes:
    """MGF1 with SHA-384 (RFC 8017, § B.2.1)."""
    count = -(-length // _HASH_BYTES)
    return b"".join(sha384(seed + k.to_bytes(4, "big")).digest() for k in range(count))[:length]
