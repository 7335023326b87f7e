"""Statements that nobody asks for: made when a month is over, kept, entered and told once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import delete, select

from chain import canonical
from chain.statement import bounds, verify_statement
from chain.testing import GENESIS_TIME
from node import monthly
from node.api.app import create_app
from node.monthly import Monthly
from node.site import Site
from node.store import Alert
from tests.node import consortium
from tests.node.consortium import Consortium
from tests.node.face import operator
from tests.node.told import told

MONTH = datetime.fromtimestamp(GENESIS_TIME, UTC).strftime("%Y-%m")
NEXT = datetime.fromtimestamp(bounds(MONTH)[1], UTC).strftime("%Y-%m")
AFTER = datetime.fromtimestamp(bounds(NEXT)[1], UTC).strftime("%Y-%m")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    """In `MONTH` a job of the bank used the shop's data; the month is not over."""
    chain, deployment = consortium.found()
    made = consortium.assemble(chain, deployment, tmp_path_factory.mktemp("sites"))
    made.start()
    made.settle(2)
    yield made
    made.close()


def travel(world: Consortium, until: int) -> None:
    if (left := until - world.network.client.head().timestamp) >= 0:
        world.chain.travel(left + 60)
    world.settle(2)


def told_of(site: Site) -> list[str]:
    """The months that alerts tell of."""
    with site.store.read() as session:
        rows = session.scalars(select(Alert).where(Alert.kind == "statement.made"))
        return sorted(row.evidence["month"] for row in rows)


def entered(site: Site) -> list[str]:
    return [entry["data"]["month"] for entry in told(site, "statement.made")]


def test_nothing_is_made_of_a_month_that_is_not_over(world: Consortium) -> None:
    assert Monthly(world.shop).step() == []
    assert not world.shop.settings.statements.exists()


def test_a_month_that_ended_is_stated_kept_entered_and_told_once(world: Consortium) -> None:
    travel(world, bounds(MONTH)[1])
    site = world.shop
    assert Monthly(site).step() == [MONTH]
    content = (site.settings.statements / f"{MONTH}.json").read_bytes()
    assert verify_statement(content, world.network).ok
    assert json.loads(content)["totals"]["uses"] == 1
    (entry,) = told(site, "statement.made")
    assert entry["data"] == {"month": MONTH, "digest": canonical.digest(content), "uses": 1}
    assert Monthly(site).step() == []
    with site.store.begin() as session:
        row = session.scalars(select(Alert).where(Alert.kind == "statement.made")).one()
        assert row.evidence["digest"] == canonical.digest(content)
        assert (row.severity, row.evidence["uses"]) == ("notice", 1)
    assert [file.name for file in site.settings.statements.iterdir()] == [f"{MONTH}.json"]


async def test_it_is_listed_and_given_as_it_was_kept(world: Consortium) -> None:
    site = world.shop
    kept = (site.settings.statements / f"{MONTH}.json").read_bytes()
    async with operator(site, create_app(site.settings.home, site)) as api:
        (listed,) = (await api.get("/v1/statements")).json()
        given = (await api.get(f"/v1/statements/{MONTH}")).content
        page = (await api.get(f"/v1/statements/{MONTH}?format=html")).text
        shown = (await api.get("/statements")).text
    assert (listed["month"], listed["uses"]) == (MONTH, 1)
    assert listed["digest"] == canonical.digest(kept)
    assert given == kept
    assert json.loads(kept)["signature"] in page.replace("\\u002b", "+")
    assert listed["digest"] in shown


@pytest.mark.parametrize("step", ["write_private", "_is_told", "rename"])
def test_who_is_interrupted_goes_on_and_tells_of_no_month_twice(
    world: Consortium, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    class Killed(Exception):
        pass

    def killed(*_: object) -> None:
        raise Killed

    travel(world, bounds(NEXT)[1])
    site = world.bank
    for file in site.settings.statements.glob("*"):
        file.unlink()
    with site.store.begin() as session:
        session.execute(delete(Alert))
    before = len(entered(site))
    with monkeypatch.context() as patch:
        if step == "rename":
            patch.setattr(Path, "rename", killed)
        else:
            patch.setattr(monthly, step, killed)
        with pytest.raises(Killed):
            Monthly(site).step()
    assert not (site.settings.statements / f"{MONTH}.json").exists()
    assert Monthly(site).step() == [MONTH, NEXT]
    assert told_of(site) == [MONTH, NEXT]
    assert len(entered(site)) == before + 2


def test_months_that_ended_while_the_node_was_down_are_made_when_it_is_back(
    world: Consortium,
) -> None:
    travel(world, bounds(AFTER)[1])
    assert Monthly(world.shop).step() == [NEXT, AFTER]
    assert told_of(world.shop) == [MONTH, NEXT, AFTER]
    made = json.loads((world.shop.settings.statements / f"{AFTER}.json").read_bytes())
    assert made["totals"]["uses"] == 0
