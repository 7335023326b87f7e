"""`brake`, `break-glass`: what cannot wait for a vote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group

from node.cli.data import DEFAULT_WAIT, Id, Wait, column_rules, submit
from node.cli.frame import Place, command
from node.cli.signer import Key, account_of
from node.cli.tables import at, facts, rows, short
from node.errors import Invalid
from node.files import write_private

brake = typer.Typer(help="Stop all work for a while, with other members.", no_args_is_help=True)
glass = typer.Typer(help="Access to data in an emergency, by two people.", no_args_is_help=True)

MAX_FILE = 1 << 20  # bytes

OpeningFile = Annotated[Path, typer.Argument(help="The file that `draft` or `sign` wrote.")]
OpeningFiles = Annotated[
    list[Path], typer.Argument(help="The file with both signatures, or two files with one each.")
]
Out = Annotated[Path, typer.Option(help="Where to write it.")]


def register(app: typer.Typer) -> None:
    app.add_typer(brake, name="brake")
    app.add_typer(glass, name="break-glass")
    command(brake, "status")(status)
    command(brake, "pull")(pull)
    command(glass, "draft")(draft)
    command(glass, "sign")(sign)
    command(glass, "open")(open_glass)
    command(glass, "list")(list_emergencies)
    command(glass, "show")(show)
    command(glass, "lapse")(lapse)


# ── The brake ────────────────────────────────────────────────────────────────────────────────


def status(place: Place) -> None:
    """Whether work is stopped, until when, and whose voices stand."""
    with place.client() as node:
        found = node.get("/v1/brake")
    head = {
        "work": "stopped" if found["paused"] else "goes on",
        "until": at(found["paused_until"]),
        "seconds left": found["seconds_left"] or None,
        "voices": f"{len(found['voices'])} of {found['needed']}",
        "a pause lasts": f"{found['pause_seconds']} s",
    }
    columns = (
        ("member", lambda v: v["member"]["name"] or short(v["member"]["id"])),
        ("SHA-256 of the reason", lambda v: v["reason"]),
        ("block", lambda v: v["block"]),
    )

    def render() -> Group:
        return Group(
            facts(head, title="The brake"),
            rows(found["voices"], columns, title="Voices of the last hour"),
        )

    place.show(found, render)


def pull(
    place: Place,
    reason: Annotated[
        str,
        typer.Option(help="Why; it stands in this site's audit log, its SHA-256 on the chain."),
    ],
    wait: Wait = DEFAULT_WAIT,
) -> None:
    """Raise this member's voice for stopping all work. It stands for an hour."""
    submit(place, "/v1/brake/pull", {"reason": reason}, wait, "This member's voice is raised")


# ── Breaking the glass ───────────────────────────────────────────────────────────────────────


def draft(
    place: Place,
    dataset: Annotated[str, typer.Option(help="The dataset's id.")],
    grantee: Annotated[str, typer.Option(help="A member or a site, by id or by name.")],
    algorithm: Annotated[list[str], typer.Option(help="Name or code digest; repeatable.")],
    purpose: Annotated[str, typer.Option(help="Why, in words. @FILE reads a file.")],
    out: Out,
    from_version: Annotated[int, typer.Option(min=1)] = 1,
    to_version: Annotated[int | None, typer.Option(min=1)] = None,
    expires_in: Annotated[
        int | None,
        typer.Option(min=1, max=259_200, help="Seconds; default a day, 72 hours at most."),
    ] = None,
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
) -> None:
    """Write what two people of the dataset's owner are to sign. Records nothing."""
    if purpose.startswith("@"):
        purpose = Path(purpose[1:]).read_text(encoding="utf-8").strip()
    terms = {
        "dataset": dataset,
        "grantee": grantee,
        "algorithms": algorithm,
        "from_version": from_version,
        "to_version": to_version,
        "expires_in": expires_in,
        "uses": uses,
        "min_parties": min_parties,
        "min_rows": min_rows,
        "product_budget": product_budget,
        "column_rules": column_rules(column) if column else None,
    }
    with place.client() as node:
        made = node.post("/v1/break-glass/draft", {"terms": terms, "purpose": purpose})
    _write(place, out, {"opening": made, "signatures": {}}, "Wrote")


def sign(
    place: Place,
    file: OpeningFile,
    key: Key,
    out: Annotated[
        Path | None, typer.Option(help="Where to write it; default: into the same file.")
    ] = None,
) -> None:
    """Sign as one of the two people. Needs no node and no chain.

    Refused where what would be signed is not what the terms and the purpose in the file say.
    """
    from chain import typed_data

    found = _read(file)
    opening, account = found["opening"], account_of(key)
    if str(account.address) not in opening["people"]:
        raise Invalid(
            "InvalidRequest",
            "the dataset's owner has not appointed this person",
            found=str(account.address),
            allowed=opening["people"],
        )
    signature = typed_data.sign(opening["typed_data"], account)
    signatures = {**found["signatures"], str(account.address): signature}
    _write(place, out or file, {"opening": opening, "signatures": signatures}, "Signed")


