"""People vouch for code, issuers for members: over HTTP and from the command line."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.crypto import keccak

from chain.network import NetworkFile
from ml.algorithm import code_digest
from node.api.views import reviews as views
from node.api.views.names import Names
from node.check import check
from node.cli import main, signer
from node.cli import reviews as review_commands
from node.errors import Conflict, Invalid, NodeError, NotFound, Refused, Unauthenticated
from node.reviews import Review, appoint, dismiss, put_up, relay, typed_review
from tests.node.consortium import sync_of
from tests.node.council import Council, convene
from tests.node.face import is_problem, serving, token_of
from tests.node.newcomers import Newcomers, gather

DIGEST = "0x" + "c0" * 32
REPORT = "0x" + hashlib.sha256(b"I read it all.").hexdigest()
KIND = "iso27001"


@pytest.fixture(scope="module")
def council(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Council]:
    council = convene(tmp_path_factory.mktemp("council"))
    yield council
    council.close()


def _person(name: str) -> LocalAccount:
    account: LocalAccount = Account.from_key(keccak(text=f"person {name}"))
    return account


def _settle(council: Council) -> None:
    for _ in range(2):
        council.settle("bank", "shop", "clinic")


def _review(council: Council, person: LocalAccount, digest: str, approves: bool = True) -> Review:
    signature = council.network.reviews.sign_review(person, digest, approves, REPORT)
    return Review(digest, person.address, approves, REPORT, signature)


def _shown(council: Council, digest: str) -> views.ReviewShown:
    return views.show(council.bank, Names(council.bank.network), digest)


def _run(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return end.value.code if isinstance(end.value.code, int) else 0


# ── Code ─────────────────────────────────────────────────────────────────────────────────────


def test_code_is_reviewed_when_people_of_two_other_members_approve_it(council: Council) -> None:
    reader, critic = _person("reader"), _person("critic")
    digest = put_up(council.bank, "secureboost").id
    appoint(council.shop, reader.address)
    appoint(council.clinic, critic.address)
    _settle(council)
    assert digest == code_digest("secureboost")
    relay(council.bank, _review(council, reader, digest))
    _settle(council)
    half = _shown(council, digest)
    assert (half.reviewed, half.here, half.name) == (False, True, "secureboost")
    assert half.missing is not None
    assert "people of 1 members approve it" in half.missing
    relay(council.shop, _review(council, critic, digest))
    _settle(council)
    whole = _shown(council, digest)
    assert (whole.reviewed, whole.missing, whole.allowed) == (True, None, False)
    assert [opinion.counts for opinion in whole.opinions] == [True, True]
    assert whole.author.id == council.members["bank"]
    dismiss(council.clinic, critic.address)
    _settle(council)
    assert [opinion.counts for opinion in _shown(council, digest).opinions] == [True, False]
    assert not _shown(council, digest).reviewed


def test_the_authors_own_people_do_not_count(council: Council) -> None:
    own, digest = _person("own"), "0x" + "c1" * 32
    put_up(council.bank, digest, "homegrown")
    appoint(council.bank, own.address)
    _settle(council)
    relay(council.bank, _review(council, own, digest))
    _settle(council)
    [opinion] = _shown(council, digest).opinions
    assert not opinion.counts


def test_code_that_somebody_put_up_is_not_put_up_again(council: Council) -> None:
    digest = "0x" + "c2" * 32
    put_up(council.bank, digest, "first come")
    put_up(council.bank, digest, "first come")
    _settle(council)
    with pytest.raises(Conflict):
        put_up(council.shop, digest, "mine")


def test_a_digest_needs_a_name(council: Council) -> None:
    with pytest.raises(Invalid):
        put_up(council.bank, DIGEST)


def test_people_come_go_and_come_again(council: Council) -> None:
    guest = _person("guest")
    for _ in range(2):
        assert appoint(council.shop, guest.address) == appoint(council.shop, guest.address)
        _settle(council)
        assert guest.address in council.network.reviews.people(council.members["shop"])
        dismiss(council.shop, guest.address)
        _settle(council)
        assert guest.address not in council.network.reviews.people(council.members["shop"])


def test_a_person_speaks_for_one_member_and_is_dismissed_by_that_one(council: Council) -> None:
    mine = _person("mine")
    appoint(council.shop, mine.address)
    _settle(council)
    with pytest.raises(Conflict):
        appoint(council.bank, mine.address)
    with pytest.raises(Refused):
        dismiss(council.bank, mine.address)


def test_who_speaks_for_nobody_is_told_before_signing(council: Council) -> None:
    digest = put_up(council.bank, "0x" + "c3" * 32, "unread").id
    _settle(council)
    with pytest.raises(Refused) as refusal:
        typed_review(council.bank, digest, _person("nobody").address, True, REPORT)
    assert refusal.value.code == "PersonNotAppointed"
    with pytest.raises(NotFound):
        typed_review(council.bank, "0x" + "77" * 32, _person("reader").address, True, REPORT)


@pytest.mark.parametrize("change", ["approves", "report", "digest", "person"])
def test_a_review_says_what_its_person_signed_and_nothing_else(
    council: Council, change: str
) -> None:
    signed = _review(council, _person("reader"), code_digest("secureboost"), approves=False)
    forged = {
        "approves": Review(signed.code_digest, signed.person, True, REPORT, signed.signature),
        "report": Review(signed.code_digest, signed.person, False, DIGEST, signed.signature),
        "digest": Review("0x" + "c1" * 32, signed.person, False, REPORT, signed.signature),
        "person": Review(
            signed.code_digest, _person("own").address, False, REPORT, signed.signature
        ),
    }[change]
    with pytest.raises(Unauthenticated) as refusal:
        relay(council.bank, forged)
    assert refusal.value.code == "SignatureInvalid"


def test_a_review_counts_once_whoever_relays_it(council: Council) -> None:
    """The second node's is refused by its nonce; the same node's is the same request."""
    signed = _review(council, _person("reader"), code_digest("secureboost"))
    assert relay(council.bank, signed) == relay(council.bank, signed)
    _settle(council)
    with pytest.raises(NodeError):
        relay(council.shop, signed)


def test_a_review_is_drafted_signed_offline_and_relayed_from_the_command_line(
    council: Council,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader = _person("reader")
    monkeypatch.setattr(review_commands, "account_of", lambda _: reader)
    report, out = tmp_path / "report.md", tmp_path / "review.json"
    report.write_bytes(b"I read it again.")
    digest = code_digest("secureboost")
    with serving(council.bank) as url:
        at = ("--url", url, "--token", token_of(council.bank), "--json")
        assert _run("review", "list", *at) == 0
        assert digest in capsys.readouterr().out
        drafting = ("--person", reader.address, "--report", report, "--out", out, "--reject")
        assert _run("review", "draft", digest, *drafting, *at) == 0
        assert _run("review", "relay", out, *at) == 1  # nobody signed it yet
        capsys.readouterr()
        assert _run("review", "sign", out, "--key", "its keystore", "--json") == 0
        told = json.loads(capsys.readouterr().out)
        assert (told["approves"], told["signed"]) == (False, True)
        assert told["report"] == "0x" + hashlib.sha256(b"I read it again.").hexdigest()
        assert _run("review", "relay", out, "--wait", "0", *at) == 0
        _settle(council)
        assert _run("review", "show", digest, *at) == 0
        assert _run("review", "people", *at) == 0
    found = {opinion.person: opinion for opinion in _shown(council, digest).opinions}
    assert not found[reader.address].approves


def test_another_persons_review_is_not_signed(
    council: Council,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    typed = typed_review(
        council.bank, code_digest("secureboost"), _person("reader").address, True, REPORT
    )
    file = tmp_path / "review.json"
    file.write_text(json.dumps({"review": typed}))
    monkeypatch.setattr(review_commands, "account_of", lambda _: _person("own"))
    assert _run("review", "sign", file, "--key", "k", "--json") == 1
    assert "signature" not in json.loads(file.read_text())
    capsys.readouterr()
    file.write_text("[]")
    assert _run("review", "sign", file, "--key", "k", "--json") == 1
    assert json.loads(capsys.readouterr().err)["code"] == "InvalidRequest"


def test_a_review_that_reads_otherwise_than_it_is_hashed_is_not_signed(
    council: Council,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A library takes the text "no" for true: the person would approve what he or she rejects."""
    reader = _person("reader")
    typed = typed_review(council.bank, code_digest("secureboost"), reader.address, False, REPORT)
    file = tmp_path / "review.json"
    monkeypatch.setattr(review_commands, "account_of", lambda _: reader)
    typed["message"]["approves"] = "no"
    file.write_text(json.dumps({"review": typed}))
    assert _run("review", "sign", file, "--key", "k", "--json") == 1
    assert "is no review" in capsys.readouterr().err
    assert "signature" not in json.loads(file.read_text())


