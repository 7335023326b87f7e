"""A large matching between sites over real HTTP: in parts, no faster than they are taken."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from ml.federation import Address, Channel, Party
from ml.protocols import psi
from ml.protocols.psi import kkrt
from node import inbox, mailbox
from node.errors import Unavailable
from node.peers import site_client
from node.store import InMessage, OutMessage
from tests.node.told import pending
from tests.node.two_sites import QUOTA, Pair, address, new_id, see_chain

PARTS = 6  # of 512 bins for 2,000 ids, and as many of three tags for each id
OWN = {
    "guest": [f"id {k}" for k in range(2000)],
    "host": [f"id {k}" for k in range(1000, 3000)],
}


async def test_a_guest_sends_no_more_than_its_host_has_room_for(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of six parts two may wait: the guest waits with them, and all arrive once."""
    monkeypatch.setattr(mailbox, "CHECK_SECONDS", 0.02)
    monkeypatch.setattr(mailbox, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(mailbox, "LONGEST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(inbox, "OWN_BYTES", QUOTA // 3 + 1)  # room for two
    monkeypatch.setattr(kkrt, "PART", 3072 // PARTS)
    monkeypatch.setattr(kkrt, "BINS_AT_ONCE", 3072 // PARTS)
    monkeypatch.setattr(kkrt, "TAGS_AT_ONCE", 3 * 2000 // PARTS)
    for site in (pair.guest, pair.host):
        see_chain(site, -3600.0)  # however long a loaded machine takes
    for site in (pair.guest, pair.host):  # routes are built at a server's first request
        async with site_client() as client:
            answer = await client.put(site.settings.endpoint + address(pair, new_id()).path)
            assert answer.status_code == 401
    job, full = pair.start_job(steps=("psi",)), asyncio.Event()
    put, waited = pair.guest.peers.put_message, []

    async def told(*given: Any) -> Any:
        try:
            return await put(*given)
        except Unavailable as refusal:
            waited.append(refusal.code)
            full.set()
            raise

    monkeypatch.setattr(pair.guest.peers, "put_message", told)

    async def play(me: Party, program: Any) -> psi.Rows:
        site = {"guest": pair.guest, "host": pair.host}[me.role]
        transport = pair.transport(site, job, "psi", step_seconds=60.0)
        take = transport.take

        async def late(address: Address, within: float) -> bytes:
            if address.kind == kkrt.Corrections.kind:
                await full.wait()  # it does not take a part before there is no room for more
            return await take(address, within)

        monkeypatch.setattr(transport, "take", late)
        parties = (pair.guest_party, pair.host_party)
        channel = Channel(me, parties, transport, context=b"matching")
        try:
            rows = await program(channel, psi.Params(protocol="kkrt"), psi.Keys(OWN[me.role]))
            assert isinstance(rows, np.ndarray)
            return rows
        finally:
            await transport.aclose()

    guest, host = await asyncio.gather(
        play(pair.guest_party, psi.guest), play(pair.host_party, psi.host)
    )
    assert [OWN["guest"][k] for k in guest] == [OWN["host"][k] for k in host]
    assert len(guest) == 1000
    assert set(waited) == {"QuotaExceeded"}
    for way, site, kind in (
        (OutMessage, pair.guest, kkrt.Corrections.kind),
        (InMessage, pair.host, kkrt.Corrections.kind),
        (OutMessage, pair.host, kkrt.HostTags.kind),
        (InMessage, pair.guest, kkrt.HostTags.kind),
    ):
        query = select(way.n).where(way.job_id == job, way.kind == kind).order_by(way.n)
        with site.store.read() as session:
            assert list(session.scalars(query)) == list(range(PARTS))
    of_job = [entry for entry in pending(pair.host.store) if entry["subject"] == job]
    entered = [entry["type"].removeprefix("fatechain.").removesuffix(".v1") for entry in of_job]
    assert entered.count("message.received") == PARTS + 3 + 1  # sizes, start, offer; matches
    assert entered.count("message.sent") == PARTS + 2
    assert "message.refused" not in entered  # who waits for room did nothing wrong
