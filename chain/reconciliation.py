"""Double entry: the logs of all parties of a job held against each other, line by line.

A line is one message between two parties. Its sender enters it as ``message.sent``, with the
receipt that the receiver signed, its receiver as ``message.received``, both with one digest. Three
kinds of message carry nothing but what a party did, and are called declarations:

    job.Approval    {declares: "approval", job, site, specification, block}
    job.GrantUse    {declares: "grantUse", job, site, dataset, version, grant, block}: one for each
                    grant, by the site whose data it is, in the order of the chain
    job.Result      {declares: "result", job, site, attempt, result}

Their bodies are the canonical JSON of what the chain says, so everybody knows their digests: each
party sends its own to every other one, and a line that both ends left out is missed, too.

`reconcile` says of every line that is missing, or tells something else, in whose log:

    unreadable      an entry that is no message of this job and site, or shows less than one
    different       an entry that tells something else than the other end, or than the chain
    unacknowledged  an entry that something was sent, without the receipt of who received it
    missing         no entry, though the other end or the chain tells of it
    unsent          an entry that something was received, which its sender does not tell of: the
                    sender left it out or the receiver made it up, nothing shows which. Both are
                    named
    undeclared      a declaration of what the chain knows nothing of

Where two ends differ the receipt decides: who signed that it received something received it. Of
what only the receiver tells, nothing decides, unless the chain says that it had to be sent. A
message between two parties that both left out is found only if it is a declaration.

`node/ui/verifier/source/reconciliation.js` does the same in a browser, as far as the first
difference.
"""

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from chain import canonical
from chain.certificate import Hash, Number, Text
from chain.entries import open_entry
from chain.errors import VerificationFailed
from chain.sites import REQUEST

if TYPE_CHECKING:
    from chain.network import Network

SENT = "fatechain.message.sent.v1"
RECEIVED = "fatechain.message.received.v1"

APPROVAL, GRANT_USE, RESULT = "job.Approval", "job.GrantUse", "job.Result"
DECLARATIONS: Mapping[str, str] = {
    APPROVAL: "approval",
    GRANT_USE: "grantUse",
    RESULT: "result",
}
"""Kind of message → what it declares."""

Address = tuple[str, int, str, str, str, int]
"""(step, attempt, sender, receiver, kind, n)"""

Keys = Mapping[tuple[str, str], str]
"""(site, id) → the public key (0x-hex) with which the site signed receipts of the job."""


# ── What the parties declare


@dataclass(frozen=True)
class Declaration:
    """What a party says to all others that it did: the `n`-th of its kind."""

    site: str
    kind: str
    n: int
    body: Mapping[str, Any]

    @property
    def content(self) -> bytes:
        """The body of the message."""
        return canonical.dumps(dict(self.body))

    @property
    def digest(self) -> str:
        return canonical.digest(self.content)


def approval(job: str, site: str, specification: str, block: int) -> Declaration:
    """`block` is that of the site's approval."""
    stated = {"site": site, "specification": specification, "block": block}
    return Declaration(site, APPROVAL, 0, {"declares": "approval", "job": job, **stated})


def grant_use(
    job: str, site: str, n: int, dataset: str, version: int, grant: str, block: int
) -> Declaration:
    """`block` is that of the job's start, which used the grant."""
    stated = {"site": site, "dataset": dataset, "version": version, "grant": grant, "block": block}
    return Declaration(site, GRANT_USE, n, {"declares": "grantUse", "job": job, **stated})


def result(job: str, site: str, attempt: int, digest: str) -> Declaration:
    stated = {"site": site, "attempt": attempt, "result": digest}
    return Declaration(site, RESULT, 0, {"declares": "result", "job": job, **stated})


