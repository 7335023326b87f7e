"""A copy of the chain to try something out on: what happens there happens nowhere else.

`with Fork(client) as fork` copies the chain as of its newest block; calls see the block after it.
Typed clients read from it as from the chain (`network.on(fork.reader)`). A process of our own runs
the EVM (`chain.evm`) and asks us for the state it lacks; we ask the chain through the client, with
its time limit, its credentials and its check of the chain id, for five kinds of facts and no other.
"""

import contextlib
import json
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

from chain import abi
from chain.calls import Block, BlockRef, Call, RawLog
from chain.errors import ChainError, ForkFailed, NotDeployed

if TYPE_CHECKING:
    from chain.client import ChainClient

GAS = 30_000_000
"""Of one call: what a block of a usual chain takes."""
SECONDS = 60.0
"""A copy lives no longer."""
NOBODY = "0x" + "00" * 20

_PROGRAM = Path(__file__).with_name("evm.py")
_MAX_REQUEST = 100_000
_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT")


@dataclass(frozen=True)
class Outcome:
    """What a call came to. `reverted` holds the revert data (0x-hex) where it did."""

    output: str
    logs: tuple[RawLog, ...]
    reverted: str | None = None


class Fork:
    """Raises ChainUnavailable when the chain does not answer in time, ForkFailed for all else that
    hinders. `block` is the block to copy, the newest one when None.
    """

    def __init__(
        self, client: "ChainClient", *, block: BlockRef | None = None, seconds: float = SECONDS
    ) -> None:
        self._client = client
        self._base = block
        self._seconds = seconds
        self._is_late = False
        self._cause: ChainError | None = None

    def __enter__(self) -> Self:
        base = self._client.head() if self._base is None else self._base
        self.block = base
        self.head = BlockRef(base.number + 1, base.hash, base.timestamp + 1)
        self._source = _Source(self._client, base.number, self._failed)
        try:
            self._process = _start()
        except OSError as error:
            self._source.close()
            raise ForkFailed(f"its process does not start: {type(error).__name__}") from error
        self._alarm = threading.Timer(self._seconds, self._expire)
        self._alarm.daemon = True
        self._alarm.start()
        try:
            self._ask(
                {
                    "url": self._source.url,
                    "block": base.number,
                    "number": self.head.number,
                    "timestamp": self.head.timestamp,
                    "chainId": self._client.chain_id,
                }
            )
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._alarm.cancel()
        self._process.kill()
        self._process.communicate()
        self._source.close()

    @property
    def chain_id(self) -> int:
        return self._client.chain_id

    @property
    def reader(self) -> "ChainClient":
        """What `Network.on` takes: typed clients only read with it."""
        return cast("ChainClient", _Reader(self))

    def play(self, to: str, data: str, *, sender: str = NOBODY) -> Outcome:
        """Makes a call; it stays made unless it reverts. A sender has no code (EIP-3607)."""
        found = self._ask({"call": [sender, to, data, GAS]})
        if "reverted" in found:
            return Outcome("0x", (), found["reverted"])
        logs = (RawLog(address.lower(), tuple(topics), d) for address, topics, d in found["logs"])
        return Outcome(found["output"], tuple(logs))

    def store(self, address: str, slot: int, value: int) -> None:
        """Writes into a contract's storage: only here, and before it was read."""
        self._ask({"store": [address, str(slot), str(value)]})

    def slot(self, address: str, slot: int) -> int:
        """What stands in a contract's storage."""
        return int(self._ask({"slot": [address, str(slot)]})["value"])

    def _ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except (OSError, ValueError):
            line = ""
        if line:
            answer: dict[str, Any] = json.loads(line)
            if "failed" not in answer:
                return answer
            if self._cause is None:
                raise ForkFailed(answer["failed"])
        if self._cause is not None:
            raise self._cause
        if self._is_late:
            raise ForkFailed(f"it took longer than {self._seconds:g} s")
        raise ForkFailed("its process ended; is the package pyrevm installed?")

    def _failed(self, error: ChainError) -> None:
        self._cause = error

    def _expire(self) -> None:
        self._is_late = True
        self._process.kill()


class _Reader:
    """Looks like a client that holds no account; there is one block."""

    account = None

    def __init__(self, fork: Fork) -> None:
        self._fork = fork

    @property
    def chain_id(self) -> int:
        return self._fork.chain_id

    def head(self) -> BlockRef:
        return self._fork.head

    def call(self, call: Call, block: Block = "latest") -> Any:
        if block not in ("latest", self._fork.head.number):
            raise ForkFailed(f"it has block {self._fork.head.number} only, asked was {block}")
        data = abi.encode_call(call.contract, call.function, call.args)
        found = self._fork.play(call.address, abi.to_hex(data))
        if found.reverted is not None:
            raise abi.refusal(abi.to_bytes(found.reverted), call.contract, call.function)
        try:
            return abi.decode_output(call.contract, call.function, abi.to_bytes(found.output))
        except ValueError as error:
            raise NotDeployed(call.contract, call.address) from error


class _Source:
    """Where the EVM's process reads the state of one block: a server on this machine, for it alone.

    Its URL holds a secret, lest another program of the machine reads the chain through us.
    """

    def __init__(
        self, client: "ChainClient", block: int, failed: Callable[[ChainError], None]
    ) -> None:
        path = f"/{secrets.token_urlsafe(16)}"
        answers = _answers(client, block)
        one_at_a_time = threading.Lock()  # the EVM asks several things at once

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 30.0

            def do_POST(self) -> None:  # the name that http.server calls
                length = self.headers.get("Content-Length", "")
                is_known = secrets.compare_digest(self.path.encode(), path.encode())
                if not is_known or not length.isdigit() or int(length) > _MAX_REQUEST:
                    self.close_connection = True
                    self.send_error(404)
                    return
                asked = json.loads(self.rfile.read(int(length)))
                body = json.dumps(self._answer(asked)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with contextlib.suppress(ConnectionError):  # it was killed meanwhile
                    self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Nobody reads it."""

            def _answer(self, asked: dict[str, Any]) -> dict[str, Any]:
                told: dict[str, Any] = {"jsonrpc": "2.0", "id": asked["id"]}
                answer = answers.get(asked["method"])
                if answer is None:
                    failed(ForkFailed(f"the EVM asks for {asked['method']}"))
                    return {**told, "error": {"code": -32601, "message": "not served"}}
                try:
                    with one_at_a_time:
                        return {**told, "result": answer(asked["params"])}
                except Exception as error:  # it is raised where the fork's user waits
                    ours = error if isinstance(error, ChainError) else ForkFailed(str(error))
                    failed(ours)
                    return {**told, "error": {"code": -32000, "message": "no answer"}}

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}{path}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _answers(client: "ChainClient", block: int) -> Mapping[str, Callable[[list[Any]], str]]:
    """Always of the one block, whatever is asked for: the fork cannot drift."""
    return {
        "eth_getBalance": lambda p: hex(client.balance(p[0], block)),
        "eth_getTransactionCount": lambda p: hex(client.transactions(p[0], block)),
        "eth_getCode": lambda p: abi.to_hex(client.code(p[0], block)),
        "eth_getStorageAt": lambda p: f"{client.slot(p[0], int(p[1], 16), block):#066x}",
        "eth_chainId": lambda p: hex(client.chain_id),
    }


def _start() -> "subprocess.Popen[str]":
    # Neither the environment nor a proxy in it are the EVM's business.
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return subprocess.Popen(
        [sys.executable, "-I", str(_PROGRAM)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    )
