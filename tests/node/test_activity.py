"""How much happened at a site, as the overview shows it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from node.api.views import activity
from node.site import Site
from tests.node.face import add_entries, add_job, make_site

DAY = 24 * 3600


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with make_site(tmp_path / "bank") as site:
        yield site


def days(site: Site, now: float) -> list[int]:
    with site.store.read() as session:
        return [day.entries for day in activity.show(session, now).days]


def test_entries_are_counted_on_their_day_and_leave_with_it(site: Site) -> None:
    add_entries(site, 1)
    entered = datetime.fromisoformat(site.log.entry(0).time).timestamp()
    assert days(site, entered) == [0] * (activity.DAYS - 1) + [1]
    assert days(site, entered + 5 * DAY)[-6] == 1
    assert sum(days(site, entered + activity.DAYS * DAY)) == 0


def test_an_empty_log_has_nothing_on_any_day(site: Site) -> None:
    assert days(site, time.time()) == [0] * activity.DAYS


def test_jobs_are_counted_by_state_in_the_order_of_their_life(site: Site) -> None:
    for state in ("SUCCEEDED", "RUNNING", "SUCCEEDED"):
        add_job(site, state)
    with site.store.read() as session:
        found = activity.show(session, time.time()).states
    assert [(one.state, one.jobs) for one in found] == [("RUNNING", 1), ("SUCCEEDED", 2)]
