"""A proposal is approved by a rule or waits for a person, with reasons, a reminder and an end."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import delete, update

from chain.consents import GrantState
from ml.algorithm import code_digest
from node import jobs, registration
from node.admission import decide
from node.api.app import create_app
from node.client import STALE, Client
from node.errors import NodeError
from node.facts import gather
from node.rules import Conditions, Rule, add, remove
from node.staleness import silent_seconds, warning
from node.store import (
    ApiKey,
    Approval,
    ApprovalRule,
    ChainEvent,
    ChainState,
    LocalJob,
    Person,
    Proposal,
    Vote,
    Waiting,
)
from node.waiting import LOOK_AGAIN_SECONDS, TIMED_OUT, WaitingList
from tests.node import consortium
from tests.node.consortium import ALGORITHM, Consortium
from tests.node.face import is_problem, operator
from tests.node.told import pending

DAY = 86_400.0


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    chain, deployment = consortium.found()
    world = consortium.assemble(chain, deployment, tmp_path_factory.mktemp("sites"))
    yield world
    world.close()


@pytest.fixture
def now() -> list[float]:
    return [time.time()]


@pytest.fixture
def waiting(world: Consortium, now: list[float]) -> WaitingList:
    return WaitingList(world.shop, lambda: now[0])


@pytest.fixture(autouse=True)
def nothing_else(world: Consortium) -> Iterator[None]:
    """What a test left undecided waits for nobody in the next one."""
    yield
    with world.shop.store.begin() as session:
        session.execute(
            update(LocalJob).where(LocalJob.state == "PROPOSED").values(state="EXPIRED")
        )
        session.execute(delete(Waiting))
        session.execute(update(ApprovalRule).values(removed_at=0.0))


def a_rule(world: Consortium, name: str = "trainings", **conditions: Any) -> Rule:
    return add(world.shop, name, Conditions(**conditions), time.time() + DAY)


def approval(world: Consortium, job: str) -> Approval | None:
    with world.shop.store.read() as session:
        return session.get(Approval, job)


def row(world: Consortium, job: str) -> Waiting | None:
    with world.shop.store.read() as session:
        return session.get(Waiting, job)


def entries(world: Consortium, kind: str, job: str) -> list[dict[str, Any]]:
    found = pending(world.shop.store)
    name = f"fatechain.{kind}.v1"
    return [entry for entry in found if entry["type"] == name and entry["subject"] == job]


# ── Rules ────────────────────────────────────────────────────────────────────────────────────


def test_a_rule_that_matches_approves_and_the_job_runs(
    world: Consortium, waiting: WaitingList
) -> None:
    bank = world.network.sites.member_of(world.bank.id)
    rule = a_rule(
        world,
        proposers=(bank,),
        algorithms=(code_digest(ALGORITHM),),
        datasets=(world.datasets["shop"],),
        max_products=10_000,
    )
    job = world.propose()
    waiting.step()
    remove(world.shop, rule.id)
    found = approval(world, job)
    assert found is not None
    assert (found.how, found.rule_id, found.by) == ("rule", rule.id, f"rule:{rule.id}")
    [entry] = entries(world, "job.approved", job)
    assert (entry["data"]["rule"], entry["actor"]) == (rule.id, f"rule:{rule.id}")
    world.settle()
    assert str(world.network.jobs.state(job)) == "APPROVED"
    assert decide(gather(world.shop, job, "start")).allowed


def test_without_a_rule_a_proposal_waits_and_nothing_is_approved(
    world: Consortium, waiting: WaitingList
) -> None:
    job = world.propose()
    for _ in range(3):
        waiting.step()
    assert approval(world, job) is None
    found = row(world, job)
    assert found is not None
    assert found.why == []
    assert len(entries(world, "job.waiting", job)) == 1


def test_a_proposal_that_nobody_foresaw_holds_up_no_other(
    world: Consortium, waiting: WaitingList, monkeypatch: pytest.MonkeyPatch
) -> None:
    strange, plain = world.propose(), world.propose()

    def of(site: Any, job_id: str, *args: Any, **named: Any) -> Any:
        if job_id == strange:
            raise KeyError("what no contract of ours answers")
        return gather(site, job_id, *args, **named)

    monkeypatch.setattr("node.waiting.gather", of)
    waiting.step()
    assert row(world, strange) is None
    assert row(world, plain) is not None


def test_each_rule_that_did_not_match_is_told_with_its_reason(
    world: Consortium, waiting: WaitingList
) -> None:
    rules = [a_rule(world, "few", max_products=1), a_rule(world, "other", purposes=("quality",))]
    job = world.propose()
    waiting.step()
    found = row(world, job)
    for rule in rules:
        remove(world.shop, rule.id)
    assert found is not None
    assert [why["name"] for why in found.why] == ["few", "other"]
    assert "products are asked for" in found.why[0]["why"]
    assert "the purpose is training" in found.why[1]["why"]


def test_no_rule_allows_what_admission_refuses(world: Consortium, waiting: WaitingList) -> None:
    rule, grant = a_rule(world), world.give_grant()
    job = world.propose(grant=grant)
    world.act("shop", world.network.consents.revoke(grant))
    waiting.step()
    remove(world.shop, rule.id)
    assert approval(world, job) is None
    found = row(world, job)
    assert found is not None
    assert found.why[0]["rule"] is None
    assert found.why[0]["why"].startswith("GrantRevoked")


def test_no_rule_allows_what_the_policy_refuses(
    world: Consortium, waiting: WaitingList, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = ("echo", '{"allow": false, "reason": "not on Sundays"}')
    settings = world.shop.settings.model_copy(update={"policy_command": said})
    monkeypatch.setattr(world.shop, "settings", settings)
    rule = a_rule(world)
    job = world.propose()
    waiting.step()
    remove(world.shop, rule.id)
    assert approval(world, job) is None
    found = row(world, job)
    assert found is not None
    assert "PolicyRefused" in found.why[0]["why"]
    with pytest.raises(NodeError, match="PolicyRefused"):
        jobs.approve(world.shop, job)


def test_the_day_s_last_approval_leaves_the_next_job_to_a_person(
    world: Consortium, waiting: WaitingList
) -> None:
    rule = a_rule(world, max_per_day=1)
    first, second = world.propose(), world.propose()
    waiting.step()
    remove(world.shop, rule.id)
    approved = [approval(world, job) is not None for job in (first, second)]
    assert sorted(approved) == [False, True]
    left = row(world, second if approved[0] else first)
    assert left is not None
    assert "RuleUsedUp" in left.why[0]["why"]


def test_a_rule_that_is_added_later_approves_what_waits(
    world: Consortium, waiting: WaitingList, now: list[float]
) -> None:
    job = world.propose()
    waiting.step()
    assert approval(world, job) is None
    rule = a_rule(world)
    now[0] = time.time()
    waiting.step()
    remove(world.shop, rule.id)
    assert approval(world, job) is not None
    assert row(world, job) is None


def test_what_was_missing_is_looked_for_again(
    world: Consortium, waiting: WaitingList, now: list[float]
) -> None:
    rule = a_rule(world, max_per_day=5)
    job = world.propose()
    world.govern(world.network.consortium.withdraw_purpose("training"))
    now[0] = time.time()
    waiting.step()
    assert approval(world, job) is None
    world.govern(world.network.consortium.allow_purpose("training"))
    world.chain.mine(3)
    waiting.step()
    assert approval(world, job) is None  # not at every tick
    now[0] += LOOK_AGAIN_SECONDS
    waiting.step()
    remove(world.shop, rule.id)
    assert approval(world, job) is not None


def test_a_job_is_approved_once_by_whoever_comes_first(
    world: Consortium, waiting: WaitingList
) -> None:
    rule, job = a_rule(world, max_per_day=1), world.propose()
    jobs.approve(world.shop, job)
    jobs.approve(world.shop, job, rule=rule)
    waiting.step()
    remove(world.shop, rule.id)
    found = approval(world, job)
    assert found is not None
    assert (found.how, found.rule_id) == ("person", None)
    assert len(entries(world, "job.approved", job)) == 1


# ── A person ─────────────────────────────────────────────────────────────────────────────────


def test_a_person_s_approval_ends_the_waiting(world: Consortium, waiting: WaitingList) -> None:
    job = world.propose()
    waiting.step()
    jobs.approve(world.shop, job)
    assert row(world, job) is None
    waiting.step()
    assert row(world, job) is None


def test_an_approval_by_the_key_alone_runs_nothing_here(world: Consortium) -> None:
    """Whoever holds the chain account and not the node approves in vain."""
    job = world.propose()
    read = world.network.jobs.job(job).specification
    world.act("shop", world.network.jobs.approve(job, world.shop.id, read))
    world.act("bank", world.network.jobs.start(job))
    world.settle()
    assert decide(gather(world.shop, job, "task")).codes == ("NotApprovedHere",)
    assert decide(gather(world.bank, job, "task")).allowed  # the bank proposed it itself


def test_a_reminder_is_entered_once(
    world: Consortium, waiting: WaitingList, now: list[float]
) -> None:
    job = world.propose()
    waiting.step()
    now[0] += world.shop.settings.approval_remind_seconds - 1
    waiting.step()
    assert entries(world, "job.reminded", job) == []
    for _ in range(3):
        now[0] += LOOK_AGAIN_SECONDS / 2
        waiting.step()
    assert len(entries(world, "job.reminded", job)) == 1


def test_a_proposal_that_nobody_answers_is_rejected_and_says_so(
    world: Consortium, waiting: WaitingList, now: list[float]
) -> None:
    rule = a_rule(world, purposes=("quality",))
    job = world.propose()
    waiting.step()
    now[0] += world.shop.settings.approval_timeout_seconds
    for _ in range(3):
        waiting.step()
    remove(world.shop, rule.id)
    [entry] = entries(world, "job.rejected", job)
    assert (entry["data"]["reason"], entry["actor"]) == (TIMED_OUT, "sync")
    world.settle()
    assert str(world.network.jobs.state(job)) == "REJECTED"
    assert world.job("bank", job).reason == TIMED_OUT
    assert row(world, job) is None


def test_what_a_person_rejected_is_not_approved_by_a_rule(
    world: Consortium, waiting: WaitingList
) -> None:
    job = world.propose()
    jobs.reject(world.shop, job)
    rule = a_rule(world)
    waiting.step()
    remove(world.shop, rule.id)
    assert approval(world, job) is None


# ── Over HTTP ────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def app(world: Consortium) -> FastAPI:
    return create_app(world.shop.settings.home, world.shop)


@pytest.fixture
async def api(world: Consortium, app: FastAPI) -> Any:
    async with operator(world.shop, app) as client:
        yield client


async def test_rules_are_made_shown_and_removed(api: httpx.AsyncClient, world: Consortium) -> None:
    body = {
        "name": "the bank's trainings",
        "proposers": ["bank"],
        "algorithms": [ALGORITHM],
        "purposes": ["training"],
        "datasets": [world.datasets["shop"]],
        "max_products": 500,
        "max_per_day": 3,
    }
    made = (await api.post("/v1/approval-rules", json=body)).json()
    assert made["conditions"]["proposers"] == [world.network.sites.member_of(world.bank.id)]
    assert made["conditions"]["algorithms"] == [code_digest(ALGORITHM)]
    assert (made["active"], made["used_today"], made["created_by"]) == (True, 0, "operator")
    assert made["id"] in [r["id"] for r in (await api.get("/v1/approval-rules")).json()["items"]]
    removed = (await api.post(f"/v1/approval-rules/{made['id']}/remove")).json()
    assert removed["active"] is False
    assert (await api.get(f"/v1/approval-rules/{made['id']}")).json() == removed


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "x", "proposers": ["nobody"]},
        {"name": "x", "algorithms": ["astrology"]},
        {"name": "x", "max_per_day": 0},
        {"name": "x", "until": 1, "expires_in": 1},
        {"name": "x", "until": 1},
        {"name": "x", "conditions": {}},
    ],
)
async def test_a_rule_that_means_nothing_is_refused(
    api: httpx.AsyncClient, body: dict[str, Any]
) -> None:
    answer = await api.post("/v1/approval-rules", json=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"].startswith("application/problem+json")


async def test_what_waits_is_shown_with_why(
    api: httpx.AsyncClient, world: Consortium, waiting: WaitingList
) -> None:
    rule, job = a_rule(world, "few", max_products=1), world.propose()
    waiting.step()
    remove(world.shop, rule.id)
    with world.shop.store.begin() as session:
        person = Person(address="0x" + "aa" * 20, name="Ada", roles=["delegate"])
        session.merge(person)
        session.flush()
        key = ApiKey(
            id="ab" * 8,
            digest=b"k" * 32,
            person=person.address,
            name="nightly",
            roles=["delegate"],
            expires_at=time.time() + DAY,
        )
        session.merge(key)
        for id, voted in (("0x" + "e1" * 32, False), ("0x" + "e2" * 32, True)):
            session.add(
                Proposal(
                    id=id,
                    state="ACTIVE",
                    title="more rows",
                    actions=[],
                    description="",
                    proposer="0x" + "bb" * 20,
                    deadline=10**6,
                    moments=[],
                )
            )
            if voted:
                session.add(
                    Vote(
                        proposal_id=id,
                        voter=world.shop.identity.address,
                        support="for",
                        reason="",
                        weight=1,
                        block=1,
                        tx_hash="0x00",
                    )
                )
        for n, name in enumerate(("BreakGlassOpened", "BreakGlassOpened", "BreakGlassReviewed")):
            id = "0x" + ("f1" if n == 0 else "f2") * 32
            session.add(
                ChainEvent(
                    block=1,
                    block_hash="0x",
                    tx_hash="0x",
                    log_index=1000 + n,
                    contract="BreakGlass",
                    name=name,
                    args={"id": id, "owner": "0x" + "cc" * 32, "reviewBy": 2_000_000_000},
                )
            )
    found = (await api.get("/v1/waiting")).json()
    [shown] = found["jobs"]
    assert (shown["id"], shown["why"][0]["name"]) == (job, "few")
    assert [proposal["id"] for proposal in found["proposals"]] == ["0x" + "e1" * 32]
    assert [review["id"] for review in found["break_glass"]] == ["0x" + "f1" * 32]
    assert [key["name"] for key in found["keys"]] == ["nightly"]
    assert found["count"] == 4


async def test_a_wallet_signs_a_grant_and_any_node_relays_it(
    api: httpx.AsyncClient, world: Consortium
) -> None:
    rules = {"spent": "none", "id": "join"}
    terms = {
        "dataset": world.datasets["shop"],
        "grantee": "bank",
        "algorithms": [ALGORITHM],
        "expires_in": 3600,
        "product_budget": 10_000,
        "column_rules": rules,
    }
    drafted = (await api.post("/v1/grants/typed-data", json={"terms": terms})).json()
    assert drafted["signer"] == world.shop.identity.address
    json.dumps(drafted["typed_data"])
    account = world.shop.identity.account  # stands for the wallet, which has the typed data alone
    signature = account.sign_typed_data(full_message=drafted["typed_data"]).signature.to_0x_hex()
    body = {
        "terms": drafted["terms"],
        "signature": signature,
        "column_rules": drafted["column_rules"],
    }
    accepted = await api.post("/v1/grants/signed", json=body)
    assert accepted.status_code == 202, accepted.text
    assert accepted.json()["id"] == drafted["id"]
    world.settle()
    assert world.network.consents.state(drafted["id"]) is GrantState.ACTIVE
    assert registration.column_rules(world.shop, drafted["id"]) == rules
    facts = gather(world.shop, world.propose(grant=drafted["id"]), "approve")
    assert facts.column_rules == {drafted["id"]: rules}
    assert decide(facts).allowed


async def test_a_signature_that_is_not_the_owner_s_is_refused(
    api: httpx.AsyncClient, world: Consortium
) -> None:
    terms = {"dataset": world.datasets["shop"], "grantee": "bank", "algorithms": [ALGORITHM]}
    drafted = (await api.post("/v1/grants/typed-data", json={"terms": terms})).json()
    account = world.bank.identity.account
    signature = account.sign_typed_data(full_message=drafted["typed_data"]).signature.to_0x_hex()
    body = {"terms": drafted["terms"], "signature": signature}
    is_problem(await api.post("/v1/grants/signed", json=body), 401, "SignatureInvalid")
    owner = world.shop.identity.account
    signature = owner.sign_typed_data(full_message=drafted["typed_data"]).signature.to_0x_hex()
    more = drafted["terms"] | {"uses": 1000}  # signed for one
    changed = {"terms": more, "signature": signature}
    is_problem(await api.post("/v1/grants/signed", json=changed), 401, "SignatureInvalid")
    other = {"terms": drafted["terms"], "signature": signature, "column_rules": {"id": "join"}}
    is_problem(await api.post("/v1/grants/signed", json=other), 422, "InvalidRequest")


@pytest.mark.parametrize(
    "change", [{"nonce": "-1"}, {"nonce": str(2**256)}, {"until": str(2**64)}, {"uses": 0}]
)
async def test_signed_terms_that_no_contract_takes_are_refused(
    api: httpx.AsyncClient, world: Consortium, change: dict[str, Any]
) -> None:
    terms = {"dataset": world.datasets["shop"], "grantee": "bank", "algorithms": [ALGORITHM]}
    drafted = (await api.post("/v1/grants/typed-data", json={"terms": terms})).json()
    body = {"terms": drafted["terms"] | change, "signature": "0x" + "11" * 65}
    is_problem(await api.post("/v1/grants/signed", json=body), 422, "InvalidRequest")


# ── While the chain is stale ─────────────────────────────────────────────────────────────────


@pytest.fixture
def stale(world: Consortium) -> Iterator[None]:
    with world.shop.store.begin() as session:
        state = session.get_one(ChainState, 1)
        kept, state.seen_at = state.seen_at, time.time() - 1000
    yield
    with world.shop.store.begin() as session:
        session.get_one(ChainState, 1).seen_at = kept


def test_a_fresh_view_warns_of_nothing(world: Consortium) -> None:
    with world.shop.store.begin() as session:
        session.get_one(ChainState, 1).seen_at = time.time()
    assert silent_seconds(world.shop) is None


async def test_a_stale_node_says_so_in_every_answer_and_on_every_page(
    world: Consortium, stale: None
) -> None:
    app = create_app(world.shop.settings.home, world.shop)
    async with operator(world.shop, app) as api:
        health = await api.get("/v1/health")
        assert health.json()["stale"] is True
        assert "no new block for 100" in health.json()["warning"]
        for path in ("/v1/jobs", "/v1/approval-rules", "/v1/jobs/0x00"):
            assert (await api.get(path)).headers[STALE] == health.headers[STALE]
        page = (await api.get("/login")).text
    assert 'role="alert"' in page
    assert "The chain is stale" in page


def test_the_client_tells_it_once() -> None:
    told: list[str] = []

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={}, headers={STALE: warning(90.0, 60.0)})

    transport = httpx.MockTransport(answer)
    with Client("http://node", transport=transport, on_stale=told.append) as node:
        node.get("/v1/jobs")
        node.get("/v1/jobs")
    assert told == [warning(90.0, 60.0)]
    assert told[0].startswith("THE CHAIN IS STALE")


def test_a_chain_that_was_never_seen_is_stale(world: Consortium) -> None:
    assert "has not read the chain yet" in warning(float("inf"), 60.0)
