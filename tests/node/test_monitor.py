"""The monitor: what it raises, what it leaves alone, and that each thing is told once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from node import alerts
from node.alerts import KINDS, MAX_ALIKE, QUIET_SECONDS
from node.audit.entries import record
from node.errors import Conflict, NotFound
from node.mirror import Mirror
from node.monitor import ANCHOR_SLACK, ASK_SECONDS, Monitor, OnChain
from node.site import Site
from node.store import (
    Alert,
    Anchor,
    AuditEntry,
    ChainEvent,
    ChainState,
    ChainTx,
    Challenge,
    LogConflict,
    MirroredLog,
    MonitorState,
    Task,
    WebhookDelivery,
    WitnessedHead,
)
from node.ui.messages import MESSAGES
from tests.node.crowd import entries as entered
from tests.node.face import OWN, PARTNER, add_job, make_site, new_id
from tests.node.lying_log import START, LyingLog, entries
from tests.node.two_sites import Book

NOW = START + 100_000.0
FIRST_BLOCK = 100
CLEARED = (
    Alert,
    Anchor,
    ChainEvent,
    ChainState,
    ChainTx,
    Challenge,
    LogConflict,
    MirroredLog,
    MonitorState,
    Task,
    WebhookDelivery,
    WitnessedHead,
)


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Site]]:
    """The site that watches, and another one, which lends its keys to what a log says."""
    folder, book = tmp_path_factory.mktemp("homes"), Book()
    with make_site(folder / "site") as one, make_site(folder / "other", site_id=PARTNER) as other:
        for each in (one, other):
            each.directory = book
            book.enter(each)
        yield one, other


@pytest.fixture
def site(homes: tuple[Site, Site]) -> Site:
    """As if nothing had been seen yet."""
    made = homes[0]
    shutil.rmtree(made.settings.mirror_folder, ignore_errors=True)
    with made.store.begin() as session:
        for table in CLEARED:
            session.execute(delete(table))
        session.add(ChainState(head_block=FIRST_BLOCK, cursor_block=FIRST_BLOCK, seen_at=NOW))
        session.add(MonitorState(id=1, first_block=FIRST_BLOCK, checked_at=NOW))
    return made


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def monitor(site: Site, clock: Clock) -> Monitor:
    return Monitor(site, clock)


def told(site: Site, *, still: bool = False) -> list[tuple[str, str]]:
    """(kind, subject) of all alerts, oldest first; those that are open alone if ``still``."""
    with site.store.read() as session:
        rows = list(session.scalars(select(Alert).order_by(Alert.first_seen, Alert.id)))
    return [(row.kind, row.subject) for row in rows if alerts.is_open(row) or not still]


def put(site: Site, *rows: Any) -> None:
    with site.store.begin() as session:
        for row in rows:
            session.merge(row)


def head(size: int = 10, problem: str = "", looked_at: float = NOW, **more: Any) -> WitnessedHead:
    root = "0x" + "11" * 32
    values = {"root": root, "note": "", "looked_at": looked_at, "problem": problem} | more
    return WitnessedHead(log_id=PARTNER, size=size, **values)


_logs = iter(range(1, 10_000))


def event(contract: str, name: str, block: int = FIRST_BLOCK + 1, **args: Any) -> ChainEvent:
    number = next(_logs)
    tx = args.pop("tx", f"0x{number:064x}")
    return ChainEvent(
        id=number,
        block=block,
        block_hash="0x",
        tx_hash=tx,
        log_index=number,
        contract=contract,
        name=name,
        args=args,
    )


def anchored(size: int, root: str, site: str = PARTNER) -> ChainEvent:
    return event("AuditAnchor", "Anchored", site=site, size=size, root=root)


# ── One alert ────────────────────────────────────────────────────────────────────────────────


def test_every_kind_has_its_words_in_both_languages() -> None:
    for kind in KINDS:
        for key in (f"alert.{kind}", f"alert.{kind}.do"):
            assert all(MESSAGES[key]), key
    told = [key.removeprefix("alert.") for key in MESSAGES if key.startswith("alert.")]
    words = {key.removesuffix(".do") for key in told}
    assert words - set(KINDS) == {"severity.critical", "severity.warning", "severity.notice"}


def test_an_alert_is_raised_once_and_counted_on(site: Site) -> None:
    def see(now: float) -> None:
        with site.store.begin() as session:
            alerts.see(session, "log.forked", PARTNER, {"size": 5}, about="5", now=now)

    before = len(entered(site, "alert.raised"))
    for later in (0.0, 1.0, QUIET_SECONDS + 1, QUIET_SECONDS + 2):
        see(NOW + later)
    with site.store.read() as session:
        (row,) = session.scalars(select(Alert))
    assert (row.count, row.first_seen, row.last_seen) == (2, NOW, NOW + QUIET_SECONDS + 1)
    assert (row.severity, row.evidence) == ("critical", {"size": 5})
    assert len(entered(site, "alert.raised")) == before + 1


def test_what_is_about_something_else_is_another_alert(site: Site) -> None:
    with site.store.begin() as session:
        for about in ("5", "6"):
            alerts.see(session, "log.forked", PARTNER, {}, about=about, now=NOW)
        alerts.see(session, "log.forked", OWN, {}, about="5", now=NOW)
    assert len(told(site)) == 3


def test_a_liar_fills_no_table(site: Site) -> None:
    with site.store.begin() as session:
        for number in range(MAX_ALIKE + 30):
            alerts.see(session, "log.tile_changed", PARTNER, {}, about=str(number), now=NOW)
    assert len(told(site)) == MAX_ALIKE


def test_evidence_is_short_and_plain(site: Site) -> None:
    with site.store.begin() as session:
        said = {"what": "x" * 5000 + "\ud800", "nul": "a\0b", "n": 5, "none": None}
        alerts.see(session, "log.forked", PARTNER, said, now=NOW)
    with site.store.read() as session:
        (row,) = session.scalars(select(Alert))
    assert row.evidence == {"what": "x" * 500, "nul": "a b", "n": 5, "none": None}


@pytest.mark.parametrize("number", [2**53, 2**60, -(2**64), 1e300, float("nan")])
def test_a_number_without_a_canonical_form_is_told_as_text(site: Site, number: int | float) -> None:
    with site.store.begin() as session:
        said = {"size": number, "largest": 2**53 - 1, "yes": True}
        alerts.see(session, "log.went_back", PARTNER, said, now=NOW)
    with site.store.read() as session:
        (row,) = session.scalars(select(Alert))
    assert row.evidence == {"size": str(number), "largest": 2**53 - 1, "yes": True}


def test_an_unknown_kind_is_a_mistake(site: Site) -> None:
    with site.store.begin() as session, pytest.raises(ValueError, match="no kind of alert"):
        alerts.see(session, "log.odd", PARTNER, {})


def test_who_acknowledged_an_alert_is_entered_and_it_stays_acknowledged(site: Site) -> None:
    with site.store.begin() as session:
        id = alerts.see(session, "log.forked", PARTNER, {}, now=NOW)
    alerts.acknowledge(site, id, NOW + 1)
    with site.store.begin() as session:
        assert alerts.see(session, "log.forked", PARTNER, {}, now=NOW + 1000) == id
    with site.store.read() as session:
        row = session.get_one(Alert, id)
    assert (row.acknowledged_by, row.acknowledged_at, row.count) == ("operator", NOW + 1, 2)
    assert told(site, still=True) == []
    assert entered(site, "alert.acknowledged")[-1]["actor"] == "operator"
    with pytest.raises(Conflict, match="AlertAcknowledged"):
        alerts.acknowledge(site, id)
    with pytest.raises(NotFound):
        alerts.acknowledge(site, new_id())


def test_what_lasted_was_over_and_is_back_is_another_alert(site: Site) -> None:
    ids = set()
    for now in (NOW, NOW + 10):
        with site.store.begin() as session:
            ids.add(alerts.see(session, "log.silent", PARTNER, {}, now=now))
            alerts.end(session, "log.silent", PARTNER, now=now + 1)
    assert len(ids) == 2
    assert told(site, still=True) == []


# ── Logs ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("found", "kind"), [("fork", "log.forked"), ("unproven", "log.unproven")])
def test_what_the_witness_keeps_against_a_log_is_told_once(
    site: Site, monitor: Monitor, clock: Clock, found: str, kind: str
) -> None:
    digest = "0x" + "22" * 32
    row = LogConflict(
        id=1, log_id=PARTNER, kind=found, known="a", shown="b", shown_digest=digest, found_at=NOW
    )
    put(site, row)
    for _ in range(3):
        monitor.step()
        clock.now += 3600
        put(site, ChainState(id=1, head_block=FIRST_BLOCK, seen_at=clock.now))
    assert [each for each in told(site) if each[0].startswith("log.")] == [(kind, PARTNER)]


def test_a_head_that_went_back_is_told_until_it_came_forward(site: Site, monitor: Monitor) -> None:
    put(site, head(problem="HeadWentBack: it shows 4 entries"))
    monitor.step()
    assert told(site, still=True) == [("log.went_back", PARTNER)]
    put(site, head())
    monitor.step()
    assert told(site, still=True) == []


def test_a_log_is_silent_after_the_time_that_the_settings_say(
    site: Site, monitor: Monitor, clock: Clock
) -> None:
    allowed = site.settings.monitor_silent_seconds
    put(site, head(), Anchor(size=1, root="0x", block=1, tx_hash="0x"))
    for later, problem, silent in (
        (0.0, "", False),
        (allowed - 1, "PartnerUnreachable: nobody", False),
        (allowed + 1, "PartnerUnreachable: nobody", True),
        (allowed + 2, "HeadWentBack: it answers at least", False),
    ):
        clock.now = NOW + later
        put(site, head(problem=problem, looked_at=clock.now))
        monitor.step()
        assert (("log.silent", PARTNER) in told(site, still=True)) is silent, later


def test_a_log_that_nobody_looks_at_any_more_is_silent_too(
    site: Site, monitor: Monitor, clock: Clock
) -> None:
    put(site, head())
    clock.now += site.settings.monitor_silent_seconds + 1
    monitor.step()
    assert ("log.silent", PARTNER) in told(site, still=True)


def test_nothing_is_expected_of_the_log_of_a_site_that_retired(
    site: Site, monitor: Monitor, clock: Clock
) -> None:
    put(site, event("SiteRegistry", "SiteRetirement", id=PARTNER))
    for later in (0.0, site.settings.monitor_silent_seconds + 1000):
        clock.now = NOW + later
        put(site, head(size=500, problem="SiteNotActive: retired", looked_at=clock.now))
        put(site, ChainState(id=1, head_block=FIRST_BLOCK, seen_at=clock.now))
        monitor.step()
    assert PARTNER not in {subject for _, subject in told(site)}


# ── Anchors ──────────────────────────────────────────────────────────────────────────────────


def copy_of(site: Site, other: Site, log: LyingLog) -> None:
    note = log.note(other.identity, PARTNER)
    put(site, head(size=log.size, root="0x" + log.root().hex(), note=note))
    Mirror(site, PARTNER, lambda: NOW).copy(log.fetch)


def test_an_anchored_head_is_held_against_the_copy(
    site: Site, homes: tuple[Site, Site], monitor: Monitor
) -> None:
    log = LyingLog(entries(300))
    copy_of(site, homes[1], log)
    put(site, *(anchored(size, "0x" + log.root(size).hex()) for size in (1, 255, 256, 300)))
    monitor.step()
    assert told(site) == []
    put(site, anchored(299, "0x" + "33" * 32))
    again = Monitor(site, lambda: NOW)
    again.step()
    assert told(site) == [("anchor.differs", PARTNER)]
    with site.store.read() as session:
        (row,) = session.scalars(select(Alert))
    assert row.evidence["size"] == 299
    assert row.evidence["copied"] == "0x" + log.root(299).hex()


def test_an_anchor_beyond_the_copy_waits_for_it(
    site: Site, homes: tuple[Site, Site], monitor: Monitor
) -> None:
    put(site, anchored(300, "0x" + "33" * 32))
    monitor.step()
    assert told(site) == []
    copy_of(site, homes[1], LyingLog(entries(300)))
    monitor.step()
    assert told(site) == [("anchor.differs", PARTNER)]


@pytest.mark.parametrize(
    ("size", "newest", "kind"),
    [
        (100 + ANCHOR_SLACK, 100, None),
        (101 + ANCHOR_SLACK, 100, "anchor.behind"),
        (100, 101, "anchor.missing"),
        (100, 100, None),
        (100, 0, "anchor.behind"),
    ],
)
def test_a_gap_between_log_and_anchors_is_told_after_a_while(
    site: Site, monitor: Monitor, clock: Clock, size: int, newest: int, kind: str | None
) -> None:
    put(site, head(size=size))
    if newest:
        put(site, anchored(newest, "0x"))
    for later in (0.0, site.settings.monitor_anchor_seconds + 1):
        clock.now = NOW + later
        put(site, head(size=size, looked_at=clock.now))
        put(site, ChainState(id=1, head_block=FIRST_BLOCK, seen_at=clock.now))
        monitor.step()
        of_partner = [each[0] for each in told(site, still=True) if each[1] == PARTNER]
        assert of_partner == ([kind] if kind and later else [])
    put(site, head(size=500, looked_at=clock.now), anchored(500, "0x"))
    monitor.step()
    assert [each for each in told(site, still=True) if each[1] == PARTNER] == []


@pytest.mark.parametrize("size", [2**53, 2**60, 2**64 - 1])
def test_an_anchor_of_an_impossible_size_is_no_head_of_a_log(
    site: Site, monitor: Monitor, clock: Clock, size: int
) -> None:
    """As older contracts take it: what the other heads there say still counts."""
    put(site, head(size=10), anchored(10, "0x"), anchored(size, "0x" + "33" * 32))
    for later in (0.0, site.settings.monitor_anchor_seconds + 1):
        clock.now = NOW + later
        put(site, head(size=10, looked_at=clock.now))
        put(site, ChainState(id=1, head_block=FIRST_BLOCK, seen_at=clock.now))
        monitor.step()
    assert [each for each in told(site) if each[1] == PARTNER] == []


def test_a_part_that_fails_is_told_and_takes_no_other_along(
    site: Site, monitor: Monitor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(session: Session) -> None:
        alerts.see(session, "log.unproven", PARTNER, {}, now=NOW)
        raise RuntimeError("a row that nobody expected")

    monkeypatch.setattr(monitor, "_heads", fail)
    row = LogConflict(
        id=1, log_id=PARTNER, kind="fork", known="a", shown="b", shown_digest="0x", found_at=NOW
    )
    put(site, row, key_event("SiteKeyAdded", OWN))
    monitor.step()
    assert told(site) == [("log.forked", PARTNER), ("key.unexpected", OWN)]
    assert "a row that nobody expected" in caplog.text


def test_a_head_with_too_few_witnesses_is_told_until_there_are_enough(
    site: Site, clock: Clock
) -> None:
    asked: list[int] = []

    def view(_site: Site, _log: str, size: int) -> OnChain:
        asked.append(size)
        return said[0]

    monitor, said = Monitor(site, clock, view), [OnChain("UNWITNESSED", 1)]
    put(site, head(size=5), anchored(5, "0x"))
    for _ in range(3):
        monitor.step()
    assert (told(site, still=True), asked) == ([("anchor.unwitnessed", PARTNER)], [5])
    for state, size, holds in (("PENDING", 6, True), ("WITNESSED", 7, False)):
        said[0] = OnChain(state, 2)
        put(site, head(size=size), anchored(size, "0x"))
        monitor.step()
        assert (told(site, still=True) != []) is holds
    clock.now += ASK_SECONDS + 1
    monitor.step()
    assert asked == [5, 6, 7, 7]


def test_a_chain_that_does_not_answer_says_nothing_of_witnesses(
    site: Site, monitor: Monitor
) -> None:
    put(site, head(size=5), anchored(5, "0x"))
    monitor.step()
    assert told(site) == []


@pytest.mark.parametrize("subject", [OWN, PARTNER])
def test_a_challenge_is_told_until_it_is_answered(
    site: Site, monitor: Monitor, subject: str
) -> None:
    values = {"size": 5, "root": "0x", "until": int(NOW) + 60, "block": 7, "problem": ""}
    for state, holds in (("OPEN", True), ("ANSWERED", False)):
        put(site, Challenge(id="0xc1", site=subject, state=state, **values))
        monitor.step()
        assert (("site.challenged", subject) in told(site, still=True)) is holds


def test_our_own_head_with_too_few_witnesses_is_told_until_there_are_enough(
    site: Site, monitor: Monitor
) -> None:
    old = {"root": "0x", "block": 1, "tx_hash": "0x"}
    put(site, Anchor(size=5, state="UNWITNESSED", witnesses=["m"], **old))
    put(site, Anchor(size=9, state="PENDING", witnesses=[], **old))
    monitor.step()
    assert ("anchor.unwitnessed", OWN) in told(site, still=True)
    put(site, Anchor(size=9, state="WITNESSED", witnesses=["m", "n"], **old))
    monitor.step()
    assert ("anchor.unwitnessed", OWN) not in told(site, still=True)


def test_marks_and_requests_for_audits_are_told(site: Site, monitor: Monitor) -> None:
    put(site, event("Equivocations", "SiteMarked", site=PARTNER, key="0x", size=5))
    for asked in (OWN, PARTNER):
        put(site, event("AuditRequests", "AuditRequested", id="0x1", site=asked, until=9))
    monitor.step()
    assert told(site) == [("site.marked", PARTNER), ("audit.requested", OWN)]


# ── Keys, sites, grants ──────────────────────────────────────────────────────────────────────


def key_event(name: str, site_id: str, purpose: str = "audit", **more: Any) -> ChainEvent:
    return event("SiteRegistry", name, id=site_id, key="0x" + "44" * 32, purpose=purpose, **more)


@pytest.mark.parametrize("name", ["SiteKeyAdded", "SiteKeyEnded"])
def test_a_key_of_ours_that_changed_elsewhere_is_critical(
    site: Site, monitor: Monitor, name: str
) -> None:
    put(site, key_event(name, OWN, "request"))
    monitor.step()
    assert told(site) == [("key.unexpected", OWN)]


def test_what_this_node_sent_to_the_chain_is_no_surprise(site: Site, monitor: Monitor) -> None:
    tx = "0x" + "55" * 32
    put(site, ChainTx(id=1, intent="key", call={}, state="CONFIRMED", tx_hash=tx))
    put(site, key_event("SiteKeyAdded", OWN, tx=tx))
    put(site, event("SiteRegistry", "SiteEndpointChanged", tx=tx, id=OWN, endpoint="x"))
    monitor.step()
    assert told(site) == []


@pytest.mark.parametrize(
    ("purpose", "kinds"), [("audit", ["key.changed"]), ("anchor", ["key.changed"]), ("request", [])]
)
def test_another_sites_keys_for_its_log_are_watched(
    site: Site, monitor: Monitor, purpose: str, kinds: list[str]
) -> None:
    put(site, key_event("SiteKeyAdded", PARTNER, purpose))
    monitor.step()
    assert [kind for kind, _ in told(site)] == kinds


def test_the_keys_of_a_new_site_are_no_news(site: Site, monitor: Monitor) -> None:
    tx = "0x" + "66" * 32
    put(site, event("SiteRegistry", "SiteRegistered", tx=tx, id=PARTNER))
    put(site, key_event("SiteKeyAdded", PARTNER, tx=tx))
    monitor.step()
    assert told(site) == []


@pytest.mark.parametrize(
    ("subject", "kind"), [(OWN, "site.unexpected"), (PARTNER, "operator.changed")]
)
def test_another_account_at_a_site_is_told(
    site: Site, monitor: Monitor, subject: str, kind: str
) -> None:
    put(site, event("SiteRegistry", "SiteOperatorChanged", id=subject))
    monitor.step()
    assert told(site) == [(kind, subject)]


@pytest.mark.parametrize(("sent", "kind"), [(True, "grant.given"), (False, "grant.unexpected")])
def test_a_grant_of_our_data_is_told(site: Site, monitor: Monitor, sent: bool, kind: str) -> None:
    dataset, grant, tx = new_id("da"), new_id("9a"), new_id("77")
    put(site, event("DatasetRegistry", "DatasetRegistered", id=dataset, site=OWN))
    for of in (dataset, new_id("db")):
        put(
            site,
            event("ConsentRegistry", "ConsentGranted", tx=tx, id=grant, datasetId=of, grantee="0x"),
        )
    if sent:
        put(site, ChainTx(id=1, intent="grant", call={}, state="CONFIRMED", tx_hash=tx))
    monitor.step()
    assert told(site) == [(kind, grant)]


def test_what_happened_before_the_monitor_first_looked_is_no_news(
    site: Site, monitor: Monitor
) -> None:
    put(site, key_event("SiteKeyAdded", OWN, block=FIRST_BLOCK))
    monitor.step()
    assert told(site) == []


def test_an_event_is_told_once_also_by_the_next_process(site: Site, clock: Clock) -> None:
    put(site, key_event("SiteKeyAdded", OWN))
    for _ in range(2):
        Monitor(site, clock).step()
    assert told(site) == [("key.unexpected", OWN)]


def test_a_job_that_runs_on_a_revoked_grant_is_told_until_it_stopped(
    site: Site, monitor: Monitor
) -> None:
    grant = new_id("9a")
    parties = [{"inputs": [{"grant": grant}, {"grant": None}]}]
    job = add_job(site, specification={"parties": parties})
    put(site, Task(id="task", job_id=job, step="train", position=0, state="RUNNING"))
    monitor.step()
    assert told(site) == []
    put(site, event("ConsentRegistry", "ConsentRevocation", id=grant, owner="0x"))
    monitor.step()
    assert told(site, still=True) == [("grant.revoked_in_use", job)]
    put(site, Task(id="task", job_id=job, step="train", position=0, state="STOPPED"))
    monitor.step()
    assert told(site, still=True) == []


# ── This node ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "state",
    [
        {"seen_at": NOW - 1000, "head_block": 5, "cursor_block": 5},
        {"seen_at": NOW, "head_block": 500, "cursor_block": 5},
        {"seen_at": NOW, "head_block": 5, "cursor_block": 5, "problem": "ChainUnavailable: x"},
    ],
)
def test_a_node_that_does_not_see_the_chain_says_so(
    site: Site, monitor: Monitor, state: dict[str, Any]
) -> None:
    put(site, ChainState(id=1, **state))
    monitor.step()
    assert told(site, still=True) == [("chain.behind", OWN)]
    fresh = {"seen_at": NOW, "head_block": 5, "cursor_block": 5, "problem": ""}
    put(site, ChainState(id=1, **fresh))
    monitor.step()
    assert told(site, still=True) == []


def test_a_database_edited_by_hand_is_found_in_time(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with make_site(tmp_path_factory.mktemp("edited") / "site") as site:
        with site.store.begin() as session:
            for _ in range(5):
                record(session, "chain.available", OWN, {"block": 1, "was": "x"}, "sync")
            session.add(MonitorState(id=1, first_block=0))
        site.log.sequence()
        clock = Clock()
        monitor = Monitor(site, clock)
        monitor.check_own_log()
        assert told(site) == []
        with site.store.begin() as session:
            session.get_one(AuditEntry, 3).entry = b"{}"
        monitor.check_own_log()
        assert told(site) == []  # it is not time yet
        clock.now += site.settings.monitor_reread_seconds + 1
        monitor.check_own_log()
        assert told(site) == [("own.damaged", OWN)]


def test_a_site_that_is_not_registered_watches_nothing(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with make_site(tmp_path_factory.mktemp("new") / "site", site_id=None) as site:
        Monitor(site).step()
        Monitor(site).check_own_log()
        assert told(site) == []


def test_the_first_pass_begins_with_the_block_that_the_node_sees(site: Site) -> None:
    with site.store.begin() as session:
        session.execute(delete(MonitorState))
    put(site, ChainState(id=1, head_block=7, cursor_block=3, seen_at=NOW))
    put(site, key_event("SiteKeyAdded", OWN, block=7), key_event("SiteKeyEnded", OWN, block=8))
    Monitor(site, lambda: NOW).step()
    with site.store.read() as session:
        assert session.get_one(MonitorState, 1).first_block == 7
    assert told(site) == [("key.unexpected", OWN)]
