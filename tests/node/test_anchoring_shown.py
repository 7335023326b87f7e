"""What a site says of its log on the chain: to operators, in health and on the command line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from node.api.views import anchoring, health
from node.audit.entries import record
from node.cli import main
from node.site import Site
from node.store import Anchor, ChainState, Challenge, SiteMark
from tests.node.face import OWN, PARTNER, make_site, operator, serving, token_of

DAY = 86_400.0


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with make_site(tmp_path / "bank") as made:
        yield made


def fill(site: Site, count: int) -> None:
    with site.store.begin() as session:
        for _ in range(count):
            record(session, "chain.available", OWN, {"block": 1, "was": "x"}, "sync")
    while site.log.sequence():
        pass


def anchor(site: Site, size: int, state: str, *witnesses: str) -> None:
    values = {"state": state, "witnesses": list(witnesses), "needed": 2}
    root = "0x" + site.log.root(size).hex()
    with site.store.begin() as session:
        session.add(Anchor(size=size, root=root, block=size, tx_hash="0x", **values))


def standing(site: Site, later: float = 0.0) -> tuple[bool, str]:
    since = anchoring.gap(site).since or 0.0
    return anchoring.standing(site, lambda: since + later)


def test_entries_that_wait_for_their_anchor_are_told_after_ten_minutes(site: Site) -> None:
    assert standing(site)[0]
    fill(site, 3)
    anchor(site, 2, "PENDING")
    assert (anchoring.gap(site).entries, standing(site, 590.0)[0]) == (1, True)
    ok, told = standing(site, 610.0)
    assert (ok, told.startswith("1 entries, the first of ")) == (False, True)


def test_a_gap_names_since_when_the_chain_is_silent(site: Site) -> None:
    fill(site, 1)
    with site.store.begin() as session:
        session.add(ChainState(id=1, seen_at=DAY, problem="ChainUnavailable: refused"))
    assert anchoring.gap(site).chain_silent_since == DAY
    ok, told = standing(site, 610.0)
    assert not ok
    assert "which is silent since 1970-01-0" in told


def test_what_tells_of_anchors_alone_waits_for_none(site: Site) -> None:
    fill(site, 2)
    anchor(site, 2, "WITNESSED", "0x01", "0x02")
    with site.store.begin() as session:
        record(session, "anchor.made", OWN, {"size": 2, "root": "0x", "block": 2}, "sync")
    site.log.sequence()
    found = anchoring.gap(site)
    assert (found.entries, found.since) == (0, None)
    assert standing(site, DAY) == (
        True,
        "2 of 2 members that are needed cosigned the head of 2 entries",
    )


def test_a_head_that_too_few_cosigned_is_told_until_a_newer_one_is_witnessed(site: Site) -> None:
    fill(site, 4)
    anchor(site, 2, "UNWITNESSED", "0x01")
    anchor(site, 4, "PENDING")
    assert standing(site)[0] is False
    assert "unwitnessed: 1 of 2" in health.show(site).parts["anchors"].detail  # type: ignore[index]
    with site.store.begin() as session:
        session.get_one(Anchor, 4).state = "WITNESSED"
    assert standing(site)[0] is True


def test_a_challenge_that_cannot_be_answered_is_told_before_all_else(site: Site) -> None:
    fill(site, 1)
    values = {"size": 9, "root": "0x", "until": 5, "block": 1}
    with site.store.begin() as session:
        session.add(Challenge(id="0x02", site=PARTNER, **values, problem="another's"))
    assert standing(site)[0]
    with site.store.begin() as session:
        session.add(Challenge(id="0x01", site=OWN, **values, problem="this log has not this head"))
    told = "this site is challenged and cannot answer: this log has not this head"
    assert standing(site, DAY) == (False, told)


def test_a_mark_of_this_site_is_told_loudly_and_those_of_others_are_listed(site: Site) -> None:
    values = {"key": "0x" + "11" * 20, "size": 7, "block": 1}
    with site.store.begin() as session:
        session.add(SiteMark(site=PARTNER, kind="TWO_CHECKPOINTS", **values))
    assert standing(site)[0]
    with site.store.begin() as session:
        session.add(SiteMark(site=OWN, kind="UNANSWERED", **values))
    ok, told = standing(site)
    assert (ok, "marked: it did not prove its head of 7 entries" in told) == (False, True)


async def test_the_interface_tells_heads_with_their_witnesses_and_the_gap(site: Site) -> None:
    fill(site, 5)
    anchor(site, 4, "WITNESSED", "0x01")
    async with operator(site) as client:
        found = (await client.get("/v1/witness")).json()["anchoring"]
    [head] = found["heads"]
    assert (head["size"], head["state"], head["needed"]) == (4, "WITNESSED", 2)
    assert [each["id"] for each in head["witnesses"]] == ["0x01"]
    assert (found["log_size"], found["gap"]["entries"]) == (5, 1)


def test_the_command_tells_who_cosigned_and_what_is_not_on_the_chain(
    site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.cli.frame.console.width", 200, raising=False)
    fill(site, 5)
    anchor(site, 4, "UNWITNESSED", "0x" + "07" * 32)
    with serving(site) as url, pytest.raises(SystemExit) as ended:
        main(["witness", "--url", url, "--token", token_of(site)])
    shown = capsys.readouterr().out
    assert ended.value.code in (0, None)
    for told in ("UNWITNESSED", "1 of 2", "0x07070707", "1 entries"):
        assert told in shown
