"""A certificate holds or fails by itself, and says where, with no chain asked."""

import json
import random
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from chain import canonical, merkle
from chain.certificate import SECTIONS
from chain.entries import commitment
from chain.standalone import ASK_THE_CHAIN, Report, verify_alone
from chain.statement import kind_of
from tests.chain.lies import (
    CERTIFICATE,
    FORGERIES,
    LIES,
    MALFORMED,
    VALUE,
    Change,
    bracketed,
    resealed,
    rewritten,
    signer,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2**53 - 1) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


def failures(report: Report) -> dict[str, str]:
    return {check.name: check.where for check in report.failures}


def test_the_certificate_holds_together() -> None:
    report = verify_alone(CERTIFICATE)
    assert report.failures == ()
    assert report.ok
    assert [check.where for check in report.checks if check.name == "sections"] == [
        f"$.{name}" for name in SECTIONS
    ]


def test_subjects_are_checked_in_the_order_of_the_verification_on_chain() -> None:
    named = list(dict.fromkeys(check.name for check in verify_alone(CERTIFICATE).checks))
    assert named == [
        "format",
        "sections",
        "signatures",
        "specification",
        "result",
        "model",
        "logs",
        "steps",
        "reconciliation",
        "state",
    ]


def test_signatures_of_all_parties_hold() -> None:
    assert verify_alone(resealed(lambda body: None, signer(0), signer(1))).ok


def test_a_signature_of_another_party_cannot_stand_for_the_issuers() -> None:
    report = verify_alone(resealed(lambda body: None, signer(1)))
    assert failures(report) == {"signatures": "$.signatures"}


@pytest.mark.parametrize(("what", "change", "name", "where"), LIES, ids=[lie[0] for lie in LIES])
def test_a_lie_that_is_signed_is_found(what: str, change: Change, name: str, where: str) -> None:
    found = failures(verify_alone(resealed(change)))
    assert found.get(name) == where
    assert "sections" not in found


@pytest.mark.parametrize(
    ("what", "change", "name", "where"), FORGERIES, ids=[forgery[0] for forgery in FORGERIES]
)
def test_a_change_that_nobody_signed_is_found(
    what: str, change: Change, name: str, where: str
) -> None:
    assert failures(verify_alone(rewritten(change))).get(name) == where


@pytest.mark.parametrize(("what", "data"), MALFORMED, ids=[what for what, _ in MALFORMED])
def test_a_malformed_file_is_one_failed_check(what: str, data: bytes) -> None:
    assert failures(verify_alone(data)) == {"format": "$"}
    assert len(verify_alone(data).checks) == 1


def test_every_changed_byte_is_found() -> None:
    chance = random.Random(7)
    for at in chance.sample(range(len(CERTIFICATE)), 300):
        changed = bytearray(CERTIFICATE)
        changed[at] ^= 1 << chance.randrange(8)
        report = verify_alone(bytes(changed))
        assert not report.ok, f"byte {at} changed unnoticed"
        assert all(check.where.startswith("$") for check in report.failures)


@given(st.binary(max_size=200))
def test_no_bytes_make_it_raise(data: bytes) -> None:
    assert failures(verify_alone(data + b"\n")) == {"format": "$"}


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_no_value_anywhere_makes_it_raise_even_if_it_is_signed(data: st.DataObject) -> None:
    def change(body: dict[str, Any]) -> None:
        parent: Any = body
        key: Any = data.draw(st.sampled_from([name for name in SECTIONS if body[name]]))
        while isinstance(parent[key], dict | list) and parent[key] and data.draw(st.integers(0, 5)):
            parent = parent[key]
            keys = list(parent) if isinstance(parent, dict) else range(len(parent))
            key = data.draw(st.sampled_from(keys))
        parent[key] = data.draw(JSON)

    try:
        file = resealed(change)
    except ValidationError:
        return  # not even an issuer can seal this
    assert verify_alone(file).checks[0].ok


def test_brackets_in_a_text_are_no_depth_and_a_long_text_is_read() -> None:
    assert verify_alone(resealed(bracketed)).ok


def test_true_is_not_taken_for_one() -> None:
    def change(body: dict[str, Any]) -> None:
        for entry in body["logs"][0]["entries"]:
            if entry["entry"]["type"] == "fatechain.task.finished.v1":
                salt = entry["disclosed"]["attempt"][0]
                entry["disclosed"]["attempt"][1] = True
                entry["entry"]["data"]["attempt"] = commitment(bytes.fromhex(salt), b"true")
                leaf = merkle.leaf_hash(canonical.dumps(entry["entry"]))
                entry["leafHash"] = "0x" + leaf.hex()

    assert failures(verify_alone(resealed(change)))["steps"].startswith("$.steps[0].outputs")


def test_what_the_file_cannot_show_is_named() -> None:
    checked = {check.name for check in verify_alone(CERTIFICATE).checks}
    assert set(ASK_THE_CHAIN) >= {"network", "job", "parties", "algorithm"} - checked


def test_the_vector_is_canonical() -> None:
    assert canonical.dumps(VALUE) + b"\n" == CERTIFICATE
    assert json.loads(CERTIFICATE)["version"] == 3


@pytest.mark.parametrize(("what", "data"), MALFORMED, ids=[what for what, _ in MALFORMED])
def test_a_malformed_file_is_of_no_kind_however_deep_python_may_go(what: str, data: bytes) -> None:
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(10**6)  # as libraries do: a parser would overflow its stack
    try:
        assert kind_of(data) == ""
    finally:
        sys.setrecursionlimit(limit)
