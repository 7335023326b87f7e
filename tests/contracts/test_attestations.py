"""Attestations: who may give one, when it counts, and what asks for it."""

import pytest
from eth_utils.address import to_checksum_address

from tests.contracts.world import ALL_MEMBERS, DAY, ZERO, Id, Refusal, World, h, w

ISO, AUDITED = w("iso-27001"), w("audited")
NOBODY = "0x" + "00" * 20


@pytest.fixture
def issued(world: World) -> World:
    """The relayer may attest both kinds, and attests the bank of the first, for a day."""
    for kind in (ISO, AUDITED):
        name(world, kind, "relayer")
    attest(world, world.bank)
    return world


def name(world: World, kind: bytes, issuer: str) -> None:
    world.send(world.attestations.functions.nameIssuer(kind, world.address(issuer)), "authority")


def attest(world: World, subject: Id, kind: bytes = ISO, issuer: str = "relayer") -> int:
    """Returns when it ends."""
    until = world.now + DAY
    world.send(world.attestations.functions.attest(subject, kind, h("report"), until), issuer)
    return until


def offered(world: World, subject: Id, issuer: str, kind: bytes = ISO) -> Refusal | None:
    until = world.now + DAY
    return world.refusal(
        world.attestations.functions.attest(subject, kind, h("report"), until), issuer
    )


def is_attested(world: World, subject: Id, kind: bytes = ISO) -> bool:
    return bool(world.attestations.functions.isAttested(subject, kind).call())


# ------------------------------------------------------------------------------ giving


def test_a_named_issuer_attests_a_member(issued: World) -> None:
    until = issued.now + DAY
    attested = issued.attestations.functions.attest(issued.shop, ISO, h("report"), until)
    receipt = issued.send(attested, "relayer")
    assert is_attested(issued, issued.shop)
    assert not is_attested(issued, issued.shop, AUDITED)
    issuer = issued.address("relayer")
    found = issued.attestations.functions.attestation(issued.shop, ISO, issuer).call()
    assert found == (h("report"), issued.block, until, 0)
    given = {
        "subject": issued.shop,
        "kind": ISO,
        "issuer": issuer,
        "digest": h("report"),
        "until": until,
    }
    assert issued.events(receipt, issued.attestations) == [("AttestationGiven", given)]


@pytest.mark.parametrize("actor", ["authority", "shop", "stranger"])
def test_nobody_else_attests(issued: World, actor: str) -> None:
    refused = offered(issued, issued.bank, actor)
    assert refused == Refusal("AttestationNotIssuer", (ISO, issued.address(actor).lower()))


def test_an_issuer_is_named_for_a_kind(world: World) -> None:
    name(world, ISO, "relayer")
    assert offered(world, world.bank, "relayer") is None
    wrong = Refusal("AttestationNotIssuer", (AUDITED, world.address("relayer").lower()))
    assert offered(world, world.bank, "relayer", AUDITED) == wrong


@pytest.mark.parametrize("own", ["bank", "bank_node"])
def test_an_institution_does_not_attest_itself(world: World, own: str) -> None:
    name(world, ISO, own)
    wrong = Refusal("AttestationOwnIssuer", (world.bank, world.address(own).lower()))
    assert offered(world, world.bank, own) == wrong
    assert offered(world, world.shop, own) is None


def test_an_account_that_was_the_members_does_not_attest_it(world: World) -> None:
    name(world, ISO, "bank")
    world.send(world.recovery(world.bank, "newcomer"), "authority")
    wrong = Refusal("AttestationOwnIssuer", (world.bank, world.address("bank").lower()))
    assert offered(world, world.bank, "bank") == wrong


def test_an_account_that_operated_the_members_site_does_not_attest_it(world: World) -> None:
    """Its member put another in its place and may hold it still; what it said ends, too."""
    name(world, ISO, "newcomer")
    attest(world, world.bank, issuer="newcomer")
    sites = world.sites.functions
    for operator in ("newcomer", "stranger"):
        world.send(sites.agree(world.bank_site), operator)
        world.send(sites.changeOperator(world.bank_site, world.address(operator)), "bank")
    own = Refusal("AttestationOwnIssuer", (world.bank, world.address("newcomer").lower()))
    assert offered(world, world.bank, "newcomer") == own
    assert not is_attested(world, world.bank)
    assert offered(world, world.shop, "newcomer") is None


