"""A job with an arbiter through the steps of three sites: who has no data deals, and attests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from chain.calls import Payment
from chain.sites import SiteRole, site_id
from ml.federation import Channel, InMemoryTransport, Party, Role
from node.budget import ProductBudget
from node.errors import Invalid, Refused
from node.facts import stored_specification
from node.identity import PURPOSES
from node.jobs import PartyRequest, propose
from node.registration import proven_key
from node.specification import Specification
from node.steps import PROGRAMS, Output, Step
from node.store import Approval, LocalJob, LocalModel
from tests.node import consortium
from tests.node.consortium import ChainSite, Consortium, rows_of
from tests.node.test_specification import an_id

NAMES = ("bank", "shop", "keeper")
LINEAR = "linear_models"


def wider_rows(name: str) -> str:
    """The usual rows; the shop has a third column, as a model of one output takes."""
    first, *rows = rows_of(name).splitlines()
    if name == "bank":
        return rows_of(name)
    wider = [f"{row},{number * number % 17}" for number, row in enumerate(rows)]
    return "\n".join([first + ",returned", *wider]) + "\n"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    """The bank, the shop and a third member's site without a dataset."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(consortium, "ALGORITHM", LINEAR)
        patch.setattr(consortium, "rows_of", wider_rows)
        patch.setattr("node.proposal.fresh_salt", lambda: an_id(7))
        chain, deployment = consortium.found()
        world = consortium.assemble(chain, deployment, tmp_path_factory.mktemp("sites"))
        consortium.join(world, tmp_path_factory.mktemp("third"), "keeper", 2)
        world.settle()
        yield world
        world.close()


def started(world: Consortium, **params: object) -> str:
    """A job of the three that runs, on the chain and at all nodes."""
    parties = (
        world.party("bank", "guest"),
        world.party("shop", "host", world.grant),
        PartyRequest(site=world.sites["keeper"].id, role="arbiter"),
    )
    job = propose(world.bank, world.request(parties=parties, params=params))
    world.settle()
    with world.bank.store.read() as session:
        row = session.get_one(LocalJob, job)
    read = world.network.jobs.job(job).specification
    for name in NAMES[1:]:
        with world.sites[name].store.begin() as session:
            other = session.get_one(LocalJob, job)
            other.specification = row.specification
            other.kind, other.algorithm = row.kind, row.algorithm
            session.merge(Approval(job_id=job, specification=read, how="person", by="operator"))
        world.act(name, world.network.jobs.approve(job, world.sites[name].id, read))
    world.act("bank", world.network.jobs.start(job))
    world.settle()
    return job


async def run_step(
    world: Consortium, job: str, name: str, spec: Specification | None = None
) -> dict[str, Output]:
    """Run a step at all parties and keep what it leaves."""
    found = spec or stored_specification(world.bank, job)
    assert found is not None
    parties = tuple(Party(Role(plan.role), plan.site) for plan in found.parties)
    transport = InMemoryTransport(running=set(parties))
    context = f"{job}/{name}/1".encode()
    ends = [
        Step(
            world.sites[site],
            job,
            name,
            1,
            found,
            me,
            Channel(me, parties, transport, 30.0, context=context),
        )
        for site, me in zip(NAMES, parties, strict=True)
    ]
    outputs = await asyncio.gather(*(PROGRAMS[name](end) for end in ends))
    for site, end, output in zip(NAMES, ends, outputs, strict=True):
        end.write(output.files)
        if output.settle is not None:
            with world.sites[site].store.begin() as session:
                output.settle(session)
    return dict(zip(NAMES, outputs, strict=True))


def test_three_sites_fit_a_model_and_the_one_without_data_attests_it(world: Consortium) -> None:
    job = started(world, alpha=0.01, max_iter=30)

    async def all_steps() -> dict[str, dict[str, Output]]:
        names = ("psi", "train", "evaluate", "result")
        return {name: await run_step(world, job, name) for name in names}

    outputs = asyncio.run(all_steps())
    # Two of the three columns are more than half: the grant pays for no other model.
    assert ProductBudget(world.shop.store, world.grant, 100_000).spent == 66_667
    metrics = json.loads(outputs["evaluate"]["bank"].files["metrics.json"])
    assert metrics["joint"]["auc"] > metrics["alone"]["auc"]
    assert set(outputs["evaluate"]["keeper"].files) == {"metrics.json"}
    world.settle(2)
    results = [world.job(name, job).result for name in NAMES]
    assert results[0] is not None
    assert results[0] == results[1] == results[2]
    assert {part["site"] for part in results[0]["parts"]} == {
        world.sites[name].id for name in NAMES
    }
    assert str(world.network.jobs.state(job)) == "SUCCEEDED"
    with world.sites["keeper"].store.read() as session:
        kept = session.get_one(LocalModel, job)
    assert kept.role == "arbiter"

    # The same three score rows with it: a prediction of all that they have in common.
    for name in NAMES:
        with world.sites[name].store.begin() as session:
            session.get_one(LocalModel, job).model_id = an_id(5)
    agreed = stored_specification(world.bank, job)
    assert agreed is not None
    spec = agreed.model_copy(update={"kind": "predict", "model": an_id(5)})
    predicted = asyncio.run(run_step(world, job, "predict", spec))
    scores = predicted["bank"].files["predictions.csv"].decode().splitlines()[1:]
    assert len(scores) == metrics["rows"]["common"]
    assert "predictions.csv" not in predicted["keeper"].files


def test_an_arbiter_brings_no_dataset(world: Consortium) -> None:
    keeper = world.sites["keeper"].id
    entry = world.party("bank", "guest").inputs
    parties = (
        world.party("bank", "guest"),
        world.party("shop", "host", world.grant),
        PartyRequest(site=keeper, role="arbiter", inputs=entry),
    )
    with pytest.raises(Invalid, match="0 dataset"):
        propose(world.bank, world.request(parties=parties))


def test_an_arbiter_of_another_partys_member_is_not_proposed(
    world: Consortium, tmp_path: Path
) -> None:
    second = another_site(world, "bank", tmp_path)
    parties = (
        world.party("bank", "guest"),
        world.party("shop", "host", world.grant),
        PartyRequest(site=second, role="arbiter"),
    )
    with pytest.raises(Refused) as refusal:
        propose(world.bank, world.request(parties=parties))
    assert refusal.value.code == "ArbiterNotIndependent"


def another_site(world: Consortium, member: str, folder: Path) -> str:
    """The id of a further site of that member, with an operator and keys of its own."""
    site = ChainSite.create(
        folder / "second",
        name="second",
        scrypt_cost=consortium.SCRYPT,
        consortium=world.deployment.consortium,
        from_block=world.deployment.from_block,
        redis_url=f"unix://{folder}/none.sock",
        workers=1,
        publish_every_seconds=0.001,
    )
    try:
        operator, sites = site.identity.address, world.network.sites
        world.chain.client(19).transact(Payment(operator, 10**19))
        owner = world.sites[member].identity.address
        id = site_id(world.network.client.chain_id, sites.address, owner, 1)
        keys = [proven_key(world.network, site.identity, id, what) for what in PURPOSES]
        world.chain.client(site.identity.account).transact(sites.agree(id))
        where = "http://127.0.0.1:9"
        world.act(member, sites.register(operator, "second", where, SiteRole.DATA_OWNER, keys, 1))
    finally:
        site.close()
    world.settle()
    return id
