"""The database's history, and the one call that brings a database up to date."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from node.errors import Unavailable
from node.store import Store

HERE = Path(__file__).parent
LOCK_KEY = 0x4641_5445  # "FATE": a PostgreSQL advisory lock is a number


def migrate(store: Store) -> None:
    """Bring the database to the newest revision; processes that start together do it in turn.

    Raises `Unavailable` (``DatabaseUnavailable``).
    """
    try:
        with _alone(store):
            command.upgrade(configuration(store), "head")
    except OperationalError as error:
        raise Unavailable(
            "DatabaseUnavailable",
            f"the database could not be brought up to date: {type(error.orig).__name__}",
            hint="check database_url and the disk",
        ) from error


def configuration(store: Store) -> Config:
    """Alembic's configuration for this store; its engine is handed over, not opened again."""
    config = Config()
    config.set_main_option("script_location", str(HERE).replace("%", "%%"))
    config.attributes["engine"] = store.engine
    return config


@contextmanager
def _alone(store: Store) -> Iterator[None]:
    url = store.engine.url
    if url.get_backend_name() != "sqlite":
        with store.engine.connect() as connection:
            connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": LOCK_KEY})
            try:
                yield
            finally:
                connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": LOCK_KEY})
        return
    if not url.database or url.database == ":memory:":
        yield
        return
    # SQLite has no lock that outlives the transactions of a migration; a file beside it does.
    descriptor = os.open(f"{url.database}.migrating", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
