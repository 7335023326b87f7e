"""The life of a job: every party's log, both ends of messages, and the chain, in order of time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chain import canonical
from chain.merkle import leaf_hash
from node.api.app import create_app
from node.api.views import life, messages
from node.api.views.names import Names
from node.audit.entries import record
from node.index.indexing import Indexing
from node.site import Site
from node.store import ChainEvent, PeerEvidence
from node.ui.messages import translate
from tests.node.face import (
    OWN,
    PARTNER,
    add_job,
    add_sent,
    make_site,
    new_id,
    operator,
    told_entry,
    told_message,
)
from tests.node.told import sample

HTML = {"Accept": "text/html"}
LATER = "2030-01-01T00:00:{:02}.000000Z"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with make_site(tmp_path / "bank") as site:
        yield site


def enter(site: Site, job: str, *kinds: str, **data: Any) -> None:
    with site.store.begin() as session:
        for kind in kinds:
            record(session, kind, job, sample(kind) | data, "sync")
    site.log.sequence()


def show_evidence(site: Site, job: str, *entries: dict[str, Any]) -> None:
    """What the partner tells of its log, one second after the other and after all else."""
    told = []
    for number, entry in enumerate(entries):
        leaf = entry["entry"] | {"time": LATER.format(number)}
        hashed = "0x" + leaf_hash(canonical.dumps(leaf)).hex()
        told.append(entry | {"entry": leaf, "leafHash": hashed, "index": number})
    with site.store.begin() as session:
        session.add(PeerEvidence(job_id=job, site=PARTNER, evidence={"entries": told}))


def add_event(site: Site, name: str, contract: str = "JobRegistry", **args: Any) -> None:
    with site.store.begin() as session:
        session.add(
            ChainEvent(
                block=7,
                block_hash=new_id(),
                tx_hash=new_id(),
                log_index=len(name),
                contract=contract,
                name=name,
                args=args,
            )
        )
    index = Indexing(site.store, site.log)
    while index.step():
        pass


def shown(site: Site, job: str, **asked: Any) -> life.JobLife:
    names = Names(site.network)
    with site.store.read() as session:
        said = messages.every(session, names, job)
    return life.show(site, names, job, said, **{"limit": 50, **asked})


def test_the_entries_of_all_parties_are_there_each_in_its_lane(site: Site) -> None:
    job = add_job(site)
    enter(site, job, "job.approved", "task.started")
    show_evidence(
        site,
        job,
        told_entry("fatechain.job.approved.v1", sample("job.approved")),
        told_entry("fatechain.task.failed.v1", sample("task.failed")),
    )
    found = shown(site, job)
    told = [(one.site and one.site.id, one.kind, one.good) for one in found.moments.items]
    assert told == [
        (OWN, "job.approved", True),
        (OWN, "task.started", None),
        (PARTNER, "job.approved", True),
        (PARTNER, "task.failed", False),
    ]
    assert [lane.silent for lane in found.lanes] == [False, False]


def test_a_party_that_showed_nothing_is_said_to_be_silent(site: Site) -> None:
    job = add_job(site)
    enter(site, job, "job.approved")
    lanes = shown(site, job).lanes
    assert [(lane.site.id, lane.mine, lane.silent) for lane in lanes] == [
        (OWN, True, False),
        (PARTNER, False, True),
    ]


def test_a_message_has_the_times_of_both_ends(site: Site) -> None:
    job, digest = add_job(site), new_id()
    add_sent(site, job, 0, digest)
    show_evidence(site, job, told_message("received", 0, digest))
    (one,) = shown(site, job).moments.items
    assert one.message is not None
    assert (one.what, one.good) == ("message", True)
    assert one.message.sent_at is not None
    assert one.message.received_at is not None
    assert one.message.sent_at < one.message.received_at
    assert one.at == one.message.sent_at


def test_a_partner_s_clock_may_say_anything(site: Site) -> None:
    job = add_job(site)
    leaf = {"type": "fatechain.job.approved.v1", "data": {}, "time": "0001-01-01T00:00:00"}
    hashed = "0x" + leaf_hash(canonical.dumps(leaf)).hex()
    shown_leaf = {"entry": leaf, "leafHash": hashed, "disclosed": {}, "index": "x"}
    with site.store.begin() as session:
        evidence = {"entries": [shown_leaf]}
        session.add(PeerEvidence(job_id=job, site=PARTNER, evidence=evidence))
    (one,) = shown(site, job).moments.items
    assert one.entry is None
    assert one.kind == "job.approved"


def test_what_the_chain_tells_of_the_job_is_there_without_its_times(site: Site) -> None:
    job = add_job(site)
    enter(site, job, "job.approved")
    add_event(site, "JobStarted", id=job)
    add_event(site, "ConsentUsed", "ConsentRegistry", id=new_id(), job=job, used=1)
    add_event(site, "JobCancelled", id=new_id())
    told = [(one.what, one.kind, one.at is None) for one in shown(site, job).moments.items]
    assert told[0] == ("entry", "job.approved", False)
    assert sorted(told[1:]) == [("event", "ConsentUsed", True), ("event", "JobStarted", True)]


def test_the_life_goes_on_in_pages_and_none_is_lost(site: Site) -> None:
    job = add_job(site)
    enter(site, job, *["task.started"] * 5)
    first = shown(site, job, limit=3)
    rest = shown(site, job, limit=3, cursor=first.moments.next)
    places = [one.entry for one in (*first.moments.items, *rest.moments.items)]
    assert places == [0, 1, 2, 3, 4]
    assert (first.count, rest.moments.next) == (5, None)


async def test_the_page_draws_it_and_has_the_same_as_a_table_and_as_json(site: Site) -> None:
    job = add_job(site)
    enter(site, job, "job.approved")
    enter(site, job, "admission.decided", allowed=False, step="psi")
    app = create_app(site.settings.home, site)
    async with operator(site, app) as client:
        page = await client.get(f"/jobs/{job}", params={"lang": "zh"}, headers=HTML)
        twin = (await client.get(f"/jobs/{job}.json", params={"lang": "zh"})).json()["life"]
        assert page.headers["content-security-policy"].endswith("; script-src 'self'")
    table = page.text.split("hidden></figure>")[1]
    for says in ("批准任务", "判定是否允许运行", translate("zh", "step.psi")):
        assert says in table
    assert [row["link"] for row in twin["rows"]] == ["/log/0", "/log/1"]
    assert [row["moment"]["good"] for row in twin["rows"]] == [True, False]


async def test_the_table_has_the_times_at_both_ends_of_a_message(site: Site) -> None:
    job, digest = add_job(site), new_id()
    add_sent(site, job, 0, digest)
    show_evidence(site, job, told_message("received", 0, digest))
    async with operator(site) as client:
        page = (await client.get(f"/jobs/{job}", headers=HTML)).text
    table = page.split("hidden></figure>")[1]
    row = next(part for part in table.split("<tr>") if "message Said 0" in part)
    ends = re.findall(r"<small>([^<]+)</small>", row)
    assert len(ends) == 2
    assert ends[1] == "00:00:00"  # as the partner's log says
    assert re.fullmatch(r"\d\d:\d\d:\d\d", ends[0])
