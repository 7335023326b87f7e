"""`proposal`, `ballot`: what the members are asked, and what a delegate says to it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group
from rich.markup import escape

from node.cli.data import DEFAULT_WAIT, Id, Wait, submit
from node.cli.frame import Place, command
from node.cli.signer import Key, account_of
from node.cli.tables import at, facts, rows, short
from node.errors import Invalid
from node.files import write_private

if TYPE_CHECKING:
    from rich.console import RenderableType

proposal = typer.Typer(help="Proposals to the members, and their votes.", no_args_is_help=True)
ballot = typer.Typer(help="Votes that are signed elsewhere.", no_args_is_help=True)

Kind = Annotated[str, typer.Argument(help="See `fatechain proposal kinds`.")]
Param = Annotated[
    list[str] | None,
    typer.Option(help="NAME=VALUE; repeatable. A list or an object is written as JSON."),
]
Title = Annotated[str, typer.Option(help="One line.")]
Body = Annotated[str, typer.Option(help="Why; Markdown. @FILE reads a file.")]
Support = Annotated[str, typer.Argument(help="for, against or abstain.")]
Reason = Annotated[str, typer.Option(help="Stands on the chain, for everybody and for ever.")]
BallotFile = Annotated[Path, typer.Argument(help="The file that `ballot make` or `sign` wrote.")]

MAX_FILE = 1 << 20  # bytes
LOOK_SECONDS = 0.5


def register(app: typer.Typer) -> None:
    app.add_typer(proposal, name="proposal")
    app.add_typer(ballot, name="ballot")
    command(proposal, "kinds")(list_kinds)
    command(proposal, "preview")(preview)
    command(proposal, "create")(create)
    command(proposal, "list")(list_proposals)
    command(proposal, "show")(show)
    command(proposal, "vote")(vote)
    command(proposal, "withdraw")(withdraw)
    command(proposal, "queue")(queue)
    command(proposal, "execute")(execute)
    command(ballot, "make")(make_ballot)
    command(ballot, "sign")(sign_ballot)
    command(ballot, "relay")(relay_ballot)


# ── Proposals ────────────────────────────────────────────────────────────────────────────────


def list_kinds(
    place: Place,
    kind: Annotated[str | None, typer.Argument(help="Only this one, with its parameters.")] = None,
) -> None:
    """What can be proposed, and with which parameters."""
    with place.client() as node:
        found = node.get("/v1/proposals/kinds")
    if kind is None:
        columns = (
            ("kind", lambda k: k["kind"]),
            ("parameters", lambda k: ", ".join(k["parameters"]["properties"]) or "none"),
            ("does", lambda k: k["text"]),
        )
        place.show(found, lambda: rows(found, columns, title="What can be proposed"))
        return
    one = next((k for k in found if k["kind"] == kind), None)
    if one is None:
        raise Invalid(
            "InvalidRequest",
            "there is no such kind of proposal",
            found=kind,
            allowed=[k["kind"] for k in found],
        )
    needed = set(one["parameters"].get("required", ()))
    params = [(name, it) for name, it in one["parameters"]["properties"].items()]
    fields = (
        ("parameter", lambda p: p[0]),
        ("needed", lambda p: "yes" if p[0] in needed else "no"),
        ("is", lambda p: p[1].get("description", "")),
    )
    place.show(one, lambda: rows(params, fields, title=f"{kind}: {one['text']}"))


def preview(
    place: Place,
    kind: Kind,
    param: Param = None,
    title: Title = "A preview",
    body: Body = "",
) -> None:
    """What a proposal would do if it were executed now. Nothing is proposed."""
    with place.client(timeout_seconds=120) as node:
        found = node.post("/v1/proposals/preview", _asked(kind, param, title, body))

    place.show(found, lambda: Group(_acts(found["actions"]), *_effect(found["effect"])))


def create(
    place: Place,
    kind: Kind,
    title: Title,
    param: Param = None,
    body: Body = "",
    force: Annotated[
        bool, typer.Option("--force", help="Although it would fail if executed now.")
    ] = False,
    wait: Wait = DEFAULT_WAIT,
) -> None:
    """Put a proposal to the members."""
    asked = {**_asked(kind, param, title, body), "force": force}
    submit(place, "/v1/proposals", asked, wait, f"Proposed: {title}")


def list_proposals(
    place: Place,
    state: Annotated[
        str | None, typer.Option(help="OPEN, PENDING, ACTIVE, QUEUED, EXECUTED, DEFEATED …")
    ] = None,
) -> None:
    """Proposals, newest first."""
    with place.client() as node:
        found = list(node.items("/v1/proposals", state=state))
    columns = (
        ("proposal", lambda p: p["title"]),
        ("kind", lambda p: p["kind"]),
        ("by", _by),
        ("state", lambda p: p["state"]),
        ("votes", lambda p: _counts(p["tally"])),
        ("next", lambda p: _next(p["countdown"])),
        ("voted", lambda p: p["voted"]),
        ("id", lambda p: p["id"]),
    )
    place.show(found, lambda: rows(found, columns, title="Proposals"))


def show(place: Place, id: Id) -> None:
    """One proposal: what it would do, who voted what and why, and how far it is."""
    with place.client(timeout_seconds=120) as node:
        found = node.get(f"/v1/proposals/{id}")
    place.show(found, lambda: _whole(found))


def vote(
    place: Place, id: Id, support: Support, reason: Reason = "", wait: Wait = DEFAULT_WAIT
) -> None:
    """Vote with this site's account; a vote that begins soon is waited for."""
    _await_beginning(place, id, wait)
    body = {"support": support, "reason": reason}
    submit(place, f"/v1/proposals/{id}/votes", body, wait, f"Voted: {support}")
    if found := _listed(place, id, "ACTIVE"):
        place.say(
            f"So far {_counts(found['tally'])}; quorum {_quorum(found['tally'])}; "
            f"{_next(found['countdown'])}. What passes is executed by the nodes themselves."
        )


