"""Members decide, and nobody else: proposals, votes, quorum, the wait, the act."""

from collections.abc import Callable, Iterator, Mapping
from copy import copy

import pytest
from web3.contract.contract import ContractFunction

from chain.compile import Artifact, load
from tests.contracts.government import (
    ABSTAIN,
    ACTIVE,
    AGAINST,
    CANCELED,
    DEFEATED,
    DELAY,
    EXECUTED,
    EXTENSION,
    FOR,
    MINIMUM,
    PENDING,
    PERIOD,
    QUEUED,
    SUCCEEDED,
    WAIT,
    Government,
)
from tests.contracts.world import Refusal, World, w

ONE = 1


@pytest.fixture(scope="module")
def founded(deployed: World) -> Iterator[Government]:
    """The bank, the shop and the clinic govern."""
    with deployed.anchored():
        yield Government(deployed).found()


@pytest.fixture
def government(founded: Government, world: World) -> Government:
    return founded


def minimum(world: World, value: int = 4096) -> ContractFunction:
    """Something to decide."""
    return world.consortium.functions.setMinimum(w("key-bits"), value)


def error(refusal: Refusal | None) -> str | None:
    return None if refusal is None else refusal.error


# ── A proposal's way


def test_what_the_members_voted_for_is_done_after_the_wait(
    government: Government, world: World
) -> None:
    proposal = government.propose(minimum(world))
    assert government.state(proposal) == PENDING
    world.mine(DELAY + 1)
    assert government.state(proposal) == ACTIVE
    government.vote(proposal, "bank")
    government.vote(proposal, "shop")
    government.close(proposal)
    assert government.state(proposal) == SUCCEEDED
    world.send(government.governor.functions.queue(*proposal.content), "stranger")
    assert government.state(proposal) == QUEUED

    early = world.refusal(government.executing(proposal))
    assert error(early) == "TimelockUnexpectedOperationState"
    world.go_to(world.now + WAIT)
    world.send(government.executing(proposal), "stranger")

    assert government.state(proposal) == EXECUTED
    assert world.consortium.functions.minimum(w("key-bits")).call() == 4096
    assert error(world.refusal(government.executing(proposal))) == "GovernorUnexpectedProposalState"


def test_all_actions_of_a_proposal_are_done_or_none(government: Government, world: World) -> None:
    impossible = world.consortium.functions.withdrawScheme(w("lattice"))
    proposal = government.queued(minimum(world), impossible)
    refused = world.refusal(government.executing(proposal))
    assert refused == Refusal("ConsortiumSchemeNotAdmitted", (w("lattice"),))
    assert world.consortium.functions.minimum(w("key-bits")).call() == 0


def test_a_vote_has_a_reason(government: Government, world: World) -> None:
    proposal = government.opened(minimum(world))
    cast = government.governor.functions.castVoteWithReason(proposal.id, AGAINST, "too dear")
    receipt = world.send(cast, "shop")
    ((name, found),) = world.events(receipt, government.governor)
    assert name == "VoteCast"
    assert (found["voter"], found["support"], found["weight"], found["reason"]) == (
        world.address("shop"),
        AGAINST,
        ONE,
        "too dear",
    )
    assert government.governor.functions.proposalVotes(proposal.id).call() == [1, 0, 0]


@pytest.mark.parametrize(
    ("votes", "state"),
    [
        ({}, DEFEATED),
        ({"bank": FOR}, DEFEATED),
        ({"bank": FOR, "shop": AGAINST}, DEFEATED),
        ({"bank": FOR, "shop": ABSTAIN}, SUCCEEDED),
        ({"bank": ABSTAIN, "shop": ABSTAIN, "clinic": ABSTAIN}, DEFEATED),
        ({"bank": FOR, "shop": FOR}, SUCCEEDED),
        ({"bank": FOR, "shop": FOR, "clinic": AGAINST}, SUCCEEDED),
        ({"bank": FOR, "shop": AGAINST, "clinic": AGAINST}, DEFEATED),
    ],
)
def test_votes_decide_as_the_table_says(
    government: Government, world: World, votes: Mapping[str, int], state: int
) -> None:
    proposal = government.opened(minimum(world))
    for voter, support in votes.items():
        government.vote(proposal, voter, support)
    government.close(proposal)
    assert government.state(proposal) == state


