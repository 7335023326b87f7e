"""Disputes, emergencies, attestations and API keys, as people use them in a browser."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit
from tests.browser.person import press_to, said, visible
from tests.browser.world import CLINIC, OWNER, SCIENTIST, SECOND, Stage
from tests.node.consortium import ALGORITHM

pytestmark = pytest.mark.browser


# ── API keys ─────────────────────────────────────────────────────────────────────────────────


def bearer(page: Page, key: str, path: str) -> int:
    """What a program gets with the key alone, without the browser's cookie."""
    context = page.context.browser.new_context() if page.context.browser else None
    assert context is not None
    try:
        headers = {"Authorization": f"Bearer {key}"}
        return context.request.get(page.url.split("/keys")[0] + path, headers=headers).status
    finally:
        context.close()


def test_a_person_makes_a_key_copies_it_once_and_revokes_it(stage: Stage, visit: Visit) -> None:
    page = visit(SCIENTIST, "/")
    page.get_by_role("link", name="API keys").click()
    expect(page.get_by_role("heading", name="The new key")).to_be_hidden()
    page.get_by_role("button", name="Make a key").click()
    expect(said(page)).to_have_text("Fill in what is marked first.")
    page.get_by_label("Name").fill("nightly scores")
    page.get_by_role("button", name="Make a key").click()
    expect(said(page)).to_have_text("Choose at least one role.")
    expect(page.get_by_role("checkbox", name="operator")).to_have_count(0)  # no role of another
    page.get_by_role("checkbox", name="data scientist").check()
    page.get_by_role("button", name="Make a key").click()
    field = page.get_by_label("Key", exact=True)
    expect(field).to_have_value(re.compile("^fck_"))
    expect(field).to_be_focused()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy").click()
    expect(said(page)).to_have_text("Copied.")
    key = field.input_value()
    assert page.evaluate("navigator.clipboard.readText()") == key
    assert bearer(page, key, "/v1/jobs") == 200
    page.get_by_role("link", name="I have kept it").click()
    row = page.get_by_role("row", name=re.compile("nightly scores"))
    expect(row).to_contain_text("data scientist")
    expect(row).not_to_contain_text("never")  # it was used
    expect(page.get_by_text(key)).to_have_count(0)
    row.get_by_role("button", name="Revoke this key").click()
    expect(row).to_contain_text("revoked")
    assert bearer(page, key, "/v1/jobs") == 401


def test_the_operator_s_token_which_is_nobody_s_makes_no_key(visit: Visit) -> None:
    page = visit(None, "/keys")
    expect(page.get_by_text("sign in with your wallet")).to_be_visible()
    expect(page.get_by_role("button", name="Make a key")).to_have_count(0)


# ── Attestations ─────────────────────────────────────────────────────────────────────────────


def test_what_is_attested_and_what_was_revoked_is_seen_at_once(stage: Stage, visit: Visit) -> None:
    page = visit(SCIENTIST, "/members")
    table = page.get_by_role("region", name="Attestations")
    expect(table.get_by_role("row", name=re.compile("holds bank audited"))).to_be_visible()
    expect(table.get_by_role("row", name=re.compile("revoked shop audited"))).to_be_visible()
    expect(table.get_by_text("not required")).to_be_visible()


# ── Disputes ─────────────────────────────────────────────────────────────────────────────────


