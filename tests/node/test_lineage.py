"""What used a dataset or a grant is found whole, with where the chain says it, and marked."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from sqlalchemy import select

from node.api.app import create_app
from node.audit.entries import record
from node.cli import main
from node.errors import NodeError
from node.lineage import Lineage, Thing, lineage
from node.store import ChainEvent, LocalJob
from tests.node import consortium
from tests.node.consortium import Consortium
from tests.node.face import is_problem, operator, serving, token_of
from tests.node.test_certificate import conclude
from tests.node.test_specification import an_id


@dataclass(frozen=True)
class Story:
    """A model that grew into another and scored rows; then its grant was revoked while a job ran,
    the model was withdrawn, and so was the bank's version 1.  ``spared`` used another grant."""

    world: Consortium
    job: str
    model: str
    child: str
    prediction: str
    untold: str  # a prediction whose specification the shop does not hold
    running: str
    other: str
    spared: str
    asked: str
    declined: str


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    chain, deployment = consortium.found()
    world = consortium.assemble(chain, deployment, tmp_path_factory.mktemp("sites"))
    other = world.give_grant()
    chain.mine(world.bank.settings.confirmations + 1)
    world.settle()
    job, model = trained(world, world.grant)
    spared, child = trained(world, other, model)
    prediction = scored(world, other, model)
    untold = scored(world, other, model, told=False)
    running = world.start()
    declined = world.propose(grant=other)
    world.act("bank", world.network.jobs.cancel(declined, world.bank.id, "Done"))
    asked = world.propose(grant=other)
    world.act("shop", world.network.consents.revoke(world.grant))
    world.act("bank", world.network.models.withdraw(model, world.bank.id))
    world.act("bank", world.network.datasets.withdraw_version(world.datasets["bank"], 1))
    world.settle(2)
    yield Story(
        world, job, model, child, prediction, untold, running, other, spared, asked, declined
    )
    world.close()


def trained(world: Consortium, grant: str, *parents: str) -> tuple[str, str]:
    """A job that succeeded, and its model, grown from others if any are named."""
    job = world.start(grant=grant)
    conclude(world, job)
    models, nonce = world.network.models, secrets.randbits(64)
    world.act("bank", models.register(job, world.bank.id, an_id(nonce), list(parents), nonce))
    world.settle()
    return job, world.network.models.models_of(job)[-1]


def scored(world: Consortium, grant: str, model: str, *, told: bool = True) -> str:
    """A finished job as if it had been a prediction; ``told``: the shop has its specification."""
    job = world.start(grant=grant)
    conclude(world, job)
    for name in ("bank", "shop"):
        with world.sites[name].store.begin() as session:
            row = session.get_one(LocalJob, job)
            row.kind, row.specification = "predict", {**(row.specification or {}), "model": model}
            if name == "shop" and not told:
                row.specification = None
    with world.bank.store.begin() as session:
        record(session, "prediction.made", job, {"model": model, "rows": 12}, "worker")
    world.bank.log.sequence()
    return job


def edges(found: Lineage) -> set[tuple[str, str, str]]:
    return {(edge.source, edge.target, edge.what) for edge in found.edges}


def thing(found: Lineage, id: str) -> Thing:
    return next(each for each in found.things if each.id == id)


def marks(found: Lineage, id: str) -> list[tuple[str, str, str | None]]:
    reached = thing(found, id)
    return [(mark.by, mark.what, reached.when(mark)) for mark in reached.affected]


def test_a_dataset_leads_to_every_grant_job_model_and_prediction_that_used_it(
    story: Story,
) -> None:
    world, data = story.world, story.world.datasets["shop"]
    found = lineage(world.bank, data)
    assert edges(found) == {
        (data, world.grant, "granted"),
        (data, story.other, "granted"),
        (world.grant, story.job, "used"),
        (world.grant, story.running, "used"),
        (story.other, story.spared, "used"),
        (story.other, story.prediction, "used"),
        (story.other, story.untold, "used"),
        (story.other, story.asked, "asked"),
        (story.job, story.model, "made"),
        (story.spared, story.child, "made"),
        (story.model, story.child, "grew"),
        (story.model, story.prediction, "scored"),
        (story.model, story.untold, "scored"),
    }
    assert found.things[0].id == data
    assert found.complete
    assert thing(found, story.prediction).does == "predict"
    assert thing(found, story.prediction).scores is not None
    at_shop = lineage(world.shop, data)
    assert thing(at_shop, story.prediction).scores is None  # it is in the log of the guest's site


def test_each_edge_names_the_block_and_the_transaction_in_which_the_chain_says_it(
    story: Story,
) -> None:
    said_by = {"used": "ConsentUsed", "made": "ModelRegistered", "granted": "ConsentGranted"}
    with story.world.shop.store.read() as session:
        events = session.execute(select(ChainEvent.name, ChainEvent.block, ChainEvent.tx_hash))
        told = {tuple(event) for event in events}
    for edge in lineage(story.world.shop, story.world.datasets["shop"]).edges:
        name = said_by.get(edge.what)
        assert name is None or (name, *edge.fact) in told


