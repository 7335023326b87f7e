"""The page that verifies certificates finds what Python finds, at the same place, on its own."""

from __future__ import annotations

import contextlib
import json
import random
import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from eth_utils.crypto import keccak
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from chain import canonical
from chain.pack import TYPE as PACK_TYPE
from chain.pack import verify_pack_alone
from chain.standalone import ASK_FOR_THE_BLOCK, ASK_THE_CHAIN, Report, verify_alone
from chain.statement import kind_of
from node.ui.verifier import page
from node.ui.verifier.build import SOURCE, build
from tests.browser.conftest import WATCH
from tests.chain.lies import (
    CERTIFICATE,
    FORGERIES,
    LIES,
    MALFORMED,
    VALUE,
    bracketed,
    resealed,
    rewritten,
    signer,
)
from tests.chain.pack_lies import LIES as PACK_LIES
from tests.chain.pack_lies import PACK, resigned, with_receipt
from tests.chain.pack_lies import VALUE as PACK_VALUE
from tests.chain.pack_lies import Change as PackChange
from tests.chain.state_lies import PACK_STATE_LIES, STANDING_LIES, STATE_LIES

pytestmark = pytest.mark.browser

VECTORS = json.loads((SOURCE.parents[3] / "tests" / "vectors" / "merkle.json").read_text())
MODULES = "http://localhost/"
"""A place that browsers hold for secure; the test answers for it."""

BLOCK = VALUE["state"]["block"]


def without_state(body: dict[str, Any]) -> None:
    body["state"] = None


Shown = list[tuple[str, str, bool]]
"""(name, where, whether it holds) of every check, in the order of the page."""


@dataclass
class Reader:
    """Somebody with the page open from a disk."""

    page: Page
    requests: list[str]
    files: int = 0

    def give(self, data: bytes) -> str:
        """Hands the page a file; returns its verdict."""
        self.files += 1
        name = f"file-{self.files}.json"
        self.page.locator("#file").set_input_files(
            {"name": name, "mimeType": "application/json", "buffer": data}
        )
        verdict = self.page.get_by_role("status").filter(has_text=name)
        tone = "good" if report_of(data).ok else "bad"
        expect(verdict).to_have_class(f"callout {tone}", timeout=10_000)
        return verdict.inner_text()

    def shown(self) -> Shown:
        rows = self.page.locator("#rows tr").evaluate_all(
            """rows => rows.map((row) => [
                 row.dataset.check, row.cells[2].textContent, row.cells[0].matches(".good"),
               ])"""
        )
        return [(name, where, ok) for name, where, ok in rows]


def in_python(data: bytes) -> Shown:
    return [(check.name, check.where, check.ok) for check in report_of(data).checks]


def report_of(data: bytes) -> Report:
    """What Python finds in a certificate or a pack."""
    return (verify_pack_alone if kind_of(data) == PACK_TYPE else verify_alone)(data)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("verifier") / "verifier.html"
    file.write_bytes(page())
    return file


Read = Callable[..., Reader]


@pytest.fixture(scope="module")
def read(chromium: Browser, saved: Path) -> Iterator[Read]:
    """Opens the page; fails if it logs an error, breaks its policy or asks for anything else."""
    contexts: list[BrowserContext] = []
    readers: list[Reader] = []
    wrong: list[str] = []

    def read(**options: Any) -> Reader:
        context = chromium.new_context(**options)
        contexts.append(context)
        context.add_init_script(WATCH)
        opened = context.new_page()
        reader = Reader(opened, [])
        readers.append(reader)
        opened.on("request", lambda request: reader.requests.append(request.url))
        opened.on("pageerror", lambda error: wrong.append(str(error)))
        opened.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        opened.goto(saved.as_uri())
        return reader

    yield read
    for context in contexts:
        context.close()
    assert not wrong
    asked = [url for reader in readers for url in reader.requests if not url.startswith("data:")]
    assert asked == [saved.as_uri()] * len(readers)


@pytest.fixture(scope="module")
def reader(read: Read) -> Reader:
    return read(locale="en-GB")


