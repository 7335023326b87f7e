"""The address book and the rules."""

import pytest

from tests.contracts.government import Government
from tests.contracts.world import ALGORITHM, NAMES, OTHER_ALGORITHM, Refusal, World, h, w

NOBODY = "0x" + "00" * 20


def test_the_address_book_names_every_contract(world: World) -> None:
    for name in NAMES:
        found = world.consortium.functions.contractOf(w(name)).call()
        assert found == getattr(world, name).address


def test_an_unknown_name_is_refused(world: World) -> None:
    refused = world.refusal(world.consortium.functions.contractOf(w("treasury")))
    assert refused == Refusal("ConsortiumUnknownContract", (w("treasury"),))


def test_a_contract_has_an_address(world: World) -> None:
    refused = world.refusal(world.consortium.functions.setContract(w("jobs"), NOBODY), "authority")
    assert refused == Refusal("ConsortiumZeroAddress", (w("jobs"),))


def test_the_authority_moves_once_and_for_all(world: World) -> None:
    to = world.address("newcomer")
    receipt = world.send(world.consortium.functions.moveAuthority(to), "authority")

    moved = {"from": world.address("authority"), "to": to}
    assert world.events(receipt, world.consortium) == [("AuthorityMoved", moved)]
    assert world.consortium.functions.authority().call() == to
    refused = world.refusal(world.consortium.functions.setConstitution(h("new")), "authority")
    assert refused is not None
    assert refused.error == "ConsortiumNotAuthority"
    world.send(world.consortium.functions.setConstitution(h("new")), "newcomer")
    assert world.consortium.functions.constitution().call() == h("new")


def test_the_authority_does_not_move_to_nobody(world: World) -> None:
    refused = world.refusal(world.consortium.functions.moveAuthority(NOBODY), "authority")
    assert refused == Refusal("ConsortiumZeroAddress", (w("authority"),))


def test_an_algorithm_is_allowed_and_forbidden_and_its_blocks_are_kept(world: World) -> None:
    rules = world.consortium.functions
    world.send(rules.allowAlgorithm(OTHER_ALGORITHM, "logistic"), "authority")
    allowed_at = world.block
    assert rules.isAlgorithmAllowed(OTHER_ALGORITHM).call()
    assert rules.algorithm(OTHER_ALGORITHM).call() == ["logistic", allowed_at, 0]

    world.send(rules.forbidAlgorithm(OTHER_ALGORITHM), "authority")
    assert not rules.isAlgorithmAllowed(OTHER_ALGORITHM).call()
    assert rules.algorithm(OTHER_ALGORITHM).call() == ["logistic", allowed_at, world.block]


def test_a_forbidden_algorithm_can_be_allowed_again(world: World) -> None:
    rules = world.consortium.functions
    world.send(rules.forbidAlgorithm(ALGORITHM), "authority")
    world.send(rules.allowAlgorithm(ALGORITHM, "secureboost"), "authority")
    assert rules.algorithm(ALGORITHM).call() == ["secureboost", world.block, 0]


def test_an_algorithm_is_not_allowed_twice(world: World) -> None:
    refused = world.refusal(
        world.consortium.functions.allowAlgorithm(ALGORITHM, "again"), "authority"
    )
    assert refused == Refusal("ConsortiumAlgorithmAlreadyAllowed", (ALGORITHM,))


def test_an_algorithm_that_is_not_allowed_is_not_forbidden(world: World) -> None:
    refused = world.refusal(
        world.consortium.functions.forbidAlgorithm(OTHER_ALGORITHM), "authority"
    )
    assert refused == Refusal("ConsortiumAlgorithmNotAllowed", (OTHER_ALGORITHM,))


def test_a_scheme_is_admitted_and_withdrawn(world: World) -> None:
    rules = world.consortium.functions
    world.send(rules.admitScheme(w("paillier")), "authority")
    assert rules.isSchemeAdmitted(w("paillier")).call()
    world.send(rules.withdrawScheme(w("paillier")), "authority")
    assert not rules.isSchemeAdmitted(w("paillier")).call()


def test_a_scheme_that_is_not_admitted_is_not_withdrawn(world: World) -> None:
    refused = world.refusal(world.consortium.functions.withdrawScheme(w("lattice")), "authority")
    assert refused == Refusal("ConsortiumSchemeNotAdmitted", (w("lattice"),))


