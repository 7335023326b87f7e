"""The node's pages as people use them: in a browser, with a wallet that really signs."""

from __future__ import annotations

import re
from typing import Any, cast

import pytest
from playwright.sync_api import expect
from sqlalchemy import select

from node import people
from node.store import Approval, Vote
from node.ui.explorer import NAVIGATION
from node.ui.messages import LANGUAGES, MESSAGES
from tests.browser.conftest import Open, Visit
from tests.browser.person import press_to, said, sign_in, visible
from tests.browser.world import CLINIC, NOBODY, OWNER, SCIENTIST, Stage
from tests.node.consortium import ALGORITHM

pytestmark = pytest.mark.browser

# ── Signing in ───────────────────────────────────────────────────────────────────────────────


def test_a_person_signs_in_with_a_wallet_and_sees_who_and_which_roles(
    stage: Stage, open_page: Open
) -> None:
    page = sign_in(open_page(stage.wallet(CLINIC)), "/proposals")
    expect(page.get_by_text("Signed in: Chen")).to_be_visible()
    expect(page.get_by_text("operator, delegate")).to_be_visible()
    page.get_by_role("link", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in", exact=True)).to_be_visible()


def test_what_keeps_a_wallet_from_signing_in_is_told(stage: Stage, open_page: Open) -> None:
    wallet = stage.wallet(CLINIC)
    wallet.refuses = True
    page = open_page(wallet)
    page.goto("/login")
    button = page.get_by_role("button", name="Sign in with your wallet")
    button.click()
    expect(said(page)).to_have_text("The wallet did not sign.")
    wallet.refuses, wallet.account = False, stage.wallet(NOBODY).account
    button.click()
    expect(said(page)).to_contain_text("This account may not act at this site")
    wallet.chain_id, wallet.knows_other_chains = 1, False
    button.click()
    expect(said(page)).to_contain_text("on chain 1, this node on chain 31337")


def test_without_a_wallet_the_page_says_what_to_do(open_page: Open) -> None:
    page = open_page()
    page.goto("/login")
    page.get_by_role("button", name="Sign in with your wallet").click()
    expect(said(page)).to_contain_text("This browser has no wallet")


def test_a_wallet_on_another_chain_is_asked_to_switch(stage: Stage, open_page: Open) -> None:
    wallet = stage.wallet(CLINIC)
    wallet.chain_id = 1
    sign_in(open_page(wallet), "/proposals")
    assert wallet.chain_id == 31337
    assert "wallet_switchEthereumChain" in wallet.asked


def test_who_lacks_the_roles_sees_no_button_and_may_not_come_in_by_the_address(
    stage: Stage, visit: Visit
) -> None:
    id = stage.propose("Seen by all", 71)
    page = visit(SCIENTIST, f"/proposals/{id}")
    expect(page.get_by_role("heading", name="Seen by all")).to_be_visible()
    expect(page.get_by_role("button", name="Vote with your wallet")).to_have_count(0)
    expect(page.get_by_role("link", name="People", exact=True)).to_have_count(0)
    assert page.request.get("/people.json").status == 403
    assert page.request.get("/proposals/new.json").status == 403


# ── Proposals ────────────────────────────────────────────────────────────────────────────────


def test_a_delegate_votes_with_a_wallet_and_the_reason_stands_on_the_page(
    stage: Stage, visit: Visit
) -> None:
    id = stage.propose("At least 60 common rows", 60)
    page = visit(CLINIC, "/proposals")
    page.get_by_role("link", name="At least 60 common rows").click()
    expect(page.get_by_role("cell", name="60", exact=True)).to_be_visible()  # what would change
    page.get_by_role("radio", name="against").check()
    page.get_by_label("Why (optional)").fill("Our patients are few.")
    page.get_by_role("button", name="Vote with your wallet").click()
    row = page.get_by_role("row", name=re.compile("clinic"))
    stage.carry(visible(row), "the vote")
    expect(row).to_contain_text("against")
    expect(row).to_contain_text("Our patients are few.")
    with stage.shop.store.read() as session:
        vote = session.scalars(select(Vote).where(Vote.proposal_id == id)).one()
    assert vote.voter == stage.wallet(CLINIC).account.address
    page.get_by_role("radio", name="for", exact=True).check()
    page.get_by_role("button", name="Vote with your wallet").click()
    expect(said(page)).to_have_text("This account has voted on it already.")


def test_a_vote_that_the_wallet_refuses_is_none(stage: Stage, visit: Visit) -> None:
    id = stage.propose("Refused in the wallet", 72)
    wallet = stage.wallet(CLINIC)
    page = visit(CLINIC, f"/proposals/{id}", wallet=wallet)
    wallet.refuses = True
    page.get_by_role("radio", name="for", exact=True).check()
    page.get_by_role("button", name="Vote with your wallet").click()
    expect(said(page)).to_have_text("The wallet did not sign.")
    wallet.refuses, wallet.account = False, stage.wallet(NOBODY).account
    page.get_by_role("button", name="Vote with your wallet").click()
    expect(said(page)).to_contain_text("This account has no vote on it")


def test_a_vote_with_the_site_s_account_needs_no_mouse(stage: Stage, visit: Visit) -> None:
    id = stage.propose("By keyboard alone", 73)
    page = visit(None, f"/proposals/{id}")
    page.get_by_role("link", name="To the content").focus()
    button = page.get_by_role("button", name="Vote with this site's account")
    page.get_by_role("radio", name="for", exact=True).focus()
    page.keyboard.press("Space")
    press_to(page, button, at_most=3)
    page.keyboard.press("Enter")
    row = page.get_by_role("row", name=re.compile("shop"))
    stage.carry(visible(row), "the vote")
    expect(row).to_contain_text("for")


def test_time_left_is_counted_down(stage: Stage, visit: Visit) -> None:
    id = stage.propose("Before it is too late", 74)
    page = visit(None, f"/proposals/{id}", clock=True)
    timer = page.get_by_role("timer")
    before = timer.inner_text()
    page.clock.run_for(3000)
    assert timer.inner_text() < before


def test_a_proposal_is_tried_out_and_put_to_the_members(stage: Stage, visit: Visit) -> None:
    page = visit(CLINIC, "/proposals")
    page.get_by_role("link", name="New proposal").click()
    page.get_by_role("link", name="Set a minimum").click()
    page.get_by_role("button", name="Show what it would do").click()
    expect(said(page)).to_have_text("Fill in what is marked first.")
    page.get_by_label("Title").fill("Bigger keys")
    page.get_by_label("Why").fill("2048 bits end in 2030.")
    page.get_by_label("Name").fill("key-bits")
    page.get_by_label("Value").fill("3072")
    page.get_by_role("button", name="Show what it would do").click()
    expect(page.get_by_role("row", name="minimum key-bits 2048 3072")).to_be_visible()
    page.get_by_label("Value").fill("many")
    page.get_by_role("button", name="Show what it would do").click()
    expect(page.get_by_role("alert")).to_contain_text("ProposalInvalid")
    page.get_by_label("Value").fill("3072")
    page.get_by_role("button", name="Propose", exact=True).click()
    made = page.get_by_role("heading", name="Bigger keys")
    stage.carry(visible(made), "the proposal")
    expect(page.get_by_text("2048 bits end in 2030.").first).to_be_visible()
    expect(page.get_by_text("It would do what its description declares.")).to_be_visible()


# ── Grants and jobs ──────────────────────────────────────────────────────────────────────────


def test_an_owner_grants_with_a_wallet_and_revokes_with_a_button(
    stage: Stage, visit: Visit
) -> None:
    wallet = stage.wallet(OWNER)
    page = visit(OWNER, "/grants", wallet=wallet)
    page.get_by_role("link", name="New grant").click()
    page.get_by_label("Dataset").select_option(label="shop rows · shop")
    page.get_by_label("Grantee").select_option(label="bank")
    page.get_by_label("Purpose").select_option("training")
    page.get_by_label("Algorithm").select_option(label=ALGORITHM)
    page.get_by_label("Rules for columns").fill("spent protocol")
    button = page.get_by_role("button", name="Sign with your wallet")
    button.click()
    expect(said(page)).to_contain_text("“spent protocol” is no rule")
    page.get_by_label("Rules for columns").fill("spent: protocol")
    button.click()
    expect(said(page)).to_contain_text(f"{stage.shop.identity.address} has to sign")
    wallet.account = stage.shop.identity.account  # the institution's own key, in a wallet
    button.click()
    heading = page.get_by_role("heading", name=re.compile("^Grant 0x"))
    stage.carry(visible(heading), "the grant")
    expect(page.get_by_text("spent: inside the protocol")).to_be_visible()
    page.get_by_role("button", name="Revoke this grant").click()
    revoked = page.get_by_text("revoked in block")
    stage.carry(visible(revoked), "the revocation")
    expect(page.get_by_role("button", name="Revoke this grant")).to_have_count(0)


def test_grants_are_told_apart_by_who_gave_them(stage: Stage, visit: Visit) -> None:
    page = visit(OWNER, "/grants")
    page.get_by_role("link", name="given by us").click()
    expect(page.get_by_role("row")).not_to_have_count(1)
    page.get_by_role("link", name="given to us").click()
    expect(page.get_by_text("Nothing yet.")).to_be_visible()


def test_a_waiting_job_is_approved_and_another_rejected_with_a_reason(
    stage: Stage, visit: Visit
) -> None:
    jobs = [stage.ask_for_data() for _ in range(2)]
    page = visit(OWNER, "/")
    page.get_by_role("link", name=re.compile("Waiting for you")).click()
    ids = re.compile("|".join(f"{job[:8]}…{job[-4:]}" for job in jobs))
    cards = page.get_by_role("listitem").filter(has_text=ids)
    expect(cards).to_have_count(2)
    for job, name, left in zip(jobs, ("Approve", "Reject"), (1, 0), strict=True):
        card = cards.filter(has_text=f"{job[:8]}…{job[-4:]}")
        card.get_by_label("Reason for a rejection").fill("TooManyRows")
        card.get_by_role("button", name=name).click()
        stage.carry(lambda left=left: cards.count() == left, name)
        stage.world.settle()
        stage.step()
    chain = stage.world.network.jobs
    assert [str(chain.state(job)) for job in jobs] == ["APPROVED", "REJECTED"]
    assert chain.job(jobs[1]).reason == "TooManyRows"
    with stage.shop.store.read() as session:
        approval = session.get_one(Approval, jobs[0])
    assert approval.by == stage.wallet(OWNER).account.address.lower()


# ── People ───────────────────────────────────────────────────────────────────────────────────


def test_an_operator_adds_changes_and_disables_a_person(stage: Stage, visit: Visit) -> None:
    address = "0x" + "5e" * 20
    page = visit(CLINIC, "/people")
    page.get_by_label("Name").fill("Ada")
    page.get_by_label("Account").fill(address)
    add = page.locator("form").filter(has=page.get_by_role("button", name="Add a person"))
    add.get_by_role("checkbox", name="auditor").check()
    add.get_by_role("button", name="Add a person").click()
    row = page.get_by_role("row", name=re.compile("Ada"))
    expect(row).to_contain_text("auditor")
    row.get_by_text("Change").click()
    row.get_by_role("checkbox", name="delegate").check()
    row.get_by_role("button", name="Set these roles").click()
    expect(row.get_by_role("cell", name="delegate, auditor")).to_be_visible()
    row.get_by_text("Change").click()
    row.get_by_role("button", name="Disable").click()
    expect(row).to_contain_text("disabled")


def test_an_operator_revokes_an_api_key(stage: Stage, visit: Visit) -> None:
    people.create_key(
        stage.shop.store,
        stage.wallet(SCIENTIST).account.address,
        "weekly totals",
        ["data-scientist"],
        3600,
        by=people.token_actor(),
    )
    page = visit(CLINIC, "/people")
    row = page.get_by_role("row", name=re.compile("weekly totals"))
    row.get_by_role("button", name="Revoke this key").click()
    expect(row).to_contain_text("revoked")


# ── Everything, in both languages ────────────────────────────────────────────────────────────

TEXTS = """() => {
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode())
    if (!walker.currentNode.parentElement.closest(".args, .name, pre"))
      found.push(walker.currentNode.textContent.trim());
  for (const element of document.querySelectorAll("*"))
    for (const name of ["aria-label", "placeholder", "alt"])
      if (element.hasAttribute(name)) found.push(element.getAttribute(name));
  return [document.title, ...found];
}"""
DATA = {"training", "prediction", "operator", "unknown", "English", "disputes"}
"""Names of things that are words of the catalogue, too: purposes, actors, the other language, a
contract in the address book."""


@pytest.fixture(scope="module")
def every_page(stage: Stage) -> list[str]:
    id = stage.propose("Look at everything", 75)
    job = stage.ask_for_data()
    stage.hold_model(job)
    return [
        *(address for _, address in NAVIGATION),
        f"/proposals/{id}",
        "/proposals/new?kind=set-minimum",
        "/grants/new",
        f"/grants/{stage.world.grant}",
        f"/jobs/{job}",
        f"/lineage/{stage.world.datasets['shop']}",
        "/views?list=jobs&query=state%3DFAILED",
        f"/datasets/{stage.world.datasets['shop']}",
        f"/sites/{stage.shop.id}",
        f"/members/{stage.world.network.sites.member_of(stage.shop.id)}",
        "/log/0",
        "/search?q=shop",
        "/keys",
        "/disputes/new",
        f"/disputes/{stage.dispute('shop', 9)}",
        "/emergencies/new",
        "/heads",
        "/messages",
        f"/messages?job={job}",
        f"/models/{job}",
        f"/transactions/{stage.sent()}",
        "/audits/new",
        f"/audits/{stage.ask_for_audit()}",
    ]


def test_all_pages_are_whole_in_chinese_and_the_language_stays(
    stage: Stage, visit: Visit, every_page: list[str]
) -> None:
    page = visit(None)
    page.get_by_role("link", name=LANGUAGES["zh"]).click()
    english = {texts[0] for texts in MESSAGES.values() if "{" not in texts[0]} - DATA
    for path in every_page:
        answer = page.goto(path)
        assert answer is not None
        assert answer.ok, path
        assert page.locator("html").get_attribute("lang") == "zh-Hans", path
        left = english & set(page.evaluate(TEXTS))
        assert not left, path


def test_all_pages_fit_a_telephone(stage: Stage, visit: Visit, every_page: list[str]) -> None:
    page = visit(None, viewport={"width": 360, "height": 740})
    for path in every_page:
        page.goto(path)
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 360, f"{path} is {width} wide"


def test_a_wallet_s_refusal_is_told_in_chinese(stage: Stage, open_page: Open) -> None:
    wallet = stage.wallet(CLINIC)
    wallet.refuses = True
    page = open_page(wallet, locale="zh-CN")
    page.goto("/login")
    page.get_by_role("button", name="使用钱包登录").click()
    expect(said(page)).to_have_text("钱包未签名。")


def test_the_brake_is_pulled_without_a_mouse_and_told_on_every_page(
    stage: Stage, visit: Visit
) -> None:
    world = stage.world
    page = visit(CLINIC, "/emergencies")
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(page.get_by_text("0 of 2 voices stand")).to_be_visible()
    page.get_by_label("Why all work must stop").fill("A key was stolen.")
    pull = page.get_by_role("button", name="Pull the brake")
    pull.click()
    expect(said(page)).to_have_text("Fill in what is marked first.")
    page.get_by_label("Why all work must stop").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Space")  # work of all members stops
    press_to(page, pull)
    page.keyboard.press("Enter")
    stage.carry(visible(page.get_by_text("1 of 2 voices stand")), "the voice")
    world.act("bank", world.network.brake.pull("0x" + "01" * 32))
    world.settle()
    try:
        page.goto("/emergencies")
        pulled = page.get_by_role("paragraph").filter(has_text="Pulled: nothing new may begin.")
        expect(pulled.get_by_role("timer")).to_be_visible()
        expect(page.get_by_role("link", name="Release the emergency brake")).to_be_visible()
        for path in ("/", "/jobs", "/proposals"):
            page.goto(path)
            expect(page.get_by_role("alert")).to_contain_text("The emergency brake is pulled until")
    finally:
        until = world.network.brake.paused_until()
        cast(Any, world.chain).travel(until - world.network.client.head().timestamp)
