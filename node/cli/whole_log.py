"""A whole log from a node, a mirror or a folder, verified by somebody who trusts none of them.

head        is of this site's log, signed by an audit key that the site has or had on the chain
tiles       make the root of the head, every one of them
entries     are those of the tree, where they are shown
times       of entries do not go back
cosigners   what other members said of this head
anchors     every head that the site anchored is one of this log, and none is beyond its end
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import httpx

from chain.client import ChainClient
from chain.history import History
from chain.network import Network
from chain.sites import ANCHOR, AUDIT
from chain.standalone import Check
from node.answers import AS_IT_IS, is_packed
from node.audit.account_key import AccountKey
from node.audit.checkpoint import Checkpoint, origin_of
from node.audit.note_keys import CosignerKey, Ed25519Key
from node.audit.notes import MAX_BYTES, Note, NoteKey
from node.audit.reading import MAX_BUNDLE_BYTES, TILE_BYTES, TileReader, TilesDiffer, time_of
from node.audit.reading import tile_path as path_of
from node.audit.tiles import WIDTH
from node.errors import Failed, Invalid, NodeError, NotFound, Refused, Unavailable
from node.mirror import TIME_SLACK_SECONDS

FILE_SECONDS = 60.0  # for one tile


class Source(Protocol):
    """Where the files of a log come from."""

    def read(self, path: str, limit: int) -> bytes:
        """Raises `NotFound`, `Refused`, `Failed`, `Unavailable`."""


@dataclass(frozen=True)
class Folder:
    """A copy on disk: ``checkpoint`` and ``tile/``."""

    root: Path

    def read(self, path: str, limit: int) -> bytes:
        try:
            with (self.root / path).open("rb") as file:
                content = file.read(limit + 1)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotFound("NotFound", f"{self.root} has no {path}", found=path) from error
        return _limited(content, path, limit)


@dataclass(frozen=True)
class Server:
    """A node or anything else that serves tiles; what it sends is limited and not unpacked."""

    url: str
    client: httpx.Client

    def read(self, path: str, limit: int) -> bytes:
        content, end = bytearray(), time.monotonic() + FILE_SECONDS
        try:
            with self.client.stream("GET", f"{self.url}/{path}") as answer:
                if answer.status_code == httpx.codes.NOT_FOUND:
                    raise NotFound("NotFound", f"{self.url} has no {path}", found=path)
                if answer.status_code in (401, 403):
                    raise Refused("RoleMissing", f"{path} is not shown to everybody", found=path)
                if not answer.is_success or is_packed(answer):
                    raise _bad_server(f"{path} with status {answer.status_code}, or packed")
                for chunk in answer.iter_bytes():
                    content += chunk
                    if len(content) > limit or time.monotonic() > end:
                        break
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _bad_server(f"{path}: {type(error).__name__}") from error
        if time.monotonic() > end:
            raise _bad_server(f"{path} not within {FILE_SECONDS:g} s")
        return _limited(bytes(content), path, limit)


@dataclass(frozen=True)
class Trusted:
    """What the chain says, or who asks: keys of the log, of its witnesses, and anchored heads."""

    keys: Sequence[Ed25519Key]
    cosigners: Sequence[tuple[str, NoteKey]] = ()  # member, and a key that he signs with
    anchors: Sequence[tuple[int, str]] = ()  # size and root, by size
    by_chain: bool = False


@dataclass
class Findings:
    checks: list[Check] = field(default_factory=list)
    unchecked: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, where: str, ok: bool, detail: str) -> None:
        self.checks.append(Check(name, where, ok, detail))


def inspect(
    where: str,
    site: str,
    rpc: str,
    consortium: str | None,
    chain_id: int | None = None,
    from_block: int = 0,
    key: str | None = None,
    token: str | None = None,
) -> dict[str, Any]:
    """Every check as JSON.  Raises `Invalid`, `Unavailable`, and what the chain raises."""
    if key is not None:
        trusted = Trusted([Ed25519Key(origin_of(site), _key(key))])
    else:
        assert consortium is not None
        network = Network.open(ChainClient(rpc, expected_chain_id=chain_id), consortium)
        trusted = of_chain(network, site, from_block)
    if not where.startswith(("http://", "https://")):
        return verify(Folder(Path(where)), where, site, trusted)
    headers = {**AS_IT_IS, **({"Authorization": f"Bearer {token}"} if token else {})}
    with httpx.Client(
        timeout=FILE_SECONDS, follow_redirects=False, trust_env=False, headers=headers
    ) as client:
        return verify(Server(where.rstrip("/"), client), where, site, trusted)


def of_chain(network: Network, site: str, from_block: int = 0) -> Trusted:
    """The keys that count, by the chain; those that ended count for what they signed."""
    head = network.client.head().number
    own = network.sites.member_of(site)
    cosigners: list[tuple[str, NoteKey]] = []
    for other in network.sites.sites():
        member = network.sites.member_of(other)
        if member != own and network.membership.standing(member) == "ACTIVE":
            cosigners += [(member, key) for key in _cosigner_keys(network, other)]
    events = History(network.client, [network.anchors.address]).read(from_block, head)
    anchors = {
        int(event.args["size"]): str(event.args["root"])
        for event in events
        if event.name == "Anchored" and event.args["site"] == site
    }
    keys = [Ed25519Key(origin_of(site), public) for public in _keys(network, site, AUDIT)]
    return Trusted(keys, cosigners, sorted(anchors.items()), by_chain=True)


def verify(source: Source, where: str, site: str, trusted: Trusted) -> dict[str, Any]:
    """The checks in their order; those that need what failed before are left out."""
    found = Findings()
    head = _verify_head(source, site, trusted, found)
    if head is not None:
        _verify_tree(source, head, trusted, found)
    if not trusted.by_chain:
        found.unchecked["key, cosigners, anchors"] = "the chain was not asked"
    return {
        "where": where,
        "site": site,
        "size": None if head is None else head.size,
        "root": None if head is None else "0x" + head.root.hex(),
        "ok": all(check.ok for check in found.checks),
        "checks": [
            {"name": c.name, "where": c.where, "ok": c.ok, "detail": c.detail} for c in found.checks
        ],
        "unchecked": found.unchecked,
    }


def _verify_head(source: Source, site: str, trusted: Trusted, found: Findings) -> Checkpoint | None:
    try:
        note = Note.parse(source.read("checkpoint", MAX_BYTES))
        head = Checkpoint.parse(note.text)
        if head.origin != origin_of(site):
            raise Invalid("CheckpointInvalid", f"it is the head of {head.origin}")
        note.opened(trusted.keys)
    except Unavailable:
        raise
    except NodeError as refusal:
        found.add("head", "checkpoint", False, str(refusal))
        return None
    found.add("head", "checkpoint", True, f"{head.size} entries, signed by the site's audit key")
    if trusted.by_chain:
        members, forged = set(), 0
        for line in note.signatures:
            for member, key in trusted.cosigners:
                try:
                    Note(note.text, (line,)).opened([key])
                    members.add(member)
                except Refused as refusal:
                    forged += refusal.code == "NoteForged"
        of = len({member for member, _ in trusted.cosigners})
        detail = f"{len(members)} of {of} other members" + (f", {forged} forged" * bool(forged))
        found.add("cosigners", "checkpoint", not forged, detail)
    return head


def _verify_tree(source: Source, head: Checkpoint, trusted: Trusted, found: Findings) -> None:
    def fetch(level: int | None, number: int, width: int) -> bytes:
        limit = MAX_BUNDLE_BYTES if level is None else TILE_BYTES
        return source.read(path_of(level, number, width), limit)

    progress = _Progress(trusted.anchors)
    try:
        tree = TileReader(fetch, head.size, head.root)
        for number in range(-(-head.size // WIDTH)):
            progress.look(tree, number)
    except Unavailable:
        raise
    except NodeError as refusal:
        entry = isinstance(refusal, TilesDiffer) and refusal.code.startswith(("Entry", "Bundle"))
        place = refusal.found if isinstance(refusal.found, str) else "tile"
        found.add("entries" if entry else "tiles", place, False, str(refusal))
        return
    found.add("tiles", "tile", True, f"make the root 0x{head.root.hex()}")
    if progress.withheld is None:
        found.add("entries", "tile/entries", True, f"{head.size} are those of the tree")
        detail = "do not go back" if progress.back is None else f"go back at {progress.back}"
        found.add("times", "tile/entries", progress.back is None, detail)
    else:
        found.unchecked["entries"] = progress.withheld
    if trusted.by_chain:
        _verify_anchors(head, trusted, progress, found)


def _verify_anchors(
    head: Checkpoint, trusted: Trusted, progress: _Progress, found: Findings
) -> None:
    if progress.differs is not None:
        detail = f"the head anchored at {progress.differs} entries is none of this log"
        found.add("anchors", f"size {progress.differs}", False, detail)
        return
    newest = max((size for size, _ in trusted.anchors), default=0)
    if newest > head.size:
        detail = f"{newest} entries are anchored and {head.size} shown: cut off, or not copied yet"
        found.add("anchors", f"size {newest}", False, detail)
        return
    beyond = head.size - newest
    detail = f"{len(trusted.anchors)} heads are of this log; {beyond} entries are beyond the last"
    found.add("anchors", f"size {newest}", True, detail)


class _Progress:
    """What was seen on the way through the tiles, each read once."""

    def __init__(self, anchors: Sequence[tuple[int, str]]) -> None:
        self.withheld: str | None = None  # why entries are not shown
        self.back: int | None = None  # the first entry that goes back in time
        self.differs: int | None = None  # the first anchored size with another root
        self._anchors: Iterator[tuple[int, str]] = iter(anchors)
        self._next = next(self._anchors, None)
        self._last = 0.0

    def look(self, tree: TileReader, number: int) -> None:
        tree.tile(0, number)
        if self.withheld is None:
            try:
                self._look_at(number * WIDTH, tree.bundle(number))
            except (Refused, NotFound) as refusal:
                self.withheld = refusal.detail
        end = min(tree.size, (number + 1) * WIDTH)
        while self._next is not None and self._next[0] <= end:
            size, root = self._next
            if self.differs is None and "0x" + tree.root_at(size).hex() != root:
                self.differs = size
            self._next = next(self._anchors, None)

    def _look_at(self, first: int, entries: list[bytes]) -> None:
        for index, entry in enumerate(entries, first):
            told = time_of(entry)
            if self.back is None and (told is None or told < self._last - TIME_SLACK_SECONDS):
                self.back = index
            self._last = max(self._last, told or 0.0)


def _cosigner_keys(network: Network, site: str) -> Iterator[NoteKey]:
    """Both lines that a witness gives: for readers of notes, and for contracts."""
    name, place = origin_of(site), (network.client.chain_id, network.anchors.address.lower())
    yield from (CosignerKey(name, public) for public in _keys(network, site, AUDIT))
    for account in _keys(network, site, ANCHOR):
        yield AccountKey(name, "0x" + account.hex(), *place)


def _keys(network: Network, site: str, purpose: str) -> list[bytes]:
    """Proven ones, those that ended as well."""
    return [
        bytes.fromhex(key.public_key[2:])
        for key in network.sites.keys(site)
        if key.purpose == purpose and network.sites.proves(site, key)
    ]


def _key(text: str) -> bytes:
    try:
        public = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        public = b""
    if len(public) != 32:
        raise Invalid("InvalidRequest", "--key is no Ed25519 key", allowed="0x and 64 digits")
    return public


def _limited(content: bytes, path: str, limit: int) -> bytes:
    if len(content) > limit:
        raise Failed("PartnerFailed", f"{path} has more than {limit} bytes", allowed=limit)
    return content


def _bad_server(detail: str) -> NodeError:
    return Unavailable("PartnerUnreachable", f"the log was not served: {detail}")
