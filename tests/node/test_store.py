"""The database: models and migrations agree, and transactions are what they promise."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, select

from node.errors import Unavailable
from node.index import tables as of_index
from node.migrations import configuration, migrate
from node.saved_views import SavedView
from node.store import Base, Budget, Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(f"sqlite:///{tmp_path}/node.db")
    migrate(store)
    return store


def test_the_models_are_what_the_migrations_make(store: Store) -> None:
    with store.engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, Base.metadata) == []
    elsewhere = {SavedView.__tablename__, of_index.SearchDocument.__tablename__}
    assert elsewhere <= Base.metadata.tables.keys()  # not all models stand in node.store


def test_migrating_twice_changes_nothing(store: Store) -> None:
    with store.begin() as session:
        session.add(Budget(grant_id="0x01", spent=3))
    migrate(store)
    with store.read() as session:
        assert session.get_one(Budget, "0x01").spent == 3


def test_processes_that_start_together_migrate_in_turn(tmp_path: Path) -> None:
    errors: list[BaseException] = []

    def start() -> None:
        try:
            migrate(Store(f"sqlite:///{tmp_path}/node.db"))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_the_first_migration_can_be_undone(store: Store) -> None:
    command.downgrade(configuration(store), "base")
    assert inspect(store.engine).get_table_names() == ["alembic_version"]


def test_a_failed_transaction_leaves_nothing(store: Store) -> None:
    def fail() -> None:
        with store.begin() as session:
            session.add(Budget(grant_id="0x01"))
            session.flush()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with store.read() as session:
        assert session.scalars(select(Budget)).all() == []


def test_a_reader_sees_its_snapshot_while_another_writes(store: Store) -> None:
    with store.read() as reading:
        before = reading.scalars(select(Budget)).all()
        with store.begin() as session:
            session.add(Budget(grant_id="0x01"))
        assert reading.scalars(select(Budget)).all() == before


def test_writers_wait_for_each_other_instead_of_failing(store: Store) -> None:
    with store.begin() as session:
        session.add(Budget(grant_id="0x01", spent=0))

    def spend() -> None:
        for _ in range(10):
            with store.begin() as session:
                session.get_one(Budget, "0x01").spent += 1

    threads = [threading.Thread(target=spend) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.read() as session:
        assert session.get_one(Budget, "0x01").spent == 40


def test_a_database_that_does_not_open_is_a_typed_error(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/missing/node.db")

    def look() -> None:
        with store.read() as session:
            session.get(Budget, "0x01")

    with pytest.raises(Unavailable) as unavailable:
        look()
    assert unavailable.value.code == "DatabaseUnavailable"
