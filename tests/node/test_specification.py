"""A specification is its canonical bytes: another byte is another agreement."""

from __future__ import annotations

import json
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from node.errors import NodeError
from node.specification import MAX_BYTES, Specification, digest_of, parse


def an_id(n: int) -> str:
    return f"0x{n:064x}"


def document(**changes: Any) -> dict[str, Any]:
    return {
        "version": 1,
        "kind": "train",
        "algorithm": "secureboost",
        "codeDigest": an_id(1),
        "scheme": "paillier",
        "purpose": "training",
        "params": {"max_iter": 7, "learning_rate": 0.5},
        "parties": [
            {
                "site": an_id(10),
                "role": "guest",
                "inputs": [{"dataset": an_id(20), "version": 1, "grant": None}],
            },
            {
                "site": an_id(11),
                "role": "host",
                "inputs": [{"dataset": an_id(21), "version": 1, "grant": an_id(31)}],
            },
        ],
        "label": "y",
        "holdout": {"fraction": "0.2", "salt": an_id(40)},
        "psi": {"minimumIntersection": 50},
        "deadline": 1_800_000_000,
        "timeouts": {"step": 600, "message": 120},
        "wire": 1,
        "protocols": {"psi": 1, "secureboost": 1},
        "model": None,
        "nonce": "12345",
    } | changes


def test_canonical_bytes_are_read_back_as_the_same_agreement() -> None:
    body = rfc8785.dumps(document())
    assert parse(body).to_bytes() == body
    assert parse(body).digest == digest_of(body)


@given(st.floats(0, 1), st.integers(-(2**53) + 1, 2**53 - 1), st.text(max_size=20))
def test_parameters_of_any_kind_survive(rate: float, count: int, text: str) -> None:
    body = rfc8785.dumps(document(params={"rate": rate, "count": count, "text": text}))
    assert parse(body).to_bytes() == body


def test_a_protocol_of_matching_is_part_of_the_agreement_where_it_is_named() -> None:
    named = {"minimumIntersection": 50, "protocol": "kkrt"}
    body = rfc8785.dumps(document(psi=named))
    assert parse(body).psi.protocol == "kkrt"
    assert parse(body).to_bytes() == body
    assert parse(rfc8785.dumps(document())).psi.protocol == "auto"
    for other in ("auto", "rsa"):  # what is left to the parties is not written
        with pytest.raises(NodeError):
            parse(rfc8785.dumps(document(psi=named | {"protocol": other})))


def test_the_stored_document_has_the_digest_that_was_sent() -> None:
    body = rfc8785.dumps(document(params={"whole": 1.0, "half": 0.5}))
    stored = json.loads(json.dumps(parse(body).to_document()))
    assert Specification.model_validate(stored).digest == digest_of(body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"\xff\xfe",
        json.dumps(document(), indent=1).encode(),
        rfc8785.dumps(document()) + b"\n",
        rfc8785.dumps(document(extra=1)),
        rfc8785.dumps({**document(), "params": None}),
    ],
)
def test_anything_else_than_canonical_bytes_is_refused(body: bytes) -> None:
    with pytest.raises(NodeError) as refusal:
        parse(body)
    assert refusal.value.code == "InvalidRequest"


def test_a_refusal_does_not_repeat_what_was_sent() -> None:
    with pytest.raises(NodeError) as refusal:
        parse(rfc8785.dumps(document(label={"secret": "row 7"})))
    assert "row 7" not in str(refusal.value)


def test_an_oversized_specification_is_refused_before_it_is_read() -> None:
    with pytest.raises(NodeError) as refusal:
        parse(b" " * (MAX_BYTES + 1))
    assert refusal.value.code == "MessageTooLarge"


def _party(n: int, role: str) -> dict[str, Any]:
    return {"site": an_id(n), "role": role, "inputs": []}


@pytest.mark.parametrize(
    "changes",
    [
        {"parties": [_party(1, "host"), _party(2, "guest")]},
        {"parties": [_party(1, "guest"), _party(2, "guest")]},
        {"parties": [_party(1, "guest"), _party(1, "host")]},
        {"parties": []},
        {"kind": "predict"},
        {"model": an_id(9)},
        {"version": 2},
        {"wire": 2},
        {"holdout": {"fraction": "1.5", "salt": an_id(1)}},
        {"nonce": "-1"},
        {"codeDigest": an_id(1).upper()},
    ],
)
def test_an_agreement_that_makes_no_sense_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Specification.model_validate(document(**changes))


def test_a_party_is_found_by_its_site() -> None:
    specification = Specification.model_validate(document())
    assert specification.guest.site == an_id(10)
    host = specification.party(an_id(11))
    assert host is not None
    assert host.role == "host"
    assert specification.party(an_id(99)) is None
