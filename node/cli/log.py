"""`log`: the audit log of a home's own database, read and proved without a node."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from node.cli.frame import Place, command, errors
from node.cli.tables import facts, rows
from node.errors import Conflict, Failed, Unavailable

if TYPE_CHECKING:
    from node.audit.dates import Anchored
    from node.audit.log import AuditLog
    from node.audit.verification import Fault
    from node.settings import Settings

log = typer.Typer(help="The audit log in a home's own database.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    app.add_typer(log, name="log")
    command(log, "verify")(verify)
    command(log, "prove")(prove)


def verify(
    place: Place,
    offline: Annotated[
        bool, typer.Option(help="Ask no chain: believe the anchors that the database tells of.")
    ] = False,
    processes: Annotated[
        int, typer.Option(min=1, max=64, help="That read a long log at the same time.")
    ] = os.cpu_count() or 1,
    payloads: Annotated[
        bool, typer.Option(help="Open every payload, too, and hold it against its entry.")
    ] = True,
) -> None:
    """Read the whole log and name every fault; exit code 1 if there is one.

    Entries are held against their hashes, columns and tiles, their times against each other, and
    the whole against the heads that the chain has. The node may go on meanwhile.
    """
    settings = place.settings()
    began = time.monotonic()
    with _opened(settings) as own:
        told = own.anchors()
        heads, faults = (
            (told, [])
            if offline or settings.site_id is None
            else _heads(place, settings, [head.size for head in told])
        )
        size = own.size
        with _shown(place, "verified", size) as shown:
            faults += own.verify(heads, processes=processes, progress=shown)
        if payloads:
            faults += own.payload_faults()
        root = None if faults else own.root(size)
    found = {
        "entries": size,
        "root": root and "0x" + root.hex(),
        "anchors": len(heads),
        "anchors_from": "database" if heads is told else "chain",
        "seconds": round(time.monotonic() - began, 2),
        "faults": [{"index": fault.index, "what": fault.what} for fault in faults],
    }
    place.show(found, lambda: _report(found))
    if heads is told and settings.site_id is not None:
        place.warn("No chain was asked: whoever edits the database may edit its anchors, too.")
    elif any(head.time is None for head in heads):
        place.warn("The chain's clock is ahead of this machine's: no time was held against it.")
    if faults:
        raise typer.Exit(1)


def prove(
    place: Place,
    index: Annotated[int, typer.Argument(min=0)],
    size: Annotated[int | None, typer.Option(min=1, help="Prove under this head.")] = None,
    disclose: Annotated[
        list[str] | None, typer.Option(help="A field to disclose; the others stay hidden.")
    ] = None,
) -> None:
    """One entry with its place in the tree, to show to others; of its fields only those named."""
    from chain import merkle

    with _opened(place.settings()) as own:
        within = own.size if size is None else size
        proof, root = own.inclusion_proof(index, within), own.root(within)
        entry = own.entry(index)
        shown = entry.shown(disclose or ())
    leaf = merkle.leaf_hash(entry.content)
    if not merkle.verify_inclusion(root, within, index, leaf, proof):
        raise Failed(
            "AuditLogDiffers",
            f"entry {index} does not stand where its tiles say",
            found=index,
            hint="`fatechain log verify` names what was changed",
        )
    path = ["0x" + node.hex() for node in proof]
    found = {**shown, "proof": {"size": within, "root": "0x" + root.hex(), "path": path}}
    place.show(found)


@contextmanager
def _opened(settings: Settings) -> Iterator[AuditLog]:
    """The log, without the keys of the site: nothing is signed here."""
    from node.audit.log import AuditLog
    from node.store import Store

    store = Store(settings.database_url)
    try:
        yield AuditLog(store, settings.log)
    finally:
        store.dispose()


def _heads(
    place: Place, settings: Settings, sizes: list[int]
) -> tuple[list[Anchored], list[Fault]]:
    from chain.client import ChainClient
    from chain.errors import ChainUnavailable
    from chain.network import Network
    from node.audit.anchored import heads_on_chain

    assert settings.site_id is not None
    if settings.consortium is None:
        raise Conflict(
            "NotConfigured",
            "no consortium is set whose chain has the anchors",
            hint="set consortium, or verify with --offline",
        )
    client = ChainClient(settings.rpc_url, expected_chain_id=settings.chain_id)
    try:
        network = Network.open(client, settings.consortium)
        with _shown(place, "anchors read from the chain", len(sizes)) as shown:
            return heads_on_chain(network, settings.site_id, sizes, shown)
    except ChainUnavailable as error:
        raise Unavailable(
            "ChainUnavailable",
            f"the chain did not tell its anchors: {error}",
            hint="--offline verifies against the anchors that the database tells of",
        ) from error


@contextmanager
def _shown(place: Place, text: str, total: int) -> Iterator[Any]:
    """A bar on stderr, for a person."""
    columns = TextColumn(text), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=errors, transient=True, disable=place.as_json) as progress:
        bar = progress.add_task(text, total=total)
        yield lambda done, whole: progress.update(bar, completed=done, total=whole)


def _report(found: dict[str, Any]) -> Group:
    told = {name: value for name, value in found.items() if name != "faults"}
    columns = ("entry", lambda f: f["index"]), ("what", lambda f: f["what"])
    faults = found["faults"]
    title = "Faults, the first 100" if len(faults) >= 100 else "Faults"
    return Group(
        facts(told, title="Audit log: faults found" if faults else "Audit log: as it was written"),
        *([rows(faults, columns, title=title)] if faults else []),
    )
