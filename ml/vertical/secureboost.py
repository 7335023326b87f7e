"""SecureBoost: gradient boosted trees for binary labels over vertically partitioned columns.

Scenario
    The guest has labels and columns, each host has other columns of the SAME rows in the same order
    (run PSI first).  They grow the trees that anybody would grow on all columns in one place: same
    splits, same leaf weights.
Who learns what
    The guest learns, for every node of a tree that it asks about, the sums of g, h and 1 over the
    rows that each split of a host would send left; the splits are numbered in an order that the
    host draws anew for every tree.  It learns which rows a chosen split of a host sends left, and
    never the column or the threshold behind a number.
    A host learns the number of rows, the shape of the trees above their leaves, which of its own
    splits are chosen, and which rows are in which node.  It never learns a label, g, h or a score,
    which it has under the guest's key only.  Hosts learn nothing of each other but what the nodes
    tell.  In prediction the guest learns one sum over all trees for each row, and a host in which
    combinations its splits lead to leaves: `ml.vertical.scoring`.
What is not protected
    *Sums tell.*  From the exact sum of one bin over a small node, its rows can be computed, and
    from the sums of about a dozen trees the bins of a host's columns, up to their names and scales
    (measured: a node of 24 rows from one sum; 1,000 rows from 400 sums).  The order of splits
    withholds names, not this.  What hosts do about it: no bin of fewer rows than ``min_bin_rows``,
    no answer over fewer rows than ``min_samples_leaf``, and no more vectors than their budget.
    *Nodes tell.*  Rows in one leaf have similar labels, and hosts see the nodes; the last level is
    withheld from them.
    Parties follow the protocol (semi-honest): a guest that invents gradients reads out more from
    the same number of sums, a host that returns wrong sums spoils the model.  Sums that contradict
    the rows a host then sends left are found.
    With the scheme `lattice` hosts do not learn the nodes, for a price: `ml.vertical.hidden`.
Rounds
    Two per level and tree; vectors are encrypted once for all hosts.
Source
    Cheng, Fan, Jin, Liu, Chen, Papadopoulos, Yang: SecureBoost: A Lossless Federated Learning
    Framework, IEEE Intelligent Systems 36(6), 2021, algorithms 1 and 2.  Different here: answers
    are re-randomised, hosts add up the splits themselves so that they can shuffle them over
    columns, and equally good splits are left to the order of their owner.

The conversation (under Paillier; `ml.vertical.hidden` has the other)::

    guest -> host   Begin          key, number of rows                        (once)
    host  -> guest  Offer          how many splits the host has               (once)
    guest -> host   Gradients      [[g, h, 1]] of consecutive rows            (per tree, in parts)
    host  -> guest  Histograms     [[sums left of every split]] per node      (per level)
    guest -> host   Chosen         which of the host's splits won             (per level)
    host  -> guest  Routes         which rows they send left                  (per level)
    guest -> host   Children       rows of the next level's nodes, which of them to add up
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator

from ml.algorithm import Algorithm
from ml.crypto import paillier, products
from ml.crypto.paillier import PrivateKey
from ml.crypto.paillier_products import PaillierHolder, PaillierOwner
from ml.crypto.products import Answer, Budget, CountedBudget, Opening, SchemeName, Vectors
from ml.crypto.threads import Threads
from ml.crypto.workers import Workers
from ml.errors import ProtocolViolation
from ml.federation import GUEST, HOST, Channel, Message, Party
from ml.local import metrics, trees
from ml.local.binning import MAX_BINS, Columns, Threshold
from ml.local.losses import logistic_loss, sigmoid
from ml.local.trees import FRACTION_BITS, Growth
from ml.table import Table, binary_labels
from ml.vertical import bits, hidden, scoring
from ml.vertical.answering import HostTree
from ml.vertical.forest import (
    GuestModel,
    HostModel,
    columns_of,
    joint_paths,
    largest_scores,
    outputs_of,
    scores_by_path,
)
from ml.vertical.growing import ROOT, Ensemble, Level, Winner
from ml.wire import Shape

VERSION = 2

# The fields of a row are g + 1, h and 1; g is in [-1, 1], h at most 1/4, and the count takes the
# offset of g away again.
OFFSETS = np.array([2**FRACTION_BITS, 0, 0], np.int64)
VALUE_BITS = (FRACTION_BITS + 2, FRACTION_BITS - 1, 1)

Rows = NDArray[np.int64]
Bits = Annotated[NDArray[np.uint8], Shape("bytes")]  # numpy.packbits


class Params(BaseModel):
    """What the parties agree on; names as in scikit-learn and XGBoost."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_estimators: int = Field(20, ge=1, le=1000, description="number of trees")
    learning_rate: float = Field(0.3, gt=0, le=1)
    max_depth: int = Field(4, ge=1, le=8, description="levels of splits above the leaves")
    max_bins: int = Field(MAX_BINS, ge=2, le=MAX_BINS, description="bins of a column")
    reg_lambda: float = Field(1.0, gt=0, description="added to the sum of h of every node")
    min_child_weight: float = Field(1.0, ge=0, description="least sum of h in a child")
    min_samples_leaf: int = Field(20, ge=1, description="least number of rows in a child")
    min_bin_rows: int = Field(20, ge=1, description="least number of rows in a bin")
    scheme: SchemeName = "paillier"
    key_bits: Literal[2048, 3072, 4096] = 2048
    key_checks: Literal[1, 32, 64, 128] = Field(
        1, description="with lattice: keys to choose one from, the others opened"
    )

    @field_validator("scheme", mode="before")
    @classmethod
    def _only_schemes_that_hold(cls, name: Any) -> Any:
        """Raises `RefusedScheme`, so that a job with a broken cipher says why it is refused."""
        products.check_scheme(str(name))
        return name

    @field_validator("key_bits", mode="before")
    @classmethod
    def _only_keys_that_hold(cls, bits: Any) -> Any:
        """Raises `WeakKey`."""
        if isinstance(bits, int) and bits < paillier.MIN_KEY_BITS:
            paillier.check_key_bits(bits)
        return bits

    def growth(self, rows: int) -> Growth:
        """How trees are grown on so many rows; raises `LatticeNoise` for too many."""
        lattice = self.scheme == "lattice"
        return Growth(
            self.n_estimators,
            self.learning_rate,
            self.max_depth,
            self.reg_lambda,
            self.min_child_weight,
            self.min_samples_leaf,
            hidden.fraction_bits(rows) if lattice else FRACTION_BITS,
        )

    def columns(self, table: Table) -> Columns:
        """A party's columns in bins; raises `ConstantColumn` or `AllMissingColumn`."""
        names, few = table.schema.features, self.min_bin_rows
        return Columns.of(table.X, names, max_bins=self.max_bins, min_bin_rows=few)

    @property
    def vectors(self) -> int:
        """The most vectors that a host answers: g, h and 1 for half the nodes above the leaves.

        Of two siblings only the smaller one is added up; the other is the rest of their parent.
        With `lattice` there is no 1 where children need no number of rows.
        """
        lattice = self.scheme == "lattice" and self.min_samples_leaf == 1
        fields = len(VALUE_BITS) - lattice
        return int(fields * self.n_estimators * 2 ** (self.max_depth - 1))


