"""The brake and access in an emergency: at a node, over HTTP and from the command line."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from chain.breakglass import EmergencyState
from chain.consents import GrantTerms
from chain.datasets import dataset_id
from chain.membership import Standing
from chain.sites import AUDIT, REQUEST, SiteRole, site_id
from chain.testnet import dev_account
from chain.typed_data import digest, sign
from node import emergencies
from node.api.app import create_app
from node.api.views import emergencies as views
from node.api.views import waiting
from node.api.views.emergencies import EmergencyShown
from node.api.views.names import Names
from node.emergencies import Opening, Signed
from node.errors import Conflict, Invalid, NodeError, NotFound, Refused, Unauthenticated
from node.registration import GrantRequest, proven_key
from node.statements import MAX_TEXT, Statement
from tests.node import test_cli
from tests.node.council import Council, convene
from tests.node.crowd import entries
from tests.node.face import is_problem, operator, serving, token_of
from tests.node.test_cli import Run

run = test_cli.run  # the fixture

HOUR = 3600
CODE = "0x" + "ab" * 32
FIRST, SECOND, OTHER = 5, 6, 7  # development accounts
WHY = "The ward needs the allergies of the people in the accident."


@pytest.fixture(scope="module")
def council(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Council]:
    """The shop has a dataset, and two people who may open it."""
    council = convene(tmp_path_factory.mktemp("emergencies"))
    for person in (FIRST, SECOND):
        appoint(council, "shop", person)
    appoint(council, "clinic", OTHER)
    yield council
    council.close()


@pytest.fixture(scope="module")
def dataset(council: Council) -> str:
    return register(council, "shop")


@pytest.fixture
async def shop(council: Council) -> AsyncIterator[httpx.AsyncClient]:
    site = council.shop
    async with operator(site, create_app(site.settings.home, site)) as client:
        yield client


@pytest.fixture(scope="module")
def at(council: Council) -> Iterator[tuple[str, ...]]:
    """The options that lead to the shop's node."""
    with serving(council.shop) as url:
        yield ("--url", url, "--token", token_of(council.shop))


def appoint(council: Council, name: str, person: int) -> None:
    council.act(name, council.network.reviews.appoint(dev_account(person).address))


def register(council: Council, name: str) -> str:
    """A dataset of a site; nobody needs its rows."""
    site, network = council.sites[name], council.network
    address, chain_id = site.identity.address, network.client.chain_id
    id = site_id(chain_id, network.sites.address, address, 0)
    keys = [proven_key(network, site.identity, id, what) for what in (REQUEST, AUDIT)]
    where = site.settings.endpoint
    council.act(name, network.sites.register(address, name, where, SiteRole.DATA_OWNER, keys, 0))
    rows = ("0x" + "11" * 32, "0x" + "22" * 32, 100, 3)
    council.act(name, network.datasets.register(id, "allergies", *rows, 1))
    return dataset_id(chain_id, network.datasets.address, address, 1)


def asked(council: Council, dataset: str, **changes: Any) -> GrantRequest:
    usual = GrantRequest(dataset=dataset, grantee=council.members["clinic"], algorithms=(CODE,))
    return replace(usual, **changes)


def signed(opening: Opening, person: int) -> Signed:
    account = dev_account(person)
    return Signed(account.address, sign(opening.typed_data, account))


def open_(council: Council, opening: Opening, *people: int, name: str = "bank") -> str:
    """Relayed by a node that has nothing to do with it; confirmed."""
    first, second = (signed(opening, person) for person in people or (FIRST, SECOND))
    terms = GrantTerms.from_json(opening.terms)
    made = emergencies.open_(
        council.sites[name], terms, opening.purpose, (first, second), opening.column_rules
    )
    council.settle()
    return made.id


def shown(council: Council, id: str) -> EmergencyShown:
    return views.show(council.shop, Names(council.shop.network), id)


def refused(error: type[NodeError], code: str, call: Any, *args: Any) -> NodeError:
    with pytest.raises(error) as found:
        call(*args)
    assert found.value.code == code
    return found.value


# ── Statements ───────────────────────────────────────────────────────────────────────────────


