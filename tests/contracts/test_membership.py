"""Members, their standing through time, their accounts, and the vote that does not move."""

import random
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from web3.types import TxReceipt

from chain.compile import Artifact
from tests.contracts.government import Government
from tests.contracts.world import DAY, Refusal, World, h, w

NONE, ACTIVE, SUSPENDED, EXPELLED = range(4)


def token(member: bytes) -> int:
    return int.from_bytes(member)


def test_an_admitted_member_is_active_and_holds_one_locked_vote(world: World) -> None:
    account = world.address("newcomer")
    receipt = world.send(world.admission("newcomer", "Bakery", 7), "authority")
    member = bytes(world.membership.functions.memberIdFor(account, 7).call())

    read = world.membership.functions
    assert read.member(member).call() == (account, "Bakery", world.block, 0, 0)
    assert read.memberOf(account).call() == member
    assert read.standing(member).call() == ACTIVE
    assert read.ownerOf(token(member)).call() == account
    assert read.delegates(account).call() == account
    assert read.getVotes(account).call() == 1
    assert read.locked(token(member)).call()
    events = [name for name, _ in world.events(receipt, world.membership)]
    assert events[-2:] == ["Locked", "MemberAdmitted"]


def test_the_token_says_that_it_is_soulbound(world: World) -> None:
    assert world.membership.functions.supportsInterface(bytes.fromhex("b45a3c0e")).call()
    assert world.membership.functions.supportsInterface(bytes.fromhex("80ac58cd")).call()


def test_an_account_belongs_to_one_member(world: World) -> None:
    refused = world.refusal(world.admission("bank", "Twin", 8), "authority")
    assert refused == Refusal("MembershipAccountTaken", (world.address("bank").lower(), world.bank))


def test_a_member_id_is_given_once(world: World) -> None:
    account = world.address("newcomer")
    world.send(world.admission("newcomer", "Bakery", 7), "authority")
    member = bytes(world.membership.functions.memberIdFor(account, 7).call())
    refused = world.refusal(world.admission("newcomer", "Bakery", 7), "authority")
    assert refused == Refusal("MembershipIdTaken", (member,))


# from, move, to; everything else is refused
ALLOWED = {
    (ACTIVE, "suspend"): SUSPENDED,
    (SUSPENDED, "reinstate"): ACTIVE,
    (ACTIVE, "expel"): EXPELLED,
    (SUSPENDED, "expel"): EXPELLED,
}
REFUSED = {
    (SUSPENDED, "suspend"): "MembershipNotActive",
    (EXPELLED, "suspend"): "MembershipNotActive",
    (ACTIVE, "reinstate"): "MembershipNotSuspended",
    (EXPELLED, "reinstate"): "MembershipNotSuspended",
    (EXPELLED, "expel"): "MembershipNotActive",
}
PATH_TO = {ACTIVE: (), SUSPENDED: ("suspend",), EXPELLED: ("expel",)}


def bring(world: World, standing: int) -> None:
    for move in PATH_TO[standing]:
        world.send(world.membership.functions[move](world.clinic), "authority")


@pytest.mark.parametrize(("standing", "move"), ALLOWED)
def test_a_standing_changes_as_the_table_says(world: World, standing: int, move: str) -> None:
    bring(world, standing)
    world.send(world.membership.functions[move](world.clinic), "authority")
    assert world.membership.functions.standing(world.clinic).call() == ALLOWED[standing, move]


@pytest.mark.parametrize(("standing", "move"), REFUSED)
def test_a_standing_changes_in_no_other_way(world: World, standing: int, move: str) -> None:
    bring(world, standing)
    refused = world.refusal(world.membership.functions[move](world.clinic), "authority")
    assert refused == Refusal(REFUSED[standing, move], (world.clinic, standing))


@pytest.mark.parametrize("function", ["suspend", "reinstate", "expel", "member", "requireActive"])
def test_an_unknown_member_is_refused(world: World, function: str) -> None:
    refused = world.refusal(world.membership.functions[function](h("nobody")), "authority")
    assert refused == Refusal("MembershipUnknown", (h("nobody"),))


