"""How many ids the guest and one host have in common, and nothing else.

Scenario
    Before two institutions agree on a job, they want to know whether it is worth it: how many of
    their customers they share, without anybody learning which.
Who learns what
    The guest learns how many ids are common; the host too, unless the job gives the result to the
    guest alone.  Both learn how many distinct ids the other has, and their type.
What is not protected
    Parties follow the protocol (semi-honest).  The number itself tells something: whoever counts
    twice, with one id more, learns whether the other has that id; a minimum does not prevent it.
    One host only: with several, the guest would learn the numbers of every pair.
Assumption and source
    Those of `ml.protocols.psi.ecdh`; returned in another order, tags tell only how many are equal:
    De Cristofaro, Gasti, Tsudik, "Fast and Private Computation of Cardinality of Set Intersection
    and Union", CANS 2012, fig. 1.

The conversation::

    guest -> host   GuestSet, Start    as in every matching
    host  -> guest  HostSet
    guest -> host   GuestBlinded       a H(x), in secret order
    host  -> guest  HostBlinded        b H(y), in secret order
    host  -> guest  ShuffledTags       tag(b a H(x)), in a secret order of the host
    guest -> host   Count              how many are common
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from ml.algorithm import Algorithm
from ml.errors import ProtocolViolation
from ml.federation import GUEST, HOST, Channel, Message, Program, Role
from ml.protocols.psi import ecdh
from ml.protocols.psi.alone import NoParams
from ml.protocols.psi.keys import Distinct, Keys
from ml.protocols.psi.matching import batches, check_batch, check_count, secret_order
from ml.protocols.psi.opening import (
    GuestSet,
    HostSet,
    Start,
    new_salt,
    open_as_guest,
    open_as_host,
    session,
    started,
)
from ml.protocols.psi.params import Params
from ml.table import Table
from ml.wire import Shape


class ShuffledTags(Message, sender=HOST, to=GUEST):
    """A tag for each point of the guest, in an order that only the host knows.

    With `HostBlinded` the guest learns how many of its ids the host has, and not which.
    """

    tags: Annotated[NDArray[np.uint8], Shape("n", ecdh.TAG_BYTES)]


class Count(Message, sender=GUEST, to=HOST):
    """The host learns how many ids are common."""

    count: int


MESSAGES: tuple[type[Message], ...] = (
    GuestSet,
    HostSet,
    Start,
    ecdh.GuestBlinded,
    ecdh.HostBlinded,
    ShuffledTags,
    Count,
)


async def guest(ch: Channel, params: Params, table: Table | Keys) -> int:
    """The number of common ids.  Raises as `ml.protocols.psi.guest`."""
    peer, keys = ch.peer(HOST), Distinct.of(table, params.duplicates)
    [size] = (await open_as_guest(ch, keys)).values()
    await ch.send(Start("ecdh", salt := new_salt()))
    scalar, _ = await ecdh.send_blinded(ch, ecdh.GuestBlinded, keys.ids, session(ch, salt))
    theirs = await ecdh.tags_of_peer(ch, peer, size, scalar)
    ours: list[bytes] = []
    for batch in batches(len(keys), ecdh.BATCH):
        tags = (await ch.receive(ShuffledTags)).tags
        check_batch(len(tags), batch, peer)
        ours += ecdh.split(tags)
    if len(set(ours)) != len(keys):
        raise ProtocolViolation(f"{peer} repeated a tag; ids are distinct, so tags must be")
    count = len(set(ours) & set(theirs))
    if params.result == "all":
        await ch.send(Count(count))
    check_count(count, params)
    return count


async def host(ch: Channel, params: Params, table: Table | Keys) -> int | None:
    """The number of common ids, or None if it is the guest's alone.  Errors as `guest`."""
    peer, keys = ch.peer(GUEST), Distinct.of(table, params.duplicates)
    size = await open_as_host(ch, keys)
    method, name = await started(ch, params, max(size, len(keys)))
    if method != "ecdh":
        raise ProtocolViolation(f"{peer} chose {method}; ids are counted by ecdh")
    scalar, _ = await ecdh.send_blinded(ch, ecdh.HostBlinded, keys.ids, name)
    # All of them first: within a batch the guest would know its points again.
    tags = ecdh.as_array(await ecdh.tags_for_peer(ch, peer, size, scalar), ecdh.TAG_BYTES)
    tags = tags[secret_order(size)]
    for batch in batches(size, ecdh.BATCH):
        await ch.send(ShuffledTags(tags[batch]))
    if params.result != "all":
        return None
    count = (await ch.receive(Count)).count
    if not 0 <= count <= min(size, len(keys)):
        raise ProtocolViolation(f"{peer} claims {count} matches of {len(keys)} ids with {size}")
    check_count(count, params)
    return count


PROGRAMS: dict[Role, Program] = {GUEST: guest, HOST: host}

ALGORITHM = Algorithm(
    name="counting",
    version=1,
    params=NoParams,
    fit=PROGRAMS,
    predict={},
    parts={},
    messages=MESSAGES,
    notice=(
        "The guest learns how many ids it shares with the host, and not which; the host too, "
        "unless the job gives the result to the guest alone. Both learn how many distinct ids the "
        "other brings. Who counts twice, with one id more, learns whether the other has that id."
    ),
)
