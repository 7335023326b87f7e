"""The explorer: who may read it, what it says in both languages, and that it draws what is so."""

from __future__ import annotations

import ast
import re
from collections.abc import AsyncIterator, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from chain import merkle
from node.api.app import create_app
from node.api.auth import COOKIE
from node.api.views.proposals import ActionShown
from node.api.views.search import search
from node.api.views.sites import chosen_of
from node.api.views.waiting import WhyNot
from node.index.documents import KINDS
from node.index.indexing import Indexing
from node.lifecycle import JOB_MOVES, TASK_MOVES
from node.refusals import HINTS, REASONS, STANDARD
from node.rules import Mismatch
from node.site import Site
from node.store import Anchor, ChainEvent, ChainTx, Proposal, StopReceipt
from node.ui import explorer, lists, phrases
from node.ui.charts import tally_bar
from node.ui.messages import LANGUAGES, MESSAGES, choose, translate, translate_state
from node.ui.proofs import drawing, steps
from node.ui.session import own_path
from tests.node.crowd import add, key_for, program
from tests.node.face import (
    OWN,
    add_entries,
    add_evidence,
    add_job,
    add_sent,
    add_work,
    make_site,
    new_id,
    operator,
    token_of,
    told_message,
    visitor,
)
from tests.node.newcomers import ALGORITHM, Newcomers, gather

DOCUMENTS = ("statement.html", "pack.html")
"""They stand alone as files, with their own words and style, and load nothing."""
TEMPLATES = sorted(
    path for path in (explorer.FOLDER / "templates").glob("*.html") if path.name not in DOCUMENTS
)
HTML = {"Accept": "text/html"}
RULES = (Path(explorer.__file__).parents[1] / "rules.py").read_text("utf-8")
HOSTILE = "<script>alert(1)</script>\"'"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with make_site(tmp_path_factory.mktemp("ui") / "bank") as site:
        add_entries(site, 7)
        yield site


@pytest.fixture(scope="module")
def app(site: Site) -> FastAPI:
    return create_app(site.settings.home, site)


