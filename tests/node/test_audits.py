"""The right to audit: two nodes that speak HTTP, with real contracts between them.

The bank asks, the shop answers; what the shop's node would not do, its operator's key does.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount
from fastapi import FastAPI, Request
from sqlalchemy import select

from chain import canonical
from chain.audit_questions import read_question, verify_answer, write_question
from chain.audit_requests import RequestState
from chain.calls import Payment
from chain.errors import VerificationFailed
from chain.pack import verify_pack_alone
from chain.sites import SiteRole, site_id
from chain.statement import signed_bytes
from node import audit_requests, packs
from node.alerts import subjects
from node.api import between
from node.api.app import create_app
from node.api.attempts import Attempts
from node.api.views import audits as views
from node.api.views import waiting
from node.api.views.audits import AuditDetails
from node.api.views.names import Names
from node.audit.entries import record
from node.audit_requests import Asked, answer, ask, receive
from node.auditing import Auditing
from node.errors import Conflict, Invalid, NodeError, NotFound, Refused, TooLarge, Unavailable
from node.files import make_private, write_private
from node.identity import PURPOSES
from node.left_out import with_copy
from node.mirror import Mirror
from node.packs import Wanted, pack
from node.registration import proven_key
from node.signatures import VerifiedSender, verify_bytes
from node.store import Alert, AuditQuestion, AuditRequest, WitnessedHead
from tests.chain.world import admission
from tests.node import consortium, test_cli
from tests.node.consortium import ChainSite, Consortium, sync_of
from tests.node.crowd import add, key_for, program
from tests.node.face import is_problem, operator, serving, token_of, visitor
from tests.node.test_cli import Run
from tests.node.told import sample, told
from tests.node.two_sites import _listen, _Server

run = test_cli.run  # the fixture

DAY = 86_400
WHY = "Supervision of training."
NOBODY = "0x" + "99" * 32


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class World:
    """The consortium, and what carries its audits on."""

    def __init__(self, founded: Consortium) -> None:
        self.founded, self.clock = founded, Clock()
        self.bank, self.shop, self.network = founded.bank, founded.shop, founded.network
        self.auditing = {site.id: Auditing(site, self.clock) for site in founded.sites.values()}

    async def settle(self, rounds: int = 1) -> None:
        """Chain and nodes, until nothing moves."""
        for _ in range(rounds):
            self.founded.settle()
            for auditing in self.auditing.values():
                self.clock.now += 3600  # whatever pauses is over
                await auditing.step()
                await auditing.drain()

    async def asked(self, **what: Any) -> str:
        """A request of the bank to the shop, whose question the shop has."""
        id = ask(self.bank, Asked(site=self.shop.id, text=WHY, **what)).id
        await self.settle(3)  # the request, its question, and a head of after it
        return id

    async def answered(self, id: str, redacted: tuple[str, ...] = ()) -> None:
        answer(self.shop, id, redacted)
        await self.settle()

    async def answered_with(self, id: str, content: bytes) -> None:
        """The shop's operator answers with a file of its own choice."""
        digest = canonical.digest(content)
        self.serve(digest, content)
        self.founded.act("shop", self.network.auditrequests.answer(id, digest))
        await self.settle()

    def serve(self, digest: str, content: bytes) -> None:
        write_private(make_private(self.shop.settings.audits) / f"{digest}.json", content)

    def shown(self, site: ChainSite, id: str) -> AuditDetails:
        return views.show(site, Names(site.network), id)

    def alerts(self, site: ChainSite, id: str) -> list[str]:
        """Kinds of alerts about a request that are not over."""
        query = select(Alert.kind).where(Alert.subject == id, Alert.over_at.is_(None))
        with site.store.read() as session:
            return sorted(session.scalars(query))


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    chain, deployment = consortium.found()
    world = consortium.assemble(chain, deployment, tmp_path_factory.mktemp("sites"))
    servers = []
    for name, site in world.sites.items():
        listener = _listen()
        endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}"
        world.act(name, world.network.sites.set_endpoint(site.id, endpoint))
        site.change(endpoint=endpoint)
        servers.append(_Server(site, listener))
    world.settle(4)
    yield world
    for server in servers:
        server.stop()
    world.close()


@pytest.fixture
def world(founded: Consortium) -> World:
    return World(founded)