def test_who_attested_an_id_before_it_was_its_own_attested_nothing(world: World) -> None:
    """An id follows from the account: it is known before the member is admitted."""
    account, functions = world.address("newcomer"), world.membership.functions
    coming = bytes(functions.memberIdFor(account, 77).call())
    name(world, ISO, "newcomer")
    attest(world, coming, issuer="newcomer")
    assert is_attested(world, coming)
    world.send(world.admission("newcomer", "Bakery", 77), "authority")
    assert not is_attested(world, coming)


@pytest.mark.parametrize("ahead", [-1, 0])
def test_an_attestation_ends_in_the_future(issued: World, ahead: int) -> None:
    until = issued.now + ahead
    offer = issued.attestations.functions.attest(issued.shop, ISO, h("report"), until)
    assert issued.refusal(offer, "relayer") == Refusal(
        "AttestationExpired", (issued.shop, ISO, until)
    )


def test_nobody_and_nothing_is_not_attested(issued: World) -> None:
    assert offered(issued, ZERO, "relayer") == Refusal("AttestationZero", ("subject",))
    functions = issued.attestations.functions
    wrong = issued.refusal(functions.nameIssuer(ZERO, issued.address("shop")), "authority")
    assert wrong == Refusal("AttestationZero", ("kind",))
    wrong = issued.refusal(functions.nameIssuer(ISO, NOBODY), "authority")
    assert wrong == Refusal("AttestationZero", ("issuer",))
    wrong = issued.refusal(functions.setRequired(ZERO, True), "authority")
    assert wrong == Refusal("AttestationZero", ("kind",))


# ------------------------------------------------------------------------------ counting


def test_an_attestation_ends_at_its_time_to_the_second(issued: World) -> None:
    until = attest(issued, issued.shop)
    issued.go_to(until - 1)
    assert is_attested(issued, issued.shop)
    issued.go_to(until)
    assert not is_attested(issued, issued.shop)


def test_an_issuer_revokes_what_it_said(issued: World) -> None:
    functions = issued.attestations.functions
    receipt = issued.send(functions.revoke(issued.bank, ISO), "relayer")
    assert not is_attested(issued, issued.bank)
    revoked = {"subject": issued.bank, "kind": ISO, "issuer": issued.address("relayer")}
    assert issued.events(receipt, issued.attestations) == [("AttestationRevoked", revoked)]
    missing = Refusal("AttestationMissing", (issued.bank, ISO))
    assert issued.refusal(functions.revoke(issued.bank, ISO), "relayer") == missing
    never = Refusal("AttestationMissing", (issued.shop, ISO))
    assert issued.refusal(functions.revoke(issued.shop, ISO), "relayer") == never
    assert issued.refusal(functions.revoke(issued.bank, ISO), "stranger") == missing
    attest(issued, issued.bank)
    assert is_attested(issued, issued.bank)


def test_the_word_of_an_issuer_that_was_removed_counts_no_more(issued: World) -> None:
    functions, issuer = issued.attestations.functions, issued.address("relayer")
    issued.send(functions.removeIssuer(ISO, issuer), "authority")
    assert not is_attested(issued, issued.bank)
    assert functions.issuers(ISO).call() == []
    assert functions.issuers(AUDITED).call() == [issuer]
    issued.send(functions.nameIssuer(ISO, issuer), "authority")
    assert is_attested(issued, issued.bank)


def test_an_issuer_that_was_removed_still_revokes(issued: World) -> None:
    functions, issuer = issued.attestations.functions, issued.address("relayer")
    issued.send(functions.removeIssuer(ISO, issuer), "authority")
    issued.send(functions.revoke(issued.bank, ISO), "relayer")
    issued.send(functions.nameIssuer(ISO, issuer), "authority")
    assert not is_attested(issued, issued.bank)


def test_the_word_of_one_issuer_is_enough(issued: World) -> None:
    name(issued, ISO, "newcomer")
    attest(issued, issued.bank, issuer="newcomer")
    issued.send(issued.attestations.functions.revoke(issued.bank, ISO), "relayer")
    assert is_attested(issued, issued.bank)


# ------------------------------------------------------------------------------ governing


def test_issuers_and_kinds_are_the_authoritys(issued: World) -> None:
    functions, issuer = issued.attestations.functions, issued.address("relayer")
    for move in (
        functions.nameIssuer(ISO, issuer),
        functions.removeIssuer(ISO, issuer),
        functions.setRequired(ISO, True),
    ):
        refused = issued.refusal(move, "relayer")
        assert refused is not None
        assert refused.error == "ConsortiumNotAuthority"


