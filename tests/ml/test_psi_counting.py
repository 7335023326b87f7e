"""Counting common ids: the number is right, and the number is all that is learnt."""

from pathlib import Path

import numpy as np
import pytest

from ml.crypto import ristretto255
from ml.errors import NoCommonIds, PartnerSilent, ProtocolViolation, TooFewCommonIds
from ml.federation import GUEST, HOST, Channel, Party, run_in_process
from ml.protocols import psi
from ml.protocols.psi import counting, ecdh, opening
from ml.testing import (
    check_conversation_is_declared,
    check_messages_say_what_they_reveal,
    check_no_role_speaks_for_another,
    check_page_shows_the_conversation,
    heard,
)

BANK, SHOP, CLINIC = Party(GUEST, "bank"), Party(HOST, "shop"), Party(HOST, "clinic")
PEOPLE = [f"person {i}" for i in range(40)]
OF_BANK, OF_SHOP = psi.Keys(PEOPLE[:30]), psi.Keys(PEOPLE[:9:-1])
PAGE = Path(__file__).parents[2] / "docs" / "protocols" / "psi.md"


async def count(bank=OF_BANK, shop=OF_SHOP, programs=counting.PROGRAMS, **params):
    inputs = {p: (psi.Params(**params), keys) for p, keys in ((BANK, bank), (SHOP, shop))}
    return await run_in_process(programs, inputs, context=b"job 1")


async def test_both_learn_the_number_and_it_is_right(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ecdh, "BATCH", 7)
    outputs, transcript = await count()
    assert outputs == {BANK: 20, SHOP: 20}
    check_messages_say_what_they_reveal(counting.MESSAGES)
    await check_no_role_speaks_for_another(counting.MESSAGES, (BANK, SHOP))
    check_conversation_is_declared(transcript, counting.MESSAGES)
    check_page_shows_the_conversation(PAGE.read_text(), transcript, counting.MESSAGES)


async def test_the_host_learns_no_number_that_is_the_guests_alone():
    outputs, transcript = await count(result="guest")
    assert outputs == {BANK: 20, SHOP: None}
    assert not heard(transcript, SHOP, counting.Count)


async def test_the_guest_cannot_tell_which_of_its_ids_are_common(monkeypatch: pytest.MonkeyPatch):
    """The tags come in an order that has nothing to do with the points, across batches too."""
    monkeypatch.setattr(ecdh, "BATCH", 7)
    scalars = [ristretto255.new_scalar(), ristretto255.new_scalar()]
    waiting = iter(scalars)
    monkeypatch.setattr(ristretto255, "new_scalar", lambda: next(waiting))
    _, transcript = await count()
    points = [p for said in heard(transcript, SHOP, ecdh.GuestBlinded) for p in said.points]
    tags = [t.tobytes() for m in heard(transcript, BANK, counting.ShuffledTags) for t in m.tags]
    orders = []
    for scalar in scalars:  # one of them is the host's
        in_order = await ecdh.tag(scalar, [point.tobytes() for point in points])
        if sorted(in_order) == sorted(tags):
            orders.append(in_order != tags)
    assert orders == [True]


@pytest.mark.parametrize(
    ("shop", "params", "error"),
    [
        (psi.Keys(["nobody"]), {}, NoCommonIds),
        (OF_SHOP, {"minimum_intersection": 21}, TooFewCommonIds),
        (OF_SHOP, {"protocol": "kkrt"}, ProtocolViolation),
    ],
)
async def test_what_cannot_be_counted_is_refused(shop, params, error):
    with pytest.raises(error):
        await count(shop=shop, **params)


async def test_several_hosts_are_not_counted():
    inputs = {p: (psi.Params(), OF_BANK) for p in (BANK, SHOP, CLINIC)}
    with pytest.raises(ProtocolViolation, match="2 other parties are host"):
        await run_in_process(counting.PROGRAMS, inputs)


@pytest.mark.parametrize("silent", [BANK, SHOP])
async def test_a_silent_party_is_named(silent: Party):
    [other] = {BANK, SHOP} - {silent}
    with pytest.raises(PartnerSilent) as error:
        await run_in_process(counting.PROGRAMS, {other: (psi.Params(), OF_BANK)}, absent=(silent,))
    assert error.value.party == str(silent)


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        (np.zeros((30, 16), np.uint8), "repeated a tag"),
        (np.zeros((29, 16), np.uint8), "29 items in a batch of 30"),
    ],
)
async def test_the_guest_stops_a_hostile_host(tags: np.ndarray, found: str):
    async def host(ch: Channel, params: psi.Params, keys: psi.Keys) -> None:
        await ch.send(opening.HostSet("string", 1, opening.digest(ch.context)))
        await ch.receive(opening.GuestSet)
        await ch.receive(opening.Start)
        point = ristretto255.hash_to_point(b"x")
        await ch.send(ecdh.HostBlinded(ecdh.as_array([point], 32)))
        await ch.receive(ecdh.GuestBlinded)
        await ch.send(counting.ShuffledTags(tags))
        await ch.receive(counting.Count)

    with pytest.raises(ProtocolViolation, match=f"host:shop .*{found}"):
        await count(programs={GUEST: counting.guest, HOST: host})


@pytest.mark.parametrize("claimed", [-1, 31])
async def test_the_host_stops_an_impossible_count(claimed: int):
    async def guest(ch: Channel, params: psi.Params, keys: psi.Keys) -> None:
        class Lying:
            def __getattr__(self, name: str):
                return getattr(ch, name)

            async def send(self, message, **options):
                if isinstance(message, counting.Count):
                    message = counting.Count(claimed)
                await ch.send(message, **options)

        await counting.guest(Lying(), params, keys)

    with pytest.raises(ProtocolViolation, match="guest:bank claims"):
        await count(programs={GUEST: guest, HOST: counting.host})
