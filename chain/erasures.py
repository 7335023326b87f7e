"""Receipts of erasure: a site says that the payloads of a scope are gone, and signs it.

    type        erasure
    site        whose log
    scope       what was erased together: a job, a dataset, or another id
    reason      in words
    actor       who asked for it
    entry       id of the entry `payload.erased` of the log
    entries     indexes of the erased entries, as ranges [first, last] in their order
    count       how many they are
    digest      SHA-256 over their leaf hashes, one behind the other
    erasedAt    RFC 3339 in UTC
    keyId       the site's audit key
    signature   Ed25519 by that key, base64, over the canonical JSON of all of the above

The leaves stay in the log, so anybody who reads them recomputes the digest. That nobody kept a copy
of what was erased is nothing that a receipt can show: it is the site's word.
"""

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from chain import canonical
from chain.errors import ChainError, VerificationFailed
from chain.sites import AUDIT
from chain.standalone import Check, Report

if TYPE_CHECKING:
    from chain.network import Network

TYPE = "erasure"
MAX_BYTES = 16 * 1024 * 1024
MAX_RANGES = 1_000_000
ASK_THE_CHAIN: Mapping[str, str] = {
    "signature": "that the site had the key that the receipt names, and that it signed this",
    "digest": "no chain tells it: recompute it from the leaves of the site's log",
}
"""Subject → what the file cannot show of it."""

Hash = Annotated[str, Field(pattern=r"^0x[0-9a-f]{64}$")]
Text = Annotated[str, Field(max_length=1000)]
Index = Annotated[int, Field(ge=0, le=canonical.MAX_INTEGER)]


class Receipt(BaseModel):
    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        validate_by_alias=True,
        validate_by_name=False,
    )
    type: Annotated[str, Field(pattern="^erasure$")]
    site: Hash
    scope: Text
    reason: Text
    actor: Text
    entry: Text
    entries: Annotated[list[list[Index]], Field(max_length=MAX_RANGES)]
    count: Index
    digest: Hash
    erased_at: Text
    key_id: Hash
    signature: Text


LeafHashAt = Callable[[int], bytes]
"""index → leaf hash, from a log that the reader trusts or has proved; raises where it has none."""


def ranges(indexes: list[int]) -> list[list[int]]:
    """[1, 2, 3, 7] → [[1, 3], [7, 7]], of indexes in their order."""
    found: list[list[int]] = []
    for index in indexes:
        if found and found[-1][1] == index - 1:
            found[-1][1] = index
        else:
            found.append([index, index])
    return found


def verify_receipt(
    receipt: Mapping[str, Any], public_key: bytes, leaf_hash_at: LeafHashAt | None = None
) -> Receipt:
    """The receipt, if the key (Ed25519, 32 bytes) signed it and, where the log is at hand, its
    digest is that of the log's leaves. Raises VerificationFailed, whatever is given.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        found = Receipt.model_validate(dict(receipt))
        unsigned = {name: value for name, value in receipt.items() if name != "signature"}
        content = canonical.dumps(unsigned)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, ("$", *fault["loc"])))
        raise VerificationFailed(where, fault["msg"], "a receipt of erasure") from error
    except (canonical.NotCanonical, TypeError, ValueError) as error:
        raise VerificationFailed("$", "no JSON", "a receipt of erasure") from error
    try:
        signature = base64.b64decode(found.signature, validate=True)
        if base64.b64encode(signature).decode() != found.signature:
            raise ValueError("another spelling of a signature")
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, content)
    except (InvalidSignature, binascii.Error, ValueError) as error:
        raise VerificationFailed("$.signature", "another signature", "the audit key's") from error
    _require_in_order(found)
    if leaf_hash_at is not None:
        digest = sha256()
        for first, last in found.entries:
            for index in range(first, last + 1):
                digest.update(leaf_hash_at(index))
        if found.digest != "0x" + digest.hexdigest():
            raise VerificationFailed("$.digest", found.digest, "0x" + digest.hexdigest())
    return found


def to_file(receipt: Mapping[str, Any]) -> bytes:
    """The receipt as a file that `fatechain verify` reads."""
    return canonical.dumps(dict(receipt)) + b"\n"


def verify_erasure(content: bytes, network: "Network") -> Report:
    """A receipt's file against the keys that the chain has of its site. Raises nothing that its
    input can cause."""
    return Report(tuple(_checks(content, network)))


def verify_erasure_alone(content: bytes) -> Report:
    """Its form alone: the file names a key and does not hold it."""
    return Report(tuple(_checks(content, None)))


def _checks(content: bytes, network: "Network | None") -> Iterator[Check]:
    try:
        receipt = _parsed(content)
        stated = Receipt.model_validate(receipt)
        _require_in_order(stated)
        yield Check("format", "$", True, f"tells of {stated.count} entries, in the log's order")
        if network is not None:
            verify_receipt(receipt, audit_key(network, stated))
            yield Check("signature", "$.signature", True, f"site {stated.site} signed it")
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, ("$", *fault["loc"])))
        yield Check("format", where, False, fault["msg"])
    except VerificationFailed as failure:
        name = "signature" if failure.where in ("$.signature", "$.keyId") else "format"
        yield Check(name, failure.where, False, str(failure)[:400])
    except ChainError as error:
        yield Check("signature", "$.site", False, f"the chain says otherwise: {error}"[:400])


def _parsed(content: bytes) -> dict[str, Any]:
    if len(content) > MAX_BYTES:
        raise VerificationFailed("$", f"{len(content)} bytes", f"at most {MAX_BYTES}")
    try:
        value = canonical.loads(content.removesuffix(b"\n"))
    except canonical.NotCanonical as error:
        raise VerificationFailed("$", str(error), "canonical JSON") from error
    if not isinstance(value, dict):
        raise VerificationFailed("$", "no object", "a receipt of erasure")
    return value


def audit_key(network: "Network", receipt: Receipt) -> bytes:
    """Any audit key that the site ever proved: a receipt is older than the rotations after it."""
    for key in network.sites.keys(receipt.site):
        is_wanted = (key.id, key.purpose) == (receipt.key_id, AUDIT)
        if is_wanted and network.sites.proves(receipt.site, key):
            return bytes.fromhex(key.public_key.removeprefix("0x"))
    raise VerificationFailed("$.keyId", receipt.key_id, "an audit key of the site")


def _require_in_order(receipt: Receipt) -> None:
    count, past = 0, -1
    for number, pair in enumerate(receipt.entries):
        if len(pair) != 2 or not past < pair[0] <= pair[1]:
            raise VerificationFailed(f"$.entries[{number}]", pair, "ranges in the log's order")
        count, past = count + pair[1] - pair[0] + 1, pair[1]
    if count != receipt.count:
        raise VerificationFailed("$.count", receipt.count, count)
