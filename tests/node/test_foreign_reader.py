"""A log, and the code that Go's checksum database is read with (golang.org/x/mod/sumdb): each reads
what the other writes, and neither believes what was changed.

`tests/foreign/tlog` is built with the machine's Go over Debian's source of that library.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from node import heads
from node.audit.checkpoint import origin_of
from node.audit.entries import record
from node.audit.note_keys import CosignerKey, Ed25519Key
from node.audit.notes import Note
from node.audit.reading import tile_path
from node.audit.tiles import bundle
from node.audit.verifier_keys import parse_verifier_key, verifier_key
from node.cli.whole_log import Folder, Trusted, verify
from node.rounds import Rounds
from node.site import Site
from tests.node.face import PARTNER, make_site, serving
from tests.node.lying_log import LyingLog, entries
from tests.node.lying_server import LyingServer
from tests.node.told import available
from tests.node.two_sites import Book

SOURCE = Path(__file__).parent.parent / "foreign" / "tlog"
LIBRARY = Path("/usr/share/gocode")
SIZE = 700


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The foreign reader; `make test` has what it is built from installed."""
    go = shutil.which("go")
    if go is None or not (LIBRARY / "src/golang.org/x/mod/sumdb/tlog").is_dir():
        pytest.skip("needs Go and golang.org/x/mod: golang-go and golang-golang-x-mod-dev")
    folder = tmp_path_factory.mktemp("go")
    made = folder / "tlog"
    settings = {"GO111MODULE": "off", "GOPATH": str(LIBRARY), "GOCACHE": str(folder / "cache")}
    subprocess.run(
        [go, "build", "-o", made, "."], cwd=SOURCE, env={**os.environ, **settings}, check=True
    )
    return made


class Failed(Exception):
    """The foreign program does not believe what it was shown."""


def run(program: Path, *words: str) -> str:
    done = subprocess.run([program, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(done.stderr)
    return done.stdout


def read(program: Path, url: str, *keys: str, old: str = "") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(program, "read", "-old", old, f"{url}/log", *keys))
    return found


def key_of(site: Site) -> str:
    return verifier_key(Ed25519Key(origin_of(site.id), site.identity.audit_public))


def seen(log: LyingLog) -> str:
    return f"{log.size}:{base64.b64encode(log.root()).decode()}"


# ── It reads ours ────────────────────────────────────────────────────────────────────────────


def fill(site: Site, count: int, clock: Callable[[], float]) -> None:
    with site.store.begin() as session:
        for number in range(count):
            record(session, "chain.available", site.id, available(number), "sync")
    while site.log.sequence():
        pass
    heads.publish(site, clock, at_once=True)


async def test_it_reads_and_proves_all_of_a_nodes_log_and_who_cosigned_it(
    tmp_path: Path, program: Path
) -> None:
    book, past = Book(), 1_700_000_000.0
    with (
        make_site(tmp_path / "one") as witness,
        make_site(tmp_path / "two", site_id=PARTNER, log_entries="open") as site,
        serving(site) as url,
    ):
        site.change(endpoint=url)
        for each in (witness, site):
            each.directory = book
            book.enter(each)
        cosigner = verifier_key(CosignerKey(origin_of(witness.id), witness.identity.audit_public))
        old = ""
        for count in (300, SIZE - 300):
            fill(site, count, lambda: past)
            rounds = Rounds(witness, lambda: past)
            await rounds.step()
            await rounds.drain()
            found = read(program, url, key_of(site), cosigner, old=old)
            root = base64.b64encode(site.log.root()).decode()
            old = f"{site.log.size}:{root}"
            assert found == {
                "origin": origin_of(site.id),
                "size": site.log.size,
                "root": root,
                "entries": site.log.size,
                "signers": [origin_of(site.id), origin_of(witness.id)],
                "others": 2,  # the lines of both sites' accounts, which contracts read
            }
        with pytest.raises(Failed, match="no verifiable signatures"):
            read(program, url, key_of(witness))


# ── It believes no liar ──────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def liar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with make_site(tmp_path_factory.mktemp("liar") / "home", site_id=PARTNER) as made:
        yield made


@pytest.fixture
def server(liar: Site) -> Iterator[LyingServer]:
    made = LyingServer(liar, LyingLog(entries(SIZE)))
    yield made
    made.close()


def test_it_reads_the_honest_log_that_the_lies_are_told_of(
    program: Path, server: LyingServer
) -> None:
    assert read(program, server.url, key_of(server.site))["entries"] == SIZE


OTHER = LyingLog(entries(SIZE, "another's"))


@pytest.mark.parametrize(
    ("path", "content"),
    [
        (tile_path(0, 1), OTHER.honest(0, 1)),
        (tile_path(0, 1), bytes(8191)),
        (tile_path(1, 0, 2), OTHER.honest(1, 0, 2)),
        (tile_path(0, 2, 188), OTHER.honest(0, 2, 188)),
        (tile_path(None, 1), OTHER.honest(None, 1)),
        (tile_path(None, 1), bundle(entries(SIZE)[257:512])),
        (tile_path(None, 1), bundle(entries(SIZE)[511:255:-1])),
    ],
)
def test_it_believes_no_tile_that_was_changed_and_no_entry_altered_dropped_or_moved(
    program: Path, server: LyingServer, path: str, content: bytes
) -> None:
    server.log.lies[path] = content
    with pytest.raises(Failed):
        read(program, server.url, key_of(server.site))


def test_it_believes_no_head_that_was_changed_and_no_second_history(
    program: Path, server: LyingServer, liar: Site
) -> None:
    before = seen(LyingLog(entries(300)))
    assert read(program, server.url, key_of(liar), old=before)["size"] == SIZE
    server.note = server.head().replace(f"\n{SIZE}\n", f"\n{SIZE - 1}\n")
    with pytest.raises(Failed, match="invalid signature"):
        read(program, server.url, key_of(liar))
    server.note, server.log = None, LyingLog(entries(SIZE, "never said"))
    assert read(program, server.url, key_of(liar))["entries"] == SIZE
    with pytest.raises(Failed):
        read(program, server.url, key_of(liar), old=before)


# ── We read its ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [1, 255, 256, 257, SIZE])
def test_a_log_that_it_wrote_is_read_and_a_change_of_it_is_found(
    tmp_path: Path, program: Path, size: int
) -> None:
    key = parse_verifier_key(
        run(program, "write", str(tmp_path), origin_of(PARTNER), str(size)).strip()
    )
    assert isinstance(key, Ed25519Key)
    trusted = Trusted([key], (), (), by_chain=False)
    found = verify(Folder(tmp_path), str(tmp_path), PARTNER, trusted)
    assert found["ok"], found
    assert found["size"] == size
    note = Note.parse((tmp_path / "checkpoint").read_text())
    assert note.opened([key])
    first = tmp_path / tile_path(None, 0, min(size, 256))
    first.write_bytes(first.read_bytes().replace(b'"number":0', b'"number":9', 1))
    assert not verify(Folder(tmp_path), str(tmp_path), PARTNER, trusted)["ok"]
