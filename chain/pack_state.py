"""What an evidence pack says of the chain, held against the contracts' storage at one block.

    block, nodes    as in `chain.state_proof`; a pack without an end is proved at its `lastBlock`
    bounds          headers {number, hash, header} of the blocks beside which its period begins and
                    ends, in their order: those before and at `firstBlock` where it has a beginning,
                    those at and after `lastBlock` where it has an end, but the proof's own

So the file alone shows which head the site had anchored, and that none was newer; every key of the
sites in it, and that one of them signed; how many jobs there are; and that the blocks are those of
the period. That a block is one of the chain its hash says: anybody can compare it.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from chain import state_proof
from chain.certificate import Hash, Number, PublicKey, Text
from chain.errors import VerificationFailed
from chain.sites import AUDIT
from chain.state_proof import BlockPart, Header, Slots, StatePart, block_part, header_of
from chain.storage import Place, Storage, require_anchored, require_content, require_stands

if TYPE_CHECKING:
    from chain.network import Network


class _KeyTold(BaseModel):
    """A key as `chain.pack` tells it; the hashes of sites and keys, blocks."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, alias_generator=to_camel)

    site: Hash
    id: Hash
    purpose: Text
    public_key: PublicKey
    from_block: Number
    until_block: Number


class PackStatePart(StatePart):
    bounds: Annotated[list[BlockPart], Field(max_length=4)]


def prove(network: "Network", value: Mapping[str, Any], block: int) -> dict[str, Any] | None:
    """The part `chain` of a pack, at a block in which all that the pack says stands.

    None where the endpoint gives no proofs, or where the contracts say something else. Raises
    ChainUnavailable.
    """
    client = network.client
    bounds = [block_part(client, number) for number in _bounds(value["scope"], block)]
    if any(part is None for part in bounds):
        return None
    try:
        made = state_proof.prove(client, block, lambda slots: list(as_stored(slots, value, block)))
    except VerificationFailed:
        return None
    return made and made | {"bounds": bounds}


