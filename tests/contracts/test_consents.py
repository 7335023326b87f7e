"""Grants: what they allow, how they end, and whose word they are."""

from collections.abc import Mapping
from typing import Any

import pytest
from eth_account.messages import encode_typed_data
from eth_utils.crypto import keccak

from chain.compile import Artifact
from tests.contracts.world import (
    ALGORITHM,
    ALL_MEMBERS,
    DAY,
    EMERGENCY,
    GRANT_TYPES,
    OTHER_ALGORITHM,
    PREDICTION,
    TRAINING,
    ZERO,
    Id,
    Refusal,
    World,
    h,
    w,
)

NONE, ACTIVE, EXPIRED, USED_UP, REVOKED, AMENDED = range(6)


def ask(world: World, grant: Id, **changed: Any) -> tuple[Any, ...]:
    """Arguments of requireUsable and requireStanding: what the bank may do, but for `changed`."""
    asked = {
        "id": grant,
        "grantee": world.bank,
        "datasetId": world.shop_data,
        "version": 1,
        "purpose": TRAINING,
        "algorithm": ALGORITHM,
        "parties": 2,
        **changed,
    }
    return tuple(asked.values())


def usable(world: World, grant: Id, **changed: Any) -> Refusal | None:
    return world.refusal(world.consents.functions.requireUsable(*ask(world, grant, **changed)))


def standing(world: World, grant: Id, **changed: Any) -> Refusal | None:
    return world.refusal(world.consents.functions.requireStanding(*ask(world, grant, **changed)))


def state(world: World, grant: Id) -> int:
    return int(world.consents.functions.state(grant).call())


def offer(world: World, terms: Mapping[str, Any], signature: bytes) -> Refusal | None:
    return world.refusal(world.consents.functions.grant(terms, signature), "relayer")


# ------------------------------------------------------------------------------ recording


def test_a_signed_grant_is_recorded_by_whoever_relays_it(world: World) -> None:
    terms = world.terms()
    signature = world.sign(terms, "shop")
    receipt = world.send(world.consents.functions.grant(terms, signature), "stranger")

    grant = bytes(world.consents.functions.grantIdFor(world.address("shop"), terms["nonce"]).call())
    record = world.consents.functions.record(grant).call()
    assert record == (tuple(terms.values()), world.shop, 0, world.block, 0, 0)
    assert state(world, grant) == ACTIVE
    assert usable(world, grant) is None
    granted = {
        "id": grant,
        "owner": world.shop,
        "grantee": world.bank,
        "datasetId": world.shop_data,
    }
    assert world.events(receipt, world.consents) == [("ConsentGranted", granted)]


def test_a_contract_account_grants_through_erc_1271(
    world: World, compiled: Mapping[str, Artifact]
) -> None:
    made = compiled["Wallet"]
    wallet = world.create(made.abi, made.bytecode)
    world.admit_contract(wallet, "Club")
    site = world.sites.encode_abi(
        "register", args=[world.address("newcomer"), "club", "https://club", 1, KEYS, 9]
    )
    site_id = bytes(world.sites.functions.siteIdFor(wallet.address, 9).call())
    world.send(world.sites.functions.agree(site_id), "newcomer")
    world.send(wallet.functions.execute(world.sites.address, site), "relayer")
    terms = world.terms(datasetId=world.register_dataset(site_id, "newcomer", "visits"))

    refused = offer(world, terms, b"")
    assert refused is not None
    assert refused.error == "ConsentBadSignature"
    digest = world.consents.functions.digest(terms).call()
    world.send(wallet.functions.approve(digest), "relayer")
    assert offer(world, terms, b"") is None


KEYS = [(w("request"), h("club request"), b"p" * 64)]


