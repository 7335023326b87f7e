"""`rule`, `waiting`: what is approved without asking, and what waits for somebody."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Group

from node.cli.frame import Place, command
from node.cli.tables import at, facts, rows, short

rule = typer.Typer(help="Jobs that need no person to approve them.", no_args_is_help=True)

Several = list[str] | None
RuleId = Annotated[str, typer.Argument(help="As `fatechain rule list` shows it.")]


def register(app: typer.Typer) -> None:
    app.add_typer(rule, name="rule")
    command(rule, "add")(add)
    command(rule, "list")(list_rules)
    command(rule, "remove")(remove)
    command(app, "waiting")(waiting)


def add(
    place: Place,
    name: Annotated[str, typer.Argument(help="What it is called.")],
    proposer: Annotated[Several, typer.Option(help="Member or site; repeatable.")] = None,
    algorithm: Annotated[Several, typer.Option(help="Name or code digest; repeatable.")] = None,
    purpose: Annotated[Several, typer.Option(help="Repeatable.")] = None,
    dataset: Annotated[Several, typer.Option(help="Of this site, by id; repeatable.")] = None,
    max_products: Annotated[
        int | None, typer.Option(min=0, help="Vectors that one job may ask for.")
    ] = None,
    min_parties: Annotated[int, typer.Option(min=1, max=16, help="Different members.")] = 2,
    kind: Annotated[
        Several, typer.Option(help="train, predict, match or count; default: the first two.")
    ] = None,
    result: Annotated[
        Several, typer.Option(help="Who learns common rows, all or guest; default all.")
    ] = None,
    duplicates: Annotated[
        Several, typer.Option(help="Repeated ids, refuse or group; default refuse.")
    ] = None,
    match_by: Annotated[
        Several, typer.Option(help="A column that may match rows; name the id column, too.")
    ] = None,
    max_per_day: Annotated[int, typer.Option(min=1, help="Approvals a day (UTC).")] = 10,
    expires_in: Annotated[
        int | None, typer.Option(min=1, help="Seconds from now; default 30 days.")
    ] = None,
) -> None:
    """Approve such jobs without asking, until it ends. What has no default may be anything."""
    matching = {"kinds": kind, "results": result, "duplicates": duplicates, "match_by": match_by}
    body = {
        "name": name,
        "proposers": proposer or None,
        "algorithms": algorithm or None,
        "purposes": purpose or None,
        "datasets": dataset or None,
        "max_products": max_products,
        "min_parties": min_parties,
        "max_per_day": max_per_day,
        "expires_in": expires_in,
        **{name: given for name, given in matching.items() if given},
    }
    with place.client() as node:
        made = node.post("/v1/approval-rules", body)
    place.show(made, lambda: facts({**made, **made["conditions"]}, title="Rule"))


def list_rules(place: Place) -> None:
    """Rules of this site, in the order in which they are tried."""
    with place.client() as node:
        found = list(node.items("/v1/approval-rules"))
    columns = (
        ("rule", lambda r: r["name"]),
        ("active", lambda r: r["active"]),
        ("until", lambda r: at(r["until"])),
        ("today", lambda r: f"{r['used_today']} of {r['conditions']['max_per_day']}"),
        ("approved", lambda r: r["approved"]),
        ("by", lambda r: short(r["created_by"])),
        ("id", lambda r: r["id"]),
    )
    place.show(found, lambda: rows(found, columns, title="Rules"))


def remove(place: Place, id: RuleId) -> None:
    """End a rule; what it approved stands."""
    with place.client() as node:
        ended = node.post(f"/v1/approval-rules/{id}/remove")
    place.show(ended, lambda: facts(ended, title="Removed"))


def waiting(place: Place) -> None:
    """What waits for somebody: jobs, votes, reviews, keys."""
    with place.client() as node:
        found = node.get("/v1/waiting")
    place.show(found, lambda: _waiting(found))


def _waiting(found: dict[str, Any]) -> Group:
    jobs = (
        ("job", lambda j: j["id"]),
        ("proposer", lambda j: j["proposer"]["name"] or short(j["proposer"]["id"])),
        ("algorithm", lambda j: j["algorithm"]),
        ("since", lambda j: at(j["since"])),
        ("rejected at", lambda j: at(j["timeout_at"])),
        ("why no rule approved it", lambda j: "; ".join(map(_why, j["why"])) or "there is no rule"),
    )
    proposals = (
        ("proposal", lambda p: p["id"]),
        ("kind", lambda p: p["kind"]),
        ("title", lambda p: p["title"]),
        ("blocks left", lambda p: p["blocks_left"]),
    )
    reviews = (
        ("emergency", lambda r: r["id"]),
        ("owner", lambda r: r["owner"]["name"] or short(r["owner"]["id"])),
        ("review by", lambda r: at(r["review_by"])),
    )
    keys = (
        ("what", lambda k: k["what"]),
        ("name", lambda k: k["name"]),
        ("ends", lambda k: at(k["ends_at"])),
        ("id", lambda k: short(k["id"])),
    )
    return Group(
        rows(found["jobs"], jobs, title="Jobs to approve or reject"),
        rows(found["proposals"], proposals, title="Proposals to vote on"),
        rows(found["break_glass"], reviews, title="Emergencies to review"),
        rows(found["keys"], keys, title="Keys that end"),
    )


def _why(why: dict[str, Any]) -> str:
    return why["why"] if why["name"] is None else f"{why['name']}: {why['why']}"
