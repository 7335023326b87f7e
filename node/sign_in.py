"""Signing in with a wallet: a nonce is handed out, a message comes back signed, a session begins.

A nonce is good once and for `NONCE_SECONDS`; it is taken before the signature is looked at, so a
message is tried once, whatever comes of it.  The message must name this node by the endpoint of its
settings (never by what the request says of itself) and the chain that the node works on.
"""

from __future__ import annotations

import re
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select

from node import people, siwe
from node.audit.entries import record
from node.errors import Refused, TooMany
from node.origins import origin_of
from node.people import Actor, Cookies
from node.siwe import Expected, Message, refused
from node.store import ChainState, Person, SignInNonce

if TYPE_CHECKING:
    from node.site import Site

NONCE_SECONDS = 300
MAX_NONCES = 10_000  # handed out and not used
SIGNATURE = re.compile(r"0x([0-9a-fA-F]{2}){1,4096}")
KEY_SIGNATURE_BYTES = 65


@dataclass(frozen=True)
class SignedIn:
    """A session that began, and its cookie on the one way out."""

    actor: Actor
    cookie: str
    expires_at: float


def expected(site: Site) -> Expected:
    """What a message to this node must say.  Raises `chain.errors.ChainUnavailable`."""
    endpoint = site.settings.endpoint
    scheme, domain = origin_of(endpoint).split("://")
    return Expected(scheme, domain, endpoint, _chain_id(site))


def new_nonce(site: Site) -> tuple[str, float]:
    """A nonce and when it ends.  Raises `TooMany` where too many wait for their use."""
    now = time.time()
    nonce = secrets.token_hex(16)
    with site.store.begin() as session:
        session.execute(delete(SignInNonce).where(SignInNonce.expires_at <= now))
        waiting = session.scalar(select(func.count()).select_from(SignInNonce)) or 0
        if waiting >= MAX_NONCES:
            raise TooMany(
                "TooManyAttempts", "too many sign-ins are under way", hint="try again in a minute"
            )
        session.add(SignInNonce(nonce=nonce, expires_at=now + NONCE_SECONDS))
    return nonce, now + NONCE_SECONDS


def sign_in(site: Site, cookies: Cookies, text: str, signature: str) -> SignedIn:
    """Begin a session for whoever signed the message.

    Raises `Invalid` (``SignInMessageMalformed``), `Unauthenticated` (``SignInRefused``), `Refused`
    (``PersonUnknown``) and `chain.errors.ChainUnavailable` for an account that may be a contract.
    """
    message = siwe.parse(text)
    now = time.time()
    if not SIGNATURE.fullmatch(signature):
        raise refused("the signature is not 0x-hex")
    wanted = expected(site)
    ends = wanted.check(message, now, _take(site, message, now))
    if not is_signed(site, message, bytes.fromhex(signature[2:])):
        raise refused("the signature is not that of the account", found=message.address)
    with site.store.begin() as session:
        person = session.get(Person, message.address.lower())
        if person is None or not people.is_standing(person, now):
            raise Refused(
                "PersonUnknown",
                "this account may not act at this site",
                found=message.address,
                hint="an operator of the site adds people: `fatechain person add`",
            )
        end = ends if person.until is None else min(ends, person.until)
        cookie, expires_at = people.start_session(session, cookies, person.address, now, end)
        data = {"how": "wallet", "until": int(expires_at)}
        record(session, "person.signed_in", person.address, data, person.address)
    actor = Actor(person.name, person.address, frozenset(person.roles), "session")
    return SignedIn(actor, cookie, expires_at)


def is_signed(site: Site, message: Message, signature: bytes) -> bool:
    """Whether the account signed the message: with its key, or as a contract (ERC-1271)."""
    from eth_account.messages import defunct_hash_message

    text = message.text()
    if _signer(text, signature) == message.address:
        return True
    from chain.accounts import accepts_signature

    digest = bytes(defunct_hash_message(text=text))
    return accepts_signature(site.client(), message.address, digest, signature)


def _signer(text: str, signature: bytes) -> str | None:
    """The account whose key made the signature (EIP-191), if it is one of a key."""
    from eth_account import Account
    from eth_account.messages import encode_defunct
    from eth_keys.exceptions import BadSignature
    from eth_utils.exceptions import ValidationError

    # Wallets write the parity as 27 or 28, some as 0 or 1.
    if len(signature) != KEY_SIGNATURE_BYTES or signature[-1] not in (0, 1, 27, 28):
        return None
    try:
        found: str = Account.recover_message(encode_defunct(text=text), signature=signature)
    except (BadSignature, ValidationError, ValueError):
        return None
    return found


def _take(site: Site, message: Message, now: float) -> float:
    """Take the message's nonce out of those that may be used; when it was handed out."""
    # One statement: of two who bring the same nonce at once, one finds it.
    take = (
        delete(SignInNonce)
        .where(SignInNonce.nonce == message.nonce)
        .returning(SignInNonce.expires_at)
    )
    with site.store.begin() as session:
        expires_at = session.scalar(take)
    if expires_at is None or expires_at <= now:
        raise refused(
            "the nonce was not given by this node, was used already, or is too old",
            hint="try again: the page asks for a new one",
        )
    return expires_at - NONCE_SECONDS


def _chain_id(site: Site) -> int:
    if site.settings.chain_id is not None:
        return site.settings.chain_id
    with site.store.read() as session:
        state = session.get(ChainState, 1)
    return state.chain_id if state is not None and state.chain_id else site.client().chain_id
