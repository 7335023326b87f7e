"""Two logs of one job: what one side left out or changed."""

from __future__ import annotations

from typing import Any

import pytest

from node.audit.reconcile import Missing, reconcile

A, B, C = "0x" + "aa" * 32, "0x" + "bb" * 32, "0x" + "cc" * 32


def entry(kind: str, sender: str, receiver: str, n: int, **changes: Any) -> dict[str, Any]:
    data = {
        "job": "0x" + "00" * 32,
        "step": "train",
        "attempt": 1,
        "sender": sender,
        "receiver": receiver,
        "messageKind": "tests.Said",
        "n": n,
        "digest": f"0x{n:064x}",
        "size": 100,
    }
    return {"type": f"fatechain.message.{kind}.v1", "data": data | changes}


def logs(count: int = 3) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """A asks and B answers, ``count`` times."""
    numbers = range(count)
    a = [entry("sent", A, B, n) for n in numbers] + [entry("received", B, A, n) for n in numbers]
    b = [entry("received", A, B, n) for n in numbers] + [entry("sent", B, A, n) for n in numbers]
    return a, b


def test_equal_logs_agree_whatever_their_order() -> None:
    a, b = logs()
    verdict = reconcile(A, a, B, b[::-1])
    assert verdict.agrees
    assert (verdict.count, verdict.bytes) == (6, 600)


@pytest.mark.parametrize(("side", "at"), [(A, 0), (A, 4), (B, 1), (B, 5)])
def test_what_one_side_left_out_is_found_and_the_side_is_named(side: str, at: int) -> None:
    a, b = logs()
    gone = (a if side == A else b).pop(at)
    verdict = reconcile(A, a, B, b)
    (missing,) = verdict.missing
    assert isinstance(missing, Missing)
    assert missing.site == side
    assert missing.message.n == gone["data"]["n"]
    assert not verdict.agrees


@pytest.mark.parametrize("change", [{"digest": "0x" + "ff" * 32}, {"size": 99}])
def test_what_one_side_changed_is_found(change: dict[str, Any]) -> None:
    a, b = logs()
    b[1]["data"].update(change)
    verdict = reconcile(A, a, B, b)
    (different,) = verdict.different
    assert different.address[-1] == 1
    assert verdict.count == 5


def test_two_stories_about_one_message_are_a_difference() -> None:
    a, b = logs()
    a.append(entry("sent", A, B, 0, digest="0x" + "ee" * 32))
    assert len(reconcile(A, a, B, b).different) == 1


def test_an_entry_that_repeats_another_counts_once() -> None:
    a, b = logs()
    assert reconcile(A, a + a, B, b).agrees


def test_messages_with_third_parties_and_other_entries_are_passed_over() -> None:
    a, b = logs()
    a += [entry("sent", A, C, 0), {"type": "fatechain.task.started.v1", "data": {}}]
    assert reconcile(A, a, B, b).agrees


def test_a_lost_attempt_does_not_count_when_the_last_is_asked_for() -> None:
    a, b = logs()
    a.append(entry("sent", A, B, 9))
    for log in (a, b):
        for item in log[:3]:
            item["data"]["attempt"] = 2
    assert not reconcile(A, a, B, b).agrees
    assert reconcile(A, a, B, b, attempt=2).count == 3


def test_a_log_may_not_speak_for_another_site() -> None:
    a, b = logs()
    with pytest.raises(ValueError, match="as its own"):
        reconcile(A, [*a, entry("sent", C, B, 0)], B, b)


def test_the_verdict_can_be_written_down() -> None:
    a, b = logs()
    b.pop()
    told = reconcile(A, a, B, b).to_json()
    assert told["agrees"] is False
    assert told["missing"] == [{"site": B, "address": ["train", 1, B, A, "tests.Said", 2]}]
