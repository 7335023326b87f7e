"""A copy of another site's log on this node's disk: whoever asks gets it, whatever becomes of it.

    HOME/mirror/<site>/checkpoint     the head that the tiles make, signed by its log
    HOME/mirror/<site>/tile/…         hashes and, where the log shows them to us, entries
    HOME/mirror/<site>/conflict/…     what was served against what is kept, both of them

It follows the heads that this site cosigned (`node.witness`), and keeps nothing that does not make
such a head.  A tile is written whole or not at all, the head after its tiles: a copy that was
interrupted goes on where it stood.  What was verified once is never written over.
"""

from __future__ import annotations

import hashlib
import math
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chain.merkle import EMPTY_ROOT
from node import alerts
from node.audit.checkpoint import Checkpoint, origin_of
from node.audit.note_keys import CosignerKey, Ed25519Key
from node.audit.notes import Note, NoteKey, Signature
from node.audit.reading import Fetch, TileReader, TilesDiffer, split_bundle, tile_path, time_of
from node.audit.tiles import HASH_BYTES, WIDTH, bundle
from node.errors import Invalid, NodeError, NotFound, Refused, TooLarge, Unauthenticated
from node.files import make_private, write_private
from node.store import MirroredLog, WitnessedHead

if TYPE_CHECKING:
    from node.site import Site

MAX_CONFLICTS = 10  # kept of one log
FREE_BYTES = 256 << 20  # of the disk are left to the node's own work
NOTED_EVERY = 32  # bundles: what was not noted before a kill is fetched once more
TIME_SLACK_SECONDS = 300.0  # entries of parallel work may be so much out of order
PLACED_SLACK_SECONDS = 3600.0  # they may wait so long for a place, and for a head that covers them


class CopyDiffers(Invalid):
    """What is kept and what was served do not go together; ``place`` names it."""

    def __init__(self, code: str, place: str, detail: str, kept: bytes, served: bytes) -> None:
        super().__init__(code, f"{place}: {detail}", found=place)
        self.place, self.kept, self.served = place, kept, served


class TileMissing(Invalid):
    """What the log served before, it serves no more."""

    def __init__(self, place: str) -> None:
        told = f"{place}: the log does not serve it any more"
        super().__init__("TileMissing", told, found=place)


