"""Every party of a job holds all parties' logs against each other, and names who left what out."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select

from chain import canonical
from chain.reconciliation import DECLARATIONS
from node import reconciliation
from node.audit.entries import record
from node.certificate import certify, read_certificate
from node.errors import NodeError, Unavailable
from node.evidence import own_evidence
from node.reconciliation import AGAIN_SECONDS, ALERT, SILENT_SECONDS, due, reconcile_job, settle
from node.scheduler import Scheduler
from node.store import Alert, LocalJob, PeerEvidence
from tests.node import consortium
from tests.node.consortium import ChainSite, Consortium
from tests.node.test_certificate import conclude, resigned, say, succeeded
from tests.node.test_specification import an_id
from tests.node.told import told

MESSAGES = ("fatechain.message.sent.v1", "fatechain.message.received.v1")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    chain, deployment = consortium.found()
    world = consortium.assemble(chain, deployment, tmp_path_factory.mktemp("sites"))
    yield world
    world.close()


@pytest.fixture(scope="module")
def job(world: Consortium) -> str:
    return succeeded(world)


def is_owed(part: dict[str, Any]) -> bool:
    """Whether a receipt or the chain shows that the line has to stand in the log."""
    kind = part["disclosed"]["messageKind"][1]
    return part["entry"]["type"] == MESSAGES[1] or kind in DECLARATIONS


def seen_by(world: Consortium, name: str, job: str) -> list[dict[str, Any]]:
    """What a party collects: its own evidence first."""
    first = world.sites[name]
    others = [site for site in world.sites.values() if site is not first]
    return [own_evidence(site, job) for site in (first, *others)]


class Partners:
    """The way to the other sites, without HTTP; ``hidden`` entries are not shown."""

    def __init__(self, world: Consortium) -> None:
        self.sites = {site.id: site for site in world.sites.values()}
        self.hidden: dict[str, int] = {}
        self.asked = 0

    async def evidence(self, site_id: str, job: str) -> dict[str, Any]:
        self.asked += 1
        site = self.sites[site_id]
        found = own_evidence(site, job)
        if site_id in self.hidden:
            entries = list(found["entries"])
            del entries[self.hidden[site_id]]
            found = resigned(site, found | {"entries": entries})
        return found


@pytest.fixture
def partners(world: Consortium, monkeypatch: pytest.MonkeyPatch) -> Partners:
    partners = Partners(world)
    for site in world.sites.values():
        monkeypatch.setattr(site, "peers", partners)
    return partners


def open_alerts(site: ChainSite, job: str) -> list[Alert]:
    query = select(Alert).where(Alert.kind == ALERT, Alert.subject == job, Alert.over_at.is_(None))
    with site.store.read() as session:
        return list(session.scalars(query))


@pytest.mark.parametrize("name", ["bank", "shop"])
def test_the_logs_of_a_whole_job_agree_at_every_party(
    world: Consortium, job: str, name: str
) -> None:
    verdict = settle(world.sites[name], job, seen_by(world, name, job))
    assert verdict["agrees"], verdict["differences"]
    assert verdict["messages"] == 3
    assert (verdict["approvals"], verdict["grantUses"], verdict["results"]) == (2, 1, 2)
    assert world.job(name, job).reconciliation == verdict
    assert {head["site"] for head in verdict["heads"]} == {world.bank.id, world.shop.id}


@pytest.mark.parametrize("name", ["bank", "shop"])
def test_every_line_that_a_party_leaves_out_is_found_by_the_other(
    world: Consortium, job: str, name: str
) -> None:
    network, (own, other) = world.network, seen_by(world, name, job)
    lines = [
        number for number, part in enumerate(other["entries"]) if part["entry"]["type"] in MESSAGES
    ]
    assert len(lines) == 3 + 2 + 1 + 2  # of one log: messages, approvals, grant use, results
    for number in lines:
        less = {**other, "entries": other["entries"][:number] + other["entries"][number + 1 :]}
        logs = [reconciliation.log_part(part) for part in (own, less)]
        found, unproven = reconciliation._verdict(network, job, logs)
        [difference] = found.differences
        if is_owed(other["entries"][number]):
            assert (difference.site, difference.what) == (other["site"], "missing")
        else:  # one of the two is wrong
            assert (difference.sites, difference.what) == ((own["site"], other["site"]), "unsent")
        assert unproven == []


def test_an_entry_that_does_not_stand_in_its_log_is_found(world: Consortium, job: str) -> None:
    bank, shop = seen_by(world, "bank", job)
    altered = copy.deepcopy(shop)
    altered["entries"][2]["proof"].reverse()
    forged = {**shop, "anchored": {**shop["anchored"], "size": shop["anchored"]["size"] + 1}}
    for lied in (altered, forged):
        logs = [reconciliation.log_part(part) for part in (bank, lied)]
        _, unproven = reconciliation._verdict(world.network, job, logs)
        assert [(told.site, told.what) for told in unproven] == [(world.shop.id, "unproven")]


async def test_a_host_reconciles_by_itself_and_again_when_a_line_was_missing(
    world: Consortium, partners: Partners
) -> None:
    job = succeeded(world)
    shown = own_evidence(world.bank, job)["entries"]
    partners.hidden[world.bank.id] = next(
        number
        for number, part in enumerate(shown)
        if part["entry"]["type"] == MESSAGES[0] and is_owed(part)
    )
    scheduler = Scheduler(world.shop)
    await scheduler._reconcile()
    verdict = world.job("shop", job).reconciliation
    assert verdict is not None
    assert not verdict["agrees"]
    assert [told["site"] for told in verdict["differences"]] == [world.bank.id]
    assert len(open_alerts(world.shop, job)) == 1
    assert [found["data"]["agrees"] for found in told(world.shop, "reconciliation.made", job)] == [
        False
    ]
    with world.shop.store.read() as session:
        assert session.get(PeerEvidence, (job, world.bank.id)) is not None

    partners.hidden.clear()
    asked = partners.asked
    await scheduler._reconcile()
    assert partners.asked == asked  # not at every tick
    later = [found.id for found in due(world.shop, time.time() + AGAIN_SECONDS)]
    assert job in later
    verdict = await reconcile_job(world.shop, job)
    assert verdict["agrees"]
    with world.shop.store.read() as session:
        kept = session.get_one(PeerEvidence, (job, world.bank.id)).evidence
    assert len(kept["entries"]) == len(shown) - 1  # what it signed first stays: it hid a line
    assert open_alerts(world.shop, job) == []
    query = select(Alert).where(Alert.kind == "job.retold", Alert.subject == job)
    with world.shop.store.read() as session:
        [retold] = session.scalars(query)
    assert retold.evidence["site"] == world.bank.id
    assert retold.evidence["first"] == canonical.digest_of(kept)
    assert retold.evidence["second"] not in ("", retold.evidence["first"])
    await reconcile_job(world.shop, job)
    with world.shop.store.read() as session:
        assert len(list(session.scalars(query))) == 1  # told once, though signed anew
    made = [found["data"]["agrees"] for found in told(world.shop, "reconciliation.made", job)]
    assert made == [False, True]
    assert job not in [found.id for found in due(world.shop, time.time() + AGAIN_SECONDS)]


async def test_evidence_of_a_log_that_grew_takes_the_place_of_what_was_kept(
    world: Consortium, partners: Partners
) -> None:
    job = succeeded(world)
    await reconcile_job(world.shop, job)
    before = own_evidence(world.bank, job)
    with world.bank.store.begin() as session:
        entry = {"moment": "running", "allowed": True, "reasons": []}
        record(session, "admission.decided", job, entry, "sync")
    world.bank.change(anchor_every_entries=1)
    world.settle(5)
    world.bank.change(anchor_every_entries=1000)
    await reconcile_job(world.shop, job)
    with world.shop.store.read() as session:
        kept = session.get_one(PeerEvidence, (job, world.bank.id)).evidence
    assert kept["anchored"]["size"] > before["anchored"]["size"]
    assert len(kept["entries"]) > len(before["entries"])


async def test_a_guest_issues_no_certificate_and_names_the_side_until_the_logs_agree(
    world: Consortium, partners: Partners
) -> None:
    job = succeeded(world)
    shown = own_evidence(world.shop, job)["entries"]
    partners.hidden[world.shop.id] = next(
        number for number, part in enumerate(shown) if part["entry"]["type"] == MESSAGES[1]
    )
    scheduler = Scheduler(world.bank)
    await scheduler._finish_one(world.job("bank", job))
    with pytest.raises(NodeError) as refusal:
        read_certificate(world.bank, job)
    assert refusal.value.code == "ReconciliationFailed"
    assert refusal.value.found == world.shop.id
    assert "missing" in refusal.value.detail
    assert world.shop.id in refusal.value.detail
    asked = partners.asked
    await scheduler._finish_one(world.job("bank", job))
    assert partners.asked == asked

    partners.hidden.clear()
    await reconcile_job(world.bank, job)
    await Scheduler(world.bank)._finish_one(world.job("bank", job))  # one that pauses for nothing
    assert read_certificate(world.bank, job)


async def test_an_auditor_reconciles_the_logs_of_a_job_that_it_has_no_part_in(
    world: Consortium, partners: Partners, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = succeeded(world)
    parties = {world.bank.id, world.shop.id}
    monkeypatch.setattr(partners, "evidence", shown_by(world, job))
    monkeypatch.setattr(type(world.shop), "id", property(lambda site: an_id(555)))
    verdict = await reconcile_job(world.shop, job)
    assert verdict["agrees"], verdict["differences"]
    assert {head["site"] for head in verdict["heads"]} == parties


def shown_by(world: Consortium, job: str) -> Any:
    """The evidence of both parties as they showed it under their own names."""
    found = {part["site"]: part for part in seen_by(world, "bank", job)}

    async def evidence(site_id: str, job: str) -> dict[str, Any]:
        return found[site_id]

    return evidence


async def test_a_job_that_was_broken_off_is_reconciled_as_far_as_it_came(
    world: Consortium, partners: Partners
) -> None:
    job = world.start()
    say(world, job, 0)
    world.act("shop", world.network.jobs.cancel(job, world.shop.id, "Done"))
    world.settle(5)
    verdict = await reconcile_job(world.bank, job)
    assert verdict["agrees"], verdict["differences"]
    assert (verdict["messages"], verdict["open"]) == (1, 0)


async def test_a_job_that_runs_is_not_reconciled_yet(world: Consortium, partners: Partners) -> None:
    job = world.start()
    with pytest.raises(NodeError) as refusal:
        await reconcile_job(world.bank, job)
    assert refusal.value.code == "Conflict"
    assert job not in [found.id for found in due(world.bank, time.time())]
    world.act("bank", world.network.jobs.cancel(job, world.bank.id, "Done"))
    world.settle(1)
    with pytest.raises(NodeError) as refusal:
        await reconcile_job(world.bank, job)
    assert refusal.value.code == "EvidencePending"


@pytest.mark.parametrize("name", ["bank", "shop"])
async def test_a_party_that_shows_nothing_for_a_day_is_told(
    world: Consortium, partners: Partners, name: str
) -> None:
    job, site = succeeded(world), world.sites[name]
    problem = Unavailable("PartnerUnreachable", "no answer")
    monkeypatch = pytest.MonkeyPatch()

    async def silent(*_: object) -> None:
        raise problem

    monkeypatch.setattr(partners, "evidence", silent)
    scheduler = Scheduler(site)
    await scheduler._finish()
    await scheduler._reconcile()
    assert open_alerts(site, job) == []

    with site.store.begin() as session:
        row = session.get_one(LocalJob, job)
        assert row.ended_at is not None
        row.ended_at -= SILENT_SECONDS
    scheduler = Scheduler(site)
    await scheduler._finish()
    await scheduler._reconcile()
    [alert] = open_alerts(site, job)
    assert (alert.evidence["what"], alert.evidence["code"]) == ("silent", "PartnerUnreachable")

    monkeypatch.undo()
    await reconcile_job(site, job)
    assert open_alerts(site, job) == []


def test_a_job_whose_parties_declared_nothing_is_certified_by_nobody(world: Consortium) -> None:
    job = world.start()
    say(world, job, 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.node.test_certificate.declare", lambda *_: None)
        conclude(world, job)
    Scheduler(world.bank)._register_model(world.job("bank", job))
    world.settle(5)
    with pytest.raises(NodeError) as refusal:
        certify(world.bank, job, seen_by(world, "bank", job))
    assert refusal.value.code == "ReconciliationFailed"
    found = world.job("bank", job).reconciliation
    assert found is not None
    lines = sorted(told["line"] for told in found["differences"])
    assert lines == ["approval", "approval", "grantUse", "result", "result"]


def test_the_row_of_a_job_that_never_ran_has_no_verdict(world: Consortium) -> None:
    job = world.propose()
    world.settle()
    with world.bank.store.read() as session:
        assert session.get_one(LocalJob, job).reconciliation is None
    assert job not in [found.id for found in due(world.bank, time.time())]
