"""Growing trees with hosts that do not learn which rows are in which node: the scheme `lattice`.

`ml.vertical.secureboost` has the scenario; this is how its parties talk where sums are lattice
products.  All rows are masked for every node, so a host adds up all of them whatever the node;
levels above the leaves always ask the same number of nodes, padded with zeros.
Who learns what
    The guest learns, for every node it asks about, the sums of g and h (and 1, if children need a
    number of rows) over the rows left of each split of a host, the splits in an order that the
    host draws anew for every batch of trees.  It learns which of ALL rows a chosen split of a host
    sends left, also rows that are not in the node: the price of not telling the node.
    A host learns the number of rows and trees, and which of its splits are chosen at which level.
    Never a label, a gradient, or which rows are in a node.
What is not protected
    As in `ml.vertical.secureboost`, sums tell; a host cannot count the rows of a node, so nothing
    but its product budget and the least number of rows in a bin limits them.  The key of a batch
    masks all its trees: whoever stole it from the guest's memory could read their gradients.
Rounds
    Two per level and tree.

The conversation::

    guest -> host   Invite         a nonce                                    (once)
    host  -> guest  Join           how many splits the host has, a nonce      (once)
    guest -> host   Agreed         all nonces, and what rows and parameters are meant
    host  -> guest  Sealed         a sealed part of a draw                    (if keys are checked,
    guest -> host   Candidates     commitments to keys                         per batch of trees)
    host  -> guest  Choice         what was sealed
    guest -> host   Opened         the seeds of all candidates but the one that was drawn
    guest -> host   NewKey         a public key                               (per batch of trees)
    host  -> guest  Blinded        a polynomial for every split               (per batch, in parts)
    host  -> guest  Drawn          which splits may be chosen                 (per tree, if drawn)
    guest -> host   Masked         g and h of all rows, masked                (per level, in parts)
    host  -> guest  Sums           sums left of every split, masked           (per level)
    guest -> host   Picked         which of the host's splits won             (per level)
    host  -> guest  Sides          which rows they send left                  (per level)
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from ml.crypto.errors import InvalidKey
from ml.crypto.lattice import opening, parameters, randomness
from ml.crypto.lattice.agreement import Agreement, ids_digest
from ml.crypto.lattice.holder import LatticeHolder
from ml.crypto.lattice.owner import BatchKey, BlindRows, LatticeOwner, MaskedRows
from ml.crypto.lattice.parameters import Parameters
from ml.crypto.lattice.ring import DEGREE
from ml.crypto.products import Answer, Budget
from ml.crypto.threads import Threads
from ml.errors import ProtocolViolation
from ml.federation import GUEST, HOST, Channel, Message, Party
from ml.local.binning import Columns
from ml.local.sampling import ColumnSample
from ml.local.trees import Growth
from ml.vertical import columns
from ml.vertical.growing import Ensemble, Level, Winner
from ml.wire import Shape

Rows = NDArray[np.int64]

MAX_VECTORS_PER_TREE = DEGREE  # one key masks a whole tree
# How long a partner may take beside the timeout of the channel, on a slow core.
_SECONDS_PER_MASKED_ROW = 1e-3  # to draw the masks of a batch
_SECONDS_PER_ROW_AND_SPLIT = 3e-7  # to set the matrix up


class Invite(Message, sender=GUEST, to=HOST):
    """A random number of the guest. The host learns nothing."""

    nonce: bytes


class Join(Message, sender=HOST, to=GUEST):
    """The guest learns how many splits the host's columns offer together; and a random number."""

    splits: int
    nonce: bytes


class Agreed(Message, sender=GUEST, to=HOST):
    """The random numbers of all parties, and a digest over them, the ids that all share and the
    parameters. The host learns how many hosts there are."""

    nonces: tuple[bytes, ...]
    digest: bytes


class Sealed(Message, sender=HOST, to=GUEST):
    """A digest of a random number of the host. The guest learns nothing."""

    digest: bytes


class Candidates(Message, sender=GUEST, to=HOST):
    """Commitments to keys, and what the hosts sealed. The host learns nothing."""

    commitments: tuple[bytes, ...]
    sealed: tuple[bytes, ...]


class Choice(Message, sender=HOST, to=GUEST):
    """The host's random number: with those of the others it says which key is kept."""

    choice: bytes


class Opened(Message, sender=GUEST, to=HOST):
    """The seeds of all keys but the one that is kept: the host sees that they are well formed, and
    learns nothing else, since they are never used."""

    choices: tuple[bytes, ...]
    seeds: tuple[bytes, ...]


