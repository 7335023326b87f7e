"""/v1/sign-in: a wallet's signature for a browser's session (ERC-4361), and its end."""

from __future__ import annotations

import time
from typing import Annotated

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import ConfigDict, Field

from node import people, sign_in
from node.api.auth import (
    COOKIE,
    UNKNOWN,
    Gate,
    address_of,
    forgery_guard,
    refused,
    require,
    set_cookie,
    take_cookie,
)
from node.api.operator import OperatorRoute
from node.api.views.model import Asked, Shown
from node.api.views.people import SignedInShown, SignInTerms, in_order
from node.errors import Refused, Unauthenticated
from node.people import ADDRESS
from node.site import Site
from node.siwe import MAX_MESSAGE, checksummed

public = APIRouter(tags=["people"])
router = APIRouter(tags=["people"], route_class=OperatorRoute)


class SignIn(Asked):
    """The message as the wallet showed it, and its signature (EIP-191 or ERC-1271) as 0x-hex."""

    message: str = Field(max_length=MAX_MESSAGE)
    signature: str = Field(max_length=2 + 2 * 4096)
    # Spaces at the ends are no part of the grammar: they are refused, not taken away.
    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=False)


class SignedOut(Shown):
    """The session is over wherever its cookie lies."""

    signed_in: bool = False


@public.get("/sign-in/nonce", summary="What a sign-in message to this node must say")
def give_nonce(
    request: Request,
    address: Annotated[
        str | None, Query(pattern=ADDRESS, description="Comes back with its EIP-55 checksum.")
    ] = None,
) -> SignInTerms:
    gate, site = _parts(request)
    gate.nonces_asked.count(address_of(request))
    terms = sign_in.expected(site)
    nonce, expires_at = gate.nonces.give(time.time())
    return SignInTerms(
        address=None if address is None else checksummed(address),
        nonce=nonce,
        expires_at=expires_at,
        scheme=terms.scheme,
        domain=terms.domain,
        uri=terms.uri,
        chain_id=terms.chain_id,
    )


@public.post("/sign-in", summary="Begin a session with a message that a wallet signed")
async def begin(request: Request, response: Response, body: SignIn) -> SignedInShown:
    """The session comes as a cookie, so the request must come from one of our own pages."""

    def attempt() -> SignedInShown:
        gate, site = _parts(request)
        gate.sign_ins.count(address_of(request))
        forgery_guard(request)
        try:
            done = sign_in.sign_in(site, gate.nonces, gate.cookies, body.message, body.signature)
        except (Unauthenticated, Refused) as error:
            raise refused(request, UNKNOWN, error) from None
        gate.sign_ins.give_back(address_of(request))
        if before := request.cookies.get(COOKIE):  # whoever used this browser until now
            people.end_session(site.store, gate.cookies.digest(before))
        set_cookie(response, done.cookie, site)
        return SignedInShown(
            name=done.actor.name,
            address=str(done.actor.address),
            roles=in_order(done.actor),
            expires_at=done.expires_at,
        )

    return await run_sync(attempt)


@router.post("/sign-out", dependencies=[Depends(require())], summary="End this session")
async def end(request: Request, response: Response) -> SignedOut:
    gate, site = _parts(request)
    if cookie := request.cookies.get(COOKIE):
        await run_sync(people.end_session, site.store, gate.cookies.digest(cookie))
        take_cookie(response)
    return SignedOut()


def _parts(request: Request) -> tuple[Gate, Site]:
    return request.app.state.gate, request.app.state.site
