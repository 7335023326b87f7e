"""Exported models say what the parts are, and XGBoost predicts with them what the parties do."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ml.local.losses import Objective
from ml.vertical import export, forest
from ml.vertical.export import NotExportable
from ml.vertical.forest import GuestModel
from tests.ml.test_scoring import BANK, CLINIC, SHOP, World, expected, make_world

NAMES = {BANK: "income", SHOP: "basket", CLINIC: "pulse"}


def world_of(objective: Objective) -> World:
    """A model of three parties with names, and rows in single precision."""
    world = make_world((SHOP, CLINIC), n=200, outputs=objective.outputs)
    parts = {party: replace(part, columns=(NAMES[party],)) for party, part in world.parts.items()}
    start = np.linspace(0.2, 0.4, objective.outputs)
    parts[BANK] = replace(parts[BANK], objective=objective, start=start)
    X = {party: x.astype(np.float32).astype(np.float64) for party, x in world.X.items()}
    return World(parts, X)


def exported(world: World) -> tuple[Any, dict[str, Any]]:
    """All parts, through their text."""
    parts = [export.guest_part(world.parts[BANK], "bank")]
    parts += [export.host_part(world.parts[host], host.site) for host in world.hosts]
    guest, *hosts = (json.loads(json.dumps(part)) for part in parts)
    return guest, {host.site: part for host, part in zip(world.hosts, hosts, strict=True)}


@pytest.mark.parametrize(
    "objective",
    [
        Objective("logistic"),
        Objective("softmax", 3),
        Objective("squared"),
        Objective("huber"),
        Objective("poisson"),
        Objective("tweedie", 1, 1.5),
    ],
    ids=lambda objective: objective.name,
)
def test_xgboost_predicts_with_a_merged_model_what_the_parties_do(objective: Objective):
    xgboost = pytest.importorskip("xgboost")
    world = world_of(objective)
    guest, hosts = exported(world)
    booster = xgboost.Booster({"nthread": 1})
    booster.load_model(bytearray(json.dumps(export.merged([*hosts.values(), guest])).encode()))
    assert booster.feature_names == ["income", "basket", "pulse"]
    X = np.hstack([world.X[party] for party in (BANK, SHOP, CLINIC)])
    rows = xgboost.DMatrix(X, feature_names=booster.feature_names, nthread=1)
    rows.feature_types = ["float"] * 3
    predicted = objective.predict(expected(world))
    assert booster.predict(rows) == pytest.approx(predicted, rel=1e-5, abs=1e-5)
    assert np.ptp(predicted) > 0.1


def test_a_part_says_every_node_and_nothing_of_the_hosts_but_numbers():
    world = world_of(Objective("logistic"))
    guest, hosts = exported(world)
    model: GuestModel = world.parts[BANK]
    assert (guest["format"], guest["role"], guest["columns"]) == (
        export.FORMAT,
        "guest",
        ["income"],
    )
    for tree, nodes in zip(model.trees, guest["trees"], strict=True):
        assert len(nodes) == 2 ** (model.depth + 1) - 1
        for name, node in nodes.items():
            if "host" in node:
                assert set(node) == {"host", "split", "left", "right"}
                assert node["split"] == tree.split[int(name)]
    text = json.dumps(guest)
    assert "basket" not in text
    assert "pulse" not in text
    assert len(hosts["shop"]["splits"]) == len(world.parts[SHOP].column)
    first = hosts["shop"]["splits"][0]
    assert first["column"] == "basket"
    assert first["threshold"] == world.parts[SHOP].threshold[0]


def test_a_threshold_that_no_single_holds_is_not_moved_past_a_value():
    for threshold in (0.1, -0.1, 1 / 3, 1.0, 0.0, -1.0, 16777217.0):
        above = export._above(threshold)
        assert above > threshold
        below = np.nextafter(np.float32(above), np.float32(-np.inf))
        assert float(below) <= threshold


def test_parts_that_do_not_belong_together_are_refused():
    world = world_of(Objective("logistic"))
    guest, hosts = exported(world)
    shop, clinic = hosts["shop"], hosts["clinic"]
    for parts in ([guest, shop], [shop, clinic], [guest, guest, shop, clinic], [guest, shop, shop]):
        with pytest.raises(NotExportable, match="needed are that of the guest"):
            export.merged(parts)
    with pytest.raises(NotExportable, match="no part of a model that this release reads"):
        export.merged([guest, shop, clinic | {"version": 2}])
    with pytest.raises(NotExportable, match="columns of one name"):
        export.merged([guest, shop, clinic | {"columns": ["basket"]}])


def test_a_split_by_category_is_refused():
    world = world_of(Objective("logistic"))
    part = world.parts[SHOP]
    with pytest.raises(NotExportable, match="by category"):
        export.host_part(replace(part, category=np.ones(len(part.column), np.bool_)), "shop")


def test_paths_of_an_exported_model_are_those_of_the_model():
    """Every leaf of every tree is reached by one way of the exported nodes."""
    world = world_of(Objective("logistic"))
    guest, _ = exported(world)
    leaves = sum("leaf" in node for nodes in guest["trees"] for node in nodes.values())
    assert leaves == len(world.parts[BANK].trees) * 2 ** world.parts[BANK].depth
    assert len(forest.joint_paths(world.parts[BANK])) <= leaves
