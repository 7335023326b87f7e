"""How long a withdrawal takes from its block to standstill at every party, in real processes.

A bank and a retailer train together, each with its own node, worker and processes, on a testnet
with blocks of a second.  While they train, the retailer revokes its grant (``grant``), the members
suspend the retailer by a vote (``member``), or the retailer revokes its request key (``key``).
Counted are the seconds from the moment the block with the withdrawal could first be read to the end
of the last process of the job, at each party, as its signed receipt says; all clocks are this
machine's.  A round is one level of a tree: what the guest asks and the host answers; its length is
the median over the same jobs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from node.demo.stage import Institution, Stage
from node.demo.story import Story

if TYPE_CHECKING:
    from chain.network import Network

LOOK_SECONDS = 0.02
BEGIN_SECONDS = 900.0  # given up after: rows are matched and encrypted first
# Longer than any vote, which trees over lattice products are not.
PARAMS = {"n_estimators": 1000, "max_depth": 3, "learning_rate": 0.1, "scheme": "paillier"}
ROUND = "vertical.secureboost.Histograms"  # said once a level
KINDS = ("grant", "member", "key")


class Blocks:
    """When each block could first be read here, in Unix seconds."""

    def __init__(self, rpc_url: str) -> None:
        from chain.client import ChainClient

        self.client = ChainClient(rpc_url)
        self.seen: dict[int, float] = {}
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._look, name="blocks")

    def __enter__(self) -> Blocks:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    def _look(self) -> None:
        from chain.errors import ChainError

        last = self.client.head().number
        while not self._ending.wait(LOOK_SECONDS):
            try:
                head = self.client.head().number
            except ChainError:
                continue
            for number in range(last + 1, head + 1):
                self.seen[number] = time.time()
            last = max(last, head)


class Trial:
    """One job, one withdrawal, and what the receipts of both parties say of it."""

    def __init__(self, story: Story, network: Network, blocks: Blocks) -> None:
        self.story, self.network, self.blocks = story, network, blocks
        self.parties = (story.institution("bank"), story.institution("retailer"))

    def run(
        self, withdraw: Callable[[], object], is_withdrawn: Callable[[int], bool]
    ) -> tuple[list[float], list[float]]:
        """(seconds to standstill of each party, lengths of the rounds before)."""
        bank = self.parties[0]
        job_id = self.story.agree(params=self.story.params | PARAMS)
        stage = self.story.stage
        stage.until("training has begun", lambda: self._rounds(bank, job_id), within=BEGIN_SECONDS)
        withdraw()
        stops = {site.name: self._stop(site, job_id) for site in self.parties}
        block = min(stop["block"] for stop in stops.values())
        while is_withdrawn(block - 1):
            block -= 1
        seconds = [stop["ended_at"] - self.blocks.seen[block] for stop in stops.values()]
        told = ", ".join(f"{name} {s:.2f} s" for name, s in zip(stops, seconds, strict=True))
        reasons = {stop["reason"] for stop in stops.values()}
        print(f"  block {block}, {'/'.join(sorted(reasons))}: {told}", flush=True)
        return seconds, self._rounds(bank, job_id)

    def _stop(self, site: Institution, job_id: str) -> dict[str, Any]:
        """The party's own receipt, once it is signed."""

        def own() -> dict[str, Any] | None:
            shown = site.api.get(f"/v1/jobs/{job_id}")["stops"]
            return next((stop for stop in shown if stop["mine"] and stop["receipt"]), None)

        found: dict[str, Any] = self.story.stage.until(
            f"{site.name} has stopped", own, within=BEGIN_SECONDS
        )
        return found

    def _rounds(self, site: Institution, job_id: str) -> list[float]:
        kind = "fatechain.message.received.v1"
        entries = site.api.items("/v1/audit/entries", type=kind, subject=job_id)
        times = sorted(
            datetime.fromisoformat(entry["time"]).timestamp()
            for entry in entries
            if entry["data"]["messageKind"] == ROUND
        )
        return [later - earlier for earlier, later in pairwise(times)]


