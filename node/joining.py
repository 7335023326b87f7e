"""How an institution asks for admission: one document, signed at home, looked at by members.

The document says what the newcomer will be: its account, its name, where its node answers and with
which keys.  It carries two signatures of the account, both EIP-712: `acceptance` is the one that
`Membership.admit` demands (nobody becomes a member without knowing), `signature` covers the whole
document, so that what a delegate reads is what the newcomer wrote.  Nothing of it but the account,
the name and the acceptance reaches the chain; of the contact only a digest is in it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic.alias_generators import to_camel

from chain import canonical, typed_data
from chain.ids import ZERO_ID
from node.directory import checked_endpoint
from node.errors import Conflict, Invalid, NodeError, TooLarge, Unauthenticated
from node.files import write_private
from node.identity import ANCHOR

if TYPE_CHECKING:
    from pathlib import Path

    from chain.network import Network
    from node.site import Site

FILE_NAME = "admission-request.json"
MAX_REQUEST_BYTES = 8192
MAX_NAME = 100  # as a proposal takes it
DOMAIN = "FATE-Chain Admission Request"
HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0  # of secp256k1

Address = Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{40}$")]
PublicKey = Annotated[str, Field(pattern=r"^0x[0-9a-f]{64}$")]
Signature = Annotated[str, Field(pattern=r"^0x[0-9a-f]{130}$")]
Digest = Annotated[str, Field(pattern=r"^0x[0-9a-f]{64}$")]

# The members of the document that are signed, in the order of the signed type.
_SIGNED = {
    "account": "address",
    "name": "string",
    "nonce": "uint256",
    "endpoint": "string",
    "requestKey": "bytes",
    "auditKey": "bytes",
    "anchorKey": "address",
    "contactDigest": "bytes32",
    "acceptance": "bytes",
}


class AdmissionRequest(BaseModel):
    """The document; JSON in camel case.

    Keys are Ed25519 (32 bytes), the anchor key an address; `nonce` is decimal text.
    """

    version: Literal[1] = 1
    chain_id: int = Field(ge=1, lt=2**53)
    consortium: Address
    account: Address
    name: str = Field(min_length=1, max_length=MAX_NAME)
    nonce: str = Field(pattern=r"^(0|[1-9][0-9]{0,77})$")
    endpoint: str = Field(max_length=200)
    request_key: PublicKey
    audit_key: PublicKey
    anchor_key: Address
    contact_digest: Digest | None = None
    acceptance: Signature
    signature: Signature

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        alias_generator=to_camel,
        validate_by_alias=True,
        validate_by_name=False,
    )

    @field_validator("name")
    @classmethod
    def _printable(cls, name: str) -> str:
        if not name.isprintable() or name != name.strip():
            raise ValueError("a name is printable and has no space at its ends")
        return name

    @field_validator("nonce")
    @classmethod
    def _fits(cls, nonce: str) -> str:
        if int(nonce) >= 2**256:
            raise ValueError("the nonce has more than 256 bits")
        return nonce

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """The document in these bytes; raises `TooLarge`, and `Invalid` for what is none."""
        if len(content) > MAX_REQUEST_BYTES:
            raise TooLarge(
                "MessageTooLarge",
                f"an admission request has at most {MAX_REQUEST_BYTES} bytes",
                found=len(content),
                allowed=MAX_REQUEST_BYTES,
            )
        try:
            return cls.model_validate(json.loads(content))
        except ValidationError as error:
            faults = [
                {"where": ".".join(map(str, fault["loc"])), "what": fault["msg"]}
                for fault in error.errors(include_input=False, include_url=False)
            ]
            raise Invalid(
                "InvalidRequest", "this is no admission request", found=faults[:10]
            ) from error
        except (ValueError, RecursionError) as error:
            raise Invalid("InvalidRequest", "an admission request is a JSON object") from error

    @property
    def id(self) -> str:
        """SHA-256 of the canonical document."""
        return canonical.digest_of(self.to_json())

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json", by_alias=True)


def make_request(
    site: Site, name: str | None = None, *, contact: bytes | None = None
) -> AdmissionRequest:
    """Sign this site's request for admission; ``contact`` is committed to by its SHA-256.

    The same request comes again as long as what it says is the same.  Raises `Conflict` for an
    account that is a member's, `Invalid` (``ContractAccount``) for one with code, and
    `chain.errors.ChainError`.
    """
    from chain.ids import new_nonce
    from chain.powers import powers

    network = site.network()
    powers(network, site.settings.from_block).require_none_hidden()
    identity, settings = site.identity, site.settings
    _check_has_a_key(network, identity.address)
    _check_not_a_member(network, identity.address)
    before = _written(settings.home / FILE_NAME)
    stands = before is not None and before.account == identity.address
    nonce = before.nonce if before is not None and stands else str(new_nonce())
    shown = name or (before.name if before is not None and stands else settings.name)
    unsigned = {
        "version": 1,
        "chainId": network.client.chain_id,
        "consortium": network.consortium.address,
        "account": identity.address,
        "name": shown,
        "nonce": nonce,
        "endpoint": settings.endpoint,
        "requestKey": "0x" + identity.request_public.hex(),
        "auditKey": "0x" + identity.audit_public.hex(),
        "anchorKey": "0x" + identity.public_key(ANCHOR).hex(),
        "contactDigest": None if contact is None else canonical.digest(contact),
        "acceptance": typed_data.sign(
            network.membership.typed_admission(identity.address, shown, int(nonce)),
            identity.account,
        ),
    }
    document = unsigned | {"signature": typed_data.sign(_typed(unsigned), identity.account)}
    request = AdmissionRequest.parse(json.dumps(document).encode())
    write_private(settings.home / FILE_NAME, _pretty(request))
    return request


def check_request(network: Network, content: bytes) -> AdmissionRequest:
    """The request in these bytes, if it is one for this consortium that its account signed.

    Raises `TooLarge`, `Invalid` (``ContractAccount`` for one of a contract), `Unauthenticated`
    (``SignatureInvalid``), and `Conflict` for an account that is a member's already.
    """
    request = AdmissionRequest.parse(content)
    here = {"chainId": network.client.chain_id, "consortium": network.consortium.address.lower()}
    found = {"chainId": request.chain_id, "consortium": request.consortium.lower()}
    if found != here:
        raise Invalid(
            "InvalidRequest", "the request is for another consortium", found=found, allowed=here
        )
    try:
        checked_endpoint(request.account, request.endpoint)
    except NodeError as error:
        raise Invalid(
            "InvalidRequest", "the endpoint is no URL of a node", found=error.found
        ) from error
    _check_has_a_key(network, request.account)
    asked = network.membership.typed_admission(request.account, request.name, int(request.nonce))
    _check_signed(asked, request.acceptance, request.account, "the acceptance")
    _check_signed(
        _typed(request.to_json()), request.signature, request.account, "the admission request"
    )
    _check_not_a_member(network, request.account)
    return request


def _check_not_a_member(network: Network, account: str) -> None:
    from chain.errors import ContractRefused

    try:
        member = network.membership.member_of(account)
    except ContractRefused:
        return
    raise Conflict(
        "Conflict",
        "this account is a member's already",
        found=member,
        hint="see `fatechain check`; a member that lost its account recovers by a vote",
    )


def _typed(document: dict[str, Any]) -> dict[str, Any]:
    """What the account signs: everything that the document says."""
    message = {name: document[name] for name in _SIGNED}
    message["nonce"] = int(message["nonce"])
    message["contactDigest"] = message["contactDigest"] or ZERO_ID
    return typed_data.document(
        DOMAIN,
        document["chainId"],
        document["consortium"],
        "AdmissionRequest",
        _SIGNED,
        message,
    )


def _check_signed(typed: dict[str, Any], signature: str, account: str, what: str) -> None:
    signer = _signer(typed, bytes.fromhex(signature[2:]))
    if signer is None or signer.lower() != account.lower():
        raise Unauthenticated(
            "SignatureInvalid",
            f"{what} is not signed by the account that it names",
            found=signer,
            allowed=account,
        )


def _signer(typed: dict[str, Any], signature: bytes) -> str | None:
    """Whose key made the signature; None for what the contracts would take from nobody.

    They read v as 27 or 28 and s in the lower half only; others read more, which would be signed
    for a delegate and for no vote.
    """
    from eth_account import Account
    from eth_account.messages import encode_typed_data
    from eth_keys.exceptions import BadSignature
    from eth_utils.exceptions import ValidationError as KeyInvalid

    if signature[64] not in (27, 28) or int.from_bytes(signature[32:64], "big") > HALF_ORDER:
        return None
    try:
        found: str = Account.recover_message(
            encode_typed_data(full_message=typed), signature=signature
        )
    except (BadSignature, KeyInvalid, ValueError):
        return None
    return found


def _check_has_a_key(network: Network, account: str) -> None:
    if not network.client.has_code(account):
        return
    raise Invalid(
        "ContractAccount",
        "the account is a contract's: only an account with a key asks by a request, since the "
        "node that asks is to act for it",
        found=account,
        hint="ask with a home of its own account (`fatechain init`); or have a member propose the "
        "contract by hand: `fatechain proposal create admit`, with what the contract accepts as "
        "its signature (ERC-1271)",
    )


def _written(path: Path) -> AdmissionRequest | None:
    """The request that was made before, if any; one that cannot be read is made anew."""
    try:
        return AdmissionRequest.parse(path.read_bytes())
    except (FileNotFoundError, NodeError):
        return None


def _pretty(request: AdmissionRequest) -> bytes:
    return (json.dumps(request.to_json(), indent=2, ensure_ascii=False) + "\n").encode()
