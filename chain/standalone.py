"""What a certificate shows by itself: `verify_alone(bytes)` asks no chain and no node.

It tells whether the file is whole, was signed by the keys that it names, and agrees with itself:
the sections, signatures, specification, result, model, logs, steps and reconciliation of the list
in `chain.evidence`, in that order, with the same `where`. What only the chain can tell is named in
`ASK_THE_CHAIN`: anybody can make keys and a file that agrees with itself, so a certificate that
holds here is worth what the reader knows of its keys, until `verify_certificate` asks the chain.

`node/ui/verifier` makes the same checks in a browser; a test holds the two against each other.
"""

import base64
import binascii
import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from chain import canonical, merkle, state
from chain.certificate import (
    ATTESTED,
    FINISHED,
    MAX_BYTES,
    SECTIONS,
    Certificate,
    LogPart,
    ModelPart,
    SignaturePart,
    model_digest,
    result_digest,
    section_digests,
    signed_bytes,
)
from chain.entries import open_entry
from chain.errors import ChainError, ChainUnavailable, VerificationFailed
from chain.reconciliation import Keys, declared_in
from chain.reconciliation import section as reconciliation_section

NO_MODEL = ("predict", "match", "count")  # kinds of jobs that make none
MAX_DEPTH = 40
"""Levels of objects and lists; the format needs ten, specifications and entries have their own."""

ASK_THE_CHAIN: Mapping[str, str] = {
    "network": "that this consortium and its registry of jobs stand on this chain",
    "job": "that the job is the one on chain, and succeeded",
    "parties": "members in standing, their request keys, approvals, data, and grants in force",
    "algorithm": "that the consortium allowed the code when the job started",
    "result": "that each party attested this result",
    "model": "that the model is registered as made by this job",
    "logs": "that each site anchored the head of its log, and these members cosigned it",
    "reconciliation": "that the keys of the receipts were the sites' while the job ran",
}
"""Subject → what a file cannot show of it."""

ASK_FOR_THE_BLOCK: Mapping[str, str] = {
    "block": "that the block of the header is one of your chain: compare its hash",
    "network": "the number of the chain, and that you trust this consortium",
    "anchoring": "that the transactions named are those that anchored the heads",
}
"""The same of a file that proves by a block's header what the contracts had stored."""


def left_to_ask(value: Mapping[str, Any]) -> Mapping[str, str]:
    """What a certificate that holds leaves to the chain."""
    return ASK_THE_CHAIN if value.get("state") is None else ASK_FOR_THE_BLOCK


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


Look = Callable[[], Iterator[tuple[str, str]]]
"""Yields (where, what holds) for each thing that holds; raises VerificationFailed for the first
that does not.
"""


def verify_alone(certificate_bytes: bytes) -> Report:
    """Holds the certificate against itself. Raises nothing that its input can cause."""
    return report_on(certificate_bytes, Standalone)


def report_on(
    certificate_bytes: bytes, verifier: Callable[[dict[str, Any], Certificate], "Standalone"]
) -> Report:
    """All checks of the verifier that is made of the parsed file, or what is wrong with its form.

    Raises nothing that the bytes can cause.
    """
    try:
        value, certificate = _parse(certificate_bytes)
    except VerificationFailed as failure:
        return Report((_failed("format", failure),))
    checks = [Check("format", "$", True, "canonical JSON with every field of a certificate")]
    for name, look in verifier(value, certificate).looks().items():
        checks.extend(looked(name, look))
    return Report(tuple(checks))


def looked(name: str, look: Look) -> Iterator[Check]:
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


def _parse(data: bytes) -> tuple[dict[str, Any], Certificate]:
    if len(data) > MAX_BYTES:
        raise VerificationFailed("$", f"{len(data)} bytes", f"at most {MAX_BYTES}")
    if not data.endswith(b"\n"):
        raise VerificationFailed("$", "no newline at the end", "canonical JSON and a newline")
    if is_deep(data):
        raise VerificationFailed("$", "deeper nesting", f"at most {MAX_DEPTH} levels")
    try:
        value = canonical.loads(data[:-1])
        return value, Certificate.model_validate(value)
    except canonical.NotCanonical as error:
        raise VerificationFailed("$", str(error), "canonical JSON and a newline") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise VerificationFailed(_path(first["loc"]), first["msg"], "a certificate") from error


def is_deep(data: bytes) -> bool:
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


