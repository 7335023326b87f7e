"""How long the explorer's search takes over a million events of the chain, on SQLite.

The events are made up in the proportions of a busy consortium: jobs with approvals, uses of grants,
anchors, votes with reasons, over 60 sites.  They are read into the index as the sync process does
it, and then people look for what people look for: ids and digests, whole or by their beginnings,
sites that a fiftieth of all events name, kinds of events, words of reasons, several of these at
once, and what is not there.  The plain scan answers some of the same questions with ``LIKE``.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any

from sqlalchemy import insert, text

from node.api.views.search import search
from node.index.indexing import Indexing
from node.site import Site
from node.store import Base

SITES, ACCOUNTS = 60, 40
ROWS = 10_000  # of one insertion
WORDS = (
    *("purpose", "terms", "unclear", "budget", "rows", "limit", "lending", "fraud", "review"),
    *("audit", "expired", "column", "label", "renewal", "holiday", "merger", "duplicate"),
    *("schema", "refuse", "wait", "again", "later", "agreed", "quorum", "emergency"),
)
SURE = {"id": True, "beginning": True, "transaction": True, "site": True, "nothing": False}
SCAN = text(
    "SELECT id FROM chain_event WHERE args LIKE :part OR tx_hash LIKE :part OR name LIKE :part"
    " ORDER BY id DESC LIMIT 6"
)


def main(argv: list[str]) -> int:
    """Run it, print lines to read and then the JSON object."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks explorer", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--questions", type=int, default=400)
    parser.add_argument("--scans", type=int, default=40, help="questions that LIKE answers, too")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="fc") as folder:
        home = Path(folder) / "site"
        with Site.create(home, name="bank", scrypt_cost=2**10) as site:
            return _measure(site, options)


def _measure(site: Site, options: argparse.Namespace) -> int:
    known = _fill(site, options.events, random.Random(options.seed))
    start = perf_counter()
    read = Indexing(site.store, site.log).rebuild(_progress("indexed", options.events))
    built = perf_counter() - start
    print(f"{read:,} events indexed in {built:.0f} s, {read / built:,.0f} a second", flush=True)

    rng = random.Random(options.seed + 1)
    asked = [_question(rng, known) for _ in range(options.questions)]
    seconds: dict[str, list[float]] = {}
    for sort, question in asked:
        start = perf_counter()
        found = search(site, question)
        seconds.setdefault(sort, []).append(perf_counter() - start)
        if sort in SURE and bool(found.hits) != SURE[sort]:
            print(f"{question!r} ({sort}): {len(found.hits)} hits", file=sys.stderr)
            return 1
    for sort, some in sorted(seconds.items()):
        print(f"{sort}: median {statistics.median(some) * 1000:.1f} ms, p95 {_p95(some):.1f} ms")
    every = [each for some in seconds.values() for each in some]
    scans, same = _scan(site, asked[: options.scans])
    # Where hits are many, the newest are found at once by reading backwards; where they are few or
    # none, all is read: so the slow ones are compared.
    ratio = _p95(scans) / _p95(same)
    print(f"LIKE: p95 {_p95(scans):.0f} ms, the index for the same {_p95(same):.0f} ms", flush=True)
    result = {
        "benchmark": "explorer",
        "events": read,
        "questions": len(every),
        "search_median_ms": round(statistics.median(every) * 1000, 2),
        "search_p95_ms": round(_p95(every), 2),
        "search_max_ms": round(max(every) * 1000, 2),
        "scan_median_ms": round(statistics.median(scans) * 1000, 1),
        "scan_p95_ms": round(_p95(scans), 1),
        "ratio": round(ratio, 1),
        "indexed_per_second": round(read / built),
        "database_mb": round(_size(site) / 2**20),
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
    }
    print(json.dumps(result))
    return 0


# ── Events ───────────────────────────────────────────────────────────────────────────────────


def _fill(site: Site, count: int, rng: random.Random) -> dict[str, list[str]]:
    """Insert the events; some of what they name, to be asked for."""
    table = Base.metadata.tables["chain_event"]
    known: dict[str, list[str]] = {"site": [_id(rng) for _ in range(SITES)]}
    known |= {"account": [_id(rng)[:42] for _ in range(ACCOUNTS)], "id": [], "hash": []}
    rows = islice(_events(rng, known), count)
    told = _progress("made", count)
    done = 0
    while some := list(islice(rows, ROWS)):
        with site.store.begin() as session:
            session.connection().execute(insert(table), some)
        done += len(some)
        told(done)
    return known


