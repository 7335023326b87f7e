"""`lineage`, `statement`: what used a dataset, and what a member's data was used for."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.markup import escape
from rich.text import Text
from rich.tree import Tree

from node.cli.data import Id
from node.cli.frame import Place, command
from node.cli.tables import cell, short


def register(app: typer.Typer) -> None:
    command(app, "lineage")(lineage)
    command(app, "statement")(statement)


def lineage(place: Place, id: Id) -> None:
    """Everything that used a dataset, a grant, a job or a model, and which withdrawals reach it."""
    with place.client(timeout_seconds=60) as node:
        found = node.get(f"/v1/lineage/{id}")
    place.show(found, lambda: _shown(found))


def statement(
    place: Place,
    month: Annotated[str, typer.Option(help="Like 2026-10, in UTC.")],
    out: Annotated[
        Path | None, typer.Option(help="A file, .html or .json; default: JSON on stdout.")
    ] = None,
    provisional: Annotated[
        bool, typer.Option("--provisional", help="Also of a month that is not over.")
    ] = False,
    language: Annotated[str, typer.Option(help="Of the HTML: en or zh.")] = "en",
) -> None:
    """What this member's data was used for in a month, signed."""
    page = out is not None and out.suffix == ".html"
    asked = {
        "format": "html" if page else "json",
        "provisional": "true" if provisional else None,
        "language": language,
    }
    with place.client(timeout_seconds=120) as node:
        content = node.download(f"/v1/statements/{month}", **asked)
    if out is None:
        print(content.decode(), end="")
        return
    out.write_bytes(content)
    saved = {"file": str(out), "bytes": len(content)}
    hint = "it stands alone, and can be printed" if page else f"check it: `fatechain verify {out}`"
    place.show(saved, lambda: f"{out}: {hint}")


def _shown(found: dict[str, Any]) -> Group:
    things = {thing["id"]: thing for thing in found["things"]}
    following: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for edge in found["edges"]:
        following[edge["source"]].append(edge)
    root = Tree(_label(things[found["root"]]))
    seen, waiting = {found["root"]}, [(found["root"], root)]
    while waiting:
        id, branch = waiting.pop()
        for edge in following.get(id, ()):
            thing = things[edge["target"]]
            told = f"[dim]{edge['what']} in block {edge['fact']['block']}:[/] {_label(thing)}"
            if thing["id"] in seen:
                branch.add(f"{told} [dim](above)[/]")
                continue
            seen.add(thing["id"])
            waiting.append((thing["id"], branch.add(told)))
    return Group(root, *_remarks(found))


def _label(thing: dict[str, Any]) -> str:
    name = f" {escape(thing['name'])}" if thing["name"] else ""
    does = f" ({thing['does']})" if thing["does"] else ""
    scores = f", scores in entry {thing['scores']['entry']}" if thing["scores"] else ""
    label = f"{thing['kind']}{name}{does} {short(thing['id'])} {cell(thing['state'])}{scores}"
    for mark in thing["affected"]:
        when = f", {mark['when']} it" if mark["when"] else ""
        of = "" if mark["by"] == thing["id"] else f" of {short(mark['by'])}"
        version = f" {mark['version']}" if mark["version"] is not None else ""
        told = f"{mark['what']}{version}{of} in block {mark['fact']['block']}{when}"
        label += f"\n[yellow]▲ {told}[/]"
    return label


def _remarks(found: dict[str, Any]) -> list[Text]:
    remarks = [
        Text(
            f"Job {short(hidden['job'])} may have used model {short(hidden['model'])}: only "
            f"{', '.join(site['name'] or site['id'] for site in hidden['known_to'])} can say."
        )
        for hidden in found["hidden"]
    ]
    if not found["complete"]:
        remarks.append(Text("There is more than is followed here.", style="red"))
    remarks.append(Text(f"As the chain had it in block {found['block']}.", style="dim"))
    return remarks