@pytest.fixture
async def bank(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with operator(world.bank, create_app(world.bank.settings.home, world.bank)) as client:
        yield client


def refused(error: type[NodeError], code: str, call: Any, *args: Any) -> None:
    with pytest.raises(error) as found:
        call(*args)
    assert found.value.code == code


# ── Asked, answered, checked ─────────────────────────────────────────────────────────────────


async def test_a_request_is_brought_answered_fetched_and_holds(world: World) -> None:
    id = await world.asked(dataset=world.founded.datasets["shop"])
    at_shop = world.shown(world.shop, id)
    assert (at_shop.state, at_shop.kind, at_shop.can) == ("OPEN", "dataset", ["answer"])
    assert at_shop.text == WHY
    assert at_shop.scope is not None
    assert at_shop.scope.dataset is not None
    assert at_shop.scope.dataset.id == world.founded.datasets["shop"]
    asked = waiting.show(world.shop, Names(world.shop.network)).audits
    assert [(each.id, each.question) for each in asked if each.id == id] == [(id, True)]

    await world.answered(id)
    found = world.shown(world.bank, id)
    assert found.state == "ANSWERED"
    assert found.verdict is not None
    assert found.verdict.failures == []
    assert found.verdict.ok
    assert found.file
    assert id not in [
        each.id for each in waiting.show(world.shop, Names(world.shop.network)).audits
    ]
    file = audit_requests.answer_file(world.bank, row_of(world.bank, id))
    assert json.loads(file.read_bytes())["issued"]["by"] == world.shop.id
    assert world.alerts(world.bank, id) == ["audit.answered"]

    # Both logs tell it, with the same digests; that the answer was read, the asked site's does.
    question, answer = found.question, found.pack
    (filed,) = told(world.bank, "audit.filed", id)
    (requested,) = told(world.shop, "audit.requested", id)
    (received,) = told(world.shop, "audit.question.received", id)
    assert filed["data"]["question"] == requested["data"]["question"] == question
    assert received["data"] == {"question": question, "asker": world.bank.id}
    (given,) = told(world.shop, "audit.answered", id)
    (fetched,) = told(world.shop, "audit.pack.fetched", id)
    (checked,) = told(world.bank, "audit.answer.checked", id)
    assert given["data"]["pack"] == fetched["data"]["pack"] == checked["data"]["pack"] == answer
    assert fetched["data"]["by"] == world.bank.id
    assert checked["data"]["holds"] is True


async def test_evidence_of_a_job_is_asked_for_by_its_id(world: World) -> None:
    job = world.founded.propose()
    id = await world.asked(job=job)
    assert world.shown(world.shop, id).kind == "job"
    await world.answered(id)
    found = world.shown(world.bank, id)
    assert found.verdict is not None
    assert found.verdict.failures == []
    pack = json.loads(audit_requests.answer_file(world.bank, row_of(world.bank, id)).read_bytes())
    assert [each["id"] for each in pack["jobs"]] == [job]


async def test_an_audit_of_a_job_is_filed_as_one_over_http(
    world: World, bank: httpx.AsyncClient
) -> None:
    job = world.founded.propose()
    world.founded.settle(2)
    made = await bank.post("/v1/audits", json={"site": "shop", "text": WHY, "job": job})
    assert made.status_code == 202, made.text
    await world.settle(3)
    one = (await bank.get(f"/v1/audits/{made.json()['id']}")).json()
    assert (one["kind"], one["scope"]["job"]) == ("job", job)
    await world.answered(one["id"])


async def test_what_an_answer_hides_it_says(world: World) -> None:
    id = await world.asked()
    await world.answered(id, ("name", "message.sent"))
    found = world.shown(world.bank, id)
    assert found.verdict is not None
    assert found.verdict.ok
    assert found.verdict.shown is not None
    assert "hidden" in found.verdict.shown
    (given,) = told(world.shop, "audit.answered", id)
    assert given["data"]["redacted"] == ["message.sent", "name"]


async def test_the_digest_on_the_chain_does_not_tell_what_is_asked(world: World) -> None:
    parts: dict[str, Any] = {
        "site": world.shop.id,
        "asker": world.bank.id,
        "scope": dict.fromkeys(("from", "until", "site", "dataset", "job")),
        "text": WHY,
    }
    first = await world.asked()
    second = await world.asked()
    digests = {world.shown(world.bank, id).question for id in (first, second)}
    assert len(digests) == 2
    guess = write_question(world.network, nonce="0x" + "00" * 32, **parts)
    assert guess.digest not in digests
    for id in (first, second):
        await world.answered(id)


async def test_an_answer_needs_a_head_that_is_anchored_after_the_request(world: World) -> None:
    world.founded.settle(4)
    id = ask(world.bank, Asked(world.shop.id, WHY)).id
    sync_of(world.bank).step()
    world.founded.chain.mine(world.shop.settings.confirmations + 1)
    sync_of(world.bank).step()
    sync_of(world.shop).step()
    auditing = world.auditing[world.bank.id]
    await auditing.step()
    await auditing.drain()
    refused(Unavailable, "NotAnchored", answer, world.shop, id)
    await world.settle(2)
    await world.answered(id)
    assert world.network.auditrequests.state(id) is RequestState.ANSWERED


# ── Silence ──────────────────────────────────────────────────────────────────────────────────


async def test_silence_is_recorded_at_both_sites_and_shown_until_an_answer_comes_late(
    world: World,
) -> None:
    id = await world.asked()
    world.founded.chain.travel(8 * DAY)
    await world.settle(2)
    for site in (world.bank, world.shop):
        assert world.shown(site, id).state == "SILENT"
        assert "audit.silent" in world.alerts(site, id)
        (entry,) = told(site, "audit.silence", id)
        assert entry["data"]["site"] == world.shop.id
        listed = views.page(site, Names(site.network), limit=50, state="SILENT").items
        assert [each.id for each in listed] == [id]
    await world.settle()
    assert len(told(world.bank, "audit.silence", id)) == 1

    await world.answered(id)
    assert world.network.auditrequests.state(id) is RequestState.ANSWERED_LATE
    for site in (world.bank, world.shop):
        assert world.shown(site, id).state == "ANSWERED_LATE"
        with site.store.read() as session:
            assert id not in subjects(session, "audit.silent")


# ── Answers that lie ─────────────────────────────────────────────────────────────────────────


async def failure(world: World, id: str) -> str:
    """Where the bank's node found the answer to fail."""
    found = world.shown(world.bank, id).verdict
    assert found is not None
    assert not found.ok
    assert "audit.answer_fails" in world.alerts(world.bank, id)
    (entry,) = told(world.bank, "audit.answer.checked", id)
    assert entry["data"]["holds"] is False
    assert entry["data"]["failure"].startswith(found.failures[0].where)
    return found.failures[0].where


async def test_a_pack_of_something_else_is_no_answer(world: World) -> None:
    id = await world.asked(dataset=world.founded.datasets["shop"])
    await world.answered_with(id, pack(world.shop, Wanted(site=world.bank.id)))
    assert await failure(world, id) in ("$.scope.site", "$.scope.dataset")


async def test_a_pack_of_another_site_is_no_answer(world: World) -> None:
    id = await world.asked()
    await world.answered_with(id, pack(world.bank, Wanted()))
    assert await failure(world, id) == "$.issued.by"


async def test_a_pack_of_before_the_request_is_no_answer(world: World) -> None:
    """Whatever the site did since it last made one, it would not show."""
    long_ago = pack(world.shop, Wanted(dataset=world.founded.datasets["shop"]))
    id = await world.asked(dataset=world.founded.datasets["shop"])
    await world.answered_with(id, long_ago)
    assert (await failure(world, id)).startswith("$.log.anchored")


async def test_a_pack_that_was_changed_is_no_answer(world: World) -> None:
    id = await world.asked()
    made = json.loads(pack(world.shop, Wanted()))
    made["jobs"] = []
    made["log"]["entries"].pop()
    await world.answered_with(id, canonical.dumps(made) + b"\n")
    assert await failure(world, id) == "$.signature"


def resigned(site: ChainSite, made: dict[str, Any]) -> bytes:
    """What the issuer changed, signed again."""
    signature = site.identity.sign_audit(signed_bytes(made))
    return canonical.dumps(made | {"signature": base64.b64encode(signature).decode()}) + b"\n"


def copied(reader: ChainSite, log: ChainSite) -> None:
    """The reader's node has a copy of a log as it is now."""
    size = log.log.size
    note = log.log.checkpoint(log.identity, log.id, size)
    root = "0x" + log.log.root(size).hex()
    with reader.store.begin() as session:
        row = WitnessedHead(log_id=log.id, size=size, root=root, note=note, problem="")
        session.merge(row)

    def fetch(level: int | None, number: int, width: int) -> bytes:
        if level is None:
            found = log.log.bundle(number, width)
        else:
            found = log.log.tile(level, number, width)
        assert found is not None
        return found

    Mirror(reader, log.id).copy(fetch)


async def test_an_entry_of_the_scope_that_is_hidden_is_found_by_a_copy_of_the_log(
    world: World,
) -> None:
    """What only the issuer knows of a pack, a node that copied its log knows as well."""
    about = world.founded.datasets["shop"]
    with world.shop.store.begin() as session:
        record(session, "dataset.registered", about, sample("dataset.registered"), "operator")
    id = await world.asked(dataset=about)
    honest = pack(world.shop, Wanted(dataset=about))
    hiding = json.loads(honest)
    entries = hiding["log"]["entries"]
    last = [n for n, entry in enumerate(entries) if isinstance(entry, dict)][-1]
    entries[last] = entries[last]["leafHash"]
    lie = resigned(world.shop, hiding)
    assert verify_pack_alone(lie).ok
    unknown = with_copy(world.bank, lie, verify_pack_alone(lie))
    assert unknown.ok
    assert "not in our copy" in unknown.checks[-1].detail
    copied(world.bank, world.shop)
    assert with_copy(world.bank, honest, verify_pack_alone(honest)).ok
    await world.answered_with(id, lie)
    assert await failure(world, id) == f"$.log.entries[{last}]"


async def test_another_file_than_the_one_on_the_chain_is_not_read_and_asked_for_again(
    world: World,
) -> None:
    id = await world.asked()
    true = pack(world.shop, Wanted())
    digest = canonical.digest(true)
    world.serve(digest, b"{}\n")
    world.founded.act("shop", world.network.auditrequests.answer(id, digest))
    await world.settle(1)
    await world.settle(2)
    assert await failure(world, id) == "$"
    assert not world.shown(world.bank, id).file
    assert "audit.withheld" in world.alerts(world.bank, id)
    world.serve(digest, true)
    await world.settle(2)
    found = world.shown(world.bank, id)
    assert found.verdict is not None
    assert found.verdict.ok
    assert "audit.withheld" not in world.alerts(world.bank, id)


async def test_an_answer_that_is_not_handed_over_is_an_alert(world: World) -> None:
    id = await world.asked()
    world.founded.act("shop", world.network.auditrequests.answer(id, NOBODY))
    await world.settle(3)
    found = world.shown(world.bank, id)
    assert (found.state, found.verdict) == ("ANSWERED", None)
    assert found.problem is not None
    assert world.alerts(world.bank, id) == ["audit.withheld"]


def test_who_has_both_files_needs_nobodys_word(world: World) -> None:
    """The bank's question and the shop's answer, held against the chain by anybody."""
    with world.bank.store.read() as session:
        rows = list(session.scalars(select(AuditQuestion)))
        id = next(row.id for row in rows if row.report and row.report["ok"])
        question = session.get_one(AuditQuestion, id).content.encode()
    content = audit_requests.answer_file(world.bank, row_of(world.bank, id)).read_bytes()
    request = world.network.auditrequests.request(id)
    assert verify_answer(content, question, request, world.network).ok
    other = json.loads(question) | {"text": "Something else."}
    changed = canonical.dumps(other) + b"\n"
    report = verify_answer(content, changed, request, world.network)
    assert [check.name for check in report.failures] == ["question"]


# ── Who may, and what is no question ─────────────────────────────────────────────────────────


async def test_only_who_asked_brings_the_question_and_fetches_the_answer(world: World) -> None:
    id = await world.asked()
    content = audit_requests.question_file(world.bank, id)
    refused(Refused, "NotOwner", receive, world.shop, world.shop.id, id, content)
    refused(NotFound, "NotFound", receive, world.shop, world.bank.id, NOBODY, content)
    refused(Refused, "NotOperator", receive, world.bank, world.bank.id, id, content)
    refused(Refused, "NotOperator", answer, world.bank, id)
    refused(NotFound, "NotFound", answer, world.shop, NOBODY)
    await world.answered(id)
    refused(Refused, "NotOwner", audit_requests.hand_over, world.shop, world.shop.id, id)
    assert len(told(world.shop, "audit.pack.fetched", id)) == 1
    with pytest.raises(Refused):
        await world.shop.peers.audit_pack(world.bank.id, id)


async def test_another_question_than_the_chain_has_the_digest_of_is_not_taken(
    world: World,
) -> None:
    id = await world.asked()
    with world.shop.store.begin() as session:
        session.delete(session.get_one(AuditQuestion, id))
    refused(Conflict, "QuestionMissing", answer, world.shop, id)
    content = audit_requests.question_file(world.bank, id)
    for changed in (
        canonical.dumps(json.loads(content) | {"text": "More."}) + b"\n",
        b"{}\n",
        content[:-1],
    ):
        refused(Invalid, "QuestionInvalid", receive, world.shop, world.bank.id, id, changed)
    receive(world.shop, world.bank.id, id, content)
    receive(world.shop, world.bank.id, id, content)
    await world.answered(id)


@pytest.mark.parametrize(
    ("where", "change"),
    [
        ("$.scope.from", {"scope": {"from": "yesterday", "until": None}}),
        ("$.scope.from", {"scope": {"from": "2026-13-01T00:00:00.000000Z", "until": None}}),
        (
            "$.scope.until",
            {
                "scope": {
                    "from": "2026-10-02T00:00:00.000000Z",
                    "until": "2026-10-01T00:00:00.000000Z",
                }
            },
        ),
        ("$.text", {"text": ""}),
        ("$.text", {"text": "x" * 2001}),
        ("$.nonce", {"nonce": "0x00"}),
        ("$.more", {"more": 1}),
        ("$.version", {"version": 2}),
    ],
)
def test_a_file_that_is_no_question_is_refused_at_its_place(
    where: str, change: dict[str, Any]
) -> None:
    question: dict[str, Any] = {
        "type": "audit-question",
        "version": 1,
        "network": {"chainId": 1, "consortium": "0x" + "00" * 20},
        "site": NOBODY,
        "asker": NOBODY,
        "scope": {"from": None, "until": None, "site": None, "dataset": None, "job": None},
        "text": WHY,
        "nonce": NOBODY,
    }
    assert read_question(canonical.dumps(question) + b"\n").kind == "everything"
    scope = question["scope"] | change.pop("scope", {})
    with pytest.raises(VerificationFailed) as found:
        read_question(canonical.dumps(question | change | {"scope": scope}) + b"\n")
    assert found.value.where == where


def test_what_cannot_be_asked_is_refused_before_anything_is_written(world: World) -> None:
    before = len(told(world.bank, "audit.filed"))
    refused(Invalid, "InvalidRequest", ask, world.bank, Asked(world.bank.id, WHY))
    refused(NotFound, "NotFound", ask, world.bank, Asked("Nobody", WHY))
    refused(NotFound, "NotFound", ask, world.bank, Asked(world.shop.id, WHY, about=NOBODY))
    refused(Invalid, "QuestionInvalid", ask, world.bank, Asked(world.shop.id, ""))
    assert len(told(world.bank, "audit.filed")) == before


def row_of(site: ChainSite, id: str) -> AuditRequest:
    with site.store.read() as session:
        return session.get_one(AuditRequest, id)


# ── An auditor's site ────────────────────────────────────────────────────────────────────────


@pytest.fixture
def auditor(founded: Consortium, tmp_path: Path) -> Iterator[ChainSite]:
    """A site with the auditor's role alone, whose operator is nobody's member account."""
    member: LocalAccount = Account.create()
    site = ChainSite.create(
        tmp_path / "auditor",
        name="auditor",
        scrypt_cost=consortium.SCRYPT,
        consortium=founded.deployment.consortium,
        from_block=founded.deployment.from_block,
        redis_url=f"unix://{tmp_path}/none.sock",
        workers=1,
        publish_every_seconds=0.001,
    )
    site.chain = founded.chain
    founded.govern(admission(founded.network, member, "auditor", 7))
    for address in (member.address, site.identity.address):
        founded.chain.client(19).transact(Payment(address, 10**19))
    sites = founded.network.sites
    id = site_id(founded.network.client.chain_id, sites.address, member.address, 0)
    keys = [proven_key(founded.network, site.identity, id, what) for what in PURPOSES]
    operator = site.identity.address
    call = sites.register(operator, "auditor", "http://127.0.0.1:9", SiteRole.AUDITOR, keys, 0)
    founded.chain.client(site.identity.account).transact(sites.agree(id))
    founded.chain.client(member).transact(call)
    site.change(site_id=id)
    founded.sites["auditor"] = site
    founded.settle(2)
    yield site
    del founded.sites["auditor"]
    site.close()


async def test_a_site_with_the_auditors_role_asks_and_only_it_gets_the_answer(
    founded: Consortium, auditor: ChainSite
) -> None:
    world = World(founded)
    asked = ask(auditor, Asked(world.shop.id, WHY, dataset=founded.datasets["shop"]))
    await world.settle(3)
    row = row_of(world.shop, asked.id)
    assert (row.auditor, row.by) == (auditor.id, world.network.sites.member_of(auditor.id))
    await world.answered(asked.id)
    found = world.shown(auditor, asked.id)
    assert found.verdict is not None
    assert found.verdict.failures == []
    assert found.auditor is not None
    assert found.auditor.name == "auditor"
    (fetched,) = told(world.shop, "audit.pack.fetched", asked.id)
    assert fetched["data"]["by"] == auditor.id
    refused(Refused, "NotOwner", audit_requests.hand_over, world.shop, world.bank.id, asked.id)
    # The bank took no part: it sees that there was a request, and how it went.
    at_bank = world.shown(world.bank, asked.id)
    assert (at_bank.state, at_bank.text, at_bank.file) == ("ANSWERED", None, False)


# ── Over HTTP and from the command line ──────────────────────────────────────────────────────


async def test_an_audit_over_http(world: World, bank: httpx.AsyncClient) -> None:
    body = {"site": "shop", "text": WHY, "dataset": world.founded.datasets["shop"]}
    headers = {"Idempotency-Key": "audit-once"}
    made = await bank.post("/v1/audits", json=body, headers=headers)
    assert made.status_code == 202, made.text
    again = await bank.post("/v1/audits", json=body, headers=headers)
    assert again.json()["id"] == made.json()["id"]
    id = made.json()["id"]
    is_problem(await bank.get(f"/v1/audits/{id}"), 404, "NotFound")
    await world.settle(3)
    one = (await bank.get(f"/v1/audits/{id}")).json()
    assert (one["state"], one["site"]["name"], one["text"]) == ("OPEN", "shop", WHY)
    question = await bank.get(f"/v1/audits/{id}/question")
    assert canonical.digest(question.content) == one["question"]
    is_problem(await bank.get(f"/v1/audits/{id}/pack"), 404, "NotFound")
    is_problem(await bank.post(f"/v1/audits/{id}/answer", json={}), 403, "NotOperator")
    async with operator(world.shop, create_app(world.shop.settings.home, world.shop)) as shop:
        answered = await shop.post(f"/v1/audits/{id}/answer", json={"redact": ["name"]})
        assert answered.status_code == 202, answered.text
    await world.settle()
    file = await bank.get(f"/v1/audits/{id}/pack")
    assert canonical.digest(file.content) == (await bank.get(f"/v1/audits/{id}")).json()["pack"]
    page = (await bank.get("/v1/audits", params={"limit": 1, "site": world.shop.id})).json()
    assert len(page["items"]) == 1
    seen = [page["items"][0]["id"]]
    while page["next"]:
        page = (await bank.get("/v1/audits", params={"limit": 1, "cursor": page["next"]})).json()
        seen += [each["id"] for each in page["items"]]
    every = (await bank.get("/v1/audits", params={"limit": 200})).json()["items"]
    assert seen == [each["id"] for each in every]
    is_problem(await bank.post("/v1/audits", json={"site": "shop"}), 422, "InvalidRequest")


async def test_only_operators_and_auditors_read_what_is_asked(world: World) -> None:
    id = await world.asked()
    app = create_app(world.shop.settings.home, world.shop)
    for number, role in enumerate(("auditor", "data-scientist", "delegate"), 5):
        may_read = role == "auditor"
        add(world.shop, number, role)
        async with program(app, key_for(world.shop, number, role).secret) as client:
            one = (await client.get(f"/v1/audits/{id}")).json()
            twin = (await client.get(f"/audits/{id}.json")).json()["audit"]
            page = (await client.get(f"/audits/{id}")).text
        for shown in (one, twin):
            assert (shown["text"] == WHY) is may_read
            assert (shown["scope"] is not None) is may_read
            assert shown["given"] is True
        assert (WHY in page) is may_read
        assert ("Make the pack and answer" in page) is (role == "delegate")
    await world.answered(id)


async def test_a_site_says_that_it_was_never_given_the_question(world: World) -> None:
    id = await world.asked()
    assert world.shown(world.shop, id).given is True
    assert world.shown(world.bank, id).given is None
    with world.shop.store.begin() as session:
        session.delete(session.get_one(AuditQuestion, id))
    assert world.shown(world.shop, id).given is False
    async with operator(world.shop, create_app(world.shop.settings.home, world.shop)) as shop:
        assert "was not given the question" in (await shop.get(f"/audits/{id}")).text
    content = audit_requests.question_file(world.bank, id)
    receive(world.shop, world.bank.id, id, content)
    await world.answered(id)


async def test_a_question_that_no_pack_can_answer_is_refused_and_entered_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_requests, "require_known", lambda *_: None)
    id = ask(world.bank, Asked(world.shop.id, WHY, job=NOBODY)).id
    monkeypatch.undo()
    await world.settle(3)
    content = audit_requests.question_file(world.bank, id)
    for _ in range(2):
        refused(Invalid, "QuestionInvalid", receive, world.shop, world.bank.id, id, content)
    assert world.shown(world.shop, id).given is False
    world.founded.settle()
    (entry,) = told(world.shop, "audit.question.refused", id)
    assert entry["data"]["asker"] == world.bank.id
    assert told(world.shop, "audit.question.received", id) == []
    await world.answered_with(id, pack(world.shop, Wanted()))