def declared_at_start(network: "Network", job: str) -> list[Declaration]:
    """All approvals and grant uses of a job that started, as the chain has them."""
    found, uses = network.jobs.job(job), network.jobs.uses(job)
    declared = []
    for number, party in enumerate(network.jobs.parties(job)):
        block = network.jobs.approved_at(job, party.site)
        declared.append(approval(job, party.site, found.specification, block))
        granted = [use for use in uses if use.party == number and use.grant is not None]
        for n, use in enumerate(granted):
            assert use.grant is not None
            declared.append(
                grant_use(
                    job,
                    party.site,
                    n,
                    use.dataset_id,
                    use.version,
                    use.grant,
                    found.started_at,
                )
            )
    return declared


def declared_in(certificate: Mapping[str, Any]) -> list[Declaration]:
    """What the sections of a certificate say that its parties declared: of the file as JSON."""
    job, stated = certificate["job"], certificate["result"]
    declared = []
    for party in certificate["parties"]:
        site = party["site"]
        declared.append(approval(job["id"], site, job["specification"], party["approvedAt"]))
        granted = [used for used in party["datasets"] if used["grant"] is not None]
        for n, used in enumerate(granted):
            grant, start = used["grant"]["id"], job["startedAt"]
            dataset, version = used["dataset"], used["version"]
            declared.append(grant_use(job["id"], site, n, dataset, version, grant, start))
        declared.append(result(job["id"], site, stated["attempt"], stated["digest"]))
    return declared


# ── Lines


class Line(BaseModel):
    """What both entries of a message tell; what else they hold is their site's affair."""

    model_config = ConfigDict(
        strict=True, extra="ignore", alias_generator=to_camel, validate_by_alias=True
    )

    job: Hash
    step: Text
    attempt: Number
    sender: Hash
    receiver: Hash
    message_kind: Text
    n: Number
    digest: Hash
    size: Number

    @property
    def address(self) -> Address:
        return (self.step, self.attempt, self.sender, self.receiver, self.message_kind, self.n)

    @property
    def line(self) -> str:
        """message, approval, grantUse or result."""
        return DECLARATIONS.get(self.message_kind, "message")

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(by_alias=True, exclude={"job"})


@dataclass(frozen=True)
class _Entered:
    """A line in one log: where it stands in the file, and the receipt where it was sent."""

    line: Line
    where: str
    receipt: Any = None


@dataclass(frozen=True)
class Difference:
    """What does not agree, and in the log of which site. `where` is a JSON path into the logs.

    `also` is the other site where one of two logs is wrong and nothing shows which.
    """

    site: str
    what: str
    line: str
    address: Address | None
    where: str
    found: str
    expected: str
    also: str | None = None

    @property
    def sites(self) -> tuple[str, ...]:
        """Whose logs may be wrong: one of them is."""
        return (self.site,) if self.also is None else (self.site, self.also)

    @property
    def logs(self) -> str:
        """Whose logs these are, in words."""
        if self.also is None:
            return f"the log of site {self.site}"
        return f"the logs of sites {self.site} and {self.also}, one of which is wrong"

    @property
    def detail(self) -> str:
        """The site, the line and what is wrong with it, in words."""
        return f"{self.logs}, {self.where}: {self.found}, expected {self.expected}"

    def failure(self) -> VerificationFailed:
        return VerificationFailed(self.where, f"in {self.logs}: {self.found}", self.expected)

    def to_json(self) -> dict[str, Any]:
        return {
            "site": self.site,
            "also": self.also,
            "what": self.what,
            "line": self.line,
            "address": None if self.address is None else list(self.address),
            "where": self.where,
            "detail": self.detail[:500],
        }


@dataclass(frozen=True)
class Reconciliation:
    """The verdict: what all logs tell alike, in the order of the addresses, and what not.

    `open` counts messages of a job that was broken off whose sender had no receipt yet.
    """

    lines: tuple[Line, ...]
    differences: tuple[Difference, ...]
    open: int = 0

    @property
    def agrees(self) -> bool:
        return not self.differences

    def count(self, line: str) -> int:
        return sum(told.line == line for told in self.lines)

    def to_json(self) -> dict[str, Any]:
        """How many lines of each kind agree, and the SHA-256 of the canonical list of them all."""
        return {
            "agrees": self.agrees,
            "messages": self.count("message"),
            "approvals": self.count("approval"),
            "grantUses": self.count("grantUse"),
            "results": self.count("result"),
            "bytes": sum(told.size for told in self.lines),
            "digest": canonical.digest_of([told.to_json() for told in self.lines]),
        }