def test_a_minimum_is_set(world: World) -> None:
    receipt = world.send(world.consortium.functions.setMinimum(w("key-bits"), 2048), "authority")
    assert world.consortium.functions.minimum(w("key-bits")).call() == 2048
    assert world.events(receipt, world.consortium) == [
        ("MinimumSet", {"name": w("key-bits"), "value": 2048})
    ]


def test_a_name_is_found_or_nothing(world: World) -> None:
    find = world.consortium.functions.findContract
    assert find(w("jobs")).call() == world.jobs.address
    assert find(w("treasury")).call() == NOBODY


def test_a_purpose_is_allowed_and_withdrawn(world: World) -> None:
    rules, purpose = world.consortium.functions, w("fraud")
    assert not rules.isPurposeAllowed(purpose).call()
    allowed = world.send(rules.allowPurpose(purpose), "authority")
    assert rules.isPurposeAllowed(purpose).call()
    withdrawn = world.send(rules.withdrawPurpose(purpose), "authority")
    assert not rules.isPurposeAllowed(purpose).call()
    for receipt, event in ((allowed, "PurposeAllowed"), (withdrawn, "PurposeWithdrawn")):
        assert world.events(receipt, world.consortium) == [(event, {"purpose": purpose})]


def test_a_purpose_that_is_not_allowed_is_not_withdrawn(world: World) -> None:
    refused = world.refusal(world.consortium.functions.withdrawPurpose(w("fraud")), "authority")
    assert refused == Refusal("ConsortiumPurposeNotAllowed", (w("fraud"),))


def test_what_is_allowed_after_the_hand_over_was_reviewed(world: World) -> None:
    """The founders' set was not: the members signed up to it."""
    government = Government(world)
    allow = world.consortium.functions.allowAlgorithm(OTHER_ALGORITHM, "logistic")
    assert world.refusal(allow, "authority") is None
    government.found()
    proposal = government.queued(allow)
    refused = world.refusal(government.executing(proposal))
    assert refused == Refusal("ReviewsNotSubmitted", (OTHER_ALGORITHM,))

    world.reviewed(OTHER_ALGORITHM, author="bank", reviewers=("shop",))
    refused = world.refusal(government.executing(proposal))
    assert refused == Refusal("ReviewsTooFew", (OTHER_ALGORITHM, 1, 2))
    world.reviewed(OTHER_ALGORITHM, reviewers=("clinic",))
    world.send(government.executing(proposal), "stranger")
    assert world.consortium.functions.isAlgorithmAllowed(OTHER_ALGORITHM).call()


def test_another_timelock_or_authority_does_not_put_an_end_to_reviews(world: World) -> None:
    """One proposal that changes the book's timelock would have."""
    rules = world.consortium.functions
    assert not rules.isFounded().call()
    government = Government(world).found()
    assert rules.isFounded().call()
    other = world.address("relayer")
    government.enact(rules.setContract(w("timelock"), other))
    allow = rules.allowAlgorithm(OTHER_ALGORITHM, "logistic")
    unread = Refusal("ReviewsNotSubmitted", (OTHER_ALGORITHM,))
    assert world.refusal(government.executing(government.queued(allow))) == unread
    government.enact(rules.moveAuthority(world.address("newcomer")))
    assert rules.isFounded().call()
    assert world.refusal(allow, "newcomer") == unread


def test_a_timelock_that_is_booked_after_the_hand_over_founds_as_well(world: World) -> None:
    rules = world.consortium.functions
    world.send(rules.moveAuthority(world.address("newcomer")), "authority")
    assert not rules.isFounded().call()
    for account in ("newcomer", "relayer"):
        book = rules.setContract(w("timelock"), world.address(account))
        world.send(book, "newcomer")
    assert rules.isFounded().call()


@pytest.mark.parametrize("name", ["consortium", *NAMES])
def test_a_contract_is_initialised_once(world: World, name: str) -> None:
    contract = getattr(world, name)
    refused = world.refusal(contract.functions.initialize(world.address("stranger")))
    assert refused == Refusal("InvalidInitialization", ())


@pytest.mark.parametrize("name", NAMES)
def test_a_contract_belongs_to_the_consortium(world: World, name: str) -> None:
    assert getattr(world, name).functions.consortium().call() == world.consortium.address
