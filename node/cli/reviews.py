"""`review`, `attest`: who vouches for code, and for members."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group

from node.cli.data import DEFAULT_WAIT, Id, Wait, submit
from node.cli.frame import Place, command
from node.cli.signer import (
    DEFAULT_NETWORK,
    DEFAULT_RPC,
    Authority,
    Key,
    NetworkPath,
    Rpc,
    account_of,
    open_authority,
)
from node.cli.tables import at, facts, rows, short
from node.errors import Invalid
from node.files import write_private

review = typer.Typer(
    help="Reviews of algorithms, and the people who give them.", no_args_is_help=True
)
attest = typer.Typer(help="What issuers vouch for of members.", no_args_is_help=True)

MAX_FILE = 64 * 1024  # bytes of a drafted review
Report = Annotated[Path, typer.Option(help="The report; its SHA-256 is told, it stays here.")]
Approves = Annotated[bool, typer.Option("--approve/--reject", help="What the person found.")]
ReviewFile = Annotated[Path, typer.Argument(help="The file that `draft` or `sign` wrote.")]
Person = Annotated[str, typer.Argument(help="The person's account.")]
Subject = Annotated[str, typer.Argument(help="The member, by id or name.")]
Kind = Annotated[str, typer.Argument(help="What is attested, such as iso27001.")]


def register(app: typer.Typer) -> None:
    app.add_typer(review, name="review")
    app.add_typer(attest, name="attest")
    command(review, "list")(list_reviews)
    command(review, "show")(show)
    command(review, "submit")(put_up)
    command(review, "draft")(draft)
    command(review, "sign")(sign)
    command(review, "relay")(relay)
    command(review, "people")(people)
    command(review, "appoint")(appoint)
    command(review, "dismiss")(dismiss)
    command(attest, "list")(list_attestations)
    command(attest, "kinds")(list_kinds)
    command(attest, "give")(give)
    command(attest, "revoke")(revoke)


# ── Code ─────────────────────────────────────────────────────────────────────────────────────


def list_reviews(place: Place) -> None:
    """Code that was put up for review."""
    with place.client() as node:
        found = list(node.items("/v1/reviews"))
    columns = (
        ("name", lambda r: r["name"]),
        ("author", lambda r: r["author"]["name"] or short(r["author"]["id"])),
        ("reviewed", lambda r: r["reviewed"]),
        ("allowed", lambda r: r["allowed"]),
        ("same code here", lambda r: r["here"]),
        ("id", lambda r: r["code_digest"]),
    )
    place.show(found, lambda: rows(found, columns, title="Code under review"))


def show(place: Place, id: Id) -> None:
    """One piece of code, by its digest, with its reviews."""
    with place.client() as node:
        found = node.get(f"/v1/reviews/{id}")
    head = {name: value for name, value in found.items() if name != "opinions"}
    head["author"] = found["author"]["name"] or found["author"]["id"]
    columns = (
        ("person", lambda o: o["person"]),
        ("member", lambda o: o["member"]["name"] or short(o["member"]["id"])),
        ("approves", lambda o: o["approves"]),
        ("counts", lambda o: o["counts"]),
        ("block", lambda o: o["at_block"]),
        ("SHA-256 of the report", lambda o: o["report"]),
    )

    def render() -> Group:
        return Group(
            facts(head, title=found["name"]), rows(found["opinions"], columns, title="Reviews")
        )

    place.show(found, render)


def put_up(
    place: Place,
    algorithm: Annotated[str, typer.Argument(help="By its name here, or by its code digest.")],
    name: Annotated[str | None, typer.Option(help="Needed with a digest.")] = None,
    wait: Wait = DEFAULT_WAIT,
) -> None:
    """Put code up for review, as its author."""
    body = {"algorithm": algorithm, "name": name}
    submit(place, "/v1/reviews", body, wait, "Put up for review")


def draft(
    place: Place,
    id: Id,
    person: Annotated[str, typer.Option(help="The account of the person who signs.")],
    report: Report,
    out: Annotated[Path, typer.Option(help="Where to write it.")],
    approves: Approves = True,
) -> None:
    """Write what the person is to sign. Records nothing."""
    with report.open("rb") as opened:
        digest = "0x" + hashlib.file_digest(opened, "sha256").hexdigest()
    query = {"person": person, "approves": str(approves).lower(), "report": digest}
    with place.client() as node:
        typed = node.get(f"/v1/reviews/{id}/typed-data", **query)
    asked = {"codeDigest": id.lower(), "person": person, "approves": approves, "report": digest}
    _require_as_asked(typed, asked)
    _write(place, out, {"review": typed}, "Wrote")


def sign(
    place: Place,
    file: ReviewFile,
    key: Key,
    out: Annotated[
        Path | None, typer.Option(help="Where to write it; default: into the same file.")
    ] = None,
) -> None:
    """Sign a review with a keystore. Needs no node and no chain."""
    from chain import typed_data

    found, account = _read(file), account_of(key)
    person = found["review"]["message"]["person"]
    if str(account.address).lower() != person.lower():
        raise Invalid(
            "InvalidRequest",
            "the review is another person's",
            found=str(account.address),
            allowed=person,
            hint="draft one with --person of the account that signs",
        )
    signed = {**found, "signature": typed_data.sign(found["review"], account)}
    _write(place, out or file, signed, "Signed")


def relay(place: Place, file: ReviewFile, wait: Wait = DEFAULT_WAIT) -> None:
    """Hand a signed review to a node, which sends it and pays for it. Any node will do."""
    found = _read(file)
    if not isinstance(found.get("signature"), str):
        raise Invalid(
            "InvalidRequest",
            f"{file} is not signed",
            hint=f"sign it with `fatechain review sign {file} --key KEYSTORE`",
        )
    message = found["review"]["message"]
    body = {name: message[name] for name in ("person", "approves", "report")}
    body["signature"] = found["signature"]
    path = f"/v1/reviews/{message['codeDigest']}/opinions"
    submit(place, path, body, wait, "Relayed")


def _read(file: Path) -> dict[str, Any]:
    """Raises `Invalid` for what is no review, or has another thing signed than it shows."""
    from chain.reviews import check_review

    try:
        if file.stat().st_size > MAX_FILE:
            raise ValueError("it is too large")
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        check_review(found["review"])
        _told(found)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Invalid(
            "InvalidRequest",
            f"{file} is no review",
            hint="write one with `fatechain review draft`",
        ) from error
    return found


def _require_as_asked(typed: Any, asked: dict[str, Any]) -> None:
    """The node may not be one's own.  Raises `Invalid` unless its review is the one asked for."""
    message = typed.get("message") if isinstance(typed, dict) else None
    for name, value in asked.items():
        found = message.get(name) if isinstance(message, dict) else None
        if found != value:
            raise Invalid(
                "InvalidRequest",
                f"the node made a review with another {name} than was asked for",
                found=found,
                allowed=value,
                hint="do not sign it; ask a node that you trust",
            )


