"""What happened on the chain in plain words: every event, every call, in both languages."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from chain.abi import decode_event, encode_event, named
from chain.compile import CONTRACTS, load
from node.api.app import create_app
from node.api.views.known import Known
from node.api.views.search import search
from node.index.indexing import Indexing
from node.site import Site
from node.staleness import behind
from node.store import ChainEvent, ChainState, ChainTx
from node.ui import phrases
from node.ui.messages import LANGUAGES, MESSAGES, translate
from tests.node.face import OWN, PARTNER, make_site, operator, visitor

HTML = {"Accept": "text/html"}
ACCOUNT = "0x" + "11" * 20
MEMBER = "0x" + "2a" * 32
JOB = "0x" + "3b" * 32
HASH = "0x" + "4c" * 32
HOOKS = ("onERC721Received", "onERC1155Received", "onERC1155BatchReceived")
"""Answers to a token that is sent; they change nothing, and nobody calls them for themselves."""

EVENTS = [
    (contract, entry)
    for contract in CONTRACTS
    for entry in load(contract).abi
    if entry["type"] == "event"
]
CALLS = [
    (contract, entry)
    for contract in CONTRACTS
    for entry in load(contract).abi
    if entry["type"] == "function"
    and entry["stateMutability"] in ("nonpayable", "payable")
    and entry["name"] not in HOOKS
]


def title(case: Any) -> str | None:
    return case["name"] if isinstance(case, dict) else None


def a_value(parameter: dict[str, Any]) -> Any:
    """Some value of that type, as JSON."""
    kind: str = parameter["type"]
    if kind.endswith("[]"):
        return [a_value({**parameter, "type": kind[:-2]})]
    if kind == "tuple":
        return {each["name"]: a_value(each) for each in parameter["components"]}
    if kind == "bytes32":
        return "word" if parameter.get("internalType") == "Word" else "0x" + "5d" * 32
    plain = {"address": ACCOUNT, "bool": True, "string": "text", "bytes": "0x0102"}
    return plain.get(kind, 2)


def put(to: Site, contract: str, event: str, /, *, block: int = 5, **args: Any) -> None:
    with to.store.begin() as session:
        session.add(
            ChainEvent(
                block=block,
                block_hash="0x" + "77" * 32,
                tx_hash=HASH,
                log_index=0,
                contract=contract,
                name=event,
                args=args,
            )
        )


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with make_site(tmp_path / "bank") as site:
        yield site


@pytest.fixture
async def client(site: Site) -> AsyncIterator[httpx.AsyncClient]:
    async with operator(site, create_app(site.settings.home, site)) as client:
        client.headers.update(HTML)
        yield client


# ── The words ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("contract", "entry"), EVENTS, ids=title)
def test_every_event_of_every_contract_is_told_in_both_languages(
    contract: str, entry: dict[str, Any]
) -> None:
    args = {each["name"]: a_value(each) for each in entry["inputs"]}
    for language in LANGUAGES:
        assert f"event.{entry['name']}" in MESSAGES, "this event has no words"
        told = phrases.text_of(phrases.event(language, contract, entry["name"], args, Known()))
        assert translate(language, "event.argument.lacking") not in told
        assert not re.search(r"[{}]", told), told


@pytest.mark.parametrize(("contract", "entry"), CALLS, ids=title)
def test_every_call_of_every_contract_is_told_in_both_languages(
    contract: str, entry: dict[str, Any]
) -> None:
    args = {each["name"]: a_value(each) for each in entry["inputs"]}
    keys = {f"call.{contract}.{entry['name']}", f"call.{entry['name']}"}
    assert keys & set(MESSAGES), "this call has no words"
    for language in LANGUAGES:
        told = phrases.text_of(
            phrases.transaction(language, contract, entry["name"], args, Known())
        )
        assert translate(language, "event.argument.lacking") not in told
        assert not re.search(r"[{}]", told), told


@pytest.mark.parametrize(("contract", "entry"), EVENTS, ids=title)
def test_the_raw_view_of_an_event_is_what_the_chain_keeps(
    contract: str, entry: dict[str, Any]
) -> None:
    args = {each["name"]: a_value(each) for each in entry["inputs"]}
    topics, data = encode_event(contract, entry["name"], args)
    assert decode_event(contract, topics, data) == (entry["name"], args)


def test_what_an_event_names_has_its_name_and_leads_there(site: Site) -> None:
    put(site, "SiteRegistry", "SiteRegistered", id=PARTNER, name="clinic", operator=ACCOUNT)
    with site.store.read() as session:
        known = Known().learn(session)
    parts = phrases.event("en", "JobRegistry", "JobApproval", {"id": JOB, "site": PARTNER}, known)
    assert phrases.text_of(parts) == f"clinic approved the job {JOB[:8]}…{JOB[-4:]}"
    assert [part.link for part in parts if part.whole == JOB] == [f"/jobs/{JOB}"]
    assert next(part for part in parts if part.whole == PARTNER).link
    vote = {"voter": ACCOUNT, "proposalId": int(JOB, 16), "support": 1}
    told = phrases.event("zh", "ConsortiumGovernor", "VoteCast", vote, known)
    assert phrases.text_of(told).startswith("clinic 对提案 0x3b3b3b…3b3b 投了赞成票")


@pytest.mark.parametrize(
    ("contract", "name", "args"),
    [
        ("JobRegistry", "Unknown", {"topics": [HASH], "data": "0x"}),
        ("JobRegistry", "Invented", {}),
        ("JobRegistry", "JobApproval", {}),
        ("JobRegistry", "JobFailed", {"id": 7, "site": None, "reason": "0x" + "ff" * 32}),
        ("Attestations", "AttestationGiven", {"until": 2**64 - 1, "subject": [], "kind": {}}),
        (
            "SiteRegistry",
            "SiteRegistered",
            {"roles": 2**8 - 1, "operator": "0x", "name": "x" * 9999},
        ),
    ],
)
def test_what_nobody_foresaw_is_told_all_the_same(
    contract: str, name: str, args: dict[str, Any]
) -> None:
    for language in LANGUAGES:
        told = phrases.text_of(phrases.event(language, contract, name, args, Known()))
        assert 0 < len(told) < 1000


def test_names_follow_what_the_chain_takes_back(site: Site) -> None:
    known = Known()
    put(site, "Membership", "MemberAdmitted", id=MEMBER, name="old", account=ACCOUNT)
    with site.store.read() as session:
        assert known.learn(session).name("member", MEMBER) == "old"
    with site.store.begin() as session:
        session.query(ChainEvent).delete()
    with site.store.read() as session:
        known.learn(session)
    put(site, "Membership", "MemberAdmitted", id=MEMBER, name="new", account=ACCOUNT)
    with site.store.read() as session:
        assert known.learn(session).name("member", MEMBER) == "new"


def test_the_arguments_of_a_call_have_their_names() -> None:
    assert named("JobRegistry", "approve", [JOB, OWN, HASH]) == {
        "id": JOB,
        "site": OWN,
        "specification": HASH,
    }
    assert named("JobRegistry", "invented", [1]) == {"0": 1}
    assert named("Nowhere", "invented", [1]) == {"0": 1}


# ── The pages ────────────────────────────────────────────────────────────────────────────────


async def test_events_are_listed_in_words_with_the_raw_view_beside(
    site: Site, client: httpx.AsyncClient
) -> None:
    put(site, "JobRegistry", "JobApproval", id=JOB, site=OWN)
    page = await client.get("/events")
    assert "approved the job" in page.text
    for raw in (
        "&#34;JobApproval&#34;",
        HASH,
        encode_event("JobRegistry", "JobApproval", {"id": JOB, "site": OWN})[0][0],
    ):
        assert raw in page.text
    assert "批准了任务" in (await client.get("/events?lang=zh")).text
    (item,) = (await client.get("/events.json?lang=zh")).json()["page"]["items"]
    assert "批准了任务" in item["says"]
    assert item["args"] == {"id": JOB, "site": OWN}
    exported = (await client.get("/export/events.json?lang=en")).json()
    assert "approved the job" in exported[0]["says"]


async def test_transactions_say_what_they_ask_and_what_came_of_them(
    site: Site, client: httpx.AsyncClient
) -> None:
    call = {"contract": "JobRegistry", "function": "approve", "args": [JOB, OWN, HASH]}
    with site.store.begin() as session:
        session.add(
            ChainTx(
                intent=f"job:{JOB}:approve",
                call={**call, "address": ACCOUNT},
                state="CONFIRMED",
                tx_hash=HASH,
            )
        )
    put(site, "JobRegistry", "JobApproval", id=JOB, site=OWN)
    assert "approve the job" in (await client.get("/transactions?lang=en")).text
    assert "批准任务" in (await client.get("/transactions?lang=zh")).text
    (item,) = (await client.get("/transactions.json?lang=en")).json()["page"]["items"]
    assert item["says"].startswith("approve the job")
    assert item["args"]["specification"] == HASH
    for address in (f"/transactions/{HASH}", f"/transactions/job:{JOB}:approve"):
        page = await client.get(f"{address}?lang=en")
        assert "approve the job" in page.text
        assert "approved the job" in page.text


async def test_another_s_transaction_is_found_by_the_events_that_it_made(
    site: Site, client: httpx.AsyncClient
) -> None:
    put(site, "JobRegistry", "JobApproval", id=JOB, site=PARTNER)
    page = await client.get(f"/transactions/{HASH}?lang=en")
    assert page.status_code == 200
    assert "approved the job" in page.text
    assert (await client.get("/transactions/0x" + "00" * 32)).status_code == 404


# ── Search ───────────────────────────────────────────────────────────────────────────────────


def found(site: Site, question: str, kind: str = "event") -> list[str]:
    """What a question finds of a kind."""
    while Indexing(site.store, site.log).step():
        pass
    return [hit.label for hit in search(site, question).hits if hit.kind == kind]


@pytest.fixture
def told(site: Site) -> Site:
    """A chain on which something happened."""
    other = "0x" + "6e" * 32
    put(site, "Membership", "MemberAdmitted", block=1, id=MEMBER, name="clinic", account=ACCOUNT)
    put(site, "Membership", "MemberAdmitted", block=2, id=other, name="shop", account=ACCOUNT)
    put(site, "Membership", "MemberSuspended", block=3, id=MEMBER)
    put(site, "Membership", "MemberSuspended", block=4, id=other)
    put(site, "JobRegistry", "JobApproval", block=5, id=JOB, site=OWN)
    put(site, "ConsentRegistry", "ConsentRevocation", block=6, id=HASH, owner=MEMBER)
    return site


@pytest.mark.parametrize(
    ("question", "events"),
    [
        ("suspended", ["Membership.MemberSuspended, 4", "Membership.MemberSuspended, 3"]),
        ("暂停", ["Membership.MemberSuspended, 4", "Membership.MemberSuspended, 3"]),
        ("clinic was suspended", ["Membership.MemberSuspended, 3"]),
        ("approved the job", ["JobRegistry.JobApproval, 5"]),
        ("批准了任务", ["JobRegistry.JobApproval, 5"]),
        ("revoked the grant", ["ConsentRegistry.ConsentRevocation, 6"]),
        ("revoked clinic", ["ConsentRegistry.ConsentRevocation, 6"]),
        ("shop revoked", []),
        ("撤销了授权", ["ConsentRegistry.ConsentRevocation, 6"]),
        ("JobApproval", ["JobRegistry.JobApproval, 5"]),
        ("the", []),
    ],
)
def test_events_are_found_by_the_words_that_tell_them(
    told: Site, question: str, events: list[str]
) -> None:
    assert found(told, question) == events


async def test_hits_say_what_they_tell(told: Site, client: httpx.AsyncClient) -> None:
    found(told, "clinic")
    page = await client.get("/search?q=clinic+suspended&all=1&lang=en")
    assert "the member clinic was suspended" in page.text
    twin = (await client.get("/search.json?q=clinic+suspended&lang=zh")).json()
    (hit,) = twin["results"]["groups"][0]["hits"]
    assert hit["says"] == "成员 clinic 被暂停"


def test_a_name_alone_does_not_stand_for_its_id(told: Site) -> None:
    assert found(told, "clinic") == ["Membership.MemberAdmitted, 1"]


def test_transactions_are_found_by_the_words_that_tell_them(told: Site) -> None:
    for function in ("approve", "reject"):
        call = {"contract": "JobRegistry", "function": function, "args": [JOB, OWN, HASH]}
        with told.store.begin() as session:
            session.add(ChainTx(intent=f"job:{JOB}:{function}", call={**call, "address": ACCOUNT}))
    assert found(told, "approve the job", "transaction") == [f"job:{JOB}:approve"]
    assert found(told, "否决任务", "transaction") == [f"job:{JOB}:reject"]
    assert found(told, "nothing of the kind", "transaction") == []


# ── How far behind ───────────────────────────────────────────────────────────────────────────


def seen(site: Site, head: int, read: int) -> None:
    with site.store.begin() as session:
        state = session.get(ChainState, 1) or ChainState(id=1)
        state.head_block, state.cursor_block, state.seen_at = head, read, 1e12
        session.add(state)


async def test_every_page_says_by_how_many_blocks_it_is_behind(
    site: Site, client: httpx.AsyncClient
) -> None:
    assert "has not read the chain yet" in (await client.get("/jobs?lang=en")).text
    seen(site, 1234, 1200)
    for path in ("/", "/jobs", "/log", "/events", "/transactions", "/search?q=job", "/views"):
        page = (await client.get(f"{path}{'&' if '?' in path else '?'}lang=en")).text
        assert "As of block 1,200: behind the chain by 34 blocks" in page, path
        assert 'class="behind late"' in page
    assert "落后链上 34 个区块" in (await client.get("/jobs?lang=zh")).text
    seen(site, 1234, 1234)
    assert "level with the chain" in (await client.get("/jobs?lang=en")).text


def test_waiting_for_confirmations_is_not_being_late(site: Site) -> None:
    confirmations = site.settings.confirmations
    seen(site, 100, 100 - confirmations)
    told = behind(site)
    assert (told.read, told.by, told.waiting) == (100 - confirmations, confirmations, confirmations)
    assert not told.late
    seen(site, 100, 90 - confirmations)
    assert behind(site).late


async def test_strangers_are_not_told_how_far_a_closed_explorer_is(site: Site) -> None:
    seen(site, 1234, 1200)
    async with visitor(site, None, **HTML) as stranger:
        assert "1,200" not in (await stranger.get("/login")).text
