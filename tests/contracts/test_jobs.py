"""The life of a job: every move from every state, and everything that keeps one from running."""

from collections.abc import Callable
from typing import Any

import pytest
from web3.contract.contract import ContractFunction

from tests.contracts.world import (
    ALGORITHM,
    DAY,
    OTHER_ALGORITHM,
    PREDICTION,
    ZERO,
    Id,
    Refusal,
    World,
    h,
    w,
)

(
    NONE,
    PROPOSED,
    APPROVED,
    RUNNING,
    SUCCEEDED,
    FAILED,
    CANCELLED,
    REJECTED,
    EXPIRED,
) = range(9)
REASON = w("WorkerLost")
SPECIFICATION = h("specification")


def state(world: World, job: Id) -> int:
    return int(world.jobs.functions.state(job).call())


# ------------------------------------------------------------------------------ states and moves


def _failed(world: World) -> Id:
    job = world.running()
    world.send(world.jobs.functions.fail(job, world.shop_site, REASON), "shop_node")
    return job


def _cancelled(world: World) -> Id:
    job = world.propose()
    world.send(world.jobs.functions.cancel(job, world.bank_site, REASON), "bank_node")
    return job


def _rejected(world: World) -> Id:
    job = world.propose()
    world.send(world.jobs.functions.reject(job, world.shop_site, REASON), "shop_node")
    return job


def _expired(world: World) -> Id:
    job = world.propose(deadline=world.now + 100)
    world.go_to(world.now + 200)
    world.send(world.jobs.functions.expire(job), "stranger")
    return job


BRING: dict[int, Callable[[World], Id]] = {
    PROPOSED: World.propose,
    APPROVED: World.approved,
    RUNNING: World.running,
    SUCCEEDED: World.succeeded,
    FAILED: _failed,
    CANCELLED: _cancelled,
    REJECTED: _rejected,
    EXPIRED: _expired,
}
MOVES: dict[str, Callable[[World, Id], ContractFunction]] = {
    "approve": lambda w_, job: w_.jobs.functions.approve(job, w_.shop_site, SPECIFICATION),
    "reject": lambda w_, job: w_.jobs.functions.reject(job, w_.shop_site, REASON),
    "start": lambda w_, job: w_.jobs.functions.start(job),
    "attest": lambda w_, job: w_.jobs.functions.attest(job, w_.shop_site, h("result")),
    "fail": lambda w_, job: w_.jobs.functions.fail(job, w_.shop_site, REASON),
    "cancel": lambda w_, job: w_.jobs.functions.cancel(job, w_.shop_site, REASON),
}
ACTOR = dict.fromkeys(MOVES, "shop_node") | {"start": "bank_node"}
# What the interface says; every other move from every other state is refused.
ALLOWED = {
    (PROPOSED, "approve"): APPROVED,
    (PROPOSED, "reject"): REJECTED,
    (PROPOSED, "cancel"): CANCELLED,
    (APPROVED, "start"): RUNNING,
    (APPROVED, "cancel"): CANCELLED,
    (RUNNING, "attest"): RUNNING,  # until all have spoken
    (RUNNING, "fail"): FAILED,
    (RUNNING, "cancel"): CANCELLED,
}
NEEDED = {
    "approve": "Proposed",
    "reject": "Proposed",
    "start": "Approved",
    "attest": "Running",
    "fail": "Running",
    "cancel": "Proposed, Approved, Running",
    "expire": "Proposed, Approved, Running",
}


@pytest.mark.parametrize("before", BRING)
def test_a_job_moves_as_the_table_says_and_in_no_other_way(world: World, before: int) -> None:
    job = BRING[before](world)
    assert state(world, job) == before
    for move, make in MOVES.items():
        with world.anchored():
            if (before, move) in ALLOWED:
                world.send(make(world, job), ACTOR[move])
                assert state(world, job) == ALLOWED[before, move]
            else:
                refused = world.refusal(make(world, job), ACTOR[move])
                assert refused == Refusal("JobWrongState", (job, before, NEEDED[move]))