def is_signed(site: ChainSite, word: dict[str, Any]) -> bool:
    unsigned = {name: value for name, value in word.items() if name != "signature"}
    content = canonical.dumps(unsigned)
    return verify_bytes(site.identity.request_public, word["signature"], content)


async def test_a_site_that_was_never_given_the_question_says_so_with_its_silence(
    world: World,
) -> None:
    nobody = Asked(site=world.shop.id, text=WHY)
    id = ask(world.bank, nobody).id
    question = audit_requests.question_file(world.bank, id)
    with world.bank.store.begin() as session:
        session.delete(session.get_one(AuditQuestion, id))  # it keeps the question back
    await world.settle(2)
    assert world.shown(world.shop, id).refusal is None  # it is not silent yet
    world.founded.chain.travel(8 * DAY)
    await world.settle(2)
    (entry,) = told(world.shop, "audit.question.missing", id)
    assert entry["data"]["question"] == canonical.digest(question)
    shown = views.for_everybody(world.shown(world.shop, id))
    assert shown.state == "SILENT"
    word = shown.refusal
    assert word is not None
    assert (word["request"], word["why"]) == (id, "missing")
    assert word["question"] == entry["data"]["question"]
    assert is_signed(world.shop, word)
    assert world.shown(world.bank, id).refusal is None  # it is the asked site's word alone
    async with operator(world.shop, create_app(world.shop.settings.home, world.shop)) as shop:
        assert "no question came by the deadline" in (await shop.get(f"/audits/{id}")).text
    receive(world.shop, world.bank.id, id, question)
    assert world.shown(world.shop, id).refusal is None  # it came after all, late as it is
    await world.answered(id)