def main(argv: list[str]) -> int:
    """Run it, print lines to read and then the JSON object."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks revoke", description=__doc__)
    parser.add_argument("--rows", type=int, default=900, help="of the demonstration's data")
    parser.add_argument("--grants", type=int, default=5, help="revocations of a grant")
    parser.add_argument("--members", type=int, default=2, help="suspensions by a vote")
    parser.add_argument("--keys", type=int, default=2, help="revocations of a request key")
    options = parser.parse_args(argv)
    times = {"grant": options.grants, "member": options.members, "key": options.keys}
    seconds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    rounds: list[float] = []
    with (
        tempfile.TemporaryDirectory(prefix="fc") as folder,
        Stage(Path(folder) / "stage", say=lambda text: print(text, flush=True)) as stage,
    ):
        story = _play(stage, options.rows)
        with Blocks(stage.rpc_url) as blocks:
            trial = Trial(story, _network(stage), blocks)
            for kind in (each for each in KINDS for _ in range(times[each])):
                print(f"{kind}:", flush=True)
                found, lengths = ACTS[kind](story, trial)
                seconds[kind] += found
                rounds += lengths
    if not rounds or not any(seconds.values()):
        print("nothing was measured", file=sys.stderr)
        return 1
    _tell(seconds, rounds)
    return 0


def _play(stage: Stage, rows: int) -> Story:
    """A consortium that governs itself, with data and no grant yet."""
    story = Story(stage, rows=rows)
    story.found_consortium()
    story.join_by_vote()
    story.register_data()
    return story


def _network(stage: Stage) -> Network:
    from chain.client import ChainClient
    from chain.network import Network, NetworkFile

    file = NetworkFile.from_json(stage.network.read_text())
    return Network.open(ChainClient(stage.rpc_url), file.consortium)


# ── What is withdrawn ────────────────────────────────────────────────────────────────────────


def _revoke_grant(story: Story, trial: Trial) -> tuple[list[float], list[float]]:
    story.give_grant(uses=1, product_budget=100_000_000)
    grant, retailer = story.grant, story.institution("retailer")
    return trial.run(
        lambda: retailer.api.post(f"/v1/grants/{grant}/revoke"),
        lambda block: trial.network.consents.state(grant, block=block) == "REVOKED",
    )


def _suspend_member(story: Story, trial: Trial) -> tuple[list[float], list[float]]:
    story.give_grant(uses=1, product_budget=100_000_000)
    member = story.institution("retailer").member
    try:
        return trial.run(
            lambda: story.stage.suspend("retailer"),
            lambda block: trial.network.membership.standing(member, block=block) != "ACTIVE",
        )
    finally:
        story.stage.reinstate("retailer")


def _revoke_key(story: Story, trial: Trial) -> tuple[list[float], list[float]]:
    story.give_grant(uses=1, product_budget=100_000_000)
    retailer = story.institution("retailer")
    try:
        return trial.run(
            lambda: story.stage.revoke_key("retailer"),
            lambda block: not trial.network.sites.is_active(retailer.site, block=block),
        )
    finally:
        story.stage.renew_key("retailer")


ACTS = {"grant": _revoke_grant, "member": _suspend_member, "key": _revoke_key}


# ── What came of it ──────────────────────────────────────────────────────────────────────────


def _tell(seconds: dict[str, list[float]], rounds: list[float]) -> None:
    length = statistics.median(rounds)
    result: dict[str, Any] = {
        "benchmark": "revoke",
        "round_seconds": round(length, 3),
        "rounds": len(rounds),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
    }
    every = [s for found in seconds.values() for s in found]
    for kind, found in {**seconds, "all": every}.items():
        if not found:
            continue
        median, late = statistics.median(found), _percentile(found, 95)
        print(
            f"{kind}: {len(found)} standstills, median {median:.2f} s, 95th percentile {late:.2f} s"
            f" ({late / length:.2f} rounds of {length:.2f} s)"
        )
        result[kind] = {
            "standstills": len(found),
            "median_seconds": round(median, 3),
            "p95_seconds": round(late, 3),
            "most_seconds": round(max(found), 3),
            "ratio": round(median / length, 3),
            "p95_ratio": round(late / length, 3),
        }
    print(json.dumps(result))


def _percentile(values: list[float], percent: int) -> float:
    """The smallest value that so many percent do not exceed: a value that was measured."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
