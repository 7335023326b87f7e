"""Private set intersection: it is right, nothing more is seen, hostile peers are stopped."""

import asyncio
import itertools
from hashlib import sha256, sha512
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.crypto import ristretto255
from ml.errors import (
    DuplicateIds,
    IdTypeMismatch,
    MissingIds,
    NoCommonIds,
    PartnerSilent,
    ProtocolViolation,
    TooFewCommonIds,
)
from ml.federation import GUEST, HOST, Channel, Party, run_in_process
from ml.protocols import psi
from ml.protocols.psi import bins, ecdh, matching, opening
from ml.table import Schema, Table
from ml.testing import (
    check_conversation_is_declared,
    check_messages_say_what_they_reveal,
    check_no_role_speaks_for_another,
    check_page_shows_the_conversation,
    check_params_round_trip,
    heard,
    view,
)

BANK, SHOP, CLINIC = Party(GUEST, "bank"), Party(HOST, "shop"), Party(HOST, "clinic")
PARAMS = psi.Params()
METHODS = ("ecdh", "kkrt", "oprf")
by_each = pytest.mark.parametrize("method", METHODS)
SAID = {
    "ecdh": psi.ECDH_MESSAGES,
    "kkrt": psi.KKRT_MESSAGES,
    "oprf": psi.OPRF_MESSAGES,
}
PAGE = Path(__file__).parents[2] / "docs" / "protocols" / "psi.md"


def table(*ids: str, id_type: str = "string") -> Table:
    return Table(Schema((), (), id_type=id_type), ids, np.empty((len(ids), 0)))


async def intersect(tables: dict[Party, Table], params: psi.Params = PARAMS, programs=None):
    inputs = {party: (params, t) for party, t in tables.items()}
    return await run_in_process(programs or psi.PROGRAMS, inputs, context=b"job 1")


PEOPLE = [f"person {i}" for i in range(30)]
OF_BANK, OF_SHOP = table(*PEOPLE[:20]), table(*reversed(PEOPLE[5:]))


# --- it is the intersection ---

id_lists = st.lists(st.text(min_size=1, max_size=3), unique=True, max_size=12)


@settings(max_examples=20)
@given(id_lists, st.lists(id_lists, min_size=1, max_size=3), st.sampled_from(METHODS), st.data())
def test_all_parties_find_the_common_ids_in_one_order(ids, others, method, data):
    tables = {BANK: table(*ids, "in all")}
    for k, other in enumerate(others):
        tables[Party(HOST, f"host {k}")] = table(
            *data.draw(st.permutations([*other, *ids[::2], "in all"]).map(dict.fromkeys))
        )
    outputs, _ = asyncio.run(intersect(tables, psi.Params(protocol=method)))
    [common] = {tuple(tables[p].ids[row] for row in rows) for p, rows in outputs.items()}
    assert len(set(common)) == len(common)
    assert set(common) == set.intersection(*(set(t.ids) for t in tables.values()))


async def test_more_rows_than_one_batch_are_matched(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ecdh, "BATCH", 7)
    outputs, transcript = await intersect({BANK: OF_BANK, SHOP: OF_SHOP})
    assert {OF_BANK.ids[i] for i in outputs[BANK]} == set(PEOPLE[5:20])
    assert len(heard(transcript, SHOP, ecdh.GuestBlinded)) == 3


@by_each
async def test_ids_are_exact_text(method: str):
    outputs, _ = await intersect(
        {BANK: table("1", "é", "a"), SHOP: table("01", "e\u0301", "a")},
        psi.Params(protocol=method),
    )
    assert outputs[BANK].tolist() == [2]


@by_each
async def test_rows_come_out_in_an_order_unrelated_to_the_files(method: str):
    ids = tuple(str(i) for i in range(100))
    outputs, _ = await intersect(
        {BANK: table(*ids), SHOP: table(*ids)}, psi.Params(protocol=method)
    )
    assert sorted(outputs[BANK]) == list(range(100))
    assert outputs[BANK].tolist() != list(range(100))


# --- what is refused ---


@by_each
async def test_parties_without_common_ids_are_told_so(method: str):
    with pytest.raises(NoCommonIds, match="no id is common"):
        await intersect({BANK: table("a"), SHOP: table("b")}, psi.Params(protocol=method))


