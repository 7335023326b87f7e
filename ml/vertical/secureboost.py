"""SecureBoost: gradient boosted trees over vertically partitioned columns.

Scenario
    The guest has labels and columns, each host has other columns of the SAME rows in the same order
    (run PSI first).  They grow the trees that anybody would grow on all columns in one place: same
    splits, same leaf weights.  Labels are 0 and 1, classes (with as many outputs to every leaf), or
    numbers; hosts need not know which, but for the number of outputs.
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
    host  -> guest  Drawn          which splits may be chosen in this tree    (if columns are drawn)
    host  -> guest  Histograms     [[sums left of every split]] per node      (per level)
    guest -> host   Chosen         which of the host's splits won             (per level)
    host  -> guest  Routes         which rows they send left                  (per level)
    guest -> host   Children       rows of the next level's nodes, which of them to add up
    guest -> host   Proceed        whether another tree follows               (with early stopping)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ml.algorithm import Algorithm
from ml.crypto import paillier, products
from ml.crypto.paillier import PrivateKey
from ml.crypto.paillier_products import PaillierHolder, PaillierOwner
from ml.crypto.products import Answer, Budget, CountedBudget, Opening, SchemeName, Vectors
from ml.crypto.threads import Threads
from ml.crypto.workers import Workers
from ml.errors import ColumnNotFound, ProtocolViolation, WeightsUnusable
from ml.federation import GUEST, HOST, Channel, Message, Party
from ml.local import metrics, trees
from ml.local.binning import MAX_BINS, Columns
from ml.local.losses import Objective, ObjectiveName
from ml.local.sampling import ColumnSample, Labels, Sampling
from ml.local.trees import FRACTION_BITS, Growth
from ml.table import Table, split_by_id
from ml.vertical import bits, columns, hidden, scoring
from ml.vertical.answering import HostTree
from ml.vertical.checkpoints import (
    Book,
    Complete,
    GoOn,
    GuestTree,
    Keeper,
    Kept,
    MemoryKeeper,
    agree_guest,
    agree_host,
    leave_together,
)
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

Rows = NDArray[np.int64]
Bits = Annotated[NDArray[np.uint8], Shape("bytes")]  # numpy.packbits


class Params(BaseModel):
    """What the parties agree on; names as in scikit-learn and XGBoost."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    objective: ObjectiveName = Field("logistic", description="what is learnt; see the page")
    num_class: int = Field(2, ge=2, le=100, description="with softmax: labels are 0 to this less 1")
    huber_slope: float = Field(1.0, gt=0, description="with huber: largest gradient")
    fair_scale: float = Field(1.0, gt=0, description="with fair: largest gradient")
    tweedie_variance_power: float = Field(1.5, gt=1, lt=2, description="with tweedie")
    n_estimators: int = Field(20, ge=1, le=1000, description="number of trees")
    learning_rate: float = Field(0.3, gt=0, le=1)
    max_depth: int = Field(4, ge=1, le=8, description="levels of splits above the leaves")
    max_bins: int = Field(MAX_BINS, ge=2, le=MAX_BINS, description="bins of a column")
    reg_lambda: float = Field(1.0, gt=0, description="added to the sum of h of every node")
    reg_alpha: float = Field(0.0, ge=0, description="taken off the sum of g of every node")
    gamma: float = Field(0.0, ge=0, description="least gain of a split")
    min_child_weight: float = Field(1.0, ge=0, description="least sum of h in a child")
    min_samples_leaf: int = Field(20, ge=1, description="least number of rows in a child")
    min_bin_rows: int = Field(20, ge=1, description="least number of rows in a bin")
    weight_column: str = Field(
        "", max_length=200, description="column of the guest with weights of rows; hosts read this"
    )
    subsample: float = Field(1.0, gt=0, le=1, description="share of rows drawn for each tree")
    colsample_bytree: float = Field(
        1.0, gt=0, le=1, description="share of its columns that each party draws for each tree"
    )
    top_rate: float = Field(0.0, ge=0, lt=1, description="GOSS: share of rows, largest gradients")
    other_rate: float = Field(0.0, ge=0, lt=1, description="GOSS: share of rows, of all others")
    validation_fraction: float = Field(
        0.0, ge=0, le=0.5, description="share of rows not learnt from, to see the loss on"
    )
    early_stopping_rounds: int = Field(
        0, ge=0, le=1000, description="end after so many trees without a better loss; 0: never"
    )
    random_state: int = Field(0, ge=0, lt=2**32, description="seed of what is drawn; no secret")
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

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if bool(self.top_rate) != bool(self.other_rate) or self.top_rate + self.other_rate > 1:
            raise ValueError("GOSS takes top_rate and other_rate, both above 0, at most 1 together")
        if self.top_rate and self.subsample < 1:
            raise ValueError("rows are drawn by subsample or by GOSS, not by both")
        if self.early_stopping_rounds and not self.validation_fraction:
            raise ValueError("early stopping looks at held-out rows: set validation_fraction")
        each = self.vectors // self.n_estimators
        if self.scheme == "lattice" and each > hidden.MAX_VECTORS_PER_TREE:
            raise ValueError(
                f"a tree takes {each} vectors; a lattice key masks {hidden.MAX_VECTORS_PER_TREE}: "
                "fewer classes, a smaller max_depth, or paillier"
            )
        return self

    @property
    def learnt(self) -> Objective:
        """The objective with the numbers that belong to it."""
        shapes = {
            "huber": self.huber_slope,
            "fair": self.fair_scale,
            "tweedie": self.tweedie_variance_power,
        }
        outputs = self.num_class if self.objective == "softmax" else 1
        return Objective(self.objective, outputs, shapes.get(self.objective, 1.0))

    def labels(self, table: Table) -> tuple[Labels, Table]:
        """The guest's labels and weights, and its table without the column of weights.

        Raises as `Objective.labels`, `ColumnNotFound`, or `WeightsUnusable`.
        """
        y, weight = self.learnt.labels(table), np.ones(len(table))
        if self.weight_column:
            weight, table = _without(table, self.weight_column)
        salt = self.random_state.to_bytes(4, "big")
        _, seen = split_by_id(table.ids, self.validation_fraction, salt)
        held_out = np.zeros(len(table), np.bool_)
        held_out[seen] = True
        labels = Labels(y, weight, held_out)
        if not labels.training_weight.any():
            raise WeightsUnusable("no row to learn from has a weight above 0")
        if self.validation_fraction and not labels.held_out_weight.any():
            raise WeightsUnusable("no held-out row has a weight above 0; raise validation_fraction")
        return labels, table

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
            self.learnt,
            self.reg_alpha,
            self.gamma,
            Sampling(self.subsample, self.top_rate, self.other_rate, self.random_state),
            self.early_stopping_rounds,
        )

    def columns(self, table: Table) -> Columns:
        """A party's columns in bins; raises `ConstantColumn` or `AllMissingColumn`."""
        names, few = table.schema.features, self.min_bin_rows
        return Columns.of(
            table.X,
            names,
            categories=table.schema.categories,
            max_bins=self.max_bins,
            min_bin_rows=few,
        )

    def column_sample(self, table: Table) -> ColumnSample | None:
        """How a party draws columns for each tree; None if it takes all."""
        if self.colsample_bytree == 1.0:
            return None
        return ColumnSample.of(table.X, self.colsample_bytree, self.random_state)

    @property
    def vectors(self) -> int:
        """The most vectors that a host answers: g, h and 1 for half the nodes above the leaves.

        Of two siblings only the smaller one is added up; the other is the rest of their parent.
        With `lattice` there is no 1 where children need no number of rows.
        """
        uncounted = self.scheme == "lattice" and self.min_samples_leaf == 1
        fields = 2 * self.learnt.outputs + (not uncounted)
        return int(fields * self.n_estimators * 2 ** (self.max_depth - 1))


