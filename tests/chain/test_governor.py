"""The client of the governor says what the governor says, and its ballots are taken."""

import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import pytest
from eth_account.signers.local import LocalAccount

from chain.breakglass import EmergencyState
from chain.calls import Call
from chain.disputes import DisputeState
from chain.errors import ContractRefused
from chain.governor import Proposal, ProposalState, proposal_id_text, sign_ballot
from chain.indexer import Indexer
from chain.proposals import actions, description
from chain.testing import InProcessChain
from chain.timelock import ADMIN_ROLE, ANYONE, CANCELLER_ROLE, EXECUTOR_ROLE, PROPOSER_ROLE
from tests.chain.agenda import AGENDA, DOCTORS, NEW_CODE, TEXT
from tests.chain.parliament import (
    DEPLOYER,
    FOUNDERS,
    SETTINGS,
    STRANGER,
    Parliament,
    a_draft,
)
from tests.chain.test_indexer import Memory

BITS = a_draft("set-minimum", name="key-bits", value=4096)


@pytest.fixture(scope="module")
def governed() -> tuple[InProcessChain, Parliament]:
    chain = InProcessChain()
    return chain, Parliament(chain.client, chain.mine, chain.travel).found()


@pytest.fixture
def parliament(governed: tuple[InProcessChain, Parliament]) -> Iterator[Parliament]:
    chain, found = governed
    before = chain.snapshot()
    yield found.afresh()
    chain.revert(before)


def test_id_and_operation_are_those_of_the_contracts(parliament: Parliament) -> None:
    net = parliament.network
    drafts = (BITS, a_draft("set-voting", voting_delay=9, timelock_delay=9))
    proposal = Proposal(parliament.actions(*drafts), description(BITS, None))
    args = (*proposal.arguments(), proposal.description_hash)
    call = Call("ConsortiumGovernor", "getProposalId", args, net.governor.address)
    assert proposal.id == proposal_id_text(net.client.call(call))
    salt = bytes.fromhex(net.governor.address[2:]).ljust(32, b"\0")
    mixed = int.from_bytes(salt) ^ int(proposal.description_hash, 16)
    batch = (*proposal.arguments(), "0x" + "00" * 32, f"{mixed:#066x}")
    hashed = Call("TimelockController", "hashOperationBatch", batch, net.timelock.address)
    assert proposal.operation(net.governor.address) == net.client.call(hashed)


def test_proposal_is_seen_on_all_its_way(parliament: Parliament) -> None:
    governor, timelock = parliament.network.governor, parliament.network.timelock
    proposal = parliament.propose(BITS)
    seen = governor.proposal(proposal.id)
    assert (seen.id, seen.state) == (proposal.id, ProposalState.PENDING)
    assert seen.proposer == FOUNDERS["bank"].address
    assert seen.deadline == seen.snapshot + SETTINGS.voting_period
    assert (seen.quorum, seen.eta) == (None, 0)
    parliament.await_vote(proposal)
    assert governor.state(proposal.id) is ProposalState.ACTIVE
    for name, support in (("bank", "for"), ("shop", "for"), ("clinic", "against")):
        parliament.send(FOUNDERS[name], governor.vote(proposal.id, support, "I say so"))
    assert governor.has_voted(proposal.id, str(FOUNDERS["shop"].address))
    assert not governor.has_voted(proposal.id, str(STRANGER.address))
    seen = governor.proposal(proposal.id)
    assert (seen.for_, seen.against, seen.abstain, seen.quorum) == (2, 1, 0, 2)
    parliament.mine(SETTINGS.voting_period)
    assert governor.state(proposal.id) is ProposalState.SUCCEEDED
    parliament.send(STRANGER, governor.queue(proposal))
    seen = governor.proposal(proposal.id)
    assert seen.state is ProposalState.QUEUED
    assert seen.eta == timelock.ready_at(proposal.operation(governor.address)) > 0
    parliament.travel(SETTINGS.timelock_delay + 1)
    parliament.execute(proposal)
    assert governor.state(proposal.id) is ProposalState.EXECUTED
    assert governor.state(proposal.id).is_final
    assert parliament.network.consortium.minimum("key-bits") == 4096


def test_event_holds_the_proposal_whole(parliament: Parliament) -> None:
    made = a_draft("set-voting", voting_delay=9, quorum_minimum=1)
    text = description(made, None)
    governor = parliament.network.governor
    calls = actions(made, parliament.network)
    receipt = parliament.send(FOUNDERS["bank"], governor.propose(calls, text))
    args = receipt.event("ProposalCreated").args
    found = Proposal.from_event(args)
    assert found == Proposal(calls, text)
    assert found.id == proposal_id_text(args["proposalId"])


