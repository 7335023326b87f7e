"""`fatechain proposal` and `fatechain ballot`, against a node over HTTP with real contracts."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from chain.governor import Proposal
from chain.proposals import Action
from node import governance
from node.cli.frame import Place
from node.cli.governance import _await_beginning
from tests.node import test_cli
from tests.node.council import Council, convene
from tests.node.face import serving, token_of
from tests.node.test_cli import Run

run = test_cli.run  # the fixture


@pytest.fixture(scope="module")
def council(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Council]:
    council = convene(tmp_path_factory.mktemp("cli-council"))
    yield council
    council.close()


@pytest.fixture(scope="module")
def at(council: Council) -> Iterator[tuple[str, ...]]:
    """The options that lead to the bank's node."""
    with serving(council.bank) as url:
        yield ("--url", url, "--token", token_of(council.bank))


def create(run: Run, at: tuple[str, ...], council: Council, title: str, value: int) -> str:
    given = ("--param", "name=min-rows", "--param", f"value={value}", "--wait", "0")
    made = run("proposal", "create", "set-minimum", "--title", title, *given, "--json", *at)
    assert made.code == 0, made.err
    council.settle()
    id: str = made.json["id"]
    return id


def test_kinds_are_listed_and_explained(run: Run, at: tuple[str, ...]) -> None:
    every = run("proposal", "kinds", *at)
    assert "set-minimum" in every.out
    assert "admit" in every.out
    one = run("proposal", "kinds", "set-minimum", *at)
    assert "value" in one.out
    wrong = run("proposal", "kinds", "abdicate", "--json", *at)
    assert (wrong.code, wrong.problem["code"]) == (1, "InvalidRequest")


def test_a_preview_says_before_and_after(run: Run, at: tuple[str, ...]) -> None:
    given = ("--param", "name=min-rows", "--param", "value=99")
    told = run("proposal", "preview", "set-minimum", *given, *at)
    assert told.code == 0, told.err
    assert "set the minimum 'min-rows' to 99" in told.out
    assert "minimum min-rows" in told.out


def test_what_would_fail_is_told_and_not_proposed(run: Run, at: tuple[str, ...]) -> None:
    member = ("reinstate", "--param", "member=The bank")
    told = run("proposal", "preview", *member, *at)
    assert "would fail" in told.out
    made = run("proposal", "create", *member, "--title", "pointless", "--json", *at)
    assert (made.code, made.problem["code"]) == (1, "ProposalWouldFail")


def test_a_proposal_is_made_listed_shown_voted_on(
    run: Run,
    at: tuple[str, ...],
    council: Council,
    tmp_path: Path,
) -> None:
    why = tmp_path / "why.md"
    why.write_text("Small hospitals\nask for it.\n")
    given = ("--param", "name=min-rows", "--param", "value=60", "--body", f"@{why}")
    title = ("--title", "At least 60 rows")
    made = run("proposal", "create", "set-minimum", *title, *given, "--wait", "0", "--json", *at)
    assert made.code == 0, made.err
    id = made.json["id"]
    council.settle()
    assert "At least 60 rows" in run("proposal", "list", "--state", "OPEN", *at).out
    council.open_vote(id)
    voted = run("proposal", "vote", id, "for", "--reason", "we need it", "--wait", "0", *at)
    assert voted.code == 0, voted.err
    council.settle()
    shown = run("proposal", "show", id, *at).out
    for words in (
        "At least 60 rows",
        "Small hospitals",
        "set the minimum 'min-rows' to 60",
        "as proposed",
        "we need it",
        "1 for, 0 against, 0 abstain",
        "voting ends",
        "2, 1 missing",
    ):
        assert words in shown
    again = run("proposal", "vote", id, "against", "--json", *at)
    assert (again.code, again.problem["code"]) == (1, "AlreadyVoted")


