"""The steps of a job at both parties: what they leave, what they attest, what they refuse."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rfc8785
from sqlalchemy import select

from chain.reconciliation import Declaration
from ml.federation import Channel, InMemoryTransport, Message, Party, Role
from node import steps
from node.budget import ProductBudget
from node.errors import NodeError
from node.facts import stored_specification
from node.files import make_private, write_private
from node.specification import Specification, digest_of
from node.steps import (
    PROGRAMS,
    Metrics,
    Output,
    PartDigest,
    Step,
    files_digest,
    result_document,
    salted_digest,
)
from node.store import LocalDataset, LocalModel, Metric
from tests.node import consortium
from tests.node.consortium import Consortium
from tests.node.test_specification import an_id

PARAMS = {"n_estimators": 1, "max_depth": 2, "min_samples_leaf": 2, "min_bin_rows": 2}
NAMES = ("bank", "shop")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    chain, deployment = consortium.found()
    world = consortium.assemble(chain, deployment, tmp_path_factory.mktemp("sites"))
    yield world
    world.close()


@pytest.fixture(scope="module", autouse=True)
def same_split() -> Iterator[None]:
    """The rows that are held out are the same in every run of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("node.proposal.fresh_salt", lambda: an_id(7))
        yield


def conversation(
    world: Consortium, job: str, name: str, spec: Specification | None = None
) -> dict[str, Step]:
    """Both parties' ends of one step, in this process."""
    found = spec or stored_specification(world.bank, job)
    assert found is not None
    parties = tuple(Party(Role(plan.role), plan.site) for plan in found.parties)
    transport = InMemoryTransport(running=set(parties))
    context = f"{job}/{name}/1".encode()
    return {
        site: Step(
            world.sites[site],
            job,
            name,
            1,
            found,
            me,
            Channel(me, parties, transport, 30.0, context=context),
        )
        for site, me in zip(NAMES, parties, strict=True)
    }


async def run_step(
    world: Consortium, job: str, name: str, spec: Specification | None = None
) -> dict[str, Output]:
    """Run a step at both parties and keep what it leaves, as `node.conversation` does."""
    ends = conversation(world, job, name, spec)
    outputs = await asyncio.gather(*(PROGRAMS[name](ends[site]) for site in NAMES))
    for site, output in zip(NAMES, outputs, strict=True):
        ends[site].write(output.files)
        if output.settle is not None:
            with world.sites[site].store.begin() as session:
                output.settle(session)
    return dict(zip(NAMES, outputs, strict=True))


@dataclass
class Finished:
    """A job whose steps have all run."""

    job: str
    outputs: dict[str, dict[str, Output]]  # by step and site

    def metrics(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.outputs["evaluate"]["bank"].files["metrics.json"])
        return found


@pytest.fixture(scope="module")
def finished(world: Consortium) -> Finished:
    job = world.start(params=PARAMS)

    async def all_steps() -> dict[str, dict[str, Output]]:
        names = ("psi", "train", "evaluate", "result")
        return {name: await run_step(world, job, name) for name in names}

    return Finished(job, asyncio.run(all_steps()))


def rows(output: Output) -> np.ndarray[Any, Any]:
    found: np.ndarray[Any, Any] = np.load(io.BytesIO(output.files["rows.npy"]), allow_pickle=False)
    return found


def test_what_was_answered_is_charged_to_the_grant(world: Consortium, finished: Finished) -> None:
    """Looked at before other jobs run under the same grant."""
    budget = ProductBudget(world.shop.store, world.grant, limit=10**9)
    assert 0 < budget.spent <= 1 * 2 * 3 * 2
    assert ProductBudget(world.bank.store, world.grant, limit=1).spent == 0


def test_both_parties_align_the_same_ids(world: Consortium, finished: Finished) -> None:
    ids = {
        name: [line.split(",")[0] for line in consortium.rows_of(name).splitlines()[1:]]
        for name in NAMES
    }
    aligned = {name: [ids[name][i] for i in rows(finished.outputs["psi"][name])] for name in NAMES}
    assert aligned["bank"] == aligned["shop"]
    assert set(aligned["bank"]) == set(ids["bank"]) & set(ids["shop"])


