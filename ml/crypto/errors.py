"""What can go wrong in `ml.crypto`, below `ml.errors.MlError`.

    MlError
     ├─ RefusedParameter
     │   ├─ WeakKey                 fewer bits than anybody should use today
     │   └─ WeakLattice             a ring or a modulus that is not known to be hard enough
     └─ CryptoError
         ├─ InvalidKey              a public key that cannot be what it says
         ├─ InvalidCiphertext       not an invertible residue modulo n²
         ├─ InvalidPoint            bytes that are no point of the group
         ├─ InvalidSignature        an answer that is not the signature of what was asked
         ├─ InvalidAnswer           a decrypted answer that no honest holder can give
         ├─ PackingOverflow         numbers that could run into their neighbours
         ├─ OutOfRange              a number beyond the bound that a computation is exact for
         ├─ WrongShare              a partner's share that is not of the shape of the computation
         ├─ WrongTag                somebody computed something else than agreed
         ├─ BrokenComputation       a call after one of the same computation failed
         ├─ LatticeNoise            rows and digits that leave too little room for noise
         ├─ MaskReuse               a mask that was used before, or other bytes under it
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


class WeakLattice(RefusedParameter):
    """A lattice below the agreed strength, or one whose strength nobody computed (0 bits)."""

    def __init__(self, degree: int, modulus_bits: int, found: int, allowed: int) -> None:
        super().__init__(degree, modulus_bits, found, allowed)
        self.degree, self.modulus_bits = degree, modulus_bits
        self.found, self.allowed = found, allowed

    def __str__(self) -> str:
        known = f"has {self.found} bits of security" if self.found else "is not in the table"
        return (
            f"degree {self.degree} with a modulus of {self.modulus_bits} bits {known}; "
            f"allowed are {self.allowed} bits or more"
        )


class CryptoError(MlError):
    """Base of what cryptography refuses."""


class InvalidKey(CryptoError):
    """A public key that cannot be a product of two large primes of the agreed length."""


class InvalidCiphertext(CryptoError):
    """A number that is no ciphertext under the key."""


class InvalidPoint(CryptoError):
    """Bytes that are not the canonical encoding of a point other than the identity."""

    def __str__(self) -> str:
        return "a partner sent bytes that are no point of the group; its program is at fault"


class InvalidSignature(CryptoError):
    """Bytes that are no residue, or not the signature of the message that was blinded."""

    def __str__(self) -> str:
        return "a partner's answer is not the signature that was asked for; its program is at fault"


class InvalidAnswer(CryptoError):
    """An answer whose plaintext is outside what any 0/1 matrix could give."""


class PackingOverflow(CryptoError):
    """Values, or sums of as many of them as announced, that do not fit their place."""


class OutOfRange(CryptoError):
    """Values that are no numbers, or beyond the bound of a computation."""

    def __init__(self, count: int, bound: float) -> None:
        super().__init__(count, bound)
        self.count, self.bound = count, bound

    def __str__(self) -> str:
        return (
            f"{self.count} values are no numbers or are larger than {self.bound:g}; "
            "standardise the columns or leave out what is no number"
        )


class WrongShare(CryptoError):
    """A partner sent more or fewer numbers than the computation has at this place."""

    def __init__(self, found: int, needed: int) -> None:
        super().__init__(found, needed)
        self.found, self.needed = found, needed

    def __str__(self) -> str:
        return f"a partner sent {self.found} numbers; this step needs {self.needed}"


class WrongTag(CryptoError):
    """Opened numbers and their tags do not fit: a party sent something else than it computed."""

    def __str__(self) -> str:
        return "a partner sent numbers that it did not compute; nothing of this job may be used"


class BrokenComputation(CryptoError):
    """A call of a computation with tags after one that failed."""

    def __str__(self) -> str:
        return (
            "an earlier step of this computation failed, and its keys may be known; "
            "nothing of it may be used: begin again"
        )


class LatticeNoise(CryptoError):
    """Rows, digits or a matrix for which the noise cannot be both wide enough and removable."""


class MaskReuse(CryptoError):
    """A mask may hide one vector once: a second one under it would tell their difference."""


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
