"""Members, their standing through time, and the vote that does not move."""

import pytest

from tests.contracts.world import Refusal, World, h

NONE, ACTIVE, SUSPENDED, EXPELLED = range(4)


def token(member: bytes) -> int:
    return int.from_bytes(member)


def test_an_admitted_member_is_active_and_holds_one_locked_vote(world: World) -> None:
    account = world.address("newcomer")
    receipt = world.send(world.membership.functions.admit(account, "Bakery", 7), "authority")
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
    refused = world.refusal(
        world.membership.functions.admit(world.address("bank"), "Twin", 8), "authority"
    )
    assert refused == Refusal("MembershipAccountTaken", (world.address("bank").lower(), world.bank))


def test_a_member_id_is_given_once(world: World) -> None:
    account = world.address("newcomer")
    world.send(world.membership.functions.admit(account, "Bakery", 7), "authority")
    member = bytes(world.membership.functions.memberIdFor(account, 7).call())
    refused = world.refusal(world.membership.functions.admit(account, "Bakery", 7), "authority")
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
