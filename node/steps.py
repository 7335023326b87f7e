"""The steps of a job at one party: files in, a conversation, files out.

    train     psi → train → evaluate → result
    predict   psi → predict → result
    match     psi → result
    count     count → result

Each step reads what the steps before left in the job's folder, and hands back its files and what
to record in the transaction that ends the task.  `ml` does the talking; data, models and budgets
are this site's affair.
"""

from __future__ import annotations

import csv
import hashlib
import inspect
import io
import json
import re
import secrets
import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rfc8785
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from chain.reconciliation import Declaration, declared_at_start
from chain.reconciliation import result as declaration_of
from ml import algorithm as catalogue
from ml.federation import ARBITER, GUEST, HOST, Channel, Message, Party, Role
from ml.protocols import psi
from ml.table import Schema, Table, read_csv, split_by_id
from node import matching
from node.audit.entries import record
from node.budget import ProductBudget, RunsBudget
from node.chain_tx import want
from node.columns import Limits, limited
from node.double_entry import declare
from node.errors import Failed, Refused
from node.files import make_private, write_private
from node.kept import KEPT
from node.privacy import released, require_rows
from node.refusals import chain_errors
from node.restarts import FolderKeeper
from node.specification import Input, PartyPlan, Specification, digest_of
from node.store import LocalDataset, LocalJob, LocalModel, Metric

if TYPE_CHECKING:
    from node.site import Site

SALT_BYTES = 32
MAX_METRICS = 64 * 1024  # bytes: a handful of numbers, which all parties keep and attest
DIGEST = re.compile(r"0x[0-9a-f]{64}")
MADE_BY = {"train": "train", "predict": "predict", "match": "psi", "count": "count"}  # the part
NO_ROWS = np.empty(0, np.int64)
NO_TABLE = Table(Schema((), ()), (), np.empty((0, 0)))  # what an arbiter brings
DECIMALS = 6  # of metrics: what is agreed on must not hang on the last bit of a float


class PartDigest(Message, sender=tuple(Role), to=tuple(Role)):
    """The receiver learns a salted digest of the sender's part of the result, and no part of it."""

    digest: str


class Metrics(Message, sender=GUEST, to=(HOST, ARBITER)):
    """The receiver learns how good the model is on the held-out rows, and how many these are."""

    canonical: bytes  # RFC 8785


@dataclass(frozen=True)
class Output:
    """Files of a step by name, and what to record together with its success."""

    files: Mapping[str, bytes]
    settle: Callable[[Session], None] | None = None


@dataclass(frozen=True)
class Step:
    """One party's part of one step, with all that its program may use."""

    site: Site
    job_id: str
    name: str
    attempt: int
    specification: Specification
    me: Party
    channel: Channel

    @property
    def plan(self) -> PartyPlan:
        plan = self.specification.party(self.me.site)
        assert plan is not None
        return plan

    @property
    def input(self) -> Input:
        """The one dataset that this party brings."""
        return self.plan.inputs[0]

    @property
    def algorithm(self) -> catalogue.Algorithm:
        return catalogue.get(self.specification.algorithm)

    @property
    def params(self) -> Any:
        return self.algorithm.params.model_validate(self.specification.params)

    def folder(self, step: str | None = None) -> Path:
        return folder_of(self.site.settings.jobs, self.job_id, self.attempt, step or self.name)

    def read(self, step: str, file: str) -> bytes:
        """A file that an earlier step left."""
        return (self.folder(step) / file).read_bytes()

    def write(self, files: Mapping[str, bytes]) -> str:
        """Put the files where later steps look; the digest over all of them."""
        folder = make_private(self.folder())
        for name, content in files.items():
            write_private(folder / name, content)
        return files_digest(files)

    def forget(self) -> None:
        """Take away what was kept for an interruption of this step: it succeeded."""
        shutil.rmtree(self.folder() / KEPT, ignore_errors=True)


def folder_of(jobs: Path, job_id: str, attempt: int, step: str) -> Path:
    """Where a step leaves its files."""
    return jobs / job_id / str(attempt) / step


