"""The audit log: nothing is lost, nothing forks, and whoever edits a line is found out."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, text, update

from chain import merkle
from node.audit.checkpoint import open_checkpoint
from node.audit.entries import MAX_ENTRY_BYTES, record
from node.audit.log import AuditLog
from node.audit.tiles import Tiles
from node.audit.tree import TiledTree
from node.audit.verification import Fault
from node.errors import Failed, Invalid, NodeError, NotFound, Refused
from node.identity import Identity, create_keys
from node.migrations import migrate
from node.settings import Settings
from node.store import Anchor, AuditPending, Store
from tests.node.told import available, task

SITE = "0x" + "5e" * 32


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(f"sqlite:///{tmp_path}/node.db")
    migrate(store)
    store.name_source(SITE)
    return store


@pytest.fixture
def log(store: Store, tmp_path: Path) -> AuditLog:
    return AuditLog(store, tmp_path / "log")


def write(store: Store, count: int, subject: str = "urn:job") -> list[str]:
    with store.begin() as session:
        return [record(session, "task.started", subject, task(n), "worker") for n in range(count)]


def fill(store: Store, log: AuditLog, count: int) -> None:
    write(store, count)
    while log.sequence(limit=300):
        pass


def anchor(store: Store, log: AuditLog, size: int) -> None:
    with store.begin() as session:
        root = "0x" + log.root(size).hex()
        session.add(Anchor(size=size, root=root, block=1, tx_hash="0x" + "00" * 32))


def test_of_numbers_with_a_gap_only_what_got_its_place_is_taken_away(
    store: Store, log: AuditLog
) -> None:
    ids = write(store, 6)
    with store.begin() as session:  # as a transaction leaves them that ended after a later one
        third = session.scalars(select(AuditPending.id).order_by(AuditPending.id)).all()[2]
        session.execute(update(AuditPending).where(AuditPending.id == third).values(id=100))
    assert log.sequence(limit=4) == 4
    assert log.pending == 2
    assert log.sequence() == 2
    assert [entry.id for entry in log.entries(0, 6)] == [ids[n] for n in (0, 1, 3, 4, 5, 2)]


def run_sql(store: Store, statement: str, **values: object) -> None:
    with store.begin() as session:
        session.execute(text(statement), values)


# ── Entries ──────────────────────────────────────────────────────────────────────────────────


def test_an_entry_is_a_cloud_event_in_canonical_json(store: Store) -> None:
    with store.begin() as session:
        id = record(session, "chain.available", "0x01", available(1, "ä"), "operator")
    with store.read() as session:
        content = session.query(AuditPending.entry).scalar()
    entry = json.loads(content)
    assert rfc8785.dumps(entry) == content
    assert entry["id"] == id
    assert entry["source"] == SITE
    assert entry["type"] == "fatechain.chain.available.v1"
    assert entry["specversion"] == "1.0"
    assert entry["time"].endswith("Z")


def test_an_entry_vanishes_with_the_transaction_of_what_it_tells(
    store: Store, log: AuditLog
) -> None:
    def fail() -> None:
        with store.begin() as session:
            record(session, "task.started", "0x01", task(), "operator")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert log.pending == 0


def test_an_unknown_kind_or_too_long_an_entry_is_refused(store: Store) -> None:
    with store.begin() as session:
        with pytest.raises(ValueError, match="no kind of entry"):
            record(session, "coffee.made", "0x01", {}, "operator")
        with pytest.raises(ValueError, match="at most"):
            record(session, "chain.available", "0x01", available(1, "y" * MAX_ENTRY_BYTES), "sync")


# ── Sequencing and proofs ────────────────────────────────────────────────────────────────────


def test_entries_get_their_places_in_the_order_of_recording(store: Store, log: AuditLog) -> None:
    ids = write(store, 700)
    assert [log.sequence(300), log.sequence(300), log.sequence(300)] == [300, 300, 100]
    assert log.sequence() == 0
    assert [entry.id for entry in log.entries(0, 1000)] == ids
    assert log.size == 700
    assert log.pending == 0


def test_the_root_is_that_of_rfc_6962_at_every_size(store: Store, log: AuditLog) -> None:
    fill(store, log, 600)
    tree = merkle.Tree(entry.leaf_hash for entry in log.entries(0, 600))
    for size in (0, 1, 2, 255, 256, 257, 300, 511, 512, 513, 600):
        assert log.root(size) == tree.root(size)


def test_every_inclusion_and_consistency_proof_holds(store: Store, log: AuditLog) -> None:
    fill(store, log, 530)
    leaves = [entry.leaf_hash for entry in log.entries(0, 530)]
    rng = random.Random(6962)
    for _ in range(150):
        size = rng.randint(1, 530)
        index, old = rng.randrange(size), rng.randint(1, size)
        proof = log.inclusion_proof(index, size)
        assert merkle.verify_inclusion(log.root(size), size, index, leaves[index], proof)
        consistency = log.consistency_proof(old, size)
        assert merkle.verify_consistency(log.root(old), old, log.root(size), size, consistency)


def test_proofs_do_not_need_tiles(store: Store, log: AuditLog, tmp_path: Path) -> None:
    fill(store, log, 530)
    root, proof = log.root(), log.inclusion_proof(17)
    shutil.rmtree(tmp_path / "log")
    bare = AuditLog(store, tmp_path / "log")
    assert (bare.root(), bare.inclusion_proof(17)) == (root, proof)


def test_questions_beyond_the_log_are_refused(store: Store, log: AuditLog) -> None:
    fill(store, log, 3)
    for ask in (
        lambda: log.inclusion_proof(3),
        lambda: log.inclusion_proof(0, 4),
        lambda: log.consistency_proof(0),
        lambda: log.root(4),
    ):
        with pytest.raises(Invalid):
            ask()
    with pytest.raises(NotFound):
        log.entry(3)


def test_what_was_said_about_a_job_is_found(store: Store, log: AuditLog) -> None:
    write(store, 2, "urn:one")
    write(store, 3, "urn:two")
    log.sequence()
    assert [entry.index for entry in log.of_subject("urn:two")] == [2, 3, 4]


def test_tiles_lie_where_c2sp_says(store: Store, log: AuditLog, tmp_path: Path) -> None:
    fill(store, log, 600)
    found = {
        str(path.relative_to(tmp_path / "log"))
        for path in (tmp_path / "log").rglob("*")
        if path.is_file()
    }
    assert found == {
        *("tile/0/000", "tile/0/001", "tile/0/002.p/88"),
        "tile/1/000.p/2",
    }


@given(st.integers(0, 10**12))
def test_the_path_of_a_tile_has_groups_of_three_digits(number: int) -> None:
    path = Tiles(Path("/log")).path(0, number).relative_to("/log/tile/0")
    *upper, last = path.parts
    assert all(part.startswith("x") and len(part) == 4 for part in upper)
    assert len(last) == 3
    assert int("".join(part.removeprefix("x") for part in path.parts)) == number


def test_the_hashes_of_a_second_level_are_right(tmp_path: Path) -> None:
    """Over 65,536 leaves, whose tree has three levels of tiles; no leaf is asked for."""

    def leaves_of(first: int, end: int) -> bytes:
        raise AssertionError("the tiles hold all hashes")

    grown, leaves = TiledTree(Tiles(tmp_path / "log"), leaves_of), 256 * 256 + 3
    tree = merkle.Tree()
    for start in range(0, leaves, 8192):
        batch = [
            merkle.leaf_hash(n.to_bytes(4, "big")) for n in range(start, min(leaves, start + 8192))
        ]
        for leaf in batch:
            tree.append(leaf)
        grown.append(start, b"".join(batch))
    hash_at = grown.hashes_of(leaves)
    assert merkle.root_at(leaves, hash_at) == tree.root()
    for index in (0, 255, 256, 65_535, 65_536, 65_538):
        assert merkle.inclusion_proof_at(index, leaves, hash_at) == tree.inclusion_proof(index)


# ── Tiles that a crash left out ──────────────────────────────────────────────────────────────


def test_missing_tiles_are_made_again(store: Store, log: AuditLog, tmp_path: Path) -> None:
    fill(store, log, 700)
    root = log.root()
    shutil.rmtree(tmp_path / "log/tile/1")
    (tmp_path / "log/tile/0/001").unlink()
    again = AuditLog(store, tmp_path / "log")
    assert again.repair() == 256
    assert (tmp_path / "log/tile/0/001").exists()
    assert (tmp_path / "log/tile/1/000.p/2").exists()
    assert again.root() == root
    assert again.verify() == []


def test_a_second_sequencer_does_not_fork_the_log(store: Store, tmp_path: Path) -> None:
    one, two = AuditLog(store, tmp_path / "log"), AuditLog(store, tmp_path / "log")
    fill(store, one, 10)
    fill(store, two, 300)
    fill(store, one, 10)
    assert one.size == 320
    assert one.verify() == []
    assert AuditLog(store, tmp_path / "log").repair() == 0


# ── Tampering ────────────────────────────────────────────────────────────────────────────────

SET_ENTRY = 'UPDATE audit_entry SET entry = :entry, leaf_hash = :leaf WHERE "index" = :index'


def forged(log: AuditLog, index: int) -> dict[str, object]:
    """The entry with another number in it, with a hash that fits."""
    entry = {**log.entry(index).value, "data": {"n": -1}}
    content = rfc8785.dumps(entry)
    return {"index": index, "entry": content, "leaf": merkle.leaf_hash(content)}


def test_an_intact_log_has_no_faults(store: Store, log: AuditLog) -> None:
    fill(store, log, 400)
    anchor(store, log, 300)
    assert log.verify() == []


def test_an_edited_line_is_named(store: Store, log: AuditLog) -> None:
    fill(store, log, 400)
    run_sql(
        store,
        "UPDATE audit_entry SET entry = CAST(entry || X'20' AS BLOB) WHERE \"index\" = 123",
    )
    run_sql(store, "UPDATE audit_entry SET entry = 'text' WHERE \"index\" = 200")
    assert log.verify() == [Fault(n, "edited: its hash is another") for n in (123, 200)]


def test_an_edited_column_is_named(store: Store, log: AuditLog) -> None:
    fill(store, log, 400)
    run_sql(store, "UPDATE audit_entry SET actor = 'nobody' WHERE \"index\" = 17")
    assert [fault.index for fault in log.verify()] == [17]


def test_an_edited_line_with_a_fitting_hash_is_named_by_its_tile(
    store: Store, log: AuditLog
) -> None:
    fill(store, log, 400)
    run_sql(store, SET_ENTRY, **forged(log, 300))
    assert log.verify() == [Fault(300, "replaced: its tile has another hash")]


def test_an_edit_of_database_and_tiles_is_found_by_the_anchors(
    store: Store, log: AuditLog, tmp_path: Path
) -> None:
    fill(store, log, 400)
    for size in (100, 200, 400):
        anchor(store, log, size)
    run_sql(store, SET_ENTRY, **forged(log, 150))
    shutil.rmtree(tmp_path / "log")
    (fault, *_) = log.verify()
    assert fault.index == 100
    assert "[100, 200)" in fault.what


def test_a_removed_line_is_named(store: Store, log: AuditLog) -> None:
    fill(store, log, 400)
    run_sql(store, 'DELETE FROM audit_entry WHERE "index" = 250')
    assert [fault.index for fault in log.verify()] == [250]


def test_two_lines_that_changed_places_are_named(store: Store, log: AuditLog) -> None:
    fill(store, log, 400)
    for old, new in ((10, -1), (11, 10), (-1, 11)):
        run_sql(
            store, 'UPDATE audit_entry SET "index" = :new WHERE "index" = :old', old=old, new=new
        )
    assert [fault.index for fault in log.verify()] == [10, 11]


def test_a_log_cut_at_its_end_is_named(store: Store, log: AuditLog, tmp_path: Path) -> None:
    fill(store, log, 400)
    run_sql(store, 'DELETE FROM audit_entry WHERE "index" >= 390')
    assert [fault.index for fault in log.verify()] == [390]
    shutil.rmtree(tmp_path / "log")
    assert log.verify() == []  # nothing but an anchor knows better now
    with store.begin() as session:
        session.add(Anchor(size=400, root="not hex", block=1, tx_hash="0x" + "00" * 32))
    assert [fault.index for fault in log.verify()] == [390]


@pytest.mark.parametrize("anchored", [False, True])
def test_sequencing_stops_at_a_log_that_was_changed(
    store: Store, log: AuditLog, tmp_path: Path, anchored: bool
) -> None:
    fill(store, log, 400)
    if anchored:
        anchor(store, log, 400)
        shutil.rmtree(tmp_path / "log")
    run_sql(store, SET_ENTRY, **forged(log, 0 if anchored else 33))
    write(store, 1)
    with pytest.raises(Failed) as differs:
        AuditLog(store, tmp_path / "log").sequence()
    assert differs.value.code == "AuditLogDiffers"
    assert differs.value.found == (0 if anchored else 33)
    assert log.pending == 1


# ── Checkpoints ──────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    home = tmp_path_factory.mktemp("keys")
    create_keys(home, b"secret", scrypt_cost=2**14)
    return Identity.load(Settings.load(home), b"secret")


def test_a_checkpoint_is_a_signed_note_of_the_head(
    store: Store, log: AuditLog, identity: Identity
) -> None:
    fill(store, log, 5)
    note = log.checkpoint(identity, SITE)
    lines = note.split("\n")
    assert lines[0] == f"fatechain/{SITE}"
    assert lines[1] == "5"
    assert lines[4].startswith(f"\u2014 fatechain/{SITE} ")
    opened = open_checkpoint(note, SITE, identity.audit_public)
    assert (opened.size, opened.root) == (5, log.root())


@pytest.mark.parametrize(
    ("old", "new", "refusal"),
    [
        ("\n5\n", "\n6\n", "NoteForged"),
        ("\n5\n", "\n05\n", "NoteForged"),
        ("fatechain/0x5e", "fatechain/0x5f", "NoteNotSigned"),
        ("\u2014", "-", "NoteMalformed"),
    ],
)
def test_an_altered_checkpoint_is_refused(
    store: Store, log: AuditLog, identity: Identity, old: str, new: str, refusal: str
) -> None:
    fill(store, log, 5)
    note = log.checkpoint(identity, SITE).replace(old, new)
    with pytest.raises(NodeError, match=refusal):
        open_checkpoint(note, SITE, identity.audit_public)


def test_a_checkpoint_signed_with_the_request_key_is_refused(
    store: Store, log: AuditLog, identity: Identity
) -> None:
    fill(store, log, 5)
    note = log.checkpoint(identity, SITE)
    with pytest.raises(Refused, match="NoteNotSigned"):
        open_checkpoint(note, SITE, identity.request_public)
