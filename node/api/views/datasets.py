"""Datasets: what the chain has of all of them, and what this site knows of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from node.api.pages import Page
from node.api.views.model import Shown
from node.api.views.names import Named, Names
from node.api.views.sites import slice_of
from node.errors import NotFound
from node.store import ChainTx, LocalDataset

if TYPE_CHECKING:
    from chain.network import Network
    from node.site import Site

STANDING, WITHDRAWN, PENDING, REFUSED = "STANDING", "WITHDRAWN", "PENDING", "REFUSED"


class VersionShown(Shown):
    """A commitment; until_block 0: it stands.  Blocks are 0 before the chain has it."""

    version: int
    state: str
    schema_digest: str
    rows_root: str
    rows: int
    columns: int
    from_block: int
    until_block: int


class LocalFacts(Shown):
    """What only this site knows; the commitment key and the path stay out of every answer."""

    id_column: str
    label_column: str | None
    features: list[str]
    file_digests: dict[int, str]


class DatasetShown(Shown):
    """`state` is that of the newest version."""

    id: str
    name: str
    state: str
    site: Named
    owner: Named | None
    versions: list[VersionShown]
    mine: bool
    local: LocalFacts | None


def page(site: Site, names: Names, *, limit: int, cursor: str | None = None) -> Page[DatasetShown]:
    """This site's unconfirmed ones first, then those of the chain in the order they came."""
    network = site.network()
    on_chain = network.datasets.datasets()
    waiting = _local_ids(site) - set(on_chain) if cursor is None else set()
    ids, more = slice_of(on_chain, limit, cursor)
    shown = [_pending(site, names, id) for id in sorted(waiting)]
    shown += [_on_chain(site, network, names, id) for id in ids]
    return Page(items=shown, next=more)


def show(site: Site, names: Names, id: str) -> DatasetShown:
    """Raises `NotFound` (``DatasetUnknown``)."""
    from chain.errors import ContractRefused

    network = site.network()
    try:
        return _on_chain(site, network, names, id)
    except ContractRefused as refusal:
        if id in _local_ids(site):
            return _pending(site, names, id)
        raise NotFound("DatasetUnknown", "no dataset has this id", found=id) from refusal


def _on_chain(site: Site, network: Network, names: Names, id: str) -> DatasetShown:
    dataset = network.datasets.dataset(id)
    names.learn(id, dataset.name)
    versions = []
    for number in range(1, dataset.versions + 1):
        found = network.datasets.version(id, number)
        versions.append(
            VersionShown(
                version=number,
                state=WITHDRAWN if found.until_block else STANDING,
                schema_digest=found.schema_digest,
                rows_root=found.rows_root,
                rows=found.rows,
                columns=found.columns,
                from_block=found.from_block,
                until_block=found.until_block,
            )
        )
    return DatasetShown(
        id=id,
        name=dataset.name,
        state=versions[-1].state,
        site=names.site(dataset.site),
        owner=names.member(dataset.owner),
        versions=versions,
        mine=dataset.site == site.settings.site_id,
        local=_local_facts(_rows(site, id)),
    )


def _pending(site: Site, names: Names, id: str) -> DatasetShown:
    rows = _rows(site, id)
    first = rows[0]
    with site.store.read() as session:
        asked = session.scalar(
            select(ChainTx.state)
            .where(ChainTx.intent.startswith(f"dataset.register:{id}"))
            .order_by(ChainTx.id.desc())
        )
    state = REFUSED if asked == "REFUSED" else PENDING
    return DatasetShown(
        id=id,
        name=first.name,
        state=state,
        site=names.site(site.id),
        owner=None,
        versions=[
            VersionShown(
                version=row.version,
                state=state,
                schema_digest=row.schema_digest,
                rows_root=row.rows_root,
                rows=row.rows,
                columns=row.columns,
                from_block=0,
                until_block=0,
            )
            for row in rows
        ],
        mine=True,
        local=_local_facts(rows),
    )


def _local_ids(site: Site) -> set[str]:
    with site.store.read() as session:
        return set(session.scalars(select(LocalDataset.id).distinct()))


def _rows(site: Site, id: str) -> list[LocalDataset]:
    with site.store.read() as session:
        query = select(LocalDataset).where(LocalDataset.id == id).order_by(LocalDataset.version)
        return list(session.scalars(query))


def _local_facts(rows: list[LocalDataset]) -> LocalFacts | None:
    if not rows:
        return None
    return LocalFacts(
        id_column=rows[0].id_column,
        label_column=rows[0].label_column,
        features=[feature["name"] for feature in rows[0].schema["features"]],
        file_digests={row.version: row.file_digest for row in rows},
    )
