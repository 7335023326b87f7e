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
    tell.  In prediction a host learns which rows visit its splits, and the guest learns one bit
    per row and visited split of a host.
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
Rounds
    Two per level and tree, one per level in prediction; vectors are encrypted once for all hosts.
Source
    Cheng, Fan, Jin, Liu, Chen, Papadopoulos, Yang: SecureBoost: A Lossless Federated Learning
    Framework, IEEE Intelligent Systems 36(6), 2021, algorithms 1 and 2.  Different here: answers
    are re-randomised, hosts add up the splits themselves so that they can shuffle them over
    columns, and equally good splits are left to the order of their owner.

The conversation::

    guest -> host   Begin          key, number of rows                        (once)
    host  -> guest  Offer          how many splits the host has               (once)
    guest -> host   Gradients      [[g, h, 1]] of consecutive rows            (per tree, in parts)
    host  -> guest  Histograms     [[sums left of every split]] per node      (per level)
    guest -> host   Chosen         which of the host's splits won             (per level)
    host  -> guest  Routes         which rows they send left                  (per level)
    guest -> host   Children       rows of the next level's nodes, which of them to add up

    guest -> host   Visits         which rows arrive at which split           (predict, per level)
    host  -> guest  Directions     one bit for each of them
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator

from ml import wire
from ml.algorithm import Algorithm
from ml.crypto import paillier, products
from ml.crypto.paillier import PrivateKey
from ml.crypto.paillier_products import PaillierHolder, PaillierOwner
from ml.crypto.products import Answer, Budget, CountedBudget, Opening, SchemeName, Vectors
from ml.crypto.workers import Workers
from ml.errors import ColumnNotFound, ProtocolViolation
from ml.federation import GUEST, HOST, Channel, Message, Party
from ml.local import metrics, trees
from ml.local.binning import (
    MAX_BINS,
    Bins,
    SplitMatrix,
    Threshold,
    fit_bins,
    split_matrix,
    threshold,
)
from ml.local.losses import initial_score, logistic_loss, sigmoid
from ml.local.trees import FRACTION_BITS, Choice, Growth, Tree
from ml.table import Table, binary_labels
from ml.wire import Shape

VERSION = 1
ROOT = 0

Rows = NDArray[np.int64]
Sums = NDArray[np.int64]  # (..., 3): g, h, rows
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

    @property
    def growth(self) -> Growth:
        """How trees are grown."""
        return Growth(
            self.n_estimators,
            self.learning_rate,
            self.max_depth,
            self.reg_lambda,
            self.min_child_weight,
            self.min_samples_leaf,
        )

    @property
    def vectors(self) -> int:
        """The most vectors that a host answers: g, h and 1 for half the nodes above the leaves.

        Of two siblings only the smaller one is added up; the other is the rest of their parent.
        """
        return int(FIELDS * self.n_estimators * 2 ** (self.max_depth - 1))


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


# --- what is said in prediction -------------------------------------------------------------


class Visits(Message, sender=GUEST, to=HOST):
    """The host learns which rows arrive at which of its splits on this level of all trees."""

    splits: Annotated[NDArray[np.int64], Shape("splits")]
    rows: Annotated[NDArray[np.uint8], Shape("splits", "bytes")]  # numpy.packbits of all rows


class Directions(Message, sender=HOST, to=GUEST):
    """The guest learns whether each visiting row goes left: one bit a visit, split after split."""

    left: Bits


# --- the model ------------------------------------------------------------------------------


@wire.register
@dataclass(frozen=True, eq=False)
class GuestModel:
    """The guest's part: all trees, with its own splits and the numbers of those of the hosts."""

    columns: tuple[str, ...]
    hosts: tuple[str, ...]  # sites; Tree.owner counts them from 1
    depth: int
    start: float  # the score before the first tree
    trees: tuple[Tree, ...]
    loss: Annotated[NDArray[np.float64], Shape("trees")]  # on the training rows, after each tree
    auc: Annotated[NDArray[np.float64], Shape("trees")]


@wire.register
@dataclass(frozen=True, eq=False)
class HostModel:
    """A host's part: what its numbered splits ask."""

    columns: tuple[str, ...]
    depth: int
    column: Annotated[NDArray[np.int64], Shape("splits")]
    threshold: Annotated[NDArray[np.float64], Shape("splits")]
    missing_left: Annotated[NDArray[np.bool_], Shape("splits")]


