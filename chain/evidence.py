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
    reconciliation  both logs of every message tell the same, with the receiver's receipt; among
                    them what each party declared to every other: approval, grant uses, result

What of it a file shows without a chain is in `chain.standalone`.

That a head continues the one before is the contract's rule. Not covered: whether the logs tell more
of the job than the certificate shows, and the wall-clock times, which are the issuer's word.

Hostile bytes make failed checks, never an exception: each check says `where` (a JSON path) and why.
"""

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from chain.anchors import Head
from chain.certificate import (
    Certificate,
    LogPart,
    ModelPart,
    SignaturePart,
    Signer,
    job_section,
    model_section,
    network_section,
    parties_section,
    seal,
    signing_key,
)
from chain.errors import VerificationFailed
from chain.history import History
from chain.jobs import Job, JobState
from chain.reconciliation import Keys, keys_on_chain
from chain.standalone import (
    Check,
    Look,
    Report,
    Standalone,
    report_on,
    require,
    require_entries,
    require_in,
    require_same,
)

if TYPE_CHECKING:
    from chain.network import Network

__all__ = ["Check", "Report", "Signer", "seal", "verify_certificate"]


def verify_certificate(certificate_bytes: bytes, network: "Network") -> Report:
    """Holds the certificate against the chain of `network`.

    Raises nothing that its input can cause.
    """
    return report_on(
        certificate_bytes, lambda value, certificate: _OnChain(network, value, certificate)
    )


def require_anchored_by(
    network: "Network", site: str, head: Head, tx_hash: str, where: str
) -> None:
    """That this transaction anchored the head. Raises VerificationFailed at `where`."""
    told = network.client.logs(head.at_block, head.at_block, [network.anchors.address])
    transactions = [
        event.tx_hash
        for event in told
        if event.name == "Anchored"
        and (event.args["site"], event.args["size"]) == (site, head.size)
    ]
    require_in(where, tx_hash, transactions, "what anchored it")


def require_shown(network: "Network", job: str, shown: Mapping[str, Any], where: str) -> None:
    """That all entries of a log, as in a certificate, stand under the head that its site anchored.

    Raises VerificationFailed at the first place that does not hold.
    """
    log = LogPart.model_validate(dict(shown))
    require_on_chain(network, log, f"{where}.anchored")
    require_entries(job, log, shown["entries"], where)


def require_on_chain(network: "Network", log: LogPart, where: str) -> None:
    """That the site anchored this head. Raises VerificationFailed, and ChainError for none."""
    head = network.anchors.head_at(log.site, log.anchored.size)
    require(f"{where}.root", log.anchored.root, head.root)
    require(f"{where}.block", log.anchored.block, head.at_block)
    require_anchored_by(network, log.site, head, log.anchored.tx_hash, f"{where}.txHash")


class _OnChain(Standalone):
    """One certificate against one network."""

    def __init__(self, network: "Network", value: dict[str, Any], certificate: Certificate) -> None:
        super().__init__(value, certificate)
        self.network = network

    def looks(self) -> Mapping[str, Look]:
        return {
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
            "reconciliation": self.reconciled_logs,
            "state": self.stored_state,
        }

    @cached_property
    def on_chain(self) -> Job:
        return self.network.jobs.job(self.job)

    # ── what the file says too, and the chain knows better

    @cached_property
    def sites(self) -> list[str]:
        return [party.site for party in self.network.jobs.parties(self.job)]

    def public_key(self, part: SignaturePart, where: str) -> str:
        key = signing_key(self.network, part.site, self.on_chain.ended_at, part.key_id)
        if key is None:
            raise VerificationFailed(
                f"{where}.keyId",
                part.key_id,
                "a request key that the site held at the end or since",
            )
        return key.public_key

    def receipt_keys(self) -> Keys:
        return keys_on_chain(self.network, self.job, self.value["logs"])

    def agreement(self) -> tuple[str, dict[str, Any]]:
        job, uses = self.on_chain, self.network.jobs.uses(self.job)
        parties = [
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
        ]
        stated = {
            "codeDigest": job.algorithm,
            "purpose": job.purpose,
            "deadline": job.deadline,
            "parties": parties,
        }
        return job.specification, stated

    def attested(self, site: str, digest: str) -> str:
        said = self.network.jobs.attestation(self.job, site)
        found = said.result if said else "no attestation"
        require("$.result.digest", self.certificate.result.digest, found)
        return "on chain and in its log"

    def registered(self, model: ModelPart) -> str:
        require_same("$.model", self.value["model"], model_section(self.network, model.id))
        require("$.model.id", self.network.models.model(model.id).job, self.job)
        return "is registered on chain as made by this job, of the parts of its result"

    def anchored(self, where: str, number: int) -> str:
        log = self.certificate.logs[number]
        require_on_chain(self.network, log, where)
        return f"its anchored head; {self.cosigned(where, log)} cosigned it"

    def cosigned(self, where: str, log: LogPart) -> str:
        """How many the chain has counted by now, of how many it asks for; in words."""
        counted = self.network.anchors.witness_of(log.site, log.anchored.size).members
        for member in log.anchored.cosigners:
            require_in(f"{where}.cosigners", member, counted, "a member that the chain counted")
        return f"{len(counted)} of {self.network.anchors.cosigners_needed()}"

    def stored_state(self) -> Iterator[tuple[str, str]]:
        stated = self.certificate.state
        if stated is not None:
            found = self.network.client.block(stated.block.number).hash
            require("$.state.block.hash", stated.block.hash, found)
        yield from super().stored_state()

    # ── what the chain alone says

    def same_network(self) -> Iterator[tuple[str, str]]:
        require_same("$.network", self.value["network"], network_section(self.network))
        yield "$.network", "the certificate speaks of this consortium"

    def same_job(self) -> Iterator[tuple[str, str]]:
        require_same("$.job", self.value["job"], job_section(self.network, self.job))
        require("$.job", self.network.jobs.state(self.job), JobState.SUCCEEDED)
        yield "$.job", "the chain tells the same of the job, and that it succeeded"

    def same_parties(self) -> Iterator[tuple[str, str]]:
        start = self.on_chain.started_at
        claimed = {party.site: party.request_key.id for party in self.certificate.parties}
        expected = parties_section(self.network, self.job, claimed)
        require_same("$.parties", self.value["parties"], expected)
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
                    require(f"{at}.grant.state", dataset.grant.state, "ACTIVE")
                    require_in(f"{at}.grant.id", dataset.grant.id, consumed, "used by the start")
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
        history = History(self.network.client, [self.network.consortium.address]).read(0, start)
        told = [
            event.name
            for event in history
            if event.name in ("AlgorithmAllowed", "AlgorithmForbidden")
            and event.args["codeDigest"] == code
        ]
        return told[-1:] == ["AlgorithmAllowed"]