def test_a_vote_exists_while_its_member_is_active(world: World) -> None:
    """After each of fifty moves drawn at random, for all members."""
    members = {"bank": world.bank, "shop": world.shop, "clinic": world.clinic}
    draw = random.Random(7)
    moves, read = world.membership.functions, world.membership.functions
    seen = set()
    for _ in range(50):
        name = draw.choice(tuple(members))
        standing = read.standing(members[name]).call()
        usual = ("suspend", "reinstate", *(("expel",) if draw.random() < 0.1 else ()))
        move = draw.choice([m for m in usual if (standing, m) in ALLOWED] or ["none"])
        if move == "none":
            continue
        world.send(moves[move](members[name]), "authority")
        seen.add((standing, move))

        votes = {n: read.getVotes(world.address(n)).call() for n in members}
        active = {n: int(read.standing(m).call() == ACTIVE) for n, m in members.items()}
        assert votes == active
        assert {n: read.balanceOf(world.address(n)).call() for n in members} == active
        assert read.activeCount().call() == sum(active.values())
    assert {"suspend", "reinstate"} <= {move for _, move in seen}


def test_a_suspended_member_has_no_vote_until_it_is_reinstated(world: World) -> None:
    moves, account = world.membership.functions, world.address("clinic")
    burned = world.send(moves.suspend(world.clinic), "authority")
    suspended_at = world.block
    minted = world.send(moves.reinstate(world.clinic), "authority")
    world.mine()

    names = [[n for n, _ in world.events(r, world.membership)] for r in (burned, minted)]
    assert "Transfer" in names[0]
    assert names[1][-2:] == ["Locked", "MemberReinstated"]
    assert moves.getPastVotes(account, suspended_at).call() == 0
    assert moves.getPastTotalSupply(suspended_at).call() == 2
    assert moves.getVotes(account).call() == 1
    assert moves.ownerOf(token(world.clinic)).call() == account
    assert moves.delegates(account).call() == account


def test_the_standing_at_a_past_block_is_kept(world: World) -> None:
    standing_at = world.membership.functions.standingAt
    admitted = world.membership.functions.member(world.clinic).call()[2]
    blocks = {admitted - 1: NONE, admitted: ACTIVE}
    for move, after in (("suspend", SUSPENDED), ("reinstate", ACTIVE), ("expel", EXPELLED)):
        world.mine()
        world.send(world.membership.functions[move](world.clinic), "authority")
        blocks[world.block] = after
    world.mine()
    blocks[world.block] = EXPELLED

    assert {at: standing_at(world.clinic, at).call() for at in blocks} == blocks


def test_an_expelled_member_loses_its_vote_and_keeps_its_past(world: World) -> None:
    before = world.block
    world.send(world.membership.functions.expel(world.clinic), "authority")
    world.mine()

    account = world.address("clinic")
    read = world.membership.functions
    assert read.getVotes(account).call() == 0
    assert read.getPastVotes(account, before).call() == 1
    assert read.getPastTotalSupply(before + 1).call() == 2
    assert read.memberOf(account).call() == world.clinic
    assert read.member(world.clinic).call()[4] == before + 1


def test_a_suspended_member_is_no_active_account(world: World) -> None:
    world.send(world.membership.functions.suspend(world.clinic), "authority")
    account = world.address("clinic")
    refused = world.refusal(world.membership.functions.requireActiveAccount(account))
    assert refused == Refusal("MembershipNotActive", (world.clinic, SUSPENDED))
    assert world.membership.functions.member(world.clinic).call()[3] == world.block


def test_an_account_without_membership_is_refused(world: World) -> None:
    stranger = world.address("stranger")
    refused = world.refusal(world.membership.functions.memberOf(stranger))
    assert refused == Refusal("MembershipNotAMember", (stranger.lower(),))


def test_a_vote_is_neither_moved_nor_lent(world: World) -> None:
    bank, shop, vote = world.address("bank"), world.address("shop"), token(world.bank)
    functions = world.membership.functions
    for attempt in (
        functions.transferFrom(bank, shop, vote),
        functions["safeTransferFrom(address,address,uint256)"](bank, shop, vote),
        functions["safeTransferFrom(address,address,uint256,bytes)"](bank, shop, vote, b""),
        functions.approve(shop, vote),
        functions.setApprovalForAll(shop, True),
        functions.delegate(shop),
        functions.delegateBySig(shop, 0, 2**40, 27, h("r"), h("s")),
    ):
        assert world.refusal(attempt, "bank") == Refusal("MembershipSoulbound", ())


