"""Standing rules: what they match is approved, what they do not is told, a day has its limit."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from sqlalchemy import select

from node.admission import Facts
from node.audit.entries import acting_as
from node.errors import NodeError
from node.rules import (
    MAX_RULES,
    Conditions,
    Rule,
    add,
    in_force,
    matches,
    remove,
    take_use,
    used_on,
)
from node.site import Site
from node.specification import Specification
from node.store import AuditPending, RuleUse, Store
from tests.node.test_admission import (
    BANK,
    CODE,
    GUEST,
    HOST_DATA,
    SHOP,
    THIRD,
    facts,
    with_arbiter,
)
from tests.node.test_specification import an_id, document

NOW = 1_700_000_000.0
DAY = 86_400.0
SCRYPT = 2**4


def a_rule(**conditions: Any) -> Rule:
    return Rule("r", "trainings", NOW + DAY, Conditions(**conditions))


def asked(**changes: Any) -> Facts:
    """The host's facts about the bank's proposal, which would ask for 100 products."""
    return facts("approve", products=100, **changes)


# ── Matching ─────────────────────────────────────────────────────────────────────────────────


def test_a_rule_whose_conditions_all_hold_matches() -> None:
    rule = a_rule(
        proposers=(BANK,),
        algorithms=(CODE,),
        purposes=("training",),
        datasets=(HOST_DATA,),
        max_products=100,
        min_parties=2,
    )
    assert matches(rule, asked(), NOW) is None


@pytest.mark.parametrize(
    ("conditions", "why"),
    [
        ({"proposers": (SHOP,)}, "the proposer"),
        ({"algorithms": (an_id(7),)}, "the algorithm"),
        ({"purposes": ("quality",)}, "the purpose"),
        ({"datasets": (an_id(7),)}, "a dataset"),
        ({"max_products": 99}, "100 products"),
        ({"min_parties": 3}, "2 members"),
    ],
)
def test_a_rule_says_which_condition_does_not_hold(conditions: dict[str, Any], why: str) -> None:
    told = matches(a_rule(**conditions), asked(), NOW)
    assert told is not None
    assert why in str(told)


def test_a_rule_that_names_nothing_takes_anybody() -> None:
    assert matches(a_rule(), asked(), NOW) is None


MATCH = {"kind": "match", "algorithm": "psi", "label": None, "holdout": None}
LEAST = {"minimumIntersection": 50}
BY_DIAGNOSIS = {"psi": LEAST | {"columns": [["id", "guess"], ["id", "diagnosis"]]}}
OTHER_MATCHINGS: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    (BY_DIAGNOSIS, {"match_by": ("id", "diagnosis")}, "columns"),
    (MATCH, {"kinds": ("match",)}, "kind"),
    (MATCH | {"psi": LEAST | {"result": "guest"}}, {"results": ("guest",)}, "result"),
    (MATCH | {"psi": LEAST | {"duplicates": "group"}}, {"duplicates": ("group",)}, "duplicates"),
]


@pytest.mark.parametrize(("changes", "named", "code"), OTHER_MATCHINGS)
def test_a_rule_takes_other_matchings_only_where_it_names_them(
    changes: dict[str, Any], named: dict[str, Any], code: str
) -> None:
    found = asked(specification=Specification.model_validate(document(**changes)))
    kinds = {"kinds": ("train", "match")} if code != "kind" else {}
    told = matches(a_rule(**kinds), found, NOW)
    assert told is not None
    assert told.code == code
    assert matches(a_rule(**kinds | named), found, NOW) is None


def test_a_rule_names_every_column_that_rows_are_matched_by() -> None:
    found = asked(specification=Specification.model_validate(document(**BY_DIAGNOSIS)))
    told = matches(a_rule(match_by=("id",)), found, NOW)
    assert told is not None
    assert "diagnosis" in str(told)
    assert matches(a_rule(match_by=("id", "diagnosis")), found, NOW) is None
    stranger = matches(a_rule(), replace(found, me=an_id(12)), NOW)
    assert stranger is not None
    assert stranger.code == "columns"


def test_an_arbiter_is_no_member_that_a_rule_asks_for() -> None:
    found = with_arbiter(THIRD, "approve")
    told = matches(a_rule(min_parties=3), found, NOW)
    assert told is not None
    assert told.code == "members"
    assert matches(a_rule(min_parties=2), found, NOW) is None


def test_rules_from_before_take_plain_matchings_alone() -> None:
    before = {"min_parties": 2, "max_per_day": 10, "purposes": ["training"]}
    kept = Conditions.model_validate(before)
    assert (kept.kinds, kept.match_by) == (("train", "predict"), None)
    assert matches(Rule("r", "r", NOW + DAY, kept), asked(), NOW) is None


def test_a_rule_ends_with_its_last_second() -> None:
    assert matches(a_rule(), asked(), NOW + DAY - 1) is None
    assert str(matches(a_rule(), asked(), NOW + DAY)) == "the rule has ended"


def test_only_datasets_of_this_site_are_looked_at() -> None:
    """What the guest brings of its own needs no word of the host's rule."""
    assert matches(a_rule(datasets=(HOST_DATA,)), asked(), NOW) is None
    assert matches(a_rule(datasets=(HOST_DATA,)), asked(me=GUEST), NOW) is not None