def _await_beginning(place: Place, id: str, wait: float) -> None:
    """Until the vote has begun, if that is within the time to wait; else the node refuses it."""
    end = time.monotonic() + wait
    told = False
    while found := _listed(place, id, "PENDING"):
        begins = found["countdown"]
        if begins is None or time.monotonic() + begins["about_seconds"] > end:
            return
        if not told:
            place.say(f"{found['title']}: {_next(begins)}; waiting …")
            told = True
        time.sleep(LOOK_SECONDS)


def _listed(place: Place, id: str, state: str) -> dict[str, Any] | None:
    """A proposal in this state, without trying out what it would do."""
    with place.client() as node:
        return next((p for p in node.items("/v1/proposals", state=state) if p["id"] == id), None)


def withdraw(place: Place, id: Id, wait: Wait = DEFAULT_WAIT) -> None:
    """Withdraw a proposal of this site before its vote is over."""
    submit(place, f"/v1/proposals/{id}/withdraw", {}, wait, "Withdrawn")


def queue(place: Place, id: Id, wait: Wait = DEFAULT_WAIT) -> None:
    """Queue what has passed, where no node does it by itself."""
    submit(place, f"/v1/proposals/{id}/queue", {}, wait, "Queued")


def execute(place: Place, id: Id, wait: Wait = DEFAULT_WAIT) -> None:
    """Execute what has waited in the timelock, where no node does it by itself."""
    submit(place, f"/v1/proposals/{id}/execute", {}, wait, "Executed")


# ── Ballots ──────────────────────────────────────────────────────────────────────────────────


def make_ballot(
    place: Place,
    id: Id,
    support: Support,
    voter: Annotated[str, typer.Option(help="The account that will sign.")],
    out: Annotated[Path, typer.Option(help="Where to write it.")],
    reason: Reason = "",
) -> None:
    """Write a vote to be signed elsewhere, with a key that no node has."""
    with place.client() as node:
        typed = node.get(f"/v1/proposals/{id}/ballot", voter=voter, support=support, reason=reason)
    made = {"ballot": typed}
    _require_as_asked(
        made, proposal=id.lower(), support=support, voter=voter.lower(), reason=reason
    )
    write_private(out, (json.dumps(made, indent=2) + "\n").encode())
    place.show(_ballot_facts(made), lambda: facts(_ballot_facts(made), title=f"Wrote {out}"))


def sign_ballot(
    place: Place,
    file: BallotFile,
    key: Key,
    out: Annotated[
        Path | None, typer.Option(help="Where to write it; default: into the same file.")
    ] = None,
) -> None:
    """Sign a ballot with a keystore. Needs no node and no chain."""
    from chain.governor import sign_ballot

    found = _read_ballot(file)
    account, voter = account_of(key), found["ballot"]["message"]["voter"]
    if account.address.lower() != voter.lower():
        raise Invalid(
            "InvalidRequest",
            "the ballot is another account's",
            found=account.address,
            allowed=voter,
            hint="make a ballot with --voter of the account that signs",
        )
    signed = {**found, "signature": sign_ballot(account, found["ballot"])}
    target = out or file
    write_private(target, (json.dumps(signed, indent=2) + "\n").encode())
    place.show(
        _ballot_facts(signed), lambda: facts(_ballot_facts(signed), title=f"Signed {target}")
    )


