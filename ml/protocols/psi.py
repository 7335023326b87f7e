"""Private set intersection: which rows the guest and all hosts have in common.

Scenario
    The guest and one or more hosts hold tables about partly the same persons, under the same ids.
    Before they train, they need the rows of the persons common to ALL of them, in the same order,
    and nobody may hand over a list of ids.
Who learns what
    Everybody in the job learns the intersection: which of its own rows are in it.  The guest also
    learns, for each host, which of its own rows that host has (with one host that is the same).
    The guest and a host learn how many rows the other has and the type of its ids.  Hosts learn
    nothing of each other beyond the intersection.  The common order is one of pseudo-random
    values, so it tells nothing about the order of anybody's file.
What is not protected
    Parties follow the protocol (semi-honest).  One that puts invented ids into its table learns
    whether the others have them: only the number of its rows, which they see, limits that.  The
    guest decides the order and could leave rows out.  Ids are matched as exact UTF-8 text; a
    person spelled differently is not found.
Assumption
    Decisional Diffie-Hellman in ristretto255, hashing to the group as a random oracle.  Every
    point received is checked to be canonical and not the identity; the group has prime order, so
    there are no small subgroups.  Scalars are fresh for each run and hashing is bound to the
    conversation, so nothing seen in one run helps in another.
Rounds
    Two and a half: both sets blinded, the guest's tags back, the matches out.
Source
    Meadows, "A More Efficient Cryptographic Matchmaking Protocol", IEEE S&P 1986; Huberman,
    Franklin, Hogg, "Enhancing Privacy and Trust in Electronic Communities", EC 1999.  ristretto255
    is RFC 9496.

The conversation, with H(x) a hash to the group, `a` the guest's and `b` the host's scalar::

    guest -> host   GuestSet       id type, number of rows
    host  -> guest  HostSet        the same
    guest -> host   GuestBlinded   a H(x), shuffled, in batches
    host  -> guest  HostBlinded    b H(y), shuffled, in batches
    host  -> guest  GuestTags      tag(b a H(x)), in the order of GuestBlinded
    guest -> host   Matched        positions in HostBlinded of the common rows, in common order
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain
from typing import Annotated, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ml.errors import IdTypeMismatch, NoCommonIds, ProtocolViolation, TooFewCommonIds
from ml.federation import GUEST, HOST, Channel, Message, Party, Program, Role
from ml.protocols import ristretto255
from ml.table import IdType, Table
from ml.wire import Shape

VERSION = 1
BATCH = 4096  # points in one message: 128 KiB, about a quarter of a second of work
MAX_ROWS = 2**27  # of a partner; beyond it the claim is no table
# Tags are compared between at most 2**27 x 2**27 pairs: a false match has probability 2**-74 at
# the limit and 2**-88 at a million rows a side.
TAG_BYTES = 16

_DOMAIN_HASH = b"fatechain psi v1 id to point"
_DOMAIN_TAG = b"fatechain psi v1 point to tag"

Points = Annotated[NDArray[np.uint8], Shape("n", ristretto255.POINT_BYTES)]
Tags = Annotated[NDArray[np.uint8], Shape("n", TAG_BYTES)]

T = TypeVar("T")


class Params(BaseModel):
    """What the parties agree on before they match rows."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    minimum_intersection: int = Field(
        default=1,
        ge=1,
        alias="minimumIntersection",
        description="Fewer common rows than this end the job, and no host learns which they are.",
    )


class GuestSet(Message, sender=GUEST, to=HOST):
    """The host learns how many rows the guest has, and the type of its ids."""

    id_type: IdType
    rows: int
    context: bytes  # SHA-256 of the conversation's name: both must mean the same one


class HostSet(Message, sender=HOST, to=GUEST):
    """The guest learns how many rows the host has, and the type of its ids."""

    id_type: IdType
    rows: int
    context: bytes


class GuestBlinded(Message, sender=GUEST, to=HOST):
    """The guest's ids as random-looking points in shuffled order.  The host learns nothing."""

    points: Points


class HostBlinded(Message, sender=HOST, to=GUEST):
    """The host's ids as random-looking points in shuffled order.

    With `GuestTags` the guest learns which of its own rows the host has.
    """

    points: Points


class GuestTags(Message, sender=HOST, to=GUEST):
    """A tag for each point of the guest, which only the host's key can make.

    With `HostBlinded` the guest learns which of its own rows the host has.
    """

    tags: Tags


class Matched(Message, sender=GUEST, to=HOST):
    """The host learns which of its own rows all parties have, and the order to put them in.

    If they are fewer than agreed, it learns only how many.
    """

    count: int
    positions: Annotated[NDArray[np.int64], Shape("n")]


MESSAGES: tuple[type[Message], ...] = (
    GuestSet,
    HostSet,
    GuestBlinded,
    HostBlinded,
    GuestTags,
    Matched,
)


