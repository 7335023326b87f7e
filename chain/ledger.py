"""What the events of the contracts tell of data, grants, jobs and models, and where they do.

A `Fact` names the block and the transaction. Two things stand in no event and are asked of the
contracts, once each, since they never change: the data that a job names (`Agreed.uses`) and the
models that a model grew from (`Agreed.parents`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from chain.calls import Call
from chain.contract import Contract
from chain.ids import ZERO_ID
from chain.jobs import JobUse, reason_text

if TYPE_CHECKING:
    from chain.network import Network

BATCH = 200  # questions in one request
MAX_KNOWN = 100_000  # jobs, and models, whose unchanging facts are kept in memory

ENDS: Mapping[str, str] = {
    "JobRejected": "REJECTED",
    "JobSucceeded": "SUCCEEDED",
    "JobFailed": "FAILED",
    "JobCancelled": "CANCELLED",
    "JobExpired": "EXPIRED",
}


class Fact(NamedTuple):
    """Where the chain says it."""

    block: int
    tx_hash: str


@dataclass
class DatasetTold:
    id: str
    site: str
    owner: str
    name: str
    registered: Fact
    versions: dict[int, Fact] = field(default_factory=dict)
    ended: dict[int, Fact] = field(default_factory=dict)


@dataclass
class GrantTold:
    """`used`: job → the count of uses after it, and where the start consumed it."""

    id: str
    owner: str
    grantee: str
    dataset: str
    granted: Fact
    revoked: Fact | None = None
    amended: Fact | None = None
    amended_by: str | None = None
    used: dict[str, tuple[int, Fact]] = field(default_factory=dict)


@dataclass
class JobTold:
    """`parties` in the chain's order, site → role; `attested`: site → digest, and where."""

    id: str
    proposer: str
    specification: str
    algorithm: str
    purpose: str
    deadline: int
    proposed: Fact
    parties: dict[str, str] = field(default_factory=dict)
    approved: Fact | None = None
    started: Fact | None = None
    ended: Fact | None = None
    end: str | None = None
    reason: str | None = None
    attested: dict[str, tuple[str, Fact]] = field(default_factory=dict)

    def state(self, now: int) -> str:
        """As the registry derives it; `now` is block time in Unix seconds."""
        if self.end is not None:
            return self.end
        if now >= self.deadline:
            return "EXPIRED"
        if self.started is not None:
            return "RUNNING"
        return "PROPOSED" if self.approved is None else "APPROVED"


@dataclass
class ModelTold:
    id: str
    job: str
    digest: str
    registrar: str
    registered: Fact
    withdrawn: Fact | None = None


@dataclass
class Ledger:
    """All of it up to and in `block`; `time` (Unix seconds) decides what has expired."""

    block: int
    time: int
    datasets: dict[str, DatasetTold] = field(default_factory=dict)
    grants: dict[str, GrantTold] = field(default_factory=dict)
    jobs: dict[str, JobTold] = field(default_factory=dict)
    models: dict[str, ModelTold] = field(default_factory=dict)
    members: dict[str, str] = field(default_factory=dict)  # site → its member

    def learn(self, contract: str, name: str, args: Mapping[str, Any], fact: Fact) -> None:
        """What an event tells; events are learned in the chain's order."""
        if (learn := _LEARN.get((contract, name))) is not None:
            learn(self, name, args, fact)

    def until(self, block: int, time: int) -> "Ledger":
        """As it was in an earlier block."""

        def by(fact: Fact | None) -> Fact | None:
            return fact if fact is not None and fact.block <= block else None

        def told(facts: dict[int, Fact]) -> dict[int, Fact]:
            return {key: fact for key, fact in facts.items() if by(fact)}

        earlier = Ledger(min(block, self.block), time, members=self.members)
        for data in self.datasets.values():
            if by(data.registered):
                earlier.datasets[data.id] = replace(
                    data, versions=told(data.versions), ended=told(data.ended)
                )
        for grant in self.grants.values():
            if by(grant.granted):
                used = {job: use for job, use in grant.used.items() if by(use[1])}
                earlier.grants[grant.id] = replace(
                    grant, used=used, revoked=by(grant.revoked), amended=by(grant.amended)
                )
        for job in self.jobs.values():
            if by(job.proposed):
                attested = {site: said for site, said in job.attested.items() if by(said[1])}
                over = by(job.ended) is not None
                earlier.jobs[job.id] = replace(
                    job,
                    approved=by(job.approved),
                    started=by(job.started),
                    ended=by(job.ended),
                    end=job.end if over else None,
                    reason=job.reason if over else None,
                    attested=attested,
                )
        for model in self.models.values():
            if by(model.registered):
                earlier.models[model.id] = replace(model, withdrawn=by(model.withdrawn))
        return earlier

    def models_of(self, job: str) -> list[ModelTold]:
        return [model for model in self.models.values() if model.job == job]


# ── Learning from an event ───────────────────────────────────────────────────────────────────

Args = Mapping[str, Any]


def _site(ledger: Ledger, _name: str, args: Args, _fact: Fact) -> None:
    ledger.members[args["id"]] = args["member"]


def _dataset(ledger: Ledger, _name: str, args: Args, fact: Fact) -> None:
    id = args["id"]
    ledger.datasets[id] = DatasetTold(id, args["site"], args["owner"], args["name"], fact)