# --- what is said in training ---------------------------------------------------------------


class Begin(Message, sender=GUEST, to=HOST):
    """The guest's public key. The host learns the number of rows, which it knows."""

    opening: Opening


class Offer(Message, sender=HOST, to=GUEST):
    """The guest learns how many splits the host's columns offer together."""

    splits: int


class Gradients(Message, sender=GUEST, to=HOST):
    """[[g, h, 1]] of consecutive rows under the guest's key. The host learns nothing."""

    vectors: Vectors


class Histograms(Message, sender=HOST, to=GUEST):
    """The guest learns, for every node it asked about, the sums of g, h and 1 over the rows left of
    each of the host's splits. The splits stand in an order that the host drew for this tree."""

    answer: Answer


class Chosen(Message, sender=GUEST, to=HOST):
    """The host learns at which nodes of this level one of its splits is best; the splits of a node
    are equally good, and the host takes the first in its own order."""

    nodes: Annotated[NDArray[np.int64], Shape("choices")]  # ascending, repeated for equal splits
    splits: Annotated[NDArray[np.int64], Shape("choices")]  # as numbered in Histograms


class Routes(Message, sender=HOST, to=GUEST):
    """The guest learns which rows of each chosen node go left: one bit a row, node after node."""

    left: Bits


class Children(Message, sender=GUEST, to=HOST):
    """The host learns which rows are in which node of the next level, one bit a row of each node
    that is split, and which nodes to add up. The last level, the leaves, is never told."""

    nodes: Annotated[NDArray[np.int64], Shape("split nodes")]  # ascending
    left: Bits
    ask: Annotated[NDArray[np.int64], Shape("asked nodes")]  # ascending


