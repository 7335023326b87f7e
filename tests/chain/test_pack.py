"""A pack holds or fails by itself, and says where, with no chain asked."""

import random

import pytest

from chain.pack import verify_pack_alone
from tests.chain.pack_lies import LIES, ON_CHAIN, PACK, VALUE, Change, content, resigned


def test_the_pack_holds_together() -> None:
    report = verify_pack_alone(PACK)
    assert report.failures == ()
    named = list(dict.fromkeys(check.name for check in report.checks))
    assert named == ["format", "signature", "scope", "log", "chain", "certificate"]


def test_whoever_signs_it_again_with_another_key_makes_a_file_that_agrees_with_itself() -> None:
    assert verify_pack_alone(resigned(lambda pack: None)).ok


@pytest.mark.parametrize(("what", "change", "where"), LIES, ids=[lie[0] for lie in LIES])
def test_a_lie_is_found_at_its_place_or_is_left_to_the_chain(
    what: str, change: Change, where: str
) -> None:
    places = [check.where for check in verify_pack_alone(resigned(change)).failures]
    if what in ON_CHAIN:
        assert places == []
    else:
        assert any(place.startswith(where) for place in places), places


def test_every_changed_byte_is_found() -> None:
    chance = random.Random(11)
    for at in chance.sample(range(len(PACK)), 100):
        changed = bytearray(PACK)
        changed[at] ^= 1 << chance.randrange(8)
        assert not verify_pack_alone(bytes(changed)).ok, f"byte {at} changed unnoticed"


def test_the_vector_is_canonical() -> None:
    assert content(VALUE) == PACK