# --- training: the guest --------------------------------------------------------------------


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
    y = binary_labels(table)
    own, growth = _Columns.of(table, params, min_bin_rows=1), params.growth
    hosts = ch.peers(HOST)
    with Workers(workers) as pool:
        ch.progress(0, params.n_estimators, "making a key")
        secret = paillier.generate(params.key_bits) if key is None else key
        owner = PaillierOwner(secret, len(table), VALUE_BITS, pool)
        await ch.send(Begin(owner.opening))
        offers = {p: offer.splits for p, offer in (await ch.receive_all(Offer)).items()}
        model = _Training(own, hosts, y, growth)
        for k in range(params.n_estimators):
            values = trees.targets(y, model.score)
            async for part in owner.encrypt(values + OFFSETS):
                ch.progress(k, params.n_estimators, f"tree {k + 1}: encrypting")
                await ch.send(Gradients(part))
            ch.progress(k, params.n_estimators, f"tree {k + 1}: growing")
            await _grow(ch, owner, offers, model, values)
            loss, auc = model.end_tree()
            ch.progress(k + 1, params.n_estimators, f"loss {loss:.4f}, AUC {auc:.4f}")
    return model.result(table.schema.features, params.max_depth)


async def _grow(
    ch: Channel,
    owner: products.Owner,
    offers: Mapping[Party, int],
    model: _Training,
    values: NDArray[np.int64],
) -> None:
    """One tree, level by level, together with the hosts; ``values`` are g, h and 1 (n, 3)."""
    level = _Level.root(len(values))
    for depth in range(model.growth.max_depth):
        for host, splits in offers.items():
            answer = (await ch.receive(Histograms, host)).answer
            level.add(host, await owner.read(answer, len(level.ask), splits))
        chosen = level.choose(model, values)
        for host in offers:
            await ch.send(_chosen_of(host, chosen), to=host)
        left = {node: model.split_own(node, c, level) for node, c in chosen.items() if not c.host}
        for host in offers:
            routes = await ch.receive(Routes, host)
            mine = {node: level.nodes[node] for node, c in chosen.items() if c.host == host}
            for node, goes_left in _unpack(routes.left, mine, host).items():
                chosen[node].check(values[mine[node][goes_left]].sum(axis=0))
                model.split_host(node, host)
                left[node] = goes_left
        model.end_leaves({n: r for n, r in level.nodes.items() if n not in chosen}, values)
        children = _children(level.nodes, left)
        if depth + 1 == model.growth.max_depth:
            model.end_leaves(children, values)
            return
        level = level.next(children, model.growth)
        await ch.send(
            Children(_array(sorted(left)), _pack([left[n] for n in sorted(left)]), level.ask)
        )
        if not len(level.ask):
            model.end_leaves(children, values)
            return


@dataclass(frozen=True)
class _Winner:
    """The best split of a node: of ``host`` (None: our own), or several equally good ones."""

    host: Party | None
    choice: Choice
    sums: Sums  # left of each of choice.splits

    def check(self, left: Sums) -> None:
        """Raises `ProtocolViolation` if the host sends other rows left than it added up."""
        if not (self.sums == left).all(axis=1).any():
            raise ProtocolViolation(
                f"the rows that {self.host} sends left are not those of the sums it returned"
            )


def _chosen_of(host: Party, chosen: Mapping[int, _Winner]) -> Chosen:
    pairs = [
        (n, s) for n in sorted(chosen) if chosen[n].host == host for s in chosen[n].choice.splits
    ]
    return Chosen(_array([n for n, _ in pairs]), _array([s for _, s in pairs]))


