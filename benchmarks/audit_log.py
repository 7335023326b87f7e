"""The audit log of a site: recording, placing, verifying, and proofs in a log of ten million.

The same rows go once into a bare table, without hashes, commitments, sealed payloads, indices or
tiles, in transactions of the same size: that is the reference.  Entries count when they are
recorded, on disk (synchronous=FULL: that is the receipt) and have their places, on disk, too.

Beside what a clock says stands what the processor was busy with it (``…_per_cpu_second``), which
other programs on the machine disturb less.

Receipts are also given one by one, each in a transaction of its own, to eight threads at once, as
to messages that arrive together: SQLite lets in one writer after another, each with its own sync.

For the proofs no ten million entries are written: the tiles are made of as many leaf hashes, and
the database has the last entry alone, whose index is the size.  A proof reads nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from hashlib import shake_256
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

from sqlalchemy import Column, Integer, LargeBinary, MetaData, Table, insert

from chain import merkle
from node.audit.entries import record
from node.audit.log import AuditLog
from node.audit.tiles import HASH_BYTES, TILE_BYTES, WIDTH, Tiles
from node.audit.verification import MANY
from node.files import make_private
from node.migrations import migrate
from node.store import AuditEntry, Store

SITE, PARTNER = "0x" + "5e" * 32, "0x" + "aa" * 32
BATCH = 5000
THREADS = 8
_BARE = Table(
    "bare", MetaData(), Column("id", Integer, primary_key=True), Column("entry", LargeBinary)
)


def main(argv: list[str]) -> int:
    """Run it, print lines to read and then the JSON object."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks audit_log", description=__doc__)
    parser.add_argument("--entries", type=int, default=20_000, help="recorded and verified")
    parser.add_argument("--leaves", type=int, default=10_000_000, help="of the log to prove in")
    parser.add_argument("--proofs", type=int, default=200)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="that verify")
    parser.add_argument("--receipts", type=int, default=2000, help="given to eight threads at once")
    parser.add_argument("--folder", type=Path, help="on the disk to be measured; the system's /tmp")
    options = parser.parse_args(argv)
    if options.entries < MANY:
        options.processes = 1  # a short log is read by one process, whatever is asked for
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        written = _write_and_verify(Path(folder), options.entries, options.processes)
        at_once = _receive_at_once(Path(folder), options.receipts)
        proofs = _prove(Path(folder), options.leaves, options.proofs)
    load = os.getloadavg()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    peak += resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024 * options.processes
    result = {
        "benchmark": "audit_log",
        "entries": options.entries,
        **written,
        "concurrent_receipts_per_second": round(at_once),
        **proofs,
        "peak_rss_mb": round(peak),
        "processes": options.processes,
        "cores": os.cpu_count(),
        "load": [round(load[0], 1), round(load[1], 1)],
    }
    print(json.dumps(result))
    return 0


# ── Recording, placing, verifying ────────────────────────────────────────────────────────────


def _write_and_verify(folder: Path, entries: int, processes: int) -> dict[str, float]:
    store, bare = _store(folder / "node.db"), Store(f"sqlite:///{folder / 'bare.db'}")
    _BARE.metadata.create_all(bare.engine)
    log = AuditLog(store, folder / "log")
    recording, placing, reference, verifying = _Watch(), _Watch(), _Watch(), _Watch()
    for first in range(0, entries, BATCH):
        end = min(entries, first + BATCH)
        with recording, store.begin() as session:
            for number in range(first, end):
                record(session, "message.sent", f"0x{number // 500:064x}", _data(number), "worker")
        with placing:
            while log.sequence(BATCH):
                pass
        rows = [{"entry": entry.content} for entry in log.entries(first, end)]
        with reference, bare.begin() as session:
            session.execute(insert(_BARE), rows)
        _show("recorded and placed", end, entries)
    total = recording.seconds + placing.seconds
    print(f"{recording.rate(entries)} recorded, {placing.rate(entries)} placed, one after the")
    print(f"other in one process: {entries / total:,.0f} entries/s")
    print(f"the same rows into a bare table: {reference.rate(entries)}", flush=True)

    with verifying:
        faults = log.verify(
            processes=processes, progress=lambda done, all: _show("verified", done, all)
        )
    if faults:
        raise SystemExit(f"the log that was just written has faults: {faults}")
    print(f"{verifying.rate(entries)} verified, by processes: {processes}", flush=True)
    store.dispose()
    bare.dispose()
    return {
        "entries_per_second": round(entries / total),
        "entries_per_cpu_second": round(entries / (recording.busy + placing.busy)),
        "recorded_per_second": round(entries / recording.seconds),
        "placed_per_second": round(entries / placing.seconds),
        "bare_rows_per_second": round(entries / reference.seconds),
        "ratio": round(total / reference.seconds, 1),
        "cpu_ratio": round((recording.busy + placing.busy) / reference.busy, 1),
        "verify_entries_per_second": round(entries / verifying.seconds),
        "verify_entries_per_cpu_second": round(entries / verifying.busy),
    }


