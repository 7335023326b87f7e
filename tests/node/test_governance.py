"""Proposing, voting and carrying out at a node, with the consortium's real governor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from chain.abi import encode_call, to_hex
from chain.calls import BlockRef
from chain.errors import ContractRefused
from chain.governor import Proposal as Made
from chain.governor import sign_ballot
from chain.membership import sign_admission
from chain.proposals import PARAMS, Action, description
from node import governance, previews
from node.api.views import proposals
from node.api.views.names import Names
from node.api.views.proposals import ProposalShown
from node.audit.entries import type_of
from node.enactment import RETRY_BLOCKS, Enactment
from node.errors import Conflict, Invalid, NodeError, NotFound, Refused
from node.governance import Ballot, ProposalRequest
from node.refusals import from_contract
from node.store import AuditEntry, ChainTx, Proposal, Vote
from node.submission import Submitted
from tests.node.council import SETTINGS, Council, convene, newcomer


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Council]:
    council = convene(tmp_path_factory.mktemp("council"))
    yield council
    council.close()


@pytest.fixture
def council(founded: Council) -> Council:
    """Proposals of different tests have different titles; the chain is not rewound."""
    return founded


@pytest.fixture(scope="module")
def changing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Council]:
    """One whose members come and go."""
    council = convene(tmp_path_factory.mktemp("changing"))
    yield council
    council.close()


def minimum(value: int, title: str, **changes: Any) -> ProposalRequest:
    return ProposalRequest("set-minimum", {"name": "min-rows", "value": value}, title, **changes)


def refused(error: type[NodeError], code: str, call: Any, *args: Any, **kwargs: Any) -> NodeError:
    with pytest.raises(error) as found:
        call(*args, **kwargs)
    assert found.value.code == code
    return found.value


def shown(council: Council, name: str, id: str) -> ProposalShown:
    site = council.sites[name]
    council.sync(name)
    return proposals.show(site, Names(site.network), id)


def entries(council: Council, name: str, kind: str, subject: str) -> list[AuditEntry]:
    with council.sites[name].store.read() as session:
        query = select(AuditEntry).where(
            AuditEntry.type == type_of(kind), AuditEntry.subject == subject
        )
        return list(session.scalars(query))


# ── Proposing ────────────────────────────────────────────────────────────────────────────────


def test_a_preview_tells_what_would_change_and_proposes_nothing(council: Council) -> None:
    before = council.network.client.head()
    made = governance.preview(council.bank, minimum(77, "only looking"))
    assert made.effect.refused is None
    assert "77" in str(made.effect.to_json())
    assert council.network.client.head() == before


def test_a_member_may_be_named_instead_of_its_id(council: Council) -> None:
    request = ProposalRequest("suspend", {"member": "The clinic"}, "by name")
    assert governance.preview(council.bank, request).draft.params_json() == {
        "member": council.members["clinic"]
    }


def test_a_kind_that_does_not_exist_is_refused_with_those_that_do(council: Council) -> None:
    request = ProposalRequest("abdicate", {}, "no such thing")
    problem = refused(Invalid, "ProposalInvalid", governance.preview, council.bank, request)
    assert "admit" in str(problem.allowed)


def test_a_parameter_that_is_wrong_is_named(council: Council) -> None:
    request = ProposalRequest("set-minimum", {"name": "min-rows", "value": "many"}, "wrong")
    problem = refused(Invalid, "ProposalInvalid", governance.preview, council.bank, request)
    assert "value" in problem.detail


def test_every_kind_has_a_schema_and_words() -> None:
    kinds = proposals.kinds()
    assert [kind.kind for kind in kinds] == list(PARAMS)
    assert all(kind.text and kind.parameters["type"] == "object" for kind in kinds)


def test_a_proposal_that_would_fail_is_refused_unless_forced(council: Council) -> None:
    again = ProposalRequest("reinstate", {"member": council.members["bank"]}, "never suspended")
    problem = refused(Refused, "ProposalWouldFail", governance.propose, council.bank, again)
    assert "MembershipNotSuspended" in problem.detail
    assert governance.propose(council.bank, again, force=True).id


def test_the_same_proposal_twice_is_one(council: Council) -> None:
    request = minimum(61, "asked for twice")
    first = governance.propose(council.bank, request)
    assert governance.propose(council.bank, request) == first
    council.settle()
    problem = refused(Conflict, "ProposalExists", governance.propose, council.bank, request)
    assert problem.found["id"] == first.id
    assert "change the title" in str(problem.hint)


def test_the_same_proposal_of_another_member_holds_up_nobody_who_insists(council: Council) -> None:
    """Whoever made it first may mean to withdraw it when the vote is nearly over."""
    request = minimum(63, "made first to be withdrawn")
    first = governance.propose(council.bank, request)
    council.settle()
    problem = refused(Conflict, "ProposalExists", governance.propose, council.shop, request)
    assert problem.found["id"] == first.id
    assert "force" in str(problem.hint)
    second = governance.propose(council.shop, request, force=True)
    assert second.id != first.id


def test_nobody_can_make_anothers_proposal_first_and_withdraw_it(council: Council) -> None:
    id = council.propose("bank", "set-minimum", "whoever asks", name="min-rows", value=62)
    text = council.row("bank", id).description
    assert text.endswith(f"#proposer={council.bank.identity.address}")
    copied = council.network.governor.propose(
        governance.made_of(council.row("bank", id)).actions, text
    )
    with pytest.raises(ContractRefused) as refusal:
        council.network.client.simulate(copied, sender=council.shop.identity.address)
    assert refusal.value.error == "GovernorRestrictedProposer"


def test_a_node_of_no_member_cannot_propose(council: Council) -> None:
    with pytest.raises(ContractRefused) as refusal:
        governance.propose(council.stranger, minimum(63, "from outside"))
    assert from_contract(refusal.value).code == "NotAVoter"


def test_every_node_learns_of_a_proposal_and_what_it_would_do(council: Council) -> None:
    id = council.propose("bank", "set-minimum", "known to all", name="min-rows", value=64)
    for name in ("bank", "shop", "clinic", "stranger"):
        row = council.row(name, id)
        assert (row.state, row.kind, row.title) == ("PENDING", "set-minimum", "known to all")
        assert row.params == {"name": "min-rows", "value": 64}
        assert row.proposer == council.bank.identity.address
        assert row.effect_digest == row.declared_digest is not None
    assert len(entries(council, "bank", "proposal.made", id)) == 1
    assert entries(council, "shop", "proposal.made", id) == []


def test_a_proposal_says_what_it_would_do_in_plain_words(council: Council) -> None:
    id = council.propose("shop", "set-minimum", "in plain words", name="min-rows", value=65)
    view = shown(council, "clinic", id)
    assert [action.text for action in view.actions] == ["set the minimum 'min-rows' to 65"]
    assert view.effect_check.verdict == "as proposed"
    assert view.warnings == []
    assert view.member is not None
    assert view.member.name == "The shop"
    assert view.countdown is not None
    assert view.countdown.what == "voting begins"
    assert [moment.what for moment in view.timeline] == [
        "proposed",
        "voting begins",
        "voting ends",
    ]
    assert [moment.expected for moment in view.timeline] == [False, True, True]


# ── Proposals of other programs ──────────────────────────────────────────────────────────────


def foreign(council: Council, actions: list[Action], text: str) -> str:
    """As a front end for any Governor makes it."""
    council.act("shop", council.network.governor.propose(actions, text))
    council.settle()
    return Made(tuple(actions), text).id


def test_a_proposal_of_another_program_is_decoded(council: Council) -> None:
    call = council.network.consortium.set_minimum("min-rows", 66)
    id = foreign(council, [Action.of(call)], "# Raise it\nto 66, please")
    view = shown(council, "bank", id)
    assert (view.kind, view.title) == (None, "Raise it")
    assert view.actions[0].text == "set the minimum 'min-rows' to 66"
    assert view.effect_check.verdict == "not declared"
    assert [warned.code for warned in view.warnings] == ["ForeignProposal"]


def test_a_call_that_nobody_knows_is_flagged(council: Council) -> None:
    strange = Action("0x" + "Ab" * 20, "0xdeadbeef")
    unheard = Action(council.network.consortium.address, "0xdeadbeef")
    id = foreign(council, [strange, unheard], "nothing to see here")
    view = shown(council, "bank", id)
    assert [action.known for action in view.actions] == [False, False]
    codes = [warned.code for warned in view.warnings]
    assert codes.count("UnknownCall") == 2
    assert all("UNKNOWN" in w.text for w in view.warnings if w.code == "UnknownCall")


def test_words_that_do_not_fit_the_calls_are_flagged(council: Council) -> None:
    """The description of a harmless proposal over the calls of another one."""
    harmless = governance.preview(council.shop, minimum(67, "quite harmless"))
    text = description(harmless.draft, harmless.effect.digest)
    call = council.network.membership.expel(council.members["clinic"])
    id = foreign(council, [Action.of(call)], text)
    view = shown(council, "bank", id)
    codes = {warned.code for warned in view.warnings}
    assert {"DescriptionDiffers", "EffectDiffers"} <= codes
    assert view.effect_check.verdict == "differs"
    assert view.actions[0].text.startswith("expel the member")


def test_a_proposal_that_cannot_be_read_when_tried_out_is_shown_with_a_warning(
    council: Council, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other code behind an address may answer, and log, what no contract of ours does."""

    def answers_nonsense(*_: Any) -> Any:
        raise ContractRefused("Unknown", {"data": "0x"}, "Consortium", "isAlgorithmAllowed")

    monkeypatch.setattr(council.bank, "simulate", answers_nonsense)
    call = council.network.consortium.set_minimum("min-rows", 68)
    id = foreign(council, [Action.of(call)], "# Answers nonsense")
    view = shown(council, "bank", id)
    assert view.effect is None
    assert view.actions[0].text == "set the minimum 'min-rows' to 68"
    assert council.row("bank", id).state == "PENDING"


