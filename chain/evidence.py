"""Whether a job certificate holds: `verify_certificate(bytes, network)`.

The format stands in `chain.certificate`. Nothing is believed that can be asked of the chain, and no
node is asked. What is checked, in this order:

    format          the file is exactly the canonical bytes and a newline, and has every field
    sections        each section has the digest that was signed
    signatures      by request keys that their sites held on chain when the job ended, or since then
    network         the chain, the consortium and the registry are those that the verifier asks
    job             the chain's facts of the job; it succeeded
    parties         members, keys, approvals, dataset commitments; grants at the block of the start,
                    and that the start consumed a use of each
    algorithm       the consortium allowed the code in that block
    specification   has the digest on chain and says what the chain says
    result          the digest is that of the parts and metrics, and each party attested it
    model           is registered for this job
    logs            each entry stands in its site's log under a head that the site anchored
    steps           each output is told by an entry of its site's log
    messages        both ends of every message tell the same

That a head continues the one before is the contract's rule. Not covered: whether the logs tell more
of the job than the certificate shows, and the wall-clock times, which are the issuer's word.

Hostile bytes make failed checks, never an exception: each check says `where` (a JSON path) and why.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from chain import canonical, merkle
from chain.certificate import (
    ATTESTED,
    FINISHED,
    MAX_BYTES,
    SECTIONS,
    Certificate,
    Signer,
    job_section,
    messages_section,
    model_digest,
    model_section,
    network_section,
    parties_section,
    result_digest,
    seal,
    section_digests,
    signed_bytes,
    signing_key,
)
from chain.errors import ChainError, ChainUnavailable, VerificationFailed
from chain.jobs import Job, JobState

if TYPE_CHECKING:
    from chain.network import Network

__all__ = ["Check", "Report", "Signer", "seal", "verify_certificate"]

MAX_DEPTH = 40
"""Levels of objects and lists; the format needs ten, specifications and entries have their own."""

_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[\]{}]')


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. `where` is a JSON path into the certificate."""

    name: str
    where: str
    ok: bool
    detail: str


