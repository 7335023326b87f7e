"""Deploying again changes nothing; cut off anywhere it is completed, and nothing stands twice."""

import json
from pathlib import Path
from typing import Any

import pytest

from chain import canonical
from chain.calls import Call
from chain.client import ChainClient
from chain.deploy import DEFAULT_MINIMUMS, PROXIES, deploy, found
from chain.errors import ChainUnavailable, ContractRefused, DeploymentMismatch, FoundingRefused
from chain.governor import GovernanceSettings
from chain.network import CLIENTS, Network, NetworkFile
from chain.proposals import actions, draft
from chain.testing import InProcessChain
from chain.testnet import dev_account
from chain.timelock import ADMIN_ROLE, PROPOSER_ROLE
from tests.chain.world import admission

CODE = canonical.digest(b"code")
RULES: dict[str, Any] = {
    "algorithms": {CODE: "secureboost"},
    "constitution": canonical.digest(b"we agree"),
}


@pytest.fixture
def fresh() -> InProcessChain:
    return InProcessChain()


def test_deployment_sets_address_book_and_rules(fresh: InProcessChain, tmp_path: Path) -> None:
    done = deploy(fresh.client(0), tmp_path / "state.json", **RULES)
    net = Network.open(fresh.client(), done.consortium)
    assert {name: net.consortium.contract_of(name) for name in CLIENTS} == {
        name: address for name, address in done.contracts.items() if name != "consortium"
    }
    assert net.consortium.is_algorithm_allowed(CODE)
    assert net.consortium.algorithm(CODE).name == "secureboost"
    assert net.consortium.is_scheme_admitted("paillier")
    assert not net.consortium.is_scheme_admitted("lattice")
    assert {n: net.consortium.minimum(n) for n in DEFAULT_MINIMUMS} == dict(DEFAULT_MINIMUMS)
    assert net.consortium.constitution() == RULES["constitution"]
    assert net.consortium.authority() == dev_account(0).address
    assert done.gas > 10**7


