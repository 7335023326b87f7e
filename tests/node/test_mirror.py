"""The copy of another log: complete, verified, and never written over by what a liar serves."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select

from node.audit.checkpoint import Checkpoint
from node.audit.note_keys import CosignerKey, cosign
from node.audit.notes import Note, Signature
from node.audit.reading import Fetch, TilesDiffer, tile_path
from node.audit.tiles import bundle
from node.errors import Invalid, NodeError, NotFound, TooLarge, Unauthenticated, Unavailable
from node.mirror import CopyDiffers, Mirror, TileMissing
from node.mirroring import REREAD
from node.site import Site
from node.store import Alert, MirroredLog, WitnessedHead
from tests.node.face import PARTNER, make_site
from tests.node.lying_log import START, LyingLog, entries, entry
from tests.node.two_sites import Book

NOW = START + 100_000.0


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Site]]:
    """The site that copies, and the one whose log is copied: it lends its keys to what it says."""
    folder, book = tmp_path_factory.mktemp("homes"), Book()
    with make_site(folder / "site") as one, make_site(folder / "other", site_id=PARTNER) as other:
        for each in (one, other):
            each.directory = book
            book.enter(each)
        yield one, other


@pytest.fixture
def partner(homes: tuple[Site, Site]) -> Site:
    return homes[1]


@pytest.fixture
def site(homes: tuple[Site, Site]) -> Site:
    """As if nothing had been copied yet."""
    made = homes[0]
    shutil.rmtree(made.settings.mirror_folder, ignore_errors=True)
    with made.store.begin() as session:
        for table in (Alert, MirroredLog, WitnessedHead):
            session.execute(delete(table))
    return made


@pytest.fixture
def mirror(site: Site) -> Mirror:
    return Mirror(site, PARTNER, lambda: NOW)


def cosigned(site: Site, partner: Site, log: LyingLog, size: int | None = None) -> None:
    """The witness of the site has cosigned this head of the partner's log."""
    note = log.note(partner.identity, PARTNER, size)
    head = Checkpoint.parse(Note.parse(note).text)
    root = "0x" + head.root.hex()
    with site.store.begin() as session:
        row = WitnessedHead(log_id=PARTNER, size=head.size, root=root, note=note, problem="")
        session.merge(row)


def alerts_of(site: Site) -> list[str]:
    with site.store.read() as session:
        return list(session.scalars(select(Alert.kind).order_by(Alert.id)))