def value_bits(growth: Growth) -> tuple[int, ...]:
    """Bits of the fields of a row under Paillier: g + 2^fraction_bits, h, and 1."""
    bits, outputs = growth.fraction_bits, growth.objective.outputs
    return (*[bits + 2] * outputs, *[bits + 1] * outputs, 1)


def offsets(growth: Growth) -> Rows:
    """What makes g of a row in the sample not negative; the count takes it away again."""
    outputs = growth.objective.outputs
    return _array(*[2**growth.fraction_bits] * outputs, *[0] * (outputs + 1))


def _without(table: Table, column: str) -> tuple[NDArray[np.float64], Table]:
    """A column of weights, and the table without it; `ColumnNotFound`, `WeightsUnusable`."""
    names = table.schema.features
    if column not in names:
        raise ColumnNotFound(column, names)
    at = names.index(column)
    weight = table.X[:, at]
    if not (np.isfinite(weight) & (weight >= 0)).all():
        raise WeightsUnusable("a weight is missing or negative; weights are 0 or more")
    types = table.schema.types
    schema = replace(
        table.schema,
        features=names[:at] + names[at + 1 :],
        types=types[:at] + types[at + 1 :],
    )
    return weight, replace(table, schema=schema, X=np.delete(table.X, at, axis=1))


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