def relay_ballot(place: Place, file: BallotFile, wait: Wait = DEFAULT_WAIT) -> None:
    """Hand a signed ballot to a node, which sends it and pays for it. Any node will do."""
    found = _read_ballot(file)
    if "signature" not in found:
        raise Invalid(
            "InvalidRequest",
            f"{file} is not signed",
            hint=f"sign it with `fatechain ballot sign {file} --key KEYSTORE`",
        )
    told = _ballot_facts(found)
    body = {name: told[name] for name in ("voter", "support", "reason")}
    body["signature"] = found["signature"]
    path = f"/v1/proposals/{told['proposal']}/ballots"
    submit(place, path, body, wait, f"Relayed: {told['support']}")


def _read_ballot(file: Path) -> dict[str, Any]:
    """Raises `Invalid` for a file that is no ballot, or has another thing signed than it shows."""
    from chain.governor import check_ballot

    try:
        if file.stat().st_size > MAX_FILE:
            raise ValueError("it is too large")
        found = json.loads(file.read_text(encoding="utf-8"))
        check_ballot(found["ballot"])
        _ballot_facts(found)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise Invalid(
            "InvalidRequest",
            f"{file} is no ballot",
            hint="write one with `fatechain ballot make`",
        ) from error
    ballot: dict[str, Any] = found
    return ballot


def _require_as_asked(made: dict[str, Any], **asked: str) -> None:
    """The node may not be one's own.  Raises `Invalid` unless its ballot is the one asked for."""
    from chain.governor import check_ballot

    found: dict[str, Any] = {}
    try:
        check_ballot(made["ballot"])
        found = _ballot_facts(made)
        found["voter"] = found["voter"].lower()
    except (ValueError, KeyError, TypeError, IndexError):
        pass  # nothing of what was asked is found in it
    for name, value in asked.items():
        if found.get(name) != value:
            raise Invalid(
                "InvalidRequest",
                f"the node made a ballot with another {name} than was asked for",
                found=found.get(name),
                allowed=value,
                hint="do not sign it; ask a node that you trust",
            )


def _ballot_facts(found: dict[str, Any]) -> dict[str, Any]:
    """What is being signed, for the one who signs."""
    from chain.governor import SUPPORT_NAMES, proposal_id_text

    typed = found["ballot"]
    message, domain = typed["message"], typed["domain"]
    return {
        "proposal": proposal_id_text(int(message["proposalId"])),
        "support": SUPPORT_NAMES[message["support"]],
        "reason": message["reason"],
        "voter": message["voter"],
        "nonce": message["nonce"],
        "governor": domain["verifyingContract"],
        "chain_id": domain["chainId"],
        "signed": "signature" in found,
    }


# ── Words ────────────────────────────────────────────────────────────────────────────────────


def _asked(kind: str, given: list[str] | None, title: str, body: str) -> dict[str, Any]:
    params: dict[str, Any] = {}
    for text in given or []:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise Invalid("InvalidRequest", "--param takes NAME=VALUE", found=text)
        params[name] = _value(value)
    if body.startswith("@"):
        body = Path(body[1:]).read_text(encoding="utf-8").strip()
    return {"kind": kind, "params": params, "title": title, "body": body}


def _value(text: str) -> Any:
    """Lists and objects are JSON; everything else the node reads as its parameter needs it."""
    if not text.startswith(("[", "{")):
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        raise Invalid("InvalidRequest", f"{text[:60]} is no JSON") from error


def _whole(found: dict[str, Any]) -> Group:
    head = {
        "state": found["state"],
        "kind": found["kind"],
        "proposed by": _by(found),
        "votes": _counts(found["tally"]),
        "quorum": _quorum(found["tally"]),
        "next": _next(found["countdown"]) or _after(found),
        "this node voted": found["voted"],
        "id": found["id"],
    }
    warnings = [
        f"[bold red]WARNING {escape(w['code'])}[/] {escape(w['text'])}" for w in found["warnings"]
    ]
    check = found["executed_check"] or found["effect_check"]
    parts: list[RenderableType] = [facts(head, title=found["title"])]
    if found["body"]:
        parts.append(f"\n{escape(found['body'])}\n")
    parts += [*warnings, _acts(found["actions"]), *_effect(found["effect"])]
    parts.append(f"[bold]{check['verdict']}[/]: {escape(check['text'])}")
    if found["problem"]:
        parts.append(f"[red]stands still:[/] {escape(found['problem']['detail'])}")
    if found["votes"]:
        parts.append(rows(found["votes"], _VOTES, title="Votes"))
    parts.append(rows(found["timeline"], _TIMELINE, title="Timeline"))
    refusal = found["can"]["vote_refusal"]
    if found["can"]["vote"]:
        parts.append(f"vote: [green]fatechain proposal vote {found['id']} for --reason …[/]")
    elif refusal is not None and not found["voted"] and found["state"] in ("PENDING", "ACTIVE"):
        parts.append(f"this node cannot vote: {escape(refusal['detail'])}")
    return Group(*parts)