def files(mirror: Mirror) -> dict[str, str]:
    """Every file of the copy but conflicts, by its digest."""
    return {
        str(path.relative_to(mirror.folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(mirror.folder.rglob("*"))
        if path.is_file() and "conflict" not in path.parts
    }


def copied(mirror: Mirror) -> list[bytes]:
    tree = mirror.tree()
    return [each for n in range(-(-tree.size // 256)) for each in tree.bundle(n)]


# ── An honest log ────────────────────────────────────────────────────────────────────────────


def test_a_copy_makes_the_head_that_was_cosigned(site: Site, partner: Site, mirror: Mirror) -> None:
    log = LyingLog(entries(700))
    cosigned(site, partner, log)
    mirror.copy(log.fetch)
    assert mirror.head() == Checkpoint(f"fatechain/{PARTNER}", 700, log.root())
    assert copied(mirror) == log.leaves
    row = mirror.state()
    assert (row.size, row.root, row.entries) == (700, "0x" + log.root().hex(), 700)
    assert mirror.bytes >= sum(p.stat().st_size for p in mirror.folder.rglob("188"))


def test_nothing_is_fetched_before_the_witness_cosigned_a_head(mirror: Mirror) -> None:
    log = LyingLog(entries(3))
    mirror.copy(log.fetch)
    assert log.asked == []
    assert mirror.note() is None


@pytest.mark.parametrize("sizes", [(1, 2, 255, 256, 257), (256, 512, 513), (300, 700, 1100)])
def test_a_copy_grows_with_its_log_and_fetches_no_full_tile_twice(
    site: Site, partner: Site, mirror: Mirror, sizes: tuple[int, ...]
) -> None:
    every = entries(max(sizes))
    asked: list[str] = []
    for size in sizes:
        log = LyingLog(every[:size])
        cosigned(site, partner, log)
        mirror.copy(log.fetch)
        asked += log.asked
        assert mirror.head().root == log.root()
        assert copied(mirror) == log.leaves
    full = [path for path in asked if ".p/" not in path]
    assert len(full) == len(set(full))


def test_an_earlier_width_is_read_from_a_later_tile(
    site: Site, partner: Site, mirror: Mirror
) -> None:
    log = LyingLog(entries(300))
    cosigned(site, partner, log)
    mirror.copy(log.fetch)
    for width in (1, 43, 44):
        assert mirror.read(0, 1, width) == log.honest(0, 1, width)
        assert mirror.read(None, 1, width) == log.honest(None, 1, width)
    with pytest.raises(NotFound):
        mirror.read(None, 1, 45)


def test_a_log_that_shows_no_entries_is_copied_without(
    site: Site, partner: Site, mirror: Mirror
) -> None:
    log = LyingLog(entries(300))
    log.lies[tile_path(None, 0)] = Unauthenticated("Unauthenticated", "members only")
    cosigned(site, partner, log)
    mirror.copy(log.fetch)
    assert mirror.head().size == 300
    row = mirror.state()
    assert (row.entries, row.withheld[:15]) == (0, "Unauthenticated")
    log.lies.clear()
    mirror.copy(log.fetch)
    assert copied(mirror) == log.leaves
    assert mirror.state().withheld == ""


class Killed(Exception):
    """The process ends here."""


def killed_after(count: int, fetch: Fetch) -> Fetch:
    left = [count]

    def until(level: int | None, number: int, width: int) -> bytes:
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return fetch(level, number, width)

    return until


@pytest.mark.parametrize("count", range(11))
def test_a_copy_that_was_killed_goes_on_where_it_stood(
    site: Site, partner: Site, mirror: Mirror, count: int
) -> None:
    first, grown = LyingLog(entries(300)), LyingLog(entries(1400))
    cosigned(site, partner, first)
    mirror.copy(first.fetch)
    cosigned(site, partner, grown)
    with pytest.raises(Killed):
        mirror.copy(killed_after(count, grown.fetch))
    again = Mirror(site, PARTNER, lambda: NOW)
    assert again.head().size in (300, 1400)
    assert again.tree().root_at(300) == first.root()
    again.copy(grown.fetch)
    assert again.head().root == grown.root()
    assert copied(again) == grown.leaves


def test_cosignatures_that_hold_are_kept_beside_the_head_and_forged_ones_are_not(
    site: Site, partner: Site, mirror: Mirror
) -> None:
    log = LyingLog(entries(5))
    cosigned(site, partner, log)
    mirror.copy(log.fetch)
    note = Note.parse(log.note(partner.identity, PARTNER))
    name = f"fatechain/{site.id}"
    good = cosign(site.identity, name, note.text, int(NOW))
    other = cosign(site.identity, name, "another text\n", int(NOW))
    mirror.add_cosignatures(str(note.signed(other)))
    assert name not in (mirror.note() or "")
    mirror.add_cosignatures(str(note.signed(good)))
    kept = Note.parse(mirror.note() or "")
    assert kept.opened([CosignerKey(name, site.identity.audit_public)]) == (good,)
    assert mirror.head().size == 5


def test_more_cosignatures_than_a_note_holds_do_not_cost_the_copy(
    site: Site, partner: Site, mirror: Mirror
) -> None:
    log = LyingLog(entries(5))
    cosigned(site, partner, log)
    mirror.copy(log.fetch)
    note = Note.parse(log.note(partner.identity, PARTNER))
    strangers = [
        Signature(f"stranger-{number}", bytes([number] * 4), bytes(72)) for number in range(98)
    ]
    path = site.settings.mirror_folder / PARTNER / "checkpoint"
    path.write_text(str(note.signed(*strangers)))
    name = f"fatechain/{site.id}"
    mirror.add_cosignatures(str(note.signed(cosign(site.identity, name, note.text, int(NOW)))))
    full = mirror.note()
    again = f"fatechain/{partner.id}"
    mirror.add_cosignatures(str(note.signed(cosign(partner.identity, again, note.text, int(NOW)))))
    assert mirror.note() == full
    assert len(Note.parse(full or "").signatures) == 100
    assert mirror.head().size == 5


# ── A log that lies ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [500, 700])
def test_another_history_is_refused_and_both_heads_are_kept(
    site: Site, partner: Site, mirror: Mirror, size: int
) -> None:
    log = LyingLog(entries(500))
    cosigned(site, partner, log)
    mirror.copy(log.fetch)
    before = files(mirror)
    liar = LyingLog(entries(size, "never said"))
    cosigned(site, partner, liar)
    with pytest.raises(CopyDiffers, match="LogForked") as found:
        mirror.copy(liar.fetch)
    mirror.keep_conflict(found.value)
    assert files(mirror) == before
    (folder,) = (mirror.folder / "conflict").iterdir()
    assert (folder / "kept").read_text() == mirror.note()
    assert (folder / "served").read_text() == liar.note(partner.identity, PARTNER)
    assert alerts_of(site) == ["log.forked"]


def test_a_full_tile_that_is_served_otherwise_later_is_found_and_both_are_kept(
    site: Site, partner: Site, mirror: Mirror
) -> None:
    log = LyingLog(entries(700))
    cosigned(site, partner, log)
    mirror.copy(log.fetch)
    before = files(mirror)
    for path in (tile_path(0, 1), tile_path(None, 1)):
        liar = LyingLog(log.leaves)
        liar.lies[path] = LyingLog(entries(700, "never said")).honest(
            None if "entries" in path else 0, 1
        )
        mirror.state(reread=0)
        with pytest.raises(CopyDiffers, match="TileChanged") as found:
            mirror.reread(liar.fetch, REREAD)
        assert found.value.place == path
        assert found.value.kept == log.fetch(None if "entries" in path else 0, 1)
        mirror.keep_conflict(found.value)
    assert files(mirror) == before
    assert len(list((mirror.folder / "conflict").iterdir())) == 2
    assert alerts_of(site) == ["log.tile_changed"] * 2


def test_everything_is_read_again_a_few_tiles_at_a_time(
    site: Site, partner: Site, mirror: Mirror
) -> None:
    log = LyingLog(entries(1400))
    cosigned(site, partner, log)
    mirror.copy(log.fetch)
    log.asked.clear()
    for _ in range(3):
        assert mirror.state().reread_at is None
        mirror.reread(log.fetch, 2)
    row = mirror.state()
    assert (row.reread, row.reread_at) == (0, NOW)
    for number in range(5):
        assert tile_path(0, number) in log.asked
        assert tile_path(None, number) in log.asked
    assert tile_path(0, 5, 120) in log.asked


def test_a_tile_that_is_not_served_any_more_is_told(
    site: Site, partner: Site, mirror: Mirror
) -> None:
    log = LyingLog(entries(700))
    cosigned(site, partner, log)
    mirror.copy(log.fetch)
    log.lies[tile_path(0, 0)] = NotFound("NotFound", "gone")
    with pytest.raises(Invalid, match="TileMissing"):
        mirror.reread(log.fetch, REREAD)


def test_entries_that_are_gone_when_the_log_has_grown_are_told(
    site: Site, partner: Site, mirror: Mirror
) -> None:
    log = LyingLog(entries(700))
    cosigned(site, partner, log)
    mirror.copy(log.fetch)
    log = LyingLog(entries(720))
    log.lies[tile_path(None, 2, 208)] = NotFound("NotFound", "one of them was removed")
    cosigned(site, partner, log)
    with pytest.raises(TileMissing):
        mirror.copy(log.fetch)
    assert mirror.state().withheld == ""
    log.lies.clear()
    mirror.copy(log.fetch)
    assert copied(mirror) == log.leaves


def test_entries_that_fill_no_bundle_yet_are_read_again_too(
    site: Site, partner: Site, mirror: Mirror
) -> None:
    log = LyingLog(entries(700))
    cosigned(site, partner, log)
    mirror.copy(log.fetch)
    path = tile_path(None, 2, 188)
    for lie, code in (
        (NotFound("NotFound", "gone"), "TileMissing"),
        (bundle([b"never said", *log.leaves[513:700]]), "TileChanged"),
    ):
        log.lies[path] = lie
        with pytest.raises(Invalid, match=code):
            mirror.reread(log.fetch, REREAD)
        assert mirror.state().reread_at is None
    log.lies.clear()
    mirror.reread(log.fetch, REREAD)
    assert mirror.state().reread_at == NOW


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (tile_path(1, 0, 2), "log.root_differs"),
        (tile_path(0, 2, 188), "log.root_differs"),
        (tile_path(0, 1), "log.tile_differs"),
        (tile_path(None, 1), "log.entry_differs"),
    ],
)
def test_what_does_not_make_the_head_is_not_kept(
    site: Site, partner: Site, mirror: Mirror, path: str, kind: str
) -> None:
    log = LyingLog(entries(700))
    other = LyingLog(entries(700, "another log's"))
    for level, number, width in ((1, 0, 2), (0, 2, 188), (0, 1, 256), (None, 1, 256)):
        if tile_path(level, number, width) == path:
            log.lies[path] = other.honest(level, number, width)
    cosigned(site, partner, log)
    with pytest.raises(TilesDiffer) as found:
        mirror.copy(log.fetch)
    mirror.keep_conflict(found.value)
    lie = log.lies[path]
    assert isinstance(lie, bytes)
    assert hashlib.sha256(lie).hexdigest() not in files(mirror).values()
    assert alerts_of(site) == [kind]
    log.lies.clear()
    mirror.copy(log.fetch)
    assert copied(mirror) == log.leaves


def test_an_older_head_of_the_witness_takes_nothing_from_the_copy(
    site: Site, partner: Site, mirror: Mirror
) -> None:
    log = LyingLog(entries(300))
    cosigned(site, partner, log)
    mirror.copy(log.fetch)
    before = files(mirror)
    cosigned(site, partner, log, 200)
    with pytest.raises(Invalid, match="HeadWentBack"):
        mirror.copy(log.fetch)
    assert files(mirror) == before


def test_a_tile_that_was_kept_before_a_kill_is_not_written_over(
    site: Site, partner: Site, mirror: Mirror
) -> None:
    """The head did not stand yet: a liar uses the moment to serve another history."""
    log = LyingLog(entries(1000))
    cosigned(site, partner, log)
    with pytest.raises(Killed):
        mirror.copy(killed_after(4, log.fetch))
    before = files(mirror)
    assert any("tile/0/" in name for name in before)
    liar = LyingLog(entries(1000, "never said"))
    cosigned(site, partner, liar)
    with pytest.raises(CopyDiffers, match="TileChanged"):
        mirror.copy(liar.fetch)
    assert files(mirror) == before


@pytest.mark.parametrize("name", ["tile/0/000", "tile/entries/000", "tile/1/000.p/2", "checkpoint"])
def test_a_copy_that_was_edited_on_disk_is_found(
    site: Site, partner: Site, mirror: Mirror, name: str
) -> None:
    log = LyingLog(entries(700))
    cosigned(site, partner, log)
    mirror.copy(log.fetch)
    path = mirror.folder / name
    spoilt = bytearray(path.read_bytes())
    spoilt[40] ^= 1
    path.write_bytes(spoilt)
    with pytest.raises(CopyDiffers, match="MirrorDamaged") as found:
        mirror.reread(log.fetch, REREAD)
    mirror.keep_conflict(found.value)
    assert alerts_of(site) == ["mirror.damaged"]


@pytest.mark.parametrize(
    ("seconds", "index"),
    [(START - 400, 4), (NOW + 400, 4), (None, 4)],
)
def test_an_entry_that_is_dated_back_or_ahead_is_told(
    site: Site, partner: Site, mirror: Mirror, seconds: float | None, index: int
) -> None:
    leaves = entries(8)
    leaves[index] = b"{}" if seconds is None else entry(index, seconds)
    log = LyingLog(leaves)
    cosigned(site, partner, log)
    mirror.copy(log.fetch)
    with site.store.read() as session:
        (alert,) = session.scalars(select(Alert))
    assert (alert.kind, alert.evidence["index"]) == ("log.time_order", index)
    assert mirror.state().last_time == START + 7


def test_entries_dated_back_after_the_copy_was_made_are_told_with_their_place(
    site: Site, partner: Site, mirror: Mirror
) -> None:
    leaves = entries(1000)
    cosigned(site, partner, LyingLog(leaves))
    mirror.copy(LyingLog(leaves).fetch)
    assert alerts_of(site) == []
    log = LyingLog([*leaves, entry(1000, START + 10)])
    cosigned(site, partner, log)
    mirror.copy(log.fetch)
    assert alerts_of(site) == ["log.time_order"]


@pytest.mark.parametrize(
    ("seconds", "kinds"),
    [(START + 10, ["log.time_order"]), (NOW - 3700, ["log.time_order"]), (NOW - 1800, [])],
)
def test_an_entry_dated_before_the_log_was_seen_to_end_without_it_is_told(
    site: Site, partner: Site, mirror: Mirror, seconds: float, kinds: list[str]
) -> None:
    """Nothing was entered for a day: the order of times alone would let it pass."""
    log = LyingLog(entries(8))
    cosigned(site, partner, log)
    mirror.copy(log.fetch)
    mirror.add_cosignatures(log.note(partner.identity, PARTNER))
    grown = LyingLog([*log.leaves, entry(8, seconds)])
    cosigned(site, partner, grown)
    mirror.copy(grown.fetch)
    assert alerts_of(site) == kinds
    if kinds:
        with site.store.read() as session:
            (alert,) = session.scalars(select(Alert))
        assert alert.evidence["missing_at"] == NOW


def test_a_log_that_was_seen_longer_than_its_copy_is_held_to_no_time_of_that_look(
    site: Site, partner: Site, mirror: Mirror
) -> None:
    log, grown = LyingLog(entries(8)), LyingLog([*entries(8), entry(8, START + 10)])
    cosigned(site, partner, log)
    mirror.copy(log.fetch)
    mirror.add_cosignatures(grown.note(partner.identity, PARTNER))
    cosigned(site, partner, grown)
    mirror.copy(grown.fetch)
    assert alerts_of(site) == []


# ── Limits ───────────────────────────────────────────────────────────────────────────────────


def test_a_log_without_end_fills_no_disk(
    site: Site, partner: Site, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = LyingLog(entries(2000))
    cosigned(site, partner, log)
    site.change(mirror_max_bytes=20_000)
    with pytest.raises(TooLarge, match="MirrorFull"):
        mirror.copy(log.fetch)
    assert mirror.bytes <= 20_000
    site.change(mirror_max_bytes=2**30)
    mirror.copy(log.fetch)
    assert copied(mirror) == log.leaves


def test_a_disk_that_is_nearly_full_is_left_to_the_node(
    site: Site, partner: Site, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.mirror.FREE_BYTES", 2**62)
    log = LyingLog(entries(3))
    cosigned(site, partner, log)
    with pytest.raises(TooLarge, match="MirrorFull"):
        mirror.copy(log.fetch)


def test_conflicts_of_a_liar_are_kept_so_many_times(
    site: Site, partner: Site, mirror: Mirror
) -> None:
    for number in range(30):
        served = bytes([number])
        mirror.keep_conflict(CopyDiffers("TileChanged", tile_path(0, number), "x", b"", served))
    assert len(list((mirror.folder / "conflict").iterdir())) == 10
    assert len(alerts_of(site)) == 20


# ── Whatever is served ───────────────────────────────────────────────────────────────────────

PLACES = [(0, 0, 256), (0, 1, 256), (0, 2, 88), (1, 0, 2), (None, 0, 256), (None, 2, 88)]
FULL = LyingLog(entries(600))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lies=st.dictionaries(
        st.sampled_from(PLACES),
        st.one_of(
            st.binary(max_size=9000),
            st.sampled_from([NotFound("NotFound", "gone"), Unavailable("PartnerFailed", "packed")]),
            st.integers(0, 10**6),
        ),
        max_size=3,
    )
)
def test_whatever_is_served_the_copy_is_the_true_one_or_refused(
    tmp_path_factory: pytest.TempPathFactory, site: Site, partner: Site, lies: dict[object, object]
) -> None:
    log = LyingLog(FULL.leaves)
    for place, lie in lies.items():
        honest = FULL.honest(*place)  # type: ignore[misc]
        if isinstance(lie, int):  # one bit of the true tile
            spoilt = bytearray(honest)
            spoilt[lie % len(spoilt)] ^= 1 << lie % 8
            lie = bytes(spoilt)
        log.lies[tile_path(*place)] = lie  # type: ignore[misc,assignment]
    mirror = Mirror(site, PARTNER, lambda: NOW)
    mirror.folder = tmp_path_factory.mktemp("copy")
    mirror.state(entries=0, last_time=0.0, reread=0)
    cosigned(site, partner, FULL)
    code = ""
    try:
        mirror.copy(log.fetch)
        mirror.reread(log.fetch, REREAD)
    except NodeError as refusal:
        code = refusal.code
    assert code in REFUSALS
    for name, digest in files(mirror).items():
        if name.startswith("tile/entries"):
            number = int(name.split("/")[2][:3])
            assert bundle(FULL.leaves[256 * number :][:256]) == (mirror.folder / name).read_bytes()
        elif name != "checkpoint":
            assert digest in HONEST_DIGESTS
    if mirror.note() is not None:
        assert mirror.tree().root_at(600) == FULL.root()


HONEST_DIGESTS = {
    hashlib.sha256(FULL.honest(*place)).hexdigest() for place in PLACES if place[0] is not None
}
REFUSALS = {
    "",
    "RootDiffers",
    "TileDiffers",
    "TileMalformed",
    "EntryDiffers",
    "BundleMalformed",
    "NotFound",
    "PartnerFailed",
    "TileMissing",
}
