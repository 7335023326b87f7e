"""A newcomer asks for admission, and takes its place by itself when it is admitted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from chain.sites import SiteRole
from node.errors import Conflict, Invalid, TooLarge, TooMany, Unauthenticated
from node.joining import (
    FILE_NAME,
    HALF_ORDER,
    MAX_REQUEST_BYTES,
    AdmissionRequest,
    check_request,
    make_request,
)
from node.registration import register_site, site_on_chain
from node.site import Site
from node.sponsoring import KEPT_SECONDS, dismiss, find, receive, waiting
from node.store import ChainTx
from node.sync import Sync
from tests.node.consortium import ChainSite, sync_of
from tests.node.newcomers import SCRYPT, Newcomers, gather

ROLES = ("data-owner", "auditor")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Newcomers]:
    world = gather(tmp_path)
    yield world
    world.close()


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Newcomers]:
    """Where nobody is admitted during the tests."""
    world = gather(tmp_path_factory.mktemp("quiet"))
    yield world
    world.close()


def _bytes(request: AdmissionRequest, **changes: Any) -> bytes:
    return json.dumps(request.to_json() | changes).encode()


def _admit(world: Newcomers, request: AdmissionRequest) -> None:
    call = world.network.membership.admit(
        request.account, request.name, int(request.nonce), request.acceptance
    )
    world.chain.client(0).transact(call)


def _pass(world: Newcomers, site: ChainSite, times: int = 2) -> None:
    """Passes of the sync process, with blocks enough between them that all is confirmed."""
    for _ in range(times):
        sync_of(site).step()
        world.chain.mine(site.settings.confirmations + 1)
    sync_of(site).step()


def _registrations(site: Site) -> int:
    query = select(func.count()).where(ChainTx.intent.like("site.register:%"))
    with site.store.read() as session:
        return session.scalar(query) or 0


# ── The document ─────────────────────────────────────────────────────────────────────────────


def test_a_request_says_what_the_newcomer_will_be_and_lies_in_its_home(quiet: Newcomers) -> None:
    site = quiet.stranger
    request = make_request(site, "The Stranger", contact=b"ask at the desk")
    written = AdmissionRequest.parse((site.settings.home / FILE_NAME).read_bytes())
    assert written == request
    assert request.account == site.identity.address
    assert request.endpoint == site.settings.endpoint
    assert request.request_key == "0x" + site.identity.request_public.hex()
    assert b"desk" not in _bytes(request)


def test_asking_twice_makes_the_same_request(quiet: Newcomers) -> None:
    assert make_request(quiet.stranger, "Same") == make_request(quiet.stranger, "Same")


def test_a_request_is_taken_by_a_member_of_the_same_consortium(quiet: Newcomers) -> None:
    request = make_request(quiet.stranger)
    assert check_request(quiet.bank.network(), _bytes(request)) == request


@pytest.mark.parametrize(
    "change",
    [
        {"name": "Somebody Else"},
        {"nonce": "7"},
        {"endpoint": "https://elsewhere.example"},
        {"requestKey": "0x" + "11" * 32},
        {"auditKey": "0x" + "11" * 32},
        {"anchorKey": "0x" + "11" * 20},
        {"contactDigest": "0x" + "22" * 32},
        {"account": "0x" + "33" * 20},
        {"signature": "0x" + "44" * 65},
        {"acceptance": "0x" + "00" * 65},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_is_changed_in_a_request_it_holds_no_more(
    quiet: Newcomers, change: dict[str, Any]
) -> None:
    request = make_request(quiet.stranger)
    with pytest.raises(Unauthenticated) as refusal:
        check_request(quiet.network, _bytes(request, **change))
    assert refusal.value.code == "SignatureInvalid"


@pytest.mark.parametrize(
    "change",
    [
        {"chainId": 7},
        {"consortium": "0x" + "55" * 20},
        {"version": 2},
        {"endpoint": "ftp://stranger.example"},
        {"endpoint": "https://stranger.example/?next="},
        {"name": ""},
        {"name": " padded "},
        {"name": "two\nlines"},
        {"nonce": "007"},
        {"nonce": str(2**256)},
        {"nonce": 7},
        {"requestKey": "0x11"},
        {"admin": True},
    ],
    ids=str,
)
def test_what_is_no_request_for_this_consortium_is_refused(
    quiet: Newcomers, change: dict[str, Any]
) -> None:
    request = make_request(quiet.stranger)
    with pytest.raises(Invalid):
        check_request(quiet.network, _bytes(request, **change))


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"[" * 5000, b"null", b'{"a": NaN}'])
def test_hostile_bytes_are_refused_as_no_request(content: bytes) -> None:
    with pytest.raises(Invalid):
        AdmissionRequest.parse(content)


def test_a_request_too_large_is_not_read(quiet: Newcomers) -> None:
    with pytest.raises(TooLarge):
        AdmissionRequest.parse(b" " * (MAX_REQUEST_BYTES + 1))


@pytest.mark.parametrize("name", ["acceptance", "signature"])
@pytest.mark.parametrize("v", [0, 1, 5, 26, 29, 35, 36, 100, 255])
def test_a_signature_that_the_contracts_would_not_read_is_none(
    quiet: Newcomers, name: str, v: int
) -> None:
    request = make_request(quiet.stranger)
    signature = request.to_json()[name][:-2] + f"{v:02x}"
    with pytest.raises(Unauthenticated) as refusal:
        check_request(quiet.network, _bytes(request, **{name: signature}))
    assert refusal.value.code == "SignatureInvalid"


def test_the_other_signature_that_the_same_one_gives_away_is_none(quiet: Newcomers) -> None:
    request = make_request(quiet.stranger)
    raw = bytes.fromhex(request.signature[2:])
    high = 2 * HALF_ORDER + 1 - int.from_bytes(raw[32:64], "big")
    other = "0x" + (raw[:32] + high.to_bytes(32, "big") + bytes([55 - raw[64]])).hex()
    with pytest.raises(Unauthenticated):
        check_request(quiet.network, _bytes(request, signature=other))


def test_the_account_of_a_contract_is_told_to_ask_otherwise(quiet: Newcomers) -> None:
    request = make_request(quiet.stranger)
    contract = quiet.network.membership.address
    with pytest.raises(Invalid) as refusal:
        check_request(quiet.network, _bytes(request, account=contract))
    assert refusal.value.code == "ContractAccount"
    assert "proposal create admit" in str(refusal.value.hint)


def test_a_member_needs_no_admission(quiet: Newcomers) -> None:
    with pytest.raises(Conflict):
        make_request(quiet.bank)


# ── Handed to a member ───────────────────────────────────────────────────────────────────────


@pytest.fixture
def inbox(quiet: Newcomers) -> Iterator[ChainSite]:
    """The bank's node without requests."""
    yield quiet.bank
    receive(quiet.bank, _bytes(make_request(quiet.stranger)), now=lambda: 1.0)


