"""The data-use statement: what a data owner's data was used for in a month, as the chain has it.

The file is canonical JSON and a newline. Blocks and times (Unix seconds) are numbers; integers of
64 bits are decimal text.

    type, version   "data-use-statement", 1
    network         as in a certificate (`chain.certificate.network_section`)
    owner           member, name
    month           name ("2026-10"), from and until (Unix seconds, until exclusive), firstBlock and
                    lastBlock (those whose time lies in it; last before first: none), over
    datasets        every dataset of the owner: dataset, name, site, grants, uses
      grants        those that stood in the month or were used in it: id, grantee, granteeName,
                    purposes, algorithms, until, uses, used and left (at the end of the month),
                    state, granted {block, txHash, time}, ended (the same) or null
      uses          the jobs that started in the month: job, version, grant or null (the owner's
                    own), by {site, name, member}, purpose, algorithm, started, ended or null,
                    state and reason at the end of the month, attested [{site, result, block}]
    stops           receipts of sites that ended work in these jobs (`node.stops`), each signed by
                    its site: how fast they stopped is their word, block times are the chain's
    totals          uses, jobs, grantees, revoked
    issued          by (a site of the owner), at, keyId, publicKey: an audit key
    signature       base64, Ed25519 over the canonical bytes of all but itself

Everything down to `datasets` follows from the chain, so `verify_statement` makes it again and
compares: a use that is left out is found as surely as one that is made up.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from chain import canonical
from chain.calls import Call
from chain.certificate import network_section, signing_key
from chain.consents import ALL_MEMBERS
from chain.errors import VerificationFailed
from chain.history import History
from chain.ledger import Agreed, Fact, GrantTold, JobTold, Ledger
from chain.sites import AUDIT
from chain.standalone import (
    Check,
    Report,
    is_deep,
    looked,
    require,
    require_same,
    require_signed,
)

if TYPE_CHECKING:
    from chain.client import ChainClient
    from chain.network import Network

TYPE = "data-use-statement"
VERSION = 1
MAX_BYTES = 16 * 1024 * 1024
FIELDS = (
    "type",
    "version",
    "network",
    "owner",
    "month",
    "datasets",
    "stops",
    "totals",
    "issued",
    "signature",
)
FROM_CHAIN = ("network", "owner", "month", "datasets", "totals")

ASK_THE_CHAIN: Mapping[str, str] = {
    "network": "that this consortium stands on this chain",
    "issued": "that the key is an audit key of a site of the owner",
    "datasets": "that these are all its datasets, grants and uses, and that they are as told",
    "stops": "that sites of these jobs signed the receipts of stops: nobody has checked them yet",
}


def bounds(name: str) -> tuple[int, int]:
    """From and until of a month like "2026-10" in UTC; Unix seconds. Raises ValueError."""
    start = datetime.strptime(name, "%Y-%m").replace(tzinfo=UTC)
    if start.strftime("%Y-%m") != name:
        raise ValueError(f"{name!r} is no month like 2026-10")
    next_year, month = divmod(start.year * 12 + start.month, 12)
    return int(start.timestamp()), int(datetime(next_year, month + 1, 1, tzinfo=UTC).timestamp())


def first_block_from(client: "ChainClient", time: int, newest: int) -> int:
    """The first block up to `newest` whose time is not before `time`; newest + 1: none."""
    low, high = 0, newest + 1
    while low < high:
        middle = (low + high) // 2
        if client.block(middle).timestamp < time:
            low = middle + 1
        else:
            high = middle
    return low


def stated(
    network: "Network", agreed: Agreed, ledger: Ledger, owner: str, name: str
) -> dict[str, Any]:
    """What follows from the chain: `FROM_CHAIN`. `ledger` may reach beyond the month.

    Raises what the clients raise.
    """
    start, until = bounds(name)
    first = first_block_from(network.client, start, ledger.block)
    last = first_block_from(network.client, until, ledger.block) - 1
    end = network.client.block(last).timestamp if last >= 0 else start
    month = Period(network, agreed, ledger.until(last, end), first)
    datasets = [
        month.dataset(data.id) for data in month.ledger.datasets.values() if data.owner == owner
    ]
    uses = [use for data in datasets for use in data["uses"]]
    grants = [grant for data in datasets for grant in data["grants"]]
    return {
        "network": network_section(network),
        "owner": {"member": owner, "name": network.membership.member(owner).name},
        "month": {
            "name": name,
            "from": start,
            "until": until,
            "firstBlock": first,
            "lastBlock": last,
            "over": last < ledger.block,
        },
        "datasets": datasets,
        "totals": {
            "uses": len(uses),
            "jobs": len({use["job"] for use in uses}),
            "grantees": len({use["by"]["member"] for use in uses if use["grant"] is not None}),
            "revoked": sum(
                grant["state"] == "REVOKED" and grant["ended"]["block"] >= first for grant in grants
            ),
        },
    }


class Period:
    """Some blocks of a ledger that ends with them, from `first` on."""

    def __init__(self, network: "Network", agreed: Agreed, ledger: Ledger, first: int) -> None:
        self.network, self.ledger, self.first, self.end = network, ledger, first, ledger.time
        started = [job for job in ledger.jobs.values() if job.started and self._within(job.started)]
        self.uses = agreed.uses(job.id for job in started)
        self._times: dict[int, int] = {}

    def dataset(self, id: str) -> dict[str, Any]:
        data = self.ledger.datasets[id]
        uses = [
            self._use(self.ledger.jobs[job], use.version, use.grant)
            for job, used in self.uses.items()
            for use in used
            if use.dataset_id == id
        ]
        grants = [
            grant
            for grant in self.ledger.grants.values()
            if grant.dataset == id and self.stood(grant)
        ]
        return {
            "dataset": id,
            "name": data.name,
            "site": data.site,
            "grants": self.grants(grants),
            "uses": sorted(uses, key=lambda use: (use["started"]["block"], use["job"])),
        }

    def grants(self, grants: Sequence[GrantTold]) -> list[dict[str, Any]]:
        consents = self.network.consents
        calls = [Call(consents.artifact, "record", (g.id,), consents.address) for g in grants]
        records = self.network.client.call_all(calls) if calls else []
        return [self._grant(*pair) for pair in zip(grants, records, strict=True)]

    def _grant(self, grant: GrantTold, record: Mapping[str, Any]) -> dict[str, Any]:
        terms = record["grant"]
        used = max((count for count, _ in grant.used.values()), default=0)
        ended = grant.revoked or grant.amended
        if ended is not None:
            state = "REVOKED" if grant.revoked else "AMENDED"
        elif terms["until"] <= self.end:
            state = "EXPIRED"
        else:
            state = "USED_UP" if used >= terms["uses"] else "ACTIVE"
        return {
            "id": grant.id,
            "grantee": grant.grantee,
            "granteeName": self._member(grant.grantee),
            "purposes": list(terms["purposes"]),
            "algorithms": list(terms["algorithms"]),
            "until": str(terms["until"]),
            "uses": terms["uses"],
            "used": used,
            "left": terms["uses"] - used,
            "state": state,
            "granted": self.fact(grant.granted),
            "ended": None if ended is None else self.fact(ended),
        }

    def _use(self, job: JobTold, version: int, grant: str | None) -> dict[str, Any]:
        assert job.started is not None
        member = self.ledger.members.get(job.proposer, "")
        return {
            "job": job.id,
            "version": version,
            "grant": grant,
            "by": {"site": job.proposer, "name": self._site(job.proposer), "member": member},
            "purpose": job.purpose,
            "algorithm": job.algorithm,
            "started": self.fact(job.started),
            "ended": None if job.ended is None else self.fact(job.ended),
            "state": job.state(self.end),
            "reason": job.reason,
            "attested": [
                {"site": site, "result": result, "block": fact.block}
                for site, (result, fact) in sorted(job.attested.items())
            ],
        }

    def stood(self, grant: GrantTold) -> bool:
        ended = grant.revoked or grant.amended
        used = any(self._within(fact) for _, fact in grant.used.values())
        return used or ended is None or self._within(ended)

    def _within(self, fact: Fact) -> bool:
        return self.first <= fact.block <= self.ledger.block

    def fact(self, fact: Fact) -> dict[str, Any]:
        if fact.block not in self._times:
            self._times[fact.block] = self.network.client.block(fact.block).timestamp
        return {"block": fact.block, "txHash": fact.tx_hash, "time": self._times[fact.block]}

    def _member(self, id: str) -> str | None:
        return None if id == ALL_MEMBERS else self.network.membership.member(id).name

    def _site(self, id: str) -> str:
        return self.network.sites.site(id).name


def signed_bytes(statement: Mapping[str, Any]) -> bytes:
    """What the signature is over."""
    return canonical.dumps({name: v for name, v in statement.items() if name != "signature"})


# ── Verifying


def verify_statement(content: bytes, network: "Network") -> Report:
    """Holds a statement against the chain. Raises nothing that its input can cause."""
    return _report(content, network)


def verify_statement_alone(content: bytes) -> Report:
    """Holds it against itself: its form, its signature and its sums."""
    return _report(content, None)


def _report(content: bytes, network: "Network | None") -> Report:
    try:
        value = parse(content, TYPE, VERSION, FIELDS, MAX_BYTES)
    except VerificationFailed as failure:
        return Report((Check("format", failure.where, False, str(failure)),))
    checks = [Check("format", "$", True, "canonical JSON with every field of a statement")]
    checks += looked("signature", lambda: _signature(value))
    checks += looked("totals", lambda: _totals(value))
    if network is not None:
        checks += looked("issued", lambda: _issued(value, network))
        checks += looked("datasets", lambda: _as_the_chain(value, network))
        checks += looked("stops", lambda: _stops(value, network))
    elif value["stops"]:
        unchecked = "nobody has checked who signed these receipts: the chain has the keys"
        checks.append(Check("stops", "$.stops", True, unchecked))
    return Report(tuple(checks))


def parse(
    content: bytes, kind: str, version: int, fields: Sequence[str], most: int
) -> dict[str, Any]:
    """A file's value with exactly these fields. Raises VerificationFailed."""
    if len(content) > most:
        raise VerificationFailed("$", f"{len(content)} bytes", f"at most {most}")
    if not content.endswith(b"\n") or is_deep(content):
        raise VerificationFailed("$", "another form", "canonical JSON, not deep, and a newline")
    try:
        value = canonical.loads(content[:-1])
    except canonical.NotCanonical as error:
        raise VerificationFailed("$", str(error), "canonical JSON and a newline") from error
    if not isinstance(value, dict):
        raise VerificationFailed("$", type(value).__name__, "an object")
    for name in (*fields, *sorted(value)):
        if name not in value or name not in fields:
            found = "nothing" if name not in value else "a field too much"
            raise VerificationFailed(f"$.{name}", found, "exactly the fields of the format")
    require("$.type", value["type"], kind)
    require("$.version", value["version"], version)
    return value


