"""What an auditor reads of the evidence is entered in the log, refused or not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import select

from node.api.app import create_app
from node.audit.entries import type_of
from node.site import Site
from node.store import AuditEntry
from tests.node.crowd import add, key_for, program, wallet
from tests.node.face import make_site, new_id

ON_CHAIN = (
    "/v1/datasets",
    "/v1/grants",
    "/v1/sites",
    "/events.json",
    "/history.json",
    "/sites.json",
)
"""What every member reads at its own node, and what is no evidence therefore."""

READ = (
    "/v1/lineage/{id}",
    "/v1/statements",
    "/v1/statements/{month}",
    "/v1/packs",
    "/v1/jobs",
    "/v1/jobs/{id}",
    "/v1/predictions",
    "/v1/predictions/{id}",
    "/v1/models",
    "/v1/models/{id}",
    "/v1/alerts",
    "/v1/witness",
    "/v1/mirrors",
    "/v1/transactions",
    "/v1/search",
    "/index.json",
    "/jobs.json",
    "/jobs/{id}.json",
    "/messages.json",
    "/models.json",
    "/alerts.json",
    "/transactions.json",
    "/sites/{id}.json",
    "/members/{id}.json",
    "/log.json",
    "/anchors.json",
    "/lineage/{id}.json",
    "/search.json",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with make_site(tmp_path_factory.mktemp("read") / "bank") as site:
        yield site


async def test_what_an_auditor_asks_for_is_entered(site: Site) -> None:
    add(site, 21, "auditor")
    app = create_app(site.settings.home, site)
    async with program(app, key_for(site, 21, "auditor").secret) as auditor:
        for route in (*ON_CHAIN, *READ):
            await auditor.get(route.format(id=new_id(), month="2026-10"))
    site.log.sequence()
    with site.store.read() as session:
        query = select(AuditEntry.index, AuditEntry.actor).order_by(AuditEntry.index)
        rows = session.execute(query.where(AuditEntry.type == type_of("evidence.read"))).all()
    told = [site.log.entries(index, index + 1, opened=True)[0].data for index, _ in rows]
    assert [data and data["route"] for data in told] == list(READ)
    assert {actor for _, actor in rows} == {wallet(21).address.lower()}
