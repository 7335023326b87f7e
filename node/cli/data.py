"""`site`, `dataset`, `grant`: what a site's operator puts on the chain."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from node.cli.frame import Place, command
from node.cli.tables import at, facts, rows, short

site = typer.Typer(help="This site and the others.", no_args_is_help=True)
dataset = typer.Typer(help="Datasets by commitment.", no_args_is_help=True)
grant = typer.Typer(help="What data owners allow.", no_args_is_help=True)

Wait = Annotated[
    float, typer.Option(min=0, max=120, help="Seconds to wait for the chain; 0: do not wait.")
]
Id = Annotated[str, typer.Argument(help="0x-hex of 32 bytes.")]
DEFAULT_WAIT = 60.0


def register(app: typer.Typer) -> None:
    app.add_typer(site, name="site")
    app.add_typer(dataset, name="dataset")
    app.add_typer(grant, name="grant")
    command(site, "register")(register_site)
    command(site, "endpoint")(change_endpoint)
    command(site, "list")(list_sites)
    command(site, "show")(show_site)
    command(dataset, "register")(register_dataset)
    command(dataset, "version")(add_version)
    command(dataset, "withdraw")(withdraw_version)
    command(dataset, "list")(list_datasets)
    command(dataset, "show")(show_dataset)
    command(grant, "sign")(sign_grant)
    command(grant, "revoke")(revoke_grant)
    command(grant, "list")(list_grants)
    command(grant, "show")(show_grant)


def submit(
    place: Place, path: str, body: dict[str, Any], wait: float, title: str
) -> dict[str, Any]:
    """POST what becomes a transaction, show how far it is, and return what was shown."""
    with place.client() as node:
        made: dict[str, Any] = node.post(path, body, wait=wait)
    place.show(made, lambda: facts(made, title=title))
    return made


# ── Sites ────────────────────────────────────────────────────────────────────────────────────


def register_site(
    place: Place,
    role: Annotated[
        list[str], typer.Option(help="data-owner, model-user, coordinator or auditor; repeatable.")
    ],
    name: Annotated[str | None, typer.Option(help="Default: the name in the settings.")] = None,
    wait: Wait = DEFAULT_WAIT,
) -> None:
    """Register this site with its keys and endpoint."""
    submit(place, "/v1/sites", {"roles": role, "name": name}, wait, "This site is registered")


def change_endpoint(
    place: Place,
    endpoint: Annotated[str, typer.Argument(help="The URL under which others reach this site.")],
    wait: Wait = DEFAULT_WAIT,
) -> None:
    """Tell the others where this site is now."""
    submit(place, "/v1/sites/endpoint", {"endpoint": endpoint}, wait, "The endpoint has changed")


def list_sites(place: Place) -> None:
    """Sites of the consortium."""
    with place.client() as node:
        found = list(node.items("/v1/sites"))
    columns = (
        ("site", lambda s: f"{s['name']} (this one)" if s["mine"] else s["name"]),
        ("member", lambda s: s["member"]["name"]),
        ("standing", lambda s: s["member"]["standing"]),
        ("active", lambda s: s["active"]),
        ("roles", lambda s: ", ".join(s["roles"])),
        ("endpoint", lambda s: s["endpoint"]),
        ("id", lambda s: s["id"]),
    )
    place.show(found, lambda: rows(found, columns, title="Sites"))


def show_site(place: Place, id: Id) -> None:
    """One site with its keys."""
    with place.client() as node:
        found = node.get(f"/v1/sites/{id}")
    place.show(found, lambda: facts(found, title=found["name"]))


# ── Datasets ─────────────────────────────────────────────────────────────────────────────────


def register_dataset(
    place: Place,
    path: Annotated[str, typer.Argument(help="A CSV file in the home's data folder.")],
    name: Annotated[str, typer.Option(help="What the others see.")],
    id_column: Annotated[str, typer.Option("--id", help="The column of ids.")] = "id",
    label: Annotated[str | None, typer.Option(help="The column of labels, if it has one.")] = None,
    wait: Wait = DEFAULT_WAIT,
) -> None:
    """Commit to the rows of a file and register the commitment. No row leaves the site."""
    body = {"path": path, "name": name, "id_column": id_column, "label": label}
    submit(place, "/v1/datasets", body, wait, f"{name} is registered")


def add_version(
    place: Place,
    id: Id,
    path: Annotated[str, typer.Argument(help="A CSV file in the home's data folder.")],
    wait: Wait = DEFAULT_WAIT,
) -> None:
    """Register the next version of a dataset."""
    submit(place, f"/v1/datasets/{id}/versions", {"path": path}, wait, "The version is registered")


def withdraw_version(
    place: Place,
    id: Id,
    version: Annotated[int, typer.Argument(min=1)],
    wait: Wait = DEFAULT_WAIT,
) -> None:
    """Withdraw a version for good."""
    path = f"/v1/datasets/{id}/versions/{version}/withdraw"
    submit(place, path, {}, wait, "The version is withdrawn")


def list_datasets(place: Place) -> None:
    """Datasets of the consortium."""
    with place.client() as node:
        found = list(node.items("/v1/datasets"))
    columns = (
        ("dataset", lambda d: d["name"]),
        ("site", lambda d: d["site"]["name"]),
        ("state", lambda d: d["state"]),
        ("versions", lambda d: len(d["versions"])),
        ("rows", lambda d: d["versions"][-1]["rows"]),
        ("columns", lambda d: d["versions"][-1]["columns"]),
        ("id", lambda d: d["id"]),
    )
    place.show(found, lambda: rows(found, columns, title="Datasets"))


def show_dataset(place: Place, id: Id) -> None:
    """One dataset with its versions."""
    with place.client() as node:
        found = node.get(f"/v1/datasets/{id}")
    place.show(found, lambda: facts(found, title=found["name"]))


# ── Grants ───────────────────────────────────────────────────────────────────────────────────


def sign_grant(
    place: Place,
    dataset: Annotated[str, typer.Option(help="The dataset's id.")],
    grantee: Annotated[str, typer.Option(help="Member or site, by id or name; all: everyone.")],
    algorithm: Annotated[list[str], typer.Option(help="By name or code digest; repeatable.")],
    purpose: Annotated[list[str] | None, typer.Option(help="Default training; repeatable.")] = None,
    from_version: Annotated[int, typer.Option(min=1)] = 1,
    to_version: Annotated[int | None, typer.Option(min=1)] = None,
    expires_in: Annotated[
        int | None, typer.Option(min=1, help="Seconds from now; default 30 days.")
    ] = None,
    until: Annotated[int | None, typer.Option(help="Block time in Unix seconds.")] = None,
    uses: Annotated[int, typer.Option(min=1, help="Starts of jobs.")] = 1,
    min_parties: Annotated[int, typer.Option(min=1, max=16)] = 2,
    min_rows: Annotated[int, typer.Option(min=0)] = 0,
    product_budget: Annotated[
        int | None, typer.Option(min=0, help="Vectors answered; default one per ten rows.")
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(help="NAME=join, protocol or none; *=… for all others; repeatable."),
    ] = None,
    amends: Annotated[str | None, typer.Option(help="The grant that this one replaces.")] = None,
    wait: Wait = DEFAULT_WAIT,
) -> None:
    """Sign a grant with this site's account and record it on the chain."""
    body = {
        "dataset": dataset,
        "grantee": grantee,
        "algorithms": algorithm,
        "purposes": purpose or ["training"],
        "from_version": from_version,
        "to_version": to_version,
        "expires_in": expires_in,
        "until": until,
        "uses": uses,
        "min_parties": min_parties,
        "min_rows": min_rows,
        "product_budget": product_budget,
        "column_rules": column_rules(column) if column else None,
        "amends": amends,
    }
    submit(place, "/v1/grants", body, wait, f"Granted to {grantee}")


