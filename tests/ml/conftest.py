"""One Paillier key for all tests of a run: making one takes longer than using it."""

import pytest

from ml.crypto import paillier


@pytest.fixture(scope="session")
def paillier_key() -> paillier.PrivateKey:
    """A key of the smallest length allowed; nothing that is tested depends on its value."""
    return paillier.generate(paillier.MIN_KEY_BITS)