class Standalone:
    """One certificate against itself.

    What the chain knows better is behind a method of its own, which `chain.evidence` overrides.
    """

    def __init__(self, value: dict[str, Any], certificate: Certificate) -> None:
        self.value = value
        self.certificate = certificate
        self.job = certificate.job.id

    def looks(self) -> Mapping[str, Look]:
        """Subject → its checks, in the order in which they are made."""
        return {
            "sections": self.sections,
            "signatures": self.signatures,
            "specification": self.agreed_specification,
            "result": self.attested_result,
            "model": self.registered_model,
            "logs": self.anchored_logs,
            "steps": self.logged_steps,
            "reconciliation": self.reconciled_logs,
            "state": self.stored_state,
        }

    # ── what the file says, and the chain knows better

    @property
    def sites(self) -> list[str]:
        """The parties' sites."""
        return [party.site for party in self.certificate.parties]

    def public_key(self, part: SignaturePart, where: str) -> str:
        """0x-hex; raises VerificationFailed for a key that is not the site's."""
        for party in self.certificate.parties:
            if (party.site, party.request_key.id) == (part.site, part.key_id):
                return party.request_key.public_key
        raise VerificationFailed(
            f"{where}.keyId",
            part.key_id,
            "the site's request key in the file; whether it held another, the chain tells",
        )

    def receipt_keys(self) -> Keys:
        """The keys of receipts; raises VerificationFailed for one that is not the site's."""
        of_parties = {party.site: party.request_key for party in self.certificate.parties}
        for number, key in enumerate(self.certificate.reconciliation.keys):
            where = f"$.reconciliation.keys[{number}]"
            require_in(f"{where}.site", key.site, of_parties, "a party of the job")
            stated = of_parties[key.site]
            if key.id == stated.id:
                require(f"{where}.publicKey", key.public_key, stated.public_key)
        keys = self.certificate.reconciliation.keys
        return {(key.site, key.id): key.public_key for key in keys}

    def agreement(self) -> tuple[str, dict[str, Any]]:
        """The digest of the specification, and what it must say."""
        job = self.certificate.job
        parties = [
            {
                "site": party.site,
                "role": party.role,
                "inputs": [
                    {
                        "dataset": used.dataset,
                        "version": used.version,
                        "grant": None if used.grant is None else used.grant.id,
                    }
                    for used in party.datasets
                ],
            }
            for party in self.certificate.parties
        ]
        stated = {
            "codeDigest": job.algorithm,
            "purpose": job.purpose,
            "deadline": job.deadline,
            "parties": parties,
        }
        return job.specification, stated

    def attested(self, site: str, digest: str) -> str:
        """Where the site attested the result, in words; its log is looked at afterwards."""
        return "in its log"

    def registered(self, model: ModelPart) -> str:
        """What is known of the model, in words."""
        return "has the digest of the parts of the result"

    def anchored(self, where: str, number: int) -> str:
        """What the head of that log is, in words."""
        stated = self.certificate.logs[number].anchored
        return f"the head that the file names; {len(stated.cosigners)} of {stated.of} cosigned it"

    # ── the certificate itself

    def sections(self) -> Iterator[tuple[str, str]]:
        digests = section_digests(self.value)
        for name in SECTIONS:
            require(f"$.{name}", digests[name], self.value["sections"][name])
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
            require_in(f"{where}.site", part.site, self.sites, "a party of the job")
            key = self.public_key(part, where)
            require_signed(f"{where}.signature", key, part.signature, payload)
            yield where, f"site {part.site} signed the sections"

    def agreed_specification(self) -> Iterator[tuple[str, str]]:
        document = self.value["specification"]
        digest, stated = self.agreement()
        require("$.specification", canonical.digest_of(document), digest)
        yield "$.specification", "has the digest that the parties approved"
        require_same("$.specification", {name: document.get(name) for name in stated}, stated)
        yield "$.specification", "names the parties, data, grants and code of the job"

    # ── result and model

    def attested_result(self) -> Iterator[tuple[str, str]]:
        result = self.certificate.result
        digest = result_digest(self.job, self.value["result"])
        require("$.result.digest", result.digest, digest)
        require("$.result.parts", [part.site for part in result.parts], sorted(self.sites))
        yield "$.result.digest", "is the digest of the parts and the metrics"
        for site in self.sites:
            attested = self.attested(site, digest)
            self._entry_of(site, ATTESTED, "$.result.digest", result=digest, attempt=result.attempt)
            yield "$.result.digest", f"site {site} attested it {attested}"

    def registered_model(self) -> Iterator[tuple[str, str]]:
        model = self.certificate.model
        if model is None:
            kind = self.value["specification"].get("kind")
            require_in("$.model", kind, NO_MODEL, ", ".join(NO_MODEL))
            yield "$.model", "a job of this kind makes no model"
            return
        registered = self.registered(model)
        stated = model_digest(self.job, self.value["result"]["parts"])
        require("$.model.digest", model.digest, stated)
        yield "$.model", registered

    # ── the parties' logs

    def anchored_logs(self) -> Iterator[tuple[str, str]]:
        require("$.logs", sorted(log.site for log in self.certificate.logs), sorted(self.sites))
        for number, log in enumerate(self.certificate.logs):
            where = f"$.logs[{number}]"
            members = log.anchored.cosigners
            require(f"{where}.anchored.cosigners", members, sorted(set(members)))
            head = self.anchored(f"{where}.anchored", number)
            require_entries(self.job, log, self.value["logs"][number]["entries"], where)
            yield where, f"{len(log.entries)} entries of site {log.site} stand under {head}"

    def logged_steps(self) -> Iterator[tuple[str, str]]:
        for number, step in enumerate(self.certificate.steps):
            where = f"$.steps[{number}]"
            require(f"{where}.outputs", sorted(step.outputs), sorted(self.sites))
            for site, digest in step.outputs.items():
                at = f"{where}.outputs[{site}]"
                told = {"step": step.step, "attempt": step.attempt, "output": digest}
                self._entry_of(site, FINISHED, at, **told)
            yield where, f"all parties' logs tell of the outputs of {step.step}"

    def reconciled_logs(self) -> Iterator[tuple[str, str]]:
        stated, logs = self.value["reconciliation"], self.value["logs"]
        declared, attempt = declared_in(self.value), self.certificate.result.attempt
        expected = reconciliation_section(self.job, logs, declared, self.receipt_keys(), attempt)
        require_same("$.reconciliation", stated, expected)
        told = ("messages", "approvals", "grantUses", "results")
        counts = ", ".join(f"{expected[name]} {name}" for name in told)
        yield "$.reconciliation", f"{counts} stand alike in both logs, with the receiver's receipt"

    def stored_state(self) -> Iterator[tuple[str, str]]:
        yield from state.proved(self.value)

    @cached_property
    def _told(self) -> Mapping[tuple[str, str], list[dict[str, Any]]]:
        """(site, kind) → what its entries disclose; those that lie are left out here and found
        where the logs are looked at."""
        found: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for number, log in enumerate(self.certificate.logs):
            for position, part in enumerate(log.entries):
                kind = part.entry.get("type")
                if isinstance(kind, str):
                    with contextlib.suppress(VerificationFailed):
                        told = open_entry(self._part(number, position))
                        found.setdefault((log.site, kind), []).append(told)
        return found

    def _part(self, number: int, position: int) -> dict[str, Any]:
        """An entry as it stands in the file."""
        part: dict[str, Any] = self.value["logs"][number]["entries"][position]
        return part

    def _entry_of(self, site: str, kind: str, where: str, **told: Any) -> None:
        """Some entry of that kind in the site's log tells exactly this."""
        for data in self._told.get((site, kind), ()):
            if all(_same(data.get(name), value) for name, value in told.items()):
                return
        raise VerificationFailed(where, f"no {kind} entry that tells it", f"one of site {site}")


