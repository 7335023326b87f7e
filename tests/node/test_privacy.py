"""What no job switches off: least rows, withheld columns, noise that is drawn once."""

from __future__ import annotations

import statistics
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml.table import Schema, Table
from node.columns import INSIDE, Limits, feature_use, limited
from node.errors import NodeError
from node.privacy import _laplace, released, require_rows
from node.settings import Settings
from node.store import Base, ReleasedNoise, Store

METRICS: dict[str, Any] = {
    "joint": {
        "rows": 200,
        "positives": 60,
        "auc": 0.81,
        "ks": 0.44,
        "log_loss": 0.5,
        "accuracy": 0.7,
        "threshold": 0.5,
    },
    "alone": None,
    "rows": {"common": 1000, "training": 800, "heldOut": 200},
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(f"sqlite:///{tmp_path}/node.db")
    Base.metadata.create_all(store.engine)
    yield store
    store.dispose()


# ── Rows ─────────────────────────────────────────────────────────────────────────────────────


def test_fewer_rows_than_the_site_goes_on_with_are_refused() -> None:
    require_rows(100, 100, "the dataset")
    with pytest.raises(NodeError) as refusal:
        require_rows(99, 100, "the dataset")
    assert (refusal.value.code, refusal.value.found) == ("TooFewRows", 99)


# ── Noise ────────────────────────────────────────────────────────────────────────────────────


def test_without_a_scale_numbers_are_told_as_they_are(store: Store) -> None:
    assert released(store, "0x01", METRICS, 0) == METRICS


def test_a_number_is_blurred_once_and_the_same_for_ever(store: Store) -> None:
    first = released(store, "0x01", METRICS, 0.1)
    assert first["joint"]["auc"] != METRICS["joint"]["auc"]
    for _ in range(3):
        assert released(store, "0x01", METRICS, 0.1) == first
    again = Store(store.url)  # another process, after a crash
    assert released(again, "0x01", METRICS, 0.1) == first
    again.dispose()
    assert released(store, "0x02", METRICS, 0.1) != first


def test_noise_that_was_drawn_is_never_drawn_again_whatever_is_set_later(store: Store) -> None:
    first = released(store, "0x01", METRICS, 0.1)["joint"]
    assert released(store, "0x01", METRICS, 0.5)["joint"] == first


def test_noise_is_durable_before_a_number_leaves(store: Store) -> None:
    told = released(store, "0x01", METRICS, 0.1)
    with store.read() as session:
        row = session.get_one(ReleasedNoise, ("0x01", "joint.auc"))
    wanted = min(max(METRICS["joint"]["auc"] + row.noise, 0.0), 1.0)
    assert told["joint"]["auc"] == pytest.approx(wanted, abs=1e-6)


def test_who_asks_at_once_gets_one_number(store: Store) -> None:
    told: list[Any] = []
    threads = [
        threading.Thread(target=lambda: told.append(released(store, "0x01", METRICS, 0.1)))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(numbers == told[0] for numbers in told)


def test_counts_stay_counts_and_shares_stay_shares(store: Store) -> None:
    for n in range(20):
        joint = released(store, f"0x{n:02x}", METRICS, 1.0)["joint"]
        assert 0 <= joint["positives"] <= 200
        assert isinstance(joint["positives"], int)
        assert all(0 <= joint[name] <= 1 for name in ("auc", "ks", "accuracy"))
        assert joint["log_loss"] >= 0


def test_errors_in_the_unit_of_labels_are_blurred_by_a_share_of_themselves(store: Store) -> None:
    measured = {"joint": {"rows": 200, "rmse": 5000.0, "mae": 4000.0, "r2": 0.5}}
    told = released(store, "0x77", measured, 0.1)["joint"]
    again = released(store, "0x77", measured, 0.1)["joint"]
    assert told == again
    for name in ("rmse", "mae"):
        assert abs(told[name] - measured["joint"][name]) > 1.0
    assert 0 <= told["r2"] <= 1


def test_what_all_know_is_told_exactly_and_the_noise_is_owned_up_to(store: Store) -> None:
    told = released(store, "0x01", METRICS, 0.1)
    assert told["rows"] == METRICS["rows"]
    assert told["joint"]["rows"] == 200
    assert told["joint"]["threshold"] == 0.5
    assert told["alone"] is None
    assert told["noise"] == {"scale": "0.1", "kind": "laplace", "guarantee": "none"}


def test_the_noise_is_centred_and_has_its_scale() -> None:
    drawn = [_laplace(0.5) for _ in range(20_000)]
    # The mean of so many lies within six standard errors but once in a billion runs.
    assert abs(statistics.fmean(drawn)) < 6 * 0.5 * 2**0.5 / 20_000**0.5
    assert statistics.fmean(map(abs, drawn)) == pytest.approx(0.5, rel=0.1)


# ── Columns ──────────────────────────────────────────────────────────────────────────────────


def a_table() -> Table:
    schema = Schema(("visits", "spent", "diagnosis"), ("integer", "number", "integer"), label="y")
    values = np.arange(12, dtype=np.float64).reshape(4, 3)
    return Table(schema, ("a", "b", "c", "d"), values, np.array([0.0, 1.0, 0.0, 1.0]))


def test_a_free_table_is_the_same_table() -> None:
    table = a_table()
    assert limited(table, Limits(), "secureboost") is table
    assert limited(table, Limits(({"spent": "protocol"},)), "secureboost") is table


def test_a_column_for_nothing_is_not_in_the_table_of_the_conversation() -> None:
    table = limited(a_table(), Limits(({"diagnosis": "none", "visits": "join"},)), "secureboost")
    assert table.schema.features == ("spent",)
    assert table.schema.types == ("number",)
    assert table.X.tolist() == [[1.0], [4.0], [7.0], [10.0]]
    assert table.X.base is not None
    assert table.X.base.size == 4  # nothing else is held in memory
    assert table.ids == a_table().ids


def test_a_withheld_column_is_for_nothing_whatever_a_grant_says() -> None:
    limits = Limits(({"spent": "protocol"},), frozenset({"spent"}))
    assert limited(a_table(), limits, "secureboost").schema.features == ("visits", "diagnosis")
    assert limits.told("spent") == "none"


def test_a_forbidden_label_is_not_read() -> None:
    table = limited(a_table(), Limits(withheld=frozenset({"y"})), "secureboost")
    assert table.schema.label is None
    assert table.y is None


def test_all_that_a_document_does_not_name_follows_its_default() -> None:
    limits = Limits(({"*": "none", "spent": "protocol", "id": "join"},))
    assert limits.of(("visits", "spent", "id"), "protocol") == ("spent",)
    assert limits.allows("id", "join")
    assert not Limits(({"*": "none"},)).allows("id", "join")


def test_a_word_that_no_rule_knows_allows_nothing() -> None:
    limits = Limits(({"spent": "everything"},))
    assert not any(limits.allows("spent", use) for use in ("join", "protocol", "clear"))


def test_columns_for_protocols_enter_only_programs_that_were_looked_at() -> None:
    """A new program sees them only when somebody has put it on the list."""
    assert feature_use("statistics") == "clear"
    assert frozenset({"secureboost"}) == INSIDE
    limits = Limits(({"spent": "protocol"},))
    assert "spent" in limited(a_table(), limits, "secureboost").schema.features
    for other in ("linear_models", "statistics"):
        assert "spent" not in limited(a_table(), limits, other).schema.features


# ── Settings ─────────────────────────────────────────────────────────────────────────────────


def test_the_filters_are_settings_of_the_site(tmp_path: Path) -> None:
    Settings.load(
        tmp_path,
        privacy_min_rows=200,
        privacy_withheld_columns=("diagnosis",),
        privacy_metric_noise=0.01,
    ).save()
    loaded = Settings.load(tmp_path)
    assert loaded.privacy_withheld_columns == ("diagnosis",)
    assert (loaded.privacy_min_rows, loaded.privacy_metric_noise) == (200, 0.01)


@pytest.mark.parametrize("settings", [{"privacy_min_rows": -1}, {"privacy_metric_noise": -0.1}])
def test_a_filter_that_filters_nothing_is_refused(tmp_path: Path, settings: dict[str, Any]) -> None:
    with pytest.raises(NodeError, match="InvalidSettings"):
        Settings.load(tmp_path, **settings)
