"""A chain inside the test's own process (py-evm), behind the same client as a real one.

Needs the packages of the extra `dev`. It holds the accounts of the test mnemonic under the shanghai
rules. Each transaction makes a block, unless `hold` is on; `snapshot` and `revert` rewind the
chain, which is how a fork is played. Reverts are answered as a real node answers them.
"""

import ast
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import rlp  # type: ignore[import-untyped]
from eth_abi.abi import encode
from eth_account import Account
from eth_tester import EthereumTester, PyEVMBackend
from eth_tester.exceptions import BlockNotFound
from eth_tester.exceptions import TransactionFailed as EvmReverted
from eth_utils.crypto import keccak
from eth_utils.exceptions import ValidationError
from hexbytes import HexBytes
from web3 import EthereumTesterProvider, Web3

from chain.client import ChainClient
from chain.testnet import ACCOUNTS, MNEMONIC, dev_account

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount
    from web3.types import RPCEndpoint, RPCError, RPCResponse

GENESIS_TIME = 1_800_000_000
"""Block time of the first block, in Unix seconds."""

# An exact estimate takes py-evm a binary search over whole executions; no test needs it.
_GAS = 12_000_000
_PATH = "m/44'/60'/0'/0"
_ERROR_STRING = bytes.fromhex("08c379a0")


class InProcessChain:
    """`InProcessChain().client(0)` pays with the first account of the test mnemonic."""

    def __init__(self) -> None:
        from eth.vm.forks.shanghai import ShanghaiVM

        genesis = PyEVMBackend.generate_genesis_state(
            mnemonic=MNEMONIC, num_accounts=ACCOUNTS, hd_path=_PATH
        )
        # Unlike other engines py-evm lets even a read pay for its gas.
        genesis[b"\0" * 20] = {**genesis[next(iter(genesis))], "balance": 10**36}
        backend = _Backend(
            genesis_state=genesis,
            genesis_parameters=PyEVMBackend.generate_genesis_params({"timestamp": GENESIS_TIME}),
            vm_configuration=((0, ShanghaiVM),),
            mnemonic=MNEMONIC,
            hd_path=_PATH,
        )
        self._tester = EthereumTester(backend)
        self._provider = _Provider(self._tester)
        self.web3 = Web3(self._provider)

    def client(self, account: "int | LocalAccount | None" = None, **options: Any) -> ChainClient:
        """A client that pays with an account (or that dev account); None: it only reads."""
        found = dev_account(account) if isinstance(account, int) else account
        return ChainClient("http://in-process", account=found, web3=self.web3, **options)

    def hold(self, on: bool = True) -> None:
        """While on, transactions wait for `mine`. Turning it off mines what waits."""
        self._provider.holding = on
        if not on and self._provider.waiting:
            self.mine()

    def mine(self, blocks: int = 1) -> None:
        """Makes blocks; the first one takes all that waits, by nonce."""
        self._provider.release()
        self._tester.mine_blocks(blocks)

    def travel(self, seconds: int) -> None:
        """Makes a block that many seconds after the newest."""
        newest = self._tester.get_block_by_number("latest")["timestamp"]
        # The block that this makes is one second before the time that it is given.
        self._tester.time_travel(newest + seconds + 1)

    def snapshot(self) -> Any:
        return self._tester.take_snapshot()

    def revert(self, snapshot: Any) -> None:
        """The chain is again what it was; blocks made since are gone."""
        self._provider.waiting.clear()
        self._tester.revert_to_snapshot(snapshot)


class _Reverted(Exception):
    def __init__(self, data: bytes) -> None:
        super().__init__("execution reverted")
        self.data = data


class _Backend(PyEVMBackend):  # type: ignore[misc]  # eth-tester is untyped
    """py-evm that does not lose the revert data on its way through eth-tester."""

    def call(self, transaction: Any, block_number: Any = "latest") -> Any:
        try:
            return super().call(transaction, block_number)
        except EvmReverted as error:
            raise _Reverted(_data(str(error.args[0]))) from error

    def estimate_gas(self, transaction: Any, block_number: Any = "latest") -> int:
        self.call(transaction, "latest")
        return _GAS


