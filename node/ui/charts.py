"""Charts as options of Apache ECharts: plain data that static/charts.js draws in the page.

An option holds no code.  A colour is the name of one of the style sheet's ("$accent"), so that a
chart follows the reader's scheme.  Every chart says in words what it shows, and stands beside a
table or list of the same, for who sees no drawing and for browsers without scripts.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

Option = dict[str, Any]

COLOURS = ("$accent", "$curve-1", "$curve-2", "$curve-3", "$curve-4", "$curve-5")
MOST_MARKED = 60  # points of a line that are marked each
QUIET = {"color": "$quiet", "fontSize": 12}
TOOLTIP = {
    # Drawn, not written as HTML: the policy of the pages lets no script put styles into markup.
    "renderMode": "richText",
    "confine": True,
    "backgroundColor": "$paper",
    "borderColor": "$line",
    "textStyle": {"color": "$ink", "fontSize": 12},
}
FINE = {"lineStyle": {"color": "$line"}}


@dataclass(frozen=True)
class Line:
    """A named series of (x, y); x ascending."""

    name: str
    points: Sequence[tuple[int, float]]


def figure(option: Option | None, *, height: int, width: int | None = None) -> Markup:
    """The place of a chart, in CSS pixels; as wide as its frame unless `width` is given.

    Hidden until it is drawn, and then an image with the option's description; empty for no option.
    """
    if option is None:
        return Markup("")
    return Markup(
        '<figure class="chart" data-chart="{}" data-height="{}"{} hidden></figure>'
    ).format(
        json.dumps(option, ensure_ascii=False, separators=(",", ":")),
        height,
        "" if width is None else Markup(' data-width="{}"').format(width),
    )


def base(label: str) -> Option:
    """What all charts have in common."""
    return {
        "animation": False,
        "aria": {"enabled": True, "label": {"description": label}},
        "textStyle": {"color": "$ink"},
        "tooltip": TOOLTIP,
    }


def told(lines: Sequence[Line], title: str) -> str:
    """The lines in words: each one's last value."""
    last = "; ".join(f"{line.name}: {number(line.points[-1][1])}" for line in lines)
    return f"{title}. {last}"


def finite(lines: Sequence[Line]) -> list[Line]:
    """Lines without their points that are no numbers, and only those that have a point left."""
    drawn = [Line(line.name, [p for p in line.points if math.isfinite(p[1])]) for line in lines]
    return [line for line in drawn if line.points]


def line_chart(lines: Sequence[Line], *, title: str, x_label: str) -> Option | None:
    """All lines on common axes; None where no line has a finite point."""
    drawn = finite(lines)
    if not drawn:
        return None
    return base(told(drawn, title)) | {
        "color": list(COLOURS),
        "tooltip": TOOLTIP | {"trigger": "axis"},
        "legend": {"top": 0, "textStyle": QUIET | {"color": "$ink"}, "itemWidth": 18},
        "grid": {"left": 8, "right": 18, "top": 36, "bottom": 24, "containLabel": True},
        "xAxis": {
            "type": "value",
            "name": x_label,
            "nameLocation": "middle",
            "nameGap": 26,
            "nameTextStyle": QUIET,
            "min": "dataMin",
            "max": "dataMax",
            "minInterval": 1,
            "axisLabel": QUIET | {"hideOverlap": True},
            "splitLine": {"show": False},
            "axisLine": FINE,
        },
        "yAxis": {"type": "value", "scale": True, "axisLabel": QUIET, "splitLine": FINE},
        "series": [
            {
                "type": "line",
                "name": line.name,
                "data": [[x, y] for x, y in line.points],
                "showSymbol": len(line.points) <= MOST_MARKED,
                "symbol": "circle",
                "symbolSize": 6,
            }
            for line in drawn
        ],
    }


def bar_chart(
    counts: Sequence[tuple[str, int]], *, title: str, colours: Mapping[str, str] | None = None
) -> Option | None:
    """A bar for each name in the order given; None where there is nothing but zeros."""
    if not any(count for _, count in counts):
        return None
    label = f"{title}. " + "; ".join(f"{name}: {count:,}" for name, count in counts)
    colour = colours or {}
    return base(label) | {
        "tooltip": TOOLTIP | {"trigger": "axis", "axisPointer": {"type": "shadow"}},
        "grid": {"left": 8, "right": 12, "top": 16, "bottom": 4, "containLabel": True},
        "xAxis": {
            "type": "category",
            "data": [name for name, _ in counts],
            "axisLabel": QUIET | {"hideOverlap": True},
            "axisLine": FINE,
            "axisTick": {"show": False},
        },
        "yAxis": {"type": "value", "minInterval": 1, "axisLabel": QUIET, "splitLine": FINE},
        "series": [
            {
                "type": "bar",
                "name": title,
                "barMaxWidth": 42,
                "itemStyle": {"borderRadius": [3, 3, 0, 0]},
                "data": [
                    {"value": count, "itemStyle": {"color": colour.get(name, "$accent")}}
                    for name, count in counts
                ],
            }
        ],
    }


BAR_WIDTH, BAR_HEIGHT = 400, 20


def tally_bar(counts: Mapping[str, int], quorum: int | None, *, title: str) -> Markup:
    """Votes side by side in the order given, against the quorum as a line; `counts` maps a class
    of the style sheet to a number of votes.  All together are never wider than the bar.
    """
    width = max(sum(counts.values()), quorum or 0, 1)
    parts = [
        Markup(
            '<svg class="tally" viewBox="0 0 {} {}" preserveAspectRatio="none" '
            'role="img" aria-label="{}">'
        ).format(BAR_WIDTH, BAR_HEIGHT, title),
        Markup('<rect class="ground" width="{}" height="{}" rx="4"/>').format(
            BAR_WIDTH, BAR_HEIGHT
        ),
    ]
    start = 0.0
    for name, count in counts.items():
        length = count / width * BAR_WIDTH
        if count:
            parts.append(
                Markup('<rect class="{}" x="{:.1f}" width="{:.1f}" height="{}"/>').format(
                    name, start, length, BAR_HEIGHT
                )
            )
        start += length
    if quorum is not None:
        at = min(quorum / width * BAR_WIDTH, BAR_WIDTH - 1)
        parts.append(
            Markup('<line class="quorum" x1="{0:.1f}" x2="{0:.1f}" y1="0" y2="{1}"/>').format(
                at, BAR_HEIGHT
            )
        )
    return Markup("").join([*parts, Markup("</svg>")])


def number(value: float) -> str:
    return f"{value:.4g}"