def reconcile(
    job: str,
    logs: Sequence[Mapping[str, Any]],
    declared: Sequence[Declaration],
    keys: Keys,
    *,
    attempt: int = 1,
    is_whole: bool = True,
) -> Reconciliation:
    """Hold the parties' logs, as in a certificate, against each other and against the chain.

    An entry that repeats another, as of a message sent again, counts once. `declared` are looked
    for in `attempt`. `is_whole` is false for a job that was broken off: its end may have kept a
    receipt from its sender, and declarations from being sent.
    """
    book = _Book(job)
    sites = [log["site"] for log in logs]
    for number, log in enumerate(logs):
        book.read(number, log, keys, sites)
    book.hold_sent(keys)
    book.hold_received(is_whole, declared, attempt)
    if is_whole:
        book.hold_declared(declared, attempt, sites)
    told = sorted(book.agreed.values(), key=lambda line: line.address)
    return Reconciliation(tuple(told), tuple(book.differences), book.open)


@dataclass
class _Book:
    """Both ends of all lines, and what was found so far."""

    job: str
    sent: dict[Address, _Entered] = field(default_factory=dict)
    received: dict[Address, _Entered] = field(default_factory=dict)
    agreed: dict[Address, Line] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    open: int = 0

    def read(self, number: int, log: Mapping[str, Any], keys: Keys, sites: Sequence[str]) -> None:
        for position, part in enumerate(log["entries"]):
            kind = part["entry"].get("type")
            if kind not in (SENT, RECEIVED):
                continue
            where = f"$.logs[{number}].entries[{position}]"
            try:
                entered = _entered(part, kind, log["site"], self.job, where)
                _require_known(entered, kind, sites)
            except VerificationFailed as failure:
                self._differs(log["site"], "unreadable", None, failure)
                continue
            known = self.sent if kind == SENT else self.received
            first = known.setdefault(entered.line.address, entered)
            if (unlike := _unlike(entered, first.line)) is not None:
                self._differs(log["site"], "different", entered.line, unlike)
            elif kind == SENT and entered.receipt != first.receipt:
                # The first is looked at with the other end; what repeats it says no less.
                self._require_receipt(entered, keys)

    def hold_sent(self, keys: Keys) -> None:
        for address, entered in self.sent.items():
            line, other = entered.line, self.received.get(address)
            if not self._require_receipt(entered, keys):
                continue
            if other is None:
                failure = VerificationFailed(
                    entered.where, "no entry that it was received", "one, as it signed for it"
                )
                self._differs(line.receiver, "missing", line, failure)
            elif (unlike := _unlike(other, line)) is not None:
                self._differs(line.receiver, "different", other.line, unlike)
            else:
                self.agreed[address] = line

    def _require_receipt(self, entered: _Entered, keys: Keys) -> bool:
        line = entered.line
        if is_receipt(line, entered.receipt, keys):
            return True
        at = f"{entered.where}.disclosed.receipt"
        failure = VerificationFailed(at, "no receipt that holds", "one by who received it")
        self._differs(line.sender, "unacknowledged", line, failure)
        return False

    def hold_received(self, is_whole: bool, declared: Sequence[Declaration], attempt: int) -> None:
        owed = {(said.site, said.kind, said.n, attempt) for said in declared}
        for address, entered in self.received.items():
            if address in self.sent:
                continue
            if not is_whole:
                self.open += 1
                continue
            line = entered.line
            if (line.sender, line.message_kind, line.n, line.attempt) in owed:
                failure = VerificationFailed(
                    entered.where, "no entry that it was sent", "one at each end"
                )
                self._differs(line.sender, "missing", line, failure)
            else:
                # Anybody can enter that it received something, or leave out what it sent.
                found = (
                    f"site {line.receiver} entered that it was received, site {line.sender} did not"
                    " that it was sent: one of the two left it out or made it up"
                )
                failure = VerificationFailed(entered.where, found, "one at each end")
                self._differs(line.receiver, "unsent", line, failure, also=line.sender)

    def hold_declared(
        self, declared: Sequence[Declaration], attempt: int, sites: Sequence[str]
    ) -> None:
        found, half = (
            {
                (told.sender, told.receiver, told.message_kind, told.n): entered
                for entered in entries.values()
                if (told := entered.line).line != "message" and told.attempt == attempt
            }
            for entries in (self.sent, self.received)
        )
        for said in declared:
            for receiver in (site for site in sites if site != said.site):
                key = (said.site, receiver, said.kind, said.n)
                entered = found.pop(key, None)
                # What the receiver alone entered is a difference already.
                if entered is not None or key not in half:
                    self._hold_to(said, receiver, entered, sites)
        for entered in found.values():
            failure = VerificationFailed(
                entered.where, "a declaration of what did not happen", "what the chain says"
            )
            self._differs(entered.line.sender, "undeclared", entered.line, failure)

    def _hold_to(
        self, said: Declaration, receiver: str, entered: _Entered | None, sites: Sequence[str]
    ) -> None:
        line = DECLARATIONS[said.kind]
        if entered is None:
            where = f"$.logs[{sites.index(said.site)}]" if said.site in sites else "$.logs"
            found = f"no {line} {said.n} for site {receiver}"
            address = ("", 0, said.site, receiver, said.kind, said.n)
            self.differences.append(
                Difference(said.site, "missing", line, address, where, found, said.digest)
            )
        elif entered.line.digest != said.digest:
            at = f"{entered.where}.disclosed.digest"
            failure = VerificationFailed(at, entered.line.digest, said.digest)
            self._differs(said.site, "different", entered.line, failure)

    def _differs(
        self,
        site: str,
        what: str,
        line: Line | None,
        failure: VerificationFailed,
        also: str | None = None,
    ) -> None:
        kind, address = ("message", None) if line is None else (line.line, line.address)
        found, expected = str(failure.found), str(failure.expected)
        told = Difference(site, what, kind, address, failure.where, found, expected, also)
        self.differences.append(told)


