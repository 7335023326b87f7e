"""The format of a job certificate: one file that a stranger can check against the chain.

The file is canonical JSON (RFC 8785) and a newline, nothing else. Ids, digests, roots and hashes
are 0x-hex in lower case, addresses checksummed, blocks numbers, times RFC 3339 text, public keys
0x-hex, signatures base64. Integers of 64 bits and more in a grant's terms are decimal text.

    version         3
    network         chainId, consortium, jobRegistry
    job             id, proposer, member, specification (digest), algorithm (code digest),
                    purpose, deadline, and the blocks proposedAt, approvedAt, startedAt, endedAt
    specification   the whole agreed document; its canonical bytes have the digest in `job`
    parties         in the chain's order: site, member, memberName, role, operator,
                    requestKey {id, publicKey}, approvedAt, datasets [{dataset, version,
                    schemaDigest, rowsRoot, rows, columns, grant: null | {id, owner, terms,
                    fromBlock, state}}]}; `state` is that at the start of the job
    result          digest, attempt, parts [{site, digest}] sorted by site, metrics; the digest is
                    the SHA-256 of the canonical {job, attempt, parts, metrics}
    model           null, or id, digest, parents, block; the digest is the SHA-256 of the
                    canonical {job, parts} with the parts of `result`
    steps           [{step, attempt, started, finished, outputs {site: digest}}]
    logs            per party: site, anchored {size, root, block, txHash, cosigners: members that
                    the chain had counted for this head, sorted, of: how many the consortium asked
                    for}; more may have cosigned since, the chain knows; and in the order of the
                    log entries [{index, leafHash, entry, disclosed, proof}]: those of the site's
                    audit log that tell of this job, each with the fields that it discloses (see
                    `chain.entries`) and its inclusion proof under the anchored head (RFC 6962).
                    Among them are, with the fields that are looked at, every `message.sent` and
                    `message.received`, `task.finished` for each output, and `result.attested`
    reconciliation  what the logs tell alike: agrees (true), messages, approvals, grantUses and
                    results: how many of each stand in both logs of their parties, with the
                    receiver's receipt; bytes, digest of all lines, and keys [{site, id,
                    publicKey}] that signed the receipts: see `chain.reconciliation`
    state           null, or a block's header and the nodes that prove, from it, what the contracts
                    hold of all this: see `chain.state`
    issued          by (site), at, keyId
    sections        SHA-256 of the canonical bytes of each of the eleven sections above, by name
    signatures      [{site, keyId, signature}]: Ed25519 over the canonical bytes of
                    {"sections": …, "version": 3}; the issuer's is required, others may follow

`network_section`, `job_section`, `parties_section` and `model_section` say what the chain says; a
node builds a certificate with them, and `chain.evidence` holds a certificate against them.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from chain import canonical
from chain.consents import GrantRecord, GrantState
from chain.datasets import Version
from chain.errors import VerificationFailed
from chain.jobs import JobUse
from chain.sites import REQUEST, Key
from chain.state_proof import StatePart

if TYPE_CHECKING:
    from chain.network import Network

VERSION = 3
MAX_BYTES = 64 * 1024 * 1024
MAX_INTEGER = canonical.MAX_INTEGER
SECTIONS = (
    "network",
    "job",
    "specification",
    "parties",
    "result",
    "model",
    "steps",
    "logs",
    "reconciliation",
    "state",
    "issued",
)
FINISHED = "fatechain.task.finished.v1"
ATTESTED = "fatechain.result.attested.v1"

Hash = Annotated[str, Field(pattern=r"^0x[0-9a-f]{64}$")]
Address = Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{40}$")]
Text = Annotated[str, Field(max_length=1000)]
Decimal = Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,77})$")]
Number = Annotated[int, Field(ge=0, le=MAX_INTEGER)]
Positive = Annotated[int, Field(ge=1, le=MAX_INTEGER)]
Time = Annotated[
    str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$")
]
Base64 = Annotated[str, Field(max_length=200, pattern=r"^[A-Za-z0-9+/]+={0,2}$")]
PublicKey = Annotated[str, Field(pattern=r"^0x([0-9a-f]{2}){1,1024}$")]
# No Literal: it takes true for 1 and 1 for true, which are other bytes.
FormatVersion = Annotated[int, Field(ge=VERSION, le=VERSION)]


def _require_true(value: bool) -> bool:
    if not value:
        raise ValueError("the logs do not agree")
    return value


Agrees = Annotated[bool, AfterValidator(_require_true)]


class _Part(BaseModel):
    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        validate_by_alias=True,
        validate_by_name=False,
    )


class NetworkPart(_Part):
    chain_id: Positive
    consortium: Address
    job_registry: Address


class JobPart(_Part):
    id: Hash
    proposer: Hash
    member: Hash
    specification: Hash
    algorithm: Hash
    purpose: Text
    deadline: Number
    proposed_at: Positive
    approved_at: Positive
    started_at: Positive
    ended_at: Positive


class TermsPart(_Part):
    dataset_id: Hash
    from_version: Number
    to_version: Number
    grantee: Hash
    purposes: Annotated[list[Text], Field(min_length=1, max_length=8)]
    algorithms: Annotated[list[Hash], Field(min_length=1, max_length=8)]
    until: Decimal
    uses: Number
    min_parties: Number
    min_rows: Decimal
    product_budget: Decimal
    epsilon_micro: Decimal
    column_rules: Hash
    amends: Hash
    nonce: Decimal


class GrantPart(_Part):
    id: Hash
    owner: Hash
    terms: TermsPart
    from_block: Positive
    state: Text


class DatasetPart(_Part):
    dataset: Hash
    version: Positive
    schema_digest: Hash
    rows_root: Hash
    rows: Number
    columns: Number
    grant: GrantPart | None


class KeyPart(_Part):
    id: Hash
    public_key: PublicKey


class PartyPart(_Part):
    site: Hash
    member: Hash
    member_name: Text
    role: Text
    operator: Address
    request_key: KeyPart
    approved_at: Positive
    datasets: list[DatasetPart]


class ResultShare(_Part):
    site: Hash
    digest: Hash


class ResultPart(_Part):
    digest: Hash
    attempt: Positive
    parts: list[ResultShare]
    metrics: dict[str, Any]


class ModelPart(_Part):
    id: Hash
    digest: Hash
    parents: list[Hash]
    block: Positive


class StepPart(_Part):
    step: Text
    attempt: Positive
    started: Time
    finished: Time
    outputs: dict[Hash, Hash]


class HeadPart(_Part):
    size: Positive
    root: Hash
    block: Positive
    tx_hash: Hash


class CosignedHeadPart(HeadPart):
    cosigners: Annotated[list[Hash], Field(max_length=1000)]
    of: Number


class EntryPart(_Part):
    index: Number
    leaf_hash: Hash
    entry: dict[str, Any]
    disclosed: dict[str, Any]
    proof: Annotated[list[Hash], Field(max_length=64)]


class LogPart(_Part):
    site: Hash
    anchored: CosignedHeadPart
    entries: list[EntryPart]


class ReceiptKeyPart(_Part):
    site: Hash
    id: Hash
    public_key: PublicKey


class ReconciliationPart(_Part):
    agrees: Agrees
    messages: Number
    approvals: Number
    grant_uses: Number
    results: Number
    bytes: Number
    digest: Hash
    keys: Annotated[list[ReceiptKeyPart], Field(max_length=1000)]


class IssuedPart(_Part):
    by: Hash
    at: Time
    key_id: Hash


class SectionsPart(_Part):
    network: Hash
    job: Hash
    specification: Hash
    parties: Hash
    result: Hash
    model: Hash
    steps: Hash
    logs: Hash
    reconciliation: Hash
    state: Hash
    issued: Hash


class SignaturePart(_Part):
    site: Hash
    key_id: Hash
    signature: Base64


class Body(_Part):
    """A certificate that is not sealed yet."""

    version: FormatVersion
    network: NetworkPart
    job: JobPart
    specification: dict[str, Any]
    parties: Annotated[list[PartyPart], Field(min_length=1, max_length=16)]
    result: ResultPart
    model: ModelPart | None
    steps: Annotated[list[StepPart], Field(min_length=1)]
    logs: list[LogPart]
    reconciliation: ReconciliationPart
    state: StatePart | None
    issued: IssuedPart


class Certificate(Body):
    """A sealed certificate, parsed; `chain.evidence` says whether it holds."""

    sections: SectionsPart
    signatures: Annotated[list[SignaturePart], Field(min_length=1, max_length=16)]


@dataclass(frozen=True)
class Signer:
    """A party that signs: its site, its request key on chain, and Ed25519 over bytes (64 bytes)."""

    site: str
    key_id: str
    sign: Callable[[bytes], bytes]


def seal(body: Mapping[str, Any], signers: Sequence[Signer]) -> bytes:
    """The certificate file: `body` with its sections' digests and the signatures.

    `body` is JSON with the version and the eleven sections; it is the caller's to be true. Raises
    ValidationError (pydantic) when it has another shape, NotCanonical when it has no such form.
    """
    Body.model_validate(dict(body))
    sections = section_digests(body)
    payload = signed_bytes(sections)
    signatures = [
        {
            "site": signer.site,
            "keyId": signer.key_id,
            "signature": base64.b64encode(signer.sign(payload)).decode("ascii"),
        }
        for signer in signers
    ]
    return canonical.dumps({**body, "sections": sections, "signatures": signatures}) + b"\n"


def section_digests(certificate: Mapping[str, Any]) -> dict[str, str]:
    """Name → SHA-256 of the canonical bytes of each section."""
    return {name: canonical.digest_of(certificate[name]) for name in SECTIONS}


def signed_bytes(sections: Mapping[str, str]) -> bytes:
    """What the signatures are over."""
    return canonical.dumps({"sections": dict(sections), "version": VERSION})


def result_digest(job: str, result: Mapping[str, Any]) -> str:
    """What every party attested on chain."""
    stated = {name: result[name] for name in ("attempt", "parts", "metrics")}
    return canonical.digest_of({"job": job, **stated})


def model_digest(job: str, parts: Sequence[Mapping[str, str]]) -> str:
    """What a job's model is registered under: the digest over its parties' salted part digests.

    ``parts`` are those of the attested result, in its order.
    """
    return canonical.digest_of({"job": job, "parts": [dict(part) for part in parts]})


# ── what the chain says


def network_section(network: "Network") -> dict[str, Any]:
    return {
        "chainId": network.client.chain_id,
        "consortium": network.consortium.address,
        "jobRegistry": network.jobs.address,
    }


def job_section(network: "Network", job: str) -> dict[str, Any]:
    """Refused with JobUnknown."""
    found = network.jobs.job(job)
    return {
        "id": job,
        "proposer": found.proposer,
        "member": found.member,
        "specification": found.specification,
        "algorithm": found.algorithm,
        "purpose": found.purpose,
        "deadline": found.deadline,
        "proposedAt": found.proposed_at,
        "approvedAt": found.approved_at,
        "startedAt": found.started_at,
        "endedAt": found.ended_at,
    }


def parties_section(
    network: "Network", job: str, request_keys: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """The parties in the chain's order.

    `request_keys` maps sites to the key to name, where a site held several at the end of the job;
    for all others it is the newest. Raises VerificationFailed for a site that held none then.
    """
    found = network.jobs.job(job)
    start_time = network.client.block(found.started_at).timestamp
    uses = network.jobs.uses(job)
    parties = []
    for number, party in enumerate(network.jobs.parties(job)):
        site = network.sites.site(party.site)
        wanted = (request_keys or {}).get(party.site)
        key = request_key(network, party.site, found.ended_at, wanted)
        if key is None:
            raise VerificationFailed(
                f"$.parties[{number}].requestKey", "none valid when the job ended", "a request key"
            )
        parties.append(
            {
                "site": party.site,
                "member": site.member,
                "memberName": network.membership.member(site.member).name,
                "role": party.role,
                "operator": site.operator,
                "requestKey": {"id": key.id, "publicKey": key.public_key},
                "approvedAt": network.jobs.approved_at(job, party.site),
                "datasets": [
                    _dataset(network, use, found.started_at, start_time)
                    for use in uses
                    if use.party == number
                ],
            }
        )
    return parties


def request_key(network: "Network", site: str, block: int, wanted: str | None) -> Key | None:
    """The request key `wanted` if the site held it at the block, else the newest that it held.

    A key that did not prove itself is none.
    """
    held = [
        key
        for key in network.sites.keys(site)
        if key.purpose == REQUEST and key.is_valid_at(block) and network.sites.proves(site, key)
    ]
    chosen = [key for key in held if key.id == wanted] or held
    return chosen[-1] if chosen else None


def signing_key(network: "Network", site: str, block: int, id: str) -> Key | None:
    """The request key `id`, if the site held it at the end of the job, in `block`, or since then.

    Who signs after the end signs with the key of that day: the one before may have ended meanwhile.
    A key that ended before the job did has no say in it.
    """
    for key in network.sites.keys(site):
        ended = 0 < key.until_block <= block
        if (
            key.id == id
            and key.purpose == REQUEST
            and not ended
            and network.sites.proves(site, key)
        ):
            return key
    return None


def model_section(network: "Network", model: str) -> dict[str, Any]:
    """Refused with ModelUnknown."""
    found = network.models.model(model)
    return {
        "id": model,
        "digest": found.model_digest,
        "parents": list(found.parents),
        "block": found.from_block,
    }


def state_at(record: GrantRecord, block: int, timestamp: int) -> GrantState:
    """The state in which a job that started in this block found the grant.

    From the facts that are kept, so no archive node is needed. What ended it in the very block of
    the start came after the start, which would have been refused otherwise.
    """
    if record.from_block == 0 or record.from_block > block:
        return GrantState.NONE
    if record.revoked_at and record.revoked_at < block:
        return GrantState.REVOKED
    if record.amended_at and record.amended_at < block:
        return GrantState.AMENDED
    if record.terms.until <= timestamp:
        return GrantState.EXPIRED
    return GrantState.ACTIVE


def _dataset(network: "Network", use: JobUse, block: int, timestamp: int) -> dict[str, Any]:
    version: Version = network.datasets.version(use.dataset_id, use.version)
    return {
        "dataset": use.dataset_id,
        "version": use.version,
        "schemaDigest": version.schema_digest,
        "rowsRoot": version.rows_root,
        "rows": version.rows,
        "columns": version.columns,
        "grant": None if use.grant is None else _grant(network, use.grant, block, timestamp),
    }


def _grant(network: "Network", grant: str, block: int, timestamp: int) -> dict[str, Any]:
    record = network.consents.record(grant)
    return {
        "id": grant,
        "owner": record.owner,
        "terms": record.terms.to_json(),
        "fromBlock": record.from_block,
        "state": str(state_at(record, block, timestamp)),
    }