def test_a_grant_is_not_replayed(world: World) -> None:
    terms = world.terms()
    signature = world.sign(terms, "shop")
    world.send(world.consents.functions.grant(terms, signature), "relayer")
    grant = bytes(world.consents.functions.grantIdFor(world.address("shop"), terms["nonce"]).call())
    assert offer(world, terms, signature) == Refusal("ConsentTaken", (grant,))
    world.send(world.consents.functions.revoke(grant), "shop")
    assert offer(world, terms, signature) == Refusal("ConsentTaken", (grant,))


def test_a_second_grant_under_the_nonce_makes_an_unrelayed_one_void(world: World) -> None:
    first = world.terms()
    signature = world.sign(first, "shop")
    other = {**first, "uses": 1}
    world.send(world.consents.functions.grant(other, world.sign(other, "shop")), "relayer")
    refused = offer(world, first, signature)
    assert refused is not None
    assert refused.error == "ConsentTaken"


@pytest.mark.parametrize("forger", ["bank", "shop_node", "authority", "stranger"])
def test_only_the_owner_of_the_data_signs(world: World, forger: str) -> None:
    terms = world.terms()
    refused = offer(world, terms, world.sign(terms, forger))
    assert refused == Refusal("ConsentBadSignature", (world.shop,))


@pytest.mark.parametrize(
    "domain",
    [
        {"chainId": 1},
        {"verifyingContract": "0x" + "11" * 20},
        {"name": "FATE-Chain Member"},
        {"version": "2"},
    ],
    ids=["chain", "contract", "name", "version"],
)
def test_a_signature_counts_in_its_own_domain_only(world: World, domain: dict[str, Any]) -> None:
    terms = world.terms()
    refused = offer(world, terms, world.sign(terms, "shop", **domain))
    assert refused == Refusal("ConsentBadSignature", (world.shop,))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("fromVersion", 2),
        ("toVersion", 9),
        ("grantee", ALL_MEMBERS),
        ("purposes", [PREDICTION]),
        ("purposes", [TRAINING, PREDICTION]),
        ("purposes", [TRAINING, TRAINING]),
        ("algorithms", [OTHER_ALGORITHM]),
        ("algorithms", [ALGORITHM, OTHER_ALGORITHM]),
        ("until", 2**40),
        ("uses", 6),
        ("minParties", 1),
        ("minRows", 1),
        ("productBudget", 10**9),
        ("epsilonMicro", 1),
        ("columnRules", h("rules")),
        ("amends", h("x")),
        ("nonce", 1),
    ],
)
def test_no_term_changes_after_the_signature(world: World, field: str, value: Any) -> None:
    terms = world.terms()
    signature = world.sign(terms, "shop")
    refused = offer(world, {**terms, field: value}, signature)
    assert refused == Refusal("ConsentBadSignature", (world.shop,))


@pytest.mark.parametrize("signature", [b"", b"\x01" * 64, b"\x01" * 65, b"\xff" * 65, b"\x01" * 66])
def test_bytes_that_are_no_signature_are_refused(world: World, signature: bytes) -> None:
    refused = offer(world, world.terms(), signature)
    assert refused == Refusal("ConsentBadSignature", (world.shop,))


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"fromVersion": 0}, "versions"),
        ({"fromVersion": 3, "toVersion": 2}, "versions"),
        ({"purposes": []}, "purposes"),
        ({"purposes": [TRAINING, ZERO]}, "purposes"),
        ({"purposes": [TRAINING] * 9}, "purposes"),
        ({"purposes": [TRAINING, EMERGENCY]}, "purposes"),
        ({"algorithms": []}, "algorithms"),
        ({"algorithms": [ALGORITHM, ZERO]}, "algorithms"),
        ({"algorithms": [ALGORITHM] * 9}, "algorithms"),
        ({"until": 1}, "until"),
        ({"uses": 0}, "uses"),
    ],
)
def test_terms_make_sense(world: World, changed: dict[str, Any], what: str) -> None:
    terms = world.terms(**changed)
    assert offer(world, terms, world.sign(terms, "shop")) == Refusal("ConsentBadTerms", (what,))


