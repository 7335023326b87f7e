"""Signed requests, as far as their headers go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.directory import SenderKey
from node.errors import Invalid, NodeError, Unauthenticated
from node.identity import Identity, create_keys
from node.settings import Settings
from node.signatures import VerifiedSender, content_digest, sign, verify
from tests.node.two_sites import FAST_SCRYPT, Book

SITE, OTHER = "0x" + "aa" * 32, "0x" + "bb" * 32
KEY = "0x" + "cc" * 32
URL = "https://host.example/node/sites/v1/log/proof?size=7&index=3"
DIGEST = "0x" + "12" * 32
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    home: Path = tmp_path_factory.mktemp("keys")
    create_keys(home, b"secret", scrypt_cost=FAST_SCRYPT)
    return Identity.load(Settings.load(home), b"secret")


@pytest.fixture(scope="module")
def book(identity: Identity) -> Book:
    return Book(keys={KEY: SenderKey(KEY, SITE, identity.request_public)})


def signed(identity: Identity, site: str = SITE, **how: Any) -> httpx.Request:
    request = httpx.Request("PUT", URL)
    sign(request, identity, site, KEY, DIGEST, 5, **{"created": NOW, **how})
    return request


def check(
    request: httpx.Request, book: Book, *, url: str = URL, now: datetime = NOW
) -> VerifiedSender:
    return verify(request.method, url, request.headers, book, now)


def test_a_signed_request_says_who_sent_it_and_what_will_follow(
    identity: Identity, book: Book
) -> None:
    sender = check(signed(identity, nonce="n" * 22), book)
    assert (sender.site, sender.key_id) == (SITE, KEY)
    assert (sender.digest, sender.length, sender.nonce) == (DIGEST, 5, "n" * 22)


def test_the_evidence_holds_the_signature_base_with_all_components(
    identity: Identity, book: Book
) -> None:
    evidence = check(signed(identity), book).signature_text
    base, _, signature = evidence.partition("\n\n")
    assert f'"@target-uri": {URL}' in base
    for name in ("@method", "content-digest", "content-length", "content-type", "fatechain-site"):
        assert f'"{name}"' in base
    assert base.splitlines()[-1].startswith('"@signature-params"')
    assert signature.startswith("fatechain=:")


@pytest.mark.parametrize("seconds", [-60, 0, 60])
def test_clocks_may_be_a_minute_apart(identity: Identity, book: Book, seconds: int) -> None:
    check(signed(identity), book, now=NOW + timedelta(seconds=seconds))


@pytest.mark.parametrize("seconds", [-61, 61])
def test_more_than_a_minute_is_refused(identity: Identity, book: Book, seconds: int) -> None:
    with pytest.raises(Unauthenticated, match="SignatureInvalid"):
        check(signed(identity), book, now=NOW + timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Content-Digest", content_digest("0x" + "34" * 32)),
        ("Content-Digest", content_digest(DIGEST) + ", sha-512=:AAAA:"),
        ("Content-Length", "6"),
        ("Content-Type", "text/html"),
        ("fatechain-site", OTHER),
        ("Signature", "fatechain=:AAAA:"),
        ("Signature", "nonsense"),
        ("Signature-Input", "fatechain=()"),
    ],
)
def test_an_altered_header_is_refused(
    identity: Identity, book: Book, header: str, value: str
) -> None:
    request = signed(identity)
    request.headers[header] = value
    with pytest.raises(Unauthenticated, match="SignatureInvalid"):
        check(request, book)


@pytest.mark.parametrize(
    "url",
    [
        URL.replace("https", "http"),
        URL.replace("host.example", "other.example"),
        URL.replace("size=7", "size=8"),
        URL.replace("/node", ""),
    ],
)
def test_another_target_is_refused(identity: Identity, book: Book, url: str) -> None:
    with pytest.raises(Unauthenticated, match="SignatureInvalid"):
        check(signed(identity), book, url=url)


@pytest.mark.parametrize(
    "name", ["content-digest", "content-length", "fatechain-site", "signature"]
)
def test_a_header_sent_twice_is_refused(identity: Identity, book: Book, name: str) -> None:
    request = signed(identity)
    twice = httpx.Headers([*request.headers.multi_items(), (name, request.headers[name])])
    lines = _Lines(twice.multi_items())
    with pytest.raises(NodeError):
        verify("PUT", URL, lines, book, NOW)


def test_a_signature_over_fewer_components_is_refused(identity: Identity, book: Book) -> None:
    request = signed(identity)
    stripped = request.headers["Signature-Input"].replace('"content-digest" ', "")
    request.headers["Signature-Input"] = stripped
    with pytest.raises(Unauthenticated, match="SignatureInvalid"):
        check(request, book)


def test_a_key_of_another_site_is_refused(identity: Identity, book: Book) -> None:
    with pytest.raises(Unauthenticated, match="is not one of site"):
        check(signed(identity, OTHER), book)


@pytest.mark.parametrize("missing", ["Signature", "Signature-Input"])
def test_an_unsigned_request_is_told_so(identity: Identity, book: Book, missing: str) -> None:
    request = signed(identity)
    del request.headers[missing]
    with pytest.raises(Unauthenticated) as refused:
        check(request, book)
    assert refused.value.code == "Unauthenticated"


@pytest.mark.parametrize("length", [None, "-1", "5.0", "0x5", "", "05", "9" * 16])
def test_a_request_without_a_plain_length_is_refused(
    identity: Identity, book: Book, length: str | None
) -> None:
    request = signed(identity)
    del request.headers["Content-Length"]
    if length is not None:
        request.headers["Content-Length"] = length
    with pytest.raises(Invalid, match="Content-Length"):
        check(request, book)


@pytest.mark.parametrize("nonce", ["short", "n" * 65, "n" * 21 + "!"])
def test_a_nonce_that_is_none_is_refused(identity: Identity, book: Book, nonce: str) -> None:
    with pytest.raises(Unauthenticated, match="nonce"):
        check(signed(identity, nonce=nonce), book)


def test_what_the_directory_says_of_a_key_reaches_the_caller(
    identity: Identity, book: Book
) -> None:
    unknown = Book()
    with pytest.raises(Unauthenticated) as refused:
        check(signed(identity), unknown)
    assert refused.value.code == "UnknownSite"


@given(
    st.dictionaries(
        st.sampled_from(
            ["signature", "signature-input", "content-digest", "content-length", "fatechain-site"]
        ),
        st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=80),
    )
)
def test_nonsense_in_headers_is_a_refusal_and_nothing_else(headers: dict[str, str]) -> None:
    with pytest.raises(NodeError):
        verify("PUT", URL, headers, Book(), NOW)


class _Lines(dict[str, str]):
    """Headers whose `items` gives lines, as Starlette's do."""

    def __init__(self, lines: list[tuple[str, str]]) -> None:
        super().__init__(lines)
        self._lines = lines

    def items(self) -> Any:
        return self._lines