def is_line(told: Mapping[str, Any]) -> bool:
    """Whether the fields that an entry discloses are those of a message, each of its kind."""
    try:
        Line.model_validate(dict(told))
    except ValueError:
        return False
    return True


def _entered(part: Mapping[str, Any], kind: str, site: str, job: str, where: str) -> _Entered:
    told = open_entry(part, where)
    at = f"{where}.disclosed"
    try:
        line = Line.model_validate(told)
    except ValueError as error:
        raise VerificationFailed(at, "not a message's data", "its fields") from error
    if line.job != job:
        raise VerificationFailed(f"{at}.job", line.job, job)
    end, name = (line.sender, "sender") if kind == SENT else (line.receiver, "receiver")
    if end != site:
        raise VerificationFailed(f"{at}.{name}", end, f"the site of the log, {site}")
    return _Entered(line, where, told.get("receipt"))


def _require_known(entered: _Entered, kind: str, sites: Sequence[str]) -> None:
    sender = entered.line.sender
    if kind == RECEIVED and sender not in sites:
        at = f"{entered.where}.disclosed.sender"
        raise VerificationFailed(at, sender, "a party of the job")


def _unlike(entered: _Entered, other: Line) -> VerificationFailed | None:
    for name in ("digest", "size"):
        found, expected = getattr(entered.line, name), getattr(other, name)
        if found != expected:
            return VerificationFailed(f"{entered.where}.disclosed.{name}", found, expected)
    return None