@dataclass(frozen=True)
class Report:
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether every check was made and held."""
        return bool(self.checks) and all(check.ok for check in self.checks)

    @property
    def failures(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if not check.ok)

    def to_json(self) -> dict[str, Any]:
        return {"ok": self.ok, "checks": [asdict(check) for check in self.checks]}


def verify_certificate(certificate_bytes: bytes, network: "Network") -> Report:
    """Holds the certificate against the chain of `network`.

    Raises nothing that its input can cause.
    """
    try:
        value, certificate = _parse(certificate_bytes)
    except VerificationFailed as failure:
        return Report((_failed("format", failure),))
    checks = [Check("format", "$", True, "canonical JSON with every field of a certificate")]
    verifier = _Verifier(network, value, certificate)
    for name, look in verifier.looks.items():
        checks.extend(_looked(name, look))
    return Report(tuple(checks))


def _looked(name: str, look: "Look") -> Iterator[Check]:
    """The checks of one subject; where it breaks off, a failed one that says why."""
    where = "$" if name in ("signatures", "algorithm") else f"$.{name}"
    try:
        for at, detail in look():
            yield Check(name, at, True, detail)
    except VerificationFailed as failure:
        yield _failed(name, failure)
    except ChainUnavailable as error:
        yield Check(name, where, False, f"cannot be checked: {error}")
    except ChainError as error:
        yield Check(name, where, False, f"the chain says otherwise: {error}")
    except Exception as error:
        # Fail closed: a shape of hostile input that nobody thought of is a failure, not a crash.
        yield Check(name, where, False, f"cannot be checked: {type(error).__name__}")


def _failed(name: str, failure: VerificationFailed) -> Check:
    found, expected = _short(failure.found), _short(failure.expected)
    return Check(name, failure.where, False, f"found {found}, expected {expected}")


Look = Callable[[], Iterator[tuple[str, str]]]
"""Yields (where, what holds) for each thing that holds; raises VerificationFailed for the first
that does not.
"""


def _parse(data: bytes) -> tuple[dict[str, Any], Certificate]:
    if len(data) > MAX_BYTES:
        raise VerificationFailed("$", f"{len(data)} bytes", f"at most {MAX_BYTES}")
    if not data.endswith(b"\n"):
        raise VerificationFailed("$", "no newline at the end", "canonical JSON and a newline")
    if _is_deep(data):
        raise VerificationFailed("$", "deeper nesting", f"at most {MAX_DEPTH} levels")
    try:
        value = canonical.loads(data[:-1])
        return value, Certificate.model_validate(value)
    except canonical.NotCanonical as error:
        raise VerificationFailed("$", str(error), "canonical JSON and a newline") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise VerificationFailed(_path(first["loc"]), first["msg"], "a certificate") from error


def _is_deep(data: bytes) -> bool:
    """Looked at before parsing: parsers that recurse can be made to overflow their stack."""
    depth = 0
    for token in _BRACKETS.finditer(data):
        if token[0] in (b"[", b"{"):
            depth += 1
        elif token[0] in (b"]", b"}"):
            depth -= 1
        if depth > MAX_DEPTH:
            return True
    return False


class _Verifier:
    """One certificate against one network."""

    def __init__(self, network: "Network", value: dict[str, Any], certificate: Certificate) -> None:
        self.network = network
        self.value = value
        self.certificate = certificate
        self.job = certificate.job.id
        self.looks: Mapping[str, Look] = {
            "sections": self.sections,
            "signatures": self.signatures,
            "network": self.same_network,
            "job": self.same_job,
            "parties": self.same_parties,
            "algorithm": self.allowed_algorithm,
            "specification": self.agreed_specification,
            "result": self.attested_result,
            "model": self.registered_model,
            "logs": self.anchored_logs,
            "steps": self.logged_steps,
            "messages": self.reconciled_messages,
        }

    @cached_property
    def on_chain(self) -> Job:
        return self.network.jobs.job(self.job)

    @cached_property
    def sites(self) -> list[str]:
        """The parties' sites, by the chain."""
        return [party.site for party in self.network.jobs.parties(self.job)]

    # ── the certificate itself

    def sections(self) -> Iterator[tuple[str, str]]:
        digests = section_digests(self.value)
        for name in SECTIONS:
            _require(f"$.{name}", digests[name], self.value["sections"][name])
            yield f"$.{name}", "has the digest that was signed"

    def signatures(self) -> Iterator[tuple[str, str]]:
        issued = self.certificate.issued
        signed_by = [(s.site, s.key_id) for s in self.certificate.signatures]
        if (issued.by, issued.key_id) not in signed_by:
            raise VerificationFailed("$.signatures", "none by the issuer", f"one by {issued.by}")
        if len(set(signed_by)) != len(signed_by):
            raise VerificationFailed("$.signatures", "a signature twice", "each key once")
        payload = signed_bytes(self.value["sections"])
        for number, part in enumerate(self.certificate.signatures):
            where = f"$.signatures[{number}]"
            _require_in(f"{where}.site", part.site, self.sites, "a party of the job")
            key = signing_key(self.network, part.site, self.on_chain.ended_at, part.key_id)
            if key is None:
                raise VerificationFailed(
                    f"{where}.keyId",
                    part.key_id,
                    "a request key that the site held at the end or since",
                )
            _require_signed(f"{where}.signature", key.public_key, part.signature, payload)
            yield where, f"site {part.site} signed the sections"

    # ── what the chain says

    def same_network(self) -> Iterator[tuple[str, str]]:
        _require_same("$.network", self.value["network"], network_section(self.network))
        yield "$.network", "the certificate speaks of this consortium"

    def same_job(self) -> Iterator[tuple[str, str]]:
        _require_same("$.job", self.value["job"], job_section(self.network, self.job))
        _require("$.job", self.network.jobs.state(self.job), JobState.SUCCEEDED)
        yield "$.job", "the chain tells the same of the job, and that it succeeded"

    def same_parties(self) -> Iterator[tuple[str, str]]:
        start = self.on_chain.started_at
        claimed = {party.site: party.request_key.id for party in self.certificate.parties}
        expected = parties_section(self.network, self.job, claimed)
        _require_same("$.parties", self.value["parties"], expected)
        consumed = {
            event.args["id"]
            for event in self.network.client.logs(start, start, [self.network.consents.address])
            if event.name == "ConsentUsed" and event.args["job"] == self.job
        }
        for number, party in enumerate(self.certificate.parties):
            where = f"$.parties[{number}]"
            self._member_stood(f"{where}.member", party.member, start)
            for position, dataset in enumerate(party.datasets):
                at = f"{where}.datasets[{position}]"
                self._version_stood(at, dataset.dataset, dataset.version, start)
                if dataset.grant is not None:
                    _require(f"{at}.grant.state", dataset.grant.state, "ACTIVE")
                    _require_in(f"{at}.grant.id", dataset.grant.id, consumed, "used by the start")
            yield where, f"{party.member_name} ({party.role}) took part with what it had agreed to"

    def _member_stood(self, where: str, member: str, start: int) -> None:
        # A suspension in the very block of the start came after it.
        standings = [self.network.membership.standing_at(member, at) for at in (start - 1, start)]
        if "ACTIVE" not in standings:
            raise VerificationFailed(where, standings[-1], "an active member at the start")

    def _version_stood(self, where: str, dataset: str, version: int, start: int) -> None:
        found = self.network.datasets.version(dataset, version)
        if found.from_block > start or 0 < found.until_block < start:
            raise VerificationFailed(
                f"{where}.version", f"stood {found.from_block}-{found.until_block}", f"at {start}"
            )

    def allowed_algorithm(self) -> Iterator[tuple[str, str]]:
        code, start = self.certificate.job.algorithm, self.on_chain.started_at
        found = self.network.consortium.algorithm(code)
        stood = 0 < found.from_block <= start and not 0 < found.until_block < start
        if not stood and not self._allowed_by_events(code, start):
            raise VerificationFailed("$.job.algorithm", code, f"code allowed in block {start}")
        yield "$.job.algorithm", f"the consortium allowed {found.name} when the job started"

    def _allowed_by_events(self, code: str, start: int) -> bool:
        """The registry keeps the last time it was allowed; its events keep all of them."""
        history = self.network.client.logs(0, start, [self.network.consortium.address])
        told = [
            event.name
            for event in history
            if event.name in ("AlgorithmAllowed", "AlgorithmForbidden")
            and event.args["codeDigest"] == code
        ]
        return told[-1:] == ["AlgorithmAllowed"]

    def agreed_specification(self) -> Iterator[tuple[str, str]]:
        document = self.value["specification"]
        digest = canonical.digest_of(document)
        _require("$.specification", digest, self.on_chain.specification)
        yield "$.specification", "has the digest that the parties approved"
        job, uses = self.on_chain, self.network.jobs.uses(self.job)
        expected = {
            "codeDigest": job.algorithm,
            "purpose": job.purpose,
            "deadline": job.deadline,
            "parties": [
                {
                    "site": party.site,
                    "role": party.role,
                    "inputs": [
                        {"dataset": use.dataset_id, "version": use.version, "grant": use.grant}
                        for use in uses
                        if use.party == number
                    ],
                }
                for number, party in enumerate(self.network.jobs.parties(self.job))
            ],
        }
        found = {name: document.get(name) for name in expected}
        _require_same("$.specification", found, expected)
        yield "$.specification", "names the parties, data, grants and code that the chain names"

    # ── result and model

    def attested_result(self) -> Iterator[tuple[str, str]]:
        result = self.certificate.result
        digest = result_digest(self.job, self.value["result"])
        _require("$.result.digest", result.digest, digest)
        _require("$.result.parts", [part.site for part in result.parts], sorted(self.sites))
        yield "$.result.digest", "is the digest of the parts and the metrics"
        for site in self.sites:
            said = self.network.jobs.attestation(self.job, site)
            _require("$.result.digest", result.digest, said.result if said else "no attestation")
            self._entry_of(site, ATTESTED, "$.result.digest", result=digest, attempt=result.attempt)
            yield "$.result.digest", f"site {site} attested it on chain and in its log"

    def registered_model(self) -> Iterator[tuple[str, str]]:
        model = self.certificate.model
        if model is None:
            _require("$.model", self.value["specification"].get("kind"), "predict")
            yield "$.model", "a prediction makes no model"
            return
        _require_same("$.model", self.value["model"], model_section(self.network, model.id))
        _require("$.model.id", self.network.models.model(model.id).job, self.job)
        stated = model_digest(self.job, self.value["result"]["parts"])
        _require("$.model.digest", model.digest, stated)
        yield "$.model", "is registered on chain as made by this job, of the parts of its result"

    # ── the parties' logs

    def anchored_logs(self) -> Iterator[tuple[str, str]]:
        _require("$.logs", sorted(log.site for log in self.certificate.logs), sorted(self.sites))
        for number, log in enumerate(self.certificate.logs):
            where = f"$.logs[{number}]"
            self._anchored(f"{where}.anchored", number)
            for position in range(len(log.entries)):
                self._included(f"{where}.entries[{position}]", number, position)
            indices = [entry.index for entry in log.entries]
            if indices != sorted(set(indices)):
                raise VerificationFailed(f"{where}.entries", "out of order", "the log's order")
            yield where, f"{len(indices)} entries of site {log.site} stand under its anchored head"

    def _anchored(self, where: str, number: int) -> None:
        log = self.certificate.logs[number]
        head = self.network.anchors.head_at(log.site, log.anchored.size)
        _require(f"{where}.root", log.anchored.root, head.root)
        _require(f"{where}.block", log.anchored.block, head.at_block)
        told = self.network.client.logs(
            head.at_block, head.at_block, [self.network.anchors.address]
        )
        transactions = [
            event.tx_hash
            for event in told
            if event.name == "Anchored"
            and (event.args["site"], event.args["size"]) == (log.site, head.size)
        ]
        _require_in(f"{where}.txHash", log.anchored.tx_hash, transactions, "what anchored it")

    def _included(self, where: str, number: int, position: int) -> None:
        log = self.certificate.logs[number]
        part = log.entries[position]
        leaf = merkle.leaf_hash(canonical.dumps(part.entry))
        _require(f"{where}.leafHash", part.leaf_hash, _hex(leaf))
        merkle.require_inclusion(
            _raw(log.anchored.root),
            log.anchored.size,
            part.index,
            leaf,
            [_raw(sibling) for sibling in part.proof],
            f"{where}.proof",
        )
        _require(f"{where}.entry.source", part.entry.get("source"), log.site)
        data = part.entry.get("data")
        named = data.get("job") if isinstance(data, dict) else None
        if self.job not in (part.entry.get("subject"), named):
            raise VerificationFailed(f"{where}.entry", "of something else", f"of job {self.job}")

    def logged_steps(self) -> Iterator[tuple[str, str]]:
        for number, step in enumerate(self.certificate.steps):
            where = f"$.steps[{number}]"
            _require(f"{where}.outputs", sorted(step.outputs), sorted(self.sites))
            for site, digest in step.outputs.items():
                at = f"{where}.outputs[{site}]"
                told = {"step": step.step, "attempt": step.attempt, "output": digest}
                self._entry_of(site, FINISHED, at, **told)
            yield where, f"all parties' logs tell of the outputs of {step.step}"

    def reconciled_messages(self) -> Iterator[tuple[str, str]]:
        expected = messages_section(self.job, self.value["logs"])
        _require_same("$.messages", self.value["messages"], expected)
        if len(self.sites) > 1 and not expected["count"]:
            raise VerificationFailed("$.logs", "no message", "what the parties told each other")
        yield "$.messages", f"{expected['count']} messages are told alike by both their ends"

    def _entry_of(self, site: str, kind: str, where: str, **told: Any) -> None:
        """Some entry of that kind in the site's log tells exactly this."""
        for log in self.certificate.logs:
            for part in log.entries if log.site == site else ():
                data = part.entry.get("data")
                if part.entry.get("type") != kind or not isinstance(data, dict):
                    continue
                if all(data.get(name) == value for name, value in told.items()):
                    return
        raise VerificationFailed(where, f"no {kind} entry that tells it", f"one of site {site}")


