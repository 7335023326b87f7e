"""Code is read by two people of two other members before it is allowed."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from chain.compile import Artifact
from tests.contracts.world import Refusal, World, h

CODE = h("some code")
ZERO_MEMBER = bytes(32)


@pytest.fixture
def submitted(world: World) -> World:
    """By the bank; each member has a person who reads code."""
    world.send(world.reviews.functions.submit(CODE, "gradient trees"), "bank")
    for member in ("bank", "shop", "clinic"):
        world.appoint(member, f"{member} reader")
    return world


def asked(world: World) -> Refusal | None:
    return world.refusal(world.reviews.functions.requireReviewed(CODE))


def too_few(found: int) -> Refusal:
    return Refusal("ReviewsTooFew", (CODE, found, 2))


# ── What counts


Steps = Callable[[World], None]


def approve(*people: str) -> Steps:
    def steps(world: World) -> None:
        for person in people:
            world.send(world.review(CODE, f"{person} reader"), "relayer")

    return steps


def then(*steps: Steps) -> Steps:
    def both(world: World) -> None:
        for step in steps:
            step(world)

    return both


def reject(person: str) -> Steps:
    def step(world: World) -> None:
        world.send(world.review(CODE, f"{person} reader", approves=False), "relayer")

    return step


def second_person(member: str) -> Steps:
    def step(world: World) -> None:
        world.appoint(member, f"second {member} reader")
        world.send(world.review(CODE, f"second {member} reader"), "relayer")

    return step


def dismiss(member: str) -> Steps:
    def step(world: World) -> None:
        person = world.address(f"{member} reader")
        world.send(world.reviews.functions.dismiss(person), member)

    return step


def lose(member: str, to: str) -> Steps:
    """The member's reader speaks for another member from now on."""

    def step(world: World) -> None:
        dismiss(member)(world)
        person = world.address(f"{member} reader")
        world.send(world.reviews.functions.appoint(person), to)

    return step


def govern(move: str, member: str) -> Steps:
    def step(world: World) -> None:
        world.send(world.membership.functions[move](getattr(world, member)), "authority")

    return step


MATRIX: Mapping[str, tuple[Steps, int]] = {
    "nobody": (approve(), 0),
    "one member": (approve("shop"), 1),
    "two members": (approve("shop", "clinic"), 2),
    "the author and one": (approve("bank", "shop"), 1),
    "the author alone, two people": (then(approve("bank"), second_person("bank")), 0),
    "two people of one member": (then(approve("shop"), second_person("shop")), 1),
    "two people of one member and another": (
        then(approve("shop"), second_person("shop"), approve("clinic")),
        2,
    ),
    "one who says no": (then(approve("shop"), reject("clinic")), 1),
    "one who says no, then yes": (then(approve("shop"), reject("clinic"), approve("clinic")), 2),
    "one who says yes, then no": (then(approve("shop", "clinic"), reject("clinic")), 1),
    "one who was dismissed": (then(approve("shop", "clinic"), dismiss("clinic")), 1),
    "one who changed sides": (then(approve("shop", "clinic"), lose("clinic", "shop")), 1),
    "one who left the author": (then(approve("bank", "shop"), lose("bank", "clinic")), 1),
    "one whose member is suspended": (
        then(approve("shop", "clinic"), govern("suspend", "clinic")),
        1,
    ),
    "one whose member came back": (
        then(approve("shop", "clinic"), govern("suspend", "clinic"), govern("reinstate", "clinic")),
        2,
    ),
    "one whose member is expelled": (
        then(approve("shop", "clinic"), govern("expel", "clinic")),
        1,
    ),
    "an author who is gone": (then(approve("shop", "clinic"), govern("expel", "bank")), 2),
}


@pytest.mark.parametrize(("steps", "found"), MATRIX.values(), ids=MATRIX)
def test_code_counts_as_reviewed_by(submitted: World, steps: Steps, found: int) -> None:
    steps(submitted)
    assert asked(submitted) == (None if found == 2 else too_few(found))


