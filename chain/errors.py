"""The errors of this package.

    ChainError
     ├─ ChainUnavailable      nobody answered at the URL, or not with JSON-RPC
     ├─ ChainRefused          the node answered with an error that is no contract's
     │   └─ LogsRefused       it does not give the events of these blocks
     ├─ BlockUnknown          the node has no block of that number (yet, or any more)
     ├─ WrongChain            another chain id than the one configured
     ├─ ChainRegressed        a confirmed block is gone: the chain was rewritten
     ├─ NotDeployed           no contract at an address, or a name the address book lacks
     ├─ ContractRefused       a contract reverted with a reason
     ├─ FeeCapExceeded        the chain asks for a higher fee than we agreed to pay
     ├─ NoAccount             a transaction was asked for, but the client holds no key
     ├─ TransactionFailed     mined, and reverted without a reason that can be found
     │   └─ NonceTaken        another transaction of the account stands at this nonce
     ├─ TransactionStuck      not mined in time, also after its fee was raised
     ├─ DeploymentMismatch    the state file speaks of another chain or consortium
     ├─ HistoryIncomplete     what a contract told is not all there: nothing follows from it
     ├─ HiddenPower           somebody may do without a vote what only a vote may
     ├─ FoundingRefused       the consortium would be stuck if it governed itself now
     ├─ ProposalInvalid       a proposal that no consortium could vote on, and why
     ├─ ForkFailed            the chain cannot be copied to try something out
     ├─ EngineMissing         the testnet's program is not installed
     ├─ EngineFailed          the testnet's program ended or did not answer
     ├─ CompilationFailed, CompilerMissing (chain.compile)
     └─ VerificationFailed    evidence that does not hold, and where

Every message says what was found and what is allowed or to do next.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit


class ChainError(Exception):
    """Anything that goes wrong between us and the contracts."""


class ChainUnavailable(ChainError):
    """No usable answer from the RPC endpoint. `url` is shown without credentials."""

    def __init__(self, url: str, cause: str) -> None:
        self.url = _without_credentials(url)
        self.cause = cause
        super().__init__(f"the chain at {self.url} does not answer: {cause}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.url, self.cause)


class ChainRefused(ChainError):
    """The RPC endpoint understood and refused, for a reason that no contract gave."""

    def __init__(self, method: str, reason: str) -> None:
        self.method = method
        self.reason = reason
        super().__init__(f"the chain refused {method}: {reason}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.method, self.reason)


class LogsRefused(ChainRefused):
    """The RPC endpoint gives no events of blocks [first, last]: too many, or none at all."""

    def __init__(self, first: int, last: int, reason: str) -> None:
        self.first = first
        self.last = last
        super().__init__("eth_getLogs", reason)
        blocks = f"block {first}" if first == last else f"blocks {first} to {last}"
        self.args = (
            f"the chain refused the events of {blocks}: {reason}; where it refuses single blocks, "
            "use another RPC endpoint",
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.first, self.last, self.reason)


class BlockUnknown(ChainError):
    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(f"the chain has no block {number} here; a node may be behind its peers")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.number,)


class WrongChain(ChainError):
    def __init__(self, found: int, expected: int) -> None:
        self.found = found
        self.expected = expected
        super().__init__(
            f"the endpoint serves chain {found}; this consortium is on chain {expected}"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.found, self.expected)


class ChainRegressed(ChainError):
    """A block that had its confirmations is no longer part of the chain."""

    def __init__(self, block: int, expected: str, found: str | None) -> None:
        self.block = block
        self.expected = expected
        self.found = found
        super().__init__(
            f"confirmed block {block} was {expected} and is now {found or 'missing'}; stop the "
            f"node, find out who rewrote the chain, and rebuild the index"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.block, self.expected, self.found)


class NotDeployed(ChainError):
    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self.address = address
        super().__init__(f"there is no {name} at {address}; check the address and the chain")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.name, self.address)


class ContractRefused(ChainError):
    """A contract reverted. `error` is the Solidity error's name, `values` its arguments by name.

    A `require` or a bare `revert` with text appears as `Error(message=…)`, a failed check of the
    language itself as `Panic(code=…)`, data that no known interface declares as `Unknown(data=…)`.
    """

    def __init__(
        self, error: str, values: Mapping[str, Any], contract: str = "", function: str = ""
    ) -> None:
        self.error = error
        self.values = dict(values)
        self.contract = contract
        self.function = function
        what = ", ".join(f"{name}={value}" for name, value in self.values.items())
        super().__init__(f"{contract}.{function} refused: {error}({what})")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.error, self.values, self.contract, self.function)


class FeeCapExceeded(ChainError):
    """Wei per gas."""

    def __init__(self, found: int, allowed: int) -> None:
        self.found = found
        self.allowed = allowed
        super().__init__(
            f"the chain asks for {found} wei per gas, allowed are {allowed}; raise the cap or wait"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.found, self.allowed)


class NoAccount(ChainError):
    def __init__(self) -> None:
        super().__init__("this client only reads; hand it an account to send transactions")


class TransactionFailed(ChainError):
    def __init__(self, tx_hash: str, reason: str) -> None:
        self.tx_hash = tx_hash
        self.reason = reason
        super().__init__(f"transaction {tx_hash} failed: {reason}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.tx_hash, self.reason)


class NonceTaken(TransactionFailed):
    """Another transaction of the same account was mined, or waits, at this nonce."""


class TransactionStuck(ChainError):
    def __init__(self, tx_hash: str, seconds: float) -> None:
        self.tx_hash = tx_hash
        self.seconds = seconds
        super().__init__(
            f"transaction {tx_hash} was not mined within {seconds:g} s; is the chain making blocks?"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.tx_hash, self.seconds)


class DeploymentMismatch(ChainError):
    def __init__(self, what: str, found: object, expected: object) -> None:
        self.what = what
        self.found = found
        self.expected = expected
        super().__init__(f"deployment: {what} is {found}, expected {expected}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.what, self.found, self.expected)


class HistoryIncomplete(ChainError):
    def __init__(self, contract: str, found: str) -> None:
        self.contract = contract
        self.found = found
        super().__init__(
            f"the history of {contract} is incomplete: {found}; begin with the block in which the "
            "consortium was made, and ask an endpoint that keeps all events"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.contract, self.found)


class HiddenPower(ChainError):
    """`found` names the account and what it may do, or the decision that nobody voted for."""

    def __init__(self, found: str) -> None:
        self.found = found
        super().__init__(
            f"{found}: that is above the members' votes; do not join, and as a member ask the "
            "others to move the authority to a timelock that the governor alone commands"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.found,)


class FoundingRefused(ChainError):
    def __init__(self, found: str, needed: str) -> None:
        self.found = found
        self.needed = needed
        super().__init__(f"the members cannot govern yet: found {found}; {needed}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.found, self.needed)


class ProposalInvalid(ChainError):
    """`where` names the part of a proposal: its kind, title, body or a parameter."""

    def __init__(self, where: str, found: object, allowed: object) -> None:
        self.where = where
        self.found = found
        self.allowed = allowed
        super().__init__(f"proposal: {where} is {found}; allowed: {allowed}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.where, self.found, self.allowed)


class ForkFailed(ChainError):
    """Trying something out on a copy of the chain did not work; nothing is known of its effect."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"the effect cannot be tried out: {reason}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.reason,)


class EngineMissing(ChainError):
    def __init__(self, engine: str, path: Path) -> None:
        self.engine = engine
        self.path = path
        super().__init__(f"{engine} is not installed ({path} is missing); run `make setup`")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.engine, self.path)


class EngineFailed(ChainError):
    def __init__(self, engine: str, reason: str) -> None:
        self.engine = engine
        self.reason = reason
        super().__init__(f"{engine} did not start: {reason}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.engine, self.reason)


class VerificationFailed(ChainError):
    """Evidence does not hold. `where` is a path into it (`$.logs[0].entries[3].proof`)."""

    def __init__(self, where: str, found: object, expected: object) -> None:
        self.where = where
        self.found = found
        self.expected = expected
        super().__init__(f"{where}: found {found}, expected {expected}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.where, self.found, self.expected)


def _without_credentials(url: str) -> str:
    """User, password and query may hold an access token of a hosted endpoint: never show them."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, "", "", ""))
