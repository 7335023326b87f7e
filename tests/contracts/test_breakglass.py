"""Broken glass: who opens a grant without its owner's account, for how long, and what follows."""

from collections.abc import Mapping
from typing import Any

import pytest
from eth_account.messages import encode_typed_data
from eth_utils.crypto import keccak
from web3.contract.contract import ContractFunction

from chain.compile import Artifact
from tests.contracts.government import Government
from tests.contracts.world import DAY, EMERGENCY, TRAINING, ZERO, Id, Refusal, World, h, w

NONE, UNREVIEWED, OVERDUE, LAPSED, REVIEWED = range(5)
HOUR = 3600
TYPES = {
    "BreakGlass": [
        {"name": "grantDigest", "type": "bytes32"},
        {"name": "purpose", "type": "bytes32"},
    ]
}
WHY = h("a patient in danger")
PEOPLE = {"shop_doctor": "shop", "shop_nurse": "shop", "clinic_doctor": "clinic"}


@pytest.fixture
def world(world: World) -> World:
    """With two people of the shop and one of the clinic."""
    for person, member in PEOPLE.items():
        world.add_account(person)
        world.send(world.reviews.functions.appoint(world.address(person)), member)
    return world


def emergency(world: World, **changed: Any) -> dict[str, Any]:
    """The bank may use the shop's data, for an hour."""
    terms = {"purposes": [EMERGENCY], "until": world.now + HOUR, "uses": 1, **changed}
    return world.terms(**terms)


def message(world: World, terms: Mapping[str, Any], **domain: Any) -> Any:
    digest = bytes(world.consents.functions.digest(terms).call())
    named = {"name": "FATE-Chain BreakGlass", "verifyingContract": world.breakglass.address}
    content = {"grantDigest": digest, "purpose": WHY}
    return encode_typed_data(world.domain(**{**named, **domain}), TYPES, content)


def sign(world: World, terms: Mapping[str, Any], person: str, **domain: Any) -> bytes:
    signed = world.accounts[person].sign_message(message(world, terms, **domain))
    return bytes(signed.signature)


def opening(
    world: World, terms: Mapping[str, Any], first: str = "shop_doctor", second: str = "shop_nurse"
) -> ContractFunction:
    return world.breakglass.functions.open(
        terms,
        world.address(first),
        sign(world, terms, first),
        world.address(second),
        sign(world, terms, second),
        WHY,
    )


def opened(world: World, **changed: Any) -> Id:
    terms = emergency(world, **changed)
    world.send(opening(world, terms), "relayer")
    return bytes(world.consents.functions.grantIdFor(world.address("shop"), terms["nonce"]).call())


def state(world: World, id: Id) -> int:
    return int(world.breakglass.functions.state(id).call())


# ------------------------------------------------------------------------------ opening


def test_two_people_of_the_owner_open_a_grant_at_once(world: World) -> None:
    terms = emergency(world)
    receipt = world.send(opening(world, terms), "stranger")
    owner, nonce = world.address("shop"), terms["nonce"]
    id = bytes(world.consents.functions.grantIdFor(owner, nonce).call())

    record = world.consents.functions.record(id).call()
    assert record == (tuple(terms.values()), world.shop, 0, world.block, 0, 0)
    people = (world.address("shop_doctor"), world.address("shop_nurse"))
    review_by = terms["until"] + 7 * DAY
    found = world.breakglass.functions.emergency(id).call()
    times = (world.block, terms["until"], review_by, 0, 0)
    assert found == (world.shop, *people, WHY, *times, False, ZERO)
    assert state(world, id) == UNREVIEWED
    told = {
        "id": id,
        "owner": world.shop,
        "grant": id,
        "first": people[0],
        "second": people[1],
        "purpose": WHY,
        "until": terms["until"],
        "reviewBy": review_by,
    }
    assert world.events(receipt, world.breakglass) == [("BreakGlassOpened", told)]
    assert [name for name, _ in world.events(receipt, world.consents)] == ["ConsentGranted"]
    assert world.breakglass.functions.emergencies(0, 9).call() == [id]
    assert world.breakglass.functions.emergencyCount().call() == 1


