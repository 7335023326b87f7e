"""Sites that told two tales of one log: what marks them, and what does not."""

from typing import Any

import pytest

from chain.merkle import Tree, leaf_hash
from tests.contracts.world import DAY, ZERO, Id, Refusal, World, h

Signed = tuple[int, bytes, int, bytes, bytes]
TWO_CHECKPOINTS, ANOTHER_ANCHOR, UNANSWERED = 1, 2, 3
NONE, OPEN, OVERDUE, ANSWERED, SETTLED, ANSWERED_LATE = range(6)


def log(changed: int | None = None) -> Tree:
    return Tree(leaf_hash(b"forged" if n == changed else bytes([n])) for n in range(20))


TREE = log()
FORGED = log(2)


@pytest.fixture
def town(world: World) -> World:
    """The bank's site and the shop's sign their heads."""
    world.add_anchor_key(world.bank_site, "bank_node", "bank key")
    world.add_anchor_key(world.shop_site, "shop_node", "shop key")
    return world


def signed(
    world: World, size: int, tree: Tree = TREE, key: str = "bank key", **changed: Any
) -> Signed:
    """A head of the bank's log, signed by its key."""
    said = {"site": world.bank_site, "size": size, "root": tree.root(size), **changed}
    time, r, vs = world.sign_head(key, **said)
    return said["size"], said["root"], time, r, vs


def anchor(world: World, size: int, before: int = 0) -> None:
    proof = TREE.consistency_proof(before, size) if before else []
    call = world.anchors.functions.anchor(world.bank_site, size, TREE.root(size), proof, [])
    world.send(call, "bank_node")


def marks(world: World) -> list[tuple[str, int, int, int]]:
    """Key, kind, size and where the key had ended, of each."""
    found = world.equivocations.functions.marks(world.bank_site).call()
    assert world.equivocations.functions.isMarked(world.bank_site).call() == bool(found)
    return [(key, kind, size, until) for key, kind, size, _, until, _ in found]


def forked(world: World, one: Signed, other: Signed) -> Refusal | None:
    call = world.equivocations.functions.proveFork(world.bank_site, one, other)
    refused = world.refusal(call)
    if refused is None:
        world.send(call, "stranger")
    return refused


def challenge(world: World, given: Signed, actor: str = "shop") -> Id:
    functions = world.equivocations.functions
    world.send(functions.challenge(world.bank_site, given), actor)
    return bytes(functions.challengeIdFor(world.bank_site, given[0], given[1]).call())


def state(world: World, id: Id) -> int:
    return int(world.equivocations.functions.stateOf(id).call())


def answer(world: World, id: Id, anchored: int, *proof: bytes) -> Refusal | None:
    call = world.equivocations.functions.answerChallenge(id, anchored, list(proof))
    refused = world.refusal(call)
    if refused is None:
        world.send(call, "stranger")
    return refused


# ------------------------------------------------------------------------------ forks


def test_two_signed_heads_of_one_size_mark_the_site(town: World) -> None:
    assert marks(town) == []
    assert forked(town, signed(town, 7), signed(town, 7, FORGED)) is None
    assert marks(town) == [(town.address("bank key"), TWO_CHECKPOINTS, 7, 0)]
    functions = town.equivocations.functions
    assert functions.markedSiteCount().call() == 1
    assert functions.markedSites(0, 9).call() == [town.bank_site]


def test_a_mark_names_its_evidence_and_its_block(town: World) -> None:
    one, other = signed(town, 7), signed(town, 7, FORGED)
    call = town.equivocations.functions.proveFork(town.bank_site, one, other)
    told = town.events(town.send(call, "stranger"), town.equivocations)
    assert [name for name, _ in told] == ["SiteMarked", "ForkShown"]
    digests = [
        town.anchors.functions.checkpointDigest(town.bank_site, *given[:3]).call()
        for given in (one, other)
    ]
    evidence = bytes(town.web3.keccak(b"".join(digests)))
    assert told[0][1]["evidence"] == evidence
    shown = {"site": town.bank_site, "key": town.address("bank key"), "size": 7}
    shown |= {"root": one[1], "time": one[2], "other": other[1], "otherTime": other[2]}
    assert told[1][1] == shown
    ((_, _, _, block, _, found),) = town.equivocations.functions.marks(town.bank_site).call()
    assert (block, found) == (town.block, evidence)


def test_a_mark_moves_no_rights(town: World) -> None:
    forked(town, signed(town, 7), signed(town, 7, FORGED))
    assert town.sites.functions.isActive(town.bank_site).call()
    assert town.membership.functions.standing(town.bank).call() == 1
    anchor(town, 7)


