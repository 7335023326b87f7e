"""Oblivious transfer and its extension, with the generator and the hash below them."""

from hashlib import sha256

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from ml.crypto import bits, ot, ot_extension, prg, ristretto255
from ml.crypto import sha256 as fast
from ml.crypto.errors import InvalidPoint

# --- the generator (NIST SP 800-38A, F.5.1) ---

KEY = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
COUNTER = bytes.fromhex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff")
PLAIN = bytes.fromhex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51")
CIPHER = bytes.fromhex("874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff")


def test_the_generator_is_counter_mode_as_published():
    stream = prg.Stream(KEY, COUNTER).take(32)
    assert bytes(a ^ b for a, b in zip(stream, PLAIN, strict=True)) == CIPHER


def test_a_stream_is_the_same_however_it_is_read():
    stream = prg.Stream(KEY)
    pieces = stream.take(5) + stream.take(1 << 17) + stream.words(3).tobytes()
    assert pieces == prg.Stream(KEY).take(len(pieces))


def test_many_streams_are_read_in_step():
    keys = [bytes([k] * 16) for k in range(3)]
    streams = prg.Streams(keys)
    rows = np.hstack([streams.words(2), streams.words(4)])
    for key, row in zip(keys, rows, strict=True):
        assert row.tobytes() == prg.Stream(key).take(48)


# --- the hash (FIPS 180-4; hashlib is the reference) ---


def test_constants_are_those_of_the_standard():
    assert hex(fast.START[0]) == "0x6a09e667"
    assert hex(fast.START[7]) == "0x5be0cd19"


@given(st.lists(st.text(max_size=70), max_size=40), st.binary(min_size=64, max_size=64))
def test_many_hashes_at_once_are_those_of_the_standard_library(texts, prefix):
    found = fast.hash_texts(texts, prefix)
    assert [row.astype(">u4").tobytes() for row in found] == [
        sha256(prefix + text.encode()).digest() for text in texts
    ]


# --- bit matrices ---


def test_a_bit_matrix_is_transposed():
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 2**64, (128, 16), dtype=np.uint64)
    as_bits = np.unpackbits(rows.view(np.uint8), axis=1, bitorder="little")
    back = np.unpackbits(bits.transpose(rows).view(np.uint8), axis=1, bitorder="little")
    assert (back == as_bits.T).all()
    with pytest.raises(ValueError, match="multiples of 64 and 8"):
        bits.transpose(rows[:, :7])


# --- base transfers ---


def test_the_chooser_has_the_key_that_it_chose_and_not_the_other():
    chosen = [bool(k % 3) for k in range(20)]
    offer = ot.Offer.new()
    choice = ot.Choice.of(offer.point, chosen, b"s")
    pairs = offer.keys(choice.points, b"s")
    assert [pair[bit] for pair, bit in zip(pairs, chosen, strict=True)] == list(choice.keys)
    assert not {pair[not bit] for pair, bit in zip(pairs, chosen, strict=True)} & {*choice.keys}
    assert len({key for pair in pairs for key in pair}) == 40


def test_keys_follow_the_stated_source():
    """A key is a hash of a B or of a (B - A), with what names the transfer."""
    offer = ot.Offer.new()
    choice = ot.Choice.of(offer.point, [False], b"job")
    point = choice.points[0]
    shared = ristretto255.multiply(offer.scalar, point)
    head = b"fatechain random ot v1" + (3).to_bytes(4, "big") + b"job" + bytes(4)
    assert choice.keys[0] == sha256(head + offer.point + point + shared).digest()[:16]


def test_the_same_choice_never_looks_the_same_to_the_offerer():
    """Whatever is chosen, a point is a fresh multiple of the base plus, or not, the offer."""
    offer = ot.Offer.new()
    seen = [ot.Choice.of(offer.point, [bit] * 8, b"s").points for bit in (False, True)]
    assert len({point for points in seen for point in points}) == 16
    assert not {*seen[0]} & {ristretto255.subtract(p, offer.point) for p in seen[1]}


def test_keys_of_another_session_are_other_keys():
    offer = ot.Offer.new()
    choice = ot.Choice.of(offer.point, [True], b"s")
    assert offer.keys(choice.points, b"t")[0][1] != choice.keys[0]


@pytest.mark.parametrize("point", [bytes(32), b"\xff" * 32])
def test_what_is_no_point_is_refused(point: bytes):
    with pytest.raises(InvalidPoint):
        ot.Choice.of(point, [True], b"s")
    with pytest.raises(InvalidPoint):
        ot.Offer.new().keys([point], b"s")


def test_secrets_are_in_no_text():
    offer = ot.Offer.new()
    choice = ot.Choice.of(offer.point, [True], b"s")
    assert repr(offer.scalar) not in repr(offer)
    assert repr(choice.keys[0]) not in repr(choice)


# --- the function of inputs that nobody shows ---


def both(choices: list[bool] | None = None):
    """A receiver and a sender with the keys of real transfers."""
    choices = ot_extension.new_choices() if choices is None else choices
    offer = ot.Offer.new()
    choice = ot.Choice.of(offer.point, choices, b"s")
    pairs = offer.keys(choice.points, b"s")
    return (
        ot_extension.Receiver(pairs, b"s"),
        ot_extension.Sender(choices, choice.keys, b"s"),
    )