def require_entries(
    job: str, log: LogPart, entries: Sequence[Mapping[str, Any]], where: str
) -> None:
    """That the entries are of the job, and stand under the head that the log names, in its order.

    `entries` are those of `log` as they stand in the file. Raises VerificationFailed.
    """
    for position, (part, shown) in enumerate(zip(log.entries, entries, strict=True)):
        at = f"{where}.entries[{position}]"
        told = open_entry(shown, at)
        merkle.require_inclusion(
            _raw(log.anchored.root),
            log.anchored.size,
            part.index,
            _raw(part.leaf_hash),
            [_raw(sibling) for sibling in part.proof],
            f"{at}.proof",
        )
        require(f"{at}.entry.source", part.entry.get("source"), log.site)
        if job not in (part.entry.get("subject"), told.get("job")):
            raise VerificationFailed(f"{at}.entry", "of something else", f"of job {job}")
    indices = [entry.index for entry in log.entries]
    if indices != sorted(set(indices)):
        raise VerificationFailed(f"{where}.entries", "out of order", "the log's order")


def require(where: str, found: Any, expected: Any) -> None:
    if not _same(found, expected):
        raise VerificationFailed(where, found, expected)


def require_in(where: str, found: Any, allowed: Any, what: str) -> None:
    if found not in allowed:
        raise VerificationFailed(where, found, what)


def require_same(where: str, found: Any, expected: Any) -> None:
    """Equal as JSON; else fails at the first place that differs."""
    if isinstance(found, dict) and isinstance(expected, dict):
        for name in expected:
            if name not in found:
                raise VerificationFailed(f"{where}.{name}", "nothing", expected[name])
            require_same(f"{where}.{name}", found[name], expected[name])
        require(where, sorted(found), sorted(expected))
    elif isinstance(found, list) and isinstance(expected, list):
        for number, (one, other) in enumerate(zip(found, expected, strict=False)):
            require_same(f"{where}[{number}]", one, other)
        require(where, len(found), len(expected))
    else:
        require(where, found, expected)


def _same(found: Any, expected: Any) -> bool:
    """Equal as JSON: Python holds true for 1."""
    return type(found) is type(expected) and bool(found == expected)


def require_signed(where: str, public_key: str, signature: str, payload: bytes) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        raw = base64.b64decode(signature, validate=True)
        # The last character has spare bits: only one spelling of a signature is accepted.
        require(where, signature, base64.b64encode(raw).decode("ascii"))
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
