"""Which lattice parameters are safe, and how much noise and how many digits fit into them.

Every sum carries noise that its reader removes by rounding.  The numbers of one product are

    D = delta (X v) + X e - (e1 k + e w) - e2                    modulo q

where e, e1 are centred binomial (s.d. 3.24), k, w are ternary and e2 is the *flood*: wide noise
that hides the rest from the reader.  The message takes what the noise leaves: delta is as large as
rows · bound allows, and the flood as wide as delta allows (eight standard deviations of all noise
within delta/2), so nothing is left unused.

Security in bits is what the lattice estimator of Albrecht, Player and Scott gives for the cheapest
of its attacks (usvp, bdd, dual) with ternary secrets and this noise, and, where it was computed,
for the smaller secrets that remain once the reader knows the noise of its sums.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor, log2, sqrt

from ml.crypto.errors import LatticeNoise, WeakLattice
from ml.crypto.lattice import ring

MIN_SECURITY_BITS = 128
# (degree, largest log2 of the modulus): bits of security.
SECURITY_BITS = {
    (4096, 56): 256,
    (4096, 60): 242,
    (4096, 100): 137,
    (4096, 104): 130,
    (8192, 112): 263,
    (8192, 156): 181,
}
WEAK_SETS = {(2048, 53): 126, (4096, 109): 125, (2048, 54): 127}  # named, to refuse them by name

NOISE_SD = 3.24  # centred binomial of 2 x 21 bits: sqrt(21/2)
NOISE_HALF_BITS = 21
# e1 k + e w: 2n products of a binomial number and a ternary one (variance 2/3).
PRODUCT_NOISE_SD = sqrt(2 * ring.DEGREE * 10.5 * 2 / 3)
MIN_FLOOD = 2.0**16
SIGMAS = 8  # of all noise, within half of delta
_LARGEST_DELTA = 2**32  # tiny tables need no more; keeps the flood within 32 bits
MAX_FRACTION_BITS = 16
MIN_FRACTION_BITS = 8


def security_bits(degree: int, modulus_bits: int) -> int:
    """Bits of security of a set; raises `WeakLattice` for one that is not in the table."""
    fitting = [
        (bits, strength)
        for (n, bits), strength in SECURITY_BITS.items()
        if n == degree and modulus_bits <= bits
    ]
    found = min(fitting, default=(0, WEAK_SETS.get((degree, modulus_bits), 0)))[1]
    if found < MIN_SECURITY_BITS:
        raise WeakLattice(degree, modulus_bits, found, MIN_SECURITY_BITS)
    return found


@dataclass(frozen=True)
class Parameters:
    """What follows from the number of rows and the largest absolute value of a vector.

    Both sides derive it themselves, so neither can talk the other into less.
    """

    rows: int
    bound: int
    delta: int
    flood: float  # standard deviation of e2

    @classmethod
    def of(cls, rows: int, bound: int, *, entry_bits: int = 1) -> Parameters:
        """For 0/1 matrices with ``rows`` columns and vectors of |v| <= ``bound``.

        Raises `LatticeNoise` if the noise leaves no room, and for matrices of larger numbers: the
        noise of their sums would tell them, and hiding it takes a modulus of two words.
        """
        security_bits(ring.DEGREE, ring.BITS)
        if entry_bits != 1:
            raise LatticeNoise(
                f"a matrix of {entry_bits}-bit entries; this modulus hides 0/1 matrices only"
            )
        if rows < 1 or bound < 1:
            raise ValueError(f"{rows} rows, values up to {bound}; both are at least 1")
        delta = min((ring.MODULUS // 2) // (rows * bound + 1), _LARGEST_DELTA)
        room = (delta / (2 * SIGMAS)) ** 2 - noise_sd(rows) ** 2
        flood = sqrt(room) if room > 0 else 0.0
        if flood < MIN_FLOOD:
            raise LatticeNoise(
                f"{rows} rows of values up to 2^{log2(bound):.1f} leave 2^{log2(max(flood, 1)):.1f}"
                f" for the flood; the least allowed is 2^{log2(MIN_FLOOD):.0f}: use fewer bits"
            )
        return cls(rows, bound, delta, flood)

    @property
    def largest_sum(self) -> int:
        """No honest result is larger in absolute value."""
        return self.rows * self.bound

    @property
    def flood_width(self) -> int:
        """e2 is the sum of eight uniform numbers below this, less its mean."""
        return floor(self.flood * sqrt(12 / 8))

    @property
    def largest_noise(self) -> int:
        """What honest noise stays below: 6.4 of its standard deviations, a bound that wrong sums
        pass with four chances in five each."""
        return self.delta * 2 // 5


def noise_sd(rows: int) -> float:
    """Standard deviation of all noise but the flood, in a sum over all rows."""
    return sqrt(NOISE_SD**2 * rows + PRODUCT_NOISE_SD**2)


def fraction_bits(rows: int) -> int:
    """How many binary digits after the point values up to 1 may have; raises `LatticeNoise`."""
    for bits in range(MAX_FRACTION_BITS, MIN_FRACTION_BITS - 1, -1):
        try:
            Parameters.of(rows, 2**bits)
        except LatticeNoise:
            continue
        return bits
    raise LatticeNoise(
        f"{rows} rows leave fewer than {MIN_FRACTION_BITS} digits; use fewer rows, or paillier"
    )
