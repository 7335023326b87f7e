"""What a person does on every page: sign in, wait for what comes, read what is said."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import Error, Locator, Page, expect

from tests.browser.world import Stage
from tests.node.face import token_of


def sign_in(page: Page, path: str = "/") -> Page:
    """With the wallet of this window, to a page."""
    page.goto(path)
    button = page.get_by_role("button", name=re.compile("Sign in with your wallet|使用钱包登录"))
    button.click()
    return arrived(page, path)


def with_token(page: Page, stage: Stage, path: str = "/") -> Page:
    """As whoever holds the site's token."""
    page.goto(path)
    page.get_by_label("Operator's token").fill(token_of(stage.shop))
    page.get_by_role("button", name="Sign in", exact=True).click()
    return arrived(page, path)


def arrived(page: Page, path: str) -> Page:
    """The page is there, and its scripts have run: keys that are pressed before do nothing."""
    expect(page.get_by_role("navigation").first).to_be_visible()
    page.wait_for_load_state()
    assert page.url.endswith(path)
    return page


def said(page: Page) -> Locator:
    return page.get_by_role("status").filter(visible=True)


def visible(place: Locator) -> Callable[[], bool]:
    """For `Stage.carry`; a page that is just being loaded anew has nothing to see."""

    def is_there() -> bool:
        try:
            return place.count() > 0
        except Error as error:
            if "navigation" in str(error) or "context was destroyed" in str(error):
                return False
            raise

    return is_there


def press_to(page: Page, button: Locator, *, at_most: int = 12) -> None:
    """With the Tab key alone."""
    for _ in range(at_most):
        page.keyboard.press("Tab")
        if button.evaluate("button => button === document.activeElement"):
            break
    expect(button).to_be_focused()
