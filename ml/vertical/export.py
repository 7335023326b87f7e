"""A model as JSON: each party's part for itself, and all parts together in XGBoost's own format.

`guest_part` and `host_part` say what a party has, in words: whoever keeps a model for years can
read it without this program.  `merged` needs the parts of ALL parties, so it is for consortia whose
members agree to give theirs away: the merged model names every column and threshold, and predicts
without anybody.

A part has these members; ``docs/protocols/secureboost.md`` shows one::

    format     "fatechain secureboost part"        version    1
    role       "guest" or "host"                   site       whose part it is
    columns    names of its columns
    guest:     objective, outputs, start (one number for each output), hosts (sites), trees
    tree:      nodes by number, from "0"; a node is one of
               {"leaf": [one number for each output]}
               {"column", "threshold", "missing", "left", "right"}     a split of the guest
               {"host", "split", "left", "right"}                      of a host, by its number
    host:      splits: [{"column", "threshold", "missing"}], by number

A row goes left if its value is at most the threshold, or if it is missing and ``missing`` is
"left".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ml.errors import DataError
from ml.local import trees
from ml.local.losses import sigmoid
from ml.local.trees import Tree
from ml.vertical.forest import GuestModel, HostModel

FORMAT, VERSION = "fatechain secureboost part", 1
XGBOOST_VERSION = [3, 2, 0]
_NO_PARENT = 2**31 - 1

Part = dict[str, Any]


class NotExportable(DataError):
    """A model, or parts of one, that cannot be written as asked."""


def guest_part(model: GuestModel, site: str) -> Part:
    """The guest's part.  Raises `NotExportable` for a split by category."""
    return {
        **_head("guest", site, model.columns),
        "objective": model.objective.name,
        "outputs": model.objective.outputs,
        "start": model.start.tolist(),
        "hosts": list(model.hosts),
        "trees": [_nodes(tree, model.columns, model.hosts) for tree in model.trees],
    }


def host_part(model: HostModel, site: str) -> Part:
    """A host's part.  Raises `NotExportable` for a split by category."""
    if model.category.any():
        raise NotExportable("a split by category has no place in this format")
    rows = zip(model.column, model.threshold, model.missing_left, strict=True)
    return {
        **_head("host", site, model.columns),
        "splits": [_split(model.columns[column], value, left) for column, value, left in rows],
    }


def _head(role: str, site: str, columns: Sequence[str]) -> Part:
    return {
        "format": FORMAT,
        "version": VERSION,
        "role": role,
        "site": site,
        "columns": list(columns),
    }


def _split(column: str, threshold: float, missing_left: bool) -> Part:
    missing = "left" if missing_left else "right"
    return {"column": column, "threshold": float(threshold), "missing": missing}


def _nodes(tree: Tree, columns: Sequence[str], hosts: Sequence[str]) -> Part:
    """All nodes that are there, by their numbers."""
    nodes: Part = {}
    for node in np.flatnonzero(tree.owner != trees.ABSENT).tolist():
        owner, number = int(tree.owner[node]), int(tree.split[node])
        if owner == trees.LEAF:
            nodes[str(node)] = {"leaf": tree.weight[node].tolist()}
            continue
        if owner == trees.OWN:
            if tree.category[node]:
                raise NotExportable("a split by category has no place in this format")
            said = _split(columns[number], tree.threshold[node], tree.missing_left[node])
        else:
            said = {"host": hosts[owner - 1], "split": number}
        nodes[str(node)] = said | {"left": str(2 * node + 1), "right": str(2 * node + 2)}
    return nodes


# --- all parts together -------------------------------------------------------------------------


