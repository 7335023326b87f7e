"""`fatechain verify-log`: a whole log held against its key, its witnesses and the chain."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from node.audit.entries import record
from node.audit.note_keys import CosignerKey, Ed25519Key, cosign
from node.audit.notes import Note, Signature
from node.audit.reading import tile_path
from node.cli.app import app as commands
from node.cli.whole_log import Folder, Trusted, of_chain, verify
from node.errors import Unauthenticated
from node.identity import ANCHOR
from node.monitor import OnChain, of_contract
from node.site import Site
from tests.node import consortium
from tests.node.consortium import Consortium
from tests.node.face import OWN, PARTNER, make_site
from tests.node.lying_log import START, LyingLog, entries, entry
from tests.node.lying_server import LyingServer

SIZE = 700
TRUE = entries(SIZE)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Lends its keys to what a log says."""
    with make_site(tmp_path_factory.mktemp("site") / "home", site_id=PARTNER) as made:
        yield made


@pytest.fixture(scope="module")
def witness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with make_site(tmp_path_factory.mktemp("witness") / "home") as made:
        yield made


def written(folder: Path, log: LyingLog, note: str) -> Path:
    """The log as files."""
    for level in (None, 0, 1):
        present = log.size >> 8 * (level or 0)
        for number in range(-(-present // 256)):
            width = min(256, present - 256 * number)
            path = folder / tile_path(level, number, width)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(log.fetch(level, number, width))
    (folder / "checkpoint").write_text(note)
    return folder


def trusted(site: Site, log: LyingLog, *sizes: int, by_chain: bool = True) -> Trusted:
    """What the chain would say: this key, and these anchored heads."""
    key = Ed25519Key(f"fatechain/{PARTNER}", site.identity.audit_public)
    anchors = [(size, "0x" + log.root(size).hex()) for size in sizes]
    return Trusted([key], (), anchors, by_chain=by_chain)


def checked(folder: Path, trust: Trusted) -> dict[str, Any]:
    return verify(Folder(folder), str(folder), PARTNER, trust)


def faults(told: dict[str, Any]) -> list[tuple[str, str]]:
    return [(check["name"], check["where"]) for check in told["checks"] if not check["ok"]]


# ── A log that holds ─────────────────────────────────────────────────────────────────────────


def test_a_log_that_holds_passes_every_check(site: Site, tmp_path: Path) -> None:
    log = LyingLog(TRUE)
    folder = written(tmp_path, log, log.note(site.identity, PARTNER))
    told = checked(folder, trusted(site, log, 1, 255, 256, 257, 600, 700))
    assert told["ok"], told
    names = [check["name"] for check in told["checks"]]
    assert names == ["head", "cosigners", "tiles", "entries", "times", "anchors"]
    assert (told["size"], told["root"]) == (SIZE, "0x" + log.root().hex())
    assert told["unchecked"] == {}


def test_each_tile_is_read_once(site: Site) -> None:
    log = LyingLog(TRUE)
    sizes = [1, 2, 255, 256, 257, 511, 512, 700]

    class Files:
        def read(self, path: str, limit: int) -> bytes:
            asked.append(path)
            if path == "checkpoint":
                return log.note(site.identity, PARTNER).encode()
            return known[path]

    asked: list[str] = []
    places = [(0, 0, 256), (0, 1, 256), (0, 2, 188), (1, 0, 2)]
    places += [(None, 0, 256), (None, 1, 256), (None, 2, 188)]  # type: ignore[list-item]
    known = {tile_path(*place): log.honest(*place) for place in places}
    assert verify(Files(), "here", PARTNER, trusted(site, log, *sizes))["ok"]
    assert sorted(asked) == sorted(["checkpoint", *known])


def test_what_others_said_is_counted_by_member(site: Site, witness: Site, tmp_path: Path) -> None:
    log = LyingLog(TRUE)
    note = Note.parse(log.note(site.identity, PARTNER))
    line = cosign(witness.identity, f"fatechain/{OWN}", note.text, START)
    folder = written(tmp_path, log, str(note.signed(line)))
    key = CosignerKey(f"fatechain/{OWN}", witness.identity.audit_public)
    silent = CosignerKey("fatechain/0x" + "0d" * 32, bytes(32))
    base = trusted(site, log)
    trust = Trusted(base.keys, [("m1", key), ("m2", silent)], (), by_chain=True)
    told = checked(folder, trust)
    assert told["ok"]
    assert told["checks"][1]["detail"] == "1 of 2 other members"
    spoilt = Signature(line.name, line.key_id, line.blob[:-1] + b"\0")
    (folder / "checkpoint").write_text(str(note.signed(spoilt)))
    assert faults(checked(folder, trust)) == [("cosigners", "checkpoint")]


def test_without_a_chain_it_says_what_it_left_out(site: Site, tmp_path: Path) -> None:
    log = LyingLog(TRUE)
    folder = written(tmp_path, log, log.note(site.identity, PARTNER))
    told = checked(folder, trusted(site, log, by_chain=False))
    assert told["ok"]
    assert told["unchecked"] == {"key, cosigners, anchors": "the chain was not asked"}


# ── A log that does not ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("tile/0/000", ("tiles", "tile/0/000")),
        ("tile/0/002.p/188", ("tiles", "tiles of 700 entries")),
        ("tile/1/000.p/2", ("tiles", "tiles of 700 entries")),
        ("tile/entries/001", ("entries", "tile/entries/001")),
    ],
)
@pytest.mark.parametrize("how", ["edited", "cut"])
def test_a_file_that_was_changed_is_named(
    site: Site, tmp_path: Path, name: str, fault: tuple[str, str], how: str
) -> None:
    log = LyingLog(TRUE)
    folder = written(tmp_path, log, log.note(site.identity, PARTNER))
    path = folder / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content) if how == "edited" else bytes(content[:-1]))
    told = checked(folder, trusted(site, log))
    found = faults(told)
    assert [found[0][0]] == [fault[0]]
    if how == "edited":
        assert found == [fault]