def _version(ledger: Ledger, name: str, args: Args, fact: Fact) -> None:
    if (found := ledger.datasets.get(args["id"])) is not None:
        told = found.versions if name == "DatasetVersionAdded" else found.ended
        told[args["version"]] = fact


def _granted(ledger: Ledger, _name: str, args: Args, fact: Fact) -> None:
    id = args["id"]
    found = GrantTold(id, args["owner"], args["grantee"], args["datasetId"], fact)
    ledger.grants[id] = found


def _grant_changed(ledger: Ledger, name: str, args: Args, fact: Fact) -> None:
    found = ledger.grants.get(args["id"])
    if found is None:
        return
    if name == "ConsentUsed":
        found.used[args["job"]] = (args["used"], fact)
    elif name == "ConsentRevocation":
        found.revoked = fact
    else:
        found.amended, found.amended_by = fact, args["by"]


def _proposed(ledger: Ledger, _name: str, args: Args, fact: Fact) -> None:
    ledger.jobs[args["id"]] = JobTold(
        id=args["id"],
        proposer=args["proposer"],
        specification=args["specification"],
        algorithm=args["algorithm"],
        purpose=args["purpose"],
        deadline=args["deadline"],
        proposed=fact,
    )


def _job_changed(ledger: Ledger, name: str, args: Args, fact: Fact) -> None:
    job = ledger.jobs.get(args["id"])
    if job is None:
        return
    if name == "JobPartyAdded":
        job.parties[args["site"]] = args["role"]
    elif name == "JobApproved":
        job.approved = fact
    elif name == "JobStarted":
        job.started = fact
    elif name == "JobAttested":
        job.attested[args["site"]] = (args["result"], fact)
    else:
        job.end, job.ended = ENDS[name], fact
        job.reason = reason_text(args["reason"]) if "reason" in args else None


def _model(ledger: Ledger, name: str, args: Args, fact: Fact) -> None:
    id = args["id"]
    if name == "ModelRegistered":
        told = ModelTold(id, args["job"], args["modelDigest"], args["registrar"], fact)
        ledger.models[id] = told
    elif id in ledger.models:
        ledger.models[id].withdrawn = fact


_LEARN: Mapping[tuple[str, str], Callable[[Ledger, str, Args, Fact], None]] = {
    ("SiteRegistry", "SiteRegistered"): _site,
    ("DatasetRegistry", "DatasetRegistered"): _dataset,
    **{
        ("DatasetRegistry", name): _version
        for name in ("DatasetVersionAdded", "DatasetVersionEnded")
    },
    ("ConsentRegistry", "ConsentGranted"): _granted,
    **{
        ("ConsentRegistry", name): _grant_changed
        for name in ("ConsentUsed", "ConsentRevocation", "ConsentAmendment")
    },
    ("JobRegistry", "JobProposed"): _proposed,
    **{
        ("JobRegistry", name): _job_changed
        for name in ("JobPartyAdded", "JobApproved", "JobStarted", "JobAttested", *ENDS)
    },
    **{("ModelRegistry", name): _model for name in ("ModelRegistered", "ModelWithdrawn")},
}
CONTRACTS = frozenset(contract for contract, _ in _LEARN)
"""Those whose events are learned from."""


# ── What never changes, and stands in no event ───────────────────────────────────────────────


class Agreed:
    """Data of jobs and origins of models, asked of the contracts once.

    Only what is confirmed may be asked for. Raises what `chain.client` raises.
    """

    def __init__(self, network: Callable[[], "Network"]) -> None:
        self._network = network
        self._uses: dict[str, tuple[JobUse, ...]] = {}
        self._parents: dict[str, tuple[str, ...]] = {}

    def uses(self, jobs: Iterable[str]) -> dict[str, tuple[JobUse, ...]]:
        """Job → the data that it names."""

        def read(found: Any) -> tuple[JobUse, ...]:
            return tuple(
                JobUse(
                    use["party"],
                    use["datasetId"],
                    use["version"],
                    None if use["grant"] == ZERO_ID else use["grant"],
                )
                for use in found
            )

        return self._ask(self._uses, list(jobs), lambda network: network.jobs, "uses", read)

    def parents(self, models: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Model → the models that it grew from."""

        def read(found: Any) -> tuple[str, ...]:
            return tuple(found["parents"])

        asked = list(models)
        return self._ask(self._parents, asked, lambda network: network.models, "model", read)

    def _ask(
        self,
        known: dict[str, Any],
        ids: Sequence[str],
        registry: Callable[["Network"], Contract],
        function: str,
        read: Callable[[Any], Any],
    ) -> dict[str, Any]:
        answers = {id: known[id] for id in ids if id in known}
        missing = [id for id in ids if id not in answers]
        for start in range(0, len(missing), BATCH):
            network, asked = self._network(), missing[start : start + BATCH]
            at = registry(network)
            calls = [Call(at.artifact, function, (id,), at.address) for id in asked]
            found = network.client.call_all(calls)
            answers |= {id: read(told) for id, told in zip(asked, found, strict=True)}
        if len(known) > MAX_KNOWN:
            known.clear()
        known |= {id: answers[id] for id in missing}
        return answers