def _require(where: str, found: Any, expected: Any) -> None:
    if type(found) is not type(expected) or found != expected:
        raise VerificationFailed(where, found, expected)


def _require_in(where: str, found: Any, allowed: Any, what: str) -> None:
    if found not in allowed:
        raise VerificationFailed(where, found, what)


def _require_same(where: str, found: Any, expected: Any) -> None:
    """Equal as JSON; else fails at the first place that differs."""
    if isinstance(found, dict) and isinstance(expected, dict):
        for name in expected:
            if name not in found:
                raise VerificationFailed(f"{where}.{name}", "nothing", expected[name])
            _require_same(f"{where}.{name}", found[name], expected[name])
        _require(where, sorted(found), sorted(expected))
    elif isinstance(found, list) and isinstance(expected, list):
        for number, (one, other) in enumerate(zip(found, expected, strict=False)):
            _require_same(f"{where}[{number}]", one, other)
        _require(where, len(found), len(expected))
    else:
        _require(where, found, expected)


def _require_signed(where: str, public_key: str, signature: str, payload: bytes) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        raw = base64.b64decode(signature, validate=True)
        # The last character has spare bits: only one spelling of a signature is accepted.
        _require(where, signature, base64.b64encode(raw).decode("ascii"))
        Ed25519PublicKey.from_public_bytes(_raw(public_key)).verify(raw, payload)
    except (InvalidSignature, binascii.Error, ValueError) as error:
        raise VerificationFailed(where, "another signature", "one of the sections") from error


def _path(location: tuple[int | str, ...]) -> str:
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    return "$" + "".join(steps)


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 200 else f"{text[:200]}…"


def _raw(value: str) -> bytes:
    return bytes.fromhex(value[2:])


def _hex(value: bytes) -> str:
    return "0x" + value.hex()