def test_the_owners_own_data_is_used_without_a_grant_and_marked_when_its_version_ends(
    story: Story,
) -> None:
    data = story.world.datasets["bank"]
    found = lineage(story.world.shop, data)
    assert (data, story.job, "used") in edges(found)
    assert not any(what == "granted" for _, _, what in edges(found))
    assert marks(found, data) == [(data, "version-ended", None)]
    assert (data, "version-ended", "after") in marks(found, story.job)
    assert (data, "version-ended", None) in marks(found, story.child)


def test_a_revoked_grant_marks_what_used_it_and_says_whether_it_ran(story: Story) -> None:
    grant = story.world.grant
    found = lineage(story.world.bank, grant)
    assert thing(found, grant).state == "REVOKED"
    assert marks(found, story.job) == [(grant, "grant-revoked", "after")]
    assert marks(found, story.running) == [(grant, "grant-revoked", "during")]
    assert (grant, "grant-revoked", None) in marks(found, story.model)
    assert (grant, "grant-revoked", None) in marks(found, story.child)
    assert thing(found, story.running).state == "FAILED"


def test_what_used_another_grant_is_not_marked_by_the_revocation(story: Story) -> None:
    found = lineage(story.world.bank, story.world.datasets["shop"])
    assert marks(found, story.other) == []
    assert marks(found, story.spared) == []
    assert {mark[1] for mark in marks(found, story.prediction)} == {
        "grant-revoked",  # through the model
        "model-withdrawn",
    }


def test_a_withdrawn_model_marks_its_children_and_not_the_job_that_made_it(story: Story) -> None:
    found = lineage(story.world.shop, story.job)
    assert marks(found, story.job) == []
    withdrawn = [(story.model, "model-withdrawn", None)]
    assert marks(found, story.child) == marks(found, story.model) == withdrawn


def test_a_job_that_never_started_counts_only_while_it_may(story: Story) -> None:
    found = edges(lineage(story.world.bank, story.other))
    assert (story.other, story.asked, "asked") in found
    assert not any(story.declined == target for _, target, _ in found)
    assert edges(lineage(story.world.bank, story.declined)) == set()


def test_a_site_that_does_not_hold_the_specification_says_who_does(story: Story) -> None:
    found = lineage(story.world.shop, story.model)
    assert (story.model, story.untold, "scored") not in edges(found)
    hidden = next(each for each in found.hidden if each.model == story.model)
    assert hidden.job == story.untold
    assert set(hidden.known_to) == {story.world.bank.id, story.world.shop.id}
    assert lineage(story.world.bank, story.model).hidden == ()


def test_a_specification_that_names_its_own_jobs_model_is_followed_once(story: Story) -> None:
    site, job = story.world.bank, story.spared
    with site.store.begin() as session:
        row = session.get_one(LocalJob, job)
        before, row.specification = row.specification, {"model": story.child}
    found = lineage(site, job)
    with site.store.begin() as session:
        session.get_one(LocalJob, job).specification = before
    assert {(job, story.child, "made"), (story.child, job, "scored")} <= edges(found)


def test_the_closure_is_what_brute_force_finds_on_the_chain(story: Story) -> None:
    net, data = story.world.network, story.world.datasets["shop"]
    jobs = [job for job in net.jobs.jobs() if net.jobs.job(job).started_at]
    used = {
        (use.grant, job, "used")
        for job in jobs
        for use in net.jobs.uses(job)
        if use.dataset_id == data
    }
    made = {(job, model, "made") for job in jobs for model in net.models.models_of(job)}
    parents = {model: net.models.model(model).parents for _, model, _ in made}
    grew = {(parent, model, "grew") for model in parents for parent in parents[model]}
    everything = edges(lineage(story.world.shop, data))
    assert {
        edge for edge in everything if edge[2] in ("used", "made", "grew")
    } == used | made | grew


def test_what_nobody_knows_is_refused(story: Story) -> None:
    with pytest.raises(NodeError) as refusal:
        lineage(story.world.bank, an_id(4711))
    assert refusal.value.code == "NotFound"


def test_what_is_too_much_is_said_to_be_incomplete(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.lineage.MAX_THINGS", 2)
    found = lineage(story.world.bank, story.world.datasets["shop"])
    assert len(found.things) == 2
    assert not found.complete


async def test_the_interface_shows_it_with_names(story: Story) -> None:
    site = story.world.bank
    async with operator(site, create_app(site.settings.home, site)) as api:
        found = (await api.get(f"/v1/lineage/{story.world.datasets['shop']}")).json()
        assert found["things"][0]["name"] == "shop rows"
        assert found["things"][0]["site"]["name"] == "shop"
        assert {thing["id"] for thing in found["things"]} >= {story.job, story.model}
        is_problem(await api.get(f"/v1/lineage/{an_id(4711)}"), 404, "NotFound")


def test_the_command_draws_a_tree(story: Story, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(story.world.bank) as url:
        at = ["--url", url, "--token", token_of(story.world.bank)]
        with pytest.raises(SystemExit) as end:
            main(["lineage", story.world.datasets["shop"], *at])
    told = capsys.readouterr().out
    assert not end.value.code
    assert "dataset shop rows" in told
    assert "▲ grant-revoked" in told
