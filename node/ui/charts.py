"""Curves as inline SVG: no script, no style attribute, colours from the style sheet."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDTH, HEIGHT = 640, 260
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 16, 36
TICKS = 5
TINY = 1e-9  # below this, and between values closer than this share, nothing is told apart
COLOURS = 6  # classes curve-0 … curve-5 of the style sheet


@dataclass(frozen=True)
class Line:
    """A named series of (x, y); x ascending."""

    name: str
    points: Sequence[tuple[int, float]]


def line_chart(lines: Sequence[Line], *, title: str, x_label: str) -> Markup:
    """A chart of all lines on common axes; empty where no line has a finite point.

    The title and each line's last value are text, for those who do not see the drawing.
    """
    drawn = [Line(line.name, [p for p in line.points if math.isfinite(p[1])]) for line in lines]
    drawn = [line for line in drawn if line.points]
    if not drawn:
        return Markup("")
    xs = [x for line in drawn for x, _ in line.points]
    ys = [y for line in drawn for _, y in line.points]
    x_ticks, y_ticks = whole_ticks(min(xs), max(xs)), ticks(min(ys), max(ys))
    x_low, x_high = min(xs), max(max(xs), min(xs) + 1)
    y_low, y_high = y_ticks[0], y_ticks[-1]

    def at(x: float, y: float) -> tuple[float, float]:
        across = (x - x_low) / (x_high - x_low)
        up = (y - y_low) / (y_high - y_low)
        return (
            LEFT + across * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM),
        )

    told = "; ".join(f"{line.name}: {_number(line.points[-1][1])}" for line in drawn)
    parts = [
        Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}. {}">').format(
            WIDTH, HEIGHT, title, told
        )
    ]
    for value in y_ticks:
        x, y = at(x_low, value)
        parts.append(_grid(LEFT, y, WIDTH - RIGHT, y))
        parts.append(_text(x - 8, y + 4, _number(value), "end"))
    for value in x_ticks:
        x, y = at(value, y_low)
        parts.append(_text(x, y + 18, str(value), "middle"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 2, x_label, "middle"))
    for number, line in enumerate(drawn):
        places = [at(x, y) for x, y in line.points]
        parts.append(_curve(places, f"curve-{number % COLOURS}"))
    parts.append(Markup("</svg>"))
    return Markup("").join([*parts, _legend(drawn)])


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


def ticks(low: float, high: float) -> list[float]:
    """Round values that enclose [low, high], about `TICKS` of them, at least two."""
    scale = max(abs(low), abs(high))
    if scale < TINY or high - low < TINY * scale:
        half = 0.5 * scale if scale >= TINY else 0.5
        low, high = low - half, high + half
    step = _round_up((high - low) / (TICKS - 1))
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, last + 1)]


def whole_ticks(low: int, high: int) -> list[int]:
    """Whole values in [low, high], about `TICKS` of them."""
    step = max(1, round(_round_up(max(high - low, 1) / (TICKS - 1))))
    return list(range(low, high + 1, step))


def _round_up(value: float) -> float:
    """The next of 1, 2, 2.5, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    for factor in (1.0, 2.0, 2.5, 5.0, 10.0):
        if value <= factor * power * (1 + 1e-9):
            return factor * power
    return 10.0 * power


def _curve(places: Sequence[tuple[float, float]], colour: str) -> Markup:
    dots = Markup("").join(
        Markup('<circle cx="{:.1f}" cy="{:.1f}" r="3"/>').format(x, y) for x, y in places
    )
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return Markup('<g class="curve {}"><polyline points="{}"/>{}</g>').format(colour, path, dots)


def _grid(x1: float, y1: float, x2: float, y2: float) -> Markup:
    return Markup('<line class="grid" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(
        x1, y1, x2, y2
    )


def _text(x: float, y: float, text: str, anchor: str) -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(
        x, y, anchor, text
    )


def _legend(lines: Sequence[Line]) -> Markup:
    items = Markup("").join(
        Markup('<li class="curve-{}"><span></span>{} <b>{}</b></li>').format(
            number % COLOURS, escape(line.name), _number(line.points[-1][1])
        )
        for number, line in enumerate(lines)
    )
    return Markup('<ul class="legend">{}</ul>').format(items)


def _number(value: float) -> str:
    return f"{value:.4g}"