def test_members_are_listed_page_by_page(world: World) -> None:
    read = world.membership.functions
    assert read.memberCount().call() == 3
    assert read.members(0, 2).call() == [world.bank, world.shop]
    assert read.members(2, 2).call() == [world.clinic]
    assert read.members(3, 2).call() == []
    assert read.members(1, 2**256 - 1).call() == [world.shop, world.clinic]


# ── Nobody becomes a member without knowing


ADMISSION = {
    "Admission": [
        {"name": "account", "type": "address"},
        {"name": "name", "type": "string"},
        {"name": "nonce", "type": "uint256"},
    ]
}


def acceptance(world: World, actor: str = "newcomer", **changed: Any) -> bytes:
    """Signed for "Bakery" with nonce 7; `changed` alters message or domain."""
    message = {"account": world.address("newcomer"), "name": "Bakery", "nonce": 7}
    domain = {
        "name": "FATE-Chain Member",
        "version": "1",
        "chainId": world.web3.eth.chain_id,
        "verifyingContract": world.membership.address,
    }
    altered = {f"domain_{name}": name for name in domain}
    for name, value in changed.items():
        part, key = (domain, altered[name]) if name in altered else (message, name)
        assert key in part
        part[key] = value
    signed = world.accounts[actor].sign_typed_data(domain, ADMISSION, message)
    return bytes(signed.signature)


ACCEPTED_OTHERWISE: Mapping[str, Callable[[World], bytes]] = {
    "not at all": lambda world: b"",
    "by another account": lambda world: acceptance(world, "stranger"),
    "under another name": lambda world: acceptance(world, name="Bakery Ltd"),
    "with another nonce": lambda world: acceptance(world, nonce=8),
    "for another account": lambda world: acceptance(world, account=world.address("stranger")),
    "on another chain": lambda world: acceptance(world, domain_chainId=1),
    "by another consortium": lambda world: acceptance(
        world, domain_verifyingContract=world.consents.address
    ),
    "of another kind": lambda world: acceptance(world, domain_name="FATE-Chain Consent"),
    "of a recovery": lambda world: world.recovery_signature(world.bank, "newcomer"),
}


def test_an_account_that_accepted_is_admitted(world: World) -> None:
    admit = world.membership.functions.admit
    signed = acceptance(world)
    world.send(admit(world.address("newcomer"), "Bakery", 7, signed), "authority")


@pytest.mark.parametrize("accepted", ACCEPTED_OTHERWISE.values(), ids=ACCEPTED_OTHERWISE)
def test_an_account_is_not_admitted_that_accepted(
    world: World, accepted: Callable[[World], bytes]
) -> None:
    account = world.address("newcomer")
    admit = world.membership.functions.admit(account, "Bakery", 7, accepted(world))
    refused = world.refusal(admit, "authority")
    assert refused == Refusal("MembershipNotAccepted", (account.lower(),))


def test_python_signs_what_the_contract_asks_for(world: World) -> None:
    read, account = world.membership.functions, world.address("newcomer")
    world.send(world.admission("newcomer", "Bäckerei „zum Äpfelchen“", 2**200), "authority")
    member = bytes(read.memberIdFor(account, 2**200).call())
    assert read.memberOf(account).call() == member
    world.send(world.recovery(member, "stranger"), "authority")
    assert read.member(member).call()[0] == world.address("stranger")


def test_a_contract_account_is_a_member_when_it_signed(
    world: World, compiled: Mapping[str, Artifact]
) -> None:
    wallet = world.create(compiled["Wallet"].abi, compiled["Wallet"].bytecode)
    unsigned = world.membership.functions.admit(wallet.address, "Club", 7, b"")
    refused = world.refusal(unsigned, "authority")
    assert refused == Refusal("MembershipNotAccepted", (wallet.address.lower(),))
    world.admit_contract(wallet, "Club")
    assert world.membership.functions.getVotes(wallet.address).call() == 1


# ── Another account for a member


def test_a_recovered_member_stays_who_it_is(world: World) -> None:
    old, new = world.address("shop"), world.address("newcomer")
    before = world.membership.functions.member(world.shop).call()
    receipt = world.send(world.recovery(world.shop, "newcomer"), "authority")
    world.mine()

    recovered = {"id": world.shop, "from": old, "to": new}
    assert world.events(receipt, world.membership)[-1] == ("MemberRecovered", recovered)
    read = world.membership.functions
    assert read.member(world.shop).call() == (new, *before[1:])
    assert read.memberOf(old).call() == read.memberOf(new).call() == world.shop
    assert [read.getVotes(a).call() for a in (old, new)] == [0, 1]
    assert read.getPastVotes(old, world.block - 2).call() == 1
    assert read.delegates(new).call() == new
    assert (read.activeCount().call(), read.memberCount().call()) == (3, 3)
    assert [read.isActiveAccount(a).call() for a in (old, new)] == [False, True]


