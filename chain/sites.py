"""A member's nodes: endpoint, roles, and keys by purpose."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntFlag
from typing import TYPE_CHECKING, Any

from eth_abi.abi import encode
from eth_typing import Hash32
from eth_utils.crypto import keccak

from chain.calls import Block, Call
from chain.canonical import word
from chain.contract import Contract
from chain.ids import derive_id

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

REQUEST = "request"
AUDIT = "audit"
ANCHOR = "anchor"
TLS = "tls"
_PROOF_CONTEXT = "FATE-Chain key proof v1"
_HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0  # of secp256k1


class SiteRole(IntFlag):
    DATA_OWNER = 1
    MODEL_USER = 2
    COORDINATOR = 4
    AUDITOR = 8


@dataclass(frozen=True)
class Site:
    """`operator` is the account the node signs transactions with; `until_block` 0: it stands."""

    id: str
    member: str
    operator: str
    name: str
    endpoint: str
    roles: SiteRole
    from_block: int
    until_block: int


@dataclass(frozen=True)
class Key:
    """`public_key` is 0x-hex: 32 bytes of Ed25519, or the address (20 bytes) of an "anchor" key.

    Valid in [from_block, until_block), 0: it stands.

    `proof` (0x-hex) is what the key signed of `key_proof_digest`; the chain verifies that of an
    "anchor" key alone.
    """

    id: str
    purpose: str
    public_key: str
    from_block: int
    until_block: int
    proof: str

    def is_valid_at(self, number: int) -> bool:
        return self.from_block <= number and (self.until_block == 0 or number < self.until_block)


@dataclass(frozen=True)
class KeyInput:
    """A key to be registered with its site, and its signature over `key_proof_digest`."""

    purpose: str
    public_key: str
    proof: str


def site_id(chain_id: int, sites: str, account: str, nonce: int) -> str:
    """The id that `register(…, nonce)` by the member's account will give."""
    return derive_id(chain_id, sites, account, nonce)


def key_id(chain_id: int, sites: str, site: str, purpose: str, public_key: str) -> str:
    """The id that the registry at address `sites` gives to a site's key; `public_key` is 0x-hex."""
    packed = encode(
        ["uint256", "address", "bytes32", "bytes32", "bytes"],
        [
            chain_id,
            sites,
            *(bytes.fromhex(value[2:]) for value in (site, word(purpose), public_key)),
        ],
    )
    return "0x" + bytes(keccak(packed)).hex()


def key_proof_digest(chain_id: int, sites: str, site: str, purpose: str, public_key: str) -> str:
    """The 32 bytes that a key signs to prove that whoever registers it holds it.

    keccak256(abi.encode("FATE-Chain key proof v1", chain id, registry, site, purpose, key)), as
    SiteRegistry.keyProofDigest: a proof counts for one site of one consortium.
    """
    packed = encode(
        ["string", "uint256", "address", "bytes32", "bytes32", "bytes"],
        [
            _PROOF_CONTEXT,
            chain_id,
            sites,
            *(bytes.fromhex(value[2:]) for value in (site, word(purpose), public_key)),
        ],
    )
    return "0x" + bytes(keccak(packed)).hex()


def anchor_key_input(account: "LocalAccount", chain_id: int, sites: str, site: str) -> KeyInput:
    """An account as an "anchor" key of the site, with the proof that the chain asks for."""
    public_key = account.address.lower()
    digest = key_proof_digest(chain_id, sites, site, ANCHOR, public_key)
    signed = account.unsafe_sign_hash(Hash32(bytes.fromhex(digest[2:])))
    return KeyInput(ANCHOR, public_key, "0x" + bytes(signed.signature).hex())


