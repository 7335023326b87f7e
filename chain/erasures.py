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
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from chain import canonical
from chain.errors import VerificationFailed

MAX_RANGES = 1_000_000

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


def _require_in_order(receipt: Receipt) -> None:
    count, past = 0, -1
    for number, pair in enumerate(receipt.entries):
        if len(pair) != 2 or not past < pair[0] <= pair[1]:
            raise VerificationFailed(f"$.entries[{number}]", pair, "ranges in the log's order")
        count, past = count + pair[1] - pair[0] + 1, pair[1]
    if count != receipt.count:
        raise VerificationFailed("$.count", receipt.count, count)