def test_a_delegate_opens_a_dispute_and_proposes_a_ruling(stage: Stage, visit: Visit) -> None:
    page = visit(CLINIC, "/disputes")
    page.get_by_role("link", name="Open a dispute").click()
    expect(page.get_by_label("Respondent").get_by_role("option", name="shop")).to_have_count(0)
    page.get_by_label("Respondent").select_option(label="bank")
    page.get_by_label("About").select_option(label="Dataset")
    page.get_by_label("Its identifier").fill(stage.world.datasets["bank"])
    page.get_by_label("What happened").fill("The rows are not those that were committed.")
    page.get_by_role("button", name="Open it").click()
    heading = page.get_by_role("heading", name=re.compile("^Dispute 0x"))
    stage.carry(visible(heading), "the dispute")
    stage.shop.log.sequence()
    page.reload()
    expect(page.get_by_text("The rows are not those that were committed.")).to_be_visible()
    id = page.url.rsplit("/", 1)[1]
    stage.world.act("bank", stage.world.network.disputes.answer(id, "0x" + "0d" * 32))
    page.reload()
    expect(page.get_by_text("answered", exact=True)).to_be_visible()
    expect(page.get_by_text("0x" + "0d" * 32)).to_be_visible()
    page.get_by_role("link", name="Propose a ruling").click()
    expect(page.get_by_label("Dispute")).to_have_value(id)
    page.go_back()
    page.get_by_role("button", name="Withdraw the dispute").click()
    withdrawn = page.get_by_text("withdrawn", exact=True)
    stage.carry(visible(withdrawn), "the withdrawal")
    expect(page.get_by_role("button", name="Withdraw the dispute")).to_have_count(0)


def test_a_dispute_is_answered_without_a_mouse(stage: Stage, visit: Visit) -> None:
    id = stage.dispute("shop", 1)
    page = visit(CLINIC, f"/disputes/{id}")
    page.get_by_label("Answer, once").focus()
    page.keyboard.type("They were corrected the same day.")
    press_to(page, page.get_by_role("button", name="Send the answer"))
    page.keyboard.press("Enter")
    answered = page.get_by_text("answered", exact=True)
    stage.carry(visible(answered), "the answer")
    expect(page.get_by_role("button", name="Send the answer")).to_have_count(0)


# ── Emergencies ──────────────────────────────────────────────────────────────────────────────


def test_two_people_open_the_glass_and_one_alone_cannot(stage: Stage, visit: Visit) -> None:
    page = visit(OWNER, "/emergencies")
    page.get_by_role("link", name="Ask for emergency access").click()
    page.get_by_label("Dataset").select_option(label="shop rows · shop")
    page.get_by_label("Grantee").select_option(label="bank")
    page.get_by_label("Algorithm").select_option(label=ALGORITHM)
    expect(page.get_by_role("heading", name="Signed by one")).to_be_hidden()
    first = page.get_by_role("region", name="First person")
    first.get_by_label("Why it cannot wait").fill("The ward needs it tonight.")
    first.get_by_role("button", name="Sign as the first person").click()
    request = page.get_by_label("Request", exact=True)
    expect(request).to_have_value(re.compile("signatures"))
    text = request.input_value()

    second = visit(OWNER, "/emergencies/new")  # the same person once more
    second.get_by_label("The request of the first person").fill(text)
    second.get_by_role("button", name="Sign as the second person and open").click()
    expect(said(second)).to_have_text("First look at what it opens.")
    second.get_by_role("button", name="Show what it opens").click()
    expect(second.get_by_text("The ward needs it tonight.", exact=True)).to_be_visible()
    second.get_by_role("button", name="Sign as the second person and open").click()
    expect(said(second)).to_contain_text("may not sign this")

    second = visit(SECOND, "/emergencies/new")
    field = second.get_by_label("The request of the first person")
    field.fill(text.replace("tonight", "for a study"))
    second.get_by_role("button", name="Show what it opens").click()
    expect(said(second)).to_contain_text("is not what the words say")
    field.fill(text)
    second.get_by_role("button", name="Show what it opens").click()
    expect(second.get_by_text("The ward needs it tonight.", exact=True)).to_be_visible()
    second.get_by_role("button", name="Sign as the second person and open").click()
    heading = second.get_by_role("heading", name=re.compile("^Emergency access 0x"))
    stage.carry(visible(heading), "the opening")
    expect(second.get_by_text("data are open")).to_be_visible()
    expect(second.get_by_role("timer")).to_have_text(re.compile(r"^2[34]:\d\d:\d\d$"))
    page.goto(second.url)
    page.get_by_role("button", name="End the access now").click()
    due = page.get_by_text("review due")
    stage.carry(visible(due), "the end")
    delegate = visit(CLINIC, "/waiting")
    delegate.get_by_role("link", name=re.compile("^0x")).first.click()
    delegate.get_by_role("link", name="Propose its review").click()
    expect(delegate.get_by_label("Emergency access")).to_have_value(re.compile("^0x"))
