"""Matching by blinded points: Diffie-Hellman on hashes of the ids.

For small tables, and for several hosts: the guest blinds its ids once for all of them.  In this
order, with H(x) a hash to the group, `a` the guest's and `b` the host's scalar::

    guest -> host   GuestBlinded   a H(x), in secret order, in batches
    host  -> guest  HostBlinded    b H(y), in secret order, in batches
    host  -> guest  GuestTags      tag(b a H(x)), in the order of GuestBlinded

Assumption
    Decisional Diffie-Hellman in ristretto255, hashing to the group as a random oracle.  Every
    point received is checked to be canonical and not the identity; the group has prime order, so
    there are no small subgroups.  Scalars are fresh for each run and hashing is bound to the
    conversation, so nothing seen in one run helps in another.
Source
    Meadows, "A More Efficient Cryptographic Matchmaking Protocol", IEEE S&P 1986; Huberman,
    Franklin, Hogg, "Enhancing Privacy and Trust in Electronic Communities", EC 1999.  ristretto255
    is RFC 9496.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from itertools import chain
from typing import Annotated, TypeVar

import numpy as np
from numpy.typing import NDArray

from ml.crypto import ristretto255
from ml.crypto.commutative import Key
from ml.errors import ProtocolViolation
from ml.federation import GUEST, HOST, Channel, Message, Party
from ml.protocols.psi.keys import Rows
from ml.protocols.psi.matching import HostView, batches, check_batch, secret_order
from ml.wire import Shape

BATCH = 4096  # points in one message: 128 KiB, about a quarter of a second of work
# Tags are compared between at most 2**27 x 2**27 pairs: a false match has probability 2**-74 at
# the limit and 2**-88 at a million rows a side.
TAG_BYTES = 16

_DOMAIN_HASH = b"fatechain psi v2 id to point"
_DOMAIN_TAG = b"fatechain psi v2 point to tag"

Points = Annotated[NDArray[np.uint8], Shape("n", ristretto255.POINT_BYTES)]
Tags = Annotated[NDArray[np.uint8], Shape("n", TAG_BYTES)]

T = TypeVar("T")


class GuestBlinded(Message, sender=GUEST, to=HOST):
    """The guest's ids as random-looking points in shuffled order.  The host learns nothing."""

    points: Points


class HostBlinded(Message, sender=HOST, to=GUEST):
    """The host's ids as random-looking points in shuffled order.  Alone they tell nothing."""

    points: Points


class GuestTags(Message, sender=HOST, to=GUEST):
    """A tag for each point of the guest, which only the host's key can make.

    With `HostBlinded` the guest learns which of its own rows the host has.
    """

    tags: Tags


MESSAGES: tuple[type[Message], ...] = (GuestBlinded, HostBlinded, GuestTags)


async def guest(
    ch: Channel, ids: Sequence[str], sizes: Mapping[Party, int], session: bytes
) -> list[HostView]:
    """What the guest learns with each host."""
    # One scalar and one order for all hosts: hosts who compare what they got see the same
    # points, so together they know no more than each of them alone.
    scalar, order = await send_blinded(ch, GuestBlinded, ids, session)
    views = []
    for host, size in sizes.items():
        theirs = await tags_of_peer(ch, host, size, scalar)
        place = {tag: position for position, tag in enumerate(theirs)}
        ours = await _own_tags(ch, host, len(ids))
        found = np.empty(len(ids), np.int64)
        found[order] = [place.get(tag, -1) for tag in ours]
        views.append(HostView(found, size, host))
    return views


async def host(ch: Channel, ids: Sequence[str], size: int, session: bytes) -> Rows:
    """The secret order in which this host sent its ids."""
    peer = ch.peer(GUEST)
    scalar, order = await send_blinded(ch, HostBlinded, ids, session)
    seen: set[bytes] = set()
    for batch in batches(size, BATCH):
        points = checked_points((await ch.receive(GuestBlinded)).points, batch, seen, peer)
        await ch.send(GuestTags(as_array(await tag(scalar, points), TAG_BYTES)))
        ch.progress(batch.stop, size, f"tagging the ids of {peer}")
    return order


