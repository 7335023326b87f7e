"""What a partner puts on the chain does not make the facts about its job unreadable."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chain import canonical
from chain.errors import (
    BlockUnknown,
    ChainError,
    ChainRefused,
    ChainUnavailable,
    ContractRefused,
    NotDeployed,
)
from chain.jobs import Jobs
from chain.sites import Sites
from node import policy
from node.admission import Facts, PolicyAnswer, decide
from node.errors import Unavailable
from node.facts import gather, party_view
from node.store import GrantTerms
from tests.node import consortium
from tests.node.consortium import Consortium, sync_of


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    chain, deployment = consortium.found()
    world = consortium.assemble(chain, deployment, tmp_path_factory.mktemp("sites"))
    yield world
    world.close()


def test_more_keys_than_can_be_read_hide_no_withdrawal(
    world: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a partner put on the chain is neither a reason to go on nor one to stop."""
    grant = world.give_grant()
    job = world.propose(grant=grant)

    def too_long(*_: object, **__: object) -> None:
        raise ContractRefused("Unknown", {}, "SiteRegistry", "keys")

    monkeypatch.setattr(Sites, "keys", too_long)
    assert gather(world.shop, job, "approve").chain_problem is None
    world.act("shop", world.network.consents.revoke(grant))
    facts = gather(world.shop, job, "approve")
    assert facts.chain_problem is None
    assert [use.grant.state for use in facts.views[-1].uses if use.grant] == ["REVOKED"]


@pytest.mark.parametrize(
    ("error", "codes", "waits"),
    [
        (ChainUnavailable("http://in-process", "gone"), ("ChainUnavailable",), True),
        (BlockUnknown(7), ("ChainUnavailable",), True),
        (ContractRefused("Unknown", {}, "JobRegistry", "parties"), ("ContractRefused",), False),
        (ChainRefused("eth_call", "out of gas"), ("ChainRefused",), False),
        (NotDeployed("JobRegistry", "0x00"), ("NotDeployed",), False),
    ],
)
def test_only_silence_lets_work_wait(
    world: Consortium,
    monkeypatch: pytest.MonkeyPatch,
    error: ChainError,
    codes: tuple[str, ...],
    waits: bool,
) -> None:
    def unreadable(*_: object) -> None:
        raise error

    monkeypatch.setattr(Jobs, "parties", unreadable)
    decision = decide(gather(world.shop, world.propose(), "task"))
    assert decision.codes == codes
    assert all(isinstance(why, Unavailable) for why in decision.reasons) == waits


def test_a_site_without_a_request_key_is_seen(world: Consortium) -> None:
    before = world.chain.snapshot()
    assert party_view(world.network, world.bank.id).has_request_key
    key = world.bank.key_id()
    world.act("bank", world.network.sites.revoke_key(world.bank.id, key))
    found = party_view(world.network, world.bank.id)
    assert (found.member_standing, found.stands, found.has_request_key) == ("ACTIVE", True, False)
    world.chain.revert(before)


def test_the_facts_name_what_the_members_and_this_site_decided(world: Consortium) -> None:
    job = world.propose()
    facts = gather(world.shop, job, "approve")
    view = facts.views[-1]
    assert (view.purpose_allowed, view.paused_until) == (True, 0)
    assert (view.minimum_bin_rows, view.minimum_leaf_rows) == (2, 2)
    assert (facts.bin_rows, facts.leaf_rows) == (20, 20)
    assert facts.approved is None
    assert facts.policy is None
    [data] = [data for data in facts.data if data.dataset == world.datasets["shop"]]
    assert (data.id_column, data.features) == ("id", ("visits", "spent"))
    world.approve(job)
    assert gather(world.shop, job, "start").approved == facts.specification_digest
    assert gather(world.bank, job, "start").approved == facts.specification_digest


def test_the_policy_is_asked_for_each_moment_and_not_for_work_that_runs(
    world: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def ask(_settings: object, facts: Facts) -> PolicyAnswer:
        asked.append(facts.moment)
        return PolicyAnswer(allow=False, reason="no")

    monkeypatch.setattr(policy, "ask", ask)
    job = world.start()
    for moment in ("approve", "start", "task"):
        found = gather(world.shop, job, moment)
        assert "PolicyRefused" in decide(found).codes
    assert asked == ["approve", "start", "task"]
    assert gather(world.shop, job, "approve", ask_policy=False).policy is None
    running = gather(world.shop, job, "task", running=True)
    assert running.policy is None
    assert [view.block for view in running.views] == [world.network.client.head().number]
    sync_of(world.shop).watch._recheck(job, world.network.client.head())
    assert asked == ["approve", "start", "task"]


def test_the_policy_is_not_asked_while_the_chain_is_silent(
    world: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = world.propose()

    def silent(*_: object) -> None:
        raise ChainUnavailable("http://in-process", "gone")

    def ask(*_: object) -> None:
        pytest.fail("the policy was asked about a job that nobody knows anything of")

    monkeypatch.setattr(Jobs, "parties", silent)
    monkeypatch.setattr(policy, "ask", ask)
    assert gather(world.shop, job, "approve").chain_problem is not None


def test_a_document_about_columns_counts_only_with_the_digest_that_the_grant_carries(
    world: Consortium,
) -> None:
    rules = {"spent": "none", "id": "join"}
    grant = world.give_grant(column_rules=canonical.digest_of(rules))
    job = world.propose(grant=grant)
    assert decide(gather(world.shop, job, "approve")).codes == ("ColumnRulesMissing",)
    with world.shop.store.begin() as session:
        session.add(GrantTerms(grant_id=grant, column_rules=rules))
    assert decide(gather(world.shop, job, "approve")).allowed
    with world.shop.store.begin() as session:
        session.get_one(GrantTerms, grant).column_rules = {"spent": "protocol"}
    assert decide(gather(world.shop, job, "approve")).codes == ("ColumnRulesMissing",)


def test_an_attestation_that_is_asked_for_and_missing_is_named(world: Consortium) -> None:
    before = world.chain.snapshot()
    world.govern(world.network.attestations.set_required("iso-27001", True))
    assert party_view(world.network, world.bank.id).missing_attestation == "iso-27001"
    world.chain.revert(before)
    assert party_view(world.network, world.bank.id).missing_attestation is None
