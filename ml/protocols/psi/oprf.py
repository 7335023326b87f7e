"""Matching a small table with a large one: the guest has a pseudo-random function evaluated.

The guest's work grows with its own table alone, but for one look at each tag of a host.  A host
multiplies a point for each of its ids, which takes some thirty times as long as a row of `kkrt`,
and sends 6 to 12 bytes for it, a third or less of what `kkrt` does.  In this order, with each
host::

    guest -> host   Questions   r H(x), in secret order
    host  -> guest  Answers     k r H(x), in that order
    host  -> guest  Filter      a short tag of y and k H(y), in secret order

The guest takes r away again, makes the tags of its own ids, and finds them among the host's.

Assumption
    One-more gap Diffie-Hellman in ristretto255, both hashes as random oracles: without the host's
    k, which is fresh for each run, tags of ids that the guest did not ask for are random to it.  It
    can ask for as many as it declared.  Its questions are points that decisional Diffie-Hellman
    hides.  Tags are as long as keeps a false match below 2**-40 for the whole run.
Source
    Jarecki, Kiayias, Krawczyk, "Round-Optimal Password-Protected Secret Sharing and T-PAKE in the
    Password-Only Model", ASIACRYPT 2014, § 3 (2HashDH); the group and the final hash over input and
    point are those of RFC 9497, which is not followed byte for byte.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from ml.crypto import ristretto255
from ml.errors import ProtocolViolation
from ml.federation import GUEST, HOST, Channel, Message, Party
from ml.protocols.psi.ecdh import BATCH, Points, as_array, checked_points, point_of
from ml.protocols.psi.keys import Rows
from ml.protocols.psi.matching import HostView, batches, check_batch, secret_order
from ml.wire import Shape

TAGS_AT_ONCE = 2**19  # in one message: 6 MiB at most
FALSE_MATCH_BITS = 40

_DOMAIN = b"fatechain psi v3 point to tag of a filter"


class Questions(Message, sender=GUEST, to=HOST):
    """The guest's ids as random-looking points in shuffled order.  The host learns nothing."""

    points: Points


class Answers(Message, sender=HOST, to=GUEST):
    """The host's function of the guest's ids, and of no other id."""

    points: Points


class Filter(Message, sender=HOST, to=GUEST):
    """A short tag for each id of the host, in secret order.

    With `Answers` the guest learns which of its own rows the host has.
    """

    tags: Annotated[NDArray[np.uint8], Shape("n", "width")]


MESSAGES: tuple[type[Message], ...] = (Questions, Answers, Filter)


def tag_bytes(guest_ids: int, host_ids: int) -> int:
    """So long that any false match among all pairs has probability below 2**-40."""
    pairs = max(guest_ids, 1) * max(host_ids, 1)
    return -(-(FALSE_MATCH_BITS + pairs.bit_length()) // 8)


async def guest(
    ch: Channel, ids: Sequence[str], sizes: Mapping[Party, int], session: bytes
) -> list[HostView]:
    """What the guest learns with each host."""
    views = []
    for host, size in sizes.items():
        scalar, order = ristretto255.new_scalar(), secret_order(len(ids))
        for batch in batches(len(ids), BATCH):
            asked = [ids[row] for row in order[batch]]
            points = await asyncio.to_thread(_times_hash, scalar, asked, session)
            await ch.send(Questions(as_array(points, ristretto255.POINT_BYTES)), to=host)
        undo, width = ristretto255.invert(scalar), tag_bytes(len(ids), size)
        row_of: dict[bytes, int] = {}
        seen: set[bytes] = set()
        for batch in batches(len(ids), BATCH):
            answers = checked_points((await ch.receive(Answers, host)).points, batch, seen, host)
            rows = [int(row) for row in order[batch]]
            found = await asyncio.to_thread(
                _tags, undo, answers, [ids[row] for row in rows], session, width
            )
            row_of |= zip(found, rows, strict=True)
        views.append(await _sought(ch, host, size, row_of, len(ids), width))
        ch.progress(len(views), len(sizes), "matching")
    return views


async def host(ch: Channel, ids: Sequence[str], size: int, session: bytes) -> Rows:
    """The secret order in which this host sent its tags."""
    peer, key, seen = ch.peer(GUEST), ristretto255.new_scalar(), set[bytes]()
    for batch in batches(size, BATCH):
        points = checked_points((await ch.receive(Questions)).points, batch, seen, peer)
        answers = await asyncio.to_thread(_times, key, points)
        await ch.send(Answers(as_array(answers, ristretto255.POINT_BYTES)))
    order, width = secret_order(len(ids)), tag_bytes(size, len(ids))
    for batch in batches(len(ids), TAGS_AT_ONCE):
        tags: list[bytes] = []
        own = [ids[row] for row in order[batch]]
        for part in batches(len(own), BATCH):
            points = await asyncio.to_thread(_times_hash, key, own[part], session)
            tags += [
                _tag(id, point, session, width) for id, point in zip(own[part], points, strict=True)
            ]
            ch.progress(batch.start + part.stop, len(ids), f"tags for {peer}")
        await ch.send(Filter(as_array(tags, width)))
    return order


async def _sought(
    ch: Channel, host: Party, size: int, row_of: Mapping[bytes, int], own: int, width: int
) -> HostView:
    """Where the guest's tags stand among those of ``host``."""
    found = np.full(own, -1, np.int64)
    wanted = np.unique(_heads(as_array(list(row_of), width)))
    for batch in batches(size, TAGS_AT_ONCE):
        tags = (await ch.receive(Filter, host)).tags
        check_batch(len(tags), batch, host)
        if tags.shape[1] != width:
            raise ProtocolViolation(f"{host} sent tags of {tags.shape[1]} bytes, not {width}")
        for at in np.flatnonzero(np.isin(_heads(tags), wanted)):
            row = row_of.get(tags[at].tobytes())
            if row is None:
                continue
            if found[row] >= 0:
                raise ProtocolViolation(f"{host} repeated a tag; ids are distinct, so tags must be")
            found[row] = batch.start + at
    return HostView(found, size, host)


def _heads(tags: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """The first four bytes of each tag: few others begin alike."""
    return np.ascontiguousarray(tags[:, :4]).view(np.uint32).reshape(len(tags))


def _times(scalar: bytes, points: Sequence[bytes]) -> list[bytes]:
    return [ristretto255.multiply(scalar, point) for point in points]


def _times_hash(scalar: bytes, ids: Sequence[str], session: bytes) -> list[bytes]:
    return [ristretto255.multiply(scalar, point_of(session, id)) for id in ids]


def _tags(
    scalar: bytes, points: Sequence[bytes], ids: Sequence[str], session: bytes, width: int
) -> list[bytes]:
    return [
        _tag(id, ristretto255.multiply(scalar, point), session, width)
        for id, point in zip(ids, points, strict=True)
    ]


def _tag(id: str, point: bytes, session: bytes, width: int) -> bytes:
    """What the function is of an id: a hash over the id, too, as long as it must be."""
    return sha256(_DOMAIN + session + point + id.encode()).digest()[:width]