def test_a_replaced_account_speaks_for_nobody(world: World) -> None:
    """The new one does, for the same grants, sites and data."""
    unrelayed = world.terms()
    by_old = world.sign(unrelayed, "shop")
    world.send(world.recovery(world.shop, "newcomer"), "authority")
    old, new = world.address("shop"), world.address("newcomer")
    replaced = Refusal("MembershipAccountReplaced", (old.lower(), new.lower()))
    member, sites, consents = (c.functions for c in (world.membership, world.sites, world.consents))
    register = sites.register(old, "branch", "https://x", 3, [], 9)
    for refused in (
        world.refusal(member.requireActiveAccount(old)),
        world.refusal(member.leave(), "shop"),
        world.refusal(register, "shop"),
        world.refusal(world.brake.functions.pull(h("fire")), "shop"),
        world.refusal(world.reviews.functions.submit(h("code"), "tree"), "shop"),
    ):
        assert refused == replaced
    for call, error in (
        (consents.grant(unrelayed, by_old), "ConsentBadSignature"),
        (consents.revoke(world.shop_grant), "ConsentNotOwner"),
        (sites.retire(world.shop_site), "SiteNotOwner"),
    ):
        refused = world.refusal(call, "shop")
        assert refused is not None
        assert refused.error == error

    job = world.running()
    assert world.refusal(world.jobs.functions.requireRunnable(job)) is None
    world.send(consents.grant(unrelayed, world.sign(unrelayed, "newcomer")), "relayer")
    assert consents.record(world.shop_grant).call()[1] == world.shop
    world.send(consents.revoke(world.shop_grant), "newcomer")
    world.send(sites.retire(world.shop_site), "newcomer")


def test_an_account_that_was_replaced_twice_names_the_last(world: World) -> None:
    world.send(world.recovery(world.shop, "newcomer"), "authority")
    world.send(world.recovery(world.shop, "stranger"), "authority")
    read, last = world.membership.functions, world.address("stranger").lower()
    for actor in ("shop", "newcomer"):
        account = world.address(actor)
        refused = world.refusal(read.requireActiveAccount(account))
        assert refused == Refusal("MembershipAccountReplaced", (account.lower(), last))


def test_an_account_belongs_to_its_member_for_ever(world: World) -> None:
    """Neither a member's account, nor one that was replaced, becomes a member's again."""
    accepted = world.recovery(world.shop, "newcomer")
    world.send(accepted, "authority")
    for call, actor in (
        (accepted, "newcomer"),
        (world.recovery(world.bank, "shop"), "shop"),
        (world.recovery(world.shop, "shop"), "shop"),
        (world.admission("shop", "Shop again", 9), "shop"),
    ):
        taken = (world.address(actor).lower(), world.shop)
        assert world.refusal(call, "authority") == Refusal("MembershipAccountTaken", taken)


def test_a_suspended_member_is_recovered_and_stays_suspended(world: World) -> None:
    moves, new = world.membership.functions, world.address("newcomer")
    world.send(moves.suspend(world.shop), "authority")
    world.send(world.recovery(world.shop, "newcomer"), "authority")
    assert (moves.getVotes(new).call(), moves.standing(world.shop).call()) == (0, SUSPENDED)
    world.send(moves.reinstate(world.shop), "authority")
    assert moves.getVotes(new).call() == 1
    assert moves.ownerOf(token(world.shop)).call() == new


def test_an_expelled_member_is_not_recovered(world: World) -> None:
    world.send(world.membership.functions.expel(world.shop), "authority")
    refused = world.refusal(world.recovery(world.shop, "newcomer"), "authority")
    assert refused == Refusal("MembershipNotActive", (world.shop, EXPELLED))


def test_a_member_gets_no_account_that_did_not_accept(world: World) -> None:
    account = world.address("newcomer")
    for signature in (
        b"",
        world.recovery_signature(world.bank, "newcomer"),
        world.recovery_signature(world.shop, "stranger"),
        acceptance(world),
    ):
        recover = world.membership.functions.recover(world.shop, account, signature)
        refused = world.refusal(recover, "authority")
        assert refused == Refusal("MembershipNotAccepted", (account.lower(),))