def test_code_that_nobody_submitted_is_not_reviewed(world: World) -> None:
    missing = Refusal("ReviewsNotSubmitted", (CODE,))
    assert asked(world) == missing
    assert world.refusal(world.reviews.functions.submission(CODE)) == missing
    world.appoint("shop", "reader")
    assert world.refusal(world.review(CODE, "reader"), "relayer") == missing


# ── Submitting


def test_the_first_who_submits_is_the_author(submitted: World) -> None:
    read = submitted.reviews.functions
    author, name, _ = read.submission(CODE).call()
    assert (author, name) == (submitted.bank, "gradient trees")
    refused = submitted.refusal(read.submit(CODE, "mine"), "shop")
    assert refused == Refusal("ReviewsTaken", (CODE,))
    assert (read.submissionCount().call(), read.submissions(0, 9).call()) == (1, [CODE])


def test_a_name_of_code_has_a_length(world: World) -> None:
    submit = world.reviews.functions.submit
    assert world.refusal(submit(CODE, "n" * 512), "bank") is None
    refused = world.refusal(submit(CODE, "n" * 513), "bank")
    assert refused == Refusal("ReviewsNameTooLong", (513, 512))


def test_only_an_active_member_submits_and_appoints(world: World) -> None:
    govern("suspend", "clinic")(world)
    moves = world.reviews.functions
    for call in (moves.submit(CODE, "x"), moves.appoint(world.address("relayer"))):
        refused = world.refusal(call, "clinic")
        assert refused == Refusal("MembershipNotActive", (world.clinic, 2))
        refused = world.refusal(call, "stranger")
        stranger = world.address("stranger").lower()
        assert refused == Refusal("MembershipNotAMember", (stranger,))


# ── People


def test_a_person_speaks_for_one_member_at_a_time(submitted: World) -> None:
    moves, person = submitted.reviews.functions, submitted.address("shop reader")
    assert moves.memberOfPerson(person).call() == submitted.shop
    assert moves.people(submitted.shop).call() == [person]
    refused = submitted.refusal(moves.appoint(person), "clinic")
    assert refused == Refusal("ReviewsPersonTaken", (person.lower(), submitted.shop))

    submitted.send(moves.dismiss(person), "shop")
    assert moves.memberOfPerson(person).call() == ZERO_MEMBER
    assert moves.people(submitted.shop).call() == []
    submitted.send(moves.appoint(person), "clinic")
    assert moves.memberOfPerson(person).call() == submitted.clinic


def test_nobody_else_dismisses_a_person(submitted: World) -> None:
    person = submitted.address("shop reader")
    dismissing = submitted.reviews.functions.dismiss(person)
    refused = submitted.refusal(dismissing, "clinic")
    other = submitted.address("clinic").lower()
    assert refused == Refusal("ReviewsNotDismissable", (person.lower(), other))
    unknown = submitted.reviews.functions.dismiss(submitted.address("relayer"))
    refused = submitted.refusal(unknown, "shop")
    relayer = submitted.address("relayer").lower()
    assert refused == Refusal("ReviewsNotAppointed", (relayer,))


def test_a_person_steps_down_by_itself(world: World) -> None:
    """A member that appoints another one's people keeps them only as long as they let it."""
    moves = world.reviews.functions
    world.send(moves.appoint(world.address("relayer")), "shop")
    world.send(moves.dismiss(world.address("relayer")), "relayer")
    assert moves.memberOfPerson(world.address("relayer")).call() == ZERO_MEMBER


def test_a_member_has_so_many_people(world: World) -> None:
    moves = world.reviews.functions
    people = [f"0x{number:040x}" for number in range(1, 34)]
    for person in people[:32]:
        world.send(moves.appoint(world.web3.to_checksum_address(person)), "shop")
    last = world.web3.to_checksum_address(people[32])
    refused = world.refusal(moves.appoint(last), "shop")
    assert refused == Refusal("ReviewsTooMany", (33, 32))