@by_each
@pytest.mark.parametrize("empty", [BANK, SHOP])
async def test_an_empty_table_has_no_common_ids(method: str, empty: Party):
    tables = {BANK: table("b"), SHOP: table("b"), empty: table()}
    with pytest.raises(NoCommonIds):
        await intersect(tables, psi.Params(protocol=method))


async def test_too_few_common_ids_end_the_job_and_no_host_learns_which():
    seen: list[matching.Matched] = []

    async def host(ch: Channel, params: psi.Params, t: Table) -> None:
        with pytest.raises(TooFewCommonIds, match="15 ids"):
            await psi.host(Spy(ch, seen), params, t)

    with pytest.raises(TooFewCommonIds, match="at least 16"):
        await intersect(
            {BANK: OF_BANK, SHOP: OF_SHOP},
            psi.Params(minimum_intersection=16),
            {GUEST: psi.guest, HOST: host},
        )
    [matched] = seen
    assert (matched.count, len(matched.positions)) == (15, 0)


class Spy:
    """A channel that keeps what was received as `Matched`."""

    def __init__(self, channel: Channel, seen: list) -> None:
        self.channel, self.seen = channel, seen

    def __getattr__(self, name: str):
        return getattr(self.channel, name)

    async def receive(self, kind, *args, **options):
        message = await self.channel.receive(kind, *args, **options)
        if kind is matching.Matched:
            self.seen.append(message)
        return message


async def test_ids_of_different_types_are_told_before_anything_is_matched():
    with pytest.raises(IdTypeMismatch) as error:
        await intersect({BANK: table("1", id_type="integer"), SHOP: table("1")})
    assert {error.value.ours, error.value.theirs} == {"integer", "string"}


async def test_parties_of_different_conversations_do_not_match():
    async def other(ch: Channel, params: psi.Params, t: Table):
        ch.context = b"another job"
        return await psi.host(ch, params, t)

    with pytest.raises(ProtocolViolation, match="another conversation"):
        await intersect({BANK: OF_BANK, SHOP: OF_SHOP}, programs={GUEST: psi.guest, HOST: other})


async def test_a_guest_without_hosts_has_nobody_to_match_with():
    with pytest.raises(ProtocolViolation, match="at least one host"):
        await intersect({BANK: OF_BANK})


@by_each
@pytest.mark.parametrize("silent", [BANK, SHOP, CLINIC])
async def test_a_silent_party_is_named(silent: Party, method: str):
    params = psi.Params(protocol=method)
    inputs = {p: (params, OF_BANK) for p in (BANK, SHOP, CLINIC) if p != silent}
    with pytest.raises(PartnerSilent) as error:
        await run_in_process(psi.PROGRAMS, inputs, absent=(silent,))
    assert error.value.party == str(silent)


# --- what a party sees (the declaration in the preface of the protocol) ---


@by_each
async def test_every_party_receives_declared_messages_of_constant_size_only(method: str):
    params = psi.Params(protocol=method)
    small = await intersect({BANK: table("a", "b"), SHOP: table("b", "c")}, params)
    large = await intersect(
        {BANK: table("a" * 1000, "b" * 500), SHOP: table("b" * 500, "c" * 1000)}, params
    )
    for party, said in itertools.product((BANK, SHOP), (small.transcript, large.transcript)):
        kinds = [entry.address.kind for entry in view(said, party)]
        assert kinds == [m.kind for m in SAID[method] if party.role in m.receivers]
    sizes = [
        sorted((str(s.address), len(s.body)) for s in run.transcript) for run in (small, large)
    ]
    assert sizes[0] == sizes[1]


@by_each
async def test_no_id_nor_any_hash_of_one_is_ever_sent(method: str):
    _, transcript = await intersect({BANK: OF_BANK, SHOP: OF_SHOP}, psi.Params(protocol=method))
    said = b"".join(entry.body for entry in transcript)
    [start] = heard(transcript, SHOP, opening.Start)
    session = sha256(opening.digest(b"job 1") + start.salt).digest()
    hashes = bins.hash_ids(PEOPLE, session)
    for name, of_bins in zip(PEOPLE, hashes, strict=True):
        text = name.encode()
        assert ecdh.point_of(session, name) not in said
        for secret in (text, sha256(text).digest(), sha512(text).digest(), of_bins.tobytes()):
            assert secret[:16] not in said
            assert secret[::-1][:16] not in said


