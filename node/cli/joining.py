"""`join`, `sponsor`, `check`: how an institution comes to the consortium, from both sides."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from node.cli.data import DEFAULT_WAIT, Wait, submit
from node.cli.frame import Place, command
from node.cli.tables import at, facts, rows
from node.errors import Invalid


def register(app: typer.Typer) -> None:
    command(app, "join")(join)
    command(app, "sponsor")(sponsor)
    command(app, "check")(check)


def join(
    place: Place,
    sponsor: Annotated[
        str | None, typer.Option(help="The node of a member that shall propose the admission.")
    ] = None,
    institution: Annotated[
        str | None, typer.Option(help="What the member shall be called; default: as before.")
    ] = None,
    contact: Annotated[
        Path | None,
        typer.Option(help="A file that says whom to ask; only its SHA-256 is in the request."),
    ] = None,
) -> None:
    """Sign the request for admission, and hand it to a member."""
    from node.client import Client
    from node.joining import FILE_NAME, make_request
    from node.site import Site

    told = None if contact is None else contact.read_bytes()
    with Site.open(place.require_home()) as site:
        request = make_request(site, institution, contact=told)
        path = site.settings.home / FILE_NAME
    made: dict[str, Any] = {
        "id": request.id,
        "file": str(path),
        "account": request.account,
        "name": request.name,
        "endpoint": request.endpoint,
        "sent_to": None,
    }
    if sponsor is not None:
        with Client(sponsor) as node:
            node.post("/v1/admission-requests", request.to_json())
        made["sent_to"] = sponsor
    place.show(made, lambda: facts(made, title=f"{request.name} asks to be admitted"))
    where = "was sent" if sponsor else f"lies in {path}: hand it to a member, or use --sponsor"
    place.say(
        f"The request {where}. A delegate there proposes it with `fatechain sponsor`, and the "
        "members vote. Next, here: fund the account if it is empty, and start the node with "
        "`fatechain up`; it registers itself when the vote is executed. `fatechain check` says how "
        "the vote stands and what is missing."
    )


def sponsor(
    place: Place,
    request: Annotated[
        str | None,
        typer.Argument(help="The request's id or file; without it: those that wait here."),
    ] = None,
    title: Annotated[str | None, typer.Option(help="Default: Admit NAME.")] = None,
    body: Annotated[str, typer.Option(help="Why the members should admit it.")] = "",
    dismiss: Annotated[bool, typer.Option("--dismiss", help="Do not sponsor it.")] = False,
    wait: Wait = DEFAULT_WAIT,
) -> None:
    """Propose to the members that they admit who asked for it; or list who asked."""
    if request is None:
        _list_requests(place)
        return
    if dismiss:
        with place.client() as node:
            found = node.post(f"/v1/admission-requests/{request}/dismiss")
        place.show(found, lambda: facts(found, title="Dismissed"))
        return
    asked: dict[str, Any] = {"title": title, "body": body}
    if request.startswith("0x"):
        asked["id"] = request
    else:
        asked["request"] = _read(Path(request))
    made = submit(place, "/v1/sponsorships", asked, wait, "Proposed to the members")
    place.say(
        f"Next, at every member: `fatechain proposal vote {made['id']} for` (or against). It waits "
        "until the vote begins, and says how long the vote lasts."
    )


def _list_requests(place: Place) -> None:
    with place.client() as node:
        found = node.get("/v1/admission-requests")
    columns = (
        ("name", lambda r: r["name"]),
        ("account", lambda r: r["account"]),
        ("endpoint", lambda r: r["endpoint"]),
        ("received", lambda r: at(r["received_at"])),
        ("before", lambda r: r["proposal"] and "lost a vote"),
        ("id", lambda r: r["id"]),
    )
    place.show(found, lambda: rows(found, columns, title="Requests for admission"))
    if found:
        place.say("Propose one with `fatechain sponsor ID`, or put it aside with --dismiss.")


def _read(path: Path) -> dict[str, Any]:
    from node.joining import AdmissionRequest

    try:
        document: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise Invalid("InvalidRequest", f"there is no {path}") from error
    except ValueError as error:
        raise Invalid("InvalidRequest", f"{path} is no JSON") from error
    return AdmissionRequest.parse(json.dumps(document).encode()).to_json()


def check(place: Place) -> None:
    """Whether the site has what it needs, and what to do; exit code 1 if something is missing.

    Works before the node runs; with --url it asks the running node.
    """
    if place.url is not None:
        with place.client(timeout_seconds=60) as node:
            found = node.get("/v1/check")
    else:
        from node.check import check_home

        found = check_home(place.require_home()).to_json()
    columns = (
        ("", lambda i: i["status"]),
        ("what", lambda i: i["name"]),
        ("found", lambda i: i["found"]),
        ("to do", lambda i: i["todo"]),
    )
    title = "Nothing is missing" if found["ok"] else "Something is missing"
    place.show(found, lambda: rows(found["items"], columns, title=title))
    if not found["ok"]:
        raise typer.Exit(1)
