"""What a proposal would do is what it does, and trying it out does nothing."""

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chain import abi, canonical
from chain.calls import Creation
from chain.client import ChainClient
from chain.compile import CONTRACTS, load
from chain.effects import Effect, effect_digest, effect_of, refused_digest, simulate
from chain.errors import ChainUnavailable, ContractRefused, ForkFailed
from chain.fork import Fork
from chain.proposals import PARAMS, Action
from chain.testing import InProcessChain
from tests.chain.agenda import AGENDA, NEW_CODE, NEWCOMER, TEXT, code_hash
from tests.chain.parliament import FOUNDERS, STRANGER, Parliament, a_draft
from tests.chain.world import CODE
from tests.contracts.engines import Chain, running


@pytest.fixture(scope="module")
def governed() -> tuple[InProcessChain, Parliament]:
    chain = InProcessChain()
    return chain, Parliament(chain.client, chain.mine, chain.travel).found()


@pytest.fixture
def parliament(governed: tuple[InProcessChain, Parliament]) -> Iterator[Parliament]:
    chain, found = governed
    before = chain.snapshot()
    yield found.afresh()
    chain.revert(before)


# ── the same as what happens


def carried_as_previewed(parliament: Parliament, kind: str) -> tuple[Effect, Effect]:
    """The effects tried out before the vote and before the act; the act has the same digest."""
    draft = AGENDA[kind](parliament)
    before = parliament.preview(draft)
    assert before.refused is None
    proposal = parliament.propose(draft)
    parliament.pass_(proposal)
    late = parliament.try_out(proposal.actions)
    receipt = parliament.execute(proposal)
    assert parliament.executed_digest(proposal, receipt) == before.digest == late.digest
    return before, late


def test_every_kind_is_on_the_agenda() -> None:
    assert set(AGENDA) == set(PARAMS)


@pytest.mark.parametrize("kind", AGENDA)
def test_execution_has_the_digest_of_the_preview(parliament: Parliament, kind: str) -> None:
    carried_as_previewed(parliament, kind)


def test_several_actions_are_one_effect(parliament: Parliament) -> None:
    drafts = [AGENDA[kind](parliament) for kind in ("set-voting", "suspend", "set-minimum")]
    drafts[0] = a_draft("set-voting", voting_delay=1, timelock_delay=1)
    before = parliament.preview(*drafts)
    proposal = parliament.propose(*drafts)
    parliament.pass_(proposal)
    assert parliament.executed_digest(proposal, parliament.execute(proposal)) == before.digest
    assert [event.name for event in before.events] == [
        *("VotingDelaySet", "MinDelayChange", "Transfer"),
        *("DelegateVotesChanged", "MemberSuspended", "MinimumSet"),
    ]


def test_transaction_that_executed_something_else_has_no_digest(parliament: Parliament) -> None:
    receipt = parliament.carry(AGENDA["set-minimum"](parliament))
    other = parliament.propose(AGENDA["admit-scheme"](parliament))
    assert parliament.executed_digest(other, receipt) is None
    vote = parliament.send(FOUNDERS["shop"], parliament.network.reviews.appoint(TEXT[:42]))
    assert parliament.executed_digest(other, vote) is None


# Logs something of its own, then calls the address that its calldata begins with with the rest of
# it, and reverts if that does.  By hand, so that no compiler is needed.
RELAYER = bytes.fromhex(
    "602a80600b6000396000f3"
    "60006000a0"
    "60143603806014600037"
    "600060009160006000"
    "60003560601c5af1"
    "60285760006000fd5b00"
)