def test_a_review_that_the_node_made_of_another_opinion_is_not_written(
    council: Council,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    digest, person, out = code_digest("secureboost"), _person("reader").address, tmp_path / "r.json"
    report = tmp_path / "report.md"
    report.write_bytes(b"I read it again.")
    turned = typed_review(council.bank, digest, person, True, REPORT)
    monkeypatch.setattr("node.reviews.typed_review", lambda *_: turned)
    with serving(council.bank) as url:
        at = ("--url", url, "--token", token_of(council.bank), "--json")
        drafting = ("--person", person, "--report", report, "--out", out, "--reject")
        assert _run("review", "draft", digest, *drafting, *at) == 1
    assert "another approves" in capsys.readouterr().err
    assert not out.exists()


def test_reviews_and_people_over_http(council: Council) -> None:
    with serving(council.bank) as url:
        headers = {"Authorization": f"Bearer {token_of(council.bank)}"}
        with httpx.Client(base_url=url, headers=headers, timeout=60) as api:
            digest = "0x" + "c4" * 32
            made = api.post("/v1/reviews", json={"algorithm": digest, "name": "over http"})
            assert (made.status_code, made.json()["id"]) == (202, digest)
            person = _person("http").address
            made = api.post("/v1/appointments", json={"person": person})
            assert made.json()["id"] == council.members["bank"]
            _settle(council)
            people: list[Any] = api.get("/v1/appointments").json()
            [own] = [p for p in people if p["member"]["id"] == council.members["bank"]]
            assert person in own["people"]
            assert api.get(f"/v1/reviews/{digest}").json()["name"] == "over http"
            assert api.post(f"/v1/appointments/{person}/dismiss").status_code == 202
            is_problem(api.get(f"/v1/reviews/{'0x' + '77' * 32}"), 404, "ReviewMissing")
            is_problem(api.post("/v1/appointments", json={"person": "0x1"}), 422, "InvalidRequest")


# ── Attestations ─────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Newcomers]:
    """An issuer is named, and its word is required of everybody."""
    world = gather(tmp_path)
    attestations = world.network.attestations
    issuer = world.chain.client(7).address
    world.chain.client(0).transact(attestations.name_issuer(KIND, issuer))
    world.chain.client(0).transact(attestations.set_required(KIND, True))
    world.register()
    yield world
    world.close()


def _standing(world: Newcomers) -> views.StandingShown:
    world.chain.mine(3)
    sync_of(world.bank).step()
    return views.standing(world.bank, Names(world.bank.network), world.members["bank"])


def test_a_member_is_told_what_it_lacks_until_an_issuer_gives_it(
    world: Newcomers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = world.network.client.head()
    [item] = [
        item
        for item in check(world.bank, clock=lambda: head.timestamp + 1).items
        if item.name == "attestations"
    ]
    assert (item.status, KIND in item.found) == ("fail", True)
    assert _standing(world).missing == [KIND]
    assert [k.model_dump() for k in views.kinds(world.bank)] == [
        {"kind": KIND, "required": True, "issuers": [world.chain.client(7).address]}
    ]
    _issue(world, tmp_path, monkeypatch, "give", "--days", "30")
    found = _standing(world)
    assert found.missing == []
    [word] = found.attestations
    assert (word.kind, word.named, word.holds) == (KIND, True, True)
    assert word.digest == "0x" + hashlib.sha256(b"They passed.").hexdigest()


def test_an_attestation_holds_until_it_is_revoked(
    world: Newcomers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _issue(world, tmp_path, monkeypatch, "give", "--days", "30")
    _issue(world, tmp_path, monkeypatch, "revoke")
    found = _standing(world)
    assert found.missing == [KIND]
    assert not found.attestations[0].holds


def test_an_attestation_ends_with_its_issuer_and_its_time(
    world: Newcomers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _issue(world, tmp_path, monkeypatch, "give", "--days", "30")
    snapshot = world.chain.snapshot()
    world.chain.travel(31 * 86_400)
    assert not _standing(world).attestations[0].holds
    world.chain.revert(snapshot)
    issuer = world.chain.client(7).address
    world.chain.client(0).transact(world.network.attestations.remove_issuer(KIND, issuer))
    found = views.standing(world.bank, Names(world.bank.network), world.members["bank"])
    assert found.missing == [KIND]
    assert (found.attestations[0].named, found.attestations[0].holds) == (False, False)


def test_who_is_no_issuer_is_refused_before_anything_is_sent(
    world: Newcomers,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert _issue(world, tmp_path, monkeypatch, "give", "--days", "1", account=8) == 1
    assert json.loads(capsys.readouterr().err)["code"] == "NotIssuer"


def _issue(
    world: Newcomers,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
    *options: str,
    account: int = 7,
) -> int:
    """The issuer's command, against the chain of this process; its exit code."""

    def opened(rpc: str, key: str, network: Path) -> signer.Authority:
        client = world.chain.client(account)
        return signer.Authority(client, world.network.on(client))

    monkeypatch.setattr(review_commands, "open_authority", opened)
    (folder / "statement.txt").write_bytes(b"They passed.")
    file = NetworkFile(1, world.network.consortium.address, 0)
    (folder / "network.json").write_text(file.to_json())
    given = ("--statement", folder / "statement.txt") if what == "give" else ()
    return _run("attest", what, "The bank", KIND, *given, *options, "--key", "dev:7", "--json")
