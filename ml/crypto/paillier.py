"""Paillier's additive encryption: keys by `phe`, arithmetic by `gmpy2`.

Scenario
    The owner of a key encrypts whole numbers below n; who has the public key adds them, multiplies
    them by constants and re-randomises what it returns.  [[a]]·[[b]] = [[a + b]],
    [[a]]^k = [[k·a]].
Security
    Semantic security under the decisional composite residuosity assumption.  Passive parties: a
    ciphertext can be changed by anybody, so integrity is the transport's business.
Choices
    *Encryption by the owner* is (1 + m·n)·r^n mod n² where r^n is drawn by fixed-base tables
    modulo p² and q² and joined by the Chinese remainder theorem: 2·(|p| + 64)/8 products of
    half-size numbers instead of one full exponentiation.  The idea of a fixed base is Damgård,
    Jurik and Nielsen's; they publish one base and draw an exponent of |n|/2 bits.  We publish no
    base and draw independent exponents of |p| + 64 bits on both sides, so that r^n is within 2^-64
    of uniform on the group the bases generate: no assumption on short exponents is needed.
    *Re-randomisation* multiplies by r^n with r uniform in Z_n*, in full.  It has to hide from the
    OWNER of the key, who knows p and q and every r that went in; against that reader a short
    exponent hides only as well as logarithms modulo p are hard, which is not hard for a p
    that the owner chose badly.  A full exponent hides perfectly.
Source
    Paillier, EUROCRYPT 1999, scheme 1 (with g = n + 1) and § 7 (decryption modulo p and q);
    Damgård, Jurik, Nielsen: A generalization of Paillier's public-key system with applications to
    electronic voting, Int. J. Information Security 9(6), 2010.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from math import gcd

import gmpy2
import numpy as np
from gmpy2 import mpz
from numpy.typing import NDArray

from ml import wire
from ml.crypto.errors import InvalidCiphertext, InvalidKey, WeakKey

MIN_KEY_BITS = 2048  # about 112 bits of security (NIST SP 800-57 part 1, table 2)
KEY_BITS = (2048, 3072, 4096)  # what we offer; 3072 is about 128 bits of security
SMALL_PRIMES = 2**16  # factors below this are looked for in a key

_DIGIT_BITS = 8  # of a fixed-base table: a digit is one random byte
_SPARE_BITS = 64  # by which an exponent is longer than the order of its base


def check_key_bits(bits: int) -> None:
    """Raises `WeakKey` below `MIN_KEY_BITS` and `InvalidKey` for a length we do not offer."""
    if bits < MIN_KEY_BITS:
        raise WeakKey(bits, MIN_KEY_BITS)
    if bits not in KEY_BITS:
        raise InvalidKey(f"a key of {bits} bits; offered are {', '.join(map(str, KEY_BITS))}")


@wire.register
@dataclass(frozen=True)
class PublicKey:
    """The modulus n = p·q."""

    n: int

    def check(self, bits: int) -> None:
        """Raises `WeakKey` or `InvalidKey` unless n may be a key of exactly ``bits`` bits.

        That n has two large prime factors cannot be seen from outside; who chooses it otherwise
        harms its own secrets first.
        """
        check_key_bits(bits)
        found = max(self.n, 0).bit_length()
        if found < bits:
            raise WeakKey(found, bits)
        if found > bits:
            raise InvalidKey(f"the modulus has {found} bits; agreed were {bits}")
        if gmpy2.gcd(self.n, _small_primorial()) != 1:
            raise InvalidKey("the modulus has a small prime factor; generate a new key")
        if gmpy2.is_power(self.n):
            raise InvalidKey("the modulus is a power of one number; generate a new key")
        if gmpy2.is_prime(self.n, 1):
            raise InvalidKey("the modulus is a prime; generate a new key")

    @property
    def bits(self) -> int:
        """Length of n."""
        return self.n.bit_length()

    @cached_property
    def n_squared(self) -> mpz:
        """n², the modulus of ciphertexts."""
        return mpz(self.n) ** 2

    @property
    def width(self) -> int:
        """Bytes of one ciphertext, whatever its value."""
        return (2 * self.bits + 7) // 8

    def add(self, a: mpz, b: mpz) -> mpz:
        """[[a + b]]."""
        return a * b % self.n_squared

    def scale(self, a: mpz, k: int) -> mpz:
        """[[k·a]]."""
        return gmpy2.powmod(a, k, self.n_squared)

    def rerandomise(self, c: mpz) -> mpz:
        """Another ciphertext of the same number, uniform among all of them even to the owner."""
        return c * gmpy2.powmod(_random_unit(self.n), self.n, self.n_squared) % self.n_squared

    def encrypt(self, m: int) -> mpz:
        """[[m]] as anybody can make it, by one full exponentiation; 0 <= m < n."""
        return self.rerandomise((1 + self._checked(m) * self.n) % self.n_squared)

    def _checked(self, m: int) -> mpz:
        if not 0 <= m < self.n:
            raise ValueError("a plaintext must be at least 0 and below n")
        return mpz(m)

    def check_ciphertexts(self, ciphertexts: Sequence[mpz]) -> None:
        """Raises `InvalidCiphertext` unless each is above 0, below n² and prime to n.

        One greatest common divisor with the product serves for all.
        """
        n, n_squared, product = mpz(self.n), self.n_squared, mpz(1)
        for i, c in enumerate(ciphertexts):
            if not 0 < c < n_squared:
                raise InvalidCiphertext(f"ciphertext {i} is not between 0 and n²")
            product = product * c % n
        if gmpy2.gcd(product, n) != 1:
            raise InvalidCiphertext("a ciphertext shares a factor with n")

    def to_bytes(self, ciphertexts: Iterable[mpz]) -> NDArray[np.uint8]:
        """Ciphertexts as rows of `width` big-endian bytes; shape (m, width)."""
        data = b"".join(int(c).to_bytes(self.width, "big") for c in ciphertexts)
        return np.frombuffer(data, np.uint8).reshape(-1, self.width)

    def from_bytes(self, rows: NDArray[np.uint8]) -> list[mpz]:
        """The ciphertexts of `to_bytes`, unchecked; raises `InvalidCiphertext` for other widths."""
        if rows.ndim != 2 or rows.shape[1] != self.width:
            raise InvalidCiphertext(f"rows of shape {rows.shape}; needed are {self.width} bytes")
        raw, width = rows.tobytes(), self.width
        return [mpz(int.from_bytes(raw[i : i + width], "big")) for i in range(0, len(raw), width)]


@dataclass(frozen=True)
class PrivateKey:
    """The primes.  They never appear in a text."""

    p: int = field(repr=False)
    q: int = field(repr=False)

    @cached_property
    def public(self) -> PublicKey:
        """The key to give away."""
        return PublicKey(self.p * self.q)

    def decrypt(self, c: mpz) -> int:
        """The number in a valid ciphertext, 0 <= m < n."""
        mp, mq = self._half(c, mpz(self.p)), self._half(c, mpz(self.q))
        p, q = self.p, self.q
        return int(mp + p * ((mq - mp) * gmpy2.invert(p, q) % q))

    def _half(self, c: mpz, p: mpz) -> mpz:
        """m mod p: L(c^(p-1) mod p²) · L((1 + n)^(p-1) mod p²)^-1 mod p with L(u) = (u - 1)/p."""
        n = mpz(self.public.n)
        # (1 + n)^(p-1) = 1 + (p-1)·n modulo p², since p² divides n²/q².
        scale = (p - 1) * n // p % p
        u = gmpy2.powmod(c % (p * p), p - 1, p * p)
        return (u - 1) // p * gmpy2.invert(scale, p) % p

    @property
    def encryptor(self) -> Encryptor:
        """The tables for fast encryption; built once per process and key."""
        return _encryptor(self)


def generate(bits: int = MIN_KEY_BITS) -> PrivateKey:
    """A new key; raises `WeakKey` or `InvalidKey` for a length we do not offer."""
    check_key_bits(bits)
    from phe import generate_paillier_keypair  # only owners of keys need it

    _, private = generate_paillier_keypair(n_length=bits)
    return PrivateKey(int(private.p), int(private.q))


class Encryptor:
    """Encryption with the private key at hand: 0.5 ms at 2048 bits where r^n takes 9 ms."""

    def __init__(self, private: PrivateKey) -> None:
        self._n = mpz(private.public.n)
        self._n_squared = private.public.n_squared
        self._p_half = _Powers(mpz(private.p), self._n)
        self._q_half = _Powers(mpz(private.q), self._n)
        p2, self._q2 = mpz(private.p) ** 2, mpz(private.q) ** 2
        self._p2, self._q2_inverse = p2, gmpy2.invert(self._q2, p2)

    def encrypt(self, m: int) -> mpz:
        """[[m]], 0 <= m < n."""
        if not 0 <= m < self._n:
            raise ValueError("a plaintext must be at least 0 and below n")
        x, z = self._p_half.random(), self._q_half.random()
        r_n = z + self._q2 * ((x - z) * self._q2_inverse % self._p2)
        return (1 + m * self._n) * r_n % self._n_squared


class _Powers:
    """Random powers of a fixed n-th power modulo p², by a table of all digits at all places."""

    def __init__(self, p: mpz, n: mpz) -> None:
        self._modulus = p * p
        g = gmpy2.powmod(_base(p), n, self._modulus)
        digits = -(-(p.bit_length() + _SPARE_BITS) // _DIGIT_BITS)
        self._rows: list[list[mpz]] = []
        for _ in range(digits):
            row = [mpz(1)]
            for _ in range(2**_DIGIT_BITS - 1):
                row.append(row[-1] * g % self._modulus)
            self._rows.append(row)
            g = row[-1] * g % self._modulus

    def random(self) -> mpz:
        product = mpz(1)
        for row, digit in zip(self._rows, secrets.token_bytes(len(self._rows)), strict=True):
            product = product * row[digit] % self._modulus
        return product


def _base(p: mpz) -> mpz:
    """A random element of Z_p* that is no l-th power for any small prime l dividing p - 1.

    So it generates a subgroup of Z_p* whose index has no small factor.
    """
    divisors = [prime for prime in _small_primes() if (p - 1) % prime == 0]
    while True:
        x = _random_unit(int(p))
        if all(gmpy2.powmod(x, (p - 1) // prime, p) != 1 for prime in divisors):
            return x


def _random_unit(n: int) -> mpz:
    """Uniform in Z_n*."""
    while True:
        r = secrets.randbelow(n)
        if gcd(r, n) == 1:
            return mpz(r)


@lru_cache(maxsize=2)
def _encryptor(private: PrivateKey) -> Encryptor:
    return Encryptor(private)


@lru_cache(maxsize=1)
def _small_primes() -> tuple[int, ...]:
    sieve = np.ones(SMALL_PRIMES, bool)
    sieve[:2] = False
    for i in range(2, int(SMALL_PRIMES**0.5) + 1):
        if sieve[i]:
            sieve[i * i :: i] = False
    return tuple(int(i) for i in np.flatnonzero(sieve))


@lru_cache(maxsize=1)
def _small_primorial() -> mpz:
    return gmpy2.primorial(SMALL_PRIMES)
