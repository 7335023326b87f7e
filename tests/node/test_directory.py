"""Who may speak, as the contracts say: on a real consortium in an in-process chain."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chain.errors import ChainUnavailable
from chain.network import Network
from chain.sites import AUDIT, REQUEST, KeyInput, key_proof_digest
from chain.testing import InProcessChain
from node.directory import TTL_SECONDS, ChainDirectory, checked_endpoint
from node.errors import NodeError, NotFound, Refused, Unauthenticated, Unavailable
from tests.chain.world import World


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def founded() -> tuple[InProcessChain, World]:
    chain = InProcessChain()
    world = World(chain.client).found()
    chain.mine(2)  # what stands is confirmed
    return chain, world


@pytest.fixture
def world(founded: tuple[InProcessChain, World]) -> Iterator[World]:
    chain, world = founded
    before = chain.snapshot()
    yield world.afresh()
    chain.revert(before)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def directory(world: World, clock: Clock) -> ChainDirectory:
    return ChainDirectory(lambda: world.network, clock=clock)


def request_key(world: World, directory: ChainDirectory) -> str:
    public = bytes.fromhex(world.bank.public_key[2:])
    return directory.key_id(world.bank.site, "request", public)


def new_key(world: World, purpose: str = REQUEST, seed: bytes = b"7") -> KeyInput:
    """A further key of the bank's site, with its proof."""
    key, site, net = Ed25519PrivateKey.from_private_bytes(seed * 32), world.bank.site, world.network
    public = "0x" + key.public_key().public_bytes_raw().hex()
    chain = net.client.chain_id
    digest = key_proof_digest(chain, net.sites.address, site, purpose, public)
    return KeyInput(purpose, public, "0x" + key.sign(bytes.fromhex(digest[2:])).hex())


def test_the_computed_id_is_that_of_the_registered_key(
    world: World, directory: ChainDirectory
) -> None:
    key_id = request_key(world, directory)
    found = directory.sender_key(key_id)
    assert (found.key_id, found.site) == (key_id, world.bank.site)
    assert found.public_key == bytes.fromhex(world.bank.public_key[2:])


def test_an_unknown_key_is_refused(directory: ChainDirectory) -> None:
    with pytest.raises(Unauthenticated, match="UnknownSite"):
        directory.sender_key("0x" + "12" * 32)


def test_a_key_for_another_purpose_does_not_sign_requests(
    world: World, directory: ChainDirectory
) -> None:
    public = bytes.fromhex(world.bank.public_key[2:])
    with pytest.raises(Unauthenticated, match="not one for requests"):
        directory.sender_key(directory.key_id(world.bank.site, "audit", public))


def test_a_revoked_key_is_refused_as_soon_as_the_kept_answer_is_old(
    world: World, directory: ChainDirectory, clock: Clock
) -> None:
    key_id = request_key(world, directory)
    directory.sender_key(key_id)
    world.send(world.bank.operator, world.network.sites.revoke_key(world.bank.site, key_id))
    clock.now += TTL_SECONDS + 0.1
    with pytest.raises(Refused, match="KeyRevoked"):
        directory.sender_key(key_id)


def test_answers_are_kept_for_a_while_and_forgotten_on_demand(
    world: World, directory: ChainDirectory
) -> None:
    key_id = request_key(world, directory)
    directory.sender_key(key_id)
    world.send(world.bank.operator, world.network.sites.revoke_key(world.bank.site, key_id))
    assert directory.sender_key(key_id).site == world.bank.site
    directory.forget()
    with pytest.raises(Refused, match="KeyRevoked"):
        directory.sender_key(key_id)


def test_a_new_key_counts_when_it_is_confirmed(
    world: World,
    directory: ChainDirectory,
    clock: Clock,
    founded: tuple[InProcessChain, World],
) -> None:
    key = new_key(world)
    world.send(world.bank.operator, world.network.sites.add_key(world.bank.site, key))
    key_id = directory.key_id(world.bank.site, "request", bytes.fromhex(key.public_key[2:]))
    with pytest.raises(Refused, match="not yet confirmed"):
        directory.sender_key(key_id)
    founded[0].mine(2)
    clock.now += TTL_SECONDS + 0.1
    assert directory.sender_key(key_id).site == world.bank.site


def test_a_key_that_did_not_sign_for_its_site_is_no_key(
    world: World, directory: ChainDirectory, founded: tuple[InProcessChain, World]
) -> None:
    key, sites = new_key(world), world.network.sites
    stolen = replace(key, proof=sites.keys(world.bank.site)[0].proof)
    world.send(world.bank.operator, sites.add_key(world.bank.site, stolen))
    founded[0].mine(2)
    with pytest.raises(Refused) as refused:
        directory.sender_key(
            directory.key_id(world.bank.site, "request", bytes.fromhex(key.public_key[2:]))
        )
    assert refused.value.code == "KeyNotProven"


