"""A log read from tiles that anybody serves: what is handed out is what the head says."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain import merkle
from node.audit.reading import TileReader, TilesDiffer, split_bundle, tile_path
from node.audit.tiles import bundle
from node.errors import NotFound, Refused
from tests.node.lying_log import LyingLog, entries

SIZE = 600
HONEST = LyingLog(entries(SIZE))
OTHER = LyingLog(entries(SIZE, "never said"))


def reader(log: LyingLog, size: int | None = None, root: bytes | None = None) -> TileReader:
    told = log.size if size is None else size
    return TileReader(log.fetch, told, log.root(told) if root is None else root)


def everything(found: TileReader) -> list[bytes]:
    return [entry for n in range(-(-found.size // 256)) for entry in found.bundle(n)]


def liar(**lies: bytes) -> LyingLog:
    log = LyingLog(HONEST.leaves)
    log.lies = dict(lies)
    return log


# ── An honest log ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 257, 511, 512, 513, 600])
def test_root_and_entries_of_every_size_come_from_tiles(size: int) -> None:
    log = LyingLog(HONEST.leaves[:size])
    found = reader(log)
    assert found.root_at(size) == log.root()
    assert everything(found) == log.leaves


def test_earlier_roots_follow_from_the_tiles_of_a_later_head() -> None:
    found = reader(HONEST)
    for size in (0, 1, 100, 256, 300, 512, 599):
        assert found.root_at(size) == HONEST.root(size)
    with pytest.raises(ValueError, match="601"):
        found.root_at(601)


def test_a_tree_of_three_levels_is_read_one_tile_of_a_level_at_a_time() -> None:
    log = LyingLog(entries(66_000))
    tree = log.tree()
    log.tree = lambda size=None: tree  # type: ignore[method-assign]
    found = TileReader(log.fetch, log.size, tree.root())
    assert [found.full(level) for level in found.levels] == [257, 1, 0]
    assert found.hash_at(0, 0) == merkle.leaf_hash(log.leaves[0])
    assert log.asked.count("tile/1/000") == 1
    for number in range(10):
        found.tile(0, number)
    assert log.asked.count("tile/1/000") == 1


def test_a_log_that_keeps_whole_tiles_alone_is_read_as_well() -> None:
    log = LyingLog(HONEST.leaves)
    gone = NotFound("NotFound", "partial tiles are gone")
    log.lies = {tile_path(0, 1, 44): gone, tile_path(None, 1, 44): gone}
    found = reader(log, 300)
    assert found.bundle(1) == HONEST.leaves[256:300]


def test_a_refusal_goes_through_to_who_asked() -> None:
    log = LyingLog(HONEST.leaves)
    log.lies[tile_path(None, 0)] = Refused("RoleMissing", "entries are for members")  # type: ignore[assignment]
    with pytest.raises(Refused):
        reader(log).bundle(0)


# ── A log that lies ──────────────────────────────────────────────────────────────────────────


def swapped(leaves: list[bytes]) -> list[bytes]:
    return [leaves[1], leaves[0], *leaves[2:]]


def altered(leaves: list[bytes]) -> list[bytes]:
    return [leaves[0] + b" ", *leaves[1:]]


def dropped(leaves: list[bytes]) -> list[bytes]:
    return leaves[1:]


def doubled(leaves: list[bytes]) -> list[bytes]:
    return [leaves[0], *leaves[:-1]]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (swapped, "EntryDiffers"),
        (altered, "EntryDiffers"),
        (doubled, "EntryDiffers"),
        (dropped, "BundleMalformed"),
    ],
)
def test_entries_that_are_not_the_ones_in_the_tree_are_refused(
    change: Callable[[list[bytes]], list[bytes]], code: str
) -> None:
    log = LyingLog(HONEST.leaves)
    log.lies[tile_path(None, 1)] = bundle(change(HONEST.leaves[256:512]))
    found = reader(log)
    assert found.bundle(0) == HONEST.leaves[:256]
    with pytest.raises(TilesDiffer) as refusal:
        found.bundle(1)
    assert (refusal.value.code, refusal.value.place) == (code, "tile/entries/001")


@pytest.mark.parametrize("other", [OTHER, LyingLog(reversed(HONEST.leaves))])
def test_another_logs_tiles_make_another_root(other: LyingLog) -> None:
    with pytest.raises(TilesDiffer, match="RootDiffers"):
        reader(other, SIZE, HONEST.root())


def test_another_logs_tile_among_the_right_ones_is_refused() -> None:
    log = LyingLog(HONEST.leaves)
    log.lies[tile_path(0, 1)] = OTHER.honest(0, 1)
    found = reader(log)
    found.tile(0, 0)
    with pytest.raises(TilesDiffer, match="TileDiffers"):
        found.tile(0, 1)


@pytest.mark.parametrize("length", [0, 1, 31, 32, 8191, 8193, 100_000])
def test_a_tile_of_another_length_is_refused(length: int) -> None:
    for place in (tile_path(0, 0), tile_path(0, 2, 88), tile_path(1, 0, 2)):
        log = liar(**{place: bytes(length)})
        with pytest.raises(TilesDiffer) as refusal:
            reader(log).tile(0, 0)
        assert refusal.value.code in ("TileMalformed", "RootDiffers")


@given(place=st.sampled_from(range(5)), at=st.integers(0, 10**6), change=st.binary(max_size=40))
def test_no_change_of_any_byte_is_handed_out(place: int, at: int, change: bytes) -> None:
    """Whatever is put in the place of whatever bytes: a typed refusal, or the true entries."""
    tile = [(0, 0, 256), (0, 2, 88), (1, 0, 2), (None, 0, 256), (None, 2, 88)][place]
    honest = HONEST.honest(*tile)
    start = at % (len(honest) + 1)
    spoilt = honest[:start] + change + honest[start + len(change) :]
    log = liar(**{tile_path(*tile): spoilt})
    try:
        found = everything(reader(log))
    except TilesDiffer:
        return
    assert found == HONEST.leaves


@given(st.binary(max_size=2000))
def test_any_bytes_are_a_bundle_in_one_form_or_none(content: bytes) -> None:
    try:
        found = split_bundle(content, "tile/entries/000")
    except TilesDiffer:
        return
    assert bundle(found) == content


def test_a_bundle_of_more_than_256_entries_is_none() -> None:
    with pytest.raises(TilesDiffer):
        split_bundle(bundle([b""] * 257), "tile/entries/000")