class Proceed(Message, sender=GUEST, to=HOST):
    """Whether another tree follows: the host learns when the loss on held-out rows fell no more."""

    more: bool


# --- training -------------------------------------------------------------------------------


async def guest(
    ch: Channel,
    params: Params,
    table: Table,
    *,
    key: PrivateKey | None = None,
    workers: int | None = None,
    keeper: Keeper | None = None,
) -> GuestModel:
    """Train with all hosts of the channel, or go on with a training that was interrupted.

    ``keeper`` has what was kept of it, and keeps what follows (default: nothing outlives this).
    ``key`` is used instead of a new one (tests), ``workers`` is the number of processes (default:
    one per processor, 0 for none).  Raises as `Params.labels`, `ConstantColumn`,
    `AllMissingColumn`, `ScoreOverflow`; `ConversationError` or `CryptoError` for what hosts do.
    """
    book = Book(keeper or MemoryKeeper(), params, ch.me, table)  # with its weights
    labels, table = params.labels(table)
    own = params.columns(table)

    def ensemble(kept: Sequence[GuestTree]) -> Ensemble:
        growth = params.growth(len(table))
        model = Ensemble(own, ch.peers(HOST), labels, growth, params.column_sample(table))
        for one in kept:
            model.restore(one.tree, one.leaf)
        return model

    model = ensemble(kept := book.guest_trees()[: params.n_estimators])
    begin = await agree_guest(ch, len(kept), model.is_complete)
    if begin is None:
        return model.model(table.schema.features)
    if begin.trees < len(kept):
        model = ensemble(kept[: begin.trees])

    def after(k: int) -> None:
        ch.progress(k + 1, params.n_estimators, model.end_tree())
        book.keep_guest(k, *model.last)
        ch.measure("loss", k + 1, model.losses[-1])
        if model.aucs:
            ch.measure("auc", k + 1, model.aucs[-1])
        if model.held_out_losses:
            ch.measure("held_out_loss", k + 1, model.held_out_losses[-1])

    async def goes_on() -> bool:
        if params.early_stopping_rounds and model.done:
            await ch.send(Proceed(not model.is_over))
        return not model.is_over

    if model.is_complete:
        await leave_together(ch)
        return model.model(table.schema.features)
    if params.scheme == "lattice":
        with Threads(workers) as threads:
            await hidden.guest(ch, model, table.ids, params.key_checks, threads, after, goes_on)
        await leave_together(ch)
        return model.model(table.schema.features)
    with Workers(workers) as pool:
        ch.progress(0, params.n_estimators, "making a key")
        secret = paillier.generate(params.key_bits) if key is None else key
        offset = offsets(model.growth)
        owner = PaillierOwner(secret, len(table), value_bits(model.growth), pool)
        await ch.send(Begin(owner.opening))
        offers = {p: offer.splits for p, offer in (await ch.receive_all(Offer)).items()}
        for k in range(begin.trees, params.n_estimators):
            if not await goes_on():
                break
            values = model.targets()
            async for part in owner.encrypt(values + offset * values[:, -1:]):
                ch.progress(k, params.n_estimators, f"tree {k + 1}: encrypting")
                await ch.send(Gradients(part))
            ch.progress(k, params.n_estimators, f"tree {k + 1}: growing")
            await _grow(ch, owner, offers, model, values)
            after(k)
    await leave_together(ch)
    return model.model(table.schema.features)