# --- training -------------------------------------------------------------------------------


async def guest(
    ch: Channel,
    params: Params,
    table: Table,
    *,
    key: PrivateKey | None = None,
    workers: int | None = None,
) -> GuestModel:
    """Train with all hosts of the channel.

    ``key`` is used instead of a new one (tests), ``workers`` is the number of processes (default:
    one per processor, 0 for none).  Raises `LabelsMissing`, `LabelsNotBinary`, `SingleClass`,
    `ConstantColumn`, `AllMissingColumn`; `ConversationError` or `CryptoError` for what hosts do.
    """
    y, own = binary_labels(table), params.columns(table)
    model = Ensemble(own, ch.peers(HOST), y, params.growth(len(table)))

    def after(k: int) -> None:
        ch.progress(k + 1, params.n_estimators, model.end_tree())
        ch.measure("loss", k + 1, model.losses[-1])
        ch.measure("auc", k + 1, model.aucs[-1])

    if params.scheme == "lattice":
        with Threads(workers) as threads:
            await hidden.guest(ch, model, table.ids, params.key_checks, threads, after)
        return model.model(table.schema.features)
    with Workers(workers) as pool:
        ch.progress(0, params.n_estimators, "making a key")
        secret = paillier.generate(params.key_bits) if key is None else key
        owner = PaillierOwner(secret, len(table), VALUE_BITS, pool)
        await ch.send(Begin(owner.opening))
        offers = {p: offer.splits for p, offer in (await ch.receive_all(Offer)).items()}
        for k in range(params.n_estimators):
            values = trees.targets(y, model.score)
            async for part in owner.encrypt(values + OFFSETS):
                ch.progress(k, params.n_estimators, f"tree {k + 1}: encrypting")
                await ch.send(Gradients(part))
            ch.progress(k, params.n_estimators, f"tree {k + 1}: growing")
            await _grow(ch, owner, offers, model, values)
            after(k)
    return model.model(table.schema.features)


async def _grow(
    ch: Channel,
    owner: products.Owner,
    offers: Mapping[Party, int],
    model: Ensemble,
    values: NDArray[np.int64],
) -> None:
    """One tree, level by level, together with the hosts; ``values`` are g, h and 1 (n, 3)."""
    level = Level.root(len(values))
    for depth in range(1, model.growth.max_depth + 1):
        for party, splits in offers.items():
            answer = (await ch.receive(Histograms, party)).answer
            sums = await owner.read(answer, len(level.ask), splits)
            level.add(party, [s - OFFSETS * s[:, 2:] for s in sums])
        winners = level.winners(model.own, values, model.growth)
        for party in offers:
            await ch.send(_chosen_of(party, winners), to=party)
        left = {
            node: model.split_own(node, winner, level.nodes[node])
            for node, winner in winners.items()
            if winner.host is None
        }
        for party in offers:
            routes = await ch.receive(Routes, party)
            theirs = {n: level.nodes[n] for n, winner in winners.items() if winner.host == party}
            for node, goes_left in bits.unpack(routes.left, theirs, party).items():
                winners[node].check(values[theirs[node][goes_left]].sum(axis=0))
                model.split_host(node, party)
                left[node] = goes_left
        model.end_leaves({n: r for n, r in level.nodes.items() if n not in winners}, values)
        level = level.below(bits.children(level.nodes, left), model.growth)
        if depth < model.growth.max_depth:
            packed = bits.pack([left[node] for node in sorted(left)])
            await ch.send(Children(_array(*sorted(left)), packed, _array(*level.ask)))
        if depth == model.growth.max_depth or not level.ask:
            model.end_leaves(level.nodes, values)
            return


