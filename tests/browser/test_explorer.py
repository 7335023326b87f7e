"""The explorer as people use it: searching, filtering, keeping, exporting; and a node that lies."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect
from sqlalchemy import func, select

from node.audit.note_keys import cosign
from node.audit.notes import Note
from node.store import PublishedHead
from tests.browser.conftest import Visit
from tests.browser.person import press_to
from tests.browser.world import Stage
from tests.node.test_anchoring import cosign as let_cosign

pytestmark = pytest.mark.browser

LATER = 6000  # milliseconds: the badge has asked anew


def altered(page: Page, pattern: str, change: Callable[[str], str]) -> None:
    """From now on the node's answers are what ``change`` makes of them."""

    def answer(route: Route) -> None:
        found = route.fetch()
        route.fulfill(response=found, body=change(found.text()))

    page.route(re.compile(pattern), answer)


# ── Searching ────────────────────────────────────────────────────────────────────────────────


def test_one_box_finds_a_name_a_word_and_an_id(stage: Stage, visit: Visit) -> None:
    page = visit(None)
    box = page.get_by_role("searchbox")
    box.fill("shop")
    box.press("Enter")
    expect(page.get_by_role("heading", name="Site", exact=True)).to_be_visible()
    dataset = stage.world.datasets["shop"]
    box.fill(dataset)
    box.press("Enter")
    expect(page).to_have_url(re.compile(f"/datasets/{dataset}$"))
    page.get_by_role("link", name="Everything that names it").click()
    expect(page.get_by_role("heading", name="Event", exact=True)).to_be_visible()
    box.fill("datasetregistered shop")
    box.press("Enter")
    expect(
        page.get_by_role("link", name=re.compile("DatasetRegistry.DatasetRegistered"))
    ).to_be_visible()


def test_searching_needs_no_mouse(stage: Stage, visit: Visit) -> None:
    page = visit(None)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="To the content")).to_be_focused()
    box = page.get_by_role("searchbox")
    for _ in range(6):
        page.keyboard.press("Tab")
        if box.evaluate("box => box === document.activeElement"):
            break
    page.keyboard.type("shop")
    page.keyboard.press("Enter")
    hit = page.locator(".hits a").first
    expect(hit).to_be_visible()
    press_to(page, hit, at_most=60)
    assert hit.evaluate("link => getComputedStyle(link).outlineStyle") != "none"
    address = hit.get_attribute("href")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(re.escape(str(address)) + "$"))


# ── Lists ────────────────────────────────────────────────────────────────────────────────────


def test_a_filter_stands_in_the_address_and_its_file_has_the_same(
    stage: Stage, visit: Visit
) -> None:
    page = visit(None, "/events")
    page.get_by_label("event", exact=True).fill("SiteRegistered")
    page.get_by_role("button", name="Apply").click()
    expect(page).to_have_url(re.compile(r"/events\?.*name=SiteRegistered"))
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(2)  # the bank's and the shop's
    with page.expect_download() as downloading:
        page.get_by_role("link", name="CSV").click()
    text = Path(downloading.value.path()).read_text("utf-8")
    told = list(csv.DictReader(io.StringIO(text)))
    assert [row["name"] for row in told] == ["SiteRegistered"] * 2
    block = told[0]["block"]
    page.get_by_role("link", name=block, exact=True).first.click()
    expect(page).to_have_url(re.compile(rf"block={block}#e{block}-"))


def test_a_view_is_kept_under_a_name_and_removed(stage: Stage, visit: Visit) -> None:
    page = visit(None, "/jobs?state=FAILED")
    page.get_by_role("link", name="Save this view").click()
    page.get_by_label("Name").fill("What failed")
    page.get_by_role("button", name="Save this view").click()
    kept = page.get_by_role("link", name="What failed")
    kept.click()
    expect(page).to_have_url(re.compile(r"/jobs\?state=FAILED$"))
    page.goto("/views")
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_text("Nothing yet.")).to_be_visible()


# ── A node that lies ─────────────────────────────────────────────────────────────────────────


@pytest.fixture
def grown(stage: Stage) -> int:
    """The shop's log has entries and shows a head; its size."""
    stage.step()
    stage.step()
    with stage.shop.store.read() as session:
        size = session.scalar(select(func.max(PublishedHead.size)))
    assert size
    return size


def test_another_root_for_as_many_entries_turns_the_badge_red(grown: int, visit: Visit) -> None:
    page = visit(None, "/log", clock=True)
    badge = page.locator("#badge")
    expect(badge.locator("[data-browser]")).to_contain_text("saw nothing else before")
    assert badge.get_attribute("data-state") != "differ"
    root = str(badge.get_attribute("data-root"))
    altered(page, r"/badge", lambda text: text.replace(root, "0x" + "ab" * 32))
    page.clock.run_for(LATER)
    expect(badge).to_have_attribute("data-state", "differ")
    expect(badge).to_contain_text("saw another root for as many entries before")
    page.unroute_all()
    page.clock.run_for(LATER)  # the truth comes back: what was found is not taken back
    expect(badge).to_contain_text("This browser found that the node contradicts itself.")


