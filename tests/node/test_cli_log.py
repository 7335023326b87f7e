"""`fatechain log`: a home's own log read, proved, and found out where somebody changed it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from chain.entries import open_entry
from chain.merkle import verify_inclusion
from node.cli import main
from node.site import Site
from tests.node.face import add_entries, make_site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with make_site(tmp_path / "bank") as site:
        add_entries(site, 600)
        yield site


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, Any]:
    with pytest.raises(SystemExit) as end:
        main(["log", *map(str, arguments), "--json"])
    captured = capsys.readouterr()
    code = end.value.code
    return code if isinstance(code, int) else 0, json.loads(captured.out or captured.err)


def test_an_intact_log_is_told_to_be_so(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    code, told = run(capsys, "verify", "--offline", "--home", site.settings.home)
    assert code == 0
    assert told["faults"] == []
    assert told["entries"] == site.log.size
    assert told["root"] == "0x" + site.log.root().hex()
    assert told["anchors_from"] == "database"


def test_every_fault_is_named_and_ends_with_1(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    with site.store.begin() as session:
        session.execute(text("UPDATE audit_entry SET actor = 'nobody' WHERE \"index\" = 7"))
        session.execute(text('DELETE FROM audit_entry WHERE "index" = 300'))
    code, told = run(capsys, "verify", "--offline", "--home", site.settings.home)
    assert code == 1
    assert [fault["index"] for fault in told["faults"]] == [7, 300]
    assert told["root"] is None


def test_a_silent_chain_is_told_and_not_passed_over(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.change(rpc_url="http://127.0.0.1:1", consortium="0x" + "c0" * 20)
    code, told = run(capsys, "verify", "--home", site.settings.home)
    assert code == 1
    assert told["code"] == "ChainUnavailable"
    assert "--offline" in told["hint"]


def test_an_entry_is_proved_and_shows_no_more_than_it_is_told_to(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    name = sorted(site.log.entry(5).value["data"])[0]
    code, shown = run(capsys, "prove", 5, "--disclose", name, "--home", site.settings.home)
    assert code == 0
    assert list(open_entry(shown)) == [name]
    proof = shown["proof"]
    raw = [bytes.fromhex(node[2:]) for node in (proof["root"], shown["leafHash"], *proof["path"])]
    assert verify_inclusion(raw[0], proof["size"], 5, raw[1], raw[2:])


def test_a_proof_that_does_not_hold_is_not_shown(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    tile = site.settings.log / "tile/0/000"
    tile.write_bytes(bytes(32) + tile.read_bytes()[32:])
    code, told = run(capsys, "prove", 1, "--home", site.settings.home)
    assert code == 1
    assert told["code"] == "AuditLogDiffers"
