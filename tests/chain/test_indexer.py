"""Events arrive once, in order, confirmed; forks above are unseen, forks below are an alarm."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import pytest

from chain.calls import BlockRef, EventRecord
from chain.errors import BlockUnknown, ChainRegressed, ChainUnavailable, LogsRefused
from chain.history import CHUNK
from chain.indexer import Cursor, Indexer
from chain.testing import InProcessChain
from tests.chain.world import World, admission, newcomer

CONFIRMATIONS = 2


class Memory:
    """A store that keeps what was committed; `failing` makes the next commits fail whole."""

    def __init__(self) -> None:
        self.events: list[EventRecord] = []
        self.cursor: Cursor | None = None
        self.failing = False

    def load(self) -> Cursor | None:
        return self.cursor

    def commit(self, events: Sequence[EventRecord], cursor: Cursor) -> None:
        if self.failing:
            raise OSError("disk full")
        self.events.extend(events)
        self.cursor = cursor


def indexer(world: World, store: Memory, first_block: int = 0) -> Indexer:
    client = world.network.client
    return Indexer(client, world.network, store, CONFIRMATIONS, first_block=first_block)


def admit(world: World, number: int) -> str:
    """Admits a member named after the number; returns the name."""
    name = f"m{number}"
    world.send(world.authority, admission(world.network, newcomer(number), name, number))
    return name


def admitted(events: Sequence[EventRecord]) -> list[str]:
    return [event.args["name"] for event in events if event.name == "MemberAdmitted"]


def test_whole_history_is_read_in_order(world: World, chain: InProcessChain) -> None:
    chain.mine(CONFIRMATIONS)
    store = Memory()
    found = indexer(world, store).step()
    assert found == store.events
    places = [(event.block_number, event.log_index) for event in found]
    assert places == sorted(places)
    assert len(set(places)) == len(places)
    assert admitted(found) == ["bank", "shop"]
    names = {(event.contract, event.name) for event in found}
    assert ("ConsentRegistry", "ConsentGranted") in names
    assert ("SiteRegistry", "SiteKeyAdded") in names
    assert "Unknown" not in {event.name for event in found}


def test_event_is_seen_when_it_is_confirmed_and_never_again(
    world: World, chain: InProcessChain
) -> None:
    chain.mine(CONFIRMATIONS)
    follower = indexer(world, Memory())
    follower.step()
    name = admit(world, 1)
    seen = []
    for _ in range(5):
        seen.append(admitted(follower.step()))
        chain.mine()
    assert seen == [[], [], [name], [], []]


def test_peek_shows_what_is_not_confirmed_and_keeps_nothing(
    world: World, chain: InProcessChain
) -> None:
    chain.mine(CONFIRMATIONS)
    store = Memory()
    follower = indexer(world, store)
    follower.step()
    name = admit(world, 1)
    kept = list(store.events)
    assert admitted(follower.peek()) == [name]
    assert store.events == kept
    chain.mine(CONFIRMATIONS)
    assert admitted(follower.step()) == [name]
    assert follower.peek() == []


def test_restart_goes_on_where_the_store_ends(world: World, chain: InProcessChain) -> None:
    store, names = Memory(), []
    for number in range(4):
        names.append(admit(world, number))
        chain.mine(CONFIRMATIONS)
        indexer(world, store).step()
    assert admitted(store.events) == ["bank", "shop", *names]


def test_failed_commit_loses_and_repeats_nothing(world: World, chain: InProcessChain) -> None:
    chain.mine(CONFIRMATIONS)
    store = Memory()
    follower = indexer(world, store)
    follower.step()
    name = admit(world, 1)
    chain.mine(CONFIRMATIONS)
    store.failing = True
    with pytest.raises(OSError, match="disk full"):
        follower.step()
    store.failing = False
    assert admitted(follower.step()) == [name]
    assert admitted(store.events).count(name) == 1


def test_long_history_is_kept_piece_by_piece(
    world: World, chain: InProcessChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chain.history.CHUNK", 7)
    chain.mine(CONFIRMATIONS)
    whole, pieces = Memory(), Memory()
    indexer(world, pieces).step()
    monkeypatch.setattr("chain.history.CHUNK", 10_000)
    indexer(world, whole).step()
    assert pieces.events == whole.events
    assert pieces.cursor == whole.cursor


def test_blocks_before_the_first_are_not_read(world: World, chain: InProcessChain) -> None:
    first = world.network.client.head().number + 1
    name = admit(world, 1)
    chain.mine(CONFIRMATIONS)
    assert admitted(indexer(world, Memory(), first).step()) == [name]


def test_fork_above_the_confirmed_blocks_is_invisible(world: World, chain: InProcessChain) -> None:
    chain.mine(CONFIRMATIONS)
    store = Memory()
    follower = indexer(world, store)
    follower.step()
    fork = chain.snapshot()
    admit(world, 1)
    follower.step()
    chain.revert(fork)
    other = admit(world.afresh(), 2)
    chain.mine(CONFIRMATIONS)
    assert admitted(follower.step()) == [other]


def test_fork_below_the_confirmed_blocks_is_an_alarm(world: World, chain: InProcessChain) -> None:
    store = Memory()
    fork = chain.snapshot()
    admit(world, 1)
    chain.mine(CONFIRMATIONS)
    follower = indexer(world, store)
    follower.step()
    kept, cursor = list(store.events), store.cursor
    assert cursor is not None
    chain.revert(fork)
    admit(world.afresh(), 2)
    chain.mine(CONFIRMATIONS)
    for _ in range(2):
        with pytest.raises(ChainRegressed) as caught:
            follower.step()
        assert caught.value.expected == cursor.hash
        assert caught.value.found == world.network.client.block(cursor.number).hash
    assert (store.events, store.cursor) == (kept, cursor)


def test_lagging_endpoint_is_not_taken_for_a_fork(world: World, chain: InProcessChain) -> None:
    """ponder#2221: the endpoint goes back, and comes again."""
    ahead = chain.snapshot()
    chain.mine(500)
    store = Memory()
    follower = indexer(world, store)
    follower.step()
    kept, cursor = list(store.events), store.cursor
    chain.revert(ahead)
    assert follower.step() == []
    assert follower.behind == 500 - CONFIRMATIONS
    assert (store.events, store.cursor) == (kept, cursor)