@pytest.mark.parametrize("before", BRING)
def test_only_an_open_job_expires_and_after_its_deadline_only(world: World, before: int) -> None:
    job = BRING[before](world)
    deadline = world.jobs.functions.job(job).call()[5]
    expire = world.jobs.functions.expire(job)
    if before in (PROPOSED, APPROVED, RUNNING):
        assert world.refusal(expire) == Refusal("JobDeadlineNotPassed", (job, deadline))
        world.go_to(deadline)
        world.send(expire, "stranger")
        assert state(world, job) == EXPIRED
        assert world.jobs.functions.job(job).call()[9] == world.block
    else:
        world.go_to(world.now + 2 * DAY)
        refused = world.refusal(expire)
        assert refused == Refusal("JobWrongState", (job, before, NEEDED["expire"]))


@pytest.mark.parametrize("before", [PROPOSED, APPROVED, RUNNING])
def test_a_job_is_expired_at_its_deadline_before_anyone_says_so(world: World, before: int) -> None:
    job = BRING[before](world)
    deadline = world.jobs.functions.job(job).call()[5]
    world.go_to(deadline - 1)
    assert state(world, job) == before
    world.go_to(deadline)
    assert state(world, job) == EXPIRED
    assert world.jobs.functions.job(job).call()[10] == before
    passed = Refusal("JobDeadlinePassed", (job, deadline))
    for move, make in MOVES.items():
        if (before, move) in ALLOWED:
            assert world.refusal(make(world, job), ACTOR[move]) == passed
    assert world.refusal(world.jobs.functions.requireRunnable(job)) == passed


# ------------------------------------------------------------------------------ proposing


def refused_proposal(world: World, actor: str = "bank_node", **changed: Any) -> Refusal | None:
    return world.refusal(world.jobs.functions.propose(world.proposal(**changed)), actor)


def test_a_proposal_is_recorded_with_the_proposers_approval(world: World) -> None:
    proposal = world.proposal()
    receipt = world.send(world.jobs.functions.propose(proposal), "bank_node")
    operator, nonce = world.address("bank_node"), proposal["nonce"]
    job = bytes(world.jobs.functions.jobIdFor(operator, nonce).call())

    read = world.jobs.functions
    assert read.job(job).call() == (
        world.bank_site,
        world.bank,
        h("specification"),
        ALGORITHM,
        w("training"),
        proposal["deadline"],
        world.block,
        0,
        0,
        0,
        PROPOSED,
        ZERO,
        ZERO,
    )
    assert read.parties(job).call() == proposal["parties"]
    assert read.uses(job).call() == proposal["uses"]
    assert read.approvedAt(job, world.bank_site).call() == world.block
    assert read.approvedAt(job, world.shop_site).call() == 0
    assert read.jobCount().call() == 1
    assert read.jobs(0, 5).call() == [job]
    assert [name for name, _ in world.events(receipt, world.jobs)] == [
        "JobProposed",
        "JobPartyAdded",
        "JobPartyAdded",
        "JobApproval",
    ]


def test_a_proposal_is_not_repeated(world: World) -> None:
    proposal = world.proposal()
    world.send(world.jobs.functions.propose(proposal), "bank_node")
    operator, nonce = world.address("bank_node"), proposal["nonce"]
    job = bytes(world.jobs.functions.jobIdFor(operator, nonce).call())
    refused = world.refusal(world.jobs.functions.propose(proposal), "bank_node")
    assert refused == Refusal("JobTaken", (job,))


def test_a_proposal_comes_from_the_operator_of_its_guest(world: World) -> None:
    operator = world.address("bank_node").lower()
    for actor in ("bank", "shop_node", "stranger"):
        refused = refused_proposal(world, actor)
        caller = world.address(actor).lower()
        assert refused == Refusal("SiteNotOperator", (world.bank_site, caller, operator))


def test_the_parties_of_a_proposal_make_sense(world: World) -> None:
    guest, host = (world.bank_site, w("guest")), (world.shop_site, w("host"))
    clinic = world.clinic_site
    wrong = {
        "fewer than two": [guest],
        "the first is not the guest": [(world.bank_site, w("host")), host],
        "a second guest": [guest, (clinic, w("guest"))],
        "unknown role": [guest, host, (clinic, w("oracle"))],
    }
    for what, parties in wrong.items():
        refused = refused_proposal(world, parties=parties, uses=[])
        assert refused == Refusal("JobBadParties", (what,))
    assert refused_proposal(world, parties=[], uses=[]) == Refusal(
        "JobBadParties", ("fewer than two",)
    )
    assert refused_proposal(world, parties=[guest, host, (clinic, w("arbiter"))]) is None