@pytest.mark.parametrize("kind", ["set-minimum", "suspend", "set-voting"])
def test_an_execution_through_a_contract_that_logs_has_the_digest_of_the_preview(
    governed: tuple[InProcessChain, Parliament], parliament: Parliament, kind: str
) -> None:
    """As smart accounts and relayers do."""
    eth = governed[0].web3.eth
    made = eth.get_transaction_receipt(
        eth.send_transaction({"from": STRANGER.address, "data": RELAYER, "gas": 500_000})
    )
    relayer = made["contractAddress"]
    assert relayer is not None
    draft = AGENDA[kind](parliament)
    before = parliament.preview(draft)
    proposal = parliament.propose(draft)
    parliament.pass_(proposal)
    call = parliament.network.governor.execute(proposal)
    data = bytes.fromhex(call.address[2:])
    data += abi.encode_call(call.contract, call.function, call.args)
    sent = eth.send_transaction(
        {"from": STRANGER.address, "to": relayer, "data": data, "gas": 5_000_000}
    )
    receipt = eth.get_transaction_receipt(sent)
    assert receipt["status"] == 1
    assert receipt["logs"][0]["address"] == relayer
    found = effect_of(
        parliament.network,
        sent.to_0x_hex(),
        proposal.operation(parliament.network.governor.address),
    )
    assert found == before.digest


# ── what is told


def changes(effect: Effect) -> dict[str, tuple[Any, Any]]:
    return {change.what: (change.before, change.after) for change in effect.parameters}


def test_admission_tells_of_the_new_member(parliament: Parliament) -> None:
    effect = parliament.preview(AGENDA["admit"](parliament))
    (told,) = effect.members
    assert told.before is None
    assert told.after == {
        "account": NEWCOMER.address,
        "name": "the newcomer",
        "standing": "ACTIVE",
    }
    assert [event.name for event in effect.events][-1] == "MemberAdmitted"
    assert effect.described[0].text == f"admit {NEWCOMER.address} as the member 'the newcomer'"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("set-minimum", {"minimum key-bits": (2048, 3072)}),
        ("admit-scheme", {"scheme lattice": (False, True)}),
        ("allow-purpose", {"purpose weather": (False, True)}),
        ("set-constitution", {"constitution": ("0x" + "00" * 32, TEXT)}),
        ("name-issuer", {"issuers of iso27001": ([], [STRANGER.address])}),
        ("require-attestation", {"required attestations": ([], ["iso27001"])}),
        ("release-brake", {"brake is pulled": (True, False)}),
        ("allow-algorithm", {f"algorithm {NEW_CODE}": (None, "better boosting")}),
        ("forbid-algorithm", {f"algorithm {CODE}": ("secureboost", None)}),
        (
            "set-voting",
            {
                "voting voting_delay": (2, 3),
                "voting voting_period": (12, 20),
                "voting late_quorum": (3, 4),
                "voting quorum_minimum": (2, 3),
                "voting timelock_delay": (5, 6),
            },
        ),
    ],
)
def test_parameters_are_told_before_and_after(
    parliament: Parliament, kind: str, expected: dict[str, tuple[Any, Any]]
) -> None:
    assert changes(parliament.preview(AGENDA[kind](parliament))) == expected


def test_ruling_and_review_are_told(parliament: Parliament) -> None:
    ruled = changes(parliament.preview(AGENDA["rule-dispute"](parliament)))
    assert list(ruled.values()) == [("OPEN", "UPHELD")]
    reviewed = changes(parliament.preview(AGENDA["review-break-glass"](parliament)))
    assert list(reviewed.values()) == [("UNREVIEWED", "REVIEWED")]


def test_handing_over_all_power_is_told(parliament: Parliament) -> None:
    told = changes(parliament.preview(AGENDA["move-authority"](parliament)))
    assert told == {"authority": (parliament.network.timelock.address, STRANGER.address)}


def test_suspension_tells_which_grants_and_jobs_it_stops(parliament: Parliament) -> None:
    job = parliament.world.start()
    effect = parliament.preview(a_draft("suspend", member=parliament.member("shop")))
    (grant,) = effect.grants
    assert (grant.grant, grant.purpose, grant.before) == (
        parliament.world.shop.grant,
        "training",
        None,
    )
    assert grant.after is not None
    assert grant.after.startswith("MembershipNotActive(")
    (stopped,) = effect.jobs
    assert (stopped.job, stopped.before) == (job, None)
    assert stopped.after is not None
    assert "Active" in stopped.after


def test_withdrawn_purpose_and_forbidden_code_stop_jobs_and_grants(parliament: Parliament) -> None:
    parliament.world.start()
    for kind, error in (
        ("withdraw-purpose", "ConsortiumPurposeNotAllowed"),
        ("forbid-algorithm", "ConsortiumAlgorithmNotAllowed"),
    ):
        effect = parliament.preview(AGENDA[kind](parliament))
        assert [(c.before, (c.after or "").split("(")[0]) for c in effect.grants] == [(None, error)]
        assert [(c.before, (c.after or "").split("(")[0]) for c in effect.jobs] == [(None, error)]