@pytest.fixture(scope="module")
def modules(chromium: Browser) -> Iterator[Page]:
    """A page that can import the modules as they lie in the repository."""

    def answer(route: Route) -> None:
        name = route.request.url.removeprefix(MODULES)
        if name == "":
            route.fulfill(body="<!doctype html>", content_type="text/html")
        else:
            route.fulfill(path=SOURCE / name, content_type="text/javascript")

    context = chromium.new_context()
    context.route("**/*", answer)
    opened = context.new_page()
    opened.goto(MODULES)
    yield opened
    context.close()


# ── The modules, against the vectors of Python and Solidity ──────────────────────────────────


def test_the_committed_page_is_what_its_sources_make() -> None:
    assert build() == page(), "run `python -m node.ui.verifier.build`"


def test_leaves_and_roots_are_those_of_the_vectors(modules: Page) -> None:
    found = modules.evaluate(
        """async ({ inputs, leaves }) => {
             const { leafHash, nodeHash } = await import("/merkle.js");
             const { hex, unhex } = await import("/digest.js");
             const hashes = await Promise.all(inputs.map((data) => leafHash(unhex(data))));
             return [hashes.map(hex), hex(await nodeHash(...leaves.map(unhex)))];
           }""",
        {"inputs": VECTORS["inputs"], "leaves": VECTORS["leafHashes"][:2]},
    )
    assert found == [VECTORS["leafHashes"], VECTORS["roots"][2]]


def test_inclusion_vectors(modules: Page) -> None:
    found = modules.evaluate(
        """async (cases) => {
             const { verifyInclusion } = await import("/merkle.js");
             const { unhex } = await import("/digest.js");
             return Promise.all(cases.map(({ root, size, index, leaf, proof }) =>
               verifyInclusion(unhex(root), size, index, unhex(leaf), proof.map(unhex))));
           }""",
        VECTORS["inclusion"],
    )
    assert len(found) > 20
    assert found == [case["valid"] for case in VECTORS["inclusion"]]


def test_canonical_bytes_are_those_of_python(modules: Page) -> None:
    chance = random.Random(3)
    names = [
        "€",
        "\r",
        "\ufb33",
        "1",
        "😀",
        "\x80",
        "ö",
        "__proto__",
        'a"b',
        "\u2028",
        "",
        "10",
        "9",
    ]

    def number() -> float | int:
        if chance.random() < 0.3:
            return chance.randrange(-(2**53) + 1, 2**53)
        return chance.uniform(-1, 1) * 10.0 ** chance.randrange(-320, 300)

    values = [
        {name: number() for name in chance.sample(names, chance.randrange(len(names)))}
        for _ in range(300)
    ]
    texts = []
    for value in values:
        with contextlib.suppress(canonical.NotCanonical):
            canonical.loads(canonical.dumps(value))
            texts.append(canonical.dumps(value).decode())
    assert len(texts) > 200
    found = modules.evaluate(
        """async (texts) => {
             const { parse, canonical } = await import("/canonical.js");
             return texts.map((text) =>
               canonical(parse(new TextEncoder().encode(`${text}\\n`))) === text);
           }""",
        texts,
    )
    assert all(found)


def test_every_text_has_both_languages_and_fills_in_the_same(modules: Page) -> None:
    words = modules.evaluate("async () => (await import('/words.js')).WORDS")
    for key, (english, chinese) in words.items():
        assert english, key
        assert chinese, key
        names = [
            sorted(part.split("}")[0] for part in text.split("{")[1:])
            for text in (english, chinese)
        ]
        assert names[0] == names[1], key


def test_every_text_that_is_said_is_there(modules: Page) -> None:
    words = modules.evaluate("async () => (await import('/words.js')).WORDS")
    said = {
        key
        for file in SOURCE.glob("*.js")
        for key in re.findall(
            r"(?:\bsay|\bt|\brefuse)\((?:where, |`[^`]*`, )?\"([a-z0-9.]+)\"", file.read_text()
        )
    }
    shown = re.findall(r'data-word="([^"]+)"', (SOURCE / "page.html").read_text())
    assert len(said) > 50
    assert (said | set(shown)) <= set(words)


STATE = json.loads((SOURCE.parents[3] / "tests" / "vectors" / "state-proof.json").read_text())


