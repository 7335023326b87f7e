"""Deploying again changes nothing; cut off anywhere it is completed, and nothing stands twice."""

import json
from pathlib import Path
from typing import Any

import pytest

from chain import canonical
from chain.calls import Call
from chain.client import ChainClient
from chain.deploy import DEFAULT_MINIMUMS, PROXIES, deploy
from chain.errors import ChainUnavailable, ContractRefused, DeploymentMismatch
from chain.network import CLIENTS, Network, NetworkFile
from chain.testing import InProcessChain
from chain.testnet import dev_account

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
    for k in range(0, 2 * steps, 7):
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
