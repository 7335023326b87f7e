"""Whether anything in a site's database changed: asked many times a second, for next to nothing.

What waits for rows looks at this first, and at the rows only when there is something to see.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from node.store import Store

LOOK_SECONDS = 0.15
IDLE_SECONDS = 1.0  # after which one looks all the same: some of what is due only waits for time


class Changes:
    """Tells when it is time to look again.  Belongs to one thread.

    SQLite counts what other connections committed, in this process or another
    (``PRAGMA data_version``); this one never writes.  A database server keeps no such count: there
    it is always time.
    """

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = store.engine.url.database if store.engine.dialect.name == "sqlite" else None
        self._clock = clock
        self._connection: sqlite3.Connection | None = None
        self._seen: int | None = None
        self._idle_until = float("-inf")

    def is_due(self) -> bool:
        """Whether somebody committed since this was last asked, or `IDLE_SECONDS` have gone by."""
        version, now = self._version(), self._clock()
        if version is not None and version == self._seen and now < self._idle_until:
            return False
        self._seen, self._idle_until = version, now + IDLE_SECONDS
        return True

    def close(self) -> None:
        """Let go of the database."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _version(self) -> int | None:
        """None where the database does not say."""
        if self._path in (None, "", ":memory:"):
            return None
        with suppress(sqlite3.Error):
            if self._connection is None:
                place = Path(str(self._path)).absolute().as_uri()
                self._connection = sqlite3.connect(f"{place}?mode=ro", uri=True)
            (version,) = self._connection.execute("PRAGMA data_version").fetchone()
            return int(version)
        return None
