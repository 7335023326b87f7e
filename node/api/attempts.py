"""How often one address may try, in memory of a bounded size.

A window begins with an address's first attempt and counts until it is over.  Of IPv6 the first
64 bits count: a household has all the others.  When too many addresses try, the one that tried
longest ago is forgotten.
"""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from node.errors import TooMany

MAX_ADDRESSES = 10_000


class Attempts:
    """At most `limit` attempts of one address in `seconds`."""

    def __init__(
        self, limit: int, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.limit = limit
        self.seconds = seconds
        self._clock = clock
        self._windows: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, address: str) -> float:
        """Count one; 0 if it is within the limit, else the seconds until the next may come."""
        key, now = network_of(address), self._clock()
        with self._lock:
            began, count = self._windows.pop(key, (now, 0))
            if now - began >= self.seconds:
                began, count = now, 0
            self._windows[key] = (began, min(count + 1, self.limit + 1))
            if len(self._windows) > MAX_ADDRESSES:
                self._windows.popitem(last=False)
            return 0.0 if count < self.limit else began + self.seconds - now

    def count(self, address: str) -> None:
        """As `take`; raises `TooMany` (``TooManyAttempts``)."""
        wait = self.take(address)
        if wait > 0:
            raise TooMany(
                "TooManyAttempts",
                "too many attempts came from your address",
                allowed=f"{self.limit} in {self.seconds:g} seconds",
                hint=f"try again in {int(wait) + 1} seconds",
            )

    def give_back(self, address: str) -> None:
        """Uncount one that turned out well: many who share an address may all sign in."""
        key = network_of(address)
        with self._lock:
            if key in self._windows:
                began, count = self._windows[key]
                self._windows[key] = (began, max(count - 1, 0))

    def __len__(self) -> int:
        return len(self._windows)


def network_of(address: str) -> str:
    """What shares a limit: an IPv4 address, or the first half of an IPv6 address."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.IPv6Network((found, 64), strict=False))
    return str(found)
