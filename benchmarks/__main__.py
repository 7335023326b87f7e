"""``python -m benchmarks NAME [options]``: runs ``benchmarks/NAME.py``, whatever is there."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path


def names() -> list[str]:
    """The benchmarks there are."""
    files = Path(__file__).parent.glob("[!_]*.py")
    return sorted(file.stem for file in files)


def main(argv: list[str]) -> int:
    """Hand the options to ``main`` of the benchmark that is named first."""
    if not argv or argv[0] not in names():
        found = f"no benchmark {argv[0]!r}" if argv else "no benchmark named"
        print(f"{found}; python -m benchmarks {' | '.join(names())} [--help]", file=sys.stderr)
        return 2
    # Imported only now: another benchmark's libraries would cost its seconds and memory.
    return int(import_module(f"benchmarks.{argv[0]}").main(argv[1:]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
