"""The scheme a job names and the one its parameters run must both be admitted."""

import pytest

from node.errors import NodeError
from node.facts import schemes
from node.proposal import SCHEMES, JobRequest, PartyRequest, _asked_scheme
from node.specification import Specification
from tests.node.test_specification import an_id, document


def named(**changes: object) -> tuple[str, ...]:
    return schemes(Specification.model_validate(document(**changes)))


def test_a_job_cannot_name_one_scheme_and_run_another() -> None:
    assert named(scheme="paillier", params={"scheme": "lattice"}) == ("lattice", "paillier")
    assert named(scheme="lattice", params={}) == ("lattice", "paillier")  # the default runs
    assert named(scheme="lattice", params={"scheme": "lattice"}) == ("lattice",)
    assert named(params={"scheme": "x" * 100}) == ("paillier",)  # refused by the algorithm
    assert schemes(None) == ()


def test_lattice_is_taken_before_paillier_where_both_are_admitted() -> None:
    assert SCHEMES == ("lattice", "paillier")


def request(named: str, **params: str) -> JobRequest:
    parties = tuple(PartyRequest(site=an_id(k), role=r) for k, r in ((1, "guest"), (2, "host")))
    return JobRequest(scheme=named, params=params, parties=parties)


def test_a_request_names_its_scheme_once_or_twice_the_same() -> None:
    assert _asked_scheme(request("auto")) == "auto"
    assert _asked_scheme(request("auto", scheme="lattice")) == "lattice"
    assert _asked_scheme(request("lattice")) == "lattice"
    assert _asked_scheme(request("paillier", scheme="paillier")) == "paillier"
    with pytest.raises(NodeError, match=r"scheme and params\.scheme differ"):
        _asked_scheme(request("paillier", scheme="lattice"))