def test_nobody_grants_to_itself(world: World) -> None:
    terms = world.terms(grantee=world.shop)
    refused = offer(world, terms, world.sign(terms, "shop"))
    assert refused == Refusal("ConsentBadTerms", ("grantee is the owner",))


def test_the_dataset_and_the_grantee_are_known(world: World) -> None:
    terms = world.terms(datasetId=h("none"))
    refused = offer(world, terms, world.sign(terms, "shop"))
    assert refused == Refusal("DatasetUnknown", (h("none"),))
    terms = world.terms(grantee=h("nobody"))
    refused = offer(world, terms, world.sign(terms, "shop"))
    assert refused == Refusal("MembershipUnknown", (h("nobody"),))


@pytest.mark.parametrize("suspended", ["shop", "bank"])
def test_neither_owner_nor_grantee_is_suspended(world: World, suspended: str) -> None:
    member = getattr(world, suspended)
    world.send(world.membership.functions.suspend(member), "authority")
    terms = world.terms()
    refused = offer(world, terms, world.sign(terms, "shop"))
    assert refused == Refusal("MembershipNotActive", (member, 2))


# ------------------------------------------------------------------------------ what it allows


def test_each_limit_of_a_grant_is_checked(world: World) -> None:
    grant = world.shop_grant
    other = world.bank_data
    expected = {
        "datasetId": (other, Refusal("ConsentWrongDataset", (grant, other, world.shop_data))),
        "grantee": (
            world.clinic,
            Refusal("ConsentWrongGrantee", (grant, world.clinic, world.bank)),
        ),
        "purpose": (PREDICTION, Refusal("ConsentWrongPurpose", (grant, PREDICTION))),
        "algorithm": (
            OTHER_ALGORITHM,
            Refusal("ConsentWrongAlgorithm", (grant, OTHER_ALGORITHM)),
        ),
        "parties": (1, Refusal("ConsentTooFewParties", (grant, 1, 2))),
        "version": (3, Refusal("ConsentWrongVersion", (grant, 3, 1, 2))),
    }
    for field, (value, refused) in expected.items():
        assert usable(world, grant, **{field: value}) == refused
        assert standing(world, grant, **{field: value}) == refused


@pytest.mark.parametrize(("version", "allowed"), [(1, False), (2, True), (3, True), (4, False)])
def test_both_ends_of_the_version_range_are_inside(
    world: World, version: int, allowed: bool
) -> None:
    grant = world.grant(fromVersion=2, toVersion=3)
    assert (usable(world, grant, version=version) is None) == allowed


def test_a_grant_expires_at_its_time_to_the_second(world: World) -> None:
    until = world.now + DAY
    grant = world.grant(until=until)
    world.go_to(until - 1)
    assert state(world, grant) == ACTIVE
    world.go_to(until)
    expired = Refusal("ConsentExpired", (grant, until))
    assert state(world, grant) == EXPIRED
    assert usable(world, grant) == expired
    assert standing(world, grant) == expired


def test_an_unknown_grant_is_refused(world: World) -> None:
    unknown = Refusal("ConsentUnknown", (h("none"),))
    functions = world.consents.functions
    assert usable(world, h("none")) == unknown
    assert world.refusal(functions.record(h("none"))) == unknown
    assert world.refusal(functions.revoke(h("none")), "shop") == unknown
    assert world.refusal(functions.revokeBySignature(h("none"), b"")) == unknown
    assert state(world, h("none")) == NONE


def test_a_used_up_grant_still_stands_for_the_jobs_that_used_it(world: World) -> None:
    grant = world.grant(uses=1)
    world.running(uses=[(1, world.shop_data, 1, grant)])
    assert state(world, grant) == USED_UP
    assert usable(world, grant) == Refusal("ConsentUsedUp", (grant, 1))
    assert standing(world, grant) is None


