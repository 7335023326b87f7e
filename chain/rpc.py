"""The line to an Ethereum node: JSON-RPC through web3, with our errors.

web3 is imported when the first question is asked, not with this module: a worker's parent process
loads it never.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar, cast

from chain.abi import refusal, to_bytes
from chain.calls import Transaction
from chain.errors import ChainRefused, ChainUnavailable, ContractRefused, WrongChain

if TYPE_CHECKING:
    from web3 import HTTPProvider, Web3
    from web3.types import RPCEndpoint, RPCResponse

T = TypeVar("T")


class Rpc:
    """One endpoint. `timeout` (seconds) bounds each request; `web3` replaces the connection."""

    def __init__(
        self, url: str, timeout: float, expected_chain_id: int | None, web3: "Web3 | None" = None
    ) -> None:
        self.url = url
        self._timeout = timeout
        self._expected = expected_chain_id
        self._web3 = web3
        self._chain_id: int | None = None

    @property
    def web3(self) -> "Web3":
        if self._web3 is None:
            from web3 import Web3

            web3 = Web3(_provider(self.url, self._timeout))
            # It asks for the chain id twice with every call; `ask` checks it once.
            web3.middleware_onion.remove("validation")
            self._web3 = web3
        return self._web3

    @property
    def chain_id(self) -> int:
        """Raises WrongChain when it is not the expected one."""
        if self._chain_id is None:
            found = self._request("eth_chainId", lambda w3: w3.eth.chain_id)
            if self._expected is not None and found != self._expected:
                raise WrongChain(found, self._expected)
            self._chain_id = found
        return self._chain_id

    def ask(self, method: str, question: "Callable[[Web3], T]", *, repeat: bool = True) -> T:
        """The answer to a question, asked again once when the connection breaks and `repeat`.

        The first question of all is which chain it is. Raises ChainUnavailable, ChainRefused,
        WrongChain, and what web3 raises for a revert (see `refusals_of`) or something not found.
        """
        _ = self.chain_id
        return self._request(method, question, repeat=repeat)

    def ask_all(self, method: str, params: Sequence[Any]) -> "list[RPCResponse] | None":
        """The answers to many questions in one request; None where this line cannot do that.

        Errors are among the answers. Raises ChainUnavailable, WrongChain.
        """
        from web3 import HTTPProvider

        _ = self.chain_id
        provider = self.web3.provider
        if not isinstance(provider, HTTPProvider):
            return None
        asked = [(cast("RPCEndpoint", method), each) for each in params]
        found = self._once(lambda _: provider.make_batch_request(asked))
        if not isinstance(found, list) or len(found) != len(asked):
            return None
        return found

    def _request(self, method: str, question: "Callable[[Web3], T]", *, repeat: bool = True) -> T:
        from web3.exceptions import BlockNotFound, TransactionNotFound, Web3RPCError

        try:
            return self._once(question)
        except (BlockNotFound, TransactionNotFound):
            raise
        except Web3RPCError as error:
            if revert_data(error) is not None:
                raise
            raise ChainRefused(method, str(_told(error).get("message") or error)) from error
        except ChainUnavailable:
            if not repeat:
                raise
        return self._request(method, question, repeat=False)

    def _once(self, question: "Callable[[Web3], T]") -> T:
        from json import JSONDecodeError

        from requests import RequestException
        from web3.exceptions import BadResponseFormat, ProviderConnectionError

        try:
            return question(self.web3)
        except (RequestException, OSError, ProviderConnectionError) as error:
            # The text of these errors holds the whole URL, and that may carry a token.
            raise ChainUnavailable(self.url, type(error).__name__) from None
        except (BadResponseFormat, JSONDecodeError, UnicodeDecodeError) as error:
            cause = f"not a JSON-RPC answer ({type(error).__name__})"
            raise ChainUnavailable(self.url, cause) from None


@contextmanager
def refusals_of(call: Transaction) -> Iterator[None]:
    """Inside, a revert of `call` is raised as ContractRefused."""
    from web3.exceptions import (
        BlockNotFound,
        ContractLogicError,
        TransactionNotFound,
        Web3RPCError,
    )

    try:
        yield
    except (BlockNotFound, TransactionNotFound):
        raise
    except (ContractLogicError, Web3RPCError) as error:
        data = revert_data(error)
        if data:
            raise refusal(data, call.contract, call.function) from None
        told = {"message": str(error)}
        raise ContractRefused("Reverted", told, call.contract, call.function) from None


def _provider(url: str, timeout: float) -> "HTTPProvider":
    """HTTP, each request once; an answer that is no JSON-RPC is refused before anyone reads it."""
    from web3 import HTTPProvider
    from web3.exceptions import BadResponseFormat

    class Provider(HTTPProvider):
        def make_request(self, method: "RPCEndpoint", params: Any) -> "RPCResponse":
            response = super().make_request(method, params)
            if not isinstance(response, dict) or not {"result", "error"} & response.keys():
                raise BadResponseFormat("neither a result nor an error")
            return response

    return Provider(url, request_kwargs={"timeout": timeout}, exception_retry_configuration=None)


def revert_data(error: Exception) -> bytes | None:
    """What the contract reverted with; None where the error is no contract's.

    Anvil and geth answer with hex as the error's data, ganache with hex or an object that holds it,
    and under a code by which web3 does not always see a revert.
    """
    found: Any = getattr(error, "data", None)
    if found is None:
        found = _told(error).get("data")
    if isinstance(found, Mapping):
        found = found.get("result") or found.get("data")
    if not isinstance(found, str) or not found.startswith("0x"):
        return None
    try:
        return to_bytes(found)
    except ValueError:
        return None


def _told(error: Exception) -> Mapping[str, Any]:
    """The endpoint's error object; empty where it sent none."""
    response = getattr(error, "rpc_response", None)
    told = response.get("error") if isinstance(response, Mapping) else None
    return told if isinstance(told, Mapping) else {}
