"""Disputes between members: at a node, over HTTP and from the command line."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from node import disputes
from node.api.app import create_app
from node.api.views import disputes as views
from node.api.views.disputes import DisputeShown
from node.api.views.names import Names
from node.disputes import Claim
from node.errors import Conflict, Invalid, NodeError, NotFound, Refused
from node.statements import Statement
from tests.node import test_cli
from tests.node.council import Council, convene
from tests.node.crowd import entries
from tests.node.face import is_problem, operator, serving, token_of
from tests.node.test_cli import Run

run = test_cli.run  # the fixture

SUBJECT = "0x" + "5b" * 32
WORDS = "The rows are not those of the commitment."
SAID = Statement.of("evidence", WORDS)
NOBODY = "0x" + "99" * 32


@pytest.fixture(scope="module")
def council(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Council]:
    council = convene(tmp_path_factory.mktemp("disputes"))
    yield council
    council.close()


@pytest.fixture
async def bank(council: Council) -> AsyncIterator[httpx.AsyncClient]:
    site = council.bank
    async with operator(site, create_app(site.settings.home, site)) as client:
        yield client


@pytest.fixture(scope="module")
def at_shop(council: Council) -> Iterator[tuple[str, ...]]:
    """The options that lead to the shop's node."""
    with serving(council.shop) as url:
        yield ("--url", url, "--token", token_of(council.shop))


def claim(respondent: str = "The shop") -> Claim:
    return Claim(respondent, "dataset", SUBJECT, SAID)


def open_(council: Council) -> str:
    """Of the bank against the shop; confirmed."""
    made = disputes.open_(council.bank, claim())
    council.settle()
    return made.id


def shown(council: Council, name: str, id: str) -> DisputeShown:
    site = council.sites[name]
    return views.show(site, Names(site.network), id)


def refused(error: type[NodeError], code: str, call: Any, *args: Any) -> None:
    with pytest.raises(error) as found:
        call(*args)
    assert found.value.code == code


def test_a_dispute_has_digests_on_the_chain_and_words_in_the_log(council: Council) -> None:
    id = open_(council)
    found = shown(council, "shop", id)
    assert (found.state, found.about, found.subject) == ("OPEN", "dataset", SUBJECT)
    assert (found.claimant.name, found.respondent.name) == ("The bank", "The shop")
    assert found.evidence == SAID.digest
    assert (found.answer, found.ruling, found.reasons) == (None, None, None)
    (entry,) = (e for e in entries(council.bank, "dispute.opened") if e["subject"] == id)
    assert entry["data"]["evidenceText"] == WORDS


def test_the_respondent_answers_once(council: Council) -> None:
    id = open_(council)
    assert shown(council, "shop", id).can == ["answer"]
    assert shown(council, "bank", id).can == ["withdraw"]
    assert shown(council, "clinic", id).can == []
    said = Statement.of("answer", "They were corrected.")
    refused(Refused, "NotOwner", disputes.answer, council.clinic, id, said)
    made = disputes.answer(council.shop, id, said)
    assert disputes.answer(council.shop, id, said) == made
    council.settle()
    answered = shown(council, "shop", id)
    assert (answered.state, answered.answer, answered.can) == ("ANSWERED", said.digest, [])
    other = Statement.of("answer", "On second thoughts.")
    refused(Conflict, "Conflict", disputes.answer, council.shop, id, other)


def test_the_claimant_withdraws_and_nobody_else(council: Council) -> None:
    id = open_(council)
    refused(Refused, "NotOwner", disputes.withdraw, council.shop, id)
    disputes.withdraw(council.bank, id)
    council.settle()
    found = shown(council, "bank", id)
    assert (found.state, found.can) == ("WITHDRAWN", [])
    refused(Conflict, "Conflict", disputes.answer, council.shop, id, SAID)


def test_the_members_rule_by_vote(council: Council) -> None:
    id = open_(council)
    proposal = council.propose(
        "bank", "rule-dispute", dispute=id, ruling="upheld", reasons=SAID.digest
    )
    council.pass_(proposal)
    council.enact(proposal)
    found = shown(council, "shop", id)
    assert (found.state, found.ruling, found.reasons) == ("UPHELD", "upheld", SAID.digest)
    refused(Conflict, "Conflict", disputes.withdraw, council.bank, id)