@pytest.mark.parametrize("actor", ["shop", "shop_node", "bank", "authority"])
def test_only_the_job_registry_consumes(world: World, actor: str) -> None:
    arguments = ask(world, world.shop_grant)
    consume = world.consents.functions.consume(arguments[0], h("job"), *arguments[1:])
    refused = world.refusal(consume, actor)
    assert refused == Refusal("ConsentNotJobs", (world.address(actor).lower(),))


# ------------------------------------------------------------------------------ several, and all


@pytest.mark.parametrize(
    ("purposes", "algorithms"),
    [
        ([TRAINING], [ALGORITHM]),
        ([PREDICTION, TRAINING], [OTHER_ALGORITHM, ALGORITHM]),
        ([TRAINING, PREDICTION] * 4, [ALGORITHM, OTHER_ALGORITHM] * 4),
    ],
)
def test_the_digest_of_a_grant_is_what_eip_712_says(
    world: World, purposes: list[bytes], algorithms: list[bytes]
) -> None:
    terms = world.terms(
        purposes=purposes,
        algorithms=algorithms,
        columnRules=h("rules"),
        amends=h("another"),
        epsilonMicro=2**64 - 1,
        nonce=2**256 - 1,
    )
    message = encode_typed_data(world.domain(), GRANT_TYPES, terms)
    expected = keccak(b"\x19" + message.version + message.header + message.body)
    assert world.consents.functions.digest(terms).call() == expected


def test_a_use_has_one_of_the_purposes_and_one_of_the_algorithms(world: World) -> None:
    world.send(world.consortium.functions.allowPurpose(w("quality")), "authority")
    grant = world.grant(purposes=[TRAINING, PREDICTION], algorithms=[ALGORITHM, OTHER_ALGORITHM])
    for purpose in (TRAINING, PREDICTION):
        for algorithm in (ALGORITHM, OTHER_ALGORITHM):
            assert usable(world, grant, purpose=purpose, algorithm=algorithm) is None
    wrong = Refusal("ConsentWrongPurpose", (grant, w("quality")))
    assert usable(world, grant, purpose=w("quality")) == wrong
    wrong = Refusal("ConsentWrongAlgorithm", (grant, h("a third")))
    assert usable(world, grant, algorithm=h("a third")) == wrong


def test_the_consortium_allows_each_purpose_of_a_grant(world: World) -> None:
    terms = world.terms(purposes=[TRAINING, w("marketing")])
    refused = offer(world, terms, world.sign(terms, "shop"))
    assert refused == Refusal("ConsortiumPurposeNotAllowed", (w("marketing"),))


def test_a_purpose_that_is_withdrawn_ends_what_was_granted_for_it(world: World) -> None:
    grant = world.grant(purposes=[TRAINING, PREDICTION])
    world.send(world.consortium.functions.withdrawPurpose(TRAINING), "authority")
    ended = Refusal("ConsortiumPurposeNotAllowed", (TRAINING,))
    assert usable(world, grant) == ended
    assert standing(world, grant) == ended
    assert usable(world, grant, purpose=PREDICTION) is None
    world.send(world.consortium.functions.allowPurpose(TRAINING), "authority")
    assert usable(world, grant) is None


def test_a_grant_to_all_members_is_for_those_that_are_active_at_the_use(world: World) -> None:
    grant = world.grant(grantee=ALL_MEMBERS)
    assert usable(world, grant) is None
    assert usable(world, grant, grantee=world.clinic) is None
    assert usable(world, grant, grantee=h("nobody")) == Refusal("MembershipUnknown", (h("nobody"),))
    assert usable(world, grant, grantee=ALL_MEMBERS) == Refusal("MembershipUnknown", (ALL_MEMBERS,))

    world.send(world.membership.functions.suspend(world.bank), "authority")
    assert usable(world, grant) == Refusal("MembershipNotActive", (world.bank, 2))
    assert standing(world, grant) == Refusal("MembershipNotActive", (world.bank, 2))
    later = world.admit("newcomer", "Bakery")
    assert usable(world, grant, grantee=later) is None