async def test_rows_are_matched_by_the_protocol_that_the_agreement_names(
    world: Consortium, finished: Finished
) -> None:
    agreed = stored_specification(world.bank, finished.job)
    assert agreed is not None
    named = agreed.psi.model_copy(update={"protocol": "kkrt"})
    ends = conversation(world, finished.job, "psi", agreed.model_copy(update={"psi": named}))
    outputs = await asyncio.gather(*(PROGRAMS["psi"](ends[site]) for site in NAMES))
    for site, output in zip(NAMES, outputs, strict=True):
        before = rows(finished.outputs["psi"][site])
        assert sorted(rows(output)) == sorted(before)
    transport = ends["bank"].channel.transport
    assert isinstance(transport, InMemoryTransport)
    kinds = {said.address.kind for said in transport.transcript}
    assert "protocols.psi.kkrt.HostTags" in kinds
    assert "protocols.psi.ecdh.GuestTags" not in kinds


def test_a_trained_part_is_kept_under_its_salted_digest(
    world: Consortium, finished: Finished
) -> None:
    for name in NAMES:
        files = finished.outputs["train"][name].files
        with world.sites[name].store.read() as session:
            row = session.get_one(LocalModel, finished.job)
        assert row.part_digest == salted_digest(files["salt"], files["part.bin"])
        assert (world.sites[name].settings.home / row.path).read_bytes() == files["part.bin"]
        assert digest_of(files["part.bin"]) != row.part_digest


def test_the_guest_measures_the_joint_model_and_its_own(finished: Finished) -> None:
    metrics = finished.metrics()
    counted = metrics["rows"]
    assert counted["common"] == counted["training"] + counted["heldOut"] == 108
    for model in ("joint", "alone"):
        assert metrics[model]["rows"] == counted["heldOut"]
        assert 0.0 <= metrics[model]["auc"] <= 1.0
    assert metrics["joint"]["auc"] > metrics["alone"]["auc"]


@pytest.mark.parametrize(
    ("objective", "names"),
    [
        ({"objective": "squared", "validation_fraction": 0.3}, {"rows", "rmse", "mae", "r2"}),
        ({"objective": "softmax"}, {"rows", "classes", "accuracy", "log_loss"}),
    ],
    ids=["numbers", "classes"],
)
async def test_a_job_learns_numbers_or_classes_and_measures_them(
    world: Consortium, objective: dict[str, Any], names: set[str]
) -> None:
    job = world.start(params=PARAMS | objective)
    outputs = {name: await run_step(world, job, name) for name in ("psi", "train", "evaluate")}
    measured = Finished(job, outputs).metrics()
    assert set(measured["joint"]) == set(measured["alone"]) == names
    header = outputs["evaluate"]["bank"].files["scores.csv"].splitlines()[0]
    several = objective["objective"] == "softmax"
    assert header == (b"id,score_0,score_1" if several else b"id,score")
    with world.bank.store.read() as session:
        curves = set(session.scalars(select(Metric.name).where(Metric.job_id == job)))
    assert curves == ({"loss"} if several else {"loss", "held_out_loss"})


def test_numbers_are_rounded_so_that_all_can_attest_them(finished: Finished) -> None:
    for numbers in (finished.metrics()["joint"], finished.metrics()["alone"]):
        for value in numbers.values():
            assert value == round(value, steps.DECIMALS)


def test_the_host_keeps_no_score(finished: Finished) -> None:
    assert set(finished.outputs["evaluate"]["shop"].files) == {"metrics.json"}
    assert "scores.csv" in finished.outputs["evaluate"]["bank"].files


def test_both_parties_arrive_at_one_result_and_attest_it(
    world: Consortium, finished: Finished
) -> None:
    world.settle(2)
    results = [world.job(name, finished.job).result for name in NAMES]
    assert results[0] == results[1]
    assert results[0] is not None
    said = {name: results[0][name] for name in ("job", "attempt", "parts", "metrics")}
    assert results[0]["digest"] == digest_of(rfc8785.dumps(said))
    assert str(world.network.jobs.state(finished.job)) == "SUCCEEDED"
    for name in NAMES:
        found = world.network.jobs.attestation(finished.job, world.sites[name].id)
        assert found is not None
        assert found.result == results[0]["digest"]


def test_an_outputs_digest_names_its_files() -> None:
    files = {"a": b"1", "b": b"2"}
    assert files_digest(files) == files_digest(dict(reversed(files.items())))
    assert files_digest(files) != files_digest({"a": b"2", "b": b"1"})