def test_release_of_the_brake_lets_jobs_go_on(parliament: Parliament) -> None:
    job = parliament.world.start()
    effect = parliament.preview(AGENDA["release-brake"](parliament))
    (change,) = effect.jobs
    assert (change.job, change.after) == (job, None)
    assert (change.before or "").startswith("BrakePulled(")


def test_only_the_named_jobs_and_grants_are_looked_at(parliament: Parliament) -> None:
    parliament.world.start()
    draft = AGENDA["withdraw-purpose"](parliament)
    effect = parliament.preview(draft, jobs=(), grants=())
    assert (effect.jobs, effect.grants) == ((), ())
    assert effect.digest == parliament.preview(draft).digest


# ── what drifted, and what is refused


def test_proposal_about_a_member_that_was_suspended_meanwhile_is_refused(
    parliament: Parliament,
) -> None:
    draft = a_draft("suspend", member=parliament.member("clinic"))
    before = parliament.preview(draft)
    parliament.carry(a_draft("suspend", member=parliament.member("clinic"), title="Sooner"))
    after = parliament.preview(draft)
    assert after.refused is not None
    assert after.refused.error == "MembershipNotActive"
    assert after.refused.values["id"] == parliament.member("clinic")
    assert after.digest != before.digest
    assert after.digest == refused_digest(after.actions, after.refused.data)
    assert (after.events, after.members) == ((), ())


def test_effect_that_another_vote_changed_has_another_digest(parliament: Parliament) -> None:
    draft = a_draft("set-voting", voting_delay=9)
    before = parliament.preview(draft)
    parliament.carry(a_draft("set-voting", voting_delay=4))
    after = parliament.preview(draft)
    assert after.refused is None
    assert after.digest != before.digest
    assert changes(after) == {"voting voting_delay": (4, 9)}


def test_refusal_of_one_action_refuses_them_all(parliament: Parliament) -> None:
    fine, wrong = (AGENDA["set-minimum"](parliament), a_draft("withdraw-scheme", scheme="lattice"))
    effect = parliament.preview(fine, wrong)
    assert effect.refused is not None
    assert effect.refused.error == "ConsortiumSchemeNotAdmitted"
    assert (effect.events, effect.parameters) == ((), ())


def test_algorithm_that_nobody_reviewed_is_refused(parliament: Parliament) -> None:
    effect = parliament.preview(a_draft("allow-algorithm", code_digest=TEXT, name="x"))
    assert effect.refused is not None
    assert effect.refused.error == "ReviewsNotSubmitted"


def test_call_of_a_stranger_is_tried_out_all_the_same(parliament: Parliament) -> None:
    """An account without code takes any call and does nothing."""
    effect = parliament.try_out([Action(str(STRANGER.address), "0x12345678")])
    assert (effect.refused, effect.events) == (None, ())
    assert not effect.described[0].known


# ── nothing happens


def test_trying_out_changes_nothing(
    governed: tuple[InProcessChain, Parliament], parliament: Parliament
) -> None:
    chain, _ = governed
    head = parliament.network.client.head()
    state = chain.web3.eth.get_block("latest")["stateRoot"]
    for kind in ("suspend", "move-authority", "set-voting"):
        parliament.preview(AGENDA[kind](parliament))
    assert parliament.network.client.head() == head
    assert chain.web3.eth.get_block("latest")["stateRoot"] == state
    assert parliament.network.governor.settings().voting_delay == 2


def test_effect_is_of_the_block_that_was_newest(parliament: Parliament) -> None:
    head = parliament.network.client.head().number
    assert parliament.preview(AGENDA["set-minimum"](parliament)).block == head


# ── the digest


