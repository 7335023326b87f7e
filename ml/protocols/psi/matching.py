"""What a matching comes to: the guest's view of each host, the common rows, who is told."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from ml.crypto.prg import KEY_BYTES, Stream
from ml.errors import NoCommonIds, ProtocolViolation, TooFewCommonIds
from ml.federation import GUEST, HOST, Channel, Message, Party
from ml.protocols.psi.keys import Rows
from ml.protocols.psi.params import Params
from ml.wire import Shape

BATCH = 2**18  # positions in one message: 2 MiB


class Matched(Message, sender=GUEST, to=HOST):
    """The host learns which of its own rows all parties have, and the order to put them in.

    If they are fewer than agreed, it learns only how many.
    """

    count: int
    positions: Annotated[NDArray[np.int64], Shape("n")]


@dataclass(frozen=True, eq=False)
class HostView:
    """What the guest learns with one host: where in the host's secret order its own ids are.

    Raises `ProtocolViolation` where two of them are in one place.
    """

    found: Rows  # (n_own,): the place of each own id, or -1
    size: int  # ids of the host
    host: Party

    def __post_init__(self) -> None:
        places = self.found[self.found >= 0]
        taken = np.zeros(self.size, np.bool_)
        taken[places] = True
        if int(taken.sum()) != len(places):
            raise ProtocolViolation(f"{self.host} gave one of its ids the tags of two")


def common_rows(views: Sequence[HostView]) -> tuple[Rows, dict[Party, Rows]]:
    """The guest's rows that every host has, and their places at each host.

    They stand in the secret order of the first host, which is unrelated to that of any table.
    """
    shared = np.flatnonzero(np.all([view.found >= 0 for view in views], axis=0))
    rows = np.full(views[0].size, -1, np.int64)
    rows[views[0].found[shared]] = shared
    rows = rows[rows >= 0]
    return rows, {view.host: view.found[rows] for view in views}


async def tell(ch: Channel, params: Params, rows: Rows, positions: Mapping[Party, Rows]) -> None:
    """Tell each host its rows, where the job says so.  Raises `NoCommonIds`, `TooFewCommonIds`."""
    if params.result == "all":
        enough = len(rows) >= params.minimum_intersection
        for host, theirs in positions.items():
            for batch in batches(len(rows) if enough else 0, BATCH):
                await ch.send(Matched(len(rows), theirs[batch]), to=host)
    check_count(len(rows), params)


async def told(ch: Channel, params: Params, order: Rows, peer_rows: int) -> Rows:
    """The host's common rows; ``order`` is its secret order.  Raises as `tell`.

    No rows where the job gives the result to the guest alone.
    """
    if params.result != "all":
        return np.empty(0, np.int64)
    peer, own_rows = ch.peer(GUEST), len(order)
    matched = await ch.receive(Matched)
    count = matched.count
    if not 0 <= count <= min(own_rows, peer_rows):
        raise ProtocolViolation(
            f"{peer} claims {count} matches of {own_rows} rows with {peer_rows}"
        )
    check_count(count, params)
    found = []
    for batch in batches(count, BATCH):
        if batch.start:
            matched = await ch.receive(Matched)
        if matched.count != count or len(matched.positions) != batch.stop - batch.start:
            raise ProtocolViolation(
                f"{peer} sent {len(matched.positions)} positions in a batch of "
                f"{batch.stop - batch.start}, for {matched.count} matches of {count}"
            )
        found.append(matched.positions)
    return order[_checked(np.concatenate(found), own_rows, peer)]


def check_count(count: int, params: Params) -> None:
    """Raises `NoCommonIds` or `TooFewCommonIds`."""
    if count == 0:
        raise NoCommonIds
    if count < params.minimum_intersection:
        raise TooFewCommonIds(count, params.minimum_intersection)


def secret_order(n: int) -> Rows:
    """The numbers below ``n`` in an order that nobody else can guess."""
    words = Stream(secrets.token_bytes(KEY_BYTES)).words(n)
    return np.argsort(words).astype(np.int64, copy=False)


def batches(n: int, size: int) -> Iterator[slice]:
    """``range(n)`` in slices of at most ``size``, one empty slice if there is nothing.

    Both sides derive them from a declared size.
    """
    for start in range(0, n, size) or (0,):
        yield slice(start, min(start + size, n))


def check_batch(found: int, batch: slice, peer: Party) -> None:
    """Raises `ProtocolViolation` unless ``found`` is the size of the batch."""
    if found != batch.stop - batch.start:
        raise ProtocolViolation(
            f"{peer} sent {found} items in a batch of {batch.stop - batch.start}"
        )


def _checked(positions: Rows, own_rows: int, peer: Party) -> Rows:
    if positions.min() < 0 or positions.max() >= own_rows:
        raise ProtocolViolation(f"{peer} matched a row outside of the {own_rows} there are")
    seen = np.zeros(own_rows, np.bool_)
    seen[positions] = True
    if (distinct := int(seen.sum())) != len(positions):
        raise ProtocolViolation(
            f"{peer} sent {distinct} distinct positions for {len(positions)} matches"
        )
    return positions