async def test_a_question_about_more_entries_than_a_pack_shows_is_refused_with_what_fits(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = ask(world.bank, Asked(world.shop.id, WHY)).id
    content = audit_requests.question_file(world.bank, id)
    monkeypatch.setattr(packs, "MAX_LEAVES", 10)
    await world.settle(2)
    with pytest.raises(TooLarge, match="PackTooLarge") as refusal:
        receive(world.shop, world.bank.id, id, content)
    assert refusal.value.allowed == "10 entries"
    assert "until 20" in str(refusal.value.hint)
    world.founded.settle()
    (entry,) = told(world.shop, "audit.question.refused", id)
    assert "at most 10 entries" in entry["data"]["why"]
    first = str(refusal.value.hint).rpartition("until ")[2].split(", ")[0]
    scope = {"from": None, "until": first}
    packs.require_fits(world.shop, scope)  # the first of the periods that it names
    monkeypatch.undo()
    await world.settle(2)
    await world.answered(id)


async def test_an_answer_that_is_fetched_again_and_again_is_entered_once(world: World) -> None:
    id = await world.asked()
    await world.answered(id)
    for _ in range(3):
        audit_requests.hand_over(world.shop, world.bank.id, id)
    world.founded.settle()
    assert len(told(world.shop, "audit.pack.fetched", id)) == 1


async def test_a_site_fetches_packs_so_often_a_minute(world: World) -> None:
    id = await world.asked()
    await world.answered(id)
    app = FastAPI()
    app.state.site = world.shop
    between.install(app)
    limit = app.state.packs.limit
    app.state.packs = Attempts(limit, 60, clock=lambda: 0.0)
    request = Request({"type": "http", "app": app})
    sender = cast(VerifiedSender, SimpleNamespace(site=world.bank.id))
    for _ in range(limit):
        await between.audit_pack(request, sender, id)
    with pytest.raises(NodeError, match="TooManyAttempts"):
        await between.audit_pack(request, sender, id)


async def test_an_audit_on_pages_in_both_languages(world: World, bank: httpx.AsyncClient) -> None:
    id = await world.asked(about=world.bank.id)
    form = (await bank.get("/audits/new")).text
    assert "Ask for evidence" in form
    assert world.shop.id in form
    assert f'value="{world.bank.id}"' not in form.split('name="about"')[0]  # nobody asks himself
    at_shop = create_app(world.shop.settings.home, world.shop)
    async with operator(world.shop, at_shop) as shop:
        assert f"/audits/{id}" in (await shop.get("/waiting")).text
        page = (await shop.get(f"/audits/{id}")).text
        assert WHY in page
        assert "Make the pack and answer" in page
    await world.answered(id)
    page = (await bank.get(f"/audits/{id}", params={"lang": "zh"})).text
    assert "答复成立" in page
    assert f"/v1/audits/{id}/pack" in page
    found = (await bank.get("/v1/search", params={"q": id, "kind": "audit"})).json()
    links = [hit["link"] for group in found["groups"] for hit in group["hits"]]
    assert links == [f"/audits/{id}"]
    listed = (await bank.get("/audits", params={"state": "ANSWERED"})).text
    assert f"/audits/{id}" in listed
    assert f"/audits/{id}" not in (await bank.get("/audits", params={"state": "SILENT"})).text
    twin = (await bank.get(f"/audits/{id}.json")).json()["audit"]
    assert twin["verdict"]["ok"] is True


async def test_strangers_see_that_a_site_was_silent_and_not_what_was_asked(world: World) -> None:
    id = await world.asked()
    world.bank.change(explorer_open=True)
    try:
        app = create_app(world.bank.settings.home, world.bank)
        async with visitor(world.bank, app) as stranger:
            page = await stranger.get(f"/audits/{id}.json")
            assert page.json()["audit"]["state"] == "OPEN"
            assert page.json()["audit"]["text"] is None
            assert WHY not in (await stranger.get(f"/audits/{id}")).text
            assert (await stranger.get("/audits")).status_code == 200
            assert (await stranger.get("/audits/new.json")).status_code == 401
            assert (await stranger.get(f"/v1/audits/{id}/pack")).status_code == 401
    finally:
        world.bank.change(explorer_open=False)
    await world.answered(id)


@pytest.fixture(scope="module")
def at_bank(founded: Consortium) -> Iterator[tuple[str, ...]]:
    with serving(founded.bank) as url:
        yield ("--url", url, "--token", token_of(founded.bank))


@pytest.fixture(scope="module")
def at_shop(founded: Consortium) -> Iterator[tuple[str, ...]]:
    with serving(founded.shop) as url:
        yield ("--url", url, "--token", token_of(founded.shop))


async def test_an_audit_from_the_command_line(
    world: World,
    run: Run,
    at_bank: tuple[str, ...],
    at_shop: tuple[str, ...],
    tmp_path: Path,
) -> None:
    asked = run("audit", "ask", "shop", "--text", WHY, "--wait", "0", "--json", *at_bank)
    assert asked.code == 0, asked.err
    id = asked.json["id"]
    await world.settle(3)
    assert id in run("audit", "requests", "--state", "OPEN", *at_shop).out
    answered = run("audit", "answer", id, "--redact", "name", "--wait", "0", *at_shop)
    assert answered.code == 0, answered.err
    await world.settle()
    assert "holds" in run("audit", "request", id, *at_bank).out
    pack, question = tmp_path / "answer.json", tmp_path / "question.json"
    saved = run("audit", "save", id, "--out", pack, "--question", question, *at_bank)
    assert saved.code == 0, saved.err
    request = world.network.auditrequests.request(id)
    found = verify_answer(pack.read_bytes(), question.read_bytes(), request, world.network)
    assert found.ok
    again = run("audit", "answer", id, "--wait", "0", "--json", *at_shop)
    assert again.code == 0  # the one answer that there is