def _chosen_of(host: Party, winners: Mapping[int, Winner]) -> Chosen:
    pairs = [
        (node, split)
        for node, winner in winners.items()
        if winner.host == host
        for split in winner.choice.splits
    ]
    return Chosen(_array(*(node for node, _ in pairs)), _array(*(split for _, split in pairs)))


async def host(
    ch: Channel,
    params: Params,
    table: Table,
    *,
    budget: Budget | None = None,
    workers: int | None = None,
) -> HostModel:
    """Answer the guest.

    ``budget`` is charged before anything is answered; beside it no more vectors are answered than
    the parameters need.  Raises `ProductBudgetExceeded`, `ConstantColumn`, `AllMissingColumn`, and
    `ConversationError` or `CryptoError` for what the guest does.
    """
    own, capped = params.columns(table), CountedBudget(params.vectors)

    def charge(vectors: int) -> None:
        capped(vectors)
        if budget is not None:
            budget(vectors)

    if params.scheme == "lattice":
        growth = params.growth(len(table))
        with Threads(workers) as threads:
            chosen = await hidden.host(
                ch, growth, own, table.ids, params.key_checks, charge, threads
            )
    else:
        with Workers(workers) as pool:
            chosen = await _help(ch, params, own, charge, pool)
    return HostModel(
        table.schema.features,
        params.max_depth,
        _array(*(split.column for split in chosen)),
        np.array([split.value for split in chosen], np.float64),
        np.array([split.missing_left for split in chosen], np.bool_),
    )


async def _help(
    ch: Channel, params: Params, own: Columns, charge: Budget, pool: Workers
) -> list[Threshold]:
    """A host's part of all trees under Paillier; its splits that were chosen."""
    chosen: list[Threshold] = []
    opening = (await ch.receive(Begin)).opening
    if opening.value_bits != VALUE_BITS:
        raise ProtocolViolation(f"fields of {opening.value_bits} bits; agreed are {VALUE_BITS}")
    holder = PaillierHolder(
        opening, own.matrix, key_bits=params.key_bits, budget=charge, workers=pool
    )
    await ch.send(Offer(len(own.matrix)))
    for k in range(params.n_estimators):
        ch.progress(k, params.n_estimators, f"tree {k + 1}")
        holder.begin()
        while not holder.complete:
            await holder.take((await ch.receive(Gradients)).vectors)
        chosen += await _help_grow(ch, holder, HostTree(own, params.min_samples_leaf), params)
    ch.progress(params.n_estimators, params.n_estimators, "trained")
    return chosen


async def _help_grow(
    ch: Channel, holder: products.Holder, tree: HostTree, params: Params
) -> list[Threshold]:
    """A host's part of one tree; its splits that were chosen, by their numbers."""
    ask = _array(ROOT)
    for depth in range(1, params.max_depth + 1):
        await ch.send(Histograms(await holder.answer(tree.asked(ask), tree.order)))
        said = await ch.receive(Chosen)
        await ch.send(Routes(tree.choose(said.nodes, said.splits)))
        if depth == params.max_depth:
            break
        told = await ch.receive(Children)
        tree.descend(told.nodes, told.left)
        if not len(ask := told.ask):
            break
    return tree.chosen


# --- prediction -----------------------------------------------------------------------------


