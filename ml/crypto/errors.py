"""What can go wrong in `ml.crypto`, below `ml.errors.MlError`.

    MlError
     ├─ RefusedParameter
     │   └─ WeakKey                 fewer bits than anybody should use today
     └─ CryptoError
         ├─ InvalidKey              a public key that cannot be what it says
         ├─ InvalidCiphertext       not an invertible residue modulo n²
         ├─ InvalidAnswer           a decrypted answer that no honest holder can give
         ├─ PackingOverflow         numbers that could run into their neighbours
         └─ ProductBudgetExceeded   more vectors than the holder of the matrix answers

No text holds a key, a ciphertext or a number of a row.
"""

from __future__ import annotations

from ml.errors import MlError, RefusedParameter


class WeakKey(RefusedParameter):
    """A key shorter than allowed."""

    def __init__(self, bits: int, allowed: int) -> None:
        super().__init__(bits, allowed)
        self.bits, self.allowed = bits, allowed

    def __str__(self) -> str:
        return f"a Paillier key of {self.bits} bits; allowed are {self.allowed} bits or more"


class CryptoError(MlError):
    """Base of what cryptography refuses."""


class InvalidKey(CryptoError):
    """A public key that cannot be a product of two large primes of the agreed length."""


class InvalidCiphertext(CryptoError):
    """A number that is no ciphertext under the key."""


class InvalidAnswer(CryptoError):
    """An answer whose plaintext is outside what any 0/1 matrix could give."""


class PackingOverflow(CryptoError):
    """Values, or sums of as many of them as announced, that do not fit their place."""


class ProductBudgetExceeded(CryptoError):
    """The holder has answered as many vectors as it is willing to."""

    def __init__(self, asked: int, left: int, limit: int) -> None:
        super().__init__(asked, left, limit)
        self.asked, self.left, self.limit = asked, left, limit

    def __str__(self) -> str:
        return (
            f"{self.asked} more vectors asked, {self.left} of {self.limit} left; "
            "ask the owner of the data for a larger product budget, or train fewer trees"
        )
