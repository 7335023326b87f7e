"""The right to audit: who asks, who answers, and that silence is seen."""

from typing import Any

import pytest

from tests.contracts.world import DAY, ZERO, Id, Refusal, World, h, w

NONE, OPEN, SILENT, ANSWERED, ANSWERED_LATE = range(5)
PERIOD = w("period")
AUDITOR = 8


def asked(world: World, actor: str = "shop", nonce: int = 1) -> Id:
    """Something of the bank's site."""
    functions = world.auditrequests.functions
    world.send(functions.file(world.bank_site, PERIOD, h("which"), nonce), actor)
    return bytes(functions.requestIdFor(world.address(actor), nonce).call())


def state(world: World, id: Id) -> int:
    return int(world.auditrequests.functions.state(id).call())


def test_a_member_asks_and_the_site_answers(world: World) -> None:
    functions = world.auditrequests.functions
    receipt = world.send(functions.file(world.bank_site, PERIOD, h("which"), 1), "shop")
    id = bytes(functions.requestIdFor(world.address("shop"), 1).call())
    filed, until = world.block, world.now + 7 * DAY
    said: dict[str, Any] = {"id": id, "site": world.bank_site, "by": world.shop, "auditor": ZERO}
    said |= {"kind": PERIOD, "digest": h("which"), "until": until}
    assert world.events(receipt, world.auditrequests) == [("AuditRequested", said)]
    assert state(world, id) == OPEN

    receipt = world.send(functions.answer(id, h("pack")), "bank_node")
    answered = {"id": id, "site": world.bank_site, "pack": h("pack"), "isLate": False}
    assert world.events(receipt, world.auditrequests) == [("AuditAnswered", answered)]
    assert state(world, id) == ANSWERED
    assert functions.request(id).call() == (
        *(world.bank_site, world.shop, ZERO, PERIOD, h("which"), h("pack")),
        *(filed, until, world.block, world.now),
    )
    assert functions.requestCount().call() == 1
    assert functions.requests(0, 9).call() == [id]


def test_a_site_with_the_auditors_role_asks(world: World) -> None:
    ask = world.auditrequests.functions.file(world.bank_site, PERIOD, h("which"), 1)
    not_auditor = Refusal("AuditRequestNotAuditor", (world.address("shop_node").lower(),))
    assert world.refusal(ask, "shop_node") == not_auditor
    world.send(world.sites.functions.setRoles(world.shop_site, AUDITOR), "shop")
    id = asked(world, "shop_node")
    found = world.auditrequests.functions.request(id).call()
    assert found[1:3] == (world.shop, world.shop_site)
    world.send(world.sites.functions.retire(world.shop_site), "shop")
    assert world.refusal(ask, "shop_node") == not_auditor


@pytest.mark.parametrize("actor", ["stranger", "authority", "clinic_node"])
def test_who_is_no_member_and_no_auditor_asks_nothing(world: World, actor: str) -> None:
    ask = world.auditrequests.functions.file(world.bank_site, PERIOD, h("which"), 1)
    refused = world.refusal(ask, actor)
    assert refused == Refusal("AuditRequestNotAuditor", (world.address(actor).lower(),))


def test_a_suspended_member_asks_nothing_and_still_answers(world: World) -> None:
    id = asked(world)
    for member in (world.shop, world.bank):
        world.send(world.membership.functions.suspend(member), "authority")
    ask = world.auditrequests.functions.file(world.bank_site, PERIOD, h("which"), 2)
    refused = world.refusal(ask, "shop")
    assert refused == Refusal("AuditRequestNotAuditor", (world.address("shop").lower(),))
    world.send(world.auditrequests.functions.answer(id, h("pack")), "bank_node")
    assert state(world, id) == ANSWERED


def test_nobody_audits_itself(world: World) -> None:
    ask = world.auditrequests.functions.file(world.bank_site, PERIOD, h("which"), 1)
    assert world.refusal(ask, "bank") == Refusal("AuditRequestOwnSite", (world.bank_site,))


