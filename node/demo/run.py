"""``fatechain demo``: the whole demonstration, told on the terminal."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

from rich.console import Console

from node.demo.report import Teller, closing, summary
from node.demo.stage import Stage
from node.demo.story import Story, to_line

DEFAULT_ROOT = Path(".demo")


def run(
    root: Path = DEFAULT_ROOT,
    *,
    engine: str = "anvil",
    keep: bool = False,
    rows: int | None = None,
    console: Console | None = None,
) -> Story:
    """Play the demonstration in ``root``; with ``keep`` the nodes run on until Ctrl-C.

    ``rows`` takes only the first rows of the data.  Raises `NodeError` when something does not
    happen as it should; all processes are ended then, too.
    """
    console = console or Console()
    teller = Teller(console)
    signal.signal(signal.SIGTERM, _interrupt)
    with Stage(root, engine=engine, say=teller.say) as stage:
        story = Story(stage, rows=rows)
        story.found_consortium()
        story.join_by_vote()
        story.register_data()
        story.give_grant()
        with teller.watching() as watch:
            story.run_job(watch)
        story.certify()
        story.look()
        story.refuse_without_grant()
        story.refuse_changed_specification()
        story.refuse_after_revocation()
        story.remove_a_line()
        story.account()
        console.print(summary(story))
        console.print(closing(story.outcome, keep, stage.root), highlight=False)
        print(to_line(story.outcome), flush=True)
        if keep:
            _until_interrupted()
    return story


def _until_interrupted() -> None:
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        return


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
