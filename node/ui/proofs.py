"""An inclusion proof as steps from a leaf to the root, and as a drawing.

RFC 6962, section 2.1.1: at each level the hash so far is joined with a sibling to its left or
to its right; a level where the node has no sibling is passed over.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

ROW, WIDTH, NODE = 64, 560, 176


@dataclass(frozen=True)
class Step:
    """`result` = H(0x01 || left || right), with the sibling on `side`."""

    side: Literal["left", "right"]
    sibling: str
    result: str


def steps(index: int, size: int, leaf_hash: str, path: Sequence[str]) -> list[Step]:
    """Every join on the way up; raises ValueError for a path of the wrong length."""
    node, last = index, size - 1
    found = bytes.fromhex(leaf_hash[2:])
    made = []
    for item in path:
        if last == 0:
            raise ValueError(f"the path has {len(path)} hashes, more than a log of {size} needs")
        sibling = bytes.fromhex(item[2:])
        side: Literal["left", "right"] = "left" if node % 2 or node == last else "right"
        pair = sibling + found if side == "left" else found + sibling
        found = hashlib.sha256(b"\x01" + pair).digest()
        made.append(Step(side, item, "0x" + found.hex()))
        if side == "left":
            while node % 2 == 0 and node:
                node, last = node // 2, last // 2
        node, last = node // 2, last // 2
    if last:
        raise ValueError(f"the path has {len(path)} hashes, fewer than a log of {size} needs")
    return made


def drawing(made: Sequence[Step], leaf_hash: str, *, title: str) -> Markup:
    """The path as a tree: the root above, the leaf below, siblings at its sides."""
    height = ROW * (len(made) + 1)
    middle = WIDTH / 2
    hashes = [leaf_hash, *(step.result for step in made)]
    parts = [
        Markup('<svg class="proof" viewBox="0 0 {} {}" role="img" aria-label="{}">').format(
            WIDTH, height, title
        )
    ]
    for level, step in enumerate(made):
        y = height - ROW * (level + 1) + ROW / 2
        above = y - ROW
        aside = NODE / 2 + 8 if step.side == "left" else WIDTH - NODE / 2 - 8
        parts.append(_line(middle, y, middle, above, "path"))
        parts.append(_line(aside, y, middle, above, "side"))
        parts.append(_node(aside, y, step.sibling, "sibling"))
    for level, value in enumerate(hashes):
        y = height - ROW * (level + 1) + ROW / 2
        kind = "leaf" if level == 0 else "root" if level == len(made) else "inner"
        parts.append(_node(middle, y, value, kind))
    parts.append(Markup("</svg>"))
    return Markup("").join(parts)


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    return Markup('<line class="{}" x1="{:.0f}" y1="{:.0f}" x2="{:.0f}" y2="{:.0f}"/>').format(
        kind, x1, y1, x2, y2
    )


def _node(x: float, y: float, value: str, kind: str) -> Markup:
    text = f"{value[:10]}…{value[-6:]}"
    return Markup(
        '<g class="{}"><title>{}</title><rect x="{:.0f}" y="{:.0f}" width="{}" height="30" rx="6"/>'
        '<text x="{:.0f}" y="{:.0f}" text-anchor="middle">{}</text></g>'
    ).format(kind, value, x - NODE / 2, y - 15, NODE, x, y + 5, text)
