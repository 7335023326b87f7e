"""How the demonstration is told: remarks and progress on the way, one page at the end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from node.demo.browser import Seen
from node.demo.story import Outcome, Story

STEPS = ("psi", "train", "evaluate", "result")
SAID = {
    "psi": "match the rows privately",
    "train": "train together",
    "evaluate": "measure on held-out rows",
    "result": "agree on the result",
}


class Teller:
    """Remarks with the time since the start, and bars while the job runs."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.began = time.monotonic()

    def say(self, text: str) -> None:
        self.console.print(
            f"[dim]{time.monotonic() - self.began:6.1f} s[/]  {text}", highlight=False
        )

    @contextmanager
    def watching(self) -> Iterator[Any]:
        """Bars for the steps of a job; yields what `Story.run_job` calls with each look."""
        columns = (
            TextColumn("          {task.description:<26}"),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[text]}"),
            TimeElapsedColumn(),
        )
        progress = Progress(*columns, console=self.console)
        bars: dict[str, TaskID] = {}
        with progress:

            def watch(job: dict[str, Any]) -> None:
                for task in job["tasks"]:
                    self._show(progress, bars, task)

            yield watch

    def _show(self, progress: Progress, bars: dict[str, TaskID], task: dict[str, Any]) -> None:
        step, state = task["step"], task["state"]
        if state in ("WAITING", "READY") and step not in bars:
            return
        if step not in bars:
            bars[step] = progress.add_task(SAID.get(step, step), total=1, text="")
        finished = state == "SUCCEEDED"
        done, total = (1, 1) if finished else (task["done"], task["total"] or 1)
        text = "" if finished else task["text"]
        progress.update(bars[step], completed=done, total=total, text=text)
        if finished:
            progress.stop_task(bars[step])


def summary(story: Story) -> Panel:
    """The page a manager reads."""
    outcome = story.outcome
    return Panel(
        Group(
            _gain(outcome),
            _people(story),
            _evidence(outcome),
            _refusals(outcome),
            _costs(outcome),
        ),
        title="What the consortium did",
        padding=(1, 2),
    )


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left", expand=True)
    for heading in headings:
        table.add_column(heading)
    return table


def _gain(outcome: Outcome) -> Table:
    metrics = outcome.metrics
    alone, joint = metrics["alone"]["auc"], metrics["joint"]["auc"]
    table = _table(
        f"The joint model, on {metrics['rows']['heldOut']:,} rows that it never saw",
        "model",
        "AUC",
        "",
    )
    table.add_row("First Bank alone", f"{alone:.3f}", _bar(alone))
    table.add_row("First Bank with Corner Retail", f"[bold]{joint:.3f}[/]", _bar(joint))
    return table


def _bar(auc: float) -> str:
    """From a coin toss (0.5) to certainty (1.0) in thirty cells."""
    cells = round((auc - 0.5) / 0.5 * 30)
    return "█" * max(cells, 0)


def _people(story: Story) -> Table:
    table = _table("Who agreed to what", "party", "role", "agreed", "in block")
    titles = {site.site: site.title for site in story.stage.institutions.values()}
    for party in story.outcome.job["parties"]:
        proposer = party["role"] == "guest"
        table.add_row(
            titles[party["site"]["id"]],
            party["role"],
            "proposed the job" if proposer else "granted its data and approved the job",
            str(party["approved_block"]),
        )
    return table


def _evidence(outcome: Outcome) -> Table:
    told = outcome.reconciliation
    checks = outcome.verification["checks"]
    table = _table("The evidence", "what", "found")
    table.add_row("messages in both logs", f"{told['messages']:,}, each with its receipt")
    names = ("approvals", "grantUses", "results")
    counts = " · ".join(f"{told[name]}" for name in names)
    table.add_row("approvals · uses of grants · results in both logs", counts)
    verdict = "holds" if outcome.verification["ok"] else "[red]does not hold[/]"
    table.add_row("certificate, verified by Clear Audit", f"{verdict} ({len(checks)} checks)")
    table.add_row("the same in a browser, from a disk", _seen(outcome))
    if outcome.removal is not None:
        first = outcome.removal.found[0]
        what = f"found: {first['what']}, at line {first['index']:,}"
        table.add_row(f"line {outcome.removal.index:,} of the retailer's log, removed", what)
        place = outcome.removal.alert["evidence"]["place"]
        table.add_row("the same, by First Bank's node", f"found: {place} is served no more")
    table.add_row("model on the chain", str(outcome.job["model_id"]))
    return table


def _seen(outcome: Outcome) -> str:
    seen = outcome.seen
    if isinstance(seen, Seen):
        verdict = "[red]does not hold[/]" if seen.failed else "holds"
        return f"{verdict} ({seen.checks} checks)"
    return "nobody looked" if seen is None else f"nobody looked: {seen.detail}"


def _refusals(outcome: Outcome) -> Table:
    table = _table("What was refused", "attempt", "by", "reason")
    for refusal in outcome.refusals:
        table.add_row(refusal.attempt, f"the {refusal.by}", refusal.code)
    return table


def _costs(outcome: Outcome) -> Table:
    table = _table("What it cost", "what", "how much")
    table.add_row("the job, from proposal to certificate", f"{outcome.job_seconds:.0f} s")
    for who, gas in outcome.gas.items():
        table.add_row(f"gas: {who}", f"{gas:,}")
    return table


def closing(outcome: Outcome, kept: bool, root: Path) -> str:
    """Where to look on."""
    if kept:
        return (
            f"The nodes run on. Explorer: {outcome.explorer}   "
            f"Certificate: {outcome.certificate}\nCtrl-C ends them; so does the next `make demo`."
        )
    looked = (
        f"What the auditor saw: {' and '.join(str(path) for path in outcome.seen.pictures)}. "
        if isinstance(outcome.seen, Seen)
        else ""
    )
    return (
        f"{looked}The nodes were stopped; their folders stay in {root}. "
        "`make demo KEEP=1` leaves them running with the explorer open."
    )