# ── Leaving, and how many stay


@pytest.mark.parametrize("before", [ACTIVE, SUSPENDED])
def test_a_member_leaves_by_its_own_will(world: World, before: int) -> None:
    bring(world, before)
    announce(world, "clinic")
    world.go_to(world.membership.functions.leavesFrom(world.clinic).call())
    receipt = world.send(world.membership.functions.leave(), "clinic")
    assert world.membership.functions.standing(world.clinic).call() == EXPELLED
    assert world.membership.functions.activeCount().call() == 2
    names = [name for name, _ in world.events(receipt, world.membership)]
    assert {"MemberLeft", "MemberExpelled"} <= set(names)


def announce(world: World, actor: str) -> TxReceipt:
    return world.send(world.membership.functions.leave(), actor)


def test_leaving_is_announced_a_week_before(world: World) -> None:
    leave = world.membership.functions.leave()
    receipt = announce(world, "clinic")
    since = world.now + 7 * DAY
    told = ("MemberLeaving", {"id": world.clinic, "from": since})
    assert world.events(receipt, world.membership) == [told]
    assert world.membership.functions.leavesFrom(world.clinic).call() == since
    assert world.membership.functions.standing(world.clinic).call() == ACTIVE
    later = Refusal("MembershipLeavingLater", (world.clinic, since))
    assert world.refusal(leave, "clinic") == later
    world.go_to(since - 1)
    assert world.refusal(leave, "clinic") == later
    world.go_to(since)
    assert world.refusal(leave, "clinic") is None


def test_who_stole_an_account_does_not_end_its_member_before_a_vote_recovers_it(
    world: World,
) -> None:
    announce(world, "shop")
    world.send(world.recovery(world.shop, "newcomer"), "authority")
    world.go_to(world.now + 8 * DAY)
    leave, read = world.membership.functions.leave(), world.membership.functions
    refused = world.refusal(leave, "shop")
    assert refused is not None
    assert refused.error == "MembershipAccountReplaced"
    assert read.leavesFrom(world.shop).call() == 0
    announce(world, "newcomer")  # which has to wait as well
    assert read.standing(world.shop).call() == ACTIVE


def test_who_left_does_not_leave_again(world: World) -> None:
    announce(world, "clinic")
    world.go_to(world.now + 7 * DAY)
    world.send(world.membership.functions.leave(), "clinic")
    refused = world.refusal(world.membership.functions.leave(), "clinic")
    assert refused == Refusal("MembershipNotActive", (world.clinic, EXPELLED))


def test_so_many_members_stay_as_a_vote_needs(world: World) -> None:
    """Else the rest could decide nothing, not even to admit somebody."""
    Government(world, minimum=2)
    moves = world.membership.functions
    world.send(moves.suspend(world.clinic), "authority")
    announce(world, "shop")
    world.go_to(world.now + 7 * DAY)
    too_few = Refusal("MembershipTooFew", (1, 2))
    for call, actor in (
        (moves.suspend(world.shop), "authority"),
        (moves.expel(world.shop), "authority"),
        (moves.leave(), "shop"),
    ):
        assert world.refusal(call, actor) == too_few
    world.send(moves.expel(world.clinic), "authority")  # it had no vote to lose


def test_who_was_expelled_announces_nothing(world: World) -> None:
    world.send(world.membership.functions.expel(world.clinic), "authority")
    refused = world.refusal(world.membership.functions.leave(), "clinic")
    assert refused == Refusal("MembershipNotActive", (world.clinic, EXPELLED))


def test_the_broken_glass_alone_suspends_unreviewed(world: World) -> None:
    suspend = world.membership.functions.suspendUnreviewed(world.clinic)
    for actor in ("authority", "bank", "stranger"):
        refused = world.refusal(suspend, actor)
        expected = Refusal("MembershipNotBreakGlass", (world.address(actor).lower(),))
        assert refused == expected
    name = w("breakglass")
    world.send(world.consortium.functions.setContract(name, world.address("relayer")), "authority")
    receipt = world.send(suspend, "relayer")
    assert world.events(receipt, world.membership)[-1] == ("MemberSuspended", {"id": world.clinic})
    assert world.membership.functions.activeCount().call() == 2
