"""`key`, `recover`, `site operator`: the keys of a site, and how it comes back from a loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from node.cli.data import DEFAULT_WAIT, Id, Wait, submit
from node.cli.data import site as site_group
from node.cli.frame import Place, command
from node.cli.signer import Key, account_of
from node.cli.tables import at, facts, rows
from node.errors import Conflict

if TYPE_CHECKING:
    from node.settings import Settings

key = typer.Typer(help="Keys of this site.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    app.add_typer(key, name="key")
    command(key, "list")(list_keys)
    command(key, "rotate")(rotate)
    command(key, "revoke")(revoke)
    command(site_group, "operator")(change_operator)
    command(site_group, "retire")(retire)
    command(app, "recover")(recover)


def list_keys(place: Place) -> None:
    """Keys of this site on the chain, and rotations under way."""
    with place.client() as node:
        found = node.get("/v1/keys")
    columns = (
        ("purpose", lambda k: k["purpose"]),
        ("signs", lambda k: k["signs"]),
        ("from block", lambda k: k["from_block"]),
        ("until block", lambda k: k["until_block"] or "stands"),
        ("proven", lambda k: k["proven"]),
        ("rotation", lambda k: k["rotation"] and k["rotation"]["state"]),
        ("switched", lambda k: k["rotation"] and at(k["rotation"]["switched_at"])),
        ("id", lambda k: k["id"]),
    )
    place.show(found, lambda: rows(found, columns, title="Keys"))


def rotate(
    place: Place,
    purpose: Annotated[str, typer.Argument(help="request, audit or anchor.")],
    wait: Wait = DEFAULT_WAIT,
) -> None:
    """Put a new key in the place of one; the old one stands beside it for a while."""
    title = f"The new {purpose} key is registered; the site signs with it in a few blocks"
    submit(place, "/v1/keys/rotations", {"purpose": purpose}, wait, title)


def revoke(
    place: Place,
    id: Id,
    force: Annotated[
        bool, typer.Option("--force", help="Also the key that the site signs with.")
    ] = False,
    wait: Wait = DEFAULT_WAIT,
) -> None:
    """End a key at once: one that got into other hands."""
    submit(place, f"/v1/keys/{id}/revoke", {"force": force}, wait, "The key has ended")


def recover(
    place: Place,
    member: Annotated[str, typer.Option(help="The member's id, which lost its account.")],
) -> None:
    """Make this home a new account, and sign what the vote needs to give it to the member."""
    from node.site import Site
    from node.takeover import RECOVERY_FILE
    from node.takeover import recover as sign

    with Site.open(place.require_home()) as site:
        document = sign(site, member)
        path = site.settings.home / RECOVERY_FILE
    made = {"file": str(path), **document}
    place.show(made, lambda: facts(made, title="This account accepts to become the member's"))
    params = " ".join(f"--param {name}={value}" for name, value in document.items())
    place.say(f"A member proposes it: fatechain proposal create recover-account {params} --title …")


def change_operator(
    place: Place,
    key: Annotated[
        str | None,
        typer.Option("--key", help="The member's account: a keystore, or dev:N; else do it later."),
    ] = None,
    wait: Wait = DEFAULT_WAIT,
) -> None:
    """Let a new account operate this site, where the one before was lost and is not the member's.

    Fund the new account: its agreement is a transaction.
    """
    with place.client(timeout_seconds=60) as node:
        made = node.post("/v1/sites/operator", wait=wait)
        account = node.get("/v1/health")["figures"]["account"]
    if key is not None:
        _by_member(place.settings(), made["id"], account, key)
    made = {"site": made["id"], "operator": account, "changed": key is not None, **made}
    place.show(made, lambda: facts(made, title="A new account for this site"))
    if key is None:
        place.say(
            "The member's account now calls changeOperator: run this again with --key, or send it "
            "from its wallet."
        )


def retire(place: Place, id: Id, wait: Wait = DEFAULT_WAIT) -> None:
    """End a site of this institution for ever: one whose home is lost."""
    submit(place, f"/v1/sites/{id}/retire", {}, wait, "The site is retired")


def _by_member(settings: Settings, site: str, operator: str, key: Key) -> None:
    """The member's own transaction, after this home's account agreed."""
    from chain.client import ChainClient
    from chain.network import Network

    if settings.consortium is None:
        raise Conflict("NotConfigured", "no consortium is set")
    client = ChainClient(
        settings.rpc_url, account=account_of(key), expected_chain_id=settings.chain_id
    )
    network = Network.open(client, settings.consortium)
    call = network.sites.change_operator(site, operator)
    client.simulate(call)  # a refusal is told with its reason, and costs nothing
    client.transact(call)