async def guest(ch: Channel, params: Params, table: Table) -> NDArray[np.int64]:
    """The guest's own row positions in the common order, shape (n_common,).

    Raises `NoCommonIds`, `TooFewCommonIds`, `IdTypeMismatch` or a `ConversationError`.
    """
    hosts = ch.peers(HOST)
    if not hosts:
        raise ProtocolViolation("an intersection needs at least one host; the job names none")
    await ch.send(GuestSet(table.schema.id_type, len(table), _digest(ch.context)))
    sizes = {
        h: _agreed_size(ch, table, h, said) for h, said in (await ch.receive_all(HostSet)).items()
    }

    # One scalar and one order for all hosts: hosts who compare what they got see the same
    # points, so together they know no more than each of them alone.
    scalar, order = ristretto255.new_scalar(), shuffled(len(table))
    for batch in _batches(len(table)):
        points = await blind(scalar, ch.context, [table.ids[row] for row in order[batch]])
        await ch.send(GuestBlinded(_array(points, ristretto255.POINT_BYTES)))
        ch.progress(batch.stop, len(table), "blinding own ids")

    views: dict[Party, HostView] = {}
    for h in hosts:
        theirs = await _tags_of_peer(ch, HostBlinded, h, sizes[h], scalar)
        views[h] = HostView.of(order, await _own_tags(ch, h, len(table)), theirs)

    common = common_rows(list(views.values()))
    enough = len(common) >= params.minimum_intersection
    for h, view in views.items():
        positions = [view.positions[row] for row in common] if enough else []
        await ch.send(Matched(len(common), np.array(positions, dtype=np.int64)), to=h)
    _check_count(len(common), params)
    return np.array(common, dtype=np.int64)


async def host(ch: Channel, params: Params, table: Table) -> NDArray[np.int64]:
    """This host's own row positions in the common order, shape (n_common,); errors as `guest`."""
    peer = ch.peer(GUEST)
    await ch.send(HostSet(table.schema.id_type, len(table), _digest(ch.context)))
    size = _agreed_size(ch, table, peer, await ch.receive(GuestSet))

    scalar, order = ristretto255.new_scalar(), shuffled(len(table))
    for batch in _batches(len(table)):
        points = await blind(scalar, ch.context, [table.ids[row] for row in order[batch]])
        await ch.send(HostBlinded(_array(points, ristretto255.POINT_BYTES)))
        ch.progress(batch.stop, len(table), "blinding own ids")

    seen: set[bytes] = set()
    for batch in _batches(size):
        points = checked_points((await ch.receive(GuestBlinded)).points, batch, seen, peer)
        await ch.send(GuestTags(_array(await tag(scalar, points), TAG_BYTES)))
        ch.progress(batch.stop, size, f"tagging the ids of {peer}")

    matched = await ch.receive(Matched)
    if not 0 <= matched.count <= min(len(table), size):
        raise ProtocolViolation(
            f"{peer} claims {matched.count} matches of {len(table)} rows with {size}"
        )
    _check_count(matched.count, params)
    return order[checked_positions(matched, len(table), peer)]


PROGRAMS: dict[Role, Program] = {GUEST: guest, HOST: host}


# --- what the two coroutines share ----------------------------------------------------------


def _agreed_size(ch: Channel, table: Table, peer: Party, said: GuestSet | HostSet) -> int:
    """The peer's number of rows, if its set can be matched with ours at all."""
    if said.context != _digest(ch.context):
        raise ProtocolViolation(f"{peer} is in another conversation than {ch.me}")
    if said.id_type != table.schema.id_type:
        raise IdTypeMismatch(table.schema.id_type, said.id_type, str(peer))
    if not 0 <= said.rows <= MAX_ROWS:
        raise ProtocolViolation(f"{peer} claims {said.rows} rows; allowed are 0 to {MAX_ROWS}")
    return said.rows


async def _tags_of_peer(
    ch: Channel, kind: type[HostBlinded], peer: Party, size: int, scalar: bytes
) -> list[bytes]:
    """Tags of the ids of ``peer``, in the order in which it sent them."""
    seen: set[bytes] = set()
    found: list[bytes] = []
    for batch in _batches(size):
        points = checked_points((await ch.receive(kind, peer)).points, batch, seen, peer)
        found += await tag(scalar, points)
        ch.progress(batch.stop, size, f"tagging the ids of {peer}")
    return found


async def _own_tags(ch: Channel, peer: Party, size: int) -> list[bytes]:
    """The tags that ``peer`` made of our ids, in the order in which we sent them."""
    found: list[bytes] = []
    for batch in _batches(size):
        rows = (await ch.receive(GuestTags, peer)).tags
        _check_batch(len(rows), batch, peer)
        found += _split(rows)
    if len(set(found)) != size:
        raise ProtocolViolation(f"{peer} repeated a tag; ids are distinct, so tags must be")
    return found


def _check_count(count: int, params: Params) -> None:
    if count == 0:
        raise NoCommonIds
    if count < params.minimum_intersection:
        raise TooFewCommonIds(count, params.minimum_intersection)