def _receive_at_once(folder: Path, receipts: int) -> float:
    """Receipts a second, of so many that `THREADS` ask for at the same time."""
    store = _store(folder / "receipts.db")

    def give(number: int) -> None:
        with store.begin() as session:
            record(session, "message.received", f"0x{number:064x}", _received(number), PARTNER)

    with ThreadPoolExecutor(THREADS) as threads:
        start = perf_counter()
        list(threads.map(give, range(receipts)))
        found = receipts / (perf_counter() - start)
    store.dispose()
    print(f"{found:,.0f} receipts/s to {THREADS} threads, each in its own transaction", flush=True)
    return found


class _Watch:
    """Seconds, and seconds of processor, of all that was done under it."""

    def __init__(self) -> None:
        self.seconds = self.busy = 0.0

    def __enter__(self) -> None:
        self._start, self._busy = perf_counter(), _busy()

    def __exit__(self, *_: object) -> None:
        self.seconds += perf_counter() - self._start
        self.busy += _busy() - self._busy

    def rate(self, count: int) -> str:
        return f"{count / self.seconds:,.0f}/s ({count / self.busy:,.0f} per second of processor)"


def _busy() -> float:
    """Seconds of processor of this process and of those that it started and that have ended."""
    return sum(os.times()[:4])


def _data(number: int) -> dict[str, object]:
    """What a message's entry tells, the most frequent one and among the longest."""
    return {
        "job": f"0x{number // 500:064x}",
        "step": "train",
        "attempt": 1,
        "sender": SITE,
        "receiver": PARTNER,
        "messageKind": "ml.protocols.forward",
        "n": number % 500,
        "digest": f"0x{number:064x}",
        "size": 4096,
        "receipt": {"digest": f"0x{number:064x}", "keyId": PARTNER},
    }


def _received(number: int) -> dict[str, object]:
    """What the entry of its receiver tells."""
    told = {name: value for name, value in _data(number).items() if name != "receipt"}
    return told | {"signatureDigest": f"0x{number:064x}"}


# ── Proofs ───────────────────────────────────────────────────────────────────────────────────


def _prove(folder: Path, leaves: int, count: int) -> dict[str, float]:
    store = _store(folder / "large.db")
    log = AuditLog(store, folder / "large")
    _make_tiles(Tiles(folder / "large"), leaves)
    last = dict.fromkeys(("id", "type", "subject", "actor", "time"), "")
    with store.begin() as session:
        row = {**last, "index": leaves - 1, "leaf_hash": _leaf(leaves - 1), "entry": b""}
        session.execute(insert(AuditEntry), row)
    root, rng = log.root(), random.Random(6962)
    took: dict[str, list[float]] = {"inclusion": [], "consistency": []}
    busy = 0.0
    for done in range(count):
        index, old = rng.randrange(leaves), rng.randrange(1, leaves)
        old_root, before = log.root(old), process_time()
        start = perf_counter()
        inclusion = log.inclusion_proof(index)
        middle = perf_counter()
        busy += process_time() - before
        consistency = log.consistency_proof(old)
        took["consistency"].append((perf_counter() - middle) * 1000)
        took["inclusion"].append((middle - start) * 1000)
        if not (
            merkle.verify_inclusion(root, leaves, index, _leaf(index), inclusion)
            and merkle.verify_consistency(old_root, old, root, leaves, consistency)
        ):
            raise SystemExit(f"a proof does not hold: entry {index}, size {old}")
        _show("proved", done + 1, count)
    store.dispose()
    for name, times in took.items():
        worst = sorted(times)[-max(1, count // 20)]
        print(f"{name} in {leaves:,}: median {median(times):.2f} ms, 19 of 20 within {worst:.2f}")
    return {
        "leaves": leaves,
        "proof_ms_at_10m": round(median(took["inclusion"]), 3),
        "proof_ms_p95": round(sorted(took["inclusion"])[-max(1, count // 20)], 3),
        "proof_cpu_ms": round(busy / count * 1000, 3),
        "consistency_ms_at_10m": round(median(took["consistency"]), 3),
    }


def _hashes(tile: int) -> bytes:
    """The hashes of the leaves of a tile: as a log's, they look like chance."""
    return shake_256(tile.to_bytes(8)).digest(TILE_BYTES)


def _leaf(number: int) -> bytes:
    at = number % WIDTH * HASH_BYTES
    return _hashes(number // WIDTH)[at : at + HASH_BYTES]


def _make_tiles(tiles: Tiles, leaves: int) -> None:
    """The tiles of a log, written once and without waiting for the disk, as no log may."""
    level, count, above = 0, leaves, b""
    while count:
        below, roots = above, []
        for number in range(-(-count // WIDTH)):
            path, width = tiles.path(level, number), min(WIDTH, count - number * WIDTH)
            start = number * TILE_BYTES
            tile = below[start : start + TILE_BYTES] if level else _hashes(number)
            if width == WIDTH:
                roots.append(merkle.subtree_root(tile))
            else:
                path = path.with_name(path.name + ".p") / str(width)
            make_private(path.parent)
            path.write_bytes(tile[: width * HASH_BYTES])
            if number % 1000 == 0:
                _show(f"tiles of level {level}", number * WIDTH, count)
        _show(f"tiles of level {level}", count, count)
        level, count, above = level + 1, len(roots), b"".join(roots)


def _store(path: Path) -> Store:
    store = Store(f"sqlite:///{path}")
    migrate(store)
    store.name_source(SITE)
    return store


def _show(text: str, done: int, total: int) -> None:
    print(f"\r{text}: {done:,}/{total:,}", end="\n" if done == total else "", file=sys.stderr)
