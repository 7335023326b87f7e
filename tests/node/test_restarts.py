"""A training over real HTTP whose parties are killed: they go on, and end with the same model."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from ml.errors import PartnerSilent
from ml.federation import GUEST, HOST, Address, Channel, Party, run_in_process
from ml.table import Table
from ml.vertical import secureboost
from ml.vertical.secureboost import ALGORITHM, Params
from node import mailbox
from node.errors import NodeError
from node.lifecycle import move_task
from node.restarts import NUMBERS, FolderKeeper, Restart, RunTransport, run_to_end
from node.site import Site
from node.store import InMessage, Task
from tests.ml.test_secureboost import BANK, SHOP, make_tables
from tests.node.two_sites import Pair

PARAMS = Params(
    n_estimators=2,
    max_depth=2,
    max_bins=4,
    min_samples_leaf=3,
    min_bin_rows=3,
    min_child_weight=0.1,
    scheme="lattice",
)
FIT: dict[Any, Any] = {GUEST: secureboost.guest, HOST: secureboost.host}


@pytest.fixture(autouse=True)
def quick_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailbox, "CHECK_SECONDS", 0.02)
    monkeypatch.setattr(mailbox, "FIRST_PAUSE_SECONDS", 0.01)


class Killed(Exception):
    """The process of a conversation ends, whatever it was at."""


class Life:
    """How many messages a conversation sends and takes before it is killed; None for no end."""

    def __init__(self, messages: int | None) -> None:
        self.messages, self.seen = messages, 0

    def message(self) -> None:
        self.seen += 1
        if self.messages is not None and self.seen > self.messages:
            raise Killed


def mortal(life: Life) -> type[RunTransport]:
    class Mortal(RunTransport):
        async def put(self, address: Address, body: bytes) -> None:
            life.message()
            await super().put(address, body)

        async def take(self, address: Address, within: float) -> bytes:
            body = await super().take(address, within)
            life.message()
            return body

    return Mortal


class Node:
    """One party's conversations in a job, one after the other."""

    def __init__(self, pair: Pair, site: Site, job: str, folder: Path, table: Table) -> None:
        self.site, self.job, self.folder, self.table = site, job, folder, table
        self.parties = (pair.guest_party, pair.host_party)
        self.me = self.parties[0] if site is pair.guest else self.parties[1]
        self.runs: list[int] = []
        self.admitted = 0  # to follow a partner

    async def converse(self, life: Life) -> bytes:
        """Until the end or the death of this process; the model's bytes."""

        def make() -> RunTransport:
            transport = mortal(life)
            return transport(
                self.site, self.job, "train", 1, self.me, self.parties, message_seconds=120.0
            )

        async def program(transport: RunTransport, run: int) -> bytes:
            self.runs.append(run)
            channel = Channel(self.me, self.parties, transport, timeout=120.0, context=b"%d" % run)
            fit = FIT[self.me.role]
            keeper = FolderKeeper(self.folder / "kept")
            part = await fit(channel, PARAMS, self.table, workers=1, keeper=keeper)
            return ALGORITHM.dump_model(part)

        async def admit() -> None:
            self.admitted += 1

        found = await run_to_end(make, self.folder / "run", program, admit)
        with self.site.store.begin() as session:
            [task] = session.scalars(select(Task).where(Task.job_id == self.job))
            assert move_task(session, task.id, "RUNNING", "SUCCEEDED", ended_at=1.0)
        return found

    async def live(self, *lives: int | None) -> bytes:
        """Conversations one after the other, as the supervisor starts them."""
        for messages in lives:
            try:
                return await self.converse(Life(messages))
            except Killed:
                continue
        raise AssertionError("no conversation came to its end")


@pytest.fixture(scope="module")
def tables() -> dict[Party, Table]:
    return make_tables(BANK, SHOP, n=40)


def nodes(pair: Pair, tables: dict[Party, Table], folder: Path) -> tuple[Node, Node]:
    job = pair.start_job()
    guest = Node(pair, pair.guest, job, folder / "guest", tables[BANK])
    return guest, Node(pair, pair.host, job, folder / "host", tables[SHOP])