@pytest.fixture
async def browser(site: Site, app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Signed in through the form, as a person is."""
    async with visitor(site, app, **HTML) as client:
        answer = await client.post("/login", data={"token": token_of(site), "next": "/jobs"})
        assert answer.status_code == 303
        yield client


class _Page(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


# ── Who may read ─────────────────────────────────────────────────────────────────────────────

PATHS = ("/", "/jobs", "/log", "/log/0", "/events", "/transactions", "/search?q=task")


@pytest.mark.parametrize("path", PATHS)
async def test_a_stranger_is_led_to_the_form_and_back(site: Site, app: FastAPI, path: str) -> None:
    async with visitor(site, app, **HTML) as client:
        answer = await client.get(path)
    assert answer.status_code == 303
    target = urlsplit(answer.headers["location"])
    assert target.path == "/login"
    assert parse_qs(target.query)["next"] == [path]


@pytest.mark.parametrize("path", ["/index.json", "/jobs.json", "/log/0.json", "/search.json?q=a"])
async def test_a_stranger_gets_no_json_twin_either(site: Site, app: FastAPI, path: str) -> None:
    async with visitor(site, app, **HTML) as client:
        assert (await client.get(path)).status_code == 401


async def test_the_cookie_is_not_the_token_and_is_kept_from_scripts(
    site: Site, app: FastAPI
) -> None:
    async with visitor(site, app) as client:
        answer = await client.post("/login", data={"token": token_of(site), "next": "/log"})
    cookie = answer.headers["set-cookie"]
    assert answer.headers["location"] == "/log"
    assert cookie.startswith(f"{COOKIE}=")
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert token_of(site) not in cookie


async def test_a_wrong_token_opens_nothing(site: Site, app: FastAPI) -> None:
    async with visitor(site, app, **HTML) as client:
        answer = await client.post("/login", data={"token": "wrong", "next": "/"})
        assert answer.status_code == 401
        assert "set-cookie" not in answer.headers
        assert (await client.get("/jobs")).status_code == 303


async def test_signing_out_takes_the_session_away(browser: httpx.AsyncClient) -> None:
    assert (await browser.get("/jobs")).status_code == 200
    await browser.get("/logout")
    assert (await browser.get("/jobs")).status_code == 303


async def test_a_session_reads_the_interface_and_changes_nothing_from_elsewhere(
    browser: httpx.AsyncClient,
) -> None:
    assert (await browser.get("/v1/jobs")).status_code == 200
    assert (await browser.post("/v1/jobs", json={})).status_code == 403


@pytest.mark.parametrize(
    "target",
    ["http://evil.example/", "//evil.example", "/\\evil.example", "javascript:x", "", "/\r\nX: y"],
)
def test_the_form_sends_nobody_elsewhere(target: str) -> None:
    assert own_path(target) == "/"


def test_the_form_leads_back_to_a_page_of_this_site() -> None:
    assert own_path("/jobs?state=RUNNING") == "/jobs?state=RUNNING"


async def test_an_open_explorer_is_read_by_anybody(tmp_path: Path) -> None:
    with make_site(tmp_path / "open", explorer_open=True) as site:
        id = add_job(site)
        async with visitor(site, **HTML) as client:
            for path in ("/", "/jobs", f"/jobs/{id}", "/log"):
                assert (await client.get(path)).status_code == 200
            assert (await client.get("/jobs.json")).status_code == 200
            assert (await client.get("/v1/jobs")).status_code == 401


async def test_an_open_explorer_keeps_what_is_for_those_who_act(tmp_path: Path) -> None:
    with make_site(tmp_path / "open", explorer_open=True) as site:
        app = create_app(site.settings.home, site)
        add(site, 3, "data-scientist")
        async with visitor(site, app, **HTML) as stranger:
            for path in explorer.ONLY_FOR:
                assert (await stranger.get(path)).status_code == 303
                assert (await stranger.get(f"{path}.json")).status_code == 401
                assert f'href="{path}"' not in (await stranger.get("/jobs")).text
        async with program(app, key_for(site, 3, "data-scientist").secret) as scientist:
            assert (await scientist.get("/waiting.json")).status_code == 200
            for path in ("/people", "/proposals/new", "/grants/new"):
                assert (await scientist.get(f"{path}.json")).status_code == 403


# ── What a page is made of ───────────────────────────────────────────────────────────────────


async def test_the_page_to_sign_in_has_one_script_of_our_own(browser: httpx.AsyncClient) -> None:
    answer = await browser.get("/login")
    scripts = _Page(answer.text).all("script")
    assert [script["type"] for script in scripts] == ["module"]
    address = scripts[0]["src"]
    assert address is not None
    assert address.startswith("/static/wallet.js?v=")
    policy = answer.headers["content-security-policy"].split("; ")
    assert {"default-src 'none'", "script-src 'self'", "connect-src 'self'"} <= set(policy)
    assert "unsafe" not in answer.headers["content-security-policy"]
    script = await browser.get(address)
    assert script.headers["content-type"].startswith("text/javascript")
    assert "immutable" in script.headers["cache-control"]
    assert not re.search(r"innerHTML|eval\(|https?://", script.text)


async def test_the_head_says_who_is_signed_in_with_which_roles(
    browser: httpx.AsyncClient, site: Site, app: FastAPI
) -> None:
    assert "operator&#39;s token" in (await browser.get("/jobs")).text
    add(site, 3, "delegate", "auditor")
    async with program(app, key_for(site, 3, "delegate", "auditor").secret) as person:
        page = (await person.get("/jobs", headers=HTML)).text
        assert "person 3" in page
        assert "delegate, auditor" in page
        chinese = (await person.get("/jobs?lang=zh", headers=HTML)).text
        assert "代表, 审计员" in chinese


LIVE = ("/", "/log", "/log/0")
"""Pages that a script of ours keeps current and checks; they are read without it all the same."""


@pytest.mark.parametrize("path", PATHS)
async def test_pages_need_nothing_from_elsewhere_and_have_no_script_but_the_live_one(
    browser: httpx.AsyncClient, path: str
) -> None:
    answer = await browser.get(path)
    assert answer.status_code in (200, 303)
    page = _Page(answer.text)
    scripts = [script["src"] or "" for script in page.all("script")]
    ours = ["echarts.js", "charts.js"] * (path == "/") + ["live.js"] * (path in LIVE)
    assert [src.partition("?")[0] for src in scripts] == [f"/static/{name}" for name in ours]
    assert not page.all("style")
    assert all("style" not in attributes for _, attributes in page.tags)
    for _, attributes in page.tags:
        for name in ("src", "href", "action"):
            assert not (attributes.get(name) or "").startswith(("http:", "https:", "//"))
    policy = answer.headers["content-security-policy"]
    assert ("script-src" in policy) == (path in LIVE)
    assert "unsafe" not in policy


async def test_the_live_script_finds_the_modules_that_it_imports(
    browser: httpx.AsyncClient,
) -> None:
    script = (await browser.get("/static/live.js")).text
    assert not re.search(r"innerHTML|eval\(|https?://", script)
    names = re.findall(r'from "\./check/(\w+\.js)"', script)
    assert set(names) <= set(explorer.CHECKS)
    for name in explorer.CHECKS:
        answer = await browser.get(f"/static/check/{name}")
        assert answer.headers["content-type"].startswith("text/javascript")
        assert set(re.findall(r'from "\./(\w+\.js)"', answer.text)) <= set(explorer.CHECKS)
    assert (await browser.get("/static/check/page.js")).status_code == 404


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_templates_hold_no_script_and_no_inline_style(template: Path) -> None:
    text = template.read_text(encoding="utf-8")
    own = '<script type="module" src="{{ script }}"></script>'
    assert "<script" not in text.replace(own, "")
    assert " style=" not in text
    assert "|safe" not in text.replace(" ", "")
    assert not re.search(r"\son[a-z]+=", text)


async def test_every_page_names_its_json_twin_and_the_twin_answers(
    browser: httpx.AsyncClient, site: Site
) -> None:
    """As the page does: what no chain stands behind here is refused to both alike."""
    known = {"/jobs/{id}": add_job(site), "/log/{index}": "0"}
    answered = set()
    for path, *_ in explorer.PAGES:
        address = re.sub(r"\{[^}]+\}", known.get(path, new_id()), path)
        answer = await browser.get(address)
        twin = "/index.json" if path == "/" else f"{address}.json"
        told = await browser.get(twin, headers={"Accept": "application/json"})
        assert told.status_code == answer.status_code, path
        if answer.status_code == 200:
            links = _Page(answer.text).all("link")
            named = [link["href"] for link in links if link.get("rel") == "alternate"]
            assert named == ([] if path == "/badge" else [twin])  # the badge is a part of pages
            assert told.headers["content-type"] == "application/json"
            assert isinstance(told.json(), dict)
            answered.add(path)
    assert answered >= {*known, "/", "/jobs", "/log", "/badge", "/events", "/transactions"}


async def test_the_only_form_that_posts_is_the_one_to_sign_in(
    browser: httpx.AsyncClient, site: Site
) -> None:
    for path in (*PATHS, f"/jobs/{add_job(site)}"):
        for form in _Page((await browser.get(path)).text).all("form"):
            assert form.get("method", "get") == "get"


async def test_hostile_text_stays_text(browser: httpx.AsyncClient, site: Site) -> None:
    id = add_job(site, "FAILED", reason=HOSTILE, specification={"label": HOSTILE, "parties": []})
    for path in (f"/jobs/{id}", "/jobs", f"/search?q={HOSTILE}", f"/log?type={HOSTILE}"):
        text = (await browser.get(path, follow_redirects=True)).text
        assert "<script>" not in text
        assert "&lt;script&gt;" in text


async def test_headings_and_landmarks_are_there_for_those_who_do_not_see(
    browser: httpx.AsyncClient, site: Site
) -> None:
    page = _Page((await browser.get(f"/jobs/{add_job(site)}")).text)
    assert len(page.all("h1")) == 1
    assert len(page.all("main")) == 1
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for section in page.all("section"):
        assert section["aria-labelledby"] in ids
    for field in page.all("input"):
        assert field.get("id") or field.get("type") == "hidden"


async def test_the_style_sheet_is_our_own_and_may_be_kept(browser: httpx.AsyncClient) -> None:
    answer = await browser.get("/static/explorer.css")
    assert answer.headers["content-type"].startswith("text/css")
    assert "immutable" in answer.headers["cache-control"]
    assert "url(" not in answer.text
    assert "@import" not in answer.text


@pytest.mark.parametrize("path", ["/jobs/0x12", "/log/x", "/log/99999", "/nothing", "/jobs/" + OWN])
async def test_what_is_not_there_is_a_page_with_a_way_back(
    browser: httpx.AsyncClient, path: str
) -> None:
    answer = await browser.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")


async def test_a_program_gets_problems_as_json(site: Site, app: FastAPI) -> None:
    async with operator(site, app) as client:
        answer = await client.get("/nothing")
    assert answer.headers["content-type"] == "application/problem+json"


# ── A job ────────────────────────────────────────────────────────────────────────────────────


async def test_a_job_shows_steps_curve_messages_and_result(
    browser: httpx.AsyncClient, site: Site
) -> None:
    digest = new_id()
    metrics = {"joint": {"auc": 0.775}, "alone": {"auc": 0.73}}
    id = add_job(site, "SUCCEEDED", result={"digest": new_id(), "metrics": metrics})
    add_work(site, id)
    add_sent(site, id, 0, digest)
    add_sent(site, id, 1, digest)
    add_evidence(
        site, id, told_message("received", 0, digest), told_message("received", 1, new_id())
    )
    text = (await browser.get(f"/jobs/{id}")).text
    page = _Page(text)
    assert [bar["value"] for bar in page.all("progress")] == ["1", "2"]
    assert "chart" in [figure["class"] for figure in page.all("figure")]
    marks = [cell["title"] for cell in page.all("td") if "mark" in (cell.get("class") or "")]
    assert marks == ["agree", "DIFFER"]
    assert "0.775" in text
    assert "0.73" in text


async def test_jobs_are_filtered_by_a_link(browser: httpx.AsyncClient, site: Site) -> None:
    id = add_job(site, "EXPIRED")
    hrefs = [link["href"] for link in _Page((await browser.get("/jobs")).text).all("a")]
    assert "/jobs?state=EXPIRED" in hrefs
    assert id in (await browser.get("/jobs?state=EXPIRED")).text
    assert id not in (await browser.get("/jobs?state=RUNNING")).text


# ── Languages ────────────────────────────────────────────────────────────────────────────────


def test_every_proposal_s_kind_and_parameter_has_a_name() -> None:
    from chain.proposals import PARAMS

    for kind, params in PARAMS.items():
        assert f"kind.{kind}" in MESSAGES
        assert {f"param.{name}" for name in params.model_fields} <= set(MESSAGES)


def documented_codes() -> set[str]:
    """The codes of the table of problems in docs/operations.md."""
    text = (Path(__file__).parents[2] / "docs" / "operations.md").read_text("utf-8")
    rows = re.findall(r"^\| (`[A-Z][^|]*) \|", text.split("## Problems")[1], re.MULTILINE)
    return {code for row in rows for code in re.findall(r"`([A-Z]\w+)`", row)}


def test_every_code_of_a_problem_has_a_title() -> None:
    codes = documented_codes() | {code for _, code in (REASONS | STANDARD).values()}
    assert len(codes) > 100
    assert {f"code.{code}" for code in codes} <= set(MESSAGES)


def test_what_to_do_is_said_in_both_languages() -> None:
    assert {code: translate("en", f"hint.{code}") for code in HINTS} == HINTS
    assert phrases.hint("zh", "GrantExpired", HINTS["GrantExpired"]) == "请向数据所有者申请新的授权"
    assert phrases.hint("zh", "Unheard", "do this") == "do this"


def test_the_calls_of_a_proposal_have_the_words_of_the_chain_in_english() -> None:
    from chain.proposals import _TEXTS

    told = {f"call.{name}": re.sub(r"{(\w+)!r}", r"“{\1}”", text) for name, text in _TEXTS.items()}
    assert {key: MESSAGES[key][0] for key in told} == told


def a_call(contract: str, function: str, known: bool = True, **args: Any) -> ActionShown:
    return ActionShown(
        target="0x" + "11" * 20,
        value="0",
        calldata="0x",
        contract=contract,
        function=function,
        args=args,
        text="as the node says",
        known=known,
    )


def test_a_call_is_told_in_chinese_with_the_name_of_whom_it_is_about() -> None:
    told = phrases.call("zh", a_call("Membership", "suspend", id=OWN), {OWN: "clinic"})
    assert told == f"暂停成员 clinic ({OWN})"
    required = a_call("Attestations", "setRequired", kind="audit", required=True)
    assert phrases.call("zh", required, {}).endswith("是")


def test_a_call_that_nobody_knows_says_so_in_both_languages() -> None:
    assert "UNKNOWN" in phrases.call("en", a_call("", "", known=False), {})
    assert "未知" in phrases.call("zh", a_call("", "", known=False), {})
    assert "未知" in phrases.call("zh", a_call("Brake", "", known=False), {})
    other = a_call("Brake", "invented", at=3)
    assert phrases.call("zh", other, {}) == "调用 Brake.invented（at=3）"
    paid = other.model_copy(update={"value": "7"})
    assert phrases.call("en", paid, {}).endswith("; and pay 7 wei")


def test_why_no_rule_matched_has_the_words_of_the_rules_in_english() -> None:
    values = {"found": "x", "allowed": 3}
    for told in (
        Mismatch("ended", "the rule has ended"),
        Mismatch("purpose", "the purpose is {found}, which the rule does not name", values),
        Mismatch("products", "{found} products are asked for; the rule allows {allowed}", values),
    ):
        row = WhyNot(rule="r", name="few", why=str(told), code=told.code, values=dict(told.values))
        assert phrases.why("en", row) == str(told)
        assert re.search(r"[\u4e00-\u9fff]", phrases.why("zh", row) or "")
    codes = set(re.findall(r'Mismatch\("(\w+)"|^        \("(\w+)", ', RULES, re.MULTILINE))
    assert len(codes) == 13
    assert {f"why.{a or b}" for a, b in codes} <= set(MESSAGES)


async def test_a_refused_page_says_in_chinese_what_was_found_allowed_and_to_do(
    site: Site, app: FastAPI
) -> None:
    add(site, 4, "data-scientist")
    async with program(app, key_for(site, 4, "data-scientist").secret) as person:
        answer = await person.get("/people?lang=zh", headers=HTML)
    assert answer.status_code == 403
    for words in (
        "缺少角色",
        "RoleMissing",
        "实际",
        "数据科学家",
        "允许",
        "运营者",
        "处理办法",
        "由站点运营者分配",
    ):
        assert words in answer.text, words


async def test_a_job_s_reason_has_its_title_in_chinese(
    browser: httpx.AsyncClient, site: Site
) -> None:
    id = add_job(site, "FAILED", reason="GrantRevoked: the owner took it back")
    chinese = (await browser.get(f"/jobs/{id}?lang=zh")).text
    assert "授权已撤销" in chinese
    english = (await browser.get(f"/jobs/{id}?lang=en")).text
    assert "GrantRevoked: the owner took it back" in english


async def test_a_stopped_job_says_who_stopped_and_why(
    browser: httpx.AsyncClient, site: Site
) -> None:
    id = add_job(site, "FAILED")
    with site.store.begin() as session:
        session.add(
            StopReceipt(
                job_id=id,
                site=OWN,
                attempt=1,
                reason="GrantRevoked",
                detail="the owner took it back",
                block=7,
                block_time=100,
                noticed_at=101.0,
                ended_at=102.5,
                receipt={},
                told=[],
            )
        )
    text = (await browser.get(f"/jobs/{id}")).text
    assert "Why it was stopped" in text
    assert "GrantRevoked" in text
    assert ">2.5<" in text


def test_every_text_is_there_in_both_languages() -> None:
    for key, texts in MESSAGES.items():
        assert len(texts) == len(LANGUAGES), key
        assert all(text.strip() for text in texts), key


def test_both_languages_fill_in_the_same_values() -> None:
    for key, (english, chinese) in MESSAGES.items():
        fields = [set(re.findall(r"{(\w+)}", text)) for text in (english, chinese)]
        assert fields[0] == fields[1], key


def test_chinese_texts_are_chinese() -> None:
    for key, (english, chinese) in MESSAGES.items():
        assert english != chinese, key
        assert re.search(r"[\u4e00-\u9fff]", chinese) or "{" in chinese, key


def test_every_key_that_a_page_uses_is_in_the_catalogue() -> None:
    for template in TEMPLATES:
        text = template.read_text(encoding="utf-8")
        for key in re.findall(r"""\bt\(["']([a-z0-9_.]+)["']\s*[,)]""", text):
            assert key in MESSAGES, f"{template.name}: {key}"


def test_keys_that_are_put_together_are_in_the_catalogue() -> None:
    keys = {f"hit.{kind}" for kind in (*KINDS, "transaction", "type", "person")}
    keys |= {f"nav.{name}" for name, _ in explorer.NAVIGATION}
    keys |= {f"state.{state}" for state in (*JOB_MOVES, *TASK_MOVES)}
    keys |= {
        f"part.{part}" for part in ("database", "chain", "broker", "sync", "worker", "witness")
    }
    keys |= {f"step.{step}" for step in ("psi", "count", "train", "evaluate", "predict", "result")}
    keys |= {f"job.{kind}" for kind in lists.JOB_KINDS}
    keys |= {"status.ready", "status.degraded", "log.left", "log.right"}
    assert keys <= set(MESSAGES)


def test_no_text_is_without_a_use() -> None:
    sources = [*TEMPLATES, *explorer.FOLDER.glob("*.py")]
    text = "\n".join(p.read_text("utf-8") for p in sources if p.name != "messages.py")
    built = ("nav.", "state.", "hit.", "part.", "step.", "status.", "role.", "told.", "kind.")
    built += (
        "code.",
        "hint.",
        "call.",
        "why.",
        "param.",
        "vote.",
        "verdict.",
        "executed.",
        "warning.",
        "moment.",
        "whose.",
        "grant.column.",
        "emergency.",
        "next.",
        "attested.",
        "badge.",
        "filter.",
        "alert.",
        "alerts.",
        "theme.",
        "event.",
        "entered.",
        "enumerated.",
        "agree.",
        "area.",
        "found.",
        "anchor.",
        "audit.refusal.",
        "audits.kind.",
        "mark.",
        "life.",
        "job.reconciliation.",
    )
    put_together = {f"proposals.{deed}" for deed in ("withdraw", "queue", "execute")}
    put_together |= {"log.left", "log.right", *(f"job.{kind}" for kind in lists.JOB_KINDS)}
    for key in set(MESSAGES) - put_together:
        assert f'"{key}"' in text or f"'{key}'" in text or key.startswith(built), key


def test_an_unknown_key_is_a_mistake_and_an_unknown_state_is_shown() -> None:
    with pytest.raises(KeyError):
        translate("en", "nothing")
    assert translate_state("zh", "INVENTED") == "invented"


@pytest.mark.parametrize(
    ("asked", "kept", "accepted", "chosen"),
    [
        (None, None, "", "en"),
        (None, None, "zh-CN,en;q=0.8", "zh"),
        (None, None, "fr", "en"),
        (None, "zh", "en", "zh"),
        ("en", "zh", "zh", "en"),
        ("xx", None, "en", "en"),
    ],
)
def test_the_address_goes_before_the_cookie_before_the_browser(
    asked: str | None, kept: str | None, accepted: str, chosen: str
) -> None:
    assert choose(asked, kept, accepted) == chosen


async def test_a_chosen_language_is_kept(browser: httpx.AsyncClient) -> None:
    first = await browser.get("/jobs?lang=zh")
    second = await browser.get("/log")
    assert '<html lang="zh-Hans">' in first.text
    assert "审计日志" in second.text
    assert (await browser.get("/log?lang=en")).headers["content-language"] == "en"


# ── Drawings ─────────────────────────────────────────────────────────────────────────────────


def test_a_tally_shows_each_vote_and_the_quorum_in_proportion() -> None:
    bar = tally_bar({"for": 3, "abstain": 0, "against": 1}, 2, title="Votes")
    svg = ElementTree.fromstring(str(bar))
    lengths = {rect.attrib["class"]: float(rect.attrib["width"]) for rect in svg.findall("rect")}
    assert lengths == {"ground": 400, "for": 300, "against": 100}
    line = svg.find("line")
    assert line is not None
    assert float(line.attrib["x1"]) == 200
    assert svg.attrib["aria-label"] == "Votes"


def test_a_tally_of_no_votes_is_an_empty_bar() -> None:
    svg = ElementTree.fromstring(str(tally_bar({"for": 0}, None, title=HOSTILE)))
    assert [rect.attrib["class"] for rect in svg.findall("rect")] == ["ground"]
    assert svg.find("line") is None


@given(st.integers(1, 70), st.data())
def test_the_steps_of_a_proof_end_at_the_root(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    leaves = [merkle.leaf_hash(bytes([n])) for n in range(size)]
    path = ["0x" + node.hex() for node in merkle.inclusion_proof(leaves, index)]
    made = steps(index, size, "0x" + leaves[index].hex(), path)
    last = made[-1].result if made else "0x" + leaves[index].hex()
    assert last == "0x" + merkle.root(leaves).hex()
    drawn = ElementTree.fromstring(str(drawing(made, "0x" + leaves[index].hex(), title="Proof")))
    assert len(drawn.findall(".//rect")) == 2 * len(made) + 1


def test_a_path_of_another_length_is_no_proof() -> None:
    for path in ([], ["0x" + "00" * 32] * 4):
        with pytest.raises(ValueError, match="path"):
            steps(1, 5, "0x" + "00" * 32, path)


# ── Search ───────────────────────────────────────────────────────────────────────────────────


def _links(site: Site, query: str) -> list[str]:
    while Indexing(site.store, site.log).step():
        pass
    return [hit.link for hit in search(site, query).hits]


def _add_event(
    site: Site, contract: str, name: str, args: dict[str, Any], *, block: int, tx: str | None = None
) -> None:
    with site.store.begin() as session:
        session.add(
            ChainEvent(
                block=block,
                block_hash=new_id(),
                tx_hash=tx or new_id(),
                log_index=0,
                contract=contract,
                name=name,
                args=args,
            )
        )


def test_a_job_is_found_by_id_beginning_and_specification(site: Site) -> None:
    specification = new_id("fe")
    id = add_job(site, id=new_id("f1"), specification_digest=specification)
    add_entries(site, 1, "job.proposed", id)
    for query in (id, id[:40], f"  {id.upper().replace('0X', '0x')} ", specification):
        assert _links(site, query)[0] == f"/jobs/{id}"


def test_transactions_events_and_anchors_are_found_by_hash(site: Site) -> None:
    tx, root = new_id("f3"), "0x" + site.log.root(5).hex()
    with site.store.begin() as session:
        call = {"contract": "JobRegistry", "function": "start", "args": [], "address": "0x"}
        session.add(ChainTx(intent="job:x:start", call=call, state="SENT", tx_hash=tx))
        session.add(Anchor(size=5, root=root, block=1, tx_hash=new_id()))
    _add_event(site, "JobRegistry", "JobStarted", {}, block=77, tx=tx)
    _add_event(site, "AuditAnchor", "Anchored", {"site": OWN, "size": 5, "root": root}, block=78)
    assert _links(site, tx)[1:] == ["/events?block=77#e77-0"]
    assert [hit.kind for hit in search(site, tx).hits] == ["transaction", "event"]
    assert _links(site, root) == ["/log/4?size=5", "/events?block=78#e78-0"]
    assert _links(site, "77") == ["/events?block=77#e77-0"]
    assert _links(site, "started jobregistry") == ["/events?block=77#e77-0"]


def test_entries_are_found_by_leaf_index_and_type(site: Site) -> None:
    leaf = "0x" + site.log.entry(2).leaf_hash.hex()
    assert _links(site, leaf) == ["/log/2"]
    assert "/log/3" in _links(site, "3")
    assert "/log?type=fatechain.task.started.v1" in _links(site, "task")


def test_a_proposal_is_found_by_its_id_and_by_words_of_its_title(site: Site) -> None:
    id = new_id("f7")
    with site.store.begin() as session:
        session.add(
            Proposal(
                id=id,
                state="EXECUTED",
                kind="set-minimum",
                title="Bigger keys for all jobs",
                params={},
                actions=[],
                description="",
                proposer="0x" + "11" * 20,
                moments=[],
            )
        )
    args = {"proposalId": int(id, 16), "description": "set-minimum"}
    _add_event(site, "ConsortiumGovernor", "ProposalCreated", args, block=90)
    for query in (id, id[:20], "keys bigger", "all jobs"):
        assert _links(site, query)[0] == f"/proposals/{id}", query
    assert _links(site, "bigger doors") == []


def test_disputes_and_emergencies_are_found_by_their_ids(site: Site) -> None:
    dispute, emergency = new_id("f8"), new_id("f9")
    _add_event(site, "Disputes", "DisputeOpened", {"id": dispute}, block=99)
    opened = {"id": emergency, "owner": new_id(), "reviewBy": 0}
    _add_event(site, "BreakGlass", "BreakGlassOpened", opened, block=100)
    assert _links(site, dispute[:30])[0] == f"/disputes/{dispute}"
    assert _links(site, emergency)[0] == f"/emergencies/{emergency}"


def test_people_are_found_by_those_who_may_see_them(site: Site) -> None:
    add(site, 6, "auditor")
    assert [hit.kind for hit in search(site, "person 6", with_people=True).hits] == ["person"]
    assert search(site, "person 6").hits == []


def test_a_filter_looks_on_until_its_page_is_full() -> None:
    ids = tuple(str(n) for n in range(20))
    found, cursor = [], None
    for _ in range(3):
        page, cursor = chosen_of(ids, 3, cursor, int, lambda n: n % 3 == 0)
        found.append(page)
    assert found == [[0, 3, 6], [9, 12, 15], [18]]
    assert cursor is None


def test_a_filter_that_finds_nothing_gives_up_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.api.views.sites.MAX_LOOKS", 5)
    ids = tuple(str(n) for n in range(12))
    page, cursor = chosen_of(ids, 3, None, int, lambda n: n == 11)
    assert page == []
    _, cursor = chosen_of(ids, 3, cursor, int, lambda n: n == 11)
    assert chosen_of(ids, 3, cursor, int, lambda n: n == 11) == ([11], None)


NOWHERE = ("", "0x", "0x12", "%", "_", "0xzz", "9" * 60, "نص", "0x" + "q" * 64)


@pytest.mark.parametrize("query", NOWHERE)
def test_what_leads_nowhere_is_no_error(site: Site, query: str) -> None:
    assert search(site, query).hits == []


async def test_the_id_of_a_thing_leads_straight_to_it(
    browser: httpx.AsyncClient, site: Site
) -> None:
    id = add_job(site, id=new_id("f5"))
    add_entries(site, 2, "job.proposed", id)
    assert len(_links(site, id)) == 3
    answer = await browser.get("/search", params={"q": id})
    assert (answer.status_code, answer.headers["location"]) == (303, f"/jobs/{id}")
    page = (await browser.get("/search", params={"q": id, "all": "1"})).text
    assert page.count('<ul class="hits">') == 2


# ── Pages with the chain behind them ─────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Newcomers]:
    world = gather(tmp_path_factory.mktemp("pages"))
    world.register()
    world.place(world.shop, "visits.csv")
    yield world
    world.close()


async def test_datasets_grants_and_members_are_shown(world: Newcomers) -> None:
    from node.registration import GrantRequest, register_dataset, sign_grant

    dataset = register_dataset(world.shop, "visits.csv", HOSTILE).id
    world.settle()
    request = GrantRequest(dataset=dataset, grantee="The bank", algorithms=(ALGORITHM,))
    grant = sign_grant(world.shop, request).id
    world.settle()
    async with operator(world.shop) as client:
        for path in (
            "/datasets",
            f"/datasets/{dataset}",
            "/grants",
            "/grants?state=ACTIVE",
            f"/grants/{grant}",
            "/sites",
            "/events",
            "/transactions",
        ):
            for language in LANGUAGES:
                answer = await client.get(path, params={"lang": language}, headers=HTML)
                assert answer.status_code == 200, f"{path}: {answer.text[:500]}"
                assert "<script>" not in answer.text
            assert (await client.get(path.split("?")[0] + ".json")).status_code == 200
        assert "visits" in (await client.get(f"/datasets/{dataset}", headers=HTML)).text


async def test_columns_are_not_shown_to_readers_of_an_open_explorer(world: Newcomers) -> None:
    from node.registration import register_dataset

    dataset = register_dataset(world.shop, "visits.csv", "open").id
    world.settle()
    world.shop.change(explorer_open=True)
    async with visitor(world.shop, **HTML) as client:
        for path in (f"/datasets/{dataset}", f"/datasets/{dataset}.json", "/datasets.json"):
            answer = await client.get(path)
            assert answer.status_code == 200
            assert "spent" not in answer.text


def test_templates_are_whole_jinja() -> None:
    for template in TEMPLATES:
        explorer._environment().get_template(template.name)


def test_the_catalogue_names_no_key_twice() -> None:
    tree = ast.parse((explorer.FOLDER / "messages.py").read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            keys = [key.value for key in node.keys if isinstance(key, ast.Constant)]
            assert len(keys) == len(set(keys))


# ── The members' affairs ─────────────────────────────────────────────────────────────────────

AFFAIRS = (
    "/disputes",
    "/disputes/new",
    "/disputes?state=RULED",
    "/emergencies",
    "/emergencies?state=OPEN",
    "/emergencies/new",
    "/keys",
)


async def test_pages_of_disputes_emergencies_and_keys_are_shown(world: Newcomers) -> None:
    async with operator(world.shop) as client:
        for path in AFFAIRS:
            for language in LANGUAGES:
                answer = await client.get(path, params={"lang": language}, headers=HTML)
                assert answer.status_code == 200, f"{path}: {answer.text[:500]}"
            assert (await client.get(path.split("?")[0] + ".json")).status_code == 200
        for path in (f"/disputes/{new_id()}", f"/emergencies/{new_id()}"):
            assert (await client.get(path, headers=HTML)).status_code == 404
