"""`audit`: ask a site for evidence by right, by a deadline, and answer what this site is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from node.cli.data import DEFAULT_WAIT, Id, Wait, submit
from node.cli.evidence import audit
from node.cli.frame import Place, command
from node.cli.tables import at, facts, rows, short


def register(app: typer.Typer) -> None:
    """Beside what `audit` has of this site's own log."""
    command(audit, "requests")(list_audits)
    command(audit, "request")(show)
    command(audit, "ask")(ask)
    command(audit, "answer")(answer)
    command(audit, "save")(save)


def list_audits(
    place: Place,
    state: Annotated[
        str | None, typer.Option(help="OPEN, SILENT, ANSWERED or ANSWERED_LATE.")
    ] = None,
    site: Annotated[str | None, typer.Option(help="Asked of this site only, by its id.")] = None,
) -> None:
    """Requests for audits, newest first: whoever asked, whomever they ask."""
    with place.client() as node:
        found = list(node.items("/v1/audits", state=state, site=site))
    columns = (
        ("state", lambda a: a["state"]),
        ("asked by", lambda a: (a["auditor"] or a["by"])["name"]),
        ("site", lambda a: a["site"]["name"] or short(a["site"]["id"])),
        ("about", lambda a: a["kind"]),
        ("until", lambda a: at(a["until"])),
        ("this site may", lambda a: ", ".join(a["can"]) or None),
        ("id", lambda a: a["id"]),
    )
    place.show(found, lambda: rows(found, columns, title="Audits"))


def show(place: Place, id: Id) -> None:
    """One request: digests and deadline; at the two sides the question and what was found."""
    with place.client() as node:
        found = node.get(f"/v1/audits/{id}")
    named = {who: found[who] and found[who]["name"] for who in ("site", "by", "auditor", "asker")}
    verdict = found["verdict"]
    said = None
    if verdict is not None:
        first = verdict["failures"][0] if verdict["failures"] else None
        said = "holds" if first is None else f"fails at {first['where']}: {first['detail']}"
    told = {**found, **named, "verdict": said}
    place.show(found, lambda: facts(told, title="Audit"))


def ask(
    place: Place,
    site: Annotated[str, typer.Argument(help="The site that is asked, by id or by name.")],
    text: Annotated[str, typer.Option(help="What for; the two sides read it. Name no person.")],
    since: Annotated[str | None, typer.Option("--from", help="RFC 3339 in UTC.")] = None,
    until: Annotated[str | None, typer.Option(help="RFC 3339 in UTC, exclusive.")] = None,
    about: Annotated[str | None, typer.Option(help="Only what concerns this site, by id.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Only what concerns this dataset.")] = None,
    job: Annotated[str | None, typer.Option(help="Only what concerns this job.")] = None,
    wait: Wait = DEFAULT_WAIT,
) -> None:
    """Ask a site of another member for evidence. It answers by a deadline, or is silent."""
    asked = {"from": since, "until": until, "about": about, "dataset": dataset, "job": job}
    body = {"site": site, "text": text, **{name: v for name, v in asked.items() if v is not None}}
    submit(place, "/v1/audits", body, wait, "The request is filed")


def answer(
    place: Place,
    id: Id,
    redact: Annotated[
        list[str] | None,
        typer.Option(help="A field of entries, or a kind like message.sent, to hide. Repeatable."),
    ] = None,
    wait: Wait = DEFAULT_WAIT,
) -> None:
    """Answer with the evidence pack that the question asks for. There is one answer."""
    submit(place, f"/v1/audits/{id}/answer", {"redact": redact or []}, wait, "Answered")


def save(
    place: Place,
    id: Id,
    out: Annotated[Path, typer.Option(help="The file to write the pack to.")],
    question: Annotated[Path | None, typer.Option(help="And the question to this one.")] = None,
) -> None:
    """Write the pack that answers a request to a file, as the digest on the chain has it."""
    with place.client(timeout_seconds=300) as node:
        content = node.download(f"/v1/audits/{id}/pack")
        asked = None if question is None else node.download(f"/v1/audits/{id}/question")
    out.write_bytes(content)
    if question is not None and asked is not None:
        question.write_bytes(asked)
    saved = {"file": str(out), "bytes": len(content)}
    place.show(saved, lambda: f"{out}: check it with `fatechain verify {out} --rpc URL`")
