"""A local Ethereum: Anvil (the default) or Ganache as a child process.

Both make a block a second under the shanghai rules with chain id 31337, and hold the same twenty
accounts of the well-known test mnemonic. Anvil dumps its state every few seconds and when it is
told to stop, so a killed testnet may lose its last seconds: it is a fixture, not a ledger.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self, cast

from chain.calls import Payment, Receipt
from chain.client import ChainClient
from chain.errors import ChainUnavailable, EngineFailed, EngineMissing

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount
    from web3.types import RPCEndpoint

Engine = Literal["anvil", "ganache"]
CHAIN_ID = 31337
HARDFORK = "shanghai"
MNEMONIC = "test test test test test test test test test test test junk"
ACCOUNTS = 20
ETHER = 10**18

_MODULES = Path(__file__).resolve().parents[1] / "ganache" / "node_modules"
_START_SECONDS = 30.0
_STOP_SECONDS = 15.0
_BLOCKS_AFTER_RESUMING = 8


@cache
def dev_account(index: int) -> "LocalAccount":
    """The `index`-th account of the test mnemonic.

    Everybody knows its key: never use it elsewhere.
    """
    from eth_account import Account

    Account.enable_unaudited_hdwallet_features()
    account: LocalAccount = Account.from_mnemonic(MNEMONIC, account_path=f"m/44'/60'/0'/0/{index}")
    return account


def dev_accounts(n: int) -> list["LocalAccount"]:
    """The first `n` of the twenty accounts."""
    return [dev_account(index) for index in range(n)]


class Testnet:
    """`with Testnet(state_dir=…) as testnet: ChainClient(testnet.url)`.

    Its state stays in `state_dir` and is taken up again by the next start with the same engine.
    `block_time` is in seconds. With 0 each transaction makes a block, and a block's time is one
    second after the one before it whatever the clock says: what a test needs.
    """

    __test__ = False  # pytest: this is no test

    def __init__(
        self,
        engine: Engine = "anvil",
        port: int = 8545,
        state_dir: Path = Path("testnet"),
        block_time: float = 1,
    ) -> None:
        self.engine: Engine = engine
        self.port = port
        self.state_dir = state_dir
        self.block_time = block_time
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        """Of the engine, while it runs."""
        return self._process.pid if self._process else None

    @property
    def log_path(self) -> Path:
        """What the engine printed."""
        return self.state_dir / f"{self.engine}.log"

    def start(self) -> Self:
        """Returns when the RPC answers. Raises EngineMissing, EngineFailed.

        An engine that an interrupted run left behind on this port and folder is ended first.
        """
        command = self._command()
        is_resumed = self.engine == "anvil" and _anvil_state(self).exists()
        self.state_dir.mkdir(parents=True, exist_ok=True)
        self._end_leftover()
        if self._answers():
            raise EngineFailed(self.engine, f"port {self.port} is taken by another program")
        with self.log_path.open("ab") as log:
            # A session of its own: Ctrl-C reaches us, and we stop the engine in order.
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._pid_path.write_text(f"{self._process.pid}\n", encoding="ascii")
        self._await_answer(self._process)
        if is_resumed:
            _make_blocks(self.url, _BLOCKS_AFTER_RESUMING)
        if self.engine == "anvil" and not self.block_time:
            _tell(self.url, "anvil_setBlockTimestampInterval", 1)
        return self

    def stop(self) -> None:
        """Ends the engine and waits until its state is written.

        Does nothing when it is not running.
        """
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
        self._pid_path.unlink(missing_ok=True)

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def fund(self, address: str, ether: int = 100) -> Receipt:
        """Sends ether from the last test account, which is used for nothing else."""
        return fund(self.url, address, ether)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def _pid_path(self) -> Path:
        return self.state_dir / f"{self.engine}.pid"

    def _command(self) -> Sequence[str]:
        return _anvil(self) if self.engine == "anvil" else _ganache(self)

    def _await_answer(self, process: "subprocess.Popen[bytes]") -> None:
        end = time.monotonic() + _START_SECONDS
        while not self._answers():
            if process.poll() is not None:
                self._process = None
                raise EngineFailed(self.engine, f"it ended: {self._last_words()}")
            if time.monotonic() > end:
                self.stop()
                raise EngineFailed(self.engine, f"no answer within {_START_SECONDS:g} s")
            time.sleep(0.03)

    def _answers(self) -> bool:
        try:
            ChainClient(self.url, timeout=2).head()
        except ChainUnavailable:
            return False
        return True

    def _last_words(self) -> str:
        text = self.log_path.read_bytes()[-2000:].decode(errors="replace").strip()
        return text.splitlines()[-1] if text else "it printed nothing"

    def _end_leftover(self) -> None:
        """An engine is ours when the pid file names it and its command line names our folder."""
        try:
            pid = int(self._pid_path.read_text(encoding="ascii"))
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return
        if str(self.state_dir.resolve()).encode() not in command:
            return
        os.kill(pid, signal.SIGTERM)
        end = time.monotonic() + _STOP_SECONDS
        while _is_alive(pid):
            if time.monotonic() > end:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)


def fund(url: str, address: str, ether: int = 100) -> Receipt:
    """Sends `ether` on a testnet to a node's key and waits until it is there."""
    client = ChainClient(url, account=dev_account(ACCOUNTS - 1), expected_chain_id=CHAIN_ID)
    return client.transact(Payment(address, ether * ETHER))


