"""A document is signed only if its message can be read in no other way than it is shown."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from chain import typed_data

FIELDS = {
    "person": "address",
    "subject": "bytes32",
    "approves": "bool",
    "nonce": "uint256",
    "why": "string",
    "more": "bytes",
}
MESSAGE = {
    "person": "0x" + "5A" * 20,
    "subject": "0x" + "be" * 32,
    "approves": False,
    "nonce": 7,
    "why": "no",
    "more": "0x",
}


def a_document(**changes: Any) -> dict[str, Any]:
    made = typed_data.document("Tests", 1, "0x" + "11" * 20, "Said", FIELDS, MESSAGE | changes)
    return copy.deepcopy(made)


def check(document: Any) -> None:
    typed_data.require(document, "Tests", "Said", FIELDS)


def test_a_document_as_it_is_made_is_taken() -> None:
    check(a_document())
    check(a_document(nonce=str(2**256 - 1)))


@pytest.mark.parametrize(
    "changes",
    [
        {"approves": "no"},  # which a library takes for true
        {"approves": 0},
        {"nonce": True},
        {"nonce": -1},
        {"nonce": "07"},
        {"nonce": 7.0},
        {"person": "0x5a"},
        {"person": None},
        {"subject": "be" * 32},
        {"subject": "a text of thirty-two characters."},
        {"why": ["no"]},
        {"more": "no hex"},
        {"also": "shown, and not signed"},
    ],
    ids=str,
)
def test_a_value_that_can_be_read_as_another_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Said"):
        check(a_document(**changes))


def _rename(document: dict[str, Any]) -> None:
    """What is shown is the message of a Said; what is signed, a Grant."""
    document["types"]["Grant"] = document["types"].pop("Said")
    document["primaryType"] = "Grant"


CHANGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "another kind": _rename,
    "a field less": lambda d: d["types"]["Said"].pop(),
    "fields in another order": lambda d: d["types"]["Said"].reverse(),
    "another type": lambda d: d["types"]["Said"][2].update(type="string"),
    "one more type": lambda d: d["types"].update(Grant=[]),
    "a message without a field": lambda d: d["message"].pop("why"),
    "another contract's name": lambda d: d["domain"].update(name="Others"),
    "another version": lambda d: d["domain"].update(version="2"),
    "a chain that is none": lambda d: d["domain"].update(chainId=True),
    "a contract that is none": lambda d: d["domain"].update(verifyingContract="here"),
    "no domain": lambda d: d.pop("domain"),
    "a domain that is none": lambda d: d.update(domain=[]),
    "something beside it": lambda d: d.update(salt=1),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_document_of_another_form_is_refused(change: str) -> None:
    document = a_document()
    CHANGES[change](document)
    with pytest.raises(ValueError, match="Said"):
        check(document)


@pytest.mark.parametrize("document", [None, [], {}, "Said", {"domain": {}, "message": {}}])
def test_what_is_no_document_is_refused(document: Any) -> None:
    with pytest.raises(ValueError, match="Said"):
        check(document)
