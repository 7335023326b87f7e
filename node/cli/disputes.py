"""`dispute`: what one member holds against another."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any

import typer

from node.cli.data import DEFAULT_WAIT, Id, Wait, submit
from node.cli.frame import Place, command
from node.cli.tables import facts, rows, short
from node.errors import Invalid

dispute = typer.Typer(help="What members hold against each other.", no_args_is_help=True)

Document = Annotated[
    Path | None,
    typer.Option("--file", help="A document; its SHA-256 is told, the document stays here."),
]
Text = Annotated[
    str | None,
    typer.Option(help="Words instead; they stand in the audit log, which all members read."),
]


def register(app: typer.Typer) -> None:
    app.add_typer(dispute, name="dispute")
    command(dispute, "list")(list_disputes)
    command(dispute, "show")(show)
    command(dispute, "open")(open_dispute)
    command(dispute, "answer")(answer)
    command(dispute, "withdraw")(withdraw)


def list_disputes(
    place: Place,
    state: Annotated[
        str | None, typer.Option(help="OPEN, ANSWERED, WITHDRAWN, UPHELD or DISMISSED.")
    ] = None,
) -> None:
    """Disputes, oldest first."""
    with place.client() as node:
        found = list(node.items("/v1/disputes", state=state))
    columns = (
        ("state", lambda d: d["state"]),
        ("claimant", lambda d: d["claimant"]["name"] or short(d["claimant"]["id"])),
        ("respondent", lambda d: d["respondent"]["name"] or short(d["respondent"]["id"])),
        ("about", lambda d: f"{d['about']} {short(d['subject'])}"),
        ("this site may", lambda d: ", ".join(d["can"]) or None),
        ("id", lambda d: d["id"]),
    )
    place.show(found, lambda: rows(found, columns, title="Disputes"))


def show(place: Place, id: Id) -> None:
    """One dispute with its digests and blocks."""
    with place.client() as node:
        found = node.get(f"/v1/disputes/{id}")
    named = {who: found[who]["name"] or found[who]["id"] for who in ("claimant", "respondent")}
    place.show(found, lambda: facts({**found, **named}, title="Dispute"))


def open_dispute(
    place: Place,
    respondent: Annotated[str, typer.Argument(help="The other member, by id or by name.")],
    about: Annotated[str, typer.Option(help="dataset, job, model, …")],
    subject: Annotated[str, typer.Option(help="Its id or digest, 0x-hex of 32 bytes.")],
    file: Document = None,
    text: Text = None,
    wait: Wait = DEFAULT_WAIT,
) -> None:
    """Open a dispute with another member. A vote rules it: `proposal create rule-dispute`."""
    body = {"respondent": respondent, "about": about, "subject": subject}
    body |= _said("evidence", file, text)
    submit(place, "/v1/disputes", body, wait, "The dispute is open")


def answer(
    place: Place,
    id: Id,
    file: Document = None,
    text: Text = None,
    wait: Wait = DEFAULT_WAIT,
) -> None:
    """Answer a dispute against this member. There is one answer."""
    body = _said("answer", file, text)
    submit(place, f"/v1/disputes/{id}/answer", body, wait, "Answered")


def withdraw(place: Place, id: Id, wait: Wait = DEFAULT_WAIT) -> None:
    """Withdraw a dispute that this member opened."""
    submit(place, f"/v1/disputes/{id}/withdraw", {}, wait, "Withdrawn")


def _said(what: str, file: Path | None, text: str | None) -> dict[str, Any]:
    """The digest of a file, or words."""
    if (file is None) == (text is None):
        raise Invalid("InvalidRequest", f"give the {what} as --file or as --text, one of them")
    if file is None:
        return {f"{what}_text": text}
    with file.open("rb") as opened:
        return {what: "0x" + hashlib.file_digest(opened, "sha256").hexdigest()}