class _Provider(EthereumTesterProvider):
    """JSON-RPC as a real node speaks it: errors as answers, and a pool of waiting transactions."""

    def __init__(self, tester: EthereumTester) -> None:
        super().__init__(tester)
        self.holding = False
        self.waiting: dict[bytes, bytes] = {}
        self._tester = tester

    def make_request(self, method: "RPCEndpoint", params: Any) -> "RPCResponse":
        try:
            return self._answer(method, params)
        except _Reverted as error:
            return _error(3, "execution reverted", "0x" + error.data.hex())
        except BlockNotFound:
            return _error(-32000, "header not found")
        except ValidationError as error:
            return _error(-32000, str(error))

    def release(self) -> None:
        """Puts what waits into the block that is being made."""
        by_nonce = sorted(self.waiting.values(), key=_nonce)
        self.waiting.clear()
        for raw in by_nonce:
            self._tester.backend.send_raw_transaction(raw)

    def _answer(self, method: "RPCEndpoint", params: Any) -> "RPCResponse":
        if method == "eth_sendRawTransaction":
            return self._send(bytes(HexBytes(params[0])))
        if method == "eth_getTransactionByHash" and HexBytes(params[0]) in self.waiting:
            return _result({"hash": params[0], "blockNumber": None})
        if method == "eth_estimateGas":
            params = [params[0]]  # eth-tester has no pending block to estimate on
        if method == "eth_getProof":
            return _result(self._prove(params[0], params[1], int(params[2], 16)))
        if method == "eth_getBlockByNumber" and str(params[0]).startswith("0x"):
            return _result(_header(self._block(int(params[0], 16))))
        if method == "eth_getStorageAt":
            params = [params[0], params[1], _number(params[2])]
        if method == "eth_getTransactionCount":
            mined = super().make_request(method, [params[0], "latest"])
            waiting = self._waiting_of(params[0]) if params[1] == "pending" else 0
            return _result(mined["result"] + waiting)
        return super().make_request(method, params)

    def _block(self, number: int) -> Any:
        from eth.exceptions import HeaderNotFound

        try:
            return self._tester.backend.chain.get_canonical_block_by_number(number)
        except HeaderNotFound as error:
            raise BlockNotFound(number) from error

    def _prove(self, address: str, slots: Sequence[str], number: int) -> dict[str, Any]:
        """The paths of the tries as they lie in the database."""
        from trie.hexary import HexaryTrie

        database = self._tester.backend.chain.chaindb.db
        state: Any = HexaryTrie(database, self._block(number).header.state_root)
        key = keccak(bytes.fromhex(address[2:]))
        storage: Any = HexaryTrie(database, rlp.decode(state[key])[2])
        return {
            "accountProof": [_hex_of(node) for node in state.get_proof(key)],
            "storageProof": [
                {"key": slot, "proof": [_hex_of(node) for node in storage.get_proof(path)]}
                for slot in slots
                for path in [keccak(bytes.fromhex(slot[2:]))]
            ],
        }

    def _send(self, raw: bytes) -> "RPCResponse":
        tx_hash = keccak(raw)
        if tx_hash in self.waiting:
            return _error(-32000, "already known")
        sender = Account.recover_transaction(raw)
        if _nonce(raw) < self._tester.get_nonce(sender):
            return _error(-32000, "nonce too low")
        if self.holding:
            self.waiting[tx_hash] = raw
        else:
            self._tester.send_raw_transaction("0x" + raw.hex())
        return _result("0x" + tx_hash.hex())

    def _waiting_of(self, sender: str) -> int:
        senders = (Account.recover_transaction(raw) for raw in self.waiting.values())
        return sum(found.lower() == sender.lower() for found in senders)


_HEADER = {
    "parentHash": "parent_hash",
    "sha3Uncles": "uncles_hash",
    "miner": "coinbase",
    "stateRoot": "state_root",
    "transactionsRoot": "transaction_root",
    "receiptsRoot": "receipt_root",
    "extraData": "extra_data",
    "mixHash": "mix_hash",
    "nonce": "nonce",
    "withdrawalsRoot": "withdrawals_root",
    "hash": "hash",
    "difficulty": "difficulty",
    "number": "block_number",
    "gasLimit": "gas_limit",
    "gasUsed": "gas_used",
    "timestamp": "timestamp",
    "baseFeePerGas": "base_fee_per_gas",
}
"""Names that nodes use → those of py-evm."""


def _header(block: Any) -> dict[str, str]:
    header = block.header
    values = {name: getattr(header, ours) for name, ours in _HEADER.items()}
    told = {name: hex(v) if isinstance(v, int) else "0x" + v.hex() for name, v in values.items()}
    return told | {"logsBloom": "0x" + header.bloom.to_bytes(256).hex()}


def _hex_of(node: Any) -> str:
    return "0x" + bytes(rlp.encode(node)).hex()


def _number(value: Any) -> Any:
    """eth-tester takes no hex here, unlike everywhere else."""
    return int(value, 16) if isinstance(value, str) and value.startswith("0x") else value


def _nonce(raw: bytes) -> int:
    """Of a typed transaction, whose fields begin with the chain id and the nonce."""
    return int.from_bytes(rlp.decode(raw[1:])[1])


def _result(value: Any) -> "RPCResponse":
    return {"jsonrpc": "2.0", "id": 1, "result": value}


def _error(code: int, message: str, data: str | None = None) -> "RPCResponse":
    error: dict[str, Any] = {"code": code, "message": message}
    if data is not None:
        error["data"] = data
    return {"jsonrpc": "2.0", "id": 1, "error": cast("RPCError", error)}


def _data(text: str) -> bytes:
    """eth-tester hands on revert data as text: a bytes literal, or the message of Error(string)."""
    if text.startswith(("b'", 'b"')):
        data = ast.literal_eval(text)
        assert isinstance(data, bytes)
        return data
    return _ERROR_STRING + encode(["string"], [text])
