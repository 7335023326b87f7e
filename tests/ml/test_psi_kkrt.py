"""Matching by KKRT: more than one part, what the guest sees of other ids, and hostile peers."""

from hashlib import sha256

import numpy as np
import pytest

from ml.crypto import ot, ristretto255
from ml.crypto.ot_extension import WIDTH, WORDS, Sender, Tags
from ml.errors import NoCommonIds, ProtocolViolation
from ml.federation import GUEST, HOST, Channel, Party, run_in_process
from ml.protocols import psi
from ml.protocols.psi import __main__, bins, kkrt, matching, opening
from ml.testing import heard

BANK, SHOP, CLINIC = Party(GUEST, "bank"), Party(HOST, "shop"), Party(HOST, "clinic")
PARAMS = psi.Params(protocol="kkrt")
PEOPLE = [f"person {i}" for i in range(900)]
OF_BANK, OF_SHOP = psi.Keys(PEOPLE[:700]), psi.Keys(PEOPLE[:199:-1])


async def intersect(tables, params=PARAMS, programs=psi.PROGRAMS):
    inputs = {party: (params, keys) for party, keys in tables.items()}
    return await run_in_process(programs, inputs, context=b"job 1")


async def test_tables_of_several_parts_are_matched(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kkrt, "PART", 512)
    monkeypatch.setattr(kkrt, "BINS_AT_ONCE", 1024)
    monkeypatch.setattr(kkrt, "TAGS_AT_ONCE", 300)
    monkeypatch.setattr(matching, "BATCH", 200)
    third = psi.Keys(PEOPLE[100:600])
    outputs, transcript = await intersect({BANK: OF_BANK, SHOP: OF_SHOP, CLINIC: third})
    assert {OF_BANK.ids[row] for row in outputs[BANK]} == set(PEOPLE[200:600])
    for party, keys in ((SHOP, OF_SHOP), (CLINIC, third)):
        assert [keys.ids[i] for i in outputs[party]] == [OF_BANK.ids[i] for i in outputs[BANK]]
    [rows] = heard(transcript, SHOP, kkrt.Corrections)
    assert len(rows.rows) == 1024  # two parts in one message
    assert len(heard(transcript, BANK, kkrt.HostTags)) == 7 + 5
    assert len(heard(transcript, SHOP, matching.Matched)) == 2


async def test_no_two_conversations_share_a_row_or_a_tag():
    seen = []
    for _ in range(2):
        _, transcript = await intersect({BANK: OF_BANK, SHOP: OF_SHOP})
        rows = np.concatenate([said.rows for said in heard(transcript, SHOP, kkrt.Corrections)])
        tags = np.concatenate([said.high for said in heard(transcript, BANK, kkrt.HostTags)])
        assert len(np.unique(rows[:, 0])) == len(rows)
        assert len(np.unique(tags)) == len(tags)
        seen.append(set(rows[:, 0]) | set(tags))
    assert not seen[0] & seen[1]


