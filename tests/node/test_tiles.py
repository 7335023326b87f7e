"""The log over HTTP as tiles: read by an independent client, and by nobody who may not."""

from __future__ import annotations

import asyncio
import functools
import gzip
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from chain import merkle
from node.api.app import create_app
from node.api.tiles import Place
from node.audit.checkpoint import open_checkpoint
from node.audit.entries import record
from node.people import ROLES
from node.signatures import sign
from node.site import Site
from tests.node.crowd import add, key_for
from tests.node.face import OWN, PARTNER, make_site, operator, visitor
from tests.node.tile_client import TileClient, read_head
from tests.node.told import available
from tests.node.two_sites import Book

SIZE = 700


def fill(site: Site, count: int, subject: str = "urn:chain") -> None:
    with site.store.begin() as session:
        for n in range(count):
            record(session, "chain.available", subject, available(n), "sync")
    while site.log.sequence():
        pass


@functools.cache
def app_of(site: Site) -> FastAPI:
    return create_app(site.settings.home, site)


def get(site: Site, path: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
    """What a visitor without credentials is answered, unless headers bring some."""

    async def ask() -> httpx.Response:
        async with visitor(site, app_of(site), **(headers or {})) as client:
            return await client.get(path)

    return asyncio.run(ask())


def fetcher(site: Site) -> Callable[[str], bytes]:
    def fetch(path: str) -> bytes:
        answer = get(site, f"/log/{path}")
        assert answer.status_code == 200, (path, answer.text)
        return answer.content

    return fetch


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A log of `SIZE` entries whose entries anybody may read; not to be changed."""
    with make_site(tmp_path_factory.mktemp("home"), log_entries="open") as site:
        fill(site, SIZE)
        yield site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with make_site(tmp_path) as made:
        yield made


# ── What an independent client makes of it ───────────────────────────────────────────────────


def test_the_root_comes_from_tiles_alone_and_is_the_one_that_was_signed(filled: Site) -> None:
    fetch = fetcher(filled)
    note = fetch("checkpoint")
    origin, size, root = read_head(note)
    assert (origin, size) == (f"fatechain/{OWN}", SIZE)
    client = TileClient(fetch, size)
    assert client.root() == root
    assert open_checkpoint(note, OWN, filled.identity.audit_public).root == root
    assert sorted(client.paths) == [
        "tile/0/002.p/188",
        "tile/1/000.p/2",
    ]


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 511, 512, 699])
def test_every_earlier_head_is_found_in_the_tiles_of_its_size(filled: Site, size: int) -> None:
    assert TileClient(fetcher(filled), size).root() == filled.log.root(size)


@pytest.mark.parametrize("index", [0, 255, 256, 511, 512, 699])
def test_a_proof_of_inclusion_is_computed_from_tiles(filled: Site, index: int) -> None:
    path = TileClient(fetcher(filled), SIZE).inclusion(index)
    leaf = filled.log.entry(index).leaf_hash
    assert merkle.verify_inclusion(filled.log.root(), SIZE, index, leaf, path)


@pytest.mark.parametrize("old", [1, 255, 256, 300, 512, 699, 700])
def test_a_proof_of_consistency_is_computed_from_tiles(filled: Site, old: int) -> None:
    client = TileClient(fetcher(filled), SIZE)
    proof = client.consistency(old)
    assert merkle.verify_consistency(client.root(old), old, client.root(), SIZE, proof)


def test_entries_hash_to_the_leaves_of_the_tree(filled: Site) -> None:
    entries = TileClient(fetcher(filled), SIZE).entries()
    assert entries == [entry.content for entry in filled.log.entries(0, SIZE)]


def test_a_reader_that_follows_a_growing_log_never_meets_another_history(site: Site) -> None:
    heads: list[tuple[int, bytes]] = []
    for count in (1, 254, 1, 1, 60):
        fill(site, count)
        fetch = fetcher(site)
        _, size, root = read_head(fetch("checkpoint"))
        client = TileClient(fetch, size)
        assert client.root() == root
        for old, earlier in heads:
            proof = client.consistency(old)
            assert merkle.verify_consistency(earlier, old, root, size, proof)
        heads.append((size, root))


def test_tiles_that_a_crash_lost_are_served_all_the_same(site: Site) -> None:
    fill(site, 300)
    for file in (site.settings.log / "tile").rglob("*"):
        if file.is_file():
            file.unlink()
    assert TileClient(fetcher(site), 300).root() == site.log.root()


# ── Paths and headers ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "path",
    [
        "tile/0/003",
        "tile/0/002",
        "tile/0/002.p/189",
        "tile/0/002.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/0/x000/001",
        "tile/0/000/001",
        "tile/0/x001",
        "tile/00/000",
        "tile/1/000",
        "tile/1/000.p/3",
        "tile/2/000.p/1",
        "tile/63/000.p/1",
        "tile/64/000",
        "tile/-1/000",
        "tile/0/%30%30%30",
        "tile/%30/000",
        "tile/0/000.p%2F5",
        "tile/0/\u0660\u0660\u0660",
        "tile/entries/003",
        "tile/entries/002.p/189",
        "tile/0/x999/x999/x999/x999/x999/999",
        "tile/0/x999/x999/x999/x999/x999/x999/999",
    ],
)
def test_what_is_no_tile_of_this_log_is_not_found(filled: Site, path: str) -> None:
    answer = get(filled, f"/log/{path}")
    assert answer.status_code == 404
    assert "immutable" not in answer.headers["cache-control"]


@given(st.text(alphabet="0123456789x/.pentris-% ", max_size=24))
def test_any_path_is_a_tile_in_its_one_form_or_none(path: str) -> None:
    place = Place.parse(path)
    if place is None:
        return
    digits = str(place.number).zfill(3 * -(-len(str(place.number)) // 3))
    groups = [digits[i : i + 3] for i in range(0, len(digits), 3)]
    written = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
    level = "entries" if place.level is None else str(place.level)
    partial = "" if place.width == 256 else f".p/{place.width}"
    assert path == f"{level}/{written}{partial}"


def test_tiles_may_be_kept_for_ever_and_the_head_may_not(filled: Site) -> None:
    head, tile = get(filled, "/log/checkpoint"), get(filled, "/log/tile/0/000")
    assert head.headers["content-type"] == "text/plain; charset=utf-8"
    assert head.headers["cache-control"] == "no-cache"
    assert tile.headers["content-type"] == "application/octet-stream"
    assert tile.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert len(tile.content) == 8192


def test_a_partial_tile_is_served_after_the_whole_one_stands(filled: Site) -> None:
    whole, part = (get(filled, f"/log/tile/0/000{end}").content for end in ("", ".p/7"))
    assert part == whole[: 7 * 32]


def test_bundles_are_compressed_for_who_takes_it(filled: Site) -> None:
    async def raw(accepted: str) -> tuple[str | None, bytes]:
        headers = {"Accept-Encoding": accepted}
        async with (
            visitor(filled, app_of(filled)) as client,
            client.stream("GET", "/log/tile/entries/000", headers=headers) as answer,
        ):
            read = b"".join([chunk async for chunk in answer.aiter_raw()])
            return answer.headers.get("content-encoding"), read

    plain = asyncio.run(raw("identity"))
    packed = asyncio.run(raw("br, gzip;q=0.5"))
    assert plain[0] is None
    assert packed[0] == "gzip"
    assert gzip.decompress(packed[1]) == plain[1]
    assert asyncio.run(raw("gzip;q=0"))[0] is None


def test_a_page_of_the_explorer_is_not_taken_for_a_tile(filled: Site) -> None:
    async def ask() -> httpx.Response:
        async with operator(filled, app_of(filled)) as client:
            return await client.get("/log/5")

    assert asyncio.run(ask()).headers["content-type"].startswith("text/html")


# ── Who may read ─────────────────────────────────────────────────────────────────────────────


def signed(site: Site, path: str, sender: Site) -> dict[str, str]:
    """The headers of ``sender``'s signed request for a path of ``site``."""
    request = httpx.Request("GET", f"{site.settings.endpoint}{path}")
    sign(request, sender.identity, sender.id, sender.key_id())
    kept = ("signature", "content-", "fatechain")
    return {k: v for k, v in request.headers.items() if k.startswith(kept)}


@pytest.fixture
def partner(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Another site, whose key the directory knows."""
    book = Book()
    with make_site(tmp_path_factory.mktemp("partner"), site_id=PARTNER) as made:
        site.directory = made.directory = book
        book.enter(made)
        yield made


BUNDLE = "/log/tile/entries/000.p/3"


def ask_as(site: Site, partner: Site, path: str) -> int:
    return get(site, path, signed(site, path, partner)).status_code


def test_heads_and_hashes_are_open_and_entries_are_not(site: Site) -> None:
    fill(site, 3)
    assert get(site, "/log/checkpoint").status_code == 200
    assert get(site, "/log/tile/0/000.p/3").status_code == 200
    assert get(site, BUNDLE).status_code == 401


@pytest.mark.parametrize("role", ROLES)
async def test_entries_are_for_operators_and_auditors(site: Site, role: str) -> None:
    with site.store.begin() as session:
        record(session, "chain.available", "urn:chain", available(), "sync")
    site.log.sequence()
    headers = bearer(site, role)
    async with visitor(site, app_of(site), **headers) as client:
        answer = await client.get("/log/tile/entries/000.p/1")
    assert answer.status_code == (200 if role in ("operator", "auditor") else 403)
    if answer.status_code == 200:
        assert answer.headers["cache-control"] == "no-store"


async def test_what_an_auditor_reads_of_the_entries_is_entered(site: Site) -> None:
    with site.store.begin() as session:
        record(session, "chain.available", "urn:chain", available(), "sync")
    site.log.sequence()
    async with visitor(site, app_of(site), **bearer(site, "auditor")) as client:
        await client.get("/log/tile/entries/000.p/1")
    while site.log.sequence():
        pass
    kinds = [entry.type for entry in site.log.entries(0, 100)]
    assert "fatechain.evidence.read.v1" in kinds


def test_members_read_everything_where_the_setting_says_so(site: Site, partner: Site) -> None:
    fill(site, 3)
    site.change(log_hashes="members")
    for path in (BUNDLE, "/log/tile/0/000.p/3", "/log/checkpoint"):
        assert get(site, path).status_code == 401
        assert ask_as(site, partner, path) == 200


def test_a_signature_for_another_tile_opens_none(site: Site, partner: Site) -> None:
    fill(site, 3)
    headers = signed(site, "/log/tile/entries/000.p/2", partner)
    assert get(site, BUNDLE, headers).status_code == 401


def test_a_bad_signature_is_refused_though_the_entries_are_for_auditors(
    site: Site, partner: Site
) -> None:
    fill(site, 3)
    headers = signed(site, BUNDLE, partner)
    assert get(site, BUNDLE, headers | {"signature": "fatechain=:AAAA:"}).status_code == 401


def bearer(site: Site, role: str) -> dict[str, Any]:
    add(site, 5, role)
    return {"Authorization": f"Bearer {key_for(site, 5, role).secret}"}