def files_digest(files: Mapping[str, bytes]) -> str:
    """0x-hex SHA-256 of the canonical object name → digest of the file."""
    return digest_of(rfc8785.dumps({name: digest_of(body) for name, body in files.items()}))


# ── The programs ─────────────────────────────────────────────────────────────────────────────


async def align(step: Step) -> Output:
    """psi: which of this party's rows all parties have, in the common order.

    First of all each party tells what it approved, and under which grants its data is used.
    """
    await declare(step.channel, _agreed(step))
    if step.me.role == ARBITER:  # has no rows, and nobody tells it which they are
        return Output({"rows.npy": _array_bytes(NO_ROWS)})
    params = _matching(step)
    if step.specification.kind == "match":
        return Output(await matching.match(step.channel, params, *local_keys(step)))
    # By other columns than the ids, or by the ids of the table.
    own = local_keys(step)[0] if _key_columns(step) else local_table(step)
    require_rows(len(own), step.site.settings.privacy_min_rows, "the dataset")
    program = {GUEST: psi.guest, HOST: psi.host}[step.me.role]
    rows = await program(step.channel, params, own)
    return Output({"rows.npy": _array_bytes(rows)})


async def count(step: Step) -> Output:
    """count: how many ids are common, and not which; what was approved is declared first."""
    await declare(step.channel, _agreed(step))
    return Output(await matching.count(step.channel, _matching(step), local_keys(step)[0]))


def _matching(step: Step) -> psi.Params:
    return matching.terms(step.specification, step.site.settings.privacy_min_rows)


def _agreed(step: Step) -> list[Declaration]:
    with chain_errors():
        return declared_at_start(step.site.network(), step.job_id)


async def train(step: Step) -> Output:
    """Fit on the aligned rows that are not held out; keep this party's part of the model."""
    table, (training, _) = _aligned(step)
    program = step.algorithm.fit[step.me.role]
    # Arithmetic in other processes stops with the group; the budget outlives job and process.
    keeper = FolderKeeper(step.folder() / KEPT)
    workers = step.site.settings.workers
    budget = _budget(step)
    offers = {
        "budget": _over_runs(step, None if budget is None else budget.charge),
        "share": None if budget is None else budget.charge_share,
        "workers": workers,
        "keeper": keeper,
    }
    accepted = inspect.signature(program).parameters
    options = {name: value for name, value in offers.items() if name in accepted}
    part = await program(step.channel, step.params, table.take(training), **options)
    body, salt = step.algorithm.dump_model(part), secrets.token_bytes(SALT_BYTES)
    digest = salted_digest(salt, body)

    def settle(session: Session) -> None:
        path = step.folder() / "part.bin"
        session.merge(
            LocalModel(
                job_id=step.job_id,
                algorithm=step.specification.algorithm,
                role=str(step.me.role),
                part_digest=digest,
                path=str(path.relative_to(step.site.settings.home)),
            )
        )
        session.add_all(_curves(step, part))

    return Output({"part.bin": body, "salt": salt}, settle)


async def evaluate(step: Step) -> Output:
    """Score the held-out rows together; the guest also measures what it could have done alone."""
    table, (training, held_out) = _aligned(step)
    # An arbiter cannot see whether any rows were held out, only that some were to be.
    if not len(held_out) and not (
        ARBITER in step.algorithm.roles and step.specification.holdout_fraction
    ):
        return Output({"metrics.json": rfc8785.dumps({})})
    part = step.algorithm.load_model(step.me.role, step.read("train", "part.bin"))
    test = table.take(held_out)
    program = step.algorithm.predict[step.me.role]
    scores = await program(step.channel, step.params, part, test)
    if step.me.role != GUEST:
        return Output({"metrics.json": rfc8785.dumps({})})
    alone, measure = _alone(step, table.take(training), test), step.algorithm.measure
    measured = {
        "joint": _rounded(measure(step.params, test, scores)),
        "alone": None if alone is None else _rounded(measure(step.params, test, alone)),
        "rows": {"common": len(table), "training": len(training), "heldOut": len(held_out)},
    }
    return Output(
        {"metrics.json": rfc8785.dumps(measured), "scores.csv": _scores_csv(test, scores)}
    )