def _write(place: Place, file: Path, found: dict[str, Any], done: str) -> None:
    write_private(file, (json.dumps(found, indent=2) + "\n").encode())
    told = _told(found)
    place.show(told, lambda: facts(told, title=f"{done} {file}"))


def _told(found: dict[str, Any]) -> dict[str, Any]:
    """What is signed: from the typed data itself, not from words beside it."""
    message, domain = found["review"]["message"], found["review"]["domain"]
    return {
        "code_digest": message["codeDigest"],
        "person": message["person"],
        "approves": message["approves"],
        "report": message["report"],
        "nonce": message["nonce"],
        "contract": domain["verifyingContract"],
        "chain_id": domain["chainId"],
        "signed": "signature" in found,
    }


# ── People ───────────────────────────────────────────────────────────────────────────────────


def people(place: Place) -> None:
    """Who speaks for which member."""
    with place.client() as node:
        found = node.get("/v1/appointments")
    columns = (
        ("member", lambda m: m["member"]["name"] or short(m["member"]["id"])),
        ("people", lambda m: ", ".join(m["people"]) or None),
        ("id", lambda m: m["member"]["id"]),
    )
    place.show(found, lambda: rows(found, columns, title="Who speaks for whom"))


def appoint(place: Place, person: Person, wait: Wait = DEFAULT_WAIT) -> None:
    """Let a person speak for this member: review code, and open the glass in an emergency."""
    submit(place, "/v1/appointments", {"person": person}, wait, f"{person} is appointed")