def test_words_are_told_by_their_sha256() -> None:
    said = Statement.of("reason", "Grüße")
    assert said.digest == "0x" + hashlib.sha256("Grüße".encode()).hexdigest()
    assert said.facts("reason") == {"reason": said.digest, "reasonText": "Grüße"}


def test_a_document_that_stays_elsewhere_is_told_by_its_digest_alone() -> None:
    said = Statement.of("answer", None, CODE)
    assert said.facts("answer") == {"answer": CODE}


@pytest.mark.parametrize(
    ("text", "digest"),
    [(None, None), (None, "0x" + "00" * 32), ("", None), ("x" * (MAX_TEXT + 1), None), ("x", CODE)],
)
def test_a_statement_is_words_or_a_digest(text: str | None, digest: str | None) -> None:
    refused(Invalid, "InvalidRequest", Statement.of, "reason", text, digest)


# ── The brake ────────────────────────────────────────────────────────────────────────────────


def test_two_members_stop_the_work_and_it_goes_on_by_itself(council: Council) -> None:
    names = Names(council.shop.network)
    made = emergencies.pull(council.bank, "keys were stolen")
    assert emergencies.pull(council.bank, "keys were stolen") == made  # it is on its way
    council.settle()
    one = views.brake(council.shop, names)
    assert (one.paused, one.paused_until, one.needed) == (False, None, 2)
    assert [(v.member.name, v.reason, v.mine) for v in one.voices] == [
        ("The bank", Statement.of("", "keys were stolen").digest, False)
    ]
    assert views.brake(council.bank, names).voices[0].mine

    emergencies.pull(council.shop, "we see it, too")
    council.settle()
    pulled = views.brake(council.shop, names)
    assert pulled.paused
    assert pulled.voices == []
    assert pulled.paused_until == council.network.brake.paused_until()
    assert 0 < pulled.seconds_left <= pulled.pause_seconds
    refused(Refused, "ConsortiumPaused", emergencies.pull, council.clinic, "once more")

    council.chain.travel(pulled.seconds_left)
    assert not views.brake(council.shop, names).paused
    resting = refused(Conflict, "Conflict", emergencies.pull, council.bank, "keys were stolen")
    assert "BrakeResting" in resting.detail
    council.chain.travel(7 * 24 * HOUR)
    again = emergencies.pull(council.bank, "keys were stolen")
    assert again.intent != made.intent  # said again it is another voice
    council.settle()
    assert len(views.brake(council.shop, names).voices) == 1
    council.chain.travel(HOUR)
    assert views.brake(council.shop, names).voices == []


def test_the_words_of_a_reason_stand_in_the_log_and_their_digest_on_the_chain(
    council: Council,
) -> None:
    made = emergencies.pull(council.bank, "a reason in words")
    council.settle()
    (entry,) = (e for e in entries(council.bank, "brake.pulled") if e["subject"] == made.id)
    assert entry["data"]["reasonText"] == "a reason in words"
    row = council.transaction("bank", made)
    assert row.call["args"] == [made.id] == [Statement.of("", "a reason in words").digest]
    council.chain.travel(HOUR)


def test_who_is_no_member_cannot_pull(council: Council) -> None:
    refused(Refused, "MemberNotActive", emergencies.pull, council.stranger, "let me")
    assert entries(council.stranger, "brake.pulled") == []


async def test_the_brake_over_http(council: Council, shop: httpx.AsyncClient) -> None:
    answer = await shop.post("/v1/brake/pull", json={"reason": "over HTTP"})
    assert answer.status_code == 202, answer.text
    council.settle()
    told = (await shop.get("/v1/brake")).json()
    assert (told["paused"], [voice["member"]["name"] for voice in told["voices"]]) == (
        False,
        ["The shop"],
    )
    is_problem(await shop.post("/v1/brake/pull", json={"reason": " "}), 422, "InvalidRequest")
    council.chain.travel(HOUR)


def test_the_brake_from_the_command_line(run: Run, at: tuple[str, ...], council: Council) -> None:
    pulled = run("brake", "pull", "--reason", "from the shell", "--wait", "0", *at)
    assert pulled.code == 0, pulled.err
    council.settle()
    told = run("brake", "status", *at)
    assert "goes on" in told.out
    assert "1 of 2" in told.out
    assert "The shop" in told.out
    council.chain.travel(HOUR)


