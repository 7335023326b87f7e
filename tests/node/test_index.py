"""The search index: what is found, what leaves it, and that it is never more than was read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, func, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from node.api.views.search import search
from node.audit.entries import record
from node.errors import Invalid
from node.index import finding
from node.index.documents import KINDS, link_of
from node.index.finding import find
from node.index.indexing import Indexing, behind, forget
from node.index.tables import SearchDocument, SearchPosting, SearchToken
from node.index.words import terms_of, words_of
from node.site import Site
from node.store import Base, ChainEvent
from tests.node.face import add_job, make_site, new_id


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with make_site(tmp_path / "bank") as site:
        yield site


def enter(site: Site, reason: str, subject: str | None = None, kind: str = "job.rejected") -> int:
    """An entry with a reason; its index."""
    with site.store.begin() as session:
        record(
            session, kind, subject or new_id(), {"asked": "reject", "reason": reason}, "operator"
        )
    site.log.sequence()
    return site.log.size - 1


def happen(
    site: Site,
    block: int,
    event: str = "SiteRegistered",
    contract: str = "SiteRegistry",
    log_index: int = 0,
    fork: str = "a",
    **args: Any,
) -> str:
    """A confirmed event; the id that it names."""
    id = args.setdefault("id", new_id())
    with site.store.begin() as session:
        session.add(
            ChainEvent(
                block=block,
                block_hash=f"0x{fork * 2:0>60}{block:04x}",
                tx_hash=new_id(),
                log_index=log_index,
                contract=contract,
                name=event,
                args=args,
            )
        )
    return str(id)


def take_back(site: Site, from_block: int) -> None:
    """As whoever reads a rewritten chain anew."""
    with site.store.begin() as session:
        session.execute(delete(ChainEvent).where(ChainEvent.block >= from_block))


def update(site: Site, limit: int = 1000) -> None:
    while Indexing(site.store, site.log).step(limit):
        pass


def links(site: Site, question: str, limit: int = 50) -> list[str]:
    with site.store.read() as session:
        return [
            link_of(each.kind, each.key)
            for answer in find(session, question, limit=limit)
            for each in answer.found
        ]


def everything(site: Site) -> tuple[Any, ...]:
    """What the index says, without the numbers that it happens to give."""
    with site.store.read() as session:
        words = {row.id: row.word for row in session.scalars(select(SearchToken))}
        postings = session.scalars(select(SearchPosting)).all()
        held = {
            row.id: (row.kind, row.key, row.label)
            for row in session.scalars(select(SearchDocument))
        }
    told = sorted((held[row.document], words[row.token]) for row in postings)
    return sorted(held.values()), told, sorted(words.values())


# ── Words ────────────────────────────────────────────────────────────────────────────────────


def test_a_name_is_found_as_a_whole_and_by_its_parts() -> None:
    assert words_of("fatechain.job.ended.v1") >= {"fatechain.job.ended.v1", "job", "ended"}
    assert words_of("JobProposed set-minimum") >= {"jobproposed", "proposed", "set", "minimum"}


def test_chinese_is_found_by_two_characters_that_follow_one_another() -> None:
    assert words_of("贷款违约") == {"贷款", "款违", "违约"}
    assert [term.word for term in terms_of("违约 job")] == ["违约", "job"]


def test_an_id_is_one_word_and_calldata_is_none() -> None:
    id = "0x" + "aB" * 32
    assert words_of(id) == {id.lower()}
    assert words_of("0x" + "ab" * 500) == set()


@given(st.text(max_size=300))
def test_any_text_has_words_that_ask_for_it(text: str) -> None:
    words = words_of(text)
    assert all(word == word.lower() or not word.isascii() for word in words)
    for term in terms_of(text):
        assert any(word.startswith(term.word) for word in words)


# ── Finding ──────────────────────────────────────────────────────────────────────────────────


def test_an_entry_is_found_by_words_of_its_reason_in_any_order(site: Site) -> None:
    index = enter(site, "The purpose is unclear: 目的不明")
    enter(site, "Purpose and terms are fine")
    update(site)
    for question in ("unclear purpose", "PURPOSE uncl", "目的不明", "不明 unclear"):
        assert links(site, question) == [f"/log/{index}"], question
    assert links(site, "unclear fine") == []


def test_a_site_is_found_by_its_name_and_by_the_beginning_of_its_id(site: Site) -> None:
    id = happen(site, 5, name="North Bank", endpoint="https://north.example")
    update(site)
    for question in ("north", "bank north", id[:20], id, "north.example"):
        assert links(site, question)[0] == f"/sites/{id}", question


def test_hits_come_by_kind_and_the_newest_first(site: Site) -> None:
    job = add_job(site)
    first, second = enter(site, "once", job), enter(site, "twice", job)
    happen(site, 7, "JobStarted", "JobRegistry", id=job)
    update(site)
    expected = [f"/jobs/{job}", f"/log/{second}", f"/log/{first}", "/events?block=7#e7-0"]
    assert links(site, job) == expected


def test_a_list_goes_on_where_it_ended_while_more_arrives(site: Site) -> None:
    wanted = [enter(site, "needle") for _ in range(7)][::-1]
    update(site)
    seen: list[str] = []
    below = finding.NEWEST
    while True:
        with site.store.read() as session:
            (answer,) = find(session, "needle", limit=3, kinds=("entry",), below=below)
        seen += [each.key for each in answer.found]
        enter(site, "needle")
        update(site)
        if answer.next is None:
            break
        below = answer.next
    assert seen == [str(index) for index in wanted]


def test_a_question_reads_so_much_and_says_where_to_go_on(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding, "MOST_READ", 4)
    oldest = enter(site, "common needle")
    for n in range(8):
        enter(site, "common thread" if n % 2 else "other needle")
    update(site)
    with site.store.read() as session:
        (answer,) = find(session, "common needle", limit=5, kinds=("entry",))
        assert (answer.found, answer.next is None) == ([], False)
        below = answer.next
        assert below is not None
        (answer,) = find(session, "common needle", limit=5, kinds=("entry",), below=below)
    assert [each.key for each in answer.found] == [str(oldest)]


def test_nobody_asks_for_a_kind_or_place_that_there_is_not(site: Site) -> None:
    with pytest.raises(Invalid):
        search(site, "x", kind="secrets")
    with pytest.raises(Invalid):
        search(site, "x", kind="entry", cursor="bm90IG91cnM")


def test_the_answer_says_what_the_index_lacks(site: Site) -> None:
    enter(site, "one")
    happen(site, 3)
    assert search(site, "one").behind == 2
    update(site)
    assert search(site, "one").behind == 0


# ── Keeping up ───────────────────────────────────────────────────────────────────────────────


def test_the_index_is_the_same_however_it_was_made(site: Site) -> None:
    job = add_job(site)
    for block in range(1, 6):
        happen(site, block, name=f"Site {block}")
        enter(site, f"reason {block}", job)
        update(site, limit=1)
    grown = everything(site)
    assert Indexing(site.store, site.log).rebuild() == 10
    assert everything(site) == grown


def test_events_that_the_chain_took_back_leave_with_all_that_was_born_of_them(site: Site) -> None:
    happen(site, 1, name="Stays")
    update(site)
    before = everything(site)
    lost = happen(site, 2, name="Vanishes")
    happen(site, 3, name="Vanishestoo")
    update(site)
    assert links(site, "vanishes")
    take_back(site, 2)
    update(site)
    assert links(site, lost) == []
    assert everything(site) == before


def test_a_rewritten_block_is_read_anew(site: Site) -> None:
    happen(site, 1, name="Stays")
    happen(site, 2, name="Old")
    update(site)
    take_back(site, 2)
    new = happen(site, 2, fork="b", name="New")
    update(site)
    assert links(site, "old") == []
    assert links(site, "new")[0] == f"/sites/{new}"
    assert links(site, "stays")


def test_a_chain_that_is_read_anew_from_its_beginning_leaves_nothing_of_the_old(site: Site) -> None:
    for block in range(1, 4):
        happen(site, block, name=f"Old {block}")
    update(site)
    take_back(site, 0)
    update(site)
    assert everything(site) == ([], [], [])


def test_a_job_whose_proposal_was_taken_back_is_still_this_site_s(site: Site) -> None:
    job = add_job(site)
    happen(site, 4, "JobProposed", "JobRegistry", id=job, purpose="lending")
    update(site)
    assert f"/jobs/{job}" in links(site, "lending")
    take_back(site, 4)
    update(site)
    assert links(site, "lending") == []
    assert links(site, job) == [f"/jobs/{job}"]


def test_nothing_is_left_of_the_words_of_an_erased_entry(site: Site) -> None:
    erased, kept = enter(site, "Grace withdrew"), enter(site, "Ada kept")
    update(site)
    with site.store.begin() as session:
        forget(session, [erased])
    assert links(site, "grace") == []
    assert links(site, "ada") == [f"/log/{kept}"]
    assert links(site, "job.rejected") == [f"/log/{kept}", f"/log/{erased}"]
    with site.store.read() as session:
        words = set(session.scalars(select(SearchToken.word)))
        assert not words & {"grace", "withdrew"}
        assert "ada" in words
        assert session.scalar(select(func.count()).select_from(SearchDocument)) == 2


def test_what_is_erased_before_it_is_read_is_not_looked_for(site: Site) -> None:
    index = enter(site, "Grace withdrew")
    with site.store.begin() as session:
        forget(session, [index])
        assert behind(session) == 1


def test_every_kind_has_a_number_and_a_page_of_its_own() -> None:
    assert len(set(KINDS.values())) == len(KINDS)
    assert all(link_of(kind, "1.2" if kind == "event" else "1") for kind in KINDS)


def test_the_tables_can_be_made_in_postgresql() -> None:
    tables = [table for name, table in Base.metadata.tables.items() if name.startswith("search_")]
    made = [str(CreateTable(table).compile(dialect=postgresql.dialect())) for table in tables]
    assert len(made) == 4
    assert 'word VARCHAR(80) COLLATE "C"' in "".join(made)


@pytest.mark.parametrize("size", [2**53, 2**64 - 1])
def test_a_head_of_an_impossible_size_is_read_like_any_event(site: Site, size: int) -> None:
    """As older contracts take it: no database has a number for it, and what follows is found."""
    happen(site, 1, "Anchored", "AuditAnchor", size=size, root="0x" + "cd" * 32)
    after = happen(site, 2, name="Afterwards")
    update(site)
    assert links(site, "0x" + "cd" * 32) == ["/events?block=1#e1-0"]
    assert f"/sites/{after}" in links(site, "afterwards")
