"""The lineage of a thing as a drawing: things in columns, what led to what from left to right."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

from node.api.views.lineage import LineageShown, ThingShown

COLUMN, ROW, WIDTH, HEIGHT, EDGE = 200, 56, 160, 40, 16
MOST = 60  # things that a drawing can tell apart; the list beside it has all
PAGES: Mapping[str, str] = {
    "dataset": "datasets",
    "grant": "grants",
    "job": "jobs",
    "model": "models",
}


def graph(found: LineageShown) -> Markup:
    """Each thing a link to its page; empty where there are too many to draw."""
    things = {thing.id: thing for thing in found.things}
    if len(things) > MOST:
        return Markup("")
    columns = _columns(found)
    places: dict[str, tuple[int, int]] = {}
    heights: dict[int, int] = {}
    for id in things:
        column = columns[id]
        row = heights[column] = heights.get(column, 0) + 1
        places[id] = (EDGE + column * COLUMN, EDGE + (row - 1) * ROW)
    width = EDGE * 2 + (max(columns.values(), default=0)) * COLUMN + WIDTH
    height = EDGE * 2 + max(heights.values(), default=1) * ROW
    parts = [
        Markup('<svg class="lineage" viewBox="0 0 {0} {1}" width="{0}" height="{1}">').format(
            width, height
        )
    ]
    for edge in found.edges:
        if edge.source in places and edge.target in places:
            parts.append(_edge(places[edge.source], places[edge.target], edge.what))
    parts += [_thing(things[id], place, id == found.root) for id, place in places.items()]
    return Markup("").join([*parts, Markup("</svg>")])


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


def _edge(source: tuple[int, int], target: tuple[int, int], what: str) -> Markup:
    x1, y1 = source[0] + WIDTH, source[1] + HEIGHT // 2
    x2, y2 = target[0], target[1] + HEIGHT // 2
    middle = (x1 + x2) // 2
    return Markup(
        '<path class="edge {}" d="M{} {} C{} {} {} {} {} {}"><title>{}</title></path>'
    ).format(what, x1, y1, middle, y1, middle, y2, x2, y2, what)


def _thing(thing: ThingShown, place: tuple[int, int], is_root: bool) -> Markup:
    x, y = place
    name = thing.name or thing.purpose or f"{thing.id[:8]}…{thing.id[-4:]}"
    marks = f"{thing.kind}{' root' if is_root else ''}{' affected' if thing.affected else ''}"
    return Markup(
        '<a href="/{}/{}"><g class="{}"><title>{}</title>'
        '<rect x="{}" y="{}" width="{}" height="{}" rx="6"/>'
        '<text x="{}" y="{}" text-anchor="middle">{}</text></g></a>'
    ).format(
        PAGES.get(thing.kind, "search"),
        thing.id,
        marks,
        f"{thing.kind} {thing.id}",
        x,
        y,
        WIDTH,
        HEIGHT,
        x + WIDTH // 2,
        y + HEIGHT // 2 + 5,
        name if len(name) <= 20 else f"{name[:19]}…",
    )
