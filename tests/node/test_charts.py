"""Charts: options that say what is so, words beside them, and the module that draws them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest

from node.api.views.life import Lane, Moment
from node.api.views.lineage import LineageShown
from node.api.views.messages import MessageShown
from node.api.views.names import Named
from node.ui import echarts, explorer
from node.ui.charts import Line, bar_chart, figure, line_chart
from node.ui.graph import COLUMN, MOST, WIDTH, graph, size_of
from node.ui.timeline import Row, height_of, timeline
from tests.node.face import OWN, new_id

HOSTILE = "<script>alert(1)</script>\"'{b}"
STYLE = (explorer.FOLDER / "static" / "explorer.css").read_text("utf-8")
CHARTS = (explorer.FOLDER / "static" / "charts.js").read_text("utf-8")


class _Figures(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[dict[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag == "figure"
        self.found.append(dict(attrs))


def strings(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """(name, text) of every text in an option."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, dict):
        for name, each in value.items():
            yield from strings(each, name)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from strings(each, key)


# ── The module that draws ────────────────────────────────────────────────────────────────────


def test_the_module_and_its_licence_are_the_pinned_ones() -> None:
    assert echarts.digests() == echarts.pinned()
    lock = json.loads((echarts.HERE / "package-lock.json").read_text("utf-8"))
    wanted = json.loads((echarts.HERE / "package.json").read_text("utf-8"))
    taken = lock["packages"]["node_modules/echarts"]
    assert taken["version"] == wanted["dependencies"]["echarts"]
    assert taken["integrity"].startswith("sha512-")
    module = (echarts.STATIC / echarts.MODULE).read_text("utf-8")
    assert f'"{taken["version"]}"' in module
    assert "Apache License" in (echarts.STATIC / echarts.LICENCE).read_text("utf-8")


def test_no_script_of_a_chart_makes_code_of_text() -> None:
    module = (echarts.STATIC / echarts.MODULE).read_text("utf-8")
    for text in (module, CHARTS):
        assert not re.search(r"\beval\(|new Function\b|import\(", text)
    assert "innerHTML" not in CHARTS


# ── The place of a chart ─────────────────────────────────────────────────────────────────────


def test_a_hostile_name_stays_text_in_the_page() -> None:
    option = line_chart([Line(HOSTILE, [(1, 1.0)])], title=HOSTILE, x_label=HOSTILE)
    made = figure(option, height=100)
    assert "<script>" not in made
    (found,) = _Figures(str(made)).found
    assert json.loads(found["data-chart"] or "") == option
    assert "hidden" in found


def test_nothing_to_draw_is_no_figure() -> None:
    assert figure(None, height=1) == ""
    assert line_chart([], title="t", x_label="x") is None
    assert line_chart([Line("a", [(1, float("nan"))])], title="t", x_label="x") is None
    assert bar_chart([("a", 0)], title="t") is None
    assert timeline([], [], chain="chain", title="t") is None


# ── Curves and bars ──────────────────────────────────────────────────────────────────────────


def test_a_curve_has_every_finite_value_and_says_the_last_in_words() -> None:
    points = [(1, 0.7), (2, float("inf")), (3, 0.4)]
    option = line_chart([Line("loss", points)], title="Loss", x_label="tree")
    assert option is not None
    assert option["series"][0]["data"] == [[1, 0.7], [3, 0.4]]
    assert option["aria"]["label"]["description"] == "Loss. loss: 0.4"
    json.dumps(option, allow_nan=False)


def test_bars_have_their_counts_colours_and_words() -> None:
    option = bar_chart([("good", 3), ("bad", 1)], title="Jobs", colours={"bad": "$bad"})
    assert option is not None
    bars = option["series"][0]["data"]
    assert [(bar["value"], bar["itemStyle"]["color"]) for bar in bars] == [
        (3, "$accent"),
        (1, "$bad"),
    ]
    assert option["aria"]["label"]["description"] == "Jobs. good: 3; bad: 1"


# ── The life of a job ────────────────────────────────────────────────────────────────────────

BANK = Named(id=OWN, name="bank")
SHOP, CLINIC = Named(id=new_id(), name=HOSTILE), Named(id=new_id(), name=None)
LANES = [
    Lane(site=site, role="host", mine=site is BANK, silent=site is CLINIC)
    for site in (BANK, SHOP, CLINIC)
]


def said(agree: bool | None, sent: str | None, received: str | None, *ends: Named) -> Row:
    facts = {"step": "train", "attempt": 1, "kind": "vertical.Said", "size": 3, "n": 1}
    sides = {"sent": sent, "received": received, "sender": ends[0], "receiver": ends[1]}
    times = {"at": 1.0, "sent_at": 1.0, "received_at": None}
    told = {**facts, **sides, **times, "has_receipt": False, "agree": agree}
    message = MessageShown.model_validate(told)
    return Row(moment("message", site=ends[0], good=agree, message=message), "said", None)


def moment(what: str, **facts: Any) -> Moment:
    none = dict.fromkeys(("site", "entry", "good", "message", "event"))
    return Moment.model_validate(
        {"what": what, "at": 1.0, "kind": "k", "details": [], **none, **facts}
    )