@dataclass
class _Level:
    """The nodes of one level, and what is known of their sums."""

    nodes: dict[int, Rows]
    ask: Rows  # the nodes that hosts add up, ascending
    parents: Mapping[int, Mapping[Party, Sums]]  # sums of the level above
    sums: dict[int, dict[Party, Sums]]

    @classmethod
    def root(cls, rows: int) -> _Level:
        return cls({ROOT: np.arange(rows)}, _array([ROOT]), {}, {ROOT: {}})

    def next(self, children: dict[int, Rows], growth: Growth) -> _Level:
        """The level below: of two siblings the one with fewer rows is asked."""
        ask = [
            min(pair, key=lambda node: len(children[node]))
            for pair in ((n, n + 1) for n in sorted(children) if n % 2)
            if any(trees.can_split(children[node], growth) for node in pair)
        ]
        return _Level(children, _array(ask), self.sums, {node: {} for node in children})

    def add(self, host: Party, answers: Sequence[Sums]) -> None:
        """The sums of a host for the asked nodes; siblings are the rest of their parents.

        Raises `ProtocolViolation` for sums that no rows have.
        """
        for node, answer in zip(self.ask.tolist(), answers, strict=True):
            found = answer - OFFSETS * answer[:, 2:]
            _check_counts(found, len(self.nodes[node]), host)
            self.sums[node][host] = found
            if node != ROOT:
                sibling = node + 1 if node % 2 else node - 1
                rest = self.parents[(node - 1) // 2][host] - found
                _check_counts(rest, len(self.nodes[sibling]), host)
                self.sums[sibling][host] = rest

    def choose(self, model: _Training, values: NDArray[np.int64]) -> dict[int, _Winner]:
        """The best split of every node that has one.  Between equal gains the guest comes first,
        then the hosts in their order."""
        chosen: dict[int, _Winner] = {}
        for node, rows in sorted(self.nodes.items()):
            if not trees.can_split(rows, model.growth):
                continue
            total = values[rows].sum(axis=0)
            own = model.own.matrix.sums(values, rows)
            best: _Winner | None = None
            for host, sums in [(None, own), *self.sums[node].items()]:
                choice = trees.choose(sums, total, model.growth)
                if choice is not None and (best is None or choice.gain > best.choice.gain):
                    best = _Winner(host, choice, sums[list(choice.splits)])
            if best is not None:
                chosen[node] = best
        return chosen


def _check_counts(sums: Sums, rows: int, host: Party) -> None:
    if ((sums[:, 1:] < 0) | (sums[:, 2:] > rows)).any():
        raise ProtocolViolation(f"{host} returned sums over more rows than the node has")


@dataclass
class _Training:
    """The trees so far, and the one that grows."""

    own: _Columns
    hosts: tuple[Party, ...]
    y: NDArray[np.int8]
    growth: Growth
    done: list[Tree] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    aucs: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.start = initial_score(self.y)
        self.score = np.full(len(self.y), self.start)
        self.tree = Tree.empty(self.growth.max_depth)
        # Both sides count a host's chosen splits in the order of trees and nodes.
        self.numbers = dict.fromkeys(self.hosts, 0)

    def split_own(self, node: int, winner: _Winner, level: _Level) -> NDArray[np.bool_]:
        """Split ``node`` by a column of ours; which of its rows go left."""
        split = winner.choice.splits[0]
        self.tree.split_own(node, self.own.threshold(split))
        return self.own.matrix.left(split, level.nodes[node])

    def split_host(self, node: int, host: Party) -> None:
        """Split ``node`` by the next number of ``host``."""
        self.tree.split_by(node, self.hosts.index(host) + 1, self.numbers[host])
        self.numbers[host] += 1

    def end_leaves(self, leaves: Mapping[int, Rows], values: NDArray[np.int64]) -> None:
        """These nodes are split no further."""
        for node, rows in leaves.items():
            self.tree.end(node, trees.leaf_weight(values[rows].sum(axis=0), self.growth))
            self.score[rows] += self.tree.weight[node]

    def end_tree(self) -> tuple[float, float]:
        """Loss and AUC on the training rows after the tree that has grown."""
        self.done.append(self.tree)
        self.tree = Tree.empty(self.growth.max_depth)
        self.losses.append(logistic_loss(self.y, self.score))
        self.aucs.append(metrics.auc(self.y, sigmoid(self.score)))
        return self.losses[-1], self.aucs[-1]

    def result(self, columns: tuple[str, ...], depth: int) -> GuestModel:
        return GuestModel(
            columns,
            tuple(host.site for host in self.hosts),
            depth,
            self.start,
            tuple(self.done),
            np.array(self.losses),
            np.array(self.aucs),
        )


# --- training: a host -----------------------------------------------------------------------


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
    own = _Columns.of(table, params, min_bin_rows=params.min_bin_rows)
    begin = await ch.receive(Begin)
    with Workers(workers) as pool:
        holder = PaillierHolder(
            begin.opening,
            own.matrix,
            key_bits=params.key_bits,
            budget=_both(CountedBudget(params.vectors), budget),
            workers=pool,
        )
        await ch.send(Offer(len(own.matrix)))
        chosen: list[Threshold] = []
        for k in range(params.n_estimators):
            ch.progress(k, params.n_estimators, f"tree {k + 1}")
            holder.begin()
            while not holder.complete:
                await holder.take((await ch.receive(Gradients)).vectors)
            chosen += await _help_grow(ch, params, holder, own)
        ch.progress(params.n_estimators, params.n_estimators, "trained")
    return HostModel(
        table.schema.features,
        params.max_depth,
        _array([split.column for split in chosen]),
        np.array([split.value for split in chosen], np.float64),
        np.array([split.missing_left for split in chosen], np.bool_),
    )


async def _help_grow(
    ch: Channel, params: Params, holder: products.Holder, own: _Columns
) -> list[Threshold]:
    """A host's part of one tree; its splits that were chosen, in the order of their nodes."""
    # One order for all nodes of a tree, so that the guest can take the difference of two nodes.
    order = _secret_order(len(own.matrix))
    nodes: dict[int, Rows] = {ROOT: np.arange(own.matrix.rows)}
    ask, chosen = [ROOT], list[Threshold]()
    for depth in range(params.max_depth):
        await ch.send(Histograms(await holder.answer([nodes[node] for node in ask], order)))
        said = await ch.receive(Chosen)
        routes: list[NDArray[np.bool_]] = []
        for node, split in _first_of_each(said, order, nodes).items():
            chosen.append(own.threshold(split))
            routes.append(own.matrix.left(split, nodes[node]))
        await ch.send(Routes(_pack(routes)))
        if depth + 1 == params.max_depth:
            break
        told = await ch.receive(Children)
        nodes = _told_children(told, nodes)
        ask = _asked(told.ask, nodes, params.min_samples_leaf)
        if not ask:
            break
    return chosen


def _first_of_each(said: Chosen, order: Rows, nodes: Mapping[int, Rows]) -> dict[int, int]:
    """The first split in our own order of those chosen at each node, by node ascending."""
    first: dict[int, int] = {}
    for node, number in zip(said.nodes.tolist(), said.splits.tolist(), strict=True):
        if node not in nodes or not 0 <= number < len(order):
            raise ProtocolViolation(f"split {number} of node {node} was chosen; we offered none")
        first[node] = min(first.get(node, len(order)), int(order[number]))
    return dict(sorted(first.items()))


def _told_children(told: Children, nodes: Mapping[int, Rows]) -> dict[int, Rows]:
    """The nodes of the next level."""
    if any(node not in nodes for node in told.nodes.tolist()) or len(set(told.nodes)) < len(
        told.nodes
    ):
        raise ProtocolViolation("nodes were split that are not there, or twice")
    split = {node: nodes[node] for node in told.nodes.tolist()}
    return _children(nodes, _unpack(told.left, split, GUEST))


def _asked(ask: Rows, nodes: Mapping[int, Rows], at_least: int) -> list[int]:
    """The nodes to add up: each once, and none with fewer rows than a leaf must have."""
    asked: list[int] = ask.tolist()
    if len(set(asked)) < len(asked) or any(node not in nodes for node in asked):
        raise ProtocolViolation("sums were asked of nodes that are not there, or twice")
    if few := [len(nodes[node]) for node in asked if len(nodes[node]) < at_least]:
        raise ProtocolViolation(f"sums were asked over {min(few)} rows; allowed are {at_least}")
    return asked


def _both(cap: CountedBudget, budget: Budget | None) -> Budget:
    def charge(vectors: int) -> None:
        cap(vectors)
        if budget is not None:
            budget(vectors)

    return charge


def _secret_order(count: int) -> Rows:
    order = list(range(count))
    secrets.SystemRandom().shuffle(order)
    return _array(order)


# --- prediction -----------------------------------------------------------------------------


async def predict_guest(
    ch: Channel, params: Params, model: GuestModel, table: Table
) -> NDArray[np.float64]:
    """The probability of label 1 for every row, shape (n,).

    Raises `ColumnNotFound` for a table without the model's columns, `ProtocolViolation` if the
    parties are not those of the training.
    """
    hosts = _hosts_of(model, ch)
    X, walk = _columns_of(table, model.columns), _Walk.start(model, len(table))
    for depth in range(model.depth):
        ch.progress(depth, model.depth, f"level {depth + 1}")
        for tree in range(len(model.trees)):
            walk.own_step(tree, X)
        visits = {party: walk.visits(k) for k, party in enumerate(hosts, start=1)}
        for party, found in visits.items():
            await ch.send(_visits(found, len(table)), to=party)
        for party, found in visits.items():
            said = await ch.receive(Directions, party)
            rows = {number: visit.rows for number, visit in found.items()}
            for number, goes_left in _unpack(said.left, rows, party).items():
                walk.step(found[number], goes_left)
        walk.next_level()
    ch.progress(model.depth, model.depth, "predicted")
    return sigmoid(walk.score())


async def predict_host(ch: Channel, params: Params, model: HostModel, table: Table) -> None:
    """Say which rows go left at each visited split of ours."""
    X = _columns_of(table, model.columns)
    for _ in range(model.depth):
        said = await ch.receive(Visits)
        numbers = said.splits.tolist()
        if len(set(numbers)) < len(numbers) or any(
            not 0 <= number < len(model.column) for number in numbers
        ):
            raise ProtocolViolation("visits to splits that this model does not have, or twice")
        left: list[NDArray[np.bool_]] = []
        for number, bits in zip(numbers, said.rows, strict=True):
            rows = np.flatnonzero(_bits(bits, len(table), GUEST))
            x = X[rows, model.column[number]]
            left.append(
                np.where(np.isnan(x), model.missing_left[number], x <= model.threshold[number])
            )
        await ch.send(Directions(_pack(left)))


@dataclass(frozen=True)
class _Visit:
    """Rows that arrive at one node of one tree."""

    tree: int
    node: int
    rows: Rows


@dataclass
class _Walk:
    """Where every row stands in every tree: the nodes of this level, and of the next."""

    model: GuestModel
    at: NDArray[np.int64]  # (trees, n)
    then: NDArray[np.int64]

    @classmethod
    def start(cls, model: GuestModel, rows: int) -> _Walk:
        at = np.zeros((len(model.trees), rows), np.int64)
        return cls(model, at, at.copy())

    def own_step(self, tree: int, X: NDArray[np.float64]) -> None:
        """Move the rows of one tree that stand at splits of our own."""
        known = self.model.trees[tree]
        for node in np.unique(self.at[tree]).tolist():
            if known.owner[node] == trees.OWN:
                rows = np.flatnonzero(self.at[tree] == node)
                self.step(_Visit(tree, node, rows), known.own_goes_left(node, X[rows]))

    def visits(self, host: int) -> dict[int, _Visit]:
        """The rows that stand at splits of this host, by the host's number, ascending."""
        found: dict[int, _Visit] = {}
        for k, tree in enumerate(self.model.trees):
            for node in np.unique(self.at[k]).tolist():
                if tree.owner[node] == host:
                    rows = np.flatnonzero(self.at[k] == node)
                    found[int(tree.split[node])] = _Visit(k, node, rows)
        return dict(sorted(found.items()))

    def step(self, visit: _Visit, goes_left: NDArray[np.bool_]) -> None:
        """Move these rows to a child."""
        self.then[visit.tree, visit.rows] = 2 * visit.node + np.where(goes_left, 1, 2)

    def next_level(self) -> None:
        """All rows of this level have moved."""
        self.at = self.then.copy()

    def score(self) -> NDArray[np.float64]:
        """The sum over all trees, once every row stands at a leaf."""
        score = np.full(self.at.shape[1], self.model.start)
        for tree, at in zip(self.model.trees, self.at, strict=True):
            score += tree.weight[at]
        return score


def _visits(found: Mapping[int, _Visit], rows: int) -> Visits:
    masks = np.zeros((len(found), rows), np.bool_)
    for mask, visit in zip(masks, found.values(), strict=True):
        mask[visit.rows] = True
    return Visits(_array(list(found)), np.packbits(masks, axis=1))


def _hosts_of(model: GuestModel, ch: Channel) -> tuple[Party, ...]:
    """The hosts of the training, in its order."""
    present = {party.site: party for party in ch.peers(HOST)}
    if set(present) != set(model.hosts):
        raise ProtocolViolation(
            f"the model was trained with {len(model.hosts)} hosts; "
            f"{len(set(model.hosts) & set(present))} of them and "
            f"{len(set(present) - set(model.hosts))} others are here"
        )
    return tuple(present[site] for site in model.hosts)


def _columns_of(table: Table, columns: tuple[str, ...]) -> NDArray[np.float64]:
    """The columns of a model, in its order; shape (n, columns)."""
    names = table.schema.features
    for name in columns:
        if name not in names:
            raise ColumnNotFound(name, names)
    return table.X[:, [names.index(name) for name in columns]]


# --- the guest alone ------------------------------------------------------------------------


def alone(params: Params, table: Table) -> GuestModel:
    """What the guest could have trained without anybody, to compare with."""
    y = binary_labels(table)
    own, growth = _Columns.of(table, params, min_bin_rows=1), params.growth
    start, grown, scores = trees.fit_trees(own.matrix, y, growth, own.threshold)
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
    X, walk = _columns_of(table, model.columns), _Walk.start(model, len(table))
    for _ in range(model.depth):
        for tree in range(len(model.trees)):
            walk.own_step(tree, X)
        walk.next_level()
    return sigmoid(walk.score())


# --- what both sides use --------------------------------------------------------------------

FIELDS = 3  # g, h, and 1 to count
_ONE = 2**FRACTION_BITS
# g is in [-1, 1] and is sent as g + 1; h is at most 1/4.  The count takes the offset away again.
OFFSETS = np.array([_ONE, 0, 0], np.int64)
VALUE_BITS = (FRACTION_BITS + 2, FRACTION_BITS - 1, 1)


@dataclass(frozen=True, eq=False)
class _Columns:
    """A party's own columns, in bins."""

    bins: Bins
    matrix: SplitMatrix

    @classmethod
    def of(cls, table: Table, params: Params, *, min_bin_rows: int) -> _Columns:
        bins = fit_bins(
            table.X, table.schema.features, max_bins=params.max_bins, min_bin_rows=min_bin_rows
        )
        return cls(bins, split_matrix(bins, table.X))

    def threshold(self, split: int) -> Threshold:
        """A split in terms of raw values."""
        return threshold(self.bins, self.matrix, split)


def _children(nodes: Mapping[int, Rows], left: Mapping[int, NDArray[np.bool_]]) -> dict[int, Rows]:
    """The rows of the children of split nodes, by node."""
    children: dict[int, Rows] = {}
    for node, goes_left in sorted(left.items()):
        rows = nodes[node]
        children[2 * node + 1], children[2 * node + 2] = rows[goes_left], rows[~goes_left]
    return children


def _array(numbers: Sequence[int]) -> Rows:
    return np.array(numbers, np.int64)


def _pack(bits: Sequence[NDArray[np.bool_]]) -> NDArray[np.uint8]:
    return np.packbits(np.concatenate([np.empty(0, np.bool_), *bits]))


def _unpack(
    packed: NDArray[np.uint8], nodes: Mapping[int, Rows], sender: Party | str
) -> dict[int, NDArray[np.bool_]]:
    """One bit for each row of each node, nodes ascending."""
    sizes = {node: len(rows) for node, rows in sorted(nodes.items())}
    bits = _bits(packed, sum(sizes.values()), sender)
    ends = np.cumsum(list(sizes.values()))
    return dict(zip(sizes, np.split(bits, ends[:-1]), strict=True)) if sizes else {}


def _bits(packed: NDArray[np.uint8], count: int, sender: Party | str) -> NDArray[np.bool_]:
    if len(packed) != -(-count // 8):
        raise ProtocolViolation(f"{sender} sent {len(packed)} bytes of bits for {count} rows")
    return np.unpackbits(packed, count=count).astype(np.bool_)


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
        Visits,
        Directions,
    ),
    notice=(
        "The guest learns, for nodes of its trees, sums of its own gradients left of each split of "
        "your columns, and which rows a chosen split sends left; never a column's name, a "
        "threshold or a value. You learn which rows are in which node, never a label. Not "
        "protected: from many sums the guest can compute the bins of your columns, up to their "
        "names and scales; your product budget limits how many it gets. Parties are assumed to "
        "follow the protocol."
    ),
)