class Sites(Contract):
    artifact = "SiteRegistry"

    def site(self, site: str, *, block: Block | None = None) -> Site:
        """Refused with SiteUnknown."""
        found = self._read("site", site, block=block)
        return Site(
            id=site,
            member=found["member"],
            operator=found["operator"],
            name=found["name"],
            endpoint=found["endpoint"],
            roles=SiteRole(found["roles"]),
            from_block=found["fromBlock"],
            until_block=found["untilBlock"],
        )

    def keys(self, site: str, *, block: Block | None = None) -> tuple[Key, ...]:
        """All keys the site ever had, oldest first."""
        return tuple(_key(found) for found in self._read("keys", site, block=block))

    def key(self, key: str, *, block: Block | None = None) -> tuple[str, Key]:
        """The site that holds the key, and the key; refused with SiteKeyUnknown."""
        site, found = self._read("key", key, block=block)
        return site, _key(found)

    def proves(self, site: str, key: Key) -> bool:
        """Whether the key signed that it is this site's: a check of Ed25519 that the chain omits.

        A "request", "audit" or "anchor" key that does not is no key; whoever reads keys asks here.
        """
        chain, at = self.client.chain_id, self.address
        signed = key_proof_digest(chain, at, site, key.purpose, key.public_key)
        proves = _account_proves if key.purpose == ANCHOR else _ed25519_proves
        return proves(*(bytes.fromhex(text[2:]) for text in (key.public_key, key.proof, signed)))

    def key_proof_digest(
        self, site: str, purpose: str, public_key: str, *, block: Block | None = None
    ) -> str:
        """By the contract; the function of this name says the same without a chain."""
        found: str = self._read("keyProofDigest", site, purpose, public_key, block=block)
        return found

    def site_of(self, operator: str, *, block: Block | None = None) -> str:
        found: str = self._read("siteOf", operator, block=block)
        return found

    def operated_site(self, account: str, *, block: Block | None = None) -> str:
        """The site that the account operates or once operated; ZERO_ID: none."""
        found: str = self._read("operatedSite", account, block=block)
        return found

    def member_of(self, site: str, *, block: Block | None = None) -> str:
        found: str = self._read("memberOf", site, block=block)
        return found

    def anchor_key(self, account: str, *, block: Block | None = None) -> tuple[str, str]:
        """The site whose "anchor" key this address is or was, and the key; ZERO_ID: nobody's."""
        site, key = self._read("anchorKey", account, block=block)
        return site, key

    def cosigner_of(self, account: str, *, block: Block | None = None) -> str:
        """The member that the address cosigns heads of others' logs for now; ZERO_ID: none."""
        found: str = self._read("cosignerOf", account, block=block)
        return found

    def is_active(self, site: str, *, block: Block | None = None) -> bool:
        return bool(self._read("isActive", site, block=block))

    def require_active(self, site: str, *, block: Block | None = None) -> None:
        self._read("requireActive", site, block=block)

    def require_operator(self, site: str, caller: str, *, block: Block | None = None) -> None:
        self._read("requireOperator", site, caller, block=block)

    def sites(self, *, block: Block | None = None) -> tuple[str, ...]:
        return self._read_all("siteCount", "sites", block)

    def agree(self, site: str) -> Call:
        """By an account that shall operate a site that the member's account registers, or has."""
        return self._write("agree", site)

    def register(
        self,
        operator: str,
        name: str,
        endpoint: str,
        roles: SiteRole,
        keys: Sequence[KeyInput],
        nonce: int,
    ) -> Call:
        """By the account of an active member; another `operator` has agreed before."""
        inputs = [
            {"purpose": key.purpose, "publicKey": key.public_key, "proof": key.proof}
            for key in keys
        ]
        return self._write("register", operator, name, endpoint, int(roles), inputs, nonce)

    def set_endpoint(self, site: str, endpoint: str) -> Call:
        return self._write("setEndpoint", site, endpoint)

    def set_roles(self, site: str, roles: SiteRole) -> Call:
        return self._write("setRoles", site, int(roles))

    def change_operator(self, site: str, operator: str) -> Call:
        """By the member's account; another `operator` has agreed before."""
        return self._write("changeOperator", site, operator)

    def retire(self, site: str) -> Call:
        return self._write("retire", site)

    def add_key(self, site: str, key: KeyInput) -> Call:
        return self._write("addKey", site, key.purpose, key.public_key, key.proof)

    def revoke_key(self, site: str, key: str) -> Call:
        """Ends the key at once."""
        return self._write("revokeKey", site, key)


def _ed25519_proves(public: bytes, proof: bytes, digest: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(public).verify(proof, digest)
    except (InvalidSignature, ValueError):
        return False
    return True


def _account_proves(address: bytes, proof: bytes, digest: bytes) -> bool:
    """r, s, v of 65 bytes with the lower s, over the digest as it is."""
    from eth_keys.datatypes import Signature
    from eth_keys.exceptions import BadSignature
    from eth_utils.exceptions import ValidationError

    if len(proof) != 65 or proof[64] not in (27, 28):
        return False
    if int.from_bytes(proof[32:64], "big") > _HALF_ORDER:
        return False
    try:
        signature = Signature(proof[:64] + bytes([proof[64] - 27]))
        signer = signature.recover_public_key_from_msg_hash(digest)
    except (BadSignature, ValidationError, ValueError):
        return False
    return bytes(signer.to_canonical_address()) == address


def _key(found: Mapping[str, Any]) -> Key:
    return Key(
        id=found["id"],
        purpose=found["purpose"],
        public_key=found["publicKey"],
        from_block=found["fromBlock"],
        until_block=found["untilBlock"],
        proof=found["proof"],
    )