def dismiss(place: Place, person: Person, wait: Wait = DEFAULT_WAIT) -> None:
    """Let a person speak for this member no more; his or her approvals count no more."""
    submit(place, f"/v1/appointments/{person}/dismiss", {}, wait, f"{person} is dismissed")


# ── Attestations ─────────────────────────────────────────────────────────────────────────────


def list_attestations(
    place: Place,
    member: Annotated[str | None, typer.Option(help="By id or name; default: this site's.")] = None,
) -> None:
    """What is attested of a member, and what it lacks."""
    with place.client() as node:
        found = node.get("/v1/attestations", member=member)
    columns = (
        ("kind", lambda a: a["kind"]),
        ("holds", lambda a: a["holds"]),
        ("until", lambda a: at(a["until"])),
        ("issuer", lambda a: a["issuer"]),
        ("still named", lambda a: a["named"]),
        ("revoked at block", lambda a: a["revoked_at"] or None),
        ("SHA-256 of the statement", lambda a: a["digest"]),
    )
    name = found["member"]["name"] or found["member"]["id"]

    def render() -> Group:
        lacks = {"missing": ", ".join(found["missing"]) or "nothing"}
        return Group(
            rows(found["attestations"], columns, title=f"Attested of {name}"), facts(lacks)
        )

    place.show(found, render)


def list_kinds(place: Place) -> None:
    """What can be attested, by whom, and what every party of a job needs."""
    with place.client() as node:
        found = node.get("/v1/attestations/kinds")
    columns = (
        ("kind", lambda k: k["kind"]),
        ("required", lambda k: k["required"]),
        ("issuers", lambda k: ", ".join(k["issuers"]) or None),
    )
    place.show(found, lambda: rows(found, columns, title="Attestations"))


def give(
    place: Place,
    subject: Subject,
    kind: Kind,
    statement: Annotated[Path, typer.Option(help="The statement; its SHA-256 goes on the chain.")],
    days: Annotated[int, typer.Option(min=1, max=3660, help="How long it holds.")],
    key: Key,
    rpc: Rpc = DEFAULT_RPC,
    network: NetworkPath = DEFAULT_NETWORK,
) -> None:
    """As an issuer that the consortium named: attest something of a member. Needs no node."""
    issuer = open_authority(rpc, key, network)
    member = _member(issuer, subject)
    with statement.open("rb") as opened:
        digest = "0x" + hashlib.file_digest(opened, "sha256").hexdigest()
    until = issuer.client.head().timestamp + days * 86_400
    call = issuer.network.attestations.attest(member, kind, digest, until)
    issuer.client.simulate(call)  # a refusal is told with its reason, and costs nothing
    receipt = issuer.client.transact(call)
    made = {
        "member": member,
        "kind": kind,
        "issuer": issuer.client.address,
        "digest": digest,
        "until": until,
        "tx_hash": receipt.tx_hash,
    }
    place.show(made, lambda: facts({**made, "until": at(until)}, title="Attested"))


def revoke(
    place: Place,
    subject: Subject,
    kind: Kind,
    key: Key,
    rpc: Rpc = DEFAULT_RPC,
    network: NetworkPath = DEFAULT_NETWORK,
) -> None:
    """As the issuer: take an attestation back. Needs no node."""
    issuer = open_authority(rpc, key, network)
    member = _member(issuer, subject)
    call = issuer.network.attestations.revoke(member, kind)
    issuer.client.simulate(call)
    receipt = issuer.client.transact(call)
    made = {"member": member, "kind": kind, "tx_hash": receipt.tx_hash}
    place.show(made, lambda: facts(made, title="Revoked"))


def _member(issuer: Authority, subject: str) -> str:
    from chain.consents import ALL_MEMBERS
    from node.registration import member_id_of

    member = member_id_of(issuer.network, subject)
    if member == ALL_MEMBERS:
        raise Invalid("InvalidRequest", "an attestation is about one member", found=subject)
    return member