def _anvil(testnet: Testnet) -> list[str]:
    program = _MODULES / "@foundry-rs" / "anvil-linux-amd64" / "bin" / "anvil"
    if not program.is_file():
        raise EngineMissing("anvil", program)
    return [
        *(str(program), "--silent", "--host", "127.0.0.1", "--port", str(testnet.port)),
        *("--chain-id", str(CHAIN_ID), "--hardfork", HARDFORK),
        *("--mnemonic", MNEMONIC, "--accounts", str(ACCOUNTS)),
        *("--slots-in-an-epoch", "1"),
        *(("--block-time", str(testnet.block_time)) if testnet.block_time else ()),
        # Not --preserve-historical-states: the dump would grow by 190 kB with every block.
        *("--state", str(_anvil_state(testnet)), "--state-interval", "5"),
    ]


def _anvil_state(testnet: Testnet) -> Path:
    return testnet.state_dir.resolve() / "anvil-state.json"


def _make_blocks(url: str, count: int) -> None:
    """A resumed Anvil cannot answer for the state of blocks from before.

    Nodes read a few blocks behind the head, so it is given a few new ones.
    """
    _tell(url, "anvil_mine", hex(count))


def _tell(url: str, method: str, value: object) -> None:
    """A request of the engine's own."""
    from web3 import HTTPProvider

    HTTPProvider(url).make_request(cast("RPCEndpoint", method), [value])


def _ganache(testnet: Testnet) -> list[str]:
    program = _MODULES / "ganache" / "dist" / "node" / "cli.js"
    node = shutil.which("node")
    if not program.is_file():
        raise EngineMissing("ganache", program)
    if node is None:
        raise EngineMissing("node", Path("node"))
    return [
        *(node, str(program), "--server.host", "127.0.0.1", "--server.port", str(testnet.port)),
        *("--chain.chainId", str(CHAIN_ID), "--chain.networkId", str(CHAIN_ID)),
        *("--chain.hardfork", HARDFORK, "--miner.blockTime", str(testnet.block_time)),
        *(() if testnet.block_time else ("--miner.timestampIncrement", "1")),
        *("--wallet.mnemonic", MNEMONIC, "--wallet.totalAccounts", str(ACCOUNTS)),
        *("--wallet.defaultBalance", "10000"),
        *("--database.dbPath", str(testnet.state_dir.resolve() / "ganache-db")),
    ]


def _is_alive(pid: int) -> bool:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)  # it may be a child of ours that waits to be collected
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
