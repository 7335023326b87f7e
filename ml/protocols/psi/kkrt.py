"""Matching by a pseudo-random function that the guest evaluates on its ids under the host's keys.

For large tables: about two microseconds for an id at each party, 76 bytes for one of the guest's
(56 in each of 1.27 bins, and its place) and 36 for one of the host's.  In this order, with each
host apart::

    guest -> host   KeyOffer     the offer of 448 oblivious transfers
    host  -> guest  KeyChoices   what the host chooses from it, blinded
    guest -> host   Corrections  one row for each bin of the guest's table
    host  -> guest  HostTags     the function of each host id in each of its three bins, in secret
                                 order: all first bins, all second bins, all third bins

The guest has the function of each of its ids in the bin where it lies, and finds them among the
host's.  Of all other ids the host's tags are random to it.

Assumption
    That of `ml.crypto.ot_extension` and `ml.crypto.ot`.  Tags have 96 bits: with 2**24 ids a side a
    false match has probability below 2**-46.
Source
    Kolesnikov, Kumaresan, Rosulek, Trieu, "Efficient Batched Oblivious PRF with Applications to
    Private Set Intersection", CCS 2016, fig. 4, without a stash (see `ml.protocols.psi.bins`).
"""

# mypy: allow-untyped-defs
# (Arguments of compiled functions have the types of their calls.)

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from ml.crypto import ot, ristretto255
from ml.crypto.compiled import compiled
from ml.crypto.errors import InvalidPoint
from ml.crypto.ot_extension import WIDTH, WORDS, Receiver, Sender, Tags, new_choices
from ml.errors import ProtocolViolation
from ml.federation import GUEST, HOST, Channel, Message, Party
from ml.protocols.psi import bins
from ml.protocols.psi.ecdh import as_array, split
from ml.protocols.psi.keys import Rows
from ml.protocols.psi.matching import HostView, batches, check_batch, secret_order
from ml.wire import Shape

PART = 2**15  # bins worked on at once: what the processor's cache holds
# In one message, 7 and 6 MiB.  Each is signed, made durable and entered in the logs of both sites:
# few of them cost little beside the work on them, and none is near what a node takes.
BINS_AT_ONCE = 2**17
TAGS_AT_ONCE = 2**19

Points = Annotated[NDArray[np.uint8], Shape("n", ristretto255.POINT_BYTES)]


class KeyOffer(Message, sender=GUEST, to=HOST):
    """One random point.  The host learns nothing."""

    points: Points  # (1, 32)


class KeyChoices(Message, sender=HOST, to=GUEST):
    """Random points, from which both derive keys.  The guest learns nothing."""

    points: Points  # (WIDTH, 32)


class Corrections(Message, sender=GUEST, to=HOST):
    """A masked row for each bin of the guest's table, empty or not.  The host learns nothing."""

    rows: Annotated[NDArray[np.uint64], Shape("n", WORDS)]


class HostTags(Message, sender=HOST, to=GUEST):
    """Three tags for each id of the host, in secret order.

    With its own tags the guest learns which of its own rows the host has.
    """

    high: Annotated[NDArray[np.uint64], Shape("n")]
    low: Annotated[NDArray[np.uint32], Shape("n")]


MESSAGES: tuple[type[Message], ...] = (KeyOffer, KeyChoices, Corrections, HostTags)


async def guest(
    ch: Channel, table: bins.Table, sizes: Mapping[Party, int], session: bytes
) -> list[HostView]:
    """What the guest learns with each host."""
    offers = {host: ot.Offer.new() for host in sizes}
    for host, offer in offers.items():
        await ch.send(KeyOffer(as_array([offer.point], ristretto255.POINT_BYTES)), to=host)
    own: dict[Party, Own] = {}
    for host, offer in offers.items():
        chosen = (await ch.receive(KeyChoices, host)).points
        if len(chosen) != WIDTH:
            raise ProtocolViolation(f"{host} chose {len(chosen)} keys; needed are {WIDTH}")
        own[host] = await _corrected(ch, host, offer, split(chosen), table, session)
    return [await _matched(ch, host, size, own[host]) for host, size in sizes.items()]


async def host(ch: Channel, hashes: bins.Hashes, size: int, session: bytes) -> Rows:
    """The secret order in which this host sent its tags."""
    peer = ch.peer(GUEST)
    offered = (await ch.receive(KeyOffer)).points
    if len(offered) != 1:
        raise ProtocolViolation(f"{peer} made {len(offered)} offers of keys; needed is one")
    bits = new_choices()
    try:
        choice = await asyncio.to_thread(ot.Choice.of, offered.tobytes(), bits, _keys(session))
    except InvalidPoint as error:
        raise ProtocolViolation(f"{peer} sent bytes that are no point of the group") from error
    await ch.send(KeyChoices(as_array(choice.points, ristretto255.POINT_BYTES)))

    sender = Sender(bits, choice.keys, bins.code_session(session))
    order = secret_order(len(hashes))
    place = np.empty(len(order), np.uint32)
    place[order] = np.arange(len(order), dtype=np.uint32)
    count = bins.bin_count(size)
    visits = await asyncio.to_thread(bins.Visits.of, hashes, count, PART)
    tags = Tags.empty(bins.CHOICES * len(hashes))
    for message in batches(count, BINS_AT_ONCE):
        rows = (await ch.receive(Corrections)).rows
        check_batch(len(rows), message, peer)
        for part in parts(message):
            own = rows[part.start - message.start : part.stop - message.start]
            number = part.start // PART
            await asyncio.to_thread(_evaluate, sender, own, visits, number, place, tags)
        ch.progress(message.stop, count, f"evaluating for {peer}")
    for batch in batches(len(tags), TAGS_AT_ONCE):
        await ch.send(HostTags(tags.high[batch], tags.low[batch]))
    return order