async def test_full_and_empty_bins_look_alike_to_the_host():
    few = await intersect(
        {BANK: psi.Keys(PEOPLE[:100]), SHOP: OF_SHOP},
        psi.Params(protocol="kkrt", result="guest", minimum_intersection=1),
        {GUEST: tolerant(psi.guest), HOST: psi.host},
    )
    [said] = heard(few.transcript, SHOP, kkrt.Corrections)
    assert len(said.rows) == bins.bin_count(100) == 512
    ones = np.unpackbits(said.rows.view(np.uint8), axis=1).sum(axis=1)
    # Every row is random: 448 fair bits, so none is 8 deviations (85) from the middle.
    assert np.abs(ones.astype(int) - WIDTH // 2).max() < 85


def tolerant(program):
    """The same, but finding nothing is no error."""

    async def run(*args):
        try:
            return await program(*args)
        except NoCommonIds:
            return None

    return run


async def test_the_guest_cannot_evaluate_an_id_that_it_did_not_bring(
    monkeypatch: pytest.MonkeyPatch,
):
    """It has both keys of each transfer, but not the 448 choices that the host made."""
    pairs: list[tuple[bytes, bytes]] = []
    choices: list[bool] = []
    keys, new_choices = ot.Offer.keys, kkrt.new_choices

    def spied(self, chosen, session):
        pairs.extend(keys(self, chosen, session))
        return list(pairs)

    def kept():
        choices.extend(new_choices())
        return list(choices)

    monkeypatch.setattr(ot.Offer, "keys", spied)
    monkeypatch.setattr(kkrt, "new_choices", kept)
    _, transcript = await intersect({BANK: OF_BANK, SHOP: OF_SHOP})
    tags = {int(tag) for said in heard(transcript, BANK, kkrt.HostTags) for tag in said.high}
    [corrections] = [said.rows for said in heard(transcript, SHOP, kkrt.Corrections)]
    [start] = heard(transcript, SHOP, opening.Start)
    session = sha256(opening.digest(b"job 1") + start.salt).digest()
    hashes = bins.hash_ids(PEOPLE[700:], session)  # the shop's own

    def reached(guess: list[bool]) -> set[int]:
        """The tags of the shop's own ids, if these were its choices."""
        chosen = [pair[bit] for pair, bit in zip(pairs, guess, strict=True)]
        sender = Sender(guess, chosen, bins.code_session(session))
        rows = sender.next(corrections)
        _, at, inputs, tweaks = bins.Visits.of(hashes, len(rows), len(rows)).visit(0)
        return {int(tag) for tag in sender.evaluate(rows, at, inputs, tweaks).high}

    assert len(reached(choices) & tags) == 600  # who knows the choices knows everything
    known = reached([False] * WIDTH)  # rows of the guest's own, whatever the id
    for guess in ([True] * WIDTH, new_choices(), new_choices()):
        assert not (reached(guess) - known) & tags


# --- hostile peers ---


def points(count: int) -> np.ndarray:
    rows = [ristretto255.hash_to_point(bytes([i % 256, i // 256])) for i in range(count)]
    return np.frombuffer(b"".join(rows), np.uint8).reshape(count, 32)


def tags_of(n: int, value: int | None = None) -> kkrt.HostTags:
    high = np.arange(n, dtype=np.uint64) if value is None else np.full(n, value, np.uint64)
    return kkrt.HostTags(high, np.zeros(n, np.uint32))


def hostile_host(**instead):
    """A host of two ids that says its part but for ``instead``."""

    async def host(ch: Channel, params: psi.Params, keys: psi.Keys) -> None:
        await ch.send(opening.HostSet("string", 2, opening.digest(ch.context)))
        await ch.receive(opening.GuestSet)
        await ch.receive(opening.Start)
        await ch.receive(kkrt.KeyOffer)
        await ch.send(kkrt.KeyChoices(instead.get("points", points(WIDTH))))
        await ch.receive(kkrt.Corrections)
        await ch.send(instead.get("tags", tags_of(6)))
        await ch.receive(matching.Matched)

    return host


NO_POINTS = np.full((WIDTH, 32), 255, np.uint8)


@pytest.mark.parametrize(
    ("instead", "found"),
    [
        ({"points": points(WIDTH - 1)}, "chose 447 keys; needed are 448"),
        ({"points": NO_POINTS}, "no point"),
        ({"tags": tags_of(5)}, "5 items in a batch of 6"),
    ],
)
async def test_the_guest_stops_a_hostile_host(instead: dict, found: str):
    programs = {GUEST: psi.guest, HOST: hostile_host(**instead)}
    with pytest.raises(ProtocolViolation, match=found) as error:
        await intersect({BANK: OF_BANK, SHOP: OF_SHOP}, programs=programs)
    assert "host:shop" in str(error.value)


async def test_invented_tags_match_nothing():
    programs = {GUEST: psi.guest, HOST: hostile_host()}
    with pytest.raises(NoCommonIds):
        await intersect({BANK: OF_BANK, SHOP: OF_SHOP}, programs=programs)


def test_a_tag_that_comes_twice_is_counted_and_one_place_has_one_id():
    own = kkrt.Own(2)
    own.add(np.array([0, 4], np.int32), Tags(np.array([7, 9], np.uint64), np.zeros(2, np.uint32)))
    found = np.full(2, -1, np.int64)
    theirs = Tags(np.array([7, 7, 9], np.uint64), np.zeros(3, np.uint32))
    assert own.find(theirs, 0, 0, found) == 1
    with pytest.raises(ProtocolViolation, match="host:shop gave one of its ids the tags of two"):
        matching.HostView(np.array([1, 1], np.int64), 2, SHOP)


def test_a_tag_of_another_bin_or_half_a_tag_is_no_match():
    own = kkrt.Own(1)
    own.add(np.array([1], np.int32), Tags(np.array([7], np.uint64), np.array([5], np.uint32)))
    found = np.full(1, -1, np.int64)
    whole = Tags(np.array([7], np.uint64), np.array([5], np.uint32))
    half = Tags(np.array([7], np.uint64), np.array([6], np.uint32))
    own.find(whole, 0, 3, found)
    own.find(half, 1, 3, found)
    assert found.tolist() == [-1]
    own.find(whole, 1, 3, found)
    assert found.tolist() == [3]


def hostile_guest(**instead):
    """A guest of 700 ids that says its part but for ``instead``."""

    async def guest(ch: Channel, params: psi.Params, keys: psi.Keys) -> None:
        await ch.send(opening.GuestSet("string", 700, opening.digest(ch.context)))
        await ch.receive(opening.HostSet)
        await ch.send(opening.Start("kkrt", bytes(opening.SALT_BYTES)))
        await ch.send(kkrt.KeyOffer(instead.get("points", points(1))))
        await ch.receive(kkrt.KeyChoices)
        await ch.send(kkrt.Corrections(np.zeros((instead.get("rows", 1024), WORDS), np.uint64)))
        await ch.receive(kkrt.HostTags)

    return guest


@pytest.mark.parametrize(
    ("instead", "found"),
    [
        ({"points": points(2)}, "2 offers of keys; needed is one"),
        ({"points": NO_POINTS[:1]}, "no point"),
        ({"rows": 512}, "512 items in a batch of 1024"),
    ],
)
async def test_the_host_stops_a_hostile_guest(instead: dict, found: str):
    programs = {GUEST: hostile_guest(**instead), HOST: psi.host}
    with pytest.raises(ProtocolViolation, match=found) as error:
        await intersect({BANK: OF_BANK, SHOP: OF_SHOP}, programs=programs)
    assert "guest:bank" in str(error.value)


# --- bins ---


def test_each_id_lies_in_one_of_its_three_bins():
    hashes = bins.hash_ids(PEOPLE, bytes(32))
    table = bins.Table.build(hashes)
    assert table is not None
    filled = table.slots[table.slots >= 0]
    assert sorted(filled >> 2) == list(range(len(PEOPLE)))
    for at, slot in enumerate(table.slots):
        if slot >= 0:
            word = int(hashes[slot >> 2, 4 + (slot & 3)])
            assert word * len(table.slots) >> 32 == at


def test_ids_that_fit_no_table_are_hashed_with_another_salt(monkeypatch: pytest.MonkeyPatch):
    same = np.zeros((4, 8), np.uint32)  # four ids, and one bin for all of them
    assert bins.Table.build(same) is None


async def test_the_host_hears_of_the_salt_that_fits_only(monkeypatch: pytest.MonkeyPatch):
    build, tried = bins.Table.build, []

    def fussy(hashes):
        tried.append(hashes)
        return build(hashes) if len(tried) > 2 else None

    monkeypatch.setattr(bins.Table, "build", fussy)
    outputs, transcript = await intersect({BANK: OF_BANK, SHOP: OF_SHOP})
    assert len(outputs[BANK]) == 500
    assert len(tried) == 3
    assert len({hashes.tobytes() for hashes in tried}) == 3
    assert len(heard(transcript, SHOP, opening.Start)) == 1


# --- compiling at installation ---


def test_an_installation_compiles_and_checks_a_matching(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert __main__.main() == 0
    assert "compiled" in capsys.readouterr().out
    monkeypatch.setattr(kkrt.Own, "find", lambda self, tags, which, first, found: found.fill(0))
    with pytest.raises(ProtocolViolation):
        __main__.main()


# --- order ---


async def test_the_order_of_tags_tells_nothing_of_the_hosts_file():
    """The host's rows come out in a fresh order, which no run repeats."""
    orders = []
    for _ in range(2):
        outputs, transcript = await intersect({BANK: OF_BANK, SHOP: OF_SHOP})
        places = np.concatenate([m.positions for m in heard(transcript, SHOP, matching.Matched)])
        assert (np.diff(places) > 0).all()  # the common order is the host's secret one
        orders.append(outputs[SHOP].tolist())
    assert sorted(orders[0]) == sorted(orders[1])
    assert orders[0] != orders[1]
    assert orders[0] != sorted(orders[0])


def test_a_secret_order_is_one_of_all_rows():
    first, second = matching.secret_order(1000), matching.secret_order(1000)
    assert sorted(first) == sorted(second) == list(range(1000))
    assert first.tolist() != second.tolist()