async def test_nobody_can_recognise_a_point_without_the_other_scalar():
    _, transcript = await intersect({BANK: OF_BANK, SHOP: OF_SHOP})
    [to_shop] = heard(transcript, SHOP, ecdh.GuestBlinded)
    [to_bank] = heard(transcript, BANK, ecdh.HostBlinded)
    [tags] = heard(transcript, BANK, ecdh.GuestTags)
    sent = {p.tobytes() for p in to_shop.points} & {p.tobytes() for p in to_bank.points}
    assert not sent, "a common id shows as the same point on both sides"
    assert not {t.tobytes() for t in tags.tags} & {p.tobytes()[:16] for p in to_bank.points}


async def test_two_runs_of_the_same_tables_have_nothing_in_common():
    runs = [await intersect({BANK: OF_BANK, SHOP: OF_SHOP}) for _ in range(2)]
    for kind, party in ((ecdh.GuestBlinded, SHOP), (ecdh.HostBlinded, BANK)):
        seen = [
            {
                point.tobytes()
                for message in heard(run.transcript, party, kind)
                for point in message.points
            }
            for run in runs
        ]
        assert not seen[0] & seen[1]


async def test_points_are_sent_in_shuffled_order(monkeypatch: pytest.MonkeyPatch):
    fixed = ristretto255.new_scalar()
    monkeypatch.setattr(ristretto255, "new_scalar", lambda: fixed)
    _, transcript = await intersect({BANK: OF_BANK, SHOP: OF_SHOP})
    [message] = heard(transcript, SHOP, ecdh.GuestBlinded)
    [start] = heard(transcript, SHOP, opening.Start)
    session = sha256(opening.digest(b"job 1") + start.salt).digest()
    in_file_order = await ecdh.blind(fixed, session, OF_BANK.ids)
    sent = [point.tobytes() for point in message.points]
    assert sorted(sent) == sorted(in_file_order)
    assert sent != in_file_order


@by_each
async def test_a_host_learns_only_what_all_parties_share(method: str):
    shop_and_bank = table("a", "b", "c")
    outputs, transcript = await intersect(
        {BANK: shop_and_bank, SHOP: shop_and_bank, CLINIC: table("c", "d")},
        psi.Params(protocol=method),
    )
    [matched] = heard(transcript, SHOP, matching.Matched)
    assert len(matched.positions) == 1
    assert [shop_and_bank.ids[i] for i in outputs[SHOP]] == ["c"]
    assert {s.address.sender for s in view(transcript, SHOP)} == {BANK}


# --- hostile peers: what the other role says instead of its part ---


def points(*indices: int) -> np.ndarray:
    rows = [ristretto255.hash_to_point(bytes([i])) for i in indices]
    return np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), 32)


def hostile_host(**instead):
    """A host of three rows that says its part honestly but for ``instead``."""

    async def host(ch: Channel, params: psi.Params, t: Table) -> None:
        digest = opening.digest(ch.context)
        size = (await ch.receive(opening.GuestSet)).rows
        await ch.send(opening.HostSet("string", instead.get("rows", 3), digest))
        await ch.send(ecdh.HostBlinded(instead.get("points", points(1, 2, 3))))
        await ch.receive(ecdh.GuestBlinded)
        tags = np.arange(size * 16, dtype=np.uint8).reshape(size, 16)
        await ch.send(ecdh.GuestTags(instead.get("tags", tags)))
        await ch.receive(matching.Matched)

    return host


IDENTITY = np.zeros((1, 32), np.uint8)
NOT_CANONICAL = np.full((1, 32), 255, np.uint8)
# The little-endian encoding of 2, which is the square root of no ratio the group needs.
NOT_ON_THE_CURVE = np.array([[2, *[0] * 31]], np.uint8)