def proved(value: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(where, what holds) of a pack by its part `chain`; raises VerificationFailed."""
    chain = value["chain"]
    if chain is None:
        yield "$.chain", "no storage proof is included: ask the chain for the anchored head"
        return
    header, slots = state_proof.proved(chain, "$.chain")
    yield "$.chain.block", f"the header of block {header.number} has this hash"
    _period(value["scope"], header, chain["bounds"])
    yield "$.scope", "names the blocks of its period, by their headers"
    yield from as_stored(slots, value, header.number)
    slots.require_all_used()
    yield "$.chain", f"all of this stands in the contracts' storage at block {header.number}"


def as_stored(slots: Slots, value: Mapping[str, Any], block: int) -> Iterator[tuple[str, str]]:
    """(where, what holds) for each thing that a pack says as the contracts do at the block.

    Raises VerificationFailed at the first that they say otherwise.
    """
    storage, log, scope = (
        Storage(slots, value["network"]["consortium"]),
        value["log"],
        value["scope"],
    )
    registry = value["network"]["jobRegistry"]
    if registry.lower() != storage.address("jobs"):
        raise VerificationFailed("$.network.jobRegistry", registry, storage.address("jobs"))
    yield "$.network", "the consortium's address book names this registry of jobs"
    anchors = storage["anchors"]
    require_anchored(anchors, log["site"], log["anchored"], "$.log.anchored")
    yield "$.log.anchored", "the site anchored this head"
    if scope["until"] is None:
        newest = anchors["logs"][log["site"]].value >> 160 & 2**64 - 1
        if newest != log["anchored"]["size"]:
            raise VerificationFailed("$.log.anchored.size", log["anchored"]["size"], newest)
        yield "$.log.anchored.size", f"no newer head was anchored up to block {block}"
    if all(scope.get(name) is None for name in ("from", "until", "site", "dataset", "job")):
        require_stands("$.jobs", len(value["jobs"]), storage["jobs"]["list"])
        yield "$.jobs", "are as many as the registry has"
    sites = storage["sites"]
    _keys(sites, log["site"], value["keys"], block)
    yield "$.keys", "are all keys that these sites had"
    _issuer(sites, value["issued"], log["anchored"]["block"])
    yield "$.issued", "an audit key of the site of the log signed it"


def keys_at(keys: Iterable[Mapping[str, Any]], block: int) -> list[dict[str, Any]]:
    """Keys as `chain.pack` tells them, as they stood at a block: without later ones, and those that
    ended later still valid."""
    return [
        {**key, "untilBlock": 0 if key["untilBlock"] > block else key["untilBlock"]}
        for key in keys
        if key["fromBlock"] <= block
    ]


def _keys(sites: Mapping[str, Place], own: str, keys: list[Any], block: int) -> None:
    """None is of a later block, which storage at this one says nothing of."""
    told = {own: 0}
    for number, key in enumerate(keys):
        where = f"$.keys[{number}]"
        if not _is_key(key):
            raise VerificationFailed(where, "another form", "a key as the registry has them")
        told.setdefault(key["site"], 0)
        for name in ("fromBlock", "untilBlock"):
            if key[name] > block:
                raise VerificationFailed(f"{where}.{name}", key[name], f"at most block {block}")
        told[key["site"]] += 1
        record = sites["keys"][key["id"]]
        require_stands(f"{where}.site", key["site"], record["site"])
        require_stands(f"{where}.purpose", key["purpose"], record["key"]["purpose"])
        raw = bytes.fromhex(key["publicKey"][2:])
        require_content(f"{where}.publicKey", key["publicKey"], raw, record["key"]["publicKey"])
        require_stands(f"{where}.fromBlock", key["fromBlock"], record["key"]["fromBlock"])
        require_stands(f"{where}.untilBlock", key["untilBlock"], record["key"]["untilBlock"])
    ids = [key["id"] for key in keys]
    if len(set(ids)) != len(ids):
        raise VerificationFailed("$.keys", "a key twice", "each once")
    for site, count in told.items():
        require_stands("$.keys", count, sites["sites"][site]["keys"])


def _is_key(key: Any) -> bool:
    """Of the form in which `chain.pack` tells keys; a pack's keys are looked at nowhere before."""
    try:
        _KeyTold.model_validate(key)
    except ValueError:
        return False
    return True


def _issuer(sites: Mapping[str, Place], issued: Mapping[str, Any], block: int) -> None:
    """As `chain.statement.require_audit_key`, but that the key proved itself when it was added."""
    record = sites["keys"][issued["keyId"]]
    key = record["key"]
    require_stands("$.issued.keyId", issued["by"], record["site"])
    require_stands("$.issued.keyId", AUDIT, key["purpose"])
    raw = bytes.fromhex(issued["publicKey"][2:])
    require_content("$.issued.publicKey", issued["publicKey"], raw, key["publicKey"])
    if 0 < key["untilBlock"].value <= block:
        raise VerificationFailed("$.issued.keyId", issued["keyId"], f"a key after block {block}")


# ── The blocks of the period


def _bounds(scope: Mapping[str, Any], block: int) -> list[int]:
    """The blocks whose headers show that a pack's blocks are those of its period."""
    first, last = scope["firstBlock"], scope["lastBlock"]
    beside: set[int] = set()
    if scope["from"] is not None:
        beside |= {first - 1, first} if first <= last else {first - 1}
    if scope["until"] is not None:
        beside |= {last, last + 1}
    return sorted(number for number in beside if 0 <= number < block)


def _period(scope: Mapping[str, Any], at: Header, bounds: list[Mapping[str, Any]]) -> None:
    needed = _bounds(scope, at.number)
    numbers = [part["number"] for part in bounds]
    if numbers != needed:
        raise VerificationFailed("$.chain.bounds", numbers, needed)
    headers = {at.number: at}
    for position, part in enumerate(bounds):
        headers[part["number"]] = header_of(part, f"$.chain.bounds[{position}]")
    for number, header in headers.items():
        before = headers.get(number - 1)
        if before is not None and header.parent != before.hash:
            raise VerificationFailed("$.chain.bounds", header.parent, f"the parent, {before.hash}")
    first, last = scope["firstBlock"], scope["lastBlock"]
    if last > at.number or (scope["until"] is None and last != at.number):
        raise VerificationFailed("$.scope.lastBlock", last, at.number)
    if first > last + 1:
        raise VerificationFailed("$.scope.firstBlock", first, f"at most {last + 1}")
    if scope["from"] is None:
        if first != 0:
            raise VerificationFailed("$.scope.firstBlock", first, 0)
    else:
        start = whole_seconds(scope["from"])
        if first > 0 and headers[first - 1].timestamp >= start:
            raise VerificationFailed("$.scope.firstBlock", first, f"the first from {scope['from']}")
        if first <= last and headers[first].timestamp < start:
            raise VerificationFailed("$.scope.firstBlock", first, f"none before {scope['from']}")
    if scope["until"] is not None:
        end = whole_seconds(scope["until"])
        if last >= 0 and headers[last].timestamp >= end:
            raise VerificationFailed("$.scope.lastBlock", last, f"one before {scope['until']}")
        if last < at.number and headers[last + 1].timestamp < end:
            raise VerificationFailed("$.scope.lastBlock", last, f"the last before {scope['until']}")


def whole_seconds(moment: str) -> int:
    """Blocks have whole seconds: the first that is not before it."""
    return math.ceil(datetime.fromisoformat(moment).timestamp())
