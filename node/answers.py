"""What other programs answer is read as it came.

A limit on what is read says nothing about what a packed body becomes: 300 bytes hold a gigabyte.
So nobody here unpacks, and what comes packed although nobody asked for it is refused.
"""

from __future__ import annotations

import httpx

AS_IT_IS = {"Accept-Encoding": "identity"}  # for the request


def is_packed(response: httpx.Response) -> bool:
    """Whether reading the body would unpack it."""
    found: str = response.headers.get("content-encoding", "identity")
    return found.strip().lower() != "identity"