def test_a_party_stands_once(world: World) -> None:
    parties = [(world.bank_site, w("guest"))] + [(world.shop_site, w("host"))] * 2
    assert refused_proposal(world, parties=parties) == Refusal(
        "JobDuplicateParty", (world.shop_site,)
    )
    parties = [(world.bank_site, w("guest")), (world.bank_site, w("host"))]
    assert refused_proposal(world, parties=parties) == Refusal(
        "JobDuplicateParty", (world.bank_site,)
    )


def test_parties_and_uses_are_limited(world: World) -> None:
    parties = [(world.bank_site, w("guest"))] + [(h(str(n)), w("host")) for n in range(16)]
    assert refused_proposal(world, parties=parties) == Refusal("JobTooManyParties", (17, 16))
    uses = [(0, world.bank_data, 1, ZERO)] * 33
    assert refused_proposal(world, uses=uses) == Refusal("JobTooManyUses", (33, 32))
    assert refused_proposal(world, uses=uses[:32]) is None


def test_the_deadline_is_ahead_and_at_most_thirty_days(world: World) -> None:
    refused = refused_proposal(world, deadline=world.now - 1)
    assert refused is not None
    assert refused.error == "JobDeadlinePassed"
    refused = refused_proposal(world, deadline=world.now + 31 * DAY)
    assert refused is not None
    assert refused.error == "JobDeadlineTooFar"
    assert refused.values[0] - refused.values[1] >= DAY - 60
    assert refused_proposal(world, deadline=world.now + 30 * DAY) is None


def test_a_use_is_of_data_that_the_party_holds(world: World) -> None:
    shop = (0, world.shop_data, 1, world.shop_grant)
    assert refused_proposal(world, uses=[shop]) == Refusal(
        "JobUseNotHeld", (world.shop_data, world.shop_site, world.bank_site)
    )
    nobody = (2, world.shop_data, 1, world.shop_grant)
    assert refused_proposal(world, uses=[nobody]) == Refusal("JobBadParties", ("a use by nobody",))


def test_data_of_others_needs_a_grant_and_ones_own_takes_none(world: World) -> None:
    missing = [(1, world.shop_data, 1, ZERO)]
    assert refused_proposal(world, uses=missing) == Refusal(
        "JobGrantMissing", (world.shop_data, world.shop, world.bank)
    )
    unexpected = [(0, world.bank_data, 1, world.shop_grant)]
    assert refused_proposal(world, uses=unexpected) == Refusal(
        "JobUnexpectedGrant", (world.bank_data, world.shop_grant)
    )


def test_a_second_site_of_the_proposers_member_needs_no_grant(world: World) -> None:
    branch = world.register_site("bank", "newcomer", "request")
    data = world.register_dataset(branch, "newcomer", "branch")
    parties = [(world.bank_site, w("guest")), (branch, w("host"))]
    assert refused_proposal(world, parties=parties, uses=[(1, data, 1, ZERO)]) is None


def test_two_sites_of_one_institution_are_one_party_to_a_grant(world: World) -> None:
    grant = world.grant(minParties=3)
    branch = world.register_site("bank", "newcomer", "request")
    parties = [
        (world.bank_site, w("guest")),
        (world.shop_site, w("host")),
        (branch, w("host")),
    ]
    uses = [(1, world.shop_data, 1, grant)]
    refused = refused_proposal(world, parties=parties, uses=uses)
    assert refused == Refusal("ConsentTooFewParties", (grant, 2, 3))
    parties[2] = (world.clinic_site, w("host"))
    assert refused_proposal(world, parties=parties, uses=uses) is None


# ------------------------------------------------------------------------------ approving