@pytest.mark.parametrize(
    ("instead", "found"),
    [
        ({"rows": -1}, "claims -1 rows"),
        ({"rows": 2**40}, "claims"),
        ({"rows": 4}, "3 items in a batch of 4"),
        ({"points": points(1, 2, 2)}, "same point twice"),
        ({"points": np.vstack([points(1, 2), IDENTITY])}, "no point"),
        ({"points": np.vstack([points(1, 2), NOT_CANONICAL])}, "no point"),
        ({"points": np.vstack([points(1, 2), NOT_ON_THE_CURVE])}, "no point"),
        ({"tags": np.zeros((3, 16), np.uint8)}, "repeated a tag"),
        ({"tags": np.zeros((2, 16), np.uint8)}, "2 items in a batch of 3"),
    ],
)
async def test_the_guest_stops_a_hostile_host(instead: dict, found: str):
    programs = {GUEST: psi.guest, HOST: hostile_host(**instead)}
    with pytest.raises(ProtocolViolation, match=found) as error:
        await intersect({BANK: table("a", "b", "c"), SHOP: table("a")}, programs=programs)
    assert "host:shop" in str(error.value)


async def test_invented_tags_match_nothing():
    programs = {GUEST: psi.guest, HOST: hostile_host()}
    with pytest.raises(NoCommonIds):
        await intersect({BANK: table("a", "b", "c"), SHOP: table("a")}, programs=programs)


def hostile_guest(count: int, positions: list[int], blinded=None):
    """A guest of three rows that ends with this match."""

    async def guest(ch: Channel, params: psi.Params, t: Table) -> None:
        await ch.send(opening.GuestSet("string", 3, opening.digest(ch.context)))
        await ch.receive(opening.HostSet)
        await ch.send(opening.Start("ecdh", bytes(opening.SALT_BYTES)))
        await ch.send(ecdh.GuestBlinded(points(1, 2, 3) if blinded is None else blinded))
        await ch.receive(ecdh.HostBlinded)
        await ch.receive(ecdh.GuestTags)
        await ch.send(matching.Matched(count, np.array(positions, np.int64)))

    return guest


@pytest.mark.parametrize(
    ("count", "positions", "found"),
    [
        (3, [0, 1, 9], "outside of the 4"),
        (2, [0, -1], "outside of the 4"),
        (2, [1, 1], "1 distinct positions for 2"),
        (2, [1], "1 positions in a batch of 2"),
        (4, [0, 1, 2, 3], "claims 4 matches"),
        (-1, [], "claims -1 matches"),
    ],
)
async def test_the_host_stops_a_guest_with_impossible_matches(count, positions, found):
    programs = {GUEST: hostile_guest(count, positions), HOST: psi.host}
    with pytest.raises(ProtocolViolation, match=found):
        await intersect({BANK: table("a"), SHOP: table("a", "b", "c", "d")}, programs=programs)


async def test_the_host_applies_its_key_to_no_invalid_point():
    programs = {
        GUEST: hostile_guest(1, [0], np.vstack([points(1, 2), IDENTITY])),
        HOST: psi.host,
    }
    with pytest.raises(ProtocolViolation, match="guest:bank sent bytes that are no point"):
        await intersect({BANK: table("a"), SHOP: table("a", "b")}, programs=programs)


# --- what the job's parameters choose ---


@pytest.mark.parametrize(
    ("rows", "hosts", "expected"),
    [(1024, 1, "ecdh"), (1025, 1, "kkrt"), (4096, 2, "ecdh"), (4097, 2, "kkrt")],
)
def test_the_protocol_goes_by_size_and_number_of_hosts(rows, hosts, expected):
    assert PARAMS.method(rows, hosts) == expected
    assert psi.Params(protocol="ecdh").method(rows, hosts) == "ecdh"
    assert psi.Params(protocol="kkrt").method(rows, hosts) == "kkrt"


def test_tables_beyond_what_kkrt_is_safe_with_are_matched_by_points():
    assert PARAMS.method(2**24, 1) == "kkrt"
    assert PARAMS.method(2**24 + 1, 1) == "ecdh"
    with pytest.raises(ProtocolViolation, match="kkrt matches up to 16777216"):
        opening.check_rows("kkrt", 2**24 + 1)


async def test_a_host_goes_on_by_no_other_protocol_than_agreed():
    async def guest(ch: Channel, params: psi.Params, t: Table):
        return await psi.guest(ch, psi.Params(protocol="ecdh"), t)

    with pytest.raises(ProtocolViolation, match="guest:bank chose ecdh; the job says kkrt"):
        await intersect(
            {BANK: OF_BANK, SHOP: OF_SHOP},
            psi.Params(protocol="kkrt"),
            {GUEST: guest, HOST: psi.host},
        )