def test_digest_is_recomputed_by_a_stranger(parliament: Parliament) -> None:
    """From a receipt and the definition alone."""
    proposal = parliament.propose(AGENDA["set-minimum"](parliament))
    parliament.pass_(proposal)
    receipt = parliament.execute(proposal)
    raw = parliament.network.client.logs_of(receipt.tx_hash)
    (event,) = [log for log in raw if log.address == parliament.network.consortium.address.lower()]
    document = (
        '{{"actions":[{{"calldata":"{}","target":"{}","value":"0"}}],'
        '"events":[{{"address":"{}","data":"{}","topics":["{}","{}"]}}]}}'.format(
            proposal.actions[0].calldata,
            proposal.actions[0].target.lower(),
            event.address,
            event.data,
            *event.topics,
        )
    )
    expected = canonical.digest(document.encode())
    assert expected == parliament.executed_digest(proposal, receipt)
    assert expected == effect_digest(proposal.actions, [event])


def test_effect_is_json(parliament: Parliament) -> None:
    for kind in ("admit", "suspend", "upgrade", "set-voting"):
        value = parliament.preview(AGENDA[kind](parliament)).to_json()
        assert canonical.loads(canonical.dumps(value)) == value
    refused = parliament.preview(a_draft("withdraw-scheme", scheme="lattice")).to_json()
    assert refused["refused"]["error"] == "ConsortiumSchemeNotAdmitted"


# ── upgrades


def test_upgrade_tells_the_code_and_that_it_keeps_what_is_stored(parliament: Parliament) -> None:
    draft = AGENDA["upgrade"](parliament)
    (change,) = parliament.preview(draft).contracts
    params = draft.params_json()
    assert (change.name, change.to) == ("jobs", params["implementation"])
    assert (change.code_hash, change.known_as) == (params["code_hash"], "JobRegistry")
    assert change.is_layout_ok


def test_upgrade_to_code_that_nobody_knows_says_so(parliament: Parliament) -> None:
    draft = AGENDA["upgrade"](parliament)
    known = [load(name) for name in CONTRACTS if name != "JobRegistry"]
    (change,) = parliament.preview(draft, known=known).contracts
    assert (change.known_as, change.is_layout_ok) == (None, None)
    assert "nobody here knows the new code" in change.why


def test_upgrade_that_breaks_a_contract_says_what_cannot_be_read(parliament: Parliament) -> None:
    made = parliament.world.client(STRANGER).transact(Creation("Disputes")).contract_address
    assert made is not None
    for name in ("brake", "membership"):
        hashed = code_hash(parliament, made)
        draft = a_draft("upgrade", name=name, implementation=made, code_hash=hashed)
        effect = parliament.preview(draft)
        told = changes(effect)["brake is pulled" if name == "brake" else "active members"]
        assert str(told[1]).startswith("cannot be read")
        assert effect.contracts[0].is_layout_ok is False
        assert [change.after for change in effect.members] == [None] * 3 * (name == "membership")


def test_upgrade_to_another_contracts_code_loses_what_is_stored(parliament: Parliament) -> None:
    made = parliament.world.client(STRANGER).transact(Creation("Disputes")).contract_address
    assert made is not None
    hashed = code_hash(parliament, made)
    draft = a_draft("upgrade", name="anchors", implementation=made, code_hash=hashed)
    (change,) = parliament.preview(draft).contracts
    assert (change.known_as, change.is_layout_ok) == ("Disputes", False)
    assert "is gone" in change.why


def test_upgrade_to_other_code_than_the_named_is_refused(parliament: Parliament) -> None:
    draft = AGENDA["upgrade"](parliament)
    wrong = a_draft("upgrade", **{**draft.params_json(), "code_hash": TEXT})
    effect = parliament.preview(wrong)
    assert effect.refused is not None
    assert effect.refused.error == "ConsortiumCodeMismatch"


# ── the copy


def test_copy_sees_the_block_after_and_keeps_what_is_made(parliament: Parliament) -> None:
    head = parliament.network.client.head()
    with Fork(parliament.network.client) as fork:
        tried = parliament.network.on(fork.reader)
        assert fork.reader.head().number == head.number + 1
        assert tried.governor.clock() == head.number + 1
        with pytest.raises(ContractRefused, match="MembershipUnknown"):
            tried.membership.member(TEXT)
        with pytest.raises(ForkFailed, match="block"):
            tried.at(head.number).consortium.authority()
        appoint = parliament.network.reviews.appoint(str(NEWCOMER.address))
        data = abi.to_hex(abi.encode_call(appoint.contract, appoint.function, appoint.args))
        bank = str(FOUNDERS["bank"].address)
        done = fork.play(appoint.address, data, sender=bank)
        assert (done.reverted, len(done.logs)) == (None, 1)
        assert tried.reviews.people(parliament.member("bank")) == (NEWCOMER.address,)
    assert parliament.network.reviews.people(parliament.member("bank")) == ()


