"""Where a message between two sites is kept: one address, one body, for ever."""

from __future__ import annotations

import re
from dataclasses import asdict, astuple, dataclass
from typing import Any, Self

from node.errors import Invalid

PREFIX = "/sites/v1/mailbox"
MAX_NUMBER = 2**31 - 1

_ID = re.compile(r"0x[0-9a-f]{64}")
_STEP = re.compile(r"[a-z][a-z0-9_-]{0,19}")
_KIND = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,79}")


@dataclass(frozen=True, order=True)
class WireAddress:
    """The ``n``-th message of this ``kind`` from ``sender`` to ``receiver`` (site ids) in a step.

    The attempt is part of it: a new attempt never meets an old message.  Raises `Invalid`
    (``InvalidRequest``) for what cannot be an address.
    """

    job: str
    step: str
    attempt: int
    sender: str
    receiver: str
    kind: str
    n: int

    def __post_init__(self) -> None:
        fits = (
            all(_ID.fullmatch(id) for id in (self.job, self.sender, self.receiver))
            and _STEP.fullmatch(self.step)
            and _KIND.fullmatch(self.kind)
            and 1 <= self.attempt <= MAX_NUMBER
            and 0 <= self.n <= MAX_NUMBER
        )
        if not fits:
            raise Invalid(
                "InvalidRequest",
                "this is no address of a message",
                allowed="job/step/attempt/sender/receiver/kind/n with ids of 0x and 64 hex digits",
            )

    @property
    def path(self) -> str:
        """The path of its URL; no part of it needs escaping."""
        return "/".join((PREFIX, *map(str, astuple(self))))

    @property
    def channel(self) -> str:
        """The doorbell that is rung when it arrives."""
        return f"fatechain:mail:{self}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        return cls(**{name: value[name] for name in cls.__dataclass_fields__})

    def __str__(self) -> str:
        return "/".join(map(str, astuple(self)))