async def send_blinded(
    ch: Channel,
    kind: type[GuestBlinded] | type[HostBlinded],
    ids: Sequence[str],
    session: bytes,
) -> tuple[bytes, Rows]:
    """Send our ids blinded; the fresh scalar, and the secret order in which they went."""
    scalar, order = ristretto255.new_scalar(), secret_order(len(ids))
    for batch in batches(len(ids), BATCH):
        points = await blind(scalar, session, [ids[row] for row in order[batch]])
        await ch.send(kind(as_array(points, ristretto255.POINT_BYTES)))
        ch.progress(batch.stop, len(ids), "blinding own ids")
    return scalar, order


async def tags_for_peer(ch: Channel, peer: Party, size: int, scalar: bytes) -> list[bytes]:
    """Tags of the points of the guest, in the order in which they came."""
    seen: set[bytes] = set()
    found: list[bytes] = []
    for batch in batches(size, BATCH):
        points = checked_points((await ch.receive(GuestBlinded)).points, batch, seen, peer)
        found += await tag(scalar, points)
        ch.progress(batch.stop, size, f"tagging the ids of {peer}")
    return found


async def tags_of_peer(ch: Channel, peer: Party, size: int, scalar: bytes) -> list[bytes]:
    """Tags of the ids of ``peer``, in the order in which it sent them."""
    seen: set[bytes] = set()
    found: list[bytes] = []
    for batch in batches(size, BATCH):
        points = checked_points((await ch.receive(HostBlinded, peer)).points, batch, seen, peer)
        found += await tag(scalar, points)
        ch.progress(batch.stop, size, f"tagging the ids of {peer}")
    return found


async def _own_tags(ch: Channel, peer: Party, size: int) -> list[bytes]:
    """The tags that ``peer`` made of our ids, in the order in which we sent them."""
    found: list[bytes] = []
    for batch in batches(size, BATCH):
        rows = (await ch.receive(GuestTags, peer)).tags
        check_batch(len(rows), batch, peer)
        found += split(rows)
    if len(set(found)) != size:
        raise ProtocolViolation(f"{peer} repeated a tag; ids are distinct, so tags must be")
    return found


# --- the work, off the event loop -----------------------------------------------------------


async def blind(scalar: bytes, session: bytes, ids: Sequence[str]) -> list[bytes]:
    """``scalar`` H(id) of each id, where H is bound to the session."""
    key = Key(scalar)
    return await _in_threads(lambda id: key.encrypt(point_of(session, id)), ids)


async def tag(scalar: bytes, points: Sequence[bytes]) -> list[bytes]:
    """A short hash of ``scalar`` times each point, shape `TAG_BYTES`."""
    key = Key(scalar)
    return await _in_threads(
        lambda point: sha256(_DOMAIN_TAG + key.encrypt(point)).digest()[:TAG_BYTES], points
    )


def point_of(session: bytes, id: str) -> bytes:
    """H(id)."""
    return ristretto255.hash_to_point(_DOMAIN_HASH + session + id.encode())


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


# --- bytes ----------------------------------------------------------------------------------


def checked_points(
    rows: NDArray[np.uint8], batch: slice, seen: set[bytes], peer: Party
) -> list[bytes]:
    """The points of one batch; raises `ProtocolViolation` unless all are valid and new."""
    check_batch(len(rows), batch, peer)
    points = split(rows)
    if not all(map(ristretto255.is_valid, points)):
        raise ProtocolViolation(f"{peer} sent bytes that are no point of the group")
    before = len(seen)
    seen.update(points)
    if len(seen) != before + len(points):
        raise ProtocolViolation(f"{peer} sent the same point twice; its ids must be distinct")
    return points


def as_array(rows: Sequence[bytes], width: int) -> NDArray[np.uint8]:
    """Byte strings of one width as the rows of an array."""
    return np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), width)


def split(rows: NDArray[np.uint8]) -> list[bytes]:
    """The rows as byte strings."""
    raw, width = rows.tobytes(), rows.shape[1]
    return [raw[i : i + width] for i in range(0, len(raw), width)]