def test_a_vote_that_begins_soon_is_waited_for(
    at: tuple[str, ...], council: Council, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = council.propose("bank", "set-minimum", "Wait for it", name="min-rows", value=61)
    waited = []

    def blocks_pass(_: float) -> None:
        waited.append(id)
        council.open_vote(id)

    monkeypatch.setattr("node.cli.governance.time.sleep", blocks_pass)
    place = Place(None, at[1], at[3], as_json=False)
    _await_beginning(place, id, wait=0)
    assert waited == []
    _await_beginning(place, id, wait=1e6)
    assert waited == [id]


def test_a_vote_that_came_too_late_is_told_what_to_do(
    run: Run, at: tuple[str, ...], council: Council
) -> None:
    id = council.propose("bank", "set-minimum", "Too late", name="min-rows", value=62)
    council.open_vote(id)
    council.vote(id, shop="for")
    council.close_vote(id)
    council.settle()
    late = run("proposal", "vote", id, "for", "--json", *at)
    assert (late.code, late.problem["code"]) == (1, "VotingNotOpen")
    assert "proposed again" in late.problem["hint"]
    shown = run("proposal", "show", id, *at).out
    assert "the quorum was missed by 1" in shown


def test_a_proposal_of_strange_calls_is_flagged_loudly(
    run: Run,
    at: tuple[str, ...],
    council: Council,
) -> None:
    strange = Proposal((Action("0x" + "Ab" * 20, "0xdeadbeef"),), "[bold]trust me[/]")
    council.act("shop", council.network.governor.propose(strange.actions, strange.description))
    council.settle()
    shown = run("proposal", "show", strange.id, *at).out
    assert "WARNING UnknownCall" in shown
    assert "WARNING ForeignProposal" in shown
    assert "[bold]trust me[/]" in shown


def test_a_proposal_is_withdrawn(
    run: Run,
    at: tuple[str, ...],
    council: Council,
) -> None:
    id = create(run, at, council, "taken back", 61)
    assert run("proposal", "withdraw", id, "--wait", "0", *at).code == 0
    council.settle()
    assert run("proposal", "show", id, "--json", *at).json["state"] == "CANCELED"


def test_what_has_not_passed_is_neither_queued_nor_executed(
    run: Run,
    at: tuple[str, ...],
    council: Council,
) -> None:
    id = create(run, at, council, "not passed", 62)
    for what in ("queue", "execute"):
        told = run("proposal", what, id, "--json", *at)
        assert (told.code, told.problem["code"]) == (1, "WrongProposalState")


# ── Ballots ──────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def keystore(council: Council, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The clinic's key, as it lies on a computer without a network."""
    path, password = tmp_path / "clinic.json", tmp_path / "password"
    key = council.clinic.identity.account.key
    path.write_text(json.dumps(Account.encrypt(key, "secret", kdf="pbkdf2", iterations=100)))
    password.write_text("secret")
    monkeypatch.setitem(os.environ, "FATECHAIN_DEPLOYER_PASSWORD_FILE", str(password))
    return path


def ballot(run: Run, at: tuple[str, ...], id: str, voter: str, out: Path, *more: str) -> Any:
    return run("ballot", "make", id, "for", "--voter", voter, "--out", out, *more, *at)


def test_a_ballot_is_made_signed_offline_and_relayed(
    run: Run,
    at: tuple[str, ...],
    council: Council,
    keystore: Path,
    tmp_path: Path,
) -> None:
    id = create(run, at, council, "by ballot", 63)
    council.open_vote(id)
    voter, file = council.clinic.identity.address, tmp_path / "ballot.json"
    assert ballot(run, at, id, voter, file, "--reason", "on paper").code == 0
    unsigned = run("ballot", "relay", file, "--json", *at)
    assert (unsigned.code, unsigned.problem["hint"][:7]) == (1, "sign it")
    signed = run("ballot", "sign", file, "--key", keystore, "--json")
    assert signed.code == 0, signed.err
    assert (signed.json["support"], signed.json["reason"]) == ("for", "on paper")
    assert signed.json["proposal"] == id
    relayed = run("ballot", "relay", file, "--wait", "0", *at)
    assert relayed.code == 0, relayed.err
    council.settle()
    shown = run("proposal", "show", id, "--json", *at).json
    assert [(vote["voter"], vote["reason"]) for vote in shown["votes"]] == [(voter, "on paper")]
    again = run("ballot", "relay", file, "--json", *at)
    assert again.json["state"] == "CONFIRMED"


def test_a_ballot_of_another_account_is_not_signed(
    run: Run,
    at: tuple[str, ...],
    council: Council,
    keystore: Path,
    tmp_path: Path,
) -> None:
    id = create(run, at, council, "not yours", 64)
    council.open_vote(id)
    file = tmp_path / "ballot.json"
    assert ballot(run, at, id, council.shop.identity.address, file).code == 0
    told = run("ballot", "sign", file, "--key", keystore, "--json")
    assert (told.code, told.problem["allowed"]) == (1, council.shop.identity.address)


def test_what_would_sign_something_else_is_no_ballot(
    run: Run, council: Council, at: tuple[str, ...], tmp_path: Path, keystore: Path
) -> None:
    """The message is a ballot's, for the reader; what is hashed is a grant."""
    id = create(run, at, council, "not this one", 65)
    council.open_vote(id)
    file = tmp_path / "ballot.json"
    assert ballot(run, at, id, council.clinic.identity.address, file).code == 0
    found = json.loads(file.read_text())
    typed = found["ballot"]
    typed["primaryType"] = "Grant"
    typed["types"]["Grant"] = typed["types"].pop("ExtendedBallot")
    file.write_text(json.dumps(found))
    told = run("ballot", "sign", file, "--key", keystore, "--json")
    assert "is no ballot" in told.err
    assert "signature" not in json.loads(file.read_text())


def test_a_ballot_that_the_node_made_of_another_vote_is_not_written(
    run: Run,
    council: Council,
    at: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    id = create(run, at, council, "turned round", 66)
    council.open_vote(id)
    honest = governance.ballot
    monkeypatch.setattr(
        governance,
        "ballot",
        lambda site, id, voter, _, reason="": honest(site, id, voter, "against", reason),
    )
    file = tmp_path / "ballot.json"
    made = run(
        *("ballot", "make", id, "for", "--voter", council.clinic.identity.address),
        *("--out", file, "--json", *at),
    )
    assert (made.code, made.problem["found"], made.problem["allowed"]) == (1, "against", "for")
    assert not file.exists()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"ballot": {"message": {}}}'])
def test_a_file_that_is_no_ballot_is_refused(run: Run, tmp_path: Path, content: str) -> None:
    file = tmp_path / "ballot.json"
    file.write_text(content)
    told = run("ballot", "sign", file, "--key", "dev:0", "--json")
    assert (told.code, told.problem["code"]) == (1, "InvalidRequest")