def test_keccak_is_that_of_the_vectors_and_of_every_length(modules: Page) -> None:
    texts = [bytes(n % 251 for n in range(size)) for size in range(300)]
    told = [{"data": "0x" + text.hex(), "hash": "0x" + keccak(text).hex()} for text in texts]
    told += STATE["keccak"]
    found = modules.evaluate(
        """async (texts) => {
             const { keccak } = await import("/keccak.js");
             const { hex, unhex } = await import("/digest.js");
             return texts.map(({ data }) => hex(keccak(unhex(data))));
           }""",
        told,
    )
    assert found == [each["hash"] for each in told]


def test_rlp_has_one_form_as_in_the_vectors(modules: Page) -> None:
    found = modules.evaluate(
        """async (texts) => {
             const { decode } = await import("/rlp.js");
             const { hex, unhex } = await import("/digest.js");
             const told = (value) => Array.isArray(value) ? value.map(told) : hex(value).slice(2);
             return texts.map((data) => {
               const value = decode(unhex(data));
               return value === null ? null : told(value);
             });
           }""",
        [*(each["data"] for each in STATE["rlp"]), *STATE["noRlp"]],
    )
    assert found == [*(each["value"] for each in STATE["rlp"]), *([None] * len(STATE["noRlp"]))]


def test_tries_and_what_engines_proved_hold_as_in_python(modules: Page) -> None:
    found = modules.evaluate(
        """async ({ tries, engines }) => {
             const { ProvedSlots, proved } = await import("/slots.js");
             const { hex, unhex } = await import("/digest.js");
             const held = tries.map(({ root, nodes, held, absent }) => {
               const slots = new ProvedSlots(root, nodes, "$");
               return [...Object.keys(held), ...absent].map((key) => {
                 const value = slots.value(root, unhex(key));
                 return value === null ? null : hex(value);
               });
             });
             const words = engines.map(({ state, reads }) => {
               const { slots } = proved(state, "$");
               const word = ({ address, slot }) => slots.word(address, BigInt(slot));
               const read = reads.map((each) => `0x${word(each).toString(16)}`);
               slots.requireAllUsed();
               return read;
             });
             return [held, words];
           }""",
        {"tries": STATE["tries"], "engines": list(STATE["engines"].values())},
    )
    held = [[*trie["held"].values(), *([None] * len(trie["absent"]))] for trie in STATE["tries"]]
    words = [[read["value"] for read in told["reads"]] for told in STATE["engines"].values()]
    assert found == [held, words]


# ── Certificates, as Python finds them ───────────────────────────────────────────────────────


def test_the_certificate_holds(reader: Reader) -> None:
    assert reader.give(CERTIFICATE) == (
        f"file-{reader.files}.json holds together: {len(in_python(CERTIFICATE))} checks, what the "
        "contracts had stored among them. Compare the hash of the block."
    )
    assert reader.shown() == in_python(CERTIFICATE)
    assert all(ok for _, _, ok in reader.shown())


def test_signatures_of_all_parties_hold(reader: Reader) -> None:
    data = resealed(lambda body: None, signer(0), signer(1))
    reader.give(data)
    assert reader.shown() == in_python(data)


def test_brackets_in_a_text_are_no_depth_and_a_long_text_is_read(reader: Reader) -> None:
    assert "holds together" in reader.give(resealed(bracketed))


@pytest.mark.parametrize(("what", "change", "name", "where"), LIES, ids=[lie[0] for lie in LIES])
def test_a_lie_that_is_signed_is_found_at_the_same_place(
    reader: Reader, what: str, change: Any, name: str, where: str
) -> None:
    data = resealed(change)
    assert "does NOT hold" in reader.give(data)
    assert (name, where, False) in reader.shown()
    assert reader.shown() == in_python(data)


@pytest.mark.parametrize(
    ("what", "change", "where"), STATE_LIES, ids=[lie[0] for lie in STATE_LIES]
)
def test_a_lie_about_the_chain_is_found_at_the_same_place(
    reader: Reader, what: str, change: Any, where: str
) -> None:
    data = resealed(change)
    assert "does NOT hold" in reader.give(data)
    assert ("state", where, False) in reader.shown()
    assert reader.shown() == in_python(data)