def test_one_head_signed_twice_is_no_fork(town: World) -> None:
    one, again = signed(town, 7), signed(town, 7, time=5)
    assert forked(town, one, again) == Refusal("EquivocationNone", (town.bank_site, 7))


def test_heads_of_two_sizes_are_no_fork_by_themselves(town: World) -> None:
    refused = forked(town, signed(town, 7), signed(town, 8, FORGED))
    assert refused == Refusal("EquivocationNone", (town.bank_site, 7))


@pytest.mark.parametrize("time", [0, 1, 2**63])
def test_what_time_a_head_bears_saves_nobody(town: World, time: int) -> None:
    assert forked(town, signed(town, 7), signed(town, 7, FORGED, time=time)) is None


@pytest.mark.parametrize("key", ["shop key", "stranger", "bank", "bank_node"])
def test_a_head_that_the_site_did_not_sign_convicts_nobody(town: World, key: str) -> None:
    """Anybody could else make one up: another site, a stranger, and accounts for other things."""
    false = signed(town, 7, FORGED, key=key)
    refusal = Refusal("EquivocationNotSigned", (town.bank_site, town.address(key).lower()))
    assert forked(town, signed(town, 7), false) == refusal
    assert forked(town, false, signed(town, 7)) == refusal
    functions = town.equivocations.functions
    anchor(town, 7)
    assert town.refusal(functions.proveAnchoredFork(town.bank_site, false)) == refusal
    other = signed(town, 9, FORGED, key=key)
    assert town.refusal(functions.challenge(town.bank_site, other)) == refusal


@pytest.mark.parametrize(
    "changed",
    [{"chainId": 1}, {"verifyingContract": "0x" + "11" * 20}, {"site": h("another log")}],
    ids=lambda changed: next(iter(changed)),
)
def test_a_head_signed_elsewhere_convicts_nobody(town: World, changed: dict[str, Any]) -> None:
    false = signed(town, 7, FORGED, **changed)
    refused = forked(town, signed(town, 7), false)
    assert refused is not None
    assert refused.error == "EquivocationNotSigned"


def test_a_signature_that_recovers_to_nobody_convicts_nobody(town: World) -> None:
    size, root, time, _, _ = signed(town, 7, FORGED)
    false = (size, root, time, ZERO, ZERO)
    nobody = "0x" + "00" * 20
    refusal = Refusal("EquivocationNotSigned", (town.bank_site, nobody))
    assert forked(town, signed(town, 7), false) == refusal


def test_a_key_is_marked_once(town: World) -> None:
    forked(town, signed(town, 7), signed(town, 7, FORGED))
    again = forked(town, signed(town, 8), signed(town, 8, FORGED))
    already = Refusal("EquivocationMarkedAlready", (town.bank_site, town.address("bank key")))
    assert again == Refusal(already.error, (town.bank_site, town.address("bank key").lower()))
    assert len(marks(town)) == 1


def test_two_keys_of_a_site_that_contradict_each_other_are_both_marked(town: World) -> None:
    town.add_anchor_key(town.bank_site, "bank_node", "second key")
    other = signed(town, 7, FORGED, key="second key")
    assert forked(town, signed(town, 7), other) is None
    assert [key for key, *_ in marks(town)] == [
        town.address("bank key"),
        town.address("second key"),
    ]
    assert town.equivocations.functions.markedSiteCount().call() == 1


def test_of_a_key_that_had_ended_the_mark_says_so(town: World) -> None:
    """It may have been in others' hands; ending it does not undo what it signed either."""
    key = town.sites.functions.anchorKey(town.address("bank key")).call()[1]
    town.send(town.sites.functions.revokeKey(town.bank_site, key), "bank_node")
    ended = town.block
    assert forked(town, signed(town, 7), signed(town, 7, FORGED)) is None
    assert marks(town) == [(town.address("bank key"), TWO_CHECKPOINTS, 7, ended)]


def test_a_head_against_the_anchored_one_marks_the_site(town: World) -> None:
    anchor(town, 7)
    prove = town.equivocations.functions.proveAnchoredFork
    same = town.refusal(prove(town.bank_site, signed(town, 7)))
    assert same == Refusal("EquivocationNone", (town.bank_site, 7))
    unknown = town.refusal(prove(town.bank_site, signed(town, 8, FORGED)))
    assert unknown == Refusal("AnchorUnknown", (town.bank_site, 8))
    town.send(prove(town.bank_site, signed(town, 7, FORGED)), "stranger")
    assert marks(town) == [(town.address("bank key"), ANOTHER_ANCHOR, 7, 0)]
    again = town.refusal(prove(town.bank_site, signed(town, 7, FORGED)))
    assert again is not None
    assert again.error == "EquivocationMarkedAlready"


