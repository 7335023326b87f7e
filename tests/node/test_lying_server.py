"""Against a site that lies: witness, mirror and monitor together find it and keep what was true."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler

import pytest
from sqlalchemy import delete, select

from chain import merkle
from node.audit.checkpoint import sign_checkpoint
from node.audit.reading import TILE_BYTES, tile_path
from node.audit.tiles import bundle
from node.mirror import Mirror
from node.mirroring import Mirroring
from node.monitor import Monitor
from node.rounds import Rounds
from node.site import Site
from node.store import (
    Alert,
    ChainEvent,
    ChainState,
    LogConflict,
    MirroredLog,
    MonitorState,
    WitnessedHead,
)
from tests.node.face import PARTNER, make_site
from tests.node.lying_log import START, LyingLog, entries, entry
from tests.node.lying_server import LyingServer, send
from tests.node.two_sites import Book

NOW = START + 100_000.0
TRUE = entries(1000)


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Site, Book]]:
    """The site that looks, and the one that lies: its keys are real."""
    folder, book = tmp_path_factory.mktemp("homes"), Book()
    with make_site(folder / "site") as one, make_site(folder / "liar", site_id=PARTNER) as liar:
        for each in (one, liar):
            each.directory = book
            book.enter(each)
        del book.anchor[PARTNER]
        yield one, liar, book


@pytest.fixture
def site(homes: tuple[Site, Site, Book]) -> Site:
    made = homes[0]
    shutil.rmtree(made.settings.mirror_folder, ignore_errors=True)
    tables = (Alert, ChainEvent, ChainState, LogConflict, MirroredLog, MonitorState, WitnessedHead)
    with made.store.begin() as session:
        for table in tables:
            session.execute(delete(table))
    return made


@pytest.fixture
def server(homes: tuple[Site, Site, Book]) -> Iterator[LyingServer]:
    """Honest so far, with 300 entries."""
    made = LyingServer(homes[1], LyingLog(TRUE[:300]))
    homes[2].endpoints[PARTNER] = made.url
    yield made
    made.close()


async def look(site: Site) -> None:
    """Witness, mirror and monitor, each once."""
    rounds, mirroring = Rounds(site, lambda: NOW), Mirroring(site, lambda: NOW)
    for part in (rounds, mirroring):
        await part.step()
        await part.drain()
    Monitor(site, lambda: NOW).step()


def kinds(site: Site) -> set[str]:
    with site.store.read() as session:
        return set(session.scalars(select(Alert.kind)))


def problem(site: Site) -> str:
    with site.store.read() as session:
        return session.get_one(MirroredLog, PARTNER).problem


def copy(site: Site) -> list[bytes]:
    tree = Mirror(site, PARTNER).tree()
    return [each for n in range(-(-tree.size // 256)) for each in tree.bundle(n)]


def digests(site: Site) -> dict[str, str]:
    folder = site.settings.mirror_folder
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and "conflict" not in path.parts
    }


async def test_an_honest_log_is_copied_while_it_grows_and_raises_nothing(
    site: Site, server: LyingServer
) -> None:
    for size in (300, 301, 512, 1000):
        server.log = LyingLog(TRUE[:size])
        await look(site)
        assert copy(site) == TRUE[:size]
    assert kinds(site) == set()
    assert problem(site) == ""


# ── Lies ─────────────────────────────────────────────────────────────────────────────────────


def alters_an_entry(server: LyingServer) -> None:
    changed = bundle([TRUE[256] + b" ", *TRUE[257:512]])
    server.log = LyingLog(TRUE[:700])
    server.log.lies[tile_path(None, 1)] = changed


def drops_an_entry(server: LyingServer) -> None:
    server.log = LyingLog(TRUE[:700])
    server.log.lies[tile_path(None, 1)] = bundle(TRUE[257:512])


def reorders_entries(server: LyingServer) -> None:
    server.log = LyingLog(TRUE[:700])
    server.log.lies[tile_path(None, 1)] = bundle([TRUE[257], TRUE[256], *TRUE[258:512]])


def rewrites_its_history_and_shows_it_to_us(server: LyingServer) -> None:
    server.log = LyingLog([*TRUE[:10], b"never said", *TRUE[11:300]])


def rewrites_its_history_and_grows(server: LyingServer) -> None:
    server.log = LyingLog([*TRUE[:10], b"never said", *TRUE[11:700]])


def replays_an_old_checkpoint(server: LyingServer) -> None:
    server.note = server.log.note(server.site.identity, PARTNER, 200)


def serves_another_logs_tiles(server: LyingServer) -> None:
    honest, other = LyingLog(TRUE[:700]), LyingLog(entries(700, "another log's"))
    server.log = other
    server.note = honest.note(server.site.identity, PARTNER)
    server.proof = honest.tree().consistency_proof(300, 700)


def serves_another_logs_proof(server: LyingServer) -> None:
    server.log = LyingLog(TRUE[:700])
    server.proof = LyingLog(entries(700, "another log's")).tree().consistency_proof(300, 700)


def signs_a_root_that_nothing_makes(server: LyingServer) -> None:
    server.note = sign_checkpoint(server.site.identity, PARTNER, 300, bytes(32))


def serves_a_full_tile_otherwise(server: LyingServer) -> None:
    server.log.lies[tile_path(0, 0)] = LyingLog(entries(256, "never said")).honest(0, 0)


def serves_old_entries_otherwise(server: LyingServer) -> None:
    server.log.lies[tile_path(None, 0)] = bundle([b"never said", *TRUE[1:256]])


def serves_one_wrong_tile_of_many(server: LyingServer) -> None:
    server.log = LyingLog(TRUE[:700])
    server.log.lies[tile_path(0, 1)] = LyingLog(entries(700, "never said")).honest(0, 1)


def dates_an_entry_back(server: LyingServer) -> None:
    server.log = LyingLog([*TRUE, entry(1000, START + 5)])


def loses_a_tile(server: LyingServer) -> None:
    server.answers["/log/tile/0/000"] = lambda request: send(request, b"{}", status=404)


def shows_nothing_any_more(server: LyingServer) -> None:
    server.answers["/"] = lambda request: send(request, b"{}", status=503)


LIES: list[tuple[Callable[[LyingServer], None], set[str]]] = [
    (alters_an_entry, {"log.entry_differs"}),
    (drops_an_entry, {"log.entry_differs"}),
    (reorders_entries, {"log.entry_differs"}),
    (rewrites_its_history_and_shows_it_to_us, {"log.forked", "log.tile_changed"}),
    (rewrites_its_history_and_grows, {"log.unproven", "log.tile_changed"}),
    (replays_an_old_checkpoint, {"log.went_back"}),
    (serves_another_logs_tiles, {"log.root_differs"}),
    (serves_another_logs_proof, {"log.unproven"}),
    (signs_a_root_that_nothing_makes, {"log.forked"}),
    (serves_a_full_tile_otherwise, {"log.tile_changed"}),
    (serves_old_entries_otherwise, {"log.tile_changed"}),
    (serves_one_wrong_tile_of_many, {"log.tile_differs"}),
    (dates_an_entry_back, {"log.time_order"}),
    (loses_a_tile, {"log.tile_missing"}),
    (shows_nothing_any_more, set()),
]


@pytest.mark.parametrize(("lie", "expected"), LIES, ids=[lie.__name__ for lie, _ in LIES])
async def test_a_site_that(
    site: Site, server: LyingServer, lie: Callable[[LyingServer], None], expected: set[str]
) -> None:
    """What was verified stays; the right alert is raised, and no other."""
    await look(site)
    before = digests(site)
    assert copy(site) == TRUE[:300]
    lie(server)
    for _ in range(2):
        await look(site)
    assert kinds(site) == expected
    kept = digests(site)
    for name, digest in before.items():
        if ".p/" not in name and name.split("/")[-1] != "checkpoint":
            assert kept[name] == digest
    tree = Mirror(site, PARTNER).tree()
    assert tree.root_at(300) == LyingLog(TRUE[:300]).root()


async def test_a_site_that_forks_for_one_client_is_found_by_the_anchor(
    site: Site, server: LyingServer
) -> None:
    """All that this node ever saw is one history; the chain has another."""
    server.log = LyingLog(entries(300, "told to this node alone"))
    await look(site)
    true = "0x" + merkle.root(map(merkle.leaf_hash, TRUE[:300])).hex()
    values = {"block_hash": "0x", "tx_hash": "0x01", "log_index": 0, "block": 7}
    args = {"site": PARTNER, "size": 300, "root": true}
    with site.store.begin() as session:
        event = {"contract": "AuditAnchor", "name": "Anchored", "args": args}
        session.add(ChainEvent(id=1, **values, **event))
    await look(site)
    assert kinds(site) == {"anchor.differs"}


# ── Answers that are none ────────────────────────────────────────────────────────────────────


def oversized(request: BaseHTTPRequestHandler) -> None:
    send(request, bytes(TILE_BYTES + 1))


def packed(request: BaseHTTPRequestHandler) -> None:
    send(request, gzip.compress(bytes(50_000_000), 1), Content_Encoding="gzip")


def empty(request: BaseHTTPRequestHandler) -> None:
    send(request, b"")


def cut_off(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Content-Length", "8192")
    request.end_headers()
    request.wfile.write(bytes(10))
    request.close_connection = True


def no_http(request: BaseHTTPRequestHandler) -> None:
    request.wfile.write(b"\x00\xff" * 100)
    request.close_connection = True


def elsewhere(request: BaseHTTPRequestHandler) -> None:
    send(request, b"", status=302, Location="http://169.254.169.254/latest")


def no_problem(request: BaseHTTPRequestHandler) -> None:
    send(request, b"[" * 100_000, "application/problem+json", 500)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (oversized, "PartnerFailed"),
        (packed, "PartnerFailed"),
        (empty, "RootDiffers"),
        (cut_off, "PartnerUnreachable"),
        (no_http, "PartnerUnreachable"),
        (elsewhere, "PartnerFailed"),
        (no_problem, "PartnerFailed"),
    ],
)
async def test_an_answer_that_is_no_tile_is_a_typed_refusal(
    site: Site, server: LyingServer, answer: Callable[[BaseHTTPRequestHandler], None], code: str
) -> None:
    server.answers["/log/tile/"] = answer
    await look(site)
    assert problem(site).split(":")[0] in (code, "TileMalformed")
    assert Mirror(site, PARTNER).note() is None
    server.answers.clear()
    await look(site)
    assert copy(site) == TRUE[:300]


async def test_a_server_that_answers_byte_by_byte_is_left(
    site: Site, server: LyingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.mirroring.TILE_SECONDS", 0.3)
    held = threading.Event()

    def slow(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", "8192")
        request.end_headers()
        request.wfile.write(b"x")
        held.set()
        server.over.wait(60)

    server.answers["/log/tile/"] = slow
    await look(site)
    assert held.is_set()
    assert problem(site).startswith("PartnerUnreachable")


async def test_a_node_that_ends_waits_for_no_server(site: Site, server: LyingServer) -> None:
    asked, ending = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def holds(request: BaseHTTPRequestHandler) -> None:
        loop.call_soon_threadsafe(asked.set)
        server.over.wait(60)

    server.answers["/log/tile/"] = holds
    rounds = Rounds(site, lambda: NOW)
    await rounds.step()
    await rounds.drain()
    running = asyncio.create_task(Mirroring(site, lambda: NOW).run(ending))
    await asked.wait()
    ending.set()
    await running
    assert not server.over.is_set()
    assert problem(site)
