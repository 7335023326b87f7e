"""Whoever is above the members' votes is named, however well it is hidden."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from chain import deploy as deployment
from chain import layouts
from chain.abi import encode_call, to_bytes, to_hex
from chain.calls import Call
from chain.client import ChainClient
from chain.compile import load
from chain.deploy import Rule, deploy, found
from chain.errors import ChainRefused, HiddenPower, HistoryIncomplete
from chain.governor import Proposal
from chain.network import Network
from chain.powers import powers
from chain.proposals import actions, description
from chain.testing import InProcessChain
from chain.testnet import dev_account
from chain.timelock import (
    ADMIN_ROLE,
    ANYONE,
    CANCELLER_ROLE,
    EXECUTOR_ROLE,
    PROPOSER_ROLE,
    ROLE_NAMES,
    Holder,
    Timelock,
)
from tests.chain.parliament import Parliament, a_draft
from tests.chain.world import admission

DEPLOYER = dev_account(0)
HIDDEN = dev_account(7)
NOTHING = "0x" + "00" * 32


@dataclass
class Founded:
    """Two members govern, and an account that the deployer made an administrator before."""

    chain: InProcessChain
    network: Network
    first: int

    def operate(self, function: str, *args: Any) -> None:
        """The account uses what it has."""
        call = Call("TimelockController", function, args, self.network.timelock.address)
        self.chain.client(7).transact(call)

    def give_up(self, *roles: str) -> None:
        for role in roles:
            self.operate("renounceRole", role, HIDDEN.address)

    def hidden(self) -> tuple[str, ...]:
        return powers(self.network, self.first).hidden


@pytest.fixture(scope="module")
def deployed() -> Founded:
    chain = InProcessChain()
    chain.mine(5)
    usual = deployment._roles

    def more(timelock: Timelock, governor: str) -> list[Rule]:
        return [
            *usual(timelock, governor),
            Rule(
                lambda: timelock.has_role(ADMIN_ROLE, HIDDEN.address),
                timelock.grant_role(ADMIN_ROLE, HIDDEN.address),
            ),
        ]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deployment, "_roles", more)
        done = deploy(chain.client(0), None)
    network = Network.open(chain.client(0), done.consortium)
    for number in (1, 2):
        chain.client(0).transact(admission(network, dev_account(number), f"m{number}", number))
    found(chain.client(0), network)
    return Founded(chain, network, done.from_block)


@pytest.fixture
def founded(deployed: Founded) -> Iterator[Founded]:
    before = deployed.chain.snapshot()
    yield replace(
        deployed,
        network=Network.open(deployed.chain.client(0), deployed.network.consortium.address),
    )
    deployed.chain.revert(before)


@pytest.fixture
def clean(founded: Founded) -> Founded:
    """The account gave up what it had."""
    founded.give_up(ADMIN_ROLE)
    return founded


def test_the_governor_alone_commands_the_timelock_and_its_decisions_may_wait() -> None:
    chain = InProcessChain()

    def connect(account: Any) -> ChainClient:
        return ChainClient("http://in-process", account=account, web3=chain.web3)

    parliament = Parliament(connect, chain.mine, chain.travel).found()
    network = parliament.network
    timelock, governor = network.timelock.address, network.governor.address
    seen = powers(network, 0)
    assert seen.holders == {
        Holder("DEFAULT_ADMIN", timelock),
        Holder("PROPOSER", governor),
        Holder("CANCELLER", governor),
        Holder("EXECUTOR", ANYONE),
    }
    assert DEPLOYER.address not in {holder.account for holder in seen.holders}
    draft = a_draft("set-minimum", name="key-bits", value=3072)
    parliament.pass_(parliament.propose(draft))
    told = network.client.logs(0, network.client.head().number, [timelock])
    assert len(network.timelock.waiting(told, block="latest")) == 1
    assert powers(network, 0) == seen
    seen.require_none_hidden()


@pytest.mark.parametrize("role", [ADMIN_ROLE, PROPOSER_ROLE, CANCELLER_ROLE, EXECUTOR_ROLE])
def test_an_account_that_kept_a_role_is_named_with_it(founded: Founded, role: str) -> None:
    if role != ADMIN_ROLE:
        founded.operate("grantRole", role, HIDDEN.address)
        founded.give_up(ADMIN_ROLE)
    named = f"{HIDDEN.address} holds {ROLE_NAMES[role]} in the timelock"
    assert founded.hidden() == (named,)
    with pytest.raises(HiddenPower, match=named):
        powers(founded.network, founded.first).require_none_hidden()


def test_a_role_without_a_name_is_told_by_its_digest(founded: Founded) -> None:
    founded.operate("grantRole", "0x" + "ab" * 32, HIDDEN.address)
    founded.give_up(ADMIN_ROLE)
    assert founded.hidden() == (f"{HIDDEN.address} holds 0x{'ab' * 32} in the timelock",)


def test_who_gave_up_everything_is_nobody(clean: Founded) -> None:
    assert clean.hidden() == ()


def test_a_decision_that_was_left_behind_by_a_role_since_given_up_is_named(
    founded: Founded,
) -> None:
    network, book = founded.network, founded.network.consortium
    coup = to_hex(encode_call("Consortium", "moveAuthority", [HIDDEN.address]))
    left = (book.address, 0, coup, NOTHING, NOTHING)
    founded.operate("grantRole", PROPOSER_ROLE, HIDDEN.address)
    founded.operate("schedule", *left, network.timelock.delay())
    founded.give_up(PROPOSER_ROLE, ADMIN_ROLE)
    (hidden,) = founded.hidden()
    assert hidden.endswith("waits in the timelock, and the governor did not put it there")
    founded.chain.travel(network.timelock.delay() + 1)
    founded.operate("execute", *left)
    assert book.authority() == HIDDEN.address  # what it is about


@pytest.mark.parametrize("becomes_of_it", ["PENDING", "CANCELED"])
def test_a_decision_left_behind_is_named_though_a_member_proposes_the_same(
    founded: Founded, becomes_of_it: str
) -> None:
    network = founded.network
    member = founded.chain.client(1)
    wanted = a_draft("set-minimum", name="key-bits", value=3072)
    calls = actions(wanted, network)
    proposal = Proposal(calls, description(wanted, None, dev_account(1).address))
    of_governor = to_bytes(network.governor.address).ljust(32, b"\0")
    of_words = to_bytes(proposal.description_hash)
    salt = to_hex(bytes(a ^ b for a, b in zip(of_governor, of_words, strict=True)))
    founded.operate("grantRole", PROPOSER_ROLE, HIDDEN.address)
    delay = network.timelock.delay()
    founded.operate("scheduleBatch", *proposal.arguments(), NOTHING, salt, delay)
    founded.give_up(PROPOSER_ROLE, ADMIN_ROLE)
    member.transact(network.governor.propose(calls, proposal.description))
    if becomes_of_it == "CANCELED":
        member.transact(network.governor.cancel(proposal))
    assert network.governor.state(proposal.id) == becomes_of_it
    (hidden,) = founded.hidden()
    assert proposal.operation(network.governor.address) in hidden


def test_a_history_that_begins_too_late_is_refused(clean: Founded) -> None:
    network, first = clean.network, clean.first
    head = network.client.head().number
    made = next(
        event.block_number for event in network.client.logs(first, head, [network.timelock.address])
    )
    for late in (made + 1, head + 1):
        with pytest.raises(HistoryIncomplete, match="its first events are not there"):
            powers(network, late)


def test_a_second_beginning_is_not_taken_for_the_first(
    founded: Founded,
) -> None:
    """An administrator can take the timelock's own role and give it back, in later blocks."""
    network, own = founded.network, founded.network.timelock.address
    founded.operate("revokeRole", ADMIN_ROLE, own)
    again = network.client.head().number + 1
    founded.operate("grantRole", ADMIN_ROLE, own)
    with pytest.raises(HistoryIncomplete, match="it is older than block"):
        powers(network, again)