def test_what_was_voted_down_is_not_queued(government: Government, world: World) -> None:
    proposal = government.passed(minimum(world), voters=())
    refused = world.refusal(government.governor.functions.queue(*proposal.content), "bank")
    assert error(refused) == "GovernorUnexpectedProposalState"


def test_the_same_content_is_proposed_once(government: Government, world: World) -> None:
    proposal = government.propose(minimum(world))
    refused = world.refusal(government.proposing(proposal), "shop")
    assert refused == Refusal("GovernorUnexpectedProposalState", (proposal.id, PENDING, bytes(32)))


def test_proposals_of_the_same_actions_go_their_ways_apart(
    government: Government, world: World
) -> None:
    first, second = (government.queued(minimum(world)) for _ in range(2))
    assert first.id != second.id
    for proposal in (second, first):
        world.send(government.executing(proposal), "stranger")
        assert government.state(proposal) == EXECUTED


def test_a_proposal_that_names_its_proposer_is_nobody_elses(
    government: Government, world: World
) -> None:
    """Else a member who sees it on its way proposes it first, and withdraws it for good."""
    named = f"why #proposer={world.address('bank')}"
    proposing = government.proposing(government.drafted(minimum(world), description=named))
    refused = world.refusal(proposing, "shop")
    assert refused == Refusal("GovernorRestrictedProposer", (world.address("shop").lower(),))
    world.send(proposing, "bank")


# ── Who takes part


@pytest.mark.parametrize("actor", ["stranger", "bank_node", "authority"])
def test_only_a_member_proposes(government: Government, world: World, actor: str) -> None:
    proposing = government.proposing(government.drafted(minimum(world)))
    refused = world.refusal(proposing, actor)
    account = world.address(actor).lower()
    assert refused == Refusal("GovernorInsufficientProposerVotes", (account, 0, ONE))


def test_a_member_votes_once(government: Government, world: World) -> None:
    proposal = government.opened(minimum(world))
    government.vote(proposal, "bank")
    for support in (AGAINST, FOR):
        again = government.governor.functions.castVote(proposal.id, support)
        refused = world.refusal(again, "bank")
        assert refused == Refusal("GovernorAlreadyCastVote", (world.address("bank").lower(),))


def test_nobody_votes_before_the_vote_or_after_it(government: Government, world: World) -> None:
    proposal = government.propose(minimum(world))
    cast = government.governor.functions.castVote(proposal.id, FOR)
    assert error(world.refusal(cast, "bank")) == "GovernorUnexpectedProposalState"
    world.mine(DELAY + 1)
    assert world.refusal(cast, "bank") is None
    government.close(proposal)
    assert error(world.refusal(cast, "bank")) == "GovernorUnexpectedProposalState"


def test_the_last_block_of_the_vote_counts(government: Government, world: World) -> None:
    proposal = government.opened(minimum(world))
    deadline = government.governor.functions.proposalDeadline(proposal.id).call()
    world.mine(deadline - world.block - 1)
    government.vote(proposal, "bank")
    assert world.block == deadline


@pytest.mark.parametrize("how", ["suspend", "expel"])
def test_who_is_no_active_member_any_more_neither_votes_nor_proposes(
    government: Government, world: World, how: str
) -> None:
    running = government.while_running(
        minimum(world), world.membership.functions[how](world.clinic)
    )
    account = world.address("clinic").lower()
    votes = government.governor.functions
    snapshot = votes.proposalSnapshot(running.id).call()
    assert votes.getVotes(world.address("clinic"), snapshot).call() == ONE
    refused = Refusal("GovernorVoterNotActive", (account,))
    assert world.refusal(votes.castVote(running.id, FOR), "clinic") == refused
    ballot = government.ballot(running, "clinic")
    casting = government.casting(ballot, government.sign(ballot, "clinic"))
    assert world.refusal(casting, "relayer") == refused

    world.mine()
    proposing = government.proposing(government.drafted(minimum(world, 1)))
    assert error(world.refusal(proposing, "clinic")) == "GovernorInsufficientProposerVotes"