async def undisturbed(pair: Pair, tables: dict[Party, Table]) -> list[bytes]:
    """The models that the parties come to in one process."""
    sides = (pair.guest_party, pair.host_party)
    inputs = {me: (PARAMS, tables[key]) for me, key in zip(sides, (BANK, SHOP), strict=True)}
    outputs = (await run_in_process(FIT, inputs)).outputs
    return [ALGORITHM.dump_model(outputs[me]) for me in sides]


async def together(*lives: Awaitable[bytes]) -> list[bytes]:
    return list(await asyncio.gather(*lives))


@pytest.mark.parametrize(("who", "messages"), [(GUEST, 9), (GUEST, 22), (HOST, 1), (HOST, 17)])
async def test_a_killed_party_goes_on_with_its_partner_to_the_same_model(
    pair: Pair, tables: dict[Party, Table], tmp_path: Path, who: Any, messages: int
) -> None:
    guest, host = nodes(pair, tables, tmp_path)
    lives: dict[Any, tuple[int | None, ...]] = {GUEST: (None,), HOST: (None,)}
    lives[who] = (messages, None)
    models = await together(guest.live(*lives[GUEST]), host.live(*lives[HOST]))
    assert models == await undisturbed(pair, tables)
    killed, other = (guest, host) if who == GUEST else (host, guest)
    assert killed.runs == [0, 1]
    assert other.runs in ([0, 1], [1])  # who has not begun yet begins there


async def test_both_are_killed_and_one_twice(
    pair: Pair, tables: dict[Party, Table], tmp_path: Path
) -> None:
    guest, host = nodes(pair, tables, tmp_path)
    models = await together(guest.live(19, 12, None), host.live(11, None))
    assert models == await undisturbed(pair, tables)
    assert guest.runs[-1] == host.runs[-1] >= 2


async def test_who_is_killed_at_the_very_end_needs_nobody(
    pair: Pair, tables: dict[Party, Table], tmp_path: Path
) -> None:
    """The guest has said that it has all trees, and dies; the host has left when it is back."""
    guest, host = nodes(pair, tables, tmp_path)
    ended = asyncio.Event()

    async def late() -> bytes:
        class Dying(Life):
            def message(self) -> None:
                complete = len(FolderKeeper(guest.folder / "kept").read()) == PARAMS.n_estimators
                self.seen += complete
                if self.seen == 2:  # the answer to the first is on its way
                    raise Killed

        with pytest.raises(Killed):
            await guest.converse(Dying(None))
        await ended.wait()
        return await guest.converse(Life(None))

    async def leaving() -> bytes:
        found = await host.converse(Life(None))
        ended.set()
        return found

    assert await together(late(), leaving()) == await undisturbed(pair, tables)
    assert guest.runs == [0, 1]
    assert host.runs == [0]


async def test_messages_of_another_run_are_not_met(
    pair: Pair, tables: dict[Party, Table], tmp_path: Path
) -> None:
    guest, host = nodes(pair, tables, tmp_path)
    await together(guest.live(9, None), host.live(None))
    with pair.host.store.read() as session:
        query = select(InMessage.n, InMessage.kind).where(InMessage.job_id == host.job)
        found = session.execute(query).all()
    notices = [n for n, kind in found if kind == Restart.kind]
    assert notices == [1]
    runs = {n // NUMBERS for n, kind in found if kind != Restart.kind}
    assert runs == {0, 1}


async def test_a_partner_that_has_left_is_silent_at_once(
    pair: Pair, tables: dict[Party, Table], tmp_path: Path
) -> None:
    guest, host = nodes(pair, tables, tmp_path)
    with pair.host.store.begin() as session:
        [task] = session.scalars(select(Task).where(Task.job_id == host.job))
        assert move_task(session, task.id, "RUNNING", "SUCCEEDED", ended_at=1.0)
    guest.folder.mkdir()
    (guest.folder / "run").write_text("0")
    with pytest.raises(PartnerSilent, match="within 0 s"):
        await guest.converse(Life(None))


def test_a_step_does_not_begin_again_for_ever(pair: Pair, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("127")
    parties = (pair.guest_party, pair.host_party)
    transport = RunTransport(pair.guest, pair.start_job(), "train", 1, parties[0], parties)
    with pytest.raises(NodeError, match="WorkerLost"):
        asyncio.run(transport.begin(tmp_path / "run"))