def _events(rng: random.Random, known: dict[str, list[str]]) -> Iterator[dict[str, Any]]:
    for number, site in enumerate(known["site"]):
        args = {"id": site, "member": _id(rng), "name": f"Institution {number} Bank"}
        yield _event(rng, known, number, "SiteRegistry", "SiteRegistered", args)
    block = SITES
    while True:
        block += rng.randint(1, 9)
        yield from _job(rng, known, block)


def _job(rng: random.Random, known: dict[str, list[str]], block: int) -> Iterator[dict[str, Any]]:
    """What the chain tells of a job, in seven events, and of what happens beside it, in three."""
    job, first, second = _id(rng), *rng.sample(known["site"], 2)
    if len(known["id"]) < 20_000:
        known["id"].append(job)
    proposed = {"id": job, "proposer": first, "specification": _id(rng), "purpose": "lending"}
    moves: list[tuple[str, str, dict[str, Any]]] = [
        ("JobRegistry", "JobProposed", proposed),
        ("JobRegistry", "JobApproval", {"id": job, "site": first}),
        ("JobRegistry", "JobApproval", {"id": job, "site": second}),
        ("JobRegistry", "JobStarted", {"id": job}),
        ("ConsentRegistry", "ConsentUsed", {"id": _id(rng), "job": job, "used": 1}),
        ("JobRegistry", "JobAttested", {"id": job, "site": first, "result": _id(rng)}),
        ("JobRegistry", "JobFailed", {"id": job, "site": second, "reason": rng.choice(WORDS)}),
        ("AuditAnchor", "Anchored", {"site": first, "size": block, "root": _id(rng)}),
        ("AuditAnchor", "Anchored", {"site": second, "size": block, "root": _id(rng)}),
        ("ConsortiumGovernor", "VoteCast", _vote(rng, known)),
    ]
    for at, (contract, name, args) in enumerate(moves):
        yield _event(rng, known, block, contract, name, args, at)


def _vote(rng: random.Random, known: dict[str, list[str]]) -> dict[str, Any]:
    reason = " ".join(rng.sample(WORDS, 6))
    number = rng.randrange(2**255)
    return {"voter": rng.choice(known["account"]), "proposalId": number, "reason": reason}


def _event(
    rng: random.Random,
    known: dict[str, list[str]],
    block: int,
    contract: str,
    name: str,
    args: dict[str, Any],
    at: int = 0,
) -> dict[str, Any]:
    tx = _id(rng)
    if len(known["hash"]) < 20_000:
        known["hash"].append(tx)
    return {
        "block": block,
        "block_hash": f"0x{block:064x}",
        "tx_hash": tx,
        "log_index": at,
        "contract": contract,
        "name": name,
        "args": args,
    }


def _id(rng: random.Random) -> str:
    return f"0x{rng.getrandbits(256):064x}"


# ── Questions ────────────────────────────────────────────────────────────────────────────────


def _question(rng: random.Random, known: dict[str, list[str]]) -> tuple[str, str]:
    """What sort of question, and the question."""
    id, site, account = (rng.choice(known[name]) for name in ("id", "site", "account"))
    return rng.choice(
        [
            ("id", id),
            ("beginning", id[: rng.randint(6, 20)]),
            ("transaction", rng.choice(known["hash"])),
            ("address", account),
            ("site", site),
            ("name", f"institution {rng.randrange(SITES)}"),
            ("kind", rng.choice(["jobapproval", "votecast", "anchored", "consent", "job"])),
            ("word", rng.choice(WORDS)),
            ("words", " ".join(rng.sample(WORDS, 3))),
            ("site and kind", f"{site} {rng.choice(['jobattested', 'anchored'])}"),
            ("address and word", f"{account} {rng.choice(WORDS)}"),
            ("nothing", _id(rng)),
        ]
    )


def _scan(site: Site, asked: list[tuple[str, str]]) -> tuple[list[float], list[float]]:
    """Seconds that LIKE takes for the first word of each question, and that the index takes."""
    scans, same = [], []
    for _, question in asked:
        part = question.split()[0]
        with site.store.read() as session:
            start = perf_counter()
            session.execute(SCAN, {"part": f"%{part}%"}).all()
            scans.append(perf_counter() - start)
        start = perf_counter()
        search(site, part)
        same.append(perf_counter() - start)
    return scans, same


def _p95(seconds: list[float]) -> float:
    """In milliseconds; a value that was measured."""
    ordered = sorted(seconds)
    return ordered[max(0, -(-len(ordered) * 95 // 100) - 1)] * 1000


def _size(site: Site) -> int:
    file = site.store.engine.url.database
    return 0 if file is None else Path(file).stat().st_size


def _progress(what: str, total: int) -> Callable[[int], None]:
    def told(done: int) -> None:
        end = "\n" if done >= total else ""
        print(f"\r{what}: {done:,}/{total:,}", end=end, file=sys.stderr, flush=True)

    return told


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