def test_second_run_changes_nothing(fresh: InProcessChain, tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    first = deploy(fresh.client(0), path, **RULES)
    height, kept = fresh.client().head().number, path.read_text()
    assert deploy(fresh.client(0), path, **RULES) == first
    assert (fresh.client().head().number, path.read_text()) == (height, kept)


def test_changed_rules_are_set_by_a_second_run_and_back_by_a_third(
    fresh: InProcessChain, tmp_path: Path
) -> None:
    path = tmp_path / "state.json"
    for bits in (2048, 3072, 2048):
        done = deploy(fresh.client(0), path, minimums={"key-bits": bits})
        net = Network.open(fresh.client(), done.consortium)
        assert net.consortium.minimum("key-bits") == bits


def test_authority_moves_last_and_only_once(fresh: InProcessChain, tmp_path: Path) -> None:
    path, to = tmp_path / "state.json", dev_account(9).address
    done = deploy(fresh.client(0), path, authority=to)
    net = Network.open(fresh.client(), done.consortium)
    assert net.consortium.authority() == to
    assert deploy(fresh.client(0), path, authority=to) == done
    with pytest.raises(ContractRefused, match="ConsortiumNotAuthority"):
        deploy(fresh.client(0), path, authority=to, minimums={"key-bits": 4096})


def test_nobody_can_initialise_a_contract_again(fresh: InProcessChain, tmp_path: Path) -> None:
    done = deploy(fresh.client(0), None)
    for name, artifact in {"consortium": "Consortium", **PROXIES}.items():
        call = Call(artifact, "initialize", (dev_account(9).address,), done.contracts[name])
        with pytest.raises(ContractRefused, match="InvalidInitialization"):
            fresh.client(9).simulate(call)


class Cut(Exception):
    """The process dies here."""


class Dying(ChainClient):
    """Dies at the k-th moment around sending: before it, or after it and before the receipt."""

    moments = 0

    def broadcast(self, raw: str) -> str:
        self._moment()
        tx_hash = super().broadcast(raw)
        self._moment()
        return tx_hash

    def _moment(self) -> None:
        if self.moments == 0:
            raise Cut
        self.moments -= 1


def dying(chain: InProcessChain, moments: int) -> Dying:
    client = Dying("http://in-process", account=dev_account(0), web3=chain.web3)
    client.moments = moments
    return client


def test_deployment_cut_off_anywhere_ends_the_same(tmp_path: Path) -> None:
    chain = InProcessChain()
    genesis = chain.snapshot()
    whole = deploy(chain.client(0), tmp_path / "whole.json", **RULES)
    steps = len(json.loads((tmp_path / "whole.json").read_text())["steps"])
    assert chain.client(0).nonce() == steps
    for k in range(0, 2 * steps, 13):
        chain.revert(genesis)
        path = tmp_path / f"{k}.json"
        with pytest.raises(Cut):
            deploy(dying(chain, k), path, **RULES)
        done = deploy(chain.client(0), path, **RULES)
        assert done.contracts == whole.contracts, f"cut off at moment {k}"
        assert chain.client(0).nonce() == steps, f"moment {k}: something was sent twice"


def test_deployment_cut_off_at_every_transaction_in_turn_ends_whole(tmp_path: Path) -> None:
    chain, path = InProcessChain(), tmp_path / "state.json"
    for _ in range(100):
        try:
            done = deploy(dying(chain, 3), path)
            break
        except Cut:
            continue
    assert len(set(done.contracts.values())) == len(CLIENTS) + 1
    assert chain.client(0).nonce() == len(json.loads(path.read_text())["steps"])


def test_chain_that_lost_its_last_blocks_is_completed(tmp_path: Path) -> None:
    """As a testnet that was killed before it wrote its state."""
    chain, path = InProcessChain(), tmp_path / "state.json"
    genesis = chain.snapshot()
    first = deploy(chain.client(0), path)
    chain.revert(genesis)
    assert deploy(chain.client(0), path).contracts == first.contracts


def test_state_file_of_another_deployer_is_refused(fresh: InProcessChain, tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    deploy(fresh.client(0), path)
    with pytest.raises(DeploymentMismatch, match="deployer"):
        deploy(fresh.client(1), path)


def test_state_file_of_another_chain_is_refused(fresh: InProcessChain, tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    deploy(fresh.client(0), path)
    value = json.loads(path.read_text())
    path.write_text(json.dumps({**value, "chainId": 1}))
    with pytest.raises(DeploymentMismatch, match="chainId"):
        deploy(fresh.client(0), path)


def test_network_file_round_trips(fresh: InProcessChain) -> None:
    done = deploy(fresh.client(0), None)
    file = NetworkFile.from_json(done.to_json())
    assert file == done.network_file
    assert (file.chain_id, file.consortium) == (fresh.client().chain_id, done.consortium)
    assert 0 < file.from_block <= min(done.blocks.values())


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"chainId":"1","consortium":"0x","fromBlock":0}']
)
def test_malformed_network_file_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        NetworkFile.from_json(text)


def test_unreachable_chain_is_named_without_its_token(tmp_path: Path) -> None:
    client = ChainClient("http://user:secret@127.0.0.1:9/key?token=secret", account=dev_account(0))
    with pytest.raises(ChainUnavailable) as caught:
        deploy(client, tmp_path / "state.json")
    assert "127.0.0.1:9" in str(caught.value)
    assert "secret" not in str(caught.value)


# ── governance, and the hand-over


def admit(chain: InProcessChain, net: Network, number: int) -> None:
    account = dev_account(number)
    chain.client(0).transact(admission(net, account, f"institution {number}", 1))


def founded(chain: InProcessChain, path: Path | None, **rules: Any) -> Network:
    net = Network.open(chain.client(0), deploy(chain.client(0), path, **rules).consortium)
    for number in (1, 2):
        admit(chain, net, number)
    found(chain.client(0), net)
    return net


def test_governance_stands_before_it_governs(fresh: InProcessChain) -> None:
    settings = GovernanceSettings(7, 90, 11, 2, 33)
    net = Network.open(
        fresh.client(), deploy(fresh.client(0), None, governance=settings).consortium
    )
    deployer = dev_account(0).address
    assert net.governor.settings() == settings
    assert net.consortium.authority() == deployer
    assert net.timelock.has_role(PROPOSER_ROLE, net.governor.address)
    assert not net.timelock.has_role(ADMIN_ROLE, deployer)
    assert net.consortium.is_purpose_allowed("fraud")
    assert not net.consortium.is_purpose_allowed("advertising")


def test_founding_hands_over_once_and_tells_who_governs(fresh: InProcessChain) -> None:
    net = founded(fresh, None)
    assert net.consortium.authority() == net.timelock.address
    height = fresh.client().head().number
    again = found(fresh.client(0), net)
    assert not again.is_new
    assert [member.name for member in again.members] == ["institution 1", "institution 2"]
    assert (again.governor, again.timelock) == (net.governor.address, net.timelock.address)
    assert fresh.client().head().number == height
    with pytest.raises(ContractRefused, match="ConsortiumNotAuthority"):
        fresh.client(0).transact(net.consortium.move_authority(dev_account(0).address))


def test_founding_wants_two_members_or_a_word_that_one_is_meant(fresh: InProcessChain) -> None:
    net = Network.open(fresh.client(0), deploy(fresh.client(0), None).consortium)
    for is_alone in (False, True):
        with pytest.raises(FoundingRefused, match="0 active members"):
            found(fresh.client(0), net, is_alone=is_alone)
    admit(fresh, net, 1)
    with pytest.raises(FoundingRefused, match=r"1 active member; .*--alone"):
        found(fresh.client(0), net)
    assert found(fresh.client(0), net, is_alone=True).is_new


def test_founding_wants_as_many_members_as_the_quorum_needs(fresh: InProcessChain) -> None:
    done = deploy(fresh.client(0), None, governance={"quorum_minimum": 3})
    net = Network.open(fresh.client(0), done.consortium)
    for number in (1, 2):
        admit(fresh, net, number)
    with pytest.raises(FoundingRefused, match="the quorum needs 3"):
        found(fresh.client(0), net)
    admit(fresh, net, 3)
    assert found(fresh.client(0), net).is_new


def test_founding_by_somebody_else_is_refused(fresh: InProcessChain) -> None:
    net = Network.open(fresh.client(0), deploy(fresh.client(0), None).consortium)
    for number in (1, 2):
        admit(fresh, net, number)
    with pytest.raises(ContractRefused, match="ConsortiumNotAuthority"):
        found(fresh.client(5), net)


def test_founding_waits_for_the_whole_deployment(tmp_path: Path) -> None:
    """The last transaction of a deployment gives up the deployer's role."""
    chain = InProcessChain()
    steps = len(_steps(chain, tmp_path / "whole.json"))
    chain = InProcessChain()
    with pytest.raises(Cut):
        deploy(dying(chain, 2 * (steps - 1)), tmp_path / "cut.json")
    state = json.loads((tmp_path / "cut.json").read_text())["steps"]
    net = Network.open(chain.client(0), state["proxy consortium"]["address"])
    for number in (1, 2):
        admit(chain, net, number)
    with pytest.raises(FoundingRefused, match="gives up the timelock's administration"):
        found(chain.client(0), net)


def _steps(chain: InProcessChain, path: Path) -> dict[str, Any]:
    deploy(chain.client(0), path)
    steps: dict[str, Any] = json.loads(path.read_text())["steps"]
    return steps


def test_role_is_given_up_after_the_governor_holds_its_own(tmp_path: Path) -> None:
    steps = list(_steps(InProcessChain(), tmp_path / "state.json"))
    assert steps[-1].startswith("renounceRole")
    assert sum(step.startswith("grantRole") for step in steps[:-1]) == 2


@pytest.mark.parametrize("moment", [0, 1])
def test_founding_cut_off_is_completed(moment: int, fresh: InProcessChain) -> None:
    net = Network.open(fresh.client(0), deploy(fresh.client(0), None).consortium)
    for number in (1, 2):
        admit(fresh, net, number)
    with pytest.raises(Cut):
        found(dying(fresh, moment), net)
    assert found(fresh.client(0), net).is_new == (moment == 0)
    assert net.consortium.authority() == net.timelock.address


def test_founding_that_was_mined_meanwhile_is_no_error(fresh: InProcessChain) -> None:
    net = Network.open(fresh.client(0), deploy(fresh.client(0), None).consortium)
    for number in (1, 2):
        admit(fresh, net, number)

    class Late(ChainClient):
        """Another run of the same account comes first."""

        def broadcast(self, raw: str) -> str:
            found(fresh.client(0), net)
            return super().broadcast(raw)

    late = Late("http://in-process", account=dev_account(0), web3=fresh.web3)
    assert found(late, net).is_new
    assert net.consortium.authority() == net.timelock.address


def test_deployment_after_founding_only_compares(fresh: InProcessChain, tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    founded(fresh, path, **RULES)
    height = fresh.client().head().number
    done = deploy(fresh.client(0), path, **RULES)
    assert (done.is_founded, done.differences) == (True, ())
    other = canonical.digest(b"new code")
    done = deploy(
        fresh.client(0),
        path,
        algorithms={other: "newer"},
        schemes=("lattice",),
        minimums={"key-bits": 3072},
        purposes=("advertising",),
        constitution=other,
        governance={"voting_delay": 5, "voting_period": 900},
    )
    assert {found.kind: dict(found.params) for found in done.differences} == {
        "set-constitution": {"digest": other},
        "allow-algorithm": {"code_digest": other, "name": "newer"},
        "admit-scheme": {"scheme": "lattice"},
        "set-minimum": {"name": "key-bits", "value": 3072},
        "allow-purpose": {"purpose": "advertising"},
        "set-voting": {"voting_period": 900},
    }
    assert fresh.client().head().number == height
    net = Network.open(fresh.client(), done.consortium)
    for difference in done.differences:
        assert difference.kind is not None
        assert actions(draft(difference.kind, difference.params, title="So be it"), net)


def test_voting_of_a_first_deployment_stays_before_founding_too(
    fresh: InProcessChain, tmp_path: Path
) -> None:
    path = tmp_path / "state.json"
    deploy(fresh.client(0), path, governance={"voting_delay": 3})
    assert deploy(fresh.client(0), path).differences == ()
    (told,) = deploy(fresh.client(0), path, governance={"voting_delay": 4}).differences
    assert (told.kind, told.params) == ("set-voting", {"voting_delay": 4})
    assert told.rule == "voting_delay is 3, not 4"


def test_contracts_of_two_consortia_are_not_opened_together(fresh: InProcessChain) -> None:
    one, other = (deploy(fresh.client(0), None) for _ in range(2))
    net = Network.open(fresh.client(0), one.consortium)
    for name in ("jobs", "governor"):
        before = fresh.snapshot()
        mixed = net.consortium.set_contract(name, other.contracts[name])
        fresh.client(0).transact(mixed)
        with pytest.raises(DeploymentMismatch, match=r"JobRegistry.consortium|Governor.timelock"):
            Network.open(fresh.client(0), one.consortium)
        fresh.revert(before)
    Network.open(fresh.client(0), one.consortium)
