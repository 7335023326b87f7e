"""The self-check names what a site lacks, and what to do; before its node runs, too."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from chain import deploy as deployment
from chain.deploy import Rule, deploy, found
from chain.errors import HiddenPower
from chain.testing import InProcessChain
from chain.testnet import dev_account
from chain.timelock import PROPOSER_ROLE, Timelock
from node.api.app import create_app
from node.check import Item, Report, check, check_home
from node.joining import make_request
from node.reach import see
from node.store import ChainTx, Proposal
from tests.node.consortium import ChainSite, sync_of
from tests.node.face import make_site, operator, serving, visitor
from tests.node.newcomers import SCRYPT, Newcomers, gather


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Newcomers]:
    world = gather(tmp_path)
    yield world
    world.close()


def _look(world: Newcomers, site: ChainSite, seconds: float = 1.0) -> Report:
    """The report so many seconds after the newest block."""
    head = world.network.client.head()
    return check(site, clock=lambda: head.timestamp + seconds)


def _item(report: Report, name: str) -> Item:
    [found] = [item for item in report.items if item.name == name]
    return found


def _names(report: Report) -> set[str]:
    return {item.name for item in report.items}


def test_a_newcomer_is_told_to_ask_for_admission(world: Newcomers) -> None:
    item = _item(_look(world, world.stranger), "member")
    assert item.status == "fail"
    assert item.todo is not None
    assert "fatechain join" in item.todo


def test_a_newcomer_that_asked_is_told_that_others_act_now(world: Newcomers) -> None:
    make_request(world.stranger)
    item = _item(_look(world, world.stranger), "member")
    assert item.status == "fail"
    assert item.todo is not None
    assert "vote" in item.todo


@pytest.mark.parametrize(
    ("state", "words"), [("ACTIVE", "before the members (ACTIVE)"), ("DEFEATED", "was lost")]
)
def test_a_newcomer_is_told_how_its_vote_stands(world: Newcomers, state: str, words: str) -> None:
    id = "0x" + "ad" * 32
    with world.stranger.store.begin() as session:
        session.add(
            Proposal(
                id=id,
                state=state,
                kind="admit",
                params={"account": world.stranger.identity.address.lower()},
                actions=[],
                description="",
                proposer=world.bank.identity.address,
                moments=[],
                created_block=1,
            )
        )
    item = _item(_look(world, world.stranger), "member")
    with world.stranger.store.begin() as session:
        session.delete(session.get_one(Proposal, id))
    assert words in item.found
    assert id in item.found
    assert "join" not in str(item.todo)


def test_what_cannot_be_there_before_the_admission_is_not_asked_for(world: Newcomers) -> None:
    assert _names(_look(world, world.stranger)).isdisjoint({"site", "request key", "endpoint"})


def test_a_consortium_whose_members_do_not_govern_yet_says_who_does(world: Newcomers) -> None:
    item = _item(_look(world, world.bank), "powers")
    assert item.status == "warn"
    assert world.network.consortium.authority() in item.found
    assert item.todo is not None
    assert "fatechain found" in item.todo


def test_nobody_stands_above_members_who_govern(world: Newcomers) -> None:
    found(world.chain.client(0), world.network)
    assert _item(_look(world, world.bank), "powers").status == "ok"


def test_an_account_with_a_hidden_role_is_named_and_nobody_joins(tmp_path: Path) -> None:
    chain, hidden = InProcessChain(), dev_account(7).address
    usual = deployment._roles

    def more(timelock: Timelock, governor: str) -> list[Rule]:
        kept = Rule(
            lambda: timelock.has_role(PROPOSER_ROLE, hidden),
            timelock.grant_role(PROPOSER_ROLE, hidden),
        )
        return [*usual(timelock, governor), kept]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deployment, "_roles", more)
        done = deploy(chain.client(0), None)
    with ChainSite.create(
        tmp_path / "s", name="s", scrypt_cost=SCRYPT, consortium=done.consortium
    ) as site:
        site.chain = chain
        head = chain.client(0).head()
        item = _item(check(site, clock=lambda: head.timestamp + 1.0), "powers")
        assert item.status == "fail"
        assert item.found == f"{hidden} holds PROPOSER in the timelock"
        with pytest.raises(HiddenPower, match=hidden):
            make_request(site)


def test_an_authority_that_is_not_the_timelock_any_more_is_named(world: Newcomers) -> None:
    """The members gave it away by a vote: from then on they decide nothing."""
    book, client = world.network.consortium, world.chain.client(0)
    timelock = world.network.timelock.address
    client.transact(book.set_contract("timelock", client.address))
    client.transact(book.set_contract("timelock", timelock))
    item = _item(_look(world, world.bank), "powers")
    assert item.status == "fail"
    assert item.found == f"the authority is {client.address}, and not the members' timelock"


def test_an_empty_account_is_told_how_much_it_lacks(world: Newcomers) -> None:
    home = world.bank.settings.home.parent / "poor"
    consortium = world.bank.settings.consortium
    with ChainSite.create(home, name="p", scrypt_cost=SCRYPT, consortium=consortium) as poor:
        poor.chain = world.chain
        item = _item(_look(world, poor), "account")
        assert item.status == "fail"
        assert item.todo is not None
        assert "send at least 0.00" in item.todo
        assert f"fatechain fund --home {poor.settings.home}" in item.todo


def test_a_member_is_told_to_start_its_node_or_to_register(world: Newcomers) -> None:
    by_hand = _item(_look(world, world.bank), "site").todo
    world.bank.change(roles=("data-owner",))
    by_itself = _item(_look(world, world.bank), "site").todo
    assert by_hand is not None
    assert "site register" in by_hand
    assert by_itself is not None
    assert "fatechain up" in by_itself


def test_a_registered_site_has_its_keys_and_lacks_only_its_processes(world: Newcomers) -> None:
    world.register()
    report = _look(world, world.bank)
    for name in ("home", "chain", "clock", "consortium", "account", "member", "site"):
        assert _item(report, name).status in ("ok", "warn"), _item(report, name)
    assert _item(report, "request key").status == "ok"
    assert _item(report, "audit key").status == "ok"
    failing = {item.name for item in report.items if item.status == "fail"}
    assert failing == {"api", "broker", "sync", "worker", "algorithms"}
    assert not report.ok


def test_a_site_that_moved_is_told_to_tell_the_others(world: Newcomers) -> None:
    world.register()
    world.bank.change(endpoint="https://bank.example")
    item = _item(_look(world, world.bank), "site")
    assert item.status == "fail"
    assert item.todo == "fatechain site endpoint https://bank.example"


def test_an_ended_key_is_found(world: Newcomers) -> None:
    world.register()
    call = world.network.sites.revoke_key(world.bank.id, world.bank.key_id())
    world.bank.client(world.bank.identity.account).transact(call)
    item = _item(_look(world, world.bank), "request key")
    assert (item.status, item.todo) == ("fail", "fatechain key rotate request")


def test_a_suspended_member_is_found(world: Newcomers) -> None:
    world.register()
    world.chain.client(0).transact(world.network.membership.suspend(world.members["bank"]))
    assert _item(_look(world, world.bank), "member").status == "fail"


def test_a_stale_chain_and_a_slow_clock_are_found(world: Newcomers) -> None:
    assert _item(_look(world, world.bank, 3600), "chain").status == "fail"
    assert _item(_look(world, world.bank, -3600), "clock").status == "fail"


def test_a_transaction_that_does_not_go_out_is_told(world: Newcomers) -> None:
    with world.bank.store.begin() as session:
        error = {"code": "ChainRefused", "detail": "no funds"}
        session.add(ChainTx(intent="site.register:0x", call={}, error=error))
    assert "no funds" in _item(_look(world, world.bank), "transactions").found
    assert _item(_look(world, world.bank), "site").todo == "no funds"


def test_a_home_that_others_may_read_is_found(world: Newcomers) -> None:
    world.bank.settings.secrets.chmod(0o755)
    item = _item(_look(world, world.bank), "home")
    assert item.status == "fail"
    assert "secrets" in item.found


# ── Where things are broken from the start ───────────────────────────────────────────────────


def test_a_home_whose_chain_is_silent_says_so_and_nothing_of_what_follows(tmp_path: Path) -> None:
    site = make_site(tmp_path / "alone", site_id=None, rpc_url="http://127.0.0.1:9")
    site.close()
    report = check_home(site.settings.home)
    assert _item(report, "chain").status == "fail"
    assert _names(report).isdisjoint({"consortium", "member"})


def test_a_home_without_its_password_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FATECHAIN_PASSWORD", raising=False)
    made = ChainSite.create(tmp_path / "s", name="s", password="secret!", scrypt_cost=SCRYPT)
    made.close()
    [item] = check_home(tmp_path / "s").items
    assert (item.name, item.status) == ("keys", "fail")
    assert item.todo is not None
    assert "FATECHAIN_PASSWORD" in item.todo


def test_a_home_without_a_consortium_is_told_how_to_get_one(world: Newcomers) -> None:
    with ChainSite.create(world.bank.settings.home.parent / "n", name="n", scrypt_cost=SCRYPT) as n:
        n.chain = world.chain
        item = _item(_look(world, n), "consortium")
    assert item.status == "fail"
    assert item.todo is not None
    assert "--network" in item.todo


# ── Seen from outside ────────────────────────────────────────────────────────────────────────


async def test_a_node_is_seen_and_nothing_else_is_taken_for_one(tmp_path: Path) -> None:
    site = make_site(tmp_path / "seen")
    with serving(site) as url:
        assert await see(url) is None
        assert await see(url + "/elsewhere") == "what answers is no node"
    site.close()


async def test_an_endpoint_where_nobody_listens_is_told_as_such() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    found = await see(f"http://127.0.0.1:{port}")
    assert found is not None
    assert "nothing answers" in found


def test_two_nodes_look_at_each_other(world: Newcomers) -> None:
    with serving(world.shop) as shop, serving(world.bank) as bank:
        world.shop.change(endpoint=shop)
        world.bank.change(endpoint=bank)
        world.register()
        sync_of(world.bank).step()
        report = check(world.bank)
    assert _item(report, "endpoint").status == "ok", _item(report, "endpoint")
    assert "shop reaches this node" in _item(report, "endpoint").found
    assert _item(report, "clock of a partner").status == "ok"


def test_a_node_behind_a_wall_is_told_that_nobody_reaches_it(world: Newcomers) -> None:
    with serving(world.shop) as shop:
        world.shop.change(endpoint=shop)
        world.register()
        report = check(world.bank)
    item = _item(report, "endpoint")
    assert item.status == "fail"
    assert "does not reach" in item.found


async def test_only_a_site_may_have_itself_looked_at(world: Newcomers) -> None:
    async with visitor(world.bank) as anybody:
        answer = await anybody.get("/sites/v1/reachable")
    assert answer.status_code == 401


async def test_the_running_node_answers_with_the_same_report(world: Newcomers) -> None:
    world.register()
    app = create_app(world.bank.settings.home, world.bank)
    async with operator(world.bank, app) as api:
        answer = await api.get("/v1/check")
    assert answer.status_code == 200
    shown = json.loads(answer.text)
    assert shown["ok"] is False
    assert {item["name"] for item in shown["items"]} >= {"home", "chain", "consortium"}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://node") as anybody:
        assert (await anybody.get("/v1/check")).status_code == 401
