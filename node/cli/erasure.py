"""`log erase`, `log erasures`: what entries tell is erased, and what was is told."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from chain.erasures import to_file
from node.cli.frame import Place, command
from node.cli.log import log
from node.cli.tables import facts, rows, short


def register(_: typer.Typer) -> None:
    command(log, "erase")(erase)
    command(log, "erasures")(erasures)


def erase(
    place: Place,
    scope: Annotated[str, typer.Option(help="A job, a dataset or another id.")],
    reason: Annotated[str, typer.Option(help="Stands in the receipt for good: name no person.")],
    out: Annotated[
        Path | None, typer.Option(help="Where to write the receipt, for `fatechain verify`.")
    ] = None,
) -> None:
    """Erase what the entries of a scope tell. They stand and prove as before; it is for ever.

    Copies of the database made before are not erased.
    """
    with place.client() as node:
        done = node.post("/v1/audit/erasures", {"scope": scope, "reason": reason})
    receipt = done["receipt"]
    if out is not None:
        out.write_bytes(to_file(receipt))
    told = {name: receipt[name] for name in ("scope", "count", "digest", "erasedAt", "entry")}
    place.show(done, lambda: facts(told, title="Erased"))
    if not done["journal_cut"]:
        place.warn("The database's journal still has it: something reads it. Restart the node.")


def erasures(
    place: Place,
    scope: Annotated[str | None, typer.Option(help="Of this scope alone.")] = None,
) -> None:
    """Signed receipts of what was erased, oldest first."""
    with place.client() as node:
        found = list(node.items("/v1/audit/erasures", scope=scope))
    columns = (
        ("erased", lambda r: r["erasedAt"]),
        ("scope", lambda r: short(r["scope"])),
        ("entries", lambda r: r["count"]),
        ("actor", lambda r: short(r["actor"])),
        ("reason", lambda r: r["reason"]),
    )
    place.show(found, lambda: rows(found, columns, title="Erasures"))
