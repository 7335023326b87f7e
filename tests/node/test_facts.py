"""What a partner puts on the chain does not make the facts about its job unreadable."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

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
from node.admission import decide
from node.errors import Unavailable
from node.facts import gather, party_view
from tests.node import consortium
from tests.node.consortium import Consortium


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