async def predict(step: Step) -> Output:
    """Score the aligned rows with a model that was trained before; the guest keeps the scores."""
    table, _ = _aligned(step)
    body, role = _model_part(step)
    part = step.algorithm.load_model(role, body)
    program = step.algorithm.predict[step.me.role]
    scores = await program(step.channel, step.params, part, table)
    salt = secrets.token_bytes(SALT_BYTES)
    if step.me.role != GUEST:
        return Output({"part.bin": _array_bytes(np.arange(len(table))), "salt": salt})
    content = _scores_csv(table, scores)

    def settle(session: Session) -> None:
        data = {"model": step.specification.model, "rows": len(table)}
        record(session, "prediction.made", step.job_id, data, "worker")

    return Output({"part.bin": content, "predictions.csv": content, "salt": salt}, settle)


async def conclude(step: Step) -> Output:
    """result: exchange salted digests and metrics, and attest the result that all arrive at.

    Each tells the others which it is before it attests.
    """
    made_by = MADE_BY[step.specification.kind]
    mine = salted_digest(step.read(made_by, "salt"), step.read(made_by, "part.bin"))
    metrics = await _agreed_metrics(step)
    await step.channel.send(PartDigest(mine))
    parts = {step.me.site: mine}
    for party, said in (await step.channel.receive_all(PartDigest)).items():
        if not DIGEST.fullmatch(said.digest):
            raise Failed("ProtocolViolation", f"what {party.site} names its part by is no digest")
        parts[party.site] = said.digest
    result = result_document(step.job_id, step.attempt, parts, metrics)
    digest = digest_of(rfc8785.dumps(result))
    sites = [party.site for party in step.channel.parties]
    arrived = [declaration_of(step.job_id, site, step.attempt, digest) for site in sites]
    await declare(step.channel, arrived)
    with chain_errors():
        call = step.site.network().jobs.attest(step.job_id, step.me.site, digest)

    def settle(session: Session) -> None:
        job = session.get_one(LocalJob, step.job_id)
        job.result = {"digest": digest, **result}
        want(session, f"job:{step.job_id}:attest:{step.attempt}", call)
        data = {"result": digest, "attempt": step.attempt}
        record(session, "result.attested", step.job_id, data, "worker")

    return Output({"result.json": rfc8785.dumps(result)}, settle)


PROGRAMS: Mapping[str, Callable[[Step], Awaitable[Output]]] = {
    "psi": align,
    "count": count,
    "train": train,
    "evaluate": evaluate,
    "predict": predict,
    "result": conclude,
}


def result_document(
    job_id: str, attempt: int, parts: Mapping[str, str], metrics: Mapping[str, Any]
) -> dict[str, Any]:
    """What the parties attest, before its digest is taken."""
    return {
        "job": job_id,
        "attempt": attempt,
        "parts": [{"site": site, "digest": parts[site]} for site in sorted(parts)],
        "metrics": dict(metrics),
    }


def salted_digest(salt: bytes, body: bytes) -> str:
    """Names a part without telling it: a part that can be guessed cannot be recognised."""
    return "0x" + hashlib.sha256(salt + body).hexdigest()


# ── Rows ─────────────────────────────────────────────────────────────────────────────────────


def local_table(step: Step) -> Table:
    """The rows that this party brings, as registered.

    Raises `Refused` (``DatasetMismatch``) if the file is not the one that was committed to.
    """
    row, path = _registered(step)
    trains = step.me.role == GUEST and step.specification.kind == "train"
    if trains and step.specification.label != row.label_column:
        raise Refused(
            "DatasetMismatch",
            "the job names another label column than the dataset was registered with",
            found=step.specification.label,
            allowed=row.label_column,
        )
    table = read_csv(path, id=row.id_column, label=row.label_column)
    if table.schema.digest != row.schema_digest:
        raise _changed(f"{row.id} version {row.version}")
    return limited(table, _limits(step), step.specification.algorithm)


