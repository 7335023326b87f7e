"""The evidence pack: what one site shows a regulator of a period or a thing: one file.

The file is canonical JSON and a newline; forms are those of a certificate (`chain.certificate`) and
of a data-use statement (`chain.statement`).

    type, version   "evidence-pack", 1
    network         chainId, consortium, jobRegistry
    scope           from and until (RFC 3339, until exclusive, or null), site, dataset and job (an
                    id or null), firstBlock and lastBlock, redacted {fields, kinds}
    log             the issuer's audit log: site; anchored {size, root, block, txHash}; first and
                    end; entries: every leaf of [first, end) in the log's order, as
                    {index, leafHash, entry, disclosed, erased} or, where it is not of the scope or
                    its kind is redacted, as its bare hash; erasures: the receipts
                    (`chain.erasures`) of every entry that is shown as erased; proof: that the
                    leaves stand side by side under the anchored root (`chain.ranges`)
    certificates    [{job, digest, certificate}] of the jobs; certificate is null where fields are
                    redacted, and only there, as a certificate shows all of them or nothing
    jobs, grants, models, governance, keys
                    what the chain tells of the scope, with block and transaction
    chain           a block's header and the nodes that prove, from it, what the contracts hold of
                    all this (`chain.pack_state`), or null where the endpoint gave none
    report          {en, zh}: HTML for people, in the issuer's words; the verifier page as HTML
    issued          by (the site of the log), at, keyId, publicKey: an audit key
    signature       base64, Ed25519 over the canonical bytes of all but itself

An entry shows every field that it committed to but those that `scope.redacted.fields` names; none
of `KEPT` may be among them. A payload that was erased is said to be, and a receipt covers it. So
what is hidden is counted, and what is left out breaks the proof. A pack without `from` begins with
the log, one without `until` ends with the newest head anchored up to `lastBlock`, and where nothing
is asked for but everything, no entry is hidden. Whether an entry that is hidden belonged to the
scope only its issuer knows; the neighbouring pack shows whether its range begins where this one
ends.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError
from pydantic.alias_generators import to_camel

from chain import canonical, pack_state
from chain.certificate import (
    MAX_INTEGER,
    Base64,
    Hash,
    NetworkPart,
    Number,
    Text,
    Time,
    network_section,
)
from chain.entries import open_entry
from chain.erasures import Receipt, audit_key, verify_receipt
from chain.errors import VerificationFailed
from chain.evidence import require_anchored_by, verify_certificate
from chain.history import History
from chain.ledger import Agreed, Fact, JobTold, Ledger
from chain.pack_state import PackStatePart, whole_seconds
from chain.ranges import MAX_PROOF, require_range
from chain.sites import AUDIT
from chain.standalone import (
    ASK_FOR_THE_BLOCK,
    Check,
    Report,
    looked,
    require,
    require_same,
    require_signed,
    verify_alone,
)
from chain.statement import Period, parse, require_audit_key, signed_bytes, told_by

if TYPE_CHECKING:
    from chain.network import Network

TYPE = "evidence-pack"
VERSION = 1
MAX_BYTES = 64 * 1024 * 1024
MAX_LEAVES = 200_000
MAX_CERTIFICATES = 1000
MAX_ERASURES = 10_000
FIELDS = (
    "type",
    "version",
    "network",
    "scope",
    "log",
    "certificates",
    "jobs",
    "grants",
    "models",
    "governance",
    "keys",
    "chain",
    "report",
    "issued",
    "signature",
)
FROM_CHAIN = ("network", "jobs", "grants", "models", "governance", "keys")
KEPT = frozenset(
    {
        "codeDigest",
        "digest",
        "job",
        "model",
        "output",
        "receiver",
        "result",
        "root",
        "rowsRoot",
        "sender",
        "specification",
    }
)
"""Fields that no pack hides: without them an entry is evidence of nothing."""

_PUBLIC_KEY = re.compile(r"0x[0-9a-f]{64}")

ASK_THE_CHAIN: Mapping[str, str] = {
    "network": "that this consortium stands on this chain",
    "issued": "that the key is an audit key of the site of the log",
    "log": "that the site anchored this head of its log",
    "jobs": "that these are all jobs, grants, models, decisions and keys of the scope",
    "certificates": "that each job, its parties and its result are on chain as certified",
}


def left_to_ask(value: Mapping[str, Any]) -> Mapping[str, str]:
    """What a pack that holds leaves to the chain."""
    if value.get("chain") is None:
        return ASK_THE_CHAIN
    told = "what is told of jobs, grants, models and decisions, where no certificate proves it"
    return {**ASK_FOR_THE_BLOCK, "told": told}


class _Part(BaseModel):
    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        validate_by_alias=True,
        validate_by_name=False,
    )


Moment = Annotated[
    str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$")
]
"""To the microsecond, as entries have it: texts compare as times do."""


class RedactedPart(_Part):
    fields: Annotated[list[Text], Field(max_length=100)]
    kinds: Annotated[list[Text], Field(max_length=100)]


class ScopePart(_Part):
    from_: Annotated[Moment | None, Field(alias="from")]
    until: Moment | None
    site: Hash | None
    dataset: Hash | None
    job: Hash | None
    first_block: Number
    last_block: Annotated[int, Field(ge=-1, le=MAX_INTEGER)]
    redacted: RedactedPart


class AnchoredPart(_Part):
    size: Annotated[int, Field(ge=1, le=MAX_INTEGER)]
    root: Hash
    block: Annotated[int, Field(ge=1, le=MAX_INTEGER)]
    tx_hash: Hash


class ShownPart(_Part):
    index: Number
    leaf_hash: Hash
    entry: dict[str, Any]
    disclosed: dict[str, Any]
    erased: bool


HIDDEN, SHOWN = "hidden entry", "shown entry"
Leaf = Annotated[
    Annotated[Hash, Tag(HIDDEN)] | Annotated[ShownPart, Tag(SHOWN)],
    Discriminator(lambda value: HIDDEN if not isinstance(value, dict) else SHOWN),
]


class PackLogPart(_Part):
    site: Hash
    anchored: AnchoredPart
    first: Number
    end: Number
    entries: Annotated[list[Leaf], Field(max_length=MAX_LEAVES)]
    erasures: Annotated[list[Receipt], Field(max_length=MAX_ERASURES)]
    proof: Annotated[list[Hash], Field(max_length=MAX_PROOF)]


class CertificatePart(_Part):
    job: Hash
    digest: Hash
    certificate: dict[str, Any] | None


class ReportPart(_Part):
    en: str
    zh: str
    verifier: str


class IssuedBy(_Part):
    by: Hash
    at: Time
    key_id: Hash
    public_key: Annotated[str, Field(pattern=r"^0x[0-9a-f]{64}$")]


class Pack(_Part):
    """A pack, parsed; whether it holds is for `verify_pack` to say."""

    type: str
    version: Number
    network: NetworkPart
    scope: ScopePart
    log: PackLogPart
    certificates: Annotated[list[CertificatePart], Field(max_length=MAX_CERTIFICATES)]
    jobs: list[dict[str, Any]]
    grants: list[dict[str, Any]]
    models: list[dict[str, Any]]
    governance: list[dict[str, Any]]
    keys: list[dict[str, Any]]
    chain: PackStatePart | None
    report: ReportPart
    issued: IssuedBy
    signature: Base64


# ── What follows from the chain


def stated(
    network: "Network",
    agreed: Agreed,
    ledger: Ledger,
    events: Sequence[Mapping[str, Any]],
    scope: Mapping[str, Any],
    issuer: str,
) -> dict[str, Any]:
    """`FROM_CHAIN`, for a scope whose blocks are named; `events` are those of the governance in
    these blocks. Raises what the clients raise.
    """
    first, last = scope["firstBlock"], scope["lastBlock"]
    end = network.client.block(last).timestamp if last >= 0 else 0
    chosen = Chosen(agreed, ledger.until(last, end), scope)
    period = Period(network, agreed, chosen.ledger, first)
    jobs = chosen.jobs()
    grants = [chosen.ledger.grants[id] for id in sorted(chosen.grants(jobs))]
    grants = [grant for grant in grants if period.stood(grant)]
    return {
        "network": network_section(network),
        "jobs": [_job(job, chosen.uses[job.id], period) for job in jobs],
        "grants": [
            {"dataset": grant.dataset, "owner": grant.owner, **told}
            for grant, told in zip(grants, period.grants(grants), strict=True)
        ],
        "models": [
            {
                "id": model.id,
                "job": model.job,
                "digest": model.digest,
                "registrar": model.registrar,
                "registered": period.fact(model.registered),
                "withdrawn": None if model.withdrawn is None else period.fact(model.withdrawn),
            }
            for job in jobs
            for model in chosen.ledger.models_of(job.id)
        ],
        "governance": [event for event in events if chosen.concerns(event["args"])],
        "keys": _keys(network, sorted({issuer, *(site for job in jobs for site in job.parties)})),
    }


class Chosen:
    """What of a ledger is of a scope."""

    def __init__(self, agreed: Agreed, ledger: Ledger, scope: Mapping[str, Any]) -> None:
        self.ledger, self.first = ledger, scope["firstBlock"]
        self.site, self.dataset, self.job = scope["site"], scope["dataset"], scope["job"]
        under_way = [
            job
            for job in ledger.jobs.values()
            if job.ended is None or job.ended.block >= self.first
        ]
        self.uses = agreed.uses(job.id for job in under_way)
        self._jobs = [job for job in under_way if self._of_scope(job)]

    def jobs(self) -> list[JobTold]:
        """Those that were under way in these blocks, in the chain's order."""
        return self._jobs

    def grants(self, jobs: Sequence[JobTold]) -> set[str]:
        used = {use.grant for job in jobs for use in self.uses[job.id] if use.grant is not None}
        given = {
            grant.id
            for grant in self.ledger.grants.values()
            if self.is_whole
            or grant.dataset == self.dataset
            or (self.site is not None and self._site_of(grant.dataset) == self.site)
        }
        return (used & self.ledger.grants.keys()) | given

    def subjects(self) -> set[str]:
        """The ids that entries of the scope are about."""
        jobs = {job.id for job in self._jobs}
        models = {m.id for m in self.ledger.models.values() if m.job in jobs}
        named = {id for id in (self.site, self.dataset, self.job) if id is not None}
        return jobs | models | named | self.grants(self._jobs)

    @property
    def is_whole(self) -> bool:
        """Whether only a period was asked for."""
        return self.site is None and self.dataset is None and self.job is None

    def concerns(self, args: Mapping[str, Any]) -> bool:
        """Whether a decision names the site, its member, the dataset, its owner or the job."""
        named = {self.site, self.dataset, self.job, self.ledger.members.get(self.site or "")}
        if (data := self.ledger.datasets.get(self.dataset or "")) is not None:
            named |= {data.owner, data.site}
        return self.is_whole or any(
            value in named for value in args.values() if isinstance(value, str)
        )

    def _of_scope(self, job: JobTold) -> bool:
        with_site = self.site is None or self.site in job.parties
        with_data = self.dataset is None or any(
            use.dataset_id == self.dataset for use in self.uses[job.id]
        )
        return with_site and with_data and self.job in (None, job.id)

    def _site_of(self, dataset: str) -> str | None:
        found = self.ledger.datasets.get(dataset)
        return None if found is None else found.site


