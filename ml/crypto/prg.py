"""Pseudo-random bytes from a short key: AES-128 in counter mode (NIST SP 800-38A, § 6.5).

A stream is read once from its beginning; two parties with the same key read the same bytes.  What
is used as a key must be secret and uniform, and belong to one stream only.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

KEY_BYTES = 16
COUNTER_BYTES = 16

_ZEROS = bytes(1 << 16)  # encrypted piece by piece: the key stream itself


class Stream:
    """The bytes of one key, in order."""

    def __init__(self, key: bytes, counter: bytes = bytes(COUNTER_BYTES)) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a key of {len(key)} bytes; needed are {KEY_BYTES}")
        self._encryptor = Cipher(algorithms.AES(key), modes.CTR(counter)).encryptor()

    def fill(self, out: memoryview) -> None:
        """The next ``len(out)`` bytes, into ``out``."""
        for start in range(0, len(out), len(_ZEROS)):
            part = out[start : start + len(_ZEROS)]
            self._encryptor.update_into(_ZEROS[: len(part)], part)

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes."""
        out = bytearray(count)
        self.fill(memoryview(out))
        return bytes(out)

    def words(self, *shape: int) -> NDArray[np.uint64]:
        """The next 64-bit words, uniform, in an array of this shape."""
        out = np.empty(shape, np.uint64)
        self.fill(out.reshape(-1).view(np.uint8).data)
        return out


class Streams:
    """Many keys read in step: the rows of a bit matrix that is too wide to be in memory."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._streams = [Stream(key) for key in keys]

    def words(self, width: int) -> NDArray[np.uint64]:
        """The next ``width`` 64-bit words of every key, shape (n_keys, width)."""
        out = np.empty((len(self._streams), width), np.uint64)
        rows = out.reshape(-1).view(np.uint8).data
        for k, stream in enumerate(self._streams):
            stream.fill(rows[k * width * 8 : (k + 1) * width * 8])
        return out
