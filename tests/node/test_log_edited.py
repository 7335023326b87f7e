"""A database and tiles edited by hand, anywhere and in any way: verification names the place."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from chain import merkle
from node.audit.dates import Anchored
from node.audit.entries import record
from node.audit.log import AuditLog
from node.audit.verification import Fault
from node.migrations import migrate
from node.store import Anchor, AuditPending, Store
from tests.node.told import task

SIZE = 600  # two full tiles, one that is not, and one above them
NAMES = ("id", "type", "subject", "actor", "time")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a log."""
    folder = tmp_path_factory.mktemp("written")
    with opened(folder) as (store, log):
        migrate(store)
        fill(store, SIZE)
        while log.sequence(limit=250):
            pass
    return folder


@contextmanager
def opened(folder: Path) -> Iterator[tuple[Store, AuditLog]]:
    store = Store(f"sqlite:///{folder}/node.db")
    store.name_source("urn:bank")
    try:
        yield store, AuditLog(store, folder / "log")
    finally:
        store.dispose()


@contextmanager
def copied(written: Path) -> Iterator[tuple[Store, AuditLog, Path]]:
    folder = written.with_name("copied")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(written, folder)
    with opened(folder) as (store, log):
        yield store, log, folder


def fill(store: Store, count: int) -> None:
    with store.begin() as session:
        for number in range(count):
            record(session, "task.started", f"urn:job:{number % 7}", task(number), "worker")


def run_sql(store: Store, statement: str, **values: object) -> None:
    """As somebody does who has the file, and does not wait for the disk."""
    with closing(sqlite3.connect(store.url.removeprefix("sqlite:///"))) as connection, connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(statement, values)


def indexes(faults: list[Fault]) -> list[int]:
    return [fault.index for fault in faults]


places = st.integers(0, SIZE - 1)
anything = st.one_of(
    st.text(max_size=40),
    st.binary(max_size=40),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
)
edits = settings(max_examples=25, deadline=None)


@edits
@given(places, st.sampled_from(NAMES), anything)
def test_a_column_with_anything_else_in_it_is_named(
    written: Path, index: int, name: str, value: object
) -> None:
    with copied(written) as (store, log, _):
        old = getattr(log.entries(index, index + 1)[0], name)
        run_sql(
            store,
            f'UPDATE audit_entry SET {name} = :value WHERE "index" = :i',
            value=value,
            i=index,
        )
        assert index in indexes(log.verify()) or value == old


@edits
@given(places, st.sampled_from(["entry", "leaf_hash"]), st.data())
def test_a_changed_byte_of_an_entry_or_of_its_hash_is_named(
    written: Path, index: int, name: str, data: st.DataObject
) -> None:
    with copied(written) as (store, log, _):
        entry = log.entries(index, index + 1)[0]
        content = bytearray(entry.content if name == "entry" else entry.leaf_hash)
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] ^= data.draw(st.integers(1, 255))
        value = data.draw(st.sampled_from([bytes(content), bytes(content[:at]), content.hex()]))
        run_sql(
            store,
            f'UPDATE audit_entry SET {name} = :value WHERE "index" = :i',
            value=value,
            i=index,
        )
        assert indexes(log.verify()) == [index]


@edits
@given(places, st.data())
def test_an_entry_changed_together_with_its_hash_is_named_by_its_tile(
    written: Path, index: int, data: st.DataObject
) -> None:
    with copied(written) as (store, log, _):
        content = bytearray(log.entries(index, index + 1)[0].content)
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
        forged = {"entry": bytes(content), "leaf": merkle.leaf_hash(bytes(content)), "i": index}
        run_sql(
            store,
            'UPDATE audit_entry SET entry = :entry, leaf_hash = :leaf WHERE "index" = :i',
            **forged,
        )
        assert indexes(log.verify()) == [index]


@edits
@given(st.sets(places, min_size=1, max_size=5))
def test_removed_entries_are_named(written: Path, gone: set[int]) -> None:
    with copied(written) as (store, log, _):
        for index in gone:
            run_sql(store, 'DELETE FROM audit_entry WHERE "index" = :i', i=index)
        begun = [index for index in sorted(gone) if index - 1 not in gone]
        assert indexes(log.verify()) == begun


@edits
@given(st.permutations(range(4)), st.integers(0, SIZE - 4))
def test_entries_in_another_order_are_named(written: Path, order: list[int], first: int) -> None:
    with copied(written) as (store, log, _):
        for old, new in enumerate(order):
            run_sql(
                store,
                'UPDATE audit_entry SET "index" = :new WHERE "index" = :old',
                old=first + old,
                new=-1 - new,
            )
        for new in range(4):
            run_sql(
                store,
                'UPDATE audit_entry SET "index" = :new WHERE "index" = :old',
                old=-1 - new,
                new=first + new,
            )
        moved = [first + new for old, new in enumerate(order) if old != new]
        assert indexes(log.verify()) == sorted(moved)


@edits
@given(
    places,
    st.one_of(st.integers(SIZE, 2**63 - 1), st.integers(-(2**63), -1), st.text("ab", min_size=1)),
)
def test_an_entry_moved_to_a_place_that_there_is_not_is_named(
    written: Path, index: int, place: object
) -> None:
    with copied(written) as (store, log, _):
        run_sql(
            store,
            'UPDATE audit_entry SET "index" = :place WHERE "index" = :i',
            place=place,
            i=index,
        )
        assert index in indexes(log.verify())