def test_a_member_that_was_active_a_block_ago_does_not_propose(
    government: Government, world: World
) -> None:
    """It holds a vote at the block before, which is where the library looks."""
    government.enact(world.membership.functions.suspend(world.clinic))
    proposing = government.proposing(government.drafted(minimum(world)))
    account = world.address("clinic")
    assert government.governor.functions.getVotes(account, world.block - 1).call() == ONE
    refused = world.refusal(proposing, "clinic")
    assert refused == Refusal("GovernorVoterNotActive", (account.lower(),))


def test_a_reinstated_member_votes_in_what_began_before_its_suspension(
    government: Government, world: World
) -> None:
    moves = world.membership.functions
    running = government.while_running(
        minimum(world), moves.suspend(world.clinic), moves.reinstate(world.clinic)
    )
    government.vote(running, "clinic")
    assert government.governor.functions.proposalVotes(running.id).call() == [0, ONE, 0]


# ── The electorate of a proposal is that of its snapshot


def test_a_member_admitted_during_a_vote_does_not_count_in_it(
    government: Government, world: World
) -> None:
    running = government.while_running(minimum(world), world.admission("newcomer", "Bakery", 7))
    government.vote(running, "newcomer")
    assert government.governor.functions.proposalVotes(running.id).call() == [0, 0, 0]
    snapshot = government.governor.functions.proposalSnapshot(running.id).call()
    assert government.governor.functions.quorum(snapshot).call() == 2
    government.vote(running, "bank")
    government.vote(running, "shop")
    government.close(running)
    assert government.state(running) == SUCCEEDED


def test_a_recovered_member_does_not_vote_twice(government: Government, world: World) -> None:
    """Its new account has no vote in what began before, and its old one none any more."""
    running = government.while_running(minimum(world), world.recovery(world.clinic, "newcomer"))
    cast = government.governor.functions.castVote(running.id, FOR)
    refused = world.refusal(cast, "clinic")
    assert refused == Refusal("GovernorVoterNotActive", (world.address("clinic").lower(),))
    government.vote(running, "newcomer")
    assert government.governor.functions.proposalVotes(running.id).call() == [0, 0, 0]

    following = government.opened(minimum(world, 1), by="newcomer")
    government.vote(following, "newcomer")
    assert government.governor.functions.proposalVotes(following.id).call() == [0, ONE, 0]


# ── Quorum


# members -> votes that decide: two thirds, rounded up. Of two members both, else one would decide.
QUORUM = {1: 1, 2: 2, 3: 2, 4: 3, 5: 4, 6: 4, 7: 5}


@pytest.mark.parametrize("members", QUORUM)
def test_two_thirds_rounded_up_decide(government: Government, world: World, members: int) -> None:
    votes = QUORUM[members]
    assert 3 * votes >= 2 * members > 3 * (votes - 1)
    calls = [world.membership.functions.expel(m) for m in (world.clinic, world.shop)]
    calls = calls[: max(0, 3 - members)]
    for number in range(members - 3):
        world.add_account(f"member {number}")
        calls.append(world.admission(f"member {number}", f"Member {number}", 7))
    if members < MINIMUM:
        calls.insert(0, government.governor.functions.setQuorumMinimum(1))
    if calls:
        government.enact(*calls)
    world.mine()
    before = world.block - 1
    assert world.membership.functions.getPastTotalSupply(before).call() == members
    assert government.governor.functions.quorum(before).call() == votes


def test_a_minimum_holds_for_what_is_proposed_after_it(
    government: Government, world: World
) -> None:
    read = government.governor.functions
    running = government.while_running(minimum(world), read.setQuorumMinimum(3))
    assert read.quorumMinimum().call() == 3
    assert read.quorum(read.proposalSnapshot(running.id).call()).call() == 2
    later = government.opened(minimum(world, 1))
    assert read.quorum(read.proposalSnapshot(later.id).call()).call() == 3
    for proposal in (running, later):
        for voter in ("bank", "shop"):
            government.vote(proposal, voter)
        government.close(proposal)
    assert (government.state(running), government.state(later)) == (SUCCEEDED, DEFEATED)


