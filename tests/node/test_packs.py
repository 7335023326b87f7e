"""An evidence pack holds as it is made; each lie in one is found at its place."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from chain import pack as format_
from chain.client import ChainClient
from chain.pack import KEPT, verify_pack, verify_pack_alone
from chain.sites import KeyInput
from chain.standalone import Report
from chain.state_proof import block_part
from chain.statement import signed_bytes
from node.api.app import create_app
from node.audit.erasure import erase
from node.certificate import certify
from node.errors import NodeError
from node.packs import Wanted, pack
from tests.chain.pack_lies import LIES, ON_CHAIN, Change, content, of_kind, shown
from tests.node import consortium
from tests.node.consortium import Consortium
from tests.node.face import is_problem, operator
from tests.node.test_certificate import evidence_of_all, succeeded
from tests.node.test_cli import Run, run
from tests.node.test_erasure import enter
from tests.node.test_specification import an_id

__all__ = ["run"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    """A certified job, and entries after the newest anchor."""
    chain, deployment = consortium.found()
    world = consortium.assemble(chain, deployment, tmp_path_factory.mktemp("sites"))
    job = succeeded(world)
    certify(world.bank, job, evidence_of_all(world, job))
    world.settle()
    yield world
    world.close()


@pytest.fixture(scope="module")
def made(world: Consortium) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(pack(world.bank, Wanted()))
    return found


def resigned(world: Consortium, made: dict[str, Any], change: Change) -> bytes:
    """The issuer changes it and signs again."""
    altered = copy.deepcopy(made)
    change(altered)
    signature = world.bank.identity.sign_audit(signed_bytes(altered))
    return content(altered | {"signature": base64.b64encode(signature).decode()})


def anchored(world: Consortium) -> None:
    """What the bank entered stands under a head on the chain."""
    world.bank.change(anchor_every_entries=1)
    world.settle(3)
    world.bank.change(anchor_every_entries=1000)


def places(report: Report) -> list[str]:
    return [check.where for check in report.failures]


# ── What a pack holds ────────────────────────────────────────────────────────────────────────


def test_a_pack_of_everything_holds_and_shows_every_anchored_entry(
    world: Consortium, made: dict[str, Any]
) -> None:
    report = verify_pack(content(made), world.network)
    assert report.failures == ()
    assert verify_pack_alone(content(made)).ok
    log = made["log"]
    assert (log["first"], log["end"]) == (0, log["anchored"]["size"])
    assert len(shown(made)) == log["end"]
    assert len(made["jobs"]) == len(made["certificates"]) == 1
    assert {key["purpose"] for key in made["keys"]} >= {"request", "audit"}
    assert {event["name"] for event in made["governance"]} >= {"MemberAdmitted", "SiteRegistered"}


def test_a_pack_proves_by_itself_what_the_contracts_held_at_its_last_block(
    made: dict[str, Any],
) -> None:
    assert made["chain"]["block"]["number"] == made["scope"]["lastBlock"]
    found = {check.where for check in verify_pack_alone(content(made)).checks}
    assert {"$.log.anchored.size", "$.scope", "$.keys", "$.issued"} <= found


def test_where_the_endpoint_gives_no_proof_the_pack_says_so(
    world: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(client: ChainClient, method: str, params: Sequence[Any]) -> None:
        return None

    monkeypatch.setattr(ChainClient, "ask_raw", refuse)
    made = json.loads(pack(world.bank, Wanted()))
    assert made["chain"] is None
    (check,) = [c for c in verify_pack_alone(content(made)).checks if c.name == "chain"]
    assert "no storage proof" in check.detail


def test_the_blocks_of_a_period_are_proved_by_the_headers_beside_them(world: Consortium) -> None:
    client = world.network.client
    first, last = 20, 40
    times = [datetime.fromtimestamp(client.block(n).timestamp, UTC) for n in (first, last + 1)]
    found = json.loads(pack(world.bank, Wanted(since=times[0], until=times[1])))
    assert (found["scope"]["firstBlock"], found["scope"]["lastBlock"]) == (first, last)
    assert [part["number"] for part in found["chain"]["bounds"]] == [19, 20, 40, 41]
    assert verify_pack_alone(content(found)).failures == ()
    assert verify_pack(content(found), world.network).failures == ()

    def later(p: dict[str, Any]) -> None:
        p["scope"]["firstBlock"] = first + 1
        p["chain"]["bounds"][0:2] = [block_part(client, number) for number in (20, 21)]

    def earlier(p: dict[str, Any]) -> None:
        p["scope"]["lastBlock"] = last - 1
        p["chain"]["bounds"][2:4] = [block_part(client, number) for number in (39, 40)]

    def torn(p: dict[str, Any]) -> None:
        p["chain"]["bounds"][2] = {**found["chain"]["block"], "number": 40}

    for change, where in (
        (later, "$.scope.firstBlock"),
        (earlier, "$.scope.lastBlock"),
        (torn, "$.chain.bounds[2].number"),
    ):
        assert where in places(verify_pack_alone(resigned(world, found, change))), where


def test_a_pack_of_a_dataset_hides_the_rest_as_bare_hashes_and_leaves_none_out(
    world: Consortium,
) -> None:
    wanted = Wanted(dataset=world.datasets["shop"])
    made = json.loads(pack(world.bank, wanted))
    assert verify_pack(content(made), world.network).failures == ()
    job = made["jobs"][0]["id"]
    assert {part["entry"]["subject"] for _, part in shown(made)} <= {
        job,
        made["models"][0]["id"],
        world.grant,
        world.datasets["shop"],
    }
    assert len(shown(made)) < len(made["log"]["entries"])
    assert [grant["id"] for grant in made["grants"]] == [world.grant]


def test_a_pack_of_a_site_has_its_jobs_and_what_was_decided_of_it(world: Consortium) -> None:
    made = json.loads(pack(world.bank, Wanted(site=world.shop.id)))
    assert verify_pack(content(made), world.network).failures == ()
    assert len(made["jobs"]) == 1
    member = world.network.sites.member_of(world.shop.id)
    named = {world.shop.id, member}
    assert all(named & set(map(str, event["args"].values())) for event in made["governance"])
    assert made["governance"]


def test_a_pack_of_a_job_shows_what_is_about_it_and_hides_the_rest(world: Consortium) -> None:
    everything = json.loads(pack(world.bank, Wanted()))
    job = everything["jobs"][0]["id"]
    made = json.loads(pack(world.bank, Wanted(job=job)))
    assert verify_pack(content(made), world.network).failures == ()
    assert made["scope"]["job"] == job
    subjects = {part["entry"]["subject"] for _, part in shown(made)}
    assert job in subjects
    assert subjects <= {job, made["models"][0]["id"], world.grant}
    assert len(shown(made)) < len(made["log"]["entries"])
    assert [each["job"] for each in made["certificates"]] == [job]
    assert job in made["report"]["en"]


def test_a_pack_of_a_period_begins_and_ends_with_it(
    world: Consortium, made: dict[str, Any]
) -> None:
    times = [part["entry"]["time"] for _, part in shown(made)]
    since, until = (datetime.fromisoformat(times[at]) for at in (3, 9))
    found = json.loads(pack(world.bank, Wanted(since=since, until=until)))
    # The chain of the tests lives in another year than the log: its part of the period is empty.
    assert verify_pack_alone(content(found)).failures == ()
    assert (found["log"]["first"], found["log"]["end"]) == (3, 9)


def test_a_period_in_which_nothing_happened_is_an_empty_range(world: Consortium) -> None:
    long_ago = datetime(2001, 1, 1, tzinfo=UTC)
    found = json.loads(pack(world.bank, Wanted(since=long_ago, until=long_ago + timedelta(days=1))))
    assert found["log"]["entries"] == []
    assert verify_pack_alone(content(found)).failures == ()


def test_redacted_fields_and_kinds_are_hidden_and_the_entries_still_prove(
    world: Consortium,
) -> None:
    found = json.loads(pack(world.bank, Wanted(redacted=("receipt", "task.finished"))))
    assert verify_pack(content(found), world.network).failures == ()
    assert all("receipt" not in part["disclosed"] for _, part in shown(found))
    assert "receipt" in found["log"]["entries"][of_kind(found, "message.sent")]["entry"]["data"]
    kinds = {part["entry"]["type"] for _, part in shown(found)}
    assert "fatechain.task.finished.v1" not in kinds
    assert [part["certificate"] for part in found["certificates"]] == [None]


def test_what_cannot_be_asked_for_is_refused(world: Consortium) -> None:
    now = datetime.now(UTC)
    for wanted, code in (
        (Wanted(redacted=("digest",)), "InvalidRequest"),
        (Wanted(redacted=("no.kind",)), "InvalidRequest"),
        (Wanted(site=an_id(7)), "NotFound"),
        (Wanted(dataset=an_id(7)), "NotFound"),
        (Wanted(job=an_id(7)), "NotFound"),
        (Wanted(since=now, until=now), "InvalidRequest"),
    ):
        with pytest.raises(NodeError) as refusal:
            pack(world.bank, wanted)
        assert refusal.value.code == code


def test_what_does_not_fit_into_one_file_is_refused(
    world: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.packs.MAX_LEAVES", 3)
    with pytest.raises(NodeError) as refusal:
        pack(world.bank, Wanted())
    assert refusal.value.code == "PackTooLarge"


# ── Lies ─────────────────────────────────────────────────────────────────────────────────────


ASKED = [lie for lie in LIES if lie[0] in ON_CHAIN]


@pytest.mark.parametrize(("what", "change", "where"), ASKED, ids=[lie[0] for lie in ASKED])
def test_a_lie_that_only_the_chain_can_tell_is_found_at_its_place(
    world: Consortium, made: dict[str, Any], what: str, change: Change, where: str
) -> None:
    found = places(verify_pack(resigned(world, made, change), world.network))
    assert any(place.startswith(where) for place in found), found


def test_a_head_that_a_newer_one_has_followed_is_not_the_end_of_the_log(
    world: Consortium, made: dict[str, Any]
) -> None:
    enter(world.bank, an_id(71))
    anchored(world)
    newest = world.network.client.head().number

    def change(p: dict[str, Any]) -> None:
        p["scope"]["lastBlock"] = newest

    assert verify_pack(content(made), world.network).failures == ()
    found = places(verify_pack(resigned(world, made, change), world.network))
    assert "$.log.anchored.size" in found, found


def test_what_was_erased_is_shown_with_the_receipt_that_covers_it(world: Consortium) -> None:
    scope = an_id(72)
    enter(world.bank, scope)
    anchored(world)
    erase(world.bank, scope, "the contract ended")
    found = json.loads(pack(world.bank, Wanted()))
    assert verify_pack(content(found), world.network).failures == ()
    (receipt,) = found["log"]["erasures"]
    erased = [part["index"] for _, part in shown(found) if part["erased"]]
    assert receipt["entries"] == [[erased[0], erased[-1]]]
    without = resigned(world, found, lambda p: p["log"].update(erasures=[]))
    assert f"$.log.entries[{erased[0]}].erased" in places(verify_pack(without, world.network))


def test_another_sites_log_cannot_stand_for_the_issuers(
    world: Consortium, made: dict[str, Any]
) -> None:
    theirs = json.loads(pack(world.shop, Wanted()))

    def change(p: dict[str, Any]) -> None:
        p["log"] = {**theirs["log"], "site": p["log"]["site"]}

    found = places(verify_pack(resigned(world, made, change), world.network))
    assert "$.log.entries[0].entry.source" in found
    assert "$.log.anchored.root" in found or "$.log.anchored" in found


def test_what_nobody_signed_is_found_without_a_chain(made: dict[str, Any]) -> None:
    altered = made | {"report": made["report"] | {"en": "all is well"}}
    assert places(verify_pack_alone(content(altered))) == ["$.signature"]


def test_no_field_that_is_always_shown_is_unknown_to_the_log() -> None:
    from node.audit.schemas import EVENTS

    known = {name for event in EVENTS.values() for name in event.fields}
    assert known >= KEPT


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}\n",
        b'{"type":"evidence-pack"}\n',
        b"[" * 100_000 + b"\n",
        b'{"a":' * 50 + b"1" + b"}" * 50 + b"\n",
        b'{"a":1,"a":1}\n',
    ],
)
def test_a_malformed_file_is_one_failed_check(data: bytes) -> None:
    (check,) = verify_pack_alone(data).checks
    assert (check.name, check.ok) == ("format", False)


def test_an_oversized_file_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(format_, "MAX_BYTES", 10)
    (check,) = verify_pack_alone(b'{"type":"evidence-pack"}\n').checks
    assert "at most 10" in check.detail


# ── The interface and the command ────────────────────────────────────────────────────────────


async def test_the_interface_gives_the_file(world: Consortium) -> None:
    async with operator(world.bank, create_app(world.bank.settings.home, world.bank)) as api:
        asked = {"dataset": world.datasets["shop"], "redact": ["receipt", "task.finished"]}
        found = await api.get("/v1/packs", params=asked)
        assert verify_pack(found.content, world.network).ok
        is_problem(await api.get("/v1/packs", params={"site": an_id(9)}), 404, "NotFound")
        is_problem(await api.get("/v1/packs", params={"site": "x"}), 422, "InvalidRequest")


def test_the_command_verifies_a_pack_and_writes_its_report(
    run: Run, tmp_path: Path, made: dict[str, Any]
) -> None:
    file, folder = tmp_path / "pack.json", tmp_path / "report"
    file.write_bytes(content(made))
    told = run("verify", file, "--offline", "--extract", folder, "--json")
    assert (told.code, told.json["kind"], told.json["ok"]) == (0, "evidence pack", True)
    assert "监管证据包" in (folder / "report.zh.html").read_text("utf-8")
    assert (folder / "verifier.html").is_file()
    file.write_bytes(content(made | {"report": {**made["report"], "en": "x"}}))
    refused = run("verify", file, "--offline", "--extract", tmp_path / "no", "--json")
    assert (refused.code, (tmp_path / "no").exists()) == (1, False)


def test_keys_of_blocks_after_the_one_at_which_a_pack_is_proved_are_not_in_it(
    world: Consortium,
) -> None:
    """The chain moves on while a pack is made: what it says of keys is still proved."""
    sites, site = world.network.sites, world.shop.id
    before = json.loads(pack(world.bank, Wanted()))["keys"]
    ended = next(k for k in before if (k["site"], k["purpose"]) == (site, "request"))
    world.act("shop", sites.add_key(site, KeyInput("request", "0x" + "77" * 32, "0x" + "00" * 64)))
    world.act("shop", sites.revoke_key(site, ended["id"]))
    made = json.loads(pack(world.bank, Wanted()))
    assert made["keys"] == before
    assert made["chain"] is not None
    assert verify_pack_alone(content(made)).failures == ()
    assert verify_pack(content(made), world.network).failures == ()
