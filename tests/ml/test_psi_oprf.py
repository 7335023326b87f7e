"""Matching by a pseudo-random function: what is particular to it; the rest is in test_psi."""

import numpy as np
import pytest

from ml.errors import ProtocolViolation
from ml.federation import GUEST, HOST, Party, run_in_process
from ml.protocols import psi
from ml.protocols.psi import oprf
from ml.testing import heard

BANK, SHOP = Party(GUEST, "bank"), Party(HOST, "shop")
PARAMS = psi.Params(protocol="oprf")
FEW, MANY = [f"id {k}" for k in range(12)], [f"id {k}" for k in range(8, 200)]


async def run(programs=psi.PROGRAMS):
    inputs = {BANK: (PARAMS, psi.Keys(FEW)), SHOP: (PARAMS, psi.Keys(MANY))}
    return await run_in_process(programs, inputs, context=b"job 1")


async def test_a_few_ids_are_found_among_many_in_several_messages(monkeypatch):
    monkeypatch.setattr(oprf, "TAGS_AT_ONCE", 50)
    monkeypatch.setattr(oprf, "BATCH", 5)
    outputs, transcript = await run()
    assert [FEW[k] for k in outputs[BANK]] == [MANY[k] for k in outputs[SHOP]]
    assert {FEW[k] for k in outputs[BANK]} == {"id 8", "id 9", "id 10", "id 11"}
    tags = heard(transcript, BANK, oprf.Filter)
    assert [len(said.tags) for said in tags] == [50, 50, 50, 42]
    assert {said.tags.shape[1] for said in tags} == {oprf.tag_bytes(12, 192)}
    assert [len(said.points) for said in heard(transcript, SHOP, oprf.Questions)] == [5, 5, 2]


def test_tags_are_as_long_as_keeps_false_matches_away():
    for guest, host in ((1, 1), (12, 192), (10**4, 10**7), (2**27, 2**27)):
        assert guest * host / 2 ** (8 * oprf.tag_bytes(guest, host)) < 2**-40
    assert oprf.tag_bytes(10**4, 10**7) == 10


async def test_the_host_sees_other_points_in_every_run_and_the_guest_other_tags():
    seen = []
    for _ in range(2):
        _, transcript = await run()
        [asked], [tags] = (
            heard(transcript, SHOP, oprf.Questions),
            heard(transcript, BANK, oprf.Filter),
        )
        seen.append(({p.tobytes() for p in asked.points}, {t.tobytes() for t in tags.tags}))
    assert not seen[0][0] & seen[1][0]
    assert not seen[0][1] & seen[1][1]


async def test_the_guest_takes_no_tags_of_another_length_or_twice(monkeypatch):
    width = oprf.tag_bytes(len(FEW), len(MANY))
    right = oprf._tag
    with pytest.raises(ProtocolViolation, match=f"not {width}"):
        await run({GUEST: psi.guest, HOST: _host_with_tags(np.zeros((len(MANY), width + 1)))})
    monkeypatch.setattr(oprf, "_tag", lambda id, *rest: right("id 9", b"", b"", width))
    with pytest.raises(ProtocolViolation, match="repeated a tag"):
        await run()


def _host_with_tags(tags):
    async def host(ch, params, keys):
        real = ch.send

        async def send(message, to=None):
            if isinstance(message, oprf.Filter):
                message = oprf.Filter(tags.astype(np.uint8))
            await real(message, to)

        ch.send = send
        return await psi.host(ch, params, keys)

    return host