def test_a_longer_log_that_does_not_continue_the_one_seen_turns_it_red(
    grown: int, visit: Visit
) -> None:
    page = visit(None, "/log", clock=True)
    badge = page.locator("#badge")
    expect(badge.locator("[data-browser]")).to_be_visible()
    log = badge.get_attribute("data-log")
    known = {"size": grown - 1, "root": "0x" + "cd" * 32}
    page.evaluate(
        "([log, known]) => localStorage.setItem(`fatechain.head.${log}`, JSON.stringify(known))",
        [log, known],
    )
    page.clock.run_for(LATER)
    expect(badge).to_have_attribute("data-state", "differ")
    expect(badge).to_contain_text("got no proof that this head continues the one it saw before")


def test_an_older_head_turns_it_red_in_chinese(grown: int, visit: Visit) -> None:
    page = visit(None, "/log?lang=zh", clock=True)
    badge = page.locator("#badge")
    expect(badge.locator("[data-browser]")).to_be_visible()
    log = badge.get_attribute("data-log")
    known = {"size": grown + 5, "root": "0x" + "cd" * 32}
    page.evaluate(
        "([log, known]) => localStorage.setItem(`fatechain.head.${log}`, JSON.stringify(known))",
        [log, known],
    )
    page.clock.run_for(LATER)
    expect(badge).to_contain_text("此前见过更长的日志")
    expect(badge).to_have_attribute("data-state", "differ")


# ── A node that lies about its witnesses ─────────────────────────────────────────────────────


@pytest.fixture
def cosigned(grown: int, stage: Stage) -> None:
    """The bank stands behind the head that the shop shows."""
    let_cosign(stage.world)


Lie = Callable[[Stage, Note], Note]


def forged(number: int) -> Lie:
    def change(stage: Stage, note: Note) -> Note:
        lines = list(note.signatures)
        line = lines[number]
        blob = line.blob[:40] + bytes([line.blob[40] ^ 1]) + line.blob[41:]
        lines[number] = type(line)(line.name, line.key_id, blob)
        return Note(note.text, tuple(lines))

    return change


def of_another_head(stage: Stage, note: Note) -> Note:
    """The bank's own signature, of a head that it did cosign once."""
    origin, size, root, _ = note.text.split("\n")
    text = f"{origin}\n{int(size) - 1}\n{root}\n"
    name = note.signatures[-1].name
    line = cosign(stage.world.bank.identity, name, text, 1_700_000_000)
    return Note(note.text, (*note.signatures[:-2], line))


def an_older_note(stage: Stage, note: Note) -> Note:
    origin, size, root, _ = note.text.split("\n")
    return Note(f"{origin}\n{int(size) - 1}\n{root}\n", note.signatures)


def of_no_member(stage: Stage, note: Note) -> Note:
    name = "fatechain/0x" + "e1" * 32
    line = cosign(stage.world.bank.identity, name, note.text, 1_700_000_000)
    return Note(note.text, (*note.signatures, line))


def too_few(stage: Stage, note: Note) -> Note:
    return Note(note.text, note.signatures[:-2])


def not_its_own(stage: Stage, note: Note) -> Note:
    return Note(note.text, note.signatures[1:])


@pytest.mark.parametrize(
    ("lie", "word"),
    [
        (forged(-2), "a signature that does not hold"),
        (forged(-1), "a signature that does not hold"),  # the one for contracts
        (of_another_head, "a signature that does not hold"),
        (an_older_note, "signatures of another head"),
        (of_no_member, "none of those named"),
        (too_few, "fewer signatures than the node says"),
        (not_its_own, "the log itself did not sign"),
    ],
)
def test_a_lie_about_who_stands_behind_the_head_turns_the_badge_red(
    cosigned: None, stage: Stage, visit: Visit, lie: Lie, word: str
) -> None:
    page = visit(None, "/log", clock=True)
    badge = page.locator("#badge")
    expect(badge.locator("[data-signed]")).to_contain_text("verified the signatures of 1 members")
    assert badge.get_attribute("data-state") != "differ"
    witness = f"fatechain/{stage.world.bank.id}"
    shown = str(badge.get_attribute("data-witnessed"))
    assert [line.name for line in Note.parse(json.loads(shown)["note"]).signatures[-2:]] == [
        witness,
        witness,
    ]

    def told(text: str) -> str:
        def changed(found: re.Match[str]) -> str:
            witnessed: dict[str, Any] = json.loads(found[1])
            witnessed["note"] = str(lie(stage, Note.parse(witnessed["note"])))
            return f"data-witnessed='{json.dumps(witnessed)}'"

        return re.sub(r"data-witnessed='([^']*)'", changed, text)

    altered(page, r"/badge", told)
    page.clock.run_for(LATER)
    expect(badge).to_have_attribute("data-state", "differ")
    expect(badge.locator("[data-browser]")).to_contain_text(word)