def test_a_grant_to_all_members_serves_a_job_of_each(world: World) -> None:
    grant = world.grant(grantee=ALL_MEMBERS, uses=1)
    world.running(uses=[(1, world.shop_data, 1, grant)])
    parties = [(world.clinic_site, w("guest")), (world.shop_site, w("host"))]
    again = world.proposal(parties=parties, uses=[(1, world.shop_data, 1, grant)])
    refused = world.refusal(world.jobs.functions.propose(again), "clinic_node")
    assert refused == Refusal("ConsentUsedUp", (grant, 1))


def test_the_digest_of_column_rules_is_kept(world: World) -> None:
    grant = world.grant(columnRules=h("rules"))
    assert world.consents.functions.record(grant).call()[0][12] == h("rules")


# ------------------------------------------------------------------------------ whose word it is


def test_a_use_cannot_be_taken_by_who_sees_it_coming(world: World) -> None:
    """The grantee is in the grant, the operator in the job's id: a copy serves nobody else."""
    waiting = world.proposal()
    site, uses = world.clinic_site, [(1, world.shop_data, 1, world.shop_grant)]
    parties = [(site, w("guest")), (world.shop_site, w("host"))]
    copied = world.jobs.functions.propose({**waiting, "parties": parties, "uses": uses})
    wrong = Refusal("ConsentWrongGrantee", (world.shop_grant, world.clinic, world.bank))
    assert world.refusal(copied, "clinic_node") == wrong
    stolen = world.refusal(world.jobs.functions.propose(waiting), "clinic_node")
    assert stolen is not None
    assert stolen.error == "SiteNotOperator"
    world.send(world.jobs.functions.propose(waiting), "bank_node")


def test_an_account_that_was_replaced_grants_and_revokes_nothing(world: World) -> None:
    before = world.terms()
    signature, revocation = (
        world.sign(before, "shop"),
        world.sign_revocation(world.shop_grant, "shop"),
    )
    world.send(world.recovery(world.shop, "newcomer"), "authority")

    bad = Refusal("ConsentBadSignature", (world.shop,))
    assert offer(world, before, signature) == bad
    functions = world.consents.functions
    assert world.refusal(functions.revokeBySignature(world.shop_grant, revocation)) == bad
    refused = world.refusal(functions.revoke(world.shop_grant), "shop")
    assert refused == Refusal("ConsentNotOwner", (world.shop_grant, world.address("shop").lower()))

    assert offer(world, before, world.sign(before, "newcomer")) is None
    assert usable(world, world.shop_grant) is None  # what was granted before stands
    world.send(functions.revoke(world.shop_grant), "newcomer")


def test_neither_an_operator_nor_one_that_was_changed_signs_a_grant(world: World) -> None:
    world.send(world.sites.functions.agree(world.shop_site), "newcomer")
    moved = world.sites.functions.changeOperator(world.shop_site, world.address("newcomer"))
    world.send(moved, "shop")
    terms = world.terms()
    for operator in ("shop_node", "newcomer"):
        refused = offer(world, terms, world.sign(terms, operator))
        assert refused == Refusal("ConsentBadSignature", (world.shop,))


def test_only_broken_glass_grants_without_the_owners_signature(world: World) -> None:
    terms = world.terms(purposes=[EMERGENCY])
    for actor in ("shop", "shop_node", "authority", "stranger"):
        refused = world.refusal(world.consents.functions.grantInEmergency(terms), actor)
        assert refused == Refusal("ConsentNotBreakGlass", (world.address(actor).lower(),))


# ------------------------------------------------------------------------------ revoking


def test_the_owner_revokes_at_once(world: World) -> None:
    receipt = world.send(world.consents.functions.revoke(world.shop_grant), "shop")
    revoked = Refusal("ConsentRevoked", (world.shop_grant, world.block))
    assert state(world, world.shop_grant) == REVOKED
    assert usable(world, world.shop_grant) == revoked
    assert standing(world, world.shop_grant) == revoked
    assert world.refusal(world.consents.functions.revoke(world.shop_grant), "shop") == revoked
    event = {"id": world.shop_grant, "owner": world.shop}
    assert world.events(receipt, world.consents) == [("ConsentRevocation", event)]


