"""The chain in plain words, as a person reads it: two languages, with the raw view beside."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.world import Stage

Visit = Callable[..., Page]


def test_an_event_is_told_in_words_and_its_raw_view_opens_with_the_keyboard(
    stage: Stage, visit: Visit
) -> None:
    page = visit(None, "/events?name=SiteRegistered&lang=en")
    row = page.locator("tbody tr").first
    expect(row).to_contain_text("registered the site")
    raw = row.get_by_text("As the chain has it")
    expect(row.locator("pre")).to_be_hidden()
    raw.focus()
    page.keyboard.press("Enter")
    expect(row.locator("pre")).to_contain_text('"topics"')
    page.goto("/events?name=SiteRegistered&lang=zh")
    expect(page.locator("tbody tr").first).to_contain_text("登记了位于")


def test_a_transaction_says_what_it_asked_and_what_came_of_it(stage: Stage, visit: Visit) -> None:
    page = visit(None, "/events?name=MemberAdmitted&lang=en")
    page.locator("tbody tr td:last-child a").first.click()
    expect(page).to_have_url(re.compile(r"/transactions/0x[0-9a-f]{64}"))
    expect(page.locator("p.says")).to_contain_text("admit")
    expect(page.get_by_role("region", name="What came of it")).to_contain_text(
        "was admitted as a member"
    )


def test_the_head_of_every_page_says_how_far_behind_it_is(stage: Stage, visit: Visit) -> None:
    page = visit(None, "/jobs?lang=en")
    for path in ("/jobs", "/history", "/members", "/anchors", "/transactions"):
        page.goto(f"{path}?lang=en")
        expect(page.get_by_text(re.compile(r"As of block [\d,]+: "))).to_be_visible()


def test_governance_is_one_list_that_is_filtered_and_fetched(stage: Stage, visit: Visit) -> None:
    page = visit(None, "/history?lang=en")
    page.get_by_role("group", name="about").get_by_role("link", name="members").click()
    expect(page.locator("tbody tr").first).to_contain_text("was admitted as a member")
    shown = page.locator("tbody tr").count()
    with page.expect_download() as downloading:
        page.get_by_role("link", name="CSV").click()
    text = Path(downloading.value.path()).read_text("utf-8")
    told = list(csv.DictReader(io.StringIO(text)))
    assert len(told) == shown
    assert {row["area"] for row in told} == {"members"}


def test_a_view_is_asked_to_tell_and_to_be_silent(stage: Stage, visit: Visit) -> None:
    page = visit(None, "/history?area=rules&lang=en")
    page.get_by_role("link", name="Save this view").click()
    page.get_by_label("Name").fill("New rules")
    page.get_by_role("button", name="Save this view").click()
    page.get_by_role("button", name="Tell me what is new").click()
    page.get_by_role("button", name="Tell no more").click()
    expect(page.get_by_role("button", name="Tell me what is new")).to_be_visible()
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_text("Nothing yet.")).to_be_visible()


def test_words_find_what_they_tell(stage: Stage, visit: Visit) -> None:
    page = visit(None, "/jobs?lang=en")
    page.get_by_role("searchbox").fill("admitted as a member")
    page.keyboard.press("Enter")
    hits = page.get_by_role("region", name="Event")
    expect(hits.get_by_role("link").first).to_contain_text("was admitted as a member")
