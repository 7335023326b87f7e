"""What happens on the stage: a joint model is trained, audited, and three attempts are refused.

A bank knows who paid back; a retailer knows how the same people shop.  Neither may hand its data
over.  An insurer is a member, but nobody granted it anything; an auditor has no data and believes
nobody.
"""

from __future__ import annotations

import json
import lzma
import random
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from eth_account import Account

from node.demo.browser import NoBrowser, Seen, look
from node.demo.stage import Institution, Stage
from node.errors import Failed, NodeError

NOTICE_SECONDS = 300.0  # for another node to read a log again
JOB_SECONDS = 900.0  # given up after; the job takes a few minutes
PARAMS = {"n_estimators": 7, "max_depth": 4, "learning_rate": 0.5, "max_bins": 32}
ENDED = ("SUCCEEDED", "FAILED", "CANCELLED", "REJECTED", "EXPIRED", "REFUSED")

CAST = (
    ("bank", "First Bank", ("data-owner", "model-user", "coordinator")),
    ("retailer", "Corner Retail", ("data-owner",)),
    ("insurer", "Safe Insurance", ("model-user",)),
    ("auditor", "Clear Audit", ("auditor",)),
)

NEWCOMER = "auditor"
VOTING = ("--voting-delay=2", "--voting-period=15", "--late-quorum=5", "--timelock-delay=2")
"""Blocks of a second and seconds: a demonstration's; a consortium's take days."""
SCHEMES = ("--scheme=paillier", "--scheme=lattice")
BALLOTS = {
    "bank": ("for", "We want to be able to prove what we do."),
    "retailer": ("for", "Our customers asked who checks."),
    "insurer": ("against", "One more to wait for."),
}

Watch = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Refusal:
    """Something that somebody tried and was refused, and by whom."""

    attempt: str
    by: str
    code: str
    detail: str


@dataclass(frozen=True)
class Removal:
    """A line that was taken out of a log by hand, what the log's own verification said, and the
    alert that another site's node raised, which has a copy."""

    index: int
    kind: str
    found: list[dict[str, Any]]
    alert: dict[str, Any]


@dataclass
class Outcome:
    """What the demonstration showed; ``to_line`` is its machine-readable end."""

    admission: dict[str, Any] = field(default_factory=dict)
    job: dict[str, Any] = field(default_factory=dict)
    certificate: Path | None = None
    verification: dict[str, Any] = field(default_factory=dict)
    seen: Seen | NoBrowser | None = None
    refusals: list[Refusal] = field(default_factory=list)
    removal: Removal | None = None
    job_seconds: float = 0.0
    gas: dict[str, int] = field(default_factory=dict)
    explorer: str = ""

    @property
    def reconciliation(self) -> dict[str, Any]:
        """What the certificate says that both logs tell alike."""
        assert self.certificate is not None
        found: dict[str, Any] = json.loads(self.certificate.read_bytes())["reconciliation"]
        return found

    @property
    def metrics(self) -> dict[str, Any]:
        found: dict[str, Any] = self.job["result"]["metrics"]
        return found


class Unexpected(Failed):
    """Something that should have been refused was not, or a job did not end as it should."""