def open_glass(place: Place, files: OpeningFiles, wait: Wait = DEFAULT_WAIT) -> None:
    """Hand what two people signed to a node, which sends it and pays for it. Any node will do."""
    found = [_read(file) for file in files]
    opening = found[0]["opening"]
    if any(other["opening"] != opening for other in found):
        raise Invalid("InvalidRequest", "the files are not about the same opening")
    signatures = {who: it for one in found for who, it in one["signatures"].items()}
    if len(signatures) < 2:
        raise Invalid(
            "InvalidRequest",
            "two people have to sign",
            found=list(signatures),
            allowed=opening["people"],
            hint="sign it with `fatechain break-glass sign FILE --key KEYSTORE`",
        )
    body = {name: opening[name] for name in ("terms", "purpose", "column_rules")}
    body["people"] = [{"address": who, "signature": it} for who, it in list(signatures.items())[:2]]
    submit(place, "/v1/break-glass", body, wait, "Opened; a vote has to review it")


def list_emergencies(
    place: Place,
    state: Annotated[
        str | None, typer.Option(help="OPEN, ENDED, OVERDUE, LAPSED or REVIEWED.")
    ] = None,
) -> None:
    """Accesses in emergencies, oldest first."""
    with place.client() as node:
        found = list(node.items("/v1/break-glass", state=state))
    columns = (
        ("state", lambda e: e["state"]),
        ("owner", lambda e: e["owner"]["name"] or short(e["owner"]["id"])),
        ("dataset", lambda e: e["dataset"]["name"] or short(e["dataset"]["id"])),
        ("to", lambda e: e["grantee"]["name"] or short(e["grantee"]["id"])),
        ("until", lambda e: at(e["until"])),
        ("review by", lambda e: at(e["review_by"])),
        ("next", _next),
        ("id", lambda e: e["id"]),
    )
    place.show(found, lambda: rows(found, columns, title="Accesses in emergencies"))


def show(place: Place, id: Id) -> None:
    """One access with its people, digests and blocks."""
    with place.client() as node:
        found = node.get(f"/v1/break-glass/{id}")
    told = {
        **found,
        **{what: found[what]["name"] or found[what]["id"] for what in ("owner", "dataset")},
        "grantee": found["grantee"]["name"] or found["grantee"]["id"],
        "until": at(found["until"]),
        "review_by": at(found["review_by"]),
        "countdown": _next(found),
    }
    place.show(found, lambda: facts(told, title="Access in an emergency"))


def lapse(place: Place, id: Id, wait: Wait = DEFAULT_WAIT) -> None:
    """Suspend the owner of an emergency that nobody reviewed in time."""
    submit(place, f"/v1/break-glass/{id}/lapse", {}, wait, "Lapsed: its owner is suspended")


def _next(found: dict[str, Any]) -> str | None:
    countdown = found["countdown"]
    if countdown is None:
        return "anybody may let it lapse" if found["can_lapse"] else None
    return f"{countdown['what']} in {countdown['seconds']} s"


def _read(file: Path) -> dict[str, Any]:
    """Raises `Invalid` for what is no opening, or would have something else signed than it says."""
    from node.emergencies import check

    try:
        if file.stat().st_size > MAX_FILE:
            raise ValueError("it is too large")
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        check(found["opening"])
        _told(found)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Invalid(
            "InvalidRequest",
            f"{file} is no opening in an emergency",
            hint="write one with `fatechain break-glass draft`",
        ) from error
    return found


def _write(place: Place, file: Path, opening: dict[str, Any], done: str) -> None:
    write_private(file, (json.dumps(opening, indent=2) + "\n").encode())
    told = _told(opening)
    place.show(told, lambda: facts(told, title=f"{done} {file}"))


def _told(found: dict[str, Any]) -> dict[str, Any]:
    """What is being signed, for the one who signs."""
    opening = found["opening"]
    terms, domain = opening["terms"], opening["typed_data"]["domain"]
    return {
        "id": opening["id"],
        "purpose": opening["purpose"],
        "dataset": terms["datasetId"],
        "versions": f"{terms['fromVersion']} to {terms['toVersion']}",
        "grantee": terms["grantee"],
        "algorithms": terms["algorithms"],
        "uses": terms["uses"],
        "until": at(int(terms["until"])),
        "column_rules": opening["column_rules"],
        "people": opening["people"],
        "signed_by": list(found["signatures"]),
        "contract": domain["verifyingContract"],
        "chain_id": domain["chainId"],
    }
