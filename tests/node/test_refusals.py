"""Every refusal of the contracts, and every failure of a protocol, has a stable code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from chain.errors import ChainUnavailable, ContractRefused
from ml.crypto.errors import ProductBudgetExceeded
from ml.errors import LabelsNotBinary, PartnerSilent
from node.errors import Conflict, Refused
from node.refusals import REASONS, from_contract, from_error, word

INTERFACES = Path(__file__).resolve().parents[2] / "contracts" / "interfaces"


def declared() -> set[str]:
    texts = [path.read_text() for path in INTERFACES.glob("*.sol")]
    return {name for text in texts for name in re.findall(r"^\s*error (\w+)\(", text, re.M)}


def test_every_error_of_the_interfaces_has_a_code_and_no_other_has() -> None:
    assert declared() == set(REASONS)


def test_codes_fit_into_the_word_that_the_chain_keeps() -> None:
    for _, code in REASONS.values():
        assert re.fullmatch(r"[A-Z][A-Za-z]{1,30}", code)


def test_a_contracts_refusal_keeps_its_values() -> None:
    refusal = ContractRefused("ConsentExpired", {"id": "0x1", "until": 7}, "JobRegistry", "start")
    problem = from_contract(refusal)
    assert isinstance(problem, Refused)
    assert problem.code == "GrantExpired"
    assert problem.found == {"id": "0x1", "until": 7}
    assert "ConsentExpired" in problem.detail


def test_an_unknown_refusal_is_still_a_refusal() -> None:
    problem = from_contract(ContractRefused("Panic", {"code": 17}, "JobRegistry", "start"))
    assert isinstance(problem, Conflict)
    assert problem.code == "ContractRefused"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PartnerSilent("host:0x1", "psi.HostSet", 3.0), "PartnerSilent"),
        (LabelsNotBinary(3), "LabelsNotBinary"),
        (ProductBudgetExceeded(4, 1, 10), "ProductBudgetExceeded"),
        (ChainUnavailable("http://localhost:1", "refused"), "ChainUnavailable"),
        (Refused("DatasetMismatch", "changed"), "DatasetMismatch"),
    ],
)
def test_a_failure_is_named_by_its_kind(error: Exception, code: str) -> None:
    assert from_error(error).code == code


def test_a_silent_partner_is_named() -> None:
    assert "host:0xabc" in from_error(PartnerSilent("host:0xabc", "psi.HostSet", 3.0)).detail


def test_the_text_of_an_unexpected_error_is_not_told() -> None:
    problem = from_error(ValueError("could not convert 'Jane Doe, 1970' to float"))
    assert problem.code == "InternalError"
    assert "Jane" not in str(problem)


def test_a_reason_is_cut_to_what_the_chain_keeps() -> None:
    assert word("X" * 40) == "X" * 31