@pytest.mark.parametrize(
    ("what", "change", "where"), PACK_STATE_LIES, ids=[lie[0] for lie in PACK_STATE_LIES]
)
def test_a_lie_of_a_pack_about_the_chain_is_found_at_the_same_place(
    reader: Reader, what: str, change: Any, where: str
) -> None:
    data = resigned(change, proved=True)
    reader.give(data)
    assert ("chain", where, False) in reader.shown()
    assert reader.shown() == in_python(data)


@pytest.mark.parametrize(
    ("what", "change", "name", "where"), FORGERIES, ids=[forgery[0] for forgery in FORGERIES]
)
def test_a_change_that_nobody_signed_is_found_at_the_same_place(
    reader: Reader, what: str, change: Any, name: str, where: str
) -> None:
    data = rewritten(change)
    assert "does NOT hold" in reader.give(data)
    assert (name, where, False) in reader.shown()
    assert reader.shown() == in_python(data)


@pytest.mark.parametrize(("what", "data"), MALFORMED, ids=[what for what, _ in MALFORMED])
def test_a_malformed_file_is_one_failed_check(reader: Reader, what: str, data: bytes) -> None:
    reader.give(data)
    assert reader.shown() == [("format", "$", False)]


def test_every_changed_byte_is_found_at_the_same_place(reader: Reader) -> None:
    chance = random.Random(11)
    for at in chance.sample(range(len(CERTIFICATE)), 60):
        changed = bytearray(CERTIFICATE)
        changed[at] ^= 1 << chance.randrange(8)
        assert "does NOT hold" in reader.give(bytes(changed)), f"byte {at} changed unnoticed"
        assert reader.shown() == in_python(bytes(changed)), f"byte {at}"


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """(container, key) of everything in a JSON value."""
    items: Any = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(items):
        yield value, key
        if isinstance(inner, dict | list):
            yield from _places(inner)


def test_any_other_value_anywhere_is_judged_as_in_python(modules: Page) -> None:
    """By the modules alone: many more than the page is given."""
    chance = random.Random(5)
    values: list[Any] = [
        None,
        True,
        False,
        -1,
        0,
        2**53 - 1,
        0.5,
        1e30,
        "",
        "0x",
        "😀\ue000",
        [],
        {},
        [[]],
    ]
    files = []
    for number in range(400):
        value = json.loads(CERTIFICATE)
        parent, key = chance.choice(list(_places(value)))
        parent[key] = chance.choice(values)
        if number % 2 and isinstance(parent, dict):
            parent["more"] = parent.pop(key)
        files.append(canonical.dumps(value) + b"\n")
    found = modules.evaluate(
        """async (files) => {
             const { verify } = await import("/checks.js");
             const reports = [];
             for (const file of files) {
               const { checks } = await verify(new TextEncoder().encode(file));
               reports.push(checks.map(({ name, where, ok }) => [name, where, ok]));
             }
             return reports;
           }""",
        [file.decode() for file in files],
    )
    for file, report in zip(files, found, strict=True):
        assert [tuple(check) for check in report] == in_python(file), file


# ── For a person ─────────────────────────────────────────────────────────────────────────────


def test_what_only_the_chain_can_tell_is_said_in_full(reader: Reader) -> None:
    reader.give(resealed(without_state))
    told = reader.page.locator("#unchecked dd").all_inner_texts()
    assert told == list(ASK_THE_CHAIN.values())
    assert VALUE["job"]["id"] in reader.page.locator("#facts").inner_text()


def test_where_a_header_proves_the_state_the_block_is_left_to_compare(reader: Reader) -> None:
    reader.give(CERTIFICATE)
    told = reader.page.locator("#unchecked dd").all_inner_texts()
    assert told == list(ASK_FOR_THE_BLOCK.values())
    assert (
        BLOCK["hash"] in reader.page.get_by_role("region", name="The block to compare").inner_text()
    )


