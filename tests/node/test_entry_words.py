"""Entries of the log are told in words, in both languages, wherever they are listed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from node.audit.entries import record
from node.audit.schemas import EVENTS
from node.index.indexing import Indexing
from node.site import Site
from node.ui import phrases
from node.ui.entry_words import CHINESE, ENGLISH
from tests.node.face import make_site, new_id, operator
from tests.node.told import task


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Its log tells that a step began."""
    with make_site(tmp_path_factory.mktemp("words") / "bank") as site:
        with site.store.begin() as session:
            record(session, "task.started", new_id("bb"), task(), "worker")
        while site.log.sequence():
            pass
        index = Indexing(site.store, site.log)
        while index.step():
            pass
        yield site


def test_every_kind_of_entry_has_words_in_both_languages() -> None:
    assert CHINESE.keys() == EVENTS.keys()
    assert ENGLISH.keys() <= EVENTS.keys()
    texts = [phrases.entry("zh", f"fatechain.{kind}.v1") for kind in EVENTS]
    assert len(set(texts)) == len(texts)


def test_a_kind_of_a_newer_node_is_told_as_unknown() -> None:
    assert "no words" in phrases.entry("en", "fatechain.job.imagined.v1")


async def test_the_log_and_an_entry_say_what_they_tell(site: Site) -> None:
    index = next(
        entry.index for entry in site.log.entries(0, site.log.size) if "task" in entry.type
    )
    async with operator(site) as reader:
        listed = (await reader.get("/log.json?lang=zh&type=fatechain.task.")).json()
        assert listed["page"]["items"][0]["says"] == CHINESE["task.started"]
        page = (await reader.get("/log", headers={"Accept": "text/html"})).text
        assert "a step of the job began here" in page
        one = (await reader.get(f"/log/{index}?lang=zh", headers={"Accept": "text/html"})).text
        assert CHINESE["task.started"] in one
        twin = (await reader.get(f"/log/{index}.json?lang=en")).json()
        assert twin["says"] == "a step of the job began here"


async def test_a_search_says_what_the_entries_tell_that_it_finds(site: Site) -> None:
    async with operator(site) as reader:
        meaning = EVENTS["task.started"].meaning
        for language, words in (("en", meaning), ("zh", CHINESE["task.started"])):
            asked = {"q": "task.started", "language": language, "kind": "entry"}
            [group] = (await reader.get("/v1/search", params=asked)).json()["groups"]
            assert [hit["says"] for hit in group["hits"]] == [words]