def test_contract_cannot_be_the_sender(parliament: Parliament) -> None:
    network = parliament.network
    with Fork(network.client) as fork, pytest.raises(ForkFailed, match="RejectCallerWithCode"):
        fork.play(network.jobs.address, "0x", sender=network.timelock.address)


def test_chain_that_dies_is_named_in_time(parliament: Parliament) -> None:
    class Dead(ChainClient):
        def slot(self, *args: Any) -> int:
            raise ChainUnavailable("http://user:secret@chain.example", "ConnectionError")

    client = Dead("http://in-process", web3=parliament.network.client._rpc.web3)
    with pytest.raises(ChainUnavailable, match=r"chain\.example") as caught:
        simulate(client, parliament.network, ())
    assert "secret" not in str(caught.value)


def test_copy_that_takes_too_long_is_ended(parliament: Parliament) -> None:
    released = threading.Event()

    class Slow(ChainClient):
        def slot(self, *args: Any) -> int:
            released.wait(20)
            return 0

    client = Slow("http://in-process", web3=parliament.network.client._rpc.web3)
    fork = Fork(client, seconds=1.0)
    try:
        with pytest.raises(ForkFailed, match="longer than 1 s"), fork:
            parliament.network.on(fork.reader).consortium.authority()
    finally:
        released.set()


def test_copy_without_its_process_says_what_to_install(
    parliament: Parliament, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = tmp_path / "evm.py"
    empty.write_text("import no_such_package\n")
    monkeypatch.setattr("chain.fork._PROGRAM", empty)
    with pytest.raises(ForkFailed, match="pyrevm"), Fork(parliament.network.client):
        pass


def test_stranger_on_the_machine_reads_nothing_through_the_copy(parliament: Parliament) -> None:
    import httpx

    with Fork(parliament.network.client) as fork:
        url = fork._source.url
        question = {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}
        assert httpx.post(url, json=question).json()["result"]
        assert httpx.post(url.rsplit("/", 1)[0] + "/guess", json=question).status_code == 404
        sent = {**question, "method": "eth_sendRawTransaction", "params": ["0x00"]}
        assert "error" in httpx.post(url, json=sent).json()


# ── on the engines


def on(chain: Chain, url: str) -> Parliament:
    def connect(account: Any) -> ChainClient:
        return ChainClient(url, account=account, stuck_after=5.0)

    return Parliament(connect, chain.mine, chain.travel).found()


@pytest.mark.system
@pytest.mark.parametrize(
    ("engine", "kinds"), [("anvil", tuple(AGENDA)), ("ganache", ("suspend", "set-voting"))]
)
def test_engine_executes_what_was_previewed(
    engine: str, kinds: Sequence[str], tmp_path: Path
) -> None:
    with running(engine, tmp_path) as chain:
        founded = on(chain, str(chain.web3.provider.endpoint_uri))  # type: ignore[attr-defined]
        for kind in kinds:
            before = chain.snapshot()
            carried_as_previewed(founded.afresh(), kind)
            chain.revert(before)


@pytest.mark.system
def test_engine_that_stops_answering_does_not_stop_us(tmp_path: Path) -> None:
    with running("anvil", tmp_path) as chain:
        url = str(chain.web3.provider.endpoint_uri)  # type: ignore[attr-defined]
        parliament = on(chain, url)
        pid = int((tmp_path / "anvil.pid").read_text())
        client = ChainClient(url, timeout=1.0)
        network = replace(parliament.network, client=client)
        with Fork(client, seconds=20.0) as fork:
            tried = network.on(fork.reader)
            os.kill(pid, signal.SIGSTOP)
            try:
                with pytest.raises(ChainUnavailable, match="Timeout"):
                    tried.consortium.authority()
            finally:
                os.kill(pid, signal.SIGCONT)