def test_a_tile_that_is_missing_is_told(site: Site, tmp_path: Path) -> None:
    log = LyingLog(TRUE)
    folder = written(tmp_path, log, log.note(site.identity, PARTNER))
    (folder / "tile/0/001").unlink()
    assert faults(checked(folder, trusted(site, log))) == [("tiles", "tile/0/001")]


def test_another_head_than_the_anchored_one_is_told_with_its_size(
    site: Site, tmp_path: Path
) -> None:
    log, other = LyingLog(TRUE), LyingLog(entries(SIZE, "never said"))
    folder = written(tmp_path, log, log.note(site.identity, PARTNER))
    good = trusted(site, log, 100).anchors
    bad = trusted(site, other, 300, 600).anchors
    told = checked(folder, Trusted(trusted(site, log).keys, (), [*good, *bad], by_chain=True))
    assert faults(told) == [("anchors", "size 300")]


def test_a_log_that_was_cut_off_is_told(site: Site, tmp_path: Path) -> None:
    log, whole = LyingLog(TRUE[:600]), LyingLog(TRUE)
    folder = written(tmp_path, log, log.note(site.identity, PARTNER))
    assert faults(checked(folder, trusted(site, whole, 500, 700))) == [("anchors", "size 700")]


def test_an_entry_dated_back_is_told(site: Site, tmp_path: Path) -> None:
    log = LyingLog([*TRUE, entry(SIZE, START - 1000)])
    folder = written(tmp_path, log, log.note(site.identity, PARTNER))
    assert faults(checked(folder, trusted(site, log))) == [("times", "tile/entries")]


@pytest.mark.parametrize("content", [b"", b"\xff", b"a\n1\nAAAA\n\n", b"x" * 200_000])
def test_a_head_that_is_none_is_a_failed_check(site: Site, tmp_path: Path, content: bytes) -> None:
    log = LyingLog(TRUE[:3])
    folder = written(tmp_path, log, log.note(site.identity, PARTNER))
    (folder / "checkpoint").write_bytes(content)
    assert faults(checked(folder, trusted(site, log))) == [("head", "checkpoint")]