def test_what_is_not_known_matches_no_rule() -> None:
    assert matches(a_rule(), asked(views=()), NOW) is not None
    assert matches(a_rule(), asked(specification=None), NOW) is not None
    blind = asked()
    blind = replace(blind, views=tuple(replace(view, job=None) for view in blind.views))
    assert matches(a_rule(), blind, NOW) is not None


@given(st.integers(0, 500), st.integers(0, 500))
def test_the_limit_of_products_is_inclusive(limit: int, products: int) -> None:
    found = matches(a_rule(max_products=limit), replace(asked(), products=products), NOW)
    assert (found is None) == (products <= limit)


@pytest.mark.parametrize(
    "conditions",
    [
        {"max_per_day": 0},
        {"min_parties": 17},
        {"proposers": ()},
        {"datasets": ("customers",)},
        {"anything": True},
    ],
)
def test_conditions_that_mean_nothing_are_refused(conditions: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Conditions(**conditions)


# ── Keeping ──────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site.create(tmp_path_factory.mktemp("site"), scrypt_cost=SCRYPT) as site:
        yield site


def entries(store: Store, kind: str) -> list[bytes]:
    with store.read() as session:
        found = session.scalars(select(AuditPending.entry))
        return [entry for entry in found if f"fatechain.{kind}.v1".encode() in entry]


def test_a_rule_is_kept_and_entered_with_whoever_made_it(site: Site) -> None:
    with acting_as("0xada"):
        rule = add(site, "for ada", Conditions(purposes=("training",)), time.time() + DAY)
    with site.store.read() as session:
        assert rule in in_force(session, time.time())
    [entry] = [entry for entry in entries(site.store, "rule.added") if rule.id.encode() in entry]
    assert b'"actor":"0xada"' in entry
    remove(site, rule.id)


def test_a_removed_rule_and_one_that_ended_approve_nothing(site: Site) -> None:
    soon = time.time() + 10
    rule = add(site, "short", Conditions(), soon)
    with site.store.read() as session:
        assert rule not in in_force(session, soon)
    remove(site, rule.id)
    remove(site, rule.id)
    with site.store.read() as session:
        assert rule not in in_force(session, time.time())
    assert len(entries(site.store, "rule.removed")) >= 1


def test_a_rule_that_nobody_made_cannot_be_removed(site: Site) -> None:
    with pytest.raises(NodeError, match="NotFound"):
        remove(site, "none")


@pytest.mark.parametrize("ends_in", [-1.0, 0.0, 400 * DAY])
def test_a_rule_ends_within_a_year(site: Site, ends_in: float) -> None:
    with pytest.raises(NodeError, match="InvalidRequest"):
        add(site, "for ever", Conditions(), time.time() + ends_in)


def test_the_oldest_rule_is_tried_first(site: Site) -> None:
    made = [add(site, name, Conditions(), time.time() + DAY) for name in ("one", "two")]
    with site.store.read() as session:
        found = [rule for rule in in_force(session, time.time()) if rule in made]
    assert found == made
    for rule in made:
        remove(site, rule.id)


def test_a_site_has_no_more_rules_than_can_be_kept_in_mind(site: Site) -> None:
    made = [add(site, f"{n}", Conditions(), time.time() + DAY) for n in range(MAX_RULES)]
    with pytest.raises(NodeError, match="Conflict"):
        add(site, "one more", Conditions(), time.time() + DAY)
    for rule in made:
        remove(site, rule.id)


# ── Counting ─────────────────────────────────────────────────────────────────────────────────


def test_a_rule_approves_so_many_a_day_and_as_many_the_next(site: Site) -> None:
    rule = Rule("daily", "daily", NOW + 10 * DAY, Conditions(max_per_day=2))
    for _ in range(2):
        with site.store.begin() as session:
            take_use(session, rule, NOW)
    with pytest.raises(NodeError, match="RuleUsedUp"), site.store.begin() as session:
        take_use(session, rule, NOW)
    with site.store.begin() as session:
        take_use(session, rule, NOW + DAY)
        assert used_on(session, rule.id, NOW) == 2


def test_of_all_who_approve_at_once_so_many_succeed_as_the_rule_allows(site: Site) -> None:
    rule = Rule("busy", "busy", NOW + DAY, Conditions(max_per_day=3))
    start, refused = threading.Barrier(8), []

    def approve() -> None:
        store = Store(site.store.url)  # as processes do: nothing is shared but the database
        start.wait()
        try:
            with store.begin() as session:
                take_use(session, rule, NOW)
        except NodeError as refusal:
            refused.append(refusal.code)
        finally:
            store.dispose()

    threads = [threading.Thread(target=approve) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == ["RuleUsedUp"] * 5
    with site.store.read() as session:
        assert session.scalars(select(RuleUse.used).where(RuleUse.rule_id == "busy")).one() == 3


def test_an_approval_that_fails_takes_no_use(site: Site) -> None:
    rule = Rule("failing", "failing", NOW + DAY, Conditions(max_per_day=1))

    def fail() -> None:
        with site.store.begin() as session:
            take_use(session, rule, NOW)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with site.store.begin() as session:
        take_use(session, rule, NOW)


def test_counts_outlive_the_process(site: Site, tmp_path: Path) -> None:
    rule = Rule("durable", "durable", NOW + DAY, Conditions(max_per_day=1))
    with site.store.begin() as session:
        take_use(session, rule, NOW)
    other = Store(site.store.url)
    with pytest.raises(NodeError, match="RuleUsedUp"), other.begin() as session:
        take_use(session, rule, NOW)
    other.dispose()