def test_signed_ballot_counts_whoever_relays_it(parliament: Parliament) -> None:
    governor = parliament.network.governor
    proposal = parliament.propose(BITS)
    parliament.await_vote(proposal)
    shop = FOUNDERS["shop"]
    ballot = governor.ballot(proposal.id, "abstain", str(shop.address).lower(), "not sure")
    assert all(isinstance(ballot["message"][name], str) for name in ("proposalId", "nonce"))
    args = ("abstain", str(shop.address), "not sure", sign_ballot(shop, ballot))
    receipt = parliament.send(STRANGER, governor.vote_by_signature(proposal.id, *args))
    told = receipt.event("VoteCast").args
    assert (told["voter"], told["support"], told["reason"]) == (shop.address, 2, "not sure")
    with pytest.raises(ContractRefused, match="GovernorInvalidSignature"):
        parliament.send(STRANGER, governor.vote_by_signature(proposal.id, *args))


@pytest.mark.parametrize("change", [{"support": "for"}, {"reason": "sure"}, {"voter": "clinic"}])
def test_ballot_says_nothing_else_than_what_was_signed(
    parliament: Parliament, change: dict[str, str]
) -> None:
    governor = parliament.network.governor
    proposal = parliament.propose(BITS)
    parliament.await_vote(proposal)
    voter = str(FOUNDERS["shop"].address)
    ballot = governor.ballot(proposal.id, "against", voter, "no")
    signature = sign_ballot(FOUNDERS["shop"], ballot)
    if "voter" in change:
        voter = str(FOUNDERS[change["voter"]].address)
    support, reason = change.get("support", "against"), change.get("reason", "no")
    relayed = governor.vote_by_signature(proposal.id, support, voter, reason, signature)
    with pytest.raises(ContractRefused, match="GovernorInvalidSignature"):
        parliament.send(STRANGER, relayed)


def test_proposer_withdraws_during_the_vote_and_cancels_before_it(parliament: Parliament) -> None:
    governor = parliament.network.governor
    first = parliament.propose(BITS)
    parliament.send(FOUNDERS["bank"], governor.cancel(first))
    assert governor.state(first.id) is ProposalState.CANCELED
    second = parliament.propose(a_draft("set-minimum", name="min-rows", value=9))
    parliament.await_vote(second)
    with pytest.raises(ContractRefused, match="GovernorUnableToCancel"):
        parliament.send(FOUNDERS["shop"], governor.withdraw(second.id))
    parliament.send(FOUNDERS["bank"], governor.withdraw(second.id))
    assert governor.state(second.id) is ProposalState.CANCELED


def test_unknown_proposal_is_refused(parliament: Parliament) -> None:
    with pytest.raises(ContractRefused, match="GovernorNonexistentProposal"):
        parliament.network.governor.proposal("0x" + "77" * 32)


def test_settings_are_those_of_the_deployment(parliament: Parliament) -> None:
    governor = parliament.network.governor
    assert governor.settings() == SETTINGS
    assert governor.quorum_minimum() == SETTINGS.quorum_minimum
    assert governor.token() == parliament.network.membership.address
    assert governor.timelock() == parliament.network.timelock.address


def test_governor_alone_puts_into_the_timelock_and_nobody_administers_it(
    parliament: Parliament,
) -> None:
    net = parliament.network
    accounts = [str(a.address) for a in (DEPLOYER, STRANGER, *FOUNDERS.values())]
    others = [ANYONE, net.consortium.address, net.timelock.address, *accounts]
    for role in (PROPOSER_ROLE, CANCELLER_ROLE):
        assert net.timelock.has_role(role, net.governor.address)
        assert not any(net.timelock.has_role(role, account) for account in others)
    assert net.timelock.has_role(EXECUTOR_ROLE, ANYONE)
    assert not any(net.timelock.has_role(ADMIN_ROLE, account) for account in accounts)
    assert net.consortium.authority() == net.timelock.address


@pytest.mark.parametrize("account", [DEPLOYER, STRANGER, *FOUNDERS.values()])
def test_nobody_has_power_of_its_own(parliament: Parliament, account: LocalAccount) -> None:
    net, own = parliament.network, str(account.address)
    for contract, function, args, refusal in (
        (net.consortium, "setMinimum", ("key-bits", 1), "ConsortiumNotAuthority"),
        (net.consortium, "moveAuthority", (own,), "ConsortiumNotAuthority"),
        (net.governor, "setVotingDelay", (0,), "GovernorOnlyExecutor"),
        (net.timelock, "updateDelay", (0,), "TimelockUnauthorizedCaller"),
        (net.timelock, "grantRole", (PROPOSER_ROLE, own), "AccessControlUnauthorizedAccount"),
    ):
        call = Call(contract.artifact, function, args, contract.address)
        with pytest.raises(ContractRefused, match=refusal):
            net.client.simulate(call, own)


