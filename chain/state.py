"""What a certificate says of the chain, held against the storage of the contracts themselves.

The section `state` of a certificate is null, or a `chain.state_proof.StatePart`: the header of a
block and the nodes that lead from its state root to every slot that `as_stored` reads. So a file
alone shows what the contracts held at that block; that the block is one of the chain its hash says,
which anybody can compare with a node of his own or with an explorer.

What is read: the consortium's address book; the job with its parties, uses, approvals and
attestations, and that it succeeded; the parties' members in standing, sites and request keys, and
those that signed receipts; the data's versions; the grants with their terms, in force at the start;
the code among those allowed; the model; the anchored heads and who cosigned them. That a grant's
time was not over when the job started, and that the code was read, are rules of the contract that
started it. No header has a chain's id or a transaction's place: for these ask the chain itself.

`node/ui/verifier/source/state.js` reads the same slots in a browser.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from chain import state_proof
from chain.errors import VerificationFailed
from chain.state_proof import Slots
from chain.storage import (
    COSIGNERS,
    Place,
    Storage,
    require_anchored,
    require_content,
    require_stands,
)

if TYPE_CHECKING:
    from chain.network import Network

SUCCEEDED = 4
ACTIVE = 1
FIRST_MEMBER = 96  # bits below the first member there
INLINE = 160  # members whose bits stand there
A_WORD = 256
MOST_STANDINGS = 256
"""How often a member's standing changes at most where a file shows its history."""


def prove(network: "Network", body: Mapping[str, Any], block: int) -> dict[str, Any] | None:
    """The section for a certificate's other sections, at a block in which all of it stands.

    None where the endpoint gives no proofs, or where the contracts say something else. Raises
    ChainUnavailable.
    """
    try:
        return state_proof.prove(network.client, block, lambda slots: list(as_stored(slots, body)))
    except VerificationFailed:
        return None


