"""A person's browser: headless Chromium, in which nothing may go wrong unseen."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from tests.browser.person import arrived, sign_in, with_token
from tests.browser.world import Stage, Wallet, staged

ARGUMENTS = (
    "--no-sandbox",  # containers have none to offer
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PROVIDER = """
window.ethereum = {
  request: async ({ method, params }) => {
    const { result, error } = await window.walletRequest(method, params ?? []);
    if (error) throw error;
    return result;
  },
};
"""
WATCH = """
document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`));
"""

PATIENCE_MILLISECONDS = 20_000
"""What is there sooner is seen sooner; a busy machine must fail nobody."""
expect.set_options(timeout=PATIENCE_MILLISECONDS)

Open = Callable[..., Page]
Visit = Callable[..., Page]


def is_wrong(said: ConsoleMessage) -> bool:
    """Errors; but that the node refused something is for the page to tell, and tests read it."""
    refused = urlsplit(said.location["url"]).path.startswith(("/v1/", "/badge"))
    return said.type == "error" and not (refused and said.text.startswith("Failed to load"))


@pytest.fixture(scope="package")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("browser")) as stage:
        yield stage


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """Closed behind these tests: one process drives no second browser beside it."""
    program = shutil.which("chromium")
    if program is None:
        pytest.fail("no chromium on the PATH: `make test` installs it; or apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Browser, stage: Stage) -> Iterator[Open]:
    """A window of a browser of its own with this wallet, or none.

    The test fails if a page logs an error or breaks its Content-Security-Policy.
    """
    contexts, wrong = [], []

    def open_page(wallet: Wallet | None = None, **options: object) -> Page:
        context = chromium.new_context(base_url=stage.url, **options)
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MILLISECONDS)
        context.add_init_script(WATCH)
        if wallet is not None:
            context.expose_function("walletRequest", wallet.request)
            context.add_init_script(PROVIDER)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: wrong.append(said.text) if is_wrong(said) else None)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not wrong


@pytest.fixture(scope="package")
def sessions() -> dict[int | None, Any]:
    """The cookies of those who signed in before, by account."""
    return {}


@pytest.fixture
def visit(open_page: Open, stage: Stage, sessions: dict[int | None, Any]) -> Visit:
    """A window in which this person is signed in; None: whoever holds the site's token.

    People sign in once: how that is done is tested on its own.
    """

    def visit(
        who: int | None,
        path: str = "/",
        *,
        wallet: Wallet | None = None,
        clock: bool = False,
        **options: object,
    ) -> Page:
        own = wallet if wallet is not None or who is None else stage.wallet(who)
        if who not in sessions:
            first = open_page(None if who is None else stage.wallet(who))
            if who is None:
                with_token(first, stage)
            else:
                sign_in(first)
            sessions[who] = first.context.storage_state()
        page = open_page(own, storage_state=sessions[who], **options)
        if clock:
            page.clock.install()
        page.goto(path)
        return arrived(page, path)

    return visit
