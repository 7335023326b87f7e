"""A consortium of real processes that the system tests share: a testnet and four nodes."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from node.demo.stage import Stage
from node.demo.story import Story

ROWS = 900  # of the demonstration's data: a job takes seconds
SMALL = {"n_estimators": 2, "max_depth": 2}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs no consortium, or one of its own, comes before the shared one is founded: four
    idle nodes more make everything on the machine slower."""
    items.sort(key=lambda item: "story" in getattr(item, "fixturenames", ()))


def play(stage: Stage) -> Story:
    """The consortium founded, a member joined, data registered, the retailer's grant given."""
    story = Story(stage, rows=ROWS, params=SMALL)
    story.found_consortium()
    story.join_by_vote()
    story.register_data()
    story.give_grant(uses=30, product_budget=1_000_000)  # more than a tenth of so few rows
    return story


@pytest.fixture(scope="session")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """Founded once; what a test breaks it mends."""
    os.environ.pop("FATECHAIN_HOME", None)
    with Stage(tmp_path_factory.mktemp("fc") / "s") as stage:
        yield play(stage)