# ── Drafting and signing ─────────────────────────────────────────────────────────────────────


def test_a_draft_is_what_the_contract_hashes(council: Council, dataset: str) -> None:
    made = emergencies.draft(council.shop, asked(council, dataset), WHY)
    terms = GrantTerms.from_json(made.terms)
    by_contract = council.network.breakglass.digest(terms, made.purpose_digest)
    assert digest(made.typed_data) == by_contract
    assert digest(made.grant_typed_data) == council.network.consents.digest(terms)
    assert terms.purposes == ("emergency",)
    assert terms.until == council.network.client.head().timestamp + 24 * HOUR
    assert set(made.people) == {dev_account(n).address for n in (FIRST, SECOND)}
    emergencies.check(json.loads(json.dumps(asdict(made))))


@pytest.mark.parametrize(
    "change",
    [
        {"purpose": "Something else."},
        {"until": 1},
        {"column_rules": {"*": "join"}},
        {"terms": {"uses": 9}},
        {"grant_typed_data": {"message": {"uses": 9}}},
        {"terms": {"uses": 9}, "grant_typed_data": {"message": {"uses": 9}}},
        {"typed_data": {"message": {"grantDigest": CODE}}},
        {"typed_data": {"primaryType": "Review"}},
        {"typed_data": {"domain": {"name": "FATE-Chain Reviews"}}},
    ],
    ids=str,
)
def test_what_the_words_do_not_say_is_not_signed(
    council: Council, dataset: str, change: dict[str, Any]
) -> None:
    made = emergencies.draft(council.shop, asked(council, dataset), WHY)
    honest = json.loads(json.dumps(asdict(made)))
    emergencies.check(honest)
    refused(Invalid, "OpeningMismatch", emergencies.check, changed(honest, change))


def changed(value: Any, change: Any) -> Any:
    if not isinstance(value, dict) or not isinstance(change, dict):
        return change
    return {**value, **{name: changed(value.get(name), part) for name, part in change.items()}}


@pytest.mark.parametrize(
    "change", [{"expires_in": 72 * HOUR + 1}, {"until": 1}, {"amends": CODE}], ids=str
)
def test_terms_that_no_emergency_can_have_are_refused(
    council: Council, dataset: str, change: dict[str, Any]
) -> None:
    request = asked(council, dataset, **change)
    refused(Invalid, "InvalidRequest", emergencies.draft, council.shop, request, WHY)


def test_it_takes_two_whom_the_owner_appointed(council: Council) -> None:
    lonely = register(council, "clinic")  # which appointed one
    request = asked(council, lonely, grantee=council.members["bank"])
    refused(Refused, "PersonNotAppointed", emergencies.draft, council.clinic, request, WHY)


# ── Opening ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("people", "error", "code"),
    [
        ((FIRST, FIRST), Refused, "PersonNotAppointed"),
        ((FIRST, OTHER), Refused, "PersonNotAppointed"),
    ],
)
def test_two_different_people_of_the_owner_have_to_sign(
    council: Council,
    dataset: str,
    people: tuple[int, int],
    error: type[NodeError],
    code: str,
) -> None:
    made = emergencies.draft(council.shop, asked(council, dataset), WHY)
    refused(error, code, open_, council, made, *people)
    assert not [e for e in entries(council.bank, "emergency.opened") if e["subject"] == made.id]


def test_other_words_than_the_signed_ones_open_nothing(council: Council, dataset: str) -> None:
    made = emergencies.draft(council.shop, asked(council, dataset), WHY)
    people = (signed(made, FIRST), signed(made, SECOND))
    terms = GrantTerms.from_json(made.terms)
    call = (emergencies.open_, council.bank, terms, "For statistics.", people)
    refused(Unauthenticated, "SignatureInvalid", *call)


