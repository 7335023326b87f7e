"""Payloads beside the log: nobody changes, moves, takes away or puts back one unnoticed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text, update

from node.audit.entries import MAX_ENTRY_BYTES, record
from node.audit.log import AuditLog
from node.audit.verification import Fault
from node.errors import Failed
from node.migrations import migrate
from node.store import AuditPayload, ErasedEntry, Erasure, PayloadKey, Store
from tests.node.told import available, task

SITE = "0x" + "5e" * 32
GONE = "its payload is gone, and no erasure tells of it"
CHANGED = "its payload is not what it committed to"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(f"sqlite:///{tmp_path}/node.db")
    migrate(store)
    store.name_source(SITE)
    return store


@pytest.fixture
def log(store: Store, tmp_path: Path) -> AuditLog:
    """Six entries: 0 to 2 about one job, 3 to 5 about another."""
    with store.begin() as session:
        for job in ("urn:one", "urn:two"):
            for n in range(3):
                record(session, "task.started", job, task(n), "worker")
    log = AuditLog(store, tmp_path / "log")
    log.sequence()
    return log


def payload_of(store: Store, log: AuditLog, index: int) -> tuple[str, bytes]:
    id = log.entry(index).id
    with store.read() as session:
        return id, session.get_one(AuditPayload, id).sealed


def put(store: Store, id: str, **values: Any) -> None:
    with store.begin() as session:
        session.execute(update(AuditPayload).where(AuditPayload.id == id).values(values))


def mark_erased(store: Store, index: int) -> None:
    with store.begin() as session:
        session.add(Erasure(id=1, scope="urn:one", receipt={}))
        session.flush()
        session.add(ErasedEntry(index=index, erasure_id=1))


def test_what_was_recorded_is_opened_and_the_leaf_has_none_of_it(log: AuditLog) -> None:
    entry = log.entry(4)
    assert entry.data == task(1)
    assert b"train" not in entry.content
    assert set(entry.value["data"]) == {"task", "step", "attempt"}
    assert log.payload_faults() == []


def test_no_two_entries_of_equal_data_look_alike(store: Store, log: AuditLog) -> None:
    leaves = [log.entry(index).value["data"] for index in range(6)]
    assert len({leaf["step"] for leaf in leaves}) == 6


def test_only_what_is_named_is_disclosed(log: AuditLog) -> None:
    entry = log.entry(0)
    assert set(entry.disclosed(["step", "other"])) == {"step"}
    assert set(entry.disclosed()) == {"task", "step", "attempt"}


def test_an_entry_that_was_read_without_its_payload_is_not_taken_for_an_erased_one(
    log: AuditLog,
) -> None:
    (entry,) = log.entries(0, 1)
    with pytest.raises(ValueError, match="without its payload"):
        _ = entry.data


def test_entries_of_a_scope_share_its_key_and_no_other_does(store: Store, log: AuditLog) -> None:
    with store.begin() as session:
        record(session, "chain.available", "urn:three", available(), "sync", scope="urn:one")
    with store.read() as session:
        scopes = session.scalars(select(PayloadKey.scope)).all()
        keys = session.scalars(select(PayloadKey.key)).all()
    assert sorted(scopes) == ["urn:one", "urn:two"]
    assert len(set(keys)) == 2


def test_a_payload_vanishes_with_the_transaction_of_its_entry(store: Store) -> None:
    def fail() -> None:
        with store.begin() as session:
            record(session, "task.started", "urn:one", task(), "worker")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with store.read() as session:
        assert session.scalars(select(AuditPayload.id)).all() == []
        assert session.scalars(select(PayloadKey.id)).all() == []


def test_an_entry_outlives_a_savepoint_that_is_rolled_back(store: Store) -> None:
    with store.begin() as session:
        record(session, "task.started", "urn:one", task(), "worker")
        inner = session.begin_nested()
        session.execute(select(PayloadKey))
        inner.rollback()
    with store.read() as session:
        assert len(session.scalars(select(AuditPayload.id)).all()) == 1


def test_a_payload_that_no_bundle_could_tell_of_is_refused(store: Store) -> None:
    with store.begin() as session, pytest.raises(ValueError, match="at most"):
        record(session, "chain.available", "0x1", available(1, "y" * MAX_ENTRY_BYTES), "sync")


def test_a_payload_changed_by_hand_is_refused_and_named(store: Store, log: AuditLog) -> None:
    id, sealed = payload_of(store, log, 1)
    for changed in (
        sealed[:-1] + bytes([sealed[-1] ^ 1]),
        bytes([sealed[0] ^ 1]) + sealed[1:],
        sealed[:20],
        b"",
    ):
        put(store, id, sealed=changed)
        with pytest.raises(Failed, match="PayloadDiffers"):
            _ = log.entry(1).data
        assert log.payload_faults() == [Fault(1, CHANGED)]
    assert log.verify() == []


def test_a_payload_of_another_entry_is_refused(store: Store, log: AuditLog) -> None:
    (id, _), (_, other) = payload_of(store, log, 1), payload_of(store, log, 2)
    put(store, id, sealed=other)
    with pytest.raises(Failed, match="PayloadDiffers"):
        _ = log.entry(1).data
    assert log.payload_faults() == [Fault(1, CHANGED)]


def test_a_payload_sealed_anew_by_somebody_with_the_key_is_held_against_the_leaf(
    store: Store, log: AuditLog
) -> None:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    id, sealed = payload_of(store, log, 1)
    with store.read() as session:
        key = AESGCM(session.scalars(select(PayloadKey.key).where(PayloadKey.id == 1)).one())
    plain = key.decrypt(sealed[:12], sealed[12:], id.encode())
    for forged in (
        plain.replace(b'"attempt":1', b'"attempt":2'),
        plain.replace(b'"salt":"', b'"salt":"00'),
        plain[:-2] + b'00"}',  # of which HMAC makes the same
        plain.replace(b'"attempt":1', b'"attempt":1e999'),
        plain.replace(b'"attempt":1', b'"attempt":' + b"[" * 5000 + b"]" * 5000),
        plain.replace(b'"data":{', b'"data":{"more":1,'),
        b"[]",
        b'{"data":[],"salt":""}',
        b'{"data":{},"salt":"xy"}',
    ):
        assert forged != plain
        put(store, id, sealed=bytes(12) + key.encrypt(bytes(12), forged, id.encode()))
        with pytest.raises(Failed, match="PayloadDiffers"):
            _ = log.entry(1).data
        assert log.payload_faults() == [Fault(1, CHANGED)]


def test_a_payload_that_was_taken_away_is_no_erased_one(store: Store, log: AuditLog) -> None:
    id, _ = payload_of(store, log, 5)
    with store.begin() as session:
        session.execute(text("DELETE FROM audit_payload WHERE id = :id"), {"id": id})
    assert log.entry(5).data is None
    assert not log.entry(5).is_erased
    assert log.payload_faults() == [Fault(5, GONE)]


def test_what_was_erased_and_put_back_is_not_shown_and_is_named(
    store: Store, log: AuditLog
) -> None:
    mark_erased(store, 2)
    assert log.entry(2).data is None
    assert log.entry(2).is_erased
    assert log.entry(2).disclosed() == {}
    assert log.payload_faults() == [Fault(2, "erased, and its payload was put back")]
