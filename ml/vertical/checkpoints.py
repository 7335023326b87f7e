"""What parties keep after every tree, and where they go on after one of them was interrupted.

Each party keeps what a tree left it with, before it begins the next one.  When they talk again,
they go on after the last tree that all have, and draw everything else anew: keys, masks, orders.
The model is that of a training without interruption, byte for byte, since sums are exact and the
rest follows from them.  A training that ended can be followed by one of more trees in the same way.
Who learns what
    In which tree others were interrupted, which they know.  A tree that was half grown is grown
    again from the same gradients: its sums are the same, and hosts charge them again.
What is not protected
    What is kept tells the guest's leaf of every training row, and a host's chosen splits: it is for
    the party alone, and gone once the step has ended.

The conversation, before the first tree and after the last one::

    host  -> guest  Kept       how many trees the host has
    guest -> host   GoOn       after how many trees all go on
    all   -> all    Complete   has kept all trees                     (in the end)

Nobody leaves before all have kept everything: else one who is interrupted then would have nobody
to go on with.  Who begins again with all trees needs nobody, and leaves if others have left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Annotated, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from ml import wire
from ml.errors import PartnerSilent, ProtocolViolation, WireError
from ml.federation import GUEST, HOST, Channel, Message, Party
from ml.local.trees import Tree
from ml.table import Table
from ml.wire import Shape


class Kept(Message, sender=HOST, to=GUEST):
    """The guest learns how many trees the host has kept of a training that was interrupted."""

    trees: int


class GoOn(Message, sender=GUEST, to=HOST):
    """The host learns how many trees all parties have kept of a training that was interrupted, and
    whether these are all there will be."""

    trees: int
    more: bool


class Complete(Message, sender=(GUEST, HOST), to=(GUEST, HOST)):
    """The receiver learns that the sender has kept its part of all trees."""


@wire.register
@dataclass(frozen=True, eq=False)
class GuestTree:
    """What one tree left the guest with."""

    of: bytes
    tree: Tree
    leaf: Annotated[NDArray[np.int32], Shape("rows")]  # where each training row ended


@wire.register
@dataclass(frozen=True, eq=False)
class HostTree:
    """What one tree left a host with: its chosen splits, by their places in its own matrix."""

    of: bytes
    splits: Annotated[NDArray[np.int64], Shape("chosen")]
    is_last: bool  # the guest said that no further tree follows


class Keeper(Protocol):
    """Where one party keeps what it has of one training."""

    def read(self) -> Sequence[bytes]:
        """What was kept, from the first tree on."""
        ...

    def keep(self, tree: int, body: bytes) -> None:
        """Keep ``body`` for this tree (from 0); it is durable when this returns."""
        ...


T = TypeVar("T", GuestTree, HostTree)


@dataclass
class MemoryKeeper:
    """Keeps in memory."""

    bodies: dict[int, bytes] = field(default_factory=dict)

    def read(self) -> Sequence[bytes]:
        """See `Keeper`."""
        return [self.bodies[k] for k in range(len(self.bodies))]

    def keep(self, tree: int, body: bytes) -> None:
        """See `Keeper`."""
        self.bodies[tree] = body


class Book:
    """One party's trees of one training, which ``of`` names: others count for nothing."""

    def __init__(self, keeper: Keeper, params: BaseModel, me: Party, table: Table) -> None:
        self._keeper, self._of = keeper, _name(params, me, table)

    def guest_trees(self) -> list[GuestTree]:
        """What the guest has kept."""
        return self._trees(GuestTree)

    def host_trees(self) -> list[HostTree]:
        """What a host has kept."""
        return self._trees(HostTree)

    def _trees(self, kind: type[T]) -> list[T]:
        found: list[T] = []
        for body in self._keeper.read():
            try:
                tree = wire.loads(body, kind)
            except WireError:
                break  # of another release; grown again
            if tree.of != self._of:
                break
            found.append(tree)
        return found

    def keep_guest(self, number: int, tree: Tree, leaf: NDArray[np.int32]) -> None:
        """The guest has grown tree ``number``, from 0."""
        self._keeper.keep(number, wire.dumps(GuestTree(self._of, tree, leaf)))

    def keep_host(self, number: int, splits: Sequence[int], is_last: bool) -> None:
        """A host has answered all of tree ``number``, from 0."""
        tree = HostTree(self._of, np.array(splits, np.int64), is_last)
        self._keeper.keep(number, wire.dumps(tree))


def _name(params: BaseModel, me: Party, table: Table) -> bytes:
    """A digest of all that the trees of a party follow from at its side."""
    digest = sha256(b"fatechain checkpoint v1")
    # Not how many trees: no tree hangs on it, so a training can be followed by a longer one.
    agreed = params.model_dump_json(exclude={"n_estimators"})
    names = "\n".join((agreed, str(me), *table.schema.features, *table.ids))
    parts = [names.encode(), np.ascontiguousarray(table.X).tobytes()]
    parts.append(b"" if table.y is None else np.ascontiguousarray(table.y).tobytes())
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()


async def agree_guest(ch: Channel, have: int, is_complete: bool) -> GoOn | None:
    """After how many trees all go on, of which the guest has kept ``have``, perhaps all there are.

    None if we have all trees, and some host is silent.  Raises `ProtocolViolation` for a host with
    no number of trees, and `PartnerSilent`.
    """
    try:
        told = await ch.receive_all(Kept)
    except PartnerSilent:
        if is_complete:
            return None
        raise
    for party, said in told.items():
        if said.trees < 0:
            raise ProtocolViolation(f"{party} has kept {said.trees} trees")
    common = min(have, *(said.trees for said in told.values()))
    await ch.send(answer := GoOn(common, common < have or not is_complete))
    return answer


async def agree_host(ch: Channel, have: int, is_complete: bool) -> GoOn | None:
    """After how many trees all go on, of which this host has kept ``have``, and if more follow.

    None if we have all trees, and the guest is silent.  Raises `ProtocolViolation` for trees that
    we do not have, and `PartnerSilent`.
    """
    try:
        await ch.send(Kept(have))
        said = await ch.receive(GoOn)
    except PartnerSilent:
        if is_complete:
            return None
        raise
    if not 0 <= said.trees <= have:
        raise ProtocolViolation(f"the guest goes on after {said.trees} trees; we have {have}")
    return said


async def leave_together(ch: Channel) -> None:
    """Our part is kept: wait until those of all others are.  Raises `PartnerSilent`."""
    await ch.send(Complete())
    await ch.receive_all(Complete)
