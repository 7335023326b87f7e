"""The logs of a job's parties against each other: whatever one leaves out or changes is found."""

import copy
from typing import Any

import pytest

from chain import canonical, merkle
from chain.entries import commit, disclose
from chain.errors import VerificationFailed
from chain.reconciliation import (
    DECLARATIONS,
    RECEIVED,
    SENT,
    Difference,
    Reconciliation,
    declared_in,
    reconcile,
    section,
)
from tests.chain.lies import OTHER, VALUE

SITES = [party["site"] for party in VALUE["parties"]]
KEYS = {(key["site"], key["id"]): key["publicKey"] for key in VALUE["reconciliation"]["keys"]}
LINES = [
    (log, position)
    for log, shown in enumerate(VALUE["logs"])
    for position, part in enumerate(shown["entries"])
    if part["entry"]["type"] in (SENT, RECEIVED)
]


def logs() -> list[dict[str, Any]]:
    return copy.deepcopy(VALUE["logs"])


def held(shown: list[dict[str, Any]], *, is_whole: bool = True) -> Reconciliation:
    declared = declared_in(VALUE)
    return reconcile(VALUE["job"]["id"], shown, declared, KEYS, is_whole=is_whole)


def only(found: Reconciliation) -> Difference:
    assert len(found.differences) == 1, found.differences
    return found.differences[0]


def retell(part: dict[str, Any], **changes: Any) -> None:
    """Its site entered something else."""
    data = {name: value for name, (_, value) in part["disclosed"].items()} | changes
    salt = bytes(32)
    part["entry"]["data"] = commit(
        salt, {name: canonical.dumps(value) for name, value in data.items()}
    )
    part["disclosed"] = disclose(salt, data)
    part["leafHash"] = "0x" + merkle.leaf_hash(canonical.dumps(part["entry"])).hex()


def told(part: dict[str, Any], name: str) -> Any:
    return part["disclosed"][name][1]


def is_said_by_the_sender_alone(part: dict[str, Any]) -> bool:
    """Neither the chain nor a receipt shows that it was sent, once its sender leaves it out."""
    return part["entry"]["type"] == SENT and told(part, "messageKind") not in DECLARATIONS


def received_again(shown: list[dict[str, Any]], **changes: Any) -> None:
    """The shop enters a message that nobody sent."""
    part = copy.deepcopy(shown[1]["entries"][0])
    assert part["entry"]["type"] == RECEIVED
    retell(part, **changes)
    shown[1]["entries"].append(part)


def test_the_logs_of_the_vector_agree_in_whatever_order_they_are_read() -> None:
    found = held(logs())
    assert found.agrees
    stated = {name: VALUE["reconciliation"][name] for name in found.to_json()}
    assert found.to_json() == stated
    assert held(logs()[::-1]).to_json() == stated
    assert (found.count("approval"), found.count("grantUse"), found.count("result")) == (2, 1, 2)


@pytest.mark.parametrize(("log", "position"), LINES)
def test_a_line_that_one_log_leaves_out_is_found_and_the_site_named(
    log: int, position: int
) -> None:
    shown = logs()
    left_out = shown[log]["entries"].pop(position)
    found = only(held(shown))
    if is_said_by_the_sender_alone(left_out):
        # Its receiver may have made it up: one of the two is wrong.
        ends = (told(left_out, "receiver"), told(left_out, "sender"))
        assert (found.sites, found.what) == (ends, "unsent")
        assert SITES[log] in found.sites
        assert "one of the two left it out or made it up" in found.detail
        assert f"the logs of sites {ends[0]} and {ends[1]}" in str(found.failure())
    else:
        assert (found.site, found.what) == (SITES[log], "missing")
    assert found.address is not None
    assert found.address[4] == told(left_out, "messageKind")


@pytest.mark.parametrize(("log", "position"), LINES)
@pytest.mark.parametrize(("field", "value"), [("digest", OTHER), ("size", 7)])
def test_a_line_that_one_log_changes_is_found_and_the_site_named(
    log: int, position: int, field: str, value: Any
) -> None:
    shown = logs()
    retell(shown[log]["entries"][position], **{field: value})
    sites = {found.site for found in held(shown).differences}
    # The receipt tells which end is wrong: a sender cannot make one, a receiver cannot deny it.
    assert sites == {SITES[log]}