def test_the_block_is_named_by_hash_header_or_file_and_turns_red_for_another(read: Read) -> None:
    reader = read(locale="en-GB")
    same = reader.page.locator("#same")
    box = reader.page.get_by_label("Hash or header of the block")
    reader.give(CERTIFICATE)
    for told in (BLOCK["hash"], BLOCK["header"], json.dumps({"result": {"hash": BLOCK["hash"]}})):
        box.fill(told)
        expect(same).to_have_class("callout good")
        expect(same).to_contain_text(f"Block {BLOCK['number']} is the one that you named")
    box.fill("0x" + "ab" * 32)
    expect(same).to_have_class("callout bad")
    box.fill("block 83")
    expect(same).to_contain_text("no hash and no header")
    box.fill("")
    expect(same).to_be_hidden()
    content = json.dumps({"jsonrpc": "2.0", "id": 1, "result": {"hash": BLOCK["hash"]}})
    reader.page.locator("#file").set_input_files(
        {"name": "header.json", "mimeType": "application/json", "buffer": content.encode()}
    )
    expect(same).to_have_class("callout good")
    expect(reader.page.locator("#verdict")).to_contain_text("holds together")


def test_a_pack_is_green_for_the_block_of_its_state_alone(read: Read) -> None:
    reader = read(locale="en-GB")
    same, box = reader.page.locator("#same"), reader.page.get_by_label("Hash or header")
    reader.give(PACK)
    state = PACK_VALUE["chain"]["block"]
    inner = PACK_VALUE["certificates"][0]["certificate"]["state"]["block"]
    for block, other, tone, told in (
        (state, inner, "good", f"Block {state['number']} is the one that you named"),
        (
            inner,
            state,
            "wait",
            f"Only a certificate in the file is shown by block {inner['number']}",
        ),
    ):
        box.fill(block["hash"])
        expect(same).to_have_class(f"callout {tone}")
        expect(same).to_contain_text(told)
        expect(same).to_contain_text(f"Still to compare: {other['number']}.")


def test_a_block_beside_a_period_shows_only_its_time(modules: Page) -> None:
    bound = {**BLOCK, "number": BLOCK["number"] - 1}
    pack = {**PACK_VALUE, "chain": {**PACK_VALUE["chain"], "bounds": [bound]}}
    found = modules.evaluate(
        """async ([pack, hash]) => {
             const { blocksOf, compared } = await import("/blocks.js");
             const blocks = blocksOf({ certificate: null, pack });
             return [blocks.map(({ role, number }) => [role, number]), compared(blocks, { hash })];
           }""",
        [pack, bound["hash"]],
    )
    inner = PACK_VALUE["certificates"][0]["certificate"]["state"]["block"]["number"]
    state = PACK_VALUE["chain"]["block"]["number"]
    roles = [["state", state], ["certificate", inner], ["time", bound["number"]]]
    words = [
        ["block.is.time", {"number": bound["number"]}],
        ["block.left", {"numbers": f"{state}, {inner}"}],
    ]
    assert found == [roles, {"tone": "wait", "words": words}]


@pytest.mark.parametrize(
    ("what", "change", "where", "found"), STANDING_LIES, ids=[lie[0] for lie in STANDING_LIES]
)
def test_a_history_that_no_contract_writes_is_not_read_to_its_end(
    reader: Reader, what: str, change: Any, where: str, found: str
) -> None:
    assert "does NOT hold" in reader.give(resealed(change))
    row = reader.page.locator("#rows tr", has=reader.page.locator(".mark.bad"))
    expect(row.filter(has_text=where)).to_contain_text(found)


def test_a_header_may_come_before_the_file_that_it_is_held_against(read: Read) -> None:
    reader = read(locale="en-GB")
    reader.page.locator("#file").set_input_files(
        {"name": "h.txt", "mimeType": "text/plain", "buffer": BLOCK["header"].encode()}
    )
    expect(reader.page.get_by_label("Hash or header of the block")).to_have_value(BLOCK["header"])
    expect(reader.page.locator("#same")).to_be_hidden()
    reader.give(CERTIFICATE)
    expect(reader.page.locator("#same")).to_have_class("callout good")


def test_nothing_that_a_failed_file_states_is_repeated_as_a_fact(reader: Reader) -> None:
    reader.give(resealed(lambda body: body["reconciliation"].update(messages=99)))
    expect(reader.page.locator("#about")).to_be_hidden()
    expect(reader.page.locator("#open")).to_be_hidden()


