"""What members hold against each other: who may say what, and when it is over."""

import pytest

from tests.contracts.world import ZERO, Id, Refusal, World, h, w

NONE, OPEN, ANSWERED, WITHDRAWN, UPHELD, DISMISSED = range(6)


def opened(world: World, nonce: int = 1) -> Id:
    """The bank holds something against the shop."""
    functions = world.disputes.functions
    about, evidence = (w("job"), h("job 7")), h("evidence")
    world.send(functions.open(world.shop, *about, evidence, nonce), "bank")
    return bytes(functions.disputeIdFor(world.address("bank"), nonce).call())


def move(world: World, dispute: Id, name: str) -> None:
    functions = world.disputes.functions
    call, actor = {
        "answer": (functions.answer(dispute, h("answer")), "shop"),
        "withdraw": (functions.withdraw(dispute), "bank"),
        "uphold": (functions.rule(dispute, 1, h("reasons")), "authority"),
        "dismiss": (functions.rule(dispute, 2, h("reasons")), "authority"),
    }[name]
    world.send(call, actor)


def state(world: World, dispute: Id) -> int:
    return int(world.disputes.functions.state(dispute).call())


def test_a_dispute_says_who_holds_what_against_whom(world: World) -> None:
    functions = world.disputes.functions
    receipt = world.send(functions.open(world.shop, w("job"), h("job 7"), h("proof"), 1), "bank")
    dispute = bytes(functions.disputeIdFor(world.address("bank"), 1).call())
    said = {
        "id": dispute,
        "claimant": world.bank,
        "respondent": world.shop,
        "about": w("job"),
        "subject": h("job 7"),
        "evidence": h("proof"),
    }
    assert world.events(receipt, world.disputes) == [("DisputeOpened", said)]
    assert functions.dispute(dispute).call() == (
        *(world.bank, world.shop, w("job"), h("job 7"), h("proof"), ZERO, ZERO, 0),
        *(world.block, 0, 0, 0),
    )
    assert functions.disputeCount().call() == 1
    assert functions.disputes(0, 9).call() == [dispute]


PATHS = {
    (): OPEN,
    ("answer",): ANSWERED,
    ("withdraw",): WITHDRAWN,
    ("answer", "withdraw"): WITHDRAWN,
    ("uphold",): UPHELD,
    ("dismiss",): DISMISSED,
    ("answer", "uphold"): UPHELD,
    ("answer", "dismiss"): DISMISSED,
}


@pytest.mark.parametrize("path", PATHS, ids="-".join)
def test_a_dispute_goes_its_way(world: World, path: tuple[str, ...]) -> None:
    dispute = opened(world)
    for name in path:
        move(world, dispute, name)
    assert state(world, dispute) == PATHS[path]


@pytest.mark.parametrize("end", [p for p, s in PATHS.items() if s > ANSWERED], ids="-".join)
def test_what_has_ended_stays_ended(world: World, end: tuple[str, ...]) -> None:
    dispute = opened(world)
    for name in end:
        move(world, dispute, name)
    functions = world.disputes.functions
    for call, actor in (
        (functions.answer(dispute, h("late")), "shop"),
        (functions.withdraw(dispute), "bank"),
        (functions.rule(dispute, 1, h("again")), "authority"),
    ):
        assert world.refusal(call, actor) == Refusal("DisputeEnded", (dispute, PATHS[end]))


def test_an_answer_stands_as_it_was_given(world: World) -> None:
    dispute = opened(world)
    move(world, dispute, "answer")
    answered_at = world.block
    refused = world.refusal(world.disputes.functions.answer(dispute, h("better")), "shop")
    assert refused == Refusal("DisputeAlreadyAnswered", (dispute, answered_at))


def test_each_speaks_for_itself(world: World) -> None:
    dispute = opened(world)
    functions = world.disputes.functions
    for actor in ("bank", "clinic", "shop_node", "stranger"):
        refused = world.refusal(functions.answer(dispute, h("answer")), actor)
        expected = (dispute, world.address(actor).lower())
        assert refused == Refusal("DisputeNotRespondent", expected)
    for actor in ("shop", "clinic", "bank_node", "stranger"):
        refused = world.refusal(functions.withdraw(dispute), actor)
        expected = (dispute, world.address(actor).lower())
        assert refused == Refusal("DisputeNotClaimant", expected)
    for actor in ("bank", "shop", "stranger"):
        refused = world.refusal(functions.rule(dispute, 2, h("reasons")), actor)
        assert refused is not None
        assert refused.error == "ConsortiumNotAuthority"


def test_who_is_suspended_answers_and_withdraws_but_opens_nothing(world: World) -> None:
    first, second = opened(world, 1), opened(world, 2)
    for member in (world.bank, world.shop):
        world.send(world.membership.functions.suspend(member), "authority")
    move(world, first, "answer")
    move(world, second, "withdraw")
    opening = world.disputes.functions.open(world.shop, w("job"), h("x"), h("y"), 3)
    refused = world.refusal(opening, "bank")
    assert refused == Refusal("MembershipNotActive", (world.bank, 2))


def test_a_recovered_member_goes_on_with_its_dispute(world: World) -> None:
    dispute = opened(world)
    world.send(world.recovery(world.shop, "newcomer"), "authority")
    answering = world.disputes.functions.answer(dispute, h("answer"))
    refused = world.refusal(answering, "shop")
    assert refused == Refusal("DisputeNotRespondent", (dispute, world.address("shop").lower()))
    world.send(answering, "newcomer")


@pytest.mark.parametrize("ruling", [0, 3, 255])
def test_a_ruling_upholds_or_dismisses(world: World, ruling: int) -> None:
    dispute = opened(world)
    refused = world.refusal(
        world.disputes.functions.rule(dispute, ruling, h("reasons")), "authority"
    )
    assert refused == Refusal("DisputeBadRuling", (ruling,))


def test_nobody_disputes_with_itself_or_with_nobody(world: World) -> None:
    opening = world.disputes.functions.open
    refused = world.refusal(opening(world.bank, w("job"), h("x"), h("y"), 1), "bank")
    assert refused == Refusal("DisputeWithOneself", (world.bank,))
    refused = world.refusal(opening(h("nobody"), w("job"), h("x"), h("y"), 1), "bank")
    assert refused == Refusal("MembershipUnknown", (h("nobody"),))


def test_a_dispute_id_is_given_once(world: World) -> None:
    dispute = opened(world)
    again = world.disputes.functions.open(world.clinic, w("job"), h("x"), h("y"), 1)
    assert world.refusal(again, "bank") == Refusal("DisputeTaken", (dispute,))


def test_an_unknown_dispute_is_refused(world: World) -> None:
    functions, unknown = world.disputes.functions, h("none")
    assert state(world, unknown) == NONE
    for call in (
        functions.dispute(unknown),
        functions.answer(unknown, h("x")),
        functions.withdraw(unknown),
        functions.rule(unknown, 1, h("x")),
    ):
        assert world.refusal(call, "authority") == Refusal("DisputeUnknown", (unknown,))
