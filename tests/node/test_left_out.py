"""What an answer leaves out, by the copy of its log: all that was copied is looked at."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chain import canonical
from chain.merkle import leaf_hash
from chain.standalone import Check, Report
from node.audit.reading import time_of
from node.left_out import Copied, with_copy
from node.site import Site
from tests.node.face import make_site

SIZE = 5000
START, END = "2026-10-01T00:00:00.000000Z", "2026-11-01T00:00:00.000000Z"
WITHIN, BEFORE = "2026-10-05T10:00:00.000000Z", "2026-09-05T10:00:00.000000Z"
COMPACT = "20261005T100000.000000Z"  # the same time in another form: it compares as another text


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with make_site(tmp_path / "bank") as site:
        yield site


def leaf(time: str) -> bytes:
    return json.dumps({"subject": "", "time": time, "type": "fatechain.job.ended.v1"}).encode()


def looked_at(site: Site, log: dict[int, str], first: int, end: int, copied: int = SIZE) -> Check:
    """The check of a pack of a period with [first, end) as bare hashes; ``log`` has the times of
    its entries, which are otherwise of before the period."""

    def at(index: int) -> bytes:
        return leaf(log.get(index, BEFORE))

    scope: dict[str, Any] = dict.fromkeys(("site", "dataset", "job"))
    scope |= {"from": START, "until": END, "firstBlock": 0, "lastBlock": -1}
    scope["redacted"] = {"fields": [], "kinds": []}
    entries = ["0x" + leaf_hash(at(index)).hex() for index in range(first, end)]
    shown = {"site": site.id, "first": first, "end": end, "entries": entries}
    value = {"scope": scope, "log": {**shown, "anchored": {"size": SIZE}}}
    copy = Copied(copied, lambda index: at(index) if index < copied else None)
    whole = Report((Check("log", "$.log", True, ""),))
    return with_copy(site, canonical.dumps(value) + b"\n", whole, copy).checks[-1]


@pytest.mark.parametrize("hidden", [0, 1500, 2999, SIZE - 1])
@pytest.mark.parametrize(("first", "end"), [(0, 0), (2995, 2996), (SIZE, SIZE)])
def test_a_period_that_is_left_out_is_found_however_far_from_what_is_shown(
    site: Site, hidden: int, first: int, end: int
) -> None:
    found = looked_at(site, {hidden: WITHIN}, first, end)
    assert not found.ok
    assert f"without {hidden}" in found.detail
    assert looked_at(site, {}, first, end).ok


def test_what_was_not_copied_is_counted(site: Site) -> None:
    assert looked_at(site, {}, 10, 20).detail.endswith("(by our copy)")
    some = looked_at(site, {}, 10, 20, copied=15).detail
    assert f"5 hidden entries and {SIZE - 20} entries outside of the range are not in our" in some
    none = looked_at(site, {}, 10, 20, copied=0).detail
    assert f"10 hidden entries and {SIZE - 10} entries outside of the range" in none


@pytest.mark.parametrize("index", [15, 4000])
def test_a_time_in_another_form_hides_no_entry_from_a_period(site: Site, index: int) -> None:
    assert not looked_at(site, {index: COMPACT}, 10, 20).ok


@pytest.mark.parametrize(
    "time", [COMPACT, "2026-10-05T10:00:00Z", WITHIN + "\n", WITHIN.replace("Z", "+00:00")]
)
def test_a_time_in_another_form_is_none(time: str) -> None:
    assert time_of(leaf(WITHIN)) == 1_791_194_400.0
    assert time_of(leaf(time)) is None