@pytest.mark.parametrize(("log", "position"), LINES)
def test_a_line_moved_to_another_address_is_found(log: int, position: int) -> None:
    shown = logs()
    retell(shown[log]["entries"][position], n=99)
    assert SITES[log] in {found.site for found in held(shown).differences}


@pytest.mark.parametrize("kind", ["job.Approval", "job.GrantUse", "job.Result"])
def test_a_declaration_that_both_logs_leave_out_is_missed(kind: str) -> None:
    shown = logs()
    for log in shown:
        log["entries"] = [
            part
            for part in log["entries"]
            if "messageKind" not in part["disclosed"] or told(part, "messageKind") != kind
        ]
    found = held(shown).differences
    authors = {said.site for said in declared_in(VALUE) if said.kind == kind}
    assert {difference.site for difference in found} == authors
    assert {difference.what for difference in found} == {"missing"}


def test_an_entry_that_somebody_erased_is_unreadable() -> None:
    shown = logs()
    shown[1]["entries"][0]["disclosed"] = {}
    found = held(shown).differences
    assert [(difference.site, difference.what) for difference in found] == [
        (SITES[1], "unreadable"),
        (SITES[1], "missing"),
    ]


def test_an_entry_that_repeats_another_counts_once() -> None:
    shown = logs()
    shown[0]["entries"].append(shown[0]["entries"][0])
    assert held(shown) == held(logs())


def test_a_log_that_tells_two_things_of_one_message_is_found() -> None:
    shown = logs()
    other = copy.deepcopy(shown[1]["entries"][0])
    retell(other, digest=OTHER)
    shown[1]["entries"].append(other)
    found = only(held(shown))
    assert (found.site, found.what) == (SITES[1], "different")


def test_a_receipt_by_another_site_is_none() -> None:
    shown = logs()
    receipt = dict(told(shown[0]["entries"][0], "receipt"))
    receipt["keyId"] = next(id for site, id in KEYS if site == SITES[0])
    retell(shown[0]["entries"][0], receipt=receipt)
    found = only(held(shown))
    assert (found.site, found.what) == (SITES[0], "unacknowledged")


def test_a_message_sent_again_with_a_receipt_that_nobody_signed_is_found() -> None:
    shown = logs()
    again = copy.deepcopy(shown[0]["entries"][0])
    retell(again, receipt=dict(told(again, "receipt")) | {"keyId": OTHER})
    shown[0]["entries"].append(again)
    found = only(held(shown))
    assert (found.site, found.what) == (SITES[0], "unacknowledged")
    with pytest.raises(VerificationFailed, match="no receipt that holds"):
        section(VALUE["job"]["id"], shown, declared_in(VALUE), KEYS, 1)


@pytest.mark.parametrize("kind", ["made up", "job.Approval"])
def test_a_message_that_its_receiver_alone_tells_of_names_both_ends(kind: str) -> None:
    shown = logs()
    received_again(shown, n=99, messageKind=kind)
    found = only(held(shown))
    assert (found.sites, found.what) == ((SITES[1], SITES[0]), "unsent")
    assert found.to_json()["also"] == SITES[0]


def test_a_message_from_no_party_is_unreadable_in_the_log_of_its_receiver() -> None:
    shown = logs()
    received_again(shown, sender=OTHER)
    found = only(held(shown))
    assert (found.site, found.what) == (SITES[1], "unreadable")
    assert found.where.endswith(".disclosed.sender")


def test_a_job_that_was_broken_off_may_end_before_its_receipts_arrive() -> None:
    shown = logs()
    unacknowledged = shown[0]["entries"].pop(0)
    assert unacknowledged["entry"]["type"] == SENT
    found = held(shown, is_whole=False)
    assert found.agrees
    assert found.open == 1
    shown = logs()
    received = shown[1]["entries"].pop(0)
    assert received["entry"]["type"] == RECEIVED
    found = only(held(shown, is_whole=False))
    assert (found.site, found.what) == (SITES[1], "missing")


def test_the_verdict_as_json_names_line_and_site() -> None:
    shown = logs()
    shown[1]["entries"].pop(0)
    found = only(held(shown)).to_json()
    assert found["site"] == SITES[1]
    assert found["line"] == "message"
    assert found["address"][2:4] == SITES
    assert SITES[1] in found["detail"]