_VOTES = (
    ("member", lambda v: v["member"]["name"] if v["member"] else short(v["voter"])),
    ("vote", lambda v: v["support"]),
    ("reason", lambda v: v["reason"] or None),
    ("block", lambda v: v["block"]),
    ("at", lambda v: at(v["time"])),
)
_TIMELINE = (
    ("what", lambda m: m["what"]),
    ("block", lambda m: m["block"]),
    ("at", lambda m: f"about {at(m['time'])}" if m["expected"] and m["block"] else at(m["time"])),
)


def _acts(actions: list[dict[str, Any]]) -> RenderableType:
    lines = [
        f"  {number}. {escape(action['text'])}"
        if action["known"]
        else f"  {number}. [bold red]{escape(action['text'])}[/]"
        for number, action in enumerate(actions, 1)
    ]
    return "\n".join(["What it does", *lines])


def _effect(effect: dict[str, Any] | None) -> list[RenderableType]:
    """What would change; what does not change has no table."""
    if effect is None:
        return []
    shown: list[RenderableType] = [
        rows(effect[name], columns, title=title)
        for name, columns, title in _EFFECTS
        if effect[name]
    ]
    if effect["refused"]:
        shown.append(f"[bold red]would fail:[/] {escape(effect['refused'])}")
    elif not shown:
        shown.append("It would change nothing that is looked at; its events tell what it does.")
    return shown


def _member(facts: dict[str, str] | None) -> str:
    return "no member" if facts is None else f"{facts['name']}, {facts['standing']}"


_EFFECTS = (
    (
        "members",
        (
            ("before", lambda m: _member(m["before"])),
            ("after", lambda m: _member(m["after"])),
            ("account", lambda m: (m["after"] or m["before"])["account"]),
        ),
        "Members",
    ),
    (
        "parameters",
        (
            ("what", lambda p: p["what"]),
            ("before", lambda p: p["before"]),
            ("after", lambda p: p["after"]),
        ),
        "Rules",
    ),
    (
        "contracts",
        (
            ("contract", lambda c: c["name"]),
            ("from", lambda c: c["old"]),
            ("to", lambda c: c["new"]),
            ("known as", lambda c: c["known_as"] or "UNKNOWN"),
            ("keeps its storage", lambda c: c["why"]),
        ),
        "Code",
    ),
    (
        "grants",
        (
            ("grant", lambda g: short(g["grant"])),
            ("purpose", lambda g: g["purpose"]),
            ("before", lambda g: g["before"] or "usable"),
            ("after", lambda g: g["after"] or "usable"),
        ),
        "Grants",
    ),
    (
        "jobs",
        (
            ("job", lambda j: j["job"]),
            ("before", lambda j: j["before"] or "may run"),
            ("after", lambda j: j["after"] or "may run"),
        ),
        "Jobs",
    ),
)


def _by(found: dict[str, Any]) -> str | None:
    member = found["member"]
    return member["name"] if member else short(found["proposer"])


def _counts(tally: dict[str, Any]) -> str:
    return f"{tally['for']} for, {tally['against']} against, {tally['abstain']} abstain"


def _quorum(tally: dict[str, Any]) -> str:
    if tally["quorum"] is None:
        return "counted when the vote begins"
    if tally["quorum_reached"]:
        return f"{tally['quorum']}, reached"
    return f"{tally['quorum']}, {tally['missing']} missing"


def _after(found: dict[str, Any]) -> str | None:
    """Why nothing came of a proposal, and what can be done."""
    if found["state"] not in ("DEFEATED", "EXPIRED"):
        return None
    tally = found["tally"]
    why = "it was not executed in time"
    if found["state"] == "DEFEATED":
        missed = f"the quorum was missed by {tally['missing']}"
        why = "no majority was for it" if tally["quorum_reached"] else missed
    again = "fatechain sponsor" if found["kind"] == "admit" else "another title or text"
    return f"nothing: {why}; propose it again ({again})"


def _next(countdown: dict[str, Any] | None) -> str | None:
    if countdown is None:
        return None
    seconds = f"about {countdown['about_seconds']} s"
    if countdown["blocks"] is None:
        return f"{countdown['what']} in {seconds}"
    return f"{countdown['what']} in {countdown['blocks']} blocks, {seconds}"
