"""Scores of rows by a model whose splits lie at several parties: the guest learns only their sum.

Scenario
    A *path* is what the hosts' splits must say for a row to end in some leaves of a tree.  The
    guest knows for every row and path what the score gains if they do (nothing, if its own splits
    lead elsewhere); each host knows of its own splits whether they do.  A score is the sum of these
    gains over all paths on which all hosts' bits are 1.
Who learns what
    The guest learns the sum for each row and output, a number of 32 bits.  A host learns in which
    combinations its splits lead to leaves, which other hosts are on the way, the number of rows,
    and from the size of a part about how many paths there are at all hosts; never which rows come
    along, nor a leaf.  Hosts learn nothing of each other's bits.
What is not protected
    *The sum tells.*  Of a model of a few trees it tells which leaves a row is in; the ring of
    2^32 caps what it can tell to 32 bits for each output of a row, whatever numbers a guest takes
    for its gains.
    Parties follow the protocol (semi-honest).  Guest and host together learn the sum of the others.
Rounds
    Three before the first row, then two for each host and part of the rows, one more in the end.
Source
    Gilboa, CRYPTO 1999, § 4 (a product of a bit and a number by oblivious transfer), on
    `ml.crypto.correlated`; the shares of all who have some are multiplied host after host.

For every part of the rows, host after host: all who have shares of the gains (the guest, and the
hosts before) multiply them by the host's bits with it, and all keep shares.  At last hosts send the
sums of their shares, under masks that cancel::

    guest      -> host   Paths          paths by the host's numbers                (once)
    host       -> host   MaskSeed       from which both draw masks that cancel     (once)
    host       -> before KeyOffer       the offer of 128 oblivious transfers       (once)
    before     -> host   KeyChoices     what is chosen from it, blinded            (once)
    host       -> before Columns        the host's bits, masked                    (per part)
    before     -> host   Differences    shares of gains, masked                    (per part)
    host       -> guest  Totals         the sum of the host's shares, masked       (per part)
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from ml.crypto import ot, ristretto255
from ml.crypto.correlated import WIDTH, Bits, Chooser, Correlator, Numbers, new_choices, width_of
from ml.crypto.errors import InvalidPoint
from ml.crypto.prg import KEY_BYTES, Stream
from ml.errors import ProtocolViolation
from ml.federation import GUEST, HOST, Channel, Message, Party
from ml.vertical.forest import HostModel, Path
from ml.wire import Shape

RING_BITS = 32
PRODUCTS_PER_PART = 2**18  # rows times paths of one part: 4 MiB of columns
MAX_HOSTS = 62  # as bits of a number

Points = Annotated[NDArray[np.uint8], Shape("n", ristretto255.POINT_BYTES)]


class Paths(Message, sender=GUEST, to=HOST):
    """The host learns in which combinations its splits lead to leaves, and with which other hosts;
    nothing of the rows that come along or of the leaves."""

    splits: Annotated[NDArray[np.int64], Shape("conditions")]  # path after path
    left: Annotated[NDArray[np.bool_], Shape("conditions")]
    lengths: Annotated[NDArray[np.int64], Shape("paths")]  # how many conditions each has
    hosts: Annotated[NDArray[np.int64], Shape("paths")]  # bit k: host k of the job is on it
    rows: int  # in a part


class MaskSeed(Message, sender=HOST, to=HOST):
    """A random number, from which two hosts draw the same masks. The host learns nothing."""

    seed: bytes


class KeyOffer(Message, sender=HOST, to=(GUEST, HOST)):
    """One random point. The receiver learns nothing."""

    points: Points  # (1, 32)


class KeyChoices(Message, sender=(GUEST, HOST), to=HOST):
    """Random points, from which both derive keys. The host learns nothing."""

    points: Points  # (WIDTH, 32)


class Columns(Message, sender=HOST, to=(GUEST, HOST)):
    """Which way rows go at the host's splits, masked by keys. The receiver learns nothing."""

    words: Annotated[NDArray[np.uint64], Shape(WIDTH, "words")]