def test_a_signed_revocation_is_relayed(world: World) -> None:
    signature = world.sign_revocation(world.shop_grant, "shop")
    revoke = world.consents.functions.revokeBySignature(world.shop_grant, signature)
    world.send(revoke, "stranger")
    assert state(world, world.shop_grant) == REVOKED
    refused = world.refusal(revoke)
    assert refused == Refusal("ConsentRevoked", (world.shop_grant, world.block))


def test_a_revocation_is_of_the_owner_and_of_one_grant(world: World) -> None:
    functions = world.consents.functions
    forged = world.sign_revocation(world.shop_grant, "bank")
    other = world.sign_revocation(world.grant(), "shop")
    for signature in (forged, other):
        refused = world.refusal(functions.revokeBySignature(world.shop_grant, signature))
        assert refused == Refusal("ConsentBadSignature", (world.shop,))
    refused = world.refusal(functions.revoke(world.shop_grant), "bank")
    assert refused == Refusal("ConsentNotOwner", (world.shop_grant, world.address("bank").lower()))


def test_a_suspended_owner_revokes(world: World) -> None:
    world.send(world.membership.functions.suspend(world.shop), "authority")
    world.send(world.consents.functions.revoke(world.shop_grant), "shop")


# ------------------------------------------------------------------------------ amending


def test_an_amendment_ends_the_grant_before_it(world: World) -> None:
    amended = world.grant(amends=world.shop_grant, uses=1)
    at = world.block
    assert state(world, amended) == ACTIVE
    assert state(world, world.shop_grant) == AMENDED
    assert usable(world, world.shop_grant) == Refusal("ConsentAmended", (world.shop_grant, at))
    assert world.consents.functions.record(amended).call()[0][13] == world.shop_grant


def test_a_used_up_grant_can_be_amended(world: World) -> None:
    grant = world.grant(uses=1)
    world.running(uses=[(1, world.shop_data, 1, grant)])
    world.grant(amends=grant)
    assert state(world, grant) == AMENDED


def amendment(world: World, amends: Id, **changed: Any) -> Refusal | None:
    terms = world.terms(amends=amends, **changed)
    return offer(world, terms, world.sign(terms, "shop"))


def test_only_a_standing_grant_is_amended(world: World) -> None:
    assert amendment(world, h("none")) == Refusal("ConsentUnknown", (h("none"),))

    amended = world.grant()
    world.grant(amends=amended)
    assert amendment(world, amended) == Refusal("ConsentAmended", (amended, world.block))

    revoked = world.grant()
    world.send(world.consents.functions.revoke(revoked), "shop")
    assert amendment(world, revoked) == Refusal("ConsentRevoked", (revoked, world.block))

    until = world.now + 100
    expired = world.grant(until=until)
    world.go_to(until)
    assert amendment(world, expired) == Refusal("ConsentExpired", (expired, until))


def test_an_amendment_is_about_the_same_dataset(world: World) -> None:
    other = world.register_dataset(world.shop_site, "shop_node", "visits")
    refused = amendment(world, world.shop_grant, datasetId=other)
    assert refused == Refusal("ConsentWrongDataset", (world.shop_grant, other, world.shop_data))


def test_an_amended_grant_can_still_be_revoked(world: World) -> None:
    world.grant(amends=world.shop_grant)
    world.send(world.consents.functions.revoke(world.shop_grant), "shop")
    assert state(world, world.shop_grant) == REVOKED


def test_grants_are_listed(world: World) -> None:
    second = world.grant()
    read = world.consents.functions
    assert read.grantCount().call() == 2
    assert read.grants(0, 10).call() == [world.shop_grant, second]