def test_a_suspended_member_is_refused(world: World, directory: ChainDirectory) -> None:
    world.send(world.authority, world.network.membership.suspend(world.bank.member))
    with pytest.raises(Refused, match="MemberNotActive"):
        directory.sender_key(request_key(world, directory))


def test_a_retired_site_is_refused(world: World, directory: ChainDirectory) -> None:
    world.send(world.bank.account, world.network.sites.retire(world.bank.site))
    with pytest.raises(Refused) as refused:
        directory.sender_key(request_key(world, directory))
    assert refused.value.code in ("KeyRevoked", "SiteNotActive")


def test_an_endpoint_is_the_registered_one(world: World, directory: ChainDirectory) -> None:
    assert directory.endpoint(world.shop.site) == "http://shop.example"
    with pytest.raises(NotFound, match="UnknownSite"):
        directory.endpoint("0x" + "12" * 32)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ftp://shop.example",
        "http://",
        "http://xn--",
        "http://\x00",
        "http://shop.example:99999",
        "http://shop.example:0",
        "http://name:word@shop.example",
        "http://shop.example/admin?x=",
        "http://shop.example/#",
        "http://shop.example/\n",
        "http://\ufffd",
        "http://169.254.169.254/latest",
        "http://2852039166",
        "http://0xa9fea9fe",
        "http://169.16689662",
        "http://[fe80::1]:8400",
        "http://[::ffff:169.254.169.254]",
        "http://0.0.0.0:8400",
        "http://0:8400",
        "http://224.0.0.1",
    ],
)
def test_an_endpoint_that_no_request_should_go_to_is_refused(text: str) -> None:
    with pytest.raises(Unavailable, match="EndpointInvalid"):
        checked_endpoint("0x" + "12" * 32, text)


@pytest.mark.parametrize(
    "text", ["https://a.example:8443/node", "http://[::1]:9000", "http://10.1.2.3"]
)
def test_an_endpoint_may_have_a_port_and_a_path(text: str) -> None:
    assert checked_endpoint("0x" + "12" * 32, f"{text}/") == text


def test_a_key_that_is_none_signs_nothing(
    world: World, directory: ChainDirectory, founded: tuple[InProcessChain, World]
) -> None:
    key = KeyInput(REQUEST, "0x12", "0x")
    world.send(world.bank.operator, world.network.sites.add_key(world.bank.site, key))
    founded[0].mine(2)
    with pytest.raises(Unauthenticated, match="no Ed25519 key"):
        directory.sender_key(directory.key_id(world.bank.site, "request", b"\x12"))


def test_audit_keys_are_those_that_the_site_has_now(
    world: World, directory: ChainDirectory, founded: tuple[InProcessChain, World]
) -> None:
    """None for requests, none that did not sign for the site, none that is new or has ended."""
    sites, site, operator = world.network.sites, world.bank.site, world.bank.operator

    def found() -> tuple[bytes, ...]:
        directory.forget()
        return directory.audit_keys(site)

    def public(key: KeyInput) -> bytes:
        return bytes.fromhex(key.public_key[2:])

    before = found()
    assert public(new_key(world)) not in before
    first, second = (new_key(world, AUDIT, seed) for seed in (b"8", b"9"))
    unproven = KeyInput(AUDIT, "0x" + "77" * 32, first.proof)
    for key in (unproven, new_key(world), first):
        world.send(operator, sites.add_key(site, key))
    assert found() == before
    founded[0].mine(2)
    assert found() == (*before, public(first))
    world.send(operator, sites.add_key(site, second))
    founded[0].mine(2)
    assert found() == (*before, public(first), public(second))
    ended = directory.key_id(site, AUDIT, public(first))
    world.send(operator, sites.revoke_key(site, ended))
    assert found() == (*before, public(second))


def test_a_job_shows_its_state_and_parties(world: World, directory: ChainDirectory) -> None:
    world.run_job()
    job = directory.job(world.job)
    assert job.state == "SUCCEEDED"
    assert job.parties == {world.bank.site, world.shop.site}


def test_an_unknown_job_is_not_found(directory: ChainDirectory) -> None:
    with pytest.raises(NotFound):
        directory.job("0x" + "12" * 32)


def test_without_the_chain_nobody_is_known() -> None:
    def away() -> Network:
        raise ChainUnavailable("http://127.0.0.1:1", "refused")

    directory = ChainDirectory(away)
    for ask in (directory.sender_key, directory.endpoint, directory.job):
        with pytest.raises(Unavailable) as unavailable:
            ask("0x" + "12" * 32)
        assert unavailable.value.code == "ChainUnavailable"


def test_a_stranger_cannot_make_the_chain_be_asked_for_every_request(world: World) -> None:
    asked = 0

    def network() -> Network:
        nonlocal asked
        asked += 1
        return world.network

    directory = ChainDirectory(network, clock=Clock())
    for _ in range(5):
        with pytest.raises(NodeError):
            directory.sender_key("0x" + "12" * 32)
    assert asked == 1