def kind_of(content: bytes) -> str:
    """What a file says it is; a certificate says nothing."""
    try:
        canonical.refuse_depth(content)
        value = json.loads(content)
    except (ValueError, canonical.NotCanonical):
        return ""
    kind = value.get("type") if isinstance(value, dict) else None
    return kind if isinstance(kind, str) else ""


def _signature(value: dict[str, Any]) -> Iterator[tuple[str, str]]:
    key = value["issued"]["publicKey"]
    require_signed("$.signature", key, value["signature"], signed_bytes(value))
    yield "$.signature", "the key in the file signed it"


def _totals(value: dict[str, Any]) -> Iterator[tuple[str, str]]:
    uses = [use for data in value["datasets"] for use in data["uses"]]
    require("$.totals.uses", value["totals"]["uses"], len(uses))
    require("$.totals.jobs", value["totals"]["jobs"], len({use["job"] for use in uses}))
    jobs = {use["job"] for use in uses}
    for number, receipt in enumerate(value["stops"]):
        if receipt["job"] not in jobs:
            where = f"$.stops[{number}].job"
            raise VerificationFailed(where, receipt["job"], "a job of the statement")
    yield "$.totals", "are the sums of what is listed"


def _issued(value: dict[str, Any], network: "Network") -> Iterator[tuple[str, str]]:
    issued = value["issued"]
    require("$.owner.member", value["owner"]["member"], network.sites.member_of(issued["by"]))
    require_audit_key(issued, network, value["month"]["lastBlock"])
    yield "$.issued", "an audit key of a site of the owner signed it"


