"""Proposals over HTTP: what delegates ask of their node, and what others may read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from chain.governor import sign_ballot
from node import people
from node.api.app import create_app
from tests.node.council import Council, convene, newcomer
from tests.node.face import is_problem, operator, visitor


@pytest.fixture(scope="module")
def council(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Council]:
    council = convene(tmp_path_factory.mktemp("proposals"))
    yield council
    council.close()


@pytest.fixture
async def bank(council: Council) -> AsyncIterator[httpx.AsyncClient]:
    site = council.bank
    async with operator(site, create_app(site.settings.home, site)) as client:
        yield client


@pytest.fixture
async def shop(council: Council) -> AsyncIterator[httpx.AsyncClient]:
    site = council.shop
    async with operator(site, create_app(site.settings.home, site)) as client:
        yield client


def asked(title: str, value: int = 60, **changes: Any) -> dict[str, Any]:
    params = {"name": "min-rows", "value": value}
    return {"kind": "set-minimum", "params": params, "title": title} | changes


async def _propose(client: httpx.AsyncClient, council: Council, title: str, value: int) -> str:
    answer = await client.post("/v1/proposals", json=asked(title, value))
    assert answer.status_code == 202, answer.text
    council.settle()
    id: str = answer.json()["id"]
    return id


async def test_every_kind_is_described_for_forms(bank: httpx.AsyncClient) -> None:
    kinds = {kind["kind"]: kind for kind in (await bank.get("/v1/proposals/kinds")).json()}
    minimum = kinds["set-minimum"]["parameters"]
    assert minimum["required"] == ["name", "value"]
    assert minimum["additionalProperties"] is False


async def test_a_preview_shows_what_would_change(bank: httpx.AsyncClient) -> None:
    answer = await bank.post("/v1/proposals/preview", json=asked("only looking", 123))
    effect = answer.json()["effect"]
    assert answer.status_code == 200
    assert effect["parameters"] == [{"what": "minimum min-rows", "before": 50, "after": 123}]
    assert [event["name"] for event in effect["events"]] == ["MinimumSet"]
    assert answer.json()["actions"][0]["text"] == "set the minimum 'min-rows' to 123"


async def test_a_proposal_is_known_before_the_chain_has_it(
    bank: httpx.AsyncClient, council: Council
) -> None:
    answer = await bank.post("/v1/proposals", json=asked("on its way", 61))
    assert answer.status_code == 202
    id = answer.json()["id"]
    one = (await bank.get(f"/v1/proposals/{id}")).json()
    assert (one["state"], one["created_block"]) == ("SUBMITTED", None)
    council.settle()
    assert (await bank.get(f"/v1/proposals/{id}")).json()["state"] == "PENDING"


async def test_a_repeated_request_gets_the_first_answer(bank: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "propose-once"}
    first = await bank.post("/v1/proposals", json=asked("repeated", 62), headers=headers)
    again = await bank.post("/v1/proposals", json=asked("repeated", 62), headers=headers)
    assert again.json() == first.json()
    assert again.headers["Idempotency-Replayed"] == "true"


@pytest.mark.parametrize(
    ("body", "code", "status"),
    [
        (asked("no such kind", kind="abdicate"), "ProposalInvalid", 422),
        (asked("wrong", params={"name": "min-rows"}), "ProposalInvalid", 422),
        (asked("too many", colour="red"), "InvalidRequest", 422),
        (asked("", 5), "InvalidRequest", 422),
        (
            asked("fails", kind="withdraw-scheme", params={"scheme": "none-such"}),
            "ProposalWouldFail",
            403,
        ),
    ],
)
async def test_a_proposal_that_cannot_be_is_refused_by_name(
    bank: httpx.AsyncClient, body: dict[str, Any], code: str, status: int
) -> None:
    is_problem(await bank.post("/v1/proposals", json=body), status, code)


async def test_the_same_words_and_calls_again_are_a_conflict(
    bank: httpx.AsyncClient, shop: httpx.AsyncClient, council: Council
) -> None:
    id = await _propose(bank, council, "twice the same", 63)
    again = await shop.post("/v1/proposals", json=asked("twice the same", 63))
    problem = is_problem(again, 409, "ProposalExists")
    assert problem["found"]["id"] == id
    assert "change the title" in problem["hint"]


async def test_proposals_come_in_pages_newest_first(
    bank: httpx.AsyncClient, council: Council
) -> None:
    ids = [await _propose(bank, council, f"page {n}", 70 + n) for n in range(3)]
    first = (await bank.get("/v1/proposals", params={"limit": 2})).json()
    assert [item["id"] for item in first["items"]] == ids[:0:-1]
    query = {"limit": 2, "cursor": first["next"]}
    second = (await bank.get("/v1/proposals", params=query)).json()
    assert second["items"][0]["id"] == ids[0]
    everything = (await bank.get("/v1/proposals", params={"state": "OPEN", "limit": 200})).json()
    assert set(ids) <= {item["id"] for item in everything["items"]}
    none = (await bank.get("/v1/proposals", params={"state": "EXPIRED"})).json()
    assert none == {"items": [], "next": None}


async def test_a_vote_is_cast_and_shown_with_its_reason(
    bank: httpx.AsyncClient, shop: httpx.AsyncClient, council: Council
) -> None:
    id = await _propose(bank, council, "voted on", 80)
    early = await shop.post(f"/v1/proposals/{id}/votes", json={"support": "for"})
    assert "after block" in is_problem(early, 409, "VotingNotOpen")["detail"]
    assert (await shop.get(f"/v1/proposals/{id}")).json()["can"]["vote"] is False
    council.open_vote(id)
    assert (await shop.get(f"/v1/proposals/{id}")).json()["can"]["vote"] is True
    said = {"support": "for", "reason": "50 is too few"}
    cast = await shop.post(f"/v1/proposals/{id}/votes", json=said)
    assert cast.status_code == 202, cast.text
    assert cast.json()["transaction"] == f"/v1/transactions/vote.cast:{id}"
    council.settle()
    one = (await bank.get(f"/v1/proposals/{id}")).json()
    assert one["tally"] == {
        "for": 1,
        "against": 0,
        "abstain": 0,
        "quorum": 2,
        "quorum_reached": False,
        "missing": 1,
    }
    assert [(v["member"]["name"], v["reason"]) for v in one["votes"]] == [
        ("The shop", "50 is too few")
    ]
    assert one["countdown"]["what"] == "voting ends"
    again = await shop.post(f"/v1/proposals/{id}/votes", json={"support": "against"})
    is_problem(again, 409, "AlreadyVoted")


async def test_a_wallet_gets_its_ballot_and_any_node_takes_it(
    bank: httpx.AsyncClient, shop: httpx.AsyncClient, council: Council
) -> None:
    id = await _propose(bank, council, "from a wallet", 81)
    council.open_vote(id)
    account = council.clinic.identity.account
    said = {"voter": account.address, "support": "abstain", "reason": "too little time"}
    typed = (await shop.get(f"/v1/proposals/{id}/ballot", params=said)).json()
    assert typed["primaryType"] == "ExtendedBallot"
    assert typed["message"]["reason"] == "too little time"
    body = said | {"signature": sign_ballot(account, typed)}
    first = await bank.post(f"/v1/proposals/{id}/ballots", json=body)
    assert first.status_code == 202, first.text
    council.settle()
    again = await shop.post(f"/v1/proposals/{id}/ballots", json=body)
    assert (again.status_code, again.json()["state"]) == (200, "CONFIRMED")
    assert again.json()["transaction"] is None
    other = body | {"support": "for"}
    is_problem(await bank.post(f"/v1/proposals/{id}/ballots", json=other), 409, "AlreadyVoted")


async def test_a_voters_second_ballot_waits_for_the_first(
    bank: httpx.AsyncClient, council: Council
) -> None:
    """Ballots bear the voter's number: signed before the first is counted, a second is void."""
    one, two = [await _propose(bank, council, title, n) for title, n in (("one", 91), ("two", 92))]
    council.open_vote(two)
    account = council.clinic.identity.account
    said = {"voter": account.address, "support": "for", "reason": ""}
    ballots = {}
    for id in (one, two):
        typed = (await bank.get(f"/v1/proposals/{id}/ballot", params=said)).json()
        ballots[id] = said | {"signature": sign_ballot(account, typed)}
    first = await bank.post(f"/v1/proposals/{one}/ballots", json=ballots[one])
    assert first.status_code == 202, first.text
    second = await bank.post(f"/v1/proposals/{two}/ballots", json=ballots[two])
    assert is_problem(second, 409, "Conflict")["found"] == one
    is_problem(await bank.get(f"/v1/proposals/{two}/ballot", params=said), 409, "Conflict")
    council.settle()
    typed = (await bank.get(f"/v1/proposals/{two}/ballot", params=said)).json()
    anew = said | {"signature": sign_ballot(account, typed)}
    assert (await bank.post(f"/v1/proposals/{two}/ballots", json=anew)).status_code == 202
    council.settle()