# ── Receipts


def receipt_body(
    address: Mapping[str, Any], digest: str, size: int, received_at: str, key_id: str
) -> dict[str, Any]:
    """What a receiver signs; `address` is {job, step, attempt, sender, receiver, kind, n}."""
    return {
        "type": "receipt",
        "address": dict(address),
        "digest": digest,
        "size": size,
        "receiver": address["receiver"],
        "receivedAt": received_at,
        "keyId": key_id,
    }


def is_receipt(line: Line, receipt: Any, keys: Keys) -> bool:
    """Whether the line's receiver signed that it received exactly this.

    `receipt` is {receivedAt, keyId, signature}, as the sender's entry has it.
    """
    if not isinstance(receipt, dict) or receipt.keys() != {"receivedAt", "keyId", "signature"}:
        return False
    if not all(isinstance(value, str) for value in receipt.values()):
        return False
    public_key = keys.get((line.receiver, receipt["keyId"]))
    if public_key is None:
        return False
    told = line.model_dump(by_alias=True)
    names = ("job", "step", "attempt", "sender", "receiver", "n")
    address = {name: told[name] for name in names} | {"kind": line.message_kind}
    when, key_id = receipt["receivedAt"], receipt["keyId"]
    try:
        body = canonical.dumps(receipt_body(address, line.digest, line.size, when, key_id))
    except canonical.NotCanonical:
        return False
    return _is_signed(public_key, receipt["signature"], body)


def _is_signed(public_key: str, signature: str, body: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        raw = base64.b64decode(signature, validate=True)
        if base64.b64encode(raw).decode("ascii") != signature:
            return False  # the last character has spare bits: one spelling is accepted
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key[2:])).verify(raw, body)
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def keys_named(logs: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """(site, key id) of all receipts that the logs show, sorted; of what is no receipt none."""
    return sorted(set(_keys_named(logs)))


def _keys_named(logs: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    for log in logs:
        for part in log["entries"]:
            if part["entry"].get("type") != SENT:
                continue
            receiver, receipt = (_shown(part, name) for name in ("receiver", "receipt"))
            if isinstance(receiver, str) and isinstance(receipt, dict):
                key_id = receipt.get("keyId")
                if isinstance(key_id, str):
                    yield receiver, key_id


def _shown(part: Mapping[str, Any], name: str) -> Any:
    """A field as it is disclosed; whether it was committed to is looked at where it is used."""
    pair = part["disclosed"].get(name)
    return pair[1] if isinstance(pair, list) and len(pair) == 2 else None


def keys_on_chain(network: "Network", job: str, logs: Sequence[Mapping[str, Any]]) -> Keys:
    """Of the keys that the receipts name, those that were request keys while the job ran."""
    found = network.jobs.job(job)
    held: dict[tuple[str, str], str] = {}
    sites = {party.site for party in network.jobs.parties(job)}
    for site, id in keys_named(logs):
        if site in sites:
            for key in network.sites.keys(site):
                ran = key.from_block <= (found.ended_at or key.from_block)
                ended = 0 < key.until_block <= found.started_at
                of_requests = key.purpose == REQUEST and network.sites.proves(site, key)
                if key.id == id and ran and not ended and of_requests:
                    held[site, id] = key.public_key
    return held


# ── The section of a certificate


def section(
    job: str,
    logs: Sequence[Mapping[str, Any]],
    declared: Sequence[Declaration],
    keys: Keys,
    attempt: int,
) -> dict[str, Any]:
    """What a certificate says of it. Raises VerificationFailed at the first difference."""
    found = reconcile(job, logs, declared, keys, attempt=attempt)
    if not found.agrees:
        raise found.differences[0].failure()
    named = [
        {"site": site, "id": id, "publicKey": keys[site, id]}
        for site, id in keys_named(logs)
        if (site, id) in keys
    ]
    return {**found.to_json(), "keys": named}
