"""What a site shows of its log about one job: to the job's parties, and to auditors.

Entries with inclusion proofs under a head that it anchored on the chain, signed by its request key.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from chain import canonical
from chain.entries import open_entry
from node.audit.entries import now, type_of
from node.errors import Failed, NotFound
from node.signatures import verify_bytes
from node.store import Anchor

if TYPE_CHECKING:
    from node.audit.log import LogEntry
    from node.site import Site

EVIDENCE = "evidence"
ENDED = type_of("job.ended")
MAX_ENTRIES = 100_000  # of one party's log about one job


def own_evidence(site: Site, job_id: str) -> dict[str, Any]:
    """The entries about a job under the newest anchored head, with proofs, signed.

    Each with all its fields, or with none where they were erased.
    ``anchored`` is null and there are no entries as long as nothing was anchored.  Raises
    `NotFound` for a job that this site has no entries of.
    """
    entries = site.log.of_subject(job_id)
    if not entries:
        raise NotFound("NotFound", f"the log of this site has no entries about job {job_id}")
    with site.store.read() as session:
        newest = session.scalar(select(Anchor).order_by(Anchor.size.desc()).limit(1))
    identity = site.identity
    evidence: dict[str, Any] = {
        "type": EVIDENCE,
        "job": job_id,
        "site": site.id,
        "anchored": None,
        "entries": [],
        "issuedAt": now(),
        "keyId": site.key_id(identity=identity),
    }
    if newest is not None:
        evidence["anchored"] = {
            "size": newest.size,
            "root": newest.root,
            "block": newest.block,
            "txHash": newest.tx_hash,
            "cosigners": sorted(newest.witnesses),
            "of": newest.needed,
        }
        shown = [entry for entry in entries if entry.index < newest.size]
        evidence["entries"] = [_shown(site, entry, newest.size) for entry in shown]
    signature = identity.sign(canonical.dumps(evidence))
    return evidence | {"signature": base64.b64encode(signature).decode()}


def _shown(site: Site, entry: LogEntry, size: int) -> dict[str, Any]:
    proof = site.log.inclusion_proof(entry.index, size)
    return entry.shown() | {"proof": ["0x" + node.hex() for node in proof]}


def covers_end(evidence: Mapping[str, Any]) -> bool:
    """Whether the head under which the entries stand was anchored after the job ended."""
    return any(part["entry"].get("type") == ENDED for part in evidence["entries"])


def check_evidence(site: Site, job_id: str, partner: str, evidence: Any) -> dict[str, Any]:
    """Evidence of a partner, if it is one and signed by it; raises `Failed`.

    What it proves is for `chain.evidence` to say; here it must have the shape and the signature.
    """
    from pydantic import ValidationError

    from chain.certificate import LogPart
    from chain.errors import VerificationFailed
    from chain.reconciliation import RECEIVED, SENT, is_line

    if not isinstance(evidence, dict) or not isinstance(evidence.get("signature"), str):
        raise _bad_evidence(partner, "it is no signed object")
    unsigned = {name: value for name, value in evidence.items() if name != "signature"}
    for name, value in (("type", EVIDENCE), ("job", job_id), ("site", partner)):
        if unsigned.get(name) != value:
            raise _bad_evidence(partner, f"its {name} is another")
    key = site.directory.sender_key(str(unsigned.get("keyId")))
    if key.site != partner:
        raise _bad_evidence(partner, f"it is signed by a key of {key.site}")
    try:
        content = canonical.dumps(unsigned)
    except canonical.NotCanonical as error:
        raise _bad_evidence(partner, "it has no canonical form") from error
    if not verify_bytes(key.public_key, evidence["signature"], content):
        raise _bad_evidence(partner, "its signature does not match")
    entries = unsigned.get("entries")
    if not isinstance(entries, list) or len(entries) > MAX_ENTRIES:
        raise _bad_evidence(partner, "its entries are no list, or too many")
    if unsigned.get("anchored") is not None:
        try:
            LogPart.model_validate(log_part(unsigned))
        except ValidationError as error:
            raise _bad_evidence(partner, f"{error.error_count()} fields do not fit") from error
        for number, shown in enumerate(entries):
            try:
                told = open_entry(shown, f"$.entries[{number}]")
            except VerificationFailed as failure:
                raise _bad_evidence(partner, str(failure)) from failure
            if not isinstance(shown["entry"].get("type"), str):
                raise _bad_evidence(partner, "one of its entries is none of a log")
            # An entry that was erased discloses nothing.
            if shown["entry"]["type"] in (SENT, RECEIVED) and told and not is_line(told):
                raise _bad_evidence(partner, f"$.entries[{number}] is no message's entry")
    elif entries:
        raise _bad_evidence(partner, "it shows entries without an anchored head")
    return evidence


def _bad_evidence(partner: str, detail: str) -> Failed:
    return Failed("EvidenceInvalid", f"the evidence of site {partner}: {detail}", found=partner)


def log_part(evidence: Mapping[str, Any]) -> dict[str, Any]:
    """A log as it stands in a certificate."""
    return {name: evidence.get(name) for name in ("site", "anchored", "entries")}
