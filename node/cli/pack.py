"""`pack`: what a site shows a regulator, in one signed file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from node.cli.frame import Place, command


def register(app: typer.Typer) -> None:
    command(app, "pack")(pack)


def pack(
    place: Place,
    out: Annotated[Path, typer.Option(help="The file to write.")],
    since: Annotated[str | None, typer.Option("--from", help="RFC 3339 in UTC.")] = None,
    until: Annotated[str | None, typer.Option(help="RFC 3339 in UTC, exclusive.")] = None,
    site: Annotated[str | None, typer.Option(help="Only what concerns this site.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Only what concerns this dataset.")] = None,
    job: Annotated[str | None, typer.Option(help="Only what concerns this job.")] = None,
    redact: Annotated[
        list[str] | None,
        typer.Option(help="A field of entries, or a kind like message.sent, to hide. Repeatable."),
    ] = None,
) -> None:
    """Write an evidence pack of a period, a site, a dataset or a job."""
    scope = {"from": since, "until": until, "site": site, "dataset": dataset, "job": job}
    asked = {**scope, "redact": redact}
    with place.client(timeout_seconds=300) as node:
        content = node.download("/v1/packs", **asked)
    out.write_bytes(content)
    saved = {"file": str(out), "bytes": len(content)}
    place.show(saved, lambda: f"{out}: check it with `fatechain verify {out} --rpc URL`")
