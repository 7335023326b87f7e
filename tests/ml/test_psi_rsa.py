"""Matching by blind signatures: as the other protocols, and the host reads nothing."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from ml import wire
from ml.crypto.rsa_blind import PrivateKey
from ml.errors import NoCommonIds, PartnerSilent, ProtocolViolation, TooFewCommonIds
from ml.federation import GUEST, HOST, Channel, Party, run_in_process
from ml.protocols import psi
from ml.protocols.psi import rsa
from ml.testing import (
    check_conversation_is_declared,
    check_messages_say_what_they_reveal,
    check_no_role_speaks_for_another,
    check_page_shows_the_conversation,
    heard,
)

BANK, SHOP, CLINIC = Party(GUEST, "bank"), Party(HOST, "shop"), Party(HOST, "clinic")
PEOPLE = [f"person {i}" for i in range(40)]
OF_BANK, OF_SHOP = psi.Keys(PEOPLE[:18]), psi.Keys(PEOPLE[:9:-1])
PAGE = Path(__file__).parents[2] / "docs" / "protocols" / "psi_rsa.md"


@cache
def one_key() -> PrivateKey:
    """Making one takes longer than matching with it, and nothing here depends on its value."""
    return PrivateKey.new()


@pytest.fixture(autouse=True)
def keys_are_made_once(monkeypatch: pytest.MonkeyPatch):
    key = one_key()
    monkeypatch.setattr(rsa.PrivateKey, "new", lambda: key)


async def match(bank=OF_BANK, shop=OF_SHOP, programs=rsa.PROGRAMS, **params):
    inputs = {p: (psi.Params(**params), keys) for p, keys in ((BANK, bank), (SHOP, shop))}
    return await run_in_process(programs, inputs, context=b"job 1")


async def test_both_have_the_same_persons_in_the_same_order(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rsa, "BATCH", 7)
    outputs, transcript = await match()
    ours = [OF_BANK.ids[row] for row in outputs[BANK]]
    assert ours == [OF_SHOP.ids[row] for row in outputs[SHOP]]
    assert sorted(ours) == sorted(PEOPLE[10:18])
    check_messages_say_what_they_reveal(rsa.MESSAGES)
    await check_no_role_speaks_for_another(rsa.MESSAGES, (BANK, SHOP))
    check_conversation_is_declared(transcript, rsa.MESSAGES)
    check_page_shows_the_conversation(PAGE.read_text(), transcript, rsa.MESSAGES)


async def test_a_result_of_the_guest_alone_stays_with_it():
    outputs, transcript = await match(result="guest")
    assert len(outputs[BANK]) == 8
    assert len(outputs[SHOP]) == 0
    assert not heard(transcript, SHOP, psi.matching.Matched)


async def test_what_the_host_signs_is_unrelated_to_ids_and_new_in_each_run():
    """The host knows all ids and the key: no encoded id, and no signature of one, reaches it."""
    views = []
    for _ in range(2):
        _, transcript = await match()
        views.append({v.tobytes() for m in heard(transcript, SHOP, rsa.BlindIds) for v in m.values})
        [salt] = [m.salt for m in heard(transcript, SHOP, rsa.Salt)]
        name = rsa.session(Channel(BANK, (BANK, SHOP), None, context=b"job 1"), salt)
        public = one_key().public
        encoded = {public._bytes(public.encode(rsa._message(name, id))) for id in PEOPLE}
        assert len(views[-1]) == 18
        assert not views[-1] & encoded
    assert not views[0] & views[1]


async def test_the_guest_has_tags_of_the_hosts_other_ids_that_it_cannot_make():
    """Without a signature of the host a tag does not follow from the id."""
    _, transcript = await match()
    tags = {t.tobytes() for m in heard(transcript, BANK, rsa.SignedTags) for t in m.tags}
    [salt] = [m.salt for m in heard(transcript, SHOP, rsa.Salt)]
    name = rsa.session(Channel(BANK, (BANK, SHOP), None, context=b"job 1"), salt)
    assert tags == set(rsa._tags(one_key(), name, OF_SHOP.ids))
    assert not tags & set(rsa._tags(one_key(), b"another job", OF_SHOP.ids))


@pytest.mark.parametrize(
    ("shop", "params", "error"),
    [(psi.Keys(["x"]), {}, NoCommonIds), (OF_SHOP, {"minimum_intersection": 9}, TooFewCommonIds)],
)
async def test_too_few_in_common_end_it(shop, params, error):
    with pytest.raises(error):
        await match(shop=shop, **params)


async def test_one_host_only():
    inputs = {p: (psi.Params(), OF_BANK) for p in (BANK, SHOP, CLINIC)}
    with pytest.raises(ProtocolViolation, match="2 other parties are host"):
        await run_in_process(rsa.PROGRAMS, inputs)


@pytest.mark.parametrize("silent", [BANK, SHOP])
async def test_a_silent_party_is_named(silent: Party):
    [other] = {BANK, SHOP} - {silent}
    with pytest.raises(PartnerSilent) as error:
        await run_in_process(rsa.PROGRAMS, {other: (psi.Params(), OF_BANK)}, absent=(silent,))
    assert error.value.party == str(silent)


ODD = 2**2046 + 1  # times three a number of 2048 bits
NOTHING = wire.BigIntVector(np.empty((1, 0), np.uint8))


class Altered:
    """A channel that changes one kind of message on its way out."""

    def __init__(self, ch: Channel, kind: type, change) -> None:
        self._ch, self._kind, self._change = ch, kind, change

    def __getattr__(self, name: str):
        return getattr(self._ch, name)

    async def send(self, message, *to, **options):
        if isinstance(message, self._kind):
            message = self._change(message)
        await self._ch.send(message, *to, **options)


@pytest.mark.parametrize(
    ("liar", "kind", "change", "found"),
    [
        (SHOP, rsa.BlindSignatures, lambda m: type(m)(m.values[::-1]), "no signature"),
        (SHOP, rsa.SignedTags, lambda m: type(m)(m.tags[:1].repeat(30, 0)), "repeated a tag"),
        (SHOP, rsa.SignedTags, lambda m: type(m)(m.tags[1:]), "29 items in a batch of 30"),
        (SHOP, rsa.VerifyingKey, lambda _: rsa.VerifyingKey(weak(3)), "key is refused"),
        (SHOP, rsa.VerifyingKey, lambda _: rsa.VerifyingKey(weak(3, 5)), "2 keys"),
        (SHOP, rsa.VerifyingKey, lambda _: rsa.VerifyingKey(weak(3 * ODD)), "factor below 2"),
        (SHOP, rsa.VerifyingKey, lambda _: rsa.VerifyingKey(NOTHING), "numbers of 0 bytes"),
        (SHOP, rsa.BlindSignatures, lambda m: type(m)(m.values[:, :0]), "numbers of 0 bytes"),
        (BANK, rsa.BlindIds, lambda m: type(m)(m.values[:, :0]), "numbers of 0 bytes"),
        (BANK, rsa.BlindIds, lambda m: type(m)(m.values | np.uint8(255)), "no residue"),
        (BANK, rsa.Salt, lambda _: rsa.Salt(b""), "a salt of 0 bytes"),
    ],
)
async def test_what_breaks_the_protocol_ends_it(liar, kind, change, found):
    async def lying(ch: Channel, params: psi.Params, keys: psi.Keys):
        return await rsa.PROGRAMS[liar.role](Altered(ch, kind, change), params, keys)

    with pytest.raises(ProtocolViolation, match=found):
        await match(programs={**rsa.PROGRAMS, liar.role: lying})


def weak(*values: int) -> wire.BigIntVector:
    return wire.BigIntVector.pack(values, 256)
