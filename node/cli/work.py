"""`job`, `model`, `predict`: work with the data of others."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from node.cli.data import DEFAULT_WAIT, Id, Wait, submit
from node.cli.exporting import export_part, merge_parts
from node.cli.frame import Place, command, errors
from node.cli.tables import at, facts, rows, short
from node.errors import Failed, Invalid

job = typer.Typer(help="Jobs: propose, decide, watch.", no_args_is_help=True)
model = typer.Typer(help="Models of this site.", no_args_is_help=True)
predict = typer.Typer(help="Scores of rows by a model.", no_args_is_help=True)

LOOK_SECONDS = 1.0
ENDS = frozenset({"SUCCEEDED", "FAILED", "CANCELLED", "REJECTED", "EXPIRED", "REFUSED"})
Request = Annotated[
    Path | None,
    typer.Option("--file", help="The whole request as JSON, as POST /v1/jobs takes it."),
]
Partyish = Annotated[
    list[str] | None,
    typer.Option(
        "--party",
        help="ROLE:SITE[:DATASET[@VERSION][:GRANT]]; the first is this site as guest. Repeatable.",
    ),
]
Param = Annotated[list[str] | None, typer.Option("--param", help="NAME=JSON; repeatable.")]


def register(app: typer.Typer) -> None:
    for group, name in ((job, "job"), (model, "model"), (predict, "predict")):
        app.add_typer(group, name=name)
    command(job, "propose")(propose)
    command(job, "approve")(approve)
    command(job, "reject")(reject)
    command(job, "cancel")(cancel)
    command(job, "deliver")(deliver)
    command(job, "list")(list_jobs)
    command(job, "show")(show_job)
    command(job, "watch")(watch)
    command(job, "specification")(specification)
    command(job, "messages")(messages)
    command(job, "logs")(logs)
    command(job, "reconcile")(reconcile)
    command(job, "common")(show_common)
    command(job, "certificate")(certificate)
    command(model, "list")(list_models)
    command(model, "show")(show_model)
    command(model, "export")(export_part)
    command(model, "merge")(merge_parts)
    command(predict, "run")(run_prediction)
    command(predict, "list")(list_predictions)
    command(predict, "show")(show_prediction)


# ── Proposing and deciding ───────────────────────────────────────────────────────────────────


def propose(
    place: Place,
    file: Request = None,
    party: Partyish = None,
    kind: Annotated[str, typer.Option(help="train, match or count.")] = "train",
    algorithm: Annotated[str | None, typer.Option(help="Default: that of the kind.")] = None,
    param: Param = None,
    purpose: Annotated[str | None, typer.Option(help="Needed to match or count.")] = None,
    result: Annotated[str | None, typer.Option(help="Who learns it: all or guest.")] = None,
    duplicates: Annotated[str | None, typer.Option(help="Of ids: refuse or group.")] = None,
    matching: Annotated[str | None, typer.Option(help="auto, ecdh, kkrt or oprf.")] = None,
    label: Annotated[str | None, typer.Option(help="Default: the guest dataset's.")] = None,
    holdout: Annotated[str | None, typer.Option(help="The fraction kept out.")] = None,
    deadline: Annotated[int | None, typer.Option(min=60, help="Seconds.")] = None,
    wait: Wait = DEFAULT_WAIT,
) -> None:
    """Propose a training, or a matching or counting of rows, to the sites that hold the data."""
    body = _request(file, party, algorithm, param)
    if file is None:
        body["kind"] = kind
    given = {"label": label, "holdout": holdout, "deadline_seconds": deadline}
    given |= {"purpose": purpose, "result": result, "duplicates": duplicates, "matching": matching}
    body |= {name: value for name, value in given.items() if value is not None}
    submit(place, "/v1/jobs", body, wait, "Proposed")


def approve(place: Place, id: Id, wait: Wait = DEFAULT_WAIT) -> None:
    """Give this site's consent to a job."""
    submit(place, f"/v1/jobs/{id}/approve", {}, wait, "Approved")


def reject(
    place: Place,
    id: Id,
    reason: Annotated[str | None, typer.Option(help="A word that the chain keeps.")] = None,
    wait: Wait = DEFAULT_WAIT,
) -> None:
    """Decline a proposal for good."""
    submit(place, f"/v1/jobs/{id}/reject", {"reason": reason}, wait, "Rejected")


def cancel(
    place: Place,
    id: Id,
    reason: Annotated[str | None, typer.Option(help="A word that the chain keeps.")] = None,
    wait: Wait = DEFAULT_WAIT,
) -> None:
    """Withdraw from a job before its end."""
    submit(place, f"/v1/jobs/{id}/cancel", {"reason": reason}, wait, "Cancelled")