async def _grow(
    ch: Channel,
    owner: products.Owner,
    offers: Mapping[Party, int],
    model: Ensemble,
    values: NDArray[np.int64],
) -> None:
    """One tree, level by level, together with the hosts; ``values`` as of `trees.targets`."""
    level, offset = Level.root(len(values)), offsets(model.growth)
    drawn = await columns.hear(ch, model.sample, model.own.matrix, offers, len(model.done))
    for depth in range(1, model.growth.max_depth + 1):
        for party, splits in offers.items():
            answer = (await ch.receive(Histograms, party)).answer
            sums = await owner.read(answer, len(level.ask), splits)
            level.add(party, [s - offset * s[:, -1:] for s in sums])
        winners = level.winners(model.own, values, model.growth, drawn)
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
        level = level.below(bits.children(level.nodes, left), values, model.growth)
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
    keeper: Keeper | None = None,
) -> HostModel:
    """Answer the guest, or go on with a training that was interrupted.

    ``keeper`` has what was kept of it, and keeps what follows (default: nothing outlives this).
    ``budget`` is charged before anything is answered; beside it no more vectors are answered than
    the parameters need.  Raises `ProductBudgetExceeded`, `ConstantColumn`, `AllMissingColumn`, and
    `ConversationError` or `CryptoError` for what the guest does.
    """
    own, book = params.columns(table), Book(keeper or MemoryKeeper(), params, ch.me, table)
    kept = book.host_trees()[: params.n_estimators]
    is_complete = len(kept) == params.n_estimators or any(tree.is_last for tree in kept[-1:])
    begin = await agree_host(ch, len(kept), is_complete)
    if begin is None:
        return _host_part(params, table, own, [tree.splits.tolist() for tree in kept])
    splits = [tree.splits.tolist() for tree in kept[: begin.trees]]
    each = params.vectors // params.n_estimators
    capped = CountedBudget(each * (params.n_estimators - begin.trees))

    def after(k: int, chosen: list[int]) -> None:
        splits.append(chosen)
        book.keep_host(k, chosen, is_last=False)

    def charge(vectors: int) -> None:
        capped(vectors)
        if budget is not None:
            budget(vectors)

    async def goes_on() -> bool:
        return not params.early_stopping_rounds or (await ch.receive(Proceed)).more

    sample = params.column_sample(table)
    if begin.more and params.scheme == "lattice":
        growth = params.growth(len(table))
        with Threads(workers) as threads:
            await hidden.host(
                ch,
                growth,
                own,
                sample,
                table.ids,
                params.key_checks,
                charge,
                threads,
                goes_on,
                begin.trees,
                after,
            )
    elif begin.more:
        with Workers(workers) as pool:
            await _help(ch, params, own, sample, charge, pool, goes_on, begin.trees, after)
    if splits and len(splits) < params.n_estimators:  # the guest stopped early
        book.keep_host(len(splits) - 1, splits[-1], is_last=True)
    await leave_together(ch)
    return _host_part(params, table, own, splits)


def _host_part(
    params: Params, table: Table, own: Columns, splits: Sequence[Sequence[int]]
) -> HostModel:
    """The model of a host whose splits were chosen, tree after tree."""
    chosen = [own.threshold(split) for tree in splits for split in tree]
    return HostModel(
        table.schema.features,
        params.max_depth,
        _array(*(split.column for split in chosen)),
        np.array([split.value for split in chosen], np.float64),
        np.array([split.missing_left for split in chosen], np.bool_),
        np.array([split.category for split in chosen], np.bool_),
    )


