"""The life of a job as a chart: a lane for each party and one for the chain, time goes down.

Each row is a moment.  A message is an arrow with a mark at both ends, filled where that party
entered it, empty where nothing is known of its log; red where the two entered something else.
What a party did alone is a diamond in its lane, what the chain tells a square in the chain's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from node.api.views.life import Lane, Moment
from node.api.views.messages import MessageShown
from node.api.views.names import Named
from node.ui.charts import TOOLTIP, Option, base
from node.ui.written import short, when

ROW, HEAD = 26, 44
NARROW = 560  # CSS pixels
WORDS, FEW_WORDS = 400, 132  # pixels for the words on the left
NEAR = 0.05  # of a lane: an arrow ends before the mark
TONES = {True: "$good", False: "$bad", None: "$quiet"}


@dataclass(frozen=True)
class Row:
    """A moment, what it says in the reader's language, and the page that shows it."""

    moment: Moment
    says: str
    link: str | None


def height_of(rows: Sequence[Row]) -> int:
    """In CSS pixels."""
    return HEAD + ROW * len(rows) + 8


def timeline(
    lanes: Sequence[Lane], rows: Sequence[Row], *, chain: str, title: str
) -> Option | None:
    """None where nothing was said and done."""
    if not rows:
        return None
    # By number: two sites may have one name.
    places = {lane.site.id: number for number, lane in enumerate(lanes)}
    names = [_name(lane.site.name, lane.site.id) for lane in lanes]
    for row in rows:
        for site in _sites(row.moment):
            if site.id not in places:
                places[site.id] = len(names)
                names.append(_name(site.name, site.id))
    chain_lane = len(names)
    marks = [
        mark for number, row in enumerate(rows) for mark in _marks(row, number, places, chain_lane)
    ]
    arrows = [
        _arrow(row.moment.message, row.says, number, places)
        for number, row in enumerate(rows)
        if row.moment.message is not None
    ]
    times = [when(row.moment.at) for row in rows]
    spans_days = len({time[:10] for time in times if len(time) > 1}) > 1
    labels = [
        f"{time if spans_days else time[11:] or time}  {row.says}"
        for time, row in zip(times, rows, strict=True)
    ]
    return base(title) | {
        "tooltip": TOOLTIP | {"formatter": "{b}"},
        "grid": {"left": WORDS, "right": 8, "top": HEAD, "bottom": 8},
        "xAxis": [
            {
                "type": "category",
                "position": "top",
                "data": [*names, chain],
                "axisLabel": {
                    "color": "$ink",
                    "fontWeight": 600,
                    "interval": 0,
                    "overflow": "truncate",
                },
                "axisLine": {"show": False},
                "axisTick": {"show": False},
                "splitLine": {"show": False},
                "splitArea": {"show": True, "areaStyle": {"color": ["$paper", "$plain-ground"]}},
            },
            # The same lanes as numbers: an arrow ends before the mark.
            {"type": "value", "show": False, "min": -0.5, "max": chain_lane + 0.5},
        ],
        "yAxis": {
            "type": "category",
            "inverse": True,
            "axisLabel": {
                "color": "$quiet",
                "interval": 0,
                "align": "left",
                "overflow": "truncate",
            },
            "axisLine": {"show": False},
            "axisTick": {"show": False},
            "splitLine": {"show": True, "lineStyle": {"color": "$line", "opacity": 0.5}},
        },
        "series": [
            {
                "type": "lines",
                "coordinateSystem": "cartesian2d",
                "xAxisIndex": 1,
                "symbol": ["none", "arrow"],
                "symbolSize": 8,
                "lineStyle": {"width": 1.5, "opacity": 1},
                "data": arrows,
            },
            {"type": "scatter", "itemStyle": {"opacity": 1}, "data": marks},
        ],
        "media": [
            {
                "query": {"maxWidth": NARROW},
                "option": _fit([row.says for row in rows], FEW_WORDS, 10, 50),
            },
            {"option": _fit(labels, WORDS, 12, 120)},
        ],
    }


def _fit(labels: list[str], words: int, size: int, lane: int) -> Option:
    """What the rows are called; how wide their words and the lanes' names may be, and how big."""
    return {
        "grid": {"left": words, "right": 8},
        "yAxis": {
            "data": labels,
            "axisLabel": {"margin": words - 8, "width": words - 16, "fontSize": size},
        },
        "xAxis": [{"axisLabel": {"width": lane, "fontSize": size}}, {}],
    }


def _marks(
    row: Row, number: int, places: Mapping[str, int], chain_lane: int
) -> list[dict[str, Any]]:
    moment, tone = row.moment, TONES[row.moment.good]
    message = moment.message
    if message is None:
        lane = chain_lane if moment.site is None else places[moment.site.id]
        symbol = "rect" if moment.site is None else "diamond"
        colour = "$accent" if moment.site is None else tone
        return [_mark(lane, number, row.says, colour, symbol=symbol, link=row.link)]
    ends = ((message.sender, message.sent), (message.receiver, message.received))
    return [
        _mark(places[site.id], number, row.says, tone, is_filled=digest is not None)
        for site, digest in ends
    ]


def _mark(
    lane: int,
    number: int,
    says: str,
    colour: str,
    *,
    symbol: str = "circle",
    is_filled: bool = True,
    link: str | None = None,
) -> dict[str, Any]:
    mark = {
        "value": [lane, number],
        "name": says,
        "symbol": symbol,
        "symbolSize": 11 if symbol == "diamond" else 9,
        "itemStyle": {
            "color": colour if is_filled else "$paper",
            "borderColor": colour,
            "borderWidth": 1.5,
        },
    }
    return mark if link is None else mark | {"link": link}


def _arrow(
    message: MessageShown, says: str, number: int, places: Mapping[str, int]
) -> dict[str, Any]:
    start, end = places[message.sender.id], places[message.receiver.id]
    near = NEAR if end > start else -NEAR
    return {
        "name": says,
        "coords": [[start + near, number], [end - near, number]],
        "lineStyle": {"color": TONES[message.agree]},
    }


def _sites(moment: Moment) -> list[Named]:
    if moment.message is not None:
        return [moment.message.sender, moment.message.receiver]
    return [] if moment.site is None else [moment.site]


def _name(name: str | None, id: str) -> str:
    return name or short(id)
