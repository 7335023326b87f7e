"""The page that verifies a certificate in a browser, from a file, without a network.

`source/` holds its modules; `python -m node.ui.verifier.build` makes `verifier.html` of them, one
file that needs nothing else.  It makes the checks of `chain.standalone`.
"""

import re
from pathlib import Path

FILE = Path(__file__).parent / "verifier.html"


def page() -> bytes:
    """The whole page."""
    return FILE.read_bytes()


def policy() -> str:
    """The Content-Security-Policy that the page states: its own script and style, no network."""
    found = re.search(r'"Content-Security-Policy" content="([^"]+)"', page().decode())
    if found is None:
        raise ValueError(f"{FILE} states no Content-Security-Policy: build it again")
    return found[1]
