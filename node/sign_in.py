"""Signing in with a wallet: a nonce is handed out, a message comes back signed, a session begins.

A nonce says itself when it was given, under a key that the site's processes share: what strangers
ask for costs no memory.  It is good once and for `NONCE_SECONDS`: the transaction that begins the
session enters it among the used ones, which the database holds once each.  The message must name
this node by the endpoint of its settings (never by what the request says of itself) and the chain
that the node works on.
"""

from __future__ import annotations

import hmac
import re
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from node import people, siwe
from node.audit.entries import record
from node.errors import NodeError, Refused
from node.origins import origin_of
from node.people import Actor, Cookies
from node.siwe import Expected, Message, refused
from node.store import ChainState, Person, SignInNonce

if TYPE_CHECKING:
    from node.site import Site

NONCE_SECONDS = 300
NONCE = re.compile(r"([0-9a-f]{8})[0-9a-f]{16}([0-9a-f]{32})")  # seconds, chance, seal
SIGNATURE = re.compile(r"0x([0-9a-fA-F]{2}){1,4096}")
KEY_SIGNATURE_BYTES = 65


@dataclass(frozen=True)
class SignedIn:
    """A session that began, and its cookie on the one way out."""

    actor: Actor
    cookie: str
    expires_at: float


class Nonces:
    """Gives nonces and knows them again, with nothing kept; a new token ends those that were given.

    Letters and digits alone, as the ERC wants them: 4 bytes of Unix seconds, 8 of chance and the
    first 16 of an HMAC-SHA-256 over both, in hex.
    """

    def __init__(self, token: str) -> None:
        self._key = hmac.digest(token.encode(), b"fatechain sign-in nonce v1", "sha256")

    def give(self, now: float) -> tuple[str, float]:
        """A nonce and when it ends."""
        said = f"{int(now):08x}{secrets.token_hex(8)}"
        return said + self._seal(said), int(now) + NONCE_SECONDS

    def given_at(self, nonce: str, now: float) -> float:
        """When it was given.  Raises `Unauthenticated` (``SignInRefused``)."""
        form = NONCE.fullmatch(nonce)
        if form is None or not hmac.compare_digest(form[2], self._seal(nonce[: -len(form[2])])):
            raise _not_good("was not given by this node")
        given_at = int(form[1], 16)
        if now >= given_at + NONCE_SECONDS:
            raise _not_good("is too old")
        return given_at

    def _seal(self, said: str) -> str:
        return hmac.digest(self._key, said.encode(), "sha256")[:16].hex()


def expected(site: Site) -> Expected:
    """What a message to this node must say.  Raises `chain.errors.ChainUnavailable`."""
    endpoint = site.settings.endpoint
    scheme, domain = origin_of(endpoint).split("://")
    return Expected(scheme, domain, endpoint, _chain_id(site))


def sign_in(site: Site, nonces: Nonces, cookies: Cookies, text: str, signature: str) -> SignedIn:
    """Begin a session for whoever signed the message.

    Raises `Invalid` (``SignInMessageMalformed``), `Unauthenticated` (``SignInRefused``), `Refused`
    (``PersonUnknown``) and `chain.errors.ChainUnavailable` for an account that may be a contract.
    """
    message = siwe.parse(text)
    now = time.time()
    if not SIGNATURE.fullmatch(signature):
        raise refused("the signature is not 0x-hex")
    wanted = expected(site)
    given_at = nonces.given_at(message.nonce, now)
    ends = wanted.check(message, now, given_at)
    if not is_signed(site, message, bytes.fromhex(signature[2:]), now):
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
        _use(session, message.nonce, given_at + NONCE_SECONDS, now)
        end = ends if person.until is None else min(ends, person.until)
        cookie, expires_at = people.start_session(session, cookies, person.address, now, end)
        data = {"how": "wallet", "until": int(expires_at)}
        record(session, "person.signed_in", person.address, data, person.address)
    actor = Actor(person.name, person.address, frozenset(person.roles), "session")
    return SignedIn(actor, cookie, expires_at)


def is_signed(site: Site, message: Message, signature: bytes, now: float) -> bool:
    """Whether the account signed the message: with its key, or as a contract (ERC-1271).

    Only contracts of people of this site are asked: what a stranger's does may be anything, and
    as long as the chain lets it.
    """
    from eth_account.messages import defunct_hash_message

    text = message.text()
    if _signer(text, signature) == message.address:
        return True
    with site.store.read() as session:
        if people.standing(session, message.address, now) is None:
            return False
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


def _use(session: Session, nonce: str, ends: float, now: float) -> None:
    """Enter the nonce among the used ones; of two who bring the same at once, one can."""
    # A minute more than needed: a clock that was set back must not make a used one good again.
    session.execute(delete(SignInNonce).where(SignInNonce.expires_at < now - siwe.SKEW_SECONDS))
    session.add(SignInNonce(nonce=nonce, expires_at=ends))
    try:
        session.flush()
    except IntegrityError as error:
        raise _not_good("was used already") from error


def _not_good(why: str) -> NodeError:
    return refused(f"the nonce {why}", hint="try again: the page asks for a new one")


def _chain_id(site: Site) -> int:
    if site.settings.chain_id is not None:
        return site.settings.chain_id
    with site.store.read() as session:
        state = session.get(ChainState, 1)
    return state.chain_id if state is not None and state.chain_id else site.client().chain_id