def test_nobody_buries_code_under_reviews(submitted: World) -> None:
    """A member that brings ever new people is heard eight times about one code."""
    moves = submitted.reviews.functions
    for number in range(9):
        person = f"shop person {number}"
        submitted.appoint("shop", person)
        relaying = submitted.review(CODE, person)
        if number < 8:
            submitted.send(relaying, "relayer")
            submitted.send(moves.dismiss(submitted.address(person)), "shop")
    refused = submitted.refusal(relaying, "relayer")
    assert refused == Refusal("ReviewsTooMany", (9, 8))
    assert len(moves.reviewsOf(CODE).call()) == 8


# ── Signatures


def test_a_review_is_relayed_by_anyone_and_the_last_one_stands(submitted: World) -> None:
    reject("shop")(submitted)
    receipt = submitted.send(submitted.review(CODE, "shop reader"), "stranger")
    person = submitted.address("shop reader")
    opinion = {
        "codeDigest": CODE,
        "person": person,
        "member": submitted.shop,
        "approves": True,
        "report": h("report"),
    }
    assert submitted.events(receipt, submitted.reviews) == [("CodeReviewed", opinion)]
    found = submitted.reviews.functions.reviewsOf(CODE).call()
    assert found == [(person, submitted.shop, True, h("report"), submitted.block)]


def test_a_review_that_was_taken_back_is_not_replayed(submitted: World) -> None:
    approving = submitted.review(CODE, "shop reader")
    submitted.send(approving, "relayer")
    person = submitted.address("shop reader").lower()
    assert submitted.refusal(approving) == Refusal("ReviewsBadSignature", (person,))
    reject("shop")(submitted)
    assert submitted.refusal(approving) == Refusal("ReviewsBadSignature", (person,))


FORGED: Mapping[str, Mapping[str, Any]] = {
    "by another": {"signer": "clinic reader"},
    "about other code": {"signed": {"codeDigest": h("other")}},
    "for another person": {"signed": {"person": "0x" + "11" * 20}},
    "saying no": {"signed": {"approves": False}},
    "with another report": {"signed": {"report": h("other")}},
    "with another nonce": {"signed": {"nonce": 1}},
    "on another chain": {"domain": {"chainId": 1}},
    "for another contract": {"domain": {"verifyingContract": "0x" + "11" * 20}},
    "under another name": {"domain": {"name": "FATE-Chain Consent"}},
}


@pytest.mark.parametrize("changed", FORGED.values(), ids=FORGED)
def test_a_review_counts_only_as_it_was_signed(
    submitted: World, changed: Mapping[str, Any]
) -> None:
    relaying = submitted.review(CODE, "shop reader", **changed)
    person = submitted.address("shop reader").lower()
    assert submitted.refusal(relaying) == Refusal("ReviewsBadSignature", (person,))


def test_only_an_appointed_person_reviews(submitted: World) -> None:
    refused = submitted.refusal(submitted.review(CODE, "stranger"), "stranger")
    stranger = submitted.address("stranger").lower()
    assert refused == Refusal("ReviewsNotAppointed", (stranger,))


def test_a_person_with_a_contract_account_reviews(
    submitted: World, compiled: Mapping[str, Artifact]
) -> None:
    wallet = submitted.create(compiled["Wallet"].abi, compiled["Wallet"].bytecode)
    moves = submitted.reviews.functions
    submitted.send(moves.appoint(wallet.address), "shop")
    given = (CODE, wallet.address, True, h("report"))
    refused = submitted.refusal(moves.review(given, b""))
    assert refused == Refusal("ReviewsBadSignature", (wallet.address.lower(),))
    submitted.send(wallet.functions.approve(moves.digest(given).call()), "relayer")
    submitted.send(moves.review(given, b""), "relayer")
    assert asked(submitted) == too_few(1)