class Mirror:
    """The copy of one log.  ``clock`` is in Unix seconds; any process may read, one may grow it."""

    def __init__(self, site: Site, log_id: str, clock: Callable[[], float] = time.time) -> None:
        self.site, self.log_id, self.clock = site, log_id, clock
        self.folder = site.settings.mirror_folder / log_id
        self._end_seen = (0, 0.0)  # the log ended with so many entries as late as this

    # ── What is kept ─────────────────────────────────────────────────────────────────────────

    def note(self) -> str | None:
        """The head of the copy, as its log signed it, with the cosignatures that were shown."""
        try:
            return (self.folder / "checkpoint").read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def head(self) -> Checkpoint:
        """The head of the copy; the empty one where there is none.  Raises ``MirrorDamaged``."""
        note = self.note()
        if note is None:
            return Checkpoint(origin_of(self.log_id), 0, EMPTY_ROOT)
        with _as_damage():
            head = Checkpoint.parse(Note.parse(note).text)
            if head.origin != origin_of(self.log_id):
                raise Invalid("CheckpointInvalid", "it is the head of another log")
            return head

    def read(self, level: int | None, number: int, width: int = WIDTH) -> bytes:
        """`node.audit.reading.Fetch` over the copy."""
        full = self.folder / tile_path(level, number)
        for path in (full, *_partials(full, width)):
            try:
                found = path.read_bytes()
            except FileNotFoundError:
                continue
            if level is not None:
                return found[: width * HASH_BYTES]
            entries = split_bundle(found, tile_path(None, number, width))
            if len(entries) >= width:
                return bundle(entries[:width])
        raise NotFound("NotFound", f"the copy has no {tile_path(level, number, width)}")

    def tree(self) -> TileReader:
        """The tree of the copy; raises `CopyDiffers` (``MirrorDamaged``)."""
        head = self.head()
        with _as_damage():
            return TileReader(self.read, head.size, head.root)

    # ── Growing ──────────────────────────────────────────────────────────────────────────────

    def copy(self, fetch: Fetch) -> None:
        """Fetch what is new up to the head that this site cosigned last, and verify it.

        Raises `TilesDiffer`, `CopyDiffers` (``LogForked``, ``TileChanged``, ``MirrorDamaged``),
        `Invalid` (``HeadWentBack``), `TileMissing`, `TooLarge` (``MirrorFull``), and what ``fetch``
        raises.
        """
        with self.site.store.read() as session:
            row = session.get(WitnessedHead, self.log_id)
        if row is None or not row.size:
            return
        head, kept = Checkpoint.parse(Note.parse(row.note).text), self.head()
        if head.size < kept.size:
            raise Invalid(
                "HeadWentBack",
                f"the witness knows {head.size} entries, and {kept.size} are copied",
                found=head.size,
                allowed=kept.size,
            )
        if head.size == kept.size and head.root != kept.root:
            raise self._forked(row.note)
        if head.size > kept.size:
            self._grow(kept, head, row.note, fetch)
        self._copy_entries(fetch)

    def _grow(self, kept: Checkpoint, head: Checkpoint, note: str, fetch: Fetch) -> None:
        tree = TileReader(fetch, head.size, head.root, self._kept)
        if kept.size and tree.root_at(kept.size) != kept.root:
            # These tiles make the new head, and they do not make the one that was signed before.
            raise self._forked(note)
        for level in reversed(tree.levels):
            for number in range(kept.size >> 8 * (level + 1), tree.full(level)):
                self._keep_tile(tree, level, number)
        for level, number, hashes in tree.edge():
            self._write(level, number, len(hashes) // HASH_BYTES, hashes)
        make_private(self.folder)
        write_private(self.folder / "checkpoint", note.encode())
        self.state(size=head.size, root="0x" + head.root.hex())

    def _keep_tile(self, tree: TileReader, level: int, number: int) -> None:
        served = tree.tile(level, number)
        left = self._kept(level, number)  # an interrupted copy got so far
        if not left:
            self._write(level, number, WIDTH, served)
        elif left != served:
            self._refuse_change(tile_path(level, number), left, served)

    def _kept(self, level: int, number: int) -> bytes:
        """`node.audit.reading.Kept`: what was fetched once is not asked for again."""
        try:
            return self.read(level, number)
        except NotFound:
            return b""

    def _copy_entries(self, fetch: Fetch) -> None:
        """Entries, where the log shows them to us; the hashes stand without."""
        head, row = self.head(), self.state()

        def either(level: int | None, number: int, width: int) -> bytes:
            return fetch(level, number, width) if level is None else self.read(level, number, width)

        with _as_damage():
            tree = TileReader(either, head.size, head.root)
        done, last = row.entries, row.last_time
        try:
            while done < head.size:
                number = done // WIDTH
                width = min(WIDTH, head.size - number * WIDTH)
                with _as_damage():
                    tree.tile(0, number)
                entries = tree.bundle(number)
                self._write(None, number, width, bundle(entries))
                last = self._hold_to_time(done, entries[done - number * WIDTH :], last)
                done = number * WIDTH + width
                if number % NOTED_EVERY == 0:
                    self.state(entries=done, last_time=last)
        except (Unauthenticated, Refused, NotFound) as refusal:
            if done and isinstance(refusal, NotFound):
                # It shows its entries, and some below this head are gone.
                self.state(entries=done, last_time=last)
                raise TileMissing(tile_path(None, number, width)) from refusal
            self.state(entries=done, last_time=last, withheld=str(refusal)[:500])
        except NodeError:
            self.state(entries=done, last_time=last)  # the next visit goes on here
            raise
        else:
            if (done, "") != (row.entries, row.withheld):
                self.state(entries=done, last_time=last, withheld="")

    def _hold_to_time(self, first: int, entries: list[bytes], last: float) -> float:
        """The latest time that entries tell; one long before those before it was dated back, and
        so was one long before this site saw the log end without it."""
        end, seen = self._end_seen
        for index, entry in enumerate(entries, first):
            told = time_of(entry)
            ahead = told is not None and told > self.clock() + TIME_SLACK_SECONDS
            late = index >= end and told is not None and told < seen - PLACED_SLACK_SECONDS
            if told is None or ahead or late or told < last - TIME_SLACK_SECONDS:
                evidence = {"index": index, "time": told, "after": last, "now": self.clock()}
                if late:
                    evidence["missing_at"] = seen
                self.alert("log.time_order", evidence, about=str(index))
            if told is not None and not ahead:
                last = max(last, told)
        return last

    def add_cosignatures(self, shown: str) -> None:
        """Keep beside the head what others said of it, where the log shows this very head.

        Only lines that hold by keys on the chain: a false one would condemn the whole note.  What
        would make it longer than a note may be is left out, lines of who spoke already first: a
        head that cannot be read any more would be the end of the copy.
        """
        kept = self.note()
        if kept is None or (told := Note.parse(shown)).text != (whole := Note.parse(kept)).text:
            return
        self._end_seen = self.head().size, self.clock()
        directory, origin = self.site.directory, origin_of(self.log_id)
        keys: list[NoteKey] = [Ed25519Key(origin, key) for key in directory.audit_keys(self.log_id)]
        for other in directory.sites():
            keys += [CosignerKey(origin_of(other), key) for key in directory.audit_keys(other)]
            keys += directory.anchor_keys(other)
        good: list[Signature] = []
        for line in told.signatures:
            try:
                good += Note(told.text, (line,)).opened(keys)
            except Refused:
                continue  # a stranger's, or a forged one: the head stands without it
        present = {line.name for line in whole.signatures}
        for line in sorted(good, key=lambda line: line.name in present):
            if (longer := whole.signed(line)).fits:
                whole = longer
        if str(whole) != kept:
            write_private(self.folder / "checkpoint", str(whole).encode())

    # ── Reading again ────────────────────────────────────────────────────────────────────────

    def reread(self, fetch: Fetch, count: int) -> None:
        """Hold ``count`` kept tiles, and the entries below, against the head and the server.

        Goes on where it ended last, or was hindered; after the last full tile the edge follows,
        and then the first one again.  Raises as `copy` does.
        """
        tree, row = self.tree(), self.state()
        if not tree.size:
            return
        end = min(row.reread + count, tree.full(0))
        done = row.reread
        try:
            while done < end:
                self._compare_at(tree, fetch, done, with_entries=row.entries >= (done + 1) * WIDTH)
                done += 1
        finally:
            if done != row.reread:
                self.state(reread=done)
        if end == tree.full(0):
            try:
                TileReader(fetch, tree.size, tree.root)
            except NotFound as missing:
                raise TileMissing(f"tiles of {tree.size} entries") from missing
            if tree.size % WIDTH and row.entries == tree.size:
                self._compare_entries(tree, fetch, end)
            self.state(reread=0, reread_at=self.clock())

    def due_again(self, within: float) -> int:
        """How many full tiles have to be read again now, all of them ``within`` these seconds."""
        row = self.state()
        full = row.size // WIDTH
        since = max(0.0, self.clock() - row.looked_at) if row.looked_at else 0.0
        return min(full, math.ceil(full * since / within))

    def _compare_at(
        self, tree: TileReader, fetch: Fetch, number: int, *, with_entries: bool
    ) -> None:
        """A tile of leaves, those above that end with it, and the entries below."""
        self._compare(tree, fetch, 0, number)
        for level in range(1, len(tree.levels)):
            if (number + 1) % WIDTH**level == 0:
                self._compare(tree, fetch, level, number // WIDTH**level)
        if with_entries:
            self._compare_entries(tree, fetch, number)

    def _compare(self, tree: TileReader, fetch: Fetch, level: int, number: int) -> None:
        with _as_damage():
            kept = tree.tile(level, number)
        path = tile_path(level, number)
        try:
            served = fetch(level, number, WIDTH)
        except NotFound as missing:
            raise TileMissing(path) from missing
        if served != kept:
            self._refuse_change(path, kept, served)

    def _compare_entries(self, tree: TileReader, fetch: Fetch, number: int) -> None:
        with _as_damage():
            entries = tree.bundle(number)
        kept, width = bundle(entries), len(entries)
        path = tile_path(None, number, width)
        try:
            served = fetch(None, number, width)
        except (Unauthenticated, Refused):
            return  # shown to us no more, which is the log's right
        except NotFound as missing:
            raise TileMissing(path) from missing
        if served != kept:
            self._refuse_change(path, kept, served)

    # ── What is found ────────────────────────────────────────────────────────────────────────

    def alert(self, kind: str, evidence: dict[str, Any], about: str = "") -> None:
        with self.site.store.begin() as session:
            alerts.see(session, kind, self.log_id, evidence, about=about, now=self.clock())

    def keep_conflict(self, found: CopyDiffers | TilesDiffer) -> None:
        """Write down what was served, and what is kept where there is such, and raise the alert."""
        kept = found.kept if isinstance(found, CopyDiffers) else b""
        digests = [hashlib.sha256(each).hexdigest() for each in (kept, found.served)]
        name = f"{found.place.replace('/', '_').replace(' ', '_')[:60]}-{digests[1][:16]}"
        folder = self.folder / "conflict" / name
        others = list(folder.parent.iterdir()) if folder.parent.is_dir() else []
        if not folder.exists() and len(others) < MAX_CONFLICTS:
            make_private(folder)
            write_private(folder / "kept", kept)
            write_private(folder / "served", found.served)
        evidence = {
            "place": found.place,
            "what": found.detail,
            "kept": f"0x{digests[0]}" if kept else None,
            "served": f"0x{digests[1]}",
        }
        self.alert(ALERTS[found.code], evidence, about=f"{found.code} {found.place} {digests[1]}")

    def state(self, **values: Any) -> MirroredLog:
        """The row of the copy, with these values from now on."""
        if not values:
            with self.site.store.read() as session:
                known = session.get(MirroredLog, self.log_id)
            if known is not None:
                return known
        with self.site.store.begin() as session:
            row = session.get(MirroredLog, self.log_id)
            if row is None:
                row = MirroredLog(log_id=self.log_id, root="0x" + EMPTY_ROOT.hex())
                session.add(row)
                session.flush()
            for name, value in values.items():
                setattr(row, name, value)
            return row

    def _forked(self, note: str) -> CopyDiffers:
        return CopyDiffers(
            "LogForked",
            "checkpoint",
            "the head that it signed does not continue the one that is copied",
            (self.note() or "").encode(),
            note.encode(),
        )

    def _refuse_change(self, path: str, kept: bytes, served: bytes) -> None:
        raise CopyDiffers(
            "TileChanged", path, "what is served is not what was verified and kept", kept, served
        )

    # ── The disk ─────────────────────────────────────────────────────────────────────────────

    @cached_property
    def _used(self) -> list[int]:
        """Bytes of the copy: one number, counted once and then kept up to date."""
        files = (path for path in self.folder.rglob("*") if path.is_file())
        return [sum(path.stat().st_size for path in files)]

    def _write(self, level: int | None, number: int, width: int, content: bytes) -> None:
        """A tile or a bundle, durably; narrower ones of the same number go away."""
        self._make_room(len(content))
        full = self.folder / tile_path(level, number)
        partial = full.with_name(f"{full.name}.p")
        path = full if width == WIDTH else partial / str(width)
        make_private(path.parent)
        write_private(path, content)
        self._used[0] += len(content)
        if width == WIDTH:
            shutil.rmtree(partial, ignore_errors=True)
            return
        for older in _partials(full, 1):
            if int(older.name) < width:
                older.unlink(missing_ok=True)

    def _make_room(self, size: int) -> None:
        allowed = self.site.settings.mirror_max_bytes
        if self._used[0] + size > allowed:
            del self._used  # what was replaced meanwhile takes no room: count anew
            if self._used[0] + size > allowed:
                raise _full(f"the copy has {self._used[0]} bytes", allowed)
        make_private(self.folder)
        if shutil.disk_usage(self.folder).free - size < FREE_BYTES:
            raise _full("the disk is nearly full", FREE_BYTES)

    @property
    def bytes(self) -> int:
        """On disk, replaced partial tiles included until they are counted anew."""
        return self._used[0]


ALERTS = {
    "RootDiffers": "log.root_differs",
    "TileDiffers": "log.tile_differs",
    "TileMalformed": "log.tile_differs",
    "TileChanged": "log.tile_changed",
    "EntryDiffers": "log.entry_differs",
    "BundleMalformed": "log.entry_differs",
    "LogForked": "log.forked",
    "MirrorDamaged": "mirror.damaged",
}
"""Code of what was found → the alert that follows."""


@contextmanager
def _as_damage() -> Iterator[None]:
    """What does not hold here was read from our own disk."""
    try:
        yield
    except CopyDiffers:
        raise
    except (TilesDiffer, NotFound, Invalid) as found:
        place = found.place if isinstance(found, TilesDiffer) else "checkpoint"
        raise CopyDiffers(
            "MirrorDamaged", place, f"this copy was changed on disk: {found.detail}", b"", b""
        ) from found


def _partials(full: Path, width: int) -> list[Path]:
    """Stored tiles of the same number that are not full and have at least ``width``."""
    folder = full.with_name(f"{full.name}.p")
    if not folder.is_dir():
        return []
    widths = sorted(int(each.name) for each in folder.iterdir() if each.name.isdigit())
    return [folder / str(found) for found in reversed(widths) if found >= width]


def _full(what: str, allowed: int) -> NodeError:
    return TooLarge(
        "MirrorFull",
        f"no more of the log is copied: {what}",
        allowed=allowed,
        hint="raise mirror_max_bytes, or make room",
    )
