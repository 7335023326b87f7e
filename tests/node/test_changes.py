"""One looks into the database when somebody wrote, and after a second all the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from node.changes import IDLE_SECONDS, Changes
from node.store import Lease, Store
from tests.node.test_jobs import an_empty_store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = an_empty_store(tmp_path)
    yield store
    store.dispose()


@pytest.fixture
def now() -> list[float]:
    return [0.0]


@pytest.fixture
def changes(store: Store, now: list[float]) -> Iterator[Changes]:
    changes = Changes(store, lambda: now[0])
    yield changes
    changes.close()


def write(store: Store) -> None:
    with store.begin() as session:
        session.merge(Lease(name="sync", owner="somebody", until=1.0))


def test_the_first_look_is_due_and_none_after_it_while_nothing_is_written(
    changes: Changes,
) -> None:
    assert changes.is_due()
    assert not changes.is_due()


def test_whatever_another_connection_commits_is_looked_at_once(
    store: Store, changes: Changes
) -> None:
    changes.is_due()
    write(store)
    assert changes.is_due()
    assert not changes.is_due()


def test_a_transaction_that_wrote_nothing_is_no_change(store: Store, changes: Changes) -> None:
    changes.is_due()
    with store.begin() as session:
        session.get(Lease, "sync")
    assert not changes.is_due()


def test_what_waits_for_time_alone_is_looked_at_after_a_second(
    changes: Changes, now: list[float]
) -> None:
    changes.is_due()
    now[0] += IDLE_SECONDS
    assert changes.is_due()
    assert not changes.is_due()


def test_a_database_that_does_not_say_is_always_looked_at(now: list[float]) -> None:
    store = Store("sqlite://")
    changes = Changes(store, lambda: now[0])
    assert changes.is_due()
    assert changes.is_due()
    store.dispose()