def parts(message: slice) -> Iterator[slice]:
    """The bins of a message as they are worked on."""
    for start in range(message.start, message.stop, PART):
        yield slice(start, min(start + PART, message.stop))


# --- the guest's part -----------------------------------------------------------------------


class Own:
    """The guest's tag of each of its rows with one host, and an index to find them by."""

    def __init__(self, rows: int) -> None:
        self.tags = Tags.empty(rows)
        self.which = np.empty(rows, np.uint8)
        self.index = np.full(1 << max(2 * rows - 1, 1).bit_length(), -1, np.int32)

    def add(self, slots: NDArray[np.int32], tags: Tags) -> None:
        """The tags of some bins, with what lies in these."""
        _keep(slots, tags.high, tags.low, self.tags.high, self.tags.low, self.which, self.index)

    def find(self, tags: Tags, which: int, first: int, found: NDArray[np.int64]) -> int:
        """Write the places of tags of ours to ``found``; how many were there before."""
        return int(
            _find(
                self.index,
                self.tags.high,
                self.tags.low,
                self.which,
                tags.high,
                tags.low,
                which,
                first,
                found,
            )
        )


async def _corrected(
    ch: Channel,
    peer: Party,
    offer: ot.Offer,
    chosen: list[bytes],
    table: bins.Table,
    session: bytes,
) -> Own:
    """Send the corrections for all bins; our own tags."""
    try:
        pairs = await asyncio.to_thread(offer.keys, chosen, _keys(session))
    except InvalidPoint as error:
        raise ProtocolViolation(f"{peer} sent bytes that are no point of the group") from error
    receiver, noise = Receiver(pairs, bins.code_session(session)), bins.new_noise()
    own, count = Own(len(table.hashes)), len(table.slots)
    for message in batches(count, BINS_AT_ONCE):
        corrections = []
        for part in parts(message):
            inputs, tweaks = table.part(part.start, part.stop, noise)
            rows, tags = await asyncio.to_thread(receiver.next, inputs, tweaks)
            corrections.append(rows)
            await asyncio.to_thread(own.add, table.slots[part], tags)
        await ch.send(Corrections(np.concatenate(corrections)), to=peer)
        ch.progress(message.stop, count, f"evaluating with {peer}")
    return own


async def _matched(ch: Channel, peer: Party, size: int, own: Own) -> HostView:
    """Find our tags among those of ``peer``."""
    found = np.full(len(own.tags), -1, np.int64)
    for batch in batches(bins.CHOICES * size, TAGS_AT_ONCE):
        said = await ch.receive(HostTags, peer)
        check_batch(len(said.high), batch, peer)
        tags, first = Tags(said.high, said.low), batch.start
        while len(tags):
            which, place = divmod(first, size)
            part = tags[: size - place]
            if await asyncio.to_thread(own.find, part, which, place, found):
                raise ProtocolViolation(f"{peer} repeated a tag; ids are distinct, so tags must be")
            tags, first = tags[len(part) :], first + len(part)
    return HostView(found, size, peer)


# --- the host's part ------------------------------------------------------------------------


def _evaluate(
    sender: Sender,
    corrections: NDArray[np.uint64],
    visits: bins.Visits,
    number: int,
    place: NDArray[np.uint32],
    tags: Tags,
) -> None:
    """The tags of all entries that meet this part of the guest's table, put where they belong."""
    keys = sender.next(corrections)
    entries, at, inputs, tweaks = visits.visit(number)
    found = sender.evaluate(keys, at, inputs, tweaks)
    _put(entries, place, found.high, found.low, tags.high, tags.low)


def _keys(session: bytes) -> bytes:
    return b"fatechain psi v2 keys" + session


# --- kernels --------------------------------------------------------------------------------


@compiled
def _put(entries, place, high, low, all_high, all_low):
    n = place.shape[0]
    for k in range(entries.shape[0]):
        to = np.int64(entries[k] & np.uint32(3)) * n + np.int64(place[entries[k] >> np.uint32(2)])
        all_high[to], all_low[to] = high[k], low[k]


@compiled
def _keep(slots, high, low, own_high, own_low, own_which, index):
    mask = np.uint64(index.shape[0] - 1)
    for k in range(slots.shape[0]):
        if slots[k] < 0:
            continue
        row = slots[k] >> 2
        own_high[row], own_low[row], own_which[row] = high[k], low[k], slots[k] & 3
        at = high[k] & mask
        while index[at] >= 0:
            at = (at + np.uint64(1)) & mask
        index[at] = row


@compiled
def _find(index, own_high, own_low, own_which, high, low, which, first, found):
    mask = np.uint64(index.shape[0] - 1)
    again = 0
    for k in range(high.shape[0]):
        at = high[k] & mask
        while index[at] >= 0:
            row = index[at]
            if own_high[row] == high[k] and own_low[row] == low[k] and own_which[row] == which:
                again += found[row] >= 0
                found[row] = first + k
            at = (at + np.uint64(1)) & mask
    return again