def test_a_request_waits_for_a_delegate_once(quiet: Newcomers, inbox: ChainSite) -> None:
    content = _bytes(make_request(quiet.stranger, "Waits"))
    for _ in range(2):
        receive(inbox, content)
    assert [row.name for row in waiting(inbox)] == ["Waits"]


def test_the_last_word_of_an_account_counts(quiet: Newcomers, inbox: ChainSite) -> None:
    for name in ("First thought", "Second thought"):
        receive(inbox, _bytes(make_request(quiet.stranger, name)))
    assert [row.name for row in waiting(inbox)] == ["Second thought"]


def test_a_dismissed_request_waits_no_more(quiet: Newcomers, inbox: ChainSite) -> None:
    request = receive(inbox, _bytes(make_request(quiet.stranger, "Unwanted")))
    dismiss(inbox, request.id)
    assert waiting(inbox) == []
    assert find(inbox, request.id).dismissed_at is not None


def test_requests_are_forgotten_after_a_month(quiet: Newcomers, inbox: ChainSite) -> None:
    receive(inbox, _bytes(make_request(quiet.stranger, "Old")), now=lambda: 1000.0)
    receive(
        inbox,
        _bytes(make_request(quiet.stranger, "New")),
        now=lambda: 1001.0 + KEPT_SECONDS,
    )
    assert [row.name for row in waiting(inbox)] == ["New"]