def test_a_job_is_approved_when_every_party_has(world: World) -> None:
    parties = [
        (world.bank_site, w("guest")),
        (world.shop_site, w("host")),
        (world.clinic_site, w("arbiter")),
    ]
    job = world.propose(parties=parties)
    world.approve(job, world.clinic_site, "clinic_node")
    assert state(world, job) == PROPOSED
    receipt = world.approve(job, world.shop_site, "shop_node")
    assert state(world, job) == APPROVED
    assert world.jobs.functions.job(job).call()[7] == world.block
    assert [name for name, _ in world.events(receipt, world.jobs)] == ["JobApproval", "JobApproved"]


def test_a_party_approves_once(world: World) -> None:
    job = world.propose()
    again = world.jobs.functions.approve(job, world.bank_site, SPECIFICATION)
    refused = world.refusal(again, "bank_node")
    assert refused == Refusal("JobAlreadyApproved", (job, world.bank_site))


@pytest.mark.parametrize("read", [ZERO, h("another specification")])
def test_what_was_not_proposed_is_not_approved(world: World, read: bytes) -> None:
    """A party that was shown another specification cannot give its word to this one."""
    job = world.propose()
    approve = world.jobs.functions.approve(job, world.shop_site, read)
    refused = world.refusal(approve, "shop_node")
    assert refused == Refusal("JobWrongSpecification", (job, read, SPECIFICATION))
    world.approve(job, world.shop_site, "shop_node")


@pytest.mark.parametrize("move", ["approve", "reject", "attest", "fail", "cancel"])
def test_only_a_party_speaks_and_only_for_itself(world: World, move: str) -> None:
    job = world.running() if move in ("attest", "fail") else world.propose()
    extra = (SPECIFICATION if move == "approve" else REASON,)
    functions = world.jobs.functions

    outsider = world.refusal(functions[move](job, world.clinic_site, *extra), "clinic_node")
    assert outsider == Refusal("JobNotParty", (job, world.clinic_site))

    other = world.refusal(functions[move](job, world.shop_site, *extra), "bank_node")
    bank, shop = world.address("bank_node").lower(), world.address("shop_node").lower()
    if move in ("approve", "attest"):
        assert other == Refusal("SiteNotOperator", (world.shop_site, bank, shop))
    else:
        assert other == Refusal("JobNotParty", (job, world.bank_site))


def test_only_the_proposer_starts(world: World) -> None:
    job = world.approved()
    refused = world.refusal(world.jobs.functions.start(job), "shop_node")
    assert refused == Refusal("JobNotProposer", (job, world.shop_site))
    refused = world.refusal(world.jobs.functions.start(job), "stranger")
    assert refused == Refusal("JobNotProposer", (job, ZERO))


# ------------------------------------------------------------------------------ the brake


def paused(world: World) -> Refusal:
    """What is told while the brake is pulled; three members' voices are enough for two."""
    for member in ("clinic", "shop"):
        world.send(world.brake.functions.pull(h("stop")), member)
    return Refusal("BrakePulled", (world.brake.functions.pausedUntil().call(),))


@pytest.mark.parametrize(("before", "move"), ALLOWED)
def test_the_brake_stops_what_leads_to_a_result_and_nothing_else(
    world: World, before: int, move: str
) -> None:
    job = BRING[before](world)
    pause = paused(world)
    refused = world.refusal(MOVES[move](world, job), ACTOR[move])
    if move in ("approve", "start", "attest"):
        assert refused == pause
        world.go_to(pause.values[0])
        job = BRING[before](world)  # the deadline of the first may have passed
    world.send(MOVES[move](world, job), ACTOR[move])
    assert state(world, job) == ALLOWED[before, move]


def test_nothing_is_proposed_or_runnable_while_the_brake_is_pulled(world: World) -> None:
    jobs = [world.propose(), world.approved(), world.running()]
    pause = paused(world)
    assert refused_proposal(world) == pause
    for job in jobs:
        assert world.refusal(world.jobs.functions.requireRunnable(job)) == pause
    world.send(world.brake.functions.release(), "authority")
    assert refused_proposal(world) is None


def test_a_job_expires_while_the_brake_is_pulled(world: World) -> None:
    job = world.propose(deadline=world.now + 100)
    paused(world)
    world.go_to(world.now + 200)
    world.send(world.jobs.functions.expire(job), "stranger")
    assert state(world, job) == EXPIRED