def inputs(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**64, (n, 2), dtype=np.uint64)


TWEAKS = np.arange(1024, dtype=np.uint64)
AT = np.arange(1024, dtype=np.uint32)


def test_the_sender_evaluates_what_the_receiver_has():
    receiver, sender = both()
    for seed in (1, 2):  # two batches of one conversation
        x = inputs(1024, seed)
        corrections, own = receiver.next(x, TWEAKS)
        rows = sender.next(corrections)
        order = np.random.default_rng(3).permutation(1024).astype(np.uint32)
        tags = sender.evaluate(rows, order, x[order], TWEAKS[order])
        assert (tags.high == own.high[order]).all()
        assert (tags.low == own.low[order]).all()


def test_other_inputs_other_instances_and_other_tweaks_have_other_outputs():
    receiver, sender = both()
    x = inputs(1024, 1)
    corrections, own = receiver.next(x, TWEAKS)
    rows = sender.next(corrections)
    for at, given_inputs, tweaks in (
        (AT, inputs(1024, 2), TWEAKS),
        (AT[::-1], x, TWEAKS),
        (AT, x, TWEAKS[::-1]),
    ):
        tags = sender.evaluate(rows, np.ascontiguousarray(at), given_inputs, tweaks)
        assert not (tags.high == own.high).any()


def test_the_output_is_the_hash_of_the_row_and_the_tweak():
    """The block continues a prefix of 64 bytes; hashlib pads, so we pad to compare."""
    receiver, sender = both()
    x = inputs(512, 1)
    corrections, own = receiver.next(x, TWEAKS[:512])
    row = sender.next(corrections)[5]
    public = ot_extension.Public(b"s")
    row = row ^ (public.code(x)[5, :7] & sender._bits)
    prefix = sha256(b"fatechain kkrt v1 tag" + b"s").digest().ljust(64, b"\0")
    message = row.tobytes() + TWEAKS[5].tobytes()
    state = fast.compress(
        fast.state_after(prefix), np.frombuffer(message, ">u4").astype(np.uint32).reshape(1, 16)
    )[0]
    assert int(own.high[5]) == int(state[0]) << 32 | int(state[1])
    assert int(own.low[5]) == int(state[2])
    padding = b"\x80" + bytes(55) + (8 * 128).to_bytes(8, "big")
    whole = fast.compress(state, np.frombuffer(padding, ">u4").astype(np.uint32).reshape(1, 16))
    assert whole[0].astype(">u4").tobytes() == sha256(prefix + message).digest()


def test_the_code_is_aes_of_the_input():
    x = inputs(2, 1)
    key = sha256(b"fatechain kkrt v1 code" + b"s").digest()[:16]
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    blocks = b"".join(
        (int(a) ^ k).to_bytes(8, "little") + int(b).to_bytes(8, "little")
        for a, b in x
        for k in range(4)
    )
    assert ot_extension.Public(b"s").code(x).tobytes() == encryptor.update(blocks)


def test_code_words_are_as_far_apart_as_the_width_is_chosen_for():
    """The narrowest of a million pairs; below 128 places has probability 2**-66 for each."""
    code = ot_extension.Public(b"s").code(inputs(1500, 4))[:, :7]
    words = np.unpackbits(code.view(np.uint8), axis=1).astype(np.float32)
    weight = words.sum(axis=1)
    apart = weight[:, None] + weight - 2 * words @ words.T
    np.fill_diagonal(apart, ot_extension.WIDTH)
    assert apart.min() > 150


def test_corrections_hide_the_inputs():
    """The same inputs give unrelated corrections, and equal inputs give different rows."""
    x = np.repeat(inputs(1, 1), 512, axis=0)
    seen = [both()[0].next(x, TWEAKS[:512])[0] for _ in range(2)]
    assert len(np.unique(seen[0][:, 0])) == 512
    ones = np.unpackbits((seen[0] ^ seen[1]).view(np.uint8)).mean()
    assert abs(ones - 0.5) < 0.01


def test_with_other_choices_the_sender_has_other_keys():
    """One choice guessed wrongly gives wrong outputs at half of the inputs."""
    choices = ot_extension.new_choices()
    offer = ot.Offer.new()
    choice = ot.Choice.of(offer.point, choices, b"s")
    receiver = ot_extension.Receiver(offer.keys(choice.points, b"s"), b"s")
    wrong = [not choices[0], *choices[1:]]
    sender = ot_extension.Sender(wrong, choice.keys, b"s")
    x = inputs(1024, 1)
    corrections, _ = receiver.next(x, TWEAKS)
    y = inputs(1024, 2)
    right = ot_extension.Sender(choices, choice.keys, b"s")
    first = right.evaluate(right.next(corrections), AT, y, TWEAKS)
    other = sender.evaluate(sender.next(corrections), AT, y, TWEAKS)
    assert 300 < (first.high != other.high).sum() < 724


def test_a_wrong_number_of_transfers_is_refused():
    with pytest.raises(ValueError, match="needed are 448"):
        ot_extension.Receiver([(bytes(16), bytes(16))], b"s")
