"""The auditor's browser: headless Chromium looks at the job's page and verifies the certificate.

Playwright drives it, as it does our tests of the pages.  Neither is needed by a node, so neither
comes with the package: where one is missing, `NoBrowser` says so.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from eth_account.messages import encode_defunct

from node.errors import Failed, Unavailable
from node.siwe import Message, written

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount
    from playwright.sync_api import Page

SIZE = {"width": 1280, "height": 1600}
PATIENCE_MILLISECONDS = 60_000


class NoBrowser(Unavailable):
    """There is no Chromium here, or nothing that drives it."""

    def __init__(self, missing: str) -> None:
        super().__init__("NoBrowser", f"there is no {missing} on this machine", found=missing)


@dataclass(frozen=True)
class Seen:
    """What the auditor saw: the headline of the job's page, and the verdict of the verifier's.

    ``roles`` are those with which the node let him in.
    """

    roles: tuple[str, ...]
    headline: str
    verdict: str
    checks: int
    failed: int
    pictures: tuple[Path, ...]


@contextmanager
def browser_page() -> Iterator[Page]:
    """A page of a Chromium of its own; raises `NoBrowser`."""
    program = shutil.which("chromium")
    if program is None:
        raise NoBrowser("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise NoBrowser("playwright") from error
    # Chromium refuses to run as root in its sandbox.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        try:
            page = browser.new_page(viewport=SIZE)  # type: ignore[arg-type]
            page.set_default_timeout(PATIENCE_MILLISECONDS)
            yield page
        finally:
            browser.close()


def sign_in(page: Page, node: str, person: LocalAccount) -> tuple[str, ...]:
    """Sign in at a node with a wallet (ERC-4361), as its page does; the roles of the person.

    Raises `Failed` where the node does not let him in.
    """
    asks = page.context.request
    terms = asks.get(f"{node}/v1/sign-in/nonce").json()
    message = Message(
        domain=terms["domain"],
        address=person.address,
        uri=terms["uri"],
        chain_id=terms["chain_id"],
        nonce=terms["nonce"],
        issued_at=written(time.time()),
        statement=terms["statement"],
    ).text()
    signature = person.sign_message(encode_defunct(text=message)).signature
    answer = asks.post(
        f"{node}/v1/sign-in",
        data={"message": message, "signature": "0x" + bytes(signature).hex()},
        headers={"Origin": node, "X-FateChain-Request": "1"},
    )
    if not answer.ok:
        raise Failed("PageNotShown", f"the sign-in answers {answer.status}", found=answer.status)
    return tuple(answer.json()["roles"])


def look(
    node: str, job: str, person: LocalAccount, verifier: Path, certificate: Path, pictures: Path
) -> Seen:
    """Sign in, open the page of a job, then hand the certificate to a verifier from the disk.

    ``pictures`` is a folder.  Raises `NoBrowser`, and `Failed` where the node shows no such page.
    """
    with browser_page() as page:
        roles = sign_in(page, node, person)
        job_page = f"{node}/jobs/{job}"
        answer = page.goto(job_page)
        if answer is None or not answer.ok:
            code = None if answer is None else answer.status
            raise Failed("PageNotShown", f"{job_page} answers {code}", found=code, allowed=200)
        headline = page.locator("h1").inner_text()
        shown = pictures / "job.png"
        page.screenshot(path=shown)

        page.goto(verifier.as_uri())
        page.locator("#file").set_input_files(certificate)
        said = page.get_by_role("status").filter(has_text=certificate.name)
        said.wait_for()
        checks, wrong = page.locator("#rows tr"), page.locator("#rows tr:has(td:first-child.bad)")
        verified = pictures / "certificate.png"
        page.screenshot(path=verified)
        verdict = said.inner_text().strip()
        return Seen(roles, headline, verdict, checks.count(), wrong.count(), (shown, verified))