def test_a_minimum_says_what_it_was(government: Government, world: World) -> None:
    receipt = government.enact(government.governor.functions.setQuorumMinimum(3))
    events = world.events(receipt, government.governor)
    assert ("QuorumMinimumSet", {"from": MINIMUM, "to": 3}) in events


def test_a_minimum_that_nobody_could_reach_is_refused(government: Government, world: World) -> None:
    proposal = government.queued(government.governor.functions.setQuorumMinimum(4))
    refused = world.refusal(government.executing(proposal))
    assert refused == Refusal("GovernorQuorumMinimumTooHigh", (4, 3))


@pytest.mark.parametrize("threshold", [0, 2])
def test_the_threshold_stays_one_vote(government: Government, world: World, threshold: int) -> None:
    """With two, no member could propose again."""
    set_threshold = government.governor.functions.setProposalThreshold(threshold)
    proposal = government.queued(set_threshold)
    refused = world.refusal(government.executing(proposal))
    assert refused == Refusal("GovernorThresholdIsOne", (threshold,))


def test_a_member_cannot_flood_the_others_with_proposals(
    government: Government, world: World
) -> None:
    """Withdrawing does not make room; the end of the vote does; other members are not held up."""
    first = government.propose(minimum(world), description="flood 0")
    world.send(government.governor.functions.withdraw(first.id), "bank")
    for number in range(1, 16):
        government.propose(minimum(world), description=f"flood {number}")
    too_many = government.proposing(government.drafted(minimum(world), description="too many"))
    refused = world.refusal(too_many, "bank")
    assert refused == Refusal("GovernorTooManyProposals", (world.address("bank").lower(), 16))
    government.propose(minimum(world), by="shop", description="another's")
    government.close(first)
    world.send(too_many, "bank")


@pytest.mark.parametrize(
    ("calls", "letters", "found", "limit"), [(65, 3, 65, 64), (1, 2**18, 2**18 + 68, 2**18)]
)
def test_a_proposal_is_no_longer_than_nodes_can_read(
    government: Government, world: World, calls: int, letters: int, found: int, limit: int
) -> None:
    call = minimum(world)
    proposal = government.drafted(*[call] * calls, description="x" * letters)
    refused = world.refusal(government.proposing(proposal), "bank")
    assert refused == Refusal("GovernorProposalTooLong", (found, limit))


def test_a_quorum_reached_late_leaves_time_to_answer(government: Government, world: World) -> None:
    read = government.governor.functions
    proposal = government.opened(minimum(world))
    deadline = read.proposalDeadline(proposal.id).call()
    government.vote(proposal, "bank")
    world.mine(deadline - world.block - 1)
    receipt = government.vote(proposal, "shop")

    extended = deadline + EXTENSION
    assert read.proposalDeadline(proposal.id).call() == extended
    told = {"proposalId": proposal.id, "extendedDeadline": extended}
    assert ("ProposalExtended", told) in world.events(receipt, government.governor)
    world.mine()
    government.vote(proposal, "clinic", AGAINST)
    government.close(proposal)
    assert government.state(proposal) == SUCCEEDED


def test_a_quorum_reached_early_extends_nothing(government: Government, world: World) -> None:
    proposal = government.opened(minimum(world))
    deadline = government.governor.functions.proposalDeadline(proposal.id).call()
    for voter in ("bank", "shop"):
        government.vote(proposal, voter)
    assert government.governor.functions.proposalDeadline(proposal.id).call() == deadline


# ── Votes by signature


def test_a_signed_vote_is_relayed_by_anyone(government: Government, world: World) -> None:
    proposal = government.opened(minimum(world))
    ballot = government.ballot(proposal, "shop")
    receipt = world.send(government.casting(ballot, government.sign(ballot, "shop")), "stranger")
    ((name, found),) = world.events(receipt, government.governor)
    assert (name, found["voter"], found["reason"]) == ("VoteCast", world.address("shop"), "good")
    assert government.governor.functions.proposalVotes(proposal.id).call() == [0, ONE, 0]