async def _help(
    ch: Channel,
    params: Params,
    own: Columns,
    sample: ColumnSample | None,
    charge: Budget,
    pool: Workers,
    goes_on: Callable[[], Awaitable[bool]],
    first: int,
    after: Callable[[int, list[int]], None],
) -> None:
    """A host's part of the trees from ``first`` on, under Paillier; ``after`` hears its chosen
    splits of each."""
    opening = (await ch.receive(Begin)).opening
    agreed = value_bits(params.growth(own.matrix.rows))
    if opening.value_bits != agreed:
        raise ProtocolViolation(f"fields of {opening.value_bits} bits; agreed are {agreed}")
    holder = PaillierHolder(
        opening, own.matrix, key_bits=params.key_bits, budget=charge, workers=pool
    )
    await ch.send(Offer(len(own.matrix)))
    for k in range(first, params.n_estimators):
        if k and not await goes_on():
            break
        ch.progress(k, params.n_estimators, f"tree {k + 1}")
        holder.begin()
        while not holder.complete:
            await holder.take((await ch.receive(Gradients)).vectors)
        grown = HostTree(own, params.min_samples_leaf)
        await columns.tell(ch, sample, own.matrix, grown.order, k)
        after(k, await _help_grow(ch, holder, grown, params))
    ch.progress(params.n_estimators, params.n_estimators, "trained")


async def _help_grow(
    ch: Channel, holder: products.Holder, tree: HostTree, params: Params
) -> list[int]:
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
    """What the model says of every row, (n,), or with softmax (n, classes).

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
    return model.objective.predict(own + np.ldexp(sums.astype(np.float64), -digits))


async def predict_host(ch: Channel, params: Params, model: HostModel, table: Table) -> None:
    """Multiply what the guest's leaves add by the bits of our splits, as `scoring` has it."""
    await scoring.host(ch, model, columns_of(table, model.columns), params.learnt.outputs)


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

    On a table with the columns of all parties it is what the parties train together, unless they
    draw columns, each from its own.
    """
    labels, table = params.labels(table)
    growth = params.growth(len(table))
    objective, training = growth.objective, ~labels.held_out
    own, sample = params.columns(table), params.column_sample(table)
    drawn = None if sample is None else partial(sample.splits, own.matrix.column)
    start, grown, scores = trees.fit_trees(own, labels, growth, drawn)
    aucs = [
        metrics.auc(labels.y[training], objective.predict(score)[training])
        for score in scores
        if objective.name == "logistic"
    ]
    seen = scores if labels.held_out.any() else []
    return GuestModel(
        table.schema.features,
        (),
        params.max_depth,
        objective,
        start,
        tuple(grown),
        np.array([objective.loss(labels.y, s, labels.training_weight) for s in scores]),
        np.array(aucs),
        np.array([objective.loss(labels.y, s, labels.held_out_weight) for s in seen]),
    )


def predict_alone(model: GuestModel, table: Table) -> NDArray[np.float64]:
    """What a model of `alone` says of every row; see `predict_guest`."""
    if model.hosts:
        raise ProtocolViolation("this model was trained with hosts; it predicts only with them")
    scores, _ = scores_by_path(model, (), columns_of(table, model.columns))
    return model.objective.predict(scores)


def measure(params: Params, table: Table, scores: NDArray[np.float64]) -> dict[str, Any]:
    """Numbers on what the model says of rows with labels; raises as `Objective.labels`."""
    objective = params.learnt
    labels = objective.labels(table)
    if objective.name == "logistic":
        return metrics.evaluate(labels, scores).to_json()
    if objective.name == "softmax":
        return metrics.evaluate_classes(labels, scores)
    return metrics.evaluate_values(labels, scores)


# --- for the catalogue ----------------------------------------------------------------------

ALGORITHM = Algorithm(
    name="secureboost",
    version=VERSION,
    params=Params,
    fit={GUEST: guest, HOST: host},
    predict={GUEST: predict_guest, HOST: predict_host},
    parts={GUEST: GuestModel, HOST: HostModel},
    messages=(
        Kept,
        GoOn,
        Begin,
        Offer,
        Gradients,
        columns.Drawn,
        Histograms,
        Chosen,
        Routes,
        Children,
        Proceed,
        *hidden.MESSAGES,
        Complete,
        *scoring.MESSAGES,
    ),
    measure=measure,
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
