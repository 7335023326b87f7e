"""The lineage of a thing as a chart: things in columns, what led to what from left to right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from node.api.views.lineage import LineageShown, ThingShown
from node.ui.charts import TOOLTIP, Option, base
from node.ui.written import short

COLUMN, ROW, WIDTH, HEIGHT, EDGE = 225, 60, 170, 38, 20
MOST = 60  # things that a drawing can tell apart; the list beside it has all
PAGES: Mapping[str, str] = {
    "dataset": "datasets",
    "grant": "grants",
    "job": "jobs",
    "model": "models",
}
GROUNDS: Mapping[str, str] = {
    "dataset": "$plain-ground",
    "grant": "$wait-ground",
    "job": "$busy-ground",
    "model": "$good-ground",
}


def size_of(option: Option) -> tuple[int, int]:
    """Width and height of a drawing in which nothing touches, in CSS pixels."""
    columns = option["xAxis"]["max"] + 0.5
    rows = option["yAxis"]["max"] + 0.5
    return round(columns * COLUMN + 2 * EDGE), round(rows * ROW + 2 * EDGE)


def graph(found: LineageShown, *, title: str) -> Option | None:
    """Each thing leads to its page; None where there are too many to draw."""
    things = {thing.id: thing for thing in found.things}
    if len(things) > MOST:
        return None
    columns = _columns(found)
    heights: dict[int, int] = {}
    places: dict[str, tuple[int, int]] = {}
    for id in things:
        column = columns[id]
        places[id] = (column, heights.get(column, 0))
        heights[column] = places[id][1] + 1
    hidden = {"show": False, "type": "value", "min": -0.5}
    return base(title) | {
        "tooltip": TOOLTIP | {"formatter": "{b}"},
        "grid": {"left": EDGE, "right": EDGE, "top": EDGE, "bottom": EDGE},
        "xAxis": hidden | {"max": max(columns.values(), default=0) + 0.5},
        "yAxis": hidden | {"max": max(heights.values(), default=1) - 0.5, "inverse": True},
        "series": [
            {
                "type": "lines",
                "coordinateSystem": "cartesian2d",
                "symbol": ["none", "arrow"],
                "symbolSize": 9,
                "lineStyle": {"color": "$quiet", "width": 1.5, "opacity": 0.8},
                "data": [
                    _edge(edge.what, places[edge.source], places[edge.target])
                    for edge in found.edges
                    if edge.source in places and edge.target in places
                ],
            },
            {
                "type": "scatter",
                "symbol": "rect",
                "symbolSize": [WIDTH, HEIGHT],
                "itemStyle": {"color": "transparent", "opacity": 1},  # the box is the label's
                "emphasis": {"disabled": True},
                "data": [
                    _thing(things[id], place, id == found.root) for id, place in places.items()
                ],
            },
        ],
    }


def _columns(found: LineageShown) -> dict[str, int]:
    """How many steps lead to a thing at most; what goes in a circle is left where it was."""
    columns = {thing.id: 0 for thing in found.things}
    for _ in range(len(columns)):
        moved = False
        for edge in found.edges:
            if edge.source not in columns or edge.target not in columns:
                continue
            after = columns[edge.source] + 1
            if columns[edge.target] < after < len(columns):
                columns[edge.target] = after
                moved = True
        if not moved:
            break
    return columns


def _edge(what: str, source: tuple[int, int], target: tuple[int, int]) -> dict[str, Any]:
    """From the right side of a box to the left of another, or back where it goes in a circle."""
    half = WIDTH / 2 / COLUMN
    way = 1 if target[0] > source[0] else -1
    line = {"curveness": 0.0 if source[1] == target[1] else 0.06}
    return {
        "name": what,
        "coords": [[source[0] + way * half, source[1]], [target[0] - way * half, target[1]]],
        # Not there yet, as long as the job was only asked for.
        "lineStyle": line | ({"type": "dashed"} if what == "asked" else {}),
    }


def _thing(thing: ThingShown, place: tuple[int, int], is_root: bool) -> dict[str, Any]:
    name = thing.name or thing.purpose or short(thing.id)
    tone = "$bad" if thing.affected else "$accent" if is_root else "$line"
    return {
        "name": f"{thing.kind} {name}\n{thing.id}",
        "value": list(place),
        "link": f"/{PAGES.get(thing.kind, 'search')}/{thing.id}",
        "label": {
            "show": True,
            "formatter": name.replace("{", "(").replace("}", ")"),  # braces mean something there
            "color": "$ink",
            "backgroundColor": GROUNDS.get(thing.kind, "$plain-ground"),
            "borderColor": tone,
            "borderWidth": 2 if is_root or thing.affected else 1,
            "borderRadius": 6,
            "padding": [0, 8],
            "width": WIDTH - 16,
            "height": HEIGHT,
            "lineHeight": HEIGHT,
            "align": "center",
            "overflow": "truncate",
        },
    }
