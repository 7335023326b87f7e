"""Asking a chain, and sending to it with one account.

Reads may be repeated once when the connection breaks; nothing else is retried behind the caller's
back. `sign`, `broadcast` and `find_receipt` are separate and may each be repeated, so that a node
which writes the signed transaction down before it sends it survives a crash at any point;
`transact` does all three for those who can wait.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from chain.abi import decode_output, encode_call, encode_creation, to_bytes, to_hex
from chain.calls import (
    Block,
    BlockRef,
    Call,
    Creation,
    EventRecord,
    Fees,
    Payment,
    RawLog,
    Receipt,
    SignedTx,
    Transaction,
)
from chain.errors import (
    BlockUnknown,
    ChainRefused,
    FeeCapExceeded,
    LogsRefused,
    NoAccount,
    NonceTaken,
    NotDeployed,
    TransactionFailed,
    TransactionStuck,
)
from chain.events import decode, raw_log
from chain.rpc import Rpc, refusals_of

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount
    from eth_typing import HexStr
    from web3 import Web3
    from web3.types import RPCEndpoint, TxParams

GWEI = 10**9
# Gas above the estimate. The last party to approve or attest also pays for the move of the job; an
# estimate made while another party's transaction is under way does not know that it will be last.
ROOM = 150_000
NOBODY = "0x" + "00" * 20
log = logging.getLogger(__name__)

STUCK_BLOCKS = 4
"""Blocks that are made without a transaction before it counts as stuck: a chain may lose hold of
one that waits, and where blocks are quick nobody waits half a minute to see that."""


class ChainClient:
    """One chain behind one RPC endpoint, and the account that pays, if any.

    `timeout` (seconds) bounds each request. `stuck_after` (seconds) is how long `transact` waits
    before it raises the fee, or `STUCK_BLOCKS` where they are quicker; `fee_cap` (wei per gas) is
    what we pay at most. `web3` replaces the connection (tests hand in an in-process chain), `pause`
    the waiting between two looks for a receipt.
    """

    def __init__(
        self,
        rpc_url: str,
        *,
        timeout: float = 10.0,
        account: "LocalAccount | None" = None,
        expected_chain_id: int | None = None,
        fee_cap: int = 500 * GWEI,
        priority_fee: int = GWEI,
        stuck_after: float = 30.0,
        web3: "Web3 | None" = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.rpc_url = rpc_url
        self.timeout = timeout
        self.account = account
        self.expected_chain_id = expected_chain_id
        self.fee_cap = fee_cap
        self.priority_fee = priority_fee
        self.stuck_after = stuck_after
        self._rpc = Rpc(rpc_url, timeout, expected_chain_id, web3)
        self._pause = pause
        self._lock = threading.RLock()
        self._sent: dict[int, SignedTx] = {}
        self._contracts: dict[str, str] = {}

    @property
    def address(self) -> str:
        """The account's address; raises NoAccount."""
        return self._signer().address

    @property
    def chain_id(self) -> int:
        """Raises WrongChain when it is not the expected one."""
        return self._rpc.chain_id

    def with_account(self, account: "LocalAccount") -> "ChainClient":
        """A client of the same chain that pays with another account."""
        other = ChainClient(
            self.rpc_url,
            timeout=self.timeout,
            account=account,
            expected_chain_id=self.expected_chain_id,
            fee_cap=self.fee_cap,
            priority_fee=self.priority_fee,
            stuck_after=self.stuck_after,
            pause=self._pause,
        )
        other._rpc = self._rpc
        other.learn(self._contracts)
        return other

    # --- reading

    def head(self) -> BlockRef:
        """The newest block."""
        return self.block("latest")

    def block(self, number: Block) -> BlockRef:
        """Raises BlockUnknown."""
        from web3.exceptions import BlockNotFound

        try:
            found = self._rpc.ask("eth_getBlockByNumber", lambda w3: w3.eth.get_block(number))
        except BlockNotFound as error:
            raise BlockUnknown(number if isinstance(number, int) else 0) from error
        return BlockRef(found["number"], found["hash"].to_0x_hex(), found["timestamp"])

    def call(self, call: Call, block: Block = "latest") -> Any:
        """What the function returns, as JSON values.

        Raises ContractRefused, NotDeployed, BlockUnknown.
        """
        data = self._simulate(call, NOBODY, block)
        if not data and not self.has_code(call.address, block):
            raise NotDeployed(call.contract, call.address)
        try:
            return decode_output(call.contract, call.function, data)
        except ValueError as error:
            raise NotDeployed(call.contract, call.address) from error

    def call_all(self, calls: Sequence[Call]) -> list[Any]:
        """What each of these returns now, asked for in one request where the line can do that.

        Raises as `call` does.
        """
        messages = [[{**_hexed(_message(call)), "from": NOBODY}, "latest"] for call in calls]
        answers = self._rpc.ask_all("eth_call", messages) or [{}] * len(calls)
        return [self._answered(*pair) for pair in zip(calls, answers, strict=True)]

    def _answered(self, call: Call, answer: Mapping[str, Any]) -> Any:
        """What a part of a batch says; asked alone where that is an error, which says more."""
        try:
            return decode_output(call.contract, call.function, to_bytes(answer["result"]))
        except (KeyError, TypeError, ValueError):
            return self.call(call)

    def simulate(
        self, call: Transaction, sender: str | None = None, block: Block = "latest"
    ) -> None:
        """Plays a transaction of `sender` (our account when None); raises ContractRefused."""
        self._simulate(call, self.address if sender is None else sender, block)

    def has_code(self, address: str, block: Block = "latest") -> bool:
        """Whether a contract stands at the address."""
        return bool(self.code(address, block))

    def code(self, address: str, block: Block = "latest") -> bytes:
        """The code that stands at the address; empty where none does."""
        return bytes(
            self._rpc.ask("eth_getCode", lambda w3: w3.eth.get_code(_address(address), block))
        )

    def slot(self, address: str, slot: int, block: Block = "latest") -> int:
        """What stands in a contract's storage."""
        found = self._rpc.ask(
            "eth_getStorageAt", lambda w3: w3.eth.get_storage_at(_address(address), slot, block)
        )
        return int.from_bytes(found)

    def ask_account(self, address: str, data: bytes, gas: int) -> bytes:
        """What whatever stands at the address answers to raw call data; web3 raises a revert."""
        message = {"to": _address(address), "data": to_hex(data), "gas": gas}
        return bytes(
            self._rpc.ask("eth_call", lambda w3: w3.eth.call(cast("TxParams", message), "latest"))
        )

    def ask_raw(self, method: str, params: Sequence[Any]) -> Any:
        """The result as it comes, of a question that not every endpoint knows.

        None for an error. Raises ChainRefused where this line cannot even ask.
        """
        try:
            answer = self._rpc.ask(
                method, lambda w3: w3.provider.make_request(cast("RPCEndpoint", method), params)
            )
        except NotImplementedError as error:
            raise ChainRefused(method, "not known here") from error
        return answer.get("result")

    def balance(self, address: str, block: Block = "latest") -> int:
        """In wei."""
        return int(
            self._rpc.ask("eth_getBalance", lambda w3: w3.eth.get_balance(_address(address), block))
        )

    def transactions(self, address: str, block: Block = "latest") -> int:
        """How many the account has made; of a contract, one more than it has created."""
        return self._count(address, block)

    def logs(self, from_block: int, to_block: int, addresses: Iterable[str]) -> list[EventRecord]:
        """Events of these contracts in [from_block, to_block], in the chain's order.

        One question: see `chain.history` for many blocks. Raises LogsRefused.
        """
        wanted = [_address(address) for address in addresses]
        try:
            found = self._rpc.ask(
                "eth_getLogs",
                lambda w3: w3.eth.get_logs(
                    {"fromBlock": from_block, "toBlock": to_block, "address": wanted}
                ),
            )
        except ChainRefused as refusal:
            raise LogsRefused(from_block, to_block, refusal.reason) from refusal
        return sorted(
            (decode(log, self._contracts) for log in found),
            key=lambda event: (event.block_number, event.log_index),
        )

    def logs_of(self, tx_hash: str) -> tuple[RawLog, ...]:
        """All that a mined transaction logged, of any contract; empty where it is not mined."""
        from web3.exceptions import TransactionNotFound

        try:
            found = self._rpc.ask(
                "eth_getTransactionReceipt",
                lambda w3: w3.eth.get_transaction_receipt(cast("HexStr", tx_hash)),
            )
        except TransactionNotFound:
            return ()
        return tuple(raw_log(log) for log in found["logs"]) if found is not None else ()

    def learn(self, contracts: Mapping[str, str]) -> None:
        """Which contract type (artifact) stands at which address: events are decoded by it."""
        self._contracts.update({_address(a): name for a, name in contracts.items()})

    # --- sending, step by step

    def nonce(self, block: Block = "pending") -> int:
        """How many transactions of our account the chain knows of ("latest": has mined)."""
        return self._count(self.address, block)

    def fees(self) -> Fees:
        """Enough for the base fee to double. Raises FeeCapExceeded."""
        found = self._rpc.ask("eth_getBlockByNumber", lambda w3: w3.eth.get_block("latest"))
        base = int(found.get("baseFeePerGas", 0))
        if base + self.priority_fee > self.fee_cap:
            raise FeeCapExceeded(base + self.priority_fee, self.fee_cap)
        return Fees(min(2 * base + self.priority_fee, self.fee_cap), self.priority_fee)

    def gas(self, call: Transaction) -> int:
        """An estimate with room to spare. Raises ContractRefused when it would be refused now.

        Played on the pending block, where the engine has one, so that a transaction may follow
        another one that still waits.
        """
        message = {**_message(call), "from": self.address}
        with refusals_of(call):
            estimate = self._rpc.ask(
                "eth_estimateGas",
                lambda w3: w3.eth.estimate_gas(cast("TxParams", message), "pending"),
            )
        return int(estimate) * 5 // 4 + ROOM

    def sign(
        self, call: Transaction, nonce: int, fees: Fees | None = None, gas: int | None = None
    ) -> SignedTx:
        """A signed transaction; nothing is sent.

        Raises ContractRefused, FeeCapExceeded, NoAccount.
        """
        fees = self.fees() if fees is None else fees
        gas = self.gas(call) if gas is None else gas
        signed = self._signer().sign_transaction(
            {
                **_message(call),
                "type": 2,
                "chainId": self.chain_id,
                "nonce": nonce,
                "gas": gas,
                "maxFeePerGas": fees.max_fee,
                "maxPriorityFeePerGas": fees.priority_fee,
            }
        )
        raw = to_hex(signed.raw_transaction)
        if isinstance(call, Call):
            self.learn({call.address: call.contract})
        return SignedTx(raw=raw, hash=to_hex(signed.hash), nonce=nonce, gas=gas, fees=fees)

    def broadcast(self, raw: str) -> str:
        """Hands a signed transaction to the chain and returns its hash.

        One that the chain knows already is no error, mined or waiting. Raises NonceTaken when
        another one stands at its nonce, ChainRefused for other reasons (no funds, fee too low to
        replace).
        """
        tx_hash, sender, nonce = _identify(to_bytes(raw))
        # Asked beforehand, as not every engine refuses what it has mined already.
        if self.knows(tx_hash):
            return tx_hash
        if nonce < self._count(sender, "latest"):
            raise NonceTaken(tx_hash, f"nonce {nonce} of {sender} is used")
        try:
            self._rpc.ask(
                "eth_sendRawTransaction",
                lambda w3: w3.eth.send_raw_transaction(to_bytes(raw)),
                repeat=False,
            )
        except ChainRefused as error:
            if self.knows(tx_hash):
                return tx_hash
            reason = error.reason.lower()
            if "nonce" in reason and "too high" not in reason:
                raise NonceTaken(tx_hash, error.reason) from error
            raise
        return tx_hash

    def knows(self, tx_hash: str) -> bool:
        """Whether the transaction waits or is mined."""
        from web3.exceptions import TransactionNotFound

        try:
            self._rpc.ask(
                "eth_getTransactionByHash",
                lambda w3: w3.eth.get_transaction(cast("HexStr", tx_hash)),
            )
        except TransactionNotFound:
            return False
        return True

    def find_receipt(self, tx_hash: str) -> Receipt | None:
        """One look: None while the transaction is not mined."""
        from web3.exceptions import TransactionNotFound

        try:
            found = self._rpc.ask(
                "eth_getTransactionReceipt",
                lambda w3: w3.eth.get_transaction_receipt(cast("HexStr", tx_hash)),
            )
        except TransactionNotFound:
            return None
        if found is None or found.get("blockNumber") is None:
            return None
        known = [log for log in found["logs"] if log["address"] in self._contracts]
        return Receipt(
            tx_hash=tx_hash,
            block_number=found["blockNumber"],
            block_hash=found["blockHash"].to_0x_hex(),
            gas_used=found["gasUsed"],
            status=found["status"] == 1,
            events=tuple(decode(log, self._contracts) for log in known),
            contract_address=found.get("contractAddress"),
        )

    def receipt(self, tx_hash: str, timeout: float = 60.0) -> Receipt:
        """Waits for the transaction to be mined, at most `timeout` seconds.

        Raises TransactionStuck.
        """
        found = self._wait([tx_hash], timeout)
        if found is None:
            raise TransactionStuck(tx_hash, timeout)
        return found

    # --- sending at once

    def send(self, call: Transaction, nonce: int | None = None) -> SignedTx:
        """Signs and sends, at the next free nonce when None.

        Raises as `sign` and `broadcast` do.
        """
        with self._lock:
            chosen = self._free_nonce() if nonce is None else nonce
            signed = self.sign(call, chosen)
            self.broadcast(signed.raw)
            self._sent[chosen] = signed
            return signed

    def transact(self, call: Transaction, timeout: float = 180.0) -> Receipt:
        """Sends and waits until mined, raising the fee by a quarter when it is stuck.

        Raises ContractRefused (before sending, or mined and reverted), TransactionFailed (reverted,
        no reason to be found), TransactionStuck.
        """
        return self._effective(call, self.see_through(call, self.send(call), timeout))

    def see_through(
        self,
        call: Transaction,
        signed: SignedTx,
        timeout: float = 180.0,
        note: Callable[[SignedTx], None] | None = None,
    ) -> Receipt:
        """Waits until `signed`, which was sent, is mined; better paid each second time it is stuck.

        The first time the same bytes are sent again: a few blocks may pass over whatever is paid,
        and a fee that rises at each of them is soon at its cap, for nothing.

        `note` is told of each replacement before it is sent. The receipt may be that of a reverted
        transaction. Raises TransactionStuck.
        """
        attempts = [signed]
        is_sent_again = False
        end = time.monotonic() + timeout
        while True:
            within = min(self.stuck_after, end - time.monotonic())
            found = self._wait([attempt.hash for attempt in attempts], within, STUCK_BLOCKS)
            if found is not None:
                return found
            if time.monotonic() >= end:
                raise TransactionStuck(attempts[-1].hash, timeout)
            if not is_sent_again:
                self._send_again(attempts[-1])
                is_sent_again = True
                continue
            replacement = self._replace(call, attempts[-1], note)
            if replacement is not None:
                attempts.append(replacement)
                is_sent_again = False

    def _effective(self, call: Transaction, receipt: Receipt) -> Receipt:
        """The receipt of a transaction that took effect; else why it did not."""
        if receipt.status:
            return receipt
        # The reason is not in the receipt; the state before its block tells it in nearly all cases.
        self.simulate(call, block=receipt.block_number - 1)
        raise TransactionFailed(receipt.tx_hash, f"reverted in block {receipt.block_number}")

    def _send_again(self, stuck: SignedTx) -> None:
        with self._lock:
            try:
                self.broadcast(stuck.raw)
            except (NonceTaken, ChainRefused) as error:
                # An earlier attempt is mined by now, or a better paid one follows at once.
                log.debug("transaction %s is not taken again: %s", stuck.hash, error)

    def _replace(
        self, call: Transaction, stuck: SignedTx, note: Callable[[SignedTx], None] | None
    ) -> SignedTx | None:
        """The same transaction, better paid; None where the cap or the chain does not let us."""
        fees = stuck.fees.raised()
        with self._lock:
            if fees.max_fee > self.fee_cap:
                self.broadcast(stuck.raw)  # at least see to it that the chain has it
                return None
            replacement = self.sign(call, stuck.nonce, fees, stuck.gas)
            if note is not None:
                note(replacement)
            try:
                self.broadcast(replacement.raw)
            except (NonceTaken, ChainRefused):
                return None  # an earlier attempt is mined by now, or it cannot be replaced
            self._sent[stuck.nonce] = replacement
            return replacement

    def _wait(
        self, hashes: Sequence[str], seconds: float, blocks: int | None = None
    ) -> Receipt | None:
        """The receipt of whichever of these is mined first; newest attempts are looked at first.

        None after so many seconds, or where that is less after so many blocks.
        """
        end = time.monotonic() + seconds
        last = None if blocks is None else self.head().number + blocks
        pause = 0.02
        while True:
            # Before the receipts: one of a block up to this number is found.
            number = 0 if last is None else self.head().number
            for tx_hash in reversed(hashes):
                found = self.find_receipt(tx_hash)
                if found is not None:
                    return found
            if time.monotonic() >= end or (last is not None and number > last):
                return None
            self._pause(pause)
            pause = min(2 * pause, 0.5)

    def _free_nonce(self) -> int:
        """The lowest nonce that nothing holds.

        What the chain has lost of ours is sent again first: behind a gap nothing is mined.
        """
        mined = self.nonce("latest")
        self._sent = {nonce: tx for nonce, tx in self._sent.items() if nonce >= mined}
        waiting = max(self.nonce("pending"), mined)
        for nonce, tx in sorted(self._sent.items()):
            if nonce >= waiting:
                try:
                    self.broadcast(tx.raw)
                except NonceTaken:
                    del self._sent[nonce]
        free = waiting
        while free in self._sent:
            free += 1
        return free

    def _count(self, address: str, block: Block) -> int:
        return int(
            self._rpc.ask(
                "eth_getTransactionCount",
                lambda w3: w3.eth.get_transaction_count(_address(address), block),
            )
        )

    def _simulate(self, call: Transaction, sender: str, block: Block) -> bytes:
        from web3.exceptions import BlockNotFound

        message = {**_message(call), "from": sender}
        try:
            with refusals_of(call):
                return bytes(
                    self._rpc.ask(
                        "eth_call", lambda w3: w3.eth.call(cast("TxParams", message), block)
                    )
                )
        except (BlockNotFound, ChainRefused):
            if isinstance(block, int):
                self.block(block)  # each engine words it differently that it lacks a block
            raise

    def _signer(self) -> "LocalAccount":
        if self.account is None:
            raise NoAccount
        return self.account


def _identify(raw: bytes) -> tuple[str, str, int]:
    """Hash, sender and nonce of a typed (EIP-1559) transaction."""
    import rlp  # type: ignore[import-untyped]
    from eth_account import Account
    from eth_utils.crypto import keccak

    nonce = int.from_bytes(rlp.decode(raw[1:])[1])
    return to_hex(keccak(raw)), Account.recover_transaction(raw), nonce


def _message(call: Transaction) -> dict[str, Any]:
    """Recipient, data and value of a transaction."""
    if isinstance(call, Payment):
        return {"to": _address(call.to), "value": call.wei, "data": "0x"}
    if isinstance(call, Creation):
        return {"data": to_hex(encode_creation(call.contract, call.args)), "value": 0}
    data = encode_call(call.contract, call.function, call.args)
    return {"to": _address(call.address), "data": to_hex(data), "value": 0}


def _hexed(message: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON-RPC has it; web3 does so for single requests."""
    return {name: hex(v) if isinstance(v, int) else v for name, v in message.items()}


def _address(address: str) -> Any:
    """Checksummed, as web3 demands. Raises ValueError when it is no address."""
    from eth_utils.address import to_checksum_address

    return to_checksum_address(address)