# ------------------------------------------------------------------------------ challenges


@pytest.mark.parametrize("size", [1, 4, 5, 12])
def test_an_older_head_is_proved_by_the_anchored_one(town: World, size: int) -> None:
    anchor(town, 13)
    id = challenge(town, signed(town, size))
    assert state(town, id) == OPEN
    assert answer(town, id, 13, *TREE.consistency_proof(size, 13)) is None
    assert state(town, id) == ANSWERED
    town.go_to(town.now + 2 * DAY)
    refused = town.refusal(town.equivocations.functions.settle(id))
    assert refused is not None
    assert refused.error == "ChallengeNotOverdue"
    assert marks(town) == []


def test_a_newer_head_is_proved_once_the_site_anchors_past_it(town: World) -> None:
    anchor(town, 7)
    id = challenge(town, signed(town, 13))
    backwards = answer(town, id, 7, *TREE.consistency_proof(7, 13))
    assert backwards == Refusal("ChallengeInconsistent", (id, 7))
    anchor(town, 20, 7)
    assert answer(town, id, 20, *TREE.consistency_proof(13, 20)) is None
    assert state(town, id) == ANSWERED


def test_a_newer_head_is_proved_by_being_anchored(town: World) -> None:
    id = challenge(town, signed(town, 13))
    assert answer(town, id, 13) == Refusal("AnchorUnknown", (town.bank_site, 13))
    anchor(town, 13)
    assert answer(town, id, 13) is None


@pytest.mark.parametrize("size", [5, 12])
def test_a_head_of_another_log_has_no_answer_and_marks_after_a_day(town: World, size: int) -> None:
    anchor(town, 13)
    given = signed(town, size, FORGED)
    id = challenge(town, given)
    for tree in (TREE, FORGED):
        refused = answer(town, id, 13, *tree.consistency_proof(size, 13))
        assert refused == Refusal("ChallengeInconsistent", (id, 13))
    settle = town.equivocations.functions.settle(id)
    until = town.equivocations.functions.challengeOf(id).call()[7]
    town.go_to(until - 2)
    assert town.refusal(settle) == Refusal("ChallengeNotOverdue", (id, until))
    town.go_to(until + 1)
    assert state(town, id) == OVERDUE
    town.send(settle, "stranger")
    assert state(town, id) == SETTLED
    assert marks(town) == [(town.address("bank key"), UNANSWERED, size, 0)]


def test_who_is_silent_about_its_own_head_is_marked_and_may_still_prove_it(town: World) -> None:
    anchor(town, 13)
    id = challenge(town, signed(town, 5))
    town.go_to(town.now + DAY + 1)
    town.send(town.equivocations.functions.settle(id), "stranger")
    assert answer(town, id, 13, *TREE.consistency_proof(5, 13)) is None
    assert state(town, id) == ANSWERED_LATE
    assert len(marks(town)) == 1


def test_a_late_answer_counts_while_nobody_has_settled(town: World) -> None:
    anchor(town, 13)
    id = challenge(town, signed(town, 5))
    town.go_to(town.now + 2 * DAY)
    assert answer(town, id, 13, *TREE.consistency_proof(5, 13)) is None
    refused = town.refusal(town.equivocations.functions.settle(id))
    assert refused is not None
    assert refused.error == "ChallengeNotOverdue"


def test_a_challenge_is_answered_once(town: World) -> None:
    anchor(town, 13)
    id = challenge(town, signed(town, 5))
    proof = TREE.consistency_proof(5, 13)
    assert answer(town, id, 13, *[h("x")] * 66) == Refusal("AnchorProofTooLong", (66, 65))
    assert answer(town, id, 13, *proof) is None
    assert answer(town, id, 13, *proof) == Refusal("ChallengeAlreadyAnswered", (id, town.block))


def test_what_is_anchored_is_not_challenged(town: World) -> None:
    anchor(town, 13)
    functions = town.equivocations.functions
    for tree in (TREE, FORGED):
        refused = town.refusal(functions.challenge(town.bank_site, signed(town, 13, tree)))
        assert refused == Refusal("ChallengeAnchored", (town.bank_site, 13, TREE.root(13)))


def test_an_empty_log_is_not_challenged(town: World) -> None:
    """There is no proof of consistency from it, so an honest site could not answer."""
    empty = signed(town, 0, root=h("empty"))
    refused = town.refusal(town.equivocations.functions.challenge(town.bank_site, empty))
    assert refused == Refusal("EquivocationNone", (town.bank_site, 0))