def test_a_job_runs_with_it_for_the_purpose_of_an_emergency_alone(world: World) -> None:
    uses = [(1, world.shop_data, 1, opened(world))]
    refused = world.refusal(world.jobs.functions.propose(world.proposal(uses=uses)), "bank_node")
    assert refused == Refusal("ConsentWrongPurpose", (uses[0][3], TRAINING))
    job = world.running(uses=uses, purpose=EMERGENCY)
    assert world.refusal(world.jobs.functions.requireRunnable(job)) is None


def test_the_same_person_does_not_sign_twice(world: World) -> None:
    terms = emergency(world)
    refused = world.refusal(opening(world, terms, "shop_doctor", "shop_doctor"))
    assert refused == Refusal("BreakGlassSamePerson", (world.address("shop_doctor").lower(),))


@pytest.mark.parametrize("other", ["clinic_doctor", "shop", "shop_node", "stranger", "authority"])
@pytest.mark.parametrize("first", [True, False])
def test_both_people_are_appointed_by_the_owner(world: World, other: str, first: bool) -> None:
    terms = emergency(world)
    pair = (other, "shop_nurse") if first else ("shop_doctor", other)
    refused = world.refusal(opening(world, terms, *pair))
    assert refused == Refusal("BreakGlassNotAppointed", (world.address(other).lower(), world.shop))


def test_a_person_that_was_dismissed_opens_nothing(world: World) -> None:
    terms = emergency(world)
    made = opening(world, terms)
    world.send(world.reviews.functions.dismiss(world.address("shop_nurse")), "shop")
    nurse = world.address("shop_nurse").lower()
    assert world.refusal(made) == Refusal("BreakGlassNotAppointed", (nurse, world.shop))


def test_each_signs_these_terms_for_this_purpose(world: World) -> None:
    terms, functions = emergency(world), world.breakglass.functions
    doctor, nurse = world.address("shop_doctor"), world.address("shop_nurse")
    good = sign(world, terms, "shop_doctor"), sign(world, terms, "shop_nurse")
    bad_nurse = Refusal("BreakGlassBadSignature", (nurse.lower(),))
    bad_doctor = Refusal("BreakGlassBadSignature", (doctor.lower(),))
    wrong = [
        (functions.open(terms, doctor, good[0], nurse, good[0], WHY), bad_nurse),
        (functions.open(terms, doctor, b"", nurse, good[1], WHY), bad_doctor),
        (functions.open({**terms, "uses": 9}, doctor, good[0], nurse, good[1], WHY), bad_doctor),
        (functions.open(terms, doctor, good[0], nurse, good[1], h("else")), bad_doctor),
    ]
    for domain in ({"chainId": 1}, {"name": "FATE-Chain Consent"}, {"version": "2"}):
        foreign = sign(world, terms, "shop_nurse", **domain)
        wrong.append((functions.open(terms, doctor, good[0], nurse, foreign, WHY), bad_nurse))
    for made, refusal in wrong:
        assert world.refusal(made) == refusal
    assert world.refusal(functions.open(terms, doctor, good[0], nurse, good[1], WHY)) is None


def test_what_a_person_signs_is_told_by_the_contract(world: World) -> None:
    terms = emergency(world)
    made = message(world, terms)
    expected = keccak(b"\x19" + made.version + made.header + made.body)
    assert world.breakglass.functions.digest(terms, WHY).call() == expected


def test_a_person_may_be_a_contract_account(world: World, compiled: Mapping[str, Artifact]) -> None:
    wallet = world.create(compiled["Wallet"].abi, compiled["Wallet"].bytecode)
    world.send(world.reviews.functions.appoint(wallet.address), "shop")
    terms, functions = emergency(world), world.breakglass.functions
    signed = (world.address("shop_doctor"), sign(world, terms, "shop_doctor"))
    made = functions.open(terms, *signed, wallet.address, b"", WHY)
    unsigned = Refusal("BreakGlassBadSignature", (wallet.address.lower(),))
    assert world.refusal(made) == unsigned
    world.send(wallet.functions.approve(functions.digest(terms, WHY).call()), "relayer")
    assert world.refusal(made) is None