def test_a_page_does_not_wait_for_a_proposal_that_takes_long(
    council: Council, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = council.propose("shop", "set-minimum", "waits for nobody", name="min-rows", value=69)
    monkeypatch.setattr(previews, "WAIT_SECONDS", 0.0)
    kept = council.clinic.previews
    with kept._lock:  # as while another proposal is tried out
        view = shown(council, "clinic", id)
    assert view.effect_check.verdict == "not known"
    assert [warned.code for warned in view.warnings] == ["EffectNotKnown"]
    assert shown(council, "clinic", id).effect_check.verdict == "as proposed"


def test_a_proposal_that_comes_to_nothing_is_tried_out_ever_more_seldom(council: Council) -> None:
    enactment, at = Enactment(council.bank), BlockRef(1000, "0x" + "00" * 32, 0)
    row = Proposal(id="0x" + "77" * 32)
    assert enactment._may_try(row, at)
    for times, pause in ((1, RETRY_BLOCKS), (2, 2 * RETRY_BLOCKS), (3, 4 * RETRY_BLOCKS)):
        enactment._tried[row.id] = at.number, times
        assert not enactment._may_try(row, replace(at, number=at.number + pause - 1))
        assert enactment._may_try(row, replace(at, number=at.number + pause))


# ── Voting ───────────────────────────────────────────────────────────────────────────────────


def test_a_vote_before_it_begins_is_refused_with_the_block(council: Council) -> None:
    id = council.propose("bank", "set-minimum", "too early", name="min-rows", value=70)
    snapshot = council.network.governor.proposal(id).snapshot
    problem = refused(Conflict, "VotingNotOpen", governance.vote, council.shop, id, "for")
    assert f"after block {snapshot}" in problem.detail


def test_votes_count_with_their_reasons(council: Council) -> None:
    id = council.propose("bank", "set-minimum", "reasons", name="min-rows", value=71)
    council.open_vote(id)
    council.vote(id, bank="for", shop="against", clinic="abstain")
    view = shown(council, "stranger", id)
    assert (view.tally.for_, view.tally.against, view.tally.abstain) == (1, 1, 1)
    assert (view.tally.quorum, view.tally.quorum_reached) == (2, True)
    told = {vote.member.name: (vote.support, vote.reason) for vote in view.votes if vote.member}
    assert told["The shop"] == ("against", "shop says against")
    assert view.can.vote_refusal is not None
    assert view.can.vote_refusal.code == "NotAVoter"
    assert shown(council, "shop", id).voted == "against"
    assert len(entries(council, "shop", "vote.cast", id)) == 1


def test_a_second_vote_is_refused_before_a_transaction_is_sent(council: Council) -> None:
    id = council.propose("bank", "set-minimum", "voted twice", name="min-rows", value=72)
    council.open_vote(id)
    governance.vote(council.shop, id, "for")
    refused(Conflict, "AlreadyVoted", governance.vote, council.shop, id, "against")
    council.settle()
    refused(Conflict, "AlreadyVoted", governance.vote, council.shop, id, "against")
    with council.shop.store.read() as session:
        sent = session.scalars(select(ChainTx).where(ChainTx.intent.contains(f"vote.cast:{id}")))
        assert [row.state for row in sent] == ["CONFIRMED"]


def test_a_node_of_no_member_cannot_vote(council: Council) -> None:
    id = council.propose("bank", "set-minimum", "no vote", name="min-rows", value=73)
    council.open_vote(id)
    problem = refused(Refused, "NotAVoter", governance.vote, council.stranger, id, "for")
    assert "block" in str(problem.allowed)


def test_a_vote_after_the_end_is_refused(council: Council) -> None:
    id = council.propose("bank", "set-minimum", "too late", name="min-rows", value=74)
    council.open_vote(id)
    council.close_vote(id)
    council.sync()
    problem = refused(Conflict, "VotingNotOpen", governance.vote, council.shop, id, "for")
    assert "DEFEATED" in problem.detail
    assert council.row("shop", id).state == "DEFEATED"


def test_a_vote_on_nothing_is_refused(council: Council) -> None:
    unknown = "0x" + "77" * 32
    refused(NotFound, "ProposalUnknown", governance.vote, council.shop, unknown, "for")
    refused(NotFound, "ProposalUnknown", governance.queue, council.shop, unknown)


# ── Ballots ──────────────────────────────────────────────────────────────────────────────────


def signed(council: Council, id: str, name: str, support: str, reason: str = "") -> Ballot:
    """A ballot of a member, signed with the key that its node has, as a wallet would."""
    account = council.sites[name].identity.account
    typed = governance.ballot(council.sites[name], id, account.address, support, reason)
    return Ballot(account.address, support, reason, sign_ballot(account, typed))


def test_any_node_relays_a_ballot(council: Council) -> None:
    id = council.propose("bank", "set-minimum", "by ballot", name="min-rows", value=80)
    council.open_vote(id)
    paper = signed(council, id, "clinic", "for", "signed in a wallet")
    council.sync("stranger")
    made = governance.relay(council.stranger, id, paper)
    assert isinstance(made, Submitted)
    council.settle("stranger")
    vote = shown(council, "bank", id).votes[0]
    assert (vote.voter, vote.support) == (paper.voter, "for")
    assert vote.reason == "signed in a wallet"
    assert len(entries(council, "stranger", "ballot.relayed", id)) == 1


def test_the_same_ballot_again_gets_the_first_answer(council: Council) -> None:
    id = council.propose("bank", "set-minimum", "relayed twice", name="min-rows", value=81)
    council.open_vote(id)
    paper = signed(council, id, "clinic", "for")
    first = governance.relay(council.bank, id, paper)
    assert governance.relay(council.bank, id, paper) == first
    council.settle()
    elsewhere = governance.relay(council.shop, id, paper)
    assert isinstance(elsewhere, Vote)
    assert elsewhere.support == "for"


def test_two_nodes_that_relay_the_same_ballot_at_once_make_one_vote(council: Council) -> None:
    id = council.propose("bank", "set-minimum", "a race", name="min-rows", value=82)
    council.open_vote(id)
    paper = signed(council, id, "clinic", "for")
    made = [governance.relay(council.sites[name], id, paper) for name in ("bank", "shop")]
    for _ in range(3):
        council.settle()
    states = [
        council.transaction(name, submitted).state
        for name, submitted in zip(("bank", "shop"), made, strict=True)
        if isinstance(submitted, Submitted)
    ]
    assert sorted(states) == ["CONFIRMED", "REFUSED"]
    assert council.votes("shop", id) == {paper.voter: "for"}


def test_a_ballot_that_was_changed_is_refused(council: Council) -> None:
    id = council.propose("bank", "set-minimum", "changed ballot", name="min-rows", value=83)
    council.open_vote(id)
    paper = signed(council, id, "clinic", "for")
    turned = Ballot(paper.voter, "against", paper.reason, paper.signature)
    with pytest.raises(ContractRefused, match="GovernorInvalidSignature"):
        governance.relay(council.bank, id, turned)


def test_a_ballot_of_another_proposal_is_refused(council: Council) -> None:
    one = council.propose("bank", "set-minimum", "the one", name="min-rows", value=84)
    other = council.propose("bank", "set-minimum", "the other", name="min-rows", value=85)
    council.open_vote(other)
    paper = signed(council, one, "clinic", "for")
    with pytest.raises(ContractRefused, match="GovernorInvalidSignature"):
        governance.relay(council.bank, other, paper)


# ── Carrying out ─────────────────────────────────────────────────────────────────────────────


def test_what_passes_is_queued_and_executed_by_the_nodes(council: Council) -> None:
    id = council.propose("bank", "set-minimum", "carried out", name="min-rows", value=90)
    council.pass_(id)
    council.enact(id)
    assert council.network.consortium.minimum("min-rows") == 90
    for name in ("bank", "shop", "clinic", "stranger"):
        row = council.row(name, id)
        assert row.state == "EXECUTED"
        assert row.executed_digest == row.declared_digest
        assert len(entries(council, name, "proposal.executed", id)) == 1
    view = shown(council, "shop", id)
    assert view.executed_check is not None
    assert view.executed_check.verdict == "as proposed"
    assert [moment.what for moment in view.timeline] == [
        "proposed",
        "voting begins",
        "voting ends",
        "queued",
        "executed",
    ]


def test_the_proposers_node_goes_first_and_the_others_leave_it_to_it(council: Council) -> None:
    id = council.propose("shop", "set-minimum", "taking turns", name="min-rows", value=91)
    council.pass_(id)
    council.sync("clinic", "stranger")
    council.enact(id)
    council.sync("clinic", "stranger")
    asked = {
        name: [intent for intent in council.intents(name) if id in intent]
        for name in ("bank", "shop", "clinic", "stranger")
    }
    assert f"proposal.queue:{id}" in asked["shop"]
    assert [asked[name] for name in ("bank", "clinic", "stranger")] == [[], [], []]


def test_another_node_goes_on_when_the_proposers_is_away(council: Council) -> None:
    id = council.propose("bank", "set-minimum", "proposer away", name="min-rows", value=92)
    council.pass_(id)
    for _ in range(14):
        council.sync("shop", "clinic")
        council.chain.mine()
    council.chain.travel(SETTINGS.timelock_delay + 1)
    for _ in range(14):
        council.sync("shop", "clinic")
        council.chain.mine()
    assert council.network.consortium.minimum("min-rows") == 92
    council.settle()
    assert council.row("bank", id).state == "EXECUTED"


def test_a_node_that_shall_not_carry_on_leaves_it_to_others(council: Council) -> None:
    id = council.propose("bank", "set-minimum", "not by this node", name="min-rows", value=89)
    council.pass_(id)
    council.bank.settings = council.bank.settings.model_copy(update={"execute_proposals": False})
    council.settle("bank")
    council.settle("bank")
    council.bank.settings = council.bank.settings.model_copy(update={"execute_proposals": True})
    assert not [
        intent for intent in council.intents("bank") if id in intent and "make" not in intent
    ]
    assert council.row("bank", id).state == "SUCCEEDED"
    queued = governance.queue(council.bank, id)
    council.settle()
    assert council.transaction("bank", queued).state == "CONFIRMED"
    assert council.row("shop", id).state == "QUEUED"


def test_what_cannot_be_executed_any_more_says_why(council: Council) -> None:
    """What a proposal needs may be gone when its time has come."""
    request = ProposalRequest("reinstate", {"member": council.members["clinic"]}, "stuck")
    id = governance.propose(council.bank, request, force=True).id
    council.settle()
    council.pass_(id)
    council.enact(id)
    view = shown(council, "bank", id)
    assert view.state == "QUEUED"
    assert view.problem is not None
    assert "MembershipNotSuspended" in view.problem.detail
    assert "WouldFail" in {warned.code for warned in view.warnings}


def test_execution_waits_for_the_timelock(council: Council) -> None:
    id = council.propose("bank", "set-minimum", "in the timelock", name="min-rows", value=93)
    refused(Conflict, "WrongProposalState", governance.execute, council.bank, id)
    council.pass_(id)
    for _ in range(3):
        council.settle()
    assert council.row("bank", id).state == "QUEUED"
    problem = refused(Conflict, "TimelockNotOver", governance.execute, council.bank, id)
    assert "seconds" in problem.detail
    countdown = shown(council, "bank", id).countdown
    assert countdown is not None
    assert countdown.what == "may be executed"


def test_a_vote_of_too_few_fails(council: Council) -> None:
    id = council.propose("bank", "set-minimum", "no quorum", name="min-rows", value=94)
    council.open_vote(id)
    council.vote(id, bank="for")
    council.close_vote(id)
    council.sync()
    assert council.row("shop", id).state == "DEFEATED"
    tally = shown(council, "shop", id).tally
    assert (tally.quorum, tally.missing) == (2, 1)


def test_one_may_withdraw_ones_own_proposal_only(council: Council) -> None:
    id = council.propose("bank", "set-minimum", "withdrawn", name="min-rows", value=95)
    council.open_vote(id)
    refused(Refused, "NotProposer", governance.withdraw, council.shop, id)
    governance.withdraw(council.bank, id)
    council.settle()
    view = shown(council, "shop", id)
    assert view.state == "CANCELED"
    assert "withdrawn" in [moment.what for moment in view.timeline]
    refused(Conflict, "WrongProposalState", governance.withdraw, council.bank, id)
    problem = refused(Conflict, "VotingNotOpen", governance.vote, council.shop, id, "for")
    assert "CANCELED" in problem.detail


def test_a_member_is_admitted_by_vote_and_votes_on_what_comes_after(changing: Council) -> None:
    account, chain = newcomer(1), changing.network.client.chain_id
    membership = changing.network.membership
    acceptance = sign_admission(account, "The newcomer", 0, chain, membership.address)
    id = changing.propose(
        "bank",
        "admit",
        "a newcomer",
        account=account.address,
        name="The newcomer",
        nonce=0,
        acceptance=acceptance,
    )
    changing.pass_(id)
    before = changing.propose("bank", "set-minimum", "before it", name="min-rows", value=51)
    changing.open_vote(before)
    changing.enact(id)
    assert membership.is_active_account(account.address)
    refused(Refused, "NotAVoter", governance.ballot, changing.bank, before, account.address, "for")
    after = changing.propose("bank", "set-minimum", "after it", name="min-rows", value=52)
    changing.open_vote(after)
    assert governance.ballot(changing.bank, after, account.address, "for")


def test_a_member_suspended_during_the_vote_cannot_vote(changing: Council) -> None:
    clinic = changing.members["clinic"]
    out = changing.propose("bank", "suspend", "suspended", member=clinic)
    changing.open_vote(out)
    changing.vote(out, bank="for", shop="for", clinic="for")
    changing.close_vote(out)
    running = changing.propose("bank", "set-minimum", "meanwhile", name="min-rows", value=53)
    changing.open_vote(running)
    changing.enact(out)
    refused(Refused, "MemberNotActive", governance.vote, changing.clinic, running, "for")


def test_a_refused_proposal_may_be_made_again(council: Council) -> None:
    """A refusal by the chain is final for a transaction, not for what was asked."""
    request = minimum(96, "refused first")
    submitted = governance.propose(council.bank, request)
    with council.bank.store.begin() as session:
        row = session.scalars(select(ChainTx).where(ChainTx.intent == submitted.intent)).one()
        row.state = "REFUSED"
        session.get_one(Proposal, submitted.id).state = "REFUSED"
    again = governance.propose(council.bank, request)
    assert again.intent == f"{submitted.intent}:2"
    council.settle()
    assert council.row("shop", submitted.id).state == "PENDING"


def test_a_forged_ballot_signature_is_told_as_what_it_is(council: Council) -> None:
    id = council.propose("bank", "set-minimum", "forged", name="min-rows", value=97)
    council.open_vote(id)
    forged = Ballot(council.clinic.identity.address, "for", "", to_hex(b"\1" * 65))
    with pytest.raises(ContractRefused) as refusal:
        governance.relay(council.bank, id, forged)
    assert from_contract(refusal.value).code == "SignatureInvalid"


def test_strange_bytes_of_a_stranger_keep_no_node_from_its_work(council: Council) -> None:
    data = encode_call("Membership", "expel", [council.members["clinic"]]) + b"\0" * 7
    hostile = Action(council.network.membership.address, to_hex(data))
    id = foreign(council, [hostile], "# \x00\n<!-- fatechain-proposal {} -->")
    assert shown(council, "bank", id).warnings[0].code == "UnknownCall"
    after = council.propose("bank", "set-minimum", "work goes on", name="min-rows", value=98)
    assert council.row("clinic", after).state == "PENDING"
