"""An institution that lost an account comes back, and goes on with its site."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from eth_account.signers.local import LocalAccount

from chain.calls import Payment
from node.check import Item, check
from node.errors import Conflict, NotFound
from node.identity import take_next_account
from node.registration import set_endpoint
from node.takeover import RECOVERY_FILE, recover, replace_operator, retire
from tests.node.consortium import ChainSite, sync_of
from tests.node.newcomers import Newcomers, gather

ROLES = ("data-owner", "model-user")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Newcomers]:
    """Both members are registered; the stranger's home is a fresh one."""
    world = gather(tmp_path)
    world.register()
    world.stranger.change(roles=ROLES)
    yield world
    world.close()


def _pass(world: Newcomers, site: ChainSite, times: int = 4) -> None:
    for _ in range(times):
        sync_of(site).step()
        world.chain.mine(site.settings.confirmations + 1)
    sync_of(site).step()


def _recover(world: Newcomers, home: ChainSite) -> str:
    """The members give the bank the new account of a home; its address."""
    accepted = recover(home, world.members["bank"])
    _fund(world, accepted["account"])
    call = world.network.membership.recover(
        accepted["member"], accepted["account"], accepted["acceptance"]
    )
    world.chain.client(0).transact(call)
    world.chain.mine(5)
    return accepted["account"]


def _fund(world: Newcomers, account: str) -> None:
    world.chain.client(19).transact(Payment(account, 10**19))


def _item(world: Newcomers, site: ChainSite, name: str) -> Item:
    head = world.network.client.head().timestamp
    [found] = [item for item in check(site, clock=lambda: head + 1).items if item.name == name]
    return found


# ── The member's account ─────────────────────────────────────────────────────────────────────


def test_a_new_account_accepts_and_until_the_vote_nothing_changes(world: Newcomers) -> None:
    old = world.bank.identity.address
    accepted = recover(world.bank, world.members["bank"])
    written = json.loads((world.bank.settings.home / RECOVERY_FILE).read_text())
    assert written == accepted
    assert accepted["account"] != old
    assert recover(world.bank, world.members["bank"]) == accepted
    _pass(world, world.bank)
    assert world.bank.identity.address == old


def test_a_member_goes_on_with_its_site_under_the_account_that_the_vote_gave_it(
    world: Newcomers,
) -> None:
    site, old = world.bank.id, world.bank.identity.address
    new = _recover(world, world.bank)
    _pass(world, world.bank)
    assert world.bank.identity.address == new
    assert world.network.sites.site(site).operator == new
    assert world.network.sites.is_active(site)
    assert world.bank.id == site
    assert not world.network.membership.is_active_account(old)
    assert len(world.network.sites.sites()) == 2


def test_the_account_before_is_kept_beside_the_new_one(world: Newcomers) -> None:
    old = world.bank.identity.address
    _recover(world, world.bank)
    _pass(world, world.bank)
    kept = world.bank.settings.keys / f"chain.{old.lower()}.json"
    assert json.loads(kept.read_text())["address"].lower() in old.lower()


def test_what_the_lost_account_had_signed_and_not_sent_the_new_one_sends(
    world: Newcomers,
) -> None:
    world.chain.hold()
    set_endpoint(world.bank, "https://bank.example")
    sync_of(world.bank).step()
    accepted = recover(world.bank, world.members["bank"])
    world.chain._provider.waiting.clear()  # the chain has lost it, as a pool does
    world.chain.hold(False)
    _fund(world, accepted["account"])
    call = world.network.membership.recover(
        accepted["member"], accepted["account"], accepted["acceptance"]
    )
    world.chain.client(0).transact(call)
    _pass(world, world.bank, 6)
    found = world.network.sites.site(world.bank.id)
    assert (found.endpoint, found.operator) == ("https://bank.example", accepted["account"])


def test_a_node_killed_at_any_pass_of_a_recovery_goes_on(world: Newcomers) -> None:
    new = _recover(world, world.bank)
    for _ in range(6):
        world.bank.__dict__.pop("test_sync", None)
        sync_of(world.bank).step()
        world.chain.mine(3)
    assert world.network.sites.site(world.bank.id).operator == new


def test_the_audit_log_goes_on(world: Newcomers) -> None:
    before = world.bank.log.size
    _recover(world, world.bank)
    _pass(world, world.bank, 6)
    assert world.bank.log.size > before
    assert world.network.anchors.head(world.bank.id).size > 0


def test_nobody_recovers_a_member_that_there_is_not(world: Newcomers) -> None:
    with pytest.raises(NotFound):
        recover(world.stranger, "0x" + "99" * 32)


# ── A home that is lost ──────────────────────────────────────────────────────────────────────


def test_a_fresh_home_accepts_with_its_own_account(world: Newcomers) -> None:
    accepted = recover(world.stranger, world.members["bank"])
    assert accepted["account"] == world.stranger.identity.address


def test_a_fresh_home_registers_no_second_site_before_the_first_is_ended(
    world: Newcomers,
) -> None:
    lost = world.bank.id
    _recover(world, world.stranger)
    _pass(world, world.stranger)
    assert not world.stranger.is_registered
    assert f"fatechain site retire {lost}" in sync_of(world.stranger).arrival.hint
    assert f"fatechain site retire {lost}" in (_item(world, world.stranger, "site").todo or "")
    retire(world.stranger, lost)
    _pass(world, world.stranger)
    assert world.network.sites.is_active(world.stranger.id)
    assert world.stranger.id != lost
    assert world.network.sites.site(lost).until_block > 0


def test_the_home_of_a_replaced_account_is_told_who_came_after_it(world: Newcomers) -> None:
    new = _recover(world, world.stranger)
    found = _item(world, world.bank, "member")
    assert found.status == "fail"
    assert new in (found.todo or "")


# ── An operator's account that is not the member's ───────────────────────────────────────────


def test_the_members_own_account_is_replaced_by_a_vote_only(world: Newcomers) -> None:
    with pytest.raises(Conflict):
        replace_operator(world.bank)


def test_an_operators_new_account_agrees_and_the_members_account_says_so(
    world: Newcomers,
) -> None:
    """First the bank's site gets an operator of its own, then that one is lost."""
    member, site = world.bank.identity.account, world.bank.id
    world.bank.identity.make_next_account(world.bank.settings)
    take_next_account(world.bank.settings)
    _operate(world, member)
    lost = world.bank.identity.address
    submitted = replace_operator(world.bank)
    account = world.bank.identity.address
    assert account != lost
    assert replace_operator(world.bank) == submitted
    assert world.bank.identity.address == account
    _operate(world, member)
    assert world.network.sites.site(site).operator == account
    assert world.network.sites.is_active(site)


def _operate(world: Newcomers, member: LocalAccount) -> None:
    """The bank's account agrees, and the member's makes it the operator."""
    _fund(world, world.bank.identity.address)
    replace_operator(world.bank)
    _pass(world, world.bank)
    call = world.network.sites.change_operator(world.bank.id, world.bank.identity.address)
    world.chain.client(member).transact(call)