def show_common(
    place: Place,
    id: Id,
    limit: Annotated[int, typer.Option(min=1, max=200, help="At most so many rows.")] = 50,
) -> None:
    """What a job that only matches or counts found, as far as this site learns it."""
    with place.client() as node:
        found = node.get(f"/v1/jobs/{id}/common", limit=limit)
    columns = (("common", lambda r: r["common"]), ("id", lambda r: r["id"]))
    told = "not known here" if found["common"] is None else found["common"]
    place.show(found, lambda: rows(found["rows"], columns, title=f"Common ids: {told}"))


def deliver(
    place: Place,
    id: Id,
    file: Annotated[
        Path | None, typer.Option(help="Another file to send; its receivers check its digest.")
    ] = None,
) -> None:
    """Send the specification to the other parties again."""
    text = None if file is None else file.read_text(encoding="utf-8")
    with place.client(timeout_seconds=120) as node:
        sent = node.post(f"/v1/jobs/{id}/deliver", {"specification": text})
    place.show(sent, lambda: facts(sent["outcome"], title="Delivered"))


# ── Looking ──────────────────────────────────────────────────────────────────────────────────


def list_jobs(
    place: Place,
    state: Annotated[str | None, typer.Option(help="PROPOSED, RUNNING, SUCCEEDED …")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
) -> None:
    """Jobs of this site, newest first."""
    with place.client() as node:
        found = list(node.items("/v1/jobs", at_most=limit, state=state))
    _show_jobs(place, found, "Jobs")


def show_job(place: Place, id: Id) -> None:
    """One job: parties, tasks, result, evidence."""
    with place.client() as node:
        found = node.get(f"/v1/jobs/{id}")
    place.show(found, lambda: _job(found))


def watch(
    place: Place,
    id: Id,
    timeout: Annotated[float, typer.Option(min=1, help="Give up after these seconds.")] = 3600,
) -> None:
    """Follow a job to its end; exit code 1 unless it succeeded."""
    until = time.monotonic() + timeout
    with place.client() as node, _Bars(shown=not place.as_json) as bars:
        while True:
            found = node.get(f"/v1/jobs/{id}")
            bars.update(found)
            if found["state"] in ENDS and not _is_finishing(found):
                break
            if time.monotonic() > until:
                raise Failed(
                    "TimedOut",
                    f"the job is {found['state']} after {timeout:g} s",
                    found=found["state"],
                    hint="it goes on by itself; watch it again",
                )
            time.sleep(LOOK_SECONDS)
    place.show(found, lambda: _job(found))
    if found["state"] != "SUCCEEDED":
        raise typer.Exit(1)


def specification(
    place: Place,
    id: Id,
    out: Annotated[Path | None, typer.Option(help="A file; default: stdout.")] = None,
) -> None:
    """The canonical specification: the bytes whose digest is on the chain."""
    from chain import canonical

    with place.client() as node:
        found = node.get(f"/v1/jobs/{id}")["specification"]
    if found is None:
        raise Invalid("SpecificationMissing", "this site has not received the specification")
    content = canonical.dumps(found)
    if out is None:
        print(content.decode())
    else:
        out.write_bytes(content)
        place.show(
            {"file": str(out), "bytes": len(content)}, lambda: f"{out}: {len(content)} bytes"
        )


def messages(
    place: Place,
    id: Id,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 200,
) -> None:
    """Messages of a job as both ends have entered them."""
    with place.client() as node:
        found = list(node.items(f"/v1/jobs/{id}/messages", at_most=limit))
    columns = (
        ("step", lambda m: m["step"]),
        ("from", lambda m: m["sender"]["name"] or short(m["sender"]["id"])),
        ("to", lambda m: m["receiver"]["name"] or short(m["receiver"]["id"])),
        ("message", lambda m: f"{m['kind']} {m['n']}"),
        ("bytes", lambda m: f"{m['size']:,}"),
        ("sent", lambda m: short(m["sent"])),
        ("received", lambda m: short(m["received"])),
        ("agree", lambda m: m["agree"]),
    )
    place.show(found, lambda: rows(found, columns, title="Messages"))


def logs(
    place: Place,
    id: Id,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
    type: Annotated[str | None, typer.Option(help="Such as fatechain.task.")] = None,
) -> None:
    """What the audit log says of a job, newest first."""
    with place.client() as node:
        found = list(node.items(f"/v1/jobs/{id}/logs", at_most=limit, type=type))
    columns = (
        ("entry", lambda e: e["index"]),
        ("time", lambda e: e["time"]),
        ("type", lambda e: e["type"]),
        ("actor", lambda e: short(e["actor"])),
    )
    place.show(found, lambda: rows(found, columns, title="Log"))


def reconcile(
    place: Place,
    id: Id,
    again: Annotated[bool, typer.Option("--again", help="Ask all parties now.")] = False,
) -> None:
    """Whether the logs of all parties of a job agree, and what is missing in whose.

    Exits with 1 where they do not.
    """
    path = f"/v1/jobs/{id}/reconciliation"
    with place.client() as node:
        found = node.post(path, {}) if again else node.get(path)
    place.show(found, lambda: _reconciliation(found))
    if not found["agrees"]:
        raise typer.Exit(1)


def certificate(
    place: Place,
    id: Id,
    out: Annotated[Path | None, typer.Option(help="A file; default: stdout.")] = None,
) -> None:
    """The certificate of a job that succeeded, byte for byte."""
    with place.client() as node:
        content = node.download(f"/v1/jobs/{id}/certificate")
    if out is None:
        print(content.decode(), end="")
    else:
        out.write_bytes(content)
        saved = {"file": str(out), "bytes": len(content)}
        place.show(saved, lambda: f"{out}: check it with `fatechain verify {out} --rpc URL`")


# ── Models and predictions ───────────────────────────────────────────────────────────────────


def list_models(place: Place) -> None:
    """Models of which this site holds a part."""
    with place.client() as node:
        found = list(node.items("/v1/models"))
    columns = (
        ("model", lambda m: m["id"]),
        ("algorithm", lambda m: m["algorithm"]),
        ("role", lambda m: m["role"]),
        ("made", lambda m: at(m["created_at"])),
        ("job", lambda m: m["job_id"]),
    )
    place.show(found, lambda: rows(found, columns, title="Models"))


def show_model(place: Place, id: Id) -> None:
    """One model, by its id or by the job that made it."""
    with place.client() as node:
        found = node.get(f"/v1/models/{id}")
    place.show(found, lambda: facts(found, title="Model"))


def run_prediction(
    place: Place,
    model: Annotated[str, typer.Option(help="The model's id.")],
    file: Request = None,
    party: Partyish = None,
    algorithm: Annotated[str, typer.Option()] = "secureboost",
    wait: Wait = DEFAULT_WAIT,
) -> None:
    """Ask for scores of the rows that all parties have."""
    body = _request(file, party, algorithm, None) | {"model": model, "kind": "predict"}
    submit(place, "/v1/predictions", body, wait, "Asked for scores")


def list_predictions(place: Place) -> None:
    """Predictions of this site, newest first."""
    with place.client() as node:
        found = list(node.items("/v1/predictions"))
    _show_jobs(place, found, "Predictions")


def show_prediction(
    place: Place,
    id: Id,
    limit: Annotated[int, typer.Option(min=1, max=200, help="At most so many scores.")] = 50,
) -> None:
    """One prediction with its first scores."""
    with place.client() as node:
        found = node.get(f"/v1/predictions/{id}", limit=limit)
    columns = (("id", lambda s: s["id"]), ("score", lambda s: f"{s['score']:.4f}"))
    title = f"{found['job']['state']}: {found['rows'] or 0} rows"
    place.show(found, lambda: rows(found["scores"], columns, title=title))


# ── How they look ────────────────────────────────────────────────────────────────────────────


class _Bars:
    """A bar for each step of the newest attempt."""

    def __init__(self, *, shown: bool) -> None:
        columns = (
            TextColumn("{task.description:<10}"),
            BarColumn(),
            TextColumn("{task.fields[state]:<10} {task.fields[text]}"),
            TimeElapsedColumn(),
        )
        self._progress = Progress(*columns, console=errors, disable=not shown)
        self._bars: dict[tuple[str, int], TaskID] = {}

    def __enter__(self) -> _Bars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def update(self, found: dict[str, Any]) -> None:
        for task in found["tasks"]:
            key = (task["step"], task["attempt"])
            if key not in self._bars:
                self._bars[key] = self._progress.add_task(task["step"], state="", text="")
            ended = task["state"] == "SUCCEEDED"
            total = max(task["total"], 1)
            self._progress.update(
                self._bars[key],
                total=total,
                completed=total if ended else min(task["done"], total),
                state=task["state"],
                text=task["text"],
            )


def _is_finishing(found: dict[str, Any]) -> bool:
    """A training that succeeded is whole when this site, as its proposer, has its certificate."""
    return bool(found["state"] == "SUCCEEDED" and found["mine"] and not found["has_certificate"])


def _job(found: dict[str, Any]) -> Group:
    head = {
        "job": found["id"],
        "state": found["state"],
        "reason": found["reason"],
        "kind": found["kind"],
        "algorithm": found["algorithm"],
        "on the chain": (found["chain"] or {}).get("state", found["chain_problem"]),
        "proposed": at(found["created_at"]),
        "ended": at(found["ended_at"]),
        "messages": f"{found['messages_sent']} sent, {found['messages_received']} received",
        "metrics": (found["result"] or {}).get("metrics"),
        "model": found["model_id"],
        "certificate": found["has_certificate"],
    }
    parties = (
        ("party", lambda p: p["site"]["name"] or short(p["site"]["id"])),
        ("role", lambda p: p["role"]),
        ("approved in block", lambda p: p["approved_block"]),
        ("attested", lambda p: short(p["attested"])),
    )
    tasks = (
        ("step", lambda t: t["step"]),
        ("attempt", lambda t: t["attempt"]),
        ("state", lambda t: t["state"]),
        ("progress", lambda t: f"{t['done']}/{t['total']} {t['text']}"),
        ("error", lambda t: t["error"] and f"{t['error']['code']}: {t['error']['detail']}"),
    )
    shown = [facts(head), rows(found["parties"], parties), rows(found["tasks"], tasks)]
    if found["stops"]:
        stops = (
            ("stopped by", lambda s: s["site"]["name"] or short(s["site"]["id"])),
            ("why", lambda s: f"{s['reason']}: {s['detail']}" if s["detail"] else s["reason"]),
            ("block", lambda s: s["block"]),
            ("after", lambda s: s["seconds"] and f"{s['seconds']:.1f} s"),
            ("receipt", lambda s: "signed" if s["receipt"] else "to come"),
        )
        shown.append(rows(found["stops"], stops, title="Stops"))
    return Group(*shown)


def _reconciliation(found: dict[str, Any]) -> Group:
    told = {
        "the logs": "agree" if found["agrees"] else f"differ in {found['count']} lines",
        "done": at(found["at"]),
        "messages": found["messages"],
        "approvals": found["approvals"],
        "uses of grants": found["grant_uses"],
        "results": found["results"],
        "without a receipt": found["open"],
        "digest": found["digest"],
    }
    columns = (
        ("in the log of", lambda d: d["site"]["name"] or short(d["site"]["id"])),
        ("line", lambda d: d["line"]),
        ("is", lambda d: d["what"]),
        ("message", lambda d: f"{d['step']} {d['kind']} {'' if d['n'] is None else d['n']}"),
        ("detail", lambda d: d["detail"]),
    )
    shown = [facts(told)]
    if found["differences"]:
        shown.append(rows(found["differences"], columns, title="Differences"))
    return Group(*shown)


def _show_jobs(place: Place, found: list[Any], title: str) -> None:
    columns = (
        ("state", lambda j: j["state"]),
        ("kind", lambda j: j["kind"]),
        ("proposer", lambda j: j["proposer"]["name"] or short(j["proposer"]["id"])),
        ("parties", lambda j: ", ".join(p["site"]["name"] or "?" for p in j["parties"])),
        ("proposed", lambda j: at(j["created_at"])),
        ("reason", lambda j: j["reason"]),
        ("id", lambda j: j["id"]),
    )
    place.show(found, lambda: rows(found, columns, title=title))


# ── What a request is made of ────────────────────────────────────────────────────────────────


def _request(
    file: Path | None, parties: list[str] | None, algorithm: str | None, params: list[str] | None
) -> dict[str, Any]:
    """From a file, or from options."""
    if (file is None) == (not parties):
        raise Invalid("InvalidRequest", "give the request as --file or as --party options")
    if file is not None:
        try:
            body = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise Invalid("InvalidRequest", f"{file} is not JSON: {error}") from error
        if not isinstance(body, dict):
            raise Invalid("InvalidRequest", f"{file} holds no JSON object")
        return body
    named = {} if algorithm is None else {"algorithm": algorithm}
    return named | {
        "params": dict(map(_param, params or [])),
        "parties": [_party(text) for text in parties or []],
    }


def _party(text: str) -> dict[str, Any]:
    role, *rest = text.split(":")
    if not 1 <= len(rest) <= 3:
        raise _not_a_party(text)
    site, *rest = rest
    inputs: list[dict[str, Any]] = []
    if rest:
        dataset, _, version = rest[0].partition("@")
        if version and not version.isdigit():
            raise _not_a_party(text)
        grant = rest[1] if len(rest) == 2 else None
        inputs = [{"dataset": dataset, "version": int(version or 1), "grant": grant}]
    return {"site": site, "role": role, "inputs": inputs}


def _not_a_party(text: str) -> Invalid:
    return Invalid(
        "InvalidRequest",
        "a party is ROLE:SITE[:DATASET[@VERSION][:GRANT]]",
        found=text,
        allowed="host:0x…:0x…@1:0x…",
    )


def _param(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
