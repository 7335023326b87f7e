"""What keeps a job from being proposed, from starting, and from going on."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from tests.contracts.world import ALGORITHM, TRAINING, Id, Refusal, World, h, w


class Jobs(NamedTuple):
    """One in each state from which a job may run."""

    proposed: Id
    approved: Id
    running: Id


@pytest.fixture(scope="module")
def jobs(deployed: World) -> Iterator[Jobs]:
    with deployed.anchored():
        yield Jobs(deployed.propose(), deployed.approved(), deployed.running())


def _suspend(member: str) -> Callable[[World], Refusal]:
    def spoil(world: World) -> Refusal:
        world.send(world.membership.functions.suspend(getattr(world, member)), "authority")
        return Refusal("MembershipNotActive", (getattr(world, member), 2))

    return spoil


def _expel(world: World) -> Refusal:
    world.send(world.membership.functions.expel(world.shop), "authority")
    return Refusal("MembershipNotActive", (world.shop, 3))


def _retire(world: World) -> Refusal:
    world.send(world.sites.functions.retire(world.shop_site), "shop")
    return Refusal("SiteRetired", (world.shop_site, world.block))


def _revoke_key(world: World) -> Refusal:
    key = bytes(world.sites.functions.keys(world.shop_site).call()[0][0])
    world.send(world.sites.functions.revokeKey(world.shop_site, key), "shop")
    return Refusal("SiteKeyRevoked", (world.shop_site, key, world.block))


def _forbid(world: World) -> Refusal:
    world.send(world.consortium.functions.forbidAlgorithm(ALGORITHM), "authority")
    return Refusal("ConsortiumAlgorithmNotAllowed", (ALGORITHM,))


def _withdraw(world: World) -> Refusal:
    world.send(world.datasets.functions.withdrawVersion(world.shop_data, 1), "shop_node")
    return Refusal("DatasetVersionWithdrawn", (world.shop_data, 1, world.block))


def _revoke(world: World) -> Refusal:
    world.send(world.consents.functions.revoke(world.shop_grant), "shop")
    return Refusal("ConsentRevoked", (world.shop_grant, world.block))


def _amend(world: World) -> Refusal:
    world.grant(amends=world.shop_grant)
    return Refusal("ConsentAmended", (world.shop_grant, world.block))


def _withdraw_purpose(world: World) -> Refusal:
    world.send(world.consortium.functions.withdrawPurpose(TRAINING), "authority")
    return Refusal("ConsortiumPurposeNotAllowed", (TRAINING,))


def _ask_for_an_attestation(world: World) -> Refusal:
    kind = w("iso-27001")
    world.send(world.attestations.functions.setRequired(kind, True), "authority")
    return Refusal("AttestationMissing", (world.bank, kind))


def _pull_the_brake(world: World) -> Refusal:
    for member in ("clinic", "shop"):
        world.send(world.brake.functions.pull(h("stop")), member)
    return Refusal("BrakePulled", (world.brake.functions.pausedUntil().call(),))


SPOILS = {
    "the proposer's member is suspended": _suspend("bank"),
    "a party's member is suspended": _suspend("shop"),
    "a party's member is expelled": _expel,
    "a party's site is retired": _retire,
    "a party's request key is revoked": _revoke_key,
    "the algorithm is forbidden": _forbid,
    "a dataset version is withdrawn": _withdraw,
    "a grant is revoked": _revoke,
    "a grant is amended": _amend,
    "the purpose is withdrawn": _withdraw_purpose,
    "a member lacks an attestation": _ask_for_an_attestation,
    "the brake is pulled": _pull_the_brake,
}


@pytest.mark.parametrize("spoil", SPOILS.values(), ids=SPOILS)
def test_no_job_is_proposed_started_or_kept_running_when(
    world: World, jobs: Jobs, spoil: Callable[[World], Refusal]
) -> None:
    again = world.proposal()
    for job in jobs:
        assert world.refusal(world.jobs.functions.requireRunnable(job)) is None

    expected = spoil(world)

    assert world.refusal(world.jobs.functions.start(jobs.approved), "bank_node") == expected
    for job in jobs:
        assert world.refusal(world.jobs.functions.requireRunnable(job)) == expected
    refused = world.refusal(world.jobs.functions.propose(again), "bank_node")
    assert refused is not None
    assert refused.error == expected.error
