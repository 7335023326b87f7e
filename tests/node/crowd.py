"""People who sign in: their wallets, their browsers, and a chain for contract accounts."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from eth_account.messages import encode_defunct
from fastapi import FastAPI

from chain.client import ChainClient
from chain.testing import InProcessChain
from chain.testnet import dev_account
from node import people, siwe
from node.people import NewKey
from node.site import Site
from node.siwe import Message
from tests.node.face import FAST_SCRYPT, OWN
from tests.node.told import told

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

ENDPOINT = "https://bank.example:8443"
OWN_PAGE = {"Origin": ENDPOINT, "X-FateChain-Request": "1"}

# Answers isValidSignature(digest, …) with yes for the digest that it was called with last:
# `approve` is any other call.  Written by hand, so that no compiler is needed:
#   if selector == 0x1626ba7e: return (calldata[4:36] == storage[0]) * selector << 224
#   else: storage[0] = calldata[4:36]
WALLET = bytes.fromhex(
    "602f80600b6000396000f3"
    "60003560e01c631626ba7e14601657"
    "60043560005500"
    "5b6004356000541463" + "1626ba7e" + "02" + "60e01b60005260206000f3"
)


class WalletSite(Site):
    """A site whose chain lies in this process."""

    chain: InProcessChain

    def client(self, account: Any = None) -> ChainClient:
        return self.chain.client(account)


def make_wallet_site(home: Path, chain: InProcessChain, **settings: Any) -> WalletSite:
    values = {
        "name": "bank",
        "site_id": OWN,
        "endpoint": ENDPOINT,
        "redis_url": f"unix://{home}/none.sock",
    }
    site = WalletSite.create(home, scrypt_cost=FAST_SCRYPT, **(values | settings))
    site.chain = chain
    return site


def wallet(number: int) -> LocalAccount:
    return dev_account(number)


def add(site: Site, number: int, *roles: str, until: float | None = None) -> str:
    """A person who signs with a development account; the address."""
    address = wallet(number).address
    people.add(site.store, address, f"person {number}", roles, until)
    return address.lower()


def key_for(site: Site, number: int, *roles: str, seconds: float = 3600) -> NewKey:
    """An API key that the holder of the site's token made for a person."""
    address = wallet(number).address
    return people.create_key(
        site.store, address, "a program", roles, seconds, by=people.token_actor()
    )


async def terms(browser: httpx.AsyncClient) -> dict[str, Any]:
    answer = await browser.get("/v1/sign-in/nonce")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def message_for(terms: dict[str, Any], address: str, **changes: Any) -> Message:
    """What the sign-in page makes of the terms."""
    return Message(
        **{
            "domain": terms["domain"],
            "address": address,
            "uri": terms["uri"],
            "chain_id": terms["chain_id"],
            "nonce": terms["nonce"],
            "issued_at": siwe.written(time.time()),
            "statement": terms["statement"],
        }
        | changes
    )


def signed(message: Message, number: int) -> dict[str, str]:
    """The body of a sign-in."""
    signature = wallet(number).sign_message(encode_defunct(text=message.text())).signature
    return {"message": message.text(), "signature": "0x" + bytes(signature).hex()}


async def sign_in(browser: httpx.AsyncClient, number: int, **changes: Any) -> httpx.Response:
    """As the page does it: terms, message, signature, session."""
    message = message_for(await terms(browser), wallet(number).address, **changes)
    return await browser.post("/v1/sign-in", json=signed(message, number), headers=OWN_PAGE)


def browser(app: FastAPI) -> httpx.AsyncClient:
    """At the node's endpoint, with a jar of its own."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url=ENDPOINT)


def program(app: FastAPI, key: str) -> httpx.AsyncClient:
    """With an API key or the site's token."""
    client = browser(app)
    client.headers["Authorization"] = f"Bearer {key}"
    return client


def entries(site: Site, kind: str) -> list[dict[str, Any]]:
    """What the audit log has of a kind, oldest first."""
    return told(site, kind)