def test_a_result_lists_its_parts_in_the_order_of_their_sites() -> None:
    parts = {an_id(2): an_id(20), an_id(1): an_id(10)}
    said = result_document(an_id(9), 1, parts, {"auc": 0.5})
    assert [part["site"] for part in said["parts"]] == [an_id(1), an_id(2)]


def test_the_guest_keeps_the_curves_of_training(world: Consortium, finished: Finished) -> None:
    query = select(Metric.name, Metric.x).where(Metric.job_id == finished.job)
    with world.bank.store.read() as session:
        assert sorted(session.execute(query).all()) == [("auc", 1), ("loss", 1)]
    with world.shop.store.read() as session:
        assert session.execute(query).all() == []


@pytest.fixture(scope="module")
def started(world: Consortium) -> str:
    """A job of which no step has run."""
    return world.start(params=PARAMS)


# ── What a step refuses ──────────────────────────────────────────────────────────────────────


async def test_a_file_that_changed_since_it_was_registered_is_refused(
    world: Consortium, started: str
) -> None:
    path = world.shop.settings.data / "rows.csv"
    kept = path.read_bytes()
    path.write_bytes(kept + b"u999,1,1\n")
    try:
        with pytest.raises(NodeError) as refusal:
            await run_step(world, started, "psi")
    finally:
        path.write_bytes(kept)
    assert refusal.value.code == "DatasetMismatch"
    assert "u999" not in str(refusal.value)


async def test_a_file_that_is_gone_is_refused(world: Consortium, started: str) -> None:
    path = world.shop.settings.data / "rows.csv"
    aside = path.rename(path.with_suffix(".aside"))
    try:
        with pytest.raises(NodeError) as refusal:
            await run_step(world, started, "psi")
    finally:
        aside.rename(path)
    assert refusal.value.code == "DatasetMismatch"


async def test_another_label_than_the_registered_one_is_refused(
    world: Consortium, started: str
) -> None:
    spec = stored_specification(world.bank, started)
    assert spec is not None
    with pytest.raises(NodeError) as refusal:
        await run_step(world, started, "psi", spec.model_copy(update={"label": "age"}))
    assert refusal.value.code == "DatasetMismatch"


async def test_a_dataset_that_does_not_lie_here_is_refused(world: Consortium, started: str) -> None:
    key = (world.datasets["shop"], 1)
    with world.shop.store.begin() as session:
        row = session.get_one(LocalDataset, key)
        kept = {column.name: getattr(row, column.name) for column in row.__table__.columns}
        session.delete(row)
    try:
        with pytest.raises(NodeError) as refusal:
            await run_step(world, started, "psi")
    finally:
        with world.shop.store.begin() as session:
            session.add(LocalDataset(**kept))
    assert refusal.value.code == "DatasetUnknown"


async def test_training_stops_at_the_budget_and_says_so(world: Consortium, started: str) -> None:
    from ml.crypto.errors import ProductBudgetExceeded

    await run_step(world, started, "psi")
    budget = ProductBudget(world.shop.store, world.grant, limit=100_000)
    budget.charge(100_000 - budget.spent)
    before = budget.spent
    with pytest.raises(ProductBudgetExceeded):
        await run_step(world, started, "train")
    assert budget.spent == before


@pytest.mark.parametrize(
    "said",
    [
        PartDigest("0x" + "AB" * 32),
        PartDigest("0x" + "ab" * 33),
        PartDigest("ab" * 32),
        PartDigest(an_id(1) + "\n"),
        Metrics(rfc8785.dumps({"a": "b" * steps.MAX_METRICS})),
        Metrics(b"[" * 60_000),
        Metrics(b'{"a":'),
        Metrics(b'{ "a":1}'),
        Metrics(b"\xff"),
        Metrics(b"[]"),
    ],
)
async def test_a_guest_that_names_its_result_otherwise_is_refused(
    world: Consortium, started: str, said: Message
) -> None:
    ends = conversation(world, started, "result")
    ends["shop"].write({})
    made = make_private(ends["shop"].folder("train"))
    for file in ("salt", "part.bin"):
        write_private(made / file, b"x")
    await ends["bank"].channel.send(said if isinstance(said, Metrics) else Metrics(b"{}"))
    if isinstance(said, PartDigest):
        await ends["bank"].channel.send(said)
    with pytest.raises(NodeError) as violation:
        await steps.conclude(ends["shop"])
    assert violation.value.code == "ProtocolViolation"