class Story:
    """The acts, in order.  Each leaves what the next needs on ``self.outcome``."""

    def __init__(
        self, stage: Stage, *, rows: int | None = None, params: dict[str, Any] | None = None
    ):
        self.stage = stage
        self.rows = rows  # None: all 30,000
        self.params = PARAMS | (params or {})
        self.outcome = Outcome()
        self.datasets: dict[str, str] = {}
        self.grant = ""

    def institution(self, name: str) -> Institution:
        return self.stage.institutions[name]

    # ── Setting ──────────────────────────────────────────────────────────────────────────────

    def found_consortium(self) -> None:
        """A chain, its contracts, three founders who then govern, and a fourth member by vote."""
        stage = self.stage
        stage.say("Starting a testnet and deploying the consortium's contracts …")
        stage.open_chain()
        stage.deploy(*VOTING, *SCHEMES)
        stage.say(
            "It admits the scheme lattice beside paillier, by its own decision: fast, and not yet "
            "reviewed by anybody outside …"
        )
        founders = {name: title for name, title, _ in CAST if name != NEWCOMER}
        roles = {name: roles for name, _, roles in CAST}
        stage.say(f"{', '.join(founders.values())} make their keys and are admitted as founders …")
        stage.found(founders, roles)
        stage.say("The deployer hands all power to their votes …")
        stage.hand_over()
        stage.say("Starting three nodes: API, worker and sync each, with their own folder …")
        self._start(*founders)
        stage.say("Each node registers itself on the chain …")
        stage.at_once(stage.settle_in, founders)

    def join_by_vote(self) -> None:
        """The auditor asks, the bank sponsors it, the members vote; its node does the rest."""
        stage = self.stage
        title, roles = next((title, roles) for name, title, roles in CAST if name == NEWCOMER)
        stage.say(f"{title} asks to join; First Bank proposes it, with the effect of the vote …")
        request = stage.newcomer(NEWCOMER, title, roles, sponsor="bank")
        self._start(NEWCOMER)
        body = {"id": request, "body": "Somebody should check what we say of ourselves."}
        proposal = self.institution("bank").api.post("/v1/sponsorships", body, wait=60)["id"]
        stage.say("Two members vote for it, one against …")
        self.outcome.admission = stage.decide(proposal, BALLOTS)
        if self.outcome.admission["state"] != "EXECUTED":
            raise Unexpected("NotAdmitted", f"{title} was to be admitted", found=proposal)
        stage.say(f"{title} was admitted; its node registers itself …")
        stage.settle_in(NEWCOMER)

    def _start(self, *names: str) -> None:
        environment = {
            # The explorer is open to readers here: the nodes listen on this machine only.
            "FATECHAIN_EXPLORER_OPEN": "true",
            "FATECHAIN_MIRROR_EVERY_SECONDS": "10",  # nobody waits for half a minute at a time
        }
        self.stage.start(*names, environment=environment)

    def register_data(self) -> None:
        """Datasets by commitment: the chain gets a root over salted rows, never a row."""
        self.stage.say("Bank, retailer and insurer register commitments to their data …")
        tables = {
            "bank": ("Borrowers", "y"),
            "retailer": ("Customers", None),
            "insurer": ("Claims", "claimed"),
        }

        def register(name: str) -> str:
            site, (title, label) = self.institution(name), tables[name]
            file = self._place_data(name, site.home / "data")
            body = {"path": file.name, "name": title, "id_column": "id", "label": label}
            dataset: str = site.api.post("/v1/datasets", body, wait=60)["id"]
            return dataset

        self.datasets = self.stage.at_once(register, tables)

    def give_grant(self, uses: int = 3, product_budget: int | None = None) -> None:
        """The retailer allows the bank one purpose, one algorithm, a few uses, for a day."""
        self.stage.say("Corner Retail grants First Bank: training, SecureBoost, for a day …")
        body = {
            "dataset": self.datasets["retailer"],
            "grantee": self.institution("bank").member,
            "purposes": ["training"],
            "algorithms": ["secureboost"],
            "expires_in": 24 * 3600,
            "uses": uses,
            "product_budget": product_budget,
        }
        accepted = self.institution("retailer").api.post("/v1/grants", body, wait=60)
        self.grant = accepted["id"]

    # ── The job ──────────────────────────────────────────────────────────────────────────────

    def run_job(self, watch: Watch = lambda _: None) -> None:
        """Proposed by the bank, approved by the retailer, run by both, certified."""
        began = time.monotonic()
        job = self.await_end(self.agree(), watch)
        if not _succeeded(job):
            raise Unexpected("JobFailed", f"the job ended as {job['state']}: {job['reason']}")
        self.outcome.job = job
        self.outcome.job_seconds = time.monotonic() - began

    def agree(self, **changes: Any) -> str:
        """The bank proposes a job and the retailer approves it; its id."""
        bank, retailer = self.institution("bank"), self.institution("retailer")
        self.stage.say("First Bank proposes a job …")
        job_id: str = bank.api.post("/v1/jobs", self.request() | changes, wait=60)["id"]
        self.await_specification(retailer, job_id)
        self.stage.say("Corner Retail reads the specification and approves …")
        retailer.api.post(f"/v1/jobs/{job_id}/approve", wait=60)
        return job_id

    def await_end(self, job_id: str, watch: Watch = lambda _: None) -> dict[str, Any]:
        """The job as the bank's node shows it when it has ended, with its certificate if any."""
        bank = self.institution("bank")

        def ended() -> dict[str, Any] | None:
            job: dict[str, Any] = bank.api.get(f"/v1/jobs/{job_id}")
            watch(job)
            certified = job["has_certificate"] or not _succeeded(job)
            return job if job["state"] in ENDED and certified else None

        found: dict[str, Any] = self.stage.until(
            "the job ends with its certificate", ended, within=JOB_SECONDS
        )
        return found

    def certify(self) -> None:
        """The auditor verifies the certificate against the chain; it asks no node."""
        bank = self.institution("bank")
        path = self.stage.root / "certificate.json"
        path.write_bytes(bank.api.download(f"/v1/jobs/{self.outcome.job['id']}/certificate"))
        self.outcome.certificate = path
        self.stage.say("Clear Audit verifies the certificate against the chain alone …")
        self.outcome.verification = self.stage.verify(path)

    def look(self) -> None:
        """The auditor signs in at the bank's node, which knows him by his wallet and gave him the
        role, opens the job's page, and verifies the certificate in the browser alone."""
        bank, certificate = self.institution("bank"), self.outcome.certificate
        assert certificate is not None
        page = self.stage.root / "verifier.html"
        self.stage.run("verifier", "--out", str(page))
        person = Account.create()
        told = {"address": person.address, "name": "Clear Audit", "roles": ["auditor"]}
        bank.api.post("/v1/people", told)
        self.stage.say("Clear Audit signs in as auditor, opens the job's page and a verifier …")
        job = self.outcome.job["id"]
        try:
            self.outcome.seen = look(bank.url, job, person, page, certificate, self.stage.root)
        except NoBrowser as nothing:
            self.stage.say(f"{nothing.detail}: nobody looks at the pages")
            self.outcome.seen = nothing
            return
        if self.outcome.seen.roles != ("auditor",):
            raise Unexpected("RoleMissing", "the auditor was to look as one", found=bank.url)
        if self.outcome.seen.failed:
            raise Unexpected("NotVerified", self.outcome.seen.verdict, found=str(certificate))

    # ── The refusals ─────────────────────────────────────────────────────────────────────────

    def refuse_without_grant(self) -> None:
        """The insurer asks for a job on the retailer's data, which nobody granted it."""
        insurer = self.institution("insurer")
        own = {"dataset": self.datasets["insurer"], "version": 1, "grant": None}
        guest = {"site": insurer.site, "role": "guest", "inputs": [own]}
        request = self.request() | {"parties": [guest, self._retailer_party(None)]}
        self._refused(
            "Safe Insurance proposes a job on data that nobody granted it",
            "chain",
            lambda: insurer.api.post("/v1/jobs", request, wait=60),
        )

    def refuse_changed_specification(self) -> None:
        """The bank proposes one thing on the chain and hands the retailer another."""
        bank = self.institution("bank")
        job_id = bank.api.post("/v1/jobs", self.request(), wait=60)["id"]
        specification = bank.api.get(f"/v1/jobs/{job_id}")["specification"]
        changed = specification | {"params": specification["params"] | {"n_estimators": 100}}
        self._refused(
            "First Bank hands over a specification that differs from the proposal",
            "retailer's node",
            lambda: bank.api.post(f"/v1/jobs/{job_id}/deliver", {"specification": changed}),
        )
        bank.api.post(f"/v1/jobs/{job_id}/cancel", {"reason": "Demonstrated"}, wait=60)

    def refuse_after_revocation(self) -> None:
        """The retailer revokes; from that block on the bank gets nothing."""
        self.stage.say("Corner Retail revokes its grant …")
        retailer, bank = self.institution("retailer"), self.institution("bank")
        retailer.api.post(f"/v1/grants/{self.grant}/revoke", wait=60)
        self._refused(
            "First Bank proposes a job after Corner Retail revoked its grant",
            "chain",
            lambda: bank.api.post("/v1/jobs", self.request(), wait=60),
        )

    def remove_a_line(self) -> None:
        """Somebody takes a message out of the retailer's database: its log's verification says so,
        and the bank's node, which has a copy and reads it again.

        The line is put back afterwards.
        """
        name = "retailer"
        retailer, job = self.institution(name), self.outcome.job["id"]
        kind = "fatechain.message.received.v1"
        entries = list(retailer.api.items("/v1/audit/entries", subject=job, type=kind))
        index = int(entries[len(entries) // 2]["index"])
        if faults := self.stage.verify_log(name)["faults"]:
            raise Unexpected("LogFaulty", "the retailer's log was to hold", found=faults)
        self._await_copy(retailer.site, index)
        self.stage.say(f"Somebody removes line {index:,} from Corner Retail's log by hand …")
        with closing(sqlite3.connect(retailer.home / "node.db", timeout=30)) as database:
            query = 'SELECT * FROM audit_entry WHERE "index" = ?'
            row = database.execute(query, (index,)).fetchone()
            with database:
                database.execute('DELETE FROM audit_entry WHERE "index" = ?', (index,))
            try:
                found = self.stage.verify_log(name)["faults"]
                alert = self._await_alert(retailer.site) if found else {}
            finally:
                places = ", ".join("?" * len(row))
                with database:
                    database.execute(f"INSERT INTO audit_entry VALUES ({places})", row)  # noqa: S608
        if not found:
            raise Unexpected("NotFoundOut", "a line was removed, and nobody noticed", found=index)
        self.stage.say(f"It is found: {found[0]['what']}, at line {found[0]['index']:,}")
        self.stage.say(f"First Bank's node tells it, too: {alert['title']}")
        self.outcome.removal = Removal(index, kind, found, alert)

    def _await_copy(self, site: str, index: int) -> None:
        """Until the bank's copy of a log has the entry."""
        bank = self.institution("bank")

        def has_it() -> bool:
            copies = bank.api.get("/v1/mirrors")
            return any(each["site"] == site and each["entries"] > index for each in copies)

        self.stage.until("the bank's node has copied the line", has_it, within=NOTICE_SECONDS)

    def _await_alert(self, site: str) -> dict[str, Any]:
        """What the bank's node says of a log that serves a part of it no more."""
        bank = self.institution("bank")

        def told() -> dict[str, Any] | None:
            asked = {"open": "true", "kind": "log.tile_missing", "subject": site}
            return next(bank.api.items("/v1/alerts", at_most=1, **asked), None)

        found: dict[str, Any] = self.stage.until(
            "the bank's node misses the line", told, within=NOTICE_SECONDS
        )
        return found

    def _refused(self, attempt: str, by: str, act: Callable[[], Any]) -> None:
        try:
            act()
        except NodeError as refusal:
            self.outcome.refusals.append(Refusal(attempt, by, refusal.code, refusal.detail))
            self.stage.say(f"{attempt}: refused by the {by} ({refusal.code})")
        else:
            raise Unexpected("NotRefused", f"{attempt}, and was not refused")

    # ── What they say and bring ──────────────────────────────────────────────────────────────

    def request(self) -> dict[str, Any]:
        """The bank's job: a fifth of the rows held out, a joint SecureBoost on the rest."""
        own = {"dataset": self.datasets["bank"], "version": 1, "grant": None}
        guest = {"site": self.institution("bank").site, "role": "guest", "inputs": [own]}
        return {
            "kind": "train",
            "algorithm": "secureboost",
            "params": self.params,
            "purpose": "training",
            "parties": [guest, self._retailer_party(self.grant)],
            "holdout": "0.2",
        }

    def _retailer_party(self, grant: str | None) -> dict[str, Any]:
        entry = {"dataset": self.datasets["retailer"], "version": 1, "grant": grant}
        return {"site": self.institution("retailer").site, "role": "host", "inputs": [entry]}

    def await_specification(self, site: Institution, job_id: str) -> None:
        def arrived() -> bool:
            try:
                job = site.api.get(f"/v1/jobs/{job_id}")
            except NodeError as error:
                if error.code == "NotFound":
                    return False  # its node has not read that block yet
                raise
            return job["specification"] is not None and job["state"] == "PROPOSED"

        self.stage.until("the specification reaches the retailer", arrived)

    def _place_data(self, name: str, folder: Path) -> Path:
        if name == "insurer":
            # Made up: this table is never used, since nobody granted the insurer a partner's.
            chance = random.Random(0)  # noqa: S311 - an example, no secret
            rows = [f"{n},{n % 2},{chance.random():.3f}" for n in range(200)]
            target = folder / "claims.csv"
            target.write_text("\n".join(["id,claimed,value", *rows, ""]), "utf-8")
            return target
        with as_file(files("node.demo") / "data" / f"{name}.csv.xz") as source:
            if self.rows is None:
                target = folder / source.name
                target.write_bytes(source.read_bytes())
                return target
            target = folder / f"{name}.csv"
            with lzma.open(source, "rt", encoding="utf-8") as lines:
                target.write_text("".join(next(lines) for _ in range(self.rows + 1)), "utf-8")
            return target

    # ── The account ──────────────────────────────────────────────────────────────────────────

    def account(self) -> None:
        """What it cost, and where to look on."""
        outcome = self.outcome
        outcome.gas = {"deployment": int(self.stage.deployment["gas"])}
        for name, site in self.stage.institutions.items():
            transactions = site.api.items("/v1/transactions")
            outcome.gas[name] = sum(tx["gas_used"] or 0 for tx in transactions)
        outcome.explorer = f"{self.institution('bank').url}/"


def _succeeded(job: dict[str, Any]) -> bool:
    return bool(job["state"] == "SUCCEEDED")


def to_line(outcome: Outcome) -> str:
    """The last line of the demonstration: ``DEMO {json}``."""
    shown = {
        "auc_alone": outcome.metrics["alone"]["auc"],
        "auc_joint": outcome.metrics["joint"]["auc"],
        "refusals": [refusal.code for refusal in outcome.refusals],
        "certificate": str(outcome.certificate),
        "verified": bool(outcome.verification.get("ok")),
        "verified_in_browser": isinstance(outcome.seen, Seen) and not outcome.seen.failed,
        "removed_line_found_at": outcome.removal and outcome.removal.found[0]["index"],
        "removed_line_told_by_partner": outcome.removal and outcome.removal.alert["kind"],
        "job_seconds": round(outcome.job_seconds, 1),
        "messages": outcome.reconciliation["messages"],
        "gas": sum(outcome.gas.values()),
        "explorer": outcome.explorer,
    }
    return f"DEMO {json.dumps(shown)}"