def test_a_message_is_an_arrow_with_what_both_ends_entered() -> None:
    rows = [
        said(True, "0x01", "0x01", BANK, SHOP),
        said(False, "0x01", "0x02", SHOP, BANK),
        said(None, "0x01", None, BANK, CLINIC),
    ]
    option = timeline(LANES, rows, chain="chain", title="Talk")
    assert option is not None
    arrows, marks = option["series"]
    assert [arrow["lineStyle"]["color"] for arrow in arrows["data"]] == ["$good", "$bad", "$quiet"]
    for arrow, (start, end) in zip(arrows["data"], [(0, 1), (1, 0), (0, 2)], strict=True):
        (from_, _), (to, _) = arrow["coords"]
        assert abs(from_ - start) < 0.1
        assert abs(to - end) < 0.1
        assert (to > from_) == (end > start)
    filled = [mark["itemStyle"]["color"] != "$paper" for mark in marks["data"]]
    assert filled == [True, True, True, True, True, False]
    assert height_of(rows) > height_of(rows[:1])


def test_what_a_party_did_is_in_its_lane_and_the_chain_has_one_of_its_own() -> None:
    event = {"block": 1, "log_index": 0, "tx_hash": "0x", "contract": "JobRegistry"}
    told = {**event, "name": "JobStarted", "args": {}}
    rows = [
        Row(moment("entry", site=SHOP, good=False), "failed", None),
        Row(moment("event", event=told), "started", "/events?block=1"),
    ]
    option = timeline(LANES, rows, chain="the chain", title="Life")
    assert option is not None
    lanes = option["xAxis"][0]["data"]
    failed, started = option["series"][1]["data"]
    assert (failed["value"], failed["itemStyle"]["color"]) == ([1, 0], "$bad")
    assert (lanes[started["value"][0]], started["link"]) == ("the chain", "/events?block=1")
    assert len(lanes) == len(LANES) + 1
    assert lanes[2].startswith("0x")


# ── Lineage ──────────────────────────────────────────────────────────────────────────────────


def told_lineage(ids: dict[str, str], *edges: tuple[str, str]) -> LineageShown:
    fact = {"block": 1, "tx_hash": "0x"}
    empty = ("state", "site", "member", "purpose", "does", "started", "ended", "reason", "scores")
    thing = dict.fromkeys(empty) | {"name": HOSTILE, "sites": [], "fact": fact, "affected": []}
    things = [{**thing, "id": id, "kind": kind.rstrip("0123456789")} for kind, id in ids.items()]
    told = [
        {"source": one, "target": other, "what": "used", "version": None, "fact": fact}
        for one, other in edges
    ]
    root = next(iter(ids.values()))
    facts = {"root": root, "block": 1, "things": things, "edges": told, "hidden": []}
    return LineageShown.model_validate(facts | {"complete": True})


def test_a_lineage_goes_from_what_was_used_to_what_came_of_it() -> None:
    ids = {kind: new_id() for kind in ("dataset", "grant", "job", "model")}
    path = list(ids.values())
    found = told_lineage(ids, *pairwise(path), (path[3], path[2]))  # the last goes in a circle
    option = graph(found, title="Lineage")
    assert option is not None
    lines, boxes = option["series"]
    places = {box["link"]: box["value"] for box in boxes["data"]}
    at = [places[f"/{kind}s/{id}"][0] for kind, id in ids.items()]
    assert at[0] < at[1] < at[2]
    assert len(lines["data"]) == 4
    half = WIDTH / 2 / COLUMN
    assert lines["data"][0]["coords"] == [[at[0] + half, 0], [at[1] - half, 0]]
    width, height = size_of(option)
    assert width >= 4 * WIDTH
    assert height > 0
    assert "{" not in boxes["data"][0]["label"]["formatter"]  # it would be a template there


def test_a_lineage_that_nobody_could_read_is_not_drawn() -> None:
    ids = {f"job{number}": new_id() for number in range(MOST + 1)}
    assert graph(told_lineage(ids), title="Lineage") is None


# ── What all of them keep to ─────────────────────────────────────────────────────────────────


@pytest.fixture
def options() -> list[dict[str, Any]]:
    ids = {kind: new_id() for kind in ("dataset", "grant", "job", "model")}
    made = (
        line_chart([Line(str(n), [(1, 1.0)]) for n in range(6)], title="t", x_label="x"),
        bar_chart([("a", 1)], title="t"),
        timeline(LANES, [said(True, "0x", None, BANK, SHOP)], chain="c", title="t"),
        graph(told_lineage(ids), title="t"),
    )
    return [option for option in made if option is not None]


def test_every_colour_is_one_of_the_style_sheet(options: list[dict[str, Any]]) -> None:
    assert len(options) == 4
    for option in options:
        named = [(key, text) for key, text in strings(option) if text.startswith("$")]
        assert named
        for key, text in named:
            assert key.lower().endswith("color"), (key, text)
            assert f"--{text[1:]}:" in STYLE, text


def test_every_chart_is_described_and_writes_no_markup(options: list[dict[str, Any]]) -> None:
    for option in options:
        assert option["aria"]["enabled"]
        assert option["aria"]["label"]["description"]
        assert option["tooltip"]["renderMode"] == "richText"
        assert option["animation"] is False