def column_rules(given: list[str]) -> dict[str, str]:
    """NAME=RULE, each; a name may hold "=" itself."""
    rules = {}
    for text in given:
        name, equals, rule = text.rpartition("=")
        if not equals or not name:
            raise typer.BadParameter(f"{text!r} is not NAME=RULE", param_hint="--column")
        rules[name] = rule
    return rules


def revoke_grant(place: Place, id: Id, wait: Wait = DEFAULT_WAIT) -> None:
    """Revoke a grant at once; jobs that run with it are stopped."""
    submit(place, f"/v1/grants/{id}/revoke", {}, wait, "Revoked")


def list_grants(
    place: Place,
    dataset: Annotated[str | None, typer.Option(help="Of this dataset only.")] = None,
    state: Annotated[str | None, typer.Option(help="ACTIVE, EXPIRED, REVOKED …")] = None,
) -> None:
    """Grants of the consortium."""
    with place.client() as node:
        found = list(node.items("/v1/grants", dataset=dataset, state=state))
    columns = (
        ("dataset", lambda g: g["dataset"]["name"]),
        ("owner", lambda g: g["owner"] and g["owner"]["name"]),
        ("grantee", lambda g: g["grantee"]["name"]),
        ("purposes", lambda g: ", ".join(g["purposes"])),
        (
            "algorithms",
            lambda g: ", ".join(str(a["name"] or short(a["digest"])) for a in g["algorithms"]),
        ),
        ("state", lambda g: g["state"]),
        ("uses", lambda g: f"{g['used']} of {g['limits']['uses']}"),
        ("until", lambda g: at(g["limits"]["until"])),
        ("id", lambda g: g["id"]),
    )
    place.show(found, lambda: rows(found, columns, title="Grants"))


def show_grant(place: Place, id: Id) -> None:
    """One grant with its limits."""
    with place.client() as node:
        found = node.get(f"/v1/grants/{id}")
    place.show(found, lambda: facts({**found, **found["limits"]}, title="Grant"))
