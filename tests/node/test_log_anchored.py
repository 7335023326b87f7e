"""A log held against the chain: who edits database, tiles and anchors together is found there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
import rfc8785
from sqlalchemy import select, update

from chain import merkle
from node.audit.anchored import heads_on_chain
from node.audit.entries import record
from node.store import Anchor, AuditEntry
from tests.node import consortium
from tests.node.consortium import Consortium
from tests.node.told import available


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    chain, deployment = consortium.found()
    world = consortium.assemble(chain, deployment, tmp_path_factory.mktemp("sites"))
    site = world.bank
    with site.store.begin() as session:
        for number in range(3):
            record(session, "chain.available", site.id, available(number), "sync")
    site.change(anchor_every_entries=1, publish_every_seconds=0.1)
    world.settle(3)
    yield world
    world.close()


def told(world: Consortium) -> list[int]:
    with world.bank.store.read() as session:
        return list(session.scalars(select(Anchor.size).order_by(Anchor.size)))


def test_the_chain_tells_the_heads_and_the_times_of_their_blocks(world: Consortium) -> None:
    sizes = told(world)
    assert sizes
    heads, faults = heads_on_chain(world.network, world.bank.id, sizes)
    assert faults == []
    assert [head.size for head in heads] == sizes
    assert [head.root for head in heads] == [world.bank.log.root(size) for size in sizes]
    for head in heads:
        block = world.network.anchors.head_at(world.bank.id, head.size).at_block
        assert head.time in (None, world.network.client.block(block).timestamp)
    assert world.bank.log.verify(heads) == []


def test_an_anchor_that_nobody_made_is_named(world: Consortium) -> None:
    _, faults = heads_on_chain(world.network, world.bank.id, [1_000_000])
    assert [fault.index for fault in faults] == [1_000_000]


def test_a_log_rewritten_with_its_tiles_and_its_anchors_is_found_by_the_chain(
    world: Consortium,
) -> None:
    site = world.bank
    size = told(world)[-1]
    entry = site.log.entry(size - 1)
    content = rfc8785.dumps({**entry.value, "actor": "nobody"})
    with site.store.begin() as session:
        session.execute(
            update(AuditEntry)
            .where(AuditEntry.index == entry.index)
            .values(entry=content, leaf_hash=merkle.leaf_hash(content), actor="nobody")
        )
    shutil.rmtree(site.settings.log)
    with site.store.begin() as session:
        root = "0x" + site.log.root(size).hex()
        session.execute(update(Anchor).where(Anchor.size == size).values(root=root))
    assert site.log.verify() == []
    heads, _ = heads_on_chain(world.network, site.id, told(world))
    (fault,) = site.log.verify(heads)
    assert fault.what.endswith(f", {size})")
    assert fault.index <= entry.index
