"""A pack holds or fails by itself, and says where, with no chain asked."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.errors import VerificationFailed
from chain.pack import FIELDS, verify_pack_alone
from chain.sites import AUDIT, key_id
from chain.statement import require_audit_key
from tests.chain.pack_lies import (
    LIES,
    ON_CHAIN,
    PACK,
    VALUE,
    Change,
    content,
    resigned,
    with_receipt,
)
from tests.chain.world import World

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2**53 - 1) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
PLACES = [name for name in FIELDS if VALUE[name]]


def test_the_pack_holds_together() -> None:
    report = verify_pack_alone(PACK)
    assert report.failures == ()
    named = list(dict.fromkeys(check.name for check in report.checks))
    assert named == ["format", "signature", "scope", "log", "chain", "certificate"]


def test_whoever_signs_it_again_with_another_key_makes_a_file_that_agrees_with_itself() -> None:
    assert verify_pack_alone(resigned(lambda pack: None)).ok


def test_what_a_receipt_covers_may_be_said_to_be_erased() -> None:
    report = verify_pack_alone(resigned(with_receipt()))
    assert report.failures == ()
    assert any("2 of them erased" in check.detail for check in report.checks)


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


def test_a_key_signs_nothing_that_was_known_only_after_it_ended(world: World) -> None:
    network, bank = world.network, world.bank
    chain, sites = network.client.chain_id, network.sites
    key = key_id(chain, sites.address, bank.site, AUDIT, bank.public_key)
    issued = {"by": bank.site, "keyId": key, "publicKey": bank.public_key}
    require_audit_key(issued, network, network.client.head().number)
    ended = world.send(bank.operator, sites.revoke_key(bank.site, key)).block_number
    require_audit_key(issued, network, ended - 1)
    with pytest.raises(VerificationFailed) as failure:
        require_audit_key(issued, network, ended)
    assert failure.value.where == "$.issued.keyId"


@given(data=st.data())
@settings(max_examples=80, deadline=None)
def test_no_value_anywhere_makes_it_raise_even_if_it_is_signed(data: st.DataObject) -> None:
    parent: Any = VALUE
    path: list[Any] = [data.draw(st.sampled_from(PLACES))]
    while isinstance(parent[path[-1]], dict | list) and parent[path[-1]]:
        if not data.draw(st.integers(0, 5)):
            break
        parent = parent[path[-1]]
        names = sorted(parent) if isinstance(parent, dict) else range(len(parent))
        path.append(data.draw(st.sampled_from(names)))
    value = data.draw(JSON)

    def change(pack: dict[str, Any]) -> None:
        at: Any = pack
        for step in path[:-1]:
            at = at[step]
        at[path[-1]] = value

    report = verify_pack_alone(resigned(change, proved=path[0] == "chain"))
    assert all(check.where.startswith("$") for check in report.checks)


@given(st.binary(max_size=200))
def test_no_bytes_make_it_raise(data: bytes) -> None:
    assert [check.where for check in verify_pack_alone(data + b"\n").failures] == ["$"]