def require_audit_key(issued: Mapping[str, Any], network: "Network", block: int) -> None:
    """The site had the key, and it had not ended when what was signed could first be known, in
    `block`. Raises VerificationFailed.
    """
    for key in network.sites.keys(issued["by"]):
        if key.id == issued["keyId"] and key.purpose == AUDIT:
            require("$.issued.publicKey", issued["publicKey"], key.public_key)
            has_ended = 0 < key.until_block <= block
            if network.sites.proves(issued["by"], key) and not has_ended:
                return
    raise VerificationFailed(
        "$.issued.keyId", issued["keyId"], f"an audit key of the site after block {block}"
    )


def _stops(value: dict[str, Any], network: "Network") -> Iterator[tuple[str, str]]:
    """Each by a request key that a party of the job held when the job began, or since then."""
    for number, receipt in enumerate(value["stops"]):
        where = f"$.stops[{number}]"
        job, site, id = receipt["job"], receipt["site"], receipt["keyId"]
        if site not in [party.site for party in network.jobs.parties(job)]:
            raise VerificationFailed(f"{where}.site", site, "a party of the job")
        key = signing_key(network, site, network.jobs.job(job).started_at, id)
        if key is None:
            raise VerificationFailed(f"{where}.keyId", id, "a request key of the site")
        signature = receipt["signature"]
        require_signed(f"{where}.signature", key.public_key, signature, signed_bytes(receipt))
    yield "$.stops", f"{len(value['stops'])} receipts of stops are signed by their sites"


def _as_the_chain(value: dict[str, Any], network: "Network") -> Iterator[tuple[str, str]]:
    """The month of a statement that was not over is compared up to the block that it names."""
    month = value["month"]
    newest = network.client.head().number
    block = newest if month["over"] else month["lastBlock"]
    if type(block) is not int or not 0 <= block <= newest:
        raise VerificationFailed("$.month.lastBlock", block, f"a block up to {newest}")
    ledger = told_by(network, block)
    found = stated(
        network, Agreed(lambda: network), ledger, value["owner"]["member"], month["name"]
    )
    for name in FROM_CHAIN:
        require_same(f"$.{name}", value[name], found[name])
        yield f"$.{name}", "is what the chain tells"


def told_by(network: "Network", block: int) -> Ledger:
    """The ledger up to a block, from the events themselves."""
    ledger = Ledger(block, network.client.block(block).timestamp)
    addresses = [
        contract.address
        for contract in (
            network.sites,
            network.datasets,
            network.consents,
            network.jobs,
            network.models,
        )
    ]
    for event in History(network.client, addresses).read(0, block):
        fact = Fact(event.block_number, event.tx_hash)
        ledger.learn(event.contract, event.name, event.args, fact)
    return ledger
