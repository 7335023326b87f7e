"""The chain under the contract tests: py-evm in this process, or a testnet's engine beside it.

`pytest --engine anvil` chooses. Whichever it is: each transaction makes a block, a block's time is
a second after the one before it, and the accounts are those of the test mnemonic.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, cast, get_args

from web3 import HTTPProvider, Web3
from web3.types import RPCEndpoint

from chain.testing import InProcessChain
from chain.testnet import Engine, Testnet

IN_PROCESS = "py-evm"
ENGINES: tuple[str, ...] = (IN_PROCESS, *get_args(Engine))


class Chain(Protocol):
    """What the tests ask of an engine besides JSON-RPC. `travel` makes a block."""

    web3: Web3

    def mine(self, blocks: int = 1) -> None: ...

    def travel(self, seconds: int) -> None: ...

    def snapshot(self) -> Any: ...

    def revert(self, snapshot: Any) -> None: ...


class EngineChain:
    """A running testnet that makes a block with each transaction."""

    def __init__(self, testnet: Testnet) -> None:
        self._provider = HTTPProvider(testnet.url, exception_retry_configuration=None)
        self.web3 = Web3(self._provider)
        # It asks for the chain id twice with every call.
        self.web3.middleware_onion.remove("validation")

    def mine(self, blocks: int = 1) -> None:
        for _ in range(blocks):
            self._ask("evm_mine")

    def travel(self, seconds: int) -> None:
        """Makes a block that many seconds after the newest."""
        newest = self.web3.eth.get_block("latest")["timestamp"]
        self._ask("evm_mine", newest + seconds)

    def snapshot(self) -> Any:
        return self._ask("evm_snapshot")

    def revert(self, snapshot: Any) -> None:
        assert self._ask("evm_revert", snapshot) is True

    def _ask(self, method: str, *params: Any) -> Any:
        answer = self._provider.make_request(cast("RPCEndpoint", method), list(params))
        assert "result" in answer, answer
        return answer["result"]


@contextmanager
def running(engine: str, state_dir: Path) -> Iterator[Chain]:
    """A chain with nothing on it; `state_dir` is for the engine's files."""
    if engine == IN_PROCESS:
        yield InProcessChain()
        return
    with Testnet(cast("Engine", engine), _free_port(), state_dir, block_time=0) as testnet:
        yield EngineChain(testnet)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