def test_glass_is_broken_for_seventy_two_hours_at_most(world: World) -> None:
    """The call sees the newest block's time; the transaction comes later."""
    terms = emergency(world, until=world.now + 72 * HOUR + 10_000)
    refused = world.refusal(opening(world, terms))
    assert refused is not None
    assert (refused.error, refused.values[0]) == ("BreakGlassTooLong", terms["until"])
    assert 0 < refused.values[0] - refused.values[1] <= 10_000
    within = emergency(world, until=refused.values[1])
    assert world.refusal(opening(world, within)) is None


@pytest.mark.parametrize(
    ("changed", "refused"),
    [
        ({"purposes": [TRAINING]}, Refusal("ConsentBadTerms", ("purposes",))),
        ({"purposes": [EMERGENCY, TRAINING]}, Refusal("ConsentBadTerms", ("purposes",))),
        ({"purposes": []}, Refusal("ConsentBadTerms", ("purposes",))),
        ({"until": 1}, Refusal("ConsentBadTerms", ("until",))),
        ({"algorithms": []}, Refusal("ConsentBadTerms", ("algorithms",))),
        ({"uses": 0}, Refusal("ConsentBadTerms", ("uses",))),
        ({"datasetId": h("none")}, Refusal("DatasetUnknown", (h("none"),))),
        ({"grantee": h("nobody")}, Refusal("MembershipUnknown", (h("nobody"),))),
    ],
)
def test_the_terms_are_those_of_an_emergency(
    world: World, changed: dict[str, Any], refused: Refusal
) -> None:
    assert world.refusal(opening(world, emergency(world, **changed))) == refused


def test_broken_glass_ends_no_grant_that_stands(world: World) -> None:
    terms = emergency(world, amends=world.shop_grant)
    assert world.refusal(opening(world, terms)) == Refusal("ConsentBadTerms", ("amends",))


def test_glass_is_broken_once_with_the_same_signatures(world: World) -> None:
    terms = emergency(world)
    made = opening(world, terms)
    world.send(made, "relayer")
    id = bytes(world.consents.functions.grantIdFor(world.address("shop"), terms["nonce"]).call())
    assert world.refusal(made) == Refusal("ConsentTaken", (id,))


def test_the_purpose_of_an_emergency_can_be_withdrawn(world: World) -> None:
    terms = emergency(world)
    world.send(world.consortium.functions.withdrawPurpose(EMERGENCY), "authority")
    refused = world.refusal(opening(world, terms))
    assert refused == Refusal("ConsortiumPurposeNotAllowed", (EMERGENCY,))


def test_the_owner_revokes_what_its_people_opened(world: World) -> None:
    id = opened(world)
    world.send(world.consents.functions.revoke(id), "shop")
    assert state(world, id) == UNREVIEWED


def test_a_suspended_owner_breaks_no_glass(world: World) -> None:
    world.send(world.membership.functions.suspend(world.shop), "authority")
    refused = world.refusal(opening(world, emergency(world)))
    assert refused is not None
    assert refused.error in ("MembershipNotActive", "BreakGlassNotAppointed")


# ------------------------------------------------------------------------------ the review


@pytest.mark.parametrize("justified", [True, False])
def test_the_review_by_vote_ends_it(world: World, justified: bool) -> None:
    id = opened(world)
    review = world.breakglass.functions.review(id, justified, h("reasons"))
    receipt = world.send(review, "authority")
    found = world.breakglass.functions.emergency(id).call()
    assert found[7:] == (world.block, 0, justified, h("reasons"))
    assert state(world, id) == REVIEWED
    told = {"id": id, "owner": world.shop, "justified": justified, "reasons": h("reasons")}
    assert world.events(receipt, world.breakglass) == [("BreakGlassReviewed", told)]

    reviewed = Refusal("BreakGlassAlreadyReviewed", (id, world.block))
    assert world.refusal(review, "authority") == reviewed
    world.go_to(found[6] + DAY)
    assert world.refusal(world.breakglass.functions.lapse(id)) == reviewed
    assert world.refusal(world.membership.functions.requireActive(world.shop)) is None


@pytest.mark.parametrize("actor", ["shop", "bank", "shop_doctor", "stranger"])
def test_only_a_vote_reviews(world: World, actor: str) -> None:
    review = world.breakglass.functions.review(opened(world), True, h("reasons"))
    refused = world.refusal(review, actor)
    assert refused is not None
    assert refused.error == "ConsortiumNotAuthority"