def test_names_in_a_file_become_no_markup(reader: Reader) -> None:
    name = "<img src=x onerror=alert(1)>"

    def renamed(body: dict[str, Any]) -> None:
        body["parties"][1].update(memberName=name)
        body["state"] = None  # the contracts have the other name

    reader.give(resealed(renamed))
    assert name in reader.page.locator("#facts").inner_text()
    assert reader.page.locator("img").count() == 0


def test_in_chinese_by_keyboard_alone(read: Read) -> None:
    reader = read(locale="en-GB")
    reader.page.keyboard.press("Tab")
    reader.page.keyboard.press("Tab")
    reader.page.keyboard.press("Enter")
    expect(reader.page.get_by_role("heading", name="验证证书")).to_be_visible()
    expect(reader.page.get_by_role("button", name="中文")).to_be_focused()
    reader.page.keyboard.press("Tab")
    expect(reader.page.get_by_label("选择证书")).to_be_focused()
    assert "自身一致" in reader.give(CERTIFICATE)
    assert read(locale="zh-CN").page.locator("html").get_attribute("lang") == "zh-Hans"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_in_both_schemes(read: Read, scheme: str) -> None:
    reader = read(viewport={"width": 360, "height": 740}, color_scheme=scheme, locale="en-GB")
    reader.give(CERTIFICATE)
    width = reader.page.evaluate("document.documentElement.scrollWidth")
    ground = reader.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert width <= 360
    assert (ground == "rgb(15, 19, 27)") == (scheme == "dark")


def test_where_the_browser_cannot_check_nothing_is_found_good(chromium: Browser) -> None:
    context = chromium.new_context(locale="en-GB")
    opened = context.new_page()
    address = "http://node.example/verify"  # neither TLS nor this machine: no WebCrypto
    opened.route(address, lambda route: route.fulfill(body=page(), content_type="text/html"))
    opened.goto(address)
    expect(opened.get_by_role("status")).to_contain_text("This browser cannot check signatures")
    expect(opened.locator("#file")).to_be_disabled()
    context.close()


def test_a_dropped_file_is_taken(reader: Reader) -> None:
    reader.page.evaluate(
        """(text) => {
             const dataTransfer = new DataTransfer();
             dataTransfer.items.add(new File([text], "dropped.json"));
             document.dispatchEvent(new DragEvent("drop", { dataTransfer, cancelable: true }));
           }""",
        CERTIFICATE.decode(),
    )
    expect(reader.page.get_by_role("status")).to_contain_text("dropped.json holds together")


def test_the_page_can_reach_no_network_even_if_it_wanted_to(chromium: Browser, saved: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        context = chromium.new_context()
        opened = context.new_page()
        opened.goto(saved.as_uri())
        refused = opened.evaluate(
            """async (url) => {
                 const violated = [];
                 document.addEventListener("securitypolicyviolation",
                   (event) => violated.push(event.effectiveDirective));
                 await fetch(url).catch(() => {});
                 const image = document.createElement("img");
                 const tried = new Promise((done) => image.addEventListener("error", done));
                 image.src = url;
                 await tried;
                 return violated;
               }""",
            f"http://127.0.0.1:{server.getsockname()[1]}/",
        )
        context.close()
        assert refused == ["connect-src", "img-src"]
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()  # nobody came


# ── Evidence packs ───────────────────────────────────────────────────────────────────────────


def test_a_pack_that_holds_is_found_good_and_what_is_open_is_named(reader: Reader) -> None:
    assert "holds together" in reader.give(PACK)
    assert reader.shown() == in_python(PACK)
    expect(reader.page.locator("#unchecked")).to_contain_text("where no certificate proves it")
    expect(reader.page.locator("#command")).to_contain_text("fatechain verify pack.json")


def test_the_page_finds_that_a_receipt_covers_what_was_erased(reader: Reader) -> None:
    data = resigned(with_receipt())
    assert "holds together" in reader.give(data)
    assert reader.shown() == in_python(data)


@pytest.mark.parametrize(("what", "change", "where"), PACK_LIES, ids=[lie[0] for lie in PACK_LIES])
def test_the_page_finds_in_a_pack_what_python_finds(
    reader: Reader, what: str, change: PackChange, where: str
) -> None:
    data = resigned(change)
    reader.give(data)
    assert reader.shown() == in_python(data)