# ── The budget ───────────────────────────────────────────────────────────────────────────────


def test_a_charge_that_does_not_fit_is_not_made(world: Consortium) -> None:
    from ml.crypto.errors import ProductBudgetExceeded

    budget = ProductBudget(world.shop.store, an_id(50), limit=10)
    budget.charge(7)
    with pytest.raises(ProductBudgetExceeded) as exceeded:
        budget.charge(4)
    assert (exceeded.value.asked, exceeded.value.left, exceeded.value.limit) == (4, 3, 10)
    budget.charge(3)
    assert budget.spent == 10
    with pytest.raises(ValueError, match="cannot be charged"):
        budget.charge(-1)


def test_processes_that_charge_at_once_never_exceed_the_budget(world: Consortium) -> None:
    import threading

    from ml.crypto.errors import ProductBudgetExceeded

    budget, refused = ProductBudget(world.shop.store, an_id(51), limit=25), []

    def spend() -> None:
        for _ in range(10):
            try:
                budget.charge(1)
            except ProductBudgetExceeded:
                refused.append(1)

    spenders = [threading.Thread(target=spend) for _ in range(4)]
    for spender in spenders:
        spender.start()
    for spender in spenders:
        spender.join()
    assert budget.spent == 25
    assert len(refused) == 15


# ── Prediction ───────────────────────────────────────────────────────────────────────────────


async def test_a_model_scores_rows_at_the_guest_alone(
    world: Consortium, finished: Finished
) -> None:
    world.settle(2)
    for name in NAMES:
        with world.sites[name].store.begin() as session:
            session.get_one(LocalModel, finished.job).model_id = an_id(60)
    trained = stored_specification(world.bank, finished.job)
    assert trained is not None
    changes = {"kind": "predict", "model": an_id(60), "holdout": None}
    spec = Specification.model_validate(trained.to_document() | changes)
    job = world.start(params=PARAMS)  # what it declares comes from the chain
    await run_step(world, job, "psi", spec)
    outputs = await run_step(world, job, "predict", spec)
    lines = outputs["bank"].files["predictions.csv"].decode().splitlines()
    assert lines[0] == "id,score"
    assert len(lines) == 1 + 108
    assert "predictions.csv" not in outputs["shop"].files
    held_out = finished.outputs["evaluate"]["bank"].files["scores.csv"].decode().splitlines()
    assert set(held_out) <= set(lines)


def test_the_folder_of_a_step_is_below_the_jobs_folder(tmp_path: Path) -> None:
    assert steps.folder_of(tmp_path, "0x01", 2, "psi") == tmp_path / "0x01" / "2" / "psi"


async def test_parties_that_read_other_things_from_the_chain_do_not_go_on(
    world: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = world.start(params=PARAMS)
    true = steps._agreed

    def lying(step: Step) -> list[Declaration]:
        declared = true(step)
        if step.site is not world.shop:
            return declared
        return [
            replace(said, body={**said.body, "block": 1}) if said.site == world.shop.id else said
            for said in declared
        ]

    monkeypatch.setattr(steps, "_agreed", lying)
    ends = conversation(world, job, "psi")
    tasks = [asyncio.create_task(PROGRAMS["psi"](ends[site])) for site in NAMES]  # type: ignore[arg-type]
    done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    for task in waiting:
        task.cancel()
    refusals = [task.exception() for task in done]
    assert [str(found).partition(":")[0] for found in refusals] == ["DeclarationDiffers"]


async def test_what_the_parties_declare_goes_to_every_other_one(world: Consortium) -> None:
    job = world.start(params=PARAMS)
    ends = conversation(world, job, "psi")
    await asyncio.gather(*(PROGRAMS["psi"](ends[site]) for site in NAMES))
    transport = ends["bank"].channel.transport
    assert isinstance(transport, InMemoryTransport)
    said = [
        (told.address.sender.site, told.address.kind)
        for told in transport.transcript
        if told.address.kind.startswith("job.")
    ]
    assert sorted(said) == sorted(
        [
            (world.bank.id, "job.Approval"),
            (world.shop.id, "job.Approval"),
            (world.shop.id, "job.GrantUse"),
        ]
    )
