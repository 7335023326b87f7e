"""`monitor`, `verify-log`: what is wrong with logs, and a whole log verified by whoever doubts."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group

from node.cli.frame import Place, command
from node.cli.signer import DEFAULT_RPC, Rpc, read_network
from node.cli.tables import at, facts, rows, short
from node.errors import Invalid

SEVERE = ("critical", "warning")


def register(app: typer.Typer) -> None:
    command(app, "monitor")(monitor)
    command(app, "verify-log")(verify_log)


def monitor(
    place: Place,
    every: Annotated[
        bool, typer.Option("--all", help="Also what is over or acknowledged.")
    ] = False,
    acknowledge: Annotated[
        str | None, typer.Option(help="Say that somebody looked at this alert, by its id.")
    ] = None,
    test_webhook: Annotated[
        bool, typer.Option("--test-webhook", help="Tell the webhook that nothing happened.")
    ] = False,
    language: Annotated[str, typer.Option(help="en or zh.")] = "en",
) -> None:
    """What somebody has to look at; exit code 1 while an alert above a notice is open."""
    with place.client() as node:
        if test_webhook:
            told = node.post("/v1/alerts/webhook/test")
            place.show(told, lambda: facts(told, title="The webhook took it"))
            return
        if acknowledge is not None:
            seen = node.post(f"/v1/alerts/{acknowledge}/acknowledge")
            place.show(seen, lambda: facts(seen, title="Acknowledged"))
            return
        asked = {} if every else {"open": "true"}
        first = node.get("/v1/alerts", limit=1)
        alerts = list(node.items("/v1/alerts", at_most=1000, language=language, **asked))
        mirrors = node.get("/v1/mirrors")
    found = {"counts": first["counts"], "alerts": alerts, "mirrors": mirrors}
    place.show(found, lambda: _shown(found))
    if any(found["counts"][severity] for severity in SEVERE):
        raise typer.Exit(1)


def _shown(found: dict[str, Any]) -> Group:
    alerts = (
        ("since", lambda a: at(a["first_seen"])),
        ("", lambda a: a["severity"]),
        ("what", lambda a: a["title"]),
        ("about", lambda a: a["name"] or short(a["subject"])),
        ("times", lambda a: a["count"]),
        ("to do", lambda a: a["todo"] if a["open"] else "–"),
        ("id", lambda a: a["id"]),
    )
    mirrors = (
        ("copy of", lambda m: m["name"] or short(m["site"])),
        ("entries", lambda m: m["size"]),
        ("with content", lambda m: m["entries"]),
        ("bytes", lambda m: f"{m['bytes']:,}"),
        ("copied", lambda m: at(m["copied_at"])),
        ("read again", lambda m: at(m["reread_at"])),
        ("problem", lambda m: m["problem"] or m["withheld"] or "–"),
    )
    return Group(
        rows(found["alerts"], alerts, title="Alerts"),
        rows(found["mirrors"], mirrors, title="Copies of other logs"),
    )


def verify_log(
    place: Place,
    where: Annotated[
        str, typer.Argument(metavar="URL|DIR", help="NODE/log, NODE/mirror/SITE, or a folder.")
    ],
    site: Annotated[str, typer.Option(help="The site whose log it should be, by id.")],
    rpc: Rpc = DEFAULT_RPC,
    consortium: Annotated[str | None, typer.Option(help="The consortium you trust.")] = None,
    network: Annotated[
        Path | None, typer.Option(help="The same, as the network.json of that consortium.")
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(help="The site's audit key (0x, 32 bytes), to ask no chain."),
    ] = None,
) -> None:
    """Verify a whole log from its tiles; needs no node. Exit code 1 if one check fails."""
    from node.cli.whole_log import inspect

    if (key is None) == (consortium is None and network is None):
        raise Invalid(
            "InvalidRequest",
            "who may sign this log comes from a chain, or from you",
            allowed="--consortium or --network, or --key",
        )
    chain_id, from_block = None, 0
    if network is not None:
        trusted = read_network(network)
        consortium, chain_id, from_block = trusted.consortium, trusted.chain_id, trusted.from_block
    began = time.monotonic()
    token = place.token
    told = inspect(where, site, rpc, consortium, chain_id, from_block, key, token)
    told["seconds"] = round(time.monotonic() - began, 2)

    def render() -> Group:
        columns = (
            ("", lambda c: "✓" if c["ok"] else "✗"),
            ("check", lambda c: c["name"]),
            ("where", lambda c: c["where"]),
            ("", lambda c: c["detail"]),
        )
        title = "The log holds" if told["ok"] else "The log does NOT hold"
        table = rows(told["checks"], columns, title=title)
        return Group(table, facts(told["unchecked"], title="Not checked"))

    place.show(told, render)
    if not told["ok"]:
        raise typer.Exit(1)