class NewKey(Message, sender=GUEST, to=HOST):
    """The guest's public key for the next trees. The host learns nothing."""

    key: BatchKey


class Blinded(Message, sender=HOST, to=GUEST):
    """What the guest needs to take its masks off the host's sums. It learns nothing from it."""

    part: BlindRows


class Masked(Message, sender=GUEST, to=HOST):
    """g and h of all rows for the nodes of a level, masked; rows that are not in a node are masked
    zeros. The host learns nothing, not even which rows are in a node."""

    part: MaskedRows


class Sums(Message, sender=HOST, to=GUEST):
    """The guest learns, for every node it asked about, the sums over the rows left of each of the
    host's splits. The splits stand in an order that the host drew for this batch of trees."""

    answer: Answer


class Picked(Message, sender=GUEST, to=HOST):
    """The host learns which of its splits are best at some nodes of this level; of equally good
    ones, named together, it takes the first in its own order."""

    equal: Annotated[NDArray[np.int64], Shape("nodes")]  # how many splits are equally good
    splits: Annotated[NDArray[np.int64], Shape("choices")]  # as numbered in Sums


class Sides(Message, sender=HOST, to=GUEST):
    """The guest learns which of all rows each picked split sends left, one bit a row."""

    left: Annotated[NDArray[np.uint8], Shape("nodes", "bytes")]  # numpy.packbits of all rows


MESSAGES = (
    *(Invite, Join, Agreed),
    *(Sealed, Candidates, Choice, Opened),
    *(NewKey, Blinded, Masked, Sums, Picked, Sides),
)


# --- what both sides know -----------------------------------------------------------------------


def fields(growth: Growth) -> int:
    """g and h of every output, and 1 if children need a number of rows."""
    return 2 * growth.objective.outputs + (growth.min_samples_leaf > 1)


def asked(depth: int) -> int:
    """How many nodes are added up on a level: of two siblings only one."""
    return int(max(1, 2 ** (depth - 2)))


def vectors_per_tree(growth: Growth) -> int:
    """How many vectors a tree takes, whatever its shape."""
    return int(fields(growth) * 2 ** (growth.max_depth - 1))


def _agreement(growth: Growth, ids: Sequence[str], nonces: tuple[bytes, ...]) -> Agreement:
    known = Parameters.of(len(ids), 2**growth.fraction_bits)
    return Agreement(known, fields(growth), nonces, ids_digest(ids))


def fraction_bits(rows: int) -> int:
    """See `parameters.fraction_bits`."""
    return parameters.fraction_bits(rows)


# --- the guest ----------------------------------------------------------------------------------


async def guest(
    ch: Channel,
    model: Ensemble,
    ids: Sequence[str],
    key_checks: int,
    threads: Threads,
    after: Callable[[int], None],
    goes_on: Callable[[], Awaitable[bool]],
) -> None:
    """Grow all trees of ``model`` as long as it ``goes_on``; ``after`` hears of each.

    Of ``key_checks`` keys one is used.

    Raises `LatticeNoise` for too many rows, `ConversationError` or `CryptoError` for what hosts do.
    """
    growth, nonce = model.growth, randomness.fresh_seed()
    await ch.send(Invite(nonce))
    joined = await ch.receive_all(Join)
    nonces = (nonce, *(said.nonce for said in joined.values()))
    agreement = _agreement(growth, ids, nonces)
    await ch.send(Agreed(nonces, agreement.digest))
    owner = LatticeOwner(agreement, threads)
    offers = {party: said.splits for party, said in joined.items()}
    each = vectors_per_tree(growth)
    for k in range(len(model.done), growth.n_estimators):
        if not await goes_on():
            break
        if owner.left < each:
            ch.progress(k, growth.n_estimators, "making keys for the next trees")
            size = owner.batch_size(each, each * (growth.n_estimators - k))
            await _new_batch(ch, owner, offers, size, key_checks)
        ch.progress(k, growth.n_estimators, f"tree {k + 1}: growing")
        kept = np.ascontiguousarray(model.targets()[:, : fields(growth)])
        await _grow(ch, owner, offers, model, kept)
        after(k)


async def _new_batch(
    ch: Channel, owner: LatticeOwner, offers: Mapping[Party, int], size: int, key_checks: int
) -> None:
    """A key for the next trees: hosts blind their splits while we draw masks."""
    candidate, seed = 0, randomness.fresh_seed()
    if key_checks > 1:
        candidate, seed = await _open(ch, owner, key_checks)
    await ch.send(NewKey(owner.begin_batch(size, candidate, seed)))
    await owner.draw_masks()
    rows = owner.agreement.parameters.rows
    for party, splits in offers.items():
        within = ch.timeout + _SECONDS_PER_ROW_AND_SPLIT * rows * splits
        start = 0
        while start < splits:
            part = (await ch.receive(Blinded, party, within)).part
            start += await owner.learn(party, start, splits, part)


