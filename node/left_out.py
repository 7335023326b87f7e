"""What an answer hides or leaves out although it was asked for, by the copy of its log kept here.

A pack shows what is not of its scope as bare hashes, and which entries those are only its issuer
knows; a node that copied the log (`node.mirror`) knows it, too: subject, time and type of an entry
stand in its leaf for every member.  Entries outside of the range that a pack shows are looked at
too, all that were copied: nothing else tells that a period is whole.  What is not in the copy is
counted and not judged.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from chain import canonical
from chain.errors import VerificationFailed
from chain.merkle import leaf_hash
from chain.pack import Chosen
from chain.standalone import Check, Report, looked
from node.audit.reading import time_of
from node.audit.tiles import WIDTH
from node.errors import NodeError
from node.ledger import read_ledger
from node.mirror import Mirror

if TYPE_CHECKING:
    from node.site import Site


@dataclass(frozen=True)
class Copied:
    """The first ``entries`` of a log; ``leaf_at`` gives None for what is not known."""

    entries: int
    leaf_at: Callable[[int], bytes | None]


def with_copy(site: Site, content: bytes, report: Report, copy: Copied | None = None) -> Report:
    """The report with one more check, of an answer that holds otherwise."""
    if not report.ok:
        return report
    value: dict[str, Any] = canonical.loads(content[:-1])
    known = copy or copy_of(site, value["log"]["site"])
    return Report((*report.checks, *_checked(site, value, known)))


def copy_of(site: Site, log_id: str) -> Copied:
    """Reads this node's copy of a log, whose tiles make the head that its log signed."""
    mirror = Mirror(site, log_id)
    try:
        copied, tree = mirror.state().entries, mirror.tree()
    except NodeError:
        return Copied(0, lambda index: None)  # the monitor tells of a copy that is damaged

    @lru_cache(maxsize=1)  # they are read in their order: a log of any size takes this much memory
    def bundle(number: int) -> list[bytes]:
        return tree.bundle(number)

    def leaf(index: int) -> bytes | None:
        if index >= copied:
            return None
        try:
            return bundle(index // WIDTH)[index % WIDTH]
        except NodeError:
            return None

    return Copied(copied, leaf)


def _checked(site: Site, value: Mapping[str, Any], copy: Copied) -> Iterator[Check]:
    scope, log = value["scope"], value["log"]
    with site.store.read() as session:
        ledger = read_ledger(session)
    chosen = Chosen(site.agreed, ledger.until(scope["lastBlock"], ledger.time), scope)
    subjects = None if chosen.is_whole else chosen.subjects()

    def belongs(leaf: bytes) -> bool:
        """What tells its time in another form than entries do counts as of every period."""
        entry = json.loads(leaf)
        start, end = scope["from"], scope["until"]
        has_time = time_of(leaf) is not None
        return (
            (subjects is None or entry["subject"] in subjects)
            and (start is None or not has_time or entry["time"] >= start)
            and (end is None or not has_time or entry["time"] < end)
            and entry["type"] not in scope["redacted"]["kinds"]
        )

    def look() -> Iterator[tuple[str, str]]:
        unknown = 0
        for position, part in enumerate(log["entries"]):
            if not isinstance(part, str):
                continue
            leaf = copy.leaf_at(log["first"] + position)
            if leaf is None:
                unknown += 1
                continue
            where = f"$.log.entries[{position}]"
            if "0x" + leaf_hash(leaf).hex() != part:
                raise VerificationFailed(where, part, "the leaf of the copy of this log")
            if belongs(leaf):
                raise VerificationFailed(where, "a bare hash", "an entry of the scope, shown")
        first, end, size = log["first"], log["end"], log["anchored"]["size"]
        missing = first + max(0, size - end)  # outside of the range, as far as not copied
        for beside in (range(min(first, copy.entries)), range(end, min(size, copy.entries))):
            for index in beside:
                leaf = copy.leaf_at(index)
                if leaf is None:
                    continue
                missing -= 1
                if belongs(leaf):
                    found = f"{first} to {end}, without {index}"
                    raise VerificationFailed("$.log.first", found, "every entry of the scope")
        lacking = ((unknown, "hidden entries"), (missing, "entries outside of the range"))
        told = " and ".join(f"{count} {what}" for count, what in lacking if count)
        detail = f"{told} are not in our copy" if told else "by our copy"
        yield "$.log.entries", f"no entry of the scope is hidden or left out ({detail})"

    yield from looked("complete", look)