def test_a_signed_vote_that_two_nodes_relay_counts_once(
    government: Government, world: World
) -> None:
    proposal = government.opened(minimum(world))
    ballot = government.ballot(proposal, "shop")
    signature = government.sign(ballot, "shop")
    world.send(government.casting(ballot, signature), "bank_node")
    refused = world.refusal(government.casting(ballot, signature), "clinic_node")
    assert refused == Refusal("GovernorInvalidSignature", (world.address("shop").lower(),))
    again = government.ballot(proposal, "shop")
    signed_again = government.casting(again, government.sign(again, "shop"))
    refused = world.refusal(signed_again, "clinic_node")
    assert refused == Refusal("GovernorAlreadyCastVote", (world.address("shop").lower(),))
    assert government.governor.functions.proposalVotes(proposal.id).call() == [0, ONE, 0]


Sign = Callable[[Government, World, dict[str, object]], bytes]
# What was signed is not what is relayed.
FORGED: dict[str, Sign] = {
    "by another": lambda g, world, ballot: g.sign(ballot, "bank"),
    "for another proposal": lambda g, world, ballot: g.sign({**ballot, "proposalId": 1}, "shop"),
    "another way": lambda g, world, ballot: g.sign({**ballot, "support": AGAINST}, "shop"),
    "for another reason": lambda g, world, ballot: g.sign({**ballot, "reason": ""}, "shop"),
    "with another nonce": lambda g, world, ballot: g.sign({**ballot, "nonce": 1}, "shop"),
    "on another chain": lambda g, world, ballot: g.sign(ballot, "shop", chainId=1),
    "for another contract": lambda g, world, ballot: g.sign(
        ballot, "shop", verifyingContract=world.membership.address
    ),
    "under another name": lambda g, world, ballot: g.sign(ballot, "shop", name="Governor"),
    "not at all": lambda g, world, ballot: b"",
}


@pytest.mark.parametrize("sign", FORGED.values(), ids=FORGED)
def test_a_vote_counts_only_as_it_was_signed(
    government: Government, world: World, sign: Sign
) -> None:
    proposal = government.opened(minimum(world))
    ballot = government.ballot(proposal, "shop")
    casting = government.casting(ballot, sign(government, world, ballot))
    refused = world.refusal(casting, "relayer")
    assert refused == Refusal("GovernorInvalidSignature", (world.address("shop").lower(),))


def test_a_contract_account_is_admitted_and_votes(
    government: Government, world: World, compiled: Mapping[str, Artifact]
) -> None:
    wallet = world.create(compiled["Wallet"].abi, compiled["Wallet"].bytecode)
    functions = world.membership.functions
    digest = functions.admissionDigest(wallet.address, "Club", 7).call()
    admit = functions.admit(wallet.address, "Club", 7, b"")
    proposal = government.queued(admit)
    refused = world.refusal(government.executing(proposal))
    assert refused == Refusal("MembershipNotAccepted", (wallet.address.lower(),))
    world.send(wallet.functions.approve(digest), "relayer")
    world.send(government.executing(proposal), "stranger")

    by_hand = government.opened(minimum(world))
    cast = government.governor.functions.castVote(by_hand.id, FOR)
    data = bytes.fromhex(cast._encode_transaction_data()[2:])
    world.send(wallet.functions.execute(government.governor.address, data), "relayer")
    signed = government.opened(minimum(world, 1))
    ballot = government.ballot(signed, wallet.address)
    assert error(world.refusal(government.casting(ballot, b""))) == "GovernorInvalidSignature"
    world.send(wallet.functions.approve(government.digest(ballot)), "relayer")
    world.send(government.casting(ballot, b""), "stranger")
    for voted in (by_hand, signed):
        assert government.governor.functions.proposalVotes(voted.id).call() == [0, ONE, 0]


