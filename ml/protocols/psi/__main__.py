"""``python -m ml.protocols.psi``: compiles what KKRT needs, and checks one small matching.

An installation may run it once, so that the first job does not wait for the compiler.
"""

from __future__ import annotations

import asyncio
import sys

from ml.federation import GUEST, HOST, Party, run_in_process
from ml.protocols import psi


async def matches() -> bool:
    """Whether the common ids of two small tables are found."""
    params = psi.Params(protocol="kkrt")
    guest, host = psi.Keys([str(k) for k in range(40)]), psi.Keys([str(k) for k in range(30, 70)])
    inputs = {Party(GUEST, "guest"): (params, guest), Party(HOST, "host"): (params, host)}
    outputs, _ = await run_in_process(psi.PROGRAMS, inputs)
    return [set(rows.tolist()) for rows in outputs.values()] == [set(range(30, 40)), set(range(10))]


def main() -> int:
    """0 if they are."""
    if asyncio.run(matches()):
        print("private set intersection is compiled, and right")
        return 0
    print("private set intersection came out wrong on this machine", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