def test_endpoint_that_caught_up_is_followed_again(
    world: World, chain: InProcessChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Memory()
    follower = indexer(world, store)
    name = admit(world, 1)
    chain.mine(5)
    follower.step()
    head = world.network.client.head
    with monkeypatch.context() as patch:
        patch.setattr(world.network.client, "head", lambda: BlockRef(3, "0x00", 0))
        assert follower.step() == []
        assert follower.behind > 0
    assert world.network.client.head() == head()
    other = admit(world, 2)
    chain.mine(CONFIRMATIONS)
    assert admitted(follower.step()) == [other]
    assert follower.behind == 0
    assert admitted(store.events).count(name) == 1


def test_second_node_of_an_endpoint_that_lacks_the_block_is_waited_for(
    world: World, chain: InProcessChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Memory()
    follower = indexer(world, store)
    chain.mine(CONFIRMATIONS)
    follower.step()
    admit(world, 1)
    chain.mine(CONFIRMATIONS)

    def lacking(number: int) -> Any:
        raise BlockUnknown(number)

    with monkeypatch.context() as patch:
        patch.setattr(world.network.client, "head", lambda: BlockRef(10**6, "0x00", 0))
        patch.setattr(world.network.client, "block", lacking)
        assert follower.step() == []
    assert admitted(follower.step()) == ["m1"]


def test_history_that_moves_while_it_is_read_is_not_kept(
    world: World, chain: InProcessChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain.mine(CONFIRMATIONS)
    store = Memory()
    follower = indexer(world, store)
    hashes = iter(("0x01", "0x02"))
    with monkeypatch.context() as patch:
        patch.setattr(
            world.network.client, "block", lambda number: BlockRef(9, next(hashes, "0x03"), 0)
        )
        patch.setattr(world.network.client, "head", lambda: BlockRef(11, "0x00", 0))
        assert follower.step() == []
    assert store.cursor is None


def test_unreachable_chain_loses_nothing(
    world: World, chain: InProcessChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain.mine(CONFIRMATIONS)
    store = Memory()
    follower = indexer(world, store)

    def silent(*_: object) -> None:
        raise ChainUnavailable("http://chain.example", "ConnectionError")

    with monkeypatch.context() as patch:
        patch.setattr(world.network.client, "logs", silent)
        with pytest.raises(ChainUnavailable):
            follower.step()
    assert store.cursor is None
    assert admitted(follower.step()) == ["bank", "shop"]


class Provider:
    """The log of questions to an endpoint that refuses more than so many blocks, or events."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.most_blocks = self.most_events = 10**9
        self.asked: list[int] = []
        self.refused = 0
        whole = world.network.client.logs

        def logs(first: int, last: int, addresses: Iterable[str]) -> list[EventRecord]:
            self.asked.append(last - first + 1)
            if self.asked[-1] > self.most_blocks:
                self.refused += 1
                raise LogsRefused(first, last, "block range is too wide")
            found = whole(first, last, addresses)
            if len(found) > self.most_events:
                self.refused += 1
                raise LogsRefused(first, last, "query returned more than 10000 results")
            return found

        monkeypatch.setattr(world.network.client, "logs", logs)


def test_endpoint_that_gives_few_blocks_or_few_events_at_once_is_read_whole(
    world: World, chain: InProcessChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain.mine(CONFIRMATIONS)
    whole, bounded = Memory(), Memory()
    indexer(world, whole).step()
    provider = Provider(world, monkeypatch)
    provider.most_blocks, provider.most_events = 5, 8
    indexer(world, bounded).step()
    assert bounded.events == whole.events
    assert bounded.cursor == whole.cursor
    assert provider.refused < len(provider.asked) / 2


def test_pieces_grow_again_when_the_endpoint_gives_more(
    world: World, chain: InProcessChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = Provider(world, monkeypatch)
    follower = indexer(world, Memory())
    provider.most_blocks = 1
    chain.mine(CONFIRMATIONS)
    follower.step()
    assert follower.history.size <= 4
    provider.most_blocks = 10**9
    for _ in range(3):
        chain.mine(40)
        follower.step()
    assert max(provider.asked[-6:]) > 10
    assert follower.history.size <= CHUNK


def test_block_whose_events_nobody_gives_is_an_error_and_loses_nothing(
    world: World, chain: InProcessChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain.mine(CONFIRMATIONS)
    store = Memory()
    follower = indexer(world, store)
    with monkeypatch.context() as patch:
        Provider(world, patch).most_blocks = 0
        for _ in range(2):
            with pytest.raises(LogsRefused, match="the events of block 0: block range") as caught:
                follower.step()
            assert (caught.value.first, caught.value.last) == (0, 0)
    assert store.cursor is None
    assert admitted(follower.step()) == ["bank", "shop"]


def test_endpoint_that_breaks_off_long_answers_is_asked_for_shorter_ones(
    world: World, chain: InProcessChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain.mine(CONFIRMATIONS)
    follower = indexer(world, Memory())
    logs = world.network.client.logs

    def slow(first: int, last: int, addresses: Iterable[str]) -> list[EventRecord]:
        if last - first >= 6:
            raise ChainUnavailable("http://chain.example", "ReadTimeout")
        return logs(first, last, addresses)

    monkeypatch.setattr(world.network.client, "logs", slow)
    for _ in range(40):
        with suppress(ChainUnavailable):
            follower.step()
    reached = follower.store.load()
    assert reached is not None
    assert reached.number == world.network.client.head().number - CONFIRMATIONS
