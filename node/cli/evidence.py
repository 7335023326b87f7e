"""`audit`, `transaction`, `health`, `verify`, `verifier`, `demo`: what can be shown and checked."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group

from node.cli.frame import Place, command, errors
from node.cli.signer import DEFAULT_RPC, Rpc, read_network
from node.cli.tables import at, facts, rows, short
from node.errors import Invalid, NodeError, Unavailable

audit = typer.Typer(help="This site's audit log.", no_args_is_help=True)
transaction = typer.Typer(help="What this site asked of the chain.", no_args_is_help=True)

LOOK_SECONDS = 0.5


def register(app: typer.Typer) -> None:
    app.add_typer(audit, name="audit")
    app.add_typer(transaction, name="transaction")
    command(audit, "list")(list_entries)
    command(audit, "show")(show_entry)
    command(audit, "checkpoint")(checkpoint)
    command(transaction, "list")(list_transactions)
    command(transaction, "show")(show_transaction)
    command(app, "health")(health)
    command(app, "verify")(verify)
    command(app, "verifier")(verifier)
    command(app, "demo")(demo)


# ── The log ──────────────────────────────────────────────────────────────────────────────────


def list_entries(
    place: Place,
    type: Annotated[
        str | None, typer.Option(help="A type, or its beginning with a dot at the end.")
    ] = None,
    subject: Annotated[str | None, typer.Option(help="A job's id or another one.")] = None,
    since: Annotated[str | None, typer.Option(help="RFC 3339 in UTC.")] = None,
    until: Annotated[str | None, typer.Option(help="RFC 3339 in UTC.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
) -> None:
    """Entries, newest first."""
    with place.client() as node:
        found = list(
            node.items(
                "/v1/audit/entries",
                at_most=limit,
                type=type,
                subject=subject,
                since=since,
                until=until,
            )
        )
    columns = (
        ("entry", lambda e: e["index"]),
        ("time", lambda e: e["time"]),
        ("type", lambda e: e["type"]),
        ("subject", lambda e: short(e["subject"])),
        ("actor", lambda e: short(e["actor"])),
    )
    place.show(found, lambda: rows(found, columns, title="Audit log"))


def show_entry(
    place: Place,
    index: Annotated[int, typer.Argument(min=0)],
    size: Annotated[int | None, typer.Option(min=1, help="Prove under this head.")] = None,
) -> None:
    """One entry with the proof that the log holds it."""
    with place.client() as node:
        found = node.get(f"/v1/audit/entries/{index}", size=size)

    def render() -> Group:
        proof = found["proof"]
        told = {
            "leaf hash": found["leaf_hash"],
            "path": "\n".join(proof["path"]) or "(the leaf is the root)",
            "root": proof["root"],
            "of entries": proof["size"],
            "verified": proof["verified"],
            "anchored in block": proof["anchor"] and proof["anchor"]["block"],
        }
        head = {k: found[k] for k in ("index", "type", "time", "subject", "actor")}
        data = found["data"] or {"payload": found["payload"]}
        return Group(facts(head), facts(data), facts(told))

    place.show(found, render)


def checkpoint(place: Place) -> None:
    """The newest head of the log, signed with the audit key."""
    with place.client() as node:
        found = node.get("/v1/audit/checkpoint")
    place.show(found, lambda: facts(found, title="Checkpoint"))


# ── Transactions and health ──────────────────────────────────────────────────────────────────


def list_transactions(
    place: Place,
    state: Annotated[str | None, typer.Option(help="WAITING, SENT, CONFIRMED, REFUSED …")] = None,
    subject: Annotated[str | None, typer.Option(help="An id that they are about.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
) -> None:
    """Transactions, newest first."""
    with place.client() as node:
        found = list(node.items("/v1/transactions", at_most=limit, state=state, subject=subject))
    columns = (
        ("number", lambda t: t["id"]),
        ("call", lambda t: f"{t['contract']}.{t['function']}"),
        ("state", lambda t: t["state"]),
        ("block", lambda t: t["block"]),
        ("gas", lambda t: t["gas_used"] and f"{t['gas_used']:,}"),
        ("changed", lambda t: at(t["changed_at"])),
        ("error", lambda t: t["error"] and t["error"]["code"]),
    )
    place.show(found, lambda: rows(found, columns, title="Transactions"))


def show_transaction(
    place: Place, intent: Annotated[str, typer.Argument(help="Its intent or its number.")]
) -> None:
    """One transaction."""
    with place.client() as node:
        found = node.get(f"/v1/transactions/{intent}")
    place.show(found, lambda: facts(found))


def health(
    place: Place,
    wait: Annotated[
        float, typer.Option(min=0, help="Seconds to wait until all parts are ready.")
    ] = 0,
) -> None:
    """How each part of the node is; exit code 1 unless all are ready."""
    until = time.monotonic() + wait
    while True:
        found, problem = _health(place)
        if (found is not None and found["status"] == "ready") or time.monotonic() >= until:
            break
        time.sleep(LOOK_SECONDS)
    if found is None:
        assert problem is not None
        raise problem

    def render() -> Group:
        parts = (
            ("part", lambda p: p[0]),
            ("ok", lambda p: p[1]["ok"]),
            ("", lambda p: p[1]["detail"]),
        )
        title = f"{found['name']} is {found['status']}"
        return Group(rows(found["parts"].items(), parts, title=title), facts(found["figures"]))

    place.show(found, render)
    if found["status"] != "ready":
        raise typer.Exit(1)


def _health(place: Place) -> tuple[dict[str, Any] | None, NodeError | None]:
    try:
        with place.client(timeout_seconds=10) as node:
            return node.get("/v1/health"), None
    except Unavailable as error:
        return None, error


# ── Certificates ─────────────────────────────────────────────────────────────────────────────


def verify(
    place: Place,
    file: Annotated[
        Path, typer.Argument(help="A certificate, statement, evidence pack or erasure receipt.")
    ],
    rpc: Rpc = DEFAULT_RPC,
    consortium: Annotated[
        str | None,
        typer.Option(help="The consortium you trust; default: the one that the file names."),
    ] = None,
    network: Annotated[
        Path | None, typer.Option(help="The same, as the network.json of that consortium.")
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Ask no chain: hold the file against itself alone.")
    ] = False,
    block: Annotated[
        str | None,
        typer.Option(help="With --offline: hash or header of the block, or a file with it."),
    ] = None,
    extract: Annotated[
        Path | None, typer.Option(help="A folder for the report of an evidence pack that holds.")
    ] = None,
) -> None:
    """Hold a file with proofs against the chain; needs no node. Exit code 1 if a check fails."""
    from node.cli import verification

    if offline and (consortium is not None or network is not None):
        raise Invalid(
            "InvalidRequest",
            "--offline asks no chain, so it cannot hold the file against a consortium",
            hint="leave out --offline, or --consortium and --network",
        )
    if block is not None and not offline:
        raise Invalid(
            "InvalidRequest",
            "a block is held against a file with --offline alone: otherwise the chain is asked",
            hint="add --offline, or leave out --block",
        )
    if offline:
        told = verification.verify_file_alone(file, verification.named_block(block))
        holds = "The file holds together"
    else:
        chain_id = None
        if network is not None:
            trusted = read_network(network)
            consortium, chain_id = trusted.consortium, trusted.chain_id
        told = verification.verify_file(file, rpc, consortium, chain_id)
        holds = f"The {told['kind']} holds"
    _show_report(place, told, holds)
    for name in () if extract is None else verification.extract(file, extract):
        place.say(f"wrote {name}")


def _show_report(place: Place, told: dict[str, Any], holds: str) -> None:
    columns = (
        ("", lambda c: "✓" if c["ok"] else "✗"),
        ("check", lambda c: c["name"]),
        ("where", lambda c: c["where"]),
        ("", lambda c: c["detail"]),
    )
    failed = [check for check in told["checks"] if not check["ok"]]
    title = holds if told["ok"] else f"It does NOT hold: {failed[0]['where']}"

    def render() -> Group:
        table = rows(told["checks"], columns, title=title)
        if "unchecked" not in told:
            return Group(table)
        return Group(table, facts(told["unchecked"], title="Only the chain can tell"))

    place.show(told, render)
    if not told["ok"]:
        raise typer.Exit(1)


def verifier(
    place: Place,
    out: Annotated[Path, typer.Option(help="Where to write it.")] = Path("verifier.html"),
) -> None:
    """Write the page that verifies a certificate in a browser, from a file, without a network."""
    from node.ui.verifier import page

    content = page()
    out.write_bytes(content)
    told = {"file": str(out), "sha256": hashlib.sha256(content).hexdigest()}
    place.show(told, lambda: facts(told, title="Open it in a browser"))


def demo(
    place: Place,
    root: Annotated[Path, typer.Option(help="Where it is played; emptied before.")] = Path(".demo"),
    engine: Annotated[str, typer.Option(help="anvil or ganache.")] = "anvil",
    keep: Annotated[bool, typer.Option("--keep", help="Let the nodes run on at the end.")] = False,
    rows_: Annotated[
        int | None, typer.Option("--rows", min=100, help="Only the first rows of the data.")
    ] = None,
) -> None:
    """Four institutions, one chain, a first audited model: the whole story on this machine."""
    from node.demo.run import run

    run(root, engine=engine, keep=keep, rows=rows_, console=errors if place.as_json else None)