@pytest.mark.parametrize(
    ("name", "respondent", "error", "code"),
    [
        ("bank", "The bank", Invalid, "InvalidRequest"),
        ("bank", "all", Invalid, "InvalidRequest"),
        ("bank", "Nobody", Invalid, "InvalidRequest"),
        ("bank", NOBODY, Invalid, "InvalidRequest"),
        ("stranger", "The shop", Refused, "MemberNotActive"),
    ],
)
def test_a_dispute_is_of_a_member_with_another(
    council: Council, name: str, respondent: str, error: type[NodeError], code: str
) -> None:
    before = len(entries(council.sites[name], "dispute.opened"))
    refused(error, code, disputes.open_, council.sites[name], claim(respondent))
    assert len(entries(council.sites[name], "dispute.opened")) == before


def test_of_a_dispute_that_there_is_not_nothing_can_be_done(council: Council) -> None:
    refused(NotFound, "NotFound", disputes.answer, council.shop, NOBODY, SAID)
    refused(NotFound, "NotFound", disputes.withdraw, council.shop, NOBODY)
    refused(NotFound, "NotFound", shown, council, "shop", NOBODY)


async def test_a_dispute_over_http(council: Council, bank: httpx.AsyncClient) -> None:
    body = {"respondent": "The shop", "about": "job", "subject": SUBJECT}
    headers = {"Idempotency-Key": "dispute-once"}
    given = {**body, "evidence": SAID.digest}
    answer = await bank.post("/v1/disputes", json=given, headers=headers)
    assert answer.status_code == 202, answer.text
    again = await bank.post("/v1/disputes", json=given, headers=headers)
    assert again.json() == answer.json()
    council.settle()
    id = answer.json()["id"]
    one = (await bank.get(f"/v1/disputes/{id}")).json()
    assert (one["state"], one["evidence"], one["can"]) == ("OPEN", SAID.digest, ["withdraw"])
    page = (await bank.get("/v1/disputes", params={"limit": 1})).json()
    assert len(page["items"]) == 1
    is_problem(await bank.post("/v1/disputes", json=body), 422, "InvalidRequest")
    both = {**given, "evidence_text": WORDS}
    is_problem(await bank.post("/v1/disputes", json=both), 422, "InvalidRequest")
    withdrawn = await bank.post(f"/v1/disputes/{id}/withdraw", json={})
    assert withdrawn.status_code == 202, withdrawn.text
    council.settle()
    listed = (await bank.get("/v1/disputes", params={"state": "WITHDRAWN"})).json()["items"]
    assert id in [dispute["id"] for dispute in listed]


def test_a_file_is_hashed_and_stays_where_it_is(
    run: Run, at_shop: tuple[str, ...], council: Council, tmp_path: Path
) -> None:
    report = tmp_path / "report.pdf"
    report.write_bytes(b"%PDF\x00\xff")
    about = ("--about", "dataset", "--subject", SUBJECT)
    made = run(
        "dispute", "open", "The bank", *about, "--file", report, "--wait", "0", "--json", *at_shop
    )
    assert made.code == 0, made.err
    council.settle()
    id = made.json["id"]
    told = run("dispute", "show", id, "--json", *at_shop)
    assert told.json["evidence"] == "0x" + hashlib.sha256(report.read_bytes()).hexdigest()
    assert id in [dispute["id"] for dispute in run("dispute", "list", "--json", *at_shop).json]
    neither = run("dispute", "open", "The bank", *about, "--json", *at_shop)
    assert neither.problem["code"] == "InvalidRequest"
    withdrawn = run("dispute", "withdraw", id, "--wait", "0", *at_shop)
    assert withdrawn.code == 0, withdrawn.err


def test_an_answer_from_the_command_line(
    run: Run, at_shop: tuple[str, ...], council: Council
) -> None:
    id = open_(council)
    answered = run("dispute", "answer", id, "--text", "No.", "--wait", "0", *at_shop)
    assert answered.code == 0, answered.err
    council.settle()
    assert shown(council, "shop", id).answer == Statement.of("answer", "No.").digest