# --- matching -------------------------------------------------------------------------------


@dataclass(frozen=True)
class HostView:
    """What the guest learns with one host."""

    tags: dict[int, bytes]  # own row -> its tag
    positions: dict[int, int]  # own row that the host has too -> place in the host's order

    @classmethod
    def of(
        cls, order: NDArray[np.int64], ours: Sequence[bytes], theirs: Sequence[bytes]
    ) -> HostView:
        """From the tags of both sides; the k-th of ours is that of row ``order[k]``."""
        place = {tag: position for position, tag in enumerate(theirs)}
        tags = {int(row): tag for row, tag in zip(order, ours, strict=True)}
        return cls(tags, {row: place[tag] for row, tag in tags.items() if tag in place})


def common_rows(views: Sequence[HostView]) -> list[int]:
    """The guest's rows that every host has, in the order of the first host's tags.

    Tags are pseudo-random, so the order is unrelated to that of any table.
    """
    shared = set(views[0].positions).intersection(*(view.positions for view in views[1:]))
    return sorted(shared, key=views[0].tags.__getitem__)


# --- the work, off the event loop -----------------------------------------------------------


async def blind(scalar: bytes, context: bytes, ids: Sequence[str]) -> list[bytes]:
    """``scalar`` H(id) of each id, where H is bound to the conversation."""
    prefix = _DOMAIN_HASH + len(context).to_bytes(4, "big") + context
    return await _in_threads(
        lambda id: ristretto255.multiply(scalar, ristretto255.hash_to_point(prefix + id.encode())),
        ids,
    )


async def tag(scalar: bytes, points: Sequence[bytes]) -> list[bytes]:
    """A short hash of ``scalar`` times each point, shape `TAG_BYTES`."""
    return await _in_threads(
        lambda point: sha256(_DOMAIN_TAG + ristretto255.multiply(scalar, point)).digest()[
            :TAG_BYTES
        ],
        points,
    )


async def _in_threads(work: Callable[[T], bytes], items: Sequence[T]) -> list[bytes]:
    """``work`` on every item, in order.

    libsodium is called without the interpreter lock, so threads share the work of one batch.
    """
    parts = min(os.cpu_count() or 1, 8)
    shares = [items[len(items) * k // parts : len(items) * (k + 1) // parts] for k in range(parts)]
    done = await asyncio.gather(*(asyncio.to_thread(_each, work, share) for share in shares))
    return list(chain.from_iterable(done))


def _each(work: Callable[[T], bytes], items: Sequence[T]) -> list[bytes]:
    return [work(item) for item in items]


def shuffled(n: int) -> NDArray[np.int64]:
    """The numbers below ``n`` in an order from the system's randomness."""
    order = list(range(n))
    secrets.SystemRandom().shuffle(order)
    return np.array(order, dtype=np.int64)


# --- what is checked of a peer --------------------------------------------------------------


def checked_points(
    rows: NDArray[np.uint8], batch: slice, seen: set[bytes], peer: Party
) -> list[bytes]:
    """The points of one batch; raises `ProtocolViolation` unless all are valid and new."""
    _check_batch(len(rows), batch, peer)
    points = _split(rows)
    if not all(map(ristretto255.is_valid, points)):
        raise ProtocolViolation(f"{peer} sent bytes that are no point of the group")
    before = len(seen)
    seen.update(points)
    if len(seen) != before + len(points):
        raise ProtocolViolation(f"{peer} sent the same point twice; its ids must be distinct")
    return points


def checked_positions(matched: Matched, own_rows: int, peer: Party) -> NDArray[np.int64]:
    """The positions of the matches; raises `ProtocolViolation` unless they are distinct rows."""
    positions = matched.positions
    distinct = len(np.unique(positions))
    if not distinct == len(positions) == matched.count:
        raise ProtocolViolation(
            f"{peer} sent {distinct} distinct positions for {matched.count} matches"
        )
    if positions.min() < 0 or positions.max() >= own_rows:
        raise ProtocolViolation(f"{peer} matched a row outside of the {own_rows} there are")
    return positions


def _check_batch(found: int, batch: slice, peer: Party) -> None:
    if found != batch.stop - batch.start:
        raise ProtocolViolation(
            f"{peer} sent {found} items in a batch of {batch.stop - batch.start}"
        )


# --- bytes ----------------------------------------------------------------------------------


def _batches(n: int) -> Iterator[slice]:
    """``range(n)`` in slices of at most `BATCH`; both sides derive them from the declared size."""
    for start in range(0, n, BATCH):
        yield slice(start, min(start + BATCH, n))


def _array(rows: Sequence[bytes], width: int) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), width)


def _split(rows: NDArray[np.uint8]) -> list[bytes]:
    raw, width = rows.tobytes(), rows.shape[1]
    return [raw[i : i + width] for i in range(0, len(raw), width)]


def _digest(context: bytes) -> bytes:
    return sha256(_DOMAIN_HASH + context).digest()
