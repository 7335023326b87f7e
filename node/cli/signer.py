"""Who signs what the consortium's authority does: a development account or a keystore.

The authority is no site: `deploy` and `member` speak to the chain directly.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from node.errors import Invalid, Unauthenticated, Unavailable

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

    from chain.client import ChainClient
    from chain.network import Network, NetworkFile

Rpc = Annotated[
    str, typer.Option("--rpc", envvar="FATECHAIN_RPC_URL", help="The chain's JSON-RPC address.")
]
Key = Annotated[
    str,
    typer.Option(
        "--key",
        envvar="FATECHAIN_DEPLOYER_KEY",
        help="dev:N for a testnet's account, or the path of a keystore (password in "
        "FATECHAIN_DEPLOYER_PASSWORD_FILE).",
    ),
]
NetworkPath = Annotated[
    Path,
    typer.Option("--network", envvar="FATECHAIN_NETWORK", help="The file `deploy` wrote."),
]
DEFAULT_RPC = "http://127.0.0.1:8545"
DEFAULT_KEY = "dev:0"
DEFAULT_NETWORK = Path("network.json")
MAX_NETWORK_BYTES = 64 * 1024


@dataclass(frozen=True)
class Authority:
    """A client that signs with the authority's key, and the consortium."""

    client: ChainClient
    network: Network


def open_authority(rpc: str, key: str, network: Path) -> Authority:
    """Raises `Invalid`, and what opening a consortium raises."""
    from chain.client import ChainClient
    from chain.network import Network

    file = read_network(network)
    client = ChainClient(rpc, account=account_of(key), expected_chain_id=file.chain_id)
    return Authority(client, Network.open(client, file.consortium))


def read_network(path: Path) -> NetworkFile:
    """Raises `Invalid` where the file is missing or is not what `deploy` wrote."""
    from chain.network import NetworkFile

    try:
        return NetworkFile.from_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise Invalid(
            "InvalidRequest",
            f"there is no {path}",
            hint="give --network with the file that `fatechain deploy` wrote",
        ) from error
    except ValueError as error:
        raise Invalid("InvalidRequest", f"{path} describes no network: {error}") from error


def find_network(where: str) -> NetworkFile:
    """As `read_network`; an ``http`` address is that of a member's node.

    Whoever answers there says which consortium is joined: compare its address with the members.
    """
    if not where.startswith(("http://", "https://")):
        return read_network(Path(where))
    from chain.network import NetworkFile

    path = "/v1/network.json"
    url = where.rstrip("/").removesuffix(path) + path
    try:
        return NetworkFile.from_json(_download(url).decode())
    except ValueError as error:
        raise Invalid("InvalidRequest", f"{url} describes no network: {error}") from error


def _download(url: str) -> bytes:
    """At most `MAX_NETWORK_BYTES` of what is there; raises `Unavailable`."""
    import httpx

    content = b""
    try:
        with httpx.stream("GET", url, timeout=10, trust_env=False) as answer:
            answer.raise_for_status()
            for chunk in answer.iter_bytes():
                content += chunk
                if len(content) > MAX_NETWORK_BYTES:
                    break
    except httpx.HTTPError as error:
        raise Unavailable(
            "NodeUnreachable",
            f"{url} does not answer with a network file: {type(error).__name__}",
            hint="is this the address of a member's node?",
        ) from error
    return content[:MAX_NETWORK_BYTES]


def account_of(key: str) -> LocalAccount:
    """The account behind ``dev:N`` or a keystore."""
    kind, _, number = key.partition(":")
    if kind == "dev" and number.isdigit():
        from chain.testnet import ACCOUNTS, dev_account

        if int(number) >= ACCOUNTS:
            raise Invalid(
                "InvalidRequest",
                "no such testnet account",
                found=key,
                allowed=f"dev:0 to dev:{ACCOUNTS - 1}",
            )
        return dev_account(int(number))
    return _from_keystore(Path(key))


def _from_keystore(path: Path) -> LocalAccount:
    from eth_account import Account

    password_file = os.environ.get("FATECHAIN_DEPLOYER_PASSWORD_FILE")
    password = (
        Path(password_file).read_text(encoding="utf-8").strip()
        if password_file
        else typer.prompt(f"password of {path}", hide_input=True, err=True)
    )
    try:
        secret = Account.decrypt(json.loads(path.read_text(encoding="utf-8")), password)
    except (ValueError, KeyError, TypeError) as error:
        # The library's text may quote the file.
        raise Unauthenticated(
            "WrongPassword",
            f"{path} is no keystore, or this is not its password",
            hint="set FATECHAIN_DEPLOYER_PASSWORD_FILE to a file with the password",
        ) from error
    account: LocalAccount = Account.from_key(secret)
    return account