def merged(parts: Sequence[Part]) -> Part:
    """The model of all parties as XGBoost 3 reads it, from the parts of all of them.

    Columns keep their names, the guest's first, then those of the hosts in the order of the
    training; a name that two parties have is refused.  XGBoost holds values and thresholds in
    single precision: a row within a rounding of a threshold may go the other way there.  Raises
    `NotExportable` for other parts than the guest's and all its hosts'.
    """
    if any((part.get("format"), part.get("version")) != (FORMAT, VERSION) for part in parts):
        raise NotExportable("this is no part of a model that this release reads")
    guests = [part for part in parts if part["role"] == "guest"]
    hosts = {part["site"]: part for part in parts if part["role"] == "host"}
    if len(guests) != 1 or set(hosts) != set(guests[0]["hosts"]) or len(parts) != 1 + len(hosts):
        raise NotExportable(
            f"{len(guests)} parts of guests and {len(hosts)} of hosts; "
            "needed are that of the guest and those of all hosts that it names"
        )
    [guest] = guests
    ordered = [guest, *(hosts[site] for site in guest["hosts"])]
    names: list[str] = [name for part in ordered for name in part["columns"]]
    if len(set(names)) < len(names):
        raise NotExportable("two parties have columns of one name; rename one of them")
    place, outputs = {name: k for k, name in enumerate(names)}, guest["outputs"]
    grown = [
        _xgboost_tree(number * outputs + output, nodes, hosts, place, output)
        for number, nodes in enumerate(guest["trees"])
        for output in range(outputs)
    ]
    count = len(guest["trees"])
    model = {
        "cats": {"enc": [], "feature_segments": [], "sorted_idx": []},
        "gbtree_model_param": {"num_parallel_tree": "1", "num_trees": str(len(grown))},
        "iteration_indptr": [outputs * k for k in range(count + 1)],
        "tree_info": list(range(outputs)) * count,
        "trees": grown,
    }
    objective, base = _objective(guest)
    learner = {
        "attributes": {},
        "feature_names": names,
        "feature_types": ["float"] * len(names),
        "gradient_booster": {"model": model, "name": "gbtree"},
        "learner_model_param": {
            "base_score": json.dumps(base),
            "boost_from_average": "1",
            "num_class": str(outputs if outputs > 1 else 0),
            "num_feature": str(len(names)),
            "num_target": "1",
        },
        "objective": objective,
    }
    return {"learner": learner, "version": XGBOOST_VERSION}


def _objective(guest: Part) -> tuple[Part, list[float]]:
    """What XGBoost makes of scores, and the start as it counts it."""
    start = np.array(guest["start"], np.float64)
    match guest["objective"]:
        case "logistic":
            name = {"name": "binary:logistic", "reg_loss_param": {"scale_pos_weight": "1"}}
            return name, sigmoid(start).tolist()
        case "softmax":
            classes = {"num_class": str(guest["outputs"])}
            return {"name": "multi:softprob", "softmax_multiclass_param": classes}, start.tolist()
        case "poisson" | "tweedie":
            step = {"max_delta_step": "0.7"}
            return {"name": "count:poisson", "poisson_regression_param": step}, np.exp(
                start
            ).tolist()
        case _:  # what is predicted is the score
            name = {"name": "reg:squarederror", "reg_loss_param": {"scale_pos_weight": "1"}}
            return name, start.tolist()


def _xgboost_tree(
    number: int, nodes: Part, hosts: Mapping[str, Part], place: Mapping[str, int], output: int
) -> Part:
    """One tree of one output; nodes are numbered as they come, the root first."""
    order = sorted(nodes, key=int)
    at = {name: k for k, name in enumerate(order)}
    count, left, right = len(order), [-1] * len(order), [-1] * len(order)
    parents, conditions = [_NO_PARENT] * count, [0.0] * count
    indices, defaults = [0] * count, [0] * count
    for k, name in enumerate(order):
        node = nodes[name]
        if "leaf" in node:
            conditions[k] = float(node["leaf"][output])
            continue
        said = hosts[node["host"]]["splits"][node["split"]] if "host" in node else node
        left[k], right[k] = at[node["left"]], at[node["right"]]
        parents[left[k]] = parents[right[k]] = k
        indices[k], conditions[k] = place[said["column"]], _above(said["threshold"])
        defaults[k] = int(said["missing"] == "left")
    return {
        "base_weights": [
            c if child < 0 else 0.0 for c, child in zip(conditions, left, strict=True)
        ],
        "categories": [],
        "categories_nodes": [],
        "categories_segments": [],
        "categories_sizes": [],
        "default_left": defaults,
        "id": number,
        "left_children": left,
        "loss_changes": [0.0] * count,
        "parents": parents,
        "right_children": right,
        "split_conditions": conditions,
        "split_indices": indices,
        "split_type": [0] * count,
        "sum_hessian": [0.0] * count,
        "tree_param": {
            "num_deleted": "0",
            "num_feature": str(len(place)),
            "num_nodes": str(count),
            "size_leaf_vector": "1",
        },
    }


def _above(threshold: float) -> float:
    """The least single-precision number above: XGBoost sends left what is below its condition."""
    found = np.float32(threshold)
    if float(found) <= threshold:
        found = np.nextafter(found, np.float32(np.inf))
    return float(found)
