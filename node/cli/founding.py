"""How a consortium comes to be: `deploy` puts it on a chain, `found` hands it to its members."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.table import Table

from node.cli.frame import Place, command
from node.cli.signer import (
    DEFAULT_KEY,
    DEFAULT_NETWORK,
    DEFAULT_RPC,
    Key,
    NetworkPath,
    Rpc,
    account_of,
    open_authority,
)
from node.cli.tables import Column, facts, rows
from node.errors import Invalid

if TYPE_CHECKING:
    from chain.deploy import Deployment, Difference


def register(app: typer.Typer) -> None:
    command(app, "deploy")(deploy)
    command(app, "found")(found)


def deploy(
    place: Place,
    rpc: Rpc = DEFAULT_RPC,
    key: Key = DEFAULT_KEY,
    out: Annotated[Path, typer.Option(help="Where to write network.json.")] = DEFAULT_NETWORK,
    state: Annotated[
        Path | None, typer.Option(help="Remembers an interrupted run; default: beside OUT.")
    ] = None,
    algorithm: Annotated[
        list[str] | None, typer.Option(help="An algorithm to allow; default: all in this version.")
    ] = None,
    scheme: Annotated[list[str] | None, typer.Option(help="A scheme to admit.")] = None,
    minimum: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE, such as key-bits=2048.")
    ] = None,
    purpose: Annotated[
        list[str] | None, typer.Option(help="What data may be used for, such as fraud.")
    ] = None,
    constitution: Annotated[
        Path | None, typer.Option(help="The constitution; its SHA-256 goes on the chain.")
    ] = None,
    voting_delay: Annotated[
        int | None, typer.Option(min=0, max=2**48 - 1, help="Blocks from a proposal to its vote.")
    ] = None,
    voting_period: Annotated[
        int | None, typer.Option(min=1, max=2**32 - 1, help="Blocks that a vote lasts.")
    ] = None,
    late_quorum: Annotated[
        int | None,
        typer.Option(min=0, max=2**48 - 1, help="Blocks left at least once a quorum is reached."),
    ] = None,
    quorum_minimum: Annotated[
        int | None, typer.Option(min=1, help="The fewest votes that decide, however few members.")
    ] = None,
    timelock_delay: Annotated[
        int | None, typer.Option(min=0, help="Seconds from a passed vote to its effect.")
    ] = None,
    authority: Annotated[
        str | None, typer.Option(help="The account that founds; default: the deployer.")
    ] = None,
) -> None:
    """Deploy a consortium, or complete and check one that was begun."""
    from chain.client import ChainClient
    from chain.deploy import DEFAULT_MINIMUMS, DEFAULT_PURPOSES, DEFAULT_SCHEMES
    from chain.deploy import deploy as put
    from chain.ids import ZERO_ID
    from ml.algorithm import catalogue, code_digest

    given = {
        "voting_delay": voting_delay,
        "voting_period": voting_period,
        "late_quorum": late_quorum,
        "quorum_minimum": quorum_minimum,
        "timelock_delay": timelock_delay,
    }
    client = ChainClient(rpc, account=account_of(key))
    deployment = put(
        client,
        state or out.with_name(f".{out.stem}-deployment.json"),
        authority=authority,
        algorithms={code_digest(name): name for name in (algorithm or catalogue())},
        schemes=scheme or DEFAULT_SCHEMES,
        minimums=DEFAULT_MINIMUMS if minimum is None else dict(map(_minimum, minimum)),
        purposes=purpose or DEFAULT_PURPOSES,
        constitution=ZERO_ID if constitution is None else _digest(constitution),
        governance={name: value for name, value in given.items() if value is not None},
    )
    out.write_text(deployment.to_json(), encoding="utf-8")
    made = {
        "network": str(out),
        "chain_id": deployment.chain_id,
        "consortium": deployment.consortium,
        "from_block": deployment.from_block,
        "gas": deployment.gas,
        "is_founded": deployment.is_founded,
        "contracts": dict(deployment.contracts),
        "blocks": dict(deployment.blocks),
        "differences": [
            {"rule": found.rule, "proposal": _proposal(found)} for found in deployment.differences
        ],
    }
    place.show(made, lambda: _deployed(out, deployment))
    if not deployment.is_founded:
        place.say(
            "Next: admit the founders (`fatechain member admit`), then hand the consortium to "
            "them (`fatechain found`)."
        )


def found(
    place: Place,
    alone: Annotated[
        bool, typer.Option("--alone", help="With a single member, who then decides alone.")
    ] = False,
    rpc: Rpc = DEFAULT_RPC,
    key: Key = DEFAULT_KEY,
    network: NetworkPath = DEFAULT_NETWORK,
) -> None:
    """Hand all power over the consortium to its members' votes. There is no way back."""
    from chain.deploy import found as hand_over

    authority = open_authority(rpc, key, network)
    done = hand_over(authority.client, authority.network, is_alone=alone)
    voting = done.settings
    made: dict[str, Any] = {
        "is_new": done.is_new,
        "governor": done.governor,
        "timelock": done.timelock,
        "members": [{"id": m.id, "name": m.name, "account": m.account} for m in done.members],
        "voting_delay": voting.voting_delay,
        "voting_period": voting.voting_period,
        "late_quorum": voting.late_quorum,
        "quorum_minimum": voting.quorum_minimum,
        "timelock_delay": voting.timelock_delay,
    }
    told = {name: value for name, value in made.items() if name not in ("is_new", "members")}
    title = "The members govern now" if done.is_new else "The members govern"

    def render() -> RenderableType:
        columns: list[Column] = [
            ("name", lambda m: m.name),
            ("id", lambda m: m.id),
            ("account", lambda m: m.account),
        ]
        return Group(rows(done.members, columns, title=title), facts(told))

    place.show(made, render)


def _deployed(out: Path, deployment: Deployment) -> RenderableType:
    table = Table(title=f"The consortium stands; nodes need {out}")
    for heading in ("contract", "address", "block"):
        table.add_column(heading)
    for name, address in deployment.contracts.items():
        table.add_row(name, address, str(deployment.blocks[name]))
    table.caption = f"gas used: {deployment.gas:,}"
    if not deployment.differences:
        return table
    other = Table(title="It differs from what was asked for; only a vote changes it now")
    for heading in ("rule", "proposal"):
        other.add_column(heading, overflow="fold")
    for found in deployment.differences:
        other.add_row(found.rule, _proposal(found) or "none of the kinds sets this")
    return Group(table, other)


def _proposal(found: Difference) -> str | None:
    """The command that proposes what would set the rule."""
    if found.kind is None:
        return None
    params = (f"--param {shlex.quote(f'{name}={value}')}" for name, value in found.params.items())
    return " ".join(("fatechain proposal create", found.kind, *params))


def _minimum(text: str) -> tuple[str, int]:
    name, _, value = text.partition("=")
    if not name or not value.isdigit():
        raise Invalid(
            "InvalidRequest", "a minimum is NAME=VALUE", found=text, allowed="key-bits=2048"
        )
    return name, int(value)


def _digest(path: Path) -> str:
    from hashlib import sha256

    return "0x" + sha256(path.read_bytes()).hexdigest()
