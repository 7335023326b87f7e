"""Grants that their owner signs elsewhere: in a wallet, with a key that this node never sees.

    draft    what a request means, as the EIP-712 document that a wallet shows and signs
    relay    the signed terms go to the chain, paid by this site; the chain checks the signature

Whoever relays can change nothing: the signature covers every term.  The document about columns
stays at the node that holds the data; the terms carry its digest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from chain.canonical import digest_of
from chain.ids import ZERO_ID, new_nonce
from node.errors import Invalid
from node.refusals import chain_errors
from node.registration import GrantRequest, grant_terms
from node.store import GrantTerms as KeptTerms
from node.store import LocalDataset
from node.submission import Submitted, is_open, rehearse, submit

if TYPE_CHECKING:
    from chain.consents import GrantTerms
    from chain.network import Network
    from node.site import Site


@dataclass(frozen=True)
class Draft:
    """What is to be signed; numbers of 64 bits and more are decimal text, as wallets take them."""

    id: str
    signer: str  # the account of the dataset's owner, which has to sign
    terms: dict[str, Any]
    typed_data: dict[str, Any]
    column_rules: dict[str, str] | None


def draft(site: Site, request: GrantRequest) -> Draft:
    """Raises what `node.registration.sign_grant` raises; records nothing."""
    with chain_errors():
        network = site.network()
        terms, rules = grant_terms(site, network, request, new_nonce())
        id, signer = identify(network, terms)
        document = network.consents.typed_data(terms)
    return Draft(id, signer, terms.to_json(), plain(document), rules)


def relay(
    site: Site,
    terms: GrantTerms,
    signature: str,
    column_rules: Mapping[str, str] | None,
) -> Submitted:
    """Send signed terms to the chain.

    Raises `Unauthenticated` (``SignatureInvalid``) where the owner did not sign them, and `Invalid`
    where the node that holds the data lacks the document which the terms name.
    """
    check_rules(site, terms, column_rules)
    with chain_errors():
        network = site.network()
        id, signer = identify(network, terms)
        submitted = Submitted(id, f"grant.record:{id}")
        if is_open(site, submitted.intent):
            return submitted
        call = network.consents.grant(terms, signature)
        rehearse(site, call)
    kept = [] if column_rules is None else [KeptTerms(grant_id=id, column_rules=dict(column_rules))]
    facts = {"terms": terms.to_json(), "signer": signer}
    return submit(site, submitted, call, "grant.signed", facts, *kept, scope=terms.dataset_id)


def check_rules(site: Site, terms: GrantTerms, column_rules: Mapping[str, str] | None) -> None:
    """Raises `Invalid` unless the document is the one that the terms name, where it is needed."""
    found = ZERO_ID if column_rules is None else digest_of(dict(column_rules))
    with site.store.read() as session:
        query = select(LocalDataset.id).where(LocalDataset.id == terms.dataset_id)
        holds = session.scalars(query).first() is not None
    # Elsewhere the document is not needed, and should not be told.
    if found != terms.column_rules and (holds or column_rules is not None):
        raise Invalid(
            "InvalidRequest",
            "the document about columns is not the one whose digest was signed",
            found=found,
            allowed=terms.column_rules,
            hint="send column_rules as they were drafted",
        )


def identify(network: Network, terms: GrantTerms) -> tuple[str, str]:
    """The grant's id, and the account that has to sign."""
    from chain.consents import grant_id

    owner = network.datasets.dataset(terms.dataset_id).owner
    account = network.membership.member(owner).account
    address = network.consents.address
    return grant_id(network.client.chain_id, address, account, terms.nonce), account


def plain(value: Any) -> Any:
    """As JSON that every reader takes exactly: no number beyond 2**53."""
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, bytes):
        return "0x" + value.hex()
    return str(value) if type(value) is int and abs(value) >= 2**53 else value
