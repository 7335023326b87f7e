"""``python -m node.cli``: the command line without its script."""

from __future__ import annotations

from node.cli import main

main()
