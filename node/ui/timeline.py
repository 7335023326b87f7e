"""What the parties of a job said to each other, as a drawing: a lane for each, time goes down.

Each message is an arrow with a mark at both ends: filled where that party entered the message,
empty where nothing is known of it; red where the two entered something else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from node.api.views.messages import MessageShown
from node.api.views.names import Named

LANE, ROW, TOP, LEFT, RADIUS = 220, 30, 44, 90, 5
NEAR = 14  # an arrow ends before the mark


def timeline(
    messages: Sequence[MessageShown], words: Mapping[bool | None, str], *, title: str
) -> Markup:
    """`words` tells whether both ends agree; empty where nothing was said."""
    if not messages:
        return Markup("")
    parties: dict[str, Named] = {}
    for message in messages:
        for party in (message.sender, message.receiver):
            parties.setdefault(party.id, party)
    lanes = {id: LEFT + number * LANE for number, id in enumerate(parties)}
    width = LEFT * 2 + (len(lanes) - 1) * LANE
    height = TOP + len(messages) * ROW + ROW // 2
    parts = [
        Markup(
            '<svg class="talk" viewBox="0 0 {0} {1}" width="{0}" height="{1}" '
            'role="img" aria-label="{2}">'
        ).format(width, height, title)
    ]
    for id, x in lanes.items():
        name = parties[id].name or f"{id[:8]}…{id[-4:]}"
        parts.append(
            Markup(
                '<g class="lane"><text x="{0}" y="20" text-anchor="middle">{1}</text>'
                '<line x1="{0}" y1="30" x2="{0}" y2="{2}"/></g>'
            ).format(x, name, height)
        )
    for row, message in enumerate(messages):
        parts.append(_arrow(message, lanes, TOP + row * ROW + ROW // 2, words))
    return Markup("").join([*parts, Markup("</svg>")])


def _arrow(
    message: MessageShown, lanes: Mapping[str, int], y: int, words: Mapping[bool | None, str]
) -> Markup:
    start, end = lanes[message.sender.id], lanes[message.receiver.id]
    way = 1 if end > start else -1
    tone = {True: "good", False: "bad", None: "wait"}[message.agree]
    told = f"{message.step} · {message.kind} {message.n} · {words[message.agree]}"
    tip = end - way * NEAR
    return Markup(
        '<g class="{}"><title>{}</title>{}<line x1="{}" y1="{}" x2="{}" y2="{}"/>'
        '<path d="M{} {} l{} -4 v8 z"/>{}'
        '<text x="{}" y="{}" text-anchor="middle">{} {}</text></g>'
    ).format(
        tone,
        told,
        _mark(start, y, is_entered=message.sent is not None),
        start + way * NEAR,
        y,
        tip,
        y,
        tip,
        y,
        -way * 8,
        _mark(end, y, is_entered=message.received is not None),
        (start + end) // 2,
        y - 5,
        message.kind.rpartition(".")[2],
        message.n,
    )


def _mark(x: int, y: int, *, is_entered: bool) -> Markup:
    return Markup('<circle class="{}" cx="{}" cy="{}" r="{}"/>').format(
        "entered" if is_entered else "unknown", x, y, RADIUS
    )