def test_an_emergency_is_opened_by_two_and_waits_for_its_review(
    council: Council, dataset: str
) -> None:
    made = emergencies.draft(council.shop, asked(council, dataset, expires_in=HOUR), WHY)
    id = open_(council, made)
    found = shown(council, id)
    assert (id, found.state, found.grant_state, found.mine) == (made.id, "OPEN", "ACTIVE", True)
    assert (found.until, found.review_by) == (made.until, made.review_by)
    assert (found.owner.name, found.dataset.name) == ("The shop", "allergies")
    assert found.grantee.name == "The clinic"
    assert found.purpose == Statement.of("", WHY).digest
    assert found.countdown is not None
    assert found.countdown.what == "the access ends"
    assert 0 < found.countdown.seconds <= HOUR
    (entry,) = (e for e in entries(council.bank, "emergency.opened") if e["subject"] == id)
    assert entry["data"]["purposeText"] == WHY
    council.sync()
    assert id in [
        it.id for it in waiting.show(council.shop, Names(council.shop.network)).break_glass
    ]
    refused(Conflict, "Conflict", emergencies.lapse, council.bank, id)

    council.chain.travel(HOUR)
    ended = shown(council, id)
    assert (ended.state, ended.grant_state, ended.can_lapse) == ("ENDED", "EXPIRED", False)
    assert ended.countdown is not None
    assert ended.countdown.what == "the review is due"


def test_access_that_its_owner_revokes_has_ended(council: Council, dataset: str) -> None:
    id = open_(council, emergencies.draft(council.shop, asked(council, dataset), WHY))
    council.act("shop", council.network.consents.revoke(id))
    found = shown(council, id)
    assert (found.state, found.grant_state) == ("ENDED", "REVOKED")


def test_the_same_opening_twice_is_one(council: Council, dataset: str) -> None:
    made = emergencies.draft(council.shop, asked(council, dataset), WHY)
    id = open_(council, made)
    assert open_(council, made) == id
    told = [e for e in entries(council.bank, "emergency.opened") if e["subject"] == id]
    assert len(told) == 1


def test_the_members_review_an_emergency_by_vote(council: Council, dataset: str) -> None:
    id = open_(council, emergencies.draft(council.shop, asked(council, dataset), WHY))
    reasons = Statement.of("reasons", "Nobody else had the data.").digest
    proposal = council.propose(
        "bank", "review-break-glass", emergency=id, justified=True, reasons=reasons
    )
    council.pass_(proposal)
    council.enact(proposal)
    found = shown(council, id)
    assert (found.state, found.justified, found.reasons) == ("REVIEWED", True, reasons)
    assert found.countdown is None
    refused(Conflict, "Conflict", emergencies.lapse, council.bank, id)


# ── Over HTTP and from the command line ──────────────────────────────────────────────────────


async def test_an_emergency_over_http(
    council: Council, shop: httpx.AsyncClient, dataset: str
) -> None:
    terms = {"dataset": dataset, "grantee": "The clinic", "algorithms": [CODE]}
    asked = {"terms": terms, "purpose": WHY}
    drafted = await shop.post("/v1/break-glass/draft", json=asked)
    assert drafted.status_code == 200, drafted.text
    made = drafted.json()
    checked = await shop.post("/v1/break-glass/check", json={"opening": made})
    assert checked.json() == {"holds": True}
    for lie in (made | {"purpose": "For a study."}, {}, {"terms": 1}):
        answer = await shop.post("/v1/break-glass/check", json={"opening": lie})
        is_problem(answer, 422, "OpeningMismatch")
    emergencies.check(made)
    other = {**asked, "terms": {**terms, "purposes": ["training"]}}
    is_problem(await shop.post("/v1/break-glass/draft", json=other), 422, "InvalidRequest")

    people = [
        {
            "address": dev_account(n).address.lower(),
            "signature": sign(made["typed_data"], dev_account(n)),
        }
        for n in (FIRST, SECOND)
    ]
    body = {"terms": made["terms"], "purpose": WHY, "people": people}
    is_problem(
        await shop.post("/v1/break-glass", json={**body, "people": people[:1]}),
        422,
        "InvalidRequest",
    )
    crossed = [{**people[0], "signature": people[1]["signature"]}, people[1]]
    is_problem(
        await shop.post("/v1/break-glass", json={**body, "people": crossed}),
        401,
        "SignatureInvalid",
    )
    answer = await shop.post("/v1/break-glass", json=body)
    assert answer.status_code == 202, answer.text
    council.settle()
    id = answer.json()["id"]
    one = (await shop.get(f"/v1/break-glass/{id}")).json()
    assert (one["state"], one["people"]) == (
        "OPEN",
        [dev_account(FIRST).address, dev_account(SECOND).address],
    )
    listed = (await shop.get("/v1/break-glass", params={"state": "OPEN"})).json()["items"]
    assert id in [it["id"] for it in listed]
    is_problem(await shop.post(f"/v1/break-glass/{id}/lapse", json={}), 409, "Conflict")
    is_problem(await shop.get(f"/v1/break-glass/{CODE}"), 404, "NotFound")