def test_a_head_is_challenged_once(town: World) -> None:
    id = challenge(town, signed(town, 5))
    again = town.equivocations.functions.challenge(town.bank_site, signed(town, 5, time=9))
    assert town.refusal(again, "clinic") == Refusal("ChallengeTaken", (id,))
    anchor(town, 13)
    answer(town, id, 13, *TREE.consistency_proof(5, 13))
    assert town.refusal(again, "clinic") == Refusal("ChallengeTaken", (id,))


def test_nobody_uses_up_the_challenges_of_another(town: World) -> None:
    """Four open ones for a member and its sites together, four for all who are no member."""
    functions = town.equivocations.functions
    sizes = iter(range(1, 20))
    for actors in (("shop", "shop_node"), ("stranger", "relayer")):
        for n in range(4):
            challenge(town, signed(town, next(sizes)), actors[n % 2])
        more = functions.challenge(town.bank_site, signed(town, next(sizes)))
        member = town.shop if "shop" in actors else ZERO
        for actor in actors:
            refused = town.refusal(more, actor)
            assert refused == Refusal("ChallengeTooMany", (town.bank_site, member, 4))
    challenge(town, signed(town, next(sizes)), "clinic")
    assert functions.challengeCount().call() == 9
    assert len(functions.challenges(0, 20).call()) == 9


@pytest.mark.parametrize("is_answered", [True, False])
def test_an_answered_or_settled_challenge_makes_room(town: World, is_answered: bool) -> None:
    anchor(town, 13)
    ids = [challenge(town, signed(town, size)) for size in (1, 2, 3, 4)]
    more = town.equivocations.functions.challenge(town.bank_site, signed(town, 5))
    assert town.refusal(more, "shop") is not None
    if is_answered:
        assert answer(town, ids[0], 13, *TREE.consistency_proof(1, 13)) is None
    else:
        town.go_to(town.now + DAY + 1)
        town.send(town.equivocations.functions.settle(ids[0]), "stranger")
        town.add_anchor_key(town.bank_site, "bank_node", "next key")
        other = signed(town, 5, key="next key")  # the first key has its mark
        more = town.equivocations.functions.challenge(town.bank_site, other)
    assert town.refusal(more, "shop") is None


def test_a_suspended_member_challenges_as_anybody(town: World) -> None:
    town.send(town.membership.functions.suspend(town.shop), "authority")
    for actor, size in (("shop", 5), ("shop_node", 6)):
        id = challenge(town, signed(town, size), actor)
        assert town.equivocations.functions.challengeOf(id).call()[5] == ZERO


def test_a_marked_key_is_not_challenged(town: World) -> None:
    forked(town, signed(town, 7), signed(town, 7, FORGED))
    refused = town.refusal(town.equivocations.functions.challenge(town.bank_site, signed(town, 5)))
    assert refused is not None
    assert refused.error == "EquivocationMarkedAlready"


def test_what_was_not_asked_is_unknown(town: World) -> None:
    functions = town.equivocations.functions
    unknown = Refusal("ChallengeUnknown", (h("x"),))
    for call in (
        functions.challengeOf(h("x")),
        functions.settle(h("x")),
        functions.answerChallenge(h("x"), 1, []),
    ):
        assert town.refusal(call) == unknown
    assert state(town, h("x")) == NONE


# ------------------------------------------------------------------------------ sizes


def vast(world: World, size: int, root: bytes) -> Signed:
    """A head of more entries than there are to make a tree of, signed by the bank's key."""
    time, r, vs = world.sign_head("bank key", world.bank_site, size, root)
    return size, root, time, r, vs


@pytest.mark.parametrize("size", [2**53, 2**64 - 1])
def test_a_head_of_a_size_that_no_reader_counts_exactly_is_no_evidence(
    town: World, size: int
) -> None:
    """A site signs it for itself, to stop whoever reads what the chain tells of it."""
    one, other = vast(town, size, h("one")), vast(town, size, h("other"))
    refusal = Refusal("EquivocationNone", (town.bank_site, size))
    assert forked(town, one, other) == refusal
    functions = town.equivocations.functions
    assert town.refusal(functions.challenge(town.bank_site, one), "shop") == refusal
    assert town.refusal(functions.proveAnchoredFork(town.bank_site, one)) == refusal
    assert marks(town) == []


def test_the_largest_head_that_every_reader_counts_is_evidence(town: World) -> None:
    one, other = vast(town, 2**53 - 1, h("one")), vast(town, 2**53 - 1, h("other"))
    assert forked(town, one, other) is None
    assert marks(town) == [(town.address("bank key"), TWO_CHECKPOINTS, 2**53 - 1, 0)]