async def _open(ch: Channel, owner: LatticeOwner, key_checks: int) -> tuple[int, bytes]:
    """Show all candidates for the next key but one; its number and seed."""
    sealed = tuple(said.digest for said in (await ch.receive_all(Sealed)).values())
    seeds = [randomness.fresh_seed() for _ in range(key_checks)]
    batch = owner.batch + 1
    await ch.send(Candidates(opening.commit(owner.agreement, batch, seeds), sealed))
    choices = tuple(said.choice for said in (await ch.receive_all(Choice)).values())
    opening.check_draw(choices, sealed)
    kept = opening.drawn(choices, key_checks)
    await ch.send(Opened(choices, (*seeds[:kept], *seeds[kept + 1 :])))
    return kept, seeds[kept]


async def _grow(
    ch: Channel,
    owner: LatticeOwner,
    offers: Mapping[Party, int],
    model: Ensemble,
    values: NDArray[np.int64],
) -> None:
    """One tree, level by level; ``values`` are g, h and perhaps 1 (n, fields)."""
    rows, growth = len(values), model.growth
    drawn = await columns.hear(ch, model.sample, model.own.matrix, offers, len(model.done))
    level = Level.root(rows)
    for depth in range(1, growth.max_depth + 1):
        query = np.full(rows, -1, np.int64)
        for number, node in enumerate(level.ask):
            query[level.nodes[node]] = number
        async for part in owner.mask(values, query, asked(depth)):
            await ch.send(Masked(part))
        for party, splits in offers.items():
            answer = (await ch.receive(Sums, party)).answer
            sums = owner.read(party, answer) if splits else _none(asked(depth), values)
            level.add(party, [sums[:, number] for number in range(len(level.ask))])
        winners = level.winners(model.own, values, growth, drawn)
        for party in offers:
            await ch.send(_picked_of(party, winners), to=party)
        left = {
            node: model.split_own(node, winner, level.nodes[node])
            for node, winner in winners.items()
            if winner.host is None
        }
        for party in offers:
            sides = (await ch.receive(Sides, party)).left
            theirs = sorted(node for node, winner in winners.items() if winner.host == party)
            if sides.shape != (len(theirs), -(-rows // 8)):
                raise ProtocolViolation(f"{party} sent sides of other splits than were picked")
            for node, side in zip(theirs, sides, strict=True):
                bits = np.unpackbits(side, count=rows).astype(np.bool_)
                left[node] = bits[level.nodes[node]]
                chosen = level.nodes[node][left[node]]
                winners[node].check(values[chosen].sum(axis=0))
                model.split_host(node, party)
        model.end_leaves({n: r for n, r in level.nodes.items() if n not in winners}, values)
        below: dict[int, Rows] = {}
        for node, goes_left in sorted(left.items()):
            some = level.nodes[node]
            below[2 * node + 1], below[2 * node + 2] = some[goes_left], some[~goes_left]
        level = level.below(below, values, growth)
        if depth == growth.max_depth or not level.ask:
            model.end_leaves(level.nodes, values)
            # The levels that remain are asked about nothing: a tree's shape is not for hosts.
            level = Level({}, (), {}, {})


def _none(queries: int, values: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.empty((0, queries, values.shape[1]), np.int64)


def _picked_of(host: Party, winners: Mapping[int, Winner]) -> Picked:
    theirs = [winner.choice.splits for _, winner in sorted(winners.items()) if winner.host == host]
    return Picked(
        np.array([len(splits) for splits in theirs], np.int64),
        np.array([split for splits in theirs for split in splits], np.int64),
    )


# --- a host -------------------------------------------------------------------------------------


async def host(
    ch: Channel,
    growth: Growth,
    own: Columns,
    sample: ColumnSample | None,
    ids: Sequence[str],
    key_checks: int,
    budget: Budget,
    threads: Threads,
    goes_on: Callable[[], Awaitable[bool]],
    first: int,
    after: Callable[[int, list[int]], None],
) -> None:
    """Answer the guest from tree ``first`` on; ``after`` hears our chosen splits of each.

    Raises `ProductBudgetExceeded`, and `ConversationError` or `CryptoError` for what the guest
    does.
    """
    nonce = randomness.fresh_seed()
    invite = await ch.receive(Invite)
    await ch.send(Join(len(own.matrix), nonce))
    agreed = await ch.receive(Agreed)
    agreement = _agreement(growth, ids, agreed.nonces)
    hosts = len(ch.peers(HOST)) + 1
    ours = agreed.nonces.count(nonce) == 1 and agreed.nonces[0] == invite.nonce
    if not ours or len(agreed.nonces) != hosts + 1 or agreed.digest != agreement.digest:
        raise ProtocolViolation(
            "the guest means other rows, parameters or parties than we do; align the tables first"
        )
    holder = LatticeHolder(agreement, own.matrix, budget=budget, threads=threads)
    ch.progress(0, growth.n_estimators, "preparing sums of our columns")
    await holder.set_up()
    each = vectors_per_tree(growth)
    slow = ch.timeout + _SECONDS_PER_MASKED_ROW * len(ids)
    for k in range(first, growth.n_estimators):
        if k and not await goes_on():
            break
        ch.progress(k, growth.n_estimators, f"tree {k + 1}")
        chosen: list[int] = []
        if holder.left < each:
            await _answer_key(ch, holder, each, key_checks)
        await columns.tell(ch, sample, own.matrix, holder.order, k)
        for depth in range(1, growth.max_depth + 1):
            holder.begin(asked(depth))
            while not holder.complete:
                await holder.take((await ch.receive(Masked, within=slow)).part)
            await ch.send(Sums(await holder.answer()))
            splits = _choose(await ch.receive(Picked), holder.order, depth)
            chosen += splits
            await ch.send(Sides(_sides(own, splits)))
        after(k, chosen)
    ch.progress(growth.n_estimators, growth.n_estimators, "trained")


async def _answer_key(ch: Channel, holder: LatticeHolder, each: int, key_checks: int) -> None:
    """Begin a batch, our splits in a new order."""
    batch, kept, commitment = holder.batch + 1, 0, b""
    if key_checks > 1:
        kept, commitment = await _watch_opening(ch, holder.agreement, batch, key_checks)
    key = (await ch.receive(NewKey)).key
    if key.vectors < each:
        raise ProtocolViolation(f"a key for {key.vectors} vectors; a tree takes {each}")
    if (key.batch, key.candidate) != (batch, kept):
        raise ProtocolViolation("a key came that is not the next one, or not the one that was kept")
    if commitment and opening.committed_packed(key.public) != commitment:
        raise InvalidKey("the key that was kept is not the one that was committed to")
    order = list(range(len(holder.order)))
    secrets.SystemRandom().shuffle(order)
    async for part in holder.begin_batch(key, np.array(order, np.int64)):
        await ch.send(Blinded(part))


async def _watch_opening(
    ch: Channel, agreement: Agreement, batch: int, key_checks: int
) -> tuple[int, bytes]:
    """See all candidates opened but one; its number and the commitment to it."""
    ours = randomness.fresh_seed()
    await ch.send(Sealed(opening.seal(ours)))
    candidates = await ch.receive(Candidates)
    others = len(ch.peers(HOST))
    told = len(candidates.commitments), len(candidates.sealed)
    if told != (key_checks, others + 1) or opening.seal(ours) not in candidates.sealed:
        raise ProtocolViolation("other numbers of keys or of choices than were agreed")
    await ch.send(Choice(ours))
    opened = await ch.receive(Opened)
    opening.check_draw(opened.choices, candidates.sealed)
    kept = opening.drawn(opened.choices, key_checks)
    opening.check_opened(agreement, batch, candidates.commitments, kept, opened.seeds)
    return kept, candidates.commitments[kept]


def _choose(picked: Picked, order: Rows, depth: int) -> list[int]:
    """Our split for every picked node: of equally good ones the first in our own order."""
    equal = picked.equal.tolist()
    known = len(picked.splits) == sum(equal) and all(count > 0 for count in equal)
    there = not len(picked.splits) or (
        picked.splits.min() >= 0 and picked.splits.max() < len(order)
    )
    if not known or not there or len(equal) > 2 ** (depth - 1):
        raise ProtocolViolation("splits were picked that are not there, or at more nodes than are")
    groups = np.split(picked.splits, np.cumsum(equal)[:-1]) if equal else []
    return [int(order[group].min()) for group in groups]


def _sides(own: Columns, splits: Sequence[int]) -> NDArray[np.uint8]:
    everybody = np.arange(own.matrix.rows)
    sides = [own.matrix.left(split, everybody) for split in splits]
    return np.packbits(np.array(sides, np.bool_).reshape(len(splits), len(everybody)), axis=1)
