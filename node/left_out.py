"""What an answer hides or leaves out although it was asked for, by the copy of its log kept here.

A pack shows what is not of its scope as bare hashes, and which entries those are only its issuer
knows; a node that copied the log (`node.mirror`) knows it, too: subject, time and type of an entry
stand in its leaf for every member.  What is not in the copy is counted and not judged.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from chain import canonical
from chain.errors import VerificationFailed
from chain.merkle import leaf_hash
from chain.pack import Chosen
from chain.standalone import Check, Report, looked
from node.audit.tiles import WIDTH
from node.errors import NodeError
from node.ledger import read_ledger
from node.mirror import Mirror

if TYPE_CHECKING:
    from node.site import Site

BEYOND = 1000  # entries on each side of the range: times of a log are nearly in order

LeafAt = Callable[[int], bytes | None]
"""The leaf of an entry of the log; None where it is not known."""


def with_copy(site: Site, content: bytes, report: Report, leaf_at: LeafAt | None = None) -> Report:
    """The report with one more check, of an answer that holds otherwise."""
    if not report.ok:
        return report
    value: dict[str, Any] = canonical.loads(content[:-1])
    known = leaf_at or copy_of(site, value["log"]["site"])
    return Report((*report.checks, *_checked(site, value, known)))


def copy_of(site: Site, log_id: str) -> LeafAt:
    """Reads this node's copy of a log, whose tiles make the head that its log signed."""
    mirror = Mirror(site, log_id)
    try:
        copied, tree = mirror.state().entries, mirror.tree()
    except NodeError:
        return lambda index: None  # the monitor tells of a copy that is damaged

    @lru_cache(maxsize=8)
    def bundle(number: int) -> list[bytes]:
        return tree.bundle(number)

    def leaf(index: int) -> bytes | None:
        if index >= copied:
            return None
        try:
            return bundle(index // WIDTH)[index % WIDTH]
        except NodeError:
            return None

    return leaf


def _checked(site: Site, value: Mapping[str, Any], leaf_at: LeafAt) -> Iterator[Check]:
    scope, log = value["scope"], value["log"]
    with site.store.read() as session:
        ledger = read_ledger(session)
    chosen = Chosen(site.agreed, ledger.until(scope["lastBlock"], ledger.time), scope)
    subjects = None if chosen.is_whole else chosen.subjects()

    def belongs(leaf: bytes) -> bool:
        entry = json.loads(leaf)
        start, end = scope["from"], scope["until"]
        return (
            (subjects is None or entry["subject"] in subjects)
            and (start is None or entry["time"] >= start)
            and (end is None or entry["time"] < end)
            and entry["type"] not in scope["redacted"]["kinds"]
        )

    def look() -> Iterator[tuple[str, str]]:
        unknown = 0
        for position, part in enumerate(log["entries"]):
            if not isinstance(part, str):
                continue
            leaf = leaf_at(log["first"] + position)
            if leaf is None:
                unknown += 1
                continue
            where = f"$.log.entries[{position}]"
            if "0x" + leaf_hash(leaf).hex() != part:
                raise VerificationFailed(where, part, "the leaf of the copy of this log")
            if belongs(leaf):
                raise VerificationFailed(where, "a bare hash", "an entry of the scope, shown")
        for index in _beside(log):
            leaf = leaf_at(index)
            if leaf is not None and belongs(leaf):
                found = f"{log['first']} to {log['end']}, without {index}"
                raise VerificationFailed("$.log.first", found, "every entry of the scope")
        detail = f"{unknown} hidden entries are not in our copy" if unknown else "by our copy"
        yield "$.log.entries", f"no entry of the scope is hidden or left out ({detail})"

    yield from looked("complete", look)


def _beside(log: Mapping[str, Any]) -> Iterator[int]:
    """Entries next to the range, which the pack says are outside of it."""
    first, end, size = log["first"], log["end"], log["anchored"]["size"]
    yield from range(max(0, first - BEYOND), first)
    yield from range(end, min(size, end + BEYOND))
