"""What comes before a node: its home, a testnet, a consortium; and starting the node."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from node.cli import founding
from node.cli.frame import Place, command
from node.cli.signer import DEFAULT_RPC, find_network
from node.cli.tables import facts
from node.errors import Invalid

if TYPE_CHECKING:
    from node.site import Site

DEFAULT_ROLES = ("data-owner", "model-user")


def register(app: typer.Typer) -> None:
    command(app, "init")(init)
    command(app, "up")(up)
    command(app, "testnet")(run_testnet)
    command(app, "fund")(fund)
    founding.register(app)


def init(
    place: Place,
    home: Annotated[Path, typer.Argument(help="The folder to make.")],
    name: Annotated[str, typer.Option(help="What the site is called.")],
    network: Annotated[
        str | None,
        typer.Option(
            help="network.json of the consortium to join, as a file or at a member's URL."
        ),
    ] = None,
    rpc: Annotated[str | None, typer.Option(help="The chain's JSON-RPC address.")] = None,
    host: Annotated[str | None, typer.Option(help="The address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="The port to listen on.")] = None,
    endpoint: Annotated[
        str | None, typer.Option(help="The URL under which other sites reach this one.")
    ] = None,
    institution: Annotated[
        str | None, typer.Option(help="What the member shall be called; default: as the site.")
    ] = None,
    role: Annotated[
        list[str] | None,
        typer.Option(
            help="What the site registers itself as when its member is admitted: data-owner, "
            "model-user, coordinator, auditor; repeatable. Default: data-owner and model-user."
        ),
    ] = None,
) -> None:
    """Make a site's home: settings, keys, database, and the signed request for admission."""
    from node.identity import ANCHOR
    from node.site import Site

    settings: dict[str, Any] = {"name": name, "roles": tuple(role or DEFAULT_ROLES)}
    if network is not None:
        file = find_network(network)
        settings |= {
            "chain_id": file.chain_id,
            "consortium": file.consortium,
            "from_block": file.from_block,
        }
    given = {"rpc_url": rpc, "host": host, "port": port, "endpoint": endpoint}
    settings |= {key: value for key, value in given.items() if value is not None}
    with Site.create(home, **settings) as site:
        made = {
            "home": str(site.settings.home),
            "name": name,
            "account": site.identity.address,
            "request_key": "0x" + site.identity.request_public.hex(),
            "audit_key": "0x" + site.identity.audit_public.hex(),
            "anchor_key": "0x" + site.identity.public_key(ANCHOR).hex(),
            "endpoint": site.settings.endpoint,
            "consortium": site.settings.consortium,
            "admission_request": _request_admission(place, site, institution),
        }
    place.show(made, lambda: facts(made, title=f"{name} has a home"))
    place.say(
        f"Next: fund the account (on a testnet: `fatechain fund --home {home}`), send the request "
        f"to a member (`fatechain join --home {home} --sponsor URL`) and start the node "
        f"(`fatechain up --home {home}`): it registers itself when the members have voted. "
        f"`fatechain check --home {home}` says what is missing."
    )


def up(
    place: Place,
    wait: Annotated[
        float | None,
        typer.Option(min=1, help="Give up unless all parts are ready within these seconds."),
    ] = None,
) -> None:
    """Run the node: broker, API, worker and sync, until SIGTERM or Ctrl-C."""
    from node.up import run

    code = run(place.require_home(), ready_within=wait, say=place.say)
    if code:
        raise typer.Exit(code)


def run_testnet(
    place: Place,
    engine: Annotated[str, typer.Option(help="anvil or ganache.")] = "anvil",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8545,
    state: Annotated[Path, typer.Option(help="Where the chain is kept.")] = Path("testnet"),
    block_time: Annotated[int, typer.Option(min=1, help="Seconds from block to block.")] = 1,
) -> None:
    """Run a local Ethereum with funded development accounts, until SIGTERM or Ctrl-C."""
    from chain.testnet import CHAIN_ID, Testnet, dev_accounts

    if engine not in ("anvil", "ganache"):
        raise Invalid(
            "InvalidRequest", "no such engine", found=engine, allowed=["anvil", "ganache"]
        )
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with Testnet("anvil" if engine == "anvil" else "ganache", port, state, block_time) as chain:
        started = {
            "engine": engine,
            "rpc_url": chain.url,
            "chain_id": CHAIN_ID,
            "pid": chain.pid,
            "accounts": [account.address for account in dev_accounts(4)],
        }
        place.show(started, lambda: facts(started, title="The testnet runs; Ctrl-C ends it"))
        while chain.is_running() and not stop.wait(1.0):
            pass
        if not stop.is_set():
            from chain.errors import EngineFailed

            raise EngineFailed(engine, f"it ended by itself; see {chain.log_path}")


def fund(
    place: Place,
    account: Annotated[
        str | None, typer.Argument(help="The address to send ether to; or --home: the site's.")
    ] = None,
    ether: Annotated[int, typer.Option(min=1)] = 100,
    rpc: Annotated[
        str | None,
        typer.Option(help=f"The chain's JSON-RPC address; default: the home's, or {DEFAULT_RPC}."),
    ] = None,
) -> None:
    """On a testnet: send ether to an account, or to the one of a home."""
    from chain.testnet import fund as send

    if account is None or (rpc is None and place.home is not None):
        from node.identity import account_address, next_account_address

        settings = place.settings()
        own = next_account_address(settings) or account_address(settings)
        account, rpc = account or own, rpc or settings.rpc_url
    receipt = send(rpc or DEFAULT_RPC, account, ether)
    sent = {"account": account, "ether": ether, "tx_hash": receipt.tx_hash}
    place.show(sent, lambda: facts(sent, title="Funded"))


def _request_admission(place: Place, site: Site, institution: str | None) -> str | None:
    """Path of the request; None where there is no consortium to ask, or its chain is not there."""
    from chain.errors import ChainError
    from node.joining import FILE_NAME, make_request

    if site.settings.consortium is None:
        return None
    try:
        make_request(site, institution)
    except ChainError as error:
        place.say(f"No request for admission was made yet: {error}. Ask with `fatechain join`.")
        return None
    return str(site.settings.home / FILE_NAME)
