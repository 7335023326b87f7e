"""Some members together stop new work at once, and only for a while."""

import pytest
from web3.types import TxReceipt

from tests.contracts.world import DAY, Refusal, World, h, w

HOUR = 3600


def pull(world: World, actor: str) -> TxReceipt:
    return world.send(world.brake.functions.pull(h("fire")), actor)


def paused(world: World) -> bool:
    return bool(world.brake.functions.isPaused().call())


def set_minimum(world: World, name: str, value: int) -> None:
    world.send(world.consortium.functions.setMinimum(w(name), value), "authority")


def test_two_members_pull_the_brake_for_a_day(world: World) -> None:
    first = pull(world, "bank")
    assert not paused(world)
    assert world.brake.functions.voices().call() == [world.bank]
    second = pull(world, "shop")

    until = world.now + DAY
    assert paused(world)
    assert world.brake.functions.pausedUntil().call() == until
    assert world.brake.functions.voices().call() == []
    voiced = {"reason": h("fire"), "needed": 2}
    assert world.events(first, world.brake) == [
        ("BrakeVoiced", {"member": world.bank, "voices": 1, **voiced})
    ]
    assert world.events(second, world.brake) == [
        ("BrakeVoiced", {"member": world.shop, "voices": 2, **voiced}),
        ("BrakePaused", {"until": until}),
    ]
    refused = world.refusal(world.brake.functions.requireReleased())
    assert refused == Refusal("BrakePulled", (until,))


def test_the_same_member_twice_is_one_voice(world: World) -> None:
    for _ in range(3):
        pull(world, "bank")
    assert not paused(world)
    assert world.brake.functions.voices().call() == [world.bank]


def test_a_voice_stands_for_an_hour(world: World) -> None:
    pull(world, "bank")
    world.go_to(world.now + HOUR)
    assert world.brake.functions.voices().call() == []
    pull(world, "shop")
    assert not paused(world)
    assert world.brake.functions.voices().call() == [world.shop]


def test_a_voice_is_renewed_by_a_second_one(world: World) -> None:
    pull(world, "bank")
    world.go_to(world.now + HOUR - 60)
    pull(world, "bank")
    world.go_to(world.now + HOUR - 60)
    pull(world, "shop")
    assert paused(world)


def test_a_pause_ends_by_itself(world: World) -> None:
    for actor in ("bank", "shop"):
        pull(world, actor)
    until = world.brake.functions.pausedUntil().call()
    world.go_to(until - 1)
    assert paused(world)
    world.go_to(until)
    assert not paused(world)
    assert world.refusal(world.brake.functions.requireReleased()) is None


def test_voices_are_used_up_by_the_pause(world: World) -> None:
    """Else one member would lengthen it alone."""
    set_minimum(world, "pause-seconds", 60)
    for actor in ("bank", "shop"):
        pull(world, actor)
    refused = world.refusal(world.brake.functions.pull(h("more")), "clinic")
    assert refused == Refusal("BrakePulled", (world.brake.functions.pausedUntil().call(),))
    world.go_to(world.now + 60)
    pull(world, "clinic")
    assert not paused(world)


@pytest.mark.parametrize("released", [False, True])
def test_who_pulled_the_brake_raises_no_voice_for_a_week_after_the_pause(
    world: World, released: bool
) -> None:
    """Else the same two would stop all work for as long as they like."""
    again = world.brake.functions.pull(h("again"))
    for actor in ("bank", "shop"):
        pull(world, actor)
    until = world.brake.functions.pausedUntil().call()
    rests = until + 7 * DAY
    assert [
        world.brake.functions.restsUntil(member).call()
        for member in (world.bank, world.shop, world.clinic)
    ] == [rests, rests, 0]
    if released:
        world.send(world.brake.functions.release(), "authority")
    else:
        world.go_to(until)
    for actor, member in (("bank", world.bank), ("shop", world.shop)):
        assert world.refusal(again, actor) == Refusal("BrakeResting", (member, rests))
    pull(world, "clinic")
    world.go_to(rests - 1)
    assert world.refusal(again, "bank") == Refusal("BrakeResting", (world.bank, rests))
    world.go_to(rests)
    pull(world, "bank")
    pull(world, "shop")
    assert paused(world)


def test_a_member_rests_whatever_its_account(world: World) -> None:
    set_minimum(world, "pause-seconds", 60)
    for actor in ("bank", "shop"):
        pull(world, actor)
    world.go_to(world.now + 60)
    world.send(world.recovery(world.shop, "newcomer"), "authority")
    refused = world.refusal(world.brake.functions.pull(h("again")), "newcomer")
    assert refused is not None
    assert refused.error == "BrakeResting"


@pytest.mark.parametrize(("members", "needed"), [(0, 2), (1, 2), (2, 2), (3, 3)])
def test_so_many_members_pull_as_the_consortium_says_and_two_at_least(
    world: World, members: int, needed: int
) -> None:
    set_minimum(world, "pause-members", members)
    assert world.brake.functions.membersNeeded().call() == needed
    actors = ("bank", "shop", "clinic")[:needed]
    for actor in actors[:-1]:
        pull(world, actor)
    assert not paused(world)
    pull(world, actors[-1])
    assert paused(world)


@pytest.mark.parametrize(
    ("seconds", "found"),
    [(0, DAY), (60, 60), (7 * DAY, 7 * DAY), (7 * DAY + 1, 7 * DAY), (2**255, 7 * DAY)],
)
def test_a_pause_is_as_long_as_the_consortium_says_and_a_week_at_most(
    world: World, seconds: int, found: int
) -> None:
    set_minimum(world, "pause-seconds", seconds)
    assert world.brake.functions.pauseSeconds().call() == found
    for actor in ("bank", "shop"):
        pull(world, actor)
    assert world.brake.functions.pausedUntil().call() == world.now + found


def test_who_is_no_active_member_has_no_voice(world: World) -> None:
    refused = world.refusal(world.brake.functions.pull(h("fire")), "stranger")
    stranger = world.address("stranger").lower()
    assert refused == Refusal("MembershipNotAMember", (stranger,))
    world.send(world.membership.functions.suspend(world.clinic), "authority")
    refused = world.refusal(world.brake.functions.pull(h("fire")), "clinic")
    assert refused == Refusal("MembershipNotActive", (world.clinic, 2))


def test_a_voice_falls_silent_with_its_member(world: World) -> None:
    pull(world, "bank")
    world.send(world.membership.functions.suspend(world.bank), "authority")
    assert world.brake.functions.voices().call() == []
    pull(world, "shop")
    assert not paused(world)
    pull(world, "clinic")
    assert paused(world)


def test_a_member_has_one_voice_whatever_its_account(world: World) -> None:
    pull(world, "shop")
    world.send(world.recovery(world.shop, "newcomer"), "authority")
    pull(world, "newcomer")
    assert not paused(world)


def test_the_authority_releases_before_the_time(world: World) -> None:
    release = world.brake.functions.release()
    assert world.refusal(release, "authority") == Refusal("BrakeNotPulled", ())
    for actor in ("bank", "shop"):
        pull(world, actor)
    for actor in ("bank", "stranger"):
        refused = world.refusal(release, actor)
        assert refused is not None
        assert refused.error == "ConsortiumNotAuthority"
    until = world.brake.functions.pausedUntil().call()
    receipt = world.send(release, "authority")
    assert world.events(receipt, world.brake) == [("BrakeReleased", {"until": until})]
    assert until > world.now
    assert not paused(world)