def test_two_people_sign_offline_and_any_node_relays(
    run: Run, at: tuple[str, ...], council: Council, dataset: str, tmp_path: Path
) -> None:
    file, other = tmp_path / "opening.json", tmp_path / "second.json"
    given = ("--dataset", dataset, "--grantee", "The clinic", "--algorithm", CODE)
    made = run("break-glass", "draft", *given, "--purpose", WHY, "--out", file, *at)
    assert made.code == 0, made.err
    strange = run("break-glass", "sign", file, "--key", f"dev:{OTHER}", "--json")
    assert (strange.code, strange.problem["code"]) == (1, "InvalidRequest")
    # Each signs on a machine of his own; neither needs a node.
    second = run("break-glass", "sign", file, "--key", f"dev:{SECOND}", "--out", other)
    assert second.code == 0, second.err
    assert run("break-glass", "sign", file, "--key", f"dev:{FIRST}", "--json").code == 0
    alone = run("break-glass", "open", file, "--json", *at)
    assert "two people" in alone.problem["detail"]
    opened = run("break-glass", "open", file, other, "--wait", "0", "--json", *at)
    assert opened.code == 0, opened.err
    council.settle()
    id = opened.json["id"]
    told = run("break-glass", "show", id, *at)
    assert "the access ends in" in told.out
    assert id in [it["id"] for it in run("break-glass", "list", "--json", *at).json]


def test_a_file_whose_words_were_changed_is_not_signed(
    run: Run, at: tuple[str, ...], dataset: str, tmp_path: Path
) -> None:
    file = tmp_path / "opening.json"
    given = ("--dataset", dataset, "--grantee", "The clinic", "--algorithm", CODE)
    assert run("break-glass", "draft", *given, "--purpose", WHY, "--out", file, *at).code == 0
    found = json.loads(file.read_text())
    found["opening"]["purpose"] = "For a friend."
    file.write_text(json.dumps(found))
    wrong = run("break-glass", "sign", file, "--key", f"dev:{FIRST}", "--json")
    assert wrong.problem["code"] == "OpeningMismatch"
    assert json.loads(file.read_text())["signatures"] == {}
    file.write_text("{}")
    nothing = run("break-glass", "sign", file, "--key", f"dev:{FIRST}", "--json")
    assert nothing.problem["code"] == "InvalidRequest"


# ── What nobody reviews ──────────────────────────────────────────────────────────────────────


def test_whose_emergency_nobody_reviewed_is_suspended(
    run: Run, at: tuple[str, ...], council: Council, dataset: str
) -> None:
    """The last test: the shop is suspended by it."""
    id = open_(council, emergencies.draft(council.shop, asked(council, dataset), WHY))
    council.chain.travel(shown(council, id).review_by - council.network.client.head().timestamp)
    assert (shown(council, id).state, shown(council, id).can_lapse) == ("OVERDUE", True)
    assert council.network.breakglass.state(id) is EmergencyState.OVERDUE
    lapsed = run("break-glass", "lapse", id, "--wait", "0", *at)
    assert lapsed.code == 0, lapsed.err
    council.settle()
    assert shown(council, id).state == "LAPSED"
    assert council.network.membership.standing(council.members["shop"]) is Standing.SUSPENDED
    refused(Conflict, "Conflict", emergencies.lapse, council.bank, id)
    refused(NotFound, "NotFound", emergencies.lapse, council.bank, CODE)