def test_a_node_keeps_only_so_many_requests(
    quiet: Newcomers, inbox: ChainSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.sponsoring.MAX_WAITING", 0)
    home = inbox.settings.home.parent / "another"
    with ChainSite.create(
        home, name="another", scrypt_cost=SCRYPT, consortium=inbox.settings.consortium
    ) as another:
        another.chain = quiet.chain
        with pytest.raises(TooMany):
            receive(inbox, _bytes(make_request(another)))


@pytest.fixture
def another(quiet: Newcomers, tmp_path: Path) -> Iterator[ChainSite]:
    """One more stranger."""
    with ChainSite.create(
        tmp_path / "another",
        name="another",
        scrypt_cost=SCRYPT,
        consortium=quiet.bank.settings.consortium,
    ) as site:
        site.chain = quiet.chain
        yield site
        for row in waiting(quiet.bank):
            dismiss(quiet.bank, row.id)


def test_a_dismissed_request_takes_nobodys_room(
    quiet: Newcomers, inbox: ChainSite, another: ChainSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    unwanted = receive(inbox, _bytes(make_request(quiet.stranger, "Takes no room")))
    dismiss(inbox, unwanted.id)
    monkeypatch.setattr("node.sponsoring.MAX_WAITING", 1)
    receive(inbox, _bytes(make_request(another)))
    receive(inbox, _bytes(unwanted))  # said again, it is as dismissed as before
    assert [row.name for row in waiting(inbox)] == ["another"]


def test_a_dismissed_account_has_no_right_to_room_either(
    quiet: Newcomers, inbox: ChainSite, another: ChainSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    unwanted = receive(inbox, _bytes(make_request(quiet.stranger, "Comes back")))
    dismiss(inbox, unwanted.id)
    receive(inbox, _bytes(make_request(another)))
    monkeypatch.setattr("node.sponsoring.MAX_WAITING", len(waiting(inbox)))
    with pytest.raises(TooMany):
        receive(inbox, _bytes(make_request(quiet.stranger, "With another name")))


# ── Taking one's place ───────────────────────────────────────────────────────────────────────


def _newcomer(world: Newcomers) -> ChainSite:
    world.stranger.change(roles=ROLES)
    return world.stranger


def test_a_node_registers_itself_when_its_member_is_admitted(world: Newcomers) -> None:
    site = _newcomer(world)
    request = make_request(site)
    _pass(world, site)
    assert not site.is_registered
    _admit(world, request)
    world.chain.mine(site.settings.confirmations)
    _pass(world, site)
    found = world.network.sites.site(site.id)
    keys = world.network.sites.keys(site.id)
    assert (found.operator, found.endpoint) == (site.identity.address, site.settings.endpoint)
    assert found.roles == SiteRole.DATA_OWNER | SiteRole.AUDITOR
    assert {key.purpose for key in keys} == {"request", "audit", "anchor"}
    assert all(world.network.sites.proves(site.id, key) for key in keys)
    assert world.network.sites.is_active(site.id)


def test_an_admission_counts_when_it_is_confirmed(world: Newcomers) -> None:
    site = _newcomer(world)
    _admit(world, make_request(site))
    sync_of(site).step()
    assert not site.is_registered


def test_a_node_without_roles_leaves_registering_to_its_operator(world: Newcomers) -> None:
    _admit(world, make_request(world.stranger))
    world.chain.mine(5)
    _pass(world, world.stranger)
    assert not world.stranger.is_registered


def test_a_node_killed_between_its_settings_and_its_intent_registers_all_the_same(
    world: Newcomers,
) -> None:
    site = _newcomer(world)
    _admit(world, make_request(site))
    world.chain.mine(5)
    site.change(site_id=site_on_chain(world.network, site.identity.address)[0])
    site.__dict__.pop("test_sync", None)
    _pass(world, site)
    assert world.network.sites.is_active(site.id)


def test_a_node_started_again_at_any_point_registers_once(world: Newcomers) -> None:
    site = _newcomer(world)
    _admit(world, make_request(site))
    world.chain.mine(5)
    for _ in range(5):
        Sync(site).step()
        world.chain.mine(3)
    assert _registrations(site) == 1
    assert world.network.sites.is_active(site.id)


def test_an_operator_who_registers_a_node_that_did_so_itself_is_told_the_same(
    world: Newcomers,
) -> None:
    site = _newcomer(world)
    _admit(world, make_request(site))
    world.chain.mine(5)
    _pass(world, site)
    submitted = register_site(site, ROLES)
    assert submitted.id == site.id
    assert _registrations(site) == 1


def test_the_other_processes_of_the_home_notice_the_registration(world: Newcomers) -> None:
    site = _newcomer(world)
    _admit(world, make_request(site))
    world.chain.mine(5)
    with ChainSite.open(site.settings.home) as other:
        assert not other.is_registered
        _pass(world, site)
        assert other.id == site.id


def test_a_refusal_of_the_chain_does_not_end_the_node_and_heals(world: Newcomers) -> None:
    site = _newcomer(world)
    _admit(world, make_request(site))
    world.chain.mine(5)
    good = site.settings.endpoint
    site.change(endpoint="http://" + "x" * 300)
    _pass(world, site)
    assert not site.is_registered
    site.change(endpoint=good)
    world.chain.mine()
    _pass(world, site)
    assert world.network.sites.is_active(site.id)