def local_keys(step: Step) -> tuple[psi.Keys, list[str]]:
    """What this party's rows are matched by, and their ids; no other column is kept.

    Raises as `local_table`, and `Refused` for fewer rows than this site brings or a column that
    may not be matched by.
    """
    row, path = _registered(step)
    columns, limits = _key_columns(step), _limits(step)
    for column in columns or (row.id_column,):
        if not limits.allows(column, "join"):
            raise Refused(
                "ColumnNotAllowed",
                f"the job matches by column {column}; allowed is: {limits.told(column)}",
                found=column,
                allowed=limits.told(column),
            )
    keys, ids = matching.keys(path, row.id_column, columns)
    require_rows(len(keys), step.site.settings.privacy_min_rows, "the dataset")
    return keys, ids


def _key_columns(step: Step) -> tuple[str, ...]:
    return step.specification.columns_of(step.me.site)


def _registered(step: Step) -> tuple[LocalDataset, Path]:
    """The dataset version that this party brings, and its file, unchanged."""
    entry = step.input
    with step.site.store.read() as session:
        row = session.get(LocalDataset, (entry.dataset, entry.version))
    name = f"{entry.dataset} version {entry.version}"
    if row is None:
        raise Refused("DatasetUnknown", f"dataset {name} does not lie here", found=name)
    path = Path(row.path)
    if not path.is_absolute():
        path = step.site.settings.home / path
    _check_file(path, row.file_digest, name)
    return row, path


def _limits(step: Step) -> Limits:
    """What the grant under which the rows are used, and this site, allow of their columns."""
    from chain.ids import ZERO_ID
    from node.facts import grant_view, kept_rules

    site, grant = step.site, step.input.grant
    withheld = frozenset(site.settings.privacy_withheld_columns)
    if grant is None:
        return Limits((), withheld)
    with chain_errors():
        granted = grant_view(site.network(), grant)
    if granted.state == "NONE":
        raise Refused("GrantMissing", f"the chain has no grant {grant}", found=grant)
    digest = granted.column_rules
    if digest == ZERO_ID:
        return Limits((), withheld)
    rules = kept_rules(site, {grant: digest})
    if grant not in rules:
        raise Refused("ColumnRulesMissing", f"the column rules of grant {grant} are not here")
    return Limits((rules[grant],), withheld)


def _check_file(path: Path, digest: str, name: str) -> None:
    try:
        with path.open("rb") as file:
            found = "0x" + hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise Refused(
            "DatasetMismatch", f"the file of {name} cannot be read: {type(error).__name__}"
        ) from error
    if found != digest:
        raise _changed(name)


def _changed(name: str) -> Refused:
    return Refused(
        "DatasetMismatch",
        f"the file of {name} changed since it was registered",
        found=name,
        hint="register the changed file as a new version",
    )