def test_without_a_review_the_owner_is_suspended(world: World) -> None:
    id = opened(world)
    review_by = world.breakglass.functions.emergency(id).call()[6]
    lapse = world.breakglass.functions.lapse(id)
    world.go_to(review_by - 1)
    assert world.refusal(lapse) == Refusal("BreakGlassNotOverdue", (id, review_by))
    world.go_to(review_by)
    assert state(world, id) == OVERDUE
    receipt = world.send(lapse, "stranger")

    assert state(world, id) == LAPSED
    assert world.membership.functions.standing(world.shop).call() == 2
    told = {"id": id, "owner": world.shop}
    assert world.events(receipt, world.breakglass) == [("BreakGlassLapsed", told)]
    assert world.refusal(lapse) == Refusal("BreakGlassAlreadyLapsed", (id, world.block))


def test_a_late_review_counts_and_undoes_no_lapse(world: World) -> None:
    id = opened(world)
    world.go_to(world.breakglass.functions.emergency(id).call()[6])
    review = world.breakglass.functions.review(id, True, h("reasons"))
    with world.anchored():
        world.send(review, "authority")
        assert state(world, id) == REVIEWED
        assert world.membership.functions.standing(world.shop).call() == 1
    world.send(world.breakglass.functions.lapse(id), "stranger")
    world.send(review, "authority")
    assert state(world, id) == REVIEWED
    assert world.membership.functions.standing(world.shop).call() == 2
    world.send(world.membership.functions.reinstate(world.shop), "authority")
    assert world.membership.functions.standing(world.shop).call() == 1


def overdue(world: World) -> Id:
    id = opened(world)
    world.go_to(world.breakglass.functions.emergency(id).call()[6])
    return id


@pytest.mark.parametrize("move", ["suspend", "expel"])
def test_an_emergency_lapses_of_an_owner_that_is_not_active(world: World, move: str) -> None:
    id = overdue(world)
    world.send(world.membership.functions[move](world.shop), "authority")
    world.send(world.breakglass.functions.lapse(id), "stranger")
    assert state(world, id) == LAPSED
    assert world.breakglass.functions.owing(world.shop).call() == 1


def test_an_emergency_lapses_of_an_owner_that_the_quorum_needs(world: World) -> None:
    Government(world, minimum=3)
    id = overdue(world)
    receipt = world.send(world.breakglass.functions.lapse(id), "stranger")
    assert state(world, id) == LAPSED
    assert world.events(receipt, world.membership) == []
    assert world.membership.functions.standing(world.shop).call() == 1


def test_who_lets_it_lapse_does_not_spare_the_owner_by_sending_too_little_gas(
    world: World,
) -> None:
    id = overdue(world)
    lapse = world.breakglass.functions.lapse(id)
    for gas in range(100_000, 320_000, 10_000):
        with world.anchored():
            if world.transact(lapse, "stranger", gas)["status"] == 1:
                assert world.membership.functions.standing(world.shop).call() == 2


def test_an_owner_opens_no_other_emergency_until_the_one_that_lapsed_is_reviewed(
    world: World,
) -> None:
    id = overdue(world)
    world.send(world.breakglass.functions.lapse(id), "stranger")
    world.send(world.membership.functions.reinstate(world.shop), "authority")
    made = opening(world, emergency(world))
    assert world.refusal(made) == Refusal("BreakGlassOwing", (world.shop, 1))
    review = world.breakglass.functions.review(id, False, h("reasons"))
    world.send(review, "authority")
    assert world.breakglass.functions.owing(world.shop).call() == 0
    assert world.refusal(made) is None


def test_what_was_never_opened_is_unknown(world: World) -> None:
    unknown, functions = Refusal("BreakGlassUnknown", (w("none"),)), world.breakglass.functions
    assert world.refusal(functions.emergency(w("none"))) == unknown
    assert world.refusal(functions.lapse(w("none"))) == unknown
    assert world.refusal(functions.review(w("none"), True, ZERO), "authority") == unknown
    assert state(world, w("none")) == NONE