def test_a_request_is_of_a_site_and_says_what(world: World) -> None:
    file = world.auditrequests.functions.file
    unknown = world.refusal(file(h("nowhere"), PERIOD, h("which"), 1), "shop")
    assert unknown == Refusal("SiteUnknown", (h("nowhere"),))
    nothing = world.refusal(file(world.bank_site, PERIOD, ZERO, 1), "shop")
    assert nothing == Refusal("AuditRequestZero", ("digest",))
    no_kind = world.refusal(file(world.bank_site, ZERO, h("which"), 1), "shop")
    assert no_kind == Refusal("AuditRequestZero", ("kind",))
    id = asked(world)
    again = world.refusal(file(world.bank_site, PERIOD, h("other"), 1), "shop")
    assert again == Refusal("AuditRequestTaken", (id,))


@pytest.mark.parametrize("actor", ["bank", "shop_node", "shop", "stranger"])
def test_the_sites_operator_alone_answers(world: World, actor: str) -> None:
    id = asked(world)
    refused = world.refusal(world.auditrequests.functions.answer(id, h("pack")), actor)
    assert refused == Refusal("AuditRequestNotOperator", (id, world.address(actor).lower()))


def test_a_request_is_answered_once_and_with_something(world: World) -> None:
    id, answer = asked(world), world.auditrequests.functions.answer
    assert world.refusal(answer(id, ZERO), "bank_node") == Refusal("AuditRequestZero", ("pack",))
    world.send(answer(id, h("pack")), "bank_node")
    again = world.refusal(answer(id, h("other pack")), "bank_node")
    assert again == Refusal("AuditRequestAlreadyAnswered", (id, world.block))


def test_silence_is_a_fact_that_a_late_answer_does_not_undo(world: World) -> None:
    id = asked(world)
    until = world.auditrequests.functions.request(id).call()[7]
    world.go_to(until - 2)
    assert state(world, id) == OPEN
    world.go_to(until + 1)
    assert state(world, id) == SILENT
    receipt = world.send(world.auditrequests.functions.answer(id, h("pack")), "bank_node")
    assert state(world, id) == ANSWERED_LATE
    ((_, said),) = world.events(receipt, world.auditrequests)
    assert said["isLate"] is True


@pytest.mark.parametrize(
    ("asked_for", "given"),
    [(0, 7 * DAY), (60, DAY), (3 * DAY, 3 * DAY), (365 * DAY, 90 * DAY)],
)
def test_the_members_say_how_long_an_answer_may_take(
    world: World, asked_for: int, given: int
) -> None:
    minimum = world.consortium.functions.setMinimum(w("audit-seconds"), asked_for)
    world.send(minimum, "authority")
    assert world.auditrequests.functions.answerSeconds().call() == given
    id = asked(world)
    assert world.auditrequests.functions.request(id).call()[7] == world.now + given


@pytest.mark.parametrize("end", ["answered", "silent"])
def test_a_member_and_its_sites_have_eight_pending_requests_to_a_site(
    world: World, end: str
) -> None:
    world.send(world.sites.functions.setRoles(world.shop_site, AUDITOR), "shop")
    actors = ("shop", "shop_node")
    ids = [asked(world, actors[n % 2], n) for n in range(8)]
    more = world.auditrequests.functions.file(world.bank_site, PERIOD, h("which"), 9)
    full = Refusal("AuditRequestTooMany", (world.bank_site, world.shop, 8))
    for actor in actors:
        assert world.refusal(more, actor) == full
    assert world.refusal(more, "clinic") is None
    other = world.auditrequests.functions.file(world.clinic_site, PERIOD, h("which"), 9)
    assert world.refusal(other, "shop") is None
    if end == "answered":
        world.send(world.auditrequests.functions.answer(ids[0], h("pack")), "bank_node")
    else:
        world.go_to(world.now + 7 * DAY)
    assert world.refusal(more, "shop") is None


def test_what_was_not_asked_is_unknown(world: World) -> None:
    functions = world.auditrequests.functions
    unknown = Refusal("AuditRequestUnknown", (h("x"),))
    assert world.refusal(functions.request(h("x"))) == unknown
    assert world.refusal(functions.answer(h("x"), h("pack")), "bank_node") == unknown
    assert state(world, h("x")) == NONE
