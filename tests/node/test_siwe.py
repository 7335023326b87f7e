"""Sign-In with Ethereum: the grammar to the letter, and every way to sign in that must fail."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from eth_account.messages import defunct_hash_message
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select

from chain.testing import InProcessChain
from node import people, siwe
from node.api.app import create_app
from node.api.auth import COOKIE
from node.errors import Invalid
from node.sign_in import NONCE_SECONDS, Nonces
from node.site import Site
from node.siwe import MAX_MESSAGE, MAX_VALID_SECONDS, SKEW_SECONDS, Message, parse
from node.store import SignInNonce
from tests.node.crowd import (
    ENDPOINT,
    OWN_PAGE,
    WALLET,
    WalletSite,
    add,
    browser,
    entries,
    make_wallet_site,
    message_for,
    sign_in,
    signed,
    terms,
    wallet,
)
from tests.node.face import is_problem

VECTORS = json.loads(
    (Path(__file__).parents[1] / "vectors" / "siwe.json").read_text(encoding="utf-8")
)
ADA = 3  # the development account that signs for the person of these tests


# ── The grammar ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", VECTORS["positive"])
def test_a_message_of_the_grammar_is_read_and_written_back(name: str) -> None:
    vector = VECTORS["positive"][name]
    found = parse(vector["message"])
    fields = dict(vector["fields"])
    if "resources" in fields:
        fields["resources"] = tuple(fields["resources"])
    assert found == Message(**fields)
    assert found.text() == vector["message"]


@pytest.mark.parametrize("name", VECTORS["negative"]["changes"])
def test_a_message_beyond_the_grammar_is_refused(name: str) -> None:
    base = VECTORS["negative"]["base"]
    old, new = VECTORS["negative"]["changes"][name]
    parse(base)
    assert old in base
    with pytest.raises(Invalid) as refused:
        parse(base.replace(old, new))
    assert refused.value.code == "SignInMessageMalformed"


def test_a_message_has_a_bounded_length() -> None:
    base = VECTORS["negative"]["base"]
    with pytest.raises(Invalid):
        parse(base + "x" * (MAX_MESSAGE + 1 - len(base)))


@given(
    nonce=st.from_regex(r"[A-Za-z0-9]{8,40}", fullmatch=True),
    chain=st.integers(0, 2**64 - 1),
    statement=st.none() | st.from_regex(r"[A-Za-z0-9 .,:;!?'()/@-]{1,60}", fullmatch=True),
    request=st.none() | st.from_regex(r"[A-Za-z0-9:@.-]{0,20}", fullmatch=True),
    resources=st.none() | st.lists(st.just("https://bank.example/a")).map(tuple),
)
def test_what_is_written_is_read_as_the_same(
    nonce: str,
    chain: int,
    statement: str | None,
    request: str | None,
    resources: tuple[str, ...] | None,
) -> None:
    message = Message(
        domain="bank.example",
        address=wallet(ADA).address,
        uri="https://bank.example",
        chain_id=chain,
        nonce=nonce,
        issued_at="2026-11-23T06:00:00Z",
        statement=statement,
        request_id=request,
        resources=resources,
    )
    assert parse(message.text()) == message


# ── Signing in ───────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def chain() -> InProcessChain:
    return InProcessChain()


@pytest.fixture(scope="module")
def site(chain: InProcessChain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WalletSite]:
    with make_wallet_site(tmp_path_factory.mktemp("siwe") / "bank", chain) as site:
        add(site, ADA, "delegate", "auditor")
        yield site


@pytest.fixture
def app(site: Site) -> FastAPI:
    """A new one for each test: attempts are counted in its memory."""
    return create_app(site.settings.home, site)


@pytest.fixture
async def page(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with browser(app) as page:
        yield page


def used_nonces(site: Site) -> int:
    with site.store.read() as session:
        return session.scalar(select(func.count()).select_from(SignInNonce)) or 0


async def test_a_signed_message_begins_a_session(page: httpx.AsyncClient, site: Site) -> None:
    answer = await sign_in(page, ADA)
    assert answer.status_code == 200, answer.text
    assert answer.json()["roles"] == ["delegate", "auditor"]
    me = (await page.get("/v1/me")).json()
    assert me["address"] == wallet(ADA).address.lower()
    assert me["how"] == "session"
    told = entries(site, "person.signed_in")[-1]
    assert (told["subject"], told["actor"]) == (me["address"], me["address"])


async def test_the_cookie_is_kept_from_scripts_and_other_sites(page: httpx.AsyncClient) -> None:
    cookie = (await sign_in(page, ADA)).headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}=")
    for attribute in ("HttpOnly", "SameSite=strict", "Secure", "Path=/"):
        assert attribute in cookie


async def test_signing_out_ends_the_session_wherever_its_cookie_lies(
    app: FastAPI, page: httpx.AsyncClient
) -> None:
    await sign_in(page, ADA)
    stolen = page.cookies[COOKIE]
    answer = await page.post("/v1/sign-out", headers=OWN_PAGE)
    assert answer.json() == {"signed_in": False}
    async with browser(app) as thief:
        thief.cookies.set(COOKIE, stolen)
        is_problem(await thief.get("/v1/me"), 401, "Unauthenticated")


async def test_a_message_signs_in_once(page: httpx.AsyncClient) -> None:
    body = signed(message_for(await terms(page), wallet(ADA).address), ADA)
    assert (await page.post("/v1/sign-in", json=body, headers=OWN_PAGE)).status_code == 200
    is_problem(await page.post("/v1/sign-in", json=body, headers=OWN_PAGE), 401, "SignInRefused")


async def test_of_two_at_once_with_one_message_one_signs_in(page: httpx.AsyncClient) -> None:
    body = signed(message_for(await terms(page), wallet(ADA).address), ADA)
    answers = await asyncio.gather(
        *(page.post("/v1/sign-in", json=body, headers=OWN_PAGE) for _ in range(4))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 401, 401, 401]


async def test_what_a_stranger_asks_for_and_tries_leaves_nothing_behind(
    page: httpx.AsyncClient, site: Site
) -> None:
    before = used_nonces(site)
    for _ in range(3):
        await terms(page)
    is_problem(await sign_in(page, ADA + 1), 403, "PersonUnknown")
    message = message_for(await terms(page), wallet(ADA).address)
    answer = await page.post("/v1/sign-in", json=signed(message, ADA + 1), headers=OWN_PAGE)
    is_problem(answer, 401, "SignInRefused")
    assert used_nonces(site) == before


async def test_a_message_signs_in_once_whichever_process_takes_it(
    page: httpx.AsyncClient, site: Site
) -> None:
    body = signed(message_for(await terms(page), wallet(ADA).address), ADA)
    assert (await page.post("/v1/sign-in", json=body, headers=OWN_PAGE)).status_code == 200
    async with browser(create_app(site.settings.home, site)) as other:
        answer = await other.post("/v1/sign-in", json=body, headers=OWN_PAGE)
    assert "used" in is_problem(answer, 401, "SignInRefused")["detail"]


async def test_used_nonces_are_kept_until_they_are_too_old(
    page: httpx.AsyncClient, site: Site
) -> None:
    with site.store.begin() as session:
        session.add(SignInNonce(nonce="0" * 56, expires_at=time.time() - 2 * SKEW_SECONDS))
    await sign_in(page, ADA)
    with site.store.read() as session:
        assert session.get(SignInNonce, "0" * 56) is None
    assert used_nonces(site) > 0


async def test_nonces_of_our_own_making_are_refused(page: httpx.AsyncClient) -> None:
    given = (await terms(page))["nonce"]
    later = f"{int(given[:8], 16) + 1:08x}{given[8:]}"
    other = given[:-1] + ("1" if given[-1] == "0" else "0")
    for nonce in ("a" * 32, "a" * 56, later, other, given.upper()):
        answer = await sign_in(page, ADA, nonce=nonce)
        assert "not given by this node" in is_problem(answer, 401, "SignInRefused")["detail"]


async def test_a_nonce_of_another_token_is_refused(page: httpx.AsyncClient) -> None:
    nonce, _ = Nonces("another token").give(time.time())
    is_problem(await sign_in(page, ADA, nonce=nonce), 401, "SignInRefused")


async def test_an_old_nonce_is_refused(page: httpx.AsyncClient, app: FastAPI) -> None:
    nonce, ends = app.state.gate.nonces.give(time.time() - NONCE_SECONDS)
    assert ends <= time.time()
    answer = await sign_in(page, ADA, nonce=nonce)
    assert "too old" in is_problem(answer, 401, "SignInRefused")["detail"]


async def test_a_nonce_has_the_form_that_the_standard_asks_for(page: httpx.AsyncClient) -> None:
    given = [(await terms(page))["nonce"] for _ in range(10)]
    assert len(set(given)) == 10
    assert all(nonce.isalnum() and nonce.isascii() and len(nonce) >= 8 for nonce in given)


@pytest.mark.parametrize(
    "change",
    [
        {"domain": "evil.example:8443"},
        {"domain": "bank.example"},
        {"domain": "bank.example:8443@evil.example"},
        {"scheme": "http"},
        {"uri": "https://evil.example"},
        {"uri": ENDPOINT + "/elsewhere"},
        {"chain_id": 1},
        {"not_before": siwe.written(time.time() + 3600)},
        {"expiration_time": siwe.written(time.time() - 1)},
        {"expiration_time": siwe.written(time.time() + MAX_VALID_SECONDS + 3600)},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_a_message_for_somewhere_or_sometime_else_is_refused(
    page: httpx.AsyncClient, change: dict[str, Any]
) -> None:
    is_problem(await sign_in(page, ADA, **change), 401, "SignInRefused")
    assert COOKIE not in page.cookies


async def test_the_host_header_does_not_say_who_we_are(page: httpx.AsyncClient) -> None:
    message = message_for(await terms(page), wallet(ADA).address, domain="evil.example")
    headers = OWN_PAGE | {"Host": "evil.example"}
    answer = await page.post("/v1/sign-in", json=signed(message, ADA), headers=headers)
    assert is_problem(answer, 401, "SignInRefused")["allowed"] == "bank.example:8443"


@pytest.mark.parametrize("seconds", [-SKEW_SECONDS + 5, SKEW_SECONDS - 5])
async def test_a_clock_that_is_a_little_off_is_borne_with(
    page: httpx.AsyncClient, seconds: int
) -> None:
    issued = siwe.written(time.time() + seconds)
    assert (await sign_in(page, ADA, issued_at=issued)).status_code == 200


@pytest.mark.parametrize("seconds", [-SKEW_SECONDS - 5, SKEW_SECONDS + 5])
async def test_a_clock_that_is_far_off_is_not(page: httpx.AsyncClient, seconds: int) -> None:
    issued = siwe.written(time.time() + seconds)
    problem = is_problem(await sign_in(page, ADA, issued_at=issued), 401, "SignInRefused")
    assert "clock" in problem["hint"]


async def test_a_session_ends_with_its_message(page: httpx.AsyncClient) -> None:
    ends = int(time.time()) + 600
    answer = await sign_in(page, ADA, expiration_time=siwe.written(ends))
    assert answer.json()["expires_at"] == ends


@pytest.mark.parametrize(
    "signature", ["", "0x", "0x12", "0x" + "00" * 65, "0x" + "ff" * 65, "0x" + "11" * 64 + "1d"]
)
async def test_what_is_no_signature_of_the_account_is_refused(
    page: httpx.AsyncClient, signature: str
) -> None:
    message = message_for(await terms(page), wallet(ADA).address)
    body = {"message": message.text(), "signature": signature}
    is_problem(await page.post("/v1/sign-in", json=body, headers=OWN_PAGE), 401, "SignInRefused")


async def test_a_parity_of_zero_or_one_is_understood(page: httpx.AsyncClient) -> None:
    body = signed(message_for(await terms(page), wallet(ADA).address), ADA)
    raw = bytes.fromhex(body["signature"][2:])
    body["signature"] = "0x" + (raw[:-1] + bytes([raw[-1] - 27])).hex()
    assert (await page.post("/v1/sign-in", json=body, headers=OWN_PAGE)).status_code == 200


async def test_an_account_that_nobody_added_is_refused(page: httpx.AsyncClient) -> None:
    is_problem(await sign_in(page, ADA + 1), 403, "PersonUnknown")
    assert COOKIE not in page.cookies


@pytest.mark.parametrize("headers", [{}, {"Origin": ENDPOINT}, {"X-FateChain-Request": "1"}])
async def test_no_other_page_signs_anybody_in(
    page: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    body = signed(message_for(await terms(page), wallet(ADA).address), ADA)
    answer = await page.post("/v1/sign-in", json=body, headers=headers)
    is_problem(answer, 403, "ForeignRequest")


async def test_attempts_of_one_address_are_counted(page: httpx.AsyncClient) -> None:
    codes = [
        (await page.post("/v1/sign-in", json={"message": "", "signature": ""}, headers=OWN_PAGE))
        for _ in range(11)
    ]
    assert [answer.status_code for answer in codes] == [422] * 10 + [429]
    is_problem(codes[-1], 429, "TooManyAttempts")


async def test_colleagues_behind_one_address_may_all_sign_in(page: httpx.AsyncClient) -> None:
    for _ in range(12):
        assert (await sign_in(page, ADA)).status_code == 200


async def test_a_refusal_is_entered_without_the_message(
    page: httpx.AsyncClient, site: Site
) -> None:
    message = message_for(await terms(page), wallet(ADA).address)
    body = signed(message, ADA + 1)
    await page.post("/v1/sign-in", json=body, headers=OWN_PAGE)
    told = entries(site, "person.refused")[-1]
    assert told["data"] == {"code": "SignInRefused", "method": "POST", "route": "/v1/sign-in"}
    assert body["signature"] not in json.dumps(told)


# ── Accounts that are contracts ──────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def contract(chain: InProcessChain, site: WalletSite) -> str:
    """A person whose account is a contract; its address."""
    tx = chain.web3.eth.send_transaction(
        {"from": wallet(0).address, "data": WALLET, "gas": 500_000}
    )
    address = chain.web3.eth.get_transaction_receipt(tx)["contractAddress"]
    assert address is not None
    people.add(site.store, address, "the club", ["delegate"])
    return address


def approve(chain: InProcessChain, contract: str, message: Message) -> None:
    digest = bytes(defunct_hash_message(text=message.text()))
    chain.web3.eth.send_transaction(
        {
            "from": wallet(0).address,
            "to": contract,
            "data": b"\0" * 4 + digest,
            "gas": 200_000,
        }
    )


async def test_a_contract_account_signs_in_by_saying_so(
    page: httpx.AsyncClient, chain: InProcessChain, contract: str
) -> None:
    message = message_for(await terms(page), contract)
    approve(chain, contract, message)
    body = {"message": message.text(), "signature": "0x01"}
    answer = await page.post("/v1/sign-in", json=body, headers=OWN_PAGE)
    assert answer.status_code == 200, answer.text
    assert answer.json()["address"] == contract.lower()


async def test_a_contract_account_that_says_no_is_refused(
    page: httpx.AsyncClient, chain: InProcessChain, contract: str
) -> None:
    approve(chain, contract, message_for(await terms(page), contract, nonce="another0"))
    message = message_for(await terms(page), contract)
    # The key that deployed it does not speak for it.
    body = signed(message, 0)
    is_problem(await page.post("/v1/sign-in", json=body, headers=OWN_PAGE), 401, "SignInRefused")


async def test_the_chain_is_not_asked_about_contracts_of_strangers(
    page: httpx.AsyncClient, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their code may run as long as the chain lets it."""

    def asked(*_: object) -> bool:
        raise AssertionError("the chain was asked")

    monkeypatch.setattr("chain.accounts.accepts_signature", asked)
    message = message_for(await terms(page), wallet(ADA + 1).address)
    body = {"message": message.text(), "signature": "0x01"}
    answer = await page.post("/v1/sign-in", json=body, headers=OWN_PAGE)
    is_problem(answer, 401, "SignInRefused")
