"""What a shown entry discloses is what was committed to, and everything else is refused by name."""

import contextlib
import copy
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain import canonical, merkle
from chain.entries import SALT_BYTES, commit, commitment, disclose, field_salt, open_entry
from chain.errors import VerificationFailed

SALT = bytes(range(SALT_BYTES))
DATA: dict[str, Any] = {"digest": "0x" + "ab" * 32, "size": 1000, "receipt": {"keyId": "0x00"}}
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=5)
    | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
FIELDS = st.dictionaries(
    st.text(max_size=8),
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=8),
    max_size=5,
)


def shown(data: dict[str, Any], names: list[str] | None = None) -> dict[str, Any]:
    contents = {name: canonical.dumps(value) for name, value in data.items()}
    entry = {"data": commit(SALT, contents), "type": "fatechain.message.sent.v1"}
    leaf = merkle.leaf_hash(canonical.dumps(entry))
    return {
        "index": 7,
        "leafHash": "0x" + leaf.hex(),
        "entry": entry,
        "disclosed": disclose(SALT, data, names),
    }


def again(part: dict[str, Any]) -> dict[str, Any]:
    """With the leaf hash of what it says now: whoever wrote the leaf says so."""
    leaf = merkle.leaf_hash(canonical.dumps(part["entry"]))
    return part | {"leafHash": "0x" + leaf.hex()}


def test_a_commitment_is_that_of_the_design() -> None:
    salt = field_salt(SALT, "size")
    # HMAC-SHA256 (RFC 2104) by hand.
    inner = sha256(bytes(byte ^ 0x36 for byte in SALT.ljust(64, b"\0")) + b"size").digest()
    assert salt == sha256(bytes(b ^ 0x5C for b in SALT.ljust(64, b"\0")) + inner).digest()
    assert commitment(salt, b"1000") == sha256(salt + b"1000").hexdigest()
    assert shown(DATA)["entry"]["data"]["size"] == sha256(salt + b"1000").hexdigest()


@given(FIELDS)
def test_everything_that_is_disclosed_comes_out(data: dict[str, Any]) -> None:
    assert open_entry(shown(data)) == data


@given(FIELDS, st.data())
def test_what_is_left_out_stays_hidden_and_the_rest_proves(
    data: dict[str, Any], draw: st.DataObject
) -> None:
    names = draw.draw(st.lists(st.sampled_from(sorted(data)), unique=True)) if data else []
    part = shown(data, names)
    assert part["leafHash"] == shown(data)["leafHash"]
    assert open_entry(part) == {name: data[name] for name in names}


def test_equal_values_of_two_entries_have_other_commitments() -> None:
    other = commit(bytes(SALT_BYTES), {"size": b"1000"})
    assert other["size"] != shown(DATA)["entry"]["data"]["size"]


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda s: s["disclosed"]["size"].__setitem__(1, 1001), "$.disclosed.size"),
        (lambda s: s["disclosed"]["size"].__setitem__(1, True), "$.disclosed.size"),
        (lambda s: s["disclosed"]["size"].__setitem__(1, 1000.5), "$.disclosed.size"),
        (lambda s: s["disclosed"]["size"].__setitem__(1, 2**60), "$.disclosed.size"),
        (lambda s: s["disclosed"]["size"].__setitem__(1, "\ud800"), "$.disclosed.size"),
        (lambda s: s["disclosed"]["size"].__setitem__(0, "00" * 32), "$.disclosed.size"),
        (lambda s: s["disclosed"]["size"].__setitem__(0, ""), "$.disclosed.size"),
        (lambda s: s["disclosed"]["size"].__setitem__(0, "00" * 31), "$.disclosed.size"),
        (lambda s: s["disclosed"]["size"].__setitem__(0, "00" * 33), "$.disclosed.size"),
        (lambda s: s["disclosed"]["size"].__setitem__(0, 0), "$.disclosed.size"),
        (lambda s: s["disclosed"]["size"].append(1), "$.disclosed.size"),
        (lambda s: s["disclosed"].update(size=None), "$.disclosed.size"),
        (lambda s: s["disclosed"].update(more=s["disclosed"]["size"]), "$.disclosed.more"),
        (lambda s: s["disclosed"].update(size=s["disclosed"]["digest"]), "$.disclosed.size"),
        (lambda s: s.update(disclosed=[]), "$.disclosed"),
        (lambda s: s.pop("disclosed"), "$.disclosed"),
        (lambda s: s.update(entry="text"), "$.entry"),
        (lambda s: s["entry"].update(type="another"), "$.leafHash"),
        (lambda s: s["entry"].update(type="\ud800"), "$.entry"),
        (lambda s: s["entry"].update(type=2**60), "$.entry"),
        (lambda s: s.update(leafHash="0x" + "00" * 32), "$.leafHash"),
        (lambda s: s.update(leafHash=None), "$.leafHash"),
    ],
)
def test_a_lie_is_refused_where_it_stands(
    change: Callable[[dict[str, Any]], Any], where: str
) -> None:
    part = copy.deepcopy(shown(DATA))
    change(part)
    with pytest.raises(VerificationFailed) as refusal:
        open_entry(part)
    assert refusal.value.where == where


@pytest.mark.parametrize("committed", ["", "00" * 31, "00" * 33, "AB" * 32, 7, None, [], {}])
def test_a_leaf_that_commits_to_nothing_is_refused(committed: Any) -> None:
    part = copy.deepcopy(shown(DATA))
    part["entry"]["data"]["size"] = committed
    with pytest.raises(VerificationFailed) as refusal:
        open_entry(again(part), "$.here")
    assert refusal.value.where == "$.here.entry.data.size"


@given(st.dictionaries(st.sampled_from(["index", "leafHash", "entry", "disclosed"]), JSON) | JSON)
def test_whatever_is_shown_is_opened_or_refused(part: Any) -> None:
    with pytest.raises(VerificationFailed):
        open_entry(part)


@given(st.data())
@settings(max_examples=300)
def test_no_value_anywhere_makes_it_raise_anything_else(draw: st.DataObject) -> None:
    part = copy.deepcopy(shown(DATA))
    parent, key = draw.draw(st.sampled_from(list(_places(part))))
    parent[key] = draw.draw(JSON)
    if draw.draw(st.booleans()):
        try:
            part = again(part)
        except canonical.NotCanonical:
            return
    with contextlib.suppress(VerificationFailed):
        opened = open_entry(part)
        assert all(_alike(opened[name], DATA[name]) for name in opened)


def _alike(one: Any, other: Any) -> bool:
    return canonical.dumps(one) == canonical.dumps(other)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """(container, key) of everything in a JSON value."""
    items: Any = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(items):
        yield value, key
        if isinstance(inner, dict | list):
            yield from _places(inner)