# ------------------------------------------------------------------------------ what was granted


def test_a_grant_that_expires_stops_the_running_job(world: World) -> None:
    until = world.now + 1000
    grant = world.grant(until=until)
    uses = [(1, world.shop_data, 1, grant)]
    approved, running = world.approved(uses=uses), world.running(uses=uses)
    world.go_to(until)
    expired = Refusal("ConsentExpired", (grant, until))
    assert world.refusal(world.jobs.functions.start(approved), "bank_node") == expired
    assert world.refusal(world.jobs.functions.requireRunnable(running)) == expired


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"purpose": PREDICTION}, "ConsentWrongPurpose"),
        ({"purpose": w("marketing")}, "ConsortiumPurposeNotAllowed"),
        ({"algorithm": OTHER_ALGORITHM}, "ConsentWrongAlgorithm"),
    ],
)
def test_a_job_asks_for_what_was_granted(world: World, changed: dict[str, Any], error: str) -> None:
    world.send(world.consortium.functions.allowAlgorithm(OTHER_ALGORITHM, "logistic"), "authority")
    refused = refused_proposal(world, **changed)
    assert refused is not None
    assert refused.error == error


def test_a_grant_to_another_member_does_not_serve(world: World) -> None:
    grant = world.grant(grantee=world.clinic)
    refused = refused_proposal(world, uses=[(1, world.shop_data, 1, grant)])
    assert refused == Refusal("ConsentWrongGrantee", (grant, world.bank, world.clinic))


def test_a_grant_for_another_dataset_or_version_does_not_serve(world: World) -> None:
    visits = world.register_dataset(world.shop_site, "shop_node", "visits")
    refused = refused_proposal(world, uses=[(1, visits, 1, world.shop_grant)])
    assert refused == Refusal("ConsentWrongDataset", (world.shop_grant, visits, world.shop_data))
    for version in (2, 3):
        added = world.datasets.functions.addVersion(world.shop_data, h("s"), h("r"), 1, 1)
        world.send(added, "shop_node")
        refused = refused_proposal(world, uses=[(1, world.shop_data, version, world.shop_grant)])
        wrong = Refusal("ConsentWrongVersion", (world.shop_grant, version, 1, 2))
        assert refused == (wrong if version == 3 else None)


# ------------------------------------------------------------------------------ counting uses


def test_the_start_after_the_last_allowed_one_is_refused(world: World) -> None:
    grant = world.grant(uses=3)
    uses = [(1, world.shop_data, 1, grant)]
    parallel = [world.approved(uses=uses) for _ in range(4)]
    for used, job in enumerate(parallel[:3], start=1):
        world.send(world.jobs.functions.start(job), "bank_node")
        assert world.consents.functions.record(grant).call()[2] == used

    used_up = Refusal("ConsentUsedUp", (grant, 3))
    assert world.refusal(world.jobs.functions.start(parallel[3]), "bank_node") == used_up
    assert world.refusal(world.jobs.functions.requireRunnable(parallel[3])) == used_up
    assert refused_proposal(world, uses=uses) == used_up
    assert world.refusal(world.jobs.functions.requireRunnable(parallel[0])) is None


def test_a_use_is_not_returned_by_a_failure(world: World) -> None:
    grant = world.grant(uses=1)
    uses = [(1, world.shop_data, 1, grant)]
    job = world.running(uses=uses)
    world.send(world.jobs.functions.fail(job, world.bank_site, REASON), "bank_node")
    assert refused_proposal(world, uses=uses) == Refusal("ConsentUsedUp", (grant, 1))


def test_a_grant_for_two_versions_counts_one_start(world: World) -> None:
    added = world.datasets.functions.addVersion(world.shop_data, h("s"), h("r"), 1, 1)
    world.send(added, "shop_node")
    grant = world.grant(uses=1)
    uses = [(1, world.shop_data, version, grant) for version in (1, 2)]
    world.running(uses=uses)
    assert world.consents.functions.record(grant).call()[2] == 1