def test_events_of_governance_are_indexed_by_name(parliament: Parliament) -> None:
    for kind in ("allow-algorithm", "rule-dispute", "release-brake", "review-break-glass"):
        parliament.carry(AGENDA[kind](parliament))
    parliament.carry(AGENDA["name-issuer"](parliament), AGENDA["require-attestation"](parliament))
    attest = parliament.network.attestations.attest(
        parliament.member("bank"), "iso27001", TEXT, parliament.world.now() + 3600
    )
    parliament.send(STRANGER, attest)
    store, client = Memory(), parliament.network.client
    first = parliament.world.deployment.from_block
    Indexer(client, parliament.network, store, 0, first_block=first).step()
    told = {(event.contract, event.name) for event in store.events}
    assert {name for _, name in told if name == "Unknown"} == set()
    assert told >= {
        ("ConsortiumGovernor", "ProposalCreated"),
        ("ConsortiumGovernor", "VoteCast"),
        ("ConsortiumGovernor", "ProposalQueued"),
        ("ConsortiumGovernor", "ProposalExecuted"),
        ("TimelockController", "CallScheduled"),
        ("TimelockController", "CallExecuted"),
        ("Reviews", "CodeSubmitted"),
        ("Reviews", "CodeReviewed"),
        ("Attestations", "AttestationGiven"),
        ("Attestations", "AttestationRequirementSet"),
        ("Disputes", "DisputeOpened"),
        ("Disputes", "DisputeRuling"),
        ("Brake", "BrakePaused"),
        ("Brake", "BrakeReleased"),
        ("BreakGlass", "BreakGlassOpened"),
        ("BreakGlass", "BreakGlassReviewed"),
    }


def test_facts_of_the_new_contracts_are_read_as_written(parliament: Parliament) -> None:
    net, shop, clinic = parliament.network, parliament.member("shop"), parliament.member("clinic")
    AGENDA["allow-algorithm"](parliament)
    net.reviews.require_reviewed(NEW_CODE)
    assert net.reviews.submissions() == (NEW_CODE,)
    assert net.reviews.submission(NEW_CODE).author == parliament.member("bank")
    opinions = net.reviews.reviews_of(NEW_CODE)
    assert [(o.member, o.approves, o.report) for o in opinions] == [
        (shop, True, TEXT),
        (clinic, True, TEXT),
    ]
    assert net.reviews.member_of_person(opinions[0].person) == shop

    ruled = AGENDA["rule-dispute"](parliament).params_json()["dispute"]
    assert net.disputes.disputes() == (ruled,)
    dispute = net.disputes.dispute(ruled)
    assert (dispute.respondent, dispute.about, dispute.answer, dispute.ruling) == (
        shop,
        "dataset",
        None,
        None,
    )
    parliament.send(FOUNDERS["shop"], net.disputes.answer(ruled, TEXT))
    assert net.disputes.dispute(ruled).answer == TEXT
    assert net.disputes.state(ruled) is DisputeState.ANSWERED

    AGENDA["release-brake"](parliament)
    assert net.brake.paused_until() > parliament.world.now()
    assert (net.brake.voices(), net.brake.members_needed()) == ((), 2)
    assert net.brake.pause_seconds() == 24 * 3600
    with pytest.raises(ContractRefused, match="BrakePulled"):
        net.brake.require_released()

    assert net.attestations.attestation(shop, "iso27001", str(STRANGER.address)) is None
    net.attestations.require_all(shop)


def test_emergency_is_read_as_it_was_opened(parliament: Parliament) -> None:
    opened = AGENDA["review-break-glass"](parliament).params_json()["emergency"]
    glass = parliament.network.breakglass
    found = glass.emergency(opened)
    assert glass.emergencies() == (opened,)
    assert (found.owner, found.purpose) == (parliament.member("shop"), TEXT)
    assert (found.first, found.second) == tuple(str(person.address) for person in DOCTORS)
    assert found.review_by == found.until + 7 * 24 * 3600
    assert glass.state(opened) is EmergencyState.UNREVIEWED


@pytest.mark.parametrize(
    ("interface", "states"),
    [("IDisputes", DisputeState), ("IBreakGlass", EmergencyState)],
)
def test_states_stand_in_the_contracts_order(interface: str, states: type[StrEnum]) -> None:
    folder = Path(__file__).parents[2] / "contracts" / "interfaces"
    text = (folder / f"{interface}.sol").read_text()
    body = re.search(r"enum State \{(.*?)\}", text, re.DOTALL)
    assert body is not None
    assert [name.strip().upper() for name in body[1].split(",")] == [str(s) for s in states]