def test_a_head_of_another_log_or_by_another_key_is_refused(
    site: Site, witness: Site, tmp_path: Path
) -> None:
    log = LyingLog(TRUE[:3])
    folder = written(tmp_path, log, log.note(witness.identity, PARTNER))
    assert faults(checked(folder, trusted(site, log))) == [("head", "checkpoint")]
    (folder / "checkpoint").write_text(log.note(site.identity, OWN))
    assert faults(checked(folder, trusted(site, log))) == [("head", "checkpoint")]


# ── The command ──────────────────────────────────────────────────────────────────────────────


def run(*words: str) -> tuple[int, Any]:
    answer = CliRunner().invoke(commands, ["verify-log", *words, "--json"])
    return answer.exit_code, json.loads(answer.stdout or answer.stderr)


def test_a_server_is_read_and_entries_that_it_hides_are_left_out(site: Site) -> None:
    key = "0x" + site.identity.audit_public.hex()
    server = LyingServer(site, LyingLog(TRUE))
    try:
        words = (f"{server.url}/log", "--site", PARTNER, "--key", key)
        assert run(*words)[0] == 0
        hidden = Unauthenticated("Unauthenticated", "members only")
        server.log.lies[tile_path(None, 0)] = hidden
        code, told = run(*words)
        assert (code, "entries" in told["unchecked"]) == (0, True)
        server.log.lies[tile_path(0, 0)] = bytes(8192)
        code, told = run(*words)
        assert (code, faults(told)) == (1, [("tiles", "tile/0/000")])
        server.log.lies[tile_path(0, 0)] = bytes(9000)
        assert faults(run(*words)[1]) == [("tiles", "tile")]
    finally:
        server.close()
    assert run(*words)[1]["code"] == "PartnerUnreachable"


@pytest.mark.parametrize(
    "more",
    [
        (),
        ("--key", "0x12"),
        ("--key", "0x" + "00" * 32, "--consortium", "0x" + "00" * 20),
    ],
)
def test_whom_to_trust_has_to_be_said_once(tmp_path: Path, more: tuple[str, ...]) -> None:
    code, told = run(str(tmp_path), "--site", PARTNER, *more)
    assert (code, told["code"]) == (1, "InvalidRequest")


# ── With a chain ─────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    chain, deployment = consortium.found()
    made = consortium.assemble(chain, deployment, tmp_path_factory.mktemp("sites"))
    yield made
    made.close()


def test_the_chain_names_keys_and_anchored_heads(world: Consortium, tmp_path: Path) -> None:
    bank = world.bank
    with bank.store.begin() as session:
        record(session, "chain.available", bank.id, {"block": 1, "was": "silent"}, "sync")
    while bank.log.sequence():
        pass
    size = bank.log.size
    root = "0x" + bank.log.root(size).hex()
    world.act("bank", world.network.anchors.anchor(bank.id, size, root, []))
    trust = of_chain(world.network, bank.id)
    assert [key.public for key in trust.keys] == [bank.identity.audit_public]
    assert trust.anchors == [(size, root)]
    shop, name = world.shop, f"fatechain/{world.shop.id}"
    account = shop.directory.account_key(shop.id, shop.identity.public_key(ANCHOR))
    assert {member for member, _ in trust.cosigners} == {world.network.sites.member_of(shop.id)}
    keys = [key for _, key in trust.cosigners]
    assert keys == [CosignerKey(name, shop.identity.audit_public), account]
    log = LyingLog([each.content for each in bank.log.entries(0, size)])
    folder = written(tmp_path, log, log.note(bank.identity, bank.id))
    told = verify(Folder(folder), "here", bank.id, trust)
    assert told["ok"], told


def test_the_monitor_asks_the_chain_who_witnessed_a_head(world: Consortium) -> None:
    size = world.network.anchors.head(world.bank.id).size
    assert of_contract(world.shop, world.bank.id, size) == OnChain("PENDING", 0)
    world.chain.travel(601)
    assert of_contract(world.shop, world.bank.id, size) == OnChain("UNWITNESSED", 0)