def _job(job: JobTold, uses: Sequence[Any], period: Period) -> dict[str, Any]:
    def fact(told: Fact | None) -> dict[str, Any] | None:
        return None if told is None else period.fact(told)

    return {
        "id": job.id,
        "proposer": job.proposer,
        "specification": job.specification,
        "algorithm": job.algorithm,
        "purpose": job.purpose,
        "deadline": str(job.deadline),
        "parties": [{"site": site, "role": role} for site, role in job.parties.items()],
        "uses": [
            {
                "party": use.party,
                "dataset": use.dataset_id,
                "version": use.version,
                "grant": use.grant,
            }
            for use in uses
        ],
        "state": job.state(period.ledger.time),
        "reason": job.reason,
        "proposed": fact(job.proposed),
        "approved": fact(job.approved),
        "started": fact(job.started),
        "ended": fact(job.ended),
        "attested": [
            {"site": site, "result": result, "block": told.block}
            for site, (result, told) in sorted(job.attested.items())
        ],
    }


def _keys(network: "Network", sites: Sequence[str]) -> list[dict[str, Any]]:
    """Every key that these sites ever had, with the blocks in which it was valid (0: it stands)."""
    return [
        {
            "site": site,
            "id": key.id,
            "purpose": key.purpose,
            "publicKey": key.public_key,
            "fromBlock": key.from_block,
            "untilBlock": key.until_block,
        }
        for site in sites
        for key in network.sites.keys(site)
    ]