class Differences(Message, sender=(GUEST, HOST), to=HOST):
    """Shares of what the leaves add, masked by keys. The host learns nothing."""

    numbers: Annotated[NDArray[np.uint32], Shape("products", "outputs")]


class Totals(Message, sender=HOST, to=GUEST):
    """Shares of the sums over all trees. Those of all hosts together give the guest the sums, and
    less than all are random to it."""

    numbers: Annotated[NDArray[np.uint32], Shape("rows", "outputs")]


MESSAGES = (Paths, MaskSeed, KeyOffer, KeyChoices, Columns, Differences, Totals)

Gains = Callable[[slice], NDArray[np.int64]]


def part_rows(paths: int) -> int:
    """How many rows are in a part."""
    return max(1, PRODUCTS_PER_PART // max(paths, 1))


def fraction_bits(largest: float, trees: int) -> int:
    """The most binary digits of gains of which a sum over ``trees`` still fits the ring.

    ``largest`` bounds every sum, which may also have half a step of rounding for each tree.
    """
    room = 2 ** (RING_BITS - 1) - 1 - trees
    return int(np.floor(np.log2(room / max(largest, 2.0**-20))))


# --- the guest ----------------------------------------------------------------------------------


async def guest(
    ch: Channel,
    paths: Sequence[Path],
    hosts: Sequence[Party],
    rows: int,
    outputs: int,
    gains: Gains,
) -> NDArray[np.int64]:
    """The sums of all rows, (rows, outputs), in multiples of whatever ``gains`` are counted in.

    ``hosts`` are those that paths count from 1; ``gains`` gives those of a part, (m, paths,
    outputs), no sum of which leaves 32 bits.  Raises `ProtocolViolation` for what hosts do.
    """
    order = _hosts(ch)
    if len(order) > MAX_HOSTS:
        raise ProtocolViolation(f"{len(order)} hosts; a model is used with at most {MAX_HOSTS}")
    place = {number: order.index(party) for number, party in enumerate(hosts, start=1)}
    masks = np.array([sum(1 << place[h] for h in path.hosts) for path in paths], np.int64)
    size = part_rows(len(paths))
    for number, party in enumerate(hosts, start=1):
        await ch.send(_paths_of(number, paths, masks, size), to=party)
    on = {party: np.flatnonzero(masks >> k & 1) for k, party in enumerate(order)}
    partners = {p: await _choose_keys(ch, p) for p in order if len(on[p])}
    sums = np.empty((rows, outputs), np.uint32)
    for start in range(0, rows, size):
        part = slice(start, min(start + size, rows))
        ch.progress(start, rows, "scoring")
        shares = gains(part).astype(np.uint32)
        for party, correlator in partners.items():
            shares[:, on[party]] = await _correlate(ch, party, correlator, shares[:, on[party]])
        total = shares.sum(axis=1, dtype=np.uint32)
        for party in order:
            said = (await ch.receive(Totals, party)).numbers
            _check_shape(said, total.shape, party)
            total += said
        sums[part] = total
    ch.progress(rows, rows, "scored")
    return sums.view(np.int32).astype(np.int64)


def _paths_of(host: int, paths: Sequence[Path], masks: NDArray[np.int64], rows: int) -> Paths:
    own = [[(n, left) for h, n, left in path.conditions if h == host] for path in paths]
    there = [k for k, conditions in enumerate(own) if conditions]
    flat = [condition for k in there for condition in own[k]]
    return Paths(
        np.array([number for number, _ in flat], np.int64),
        np.array([left for _, left in flat], np.bool_),
        np.array([len(own[k]) for k in there], np.int64),
        masks[there],
        rows,
    )


# --- a host -------------------------------------------------------------------------------------


async def host(ch: Channel, model: HostModel, X: NDArray[np.float64], outputs: int) -> None:
    """Multiply by our bits, and help the hosts after us; X (rows, columns of the model).

    Raises `ProtocolViolation` for splits that are not there, and for what others do.
    """
    said, order = await ch.receive(Paths), _hosts(ch)
    mine = order.index(ch.me)
    conditions = _checked(said, model, len(order), mine)
    masks = await _mask_streams(ch, order, mine)
    on = {p: np.flatnonzero(said.hosts >> k & 1) for k, p in enumerate(order) if p != ch.me}
    everything = np.arange(len(conditions))
    before = [(ch.peer(GUEST), everything), *((p, on[p]) for p in order[:mine])]
    before = [(party, which) for party, which in before if len(which)]
    choosers = await _offer_keys(ch, [party for party, _ in before])
    after = [(party, on[party]) for party in order[mine + 1 :] if len(on[party])]
    correlators = {party: await _choose_keys(ch, party) for party, _ in after}
    choosers_keys = {p: await _keys_of(ch, p, offer) for p, offer in choosers.items()}
    for start in range(0, len(X), said.rows):
        part = X[start : start + said.rows]
        ch.progress(start, len(X), "scoring")
        bits = _bits(model, conditions, part)
        shares = np.zeros((*bits.shape, outputs), np.uint32)
        waiting = []
        for party, which in before:
            words, chosen = choosers_keys[party].next(bits[:, which].reshape(-1), outputs)
            await ch.send(Columns(words), to=party)
            waiting.append((party, which, chosen))
        for party, which, chosen in waiting:
            differences = (await ch.receive(Differences, party)).numbers
            _check_shape(differences, (len(part) * len(which), outputs), party)
            shares[:, which] += chosen.shares(differences).reshape(len(part), len(which), outputs)
        for party, which in after:
            shares[:, which] = await _correlate(ch, party, correlators[party], shares[:, which])
        total = shares.sum(axis=1, dtype=np.uint32)
        for later, stream in masks:
            mask = stream.words(-(-total.size // 2)).view(np.uint32)[: total.size]
            total += mask.reshape(total.shape) if later else -mask.reshape(total.shape)
        await ch.send(Totals(total))
    ch.progress(len(X), len(X), "scored")


def _checked(said: Paths, model: HostModel, hosts: int, mine: int) -> list[list[tuple[int, bool]]]:
    """The conditions of every path; raises `ProtocolViolation` for any that is not ours."""
    lengths = said.lengths.tolist()
    most = len(model.column) * 2**model.depth
    if not len(said.splits) == len(said.left) == sum(lengths) or len(said.hosts) != len(lengths):
        raise ProtocolViolation("paths of other lengths than they are said to have")
    if len(lengths) > most or any(not 0 < length <= model.depth for length in lengths):
        raise ProtocolViolation(f"{len(lengths)} paths; a model of this size has at most {most}")
    if len(said.splits) and not 0 <= said.splits.min() <= said.splits.max() < len(model.column):
        raise ProtocolViolation(
            f"a path over a split that is not there; this model has {len(model.column)}"
        )
    if ((said.hosts >> mine & 1 == 0) | (said.hosts >> hosts != 0)).any():
        raise ProtocolViolation("a path is for other hosts than are here, or not for us")
    if not 1 <= said.rows <= part_rows(len(lengths)):
        raise ProtocolViolation(f"parts of {said.rows} rows; allowed are {part_rows(len(lengths))}")
    pairs = list(zip(said.splits.tolist(), said.left.tolist(), strict=True))
    ends = np.cumsum(lengths).tolist()
    return [pairs[end - length : end] for end, length in zip(ends, lengths, strict=True)]


def _bits(
    model: HostModel, conditions: Sequence[Sequence[tuple[int, bool]]], X: NDArray[np.float64]
) -> Bits:
    """Which rows go along which path as far as we are asked, (rows, paths)."""
    left = {n: model.left(n, X) for n in sorted({n for path in conditions for n, _ in path})}
    bits = np.ones((len(X), len(conditions)), np.bool_)
    for k, path in enumerate(conditions):
        for number, goes_left in path:
            bits[:, k] &= left[number] == goes_left
    return bits


async def _mask_streams(
    ch: Channel, order: Sequence[Party], mine: int
) -> list[tuple[bool, Stream]]:
    """What both of every two hosts draw: the one adds it and the other takes it away."""
    own = [(party, secrets.token_bytes(KEY_BYTES)) for party in order[mine + 1 :]]
    for party, seed in own:
        await ch.send(MaskSeed(seed), to=party)
    streams = [(True, Stream(seed)) for _, seed in own]
    for party in order[:mine]:
        seed = (await ch.receive(MaskSeed, party)).seed
        if len(seed) != KEY_BYTES:
            raise ProtocolViolation(f"{party} sent a seed of {len(seed)} bytes")
        streams.append((False, Stream(seed)))
    return streams


# --- both ---------------------------------------------------------------------------------------


async def _offer_keys(ch: Channel, to: Sequence[Party]) -> dict[Party, ot.Offer]:
    offers = {party: ot.Offer.new() for party in to}
    for party, offer in offers.items():
        await ch.send(KeyOffer(_points([offer.point])), to=party)
    return offers


async def _keys_of(ch: Channel, party: Party, offer: ot.Offer) -> Chooser:
    """We choose by bits: in the transfers of keys we offer."""
    chosen = (await ch.receive(KeyChoices, party)).points
    if len(chosen) != WIDTH:
        raise ProtocolViolation(f"{party} chose {len(chosen)} keys; needed are {WIDTH}")
    session = _session(ch, ch.me, party)
    try:
        pairs = offer.keys([bytes(point) for point in chosen], session)
    except InvalidPoint as error:
        raise ProtocolViolation(f"{party} sent bytes that are no point of the group") from error
    return Chooser(pairs, session)


async def _choose_keys(ch: Channel, chooser: Party) -> Correlator:
    """We have numbers: in the transfers of keys we choose."""
    offered = (await ch.receive(KeyOffer, chooser)).points
    if len(offered) != 1:
        raise ProtocolViolation(f"{chooser} made {len(offered)} offers of keys; needed is one")
    session, choices = _session(ch, chooser, ch.me), new_choices()
    try:
        choice = ot.Choice.of(offered.tobytes(), choices, session)
    except InvalidPoint as error:
        raise ProtocolViolation(f"{chooser} sent bytes that are no point of the group") from error
    await ch.send(KeyChoices(_points(choice.points)), to=chooser)
    return Correlator(choices, choice.keys, session)


async def _correlate(
    ch: Channel, chooser: Party, correlator: Correlator, shares: Numbers
) -> Numbers:
    """Our new shares once the chooser's bits are multiplied in; shares (m, paths, outputs)."""
    flat = shares.reshape(-1, shares.shape[2])
    words = (await ch.receive(Columns, chooser)).words
    _check_shape(words, (WIDTH, width_of(len(flat))), chooser)
    differences, ours = correlator.next(words, flat)
    await ch.send(Differences(differences), to=chooser)
    return ours.reshape(shares.shape)


def _session(ch: Channel, chooser: Party, correlator: Party) -> bytes:
    return b"scores\0" + ch.context + f"\0{chooser}\0{correlator}".encode()


def _hosts(ch: Channel) -> tuple[Party, ...]:
    """All hosts, in the order of the job."""
    return tuple(party for party in ch.parties if party.role == HOST)


def _points(points: Sequence[bytes]) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(points), np.uint8).reshape(-1, ristretto255.POINT_BYTES)


def _check_shape(found: NDArray[np.generic], due: tuple[int, ...], party: Party) -> None:
    if found.shape != due:
        raise ProtocolViolation(f"{party} sent numbers of shape {found.shape}; due was {due}")