@edits
@given(st.sampled_from(["0/000", "0/001", "0/002.p/88", "1/000.p/2"]), st.data())
def test_a_changed_byte_of_a_tile_is_named(written: Path, name: str, data: st.DataObject) -> None:
    with copied(written) as (_, log, folder):
        tile = folder / "log/tile" / name
        content = bytearray(tile.read_bytes())
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] ^= data.draw(st.integers(1, 255))
        tile.write_bytes(content)
        first = {"0/000": 0, "0/001": 256, "0/002.p/88": 512, "1/000.p/2": 0}[name]
        hash = at // 32 * (256 if name.startswith("1") else 1)
        assert indexes(log.verify()) == [first + hash]


@edits
@given(st.sampled_from(["0/000", "0/002.p/88", "1/000.p/2"]), st.binary(min_size=1, max_size=40))
def test_a_tile_with_more_in_it_than_there_is_is_named(
    written: Path, name: str, more: bytes
) -> None:
    with copied(written) as (_, log, folder):
        tile = folder / "log/tile" / name
        tile.write_bytes(tile.read_bytes() + more)
        assert len(log.verify()) == 1


# ── Times ────────────────────────────────────────────────────────────────────────────────────

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def dated(tmp_path: Path) -> Iterator[Callable[[list[float]], AuditLog]]:
    """Makes a log whose entries tell these minutes; the site itself lies, so hashes are right."""
    with opened(tmp_path) as (store, log):
        migrate(store)

        def make(minutes: list[float]) -> AuditLog:
            fill(store, len(minutes))
            with store.begin() as session:
                pending = list(session.scalars(select(AuditPending).order_by(AuditPending.id)))
                for row, minute in zip(pending, minutes, strict=True):
                    at = row.entry.index(b'"time":"') + 8
                    time = (START + timedelta(minutes=minute)).isoformat(timespec="microseconds")
                    row.entry = row.entry[:at] + time[:26].encode() + row.entry[at + 26 :]
            while log.sequence():
                pass
            return log

        yield make


def test_a_clock_set_back_a_little_is_no_fault(dated: Callable[[list[float]], AuditLog]) -> None:
    assert dated([0, 1, 2, -2.5, 1, 2]).verify() == []


def test_a_back_dated_entry_is_named(dated: Callable[[list[float]], AuditLog]) -> None:
    (fault,) = dated([*range(300), 299 - 6, *range(300, 310)]).verify()
    assert fault.index == 300
    assert fault.what.startswith("back-dated to 2026-03-01T16:53:00")


def test_steps_back_that_are_small_each_are_named_by_their_sum(
    dated: Callable[[list[float]], AuditLog],
) -> None:
    assert indexes(dated([100, 98, 96, 94, 92]).verify()) == [3]


def anchored(log: AuditLog, size: int, minute: float) -> Anchored:
    return Anchored(size, log.root(size), int(START.timestamp() + minute * 60))


def test_an_entry_dated_after_the_block_that_anchors_it_is_named(
    dated: Callable[[list[float]], AuditLog],
) -> None:
    log = dated([0, 10, 20, 120, 130])
    assert log.verify([anchored(log, 3, 20), anchored(log, 5, 121)]) == []
    assert indexes(log.verify([anchored(log, 3, 20), anchored(log, 5, 110)])) == [4]


def test_an_entry_dated_before_the_block_of_an_earlier_anchor_is_named(
    dated: Callable[[list[float]], AuditLog],
) -> None:
    log = dated([0, 1, 2, 3, 100])
    heads = [anchored(log, 1, 0), anchored(log, 2, 40), anchored(log, 3, 41), anchored(log, 5, 101)]
    assert indexes(log.verify(heads)) == [3]


def test_an_entry_of_tomorrow_is_named(dated: Callable[[list[float]], AuditLog]) -> None:
    ahead = (datetime.now(UTC) - START).total_seconds() / 60 + 24 * 60
    assert indexes(dated([0, ahead]).verify()) == [1]


def test_several_processes_find_what_one_finds(
    written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.audit.verification.MANY", 1)
    monkeypatch.setattr("node.audit.verification.STRETCH", 256)
    with copied(written) as (store, log, _):
        root = log.root(300)
        run_sql(store, "UPDATE audit_entry SET actor = 'x' WHERE \"index\" IN (3, 300, 599)")
        heads = [Anchored(300, root), Anchored(512, bytes(32)), Anchored(600, log.root())]
        alone = log.verify(heads)
        assert log.verify(heads, processes=2) == alone
        assert indexes(alone) == [3, 300, 300, 599]


def test_what_is_no_time_no_index_and_no_anchor_is_named_or_passed_over(
    written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.audit.verification.STRETCH", 256)
    with copied(written) as (store, log, _):
        run_sql(store, "UPDATE audit_entry SET time = X'00' WHERE \"index\" = 255")
        run_sql(store, 'UPDATE audit_entry SET "index" = \'text\' WHERE "index" = 598')
        run_sql(store, 'UPDATE audit_entry SET "index" = 598.5 WHERE "index" = 599')
        with store.begin() as session:
            session.add(Anchor(size=600, root="root", block=1, tx_hash="0x" + "00" * 32))
        run_sql(store, "UPDATE anchor SET size = 'all'")
        assert sorted(set(indexes(log.verify()))) == [255, 598, 599]
