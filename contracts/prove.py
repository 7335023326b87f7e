"""halmos, able to hash: `python contracts/prove.py --root contracts …`.

halmos 0.3.3 declares SHA-256 over as many bits as its argument has bytes, and stops at the first
hash. Here the function is declared over the bits; it stays uninterpreted, so what is proved holds
for any hash function.
"""

import sys

from halmos import sevm
from halmos.__main__ import main
from z3 import BitVecSort, Function, FuncDeclRef, SortRef

_PREFIX = "f_sha256_"


def _function(name: str, *sorts: SortRef) -> FuncDeclRef:
    if name.startswith(_PREFIX):
        size = int(name.removeprefix(_PREFIX))
        return Function(name, BitVecSort(8 * size), sorts[-1])
    return Function(name, *sorts)


if __name__ == "__main__":
    sevm.Function = _function
    sys.exit(main())