def all_green(text: str) -> str:
    """A badge in which everything is said to agree, whatever is so."""
    head = text.index(">", text.index('id="badge"'))
    opening = re.sub(r'class="badge \w+"', 'class="badge agree"', text[:head])
    opening = re.sub(r'data-state="\w+"', 'data-state="agree"', opening)
    rest = re.sub(r'role="status"><b>.</b>', 'role="status"><b>✓</b>', text[head:])
    return opening + re.sub(r'<li class="\w+" data-side', '<li class="agree" data-side', rest)


def without_note(text: str) -> str:
    return re.sub(r" data-witnessed='[^']*'", "", text)


def asking_for_more(text: str) -> str:
    return re.sub(r'"needed": \d+', '"needed": 5', text)


def without_witnesses(text: str) -> str:
    return without_note(text).replace('data-side="witnesses"', "")


@pytest.mark.parametrize(
    ("lie", "state"),
    [(without_note, "unknown"), (without_witnesses, "unknown"), (asking_for_more, "behind")],
)
def test_what_the_browser_could_not_check_is_not_drawn_green(
    cosigned: None, visit: Visit, lie: Callable[[str], str], state: str
) -> None:
    page = visit(None, "/log", clock=True)
    badge = page.locator("#badge")
    expect(badge.locator("[data-signed]")).to_contain_text("verified the signatures of 1 members")
    altered(page, r"/badge", lambda text: lie(all_green(text)))
    page.clock.run_for(LATER)
    expect(badge).to_have_attribute("data-state", state)
    expect(badge).to_have_class(f"badge {state}")
    expect(badge.locator(".verdict")).not_to_contain_text("✓")
    if lie is not without_witnesses:
        expect(badge.locator("[data-side=witnesses]")).to_have_class(state)


@pytest.mark.parametrize("claim", ["3 sites cosigned this head", "all sites cosigned this head"])
def test_a_line_that_tells_of_more_witnesses_than_signed_turns_the_badge_red(
    cosigned: None, visit: Visit, claim: str
) -> None:
    page = visit(None, "/log", clock=True)
    badge = page.locator("#badge")
    expect(badge.locator("[data-signed]")).to_contain_text("verified the signatures of 1 members")

    def told(text: str) -> str:
        return (
            all_green(text)
            .replace("1 sites cosigned this head", claim)
            .replace('id="badge"', 'id="badge" data-claimed="0"')
        )

    altered(page, r"/badge", told)
    page.clock.run_for(LATER)
    expect(badge).to_have_attribute("data-state", "differ")
    expect(badge.locator("[data-browser]")).to_contain_text("fewer signatures than the node says")


def test_the_keys_of_those_who_signed_stand_in_the_badge(
    cosigned: None, stage: Stage, visit: Visit
) -> None:
    page = visit(None, "/log")
    page.get_by_text("Keys of those who signed this head").click()
    for site in (stage.shop, stage.world.bank):
        expect(page.locator("#badge")).to_contain_text("0x" + site.identity.audit_public.hex())
    text = page.locator("[data-signed]").inner_text()
    assert "1 of them as contracts count" in text


def test_an_entry_is_checked_here_and_an_altered_one_is_red(grown: int, visit: Visit) -> None:
    page = visit(None, "/log/0")
    expect(page.locator("[data-checked]")).to_contain_text("Checked in this browser")
    shown = page.locator("[data-fields]").inner_text()
    value = re.search(r'"([^"]{3,})"(,|\n|$)', shown)
    assert value is not None
    lie = value[1][:-1] + ("x" if value[1][-1] != "x" else "y")
    altered(page, r"/log/0$", lambda text: text.replace(value[1], lie))
    page.reload()
    expect(page.locator("[data-checked]")).to_contain_text("What is shown is not what stands")
    expect(page.locator("#badge")).to_have_attribute("data-state", "differ")


def test_a_badge_that_gets_no_answer_says_so(stage: Stage, visit: Visit) -> None:
    page = visit(None, "/log", clock=True)
    row = page.locator("#badge [data-browser]")
    expect(row).to_be_visible()
    page.route(re.compile(r"/badge"), lambda route: route.fulfill(status=503, body="away"))
    page.clock.run_for(LATER)
    expect(row).to_contain_text("The node does not answer.")


# ── How it looks ─────────────────────────────────────────────────────────────────────────────

GROUND = "getComputedStyle(document.body).backgroundColor"


def test_the_colours_are_the_system_s_until_somebody_chooses(stage: Stage, visit: Visit) -> None:
    dark = visit(None, color_scheme="dark")
    light = visit(None, color_scheme="light")
    night, day = dark.evaluate(GROUND), light.evaluate(GROUND)
    assert night != day
    dark.get_by_role("link", name="light").click()
    assert dark.evaluate(GROUND) == day
    dark.goto("/jobs")
    assert dark.evaluate(GROUND) == day
    dark.get_by_role("link", name="as the system").click()
    assert dark.evaluate(GROUND) == night


def test_no_part_of_the_frame_scrolls_on_a_desk(stage: Stage, visit: Visit) -> None:
    page = visit(None, viewport={"width": 1280, "height": 800})
    nav = page.get_by_role("navigation", name="Main")
    assert nav.evaluate("nav => nav.scrollWidth <= nav.clientWidth")
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    expect(nav.get_by_role("link", name="Transactions")).to_be_in_viewport()