@by_each
async def test_a_host_learns_nothing_where_the_guest_alone_has_the_result(method: str):
    params = psi.Params(protocol=method, result="guest", minimum_intersection=15)
    outputs, transcript = await intersect({BANK: OF_BANK, SHOP: OF_SHOP}, params)
    assert {OF_BANK.ids[row] for row in outputs[BANK]} == set(PEOPLE[5:20])
    assert not len(outputs[SHOP])
    assert not heard(transcript, SHOP, matching.Matched)


@by_each
async def test_a_salt_of_another_length_is_refused(method: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(psi, "new_salt", lambda: b"")
    with pytest.raises(ProtocolViolation, match="salt of 0 bytes"):
        await intersect({BANK: OF_BANK, SHOP: OF_SHOP}, psi.Params(protocol=method))


async def test_every_conversation_has_a_salt_of_its_own():
    salts = set()
    for _ in range(2):
        _, transcript = await intersect({BANK: OF_BANK, SHOP: OF_SHOP})
        salts |= {start.salt for start in heard(transcript, SHOP, opening.Start)}
    assert len(salts) == 2


# --- ids that repeat, and ids of several columns ---


@by_each
async def test_rows_that_share_an_id_are_refused_or_make_a_group(method: str):
    bank = psi.Keys(["b", "a", "b", "c", "a", "b"])
    shop = psi.Keys(["d", "b", "b", "a"])
    with pytest.raises(DuplicateIds, match="3 rows repeat an id"):
        await intersect({BANK: bank, SHOP: shop}, psi.Params(protocol=method))
    params = psi.Params(protocol=method, duplicates="group")
    outputs, transcript = await intersect({BANK: bank, SHOP: shop}, params)
    found = {}
    for party, keys in ((BANK, bank), (SHOP, shop)):
        rows, starts = psi.groups(keys, outputs[party])
        found[party] = [rows[a:b].tolist() for a, b in itertools.pairwise(starts)]
    assert sorted(found[BANK]) == [[0, 2, 5], [1, 4]]
    assert sorted(found[SHOP]) == [[1, 2], [3]]
    assert [bank.ids[group[0]] for group in found[BANK]] == [
        shop.ids[group[0]] for group in found[SHOP]
    ]
    # The partner is told how many ids there are, not how many rows.
    assert [said.rows for said in heard(transcript, SHOP, opening.GuestSet)] == [3]


async def test_an_empty_id_is_no_id():
    with pytest.raises(MissingIds):
        await intersect(
            {BANK: psi.Keys(["", "a", "a"]), SHOP: OF_SHOP}, psi.Params(duplicates="group")
        )


async def test_persons_are_matched_by_several_columns():
    bank = psi.Keys.of_columns([["ada", "ad", "bob"], ["1", "a1", "2"]])
    shop = psi.Keys.of_columns([["bob", "ada", "bob"], ["1", "1", "2"]])
    outputs, _ = await intersect({BANK: bank, SHOP: shop})
    assert sorted(zip(outputs[BANK], outputs[SHOP], strict=True)) == [(0, 1), (2, 2)]


def test_a_person_that_lacks_one_of_the_columns_is_no_person():
    with pytest.raises(MissingIds, match="1 rows"):
        psi.Keys.of_columns([["ada", "bob"], ["1", ""]])


WORDS = st.text(min_size=1, max_size=3)


@given(st.lists(st.tuples(WORDS, WORDS), max_size=6))
def test_different_columns_make_different_ids(rows):
    keys = psi.Keys.of_columns([[a for a, _ in rows], [b for _, b in rows]])
    assert len(set(keys.ids)) == len(set(rows))


# --- the page ---


@by_each
async def test_the_conversation_is_the_one_in_the_docs(method: str):
    params = psi.Params(minimum_intersection=2, protocol=method)
    _, transcript = await intersect({BANK: OF_BANK, SHOP: OF_SHOP, CLINIC: OF_BANK}, params)
    check_messages_say_what_they_reveal(SAID[method])
    check_params_round_trip(params)
    await check_no_role_speaks_for_another(SAID[method], (BANK, SHOP, CLINIC))
    check_conversation_is_declared(transcript, SAID[method])
    check_page_shows_the_conversation(PAGE.read_text(), transcript, SAID[method])


def test_params_are_read_from_a_specification():
    assert psi.Params.model_validate({"minimumIntersection": 50}).minimum_intersection == 50
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        psi.Params(minimum_intersection=0)