def _aligned(step: Step) -> tuple[Table, tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """The common rows in the common order, and which of them train and which are held out."""
    if step.me.role == ARBITER:
        return NO_TABLE, (NO_ROWS, NO_ROWS)
    rows = np.load(io.BytesIO(step.read("psi", "rows.npy")), allow_pickle=False)
    table = local_table(step).take(rows)
    require_rows(len(table), step.site.settings.privacy_min_rows, "the common rows")
    names: Sequence[str] = table.ids
    if _key_columns(step):  # what the parties have in common is not the ids of the files
        keys = local_keys(step)[0]
        names = [keys.ids[row] for row in rows]
    holdout = step.specification.holdout
    salt = b"" if holdout is None else bytes.fromhex(holdout.salt[2:])
    return table, split_by_id(names, step.specification.holdout_fraction, salt)


def _array_bytes(rows: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(rows, dtype=np.int64), allow_pickle=False)
    return buffer.getvalue()


def _scores_csv(table: Table, scores: NDArray[np.float64]) -> bytes:
    """id, score: one line per row; a score for each class if there are several.

    This file never leaves the guest.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    columns = scores.reshape(len(table), -1)
    several = columns.shape[1] > 1
    names = [f"score_{k}" for k in range(columns.shape[1])] if several else ["score"]
    writer.writerow((table.schema.id, *names))
    for name, row in zip(table.ids, columns, strict=True):
        writer.writerow((name, *(f"{score:.6f}" for score in row)))
    return buffer.getvalue().encode()


# ── Models and numbers ───────────────────────────────────────────────────────────────────────


def _model_part(step: Step) -> tuple[bytes, Any]:
    """This party's part of the model that the job names, and the role it was trained in."""
    from sqlalchemy import select

    model = step.specification.model
    with step.site.store.read() as session:
        row = session.scalar(select(LocalModel).where(LocalModel.model_id == model))
    if row is None:
        raise Refused("ModelUnknown", f"this site holds no part of model {model}", found=model)
    if row.role != step.me.role:
        raise Refused(
            "WrongRole",
            f"this site trained model {model} as {row.role}",
            found=str(step.me.role),
            allowed=row.role,
        )
    return (step.site.settings.home / row.path).read_bytes(), Role(row.role)


def _curves(step: Step, part: Any) -> list[Metric]:
    """How training went, tree by tree, where this party's part tells it."""
    curves = {name: getattr(part, name, None) for name in ("loss", "auc", "held_out_loss")}
    return [
        Metric(job_id=step.job_id, step=step.name, name=name, x=x, y=float(y))
        for name, values in curves.items()
        if isinstance(values, np.ndarray)
        for x, y in enumerate(values, start=1)
    ]


def _alone(step: Step, training: Table, test: Table) -> NDArray[np.float64] | None:
    """Scores of what the guest can train on its own columns with the same parameters, if any."""
    if step.specification.algorithm == "linear_models":
        from ml.vertical.linear import models

        return models.predict_alone(models.alone(step.params, training), test)
    if step.specification.algorithm != "secureboost":
        return None
    from ml.vertical import secureboost

    return secureboost.predict_alone(secureboost.alone(step.params, training), test)


def _over_runs(step: Step, grant: Callable[[int], None] | None) -> Callable[[int], None] | None:
    """``grant``, and what holds all runs of this training to the number that was approved."""
    from node.facts import products

    approved, trees = products(step.specification), getattr(step.params, "n_estimators", None)
    if not approved or trees is None:
        return grant  # what grows no trees keeps nothing of a run: the grant alone is charged
    told = step.folder() / "run"
    run = int(told.read_text()) if told.exists() else 0
    return RunsBudget(step.folder() / "products", approved, trees, run, grant).charge


def _budget(step: Step) -> ProductBudget | None:
    """What charges the grant under which this party's data is used; None for the proposer's own,
    and where no data is."""
    from node.admission import product_limit
    from node.facts import grant_use

    if step.me.role == ARBITER or step.input.grant is None:
        return None
    with chain_errors():
        use = grant_use(step.site.network(), step.job_id, step.input.grant)
    assert use.grant is not None
    limit = product_limit(use.grant, use)
    return ProductBudget(step.site.store, use.grant.id, limit)


async def _agreed_metrics(step: Step) -> dict[str, Any]:
    """The guest's numbers, as all parties attest them."""
    if step.specification.kind != "train":
        return {}
    if step.me.role == GUEST:
        measured = json.loads(step.read("evaluate", "metrics.json"))
        scale = step.site.settings.privacy_metric_noise
        body = rfc8785.dumps(released(step.site.store, step.job_id, measured, scale))
        await step.channel.send(Metrics(body))
    else:
        body = (await step.channel.receive(Metrics)).canonical
    if len(body) > MAX_METRICS:
        raise Failed(
            "ProtocolViolation",
            "the guest's metrics are too long",
            found=len(body),
            allowed=MAX_METRICS,
        )
    try:
        metrics = json.loads(body)
        exact = isinstance(metrics, dict) and rfc8785.dumps(metrics) == body
    except (ValueError, RecursionError):
        exact = False
    if not exact:
        raise Failed("ProtocolViolation", "the guest's metrics are not a canonical JSON object")
    return dict(metrics)


def _rounded(numbers: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: round(value, DECIMALS) if isinstance(value, float) else value
        for name, value in numbers.items()
    }