async def test_a_forged_ballot_is_refused(bank: httpx.AsyncClient, council: Council) -> None:
    id = await _propose(bank, council, "forged", 82)
    council.open_vote(id)
    forged = {
        "voter": council.clinic.identity.address,
        "support": "for",
        "signature": "0x" + "01" * 65,
    }
    answer = await bank.post(f"/v1/proposals/{id}/ballots", json=forged)
    is_problem(answer, 401, "SignatureInvalid")


async def test_only_its_proposer_withdraws_a_proposal(
    bank: httpx.AsyncClient, shop: httpx.AsyncClient, council: Council
) -> None:
    id = await _propose(bank, council, "taken back", 83)
    is_problem(await shop.post(f"/v1/proposals/{id}/withdraw", json={}), 403, "NotProposer")
    taken = await bank.post(f"/v1/proposals/{id}/withdraw", json={})
    assert taken.status_code == 202
    council.settle()
    assert (await shop.get(f"/v1/proposals/{id}")).json()["state"] == "CANCELED"


async def test_what_has_not_passed_is_neither_queued_nor_executed(
    bank: httpx.AsyncClient, council: Council
) -> None:
    id = await _propose(bank, council, "not passed", 84)
    for what in ("queue", "execute"):
        answer = await bank.post(f"/v1/proposals/{id}/{what}", json={})
        is_problem(answer, 409, "WrongProposalState")


async def test_an_unknown_proposal_is_told_as_such(bank: httpx.AsyncClient) -> None:
    is_problem(await bank.get("/v1/proposals/0x" + "12" * 32), 404, "ProposalUnknown")


def key_with(council: Council, role: str) -> str:
    """An API key of a person who has only this role at the bank."""
    store, address = council.bank.store, newcomer(7).address
    people.add(store, address, "Ada", [role])
    return people.create_key(
        store, address, "reading", [role], 3600, by=people.token_actor()
    ).secret


async def test_who_is_no_delegate_may_read_and_not_vote(council: Council) -> None:
    site = council.bank
    app = create_app(site.settings.home, site)
    key = key_with(council, "auditor")
    async with visitor(site, app, Authorization=f"Bearer {key}") as auditor:
        assert (await auditor.get("/v1/proposals")).status_code == 200
        vote = await auditor.post(f"/v1/proposals/0x{'12' * 32}/votes", json={"support": "for"})
        is_problem(vote, 403, "RoleMissing")
        is_problem(await auditor.post("/v1/proposals", json=asked("mine", 9)), 403, "RoleMissing")
    async with visitor(site, app) as nobody:
        is_problem(await nobody.get("/v1/proposals"), 401, "Unauthenticated")
