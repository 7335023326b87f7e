"""The same contracts and the same job on Anvil and on Ganache, as processes of their own."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from chain.calls import EventRecord, Payment
from chain.client import ChainClient
from chain.deploy import deploy
from chain.errors import BlockUnknown, ChainUnavailable, EngineFailed, EngineMissing, NonceTaken
from chain.evidence import Report, verify_certificate
from chain.indexer import Indexer
from chain.network import Network
from chain.testnet import CHAIN_ID, Engine, Testnet, dev_account, dev_accounts
from tests.chain.test_indexer import Memory
from tests.chain.world import World

pytestmark = pytest.mark.system
ENGINES: tuple[Engine, ...] = ("anvil", "ganache")
STRANGER = "0x00000000000000000000000000000000000A11CE"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@dataclass(frozen=True)
class Run:
    """A job that went through its whole life on an engine that still runs."""

    testnet: Testnet
    world: World
    report: Report
    events: list[EventRecord]

    @property
    def client(self) -> ChainClient:
        url, account = self.testnet.url, dev_account(7)
        return ChainClient(url, account=account, expected_chain_id=CHAIN_ID, stuck_after=5.0)


def run_on(testnet: Testnet) -> Run:
    def connect(account: object) -> ChainClient:
        # Ganache at times leaves a transaction of a burst aside until a better paid one comes.
        return ChainClient(
            testnet.url,
            account=account,  # type: ignore[arg-type]
            expected_chain_id=CHAIN_ID,
            stuck_after=5.0,
        )

    world = World(connect).found().run_job()
    store = Memory()
    client = world.network.client
    # No confirmations: what was mined is all there is.
    Indexer(client, world.network, store, 0, first_block=world.deployment.from_block).step()
    report = verify_certificate(world.certificate(), world.network)
    return Run(testnet, world, report, store.events)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Engine, Run]]:
    testnets = [Testnet(e, free_port(), tmp_path_factory.mktemp(e), 0.25) for e in ENGINES]
    try:
        for testnet in testnets:
            testnet.start()
        with ThreadPoolExecutor(len(testnets)) as pool:
            yield dict(zip(ENGINES, pool.map(run_on, testnets), strict=True))
    finally:
        for testnet in testnets:
            testnet.stop()


@pytest.mark.parametrize("engine", ENGINES)
def test_certificate_of_a_job_on_the_engine_holds(runs: dict[Engine, Run], engine: Engine) -> None:
    assert runs[engine].report.failures == ()
    assert runs[engine].report.ok


def test_engines_run_the_same_code_at_the_same_addresses_for_the_same_gas(
    runs: dict[Engine, Run],
) -> None:
    anvil, ganache = (runs[engine] for engine in ENGINES)
    assert anvil.world.deployment.contracts == ganache.world.deployment.contracts
    assert anvil.world.deployment.gas == ganache.world.deployment.gas
    codes = [_codes(run) for run in (anvil, ganache)]
    assert codes[0] == codes[1]


def test_engines_tell_the_same_story(runs: dict[Engine, Run]) -> None:
    told = [[(e.contract, e.name) for e in runs[engine].events] for engine in ENGINES]
    assert told[0] == told[1]
    assert ("JobRegistry", "JobSucceeded") in told[0]
    assert "Unknown" not in {name for _, name in told[0]}


@pytest.mark.parametrize("engine", ENGINES)
def test_engine_answers_for_recent_blocks(runs: dict[Engine, Run], engine: Engine) -> None:
    network = runs[engine].world.network
    head = network.client.head().number
    assert network.at(head - 2).consortium.authority() == dev_account(0).address
    with pytest.raises(BlockUnknown):
        network.at(head + 1000).consortium.authority()


@pytest.mark.parametrize("engine", ENGINES)
def test_engine_takes_a_known_transaction_again_and_no_other_in_its_place(
    runs: dict[Engine, Run], engine: Engine
) -> None:
    client = runs[engine].client
    signed = client.send(Payment(STRANGER, 1))
    assert client.broadcast(signed.raw) == signed.hash
    assert client.receipt(signed.hash).status
    assert client.broadcast(signed.raw) == signed.hash
    other = client.sign(Payment(STRANGER, 2), signed.nonce)
    with pytest.raises(NonceTaken):
        client.broadcast(other.raw)


@pytest.mark.parametrize("engine", ENGINES)
def test_engine_mines_a_burst_of_one_account_in_order(
    runs: dict[Engine, Run], engine: Engine
) -> None:
    client = runs[engine].client
    payment = Payment(STRANGER, 1)
    sent = [client.send(payment) for _ in range(10)]
    assert [tx.nonce for tx in sent] == list(range(sent[0].nonce, sent[0].nonce + 10))
    assert all(client.see_through(payment, tx).status for tx in sent)


@pytest.mark.parametrize("engine", ENGINES)
def test_testnet_funds_an_account(runs: dict[Engine, Run], engine: Engine) -> None:
    run = runs[engine]
    before = run.client.balance(STRANGER)
    run.testnet.fund(STRANGER, 3)
    assert run.client.balance(STRANGER) == before + 3 * 10**18


@pytest.mark.parametrize("engine", ENGINES)
def test_stopped_testnet_goes_on_where_it_stopped(engine: Engine, tmp_path: Path) -> None:
    port, state = free_port(), tmp_path / "deployment.json"
    with Testnet(engine, port, tmp_path / "net", 0.25) as testnet:
        client = ChainClient(testnet.url, account=dev_account(0), stuck_after=5.0)
        first = deploy(client, state)
    with pytest.raises(ChainUnavailable):
        client.head()
    with Testnet(engine, port, tmp_path / "net"):
        assert deploy(client, state) == first
        network = Network.open(client, first.consortium)
        past = network.at(client.head().number - 2)
        assert past.consortium.authority() == dev_account(0).address


def test_engine_left_by_a_killed_run_is_ended_and_taken_over(tmp_path: Path) -> None:
    port = free_port()
    left = Testnet("anvil", port, tmp_path).start()
    with Testnet("anvil", port, tmp_path) as testnet:
        assert ChainClient(testnet.url).chain_id == CHAIN_ID
        assert not left.is_running()
        assert testnet.is_running()


def test_port_of_another_program_is_refused(tmp_path: Path) -> None:
    port = free_port()
    second = Testnet("anvil", port, tmp_path / "two")
    with (
        Testnet("anvil", port, tmp_path / "one"),
        pytest.raises(EngineFailed, match="taken by another program"),
    ):
        second.start()


def test_stopping_twice_is_no_error(tmp_path: Path) -> None:
    testnet = Testnet("anvil", free_port(), tmp_path).start()
    testnet.stop()
    testnet.stop()
    assert not testnet.is_running()


@pytest.mark.parametrize("engine", ENGINES)
def test_engine_that_is_not_installed_is_named_with_what_to_do(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chain.testnet._MODULES", tmp_path)
    with pytest.raises(EngineMissing, match="run `make setup`"):
        Testnet(engine, 1, tmp_path).start()


def test_development_accounts_are_the_well_known_ones() -> None:
    first = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
    assert dev_accounts(2)[0].address == first
    assert dev_accounts(2)[1].address == "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"


def _codes(run: Run) -> dict[str, bytes]:
    """Name → code of every proxy."""
    web3 = run.client._rpc.web3
    contracts = run.world.deployment.contracts
    return {name: bytes(web3.eth.get_code(address)) for name, address in contracts.items()}  # type: ignore[arg-type]
