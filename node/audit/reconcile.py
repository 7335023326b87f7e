"""Two logs of one job held against each other: every message stands in both, with one digest.

The sender entered ``message.sent``, the receiver ``message.received``.  What one side left out is
found as well as what it changed.  Pure: entries in, a verdict out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from node.audit.entries import type_of

SENT, RECEIVED = type_of("message.sent"), type_of("message.received")


@dataclass(frozen=True, order=True)
class Said:
    """A message as a log has it: the address, and what was said."""

    step: str
    attempt: int
    sender: str
    receiver: str
    kind: str
    n: int
    digest: str
    size: int

    @property
    def address(self) -> tuple[Any, ...]:
        return (self.step, self.attempt, self.sender, self.receiver, self.kind, self.n)


@dataclass(frozen=True)
class Missing:
    """A message that ``site`` left out of its log and the other side entered."""

    site: str
    message: Said


@dataclass(frozen=True)
class Different:
    """One address, and what each side entered there: other digests or sizes, or several."""

    sent: tuple[Said, ...]
    received: tuple[Said, ...]

    @property
    def address(self) -> tuple[Any, ...]:
        return self.sent[0].address


@dataclass(frozen=True)
class Reconciliation:
    """The verdict on the messages between two sites in one job."""

    matched: tuple[Said, ...]
    missing: tuple[Missing, ...]
    different: tuple[Different, ...]

    @property
    def agrees(self) -> bool:
        return not self.missing and not self.different

    @property
    def count(self) -> int:
        return len(self.matched)

    @property
    def bytes(self) -> int:
        return sum(message.size for message in self.matched)

    def to_json(self) -> dict[str, Any]:
        """What the audit log keeps of it."""
        return {
            "agrees": self.agrees,
            "count": self.count,
            "bytes": self.bytes,
            "missing": [
                {"site": gap.site, "address": list(gap.message.address)} for gap in self.missing
            ],
            "different": [{"address": list(pair.address)} for pair in self.different],
        }


def reconcile(
    site_a: str,
    entries_a: Iterable[Mapping[str, Any]],
    site_b: str,
    entries_b: Iterable[Mapping[str, Any]],
    *,
    attempt: int | None = None,
) -> Reconciliation:
    """Hold the messages between two sites, as each entered them for one job, against each other.

    Entries are {"type", "data"}, with the data opened; other kinds, and messages with third
    parties, are passed over; an entry that repeats another counts once.  With an ``attempt`` only
    its messages count: a lost attempt may end in mid-sentence.  Raises ValueError for an entry
    that names a message its site has no part in.
    """
    logs = {site_a: _messages(site_a, entries_a), site_b: _messages(site_b, entries_b)}
    matched: list[Said] = []
    missing: list[Missing] = []
    different: list[Different] = []
    for sender, receiver in ((site_a, site_b), (site_b, site_a)):
        sent = _between(logs[sender][SENT], sender, receiver, attempt)
        received = _between(logs[receiver][RECEIVED], sender, receiver, attempt)
        for address in sorted(sent.keys() | received.keys()):
            ours, theirs = sent.get(address, set()), received.get(address, set())
            if not ours or not theirs:
                lacking = receiver if ours else sender
                missing.extend(Missing(lacking, message) for message in sorted(ours | theirs))
            elif ours == theirs and len(ours) == 1:
                matched.extend(ours)
            else:
                different.append(Different(tuple(sorted(ours)), tuple(sorted(theirs))))
    return Reconciliation(tuple(sorted(matched)), tuple(missing), tuple(different))


def _messages(site: str, entries: Iterable[Mapping[str, Any]]) -> dict[str, list[Said]]:
    found: dict[str, list[Said]] = {SENT: [], RECEIVED: []}
    for entry in entries:
        if entry["type"] not in found:
            continue
        data = entry["data"]
        said = Said(
            data["step"],
            data["attempt"],
            data["sender"],
            data["receiver"],
            data["messageKind"],
            data["n"],
            data["digest"],
            data["size"],
        )
        own = said.sender if entry["type"] == SENT else said.receiver
        if own != site:
            raise ValueError(f"the log of {site} enters a message of {own} as its own")
        found[entry["type"]].append(said)
    return found


def _between(
    messages: Iterable[Said], sender: str, receiver: str, attempt: int | None
) -> dict[tuple[Any, ...], set[Said]]:
    found: dict[tuple[Any, ...], set[Said]] = {}
    for said in messages:
        ends = (said.sender, said.receiver) == (sender, receiver)
        if ends and attempt in (None, said.attempt):
            found.setdefault(said.address, set()).add(said)
    return found
