"""Products of bits and numbers as shares: right, and hidden from both sides."""

import numpy as np
import pytest

from ml.crypto import ot
from ml.crypto.correlated import WIDTH, Chooser, Correlator, new_choices, width_of

SESSION = b"a test"


def parties() -> tuple[Chooser, Correlator]:
    """Both sides after real base transfers: the correlator chooses in these."""
    offer, choices = ot.Offer.new(), new_choices()
    chosen = ot.Choice.of(offer.point, choices, SESSION)
    pairs = offer.keys(chosen.points, SESSION)
    return Chooser(pairs, SESSION), Correlator(choices, chosen.keys, SESSION)


@pytest.mark.parametrize("outputs", [1, 3, 4, 9])
def test_shares_add_up_to_bit_times_number_over_several_batches(outputs: int):
    chooser, correlator = parties()
    rng = np.random.default_rng(outputs)
    for n in (1, 511, 512, 1300):
        bits = rng.random(n) < 0.5
        numbers = rng.integers(0, 2**32, (n, outputs), dtype=np.uint32)
        columns, chosen = chooser.next(bits, outputs)
        differences, ours = correlator.next(columns, numbers)
        assert (chosen.shares(differences) + ours == numbers * bits[:, None]).all()


def test_what_crosses_looks_the_same_whatever_the_bits_and_the_numbers():
    """All zeros and all ones: half the bits of columns and of differences are set, within 6 s.d."""
    chooser, correlator = parties()
    n = 4096
    for bits, number in ((np.zeros(n, np.bool_), 0), (np.ones(n, np.bool_), 2**32 - 1)):
        numbers = np.full((n, 2), number, np.uint32)
        columns, chosen = chooser.next(bits, 2)
        differences, ours = correlator.next(columns, numbers)
        for seen in (columns, differences, ours, chosen.shares(differences)):
            drawn = np.unpackbits(np.ascontiguousarray(seen).view(np.uint8))
            assert abs(drawn.mean() - 0.5) < 6 * 0.5 / np.sqrt(drawn.size)


def test_no_pad_is_used_for_two_instances_or_two_numbers():
    chooser, correlator = parties()
    numbers = np.zeros((2048, 5), np.uint32)
    shares = []
    for _ in range(2):
        columns, _ = chooser.next(np.zeros(2048, np.bool_), 5)
        shares.append(correlator.next(columns, numbers)[1])
    pads = np.concatenate(shares).reshape(-1)
    # 20,480 draws of 2^32: 0.05 pairs alike are expected.
    assert len(np.unique(pads)) > len(pads) - 4


def test_the_correlator_of_another_chooser_has_no_shares_of_the_product():
    chooser, _ = parties()
    _, stranger = parties()
    bits, numbers = np.ones(64, np.bool_), np.zeros((64, 1), np.uint32)
    columns, chosen = chooser.next(bits, 1)
    differences, ours = stranger.next(columns, numbers)
    assert (chosen.shares(differences) + ours != 0).mean() > 0.9


def test_other_sizes_are_refused():
    chooser, correlator = parties()
    columns, _ = chooser.next(np.zeros(10, np.bool_), 1)
    assert columns.shape == (WIDTH, width_of(10))
    with pytest.raises(ValueError, match="columns of shape"):
        correlator.next(columns[:, :4], np.zeros((10, 1), np.uint32))
    with pytest.raises(ValueError, match="transfers"):
        Chooser([(b"", b"")], SESSION)