def test_an_issuer_is_named_once_and_removed_once(issued: World) -> None:
    functions, issuer = issued.attestations.functions, issued.address("relayer")
    again = issued.refusal(functions.nameIssuer(ISO, issuer), "authority")
    assert again == Refusal("AttestationIssuerTaken", (ISO, issuer.lower()))
    issued.send(functions.removeIssuer(ISO, issuer), "authority")
    again = issued.refusal(functions.removeIssuer(ISO, issuer), "authority")
    assert again == Refusal("AttestationIssuerUnknown", (ISO, issuer.lower()))


def test_a_kind_has_sixteen_issuers(world: World) -> None:
    functions = world.attestations.functions
    for n in range(1, 17):
        world.send(functions.nameIssuer(ISO, to_checksum_address(f"0x{n:040x}")), "authority")
    one_more = functions.nameIssuer(ISO, world.address("relayer"))
    refused = world.refusal(one_more, "authority")
    assert refused == Refusal("AttestationTooManyIssuers", (ISO, 17, 16))


def test_eight_kinds_are_required_at_most(world: World) -> None:
    functions = world.attestations.functions
    kinds = [w(f"kind {n}") for n in range(8)]
    for kind in [*kinds, kinds[3]]:  # one of them twice, which changes nothing
        world.send(functions.setRequired(kind, True), "authority")
    assert functions.requiredKinds().call() == kinds
    refused = world.refusal(functions.setRequired(ISO, True), "authority")
    assert refused == Refusal("AttestationTooManyKinds", (9, 8))
    receipt = world.send(functions.setRequired(kinds[0], False), "authority")
    told = {"kind": kinds[0], "required": False}
    assert world.events(receipt, world.attestations) == [("AttestationRequirementSet", told)]
    world.send(functions.setRequired(ISO, True), "authority")
    assert set(functions.requiredKinds().call()) == {*kinds[1:], ISO}


# ------------------------------------------------------------------------------ asking for it


def required(world: World, member: Id) -> Refusal | None:
    return world.refusal(world.attestations.functions.requireAll(member))


def test_a_member_needs_every_kind_that_is_required(issued: World) -> None:
    functions = issued.attestations.functions
    assert required(issued, issued.shop) is None
    for kind in (ISO, AUDITED):
        issued.send(functions.setRequired(kind, True), "authority")
    assert required(issued, issued.shop) == Refusal("AttestationMissing", (issued.shop, ISO))
    assert required(issued, issued.bank) == Refusal("AttestationMissing", (issued.bank, AUDITED))
    attest(issued, issued.bank, AUDITED)
    assert required(issued, issued.bank) is None


def test_a_running_job_stops_being_runnable_when_an_attestation_ends(issued: World) -> None:
    attest(issued, issued.shop)
    issued.send(issued.attestations.functions.setRequired(ISO, True), "authority")
    job = issued.running()
    assert issued.refusal(issued.jobs.functions.requireRunnable(job)) is None
    issued.send(issued.attestations.functions.revoke(issued.shop, ISO), "relayer")
    missing = Refusal("AttestationMissing", (issued.shop, ISO))
    assert issued.refusal(issued.jobs.functions.requireRunnable(job)) == missing
    again = issued.jobs.functions.propose(issued.proposal())
    assert issued.refusal(again, "bank_node") == missing


def test_each_member_of_a_job_is_asked_for(issued: World) -> None:
    """The arbiter's too, who brings no data."""
    attest(issued, issued.shop)
    issued.send(issued.attestations.functions.setRequired(ISO, True), "authority")
    parties = [
        (issued.bank_site, w("guest")),
        (issued.shop_site, w("host")),
        (issued.clinic_site, w("arbiter")),
    ]
    proposal = issued.jobs.functions.propose(issued.proposal(parties=parties))
    missing = Refusal("AttestationMissing", (issued.clinic, ISO))
    assert issued.refusal(proposal, "bank_node") == missing
    attest(issued, issued.clinic)
    assert issued.refusal(proposal, "bank_node") is None


def test_all_members_are_nobody_that_could_be_attested(issued: World) -> None:
    issued.send(issued.attestations.functions.setRequired(ISO, True), "authority")
    assert required(issued, ALL_MEMBERS) == Refusal("AttestationMissing", (ALL_MEMBERS, ISO))