def proved(value: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(where, what holds) of a certificate by its section; raises VerificationFailed."""
    state = value["state"]
    if state is None:
        yield "$.state", "no header of a block is included: ask the chain for what it says"
        return
    header, slots = state_proof.proved(state, "$.state")
    yield "$.state.block", f"the header of block {header.number} has this hash"
    yield from as_stored(slots, value)
    slots.require_all_used()
    yield "$.state", f"all of this stands in the contracts' storage at block {header.number}"


def as_stored(slots: Slots, value: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(where, what holds) for each thing that a certificate says as the contracts do.

    Raises VerificationFailed at the first that they say otherwise.
    """
    storage = Storage(slots, value["network"]["consortium"])
    _same("$.network.jobRegistry", value["network"]["jobRegistry"].lower(), storage.address("jobs"))
    yield "$.network", "the consortium's address book names this registry of jobs"
    job = storage["jobs"]["jobs"][value["job"]["id"]]
    _job(value["job"], job["job"])
    yield "$.job", "stands so in the registry of jobs, and succeeded"
    _allowed(storage, value["job"])
    yield "$.job.algorithm", "the consortium allowed the code when the job started"
    _parties(storage, value, job)
    yield "$.parties", "members, sites, keys, approvals, data and grants stand so in storage"
    _receipt_keys(storage, value)
    yield "$.reconciliation.keys", "are request keys that their sites held while the job ran"
    for party in value["parties"]:
        attested = job["attested"][party["site"]]["result"]
        require_stands("$.result.digest", value["result"]["digest"], attested)
    yield "$.result.digest", "each party attested it"
    if value["model"] is not None:
        _model(value, storage["models"]["models"][value["model"]["id"]])
        yield "$.model", "is registered as made by this job"
    needed = max(1, storage.consortium["minimums"]["min-cosigners"].value)
    for number, log in enumerate(value["logs"]):
        counted = _head(storage["anchors"], log, f"$.logs[{number}].anchored")
        yield f"$.logs[{number}].anchored", f"stands so; {counted} of {needed} cosigned it"


def _job(stated: Mapping[str, Any], job: Place) -> None:
    for name in (
        "proposer",
        "member",
        "specification",
        "algorithm",
        "purpose",
        "deadline",
        "proposedAt",
        "approvedAt",
        "startedAt",
        "endedAt",
    ):
        require_stands(f"$.job.{name}", stated[name], job[name])
    require_stands("$.job", SUCCEEDED, job["state"])


def _allowed(storage: Storage, job: Mapping[str, Any]) -> None:
    """As the consortium has it by now: who forbids code and allows it again makes a new time."""
    found, start = storage.consortium["algorithms"][job["algorithm"]], job["startedAt"]
    since, until = found["fromBlock"].value, found["untilBlock"].value
    if not (0 < since <= start and (until == 0 or until >= start)):
        told = f"allowed from {since} until {until}"
        raise VerificationFailed("$.job.algorithm", told, f"in block {start}")


def _parties(storage: Storage, value: Mapping[str, Any], job: Place) -> None:
    parties = value["parties"]
    require_stands("$.parties", len(parties), job["parties"])
    uses = job["uses"]
    require_stands("$.parties", sum(len(party["datasets"]) for party in parties), uses)
    used = [
        (uses[n], uses[n]["party"].value) for n in range(sum(len(p["datasets"]) for p in parties))
    ]
    for number, party in enumerate(parties):
        where = f"$.parties[{number}]"
        require_stands(f"{where}.site", party["site"], job["parties"][number]["site"])
        require_stands(f"{where}.role", party["role"], job["parties"][number]["role"])
        require_stands(f"{where}.approvedAt", party["approvedAt"], job["approvedAt"][party["site"]])
        _identity(storage, party, value["job"], where)
        own = [use for use, at in used if at == number]
        _same(f"{where}.datasets", len(party["datasets"]), len(own))
        for position, (dataset, use) in enumerate(zip(party["datasets"], own, strict=True)):
            at = f"{where}.datasets[{position}]"
            _dataset(storage, party["site"], dataset, use, value["job"]["startedAt"], at)


def _identity(
    storage: Storage, party: Mapping[str, Any], job: Mapping[str, Any], where: str
) -> None:
    site = storage["sites"]["sites"][party["site"]]["site"]
    require_stands(f"{where}.member", party["member"], site["member"])
    _same(f"{where}.operator", party["operator"].lower(), f"0x{site['operator'].value:040x}")
    name = storage["membership"]["members"][party["member"]]["name"]
    require_content(f"{where}.memberName", party["memberName"], party["memberName"].encode(), name)
    _stood(storage, party["member"], job["startedAt"], f"{where}.member")
    _key(storage, party["site"], party["requestKey"], job["endedAt"], f"{where}.requestKey")


def _stood(storage: Storage, member: str, start: int, where: str) -> None:
    """The member was active at the start; a suspension in that very block came after it."""
    points = storage["membership"]["standings"][member]["_checkpoints"]
    count, after = points.value, None
    if count > MOST_STANDINGS:
        raise VerificationFailed(where, f"{count} checkpoints", f"at most {MOST_STANDINGS}")
    for number in range(count - 1, -1, -1):
        block, standing = points[number]["_key"].value, points[number]["_value"].value
        # The contract has one for each block, in their order.
        if after is not None and block >= after:
            raise VerificationFailed(where, "checkpoints out of order", f"one before block {after}")
        if block <= start and standing == ACTIVE:
            return
        if block < start:
            break
        after = block
    raise VerificationFailed(where, "no active member", "one at the start of the job")


def _receipt_keys(storage: Storage, value: Mapping[str, Any]) -> None:
    """Each was a request key of its site while the job ran."""
    start, end = value["job"]["startedAt"], value["job"]["endedAt"]
    for number, stated in enumerate(value["reconciliation"]["keys"]):
        where = f"$.reconciliation.keys[{number}]"
        since, until = _request_key(storage, stated["site"], stated, where)
        if since > end or 0 < until <= start:
            found = f"valid from {since} until {until}"
            raise VerificationFailed(f"{where}.id", found, f"a key of blocks {start} to {end}")


def _key(storage: Storage, site: str, stated: Mapping[str, Any], ended: int, where: str) -> None:
    since, until = _request_key(storage, site, stated, where)
    if since > ended or 0 < until <= ended:
        raise VerificationFailed(f"{where}.id", f"valid from {since} until {until}", f"at {ended}")


def _request_key(
    storage: Storage, site: str, stated: Mapping[str, Any], where: str
) -> tuple[int, int]:
    """In which blocks the site had it: from the first until the second, 0 where it stands."""
    record = storage["sites"]["keys"][stated["id"]]
    key = record["key"]
    require_stands(f"{where}.id", site, record["site"])
    require_stands(f"{where}.id", "request", key["purpose"])
    public_key = bytes.fromhex(stated["publicKey"][2:])
    require_content(f"{where}.publicKey", stated["publicKey"], public_key, key["publicKey"])
    return key["fromBlock"].value, key["untilBlock"].value


def _dataset(
    storage: Storage, site: str, stated: Mapping[str, Any], use: Place, start: int, where: str
) -> None:
    require_stands(f"{where}.dataset", stated["dataset"], use["datasetId"])
    require_stands(f"{where}.version", stated["version"], use["version"])
    datasets = storage["datasets"]
    require_stands(f"{where}.dataset", site, datasets["datasets"][stated["dataset"]]["site"])
    version = datasets["versions"][stated["dataset"]][stated["version"]]
    for name in ("schemaDigest", "rowsRoot", "rows", "columns"):
        require_stands(f"{where}.{name}", stated[name], version[name])
    since, until = version["fromBlock"].value, version["untilBlock"].value
    if since > start or 0 < until < start:
        raise VerificationFailed(f"{where}.version", f"stood {since} to {until}", f"at {start}")
    grant = stated["grant"]
    require_stands(f"{where}.grant", 0 if grant is None else grant["id"], use["grant"])
    if grant is not None:
        record = storage["consents"]["records"][grant["id"]]
        _grant(grant, record, start, f"{where}.grant")


def _grant(stated: Mapping[str, Any], record: Place, start: int, where: str) -> None:
    require_stands(f"{where}.owner", stated["owner"], record["owner"])
    require_stands(f"{where}.fromBlock", stated["fromBlock"], record["fromBlock"])
    for name, told in stated["terms"].items():
        at, place = f"{where}.terms.{name}", record["grant"][name]
        if isinstance(told, list):
            require_stands(at, len(told), place)
            for number, item in enumerate(told):
                require_stands(f"{at}[{number}]", item, place[number])
        else:
            require_stands(at, told, place)
    _same(f"{where}.state", stated["state"], "ACTIVE")
    for name in ("revokedAt", "amendedAt"):
        if 0 < record[name].value < start:
            raise VerificationFailed(f"{where}.state", f"{name} {record[name].value}", "none")
    if stated["fromBlock"] > start or record["used"].value == 0:
        raise VerificationFailed(f"{where}.state", "never used by then", "used by the start")


def _model(value: Mapping[str, Any], model: Place) -> None:
    stated = value["model"]
    require_stands("$.model.digest", stated["digest"], model["modelDigest"])
    require_stands("$.model.id", value["job"]["id"], model["job"])
    require_stands("$.model.block", stated["block"], model["fromBlock"])
    require_stands("$.model.parents", len(stated["parents"]), model["parents"])
    for number, parent in enumerate(stated["parents"]):
        require_stands(f"$.model.parents[{number}]", parent, model["parents"][number])


def _head(anchors: Mapping[str, Place], log: Mapping[str, Any], where: str) -> int:
    """How many cosigned the head; each that the file names is among them."""
    site, size = log["site"], log["anchored"]["size"]
    facts = require_anchored(anchors, site, log["anchored"], where)
    for member in log["anchored"].get("cosigners", ()):
        place = anchors["numbers"][member].value - 1
        if not (place >= 0 and _counted(anchors, site, size, facts, place)):
            raise VerificationFailed(f"{where}.cosigners", member, "a member that was counted")
    return facts >> COSIGNERS & 0xFFFF


def _counted(anchors: Mapping[str, Place], site: str, size: int, facts: int, place: int) -> bool:
    if place < INLINE:
        return bool(facts >> FIRST_MEMBER + place & 1)
    word, bit = divmod(place - INLINE, A_WORD)
    return bool(anchors["more"][site][size][word].value >> bit & 1)


def _same(where: str, stated: Any, stored: Any) -> None:
    if stated != stored:
        raise VerificationFailed(where, stated, stored)