def test_a_contract_that_signs_nothing_is_not_admitted(
    government: Government, world: World
) -> None:
    """A proxy, a registry: an address with code that answers no ERC-1271."""
    target = world.sites.address
    proposal = government.queued(world.membership.functions.admit(target, "Ghost", 7, b""))
    refused = world.refusal(government.executing(proposal))
    assert refused == Refusal("MembershipNotAccepted", (target.lower(),))


# ── Withdrawing


@pytest.mark.parametrize("when", ["pending", "active"])
def test_the_proposer_withdraws_for_good(government: Government, world: World, when: str) -> None:
    made = government.propose if when == "pending" else government.opened
    proposal = made(minimum(world))
    withdraw = government.governor.functions.withdraw(proposal.id)
    for actor in ("shop", "authority", "stranger"):
        refused = world.refusal(withdraw, actor)
        expected = (proposal.id, world.address(actor).lower())
        assert refused == Refusal("GovernorUnableToCancel", expected)
    receipt = world.send(withdraw, "bank")

    assert world.events(receipt, government.governor) == [
        ("ProposalWithdrawn", {"proposalId": proposal.id, "proposer": world.address("bank")}),
        ("ProposalCanceled", {"proposalId": proposal.id}),
    ]
    assert government.state(proposal) == CANCELED
    cast = government.governor.functions.castVote(proposal.id, FOR)
    again = government.proposing(proposal)
    world.mine(DELAY + 1)
    for call in (cast, again, withdraw, government.executing(proposal)):
        assert error(world.refusal(call, "bank")) == "GovernorUnexpectedProposalState"


def test_what_was_decided_is_not_withdrawn(government: Government, world: World) -> None:
    for proposal in (
        government.passed(minimum(world)),
        government.passed(minimum(world), voters=()),
        government.queued(minimum(world)),
    ):
        withdraw = government.governor.functions.withdraw(proposal.id)
        assert error(world.refusal(withdraw, "bank")) == "GovernorUnexpectedProposalState"


def test_nothing_is_withdrawn_that_was_not_proposed(government: Government, world: World) -> None:
    refused = world.refusal(government.governor.functions.withdraw(5), "bank")
    assert refused == Refusal("GovernorUnableToCancel", (5, world.address("bank").lower()))


# ── The machine itself


def test_another_governor_takes_over_by_a_vote(government: Government, world: World) -> None:
    """It is no proxy: the timelock's roles move, and the timelock stays the authority."""
    code = load("ConsortiumGovernor")
    following = world.create(
        code.abi,
        code.bytecode,
        world.membership.address,
        government.timelock.address,
        DELAY,
        PERIOD,
        MINIMUM,
        EXTENSION,
    )
    roles = government.timelock.functions
    proposer, canceller = roles.PROPOSER_ROLE().call(), roles.CANCELLER_ROLE().call()
    waiting = government.passed(minimum(world, 1))
    government.enact(
        roles.grantRole(proposer, following.address),
        roles.grantRole(canceller, following.address),
        roles.revokeRole(proposer, government.governor.address),
        roles.revokeRole(canceller, government.governor.address),
        world.consortium.functions.setContract(w("governor"), following.address),
    )
    old = world.refusal(government.governor.functions.queue(*waiting.content), "bank")
    assert error(old) == "AccessControlUnauthorizedAccount"
    replaced = copy(government)
    replaced.governor = following
    replaced.enact(minimum(world))
    assert world.consortium.functions.minimum(w("key-bits")).call() == 4096


def test_the_governor_knows_what_it_counts(government: Government) -> None:
    read = government.governor.functions
    assert read.CLOCK_MODE().call() == "mode=blocknumber&from=default"
    assert read.COUNTING_MODE().call() == "support=bravo&quorum=for,abstain"
    assert (read.votingDelay().call(), read.votingPeriod().call()) == (DELAY, PERIOD)
    assert read.proposalThreshold().call() == ONE
    assert read.timelock().call() == government.timelock.address


def test_a_governor_fits_a_chain() -> None:
    assert len(load("ConsortiumGovernor").deployed_bytecode) // 2 - 1 < 24_576