OF_WORK = frozenset({"JobRegistry", "ModelRegistry", "AuditAnchor", "ConsentRegistry"})
"""Contracts whose events are told elsewhere in a pack, or are no decisions."""


def governance_event(
    contract: str, name: str, args: Mapping[str, Any], block: int, tx_hash: str
) -> dict[str, Any]:
    """An event as it stands in a pack: canonical JSON has no integers of 64 bits."""
    return {
        "block": block,
        "txHash": tx_hash,
        "contract": contract,
        "name": name,
        "args": _exact(dict(args)),
    }


def _exact(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _exact(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_exact(each) for each in value]
    is_wide = isinstance(value, int) and not isinstance(value, bool) and abs(value) > MAX_INTEGER
    return str(value) if is_wide else value


# ── Verifying


def verify_pack(content: bytes, network: "Network") -> Report:
    """Holds a pack against the chain. Raises nothing that its input can cause."""
    return _report(content, network)


def verify_pack_alone(content: bytes) -> Report:
    """Holds it against itself; no chain is asked."""
    return _report(content, None)


def _report(content: bytes, network: "Network | None") -> Report:
    try:
        value = parse(content, TYPE, VERSION, FIELDS, MAX_BYTES)
        pack = _parsed(value)
    except VerificationFailed as failure:
        detail = f"found {str(failure.found)[:200]}, expected {str(failure.expected)[:200]}"
        return Report((Check("format", failure.where, False, detail),))
    checks = [Check("format", "$", True, "canonical JSON with every field of a pack")]
    looks: list[tuple[str, Callable[[], Iterator[tuple[str, str]]]]] = [
        ("signature", lambda: _signature(value)),
        ("scope", lambda: _scope(pack)),
        ("log", lambda: _log(value, pack)),
        ("chain", lambda: pack_state.proved(value)),
    ]
    if network is not None:
        looks += [
            ("issued", lambda: _issued(pack, network)),
            ("period", lambda: _period(pack, network)),
            ("anchored", lambda: _anchored(pack, network)),
            ("erasures", lambda: _erasures(pack, network)),
            ("told", lambda: _as_the_chain(value, network)),
        ]
    for name, look in looks:
        checks += looked(name, look)
    for number in range(len(pack.certificates)):
        checks += _certificate(value, number, network)
    return Report(tuple(checks))


def _parsed(value: dict[str, Any]) -> Pack:
    try:
        return Pack.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        location = [step for step in first["loc"] if step not in (HIDDEN, SHOWN)]
        steps = (f"[{s}]" if isinstance(s, int) else f".{s}" for s in location)
        raise VerificationFailed("$" + "".join(steps), first["msg"], "a pack") from error


def _signature(value: dict[str, Any]) -> Iterator[tuple[str, str]]:
    require("$.issued.by", value["issued"]["by"], value["log"]["site"])
    key = value["issued"]["publicKey"]
    require_signed("$.signature", key, value["signature"], signed_bytes(value))
    yield "$.signature", "the key in the file signed it"


def _scope(pack: Pack) -> Iterator[tuple[str, str]]:
    for number, name in enumerate(pack.scope.redacted.fields):
        if name in KEPT:
            where = f"$.scope.redacted.fields[{number}]"
            raise VerificationFailed(where, name, f"none of {', '.join(sorted(KEPT))}")
    if pack.scope.redacted.fields and any(c.certificate for c in pack.certificates):
        raise VerificationFailed("$.certificates", "fields that are redacted", "digests alone")
    for number, part in enumerate(pack.certificates):
        if not pack.scope.redacted.fields and part.certificate is None:
            where = f"$.certificates[{number}].certificate"
            raise VerificationFailed(where, "nothing", "the certificate: no field is redacted")
    yield "$.scope", "hides no field that evidence needs"


def _log(value: dict[str, Any], pack: Pack) -> Iterator[tuple[str, str]]:
    log, hidden, erased = pack.log, 0, 0
    require("$.log.end", log.end, log.first + len(log.entries))
    if log.end > log.anchored.size:
        raise VerificationFailed("$.log.end", log.end, f"at most {log.anchored.size}")
    if pack.scope.from_ is None:
        require("$.log.first", log.first, 0)
    if pack.scope.until is None:
        require("$.log.end", log.end, log.anchored.size)
    receipted = _receipted(value, pack)
    leaves = []
    for position, part in enumerate(log.entries):
        if isinstance(part, str):
            if _is_everything(pack.scope):
                where = f"$.log.entries[{position}]"
                raise VerificationFailed(where, "a bare hash", "an entry: nothing is redacted")
            leaves.append(_raw(part))
            hidden += 1
            continue
        where = f"$.log.entries[{position}]"
        require(f"{where}.index", part.index, log.first + position)
        told = open_entry(value["log"]["entries"][position], where)
        require(f"{where}.entry.source", part.entry.get("source"), log.site)
        _in_scope(pack, part, where)
        if part.erased and part.index not in receipted:
            raise VerificationFailed(f"{where}.erased", True, "a receipt that covers the entry")
        _shows_enough(pack, part, told, where)
        erased += part.erased
        leaves.append(_raw(part.leaf_hash))
    proof = [_raw(sibling) for sibling in log.proof]
    root, size = _raw(log.anchored.root), log.anchored.size
    require_range(root, size, log.first, leaves, proof, "$.log.proof")
    shown = len(leaves) - hidden
    yield (
        "$.log",
        f"entries {log.first} to {log.end} of {size}, none left out: "
        f"{shown} shown ({erased} of them erased), {hidden} hidden",
    )


def _is_everything(scope: ScopePart) -> bool:
    """Whether nothing is a reason to hide a whole entry."""
    asked = (scope.from_, scope.until, scope.site, scope.dataset, scope.job)
    return asked == (None,) * 5 and not scope.redacted.kinds


def _receipted(value: dict[str, Any], pack: Pack) -> set[int]:
    """Indexes of entries of the range that receipts cover; each receipt is held against its key
    and, where it speaks of entries of the range alone, against their leaves.
    """
    log, found = pack.log, set[int]()

    def leaf_hash_at(index: int) -> bytes:
        part = log.entries[index - log.first]
        return _raw(part if isinstance(part, str) else part.leaf_hash)

    for number, stated in enumerate(log.erasures):
        where = f"$.log.erasures[{number}]"
        require(f"{where}.site", stated.site, log.site)
        key = _key_in(pack, stated.key_id)
        if key is None:
            raise VerificationFailed(f"{where}.keyId", stated.key_id, "an audit key of the site")
        bounds = [index for pair in stated.entries for index in pair]
        is_inside = all(log.first <= index < log.end for index in bounds)
        receipt = value["log"]["erasures"][number]
        try:
            verify_receipt(receipt, key, leaf_hash_at if is_inside else None)
        except VerificationFailed as failure:
            at = where + failure.where.removeprefix("$")
            raise VerificationFailed(at, failure.found, failure.expected) from failure
        covered = {
            index
            for first, last in stated.entries
            for index in range(max(first, log.first), min(last + 1, log.end))
        }
        # An entry is erased once; so what a hostile file makes a reader hash is bounded.
        if found & covered:
            raise VerificationFailed(f"{where}.entries", "an entry twice", "each in one receipt")
        found |= covered
    return found


def _key_in(pack: Pack, id: str) -> bytes | None:
    """The audit key of the log's site by the pack's own list, which the chain is held against."""
    for key in pack.keys:
        if (key.get("site"), key.get("id"), key.get("purpose")) == (pack.log.site, id, AUDIT):
            text = key.get("publicKey")
            return _raw(text) if isinstance(text, str) and _PUBLIC_KEY.fullmatch(text) else None
    return None


def _in_scope(pack: Pack, part: ShownPart, where: str) -> None:
    time, kind = part.entry.get("time"), part.entry.get("type")
    start, until = pack.scope.from_, pack.scope.until
    if not isinstance(time, str) or not isinstance(kind, str):
        raise VerificationFailed(f"{where}.entry", "no time or no type", "those of an entry")
    if (start is not None and time < start) or (until is not None and time >= until):
        raise VerificationFailed(f"{where}.entry.time", time, f"within {start} and {until}")
    if kind in pack.scope.redacted.kinds:
        raise VerificationFailed(f"{where}.entry.type", kind, "a kind that is not redacted")


def _shows_enough(pack: Pack, part: ShownPart, told: Mapping[str, Any], where: str) -> None:
    """Nothing is hidden but what the pack says it hides."""
    if part.erased:
        require_same(f"{where}.disclosed", dict(part.disclosed), {})
        return
    data = part.entry.get("data")
    committed = set(data) if isinstance(data, dict) else set()
    allowed = set(pack.scope.redacted.fields)
    for name in sorted(committed - told.keys() - allowed):
        raise VerificationFailed(f"{where}.disclosed.{name}", "nothing", "what was committed to")
    for name in sorted(told.keys() & allowed):
        raise VerificationFailed(f"{where}.disclosed.{name}", "a value", "nothing: it is redacted")


def _certificate(value: dict[str, Any], number: int, network: "Network | None") -> Iterator[Check]:
    """Each check of a certificate, at its place in the pack."""
    at = f"$.certificates[{number}]"
    part = value["certificates"][number]
    if part["certificate"] is None:
        yield Check("certificate", at, True, "left out, as it shows fields that are redacted")
        return
    content = canonical.dumps(part["certificate"]) + b"\n"
    if canonical.digest(content) != part["digest"]:
        yield Check("certificate", f"{at}.digest", False, "is not that of the certificate")
    job = part["certificate"].get("job")
    if not isinstance(job, dict) or job.get("id") != part["job"]:
        yield Check("certificate", f"{at}.job", False, "the certificate is of another job")
    report = verify_alone(content) if network is None else verify_certificate(content, network)
    for check in report.failures:
        where = f"{at}.certificate{check.where.removeprefix('$')}"
        yield Check(f"certificate {check.name}", where, False, check.detail)
    if report.ok:
        yield Check("certificate", at, True, f"holds, in {len(report.checks)} checks")


# ── Against the chain


def _issued(pack: Pack, network: "Network") -> Iterator[tuple[str, str]]:
    require_audit_key(pack.issued.model_dump(by_alias=True), network, pack.log.anchored.block)
    yield "$.issued", "an audit key of the site of the log signed it"


def _period(pack: Pack, network: "Network") -> Iterator[tuple[str, str]]:
    """The blocks are those of the period. What was made while it went on ends with what was there;
    when a pack without an end was made, only its issuer knows."""
    scope, newest = pack.scope, network.client.head().number

    def time_of(block: int) -> int:
        return network.client.block(block).timestamp

    first, last = scope.first_block, scope.last_block
    if last > newest:
        raise VerificationFailed("$.scope.lastBlock", last, f"a block up to {newest}")
    if scope.from_ is None:
        require("$.scope.firstBlock", first, 0)
    else:
        start = whole_seconds(scope.from_)
        if first > 0 and time_of(min(first - 1, newest)) >= start:
            raise VerificationFailed("$.scope.firstBlock", first, f"the first from {scope.from_}")
        if first <= last and time_of(first) < start:
            raise VerificationFailed("$.scope.firstBlock", first, f"none before {scope.from_}")
    if scope.until is not None:
        end = whole_seconds(scope.until)
        if last >= 0 and time_of(last) >= end:
            raise VerificationFailed("$.scope.lastBlock", last, f"one before {scope.until}")
        was_over = datetime.fromisoformat(pack.issued.at).timestamp() >= end
        if was_over and last < newest and time_of(last + 1) < end:
            raise VerificationFailed("$.scope.lastBlock", last, f"the last before {scope.until}")
    yield "$.scope", "names the blocks of its period"


def _erasures(pack: Pack, network: "Network") -> Iterator[tuple[str, str]]:
    for number, receipt in enumerate(pack.log.erasures):
        try:
            key = "0x" + audit_key(network, receipt).hex()
        except VerificationFailed as failure:
            where = f"$.log.erasures[{number}].keyId"
            raise VerificationFailed(where, failure.found, failure.expected) from failure
        held = _key_in(pack, receipt.key_id)
        require(f"$.log.erasures[{number}].keyId", held and "0x" + held.hex(), key)
    yield "$.log.erasures", f"{len(pack.log.erasures)} receipts are signed by keys of the site"


def _require_newest(pack: Pack, network: "Network") -> None:
    """From the events that are kept: no archive of old states is needed."""
    site, anchored, last = pack.log.site, pack.log.anchored, pack.scope.last_block
    if anchored.block > last:
        raise VerificationFailed("$.log.anchored.block", anchored.block, f"one up to {last}")
    for event in History(network.client, [network.anchors.address]).read(anchored.block, last):
        is_of_site = event.name == "Anchored" and event.args["site"] == site
        if is_of_site and event.args["size"] > anchored.size:
            newest = f"the newest head up to block {last}, of {event.args['size']}"
            raise VerificationFailed("$.log.anchored.size", anchored.size, newest)


def _anchored(pack: Pack, network: "Network") -> Iterator[tuple[str, str]]:
    anchored = pack.log.anchored
    head = network.anchors.head_at(pack.log.site, anchored.size)
    require("$.log.anchored.root", anchored.root, head.root)
    require("$.log.anchored.block", anchored.block, head.at_block)
    where = "$.log.anchored.txHash"
    require_anchored_by(network, pack.log.site, head, anchored.tx_hash, where)
    if pack.scope.until is None:
        _require_newest(pack, network)
    yield "$.log.anchored", "the site anchored this head"
    if pack.chain is not None:
        for block in (pack.chain.block, *pack.chain.bounds):
            found = network.client.block(block.number).hash
            require("$.chain.block.hash", block.hash, found)
        yield "$.chain.block", "the headers are those of the chain's blocks"


def _as_the_chain(value: dict[str, Any], network: "Network") -> Iterator[tuple[str, str]]:
    scope = value["scope"]
    first, last = scope["firstBlock"], scope["lastBlock"]
    newest = network.client.head().number
    if last > newest:
        raise VerificationFailed("$.scope.lastBlock", last, f"a block up to {newest}")
    events = governance_of(network, first, last)
    ledger = told_by(network, max(last, 0))
    agreed = Agreed(lambda: network)
    found = stated(network, agreed, ledger, events, scope, value["log"]["site"])
    for name in FROM_CHAIN:
        if name != "keys":
            require_same(f"$.{name}", value[name], found[name])
            yield f"$.{name}", "is what the chain tells, and all of it"
    _keys_hold(value["keys"], found["keys"], last)
    yield "$.keys", "are the keys that the chain has of these sites"


def _keys_hold(
    told: Sequence[Mapping[str, Any]], found: Sequence[Mapping[str, Any]], last: int
) -> None:
    """Keys may have been added or ended since the pack was made; none may be missing or other."""
    known = {(key["site"], key["id"]): key for key in found}
    for number, key in enumerate(told):
        now = known.get((key.get("site"), key.get("id")))
        if now is not None and not key.get("untilBlock") and now["untilBlock"] > last:
            now = {**now, "untilBlock": 0}
        if now is None or key != now:
            where = f"$.keys[{number}]"
            raise VerificationFailed(where, key.get("id"), "a key as the chain has it")
    shown = {(key.get("site"), key.get("id")) for key in told}
    for pair, key in known.items():
        if pair not in shown and key["fromBlock"] <= last:
            raise VerificationFailed("$.keys", f"nothing of key {key['id']}", "every key")


def governance_of(network: "Network", first: int, last: int) -> list[dict[str, Any]]:
    """The decisions in these blocks, from the events themselves."""
    addresses = [a for a, name in network.contracts.items() if name not in OF_WORK]
    return [
        governance_event(e.contract, e.name, e.args, e.block_number, e.tx_hash)
        for e in History(network.client, addresses).read(first, last)
    ]


def _raw(value: str) -> bytes:
    return bytes.fromhex(value[2:])