def test_events_that_an_endpoint_keeps_back_are_missed(
    clean: Founded, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, first = clean.network, clean.first
    whole = network.client.logs
    monkeypatch.setattr(
        network.client,
        "logs",
        lambda *asked: [e for e in whole(*asked) if e.name != "RoleRevoked"],
    )
    with pytest.raises(HistoryIncomplete, match="roles that its events do not explain"):
        powers(network, first)


def test_an_endpoint_without_old_states_is_asked_for_events_alone(
    clean: Founded, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, first = clean.network, clean.first

    def pruned(*_: object) -> bool:
        raise ChainRefused("eth_getCode", "missing trie node")

    monkeypatch.setattr(network.client, "has_code", pruned)
    assert powers(network, first).hidden == ()


@pytest.mark.parametrize("name", ["timelock", "governor"])
def test_code_that_nobody_knows_is_named(
    clean: Founded, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    network, first = clean.network, clean.first
    at, code = getattr(network, name).address, network.client.code

    def other(address: str, *block: Any) -> bytes:
        found = code(address, *block)
        return bytes([found[0] ^ 1]) + found[1:] if address == at and found else found

    monkeypatch.setattr(network.client, "code", other)
    (hidden,) = powers(network, first).hidden
    assert hidden == f"the {name} at {at} runs code that nobody here knows"


def test_code_is_told_by_all_of_its_bytes_but_the_immutables() -> None:
    artifact = load("ConsortiumGovernor")
    code = to_bytes(artifact.deployed_bytecode)
    place = code.index(b"\x7f" + bytes(32)) + 1
    changed: Callable[[int], bytes] = lambda at: code[:at] + b"\x0a" + code[at + 1 :]  # noqa: E731
    assert layouts.is_made_of(changed(place), artifact)
    assert not layouts.is_made_of(changed(place + 32), artifact)
    assert not layouts.is_made_of(code + b"\0", artifact)
    assert not layouts.is_made_of(b"", artifact)