def test_a_refused_start_consumes_nothing(world: World) -> None:
    first, second = world.grant(), world.grant()
    added = world.datasets.functions.addVersion(world.shop_data, h("s"), h("r"), 1, 1)
    world.send(added, "shop_node")
    job = world.approved(uses=[(1, world.shop_data, 1, first), (1, world.shop_data, 2, second)])
    world.send(world.consents.functions.revoke(second), "shop")
    refused = world.refusal(world.jobs.functions.start(job), "bank_node")
    assert refused == Refusal("ConsentRevoked", (second, world.block))
    assert world.consents.functions.record(first).call()[2] == 0


# ------------------------------------------------------------------------------ the result


def test_equal_words_of_all_parties_make_a_success(world: World) -> None:
    job = world.running()
    attest = world.jobs.functions.attest
    world.send(attest(job, world.shop_site, h("result")), "shop_node")
    assert state(world, job) == RUNNING
    receipt = world.send(attest(job, world.bank_site, h("result")), "bank_node")

    assert state(world, job) == SUCCEEDED
    found = world.jobs.functions.job(job).call()
    assert found[9:] == (world.block, SUCCEEDED, ZERO, world.bank_site)
    assert world.jobs.functions.attestation(job, world.bank_site).call() == [
        h("result"),
        world.block,
    ]
    succeeded = {"id": job, "result": h("result")}
    assert world.events(receipt, world.jobs)[-1] == ("JobSucceeded", succeeded)


def test_unequal_words_make_a_failure(world: World) -> None:
    job = world.running()
    attest = world.jobs.functions.attest
    world.send(attest(job, world.shop_site, h("result")), "shop_node")
    receipt = world.send(attest(job, world.bank_site, h("another")), "bank_node")

    assert state(world, job) == FAILED
    found = world.jobs.functions.job(job).call()
    assert found[10:] == (FAILED, w("ResultMismatch"), world.bank_site)
    failed = {"id": job, "site": world.bank_site, "reason": w("ResultMismatch")}
    assert world.events(receipt, world.jobs)[-1] == ("JobFailed", failed)


def test_a_party_attests_once(world: World) -> None:
    job = world.running()
    attest = world.jobs.functions.attest
    world.send(attest(job, world.shop_site, h("result")), "shop_node")
    refused = world.refusal(attest(job, world.shop_site, h("another")), "shop_node")
    assert refused == Refusal("JobAlreadyAttested", (job, world.shop_site))


def test_a_suspended_party_attests_nothing_but_can_stop(world: World) -> None:
    job = world.running()
    world.send(world.membership.functions.suspend(world.shop), "authority")
    attest = world.jobs.functions.attest(job, world.shop_site, h("result"))
    refused = world.refusal(attest, "shop_node")
    assert refused == Refusal("MembershipNotActive", (world.shop, 2))
    world.send(world.jobs.functions.cancel(job, world.shop_site, REASON), "shop_node")


@pytest.mark.parametrize(
    ("move", "event"),
    [("fail", "JobFailed"), ("cancel", "JobCancelled"), ("reject", "JobRejected")],
)
def test_who_ended_a_job_and_why_is_kept(world: World, move: str, event: str) -> None:
    job = world.propose() if move == "reject" else world.running()
    receipt = world.send(world.jobs.functions[move](job, world.shop_site, REASON), "shop_node")
    assert world.jobs.functions.job(job).call()[11:] == (REASON, world.shop_site)
    assert world.jobs.functions.job(job).call()[9] == world.block
    ended = {"id": job, "site": world.shop_site, "reason": REASON}
    assert world.events(receipt, world.jobs) == [(event, ended)]


def test_an_unknown_job_is_refused(world: World) -> None:
    unknown = Refusal("JobUnknown", (h("none"),))
    functions = world.jobs.functions
    for move in MOVES.values():
        assert world.refusal(move(world, h("none")), "shop_node") == unknown
    for read in ("job", "parties", "uses", "requireRunnable", "expire"):
        assert world.refusal(functions[read](h("none"))) == unknown
    assert world.refusal(functions.approvedAt(h("none"), world.bank_site)) == unknown
    assert world.refusal(functions.attestation(h("none"), world.bank_site)) == unknown
    assert state(world, h("none")) == NONE