async def predict_guest(
    ch: Channel, params: Params, model: GuestModel, table: Table
) -> NDArray[np.float64]:
    """The probability of label 1 for every row, shape (n,).

    Raises `ColumnNotFound` for a table without the model's columns, `ProtocolViolation` if the
    hosts are not those of the training.
    """
    hosts, X = _hosts_of(model, ch), columns_of(table, model.columns)
    paths, outputs = joint_paths(model), outputs_of(model)
    digits = scoring.fraction_bits(largest_scores(model, paths), len(model.trees))
    own = np.empty((len(table), outputs))

    def gains(part: slice) -> NDArray[np.int64]:
        own[part], joint = scores_by_path(model, paths, X[part])
        return np.rint(np.ldexp(joint, digits)).astype(np.int64)

    sums = await scoring.guest(ch, paths, hosts, len(table), outputs, gains)
    return _predicted(own + np.ldexp(sums.astype(np.float64), -digits))


async def predict_host(ch: Channel, params: Params, model: HostModel, table: Table) -> None:
    """Multiply what the guest's leaves add by the bits of our splits, as `scoring` has it."""
    await scoring.host(ch, model, columns_of(table, model.columns), outputs=1)


def _predicted(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """The probability of label 1 from scores (n, 1)."""
    return sigmoid(scores[:, 0])


def _hosts_of(model: GuestModel, ch: Channel) -> tuple[Party, ...]:
    """The hosts of the training, in its order."""
    present = {party.site: party for party in ch.peers(HOST)}
    if set(present) != set(model.hosts):
        known = len(set(model.hosts) & set(present))
        raise ProtocolViolation(
            f"the model was trained with {len(model.hosts)} hosts; {known} of them and "
            f"{len(present) - known} others are here"
        )
    return tuple(present[site] for site in model.hosts)


def _array(*numbers: int) -> Rows:
    return np.array(numbers, np.int64)


# --- the guest alone ------------------------------------------------------------------------


def alone(params: Params, table: Table) -> GuestModel:
    """What the guest could have trained without anybody, to compare with.

    On a table with the columns of all parties it is what the parties train together.
    """
    y, own = binary_labels(table), params.columns(table)
    start, grown, scores = trees.fit_trees(own, y, params.growth(len(table)))
    return GuestModel(
        table.schema.features,
        (),
        params.max_depth,
        start,
        tuple(grown),
        np.array([logistic_loss(y, score) for score in scores]),
        np.array([metrics.auc(y, sigmoid(score)) for score in scores]),
    )


def predict_alone(model: GuestModel, table: Table) -> NDArray[np.float64]:
    """The probability of label 1 for every row by a model of `alone`, shape (n,)."""
    if model.hosts:
        raise ProtocolViolation("this model was trained with hosts; it predicts only with them")
    scores, _ = scores_by_path(model, (), columns_of(table, model.columns))
    return _predicted(scores)


# --- for the catalogue ----------------------------------------------------------------------

ALGORITHM = Algorithm(
    name="secureboost",
    version=VERSION,
    params=Params,
    fit={GUEST: guest, HOST: host},
    predict={GUEST: predict_guest, HOST: predict_host},
    parts={GUEST: GuestModel, HOST: HostModel},
    messages=(
        Begin,
        Offer,
        Gradients,
        Histograms,
        Chosen,
        Routes,
        Children,
        *hidden.MESSAGES,
        *scoring.MESSAGES,
    ),
    notice=(
        "The guest learns, for nodes of its trees, sums of its own gradients left of each split of "
        "your columns, and which rows a chosen split sends left; never a column's name, a "
        "threshold or a value. You learn which rows are in which node, never a label; with the "
        "scheme lattice you do not learn the nodes, and the guest learns the side of every row at "
        "each chosen split of yours. In prediction it learns one sum over all trees for a row, and "
        "you how your splits combine on the way to leaves, not which rows go there. Not "
        "protected: from many sums the guest can compute the bins of your columns, up to their "
        "names and scales; your product budget limits how many it gets. Parties are assumed to "
        "follow the protocol."
    ),
)
